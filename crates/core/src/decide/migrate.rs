//! The way from an overlay over a store to swarm mode, and back.
//!
//! Each is a plan like any other: made from facts, so that a run that was cut short is taken up by running the same command again.
//! What hung on which network is written down on each host first ([`MIGRATION`]); the store and its data stay on the hosts, switched off,
//! so that the way back stays open until an engine is upgraded past 22.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::daemon_json::{self, STORE_KEYS};
use crate::engines::{self, RESTART_TIMEOUT, options};
use crate::fabrics::{self, Fabric, keeper, overlay, swarm};
use crate::facts::{Attachment, Container, ContainerRecord, MigrationRecord, NetworkRecord};
use crate::inventory::{FabricKind, HostName};
use crate::paths::{MIGRATION, SECRETS_PATH};
use crate::plan::{
    Action, Content, EngineCall, HostWorld, KEEP_MODE, NewNetwork, Options, Plan, Problem, PutFile,
    Stage, StepId, Steps, Verb, World,
};
use crate::platform::{self, PackageManager, SERVICES};
use crate::stores::consul;

/// How long an engine's client may take to detach or start a container: a container that ignores its signal takes ten.
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(90);

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To swarm mode.
    ToSwarm {
        /// Whether engines are upgraded from the distribution's packages on the way.
        upgrade: bool,
    },
    /// Back to the store.
    Back,
}

/// The plan of a migration.
#[must_use]
pub fn plan(world: &World<'_>, way: Way) -> Plan {
    let mut problems = world.problems.clone();
    for unreached in &world.unreached {
        problems.push(Problem::on(
            &unreached.host,
            "it does not answer, and a migration takes all hosts along",
            "bring it back, or take it out of the inventory",
        ));
    }
    problems.extend(world.hosts.iter().filter_map(engines::unheard));
    let mut steps = Steps::default();
    let mut notes = Vec::new();
    match way {
        Way::ToSwarm { upgrade } => {
            problems.extend(forward_problems(world));
            problems.extend(
                world
                    .hosts
                    .iter()
                    .filter(|_| upgrade)
                    .flat_map(upgrade_problems),
            );
            if problems.is_empty() {
                forward(world, upgrade, &mut steps, &mut notes);
            }
        }
        Way::Back => {
            problems.extend(back_problems(world));
            if problems.is_empty() {
                back(world, &mut steps, &mut notes);
            }
        }
    }
    let fabric: &dyn Fabric = if way == Way::Back {
        &overlay::Overlay
    } else {
        &swarm::SwarmMode
    };
    for (host, lines) in super::down::additions(world, fabric, &steps) {
        let why = "write down what is added here, so that `down` can take it away";
        steps.prepend(&host, Stage::Record, why, Action::Note { lines });
    }
    let (fabric, reason) = match way {
        Way::ToSwarm { .. } => (
            FabricKind::Swarm,
            "you move there from the overlay over a store",
        ),
        Way::Back => (FabricKind::Overlay, "you go back to it"),
    };
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric,
        reason: reason.to_owned(),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes,
        unreached: world.unreached.clone(),
    }
}

fn forward_problems(world: &World<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for host in &world.hosts {
        if host.facts.engine.is_none() {
            problems.push(Problem::on(
                host.name(),
                "it has no Docker engine",
                "install it, or take the host out of the inventory",
            ));
        } else {
            problems.extend(swarm::excluded(host));
        }
        if let Err(error) = without_store(host) {
            problems.push(Problem::on(
                host.name(),
                format!("{} is not valid: {error}", daemon_json::PATH),
                "mend it by hand; nothing is written over it",
            ));
        }
    }
    problems
}

/// What forbids the upgrade of an engine: it must not cost a package that is there.
fn upgrade_problems(host: &HostWorld<'_>) -> Vec<Problem> {
    let Some((version, _)) = newer_engine(host) else {
        return Vec::new();
    };
    let mut found = platform::in_the_way(host.facts, platform::ENGINE_PACKAGE);
    let state = host
        .facts
        .packages
        .present
        .get(platform::ENGINE_PACKAGE)
        .map(|(state, _)| state.as_str());
    if state.is_some_and(|state| state.starts_with('h')) {
        found.push((
            format!("docker.io is held there (`apt-mark hold`), and {version} would replace it"),
            "`apt-mark unhold docker.io` there if the upgrade is wanted, or leave `--upgrade` out"
                .to_owned(),
        ));
    }
    found
        .into_iter()
        .map(|(what, fix)| Problem::on(host.name(), what, fix))
        .collect()
}

