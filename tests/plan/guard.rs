//! The guard of overlays: who may send to their ports, and who is never cut off.

use docker_cluster::checksum::sha256_hex;
use docker_cluster::decide;
use docker_cluster::inventory::{HostName, Inventory};
use docker_cluster::plan::{Action, Plan};
use serde_json::json;

use super::fake::{Fake, debian, decided, inventory, plan_for, plan_without, problems, shown};
use super::three;

const CONFIG: &str = "/etc/docker-cluster/fabric/config";
const UNIT: &str = "docker-cluster-fabric.service";

/// The files that a plan puts on a host for its guard.
fn files<'a>(plan: &'a Plan, host: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let files = plan.steps.iter().filter_map(|step| match &step.action {
        Action::PutFile(file) if step.host.as_str() == host && file.path.contains("fabric") => {
            Some((file.path.as_str(), file.mode, file.content.plain()?))
        }
        _ => None,
    });
    files.collect()
}

/// The configuration of a host's guard, as a plan writes it.
fn config<'a>(plan: &'a Plan, host: &str) -> Option<&'a str> {
    let mut files = files(plan, host).into_iter();
    files.find_map(|(path, _, text)| (path == CONFIG).then_some(text))
}

/// A host after the steps of a plan about its guard.
fn guarded(host: Fake, plan: &Plan) -> Fake {
    let files = files(plan, host.name);
    let stat: Vec<String> = files
        .iter()
        .map(|(path, mode, _)| format!("{} root:root {path}", mode.trim_start_matches('0')))
        .collect();
    let sums: Vec<String> = files
        .iter()
        .map(|(path, _, text)| format!("{}  {path}", sha256_hex(text.as_bytes())))
        .collect();
    let text = config(plan, host.name).expect("it gets a guard").to_owned();
    let mut host = host
        .with("files", &stat.join("\n"))
        .with("sums", &sums.join("\n"))
        .with("fabric-config", &text);
    host.sections += &format!(
        "@units\n|\n|Id={UNIT}\n|LoadState=loaded\n|ActiveState=active\n|UnitFileState=enabled\n|MainPID=0\n"
    );
    host
}

/// A node as a manager tells it.
fn node(hostname: &str, address: &str, state: &str) -> String {
    json!({
        "ID": format!("node-{hostname}"), "Description": {"Hostname": hostname},
        "Spec": {"Role": "worker", "Availability": "active", "Labels": {}},
        "Status": {"State": state, "Addr": address},
    })
    .to_string()
}

/// Hosts in a swarm, the first of them its manager, which lists these nodes as well.
fn in_a_swarm(mut hosts: Vec<Fake>, more: &[String]) -> Vec<Fake> {
    let mut nodes: Vec<String> = hosts
        .iter()
        .map(|host| node(host.name, &host.address, "ready"))
        .collect();
    nodes.extend_from_slice(more);
    for (at, host) in hosts.iter_mut().enumerate() {
        host.swarm = Some(("s", ["node-a", "node-b", "node-c", "node-d"][at], at == 0));
    }
    let network = json!({
        "Name": "cluster", "Id": "n", "Driver": "overlay", "Scope": "swarm", "Attachable": true,
        "IPAM": {"Config": [{"Subnet": "10.90.0.0/16"}]},
    });
    hosts[0] = hosts[0]
        .clone()
        .with("nodes", &nodes.join("\n"))
        .with_network(network);
    hosts
}

/// The same, each with the guard that a first `up` gives it.
fn with_guards(hosts: &[Fake], settings: &str) -> Vec<Fake> {
    let plan = plan_for(hosts, settings);
    assert_eq!(problems(&plan), [""; 0]);
    hosts
        .iter()
        .cloned()
        .map(|host| guarded(host, &plan))
        .collect()
}

fn says(plan: &Plan, host: &str, words: &str) -> bool {
    let mut steps = plan.steps.iter();
    steps.any(|step| step.host.as_str() == host && step.why.contains(words))
}

