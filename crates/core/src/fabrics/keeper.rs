//! A container that only sleeps keeps the network open on each host.
//!
//! An engine opens a network with the first container on it and leaves it with the last, and neither goes well:
//!
//! - The classic overlay of engines up to 20.10 forgets a thread in the sandbox that it tears down: `watchMiss` of the overlay driver ends
//!   without going back to the host's network namespace (moby/libnetwork#1838; never mended, since 23 removed the driver).
//!   Whatever the engine runs on that thread later fails at random: the store "refuses" connections, names do not resolve, packets
//!   to new containers go nowhere. Three starts and stops of a container are enough to see it.
//! - In swarm mode an engine that comes back to a network tells of its containers only those that it knows to be on it by then, and asks
//!   one of them what there is. Where several come at about the same time, the next of the engines' bulk syncs has to make up for what
//!   was missed, up to a minute later: of 86 verifications in a row on three hosts eight waited for 8 to 60 s.

use std::time::Duration;

use crate::facts::Container;
use crate::inventory::container_name;
use crate::labels::KEEPER_LABEL;
use crate::plan::{Action, EngineCall, HostWorld, Stage, StepId, Steps, World};

/// How long an engine may take to remove a container.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts a keeper on every host that has none, after these steps. `stays` says whether what a host has now is still there by then. Returns the
/// steps that start one.
pub(crate) fn keep(
    world: &World<'_>,
    steps: &mut Steps,
    after: &[StepId],
    stays: impl Fn(&HostWorld<'_>) -> bool,
) -> Vec<StepId> {
    let mut started = Vec::new();
    let network = world.inventory.network.name.as_str();
    let smoke = &world.inventory.smoke;
    for host in &world.hosts {
        // Names on an overlay are one name space for all hosts.
        let name = container_name(&format!("dc-keeper-{network}"), host.name());
        if is_kept(world, host, &name) && stays(host) {
            continue;
        }
        get_image(world, host, steps);
        let call = EngineCall::RunKeeper {
            name,
            image: smoke.image.clone(),
            network: network.to_owned(),
            cluster: world.inventory.cluster.to_string(),
        };
        let why = format!("keep {network} open here with a container that sleeps");
        started.push(steps.add_after(
            host.name(),
            Stage::Network,
            why,
            Action::Engine(call),
            after.to_vec(),
        ));
    }
    started
}

/// Gets the image onto a host that lacks it, unless it is on its way already.
pub(super) fn get_image(world: &World<'_>, host: &HostWorld<'_>, steps: &mut Steps) {
    let smoke = &world.inventory.smoke;
    let has_image = |host: &HostWorld<'_>| {
        host.facts
            .engine
            .as_ref()
            .is_some_and(|engine| engine.images.contains(&smoke.image))
    };
    if has_image(host)
        || steps
            .of(host.name())
            .any(|step| matches!(&step.action, Action::EnsureImage { image, .. } if *image == smoke.image))
    {
        return;
    }
    let lack_it = world.hosts.iter().filter(|host| !has_image(host)).count();
    let from = if smoke.tar.is_some() { "push" } else { "pull" };
    let address = (lack_it > 1).then_some(host.private);
    let action = Action::EnsureImage {
        image: smoke.image.clone(),
        tar: smoke.tar.clone(),
        sha256: None,
        address,
    };
    steps.add(
        host.name(),
        Stage::Network,
        format!("{from} the image {}", smoke.image),
        action,
    );
}

/// Whether a keeper runs on the network that there is: one of the same name that is no more is another.
fn is_kept(world: &World<'_>, host: &HostWorld<'_>, name: &str) -> bool {
    let network = world.inventory.network.name.as_str();
    let cluster = world.inventory.cluster.to_string();
    let present = world
        .hosts
        .iter()
        .find_map(|host| host.facts.engine.as_ref()?.network(network));
    let keeps = |container: &Container| {
        let on = container.networks.get(network);
        let id = on
            .and_then(|on| on.get("NetworkID"))
            .and_then(serde_json::Value::as_str);
        let is_another = present
            .zip(id)
            .is_some_and(|(present, id)| !id.is_empty() && id != present.id);
        // By its label as well: an earlier version called the keeper of a host with a long name otherwise.
        let is_it = container.name == name || container.labels.get(KEEPER_LABEL) == Some(&cluster);
        is_it && container.is_running() && on.is_some() && !is_another
    };
    host.facts
        .engine
        .iter()
        .flat_map(|engine| &engine.containers)
        .any(keeps)
}

/// Removes docker-cluster's own containers from a host, so that its engine lets go of the network.
pub(crate) fn let_go(host: &HostWorld<'_>, steps: &mut Steps) -> Vec<StepId> {
    let own = host
        .facts
        .engine
        .iter()
        .flat_map(|engine| &engine.containers)
        .filter(|container| container.is_own());
    own.map(|container| {
        let argv = ["docker", "rm", "-f", &container.name]
            .map(str::to_owned)
            .to_vec();
        let why = format!("remove docker-cluster's own container {}", container.name);
        steps.add(
            host.name(),
            Stage::Network,
            why,
            Action::Run {
                argv,
                timeout: REMOVE_TIMEOUT,
            },
        )
    })
    .collect()
}
