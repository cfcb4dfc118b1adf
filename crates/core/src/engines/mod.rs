//! The Docker engine of a host: what it has, what it could get, where its options come from, and how it is installed.

pub mod api;
pub mod known;
pub mod options;
pub(crate) mod packages;
pub mod unit;

use std::time::Duration;

use crate::facts::{Engine, Facts};
use crate::inventory::InstallPolicy;
use crate::plan::{Action, HostWorld, Problem, Stage, StepId, Steps, Undo, Verb, World};
use crate::platform::{
    self, CLIENT_PACKAGE, DOCKER_CE_CLIENT, ENGINE_PACKAGE, INSTALLED_HERE, Offer, PackageManager,
    Release, SERVICES,
};

/// How far clocks may be apart, in seconds. Certificates are backdated five minutes and Consul's and swarm mode's tokens
/// and certificates live by the clock; half of that leaves room for drift until the next look.
pub const MAX_CLOCK_OFFSET: i64 = 150;

/// The unit of the engine.
pub const UNIT: &str = "docker.service";

/// The socket that starts the engine when somebody asks it something.
pub const SOCKET_UNIT: &str = "docker.socket";

/// What to do where `docker.socket` is active and its socket is gone: an engine that starts does not make it again, and the unit that does
/// cannot be restarted while the engine runs.
pub const SOCKET_CURE: &str = "docker.socket is active, and its socket /var/run/docker.sock is gone, which a restart of the engine does not bring back: `systemctl stop docker.service docker.socket && systemctl start docker.socket docker.service` there";

/// What mends an engine that waits for the others of its swarm, whom it cannot reach.
const MESH_CURE: &str = "the mesh that carries its swarm is not as it should be, and the engine waits for the others: `systemctl restart docker-cluster-underlay` there, then this command again";

/// How long the installation of packages may take: 150 MB over a slow line, and a held lock before that.
pub const INSTALL_TIMEOUT: Duration = Duration::from_secs(1800);

/// How long an engine may take to answer after a start. It loads its containers first, and its unit's own start
/// limit is 90; a store that does not answer adds up to 64 (`facts.md`).
pub const START_DEADLINE: Duration = Duration::from_secs(180);

/// How long a question to systemd, or a change of its links, may take: it reads all units anew for some.
pub const SYSTEMD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long `systemctl restart docker` may take: the stop of containers that ignore their signal (10 s each, in
/// parallel, then killed), the unit's stop timeout of 90 and its start.
pub const RESTART_TIMEOUT: Duration = Duration::from_secs(300);

/// The packages of an engine that is to be installed: itself, and its client where that is a package of its own.
fn of_engine(facts: &Facts, offer: &Offer) -> Vec<String> {
    // The version that the host's lists name is the one that was checked against the inventory.
    let pinned = |name: &str, version: &str| format!("{name}={version}");
    let Some(version) = &offer.package_version else {
        let known =
            Release::of(facts).map_or(&[ENGINE_PACKAGE][..], |release| release.engine_packages);
        return known.iter().map(ToString::to_string).collect();
    };
    let mut all = vec![pinned(ENGINE_PACKAGE, version)];
    // Both come from one source, and exclude those of other versions.
    if facts.client_versions.contains(version) {
        all.push(pinned(CLIENT_PACKAGE, version));
    }
    all
}

/// Whether a host's engine lacks the client that docker-cluster works with.
#[must_use]
pub fn lacks_client(facts: &Facts) -> bool {
    facts
        .engine
        .as_ref()
        .is_some_and(|engine| engine.client.is_none())
}

/// The package that brings the client of an engine that is there and has none, if it may be installed and is known.
#[must_use]
pub fn client_package(world: &World<'_>, host: &HostWorld<'_>) -> Option<&'static str> {
    let facts = host.facts;
    if !lacks_client(facts)
        || world.inventory.engine.install == InstallPolicy::Never
        || PackageManager::of(facts).is_none()
    {
        return None;
    }
    let package = match facts.packages.present.contains_key("docker-ce") {
        true => DOCKER_CE_CLIENT,
        false => CLIENT_PACKAGE,
    };
    let known =
        Release::of(facts).is_some_and(|release| release.engine_packages.contains(&package));
    (known || facts.candidates.contains_key(package)).then_some(package)
}