fn back_problems(world: &World<'_>) -> Vec<Problem> {
    // Networks over the store come back with it; services, secrets and whatever else is in the swarm by now would not.
    let mut from_store = BTreeSet::from([world.inventory.network.name.as_str()]);
    for record in world
        .hosts
        .iter()
        .filter_map(|host| host.facts.migration.as_ref())
    {
        from_store.extend(record.networks.iter().map(|network| network.name.as_str()));
    }
    let mut problems = super::down::swarm_problems(world, &from_store);
    let on_the_way =
        |host: &HostWorld<'_>| host.facts.migration.is_some() || options::uses_store(host);
    for host in &world.hosts {
        if let Some(why) =
            fabrics::no_classic_overlay(host, crate::stores::of(world).backend(world))
        {
            problems.push(Problem::on(
                host.name(),
                format!("there is no way back: it {why}"),
                "go on: `docker-cluster migrate`",
            ));
        }
        if !on_the_way(host) {
            problems.push(Problem::on(
                host.name(),
                "it has no record of a migration",
                "there is nothing to go back to",
            ));
        }
    }
    if world.inventory.store.external.is_none()
        && !world
            .hosts
            .iter()
            .any(|host| host.facts.files.contains_key(SECRETS_PATH))
    {
        problems.push(Problem::of_all(
            "the store is not on the hosts any more",
            "there is nothing to go back to",
        ));
    }
    problems
}

/// The text of `daemon.json` without the store's keys; none if they are not there.
fn without_store(host: &HostWorld<'_>) -> Result<Option<String>, String> {
    daemon_json::without(host.facts.daemon_json.as_deref(), STORE_KEYS).map_err(|error| match error
    {
        daemon_json::MergeError::Invalid(error) => error,
        daemon_json::MergeError::Conflicts(_) => "conflicting options".to_owned(),
    })
}

/// What hangs on the networks over the store right now.
fn observe(host: &HostWorld<'_>) -> MigrationRecord {
    let Some(engine) = &host.facts.engine else {
        return MigrationRecord::default();
    };
    let networks: Vec<NetworkRecord> = engine
        .networks
        .iter()
        .filter(|network| network.driver == "overlay" && network.scope == "global")
        .map(|network| NetworkRecord {
            name: network.name.clone(),
            subnet: network
                .subnets
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            options: network.options.clone(),
            labels: network.labels.clone(),
        })
        .collect();
    let attachments = |container: &Container| -> Vec<Attachment> {
        networks
            .iter()
            .filter_map(|network| attachment(container, &network.name))
            .collect()
    };
    let containers = engine
        .containers
        .iter()
        .filter(|container| !container.is_own())
        .map(|container| ContainerRecord {
            name: container.name.clone(),
            running: container.is_running(),
            restart: container.restart.clone(),
            attachments: attachments(container),
        })
        .filter(|container| !container.attachments.is_empty())
        .collect();
    MigrationRecord {
        networks,
        containers,
    }
}

