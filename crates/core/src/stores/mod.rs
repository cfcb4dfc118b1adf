//! Key-value stores behind a classic overlay: what they need on the hosts, and where the engine finds them.

pub mod consul;

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

/// The backend that the engine's binary needs.
#[must_use]
pub fn backend(world: &World<'_>) -> &'static str {
    match &world.inventory.store.external {
        Some(external) if external.url.starts_with("etcd://") => "etcd",
        Some(external) if external.url.starts_with("zk://") => "zookeeper",
        _ => "consul",
    }
}

/// Where the engine finds the store.
#[must_use]
pub fn endpoint(world: &World<'_>) -> Endpoint {
    match (&world.inventory.store.external, world.inventory.store.kind) {
        (Some(external), _) => Endpoint { url: external.url.clone(), options: external.options.clone() },
        (None, StoreKind::Consul) => consul::endpoint(),
    }
}

/// What forbids the store here.
#[must_use]
pub fn problems(world: &World<'_>) -> Vec<Problem> {
    match (&world.inventory.store.external, world.inventory.store.kind) {
        (Some(_), _) => Vec::new(),
        (None, StoreKind::Consul) => consul::problems(world),
    }
}

/// The steps that make the store run.
pub fn steps(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    match (&world.inventory.store.external, world.inventory.store.kind) {
        (Some(_), _) => {}
        (None, StoreKind::Consul) => consul::steps(world, steps, notes),
    }
}

/// The TCP ports on which other hosts reach the store's part on a host.
#[must_use]
pub fn ports(world: &World<'_>, host: &HostWorld<'_>) -> Vec<(u16, &'static str)> {
    if world.inventory.store.external.is_some() { Vec::new() } else { consul::ports(host.facts) }
}

/// What other hosts must be able to send to the part of the store that a host has, or will have.
#[must_use]
pub fn traffic(world: &World<'_>, host: &HostWorld<'_>) -> Vec<Traffic> {
    if world.inventory.store.external.is_some() { Vec::new() } else { consul::traffic(world, host) }
}

/// Lines of the record of what the store adds to a host beside files.
#[must_use]
pub fn leaves(world: &World<'_>, host: &HostWorld<'_>) -> Option<String> {
    match (&world.inventory.store.external, world.inventory.store.kind) {
        (Some(_), _) => None,
        (None, StoreKind::Consul) => (!host.facts.store_user).then(|| format!("user {}", consul::USER)),
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