/// What forbids the packages that a host is to get.
#[must_use]
pub fn package_problems(world: &World<'_>, host: &HostWorld<'_>) -> Vec<Problem> {
    let installs = host.engine.as_ref().is_some_and(|engine| engine.to_install);
    let wanted = if installs {
        Some(ENGINE_PACKAGE)
    } else {
        client_package(world, host)
    };
    let found = wanted
        .into_iter()
        .flat_map(|wanted| platform::in_the_way(host.facts, wanted));
    found
        .map(|(what, fix)| Problem::on(host.name(), what, fix))
        .collect()
}

/// Whether the engine runs, under whatever unit.
#[must_use]
pub fn is_running(facts: &Facts) -> bool {
    // A process of the unit's own that is not active yet, or dies again and again, is none that runs.
    facts.is_active(UNIT)
        || elsewhere(facts).is_some()
        || facts.engine.as_ref().is_some_and(Engine::is_up)
}

/// The engine that has the host's socket, if it is not the one of [`UNIT`]: what it is, for a person. Its options and its restarts are
/// not what docker-cluster knows how to handle.
#[must_use]
pub fn elsewhere(facts: &Facts) -> Option<String> {
    let process = facts.engine_process.as_ref()?;
    let main_pid = facts.unit(UNIT).map_or(0, |unit| unit.main_pid);
    if process.unit == UNIT || process.pid == main_pid {
        return None;
    }
    Some(match process.unit.as_str() {
        "" => format!("{}, which no unit of systemd starts", process.exe),
        unit => format!("{} of the unit {unit}", process.exe),
    })
}

/// Waits until the engine answers with its version, which holds these words.
#[must_use]
pub fn wait_for_answer(expect: Vec<String>) -> Action {
    Action::wait(
        "the engine answers",
        &["docker", "info", "--format", "{{.ServerVersion}}"],
        expect,
        START_DEADLINE,
    )
}

/// Installs the engine where it is missing, and starts it where it does not run.
pub fn install_steps(world: &World<'_>, steps: &mut Steps) {
    for host in &world.hosts {
        end_installation(host, steps);
        if let (Some(package), Some(manager)) =
            (client_package(world, host), PackageManager::of(host.facts))
        {
            let why = format!(
                "install the Docker client, which the engine lacks, from the packages of {}",
                host.facts.os_pretty
            );
            install(steps, host, manager, why, vec![package.to_owned()]);
        }
        let Some(offer) = &host.engine else { continue };
        let name = host.name();
        if offer.to_install {
            let Some(manager) = PackageManager::of(host.facts) else {
                continue;
            };
            let upgraded = match platform::upgraded(host.facts, ENGINE_PACKAGE) {
                list if list.is_empty() => String::new(),
                list => format!("; it upgrades {}", list.join(", ")),
            };
            let (version, from) = (&offer.version, &host.facts.os_pretty);
            let why = format!(
                "install the Docker engine {version} from the packages of {from}{upgraded}"
            );
            install(steps, host, manager, why, of_engine(host.facts, offer));
            steps.add(
                name,
                Stage::Engine,
                "wait until the engine answers",
                // A mirror that offers another release than the table knows must not go unnoticed.
                wait_for_answer(vec![format!(
                    "{}.{}.",
                    offer.version.major, offer.version.minor
                )]),
            );
        } else if !is_running(host.facts) && !options::uses_store(host) {
            start(steps, host, Vec::new());
            let action = wait_for_answer(Vec::new());
            steps.add(name, Stage::Engine, "wait until the engine answers", action);
        }
    }
}

