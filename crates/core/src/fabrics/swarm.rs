//! Swarm mode: an attachable overlay whose control plane is in the engines themselves; any engine from 1.12 on, and the only
//! overlay of engines from 23 on.

mod joining;
mod leaving;

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::{
    About, Asks, Encryption, Fabric, GOSSIP_PORT, Layer, MTU_OPTION, Names, OVERLAY_MODULES,
    SubnetOf, VXLAN_TAKES, firewall, gateway_bridge, guard, keeper, network_problems,
    overlay_listens, too_long_for, vxlan_needs,
};
use crate::engines::known::{self, Fault};
use crate::engines::{options, unit};
use crate::facts::firewall::Traffic;
use crate::facts::{Module, Node, Swarm};
use crate::inventory::{HostName, Members, overlap, quorum_size};
use crate::plan::{
    Action, EngineCall, HostWorld, NewNetwork, Problem, Stage, StepId, Steps, World,
};
use crate::proof::causes;
use crate::proof::{Cause, Needs};
use crate::record::NODE_LINE;

use joining::{join, roles_and_labels};
pub use leaving::removal;
use leaving::{gone, recover, remove_gone};
pub(crate) use leaving::{leave, wait_until_worker};

/// TCP port of the managers. It cannot be changed.
const MANAGER_PORT: u16 = 2377;

/// How long a node may take to join. The engine's own limit is 20, after which it goes on in the background.
const JOIN_DEADLINE: Duration = Duration::from_secs(120);

/// How long tasks may take to move, a manager to be demoted, a node to leave. Containers that ignore their signal take
/// ten each, and a new manager quorum is found within a few.
const LEAVE_DEADLINE: Duration = Duration::from_secs(120);

/// Label of the containers of services.
pub(crate) const TASK_LABEL: &str = "com.docker.swarm.task";

/// How long a network may take to be known to every manager.
const NETWORK_DEADLINE: Duration = Duration::from_secs(60);

/// Swarm mode.
pub struct SwarmMode;

/// Whether a host's engine is in a swarm.
pub(crate) fn is_member(host: &HostWorld<'_>) -> bool {
    swarm(host).is_member() || sleeps(host)
}

/// Whether a host's engine is stopped and is in a swarm, by the certificate that it keeps: what the swarm has is not known from it.
fn sleeps(host: &HostWorld<'_>) -> bool {
    let is_stopped = host
        .facts
        .engine
        .as_ref()
        .is_some_and(|engine| !engine.is_up());
    is_stopped && host.facts.swarm_cluster.is_some()
}

/// Whether a host's engine is a manager that can reach a quorum.
pub(crate) fn is_manager(host: &HostWorld<'_>) -> bool {
    swarm(host).is_manager
}

/// The manager that everything goes through: one that is, or the first that will be.
pub(crate) fn lead(world: &World<'_>) -> Option<HostName> {
    let present = world.hosts.iter().find(|host| swarm(host).is_manager);
    let managers = wanted_managers(world);
    present
        .or_else(|| {
            world
                .hosts
                .iter()
                .find(|host| managers.contains(host.name()))
        })
        .map(|host| host.name().clone())
}

/// The hosts whose mesh is not as it should be, where no manager of their swarm has a quorum: it may be for that alone.
fn cut_off<'a>(world: &'a World<'_>) -> Vec<&'a str> {
    let is_member = world.hosts.iter().any(|host| swarm(host).is_member());
    if !is_member || cluster_id(world).is_some() || world.recover_quorum {
        return Vec::new();
    }
    let torn = world.hosts.iter().filter(|host| host.facts.mesh_is_torn());
    torn.map(|host| host.name().as_str()).collect()
}

fn swarm(host: &HostWorld<'_>) -> Swarm {
    host.facts
        .engine
        .as_ref()
        .map(crate::facts::Engine::swarm)
        .unwrap_or_default()
}

/// The swarm that the inventory's hosts form, if they do: that of its managers.
fn cluster_id(world: &World<'_>) -> Option<String> {
    world
        .hosts
        .iter()
        .map(|host| swarm(host))
        .find(|swarm| swarm.is_manager && !swarm.cluster_id.is_empty())
        .map(|swarm| swarm.cluster_id)
}

