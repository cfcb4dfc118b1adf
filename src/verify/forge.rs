//! Whether a forged packet gets into the network: an agent on each host sends some to the next one, and looks what becomes of those that are
//! sent to itself. One sender is enough: what keeps them out is a matter of the host that they come to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::links::{read_until, tell};
use super::wire::{Agent, start};
use super::{Probe, Reports, on_each};
use crate::host::{Command, Hosts};
use crate::inventory::HostName;
use crate::proof::Forgery;

const AGENT: &str = include_str!("../../templates/verify/forge.pl");

/// How long an agent lives at most: it does its work in some seconds, on a busy host.
const LIFETIME: Duration = Duration::from_secs(60);

/// Number and port of the VXLAN of a network.
type Tunnel = (String, String);

/// What an agent said of the networks that it has.
fn tunnels(said: &str) -> Vec<Tunnel> {
    let words = said.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words
        .filter_map(|words| match words[..] {
            ["vni", number, port] => Some((number.to_owned(), port.to_owned())),
            _ => None,
        })
        .collect()
}

/// The count of a kind in a report.
fn counted(report: &str, kind: &str) -> u64 {
    let mut counts = report.lines().filter_map(|line| line.split_once(' '));
    counts
        .find(|(key, _)| *key == kind)
        .and_then(|(_, count)| count.trim().parse().ok())
        .unwrap_or(0)
}

/// Sends forged packets to all probes, and says what became of them. `private` is where the hosts reach each other.
pub(super) async fn look(
    network: &str,
    hosts: &Hosts,
    probes: &BTreeMap<HostName, Probe>,
    private: &BTreeMap<HostName, IpAddr>,
    kept: &mut Reports,
) -> Forgery {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let starts = probes
        .iter()
        .filter_map(|(name, probe)| Some((name, probe, hosts.get(name)?, private.get(name)?)));
    let starts = starts.map(|(name, probe, host, address)| {
        let argv = [
            "perl",
            "-e",
            AGENT,
            &LIFETIME.as_secs().to_string(),
            &token,
            network,
        ];
        let mut argv: Vec<String> = argv.map(str::to_owned).to_vec();
        argv.push(probe.container.clone());
        async move {
            match start(host, &Command::new(argv).timeout(LIFETIME)).await {
                Ok((agent, said)) => Some((name, probe, address, agent, tunnels(&said))),
                Err(error) => {
                    tracing::debug!(%name, error, "nobody can look for forged packets there");
                    None
                }
            }
        }
    });
    let mut all: Vec<_> = on_each(starts).await.into_iter().flatten().collect();
    all.sort_by_key(|(name, ..)| *name);
    // Each sends to the one after it; one that is alone has nobody to do it, and lets in what it sends to itself.
    let is_alone = all.len() < 2;
    let mut orders: Vec<String> = all
        .iter()
        .map(|(_, probe, address, _, tunnels)| {
            let one = |(number, port): &Tunnel| {
                format!("forge {address} {} {number} {port}\n", probe.mac)
            };
            let orders = tunnels.iter().map(one);
            orders.filter(|_| !is_alone).collect()
        })
        .collect();
    orders.rotate_left(1);
    let sends =
        all.into_iter()
            .zip(orders)
            .map(|((name, _, _, mut agent, _), orders)| async move {
                let sent = send(&mut agent, &orders).await;
                if let Err(error) = sent {
                    tracing::debug!(%name, error, "forged packets could not be sent");
                }
                (name, agent)
            });
    let agents = on_each(sends).await;
    let ends = agents
        .into_iter()
        .map(|(name, agent)| async move { (name, agent.report().await) });
    let mut reports: BTreeMap<&HostName, String> = BTreeMap::new();
    for (name, report) in on_each(ends).await {
        reports.insert(name, report.unwrap_or_default());
    }
    let mut found = Forgery::default();
    for name in probes.keys() {
        let report = reports.remove(name).unwrap_or_default();
        found.add(
            name,
            counted(&report, "arrived"),
            counted(&report, "inside"),
        );
        kept.insert((name.clone(), "forged.txt"), report);
    }
    found
}

async fn send(agent: &mut Agent, orders: &str) -> Result<(), String> {
    for order in orders.lines() {
        tell(&mut agent.input, &format!("{order}\n")).await?;
        read_until(&mut agent.output, "sent", &mut String::new()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_say() {
        let said = "vni 4097 4789\nvni x\nready\n";
        assert_eq!(tunnels(said), [("4097".to_owned(), "4789".to_owned())]);
        let report = "arrived 3\ninside 0\nend\n";
        assert_eq!(
            (counted(report, "arrived"), counted(report, "inside")),
            (3, 0)
        );
        assert_eq!(counted("", "inside"), 0);
    }
}
