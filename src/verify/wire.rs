//! Whether traffic is encrypted that is to be: an agent on each host looks at what leaves it while the probes talk. What is seen in clear is
//! a finding, and that only ESP leaves is the proof.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use openssh::ChildStdin;
use tokio::io::{AsyncReadExt, BufReader, Take};

use super::links::{read_until, tell};
use super::{Probe, Reports, on_each};
use crate::host::{Command, Connection, Hosts, Stream, StreamOutput};
use crate::inventory::HostName;
use crate::proof::{Direction, Encryption};

const AGENT: &str = include_str!("../../templates/verify/wire.pl");

/// Most bytes that an agent says: a line for each of some hundred hosts.
const MAX_REPORT: u64 = 1 << 16;

/// Joins what was seen. `addresses` are the hosts' own, `reports` what their agents said.
fn join(
    probes: &BTreeMap<HostName, Probe>,
    addresses: &BTreeMap<HostName, IpAddr>,
    reports: &BTreeMap<HostName, String>,
) -> Encryption {
    let mut all = Encryption::default();
    for from in probes.keys() {
        for (to, probe) in probes.iter().filter(|(to, _)| *to != from) {
            let direction = Direction {
                from: from.clone(),
                to: to.clone(),
            };
            let counted = |key: &str, address: &str| {
                let lines = reports
                    .get(from)
                    .map(String::as_str)
                    .unwrap_or_default()
                    .lines();
                let mut words = lines.map(|line| line.split(' ').collect::<Vec<_>>());
                words
                    .any(|words| matches!(words[..], [kind, of, count] if kind == key && of == address && count != "0"))
            };
            let clear = counted("clear", &probe.address.to_string());
            let sealed = addresses
                .get(to)
                .is_some_and(|address| counted("esp", &address.to_string()));
            match (clear, sealed) {
                (true, _) => all.clear.push(direction),
                (false, true) => all.proved.push(direction),
                (false, false) => all.unseen.push(direction),
            }
        }
    }
    all
}

/// The agents at work.
pub(super) struct Watch {
    agents: Vec<(HostName, Agent)>,
}

/// An agent that was started, and waits for what it is told.
pub(super) struct Agent {
    pub input: ChildStdin,
    pub output: BufReader<Take<StreamOutput>>,
    /// Held: the agent ends with it.
    _stream: Stream,
}

impl Agent {
    /// What it saw.
    pub async fn report(mut self) -> Result<String, String> {
        let mut said = String::new();
        tell(&mut self.input, "report\n").await?;
        read_until(&mut self.output, "end", &mut said).await?;
        Ok(said)
    }
}

impl Watch {
    /// Starts an agent on each host that has a probe. One that cannot be started sees nothing, and the result says so.
    pub async fn begin(
        hosts: &Hosts,
        probes: &BTreeMap<HostName, Probe>,
        port: u16,
        lifetime: Duration,
    ) -> Self {
        let starts = probes
            .iter()
            .filter_map(|(name, own)| Some((name, own, hosts.get(name)?)));
        let starts = starts.map(|(name, own, host)| async move {
            let others = probes
                .iter()
                .filter(|(other, _)| *other != name)
                .map(|(_, probe)| probe.address.to_string());
            let mut argv: Vec<String> = ["perl", "-e", AGENT].map(str::to_owned).to_vec();
            argv.extend([
                port.to_string(),
                lifetime.as_secs().to_string(),
                own.address.to_string(),
            ]);
            argv.extend(others);
            match start(host, &Command::new(argv).timeout(lifetime)).await {
                Ok((agent, _)) => Some((name.clone(), agent)),
                Err(error) => {
                    tracing::debug!(%name, error, "what leaves the host cannot be looked at");
                    None
                }
            }
        });
        Self {
            agents: on_each(starts).await.into_iter().flatten().collect(),
        }
    }

    /// Ends them, and joins what they saw.
    pub async fn end(
        self,
        probes: &BTreeMap<HostName, Probe>,
        addresses: &BTreeMap<HostName, IpAddr>,
        kept: &mut Reports,
    ) -> Encryption {
        let ends = self.agents.into_iter().map(|(name, agent)| async move {
            match agent.report().await {
                Ok(said) => Some((name, said)),
                Err(error) => {
                    tracing::debug!(%name, error, "what left the host was not told");
                    None
                }
            }
        });
        let reports: BTreeMap<HostName, String> =
            on_each(ends).await.into_iter().flatten().collect();
        kept.extend(
            reports
                .iter()
                .map(|(name, report)| ((name.clone(), "wire.txt"), report.clone())),
        );
        join(probes, addresses, &reports)
    }
}

/// Starts an agent, and waits until it is ready. Returns what it said until then, too.
pub(super) async fn start(host: &Connection, command: &Command) -> Result<(Agent, String), String> {
    let mut stream = host
        .stream(command)
        .await
        .map_err(|error| error.to_string())?;
    let (Some(input), Some(output)) = (stream.stdin(), stream.stdout()) else {
        return Err("the agent could not be started".to_owned());
    };
    let mut output = BufReader::new(output.take(MAX_REPORT));
    let mut said = String::new();
    read_until(&mut output, "ready", &mut said).await?;
    let agent = Agent {
        input,
        output,
        _stream: stream,
    };
    Ok((agent, said))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn seen(a: &str, b: &str) -> Encryption {
        let names = [host("a"), host("b")];
        let probe = |number: u8| Probe {
            target: String::new(),
            container: format!("dc-probe-{number}"),
            nonce: String::new(),
            address: Ipv4Addr::new(10, 90, 0, number),
            mac: String::new(),
            refused: 0,
            sources_refused: 0,
        };
        let probes = names.iter().cloned().zip((1..).map(probe)).collect();
        let addresses = names
            .iter()
            .cloned()
            .zip((1..).map(|number| IpAddr::from([192, 0, 2, number])))
            .collect();
        let reports = names
            .into_iter()
            .zip([a.to_owned(), b.to_owned()])
            .collect();
        join(&probes, &addresses, &reports)
    }

    #[test]
    fn only_what_leaves_sealed_and_never_in_clear_is_proved() {
        let both = seen(
            "ready\nesp 192.0.2.2 40\nend\n",
            "esp 192.0.2.1 41\nesp 192.0.2.9 1\nend\n",
        );
        assert!(both.is_whole(), "{both:?}");
        assert!(both.findings("net", false).is_empty());
        // Some of it sealed and some not is not sealed.
        let leaks = seen(
            "clear 10.90.0.2 3\nesp 192.0.2.2 40\nend\n",
            "esp 192.0.2.1 41\nend\n",
        );
        assert_eq!(
            (leaks.clear.len(), leaks.proved.len(), leaks.is_whole()),
            (1, 1, false)
        );
        let findings = leaks.findings("net", true);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].about,
            crate::proof::causes::About::Link(host("a"), host("b"))
        );
        assert!(
            findings[0].what.contains("not encrypted")
                && findings[0].fix.contains("docker-cluster plan")
        );
        assert!(
            leaks.findings("net", false)[0]
                .fix
                .contains("CVE-2023-28840")
        );
        // Who saw nothing has proved nothing, and ESP to somebody else is no proof either.
        let blind = seen("", "esp 192.0.2.9 41\nend\n");
        assert_eq!((blind.unseen.len(), blind.is_whole()), (2, false));
        assert!(blind.findings("net", false).is_empty(), "{blind:?}");
        assert_eq!(
            seen("esp 192.0.2.2 0\n", "clear 10.90.0.1 0\n")
                .unseen
                .len(),
            2
        );
    }
}
