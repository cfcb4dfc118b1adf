//! What a host can expect: it is restored, it is rolled back, it is locked, and nobody learns its secrets.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Lab, Ran};
use super::resume::Stepping;

/// Everything of a host that `up` and `down` together must leave as it was. Left out: the copies that `useradd` and `userdel` keep of
/// the files they change (`/etc/passwd-` and its like).
fn listing(lab: &Lab, host: usize) -> String {
    lab.sh(
        host,
        "find /etc -type f ! -name 'passwd-' ! -name 'shadow-' ! -name 'group-' ! -name 'gshadow-' -exec sha256sum {} + | sort -k2; \
         find /etc -type f -printf '%p %m %u:%g\\n' | sort; find /etc -type l -printf '%p %l\\n' | sort; find /etc -type d | sort; \
         systemctl list-unit-files --no-legend --no-pager | sort; docker network ls --format '{{.Name}} {{.Driver}} {{.Scope}}' | sort; \
         docker image ls --format '{{.Repository}}:{{.Tag}}'; \
         iptables-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//' | sort; ls -d /var/lib/docker-cluster* /usr/local/lib/* 2>/dev/null; true",
    )
}

/// Says where two listings differ.
fn assert_same(before: &str, after: &str) {
    let lines = |text: &str| {
        text.lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (before, after) = (lines(before), lines(after));
    let (gone, new): (Vec<_>, Vec<_>) = (
        before.difference(&after).collect(),
        after.difference(&before).collect(),
    );
    assert!(
        gone.is_empty() && new.is_empty(),
        "gone: {gone:#?}\nnew: {new:#?}"
    );
}

#[test]
#[ignore = "needs a Docker engine"]
fn what_up_did_down_undoes() {
    // An engine that was there before. Not that of the image: a file of an image that is removed, made and removed once more is there
    // again with fuse-overlayfs.
    let lab = Lab::up("undo", &["--hosts", "2", "--os", "debian-11", "--bare"]);
    let engine = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q install -y --no-install-recommends docker.io && docker info";
    for host in 1..=2 {
        lab.sh(host, engine);
    }
    // Somebody's own options, with a mode and an end of file that nobody would write.
    let own = "printf '{\\n\\t\"max-concurrent-downloads\": 2,\\n\\t\"debug\": false}' > /etc/docker/daemon.json; chmod 640 /etc/docker/daemon.json";
    lab.sh(1, own);
    for host in 1..=2 {
        lab.sh(host, "systemctl restart docker");
    }
    let before: Vec<String> = (1..=2).map(|host| listing(&lab, host)).collect();

    lab.run(&["up", "--yes"]).expect(0);
    another_laptop_needs_nothing(&lab);
    down_is_refused_while_something_hangs_on_the_network(&lab);
    let ran = lab.run(&["down", "--yes", "--purge"]).expect(0);
    assert!(
        ran.out
            .contains("put /etc/docker/daemon.json back as it was"),
        "{}",
        ran.out
    );
    for host in 1..=2 {
        assert_same(&before[host - 1], &listing(&lab, host));
    }
    let again = lab.run(&["down", "--yes"]).expect(0);
    assert!(again.out.contains("Nothing to do"), "{}", again.out);

    // What others changed in between stays, and is told.
    lab.run(&["up", "--yes"]).expect(0);
    lab.sh(1, r#"sed -i 's/"max-concurrent-downloads": 2/"max-concurrent-downloads": 7/; s/"cluster-advertise"/"max-concurrent-uploads": 3,\n\t"cluster-advertise"/' /etc/docker/daemon.json"#);
    lab.sh(1, "echo '# mine' >> /usr/local/lib/docker-cluster/store");
    let ran = lab.run(&["down", "--yes"]).expect(0);
    assert!(ran.out.contains("what others changed stays"), "{}", ran.out);
    assert!(
        ran.out.contains("/usr/local/lib/docker-cluster/store.kept"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("`down --purge` removes them"),
        "{}",
        ran.out
    );
    let left: serde_json::Value =
        serde_json::from_str(&lab.sh(1, "cat /etc/docker/daemon.json")).unwrap();
    assert_eq!(
        left,
        serde_json::json!({"max-concurrent-downloads": 7, "debug": false, "max-concurrent-uploads": 3}),
        "the cluster's part is out, the rest is there"
    );
    assert!(
        lab.sh(1, "tail -1 /usr/local/lib/docker-cluster/store.kept")
            .contains("# mine")
    );
    // The packages are remembered, for a later purge.
    lab.run(&["down", "--yes", "--purge"]).expect(0);
    assert_eq!(
        lab.sh(
            1,
            "dpkg-query -W -f '${db:Status-Abbrev}' consul 2>/dev/null || true"
        )
        .trim(),
        ""
    );
    lab.sh(1, "test ! -e /var/lib/docker-cluster");
}

/// Nothing that matters is on the first laptop: another home, other connections, the same inventory.
fn another_laptop_needs_nothing(lab: &Lab) {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
            .args(["-f", lab.file().to_str().unwrap()])
            .args(arguments)
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env_remove("XDG_STATE_HOME")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}\n{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    run(&["plan", "--exit-code"]);
    assert!(run(&["up", "--yes"]).contains("Nothing to do"));
    run(&["verify"]);
    assert!(run(&["env", &lab.host(1)]).contains("export DOCKER_HOST=ssh://"));
    run(&["disconnect"]);
}

fn down_is_refused_while_something_hangs_on_the_network(lab: &Lab) {
    let image = lab.smoke_image();
    lab.sh(
        2,
        &format!(
            "docker run -d --name guest --network {} {image} sleep 100000",
            lab.name()
        ),
    );
    let ran = lab.run(&["down", "--yes"]).expect(1);
    assert!(
        ran.out.contains(&format!(
            "{}: containers hang on the cluster's network: guest ({})",
            lab.host(2),
            lab.name()
        )),
        "{}",
        ran.out
    );
    assert!(
        lab.sh(1, "docker info --format '{{.ClusterStore}}'")
            .contains("consul"),
        "nothing was done"
    );
    lab.sh(
        2,
        "docker rm -f guest; docker network create -d overlay --subnet 10.91.0.0/16 theirs",
    );
    let ran = lab.run(&["down", "--yes"]).expect(1);
    let words =
        "the store ends with this, and holds what is not docker-cluster's: the network theirs";
    assert!(ran.out.contains(words), "{}", ran.out);
    lab.sh(2, "docker network rm theirs");
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_swarm_is_taken_down() {
    let lab = Lab::up("unswarm", &["--hosts", "2", "--os", "debian-13"]);
    let before: Vec<String> = (1..=2).map(|host| listing(&lab, host)).collect();
    lab.run(&["up", "--yes"]).expect(0);
    lab.run(&["down", "--yes"]).expect(0);
    for host in 1..=2 {
        // The engine makes its key for swarm mode and empty chains, and keeps both; neither does anything.
        let same = |text: &str| {
            text.lines()
                .filter(|line| {
                    !line.contains("DOCKER-INGRESS") && !line.contains("/etc/docker/key.json")
                })
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        assert_same(&same(&before[host - 1]), &same(&listing(&lab, host)));
        assert!(
            lab.sh(host, "docker info --format '{{.Swarm.LocalNodeState}}'")
                .contains("inactive")
        );
    }
}

/// An inventory with these daemon options.
fn with_options(lab: &Lab, name: &str, options: &str) -> std::path::PathBuf {
    lab.variant(name, |text| {
        text.replace(
            "smoke:\n",
            &format!("engine:\n  options: {options}\nsmoke:\n"),
        )
    })
}

#[test]
#[ignore = "needs a Docker engine"]
fn what_fails_is_rolled_back() {
    let lab = Lab::up("back", &["--hosts", "2", "--os", "debian-11"]);
    lab.without_consul(2);
    a_package_that_fails_half_way(&lab);
    lab.run(&["up", "--yes"]).expect(0);
    let state = |host| {
        lab.sh(host, "sha256sum /etc/docker/daemon.json; docker info --format '{{.ClusterStore}} {{.Labels}}'")
    };
    let pid = |host| lab.sh(host, "systemctl show -p MainPID docker");
    let (good, pids) = ([state(1), state(2)], [pid(1), pid(2)]);

    // An option that the engine refuses: the first host is brought back, the second is never reached.
    let refused = with_options(&lab, "refused.yaml", "{no-such-option: true}");
    let ran = lab.run_with(&refused, &["up", "--yes"]).expect(1);
    assert!(
        ran.err
            .contains("directives don't match any configuration option: no-such-option"),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains(&format!("{} is back to what worked before.", lab.host(1))),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains(&format!("{}: not done", lab.host(2))),
        "{}",
        ran.err
    );
    assert_eq!([state(1), state(2)], good);
    assert_eq!(pid(2), pids[1], "the second engine was not touched");
    lab.assert_nothing_to_do(&lab.file());

    // A place that cannot be written to: nothing is changed, and the engine goes on. On the second host, so that the first has passed.
    let labels = with_options(&lab, "labels.yaml", "{labels: [a=b]}");
    let only = ["up", "--yes", "--on", &lab.host(2)];
    lab.sh(2, "mount --bind /etc /etc && mount -o remount,ro,bind /etc");
    let ran = lab.run_with(&labels, &only).expect(1);
    lab.sh(2, "umount /etc");
    assert!(ran.err.contains("Read-only file system"), "{}", ran.err);
    // No room.
    lab.sh(2, "cp -a /etc/docker /root/docker && mount -t tmpfs -o size=32k tmpfs /etc/docker && cp -a /root/docker/. /etc/docker/; dd if=/dev/zero of=/etc/docker/fill bs=1k 2>/dev/null; true");
    let ran = lab.run_with(&labels, &only).expect(1);
    assert!(ran.err.contains("No space left on device"), "{}", ran.err);
    assert_eq!(
        lab.sh(2, "find /etc/docker -name '.docker-cluster.*'"),
        "",
        "no half-written file"
    );
    lab.sh(2, "umount /etc/docker");
    assert_eq!(state(2), good[1]);
    assert_eq!(pid(2), pids[1]);
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_port_that_is_taken_and_many_laptops() {
    let lab = Lab::up("taken", &["--hosts", "2", "--os", "debian-11"]);
    lab.run(&["up", "--yes"]).expect(0);
    // A port of the store that somebody took while it was down.
    // Who takes it listens there: connections that the store had may still be on their way out, with the same number.
    lab.sh(2, "systemctl stop docker-cluster-consul; address=$(hostname -I | tr ' ' '\\n' | grep ^10.213); systemd-run -q --unit taker perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Listen => 1, ReuseAddr => 1, LocalAddr => $ARGV[0], LocalPort => 8301) or die $!; sleep 600' $address; for i in $(seq 100); do grep -q ':206D 00000000:0000 0A ' /proc/net/tcp && exit; sleep 0.2; done; exit 1");
    let ran = lab.run(&["up", "--yes"]).expect(1);
    assert!(ran.err.contains("address already in use"), "{}", ran.err);
    assert!(
        ran.err
            .contains(&format!("{} is back to what worked before.", lab.host(2))),
        "{}",
        ran.err
    );
    lab.sh(2, "systemctl stop taker");
    lab.run(&["up", "--yes"]).expect(0);
    lab.assert_clean(2);
    one_of_many_gets_the_lock(&lab);
}

/// Packages that are unpacked and cannot be configured.
fn a_package_that_fails_half_way(lab: &Lab) {
    let packages = |host| {
        lab.sh(
            host,
            "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' | sort",
        )
    };
    let before = packages(1);
    lab.sh(1, "mv /usr/bin/dpkg /usr/bin/dpkg.real && printf '#!/bin/sh\\ncase \" $* \" in *\" --configure \"*) echo dpkg: no strength left >&2; exit 1;; esac\\nexec /usr/bin/dpkg.real \"$@\"\\n' > /usr/bin/dpkg && chmod 755 /usr/bin/dpkg");
    let ran = lab.run(&["up", "--yes"]).expect(1);
    assert!(
        ran.err.contains("no strength left")
            && ran.err.contains("install Consul from the packages"),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains(&format!("{} is back to what worked before.", lab.host(1))),
        "{}",
        ran.err
    );
    assert_same(&before, &packages(1));
    assert!(
        lab.sh(1, "docker info --format '{{.ServerVersion}}'")
            .contains("20.10"),
        "the engine goes on"
    );
    lab.sh(1, "mv /usr/bin/dpkg.real /usr/bin/dpkg");
}

/// Many at the same instant: one gets the cluster, the others are told who has it, and one that waits gets it afterwards.
fn one_of_many_gets_the_lock(lab: &Lab) {
    let runtime = tempfile::tempdir().unwrap();
    lab.sh(2, "systemctl stop docker.socket docker");
    // Another look has asked the engine's program for its version, and not yet heard of its end: no engine that runs.
    lab.sh(2, "systemd-run -q --unit looked perl -e 'fork or exec qw(dockerd --version); sleep 600'; for i in $(seq 100); do grep -qs '^State:.Z' $(grep -lsx dockerd /proc/[0-9]*/comm | sed 's/comm$/status/') /dev/null && exit; sleep 0.2; done; exit 1");
    // Connections first: what is raced for is the lock.
    let output = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
        .args(["-f", lab.file().to_str().unwrap(), "plan"])
        .env("XDG_RUNTIME_DIR", runtime.path())
        .output();
    assert!(output.unwrap().status.success());
    let mut runs: Vec<Stepping> = (0..6)
        .map(|_| Stepping::start(lab, runtime.path(), &["up"]))
        .collect();
    let mut questions: Vec<bool> = Vec::new();
    std::thread::scope(|scope| {
        let each: Vec<_> = runs
            .iter_mut()
            .map(|run| scope.spawn(|| run.question().is_some()))
            .collect();
        questions = each.into_iter().map(|one| one.join().unwrap()).collect();
    });
    assert_eq!(
        questions.iter().filter(|asked| **asked).count(),
        1,
        "exactly one holds the cluster: {questions:?}"
    );
    let winner = questions.iter().position(|asked| *asked).unwrap();
    let mut holder = None;
    for (at, run) in runs.into_iter().enumerate() {
        if at == winner {
            holder = Some(run);
            continue;
        }
        let (code, said) = run.end();
        assert_eq!(code, 5, "{said}");
        assert!(
            said.contains("another run holds the cluster: ") && said.contains("with `up`"),
            "{said}"
        );
    }
    // One that waits gets it as soon as the holder is dead.
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
        .args([
            "-f",
            lab.file().to_str().unwrap(),
            "up",
            "--yes",
            "--lock-wait",
            "2m",
        ])
        .env("XDG_RUNTIME_DIR", runtime.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Killed when the other is known to wait: how long a run takes to get there is the machine's.
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let mut said = String::new();
    let waits = lines.by_ref().map_while(Result::ok).any(|line| {
        said += &line;
        line.contains("waiting for it")
    });
    assert!(waits, "{said}");
    holder.unwrap().kill();
    said.extend(lines.map_while(Result::ok));
    assert_eq!(waiting.wait().unwrap().code(), Some(0), "{said}");
    assert!(
        lab.sh(2, "systemctl is-active docker")
            .starts_with("active")
    );
}

/// Every secret of a run, looked for wherever it must not be: command lines and environments sampled during the run, logs at every
/// level, what the run printed, journals, files that others can read.
#[test]
#[ignore = "needs a Docker engine"]
fn secrets_stay_secret() {
    let lab = Lab::up("secret", &["--hosts", "2", "--os", "debian-11"]);
    let home = tempfile::tempdir().unwrap();
    // Put in place when it is whole: it is stopped at any moment.
    for host in 1..=2 {
        lab.sh(host, "systemd-run -q --unit sampler sh -c ': > /run/sampled; while :; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr \"\\000\" \"\\n\" | sort -u > /run/s.new; sort -u -o /run/s.all /run/s.new /run/sampled && mv /run/s.all /run/sampled; sleep 0.1; done'");
    }
    let done = AtomicBool::new(false);
    let (output, sampled) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample_here(&done));
        let output = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
            .args([
                "-f",
                lab.file().to_str().unwrap(),
                "-vv",
                "--output",
                "json",
                "up",
                "--yes",
            ])
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env_remove("XDG_STATE_HOME")
            .output()
            .unwrap();
        done.store(true, Ordering::Relaxed);
        (output, sampler.join().unwrap())
    });
    let mut seen = format!(
        "{sampled}{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{seen}");
    assert!(
        sampled.contains("docker-cluster"),
        "the sampler saw the run"
    );
    let logs = home.path().join(".local/state/docker-cluster/log");
    for log in std::fs::read_dir(logs).unwrap() {
        seen.push_str(&std::fs::read_to_string(log.unwrap().path()).unwrap());
    }
    for host in 1..=2 {
        lab.sh(host, "systemctl stop sampler");
        let sampled = lab.sh(host, "cat /run/sampled");
        assert!(
            sampled.contains("consul"),
            "the sampler saw the store start"
        );
        seen.push_str(&sampled);
        seen.push_str(&lab.sh(
            host,
            "journalctl -b -q --no-pager; cat /var/log/*.log 2>/dev/null; true",
        ));
        // What is no text is no secret of ours.
        let readable = "find /etc /var/lib /usr/local /tmp /home -xdev -type f -perm /004 -size -200k ! -path '/var/lib/docker/*' ! -path '/var/lib/dpkg/*' ! -path '/var/lib/apt/*' -exec cat {} + 2>/dev/null | tr -cd '[:print:]\n'";
        seen.push_str(&lab.sh(host, readable));
    }
    let secrets = secrets(&lab);
    assert!(
        secrets.len() >= 8,
        "CA key, gossip key, three tokens, keys of agents and engines"
    );
    for secret in secrets {
        assert!(
            !seen.contains(&secret),
            "a secret is where it must not be: it begins with {}",
            &secret[..6]
        );
    }
    Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
        .arg("disconnect")
        .env("XDG_RUNTIME_DIR", home.path())
        .status()
        .unwrap();
}

/// The secrets of a cluster, read on its hosts: tokens whole, keys by a line from their middle.
fn secrets(lab: &Lab) -> Vec<String> {
    let mut all = Vec::new();
    let bundle: serde_json::Value =
        serde_json::from_str(&lab.sh(1, "cat /var/lib/docker-cluster/secrets/store.json")).unwrap();
    for (key, value) in bundle.as_object().unwrap() {
        match (key.as_str(), value.as_str().unwrap()) {
            ("ca_cert", _) => {}
            (_, text) if text.contains("PRIVATE KEY") => {
                all.push(text.lines().nth(1).unwrap().to_owned())
            }
            (_, text) => all.push(text.to_owned()),
        }
    }
    for host in 1..=2 {
        for key in ["agent-key.pem", "engine-key.pem"] {
            let text = lab.sh(host, &format!("sed -n 2p /etc/docker-cluster/consul/{key}"));
            all.push(text.trim().to_owned());
        }
    }
    all
}

/// Command lines and environments of this machine's processes, until somebody says that it is enough.
fn sample_here(done: &AtomicBool) -> String {
    let mut seen = std::collections::BTreeSet::new();
    while !done.load(Ordering::Relaxed) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            for file in ["cmdline", "environ"] {
                let mut bytes = Vec::new();
                if let Ok(mut file) = std::fs::File::open(process.path().join(file)) {
                    let _ = file.read_to_end(&mut bytes);
                }
                seen.insert(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    seen.into_iter().collect()
}

/// A host that somebody else owns by now: what it says cannot hang the tool, fill its memory, reach the terminal or the other host.
#[test]
#[ignore = "needs a Docker engine"]
fn a_hostile_host_harms_nobody() {
    let lab = Lab::up("evil", &["--hosts", "2", "--os", "debian-11", "--bare"]);
    let lie = r#"printf '@begin\n|1\n@os-release\n|ID=debian\n|VERSION_ID=\"11\"\n|PRETTY_NAME=\"\033]0;owned\007\033[31mDebian\"\n@hostname\n|$(reboot)\033[2J\n@addresses\n|2: eth0 inet 192.0.2.11/24\n@end\n|1\n'"#;
    // As the login shell, which then runs nothing of ours, and as the first program that ours runs, within its frame.
    let as_shell = ("/evil", "usermod -s /evil root");
    let as_program = ("/usr/local/sbin/timeout", "usermod -s /bin/bash root");
    let nothing = "runs no commands";
    for (evil, words, (path, prepare)) in [
        ("exec cat /dev/zero", "wrote more than", as_shell),
        ("head -c 3000000 /dev/urandom", nothing, as_shell),
        (
            "printf '\\033[2J\\033]0;owned\\007'; exit 0",
            nothing,
            as_shell,
        ),
        ("exit 3", nothing, as_shell),
        (lie, nothing, as_shell),
        ("exec cat /dev/zero", "wrote more than", as_program),
        ("exec yes '\u{1b}[31m@begin'", "wrote more than", as_program),
        (
            "head -c 3000000 /dev/urandom",
            "is not what the facts probe prints",
            as_program,
        ),
        (
            "printf '\\033[2J\\033]0;owned\\007'; exit 0",
            "is not what the facts probe prints",
            as_program,
        ),
        ("exit 3", "failed with exit status 3", as_program),
        (lie, "is on none of its interfaces", as_program),
    ] {
        let text =
            format!("cat > {path} <<'END'\n#!/bin/sh\n{evil}\nEND\nchmod 755 {path}; {prepare}");
        lab.sh(1, &text);
        let began = Instant::now();
        // Connections of its own: one from before would have the shell of before.
        let runtime = tempfile::tempdir().unwrap();
        let ran: Ran = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
            .args(["-f", lab.file().to_str().unwrap(), "plan"])
            .env("XDG_RUNTIME_DIR", runtime.path())
            .output()
            .unwrap()
            .into();
        let text = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, 1, "{path}: {evil}\n{text}");
        assert!(text.contains(words), "{path}: {evil}\n{text}");
        assert!(began.elapsed() < Duration::from_secs(60), "{path}: {evil}");
        let control = text
            .chars()
            .find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(
            control, None,
            "a control code of the host got through: {text:?}"
        );
        assert!(
            !text.contains(&format!("{} cannot be asked", lab.host(2))),
            "the other host is served: {text}"
        );
    }
    lab.sh(1, "rm /usr/local/sbin/timeout; usermod -s /bin/bash root");
}
