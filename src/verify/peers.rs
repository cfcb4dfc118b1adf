//! Who is on the network, by the engines' own words, in swarm mode.
//!
//! An engine tells the others of a container by gossip, and they take that word only from an engine that they know to be on the network
//! by then (`handleTableEvent` of libnetwork's networkdb): a word that comes too early is thrown away and not said again. That an engine
//! is on the network is gossip as well, which ends after some rounds whether everybody has it or not. Who missed it hears of it when
//! engines compare all they know, each with one other at a time.
//!
//! So probes start when every engine that has the network open lists all the others that have: a question each where nothing is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::on_each;
use crate::event::{Event, Events};
use crate::host::{Command, Connection, Hosts};
use crate::inventory::HostName;
use crate::proof::causes;

const PEERS: &str = concat!(
    include_str!("../../templates/verify/engine.sh"),
    include_str!("../../templates/verify/peers.sh")
);

/// How long the engines are waited for. Each compares what it knows with one other every 30 s, for the first time up to 60 s after it
/// came (memberlist's `PushPullInterval`, with a random begin), and takes some seconds for it.
pub const PEERS_DEADLINE: Duration = Duration::from_secs(75);

/// How often they are asked meanwhile. What is missing comes with gossip within a second, or much later.
const PEERS_POLL: Duration = Duration::from_secs(1);

/// What an engine says of the network that it has open.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peers {
    /// The address by which the others know its host.
    own: IpAddr,
    /// All that it knows to be on the network, itself included.
    all: BTreeSet<IpAddr>,
}

impl Peers {
    fn parse(text: &str) -> Option<Self> {
        let of = |key: &'static str| {
            text.lines().filter_map(move |line| {
                line.strip_prefix(key)?
                    .strip_prefix(' ')?
                    .trim()
                    .parse::<IpAddr>()
                    .ok()
            })
        };
        let all: BTreeSet<IpAddr> = of("peer").collect();
        let own = of("own").find(|address| all.contains(address))?;
        Some(Self { own, all })
    }
}

/// Who does not list whom.
pub(super) type Missing = BTreeMap<HostName, Vec<HostName>>;

fn missing(told: &BTreeMap<HostName, Peers>) -> Missing {
    let lacks = |peers: &Peers| -> Vec<HostName> {
        told.iter()
            .filter(|(_, other)| !peers.all.contains(&other.own))
            .map(|(name, _)| name.clone())
            .collect()
    };
    told.iter()
        .map(|(name, peers)| (name.clone(), lacks(peers)))
        .filter(|(_, lacks)| !lacks.is_empty())
        .collect()
}

/// What the engines said, before any probe.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Who did not list whom to the end.
    pub missing: Missing,
    /// The addresses by which the hosts know each other.
    pub addresses: BTreeMap<HostName, IpAddr>,
    /// Whether an engine knows the network as one that is encrypted.
    pub sealed: bool,
    /// The versions of the engines, if those were asked for.
    pub versions: BTreeMap<HostName, semver::Version>,
}

/// What is asked of the engines.
pub(super) struct Question<'a> {
    /// The network.
    pub network: &'a str,
    /// Whether it is to be encrypted: then the engines' versions matter.
    pub encrypted: bool,
}

async fn ask(question: &Question<'_>, host: &Connection) -> Option<String> {
    let more = question.encrypted.then_some("version");
    let command = Command::script(PEERS, [question.network].into_iter().chain(more));
    Some(host.run(&command).await.ok()?.stdout_text())
}

/// Asks, and waits until all that have the network open list each other.
pub(super) async fn complete(question: &Question<'_>, hosts: &Hosts, events: &Events) -> Told {
    let mut all = Told::default();
    // One that is alone has nobody to list.
    if hosts.len() < 2 {
        return all;
    }
    let mut told = BTreeMap::new();
    let answers = hosts
        .iter()
        .map(|(name, host)| async move { (name, ask(question, host).await) });
    for (name, text) in on_each(answers).await {
        let text = text.unwrap_or_default();
        all.sealed |= text.lines().any(|line| line == "sealed");
        let version = text
            .lines()
            .find_map(|line| crate::versions::parse_engine_version(line.strip_prefix("version ")?));
        all.versions
            .extend(version.map(|version| (name.clone(), version)));
        told.extend(Peers::parse(&text).map(|peers| (name.clone(), peers)));
    }
    let end = Instant::now() + PEERS_DEADLINE;
    let mut said = BTreeSet::new();
    loop {
        all.missing = missing(&told);
        if all.missing.is_empty() || Instant::now() >= end {
            all.addresses = told
                .into_iter()
                .map(|(name, peers)| (name, peers.own))
                .collect();
            return all;
        }
        for (name, others) in all
            .missing
            .iter()
            .filter(|(name, _)| said.insert((*name).clone()))
        {
            let limit = humantime::format_duration(PEERS_DEADLINE);
            let why = format!(
                "the engines still learn of each other, up to {limit}: {}",
                causes::unknown(others)
            );
            events.emit(Event::StepStarted {
                host: name.clone(),
                why,
            });
        }
        tokio::time::sleep(PEERS_POLL).await;
        let again = all
            .missing
            .keys()
            .filter_map(|name| Some((name, hosts.get(name)?)));
        for (name, answer) in
            on_each(again.map(|(name, host)| async move { (name, ask(question, host).await) }))
                .await
        {
            match answer.as_deref().and_then(Peers::parse) {
                Some(peers) => told.insert(name.clone(), peers),
                // It has left the network meanwhile: nobody needs to list it.
                None => told.remove(name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    #[test]
    fn a_host_is_told_apart_by_its_own_address() {
        let peers = Peers::parse(
            "peer 10.0.0.1\npeer 10.0.0.2\nown 127.0.0.1\nown ::1\nown 10.0.0.2\nown fe80::1\n",
        )
        .unwrap();
        assert_eq!(peers.own, IpAddr::from([10, 0, 0, 2]));
        assert_eq!(peers.all.len(), 2);
        // An overlay over a store, a network that is not open, an engine behind an address that the host does not have, and nonsense.
        for strange in [
            "",
            "own 10.0.0.2\n",
            "peer 10.0.0.1\nown 10.0.0.2\n",
            "peer x\nown y\n",
            "peers 10.0.0.1",
        ] {
            assert_eq!(Peers::parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn who_does_not_list_whom() {
        let of = |own: u8, all: &[u8]| Peers {
            own: IpAddr::from([10, 0, 0, own]),
            all: all
                .iter()
                .map(|number| IpAddr::from([10, 0, 0, *number]))
                .collect(),
        };
        let mut told = BTreeMap::from([
            (host("a"), of(1, &[1, 2, 3])),
            (host("b"), of(2, &[1, 2])),
            // What is on no host of this inventory is of no interest.
            (host("c"), of(3, &[1, 2, 3, 99])),
        ]);
        assert_eq!(
            missing(&told),
            Missing::from([(host("b"), vec![host("c")])])
        );
        told.insert(host("b"), of(2, &[1, 2, 3]));
        assert!(missing(&told).is_empty());
        // One that has no container on the network is in nobody's list.
        told.remove(&host("c"));
        assert!(missing(&told).is_empty());
    }

    #[test]
    fn it_is_said_in_words() {
        assert_eq!(
            causes::unknown(&[host("a")]),
            "it has not heard that a is on the network"
        );
        assert_eq!(
            causes::unknown(&[host("a"), host("b")]),
            "it has not heard that a, b are on the network"
        );
    }
}
