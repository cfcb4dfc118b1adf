//! Called as `docker-machine`: a bare host becomes a machine, is used, changed and forgotten.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use docker_cluster::secrets::EnginesCa;

use super::harness::{Lab, Ran, docker};

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

    /// Docker's client with what `config` says, and with another certificate in the place of that one, if there is a folder of one.
    fn docker(&self, certs: Option<&Path>) -> Ran {
        let config = self.run(&["config", "dev"]).expect(0).out;
        // As a shell breaks it into words.
        let mut words: Vec<String> = config.split_whitespace().map(str::to_owned).collect();
        let folder = self.folder.path().join("store/machines/dev");
        for word in &mut words {
            if let Some(certs) = certs.filter(|_| !word.starts_with("--tlscacert")) {
                *word = word.replace(folder.to_str().unwrap(), certs.to_str().unwrap());
            }
        }
        words.extend(["info", "--format", "{{.Name}}"].map(str::to_owned));
        ran("docker", &words)
    }

    /// The PATH with the ssh of this story in front.
    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.folder.path().display())
    }

    /// docker-cluster with the machine's own inventory, which names no known hosts either.
    fn cluster(&self) -> Command {
        let mut command = self.lab.command();
        let file = self.folder.path().join("store/machines/dev.yaml");
        command.env("PATH", self.path()).arg("-f").arg(file);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(self.folder.path().join("docker-machine"));
        command.env("PATH", self.path());
        command.env("MACHINE_STORAGE_PATH", self.folder.path().join("store"));
        let runtime = self.lab.file().parent().unwrap().to_owned();
        command
            .env("XDG_RUNTIME_DIR", runtime)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        command.args(arguments).output().unwrap().into()
    }
}

/// A program of this machine, without what a shell may have exported for Docker's client.
fn ran(program: &str, words: &[String]) -> Ran {
    let mut command = Command::new(program);
    for name in [
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
    ] {
        command.env_remove(name);
    }
    command
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .into()
}

/// A certificate for the machine from a CA that is not its own.
fn of_another_ca(folder: &Path) {
    let ca = EnginesCa::mint("other").unwrap();
    let issued = ca.issue_client("mallory", 1).unwrap();
    std::fs::write(folder.join("cert.pem"), issued.cert).unwrap();
    std::fs::write(folder.join("key.pem"), issued.key.expose()).unwrap();
}

/// The engine answers who has its certificate, and nobody else in no way.
fn only_its_certificate_opens_it(lab: &Lab, called: &Called<'_>) {
    let name = called.docker(None).expect(0).out;
    assert_eq!(name.trim(), lab.host(1));
    let url = called.run(&["url", "dev"]).expect(0).out.trim().to_owned();
    assert!(url.starts_with("tcp://") && url.ends_with(":2376"), "{url}");
    let other = tempfile::tempdir().unwrap();
    of_another_ca(other.path());
    let refused = called.docker(Some(other.path()));
    assert!(
        refused.code != 0 && refused.err.contains("tls"),
        "{}",
        refused.err
    );
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
    let ca = called.folder.path().join("store/machines/dev/ca.pem");
    let trusted = format!("--tlscacert={}", ca.display());
    let bare = ran(
        "docker",
        &words(&["--tlsverify", &trusted, "-H", &url, "version"]),
    );
    assert!(
        bare.code != 0 && bare.err.contains("certificate"),
        "{}",
        bare.err
    );
    let plain = ran("docker", &words(&["-H", &url, "version"]));
    assert!(
        plain.code != 0 && plain.err.contains("HTTP request to an HTTPS server"),
        "{}",
        plain.err
    );
}

/// New certificates of the one CA; with `--client-certs` of a new one, and the old certificate opens nothing any more.
fn certificates_are_made_anew(lab: &Lab, called: &Called<'_>) {
    let folder = called.folder.path().join("store/machines/dev");
    let old = called.folder.path().join("old");
    std::fs::create_dir(&old).unwrap();
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(folder.join(file), old.join(file)).unwrap();
        let mode = folder.join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
        let of_all = called.folder.path().join("store/certs").join(file);
        assert_eq!(
            std::fs::read(of_all).unwrap(),
            std::fs::read(folder.join(file)).unwrap()
        );
    }
    let engines = || lab.sh(1, "sha256sum /etc/docker-cluster/engine/server.pem");
    let before = engines();
    called.run(&["regenerate-certs", "-f", "dev"]).expect(0);
    assert_ne!(engines(), before);
    called.docker(Some(&old)).expect(0);
    called
        .run(&["regenerate-certs", "-f", "--client-certs", "dev"])
        .expect(0);
    called.docker(None).expect(0);
    assert_ne!(called.docker(Some(&old)).code, 0);
}

