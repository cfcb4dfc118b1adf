//! A lab for a test: made here, removed when dropped, also after a panic.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up on it. Nothing here takes more than two minutes on two cores.
const PATIENCE: Duration = Duration::from_secs(240);

/// A lab.
pub struct Lab {
    name: String,
    folder: tempfile::TempDir,
    made: Instant,
    /// What the known hosts of whoever runs the tests said of its hosts when it was made.
    known: String,
    /// What took long, for those who want a story to take less.
    slow: Mutex<Vec<String>>,
}

/// What takes at least this long is told of, at the end of a story.
const SLOW: Duration = Duration::from_secs(15);

/// What a command of docker-cluster gave back.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Fails the test, with everything that was said, unless the exit code is this.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code\n--- stdout\n{}\n--- stderr\n{}",
            self.out, self.err
        );
        self
    }

    /// How often a run at the highest level of its log sent bytes once for all hosts, and how often again for a host that could not
    /// have them from another.
    pub fn passed_on(&self) -> (usize, usize) {
        let count = |words| self.err.matches(words).count();
        (
            count("sent over SSH once, for all hosts"),
            count("the bytes take the way over SSH"),
        )
    }

    /// The JSON document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Names a tar of standalone Swarm's image, for those who have it: it is in no registry that tests reach.
const SWARM_TAR: &str = "SWARM_TAR";

/// The tar of standalone Swarm's image (`swarm:1.2.9`), if somebody named it; else it is said what is skipped.
pub fn swarm_tar(part: &str) -> Option<PathBuf> {
    let tar = std::env::var_os(SWARM_TAR).map(PathBuf::from);
    if tar.is_none() {
        skipped(&format!(
            "{part} needs the image swarm:1.2.9; name a tar of it (`docker save`) in {SWARM_TAR}"
        ));
    }
    tar
}

/// The same as an inventory names it, with its checksum.
pub fn swarm_image(part: &str) -> Option<String> {
    let tar = swarm_tar(part)?;
    let sum = docker_cluster::checksum::sha256_hex(&std::fs::read(&tar).unwrap());
    Some(format!(
        "tar: {}, sha256: {sum}",
        serde_json::json!(tar.display().to_string())
    ))
}

/// What `verify` said, in few lines: reports of failed tests are cut, and causes come after all pairs in the document.
pub fn shown(document: &Value) -> String {
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let verdicts = list("verdicts").into_iter().map(|verdict| {
        format!(
            "{} {} {}: {} {}",
            verdict["cause"],
            verdict["hosts"],
            verdict["pairs"],
            verdict["what"],
            verdict["observed"]
        )
    });
    let pairs = list("pairs")
        .into_iter()
        .filter(|pair| pair["ok"] != true)
        .map(|pair| format!("{} -> {}: {}", pair["from"], pair["to"], pair["cause"]));
    let notes = list("notes").into_iter().map(|note| note.to_string());
    let all: Vec<String> = verdicts.chain(pairs).chain(notes).collect();
    format!("{}\n{}\n{document}", all.join("\n"), document["states"])
}

/// Says past the capture of a test's output that a part of it did not run.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Docker's client on this machine; it must succeed.
pub fn docker(arguments: &[&str]) -> String {
    let ran: Ran = Command::new("docker")
        .args(arguments)
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, 0, "docker {arguments:?}\n{}{}", ran.out, ran.err);
    ran.out
}

impl Lab {
    /// Makes a lab. Its name holds the process id, so that two runs do not meet.
    pub fn up(name: &str, arguments: &[&str]) -> Self {
        let mut lab = Self {
            name: format!("t{}-{name}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
            made: Instant::now(),
            known: String::new(),
            slow: Mutex::default(),
        };
        let file = lab.file();
        let mut all = vec![
            "lab",
            "up",
            "--name",
            &lab.name,
            "--inventory",
            file.to_str().unwrap(),
        ];
        all.extend(arguments);
        lab.docker_cluster(&all).expect(0);
        lab.known = lab.known();
        lab
    }

    /// The keys of its hosts among the known hosts of whoever runs the tests. A story leaves none there: the next lab has the same
    /// addresses and other keys, and whoever meets them takes its hosts for somebody in between.
    fn known(&self) -> String {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let after = |line: &str, key: &str| {
            let (_, rest) = line.split_once(key)?;
            Some(rest.trim_end_matches('}').to_owned())
        };
        text.lines()
            .filter_map(|line| {
                after(line, " private: ")
                    .or_else(|| Some(format!("[127.0.0.1]:{}", after(line, " port: ")?)))
            })
            .map(|place| {
                // It fails where there is none, and where there are no known hosts at all.
                let found = Command::new("ssh-keygen").args(["-F", &place]).output();
                String::from_utf8_lossy(&found.unwrap().stdout).into_owned()
            })
            .collect()
    }

    /// docker-cluster with its connections in a folder of this lab: `disconnect` closes those of a user, and other tests run at the same
    /// time.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docker-cluster"));
        command
            .env_remove("DOCKER_CLUSTER_FILE")
            .env("XDG_RUNTIME_DIR", self.folder.path());
        command
    }

