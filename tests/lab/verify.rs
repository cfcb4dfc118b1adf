//! `verify` says why: each fault is caused for real, one at a time, and the cause, the pairs and the exit code are what it must be,
//! and nothing else is said.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::harness::{Lab, docker, shown};

/// What must be said.
struct Expected<'a> {
    /// The cause, and how often the rest of this is true: one verdict.
    cause: &'a str,
    /// The hosts that it is about, by number.
    hosts: &'a [usize],
    /// The directions that it is about.
    links: &'a [(usize, usize)],
    /// The pairs that do not reach; all others do.
    broken: &'a [(usize, usize)],
    /// What the sentence says.
    words: &'a str,
}

const NOTHING: Expected<'_> = Expected {
    cause: "",
    hosts: &[],
    links: &[],
    broken: &[],
    words: "",
};

/// All pairs of three hosts with this one.
fn with(host: usize) -> Vec<(usize, usize)> {
    (1..=3)
        .filter(|other| *other != host)
        .flat_map(|other| [(host, other), (other, host)])
        .collect()
}

fn directions(document: &Value, lab: &Lab) -> Vec<(usize, usize)> {
    let number = |value: &Value| {
        (1..=3)
            .find(|number| *value == lab.host(*number).as_str())
            .unwrap()
    };
    let mut all: Vec<_> = document
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (number(&pair["from"]), number(&pair["to"])))
        .collect();
    all.sort_unstable();
    all
}

fn assert_said(lab: &Lab, arguments: &[&str], expected: &Expected<'_>) -> Value {
    said_of(lab, &lab.first_hosts(3), arguments, expected)
}

