//! Fabrics whose links are docker-cluster's own, and the one that has none: each from hosts with engines to green, through everything that
//! happens to a cluster, and back to hosts that are what they were.

use std::path::{Path, PathBuf};

use super::harness::{Lab, docker};

/// What a host has of addresses, routes, rules, interfaces and files that fabrics touch. The engine's own chains are the same with the same
/// networks.
fn state(lab: &Lab, host: usize) -> String {
    lab.sh(
        host,
        "ip -o -4 address | sed 's/^[0-9]*: //; s/ *\\\\.*//' | sort; ip -o link | sed -n 's/^[0-9]*: \\([^:@]*\\).*mtu \\([0-9]*\\).*/\\1 \\2/p' | grep -v '^veth' | sort; ip route | sed 's/ linkdown//' | sort; \
         iptables-save | awk '/^[*]/ { table = $1 } /^-A/ && !/DOCKER_OUTPUT|DOCKER_POSTROUTING/ { print table, $0 }'; \
         find /etc/docker-cluster /usr/local/lib/docker-cluster /etc/systemd/system/docker-cluster* /var/lib/docker-cluster 2>/dev/null | sort; \
         docker network ls --format '{{.Name}} {{.Driver}}' | sort",
    )
}

/// A fabric with links.
struct Story {
    fabric: &'static str,
    os: &'static str,
    /// What can be wrong with it, made and named.
    faults: fn(&Lab, &Path),
}

/// The inventory of the lab's first hosts with this fabric.
fn inventory(lab: &Lab, fabric: &str, hosts: usize) -> PathBuf {
    let first = lab.first_hosts(hosts);
    let text = std::fs::read_to_string(&first).unwrap();
    let file = first.with_file_name(format!("{fabric}-{hosts}.yaml"));
    std::fs::write(&file, format!("network: {{fabric: {fabric}}}\n{text}")).unwrap();
    file
}

fn tell(story: &Story) -> Lab {
    let lab = Lab::up(story.fabric, &["--hosts", "3", "--os", story.os]);
    let (two, all) = (
        inventory(&lab, story.fabric, 2),
        inventory(&lab, story.fabric, 3),
    );
    let before: Vec<String> = (1..=3).map(|host| state(&lab, host)).collect();

    lab.run_with(&two, &["up", "--yes"]).expect(0);
    lab.assert_green(&two, 2);
    lab.assert_nothing_to_do(&two);

    let part = |host| {
        lab.sh(
            host,
            "sed -n 's/^own //p' /etc/docker-cluster/fabric/config",
        )
    };
    let chosen = [part(1), part(2)];
    lab.run_with(&all, &["up", "--yes"]).expect(0);
    lab.assert_green(&all, 3);
    assert_eq!(
        chosen,
        [part(1), part(2)],
        "who has a part keeps it when another comes"
    );

    engines_restart(&lab, &all);
    every_host_reboots(&lab, &all);
    (story.faults)(&lab, &all);
    a_host_does_not_answer(&lab, &all);

    another_fabric_is_refused(&lab, story);
    let ran = lab.run_with(&all, &["down", "--yes"]).expect(0);
    assert!(
        ran.out.contains("take its links to the other hosts away"),
        "{}",
        ran.out
    );
    for (host, before) in (1..=3).zip(&before) {
        assert_eq!(*before, state(&lab, host), "host {host} is what it was");
    }
    lab.run_with(&all, &["verify"]).expect(4);
    lab
}

fn engines_restart(lab: &Lab, file: &Path) {
    for host in 1..=3 {
        lab.sh(
            host,
            "systemctl reset-failed docker.service docker.socket; systemctl restart docker",
        );
    }
    lab.assert_green(file, 3);
    lab.assert_nothing_to_do(file);
}

fn every_host_reboots(lab: &Lab, file: &Path) {
    let names: Vec<String> = (1..=3).map(|host| lab.host(host)).collect();
    let mut arguments = vec!["restart", "-t", "5"];
    arguments.extend(names.iter().map(String::as_str));
    docker(&arguments);
    for host in 1..=3 {
        lab.booted(host);
    }
    lab.assert_green(file, 3);
    lab.assert_nothing_to_do(file);
}

/// One that is off keeps its part and its place in the others' links.
fn a_host_does_not_answer(lab: &Lab, file: &Path) {
    let config = lab.sh(1, "cat /etc/docker-cluster/fabric/config");
    docker(&["stop", "-t", "5", &lab.host(3)]);
    let ran = lab.run_with(file, &["plan"]);
    assert!(
        ran.out.contains("cannot be asked and is left out"),
        "{}",
        ran.out
    );
    assert!(
        !ran.out.contains("write down which links"),
        "the others' links stay: {}",
        ran.out
    );
    docker(&["start", &lab.host(3)]);
    lab.booted(3);
    assert_eq!(config, lab.sh(1, "cat /etc/docker-cluster/fabric/config"));
    lab.assert_green(file, 3);
}

fn another_fabric_is_refused(lab: &Lab, story: &Story) {
    let other = if story.fabric == "routed" {
        "vxlan"
    } else {
        "routed"
    };
    let ran = lab.run_with(&inventory(lab, other, 3), &["plan"]).expect(1);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(
        said.contains(&format!(
            "those of the fabric {}, beside which there cannot be {other}",
            story.fabric
        )),
        "{said}"
    );
    assert!(said.contains("docker-cluster down"), "{said}");
}

#[test]
#[ignore = "needs a Docker engine"]
fn routed() {
    let lab = tell(&Story {
        fabric: "routed",
        os: "debian-14",
        faults: super::fabrics_faults::of_routes,
    });
    super::fabrics_docker0::tell(&lab);
}

#[test]
#[ignore = "needs a Docker engine"]
fn vxlan() {
    tell(&Story {
        fabric: "vxlan",
        os: "debian-11",
        faults: super::fabrics_faults::of_a_tunnel,
    });
}

/// No network of its own: every pair is asked at a port on the private address of the other's host.
#[test]
#[ignore = "needs a Docker engine"]
fn nat() {
    let lab = Lab::up("nat", &["--hosts", "2", "--os", "debian-13"]);
    let file = inventory(&lab, "nat", 2);
    let before: Vec<String> = (1..=2).map(|host| state(&lab, host)).collect();
    let ran = lab.run_with(&file, &["up", "--yes"]).expect(0);
    assert!(
        ran.out.contains("reach each other by address and port"),
        "{}",
        ran.out
    );
    lab.assert_nothing_to_do(&file);
    // Questions to containers of the second host, wherever they are published; answers to its own pass.
    lab.sh(
        2,
        "iptables -I DOCKER-USER -i eth0 -p tcp --dport 80 -j DROP",
    );
    let document = lab
        .run_with(&file, &["verify", "--output", "json"])
        .expect(4)
        .json();
    assert_eq!(
        document["verdicts"][0]["cause"], "published-port-blocked",
        "{document:#}"
    );
    assert_eq!(
        document["verdicts"].as_array().unwrap().len(),
        1,
        "{document:#}"
    );
    lab.sh(
        2,
        "iptables -D DOCKER-USER -i eth0 -p tcp --dport 80 -j DROP",
    );
    lab.run_with(&file, &["verify"]).expect(0);
    lab.run_with(&file, &["down", "--yes"]).expect(0);
    for (host, before) in (1..=2).zip(&before) {
        assert_eq!(*before, state(&lab, host), "host {host} is what it was");
    }
    super::fabrics_docker0::tell(&lab);
}
