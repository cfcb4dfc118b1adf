//! Which fabric fits these hosts: each is asked the same questions that a plan with it would be, and the first that nothing forbids comes
//! first.

use serde::Serialize;

use super::checks;
use crate::fabrics::{self, About};
use crate::inventory::FabricKind;
use crate::plan::{Problem, World};
use crate::underlays;

/// What is to be said of one fabric on these hosts.
#[derive(Debug, Clone, Serialize)]
pub struct Advice {
    /// Which.
    pub fabric: FabricKind,
    /// What it is and gives.
    #[serde(flatten)]
    pub about: About,
    /// Longest packet that its containers can send to another host, in bytes.
    pub mtu: u32,
    /// Why it cannot work here; empty if it can.
    pub problems: Vec<Problem>,
    /// What to write into the inventory.
    pub line: String,
}

impl Advice {
    /// Whether nothing forbids it.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.problems.is_empty()
    }
}

/// All fabrics, those that fit first: the one that `auto` takes, then the others in the order of [`fabrics::ALL`].
#[must_use]
pub fn advise(world: &World<'_>) -> Vec<Advice> {
    let auto = as_if(world, FabricKind::Auto, |world| fabrics::choose(world).kind);
    let mut all: Vec<Advice> = fabrics::ALL
        .iter()
        .filter_map(|kind| of(world, *kind))
        .collect();
    all.sort_by_key(|advice| (!advice.fits(), advice.fabric != auto));
    all
}

/// Asks a question about a world whose inventory names another fabric.
fn as_if<T>(world: &World<'_>, kind: FabricKind, ask: impl FnOnce(&World<'_>) -> T) -> T {
    let mut inventory = world.inventory.clone();
    inventory.network.fabric = kind;
    let changed = World {
        inventory: &inventory,
        ..world.clone()
    };
    ask(&changed)
}

fn of(world: &World<'_>, kind: FabricKind) -> Option<Advice> {
    let fabric = fabrics::fabric(kind)?;
    let mut problems = as_if(world, kind, |world| {
        let mut problems = world.problems.clone();
        problems.extend(checks::problems(world, kind));
        problems.extend(fabric.problems(world));
        problems.extend(underlays::of(world.inventory).problems(world));
        let in_lan = kind.is_in_lan() && world.mesh.is_some();
        problems.extend(in_lan.then(|| {
            Problem::of_all(
                "its containers are hosts of the LAN: nothing of them can go through a mesh",
                "choose another fabric, or `underlay: plain`",
            )
        }));
        problems
    });
    problems.dedup();
    let about = fabric.about();
    let mtu = world.underlay_mtu().saturating_sub(about.overhead);
    Some(Advice {
        fabric: kind,
        about,
        mtu,
        problems,
        line: format!("network: {{fabric: {kind}}}"),
    })
}
