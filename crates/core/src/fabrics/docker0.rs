//! A host's part of the subnet on the engine's own bridge: containers that name no network are connected.
//!
//! The engine takes the part from its option `bip`. It also keeps it for itself, so that a removed option alone does not bring
//! `docker0` back: the old address is set as `bip` for one start, and goes with the next.

use std::net::IpAddr;

use ipnet::IpNet;
use semver::Version;
use serde_json::{Value, json};

use super::shares::Shares;
use crate::daemon_json::{self, History, MergeError, Options};
use crate::engines::options::{self, Target};
use crate::engines::{RESTART_TIMEOUT, UNIT, unit};
use crate::facts::{Engine, Facts};
use crate::inventory::{BridgeKind, DEFAULT_NETWORK, overlap};
use crate::plan::{
    Action, Content, ETHERNET_MTU, HostWorld, KEEP_MODE, Problem, PutFile, Steps, Verb, World,
};

/// The bridge.
pub(crate) const DEVICE: &str = "docker0";

/// The engine's option for the bridge's own address.
const BIP: &str = "bip";

/// What a line of the record begins with that says where the bridge was.
const WAS: &str = "docker0 ";

/// Where engines put the bridge that choose by themselves, and have the choice: for those that came with the cluster.
const USUAL: &str = "172.17.0.1/16";

/// The first engine that drops what comes to containers from elsewhere unless it is told not to, in words that older ones do not start
/// with.
const DIRECT_ROUTING_SINCE: Version = Version::new(28, 2, 0);

/// Whether the inventory wants it.
pub(super) fn is_wanted(world: &World<'_>) -> bool {
    world.inventory.network.bridge == BridgeKind::Docker0
}

/// What tells where the bridge is.
const QUESTION: &[&str] = &[
    "docker",
    "network",
    "inspect",
    "--format",
    "{{range .IPAM.Config}}{{.Subnet}} {{end}}",
    DEFAULT_NETWORK,
];

/// The options of a host's engine, beside those of the inventory.
fn wanted(world: &World<'_>, host: &HostWorld<'_>, part: IpNet) -> Options {
    let mut options = world.inventory.engine.options.clone();
    let mut set = |key: &str, value: Value| drop(options.insert(key.to_owned(), value));
    set(BIP, json!(first_host(part)));
    set("ip-masq", json!(false));
    let mtu = host.mtu.min(world.underlay_mtu());
    if mtu != ETHERNET_MTU {
        set("mtu", json!(mtu));
    }
    if host
        .engine
        .as_ref()
        .is_some_and(|engine| engine.version >= DIRECT_ROUTING_SINCE)
    {
        set("allow-direct-routing", json!(true));
    }
    options
}

/// The first address of a part, which is the bridge's.
fn first_host(part: IpNet) -> String {
    let first = part.hosts().next().unwrap_or(part.network());
    format!("{first}/{}", part.prefix_len())
}

/// Where the bridge is, as far as the host tells.
fn present(facts: &Facts) -> Option<IpNet> {
    let of = |address: IpAddr| address.is_ipv4();
    facts
        .addresses
        .iter()
        .find(|one| one.interface == DEVICE && of(one.net.addr()))
        .map(|one| one.net)
}

/// Where the bridge was before, by the record.
fn before(facts: &Facts) -> Option<IpNet> {
    facts
        .made
        .iter()
        .find_map(|line| line.strip_prefix(WAS)?.parse().ok())
}

/// The line of the record that says where the bridge is now, if none says where it was.
pub(super) fn leaves(world: &World<'_>, host: &HostWorld<'_>) -> Vec<String> {
    if !is_wanted(world) || before(host.facts).is_some() {
        return Vec::new();
    }
    let now = present(host.facts);
    now.map(|now| format!("{WAS}{now}")).into_iter().collect()
}

/// Options of somebody's that decide about the bridge as well, and what each does.
const IN_THE_WAY: &[(&str, &str)] = &[
    ("bridge", "puts containers on another bridge than docker0"),
    (
        "fixed-cidr",
        "gives containers on docker0 addresses of another range",
    ),
    (
        "default-gateway",
        "sends containers on docker0 by an address that docker0 will not have",
    ),
    (
        "ipv6",
        "gives docker0 IPv6 as well, whose masquerade would end with that of IPv4",
    ),
];

