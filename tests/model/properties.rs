//! What must hold of every world.

use std::collections::{BTreeMap, BTreeSet};

use docker_cluster::decide::down::{self, Packages};
use docker_cluster::decide::migrate::{self, Way};
use docker_cluster::decide::rotation::plan_rotation;
use docker_cluster::decide::{rm, up as plan};
use docker_cluster::inventory::{HostName, Inventory};
use docker_cluster::plan::{Action, Plan, Slot, Step, World};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};

use super::files::DAEMON_JSON;
use super::host::{Cluster, Host, STORE_UNIT};
use super::run::{After, Dice, Ended, Fault, run};
use super::world::{IMAGE, Recipe, address, name_of, worlds};

/// How many worlds a property sees, unless `PROPTEST_CASES` says another number. All of them together take some seconds.
const CASES: u32 = 100;

/// The same for worlds of up to 200 hosts, whose plans alone are looked at.
const CASES_OF_LARGE_WORLDS: u32 = 10;

/// How long a world that fails is made smaller, in milliseconds: a small one is found in a second or two.
const SHRINKING: u32 = 5_000;

/// A failure is kept beside this file, and seen first from then on.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    let cases = asked.map_or(usual, |asked| asked.saturating_mul(usual).div_ceil(CASES));
    let kept = FileFailurePersistence::Direct("tests/model/regressions.txt");
    ProptestConfig {
        failure_persistence: Some(Box::new(kept)),
        max_shrink_time: SHRINKING,
        ..ProptestConfig::with_cases(cases)
    }
}

/// What is to be done, for a person.
fn sentences(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| format!("{} {}: {}", step.id, step.host, step.why))
        .collect()
}

fn problems(plan: &Plan) -> Vec<String> {
    plan.problems
        .iter()
        .map(|problem| format!("{:?}: {}", problem.host, problem.what))
        .collect()
}

/// A property that does not hold.
type Broken = Result<(), TestCaseError>;

// ---- plans as data ----

/// No steps wait for each other, and whatever the order of the hosts, slots are filled before they are read.
fn slots_are_filled(plan: &Plan) -> Broken {
    let mut last: BTreeMap<&HostName, usize> = BTreeMap::new();
    let mut before: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for step in &plan.steps {
        let others = step.after.iter().chain(&step.follows).copied();
        before.insert(
            step.id,
            others.chain(last.insert(&step.host, step.id)).collect(),
        );
    }
    // All that matter: what nobody reads need not be filled.
    let read: BTreeSet<Slot> = plan
        .steps
        .iter()
        .flat_map(|step| step.action.reads())
        .collect();
    // What is filled once a step is done.
    let mut filled: BTreeMap<usize, BTreeSet<Slot>> = BTreeMap::new();
    let mut left: Vec<&Step> = plan.steps.iter().collect();
    while !left.is_empty() {
        let (ready, others): (Vec<&Step>, _) = left
            .iter()
            .partition(|step| before[&step.id].iter().all(|id| filled.contains_key(id)));
        let circle = || {
            others
                .iter()
                .map(|step| (step.id, &step.host, &step.why, &before[&step.id]))
                .collect::<Vec<_>>()
        };
        prop_assert!(
            !ready.is_empty(),
            "steps wait for each other: {:#?}",
            circle()
        );
        for step in ready {
            let mut slots: BTreeSet<Slot> = before[&step.id]
                .iter()
                .flat_map(|id| filled[id].iter().copied())
                .collect();
            let empty: Vec<Slot> = step
                .action
                .reads()
                .into_iter()
                .filter(|slot| !slots.contains(slot))
                .collect();
            prop_assert!(
                empty.is_empty(),
                "{}: {} reads {empty:?}, which nothing has filled",
                step.host,
                step.why
            );
            slots.extend(read.iter().filter(|slot| step.action.fills(**slot)));
            filled.insert(step.id, slots);
        }
        left = others;
    }
    Ok(())
}

