//! The Docker engine of a host: what it has, what it could get, where its options come from, and how it is installed.

pub mod known;
pub mod options;

use std::collections::BTreeSet;

use crate::facts::{Facts, parse_engine_version};
use crate::plan::daemon_json::flags_of;
use crate::plan::{Action, Stage, StepId, Steps, World};
use crate::platform::{PackageManager, Release};

/// The unit of the engine.
pub const UNIT: &str = "docker.service";

/// What to do where `docker.socket` is active and its socket is gone: an engine that starts does not make it again, and the unit that does
/// cannot be restarted while the engine runs.
pub const SOCKET_CURE: &str = "docker.socket is active, and its socket /var/run/docker.sock is gone, which a restart of the engine does not bring back: `systemctl stop docker.service docker.socket && systemctl start docker.socket docker.service` there";

/// How long the installation of packages may take, in seconds: 150 MB over a slow line, and a held lock before that.
pub const INSTALL_TIMEOUT: u64 = 1800;

/// How long an engine may take to answer after a start, in seconds. It loads its containers first, and its unit's own start
/// limit is 90; a store that does not answer adds up to 64 (`facts.md`).
pub const START_DEADLINE: u64 = 180;

/// How long `systemctl restart docker` may take, in seconds: the stop of containers that ignore their signal (10 s each, in
/// parallel, then killed), the unit's stop timeout of 90 and its start.
pub const RESTART_TIMEOUT: u64 = 300;

/// An engine that a host has, or will get from its packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its version.
    pub version: semver::Version,
    /// Key-value backends in its binary.
    pub kv_backends: BTreeSet<String>,
    /// Whether it is still to be installed.
    pub to_install: bool,
    /// The version as its package manager writes it, where the host's lists tell.
    pub package_version: Option<String>,
}

/// The engine that a host has, or would get. `None` if there is none and nobody knows what its packages hold.
#[must_use]
pub fn offer(facts: &Facts, wanted: Option<&semver::VersionReq>) -> Option<Offer> {
    if let Some(engine) = &facts.engine {
        return Some(Offer {
            version: engine.version.clone()?,
            kv_backends: engine.kv_backends.clone(),
            to_install: false,
            package_version: None,
        });
    }
    PackageManager::of(facts)?;
    // What apt would take by itself, unless the inventory wants another one of those that it has.
    let candidate = facts.candidates.get("docker.io");
    let read = |text: &String| Some((parse_engine_version(text)?, text.clone()));
    let fits = |found: &(semver::Version, String)| wanted.is_none_or(|wanted| wanted.matches(&found.0));
    let listed = candidate
        .into_iter()
        .chain(&facts.engine_versions)
        .filter_map(read)
        .find(fits)
        .or_else(|| candidate.and_then(read));
    let (listed, package_version) = listed.map_or((None, None), |(version, text)| (Some(version), Some(text)));
    let release = Release::of(facts);
    let known = release.map(|release| semver::Version::new(release.engine.0, release.engine.1, release.engine.2));
    let version = listed.or(known)?;
    let kv_backends = match release {
        Some(release) => release.kv_backends.iter().map(ToString::to_string).collect(),
        None => BTreeSet::new(),
    };
    Some(Offer { version, kv_backends, to_install: true, package_version })
}

/// Whether the engine's unit is active.
#[must_use]
pub fn is_running(facts: &Facts) -> bool {
    facts.is_active(UNIT)
}

/// Whether the engine is Ubuntu's snap, which keeps its options elsewhere.
#[must_use]
pub fn is_snap(facts: &Facts) -> bool {
    facts.engine.as_ref().is_some_and(|engine| engine.path.starts_with("/snap/"))
}

/// Flags that the engine is started with, each with where it is from.
#[must_use]
pub fn flags(facts: &Facts) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let unit = facts.unit(UNIT).map_or("", |unit| unit.path.as_str());
    for line in &facts.docker_exec {
        let source = if line.starts_with("ExecStart") {
            format!("{unit} or its drop-ins")
        } else {
            "the environment of its unit".to_owned()
        };
        let value = line.split_once('=').map_or("", |(_, value)| value);
        found.extend(flags_of(value).into_iter().map(|flag| (flag, source.clone())));
    }
    for (text, path) in
        [(&facts.default_docker, "/etc/default/docker"), (&facts.sysconfig_docker, "/etc/sysconfig/docker")]
    {
        for line in text.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some((_, value)) = line.split_once('=') {
                found.extend(flags_of(value.trim_matches(['"', '\''])).into_iter().map(|flag| (flag, path.to_owned())));
            }
        }
    }
    found
}

/// Waits until the engine answers with its version, which holds these words.
#[must_use]
pub fn wait_for_answer(expect: Vec<String>) -> Action {
    Action::WaitFor {
        what: "the engine answers".to_owned(),
        argv: ["docker", "info", "--format", "{{.ServerVersion}}"].map(str::to_owned).to_vec(),
        expect,
        peers: Vec::new(),
        deadline: START_DEADLINE,
    }
}

/// Installs the engine where it is missing, and starts it where it does not run.
pub fn install_steps(world: &World<'_>, steps: &mut Steps) {
    for host in &world.hosts {
        let Some(offer) = &host.engine else { continue };
        let name = host.name();
        if offer.to_install {
            let Some(manager) = PackageManager::of(host.facts) else {
                continue;
            };
            let packages = Release::of(host.facts).map_or(&["docker.io"][..], |release| release.engine_packages);
            // The version that the host's lists name is the one that was checked against the inventory.
            let pinned = |package: &&str| match &offer.package_version {
                Some(version) if *package == "docker.io" => format!("{package}={version}"),
                _ => (*package).to_owned(),
            };
            let id = steps.add(
                name,
                Stage::Engine,
                format!("install the Docker engine {} from the packages of {}", offer.version, host.facts.os_pretty),
                Action::Script {
                    name: manager.name,
                    text: manager.install,
                    args: packages.iter().map(pinned).collect(),
                    timeout: INSTALL_TIMEOUT,
                },
            );
            steps.undo(id, manager.undo_install(UNIT));
            steps.add(
                name,
                Stage::Engine,
                "wait until the engine answers",
                // A mirror that offers another release than the table knows must not go unnoticed.
                wait_for_answer(vec![format!("{}.{}.", offer.version.major, offer.version.minor)]),
            );
        } else if !is_running(host.facts) && !options::uses_store(host) {
            start(steps, host, Vec::new());
            let action = wait_for_answer(Vec::new());
            steps.add(name, Stage::Engine, "wait until the engine answers", action);
        }
    }
}

/// Starts an engine that is stopped, now and at every boot. One that has a store already waits for its turn, like those that restart
/// ([`options::steps`]).
fn start(steps: &mut Steps, host: &crate::plan::HostWorld<'_>, after: Vec<StepId>) {
    if host.facts.unit(UNIT).is_none_or(|unit| unit.file_state != "enabled") {
        let argv = ["systemctl", "enable", UNIT].map(str::to_owned).to_vec();
        steps.add(
            host.name(),
            Stage::Engine,
            "start the Docker engine at every boot",
            Action::Run { argv, timeout: 60 },
        );
    }
    let action = Action::Service { verb: "start", unit: UNIT, timeout: RESTART_TIMEOUT };
    steps.add_after(host.name(), Stage::Engine, "start the Docker engine, which is stopped", action, after);
}
