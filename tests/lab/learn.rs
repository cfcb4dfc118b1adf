//! Engines that have yet to learn of each other are waited for, and not blamed.

use super::harness::Lab;

/// How often the state is tried for: the engines may compare what they know just then, and nothing is left to wait for.
const TRIES: usize = 6;

#[test]
#[ignore = "needs a Docker engine"]
fn engines_that_missed_who_is_on_the_network_are_waited_for() {
    let lab = Lab::up("learn", &["--hosts", "3", "--os", "debian-13"]);
    lab.run(&["up", "--yes"]).expect(0);
    // What host 3 is told by gossip of a network that is new goes past it, as a packet can that comes too early or not at all. It is not
    // said again; the engines compare what they know some time later.
    let (network, file) = (1..=TRIES)
        .find_map(|attempt| {
            let network = format!("late-{attempt}");
            let subnet = format!("10.{}.0.0/16", 100 + attempt);
            lab.sh(3, "iptables -I INPUT -p udp --dport 7946 -j DROP");
            lab.sh(1, &format!("docker network create -d overlay --attachable --subnet {subnet} {network}"));
            for host in 1..=3 {
                let image = lab.smoke_image();
                lab.sh(host, &format!("docker run -d --rm --name keeps-{network} --network {network} --entrypoint sleep {image} 900"));
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
            (peers(&lab, 3, &network) < 3).then_some((network, file))
        })
        .expect("the engines compared what they know each time before anybody could look");
    let ran = lab.run_with(&file, &["verify"]).expect(0);
    let said = format!("{}: waiting: the engines still learn of each other, up to 1m 15s", lab.host(3));
    assert!(ran.err.contains(&said), "{}", ran.err);
    assert_eq!(peers(&lab, 3, &network), 3);

    // An engine that starts again is back in all lists before it is asked: the pairs are green at the first look.
    lab.sh(2, "systemctl restart docker");
    lab.assert_green(&lab.file(), 3);
}

/// How many engines an engine lists on a network.
fn peers(lab: &Lab, host: usize, network: &str) -> usize {
    lab.sh(host, &format!("docker network inspect --format '{{{{len .Peers}}}}' {network}")).trim().parse().unwrap()
}
