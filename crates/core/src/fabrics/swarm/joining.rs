//! Into a swarm: the first manager, those who join, and what each is there.

use std::collections::BTreeMap;

use super::guard::Doors;
use super::{JOIN_DEADLINE, MANAGER_PORT, node_of, pool, swarm};
use crate::fabrics::keeper;
use crate::inventory::{HostName, Members};
use crate::plan::{
    Action, EngineCall, HostWorld, NodeUpdate, Stage, StepId, Steps, SwarmRole, World,
};

/// Starts a swarm if there is none, and makes every host a node of it. Returns the manager that everything goes through.
pub(super) fn join(
    world: &World<'_>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
    managers: &[HostName],
    doors: &Doors,
) -> Option<HostName> {
    let present = world.hosts.iter().find(|host| swarm(host).is_manager);
    let will_be = || {
        world
            .hosts
            .iter()
            .find(|host| managers.contains(host.name()))
    };
    let lead = present.or_else(will_be)?;
    if present.is_none() {
        begin(world, lead, managers, steps, notes);
    }
    let joining: Vec<&HostWorld<'_>> = world
        .others(lead.name())
        .filter(|host| !swarm(host).is_member())
        .collect();
    if joining.is_empty() {
        return Some(lead.name().clone());
    }
    let why = "fetch the join tokens, which stay in memory";
    let tokens = steps.add(lead.name(), Stage::Swarm, why, Action::FetchJoinTokens);
    let others = world
        .others(lead.name())
        .filter(|host| swarm(host).is_manager);
    let addresses: Vec<String> = std::iter::once(lead)
        .chain(others)
        .map(|host| format!("{}:{MANAGER_PORT}", host.private))
        .collect();
    // Managers join one after the other: each changes the quorum.
    let mut previous: Option<StepId> = None;
    for host in joining {
        let role = match managers.contains(host.name()) {
            true => SwarmRole::Manager,
            false => SwarmRole::Worker,
        };
        let turn = previous.filter(|_| role == SwarmRole::Manager);
        // What its keeper needs comes while it waits for the swarm, and for its turn.
        keeper::get_image(world, host, steps);
        // Managers that have a guard let it in first, also where it gets none of its own.
        let doors = doors.get(host.name()).map_or(&[][..], Vec::as_slice);
        let taken = join_one(host, role, &addresses, (tokens, turn, doors), steps);
        if role == SwarmRole::Manager {
            previous = Some(taken);
        }
    }
    Some(lead.name().clone())
}

/// Starts a swarm with its first manager.
fn begin(
    world: &World<'_>,
    lead: &HostWorld<'_>,
    managers: &[HostName],
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    let names: Vec<&str> = managers.iter().map(HostName::as_str).collect();
    notes.push(match names[..] {
        [only] => format!(
            "the swarm has one manager, {only}: without it running containers go on, and nothing can be changed"
        ),
        _ => format!(
            "the swarm has {} managers ({}): it tolerates the loss of {}",
            names.len(),
            names.join(", "),
            names.len() / 2
        ),
    });
    if let Some(silent) = world.silent() {
        notes.push(format!("{silent}: if it is in a swarm of this cluster already, this begins a second one; bring it back first, or take it out of the inventory"));
    }
    let call = EngineCall::InitSwarm {
        force_new_cluster: false,
        address: lead.private,
        address_pool: pool(world, notes).map(|pool| pool.to_string()),
        data_path_port: world.inventory.swarm.data_path_port,
    };
    let why = format!(
        "start a swarm with {} as its first manager, at {}",
        lead.name(),
        lead.private
    );
    steps.add(lead.name(), Stage::Swarm, why, Action::Engine(call));
}

/// Joins a host, after the tokens are there, it is its turn, and the others let it in. Returns the step after which it is a node.
fn join_one(
    host: &HostWorld<'_>,
    role: SwarmRole,
    managers: &[String],
    (tokens, turn, doors): (StepId, Option<StepId>, &[StepId]),
    steps: &mut Steps,
) -> StepId {
    let name = host.name();
    let role_name = match role {
        SwarmRole::Manager => "manager",
        SwarmRole::Worker => "worker",
    };
    let why = format!("join the swarm as a {role_name}, at {}", host.private);
    let action = Action::JoinSwarm {
        role,
        managers: managers.to_vec(),
        address: host.private,
    };
    let id = steps.add_after(name, Stage::Swarm, why, action, vec![tokens]);
    if let Some(turn) = turn {
        steps.await_turn(id, &[turn]);
    }
    steps.require(id, doors);
    let action = Action::wait(
        "the node is active in the swarm",
        &[
            "docker",
            "info",
            "--format",
            "state={{.Swarm.LocalNodeState}} manager={{.Swarm.ControlAvailable}} {{.Swarm.Error}}",
        ],
        [format!(
            "state=active manager={}",
            role == SwarmRole::Manager
        )],
        JOIN_DEADLINE,
    );
    steps.add(
        name,
        Stage::Swarm,
        "wait until the swarm has taken it",
        action,
    )
}

/// Roles and labels of nodes, set on a manager. Nobody is demoted unless the inventory names or counts the managers.
pub(super) fn roles_and_labels(
    world: &World<'_>,
    steps: &mut Steps,
    managers: &[HostName],
    lead: &HostName,
) {
    let explicit = world.inventory.swarm.managers != Members::BySize;
    let nodes = world
        .host(lead)
        .map(|host| host.facts.nodes.clone())
        .unwrap_or_default();
    let joined = steps.last_of_each();
    let joined_managers: Vec<StepId> = managers
        .iter()
        .filter_map(|host| steps.last_of(host))
        .collect();
    // Promotions before demotions: the quorum grows before it shrinks. The manager through which all this goes is the last.
    let mut hosts: Vec<&HostWorld<'_>> = world.hosts.iter().collect();
    hosts.sort_by_key(|host| (!managers.contains(host.name()), host.name() == lead));
    for host in hosts {
        let node = node_of(host, &nodes);
        let labels: BTreeMap<String, String> = host
            .spec
            .labels
            .iter()
            .filter(|(key, value)| node.and_then(|node| node.labels.get(*key)) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let should_manage = managers.contains(host.name());
        let role = match node {
            Some(node) if should_manage && !node.is_manager => Some(SwarmRole::Manager),
            Some(node) if !should_manage && node.is_manager && explicit => Some(SwarmRole::Worker),
            _ => None,
        };
        if labels.is_empty() && role.is_none() {
            continue;
        }
        let what = match role {
            Some(SwarmRole::Manager) => format!("promote {} to a manager", host.name()),
            Some(SwarmRole::Worker) => format!("demote {} to a worker", host.name()),
            None => format!(
                "label the node {}: {}",
                host.name(),
                labels
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        let call = EngineCall::UpdateNode(NodeUpdate {
            node: host.facts.hostname.clone(),
            labels,
            role,
            drain: false,
        });
        let id = steps.add(lead, Stage::Swarm, what, Action::Engine(call));
        steps.about(id, host.name());
        steps.follow(id, &joined);
        if role == Some(SwarmRole::Worker) {
            steps.require(id, &joined_managers);
        }
    }
}
