//! The classic overlay over Consul, on Debian 11.

use std::process::Command;

use super::harness::{Lab, docker};

#[test]
#[ignore = "needs a Docker engine"]
fn bare_hosts_become_a_cluster() {
    let lab = Lab::up("kv", &["--hosts", "4", "--os", "debian-11", "--bare"]);
    let (all, three) = (lab.file(), lab.first_hosts(3));

    plan_touches_nothing(&lab, &three);

    // The engine really comes from apt over SSH, Consul really from its package; somebody else's apt is waited for.
    hold_the_lock_of_apt(&lab, 1);
    let ran = lab
        .run_with(&three, &["-vv", "up", "--yes", "--output", "json"])
        .expect(0);
    assert_eq!(
        ran.passed_on(),
        (1, 0),
        "the image crosses the line once, for three hosts"
    );
    let document = ran.json();
    assert_eq!(document["plan"]["fabric"], "overlay");
    assert_eq!(document["verify"]["ok"], true);
    for host in 1..=3 {
        assert!(
            lab.sh(host, "dpkg-query -W -f '${Status} ' docker.io consul")
                .matches("install ok installed")
                .count()
                == 2
        );
        assert!(
            lab.sh(host, "docker info --format '{{.ClusterStore}}'")
                .contains("consul://127.0.0.1:8501")
        );
    }
    lab.assert_green(&three, 3);
    forged_packets_stay_out(&lab, &three);

    // Again: nothing to do, and it says so.
    lab.assert_nothing_to_do(&three);
    let before = lab.sh(1, "systemctl show -p MainPID docker docker-cluster-consul");
    let again = lab.run_with(&three, &["up", "--yes"]).expect(0);
    assert!(again.out.contains("Nothing to do"), "{}", again.out);
    assert_eq!(
        before,
        lab.sh(1, "systemctl show -p MainPID docker docker-cluster-consul"),
        "nothing was restarted"
    );

    secrets_are_kept(&lab);
    daemon_options_are_merged(&lab, &three);
    option_values_arrive_intact(&lab, &three);
    a_host_is_added(&lab, &all);
    env_points_dockers_client_at_a_host(&lab);
    ls_tells_the_state(&lab);
}

/// Engines that start again, and one that lost its watch of the store.
#[test]
#[ignore = "needs a Docker engine"]
fn hosts_that_stop_and_start() {
    let lab = Lab::up("again", &["--hosts", "4", "--os", "debian-11"]);
    let all = lab.file();
    lab.run_with(&all, &["up", "--yes"]).expect(0);
    a_watch_that_ended_is_made_anew(&lab);
    a_second_run_is_refused(&lab, &all);
    every_host_reboots(&lab, &all);
    one_host_is_down(&lab, &all);
}

