//! The short way to start, ask and remove a probe: by the engine's API ([`crate::engine_ask`]). Each start of Docker's client that is saved
//! is a thirtieth of a second of the host's CPU, and on hosts that share theirs, of all of them. What goes wrong goes the long way, whose scripts know
//! what to look at.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Located, SERVE, START_TIMEOUT, is_mac};
use crate::engine_ask::{self, Answer, PROMPT, Question, in_query};
use crate::host::{Connection, HostError, Output};
use crate::labels::{EXPIRES_LABEL, PROBE_LABEL, PROBE_PREFIX};

/// The port of a probe, as the engine writes it.
const PORT: &str = "80/tcp";

/// Where the kernel counts the neighbours that it refused, of all namespaces, and what its TCP threw away.
const NEIGHBOURS: &str = "/proc/net/stat/arp_cache";
const TCP: &str = "/proc/net/netstat";

/// A probe that is to be started.
pub(super) struct Wanted<'a> {
    pub cluster: &'a str,
    pub network: &'a str,
    pub image: &'a str,
    pub name: &'a str,
    pub lifetime: Duration,
    pub nonce: &'a str,
    /// The address on which its host publishes its port, if it is to.
    pub publish: Option<String>,
    /// The runs that were killed.
    pub dead: &'a [String],
}

/// What became of a start.
pub(super) enum Started {
    /// It runs, and this is where.
    Runs(Located),
    /// The engine said these words instead.
    Refused(String),
    /// The engine cannot be asked in this way, and was asked nothing.
    NoWay,
    /// The host said something else, or nothing.
    Said(Output),
}

/// Starts one, and removes what killed runs have left.
pub(super) async fn start(host: &Connection, wanted: &Wanted<'_>) -> Result<Started, HostError> {
    let Wanted { name, .. } = wanted;
    let filter = in_query(&json!({"label": [PROBE_LABEL]}).to_string());
    let questions = [
        // An engine that hangs or is down shows it at its first question.
        Question::get(format!("/containers/json?all=1&filters={filter}"), PROMPT),
        Question::times(),
        Question::post(
            format!("/containers/create?name={name}"),
            Some(&body(wanted)),
            START_TIMEOUT,
        ),
        Question::post(format!("/containers/{name}/start"), None, START_TIMEOUT),
        Question::get(format!("/containers/{name}/json"), PROMPT),
        Question::file(NEIGHBOURS),
        Question::file(TCP),
    ];
    let command = engine_ask::command(&questions).timeout(START_TIMEOUT);
    let output = host.run(&command).await?;
    if engine_ask::is_no_way(&output) {
        return Ok(Started::NoWay);
    }
    let Some(answers) = engine_ask::read(&output) else {
        return Ok(Started::Said(output));
    };
    if let [probes, times, ..] = answers.as_slice() {
        remove_leftovers(host, probes, times, wanted).await?;
    }
    match answers.as_slice() {
        [.., refused] if !refused.is_well() => Ok(Started::Refused(refused.words())),
        [_, _, _, _, state, neighbours, tcp] => {
            Ok(match located(state, neighbours, tcp, wanted.network) {
                Some(located) => Started::Runs(located),
                None => Started::Refused(
                    "it does not tell the address of a container on the network".to_owned(),
                ),
            })
        }
        _ => Ok(Started::Refused("it did not answer all".to_owned())),
    }
}

/// As `docker run` writes it, of `probe-start.sh`.
fn body(wanted: &Wanted<'_>) -> Value {
    let Wanted {
        name,
        network,
        nonce,
        ..
    } = wanted;
    let lifetime = wanted.lifetime.as_secs();
    let mut body = json!({
        "Image": wanted.image,
        "Hostname": name,
        "Entrypoint": ["sh"],
        "Cmd": ["-c", SERVE, "probe", nonce, lifetime.to_string()],
        "Labels": {PROBE_LABEL: wanted.cluster, EXPIRES_LABEL: format!("{{Now+{lifetime}}}")},
        "HostConfig": {"AutoRemove": true, "NetworkMode": network},
        "NetworkingConfig": {"EndpointsConfig": {*network: {}}},
    });
    if let Some(address) = &wanted.publish {
        body["ExposedPorts"] = json!({PORT: {}});
        body["HostConfig"]["PortBindings"] = json!({PORT: [{"HostIp": address, "HostPort": ""}]});
    }
    body
}

