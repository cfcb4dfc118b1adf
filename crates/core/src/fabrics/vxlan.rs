//! One layer 2 over all hosts without a store or a swarm: a bridge on each host, and a VXLAN device on it that knows the other hosts.
//!
//! Any engine can do it, without a restart. Frames to who is not known yet go to all hosts; the devices learn from what comes back.

use ipnet::IpNet;

use super::links::{self, LINKS};
use super::shares::{self, OWN, PEER, Shares};
use super::{About, Asks, Encryption, Fabric, Layer, Names, SubnetOf, VXLAN_TAKES, keeper};
use crate::engines::options;
use crate::facts::firewall::Traffic;
use crate::inventory::FabricKind;
use crate::plan::{HostWorld, NewNetwork, Problem, Steps, World};
use crate::proof::causes;
use crate::proof::{Cause, Needs};

const SCRIPT: &str = concat!(
    include_str!("../../../../templates/fabrics/common.sh"),
    include_str!("../../../../templates/fabrics/vxlan.sh")
);

/// VXLAN between all hosts.
pub struct Vxlan;

impl Fabric for Vxlan {
    fn about(&self) -> About {
        About {
            title: "one layer 2 by VXLAN between the hosts",
            layer: Layer::Two,
            names: Names::OnItsHost,
            encryption: Encryption::None,
            disturbs: "nothing",
            overhead: VXLAN_TAKES,
        }
    }

    fn asks(&self) -> Asks {
        Asks {
            modules: &["vxlan", "bridge", "veth"],
            subnet: SubnetOf::Nobody,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let shares = shares::divide(world);
        let mut problems = Vec::new();
        for host in &world.hosts {
            problems.extend(links::part_problems(world, host, &shares, |part| {
                network(world, part)
            }));
            problems.extend(port_taken(world, host));
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
            // The bridge first: an engine that finds none makes an empty one.
            links::put(
                FabricKind::Vxlan,
                host,
                SCRIPT.to_owned(),
                &config(world, host, *part, &shares),
                steps,
            );
            links::create(host, network(world, *part), steps);
            keeper::get_image(world, host, steps);
        }
        links::say_names(world, steps, notes);
    }

    fn listens(&self, world: &World<'_>) -> Vec<Traffic> {
        vec![Traffic::Udp(world.inventory.network.vxlan.port)]
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        links::needs(
            world,
            Some(world.inventory.network.vxlan.port),
            world.underlay_mtu(),
        )
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[
            causes::STANDING,
            LINKS,
            causes::ON_ONE_WIRE,
            causes::TUNNEL,
            causes::UNDER_ALL,
        ]
    }
}

/// The longest packet of a container, in bytes.
pub(super) fn mtu(world: &World<'_>) -> u32 {
    world.underlay_mtu().saturating_sub(VXLAN_TAKES)
}

/// The name of the device. It has the number, which tells two clusters on one host apart.
fn device(world: &World<'_>) -> String {
    format!("dcvx{}", world.inventory.network.vxlan.id)
}

/// The host's links. The order of words is that of `templates/fabrics/vxlan.sh`.
fn config(world: &World<'_>, host: &HostWorld<'_>, part: IpNet, shares: &Shares) -> Vec<String> {
    let vxlan = world.inventory.network.vxlan;
    let mut lines = vec![
        format!("{OWN} {part}"),
        format!("bridge {}", links::bridge(world)),
        format!("device {}", device(world)),
        format!("id {}", vxlan.id),
        format!("port {}", vxlan.port),
        format!("address {}", host.private),
        format!("mtu {}", mtu(world)),
    ];
    lines.extend(links::peer_lines(world, host, shares, |part, address| {
        format!("{PEER} {address} {part}")
    }));
    lines
}

/// One subnet for all, and a range for each host, so that no two hosts give out one address. Each bridge has an address of its own, the
/// last of its range: they share one layer 2.
pub(super) fn network(world: &World<'_>, part: IpNet) -> NewNetwork {
    let mut network = links::network(world, world.inventory.network.subnet, mtu(world), &[]);
    network.range = Some(part);
    network.gateway = shares::last_host(part);
    // The range begins with an address that looks like that of a network, and is one that people filter. The engine itself has the very
    // first of the subnet.
    if part.network() != world.inventory.network.subnet.network() {
        network.reserved.insert("first".to_owned(), part.network());
    }
    network
}

pub(super) fn port_taken(world: &World<'_>, host: &HostWorld<'_>) -> Option<Problem> {
    let port = world.inventory.network.vxlan.port;
    let taken =
        host.facts.links.is_none() && host.facts.udp.iter().any(|(_, bound)| *bound == port);
    taken.then(|| {
        Problem::on(
            host.name(),
            format!("UDP port {port} is taken, and the VXLAN needs it"),
            format!("choose another `network.vxlan.port`, or find who has it with `ss -lnup 'sport = :{port}'` there"),
        )
    })
}
