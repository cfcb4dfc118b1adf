//! The classic overlay over a key-value store: engines up to 20.10.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use super::{
    About, Asks, Encryption, Fabric, GOSSIP_PORT, Layer, MTU_OPTION, Names, OVERLAY_MODULES,
    SubnetOf, VXLAN_TAKES, firewall, gateway_bridge, guard, keeper, network_problems,
    no_classic_overlay, overlay_listens, standalone, swarm, too_long_for, vxlan_needs,
};
use crate::engines::options;
use crate::facts::firewall::Traffic;
use crate::inventory::HostName;
use crate::plan::{
    Action, EngineCall, HostWorld, NewNetwork, Options, Problem, Stage, StepId, Steps, World,
};
use crate::proof::causes;
use crate::proof::{Cause, Needs};
use crate::stores::{self, consul};

/// Port in `cluster-advertise`. The engine wants one and announces it, but nothing of docker-cluster listens there: it is the
/// engine's TLS port by convention.
const ADVERTISE_PORT: u16 = 2376;

/// UDP port of VXLAN; it cannot be changed in this fabric.
const VXLAN_PORT: u16 = 4789;

/// How long the engines may take to see each other in the store. Discovery writes a heartbeat every 20 s.
const NEIGHBOURS_DEADLINE: Duration = Duration::from_secs(90);

/// How long the network may take to be seen by every engine.
const NETWORK_DEADLINE: Duration = Duration::from_secs(60);

/// The classic overlay.
pub struct Overlay;

/// What the engine is told to advertise: what it is told already, if that comes to the address that the others reach.
fn advertise(host: &HostWorld<'_>) -> String {
    advertised_already(host).map_or_else(
        || format!("{}:{ADVERTISE_PORT}", host.private),
        |(text, _)| text,
    )
}

/// The same as the engine announces it: an interface is resolved.
fn announced(host: &HostWorld<'_>) -> String {
    let port =
        advertised_already(host).map_or_else(|| ADVERTISE_PORT.to_string(), |(_, port)| port);
    format!("{}:{port}", host.private)
}

/// The present option, with its port, if it names the host's private address, or the interface that has it.
fn advertised_already(host: &HostWorld<'_>) -> Option<(String, String)> {
    let present = options::present(host);
    let text = present.get("cluster-advertise")?.as_str()?;
    let (name, port) = text.rsplit_once(':')?;
    let address = name
        .parse()
        .ok()
        .or_else(|| host.facts.ipv4_of(name).map(IpAddr::V4));
    (address == Some(host.private)).then(|| (text.to_owned(), port.to_owned()))
}

/// The daemon options that a host should have.
fn wanted(world: &World<'_>, host: &HostWorld<'_>) -> Options {
    let endpoint = stores::of(world).endpoint(world);
    let mut options = world.inventory.engine.options.clone();
    options.insert("cluster-store".to_owned(), json!(endpoint.url));
    options.insert("cluster-advertise".to_owned(), json!(advertise(host)));
    if !endpoint.options.is_empty() {
        options.insert("cluster-store-opts".to_owned(), json!(endpoint.options));
    }
    options
}

