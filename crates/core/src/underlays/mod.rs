//! Underlays: what carries the fabric from host to host. One file each; adding one is a file, a variant of [`UnderlaySpec`] and an arm
//! in [`of`].
//!
//! A host's address for the others and the MTU that it carries are the underlay's. The world is built with them
//! ([`crate::plan::HostWorld::private`]), so that fabrics and stores follow without knowing of it.

mod interface;
mod plain;
pub mod wireguard;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::facts::firewall::Traffic;
use crate::inventory::{Inventory, UnderlaySpec};
use crate::plan::{HostWorld, Problem, Steps, WantedFile, World};
use crate::proof::Cause;

/// What a fabric has an underlay carry.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    /// What it listens on: nobody outside of a mesh is to reach that.
    pub listens: Vec<Traffic>,
    /// The addresses of containers behind each host, by its address for the others.
    pub behind: Vec<(IpAddr, IpNet)>,
}

/// A way to carry the fabric. Synchronous and pure: it looks at the world and returns data.
pub trait Underlay: Sync {
    /// What it is, for `plan`, `ls` and `advise`: the end of a sentence that begins with the fabric. Nothing of the hosts' own network.
    fn about(&self, inventory: &Inventory) -> Option<String>;
    /// What forbids it here, found before anything is touched.
    fn problems(&self, world: &World<'_>) -> Vec<Problem>;
    /// The steps that are missing for it, and what a person should know.
    fn steps(
        &self,
        world: &World<'_>,
        carried: &Carried,
        steps: &mut Steps,
        notes: &mut Vec<String>,
    );
    /// Its rows of the table of causes, before those of the fabric.
    fn causes(&self) -> &'static [Cause];
}

/// The underlay of a cluster.
#[must_use]
pub fn of(inventory: &Inventory) -> &'static dyn Underlay {
    match inventory.underlay {
        UnderlaySpec::Plain => &plain::Plain,
        UnderlaySpec::Wireguard(_) => &wireguard::Wireguard,
        UnderlaySpec::Interface(_) => &interface::Interface,
    }
}

/// Every row of the tables of all underlays.
#[must_use]
pub fn all_causes() -> &'static [Cause] {
    wireguard::CAUSES
}

/// A cluster that is carried by something else than the inventory says. What listens on its hosts' addresses would have to be told new
/// ones, all at once: engines cannot.
fn moved(world: &World<'_>, wanted: &str) -> Option<Problem> {
    let wants_mesh = world.mesh.is_some();
    let other: Vec<&str> = world
        .hosts
        .iter()
        .filter(|host| match wants_mesh {
            true => host.facts.mesh.is_none() && is_connected(host),
            false => host.facts.mesh.is_some(),
        })
        .map(|host| host.name().as_str())
        .collect();
    let present = match wants_mesh {
        true => "their own network",
        false => "a mesh of WireGuard",
    };
    (!other.is_empty()).then(|| {
        Problem::of_all(
            format!(
                "{} are connected over {present}, and the inventory wants {wanted}: the addresses by which engines know each other cannot be changed while they are one cluster",
                other.join(", ")
            ),
            "take the cluster down with the underlay that it has (`docker-cluster down`), change `underlay:`, and bring it up again (`docker-cluster up`); containers are named before anything goes",
        )
    })
}

/// Whether a host is part of something that knows it by its address.
fn is_connected(host: &HostWorld<'_>) -> bool {
    let facts = host.facts;
    let is_member = facts
        .engine
        .as_ref()
        .is_some_and(|engine| engine.swarm().is_member());
    is_member || facts.links.is_some() || facts.store.config.is_some()
}

/// What may manage the host's own interfaces.
const NETWORKD: &str = "systemd-networkd.service";

/// Where it is told to leave routes alone.
pub(crate) const NETWORKD_PATH: &str = "/etc/systemd/networkd.conf.d/docker-cluster.conf";

/// What lets systemd-networkd keep routes that are not its own, where it runs: it takes away every route that it did not set itself. What it
/// has not read yet it reads when it starts, before it would. Nothing if it is there, or another step of the plan puts it there.
pub(crate) fn routes_stay(host: &HostWorld<'_>, steps: &Steps) -> Option<WantedFile> {
    if !host.facts.is_active(NETWORKD) {
        return None;
    }
    let text = include_str!("../../../../templates/fabrics/networkd.conf");
    let file = WantedFile::of_root(
        NETWORKD_PATH,
        "0644",
        text,
        "let systemd-networkd keep routes that are not its own",
    );
    let planned = steps.of(host.name()).any(|step| step.why == file.why);
    (!planned && !file.is_there(host.facts, None)).then_some(file)
}
