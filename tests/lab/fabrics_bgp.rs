//! Subnets announced by BGP, on Debian 13.

use std::io::Write;
use std::time::Instant;

use super::harness::{Lab, docker};

/// How often a neighbour is asked for the route of a host that died, at most: BFD takes the third of a second for it, the hold time
/// without BFD nine.
const ASKED_FOR_DEAD: usize = 200;

#[test]
#[ignore = "needs a Docker engine"]
fn story() {
    let lab = Lab::up("bgp", &["--hosts", "3", "--os", "debian-13"]);
    let of_bgp = |text: String| text.replacen("hosts:\n", "network: {fabric: bgp}\nhosts:\n", 1);
    let all = lab.variant("all.yaml", of_bgp);
    let mark = format!("  - name: {}\n", lab.host(3));
    let text = std::fs::read_to_string(&all).unwrap();
    let two = lab.variant("two.yaml", |_| text.split(&mark).next().unwrap().to_owned());
    let before: Vec<String> = (1..=3).map(|host| links_of(&lab, host)).collect();

    // Two hosts, then a third: sessions of those that are there go on.
    lab.run_with(&two, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&two);
    let since = lab.sh(1, "birdc show protocols | grep Established");
    lab.run_with(&all, &["up", "--yes"]).expect(0);
    assert!(
        lab.sh(1, "birdc show protocols").contains(since.trim()),
        "the session was not interrupted"
    );
    lab.assert_green(&all, 3);

    engines_and_hosts_start_again(&lab, &all);
    a_host_dies(&lab, &all);
    a_session_is_blocked(&lab, &all);
    a_number_is_wrong(&lab, &all);

    lab.run_with(&all, &["down", "--yes"]).expect(0);
    let after: Vec<String> = (1..=3).map(|host| links_of(&lab, host)).collect();
    assert_eq!(before, after);
    for host in 1..=3 {
        assert_eq!(
            lab.sh(host, "systemctl is-active bird || true"),
            "inactive\n"
        );
        assert_eq!(
            lab.sh(host, "systemctl is-enabled bird || true"),
            "disabled\n"
        );
        lab.sh(host, "cmp /etc/bird/bird.conf /usr/share/bird2/bird.conf");
    }
    lab.run_with(&all, &["down", "--purge", "--yes"]).expect(0);
    assert_eq!(
        lab.sh(1, "dpkg-query -W bird2 2>/dev/null; ls -d /etc/bird /var/lib/docker-cluster 2>/dev/null || true"),
        ""
    );
}

fn engines_and_hosts_start_again(lab: &Lab, all: &std::path::Path) {
    lab.sh(2, "systemctl reset-failed docker; systemctl restart docker");
    lab.assert_nothing_to_do(all);
    lab.assert_reachable(all, 3);
    let hosts = [1, 2, 3].map(|number| lab.host(number));
    docker(&["restart", "-t", "10", &hosts[0], &hosts[1], &hosts[2]]);
    (1..=3).for_each(|host| lab.booted(host));
    lab.eventually("all hosts reach each other after a reboot", || {
        let ran = lab.run_with(all, &["verify"]);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(ran.out + &ran.err)
        }
    });
    lab.assert_nothing_to_do(all);
}

/// A host that dies without a word: the others must not send to it any more, nor to anybody else.
fn a_host_dies(lab: &Lab, all: &std::path::Path) {
    let part = lab.sh(3, "sed -n 's/^own //p' /etc/docker-cluster/fabric/config");
    let question = format!("ip route show {} | grep -q via", part.trim());
    lab.sh(1, &question);
    // From before it dies: what the engine takes for it is in the time that is told.
    let died = Instant::now();
    docker(&["kill", &lab.host(3)]);
    let asked = (0..ASKED_FOR_DEAD).find(|_| lab.ask(1, &question).is_err());
    let took = died.elapsed();
    let asked = asked.expect("the route of a dead host is withdrawn");
    let words = format!(
        "bgp: the route of a dead host was gone {} ms after it was told to die, at look {asked}",
        took.as_millis()
    );
    let _ = writeln!(std::io::stderr(), "{words}");
    let way = lab.ask(
        1,
        &format!("ip route get {} 2>&1", part.trim().replace(".0/24", ".2")),
    );
    assert!(
        way.is_err(),
        "packets to it do not leave by the default route: {way:?}"
    );
    // Whoever is left out of a run is not forgotten by the others.
    let plan = lab.run_with(all, &["plan"]).expect(1).out;
    assert!(
        plan.contains("Nothing to do: every host that answers"),
        "{plan}"
    );
    docker(&["start", &lab.host(3)]);
    lab.booted(3);
    lab.eventually("the host that came back is reached", || {
        lab.ask(1, &question).map(drop)
    });
    lab.eventually("it is as it was", || {
        let ran = lab.run_with(all, &["verify"]);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(ran.out + &ran.err)
        }
    });
}

