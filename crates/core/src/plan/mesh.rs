//! Each host's address in the mesh of an underlay: chosen once, written down on the hosts, and kept when others come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::Problem;
use crate::facts::{Facts, MeshFacts};
use crate::inventory::{HostName, Inventory, WireguardSpec};

/// The word of a line of the mesh's configuration that says which address is this host's: `own ADDRESS/PREFIX`.
pub const OWN: &str = "own";

/// The word of a line about another host: `peer NAME KEY ADDRESS ENDPOINT KEEPALIVE`.
pub const PEER: &str = "peer";

/// Another host, as a line of the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mate {
    /// Its name.
    pub name: String,
    /// Its public key.
    pub key: String,
    /// Its address in the mesh.
    pub address: Ipv4Addr,
    /// Where packets for it go; `-` if nobody can send first.
    pub endpoint: String,
}

/// Who has which address.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    /// Of every host of the inventory that answers, or that others know.
    pub addresses: BTreeMap<HostName, Ipv4Addr>,
    /// Hosts of the inventory that do not answer, as the others know them: what was not heard of is not gone.
    pub silent: Vec<Mate>,
    /// Why some host cannot have one.
    pub problems: Vec<Problem>,
}

/// The address that a host has by its own configuration.
#[must_use]
pub fn own(mesh: &MeshFacts) -> Option<Ipv4Addr> {
    let words = mesh.links.lines(OWN).next()?;
    words.first()?.split('/').next()?.parse().ok()
}

/// The other hosts that a host's mesh knows.
pub fn mates(mesh: &MeshFacts) -> impl Iterator<Item = Mate> + '_ {
    mesh.links.lines(PEER).filter_map(|words| match words {
        [name, key, address, endpoint, ..] => Some(Mate {
            name: name.clone(),
            key: key.clone(),
            address: address.parse().ok()?,
            endpoint: endpoint.clone(),
        }),
        _ => None,
    })
}

impl Mesh {
    /// Gives out addresses: what hosts have, then what the others know of them, then the first that nobody has.
    #[must_use]
    pub fn of(spec: &WireguardSpec, inventory: &Inventory, facts: &[(HostName, Facts)]) -> Self {
        let mut mesh = Self::default();
        let answers = |name: &HostName| facts.iter().any(|(other, _)| other == name);
        let present = || {
            facts
                .iter()
                .filter_map(|(name, facts)| Some((name, facts.mesh.as_ref()?)))
        };
        for (name, found) in present() {
            if let Some(address) = own(found) {
                mesh.addresses.insert(name.clone(), address);
            }
        }
        let known: BTreeSet<Mate> = present().flat_map(|(_, found)| mates(found)).collect();
        for mate in known {
            let Some(host) = inventory.host(&mate.name) else {
                continue;
            };
            mesh.addresses
                .entry(host.name.clone())
                .or_insert(mate.address);
            if !answers(&host.name) && !mesh.silent.iter().any(|other| other.name == mate.name) {
                mesh.silent.push(mate);
            }
        }
        let mut taken: BTreeSet<Ipv4Addr> = mesh.addresses.values().copied().collect();
        for host in inventory.hosts.iter().filter(|host| answers(&host.name)) {
            if mesh.addresses.contains_key(&host.name) {
                continue;
            }
            match spec.addresses().find(|address| !taken.contains(address)) {
                Some(address) => {
                    taken.insert(address);
                    mesh.addresses.insert(host.name.clone(), address);
                }
                None => mesh.problems.push(Problem::on(
                    &host.name,
                    format!("no address of the mesh's subnet {} is left for it", spec.subnet),
                    "choose a larger `underlay: {wireguard: {subnet: ...}}` for a new cluster, or take hosts away",
                )),
            }
        }
        mesh.check(spec);
        mesh
    }

    /// Addresses that lie elsewhere, and those that two have.
    fn check(&mut self, spec: &WireguardSpec) {
        let mut seen: BTreeMap<Ipv4Addr, &HostName> = BTreeMap::new();
        for (name, address) in &self.addresses {
            if !spec.subnet.contains(address) {
                self.problems.push(Problem::on(
                    name,
                    format!("it has the address {address} in its mesh, and the inventory wants the subnet {}", spec.subnet),
                    "put the old `underlay: {wireguard: {subnet: ...}}` back, or take the cluster down and bring it up with the new one",
                ));
            }
            if let Some(other) = seen.insert(*address, name) {
                self.problems.push(Problem::of_all(
                    format!("{other} and {name} both have the address {address} in their mesh"),
                    format!("take one of them down first: `docker-cluster down --on {name}`"),
                ));
            }
        }
    }
}
