//! Hosts that nobody has tidied: set up by hand as people do it, changed behind our back, grown, and with others' things on them.

use std::path::Path;

use super::harness::{Lab, docker};
use super::resume::Stepping;

/// Swarm mode on engines with options in other places, and what happens to them meanwhile.
#[test]
#[ignore = "needs a Docker engine"]
fn engines_that_others_have_set_up() {
    let lab = Lab::up("untidy", &["--hosts", "3", "--os", "debian-13"]);
    // The third is somebody else's, and joins by hand.
    let own = lab.first_hosts(2);
    let two = lab.variant("open.yaml", |_| {
        let network = format!("network: {{guard_allow: [{}]}}\nhosts:\n", lab.private(3));
        std::fs::read_to_string(&own)
            .unwrap()
            .replacen("hosts:\n", &network, 1)
    });
    // What Docker's documentation says to do for a socket of one's own, and what docker-machine writes.
    lab.sh(1, "mkdir -p /etc/systemd/system/docker.service.d; printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd\\n' > /etc/systemd/system/docker.service.d/10-machine.conf; printf '{\"hosts\": [\"fd://\", \"unix:///run/second.sock\"]}' > /etc/docker/daemon.json; systemctl daemon-reload; systemctl restart docker");
    // Another place for what it has, with a file that no unit reads any more.
    lab.sh(2, "mkdir -p /etc/systemd/system/docker.service.d; printf '[Service]\\nEnvironmentFile=\\n' > /etc/systemd/system/docker.service.d/no-defaults.conf; echo 'DOCKER_OPTS=\"--data-root=/nowhere\"' > /etc/default/docker; printf '{\"data-root\": \"/var/lib/docker/moved\"}' > /etc/docker/daemon.json; systemctl daemon-reload; systemctl restart docker");
    lab.run_with(&two, &["up", "--yes"]).expect(0);
    assert!(
        lab.sh(2, "docker info --format '{{.DockerRootDir}}'")
            .contains("/var/lib/docker/moved")
    );
    lab.assert_nothing_to_do(&two);
    let listed = lab
        .run_with(&two, &["ls", "--output", "json"])
        .expect(0)
        .json();
    for host in listed["hosts"].as_array().unwrap() {
        assert!(
            host["certificate_expires"].is_string(),
            "the node's certificate is found wherever it is: {host}"
        );
    }
    let ingress = lab.sh(
        1,
        "docker network inspect --format '{{range .IPAM.Config}}{{.Subnet}}{{end}}' ingress",
    );
    assert!(
        !ingress.starts_with("10.0.") && !ingress.starts_with("10.213."),
        "not the hosts' own network: {ingress}"
    );

    a_stranger_in_the_swarm_stays(&lab, &two);
    a_stopped_engine_stays_stopped(&lab, &two);
    options_are_in_effect_or_it_is_known(&lab, &two);
    options_of_both_sides(&lab, &two);

    let ran = lab.run_with(&two, &["rm", &lab.host(2), "--yes"]).expect(0);
    assert!(ran.out.contains("leave the swarm"), "{}", ran.out);
    assert!(!lab.sh(1, "docker node ls").contains(&lab.host(2)));
}

/// A node that somebody else joined to the swarm, and that is down for now.
fn a_stranger_in_the_swarm_stays(lab: &Lab, two: &Path) {
    let token = lab.sh(1, "docker swarm join-token -q worker");
    let address = lab.sh(1, "docker info --format '{{.Swarm.NodeAddr}}'");
    lab.sh(
        3,
        &format!(
            "docker swarm join --token {} {}:2377",
            token.trim(),
            address.trim()
        ),
    );
    docker(&["stop", &lab.host(3)]);
    lab.eventually("the swarm has noticed", || {
        let nodes = lab.ask(1, "docker node ls --format '{{.Hostname}} {{.Status}}'")?;
        if nodes.contains(&format!("{} Down", lab.host(3))) {
            Ok(())
        } else {
            Err(nodes)
        }
    });
    let ran = lab.run_with(two, &["up", "--yes"]).expect(0);
    assert!(
        ran.out
            .contains(&format!("{} is in the swarm, down", lab.host(3))),
        "{}",
        ran.out
    );
    assert!(
        lab.sh(1, "docker node ls").contains(&lab.host(3)),
        "it is left alone"
    );
}

