//! Containers that are hosts of the LAN, on a bridge: the interface in the LAN becomes a port of it, and what the interface had (MAC
//! address, addresses, routes) moves there.
//!
//! The move is the one thing that can cut a host off. A timer is set before it that takes it back, and stopped over a connection that was
//! made after it; the move is made at boot only from then on. A program that configures the interface would give it its address again:
//! it makes the bridge itself, from files that it reads, or the host is refused ([`managers`]).

pub(crate) mod managers;

use std::net::IpAddr;

use ipnet::IpNet;
use managers::Manager;

use super::lan::{self, Lan, Ours};
use super::links::{self, LINKS, LINKS_TIMEOUT, SCRIPT as PROGRAM, UNIT};
use super::shares::{self, Shares};
use super::{About, Asks, Encryption, Fabric, Layer, Names, SubnetOf, keeper};
use crate::engines::options;
use crate::inventory::FabricKind;
use crate::plan::{
    Action, HostWorld, NewNetwork, Problem, Stage, Steps, Undo, Verb, WantedFile, World,
};
use crate::platform::SERVICES;
use crate::proof::causes;
use crate::proof::{Cause, Needs};

const SCRIPT: &str = concat!(
    include_str!("../../../../templates/fabrics/common.sh"),
    include_str!("../../../../templates/fabrics/bridged.sh")
);

/// After how many seconds a move is taken back over which no new connection has come: one is given up after ten. The one that was there
/// lives through this, and tells how it ended: TCP tries again within 26 seconds, and the lock of a host is lost after no less than thirty.
const BACK_AFTER: &str = "20";

/// Containers in the LAN, on a bridge.
pub struct Bridged;

impl Fabric for Bridged {
    fn about(&self) -> About {
        About {
            title: "containers as hosts of the LAN, on a bridge",
            layer: Layer::Two,
            names: Names::OnItsHost,
            encryption: Encryption::None,
            disturbs: "moves the host's own address to a bridge",
            overhead: 0,
        }
    }

    fn asks(&self) -> Asks {
        Asks {
            modules: &["bridge", "veth"],
            subnet: SubnetOf::Lan,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let bridge = links::bridge(world);
        let mut problems = lan::problems(world, Ours::Bridge(&bridge));
        let shares = shares::divide(world);
        for host in &world.hosts {
            let Ok(lan) = lan::of(world, host, Ours::Bridge(&bridge)) else {
                continue;
            };
            problems.extend(manager(host, &lan, &bridge).err());
            problems.extend(lent(host));
            problems.extend(other_port(world, host, &bridge));
            let Some(part) = shares.of.get(host.name()) else {
                continue;
            };
            let wanted = network(world, host, &lan, *part);
            problems.extend(links::network_problems(world, host, &wanted));
            problems.extend(lan::differs(world, host, &wanted, &[BRIDGE_NAME]));
        }
        problems.extend(shares.problems);
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        options::of_inventory(world, steps, notes);
        let bridge = links::bridge(world);
        let shares = shares::divide(world);
        for host in &world.hosts {
            let (Ok(lan), Some(part)) = (
                lan::of(world, host, Ours::Bridge(&bridge)),
                shares.of.get(host.name()),
            ) else {
                continue;
            };
            let Ok(manager) = manager(host, &lan, &bridge) else {
                continue;
            };
            let mut config = config(world, host, &lan, *part, &shares);
            config.extend(manager.words());
            match is_moved(host) {
                true => mend(host, &manager, &bridge, &config, steps),
                false => move_over(
                    host,
                    port(host, &lan, &bridge),
                    &manager,
                    &bridge,
                    &config,
                    steps,
                ),
            }
            links::create(host, network(world, host, &lan, *part), steps);
            keeper::get_image(world, host, steps);
        }
        links::say_names(world, steps, notes);
        if steps.next_id() > 0 {
            lan::say(world, notes);
            notes.push(format!(
                "ports of containers are open to the LAN at their own addresses; the host's own address moves to {bridge}, and goes back by itself after {BACK_AFTER} s if no new connection comes"
            ));
        }
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        links::needs(world, None, world.underlay_mtu())
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[
            causes::STANDING,
            LINKS,
            causes::ON_ONE_WIRE,
            causes::UNDER_ALL,
            lan::LAN,
        ]
    }
}

/// The engine's option for the name of a bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// The interface that is the bridge's port, by what is written down on the host.
fn written_port<'a>(host: &'a HostWorld<'_>) -> Option<&'a str> {
    host.facts.links.as_ref()?.word("interface")
}

/// The interface that is, or will be, the bridge's port.
fn port<'a>(host: &'a HostWorld<'_>, lan: &'a Lan, bridge: &str) -> &'a str {
    match written_port(host) {
        Some(port) if lan.interface == bridge => port,
        _ => &lan.interface,
    }
}

/// Whether the bridge has what the interface had, and will have it after a boot.
fn is_moved(host: &HostWorld<'_>) -> bool {
    let enabled = host
        .facts
        .unit(UNIT)
        .is_some_and(|unit| unit.file_state == "enabled");
    // In the words of the script: all else is mended in place.
    let elsewhere =
        |line: &String| line.contains("is not on the bridge") || line.ends_with("is missing");
    enabled
        && host
            .facts
            .links
            .as_ref()
            .is_some_and(|links| !links.wrong.iter().any(elsewhere))
}

/// Who configures the port.
fn manager(host: &HostWorld<'_>, lan: &Lan, bridge: &str) -> Result<Manager, Problem> {
    let has_address = lan.interface == bridge;
    Manager::of(host, port(host, lan, bridge), bridge, has_address)
}

