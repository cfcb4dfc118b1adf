//! Standalone Swarm: Docker's scheduler of before swarm mode, as containers over a classic overlay, the way Docker Machine made it.
//!
//! An agent on every host says in the store that its engine is there; managers read that, and are asked as if they were one engine. They
//! ask the engines over TLS. The containers have the host's network, since the store's agent listens on loopback, and nothing else of
//! the host but the certificates that they read: no capabilities, and no file that they could write.

use std::time::Duration;

use serde_json::json;

use crate::checksum::sha256_hex;
use crate::engines::api;
use crate::facts::firewall::Traffic;
use crate::facts::{Container, Engine};
use crate::inventory::{API_PORT, FabricKind, HostName, StandaloneSpec};
use crate::labels::{MADE_OF_LABEL, SWARM_LABEL};
use crate::plan::{
    Action, Authority, EngineCall, HostWorld, NewContainer, Problem, Recorded, Stage, StepId,
    Steps, World,
};
use crate::stores;
use crate::x509;

/// What an agent is called on its host: as Docker Machine called it.
pub const AGENT: &str = "swarm-agent";

/// What a manager is called on its host: the same.
pub const MANAGER: &str = "swarm-agent-master";

/// A manager's certificate: it serves clients with it, and asks engines.
const CERT: &str = "/etc/docker-cluster/swarm/manager.pem";

/// Its key. Who has it is root on every host, as who has a person's.
const KEY: &str = "/etc/docker-cluster/swarm/manager-key.pem";

/// Life of a manager's certificate, in days: that of its CA, as an engine's.
const DAYS: i64 = 3650;

/// How long managers may take to find each other and all engines. Agents announce themselves at once; a manager that had no leader
/// tries again after 10 s, and one whose watch of the store has ended after 60 s.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// How long an engine may take to remove a container.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of the engine's store that are certificates, by their names in both programs.
const CERTIFICATES: [&str; 3] = ["kv.cacertfile", "kv.certfile", "kv.keyfile"];

/// What is wanted of it, if it is.
fn wanted<'a>(world: &'a World<'_>) -> Option<&'a StandaloneSpec> {
    world.inventory.swarm.standalone.as_ref()
}

/// The hosts with a manager.
#[must_use]
pub fn managers<'a>(world: &'a World<'_>) -> Vec<&'a HostName> {
    if wanted(world).is_none() {
        return Vec::new();
    }
    world
        .inventory
        .swarm
        .managers
        .choose(&world.inventory.hosts)
}

/// The TCP ports on which managers and engines are reached, with what they are for.
pub(super) fn ports(world: &World<'_>, host: &HostWorld<'_>) -> Vec<(u16, &'static str)> {
    let mut ports = Vec::new();
    if wanted(world).is_some() {
        ports.push((API_PORT, "the engine, which managers of Swarm ask"));
    }
    if let Some(spec) = wanted(world).filter(|_| managers(world).contains(&host.name())) {
        ports.push((spec.port, "the manager of Swarm"));
    }
    ports
}

/// The same as traffic that a firewall must let in.
pub(super) fn traffic(world: &World<'_>, host: &HostWorld<'_>) -> Vec<Traffic> {
    let ports = ports(world, host).into_iter();
    ports.map(|(port, _)| Traffic::Tcp(port)).collect()
}

/// A line of the record of the image, for `down` to take it away.
#[must_use]
pub fn leaves(world: &World<'_>, host: &HostWorld<'_>) -> Option<String> {
    let image = &wanted(world)?.image;
    let engine = host.facts.engine.as_ref();
    // What a stopped engine has is not known, and so not claimed.
    let is_known = engine.is_none_or(Engine::is_up);
    let is_there = engine.is_some_and(|engine| engine.images.contains(image));
    (is_known && !is_there).then(|| format!("image {image}"))
}

