//! What fabrics share whose containers are hosts of the LAN: where the LAN is on each host, and whether its addresses are free for them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::links;
use crate::facts::Network;
use crate::inventory::LanSpec;
use crate::plan::{HostWorld, NewNetwork, Problem, World};
use crate::proof::Cause;
use crate::proof::causes::{self, Case, Finding};

/// The LAN as a host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lan {
    /// The interface in it.
    pub(super) interface: String,
    /// Its subnet.
    pub(super) subnet: IpNet,
    /// Its router.
    pub(super) gateway: IpAddr,
}

/// A device of ours on every host.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ours<'a> {
    /// It has an address of the pool, which does not count.
    Shim(&'a str),
    /// It has what the interface in the LAN had, where it is there.
    Bridge(&'a str),
}

impl Ours<'_> {
    fn is_shim(self, name: &str) -> bool {
        matches!(self, Self::Shim(shim) if shim == name)
    }
}

/// Where the LAN is on a host.
pub(super) fn of(world: &World<'_>, host: &HostWorld<'_>, ours: Ours<'_>) -> Result<Lan, Problem> {
    let mut spec = spec(world);
    if let Ours::Bridge(bridge) = ours
        && host.facts.ipv4_of(bridge).is_some()
    {
        spec.interface = Some(bridge.to_owned());
    }
    let facts = host.facts;
    let with_address = || facts.interface_with(host.private);
    let interface = spec
        .interface
        .as_deref()
        .or_else(with_address)
        .unwrap_or_default()
        .to_owned();
    if facts.mtu_of(&interface).is_none() {
        let names: Vec<&str> = facts
            .interfaces
            .iter()
            .map(|one| one.name.as_str())
            .filter(|name| *name != "lo" && !ours.is_shim(name))
            .collect();
        return Err(Problem::on(
            host.name(),
            format!(
                "it has no interface {interface:?}; it has {}",
                names.join(", ")
            ),
            "correct `network.interface`",
        ));
    }
    let own: Vec<IpNet> = facts
        .addresses
        .iter()
        .filter(|address| address.interface == interface && address.net.addr().is_ipv4())
        .map(|address| address.net.trunc())
        .collect();
    // Its own network is the one with the private address, where that is on this interface.
    let first = own
        .iter()
        .find(|net| net.contains(&host.private))
        .or_else(|| own.first());
    let subnet = match (spec.subnet, first) {
        (Some(wanted), Some(_)) if own.contains(&wanted) => wanted,
        // An interface without an address is in whatever LAN the inventory says.
        (Some(wanted), None) => wanted,
        (None, Some(found)) => *found,
        (Some(wanted), Some(found)) => {
            return Err(Problem::on(
                host.name(),
                format!(
                    "the network's subnet is {wanted}, and the network of its interface {interface} is {found}"
                ),
                "correct `network.subnet`, or leave it out: it is taken from the hosts' own addresses",
            ));
        }
        (None, None) => {
            return Err(Problem::on(
                host.name(),
                format!("its interface {interface} has no address that tells the LAN's subnet"),
                "say it with `network.subnet`, and its router with `network.gateway`",
            ));
        }
    };
    let through = facts
        .routes
        .iter()
        .filter(|route| route.to.prefix_len() == 0)
        .filter_map(|route| route.via);
    let gateway = spec
        .gateway
        .or_else(|| through.into_iter().find(|via| subnet.contains(via)));
    let gateway = gateway.filter(|gateway| subnet.contains(gateway)).ok_or_else(|| {
        Problem::on(
            host.name(),
            format!("no router in {subnet} is known that its containers could send to: it has no default route there"),
            "say it with `network.gateway`",
        )
    })?;
    Ok(Lan {
        interface,
        subnet,
        gateway,
    })
}

fn spec(world: &World<'_>) -> LanSpec {
    let nothing = LanSpec {
        subnet: None,
        gateway: None,
        interface: None,
        shim: false,
    };
    world.inventory.network.lan.clone().unwrap_or(nothing)
}

