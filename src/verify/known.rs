//! What is known when pairs are judged: what the fabric needs, the state of each host, and the ways between them.

use std::collections::BTreeMap;
use std::net::IpAddr;

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
    /// What `templates/verify/host.sh` says.
    pub checks: BTreeMap<String, Vec<String>>,
    /// Why its ways could not be looked at.
    pub agent_failed: Option<String>,
}

impl HostView {
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