impl Fabric for Overlay {
    fn about(&self) -> About {
        About {
            title: "overlay over a key-value store",
            layer: Layer::Two,
            names: Names::Everywhere,
            encryption: Encryption::None,
            disturbs: "each engine restarts once, one after the other",
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
        gateway_bridge(host)
            .into_iter()
            .chain(stores::of(world).leaves(host))
            .collect()
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[
            causes::OVER_A_STORE,
            consul::CAUSES,
            causes::STANDING,
            causes::OVERLAYS,
            guard::ROWS,
        ]
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let mut problems = stores::of(world).problems(world);
        for host in &world.hosts {
            if let Some(why) = no_classic_overlay(host, stores::of(world).backend(world)) {
                let backends = host
                    .engine
                    .as_ref()
                    .map(|engine| engine.kv_backends.clone())
                    .unwrap_or_default();
                let fix = match backends.contains("etcd") {
                    true => {
                        "use `fabric: swarm` (or `auto`), or an etcd of your own with `store.url: etcd://...`, or docker-ce 20.10"
                    }
                    false => "use `fabric: swarm` (or `auto`)",
                };
                problems.push(Problem::on(host.name(), why, fix));
            }
            engine_problems(world, host, &mut problems);
            ports(host, &mut problems);
            network_problems(world, host, "global", &mut problems);
        }
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        too_long_for(world, notes);
        stores::of(world).steps(world, steps, notes);
        images(world, steps);
        // Before the engines open the ports.
        guard::put(world, GUARDED, &others(world), steps, notes);
        set_options(world, steps, notes);
        network(world, steps);
        keeper::keep(world, steps, &[], |_| true);
        let of_swarm = standalone::steps(world, steps, notes);
        notes.extend(of_swarm);
        // Where nothing is to be done the packets find their way already.
        if steps.next_id() > 0 {
            firewall::notes(
                world,
                &self.needs(world),
                |host| {
                    let mut all = stores::of(world).traffic(world, host);
                    all.extend(standalone::traffic(world, host));
                    all
                },
                notes,
            );
        }
    }

    fn listens(&self, world: &World<'_>) -> Vec<Traffic> {
        let mut all = overlay_listens(VXLAN_PORT);
        all.extend(stores::of(world).listens());
        all
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        vxlan_needs(world, VXLAN_PORT, |host| {
            let mut all = stores::of(world).ports(host);
            all.extend(standalone::ports(world, host));
            all
        })
    }
}

/// The ports that every engine opens on all addresses.
const GUARDED: &[Traffic] = &[
    Traffic::Udp(VXLAN_PORT),
    Traffic::Tcp(GOSSIP_PORT),
    Traffic::Udp(GOSSIP_PORT),
];

/// Engines that may be in the network beside those of the hosts that answer: only the store knows them, and only docker-cluster's own tells.
fn others(world: &World<'_>) -> guard::Others {
    guard::Others {
        known: Vec::new(),
        unknown: strangers(world),
    }
}

fn strangers(world: &World<'_>) -> Option<guard::Unknown> {
    let said = world.inventory.network.guard;
    if world.inventory.store.external.is_some() {
        let why = "the store is not docker-cluster's own, and engines outside the inventory may be in it; `network: {guard: true}` in the inventory says that there are none";
        return said.is_none().then(|| guard::Unknown::Ever(why.to_owned()));
    }
    let yet = |why| Some(guard::Unknown::Yet(why));
    let members = || {
        world
            .hosts
            .iter()
            .flat_map(|host| &host.facts.store.members)
    };
    if members().next().is_none() && world.hosts.iter().any(options::uses_store) {
        return yet("the store does not tell who uses it; run `up` again when it does".to_owned());
    }
    let is_foreign = |name: &str| {
        world
            .inventory
            .hosts
            .iter()
            .all(|host| host.name.as_str() != name)
    };
    let mut strangers: Vec<&str> = members()
        .filter(|(name, status)| status == "alive" && is_foreign(name))
        .map(|(name, _)| name.as_str())
        .collect();
    strangers.sort_unstable();
    strangers.dedup();
    if !strangers.is_empty() && said != Some(true) {
        return yet(format!(
            "the store is used from {} as well, not in the inventory; put them into it, or say `network: {{guard: true}}` to keep them out",
            strangers.join(", ")
        ));
    }
    let silent = world.unreached.iter().map(|one| &one.host);
    let lost: Vec<&str> = silent
        .filter(|name| members().any(|(member, _)| member == name.as_str()))
        .filter(|name| !guard::names(world, name))
        .map(HostName::as_str)
        .collect();
    (!lost.is_empty()).then(|| {
        guard::Unknown::Yet(format!(
            "it is not known where {} sends from, which does not answer; run `up` again when it does",
            lost.join(", ")
        ))
    })
}

fn engine_problems(world: &World<'_>, host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    if swarm::is_member(host) {
        let node = host
            .facts
            .engine
            .as_ref()
            .map(|engine| engine.swarm().node_id)
            .unwrap_or_default();
        let node = if node.is_empty() {
            String::new()
        } else {
            format!(" (node {node})")
        };
        problems.push(Problem::on(
            host.name(),
            format!("its engine is in swarm mode{node}, which excludes an overlay over a store"),
            "use `fabric: swarm`, or take it out with `docker swarm leave` there if that swarm is no longer needed",
        ));
    }
    another_store(world, host, problems);
    zookeeper(world, host, problems);
    options::problems(host, &wanted(world, host), problems);
}

