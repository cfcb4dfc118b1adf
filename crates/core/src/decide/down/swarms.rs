//! Swarms that `down` leaves: what would be lost with them, and how those who stay keep theirs.

use std::collections::{BTreeMap, BTreeSet};

use super::{NAMED, NETWORK_DEADLINE, counted, others};
use crate::fabrics::swarm;
use crate::facts::{InSwarm, Node};
use crate::plan::{
    Action, EngineCall, HostWorld, NodeUpdate, Problem, Stage, StepId, Steps, SwarmRole, World,
};

/// Whether a host is in a swarm by docker-cluster's doing. Before `migrate` wrote that down, its record of the networks said so.
pub(super) fn is_ours(host: &HostWorld<'_>) -> bool {
    swarm::is_member(host) && (host.facts.made.contains("swarm") || host.facts.migration.is_some())
}

/// The swarms that end with this: each with its id and the hosts that leave it.
fn swarms<'a, 'b>(world: &'a World<'b>) -> Vec<(String, Vec<&'a HostWorld<'b>>)> {
    let mut all: Vec<(String, Vec<&HostWorld<'_>>)> = Vec::new();
    for host in world.hosts.iter().filter(|host| is_ours(host)) {
        let id = swarm_of(host);
        match all.iter_mut().find(|(known, _)| *known == id) {
            Some((_, hosts)) => hosts.push(host),
            None => all.push((id, vec![host])),
        }
    }
    all
}

/// Id of the swarm that a host is in; empty if it does not tell.
fn swarm_of(host: &HostWorld<'_>) -> String {
    let known = || {
        host.facts
            .engine
            .as_ref()
            .map(|engine| engine.swarm().cluster_id)
            .unwrap_or_default()
    };
    host.facts.swarm_cluster.clone().unwrap_or_else(known)
}

/// A manager of a swarm that does not leave it, if there is one here: then the swarm goes on.
fn staying<'a, 'b>(world: &'a World<'b>, id: &str) -> Option<&'a HostWorld<'b>> {
    world
        .hosts
        .iter()
        .find(|host| swarm::is_manager(host) && !is_ours(host) && swarm_of(host) == id)
}

/// Whether a host is a manager by its certificate, also of a quorum that is lost.
fn manages(host: &HostWorld<'_>) -> bool {
    host.facts.swarm_manager || swarm::is_manager(host)
}

/// What would be lost with the swarms that end: nothing of others is. What was not heard of is not taken for what is not there. Networks
/// of these names are no loss.
pub(crate) fn swarm_problems(world: &World<'_>, come_back: &BTreeSet<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (id, leaving) in swarms(world) {
        // Where a manager stays the swarm does, and gives what runs on those who leave to others.
        if staying(world, &id).is_some() {
            continue;
        }
        // Workers alone take only what runs on them: their managers do not answer, or it is another swarm than it was.
        if !leaving.iter().any(|host| manages(host)) {
            problems.extend(leaving.iter().filter_map(|host| tasks_problem(host)));
            continue;
        }
        let names: Vec<&str> = leaving.iter().map(|host| host.name().as_str()).collect();
        // A manager that lists no nodes, not even itself, has told nothing.
        let witness = leaving
            .iter()
            .find(|host| swarm::is_manager(host) && !host.facts.nodes.is_empty());
        let told = witness.and_then(|host| Some((host, host.facts.in_swarm.as_ref()?)));
        let Some((witness, content)) = told else {
            // An earlier run has looked, found nothing, and was cut off while the managers left.
            let line = ends(&id);
            if !leaving
                .iter()
                .filter(|host| manages(host))
                .all(|host| host.facts.made.contains(&line))
            {
                problems.push(Problem::of_all(
                    format!("no manager of the swarm of {} tells what is in it, so nobody knows what would be lost", names.join(", ")),
                    "bring its managers back; if the swarm is lost for good, `docker swarm leave --force` on these hosts takes them out, then run this again",
                ));
            }
            continue;
        };
        problems.extend(content_problem(world, witness, content, come_back));
        problems.extend(strangers(world, witness));
    }
    problems
}

