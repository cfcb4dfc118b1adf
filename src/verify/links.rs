//! The ways between hosts: an agent on each of them sends real datagrams with a mark of this run, and says which of the others'
//! it has seen, on the wire and behind its firewall. One SSH command a host, all at the same time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use openssh::ChildStdin;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::host::{Command, Connection, Hosts};
use crate::inventory::HostName;
use crate::proof::{Link, Needs, REPEATS, Tcp, Way};
use crate::words::printable;

const AGENT: &str = include_str!("../../templates/verify/links.pl");

/// How long one stage of the agent may take: its own deadline for TCP is two seconds, its datagrams take one more, and a busy host
/// needs time to start an interpreter.
const STAGE_DEADLINE: Duration = Duration::from_secs(20);

/// The agent ends by itself before this (`LIFETIME` in `links.pl`).
const AGENT_TIMEOUT: Duration = Duration::from_secs(45);

/// UDP port that the agents use for long datagrams where there are no tunnels: the one of VXLAN, which firewalls between hosts know.
const USUAL_TUNNEL: u16 = 4789;

/// Most bytes read from an agent: fifty peers take some twenty kilobytes.
const MAX_REPORT: u64 = 1 << 20;

/// What all agents said.
#[derive(Debug, Default)]
pub struct Links {
    /// The directions between two hosts.
    pub links: BTreeMap<(HostName, HostName), Link>,
    /// Hosts whose agent did not work, and why.
    pub failed: BTreeMap<HostName, String>,
    /// The reports as they came.
    pub reports: BTreeMap<HostName, String>,
}

/// Looks at all ways between these hosts.
pub async fn examine(
    hosts: &Hosts,
    addresses: &BTreeMap<HostName, IpAddr>,
    needs: &Needs,
) -> Links {
    let mark = rand_mark();
    let names: Vec<&HostName> = addresses
        .keys()
        .filter(|name| hosts.contains_key(*name))
        .collect();
    // All begin to send when all listen, and say what they have seen when all have sent. One that fails still comes to both.
    let barrier = Barrier::new(names.len().max(1));
    let agents = names.iter().enumerate().map(|(index, name)| {
        let (names, barrier) = (&names, &barrier);
        async move {
            let peers: Vec<String> = names
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(other, peer)| {
                    let ports: Vec<String> =
                        needs.tcp_ports(peer).iter().map(u16::to_string).collect();
                    format!("{other},{},{}", addresses[*peer], ports.join(":"))
                })
                .collect();
            let mut argv: Vec<String> = ["perl", "-e", AGENT].map(str::to_owned).to_vec();
            argv.extend([
                mark.to_string(),
                index.to_string(),
                needs.tunnel.unwrap_or(USUAL_TUNNEL).to_string(),
            ]);
            argv.extend([u8::from(needs.encrypted).to_string(), needs.mtu.to_string()]);
            argv.extend(peers);
            let result = agent(
                &hosts[*name],
                &Command::new(argv).timeout(AGENT_TIMEOUT),
                barrier,
            )
            .await;
            ((*name).clone(), result)
        }
    });
    let mut all = Links::default();
    for (name, result) in futures_util::future::join_all(agents).await {
        match result {
            Ok(report) => all.reports.insert(name, report),
            Err(error) => all.failed.insert(name, error),
        };
    }
    all.links = join(
        &names.into_iter().cloned().collect::<Vec<_>>(),
        &all.reports,
        needs.encrypted,
    );
    all
}

/// A mark that no other run at the same time has.
fn rand_mark() -> u32 {
    u32::from_be_bytes(
        uuid::Uuid::new_v4().into_bytes()[..4]
            .try_into()
            .unwrap_or([0x5d; 4]),
    )
}

