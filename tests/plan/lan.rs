//! Fabrics whose containers are hosts of the LAN.

use docker_cluster::checksum::sha256_hex;
use docker_cluster::decide::down::{self, Packages};
use docker_cluster::plan::{Action, EngineCall, NewNetwork, Plan, Restored};
use serde_json::json;

use super::fake::{Fake, debian, decided, inventory, plan_for, plan_without, problems, shown};

const MACVLAN: &str = "network: {fabric: macvlan, pool: 10.0.0.128/25}\n";

fn three() -> Vec<Fake> {
    vec![
        debian("11", "a", 11),
        debian("13", "b", 12),
        debian("13", "c", 13),
    ]
}

/// The networks that a plan creates, each with its host.
fn networks(plan: &Plan) -> Vec<(&str, &NewNetwork)> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Engine(EngineCall::CreateNetwork(network)) => {
                Some((step.host.as_str(), network))
            }
            _ => None,
        })
        .collect()
}

/// The parts of a plan's networks, each with its host.
fn parts(plan: &Plan) -> Vec<(&str, String)> {
    networks(plan)
        .into_iter()
        .map(|(host, network)| (host, network.range.unwrap().to_string()))
        .collect()
}

/// What is written down on a host.
fn config(plan: &Plan, host: &str) -> String {
    let text = plan
        .steps
        .iter()
        .filter(|step| step.host.as_str() == host)
        .find_map(|step| match &step.action {
            Action::PutFile(file) if file.path.ends_with("/fabric/config") => {
                file.content.plain().map(str::to_owned)
            }
            _ => None,
        });
    text.unwrap_or_else(|| shown(plan))
}

#[test]
fn macvlan_on_new_hosts() {
    let hosts = [
        debian("11", "a", 11),
        debian("13", "b", 12).with("routes", "default via 10.0.0.2 dev eth0 metric 5"),
    ];
    let plan = plan_for(
        &hosts,
        "network: {fabric: macvlan, pool: 10.0.0.128/25, shim: true}\n",
    );
    insta::assert_snapshot!(shown(&plan));
    insta::assert_snapshot!(config(&plan, "a"));
    insta::assert_json_snapshot!(
        networks(&plan)
            .into_iter()
            .map(|(_, network)| network)
            .collect::<Vec<_>>()
    );
}

#[test]
fn parts_of_the_lan_stay_when_hosts_come_and_go() {
    let all = ["10.0.0.128/28", "10.0.0.144/28", "10.0.0.160/28"];
    let plan = plan_for(&three(), MACVLAN);
    assert_eq!(
        parts(&plan)
            .into_iter()
            .map(|(_, part)| part)
            .collect::<Vec<_>>(),
        all
    );
    // One that is there keeps its own, whatever its place; what one that does not answer has is not given away.
    let mut hosts = three();
    hosts[2] = hosts[2].clone().with(
        "fabric-config",
        "# fabric macvlan\nown 10.0.0.128/28\npeer 10.0.0.12 10.0.0.176/28\nparent eth0",
    );
    let plan = plan_without(&hosts, &["b"], MACVLAN);
    assert_eq!(
        parts(&plan),
        [("a", all[1].to_owned()), ("c", all[0].to_owned())]
    );
    assert_eq!(
        config(&plan, "a"),
        "# fabric macvlan\nown 10.0.0.144/28\npeer 10.0.0.12 10.0.0.176/28\npeer 10.0.0.13 10.0.0.128/28\nparent eth0\n"
    );
    // A host's own part may be any of the pool's, and of any size.
    let pinned = "network: {fabric: macvlan, pool: 10.0.0.128/25}\nhosts:\n  - {name: a, address: 10.0.0.11, subnet: 10.0.0.192/26}\n  - {name: b, address: 10.0.0.12}\n";
    let inventory = docker_cluster::inventory::Inventory::parse(pinned, "cluster.yaml").unwrap();
    let plan = super::fake::plan_with(&inventory, &three()[..2]);
    assert_eq!(
        parts(&plan),
        [("a", "10.0.0.192/26".to_owned()), ("b", all[0].to_owned())]
    );
}

