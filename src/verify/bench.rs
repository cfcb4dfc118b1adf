//! What the fabric costs: the same program measures a pair over the fabric and over the bare underlay, one pair after the other, so
//! that no two of them share a wire or a processor.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use openssh::ChildStdin;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::time::timeout;

use super::Probe;
use crate::event::{Event, Events};
use crate::host::{Command, Connection, Hosts, Stream};
use crate::inventory::HostName;
use crate::proof::{Direction, Figures, Measurement};
use crate::words::printable;

const PROGRAM: &str = include_str!("../../templates/verify/bench.pl");

/// Serves on the host's own network and on the probe's. Standard input is handed on, because its end ends both.
/// Arguments: PROGRAM CONTAINER UNDERLAY FABRIC.
const SERVE: &str = r#"exec 3<&0
pid=$(docker inspect --format '{{.State.Pid}}' "$2") || exit 1
nsenter -t "$pid" -n perl -e "$1" serve fabric "$4" <&3 &
perl -e "$1" serve underlay "$3" <&3 &
wait"#;

/// Asks in turns, so that a change of the machines' load meets both alike.
/// Arguments: PROGRAM CONTAINER ROUNDS FABRIC PORT UNDERLAY PORT.
const ASK: &str = r#"pid=$(docker inspect --format '{{.State.Pid}}' "$2") || exit 1
round=0
while [ "$round" -lt "$3" ]; do
    nsenter -t "$pid" -n perl -e "$1" ask fabric "$4" "$5"
    perl -e "$1" ask underlay "$6" "$7"
    round=$((round + 1))
done"#;

/// Rounds of a pair; the median of three survives one disturbance.
const ROUNDS: usize = 3;

/// How long starting the servers may take: two interpreters on a busy host.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// How long they live at most (`SERVER_LIFETIME` in `bench.pl`).
const SERVER_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long a pair may take: three rounds of two measurements of about two seconds, or five seconds where a firewall is silent.
const PAIR_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one pair usually takes, for the one who waits.
pub const PAIR_TIME: Duration = Duration::from_secs(12);

/// Most bytes that a server says.
const MAX_WORDS: u64 = 4096;

struct Server {
    fabric: u16,
    underlay: u16,
    /// Held: their end is the server's.
    _input: ChildStdin,
    _stream: Stream,
}

/// Measures these directions, in this order. `underlay` are the hosts' private addresses.
pub(super) async fn measure(
    hosts: &Hosts,
    probes: &BTreeMap<HostName, Probe>,
    underlay: &BTreeMap<HostName, IpAddr>,
    directions: &[Direction],
    events: &Events,
) -> Vec<Measurement> {
    let targets = hosts
        .iter()
        .filter(|(name, _)| directions.iter().any(|direction| direction.to == **name));
    let servers = targets.map(|(name, host)| async move {
        let result = match (probes.get(name), underlay.get(name)) {
            (Some(probe), Some(address)) => serve(host, probe, *address).await,
            _ => Err("it has no probe".to_owned()),
        };
        (name.clone(), result)
    });
    let servers: BTreeMap<HostName, Result<Server, String>> =
        futures_util::future::join_all(servers)
            .await
            .into_iter()
            .collect();
    let mut measured = Vec::new();
    for (at, direction) in directions.iter().enumerate() {
        let Direction { from, to } = direction;
        let why = format!(
            "measure {from} -> {to} ({} of {})",
            at + 1,
            directions.len()
        );
        events.emit(Event::StepStarted {
            host: from.clone(),
            why,
        });
        let ends = (
            hosts.get(from),
            probes.get(from),
            servers.get(to),
            probes.get(to),
            underlay.get(to),
        );
        measured.push(match ends {
            (Some(host), Some(own), Some(Ok(server)), Some(target), Some(address)) => {
                ask(host, own, server, target, *address, direction).await
            }
            (_, _, Some(Err(error)), _, _) => {
                Measurement::failed(direction.clone(), format!("{to}: {error}"))
            }
            _ => Measurement::failed(direction.clone(), "one of the two has no probe"),
        });
        events.emit(Event::HostDone(from.clone()));
    }
    measured
}

