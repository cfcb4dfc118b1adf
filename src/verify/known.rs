//! What is known when pairs are judged: what the fabric needs, the state of each host, and the ways between them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::links::Link;
use crate::inventory::HostName;

/// What the fabric needs of the underlay.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Name of the network.
    pub network: String,
    /// UDP port of VXLAN.
    pub vxlan_port: u16,
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
    /// The TCP ports to try on a host.
    #[must_use]
    pub fn tcp_ports(&self, host: &HostName) -> Vec<u16> {
        self.ports.get(host).into_iter().flatten().map(|(port, _)| *port).collect()
    }
}

/// What is wrong with a host before any packet is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ill {
    /// SSH does not get there.
    Unreached(String),
    /// Its probe container could not be started or asked.
    NoProbe(String),
}

impl Ill {
    /// What was said about it.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::Unreached(words) | Self::NoProbe(words) => words,
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
    /// How often its kernel refused a neighbour while the verification ran, its table being full.
    pub neighbours_refused: u64,
    /// What `templates/verify/host.sh` says.
    pub checks: BTreeMap<String, Vec<String>>,
    /// Why its ways could not be looked at.
    pub agent_failed: Option<String>,
}

impl HostView {
    /// Behind which address its network believes a MAC address to be: the inner `None` if it knows nothing of it, the outer one if
    /// the network could not be asked.
    pub(super) fn believes(&self, mac: &str) -> Option<Option<&str>> {
        self.check("space")?;
        let known = self.checks.get("behind").into_iter().flatten().filter_map(|line| line.split_once(' '));
        Some(known.filter(|(address, _)| *address == mac).map(|(_, behind)| behind).next())
    }

    /// The document of `--output json`: the host as it sees itself.
    pub(super) fn to_json(&self) -> Value {
        let store = self
            .store
            .as_ref()
            .map(|store| json!({ "runs": store.runs, "ready": store.ready, "error": store.error, "lost": store.lost }));
        let advertised = self.advertised.as_ref();
        json!({
            "asked": !matches!(self.ill, Some(Ill::Unreached(_))),
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

    pub(super) fn check(&self, key: &str) -> Option<&str> {
        self.checks.get(key)?.first().map(String::as_str)
    }

    /// The last that its engine had to say.
    pub(super) fn last_words(&self) -> Vec<String> {
        let all = self.checks.get("engine").map(Vec::as_slice).unwrap_or_default();
        all[all.len().saturating_sub(MAX_RULES)..].to_vec()
    }

    /// Rules of its firewall that name one of these words.
    pub(super) fn rules(&self, words: &[&str]) -> Vec<String> {
        let rules = ["rule", "nft"].iter().filter_map(|key| self.checks.get(*key)).flatten();
        rules.filter(|rule| words.iter().any(|word| rule.contains(word))).take(MAX_RULES).cloned().collect()
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
}