/// An address that another host could have tomorrow.
fn lent(host: &HostWorld<'_>) -> Option<Problem> {
    let facts = host.facts;
    let lent = facts
        .addresses
        .iter()
        .find(|address| address.net.addr() == host.private && address.lent)?;
    Some(Problem::on(
        host.name(),
        format!(
            "its address {} is lent (DHCP), and would go back to {}",
            lent.net.addr(),
            lent.interface
        ),
        "give the host a fixed address, or choose `network: {fabric: macvlan}`, which moves nothing",
    ))
}

/// Another port than the one that the bridge has.
fn other_port(world: &World<'_>, host: &HostWorld<'_>, bridge: &str) -> Option<Problem> {
    let wanted = world.inventory.network.lan.as_ref()?.interface.as_deref()?;
    let has = written_port(host).filter(|has| *has != wanted && wanted != bridge)?;
    Some(Problem::on(
        host.name(),
        format!("its bridge {bridge} is on the interface {has}, and the inventory wants {wanted}"),
        "take the cluster down (`docker-cluster down`) and bring it up anew",
    ))
}

/// The host's links. The order of words is that of `templates/fabrics/bridged.sh`.
fn config(
    world: &World<'_>,
    host: &HostWorld<'_>,
    lan: &Lan,
    part: IpNet,
    shares: &Shares,
) -> Vec<String> {
    let bridge = links::bridge(world);
    let mut lines = lan::parts(world, host, part, shares);
    lines.push(format!("interface {}", port(host, lan, &bridge)));
    lines.push(format!("bridge {bridge}"));
    lines
}

/// Brings a bridge that is there to what it should be.
fn mend(
    host: &HostWorld<'_>,
    manager: &Manager,
    bridge: &str,
    config: &[String],
    steps: &mut Steps,
) {
    if let Some(tried) = manager.tried() {
        steps.add(host.name(), Stage::Network, tried.why.clone(), tried.put());
    }
    for (why, put) in manager.kept(bridge) {
        steps.add(host.name(), Stage::Network, why, put);
    }
    // Its routes are those of the host, and who configures the bridge knows them.
    let words = links::Words {
        routes: None,
        ..links::LINK_WORDS
    };
    let text = SCRIPT.to_owned();
    links::put_with(
        &words,
        FabricKind::Bridged,
        host,
        text,
        config,
        |_| true,
        steps,
    );
}

/// Moves the host's address to the bridge, with a way back that needs no connection.
fn move_over(
    host: &HostWorld<'_>,
    port: &str,
    manager: &Manager,
    bridge: &str,
    config: &[String],
    steps: &mut Steps,
) {
    let name = host.name();
    let files = links::files(FabricKind::Bridged, SCRIPT.to_owned(), config);
    let missing: Vec<WantedFile> = files
        .into_iter()
        .chain(manager.tried())
        .filter(|file| !file.is_there(host.facts, None))
        .collect();
    let written: Vec<String> = missing.iter().map(|file| file.path.clone()).collect();
    for file in missing {
        steps.add(name, Stage::Network, file.why.clone(), file.put());
    }
    let argv = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let told = |argv| Action::Run {
        argv,
        timeout: LINKS_TIMEOUT,
    };
    let run = |words: &[&str]| told(argv(words));
    let reload = told(SERVICES.argv(SERVICES.reread, &[]));
    let back = vec![
        run(&[PROGRAM, "revert"]),
        Action::PutBack { paths: written },
        reload.clone(),
    ];
    let undo = || Undo {
        unit: UNIT,
        actions: back.clone(),
    };
    let by = manager
        .name()
        .map_or_else(String::new, |name| format!(" by {name}"));
    let why = format!(
        "move the host's own address from {port} to the bridge {bridge}{by}, for {BACK_AFTER} s at first"
    );
    let id = steps.add(
        name,
        Stage::Network,
        why,
        run(&[PROGRAM, "move", BACK_AFTER]),
    );
    steps.undo(id, undo());
    let keep = Action::RunAnew {
        argv: argv(&[PROGRAM, "keep"]),
        timeout: LINKS_TIMEOUT,
    };
    let id = steps.add(
        name,
        Stage::Network,
        "keep it there, since a new connection comes by it",
        keep,
    );
    steps.undo(id, undo());
    for (why, put) in manager.kept(bridge) {
        steps.add(name, Stage::Network, why, put);
    }
    steps.add(name, Stage::Network, "let systemd read the unit", reload);
    steps.add(
        name,
        Stage::Network,
        "move it at every boot",
        told(SERVICES.argv(SERVICES.enable, &[UNIT])),
    );
    let start = Action::Service {
        verb: Verb::Restart,
        unit: UNIT,
        timeout: LINKS_TIMEOUT,
    };
    steps.add(name, Stage::Network, "let the unit have it", start);
}

/// The LAN's subnet for all, and a part of the pool for each host. The bridge has the host's own address, which the engine must not set;
/// containers send to the LAN's router.
fn network(world: &World<'_>, host: &HostWorld<'_>, lan: &Lan, part: IpNet) -> NewNetwork {
    let options = [
        ("com.docker.network.bridge.inhibit_ipv4", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "false"),
    ];
    let mut network = links::network(
        world,
        lan.subnet,
        host.mtu.min(world.underlay_mtu()),
        &options,
    );
    network.range = Some(part);
    network.gateway = Some(gateway(host, lan));
    network
        .reserved
        .insert("DefaultGatewayIPv4".to_owned(), lan.gateway);
    network
}

/// What the engine calls the gateway is the address of the bridge.
fn gateway(host: &HostWorld<'_>, lan: &Lan) -> IpAddr {
    match lan.subnet.contains(&host.private) {
        true => host.private,
        false => host
            .facts
            .ipv4_of(&lan.interface)
            .map_or(host.private, IpAddr::V4),
    }
}
