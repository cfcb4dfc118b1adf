//! Fabrics: how containers on different hosts reach each other. One file each; adding one is a file, a variant of
//! [`FabricKind`] and an arm in [`fabric`].

mod bgp;
pub(crate) mod bridged;
pub(crate) mod docker0;
pub mod firewall;
pub(crate) mod guard;
pub(crate) mod keeper;
mod lan;
pub(crate) mod links;
mod macvlan;
mod nat;
mod openvswitch;
pub(crate) mod overlay;
mod routed;
mod shares;
pub mod standalone;
pub(crate) mod swarm;
mod vxlan;

pub use swarm::removal;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::engines::options;
use crate::facts::firewall::Traffic;
use crate::facts::{Engine, Network};
use crate::inventory::{FabricKind, Inventory, VXLAN_OVERHEAD};
use crate::plan::ETHERNET_MTU;
use crate::plan::{HostWorld, Problem, Steps, World};
use crate::proof::causes;
use crate::proof::{Asked, Cause, Needs, Probes, SIGN_OF_LIFE};
use crate::stores;
use crate::underlays;

/// TCP and UDP port of the gossip between engines. It cannot be changed.
const GOSSIP_PORT: u16 = 7946;

/// What a fabric is, for people who choose one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct About {
    /// What a plan calls it.
    pub title: &'static str,
    /// What its containers share.
    pub layer: Layer,
    /// Whether containers find each other by name.
    pub names: Names,
    /// Whether it can encrypt what goes between hosts.
    pub encryption: Encryption,
    /// What it restarts or moves on a host that has an engine.
    pub disturbs: &'static str,
    /// What it takes off each packet between hosts, in bytes.
    pub overhead: u32,
}

/// What containers on different hosts share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// One Ethernet segment.
    Two,
    /// Routes between addresses.
    Three,
    /// Nothing: each host publishes ports.
    Ports,
}

impl Layer {
    /// In words.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Two => "one layer 2",
            Self::Three => "routes",
            Self::Ports => "ports",
        }
    }
}

/// Where a container's name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// On every host.
    Everywhere,
    /// On its own host: others ask by address.
    OnItsHost,
}

impl Names {
    /// In words.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::OnItsHost => "on their host",
        }
    }
}

/// Whether a fabric can encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// If the inventory says so.
    OnDemand,
    /// Never.
    None,
}

impl Encryption {
    /// In words.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::OnDemand => "on demand",
            Self::None => "none",
        }
    }
}

/// What a fabric asks of every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asks {
    /// Modules of the kernel.
    pub modules: &'static [&'static str],
    /// Whose the network's subnet is.
    pub subnet: SubnetOf,
}

/// Whose a network's subnet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubnetOf {
    /// The cluster's own: a host must have no other route to it.
    Cluster,
    /// The network that the hosts are on.
    Lan,
    /// There is none.
    Nobody,
}

/// A way to connect hosts, and all that anybody needs to know of it. Synchronous and pure: it looks at the world and returns data.
pub trait Fabric: Sync {
    /// What it is and gives.
    fn about(&self) -> About;
    /// What it asks of every host.
    fn asks(&self) -> Asks;
    /// What forbids it here, found before anything is touched.
    fn problems(&self, world: &World<'_>) -> Vec<Problem>;
    /// The steps that are missing for it, and what a person should know.
    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>);
    /// Lines of the record of what it adds to a host beside files, for `down` to take away.
    fn leaves(&self, _: &World<'_>, _: &HostWorld<'_>) -> Vec<String> {
        Vec::new()
    }
    /// What it listens on at every address of a host, or on the one that others use, and that only hosts of the cluster are to reach:
    /// an underlay lets nobody else in there. The same for every host, whatever its role.
    fn listens(&self, _: &World<'_>) -> Vec<Traffic> {
        Vec::new()
    }
    /// The addresses of containers that are reached through a host, by its address for the others: what a mesh is to carry beside that.
    fn behind(&self, _: &World<'_>) -> Vec<(IpAddr, IpNet)> {
        Vec::new()
    }
    /// What it needs of the way between hosts, for `verify` to look at when a pair fails.
    fn needs(&self, world: &World<'_>) -> Needs;
    /// Who asks whom in a verification, and how: containers on the cluster's network, by address where names are known on their own host
    /// only.
    fn probes(&self, inventory: &Inventory) -> Probes {
        let asked = match self.about().names {
            Names::Everywhere => Asked::ByName,
            Names::OnItsHost => Asked::ByAddress,
        };
        Probes {
            network: inventory.network.of_containers().to_owned(),
            asked,
        }
    }
    /// Its rows of the table of causes, in their order.
    fn causes(&self) -> &'static [&'static [Cause]];
}

