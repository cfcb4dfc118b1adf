//! The walk-through that people have followed with Docker Machine for ten years: a store in a container, engines that find each other in it,
//! a network over all of them. As it was written, on Debian 11, whose engine can.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use super::harness::{Lab, Ran, swarm_image};
use super::standalone::{Pointed, SERVE};

/// A person's shell: `docker-machine` in its PATH, a key that hosts know, and machines in a folder of the lab's own.
struct Shell<'a> {
    lab: &'a Lab,
    folder: PathBuf,
}

impl<'a> Shell<'a> {
    fn new(lab: &'a Lab) -> Self {
        let folder = lab.file().with_file_name("person");
        std::fs::create_dir(&folder).unwrap();
        let program = env!("CARGO_BIN_EXE_docker-cluster");
        symlink(program, folder.join("docker-machine")).unwrap();
        let text = std::fs::read_to_string(lab.file()).unwrap();
        let key = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("identity: "));
        let (key, known) = (key.unwrap(), folder.join("known").display().to_string());
        // In place of the person's own key and known hosts.
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -i {key} -o UserKnownHostsFile={known} -o StrictHostKeyChecking=accept-new \"$@\"\n"
        );
        let ssh = folder.join("ssh");
        std::fs::write(&ssh, script).unwrap();
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { lab, folder }
    }

    /// A line as somebody types it.
    fn types(&self, line: &str) -> Ran {
        let path = std::env::var("PATH").unwrap();
        let ran = Command::new("sh")
            .args(["-c", line])
            .env("PATH", format!("{}:{path}", self.folder.display()))
            .env("MACHINE_STORAGE_PATH", self.folder.join("store"))
            .env("XDG_RUNTIME_DIR", self.lab.file().parent().unwrap())
            .env_remove("DOCKER_HOST")
            .output()
            .unwrap();
        ran.into()
    }

    fn says(&self, line: &str) -> String {
        self.types(line).expect(0).out
    }
}

#[test]
#[ignore = "needs a Docker engine"]
fn machines_share_a_network_as_it_was_written() {
    let lab = Lab::up("walk", &["--hosts", "3", "--os", "debian-11"]);
    // ssh-copy-id
    for host in 1..=3 {
        lab.sh(host, "mkdir -p -m 700 /root/.ssh; [ -e /root/.ssh/authorized_keys ] || cp /home/*/.ssh/authorized_keys /root/.ssh/; chown root: /root/.ssh/authorized_keys");
    }
    let shell = Shell::new(&lab);
    let address = |host: usize| lab.private(host);
    let create = |host: usize, rest: &str| {
        let line = format!(
            "docker-machine create -d generic --generic-ip-address={} --generic-ssh-user=root {rest}",
            address(host)
        );
        let made = shell.types(&line).expect(0);
        made.out + &made.err
    };
    create(1, "dm01");
    let listed = shell.says("docker-machine ls");
    assert!(
        listed.contains("dm01") && listed.contains("Running"),
        "{listed}"
    );
    let name = shell
        .says("eval \"$(docker-machine env --shell sh dm01)\"; docker info --format '{{.Name}}'");
    assert_eq!(name.trim(), lab.host(1));

    a_store_in_a_container(&lab, &shell);
    let opts = "--engine-opt=cluster-store=consul://$(docker-machine ip dm01):8500 --engine-opt=cluster-advertise=eth0:2376";
    for (host, name) in [(2, "c0-master"), (3, "c0-n1")] {
        let said = create(host, &format!("{opts} {name}"));
        let told = said.matches("without TLS").count();
        assert_eq!(told, 1, "{said}");
    }
    let again = shell.types("docker-machine provision c0-n1").expect(0);
    assert!(!(again.out + &again.err).contains("without TLS"), "once");
    a_network_over_all(&lab, &shell);
    with_swarm(&lab);
}

