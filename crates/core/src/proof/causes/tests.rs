//! A test for each row of the table: what is seen, and which cause is named, about whom, and nothing before it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::known::{Needs, NotFinished, StoreView};
use super::*;

pub(crate) fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn good_link() -> Link {
    let passed = Way::Passed { lost: 0 };
    let tcp = [(22, Tcp::Open), (7946, Tcp::Open)].into();
    Link {
        tcp,
        icmp: true,
        vxlan: passed,
        gossip: passed,
        esp: None,
        path_mtu: (1500, 1500),
    }
}

fn good_host(name: &str, number: u8) -> HostView {
    let private = IpAddr::from([10, 0, 0, number]);
    HostView {
        private: Some(private),
        hostname: name.to_owned(),
        engine_up: Some(true),
        advertised: Some((private.to_string(), Some("eth0".to_owned()))),
        has_network: true,
        needs_network: true,
        store: Some(StoreView {
            runs: true,
            ready: true,
            ..StoreView::default()
        }),
        ..HostView::default()
    }
}

/// Three hosts of which nothing is wrong.
pub(crate) fn all_well() -> Known {
    let names = ["a", "b", "c"].map(host);
    let hosts = names
        .iter()
        .zip(1..)
        .map(|(name, number)| (name.clone(), good_host(name.as_str(), number)));
    let pairs = names
        .iter()
        .flat_map(|from| names.iter().map(move |to| (from.clone(), to.clone())));
    let ports = names.iter().map(|name| {
        (
            name.clone(),
            vec![(7946, "the gossip of the engines"), (22, SIGN_OF_LIFE)],
        )
    });
    Known {
        hosts: hosts.collect(),
        links: pairs
            .filter(|(from, to)| from != to)
            .map(|pair| (pair, good_link()))
            .collect(),
        needs: Needs {
            network: "net".into(),
            tunnel: Some(4789),
            gossip: Some(7946),
            encrypted: false,
            mtu: 1500,
            ports: ports.collect(),
        },
        rows: &[OVER_A_STORE, IN_A_SWARM, STANDING, OVERLAYS],
        ..Known::default()
    }
}

fn not_attached(known: &mut Known) {
    b(known).ill = Some(Ill::NoProbe(
        "attaching to network failed: context deadline exceeded".into(),
    ));
}

pub(crate) fn no_answer() -> Failure {
    Failure {
        layer: Layer::Http,
        by_address: false,
        words: "timed out".into(),
        to: host("b"),
    }
}

/// What is said of a -> b.
pub(crate) fn verdict(known: &Known, failure: Option<&Failure>) -> Option<(&'static str, Finding)> {
    let (from, to) = (host("a"), host("b"));
    explain(&Case {
        from: &from,
        to: &to,
        failure,
        known,
    })
    .map(|(cause, finding)| (cause.id, finding))
}

/// A row: what is done to a cluster of which all is well, how the pair a -> b then fails, and what must be said of whom.
struct Row {
    id: &'static str,
    broken: fn(&mut Known),
    failure: Failure,
    about: About,
    words: &'static [&'static str],
}

pub(crate) fn about(name: &str) -> About {
    About::Hosts(vec![host(name)])
}

fn a_to_b() -> About {
    About::Link(host("a"), host("b"))
}

pub(crate) fn b(known: &mut Known) -> &mut HostView {
    known.hosts.get_mut(&host("b")).unwrap()
}

fn there(known: &mut Known) -> &mut Link {
    known.links.get_mut(&(host("a"), host("b"))).unwrap()
}

fn nothing(_: &mut Known) {}

