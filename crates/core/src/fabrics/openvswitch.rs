//! One layer 2 over all hosts by a switch of Open vSwitch on each, which is joined to the others by VXLAN. The bridge of the containers is
//! plugged into it.
//!
//! Where the kernel has its module, tunnels are ports of the switch's own, protected from each other. Where it has not, the switch forwards
//! in user space, and the kernel's VXLAN device is one of its ports. Neither sends to a third host what it got from a second: there is
//! nothing to go round in circles.

use std::time::Duration;

use ipnet::IpNet;

use super::links::{self, LINKS};
use super::shares::{self, OWN, PEER, Shares};
use super::vxlan::{mtu, network, port_taken};
use super::{About, Asks, Encryption, Fabric, Layer, Names, SubnetOf, VXLAN_TAKES, keeper};
use crate::engines::{options, packages};
use crate::facts::Module;
use crate::facts::firewall::Traffic;
use crate::inventory::FabricKind;
use crate::plan::{Action, HostWorld, Problem, Stage, Steps, Verb, World};
use crate::platform::{ETHTOOL_PACKAGE, SERVICES, SWITCH_PACKAGE};
use crate::proof::causes;
use crate::proof::{Cause, Needs};

const SCRIPT: &str = concat!(
    include_str!("../../../../templates/fabrics/common.sh"),
    include_str!("../../../../templates/fabrics/openvswitch.sh")
);

/// The unit of the switch: its daemons have one each, which start and stop with it.
const UNIT: &str = "openvswitch-switch.service";

/// The kernel's module of the switch.
const MODULE: &str = "openvswitch";

/// How long a start of the switch may take: it reads its database, and sets up all that is in it.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(120);

/// What the script says of a switch that does not run.
const DOES_NOT_RUN: &str = "Open vSwitch does not run";

/// What it says where the program for checksums is missing.
const NO_ETHTOOL: &str = "the program ethtool";

/// A switch on each host.
pub struct OpenVswitch;

impl Fabric for OpenVswitch {
    fn about(&self) -> About {
        About {
            title: "one layer 2 by a switch of Open vSwitch on each host",
            layer: Layer::Two,
            names: Names::OnItsHost,
            encryption: Encryption::None,
            disturbs: "nothing",
            overhead: VXLAN_TAKES,
        }
    }

