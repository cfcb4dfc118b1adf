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

const PEERS: &str = include_str!("../../templates/verify/peers.sh");

/// How long the engines are waited for. Each compares what it knows with one other every 30 s, for the first time up to 60 s after it
/// came (memberlist's `PushPullInterval`, with a random begin), and takes some seconds for it.
pub const PEERS_DEADLINE: Duration = Duration::from_secs(75);

/// How often they are asked meanwhile. What is missing comes with gossip within a second, or much later.
const PEERS_POLL: Duration = Duration::from_secs(1);

/// What an engine says of the network that it has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peers {
    /// The address by which the others know its host.
    own: IpAddr,
    /// All that it knows to be on the network, itself included.
    all: BTreeSet<IpAddr>,
}

impl Peers {
    fn parse(text: &str) -> Option<Self> {
        let of = |key: &'static str| {
            text.lines()
                .filter_map(move |line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse::<IpAddr>().ok())
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
        told.iter().filter(|(_, other)| !peers.all.contains(&other.own)).map(|(name, _)| name.clone()).collect()
    };
    told.iter().map(|(name, peers)| (name.clone(), lacks(peers))).filter(|(_, lacks)| !lacks.is_empty()).collect()
}

async fn ask(network: &str, name: &HostName, host: &Connection) -> Option<(HostName, Peers)> {
    let output = host.run(&Command::script(PEERS, [network])).await.ok()?;
    Some((name.clone(), Peers::parse(&output.stdout_text())?))
}

/// Waits until all that have the network open list each other. Returns what is still missing then.
pub(super) async fn complete(network: &str, hosts: &Hosts, events: &Events) -> Missing {
    if hosts.len() < 2 {
        return Missing::new();
    }
    let told = on_each(hosts.iter().map(|(name, host)| ask(network, name, host))).await;
    let mut told: BTreeMap<HostName, Peers> = told.into_iter().flatten().collect();
    let end = Instant::now() + PEERS_DEADLINE;
    let mut said = BTreeSet::new();
    loop {
        let missing = missing(&told);
        if missing.is_empty() || Instant::now() >= end {
            return missing;
        }
        for (name, others) in missing.iter().filter(|(name, _)| said.insert((*name).clone())) {
            let limit = humantime::format_duration(PEERS_DEADLINE);
            let what = format!("the engines still learn of each other, up to {limit}: {}", unknown(others));
            events.emit(Event::StepProgress { host: name.clone(), what });
        }
        tokio::time::sleep(PEERS_POLL).await;
        let again = missing.keys().filter_map(|name| Some((name, hosts.get(name)?)));
        let again = on_each(again.map(|(name, host)| async move { (name, ask(network, name, host).await) })).await;
        for (name, answer) in again {
            match answer {
                Some((name, peers)) => told.insert(name, peers),
                // It has left the network meanwhile: nobody needs to list it.
                None => told.remove(name),
            };
        }
    }
}

/// Whom an engine has not heard of, in words.
pub(super) fn unknown(others: &[HostName]) -> String {
    let names: Vec<&str> = others.iter().map(HostName::as_str).collect();
    format!("it has not heard that {} {} on the network", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    #[test]
    fn a_host_is_told_apart_by_its_own_address() {
        let peers =
            Peers::parse("peer 10.0.0.1\npeer 10.0.0.2\nown 127.0.0.1\nown ::1\nown 10.0.0.2\nown fe80::1\n").unwrap();
        assert_eq!(peers.own, IpAddr::from([10, 0, 0, 2]));
        assert_eq!(peers.all.len(), 2);
        // An overlay over a store, a network that is not open, an engine behind an address that the host does not have, and nonsense.
        for strange in ["", "own 10.0.0.2\n", "peer 10.0.0.1\nown 10.0.0.2\n", "peer x\nown y\n", "peers 10.0.0.1"] {
            assert_eq!(Peers::parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn who_does_not_list_whom() {
        let of = |own: u8, all: &[u8]| Peers {
            own: IpAddr::from([10, 0, 0, own]),
            all: all.iter().map(|number| IpAddr::from([10, 0, 0, *number])).collect(),
        };
        let mut told = BTreeMap::from([
            (host("a"), of(1, &[1, 2, 3])),
            (host("b"), of(2, &[1, 2])),
            // What is on no host of this inventory is of no interest.
            (host("c"), of(3, &[1, 2, 3, 99])),
        ]);
        assert_eq!(missing(&told), Missing::from([(host("b"), vec![host("c")])]));
        told.insert(host("b"), of(2, &[1, 2, 3]));
        assert!(missing(&told).is_empty());
        // One that has no container on the network is in nobody's list.
        told.remove(&host("c"));
        assert!(missing(&told).is_empty());
    }

    #[test]
    fn it_is_said_in_words() {
        assert_eq!(unknown(&[host("a")]), "it has not heard that a is on the network");
        assert_eq!(unknown(&[host("a"), host("b")]), "it has not heard that a, b are on the network");
    }
}