fn rows() -> Vec<Row> {
    let row = |id, broken: fn(&mut Known), about, words| Row {
        id,
        broken,
        failure: no_answer(),
        about,
        words,
    };
    let failing = |id, broken, layer, by_address, about, words| Row {
        failure: Failure {
            layer,
            by_address,
            ..no_answer()
        },
        ..row(id, broken, about, words)
    };
    vec![
        row(
            "host-unreachable",
            |known| {
                b(known).ill = Some(Ill::Unreached {
                    error: "no route".into(),
                    hint: String::new(),
                })
            },
            about("b"),
            &["cannot be asked: no route", "docker-cluster ssh b"],
        ),
        row(
            "host-unreachable",
            |known| {
                let (error, hint) = (
                    "permission denied".into(),
                    "check `user:` in the inventory".into(),
                );
                b(known).ill = Some(Ill::Unreached { error, hint });
            },
            about("b"),
            &["cannot be asked: permission denied", "check `user:`"],
        ),
        row(
            "not-finished",
            |known| {
                b(known).ill = Some(Ill::NotFinished(NotFinished {
                    command: "up".into(),
                    what: "`up` did not get to its end there, at “install docker.io”: E: no such package".into(),
                    said: vec!["E: no such package".into()],
                }));
            },
            about("b"),
            &[
                "install docker.io",
                "E: no such package",
                "run `docker-cluster up` again",
            ],
        ),
        row(
            "engine-down",
            |known| {
                *b(known) = HostView {
                    ill: Some(Ill::Stopped),
                    ..HostView::default()
                }
            },
            about("b"),
            &["does not answer: it is stopped", "systemctl start docker"],
        ),
        row(
            "engine-down",
            |known| {
                b(known).engine_up = Some(false);
                b(known).engine_state = "inactive".into();
            },
            about("b"),
            &["does not answer: it is stopped", "systemctl start docker"],
        ),
        row(
            "engine-down",
            |known| {
                b(known).engine_up = Some(false);
                b(known).socket_gone = true;
            },
            about("b"),
            &[
                "/var/run/docker.sock is gone",
                "systemctl start docker.socket docker.service",
            ],
        ),
        row(
            "engine-down",
            |known| {
                b(known).engine_up = Some(false);
                b(known).ill = Some(Ill::NoProbe("Cannot connect to the Docker daemon".into()));
                b(known)
                    .checks
                    .insert("engine".into(), vec!["level=error msg=last".into()]);
            },
            about("b"),
            &[
                "Docker engine does not answer",
                "systemctl status docker",
                "level=error msg=last",
            ],
        ),
        row(
            "duplicate-hostname",
            |known| b(known).hostname = "a".into(),
            About::Hosts(vec![host("a"), host("b")]),
            &["the same host name `a`", "hostnamectl"],
        ),
        row(
            "wrong-advertise",
            |known| b(known).advertised = Some(("172.17.0.1".into(), Some("docker0".into()))),
            about("b"),
            &[
                "advertises 172.17.0.1, of its interface docker0",
                "reach it at 10.0.0.2",
            ],
        ),
        row(
            "swarm",
            |known| {
                b(known).swarm_error =
                    Some("The swarm does not have a leader. It's possible".into())
            },
            about("b"),
            &["the swarm has no leader", "--recover-quorum"],
        ),
        row(
            "network-missing",
            |known| b(known).has_network = false,
            about("b"),
            &["the network net is not there", "up"],
        ),
        row(
            "no-probe",
            |known| b(known).ill = Some(Ill::NoProbe("no space left on device".into())),
            about("b"),
            &["no space left on device", "journalctl -u docker"],
        ),
        row(
            "no-probe",
            |known| b(known).ill = Some(Ill::NoProbe("pulling: context deadline exceeded".into())),
            about("b"),
            &["pulling", "journalctl -u docker"],
        ),
        row(
            "no-probe",
            |known| {
                b(known).through_sudo = true;
                not_attached(known);
            },
            about("b"),
            &["docker-cluster ssh b -- sudo systemctl restart docker"],
        ),
        row(
            "no-probe",
            not_attached,
            about("b"),
            &["attaching to network failed", "systemctl restart docker"],
        ),
        row(
            "no-probe",
            // A manager that is off: the engines of the others are well.
            |known| {
                not_attached(known);
                known.hosts.get_mut(&host("c")).unwrap().ill = Some(Ill::Unreached {
                    error: "it is off".into(),
                    hint: String::new(),
                });
            },
            about("b"),
            &["attaching to network failed", "journalctl -u docker"],
        ),
        row(
            "rp-filter",
            |known| {
                b(known).sources_refused = 9;
                b(known)
                    .checks
                    .insert("strict-source".into(), vec!["eth1".into()]);
                there(known).icmp = false;
                there(known).vxlan = Way::DroppedAtTarget;
                there(known).gossip = Way::DroppedAtTarget;
            },
            about("b"),
            &["rp_filter is 1 on eth1", "rp_filter=2"],
        ),
        row(
            "underlay-down",
            |known| {
                let tcp = [(22, Tcp::Silent), (7946, Tcp::Silent)].into();
                let (vxlan, gossip) = (Way::Lost, Way::Lost);
                *there(known) = Link {
                    tcp,
                    icmp: false,
                    vxlan,
                    gossip,
                    esp: None,
                    path_mtu: (0, 0),
                };
            },
            a_to_b(),
            &[
                "nothing passes between their private addresses (10.0.0.2)",
                "ping -c1 10.0.0.2",
            ],
        ),
        row(
            "esp-blocked",
            |known| there(known).esp = Some(Way::Lost),
            a_to_b(),
            &["IP protocol 50 (ESP) is dropped on the way"],
        ),
        row(
            "vxlan-blocked",
            |known| there(known).vxlan = Way::Lost,
            a_to_b(),
            &[
                "UDP 4789 is dropped on the way (TCP and ICMP pass), in this direction only",
                "security groups",
            ],
        ),
        row(
            "gossip-udp-blocked",
            |known| there(known).gossip = Way::DeniedAtSource,
            a_to_b(),
            &["UDP 7946", "not let out by a's own firewall"],
        ),
        row(
            "tcp-port-blocked",
            |known| {
                there(known).tcp.insert(7946, Tcp::Silent);
            },
            a_to_b(),
            &[
                "TCP 7946 (the gossip of the engines) of b does not answer, although TCP and ICMP pass",
            ],
        ),
        row(
            "mtu",
            |known| there(known).path_mtu = (1400, 1400),
            a_to_b(),
            &[
                "packets of more than 1400 bytes vanish on the way, in this direction only",
                "up to 1500",
                "mtu: 1400",
            ],
        ),
        row(
            "forward-drop",
            |known| {
                let said = [
                    ("space", "/run/x"),
                    ("space-forward-policy", "DROP"),
                    ("space-bridge-netfilter", "1"),
                ];
                b(known).checks = said
                    .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
                    .into();
            },
            about("b"),
            &[
                "FORWARD policy in the network's own namespace is DROP",
                "nsenter --net=/run/x iptables -P FORWARD ACCEPT",
            ],
        ),
        failing(
            "name-unknown",
            |known| known.resolving = [host("a")].into(),
            Layer::Name,
            true,
            about("a"),
            &[
                "does not know the name of the container on b, although it knows others",
                "verify` again",
            ],
        ),
        failing(
            "name-unknown",
            |known| {
                known.resolving = [host("a")].into();
                known.hosts.get_mut(&host("a")).unwrap().engine_version =
                    Some(semver::Version::new(29, 6, 2));
            },
            Layer::Name,
            true,
            about("a"),
            &[
                "moby/moby#53141",
                "docker service update --force",
                "ssh b -- systemctl restart docker",
            ],
        ),
        failing(
            "name",
            nothing,
            Layer::Name,
            true,
            about("a"),
            &["do not resolve the names", "journalctl -u docker"],
        ),
        row(
            "neighbours-full",
            |known| b(known).neighbours_refused = 20_000,
            about("b"),
            &[
                "table of neighbours is full",
                "gc_thresh3=32768",
                "20000 times",
            ],
        ),
        row(
            "packets-lost",
            |known| there(known).vxlan = Way::Passed { lost: 2 },
            a_to_b(),
            &[
                "packets are lost on the way",
                "UDP 4789: arrives, 2 of 3 lost",
            ],
        ),
        row(
            "clock",
            |known| b(known).clock_offset = -900,
            about("b"),
            &["clock is -900 s off", "set-ntp"],
        ),
        row(
            "checksum-offload",
            |known| {
                let facts = [
                    ("driver", "vmxnet3"),
                    ("device", "ens192"),
                    ("tunnel-checksum-offload", "on"),
                ];
                b(known).checks = facts
                    .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
                    .into();
            },
            about("b"),
            &["driver vmxnet3", "ethtool -K ens192"],
        ),
        row(
            "neighbours",
            nothing,
            about("a"),
            &["could not be looked at", "verify` again"],
        ),
        failing(
            "unexplained",
            nothing,
            Layer::Http,
            true,
            a_to_b(),
            &["the container on b does not answer", "--evidence"],
        ),
    ]
}