async fn serve(host: &Connection, probe: &Probe, underlay: IpAddr) -> Result<Server, String> {
    let (underlay, address) = (underlay.to_string(), probe.address.to_string());
    let argv = [
        "sh",
        "-c",
        SERVE,
        "bench",
        PROGRAM,
        &probe.container,
        &underlay,
        &address,
    ];
    let mut stream = host
        .stream(&Command::new(argv).timeout(SERVER_TIMEOUT))
        .await
        .map_err(|error| error.to_string())?;
    let (Some(input), Some(output)) = (stream.stdin(), stream.stdout()) else {
        return Err("the server could not be started".to_owned());
    };
    let mut output = BufReader::new(output.take(MAX_WORDS));
    let reading = async {
        let (mut fabric, mut underlay) = (None, None);
        while fabric.is_none() || underlay.is_none() {
            let mut line = Vec::new();
            if output
                .read_until(b'\n', &mut line)
                .await
                .map_err(|error| error.to_string())?
                == 0
            {
                return Err(
                    "the server ended early; are Perl and nsenter installed there?".to_owned(),
                );
            }
            let line = printable(&line);
            let mut words = line.split_whitespace().skip(1);
            let (name, port) = (
                words.next(),
                words.next().and_then(|port| port.parse().ok()),
            );
            match name {
                Some("fabric") => fabric = port,
                _ => underlay = port,
            }
        }
        Ok((fabric.unwrap_or_default(), underlay.unwrap_or_default()))
    };
    let (fabric, underlay) = timeout(START_DEADLINE, reading).await.map_err(|_| {
        format!(
            "the server did not start within {}",
            humantime::format_duration(START_DEADLINE)
        )
    })??;
    Ok(Server {
        fabric,
        underlay,
        _input: input,
        _stream: stream,
    })
}

async fn ask(
    host: &Connection,
    own: &Probe,
    server: &Server,
    target: &Probe,
    underlay: IpAddr,
    direction: &Direction,
) -> Measurement {
    let words = [
        ROUNDS.to_string(),
        target.address.to_string(),
        server.fabric.to_string(),
        underlay.to_string(),
    ];
    let mut argv: Vec<String> = ["sh", "-c", ASK, "bench", PROGRAM, &own.container]
        .map(str::to_owned)
        .to_vec();
    argv.extend(words);
    argv.push(server.underlay.to_string());
    match host.check(&Command::new(argv).timeout(PAIR_TIMEOUT)).await {
        Ok(text) => read(direction, &text),
        Err(error) => Measurement::failed(direction.clone(), error.to_string()),
    }
}

fn read(direction: &Direction, text: &str) -> Measurement {
    let (fabric, underlay) = (figures(text, "fabric"), figures(text, "underlay"));
    let ratio = fabric
        .zip(underlay)
        .map(|(fabric, underlay)| fabric.over(&underlay));
    let mut errors: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(" failed "))
        .map(|(network, words)| format!("over the {network}: {words}"))
        .collect();
    errors.dedup();
    Measurement {
        direction: direction.clone(),
        fabric,
        underlay,
        ratio,
        errors,
    }
}

/// The medians of the rounds over one network.
fn figures(text: &str, name: &str) -> Option<Figures> {
    let mut columns: [Vec<f64>; 6] = Default::default();
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    {
        let numbers: Vec<f64> = line
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let Ok(numbers) = <[f64; 6]>::try_from(numbers) else {
            continue;
        };
        for (column, number) in columns.iter_mut().zip(numbers) {
            column.push(number);
        }
    }
    let [p50, p99, requests, one, eight, cpu] = columns.map(|mut column| {
        column.sort_by(f64::total_cmp);
        column.get(column.len() / 2).copied()
    });
    Some(Figures {
        p50_us: p50?,
        p99_us: p99?,
        requests_per_second: requests?,
        bits_per_second: one?,
        bits_per_second_of_eight: eight?,
        cpu_seconds_per_gigabyte: cpu?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_counts() {
        let name = |name| HostName::parse(name).unwrap();
        let direction = Direction {
            from: name("a"),
            to: name("b"),
        };
        let text = "fabric 60 90 1000 8e9 9e9 2\nunderlay 50 90 2000 16e9 18e9 1\nfabric 600 900 10 8e6 9e6 9\n\
                    underlay 40 80 2000 16e9 18e9 1\nfabric 55 91 1000 7e9 8e9 1.5\nunderlay failed no route\nnoise\nfabric x\n";
        let measured = read(&direction, text);
        assert_eq!(measured.fabric.unwrap().p50_us, 60.0);
        assert_eq!(measured.underlay.unwrap().p50_us, 50.0);
        assert_eq!(measured.ratio.unwrap().requests_per_second, 0.5);
        assert_eq!(measured.ratio.unwrap().cpu_seconds_per_gigabyte, 2.0);
        assert_eq!(measured.errors, ["over the underlay: no route"]);
        let blind = read(&direction, "");
        assert!(blind.fabric.is_none() && blind.ratio.is_none());
    }
}