/// Port of SSH on the underlay, asked only for a sign of life: a refusal is one as well.
const SSH_PORT: u16 = 22;

/// What overlays listen on.
fn overlay_listens(vxlan_port: u16) -> Vec<Traffic> {
    vec![
        Traffic::Udp(vxlan_port),
        Traffic::Udp(GOSSIP_PORT),
        Traffic::Tcp(GOSSIP_PORT),
    ]
}

/// What every fabric over VXLAN needs. `ports` gives the TCP ports of a host beside the gossip's.
fn vxlan_needs(
    world: &World<'_>,
    vxlan_port: u16,
    ports: impl Fn(&HostWorld<'_>) -> Vec<(u16, &'static str)>,
) -> Needs {
    let each = world.hosts.iter().map(|host| {
        let mut all = vec![
            (SSH_PORT, SIGN_OF_LIFE),
            (GOSSIP_PORT, "the gossip of the engines"),
        ];
        all.extend(ports(host));
        (host.name().clone(), all)
    });
    Needs {
        network: world.inventory.network.name.to_string(),
        tunnel: Some(vxlan_port),
        gossip: Some(GOSSIP_PORT),
        encrypted: world.inventory.network.encrypted,
        mtu: world.underlay_mtu(),
        ports: each.collect(),
    }
}

/// The fabric of a kind; none for `auto`, which [`choose`] resolves.
#[must_use]
pub fn fabric(kind: FabricKind) -> Option<&'static dyn Fabric> {
    match kind {
        FabricKind::Auto => None,
        FabricKind::Overlay => Some(&overlay::Overlay),
        FabricKind::Swarm => Some(&swarm::SwarmMode),
        FabricKind::Nat => Some(&nat::Nat),
        FabricKind::Routed => Some(&routed::Routed),
        FabricKind::Vxlan => Some(&vxlan::Vxlan),
        FabricKind::Macvlan => Some(&macvlan::Macvlan),
        FabricKind::Bridged => Some(&bridged::Bridged),
        FabricKind::Bgp => Some(&bgp::Bgp),
        FabricKind::Openvswitch => Some(&openvswitch::OpenVswitch),
    }
}

/// All that can be named in an inventory.
pub const ALL: &[FabricKind] = &[
    FabricKind::Overlay,
    FabricKind::Swarm,
    FabricKind::Nat,
    FabricKind::Routed,
    FabricKind::Vxlan,
    FabricKind::Macvlan,
    FabricKind::Bridged,
    FabricKind::Bgp,
    FabricKind::Openvswitch,
];

/// How a cluster is proved. Which overlay `auto` comes to makes no difference to that, so that no host need be asked first.
#[must_use]
pub fn probes(inventory: &Inventory) -> Probes {
    let kind = inventory.network.fabric;
    let by_name = || Probes {
        network: inventory.network.name.to_string(),
        asked: Asked::ByName,
    };
    fabric(kind).map_or_else(by_name, |fabric| fabric.probes(inventory))
}

/// Every row of the tables of causes of all fabrics and underlays, each once.
#[must_use]
pub fn all_causes() -> Vec<&'static Cause> {
    let mut all: Vec<&'static Cause> = Vec::new();
    for cause in ALL
        .iter()
        .filter_map(|kind| fabric(*kind))
        .flat_map(|fabric| causes::table(underlays::all_causes(), fabric.causes()))
    {
        if !all.iter().any(|known| known.id == cause.id) {
            all.push(cause);
        }
    }
    all
}

