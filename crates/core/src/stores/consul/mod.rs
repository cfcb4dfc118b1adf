//! Consul: an agent on every host, some of them servers, and the engine pointed at its own.
//!
//! The engine takes one Consul address only, so high availability is a local agent on every host (`facts.md`). Everything
//! between agents is mutual TLS under a CA of the cluster's own, gossip is encrypted, and access is denied by default: the
//! agents carry a token as their default that can only do what the engine needs, so the engine itself needs none.

mod causes;
pub mod certificates;
pub(crate) mod files;
pub(crate) mod servers;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Endpoint, Store};
use crate::engines::{self, INSTALL_TIMEOUT, SYSTEMD_TIMEOUT};
use crate::facts::Facts;
use crate::facts::firewall::Traffic;
use crate::inventory::{FabricKind, HostName, ProgramSource};
use crate::paths::{PUSHED_STORE, SECRETS_PATH};
use crate::plan::{
    Action, ConsulCall, Content, HostWorld, Piece, Plan, Problem, PutFile, SecretsFrom, Slot,
    Stage, StepId, Steps, Undo, Verb, World,
};
use crate::platform::{PackageManager, Release, SERVICES, STORE_PACKAGE};

pub use causes::CAUSES;
use certificates::{ENGINE_CERT, ENGINE_KEY, certificates};
use files::wanted_files;
use servers::{Servers, facts_bundle, holder, quorum};

pub use servers::is_server;

/// Consul, run by docker-cluster.
pub struct Consul;

impl Store for Consul {
    fn backend(&self, _: &World<'_>) -> &'static str {
        "consul"
    }

    fn endpoint(&self, _: &World<'_>) -> Endpoint {
        endpoint()
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        problems(world)
    }

    fn steps(&self, world: &World<'_>, to: &mut Steps, notes: &mut Vec<String>) {
        steps(world, to, notes);
    }

    fn ports(&self, host: &HostWorld<'_>) -> Vec<(u16, &'static str)> {
        ports(host.facts)
    }

    fn traffic(&self, world: &World<'_>, host: &HostWorld<'_>) -> Vec<Traffic> {
        traffic(world, host)
    }

    fn listens(&self) -> Vec<Traffic> {
        let tcp = [SERVER_PORT, SERF_PORT, HTTPS_PORT].map(Traffic::Tcp);
        tcp.into_iter().chain([Traffic::Udp(SERF_PORT)]).collect()
    }

    fn leaves(&self, host: &HostWorld<'_>) -> Option<String> {
        (!host.facts.store_user).then(|| format!("user {USER}"))
    }

    fn engines(&self) -> Option<&'static [&'static str]> {
        Some(&[STORE_COMMAND, "kv", "get", "-keys", "docker/nodes/"])
    }
}

/// The unit.
pub const UNIT: &str = "docker-cluster-consul.service";
/// The unit of a script that starts containers again which lost the race with the store at boot, and keeps the engines' watches of the
/// store alive.
pub const RECONCILE_UNIT: &str = "docker-cluster-reconcile.service";

/// Its script.
const RECONCILE: &str = "/usr/local/lib/docker-cluster/reconcile";
/// The system user.
pub const USER: &str = "docker-cluster-store";
/// Its data.
pub const DATA: &str = "/var/lib/docker-cluster-consul";
/// Where its configuration is.
const FOLDER: &str = "/etc/docker-cluster/consul";
/// `consul` with the environment that reaches the local agent.
pub const STORE_COMMAND: &str = "/usr/local/lib/docker-cluster/store";
/// Port of the agents' HTTPS API, on loopback only. Consul's own choice for HTTPS.
pub const HTTPS_PORT: u16 = 8501;
/// Port of the servers' RPC.
const SERVER_PORT: u16 = 8300;
/// Port of the agents' gossip, TCP and UDP.
const SERF_PORT: u16 = 8301;
/// How long the service may take to start: its unit's own limit (120) and a stop before it.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(240);

/// How long the store may take to have a leader and answer everywhere. An election takes a few seconds; servers
/// that were just installed on slow hosts may be a minute apart.
const READY_DEADLINE: Duration = Duration::from_secs(180);

/// The sentence of the step that keeps the store's secrets.
const KEEP_SECRETS: &str = "keep the store's secrets where root alone reads them";

/// What engines may do: their own keys, and the sessions that hold them. Reading nodes lets `consul members` answer.
const ENGINE_RULES: &str = r#"key_prefix "docker/" { policy = "write" }
session_prefix "" { policy = "write" }
node_prefix "" { policy = "read" }
"#;