fn said_of(lab: &Lab, file: &Path, arguments: &[&str], expected: &Expected<'_>) -> Value {
    let mut all = vec!["verify", "--output", "json"];
    all.extend(arguments);
    let document = lab.run_with(file, &all).expect(4).json();
    let verdicts = document["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 1, "{}", shown(&document));
    let verdict = &verdicts[0];
    assert_eq!(verdict["cause"], expected.cause, "{}", shown(&document));
    let hosts: Vec<String> = expected.hosts.iter().map(|host| lab.host(*host)).collect();
    assert_eq!(
        verdict["hosts"],
        serde_json::to_value(hosts).unwrap(),
        "{}",
        shown(&document)
    );
    assert_eq!(
        directions(&verdict["links"], lab),
        expected.links,
        "{}",
        shown(&document)
    );
    let mut wanted = expected.broken.to_vec();
    wanted.sort_unstable();
    let broken: Value = document["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair["ok"] == false)
        .cloned()
        .collect();
    assert_eq!(directions(&broken, lab), wanted, "{}", shown(&document));
    assert!(
        verdict["what"].as_str().unwrap().contains(expected.words),
        "{}",
        shown(&document)
    );
    assert!(
        !verdict["fix"].as_str().unwrap().is_empty(),
        "{}",
        shown(&document)
    );
    document
}

/// Breaks something with a shell line on a host, looks, and mends it with another.
fn fault(
    lab: &Lab,
    host: usize,
    breaks: &str,
    mends: &str,
    arguments: &[&str],
    expected: &Expected<'_>,
) {
    lab.sh(host, breaks);
    assert_said(lab, arguments, expected);
    lab.sh(host, mends);
}

/// A rule in front of all others, and its end.
fn rule(lab: &Lab, host: usize, rule: &str, arguments: &[&str], expected: &Expected<'_>) {
    fault(
        lab,
        host,
        &format!("iptables -I {rule}"),
        &format!("iptables -D {rule}"),
        arguments,
        expected,
    );
}

#[test]
#[ignore = "needs a Docker engine"]
fn every_fault_is_named() {
    // The fourth is no host of the cluster: it is the router between host 2 and the others, where packets can be lost on the way.
    let lab = Lab::up("why", &["--hosts", "4", "--os", "debian-11"]);
    let file = lab.first_hosts(3);
    lab.run_with(&file, &["up", "--yes"]).expect(0);
    let address = |host: usize| {
        lab.sh(
            host,
            "ip -4 -o address show eth0 | sed 's/.*inet //; s,/.*,,'",
        )
        .trim()
        .to_owned()
    };
    let router = address(ROUTER);
    lab.sh(
        ROUTER,
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0",
    );
    lab.sh(ROUTER, "iptables -P FORWARD ACCEPT");
    for (host, other) in [(1, 2), (3, 2), (2, 1), (2, 3)] {
        lab.sh(
            host,
            &format!("ip route add {} via {router}", address(other)),
        );
    }

    // A policy that does the overlay no harm is seen and is no cause: packets between hosts are forwarded in the network's own
    // namespace. There the same policy does harm.
    lab.sh(2, "iptables -P FORWARD DROP");
    let document = lab
        .run_with(&file, &["verify", "--deep", "--output", "json"])
        .expect(0)
        .json();
    let seen = &document["states"][lab.host(2)];
    assert_eq!(seen["forward_policy"], "DROP", "{document:#}");
    assert_eq!(
        (&seen["forwarding"], &seen["store"]["ready"]),
        (&Value::from(true), &Value::from(true)),
        "{seen:#}"
    );
    assert_eq!(
        document["layers"].as_array().unwrap().len(),
        6,
        "{document:#}"
    );
    lab.sh(2, "iptables -P FORWARD ACCEPT");
    let policy = |target| {
        format!("nsenter --net=$(ls /var/run/docker/netns/1-*) iptables -P FORWARD {target}")
    };
    let words = "FORWARD policy in the network's own namespace is DROP";
    let expected = Expected {
        cause: "forward-drop",
        hosts: &[2],
        broken: &with(2),
        words,
        ..NOTHING
    };
    fault(&lab, 2, &policy("DROP"), &policy("ACCEPT"), &[], &expected);

    a_blocked_port_in_every_output(&lab);
    let one_way = format!("INPUT -s {} -p udp --dport 4789 -j DROP", address(1));
    let words = "is dropped by its own firewall (TCP and ICMP pass), in this direction only";
    let both = [(1, 2), (2, 1)];
    let expected = Expected {
        cause: "vxlan-blocked",
        links: &[(1, 2)],
        broken: &both,
        words,
        ..NOTHING
    };
    rule(&lab, 2, &one_way, &[], &expected);

    on_the_way(&lab);
    let lives = |cause, words| Expected {
        cause,
        hosts: &[3],
        words,
        ..NOTHING
    };
    let unit = "docker-cluster-consul";
    let expected = Expected {
        broken: &with(3),
        ..lives("store-agent-down", "its Consul agent does not run")
    };
    fault(
        &lab,
        3,
        &format!("systemctl stop {unit}"),
        &format!("systemctl start {unit}"),
        &[],
        &expected,
    );
    eventually_well(&lab);
}

/// Faults whose cure makes engines start again.
pub fn faults_of_names_and_gossip() {
    let lab = Lab::up("names", &["--hosts", "3", "--os", "debian-11"]);
    let file = lab.first_hosts(3);
    lab.run_with(&file, &["up", "--yes"]).expect(0);
    let links = [(1, 2), (3, 2)];
    let lives = |cause, words| Expected {
        cause,
        hosts: &[3],
        words,
        ..NOTHING
    };
    let (stop, start) = (
        "systemctl stop docker.socket docker",
        "systemctl start docker",
    );
    let expected = Expected {
        broken: &with(3),
        ..lives("engine-down", "its Docker engine does not answer")
    };
    fault(&lab, 3, stop, start, &[], &expected);
    names(&lab);

    for (protocol, cause) in [("udp", "gossip-udp-blocked"), ("tcp", "tcp-port-blocked")] {
        lab.sh(
            2,
            &format!("iptables -I INPUT -p {protocol} --dport 7946 -j DROP"),
        );
        let verdict = sooner_or_later(&lab, cause, &[], "");
        assert_eq!(directions(&verdict["links"], &lab), links, "{verdict:#}");
        lab.sh(
            2,
            &format!("iptables -D INPUT -p {protocol} --dport 7946 -j DROP"),
        );
    }
    all_engines_anew(&lab);
    who_is_who(&lab);
}

/// Opens the page in headless Chromium, where there is one: it is too large to install for this alone. That the page is well formed and
/// needs nothing else is tested everywhere, without it.
fn opens_in_a_browser(page: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("--user-data-dir={}", folder.path().display());
    // Without a sandbox, because a test may run as root, and the page is ours.
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        &data,
        "--dump-dom",
    ];
    let opened = Command::new("chromium")
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output();
    let Ok(opened) = opened else {
        return super::harness::skipped(
            "the page was not opened in a browser, because there is no chromium here",
        );
    };
    let tree = String::from_utf8_lossy(&opened.stdout);
    assert_eq!(tree.matches("<td class=\"broken\"").count(), 4, "{tree}");
    assert_eq!(tree.matches("<circle").count(), 3, "{tree}");
    assert!(
        tree.contains("UDP 4789 arrives at") && tree.trim_end().ends_with("</html>"),
        "{tree}"
    );
}

/// Number of the host that is the router.
const ROUTER: usize = 4;

/// What holds for some seconds after a fault is mended is not what is tested here.
fn eventually_well(lab: &Lab) {
    let file = lab.first_hosts(3);
    lab.eventually("all pairs reach each other", || {
        let ran = lab.run_with(&file, &["verify"]);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(ran.out + &ran.err)
        }
    });
}