/// The managers that there should be: those that are, then hosts spread over the tags, then the first of the inventory.
fn wanted_managers(world: &World<'_>) -> Vec<HostName> {
    let spec = &world.inventory.swarm;
    let count = match &spec.managers {
        Members::Named(names) => return names.clone(),
        Members::Count(count) => *count,
        Members::BySize => quorum_size(world.inventory.hosts.len()),
    };
    let mut chosen: Vec<HostName> = world
        .hosts
        .iter()
        .filter(|host| swarm(host).is_manager)
        .map(|host| host.name().clone())
        .collect();
    // A manager that cannot be asked right now may still be one; one that is gone for good is not.
    let counted = world
        .hosts
        .iter()
        .map(|host| swarm(host).managers)
        .max()
        .unwrap_or(0) as usize;
    let lost = gone(world)
        .iter()
        .filter(|node| node.is_raft_member)
        .count();
    let elsewhere = counted.saturating_sub(lost);
    let count = count
        .saturating_sub(elsewhere.saturating_sub(chosen.len()))
        .max(chosen.len());
    let tag_counts = |host: &HostWorld<'_>, chosen: &[HostName]| {
        let shared = |tag| {
            chosen
                .iter()
                .filter(|name| {
                    world
                        .host(name)
                        .is_some_and(|other| other.spec.tags.contains(tag))
                })
                .count()
        };
        host.spec
            .tags
            .iter()
            .filter(|tag| spec.spread.contains(tag))
            .map(shared)
            .max()
            .unwrap_or(usize::from(!spec.spread.is_empty()) * count)
    };
    while chosen.len() < count {
        let free = world
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| !chosen.contains(host.name()));
        // The least represented tag first, then the order of the inventory.
        let Some((_, next)) = free.min_by_key(|(at, host)| (tag_counts(host, &chosen), *at)) else {
            break;
        };
        chosen.push(next.name().clone());
    }
    if chosen.len().is_multiple_of(2) && !world.hosts.iter().any(|host| swarm(host).is_manager) {
        chosen.pop();
    }
    chosen
}

impl Fabric for SwarmMode {
    fn about(&self) -> About {
        About {
            title: "swarm-mode overlay",
            layer: Layer::Two,
            names: Names::Everywhere,
            encryption: Encryption::OnDemand,
            disturbs: "nothing",
            overhead: VXLAN_TAKES,
        }
    }

    fn asks(&self) -> Asks {
        Asks {
            modules: OVERLAY_MODULES,
            subnet: SubnetOf::Cluster,
        }
    }

