//! The guard of overlays: their ports listen on every address of a host, whatever its private address is, and anybody who can send to one
//! could put packets into the network. A chain of rules on each host throws away what does not come from those who take part.
//!
//! It only closes: what it lets pass still meets every other rule of the host. Whoever may take part and cannot be told is never cut off: a
//! guard that is there keeps its addresses, and one that is not is not placed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::links::{self, CONFIG, SCRIPT, UNIT, UNIT_PATH, Words};
use super::shares::PEER;
use crate::engines;
use crate::facts::firewall::Traffic;
use crate::inventory::{HostName, UnderlaySpec};
use crate::plan::{Action, HostWorld, Recorded, Stage, StepId, Steps, World};
use crate::platform::SERVICES;
use crate::proof::Cause;
use crate::proof::causes::{Case, Finding};

const TEXT: &str = concat!(
    include_str!("../../../../templates/fabrics/common.sh"),
    include_str!("../../../../templates/fabrics/guard.sh")
);

/// What the configuration of a guard is of.
pub(super) const GUARD: &str = "guard";

/// What its steps say.
const WORDS: Words = Words {
    script: "put the script in place that guards the overlay's ports",
    config: "write down who may send to the overlay's ports",
    // It says whose addresses get past it.
    mode: "0600",
    unit: "put the unit in place that closes them to all others before the engine starts",
    boot: "guard them at every boot",
    make: "close the overlay's ports to everybody who does not take part in it",
    mend: "mend the guard of the overlay's ports",
    routes: None,
};

/// Who takes part in an overlay beside the hosts that answer.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Where they send from, each with a name.
    pub(super) known: Vec<(IpAddr, String)>,
    /// Why there may be more of them than are known.
    pub(super) unknown: Option<Unknown>,
}

/// Why there may be more who take part than are known, as a sentence.
#[derive(Debug)]
pub(super) enum Unknown {
    /// It will be known: guards stay as they are until then, and no new one is placed.
    Yet(String),
    /// It will never be: there is no guard, unless somebody says that there is nobody else.
    Ever(String),
}

/// Where somebody sends from, with a name for who reads it.
type Peers = BTreeMap<IpAddr, String>;

/// The guard of a host, if it has one.
fn present(host: &HostWorld<'_>) -> Option<Peers> {
    let links = host.facts.links.as_ref()?;
    let peers = links.lines(PEER).filter_map(|words| {
        let (address, name) = words.split_first()?;
        Some((
            address.parse().ok()?,
            name.first().cloned().unwrap_or_default(),
        ))
    });
    is_there(host).then(|| peers.collect())
}

/// Whether a host has a guard.
pub(crate) fn is_there(host: &HostWorld<'_>) -> bool {
    links::of(host) == Some(GUARD)
}

/// Whether some host has a guard that names this one: then it is known where it sends from, also when it does not answer.
pub(super) fn names(world: &World<'_>, name: &HostName) -> bool {
    let named =
        |host| present(host).is_some_and(|peers| peers.values().any(|of| of == name.as_str()));
    world.hosts.iter().any(named)
}

/// Whether an engine has made an interface. Their addresses come and go, and are the same on many hosts.
fn is_of_engine(interface: Option<&str>) -> bool {
    let begins = |name: &str| {
        ["docker", "br-", "veth"]
            .iter()
            .any(|begin| name.starts_with(begin))
    };
    interface.is_some_and(begins)
}

/// The addresses of a host by which others may know it.
fn own<'a>(host: &'a HostWorld<'_>) -> impl Iterator<Item = IpAddr> + 'a {
    let others = host.facts.addresses.iter();
    let others = others.filter(|address| !is_of_engine(Some(&address.interface)));
    others
        .map(|address| address.net.addr())
        .filter(|address| address.is_ipv4() && !address.is_loopback())
        .chain([host.private])
}

