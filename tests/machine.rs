//! The program called `docker-machine`, by a link, against a private sshd on loopback: outputs and exit codes that scripts know.
//!
//! Nothing here makes a machine of a host: the sshd logs in on this machine, whose engine is not ours.

mod sshd;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use docker_cluster::commands::cert::kept;
use docker_cluster::secrets::EnginesCa;
use sshd::Sshd;

/// A folder of machines, with one called `dev` (the sshd) and one called `gone` (where nothing listens).
struct Called {
    sshd: Sshd,
}

/// Nothing listens on it: it is the port of nobody (discard).
const CLOSED: u16 = 9;

impl Called {
    fn start() -> Option<Self> {
        let called = Self {
            sshd: Sshd::start("Subsystem sftp internal-sftp")?,
        };
        std::os::unix::fs::symlink(
            env!("CARGO_BIN_EXE_docker-cluster"),
            called.sshd.path("docker-machine"),
        )
        .unwrap();
        std::fs::create_dir_all(called.sshd.path("store/machines")).unwrap();
        Some(called)
    }

    /// Keeps a machine without asking its host: as `create` writes it, with known hosts of its own.
    fn keep(&self, name: &str, port: u16, engine: &str) {
        let host = format!(
            "{{name: {name}, address: 127.0.0.1, ssh: {{port: {port}, identity: {}, known_hosts: {}}}}}",
            self.sshd.path("user").display(),
            self.sshd.path("known").display()
        );
        let head = "cluster: machines\nnetwork: {fabric: nat, subnet: 192.0.2.0/24}\n";
        let text = format!("{head}engine: {engine}\nhosts:\n  - {host}\n");
        std::fs::write(self.sshd.path(&format!("store/machines/{name}.yaml")), text).unwrap();
        // The inventory of all is made anew with each machine that comes or goes: here one that goes.
        let passing = self.sshd.path("store/machines/passing.yaml");
        std::fs::write(
            &passing,
            format!("{head}hosts:\n  - {{name: passing, address: 127.0.0.2}}\n"),
        )
        .unwrap();
        assert_eq!(self.run(&["rm", "-y", "passing"]).0, 0);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.sshd.path("docker-machine"));
        command
            .env("HOME", self.sshd.folder.path())
            .env("XDG_RUNTIME_DIR", self.sshd.folder.path());
        command
            .env("MACHINE_STORAGE_PATH", self.sshd.path("store"))
            .env("SHELL", "/bin/bash")
            .env("NO_COLOR", "1");
        for name in [
            "DOCKER_HOST",
            "DOCKER_CONTEXT",
            "DOCKER_MACHINE_NAME",
            "MACHINE_DRIVER",
            "XDG_STATE_HOME",
        ] {
            command.env_remove(name);
        }
        command
            .stdin(Stdio::null())
            .current_dir(self.sshd.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(self.command().args(arguments))
    }

    /// What a verb prints that succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    /// What a verb says that fails with this code.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let (status, out, err) = self.run(arguments);
        assert_eq!(status, code, "{arguments:?}: {out}{err}");
        err
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docker-cluster"));
        let _ = command
            .arg("disconnect")
            .env("XDG_RUNTIME_DIR", self.sshd.folder.path())
            .output();
    }
}

fn ended(command: &mut Command) -> (i32, String, String) {
    let ran = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        ran.status.code().unwrap(),
        text(&ran.stdout),
        text(&ran.stderr),
    )
}

fn unknown(name: &str) -> String {
    format!(
        "Docker machine \"{name}\" does not exist. Use \"docker-machine ls\" to list machines. \
         Use \"docker-machine create\" to add a new one.\n"
    )
}

#[test]
fn where_a_machine_is() {
    let Some(called) = Called::start() else {
        return;
    };
    let port = called.sshd.port;
    called.keep("dev", port, "{options: {labels: [disk=ssd]}}");
    let url = format!("ssh://127.0.0.1:{port}");
    assert_eq!(called.says(&["ip", "dev"]), "127.0.0.1\n");
    assert_eq!(called.says(&["ip", "dev", "dev"]), "127.0.0.1\n127.0.0.1\n");
    assert_eq!(called.says(&["url", "dev"]), format!("{url}\n"));
    assert_eq!(called.says(&["config", "dev"]), format!("-H={url}\n"));
    assert_eq!(
        called.says(&["inspect", "-f", "{{.Driver.IPAddress}}", "dev"]),
        "127.0.0.1\n"
    );
    assert_eq!(
        called.says(&[
            "inspect",
            "--format={{.Driver.SSHPort}} {{.DriverName}}",
            "dev"
        ]),
        format!("{port} generic\n")
    );
    let options = called.says(&[
        "inspect",
        "-f",
        "{{json .HostOptions.EngineOptions.Options}}",
        "dev",
    ]);
    assert_eq!(options, "{\"labels\":[\"disk=ssd\"]}\n");
    assert!(
        called
            .says(&["inspect", "dev"])
            .contains("\n    \"Driver\": {\n        \"MachineName\": \"dev\"")
    );
    // The inventory is one of docker-cluster's own, for this user alone.
    let file = called.sshd.path("store/machines.yaml");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut own = Command::new(env!("CARGO_BIN_EXE_docker-cluster"));
    own.env("HOME", called.sshd.folder.path())
        .arg("-f")
        .arg(&file)
        .args(["url", "dev"]);
    assert_eq!(ended(&mut own).1, format!("{url}\n"));
}