/// What agents may do: register themselves.
const AGENT_RULES: &str = r#"node_prefix "" { policy = "write" }
service_prefix "" { policy = "read" }
"#;

/// Where the engine finds its agent.
#[must_use]
pub fn endpoint() -> Endpoint {
    let file = |name: &str| format!("{FOLDER}/{name}");
    // All three: with one missing the engine silently speaks plain text (`facts.md`).
    let options = [
        ("kv.cacertfile", file("ca.pem")),
        ("kv.certfile", file(ENGINE_CERT)),
        ("kv.keyfile", file(ENGINE_KEY)),
    ];
    Endpoint {
        url: format!("consul://127.0.0.1:{HTTPS_PORT}"),
        options: options
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    }
}

/// The TCP ports on which the other agents reach this one.
#[must_use]
pub fn ports(facts: &Facts) -> Vec<(u16, &'static str)> {
    match is_server(facts) {
        Some(true) => vec![
            (SERF_PORT, "the gossip of the store"),
            (SERVER_PORT, "the store's servers"),
        ],
        Some(false) => vec![(SERF_PORT, "the gossip of the store")],
        None => Vec::new(),
    }
}

/// What other agents must be able to send to this host's: gossip, and to a server what clients ask.
#[must_use]
pub fn traffic(world: &World<'_>, host: &HostWorld<'_>) -> Vec<Traffic> {
    let server = Servers::of(world)
        .hosts
        .contains(host.name())
        .then_some(Traffic::Tcp(SERVER_PORT));
    [Traffic::Tcp(SERF_PORT), Traffic::Udp(SERF_PORT)]
        .into_iter()
        .chain(server)
        .collect()
}

/// What forbids Consul here.
#[must_use]
pub fn problems(world: &World<'_>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = quorum(world).into_iter().collect();
    let bundles: BTreeMap<&str, &HostName> = world
        .hosts
        .iter()
        .filter_map(|host| {
            Some((
                host.facts.files.get(SECRETS_PATH)?.sha256.as_str(),
                host.name(),
            ))
        })
        .collect();
    if bundles.len() > 1 {
        let names: Vec<&str> = bundles.values().map(|host| host.as_str()).collect();
        problems.push(Problem::of_all(
            format!("{} hold different secrets of the store in {SECRETS_PATH}", names.join(" and ")),
            "if a `store rotate-ca` was interrupted, run it again; else they were in different clusters: keep the file on the hosts whose store is the right one and remove it on the others",
        ));
    }
    let rotating = certificates::under_way(world);
    if !rotating.is_empty() {
        let names: Vec<&str> = rotating.iter().map(|name| name.as_str()).collect();
        problems.push(Problem::of_all(
            format!(
                "the store is getting a new CA: {} still trust two",
                names.join(", ")
            ),
            "end what was begun with `docker-cluster store rotate-ca`",
        ));
    }
    let has_store = world
        .hosts
        .iter()
        .any(|host| host.facts.store.config.is_some());
    if bundles.is_empty()
        && (has_store
            || !world.unreached.is_empty()
                && world
                    .hosts
                    .iter()
                    .any(|host| host.facts.files.contains_key(&format!("{FOLDER}/ca.pem"))))
    {
        let missing: Vec<&str> = world
            .unreached
            .iter()
            .map(|unreached| unreached.host.as_str())
            .collect();
        problems.push(Problem::of_all(
            "there is a store, but no host that answers holds its secrets",
            if missing.is_empty() {
                "bring back a server of the store".to_owned()
            } else {
                format!("bring back {}", missing.join(", "))
            },
        ));
    }
    for host in &world.hosts {
        if host.facts.store.config.is_some() {
            continue;
        }
        let servers_here = Servers::of(world).hosts.contains(host.name());
        let mut ports = vec![(SERF_PORT, "Consul's gossip"), (HTTPS_PORT, "Consul's API")];
        if servers_here {
            ports.push((SERVER_PORT, "Consul's servers"));
        }
        for (port, what) in ports {
            if host.facts.tcp.iter().any(|(_, taken)| *taken == port) {
                problems.push(Problem::on(
                    host.name(),
                    format!("TCP port {port} is taken, and {what} needs it"),
                    format!("find the program with `ss -ltnp 'sport = :{port}'` there, and stop it; another Consul can be used with `store.url` instead"),
                ));
            }
        }
        let packaged = Release::of(host.facts).is_some_and(|release| release.consul)
            || host.facts.candidates.contains_key("consul");
        if world.inventory.store.source == ProgramSource::Package
            && host.facts.store.path.is_empty()
            && !(packaged && PackageManager::of(host.facts).is_some())
        {
            problems.push(Problem::on(
                host.name(),
                format!("{} has no package of Consul", host.facts.os_pretty),
                "say `store.source` with a `path` or `url` of the program, its `sha256` and `version`",
            ));
        }
        if world.inventory.store.source == ProgramSource::Package
            && host.facts.store.path.is_empty()
        {
            let found = crate::platform::in_the_way(host.facts, STORE_PACKAGE);
            problems.extend(
                found
                    .into_iter()
                    .map(|(what, fix)| Problem::on(host.name(), what, fix)),
            );
        }
    }
    problems
}

