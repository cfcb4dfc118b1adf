//! Why a pair fails: the table of causes, and nothing else. A cause looks at what is known of a pair and of its two hosts, and
//! either says one sentence or nothing; the first that speaks is the verdict. The order is from what explains everything (a host
//! that is off) to what is left when all layers pass.

mod addresses;

use std::collections::BTreeMap;

use super::known::{Heard, HostView, Ill, Known, SIGN_OF_LIFE, STOPPED};
use super::link::{Link, Tcp, Way};
use super::matrix::{Failure, Layer};
use crate::engines::MAX_CLOCK_OFFSET;
use crate::engines::known;
use crate::facts::firewall::{GUARD_CHAIN, Traffic};
use crate::inventory::HostName;

pub use addresses::ON_ONE_WIRE;

/// A pair to explain.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Who asked.
    pub from: &'a HostName,
    /// Who was asked.
    pub to: &'a HostName,
    /// How it failed; `None` for a pair that works, of which only the ways are looked at.
    pub failure: Option<&'a Failure>,
    /// Everything known.
    pub known: &'a Known,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// These hosts.
    Hosts(Vec<HostName>),
    /// This direction.
    Link(HostName, HostName),
}

/// A cause that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub about: About,
    /// The sentence, without its subject.
    pub what: String,
    /// What to run or change.
    pub fix: String,
    /// What was observed.
    pub observed: Vec<String>,
}

/// A row of the table.
pub struct Cause {
    /// Its name in JSON and JUnit; stable.
    pub id: &'static str,
    /// Whether it can be wrong with a pair that still works, until the next change.
    pub latent: bool,
    look: fn(&Case<'_>) -> Option<Finding>,
}

impl Cause {
    /// A row about pairs that fail now.
    #[must_use]
    pub const fn of_now(id: &'static str, look: fn(&Case<'_>) -> Option<Finding>) -> Self {
        Self {
            id,
            latent: false,
            look,
        }
    }

    /// A row that also looks at pairs that still work: their next change will need what it is about.
    #[must_use]
    pub const fn latent(id: &'static str, look: fn(&Case<'_>) -> Option<Finding>) -> Self {
        Self {
            id,
            latent: true,
            look,
        }
    }
}

impl std::fmt::Debug for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

/// What the order of the table begins with, whatever the fabric: hosts that can have no part in anything.
const FIRST: &[Cause] = &[
    // Also of pairs that work: what could not be asked was not found to be well.
    Cause::latent("host-unreachable", host_unreachable),
    Cause::of_now("not-finished", not_finished),
    Cause::of_now("engine-down", engine_down),
    Cause::latent("duplicate-hostname", duplicate_hostname),
];

/// A row of fabrics whose engines announce themselves in a key-value store; the store has rows of its own.
pub const OVER_A_STORE: &[Cause] = &[Cause::latent("wrong-advertise", wrong_advertise)];

/// Rows of fabrics over a swarm.
pub const IN_A_SWARM: &[Cause] = &[
    Cause::latent("wrong-advertise", wrong_advertise),
    Cause::latent("swarm", swarm),
];

/// What every fabric with a network of its own stands on.
pub const STANDING: &[Cause] = &[
    Cause::of_now("network-missing", network_missing),
    Cause::of_now("no-probe", no_probe),
    Cause::latent("rp-filter", addresses::of_hosts),
    Cause::latent("underlay-down", underlay_down),
];

/// Rows of the engines' own overlays: datagrams of VXLAN, gossip, and what engines have heard of each other.
pub const OVERLAYS: &[Cause] = &[
    Cause::latent("esp-blocked", esp_blocked),
    Cause::latent("vxlan-blocked", vxlan_blocked),
    Cause::latent("gossip-udp-blocked", gossip_udp_blocked),
    Cause::latent("tcp-port-blocked", tcp_port_blocked),
    Cause::latent("mtu", mtu),
    Cause::of_now("forward-drop", forward_drop),
    Cause::of_now("name-unknown", name_unknown),
    Cause::of_now("name", name),
    Cause::of_now("neighbours-full", neighbours_full),
    Cause::latent("packets-lost", packets_lost),
    Cause::latent("clock", clock),
    Cause::of_now("checksum-offload", checksum_offload),
    Cause::of_now("neighbours", neighbours),
];

/// Rows of fabrics with a tunnel of docker-cluster's own.
pub const TUNNEL: &[Cause] = &[Cause::latent("tunnel-blocked", vxlan_blocked)];

/// What can be wrong with the way between hosts under any other fabric.
pub const UNDER_ALL: &[Cause] = &[
    Cause::latent("tcp-port-blocked", tcp_port_blocked),
    Cause::latent("mtu", mtu),
    Cause::of_now("neighbours-full", neighbours_full),
    Cause::of_now("rp-filter", addresses::of_containers),
];

/// The name of what is left when no row speaks.
pub const UNEXPLAINED: &str = "unexplained";