/// The bridge that engines make for containers of an overlay, beside it.
pub(crate) const GATEWAY_BRIDGE: &str = "docker_gwbridge";

/// What overlays add to an engine beside their network. What a stopped engine has is not known, and so not claimed: `down` would take it away.
pub(crate) fn gateway_bridge(host: &HostWorld<'_>) -> Option<String> {
    let engine = host.facts.engine.as_ref();
    let is_known = engine.is_none_or(Engine::is_up);
    let is_there = engine
        .and_then(|engine| engine.network(GATEWAY_BRIDGE))
        .is_some();
    (is_known && !is_there).then(|| format!("network {GATEWAY_BRIDGE}"))
}

/// Modules that overlays need of a kernel.
const OVERLAY_MODULES: &[&str] = &["vxlan", "bridge", "veth", "br_netfilter"];

/// A fabric that was chosen, and why.
#[derive(Debug)]
pub struct Chosen {
    /// The fabric; `auto` if none is possible.
    pub kind: FabricKind,
    /// Why, as a sentence.
    pub reason: String,
    /// Why none is possible.
    pub problems: Vec<Problem>,
}

/// Resolves `auto` by what the engines can do.
#[must_use]
pub fn choose(world: &World<'_>) -> Chosen {
    let wanted = world.inventory.network.fabric;
    let backend = stores::of(world).backend(world);
    let chosen = |kind, reason: String| Chosen {
        kind,
        reason,
        problems: Vec::new(),
    };
    match wanted {
        FabricKind::Auto => {}
        _ => return chosen(wanted, "the inventory says so".to_owned()),
    }
    if world.hosts.is_empty() {
        return Chosen {
            kind: FabricKind::Auto,
            reason: "no host can be asked what its engine can do".to_owned(),
            problems: Vec::new(),
        };
    }
    if world.hosts.iter().all(|host| host.engine.is_none()) {
        return Chosen {
            kind: FabricKind::Auto,
            reason: "no host has an engine that is understood, or a way to get one".to_owned(),
            problems: Vec::new(),
        };
    }
    let members: Vec<&HostWorld<'_>> = world
        .hosts
        .iter()
        .filter(|host| swarm::is_member(host))
        .collect();
    if !members.is_empty() && !world.hosts.iter().any(options::uses_store) {
        let are = if members.len() == 1 { "is" } else { "are" };
        return chosen(
            FabricKind::Swarm,
            format!("{} {are} in swarm mode already", listed(&members)),
        );
    }
    let without: Vec<(&HostWorld<'_>, String)> = world
        .hosts
        .iter()
        .filter_map(|host| Some((host, no_classic_overlay(host, backend)?)))
        .collect();
    if without.is_empty() && !world.inventory.network.encrypted {
        return chosen(
            FabricKind::Overlay,
            format!("every engine has the {backend} backend of the classic overlay"),
        );
    }
    let held: Vec<&HostWorld<'_>> = world
        .hosts
        .iter()
        .filter(|host| options::uses_store(host))
        .collect();
    if held.is_empty() {
        if without.is_empty() {
            return chosen(
                FabricKind::Swarm,
                "encrypted traffic needs swarm mode".to_owned(),
            );
        }
        return chosen(FabricKind::Swarm, host_by_host(world, &without));
    }
    // Some can only do one, some are set up for the other.
    let names = |hosts: &mut dyn Iterator<Item = String>| hosts.collect::<Vec<_>>().join(", ");
    let modern = names(
        &mut without
            .iter()
            .map(|(host, why)| format!("{} ({why})", host.name())),
    );
    let classic = names(&mut held.iter().map(|host| host.name().to_string()));
    let problem = Problem::of_all(
        format!(
            "these hosts cannot share one fabric: {classic} run a classic overlay over a store, which excludes swarm mode; {modern}"
        ),
        "move the old hosts with `docker-cluster migrate`, or take the new ones out of this inventory, or give them an engine 20.10 with the backend",
    );
    Chosen {
        kind: FabricKind::Auto,
        reason: "no fabric fits all hosts".to_owned(),
        problems: vec![problem],
    }
}

/// How many hosts of one kind a sentence names.
const NAMED: usize = 12;

fn listed(hosts: &[&HostWorld<'_>]) -> String {
    let mut names: Vec<String> = hosts
        .iter()
        .take(NAMED)
        .map(|host| host.name().to_string())
        .collect();
    if let Some(more) = hosts.len().checked_sub(NAMED).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// Which hosts cannot do the classic overlay and why, and which could.
fn host_by_host(world: &World<'_>, without: &[(&HostWorld<'_>, String)]) -> String {
    let mut groups: Vec<(&str, Vec<&HostWorld<'_>>)> = Vec::new();
    for (host, why) in without {
        match groups.iter_mut().find(|(known, _)| known == why) {
            Some((_, hosts)) => hosts.push(host),
            None => groups.push((why, vec![host])),
        }
    }
    let mut parts: Vec<String> = groups
        .iter()
        .map(|(why, hosts)| match hosts.len() {
            1 => format!("{} {why}", listed(hosts)),
            _ => format!("{} {}", listed(hosts), why.replacen("has ", "have ", 1)),
        })
        .collect();
    let able: Vec<&HostWorld<'_>> = world
        .hosts
        .iter()
        .filter(|host| {
            host.engine.is_some() && !without.iter().any(|(other, _)| other.name() == host.name())
        })
        .collect();
    if !able.is_empty() {
        parts.push(format!(
            "{} could do the classic overlay, and swarm mode as well",
            listed(&able)
        ));
    }
    parts.join("; ")
}

/// The first major version of the engine that refuses to start with the options of a store (`facts.md`).
pub(crate) const WITHOUT_STORES: u64 = 23;

/// Why a host's engine cannot do the classic overlay over a store.
pub(crate) fn no_classic_overlay(host: &HostWorld<'_>, backend: &str) -> Option<String> {
    let engine = host.engine.as_ref()?;
    let will = if engine.to_install {
        "will have"
    } else {
        "has"
    };
    if engine.version.major >= WITHOUT_STORES {
        return Some(format!(
            "{will} the engine {}, and engines from 23 on have no overlay over a key-value store",
            engine.version
        ));
    }
    if !engine.kv_backends.contains(backend) {
        let others: Vec<&str> = engine.kv_backends.iter().map(String::as_str).collect();
        let others = if others.is_empty() {
            "none".to_owned()
        } else {
            others.join(", ")
        };
        return Some(format!(
            "{will} the engine {} whose binary was built without the {backend} backend (it has: {others})",
            engine.version
        ));
    }
    None
}

/// What VXLAN takes off each packet, in bytes.
const VXLAN_TAKES: u32 = VXLAN_OVERHEAD as u32;

/// A route of the host that the network's subnet would hide, or be hidden by. `is_ours` knows the interfaces that are no collision.
pub(crate) fn route_that_collides(
    world: &World<'_>,
    host: &HostWorld<'_>,
    is_ours: impl Fn(&str) -> bool,
) -> Option<Problem> {
    let wanted = world.inventory.network.subnet;
    let route = host.facts.routes.iter().find(|route| {
        let overlaps = wanted.contains(&route.to.network()) || route.to.contains(&wanted.network());
        overlaps && route.to.prefix_len() > 0 && !is_ours(&route.interface)
    })?;
    Some(Problem::on(
        host.name(),
        format!(
            "the network's subnet {wanted} collides with its route to {} over {}",
            route.to, route.interface
        ),
        "choose another `network.subnet`",
    ))
}

/// Driver option for the MTU of the underlay, in bytes; the engine takes the overhead of VXLAN off it.
pub(crate) const MTU_OPTION: &str = "com.docker.network.driver.mtu";

/// What the inventory wants of a network that is there, and that can only be chosen when one is made.
fn unchangeable(
    world: &World<'_>,
    host: &HostWorld<'_>,
    found: &Network,
    problems: &mut Vec<Problem>,
) {
    let wanted = &world.inventory.network;
    let mut differs = |what: String, say: &str| {
        problems.push(Problem::on(
            host.name(),
            format!("the network {} {what}, which cannot be changed in place", wanted.name),
            format!("say `{say}` in the inventory, or take everything off the network, remove it with `docker network rm {}`, and run `up`", wanted.name),
        ));
    };
    // Made without the option, the engine takes the MTU of Ethernet.
    let mtu = found
        .options
        .get(MTU_OPTION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(ETHERNET_MTU);
    if let Some(wanted) = wanted.mtu.map(u32::from).filter(|wanted| *wanted != mtu) {
        differs(
            format!("was made for an underlay of {mtu} bytes, and the inventory wants {wanted}"),
            &format!("network: {{mtu: {mtu}}}"),
        );
    }
    let encrypted = found
        .options
        .get("encrypted")
        .is_some_and(|value| value != "false");
    match (encrypted, wanted.encrypted) {
        (false, true) => {
            differs(
                "does not encrypt, and the inventory wants it".to_owned(),
                "network: {encrypted: false}",
            );
        }
        (true, false) => {
            differs(
                "encrypts, and the inventory does not want it".to_owned(),
                "network: {encrypted: true}",
            );
        }
        _ => {}
    }
    if found.scope == "swarm" && !found.attachable {
        differs(
            "was made for services only (not attachable)".to_owned(),
            "network: {name: ANOTHER}",
        );
    }
}

/// Hosts whose interface carries shorter packets than the network makes.
pub(crate) fn too_long_for(world: &World<'_>, notes: &mut Vec<String>) {
    let name = world.inventory.network.name.as_str();
    let made = world
        .hosts
        .iter()
        .find_map(|host| host.facts.engine.as_ref()?.network(name));
    let Some(mtu) = made.map(|found| {
        found
            .options
            .get(MTU_OPTION)
            .and_then(|text| text.parse().ok())
            .unwrap_or(ETHERNET_MTU)
    }) else {
        return;
    };
    for host in world.hosts.iter().filter(|host| host.mtu < mtu) {
        notes.push(format!(
            "{}: its interface carries {} bytes, and the network {name} was made for {mtu}: long packets may get lost; make the network anew with `network: {{mtu: {}}}`",
            host.name(),
            host.mtu,
            host.mtu
        ));
    }
}

/// Networks of a host's engine that are in the way of the wanted one.
pub(crate) fn network_problems(
    world: &World<'_>,
    host: &HostWorld<'_>,
    scope: &str,
    problems: &mut Vec<Problem>,
) {
    let wanted = &world.inventory.network;
    let Some(engine) = &host.facts.engine else {
        return;
    };
    if let Some(found) = engine.network(wanted.name.as_str()) {
        if found.driver != "overlay" || found.scope != scope {
            problems.push(Problem::on(
                host.name(),
                format!(
                    "a network called {} is there already, with the driver {} and the scope {}",
                    wanted.name, found.driver, found.scope
                ),
                "choose another `network.name`, or remove that network",
            ));
        } else {
            unchangeable(world, host, found, problems);
        }
        if found.driver == "overlay"
            && found.scope == scope
            && !found.subnets.contains(&wanted.subnet)
        {
            let subnets: Vec<String> = found.subnets.iter().map(ToString::to_string).collect();
            problems.push(Problem::on(
                host.name(),
                format!("the network {} has the subnet {}, and the inventory wants {}", wanted.name, subnets.join(", "), wanted.subnet),
                "a subnet cannot be changed in place: choose another `network.name`, or remove the network when nothing hangs on it",
            ));
        }
    }
    for other in engine
        .networks
        .iter()
        .filter(|network| network.name != wanted.name.as_str())
    {
        if let Some(subnet) = other
            .subnets
            .iter()
            .find(|subnet| crate::inventory::overlap(subnet, &wanted.subnet))
        {
            problems.push(Problem::on(
                host.name(),
                format!(
                    "the wanted subnet {} overlaps with {subnet} of its network {}",
                    wanted.subnet, other.name
                ),
                "choose another `network.subnet`",
            ));
        }
    }
}