#[test]
fn every_row_of_the_table_has_its_signature() {
    let rows = rows();
    let mut tested: Vec<&str> = rows.iter().map(|row| row.id).collect();
    tested.dedup();
    let mut table: Vec<&str> = Vec::new();
    for cause in super::table(all_well().under, all_well().rows) {
        if !table.contains(&cause.id) {
            table.push(cause.id);
        }
    }
    assert_eq!(
        tested, table,
        "a row of the table without a test, or the other way round"
    );
    for row in rows {
        let mut known = all_well();
        (row.broken)(&mut known);
        let (id, finding) = verdict(&known, Some(&row.failure)).unwrap();
        assert_eq!((id, &finding.about), (row.id, &row.about), "{finding:?}");
        let said = format!(
            "{}\n{}\n{}",
            finding.what,
            finding.fix,
            finding.observed.join("\n")
        );
        for words in row.words {
            assert!(
                said.contains(words),
                "{}: `{words}` is not in:\n{said}",
                row.id
            );
        }
        assert!(!finding.fix.is_empty(), "{} says what to do", row.id);
        // A pair that works is judged by what may break it next, and by nothing else.
        let latent =
            super::table(known.under, known.rows).any(|cause| cause.id == row.id && cause.latent);
        assert_eq!(
            verdict(&known, None).map(|(id, _)| id),
            latent.then_some(row.id)
        );
    }
    assert!(
        verdict(&all_well(), None).is_none(),
        "of a cluster that is well nothing is said"
    );
}