/// Fails the next session between hosts 1 and 2, runs `verify`, and returns what it says of it.
fn cause_of(lab: &Lab, all: &std::path::Path, cause: &str, words: &str) {
    lab.eventually("the session is down", || {
        lab.ask(
            2,
            "! birdc show protocols | grep -q \"^with_.*_11 .*Established\"",
        )
        .map(drop)
    });
    let document = lab
        .run_with(all, &["verify", "--output", "json"])
        .expect(4)
        .json();
    let verdicts = document["verdicts"].as_array().unwrap();
    assert!(!verdicts.is_empty());
    for verdict in verdicts {
        assert_eq!(verdict["cause"], cause, "{verdict}");
        assert!(verdict.to_string().contains(words), "{verdict}");
    }
    let dead = document["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair["ok"] == false)
        .count();
    assert_eq!(
        dead, 2,
        "only those two do not reach each other: {document}"
    );
}

fn a_session_is_blocked(lab: &Lab, all: &std::path::Path) {
    let rules = |word: &str| {
        let each = |side: &str| {
            format!(
                "iptables {word} INPUT -p tcp --{side} 179 -s {} -j DROP",
                address(lab, 1)
            )
        };
        format!("{}; {}", each("dport"), each("sport"))
    };
    lab.sh(
        2,
        &format!(
            "{}; birdc restart with_{}",
            rules("-I"),
            address(lab, 1).replace('.', "_")
        ),
    );
    cause_of(lab, all, "bgp-session", "does not answer on TCP port 179");
    lab.sh(2, &rules("-D"));
    lab.eventually("the session is up again", || {
        lab.ask(
            2,
            "birdc show protocols | grep -q \"^with_.*_11 .*Established\"",
        )
        .map(drop)
    });
}

fn a_number_is_wrong(lab: &Lab, all: &std::path::Path) {
    let line = format!("{} as 64512", address(lab, 1));
    lab.sh(
        2,
        &format!(
            "sed -i 's/{line}/{}/' /etc/bird/bird.conf; birdc configure",
            line.replace("64512", "65001")
        ),
    );
    lab.eventually("the host says why", || {
        let said = lab.ask(2, "/usr/local/lib/docker-cluster/fabric check || true")?;
        let wanted = format!(
            "with {} is down: they differ about the number",
            address(lab, 1)
        );
        if said.contains(&wanted) {
            Ok(())
        } else {
            Err(said)
        }
    });
    lab.sh(3, "systemctl stop bird");
    let found = super::fabrics_faults::named(lab, all, &[]);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["bgp-session", "bird-down"]
    );
    assert_eq!(found["bird-down"], serde_json::json!([lab.host(3)]));
    lab.sh(
        3,
        "ip route del $(ip -o route show proto 213 | head -n 1 | cut -d' ' -f1-2) proto 213",
    );
    let plan = lab.run_with(all, &["plan"]).expect(0).out;
    assert!(
        plan.contains("start BIRD") && plan.contains("mend its links"),
        "{plan}"
    );
    lab.run_with(all, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(all);
}

/// Addresses, routes and rules of a host, without what the engine makes anew at each start of its own.
fn links_of(lab: &Lab, host: usize) -> String {
    lab.sh(
        host,
        "ip -o -4 addr show | sed 's/^[0-9]*: //'; ip -4 route show | sed 's/ linkdown//'; ip -4 rule show; ls /sys/class/net; \
         iptables-save | grep -vE '^[#:]|127.0.0.11'",
    )
}

fn address(lab: &Lab, host: usize) -> String {
    lab.sh(
        host,
        "ip -o -4 addr show dev eth0 | sed 's/.* inet //; s,/.*,,'",
    )
    .trim()
    .to_owned()
}
