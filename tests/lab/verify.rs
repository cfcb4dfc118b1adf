//! `verify` says why: each fault is caused for real, one at a time, and the cause, the pairs and the exit code are what it must be,
//! and nothing else is said.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::harness::Lab;

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

const NOTHING: Expected<'_> = Expected { cause: "", hosts: &[], links: &[], broken: &[], words: "" };

/// All pairs of three hosts with this one.
fn with(host: usize) -> Vec<(usize, usize)> {
    (1..=3).filter(|other| *other != host).flat_map(|other| [(host, other), (other, host)]).collect()
}

fn directions(document: &Value, lab: &Lab) -> Vec<(usize, usize)> {
    let number = |value: &Value| (1..=3).find(|number| *value == lab.host(*number).as_str()).unwrap();
    let mut all: Vec<_> =
        document.as_array().unwrap().iter().map(|pair| (number(&pair["from"]), number(&pair["to"]))).collect();
    all.sort_unstable();
    all
}

fn assert_said(lab: &Lab, arguments: &[&str], expected: &Expected<'_>) -> Value {
    let mut all = vec!["verify", "--output", "json"];
    all.extend(arguments);
    let document = lab.run(&all).expect(4).json();
    let verdicts = document["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    let verdict = &verdicts[0];
    assert_eq!(verdict["cause"], expected.cause, "{verdict:#}");
    let hosts: Vec<String> = expected.hosts.iter().map(|host| lab.host(*host)).collect();
    assert_eq!(verdict["hosts"], serde_json::to_value(hosts).unwrap(), "{verdict:#}");
    assert_eq!(directions(&verdict["links"], lab), expected.links, "{verdict:#}");
    let mut wanted = expected.broken.to_vec();
    wanted.sort_unstable();
    let broken: Value =
        document["pairs"].as_array().unwrap().iter().filter(|pair| pair["ok"] == false).cloned().collect();
    assert_eq!(directions(&broken, lab), wanted, "{document:#}");
    assert!(verdict["what"].as_str().unwrap().contains(expected.words), "{verdict:#}");
    assert!(!verdict["fix"].as_str().unwrap().is_empty(), "{verdict:#}");
    document
}

/// Breaks something with a shell line on a host, looks, and mends it with another.
fn fault(lab: &Lab, host: usize, breaks: &str, mends: &str, arguments: &[&str], expected: &Expected<'_>) {
    lab.sh(host, breaks);
    assert_said(lab, arguments, expected);
    lab.sh(host, mends);
}

/// A rule in front of all others, and its end.
fn rule(lab: &Lab, host: usize, rule: &str, arguments: &[&str], expected: &Expected<'_>) {
    fault(lab, host, &format!("iptables -I {rule}"), &format!("iptables -D {rule}"), arguments, expected);
}

#[test]
#[ignore = "needs a Docker engine"]
fn every_fault_is_named() {
    let lab = Lab::up("why", &["--hosts", "3", "--os", "debian-11"]);
    lab.run(&["up", "--yes"]).expect(0);
    let address =
        |host: usize| lab.sh(host, "ip -4 -o address show eth0 | sed 's/.*inet //; s,/.*,,'").trim().to_owned();

    // Rules that do no harm are no cause.
    lab.sh(2, "iptables -P FORWARD DROP");
    lab.assert_green(&lab.file(), 3);
    lab.sh(2, "iptables -P FORWARD ACCEPT");

    a_blocked_port_in_every_output(&lab);
    let one_way = format!("INPUT -s {} -p udp --dport 4789 -j DROP", address(1));
    let words = "is dropped by its own firewall (TCP and ICMP pass), in this direction only";
    let both = [(1, 2), (2, 1)];
    let expected = Expected { cause: "vxlan-blocked", links: &[(1, 2)], broken: &both, words, ..NOTHING };
    rule(&lab, 2, &one_way, &[], &expected);

    let links = [(1, 2), (3, 2)];
    // Long packets are dropped, and nobody is told.
    let expected = Expected { cause: "mtu", links: &links, broken: &with(2), words: "are dropped by", ..NOTHING };
    rule(&lab, 2, "INPUT -p udp --dport 4789 -m length --length 1300:65535 -j DROP", &[], &expected);

    let lives = |cause, words| Expected { cause, hosts: &[3], words, ..NOTHING };
    let (stop, start) = ("systemctl stop docker.socket docker", "systemctl start docker");
    let expected = Expected { broken: &with(3), ..lives("engine-down", "its Docker engine does not answer") };
    fault(&lab, 3, stop, start, &[], &expected);
    let unit = "docker-cluster-consul";
    let expected = Expected { broken: &with(3), ..lives("store-agent-down", "its Consul agent does not run") };
    fault(&lab, 3, &format!("systemctl stop {unit}"), &format!("systemctl start {unit}"), &[], &expected);

    // Without gossip what is known goes on working until the engines give each other up, which takes them some time: whether pairs
    // fail already is left open, why they do or will is not. Last, because engines also take their time to find each other again.
    for (protocol, cause) in [("udp", "gossip-udp-blocked"), ("tcp", "tcp-port-blocked")] {
        lab.sh(2, &format!("iptables -I INPUT -p {protocol} --dport 7946 -j DROP"));
        let document = lab.run(&["verify", "--deep", "--output", "json"]).expect(4).json();
        let verdict = &document["verdicts"][0];
        assert_eq!(verdict["cause"], cause, "{document:#}");
        assert_eq!(directions(&verdict["links"], &lab), links, "{document:#}");
        for pair in [(1, 3), (3, 1)].map(|(from, to)| (lab.host(from), lab.host(to))) {
            let found = document["pairs"]
                .as_array()
                .unwrap()
                .iter()
                .find(|p| p["from"] == pair.0.as_str() && p["to"] == pair.1.as_str());
            assert_eq!(found.unwrap()["ok"], true, "{document:#}");
        }
        lab.sh(2, &format!("iptables -D INPUT -p {protocol} --dport 7946 -j DROP"));
    }
}

/// UDP 4789, which is what stops most overlays: in the text, the files, and for one who watches.
fn a_blocked_port_in_every_output(lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let watching = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
        .args(["-f", lab.file().to_str().unwrap(), "verify", "--watch", "5s", "--until-broken"])
        // Somebody else's laptop: neither disturbs the other.
        .env("HOME", folder.path())
        .env_remove("XDG_STATE_HOME")
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    for _ in 0..2 {
        lab.assert_reachable(&lab.file(), 3);
    }
    lab.sh(2, "iptables -I INPUT -p udp --dport 4789 -j DROP");
    let files = ["--evidence", &path("seen"), "--junit", &path("junit.xml"), "--html", &path("page.html")];
    let links = [(1, 2), (3, 2)];
    let words = "UDP 4789 arrives at";
    let expected = Expected { cause: "vxlan-blocked", links: &links, broken: &with(2), words, ..NOTHING };
    let document = assert_said(lab, &files, &expected);
    let fix = document["verdicts"][0]["fix"].as_str().unwrap();
    assert!(fix.contains("-A INPUT -p udp -m udp --dport 4789 -j DROP"), "{fix}");

    let read = |file: &str| std::fs::read_to_string(Path::new(&path(file))).unwrap();
    assert!(read("page.html").contains("UDP 4789 arrives at"));
    assert_eq!(read("junit.xml").matches("<failure type=\"vxlan-blocked\"").count(), 4);
    assert_eq!(serde_json::from_str::<Value>(&read("seen/verify.json")).unwrap()["ok"], false);
    assert!(read(&format!("seen/{}/links.txt", lab.host(2))).contains("\nend\n"));
    assert!(read(&format!("seen/{}/host.txt", lab.host(2))).contains("rule -A INPUT -p udp"));

    let watched = watching.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&watched.stdout);
    assert_eq!(watched.status.code(), Some(4), "{said}");
    assert_eq!(said.matches("All 6 pairs reach each other").count(), 1, "what stays is not said again: {said}");
    assert_eq!(said.matches("UDP 4789 arrives at").count(), 1, "{said}");
    lab.sh(2, "iptables -D INPUT -p udp --dport 4789 -j DROP");
    let ran = lab.run(&["verify", "--watch", "5s", "--until-ok"]).expect(0);
    assert!(ran.out.contains("All 6 pairs reach each other"), "{}", ran.out);
    lab.assert_green(&lab.file(), 3);
}

#[test]
#[ignore = "needs a Docker engine"]
fn the_price_of_the_network_is_measured() {
    let lab = Lab::up("price", &["--hosts", "2", "--os", "debian-13"]);
    lab.run(&["up", "--yes"]).expect(0);
    let pair = format!("{}:{}", lab.host(1), lab.host(2));
    let document = lab.run(&["bench", &pair, "--output", "json"]).expect(0).json();
    let measured = document["bench"].as_array().unwrap();
    assert_eq!((measured.len(), &measured[0]["from"]), (1, &Value::from(lab.host(1))));
    for key in ["p50_us", "p99_us", "requests_per_second", "bits_per_second"] {
        for network in ["fabric", "underlay", "ratio"] {
            assert!(measured[0][network][key].as_f64().unwrap() > 0.0, "{document:#}");
        }
    }
    for host in 1..=2 {
        assert!(lab.ask(host, "pgrep -f '[s]erve underlay'").is_err(), "a server is left");
    }
    let wrong = lab.run(&["bench", "nobody:here"]).expect(2);
    assert!(wrong.err.contains("`nobody:here` is not a direction between two hosts"), "{}", wrong.err);
}
