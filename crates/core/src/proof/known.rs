//! What is known when pairs are judged: what the fabric needs, the state of each host, and the ways between them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::causes::Cause;
use super::link::Link;
use crate::facts::firewall::{Firewall, Traffic};
use crate::inventory::HostName;

/// What the fabric needs of the underlay.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Name of the network.
    pub network: String,
    /// UDP port of the tunnels between hosts, if there are tunnels.
    pub tunnel: Option<u16>,
    /// UDP port of the gossip between engines, if they gossip.
    pub gossip: Option<u16>,
    /// Whether IP protocol 50 must pass.
    pub encrypted: bool,
    /// The longest packet that the network makes between hosts, in bytes.
    pub mtu: u32,
    /// TCP ports that each host listens on for the others, with what they are for. SSH is among them as a sign of life only.
    pub ports: BTreeMap<HostName, Vec<(u16, &'static str)>>,
}

/// What such a port is called that nothing needs.
pub const SIGN_OF_LIFE: &str = "";

impl Needs {
    /// What must arrive beside TCP.
    #[must_use]
    pub fn datagrams(&self) -> Vec<Traffic> {
        let udp = self.gossip.into_iter().chain(self.tunnel).map(Traffic::Udp);
        udp.chain(self.encrypted.then_some(Traffic::Esp)).collect()
    }

    /// The TCP ports to try on a host.
    #[must_use]
    pub fn tcp_ports(&self, host: &HostName) -> Vec<u16> {
        self.ports
            .get(host)
            .into_iter()
            .flatten()
            .map(|(port, _)| *port)
            .collect()
    }
}

/// What is wrong with a host before any packet is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ill {
    /// SSH does not get there.
    Unreached {
        /// Why.
        error: String,
        /// What to do about it, if that is known.
        hint: String,
    },
    /// Its probe container could not be started or asked.
    NoProbe(String),
    /// Its engine is stopped. It is asked nothing: the first question to its socket would start it.
    Stopped,
    /// A step that it needs failed in the same run, so that there is no point in asking it.
    NotFinished(NotFinished),
}

/// What is said of an engine that is stopped.
pub const STOPPED: &str = "its Docker engine does not answer: it is stopped";

/// A step that failed, for the verdict on what is left of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFinished {
    /// The command that did not get to its end there, such as `up`.
    pub command: String,
    /// The step and how it failed, as a sentence.
    pub what: String,
    /// The last that was said about it.
    pub said: Vec<String>,
}

impl Ill {
    /// What was said about it.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::Unreached { error: words, .. } | Self::NoProbe(words) => words,
            Self::NotFinished(step) => &step.what,
            Self::Stopped => STOPPED,
        }
    }
}

/// The store as a host sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreView {
    /// Whether the local agent runs at all.
    pub runs: bool,
    /// Whether it answers with a leader behind it.
    pub ready: bool,
    /// What it says instead.
    pub error: String,
    /// The agents that it believes to be down.
    pub lost: Vec<String>,
}

/// The mesh that carries the fabric, as a host sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshView {
    /// Whether its unit is active.
    pub runs: bool,
    /// The UDP port that it listens on.
    pub port: u16,
    /// The public half of its key.
    pub key: String,
    /// Where the others are to send what is for it; `-` if nobody can send first.
    pub endpoint: String,
    /// What is not as its configuration says, a sentence each.
    pub wrong: Vec<String>,
    /// By which key it knows each other host, and where it sends what is for it.
    pub mates: BTreeMap<String, (String, String)>,
    /// How many seconds ago it heard each, if ever, and from where.
    pub heard: BTreeMap<String, (Option<u64>, String)>,
}

/// What an engine has heard of a container on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// All that it needs.
    All,
    /// That it is behind this address, where it is not.
    Elsewhere(String),
    /// Nothing, or not all.
    Not {
        /// Whether packets of it came all the same.
        seen: bool,
    },
}

