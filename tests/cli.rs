//! The command line without hosts: help, errors, exit codes, and what is on which stream.

use std::path::Path;
use std::process::Command;

use assert_cmd::assert::OutputAssertExt;

fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docker-cluster"));
    // A home of its own, no colours, and nothing of the caller's: the same everywhere.
    command.env("HOME", home).current_dir(home).env("NO_COLOR", "1");
    for variable in ["DOCKER_CLUSTER_FILE", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
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

#[test]
fn init_writes_what_every_command_reads() {
    let ran = run(&["init", "10.0.0.11", "ops@10.0.0.12:2222", "fd00::3"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
    let ran = with_inventory(&ran.out, &["env", "10.0.0.12"]);
    assert!(ran.out.starts_with("export DOCKER_HOST=ssh://ops@10.0.0.12:2222\n"), "{}", ran.out);
}

#[test]
fn init_refuses_what_is_no_address() {
    let ran = run(&["init", "10.0.0.11", "10.0.0.11"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("two hosts are called `10.0.0.11`"), "{}", ran.err);
    assert_eq!(run(&["init", "$(reboot)"]).code, 2);
    assert_eq!(run(&["init"]).code, 2);
}

#[test]
fn an_inventory_error_shows_line_caret_and_help() {
    let ran = with_inventory("cluster: c\nhosts:\n  - {name: a, adress: 10.0.0.1}\n", &["plan"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    insta::assert_snapshot!(ran.err);
}

#[test]
fn no_inventory_says_how_to_get_one() {
    let ran = run(&["plan"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("docker-cluster init"), "{}", ran.err);
    let ran = run(&["-f", "other.yaml", "plan"]);
    assert!(ran.err.contains("cannot read the inventory other.yaml"), "{}", ran.err);
}

#[test]
fn up_without_a_terminal_needs_yes() {
    let ran = with_inventory("hosts: [10.0.0.1]\n", &["up"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--yes"), "{}", ran.err);
}

#[test]
fn env_prints_exports_and_nothing_else() {
    let ran = with_inventory("hosts: [{name: a, address: db-1}]\n", &["env", "a"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out, "export DOCKER_HOST=ssh://db-1\n# eval \"$(docker-cluster env a)\"\n");
    let ran = with_inventory("hosts: [{name: a, address: db-1}]\n", &["env", "b"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("no host is called `b`") && ran.err.contains("the inventory has a"), "{}", ran.err);
}

#[test]
fn env_of_a_host_with_a_key_brings_an_ssh_that_knows_it() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("cluster.yaml"), "hosts: [{name: a, address: db-1, ssh: {identity: a key}}]\n")
        .unwrap();
    let ran = run_in(home.path(), &["env", "a"]);
    let shim = home.path().join(".local/state/docker-cluster/ssh/cluster");
    assert!(ran.out.contains(&format!("export PATH={}:", shim.display())), "{}", ran.out);
    // The folder goes before the ssh of this machine, which here is one that shows what it is asked.
    let fake = home.path().join("bin");
    std::fs::create_dir(&fake).unwrap();
    std::fs::write(fake.join("ssh"), "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    Command::new("chmod").arg("+x").arg(fake.join("ssh")).assert().success();
    let path = format!("{}:{}:/usr/bin:/bin", shim.display(), fake.display());
    let asked = program(home.path())
        .env("PATH", &path)
        .args(["docker-ssh", "--", "-l", "x", "other", "true"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "-l\nx\nother\ntrue\n", "another host is none of our business");
    let asked = Command::new(shim.join("ssh"))
        .env("PATH", &path)
        .env("HOME", home.path())
        .args(["--", "db-1", "docker", "system", "dial-stdio"])
        .output()
        .unwrap();
    let asked = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.contains(&format!("-i\n{}\n", home.path().join("a key").display())), "{asked}");
    assert!(asked.contains("dial-stdio"), "{asked}");
}

#[test]
fn on_selects_hosts_or_says_what_there_is() {
    let ran = with_inventory("hosts: [{name: a, address: x}]\n", &["plan", "--on", "b"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--on: no host is called `b`; there are a"), "{}", ran.err);
}

#[test]
fn it_is_a_plugin_of_dockers_client() {
    let ran = run(&["docker-cli-plugin-metadata"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["SchemaVersion"], "0.1.0");
    assert!(document["Vendor"].is_string() && document["ShortDescription"].is_string());
    assert!(run(&["cluster", "--help"]).out.contains("Usage: docker cluster [OPTIONS] <COMMAND>"));
    assert!(run(&["--help"]).out.contains("Usage: docker-cluster [OPTIONS] <COMMAND>"));
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
    assert!(ran.err.contains("127.0.0.1 refuses SSH connections on that port"), "{}", ran.err);
    assert!(ran.err.contains("cannot resolve the name nowhere.invalid"), "{}", ran.err);
    assert_eq!(ran.err.matches("Hint:").count(), 2);
    assert!(!ran.out.contains("as the inventory says"), "nobody was asked: {}", ran.out);
    let ran = with_inventory(text, &["ls", "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["hosts"][0]["state"], "unreachable");
    let ran = with_inventory(text, &["verify"]);
    assert_eq!(ran.code, 4);
    // One host has no pair, and is not well for that.
    let ran = with_inventory(text, &["--on", "closed", "verify"]);
    assert_eq!(ran.code, 4, "{}", ran.out);
    assert!(ran.out.contains("it cannot be asked: 127.0.0.1 refuses SSH connections"), "{}", ran.out);
}

/// The file of a snapshot and the file of the inventory are two: the one must not be taken for the other.
#[test]
fn a_snapshot_is_no_inventory() {
    let ran =
        with_inventory("hosts: [{name: a, address: 127.0.0.1, ssh: {port: 1}}]\n", &["store", "backup", "x.snapshot"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no host that answers is a server of a store"), "{}", ran.err);
}