/// The documents of hosts and directions have the keys that the schema describes, and no others.
#[test]
fn what_is_seen_is_written_as_the_schema_says() {
    let known = all_well();
    let schema: serde_json::Value = serde_json::from_str(super::super::Matrix::SCHEMA).unwrap();
    let keys = |value: &serde_json::Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let described = &schema["properties"]["states"]["additionalProperties"]["properties"];
    assert_eq!(keys(&known.hosts[&host("a")].to_json()), keys(described));
    let described = &schema["properties"]["layers"]["items"]["properties"];
    assert_eq!(
        keys(&good_link().to_json(&host("a"), &host("b"))),
        keys(described)
    );
}

/// All engines have heard of all probes.
fn all_heard() -> Known {
    let mut known = all_well();
    for (view, number) in known.hosts.values_mut().zip(1..) {
        view.probe_mac = mac(number);
        view.probe_address = Some(std::net::Ipv4Addr::new(10, 90, 0, number));
        let others = || (1..=3).filter(move |other| *other != number);
        let lines = |line: fn(u8) -> String| others().map(line).collect::<Vec<_>>();
        view.checks.insert("space".into(), vec!["/run/x".into()]);
        view.checks.insert(
            "behind".into(),
            lines(|other| format!("{} 10.0.0.{other} told", mac(other))),
        );
        view.checks.insert(
            "neighbour".into(),
            lines(|other| format!("10.90.0.{other} {}", mac(other))),
        );
    }
    known
}

fn mac(number: u8) -> String {
    format!("02:42:0a:5a:00:{number:02x}")
}

#[test]
fn a_host_that_could_not_be_asked_is_told_of_pairs_that_work_too() {
    let mut known = all_well();
    assert_eq!(verdict(&known, None), None);
    b(&mut known).ill = Some(Ill::Unreached {
        error: "the connection was lost".into(),
        hint: String::new(),
    });
    let (id, finding) = verdict(&known, None).unwrap();
    assert_eq!((id, &finding.about), ("host-unreachable", &about("b")));

    let mut known = all_well();
    assert_eq!(known.not_looked_at(), Vec::<String>::new());
    b(&mut known).agent_failed = Some("the agent ended early".into());
    assert_eq!(
        known.not_looked_at(),
        ["b: the ways between it and the others could not be looked at: the agent ended early"]
    );
}

