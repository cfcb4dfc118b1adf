//! The world that a plan is made from: the inventory, and the facts of each host that could be asked.

use std::net::IpAddr;

use serde::Serialize;

use super::{Mesh, Problem};
use crate::facts::Facts;
use crate::inventory::{HostName, HostSpec, Inventory, PrivateAddress, UnderlaySpec};
use crate::platform::{self, Offer};

/// A host that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreached {
    /// The host.
    pub host: HostName,
    /// Why.
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

/// Everything that a decision may look at.
#[derive(Debug, Clone)]
pub struct World<'a> {
    /// What is wanted.
    pub inventory: &'a Inventory,
    /// The hosts that were asked, in the inventory's order.
    pub hosts: Vec<HostWorld<'a>>,
    /// The hosts that could not be asked.
    pub unreached: Vec<Unreached>,
    /// What went wrong while the world was put together.
    pub problems: Vec<Problem>,
    /// Who has which address in the mesh that lies under the fabric, if one does.
    pub mesh: Option<Mesh>,
    /// Whether a swarm that has lost its quorum is to go on with one manager.
    pub recover_quorum: bool,
}

/// A host with its facts.
#[derive(Debug, Clone)]
pub struct HostWorld<'a> {
    /// Its entry in the inventory.
    pub spec: &'a HostSpec,
    /// Its facts.
    pub facts: &'a Facts,
    /// Where the other hosts reach it: in the mesh, if there is one.
    pub private: IpAddr,
    /// MTU of the interface with that address, in bytes.
    pub mtu: u32,
    /// The interface that has it, or will have it.
    pub interface: Option<&'a str>,
    /// Its address on the hosts' own network, which carries the mesh.
    pub outer: IpAddr,
    /// MTU of the interface with that address, in bytes.
    pub outer_mtu: u32,
    /// The engine that it has, or will get.
    pub engine: Option<Offer>,
}

impl HostWorld<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.spec.name
    }
}

impl<'a> World<'a> {
    /// Puts inventory and facts together.
    #[must_use]
    pub fn new(
        inventory: &'a Inventory,
        facts: &'a [(HostName, Facts)],
        unreached: Vec<Unreached>,
    ) -> Self {
        let mut hosts = Vec::new();
        let mut problems = Vec::new();
        let mesh = match &inventory.underlay {
            UnderlaySpec::Wireguard(spec) => Some(Mesh::of(spec, inventory, facts)),
            UnderlaySpec::Plain | UnderlaySpec::Interface(_) => None,
        };
        for spec in &inventory.hosts {
            let Some((_, facts)) = facts.iter().find(|(name, _)| *name == spec.name) else {
                continue;
            };
            match private_address(spec, facts, &inventory.underlay) {
                Ok(outer) => {
                    let outer_interface = facts.interface_with(outer);
                    let outer_mtu = outer_interface
                        .and_then(|interface| facts.mtu_of(interface))
                        .unwrap_or(ETHERNET_MTU);
                    let address = mesh
                        .as_ref()
                        .and_then(|mesh| mesh.addresses.get(&spec.name));
                    let (private, mtu, interface) = match (&inventory.underlay, address) {
                        (UnderlaySpec::Wireguard(mesh), Some(address)) => (
                            IpAddr::V4(*address),
                            outer_mtu.saturating_sub(WIREGUARD_TAKES),
                            Some(mesh.interface.as_str()),
                        ),
                        _ => (outer, outer_mtu, outer_interface),
                    };
                    hosts.push(HostWorld {
                        spec,
                        facts,
                        private,
                        mtu,
                        interface,
                        outer,
                        outer_mtu,
                        engine: platform::offer(facts, inventory.engine.version.as_ref()),
                    });
                }
                Err(problem) => problems.push(problem),
            }
        }
        Self {
            inventory,
            hosts,
            unreached,
            problems,
            mesh,
            recover_quorum: false,
        }
    }

    /// The same, with a swarm that has lost its quorum to go on with one manager, if that is wanted.
    #[must_use]
    pub fn recovering(mut self, recover_quorum: bool) -> Self {
        self.recover_quorum = recover_quorum;
        self
    }

