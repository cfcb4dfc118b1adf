//! Ways into a host that are not what one would like: a private sshd on loopback, with the settings that make them so.
//!
//! It logs in whoever runs the tests, as that user, on this machine. Nothing here needs root, and nothing is changed. Where there is no
//! sshd, each test says *skipped*.

mod sshd;

use std::io::Write;
use std::path::Path;
use std::process::{Command as Local, Stdio};
use std::time::Duration;

use docker_cluster::host::{Command, Connector, HostError, Rights, forget};
use docker_cluster::inventory::HostSpec;
use sshd::{Sshd, is_root, program, skipped};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn login(argv: &[&str]) -> Command {
    Command::new(argv.iter().copied()).rights(Rights::Login)
}

/// Start files that print, wrappers that print, and login shells that are none of the family of sh.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_prints_and_which_shell_it_is_makes_no_difference() {
    let plain = r#"exec sh -c "$SSH_ORIGINAL_COMMAND""#.to_owned();
    let mut ways = vec![
        plain.clone(),
        format!("echo Welcome; echo to this host >&2; {plain}"),
        format!("printf 'no line feed'; printf '%%' >&2; {plain}"),
        r#"printf x; sh -c "$SSH_ORIGINAL_COMMAND"; status=$?; printf bye; echo bye >&2; exit $status"#.to_owned(),
        r#"trap 'echo bye' EXIT; sh -x -c "$SSH_ORIGINAL_COMMAND""#.to_owned(),
    ];
    for shell in ["bash", "zsh", "ksh", "tcsh", "fish"] {
        match program(shell) {
            Some(path) => ways.push(format!(
                r#"echo noise; exec {} -c "$SSH_ORIGINAL_COMMAND""#,
                path.display()
            )),
            None => skipped(&format!("there is no {shell} here")),
        }
    }
    for way in ways {
        let Some(sshd) = Sshd::start(&format!("ForceCommand {way}")) else {
            return;
        };
        let host = sshd.connected().await;
        let script = "printf '<%s>' \"$@\"; cat; printf err >&2; exit 5";
        let arguments = ["it's", "two\nlines", "!! $HOME `id`", "\\n ä"];
        let argv: Vec<&str> = ["sh", "-c", script, "sh"]
            .into_iter()
            .chain(arguments)
            .collect();
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let output = host.run(&login(&argv).stdin(bytes.clone())).await.unwrap();
        let told: String = arguments.iter().map(|word| format!("<{word}>")).collect();
        assert!(
            output.stdout == [told.as_bytes(), &bytes].concat(),
            "{way}: {}",
            output.stdout.len()
        );
        assert_eq!((output.status, &*output.stderr), (5, &b"err"[..]), "{way}");
        // A script comes on standard input, and is no longer read by the login shell line by line.
        let output = host
            .run(
                &Command::script("echo 1\nif true; then\necho \"$1\"\nfi\n", ["x"])
                    .rights(Rights::Login),
            )
            .await;
        assert_eq!(output.unwrap().stdout, b"1\nx\n", "{way}");
        // Streams: every byte there and back, and not one before them.
        let mut stream = host.stream(&login(&["cat"])).await.unwrap();
        let (mut input, mut output) = (stream.stdin().unwrap(), stream.stdout().unwrap());
        let send = async {
            input.write_all(&bytes).await.unwrap();
            input.flush().await.unwrap();
        };
        let mut back = vec![0; bytes.len()];
        let ((), read) = tokio::join!(send, output.read_exact(&mut back));
        read.unwrap();
        assert!(back == bytes, "{way}");
        // And a command of a person arrives as they typed it.
        let ran = sshd
            .docker_cluster("")
            .args(["ssh", "a", "--", "printf", "[%s]"])
            .args(arguments)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        let told: String = arguments.iter().map(|word| format!("[{word}]")).collect();
        assert!(
            out.contains(&told),
            "{way}: {out} {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        forget(&sshd.spec()).await;
    }
}

