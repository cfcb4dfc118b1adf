//! Containers as hosts of the LAN, on a bridge that the host's own address moves to, and the way back.

use std::path::Path;

use super::fabrics_macvlan::{assert_same, greet, hears, inventory, restarts, wiring};
use super::harness::Lab;

/// Its interface is systemd-networkd's, as Docker has set it: with its address, and this as its gateway. A host of a lab has no udev, and
/// systemd-networkd waits for it unless `/sys` is read-only.
fn by_networkd(lab: &Lab, host: usize, more: &str) {
    let address = lab.private(host);
    let file = format!("[Match]\\nName=eth0\\n\\n[Network]\\nAddress={address}/24\\n{more}");
    lab.sh(
        host,
        &format!(
            "mkdir -p /etc/systemd/system/systemd-networkd.service.d && \
             printf '[Service]\\nBindReadOnlyPaths=/sys\\n' > /etc/systemd/system/systemd-networkd.service.d/lab.conf && \
             printf '{file}' > /etc/systemd/network/lan.network && systemctl -q unmask systemd-networkd && systemctl daemon-reload && \
             systemctl -q enable --now systemd-networkd"
        ),
    );
}

/// Its interface is ifupdown's, as Docker has set it. ifupdown does not take over an address that is there.
fn by_ifupdown(lab: &Lab, host: usize, gateway: &str) {
    let address = lab.private(host);
    let stanza = "auto eth0\\niface eth0 inet static\\n    pre-up ip addr flush dev $IFACE\\n";
    lab.sh(
        host,
        &format!(
            "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q install -y --no-install-recommends ifupdown && \
             printf '{stanza}    address {address}/24\\n    gateway {gateway}\\n' > /etc/network/interfaces.d/lan && ifup eth0"
        ),
    );
}

#[test]
#[ignore = "needs a Docker engine"]
fn story() {
    let lab = Lab::up("br", &["--hosts", "3", "--os", "debian-13"]);
    let network = "name: lan, fabric: bridged, pool: SUBNET.128/25";
    let (two, three) = (inventory(&lab, 2, network), inventory(&lab, 3, network));
    let address = lab.private(3);
    let of_lan = |last: &str| format!("{}.{last}", address.rsplit_once('.').unwrap().0);
    let gateway = of_lan("1");
    let right = format!("Gateway={gateway}\\n");
    let mut before = vec![wiring(&lab, 1)];
    std::thread::scope(|scope| {
        let third = scope.spawn(|| by_ifupdown(&lab, 3, &gateway));
        by_networkd(&lab, 2, &right);
        lab.eventually("systemd-networkd has configured the interface", || {
            lab.ask(2, "networkctl list eth0 | grep -w configured")
                .map(drop)
        });
        before.push(wiring(&lab, 2));
        both_end_as_they_were(&lab, &two, &before[0], [&gateway, &address, &of_lan("99")]);
        third.join().unwrap();
    });
    before.push(wiring(&lab, 3));
    by_networkd(&lab, 2, &right);
    lab.sh(2, "networkctl reload");
    lab.eventually("it is as at first", || match wiring(&lab, 2) {
        now if now == before[1] => Ok(()),
        now => Err(now),
    });

    lab.run_with(&two, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&two);
    lab.run_with(&three, &["up", "--yes"]).expect(0);
    lab.assert_nothing_to_do(&three);
    let addresses: Vec<String> = (1..=3).map(|host| greet(&lab, host)).collect();
    assert!(
        addresses[0].ends_with(".128") && addresses[1].ends_with(".144"),
        "{addresses:?}"
    );
    restarts(&lab, &three, 3);
    // A host reaches its own containers and those of others.
    for host in 1..=3 {
        for address in &addresses {
            lab.eventually("the host reaches a container", || {
                hears(&lab, host, address)
            });
        }
    }
    lab.assert_clean(3);
    // Who configured the interface has the bridge now.
    assert!(
        lab.sh(2, "networkctl list br-lan").contains("configured")
            && lab.sh(3, "ifquery --state").contains("br-lan=br-lan")
    );

    // The engine would not mind another MAC address, and the LAN would: what is known of the host there leads nowhere.
    lab.sh(1, "ip link set dev br-lan address 02:00:00:00:00:01");
    lab.sh(2, "rm /etc/systemd/network/00-docker-cluster.network");
    lab.sh(3, "sed -i s/br-lan/eth0/ /etc/network/interfaces.d/lan");
    let plan = lab.run_with(&three, &["plan", "--exit-code"]).expect(3).out;
    assert!(
        plan.contains("mend its links: the bridge br-lan has another MAC address than eth0"),
        "{plan}"
    );
    assert!(
        plan.contains("mend its links: the file /etc/systemd/network/00-docker-cluster.network")
            && plan.contains("let ifupdown make the bridge br-lan at every boot"),
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

    for host in 1..=3 {
        lab.sh(host, "docker rm -f greet");
    }
    lab.run_with(&three, &["down", "--yes"]).expect(0);
    for (host, before) in (1..=3).zip(&before) {
        assert_same(before, &wiring(&lab, host));
    }
}

/// The first host does not let anybody in over the bridge. The second is reached through a router, and its file names one that is not there:
/// nobody has noticed, since what its interface has is right. A move by that file cuts it off.
fn both_end_as_they_were(lab: &Lab, file: &Path, first: &str, [laptop, router, wrong]: [&str; 3]) {
    let closed = "INPUT -i br-lan -p tcp --dport 22 -m state --state NEW -j DROP";
    lab.sh(1, &format!("iptables -I {closed}"));
    // The third is the router. It must not tell the second that there is a shorter way.
    lab.sh(
        3,
        "sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0; iptables -I FORWARD -i eth0 -j ACCEPT",
    );
    let through = |router: &str| {
        format!("Gateway={router}\\n\\n[Route]\\nDestination={laptop}/32\\nGateway={router}\\n")
    };
    by_networkd(lab, 2, &through(router));
    lab.sh(2, "networkctl reload");
    lab.eventually("the second host is reached through the router", || {
        lab.ask(2, &format!("ip route get {laptop} | grep 'via {router} '"))
            .map(drop)
    });
    by_networkd(lab, 2, &through(wrong));
    let before = wiring(lab, 2);
    let ran = lab.run_with(file, &["up", "--yes"]).expect(1);
    assert!(
        ran.err.contains("is back to what worked before")
            && ran.err.contains(&format!(
                "the bridge br-lan did not get what eth0 had: the route default via {router}"
            )),
        "{}",
        ran.err
    );
    lab.sh(1, &format!("iptables -D {closed}"));
    for (host, before) in [(1, first), (2, &before)] {
        assert_same(before, &wiring(lab, host));
    }
    // It was the timer that put the second back: no connection could.
    let journal = "journalctl -q -u docker-cluster-fabric-back.service";
    assert_ne!(lab.sh(2, journal), "");
    assert_eq!(lab.sh(1, journal), "");
    lab.sh(
        3,
        "iptables -D FORWARD -i eth0 -j ACCEPT; sysctl -q -w net.ipv4.ip_forward=0 net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.eth0.send_redirects=1",
    );
}