#[test]
fn a_machine_with_tls_is_reached_as_docker_machine_reached_it() {
    let Some(called) = Called::start() else {
        return;
    };
    called.keep("dev", called.sshd.port, "{api: tls, address: 0.0.0.0}");
    // What is said for all engines is not in the inventory of all machines: `create` says it of the host.
    let file = called.sshd.path("store/machines/dev.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let host = text
        .replace("engine: {api: tls, address: 0.0.0.0}\n", "")
        .replace("ssh: {", "engine: {api: tls, address: 0.0.0.0}, ssh: {");
    std::fs::write(&file, host).unwrap();
    called.keep("other", CLOSED, "{}");
    let url = "tcp://127.0.0.1:2376";
    assert_eq!(called.says(&["url", "dev"]), format!("{url}\n"));
    // Without a certificate it is never tried.
    for verb in ["config", "env"] {
        let refusal = called.fails(1, &[verb, "dev"]);
        assert!(
            refusal.contains("docker-machine regenerate-certs dev"),
            "{verb}: {refusal}"
        );
    }
    let folder = called.sshd.path("store/machines/dev");
    let ca = EnginesCa::mint("machines").unwrap();
    kept::keep(&folder, ca.cert(), &ca.issue_client("me", 1).unwrap()).unwrap();
    let path = folder.display();
    assert_eq!(
        called.says(&["config", "dev"]),
        format!(
            "--tlsverify\n--tlscacert=\"{path}/ca.pem\"\n--tlscert=\"{path}/cert.pem\"\n--tlskey=\"{path}/key.pem\"\n-H={url}\n"
        )
    );
    let out = called.says(&["env", "dev"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "export DOCKER_TLS_VERIFY=1".to_owned(),
            format!("export DOCKER_HOST={url}"),
            format!("export DOCKER_CERT_PATH={path}"),
            "export DOCKER_MACHINE_NAME=dev".to_owned(),
        ],
        "in docker-machine's order: {out}"
    );
    let certs = called.says(&[
        "inspect",
        "-f",
        "{{.HostOptions.AuthOptions.CertDir}}",
        "dev",
    ]);
    assert_eq!(certs, format!("{path}\n"));
    kept::keep(&folder, ca.cert(), &ca.issue_client("me", -1).unwrap()).unwrap();
    assert!(called.fails(1, &["config", "dev"]).contains("has expired"));
    called.says(&["rm", "-y", "dev"]);
    assert!(!folder.exists(), "the key goes with the machine");
}

#[test]
fn clients_are_pointed_at_a_manager_of_swarm() {
    let Some(called) = Called::start() else {
        return;
    };
    // No two machines may be one host: those beside the first are where nothing listens.
    let machines = [
        ("c0-master", called.sshd.port, "[c0-master]"),
        ("c0-n1", CLOSED + 1, "[]"),
        ("alone", CLOSED + 2, ""),
    ];
    for (name, port, managers) in machines {
        called.keep(name, port, "{}");
        let file = called.sshd.path(&format!("store/machines/{name}.yaml"));
        let text = std::fs::read_to_string(&file).unwrap();
        let swarm = format!(
            "swarm: {{mode: standalone, managers: {managers}, discovery: 'consul://10.0.0.5:8500', port: 3377}}"
        );
        let host = text.replace("ssh: {", "engine: {api: tls, address: 0.0.0.0}, ssh: {");
        let host = match managers {
            "" => host,
            _ => host.replace("\nhosts:", &format!("\n{swarm}\nhosts:")),
        };
        std::fs::write(&file, host).unwrap();
        let ca = EnginesCa::mint("machines").unwrap();
        let folder = called.sshd.path(&format!("store/machines/{name}"));
        kept::keep(&folder, ca.cert(), &ca.issue_client("me", 1).unwrap()).unwrap();
    }
    called.keep("other", CLOSED, "{}");
    let url = "tcp://127.0.0.1:3377";
    let out = called.says(&["env", "--swarm", "c0-master"]);
    assert!(
        out.contains(&format!("export DOCKER_HOST={url}\n")),
        "{out}"
    );
    assert!(
        out.contains("export DOCKER_MACHINE_NAME=c0-master\n"),
        "{out}"
    );
    let out = called.says(&["config", "--swarm", "c0-master"]);
    assert!(
        out.starts_with("--tlsverify\n") && out.ends_with(&format!("-H={url}\n")),
        "{out}"
    );
    for verb in ["env", "config"] {
        for name in ["c0-n1", "alone"] {
            assert_eq!(
                called.fails(1, &[verb, "--swarm", name]),
                format!(
                    "\"{name}\" is not a swarm master. The --swarm flag is intended for use with swarm masters\n"
                )
            );
        }
    }
    let (code, out, err) = ended(
        called
            .command()
            .args(["ls", "--format", "{{.Name}} {{.Active}} {{.Swarm}}"])
            .env("DOCKER_HOST", url),
    );
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "alone - \nc0-master * (swarm) c0-master (master)\nc0-n1 - c0-master\nother - \n"
        ),
        "{err}"
    );
    let (code, out, _) = ended(called.command().arg("active").env("DOCKER_HOST", url));
    assert_eq!((code, out.as_str()), (0, "c0-master\n"));
    assert_eq!(
        called.says(&["ls", "-q", "--filter", "swarm=C0-Master"]),
        "c0-master\nc0-n1\n"
    );
    let options = "{{.HostOptions.SwarmOptions.Master}} {{.HostOptions.SwarmOptions.Agent}} {{.HostOptions.SwarmOptions.Host}}";
    assert_eq!(
        called.says(&["inspect", "-f", options, "c0-n1"]),
        "false true tcp://0.0.0.0:3377\n"
    );
}