async fn agent(host: &Connection, command: &Command, barrier: &Barrier) -> Result<String, String> {
    let mut said = String::new();
    let mut stream = host
        .stream(command)
        .await
        .map_err(|error| error.to_string());
    let mut ends = stream.as_mut().ok().and_then(|stream| {
        Some((
            stream.stdin()?,
            BufReader::new(stream.stdout()?.take(MAX_REPORT)),
        ))
    });
    for (stage, order) in [("ready", "go\n"), ("sent", "report\n")] {
        let result = match &mut ends {
            Some((_, output)) => read_until(output, stage, &mut said).await,
            None => Err("the agent could not be started".to_owned()),
        };
        barrier.wait().await;
        let went_on = match (&result, &mut ends) {
            (Ok(()), Some((input, _))) => tell(input, order).await,
            _ => Ok(()),
        };
        if let Err(error) = result.and(went_on) {
            // The others wait at the second barrier as well.
            if stage == "ready" {
                barrier.wait().await;
            }
            return Err(error);
        }
    }
    let Some((_, mut output)) = ends else {
        return Err("the agent could not be started".to_owned());
    };
    read_until(&mut output, "end", &mut said).await?;
    Ok(said)
}

pub(super) async fn tell(input: &mut ChildStdin, order: &str) -> Result<(), String> {
    let write = async {
        input.write_all(order.as_bytes()).await?;
        input.flush().await
    };
    write
        .await
        .map_err(|error| format!("the agent went away: {error}"))
}

