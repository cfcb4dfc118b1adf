//! The commands of every day on two hosts: one view of their containers, contexts, restarts, and what a host that is off makes of them.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::harness::{Lab, Ran, docker};

/// The image of the smoke test on both hosts, and a container `web` and `one` or `two` on each.
fn with_containers(lab: &Lab) {
    for (host, own) in [(1, "one"), (2, "two")] {
        lab.load_smoke_image(host);
        let image = lab.smoke_image();
        for name in [own, "web"] {
            let run = "echo started; echo to-err >&2; exec sleep 100000";
            lab.sh(
                host,
                &format!("docker run -d --name {name} --restart always --stop-timeout 0 {image} sh -c '{run}'"),
            );
        }
    }
    lab.sh(
        2,
        &format!(
            "docker run --name ended {} false || true",
            lab.smoke_image()
        ),
    );
}

#[test]
#[ignore = "needs a Docker engine"]
fn one_view_of_all_hosts() {
    let lab = Lab::up("everyday", &["--hosts", "2", "--os", "debian-13"]);
    with_containers(&lab);
    let (a, b) = (lab.host(1), lab.host(2));
    containers_are_listed(&lab, &a, &b);
    containers_are_used_by_name(&lab, &a, &b);
    hosts_are_told(&lab, &a, &b);
    dockers_client_follows(&lab, &a);
    engines_restart(&lab, &a);
    silence_is_said(&lab, &a, &b);
}

fn containers_are_listed(lab: &Lab, a: &str, b: &str) {
    let out = lab
        .run(&["ps", "--format", "{{.Host}} {{.Names}}"])
        .expect(0)
        .out;
    assert_eq!(out, format!("{a} one\n{a} web\n{b} two\n{b} web\n"));
    let out = lab.run(&["ps"]).expect(0).out;
    assert!(
        out.starts_with("HOST") && out.lines().count() == 5 && out.contains("bridge"),
        "{out}"
    );
    assert!(!out.contains("ended"), "{out}");
    let out = lab
        .run(&[
            "ps",
            "-a",
            "--filter",
            "name=ended",
            "--format",
            "{{.Host}} {{.Status}}",
        ])
        .expect(0)
        .out;
    assert!(out.starts_with(&format!("{b} Exited (1)")), "{out}");
    let document = lab
        .run(&["ps", "--output", "json", "--filter", "name=two"])
        .expect(0)
        .json();
    let only = &document["containers"][0];
    assert_eq!(
        (only["host"].as_str(), only["name"].as_str()),
        (Some(b), Some("two")),
        "{document}"
    );
    assert_eq!(only["networks"], serde_json::json!(["bridge"]));
    let ids = lab.run(&["--on", a, "ps", "-q"]).expect(0).out;
    let own = lab.sh(1, "docker ps -q");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ids), sorted(&own), "as Docker's client has them");
}

fn containers_are_used_by_name(lab: &Lab, a: &str, b: &str) {
    // On a host with a login that needs sudo as well as on one of root.
    for (name, number) in [("one", 1), ("two", 2)] {
        let hostname = lab.sh(number, &format!("docker exec {name} hostname"));
        assert_eq!(lab.run(&["exec", name, "hostname"]).expect(0).out, hostname);
    }
    let ran = lab.run(&[
        "exec",
        "-e",
        "X=it's $HOME",
        "-w",
        "/tmp",
        "two",
        "sh",
        "-c",
        "pwd; echo \"$X\"; echo e >&2; exit 7",
    ]);
    let ran = ran.expect(7);
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("/tmp\nit's $HOME\n", "e\n")
    );
    let input = |flags: &[&str]| {
        let mut child = lab
            .command()
            .args(["-f", lab.file().to_str().unwrap(), "exec"])
            .args(flags)
            .args(["one", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"typed").unwrap();
        Ran::from(child.wait_with_output().unwrap()).expect(0).out
    };
    assert_eq!(
        (input(&["-i"]), input(&[])),
        ("typed".to_owned(), String::new())
    );
    let ran = lab.run(&["exec", "-t", "one", "true"]);
    assert!(
        ran.code == 2 && ran.err.contains("there is no terminal here"),
        "{}",
        ran.err
    );
    on_a_terminal(lab);
    // A name that two hosts have is a question, which --on answers.
    let ran = lab.run(&["exec", "web", "true"]).expect(2);
    assert!(
        ran.err
            .contains(&format!("2 hosts have a container web: {a} (Up")),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains(&format!("say which: `--on {a}`")),
        "{}",
        ran.err
    );
    lab.run(&["--on", b, "exec", "web", "true"]).expect(0);
    let ran = lab.run(&["exec", "nobody", "true"]).expect(1);
    assert!(
        ran.err.contains("no host has a container nobody"),
        "{}",
        ran.err
    );
    // Logs: of containers, with both streams, and of hosts.
    let ran = lab.run(&["logs", "two"]).expect(0);
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("started\n", "to-err\n")
    );
    assert_eq!(lab.run(&["logs", "-n", "0", "two"]).expect(0).out, "");
    a_log_is_followed(lab);
    let out = lab.run(&["logs", b]).expect(0).out;
    assert!(out.contains("dockerd"), "{out}");
    let out = lab.run(&["logs", b, "docker", "-n", "1"]).expect(0).out;
    assert!(out.contains("docker") && out.lines().count() == 1, "{out}");
    let err = lab.run(&["logs", b, "nope.service"]).expect(1).err;
    assert!(
        err.contains(&format!("{b} has no unit nope.service")),
        "{err}"
    );
}