/// What forbids it, whatever connects the hosts.
#[must_use]
pub fn problems(world: &World<'_>, kind: FabricKind) -> Vec<Problem> {
    let Some(spec) = wanted(world) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if kind == FabricKind::Swarm && spec.discovery.is_none() {
        problems.push(Problem::of_all(
            "standalone Swarm is for engines up to 20.10, and these hosts get swarm mode",
            "take `mode: standalone` out of `swarm:`: swarm mode schedules as well (`docker service create`), and \
             `docker-cluster env --swarm` points at a manager of it",
        ));
    }
    // Where the fabric needs an engine up to 20.10 itself, it says so.
    if !matches!(kind, FabricKind::Swarm | FabricKind::Overlay) {
        problems.extend(world.hosts.iter().filter_map(too_new));
    }
    let managers = managers(world);
    for host in &world.hosts {
        let is_manager = managers.contains(&host.name());
        let names = [(AGENT, spec.agents), (MANAGER, is_manager)];
        let theirs = names.iter().find(|(name, is_wanted)| {
            *is_wanted && foreign(host).any(|container| container.name == *name)
        });
        let (port, in_use) = (spec.port, own(host).any(|own| own.name == MANAGER));
        if let Some((name, _)) = theirs {
            problems.push(Problem::on(
                host.name(),
                format!("has a container {name} that docker-cluster has not made: Docker Machine's were called so"),
                format!("if it is not needed any more, remove it: `docker rm -f {name}` there"),
            ));
        } else if is_manager && !in_use && host.facts.tcp.iter().any(|(_, taken)| *taken == port) {
            problems.push(Problem::on(
                host.name(),
                format!("TCP port {port} is taken, and its manager of Swarm is to listen there"),
                format!("find the program with `ss -ltnp 'sport = :{port}'` there and stop it"),
            ));
        }
    }
    problems
}

/// An engine that standalone Swarm is too old for.
fn too_new(host: &HostWorld<'_>) -> Option<Problem> {
    let engine = host.engine.as_ref()?;
    (engine.version.major >= super::WITHOUT_STORES).then(|| {
        Problem::on(
            host.name(),
            format!(
                "{} the engine {}, and standalone Swarm is for engines up to 20.10",
                if engine.to_install { "will have" } else { "has" },
                engine.version
            ),
            "leave Swarm out here: `docker-cluster up` with an inventory of the hosts connects newer engines by swarm mode, which schedules \
             as well (`docker service create`)",
        )
    })
}

/// The containers of a host that others made.
fn foreign<'a>(host: &'a HostWorld<'_>) -> impl Iterator<Item = &'a Container> {
    let engine = host.facts.engine.iter();
    let all = engine.flat_map(|engine| &engine.containers);
    all.filter(|container| !container.is_own())
}

/// The containers of Swarm that docker-cluster made on a host.
fn own<'a>(host: &'a HostWorld<'_>) -> impl Iterator<Item = &'a Container> {
    let containers = host
        .facts
        .engine
        .iter()
        .flat_map(|engine| &engine.containers);
    containers.filter(|container| container.labels.contains_key(SWARM_LABEL))
}

/// The address of a host's engine for managers.
fn address(host: &HostWorld<'_>) -> std::net::IpAddr {
    let named = host.spec.api.as_ref().and_then(|api| api.listen);
    named
        .filter(|ip| !ip.is_unspecified())
        .unwrap_or(host.private)
}

/// Where managers and agents find each other: arguments, and the files that these name.
fn discovery(world: &World<'_>, spec: &StandaloneSpec) -> (Vec<String>, Vec<String>) {
    if let Some(url) = &spec.discovery {
        return (vec![url.clone()], Vec::new());
    }
    let endpoint = stores::of(world).endpoint(world);
    let (mut arguments, mut files) = (Vec::new(), Vec::new());
    for name in CERTIFICATES {
        if let Some(path) = endpoint.options.get(name) {
            arguments.extend(["--discovery-opt".to_owned(), format!("{name}={path}")]);
            files.push(path.clone());
        }
    }
    arguments.push(endpoint.url);
    (arguments, files)
}

