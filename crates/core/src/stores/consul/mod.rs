//! Consul: an agent on every host, some of them servers, and the engine pointed at its own.
//!
//! The engine takes one Consul address only, so high availability is a local agent on every host (`facts.md`). Everything
//! between agents is mutual TLS under a CA of the cluster's own, gossip is encrypted, and access is denied by default: the
//! agents carry a token as their default that can only do what the engine needs, so the engine itself needs none.

mod agent;
mod causes;
pub mod certificates;
pub(crate) mod files;
mod problems;
pub(crate) mod servers;

use std::path::Path;
use std::time::Duration;

use super::{Endpoint, Store};
use crate::facts::Facts;
use crate::facts::firewall::Traffic;
use crate::inventory::{FabricKind, HostName};
use crate::paths::SECRETS_PATH;
use crate::plan::{
    Action, ConsulCall, Content, HostWorld, Piece, Plan, Problem, PutFile, SecretsFrom, Slot,
    Stage, StepId, Steps, Verb, World,
};

use agent::Given;
pub use causes::CAUSES;
use certificates::{ENGINE_CERT, ENGINE_KEY};
use servers::{Servers, facts_bundle, holder};

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
        problems::problems(world)
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

/// The steps that make the store run everywhere.
pub fn steps(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let servers = Servers::of(world);
    let holder = holder(world, &servers);
    let Some(leader) = holder.map(HostWorld::name).or(servers.hosts.first()) else {
        return;
    };
    if !servers.exists {
        notes.extend(about_a_new_store(world, &servers));
    }
    let bundle = holder.and_then(|host| facts_bundle(host.facts));
    let access_is_new = !servers.exists || !world.hosts.iter().any(|host| host.facts.store.ready);
    let needs_secrets = access_is_new
        || !servers.gone.is_empty()
        || world
            .hosts
            .iter()
            .any(|host| agent::needs_secrets(world, host, &servers, bundle));
    let secrets = needs_secrets.then(|| get_secrets(leader, holder.is_some(), steps));

    let mut started = Vec::new();
    let mut previous: Option<StepId> = None;
    let mut changed = Vec::new();
    for host in &world.hosts {
        let given = Given {
            servers: &servers,
            leader,
            bundle,
            secrets,
            previous,
        };
        let done = agent::steps(world, host, &given, steps);
        started.extend(done.started);
        previous = done.well.or(previous);
        if done.started.is_some() && done.well.is_none() {
            changed.push(host.name());
        }
    }
    if !servers.exists {
        start_together(&servers, &started, steps);
    }
    let access = access_is_new.then(|| {
        let why = "register the tokens of engines and agents, and what they may do";
        let id = steps.add(leader, Stage::Store, why, ensure_access());
        steps.follow(id, &started);
        id
    });
    remove_gone(leader, &servers, &started, steps);
    for host in &world.hosts {
        if changed.contains(&host.name()) || !host.facts.store.ready {
            let after = access.into_iter().collect();
            let why = "wait until the store answers";
            steps.add_after(host.name(), Stage::Store, why, ready(), after);
        }
    }
}

/// What a person should know of a store that is begun.
fn about_a_new_store(world: &World<'_>, servers: &Servers) -> Vec<String> {
    let names: Vec<&str> = servers.hosts.iter().map(HostName::as_str).collect();
    let size = match names[..] {
        [only] => format!("the store runs on one server, {only}: it tolerates no loss"),
        _ => format!(
            "the store runs on {} servers ({}): it tolerates the loss of {}",
            names.len(),
            names.join(", "),
            names.len() / 2
        ),
    };
    let second = world.silent().map(|silent| {
        format!("{silent}: if it has a store of this cluster already, this begins a second one; bring it back first, or take it out of the inventory")
    });
    std::iter::once(size).chain(second).collect()
}

/// Makes the store's secrets, or reads those that it keeps. Returns the step after which they are there.
fn get_secrets(leader: &HostName, are_kept: bool, steps: &mut Steps) -> StepId {
    let (from, why) = match are_kept {
        true => (
            SecretsFrom::Fetch,
            "read the store's CA, gossip key and tokens, which it keeps",
        ),
        false => (
            SecretsFrom::Mint,
            "make the store's CA, gossip key and tokens",
        ),
    };
    let born = steps.add(leader, Stage::Store, why, Action::Secrets(from));
    if are_kept {
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
    steps.add(leader, Stage::Store, KEEP_SECRETS, Action::PutFile(put))
}

fn ensure_access() -> Action {
    Action::Consul(ConsulCall::EnsureAccess {
        engine_rules: ENGINE_RULES.to_owned(),
        agent_rules: AGENT_RULES.to_owned(),
    })
}

/// Takes servers out of the quorum that the inventory has no more.
fn remove_gone(leader: &HostName, servers: &Servers, started: &[StepId], steps: &mut Steps) {
    if servers.gone.is_empty() {
        return;
    }
    let addresses: Vec<String> = servers
        .gone
        .iter()
        .map(|ip| format!("{ip}:{SERVER_PORT}"))
        .collect();
    let why = format!(
        "take {} out of the store's quorum, which left the inventory",
        addresses.join(", ")
    );
    let action = Action::Consul(ConsulCall::RemovePeers { addresses });
    let id = steps.add(leader, Stage::Store, why, action);
    steps.follow(id, started);
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
        let why = "register the present tokens of engines and agents";
        let access = steps.add_after(host, Stage::Store, why, ensure_access(), vec![previous]);
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