/// A part of a plan has all that it needs, or is refused.
fn parts_are_whole(whole: &Plan, selected: &[HostName]) -> Broken {
    let mut part = whole.clone();
    part.limit_to(selected);
    if part.problems.len() > whole.problems.len() {
        prop_assert!(
            part.steps.is_empty(),
            "refused, and yet: {:#?}",
            sentences(&part)
        );
        return Ok(());
    }
    slots_are_filled(&part)?;
    let kept: BTreeSet<usize> = part.steps.iter().map(|step| step.id).collect();
    let is_kept = |id: usize| kept.contains(&id);
    let of_whole: BTreeMap<usize, &Step> = whole.steps.iter().map(|step| (step.id, step)).collect();
    for step in &part.steps {
        let is_its = selected.contains(&step.host)
            || step
                .about
                .as_ref()
                .is_some_and(|host| selected.contains(host));
        let is_note = matches!(step.action, Action::Note { .. });
        let is_its = is_its || is_note;
        prop_assert!(
            is_its || step.action.only_reads(),
            "{} is not selected: {}",
            step.host,
            step.why
        );
        prop_assert!(
            step.after
                .iter()
                .chain(&step.turns)
                .chain(&step.follows)
                .all(|id| is_kept(*id))
        );
        let all = of_whole[&step.id];
        let lost: Vec<_> = all
            .after
            .iter()
            .filter(|id| !all.turns.contains(id) && !is_kept(**id))
            .collect();
        prop_assert!(lost.is_empty(), "{}: {} lost {lost:?}", step.host, step.why);
    }
    for step in whole
        .steps
        .iter()
        .filter(|step| selected.contains(step.about.as_ref().unwrap_or(&step.host)))
    {
        prop_assert!(is_kept(step.id), "{}: {} was left out", step.host, step.why);
    }
    Ok(())
}

fn well_formed(plan: &Plan) -> Broken {
    prop_assert!(
        plan.problems.is_empty() || plan.steps.is_empty(),
        "a plan with problems has no steps"
    );
    let ids: BTreeSet<usize> = plan.steps.iter().map(|step| step.id).collect();
    prop_assert_eq!(ids.len(), plan.steps.len());
    for step in &plan.steps {
        prop_assert!(
            plan.hosts.contains(&step.host),
            "{} is not a host of the plan",
            step.host
        );
        let others = step.after.iter().chain(&step.turns).chain(&step.follows);
        for id in others {
            prop_assert!(
                ids.contains(id),
                "{}: {} waits for {id}, which is none",
                step.host,
                step.why
            );
        }
    }
    slots_are_filled(plan)
}

// ---- what is on hosts ----

/// What is somebody's on a host: networks, containers, images, options, files.
fn theirs_of(host: &Host) -> Value {
    let options = host.options().unwrap_or_default();
    let engine = host.engine.as_ref().map(|engine| {
        let networks: Vec<_> = engine.networks.iter().filter(|n| n.name != "docker_gwbridge").map(|n| &n.id).collect();
        let guests: Vec<_> = engine
            .containers
            .iter()
            .filter(|one| one.name.starts_with("guest"))
            .map(|one| json!([one.name, one.networks, one.restart]))
            .collect();
        json!({"networks": networks, "guests": guests, "image": engine.images.contains("guest:1"), "version": engine.version})
    });
    let kept = ["log-driver", "debug", "dns"].map(|key| options.get(key).cloned());
    let below = options
        .get("log-opts")
        .and_then(|below| below.get("max-file"))
        .cloned();
    let files: Vec<_> = [
        "/etc/docker-cluster/notes",
        "/etc/systemd/system/shop.service",
    ]
    .map(|path| {
        host.files
            .get(path)
            .map(|file| (&file.text, &file.mode, &file.owner))
    })
    .to_vec();
    json!({"engine": engine, "options": kept, "below": below, "files": format!("{files:?}")})
}

/// What is somebody's in the swarm that there was.
fn their_swarm(cluster: &Cluster) -> Option<(Vec<String>, usize)> {
    let swarm = cluster.swarms.iter().find(|swarm| swarm.id == "theirs")?;
    Some((
        swarm.services.clone(),
        swarm
            .nodes
            .iter()
            .filter(|node| node.id.starts_with("their"))
            .count(),
    ))
}

/// Looks after each step: a quorum that there was is kept, and nothing of others is touched.
struct Watch {
    original: Cluster,
    stores: BTreeSet<String>,
    swarms: BTreeSet<usize>,
    broken: Option<String>,
    /// Whether the swarms are to end.
    ends: bool,
}

impl Watch {
    fn new(before: &Cluster, original: &Cluster) -> Self {
        Self {
            original: original.clone(),
            stores: before
                .stores
                .keys()
                .filter(|key| before.leads(key, true))
                .cloned()
                .collect(),
            swarms: (0..before.swarms.len())
                .filter(|at| before.has_quorum(*at, true))
                .collect(),
            broken: None,
            ends: false,
        }
    }