/// An engine that is moved to another store loses its networks, which are in the one that it has.
fn another_store(world: &World<'_>, host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    let present = options::present(host);
    let Some(found) = present
        .get("cluster-store")
        .and_then(serde_json::Value::as_str)
    else {
        return;
    };
    let wanted = stores::of(world).endpoint(world).url;
    let is_ours = options::history(host.facts)
        .written
        .contains_key("cluster-store");
    // One that is not ours is a conflict in any case.
    if found != wanted && is_ours {
        problems.push(Problem::on(
            host.name(),
            format!("its engine has its networks in the store {found}, and the inventory wants {wanted}: there they would not be"),
            "put the old `store:` back, or take the cluster down (`docker-cluster down`) and bring it up over the other store",
        ));
    }
}

/// The first engine whose classic overlay over ZooKeeper is known to crash. Older ones were not tried.
const ZOOKEEPER_CRASHES: semver::Version = semver::Version::new(20, 10, 0);

fn zookeeper(world: &World<'_>, host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    let Some(engine) = host
        .engine
        .as_ref()
        .filter(|_| stores::of(world).backend(world) == "zookeeper")
    else {
        return;
    };
    if engine.version >= ZOOKEEPER_CRASHES {
        problems.push(Problem::on(
            host.name(),
            format!(
                "the engine {} crashes with ZooKeeper as its store: the first container on the network ends it on every host, and the network cannot be removed any more",
                engine.version
            ),
            "use `fabric: swarm`, or Consul or etcd as the store",
        ));
    }
}

fn ports(host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    if options::uses_store(host) {
        return;
    }
    for (port, taken, protocol) in [
        (
            GOSSIP_PORT,
            host.facts.tcp.iter().any(|(_, port)| *port == GOSSIP_PORT),
            "TCP",
        ),
        (
            GOSSIP_PORT,
            host.facts.udp.iter().any(|(_, port)| *port == GOSSIP_PORT),
            "UDP",
        ),
        (
            VXLAN_PORT,
            host.facts.udp.iter().any(|(_, port)| *port == VXLAN_PORT),
            "UDP",
        ),
    ] {
        if taken && !swarm::is_member(host) {
            problems.push(Problem::on(
                host.name(),
                format!("{protocol} port {port} is taken, and the overlay needs it"),
                format!("find the program with `ss -lnp 'sport = :{port}'` there and stop it; other VXLAN users (flannel, OVS) exclude this fabric"),
            ));
        }
    }
}

/// Gets the image onto new hosts while they would wait for their turn to restart. The first is busy until then: it makes the store's
/// tokens, and its turn is the first. Elsewhere a failure must not keep a host from its options, nor others from their turn.
fn images(world: &World<'_>, steps: &mut Steps) {
    // They may say where images come from, or where they are kept, and are not in effect yet.
    if !world.inventory.engine.options.is_empty() {
        return;
    }
    for host in world
        .hosts
        .iter()
        .skip(1)
        .filter(|host| options::is_new(host))
    {
        keeper::get_image(world, host, steps);
    }
}

