//! Containers that are hosts of the LAN: each has a MAC address of its own on the host's interface, and an address of the LAN's subnet.
//!
//! The engine makes all of it; what is ours is who gives out which addresses. Each host has a part of a pool, so that no two give out one.
//! A host does not reach its own containers by the interface that carries them: where that is wanted, a device of the same kind (a shim)
//! leads there.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::lan::{self, Lan, Ours};
use super::links::{self, LINKS};
use super::shares::{self, Shares};
use super::{About, Asks, Encryption, Fabric, Layer, Names, SubnetOf, keeper};
use crate::engines::options;
use crate::inventory::FabricKind;
use crate::plan::{HostWorld, NetworkDriver, NewNetwork, Problem, Steps, World};
use crate::proof::causes;
use crate::proof::{Cause, Needs};

const SCRIPT: &str = concat!(
    include_str!("../../../../templates/fabrics/common.sh"),
    include_str!("../../../../templates/fabrics/macvlan.sh")
);

/// The device by which a host reaches its own containers.
const SHIM: &str = "dc-shim";

/// The driver's option for the interface that carries containers.
const PARENT: &str = "parent";

/// Containers in the LAN, by macvlan.
pub struct Macvlan;

impl Fabric for Macvlan {
    fn about(&self) -> About {
        About {
            title: "containers as hosts of the LAN, by macvlan",
            layer: Layer::Two,
            names: Names::OnItsHost,
            encryption: Encryption::None,
            disturbs: "nothing",
            overhead: 0,
        }
    }

    fn asks(&self) -> Asks {
        Asks {
            modules: &["macvlan"],
            subnet: SubnetOf::Lan,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let mut problems = lan::problems(world, Ours::Shim(SHIM));
        let shares = shares::divide(world);
        for host in &world.hosts {
            let (Ok(lan), Some(part)) = (
                lan::of(world, host, Ours::Shim(SHIM)),
                shares.of.get(host.name()),
            ) else {
                continue;
            };
            let wanted = network(world, &lan, *part);
            match carried_by_another(host, &wanted, &lan) {
                Some(problem) => problems.push(problem),
                None => problems.extend(links::network_problems(world, host, &wanted)),
            }
            problems.extend(lan::differs(world, host, &wanted, &[PARENT]));
        }
        problems.extend(shares.problems);
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        options::of_inventory(world, steps, notes);
        let shares = shares::divide(world);
        for host in &world.hosts {
            let (Ok(lan), Some(part)) = (
                lan::of(world, host, Ours::Shim(SHIM)),
                shares.of.get(host.name()),
            ) else {
                continue;
            };
            let config = config(world, host, &lan, *part, &shares);
            links::put(FabricKind::Macvlan, host, SCRIPT.to_owned(), &config, steps);
            links::create(host, network(world, &lan, *part), steps);
            keeper::get_image(world, host, steps);
        }
        links::say_names(world, steps, notes);
        if steps.next_id() > 0 {
            lan::say(world, notes);
            say_ports(world, notes);
        }
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        links::needs(world, None, world.underlay_mtu())
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[
            causes::STANDING,
            LINKS,
            causes::ON_ONE_WIRE,
            causes::UNDER_ALL,
            lan::LAN,
        ]
    }
}

/// Whether hosts are to reach their own containers.
fn with_shim(world: &World<'_>) -> bool {
    world
        .inventory
        .network
        .lan
        .as_ref()
        .is_some_and(|lan| lan.shim)
}

/// The host's links. The order of words is that of `templates/fabrics/macvlan.sh`.
fn config(
    world: &World<'_>,
    host: &HostWorld<'_>,
    lan: &Lan,
    part: IpNet,
    shares: &Shares,
) -> Vec<String> {
    let mut lines = lan::parts(world, host, part, shares);
    lines.push(format!("parent {}", lan.interface));
    if let Some(address) = shares::last_host(part).filter(|_| with_shim(world)) {
        lines.push(format!("shim {SHIM} {} {address} {part}", lan.interface));
    }
    lines
}

/// The LAN's subnet and router for all, and a part of the pool for each host. The shim's address is kept free whether there is a shim or
/// not, so that one can come later.
fn network(world: &World<'_>, lan: &Lan, part: IpNet) -> NewNetwork {
    let name = world.inventory.network.name.as_str();
    NewNetwork {
        driver: NetworkDriver::Macvlan,
        range: Some(part),
        gateway: Some(lan.gateway),
        reserved: shares::last_host(part)
            .map(|address| ("shim".to_owned(), address))
            .into_iter()
            .collect(),
        labels: BTreeMap::from([(
            "docker-cluster".to_owned(),
            world.inventory.cluster.to_string(),
        )]),
        ..NewNetwork::overlay(
            name,
            lan.subnet,
            BTreeMap::from([(PARENT.to_owned(), lan.interface.clone())]),
        )
    }
}

/// Another network on the same interface: the engine allows one.
fn carried_by_another(host: &HostWorld<'_>, wanted: &NewNetwork, lan: &Lan) -> Option<Problem> {
    let networks = host.facts.engine.iter().flat_map(|engine| &engine.networks);
    let on_it = networks.filter(|found| matches!(found.driver.as_str(), "macvlan" | "ipvlan"));
    let other = on_it
        .filter(|found| found.name != wanted.name)
        .find(|found| found.options.get(PARENT) == Some(&lan.interface))?;
    Some(Problem::on(
        host.name(),
        format!(
            "its interface {} carries the {} network {} already, and the engine allows one",
            lan.interface, other.driver, other.name
        ),
        "remove that network, or name another interface of the LAN with `network.interface`",
    ))
}

fn say_ports(world: &World<'_>, notes: &mut Vec<String>) {
    let name = world.inventory.network.name.as_str();
    notes.push(format!(
        "`-p` does nothing on {name}, and the engine does not say so: every port of a container is open to the LAN at the container's own address"
    ));
    notes.push(match with_shim(world) {
        true => format!(
            "a host reaches its own containers on {name} by {SHIM}, and they reach it at the address of that device"
        ),
        false => format!("a host does not reach its own containers on {name}; with `network: {{shim: true}}` it does"),
    });
}