#[test]
fn the_engine_that_is_wrong_about_the_other_is_named() {
    let mut known = all_heard();
    let (id, right) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!(
        id, "unexplained",
        "nobody's view is wrong, and nobody is to be restarted: {right:?}"
    );
    assert!(!right.fix.contains("restart"), "{right:?}");
    // b answers into the wrong direction, so a gets no answer.
    b(&mut known)
        .checks
        .insert("behind".into(), vec![format!("{} 172.17.0.1 told", mac(1))]);
    let wrong = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!((wrong.0, &wrong.1.about), ("neighbours", &about("b")));
    assert!(
        wrong
            .1
            .what
            .contains("containers of a to be behind 172.17.0.1, and they are behind 10.0.0.1"),
        "{wrong:?}"
    );
}

/// Seen on ten hosts: the request arrives, and the one who is asked cannot answer, because its engine never heard of the one who asks. What
/// its kernel learned from the request looks like knowledge and is none.
#[test]
fn the_engine_that_has_not_heard_is_named_in_both_directions() {
    let took = |of: &str, key: &str, known: &mut Known, about: u8| {
        let lines = known
            .hosts
            .get_mut(&host(of))
            .unwrap()
            .checks
            .get_mut(key)
            .unwrap();
        lines.retain(|line| !line.contains(&mac(about)));
    };
    type Lack = fn(&mut Known, &dyn Fn(&str, &str, &mut Known, u8));
    let lacks: [(&str, Lack, &str); 5] = [
        (
            "a",
            |known, took| {
                took("a", "behind", known, 2);
                took("a", "neighbour", known, 2);
            },
            "no entry",
        ),
        (
            "a",
            |known, took| took("a", "neighbour", known, 2),
            "no entry",
        ),
        ("a", |known, took| took("a", "behind", known, 2), "no entry"),
        (
            "b",
            |known, took| {
                took("b", "behind", known, 1);
                took("b", "neighbour", known, 1);
            },
            "no entry",
        ),
        (
            "b",
            |known, took| {
                took("b", "behind", known, 1);
                took("b", "neighbour", known, 1);
                b(known)
                    .checks
                    .get_mut("behind")
                    .unwrap()
                    .push(format!("{} 10.0.0.1 learned", mac(1)));
                b(known).unlisted = vec![host("a")];
            },
            "b: packets of it come, and cannot be answered\nb: it has not heard that a is on the network",
        ),
    ];
    for (who, lack, words) in lacks {
        let mut known = all_heard();
        lack(&mut known, &took);
        let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
        assert_eq!(
            (id, &finding.about),
            ("neighbours", &about(who)),
            "{finding:?}"
        );
        let other = if who == "a" { "b" } else { "a" };
        assert!(
            finding
                .what
                .contains(&format!("has not heard of the container on {other}")),
            "{finding:?}"
        );
        assert!(finding.observed.join("\n").contains(words), "{finding:?}");
        // It heals by itself: nothing is restarted before that had its time.
        assert!(
            !finding.fix.contains("restart") && finding.fix.contains("by themselves"),
            "{finding:?}"
        );
        known.waited = std::time::Duration::from_secs(75);
        let (_, finding) = verdict(&known, Some(&no_answer())).unwrap();
        assert!(
            finding.fix.contains("had 75 s for it. If it stays so: "),
            "{finding:?}"
        );
        assert!(
            finding
                .fix
                .contains(&format!("ssh {who} -- systemctl restart docker")),
            "{finding:?}"
        );
    }
}

