//! Looks at what lies below a pair that fails: fresh facts, the state of each host, and the ways between them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::links;
use crate::engines;
use crate::fabrics::{self, Fabric};
use crate::facts::{self, Facts};
use crate::host::{Command, Connection, Hosts};
use crate::inventory::{HostName, Inventory};
use crate::plan::{HostWorld, World};
use crate::probe;
use crate::proof::causes::{IN_A_SWARM, OVER_A_STORE, OVERLAYS, STANDING};
use crate::proof::{Cause, HostView, Ill, Known, StoreView};
use crate::stores::consul;
use crate::underlays;

const HOST_CHECKS: &str = concat!(
    include_str!("../../templates/verify/engine.sh"),
    include_str!("../../templates/verify/neighbours.sh"),
    include_str!("../../templates/verify/host.sh")
);

/// What a host said, by the name of the file that `--evidence` keeps it in.
pub type Reports = BTreeMap<(HostName, &'static str), String>;

/// The facts of these hosts; those that cannot tell are missing.
pub async fn facts(hosts: &Hosts) -> Vec<(HostName, Facts)> {
    let asked = hosts.iter().map(|(name, host)| async move {
        (name.clone(), probe::gather(host, facts::Scope::Usual).await)
    });
    let told = futures_util::future::join_all(asked).await;
    told.into_iter()
        .filter_map(|(name, facts)| Some((name, facts.ok()?)))
        .collect()
}

/// Where the hosts reach each other, by their own word; those that cannot tell are missing.
pub async fn private_addresses(inventory: &Inventory, hosts: &Hosts) -> BTreeMap<HostName, IpAddr> {
    let facts = facts(hosts).await;
    let world = World::new(inventory, &facts, Vec::new());
    world
        .hosts
        .iter()
        .map(|host| (host.name().clone(), host.private))
        .collect()
}

/// The rows for a cluster whose fabric cannot be told: those of all that `auto` may come to.
const ANY_FABRIC: &[&[Cause]] = &[OVER_A_STORE, consul::CAUSES, IN_A_SWARM, STANDING, OVERLAYS];

/// Looks at these hosts. `ill` are those whose probe did not work.
pub async fn examine(
    inventory: &Inventory,
    hosts: &Hosts,
    ill: &BTreeMap<HostName, Ill>,
    reports: &mut Reports,
) -> Known {
    // The facts ask engines, and would start one that is stopped.
    let awake = hosts
        .iter()
        .filter(|(name, _)| ill.get(*name) != Some(&Ill::Stopped));
    let gathered = awake.map(|(name, host)| async move {
        (name.clone(), probe::gather(host, facts::Scope::Usual).await)
    });
    let mut all: Vec<(HostName, Facts)> = Vec::new();
    let mut views: BTreeMap<HostName, HostView> = BTreeMap::new();
    for (name, result) in futures_util::future::join_all(gathered).await {
        match result {
            Ok(facts) => all.push((name, facts)),
            Err(error) => {
                let ill = Ill::Unreached {
                    error: error.to_string(),
                    hint: String::new(),
                };
                let view = HostView {
                    ill: Some(ill),
                    ..HostView::default()
                };
                views.insert(name, view);
            }
        }
    }
    let world = World::new(inventory, &all, Vec::new());
    let chosen = fabrics::choose(&world);
    let fabric = fabrics::fabric(chosen.kind);
    let needs = fabric
        .map(|fabric| fabric.needs(&world))
        .unwrap_or_default();
    let rows = fabric.map_or(ANY_FABRIC, Fabric::causes);
    for host in &world.hosts {
        views.insert(host.name().clone(), view(&world, host));
    }
    for (name, ill) in ill {
        views.entry(name.clone()).or_default().ill = Some(ill.clone());
    }
    let addresses: BTreeMap<HostName, IpAddr> = world
        .hosts
        .iter()
        .filter(|host| host.private.is_ipv4())
        .map(|host| (host.name().clone(), host.private))
        .collect();
    let checks = addresses
        .iter()
        .filter_map(|(name, address)| Some((name, address, hosts.get(name)?)));
    let checks = futures_util::future::join_all(checks.map(|(name, address, host)| async move {
        (name, checks_of(host, *address, inventory).await)
    }));
    let (checks, links) = tokio::join!(checks, links::examine(hosts, &addresses, &needs));
    for (name, text) in checks {
        if let Some(view) = views.get_mut(name) {
            for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
                view.checks
                    .entry(key.to_owned())
                    .or_default()
                    .push(value.to_owned());
            }
        }
        reports.insert((name.clone(), "host.txt"), text);
    }
    for (name, report) in &links.reports {
        reports.insert((name.clone(), "links.txt"), report.clone());
    }
    for (name, error) in links.failed {
        views.entry(name).or_default().agent_failed = Some(error);
    }
    Known {
        hosts: views,
        links: links.links,
        needs,
        rows,
        under: underlays::of(inventory).causes(),
        ..Known::default()
    }
}