#[test]
fn only_the_other_hosts_may_send_to_the_ports() {
    let plan = plan_for(&three("13"), "swarm: {data_path_port: 4790}\n");
    assert_eq!(
        config(&plan, "b"),
        Some(
            "# fabric guard\nport udp 4790\nport tcp 7946\nport udp 7946\nport tcp 2377\npeer 10.0.0.11 a\npeer 10.0.0.13 c\n"
        )
    );
    let plan = plan_for(&three("11"), "");
    assert_eq!(
        config(&plan, "a"),
        Some(
            "# fabric guard\nport udp 4789\nport tcp 7946\nport udp 7946\npeer 10.0.0.12 b\npeer 10.0.0.13 c\n"
        )
    );
    // The ports are closed before engines open them, and no engine is restarted for it.
    let swarm = in_a_swarm(three("13"), &[]);
    let plan = plan_for(&swarm, "");
    assert!(config(&plan, "c").is_some());
    assert!(!plan.steps.iter().any(
        |step| matches!(step.action, Action::Service { unit, .. } if unit == "docker.service")
    ));
}

#[test]
fn a_guard_that_is_right_is_left_alone_and_one_that_is_not_is_mended() {
    let hosts = with_guards(&in_a_swarm(three("13"), &[]), "");
    let plan = plan_for(&hosts, "");
    assert!(!says(&plan, "a", "guard"), "{}", shown(&plan));
    let missing = "the rule `iptables -t filter -A DOCKER-CLUSTER -m comment --comment docker-cluster -j DROP` is missing";
    let mut hosts = hosts;
    hosts[1] = hosts[1].clone().with("fabric-wrong", missing);
    let plan = plan_for(&hosts, "");
    assert!(
        says(
            &plan,
            "b",
            &format!("mend the guard of the overlay's ports: {missing}")
        ),
        "{}",
        shown(&plan)
    );
    assert_eq!(config(&plan, "b"), None);
}

#[test]
fn packets_come_from_where_the_routes_say() {
    // Its private address is the second of the interface: what the kernel sends by itself has the first.
    let mut hosts = three("13");
    hosts[1].sections += "@addresses\n|2: eth0    inet 10.0.0.99/24 scope global eth0\n";
    hosts[2] = Fake {
        routes: vec!["10.0.0.11 dev eth0 src 10.7.7.7"],
        ..hosts[2].clone()
    };
    let plan = plan_for(&hosts, "");
    let of_a = config(&plan, "a").unwrap();
    assert!(
        of_a.contains("peer 10.0.0.12 b\n") && of_a.contains("peer 10.0.0.99 b\n"),
        "{of_a}"
    );
    assert!(
        of_a.contains("peer 10.0.0.13 c\n") && of_a.contains("peer 10.7.7.7 c\n"),
        "{of_a}"
    );
    // A network for the data alone, and one of an engine's.
    let mut two = three("13");
    let routes = [
        "10.5.0.0/24 dev eth1 scope link",
        "172.19.0.0/16 dev br-1 scope link",
    ];
    for (host, n) in two.iter_mut().zip(11..) {
        host.sections += &format!(
            "@addresses\n|3: eth1    inet 10.5.0.{n}/24 scope global eth1\n|4: br-1    inet 172.19.{n}.1/16 scope global br-1\n"
        );
        host.routes = routes.to_vec();
    }
    let plan_of_two = plan_for(&two, "");
    let of_a = config(&plan_of_two, "a").unwrap();
    assert!(
        of_a.contains("peer 10.5.0.12 b\n") && of_a.contains("peer 10.0.0.12 b\n"),
        "{of_a}"
    );
    assert!(!of_a.contains("172.19."), "{of_a}");
    assert!(
        !config(&plan, "b").unwrap().contains("10.7.7.7"),
        "that route is to a alone"
    );
}