    /// The host of that name, if it was asked.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&HostWorld<'a>> {
        self.hosts.iter().find(|host| host.name() == name)
    }

    /// All hosts that were asked but this one.
    pub fn others<'w>(&'w self, host: &HostName) -> impl Iterator<Item = &'w HostWorld<'a>> {
        self.hosts.iter().filter(move |other| other.name() != host)
    }

    /// `c does not answer`, of the hosts that do not; `None` if all do.
    #[must_use]
    pub fn silent(&self) -> Option<String> {
        let names: Vec<&str> = self
            .unreached
            .iter()
            .map(|unreached| unreached.host.as_str())
            .collect();
        let verb = if names.len() == 1 { "does" } else { "do" };
        (!names.is_empty()).then(|| format!("{} {verb} not answer", names.join(", ")))
    }

    /// MTU of the underlay in bytes: what the inventory says, else the smallest among the hosts.
    #[must_use]
    pub fn underlay_mtu(&self) -> u32 {
        self.inventory.network.mtu.map_or_else(
            || {
                self.hosts
                    .iter()
                    .map(|host| host.mtu)
                    .min()
                    .unwrap_or(ETHERNET_MTU)
            },
            u32::from,
        )
    }
}

/// MTU of Ethernet in bytes: what a host has that does not tell, and what an engine assumes.
pub const ETHERNET_MTU: u32 = 1500;

/// What WireGuard takes off each packet, in bytes: 40 for an outer header of IPv6, 8 for UDP and 32 of its own. Over IPv4 it is 20 less,
/// and an endpoint may become one of IPv6.
const WIREGUARD_TAKES: u32 = 80;

/// An address that would go beside the interface that all is to go over: nobody would see that it does.
fn beside(name: &HostName, ip: IpAddr, facts: &Facts, underlay: &UnderlaySpec) -> Option<Problem> {
    let UnderlaySpec::Interface(over) = underlay else {
        return None;
    };
    let on = facts.interface_with(ip).filter(|on| on != over)?;
    Some(Problem::on(
        name,
        format!(
            "its private address {ip} is on {on}, and the inventory says that all goes over {over}"
        ),
        format!(
            "remove `private:` of this host, or say `private: {on}`, if the interface is called so there"
        ),
    ))
}

/// The address over which the other hosts reach this one: in the hosts' own network, or on the interface of an underlay that others manage.
fn private_address(
    spec: &HostSpec,
    facts: &Facts,
    underlay: &UnderlaySpec,
) -> Result<IpAddr, Problem> {
    let addresses = || {
        let list: Vec<String> = facts
            .addresses
            .iter()
            .filter(|a| !a.net.addr().is_loopback() && a.net.addr().is_ipv4())
            .map(|a| format!("{} ({})", a.net.addr(), a.interface))
            .collect();
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(", ")
        }
    };
    let wanted = match (&spec.private, underlay) {
        (PrivateAddress::Auto, UnderlaySpec::Interface(name)) => {
            &PrivateAddress::Interface(name.clone())
        }
        (private, _) => private,
    };
    match wanted {
        PrivateAddress::Ip(ip) if ip.is_ipv6() => Err(Problem::on(
            &spec.name,
            format!(
                "the private address {ip} is one of IPv6, over which engines build no overlay here; it has {}",
                addresses()
            ),
            "give an IPv4 address, or an interface that has one, as `private:` in the inventory",
        )),
        PrivateAddress::Ip(ip) if facts.interface_with(*ip).is_some() => {
            match beside(&spec.name, *ip, facts, underlay) {
                Some(problem) => Err(problem),
                None => Ok(*ip),
            }
        }
        PrivateAddress::Ip(ip) => Err(Problem::on(
            &spec.name,
            format!(
                "the private address {ip} is on none of its interfaces; it has {}",
                addresses()
            ),
            "correct `private:` in the inventory, or name an interface there",
        )),
        PrivateAddress::Interface(name) => facts.ipv4_of(name).map(IpAddr::V4).ok_or_else(|| {
            Problem::on(
                &spec.name,
                format!(
                    "the interface {name} is not there or has no IPv4 address; it has {}",
                    addresses()
                ),
                match underlay {
                    UnderlaySpec::Interface(_) => "bring that interface up there, or correct `underlay:` (or `private:` of this host) in the inventory",
                    _ => "correct `private:` in the inventory",
                },
            )
        }),
        PrivateAddress::Auto => {
            // The address that ssh uses, if the host itself has it; behind a NAT it does not, and then it is the one that it
            // uses towards the rest of the world.
            let typed = spec.ssh.address.parse::<IpAddr>().ok().filter(|ip| {
                ip.is_ipv4() && !ip.is_loopback() && facts.interface_with(*ip).is_some()
            });
            let own = || {
                facts
                    .default_interface()
                    .and_then(|interface| facts.ipv4_of(interface))
                    .map(IpAddr::V4)
            };
            typed.or_else(own).ok_or_else(|| {
                Problem::on(
                    &spec.name,
                    format!(
                        "cannot tell which of its addresses the other hosts reach: {}",
                        addresses()
                    ),
                    "say `private:` for this host in the inventory",
                )
            })
        }
    }
}
