//! Containers as hosts of the LAN, on a bridge that the host's own address moves to, and the way back.

use super::fabrics_macvlan::{assert_same, greet, hears, inventory, restarts, wiring};
use super::harness::Lab;

#[test]
#[ignore = "needs a Docker engine"]
fn story() {
    let lab = Lab::up("br", &["--hosts", "3", "--os", "debian-13"]);
    let network = "name: lan, fabric: bridged, pool: SUBNET.128/25";
    let (two, three) = (inventory(&lab, 2, network), inventory(&lab, 3, network));
    let before: Vec<String> = (1..=3).map(|host| wiring(&lab, host)).collect();

    // The second host does not let anybody in over the bridge: it ends as it was, and the first does not mind.
    let closed = "INPUT -i br-lan -p tcp --dport 22 -m state --state NEW -j DROP";
    lab.sh(2, &format!("iptables -I {closed}"));
    let ran = lab.run_with(&two, &["up", "--yes"]).expect(1);
    assert!(
        ran.err.contains("is back to what worked before"),
        "{}",
        ran.err
    );
    lab.sh(2, &format!("iptables -D {closed}"));
    assert_same(&before[1], &wiring(&lab, 2));
    assert!(
        lab.sh(1, "ip -o -4 addr show dev br-lan")
            .contains(" inet 10.213.")
    );

    lab.run_with(&two, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&two);
    let addresses: Vec<String> = (1..=2).map(|host| greet(&lab, host)).collect();
    assert!(
        addresses[0].ends_with(".128") && addresses[1].ends_with(".144"),
        "{addresses:?}"
    );
    restarts(&lab, &two, 2);
    // A host reaches its own containers and those of others.
    for host in 1..=2 {
        for address in &addresses {
            lab.eventually("the host reaches a container", || {
                hears(&lab, host, address)
            });
        }
    }
    lab.run_with(&three, &["up", "--yes"]).expect(0);
    lab.assert_clean(3);

    // The engine would not mind another MAC address, and the LAN would: what is known of the host there leads nowhere.
    lab.sh(1, "ip link set dev br-lan address 02:00:00:00:00:01");
    let plan = lab.run_with(&three, &["plan", "--exit-code"]).expect(3).out;
    assert!(
        plan.contains("mend its links: the bridge br-lan has another MAC address than eth0"),
        "{plan}"
    );
    let document = lab
        .run_with(&three, &["verify", "--deep", "--output", "json"])
        .expect(4)
        .json();
    assert!(
        document["verdicts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|of| of["cause"] == "link-down"),
        "{document:#}"
    );
    lab.run_with(&three, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&three);

    for host in 1..=2 {
        lab.sh(host, "docker rm -f greet");
    }
    lab.run_with(&three, &["down", "--yes"]).expect(0);
    for (host, before) in (1..=3).zip(&before) {
        assert_same(before, &wiring(&lab, host));
    }
}
