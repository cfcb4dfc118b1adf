//! New keys for every host of a mesh, one host after the other, while traffic goes on.
//!
//! Every host makes its next key and all accept it beside the present one. Then one host after the other changes: the others hear the new key
//! the moment it does, and give it the host's address. What is between those two is all that is interrupted. A run that was cut off is mended
//! by `up`: what each host really has is a fact.

use super::files::{Config, argv};
use super::{HEARD_DEADLINE, UNIT, ask, service, spec};
use crate::plan::{Action, HostWorld, Problem, Stage, StepId, Steps, Verb, World};
use crate::underlays::Carried;

/// Whose keys the configurations have.
pub(super) enum Keys {
    /// Those that hosts have.
    Present,
    /// Those, and beside them the ones that they are about to use.
    Both,
    /// Those that they were about to use.
    Next,
}

/// What forbids it.
#[must_use]
pub fn problems(world: &World<'_>) -> Vec<Problem> {
    if spec(world).is_none() {
        return vec![Problem::of_all(
            "the inventory has no mesh of WireGuard, so there are no keys of it",
            "say `underlay: wireguard` in the inventory of a cluster that has one",
        )];
    }
    let mut problems = world.problems.clone();
    for unreached in &world.unreached {
        problems.push(Problem::on(
            &unreached.host,
            format!(
                "cannot be asked ({}), and would be shut out of the mesh by keys that it does not know",
                unreached.error
            ),
            "bring it back, or take it out of the inventory and run `up` first",
        ));
    }
    for host in &world.hosts {
        let is_whole = host
            .facts
            .mesh
            .as_ref()
            .is_some_and(|mesh| !mesh.key.is_empty() && mesh.links.wrong.is_empty());
        if !is_whole {
            problems.push(Problem::on(
                host.name(),
                "its mesh is not as it should be",
                "run `docker-cluster up` first",
            ));
        }
    }
    problems
}

/// The steps.
pub fn steps(world: &World<'_>, carried: &Carried, steps: &mut Steps) {
    let Some(spec) = spec(world) else { return };
    let mut read = Vec::new();
    for host in &world.hosts {
        let std::net::IpAddr::V4(address) = host.private else {
            continue;
        };
        let action = Action::MakeKey {
            address,
            argv: argv(&["next-key"]),
        };
        let why = "make its next key, and read the half of it that is for the others";
        read.push(steps.add(host.name(), Stage::Underlay, why, action));
    }
    let write = |keys: Keys, why: &str, after: &[StepId], steps: &mut Steps| -> Vec<StepId> {
        let each = world.hosts.iter().map(|host| {
            let config = Config::of(world, spec, host, carried, &keys);
            put(host, &config, why, after, steps)
        });
        each.collect()
    };
    let mut told = write(
        Keys::Both,
        "accept the next keys of the others",
        &read,
        steps,
    );
    for host in &world.hosts {
        let why = "use its next key from now on";
        let id = steps.add_after(
            host.name(),
            Stage::Underlay,
            why,
            ask(&["switch"]),
            told.clone(),
        );
        let others = world.others(host);
        // One host at a time: of two that change at once, neither would know the other.
        told = others
            .map(|other| {
                let name = host.name();
                let action = Action::wait(
                    format!("the new key of {name} to be heard"),
                    &[super::SCRIPT, "adopt", name.as_str()],
                    Vec::<String>::new(),
                    HEARD_DEADLINE,
                );
                let why = format!("know {name} by its new key, as soon as that is heard");
                steps.add_after(other.name(), Stage::Underlay, why, action, vec![id])
            })
            .collect();
    }
    write(
        Keys::Next,
        "forget the old keys of the others",
        &told,
        steps,
    );
}

/// Writes a host's configuration, and has its mesh read it.
fn put(
    host: &HostWorld<'_>,
    config: &Config,
    why: &str,
    after: &[StepId],
    steps: &mut Steps,
) -> StepId {
    let file = config.file();
    let action = file.put();
    steps.add_after(
        host.name(),
        Stage::Underlay,
        format!("write down whom its mesh is with, to {why}"),
        action,
        after.to_vec(),
    );
    let reload = service(UNIT, Verb::Reload);
    steps.add(host.name(), Stage::Underlay, why, reload)
}