/// What is followed ends on its host when nobody listens any more, also where it has nothing to say.
fn a_log_is_followed(lab: &Lab) {
    let mut child = lab
        .command()
        .args([
            "-f",
            lab.file().to_str().unwrap(),
            "logs",
            "--follow",
            "two",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut heard = [0; 8];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut heard).unwrap();
    assert_eq!(&heard, b"started\n");
    let of_it = "pgrep -fc '[d]ocker logs --follow'";
    assert!(lab.ask(2, of_it).is_ok());
    assert!(
        Command::new("kill")
            .args(["-KILL", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    child.wait().unwrap();
    lab.eventually("nothing follows any more", || match lab.ask(2, of_it) {
        Ok(count) => Err(format!("{count} processes still do")),
        Err(_) => Ok(()),
    });
}

/// With `script`, which lends a terminal to what it runs.
fn on_a_terminal(lab: &Lab) {
    let Ok(found) = Command::new("script").arg("--version").output() else {
        return super::harness::skipped("there is no `script` here to lend a terminal");
    };
    assert!(found.status.success());
    let line = format!(
        "{} -f {} exec -it two sh -c '[ -t 0 ] && [ -t 1 ] && echo terminal; exit 5' 2>/dev/null",
        env!("CARGO_BIN_EXE_docker-cluster"),
        lab.file().display()
    );
    let mut command = Command::new("script");
    for (name, value) in lab.command().get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    let ran = command
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let ran = Ran::from(ran).expect(5);
    // `script` shows the end of its own input as well; and at the end this terminal may already make its own line ends again.
    let said = ran.out.replace('\r', "");
    assert!(
        said.contains("terminal\n") && !said.contains(".begin"),
        "{:?}",
        ran.out
    );
}

fn hosts_are_told(lab: &Lab, a: &str, b: &str) {
    let private = [1, 2].map(|host| {
        lab.sh(
            host,
            "ip -4 -o address show dev eth0 | sed 's,.*inet \\([0-9.]*\\)/.*,\\1,'",
        )
    });
    assert_eq!(
        lab.run(&["ip", "--private", a, b]).expect(0).out,
        private.concat()
    );
    assert_eq!(lab.run(&["ip", a]).expect(0).out, "127.0.0.1\n");
    assert_eq!(lab.run(&["status", a]).expect(0).out, "up\n");
    let out = lab
        .run(&[
            "ls",
            "--format",
            "table {{.Name}}\\t{{.State}}\\t{{.DriverName}}",
        ])
        .expect(0)
        .out;
    assert!(
        out.starts_with("NAME")
            && out.contains("STATE  DRIVERNAME\n")
            && out.contains("up     generic\n"),
        "{out}"
    );
    let ran = lab
        .run(&["run-on", "*", "--root", "--", "id", "-u"])
        .expect(0);
    assert_eq!(
        ran.out
            .lines()
            .filter(|line| line.ends_with(" | 0"))
            .count(),
        2,
        "{}",
        ran.out
    );
    let ran = lab.run(&["run-on", b, "--", "id", "-un"]).expect(0);
    assert_eq!(ran.out, format!("{b} | ops\n"), "{}", ran.out);
    lab.sh(2, "systemctl stop docker.socket docker");
    let ran = lab.run(&["status", b]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "engine stopped\n"));
    assert_eq!(
        lab.run(&["ls", "-q", "--filter", "state=up"]).expect(0).out,
        format!("{a}\n")
    );
    lab.sh(2, "systemctl start docker");
}

/// Docker's own client on this machine, with a context and the ssh configuration, and nothing of `env`.
fn dockers_client_follows(lab: &Lab, a: &str) {
    let folder = lab.file().with_file_name("client");
    std::fs::create_dir(&folder).unwrap();
    let in_folder = |arguments: &[&str]| {
        let mut command = lab.command();
        command
            .env("DOCKER_CONFIG", &folder)
            .args(["-f", lab.file().to_str().unwrap()])
            .args(arguments);
        Ran::from(command.output().unwrap()).expect(0)
    };
    let name = in_folder(&["context", "create", a]).out;
    std::fs::write(folder.join("fragment"), in_folder(&["ssh-config"]).out).unwrap();
    // In place of a line in the person's ~/.ssh/config, which is not a test's.
    let ssh = folder.join("ssh");
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n",
        folder.join("fragment").display()
    );
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut client = Command::new("docker");
    client
        .env_remove("DOCKER_HOST")
        .env("DOCKER_CONFIG", &folder)
        .env("PATH", &path);
    client.args(["--context", name.trim(), "ps", "--format", "{{.Names}}"]);
    let ran = Ran::from(client.output().unwrap()).expect(0);
    let mut names: Vec<&str> = ran.out.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "web"]);
    let ended = Command::new(&ssh).args(["-O", "exit", a]).output().unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    in_folder(&["context", "rm"]);
}