    fn leaves(&self, world: &World<'_>, host: &HostWorld<'_>) -> Vec<String> {
        let mut lines: Vec<String> = gateway_bridge(host).into_iter().collect();
        // Also of a stopped engine: its certificate would tell, unless a flag may have moved its folder.
        let is_known = host
            .facts
            .engine
            .as_ref()
            .is_none_or(crate::facts::Engine::is_up);
        if (is_known || unit::flag(host.facts, "data-root").is_none()) && !is_member(host) {
            lines.push("swarm".to_owned());
        }
        lines.extend(nodes_to_remember(world, host));
        lines
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[
            causes::IN_A_SWARM,
            causes::STANDING,
            causes::OVERLAYS,
            guard::ROWS,
        ]
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let ours = cluster_id(world);
        for host in &world.hosts {
            let swarm = swarm(host);
            if options::uses_store(host) {
                problems.push(Problem::on(
                    host.name(),
                    "its engine is set up for an overlay over a store (`cluster-store`), which excludes swarm mode",
                    "move the cluster with `docker-cluster migrate`",
                ));
            }
            problems.extend(excluded(host));
            membership(host, &swarm, ours.as_deref(), &mut problems);
            options::problems(host, &world.inventory.engine.options, &mut problems);
            if !swarm.is_member() && !options::uses_store(host) {
                ports(world, host, &mut problems);
            }
            if world.inventory.network.encrypted
                && host.facts.modules.get("esp4") == Some(&Module::Missing)
            {
                problems.push(Problem::on(
                    host.name(),
                    format!(
                        "its kernel {} has no esp4 module, which encrypted traffic needs",
                        host.facts.kernel_text
                    ),
                    "use a kernel with IPsec (INET_ESP), or remove `network.encrypted`",
                ));
            }
            network_problems(world, host, "swarm", &mut problems);
        }
        problems.extend(excluded_by_inventory(world));
        problems.extend(fixed_at_the_start(world));
        // With managers that are stopped nothing is known of a quorum; they are started first. A mesh comes first as well.
        if world.hosts.iter().any(sleeps) || !cut_off(world).is_empty() {
            return problems;
        }
        if ours.is_none()
            && !world.recover_quorum
            && world.hosts.iter().any(|host| swarm(host).is_member())
        {
            let members = world.hosts.iter().filter(|host| swarm(host).is_member());
            let names: Vec<&str> = members.map(|host| host.name().as_str()).collect();
            problems.push(Problem::of_all(
                format!("{} are in a swarm, but no manager of it has a quorum", names.join(", ")),
                "bring its managers back; if they are gone for good, `up --recover-quorum` goes on with what one of the present ones knows",
            ));
        }
        let named = wanted_managers(world);
        if ours.is_none()
            && !world.hosts.is_empty()
            && !named.iter().any(|name| world.host(name).is_some())
        {
            let names: Vec<&str> = named.iter().map(HostName::as_str).collect();
            problems.push(Problem::of_all(
                format!(
                    "no quorum is possible: no host answers that is to be a manager ({})",
                    names.join(", ")
                ),
                "bring one back, or name others in `swarm.managers`",
            ));
        }
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        known_faults(world, notes);
        let asleep: Vec<&str> = world
            .hosts
            .iter()
            .filter(|host| sleeps(host))
            .map(|host| host.name().as_str())
            .collect();
        if !asleep.is_empty() {
            notes.push(format!(
                "{}: stopped, and in a swarm. What else is to be done shows when they run: run `up` again",
                asleep.join(", ")
            ));
            return;
        }
        let torn = cut_off(world);
        if !torn.is_empty() {
            notes.push(format!(
                "no manager of the swarm has a quorum, and the mesh that carries it is not whole: {}. It is mended first, and what else is to be done \
                 shows then: run `up` again",
                torn.join(", ")
            ));
            return;
        }
        too_long_for(world, notes);
        if world.recover_quorum && cluster_id(world).is_none() {
            recover(world, steps, notes);
            return;
        }
        let known = form(world, steps, notes);
        // An engine says once, to those that are in the swarm by then, that it is on the network: who joins meanwhile may hear of it in the
        // next sync of all that engines know, half a minute later, and nothing reaches it until then.
        let joined = steps.last_of_each();
        for keeper in keeper::keep(world, steps, &known, |_| true) {
            steps.follow(keeper, &joined);
        }
        // Where nothing is to be done the packets find their way already.
        if steps.next_id() > 0 {
            let managers = wanted_managers(world);
            let more = |host: &HostWorld<'_>| match managers.contains(host.name()) {
                true => vec![Traffic::Tcp(MANAGER_PORT)],
                false => Vec::new(),
            };
            firewall::notes(world, &self.needs(world), more, notes);
        }
    }

    fn listens(&self, world: &World<'_>) -> Vec<Traffic> {
        let mut all = overlay_listens(world.inventory.swarm.data_path_port);
        all.push(Traffic::Tcp(MANAGER_PORT));
        all
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        let port = world.inventory.swarm.data_path_port;
        vxlan_needs(world, port, |host| match swarm(host).is_manager {
            true => vec![(MANAGER_PORT, "the swarm's managers")],
            false => Vec::new(),
        })
    }
}

/// Gives engines the inventory's options, and makes them a swarm that has the network. Returns what shows that, if it is still to come.
pub(crate) fn form(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) -> Vec<StepId> {
    options::of_inventory(world, steps, notes);
    // Before the engines open the ports.
    let doors = guard::put(world, &guarded(world), &others(world), steps, notes);
    let managers = wanted_managers(world);
    let Some(lead) = join(world, steps, notes, &managers, &doors) else {
        return Vec::new();
    };
    remove_gone(world, steps, notes, &lead);
    // Before the roles: the manager that makes it may be demoted.
    let known = network(world, steps, &lead);
    roles_and_labels(world, steps, &managers, &lead);
    known.into_iter().collect()
}

/// The ports that engines open on all addresses. The managers' own is closed on every host: who is one may change at any time.
fn guarded(world: &World<'_>) -> [Traffic; 4] {
    [
        Traffic::Udp(world.inventory.swarm.data_path_port),
        Traffic::Tcp(GOSSIP_PORT),
        Traffic::Udp(GOSSIP_PORT),
        Traffic::Tcp(MANAGER_PORT),
    ]
}