/// What somebody exports at login, sudo keeps or a person's tools need is not what our commands see.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_exports_reaches_no_command() {
    let set = "SetEnv DOCKER_HOST=tcp://192.0.2.1:2375 DOCKER_CONTEXT=other PERL5OPT=-Mnothing LC_ALL=de_DE.UTF-8 CONSUL_HTTP_ADDR=x";
    let Some(sshd) = Sshd::start(set) else { return };
    let host = sshd.connected().await;
    let told = host.check(&login(&["env"])).await.unwrap();
    assert!(
        told.contains("DOCKER_HOST=unix:///var/run/docker.sock\n") && told.contains("LC_ALL=C\n"),
        "{told}"
    );
    for name in ["DOCKER_CONTEXT", "PERL5OPT", "CONSUL_HTTP_ADDR"] {
        assert!(!told.contains(name), "{told}");
    }
    forget(&sshd.spec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_runs_nothing_is_told_in_its_own_words() {
    for (command, words) in [
        (
            r#"echo 'Please login as the user "admin" rather than the user "root".'; echo; exit 142"#,
            "Please login as the user \"admin\"",
        ),
        (
            "echo This account is currently not available.; exit 1",
            "This account is currently not available.",
        ),
        (
            "echo This service allows sftp connections only. >&2; exit 1",
            "sftp connections only",
        ),
        ("exit 1", "it says nothing"),
        ("exit 127", "it says nothing"),
    ] {
        let Some(sshd) = Sshd::start(&format!("ForceCommand {command}")) else {
            return;
        };
        let host = sshd.connected().await;
        let error = host.run(&Command::new(["true"])).await.unwrap_err();
        assert!(
            matches!(error, HostError::NoShell { .. }),
            "{command}: {error:?}"
        );
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().contains("set `user:`"), "{}", error.hint());
        forget(&sshd.spec()).await;
        // A person sees both, before anything is done.
        let ran = sshd.docker_cluster("").args(["plan"]).output().unwrap();
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{err}");
        assert!(
            err.contains(words)
                && err.contains("set `user:`")
                && err.contains("✗ a: cannot be asked"),
            "{err}"
        );
        let _ = sshd.docker_cluster("").arg("disconnect").output();
    }
}

/// A menu that waits for an answer: its words, and not only that it took too long.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_waits_is_told_in_its_own_words() {
    let Some(sshd) = Sshd::start("ForceCommand echo '1) shell 2) reboot'; exec sleep 60") else {
        return;
    };
    let host = sshd.connected().await;
    let error = host
        .run(&login(&["true"]).timeout(Duration::from_secs(5)))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, HostError::NoShell { words, .. } if words == "1) shell 2) reboot"),
        "{error:?}"
    );
    forget(&sshd.spec()).await;
}