/// Tasks of services on a worker whose managers cannot be asked.
fn tasks_problem(host: &HostWorld<'_>) -> Option<Problem> {
    let containers = host.facts.engine.iter().flat_map(|engine| engine.running());
    let tasks: Vec<&str> = containers
        .filter(|container| container.labels.contains_key(swarm::TASK_LABEL))
        .map(|container| container.name.as_str())
        .collect();
    let names = counted("task", tasks)?;
    Some(Problem::on(
        host.name(),
        format!(
            "no manager of its swarm is here to ask, and it runs services of somebody: {names}"
        ),
        "bring a manager back, or take the host out by hand (`docker swarm leave` there) if nobody needs them",
    ))
}

/// Services, secrets, configs and networks of others in a swarm that would end.
fn content_problem(
    world: &World<'_>,
    witness: &HostWorld<'_>,
    content: &[InSwarm],
    come_back: &BTreeSet<&str>,
) -> Option<Problem> {
    let (mut found, mut remedies) = (Vec::new(), Vec::new());
    let networks: Vec<InSwarm> = others(world, witness, "swarm")
        .filter(|network| !come_back.contains(network.name.as_str()))
        .map(|network| InSwarm {
            kind: "network".to_owned(),
            name: network.name.clone(),
            stack: network.labels.get("com.docker.stack.namespace").cloned(),
        })
        .collect();
    let all = || content.iter().chain(&networks);
    let stacks: BTreeSet<&str> = all().filter_map(|one| one.stack.as_deref()).collect();
    for stack in stacks {
        let parts: Vec<String> = ["service", "secret", "config", "network"]
            .into_iter()
            .filter_map(|kind| {
                let of_stack =
                    |one: &&InSwarm| one.kind == kind && one.stack.as_deref() == Some(stack);
                counted(
                    kind,
                    all()
                        .filter(of_stack)
                        .map(|one| one.name.as_str())
                        .collect(),
                )
            })
            .collect();
        found.push(format!("the stack {stack} ({})", parts.join(", ")));
        remedies.push(format!("`docker stack rm {stack}`"));
    }
    for kind in ["service", "secret", "config", "network"] {
        let names: Vec<&str> = all()
            .filter(|one| one.kind == kind && one.stack.is_none())
            .map(|one| one.name.as_str())
            .collect();
        if !names.is_empty() {
            remedies.push(format!(
                "`docker {kind} rm {}`",
                names
                    .iter()
                    .take(NAMED)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(" ")
            ));
        }
        found.extend(counted(kind, names).map(|names| format!("the {names}")));
    }
    if found.is_empty() {
        return None;
    }
    Some(Problem::on(
        witness.name(),
        format!(
            "the swarm ends with this, and holds what is not docker-cluster's: {}",
            found.join(", ")
        ),
        format!(
            "if nobody needs them, remove them first, there: {}; then run this again",
            remedies.join(", ")
        ),
    ))
}

/// Nodes of a swarm that would be left without managers.
fn strangers(world: &World<'_>, witness: &HostWorld<'_>) -> Option<Problem> {
    let known = |node: &&Node| {
        let is_here = |host: &HostWorld<'_>| {
            host.facts.hostname == node.hostname
                || host
                    .facts
                    .engine
                    .as_ref()
                    .is_some_and(|engine| engine.swarm().node_id == node.id)
        };
        world.hosts.iter().any(is_here)
            || world
                .unreached
                .iter()
                .any(|other| other.host.as_str() == node.hostname)
    };
    let names: Vec<String> = witness
        .facts
        .nodes
        .iter()
        .filter(|node| !known(node))
        .map(|node| format!("{} ({})", node.hostname, node.state))
        .collect();
    if names.is_empty() {
        return None;
    }
    Some(Problem::on(
        witness.name(),
        format!(
            "the swarm ends with this, and has nodes that are not in the inventory: {}",
            names.join(", ")
        ),
        "take them out first (`docker swarm leave` on each, `docker node rm NODE` for one that is gone), or put them into the inventory",
    ))
}

