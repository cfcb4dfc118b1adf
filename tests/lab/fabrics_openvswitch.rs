//! One layer 2 by switches of Open vSwitch, on Debian 13, whose lab has no module for them: they forward in user space.

use std::path::Path;

use super::harness::{Lab, docker};

#[test]
#[ignore = "needs a Docker engine"]
fn story() {
    let lab = Lab::up("ovs", &["--hosts", "3", "--os", "debian-13"]);
    let of_switch =
        |text: String| text.replacen("hosts:\n", "network: {fabric: openvswitch}\nhosts:\n", 1);
    let all = lab.variant("all.yaml", of_switch);
    let mark = format!("  - name: {}\n", lab.host(3));
    let text = std::fs::read_to_string(&all).unwrap();
    let two = lab.variant("two.yaml", |_| text.split(&mark).next().unwrap().to_owned());
    let before: Vec<String> = (1..=3).map(|host| links_of(&lab, host)).collect();

    lab.run_with(&two, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&two);
    lab.run_with(&all, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&all);
    nothing_comes_twice(&lab);

    engines_and_hosts_start_again(&lab, &all);
    the_switch_crashes(&lab, &all);
    checksums_are_missing(&lab, &all);
    a_device_is_gone(&lab, &all);

    // The links go before what carries them, and all of it before the packages.
    lab.run_with(&all, &["down", "--purge", "--yes"]).expect(0);
    let after: Vec<String> = (1..=3).map(|host| links_of(&lab, host)).collect();
    assert_eq!(before, after);
    let left = "dpkg-query -W openvswitch-switch ethtool 2>/dev/null; ls -d /etc/openvswitch /var/lib/docker-cluster 2>/dev/null || true";
    assert_eq!(lab.sh(1, left), "");
}

/// A circle between the switches would send each frame again and again.
fn nothing_comes_twice(lab: &Lab) {
    let (network, image) = (lab.name(), lab.smoke_image());
    lab.sh(
        2,
        &format!("docker run -d --name target --network {network} {image} sleep 600"),
    );
    let address =
        "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' target";
    let address = lab.sh(2, address);
    for from in [1, 3] {
        let line = format!(
            "docker run --rm --network {network} {image} ping -c 3 {}",
            address.trim()
        );
        let said = lab.sh(from, &line);
        assert!(said.contains(" 0% packet loss"), "{said}");
        assert!(!said.contains("DUP"), "{said}");
    }
    lab.sh(2, "docker rm -f target");
}

fn engines_and_hosts_start_again(lab: &Lab, all: &Path) {
    lab.sh(2, "systemctl reset-failed docker; systemctl restart docker");
    lab.assert_nothing_to_do(all);
    let hosts = [1, 2, 3].map(|number| lab.host(number));
    docker(&["restart", "-t", "10", &hosts[0], &hosts[1], &hosts[2]]);
    (1..=3).for_each(|host| lab.booted(host));
    reaches(lab, all, "all hosts reach each other after a reboot");
    lab.assert_nothing_to_do(all);
}

fn reaches(lab: &Lab, all: &Path, what: &str) {
    lab.eventually(what, || {
        let ran = lab.run_with(all, &["verify"]);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(ran.out + &ran.err)
        }
    });
}

/// Its monitor starts it again; what it had is in its database.
fn the_switch_crashes(lab: &Lab, all: &Path) {
    lab.sh(2, "kill -9 $(cat /run/openvswitch/ovs-vswitchd.pid)");
    reaches(
        lab,
        all,
        "all hosts reach each other after a crash of the switch",
    );
    lab.assert_nothing_to_do(all);
}

/// What ping does not notice: checksums that are missing, and packets that the kernel joins to what is too large for the switch.
fn checksums_are_missing(lab: &Lab, all: &Path) {
    lab.sh(2, "ethtool -K dcin42 tx on; ethtool -K dcvx42 gro on");
    let document = lab
        .run_with(all, &["verify", "--output", "json"])
        .expect(4)
        .json();
    let verdicts = document["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 1, "{document}");
    assert_eq!(verdicts[0]["cause"], "checksums-missing", "{document}");
    let plan = lab.run_with(all, &["plan"]).expect(0).out;
    assert!(
        plan.contains("mend its links: dcin42 leaves checksums to others"),
        "{plan}"
    );
    lab.run_with(all, &["up", "--yes"]).expect(0);
    lab.sh(
        2,
        "ethtool -k dcvx42 | grep -x 'generic-receive-offload: off'",
    );
}

/// The switch holds on to a device that went, and has to be told of the new one of the same name.
fn a_device_is_gone(lab: &Lab, all: &Path) {
    lab.sh(2, "ip link del dcin42; ip link del dcvx42");
    let plan = lab.run_with(all, &["plan"]).expect(0).out;
    assert!(
        plan.contains("mend its links: the pair dcin42 and dcout42"),
        "{plan}"
    );
    lab.run_with(all, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(all);
}

/// Addresses, routes, rules and interfaces of a host, without what the engine makes anew at each start of its own.
fn links_of(lab: &Lab, host: usize) -> String {
    lab.sh(
        host,
        "ip -o -4 addr show | sed 's/^[0-9]*: //'; ip -4 route show | sed 's/ linkdown//'; ip -4 rule show; ls /sys/class/net; \
         iptables-save | grep -vE '^[#:]|127.0.0.11'",
    )
}