    fn docker_cluster(&self, arguments: &[&str]) -> Ran {
        self.timed(&arguments.join(" "), || {
            self.command().args(arguments).output().unwrap().into()
        })
    }

    fn timed<T>(&self, what: &str, action: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = action();
        if began.elapsed() >= SLOW {
            let what = what.rsplit_once(".yaml ").map_or(what, |(_, what)| what);
            self.slow
                .lock()
                .unwrap()
                .push(format!("{what} ({} s)", began.elapsed().as_secs()));
        }
        result
    }

    /// The inventory.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("cluster.yaml")
    }

    /// Its name, which is its cluster's and its network's as well.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The smoke-test image.
    pub fn smoke_image(&self) -> String {
        let text = std::fs::read_to_string(self.file()).unwrap();
        text.lines()
            .find_map(|line| line.trim().strip_prefix("image: "))
            .unwrap()
            .to_owned()
    }

    /// The address of a host on the network of the lab, which this machine reaches as well.
    pub fn private(&self, number: usize) -> String {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let address = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("private: "))
            .nth(number - 1);
        address.unwrap().to_owned()
    }

    /// Loads the image of the smoke test on a host.
    pub fn load_smoke_image(&self, host: usize) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let tar = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("tar: "))
            .unwrap();
        let to = format!("{}:/root/smoke.tar", self.host(host));
        docker(&["cp", tar.trim_matches('"'), &to]);
        self.sh(
            host,
            "docker load -q -i /root/smoke.tar && rm /root/smoke.tar",
        );
    }

    /// Name of a host, from 1.
    pub fn host(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// A command of docker-cluster on this lab's inventory.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&self.file(), arguments)
    }

    /// A command of docker-cluster on another inventory.
    pub fn run_with(&self, file: &Path, arguments: &[&str]) -> Ran {
        let mut all = vec!["-f", file.to_str().unwrap()];
        all.extend(arguments);
        self.docker_cluster(&all)
    }

    /// Another inventory, made of this lab's by a change of its text.
    pub fn variant(&self, name: &str, change: impl FnOnce(String) -> String) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, change(std::fs::read_to_string(self.file()).unwrap())).unwrap();
        path
    }

    /// The inventory without its hosts from this number on.
    pub fn first_hosts(&self, count: usize) -> PathBuf {
        let mark = format!("  - name: {}\n", self.host(count + 1));
        self.variant(&format!("first-{count}.yaml"), |text| {
            text.split(&mark).next().unwrap().to_owned()
        })
    }

    /// Runs a shell line on a host, as root, not through docker-cluster; it must succeed.
    pub fn sh(&self, host: usize, line: &str) -> String {
        self.timed(line, || {
            docker(&["exec", &self.host(host), "sh", "-c", line])
        })
    }

    /// Takes Consul off hosts that came with it, for a story in which `up` installs it, and which does not remove it again.
    pub fn without_consul(&self, hosts: usize) {
        for host in 1..=hosts {
            self.sh(
                host,
                "DEBIAN_FRONTEND=noninteractive apt-get -q purge -y consul",
            );
        }
    }

    /// Runs a shell line that may fail, for a question that is asked until the answer is yes.
    pub fn ask(&self, host: usize, line: &str) -> Result<String, String> {
        let ran: Ran = Command::new("docker")
            .args(["exec", &self.host(host), "sh", "-c", line])
            .output()
            .unwrap()
            .into();
        if ran.code == 0 {
            Ok(ran.out)
        } else {
            Err(ran.out + &ran.err)
        }
    }

    /// Asks until the answer is yes. What the question cannot find out yet is a no.
    pub fn eventually(&self, what: &str, mut question: impl FnMut() -> Result<(), String>) {
        let end = Instant::now() + PATIENCE;
        self.timed(what, || {
            loop {
                match question() {
                    Ok(()) => return,
                    Err(last) => assert!(Instant::now() < end, "waited for: {what}\nlast: {last}"),
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        });
    }

    /// Waits until a host that was started again has booted, all of it: what a boot has yet to start
    /// is missing for a `plan` that is to have nothing to do, and that the engine answers does not
    /// say that ssh does.
    pub fn booted(&self, host: usize) {
        let booted =
            "case $(systemctl is-system-running) in running | degraded) ;; *) exit 1 ;; esac";
        self.eventually("the host is back", || self.ask(host, booted).map(drop));
    }

    /// Everything of a host that `plan` must not touch: configuration with checksums, the engine's files, and processes with their
    /// start times. Left out: the processes of the look itself and of its SSH session, and the store's helper, which sleeps anew
    /// every few seconds.
    pub fn fingerprint(&self, host: usize) -> String {
        self.sh(
            host,
            "find /etc /usr/local /root /home -type f -exec sha256sum {} + | sort; \
             find /var/lib/docker /var/lib/docker-cluster* -maxdepth 3 2>/dev/null | sort; \
             for p in /proc/[0-9]*; do \
               name=$(cat $p/comm 2>/dev/null) || continue; \
               case $name in sshd|sh|find|sort|cat|sha256sum|cut|sftp-server|systemd-logind|'(sd-pam)') continue;; esac; \
               case $(cat $p/cgroup 2>/dev/null) in *user.slice*|*docker-cluster-reconcile*) continue;; esac; \
               echo $name $(cut -d' ' -f22 $p/stat); done | sort",
        )
    }

    /// The matrix must be green, with every ordered pair in it, and nothing left of the look.
    pub fn assert_green(&self, file: &Path, hosts: usize) {
        self.assert_reachable(file, hosts);
        self.assert_clean(hosts);
    }

    /// No probe is left, after a command that has proved with its exit code that every pair reaches.
    pub fn assert_clean(&self, hosts: usize) {
        for host in 1..=hosts {
            let left = self.sh(host, "docker ps -aq --filter label=docker-cluster.probe");
            assert_eq!(left, "", "probe containers are left on host {host}");
        }
    }

    /// The same where somebody else may be looking too, and have probes.
    pub fn assert_reachable(&self, file: &Path, hosts: usize) {
        let ran = self
            .run_with(file, &["verify", "--output", "json"])
            .expect(0);
        let document = ran.json();
        let pairs = document["pairs"].as_array().unwrap();
        assert_eq!(pairs.len(), hosts * (hosts - 1));
        for pair in pairs {
            assert_eq!(pair["ok"], true, "{pair}");
            assert!(pair["latency_ms"].as_f64().unwrap() > 0.0, "{pair}");
            assert!(pair["cause"].is_null(), "{pair}");
        }
    }

    /// A plan with nothing in it.
    pub fn assert_nothing_to_do(&self, file: &Path) {
        let ran = self
            .run_with(file, &["plan", "--exit-code", "--output", "json"])
            .expect(0);
        assert_eq!(
            ran.json()["steps"].as_array().unwrap().len(),
            0,
            "{}",
            ran.out
        );
    }
}

impl Lab {
    /// What the engines and stores of a lab complained of, for a test that failed where nobody can look any more.
    #[expect(
        clippy::print_stderr,
        reason = "what a test prints is kept and shown if it fails"
    )]
    fn last_words(&self) {
        let hosts = docker(&[
            "ps",
            "-a",
            "--format",
            "{{.Names}}",
            "--filter",
            &format!("name=^{}-[0-9]+$", self.name),
        ]);
        let journal = "journalctl -q -o short-precise --no-hostname --since -90s -u docker -u 'docker-cluster-*' | \
            grep -E 'level=(error|fatal)|WARN|ERR|Started|Stopp' | tail -n 15 | cut -c 1-250";
        for host in hosts.lines() {
            let ran: Ran = Command::new("docker")
                .args(["exec", host, "sh", "-c", journal])
                .output()
                .unwrap()
                .into();
            eprintln!("--- {host}\n{}{}", ran.out, ran.err);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Past the capture of the test's own output: what a story costs is always shown.
        let slow: String = self
            .slow
            .lock()
            .map(|slow| slow.iter().map(|what| format!(", {what}")).collect())
            .unwrap_or_default();
        let age = self.made.elapsed().as_secs();
        let _ = writeln!(
            std::io::stderr(),
            "lab {} was there for {age} s{slow}",
            self.name
        );
        if std::thread::panicking() {
            self.last_words();
        }
        let known = (!std::thread::panicking()).then(|| self.known());
        let ran = self.docker_cluster(&["lab", "down", "--name", &self.name]);
        if !std::thread::panicking() {
            assert_eq!(
                known.as_ref(),
                Some(&self.known),
                "a story adds no host to the known hosts of whoever runs it"
            );
            assert_eq!(ran.code, 0, "{}", ran.err);
            let left = docker(&[
                "ps",
                "-aq",
                "--filter",
                &format!("label=docker-cluster.lab={}", self.name),
            ]);
            assert_eq!(left, "", "lab down leaves nothing");
            assert!(
                !self.file().exists(),
                "lab down removes the inventory that it wrote"
            );
        }
    }
}
