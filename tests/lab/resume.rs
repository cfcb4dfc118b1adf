//! A run that is cut off at every step boundary there is, in three ways, and taken up by the next run each time.
//!
//! The seam is one that people use: `--step` asks before every step, and nothing is under way while it asks.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::harness::{Lab, docker};

/// How long the next question of a run may take: a step of apt is the longest.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(180);

/// More boundaries than any plan for one host has: a chain that is longer does not get anywhere.
const MOST_BOUNDARIES: usize = 60;

/// Steps that leave nothing on a host.
const IN_MEMORY: &[&str] = &["make the store's CA", "read the store's CA"];

/// Whether the step of a question leaves nothing behind: what it brings goes with the run, or it only waits. A run that is
/// cut off after such a step has not got any further, and a slow host would begin every run with one for ever.
fn leaves_nothing(question: &str) -> bool {
    question.contains(": wait until ") || IN_MEMORY.iter().any(|step| question.contains(step))
}

/// A run that asks before every step.
pub struct Stepping {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    said: String,
}

impl Stepping {
    /// Starts it, with a folder of its own for SSH connections.
    pub fn start(lab: &Lab, runtime: &std::path::Path, arguments: &[&str]) -> Self {
        Self::start_with(&lab.file(), runtime, arguments)
    }

    /// The same with another inventory.
    pub fn start_with(
        file: &std::path::Path,
        runtime: &std::path::Path,
        arguments: &[&str],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_docker-cluster"))
            .args(["-f", file.to_str().unwrap()])
            .args(arguments)
            .args(["--step", "--yes"])
            .env("XDG_RUNTIME_DIR", runtime)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            said: String::new(),
        }
    }

    /// Waits for the next question and returns it; none if the run ends without one.
    pub fn question(&mut self) -> Option<String> {
        loop {
            match self.lines.recv_timeout(QUESTION_TIMEOUT) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if line.starts_with("? ") {
                        return Some(line);
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("no question comes:\n{}", self.said)
                }
            }
        }
    }

    /// Answers the question.
    pub fn go_on(&mut self) {
        // A run that has just ended takes no answer.
        let _ = self.stdin.as_mut().unwrap().write_all(b"\n");
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends its input, which stops it, and waits. Returns the exit code and what it said.
    pub fn end(mut self) -> (i32, String) {
        drop(self.stdin.take());
        while self.question().is_some() {}
        (self.child.wait().unwrap().code().unwrap_or(-1), self.said)
    }
}

/// What is done to a run at a boundary.
enum Fault {
    Kill,
    Disconnect,
    PowerOff,
}

/// Cuts the connections of a run: kills the ssh masters whose sockets are in its folder. `docker-cluster disconnect` would not do, since
/// a master that is asked to end lets the sessions end that it has.
fn cut(runtime: &std::path::Path) {
    let sockets = format!("ssh .*-S {}/", runtime.display());
    let found = Command::new("pgrep")
        .args(["-f", &sockets])
        .output()
        .unwrap();
    let masters: Vec<String> = String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(masters.len(), 1, "one host has one connection: {masters:?}");
    assert!(
        Command::new("kill")
            .arg("-9")
            .args(&masters)
            .status()
            .unwrap()
            .success()
    );
}

