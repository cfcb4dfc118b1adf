//! Subnets announced by BGP, on Debian 13.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::harness::{Lab, docker};

/// How often a neighbour is asked for the route of a host that died, at most: BFD takes the third of a second for it, the hold time
/// without BFD nine.
const ASKED_FOR_DEAD: usize = 200;

/// Host of the lab that is in no inventory: the site's router.
const ROUTER: usize = 4;

/// Number of its autonomous system.
const ROUTER_AS: u32 = 65001;

#[test]
#[ignore = "needs a Docker engine"]
fn story() {
    let lab = Lab::up("bgp", &["--hosts", "4", "--os", "debian-13"]);
    let all = of_bgp(&lab, "all.yaml", "", 3);
    let two = of_bgp(&lab, "two.yaml", "", 2);
    let before: Vec<String> = (1..=3).map(|host| links_of(&lab, host)).collect();

    // Two hosts, then a third: sessions of those that are there go on.
    lab.run_with(&two, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&two);
    let since = lab.sh(1, "birdc show protocols | grep Established");
    lab.run_with(&all, &["up", "--yes"]).expect(0);
    // What `up` does ends none. BFD does, where a host of a busy machine does not come to answer for the third of a second; BIRD says so.
    let told = lab.sh(1, "birdc show protocols all");
    assert!(
        told.contains(since.trim()) || told.contains("BFD session down"),
        "the session was interrupted:\n{told}"
    );
    lab.assert_green(&all, 3);

    engines_and_hosts_start_again(&lab, &all);
    a_host_dies(&lab, &all);

    // From here on with a password, whoever passes routes on.
    let password = format!("{}\\'$(id)", "s3same".repeat(5));
    std::fs::write(all.with_file_name("bgp.password"), format!("{password}\n")).unwrap();
    let signed = of_bgp(&lab, "signed.yaml", "password_file: bgp.password", 3);
    sessions_get_a_password(&lab, &signed, &password);
    one_is_blocked_and_one_has_another_password(&lab, &signed, &password);
    a_number_is_wrong(&lab, &signed);
    a_reflector_dies(&lab);
    a_router_passes_routes_on(&lab, &password);

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

fn engines_and_hosts_start_again(lab: &Lab, all: &Path) {
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
fn a_host_dies(lab: &Lab, all: &Path) {
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

/// The inventory of the first hosts, with these settings of `network.bgp`.
fn of_bgp(lab: &Lab, name: &str, settings: &str, hosts: usize) -> PathBuf {
    let first = std::fs::read_to_string(lab.first_hosts(hosts)).unwrap();
    let network = format!("network: {{fabric: bgp, bgp: {{{settings}}}}}\nhosts:\n");
    lab.variant(name, |_| first.replacen("hosts:\n", &network, 1))
}

fn sessions_get_a_password(lab: &Lab, signed: &Path, password: &str) {
    let plan = lab.run_with(signed, &["plan"]).expect(0);
    assert!(
        plan.out
            .contains("sessions with another password begin anew"),
        "{}",
        plan.out
    );
    let document = lab
        .run_with(signed, &["plan", "--output", "json"])
        .expect(0);
    let up = lab.run_with(signed, &["-vv", "up", "--yes"]).expect(0);
    for ran in [&plan, &document, &up] {
        assert!(!format!("{}{}", ran.out, ran.err).contains("s3same"));
    }
    lab.assert_nothing_to_do(signed);
    for host in 1..=3 {
        let line = lab.sh(host, "grep password /etc/bird/bird.conf | sort -u");
        assert_eq!(line, format!("    password \"{password}\";\n"));
        assert_eq!(
            lab.sh(host, "stat -c '%a %U' /etc/bird/bird.conf; grep -rl s3same /etc /usr/local /var/log /run 2>/dev/null; \
                journalctl | grep -c s3same || true"),
            "640 bird\n/etc/bird/bird.conf\n0\n"
        );
    }
}

/// Waits until a host's session with another is up, or is not.
fn session(lab: &Lab, host: usize, other: usize, is_up: bool) {
    let name = lab.private(other).replace('.', "_");
    let no = if is_up { "" } else { "! " };
    let question = format!("{no}birdc show protocols | grep -q '^with_{name} .*Established'");
    lab.eventually("the session is as it should be", || {
        lab.ask(host, &question).map(drop)
    });
}

/// Host 2 drops what comes from the BIRD of host 1, and host 3 has another password than host 1.
fn one_is_blocked_and_one_has_another_password(lab: &Lab, signed: &Path, password: &str) {
    let one = lab.private(1);
    let rules = |word: &str| {
        let each =
            |side: &str| format!("iptables {word} INPUT -p tcp --{side} 179 -s {one} -j DROP");
        format!("{}; {}", each("dport"), each("sport"))
    };
    let with_one = format!("with_{}", one.replace('.', "_"));
    lab.sh(2, &format!("{}; birdc restart {with_one}", rules("-I")));
    let other = "sed -i '/neighbor ADDRESS as/,/^}/s/password \"s/password \"t/' /etc/bird/bird.conf; birdc configure";
    lab.sh(3, &other.replace("ADDRESS", &one));
    session(lab, 2, 1, false);
    session(lab, 3, 1, false);
    let document = lab
        .run_with(signed, &["verify", "--output", "json"])
        .expect(4)
        .json();
    let verdicts = document["verdicts"].as_array().unwrap();
    let said = |cause: &str| {
        let of_it = verdicts.iter().filter(|verdict| verdict["cause"] == cause);
        of_it.map(ToString::to_string).collect::<String>()
    };
    assert!(
        verdicts
            .iter()
            .all(|verdict| ["bgp-session", "bgp-password"]
                .contains(&verdict["cause"].as_str().unwrap())),
        "{document}"
    );
    let blocked = said("bgp-session");
    assert!(
        blocked.contains("does not answer on TCP port 179")
            && blocked.contains(&lab.host(2))
            && !blocked.contains(&lab.host(3)),
        "{document}"
    );
    let differ = said("bgp-password");
    assert!(
        differ.contains("the two have different ones")
            && differ.contains(&lab.host(3))
            && !differ.contains(&lab.host(2)),
        "{document}"
    );
    assert!(!document.to_string().contains("3same"));
    let dead = document["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair["ok"] == false)
        .count();
    assert_eq!(dead, 4, "hosts 2 and 3 still reach each other: {document}");
    lab.sh(2, &rules("-D"));
    session(lab, 2, 1, true);

    // One side has none.
    lab.sh(
        3,
        &format!(
            "sed -i '/neighbor {one} as/,/^}}/{{/password/d}}' /etc/bird/bird.conf; birdc configure"
        ),
    );
    for (host, words) in [
        (3, "this host has none, and the other side has one"),
        (1, "this host has one, and the other side has none"),
    ] {
        says(lab, host, words);
    }
    lab.run_with(signed, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(signed);
    assert!(lab.sh(3, "cat /etc/bird/bird.conf").contains(password));
}

/// Waits until the script on a host says this.
fn says(lab: &Lab, host: usize, words: &str) {
    lab.eventually("the host says why", || {
        let said = lab.ask(host, "/usr/local/lib/docker-cluster/fabric check || true")?;
        if said.contains(words) {
            Ok(())
        } else {
            Err(said)
        }
    });
}

/// Host 1 passes routes on, until it dies: the others do not reach each other either, and `verify` says for what.
fn a_reflector_dies(lab: &Lab) {
    let settings = format!("password_file: bgp.password, reflectors: [{}]", lab.host(1));
    let reflected = of_bgp(lab, "reflected.yaml", &settings, 3);
    // It ends with a verification in which all is well.
    lab.run_with(&reflected, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&reflected);
    let sessions = |host| lab.sh(host, "birdc show protocols | grep -c Established");
    assert_eq!([1, 2, 3].map(sessions), ["2\n", "1\n", "1\n"]);
    docker(&["kill", &lab.host(1)]);
    session(lab, 2, 1, false);
    let found = super::fabrics_faults::named(lab, &reflected, &[]);
    let [one, two, three] = [1, 2, 3].map(|host| lab.host(host));
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["bgp-session", "host-unreachable"],
        "{found:?}"
    );
    assert_eq!(found["host-unreachable"], serde_json::json!([one]));
    let mut both: Vec<&str> = found["bgp-session"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(serde_json::Value::as_str)
        .collect();
    both.sort_unstable();
    assert_eq!(both, [two, three]);
    let words = format!("the BGP session with {} is down", lab.private(1));
    says(lab, 2, &words);
    docker(&["start", &lab.host(1)]);
    lab.booted(1);
}

/// A host of the lab that is in no inventory has a BIRD of its own, as a router of the site would.
fn a_router_passes_routes_on(lab: &Lab, password: &str) {
    let router = lab.private(ROUTER);
    lab.sh(
        ROUTER,
        "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q install -y bird2",
    );
    let neighbours: String = (1..=3)
        .map(|host| {
            format!(
                "protocol bgp h{host} from hosts {{ neighbor {} as 64512; }}\n",
                lab.private(host)
            )
        })
        .collect();
    let told = format!(
        "log syslog all;\nrouter id {router};\nprotocol device {{}}\nprotocol bfd {{}}\n\
         template bgp hosts {{ local {router} as {ROUTER_AS}; bfd on; connect delay time 1; connect retry time 2; \
         error wait time 1, 4; password \"{password}\"; ipv4 {{ import all; export all; }}; }}\n{neighbours}"
    );
    let file = lab.file().with_file_name("router.conf");
    std::fs::write(&file, told).unwrap();
    docker(&[
        "cp",
        file.to_str().unwrap(),
        &format!("{}:/etc/bird/bird.conf", lab.host(ROUTER)),
    ]);
    lab.sh(
        ROUTER,
        "chown bird:bird /etc/bird/bird.conf; systemctl restart bird",
    );
    let settings =
        format!("password_file: bgp.password, routers: [{{address: {router}, as: {ROUTER_AS}}}]");
    let routed = of_bgp(lab, "routed.yaml", &settings, 3);
    lab.run_with(&routed, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&routed);
    assert_eq!(lab.sh(2, "birdc show protocols | grep -c BGP"), "1\n");
    let routes = "birdc show route | grep -c 'via '";
    assert_eq!(lab.sh(ROUTER, routes), "3\n");
    // What else is in its way is told of a router as of a host.
    lab.sh(
        ROUTER,
        "sed -i 's/as 65001/as 65009/' /etc/bird/bird.conf; birdc configure",
    );
    let session = format!("the BGP session with {router} is down");
    says(
        lab,
        1,
        &format!("{session}: they differ about the number of their autonomous system"),
    );
    lab.sh(ROUTER, "sed -i 's/as 65009/as 65001/; s/password \"s/password \"t/' /etc/bird/bird.conf; birdc configure");
    says(
        lab,
        1,
        &format!("{session} for its password: the two have different ones"),
    );
    lab.sh(ROUTER, "systemctl stop bird");
    says(
        lab,
        1,
        &format!("{session}: it does not answer on TCP port 179"),
    );
}

fn a_number_is_wrong(lab: &Lab, all: &Path) {
    let line = format!("{} as 64512", lab.private(1));
    lab.sh(
        2,
        &format!(
            "sed -i 's/{line}/{}/' /etc/bird/bird.conf; birdc configure",
            line.replace("64512", "65001")
        ),
    );
    let why = "they differ about the number";
    says(lab, 2, &format!("with {} is down: {why}", lab.private(1)));
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