fn attachment(container: &Container, network: &str) -> Option<Attachment> {
    let endpoint = container.networks.get(network)?;
    let text = |path: &str| {
        endpoint
            .pointer(path)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let aliases = endpoint
        .get("Aliases")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    Some(Attachment {
        network: network.to_owned(),
        address: text("/IPAMConfig/IPv4Address"),
        // The engine adds the short id by itself.
        aliases: aliases
            .filter(|alias| !is_short_id(alias))
            .map(str::to_owned)
            .collect(),
    })
}

fn is_short_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The record of a host: the one on it, or what is seen now if it has not begun.
fn record_of(host: &HostWorld<'_>) -> MigrationRecord {
    host.facts
        .migration
        .clone()
        .unwrap_or_else(|| observe(host))
}

fn run(
    steps: &mut Steps,
    host: &HostName,
    why: impl Into<String>,
    argv: &[impl AsRef<str>],
    timeout: Duration,
) -> StepId {
    let argv = argv.iter().map(|word| word.as_ref().to_owned()).collect();
    steps.add(host, Stage::Options, why, Action::Run { argv, timeout })
}

fn forward(world: &World<'_>, upgrade: bool, steps: &mut Steps, notes: &mut Vec<String>) {
    explain(world, notes);
    let mut detached = Vec::new();
    for host in world.hosts.iter().filter(|host| options::uses_store(host)) {
        detach(host, steps);
        detached.extend(steps.last_of(host.name()));
    }
    let mut restarted = Vec::new();
    for host in &world.hosts {
        leave_store(host, upgrade, steps, &detached);
        restarted.extend(steps.last_of(host.name()));
    }
    for host in &world.hosts {
        stop_store(host, steps, &restarted);
    }
    // From here on it is swarm mode as anywhere: join, roles, labels, the network of the inventory.
    swarm::form(world, steps, notes);
    if let Some(lead) = swarm::lead(world) {
        other_networks(world, steps, &lead);
        let created = steps.last_of(&lead);
        for host in &world.hosts {
            attach(
                host,
                &record_of(host),
                options::uses_store(host),
                steps,
                created,
            );
            start_stranded(world, host, &lead, steps);
        }
    }
    // Last, on all hosts: no keeper takes the address of a container that comes back.
    let attached = steps.last_of_each();
    keeper::keep(world, steps, &attached, |host| !options::uses_store(host));
}

fn explain(world: &World<'_>, notes: &mut Vec<String>) {
    for host in world.hosts.iter().filter(|host| options::uses_store(host)) {
        let record = record_of(host);
        for container in &record.containers {
            let on: Vec<String> = container
                .attachments
                .iter()
                .map(|a| {
                    let names = if a.aliases.is_empty() {
                        String::new()
                    } else {
                        format!(" as {}", a.aliases.join(", "))
                    };
                    format!(
                        "{} at {}{names}",
                        a.network,
                        a.address.as_deref().unwrap_or("any address")
                    )
                })
                .collect();
            let restart = if container.restart.is_empty() {
                "no"
            } else {
                &container.restart
            };
            let (host, name, on) = (host.name(), &container.name, on.join(" and "));
            notes.push(match container.running {
                true => format!("{host}: {name} (restart: {restart}) is cut off until the end and comes back on {on}"),
                false => format!("{host}: {name} (restart: {restart}) does not run; it is put back on {on}"),
            });
        }
    }
    if world.hosts.iter().any(options::uses_store) {
        notes.push("containers on these networks do not reach each other from the first step to the last: about half a minute, and as long as an upgrade takes".to_owned());
        notes.push("`migrate --rollback` goes back as long as no engine is 23 or newer; the store stays on the hosts, switched off".to_owned());
    }
}

/// Writes down what hangs on the networks of a host, and takes it off while the store still answers.
fn detach(host: &HostWorld<'_>, steps: &mut Steps) {
    let name = host.name();
    let up = host
        .facts
        .engine
        .as_ref()
        .is_some_and(crate::facts::Engine::is_up);
    // An engine that does not start cannot tell what hangs on it; its containers still know when it does.
    if !up {
        return;
    }
    let record = record_of(host);
    if host.facts.migration.is_none() {
        let text = serde_json::to_string_pretty(&record).unwrap_or_default() + "\n";
        let put = PutFile {
            path: MIGRATION.to_owned(),
            mode: "0600",
            owner: "root:root".to_owned(),
            content: Content::text(text),
            before: None,
            read_by: None,
            ours: None,
        };
        steps.add(
            name,
            Stage::Options,
            "write down which containers hang on which networks",
            Action::PutFile(put),
        );
    }
    take_off(host, &record, steps);
}

/// Takes everything off the networks of the record.
fn take_off(host: &HostWorld<'_>, record: &MigrationRecord, steps: &mut Steps) {
    keeper::let_go(host, steps);
    for container in host
        .facts
        .engine
        .iter()
        .flat_map(|engine| &engine.containers)
        .filter(|one| !one.is_own())
    {
        for network in record
            .networks
            .iter()
            .filter(|network| container.networks.get(&network.name).is_some())
        {
            let why = format!("take {} off {}", container.name, network.name);
            let argv = [
                "docker",
                "network",
                "disconnect",
                "-f",
                &network.name,
                &container.name,
            ];
            run(steps, host.name(), why, &argv, CONTAINER_TIMEOUT);
        }
    }
}

fn leave_store(host: &HostWorld<'_>, upgrade: bool, steps: &mut Steps, detached: &[StepId]) {
    let name = host.name();
    let broken = !engines::is_running(host.facts);
    let text = without_store(host).ok().flatten();
    let to_upgrade = upgrade.then(|| newer_engine(host)).flatten();
    let has_read = !host.facts.has_not_read(engines::UNIT, daemon_json::PATH);
    if text.is_none() && to_upgrade.is_none() && !broken && has_read {
        return;
    }
    let mut first = None;
    if let Some(text) = text {
        let present = options::present(host);
        let mut ours = daemon_json::claim(&present, &Options::new(), &options::history(host.facts));
        // Whoever set the store: that it is gone is this migration's doing.
        ours.extend(
            daemon_json::store_claim()
                .into_iter()
                .filter(|(key, _)| present.contains_key(key)),
        );
        let put = PutFile {
            path: daemon_json::PATH.to_owned(),
            mode: KEEP_MODE,
            owner: "root:root".to_owned(),
            content: Content::text(text),
            before: host.facts.daemon_json.clone(),
            read_by: Some(engines::UNIT),
            ours: Some(ours),
        };
        let why = format!(
            "remove the store from {}; every other option stays",
            daemon_json::PATH
        );
        first = Some(steps.add(name, Stage::Options, why, Action::PutFile(put)));
    }
    if let Some((version, manager)) = to_upgrade {
        let action = Action::Script {
            name: manager.name,
            text: manager.install,
            args: vec!["docker.io".to_owned()],
            timeout: engines::INSTALL_TIMEOUT,
        };
        first.get_or_insert(steps.add(
            name,
            Stage::Engine,
            format!(
                "upgrade the engine to {version} from the packages of {}",
                host.facts.os_pretty
            ),
            action,
        ));
    }
    let why = if broken {
        "start the engine, which refuses to start with a store"
    } else {
        "restart the engine without the store"
    };
    let action = Action::Service {
        verb: Verb::Restart,
        unit: engines::UNIT,
        timeout: RESTART_TIMEOUT,
    };
    let restart = steps.add(name, Stage::Options, why, action);
    // The store must answer until everything is off it, on every host.
    steps.follow(first.unwrap_or(restart), detached);
    let action = engines::wait_for_answer(Vec::new());
    steps.add(
        name,
        Stage::Options,
        "wait until the engine answers",
        action,
    );
}

/// A newer engine in the distribution's packages.
fn newer_engine(host: &HostWorld<'_>) -> Option<(String, PackageManager)> {
    let present = host.facts.engine.as_ref()?.version.clone()?;
    let text = host.facts.candidates.get("docker.io")?;
    let candidate = crate::versions::parse_engine_version(text)?;
    (candidate > present)
        .then(|| PackageManager::of(host.facts).map(|manager| (text.clone(), manager)))
        .flatten()
}

fn stop_store(host: &HostWorld<'_>, steps: &mut Steps, restarted: &[StepId]) {
    let Some(unit) = host.facts.unit(consul::UNIT) else {
        return;
    };
    if unit.active == "inactive" && unit.file_state == "disabled" {
        return;
    }
    let why = "switch the store off; its data stays";
    let id = steps.add(
        host.name(),
        Stage::Options,
        why,
        consul::switch_off(CONTAINER_TIMEOUT),
    );
    steps.follow(id, restarted);
}

/// Networks over the store that are not the inventory's: made again with the same name and subnet.
fn other_networks(world: &World<'_>, steps: &mut Steps, lead: &HostName) {
    let mut all: BTreeMap<String, NetworkRecord> = BTreeMap::new();
    for host in &world.hosts {
        all.extend(
            record_of(host)
                .networks
                .into_iter()
                .map(|network| (network.name.clone(), network)),
        );
    }
    all.remove(world.inventory.network.name.as_str());
    for (name, network) in all {
        let there = world
            .host(lead)
            .and_then(|host| host.facts.engine.as_ref())
            .and_then(|engine| engine.network(&name))
            .is_some_and(|found| found.scope == "swarm");
        if there {
            continue;
        }
        let call = EngineCall::CreateNetwork(NewNetwork {
            attachable: true,
            labels: network.labels,
            ..NewNetwork::overlay(&name, &network.subnet, network.options)
        });
        steps.add(
            lead,
            Stage::Network,
            format!(
                "create the network {name} again with the subnet {}",
                network.subnet
            ),
            Action::Engine(call),
        );
    }
}

/// Puts containers back on their networks with their addresses and names, and starts those that ran. `detaches` says that this very
/// plan takes them off a network of the same name first.
fn attach(
    host: &HostWorld<'_>,
    record: &MigrationRecord,
    detaches: bool,
    steps: &mut Steps,
    after: Option<StepId>,
) {
    let name = host.name();
    let engine = host.facts.engine.as_ref();
    for container in &record.containers {
        let found = engine.and_then(|engine| {
            engine
                .containers
                .iter()
                .find(|found| found.name == container.name)
        });
        // Who removed it meant it.
        let Some(found) = found else { continue };
        let mut changes = false;
        for attachment in &container.attachments {
            if !detaches && found.is_running() && found.networks.get(&attachment.network).is_some()
            {
                continue;
            }
            changes = true;
            connect(name, &container.name, attachment, steps, after);
        }
        if container.running && (changes || !found.is_running()) {
            run(
                steps,
                name,
                format!("start {}, which ran before", container.name),
                &["docker", "start", &container.name],
                CONTAINER_TIMEOUT,
            );
        }
    }
}

fn connect(
    host: &HostName,
    container: &str,
    attachment: &Attachment,
    steps: &mut Steps,
    after: Option<StepId>,
) {
    let call = EngineCall::Connect {
        network: attachment.network.clone(),
        container: container.to_owned(),
        address: attachment.address.clone(),
        aliases: attachment.aliases.clone(),
    };
    let at = attachment.address.as_deref().unwrap_or("any address");
    let why = format!("put {container} back on {} at {at}", attachment.network);
    steps.add_after(
        host,
        Stage::Network,
        why,
        Action::Engine(call),
        after.into_iter().collect(),
    );
}

/// Containers of an engine that was upgraded by hand: they know a network of that name which is no more, and could not start. There is no
/// record of them, because their engine did not run when the migration began.
fn start_stranded(world: &World<'_>, host: &HostWorld<'_>, lead: &HostName, steps: &mut Steps) {
    let network = world.inventory.network.name.as_str();
    let present = world
        .host(lead)
        .and_then(|lead| lead.facts.engine.as_ref())
        .and_then(|engine| engine.network(network));
    let Some(present) =
        present.filter(|present| present.scope == "swarm" && host.facts.migration.is_none())
    else {
        return;
    };
    for container in host
        .facts
        .engine
        .iter()
        .flat_map(|engine| &engine.containers)
    {
        let known = container
            .networks
            .get(network)
            .and_then(|endpoint| endpoint.get("NetworkID"))
            .and_then(Value::as_str);
        let stranded = known.is_some_and(|id| id != present.id)
            && !container.is_running()
            && container.comes_back();
        let Some(attachment) = attachment(container, network).filter(|_| stranded) else {
            continue;
        };
        let name = &container.name;
        let argv = ["docker", "network", "disconnect", "-f", network, name];
        run(
            steps,
            host.name(),
            format!("take {name} off the {network} that is no more"),
            &argv,
            CONTAINER_TIMEOUT,
        );
        connect(host.name(), name, &attachment, steps, None);
        let why = format!("start {name}, which waited for the network {network}");
        run(
            steps,
            host.name(),
            why,
            &["docker", "start", name],
            CONTAINER_TIMEOUT,
        );
    }
}

fn back(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    for host in &world.hosts {
        let name = host.name();
        let member = swarm::is_member(host);
        let record = record_of(host);
        if member {
            take_off(host, &record, steps);
            swarm::leave(name, &["--force"], steps);
        }
        if host
            .facts
            .unit(consul::UNIT)
            .is_some_and(|unit| unit.active != "active" || unit.file_state != "enabled")
        {
            // All servers at once: one alone would wait for the others.
            run(
                steps,
                name,
                "switch the store on again",
                &SERVICES.argv(SERVICES.enable, &[consul::UNIT, consul::RECONCILE_UNIT]),
                CONTAINER_TIMEOUT,
            );
            let action = Action::Service {
                verb: Verb::Restart,
                unit: consul::UNIT,
                timeout: RESTART_TIMEOUT,
            };
            steps.add(name, Stage::Options, "start the store", action);
        }
    }
    overlay::return_to_store(world, steps, notes);
    for host in &world.hosts {
        let record = record_of(host);
        attach(host, &record, swarm::is_member(host), steps, None);
    }
    let attached = steps.last_of_each();
    keeper::keep(world, steps, &attached, |host| !swarm::is_member(host));
    for host in world
        .hosts
        .iter()
        .filter(|host| host.facts.migration.is_some())
    {
        run(
            steps,
            host.name(),
            "remove the record of the migration",
            &["rm", "-f", MIGRATION],
            CONTAINER_TIMEOUT,
        );
    }
    notes.push("the networks over the store are still in it, and come back with it".to_owned());
}
