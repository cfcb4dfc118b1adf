//! Engines restarted one after the other, each waited for until its containers run again.

use crate::engines::{self, options};
use crate::fabrics::overlay;
use crate::inventory::{FabricKind, HostName};
use crate::plan::{HostWorld, Plan, Problem, StepId, Steps, World};

/// A restart of each engine of the world. None begins before the one before it is well: whatever they run together has all of them but
/// one at any time.
#[must_use]
pub fn plan(world: &World<'_>) -> Plan {
    let mut steps = Steps::default();
    let (mut problems, mut notes) = (world.problems.clone(), Vec::new());
    let mut before: Option<StepId> = None;
    for host in &world.hosts {
        match obstacle(host) {
            Some(problem) => problems.push(problem),
            None => before = Some(restart(host, before, &mut steps, &mut notes)),
        }
    }
    let hosts: Vec<HostName> = world.hosts.iter().map(|host| host.name().clone()).collect();
    let reason = match hosts.len() {
        1 => "its engine is to be restarted".to_owned(),
        n => format!("{n} engines are to be restarted, one after the other"),
    };
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Auto,
        reason,
        hosts,
        steps: if problems.is_empty() {
            steps.into_vec()
        } else {
            Vec::new()
        },
        problems,
        notes,
        unreached: world.unreached.clone(),
    }
}

/// What makes a restart impossible.
fn obstacle(host: &HostWorld<'_>) -> Option<Problem> {
    if host.facts.engine.is_none() {
        return Some(Problem::on(
            host.name(),
            "there is no engine to restart",
            "`docker-cluster up` installs one",
        ));
    }
    let other = engines::elsewhere(host.facts)?;
    Some(Problem::on(
        host.name(),
        format!("its engine is {other}, whose restart docker-cluster does not know"),
        "restart it there, by hand",
    ))
}

fn restart(
    host: &HostWorld<'_>,
    before: Option<StepId>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) -> StepId {
    let is_member = host
        .facts
        .engine
        .as_ref()
        .is_some_and(|engine| engine.swarm().is_member());
    let shown = options::Shown {
        what: "the engine answers",
        why: if is_member {
            "wait until the engine is in its swarm again"
        } else {
            "wait until the engine answers"
        },
        question: &options::of_info(if is_member {
            "{{.Swarm.LocalNodeState}}"
        } else {
            "{{.ServerVersion}}"
        }),
        expect: if is_member {
            vec!["active".to_owned()]
        } else {
            Vec::new()
        },
        put_back: Vec::new(),
        settled: options::uses_store(host).then(overlay::gossips),
        back: Vec::new(),
    };
    options::restart(
        host,
        "restart the engine",
        &shown,
        before.into_iter().collect(),
        steps,
        notes,
    )
    .well
}