    fn ending(mut self) -> Self {
        self.ends = true;
        self
    }

    fn look(&mut self, cluster: &Cluster, step: &Step) {
        if self.broken.is_some() {
            return;
        }
        let at = format!("after {}: {}", step.host, step.why);
        let host = cluster.index(step.host.as_str());
        let (was, is) = (&self.original.hosts[host], &cluster.hosts[host]);
        let (mut then, mut now) = (theirs_of(was), theirs_of(is));
        // An engine that a run installs has nothing of somebody.
        if was.engine.is_none() {
            (then["engine"], now["engine"]) = (Value::Null, Value::Null);
        }
        let mut found = differences(&then, &now);
        if their_swarm(&self.original) != their_swarm(cluster) {
            found.push("their swarm".to_owned());
        }
        if !found.is_empty() {
            self.broken = Some(format!("{at}: what is of others changed: {found:#?}"));
        }
        if self.ends {
            return;
        }
        for store in &self.stores {
            // One server alone is no quorum that could be kept.
            if cluster.stores[store].peers.len() > 1 && !cluster.leads(store, true) {
                let peers = &cluster.stores[store].peers;
                self.broken = Some(format!("{at}: the store has no quorum of {peers:?}"));
            }
        }
        for swarm in &self.swarms {
            let managers = cluster.swarms[*swarm]
                .nodes
                .iter()
                .filter(|node| node.is_manager)
                .count();
            if managers > 2 && !cluster.has_quorum(*swarm, true) {
                self.broken = Some(format!("{at}: the swarm has no quorum"));
            }
        }
        self.stores.extend(
            cluster
                .stores
                .keys()
                .filter(|key| cluster.leads(key, true))
                .cloned(),
        );
        self.swarms
            .extend((0..cluster.swarms.len()).filter(|at| cluster.has_quorum(*at, true)));
    }
}

/// Runs a plan and watches.
fn carry_out(
    cluster: &mut Cluster,
    plan: &Plan,
    fault: Fault,
    dice: &mut Dice,
    mut watch: Watch,
) -> Result<Ended, TestCaseError> {
    well_formed(plan)?;
    let ended = run(cluster, plan, fault, dice, &mut |cluster, step| {
        watch.look(cluster, step)
    });
    prop_assert!(
        watch.broken.is_none(),
        "{}\n{:#?}",
        watch.broken.unwrap_or_default(),
        ended.told
    );
    if fault == Fault::Nothing {
        prop_assert!(
            ended.is_complete(),
            "a run without a fault ends: {:#?}",
            ended
        );
    }
    Ok(ended)
}