#[test]
fn nodes_that_are_no_hosts_of_the_inventory_are_let_in() {
    let foreign = [
        node("stranger", "10.9.9.9", "ready"),
        node("six", "2001:db8::6", "down"),
    ];
    let plan = plan_for(&in_a_swarm(three("13"), &foreign), "");
    assert_eq!(
        config(&plan, "b"),
        Some(
            "# fabric guard\nport udp 4789\nport tcp 7946\nport udp 7946\nport tcp 2377\npeer 10.0.0.11 a\npeer 10.0.0.13 c\npeer 10.9.9.9 stranger\npeer 2001:db8::6 six\n"
        )
    );
    // One that is nowhere keeps the ports open, and a guard that is there as it is.
    let nowhere = [node("stranger", "0.0.0.0", "ready")];
    let plan = plan_for(&in_a_swarm(three("13"), &nowhere), "");
    assert_eq!(config(&plan, "a"), None);
    assert!(
        plan.notes.iter().any(
            |note| note.contains("a, b, c: the overlay's ports stay open")
                && note.contains("stranger")
        ),
        "{:?}",
        plan.notes
    );
}

#[test]
fn who_does_not_answer_is_not_shut_out() {
    let swarm = with_guards(&in_a_swarm(three("13"), &[]), "");
    let plan = plan_without(&swarm, &["c"], "");
    assert_eq!(
        (config(&plan, "a"), config(&plan, "b")),
        (None, None),
        "{}",
        shown(&plan)
    );
    // Nobody knows of it but the store, and no guard is there yet.
    let classic = |host: Fake| Fake {
        daemon_json: Some(r#"{"cluster-store": "consul://127.0.0.1:8501"}"#),
        ..host
    };
    let members = "Node Address Status\na 10.0.0.11:8301 alive\nb 10.0.0.12:8301 alive\nc 10.0.0.13:8301 failed";
    let hosts: Vec<Fake> = three("11").into_iter().map(classic).collect();
    let told: Vec<Fake> = hosts
        .iter()
        .map(|host| host.clone().with("store-members", members))
        .collect();
    let settings = "network: {fabric: overlay}\n";
    let notes = |plan: &Plan| plan.notes.join("\n");
    let plan = plan_without(&told, &["c"], settings);
    assert_eq!(config(&plan, "a"), None);
    let unsure = plan_for(&hosts, settings);
    assert_eq!(config(&unsure, "a"), None);
    assert_eq!(
        (problems(&plan), problems(&unsure)),
        (Vec::new(), Vec::new())
    );
    assert!(
        notes(&plan).contains("where c sends from"),
        "{:?}",
        plan.notes
    );
    assert!(
        notes(&unsure).contains("does not tell who uses it"),
        "{:?}",
        unsure.notes
    );
    // With guards that name it, it stays in them, and so does who uses the store from elsewhere.
    let all = format!("{members}\nelsewhere 10.0.0.77:8301 alive");
    let first = plan_for(&told, settings);
    let hosts: Vec<Fake> = told
        .iter()
        .map(|host| guarded(host.clone(), &first))
        .collect();
    let plan = plan_without(&hosts, &["c"], settings);
    assert_eq!((config(&plan, "a"), config(&plan, "b")), (None, None));
    let shared: Vec<Fake> = told
        .iter()
        .map(|host| host.clone().with("store-members", &all))
        .collect();
    let plan = plan_for(&shared, settings);
    assert_eq!(config(&plan, "a"), None);
    assert!(notes(&plan).contains("elsewhere"), "{:?}", plan.notes);
}

#[test]
fn another_fabric_is_refused_while_the_guard_is_there() {
    let hosts = with_guards(&in_a_swarm(three("13"), &[]), "");
    let found = problems(&plan_for(&hosts, "network: {fabric: vxlan}\n"));
    assert!(
        found.iter().any(|what| what.contains(
            "it has an overlay, whose ports are guarded, beside which there cannot be vxlan"
        )),
        "{found:?}"
    );
}

#[test]
fn a_host_that_comes_is_let_in_first_and_one_that_goes_is_let_out() {
    let mut hosts = with_guards(&in_a_swarm(three("13"), &[]), "");
    hosts.push(debian("13", "d", 14));
    let mut plan = plan_for(&hosts, "");
    assert!(config(&plan, "a").unwrap().ends_with("peer 10.0.0.14 d\n"));
    let step = |plan: &Plan, host: &str, words: &str| {
        let mut steps = plan.steps.iter().filter(|step| step.host.as_str() == host);
        steps
            .find(|step| step.why.contains(words))
            .map(|step| step.id)
    };
    let close = "close the overlay's ports";
    let door = step(&plan, "a", "mend")
        .or(step(&plan, "a", close))
        .unwrap();
    let own = step(&plan, "d", close).unwrap();
    assert!(own < step(&plan, "d", "join the swarm").unwrap());
    assert!(plan.steps[own].after.contains(&door), "{}", shown(&plan));
    // Selected alone, it takes along what the others do for it.
    plan.limit_to(&[HostName::parse("d").unwrap()]);
    assert_eq!(problems(&plan), [""; 0]);
    assert!(config(&plan, "a").is_some() && config(&plan, "c").is_some());

    let hosts = with_guards(&in_a_swarm(three("13"), &[]), "");
    let gone = HostName::parse("c").unwrap();
    let plan = decided(&inventory(&hosts, ""), &hosts, |world| {
        decide::rm(world, &gone)
    });
    assert_eq!(problems(&plan), [""; 0]);
    assert_eq!(
        config(&plan, "a"),
        Some(
            "# fabric guard\nport udp 4789\nport tcp 7946\nport udp 7946\nport tcp 2377\npeer 10.0.0.12 b\n"
        )
    );
    assert!(
        says(&plan, "c", "open the overlay's ports to everybody"),
        "{}",
        shown(&plan)
    );
}

#[test]
fn it_can_be_switched_off_and_says_where_it_cannot_be() {
    let off = "network: {guard: false}\n";
    let plan = plan_for(&three("13"), off);
    assert_eq!(config(&plan, "a"), None);
    let hosts = with_guards(&in_a_swarm(three("13"), &[]), "");
    let plan = plan_for(&hosts, off);
    assert!(
        says(&plan, "b", "open the overlay's ports to everybody"),
        "{}",
        shown(&plan)
    );

    let mut hosts = three("13");
    hosts[1].iptables = "";
    let plan = plan_for(&hosts, "");
    assert!(config(&plan, "a").is_some() && config(&plan, "b").is_none());
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("b: there is no iptables")),
        "{:?}",
        plan.notes
    );

    // Engines outside the inventory may be in somebody else's store.
    let etcd = "network: {fabric: overlay}\nstore: {url: 'etcd://10.0.0.9:2379'}\n";
    let plan = plan_for(&three("12"), etcd);
    assert_eq!(config(&plan, "a"), None);
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("network: {guard: true}")),
        "{:?}",
        plan.notes
    );
    let plan = plan_for(
        &three("12"),
        &etcd.replace("overlay}", "overlay, guard: true}"),
    );
    assert!(config(&plan, "a").is_some(), "{}", shown(&plan));
}

