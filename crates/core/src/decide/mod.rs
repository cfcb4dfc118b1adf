//! The visible lists: what `up`, `rm`, `down`, `migrate` and the store's commands do, and in which order.
//!
//! Each is a pure function of the inventory and the facts: no I/O, no clock, no network. What it returns is what `plan` prints, what
//! `--output json` writes, what the golden tests hold and what is executed.

pub mod advise;
pub mod authority;
pub mod checks;
pub mod down;
pub mod machine;
pub mod migrate;
pub mod restart;
pub mod rotation;
pub mod underlay;

use crate::engines;
use crate::fabrics::{self, Chosen, standalone};
use crate::inventory::{FabricKind, HostName};
use crate::plan::{Action, Plan, Stage, Steps, World};
use crate::underlays;

/// Decides everything.
///
/// The order here is the order of the run on each host; what waits across hosts says so in [`Step::after`].
#[must_use]
pub fn up(world: &World<'_>) -> Plan {
    let mut problems = world.problems.clone();

    let mut steps = Steps::default();
    let mut notes = Vec::new();
    let Chosen {
        kind,
        reason,
        problems: choice_problems,
    } = fabrics::choose(world);
    problems.extend(choice_problems);
    problems.extend(checks::problems(world, kind));
    if let Some(fabric) = fabrics::fabric(kind) {
        let refused = fabric.problems(world);
        if !refused.is_empty() {
            notes.push(
                "`docker-cluster advise` says which way to connect these hosts would work"
                    .to_owned(),
            );
        }
        problems.extend(refused);
        let lower = underlays::of(world.inventory);
        problems.extend(lower.problems(world));
        // Steps are only planned where nothing forbids them: a plan with problems is shown, never run.
        if problems.is_empty() && !world.hosts.is_empty() {
            let carried = underlay::carried(world, fabric);
            lower.steps(world, &carried, &mut steps, &mut notes);
            engines::install_steps(world, &mut steps);
            fabric.steps(world, &mut steps, &mut notes);
            // Over the classic overlay it is a part of that.
            if kind != FabricKind::Overlay {
                let of_swarm = standalone::steps(world, &mut steps, &mut notes);
                notes.extend(of_swarm);
            }
            for (host, lines) in down::additions(world, fabric, &steps) {
                let why = "write down what is added here, so that `down` can take it away";
                steps.prepend(&host, Stage::Record, why, Action::Note { lines });
            }
        }
    }
    problems.dedup();
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: kind,
        reason: match underlays::of(world.inventory).about(world.inventory) {
            Some(about) => format!("{reason}; it goes {about}"),
            None => reason,
        },
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes,
        unreached: world.unreached.clone(),
    }
}

/// Decides how a host is taken out of its swarm.
#[must_use]
pub fn rm(world: &World<'_>, target: &HostName) -> Plan {
    let mut steps = Steps::default();
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    fabrics::removal(world, target, &mut steps, &mut notes, &mut problems);
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Swarm,
        reason: format!("{target} is to leave it"),
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: if problems.is_empty() {
            steps.into_vec()
        } else {
            Vec::new()
        },
        problems,
        notes,
        // A host that does not answer may be the very one that is to go.
        unreached: world
            .unreached
            .iter()
            .filter(|unreached| unreached.host != *target)
            .cloned()
            .collect(),
    }
}