/// A leftover is a probe whose time is over, or one of a run that its own machine knows to be dead. Others are at work.
fn leftovers(probes: &Answer, times: &Answer, dead: &[String]) -> Vec<String> {
    let times = String::from_utf8_lossy(&times.body);
    let now: Option<i64> = times.lines().next().and_then(|now| now.parse().ok());
    let (Some(now), Some(probes)) = (now, probes.json::<Vec<Value>>()) else {
        return Vec::new();
    };
    let is_left = |name: &str, probe: &Value| {
        let expires = probe["Labels"][EXPIRES_LABEL].as_str();
        expires.and_then(|at| at.parse().ok()).unwrap_or(0) < now
            || dead
                .iter()
                .any(|run| name.starts_with(&format!("{PROBE_PREFIX}{run}-")))
    };
    probes
        .iter()
        .filter_map(|probe| {
            let name = probe["Names"][0].as_str()?.trim_start_matches('/');
            is_left(name, probe).then(|| probe["Id"].as_str().map(str::to_owned))?
        })
        .collect()
}

async fn remove_leftovers(
    host: &Connection,
    probes: &Answer,
    times: &Answer,
    wanted: &Wanted<'_>,
) -> Result<(), HostError> {
    for id in leftovers(probes, times, wanted.dead) {
        if id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            remove(host, &id, START_TIMEOUT).await?;
        }
    }
    Ok(())
}

fn located(state: &Answer, neighbours: &Answer, tcp: &Answer, network: &str) -> Option<Located> {
    let state: Value = state.json()?;
    let settings = &state["NetworkSettings"];
    let endpoint = settings["Networks"].get(network)?;
    let address: Ipv4Addr = endpoint["IPAddress"].as_str()?.parse().ok()?;
    let mac = endpoint["MacAddress"].as_str()?.to_owned();
    let port = settings["Ports"][PORT][0]["HostPort"].as_str();
    is_mac(&mac).then(|| Located {
        address,
        mac,
        refused: neighbours_refused(&String::from_utf8_lossy(&neighbours.body)),
        sources_refused: sources_refused(&String::from_utf8_lossy(&tcp.body)),
        port: port.and_then(|port| port.parse().ok()),
    })
}

/// As `neighbours.sh` counts them: a line a processor, and the last column of each, in hexadecimal.
fn neighbours_refused(table: &str) -> u64 {
    let mut lines = table.lines();
    if !lines
        .next()
        .is_some_and(|names| names.contains("table_fulls"))
    {
        return 0;
    }
    lines
        .filter_map(|line| u64::from_str_radix(line.split_whitespace().last()?, 16).ok())
        .sum()
}

/// The same of packets that did not come by the interface which leads back to their sender.
fn sources_refused(table: &str) -> u64 {
    let mut lines = table
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(name, _)| *name == "IPReversePathFilter")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// Runs a shell script in a container, and returns what it printed. None where it must be asked in another way.
pub(super) async fn exec(
    host: &Connection,
    container: &str,
    script: &str,
    arguments: &[String],
    limit: Duration,
) -> Result<Option<String>, HostError> {
    let mut argv = vec!["sh", "-c", script, "sh"];
    argv.extend(arguments.iter().map(String::as_str));
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": argv});
    let questions = [
        Question::post(format!("/containers/{container}/exec"), Some(&body), PROMPT),
        Question::post(
            "/exec/{Id}/start",
            Some(&json!({"Detach": false, "Tty": false})),
            limit,
        ),
        Question::get("/exec/{Id}/json", PROMPT),
    ];
    let command = engine_ask::command(&questions).timeout(limit);
    let output = host.run(&command).await?;
    let answers = engine_ask::read(&output).unwrap_or_default();
    let [_, said, state] = answers.as_slice() else {
        return match engine_ask::has_run_out(&output) {
            true => Err(HostError::CommandTimedOut {
                command: command.display(),
                after: limit,
            }),
            false => Ok(None),
        };
    };
    let state: Option<Value> = state.json();
    let status = state.and_then(|state| state["ExitCode"].as_i64());
    match (engine_ask::streams(&said.body), status) {
        (Some((stdout, _)), Some(0)) => Ok(Some(crate::words::printable(&stdout))),
        _ => Ok(None),
    }
}