/// Packets that neither host's firewall drops.
fn on_the_way(lab: &Lab) {
    let mut links = with(2);
    links.sort_unstable();
    let words = "UDP 4789 is dropped on the way (TCP and ICMP pass)";
    let expected = Expected {
        cause: "vxlan-blocked",
        links: &links,
        broken: &links,
        words,
        ..NOTHING
    };
    rule(
        lab,
        ROUTER,
        "FORWARD -p udp --dport 4789 -j DROP",
        &[],
        &expected,
    );
    // A black hole: long packets vanish, and no ICMP says so.
    let words = "packets of more than 1280 bytes vanish on the way, and the network makes";
    let expected = Expected {
        cause: "mtu",
        links: &links,
        broken: &links,
        words,
        ..NOTHING
    };
    rule(
        lab,
        ROUTER,
        "FORWARD -p udp -m length --length 1281:65535 -j DROP",
        &[],
        &expected,
    );
}

/// Names that do not resolve, and one that nobody has any more.
fn names(lab: &Lab) {
    // What the engine fails at where iptables and the kernel do not fit: it cannot lead a container's questions to its resolver.
    let breaks = r#"mv /usr/sbin/iptables /root/iptables && printf '#!/bin/sh\ncase "$*" in *DOCKER_OUTPUT*) exit 1 ;; esac\nexec /etc/alternatives/iptables "$@"\n' > /usr/sbin/iptables && chmod 755 /usr/sbin/iptables"#;
    let words = "do not resolve the names of the network";
    let expected = Expected {
        cause: "name",
        hosts: &[1],
        broken: &[(1, 2), (1, 3)],
        words,
        ..NOTHING
    };
    fault(
        lab,
        1,
        breaks,
        "mv /root/iptables /usr/sbin/iptables",
        &[],
        &expected,
    );

    // A container that is removed while the store is away stays in the store.
    let (network, file) = (lab.file(), lab.first_hosts(3));
    let text = std::fs::read_to_string(network).unwrap();
    let of = |key: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .unwrap()
            .trim()
            .to_owned()
    };
    let (network, image) = (of("cluster:"), of("image:"));
    let run =
        format!("docker run -d --name ghost --network {network} --entrypoint sleep {image} 1000");
    let unit = "docker-cluster-consul";
    lab.sh(
        3,
        &format!("{run} && systemctl stop {unit} && docker rm -f ghost; systemctl start {unit}"),
    );
    eventually_well(lab);
    let expected = Expected {
        cause: "stale-endpoint",
        words: "containers that no host has (ghost)",
        ..NOTHING
    };
    let document = assert_said(lab, &["--deep"], &expected);
    assert!(lab.ask(2, &run).unwrap_err().contains("already exists"));
    // The cure is what was said.
    let fix = document["verdicts"][0]["fix"].as_str().unwrap().to_owned();
    let words: Vec<&str> = fix.split_whitespace().skip(1).collect();
    lab.run_with(&file, &words).expect(0);
    lab.sh(
        2,
        &format!("docker rm -f ghost; {run} && docker rm -f ghost"),
    );
    let ran = lab.run_with(&file, &["verify", "--deep", "--output", "json"]);
    assert!(!ran.out.contains("stale-endpoint"), "{}", ran.out);
    // The engines were not told that the ghost left, and may look for its address where it was, until they start again.
    all_engines_anew(lab);
}

