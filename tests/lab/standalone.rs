//! Standalone Swarm over the classic overlay, on Debian 11, for whoever has its image.

use std::process::Command;

use super::harness::{Lab, Ran, swarm_image};

/// What a container runs that answers with its name.
pub const SERVE: &str = r#"printf "daemon off; user root; events {} http { server { return 200 hello; } }" > /tmp/conf; exec nginx -c /tmp/conf"#;

/// A shell that `env` has pointed somewhere, with certificates in the lab's folder.
pub struct Pointed<'a> {
    lab: &'a Lab,
    file: std::path::PathBuf,
    env: String,
}

impl<'a> Pointed<'a> {
    pub fn at_swarm(lab: &'a Lab, file: &std::path::Path) -> Self {
        let mut pointed = Self {
            lab,
            file: file.to_owned(),
            env: String::new(),
        };
        pointed.docker_cluster(&["cert", "issue", "ada"]).expect(0);
        pointed.env = pointed
            .docker_cluster(&["env", "--swarm", "--shell", "sh"])
            .expect(0)
            .out;
        pointed
    }

    pub fn docker_cluster(&self, words: &[&str]) -> Ran {
        let mut command = self.lab.command();
        command
            .env("XDG_DATA_HOME", self.lab.file().with_file_name("data"))
            .arg("-f")
            .arg(&self.file)
            .args(words);
        command.output().unwrap().into()
    }

    pub fn sh(&self, line: &str) -> Ran {
        let line = format!("{}\n{line}", self.env);
        let ran = Command::new("sh").args(["-c", &line]).output().unwrap();
        ran.into()
    }
}

#[test]
#[ignore = "needs a Docker engine"]
fn hosts_are_one_engine_to_clients() {
    let Some(image) = swarm_image("standalone Swarm") else {
        return;
    };
    let lab = Lab::up("alone", &["--hosts", "3", "--os", "debian-11"]);
    let file = lab.variant("swarm.yaml", |text| {
        let settings = format!(
            "engine: {{api: tls}}\nnetwork: {{fabric: overlay}}\nswarm: {{mode: standalone, managers: 3, {image}}}\nsmoke:\n"
        );
        text.replace("smoke:\n", &settings)
    });
    let wrong = lab.variant("wrong.yaml", |_| {
        let text = std::fs::read_to_string(&file).unwrap();
        let at = text.find("sha256: ").unwrap() + "sha256: ".len();
        format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..])
    });
    let ran = lab.run_with(&wrong, &["up", "--yes"]).expect(1);
    assert!(
        ran.err.contains("and the inventory says 0000"),
        "{}",
        ran.err
    );
    lab.run_with(&file, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&file);

    let pointed = Pointed::at_swarm(&lab, &file);
    containers_are_placed_and_meet(&lab, &pointed);
    another_manager_leads(&lab, &pointed);

    // One manager is enough: the others go, with the keys that open the engines.
    let one = lab.variant("one.yaml", |_| {
        let text = std::fs::read_to_string(&file).unwrap();
        text.replace("managers: 3", "managers: 1, strategy: random")
    });
    lab.run_with(&one, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&one);
    lab.sh(2, "! ls /etc/docker-cluster/swarm/* 2>/dev/null");
    assert!(
        pointed
            .sh("docker info")
            .expect(0)
            .out
            .contains("Strategy: random")
    );

    lab.run_with(&one, &["down", "--yes"]).expect(0);
    for host in 1..=3 {
        assert_eq!(lab.sh(host, "docker ps -aq; docker images -q"), "");
        lab.sh(host, "! ls -d /etc/docker-cluster 2>/dev/null");
    }
}

fn containers_are_placed_and_meet(lab: &Lab, pointed: &Pointed<'_>) {
    let (network, image) = (lab.name(), lab.smoke_image());
    let on = |host: usize| format!("-e constraint:node=={}", lab.host(host));
    pointed
        .sh(&format!(
            "docker run -d --name web {} --network {network} {image} sh -c '{SERVE}'",
            on(2)
        ))
        .expect(0);
    assert!(lab.sh(2, "docker ps --format '{{.Names}}'").contains("web"));
    let ask = format!(
        "docker run --rm {} --network {network} {image} wget -qO- -T 5 http://web",
        on(3)
    );
    assert_eq!(pointed.sh(&ask).expect(0).out, "hello");
    let beside =
        format!("docker run -d --name beside -e affinity:container==web {image} sleep 1000");
    pointed.sh(&beside).expect(0);
    assert!(
        lab.sh(2, "docker ps --format '{{.Names}}'")
            .contains("beside")
    );
    // One list of networks: those of each host with its name, and those of all once.
    let networks = pointed
        .sh("docker network ls --format '{{.Name}}'")
        .expect(0)
        .out;
    for wanted in [
        network.to_owned(),
        format!("{}/bridge", lab.host(1)),
        format!("{}/bridge", lab.host(3)),
    ] {
        assert!(networks.lines().any(|name| name == wanted), "{networks}");
    }
    pointed
        .sh(&format!("docker network disconnect {network} web"))
        .expect(0);
    assert_ne!(pointed.sh(&ask).code, 0);
    pointed
        .sh(&format!("docker network connect {network} web"))
        .expect(0);
    assert_eq!(pointed.sh(&ask).expect(0).out, "hello");
    pointed.sh("docker rm -f web beside").expect(0);
}

/// The one that is asked does not lead any more, and hands on what it is asked.
fn another_manager_leads(lab: &Lab, pointed: &Pointed<'_>) {
    let role = || {
        let said = pointed.sh("docker info").out;
        let found = said.lines().find(|line| line.trim().starts_with("Role: "));
        found.map(|line| line.trim().to_owned()).ok_or(said)
    };
    let leader = (1..=3).find(|host| {
        lab.sh(*host, "docker logs swarm-agent-master 2>&1")
            .contains("leadership acquired")
    });
    lab.sh(leader.unwrap(), "docker restart -t 0 swarm-agent-master");
    lab.eventually("there is a leader again", || role().map(|_| ()));
    assert!(pointed.sh("docker ps").code == 0);
}
