//! The way out: a cluster's hosts as they were before `up`.
//!
//! Everything comes from the hosts' own records: what was written, what was there before, what was added. What others changed since is
//! kept and told; what hangs on the network forbids it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{keeper, swarm};
use crate::engines::options::{self, Shown, Turns};
use crate::engines::{self, UNIT};
use crate::facts::{Container, Endpoint, Engine, Facts, Network, Origin};
use crate::inventory::{FabricKind, HostName};
use crate::plan::checks;
use crate::plan::{Action, Conflict, HostWorld, Plan, Problem, Restored, Stage, StepId, Steps, World, daemon_json};
use crate::platform::PackageManager;
use crate::record;
use crate::stores::consul;

/// Label of the networks that docker-cluster makes; its value is the cluster.
pub const NETWORK_LABEL: &str = "docker-cluster";

/// The bridge that engines make for containers of an overlay, beside it.
const GATEWAY_BRIDGE: &str = "docker_gwbridge";

/// How long engines may take to let go of a network that nothing hangs on any more, in seconds: gossip tells them in a second or two,
/// a swarm's manager within some more.
const NETWORK_DEADLINE: u64 = 60;

/// How long one command of the engine may take here, in seconds: leaving a swarm stops its tasks first, ten seconds each.
const ENGINE_TIMEOUT: u64 = 120;

/// How long removing packages may take, in seconds.
const REMOVE_TIMEOUT: u64 = 600;

/// Whether packages go as well that docker-cluster installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// They stay.
    Keep,
    /// They go, with their configuration.
    Purge,
}

