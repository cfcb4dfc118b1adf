//! What is between hosts, and what containers of our own are called there.

use docker_cluster::inventory::HostName;
use docker_cluster::plan::{Action, EngineCall, Plan};

use super::fake::{Fake, debian, plan_for, shown};

/// A host with more sections of its probe.
fn with(mut host: Fake, sections: &[(&str, &str)]) -> Fake {
    for (name, text) in sections {
        let lines: String = text.lines().map(|line| format!("|{line}\n")).collect();
        host.sections += &format!("@{name}\n{lines}");
    }
    host
}

const UFW: [(&str, &str); 3] = [
    ("ufw-conf", "ENABLED=yes"),
    ("ufw-default", "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\""),
    (
        "ufw-rules",
        "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in",
    ),
];

/// The notes about firewalls, in order.
fn warnings(plan: &Plan) -> Vec<&str> {
    plan.notes
        .iter()
        .map(String::as_str)
        .filter(|note| note.contains("throws away what no rule lets in"))
        .collect()
}

#[test]
fn a_firewall_that_denies_by_default_is_told_before_anything_is_tried_through_it() {
    let hosts = [
        with(debian("13", "a", 11), &UFW),
        debian("13", "b", 12),
        with(debian("13", "c", 13), &UFW),
    ];
    let plan = plan_for(&hosts, "swarm: {managers: [a]}\n");
    assert_eq!(
        warnings(&plan),
        [
            "a: ufw throws away what no rule lets in (DEFAULT_INPUT_POLICY=DROP), and lacks rules for TCP 2377 and 7946, UDP 4789 and 7946 from the other hosts; there, as root: `ufw allow from 10.0.0.0/24 to any port 2377,7946 proto tcp` and `ufw allow from 10.0.0.0/24 to any port 4789,7946 proto udp`",
            // No manager: nobody asks it on 2377.
            "c: ufw throws away what no rule lets in (DEFAULT_INPUT_POLICY=DROP), and lacks rules for TCP 7946, UDP 4789 and 7946 from the other hosts; there, as root: `ufw allow from 10.0.0.0/24 to any port 7946 proto tcp` and `ufw allow from 10.0.0.0/24 to any port 4789,7946 proto udp`",
        ]
    );
    assert!(
        plan.problems.is_empty() && !plan.steps.is_empty(),
        "it is a warning: {}",
        shown(&plan)
    );
    // Another data path port, and encryption.
    let plan = plan_for(
        &hosts,
        "swarm: {managers: [b], data_path_port: 7789}\nnetwork: {encrypted: true}\n",
    );
    assert!(
        warnings(&plan)[0].contains("TCP 7946, UDP 7789 and 7946, IP protocol 50 (ESP) from"),
        "{:?}",
        warnings(&plan)
    );
    assert!(
        warnings(&plan)[0].contains("`ufw allow from 10.0.0.0/24 proto esp`"),
        "{:?}",
        warnings(&plan)
    );
}

