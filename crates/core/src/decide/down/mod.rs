//! The way out: a cluster's hosts as they were before `up`.
//!
//! Everything comes from the hosts' own records: what was written, what was there before, what was added. What others changed since is
//! kept and told; what hangs on the network forbids it.

mod purge;
mod swarms;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::checksum::sha256_hex;
use crate::daemon_json::{self, STORE_KEYS};
use crate::engines::api::{self, Todo};
use crate::engines::options::{self, Shown, Turns};
use crate::engines::{self, UNIT};
use crate::fabrics::bridged::managers::{self, INTERFACES};
use crate::fabrics::{self, Fabric, docker0, guard, keeper, links, standalone, swarm};
use crate::facts::{Container, Endpoint, Engine, Facts, Network, Origin};
use crate::inventory::{FabricKind, HostName};
use crate::plan::{
    Action, Conflict, HostWorld, Options, Plan, Problem, Recorded, Restored, Stage, StepId, Steps,
    World,
};
use crate::platform::SERVICES;
use crate::record::Record;
use crate::stores::consul;
use crate::underlays::wireguard;
use crate::{paths, record};

pub use purge::{Packages, loses_data};
pub(super) use swarms::swarm_problems;

use purge::{engine_goes, in_use, remove_packages};
use swarms::{is_ours, leave_swarms};

/// Label of the networks that docker-cluster makes; its value is the cluster.
pub const NETWORK_LABEL: &str = "docker-cluster";

/// How long engines may take to let go of a network that nothing hangs on any more: gossip tells them in a second or two,
/// a swarm's manager within some more.
const NETWORK_DEADLINE: Duration = Duration::from_secs(60);

/// How long one command of the engine may take here: leaving a swarm stops its tasks first, ten seconds each.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(120);

/// How many names a sentence lists of one kind.
const NAMED: usize = 20;

/// What a line of the record begins with that speaks of an image.
pub(super) const IMAGE: &str = "image ";

/// Lines of the record of what a run adds to hosts beside files, for those hosts that it touches. `steps` are the steps so far.
pub fn additions(
    world: &World<'_>,
    fabric: &dyn Fabric,
    steps: &Steps,
) -> Vec<(HostName, Vec<String>)> {
    let image = &world.inventory.smoke.image;
    let mut all = Vec::new();
    for host in world
        .hosts
        .iter()
        .filter(|host| steps.last_of(host.name()).is_some())
    {
        let engine = host.facts.engine.as_ref();
        let mut lines = Vec::new();
        // What a stopped engine has is not known, and so not claimed: `down` would take it away.
        let is_known = engine.is_none_or(Engine::is_up);
        if is_known && !engine.is_some_and(|engine| engine.images.contains(image)) {
            lines.push(format!("{IMAGE}{image}"));
        }
        lines.extend(fabric.leaves(world, host));
        lines.extend(standalone::leaves(world, host));
        if engine.is_some()
            && host
                .facts
                .unit(UNIT)
                .is_some_and(|unit| unit.file_state == "disabled")
        {
            lines.push(format!("enabled {UNIT}"));
        }
        lines.retain(|line| !host.facts.made.contains(line));
        if !lines.is_empty() {
            all.push((host.name().clone(), lines));
        }
    }
    all
}

/// What a host's record says that docker-cluster added, of one kind.
fn made<'a>(facts: &'a Facts, kind: &'a str) -> impl Iterator<Item = &'a str> {
    facts
        .made
        .iter()
        .filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

/// The plan.
#[must_use]
pub fn plan(world: &World<'_>, packages: Packages) -> Plan {
    let mut problems = world.problems.clone();
    for host in &world.hosts {
        problems.extend(engines::unheard(host));
        problems.extend(foreign(world, host));
        problems.extend(docker0_stays(host, packages));
        problems.extend(in_use(host, packages));
    }
    problems.extend(swarm_problems(world, &BTreeSet::new()));
    problems.extend(store_problems(world));
    let (mut steps, mut notes) = (Steps::default(), Vec::new());
    if problems.is_empty() {
        take_down(world, packages, &mut steps, &mut notes);
    }
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Auto,
        reason: "it is taken off its hosts".to_owned(),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes,
        unreached: world.unreached.clone(),
    }
}

