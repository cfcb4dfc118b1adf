//! Out of a swarm: a host that is taken out of it, nodes that are gone for good, and a quorum that is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    JOIN_DEADLINE, LEAVE_DEADLINE, TASK_LABEL, guarded, hidden_hosts, is_host, node_of, others,
    swarm,
};
use crate::engines;
use crate::fabrics::{guard, keeper};
use crate::facts::Node;
use crate::inventory::HostName;
use crate::plan::{
    Action, EngineCall, HostWorld, NodeUpdate, Problem, Stage, StepId, Steps, SwarmRole, World,
};
use crate::record::NODE_LINE;

/// Nodes of the swarm that are down, were hosts of the inventory and are not any more, by the word of everyone who lists nodes: one host
/// that lies removes nobody. With a host that does not answer nobody is: it may be its node. A node that was never a host of the
/// inventory is somebody else's, whatever its state.
pub(super) fn gone(world: &World<'_>) -> Vec<Node> {
    if !world.unreached.is_empty() {
        return Vec::new();
    }
    let known = |node: &Node| {
        let line = format!("{NODE_LINE}{}", node.hostname);
        is_host(world, node)
            || !world
                .hosts
                .iter()
                .any(|host| host.facts.made.contains(&line))
    };
    let lists: Vec<&Vec<Node>> = world
        .hosts
        .iter()
        .map(|host| &host.facts.nodes)
        .filter(|nodes| !nodes.is_empty())
        .collect();
    let is_down = |nodes: &Vec<Node>, id: &str| {
        nodes
            .iter()
            .any(|node| node.id == id && node.state == "down")
    };
    let by_all = |node: &Node| lists.iter().all(|nodes| is_down(nodes, &node.id));
    lists
        .first()
        .into_iter()
        .flat_map(|nodes| nodes.iter())
        .filter(|node| by_all(node) && !known(node))
        .cloned()
        .collect()
}

/// Takes nodes out of the swarm that left the inventory and are down.
pub(super) fn remove_gone(
    world: &World<'_>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
    lead: &HostName,
) {
    let gone = gone(world);
    for node in &gone {
        forget_node(steps, lead, node);
    }
    let nodes = world
        .host(lead)
        .map(|host| host.facts.nodes.as_slice())
        .unwrap_or_default();
    let is_left =
        |node: &&Node| !is_host(world, node) && !gone.iter().any(|other| other.id == node.id);
    for node in nodes
        .iter()
        .filter(is_left)
        .filter(|_| world.unreached.is_empty())
    {
        let name = &node.hostname;
        notes.push(match node.state.as_str() {
            "down" => format!("{name} is in the swarm, down, and nothing says that it was in this inventory; it is left alone (`docker node rm --force {name}` on a manager, if it is gone for good)"),
            _ => format!("{name} is in the swarm and not in the inventory; it is left alone"),
        });
    }
    hidden_hosts(world, notes);
}

/// Removes the entry of a node that does not run any more. A member of the quorum is demoted first: the swarm refuses to
/// remove one.
fn forget_node(steps: &mut Steps, lead: &HostName, node: &Node) {
    if node.is_raft_member {
        let update = NodeUpdate {
            node: node.id.clone(),
            labels: BTreeMap::new(),
            role: Some(SwarmRole::Worker),
            drain: true,
        };
        let why = format!("demote {}, which is gone", node.hostname);
        steps.add(
            lead,
            Stage::Swarm,
            why,
            Action::Engine(EngineCall::UpdateNode(update)),
        );
        let action = Action::wait(
            "the managers agree",
            &[
                "docker",
                "node",
                "inspect",
                "--format",
                "role={{.Spec.Role}} manager={{with .ManagerStatus}}yes{{else}}no{{end}}",
                &node.id,
            ],
            ["role=worker manager=no".to_owned()],
            LEAVE_DEADLINE,
        );
        steps.add(
            lead,
            Stage::Swarm,
            format!(
                "wait until the managers have done without {}",
                node.hostname
            ),
            action,
        );
    }
    let call = EngineCall::RemoveNode {
        id: node.id.clone(),
    };
    steps.add(
        lead,
        Stage::Swarm,
        format!("remove {} from the swarm", node.hostname),
        Action::Engine(call),
    );
}