/// What forbids it on a host.
pub(super) fn problems(world: &World<'_>, host: &HostWorld<'_>, part: IpNet) -> Vec<Problem> {
    let mut problems = Vec::new();
    let wanted = wanted(world, host, part);
    options::problems(host, &wanted, &mut problems);
    let in_file = options::present(host);
    for (key, what) in IN_THE_WAY {
        let is_set = |value: &&Value| **value != Value::Bool(false);
        let place = match in_file.get(*key).filter(is_set) {
            Some(_) => Some(format!("in {}", daemon_json::PATH)),
            None if wanted.get(*key).is_some_and(|value| is_set(&value)) => {
                Some("in `engine.options` of the inventory".to_owned())
            }
            None => unit::flag(host.facts, key).map(|flag| format!("as a flag in {}", flag.source)),
        };
        problems.extend(place.map(|place| {
            Problem::on(
                host.name(),
                format!("the daemon option `{key}` is set {place}, and {what}"),
                "remove it there, or remove `bridge: docker0` from the inventory: then the cluster's containers have a bridge of their own",
            )
        }));
    }
    let engine = host.facts.engine.as_ref();
    let networks = engine.into_iter().flat_map(|engine| &engine.networks);
    for found in networks.filter(|found| found.name != DEFAULT_NETWORK) {
        problems.extend(
            found
                .subnets
                .iter()
                .filter(|one| overlap(one, &part))
                .map(|one| {
                    Problem::on(
                        host.name(),
                        format!(
                            "its part {part} overlaps with {one} of its network {}",
                            found.name
                        ),
                        "choose another `network.subnet`",
                    )
                }),
        );
    }
    if !is_there(host, part) {
        problems.extend(stays(host));
        problems.extend(unknown(host));
    }
    problems
}

/// Whether the engine has the bridge there.
fn is_there(host: &HostWorld<'_>, part: IpNet) -> bool {
    host.facts
        .engine
        .as_ref()
        .and_then(|engine| engine.network(DEFAULT_NETWORK))
        .is_some_and(|network| network.subnets.contains(&part.trunc()))
}

/// An engine whose containers outlive it keeps its bridge as it is while one of them runs ("updated network configuration will not take
/// affect", moby's `daemon.go`).
pub(crate) fn stays(host: &HostWorld<'_>) -> Option<Problem> {
    let engine = host.facts.engine.as_ref()?;
    let lives_on = engine
        .info
        .as_ref()?
        .get("LiveRestoreEnabled")
        .and_then(Value::as_bool)?;
    let running: Vec<&str> = engine
        .running()
        .map(|container| container.name.as_str())
        .collect();
    if !lives_on || running.is_empty() {
        return None;
    }
    Some(Problem::on(
        host.name(),
        format!(
            "its engine has live-restore, with which docker0 stays where it is while containers run: {}",
            running.join(", ")
        ),
        "stop them for this run, or take `live-restore` out of the engine's options and restart it first",
    ))
}

/// An engine that is stopped and whose bridge is gone: where it was could not be put back.
fn unknown(host: &HostWorld<'_>) -> Option<Problem> {
    let engine = host.facts.engine.as_ref()?;
    let is_known = engine.is_up() || present(host.facts).or(before(host.facts)).is_some();
    (!is_known).then(|| {
        Problem::on(
            host.name(),
            "its engine is stopped, and where docker0 is, which is to be put back one day, is not known",
            "start its engine first (`systemctl start docker` there)",
        )
    })
}