#[test]
fn who_joins_by_hand_is_let_in_where_the_inventory_says_it() {
    let settings = "network: {guard_allow: ['2001:db8::/64', 192.0.2.7, 10.9.0.0/16]}\n";
    let plan = plan_for(&three("13"), settings);
    assert_eq!(
        config(&plan, "b"),
        Some(
            "# fabric guard\nport udp 4789\nport tcp 7946\nport udp 7946\nport tcp 2377\nallow 10.9.0.0/16\nallow 192.0.2.7/32\nallow 2001:db8::/64\npeer 10.0.0.11 a\npeer 10.0.0.13 c\n"
        )
    );
    // It is no node: what is not in the inventory any more is let out.
    let hosts = with_guards(&in_a_swarm(three("13"), &[]), settings);
    assert_eq!(config(&plan_for(&hosts, settings), "a"), None);
    let plan = plan_for(&hosts, "");
    assert!(!config(&plan, "a").unwrap().contains("allow"));

    let flaw = |network: &str| {
        let text = format!("network:\n  {network}\nhosts: [u, v]\n");
        Inventory::parse(&text, "cluster.yaml")
            .unwrap_err()
            .to_string()
    };
    for (network, words) in [
        (
            "guard_allow: [here]",
            "`here` is neither an address nor a network",
        ),
        ("guard_allow: [0.0.0.0/0]", "0.0.0.0/0 is everybody"),
        ("guard_allow: [10.0.0.7/24]", "the network is 10.0.0.0/24"),
        (
            "guard: false\n  guard_allow: [10.0.0.7]",
            "`guard: false` lets everybody in, and `guard_allow` some",
        ),
        (
            "fabric: vxlan\n  guard_allow: [10.0.0.7]",
            "`guard_allow` is about the ports of overlays, and the fabric is vxlan",
        ),
    ] {
        assert!(flaw(network).contains(words), "{}", flaw(network));
    }
}

