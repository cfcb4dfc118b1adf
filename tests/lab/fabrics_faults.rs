//! What can be wrong with fabrics whose links are docker-cluster's own: each made on purpose, and named. A pair that fails costs its deadline,
//! so that several that do not hide each other are made at a time.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::harness::Lab;

fn word(lab: &Lab, host: usize, line: &str) -> String {
    lab.sh(host, line).trim().to_owned()
}

fn part(lab: &Lab, host: usize) -> String {
    word(
        lab,
        host,
        "sed -n 's/^own //p' /etc/docker-cluster/fabric/config",
    )
}

fn private(lab: &Lab, host: usize) -> String {
    word(
        lab,
        host,
        "ip -o -4 addr show dev eth0 | sed 's/.* inet //; s,/.*,,' | head -n 1",
    )
}

/// What `verify` names, by cause: the hosts or the direction.
pub fn named(lab: &Lab, file: &Path, more: &[&str]) -> BTreeMap<String, Value> {
    let arguments = [&["verify", "--output", "json"], more].concat();
    let document = lab.run_with(file, &arguments).expect(4).json();
    let verdicts = document["verdicts"].as_array().unwrap();
    verdicts
        .iter()
        .map(|verdict| {
            let cause = verdict["cause"].as_str().unwrap().to_owned();
            assert!(!verdict["fix"].as_str().unwrap().is_empty(), "{verdict:#}");
            (cause, verdict["hosts"].clone())
        })
        .collect()
}

fn assert_mended(lab: &Lab, file: &Path) {
    lab.run_with(file, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(file);
}

/// Of subnets that are routed.
pub fn of_routes(lab: &Lab, file: &Path) {
    let [one, two, three] = [1, 2, 3].map(|host| lab.host(host));
    by_another_interface_elsewhere_and_dropped(lab, file, &[&one, &two, &three]);

    let bridge = word(
        lab,
        3,
        "sed -n 's/^bridge //p' /etc/docker-cluster/fabric/config",
    );
    lab.sh(1, "sysctl -w net.ipv4.ip_forward=0");
    lab.sh(
        3,
        &format!(
            "iptables -t nat -I POSTROUTING -s {} ! -o {bridge} -j MASQUERADE",
            part(lab, 3)
        ),
    );
    assert_eq!(
        named(lab, file, &[]),
        [
            ("forwarding-off".into(), json!([one])),
            ("masquerade".into(), json!([three]))
        ]
        .into()
    );
    lab.sh(
        3,
        &format!(
            "iptables -t nat -D POSTROUTING -s {} ! -o {bridge} -j MASQUERADE",
            part(lab, 3)
        ),
    );
    assert_mended(lab, file);

    // What a cloud does between hosts: packets with the hosts' own addresses pass.
    let drop = |word: &str| {
        format!(
            "iptables -t raw {word} PREROUTING -i eth0 -s {} -j DROP",
            part(lab, 1)
        )
    };
    lab.sh(2, &drop("-I"));
    let found = named(lab, file, &[]);
    assert!(
        found.len() == 1 && found.contains_key("source-check"),
        "{found:?}"
    );
    lab.sh(2, &drop("-D"));
    lab.assert_reachable(file, 3);
}

/// Host 1 sends to host 2 by an interface that does not lead back, and to containers of host 3 by host 2, while host 3 drops what comes for
/// its containers.
fn by_another_interface_elsewhere_and_dropped(lab: &Lab, file: &Path, names: &[&String; 3]) {
    let strict = "ip link add dc9 link eth0 type macvlan mode bridge; ip link set dc9 up; \
         echo 1 > /proc/sys/net/ipv4/conf/dc9/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; cat /sys/class/net/dc9/address";
    let all = word(lab, 2, "cat /proc/sys/net/ipv4/conf/all/rp_filter");
    let mac = word(lab, 2, strict);
    let (to_two, to_three) = (private(lab, 2), private(lab, 3));
    lab.sh(
        1,
        &format!("ip neigh replace {to_two} lladdr {mac} nud permanent dev eth0"),
    );
    lab.sh(
        1,
        &format!("ip route replace {} via {to_two} proto 213", part(lab, 3)),
    );
    let bridge = word(
        lab,
        3,
        "sed -n 's/^bridge //p' /etc/docker-cluster/fabric/config",
    );
    lab.sh(
        3,
        &format!(
            "iptables -t raw -A PREROUTING -d {} ! -i {bridge} -j DROP",
            part(lab, 3)
        ),
    );

    let plan = lab.run_with(file, &["plan"]).expect(0).out;
    assert!(
        plan.contains(&format!(
            "the route to {} is not by {to_three}, but: ",
            part(lab, 3)
        )),
        "{plan}"
    );
    let found = named(lab, file, &[]);
    let [one, two, three] = names;
    assert_eq!(
        found,
        [
            ("rp-filter".into(), json!([two])),
            ("route-missing".into(), json!([one])),
            ("raw-table".into(), json!([three])),
        ]
        .into()
    );
    lab.sh(
        2,
        &format!("ip link del dc9; echo {all} > /proc/sys/net/ipv4/conf/all/rp_filter"),
    );
    lab.sh(1, &format!("ip neigh del {to_two} dev eth0"));
    lab.sh(
        3,
        &format!(
            "iptables -t raw -D PREROUTING -d {} ! -i {bridge} -j DROP",
            part(lab, 3)
        ),
    );
    assert_mended(lab, file);
}

/// Of a tunnel, whose port is closed to everybody but the hosts.
pub fn of_a_tunnel(lab: &Lab, file: &Path) {
    the_engine_came_first(lab, file);
    let two = "iptables -I INPUT -p udp --dport 4790 -s";
    lab.sh(2, &format!("{two} {} -j DROP", private(lab, 1)));
    // An open port breaks no pair, and is what anybody may send to.
    lab.sh(
        3,
        "iptables-save | sed -n 's/^-A \\(INPUT .*--comment docker-cluster .*\\)/iptables -D \\1/p' | sh",
    );
    let found = named(lab, file, &["--deep"]);
    assert_eq!(found["rule-missing"], json!([lab.host(3)]), "{found:?}");
    assert!(found.contains_key("tunnel-blocked"), "{found:?}");
    lab.sh(
        2,
        &format!("{} {} -j DROP", two.replace("-I", "-D"), private(lab, 1)),
    );
    assert_mended(lab, file);
}

/// As after a boot in which nothing made the links: the engine makes a bridge of that name, and nothing is on it but its containers.
fn the_engine_came_first(lab: &Lab, file: &Path) {
    lab.sh(
        2,
        "systemctl stop docker.service docker.socket; ip link del dcvx42; \
         ip link del $(sed -n 's/^bridge //p' /etc/docker-cluster/fabric/config); \
         systemctl reset-failed docker; systemctl start docker",
    );
    assert_eq!(
        named(lab, file, &[]),
        [("link-down".into(), json!([lab.host(2)]))].into()
    );
    let plan = lab.run_with(file, &["plan"]).expect(0).out;
    let said = "docker-cluster's: the engine made it, empty, when it found none, and";
    assert!(
        plan.contains("mend its links: the bridge") && plan.contains(said),
        "{plan}"
    );
    assert_mended(lab, file);
}