/// A machine of before, whose CA is on its host, works as it did, until it gets the one of all.
fn a_machine_with_a_ca_of_its_own_keeps_it(lab: &Lab, called: &Called<'_>) {
    const KEPT: &str = "ls /var/lib/docker-cluster/secrets/engines.pem";
    lab.sh(1, &format!("! {KEPT} 2>/dev/null"));
    let store = called.folder.path().join("store");
    let file = store.join("machines/dev.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let files = ",\"ca\":\"../certs/ca.pem\",\"ca_key\":\"../certs/ca-key.pem\"";
    let own: Vec<&str> = text.split(files).collect();
    assert_eq!(own.len(), 2, "{text}");
    std::fs::write(&file, own.concat()).unwrap();
    let mut rotate = called.cluster();
    rotate.args(["cert", "rotate-ca", "--yes"]);
    let ran: Ran = rotate.output().unwrap().into();
    ran.expect(0);
    lab.sh(1, KEPT);
    std::fs::remove_dir_all(store.join("machines/dev")).unwrap();
    called.run(&["provision", "dev"]).expect(0);
    called.docker(None).expect(0);
    called.run(&["regenerate-certs", "-f", "dev"]).expect(0);
    called.docker(None).expect(0);
    lab.sh(1, &format!("! {KEPT} 2>/dev/null"));
}

/// After a reboot the engine listens again, and asks for the same certificate.
fn its_host_reboots(lab: &Lab, called: &Called<'_>) {
    docker(&["restart", "-t", "5", &lab.host(1)]);
    lab.booted(1);
    lab.eventually("its engine listens again", || {
        let asked = called.docker(None);
        match asked.code {
            0 => Ok(()),
            _ => Err(asked.err),
        }
    });
    only_its_certificate_opens_it(lab, called);
}

/// docker-cluster reads the machine's inventory, and says when certificates end: that of the engine, and that of somebody else.
fn what_ends_is_said(called: &Called<'_>) {
    let data = called.folder.path().join("data");
    let own = |words: &[&str]| -> Ran {
        let mut command = called.cluster();
        command.env("XDG_DATA_HOME", &data);
        let ran: Ran = command.args(words).output().unwrap().into();
        ran.expect(0)
    };
    let listed: serde_json::Value =
        serde_json::from_str(&own(&["ls", "--output", "json"]).out).unwrap();
    assert!(
        listed["hosts"][0]["certificate_expires"].is_string(),
        "{listed}"
    );
    assert!(!own(&["ls"]).err.contains("days"));
    let name = docker_cluster::commands::cert::kept::own_name();
    own(&["cert", "issue", "--days", "5", &name]);
    let said = own(&["ls"]).err;
    assert!(
        said.contains("ends in 5 days: `docker-cluster cert issue`"),
        "{said}"
    );
    // The one in the machine's folder lasts longer.
    assert!(!own(&["cert", "ls"]).err.contains("ends in"));
    own(&["cert", "issue", "--days", "5", "mallory"]);
    let said = own(&["cert", "ls"]).err;
    assert!(
        said.contains("The last certificate of mallory ends in 5 days"),
        "{said}"
    );
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
    let key = format!("--generic-ssh-key={}", value(&lab, "identity"));
    let address = format!("--generic-ip-address={}", value(&lab, "private"));
    let user = format!("--generic-ssh-user={}", value(&lab, "user"));
    let create = ["create", "-d", "generic", &address, &key, &user];
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
    only_its_certificate_opens_it(&lab, &called);
    what_ends_is_said(&called);

    // Again: nothing to do, and nothing is restarted.
    let before = lab.sh(1, "systemctl show -p MainPID docker");
    called.run(&["provision", "dev"]).expect(0);
    assert_eq!(lab.sh(1, "systemctl show -p MainPID docker"), before);
    certificates_are_made_anew(&lab, &called);
    a_machine_with_a_ca_of_its_own_keeps_it(&lab, &called);
    its_host_reboots(&lab, &called);
    let twice = called.run(&[&create[..], &["dev"]].concat()).expect(1);
    assert_eq!(twice.err, "Docker machine \"dev\" already exists\n");

    // `rm` does nothing on the host; `down` by the machine's own file, before it, takes the options off.
    let ran: Ran = called
        .cluster()
        .args(["down", "--yes"])
        .output()
        .unwrap()
        .into();
    ran.expect(0);
    assert!(
        !lab.sh(1, "docker info --format '{{.Labels}}'")
            .contains("disk=ssd")
    );
    assert_eq!(
        lab.sh(
            1,
            "ss -Hltn 'sport = :2376'; ls -d /etc/docker-cluster /etc/systemd/system/docker.service.d 2>/dev/null || true"
        ),
        "",
        "nothing listens, and nothing is left"
    );
    called.run(&["rm", "-y", "dev"]).expect(0);
    assert_eq!(called.run(&["ls", "-q"]).expect(0).out, "");
    assert_eq!(lab.sh(1, "systemctl is-active docker"), "active\n");
}