/// What is known of a host.
#[derive(Debug, Clone, Default)]
pub struct HostView {
    /// What is wrong with it at once.
    pub ill: Option<Ill>,
    /// Its private address.
    pub private: Option<IpAddr>,
    /// Whether who logs in there becomes root by sudo.
    pub through_sudo: bool,
    /// Its host name.
    pub hostname: String,
    /// Whether there is no engine at all.
    pub engine_missing: bool,
    /// Whether its engine answers; `None` if it could not be asked.
    pub engine_up: Option<bool>,
    /// The address that its engine tells the others, and the interface that has it.
    pub advertised: Option<(String, Option<String>)>,
    /// Whether the network is there.
    pub has_network: bool,
    /// Whether the network must be there before a container is on it; a swarm's worker learns of it then.
    pub needs_network: bool,
    /// The store, where the fabric has one.
    pub store: Option<StoreView>,
    /// What is wrong with its place in the swarm, in the engine's own words.
    pub swarm_error: Option<String>,
    /// Its clock's offset from this machine's, in seconds.
    pub clock_offset: i64,
    /// The MAC address of its probe on the network; empty without one.
    pub probe_mac: String,
    /// The address of its probe there.
    pub probe_address: Option<Ipv4Addr>,
    /// The hosts that its engine did not list on the network when probes started, although they were.
    pub unlisted: Vec<HostName>,
    /// The version of its engine.
    pub engine_version: Option<semver::Version>,
    /// What systemd says of its engine: `active`, `inactive`, `failed`.
    pub engine_state: String,
    /// Its firewall, if that throws away what no rule lets in.
    pub firewall: Option<Firewall>,
    /// The interface with its private address.
    pub interface: Option<String>,
    /// Where the other hosts' packets come from.
    pub sources: Vec<IpNet>,
    /// The TCP ports on which something listens.
    pub listens: BTreeSet<u16>,
    /// Whether it is the socket of its engine that is gone, while the unit that made it is active.
    pub socket_gone: bool,
    /// How often its kernel refused a neighbour while the verification ran, its table being full.
    pub neighbours_refused: u64,
    /// How many packets its kernel threw away meanwhile, as they did not come by the interface that leads back to their sender.
    pub sources_refused: u64,
    /// The addresses on the network that its engine gave to containers, each with whose it is.
    pub addresses: Vec<(Ipv4Addr, String)>,
    /// What is not as it should be of the links that docker-cluster itself has made, a sentence each.
    pub links_wrong: Vec<String>,
    /// The mesh of the underlay, if there is one.
    pub mesh: Option<MeshView>,
    /// What `templates/verify/host.sh` says.
    pub checks: BTreeMap<String, Vec<String>>,
    /// Why its ways could not be looked at.
    pub agent_failed: Option<String>,
}

impl HostView {
    /// Whether its firewall keeps this out by default when it comes from there.
    pub fn keeps_out(&self, traffic: Traffic, from: Option<IpAddr>) -> bool {
        let lets_in = |of: &Firewall| {
            from.is_none_or(|from| of.lets_in(traffic, from, self.interface.as_deref()))
        };
        self.firewall
            .as_ref()
            .is_some_and(|firewall| !lets_in(firewall))
    }

    /// What this host's engine has been told of another's container; nothing if the network could not be asked.
    ///
    /// An engine enters two things for a container that it hears of: which MAC address its address has, by which it answers for it,
    /// and behind which host that MAC address is. The kernel alone learns the second from the packets that come, which is not enough
    /// to answer them: such an entry is not the engine's word.
    pub fn has_heard(&self, of: &Self) -> Option<Heard> {
        self.check("space")?;
        if of.probe_mac.is_empty() {
            return None;
        }
        let words = |key: &str| {
            self.checks
                .get(key)
                .into_iter()
                .flatten()
                .map(|line| line.split(' ').collect::<Vec<_>>())
        };
        let behind = words("behind").filter(|line| line.first() == Some(&of.probe_mac.as_str()));
        let (told, learned): (Vec<_>, Vec<_>) =
            behind.partition(|line| line.get(2) != Some(&"learned"));
        let address = of
            .probe_address
            .map(|address| address.to_string())
            .unwrap_or_default();
        let answers =
            words("neighbour").any(|line| line[..] == [address.as_str(), of.probe_mac.as_str()]);
        let right = of
            .private
            .map(|address| address.to_string())
            .unwrap_or_default();
        Some(match told.first().and_then(|line| line.get(1)) {
            Some(behind) if *behind != right => Heard::Elsewhere((*behind).to_owned()),
            Some(_) if answers => Heard::All,
            _ => Heard::Not {
                seen: !learned.is_empty() || !told.is_empty(),
            },
        })
    }

