//! Plans with something under the fabric: a mesh of WireGuard, or an interface that others manage.

use docker_cluster::decide::{self, down, underlay};
use docker_cluster::facts::Facts;
use docker_cluster::inventory::{HostName, Inventory};
use docker_cluster::plan::{Action, Content, Piece, Plan, Slot, Stage, World};

use super::fake::{Fake, debian, decided, inventory, plan_for, plan_without, problems, shown};

const CONFIG: &str = "/etc/docker-cluster/underlay/config";

const MESH: &str = "cluster: test\nunderlay: wireguard\nnetwork: {fabric: swarm}\n";

/// Hosts whose kernel has no module of WireGuard.
fn hosts() -> Vec<Fake> {
    vec![
        debian("13", "a", 11),
        debian("13", "b", 12),
        debian("13", "c", 13),
    ]
}

fn key(name: &str) -> String {
    format!("{}=", name.repeat(43))
}

/// A host whose mesh is as this plan writes it, with the others' keys in the slots.
fn meshed(host: Fake, plan: &Plan, wrong: &str) -> Fake {
    let text = filled(content(plan, host.name));
    let heard: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("peer "))
        .map(|line| {
            format!(
                "heard {} 12 10.0.0.1:51820\n",
                line.split(' ').next().unwrap()
            )
        })
        .collect();
    let mut text_of_files = String::new();
    let mut sums = String::new();
    for step in plan.steps_of(&HostName::parse(host.name).unwrap()) {
        if let Action::PutFile(file) = &step.action
            && !file.path.contains("/docker/")
        {
            let bytes = filled(&file.content);
            let mode = file.mode.trim_start_matches('0');
            text_of_files += &format!("{mode} {} {}\n", file.owner, file.path);
            let sum = docker_cluster::checksum::sha256_hex(bytes.as_bytes());
            sums += &format!("{sum}  {}\n", file.path);
        }
    }
    let units = ["docker-cluster-underlay.service", "docker-cluster-underlay-floor.service"]
        .map(|unit| format!("Id={unit}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"));
    let own = key(host.name);
    host.with("mesh-programs", "wg\nwireguard-go")
        .with("underlay-config", &text)
        .with("underlay", &format!("key {own}\n{heard}{wrong}"))
        .with("files", &text_of_files)
        .with("sums", &sums)
        .with("units", &format!("\n{}", units.join("\n")))
}

/// The content of a host's configuration.
fn content<'a>(plan: &'a Plan, host: &str) -> &'a Content {
    let of_host = plan.steps.iter().filter(|step| step.host.as_str() == host);
    let mut files = of_host.filter_map(|step| match &step.action {
        Action::PutFile(file) if file.path == CONFIG => Some(&file.content),
        _ => None,
    });
    files.next_back().expect("the host gets a mesh")
}

/// What is written: every address has its host's key, the first `a`'s.
fn filled(content: &Content) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Slot(Slot::PublicKey(address)) => {
            let name = ["a", "b", "c", "d"][usize::from(address.octets()[3]) - 1];
            key(name)
        }
        Piece::Slot(slot) => panic!("{slot:?} is no key"),
    };
    content.0.iter().map(piece).collect()
}

/// Only the steps of the mesh.
fn of_the_mesh(plan: &Plan) -> Vec<String> {
    let stage = |step: &&docker_cluster::plan::Step| {
        serde_json::to_value(step.stage).unwrap() == serde_json::json!("underlay")
    };
    let steps = plan.steps.iter().filter(stage);
    steps
        .map(|step| format!("{}: {}", step.host, step.why))
        .collect()
}

/// The hosts as the first plan leaves them.
fn all_meshed() -> Vec<Fake> {
    let first = plan_for(&hosts(), MESH);
    hosts()
        .into_iter()
        .map(|host| meshed(host, &first, ""))
        .collect()
}