/// Why hosts cannot share one LAN, or what else has addresses of the pool.
pub(super) fn problems(world: &World<'_>, ours: Ours<'_>) -> Vec<Problem> {
    let pool = world.inventory.network.subnet;
    let mut problems = Vec::new();
    let mut first: Option<(&HostWorld<'_>, Lan)> = None;
    for host in &world.hosts {
        let lan = match of(world, host, ours) {
            Ok(lan) => lan,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        if !lan.subnet.contains(&pool) {
            problems.push(Problem::on(
                host.name(),
                format!(
                    "the pool {pool} is not in the network {} of its interface {}",
                    lan.subnet, lan.interface
                ),
                "choose `network.pool` within the LAN that the hosts are in",
            ));
        }
        problems.extend(taken(host, pool, &lan, ours));
        match &first {
            Some((other, there)) if there.subnet != lan.subnet => problems.push(Problem::on(
                host.name(),
                format!(
                    "its interface {} is in {}, and that of {} in {}: containers would not be in one LAN",
                    lan.interface,
                    lan.subnet,
                    other.name(),
                    there.subnet
                ),
                "hosts of this fabric share one LAN: name its interface with `network.interface`, or choose another `network.fabric`",
            )),
            Some(_) => {}
            None => first = Some((host, lan)),
        }
    }
    problems
}

/// An address of the pool that somebody has.
fn taken(host: &HostWorld<'_>, pool: IpNet, lan: &Lan, ours: Ours<'_>) -> Option<Problem> {
    let own = host
        .facts
        .addresses
        .iter()
        .filter(|address| !ours.is_shim(&address.interface))
        .map(|address| address.net.addr());
    let own = own.map(|address| (address, "its own address"));
    let others = [(lan.gateway, "the router's address")];
    let (address, whose) = own
        .chain(others)
        .find(|(address, _)| pool.contains(address))?;
    Some(Problem::on(
        host.name(),
        format!("the pool {pool} holds {whose} {address}"),
        "choose a `network.pool` that only containers have addresses of",
    ))
}

/// What a person must see to, for a plan that does something.
pub(super) fn say(world: &World<'_>, notes: &mut Vec<String>) {
    let pool = world.inventory.network.subnet;
    notes.push(format!(
        "nothing else in the LAN may have or give out addresses of {pool}: see to it that its DHCP server does not"
    ));
    notes.push(
        "what carries the LAN must let frames of containers through, which have MAC addresses of their own: clouds and Wi-Fi do not, \
         virtual switches often have to be told (promiscuous mode, forged transmits)"
            .to_owned(),
    );
}

/// A network of that name that was made for other addresses or another interface. `options` are those that tell.
pub(super) fn differs(
    world: &World<'_>,
    host: &HostWorld<'_>,
    wanted: &NewNetwork,
    options: &[&str],
) -> Option<Problem> {
    let found = host.facts.engine.as_ref()?.network(&wanted.name)?;
    let other = |key: &&&str| found.options.get(**key) != wanted.options.get(**key);
    let what = match options.iter().find(other) {
        _ if found.driver != wanted.driver.as_str() => return None,
        Some(key) => {
            let text = |options: &std::collections::BTreeMap<String, String>| {
                options.get(*key).cloned().unwrap_or_default()
            };
            format!(
                "{key} {:?}, and is to have {:?}",
                text(&found.options),
                text(&wanted.options)
            )
        }
        None if found.range != wanted.range => {
            let text = |range: Option<IpNet>| {
                range.map_or_else(|| "all of its subnet".to_owned(), |range| range.to_string())
            };
            format!(
                "the addresses {}, and is to have {}",
                text(found.range),
                text(wanted.range)
            )
        }
        None => return None,
    };
    let fix = match is_ours(world, found) {
        true => {
            "take the cluster down (`docker-cluster down`) and bring it up anew: a network cannot be changed in place"
        }
        false => "choose another `network.name`, or remove that network",
    };
    Some(Problem::on(
        host.name(),
        format!("the network {} has {what}", wanted.name),
        fix,
    ))
}

fn is_ours(world: &World<'_>, found: &Network) -> bool {
    found
        .labels
        .get("docker-cluster")
        .is_some_and(|of| of == world.inventory.cluster.as_str())
}

/// The lines of a host's configuration that say whose part is which.
pub(super) fn parts(
    world: &World<'_>,
    host: &HostWorld<'_>,
    part: IpNet,
    shares: &super::shares::Shares,
) -> Vec<String> {
    let mut lines = vec![format!("{} {part}", super::shares::OWN)];
    lines.extend(links::peer_lines(world, host, shares, |part, address| {
        format!("{} {address} {part}", super::shares::PEER)
    }));
    lines
}

/// What is left where all that is ours is right.
pub(super) const LAN: &[Cause] = &[Cause::of_now("unknown-macs", unknown_macs)];

/// The hosts reach each other over the very wire on which their containers do not, and all that is ours is right.
fn unknown_macs(case: &Case<'_>) -> Option<Finding> {
    let way = causes::only_the_hosts(case)?;
    let what = format!(
        "{} between the two hosts, and nothing between their containers, which have MAC addresses of their own: what carries the LAN lets only the hosts' own pass",
        way.2.passing()
    );
    let fix = "let several MAC addresses through at both hosts' ports (virtual switches: promiscuous mode and forged transmits; others: port security); a cloud or Wi-Fi does not: choose another `network.fabric` there";
    causes::link(case, way, what, fix.to_owned(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::HostName;
    use crate::proof::{Failure, Known, Layer, Link, Tcp, Way};

    #[test]
    fn hosts_that_pass_and_containers_that_do_not_are_told_as_such() {
        let [a, b] = ["a", "b"].map(|name| HostName::parse(name).unwrap());
        let way = |icmp| {
            let tcp = [(22, if icmp { Tcp::Open } else { Tcp::Silent })].into();
            Link {
                tcp,
                icmp,
                vxlan: Way::Lost,
                gossip: Way::Lost,
                esp: None,
                path_mtu: (1500, 1500),
            }
        };
        let failure = Failure {
            layer: Layer::Http,
            by_address: false,
            words: "timed out".into(),
            to: b.clone(),
        };
        let found = |icmp, failure| {
            let links = [
                ((a.clone(), b.clone()), way(icmp)),
                ((b.clone(), a.clone()), way(icmp)),
            ]
            .into();
            let known = Known {
                links,
                rows: &[LAN],
                ..Known::default()
            };
            unknown_macs(&Case {
                from: &a,
                to: &b,
                failure,
                known: &known,
            })
            .map(|finding| finding.what)
        };
        let what = found(true, Some(&failure)).unwrap();
        assert!(
            what.starts_with(
                "TCP and ICMP pass between the two hosts, and nothing between their containers"
            ),
            "{what}"
        );
        assert_eq!(
            (found(false, Some(&failure)), found(true, None)),
            (None, None)
        );
    }
}