/// Plans and obeys until nothing is left to do, at most three times: a stopped member of a swarm is started first, and asked then.
fn until_done(
    cluster: &mut Cluster,
    inventory: &Inventory,
    decide: &dyn Fn(&World<'_>) -> Plan,
    dice: &mut Dice,
    original: &Cluster,
) -> Broken {
    let mut told = Vec::new();
    for _ in 0..3 {
        let next = cluster.decide(inventory, &[], decide);
        prop_assert!(
            next.problems.is_empty(),
            "it cannot go on: {:#?}\n{:#?}",
            problems(&next),
            told
        );
        if next.is_empty() {
            return Ok(());
        }
        told.extend(sentences(&next));
        let watch = Watch::new(cluster, original);
        carry_out(cluster, &next, Fault::Nothing, dice, watch)?;
    }
    let next = cluster.decide(inventory, &[], decide);
    prop_assert!(
        next.is_empty(),
        "there is always more to do: {:#?} after {:#?}",
        sentences(&next),
        told
    );
    Ok(())
}

/// What a run comes to, without the names of what was born in it.
fn end_of(cluster: &Cluster) -> Value {
    let of = |at: usize| {
        let host = &cluster.hosts[at];
        let networks: BTreeSet<String> = cluster
            .networks(at)
            .into_iter()
            .filter(|n| n.scope != "local")
            .map(|n| n.name)
            .collect();
        let engine = host.engine.as_ref();
        let containers: BTreeSet<_> = engine
            .iter()
            .flat_map(|e| &e.containers)
            .map(|one| (&one.name, one.running))
            .collect();
        let files: BTreeSet<_> = host
            .files
            .0
            .iter()
            .filter(|(path, _)| !path.starts_with("/var/lib/docker-cluster/record"))
            .map(|(path, file)| (path, &file.mode, &file.owner))
            .collect();
        let units: Vec<_> = host
            .units
            .iter()
            .map(|(name, unit)| (name, unit.active, unit.enabled))
            .collect();
        json!({
            "host": host.name, "networks": networks, "containers": containers, "files": files, "units": units,
            "options": engine.map(|engine| &engine.effective), "member": engine.is_some_and(|engine| engine.swarm.is_some()),
            "packages": host.packages, "users": host.users,
        })
    };
    let managers: Vec<usize> = cluster
        .swarms
        .iter()
        .map(|swarm| {
            swarm
                .nodes
                .iter()
                .filter(|node| node.is_manager && !node.is_gone)
                .count()
        })
        .filter(|count| *count > 0)
        .collect();
    let peers: Vec<usize> = cluster
        .stores
        .iter()
        .filter(|(key, _)| cluster.leads(key, false))
        .map(|(_, store)| store.peers.len())
        .collect();
    json!({"hosts": (0..cluster.hosts.len()).map(of).collect::<Vec<_>>(), "managers": managers, "peers": peers})
}

/// What differs in two documents: where, and both values.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    fn walk(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
        match (one, other) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    let of = |map: &serde_json::Map<String, Value>| {
                        map.get(key).cloned().unwrap_or(Value::Null)
                    };
                    walk(&format!("{path}.{key}"), &of(a), &of(b), found);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (at, (a, b)) in a.iter().zip(b).enumerate() {
                    walk(&format!("{path}[{at}]"), a, b, found);
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                let gone = a
                    .iter()
                    .filter(|one| !b.contains(one))
                    .map(|one| format!("{path} -{one}"));
                let new = b
                    .iter()
                    .filter(|one| !a.contains(one))
                    .map(|one| format!("{path} +{one}"));
                found.extend(gone.chain(new));
            }
            (a, b) if a != b => found.push(format!("{path}: {a} / {b}")),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", one, other, &mut found);
    found
}

fn same(one: &Value, other: &Value, what: &str, told: &[String]) -> Broken {
    let found = differences(one, other);
    prop_assert!(found.is_empty(), "{what}: {found:#?} after {told:#?}");
    Ok(())
}

/// A host as it was, but for what a restart of its engine cannot give back, and what is kept on purpose: what an engine had that was
/// stopped when `up` came is not known, and so not taken away.
fn as_before(host: &Host, was_stopped: bool) -> Value {
    let files: BTreeMap<_, _> = host
        .files
        .0
        .iter()
        .map(|(path, file)| (path, (&file.text, &file.mode, &file.owner)))
        .collect();
    let engine = host.engine.as_ref().map(|engine| {
        let networks = engine.networks.iter().map(|network| &network.name);
        let networks: BTreeSet<_> = networks.filter(|name| !was_stopped || *name != "docker_gwbridge").collect();
        let images: Vec<_> = engine.images.iter().filter(|image| !was_stopped || *image != IMAGE).collect();
        let containers: BTreeSet<_> = engine.containers.iter().map(|one| (&one.name, &one.networks)).collect();
        // One that was stopped runs afterwards, and its options are in effect.
        json!({"networks": networks, "containers": format!("{containers:?}"), "images": images, "version": engine.version, "swarm": engine.swarm.is_some()})
    });
    let enabled: BTreeSet<_> = host
        .units
        .iter()
        .filter(|(_, unit)| unit.enabled)
        .map(|(name, _)| name)
        .collect();
    json!({
        "files": files.into_iter().map(|(path, file)| json!([path, file])).collect::<Vec<_>>(), "engine": engine,
        "enabled": enabled, "packages": host.packages, "users": host.users, "data": host.has_data,
        "mesh": format!("{:?}", host.mesh), "agent": host.is_active(STORE_UNIT),
    })
}

fn is_as_before(cluster: &Cluster, original: &Cluster, hosts: &[usize], told: &[String]) -> Broken {
    for at in hosts {
        let was_stopped = original.hosts[*at]
            .engine
            .as_ref()
            .is_some_and(|engine| !engine.up);
        let (now, then) = (
            as_before(&cluster.hosts[*at], was_stopped),
            as_before(&original.hosts[*at], was_stopped),
        );
        same(
            &then,
            &now,
            &format!("{} is not as it was", name_of(*at)),
            told,
        )?;
    }
    Ok(())
}