/// Lines of the record of what a run adds to hosts beside files, for those hosts that it touches. `steps` are the steps so far.
pub fn additions(world: &World<'_>, kind: FabricKind, steps: &Steps) -> Vec<(HostName, Vec<String>)> {
    let image = &world.inventory.smoke.image;
    let mut all = Vec::new();
    for host in world.hosts.iter().filter(|host| steps.last_of(host.name()).is_some()) {
        let engine = host.facts.engine.as_ref();
        let mut lines = Vec::new();
        // What a stopped engine has is not known, and so not claimed: `down` would take it away.
        let is_known = engine.is_none_or(Engine::is_up);
        if is_known && engine.and_then(|engine| engine.network(GATEWAY_BRIDGE)).is_none() {
            lines.push(format!("network {GATEWAY_BRIDGE}"));
        }
        if is_known && !engine.is_some_and(|engine| engine.images.contains(image)) {
            lines.push(format!("image {image}"));
        }
        match kind {
            FabricKind::Swarm => {
                if is_known && !swarm::is_member(host) {
                    lines.push("swarm".to_owned());
                }
                lines.extend(swarm::nodes_to_remember(world, host));
            }
            FabricKind::Overlay if world.inventory.store.external.is_none() && !host.facts.store_user => {
                lines.push(format!("user {}", consul::USER));
            }
            _ => {}
        }
        if engine.is_some() && host.facts.unit(UNIT).is_some_and(|unit| unit.file_state == "disabled") {
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
    facts.made.iter().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

/// The plan.
#[must_use]
pub fn plan(world: &World<'_>, packages: Packages) -> Plan {
    let mut problems = world.problems.clone();
    for host in &world.hosts {
        problems.extend(checks::unheard(host));
        problems.extend(foreign(world, host));
    }
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
fn networks<'a>(world: &'a World<'_>, host: &'a HostWorld<'_>) -> impl Iterator<Item = &'a Network> {
    let cluster = world.inventory.cluster.as_str();
    let networks = host.facts.engine.iter().flat_map(|engine| &engine.networks);
    networks.filter(move |network| network.labels.get(NETWORK_LABEL).is_some_and(|of| of == cluster))
}

/// What hangs on the cluster's networks and is not docker-cluster's own.
fn foreign(world: &World<'_>, host: &HostWorld<'_>) -> Option<Problem> {
    let names: Vec<&str> = networks(world, host).map(|network| network.name.as_str()).collect();
    // A swarm's worker does not show the network until something is on it; a container knows its name in any case.
    let ours = |name: &str| names.contains(&name) || name == world.inventory.network.name.as_str();
    let on = |container: &Container| {
        let on = container.networks.as_object()?.keys().find(|name| ours(name))?.clone();
        Some(format!("{} ({on})", container.name))
    };
    let containers = host.facts.engine.iter().flat_map(|engine| &engine.containers);
    let found: Vec<String> = containers.filter(|container| !container.is_own()).filter_map(on).collect();
    if found.is_empty() {
        return None;
    }
    Some(Problem::on(
        host.name(),
        format!("containers hang on the cluster's network: {}", found.join(", ")),
        "remove them, or take them off with `docker network disconnect NETWORK CONTAINER`; then run this again",
    ))
}

fn run(steps: &mut Steps, host: &HostName, stage: Stage, why: impl Into<String>, argv: &[&str]) -> StepId {
    let argv = argv.iter().map(ToString::to_string).collect();
    steps.add(host, stage, why, Action::Run { argv, timeout: ENGINE_TIMEOUT })
}

fn take_down(world: &World<'_>, packages: Packages, steps: &mut Steps, notes: &mut Vec<String>) {
    let mut let_go = Vec::new();
    for host in &world.hosts {
        let_go.extend(keeper::let_go(host, steps));
    }
    let removed = remove_networks(world, steps, &let_go);
    leave_swarm(world, steps, &removed);
    let mut turns = Turns::default();
    for host in &world.hosts {
        let left = steps.last_of_each();
        leftovers(host, steps, &left);
        restore_options(world, host, packages, steps, notes, &mut turns);
    }
    // The store goes last: engines that still use it would hang on it.
    let off = steps.last_of_each();
    for host in &world.hosts {
        remove_store(host, steps, notes, &off);
        remove_packages(host, packages, steps, notes);
        forget(host, packages, steps);
    }
}

/// Removes the networks, each on one host that can: a manager of a swarm, any host over a store.
fn remove_networks(world: &World<'_>, steps: &mut Steps, let_go: &[StepId]) -> Vec<StepId> {
    let mut names: Vec<&str> = Vec::new();
    let mut removed = Vec::new();
    for host in &world.hosts {
        for network in networks(world, host) {
            let here = network.scope != "swarm" || swarm::is_manager(host);
            if !here || names.contains(&network.name.as_str()) {
                continue;
            }
            names.push(&network.name);
            // An engine that is still letting go says that the network has active endpoints.
            let script = r#"docker network rm "$1" >&2 || ! docker network inspect "$1" >/dev/null 2>&1"#;
            let action = Action::WaitFor {
                what: "the engines let go of it".to_owned(),
                argv: ["sh", "-c", script, "sh", &network.name].map(str::to_owned).to_vec(),
                expect: Vec::new(),
                peers: Vec::new(),
                deadline: NETWORK_DEADLINE,
            };
            let why = format!("remove the network {}", network.name);
            let id = steps.add(host.name(), Stage::Network, why, action);
            steps.follow(id, let_go);
            removed.push(id);
        }
    }
    removed
}

/// Leaves the swarm that docker-cluster joined or made: workers first, so that managers see them go.
fn leave_swarm(world: &World<'_>, steps: &mut Steps, removed: &[StepId]) {
    let joined = |host: &&HostWorld<'_>| swarm::is_member(host) && host.facts.made.contains("swarm");
    let (managers, workers): (Vec<_>, Vec<_>) = world.hosts.iter().filter(joined).partition(|h| swarm::is_manager(h));
    let mut before = removed.to_vec();
    for group in [workers, managers] {
        let left: Vec<StepId> = group
            .into_iter()
            .map(|host| {
                let argv = ["docker", "swarm", "leave", "--force"];
                let id = run(steps, host.name(), Stage::Swarm, "leave the swarm", &argv);
                steps.follow(id, &before);
                id
            })
            .collect();
        before.extend(left);
    }
}

/// The bridge and the image, which came with the cluster.
fn leftovers(host: &HostWorld<'_>, steps: &mut Steps, before: &[StepId]) {
    let engine = host.facts.engine.as_ref().filter(|engine| engine.is_up());
    for network in made(host.facts, "network") {
        if engine.and_then(|engine| engine.network(network)).is_some() {
            let script = r#"docker network inspect "$1" >/dev/null 2>&1 || exit 0; docker network rm "$1""#;
            let why = format!("remove the bridge {network}, which came with the cluster");
            let id = run(steps, host.name(), Stage::Network, why, &["sh", "-c", script, "sh", network]);
            steps.follow(id, before);
        }
    }
    for image in made(host.facts, "image") {
        if engine.is_some_and(|engine| engine.images.contains(image)) {
            let why = format!("remove the image {image}, unless a container uses it");
            let script = r#"docker image rm "$1" >/dev/null || true"#;
            run(steps, host.name(), Stage::Network, why, &["sh", "-c", script, "sh", image]);
        }
    }
}

/// Whether the engine itself goes.
fn engine_goes(host: &HostWorld<'_>, packages: Packages) -> bool {
    packages == Packages::Purge && made(host.facts, "package").any(|package| package == "docker.io")
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
    if engine_goes(host, packages) || host.facts.record(daemon_json::PATH).is_none() {
        return;
    }
    let Some(file) = host.facts.files.get(daemon_json::PATH) else { return };
    let (into, why) = match unmerged(host.facts) {
        None => (Restored::Original, format!("put {} back as it was", daemon_json::PATH)),
        Some((text, kept)) => {
            for conflict in kept {
                let Conflict { key, found, wanted } = conflict;
                notes.push(format!("{name}: the daemon option `{key}` was {wanted} and is {found} since; it stays"));
            }
            let why = format!("take the cluster's options out of {}; what others changed stays", daemon_json::PATH);
            (Restored::Merged(text), why)
        }
    };
    let present = file.sha256.clone();
    let action = Action::Restore { path: daemon_json::PATH.to_owned(), present, into };
    steps.add_after(name, Stage::Options, why, action, turns.before(world, host));
    if !host.facts.engine.as_ref().is_some_and(crate::facts::Engine::is_up) {
        return;
    }
    let shown = Shown {
        what: "the engine answers",
        why: "wait until the engine answers",
        format: "{{.ServerVersion}}",
        expect: Vec::new(),
        put_back: true,
        settled: None,
    };
    let last =
        options::restart(host, "restart the engine without the cluster's options", &shown, Vec::new(), steps, notes);
    turns.took(host, &last);
}

/// The text of `daemon.json` without docker-cluster's part, where others changed it since, and what of that part they changed. `None` if
/// it is as docker-cluster wrote it: then the original is put back byte for byte.
fn unmerged(facts: &Facts) -> Option<(String, Vec<Conflict>)> {
    let record = facts.record(daemon_json::PATH)?;
    if facts.files.get(daemon_json::PATH).is_none_or(|file| file.sha256 == record.sha256) {
        return None;
    }
    Some(daemon_json::take_out(facts.daemon_json.as_deref().unwrap_or_default(), &options::history(facts)))
}

/// Stops the store, and takes away or puts back the files of its record.
fn remove_store(host: &HostWorld<'_>, steps: &mut Steps, notes: &mut Vec<String>, before: &[StepId]) {
    let name = host.name();
    let facts = host.facts;
    if facts.unit(consul::UNIT).is_some() {
        let argv = ["systemctl", "disable", "--now", consul::UNIT, consul::RECONCILE_UNIT];
        let id = run(steps, name, Stage::Store, "stop the store", &argv);
        steps.follow(id, before);
    }
    let mut reload = false;
    for record in &facts.records {
        // What is in docker-cluster's own folder goes with it.
        if record.path == daemon_json::PATH || record.path.starts_with(record::HOME) {
            continue;
        }
        reload |= record.path.starts_with("/etc/systemd/");
        let present = facts.files.get(&record.path).map(|file| file.sha256.clone());
        let changed = present.as_ref().is_some_and(|present| *present != record.sha256);
        let into = if changed { Restored::Aside } else { Restored::Original };
        if changed {
            notes.push(format!("{name}: somebody changed {0}; it is kept as {0}.kept", record.path));
        }
        let why = match facts.origins.get(&record::key(&record.path)) {
            Some(Origin::File) => format!("put {} back as it was", record.path),
            _ => format!("remove {}", record.path),
        };
        let present = present.unwrap_or_default();
        steps.add(name, Stage::Store, why, Action::Restore { path: record.path.clone(), present, into });
    }
    if reload {
        run(steps, name, Stage::Store, "let systemd forget the units", &["systemctl", "daemon-reload"]);
    }
    for user in made(facts, "user").filter(|_| facts.store_user) {
        run(steps, name, Stage::Store, "remove the data of the store", &["rm", "-rf", "--", consul::DATA]);
        run(steps, name, Stage::Store, format!("remove the user {user}"), &["userdel", user]);
    }
}

fn remove_packages(host: &HostWorld<'_>, packages: Packages, steps: &mut Steps, notes: &mut Vec<String>) {
    let names: Vec<String> = made(host.facts, "package").map(str::to_owned).collect();
    let Some(manager) = PackageManager::of(host.facts).filter(|_| !names.is_empty()) else { return };
    if packages == Packages::Keep {
        notes.push(format!("{}: these packages stay (`down --purge` removes them): {}", host.name(), names.join(", ")));
        return;
    }
    if engine_goes(host, packages) && host.facts.engine.is_some() {
        notes.push(format!(
            "{}: the engine goes, which `up` installed; its images and volumes in /var/lib/docker stay",
            host.name()
        ));
        let argv = ["systemctl", "stop", "docker.socket", engines::UNIT];
        run(steps, host.name(), Stage::Engine, "stop the engine", &argv);
    }
    let why = format!("remove the packages that were installed: {}", names.join(", "));
    let action = Action::Script { name: "apt-remove", text: manager.remove, args: names, timeout: REMOVE_TIMEOUT };
    steps.add(host.name(), Stage::Engine, why, action);
}

/// Removes the record itself. Packages that stay are remembered, for a later `down --purge`.
fn forget(host: &HostWorld<'_>, packages: Packages, steps: &mut Steps) {
    let facts = host.facts;
    for unit in made(facts, "enabled").filter(|_| !engine_goes(host, packages)) {
        let why = format!("do not start {unit} at boot, as before");
        run(steps, host.name(), Stage::Engine, why, &["systemctl", "disable", unit]);
    }
    let keeps = packages == Packages::Keep && made(facts, "package").next().is_some();
    let only_packages = facts.records.is_empty() && facts.made.iter().all(|line| line.starts_with("package "));
    if facts.made.is_empty() && facts.records.is_empty() || keeps && only_packages {
        return;
    }
    let args = vec![record::HOME.to_owned(), if keeps { "keep" } else { "forget" }.to_owned()];
    let text = include_str!("../../templates/forget.sh");
    let action = Action::Script { name: "forget", text, args, timeout: ENGINE_TIMEOUT };
    steps.add(host.name(), Stage::Record, "remove docker-cluster's record from the host", action);
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
    let down = |host: &&HostWorld<'_>| host.facts.engine.as_ref().is_some_and(|engine| !engine.is_up());
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
            let why = format!("remove the endpoint of {container} from {network}: no host has such a container");
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
    let engines = || world.hosts.iter().filter_map(|host| Some((host, host.facts.engine.as_ref()?)));
    let live: Vec<&str> = engines()
        .flat_map(|(_, engine)| &engine.containers)
        .filter_map(|container| container.networks.as_object())
        .flat_map(|networks| networks.values())
        .filter_map(|endpoint| endpoint.get("EndpointID").and_then(Value::as_str))
        .collect();
    let mut found: Vec<(&HostName, &Network, &String, &Endpoint)> = engines()
        .flat_map(|(host, engine)| engine.endpoints.iter().map(move |network| (host.name(), network)))
        .filter(|(_, network)| network.scope == "global")
        .flat_map(|(host, network)| network.endpoints.iter().map(move |(id, endpoint)| (host, network, id, endpoint)))
        .filter(|(_, _, id, endpoint)| !live.contains(&id.as_str()) && !endpoint.container.is_empty())
        .collect();
    // On the engine that had the container, if it still says so: only there does the endpoint go from what the engine keeps for itself as
    // well, which it would tell the others again and again.
    found.sort_by_key(|(.., endpoint)| !endpoint.is_own);
    let mut seen = BTreeSet::new();
    found.retain(|(_, _, id, _)| seen.insert(*id));
    let owned = |(host, network, id, endpoint): (&HostName, &Network, &String, &Endpoint)| {
        (host.clone(), network.name.clone(), id.clone(), endpoint.container.clone())
    };
    found.into_iter().map(owned).collect()
}
