//! Key-value stores behind a classic overlay: what they need on the hosts, and where the engine finds them. One file or folder each;
//! adding one is that, a variant of [`StoreKind`] and an arm in [`of`].

pub mod consul;
mod external;

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::facts::firewall::Traffic;
use crate::inventory::StoreKind;
use crate::plan::{HostWorld, Problem, Steps, World};

/// Where the engine finds the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `cluster-store`.
    pub url: String,
    /// `cluster-store-opts`.
    pub options: BTreeMap<String, String>,
}

/// A store, and all that anybody needs to know of it. Synchronous and pure: it looks at the world and returns data.
pub trait Store: Sync {
    /// The backend that the engine's binary needs, by the name that the engine has for it.
    fn backend(&self, world: &World<'_>) -> &'static str;
    /// Where the engine finds it.
    fn endpoint(&self, world: &World<'_>) -> Endpoint;
    /// What forbids it here, found before anything is touched.
    fn problems(&self, world: &World<'_>) -> Vec<Problem>;
    /// The steps that make it run, and what a person should know.
    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>);
    /// The TCP ports on which other hosts reach its part on a host, with what they are for.
    fn ports(&self, host: &HostWorld<'_>) -> Vec<(u16, &'static str)>;
    /// What other hosts must be able to send to the part that a host has, or will have.
    fn traffic(&self, world: &World<'_>, host: &HostWorld<'_>) -> Vec<Traffic>;
    /// What its part on any host may listen on, on the address that the others use.
    fn listens(&self) -> Vec<Traffic>;
    /// A line of the record of what it adds to a host beside files, for `down` to take away.
    fn leaves(&self, host: &HostWorld<'_>) -> Option<String>;
    /// The command on a host that lists which engines have announced themselves, if anybody can ask.
    fn engines(&self) -> Option<&'static [&'static str]>;
}

/// The store of a cluster.
#[must_use]
pub fn of(world: &World<'_>) -> &'static dyn Store {
    match (&world.inventory.store.external, world.inventory.store.kind) {
        (Some(_), _) => &external::External,
        (None, StoreKind::Consul) => &consul::Consul,
    }
}

/// The part that a host has in the store, for a person.
#[must_use]
pub fn part(facts: &Facts) -> Option<&'static str> {
    match (consul::is_server(facts)?, facts.store.ready) {
        (true, true) => Some("consul server"),
        (false, true) => Some("consul client"),
        (_, false) => Some("consul, no leader"),
    }
}
