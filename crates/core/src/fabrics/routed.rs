//! A subnet for each host, and a route to each other host's: no tunnel, no store, no swarm, and packets that keep their senders.
//!
//! It needs hosts that reach each other without a router between them, or one that has these routes as well: a cloud's network drops what
//! comes from addresses that it does not know, unless its check of sources is switched off.

use std::net::IpAddr;

use ipnet::IpNet;

use super::links::{self, LINKS};
use super::shares::{self, OWN, PEER, Shares};
use super::{About, Asks, Encryption, Fabric, Layer, Names, SubnetOf, keeper, route_that_collides};
use crate::engines::options;
use crate::inventory::FabricKind;
use crate::plan::{HostWorld, NewNetwork, Problem, Steps, World};
use crate::proof::causes;
use crate::proof::{Cause, Needs};

const SCRIPT: &str = concat!(
    include_str!("../../../../templates/fabrics/common.sh"),
    include_str!("../../../../templates/fabrics/routed.sh")
);

/// Routed subnets.
pub struct Routed;

impl Fabric for Routed {
    fn about(&self) -> About {
        About {
            title: "a routed subnet for each host",
            layer: Layer::Three,
            names: Names::OnItsHost,
            encryption: Encryption::None,
            disturbs: "nothing",
            overhead: 0,
        }
    }

    fn asks(&self) -> Asks {
        // Each host's own part is a route of its own, as are those to the others.
        Asks {
            modules: &["bridge", "veth"],
            subnet: SubnetOf::Nobody,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let shares = shares::divide(world);
        let mut problems = Vec::new();
        for host in &world.hosts {
            problems.extend(links::part_problems(world, host, &shares, |part| {
                network(world, host, part)
            }));
            problems.extend(in_the_way(world, host));
        }
        problems.extend(shares.problems);
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        options::of_inventory(world, steps, notes);
        let shares = shares::divide(world);
        for host in &world.hosts {
            let Some(part) = shares.of.get(host.name()) else {
                continue;
            };
            links::put(
                FabricKind::Routed,
                host,
                SCRIPT.to_owned(),
                &config(world, host, *part, &shares),
                steps,
            );
            links::create(host, network(world, host, *part), steps);
            keeper::get_image(world, host, steps);
        }
        links::say_names(world, steps, notes);
    }

    fn behind(&self, world: &World<'_>) -> Vec<(IpAddr, IpNet)> {
        shares::divide(world).behind(world)
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        links::needs(world, None, world.underlay_mtu())
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[causes::STANDING, LINKS, causes::UNDER_ALL]
    }
}

/// The interface over which the other hosts reach this one.
pub(super) fn towards_others<'a>(host: &'a HostWorld<'_>) -> &'a str {
    host.interface.unwrap_or("eth0")
}

/// The host's links. The order of words is that of `templates/fabrics/routed.sh`.
fn config(world: &World<'_>, host: &HostWorld<'_>, part: IpNet, shares: &Shares) -> Vec<String> {
    let mut lines = vec![
        format!("cluster-subnet {}", world.inventory.network.subnet),
        format!("{OWN} {part}"),
        format!("bridge {}", links::bridge(world)),
        format!("out {}", towards_others(host)),
    ];
    lines.extend(links::peer_lines(world, host, shares, |part, address| {
        format!("{PEER} {part} {address}")
    }));
    lines
}

/// The engine's own masquerade is off: it would hide senders, and its place among the rules changes with every start of the engine. From
/// 28 on an engine drops what comes to a container from outside its host, except by interfaces that its network trusts; older ones take the
/// option without a word.
pub(super) fn network(world: &World<'_>, host: &HostWorld<'_>, part: IpNet) -> NewNetwork {
    let options = [
        ("com.docker.network.bridge.enable_ip_masquerade", "false"),
        (
            "com.docker.network.bridge.trusted_host_interfaces",
            towards_others(host),
        ),
    ];
    links::network(world, part, host.mtu.min(world.underlay_mtu()), &options)
}

/// A route into the cluster's subnet that is not ours: it would lead packets elsewhere.
pub(super) fn in_the_way(world: &World<'_>, host: &HostWorld<'_>) -> Option<Problem> {
    // Once our links are there, routes into the subnet are ours, and the script looks after them.
    if host.facts.links.is_some() {
        return None;
    }
    let ours = host
        .facts
        .engine
        .as_ref()
        .and_then(|engine| engine.network(world.inventory.network.name.as_str()));
    let is_ours = |interface: &str| ours.is_some() && interface == links::bridge(world);
    route_that_collides(world, host, is_ours)
}
