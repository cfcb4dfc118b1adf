//! A host that is wanted for its engine alone, as Docker Machine makes them: the engine with its options, and no network of a cluster.

use super::{checks, down};
use crate::engines::{self, options};
use crate::fabrics::{self, standalone};
use crate::inventory::FabricKind;
use crate::plan::{Action, HostWorld, Plan, Problem, Stage, Steps, World};
use crate::stores;

/// Decides what makes the hosts of the world machines. Nothing comes onto them that only a verification between hosts needs.
#[must_use]
pub fn plan(world: &World<'_>) -> Plan {
    let (mut steps, mut notes) = (Steps::default(), Vec::new());
    let mut problems = world.problems.clone();
    problems.extend(checks::problems(world, FabricKind::Nat));
    problems.extend(world.hosts.iter().filter_map(of_a_cluster));
    if let Some(store) = store(world) {
        problems.extend(
            world
                .hosts
                .iter()
                .filter_map(|host| no_overlay(host, store)),
        );
    }
    let told = store(world).and_then(|store| plainly(world, store));
    if let Some(fabric) = fabrics::fabric(FabricKind::Nat).filter(|_| problems.is_empty()) {
        engines::install_steps(world, &mut steps);
        options::of_inventory(world, &mut steps, &mut notes);
        let of_swarm = standalone::steps(world, &mut steps, &mut notes);
        // One sentence for one store.
        let is_told = told.is_some() && store(world) == discovery(world);
        notes.extend(of_swarm.filter(|_| !is_told));
        for (host, mut lines) in down::additions(world, fabric, &steps) {
            // The image for verifications does not come, so `down` must not take it for ours.
            lines.retain(|line| !line.starts_with(down::IMAGE));
            if lines.is_empty() {
                continue;
            }
            let why = "write down what is added here, so that `down` can take it away";
            steps.prepend(&host, Stage::Record, why, Action::Note { lines });
        }
    }
    notes.extend(told);
    problems.dedup();
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Nat,
        reason: "an engine by itself is wanted".to_owned(),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes,
        unreached: world.unreached.clone(),
    }
}

/// A host of a cluster has the options of that cluster's inventory: another one would take them out, and a store's agent with them.
fn of_a_cluster(host: &HostWorld<'_>) -> Option<Problem> {
    let networks = host.facts.engine.iter().flat_map(|engine| &engine.networks);
    let cluster = networks
        .filter_map(|network| network.labels.get(down::NETWORK_LABEL))
        .next();
    let what = match cluster {
        Some(cluster) => {
            format!(
                "is a host of the cluster {cluster}, whose inventory decides what its engine is started with"
            )
        }
        None if stores::part(host.facts).is_some() => {
            "has an agent of a cluster's store".to_owned()
        }
        None => return None,
    };
    Some(Problem::on(
        host.name(),
        what,
        "use it by that inventory: `docker-cluster env`, `ssh` and the others need no machine",
    ))
}

/// The store of an overlay network, if the engine is told of one.
fn store<'a>(world: &'a World<'_>) -> Option<&'a str> {
    world
        .inventory
        .engine
        .options
        .get("cluster-store")?
        .as_str()
}

/// An engine that would not start with a store.
fn no_overlay(host: &HostWorld<'_>, store: &str) -> Option<Problem> {
    let backend = match store.split_once("://")?.0 {
        "zk" => "zookeeper",
        other => other,
    };
    let why = fabrics::no_classic_overlay(host, backend)?;
    Some(Problem::on(
        host.name(),
        format!("{why}: it would not start with `cluster-store`"),
        "make the machine without it; `docker-cluster up` connects hosts with newer engines by swarm mode",
    ))
}

/// What a store without TLS means. It is told while the engine does not have it yet, so once.
fn plainly(world: &World<'_>, store: &str) -> Option<String> {
    let options = &world.inventory.engine.options;
    let is_secret = options
        .get("cluster-store-opts")
        .is_some_and(|options| options.get("kv.cacertfile").is_some());
    let has_it = |host: &HostWorld<'_>| {
        options::present(host)
            .get("cluster-store")
            .and_then(|value| value.as_str())
            == Some(store)
    };
    let is_new = !world.hosts.iter().all(has_it);
    let (who, decides) = match discovery(world) == Some(store) {
        true => (
            "the engine and Swarm ask",
            ", decide which hosts containers run on",
        ),
        false => ("the engine asks", ""),
    };
    (is_new && !is_secret).then(|| {
        format!(
            "{who} {store} without TLS: whoever reaches that port can read and change the networks of all engines that use it{decides}, and \
             hear what goes to it. `docker-cluster up` makes a store with TLS"
        )
    })
}

/// Where managers and agents of Swarm find each other.
fn discovery<'a>(world: &'a World<'_>) -> Option<&'a str> {
    let swarm = world.inventory.swarm.standalone.as_ref()?;
    swarm.discovery.as_deref()
}