fn agent(world: &World<'_>, host: &HostWorld<'_>, spec: &StandaloneSpec) -> NewContainer {
    let (discovery, files) = discovery(world, spec);
    let announced = format!("{}:{API_PORT}", address(host));
    let mut arguments = begun(spec, "join");
    arguments.extend(["--advertise".to_owned(), announced]);
    arguments.extend(flags(&spec.join_options));
    arguments.extend(discovery);
    container(world, AGENT, spec, arguments, files)
}

/// The command of Swarm. What is experimental is said before it.
fn begun(spec: &StandaloneSpec, command: &str) -> Vec<String> {
    let experimental = spec.experimental.then_some("--experimental");
    let words = experimental.into_iter().chain([command]);
    words.map(str::to_owned).collect()
}

fn flags(options: &[String]) -> impl Iterator<Item = String> {
    options.iter().map(|option| format!("--{option}"))
}

fn manager(world: &World<'_>, host: &HostWorld<'_>, spec: &StandaloneSpec) -> NewContainer {
    let (discovery, mut files) = discovery(world, spec);
    let listen = host.spec.api.as_ref().and_then(|api| api.listen);
    let listen = listen.unwrap_or(host.private);
    let mut arguments = begun(spec, "manage");
    arguments.extend([
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", api::CA),
        format!("--tlscert={CERT}"),
        format!("--tlskey={KEY}"),
        "-H".to_owned(),
        format!("tcp://{listen}:{}", spec.port),
        "--strategy".to_owned(),
        spec.strategy.as_str().to_owned(),
    ]);
    for filter in &spec.filters {
        arguments.extend(["--filter".to_owned(), filter.as_str().to_owned()]);
    }
    let are_several = managers(world).len() > 1;
    if are_several {
        arguments.push("--replication".to_owned());
    }
    // Who asks for replication by a flag of their own needs it as well.
    if are_several || !spec.options.is_empty() {
        let announced = format!("{}:{}", address(host), spec.port);
        arguments.extend(["--advertise".to_owned(), announced]);
    }
    arguments.extend(flags(&spec.options));
    arguments.extend(discovery);
    files.extend([api::CA, CERT, KEY].map(str::to_owned));
    container(world, MANAGER, spec, arguments, files)
}

fn container(
    world: &World<'_>,
    name: &str,
    spec: &StandaloneSpec,
    arguments: Vec<String>,
    files: Vec<String>,
) -> NewContainer {
    let made_of = json!([spec.image, arguments, files]).to_string();
    let labels = [
        (SWARM_LABEL, world.inventory.cluster.to_string()),
        (MADE_OF_LABEL, sha256_hex(made_of.as_bytes())),
    ];
    NewContainer {
        name: name.to_owned(),
        image: spec.image.clone(),
        arguments,
        files,
        labels: labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// What is missing of it, and what is left of it where it is not wanted any more. Returns what is to be said of where its hosts find each
/// other.
#[must_use]
pub fn steps(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) -> Option<String> {
    let before = steps.next_id();
    for host in &world.hosts {
        let Some(spec) = wanted(world) else {
            take_off(host, &[AGENT, MANAGER], steps);
            continue;
        };
        image(world, host, spec, steps);
        if spec.agents {
            let why = "announce its engine to the managers of Swarm";
            run(host, agent(world, host, spec), why, steps);
        } else {
            take_off_container(host, AGENT, &not_wanted(AGENT), steps);
        }
        if managers(world).contains(&host.name()) {
            certificate(world, host, steps);
            let why = format!("run a manager of Swarm on port {}", spec.port);
            run(host, manager(world, host, spec), &why, steps);
        } else {
            take_off(host, &[MANAGER], steps);
        }
    }
    let spec = wanted(world).filter(|_| steps.next_id() > before)?;
    ready(world, spec, &managers(world), steps);
    opened(world, spec, steps, notes);
    plainly(spec)
}

/// The port that managers are about to listen on, and who may ask there. One that is made anew where one listens already opens nothing.
fn opened(world: &World<'_>, spec: &StandaloneSpec, steps: &Steps, notes: &mut Vec<String>) {
    let begins = |host: &HostWorld<'_>| {
        let listens = host.facts.tcp.iter().any(|(_, port)| *port == spec.port);
        let runs = |action: &Action| matches!(action, Action::Engine(EngineCall::RunContainer(new)) if new.name == MANAGER);
        !listens && steps.of(host.name()).any(|step| runs(&step.action))
    };
    let hosts = world.hosts.iter().filter(|host| begins(host));
    let opened: Vec<String> = hosts
        .filter_map(|host| Some(api::opens(host, host.spec.api.as_ref()?)))
        .collect();
    if !opened.is_empty() {
        notes.push(format!(
            "TCP port {} opens, with TLS: {}; who has a certificate of the cluster asks the manager of Swarm there, and is root on every host",
            spec.port,
            opened.join(", ")
        ));
    }
}

/// Without certificates everybody on the way may say which hosts there are, and so where containers run.
fn plainly(spec: &StandaloneSpec) -> Option<String> {
    let url = spec.discovery.as_ref()?;
    Some(format!(
        "managers and agents of Swarm find each other in {url} without TLS: who can write there decides which hosts containers run on"
    ))
}

fn image(world: &World<'_>, host: &HostWorld<'_>, spec: &StandaloneSpec, steps: &mut Steps) {
    let has = |host: &HostWorld<'_>| {
        let engine = host.facts.engine.as_ref();
        engine.is_some_and(|engine| engine.images.contains(&spec.image))
    };
    if has(host) {
        return;
    }
    let lack_it = world.hosts.iter().filter(|host| !has(host)).count();
    let from = if spec.tar.is_some() { "push" } else { "pull" };
    let action = Action::EnsureImage {
        image: spec.image.clone(),
        tar: spec.tar.as_ref().map(|tar| tar.path.clone()),
        sha256: spec.tar.as_ref().map(|tar| tar.sha256.clone()),
        address: (lack_it > 1).then_some(host.private),
    };
    let why = format!("{from} the image {}", spec.image);
    steps.add(host.name(), Stage::Swarm, why, action);
}

