//! Engines that have yet to learn of each other are waited for, and not blamed.

use super::harness::Lab;

/// How often the state is tried for: the engines may compare what they know just then, and nothing is left to wait for.
const TRIES: usize = 6;

#[test]
#[ignore = "needs a Docker engine"]
fn engines_that_missed_who_is_on_the_network_are_waited_for() {
    let lab = Lab::up("learn", &["--hosts", "3", "--os", "debian-13"]);
    a_port_that_keeps_hosts_from_joining_is_named(&lab);
    a_firewall_that_denies_by_default_is_named(&lab);
    what_is_to_be_encrypted_and_is_not_is_seen(&lab);
    a_cloud_name_is_no_obstacle(&lab);
    // What host 3 is told by gossip of a network that is new goes past it, as a packet can that comes too early or not at all. It is not
    // said again; the engines compare what they know some time later.
    let (network, err) = (1..=TRIES)
        .find_map(|attempt| {
            let network = format!("late-{attempt}");
            let subnet = format!("10.{}.0.0/16", 100 + attempt);
            lab.sh(3, "iptables -I INPUT -p udp --dport 7946 -j DROP");
            lab.sh(1, &format!("docker network create -d overlay --attachable --subnet {subnet} {network}"));
            for host in 1..=3 {
                let image = lab.smoke_image();
                lab.sh(
                    host,
                    &format!(
                        "docker run -d --rm --stop-timeout 1 --name keeps-{network} --network {network} --entrypoint sleep {image} 900"
                    ),
                );
            }
            // Until its own packets have told the others of it: what is missing is what it was told.
            for host in 1..=2 {
                lab.eventually("the others list all", || match peers(&lab, host, &network) {
                    3 => Ok(()),
                    other => Err(format!("{other} peers")),
                });
            }
            lab.sh(3, "iptables -D INPUT -p udp --dport 7946 -j DROP");
            let file = lab.variant(&format!("{network}.yaml"), |text| {
                text.replace("hosts:\n", &format!("network: {{name: {network}, subnet: {subnet}}}\nhosts:\n"))
            });
            if peers(&lab, 3, &network) == 3 {
                return None;
            }
            let err = lab.run_with(&file, &["verify"]).expect(0).err;
            // They may also compare between this look and that of `verify`, which then has nothing to wait for.
            err.contains("the engines still learn of each other").then_some((network, err))
        })
        .expect("the engines compared what they know each time before anybody could look");
    let said = format!(
        "{}: the engines still learn of each other, up to 1m 15s",
        lab.host(3)
    );
    assert!(err.contains(&said), "{err}");
    assert_eq!(peers(&lab, 3, &network), 3);

    // An engine that starts again is back in all lists before it is asked: the pairs are green at the first look.
    lab.sh(2, "systemctl restart docker");
    lab.assert_green(&lab.file(), 3);
}

/// How many engines an engine lists on a network.
fn peers(lab: &Lab, host: usize, network: &str) -> usize {
    lab.sh(
        host,
        &format!("docker network inspect --format '{{{{len .Peers}}}}' {network}"),
    )
    .trim()
    .parse()
    .unwrap()
}

