//! Ways into a host, and what is left on it when a run is cut short.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::harness::{Lab, docker};

#[test]
#[ignore = "needs a Docker engine"]
fn ways_in_and_ways_not_to_get_in() {
    let lab = Lab::up("ways-in", &["--hosts", "2", "--os", "debian-11", "--bare"]);
    let told = |file: &std::path::Path| lab.run_with(file, &["plan"]).expect(1).err;

    // A key that is not known there.
    let other = lab.file().with_file_name("other-key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&other)
        .status()
        .unwrap();
    assert!(made.success());
    let wrong = lab.variant("wrong-key.yaml", |text| {
        replace_line(
            &text,
            "  identity:",
            &format!("  identity: {}", other.display()),
        )
    });
    let said = told(&wrong);
    assert!(
        said.contains("permission denied for root@127.0.0.1 (publickey)")
            && said.contains("Hint: try `ssh root@127.0.0.1`"),
        "{said}"
    );

    // A user without sudo.
    lab.sh(2, "rm /etc/sudoers.d/ops");
    let said = told(&lab.file());
    assert!(
        said.contains("ops@127.0.0.1 is not root and has no passwordless sudo"),
        "{said}"
    );
    lab.sh(2, "echo 'ops ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/ops");

    // A policy that takes no new keys.
    let strict = lab.variant("strict.yaml", |text| {
        let text = replace_line(
            &text,
            "  known_hosts:",
            &format!(
                "  known_hosts: {}",
                lab.file().with_file_name("none").display()
            ),
        );
        text.replace("ssh:\n  identity", "ssh:\n  host_key: strict\n  identity")
    });
    let said = told(&strict);
    assert!(
        said.contains(
            "the host key of 127.0.0.1 is not known, and the inventory asks for `host_key: strict`"
        ),
        "{said}"
    );

    // The host shows another key than the one that is remembered.
    lab.run(&["disconnect"]).expect(0);
    lab.sh(1, "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh");
    let fingerprint = lab.sh(
        1,
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2",
    );
    let said = told(&lab.file());
    assert!(
        said.contains("the host key of 127.0.0.1 has CHANGED") && said.contains(fingerprint.trim()),
        "{said}"
    );
    assert!(
        said.contains(&format!("/known_hosts:{}", line_of(&lab))),
        "{said}"
    );
    let known = lab.file().with_file_name("known");
    let known = lab.variant("known.yaml", |text| {
        replace_line(
            &text,
            "  known_hosts:",
            &format!("  known_hosts: {}", known.display()),
        )
    });
    lab.run_with(&known, &["plan"]).expect(0);

    // An address of the lab's own network that nobody has.
    let nobody = lab.variant("nobody.yaml", |text| {
        let own = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("private: "))
            .unwrap()
            .to_owned();
        let free = format!("{}.250", own.rsplit_once('.').unwrap().0);
        text.replacen("address: 127.0.0.1", &format!("address: {free}"), 1)
            .replace(
                "ssh:\n  identity",
                "ssh:\n  connect_timeout: 8s\n  identity",
            )
    });
    let said = told(&nobody);
    assert!(
        said.contains("no route to") || said.contains("did not answer within 8s"),
        "{said}"
    );

    // A host that takes connections and says nothing.
    lab.run(&["disconnect"]).expect(0);
    docker(&["pause", &lab.host(1)]);
    let silent = lab.variant("silent.yaml", |text| {
        text.replace(
            "ssh:\n  identity",
            "ssh:\n  connect_timeout: 3s\n  identity",
        )
    });
    let said = told(&silent);
    docker(&["unpause", &lab.host(1)]);
    assert!(
        said.contains("127.0.0.1 did not answer within 3s"),
        "{said}"
    );
}

/// The line of known_hosts that has the first host's key: hosts are met all at once, and written down as they come.
fn line_of(lab: &Lab) -> String {
    let text = std::fs::read_to_string(lab.file()).unwrap();
    let value = |key: &str| {
        let rest = &text[text.find(key).unwrap() + key.len()..];
        rest.split(['\n', '}', '"'])
            .find(|part| !part.trim().is_empty())
            .unwrap()
            .trim()
            .to_owned()
    };
    let host = format!("[127.0.0.1]:{}", value("port:"));
    let found = Command::new("ssh-keygen")
        .args(["-F", &host, "-f", &value("known_hosts:")])
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    found
        .lines()
        .next()
        .and_then(|line| line.rsplit(' ').next())
        .unwrap()
        .to_owned()
}

fn replace_line(text: &str, prefix: &str, line: &str) -> String {
    text.lines()
        .map(|old| if old.starts_with(prefix) { line } else { old })
        .fold(String::new(), |text, line| text + line + "\n")
}

/// A verification that is stopped, and one that is killed: nothing of the first is left, and the next one removes what is left of the
/// second.
#[test]
#[ignore = "needs a Docker engine"]
fn a_verification_that_is_cut_short() {
    let lab = Lab::up("cut", &["--hosts", "2", "--os", "debian-11"]);
    lab.run(&["up", "--yes"]).expect(0);
    let probes = |host| lab.sh(host, "docker ps -aq --filter label=docker-cluster.probe");
    // A pair that cannot answer keeps the verification busy for its whole deadline.
    lab.sh(2, "iptables -I INPUT -p udp --dport 4789 -j DROP");
    for signal in ["-INT", "-KILL"] {
        let mut child = lab
            .command()
            .args(["-f", lab.file().to_str().unwrap(), "verify"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        lab.eventually("the probes run", || {
            if probes(1).is_empty() || probes(2).is_empty() {
                Err(String::new())
            } else {
                Ok(())
            }
        });
        std::thread::sleep(Duration::from_secs(1));
        assert!(
            Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let status = child.wait().unwrap();
        assert!(!status.success());
        let left = format!("{}{}", probes(1), probes(2));
        match signal {
            "-INT" => assert_eq!(left, "", "an interrupted verification removes its probes"),
            _ => assert!(!left.is_empty(), "a killed one cannot"),
        }
    }
    let killed = format!("{}{}", probes(1), probes(2));
    lab.sh(2, "iptables -D INPUT -p udp --dport 4789 -j DROP");
    lab.eventually("every pair reaches", || {
        let ran = lab.run(&["verify"]);
        if ran.code == 0 { Ok(()) } else { Err(ran.out) }
    });
    for id in killed.lines() {
        assert!(
            !format!("{}{}", probes(1), probes(2)).contains(id),
            "the next verification removes what a killed one left"
        );
    }
}