#[test]
fn shells_are_pointed_at_a_machine_and_away() {
    let Some(called) = Called::start() else {
        return;
    };
    called.keep("dev", called.sshd.port, "{}");
    let url = called.says(&["url", "dev"]).trim().to_owned();
    let out = called.says(&["env", "dev"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..2],
        [
            format!("export DOCKER_HOST={url}"),
            "export DOCKER_MACHINE_NAME=dev".to_owned()
        ],
        "{out}"
    );
    assert!(
        lines.last().unwrap().ends_with("docker-machine env dev)\""),
        "{out}"
    );
    let script = "eval \"$($DM env --no-proxy dev)\"; echo $DOCKER_HOST $DOCKER_MACHINE_NAME $NO_PROXY; $DM active; \
        eval \"$($DM env -u)\"; echo \"[$DOCKER_HOST$DOCKER_MACHINE_NAME$NO_PROXY]\"; $DM active";
    let mut shell = Command::new("sh");
    for (name, value) in called.command().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let machine = called.sshd.path("docker-machine");
    shell
        .args(["-c", script])
        .env("DM", machine)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    let (code, out, err) = ended(&mut shell);
    assert_eq!(out, format!("{url} dev 127.0.0.1\ndev\n[]\n"), "{err}");
    assert_eq!((code, err.as_str()), (1, "No active host found\n"));
    assert!(
        called
            .says(&["env", "--shell", "fish", "dev"])
            .starts_with(&format!("set -gx DOCKER_HOST '{url}';\n"))
    );
    let powershell = called.says(&["env", "--shell=powershell", "dev"]);
    assert!(
        powershell.starts_with(&format!("$Env:DOCKER_HOST = '{url}'\n")),
        "{powershell}"
    );
    assert!(
        called
            .says(&["env", "--shell", "no-shell", "dev"])
            .starts_with("export DOCKER_HOST=")
    );
    let refusal = called.fails(1, &["env", "-u", "dev"]);
    assert_eq!(
        refusal,
        "Error: Expected no machine name when the -u flag is present\n"
    );
    let refusal = called.fails(1, &["env", "--swarm", "dev"]);
    assert_eq!(
        refusal,
        "\"dev\" is not a swarm master. The --swarm flag is intended for use with swarm masters\n"
    );
}