/// The image is made of the distribution's package, with the arguments that the one of the walk-through had built in.
fn a_store_in_a_container(lab: &Lab, shell: &Shell<'_>) {
    lab.sh(
        1,
        r#"mkdir -p /root/image/data /root/image/tmp && cd /root/image && for f in /usr/bin/consul $(ldd /usr/bin/consul | grep -o '/[^ ]*'); do
            cp -L --parents "$f" .; done
        tar c . | docker import -c 'ENTRYPOINT ["/usr/bin/consul", "agent", "-data-dir=/data", "-client=0.0.0.0"]' - consul && rm -r /root/image"#,
    );
    shell.says("docker $(docker-machine config dm01) run -d -p 8500:8500 -h consul consul -server -bootstrap");
    lab.eventually("the store has a leader", || {
        let url = format!("http://{}:8500/v1/status/leader", lab.private(1));
        let said = lab.ask(2, &format!("perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => shift) or exit 1; print $s \"GET /v1/status/leader HTTP/1.0\\r\\n\\r\\n\"; print <$s>' {}:8500", lab.private(1)))?;
        if said.contains(":8300") { Ok(()) } else { Err(format!("{url}: {said}")) }
    });
}

fn a_network_over_all(lab: &Lab, shell: &Shell<'_>) {
    let image = lab.smoke_image();
    lab.load_smoke_image(2);
    lab.load_smoke_image(3);
    let at = |machine: &str, line: &str| {
        shell.types(&format!(
            "eval \"$(docker-machine env --shell sh {machine})\"; {line}"
        ))
    };
    at("c0-master", "docker network create -d overlay myStack1").expect(0);
    let run = format!("docker run -d --name web --network myStack1 {image} sh -c '{SERVE}'");
    at("c0-master", &run).expect(0);
    let ask = format!("docker run --rm --network myStack1 {image} wget -qO- -T 5 http://web");
    lab.eventually("the name is known on the other", || {
        let said = at("c0-n1", &ask);
        if said.out == "hello" {
            Ok(())
        } else {
            Err(said.out + &said.err)
        }
    });
    // While it runs.
    at("c0-master", "docker network disconnect myStack1 web").expect(0);
    assert_ne!(at("c0-n1", &ask).code, 0);
    at("c0-master", "docker network connect myStack1 web").expect(0);
    lab.eventually("it is back", || {
        let said = at("c0-n1", &ask);
        if said.out == "hello" {
            Ok(())
        } else {
            Err(said.out + &said.err)
        }
    });
    at("c0-master", "docker rm -f web").expect(0);
}

/// The rest of the walk-through, by an inventory: `create` makes no Swarm.
fn with_swarm(lab: &Lab) {
    let Some(tar) = swarm_image("the part with Swarm") else {
        return;
    };
    let store = format!("consul://{}:8500", lab.private(1));
    let without_first = |text: &str| {
        let (head, hosts) = text.split_once("hosts:\n").unwrap();
        let second = hosts.find(&format!("  - name: {}\n", lab.host(2))).unwrap();
        format!("{head}hosts:\n{}", &hosts[second..])
    };
    let file = lab.variant("c0.yaml", |text| {
        let settings = format!(
            "engine: {{api: tls, address: 0.0.0.0, options: {{cluster-store: '{store}', cluster-advertise: 'eth0:2376'}}}}\n\
             network: {{fabric: nat, subnet: 192.0.2.0/24}}\n\
             swarm: {{mode: standalone, managers: 1, discovery: '{store}', {tar}}}\nsmoke:\n"
        );
        without_first(&text).replace("smoke:\n", &settings)
    });
    // Each machine has a CA of its own until then.
    let apart = lab.run_with(&file, &["plan"]).out;
    assert!(apart.contains("keep different CAs"), "{apart}");
    lab.run_with(&file, &["cert", "rotate-ca", "--yes"])
        .expect(0);
    let ran = lab.run_with(&file, &["up", "--yes"]).expect(0);
    assert!(ran.out.contains("without TLS"), "{}", ran.out);
    let pointed = Pointed::at_swarm(lab, &file);
    let image = lab.smoke_image();
    let on = |host: usize| {
        format!(
            "-e constraint:node=={} --network myStack1 {image}",
            lab.host(host)
        )
    };
    pointed
        .sh(&format!(
            "docker run -d --name web {} sh -c '{SERVE}'",
            on(2)
        ))
        .expect(0);
    let asked = pointed.sh(&format!(
        "docker run --rm {} wget -qO- -T 5 http://web",
        on(3)
    ));
    assert_eq!(asked.expect(0).out, "hello");
    pointed.sh("docker network disconnect myStack1 web && docker network connect myStack1 web && docker rm -f web").expect(0);
}
