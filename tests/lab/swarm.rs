//! Swarm mode, on Debian 13 and 12.

use std::io::Write as _;

use super::compose;
use super::harness::{Lab, docker};

#[test]
#[ignore = "needs a Docker engine"]
fn new_engines_become_a_swarm() {
    let lab = Lab::up("swarm", &["--hosts", "4", "--os", "debian-13"]);
    let (all, three) = (lab.file(), lab.first_hosts(3));

    let ran = lab.run_with(&three, &["up", "--yes"]).expect(0);
    assert!(
        ran.out
            .contains("have the engine 26.1.5, and engines from 23 on have no overlay"),
        "{}",
        ran.out
    );
    lab.assert_green(&three, 3);
    lab.assert_nothing_to_do(&three);
    assert_eq!(
        lab.sh(1, "ls /etc/docker-cluster 2>/dev/null || true")
            .trim(),
        "fabric",
        "no store is installed"
    );
    let deep = lab
        .run_with(&three, &["verify", "--deep", "--output", "json"])
        .expect(0);
    let kept_out: Vec<String> = (1..=3).map(|host| lab.host(host)).collect();
    assert_eq!(
        deep.json()["forgery"]["kept_out"],
        serde_json::json!(kept_out)
    );
    tokens_stay_secret(&lab);
    only_those_who_take_part_reach_the_managers(&lab, &three);
    labels_arrive_intact(&lab, &three);
    a_host_joins(&lab, &all);
    a_service_reaches_a_plain_container(&lab);
    // The fourth is a worker whose login needs sudo.
    compose::projects_meet(&lab, 4, 1);
    a_manager_stops_and_starts(&lab, &all);

    a_host_is_removed_and_comes_back(&lab, &all);
    a_manager_is_gone_for_good(&lab, &all);
    the_quorum_is_gone_for_good(&lab);

    let ran = lab.run_with(&all, &["env", "--swarm"]).expect(0);
    assert!(
        ran.out.contains("export DOCKER_HOST=ssh://root@127.0.0.1:"),
        "{}",
        ran.out
    );
}

/// Join tokens are in no log of the run and no journal of a host.
fn tokens_stay_secret(lab: &Lab) {
    let tokens = lab.sh(
        1,
        "docker swarm join-token -q worker; docker swarm join-token -q manager",
    );
    let logs = std::path::Path::new(&std::env::var("HOME").unwrap())
        .join(".local/state/docker-cluster/log");
    for token in tokens.lines() {
        assert!(token.starts_with("SWMTKN-"));
        for log in std::fs::read_dir(&logs).unwrap() {
            let text = std::fs::read_to_string(log.unwrap().path()).unwrap_or_default();
            assert!(!text.contains(token));
        }
        for host in 1..=3 {
            assert_eq!(
                lab.sh(
                    host,
                    &format!("journalctl -b --no-pager -q | grep -c -- {token} || true")
                )
                .trim(),
                "0"
            );
        }
    }
}

/// The managers' port is closed to everybody else, until the inventory lets somebody in.
fn only_those_who_take_part_reach_the_managers(lab: &Lab, three: &std::path::Path) {
    let manager = lab.private(1);
    let connect = format!("timeout 2 bash -c '</dev/tcp/{manager}/2377' && echo open || echo $?");
    let asked = || [2, 4].map(|host| lab.sh(host, &connect).trim().to_owned());
    // 124 is the code of a time that is over.
    assert_eq!(asked(), ["open", "124"]);
    let allowing = lab.variant("allowing.yaml", |_| {
        let text = std::fs::read_to_string(three).unwrap();
        let network = format!("network: {{guard_allow: [{}]}}\nhosts:\n", lab.private(4));
        text.replacen("hosts:\n", &network, 1)
    });
    lab.run_with(&allowing, &["up", "--yes"]).expect(0);
    assert_eq!(asked(), ["open", "open"]);
    lab.assert_nothing_to_do(&allowing);
    lab.run_with(three, &["up", "--yes"]).expect(0);
    assert_eq!(asked(), ["open", "124"]);
}

/// Values that would break out of a shell, YAML, JSON or a template arrive as they are.
fn labels_arrive_intact(lab: &Lab, file: &std::path::Path) {
    let value = r#"$(touch /tmp/out) `id` 'q' "d" \ {{x}} ; rm -rf / # é"#;
    let labelled = lab.variant("labels.yaml", |_| {
        let text = std::fs::read_to_string(file).unwrap();
        let mark = format!("  - name: {}\n", lab.host(2));
        text.replace(
            &mark,
            &format!(
                "{mark}    labels: {{note: {}}}\n",
                serde_json::Value::from(value)
            ),
        )
    });
    lab.run_with(&labelled, &["up", "--yes"]).expect(0);
    let found = lab.sh(
        1,
        &format!(
            "docker node inspect --format '{{{{json .Spec.Labels}}}}' {}",
            lab.host(2)
        ),
    );
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["note"], value);
    lab.assert_nothing_to_do(&labelled);
    for host in 1..=3 {
        lab.sh(host, "test ! -e /tmp/out");
    }
}

