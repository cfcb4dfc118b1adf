//! From the overlay over Consul to swarm mode, and back.

use super::harness::{Lab, docker};

/// An nginx that says hello, with a name, an address and an alias of its own, and a client without a restart policy.
fn start_containers(lab: &Lab) {
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
    let nginx = r#"printf "daemon off; user root; pid /tmp/p; error_log stderr; events {} http { access_log off; server { listen 80; location / { return 200 hello; } } }" > /tmp/c; exec nginx -c /tmp/c"#;
    lab.sh(1, &format!("docker run -d --restart always --name web --network {network} --network-alias www --ip 10.90.7.7 {image} sh -c '{nginx}'"));
    lab.sh(
        2,
        &format!(
            "docker run -d --stop-timeout 1 --name client --network {network} {image} sleep 100000"
        ),
    );
}

/// The nginx answers under its name, its alias and its address.
fn answers(lab: &Lab) {
    for name in ["web", "www", "10.90.7.7"] {
        lab.eventually("the nginx answers", || {
            let said = lab.ask(
                2,
                &format!("docker exec client wget -q -T 3 -t 1 -O - http://{name}/ 2>&1 || true"),
            )?;
            if said == "hello" { Ok(()) } else { Err(said) }
        });
    }
}

/// An inventory whose Consul is a file on this machine, pushed over SSH: the program of Debian's package, which no host has any more.
/// With another checksum it is not used.
fn consul_from_a_file(lab: &Lab) -> std::path::PathBuf {
    let program = lab.file().with_file_name("consul");
    docker(&[
        "cp",
        &format!("{}:/usr/bin/consul", lab.host(1)),
        program.to_str().unwrap(),
    ]);
    let sum = lab.sh(1, "sha256sum /usr/bin/consul | cut -d' ' -f1");
    lab.without_consul(2);
    let with = |name: &str, sum: &str| {
        let source =
            format!("store: {{source: {{path: consul, sha256: {sum}, version: 1.8.7}}}}\nsmoke:\n");
        lab.variant(name, |text| text.replace("smoke:\n", &source))
    };
    let ran = lab
        .run_with(&with("other-sum.yaml", &"0".repeat(64)), &["up", "--yes"])
        .expect(1);
    assert!(
        ran.err.contains("and the inventory says 0000") && ran.err.contains("it is not used"),
        "{}",
        ran.err
    );
    with("pushed.yaml", sum.trim())
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_kv_cluster_moves_to_swarm_mode_and_back() {
    let lab = Lab::up("move", &["--hosts", "2", "--os", "debian-11"]);
    let file = consul_from_a_file(&lab);
    lab.sh(
        1,
        "mkdir -p /etc/docker; echo '{\"max-concurrent-downloads\": 2}' > /etc/docker/daemon.json",
    );
    // A firewall between the hosts: what they cannot pass on comes over SSH.
    let rule = "INPUT ! -i lo -p tcp --syn --dport 32768:60999 -j REJECT --reject-with tcp-reset";
    for host in 1..=2 {
        lab.sh(host, &format!("iptables -I {rule}"));
    }
    let ran = lab.run_with(&file, &["-vv", "up", "--yes"]).expect(0);
    assert_eq!(
        ran.passed_on(),
        (2, 2),
        "Consul and the image, each to one host, and to the other in vain"
    );
    for host in 1..=2 {
        lab.sh(host, &format!("iptables -D {rule}"));
    }
    assert_eq!(
        lab.sh(1, "command -v /usr/bin/consul || echo none").trim(),
        "none",
        "it came over SSH, not from a package"
    );
    lab.assert_nothing_to_do(&file);
    start_containers(&lab);
    answers(&lab);

    // The way is shown, and nothing is touched by showing it.
    let before = lab.fingerprint(1);
    let ran = lab.run_with(&file, &["migrate", "--plan"]).expect(0);
    assert!(
        ran.out
            .contains("web (restart: always) is cut off until the end and comes back on"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("at 10.90.7.7 as www"), "{}", ran.out);
    assert_eq!(before, lab.fingerprint(1));

    // A run that breaks off: the port of swarm mode is taken on one host, by somebody who goes away again.
    lab.sh(2, "systemd-run --unit taken -q sh -c 'exec sleep 600' && mkdir -p /run/systemd/system/docker.service.d && printf '[Service]\nExecStartPre=/bin/false\n' > /run/systemd/system/docker.service.d/break.conf && systemctl daemon-reload");
    let ran = lab.run_with(&file, &["migrate", "--yes"]).expect(1);
    assert!(
        ran.err.contains("restart the engine without the store"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("goes on where this one stopped"),
        "{}",
        ran.err
    );
    lab.sh(2, "rm /run/systemd/system/docker.service.d/break.conf && systemctl daemon-reload && systemctl reset-failed docker");

    // It goes on where it stopped.
    lab.run_with(&file, &["migrate", "--yes"]).expect(0);
    answers(&lab);
    lab.assert_clean(2);
    lab.assert_nothing_to_do(&file);
    assert_eq!(
        lab.sh(1, "tr -d ' \n' < /etc/docker/daemon.json"),
        r#"{"max-concurrent-downloads":2}"#
    );
    assert!(
        lab.sh(1, "docker info --format '{{.Swarm.LocalNodeState}}'")
            .contains("active")
    );
    assert!(
        !lab.sh(1, "systemctl is-active docker-cluster-consul || true")
            .starts_with("active")
    );

    // And back.
    lab.run_with(&file, &["migrate", "--rollback", "--yes"])
        .expect(0);
    answers(&lab);
    assert!(
        lab.sh(1, "docker info --format '{{.ClusterStore}}'")
            .contains("consul://")
    );
    lab.assert_clean(2);
    lab.assert_nothing_to_do(&file);
}

/// An engine past 22 that refuses to start because of `cluster-store`, with a container of a network that is no more.
#[test]
#[ignore = "needs a Docker engine"]
fn an_engine_that_was_upgraded_by_hand_is_mended() {
    let lab = Lab::up("broken", &["--hosts", "2", "--os", "debian-13"]);
    let text = std::fs::read_to_string(lab.file()).unwrap();
    let tar = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("tar: "))
        .unwrap()
        .trim_matches('"')
        .to_owned();
    let image = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("image: "))
        .unwrap()
        .to_owned();
    let network = text
        .lines()
        .find_map(|line| line.strip_prefix("cluster: "))
        .unwrap()
        .to_owned();
    for host in 1..=2 {
        let load = format!("docker exec -i {} docker load -q < {tar}", lab.host(host));
        assert!(
            std::process::Command::new("sh")
                .args(["-c", &load])
                .status()
                .unwrap()
                .success()
        );
        // What an upgrade leaves: the options of the store, and a container whose network went with it.
        lab.sh(host, &format!("docker network create {network} && docker run -d --restart always --stop-timeout 1 --name app-{host} --network {network} {image} sleep 100000 && docker stop -t 0 app-{host} && docker network rm {network}"));
        lab.sh(host, r#"echo '{"cluster-store": "consul://127.0.0.1:8501", "cluster-advertise": "eth0:2376", "max-concurrent-downloads": 2}' > /etc/docker/daemon.json"#);
        assert!(
            lab.sh(
                host,
                "systemctl restart docker 2>&1 || journalctl -u docker -n 20 --no-pager"
            )
            .contains("cluster-store")
        );
    }
    let ran = lab.run(&["up", "--yes"]).expect(1);
    assert!(ran.out.contains("docker-cluster migrate"), "{}", ran.out);

    let ran = lab.run(&["migrate", "--yes"]).expect(0);
    assert!(
        ran.out
            .contains("start the engine, which refuses to start with a store"),
        "{}",
        ran.out
    );
    for host in 1..=2 {
        assert_eq!(
            lab.sh(host, "tr -d ' \n' < /etc/docker/daemon.json"),
            r#"{"max-concurrent-downloads":2}"#
        );
        lab.eventually("they know each other's names", || {
            let ask = format!("docker exec app-{host} getent hosts app-{}", 3 - host);
            lab.ask(host, &ask).map(drop)
        });
    }
    lab.assert_clean(2);
    lab.assert_nothing_to_do(&lab.file());
    what_it_was_cannot_be_had_again(&lab);
}

/// `down` leaves the swarm that the migration made. The options of before are those that the engine refuses: it is brought back to what
/// works, until somebody decides.
fn what_it_was_cannot_be_had_again(lab: &Lab) {
    for host in 1..=2 {
        lab.sh(host, &format!("docker rm -f app-{host}"));
    }
    let ran = lab.run(&["down", "--yes"]).expect(1);
    assert!(
        ran.err
            .contains("directives don't match any configuration option: cluster"),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains(&format!("{} is back to what worked before.", lab.host(1))),
        "{}",
        ran.err
    );
    for host in 1..=2 {
        let state = lab.sh(host, "systemctl is-active docker; docker info --format '{{.Swarm.LocalNodeState}}'; tr -d ' \n' < /etc/docker/daemon.json");
        assert_eq!(state, "active\ninactive\n{\"max-concurrent-downloads\":2}");
        lab.sh(
            host,
            "echo '{\"max-concurrent-downloads\": 3}' > /etc/docker/daemon.json",
        );
    }
    let ran = lab.run(&["down", "--yes"]).expect(0);
    assert!(
        ran.out
            .contains("`cluster-store` was \"consul://127.0.0.1:8501\" before, and stays out"),
        "{}",
        ran.out
    );
    for host in 1..=2 {
        lab.sh(host, "test ! -e /etc/docker/daemon.json.kept");
        let left = lab.sh(
            host,
            "cat /etc/docker/daemon.json; ls -d /var/lib/docker-cluster* 2>/dev/null || true",
        );
        assert_eq!(left, "{\"max-concurrent-downloads\": 3}\n");
    }
}

/// One host with a store, two with engines that cannot have one: refused, with the ways out.
#[test]
#[ignore = "needs a Docker engine"]
fn a_mixed_cluster_is_refused_with_the_ways_out() {
    let old = Lab::up("old", &["--hosts", "1", "--os", "debian-11"]);
    let new = Lab::up("new", &["--hosts", "2", "--os", "debian-13"]);
    old.run(&["up", "--yes"]).expect(0);
    let hosts_of = |lab: &Lab, key: &str| {
        let text = std::fs::read_to_string(lab.file()).unwrap();
        let hosts = text.split("hosts:\n").nth(1).unwrap().to_owned();
        let ssh = |name: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(name))
                .unwrap()
                .trim()
                .to_owned()
        };
        // Two labs have two keys: each host brings its own.
        hosts.replace(
            "ssh: {",
            &format!(
                "ssh: {{identity: {}, known_hosts: {}, ",
                ssh("identity:"),
                ssh("known_hosts:")
            ),
        ) + key
    };
    let mixed = old.variant("mixed.yaml", |_| {
        format!(
            "cluster: mixed\nhosts:\n{}{}",
            hosts_of(&old, ""),
            hosts_of(&new, "")
        )
    });
    let ran = old.run_with(&mixed, &["up", "--yes"]).expect(1);
    assert!(
        ran.out.contains("these hosts cannot share one fabric"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .contains("engines from 23 on have no overlay over a key-value store"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("docker-cluster migrate") && ran.out.contains("take the new ones out"),
        "{}",
        ran.out
    );
    for host in 1..=2 {
        assert!(
            new.sh(host, "docker info --format '{{.Swarm.LocalNodeState}}'")
                .contains("inactive"),
            "nothing was done"
        );
    }
}