/// Goes on with one manager's knowledge after the quorum is gone for good. The next plan does the rest.
pub(super) fn recover(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let manager = |host: &&HostWorld<'_>| host.facts.swarm_manager;
    let Some(lead) = world.hosts.iter().find(manager) else {
        return;
    };
    let call = EngineCall::InitSwarm {
        force_new_cluster: true,
        address: lead.private,
        address_pool: None,
        data_path_port: world.inventory.swarm.data_path_port,
    };
    steps.add(
        lead.name(),
        Stage::Swarm,
        format!(
            "make {} the only manager of its swarm, with all that it knows",
            lead.name()
        ),
        Action::Engine(call),
    );
    let action = Action::wait(
        "the swarm has a leader",
        &["docker", "node", "ls", "--format", "{{.ManagerStatus}}"],
        ["Leader".to_owned()],
        JOIN_DEADLINE,
    );
    let leads = steps.add(lead.name(), Stage::Swarm, "wait until it leads", action);
    // Other managers of old still believe in the quorum that is lost: they leave, and join again with the next `up`.
    for host in world
        .others(lead.name())
        .filter(|host| host.facts.swarm_manager)
    {
        keeper::let_go(host, steps);
        let argv = ["docker", "swarm", "leave", "--force"]
            .map(str::to_owned)
            .to_vec();
        let id = steps.add(
            host.name(),
            Stage::Swarm,
            "leave the quorum that is lost, to join again",
            Action::Run {
                argv,
                timeout: LEAVE_DEADLINE,
            },
        );
        steps.follow(id, &[leads]);
    }
    notes
        .push("run `up` again afterwards: it removes the managers that are gone and brings the others back".to_owned());
}

/// Waits until a host's own engine says that it is no manager any more, at most `deadline` seconds.
pub(crate) fn wait_until_worker(
    host: &HostName,
    steps: &mut Steps,
    demoted: StepId,
    deadline: Duration,
) {
    let action = Action::wait(
        "it is a worker",
        &[
            "docker",
            "info",
            "--format",
            "manager={{.Swarm.ControlAvailable}}",
        ],
        ["manager=false".to_owned()],
        deadline,
    );
    steps.add_after(
        host,
        Stage::Swarm,
        "wait until it is a worker",
        action,
        vec![demoted],
    );
}

/// The plan to take a host out of the swarm: its tasks move away, it leaves, its entry goes.
pub fn removal(
    world: &World<'_>,
    target: &HostName,
    steps: &mut Steps,
    notes: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) {
    let (lead, node) = match entry(world, target) {
        Ok(found) => found,
        Err(problem) => return problems.push(problem),
    };
    let host = world.host(target);
    notes.extend(host.and_then(loses_the_network));
    let Some(host) = host.filter(|host| swarm(host).is_member()) else {
        forget_node(steps, lead.name(), node);
        if let Some(removed) = steps.last_of(lead.name()) {
            let_out(world, target, node, removed, steps);
        }
        return;
    };
    let moved = drain(lead.name(), target, node, steps);
    wait_until_worker(target, steps, moved, LEAVE_DEADLINE);
    keeper::let_go(host, steps);
    let left = leave(target, &[], steps);
    notes.push(format!(
        "{target}: what else `up` added there stays; `down` with an inventory of this host alone takes it away"
    ));
    let call = EngineCall::RemoveNode {
        id: node.id.clone(),
    };
    let why = format!("remove {target} from the swarm");
    let action = Action::Engine(call);
    let removed = steps.add_after(lead.name(), Stage::Swarm, why, action, vec![left]);
    let_out(world, target, node, removed, steps);
}