/// What somebody sends who takes no part does not get in; where a rule is gone it does, which is found, and mended.
fn forged_packets_stay_out(lab: &Lab, file: &std::path::Path) {
    let deep = |code| {
        let ran = lab.run_with(file, &["verify", "--deep", "--output", "json"]);
        ran.expect(code).json()
    };
    let all: Vec<String> = (1..=3).map(|host| lab.host(host)).collect();
    assert_eq!(deep(0)["forgery"]["kept_out"], serde_json::json!(all));

    let rule =
        "INPUT -p udp -m udp --dport 4789 -m comment --comment docker-cluster -j DOCKER-CLUSTER";
    lab.sh(2, &format!("iptables -D {rule}"));
    let found = deep(4);
    assert_eq!(found["forgery"]["got_in"], serde_json::json!([lab.host(2)]));
    let causes: Vec<&str> = found["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|verdict| verdict["cause"].as_str().unwrap())
        .collect();
    assert_eq!(causes, ["rule-missing", "forged-packet"]);
    let engine = lab.sh(2, "systemctl show -p MainPID docker");
    let ran = lab.run_with(file, &["up", "--yes"]).expect(0);
    assert!(
        ran.out.contains(&format!("mend the guard of the overlay's ports: the rule `iptables -t filter -A {rule}` is missing")),
        "{}",
        ran.out
    );
    assert_eq!(engine, lab.sh(2, "systemctl show -p MainPID docker"));
    is_guarded(lab, 2);
}

/// The rules of a host's guard are there, and only those.
fn is_guarded(lab: &Lab, host: usize) {
    lab.sh(host, "/usr/local/lib/docker-cluster/fabric check");
}

/// A plan for bare hosts: a lot to do, and not a byte changed by planning it.
fn plan_touches_nothing(lab: &Lab, file: &std::path::Path) {
    // The first connection starts a session manager on the host; what is compared begins after it.
    lab.run_with(file, &["plan"]).expect(0);
    let before: Vec<String> = (1..=3).map(|host| lab.fingerprint(host)).collect();
    let ran = lab.run_with(file, &["plan", "--exit-code"]).expect(3);
    assert!(
        ran.out.contains("install the Docker engine 20.10.5"),
        "{}",
        ran.out
    );
    let after: Vec<String> = (1..=3).map(|host| lab.fingerprint(host)).collect();
    assert_eq!(before, after);
}

/// Takes apt's locks for some seconds, the way apt takes them: by fcntl, which perl has on every Debian.
fn hold_the_lock_of_apt(lab: &Lab, host: usize) {
    let lines = r#"use Fcntl;
        for my $path ("/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock") {
            open(my $file, ">>", $path) or die; push @files, $file;
            # struct flock of 64-bit Linux: type, whence, start, length, pid.
            my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
            fcntl($file, F_SETLK, $lock) or die "held by somebody else";
        }
        $| = 1; print "held\n"; close(STDOUT); sleep 12;"#;
    lab.sh(
        host,
        &format!(
            "cat > /tmp/hold.pl <<'END'\n{lines}\nEND\nperl /tmp/hold.pl > /tmp/held 2>&1 & for i in $(seq 100); do grep -q '^held$' /tmp/held && exit; sleep 0.1; done; cat /tmp/held; exit 1"
        ),
    );
}

/// Tokens, keys and the CA are root's alone, and in no command line.
fn secrets_are_kept(lab: &Lab) {
    for host in 1..=3 {
        let readable = lab.sh(host, "find /etc/docker-cluster /var/lib/docker-cluster -type f -perm /007 ! -name '*.pem' -o -name '*key*.pem' -perm /007");
        assert_eq!(readable, "", "world-readable files with secrets");
        let tokens = lab.sh(
            host,
            "grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' /etc/docker-cluster/consul/secrets.json | sort -u",
        );
        let tokens: Vec<&str> = tokens.lines().collect();
        assert!(tokens.len() >= 2, "agent and engine token");
        let commands = lab.sh(host, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
        let journal = lab.sh(host, "journalctl -b --no-pager -q || true");
        for token in tokens {
            assert!(!commands.contains(token) && !journal.contains(token));
        }
    }
    // Denied by default: the agent's own token writes docker/ and nothing else.
    let store = "/usr/local/lib/docker-cluster/store";
    lab.sh(
        1,
        &format!("{store} kv put docker/lab-test 1 && {store} kv delete docker/lab-test"),
    );
    assert!(
        lab.sh(1, &format!("{store} kv put other/lab-test 1 2>&1 || true"))
            .contains("403")
    );
    assert_eq!(
        lab.sh(
            1,
            &format!("{store} operator raft list-peers 2>&1 | grep -c 403 || true")
        )
        .trim(),
        "1"
    );
}

/// Options of somebody else stay, in their order; a conflict is a problem and nothing is written.
fn daemon_options_are_merged(lab: &Lab, file: &std::path::Path) {
    let conflict = lab.variant("conflict.yaml", |_| {
        std::fs::read_to_string(file).unwrap().replace(
            "smoke:\n",
            "engine:\n  options: {log-driver: journald}\nsmoke:\n",
        )
    });
    let path = "/etc/docker/daemon.json";
    let original = lab.sh(2, &format!("cat {path}"));
    let changed = original.replacen(
        '{',
        "{\n  \"log-driver\": \"local\",\n  \"max-concurrent-downloads\": 2,",
        1,
    );
    lab.sh(2, &format!("cat > {path} <<'END'\n{changed}END"));
    let ran = lab.run_with(&conflict, &["up", "--yes"]).expect(1);
    assert!(
        ran.out.contains("`log-driver` is \"local\"") && ran.out.contains("needs \"journald\""),
        "{}",
        ran.out
    );
    assert_eq!(
        lab.sh(2, &format!("cat {path}")),
        changed,
        "nothing was written over it"
    );
    // Somebody else's keys are no reason to do anything.
    lab.assert_nothing_to_do(file);
    lab.sh(2, &format!("cat > {path} <<'END'\n{original}END"));
}

/// An option whose value would break out of a shell, YAML, JSON or a template arrives as it is, and engines restart for it.
fn option_values_arrive_intact(lab: &Lab, file: &std::path::Path) {
    let label = r#"note=$(touch /tmp/out) `id` 'q' "d" \ {{x}} ; # é"#;
    let labelled = lab.variant("label.yaml", |_| {
        let options = serde_json::json!({"labels": [label]});
        std::fs::read_to_string(file).unwrap().replace(
            "smoke:\n",
            &format!("engine:\n  options: {options}\nsmoke:\n"),
        )
    });
    lab.run_with(&labelled, &["up", "--yes", "--on", &lab.host(2)])
        .expect(0);
    let found: serde_json::Value =
        serde_json::from_str(&lab.sh(2, "docker info --format '{{json .Labels}}'")).unwrap();
    assert_eq!(found, serde_json::json!([label]));
    lab.sh(2, "test ! -e /tmp/out");
    assert_eq!(
        lab.sh(1, "docker info --format '{{json .Labels}}'").trim(),
        "[]",
        "--on touches the selected host alone"
    );
    // What the inventory set and does not set any more goes again.
    let ran = lab.run_with(file, &["up", "--yes"]).expect(0);
    assert!(
        ran.out.contains("what the inventory does not set any more"),
        "{}",
        ran.out
    );
    assert_eq!(
        lab.sh(2, "docker info --format '{{json .Labels}}'").trim(),
        "[]"
    );
    lab.assert_nothing_to_do(file);
}

fn a_host_is_added(lab: &Lab, all: &std::path::Path) {
    let before = lab.sh(1, "systemctl show -p MainPID docker");
    lab.run_with(all, &["up", "--yes"]).expect(0);
    assert_eq!(
        before,
        lab.sh(1, "systemctl show -p MainPID docker"),
        "the engines that were there go on"
    );
    lab.assert_clean(4);
    lab.assert_nothing_to_do(all);
    assert!(
        lab.sh(4, "cat /etc/docker-cluster/consul/agent.json")
            .contains("\"server\": false"),
        "three servers are enough for four hosts"
    );
}

/// The real client against the real host, as root and as a user with sudo.
fn env_points_dockers_client_at_a_host(lab: &Lab) {
    for host in [1, 4] {
        let ran = lab.run(&["env", &lab.host(host)]).expect(0);
        let line = format!("{}\ndocker info --format '{{{{.Name}}}}'\n", ran.out);
        let output = Command::new("sh").arg("-c").arg(&line).output().unwrap();
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(
            name,
            lab.host(host),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let sudo = lab
        .run(&["ssh", &lab.host(4), "--", "sudo", "-n", "id", "-u"])
        .expect(0);
    assert_eq!(sudo.out.trim(), "0");
    assert_eq!(
        lab.run(&["ssh", &lab.host(4), "--", "sh", "-c", "exit 7"])
            .code,
        7
    );
}

fn ls_tells_the_state(lab: &Lab) {
    let document = lab.run(&["ls", "--output", "json"]).expect(0).json();
    let hosts = document["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 4);
    assert_eq!(hosts[0]["name"], lab.host(1).as_str());
    assert_eq!(hosts[0]["state"], "up");
    assert_eq!(
        (hosts[0]["store"].as_str(), hosts[3]["store"].as_str()),
        (Some("consul server"), Some("consul client"))
    );
    let one = lab
        .run(&["ls", "--on", &lab.host(2), "--output", "json"])
        .expect(0)
        .json();
    assert_eq!(one["hosts"].as_array().unwrap().len(), 1);
}

/// An engine whose watch of the network ends at an error no longer learns names, until the helper of a server makes it watch anew. What
/// ends it is a moment without the store, in which all of the engine's connections to it break but that of its host discovery, whose
/// own retry would hide the fault.
fn a_watch_that_ended_is_made_anew(lab: &Lab) {
    let (store, helper) = ("docker-cluster-consul", "docker-cluster-reconcile");
    for host in 1..=3 {
        lab.sh(
            host,
            &format!("systemctl is-active {helper} && systemctl stop {helper}"),
        );
    }
    // Its log tells which connection is which.
    let level = |from: &str, to: &str| {
        let path = "/etc/docker-cluster/consul/agent.json";
        lab.sh(
            1,
            &format!(r#"sed -i 's/"{from}"/"{to}"/' {path} && systemctl reload {store}"#),
        );
    };
    level("INFO", "DEBUG");
    let mut port = String::new();
    lab.eventually("the discovery's connection is in the log", || {
        let line =
            lab.sh(1, &format!("journalctl -q -u {store} -o cat --since -20s | grep 'docker/nodes?index' | tail -n 1"));
        port = line.split("from=127.0.0.1:").nth(1).unwrap_or_default().split(' ').next().unwrap().to_owned();
        if port.is_empty() { Err(line) } else { Ok(()) }
    });
    level("DEBUG", "INFO");
    let (reject, accept) = (
        "OUTPUT -p tcp --dport 8501 -j REJECT --reject-with tcp-reset",
        format!("OUTPUT -p tcp --sport {port} --dport 8501 -j ACCEPT"),
    );
    // Longer than the 15 seconds for which a watch waits for an answer.
    lab.sh(
        1,
        &format!("iptables -I {reject}; iptables -I {accept}; sleep 17; iptables -D {reject}; iptables -D {accept}"),
    );
    let (network, image) = (lab.name().to_owned(), lab.smoke_image());
    lab.sh(
        2,
        &format!("docker run -d --name late --network {network} {image} sleep 100000"),
    );
    lab.sh(
        1,
        &format!("docker run -d --name asks --network {network} {image} sleep 100000"),
    );
    let asked = || lab.ask(1, "docker exec asks getent hosts late");
    for _ in 0..5 {
        assert!(
            asked().is_err(),
            "the watch has not ended, so this test tests nothing"
        );
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    lab.sh(3, &format!("systemctl start {helper}"));
    lab.eventually("the name is learned", || asked().map(|_| ()));
    for host in 1..=3 {
        lab.sh(host, &format!("systemctl start {helper}"));
    }
    lab.sh(1, "docker rm -f asks");
    lab.sh(2, "docker rm -f late");
}

/// A run that holds the lock, and one that is told so.
fn a_second_run_is_refused(lab: &Lab, all: &std::path::Path) {
    let keeper = || lab.sh(3, "docker ps -q --filter name=dc-keeper-");
    let kept = keeper();
    lab.sh(3, "systemctl stop docker.socket docker");
    // The lock is the kernel's: a holder on the host itself stands for another laptop.
    let holder = r#"{"who":"ann@laptop","pid":1,"command":"up","since":"2026-01-01T00:00:00Z"}"#;
    let path = lab.sh(1, "ls /run/docker-cluster-*.lock");
    let path = path.trim();
    lab.sh(
        1,
        &format!("echo '{holder}' > {path}; (flock 9 && exec sleep 600) 9>>{path} >/dev/null 2>&1 & while flock -n {path} true; do sleep 0.1; done"),
    );
    let ran = lab.run_with(all, &["up", "--yes"]).expect(5);
    assert!(
        ran.err.contains("ann@laptop since 2026-01-01T00:00:00Z"),
        "{}",
        ran.err
    );
    assert!(
        !lab.sh(3, "systemctl is-active docker || true")
            .starts_with("active"),
        "the refused run did nothing"
    );
    // A dead holder's lock is gone at once.
    lab.sh(1, "pkill -f '[s]leep 600'");
    lab.run_with(all, &["up", "--yes"]).expect(0);
    assert!(
        lab.sh(3, "systemctl is-active docker")
            .starts_with("active")
    );
    assert_eq!(
        keeper(),
        kept,
        "the engine has started it; one that replaces it closes the network"
    );
}

/// After a reboot of each host the overlay and a `restart=always` container on it work again without help.
fn every_host_reboots(lab: &Lab, all: &std::path::Path) {
    let image = lab.sh(
        1,
        "docker images --format '{{.Repository}}:{{.Tag}}' | grep smoke | head -1",
    );
    let network = lab.sh(
        1,
        "docker network ls --filter driver=overlay --format '{{.Name}}'",
    );
    for host in 1..=4 {
        let name = format!("app-{host}");
        lab.sh(
            host,
            &format!(
                "docker run -d --restart always --stop-timeout 1 --name {name} --network {} {} sleep 100000",
                network.trim(),
                image.trim()
            ),
        );
    }
    for host in 1..=4 {
        docker(&["restart", &lab.host(host)]);
        lab.booted(host);
        lab.eventually("the host, its engine and its container are back", || {
            let state = Command::new("docker")
                .args([
                    "exec",
                    &lab.host(host),
                    "docker",
                    "inspect",
                    "--format",
                    "{{.State.Status}}",
                    &format!("app-{host}"),
                ])
                .output()
                .unwrap();
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            if state == "running" {
                Ok(())
            } else {
                Err(state)
            }
        });
        is_guarded(lab, host);
        lab.eventually("every pair reaches", || {
            let ran = lab.run_with(all, &["verify"]);
            if ran.code == 0 { Ok(()) } else { Err(ran.out) }
        });
        let other = host % 4 + 1;
        lab.eventually("its container knows the others' names", || {
            lab.ask(
                host,
                &format!("docker exec app-{host} getent hosts app-{other}"),
            )
            .map(drop)
        });
    }
    lab.assert_nothing_to_do(all);
    for host in 1..=4 {
        lab.sh(host, &format!("docker rm -f app-{host}"));
    }
}

/// One host is powered off: the others are served, and the report says who is missing and why.
fn one_host_is_down(lab: &Lab, all: &std::path::Path) {
    docker(&["stop", &lab.host(4)]);
    lab.sh(2, "systemctl stop docker.socket docker");
    let ran = lab.run_with(all, &["up", "--yes"]).expect(1);
    assert!(
        ran.err
            .contains(&format!("{}: cannot be asked", lab.host(4))),
        "{}",
        ran.err
    );
    assert!(
        lab.sh(2, "systemctl is-active docker")
            .starts_with("active"),
        "the others finish"
    );
    let document = lab
        .run_with(all, &["verify", "--output", "json"])
        .expect(4)
        .json();
    for pair in document["pairs"].as_array().unwrap() {
        let with_the_dead = [&pair["from"], &pair["to"]]
            .iter()
            .any(|name| **name == lab.host(4).as_str());
        assert_eq!(pair["ok"], !with_the_dead, "{pair}");
    }
}