/// Everybody who may send to a host.
fn peers(world: &World<'_>, host: &HostWorld<'_>, others: &Others) -> Peers {
    let mut all = Peers::new();
    // Of hosts that do not answer the guards of the others tell.
    if !world.unreached.is_empty() {
        let is_silent = |name: &str| world.unreached.iter().any(|one| one.host.as_str() == name);
        let guards = world.hosts.iter().filter_map(present).flatten();
        all.extend(guards.filter(|(_, name)| is_silent(name)));
    }
    all.extend(others.known.iter().cloned());
    for other in world.others(host) {
        // Packets have the address that the route gives them, whatever is advertised, and nobody tells to which of its addresses the data goes.
        let mut from: BTreeSet<IpAddr> = own(host)
            .flat_map(|to| other.facts.sources_towards(to))
            .filter(|from| !is_of_engine(other.facts.interface_with(*from)))
            .collect();
        from.insert(other.private);
        all.extend(
            from.into_iter()
                .map(|from| (from, other.name().to_string())),
        );
    }
    all.retain(|address, _| host.facts.interface_with(*address).is_none());
    all
}

/// The host's guard. The order of words is that of `templates/fabrics/guard.sh`.
fn config(ports: &[Traffic], peers: &Peers) -> Vec<String> {
    let ports = ports.iter().filter_map(|traffic| match traffic {
        Traffic::Tcp(port) => Some(format!("port tcp {port}")),
        Traffic::Udp(port) => Some(format!("port udp {port}")),
        Traffic::Esp => None,
    });
    // What nodes call themselves must not look like more words.
    let name = |name: &str| name.replace(char::is_whitespace, "_");
    let peers = peers
        .iter()
        .map(|(address, of)| format!("{PEER} {address} {}", name(of)));
    ports.chain(peers).collect()
}

/// Whether a host cannot have rules.
fn has_no_rules(host: &HostWorld<'_>) -> bool {
    // The packages of engines bring iptables along.
    !host.facts.iptables && host.facts.engine.is_some()
}