/// How the engines get their options, and how it shows that they run with them.
fn set_options(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let url = stores::of(world).endpoint(world).url;
    let runs_with = |host: &HostWorld<'_>| {
        let Some(engine) = &host.facts.engine else {
            return false;
        };
        engine.info_str("ClusterStore") == Some(url.as_str())
            && engine
                .info_str("ClusterAdvertise")
                .is_some_and(|said| said == announced(host) || said == advertise(host))
    };
    let format = "{{.ServerVersion}} {{.ClusterStore}} {{.ClusterAdvertise}}";
    let shows = |host: &HostWorld<'_>| vec![url.clone(), announced(host)];
    let target = options::Target {
        wanted: &|host| wanted(world, host),
        runs_with: &runs_with,
        question: &options::of_info(format),
        shows: &shows,
        settled: Some(gossips()),
        back: &|_| Vec::new(),
    };
    let restarted = options::steps(world, steps, notes, &target);
    // Every engine announces itself in the store; only our own store can be asked.
    if let Some(list) = stores::of(world)
        .engines()
        .filter(|_| !restarted.is_empty())
    {
        let last = steps.last_of_each();
        for host in world
            .hosts
            .iter()
            .filter(|host| restarted.contains(host.name()))
        {
            let action = Action::WaitFor {
                what: "the engines see each other in the store".to_owned(),
                argv: list.iter().map(ToString::to_string).collect(),
                expect: vec![announced(host)],
                peers: world
                    .hosts
                    .iter()
                    .map(|peer| (peer.name().clone(), announced(peer)))
                    .collect(),
                deadline: NEIGHBOURS_DEADLINE,
            };
            let id = steps.add(
                host.name(),
                Stage::Options,
                "wait until the engine sees its neighbours",
                action,
            );
            steps.follow(id, &last);
        }
    }
}

/// Waits until an engine takes part in the engines' gossip. An engine joins that through one other, once, as soon as it sees one in the
/// store (`joinOnce` in libnetwork's overlay driver). Two that start at the same time may so join each other and nobody else, and the
/// network falls into parts for good: engines start one after the other.
#[must_use]
pub fn gossips() -> Action {
    let port = GOSSIP_PORT.to_string();
    let socket = format!("sport = :{port}");
    Action::wait(
        "the engine gossips",
        &["ss", "-Hltn", &socket],
        [format!(":{port}")],
        NEIGHBOURS_DEADLINE,
    )
}

/// Gives engines their store back, whose networks are still in it.
pub(crate) fn return_to_store(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    guard::put(world, GUARDED, &others(world), steps, notes);
    set_options(world, steps, notes);
    for host in &world.hosts {
        wait_for_network(world, host, steps, Vec::new());
    }
}

fn network(world: &World<'_>, steps: &mut Steps) {
    let wanted = &world.inventory.network;
    let name = wanted.name.as_str();
    let lacking: Vec<&HostWorld<'_>> = world
        .hosts
        .iter()
        .filter(|host| {
            host.facts
                .engine
                .as_ref()
                .and_then(|engine| engine.network(name))
                .is_none()
        })
        .collect();
    let Some(first) = lacking.first() else { return };
    let mut created = Vec::new();
    if lacking.len() == world.hosts.len() {
        let mtu = world.underlay_mtu();
        let call = EngineCall::CreateNetwork(NewNetwork {
            attachable: false,
            labels: BTreeMap::from([(
                "docker-cluster".to_owned(),
                world.inventory.cluster.to_string(),
            )]),
            ..NewNetwork::overlay(
                name,
                wanted.subnet,
                BTreeMap::from([(MTU_OPTION.to_owned(), mtu.to_string())]),
            )
        });
        let why = format!(
            "create the overlay network {name} with the subnet {} for an underlay of {mtu} bytes",
            wanted.subnet
        );
        created.push(steps.add(first.name(), Stage::Network, why, Action::Engine(call)));
    }
    for host in lacking {
        wait_for_network(world, host, steps, created.clone());
    }
}

/// Waits until a host's engine has the network from the store.
pub(crate) fn wait_for_network(
    world: &World<'_>,
    host: &HostWorld<'_>,
    steps: &mut Steps,
    after: Vec<StepId>,
) -> StepId {
    let name = world.inventory.network.name.as_str();
    let action = Action::WaitFor {
        what: format!("the engine knows the network {name}"),
        argv: [
            "docker",
            "network",
            "inspect",
            "--format",
            "{{.Scope}} {{range .IPAM.Config}}{{.Subnet}}{{end}}",
            name,
        ]
        .map(str::to_owned)
        .to_vec(),
        expect: vec![
            "global".to_owned(),
            world.inventory.network.subnet.to_string(),
        ],
        peers: Vec::new(),
        deadline: NETWORK_DEADLINE,
    };
    let why = format!("check that the engine knows the network {name}");
    steps.add_after(host.name(), Stage::Network, why, action, after)
}