#[test]
fn machines_are_listed() {
    let Some(called) = Called::start() else {
        return;
    };
    let heads = "NAME   ACTIVE   DRIVER   STATE   URL   SWARM   DOCKER   ERRORS\n";
    assert_eq!(called.says(&["ls"]), heads);
    called.keep("gone", CLOSED, "{options: {labels: [disk=hdd]}}");
    called.keep("dev-10", called.sshd.port, "{}");
    assert_eq!(called.says(&["ls", "-q"]), "dev-10\ngone\n");
    assert_eq!(
        called.says(&["ls", "-q", "--filter", "name=^dev"]),
        "dev-10\n"
    );
    assert_eq!(
        called.says(&["ls", "-q", "--filter", "label=disk=hdd"]),
        "gone\n"
    );
    assert_eq!(
        called.says(&[
            "ls",
            "-q",
            "--filter",
            "driver=generic",
            "--filter",
            "state=stopped"
        ]),
        "gone\n"
    );
    let out = called.says(&["ls"]);
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], heads.split_whitespace().collect::<Vec<_>>());
    let url = called.says(&["url", "dev-10"]);
    assert_eq!(
        rows[1][..5],
        ["dev-10", "-", "generic", "Running", url.trim()],
        "{out}"
    );
    assert_eq!(
        rows[2][..5],
        ["gone", "-", "generic", "Stopped", "Unknown"],
        "{out}"
    );
    assert!(rows[1].len() > 5, "{out}");
    let format = called.says(&["ls", "--format", "table {{.Name}}\\t{{.DriverName}}"]);
    assert_eq!(
        format,
        "NAME     DRIVER\ndev-10   generic\ngone     generic\n"
    );
    assert_eq!(
        called.says(&["ls", "-f", "{{.Name}}: {{.State}}"]),
        "dev-10: Running\ngone: Stopped\n"
    );
    assert_eq!(called.says(&["status", "dev-10"]), "Running\n");
    assert_eq!(called.says(&["status", "gone"]), "Stopped\n");
    assert!(
        called
            .fails(1, &["ls", "--filter", "colour=red"])
            .contains("Unsupported filter key 'colour'")
    );
}

#[test]
fn commands_and_files_go_to_a_machine() {
    let Some(called) = Called::start() else {
        return;
    };
    called.keep("default", called.sshd.port, "{}");
    // A line for the shell there, without any `--`, and with the options of the command.
    assert_eq!(
        called
            .says(&["ssh", "default", "printf '%s\\n' one two | wc -l"])
            .trim(),
        "2"
    );
    assert_eq!(
        called.says(&["ssh", "default", "echo", "-n", "$((6*7))"]),
        "42"
    );
    assert_eq!(
        called.says(&["ssh", "default", "--", "echo", "--help"]),
        "--help\n"
    );
    called.fails(7, &["ssh", "default", "exit 7"]);
    std::fs::create_dir(called.sshd.path("from")).unwrap();
    std::fs::write(called.sshd.path("from/file"), "text").unwrap();
    let there = format!("default:{}", called.sshd.path("to").display());
    called.says(&["scp", "-q", "-r", "from", &there]);
    assert_eq!(
        std::fs::read_to_string(called.sshd.path("to/file")).unwrap(),
        "text"
    );
    assert_eq!(
        called.fails(1, &["scp", "from", "nobody:/tmp/x"]),
        unknown("nobody")
    );
    assert!(
        called
            .fails(1, &["scp", "-d", "from", &there])
            .contains("rsync")
    );
    // Where no machine is named, the one called so.
    assert_eq!(called.says(&["ip"]), "127.0.0.1\n");
}