/// Walks all boundaries: every run does one step, and meets the fault before the next.
fn walk(name: &str, fault: &Fault) {
    let lab = Lab::up(name, &["--hosts", "1", "--os", "debian-11"]);
    lab.without_consul(1);
    let runtime = tempfile::tempdir().unwrap();
    let mut boundaries = Vec::new();
    loop {
        assert!(
            boundaries.len() < MOST_BOUNDARIES,
            "it does not get anywhere: {boundaries:#?}"
        );
        let mut run = Stepping::start(&lab, runtime.path(), &["up", "--lock-wait", "60s"]);
        let Some(first) = run.question() else {
            let (code, said) = run.end();
            assert_eq!(code, 0, "a run with nothing to do\n{said}");
            break;
        };
        let mut done = first;
        run.go_on();
        let mut next = run.question();
        while let Some(question) = next.take_if(|_| leaves_nothing(&done)) {
            done = question;
            run.go_on();
            next = run.question();
        }
        let Some(next) = next else {
            let (code, said) = run.end();
            assert_eq!(code, 0, "the run with the last step, {done}\n{said}");
            boundaries.push(done);
            continue;
        };
        boundaries.push(next);
        match fault {
            Fault::Kill => run.kill(),
            Fault::Disconnect => {
                cut(runtime.path());
                run.go_on();
                let (code, said) = run.end();
                assert_eq!(code, 1, "{said}");
                // The step that met the cut fails by it; one that needs no host is done, and the end of the input stops the run.
                let in_memory = IN_MEMORY
                    .iter()
                    .any(|why| boundaries.last().unwrap().contains(why));
                assert!(
                    said.contains("the connection was lost") || in_memory,
                    "{said}"
                );
            }
            Fault::PowerOff => {
                docker(&["kill", &lab.host(1)]);
                run.go_on();
                let (code, said) = run.end();
                assert_eq!(code, 1, "{said}");
                docker(&["start", &lab.host(1)]);
                // All of it: what a boot has yet to start, a run would start, and that is gone with the
                // next power. On a slow machine every run began with such a step, for ever.
                lab.booted(1);
            }
        }
        assert_eq!(
            lab.sh(
                1,
                "find /etc /usr/local /var/lib/docker-cluster -name '.docker-cluster.*'"
            ),
            "",
            "no half-written file"
        );
    }
    assert!(boundaries.len() > 15, "{boundaries:#?}");
    lab.eventually("no process of a run is left", || {
        match lab.ask(
            1,
            "pgrep -af '[d]ial-stdio|[d]ocker-cluster-.*[.]lock|[p]ut-file|[s]h -s --' || true",
        )? {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        }
    });
    let containers = lab.sh(1, "docker ps -a --format '{{.Names}}'");
    assert_eq!(
        containers.trim(),
        format!("dc-keeper-{0}-{0}-1", lab.name()),
        "no forgotten container"
    );
    assert_eq!(
        lab.sh(1, "docker info --format '{{.ClusterStore}}'").trim(),
        "consul://127.0.0.1:8501"
    );
    lab.assert_nothing_to_do(&lab.file());
}

#[test]
#[ignore = "needs a Docker engine"]
fn killed_at_every_boundary() {
    walk("kill", &Fault::Kill);
}

#[test]
#[ignore = "needs a Docker engine"]
fn disconnected_at_every_boundary() {
    walk("lost", &Fault::Disconnect);
}

#[test]
#[ignore = "needs a Docker engine"]
fn powered_off_at_every_boundary() {
    walk("power", &Fault::PowerOff);
}

/// A new CA, from a run that is killed after its first step, one that is killed after its second, and so on: each begins where the
/// facts say that the ones before it stopped. Two hosts, because each must trust what the other shows.
#[test]
#[ignore = "needs a Docker engine"]
fn a_rotation_is_killed_at_every_boundary() {
    let lab = Lab::up("rotate", &["--hosts", "2", "--os", "debian-11"]);
    lab.run(&["up", "--yes"]).expect(0);
    let ca = "/etc/docker-cluster/consul/ca.pem";
    let old = lab.sh(1, &format!("cat {ca}"));
    let runtime = tempfile::tempdir().unwrap();
    let mut refused = 0;
    'runs: for steps in 1.. {
        assert!(steps < MOST_BOUNDARIES, "it does not get anywhere");
        let mut run = Stepping::start(
            &lab,
            runtime.path(),
            &["store", "rotate-ca", "--lock-wait", "60s"],
        );
        for _ in 0..steps {
            if run.question().is_none() {
                let (code, said) = run.end();
                assert_eq!(code, 0, "{said}");
                break 'runs;
            }
            run.go_on();
        }
        if run.question().is_none() {
            let (code, said) = run.end();
            assert_eq!(code, 0, "{said}");
            break;
        }
        run.kill();
        // Whatever the boundary: the store answers everywhere, and `up` does not make half of it the whole.
        for host in 1..=2 {
            lab.eventually("the store answers", || {
                lab.ask(
                    host,
                    "/usr/local/lib/docker-cluster/store kv get -keys docker/",
                )
                .map(|_| ())
            });
        }
        if lab
            .sh(1, &format!("cat {ca}"))
            .matches("BEGIN CERTIFICATE")
            .count()
            > 1
        {
            let up = lab.run(&["up", "--yes"]);
            assert!(
                up.code == 1 && up.out.contains("store rotate-ca"),
                "{}{}",
                up.out,
                up.err
            );
            refused += 1;
        }
    }
    assert!(refused > 3, "{refused}");
    for host in 1..=2 {
        let new = lab.sh(host, &format!("cat {ca}"));
        assert!(
            new.matches("BEGIN CERTIFICATE").count() == 1 && new != old,
            "{new}"
        );
    }
    lab.run(&["verify"]).expect(0);
    lab.assert_nothing_to_do(&lab.file());
}
