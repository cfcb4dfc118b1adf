//! `underlay`: what a mesh under the fabric needs beside `up`.

use crate::fabrics;
use crate::plan::{Plan, Steps, World};
use crate::underlays::Carried;
use crate::underlays::wireguard::rotation;

/// What a fabric has the underlay carry.
pub(super) fn carried(world: &World<'_>, fabric: &dyn fabrics::Fabric) -> Carried {
    Carried {
        listens: fabric.listens(world),
        behind: fabric.behind(world),
    }
}

/// Gives every host of the mesh a new key.
#[must_use]
pub fn plan_rotation(world: &World<'_>) -> Plan {
    let chosen = fabrics::choose(world);
    let mut problems = rotation::problems(world);
    problems.extend(chosen.problems);
    let mut steps = Steps::default();
    if let Some(fabric) = fabrics::fabric(chosen.kind).filter(|_| problems.is_empty()) {
        rotation::steps(world, &carried(world, fabric), &mut steps);
    }
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: chosen.kind,
        reason: "the hosts of its mesh get new keys, one after the other".to_owned(),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes: Vec::new(),
        unreached: world.unreached.clone(),
    }
}