#[test]
fn what_waits_for_a_step_that_failed_is_not_sent_elsewhere() {
    let mut known = all_well();
    let c = known.hosts.get_mut(&host("c")).unwrap();
    c.ill = Some(Ill::NotFinished(NotFinished {
        command: "up".into(),
        what: "x".into(),
        said: Vec::new(),
    }));
    b(&mut known).ill = Some(Ill::NoProbe("network net not found".into()));
    let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!((id, &finding.about), ("no-probe", &about("b")));
    assert!(
        finding
            .fix
            .starts_with("first mend c, and run `docker-cluster up` again"),
        "{finding:?}"
    );
    b(&mut known).ill = None;
    b(&mut known).has_network = false;
    let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!(id, "network-missing");
    assert!(finding.fix.starts_with("first mend c"), "{finding:?}");
}

#[test]
fn what_the_guard_throws_away_is_let_in_by_up() {
    let mut known = all_well();
    there(&mut known).vxlan = Way::DroppedAtTarget;
    let rule = "-A DOCKER-CLUSTER -m comment --comment docker-cluster -j DROP";
    b(&mut known)
        .checks
        .insert("rule".into(), vec![rule.to_owned()]);
    let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!(id, "vxlan-blocked");
    assert!(
        finding
            .fix
            .starts_with("`docker-cluster up` lets everybody in"),
        "{}",
        finding.fix
    );
    // A rule that names the port comes first.
    let other = "-A INPUT -p udp -m udp --dport 4789 -j DROP";
    let rules = b(&mut known).checks.get_mut("rule").unwrap();
    rules.push(other.to_owned());
    let (_, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert!(finding.fix.contains(other), "{}", finding.fix);
}

#[test]
fn the_host_with_the_rule_is_named() {
    let mut known = all_well();
    there(&mut known).vxlan = Way::DroppedAtTarget;
    let rules = [
        "-A INPUT -p tcp --dport 80 -j DROP",
        "-A INPUT -p udp -m udp --dport 4789 -j DROP",
    ];
    b(&mut known)
        .checks
        .insert("rule".into(), rules.map(str::to_owned).to_vec());
    let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!(id, "vxlan-blocked");
    assert!(
        finding
            .what
            .starts_with("UDP 4789 arrives at b and is dropped by its own firewall"),
        "{}",
        finding.what
    );
    assert!(
        finding
            .fix
            .starts_with("b has the rule `-A INPUT -p udp -m udp --dport 4789 -j DROP`"),
        "{}",
        finding.fix
    );
    assert!(
        finding
            .observed
            .contains(&format!("b, its rule: {}", rules[1])),
        "{:?}",
        finding.observed
    );
}

#[test]
fn a_direction_that_fails_both_ways_is_not_said_to_be_the_only_one() {
    let mut known = all_well();
    for link in known.links.values_mut() {
        link.vxlan = Way::Lost;
    }
    let (_, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!(
        finding.what,
        "UDP 4789 is dropped on the way (TCP and ICMP pass)"
    );
}

#[test]
fn a_port_on_which_nothing_listens_is_not_a_firewall() {
    let mut known = all_well();
    there(&mut known).tcp.insert(7946, Tcp::Refused);
    let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!(
        (id, finding.what.as_str()),
        (
            "tcp-port-blocked",
            "nothing listens on TCP 7946 (the gossip of the engines) of b"
        )
    );
    b(&mut known).checks.insert(
        "rule".into(),
        vec!["-A INPUT -p tcp --dport 7946 -j REJECT".into()],
    );
    let (_, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert!(
        finding.what.contains("does not answer") && finding.fix.contains("REJECT"),
        "{finding:?}"
    );
}

#[test]
fn a_firewall_that_denies_by_default_is_named_with_what_opens_it() {
    let ufw = "@begin\n|1\n@ufw-conf\n|ENABLED=yes\n@ufw-default\n|DEFAULT_INPUT_POLICY=\"DROP\"\n@ufw-rules\n|### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n@end\n|1\n";
    let firewall = crate::facts::parse(ufw.as_bytes(), 0, 0).unwrap().firewall;
    let mut known = all_well();
    there(&mut known).vxlan = Way::DroppedAtTarget;
    b(&mut known).firewall = firewall;
    b(&mut known).sources = vec!["10.0.0.0/24".parse().unwrap()];
    let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert_eq!((id, &finding.about), ("vxlan-blocked", &a_to_b()));
    assert!(
        finding
            .fix
            .contains("b: ufw throws away what no rule lets in"),
        "{finding:?}"
    );
    assert!(
        finding
            .fix
            .contains("`ufw allow from 10.0.0.0/24 to any port 4789,7946 proto udp`"),
        "{finding:?}"
    );
    assert!(
        finding
            .fix
            .contains("`ufw allow from 10.0.0.0/24 to any port 7946 proto tcp`"),
        "{finding:?}"
    );
    assert!(
        !finding.fix.contains("port 22"),
        "nobody needs SSH between hosts: {finding:?}"
    );
    // A rule that names the port is what acts.
    b(&mut known).checks.insert(
        "rule".into(),
        vec!["-A INPUT -p udp -m udp --dport 4789 -j DROP".into()],
    );
    assert!(
        verdict(&known, Some(&no_answer()))
            .unwrap()
            .1
            .fix
            .contains("has the rule")
    );
    b(&mut known).checks.clear();
    there(&mut known).vxlan = Way::Passed { lost: 0 };
    for state in [Tcp::Silent, Tcp::Refused] {
        there(&mut known).tcp.insert(7946, state);
        let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
        assert_eq!(id, "tcp-port-blocked");
        assert!(
            finding.what.contains("kept out by its own firewall")
                && finding.fix.contains("ufw allow"),
            "{finding:?}"
        );
    }
    // Something listens, and no firewall of its own is known to refuse it: then not the program is to blame.
    b(&mut known).firewall = None;
    b(&mut known).listens = [7946].into();
    let (_, finding) = verdict(&known, Some(&no_answer())).unwrap();
    assert!(
        finding.what.contains("although something listens there"),
        "{finding:?}"
    );
}

#[test]
fn endpoints_that_no_host_has_are_stale() {
    let mut known = all_well();
    let endpoints = |lines: &[&str]| {
        let all: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let yes = || vec!["yes".to_owned()];
        [
            ("endpoint", all),
            ("endpoints-known", yes()),
            ("containers-known", yes()),
        ]
        .map(|(key, lines)| (key.to_owned(), lines))
        .into()
    };
    b(&mut known).checks = endpoints(&[
        "4f0c id-live web",
        "ep-id-gone id-gone db",
        "ep-id-probe id-probe dc-probe-1-x",
    ]);
    known.hosts.get_mut(&host("a")).unwrap().checks =
        endpoints(&["ep-id-live id-live web", "ep-id-gone id-gone db"]);
    for view in known
        .hosts
        .values_mut()
        .filter(|view| view.check("endpoints-known").is_none())
    {
        view.checks = endpoints(&[]);
    }
    let stale = stale_endpoints(&known);
    assert_eq!(
        stale,
        BTreeMap::from([("id-gone".to_owned(), "db".to_owned())])
    );
    let finding = stale_finding(&known, &stale).unwrap();
    assert!(
        finding.what.contains("(db)")
            && finding.fix.ends_with("docker network disconnect -f net db"),
        "{finding:?}"
    );
    assert!(stale_finding(&known, &BTreeMap::new()).is_none());
    // Its own engine still lists it, and has no such container.
    let container = "7".repeat(CONTAINER_ID);
    b(&mut known)
        .checks
        .get_mut("endpoint")
        .unwrap()
        .push(format!("{container} id-gone db"));
    assert_eq!(stale_endpoints(&known), stale);
    // That one must let go of it: it would tell the others again.
    assert!(
        stale_finding(&known, &stale)
            .unwrap()
            .fix
            .contains("ssh b --")
    );
    b(&mut known)
        .checks
        .insert("container".into(), vec![container]);
    assert!(stale_endpoints(&known).is_empty());
    // What a host did not say it may have.
    b(&mut known).checks.remove("container");
    assert_eq!(stale_endpoints(&known), stale);
    for key in ["endpoints-known", "containers-known"] {
        let said = b(&mut known).checks.remove(key).unwrap();
        assert!(stale_endpoints(&known).is_empty(), "{key}");
        b(&mut known).checks.insert(key.into(), said);
    }
}