const LAST: &[Cause] = &[Cause::of_now(UNEXPLAINED, unexplained)];

/// The table of a fabric whose own rows these are, over an underlay with those. Its order matters: the first that speaks is the verdict.
pub fn table(
    under: &'static [Cause],
    own: &'static [&'static [Cause]],
) -> impl Iterator<Item = &'static Cause> {
    FIRST
        .iter()
        .chain(under)
        .chain(own.iter().copied().flatten())
        .chain(LAST)
}

/// The verdict on a pair. One that fails always has one; one that works may have one about a layer that its next change will need.
#[must_use]
pub fn explain(case: &Case<'_>) -> Option<(&'static Cause, Finding)> {
    table(case.known.under, case.known.rows)
        .filter(|cause| cause.latent || case.failure.is_some())
        .find_map(|cause| (cause.look)(case).map(|finding| (cause, finding)))
}

impl<'a> Case<'a> {
    /// What is known of a host.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&'a HostView> {
        self.known.hosts.get(name)
    }

    /// The two hosts, the asked one first: it is the one that fails to answer.
    pub fn hosts(&self) -> impl Iterator<Item = (&'a HostName, &'a HostView)> + use<'a> {
        let known = self.known;
        [self.to, self.from]
            .into_iter()
            .filter_map(move |name| Some((name, known.hosts.get(name)?)))
    }

    /// Both directions: an answer needs the way back.
    pub fn directions(
        &self,
    ) -> impl Iterator<Item = (&'a HostName, &'a HostName, &'a Link)> + use<'a> {
        let (known, pairs) = (self.known, [(self.from, self.to), (self.to, self.from)]);
        pairs.into_iter().filter_map(move |(from, to)| {
            Some((from, to, known.links.get(&(from.clone(), to.clone()))?))
        })
    }

    fn reverse(&self, from: &HostName, to: &HostName) -> Option<&'a Link> {
        self.known.links.get(&(to.clone(), from.clone()))
    }
}

/// Whom an engine has not heard of, in words.
pub fn unknown(others: &[HostName]) -> String {
    let names: Vec<&str> = others.iter().map(HostName::as_str).collect();
    format!(
        "it has not heard that {} {} on the network",
        names.join(", "),
        if names.len() == 1 { "is" } else { "are" }
    )
}

/// A command as root on a host, to be pasted.
#[must_use]
pub fn on(known: &Known, host: &HostName, command: &str) -> String {
    let sudo = if known.hosts.get(host).is_some_and(|view| view.through_sudo) {
        "sudo "
    } else {
        ""
    };
    format!("docker-cluster ssh {host} -- {sudo}{command}")
}

/// The cure of an engine that is wrong about the others, and its price.
fn restart_engine(known: &Known, host: &HostName) -> String {
    format!(
        "{} (containers without a restart policy stop)",
        on(known, host, "systemctl restart docker")
    )
}

/// A finding about one host.
pub fn about_host(
    host: &HostName,
    what: impl Into<String>,
    fix: impl Into<String>,
    observed: Vec<String>,
) -> Option<Finding> {
    Some(Finding {
        about: About::Hosts(vec![host.clone()]),
        what: what.into(),
        fix: fix.into(),
        observed,
    })
}

fn host_unreachable(case: &Case<'_>) -> Option<Finding> {
    case.hosts().find_map(|(name, view)| match &view.ill {
        Some(Ill::Unreached { error, hint }) => {
            let ask = format!("is it on? `docker-cluster ssh {name}`");
            let fix = if hint.is_empty() { ask } else { hint.clone() };
            about_host(
                name,
                format!("it cannot be asked: {error}"),
                fix,
                Vec::new(),
            )
        }
        _ => None,
    })
}

fn not_finished(case: &Case<'_>) -> Option<Finding> {
    case.hosts().find_map(|(name, view)| match &view.ill {
        Some(Ill::NotFinished(step)) => {
            let command = &step.command;
            let fix = format!(
                "mend what it says, then run `docker-cluster {command}` again: it goes on where this run stopped"
            );
            about_host(name, step.what.clone(), fix, step.said.clone())
        }
        _ => None,
    })
}

/// The command that did not get to its end on some host, if one did not: what others lack may only wait for that.
fn unfinished(known: &Known) -> Option<(&HostName, &str)> {
    known.hosts.iter().find_map(|(name, view)| match &view.ill {
        Some(Ill::NotFinished(step)) => Some((name, step.command.as_str())),
        _ => None,
    })
}

/// What to do first where a command has not got to its end.
fn finish_first(known: &Known) -> Option<String> {
    let (name, command) = unfinished(known)?;
    Some(format!(
        "first mend {name}, and run `docker-cluster {command}` again: it goes on where this run stopped"
    ))
}

