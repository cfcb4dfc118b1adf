//! Compose: a project on each of two hosts of a cluster, whose services reach each other by name over the cluster's network.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Lab, Ran, docker, skipped};

/// A Compose, as a person has it.
struct Compose {
    program: PathBuf,
    /// What it says of itself, such as `1.29.2`.
    version: String,
}

impl Compose {
    /// The program, if it runs here.
    fn at(program: &Path) -> Option<Self> {
        let version = Command::new(program)
            .args(["version", "--short"])
            .output()
            .ok()
            .filter(|ran| ran.status.success())?;
        Some(Self {
            program: program.to_owned(),
            version: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
        })
    }

    /// The first one, in Python. It reaches an engine over ssh only with Python's paramiko, though it runs the system's ssh then.
    fn one() -> Result<Self, String> {
        let found = Self::at(Path::new("docker-compose"))
            .filter(|compose| compose.version.starts_with("1."))
            .ok_or("no docker-compose 1.x on this machine (Debian 12's package docker-compose)")?;
        // With the Python that runs it, which need not be the first of the PATH.
        let line = "$(sed -n '1s/^#!//p' \"$(command -v docker-compose)\") -c 'import paramiko'";
        let ssh = Command::new("sh").args(["-c", line]).output();
        if ssh.is_ok_and(|ran| ran.status.success()) {
            Ok(found)
        } else {
            Err("docker-compose 1.x without python3-paramiko reaches no engine over ssh".to_owned())
        }
    }

    /// The second one: what this machine has, else the package of a lab host's release.
    fn two(lab: &Lab, host: usize) -> Result<Self, String> {
        let is_second = |compose: &Self| compose.version.starts_with("2.");
        if let Some(found) = Self::at(Path::new("docker-compose")).filter(is_second) {
            return Ok(found);
        }
        lab.ask(
            host,
            "mkdir -p /root/compose && cd /root/compose && apt-get -q update && apt-get -q download docker-compose && \
             dpkg -x docker-compose_*.deb .",
        )?;
        let inside = "/root/compose/usr/libexec/docker/cli-plugins/docker-compose";
        let program = lab.file().with_file_name("docker-compose-2");
        let path = program.display().to_string();
        docker(&["cp", &format!("{}:{inside}", lab.host(host)), &path]);
        lab.sh(host, "rm -r /root/compose");
        Self::at(&program)
            .filter(is_second)
            .ok_or("the package docker-compose of the lab's hosts is no Compose 2".to_owned())
    }
}

/// A project of one service on one host.
struct Project<'a> {
    lab: &'a Lab,
    compose: Compose,
    host: usize,
    service: &'static str,
    folder: PathBuf,
}

impl<'a> Project<'a> {
    fn new(lab: &'a Lab, compose: Compose, host: usize, service: &'static str) -> Self {
        let folder = lab.file().with_file_name(format!("project-{service}"));
        std::fs::create_dir(&folder).unwrap();
        let (image, network) = (lab.smoke_image(), lab.name());
        let text = format!(
            "services:
  {service}:
    image: {image}
    entrypoint: [sh, -c]
    command:
      - 'printf \"daemon off; user root; events {{}} http {{ server {{ return 200 \\\"from {service}\\\"; }} }}\" > /tmp/conf;
        exec nginx -c /tmp/conf'
networks:
  default:
    external: true
    name: {network}
"
        );
        std::fs::write(folder.join("docker-compose.yml"), text).unwrap();
        Self {
            lab,
            compose,
            host,
            service,
            folder,
        }
    }

    /// Compose, in a shell that `docker-cluster env` has pointed at the host.
    fn run(&self, words: &[&str]) -> String {
        let host = self.lab.host(self.host);
        let env = self.lab.run(&["env", "--shell", "sh", &host]).expect(0).out;
        let ran: Ran = Command::new("sh")
            .args(["-c", &format!("{env}\nexec \"$0\" \"$@\"")])
            .arg(&self.compose.program)
            .args(words)
            .current_dir(&self.folder)
            .output()
            .unwrap()
            .into();
        let version = &self.compose.version;
        assert_eq!(
            ran.code, 0,
            "Compose {version} {words:?}\n{}{}",
            ran.out, ran.err
        );
        ran.out
    }

    fn asks(&self, other: &Self) {
        let url = format!("http://{}", other.service);
        let words = ["exec", "-T", self.service, "wget", "-qO-", "-T", "10", &url];
        let said = self.run(&words);
        assert_eq!(said, format!("from {}", other.service));
    }
}

/// The first Compose and the second, one on each of these hosts.
pub fn projects_meet(lab: &Lab, first: usize, second: usize) {
    let (one, two) = (Compose::one(), Compose::two(lab, second));
    let (one, two) = match (one, two) {
        (Ok(one), Ok(two)) => (one, two),
        // One that is there is tried all the same, on both hosts.
        (Err(why), Ok(two)) => {
            skipped(&format!("Compose 1: {why}"));
            let again = Compose::at(&two.program).unwrap();
            (again, two)
        }
        (Ok(one), Err(why)) => {
            skipped(&format!("Compose 2: {why}"));
            let again = Compose::at(&one.program).unwrap();
            (one, again)
        }
        (Err(one), Err(two)) => {
            skipped(&format!("Compose: {one}; {two}"));
            return;
        }
    };
    let web = Project::new(lab, one, first, "web");
    let db = Project::new(lab, two, second, "db");
    web.run(&["up", "-d"]);
    db.run(&["up", "-d"]);
    web.asks(&db);
    db.asks(&web);
    // What is outside the project stays: the network is the cluster's.
    web.run(&["down"]);
    db.run(&["down"]);
    for host in [first, second] {
        let networks = lab.sh(host, "docker network ls --format '{{.Name}}'");
        assert!(
            networks.lines().any(|name| name == lab.name()),
            "{networks}"
        );
    }
}