#[test]
fn an_interface_without_an_address_is_in_the_lan_that_the_inventory_names() {
    let two = "2: eth0: <BROADCAST> mtu 1500 qdisc\n3: eth1: <BROADCAST> mtu 9000 qdisc";
    let hosts: Vec<Fake> = three()
        .into_iter()
        .map(|host| host.with("links", two))
        .collect();
    let settings = |more: &str| {
        format!("network: {{fabric: macvlan, pool: 192.0.2.128/25, interface: eth1{more}}}\n")
    };
    let plan = plan_for(
        &hosts,
        &settings(", subnet: 192.0.2.0/24, gateway: 192.0.2.1"),
    );
    let (_, network) = networks(&plan)[0];
    assert_eq!(
        (network.subnet.as_str(), network.options["parent"].as_str()),
        ("192.0.2.0/24", "eth1")
    );
    assert_eq!(network.gateway.unwrap().to_string(), "192.0.2.1");
    let found = problems(&plan_for(&hosts, &settings(", subnet: 192.0.2.0/24")));
    assert!(
        found[0].contains("no router in 192.0.2.0/24 is known"),
        "{found:?}"
    );
    let found = problems(&plan_for(&hosts, &settings("")));
    assert!(
        found[0].contains("its interface eth1 has no address that tells the LAN's subnet"),
        "{found:?}"
    );
}

#[test]
fn what_forbids_containers_in_the_lan() {
    let said = |host: Fake, settings: &str| {
        let hosts = [debian("13", "a", 11), host];
        problems(&plan_for(&hosts, settings)).join("\n")
    };
    let b = || debian("13", "b", 12);
    let address = |text: &str| {
        b().with(
            "addresses",
            &format!("2: eth0    inet 10.0.0.12/24 scope global eth0\n{text}"),
        )
    };
    let network = |more: serde_json::Value| {
        let mut network = json!({"Name": "cluster", "Id": "abc", "Driver": "macvlan", "Scope": "local",
            "Options": {"parent": "eth0"}, "Labels": {"docker-cluster": "cluster"},
            "IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.144/28"}]}});
        for (key, value) in more.as_object().unwrap() {
            network[key] = value.clone();
        }
        b().with_network(network)
    };
    let range = json!({"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.64/28"}]}});
    let cases = [
        (
            address("2: eth0    inet 10.0.0.200/24 scope global secondary eth0"),
            MACVLAN,
            "b: the pool 10.0.0.128/25 holds its own address 10.0.0.200",
        ),
        (
            b(),
            "network: {fabric: macvlan, pool: 10.0.1.0/25}\n",
            "b: the pool 10.0.1.0/25 is not in the network 10.0.0.0/24 of its interface eth0",
        ),
        (
            b(),
            "network: {fabric: macvlan, pool: 10.0.0.128/25, interface: eth7}\n",
            "b: it has no interface \"eth7\"; it has eth0",
        ),
        (
            b(),
            "network: {fabric: macvlan, pool: 10.0.0.128/25, subnet: 10.0.0.0/16}\n",
            "b: the network's subnet is 10.0.0.0/16, and the network of its interface eth0 is 10.0.0.0/24",
        ),
        (
            network(json!({"Name": "other"})),
            MACVLAN,
            "b: its interface eth0 carries the macvlan network other already, and the engine allows one",
        ),
        (
            network(range),
            MACVLAN,
            "b: the network cluster has the addresses 10.0.0.64/28, and is to have 10.0.0.144/28",
        ),
        (
            network(json!({"Options": {"parent": "eth1"}})),
            MACVLAN,
            "b: the network cluster has parent \"eth1\", and is to have \"eth0\"",
        ),
        (
            network(json!({"Driver": "bridge"})),
            MACVLAN,
            "b: a network called cluster is there already, with the driver bridge",
        ),
        (network(json!({})), MACVLAN, ""),
    ];
    for (host, settings, words) in cases {
        let found = said(host, settings);
        assert!(
            found.contains(words) && (found.is_empty() == words.is_empty()),
            "{words}\n{found}"
        );
    }
    let far = [debian("13", "a", 211), debian("13", "b", 212)];
    let found = problems(&plan_for(
        &far,
        "network: {fabric: macvlan, pool: 10.0.0.0/26}\n",
    ));
    assert_eq!(
        found[0],
        "a: the pool 10.0.0.0/26 holds the router's address 10.0.0.1"
    );
    let mut without = b();
    without.missing_modules = vec!["macvlan"];
    assert!(said(without, MACVLAN).contains("has no macvlan module"));
}

const BRIDGED: &str = "network: {fabric: bridged, pool: 10.0.0.128/25}\n";

#[test]
fn bridged_on_new_hosts() {
    let hosts = [debian("11", "a", 11), debian("13", "b", 12)];
    let plan = plan_for(&hosts, BRIDGED);
    insta::assert_snapshot!(shown(&plan));
    insta::assert_snapshot!(config(&plan, "b"));
    insta::assert_json_snapshot!(
        networks(&plan)
            .into_iter()
            .map(|(_, network)| network)
            .collect::<Vec<_>>()
    );
    // What is decided has a way back wherever the host may be cut off, and is for good only when it is not.
    let of_a: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| step.host.as_str() == "a")
        .collect();
    let at = |words: &str| {
        of_a.iter()
            .position(|step| step.why.contains(words))
            .unwrap()
    };
    let (moves, keeps, boots) = (
        at("move the host's own address"),
        at("keep it there"),
        at("move it at every boot"),
    );
    assert!(moves < keeps && keeps < boots, "{}", shown(&plan));
    assert!(of_a[moves].undo.is_some() && of_a[keeps].undo.is_some());
    assert!(matches!(of_a[keeps].action, Action::RunAnew { .. }));
}