fn engine_down(case: &Case<'_>) -> Option<Finding> {
    let is_stopped = |view: &HostView| view.ill == Some(Ill::Stopped);
    let (name, view) = case
        .hosts()
        .find(|(_, view)| view.engine_up == Some(false) || is_stopped(view))?;
    let said = view.last_words();
    if is_stopped(view) {
        return about_host(
            name,
            STOPPED,
            on(case.known, name, "systemctl start docker"),
            said,
        );
    }
    if view.socket_gone {
        return about_host(
            name,
            "its engine cannot be asked: docker.socket is active, and the socket /var/run/docker.sock is gone. A restart of the engine does not bring it back",
            // The engine has to let go of the old socket first.
            on(
                case.known,
                name,
                "sh -c 'systemctl stop docker.service docker.socket && systemctl start docker.socket docker.service'",
            ),
            said,
        );
    }
    if view.engine_missing {
        return about_host(
            name,
            "it has no Docker engine",
            "`docker-cluster up` says what it would install",
            said,
        );
    }
    let (what, command) = match view.engine_state.as_str() {
        "inactive" => (STOPPED, "systemctl start docker"),
        "failed" => (
            "its Docker engine does not answer: it has failed",
            "journalctl -u docker -n 50",
        ),
        _ => (
            "its Docker engine does not answer",
            "systemctl status docker",
        ),
    };
    about_host(name, what, on(case.known, name, command), said)
}

fn duplicate_hostname(case: &Case<'_>) -> Option<Finding> {
    case.hosts().find_map(|(name, view)| {
        let same: Vec<&HostName> = case
            .known
            .hosts
            .iter()
            .filter(|(_, other)| other.hostname == view.hostname && !view.hostname.is_empty())
            .map(|(other, _)| other)
            .collect();
        if same.len() < 2 {
            return None;
        }
        Some(Finding {
            about: About::Hosts(same.into_iter().cloned().collect()),
            what: format!(
                "they have the same host name `{}`, by which engines tell each other apart: packets vanish",
                view.hostname
            ),
            fix: format!("{}, then restart its engine", on(case.known, name, "hostnamectl set-hostname NAME")),
            observed: Vec::new(),
        })
    })
}

fn wrong_advertise(case: &Case<'_>) -> Option<Finding> {
    case.hosts().find_map(|(name, view)| {
        let (address, interface) = view.advertised.as_ref()?;
        let wanted = view.private?;
        if *address == wanted.to_string() {
            return None;
        }
        let at = match interface {
            Some(interface) => format!("of its interface {interface}"),
            None => "which is on none of its interfaces".to_owned(),
        };
        about_host(
            name,
            format!("its engine advertises {address}, {at}, and the others reach it at {wanted}"),
            "`docker-cluster plan` shows what sets it; `private:` in the inventory says which address is right",
            Vec::new(),
        )
    })
}

/// Words of swarmkit for a raft group without a majority (`manager/state/raft`, `ErrLostLeadership` and its like end in these).
const NO_LEADER: &str = "does not have a leader";

fn swarm(case: &Case<'_>) -> Option<Finding> {
    let (name, _) = case.hosts().find(|(_, view)| view.swarm_error.is_some())?;
    let errors: Vec<(&HostName, &String)> = case
        .known
        .hosts
        .iter()
        .filter_map(|(name, view)| Some((name, view.swarm_error.as_ref()?)))
        .collect();
    let observed = errors
        .iter()
        .map(|(name, error)| format!("{name}: {error}"))
        .collect();
    let without: Vec<HostName> = errors
        .iter()
        .filter(|(_, error)| error.contains(NO_LEADER))
        .map(|(name, _)| (*name).clone())
        .collect();
    if without.contains(name) {
        return Some(Finding {
            about: About::Hosts(without),
            what: "the swarm has no leader: running containers keep their network, new ones cannot join it".to_owned(),
            fix: "start the managers that are down; if they are gone for good, `docker-cluster up --recover-quorum`"
                .to_owned(),
            observed,
        });
    }
    about_host(
        name,
        "its engine is not in order with its swarm",
        "`docker-cluster plan` says what it lacks".to_owned(),
        observed,
    )
}

fn network_missing(case: &Case<'_>) -> Option<Finding> {
    let (name, _) = case.hosts().find(|(_, view)| {
        view.engine_up == Some(true) && view.needs_network && !view.has_network
    })?;
    let network = &case.known.needs.network;
    let fix = finish_first(case.known).unwrap_or_else(|| "`docker-cluster up` makes it".to_owned());
    about_host(
        name,
        format!("the network {network} is not there"),
        fix,
        Vec::new(),
    )
}

fn no_probe(case: &Case<'_>) -> Option<Finding> {
    case.hosts().find_map(|(name, view)| match &view.ill {
        Some(Ill::NoProbe(error)) => {
            let fix = match error.contains(NOT_ATTACHED) && is_alone(case, name) {
                true => format!(
                    "`docker-cluster verify` again in some minutes: an engine waits for others that have not heard of it yet. If it stays so: {}",
                    restart_engine(case.known, name)
                ),
                false => finish_first(case.known).unwrap_or_else(|| on(case.known, name, "journalctl -u docker -n 50")),
            };
            about_host(name, error.clone(), fix, view.last_words())
        }
        _ => None,
    })
}