/// The steps that make the store run everywhere.
pub fn steps(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let servers = Servers::of(world);
    let holder = holder(world, &servers);
    let bundle = holder.and_then(|host| facts_bundle(host.facts));
    let leader = holder.map(HostWorld::name).or(servers.hosts.first());
    let Some(leader) = leader.cloned() else {
        return;
    };
    if !servers.exists {
        let names: Vec<&str> = servers.hosts.iter().map(HostName::as_str).collect();
        notes.push(match names.len() {
            1 => format!(
                "the store runs on one server, {}: it tolerates no loss",
                names[0]
            ),
            n => format!(
                "the store runs on {n} servers ({}): it tolerates the loss of {}",
                names.join(", "),
                n / 2
            ),
        });
    }
    if let Some(silent) = world.silent().filter(|_| !servers.exists) {
        notes.push(format!("{silent}: if it has a store of this cluster already, this begins a second one; bring it back first, or take it out of the inventory"));
    }
    // What needs secrets decides whether they are made or fetched at all.
    let needs_secrets = |host: &HostWorld<'_>| {
        wanted_files(world, host, &servers)
            .iter()
            .any(|file| file.content.plain().is_none() && !file.is_there(host.facts, bundle))
            || certificates(host, &servers)
                .iter()
                .any(|certificate| certificate.is_due(host).is_some())
    };
    let access_is_new = !servers.exists || !world.hosts.iter().any(|host| host.facts.store.ready);
    let secrets = (world.hosts.iter().any(needs_secrets)
        || access_is_new
        || !servers.gone.is_empty())
    .then(|| {
        let (from, why) = match holder {
            Some(_) => (
                SecretsFrom::Fetch,
                "read the store's CA, gossip key and tokens, which it keeps",
            ),
            None => (
                SecretsFrom::Mint,
                "make the store's CA, gossip key and tokens",
            ),
        };
        let born = steps.add(&leader, Stage::Store, why, Action::Secrets(from));
        if from == SecretsFrom::Fetch {
            return born;
        }
        // Kept before anybody uses them: a run that ends here and there must not leave agents with secrets that nobody has.
        let put = PutFile {
            path: SECRETS_PATH.to_owned(),
            mode: "0600",
            owner: "root:root".to_owned(),
            content: Content(vec![Piece::Slot(Slot::StoreBundle)]),
            before: None,
            read_by: None,
            ours: None,
        };
        steps.add(&leader, Stage::Store, KEEP_SECRETS, Action::PutFile(put))
    });

    let mut started = Vec::new();
    let mut previous: Option<StepId> = None;
    let mut changed = Vec::new();
    for host in &world.hosts {
        let given = Given {
            servers: &servers,
            leader: &leader,
            bundle,
            secrets,
            previous,
        };
        let done = host_steps(world, host, &given, steps);
        started.extend(done.started);
        previous = done.well.or(previous);
        if done.started.is_some() && done.well.is_none() {
            changed.push(host.name().clone());
        }
    }
    if !servers.exists {
        start_together(&servers, &started, steps);
    }
    let access = access_is_new.then(|| {
        let call = ConsulCall::EnsureAccess {
            engine_rules: ENGINE_RULES.to_owned(),
            agent_rules: AGENT_RULES.to_owned(),
        };
        let id = steps.add(
            &leader,
            Stage::Store,
            "register the tokens of engines and agents, and what they may do",
            Action::Consul(call),
        );
        steps.follow(id, &started);
        id
    });
    if !servers.gone.is_empty() {
        let addresses: Vec<String> = servers
            .gone
            .iter()
            .map(|ip| format!("{ip}:{SERVER_PORT}"))
            .collect();
        let why = format!(
            "take {} out of the store's quorum, which left the inventory",
            addresses.join(", ")
        );
        let id = steps.add(
            &leader,
            Stage::Store,
            why,
            Action::Consul(ConsulCall::RemovePeers { addresses }),
        );
        steps.follow(id, &started);
    }
    for host in &world.hosts {
        if changed.contains(host.name()) || !host.facts.store.ready {
            let after = access.into_iter().collect();
            steps.add_after(
                host.name(),
                Stage::Store,
                "wait until the store answers",
                ready(),
                after,
            );
        }
    }
}