pub(super) async fn read_until<R: tokio::io::AsyncRead + Unpin>(
    output: &mut BufReader<R>,
    stage: &str,
    said: &mut String,
) -> Result<(), String> {
    let reading = async {
        loop {
            let mut line = Vec::new();
            match output.read_until(b'\n', &mut line).await {
                Ok(0) => return Err("the agent ended early; is Perl installed there?".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
            let line = printable(&line);
            said.push_str(&line);
            if line.trim_end() == stage {
                return Ok(());
            }
        }
    };
    timeout(STAGE_DEADLINE, reading)
        .await
        .unwrap_or_else(|_| Err(format!("the agent did not get to `{stage}` in time")))
}

/// What a receiver has seen of one kind of datagram from one sender.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    wire: u32,
    behind: u32,
    wire_max: u32,
    behind_max: u32,
}

/// Kinds of datagrams, as `links.pl` numbers them.
const VXLAN: u32 = 1;
const GOSSIP: u32 = 2;
const ESP: u32 = 3;
const SWEEP: u32 = 4;

/// Joins what senders and receivers said. A host without a report has no links.
fn join(
    names: &[HostName],
    reports: &BTreeMap<HostName, String>,
    encrypted: bool,
) -> BTreeMap<(HostName, HostName), Link> {
    let mut links = BTreeMap::new();
    for (from_index, from) in names.iter().enumerate() {
        for (to_index, to) in names
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != from_index)
        {
            let (Some(sender), Some(receiver)) = (reports.get(from), reports.get(to)) else {
                continue;
            };
            let words =
                |report: &'static str| move |line: &str| line.split(' ').next() == Some(report);
            let fields = |line: &str| {
                line.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let of = |report: &str, kind: &'static str| -> Vec<Vec<String>> {
                report
                    .lines()
                    .filter(|line| words(kind)(line))
                    .map(fields)
                    .collect()
            };
            let to_text = to_index.to_string();
            let mine = |line: &&Vec<String>| line.get(1) == Some(&to_text);
            let seen = |kind: u32| {
                let (index, kind) = (from_index.to_string(), kind.to_string());
                let lines = of(receiver, "seen");
                let line = lines
                    .iter()
                    .find(|line| line.get(1) == Some(&index) && line.get(2) == Some(&kind));
                let number = |at: usize| {
                    line.and_then(|line| line.get(at))
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0)
                };
                Seen {
                    wire: number(4),
                    behind: number(5),
                    wire_max: number(6),
                    behind_max: number(7),
                }
            };
            let sent = of(sender, "sent");
            let way = |kind: u32| {
                let seen = seen(kind);
                let kind = kind.to_string();
                let error = sent
                    .iter()
                    .filter(mine)
                    .find(|line| line.get(2) == Some(&kind))
                    .and_then(|line| line.get(3));
                match (seen.behind, seen.wire, error.map(String::as_str)) {
                    (1.., _, _) => Way::Passed {
                        lost: REPEATS.saturating_sub(seen.behind),
                    },
                    (0, 1.., _) => Way::DroppedAtTarget,
                    (0, 0, Some("denied")) => Way::DeniedAtSource,
                    _ => Way::Lost,
                }
            };
            let tried = of(sender, "tcp");
            let tcp = tried.iter().filter(mine).filter_map(|line| {
                let state = match line.get(3)?.as_str() {
                    "ok" => Tcp::Open,
                    "refused" => Tcp::Refused,
                    "denied" => Tcp::Blocked,
                    _ => Tcp::Silent,
                };
                Some((line.get(2)?.parse().ok()?, state))
            });
            let sweep = seen(SWEEP);
            let link = Link {
                tcp: tcp.collect(),
                icmp: of(sender, "icmp")
                    .iter()
                    .filter(mine)
                    .any(|line| line.get(2).is_some_and(|word| word == "ok")),
                vxlan: way(VXLAN),
                gossip: way(GOSSIP),
                esp: encrypted.then(|| way(ESP)),
                path_mtu: (sweep.behind_max, sweep.wire_max),
            };
            links.insert((from.clone(), to.clone()), link);
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_joined() {
        let names: Vec<HostName> = ["a", "b"]
            .map(|name| HostName::parse(name).unwrap())
            .to_vec();
        let a = "ready\ntcp 1 22 ok\ntcp 1 7946 timeout\nicmp 1 ok\nsent 1 1 ok\nsent 1 2 denied\nsent 1 4 ok\nsent\nseen 1 1 10.0.0.2 3 0 46 0\nend\n";
        let b = "ready\ntcp 0 22 refused\nicmp 0 none\nsent 0 1 ok\nsent 0 2 ok\nsent 0 4 ok\nsent\nseen 0 1 10.0.0.1 3 2 46 46\nseen 0 4 10.0.0.1 90 60 1500 1300\nend\n";
        let reports = [
            (names[0].clone(), a.to_owned()),
            (names[1].clone(), b.to_owned()),
        ]
        .into();
        let links = join(&names, &reports, false);
        let there = &links[&(names[0].clone(), names[1].clone())];
        assert_eq!(there.tcp, [(22, Tcp::Open), (7946, Tcp::Silent)].into());
        assert_eq!(there.vxlan, Way::Passed { lost: 1 });
        assert_eq!(there.gossip, Way::DeniedAtSource);
        assert_eq!(there.path_mtu, (1300, 1500));
        assert!(there.icmp && there.esp.is_none());
        let back = &links[&(names[1].clone(), names[0].clone())];
        assert_eq!(back.tcp, [(22, Tcp::Refused)].into());
        assert_eq!(back.vxlan, Way::DroppedAtTarget);
        assert_eq!(back.gossip, Way::Lost);
        assert!(!back.icmp && back.anything_passes());
    }

    #[test]
    fn garbage_is_no_report() {
        let names: Vec<HostName> = ["a", "b"]
            .map(|name| HostName::parse(name).unwrap())
            .to_vec();
        let reports: BTreeMap<HostName, String> = names
            .iter()
            .map(|name| {
                (
                    name.clone(),
                    "tcp\nseen x\n\u{fffd} 1 1\nsent 1 99999999999 ok".to_owned(),
                )
            })
            .collect();
        let links = join(&names, &reports, true);
        assert!(
            links
                .values()
                .all(|link| !link.anything_passes() && link.esp == Some(Way::Lost))
        );
    }
}
