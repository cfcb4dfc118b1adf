//! Ways into a host that are not what one would like, as real hosts have them: one host, and a user for each.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::harness::{Lab, Ran};

/// A lab of one host, whose inventories differ in who logs in.
struct Ways {
    lab: Lab,
}

impl Ways {
    /// An inventory in which this user logs in, with more of `ssh:`.
    fn of(&self, user: &str, more: &str) -> PathBuf {
        let name = format!(
            "{user}{}.yaml",
            more.replace(|c: char| !c.is_ascii_alphanumeric(), "")
        );
        self.lab.variant(&name, |text| {
            text.replace("user: ops", &format!("user: {user}{more}"))
        })
    }

    /// A user with the lab's key.
    fn user(&self, name: &str, shell: &str) {
        let home = format!("/home/{name}/.ssh");
        self.lab.sh(
            1,
            &format!(
                "useradd -m -s {shell} -p '*' {name}; mkdir -p -m 700 {home}; cp /root/.ssh/authorized_keys {home}/; \
                 chown -R {name}: {home}"
            ),
        );
    }

    fn sudoers(&self, text: &str) {
        self.lab
            .sh(1, &format!("printf '{text}\\n' >> /etc/sudoers.d/ways; chmod 440 /etc/sudoers.d/ways; visudo -c -q"));
    }

    fn plan(&self, file: &Path) -> Ran {
        self.lab.run_with(file, &["plan"])
    }

    /// It is refused before anything is done, in these words.
    fn refused(&self, file: &Path, words: &[&str]) {
        let ran = self.plan(file).expect(1);
        for word in words {
            assert!(ran.err.contains(word), "{word:?} is missing: {}", ran.err);
        }
    }