/// Lets no agent of a new store start before all servers can: until they all have, there is no leader, and an agent's start waits for one
/// for two minutes. Where one of them fails before, the others have nothing to wait for.
fn start_together(servers: &Servers, started: &[StepId], steps: &mut Steps) {
    let ready: Vec<StepId> = servers
        .hosts
        .iter()
        .filter_map(|host| {
            let all: Vec<StepId> = steps.of(host).map(|step| step.id).collect();
            let start = all.iter().position(|id| started.contains(id))?;
            all.get(start.checked_sub(1)?).copied()
        })
        .collect();
    for start in started {
        steps.require(*start, &ready);
    }
}

/// A plan about the store's content; `steps` gets the host that holds its secrets.
pub(crate) fn content_plan(
    world: &World<'_>,
    reason: &str,
    fill: impl FnOnce(&HostName, &mut Steps),
) -> Plan {
    let mut problems = world.problems.clone();
    let mut steps = Steps::default();
    match holder(world, &Servers::of(world)) {
        Some(host) => {
            let why = "read the store's tokens, which it keeps";
            steps.add(
                host.name(),
                Stage::Store,
                why,
                Action::Secrets(SecretsFrom::Fetch),
            );
            fill(host.name(), &mut steps);
        }
        None => problems.push(Problem::of_all(
            "no host that answers is a server of a store that docker-cluster runs",
            "bring a server back; a store of your own (`store.url`) has tools of its own",
        )),
    }
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Auto,
        reason: format!("the store is looked after: {reason}"),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: if problems.is_empty() {
            steps.into_vec()
        } else {
            Vec::new()
        },
        problems,
        notes: Vec::new(),
        unreached: world.unreached.clone(),
    }
}

/// Saves the store's content.
#[must_use]
pub fn plan_backup(world: &World<'_>, file: &Path) -> Plan {
    content_plan(world, "its content is saved", |host, steps| {
        let call = ConsulCall::Backup {
            file: file.to_owned(),
        };
        steps.add(
            host,
            Stage::Store,
            format!("save the store to {}", file.display()),
            Action::Consul(call),
        );
    })
}

/// Puts the store's content back. The tokens of that time come with it, so the present ones are registered again afterwards: a server
/// that starts brings back the token that may do so.
#[must_use]
pub fn plan_restore(world: &World<'_>, file: &Path) -> Plan {
    content_plan(world, "its content is put back", |host, steps| {
        let call = ConsulCall::Restore {
            file: file.to_owned(),
        };
        let why = format!("put the store back as it was saved in {}", file.display());
        let mut previous = steps.add(host, Stage::Store, why, Action::Consul(call));
        for server in world
            .hosts
            .iter()
            .filter(|host| is_server(host.facts) == Some(true))
        {
            let action = Action::Service {
                verb: Verb::Restart,
                unit: UNIT,
                timeout: START_TIMEOUT,
            };
            let why = "restart Consul, so that it knows the present tokens";
            previous = steps.add_after(server.name(), Stage::Store, why, action, vec![previous]);
        }
        let call = ConsulCall::EnsureAccess {
            engine_rules: ENGINE_RULES.to_owned(),
            agent_rules: AGENT_RULES.to_owned(),
        };
        let why = "register the present tokens of engines and agents";
        let access = steps.add_after(
            host,
            Stage::Store,
            why,
            Action::Consul(call),
            vec![previous],
        );
        for host in world
            .hosts
            .iter()
            .filter(|host| is_server(host.facts).is_some())
        {
            steps.add_after(
                host.name(),
                Stage::Store,
                "wait until the store answers",
                ready(),
                vec![access],
            );
        }
    })
}

