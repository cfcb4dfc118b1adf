//! Firewalls of hosts that throw away what no rule lets in, before anything is tried through them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::facts::firewall::Traffic;
use crate::plan::{HostWorld, World};
use crate::proof::{Needs, SIGN_OF_LIFE};

/// What other hosts must be able to send to this one. `more` are the TCP ports that it will listen on and does not yet.
fn wanted(needs: &Needs, host: &HostWorld<'_>, more: &[Traffic]) -> BTreeSet<Traffic> {
    let listens = needs.ports.get(host.name()).into_iter().flatten();
    let tcp = listens
        .filter(|(_, role)| *role != SIGN_OF_LIFE)
        .map(|(port, _)| Traffic::Tcp(*port));
    let mut all: BTreeSet<Traffic> = tcp.chain(more.iter().copied()).collect();
    all.extend(needs.datagrams());
    all
}

/// A note for each host whose firewall lacks rules for what the others will send. `more` says what a host will listen on beside what it
/// listens on already.
pub(super) fn notes(
    world: &World<'_>,
    needs: &Needs,
    more: impl Fn(&HostWorld<'_>) -> Vec<Traffic>,
    notes: &mut Vec<String>,
) {
    for host in &world.hosts {
        let Some(firewall) = &host.facts.firewall else {
            continue;
        };
        let interface = host.interface;
        let peers: Vec<IpAddr> = world.others(host).map(|other| other.private).collect();
        let kept_out = |traffic: &Traffic| {
            peers
                .iter()
                .any(|peer| !firewall.lets_in(*traffic, *peer, interface))
        };
        let missing: Vec<Traffic> = wanted(needs, host, &more(host))
            .into_iter()
            .filter(kept_out)
            .collect();
        if missing.is_empty() {
            continue;
        }
        notes.push(format!(
            "{}: {}, and lacks rules for {} from the other hosts; there, as root: {}",
            host.name(),
            firewall.sentence(),
            listed(&missing),
            firewall.remedy(&missing, &sources(host, &peers))
        ));
    }
}

/// Ports in words: `TCP 2377 and 7946, UDP 4789 and 7946`.
#[must_use]
pub fn listed(traffic: &[Traffic]) -> String {
    let ports = |pick: fn(&Traffic) -> Option<u16>| {
        let all: Vec<String> = traffic
            .iter()
            .filter_map(pick)
            .map(|port| port.to_string())
            .collect();
        match all.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => all.concat(),
        }
    };
    let tcp = ports(|traffic| {
        if let Traffic::Tcp(port) = traffic {
            Some(*port)
        } else {
            None
        }
    });
    let udp = ports(|traffic| {
        if let Traffic::Udp(port) = traffic {
            Some(*port)
        } else {
            None
        }
    });
    let esp = traffic
        .contains(&Traffic::Esp)
        .then(|| "IP protocol 50 (ESP)".to_owned());
    let parts = [("TCP", tcp), ("UDP", udp)]
        .into_iter()
        .filter(|(_, ports)| !ports.is_empty());
    parts
        .map(|(protocol, ports)| format!("{protocol} {ports}"))
        .chain(esp)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Where the others come from: the network of this host's own address where all of them are in it, else each for itself.
#[must_use]
pub fn sources(host: &HostWorld<'_>, peers: &[IpAddr]) -> Vec<IpNet> {
    let own = host
        .facts
        .addresses
        .iter()
        .map(|address| address.net)
        .find(|net| net.addr() == host.private);
    match own.map(|net| net.trunc()) {
        Some(net) if peers.iter().all(|peer| net.contains(peer)) => vec![net],
        _ => peers.iter().map(|peer| IpNet::from(*peer)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_as_a_sentence() {
        let all = [
            Traffic::Tcp(2377),
            Traffic::Tcp(7946),
            Traffic::Udp(4789),
            Traffic::Esp,
        ];
        assert_eq!(
            listed(&all),
            "TCP 2377 and 7946, UDP 4789, IP protocol 50 (ESP)"
        );
        assert_eq!(
            listed(&[Traffic::Udp(1), Traffic::Udp(2), Traffic::Udp(3)]),
            "UDP 1, 2 and 3"
        );
    }
}
