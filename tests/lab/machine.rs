//! Called as `docker-machine`: a bare host becomes a machine, is used, changed and forgotten.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use super::harness::{Lab, Ran};

/// docker-machine with a folder of machines in the lab's own.
struct Called<'a> {
    lab: &'a Lab,
    folder: tempfile::TempDir,
}

impl<'a> Called<'a> {
    fn by_link(lab: &'a Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(
            env!("CARGO_BIN_EXE_docker-cluster"),
            folder.path().join("docker-machine"),
        )
        .unwrap();
        // Keys of throwaway hosts are not for the known hosts of whoever runs this.
        let ssh = folder.path().join("ssh");
        let known = folder.path().join("known").display().to_string();
        std::fs::write(
            &ssh,
            format!("#!/bin/sh\nexec /usr/bin/ssh -o UserKnownHostsFile={known} \"$@\"\n"),
        )
        .unwrap();
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { lab, folder }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(self.folder.path().join("docker-machine"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.folder.path().display()));
        command.env("MACHINE_STORAGE_PATH", self.folder.path().join("store"));
        let runtime = self.lab.file().parent().unwrap().to_owned();
        command
            .env("XDG_RUNTIME_DIR", runtime)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        command.args(arguments).output().unwrap().into()
    }
}

/// What the lab's inventory says first of a key.
fn value(lab: &Lab, key: &str) -> String {
    let text = std::fs::read_to_string(lab.file()).unwrap();
    let after = text.split(&format!("{key}: ")).nth(1).unwrap();
    after
        .split(['\n', ',', '}'])
        .next()
        .unwrap()
        .trim_matches('"')
        .to_owned()
}

#[test]
#[ignore = "needs a Docker engine"]
fn a_bare_host_becomes_a_machine() {
    let lab = Lab::up("machine", &["--hosts", "1", "--os", "debian-12", "--bare"]);
    let called = Called::by_link(&lab);
    let (key, port) = (
        format!("--generic-ssh-key={}", value(&lab, "identity")),
        format!("--generic-ssh-port={}", value(&lab, "port")),
    );
    let user = format!("--generic-ssh-user={}", value(&lab, "user"));
    let create = [
        "create",
        "-d",
        "generic",
        "--generic-ip-address=127.0.0.1",
        &key,
        &port,
        &user,
    ];
    let made = called
        .run(&[&create[..], &["--engine-label=disk=ssd", "dev"]].concat())
        .expect(0);
    assert!(
        made.out.contains("Docker is up and running!\n"),
        "{}",
        made.out
    );
    assert!(
        lab.sh(1, "docker info --format '{{.Labels}}'")
            .contains("disk=ssd")
    );
    assert_eq!(
        lab.sh(1, "docker images -q"),
        "",
        "no image that nobody asked for"
    );

    let version = called.run(&["version", "dev"]).expect(0).out;
    let listed = called
        .run(&["ls", "--filter", "label=disk=ssd"])
        .expect(0)
        .out;
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["dev", "-", "generic", "Running"], "{listed}");
    assert_eq!(row[5], format!("v{}", version.trim()), "{listed}");

    // Again: nothing to do, and nothing is restarted.
    let before = lab.sh(1, "systemctl show -p MainPID docker");
    called.run(&["provision", "dev"]).expect(0);
    assert_eq!(lab.sh(1, "systemctl show -p MainPID docker"), before);
    let twice = called.run(&[&create[..], &["dev"]].concat()).expect(1);
    assert_eq!(twice.err, "Docker machine \"dev\" already exists\n");

    // `rm` does nothing on the host; `down` by the machine's own file, before it, takes the options off.
    let file = called.folder.path().join("store/machines/dev.yaml");
    let mut down = lab.command();
    let ran: Ran = down
        .arg("-f")
        .arg(&file)
        .args(["down", "--yes"])
        .output()
        .unwrap()
        .into();
    ran.expect(0);
    assert!(
        !lab.sh(1, "docker info --format '{{.Labels}}'")
            .contains("disk=ssd")
    );
    called.run(&["rm", "-y", "dev"]).expect(0);
    assert_eq!(called.run(&["ls", "-q"]).expect(0).out, "");
    assert_eq!(lab.sh(1, "systemctl is-active docker"), "active\n");
}