/// The nodes of the swarm, whose ever they are, by the word of its managers.
fn others(world: &World<'_>) -> guard::Others {
    let gone = gone(world);
    let mut others = guard::Others::default();
    let nodes = world.hosts.iter().flat_map(|host| &host.facts.nodes);
    for node in nodes.filter(|node| !gone.iter().any(|one| one.id == node.id)) {
        let name = node.hostname.clone();
        if node.addresses.is_empty() && !is_host(world, node) {
            others.unknown = Some(guard::Unknown::Yet(format!(
                "the swarm does not tell where its node {name} sends from, which is not among the hosts that answer"
            )));
        }
        let from = node.addresses.iter().map(|from| (*from, name.clone()));
        others.known.extend(from);
    }
    others
}

/// Faults of the hosts' engines that matter to what is wanted of them, each once.
fn known_faults(world: &World<'_>, notes: &mut Vec<String>) {
    let mut found: Vec<(Fault, Vec<String>)> = Vec::new();
    for host in &world.hosts {
        let Some(engine) = &host.engine else { continue };
        for fault in known::faults(&engine.version, world.inventory.network.encrypted) {
            let name = format!("{} ({})", host.name(), engine.version);
            match found.iter_mut().find(|(other, _)| other.id == fault.id) {
                Some((_, hosts)) => hosts.push(name),
                None => found.push((fault, vec![name])),
            }
        }
    }
    notes.extend(
        found
            .into_iter()
            .map(|(fault, hosts)| format!("{}: {}; {}", hosts.join(", "), fault.what, fault.fix)),
    );
}

/// Options of a host's engine that exclude swarm mode.
pub(crate) fn excluded(host: &HostWorld<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(source) = options::switched_on(host, "live-restore") {
        problems.push(Problem::on(
            host.name(),
            format!("its engine has `live-restore` on ({source}), which excludes swarm mode"),
            format!("remove `live-restore` from {source} there"),
        ));
    }
    let backend = options::present(host)
        .get("firewall-backend")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let by_flag = || unit::flag(host.facts, "firewall-backend").and_then(|flag| flag.value);
    if backend.or_else(by_flag).as_deref() == Some("nftables") {
        problems.push(Problem::on(
            host.name(),
            "its engine has `firewall-backend: nftables`, with which engine 29 refuses swarm mode",
            "remove `firewall-backend` there: the engine then takes iptables",
        ));
    }
    problems
}

/// The same in the inventory.
fn excluded_by_inventory(world: &World<'_>) -> Vec<Problem> {
    let options = &world.inventory.engine.options;
    let excludes = |key: &str, value: &Value| options.get(key) == Some(value);
    [
        ("live-restore", Value::Bool(true)),
        ("firewall-backend", Value::from("nftables")),
    ]
    .into_iter()
    .filter(|(key, value)| excludes(key, value))
    .map(|(key, value)| {
        Problem::of_all(
            format!(
                "`engine.options` has `{key}: {}`, which excludes swarm mode",
                value.to_string().trim_matches('"')
            ),
            format!("remove `{key}` from the inventory"),
        )
    })
    .collect()
}

/// What a swarm is given when it begins and keeps.
fn fixed_at_the_start(world: &World<'_>) -> Vec<Problem> {
    let spec = &world.inventory.swarm;
    let managers = world.hosts.iter().filter(|host| swarm(host).is_manager);
    let mut problems = Vec::new();
    for host in managers {
        let swarm = swarm(host);
        // Engines before 19.03 have no choice and tell none.
        if swarm.data_path_port != 0 && swarm.data_path_port != u64::from(spec.data_path_port) {
            problems.push(Problem::on(
                host.name(),
                format!(
                    "its swarm sends its data over UDP {}, and the inventory wants {}; a swarm keeps the port that it began with",
                    swarm.data_path_port, spec.data_path_port
                ),
                format!("say `swarm: {{data_path_port: {}}}`, or take the cluster down and bring it up again", swarm.data_path_port),
            ));
        }
        if let Some(wanted) = spec.address_pool
            && !swarm.address_pools.is_empty()
            && !swarm.address_pools.contains(&wanted)
        {
            let found: Vec<String> = swarm
                .address_pools
                .iter()
                .map(ToString::to_string)
                .collect();
            problems.push(Problem::on(
                host.name(),
                format!(
                    "its swarm takes networks out of {}, and the inventory wants {wanted}; a swarm keeps the pool that it began with",
                    found.join(", ")
                ),
                format!("say `swarm: {{address_pool: {}}}`, or take the cluster down and bring it up again", found[0]),
            ));
        }
    }
    problems
}

