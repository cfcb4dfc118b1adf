//! Whether anything leaves the mesh that lies under the fabric: an agent on each host looks at its wires while the probes talk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::wire::{Agent, start};
use super::{Probe, Reports, autopsy, on_each};
use crate::fabrics;
use crate::facts::firewall::Traffic;
use crate::host::{Command, Hosts};
use crate::inventory::{HostName, Inventory, UnderlaySpec};
use crate::plan::World;
use crate::proof::{Leak, Wire};

const AGENT: &str = include_str!("../../templates/verify/mesh.pl");

/// The agents at work.
pub(super) struct Watch {
    agents: Vec<(HostName, Agent)>,
    all: BTreeSet<HostName>,
}

impl Watch {
    /// Starts an agent on each host, where the underlay is a mesh: one whose probe did not start may be the one that leaks.
    pub async fn begin(
        inventory: &Inventory,
        hosts: &Hosts,
        probes: &BTreeMap<HostName, Probe>,
        lifetime: Duration,
    ) -> Option<Self> {
        let UnderlaySpec::Wireguard(spec) = &inventory.underlay else {
            return None;
        };
        let facts = autopsy::facts(hosts).await;
        let world = World::new(inventory, &facts, Vec::new());
        let fabric = fabrics::fabric(fabrics::choose(&world).kind);
        let listens = fabric.map(|fabric| fabric.listens(&world));
        let port = |traffic: &Traffic| match traffic {
            Traffic::Tcp(port) => Some(format!("tcp/{port}")),
            Traffic::Udp(port) => Some(format!("udp/{port}")),
            Traffic::Esp => None,
        };
        let ports: Vec<String> = listens.iter().flatten().filter_map(port).collect();
        let addresses: Vec<String> = world
            .hosts
            .iter()
            .flat_map(|host| [host.outer.to_string(), host.private.to_string()])
            .collect();
        let tokens: Vec<&str> = probes.values().map(|probe| probe.nonce.as_str()).collect();
        let starts = world.hosts.iter().filter_map(|host| {
            let connection = hosts.get(host.name())?;
            let own = host.facts.interface_with(host.outer);
            let wires: BTreeSet<&str> = own
                .into_iter()
                .chain(host.facts.default_interface())
                .filter(|name| *name != spec.interface)
                .collect();
            let wires: Vec<&str> = wires.into_iter().collect();
            let argv = [
                "perl".to_owned(),
                "-e".to_owned(),
                AGENT.to_owned(),
                lifetime.as_secs().to_string(),
                spec.port.to_string(),
                wires.join(","),
                ports.join(","),
                addresses.join(","),
                tokens.join(","),
            ];
            let command = Command::new(argv).timeout(lifetime);
            Some((host.name().clone(), connection, command))
        });
        let starts = starts.map(|(name, connection, command)| async move {
            match start(connection, &command).await {
                Ok((agent, _)) => Some((name, agent)),
                Err(error) => {
                    tracing::debug!(%name, error, "the wires of the host cannot be looked at");
                    None
                }
            }
        });
        Some(Self {
            agents: on_each(starts).await.into_iter().flatten().collect(),
            all: hosts.keys().cloned().collect(),
        })
    }

    /// Ends them, and joins what they saw.
    pub async fn end(self, kept: &mut Reports) -> Wire {
        let ends = self
            .agents
            .into_iter()
            .map(|(name, agent)| async move { Some((name, agent.report().await.ok()?)) });
        let reports: BTreeMap<HostName, String> =
            on_each(ends).await.into_iter().flatten().collect();
        let mut wire = Wire::default();
        for name in self.all {
            match reports.get(&name) {
                Some(report) => {
                    wire.leaks.extend(leaks(&name, report));
                    wire.watched.push(name);
                }
                None => wire.unwatched.push(name),
            }
        }
        let of = |(name, report)| ((name, "mesh.txt"), report);
        kept.extend(reports.into_iter().map(of));
        wire
    }
}

/// What an agent saw: `seen WHAT FROM>TO COUNT`.
fn leaks<'a>(host: &'a HostName, report: &'a str) -> impl Iterator<Item = Leak> + 'a {
    report.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let ["seen", what, way, packets] = words[..] else {
            return None;
        };
        Some(Leak {
            host: host.clone(),
            what: what.replace('/', " "),
            peer: way.replace('>', " -> "),
            packets: packets.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_saw_is_told_with_its_way() {
        let host = HostName::parse("a").unwrap();
        let report = "ready\nseen udp/4789 192.0.2.1>10.99.0.2 12\nseen token 192.0.2.1>10.99.0.2 3\nnonsense\nend\n";
        let found: Vec<Leak> = leaks(&host, report).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].what.as_str(), found[0].packets), ("udp 4789", 12));
        assert_eq!(found[1].peer, "192.0.2.1 -> 10.99.0.2");
        let wire = Wire {
            watched: vec![host],
            leaks: found,
            ..Wire::default()
        };
        assert!(!wire.is_clean());
        let said = wire.findings();
        assert_eq!(said.len(), 1);
        assert!(said[0].observed[1].contains("token was readable in 3 packets"));
    }
}