fn a_host_joins(lab: &Lab, all: &std::path::Path) {
    lab.run_with(all, &["up", "--yes"]).expect(0);
    let nodes = lab.sh(
        1,
        "docker node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'",
    );
    assert_eq!(
        nodes.lines().filter(|line| line.contains("Ready")).count(),
        4,
        "{nodes}"
    );
    managers_are(lab, 3);
    lab.assert_clean(4);
    lab.assert_nothing_to_do(all);
}

/// A service with replicas, asked by a plain container by name. The kernel here may lack IPVS, which virtual addresses need: the
/// service answers by DNS round robin, as it can anywhere.
fn a_service_reaches_a_plain_container(lab: &Lab) {
    let image = lab.sh(
        1,
        "docker images --format '{{.Repository}}:{{.Tag}}' | grep smoke | head -1",
    );
    let (image, network) = (
        image.trim(),
        lab.sh(
            1,
            "docker network ls --filter driver=overlay --format '{{.Name}}' | grep -v ingress",
        ),
    );
    let network = network.trim();
    lab.sh(
        1,
        &format!("docker service create -q --detach --no-resolve-image --stop-grace-period 1s --name pool --replicas 4 --endpoint-mode dnsrr --network {network} {image} sleep 100000"),
    );
    lab.sh(
        4,
        &format!("docker run -d --name plain --network {network} {image} sleep 100000"),
    );
    lab.eventually(
        "all replicas are found by name from a plain container",
        || {
            let found = lab.ask(
                4,
                "docker exec plain sh -c 'getent ahostsv4 pool | cut -d\" \" -f1' | sort -u",
            )?;
            if found.lines().count() == 4 {
                Ok(())
            } else {
                Err(found)
            }
        },
    );
    lab.sh(1, "docker service rm pool");
    lab.sh(4, "docker rm -f plain");
}

fn a_manager_stops_and_starts(lab: &Lab, all: &std::path::Path) {
    docker(&["stop", &lab.host(1)]);
    let document = lab
        .run_with(all, &["verify", "--output", "json"])
        .expect(4)
        .json();
    for pair in document["pairs"].as_array().unwrap() {
        let with_it = [&pair["from"], &pair["to"]]
            .iter()
            .any(|name| **name == lab.host(1).as_str());
        assert_eq!(pair["ok"], !with_it, "{pair}");
    }
    docker(&["start", &lab.host(1)]);
    lab.booted(1);
    let mut cured = false;
    lab.eventually("the manager is back and every pair reaches", || {
        let ran = lab.run_with(all, &["verify"]);
        // Once in some dozens of times the engine comes back with its part in the swarm hanging. Then what was said is the cure, once.
        let cures = ran.out.lines().filter_map(|line| {
            line.trim()
                .strip_prefix("→ docker-cluster ")?
                .split(" (")
                .next()
        });
        let cure = cures
            .into_iter()
            .find(|cure| cure.ends_with("systemctl restart docker"));
        match cure.filter(|_| !cured && ran.out.contains("attaching to network failed")) {
            Some(cure) => {
                let _ = writeln!(std::io::stderr(), "{}\ncured by: {cure}", ran.out);
                cured = true;
                lab.run_with(all, &cure.split(' ').collect::<Vec<_>>())
                    .expect(0);
            }
            None if ran.code == 0 => return Ok(()),
            None => {}
        }
        Err(ran.out)
    });
    lab.assert_nothing_to_do(all);
}

/// The managers that the first host sees; an error while the swarm elects its leader.
fn managers(lab: &Lab) -> Result<Vec<String>, String> {
    let nodes = lab.ask(
        1,
        "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'",
    )?;
    let is_manager = |line: &&str| line.ends_with("Leader") || line.ends_with("Reachable");
    Ok(nodes
        .lines()
        .filter(is_manager)
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect())
}