/// How an engine says that no manager of its swarm gave a container its address (`daemon/cluster/networks.go`). Where everything else is
/// in order its own part in the swarm hangs: seen for minutes, once, after the manager that led its swarm had been powered off and on;
/// see also moby/moby#32607.
const NOT_ATTACHED: &str = "attaching to network failed";

/// Whether this host's engine is all that is not in order: with a manager away, or a port closed, a restart would only take more away.
fn is_alone(case: &Case<'_>, name: &HostName) -> bool {
    let mut others = case.known.hosts.iter().filter(|(other, _)| *other != name);
    let mut links = case
        .known
        .links
        .iter()
        .filter(|((from, to), _)| from == name || to == name);
    others.all(|(_, view)| {
        view.ill.is_none() && view.engine_up == Some(true) && view.swarm_error.is_none()
    }) && links.all(|(_, link)| link.tcp.values().all(|tcp| *tcp == Tcp::Open))
}

/// The way from the host that asked, where the hosts reach each other and their containers do not.
#[must_use]
pub fn only_the_hosts<'a>(case: &Case<'a>) -> Option<(&'a HostName, &'a HostName, &'a Link)> {
    case.failure?;
    case.directions()
        .find(|(from, _, link)| *from == case.from && link.anything_passes())
}

/// A finding about one direction, with the layers that were seen there.
pub fn link(
    case: &Case<'_>,
    (from, to, link): (&HostName, &HostName, &Link),
    what: String,
    fix: String,
    more: Vec<String>,
) -> Option<Finding> {
    let mut observed: Vec<String> = link
        .layers(case.known.needs.tunnel)
        .into_iter()
        .map(|line| format!("{from} -> {to}, {line}"))
        .collect();
    observed.extend(more);
    Some(Finding {
        about: About::Link(from.clone(), to.clone()),
        what,
        fix,
        observed,
    })
}

fn underlay_down(case: &Case<'_>) -> Option<Finding> {
    let (from, to, found) = case
        .directions()
        .find(|(_, _, link)| !link.anything_passes())?;
    let address = case
        .host(to)
        .and_then(|view| view.private)
        .map_or_else(String::new, |ip| format!(" ({ip})"));
    link(
        case,
        (from, to, found),
        format!("nothing passes between their private addresses{address}: no TCP, no UDP, no ICMP"),
        format!(
            "{}; check routes, VLANs and security groups",
            on(
                case.known,
                from,
                &format!("ping -c1 {}", address.trim_matches([' ', '(', ')']))
            )
        ),
        Vec::new(),
    )
}

/// What a host's firewall keeps out by default of what the others send it: what it says of itself, and what lets all of that in.
fn default_deny(
    case: &Case<'_>,
    host: &HostName,
    from: &HostName,
    traffic: Traffic,
) -> Option<(String, String)> {
    let view = case.host(host)?;
    let peer = case.host(from).and_then(|view| view.private);
    let firewall = view
        .firewall
        .as_ref()
        .filter(|_| view.keeps_out(traffic, peer))?;
    let needs = &case.known.needs;
    let tcp = needs
        .ports
        .get(host)
        .into_iter()
        .flatten()
        .filter(|(_, role)| *role != SIGN_OF_LIFE);
    let mut all: Vec<Traffic> = tcp.map(|(port, _)| Traffic::Tcp(*port)).collect();
    all.extend(needs.datagrams());
    all.push(traffic);
    all.retain(|traffic| view.keeps_out(*traffic, peer));
    let fix = format!(
        "{host}: {}; there, as root: {}",
        firewall.sentence(),
        firewall.remedy(&all, &view.sources)
    );
    Some((format!("{host}: {}", firewall.sentence()), fix))
}

/// UDP port of the engines' gossip.
const GOSSIP_PORT: u16 = 7946;

/// What to do where nothing but the guard of an overlay can have thrown something away.
fn by_guard(case: &Case<'_>, host: &HostName) -> Option<String> {
    let drops = format!("-A {GUARD_CHAIN} ");
    let has_guard = !case.host(host)?.rules(&[&drops]).is_empty();
    has_guard.then(|| {
        "`docker-cluster up` lets everybody in who takes part; if it has nothing to do, packets come with another address than their sender has (NAT), and `network: {guard: false}` opens the ports".to_owned()
    })
}