#[test]
fn a_store_has_ports_of_its_own() {
    let hosts = [
        with(debian("11", "a", 11), &UFW),
        debian("11", "b", 12),
        debian("11", "c", 13),
        with(debian("11", "d", 14), &UFW),
    ];
    let plan = plan_for(&hosts, "");
    let found = warnings(&plan);
    assert!(
        found[0].contains("lacks rules for TCP 7946, 8300 and 8301, UDP 4789, 7946 and 8301 from"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("d: ")
            && found[1].contains("lacks rules for TCP 7946 and 8301, UDP 4789, 7946 and 8301 from"),
        "{found:?}"
    );
}

#[test]
fn a_firewall_that_lets_the_hosts_in_is_not_told() {
    let open = [(
        "ufw-rules",
        "### tuple ### allow any any 0.0.0.0/0 any 10.0.0.0/24 in",
    )];
    let off = [("ufw-conf", "ENABLED=no"), UFW[1], UFW[2]];
    let unknown = [("input-chain", "-P INPUT DROP\n-A INPUT -j KUBE-FIREWALL")];
    // Installed and not running.
    let stopped = [
        ("firewalld-zones", "zone public\n<zone></zone>"),
        (
            "nftables-conf",
            "chain input {\ntype filter hook input priority 0; policy drop;\n}",
        ),
    ];
    for sections in [
        &[UFW[0], UFW[1], open[0]][..],
        &off,
        &unknown,
        &stopped,
        &[("input-chain", "-P INPUT ACCEPT")],
        &[],
    ] {
        let plan = plan_for(
            &[with(debian("13", "a", 11), sections), debian("13", "b", 12)],
            "",
        );
        assert!(
            warnings(&plan).is_empty(),
            "{sections:?}: {:?}",
            warnings(&plan)
        );
    }
}

#[test]
fn each_tool_is_told_in_its_own_words() {
    let running =
        |unit: &str| -> String { format!("\nId={unit}\nLoadState=loaded\nActiveState=active") };
    let (firewalld, nftables) = (running("firewalld.service"), running("nftables.service"));
    let chain = "table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop;\ntcp dport 22 accept\n}\n}";
    let zone = "zone public\n<?xml version=\"1.0\"?>\n<zone>\n<service name=\"ssh\"/>\n</zone>";
    let cases: [(Vec<(&str, &str)>, &str); 3] = [
        (
            vec![("units", &firewalld), ("firewalld-zones", zone)],
            "`firewall-cmd --reload`",
        ),
        (
            vec![("units", &nftables), ("nftables-conf", chain)],
            "`ip saddr 10.0.0.0/24 udp dport { 4789, 7946 } accept`",
        ),
        (
            vec![(
                "input-chain",
                "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
            )],
            "`iptables -I INPUT -s 10.0.0.0/24 -p udp -m multiport --dports 4789,7946 -j ACCEPT`",
        ),
    ];
    for (sections, words) in cases {
        let plan = plan_for(
            &[
                with(debian("13", "a", 11), &sections),
                debian("13", "b", 12),
            ],
            "",
        );
        let found = warnings(&plan);
        assert!(
            found.len() == 1 && found[0].contains(words),
            "{words}: {found:?}"
        );
    }
}

/// Names of clouds are longer than a host name may be with what we put before it.
#[test]
fn keepers_have_names_that_fit() {
    let cloud: [&'static str; 3] = [
        "ip-10-11-12-13.eu-central-1.compute.internal.example.org",
        "ip-10-11-12-14.eu-central-1.compute.internal.example.org",
        "IP-10-11-12-14.eu-central-1.compute.internal.example.org",
    ];
    let hosts: Vec<Fake> = cloud
        .into_iter()
        .zip(11..)
        .map(|(name, end)| debian("13", name, end))
        .collect();
    for settings in ["", &format!("network: {{name: {}}}\n", "N_.".repeat(21))] {
        let plan = plan_for(&hosts, settings);
        let names: std::collections::BTreeSet<String> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Engine(EngineCall::RunKeeper { name, .. }) => Some(name.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(names.len(), hosts.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    }
    assert!(HostName::parse(cloud[0]).is_ok());
}

/// An engine that runs and cannot be asked because its socket is gone: a restart of it, which helps else, does not.
#[test]
fn a_socket_that_is_gone_is_told_from_an_engine_that_hangs() {
    let socket = (
        "units",
        "\nId=docker.socket\nLoadState=loaded\nActiveState=active",
    );
    let fix = |sections: &[(&str, &str)]| {
        let mut mute = with(debian("13", "a", 11), sections);
        mute.sections += "@docker-info\n";
        mute.up = false;
        mute.sections += "@units\n|\n|Id=docker.service\n|LoadState=loaded\n|ActiveState=active\n";
        let plan = plan_for(&[mute, debian("13", "b", 12)], "");
        plan.problems
            .iter()
            .map(|problem| problem.fix.clone())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(
        fix(&[socket]).contains("systemctl start docker.socket docker.service"),
        "{}",
        fix(&[socket])
    );
    for other in [&[socket, ("docker-sock", "there")][..], &[]] {
        assert!(
            fix(other).contains("a restart of the engine mends most"),
            "{}",
            fix(other)
        );
    }
}