/// Gives the engines their options, and restarts those that do not run with them.
pub(super) fn steps(
    world: &World<'_>,
    shares: &Shares,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    let part = |host: &HostWorld<'_>| shares.of.get(host.name()).copied();
    let wanted = |host: &HostWorld<'_>| {
        part(host).map_or_else(Options::new, |part| self::wanted(world, host, part))
    };
    let shows = |host: &HostWorld<'_>| part(host).iter().map(ToString::to_string).collect();
    let target = Target {
        wanted: &wanted,
        runs_with: &|host| part(host).is_some_and(|part| is_there(host, part)),
        question: QUESTION,
        shows: &shows,
        settled: None,
        back: &|host| {
            let text = host.facts.daemon_json.as_deref();
            let was = before(host.facts).or_else(|| present(host.facts));
            was.and_then(|was| by_way_of(host, text, was))
                .map(|(put, _)| vec![put, restart(), put_back()])
                .unwrap_or_default()
        },
    };
    for host in &world.hosts {
        let Some(part) = part(host).filter(|part| !is_there(host, *part)) else {
            continue;
        };
        let from = present(host.facts).map_or_else(String::new, |was| format!(" from {was}"));
        notes.push(format!(
            "{}: docker0 moves{from} to {}; containers on it get other addresses",
            host.name(),
            first_host(part)
        ));
    }
    options::steps(world, steps, notes, &target);
}

fn restart() -> Action {
    Action::Service {
        verb: Verb::Restart,
        unit: UNIT,
        timeout: RESTART_TIMEOUT,
    }
}

fn put_back() -> Action {
    Action::PutBack {
        paths: vec![daemon_json::PATH.to_owned()],
    }
}

/// The way back of the bridge: options for one start.
pub(crate) struct WayBack {
    /// Where it was.
    pub(crate) was: IpNet,
    /// Writes them.
    pub(crate) put: Action,
    /// The text that is in the file then.
    pub(crate) text: String,
    /// What tells where the bridge is.
    pub(crate) question: &'static [&'static str],
}

/// How a host's bridge goes back to where it was, if it is elsewhere. `text` is what its options will be afterwards.
pub(crate) fn way_back(host: &HostWorld<'_>, text: Option<&str>) -> Option<WayBack> {
    let was = moved_from(host)?;
    let (put, text) = by_way_of(host, text, was)?;
    Some(WayBack {
        was,
        put,
        text,
        question: QUESTION,
    })
}

/// Where a bridge was that docker-cluster has moved.
fn moved_from(host: &HostWorld<'_>) -> Option<IpNet> {
    let facts = host.facts;
    let ours = facts
        .links
        .as_ref()
        .is_some_and(|links| links.lines("bridge").any(|words| words == [DEVICE]));
    let was = before(facts).or_else(|| ours.then(|| USUAL.parse().ok())?)?;
    (!is_there(host, was)).then_some(was)
}

/// The options `text` with the address `was` for the bridge, as a write and as a text. None where somebody has chosen another.
fn by_way_of(host: &HostWorld<'_>, text: Option<&str>, was: IpNet) -> Option<(Action, String)> {
    let only = Options::from_iter([(BIP.to_owned(), json!(was))]);
    let merged = match daemon_json::merge(text, &only, &History::default()) {
        Ok(merged) => merged?,
        Err(MergeError::Invalid(_) | MergeError::Conflicts(_)) => return None,
    };
    let put = PutFile {
        path: daemon_json::PATH.to_owned(),
        mode: KEEP_MODE,
        owner: "root:root".to_owned(),
        content: Content::text(merged.clone()),
        before: Some(host.facts.daemon_json.clone().unwrap_or_default()),
        read_by: Some(UNIT),
        ours: Some(daemon_json::claim(
            &options::present(host),
            &only,
            &options::history(host.facts),
        )),
    };
    Some((Action::PutFile(put), merged))
}

/// A network that has taken the addresses which the bridge is to go back to: the engine would not start.
pub(crate) fn taken(host: &HostWorld<'_>) -> Option<Problem> {
    let was = moved_from(host)?;
    let networks = host
        .facts
        .engine
        .iter()
        .flat_map(|engine: &Engine| &engine.networks);
    let other = networks
        .filter(|network| network.name != DEFAULT_NETWORK)
        .find(|network| network.subnets.iter().any(|one| overlap(one, &was)))?;
    Some(Problem::on(
        host.name(),
        format!(
            "docker0 was at {was}, and its network {} has these addresses now: the engine would not start",
            other.name
        ),
        format!(
            "remove that network (`docker network rm {}` there), or say with `\"bip\"` in {} where docker0 is to be",
            other.name,
            daemon_json::PATH
        ),
    ))
}