/// A dozen short commands at once while three streams stay open, whatever sshd allows on a connection.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_as_many_as_sshd_allows() {
    for most in [1, 2, 4, 10] {
        let Some(sshd) = Sshd::start(&format!("MaxSessions {most}")) else {
            return;
        };
        let host = sshd.connected().await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut stream = host.stream(&login(&["cat"])).await.unwrap();
            let ends = (stream.stdin().unwrap(), stream.stdout().unwrap());
            streams.push((stream, ends));
        }
        let commands = (0..12).map(|number| {
            let host = &host;
            async move {
                host.check(&login(&[
                    "sh",
                    "-c",
                    "sleep 0.05; echo \"$1\"",
                    "sh",
                    &number.to_string(),
                ]))
                .await
            }
        });
        for (number, told) in futures_util::future::join_all(commands)
            .await
            .into_iter()
            .enumerate()
        {
            assert_eq!(
                told.unwrap_or_else(|error| panic!("MaxSessions {most}: {error}")),
                format!("{number}\n")
            );
        }
        for (_, (input, output)) in &mut streams {
            input.write_all(b"still here").await.unwrap();
            input.flush().await.unwrap();
            let mut back = [0; 10];
            output.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"still here", "MaxSessions {most}");
        }
        drop(streams);
        drop(host);
        // A second command of the same person finds what the first left, and what it needs.
        let host = sshd.connected().await;
        host.check(&login(&["true"])).await.unwrap();
        forget(&sshd.spec()).await;
    }
    let Some(sshd) = Sshd::start("MaxSessions 0") else {
        return;
    };
    let host = sshd.connected().await;
    let error = host.check(&login(&["true"])).await.unwrap_err();
    assert!(matches!(error, HostError::NoSession { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("opens no session on a connection"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .contains("`MaxSessions` in /etc/ssh/sshd_config"),
        "{}",
        error.hint()
    );
    forget(&sshd.spec()).await;
}

/// Many who log in at a time behind one sshd that lets in few: as hosts behind a hardened jump host.
#[tokio::test(flavor = "multi_thread")]
async fn logins_are_as_many_at_a_time_as_sshd_allows() {
    let Some(sshd) = Sshd::start("MaxStartups 1:100:1") else {
        return;
    };
    // Each file of known keys is a way of its own, and has a connection of its own.
    let specs: Vec<HostSpec> = (0..8)
        .map(|number| {
            let mut spec = sshd.spec();
            spec.ssh.known_hosts = Some(sshd.path(&format!("known-{number}")));
            spec
        })
        .collect();
    let connector = Connector::new().unwrap();
    let all = specs.iter().map(|spec| async {
        let host = connector.connect(spec).await?;
        host.check(&login(&["true"])).await
    });
    let results = futures_util::future::join_all(all).await;
    for spec in &specs {
        forget(spec).await;
    }
    for result in results {
        result.unwrap();
    }
}

/// The person's own configuration is not the inventory.
#[test]
fn who_asks_for_known_keys_is_named() {
    let Some(sshd) = Sshd::start("") else { return };
    std::fs::create_dir(sshd.path(".ssh")).unwrap();
    std::fs::write(
        sshd.path(".ssh/config"),
        "Host *\n  StrictHostKeyChecking yes\n",
    )
    .unwrap();
    let told = |ssh: &str| {
        let ran = sshd.docker_cluster(ssh).args(["plan"]).output().unwrap();
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let (code, err) = told("");
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(
            "the host key of 127.0.0.1 is not known, and your ssh configuration takes no new ones"
        ),
        "{err}"
    );
    assert!(
        err.contains("`host_key: accept-new` in the inventory")
            && !err.contains("the inventory asks"),
        "{err}"
    );
    let (_, err) = told(", host_key: strict");
    assert!(
        err.contains("and the inventory asks for `host_key: strict`"),
        "{err}"
    );
    // The remedy is one.
    let (_, err) = told(", host_key: accept-new");
    assert!(!err.contains("host key"), "{err}");
    let _ = sshd.docker_cluster("").arg("disconnect").output();
}

/// Docker's client speaks HTTP through the ssh of `env`: not a byte comes before it, and it asks the engine of that host.
#[test]
fn dockers_client_hears_the_engine_and_nothing_else() {
    if !is_root() && std::fs::metadata("/var/run/docker.sock").is_err() {
        return skipped(
            "neither root nor an engine's socket: whose rights Docker's client would have is not known",
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    std::fs::write(
        &docker,
        "#!/bin/sh\nprintf '%s|%s|' \"$*\" \"${DOCKER_HOST-none}\"; echo words >&2; cat; exit 7\n",
    )
    .unwrap();
    assert!(
        Local::new("chmod")
            .arg("+x")
            .arg(&docker)
            .status()
            .unwrap()
            .success()
    );
    let set = format!(
        "SetEnv DOCKER_HOST=tcp://192.0.2.1:2375 PATH={}:/usr/bin:/bin\nMaxSessions 1\nMaxStartups 1:100:1",
        folder.path().display()
    );
    let noisy =
        r#"ForceCommand printf 'Welcome'; echo motd >&2; exec sh -c "$SSH_ORIGINAL_COMMAND""#;
    let Some(sshd) = Sshd::start(&format!("{set}\n{noisy}")) else {
        return;
    };
    let path = format!("{}:/usr/bin:/bin", std::env::var("PATH").unwrap());
    let exports = sshd
        .docker_cluster("")
        .args(["env", "a"])
        .env("PATH", &path)
        .output()
        .unwrap();
    let script = format!(
        "{}\nexec ssh -l me -p {} 127.0.0.1 docker system dial-stdio",
        String::from_utf8_lossy(&exports.stdout),
        sshd.port
    );
    // Without a user in the inventory, Docker's client names none.
    let script = script.replace("-l me ", "");
    let dial = || {
        let mut command = sshd.docker_cluster("");
        let environment: Vec<_> = command
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        command = Local::new("sh");
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command
            .args(["-c", &script])
            .env("PATH", &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        (child, move || {
            stdin
                .write_all(b"GET /_ping HTTP/1.1\r\n\r\n\0\xff")
                .unwrap()
        })
    };
    // A master with its only session taken, and one login at a time: ssh makes a connection of its own, and says nothing of it to Docker's client.
    let hold = sshd.docker_cluster("").args(["plan"]).output().unwrap();
    assert!(
        !String::from_utf8_lossy(&hold.stderr).contains("MaxSessions"),
        "{}",
        String::from_utf8_lossy(&hold.stderr)
    );
    let mut all: Vec<_> = (0..4).map(|_| dial()).collect();
    for (_, send) in &mut all {
        send();
    }
    for (child, send) in all {
        drop(send);
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        let asked: &[u8] = b"-H unix:///var/run/docker.sock system dial-stdio|none|GET /_ping HTTP/1.1\r\n\r\n\0\xff";
        assert!(output.stdout == asked, "{out}{err}");
        assert_eq!((output.status.code(), err.as_str()), (Some(7), "words\n"));
    }
    let _ = sshd.docker_cluster("").arg("disconnect").output();
    assert!(no_master_is_left(sshd.folder.path()));
}

fn no_master_is_left(folder: &Path) -> bool {
    let left = std::fs::read_dir(folder.join("docker-cluster"))
        .into_iter()
        .flatten()
        .flatten();
    !left
        .map(|entry| entry.path())
        .any(|path| path.extension().is_some_and(|ext| ext == "ctl"))
}