/// One kind of datagram that does not arrive.
fn datagram(
    case: &Case<'_>,
    name: &str,
    traffic: Traffic,
    words: &[&str],
    needed_for: &str,
    way: fn(&Link) -> Option<Way>,
) -> Option<Finding> {
    let (from, to, found) = case
        .directions()
        .find(|(_, _, link)| way(link).is_some_and(|way| !way.passed()))?;
    let back = case
        .reverse(from, to)
        .and_then(way)
        .is_some_and(Way::passed);
    let only = if back { ", in this direction only" } else { "" };
    let rules_of = |host: &HostName| {
        case.host(host)
            .map(|view| view.rules(words))
            .unwrap_or_default()
    };
    let with_rules = |host: &HostName| {
        rules_of(host)
            .into_iter()
            .map(|rule| format!("{host}, its rule: {rule}"))
            .collect()
    };
    let show = |host: &HostName| match rules_of(host).first() {
        Some(rule) => {
            format!("{host} has the rule `{rule}`; remove it or let {needed_for} pass before it")
        }
        None => format!(
            "{} shows its rules; let {needed_for} pass",
            on(case.known, host, "iptables-save")
        ),
    };
    let passing = found.passing();
    match way(found)? {
        Way::Passed { .. } => None,
        // The rule is the host's, whoever it hits.
        Way::DroppedAtTarget => {
            let what = format!(
                "{name} arrives at {to} and is dropped by its own firewall ({passing}){only}"
            );
            // A rule that names it comes before what happens to all the rest.
            match default_deny(case, to, from, traffic).filter(|_| rules_of(to).is_empty()) {
                Some((said, fix)) => link(case, (from, to, found), what, fix, vec![said]),
                None => {
                    let by_guard = by_guard(case, to).filter(|_| rules_of(to).is_empty());
                    let fix = by_guard.unwrap_or_else(|| show(to));
                    link(case, (from, to, found), what, fix, with_rules(to))
                }
            }
        }
        Way::DeniedAtSource => {
            let what = format!("{name} is not let out by {from}'s own firewall ({passing}){only}");
            link(case, (from, to, found), what, show(from), with_rules(from))
        }
        Way::Lost => {
            let what = format!("{name} is dropped on the way ({passing}){only}");
            let fix = format!(
                "let {needed_for} pass between the hosts: security groups, the hypervisor's own VXLAN or NSX, a firewall between them"
            );
            link(case, (from, to, found), what, fix, Vec::new())
        }
    }
}

fn esp_blocked(case: &Case<'_>) -> Option<Finding> {
    datagram(
        case,
        "IP protocol 50 (ESP)",
        Traffic::Esp,
        &["esp", "-p 50"],
        "IP protocol 50",
        |link| link.esp,
    )
}

fn vxlan_blocked(case: &Case<'_>) -> Option<Finding> {
    let port = case.known.needs.tunnel?;
    let words = port.to_string();
    datagram(
        case,
        &format!("UDP {port}"),
        Traffic::Udp(port),
        &[&words, "-p udp -j"],
        &format!("UDP {port}"),
        |link| Some(link.vxlan),
    )
}

fn gossip_udp_blocked(case: &Case<'_>) -> Option<Finding> {
    let words = [&GOSSIP_PORT.to_string(), "-p udp -j"];
    let name = format!("UDP {GOSSIP_PORT}, the gossip of the engines,");
    datagram(
        case,
        &name,
        Traffic::Udp(GOSSIP_PORT),
        &words,
        &format!("UDP {GOSSIP_PORT}"),
        |link| Some(link.gossip),
    )
}

fn tcp_port_blocked(case: &Case<'_>) -> Option<Finding> {
    case.directions().find_map(|(from, to, found)| {
        let ports = case.known.needs.ports.get(to)?;
        let (port, role) = ports
            .iter()
            .find(|(port, role)| *role != SIGN_OF_LIFE && found.tcp.get(port).is_some_and(|tcp| *tcp != Tcp::Open))?;
        let state = found.tcp.get(port)?;
        let text = port.to_string();
        let rules: Vec<String> = [from, to]
            .into_iter()
            .flat_map(|host| {
                let rules = case.host(host).map(|view| view.rules(&[&text])).unwrap_or_default();
                rules.into_iter().map(move |rule| format!("{host}, its rule: {rule}"))
            })
            .collect();
        let listens = case.host(to).is_some_and(|view| view.listens.contains(port));
        let denied = default_deny(case, to, from, Traffic::Tcp(*port)).filter(|_| rules.is_empty());
        let units = match case.host(to).is_some_and(|view| view.store.is_some()) {
            true => "systemctl status docker docker-cluster-consul",
            false => "systemctl status docker",
        };
        let (what, fix) = match (state, denied) {
            // A firewall that rejects looks the same: the rules tell, and whether something listens.
            (Tcp::Refused, None) if rules.is_empty() && !listens => {
                (format!("nothing listens on TCP {port} ({role}) of {to}"), on(case.known, to, units))
            }
            (_, Some((said, fix))) => {
                let what = format!("TCP {port} ({role}) of {to} is kept out by its own firewall, although {}", found.passing());
                return link(case, (from, to, found), what, fix, vec![said]);
            }
            (Tcp::Refused, None) if rules.is_empty() => (
                format!("TCP {port} ({role}) of {to} is refused, although something listens there: by a firewall on the way, or by its own"),
                format!("{} shows its rules; let TCP {port} pass between the hosts", on(case.known, to, "iptables-save")),
            ),
            _ => (
                format!("TCP {port} ({role}) of {to} does not answer, although {}", found.passing()),
                match rules.first() {
                    Some(rule) => format!("{rule}; let TCP {port} pass"),
                    None => format!("let TCP {port} pass between the hosts"),
                },
            ),
        };
        link(case, (from, to, found), what, fix, rules)
    })
}

