//! The command line without hosts: help, errors, exit codes, and what is on which stream.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use assert_cmd::assert::OutputAssertExt;

fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docker-cluster"));
    // A home of its own, no colours, and nothing of the caller's: the same everywhere.
    command
        .env("HOME", home)
        .current_dir(home)
        .env("NO_COLOR", "1")
        .env_remove("SHELL");
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if ["DOCKER_", "XDG_", "CLICOLOR"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(variable);
        }
    }
    command
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run_in(home: &Path, arguments: &[&str]) -> Ran {
    let output = program(home).args(arguments).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Ran {
    run_in(tempfile::tempdir().unwrap().path(), arguments)
}

fn with_inventory(text: &str, arguments: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("cluster.yaml"), text).unwrap();
    run_in(home.path(), arguments)
}

#[test]
fn help_is_as_it_was() {
    insta::assert_snapshot!(run(&["--help"]).out);
    insta::assert_snapshot!(run(&["lab", "up", "--help"]).out);
}

/// How long a command without hosts may take on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(60);

#[test]
fn no_command_waits_for_a_file_that_is_no_regular_one() {
    let home = tempfile::tempdir().unwrap();
    let made = Command::new("mkfifo")
        .arg(home.path().join("fifo"))
        .status();
    assert!(made.unwrap().success());
    let said = |settings: &str, arguments: &[&str]| {
        let text = format!("cluster: c\n{settings}\nhosts: ['127.0.0.1:1']\n");
        std::fs::write(home.path().join("cluster.yaml"), text).unwrap();
        let mut ran = assert_cmd::Command::from_std(program(home.path()));
        let output = ran.args(arguments).timeout(AT_ONCE).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    // Who only asks what is written is not kept from it.
    let of_bgp = "network: {fabric: bgp, bgp: {password_file: fifo}}";
    for settings in [of_bgp, "engine: {api: tls, ca: fifo, ca_key: fifo}"] {
        assert_eq!(
            said(settings, &["inspect", "127.0.0.1"]).0,
            Some(0),
            "{settings}"
        );
    }
    let (_, told) = said(of_bgp, &["plan"]);
    let words = "the password in fifo (cluster.yaml:2) cannot be used: it is a FIFO, and only a regular file is read";
    assert!(told.contains(words), "{told}");
}

#[test]
fn init_writes_what_every_command_reads() {
    let ran = run(&["init", "10.0.0.11", "ops@10.0.0.12:2222", "fd00::3"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
    let ran = with_inventory(&ran.out, &["env", "10.0.0.12"]);
    assert!(
        ran.out
            .starts_with("export DOCKER_HOST=ssh://ops@10.0.0.12:2222\n"),
        "{}",
        ran.out
    );
}

#[test]
fn init_refuses_what_is_no_address() {
    let ran = run(&["init", "10.0.0.11", "10.0.0.11"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("two hosts are called `10.0.0.11`"),
        "{}",
        ran.err
    );
    assert_eq!(run(&["init", "$(reboot)"]).code, 2);
    assert_eq!(run(&["init"]).code, 2);
}

#[test]
fn an_inventory_error_shows_line_caret_and_help() {
    let ran = with_inventory(
        "cluster: c\nhosts:\n  - {name: a, adress: 10.0.0.1}\n",
        &["plan"],
    );
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    insta::assert_snapshot!(ran.err);
}

#[test]
fn no_inventory_says_how_to_get_one() {
    let ran = run(&["plan"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("docker-cluster init"), "{}", ran.err);
    let ran = run(&["-f", "other.yaml", "plan"]);
    assert!(
        ran.err.contains("cannot read the inventory other.yaml"),
        "{}",
        ran.err
    );
}

#[test]
fn up_without_a_terminal_needs_yes() {
    let ran = with_inventory("hosts: [10.0.0.1]\n", &["up"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--yes"), "{}", ran.err);
}

const PLAIN: &str = "hosts: [{name: a, address: db-1}, {name: b, address: db-2}]\n";

/// A home with an inventory, a `docker` that shows what Docker's client would see, and a shell.
struct Shell {
    home: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("cluster.yaml"), PLAIN).unwrap();
        Self { home }
    }

    /// What lines of a POSIX shell print; `dc` there is docker-cluster.
    fn run(&self, variables: &[(&str, &str)], lines: &str) -> String {
        let program = env!("CARGO_BIN_EXE_docker-cluster");
        let script = format!(
            "set -eu\ndc() {{ '{program}' \"$@\"; }}\nseen() {{ env | grep '^DOCKER' | sort; }}\n{lines}"
        );
        let mut shell = self::program(self.home.path());
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(self.home.path())
            .env_clear()
            .envs(
                shell
                    .env("PATH", "/usr/bin:/bin")
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{lines}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn env_prints_exports_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("cluster.yaml"), PLAIN).unwrap();
    let output = program(home.path())
        .env("PATH", "/usr/bin:/bin")
        .args(["env", "a"])
        .output()
        .unwrap();
    let shim = home.path().join(".local/state/docker-cluster/ssh/cluster");
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "export DOCKER_HOST=ssh://db-1\nexport DOCKER_MACHINE_NAME=a\nexport DOCKER_CLUSTER_HOST=ssh://db-1\n\
             export DOCKER_CLUSTER_NAME=a\nexport PATH={}:/usr/bin:/bin\n\
             # eval \"$(docker-cluster env a)\"\n",
            shim.display()
        )
    );
    let ran = with_inventory(PLAIN, &["env", "c"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(
        ran.err.contains("no host is called `c`") && ran.err.contains("the inventory has a, b"),
        "{}",
        ran.err
    );
}

/// Docker Machine, a context, and a shell that has been pointed at a host before.
#[test]
fn what_other_tools_left_for_dockers_client_is_out_of_its_way_and_comes_back() {
    let shell = Shell::new();
    let left = [
        ("DOCKER_TLS_VERIFY", "1"),
        (
            "DOCKER_CERT_PATH",
            "/home/me/.docker/machine/machines/it's mine",
        ),
        ("DOCKER_MACHINE_NAME", "default"),
        ("DOCKER_CONTEXT", "other"),
        ("DOCKER_HOST", "tcp://192.168.99.100:2376"),
        ("DOCKER_CONFIG", "/home/me/docker"),
    ];
    let before = shell.run(&left, "seen; echo $PATH");
    let path = "echo $PATH";
    for calls in [
        "eval \"$(dc env a)\"",
        "eval \"$(dc env a)\"; eval \"$(dc env b)\"; eval \"$(dc env a)\"",
    ] {
        let during = shell.run(&left, &format!("{calls}; seen | grep -v _SAVED_"));
        assert_eq!(
            during,
            "DOCKER_CLUSTER_HOST=ssh://db-1\nDOCKER_CLUSTER_NAME=a\nDOCKER_CONFIG=/home/me/docker\n\
             DOCKER_HOST=ssh://db-1\nDOCKER_MACHINE_NAME=a\n",
            "{calls}"
        );
        let after = shell.run(
            &left,
            &format!("{calls}; eval \"$(dc env --unset)\"; seen; {path}"),
        );
        assert_eq!(after, before, "{calls}");
        // Where there was nothing, there is nothing.
        let after = shell.run(
            &[],
            &format!("{calls}; eval \"$(dc env --unset)\"; seen || true; {path}"),
        );
        assert_eq!(after, "/usr/bin:/bin\n", "{calls}");
    }
    // Only what is set is spoken of.
    assert_eq!(shell.run(&[], "dc env a | grep -c '^unset' || true"), "0\n");
    assert_eq!(shell.run(&[], "dc env --unset"), "unset DOCKER_HOST\n");
    // What somebody else has set since is theirs.
    let theirs = "eval \"$(dc env a)\"; export DOCKER_HOST=tcp://theirs:2376; eval \"$(dc env --unset)\"; seen";
    assert_eq!(shell.run(&[], theirs), "DOCKER_HOST=tcp://theirs:2376\n");
}

/// Every ssh of a shell goes by ours: it must not be in the way when the inventory or the program is gone.
#[test]
fn the_ssh_of_env_is_in_nobodys_way() {
    let shell = Shell::new();
    let fake = shell.home.path().join("bin");
    std::fs::create_dir(&fake).unwrap();
    std::fs::write(fake.join("ssh"), "#!/bin/sh\nprintf '%s\\n' \"$*\"\n").unwrap();
    Command::new("chmod")
        .arg("+x")
        .arg(fake.join("ssh"))
        .assert()
        .success();
    let begin = format!("PATH={}:$PATH; eval \"$(dc env a)\";", fake.display());
    assert_eq!(
        shell.run(&[], &format!("{begin} ssh elsewhere uptime")),
        "elsewhere uptime\n"
    );
    assert_eq!(
        shell.run(
            &[],
            &format!("{begin} echo hosts: > cluster.yaml; ssh elsewhere uptime")
        ),
        "elsewhere uptime\n"
    );
    assert_eq!(
        shell.run(
            &[],
            &format!("{begin} rm cluster.yaml; ssh elsewhere uptime")
        ),
        "elsewhere uptime\n"
    );
    std::fs::write(shell.home.path().join("cluster.yaml"), PLAIN).unwrap();
    let gone = format!(
        "{begin} f=$(dirname $(command -v ssh)); sed -i s,^program=.*,program=/gone, $f/ssh; sed -i 's, program=[^ ]*, program=/gone,' $f/ssh; ssh elsewhere uptime"
    );
    assert_eq!(shell.run(&[], &gone), "elsewhere uptime\n");
}

#[test]
fn env_swarm_asks_and_says_so_when_nobody_answers() {
    let text = "hosts:\n  - {name: a, address: 127.0.0.1, ssh: {port: 1}}\n  - {name: b, address: nowhere.invalid}\n";
    let ran = with_inventory(text, &["env", "--swarm"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "nothing to eval");
    assert!(
        ran.err
            .contains("no host answers that could say who is a manager"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("a: 127.0.0.1 refuses SSH connections")
            && ran.err.contains("b: cannot resolve"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("Hint:"), "{}", ran.err);
    // One host needs no connection.
    assert_eq!(with_inventory(text, &["env", "a"]).code, 0);
}

#[test]
fn an_inventory_in_another_encoding_is_named_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let text = "cluster: k\nhosts:\n  - {name: a, address: 10.0.0.1}  # Köln\n";
    let told = |bytes: &[u8]| {
        std::fs::write(home.path().join("cluster.yaml"), bytes).unwrap();
        run_in(home.path(), &["env", "a"])
    };
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let latin: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c as u32).unwrap())
        .collect();
    for (bytes, place, encoding) in [
        (
            [&b"\xff\xfe"[..], &wide(u16::to_le_bytes)].concat(),
            "line 1, byte 1 (0xff)",
            "UTF-16",
        ),
        (
            [&b"\xfe\xff"[..], &wide(u16::to_be_bytes)].concat(),
            "line 1, byte 1 (0xfe)",
            "UTF-16",
        ),
        (wide(u16::to_le_bytes), "line 1, byte 2 (0x00)", "UTF-16LE"),
        (latin, "line 3, byte 38 (0xf6)", "ISO-8859-1"),
    ] {
        let ran = told(&bytes);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(
            ran.err.contains("cannot read the inventory cluster.yaml") && ran.err.contains(place),
            "{}",
            ran.err
        );
        let way_out = format!("`iconv -f {encoding} -t UTF-8 cluster.yaml > new.yaml`");
        assert!(ran.err.contains(&way_out), "{}", ran.err);
        // It is one: the file that it makes is read.
        let line = format!("iconv -f {encoding} -t UTF-8 cluster.yaml > new.yaml");
        Command::new("sh")
            .args(["-c", &line])
            .current_dir(home.path())
            .assert()
            .success();
        assert_eq!(run_in(home.path(), &["-f", "new.yaml", "env", "a"]).code, 0);
    }
    assert_eq!(
        told(&[b"\xef\xbb\xbf", text.as_bytes()].concat()).code,
        0,
        "a mark before UTF-8 means nothing"
    );
    let ran = told(b"cluster: k\nhosts:\n  - \0\n");
    assert!(
        ran.code == 2 && ran.err.contains("line 3, byte 5 (0x00)") && ran.err.contains("od -c"),
        "{}",
        ran.err
    );
}

#[test]
fn env_of_a_host_with_a_key_brings_an_ssh_that_knows_it() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(
        home.path().join("cluster.yaml"),
        "hosts: [{name: a, address: db-1, ssh: {identity: a key}}]\n",
    )
    .unwrap();
    let ran = run_in(home.path(), &["env", "a"]);
    let shim = home.path().join(".local/state/docker-cluster/ssh/cluster");
    assert!(
        ran.out
            .contains(&format!("export PATH={}:", shim.display())),
        "{}",
        ran.out
    );
    // The folder goes before the ssh of this machine, which here is one that shows what it is asked.
    let fake = home.path().join("bin");
    std::fs::create_dir(&fake).unwrap();
    std::fs::write(
        fake.join("ssh"),
        "#!/bin/sh\nprintf '%s\\n' \"$@\" | tee \"$HOME/asked\"\n",
    )
    .unwrap();
    Command::new("chmod")
        .arg("+x")
        .arg(fake.join("ssh"))
        .assert()
        .success();
    let path = format!("{}:{}:/usr/bin:/bin", shim.display(), fake.display());
    let asked = program(home.path())
        .env("PATH", &path)
        .args(["docker-ssh", "--", "-l", "x", "other", "true"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&asked.stdout),
        "-l\nx\nother\ntrue\n",
        "another host is none of our business"
    );
    let asked = Command::new(shim.join("ssh"))
        .env("PATH", &path)
        .env("HOME", home.path())
        .args(["--", "db-1", "docker", "system", "dial-stdio"])
        .output()
        .unwrap();
    // What comes without a mark is not the engine's, and not let through.
    assert_eq!((asked.status.code(), &*asked.stdout), (Some(1), &b""[..]));
    let asked = String::from_utf8_lossy(&asked.stderr);
    assert!(
        asked.contains("no way to the engine") && asked.contains("db-1 runs no commands"),
        "{asked}"
    );
    let asked = std::fs::read_to_string(home.path().join("asked")).unwrap();
    assert!(
        asked.contains(&format!("-i\n{}\n", home.path().join("a key").display())),
        "{asked}"
    );
    assert!(
        asked.contains("docker -H unix:///var/run/docker.sock system dial-stdio"),
        "{asked}"
    );
    let asked = Command::new(shim.join("ssh"))
        .env("PATH", &path)
        .env("HOME", home.path())
        .args(["--", "db-1", "uptime"])
        .output()
        .unwrap();
    let asked = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.ends_with("db-1\nuptime\n"), "{asked}");
}

#[test]
fn on_selects_hosts_or_says_what_there_is() {
    let ran = with_inventory("hosts: [{name: a, address: x}]\n", &["plan", "--on", "b"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("--on: no host is called `b`; there are a"),
        "{}",
        ran.err
    );
}

#[test]
fn it_is_a_plugin_of_dockers_client() {
    let ran = run(&["docker-cli-plugin-metadata"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["SchemaVersion"], "0.1.0");
    assert!(document["Vendor"].is_string() && document["ShortDescription"].is_string());
    assert!(
        run(&["cluster", "--help"])
            .out
            .contains("Usage: docker cluster [OPTIONS] <COMMAND>")
    );
    assert!(
        run(&["--help"])
            .out
            .contains("Usage: docker-cluster [OPTIONS] <COMMAND>")
    );
    // `docker cluster schema` arrives with the plugin's own name in front.
    assert_eq!(run(&["cluster", "schema"]).out, run(&["schema"]).out);
}

#[test]
fn the_schema_is_as_it_was() {
    insta::assert_snapshot!(run(&["schema"]).out);
}

#[test]
fn ways_not_to_get_in_read_differently() {
    // Port 1 of loopback is closed everywhere; the name is reserved and never resolves (RFC 6761).
    let text = "hosts:\n  - {name: closed, address: 127.0.0.1, ssh: {port: 1}}\n  - {name: nowhere, address: nowhere.invalid}\n";
    let ran = with_inventory(text, &["plan"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err
            .contains("127.0.0.1 refuses SSH connections on that port"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("cannot resolve the name nowhere.invalid"),
        "{}",
        ran.err
    );
    assert_eq!(ran.err.matches("Hint:").count(), 2);
    assert!(
        !ran.out.contains("as the inventory says"),
        "nobody was asked: {}",
        ran.out
    );
    let ran = with_inventory(text, &["ls", "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["hosts"][0]["state"], "unreachable");
    let ran = with_inventory(text, &["verify"]);
    assert_eq!(ran.code, 4);
    // One host has no pair, and is not well for that.
    let ran = with_inventory(text, &["--on", "closed", "verify"]);
    assert_eq!(ran.code, 4, "{}", ran.out);
    assert!(
        ran.out
            .contains("it cannot be asked: 127.0.0.1 refuses SSH connections"),
        "{}",
        ran.out
    );
}

/// The file of a snapshot and the file of the inventory are two: the one must not be taken for the other.
#[test]
fn a_snapshot_is_no_inventory() {
    let ran = with_inventory(
        "hosts: [{name: a, address: 127.0.0.1, ssh: {port: 1}}]\n",
        &["store", "backup", "x.snapshot"],
    );
    assert_eq!(ran.code, 1);
    assert!(
        ran.err
            .contains("no host that answers is a server of a store"),
        "{}",
        ran.err
    );
}