/// The line of the record that says that `down` has looked into a swarm, found nothing of others, and ends it.
fn ends(id: &str) -> String {
    format!("swarm-ends {id}")
}

/// Leaves the swarms that docker-cluster joined or made: workers first, so that managers see them go.
pub(super) fn leave_swarms(
    world: &World<'_>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
    removed: &[StepId],
) {
    for host in world
        .hosts
        .iter()
        .filter(|host| swarm::is_member(host) && !is_ours(host))
    {
        notes.push(format!(
            "{}: it stays in its swarm, which it was in before",
            host.name()
        ));
    }
    for (id, leaving) in swarms(world) {
        let (managers, workers): (Vec<_>, Vec<_>) =
            leaving.into_iter().partition(|host| manages(host));
        match staying(world, &id) {
            Some(lead) => leave_to_others(lead, &[workers, managers].concat(), steps, removed),
            None => end_swarm(&id, &workers, &managers, steps, removed),
        }
    }
}

fn end_swarm(
    id: &str,
    workers: &[&HostWorld<'_>],
    managers: &[&HostWorld<'_>],
    steps: &mut Steps,
    removed: &[StepId],
) {
    // Once the first manager has left, the others cannot tell any more what was in the swarm: nobody leaves before all of them have it
    // in writing. One that could not write it down would be in the way of the next `down` for good.
    let mut written = Vec::new();
    for host in managers
        .iter()
        .filter(|host| !host.facts.made.contains(&ends(id)))
    {
        let why = "write down that nothing of others is in the swarm, which ends";
        let id = steps.add(
            host.name(),
            Stage::Swarm,
            why,
            Action::Note {
                lines: vec![ends(id)],
            },
        );
        steps.follow(id, removed);
        written.push(id);
    }
    let mut before = removed.to_vec();
    for group in [workers, managers] {
        let left: Vec<StepId> = group
            .iter()
            .map(|host| {
                let id = swarm::leave(host.name(), &["--force"], steps);
                steps.require(id, &written);
                steps.follow(id, &before);
                id
            })
            .collect();
        before.extend(left);
    }
}

/// Leaves a swarm that goes on without docker-cluster: a manager is demoted first, one after the other, so that those who stay keep
/// their quorum.
fn leave_to_others(
    lead: &HostWorld<'_>,
    leaving: &[&HostWorld<'_>],
    steps: &mut Steps,
    removed: &[StepId],
) {
    for host in leaving {
        let node = host
            .facts
            .engine
            .as_ref()
            .map(|engine| engine.swarm().node_id)
            .unwrap_or_default();
        if manages(host) {
            let update = NodeUpdate {
                node: node.clone(),
                labels: BTreeMap::new(),
                role: Some(SwarmRole::Worker),
                drain: true,
            };
            let why = format!(
                "demote {} to a worker, so that the swarm keeps its quorum",
                host.name()
            );
            let demoted = steps.add(
                lead.name(),
                Stage::Swarm,
                why,
                Action::Engine(EngineCall::UpdateNode(update)),
            );
            steps.follow(demoted, removed);
            swarm::wait_until_worker(host.name(), steps, demoted, NETWORK_DEADLINE);
        }
        let left = swarm::leave(host.name(), &[], steps);
        steps.follow(left, removed);
        let call = EngineCall::RemoveNode { id: node };
        let why = format!("remove {} from the swarm", host.name());
        steps.add_after(
            lead.name(),
            Stage::Swarm,
            why,
            Action::Engine(call),
            vec![left],
        );
    }
}
