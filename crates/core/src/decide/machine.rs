//! A host that is wanted for its engine alone, as Docker Machine makes them: the engine with its options, and no network of a cluster.

use super::{checks, down};
use crate::engines::{self, options};
use crate::fabrics;
use crate::inventory::FabricKind;
use crate::plan::{Action, Plan, Stage, Steps, World};

/// Decides what makes the hosts of the world machines. Nothing comes onto them that only a verification between hosts needs.
#[must_use]
pub fn plan(world: &World<'_>) -> Plan {
    let (mut steps, mut notes) = (Steps::default(), Vec::new());
    let mut problems = world.problems.clone();
    problems.extend(checks::problems(world, FabricKind::Nat));
    if let Some(fabric) = fabrics::fabric(FabricKind::Nat).filter(|_| problems.is_empty()) {
        engines::install_steps(world, &mut steps);
        options::of_inventory(world, &mut steps, &mut notes);
        for (host, mut lines) in down::additions(world, fabric, &steps) {
            // The image for verifications does not come, so `down` must not take it for ours.
            lines.retain(|line| !line.starts_with(down::IMAGE));
            if lines.is_empty() {
                continue;
            }
            let why = "write down what is added here, so that `down` can take it away";
            steps.prepend(&host, Stage::Record, why, Action::Note { lines });
        }
    }
    problems.dedup();
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Nat,
        reason: "an engine by itself is wanted".to_owned(),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes,
        unreached: world.unreached.clone(),
    }
}