/// A host whose address has moved, with this sentence of what is not right there.
fn moved(wrong: &str) -> Fake {
    let unit = "Id=docker.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nFragmentPath=/lib/systemd/system/docker.service\nMainPID=1\n\nId=docker-cluster-fabric.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled";
    let mut host = debian("13", "b", 12);
    host.address = "10.0.9.12".to_owned();
    host.with(
        "addresses",
        "3: br-cluster    inet 10.0.0.12/24 scope global br-cluster",
    )
    .with("links", "3: br-cluster: <BROADCAST> mtu 1500 qdisc")
    .with(
        "fabric-config",
        "# fabric bridged\nown 10.0.0.160/28\ninterface eth0\nbridge br-cluster",
    )
    .with("fabric-wrong", wrong)
    .with("units", unit)
}

#[test]
fn a_bridge_is_mended_in_place_and_moved_to_with_a_way_back() {
    let said = |wrong: &str| {
        let inventory = "network: {fabric: bridged, pool: 10.0.0.128/25}\nhosts:\n  - {name: b, address: 10.0.0.12, private: 10.0.0.12}\n";
        let inventory =
            docker_cluster::inventory::Inventory::parse(inventory, "cluster.yaml").unwrap();
        let plan = super::fake::plan_with(&inventory, &[moved(wrong)]);
        assert_eq!(
            config(&plan, "b"),
            "# fabric bridged\nown 10.0.0.160/28\ninterface eth0\nbridge br-cluster\n"
        );
        shown(&plan)
    };
    let plan = said("the bridge br-cluster has another MTU than eth0");
    assert!(
        plan.contains("make its links") && !plan.contains("move the host's own address from"),
        "{plan}"
    );
    let plan = said("eth0 is not on the bridge br-cluster");
    assert!(
        plan.contains(
            "move the host's own address from eth0 to the bridge br-cluster, for 20 s at first"
        ),
        "{plan}"
    );
}

/// A host whose interface ifupdown configures, by these files.
fn by_ifupdown(files: &[(&str, &str)]) -> Fake {
    let mut lines = Vec::new();
    let (mut modes, mut sums) = (Vec::new(), Vec::new());
    for (path, text) in files {
        lines.extend(text.lines().map(|line| format!("{path}\t{line}")));
        modes.push(format!("644 root:root {path}"));
        let sum = sha256_hex(text.as_bytes());
        sums.push(format!("{sum}  {path}"));
    }
    debian("13", "b", 12)
        .with("managers", "eth0 ifupdown")
        .with("manager-lines", &lines.join("\n"))
        .with("files", &modes.join("\n"))
        .with("sums", &sums.join("\n"))
}

const STANZA: &str =
    "auto eth0\niface eth0 inet static\n    address 10.0.0.12/24\n    gateway 10.0.0.1\n";

#[test]
fn who_configures_the_interface_makes_the_bridge() {
    let networkd = debian("13", "a", 11)
        .with(
            "managers",
            "eth0 systemd-networkd /run/systemd/network/10-netplan-eth0.network",
        )
        .with(
            "manager-lines",
            "/run/systemd/network/10-netplan-eth0.network\tGateway=10.0.0.1",
        );
    let files = [
        (
            "/etc/network/interfaces",
            "source /etc/network/interfaces.d/*\n",
        ),
        ("/etc/network/interfaces.d/lan", STANZA),
    ];
    let plan = plan_for(&[networkd, by_ifupdown(&files)], BRIDGED);
    insta::assert_snapshot!(shown(&plan));
    insta::assert_snapshot!(config(&plan, "a"));
    insta::assert_snapshot!(config(&plan, "b"));
    // Its own file is changed only when a new connection has come.
    let at = |words: &str| {
        let of_b = plan.steps.iter().filter(|step| step.host.as_str() == "b");
        of_b.map(|step| step.why.as_str())
            .position(|why| why.contains(words))
            .unwrap()
    };
    assert!(
        at("what ifupdown is to try") < at("move the host's own address")
            && at("keep it there") < at("/etc/network/interfaces.d/lan"),
        "{}",
        shown(&plan)
    );
}