/// Before anything is tried for minutes; and the verdict on what is left says what failed, in every output.
fn a_port_that_keeps_hosts_from_joining_is_named(lab: &Lab) {
    // By the files of ufw, which `plan` reads: nothing of it acts here.
    lab.sh(
        2,
        "mkdir -p /etc/ufw && echo ENABLED=yes > /etc/ufw/ufw.conf && echo 'DEFAULT_INPUT_POLICY=\"DROP\"' > /etc/default/ufw && \
         echo '### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in' > /etc/ufw/user.rules",
    );
    let plan = lab.run(&["plan"]).expect(0).out;
    let note = plan
        .lines()
        .find(|line| line.contains("ufw throws away what no rule lets in"))
        .unwrap_or_default();
    assert!(
        note.contains(&lab.host(2)) && note.contains("lacks rules for TCP"),
        "{plan}"
    );
    assert!(
        note.contains("`ufw allow from ") && note.contains(" to any port 4789,7946 proto udp`"),
        "{note}"
    );
    lab.sh(2, "rm -r /etc/ufw /etc/default/ufw");

    lab.sh(1, "iptables -I INPUT -p tcp --dport 2377 -j DROP");
    let ran = lab.run(&["up", "--yes", "--output", "json"]).expect(1);
    lab.sh(1, "iptables -D INPUT -p tcp --dport 2377 -j DROP");
    let document = ran.json();
    let failed = document["failed"].as_array().unwrap();
    // Managers join one after the other: the third host waits for the second.
    assert_eq!(failed.len(), 1, "{document:#}");
    assert_eq!(failed[0]["host"], lab.host(2).as_str(), "{document:#}");
    assert!(
        failed[0]["error"]
            .as_str()
            .unwrap()
            .contains("TCP 2377 of "),
        "{document:#}"
    );
    let verdicts = document["verify"]["verdicts"].as_array().unwrap();
    let of = |cause: &str| {
        verdicts
            .iter()
            .find(|verdict| verdict["cause"] == cause)
            .unwrap()
    };
    let what = of("not-finished")["what"].as_str().unwrap();
    assert!(
        what.starts_with("`up` did not get to its end there, at “join the swarm as a manager"),
        "{what}"
    );
    assert!(what.ends_with(" does not answer"), "{what}");
    assert!(
        of("not-finished")["fix"]
            .as_str()
            .unwrap()
            .contains("run `docker-cluster up` again"),
        "{verdicts:#?}"
    );
    // Who only waits for that one is not sent elsewhere.
    let waits = of("network-missing");
    assert_eq!(
        waits["hosts"],
        serde_json::json!([lab.host(3)]),
        "{verdicts:#?}"
    );
    assert!(
        waits["fix"]
            .as_str()
            .unwrap()
            .starts_with(&format!("first mend {}", lab.host(2))),
        "{verdicts:#?}"
    );
    lab.run(&["up", "--yes"]).expect(0);
}

/// A policy acts like a rule, and is none.
fn a_firewall_that_denies_by_default_is_named(lab: &Lab) {
    let rules = [
        "-i lo -j ACCEPT",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-p tcp --dport 22 -j ACCEPT",
    ];
    let each = |verb: &str| {
        rules
            .map(|rule| format!("iptables {verb} INPUT {rule}"))
            .join(" && ")
    };
    lab.sh(2, &format!("{} && iptables -P INPUT DROP", each("-A")));
    let document = lab
        .run(&["verify", "--deep", "--output", "json"])
        .expect(4)
        .json();
    lab.sh(2, &format!("iptables -P INPUT ACCEPT && {}", each("-D")));
    let verdict = document["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|of| of["cause"] == "vxlan-blocked")
        .unwrap();
    let fix = verdict["fix"].as_str().unwrap();
    assert!(
        fix.starts_with(&format!(
            "{}: iptables throws away what no rule lets in (-P INPUT DROP)",
            lab.host(2)
        )),
        "{fix}"
    );
    assert!(
        fix.contains("-p udp -m multiport --dports 4789,7946 -j ACCEPT"),
        "{fix}"
    );
    lab.eventually("all pairs reach each other", || {
        let ran = lab.run(&["verify"]);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(ran.out + &ran.err)
        }
    });
}

/// The network was made in clear, and the inventory says otherwise: the wire tells. The other way round cannot be had on kernels without ESP.
fn what_is_to_be_encrypted_and_is_not_is_seen(lab: &Lab) {
    let file = lab.variant("encrypted.yaml", |text| {
        text.replace("hosts:\n", "network: {encrypted: true}\nhosts:\n")
    });
    let document = lab
        .run_with(&file, &["verify", "--output", "json"])
        .expect(4)
        .json();
    let verdicts = document["verdicts"].as_array().unwrap();
    assert_eq!(
        (verdicts.len(), &verdicts[0]["cause"]),
        (1, &serde_json::json!("not-encrypted")),
        "{verdicts:#?}"
    );
    assert_eq!(
        verdicts[0]["links"].as_array().unwrap().len(),
        6,
        "{verdicts:#?}"
    );
    assert_eq!(
        document["encryption"]["clear"].as_array().unwrap().len(),
        6,
        "{document:#}"
    );
    assert!(
        document["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|pair| pair["ok"] == true),
        "{document:#}"
    );
}

/// Longer than a host name may be with what is put before it.
fn a_cloud_name_is_no_obstacle(lab: &Lab) {
    let file = lab.variant("cloud.yaml", |text| {
        text.replace(
            &format!("name: {}\n", lab.host(2)),
            "name: ip-10-11-12-13.eu-central-1.compute.internal.example.org\n",
        )
    });
    lab.assert_green(&file, 3);
}