/// An engine that its socket would start at the first question is not asked one.
fn a_stopped_engine_stays_stopped(lab: &Lab, two: &Path) {
    lab.sh(
        2,
        "systemctl stop docker.service; systemctl start docker.socket",
    );
    let is_stopped = || {
        lab.ask(
            2,
            "! systemctl -q is-active docker.service && systemctl -q is-active docker.socket",
        )
    };
    let ran = lab.run_with(two, &["plan"]).expect(0);
    assert!(
        ran.out
            .contains("start the Docker engine, which is stopped"),
        "{}",
        ran.out
    );
    is_stopped().expect("after plan");
    let ran = lab.run_with(two, &["ls"]).expect(0);
    assert!(ran.out.contains("stopped"), "{}", ran.out);
    is_stopped().expect("after ls");
    let ran = lab.run_with(two, &["verify"]).expect(4);
    assert!(ran.out.contains("stopped"), "{}", ran.out);
    is_stopped().expect("after verify");
    lab.run_with(two, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(two);
}

/// A run that ends between the writing of options and the restart that they need.
fn options_are_in_effect_or_it_is_known(lab: &Lab, two: &Path) {
    let labelled = lab.variant("labelled.yaml", |_| {
        let text = std::fs::read_to_string(two).unwrap();
        text.replace(
            "smoke:\n",
            "engine:\n  options: {labels: [tier=web]}\nsmoke:\n",
        )
    });
    let runtime = tempfile::tempdir().unwrap();
    let mut run = Stepping::start_with(&labelled, runtime.path(), &["up"]);
    while let Some(question) = run.question() {
        if question.contains("restart the engine") {
            break;
        }
        run.go_on();
    }
    run.kill();
    let labels = "docker info --format '{{.Labels}}'";
    assert!(
        lab.sh(1, "cat /etc/docker/daemon.json")
            .contains("tier=web"),
        "it is written"
    );
    assert!(!lab.sh(1, labels).contains("tier=web"), "and not in effect");
    let ran = lab.run_with(&labelled, &["plan"]).expect(0);
    assert!(
        ran.out.contains("restart the engine with its new options"),
        "{}",
        ran.out
    );
    lab.run_with(&labelled, &["up", "--yes", "--lock-wait", "2m"])
        .expect(0);
    for host in 1..=2 {
        assert!(
            lab.sh(host, labels).contains("tier=web"),
            "in effect on host {host}"
        );
    }
    lab.assert_nothing_to_do(&labelled);
    // Out of the inventory, out of the hosts.
    lab.run_with(two, &["up", "--yes"]).expect(0);
    for host in 1..=2 {
        assert!(
            !lab.sh(host, "cat /etc/docker/daemon.json").contains("tier"),
            "taken out on host {host}"
        );
        assert!(
            !lab.sh(host, labels).contains("tier=web"),
            "not in effect on host {host}"
        );
    }
}

/// A value that somebody put back to their own since `up` wrote another.
fn options_of_both_sides(lab: &Lab, two: &Path) {
    let with = |name: &str, downloads: usize| {
        lab.variant(name, |_| {
            let text = std::fs::read_to_string(two).unwrap();
            text.replace(
                "smoke:\n",
                &format!("engine:\n  options: {{max-concurrent-downloads: {downloads}}}\nsmoke:\n"),
            )
        })
    };
    let (four, five) = (with("four.yaml", 4), with("five.yaml", 5));
    lab.run_with(&four, &["up", "--yes"]).expect(0);
    // On one host it is theirs now.
    lab.sh(1, "sed -i 's/\"max-concurrent-downloads\": 4/\"max-concurrent-downloads\": 2/' /etc/docker/daemon.json");
    let before = lab.sh(1, "sha256sum /etc/docker/daemon.json");
    let ran = lab.run_with(&five, &["up", "--yes"]).expect(1);
    assert!(
        ran.out.contains(
            "`max-concurrent-downloads` is 2 in /etc/docker/daemon.json, and the cluster needs 5"
        ),
        "{}",
        ran.out
    );
    assert_eq!(
        lab.sh(1, "sha256sum /etc/docker/daemon.json"),
        before,
        "nothing was done"
    );
    assert!(
        lab.sh(2, "cat /etc/docker/daemon.json")
            .contains("\"max-concurrent-downloads\": 4"),
        "nowhere"
    );
    // Without a word in the inventory it stays theirs, and ours goes.
    lab.run_with(two, &["up", "--yes"]).expect(0);
    assert!(
        lab.sh(1, "cat /etc/docker/daemon.json")
            .contains("\"max-concurrent-downloads\": 2")
    );
    assert!(
        !lab.sh(2, "cat /etc/docker/daemon.json")
            .contains("max-concurrent-downloads")
    );
}

/// A store that begins with one host and grows, one host at a time and then all at once; lists that are too long to be whole.
#[test]
#[ignore = "needs a Docker engine"]
fn a_store_that_grows() {
    let lab = Lab::up("grows", &["--hosts", "4", "--os", "debian-11"]);
    let (one, two, all) = (lab.first_hosts(1), lab.first_hosts(2), lab.file());
    // Refused before anything is touched: engines of Debian 11 crash with it.
    let zookeeper = lab.variant("zk.yaml", |text| {
        text.replace("smoke:\n", "store:\n  url: zk://127.0.0.1:2181\nsmoke:\n")
    });
    let ran = lab.run_with(&zookeeper, &["up", "--yes"]).expect(1);
    assert!(
        ran.out.contains("crashes with ZooKeeper as its store"),
        "{}",
        ran.out
    );
    assert_eq!(
        lab.sh(1, "ls /etc/docker/daemon.json 2>/dev/null || true"),
        "",
        "nothing was written"
    );

    lab.run_with(&one, &["up", "--yes"]).expect(0);
    let network = lab.sh(
        1,
        &format!(
            "docker network inspect --format '{{{{.Id}}}}' {}",
            lab.name()
        ),
    );
    lab.run_with(&two, &["up", "--yes", "--on", &lab.host(2)])
        .expect(0);
    lab.assert_green(&two, 2);
    lab.run_with(&all, &["up", "--yes"]).expect(0);
    lab.assert_green(&all, 4);
    lab.assert_nothing_to_do(&all);
    let peers = "export CONSUL_HTTP_TOKEN=$(sed -n 's/.*\"management_token\": *\"\\([^\"]*\\)\".*/\\1/p' /var/lib/docker-cluster/secrets/store.json); /usr/local/lib/docker-cluster/store operator raft list-peers";
    for host in 1..=4 {
        let id = lab.sh(
            host,
            &format!(
                "docker network inspect --format '{{{{.Id}}}}' {}",
                lab.name()
            ),
        );
        assert_eq!(id, network, "host {host} has the network of before");
    }
    // Consul lets a new server vote when it has been well for ten seconds.
    lab.eventually("one leader of three servers that vote", || {
        let quorum = lab.ask(1, peers)?;
        let count = |words: &str| quorum.matches(words).count();
        match (count(" leader "), count(" follower "), count(" true ")) {
            (1, 2, 3) => Ok(()),
            _ => Err(quorum),
        }
    });
    for host in 2..=3 {
        let same = lab.sh(host, peers);
        assert_eq!(
            same.matches(" leader ").count(),
            1,
            "the same quorum on host {host}:\n{same}"
        );
    }

    // Containers whose labels are longer than what is read: what is not heard of is not taken for absent.
    let image = lab.smoke_image();
    lab.sh(3, &format!("long=$(head -c 100000 /dev/zero | tr '\\0' x); for i in 1 2 3 4 5 6 7 8 9 10; do set --; for j in 1 2 3 4 5 6 7 8 9; do set -- \"$@\" --label l$j=$long; done; docker create \"$@\" --name big-$i {image} true >/dev/null || exit 1; done"));
    for command in [["down", "--yes"].as_slice(), &["store", "prune", "--yes"]] {
        let ran = lab.run_with(&all, command).expect(1);
        assert!(
            ran.out.contains(&lab.host(3)) && ran.out.contains("engine d"),
            "{command:?}: {}",
            ran.out
        );
    }
    assert!(
        lab.sh(1, "docker info --format '{{.ClusterStore}}'")
            .contains("consul"),
        "nothing was done"
    );
    lab.sh(
        3,
        "docker rm -f $(docker ps -aq --filter name=big-) >/dev/null",
    );
    lab.assert_nothing_to_do(&all);
}