fn down_with_packages(world: &World<'_>) -> Plan {
    down::plan(world, Packages::Purge)
}

fn all(recipe: &Recipe) -> Vec<usize> {
    (0..recipe.hosts.len()).collect()
}

/// A world in which `up` was carried out; none where it is refused.
fn up(recipe: &Recipe) -> Result<Option<(Cluster, Inventory, Dice)>, TestCaseError> {
    let mut cluster = recipe.cluster();
    let original = cluster.clone();
    let inventory = recipe.inventory(recipe.hosts.len());
    let mut dice = Dice::new(recipe.seed);
    if !cluster.decide(&inventory, &[], plan).problems.is_empty() {
        return Ok(None);
    }
    until_done(&mut cluster, &inventory, &plan, &mut dice, &original)?;
    Ok(Some((cluster, inventory, dice)))
}

/// Some fault within a run of so many steps.
fn faults() -> impl Strategy<Value = (u8, prop::sample::Index)> {
    (0u8..3, any::<prop::sample::Index>())
}

fn fault_of((kind, at): (u8, prop::sample::Index), plan: &Plan) -> Fault {
    let at = at.index(plan.steps.len().max(1));
    match kind {
        0 => Fault::Cut(at),
        1 => Fault::Fails(at, After::Nothing),
        _ => Fault::Fails(at, After::All),
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn plans_are_whole(recipe in worlds(1..=12), part in prop::collection::vec(any::<bool>(), 12), grown in any::<prop::sample::Index>(), silent in prop::option::weighted(0.2, any::<prop::sample::Index>())) {
        let mut cluster = recipe.cluster();
        let count = recipe.hosts.len();
        let mut dice = Dice::new(recipe.seed);
        // Half of it is there already, as an earlier run left it that was cut off.
        let half = recipe.inventory(1 + grown.index(count));
        let first = cluster.decide(&half, &[], plan);
        if first.problems.is_empty() {
            let cut = Fault::Cut(dice.below(2 * first.steps.len()));
            run(&mut cluster, &first, cut, &mut dice, &mut |_, _| {});
        }
        let inventory = recipe.inventory(count);
        let silent: Vec<usize> = silent.map(|at| at.index(count)).into_iter().collect();
        let whole = cluster.decide(&inventory, &silent, plan);
        prop_assert_eq!(json!(whole), json!(cluster.decide(&inventory, &silent, plan)), "two plans of one world are equal");
        well_formed(&whole)?;
        let selected: Vec<HostName> = (0..count).filter(|at| part[*at]).map(name_of).collect();
        parts_are_whole(&whole, &selected)?;
        well_formed(&cluster.decide(&inventory, &silent, down_with_packages))?;
        well_formed(&cluster.decide(&inventory, &silent, |world| rm(world, &name_of(0))))?;
        for way in [Way::ToSwarm { upgrade: false }, Way::ToSwarm { upgrade: true }, Way::Back] {
            let mut plan = cluster.decide(&inventory, &silent, |world| migrate::plan(world, way));
            if !plan.problems.is_empty() { plan.steps.clear(); }
            well_formed(&plan)?;
        }
    }

    #[test]
    fn up_ends_and_leaves_nothing_to_do(recipe in worlds(1..=7)) {
        up(&recipe)?;
    }

    #[test]
    fn a_run_that_is_cut_or_fails_is_taken_up(recipe in worlds(1..=6), fault in faults()) {
        let Some((straight, inventory, _)) = up(&recipe)? else { return Ok(()) };
        let mut cluster = recipe.cluster();
        let original = cluster.clone();
        let mut dice = Dice::new(recipe.seed);
        let first = cluster.decide(&inventory, &[], plan);
        let ended = carry_out(&mut cluster, &first, fault_of(fault, &first), &mut dice, Watch::new(&original, &original))?;
        let told = &ended.told;
        until_done(&mut cluster, &inventory, &plan, &mut dice, &original).map_err(|error| TestCaseError::fail(format!("{error}\nafter {told:#?}")))?;
        same(&end_of(&straight), &end_of(&cluster), "another end", told)?;
    }

    #[test]
    fn some_hosts_first_and_then_all_come_to_the_same(recipe in worlds(2..=6), part in prop::collection::vec(any::<bool>(), 6)) {
        let Some((straight, inventory, _)) = up(&recipe)? else { return Ok(()) };
        let mut cluster = recipe.cluster();
        let original = cluster.clone();
        let mut dice = Dice::new(recipe.seed);
        let mut first = cluster.decide(&inventory, &[], plan);
        let selected: Vec<HostName> = (0..recipe.hosts.len()).filter(|at| part[*at]).map(name_of).collect();
        first.limit_to(&selected);
        if first.problems.is_empty() {
            carry_out(&mut cluster, &first, Fault::Nothing, &mut dice, Watch::new(&original, &original))?;
        }
        let told = sentences(&first);
        until_done(&mut cluster, &inventory, &plan, &mut dice, &original).map_err(|error| TestCaseError::fail(format!("{error}\nafter {told:#?}")))?;
        same(&end_of(&straight), &end_of(&cluster), "another end", &told)?;
    }

    #[test]
    fn a_cluster_grows(recipe in worlds(2..=7), first in any::<prop::sample::Index>()) {
        let mut cluster = recipe.cluster();
        let original = cluster.clone();
        let mut dice = Dice::new(recipe.seed);
        let count = recipe.hosts.len();
        for size in [1 + first.index(count), count] {
            let inventory = recipe.inventory(size);
            if !cluster.decide(&inventory, &[], plan).problems.is_empty() {
                return Ok(());
            }
            until_done(&mut cluster, &inventory, &plan, &mut dice, &original)?;
        }
    }

    #[test]
    fn a_cluster_goes_on_without_a_host_that_is_gone(recipe in worlds(2..=7), which in any::<prop::sample::Index>()) {
        let Some((mut cluster, _, mut dice)) = up(&recipe)? else { return Ok(()) };
        let gone = which.index(recipe.hosts.len());
        // A node that was there before is one that left the inventory all the same.
        if recipe.settings.foreign_swarm && recipe.hosts[gone].member {
            return Ok(());
        }
        let host = &mut cluster.hosts[gone];
        host.stop_engine();
        host.unit(STORE_UNIT).active = false;
        // What it would say counts no more, and what is lost with it is not this run's doing.
        let original = Cluster { swarms: cluster.swarms.clone(), ..recipe.cluster() };
        let others: Vec<usize> = all(&recipe).into_iter().filter(|other| *other != gone).collect();
        let left = recipe.inventory_of(&others);
        if !cluster.decide(&left, &[], plan).problems.is_empty() {
            return Ok(());
        }
        // Of three servers the last two are the quorum, and restart one after the other for a configuration without the third: the store is
        // away for as long as that takes, and nothing could be done about it.
        ending(&mut cluster, &left, &plan, &mut dice, &original, true)?;
        for store in cluster.stores.values().filter(|store| !store.peers.is_empty()) {
            prop_assert!(!store.peers.contains(&address(gone)), "its server is still in the quorum");
        }
    }

    #[test]
    fn a_new_ca_comes_to_everybody(recipe in worlds(1..=5), fault in prop::option::of(faults())) {
        let Some((mut cluster, inventory, mut dice)) = up(&recipe)? else { return Ok(()) };
        let original = recipe.cluster();
        let first = cluster.decide(&inventory, &[], plan_rotation);
        if !first.problems.is_empty() {
            return Ok(());
        }
        let before = end_of(&cluster);
        let ca_of = |cluster: &Cluster| -> BTreeSet<String> {
            let texts = cluster.hosts.iter().filter_map(|host| host.files.text("/etc/docker-cluster/consul/ca.pem"));
            texts.map(str::to_owned).collect()
        };
        let old = ca_of(&cluster);
        let mut told = Vec::new();
        let mut is_to_go_on = true;
        if let Some(fault) = fault {
            let watch = Watch::new(&cluster, &original);
            told = carry_out(&mut cluster, &first, fault_of(fault, &first), &mut dice, watch)?.told;
            let now = ca_of(&cluster);
            // One that failed at its very end is over.
            is_to_go_on = now == old || now.iter().any(|text| text.matches("BEGIN").count() > 1);
        }
        if is_to_go_on {
            let next = cluster.decide(&inventory, &[], plan_rotation);
            prop_assert!(next.problems.is_empty(), "{:#?} after {:#?}", problems(&next), told);
            let watch = Watch::new(&cluster, &original);
            let ended = carry_out(&mut cluster, &next, Fault::Nothing, &mut dice, watch)
                .map_err(|error| TestCaseError::fail(format!("{error}\nafter {told:#?}")))?;
            told.extend(ended.told);
        }
        let new = ca_of(&cluster);
        prop_assert!(new.len() == 1 && new.is_disjoint(&old), "everybody trusts the new one alone: {told:#?}");
        // What a run at its very end left to do, `up` does.
        until_done(&mut cluster, &inventory, &plan, &mut dice, &original).map_err(|error| TestCaseError::fail(format!("{error}\nafter {told:#?}")))?;
        same(&before, &end_of(&cluster), "another end", &told)?;
    }

    #[test]
    fn down_leaves_hosts_as_they_were(recipe in worlds(1..=6), fault in prop::option::of(faults())) {
        let Some((mut cluster, inventory, mut dice)) = up(&recipe)? else { return Ok(()) };
        let original = recipe.cluster();
        let mut told = Vec::new();
        let first = cluster.decide(&inventory, &[], down_with_packages);
        prop_assert!(first.problems.is_empty(), "{:#?}", problems(&first));
        if let Some(fault) = fault {
            let watch = Watch::new(&cluster, &original).ending();
            told = carry_out(&mut cluster, &first, fault_of(fault, &first), &mut dice, watch)?.told;
        }
        for _ in 0..2 {
            let next = cluster.decide(&inventory, &[], down_with_packages);
            prop_assert!(next.problems.is_empty(), "{:#?} after {:#?}", problems(&next), told);
            let watch = Watch::new(&cluster, &original).ending();
            let ended = carry_out(&mut cluster, &next, Fault::Nothing, &mut dice, watch)
                .map_err(|error| TestCaseError::fail(format!("{error}\nafter {told:#?}")))?;
            told.extend(ended.told);
        }
        is_as_before(&cluster, &original, &all(&recipe), &told)?;
        let again = cluster.decide(&inventory, &[], down_with_packages);
        prop_assert!(again.is_empty() && again.problems.is_empty(), "{:#?}", sentences(&again));
    }

    #[test]
    fn a_host_that_is_removed_is_as_it_was(recipe in worlds(2..=6), which in any::<prop::sample::Index>()) {
        let Some((mut cluster, inventory, mut dice)) = up(&recipe)? else { return Ok(()) };
        let original = recipe.cluster();
        let at = which.index(recipe.hosts.len());
        let was_member = original.hosts[at].engine.as_ref().is_some_and(|engine| engine.swarm.is_some());
        let removal = cluster.decide(&inventory, &[], |world| rm(world, &name_of(at)));
        if !removal.problems.is_empty() || was_member {
            return Ok(());
        }
        let watch = Watch::new(&cluster, &original);
        let mut told = carry_out(&mut cluster, &removal, Fault::Nothing, &mut dice, watch)?.told;
        // The others go on without it.
        let others: Vec<usize> = all(&recipe).into_iter().filter(|other| *other != at).collect();
        let left = recipe.inventory_of(&others);
        until_done(&mut cluster, &left, &plan, &mut dice, &original).map_err(|error| TestCaseError::fail(format!("{error}\nafter {told:#?}")))?;
        // And what is left on it goes with an inventory of it alone.
        let alone = recipe.inventory_of(&[at]);
        let rest = cluster.decide(&alone, &[], down_with_packages);
        prop_assert!(rest.problems.is_empty(), "{:#?} after {:#?}", problems(&rest), told);
        let watch = Watch::new(&cluster, &original);
        told.extend(carry_out(&mut cluster, &rest, Fault::Nothing, &mut dice, watch)?.told);
        is_as_before(&cluster, &original, &[at], &told)?;
    }

    #[test]
    fn a_migration_goes_there_and_back(recipe in worlds(1..=5), fault in prop::option::of(faults()), goes_back in any::<bool>()) {
        let Some((mut cluster, inventory, mut dice)) = up(&recipe)? else { return Ok(()) };
        let original = recipe.cluster();
        let is_classic = (0..cluster.hosts.len()).any(|at| cluster.engine_store(at).is_some());
        let forth = |world: &World<'_>| migrate::plan(world, Way::ToSwarm { upgrade: false });
        let back = |world: &World<'_>| migrate::plan(world, Way::Back);
        let first = cluster.decide(&inventory, &[], forth);
        if !is_classic || !first.problems.is_empty() || recipe.settings.fabric == "overlay" {
            return Ok(());
        }
        let straight = cluster.clone();
        let mut told = Vec::new();
        if let Some(fault) = fault {
            let watch = Watch::new(&cluster, &original).ending();
            told = carry_out(&mut cluster, &first, fault_of(fault, &first), &mut dice, watch)?.told;
        }
        let failed = |error: TestCaseError, told: &[String]| TestCaseError::fail(format!("{error}\nafter {told:#?}"));
        ending(&mut cluster, &inventory, &forth, &mut dice, &original, true).map_err(|error| failed(error, &told))?;
        if goes_back {
            ending(&mut cluster, &inventory, &back, &mut dice, &original, false).map_err(|error| failed(error, &told))?;
            until_done(&mut cluster, &inventory, &plan, &mut dice, &original).map_err(|error| failed(error, &told))?;
            same(&end_of(&straight), &end_of(&cluster), "another end", &told)?;
        }
        ending(&mut cluster, &inventory, &down_with_packages, &mut dice, &original, true).map_err(|error| failed(error, &told))?;
        is_as_before(&cluster, &original, &all(&recipe), &told)?;
    }
}

proptest! {
    // As long as a plan for 200 hosts takes, unoptimised.
    #![proptest_config(cases(CASES_OF_LARGE_WORLDS))]

    #[test]
    fn large_worlds_have_whole_plans_too(recipe in worlds(1..=200), part in any::<prop::sample::Index>()) {
        let cluster = recipe.cluster();
        let count = recipe.hosts.len();
        let inventory = recipe.inventory(count);
        let whole = cluster.decide(&inventory, &[], plan);
        well_formed(&whole)?;
        let selected: Vec<HostName> = (0..=part.index(count)).map(name_of).collect();
        parts_are_whole(&whole, &selected)?;
        prop_assert_eq!(json!(whole), json!(cluster.decide(&inventory, &[], plan)), "two plans of one world are equal");
    }
}

/// The same as [`until_done`] where stores and swarms may end; once, or until nothing is left to do.
fn ending(
    cluster: &mut Cluster,
    inventory: &Inventory,
    decide: &dyn Fn(&World<'_>) -> Plan,
    dice: &mut Dice,
    original: &Cluster,
    is_again: bool,
) -> Broken {
    let mut told = Vec::new();
    for _ in 0..3 {
        let next = cluster.decide(inventory, &[], decide);
        prop_assert!(
            next.problems.is_empty(),
            "it cannot go on: {:#?}\n{:#?}",
            problems(&next),
            told
        );
        if next.is_empty() {
            return Ok(());
        }
        let watch = Watch::new(cluster, original).ending();
        told.extend(carry_out(cluster, &next, Fault::Nothing, dice, watch)?.told);
        if !is_again {
            return Ok(());
        }
    }
    let next = cluster.decide(inventory, &[], decide);
    prop_assert!(
        next.is_empty(),
        "there is always more to do: {:#?} after {:#?}",
        sentences(&next),
        told
    );
    Ok(())
}

#[test]
fn daemon_json_is_where_the_probe_looks() {
    // The probe has the name of its record in it.
    assert!(docker_cluster::facts::SCRIPT.contains(&format!(
        "{}.bytes",
        docker_cluster::record::key(DAEMON_JSON)
    )));
}

/// A generator of worlds that are all refused would show nothing.
#[test]
fn most_worlds_come_up_in_either_fabric() {
    const WORLDS: usize = 60;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut fabrics: BTreeMap<String, usize> = BTreeMap::new();
    let mut meshes = 0;
    for _ in 0..WORLDS {
        let recipe = worlds(1..=6)
            .new_tree(&mut runner)
            .expect("a world")
            .current();
        let plan = recipe
            .cluster()
            .decide(&recipe.inventory(recipe.hosts.len()), &[], plan);
        let fabric = if plan.problems.is_empty() {
            json!(plan.fabric)
        } else {
            json!(problems(&plan))
        };
        *fabrics.entry(fabric.to_string()).or_default() += 1;
        let makes_key = |step: &Step| matches!(step.action, Action::MakeKey { .. });
        meshes += usize::from(plan.steps.iter().any(makes_key));
    }
    let of = |name: &str| fabrics.get(&json!(name).to_string()).copied().unwrap_or(0);
    assert!(
        of("swarm") > WORLDS / 4 && of("overlay") > WORLDS / 6 && meshes > WORLDS / 10,
        "{fabrics:#?}, over a mesh {meshes}"
    );
}