/// The pool out of which swarm mode takes networks by itself, if nobody names one (swarmkit's `DefaultAddressPool`).
const DEFAULT_POOL: &str = "10.0.0.0/8";

/// Pools to take instead: rarely used, and large enough for 256 networks of 254 addresses.
fn other_pools() -> impl Iterator<Item = IpNet> {
    let each = |base: u8, from: u8, to: u8| {
        (from..=to).map(move |second| format!("{base}.{second}.0.0/16"))
    };
    each(10, 200, 254)
        .chain(each(172, 20, 31))
        .filter_map(|text| text.parse().ok())
}

/// The pool of a new swarm. Swarm mode does not look at the hosts' own networks: its first network, the ingress, is 10.0.0.0/24, and
/// where hosts are in that themselves, published ports cannot be reached from there (moby/moby#50011).
fn pool(world: &World<'_>, notes: &mut Vec<String>) -> Option<IpNet> {
    if let Some(pool) = world.inventory.swarm.address_pool {
        return Some(pool);
    }
    let default: IpNet = DEFAULT_POOL.parse().ok()?;
    let reaches = |host: &HostWorld<'_>| -> Vec<IpNet> {
        let routes = host
            .facts
            .routes
            .iter()
            .map(|route| route.to)
            .filter(|to| to.prefix_len() > 0);
        let bridges = host
            .facts
            .engine
            .iter()
            .flat_map(|engine| &engine.networks)
            .flat_map(|network| &network.subnets);
        routes
            .chain(
                host.facts
                    .addresses
                    .iter()
                    .map(|address| address.net.trunc()),
            )
            .chain(bridges.copied())
            .collect()
    };
    let taken: Vec<IpNet> = world.hosts.iter().flat_map(reaches).collect();
    let first = taken.iter().find(|net| overlap(net, &default))?;
    let is_free = |pool: &IpNet| {
        !overlap(pool, &world.inventory.network.subnet)
            && !taken.iter().any(|net| overlap(net, pool))
    };
    let pool = other_pools().find(is_free)?;
    notes.push(format!(
        "the swarm takes the networks that it makes by itself out of {pool}: hosts have {first}, which Docker's own choice, {DEFAULT_POOL}, would hide (`swarm.address_pool` chooses another)"
    ));
    Some(pool)
}

/// An ingress network that hides the hosts' own network: what is published there is not reached from it.
fn hidden_hosts(world: &World<'_>, notes: &mut Vec<String>) {
    let ingress = world
        .hosts
        .iter()
        .find_map(|host| host.facts.engine.as_ref()?.network("ingress"));
    let Some(subnet) = ingress.and_then(|ingress| ingress.subnets.first()) else {
        return;
    };
    if let Some(host) = world
        .hosts
        .iter()
        .find(|host| subnet.contains(&host.private))
    {
        notes.push(format!(
            "the swarm's ingress network has {subnet}, which holds {} of {} as well: ports of services are not reached from there; remove it (`docker network rm ingress`) and make it anew: `docker network create -d overlay --ingress --subnet ANOTHER ingress`",
            host.private,
            host.name()
        ));
    }
}

/// Lines of the record of a manager: the nodes that are hosts of the inventory. Only those may be removed when they are gone.
pub(crate) fn nodes_to_remember(world: &World<'_>, host: &HostWorld<'_>) -> Vec<String> {
    let keeps = swarm(host).is_manager || wanted_managers(world).contains(host.name());
    let hosts = world.hosts.iter().filter(|_| keeps);
    hosts
        .map(|host| format!("{NODE_LINE}{}", host.facts.hostname))
        .collect()
}