/// What others changed in a file of ifupdown stays, and is not brought to a file beside it: ifupdown would read that as well.
#[test]
fn a_file_of_ifupdown_comes_back_without_the_bridge() {
    let path = "/etc/network/interfaces.d/lan";
    let ours = "auto br-cluster\niface br-cluster inet static\n    pre-up /usr/local/lib/docker-cluster/fabric join\n    address 10.0.0.12/24\n";
    let back = |now: &str| {
        let record = json!({"path": path, "sha256": sha256_hex(ours.as_bytes()), "source": "", "by": "me@here", "at": 1});
        let host = by_ifupdown(&[(path, now)])
            .with("records", &record.to_string())
            .with(
                "fabric-config",
                "# fabric bridged\ninterface eth0\nbridge br-cluster\nmanager ifupdown",
            );
        let hosts = [host];
        let plan = decided(&inventory(&hosts, BRIDGED), &hosts, |world| {
            down::plan(world, Packages::Keep)
        });
        let at = |words: &str| plan.steps.iter().position(|step| step.why.contains(words));
        let (file, links) = (at(path).unwrap(), at("take its links").unwrap());
        assert!(file < links, "{}", shown(&plan));
        match &plan.steps[file].action {
            Action::Restore { into, .. } => into.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(back(ours), Restored::Original);
    let more = format!("{ours}\n# mine\niface eth1 inet dhcp\n");
    assert_eq!(
        back(&more),
        Restored::Merged("auto eth0\niface eth0 inet static\n    address 10.0.0.12/24\n\n# mine\niface eth1 inet dhcp\n".to_owned())
    );
    // Somebody's own use of the bridge's name is theirs to see to.
    let used = format!("{ours}    up ip route add 10.9.0.0/16 dev br-cluster\n");
    assert_eq!(back(&used), Restored::Aside);
}

#[test]
fn files_that_a_bridge_cannot_take_over_are_refused() {
    let said = |host: Fake| problems(&plan_for(&[debian("13", "a", 11), host], BRIDGED)).join("\n");
    let networkd = |managers: &str, line: &str| {
        debian("13", "b", 12).with("managers", managers).with(
            "manager-lines",
            &format!("/etc/systemd/network/lan.network{line}"),
        )
    };
    let one = "eth0 systemd-networkd /etc/systemd/network/lan.network";
    let two = "eth0 systemd-networkd /etc/systemd/network/lan.network\neth1 systemd-networkd /etc/systemd/network/lan.network";
    let cut_off = [("/etc/network/interfaces", STANZA.trim_end())];
    let cases = [
        (
            networkd(two, "\tGateway=10.0.0.1"),
            "configured by systemd-networkd, and its file /etc/systemd/network/lan.network is for eth1 as well",
        ),
        (
            networkd(one, "\tVLAN=lan.5"),
            "and /etc/systemd/network/lan.network says `VLAN=lan.5`",
        ),
        (
            networkd(one, ".d/more.conf\tDHCP=ipv4"),
            "and /etc/systemd/network/lan.network.d/more.conf says `DHCP=ipv4`",
        ),
        (
            by_ifupdown(&[(
                "/etc/network/interfaces",
                "auto eth0\niface eth0 inet dhcp\n",
            )]),
            "configured by ifupdown, and /etc/network/interfaces says `iface eth0 inet dhcp`",
        ),
        (
            by_ifupdown(&[(
                "/etc/network/interfaces",
                "auto eth1\niface eth1 inet dhcp\n",
            )]),
            "no file in /etc/network/ has a line `iface eth0`",
        ),
        // One that would not come back byte for byte.
        (
            by_ifupdown(&cut_off),
            "/etc/network/interfaces has characters that cannot be read back, or no end of its last line",
        ),
        (
            debian("13", "b", 12).with("managers", "eth0 NetworkManager"),
            "b: its interface eth0 is configured by NetworkManager, which would undo the move",
        ),
        (
            debian("13", "b", 12).with("managers", "eth0 netplan"),
            "b: its interface eth0 is configured by netplan, which would undo the move",
        ),
    ];
    for (host, expected) in cases {
        let found = said(host);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn an_address_that_others_look_after_is_not_moved() {
    let said = |host: Fake| problems(&plan_for(&[debian("13", "a", 11), host], BRIDGED)).join("\n");
    let b = || debian("13", "b", 12);
    assert_eq!(said(b().with("managers", "eth1 netplan")), "");
    let lent = debian("13", "b", 13).with(
        "addresses",
        "2: eth0    inet 10.0.0.77/24 scope global dynamic eth0",
    );
    let inventory = "network: {fabric: bridged, pool: 10.0.0.128/25}\nhosts:\n  - {name: b, address: x, private: 10.0.0.77}\n";
    let inventory = docker_cluster::inventory::Inventory::parse(inventory, "cluster.yaml").unwrap();
    let found = problems(&super::fake::plan_with(&inventory, &[lent]));
    assert!(
        found[0].contains("b: its address 10.0.0.77 is lent (DHCP), and would go back to eth0"),
        "{found:?}"
    );
}