fn mtu(case: &Case<'_>) -> Option<Finding> {
    let needs = case.known.needs.mtu;
    let (from, to, found) = case.directions().find(|(_, _, link)| {
        link.vxlan.passed() && link.path_mtu.0 > 0 && link.path_mtu.0 < needs
    })?;
    let (passes, wire) = found.path_mtu;
    let back = case
        .reverse(from, to)
        .is_some_and(|link| link.path_mtu.0 >= needs);
    let only = if back { ", in this direction only" } else { "" };
    let place = if wire > passes {
        format!("are dropped by {to}'s own firewall")
    } else {
        "vanish on the way".to_owned()
    };
    let rules: Vec<String> = case
        .host(to)
        .map(|view| view.rules(&["length"]))
        .unwrap_or_default()
        .into_iter()
        .map(|rule| format!("{to}, its rule: {rule}"))
        .collect();
    link(
        case,
        (from, to, found),
        format!(
            "packets of more than {passes} bytes {place}{only}, and the network makes packets of up to {needs}"
        ),
        format!(
            "let {needs} bytes pass, or say `mtu: {passes}` under `network:` in the inventory and make the network anew"
        ),
        rules,
    )
}

/// A policy of DROP in the host's own FORWARD chain does the overlay no harm, because its packets are forwarded in a namespace of
/// their own; one in there does.
fn forward_drop(case: &Case<'_>) -> Option<Finding> {
    let (name, view) = case.hosts().find(|(_, view)| {
        view.check("space-forward-policy") == Some("DROP")
            && view.check("space-bridge-netfilter") == Some("1")
    })?;
    let space = view.check("space")?;
    about_host(
        name,
        "the FORWARD policy in the network's own namespace is DROP, and br_netfilter applies it to the network's bridge: packets arrive and go no further",
        on(
            case.known,
            name,
            &format!("nsenter --net={space} iptables -P FORWARD ACCEPT"),
        ),
        vec![format!("{name}: -P FORWARD DROP in {space}")],
    )
}

/// One name that is not known where others are: it is the word of an engine that did not come, not the resolver.
fn name_unknown(case: &Case<'_>) -> Option<Finding> {
    case.failure
        .filter(|failure| failure.layer == Layer::Name && failure.by_address)?;
    let (from, to) = (case.from, case.to);
    if !case.known.resolving.contains(from) {
        return None;
    }
    let fault = case
        .host(from)
        .and_then(|view| known::forgets_names(view.engine_version.as_ref()?));
    let (more, fix) = match fault {
        Some(fault) => (
            format!("; {}", fault.what),
            format!(
                "`docker service update --force SERVICE` on a manager for a service on {to}; for other containers there {}. {}",
                restart_engine(case.known, to),
                fault.fix
            ),
        ),
        None => (String::new(), after_the_wait(case.known, from)),
    };
    about_host(
        from,
        format!(
            "its engine does not know the name of the container on {to}, although it knows others, and the address behind it answers{more}"
        ),
        fix,
        case.host(from)
            .map(HostView::last_words)
            .unwrap_or_default(),
    )
}

fn name(case: &Case<'_>) -> Option<Finding> {
    case.failure
        .filter(|failure| failure.layer == Layer::Name && failure.by_address)?;
    about_host(
        case.from,
        "containers on it do not resolve the names of the network, although the addresses behind them answer",
        on(case.known, case.from, "journalctl -u docker -n 50"),
        // The names of probes are different each time, and of no interest.
        case.host(case.from)
            .map(HostView::last_words)
            .unwrap_or_default(),
    )
}

fn neighbours_full(case: &Case<'_>) -> Option<Finding> {
    let (name, view) = case.hosts().find(|(_, view)| view.neighbours_refused > 0)?;
    about_host(
        name,
        "its kernel's table of neighbours is full, and packets to those who are not in it are thrown away",
        format!(
            "{}, and as much on a machine that carries the host as a container",
            on(
                case.known,
                name,
                "sysctl -w net.ipv4.neigh.default.gc_thresh2=16384 net.ipv4.neigh.default.gc_thresh3=32768"
            )
        ),
        vec![format!(
            "{name} refused a neighbour {} times meanwhile (/proc/net/stat/arp_cache)",
            view.neighbours_refused
        )],
    )
}