/// Lets all engines forget what they remember of each other, at the same time: one that has forgotten would learn it again from one that
/// has not. Left alone, they take minutes to find each other after a fault of their gossip.
fn all_engines_anew(lab: &Lab) {
    // Not the limit of so many starts in a minute, which a person does not meet.
    for verb in ["stop docker.socket", "reset-failed", "start"] {
        for host in 1..=3 {
            lab.sh(host, &format!("systemctl {verb} docker"));
        }
    }
    eventually_well(lab);
}

/// A host that takes the name of another, one that is off, and one that advertises the wrong interface.
fn who_is_who(lab: &Lab) {
    let called = |name: &str| {
        format!("hostname {name} && systemctl reset-failed docker; systemctl restart docker")
    };
    lab.sh(2, &called(&lab.host(1)));
    sooner_or_later(
        lab,
        "duplicate-hostname",
        &[1, 2],
        "have the same host name",
    );
    lab.sh(2, &called(&lab.host(2)));
    all_engines_anew(lab);

    // Not cut off in the midst of its gossip: that its last container went would reach the others or not.
    docker(&["stop", &lab.host(3)]);
    let expected = Expected {
        cause: "host-unreachable",
        hosts: &[3],
        broken: &with(3),
        words: "cannot be asked",
        ..NOTHING
    };
    assert_said(lab, &[], &expected);
    docker(&["start", &lab.host(3)]);
    eventually_well(lab);

    // Last: the others remember what it said, and have to be started again as well.
    lab.sh(2, r#"sed -i 's/"cluster-advertise": "[^"]*"/"cluster-advertise": "docker0:2376"/' /etc/docker/daemon.json && systemctl restart docker"#);
    let words = "of its interface docker0, and the others reach it at";
    sooner_or_later(lab, "wrong-advertise", &[2], words);
}

/// A fault of what the engines tell each other, named first. What is known goes on working until they give each other up, which takes them
/// some time: whether pairs fail already is left open, why they do or will is not. Until then a host that misses news may look for the
/// others' containers where they were before, also those of hosts that the fault is not about; nothing else is said.
fn sooner_or_later(lab: &Lab, cause: &str, hosts: &[usize], words: &str) -> Value {
    let arguments = ["verify", "--deep", "--output", "json"];
    let document = lab
        .run_with(&lab.first_hosts(3), &arguments)
        .expect(4)
        .json();
    let verdicts = document["verdicts"].as_array().unwrap();
    assert_eq!(verdicts[0]["cause"], cause, "{}", shown(&document));
    let hosts: Vec<String> = hosts.iter().map(|host| lab.host(*host)).collect();
    assert_eq!(
        verdicts[0]["hosts"],
        serde_json::to_value(&hosts).unwrap(),
        "{}",
        shown(&document)
    );
    assert!(
        verdicts[0]["what"].as_str().unwrap().contains(words),
        "{}",
        shown(&document)
    );
    assert!(
        verdicts[1..]
            .iter()
            .all(|verdict| verdict["cause"] == "neighbours"),
        "{}",
        shown(&document)
    );
    verdicts[0].clone()
}

/// UDP 4789, which is what stops most overlays: in the text, the files, and for one who watches.
fn a_blocked_port_in_every_output(lab: &Lab) {
    let (folder, file) = (tempfile::tempdir().unwrap(), lab.first_hosts(3));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut watching = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
        .args([
            "-f",
            file.to_str().unwrap(),
            "verify",
            "--watch",
            "5s",
            "--until-broken",
        ])
        // Somebody else's laptop: neither disturbs the other.
        .env("HOME", folder.path())
        .env_remove("XDG_STATE_HOME")
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    lab.assert_reachable(&file, 3);
    // What was well is said before anything is broken, however long the first look takes beside another.
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let well = lines.by_ref().map_while(Result::ok).any(|line| {
        said += &line;
        line.contains("All 6 pairs reach each other")
    });
    assert!(well, "{said}");
    lab.assert_reachable(&file, 3);
    lab.sh(2, "iptables -I INPUT -p udp --dport 4789 -j DROP");
    let files = [
        "--evidence",
        &path("seen"),
        "--junit",
        &path("junit.xml"),
        "--html",
        &path("page.html"),
    ];
    let links = [(1, 2), (3, 2)];
    let words = "UDP 4789 arrives at";
    let expected = Expected {
        cause: "vxlan-blocked",
        links: &links,
        broken: &with(2),
        words,
        ..NOTHING
    };
    let document = assert_said(lab, &files, &expected);
    let fix = document["verdicts"][0]["fix"].as_str().unwrap();
    assert!(
        fix.contains("-A INPUT -p udp -m udp --dport 4789 -j DROP"),
        "{fix}"
    );

    let read = |file: &str| std::fs::read_to_string(Path::new(&path(file))).unwrap();
    assert!(read("page.html").contains("UDP 4789 arrives at"));
    opens_in_a_browser(Path::new(&path("page.html")));
    assert_eq!(
        read("junit.xml").matches("type=\"vxlan-blocked\"").count(),
        4
    );
    assert_eq!(
        serde_json::from_str::<Value>(&read("seen/verify.json")).unwrap()["ok"],
        false
    );
    assert!(read(&format!("seen/{}/links.txt", lab.host(2))).contains("\nend\n"));
    assert!(read(&format!("seen/{}/host.txt", lab.host(2))).contains("rule -A INPUT -p udp"));

    said.extend(lines.map_while(Result::ok));
    assert_eq!(watching.wait().unwrap().code(), Some(4), "{said}");
    assert_eq!(
        said.matches("All 6 pairs reach each other").count(),
        1,
        "what stays is not said again: {said}"
    );
    assert_eq!(said.matches("UDP 4789 arrives at").count(), 1, "{said}");
    lab.sh(2, "iptables -D INPUT -p udp --dport 4789 -j DROP");
    let ran = lab
        .run_with(&file, &["verify", "--watch", "5s", "--until-ok"])
        .expect(0);
    assert!(
        ran.out.contains("All 6 pairs reach each other"),
        "{}",
        ran.out
    );
    lab.assert_green(&file, 3);
}

#[test]
#[ignore = "needs a Docker engine"]
fn the_price_of_the_network_is_measured() {
    let lab = Lab::up("price", &["--hosts", "2", "--os", "debian-13"]);
    lab.run(&["up", "--yes"]).expect(0);
    let pair = format!("{}:{}", lab.host(1), lab.host(2));
    let document = lab
        .run(&["bench", &pair, "--output", "json"])
        .expect(0)
        .json();
    let measured = document["bench"].as_array().unwrap();
    assert_eq!(
        (measured.len(), &measured[0]["from"]),
        (1, &Value::from(lab.host(1)))
    );
    for key in [
        "p50_us",
        "p99_us",
        "requests_per_second",
        "bits_per_second",
        "bits_per_second_of_eight",
        "cpu_seconds_per_gigabyte",
    ] {
        for network in ["fabric", "underlay", "ratio"] {
            assert!(
                measured[0][network][key].as_f64().unwrap() > 0.0,
                "{document:#}"
            );
        }
    }
    for host in 1..=2 {
        assert!(
            lab.ask(host, "pgrep -f '[s]erve underlay'").is_err(),
            "a server is left"
        );
    }
    let wrong = lab.run(&["bench", "nobody:here"]).expect(2);
    assert!(
        wrong
            .err
            .contains("`nobody:here` is not a direction between two hosts"),
        "{}",
        wrong.err
    );
}

/// It makes its hosts itself, takes each fabric down before the next, and leaves nothing.
#[test]
#[ignore = "needs a Docker engine"]
fn the_prices_of_fabrics_are_measured_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("prices.md");
    let bench = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
        .args(["bench", "--fabrics", "--only", "routed", "--output", "json"])
        .arg("--markdown")
        .arg(&page)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its hosts alone: somebody else on this machine may measure as well.
    let lab = format!("label=docker-cluster.lab=bench-debian-13-{}", bench.id());
    let output = bench.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["rows"].as_array().unwrap();
    let over: Vec<bool> = rows
        .iter()
        .map(|row| row["wireguard"].as_bool().unwrap())
        .collect();
    assert_eq!(over, [false, true], "{document:#}");
    for row in rows {
        assert_eq!(row["state"], "measured", "{document:#}");
        assert!(row["ratio"]["bits_per_second"].as_f64().unwrap() > 0.0);
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("| routed over WireGuard | debian-13 | "),
        "{page}"
    );
    let left = docker(&["ps", "-aq", "--filter", &lab]);
    assert_eq!(left, "", "a host of it is left");
}