async fn checks_of(host: &Connection, address: IpAddr, inventory: &Inventory) -> String {
    let args = [address.to_string(), fabrics::probes(inventory).network];
    match host.run(&Command::script(HOST_CHECKS, args)).await {
        Ok(output) => output.stdout_text(),
        Err(error) => format!("error {error}\n"),
    }
}

/// What of a host's facts matters to its pairs.
fn view(world: &World<'_>, host: &HostWorld<'_>) -> HostView {
    let (facts, inventory) = (host.facts, world.inventory);
    let peers: Vec<IpAddr> = world
        .others(host.name())
        .map(|other| other.private)
        .collect();
    let engine = facts.engine.as_ref();
    let swarm = engine.map(facts::Engine::swarm).unwrap_or_default();
    let store = consul::is_server(facts).map(|_| StoreView {
        runs: facts
            .units
            .get(consul::UNIT)
            .is_some_and(|unit| unit.active == "active"),
        ready: facts.store.ready,
        error: facts.store.error.clone(),
        lost: facts
            .store
            .members
            .iter()
            .filter(|(_, status)| status == "failed")
            .map(|(name, _)| name.clone())
            .collect(),
    });
    HostView {
        ill: None,
        private: Some(host.private),
        through_sudo: facts.through_sudo,
        hostname: facts.hostname.clone(),
        engine_missing: engine.is_none(),
        engine_up: Some(engine.is_some_and(facts::Engine::is_up)),
        advertised: advertised(facts, &swarm),
        has_network: engine.is_some_and(|engine| {
            engine
                .network(&fabrics::probes(inventory).network)
                .is_some()
        }),
        // The engine lists no network while its store does not answer: that is the store's fault, which comes first.
        needs_network: !swarm.is_member() || swarm.is_manager,
        store,
        swarm_error: swarm_error(&swarm),
        clock_offset: facts.clock_offset,
        probe_mac: String::new(),
        probe_address: None,
        unlisted: Vec::new(),
        engine_version: engine.and_then(|engine| engine.version.clone()),
        socket_gone: facts.socket_gone(),
        engine_state: facts
            .unit(engines::UNIT)
            .map(|unit| unit.active.clone())
            .unwrap_or_default(),
        firewall: facts.firewall.clone(),
        interface: host.interface.map(str::to_owned),
        sources: fabrics::firewall::sources(host, &peers),
        listens: facts.tcp.iter().map(|(_, port)| *port).collect(),
        neighbours_refused: 0,
        sources_refused: 0,
        addresses: engine
            .map(|engine| engine.addresses_on(&fabrics::probes(inventory).network))
            .unwrap_or_default(),
        links_wrong: facts
            .links
            .iter()
            .flat_map(|links| links.wrong.iter().cloned())
            .collect(),
        mesh: underlays::wireguard::view(world, host),
        checks: BTreeMap::new(),
        agent_failed: None,
    }
}

/// What the engine says of its swarm, if not all is well: an error, or a state in which it waits for something.
fn swarm_error(swarm: &facts::Swarm) -> Option<String> {
    match (
        swarm.is_member(),
        swarm.error.as_str(),
        swarm.state.as_str(),
    ) {
        (false, _, _) | (true, "", "active") => None,
        (true, "", state) => Some(format!("its state is {state}")),
        (true, error, _) => Some(error.to_owned()),
    }
}

/// The address that the engine tells the others: an address, or an interface's.
fn advertised(facts: &Facts, swarm: &facts::Swarm) -> Option<(String, Option<String>)> {
    let address = if swarm.is_member() {
        swarm.node_address.clone()
    } else {
        let text = facts.engine.as_ref()?.info_str("ClusterAdvertise")?;
        let (name, _) = text.rsplit_once(':')?;
        facts
            .ipv4_of(name)
            .map_or_else(|| name.to_owned(), |ip| ip.to_string())
    };
    if address.is_empty() {
        return None;
    }
    let interface = address
        .parse()
        .ok()
        .and_then(|ip: IpAddr| facts.interface_with(ip))
        .map(str::to_owned);
    Some((address, interface))
}