fn install(
    steps: &mut Steps,
    host: &HostWorld<'_>,
    manager: PackageManager,
    why: String,
    packages: Vec<String>,
) {
    let action = Action::Script {
        name: manager.name,
        text: manager.install,
        args: packages,
        timeout: INSTALL_TIMEOUT,
    };
    let id = steps.add(host.name(), Stage::Engine, why, action);
    steps.undo(id, Undo::of_installation(manager, UNIT));
}

/// Ends an installation of a run that was cut off: its program may be there, and not be set up.
fn end_installation(host: &HostWorld<'_>, steps: &mut Steps) {
    let is_asked = |package: &&String| INSTALLED_HERE.contains(&package.as_str());
    let packages: Vec<String> = host
        .facts
        .installing
        .iter()
        .filter(is_asked)
        .cloned()
        .collect();
    let begun = host.facts.engine.is_some() && !packages.is_empty();
    let Some(manager) = PackageManager::of(host.facts).filter(|_| begun) else {
        return;
    };
    let why = format!(
        "end the installation of {} that was cut off",
        packages.join(", ")
    );
    install(steps, host, manager, why, packages);
}

/// Starts an engine that is stopped, now and at every boot. One that has a store already waits for its turn, like those that restart
/// ([`options::steps`]).
fn start(steps: &mut Steps, host: &HostWorld<'_>, after: Vec<StepId>) {
    if host
        .facts
        .unit(UNIT)
        .is_none_or(|unit| unit.file_state != "enabled")
    {
        let argv = SERVICES.argv(SERVICES.enable, &[UNIT]);
        steps.add(
            host.name(),
            Stage::Engine,
            "start the Docker engine at every boot",
            Action::Run {
                argv,
                timeout: SYSTEMD_TIMEOUT,
            },
        );
    }
    let action = Action::Service {
        verb: Verb::Start,
        unit: UNIT,
        timeout: RESTART_TIMEOUT,
    };
    let why = match host.facts.is_active(SOCKET_UNIT) {
        true => {
            "start the Docker engine, which is stopped, and which its socket would start at the first question"
        }
        false => "start the Docker engine, which is stopped",
    };
    let id = steps.add(host.name(), Stage::Engine, why, action);
    steps.await_turn(id, &after);
}

/// An engine that runs and does not answer: what it has is not known, and nothing that would change it is done.
fn mute_engine(host: &HostWorld<'_>) -> Option<Problem> {
    if lacks_client(host.facts) && is_running(host.facts) {
        return Some(Problem::on(
            host.name(),
            "its engine has no client: the command `docker` is missing there, or is Podman's",
            "install the client that goes with it: `apt-get install docker-cli`, or `docker-ce-cli` where the engine is docker-ce",
        ));
    }
    let engine = host
        .facts
        .engine
        .as_ref()
        .filter(|engine| !engine.is_up())?;
    let what = if engine.incomplete {
        "its engine did not tell all of the containers, networks and images that it has"
    } else {
        "its engine runs but does not answer `docker info`"
    };
    is_running(host.facts).then(|| {
        let fix = match host.facts.socket_gone() {
            true => SOCKET_CURE,
            false if host.facts.mesh_is_torn() => MESH_CURE,
            false => "look at `journalctl -u docker` there; a restart of the engine mends most",
        };
        Problem::on(host.name(), what, fix)
    })
}

/// What a host did not tell to its end, beside what its engine has: what is missing may be there.
#[must_use]
pub fn unheard(host: &HostWorld<'_>) -> Option<Problem> {
    if let Some(problem) = mute_engine(host) {
        return Some(problem);
    }
    let of_engine = ["containers", "networks", "images", "nodes", "endpoints"];
    let lists: Vec<&str> = host
        .facts
        .incomplete
        .iter()
        .copied()
        .filter(|list| !of_engine.contains(list))
        .collect();
    if lists.is_empty() {
        return None;
    }
    Some(Problem::on(
        host.name(),
        format!(
            "it did not tell all of what docker-cluster wrote there or reads there ({})",
            lists.join(", ")
        ),
        "a file in /var/lib/docker-cluster/record or /etc/docker is damaged, or longer than a mebibyte: look at them there",
    ))
}