#[test]
fn a_mesh_comes_before_everything_that_goes_over_it() {
    let plan = plan_for(&hosts(), MESH);
    assert_eq!(problems(&plan), Vec::<String>::new());
    insta::assert_snapshot!(shown(&plan));
    assert_eq!(
        filled(content(&plan, "b")),
        format!(
            "# underlay wireguard\ndevice dcwg0\ndriver go\nown 10.99.0.2/24\nmesh 10.99.0.0/24\nport 51820\nmtu 1420\npeer a {} 10.99.0.1 10.0.0.11:51820 25\npeer c {} 10.99.0.3 10.0.0.13:51820 25\nguard udp 4789\nguard udp 7946\nguard tcp 7946\nguard tcp 2377\n",
            key("a"),
            key("c")
        )
    );
    // What is told an address is told the one in the mesh, and the network is made for what that carries.
    let text = serde_json::to_string(&plan).unwrap();
    assert!(
        text.contains("10.99.0.1:2377") && !text.contains("10.0.0.11:2377"),
        "{text}"
    );
    assert!(
        text.contains(r#""com.docker.network.driver.mtu":"1420""#),
        "{text}"
    );
}

#[test]
fn a_mesh_that_is_there_needs_nothing() {
    let there = all_meshed();
    let second = plan_for(&there, MESH);
    assert_eq!(problems(&second), Vec::<String>::new());
    assert_eq!(of_the_mesh(&second), Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_a_mesh_is_mended() {
    let first = plan_for(&hosts(), MESH);
    let mut there: Vec<Fake> = hosts()
        .into_iter()
        .map(|host| meshed(host, &first, ""))
        .collect();
    there[1] = meshed(
        debian("13", "b", 12),
        &first,
        "wrong the interface dcwg0 is down\n",
    );
    let plan = plan_for(&there, MESH);
    assert_eq!(
        of_the_mesh(&plan),
        [
            "b: mend its mesh: the interface dcwg0 is down",
            "b: wait until it hears the other hosts over the mesh"
        ]
    );
}

#[test]
fn who_comes_gets_an_address_and_who_goes_leaves_the_others_theirs() {
    let first = plan_for(&hosts(), MESH);
    let mut there: Vec<Fake> = hosts()
        .into_iter()
        .map(|host| meshed(host, &first, ""))
        .collect();
    there.insert(0, debian("13", "d", 14));
    let plan = plan_for(&there, MESH);
    assert!(filled(content(&plan, "d")).contains("own 10.99.0.4/24"));
    for host in ["a", "b", "c"] {
        let text = filled(content(&plan, host));
        assert!(
            text.contains(&format!("peer d {} 10.99.0.4 10.0.0.14:51820 25", key("d"))),
            "{text}"
        );
    }
    // Without b: the others forget it, and nobody else changes.
    there.remove(0);
    there.remove(1);
    let plan = plan_for(&there, MESH);
    let text = filled(content(&plan, "c"));
    assert!(
        text.contains("own 10.99.0.3/24") && !text.contains("peer b"),
        "{text}"
    );
}

#[test]
fn a_host_that_does_not_answer_stays_in_the_mesh() {
    let there = all_meshed();
    let plan = plan_without(&there, &["b"], MESH);
    assert_eq!(of_the_mesh(&plan), Vec::<String>::new());
    // One that comes meanwhile learns of it from the others, and does not get its address.
    let mut more = there;
    more.push(debian("13", "d", 14));
    let plan = plan_without(&more, &["b"], MESH);
    let text = filled(content(&plan, "d"));
    assert!(text.contains("own 10.99.0.4/24"), "{text}");
    assert!(
        text.contains(&format!("peer b {} 10.99.0.2 10.0.0.12:51820 25", key("b"))),
        "{text}"
    );
}

/// Its managers hear each other over the mesh alone: without it they have no quorum, and without a quorum `up` would not mend it.
#[test]
fn a_mesh_is_mended_before_its_swarm_is_judged() {
    let torn = |wrong: &str| {
        let first = plan_for(&hosts(), MESH);
        let of_swarm = |host: Fake, is_manager: bool| Fake {
            swarm: Some(("s", "n", is_manager)),
            ..host
        };
        let mut there: Vec<Fake> = hosts()
            .into_iter()
            .map(|host| meshed(host, &first, ""))
            .collect();
        there[0] = meshed(debian("13", "a", 11), &first, wrong);
        there
            .into_iter()
            .map(|host| of_swarm(host, false))
            .collect::<Vec<_>>()
    };
    let down = "wrong the interface dcwg0 is missing\n";
    let plan = plan_for(&torn(down), MESH);
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert!(!of_the_mesh(&plan).is_empty(), "{}", shown(&plan));
    assert!(
        plan.steps.iter().all(|step| step.stage != Stage::Swarm),
        "{}",
        shown(&plan)
    );
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("run `up` again")),
        "{:?}",
        plan.notes
    );
    // A mesh that is whole is no excuse.
    let plan = plan_for(&torn(""), MESH);
    assert!(
        problems(&plan)
            .iter()
            .any(|line| line.contains("no manager of it has a quorum")),
        "{:?}",
        problems(&plan)
    );
}

#[test]
fn a_run_about_some_hosts_is_whole_or_refused() {
    let name = |name: &str| HostName::parse(name).unwrap();
    let mut plan = plan_for(&hosts(), MESH);
    plan.limit_to(&[name("a")]);
    assert!(
        problems(&plan)
            .iter()
            .any(|line| line.contains("is not selected")),
        "the others have no keys yet: {:?}",
        problems(&plan)
    );
    let settings = "cluster: test\nunderlay: wireguard\nnetwork: {fabric: nat}\n";
    let first = plan_for(&hosts(), settings);
    let mut there: Vec<Fake> = hosts()
        .into_iter()
        .map(|host| meshed(host, &first, ""))
        .collect();
    there[1] = meshed(
        debian("13", "b", 12),
        &first,
        "wrong the interface dcwg0 is down\n",
    );
    let mut plan = plan_for(&there, settings);
    plan.limit_to(&[name("b")]);
    assert_eq!(of_the_mesh(&plan).len(), 2, "{}", shown(&plan));
}

#[test]
fn a_running_cluster_is_not_moved() {
    let swarm = |host: Fake| Fake {
        swarm: Some(("s", "n", true)),
        ..host
    };
    let on_plain: Vec<Fake> = hosts().into_iter().map(swarm).collect();
    insta::assert_snapshot!("onto_a_mesh", shown(&plan_for(&on_plain, MESH)));
    let off = plan_for(&all_meshed(), "network: {fabric: swarm}\n");
    insta::assert_snapshot!("off_a_mesh", shown(&off));
}

#[test]
fn the_module_is_taken_where_there_is_one_and_debian_11_has_nothing_else() {
    let with = |host: Fake, state: &str| host.with("modules", &format!("wireguard {state}"));
    let mut all = [
        with(debian("13", "a", 1), "available"),
        debian("13", "b", 2),
        with(debian("13", "c", 3), "available").with("mesh-programs", "wg"),
    ];
    // The mesh comes before the engine, which would bring it.
    (all[1].iptables, all[2].iptables) = ("", "");
    let plan = plan_for(&all, MESH);
    assert!(filled(content(&plan, "a")).contains("driver kernel"));
    let install = |host: &str| {
        let mut steps = plan.steps.iter().filter(|step| step.host.as_str() == host);
        steps.find_map(|step| match &step.action {
            Action::Script {
                name: "apt-install",
                args,
                ..
            } => Some(args.clone()),
            _ => None,
        })
    };
    assert_eq!(install("a").unwrap(), ["wireguard-tools"]);
    let all_of_it = ["wireguard-tools", "wireguard-go", "iptables"];
    assert_eq!(install("b").unwrap(), all_of_it);
    assert_eq!(install("c").unwrap(), ["iptables"]);
    let old = [with(debian("11", "a", 1), "missing"), debian("11", "b", 2)];
    let refused = problems(&plan_for(&old, MESH));
    assert!(
        refused
            .iter()
            .any(|line| line.contains("a: its kernel") && line.contains("no wireguard module")),
        "{refused:?}"
    );
}

#[test]
fn routed_packets_are_let_through_the_mesh_with_their_own_addresses() {
    let plan = plan_for(
        &hosts(),
        "cluster: test\nunderlay: wireguard\nnetwork: {fabric: routed}\n",
    );
    assert_eq!(problems(&plan), Vec::<String>::new());
    let text = filled(content(&plan, "a"));
    assert!(
        text.contains("behind 10.99.0.2 10.90.1.0/24\nbehind 10.99.0.3 10.90.2.0/24\n"),
        "{text}"
    );
    let links = serde_json::to_string(&plan).unwrap();
    assert!(
        links.contains("out dcwg0") && links.contains("peer 10.90.1.0/24 10.99.0.2"),
        "{links}"
    );
}

#[test]
fn down_takes_the_mesh_last_and_keys_with_it() {
    let there = all_meshed();
    let world = inventory(&there, MESH);
    let plan = decided(&world, &there, |world| {
        down::plan(world, down::Packages::Keep)
    });
    let said = of_the_mesh(&plan);
    assert_eq!(said.len(), 6, "{said:?}");
    assert!(
        said.contains(&"a: take its interface, its route, its rules and its key away".to_owned())
    );
}

#[test]
fn keys_are_rotated_one_host_after_the_other() {
    let there = all_meshed();
    let world = inventory(&there, MESH);
    let plan = decided(&world, &there, underlay::plan_rotation);
    assert_eq!(problems(&plan), Vec::<String>::new());
    insta::assert_snapshot!(shown(&plan));
    let switch = |step: &docker_cluster::plan::Step| matches!(&step.action, Action::Run { argv, .. } if argv.last().is_some_and(|word| word == "switch"));
    let switches: Vec<_> = plan.steps.iter().filter(|step| switch(step)).collect();
    assert_eq!(switches.len(), 3);
    assert!(
        switches.iter().all(|step| !step.after.is_empty()),
        "each waits for the one before"
    );
    // Who cannot be asked would be shut out.
    let refused = decided_without(&world, &there, "c");
    assert!(
        problems(&refused)
            .iter()
            .any(|line| line.contains("would be shut out of the mesh"))
    );
}

fn decided_without(inventory: &Inventory, hosts: &[Fake], silent: &str) -> Plan {
    let facts: Vec<(HostName, Facts)> = hosts
        .iter()
        .filter(|host| host.name != silent)
        .map(Fake::facts)
        .collect();
    let unreached = vec![docker_cluster::plan::Unreached {
        host: HostName::parse(silent).unwrap(),
        error: "no route to it".to_owned(),
        hint: String::new(),
    }];
    underlay::plan_rotation(&World::new(inventory, &facts, unreached))
}

#[test]
fn an_interface_of_others_is_taken_with_its_address_and_its_mtu() {
    let with = |host: Fake, address: &str| {
        host.with("links", "3: tailscale0: <POINTOPOINT> mtu 1280 qdisc")
            .with(
                "addresses",
                &format!("3: tailscale0    inet {address}/32 scope global tailscale0"),
            )
    };
    let both = [
        with(debian("13", "a", 1), "100.64.0.1"),
        with(debian("13", "b", 2), "100.64.0.2"),
    ];
    let settings = "cluster: test\nunderlay: {interface: tailscale0}\nnetwork: {fabric: swarm}\n";
    let text = serde_json::to_string(&plan_for(&both, settings)).unwrap();
    assert!(text.contains("100.64.0.1:2377"), "{text}");
    assert!(
        text.contains(r#""com.docker.network.driver.mtu":"1280""#),
        "{text}"
    );
    let refused = problems(&plan_for(
        &[both[0].clone(), debian("13", "b", 2)],
        settings,
    ));
    assert!(
        refused
            .iter()
            .any(|line| line.contains("b: the interface tailscale0 is not there")),
        "{refused:?}"
    );
    let _ = decide::up;
    let hosts = "hosts:\n  - {name: a, address: 10.0.0.1, private: ADDRESS}\n  - {name: b, address: 10.0.0.2}\n";
    let told = |address: &str| {
        let text = format!("{settings}{}", hosts.replace("ADDRESS", address));
        let inventory = Inventory::parse(&text, "cluster.yaml").unwrap();
        problems(&decided(&inventory, &both, decide::up))
    };
    assert!(told("100.64.0.1").is_empty(), "the interface's own");
    let lan = &told("10.0.0.1")[..];
    assert!(
        lan.iter().any(|line| line
            .contains("is on eth0, and the inventory says that all goes over tailscale0")),
        "in clear, and nobody would know: {lan:?}"
    );
    assert!(told("eth0").is_empty(), "said with its name");
}