/// What the steps of one host are made from, beside the host itself.
struct Given<'a> {
    servers: &'a Servers,
    /// The host that keeps the secrets before all others.
    leader: &'a HostName,
    /// Checksum of the store's present secrets.
    bundle: Option<&'a str>,
    /// The step that brings the secrets.
    secrets: Option<StepId>,
    /// The step after which the agent before this one is well again.
    previous: Option<StepId>,
}

/// What became of a host.
#[derive(Default)]
struct HostSteps {
    /// The step that starts or restarts its agent.
    started: Option<StepId>,
    /// The step after which an agent that ran before is well again.
    well: Option<StepId>,
}

/// Makes the agent of one host what it should be. One that runs is changed after the one before it is well: a quorum that exists is
/// kept, and what one agent refuses never reaches the next.
fn host_steps(
    world: &World<'_>,
    host: &HostWorld<'_>,
    given: &Given<'_>,
    steps: &mut Steps,
) -> HostSteps {
    let Given {
        servers,
        bundle,
        secrets,
        previous,
        ..
    } = *given;
    let name = host.name();
    let unit = host.facts.unit(UNIT);
    let active = unit.is_some_and(|unit| unit.active == "active");
    let turn = || -> Vec<StepId> {
        if active {
            previous.into_iter().collect()
        } else {
            Vec::new()
        }
    };
    let first = steps.next_id();
    let mut restart = install(world, host, steps);
    let (mut reload_units, mut reload) = (false, false);
    let mut written = Vec::new();
    // A program that does not start must not be on all hosts at once, and goes back with the rest.
    let pushed = steps
        .of(name)
        .find(|step| step.id >= first && matches!(step.action, Action::PushProgram { .. }))
        .map(|step| step.id);
    if let Some(pushed) = pushed {
        written.push(PUSHED_STORE.to_owned());
        steps.await_turn(pushed, &turn());
    }
    for file in wanted_files(world, host, servers) {
        restart |= file.read_by.is_some() && host.facts.has_not_read(UNIT, &file.path);
        let is_kept = file.path == SECRETS_PATH && bundle.is_none() && name == given.leader;
        if is_kept || file.is_there(host.facts, bundle) {
            continue;
        }
        restart |= file.read_by.is_some();
        reload_units |= file.path.starts_with("/etc/systemd/");
        let after = if file.content.plain().is_none() {
            secrets.into_iter().collect()
        } else {
            Vec::new()
        };
        written.push(file.path.clone());
        let id = steps.add_after(name, Stage::Store, file.why.clone(), file.put(), after);
        steps.await_turn(id, &turn());
    }
    for certificate in certificates(host, servers) {
        if let Some(why) = certificate.is_due(host) {
            reload |= certificate.cert != ENGINE_CERT;
            written.extend(certificate.paths());
            let after = secrets.into_iter().collect();
            let id = steps.add_after(name, Stage::Store, why, certificate.issue(), after);
            steps.await_turn(id, &turn());
        }
    }
    reload_units |= [UNIT, RECONCILE_UNIT]
        .iter()
        .any(|unit| host.facts.unit(unit).is_some_and(|unit| unit.needs_reload));
    if reload_units {
        run(
            steps,
            name,
            "let systemd read the units",
            &SERVICES.argv(SERVICES.reread, &[]),
            SYSTEMD_TIMEOUT,
            Vec::new(),
        );
    }
    if unit.is_none_or(|unit| unit.file_state != "enabled") {
        let argv = SERVICES.argv(SERVICES.enable, &[UNIT, RECONCILE_UNIT]);
        run(
            steps,
            name,
            "start Consul and its helper at every boot",
            &argv,
            SYSTEMD_TIMEOUT,
            Vec::new(),
        );
    }
    // The helper starts with the engine; where that goes on as it is, the helper needs a start of its own.
    let helped = engines::is_running(host.facts) && engines::options::uses_store(host);
    let lacks = servers.hosts.contains(name) && !host.facts.is_active(RECONCILE_UNIT);
    if active && helped && (lacks || written.iter().any(|path| path == RECONCILE)) {
        let action = Action::Service {
            verb: Verb::Restart,
            unit: RECONCILE_UNIT,
            timeout: START_TIMEOUT,
        };
        steps.add(
            name,
            Stage::Store,
            "start the helper that keeps the engines' watches of the store alive",
            action,
        );
    }
    let service = |verb| Action::Service {
        verb,
        unit: UNIT,
        timeout: START_TIMEOUT,
    };
    if !active {
        let id = steps.add(name, Stage::Store, "start Consul", service(Verb::Restart));
        // Nothing worked before: what does not start is not left trying for ever, in the way of whatever took its place.
        steps.undo(
            id,
            Undo {
                unit: UNIT,
                actions: vec![switch_off(START_TIMEOUT)],
            },
        );
        return HostSteps {
            started: Some(id),
            well: None,
        };
    }
    let verb = match (restart, reload) {
        (true, _) => Verb::Restart,
        // Consul reads its certificates again on a reload; nothing that uses it notices.
        (false, true) => Verb::Reload,
        (false, false) => return HostSteps::default(),
    };
    let undo = || {
        let argv = SERVICES.argv(SERVICES.reread, &[]);
        let back = [
            Action::PutBack {
                paths: written.clone(),
            },
            Action::Run {
                argv,
                timeout: SYSTEMD_TIMEOUT,
            },
            service(Verb::Restart),
        ];
        Undo {
            unit: UNIT,
            actions: back.into(),
        }
    };
    let why = match verb {
        Verb::Restart => "restart Consul with its new configuration",
        Verb::Start | Verb::Reload => "let Consul read its new certificate",
    };
    let id = steps.add(name, Stage::Store, why, service(verb));
    steps.await_turn(id, &turn());
    steps.undo(id, undo());
    let well = steps.add(name, Stage::Store, "wait until the store answers", ready());
    steps.undo(well, undo());
    HostSteps {
        started: Some(id),
        well: Some(well),
    }
}