/// The networks of a host that this cluster made.
fn networks<'a>(
    world: &'a World<'_>,
    host: &'a HostWorld<'_>,
) -> impl Iterator<Item = &'a Network> {
    let cluster = world.inventory.cluster.as_str();
    let networks = host.facts.engine.iter().flat_map(|engine| &engine.networks);
    networks.filter(move |network| {
        network
            .labels
            .get(NETWORK_LABEL)
            .is_some_and(|of| of == cluster)
    })
}

/// What hangs on networks that go, and is not docker-cluster's own.
fn foreign(world: &World<'_>, host: &HostWorld<'_>) -> Option<Problem> {
    let engine = host.facts.engine.as_ref()?;
    let mut names: Vec<&str> = networks(world, host)
        .map(|network| network.name.as_str())
        .collect();
    // Those of others do not work any more without what carries them.
    let goes = |network: &&Network| match network.scope.as_str() {
        "swarm" => is_ours(host),
        "global" => store_goes(host),
        _ => false,
    };
    names.extend(
        engine
            .networks
            .iter()
            .filter(goes)
            .map(|network| network.name.as_str()),
    );
    // A swarm's worker does not show the network until something is on it; a container knows its name in any case.
    let ours = |name: &str| names.contains(&name) || name == world.inventory.network.name.as_str();
    let on = |container: &Container| {
        let on = container
            .networks
            .as_object()?
            .keys()
            .find(|name| ours(name))?
            .clone();
        Some(format!("{} ({on})", container.name))
    };
    // Those of services are told with their services.
    let theirs = |container: &&Container| {
        !container.is_own() && !container.labels.contains_key(swarm::TASK_LABEL)
    };
    let found: Vec<String> = engine
        .containers
        .iter()
        .filter(theirs)
        .filter_map(on)
        .collect();
    if found.is_empty() {
        return None;
    }
    let own = format!("({})", world.inventory.network.name);
    let where_from = match found.iter().all(|one| one.ends_with(&own)) {
        true => "the cluster's network",
        false => "networks that end with this",
    };
    Some(Problem::on(
        host.name(),
        format!("containers hang on {where_from}: {}", found.join(", ")),
        "remove them, or take them off with `docker network disconnect NETWORK CONTAINER`; then run this again",
    ))
}

/// Why a host's `docker0` cannot go back to where it was.
fn docker0_stays(host: &HostWorld<'_>, packages: Packages) -> Vec<Problem> {
    let goes_back = !engine_goes(host, packages) && docker0_back(host).is_some();
    let problems = || [docker0::taken(host), docker0::stays(host)];
    goes_back
        .then(problems)
        .into_iter()
        .flatten()
        .flatten()
        .collect()
}

/// The way back of a host's `docker0`, where it was moved.
fn docker0_back(host: &HostWorld<'_>) -> Option<docker0::WayBack> {
    host.facts.record(daemon_json::PATH)?;
    let text = match unmerged(host, &mut Vec::new()) {
        None => host.facts.daemon_json_origin.clone(),
        Some((text, _)) => Some(text),
    };
    docker0::way_back(host, text.as_deref())
}

/// Whether a host's engine has a store that it did not have before.
fn store_goes(host: &HostWorld<'_>) -> bool {
    let before = |text: &Option<String>| -> Options {
        text.as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    };
    let store = options::present(host).get("cluster-store").cloned();
    host.facts.record(daemon_json::PATH).is_some()
        && store.is_some()
        && before(&host.facts.daemon_json_origin).get("cluster-store") != store.as_ref()
}

