//! Commands of every day against private sshds on loopback, and with the programs that they are for: ssh itself, scp, rsync, Docker's
//! client. Where one is missing, its test says *skipped*.

mod sshd;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sshd::{Sshd, program, skipped};

/// Two hosts, which are this machine, each with a key and known hosts of its own.
struct Two {
    a: Sshd,
    b: Sshd,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Two {
    fn start(lines: &str) -> Option<Self> {
        let two = Self {
            a: Sshd::start(lines)?,
            b: Sshd::start(lines)?,
        };
        let host = |name: &str, sshd: &Sshd| {
            format!(
                "  - {{name: {name}, address: 127.0.0.1, ssh: {{port: {}, identity: {}, known_hosts: {}}}}}\n",
                sshd.port,
                sshd.path("user").display(),
                sshd.path("known").display()
            )
        };
        let inventory = format!(
            "cluster: pair\nhosts:\n{}{}",
            host("a", &two.a),
            host("b", &two.b)
        );
        std::fs::write(two.a.path("pair.yaml"), inventory).unwrap();
        Some(two)
    }

    fn command(&self) -> Command {
        let mut command = self.a.docker_cluster("");
        command.args(["-f", "pair.yaml"]);
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command().args(arguments).output().unwrap();
        (status.code(), text(&stdout), text(&stderr))
    }

    fn path(&self, name: &str) -> String {
        self.a.path(name).display().to_string()
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        let _ = self.command().arg("disconnect").output();
    }
}

/// What ssh, and whatever uses it, finds in the fragment.
#[test]
fn every_program_that_uses_ssh_finds_the_hosts() {
    let Some(two) = Two::start("Subsystem sftp internal-sftp") else {
        return;
    };
    let (code, fragment, err) = two.run(&["ssh-config"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let file = two.path("fragment");
    std::fs::write(&file, &fragment).unwrap();
    let ssh = |arguments: &[&str]| {
        let ran = Command::new("ssh")
            .args(["-F", &file, "-o", "BatchMode=yes"])
            .args(arguments)
            .output()
            .unwrap();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    // By name, and as Docker's client calls it: by address and port, of which two hosts share one.
    let (a, b) = (two.a.port.to_string(), two.b.port.to_string());
    let port = "echo ${SSH_CONNECTION##* }";
    assert_eq!(ssh(&["a", port]).1, format!("{a}\n"), "{fragment}");
    assert_eq!(
        ssh(&["-p", &b, "127.0.0.1", port]).1,
        format!("{b}\n"),
        "{fragment}"
    );
    // The connection is shared, and outlives its command.
    let (code, _, said) = ssh(&["-O", "check", "a"]);
    assert!(code == Some(0) && said.contains("Master running"), "{said}");
    match program("rsync") {
        Some(rsync) => {
            std::fs::write(two.path("here"), "by rsync").unwrap();
            let shell = format!("ssh -F {file} -o BatchMode=yes");
            let there = format!("b:{}", two.path("there"));
            let ran = Command::new(rsync)
                .args(["-e", &shell, &two.path("here"), &there])
                .output()
                .unwrap();
            assert!(ran.status.success(), "{}", text(&ran.stderr));
            assert_eq!(
                std::fs::read_to_string(two.path("there")).unwrap(),
                "by rsync"
            );
        }
        None => skipped("there is no rsync here"),
    }
    for name in ["a", "b"] {
        assert_eq!(ssh(&["-O", "exit", name]).0, Some(0));
    }
}

/// What is written is what ssh reads: settings with blanks and percent signs, an alias of the person's own, a jump host.
#[test]
fn ssh_understands_what_is_written() {
    if program("ssh").is_none() {
        return skipped("there is no ssh here");
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    std::fs::write(
        home.path().join(".ssh/config"),
        "Host alias\n  HostName 192.0.2.7\n  User carol\n  Port 2200\nHost bastion\n  HostName 192.0.2.1\n  Port 2201\n",
    )
    .unwrap();
    std::fs::write(
        home.path().join("cluster.yaml"),
        "ssh: {identity: 'a key %h', known_hosts: 'known hosts', host_key: strict}\nhosts:\n  \
         - {name: web, address: 10.0.0.1, ssh: {user: ops, jump: 'me@bastion'}}\n  - {name: db, address: alias}\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_docker-cluster"));
    command
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .current_dir(home.path());
    let ran = command
        .env_remove("DOCKER_CLUSTER_FILE")
        .arg("ssh-config")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let file = home.path().join("fragment");
    std::fs::write(&file, &ran.stdout).unwrap();
    let settings = |host: &str| {
        let ran = Command::new("ssh")
            .arg("-F")
            .arg(&file)
            .args(["-G", host])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        text(&ran.stdout)
    };
    let has = |host: &str, line: &str| {
        let text = settings(host);
        assert!(
            text.lines().any(|other| other == line),
            "{host} has no `{line}`:\n{text}"
        );
    };
    let folder = std::path::absolute(home.path()).unwrap();
    for host in ["web", "10.0.0.1"] {
        has(host, "hostname 10.0.0.1");
        has(host, "user ops");
        has(host, "proxyjump me@bastion");
        has(
            host,
            &format!("identityfile {}", folder.join("a key %%h").display()),
        );
        has(
            host,
            &format!(
                "userknownhostsfile {}",
                folder.join("known hosts").display()
            ),
        );
        has(host, "stricthostkeychecking true");
        has(host, "controlmaster auto");
        assert!(settings(host).contains(&format!("\ncontrolpath {}/.ssh/dc-", folder.display())));
    }
    for host in ["db", "alias"] {
        has(host, "hostname 192.0.2.7");
        has(host, "user carol");
        has(host, "port 2200");
    }
    has("bastion", "hostname 192.0.2.1");
    has("bastion", "port 2201");
}

#[test]
fn files_go_to_hosts_from_them_and_between_them() {
    let Some(two) = Two::start("Subsystem sftp internal-sftp") else {
        return;
    };
    if program("scp").is_none() {
        return skipped("there is no scp here");
    }
    let folder = two.a.path("from here");
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    std::fs::write(folder.join("deep/file"), "content").unwrap();
    let on = |host: &str, name: &str| format!("{host}:{}", two.path(name));
    let (code, out, err) = two.run(&["scp", "-q", "-r", "from here", &on("a", "on-a")]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    let (code, _, err) = two.run(&["scp", "-q", "-r", &on("a", "on-a"), &on("b", "on-b")]);
    assert_eq!(
        (code, err.as_str()),
        (Some(0), ""),
        "two hosts that do not know each other"
    );
    let (code, _, err) = two.run(&["scp", "-q", &on("b", "on-b/deep/file"), "back"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        std::fs::read_to_string(two.path("back")).unwrap(),
        "content"
    );
    // What is wrong is said before anything is copied, or in scp's own words.
    let (code, _, err) = two.run(&["scp", "back", "c:/x"]);
    assert!(
        code == Some(2) && err.contains("no host is called `c`"),
        "{err}"
    );
    let (code, _, err) = two.run(&["scp", "back", "/x"]);
    assert!(code == Some(2) && err.contains("HOST:PATH"), "{err}");
    let (code, _, err) = two.run(&["scp", "-q", "nothing", "a:/x"]);
    assert!(code != Some(0) && err.contains("nothing"), "{err}");
}

/// Every line says whose it is, both streams stay apart, and one exit code tells whether it did everywhere.
#[test]
fn a_command_runs_on_many_hosts() {
    let noisy =
        r#"ForceCommand printf 'Welcome'; echo motd >&2; exec sh -c "$SSH_ORIGINAL_COMMAND""#;
    let Some(two) = Two::start(noisy) else { return };
    let (code, out, err) = two.run(&[
        "run-on",
        "all",
        "--",
        "sh",
        "-c",
        "echo \"$1\"; printf end; echo to-err >&2",
        "x",
        "it's $1",
    ]);
    assert_eq!(code, Some(0), "{err}");
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a | end", "a | it's $1", "b | end", "b | it's $1"]);
    let mut lines: Vec<&str> = err.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a | to-err", "b | to-err"]);
    let (code, out, err) = two.run(&["run-on", "a,b", "--", "env"]);
    assert!(
        code == Some(0) && !out.contains("SSH_CONNECTION"),
        "what a login exports reaches no command: {out}{err}"
    );
    // It fails on one: which, and how.
    let (code, _, err) = two.run(&["run-on", "b", "--", "sh", "-c", "echo before; exit 3"]);
    assert!(
        code == Some(1) && err.starts_with("✗ b: exit status 3\n"),
        "{err}"
    );
    let (code, out, err) = two.run(&[
        "run-on",
        "b",
        "--output",
        "json",
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert!(code == Some(1) && !err.contains("exit status"), "{err}");
    assert_eq!(
        document["hosts"][0],
        serde_json::json!({"host": "b", "status": 3, "error": null, "stdout": "out\n", "stderr": "err\n"})
    );
    // As people type it, with and without the two dashes.
    for dashes in [&["--"][..], &[]] {
        let on =
            |verb: &'static str| [&[verb, "a"], dashes, &["printf", "%s-", "-l", "x"]].concat();
        assert_eq!(two.run(&on("ssh")).1, "Welcome-l-x-", "{dashes:?}");
        assert_eq!(two.run(&on("run-on")).1, "a | -l-x-\n", "{dashes:?}");
    }
    // What is not there is said as a shell says it.
    let (code, _, err) = two.run(&["run-on", "a", "--", "no-such-command"]);
    assert!(
        code == Some(1)
            && err.starts_with("a | no-such-command: not found\n✗ a: exit status 127\n"),
        "{err}"
    );
    let (code, _, err) = two.run(&["ssh", "a", "no-such-command"]);
    assert!(
        code == Some(127) && err.ends_with("no-such-command: not found\n"),
        "{err}"
    );
    let (code, _, err) = two.run(&["run-on", "c", "--", "true"]);
    assert!(
        code == Some(2) && err.contains("no host is called `c`; there are a, b"),
        "{err}"
    );
}

/// One that cannot be reached is said, and the others go on.
#[test]
fn a_host_that_does_not_answer_is_said_and_never_taken_for_absent() {
    let Some(mut two) = Two::start("") else {
        return;
    };
    two.b.stop();
    let (code, out, err) = two.run(&["run-on", "all", "--", "echo", "here"]);
    assert_eq!((code, out.as_str()), (Some(1), "a | here\n"));
    assert!(
        err.contains("✗ b: 127.0.0.1 refuses SSH connections") && err.contains("Hint:"),
        "{err}"
    );
    let (code, out, _) = two.run(&["--on", "b", "ps"]);
    assert_eq!((code, out.lines().count()), (Some(1), 1), "{out}");
    let (code, _, err) = two.run(&["--on", "b", "exec", "web", "true"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("no host that answers has a container web")
            && err.contains("b does not answer, and may have it"),
        "{err}"
    );
    let (code, out, err) = two.run(&["logs", "b"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("b cannot be asked") && err.contains("refuses SSH connections"),
        "{err}"
    );
    let (code, out, err) = two.run(&["status", "b"]);
    assert_eq!((code, out.as_str()), (Some(1), "unreachable\n"), "{err}");
}

/// Contexts are read by Docker's own client, where there is one.
#[test]
fn dockers_client_has_a_context_for_each_host() {
    let home = tempfile::tempdir().unwrap();
    let inventory = "cluster: prod\nhosts: [{name: a, address: db-1, ssh: {user: ops}}, {name: b, address: 'fd00::2'}]\n";
    std::fs::write(home.path().join("cluster.yaml"), inventory).unwrap();
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        for name in [
            "DOCKER_CONFIG",
            "DOCKER_CONTEXT",
            "DOCKER_HOST",
            "DOCKER_CLUSTER_FILE",
        ] {
            command.env_remove(name);
        }
        let ran = command
            .env("HOME", home.path())
            .current_dir(home.path())
            .args(arguments)
            .output()
            .unwrap();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let ours = |arguments: &[&str]| run(Path::new(env!("CARGO_BIN_EXE_docker-cluster")), arguments);
    assert_eq!(
        ours(&["context", "create"]),
        (Some(0), "prod-a\nprod-b\n".to_owned(), String::new())
    );
    assert_eq!(
        ours(&["context", "create", "a"]).1,
        "prod-a\n",
        "twice is as once"
    );
    assert_eq!(ours(&["active"]).0, Some(1));
    match program("docker") {
        Some(docker) => {
            let format = "{{.Name}} {{.DockerEndpoint}} {{.Description}}";
            let (_, out, err) = run(&docker, &["context", "ls", "--format", format]);
            assert!(
                out.contains("prod-a ssh://ops@db-1 a of the cluster prod\n"),
                "{out}{err}"
            );
            assert!(
                out.contains("prod-b ssh://[fd00::2] b of the cluster prod\n"),
                "{out}{err}"
            );
            let format = "{{.Endpoints.docker.Host}}";
            assert_eq!(
                run(
                    &docker,
                    &["context", "inspect", "prod-a", "--format", format]
                )
                .1,
                "ssh://ops@db-1\n"
            );
            assert_eq!(run(&docker, &["context", "use", "prod-b"]).0, Some(0));
            assert_eq!(ours(&["active"]).1, "b\n");
            let (code, _, err) = ours(&["context", "rm"]);
            assert!(
                code == Some(1) && err.contains("prod-b is the context that Docker's client uses"),
                "{err}"
            );
            assert_eq!(run(&docker, &["context", "use", "default"]).0, Some(0));
            // One that Docker's client has made under the same name is the person's own.
            assert_eq!(ours(&["context", "rm", "a"]).1, "prod-a\n");
            let made = [
                "context",
                "create",
                "prod-a",
                "--docker",
                "host=ssh://theirs",
            ];
            assert_eq!(run(&docker, &made).0, Some(0));
            let (code, out, err) = ours(&["context", "create"]);
            assert!(code == Some(1) && out.is_empty(), "{out}");
            assert!(
                err.contains("there is a context prod-a that is not of this cluster"),
                "{err}"
            );
            assert_eq!(ours(&["context", "rm"]).1, "prod-b\n");
            assert_eq!(
                run(
                    &docker,
                    &["context", "inspect", "prod-a", "--format", format]
                )
                .1,
                "ssh://theirs\n"
            );
            assert_eq!(run(&docker, &["context", "rm", "prod-a"]).0, Some(0));
        }
        None => {
            skipped("there is no client of Docker here, so nobody has read the contexts");
            assert_eq!(ours(&["context", "rm"]).1, "prod-a\nprod-b\n");
        }
    }
    let (_, out, _) = ours(&["context", "ls", "--output", "json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["contexts"],
        serde_json::json!([])
    );
    assert_eq!(
        std::fs::read_dir(home.path().join(".docker/contexts/meta"))
            .unwrap()
            .count(),
        0,
        "nothing is left"
    );
}

/// What needs no host: where it is, in all the forms that scripts want.
#[test]
fn scripts_are_told_what_the_inventory_says() {
    let home = tempfile::tempdir().unwrap();
    let inventory = "cluster: prod\nhosts:\n  - {name: a, address: 10.0.0.1, ssh: {user: ops, port: 2222, identity: /k}, tags: [x], labels: {disk: ssd}}\n  \
        - {name: b, address: 'fd00::2', tags: [y]}\n";
    std::fs::write(home.path().join("cluster.yaml"), inventory).unwrap();
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docker-cluster"));
        for name in [
            "DOCKER_CONFIG",
            "DOCKER_CONTEXT",
            "DOCKER_HOST",
            "DOCKER_MACHINE_NAME",
            "DOCKER_CLUSTER_FILE",
        ] {
            command.env_remove(name);
        }
        command
            .env("HOME", home.path())
            .current_dir(home.path())
            .envs(variables.iter().copied());
        let ran = command.args(arguments).output().unwrap();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let out = |arguments: &[&str]| {
        let (code, out, err) = run(&[], arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        out
    };
    assert_eq!(out(&["ip", "b", "a"]), "fd00::2\n10.0.0.1\n");
    assert_eq!(out(&["url", "a"]), "ssh://ops@10.0.0.1:2222\n");
    assert_eq!(out(&["config", "b"]), "-H=ssh://[fd00::2]\n");
    assert_eq!(out(&["ls", "-q"]), "a\nb\n");
    assert_eq!(out(&["ls", "-q", "--filter", "tag=y"]), "b\n");
    let format = "{{.Name}} {{.Driver.IPAddress}} {{.Driver.SSHUser}} {{.Driver.SSHPort}} {{.Driver.SSHKeyPath}}";
    assert_eq!(
        out(&["inspect", "--format", format, "a", "b"]),
        "a 10.0.0.1 ops 2222 /k\nb fd00::2  22 \n"
    );
    let document: Value = serde_json::from_str(&out(&["inspect", "a"])).unwrap();
    assert_eq!(
        document["HostOptions"]["EngineOptions"]["Labels"],
        serde_json::json!(["disk=ssd"])
    );
    assert!(
        out(&["inspect", "a"]).starts_with("{\n    \"Name\": \"a\","),
        "four blanks, as docker-machine has it"
    );
    let (code, _, err) = run(&[], &["inspect", "--format", "{{.Driver.Nothing}}", "a"]);
    assert!(
        code == Some(2)
            && err.contains("--format: there is no field `.Nothing`; there are MachineName"),
        "{err}"
    );
    let (code, _, err) = run(&[], &["ip", "a", "c"]);
    assert!(
        code == Some(2) && err.contains("no host is called `c`"),
        "{err}"
    );
    let active = |variables: &[(&str, &str)]| run(variables, &["active"]);
    assert_eq!(active(&[("DOCKER_HOST", "ssh://[fd00::2]")]).1, "b\n");
    assert_eq!(active(&[("DOCKER_CONTEXT", "prod-a")]).1, "a\n");
    assert_eq!(
        active(&[("DOCKER_HOST", "tcp://x:1"), ("DOCKER_CONTEXT", "prod-a")]).0,
        Some(1),
        "as Docker's client decides"
    );
}