/// Guards these ports on all hosts.
pub(super) fn put(
    world: &World<'_>,
    ports: &[Traffic],
    others: &Others,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    if matches!(world.inventory.underlay, UnderlaySpec::Wireguard(_)) {
        // They are open to the mesh only, by rules that know no addresses.
        return take_away(world, steps);
    }
    let unknown = match (world.inventory.network.guard, &others.unknown) {
        (Some(false), _) => return take_away(world, steps),
        (_, Some(Unknown::Ever(why))) => {
            notes.push(open(why));
            return take_away(world, steps);
        }
        (_, Some(Unknown::Yet(why))) => Some(why),
        (_, None) => None,
    };
    let (mut without, mut waits) = (Vec::new(), Vec::new());
    let mut placed: Vec<(&HostWorld<'_>, StepId)> = Vec::new();
    for host in &world.hosts {
        let present = present(host);
        let mut peers = peers(world, host, others);
        match (&present, unknown) {
            _ if has_no_rules(host) => {
                without.push(host.name().as_str());
                continue;
            }
            (None, Some(_)) => {
                waits.push(host.name().as_str());
                continue;
            }
            (Some(present), Some(_)) => {
                for (address, name) in present {
                    peers.entry(*address).or_insert_with(|| name.clone());
                }
            }
            (_, None) => {}
        }
        placed.extend(place(host, ports, &peers, steps).map(|id| (host, id)));
    }
    let_in_first(&placed, steps);
    if !without.is_empty() {
        notes.push(format!(
            "{}: there is no iptables, so the overlay's ports stay open to whoever can send there; install it, and run `up` again",
            without.join(", ")
        ));
    }
    if let Some(why) = unknown.filter(|_| !waits.is_empty()) {
        notes.push(format!("{}: {}", waits.join(", "), open(why)));
    }
}

fn open(why: &str) -> String {
    format!("the overlay's ports stay open to whoever can send there: {why}")
}

fn take_away(world: &World<'_>, steps: &mut Steps) {
    for host in &world.hosts {
        remove(host, steps);
    }
}

fn place(
    host: &HostWorld<'_>,
    ports: &[Traffic],
    peers: &Peers,
    steps: &mut Steps,
) -> Option<StepId> {
    let config = config(ports, peers);
    links::put_with(
        &WORDS,
        GUARD,
        host,
        TEXT.to_owned(),
        &config,
        |_| true,
        steps,
    )
}

/// A host whose place is new waits, before it talks to the others, until those that have a guard let it in. What they do for one new host is
/// about that one, so that `--on` takes it along.
fn let_in_first(placed: &[(&HostWorld<'_>, StepId)], steps: &mut Steps) {
    let is_new = |host: &HostWorld<'_>| present(host).is_none();
    let keeps_out = |host: &HostWorld<'_>, new: &HostWorld<'_>| {
        present(host).is_some_and(|peers| !peers.contains_key(&new.private))
    };
    let new: Vec<&(&HostWorld<'_>, StepId)> =
        placed.iter().filter(|(host, _)| is_new(host)).collect();
    for (host, id) in &new {
        let doors = placed
            .iter()
            .filter(|(other, _)| keeps_out(other, host))
            .map(|(_, door)| *door);
        steps.require(*id, &doors.collect::<Vec<_>>());
    }
    let [(only, _)] = new[..] else { return };
    for (host, _) in placed.iter().filter(|(host, _)| keeps_out(host, only)) {
        let of_guard = steps
            .of(host.name())
            .filter(|step| step.stage == Stage::Network)
            .map(|step| step.id);
        for id in of_guard.collect::<Vec<_>>() {
            steps.about(id, only.name());
        }
    }
}

/// Does not let a host in any more that leaves, and takes its own guard away. `after` is when it has left.
pub(super) fn let_out(
    world: &World<'_>,
    ports: &[Traffic],
    others: &Others,
    leaving: &HostName,
    after: &[StepId],
    steps: &mut Steps,
) {
    let mut rest = world.clone();
    rest.hosts.retain(|host| host.name() != leaving);
    rest.unreached.retain(|one| one.host != *leaving);
    for host in &rest.hosts {
        let Some(present) = present(host) else {
            continue;
        };
        let stays = |(address, name): (&IpAddr, &String)| {
            (name != leaving.as_str()).then(|| (*address, name.clone()))
        };
        let kept = others.unknown.as_ref().map(|_| present.iter());
        let mut peers = peers(&rest, host, others);
        for (address, name) in kept.into_iter().flatten().filter_map(stays) {
            peers.entry(address).or_insert(name);
        }
        if let Some(id) = place(host, ports, &peers, steps) {
            steps.follow(id, after);
        }
    }
    if let Some(host) = world.host(leaving) {
        remove(host, steps);
    }
}

/// Opens the ports again, and takes away what guarded them.
fn remove(host: &HostWorld<'_>, steps: &mut Steps) {
    if present(host).is_none() {
        return;
    }
    let name = host.name();
    let run = |steps: &mut Steps, why: &str, argv| {
        let timeout = engines::SYSTEMD_TIMEOUT;
        steps.add(name, Stage::Network, why, Action::Run { argv, timeout });
    };
    if host.facts.unit(UNIT).is_some() {
        let argv = SERVICES.argv(SERVICES.disable_now, &[UNIT]);
        run(
            steps,
            "do not guard the overlay's ports at boot any more",
            argv,
        );
    }
    let why = "open the overlay's ports to everybody";
    steps.add(name, Stage::Network, why, links::down());
    for path in [SCRIPT, CONFIG, UNIT_PATH] {
        let (Some(record), true) = (host.facts.record(path), host.facts.files.contains_key(path))
        else {
            continue;
        };
        let action = Action::restore(host.facts, record, Recorded::Dropped);
        steps.add(name, Stage::Network, format!("remove {path}"), action);
    }
    let argv = SERVICES.argv(SERVICES.reread, &[]);
    run(steps, "let systemd forget the unit", argv);
}

/// The row about it, by what the script on the host says.
pub(super) const ROWS: &[Cause] = &[Cause::latent("rule-missing", rule_missing)];

fn rule_missing(case: &Case<'_>) -> Option<Finding> {
    links::said(case, &["rule"], |_| "`docker-cluster up` mends it")
}