fn membership(
    host: &HostWorld<'_>,
    swarm: &Swarm,
    ours: Option<&str>,
    problems: &mut Vec<Problem>,
) {
    let theirs = host
        .facts
        .swarm_cluster
        .as_deref()
        .unwrap_or(&swarm.cluster_id);
    if let Some(ours) = ours
        && swarm.is_member()
        && !theirs.is_empty()
        && theirs != ours
    {
        problems.push(Problem::on(
            host.name(),
            format!("it is in another swarm: {theirs}, and the other hosts are in {ours}"),
            "take it out with `docker swarm leave` there if that is wanted; docker-cluster never takes a node over",
        ));
    }
    match swarm.state.as_str() {
        "locked" => problems.push(Problem::on(
            host.name(),
            "its swarm is locked",
            "unlock it with `docker swarm unlock` there",
        )),
        "error" => problems.push(Problem::on(
            host.name(),
            format!("its engine cannot take part in its swarm: {}", swarm.error),
            "look at `docker info` and `journalctl -u docker` there",
        )),
        _ => {}
    }
}

fn ports(world: &World<'_>, host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    let data_path_port = world.inventory.swarm.data_path_port;
    let taken = |set: &std::collections::BTreeSet<(std::net::IpAddr, u16)>, wanted: u16| {
        set.iter().any(|(_, port)| *port == wanted)
    };
    for (is_taken, protocol, port) in [
        (taken(&host.facts.tcp, MANAGER_PORT), "TCP", MANAGER_PORT),
        (taken(&host.facts.tcp, GOSSIP_PORT), "TCP", GOSSIP_PORT),
        (taken(&host.facts.udp, GOSSIP_PORT), "UDP", GOSSIP_PORT),
        (
            taken(&host.facts.udp, data_path_port),
            "UDP",
            data_path_port,
        ),
    ] {
        if is_taken {
            problems.push(Problem::on(
                host.name(),
                format!("{protocol} port {port} is taken, and swarm mode needs it"),
                format!("find the program with `ss -lnp 'sport = :{port}'` there and stop it; only the data path port can be another (`swarm.data_path_port`)"),
            ));
        }
    }
}

/// The node that a host's engine is: by its id, which it keeps when it gets another name.
fn node_of<'a>(host: &HostWorld<'_>, nodes: &'a [Node]) -> Option<&'a Node> {
    let id = swarm(host).node_id;
    let by_name = || {
        nodes
            .iter()
            .find(|node| node.hostname == host.facts.hostname && node.state != "down")
    };
    nodes
        .iter()
        .find(|node| !id.is_empty() && node.id == id)
        .or_else(by_name)
}

fn network(world: &World<'_>, steps: &mut Steps, lead: &HostName) -> Option<StepId> {
    let wanted = &world.inventory.network;
    let name = wanted.name.as_str();
    // Workers only know a network while a container of theirs is on it: managers are asked.
    let knows = |host: &HostWorld<'_>| {
        host.facts
            .engine
            .as_ref()
            .and_then(|engine| engine.network(name))
            .is_some()
    };
    if world
        .hosts
        .iter()
        .any(|host| swarm(host).is_manager && knows(host))
    {
        return None;
    }
    let mtu = world.underlay_mtu();
    let mut options = BTreeMap::from([(MTU_OPTION.to_owned(), mtu.to_string())]);
    if wanted.encrypted {
        options.insert("encrypted".to_owned(), String::new());
    }
    let call = EngineCall::CreateNetwork(NewNetwork {
        attachable: true,
        labels: BTreeMap::from([(
            "docker-cluster".to_owned(),
            world.inventory.cluster.to_string(),
        )]),
        ..NewNetwork::overlay(name, wanted.subnet, options)
    });
    let encrypted = if wanted.encrypted { ", encrypted" } else { "" };
    let why = format!(
        "create the attachable overlay network {name} with the subnet {} for an underlay of {mtu} bytes{encrypted}",
        wanted.subnet
    );
    steps.add(lead, Stage::Network, why, Action::Engine(call));
    let action = Action::wait(
        format!("the managers know the network {name}"),
        &[
            "docker",
            "network",
            "inspect",
            "--format",
            "{{.Scope}} {{range .IPAM.Config}}{{.Subnet}}{{end}}",
            name,
        ],
        ["swarm".to_owned(), wanted.subnet.to_string()],
        NETWORK_DEADLINE,
    );
    Some(steps.add(
        lead,
        Stage::Network,
        format!("check that the swarm knows the network {name}"),
        action,
    ))
}

/// Whether a node is a host of the inventory: by its name, or by its id, which it keeps when it gets another name.
fn is_host(world: &World<'_>, node: &Node) -> bool {
    let is_its = |host: &HostWorld<'_>| {
        host.facts.hostname == node.hostname || swarm(host).node_id == node.id
    };
    world.hosts.iter().any(is_its)
}
