//! No network of its own: containers reach those of other hosts by ports that the hosts publish on their private addresses.
//!
//! It needs no store, no swarm and no restart, and works where nothing but TCP between the hosts is to be had.

use super::{About, Asks, Encryption, Fabric, Layer, Names, SSH_PORT, SubnetOf, keeper};
use crate::engines::options;
use crate::inventory::Inventory;
use crate::plan::{HostWorld, Problem, Steps, World};
use crate::proof::causes::{self, Case, Finding};
use crate::proof::{Asked, Cause, Needs, Probes, SIGN_OF_LIFE};

/// The engine's own network, which every container is on that names no other.
const BRIDGE: &str = "bridge";

/// Published ports.
pub struct Nat;

impl Fabric for Nat {
    fn about(&self) -> About {
        About {
            title: "published ports, without a network of its own",
            layer: Layer::Ports,
            names: Names::OnItsHost,
            encryption: Encryption::None,
            disturbs: "nothing",
            overhead: 0,
        }
    }

    fn asks(&self) -> Asks {
        Asks {
            modules: &["bridge", "veth"],
            subnet: SubnetOf::Nobody,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let no_bridge = |host: &&HostWorld<'_>| {
            let engine = host.facts.engine.as_ref().filter(|engine| engine.is_up());
            engine.is_some_and(|engine| {
                !engine.networks.is_empty() && engine.network(BRIDGE).is_none()
            })
        };
        let without = world.hosts.iter().filter(no_bridge).map(|host| {
            let what = "its engine has no network `bridge` (`--bridge=none`), over which ports are published";
            Problem::on(host.name(), what, "remove the option `bridge` there, or choose another `network.fabric`")
        });
        without.collect()
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        options::of_inventory(world, steps, notes);
        for host in &world.hosts {
            keeper::get_image(world, host, steps);
        }
        if steps.next_id() > 0 {
            notes.push(
                "containers have no network in common: publish a port on the private address (`-p ADDRESS:PORT:PORT`), and ask there"
                    .to_owned(),
            );
        }
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        let ports = world
            .hosts
            .iter()
            .map(|host| (host.name().clone(), vec![(SSH_PORT, SIGN_OF_LIFE)]));
        Needs {
            network: BRIDGE.to_owned(),
            mtu: world.underlay_mtu(),
            ports: ports.collect(),
            ..Needs::default()
        }
    }

    fn probes(&self, _: &Inventory) -> Probes {
        Probes {
            network: BRIDGE.to_owned(),
            asked: Asked::ByPublishedPort,
        }
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[causes::STANDING, causes::UNDER_ALL, OWN]
    }
}

const OWN: &[Cause] = &[Cause::of_now(
    "published-port-blocked",
    published_port_blocked,
)];

/// The host answers, and the port that it publishes does not.
fn published_port_blocked(case: &Case<'_>) -> Option<Finding> {
    let failure = case.failure?;
    let (from, to, found) = case
        .directions()
        .find(|(from, _, link)| *from == case.from && link.anything_passes())?;
    let rules = case
        .host(to)
        .map(|view| view.rules(&["-p tcp", "DOCKER-USER", "-A FORWARD"]))
        .unwrap_or_default();
    let fix = match rules.first() {
        Some(rule) => {
            format!("{to} has the rule `{rule}`; let TCP from the other hosts pass before it")
        }
        None => format!(
            "{} shows its rules; let TCP from the other hosts pass",
            causes::on(case.known, to, "iptables-save")
        ),
    };
    let what = format!(
        "a port that {to} publishes does not answer ({}), although {}",
        failure.words,
        found.passing()
    );
    causes::link(
        case,
        (from, to, found),
        what,
        fix,
        rules
            .into_iter()
            .map(|rule| format!("{to}, its rule: {rule}"))
            .collect(),
    )
}