#[test]
fn nobody_is_let_in_from_where_nothing_comes() {
    let parsed = |allowed: &str| {
        let text = format!("network:\n  guard_allow:\n    - '{allowed}'\nhosts: [u, v]\n");
        Inventory::parse(&text, "cluster.yaml")
    };
    let host = "write the address that they have on the network, such as 192.0.2.7";
    let everybody = "name the network that they send from, or say `guard: false` for everybody";
    for (allowed, what, help) in [
        (
            "127.0.0.1",
            "127.0.0.1/32 is each host's own loopback",
            host,
        ),
        ("127.0.0.0/8", "each host's own loopback", host),
        ("::1", "each host's own loopback", host),
        ("224.0.0.5", "for multicast", host),
        ("224.0.0.0/3", "for multicast", host),
        ("ff02::1", "for multicast", host),
        ("0.0.0.0", "0.0.0.0/32 is no address of a host", everybody),
        ("0.0.0.0/8", "no address of a host", everybody),
        ("::", "::/128 is no address of a host", everybody),
        ("::1.2.3.4", "no address of a host", host),
        ("255.255.255.255", "reserved", host),
        (
            "::ffff:1.2.3.4",
            "IPv4 in the letters of IPv6",
            "write `1.2.3.4`",
        ),
        (
            "::ffff:1.2.3.0/120",
            "IPv4 in the letters of IPv6",
            "write `1.2.3.0/24`",
        ),
    ] {
        let error = parsed(allowed).expect_err(allowed);
        let [flaw] = &error.flaws[..] else {
            panic!("{error}");
        };
        assert!(flaw.message.contains(what), "{allowed}: {}", flaw.message);
        assert_eq!((flaw.line, flaw.help.as_str()), (3, help), "{allowed}");
    }
    // Those in which there are others as well, and those that only look like them.
    for allowed in [
        "128.0.0.0/1",
        "0.0.0.0/1",
        "fe80::1",
        "2001:db8::ffff:1.2.3.4",
        "100.64.0.0/10",
    ] {
        assert!(parsed(allowed).is_ok(), "{allowed}");
    }
}

/// The managers' port is closed, so that a host that gets no guard of its own joins when they have let it in, and not before.
#[test]
fn nobody_joins_before_the_managers_let_it_in() {
    let mut hosts = with_guards(&in_a_swarm(three("13"), &[]), "");
    hosts.push(Fake {
        iptables: "",
        ..debian("13", "d", 14)
    });
    let mut plan = plan_for(&hosts, "");
    assert_eq!(config(&plan, "d"), None);
    let doors = plan
        .steps
        .iter()
        .filter(|step| {
            step.why
                .contains("the overlay's ports to everybody who does not")
        })
        .map(|step| step.id);
    let doors: Vec<_> = doors.collect();
    assert_eq!(doors.len(), 3, "{}", shown(&plan));
    let join = plan
        .steps
        .iter()
        .find(|step| step.why.starts_with("join the swarm"));
    let after = &join.unwrap().after;
    assert!(
        doors.iter().all(|door| after.contains(door)),
        "{}",
        shown(&plan)
    );
    plan.limit_to(&[HostName::parse("d").unwrap()]);
    assert_eq!(problems(&plan), [""; 0]);
    assert!(config(&plan, "a").is_some());
}