fn engines_restart(lab: &Lab, a: &str) {
    let started = |host| {
        lab.sh(
            host,
            "systemctl show -p ActiveEnterTimestampMonotonic --value docker",
        )
        .trim()
        .to_owned()
    };
    let before = [started(1), started(2)];
    let ran = lab.run(&["restart", a]);
    assert!(ran.code == 2 && ran.err.contains("--yes"), "{}", ran.err);
    let out = lab.run(&["restart", "--yes", a]).expect(0).out;
    assert!(out.contains("its engine is to be restarted"), "{out}");
    assert!(
        started(1) != before[0] && started(2) == before[1],
        "one, and not the other"
    );
    let between = [started(1), started(2)];
    lab.run(&["restart", "--yes"]).expect(0);
    assert!(started(1) != between[0] && started(2) != between[1]);
    // It is over when the containers run again.
    for host in 1..=2 {
        assert_eq!(lab.sh(host, "docker ps -q | wc -l").trim(), "2");
    }
}

/// A host that does not answer is said; what the others have is shown, and nobody is told that a container is nowhere.
fn silence_is_said(lab: &Lab, a: &str, b: &str) {
    lab.run(&["disconnect"]).expect(0);
    docker(&["pause", b]);
    let file = lab.variant("silent.yaml", |text| {
        // Of that host alone: the other may be slow.
        text.replace("ssh: {user: ops", "ssh: {connect_timeout: 3s, user: ops")
    });
    let listed = lab.run_with(&file, &["ps", "--format", "{{.Host}} {{.Names}}"]);
    let used = lab.run_with(&file, &["exec", "one", "true"]);
    let missed = lab.run_with(&file, &["exec", "two", "true"]);
    docker(&["unpause", b]);
    let listed = listed.expect(1);
    assert_eq!(listed.out, format!("{a} one\n{a} web\n"));
    assert!(
        listed.err.contains(&format!("✗ {b}: cannot be asked")),
        "{}",
        listed.err
    );
    let used = used.expect(0);
    assert!(
        used.err.contains("whether another one has, is not known"),
        "{}",
        used.err
    );
    let missed = missed.expect(1);
    assert!(
        missed
            .err
            .contains(&format!("{b} does not answer, and may have it")),
        "{}",
        missed.err
    );
}