/// The networks of a host that are neither this cluster's nor the engine's own, of one scope.
fn others<'a>(
    world: &'a World<'_>,
    host: &'a HostWorld<'_>,
    scope: &'a str,
) -> impl Iterator<Item = &'a Network> + use<'a> {
    let ours: Vec<&str> = networks(world, host)
        .map(|network| network.id.as_str())
        .collect();
    let all = host.facts.engine.iter().flat_map(|engine| &engine.networks);
    all.filter(move |network| {
        let made_by_swarm = network.is_ingress || network.name == "ingress";
        network.scope == scope && !made_by_swarm && !ours.contains(&network.id.as_str())
    })
}

/// `services a, b`, `secret c`; nothing of nothing.
fn counted(kind: &str, names: Vec<&str>) -> Option<String> {
    let plural = if names.len() == 1 { "" } else { "s" };
    let more = match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!(" and {more} more"),
        _ => String::new(),
    };
    let listed: Vec<&str> = names.iter().take(NAMED).copied().collect();
    (!names.is_empty()).then(|| format!("{kind}{plural} {}{more}", listed.join(", ")))
}

/// What would be lost with a store of docker-cluster's own, and who would lose it.
fn store_problems(world: &World<'_>) -> Vec<Problem> {
    if world.inventory.store.external.is_some() {
        // It stays, with all that is in it.
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for host in world.hosts.iter().filter(|host| store_goes(host)) {
        names.extend(others(world, host, "global").map(|network| network.name.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    if let Some(networks) = counted("network", names.clone()) {
        problems.push(Problem::of_all(
            format!("the store ends with this, and holds what is not docker-cluster's: the {networks}"),
            format!(
                "if nobody needs them, remove them first: `docker network rm {}`; then run this again",
                names.join(" ")
            ),
        ));
    }
    let mut agents: Vec<&str> = Vec::new();
    for (name, status) in world
        .hosts
        .iter()
        .flat_map(|host| &host.facts.store.members)
    {
        if status == "alive"
            && world.inventory.host(name).is_none()
            && !agents.contains(&name.as_str())
        {
            agents.push(name);
        }
    }
    if let Some(agents) = counted("host", agents) {
        problems.push(Problem::of_all(
            format!(
                "the store ends with this, and is used from the {agents}, not in the inventory"
            ),
            "put them into the inventory, so that they are taken down as well",
        ));
    }
    problems
}

fn run(
    steps: &mut Steps,
    host: &HostName,
    stage: Stage,
    why: impl Into<String>,
    argv: &[impl AsRef<str>],
) -> StepId {
    let argv = argv.iter().map(|word| word.as_ref().to_owned()).collect();
    steps.add(
        host,
        stage,
        why,
        Action::Run {
            argv,
            timeout: ENGINE_TIMEOUT,
        },
    )
}

fn take_down(world: &World<'_>, packages: Packages, steps: &mut Steps, notes: &mut Vec<String>) {
    let mut let_go = Vec::new();
    for host in &world.hosts {
        let_go.extend(keeper::let_go(host, steps));
    }
    let removed = remove_networks(world, steps, &let_go);
    leave_swarms(world, steps, notes, &removed);
    let mut turns = Turns::default();
    for host in &world.hosts {
        let left = steps.last_of_each();
        remove_links(host, steps, notes);
        leftovers(host, steps, notes, &left);
        restore_options(world, host, packages, steps, notes, &mut turns);
    }
    // The store goes last: engines that still use it would hang on it. What carries it goes when nobody uses it any more.
    let off = steps.last_of_each();
    for host in &world.hosts {
        stop_store(host, steps, &off);
    }
    let silent = steps.last_of_each();
    for host in &world.hosts {
        remove_mesh(host, steps, &silent);
        remove_files(host, steps, notes);
        remove_packages(host, packages, steps, notes);
        forget(host, packages, steps);
    }
    for unreached in &world.unreached {
        notes.push(format!(
            "{}: it does not answer; what it has of the cluster stays, for a later `down`",
            unreached.host
        ));
    }
}

/// Removes the networks, each on one host that can: a manager of a swarm, any host over a store.
fn remove_networks(world: &World<'_>, steps: &mut Steps, let_go: &[StepId]) -> Vec<StepId> {
    let mut names: Vec<&str> = Vec::new();
    let mut removed = Vec::new();
    for host in &world.hosts {
        for network in networks(world, host) {
            let here = network.scope != "swarm" || swarm::is_manager(host);
            // One of the host's own is on each of them.
            if !here || network.scope != "local" && names.contains(&network.name.as_str()) {
                continue;
            }
            names.push(&network.name);
            // An engine that is still letting go says that the network has active endpoints.
            let action = remove_network(&network.name, "the engines let go of it");
            let why = format!("remove the network {}", network.name);
            let id = steps.add(host.name(), Stage::Network, why, action);
            steps.follow(id, let_go);
            removed.push(id);
        }
    }
    removed
}

/// Removes a network as soon as the engine lets it; one that is gone is removed.
fn remove_network(name: &str, what: &str) -> Action {
    let script = r#"docker network rm "$1" >&2 || ! docker network inspect "$1" >/dev/null 2>&1"#;
    Action::wait(
        what,
        &["sh", "-c", script, "sh", name],
        Vec::<String>::new(),
        NETWORK_DEADLINE,
    )
}

/// Takes the links to other hosts away, which are docker-cluster's own. Their files go with all others.
fn remove_links(host: &HostWorld<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let name = host.name();
    let (boot, take) = match guard::is_there(host) {
        true => (
            "do not guard the overlay's ports at boot any more",
            "take the guard of the overlay's ports away",
        ),
        false => (
            "do not make its links at boot any more",
            "take its links to the other hosts away",
        ),
    };
    if host.facts.unit(links::UNIT).is_some() {
        let argv = SERVICES.argv(SERVICES.disable_now, &[links::UNIT]);
        run(steps, name, Stage::Network, boot, &argv);
    }
    // What is told to have the interface back must know it again.
    let files = host.facts.records.iter();
    for record in files.filter(|record| record.path.starts_with(INTERFACES)) {
        put_file_back(host, record, Stage::Network, steps, notes);
    }
    if host.facts.links.is_some() || host.facts.unit(links::UNIT).is_some() {
        steps.add(name, Stage::Network, take, links::down());
    }
    // What carried them is asked for that, so it ends after them.
    for unit in enabled_daemons(host).filter(|unit| host.facts.unit(unit).is_some()) {
        let why = format!("stop {unit}, and do not start it at boot, as before");
        run(
            steps,
            name,
            Stage::Network,
            why,
            &SERVICES.argv(SERVICES.disable_now, &[unit]),
        );
    }
}

/// The units beside the engine's that are started at boot since docker-cluster came.
fn enabled_daemons<'a>(host: &'a HostWorld<'_>) -> impl Iterator<Item = &'a str> {
    made(host.facts, "enabled").filter(|unit| *unit != UNIT)
}

/// The bridge and the image, which came with the cluster.
fn leftovers(host: &HostWorld<'_>, steps: &mut Steps, notes: &mut Vec<String>, before: &[StepId]) {
    let name = host.name();
    let engine = host.facts.engine.as_ref().filter(|engine| engine.is_up());
    for network in made(host.facts, "network") {
        if engine.and_then(|engine| engine.network(network)).is_none() {
            continue;
        }
        let containers = engine.into_iter().flat_map(|engine| &engine.containers);
        let on = |container: &&Container| container.networks.get(network).is_some();
        let users: Vec<&str> = containers
            .filter(on)
            .map(|container| container.name.as_str())
            .collect();
        if !users.is_empty() {
            notes.push(format!(
                "{name}: the bridge {network} stays, because {} hang on it",
                users.join(", ")
            ));
            continue;
        }
        // An engine that has just left its swarm still has its own end on it.
        let action = remove_network(network, "nothing hangs on it");
        let why = format!("remove the bridge {network}, which came with the cluster");
        let id = steps.add(name, Stage::Network, why, action);
        steps.follow(id, before);
    }
    for image in made(host.facts, "image") {
        if engine.is_some_and(|engine| engine.images.contains(image)) {
            let why = format!("remove the image {image}, unless a container uses it");
            let script = r#"docker image rm "$1" >/dev/null || true"#;
            run(
                steps,
                host.name(),
                Stage::Network,
                why,
                &["sh", "-c", script, "sh", image],
            );
        }
    }
}

fn restore_options(
    world: &World<'_>,
    host: &HostWorld<'_>,
    packages: Packages,
    steps: &mut Steps,
    notes: &mut Vec<String>,
    turns: &mut Turns,
) {
    let name = host.name();
    let has_options = host.facts.record(daemon_json::PATH).is_some();
    let listens = host.facts.record(api::DROP_IN).is_some();
    // Where the engine goes, it is stopped first, and never sees them.
    if engine_goes(host, packages) || !has_options && !listens {
        return;
    }
    if !host
        .facts
        .engine
        .as_ref()
        .is_some_and(crate::facts::Engine::is_up)
    {
        if has_options {
            put_options_back(host, None, Recorded::Dropped, Vec::new(), steps, notes);
        }
        return;
    }
    let mut after = turns.before(world, host);
    let back = docker0_back(host);
    if let Some(back) = &back {
        move_docker0_back(host, back, std::mem::take(&mut after), steps, notes);
    }
    let present = back.as_ref().map(|back| back.text.as_str());
    // What stops with the first of two restarts has been told then.
    let mut again = Vec::new();
    // Only what this run puts back has its way back: what is kept from an earlier one may be older than what somebody wrote since.
    let mut put_back = Vec::new();
    if has_options && put_options_back(host, present, Recorded::Kept, after.clone(), steps, notes) {
        after = Vec::new();
        put_back.push(daemon_json::PATH.to_owned());
    }
    let Todo {
        actions,
        paths,
        afterwards,
        ..
    } = if listens {
        api::to_stop(host)
    } else {
        Todo::default()
    };
    for (why, action) in actions {
        let id = steps.add(name, Stage::Options, why, action);
        steps.await_turn(id, &std::mem::take(&mut after));
    }
    put_back.extend(paths);
    let shown = Shown {
        what: "the engine answers",
        why: "wait until the engine answers",
        question: &options::of_info("{{.ServerVersion}}"),
        expect: Vec::new(),
        put_back,
        settled: None,
        back: Vec::new(),
    };
    let last = options::restart(
        host,
        "restart the engine without the cluster's options",
        &shown,
        after,
        steps,
        if back.is_some() { &mut again } else { notes },
    );
    turns.took(host, &last);
    // Until here a failure brings back what worked.
    for (why, action) in afterwards {
        steps.add(name, Stage::Options, why, action);
    }
    if !has_options {
        return;
    }
    let text = include_str!("../../../../../templates/settle.sh");
    let args = vec![record::key(daemon_json::PATH)];
    let action = Action::Script {
        name: "settle",
        text,
        args,
        timeout: ENGINE_TIMEOUT,
    };
    steps.add(
        name,
        Stage::Options,
        format!("forget what was written to {}", daemon_json::PATH),
        action,
    );
}

/// Starts the engine once with the old address of `docker0`, which it keeps for itself from then on.
fn move_docker0_back(
    host: &HostWorld<'_>,
    back: &docker0::WayBack,
    after: Vec<StepId>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    let was = back.was;
    let id = steps.add(
        host.name(),
        Stage::Options,
        format!(
            "set the old address of docker0 in {}, for one start",
            daemon_json::PATH
        ),
        back.put.clone(),
    );
    steps.await_turn(id, &after);
    let shown = Shown {
        what: "docker0 is where it was",
        why: "wait until docker0 is where it was",
        question: back.question,
        expect: vec![was.trunc().to_string()],
        put_back: vec![daemon_json::PATH.to_owned()],
        settled: None,
        back: Vec::new(),
    };
    let why = format!("restart the engine, which takes docker0 back to {was}");
    options::restart(host, &why, &shown, Vec::new(), steps, notes);
}

/// Puts `daemon.json` back, in which is `now` by then if that is another text than the facts tell. Whether there was anything to do: a run that was cut off may have done it.
fn put_options_back(
    host: &HostWorld<'_>,
    now: Option<&str>,
    record: Recorded,
    after: Vec<StepId>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) -> bool {
    let (name, facts) = (host.name(), host.facts);
    let as_told = || {
        let file = facts.files.get(daemon_json::PATH)?;
        (facts.daemon_json != facts.daemon_json_origin).then(|| file.sha256.clone())
    };
    let present = now.map(|text| sha256_hex(text.as_bytes()));
    let Some(present) = present.or_else(as_told) else {
        return false;
    };
    let (into, why) = match unmerged(host, notes) {
        None => (
            Restored::Original,
            format!("put {} back as it was", daemon_json::PATH),
        ),
        Some((text, kept)) => {
            for conflict in kept {
                let Conflict { key, found, wanted } = conflict;
                notes.push(format!(
                    "{name}: the daemon option `{key}` was {wanted} and is {found} since; it stays"
                ));
            }
            if now.or(facts.daemon_json.as_deref()) == Some(&text) {
                return false;
            }
            let why = format!(
                "take the cluster's options out of {}; what others changed stays",
                daemon_json::PATH
            );
            (Restored::Merged(text), why)
        }
    };
    let action = Action::Restore {
        path: daemon_json::PATH.to_owned(),
        present,
        into,
        record,
    };
    steps.add_after(name, Stage::Options, why, action, after);
    true
}

/// The text of `daemon.json` without docker-cluster's part, where others have changed it, before its last write or since, and what of
/// that part they changed. `None` if all in it is docker-cluster's or was there before: then the original is put back byte for byte.
fn unmerged(host: &HostWorld<'_>, notes: &mut Vec<String>) -> Option<(String, Vec<Conflict>)> {
    let facts = host.facts;
    let record = facts.record(daemon_json::PATH)?;
    let file = facts.files.get(daemon_json::PATH)?;
    let mut history = options::history(facts);
    // Somebody has decided what their engine runs with since the store was taken out: with a store it would not start.
    let refuses = host
        .engine
        .as_ref()
        .is_some_and(|engine| engine.version.major >= fabrics::WITHOUT_STORES);
    if refuses && file.sha256 != record.sha256 {
        for key in STORE_KEYS {
            if let Some(value) = history.taken.shift_remove(*key) {
                notes.push(format!("{}: the daemon option `{key}` was {value} before, and stays out: its engine does not start with it", host.name()));
            }
        }
    }
    for key in options::keep_places(&options::present(host), &mut history) {
        notes.push(format!(
            "{}: the daemon option `{key}` stays: what its engine has is kept with it",
            host.name()
        ));
    }
    let (text, kept) =
        daemon_json::take_out(facts.daemon_json.as_deref().unwrap_or_default(), &history);
    let all_ours = daemon_json::parse(&text).is_ok_and(|left| left == history.original);
    if record.ours.is_none() && !all_ours {
        let left = daemon_json::parse(&text).unwrap_or_default();
        let keys: Vec<&str> = left
            .keys()
            .filter(|key| !history.original.contains_key(*key))
            .map(String::as_str)
            .collect();
        notes.extend(counted("daemon option", keys).map(|keys| {
            format!(
                "{}: its record is of an older docker-cluster and does not tell whose the {keys} are; they stay",
                host.name()
            )
        }));
    }
    (file.sha256 != record.sha256 || !all_ours).then_some((text, kept))
}

fn stop_store(host: &HostWorld<'_>, steps: &mut Steps, before: &[StepId]) {
    if host.facts.unit(consul::UNIT).is_some() {
        let id = steps.add(
            host.name(),
            Stage::Store,
            "stop the store",
            consul::switch_off(ENGINE_TIMEOUT),
        );
        // An engine that was brought back to what worked still works with it.
        steps.require(id, before);
    }
}

/// Takes away the mesh that carried all of it, with its key.
fn remove_mesh(host: &HostWorld<'_>, steps: &mut Steps, before: &[StepId]) {
    let facts = host.facts;
    if facts.mesh.is_none()
        && facts.unit(wireguard::UNIT).is_none()
        && !facts.files.contains_key(wireguard::SCRIPT)
    {
        return;
    }
    let [units, down] = wireguard::switch_off();
    let why = "stop the mesh with the other hosts, now and at every boot";
    let id = steps.add(host.name(), Stage::Underlay, why, units);
    // An engine that was brought back to what worked still works with it.
    steps.require(id, before);
    let why = "take its interface, its route, its rules and its key away";
    steps.add(host.name(), Stage::Underlay, why, down);
}

/// Takes away or puts back the files of a host's record.
fn remove_files(host: &HostWorld<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let name = host.name();
    let facts = host.facts;
    let mut reload = false;
    for record in &facts.records {
        // What is in docker-cluster's own folder goes with it.
        let is_done = steps.of(name).any(
            |step| matches!(&step.action, Action::Restore { path, .. } if *path == record.path),
        );
        if is_done || record.path == daemon_json::PATH || record.path.starts_with(paths::HOME) {
            continue;
        }
        reload |= record.path.starts_with("/etc/systemd/");
        put_file_back(host, record, Stage::Store, steps, notes);
    }
    if reload {
        run(
            steps,
            name,
            Stage::Store,
            "let systemd forget the units",
            &SERVICES.argv(SERVICES.reread, &[]),
        );
    }
    for user in made(facts, "user").filter(|_| facts.store_user) {
        run(
            steps,
            name,
            Stage::Store,
            "remove the data of the store",
            &["rm", "-rf", "--", consul::DATA],
        );
        run(
            steps,
            name,
            Stage::Store,
            format!("remove the user {user}"),
            &["userdel", user],
        );
    }
}

/// Puts the file of a record back as it was, or takes it away where there was none.
fn put_file_back(
    host: &HostWorld<'_>,
    record: &Record,
    stage: Stage,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    let (name, path) = (host.name(), &record.path);
    let mut restore = Action::restore(host.facts, record, Recorded::Dropped);
    if let Action::Restore { into, .. } = &mut restore
        && *into == Restored::Aside
        && let Some(text) = managers::without_bridge(host.facts, path)
    {
        *into = Restored::Merged(text);
        let why = format!("take the bridge out of {path}; what others changed stays");
        steps.add(name, stage, why, restore);
        return;
    }
    if matches!(&restore, Action::Restore { into, .. } if *into == Restored::Aside) {
        notes.push(format!("{name}: somebody changed {path}; it is kept beside it, as {path}.kept (or .kept.2 and so on, if that is there)"));
    }
    let why = match host.facts.origins.get(&record::key(path)) {
        Some(Origin::File) => format!("put {path} back as it was"),
        _ => format!("remove {path}"),
    };
    steps.add(name, stage, why, restore);
}

/// Removes the record itself. Packages that stay are remembered, for a later `down --purge`.
fn forget(host: &HostWorld<'_>, packages: Packages, steps: &mut Steps) {
    let facts = host.facts;
    for unit in made(facts, "enabled").filter(|unit| *unit == UNIT && !engine_goes(host, packages))
    {
        let why = format!("do not start {unit} at boot, as before");
        run(
            steps,
            host.name(),
            Stage::Engine,
            why,
            &SERVICES.argv(SERVICES.disable, &[unit]),
        );
    }
    let keeps = !packages.go() && made(facts, "package").next().is_some();
    // As `forget.sh keep` leaves it: the packages, and what was there before them.
    let of_packages = |line: &String| {
        let kind = line.split(' ').next().unwrap_or_default();
        ["package", "config", "conffile", "data", "group"].contains(&kind)
    };
    let only_packages = facts.records.is_empty() && facts.made.iter().all(of_packages);
    if facts.made.is_empty() && facts.records.is_empty() || keeps && only_packages {
        return;
    }
    let args = vec![
        paths::HOME.to_owned(),
        if keeps { "keep" } else { "forget" }.to_owned(),
    ];
    let text = include_str!("../../../../../templates/forget.sh");
    let action = Action::Script {
        name: "forget",
        text,
        args,
        timeout: ENGINE_TIMEOUT,
    };
    steps.add(
        host.name(),
        Stage::Record,
        "remove docker-cluster's record from the host",
        action,
    );
}

/// Removes the entries of containers that are gone from networks over a store, where they block their names.
#[must_use]
pub fn plan_prune(world: &World<'_>) -> Plan {
    let mut problems = world.problems.clone();
    for unreached in &world.unreached {
        problems.push(Problem::on(
            &unreached.host,
            "it does not answer, and an endpoint of a container that lives there would look stale",
            "bring it back, or take it out of the inventory",
        ));
    }
    let down = |host: &&HostWorld<'_>| {
        host.facts
            .engine
            .as_ref()
            .is_some_and(|engine| !engine.is_up())
    };
    for host in world.hosts.iter().filter(down) {
        problems.push(Problem::on(
            host.name(),
            "its engine does not answer, and an endpoint of a container that lives there would look stale",
            "start its engine first",
        ));
    }
    let mut steps = Steps::default();
    if problems.is_empty() {
        for (host, network, endpoint, container) in stale_endpoints(world) {
            // Only if it is still the very same endpoint: a container of that name that was started meanwhile has another.
            let script = r#"docker network inspect --format '{{range .Containers}}{{.EndpointID}} {{.Name}}{{"\n"}}{{end}}' "$1" | grep -qxF -- "$2 $3" || exit 0
docker network disconnect -f "$1" "$3""#;
            let argv = ["sh", "-c", script, "sh", &network, &endpoint, &container];
            let why = format!(
                "remove the endpoint of {container} from {network}: no host has such a container"
            );
            run(&mut steps, &host, Stage::Network, why, &argv);
        }
    }
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Auto,
        reason: "stale endpoints are looked for".to_owned(),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes: Vec::new(),
        unreached: world.unreached.clone(),
    }
}

/// Endpoints in networks over a store that no container of any host has: where they were seen, network, endpoint, container.
fn stale_endpoints(world: &World<'_>) -> Vec<(HostName, String, String, String)> {
    let engines = || {
        world
            .hosts
            .iter()
            .filter_map(|host| Some((host, host.facts.engine.as_ref()?)))
    };
    let live: Vec<&str> = engines()
        .flat_map(|(_, engine)| &engine.containers)
        .filter_map(|container| container.networks.as_object())
        .flat_map(|networks| networks.values())
        .filter_map(|endpoint| endpoint.get("EndpointID").and_then(Value::as_str))
        .collect();
    let mut found: Vec<(&HostName, &Network, &String, &Endpoint)> = engines()
        .flat_map(|(host, engine)| {
            engine
                .endpoints
                .iter()
                .map(move |network| (host.name(), network))
        })
        .filter(|(_, network)| network.scope == "global")
        .flat_map(|(host, network)| {
            network
                .endpoints
                .iter()
                .map(move |(id, endpoint)| (host, network, id, endpoint))
        })
        .filter(|(_, _, id, endpoint)| {
            !live.contains(&id.as_str()) && !endpoint.container.is_empty()
        })
        .collect();
    // On the engine that had the container, if it still says so: only there does the endpoint go from what the engine keeps for itself as
    // well, which it would tell the others again and again.
    found.sort_by_key(|(.., endpoint)| !endpoint.is_own);
    let mut seen = BTreeSet::new();
    found.retain(|(_, _, id, _)| seen.insert(*id));
    let owned = |(host, network, id, endpoint): (&HostName, &Network, &String, &Endpoint)| {
        (
            host.clone(),
            network.name.clone(),
            id.clone(),
            endpoint.container.clone(),
        )
    };
    found.into_iter().map(owned).collect()
}