    /// The document of `--output json`: the host as it sees itself.
    pub fn to_json(&self) -> Value {
        let store = self
            .store
            .as_ref()
            .map(|store| json!({ "runs": store.runs, "ready": store.ready, "error": store.error, "lost": store.lost }));
        let advertised = self.advertised.as_ref();
        json!({
            "asked": !matches!(self.ill, Some(Ill::Unreached { .. } | Ill::NotFinished(_))),
            "hostname": self.hostname,
            "engine_up": self.engine_up,
            "address": self.private,
            "advertised": advertised.map(|(address, _)| address),
            "interface": advertised.and_then(|(_, interface)| interface.as_ref()),
            "has_network": self.has_network,
            "store": store,
            "swarm_error": self.swarm_error,
            "clock_offset_s": self.clock_offset,
            "neighbours_refused": self.neighbours_refused,
            "forwarding": self.check("forwarding").map(|text| text == "1"),
            "forward_policy": self.check("forward-policy"),
            "bridge_netfilter": self.check("bridge-netfilter").map(|text| text == "1"),
            "device": self.check("device"),
            "driver": self.check("driver").filter(|text| !text.is_empty()),
            "mtu": self.check("mtu").and_then(|text| text.parse::<u32>().ok()),
            "tunnel_checksum_offload": self.check("tunnel-checksum-offload"),
        })
    }

    /// The first line that the checks on the host said under a key.
    pub fn check(&self, key: &str) -> Option<&str> {
        self.checks.get(key)?.first().map(String::as_str)
    }

    /// The last that its engine had to say.
    pub fn last_words(&self) -> Vec<String> {
        let all = self
            .checks
            .get("engine")
            .map(Vec::as_slice)
            .unwrap_or_default();
        all[all.len().saturating_sub(MAX_RULES)..].to_vec()
    }

    /// Rules of its firewall that name one of these words.
    pub fn rules(&self, words: &[&str]) -> Vec<String> {
        let rules = ["rule", "nft"]
            .iter()
            .filter_map(|key| self.checks.get(*key))
            .flatten();
        rules
            .filter(|rule| words.iter().any(|word| rule.contains(word)))
            .take(MAX_RULES)
            .cloned()
            .collect()
    }
}

/// How many rules of a firewall are shown, and how many of an engine's words: the first rules that match are those that act, and the
/// last words are those of the failure.
const MAX_RULES: usize = 3;

/// Everything known when a pair is judged.
#[derive(Debug, Default)]
pub struct Known {
    /// The hosts.
    pub hosts: BTreeMap<HostName, HostView>,
    /// The ways between them.
    pub links: BTreeMap<(HostName, HostName), Link>,
    /// What the fabric needs.
    pub needs: Needs,
    /// The underlay's own rows of the table of causes, before those of the fabric.
    pub under: &'static [Cause],
    /// The fabric's own rows of the table of causes.
    pub rows: &'static [&'static [Cause]],
    /// The hosts whose containers resolve at least one of the others' names.
    pub resolving: BTreeSet<HostName>,
    /// How long the engines were given to learn of each other, beyond what every pair is given.
    pub waited: Duration,
}

impl Known {
    /// The hosts between which and the others nobody looked, and why.
    #[must_use]
    pub fn not_looked_at(&self) -> Vec<String> {
        let failed = self
            .hosts
            .iter()
            .filter_map(|(name, view)| Some((name, view.agent_failed.as_ref()?)));
        failed
            .map(|(name, why)| {
                format!("{name}: the ways between it and the others could not be looked at: {why}")
            })
            .collect()
    }
}
