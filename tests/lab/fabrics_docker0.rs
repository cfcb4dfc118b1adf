//! Hosts' parts of the subnet on Docker's own bridge, and the bridge back where it was: a part of stories that have such hosts anyway.

use std::path::Path;

use super::fabrics_macvlan::{assert_same, inventory, wiring};
use super::harness::{Lab, docker};

/// Options as somebody has written them, which no program would.
const THEIRS: &str = "{\"debug\":   false}";

/// An engine that starts, and whose unit fails with other options than those: its own word is that `docker0` has moved.
const FAILS: &str = "mkdir -p /etc/systemd/system/docker.service.d; \
    printf '[Service]\\nExecStartPost=/bin/sh -c \"! grep -q 10.90 /etc/docker/daemon.json\"\\n' > /etc/systemd/system/docker.service.d/fails.conf; \
    systemctl daemon-reload";

fn address(lab: &Lab, host: usize) -> String {
    lab.sh(host, "ip -o -4 addr show docker0 | awk '{ print $4 }'")
        .trim()
        .to_owned()
}

/// What the engine keeps for itself, beside what the host has.
fn state(lab: &Lab, host: usize) -> String {
    let kept = lab.sh(
        host,
        "docker network inspect --format '{{.IPAM.Config}}' bridge",
    );
    // A bridge whose last container has gone says so a moment later, and a boot forgets tables without rules.
    let wiring = wiring(lab, host).replace("linkdown ", "");
    let of_a_table = |line: &&str| {
        line.starts_with('*')
            || *line == "COMMIT"
            || line.starts_with(':') && !line.contains("FORWARD")
    };
    let lines: Vec<&str> = wiring.lines().filter(|line| !of_a_table(line)).collect();
    lines.join("\n") + &kept
}

/// From the first two hosts of a lab without a cluster to one on `docker0`, and back.
pub fn tell(lab: &Lab) {
    let file = inventory(lab, 2, "fabric: routed, bridge: docker0");
    lab.sh(
        1,
        &format!("printf '%s' '{THEIRS}' > /etc/docker/daemon.json"),
    );
    let before = [1, 2].map(|host| state(lab, host));

    a_start_that_fails_takes_docker0_back(lab, &file, &before[0]);

    let plan = lab.run_with(&file, &["up", "--yes"]).expect(0);
    let said = plan.out + &plan.err;
    assert!(
        said.contains("docker0 moves from 172.17.0.1/16 to 10.90.0.1/24"),
        "{said}"
    );
    lab.assert_nothing_to_do(&file);
    assert_eq!(
        [1, 2].map(|host| address(lab, host)),
        ["10.90.0.1/24", "10.90.1.1/24"]
    );
    both_reboot(lab, &file);

    // The engine thinks the old addresses free, and would not start with both.
    lab.sh(1, "docker network create --subnet 172.17.0.0/16 shop");
    let refused = lab.run_with(&file, &["down", "--yes"]).expect(1);
    let said = refused.out + &refused.err;
    assert!(
        said.contains("docker0 was at 172.17.0.1/16, and its network shop has these addresses now"),
        "{said}"
    );
    lab.sh(1, "docker network rm shop");
    lab.run_with(&file, &["down", "--yes"]).expect(0);
    assert!(app(lab).starts_with("172.17."), "{}", app(lab));
    lab.sh(1, "docker rm -f app");
    for (host, before) in (1..=2).zip(&before) {
        assert_same(before, &state(lab, host));
    }
}

/// The address of a container of somebody's, which comes back with the engine wherever `docker0` is.
fn app(lab: &Lab) -> String {
    lab.sh(
        1,
        "docker inspect --format '{{.State.Status}} {{.NetworkSettings.IPAddress}}' app",
    )
    .trim()
    .trim_start_matches("running ")
    .to_owned()
}

fn both_reboot(lab: &Lab, file: &Path) {
    let image = lab.smoke_image();
    lab.sh(
        1,
        &format!("docker run -d --name app --restart always --stop-signal KILL --entrypoint sleep {image} infinity"),
    );
    docker(&["restart", "-t", "5", &lab.host(1), &lab.host(2)]);
    for host in 1..=2 {
        lab.eventually("the host is back", || {
            lab.ask(host, "docker info").map(|_| ())
        });
    }
    lab.assert_green(file, 2);
    lab.assert_nothing_to_do(file);
    assert!(app(lab).starts_with("10.90.0."), "{}", app(lab));
}

fn a_start_that_fails_takes_docker0_back(lab: &Lab, file: &Path, before: &str) {
    lab.sh(1, FAILS);
    let ran = lab.run_with(file, &["up", "--yes"]).expect(1);
    assert!(
        ran.err.contains("is back to what worked before"),
        "{}",
        ran.err
    );
    lab.sh(
        1,
        "rm -r /etc/systemd/system/docker.service.d; systemctl daemon-reload",
    );
    assert_same(before, &state(lab, 1));
}