/// Stops the agent and its helper, now and at every boot.
#[must_use]
pub fn switch_off(timeout: Duration) -> Action {
    let args = [UNIT, RECONCILE_UNIT].map(str::to_owned).to_vec();
    Action::Script {
        name: "units-off",
        text: include_str!("../../../../../templates/units-off.sh"),
        args,
        timeout,
    }
}

pub(crate) fn ready() -> Action {
    Action::wait(
        "the store answers with a leader behind it",
        &[STORE_COMMAND, "kv", "get", "-keys", "docker/"],
        Vec::<String>::new(),
        READY_DEADLINE,
    )
}

/// Gets the program and the user onto a host. Returns whether the program changed.
fn install(world: &World<'_>, host: &HostWorld<'_>, steps: &mut Steps) -> bool {
    let name = host.name();
    let mut changed = false;
    match &world.inventory.store.source {
        ProgramSource::Package if host.facts.store.path.is_empty() => {
            if let Some(manager) = PackageManager::of(host.facts) {
                let action = Action::Script {
                    name: manager.name,
                    text: manager.install,
                    args: vec![STORE_PACKAGE.to_owned()],
                    timeout: INSTALL_TIMEOUT,
                };
                let why = format!(
                    "install Consul from the packages of {}",
                    host.facts.os_pretty
                );
                let id = steps.add(name, Stage::Store, why, action);
                steps.undo(id, Undo::of_installation(manager, UNIT));
                changed = true;
            }
        }
        ProgramSource::Package => {}
        ProgramSource::Path { sha256, .. } | ProgramSource::Url { sha256, .. } => {
            let source = match &world.inventory.store.source {
                ProgramSource::Path { path, .. } => path.display().to_string(),
                ProgramSource::Url { url, .. } => url.clone(),
                ProgramSource::Package => String::new(),
            };
            // The record holds the checksum of what was fetched; what was unpacked from it has another.
            let record = host.facts.record(PUSHED_STORE);
            let is_there = record.is_some_and(|record| {
                record.source == *sha256 && record.sha256 == host.facts.store.sha256
            });
            if !is_there {
                let address = (world.hosts.len() > 1).then_some(host.private);
                let (sha256, path) = (sha256.clone(), PUSHED_STORE.to_owned());
                let action = Action::PushProgram {
                    source: source.clone(),
                    sha256,
                    path,
                    address,
                };
                steps.add(
                    name,
                    Stage::Store,
                    format!("push Consul from {source}"),
                    action,
                );
                changed = true;
            }
        }
    }
    if !host.facts.store_user {
        run(
            steps,
            name,
            "make a system user for Consul",
            &[
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
                USER,
            ],
            SYSTEMD_TIMEOUT,
            Vec::new(),
        );
    }
    changed
}

fn run(
    steps: &mut Steps,
    host: &HostName,
    why: &str,
    argv: &[impl AsRef<str>],
    timeout: Duration,
    after: Vec<StepId>,
) -> StepId {
    let action = Action::Run {
        argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(),
        timeout,
    };
    steps.add_after(host, Stage::Store, why, action, after)
}