/// A manager that stays and the entry of the host in its list, or why the host cannot go.
fn entry<'a>(
    world: &'a World<'_>,
    target: &HostName,
) -> Result<(&'a HostWorld<'a>, &'a Node), Problem> {
    let lead = world
        .others(target)
        .find(|host| swarm(host).is_manager)
        .ok_or_else(|| {
            Problem::on(
                target,
                "no other manager of its swarm answers: without one the swarm would be lost with it",
                "add or promote another host first (`swarm.managers`)",
            )
        })?;
    let host = world.host(target);
    if let Some(problem) = host.and_then(engines::unheard) {
        return Err(problem);
    }
    let nodes = &lead.facts.nodes;
    if nodes.is_empty() {
        return Err(Problem::on(
            lead.name(),
            "it is a manager and does not list the nodes of its swarm",
            "look at `docker node ls` there; nothing is known of who is in the swarm until it works",
        ));
    }
    // A host that does not answer is told by its name in the inventory, which is its host name more often than not.
    let hostname = host.map_or(target.as_str(), |host| host.facts.hostname.as_str());
    let by_name = || nodes.iter().find(|node| node.hostname == hostname);
    let node = host
        .and_then(|host| node_of(host, nodes))
        .or_else(by_name)
        .ok_or_else(|| {
            Problem::on(
                target,
                "it is not in the swarm",
                "nothing is to be done; take it out of the inventory",
            )
        })?;
    match quorum_would_be_lost(target, node, nodes) {
        Some(problem) => Err(problem),
        None => Ok((lead, node)),
    }
}

/// While it is demoted it still counts: the others alone must be a majority of what is left.
fn quorum_would_be_lost(target: &HostName, node: &Node, nodes: &[Node]) -> Option<Problem> {
    let others: Vec<&Node> = nodes
        .iter()
        .filter(|other| other.is_raft_member && other.id != node.id)
        .collect();
    let (all, reachable) = (
        others.len(),
        others.iter().filter(|other| other.is_reachable).count(),
    );
    (node.is_manager && reachable * 2 <= all).then(|| {
        Problem::on(
            target,
            format!(
                "it is a manager, and of the {all} others only {reachable} answer: the swarm would lose its quorum"
            ),
            "bring the other managers back first",
        )
    })
}

/// What runs on a host outside of services, as a sentence.
fn loses_the_network(host: &HostWorld<'_>) -> Option<String> {
    let engine = host.facts.engine.as_ref()?;
    let lost: Vec<&str> = engine
        .running()
        .filter(|container| !container.labels.contains_key(TASK_LABEL) && !container.is_own())
        .map(|container| container.name.as_str())
        .collect();
    (!lost.is_empty()).then(|| {
        format!(
            "{}: {} run there outside of services; they stay there and lose the network",
            host.name(),
            lost.join(", ")
        )
    })
}

/// Moves the tasks of a node away, and makes it a worker. Returns the step after which they have moved.
fn drain(lead: &HostName, target: &HostName, node: &Node, steps: &mut Steps) -> StepId {
    let update = NodeUpdate {
        node: node.id.clone(),
        labels: BTreeMap::new(),
        role: node.is_manager.then_some(SwarmRole::Worker),
        drain: true,
    };
    let why = match node.is_manager {
        true => format!("drain {target} and demote it to a worker"),
        false => format!("drain {target}"),
    };
    let action = Action::Engine(EngineCall::UpdateNode(update));
    steps.add(lead, Stage::Swarm, why, action);
    let script = r#"test -z "$(docker node ps -q --filter desired-state=running "$1")""#;
    let action = Action::wait(
        "its tasks have moved",
        &["sh", "-c", script, "sh", &node.id],
        Vec::<String>::new(),
        LEAVE_DEADLINE,
    );
    let why = format!("wait until the tasks of {target} have moved");
    steps.add(lead, Stage::Swarm, why, action)
}

/// Who has left is not let in any more.
fn let_out(world: &World<'_>, target: &HostName, node: &Node, removed: StepId, steps: &mut Steps) {
    let mut others = others(world);
    others
        .known
        .retain(|(from, _)| !node.addresses.contains(from));
    let ports = guarded(world);
    guard::let_out(world, &ports, &others, target, &[removed], steps);
}

/// How long leaving a swarm may take: the engine stops the tasks of its node first.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(120);

/// Leaves a swarm; see the script.
const SWARM_LEAVE: &str = include_str!("../../../../../templates/swarm-leave.sh");

/// Leaves a swarm, and takes it out of the host's record.
pub(crate) fn leave(host: &HostName, how: &[&str], steps: &mut Steps) -> StepId {
    let args = how.iter().map(ToString::to_string).collect();
    let action = Action::Script {
        name: "swarm-leave",
        text: SWARM_LEAVE,
        args,
        timeout: LEAVE_TIMEOUT,
    };
    steps.add(host, Stage::Swarm, "leave the swarm", action)
}
