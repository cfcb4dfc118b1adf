//! The walk-through that people have followed with Docker Machine for ten years: a store in a container, engines that find each other in it,
//! a network over all of them. As it was written, on Debian 11, whose engine can.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use super::harness::{Lab, Ran, swarm_tar};
use super::standalone::SERVE;

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
    let lab = Lab::up("walk", &["--hosts", "4", "--os", "debian-11"]);
    // ssh-copy-id
    for host in 1..=4 {
        lab.sh(host, "mkdir -p -m 700 /root/.ssh; [ -e /root/.ssh/authorized_keys ] || cp /home/*/.ssh/authorized_keys /root/.ssh/; chown root: /root/.ssh/authorized_keys");
    }
    let shell = Shell::new(&lab);
    let create = |host: usize, rest: &str| {
        let line = format!(
            "docker-machine create -d generic --generic-ip-address={} --generic-ssh-user=root {rest}",
            lab.private(host)
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
    let swarm = swarm_tar("the part with Swarm").map(|tar| {
        format!(
            "--swarm --swarm-discovery=consul://$(docker-machine ip dm01):8500 --swarm-image=swarm:1.2.9 --swarm-image-tar={}",
            tar.display()
        )
    });
    let of_swarm = swarm.as_deref().unwrap_or_default();
    for (host, name) in [(2, "c0-master"), (3, "c0-n1"), (4, "c0-n2")] {
        let master = match (name, &swarm) {
            ("c0-master", Some(_)) => "--swarm-master",
            _ => "",
        };
        let said = create(host, &format!("{of_swarm} {master} {opts} {name}"));
        let told = said.matches("without TLS").count();
        assert_eq!(told, 1, "{said}");
    }
    let again = shell.types("docker-machine provision c0-n1").expect(0);
    assert!(!(again.out + &again.err).contains("without TLS"), "once");
    a_network_over_all(&lab, &shell);
    if swarm.is_some() {
        one_engine_to_clients(&lab, &shell);
        a_new_ca_is_for_all(&lab, &shell);
    }
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
        says_hello(at("c0-n1", &ask))
    });
    // While it runs.
    at("c0-master", "docker network disconnect myStack1 web").expect(0);
    assert_ne!(at("c0-n1", &ask).code, 0);
    lab.eventually("it can be put on again", || {
        is_on(at("c0-master", "docker network connect myStack1 web"))
    });
    lab.eventually("it is back", || says_hello(at("c0-n1", &ask)));
    at("c0-master", "docker rm -f web").expect(0);
}

/// All machines get certificates of a new CA, the manager one as well, and it goes on to ask all engines.
fn a_new_ca_is_for_all(lab: &Lab, shell: &Shell<'_>) {
    let ran = shell.types("docker-machine regenerate-certs -f --client-certs c0-n1");
    let told = "c0-master, c0-n2, dm01 get new certificates as well";
    assert!(ran.expect(0).err.contains(told));
    // Its container was not made to come back with its engine.
    lab.sh(1, "docker start $(docker ps -aq)");
    let info = "eval \"$(docker-machine env --shell sh --swarm c0-master)\"; docker info";
    lab.eventually(
        "the manager asks all engines with its new certificate",
        || {
            let said = shell.types(info);
            match said.out.matches("Status: Healthy").count() {
                3 => Ok(()),
                _ => Err(said.out + &said.err),
            }
        },
    );
}

/// Whether a container is on its network. To an engine a store that answers late has no such network: libnetwork's `getNetworkFromStore` asks
/// once, and takes every error so.
fn is_on(said: Ran) -> Result<(), String> {
    match said.code == 0 || said.err.contains("already exists in network") {
        true => Ok(()),
        false => Err(said.err),
    }
}

fn says_hello(said: Ran) -> Result<(), String> {
    match said.out.as_str() {
        "hello" => Ok(()),
        _ => Err(said.out + &said.err),
    }
}

/// `eval "$(docker-machine env --swarm c0-master)"`, and what was done with that.
fn one_engine_to_clients(lab: &Lab, shell: &Shell<'_>) {
    let swarm = |line: &str| {
        shell.types(&format!(
            "eval \"$(docker-machine env --shell sh --swarm c0-master)\"; {line}"
        ))
    };
    lab.eventually("the manager has all engines", || {
        let said = swarm("docker info");
        if said.out.contains("Nodes: 3") {
            Ok(())
        } else {
            Err(said.out + &said.err)
        }
    });
    let format = "{{.Name}} {{.Swarm}}";
    let listed = shell.says(&format!("docker-machine ls --format '{format}'"));
    assert_eq!(
        listed,
        "c0-master c0-master (master)\nc0-n1 c0-master\nc0-n2 c0-master\ndm01 \n"
    );
    let active = swarm(
        "docker-machine active; docker-machine ls --filter swarm=c0-master --format '{{.Name}} {{.Active}}'",
    );
    assert_eq!(
        active.expect(0).out,
        "c0-master\nc0-master * (swarm)\nc0-n1 -\nc0-n2 -\n"
    );
    let name =
        "docker $(docker-machine config --swarm c0-master) info --format '{{.ServerVersion}}'";
    assert!(shell.says(name).starts_with("swarm/"));
    let refused = shell.types("docker-machine env --swarm c0-n1").expect(1);
    assert!(
        refused.err.contains("is not a swarm master"),
        "{}",
        refused.err
    );
    let told = "docker-machine inspect -f '{{.HostOptions.SwarmOptions.Master}} {{.HostOptions.SwarmOptions.Host}}' c0-master";
    assert_eq!(shell.says(told), "true tcp://0.0.0.0:3376\n");
    // Again: what runs stays.
    let ids = || {
        lab.sh(
            2,
            "docker ps -q --no-trunc --filter name=swarm-agent | sort",
        )
    };
    let before = ids();
    assert_eq!(before.lines().count(), 2, "agent and manager");
    shell.says("docker-machine provision c0-master");
    assert_eq!(ids(), before);

    swarm("docker network create -d overlay myStack2").expect(0);
    let image = lab.smoke_image();
    let on = |host: usize| {
        format!(
            "-e constraint:node=={} --network myStack2 {image}",
            lab.host(host)
        )
    };
    let web = format!("docker run -d --name web {} sh -c '{SERVE}'", on(3));
    swarm(&web).expect(0);
    assert!(lab.sh(3, "docker ps --format '{{.Names}}'").contains("web"));
    let ask = format!("docker run --rm {} wget -qO- -T 5 http://web", on(2));
    let answers = |what: &str| lab.eventually(what, || says_hello(swarm(&ask)));
    answers("the name is known on the other, through Swarm");
    // While it runs.
    swarm("docker network disconnect myStack2 web").expect(0);
    assert_ne!(swarm(&ask).code, 0);
    lab.eventually("it can be put on again, through Swarm", || {
        is_on(swarm("docker network connect myStack2 web"))
    });
    answers("it is back, through Swarm");
    swarm("docker rm -f web").expect(0);
}