fn packets_lost(case: &Case<'_>) -> Option<Finding> {
    let lost = |way: Way| match way {
        Way::Passed { lost } => lost,
        _ => 0,
    };
    let (from, to, found) = case
        .directions()
        .find(|(_, _, link)| lost(link.vxlan) + lost(link.gossip) >= MANY_LOST)?;
    link(
        case,
        (from, to, found),
        "packets are lost on the way".to_owned(),
        format!(
            "{} and look at the errors of the interface",
            on(case.known, from, "ip -s link")
        ),
        Vec::new(),
    )
}

/// So many lost datagrams of six are a way that loses packets: one may be chance on a busy machine.
const MANY_LOST: u32 = 2;

fn clock(case: &Case<'_>) -> Option<Finding> {
    let (name, view) = case
        .hosts()
        .find(|(_, view)| view.clock_offset.abs() > MAX_CLOCK_OFFSET)?;
    let seconds = view.clock_offset;
    about_host(
        name,
        format!(
            "its clock is {seconds} s off: certificates and sessions of the store may not be valid yet or any more"
        ),
        on(case.known, name, "timedatectl set-ntp true"),
        Vec::new(),
    )
}

fn checksum_offload(case: &Case<'_>) -> Option<Finding> {
    let all_pass = |link: &Link| link.vxlan.passed() && link.gossip.passed();
    if case.directions().count() < 2 || !case.directions().all(|(_, _, link)| all_pass(link)) {
        return None;
    }
    let (name, view) = case.hosts().find(|(_, view)| {
        view.check("tunnel-checksum-offload") == Some("on")
            && view
                .check("driver")
                .is_some_and(|driver| BROKEN_OFFLOAD.contains(&driver))
    })?;
    let (driver, device) = (view.check("driver")?, view.check("device")?);
    about_host(
        name,
        format!(
            "its driver {driver} computes checksums inside tunnels, which some versions of it do wrongly; all layers below pass"
        ),
        on(
            case.known,
            name,
            &format!("ethtool -K {device} tx-checksum-ip-generic off"),
        ),
        Vec::new(),
    )
}

/// Drivers whose offload of checksums inside tunnels is reported to be broken on some versions: packets arrive, and are thrown away
/// as damaged. A suspicion, hence near the end of the table.
const BROKEN_OFFLOAD: &[&str] = &["vmxnet3", "ixgbe", "mlx5_core", "hv_netvsc"];

/// What an engine has heard of the other's container, and what it has not.
fn neighbours(case: &Case<'_>) -> Option<Finding> {
    let failure = case.failure?;
    let all_pass = |link: &Link| link.vxlan.passed() && link.gossip.passed();
    if case.directions().count() < 2
        || !case.directions().all(|(_, _, link)| all_pass(link))
        || failure.by_address
    {
        return None;
    }
    let mut looked = 0;
    // Both: an answer that cannot find its way back is missed as well.
    for (from, to) in [(case.from, case.to), (case.to, case.from)] {
        let (Some(view), Some(other)) = (case.host(from), case.host(to)) else {
            continue;
        };
        let (Some(heard), Some(wanted)) = (view.has_heard(other), other.private) else {
            continue;
        };
        looked += 1;
        match heard {
            Heard::All => {}
            Heard::Elsewhere(believed) => {
                return about_host(
                    from,
                    format!(
                        "its engine believes containers of {to} to be behind {believed}, and they are behind {wanted}: packets do not find their way"
                    ),
                    after_the_wait(case.known, from),
                    vec![format!("{from}: {} is behind {believed}", other.probe_mac)],
                );
            }
            Heard::Not { seen } => {
                let mut observed = vec![format!(
                    "{from}: no entry of its engine for {} on {to}",
                    other.probe_mac
                )];
                if seen {
                    observed.push(format!(
                        "{from}: packets of it come, and cannot be answered"
                    ));
                }
                if view.unlisted.contains(to) {
                    observed.push(format!("{from}: {}", unknown(std::slice::from_ref(to))));
                }
                return about_host(
                    from,
                    format!(
                        "its engine has not heard of the container on {to}, although gossip passes between them: packets do not find their way"
                    ),
                    after_the_wait(case.known, from),
                    observed,
                );
            }
        }
    }
    // Both know of each other: it is something else.
    if looked == 2 {
        return None;
    }
    let blind = [case.from, case.to].into_iter().find(|name| {
        case.host(name)
            .is_none_or(|view| view.check("space").is_none())
    })?;
    about_host(
        blind,
        "every layer between the hosts passes, and what its engine has heard of the others' containers could not be looked at",
        format!(
            "{}, or `docker-cluster verify` again",
            on(case.known, blind, "ls /var/run/docker/netns")
        ),
        vec![failure.words.clone()],
    )
}

