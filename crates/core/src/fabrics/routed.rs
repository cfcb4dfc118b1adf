//! A subnet for each host, and a route to each other host's: no tunnel, no store, no swarm, and packets that keep their senders.
//!
//! It needs hosts that reach each other without a router between them, or one that has these routes as well: a cloud's network drops what
//! comes from addresses that it does not know, unless its check of sources is switched off.

use std::net::IpAddr;

use ipnet::IpNet;

use super::links::{self, LINKS};
use super::shares::{self, OWN, PEER, Shares};
use super::{
    About, Asks, Encryption, Fabric, Layer, Names, SubnetOf, docker0, keeper, route_that_collides,
};
use crate::engines::options;
use crate::inventory::FabricKind;
use crate::plan::{HostWorld, NewNetwork, Problem, Steps, World};
use crate::proof::causes::{self, Case, Finding};
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
            problems.extend(of_part(world, host, &shares));
        }
        problems.extend(shares.problems);
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        let shares = shares::divide(world);
        give_options(world, &shares, steps, notes);
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
            make_network(world, host, *part, steps);
            keeper::get_image(world, host, steps);
        }
        links::say_names(world, steps, notes);
    }

    fn leaves(&self, world: &World<'_>, host: &HostWorld<'_>) -> Vec<String> {
        docker0::leaves(world, host)
    }

    fn behind(&self, world: &World<'_>) -> Vec<(IpAddr, IpNet)> {
        shares::divide(world).behind(world)
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        links::needs(world, None, world.underlay_mtu())
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[causes::STANDING, LINKS, causes::UNDER_ALL, BETWEEN]
    }
}

/// What is left where all that is ours is right.
pub(super) const BETWEEN: &[Cause] = &[Cause::of_now("source-check", source_check)];

/// The hosts reach each other, and packets of their containers, which travel with their own addresses, do not arrive.
fn source_check(case: &Case<'_>) -> Option<Finding> {
    let way = causes::only_the_hosts(case)?;
    let what = format!(
        "{} between the two hosts, and nothing between their containers, whose packets have addresses of their own: what is between the hosts drops what comes from addresses that it does not know",
        way.2.passing()
    );
    let fix = "switch the check of sources off for these hosts (AWS: source/destination check, Google: IP forwarding, OpenStack: allowed address pairs), or choose another `network.fabric`, such as `vxlan`";
    causes::link(case, way, what, fix.to_owned(), Vec::new())
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

/// What forbids a host's part, on whichever bridge it is to be.
pub(super) fn of_part(world: &World<'_>, host: &HostWorld<'_>, shares: &Shares) -> Vec<Problem> {
    let part = shares.of.get(host.name()).copied();
    let mut problems = match part.filter(|_| docker0::is_wanted(world)) {
        Some(part) => docker0::problems(world, host, part),
        None => links::part_problems(world, host, shares, |part| network(world, host, part)),
    };
    problems.extend(links::other_bridge(world, host));
    problems.extend(in_the_way(world, host));
    problems
}

/// The options that the engines are to have.
pub(super) fn give_options(
    world: &World<'_>,
    shares: &Shares,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    match docker0::is_wanted(world) {
        true => docker0::steps(world, shares, steps, notes),
        false => options::of_inventory(world, steps, notes),
    }
}

/// The network of a host's part, which the engine has already where it is its own.
pub(super) fn make_network(
    world: &World<'_>,
    host: &HostWorld<'_>,
    part: IpNet,
    steps: &mut Steps,
) {
    if !docker0::is_wanted(world) {
        links::create(host, network(world, host, part), steps);
    }
}

/// The engine's own masquerade is off: it would hide senders, and its place among the rules changes with every start of the engine. From
/// 28 on an engine drops what comes to a container from outside its host, except by interfaces that its network trusts; older ones take the
/// option without a word.
fn network(world: &World<'_>, host: &HostWorld<'_>, part: IpNet) -> NewNetwork {
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
fn in_the_way(world: &World<'_>, host: &HostWorld<'_>) -> Option<Problem> {
    // Once our links are there, routes into the subnet are ours, and the script looks after them.
    if host.facts.links.is_some() {
        return None;
    }
    let ours = host
        .facts
        .engine
        .as_ref()
        .and_then(|engine| engine.network(world.inventory.network.of_containers()));
    let is_ours = |interface: &str| ours.is_some() && interface == links::bridge(world);
    route_that_collides(world, host, is_ours)
}