/// Removes a container. None where the engine cannot be asked in this way.
pub(super) async fn remove(
    host: &Connection,
    container: &str,
    limit: Duration,
) -> Result<Option<Output>, HostError> {
    let question = Question::delete(format!("/containers/{container}?force=1"), limit);
    let output = host
        .run(&engine_ask::command(&[question]).timeout(limit))
        .await?;
    if engine_ask::is_no_way(&output) {
        return Ok(None);
    }
    Ok(Some(match engine_ask::read(&output).as_deref() {
        Some([answer]) if answer.is_well() => Output::default(),
        Some([answer]) => Output {
            status: 1,
            stderr: answer.words().into_bytes(),
            ..Output::default()
        },
        _ => output,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer {
            status: 200,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn leftovers_are_what_has_expired_or_is_of_a_dead_run() {
        let probes = answer(
            r#"[{"Id":"a1","Names":["/dc-probe-11111111-a"],"Labels":{"docker-cluster.expires":"99"}},
            {"Id":"b2","Names":["/dc-probe-22222222-a"],"Labels":{"docker-cluster.expires":"100"}},
            {"Id":"c3","Names":["/dc-probe-33333333-a"],"Labels":{"docker-cluster.expires":"900"}},
            {"Id":"d4","Names":["/other"],"Labels":{}},{"Id":"e5"}]"#,
        );
        let dead = ["33333333".to_owned(), "2222222".to_owned()];
        let times = answer("100\n");
        assert_eq!(leftovers(&probes, &times, &dead), ["a1", "c3", "d4"]);
        assert!(leftovers(&probes, &answer("soon"), &dead).is_empty());
        assert!(leftovers(&answer("[]"), &times, &dead).is_empty());
    }

    #[test]
    fn a_probe_is_where_the_engine_says_and_nowhere_else() {
        let state = |address: &str, mac: &str| {
            answer(&format!(
                r#"{{"NetworkSettings":{{"Ports":{{"80/tcp":[{{"HostIp":"10.0.0.1","HostPort":"32768"}}]}},
                "Networks":{{"net":{{"IPAddress":"{address}","MacAddress":"{mac}"}}}}}}}}"#
            ))
        };
        let neighbours = answer("entries  table_fulls\n00000001  00000003\n00000001  0000000a\n");
        let tcp = answer("TcpExt: A IPReversePathFilter B\nTcpExt: 1 7 3\nIpExt: X\nIpExt: 1\n");
        let found = located(
            &state("10.90.0.4", "02:42:0a:5a:00:04"),
            &neighbours,
            &tcp,
            "net",
        );
        let found = found.unwrap();
        assert_eq!(found.address, Ipv4Addr::new(10, 90, 0, 4));
        assert_eq!((found.refused, found.sources_refused), (13, 7));
        assert_eq!(found.port, Some(32768));
        for (address, mac, network) in [
            ("", "02:42:0a:5a:00:04", "net"),
            ("10.90.0.4", "x", "net"),
            ("10.90.0.4", "02:42:0a:5a:00:04", "other"),
        ] {
            assert!(located(&state(address, mac), &neighbours, &tcp, network).is_none());
        }
        assert_eq!((neighbours_refused(""), sources_refused("")), (0, 0));
    }

    #[test]
    fn a_probe_is_what_the_script_would_start() {
        let mut wanted = Wanted {
            cluster: "prod",
            network: "net",
            image: "nginx",
            name: "dc-probe-1-a",
            lifetime: Duration::from_secs(900),
            nonce: "n",
            publish: None,
            dead: &[],
        };
        let plain = body(&wanted);
        assert_eq!(plain["Labels"]["docker-cluster.probe"], "prod");
        assert_eq!(plain["Labels"]["docker-cluster.expires"], "{Now+900}");
        assert_eq!(
            plain["HostConfig"],
            json!({"AutoRemove": true, "NetworkMode": "net"})
        );
        assert_eq!(plain["Cmd"][3], "n");
        assert!(plain["ExposedPorts"].is_null());
        wanted.publish = Some("10.0.0.1".to_owned());
        let published = body(&wanted);
        assert_eq!(
            published["HostConfig"]["PortBindings"]["80/tcp"][0]["HostIp"],
            "10.0.0.1"
        );
    }
}