    fn asks(&self) -> Asks {
        Asks {
            modules: &["vxlan", "bridge", "veth"],
            subnet: SubnetOf::Nobody,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let shares = shares::divide(world);
        let mut problems = Vec::new();
        for host in &world.hosts {
            problems.extend(links::part_problems(world, host, &shares, |part| {
                network(world, part)
            }));
            problems.extend(port_taken(world, host));
            if host.facts.unit(UNIT).is_none() {
                problems.extend(packages::problems(host, SWITCH_PACKAGE, "Open vSwitch"));
            }
        }
        problems.extend(shares.problems);
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        options::of_inventory(world, steps, notes);
        let shares = shares::divide(world);
        for host in &world.hosts {
            let Some(part) = shares.of.get(host.name()) else {
                continue;
            };
            run_switch(host, steps);
            let config = config(world, host, *part, &shares);
            links::put(
                FabricKind::Openvswitch,
                host,
                SCRIPT.to_owned(),
                &config,
                steps,
            );
            links::create(host, network(world, *part), steps);
            keeper::get_image(world, host, steps);
        }
        links::say_names(world, steps, notes);
        let slow: Vec<&str> = world
            .hosts
            .iter()
            .filter(|host| !has_module(host))
            .map(|host| host.name().as_str())
            .collect();
        if steps.next_id() > 0 && !slow.is_empty() {
            notes.push(format!(
                "the kernel of {} has no module of Open vSwitch: its switch forwards in user space, which takes many times the CPU; `fabric: vxlan` does without",
                slow.join(", ")
            ));
        }
    }

    fn leaves(&self, _: &World<'_>, host: &HostWorld<'_>) -> Vec<String> {
        packages::enables(host, UNIT).into_iter().collect()
    }

    fn listens(&self, world: &World<'_>) -> Vec<Traffic> {
        vec![Traffic::Udp(world.inventory.network.vxlan.port)]
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        links::needs(
            world,
            Some(world.inventory.network.vxlan.port),
            world.underlay_mtu(),
        )
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[
            causes::STANDING,
            SWITCH,
            LINKS,
            causes::ON_ONE_WIRE,
            causes::TUNNEL,
            causes::UNDER_ALL,
        ]
    }
}

/// Rows about the switch, by what the script on the host says of it.
const SWITCH: &[Cause] = &[
    Cause::latent("switch-down", |case| {
        links::said(
            case,
            &[DOES_NOT_RUN, "Open vSwitch cannot set up"],
            |_| "`docker-cluster up` starts it again; `journalctl -u ovs-vswitchd` and /var/log/openvswitch there tell why it ended",
        )
    }),
    Cause::latent("checksums-missing", |case| {
        links::said(
            case,
            &["leaves checksums to others", NO_ETHTOOL],
            |_| "`docker-cluster up` mends it",
        )
    }),
];

fn has_module(host: &HostWorld<'_>) -> bool {
    host.facts.modules.get(MODULE) == Some(&Module::Present)
}

/// The host's links. The order of words is that of `templates/fabrics/openvswitch.sh`. The names of devices have the number, which tells
/// two clusters on one host apart.
fn config(world: &World<'_>, host: &HostWorld<'_>, part: IpNet, shares: &Shares) -> Vec<String> {
    let vxlan = world.inventory.network.vxlan;
    let mut lines = vec![
        format!("{OWN} {part}"),
        format!("switch dcsw{}", vxlan.id),
        format!(
            "datapath {}",
            if has_module(host) { "system" } else { "netdev" }
        ),
        format!("bridge {}", links::bridge(world)),
        format!("plug dcin{0} dcout{0}", vxlan.id),
        format!("device dcvx{}", vxlan.id),
        format!("id {}", vxlan.id),
        format!("port {}", vxlan.port),
        format!("address {}", host.private),
        format!("mtu {}", mtu(world)),
    ];
    lines.extend(links::peer_lines(world, host, shares, |part, address| {
        format!("{PEER} {address} {part}")
    }));
    lines
}

/// Brings the switch to run, now and at every boot. Its ports are the script's.
fn run_switch(host: &HostWorld<'_>, steps: &mut Steps) {
    let (name, facts) = (host.name(), host.facts);
    let says = |words: &str| {
        facts
            .links
            .iter()
            .flat_map(|links| &links.wrong)
            .any(|line| line.contains(words))
    };
    let unit = facts.unit(UNIT);
    // Whether ethtool is there, only the script tells.
    let is_first =
        facts.links.is_none() && !facts.made.contains(&format!("package {ETHTOOL_PACKAGE}"));
    if unit.is_none() || is_first || says(NO_ETHTOOL) {
        packages::install(
            host,
            Stage::Network,
            &[SWITCH_PACKAGE, ETHTOOL_PACKAGE],
            "Open vSwitch",
            UNIT,
            steps,
        );
    }
    let Some(unit) = unit else { return };
    if unit.file_state != "enabled" {
        let argv = SERVICES.argv(SERVICES.enable, &[UNIT]);
        steps.add(
            name,
            Stage::Network,
            "start Open vSwitch at every boot",
            Action::Run {
                argv,
                timeout: SWITCH_TIMEOUT,
            },
        );
    }
    // The unit itself only holds those of the daemons together.
    if unit.active != "active" || says(DOES_NOT_RUN) {
        let action = Action::Service {
            verb: Verb::Restart,
            unit: UNIT,
            timeout: SWITCH_TIMEOUT,
        };
        steps.add(name, Stage::Network, "start Open vSwitch", action);
    }
}
