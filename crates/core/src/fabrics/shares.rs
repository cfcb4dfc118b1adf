//! Each host's part of the network's subnet: chosen once, written down on the hosts, and kept when others come and go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::facts::LinkFacts;
use crate::inventory::{HostName, overlap};
use crate::plan::{HostWorld, Problem, World};

/// The word of a line of the links' configuration that says which part is this host's: `own SUBNET`.
pub(super) const OWN: &str = "own";

/// The word of a line about another host. Among its words are that host's part and its address, in the fabric's own order.
pub(super) const PEER: &str = "peer";

/// The same where a daemon brings the route to it.
pub(super) const LEARNED: &str = "learned";

/// Another host, as a line of the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    pub(super) part: IpNet,
    pub(super) address: IpAddr,
}

/// Who has which part.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Of each host that answers.
    pub(super) of: BTreeMap<HostName, IpNet>,
    /// Of hosts that do not answer, as the others know them: they keep what they have.
    pub(super) silent: Vec<Peer>,
    /// Why some host cannot have one.
    pub(super) problems: Vec<Problem>,
}

impl Shares {
    /// Every host's address for the others, with its part.
    pub(super) fn behind(&self, world: &World<'_>) -> Vec<(IpAddr, IpNet)> {
        let answering = world
            .hosts
            .iter()
            .filter_map(|host| Some((host.private, *self.of.get(host.name())?)));
        let silent = self.silent.iter().map(|peer| (peer.address, peer.part));
        answering.chain(silent).collect()
    }
}

/// The part that a host has by its own configuration.
fn present(host: &HostWorld<'_>) -> Option<IpNet> {
    host.facts
        .links
        .as_ref()?
        .lines(OWN)
        .find_map(|words| words.first()?.parse().ok())
}

/// The other hosts that a host's links lead to.
fn peers(links: &LinkFacts) -> impl Iterator<Item = Peer> + '_ {
    links
        .lines(PEER)
        .chain(links.lines(LEARNED))
        .filter_map(|words| {
            let part = words
                .iter()
                .filter(|word| word.contains('/'))
                .find_map(|word| word.parse().ok())?;
            let address = words.iter().find_map(|word| word.parse().ok())?;
            Some(Peer { part, address })
        })
}

/// Divides the subnet: what the inventory pins, then what hosts have, then the first part that nobody has.
pub(super) fn divide(world: &World<'_>) -> Shares {
    let network = &world.inventory.network;
    let mut shares = Shares {
        silent: silent(world),
        ..Shares::default()
    };
    for host in &world.hosts {
        let Some(part) = host.spec.subnet.or_else(|| present(host)) else {
            continue;
        };
        if !network.subnet.contains(&part) {
            shares.problems.push(outside(world, host, part));
        }
        shares.of.insert(host.name().clone(), part);
    }
    // Those that nobody can ask and the inventory pins have their part as well.
    let pinned = world
        .inventory
        .hosts
        .iter()
        .filter(|spec| world.host(&spec.name).is_none());
    let mut taken: Vec<IpNet> = shares
        .of
        .values()
        .copied()
        .chain(pinned.filter_map(|spec| spec.subnet))
        .collect();
    taken.extend(shares.silent.iter().map(|peer| peer.part));
    let parts = match network.subnet {
        IpNet::V4(subnet) => subnet.subnets(network.host_prefix).ok(),
        IpNet::V6(_) => None,
    };
    let mut free = parts.into_iter().flatten().map(IpNet::V4);
    for host in &world.hosts {
        if shares.of.contains_key(host.name()) {
            continue;
        }
        match free.find(|part| !taken.iter().any(|other| overlap(other, part))) {
            Some(part) => {
                taken.push(part);
                shares.of.insert(host.name().clone(), part);
            }
            None => shares.problems.push(Problem::on(
                host.name(),
                format!("no part of {} with the prefix /{} is left for it", network.subnet, network.host_prefix),
                format!(
                    "choose a longer `network.host_prefix` or a larger `{}` for a new cluster, or pin its part with `subnet:`",
                    network.parts_key()
                ),
            )),
        }
    }
    doubled(&mut shares);
    shares
}

/// The last address of a part before its broadcast address.
pub(super) fn last_host(part: IpNet) -> Option<IpAddr> {
    match part {
        IpNet::V4(part) => Some(IpAddr::V4(
            u32::from(part.broadcast()).saturating_sub(1).into(),
        )),
        IpNet::V6(_) => None,
    }
}

fn outside(world: &World<'_>, host: &HostWorld<'_>, part: IpNet) -> Problem {
    let wanted = world.inventory.network.subnet;
    let key = world.inventory.network.parts_key();
    let (whose, fix) = match host.spec.subnet {
        Some(_) => (
            "the inventory gives it",
            "correct `subnet:` of this host in the inventory".to_owned(),
        ),
        None => (
            "it has",
            format!(
                "put the old `{key}` back, or take the cluster down and bring it up with the new one"
            ),
        ),
    };
    Problem::on(
        host.name(),
        format!("{whose} the part {part}, which is not in {wanted}"),
        fix,
    )
}

fn doubled(shares: &mut Shares) {
    let all: Vec<(&HostName, &IpNet)> = shares.of.iter().collect();
    let mut problems = Vec::new();
    for (index, (name, part)) in all.iter().enumerate() {
        for (other, same) in all
            .iter()
            .skip(index + 1)
            .filter(|(_, other)| overlap(other, part))
        {
            problems.push(Problem::of_all(
                format!(
                    "{name} has the part {part} of the subnet and {other} has {same}: they overlap"
                ),
                "pin another part for one of them with `subnet:` in the inventory",
            ));
        }
    }
    shares.problems.extend(problems);
}

/// What the hosts that answer know of those that do not. What was not heard of is not gone: links to it stay.
fn silent(world: &World<'_>) -> Vec<Peer> {
    if world.unreached.is_empty() {
        return Vec::new();
    }
    let answer: Vec<IpAddr> = world.hosts.iter().map(|host| host.private).collect();
    let known = world
        .hosts
        .iter()
        .filter_map(|host| host.facts.links.as_ref())
        .flat_map(peers);
    let mut silent: Vec<Peer> = known
        .filter(|peer| !answer.contains(&peer.address))
        .collect();
    silent.sort();
    silent.dedup();
    silent
}