/// What to do about an engine that is wrong about the others. Engines mend that by themselves: a restart takes containers away, and is for
/// what has stayed wrong.
fn after_the_wait(known: &Known, host: &HostName) -> String {
    match known.waited.as_secs() {
        0 => "`docker-cluster verify` again in a minute or two, when the rest is mended: engines tell each other by themselves what they have missed".to_owned(),
        waited => format!(
            "`docker-cluster verify` again in some minutes: engines tell each other by themselves what they have missed, and had {waited} s for it. If it stays so: {}",
            restart_engine(known, host)
        ),
    }
}

fn unexplained(case: &Case<'_>) -> Option<Finding> {
    let failure = case.failure?;
    let mut observed: Vec<String> = case
        .directions()
        .flat_map(|(from, to, link)| {
            link.layers(case.known.needs.tunnel)
                .into_iter()
                .map(move |line| format!("{from} -> {to}, {line}"))
        })
        .collect();
    let blind = case
        .hosts()
        .filter_map(|(name, view)| Some(format!("{name}: {}", view.agent_failed.as_ref()?)));
    observed.extend(blind.map(|line| format!("the ways could not be looked at: {line}")));
    Some(Finding {
        about: About::Link(case.from.clone(), case.to.clone()),
        what: failure.sentence(),
        fix: "`--evidence DIR` keeps everything that was seen".to_owned(),
        observed,
    })
}

/// Flaws of the engines' versions that matter where traffic is to be encrypted.
#[must_use]
pub fn flaws(versions: &BTreeMap<HostName, semver::Version>) -> Vec<String> {
    let mut told: Vec<(known::Fault, Vec<String>)> = Vec::new();
    for (name, version) in versions {
        let Some(fault) = known::may_send_plain_text(version) else {
            continue;
        };
        let host = format!("{name} ({version})");
        match told.iter_mut().find(|(other, _)| *other == fault) {
            Some((_, hosts)) => hosts.push(host),
            None => told.push((fault, vec![host])),
        }
    }
    told.into_iter()
        .map(|(fault, hosts)| {
            format!(
                "the engine of {}: {}; {}",
                hosts.join(", "),
                fault.what,
                fault.fix
            )
        })
        .collect()
}

/// Length of a container's whole id.
const CONTAINER_ID: usize = 64;

/// The endpoints that an engine knows: the key under which it lists each, the endpoint's id, and the container's name.
fn endpoints(view: &HostView) -> impl Iterator<Item = (&str, &str, &str)> {
    view.checks
        .get("endpoint")
        .into_iter()
        .flatten()
        .filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
}

/// Endpoints of the network that no host has: a container of that name cannot start until they are removed. None unless every
/// host has told all of its endpoints and containers; containers come and go, so only what two looks have found counts.
#[must_use]
pub fn stale_endpoints(known: &Known) -> BTreeMap<String, String> {
    let (mut own, mut remote) = (Vec::new(), BTreeMap::new());
    let tells_all = |view: &HostView| {
        ["endpoints-known", "containers-known"]
            .iter()
            .all(|key| view.check(key).is_some())
    };
    if !known.hosts.values().all(tells_all) {
        return remote;
    }
    for view in known.hosts.values() {
        let containers = view
            .checks
            .get("container")
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (key, id, name) in endpoints(view) {
            // Of what is no container, such as a swarm's load balancer, the engine knows best.
            let is_container =
                key.len() == CONTAINER_ID && key.bytes().all(|byte| byte.is_ascii_hexdigit());
            let gone = is_container && !containers.iter().any(|container| container == key);
            if gone || key.starts_with("ep-") {
                remote.insert(id.to_owned(), name.to_owned());
            } else {
                own.push(id);
            }
        }
    }
    remote.retain(|id, name| {
        !own.contains(&id.as_str()) && !name.starts_with(crate::labels::PROBE_PREFIX)
    });
    remote
}

/// The finding for them.
#[must_use]
pub fn stale_finding(known: &Known, stale: &BTreeMap<String, String>) -> Option<Finding> {
    let names: Vec<&str> = stale.values().map(String::as_str).collect();
    let (first_id, _) = stale.first_key_value()?;
    // The engine that had it lists it under the container's id, and is the one that must let go of it; any other knows it from the store.
    let had = |view: &HostView| {
        endpoints(view).any(|(key, id, _)| id == first_id && !key.starts_with("ep-"))
    };
    let up = || {
        known
            .hosts
            .iter()
            .filter(|(_, view)| view.engine_up == Some(true))
    };
    let (host, _) = up().find(|(_, view)| had(view)).or_else(|| up().next())?;
    let network = &known.needs.network;
    let first = names.first()?;
    Some(Finding {
        about: About::Hosts(Vec::new()),
        what: format!(
            "the network {network} remembers containers that no host has ({}): none of that name can start",
            names.join(", ")
        ),
        fix: on(
            known,
            host,
            &format!("docker network disconnect -f {network} {first}"),
        ),
        observed: stale
            .iter()
            .map(|(id, name)| format!("endpoint {id} of {name}"))
            .collect(),
    })
}

#[cfg(test)]
pub(crate) mod tests;