/// Runs a container, unless it runs as it should.
fn run(host: &HostWorld<'_>, container: NewContainer, why: &str, steps: &mut Steps) {
    let is_it = |present: &Container| {
        present.name == container.name
            && present.is_running()
            && present.labels.get(MADE_OF_LABEL) == container.labels.get(MADE_OF_LABEL)
    };
    // Where its certificate is about to be issued it has been taken off.
    let gone = steps
        .of(host.name())
        .any(|step| removes(&step.action, &container.name));
    if own(host).any(is_it) && !gone {
        return;
    }
    let call = EngineCall::RunContainer(Box::new(container));
    steps.add(host.name(), Stage::Swarm, why, Action::Engine(call));
}

fn remove(name: &str) -> Action {
    Action::Run {
        argv: ["docker", "rm", "-f", name].map(str::to_owned).to_vec(),
        timeout: REMOVE_TIMEOUT,
    }
}

fn removes(action: &Action, name: &str) -> bool {
    matches!(action, Action::Run { argv, .. } if argv.iter().any(|word| word == "rm") && argv.last().is_some_and(|last| last == name))
}

/// Issues a manager its certificate, if that is due. A manager reads it only when it starts, so it goes first: a run that is cut off in
/// between leaves none that shows an old one.
fn certificate(world: &World<'_>, host: &HostWorld<'_>, steps: &mut Steps) {
    let Some(spec) = &host.spec.api else { return };
    let (names, addresses) = api::subject(host, spec);
    let facts = host.facts;
    let renewed = |action: &Action| matches!(action, Action::PutFile(file) if file.path == api::CA);
    let is_private = facts
        .files
        .get(KEY)
        .is_some_and(|key| key.mode == "600" && key.owner == "root:root");
    let due = x509::due(
        &facts.api.manager,
        &facts.api.ca,
        &names,
        &addresses,
        facts.clock,
    );
    let is_of_another_ca = steps.of(host.name()).any(|step| renewed(&step.action));
    if is_private && due.is_none() && !is_of_another_ca {
        return;
    }
    issue(world, host, names, addresses, steps);
}