    /// Lines of a shell of this machine that has been pointed at the host.
    fn pointed(&self, file: &Path, arguments: &str, lines: &str) -> Ran {
        let script = format!(
            "set -e; exports=$('{}' -f '{}' env {arguments}); eval \"$exports\"; {lines}",
            env!("CARGO_BIN_EXE_docker-cluster"),
            file.display()
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .env("XDG_STATE_HOME", self.lab.file().parent().unwrap());
        // Its connections are the lab's, as those of every other command.
        for (name, value) in self.lab.command().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().unwrap().into()
    }
}

#[test]
#[ignore = "needs a Docker engine"]
fn of_every_kind() {
    let lab = Lab::up("ways", &["--hosts", "1", "--os", "debian-13"]);
    let ways = Ways { lab };
    let lab = &ways.lab;
    lab.sh(
        1,
        "apt-get -q update && apt-get -q install -y --no-install-recommends tcsh",
    );
    // A host as somebody hardened and decorated it: what is said at login, another engine in its environment and in root's context, and
    // few sessions. The engine's own port of nowhere: whoever asks it fails.
    lab.sh(
        1,
        "printf 'printf noise; echo more >&2; trap \"echo bye\" EXIT\\n' > /tmp/noise; \
         cat /tmp/noise /root/.bashrc > /tmp/bashrc; mv /tmp/bashrc /root/.bashrc; \
         printf 'DOCKER_HOST=tcp://127.0.0.1:9\\nDOCKER_CONTEXT=elsewhere\\nDOCKER_TLS_VERIFY=1\\nPERL5OPT=-Mnothing\\n' > /etc/environment; \
         docker context create elsewhere --docker host=tcp://127.0.0.1:9 >/dev/null; docker context use elsewhere; \
         printf 'MaxSessions 2\\n' > /etc/ssh/sshd_config.d/00-ways.conf; systemctl reload ssh",
    );
    let root = ways.of("root", "");
    let ops = lab.file();

    // A run that is at its first step, and then sleeps.
    let mut asleep = lab
        .command()
        .args(["-f", root.to_str().unwrap(), "up", "--yes", "--step"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // By its name there: to try the lock is to have it for a moment, in which the run would not get it.
    lab.eventually("the first run holds the host", || {
        lab.ask(1, "test -s /run/docker-cluster.lock").map(drop)
    });
    // Another inventory, in which the cluster has another name, and another user.
    let other = lab.variant("other.yaml", |text| {
        text.replacen("cluster: ", "cluster: other-", 1)
    });
    let ran = lab.run_with(&other, &["up", "--yes"]).expect(5);
    assert!(
        ran.err.contains("another run holds the cluster") && ran.err.contains("of the cluster"),
        "{}",
        ran.err
    );
    let signal = |signal: &str, id: u32| {
        assert!(
            Command::new("kill")
                .args([signal, &id.to_string()])
                .status()
                .unwrap()
                .success()
        );
    };
    signal("-STOP", asleep.id());

    // Meanwhile: who gets in, and who is told what.
    ways.user("csh", "/bin/tcsh");
    ways.user("cloud", "/bin/bash");
    ways.user("gone", "/usr/sbin/nologin");
    ways.user("seated", "/bin/bash");
    ways.user("docker-only", "/bin/bash");
    ways.sudoers("csh ALL=(ALL) NOPASSWD:ALL");
    ways.sudoers("seated ALL=(ALL) NOPASSWD:ALL\\nDefaults:seated requiretty");
    lab.sh(
        1,
        "printf 'echo noise\\nset echo\\n' > /home/csh/.cshrc; usermod -aG docker docker-only; \
         cat /tmp/noise >> /home/docker-only/.profile; cat /tmp/noise /home/docker-only/.bashrc > /tmp/b; cp /tmp/b /home/docker-only/.bashrc; \
         sed -i 's/^/command=\"echo Please login as the user admin; exit 142\" /' /home/cloud/.ssh/authorized_keys",
    );
    let csh = ways.of("csh", "");
    let ran = ways.plan(&csh).expect(0);
    assert!(ran.out.contains("  ~ "), "{}", ran.out);
    let said = lab
        .run_with(
            &csh,
            &[
                "ssh",
                &lab.host(1),
                "--",
                "printf",
                "<%s>",
                "two\nlines",
                "it's !!",
            ],
        )
        .expect(0);
    assert!(said.out.contains("<two\nlines><it's !!>"), "{}", said.out);
    ways.refused(
        &ways.of("cloud", ""),
        &[
            "runs no commands",
            "Please login as the user admin",
            "set `user:`",
        ],
    );
    ways.refused(
        &ways.of("gone", ""),
        &["This account is currently not available", "set `user:`"],
    );
    ways.refused(
        &ways.of("seated", ""),
        &[
            "seated@127.0.0.1 is not root and has no passwordless sudo",
            "`Defaults:USER !requiretty`",
        ],
    );
    let group = ways.of("docker-only", "");
    ways.refused(
        &group,
        &[
            "has no passwordless sudo",
            "Docker's client works for this user all the same",
        ],
    );
    ways.refused(
        &ways.of("ops", ", become: root"),
        &["is not root", "the inventory says `become: root`"],
    );
    // Root that is to go through sudo does, and without sudo does not get past it.
    let through = ways.of("root", ", become: sudo");
    ways.plan(&through).expect(0);
    lab.sh(1, "mv /usr/bin/sudo /usr/bin/sudo.away");
    ways.refused(&through, &["there is no sudo on the host", "install sudo"]);
    ways.refused(&ops, &["there is no sudo on the host"]);
    lab.sh(1, "mv /usr/bin/sudo.away /usr/bin/sudo");
    // What the plan would do was not done by any of them.
    let untouched = lab.sh(1, "ls -d /var/lib/docker-cluster 2>/dev/null || true");
    assert_eq!(untouched, "");

    // The host has let go by now, and somebody else does all of it, on the host's own engine.
    lab.eventually("the host lets go of the run that sleeps", || {
        lab.ask(1, "flock -n /run/docker-cluster.lock true")
            .map(drop)
    });
    lab.run_with(&root, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&root);
    lab.assert_nothing_to_do(&csh);
    let before = lab.fingerprint(1);
    signal("-CONT", asleep.id());
    let mut stdin = asleep.stdin.take().unwrap();
    // It may have ended by itself already.
    let _ = stdin.write_all(&[b'\n'; 100]);
    let (mut out, mut err) = (String::new(), String::new());
    asleep
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    asleep
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(asleep.wait().unwrap().code(), Some(1), "{out}{err}");
    assert!(
        err.contains("the lock of") && err.contains("is lost"),
        "{err}"
    );
    assert!(!err.contains("✓"), "not one step was done: {err}");
    // Its own runner is gone, and nothing is new or another.
    let after = lab.fingerprint(1);
    let changed: Vec<&str> = after
        .lines()
        .filter(|line| !before.lines().any(|there| there == *line))
        .collect();
    assert_eq!(changed, [""; 0], "what the other has done is as it was");
    lab.assert_nothing_to_do(&root);

    // A run of version 0.1 holds a lock that is called after its cluster.
    lab.sh(
        1,
        "systemd-run -q --unit old-lock flock /run/docker-cluster-some-name.lock sleep 60",
    );
    lab.eventually("an old version holds its lock", || {
        lab.ask(1, "! flock -n /run/docker-cluster-some-name.lock true")
            .map(drop)
    });
    lab.run_with(&root, &["down", "--yes"]).expect(5);
    lab.sh(1, "systemctl stop old-lock");

    // Docker's client on this machine: through what is printed at login, past what is exported there, with few sessions, as a user who
    // has no sudo at all.
    let ask = "docker info --format '{{.Name}}'; for n in 1 2 3 4; do docker ps -q >/dev/null & done; wait";
    for file in [&root, &csh, &ops, &group, &through] {
        let ran = ways.pointed(file, &lab.host(1), ask).expect(0);
        assert_eq!(
            (ran.out.trim(), ran.err.as_str()),
            (lab.host(1).as_str(), ""),
            "{}",
            file.display()
        );
        // And who is a manager says so without root.
        let ran = ways
            .pointed(file, "--swarm", "docker node ls --format '{{.Hostname}}'")
            .expect(0);
        assert_eq!(ran.out.trim(), lab.host(1), "{}", file.display());
    }
    let ran = ways.pointed(&ways.of("ops", ", become: root"), &lab.host(1), "docker ps");
    assert!(
        ran.code != 0 && ran.err.contains("`become: root`"),
        "{}",
        ran.err
    );
    lab.run_with(&root, &["down", "--yes"]).expect(0);
    let ran = ways.pointed(&root, "--swarm", "true").expect(1);
    assert!(
        ran.err.contains("no manager of a swarm answers"),
        "{}",
        ran.err
    );
}