#[test]
fn what_is_not_there_is_said_as_scripts_know_it() {
    let Some(called) = Called::start() else {
        return;
    };
    called.keep("dev", called.sshd.port, "{}");
    for verb in [
        "config",
        "env",
        "inspect",
        "ip",
        "kill",
        "provision",
        "restart",
        "ssh",
        "status",
        "url",
        "version",
    ] {
        assert_eq!(
            called.fails(1, &[verb, "nobody"]),
            unknown("nobody"),
            "{verb}"
        );
        if verb != "version" {
            let none = "Error: No machine name(s) specified and no \"default\" machine exists\n";
            assert_eq!(called.fails(1, &[verb]), none, "{verb}");
        }
    }
    assert_eq!(
        called.fails(1, &["ip", "dev", "x", "../dev"]),
        unknown("x") + &unknown("../dev")
    );
    for (verb, doing) in [
        ("start", "Starting"),
        ("stop", "Stopping"),
        ("kill", "Killing"),
    ] {
        let (code, out, err) = called.run(&[verb, "dev"]);
        assert_eq!((code, out), (1, format!("{doing} \"dev\"...\n")));
        assert_eq!(err, format!("generic driver does not support {verb}\n"));
    }
    for (words, sentence) in [
        (
            &["upgrade", "dev"][..],
            "upgrade its package by the host's own means",
        ),
        (&["mount", "dev:/a", "/b"], "sshfs"),
        (&["active"], "No active host found"),
        (
            &["rm"],
            "Error: Expected to get one or more machine names as arguments",
        ),
        (&["no-such-verb"], "unrecognized subcommand"),
    ] {
        assert!(called.fails(1, words).contains(sentence), "{words:?}");
    }
    let (code, out, err) = called.run(&["regenerate-certs", "-f", "dev"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("There are no certificates of dev"), "{err}");
    let version = called.says(&["version"]);
    assert!(
        version.starts_with(concat!(
            "docker-machine version ",
            env!("CARGO_PKG_VERSION"),
            ", build "
        )),
        "{version}"
    );
    assert_eq!(
        (called.says(&["-v"]), called.says(&["--version"])),
        (version.clone(), version)
    );
    assert!(called.says(&["--help"]).contains("tcp://ADDRESS:2376"));
}

#[test]
fn what_cannot_be_created_is_refused_and_not_kept() {
    let Some(called) = Called::start() else {
        return;
    };
    called.keep("dev", called.sshd.port, "{}");
    let address = "--generic-ip-address=127.0.0.1";
    for driver in ["amazonec2", "virtualbox", "digitalocean", "none"] {
        let said = called.fails(3, &["create", "-d", driver, "--some-option", "x", "new"]);
        assert!(
            said.contains(&format!("the driver \"{driver}\" makes machines"))
                && said.contains("-d generic"),
            "{said}"
        );
    }
    assert!(
        called
            .fails(3, &["create", "new"])
            .contains("the driver \"virtualbox\""),
        "docker-machine's default"
    );
    let port = format!("--generic-ssh-port={}", called.sshd.port);
    let taken = format!(
        "Docker machine \"dev\" is this host already: ssh finds it at 127.0.0.1, port {}\n",
        called.sshd.port
    );
    for (code, words, sentence) in [
        (
            1,
            &["dev", address][..],
            "Docker machine \"dev\" already exists\n",
        ),
        (
            1,
            &["new"],
            "generic driver requires the --generic-ip-address option",
        ),
        (
            1,
            &["../new", address],
            "Error creating machine: Invalid hostname specified.",
        ),
        (1, &[address], "Error: No machine name specified"),
        (3, &["new", address, &port], &taken),
        (
            3,
            &["new", address, "--swarm", "--swarm-discovery=token://x"],
            "not there any more",
        ),
        (3, &["new", address, "--swarm"], "--swarm-discovery"),
        (3, &["new", address, "--swarm-master"], "--swarm-discovery"),
        (
            3,
            &["new", address, "--engine-opt=max-concurrent-downloads=many"],
            "the engine wants a whole number",
        ),
        (3, &["new", address, "--engine-env=A=B"], "drop-in"),
        (
            1,
            &[
                "new",
                "-generic-ip-address",
                "127.0.0.1",
                "-generic-ssh-port=9",
            ],
            "127.0.0.1",
        ),
    ] {
        let said = called.fails(code, &[&["create", "--driver=generic"], words].concat());
        assert!(said.contains(sentence), "{words:?}: {said}");
    }
    let key = called.fails(
        3,
        &[
            "create",
            "-d",
            "generic",
            address,
            "--generic-ssh-key=/no/key",
            "new",
        ],
    );
    assert_eq!(
        key,
        "Error with pre-create check: \"SSH key does not exist: /no/key\"\n"
    );
    assert_eq!(called.says(&["ls", "-q"]), "dev\n");
}

#[test]
fn machines_are_forgotten() {
    let Some(called) = Called::start() else {
        return;
    };
    called.keep("a", called.sshd.port, "{}");
    called.keep("b", CLOSED, "{}");
    let said = called.says(&["rm", "a"]);
    assert!(
        said.starts_with("About to remove a\nAre you sure? (y/n): "),
        "{said}"
    );
    assert_eq!(called.says(&["ls", "-q"]), "a\nb\n", "no answer is no");
    let (code, out, err) = called.run(&["rm", "-y", "nobody", "a"]);
    assert_eq!(
        (code, out.as_str()),
        (1, "About to remove nobody, a\nSuccessfully removed a\n")
    );
    assert!(
        err.contains(&format!(
            "Error removing host \"nobody\": {}",
            unknown("nobody")
        )),
        "{err}"
    );
    assert_eq!(
        called.says(&["rm", "-f", "b", "nobody"]),
        "About to remove b, nobody\nSuccessfully removed b\n"
    );
    assert_eq!(called.says(&["ls", "-q"]), "");
    assert!(!called.sshd.path("store/machines.yaml").exists());
}