fn issue(
    world: &World<'_>,
    host: &HostWorld<'_>,
    dns_names: Vec<String>,
    addresses: Vec<std::net::IpAddr>,
    steps: &mut Steps,
) -> StepId {
    let first = steps.next_id();
    take_off_container(
        host,
        MANAGER,
        "stop the manager of Swarm, which gets another certificate",
        steps,
    );
    let at_hand: Vec<StepId> = api::at_hand(world, steps).into_iter().collect();
    let action = Action::IssueCertificate {
        by: Authority::Managers,
        days: DAYS,
        common_name: format!("manager on {}", host.name()),
        dns_names,
        addresses,
        cert_path: CERT.to_owned(),
        key_path: KEY.to_owned(),
        owner: "root:root".to_owned(),
    };
    let why = "issue the manager of Swarm a certificate";
    steps.add_after(host.name(), Stage::Swarm, why, action, at_hand);
    first
}

/// Gives managers that are there certificates of a CA that has just been made. An engine that restarts while a manager starts is tried
/// again only half a minute later, so all engines come first.
pub fn renew(world: &World<'_>, steps: &mut Steps) {
    let Some(spec) = wanted(world) else { return };
    let (engines, mut renewed) = (steps.last_of_each(), Vec::new());
    for host in &world.hosts {
        let runs = own(host).any(|container| container.name == MANAGER);
        let Some(api) = host.spec.api.as_ref().filter(|_| runs) else {
            continue;
        };
        let (names, addresses) = api::subject(host, api);
        let first = issue(world, host, names, addresses, steps);
        steps.follow(first, &engines);
        let why = format!("run a manager of Swarm on port {}", spec.port);
        run(host, manager(world, host, spec), &why, steps);
        renewed.push(host.name());
    }
    ready(world, spec, &renewed, steps);
}

fn take_off_container(host: &HostWorld<'_>, name: &str, why: &str, steps: &mut Steps) {
    if own(host).any(|container| container.name == name) {
        steps.add(host.name(), Stage::Swarm, why, remove(name));
    }
}

fn not_wanted(name: &str) -> String {
    format!("remove {name}, which is not wanted any more")
}

/// Takes containers off a host, and a manager's certificate with it.
fn take_off(host: &HostWorld<'_>, names: &[&str], steps: &mut Steps) {
    for name in names {
        take_off_container(host, name, &not_wanted(name), steps);
    }
    for path in [CERT, KEY] {
        let Some(record) = host.facts.record(path) else {
            continue;
        };
        let action = Action::restore(host.facts, record, Recorded::Dropped);
        steps.add(host.name(), Stage::Swarm, format!("remove {path}"), action);
    }
}

/// Waits until these managers have every engine of this run.
fn ready(world: &World<'_>, spec: &StandaloneSpec, managers: &[&HostName], steps: &mut Steps) {
    let last = steps.last_of_each();
    for host in managers.iter().filter_map(|name| world.host(name)) {
        let to = format!("tcp://{}:{}", address(host), spec.port);
        let argv = [
            "docker".to_owned(),
            "--tlsverify".to_owned(),
            format!("--tlscacert={}", api::CA),
            format!("--tlscert={CERT}"),
            format!("--tlskey={KEY}"),
            "-H".to_owned(),
            to,
            "info".to_owned(),
            "--format".to_owned(),
            "{{json .}}".to_owned(),
        ];
        let engine = |host: &HostWorld<'_>| {
            format!("{}\",\"{}:{API_PORT}\"", host.facts.hostname, address(host))
        };
        let action = Action::WaitFor {
            what: "the manager has all engines".to_owned(),
            argv: argv.to_vec(),
            // Without agents of this inventory's own it answers, and that is all that is known.
            expect: spec.agents.then(|| engine(host)).into_iter().collect(),
            peers: world
                .hosts
                .iter()
                .filter(|_| spec.agents)
                .map(|peer| (peer.name().clone(), engine(peer)))
                .collect(),
            deadline: READY_DEADLINE,
        };
        let id = steps.add(
            host.name(),
            Stage::Swarm,
            "wait until the manager has all engines",
            action,
        );
        steps.follow(id, &last);
    }
}