/// Waits until there are so many, and returns them: a swarm that has got or lost one takes a moment to be sure of the rest.
fn managers_are(lab: &Lab, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    lab.eventually("the swarm has its managers", || {
        found = managers(lab)?;
        if found.len() == count {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    found
}

/// A manager is drained, demoted, leaves and is removed; it joins again with the next `up`.
fn a_host_is_removed_and_comes_back(lab: &Lab, all: &std::path::Path) {
    let ran = lab.run_with(all, &["rm", &lab.host(2), "--yes"]).expect(0);
    assert!(
        ran.out
            .contains(&format!("drain {} and demote it to a worker", lab.host(2))),
        "{}",
        ran.out
    );
    managers_are(lab, 2);
    assert!(!lab.sh(1, "docker node ls").contains(&lab.host(2)));
    assert!(
        lab.sh(2, "docker info --format '{{.Swarm.LocalNodeState}}'")
            .contains("inactive")
    );
    // With one of two managers down, the other must stay.
    docker(&["stop", &lab.host(3)]);
    lab.eventually("the swarm has noticed", || {
        let nodes = lab.ask(
            1,
            "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}' 2>&1 || true",
        )?;
        if nodes.contains("Unreachable") || nodes.contains("does not have a leader") {
            Ok(())
        } else {
            Err(nodes)
        }
    });
    let ran = lab.run_with(all, &["rm", &lab.host(1), "--yes"]).expect(1);
    assert!(
        ran.out.contains("no other manager of its swarm answers"),
        "{}",
        ran.out
    );
    docker(&["start", &lab.host(3)]);
    lab.booted(3);
    managers_are(lab, 2);
    lab.run_with(all, &["up", "--yes"]).expect(0);
    managers_are(lab, 3);
    lab.assert_nothing_to_do(all);
}

/// A manager is gone, and is taken out of the inventory: `up` removes it, and another host takes its place.
fn a_manager_is_gone_for_good(lab: &Lab, all: &std::path::Path) {
    docker(&["stop", &lab.host(2)]);
    let rest = lab.variant("rest.yaml", |_| {
        without_host(&std::fs::read_to_string(all).unwrap(), &lab.host(2))
    });
    lab.eventually("the swarm has noticed", || {
        let nodes = lab.ask(1, "docker node ls --format '{{.Hostname}} {{.Status}}'")?;
        if nodes.contains(&format!("{} Down", lab.host(2))) {
            Ok(())
        } else {
            Err(nodes)
        }
    });
    lab.run_with(&rest, &["up", "--yes"]).expect(0);
    assert_eq!(
        managers_are(lab, 3),
        [lab.host(1), lab.host(3), lab.host(4)]
    );
    assert!(!lab.sh(1, "docker node ls").contains(&lab.host(2)));
    lab.run_with(&rest, &["verify"]).expect(0);
    lab.assert_nothing_to_do(&rest);
}

/// Two of three managers are gone: nothing goes on until somebody says so, and then with what the third one knows.
fn the_quorum_is_gone_for_good(lab: &Lab) {
    let text = std::fs::read_to_string(lab.file().with_file_name("rest.yaml")).unwrap();
    docker(&["stop", &lab.host(3), &lab.host(4)]);
    let one = lab.variant("one.yaml", |_| {
        without_host(&without_host(&text, &lab.host(3)), &lab.host(4))
    });
    lab.eventually("the swarm has noticed", || {
        let nodes = lab.ask(1, "docker node ls 2>&1 || true")?;
        if nodes.contains("does not have a leader") {
            Ok(())
        } else {
            Err(nodes)
        }
    });
    let ran = lab.run_with(&one, &["up", "--yes"]).expect(1);
    assert!(
        ran.out.contains("no manager of it has a quorum") && ran.out.contains("--recover-quorum"),
        "{}",
        ran.out
    );
    lab.run_with(&one, &["up", "--yes", "--recover-quorum"])
        .expect(0);
    lab.eventually("the others are known to be down", || {
        let nodes = lab.ask(1, "docker node ls --format '{{.Hostname}} {{.Status}}'")?;
        if nodes.matches("Down").count() == 2 {
            Ok(())
        } else {
            Err(nodes)
        }
    });
    lab.run_with(&one, &["up", "--yes"]).expect(0);
    assert_eq!(
        lab.sh(1, "docker node ls --format '{{.Hostname}}'").trim(),
        lab.host(1)
    );
    lab.assert_nothing_to_do(&one);
}

/// An inventory of the lab without one of its hosts: four lines.
fn without_host(text: &str, name: &str) -> String {
    let mark = format!("  - name: {name}");
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == mark).unwrap();
    [&lines[..at], &lines[at + 4..]].concat().join("\n") + "\n"
}

/// Debian 12's engine was built without the Consul backend: `auto` takes swarm mode and says so.
#[test]
#[ignore = "needs a Docker engine"]
fn an_engine_without_the_backend_gets_swarm_mode() {
    let lab = Lab::up("twelve", &["--hosts", "2", "--os", "debian-12"]);
    let forced = lab.variant("forced.yaml", |text| {
        text.replace("smoke:\n", "network: {fabric: overlay}\nsmoke:\n")
    });
    let ran = lab.run_with(&forced, &["up", "--yes"]).expect(1);
    assert!(
        ran.out.contains(
            "whose binary was built without the consul backend (it has: etcd, zookeeper)"
        ),
        "{}",
        ran.out
    );
    let ran = lab.run(&["up", "--yes"]).expect(0);
    assert!(
        ran.out.contains("swarm-mode overlay, because"),
        "{}",
        ran.out
    );
    lab.assert_clean(2);
    lab.assert_nothing_to_do(&lab.file());
}
