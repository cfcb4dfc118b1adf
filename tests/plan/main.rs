//! Golden plans: what is decided for hosts that do not exist, from what the probe would print on them.

mod between;
mod docker0;
mod engines;
mod fabrics;
mod fabrics_bgp;
mod fabrics_openvswitch;
mod fake;
mod guard;
mod lan;
mod leaving;
mod machine;
mod packages;
mod restart;
mod standalone;
mod tls;
mod underlay;
mod untidy;

use docker_cluster::decide::rm;
use docker_cluster::decide::{down, migrate};
use docker_cluster::inventory::{FabricKind, HostName, Inventory};
use docker_cluster::plan::{Action, Plan, World};

use fake::{Fake, debian, decided, plan_for, plan_with, plan_without, problems, shown};

fn three(release: &'static str) -> Vec<Fake> {
    vec![
        debian(release, "a", 11),
        debian(release, "b", 12),
        debian(release, "c", 13),
    ]
}

fn only_problem(plan: &Plan) -> String {
    let found = problems(plan);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

#[test]
fn bare_debian_11_gets_engine_store_and_overlay() {
    let hosts: Vec<Fake> = three("11").into_iter().map(Fake::bare).collect();
    insta::assert_snapshot!(shown(&plan_for(&hosts, "")));
}

#[test]
fn an_image_waits_for_options_that_may_say_where_it_comes_from() {
    let before_options = |host: &str, hosts: &[Fake], settings: &str| {
        let plan = plan_for(hosts, settings);
        let at = |words: &str| {
            let found = plan
                .steps
                .iter()
                .find(|step| step.host.as_str() == host && step.why.contains(words));
            found
                .unwrap_or_else(|| panic!("{words}: {}", shown(&plan)))
                .id
        };
        at("pull the image") < at("restart the engine with its new options")
    };
    let new: Vec<Fake> = three("11").into_iter().map(Fake::bare).collect();
    let elsewhere = "engine: {options: {insecure-registries: ['10.0.0.9:5000']}}\n";
    assert_eq!(
        ["a", "b", "c"].map(|host| before_options(host, &new, "")),
        [false, true, true]
    );
    assert_eq!(
        ["a", "b", "c"].map(|host| before_options(host, &new, elsewhere)),
        [false; 3]
    );
    // What fails to get an image must not keep engines from their turn that have something to lose.
    assert_eq!(
        ["a", "b", "c"].map(|host| before_options(host, &three("11"), "")),
        [false; 3]
    );
}

#[test]
fn no_agent_of_a_new_store_starts_before_all_servers_can() {
    let hosts: Vec<Fake> = ["a", "b", "c", "d"]
        .iter()
        .zip(11..)
        .map(|(name, ip)| debian("11", name, ip))
        .collect();
    let plan = plan_for(&hosts, "");
    let of = |host: &str, words: &str| {
        plan.steps
            .iter()
            .find(|step| step.host.as_str() == host && step.why == words)
            .unwrap()
    };
    let ready = |host| of(host, "start Consul and its helper at every boot").id;
    for (host, others) in [
        ("a", ["b", "c"].as_slice()),
        ("b", &["a", "c"]),
        ("d", &["a", "b", "c"]),
    ] {
        let others: Vec<_> = others.iter().map(|other| ready(other)).collect();
        assert_eq!(of(host, "start Consul").after, others, "{}", shown(&plan));
    }
}

#[test]
fn debian_13_gets_swarm_mode() {
    insta::assert_snapshot!(shown(&plan_for(&three("13"), "")));
}

#[test]
fn debian_12_gets_swarm_mode_with_the_reason() {
    let plan = plan_for(&three("12"), "");
    assert_eq!(plan.fabric, FabricKind::Swarm);
    assert!(
        plan.reason
            .contains("without the consul backend (it has: etcd, zookeeper)"),
        "{}",
        plan.reason
    );
}

#[test]
fn debian_12_cannot_be_made_to_use_consul() {
    let plan = plan_for(&three("12"), "network: {fabric: overlay}\n");
    let found = problems(&plan);
    assert!(
        found.iter().any(|problem| problem.contains(
            "a: has the engine 20.10.24 whose binary was built without the consul backend"
        )),
        "{found:#?}"
    );
    assert!(
        plan.problems
            .iter()
            .any(|problem| problem.fix.contains("fabric: swarm") && problem.fix.contains("etcd"))
    );
}

#[test]
fn an_external_etcd_serves_debian_12() {
    let plan = plan_for(
        &three("12"),
        "store: {url: 'etcd://10.0.0.5:2379/docker'}\n",
    );
    assert_eq!(plan.fabric, FabricKind::Overlay);
    insta::assert_snapshot!(shown(&plan));
}

#[test]
fn a_kv_cluster_and_a_new_engine_cannot_share_a_fabric() {
    let mut hosts = three("11");
    for host in &mut hosts {
        host.daemon_json = Some(r#"{"cluster-store": "consul://127.0.0.1:8501"}"#);
    }
    hosts.push(debian("13", "d", 14));
    let plan = plan_for(&hosts, "");
    let problem = only_problem(&plan);
    assert!(
        problem.contains("cannot share one fabric: a, b, c run a classic overlay"),
        "{problem}"
    );
    assert!(
        problem.contains("d (has the engine 26.1.5, and engines from 23 on have no overlay"),
        "{problem}"
    );
    assert!(plan.problems[0].fix.contains("migrate"));
}

#[test]
fn old_and_new_engines_that_are_free_share_swarm_mode() {
    let plan = plan_for(
        &[
            debian("11", "a", 11),
            debian("13", "b", 12),
            debian("13", "c", 13),
        ],
        "",
    );
    assert_eq!(
        (plan.fabric, problems(&plan)),
        (FabricKind::Swarm, Vec::<String>::new())
    );
}

#[test]
fn engines_with_containers_restart_one_after_the_other() {
    let mut hosts = three("11");
    for host in &mut hosts {
        host.containers = vec![("web", "always"), ("batch", "no")];
    }
    let plan = plan_for(&hosts, "");
    // Not only the restart waits, the file does as well: a host that reboots must not meet options that nobody has tried.
    let writes: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| step.why.starts_with("set cluster-store"))
        .collect();
    assert_eq!(writes.len(), 3);
    assert!(writes[0].after.is_empty());
    for (write, before) in [(writes[1], writes[0]), (writes[2], writes[1])] {
        let waited: Vec<_> = plan
            .steps
            .iter()
            .filter(|step| write.after.contains(&step.id))
            .collect();
        assert!(
            waited
                .iter()
                .any(|step| step.host == before.host && step.why == "wait until web run again"),
            "it waits until the one before is well, its containers included: {waited:#?}"
        );
    }
    for step in plan
        .steps
        .iter()
        .filter(|step| step.why.starts_with("restart the engine"))
    {
        let undo = step.undo.as_ref().expect("a restart has a way back");
        assert!(
            matches!(&undo.actions[0], Action::PutBack { paths } if paths == &["/etc/docker/daemon.json"])
        );
    }
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("stops batch for good")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn engines_of_an_overlay_start_one_after_the_other() {
    let plan = plan_for(&three("11"), "");
    let of = |host: &str, words: &str| {
        plan.steps
            .iter()
            .find(|step| step.host.as_str() == host && step.why.contains(words))
            .unwrap()
    };
    for (before, host) in [("a", "b"), ("b", "c")] {
        let follows = &of(host, "set cluster-store").follows;
        assert_eq!(
            follows,
            &[of(before, "wait until the engine gossips").id],
            "whatever became of the one before"
        );
    }
}

#[test]
fn a_stopped_engine_with_the_right_options_starts_once() {
    let mut host = debian("12", "a", 11);
    host.up = false;
    host.daemon_json = Some(
        r#"{"cluster-store": "etcd://10.0.0.5:2379/docker", "cluster-advertise": "10.0.0.11:2376"}"#,
    );
    let plan = plan_for(&[host], "store: {url: 'etcd://10.0.0.5:2379/docker'}\n");
    let starts = |step: &&docker_cluster::plan::Step| {
        matches!(
            step.action,
            Action::Service {
                unit: "docker.service",
                ..
            }
        )
    };
    assert_eq!(
        plan.steps.iter().filter(starts).count(),
        1,
        "{}",
        shown(&plan)
    );
    assert!(
        plan.steps
            .iter()
            .any(|step| step.why == "wait until the engine answers with them"),
        "{}",
        shown(&plan)
    );
}

#[test]
fn stopped_engines_of_an_overlay_start_one_after_the_other() {
    let options = |ip: &str| -> &'static str {
        let text = format!(
            r#"{{"cluster-store": "etcd://10.0.0.5:2379/docker", "cluster-advertise": "{ip}:2376"}}"#
        );
        Box::leak(text.into_boxed_str())
    };
    let mut hosts = vec![debian("12", "a", 11), debian("12", "b", 12)];
    for (host, ip) in hosts.iter_mut().zip(["10.0.0.11", "10.0.0.12"]) {
        host.up = false;
        host.daemon_json = Some(options(ip));
    }
    let plan = plan_for(&hosts, "store: {url: 'etcd://10.0.0.5:2379/docker'}\n");
    let of = |host: &str, words: &str| {
        plan.steps
            .iter()
            .find(|step| step.host.as_str() == host && step.why.contains(words))
            .unwrap()
    };
    let start = of("b", "start the Docker engine, which is stopped");
    assert_eq!(
        start.follows,
        [of("a", "wait until the engine gossips").id],
        "{}",
        shown(&plan)
    );
}

#[test]
fn an_ipv6_address_is_no_underlay() {
    let text = "hosts:\n  - {name: a, address: 10.0.0.11, private: '2001:db8::5'}\n";
    let plan = plan_with(
        &Inventory::parse(text, "cluster.yaml").unwrap(),
        &[debian("11", "a", 11)],
    );
    assert!(
        problems(&plan)[0].contains("the private address 2001:db8::5 is one of IPv6"),
        "{:?}",
        problems(&plan)
    );
}

#[test]
fn restart_parallel_allows_more_at_a_time() {
    let mut hosts = three("11");
    for host in &mut hosts {
        host.containers = vec![("web", "always")];
    }
    let plan = plan_for(&hosts, "restart: {parallel: 2}\n");
    let waits = |host: &str| -> Vec<String> {
        let write = plan
            .steps
            .iter()
            .find(|step| step.host.as_str() == host && step.why.starts_with("set cluster-store"));
        let after = &write.unwrap().after;
        plan.steps
            .iter()
            .filter(|step| after.contains(&step.id))
            .map(|step| step.host.to_string())
            .collect()
    };
    // The first goes alone, whatever is allowed: what it refuses never reaches the next.
    assert_eq!(
        (waits("a"), waits("b"), waits("c")),
        (vec![], vec!["a".to_owned()], vec!["a".to_owned()])
    );
}

#[test]
fn an_old_kernel() {
    let mut hosts = three("11");
    hosts[1].kernel = "3.13.0-generic";
    assert_eq!(
        only_problem(&plan_for(&hosts, "")),
        "b: its kernel 3.13.0-generic is older than 3.16"
    );
    hosts[1].kernel = "4.19.0";
    assert_eq!(
        only_problem(&plan_for(&hosts, "kernel: {minimum: '5.4'}\n")),
        "b: its kernel 4.19.0 is older than 5.4"
    );
}

#[test]
fn a_kernel_without_vxlan() {
    let mut hosts = three("13");
    hosts[2].missing_modules = vec!["vxlan"];
    assert!(
        only_problem(&plan_for(&hosts, ""))
            .contains("c: its kernel 5.10.0-30-amd64 has no vxlan module")
    );
}

#[test]
fn encryption_needs_its_module_everywhere() {
    let mut hosts = three("11");
    hosts[0].missing_modules = vec!["esp4"];
    let plan = plan_for(&hosts, "network: {encrypted: true}\n");
    assert_eq!(
        plan.fabric,
        FabricKind::Swarm,
        "the classic overlay cannot encrypt"
    );
    assert!(only_problem(&plan).contains("a: its kernel 5.10.0-30-amd64 has no esp4 module"));
}

#[test]
fn clones_are_told_apart() {
    let mut hosts = three("11");
    hosts[2].hostname = Some("a");
    assert_eq!(
        only_problem(&plan_for(&hosts, "")),
        "a and c have the same host name `a`"
    );
}

#[test]
fn clones_share_machine_ids_and_engine_keys() {
    let mut hosts = three("11");
    for host in &mut hosts[1..] {
        host.machine_id = Some("one-for-both");
    }
    assert_eq!(
        only_problem(&plan_for(&hosts, "")),
        "b and c have the same machine id `one-for-both`"
    );
    let mut hosts = three("11");
    for host in &mut hosts[1..] {
        host.engine_key = Some("ABCD:EFGH");
    }
    assert_eq!(
        only_problem(&plan_for(&hosts, "")),
        "b and c have the same engine id `ABCD:EFGH`"
    );
}

#[test]
fn clocks_apart() {
    let mut hosts = three("11");
    hosts[0].clock -= 3600;
    assert_eq!(
        only_problem(&plan_for(&hosts, "")),
        "a: its clock is 3600 s behind this machine's"
    );
}

#[test]
fn a_port_that_is_taken() {
    let mut hosts = three("11");
    hosts[0].tcp.push(8301);
    assert!(
        only_problem(&plan_for(&hosts, ""))
            .starts_with("a: TCP port 8301 is taken, and Consul's gossip needs it")
    );
    let mut hosts = three("13");
    hosts[0].tcp.push(2377);
    assert!(
        only_problem(&plan_for(&hosts, ""))
            .starts_with("a: TCP port 2377 is taken, and swarm mode needs it")
    );
}

#[test]
fn a_subnet_that_a_host_routes_elsewhere() {
    let mut hosts = three("11");
    hosts[1].routes = vec!["10.90.4.0/22 dev tun0 scope link"];
    assert_eq!(
        only_problem(&plan_for(&hosts, "")),
        "b: the network's subnet 10.90.0.0/16 collides with its route to 10.90.4.0/22 over tun0"
    );
}

#[test]
fn an_option_in_two_places() {
    let mut hosts = three("11");
    hosts[0].daemon_json = Some(r#"{"log-driver": "journald"}"#);
    hosts[0].default_docker = Some("DOCKER_OPTS=\"--log-driver=local\"");
    assert!(only_problem(&plan_for(&hosts, "")).contains(
        "`log-driver` is set in /etc/docker/daemon.json and as a flag in /etc/default/docker"
    ));
    hosts[0].daemon_json = None;
    hosts[0].default_docker = Some("DOCKER_OPTS=\"--cluster-store-opt kv.path=x\"");
    assert!(
        only_problem(&plan_for(&hosts, ""))
            .contains("`--cluster-store-opt` is a flag in /etc/default/docker")
    );
}

#[test]
fn a_daemon_json_that_cannot_be_merged() {
    let mut hosts = three("11");
    hosts[0].daemon_json = Some("{\"a\": ");
    assert!(
        only_problem(&plan_for(&hosts, "")).contains("a: /etc/docker/daemon.json is not valid")
    );
    hosts[0].daemon_json = Some(r#"{"cluster-store": "etcd://10.0.0.9:2379"}"#);
    let problem = only_problem(&plan_for(&hosts, ""));
    assert!(
        problem.contains("`cluster-store` is \"etcd://10.0.0.9:2379\"")
            && problem.contains("needs \"consul://127.0.0.1:8501\""),
        "{problem}"
    );
}

#[test]
fn an_engine_in_swarm_mode_excludes_the_classic_overlay() {
    let mut hosts = three("11");
    hosts[1].swarm = Some(("swarm1", "node1", true));
    assert!(
        only_problem(&plan_for(&hosts, "network: {fabric: overlay}\n"))
            .contains("b: its engine is in swarm mode (node node1)")
    );
}

#[test]
fn a_node_of_another_swarm_is_never_taken_over() {
    let mut hosts = three("13");
    hosts[0].swarm = Some(("swarm1", "node1", true));
    hosts[1].swarm = Some(("swarm2", "node2", true));
    assert_eq!(
        only_problem(&plan_for(&hosts, "")),
        "b: it is in another swarm: swarm2, and the other hosts are in swarm1"
    );
}

#[test]
fn a_host_is_added_to_a_swarm() {
    let mut hosts = three("13");
    hosts[0].swarm = Some(("swarm1", "node1", true));
    let plan = plan_for(&hosts[..1], "");
    assert!(
        plan.steps
            .iter()
            .all(|step| !step.why.contains("start a swarm"))
    );
    let plan = plan_for(&hosts, "");
    assert!(
        plan.steps
            .iter()
            .any(|step| step.host.as_str() == "b" && step.why.starts_with("join the swarm"))
    );
    assert!(
        plan.steps
            .iter()
            .all(|step| !step.why.contains("start a swarm"))
    );
}

#[test]
fn managers_are_spread_over_tags() {
    let text = "swarm: {managers: 3, spread: [r1, r2, r3]}\nhosts:\n  - {name: a, address: 10.0.0.11, tags: [r1]}\n  - {name: b, address: 10.0.0.12, tags: [r1]}\n  - {name: c, address: 10.0.0.13, tags: [r2]}\n  - {name: d, address: 10.0.0.14, tags: [r3]}\n";
    let inventory = docker_cluster::inventory::Inventory::parse(text, "t").unwrap();
    let hosts = [
        debian("13", "a", 11),
        debian("13", "b", 12),
        debian("13", "c", 13),
        debian("13", "d", 14),
    ];
    let plan = fake::plan_with(&inventory, &hosts);
    let managers: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.why.contains("as a manager") || step.why.contains("first manager"))
        .map(|step| step.host.as_str())
        .collect();
    assert_eq!(managers, ["a", "c", "d"]);
}

#[test]
fn a_missing_engine_that_must_not_be_installed() {
    let hosts: Vec<Fake> = three("11").into_iter().map(Fake::bare).collect();
    let found = problems(&plan_for(&hosts, "engine: {install: never}\n"));
    assert_eq!(found.len(), 3);
    assert!(found[0].contains("has no Docker engine, and the inventory says `install: never`"));
}

#[test]
fn an_engine_of_another_version_is_never_replaced() {
    let plan = plan_for(&three("11"), "engine: {version: '>=23'}\n");
    assert!(problems(&plan)[0].contains("a: its engine is 20.10.5, and the inventory wants >=23"));
}

#[test]
fn the_constraint_chooses_among_the_versions_that_apt_has() {
    let mut hosts: Vec<Fake> = three("12").into_iter().map(Fake::bare).collect();
    for host in &mut hosts {
        host.sections = "@candidates\n|docker.io:\n|  Candidate: 26.1.5+dfsg1-9~bpo12+1\n\
                         | docker.io | 26.1.5+dfsg1-9~bpo12+1\n| docker.io | 20.10.24+dfsg1-1+deb12u1\n"
            .to_owned();
    }
    let installs = |settings: &str| {
        let plan = plan_for(&hosts, settings);
        assert_eq!(problems(&plan), Vec::<String>::new());
        serde_json::to_string(&plan.steps).unwrap()
    };
    assert!(installs("").contains(r#""docker.io=26.1.5+dfsg1-9~bpo12+1""#));
    assert!(
        installs("engine: {version: '<23'}\n").contains(r#""docker.io=20.10.24+dfsg1-1+deb12u1""#)
    );
    let none = problems(&plan_for(&hosts, "engine: {version: '>=99'}\n"));
    assert!(
        none[0].contains(
            "a: its packages offer the engine 26.1.5, 20.10.24, and the inventory wants >=99"
        ),
        "{none:?}"
    );
}

#[test]
fn another_init_system() {
    let mut hosts = three("11");
    hosts[0].init = "runit";
    assert!(
        only_problem(&plan_for(&hosts, "")).contains("its init system is \"runit\", not systemd")
    );
}

#[test]
fn a_host_that_does_not_answer_is_left_out() {
    let plan = plan_without(&three("11"), &["c"], "");
    assert!(problems(&plan).is_empty());
    assert!(plan.steps.iter().all(|step| step.host.as_str() != "c"));
    // Two servers would be worse than one.
    assert!(
        plan.notes.iter().any(|note| note.contains("one server, a")),
        "{:?}",
        plan.notes
    );
    let warns = |plan: &Plan| {
        plan.notes
            .iter()
            .any(|note| note.contains("c does not answer: if it"))
    };
    assert!(warns(&plan), "{:?}", plan.notes);
    assert!(
        warns(&plan_without(&three("13"), &["c"], "")),
        "a swarm as well"
    );
}

#[test]
fn no_quorum_is_possible() {
    // A store that exists, with two of its three servers away.
    let mut hosts = three("11");
    let config = r#"{"server": true, "bootstrap_expect": 3, "retry_join": ["10.0.0.11", "10.0.0.12", "10.0.0.13"]}"#;
    for host in &mut hosts {
        host.sections = format!("@store-config\n|{config}\n");
    }
    let found = problems(&plan_without(&hosts, &["b", "c"], ""));
    assert!(
        found
            .iter()
            .any(|what| what.contains("of the store's 3 servers only 1 can be asked")),
        "{found:#?}"
    );
    let found = problems(&plan_without(&hosts, &["c"], ""));
    assert!(
        !found.iter().any(|what| what.contains("no quorum")),
        "{found:#?}"
    );
    // A server that is named and not there is not silently another one.
    let plan = plan_without(&three("11"), &["c"], "store: {servers: [a, b, c]}\n");
    assert!(
        only_problem(&plan)
            .contains("c cannot be asked, and the store is to begin with its server there")
    );
    // The only manager is away.
    let plan = plan_without(&three("13"), &["a"], "swarm: {managers: [a]}\n");
    assert!(only_problem(&plan).contains("no host answers that is to be a manager (a)"));
}

#[test]
fn debian_12_needs_a_program_for_consul() {
    let mut hosts = three("12");
    for host in &mut hosts {
        host.engine = Some(("20.10.24", "consul etcd"));
    }
    assert!(
        problems(&plan_for(&hosts, ""))[0]
            .contains("a: Debian GNU/Linux 12 has no package of Consul")
    );
    let sha = "a".repeat(64);
    let plan = plan_for(
        &hosts,
        &format!("store: {{source: {{path: consul, sha256: {sha}, version: '1.20.1'}}}}\n"),
    );
    assert!(problems(&plan).is_empty());
    let config = serde_json::to_string(&plan.steps).unwrap();
    assert!(
        config.contains("initial_management") && config.contains("grpc_tls"),
        "today's Consul gets today's keys"
    );
}

#[test]
fn consul_1_8_gets_the_keys_it_knows() {
    let config = serde_json::to_string(&plan_for(&three("11"), "").steps).unwrap();
    assert!(
        config.contains(r#"\"master\""#)
            && !config.contains("initial_management")
            && !config.contains("grpc_tls")
    );
}

#[test]
fn secrets_are_slots_in_the_plan() {
    let plan = serde_json::to_string(&plan_for(&three("11"), "")).unwrap();
    for slot in [
        "gossip",
        "engine-token",
        "agent-token",
        "management-token",
        "store-bundle",
    ] {
        assert!(plan.contains(&format!(r#"{{"slot":"{slot}"}}"#)), "{slot}");
    }
    assert!(!plan.contains("PRIVATE KEY"));
}

/// A run may end anywhere: no host has a part of the secrets before one host keeps all of them.
#[test]
fn secrets_are_kept_before_they_are_used() {
    let plan = plan_for(&three("11"), "");
    let kept = plan
        .steps
        .iter()
        .find(|step| step.why.starts_with("keep the store's secrets"))
        .unwrap();
    assert_eq!(kept.host.as_str(), "a");
    let of_a: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.host.as_str() == "a")
        .map(|s| s.why.as_str())
        .collect();
    let at = |why: &str| of_a.iter().position(|step| step.starts_with(why)).unwrap();
    assert_eq!(
        at("keep the store's secrets"),
        at("make the store's CA") + 1
    );
    for step in plan.steps.iter().filter(|step| step.host != kept.host) {
        if step
            .why
            .starts_with("put the certificate of the store's CA")
            || step.why.starts_with("keep the store's")
        {
            assert!(step.after.contains(&kept.id), "{step:?}");
        }
    }
}

/// How a command decides.
type Decide<'a> = &'a dyn Fn(&World<'_>) -> Plan;

#[test]
fn nothing_is_done_to_an_engine_that_did_not_tell_what_it_has() {
    let target = HostName::parse("b").unwrap();
    let commands: [(&str, Decide<'_>); 6] = [
        ("up", &docker_cluster::decide::up),
        ("down", &|world| down::plan(world, down::Packages::Keep)),
        ("store prune", &down::plan_prune),
        ("migrate", &|world| {
            migrate::plan(world, migrate::Way::ToSwarm { upgrade: false })
        }),
        ("migrate --rollback", &|world| {
            migrate::plan(world, migrate::Way::Back)
        }),
        ("rm", &|world| rm(world, &target)),
    ];
    let members = || {
        [("a", 1, true), ("b", 2, false)].map(|(name, n, manager)| Fake {
        swarm: Some(("s", name, manager)),
        sections: r#"@nodes
|{"ID":"a","Description":{"Hostname":"a"},"Spec":{"Role":"manager"},"Status":{"State":"ready"},"ManagerStatus":{"Reachability":"reachable","Leader":true}}
|{"ID":"b","Description":{"Hostname":"b"},"Spec":{"Role":"worker"},"Status":{"State":"ready"}}
"#.to_owned(),
        ..debian("13", name, n)
    })
    };
    let whole = decided(&fake::inventory(&members(), ""), &members(), |world| {
        rm(world, &target)
    });
    assert!(
        whole.problems.is_empty() && !whole.steps.is_empty(),
        "{whole:?}"
    );
    for (list, words) in [
        (
            "networks",
            "b: its engine did not tell all of the containers, networks and images that it has",
        ),
        (
            "containers",
            "b: its engine did not tell all of the containers, networks and images that it has",
        ),
        ("", "b: its engine runs but does not answer `docker info`"),
    ] {
        let mut hosts = members();
        if list.is_empty() {
            hosts[1].up = false;
            hosts[1].sections += "@units\n|\n|Id=docker.service\n|ActiveState=active\n";
        } else {
            hosts[1].sections += &format!("@{list}\n!\n");
        }
        for (command, decide) in commands {
            let plan = decided(&fake::inventory(&hosts, ""), &hosts, decide);
            let said = problems(&plan);
            let prune = command == "store prune"
                && said
                    .iter()
                    .any(|what| what.contains("its engine does not answer"));
            assert!(
                plan.steps.is_empty() && (prune || said.contains(&words.to_owned())),
                "{command}: {said:?}"
            );
        }
    }
}

/// Found by the model: two of three managers at once are the quorum, whatever runs on them.
#[test]
fn managers_of_a_swarm_restart_one_after_the_other() {
    let mut hosts = three("13");
    for (host, node) in hosts.iter_mut().zip(["node1", "node2", "node3"]) {
        host.swarm = Some(("swarm1", node, true));
    }
    for settings in ["", "restart: {parallel: 2}\n"] {
        let plan = plan_for(
            &hosts,
            &format!("{settings}engine: {{options: {{debug: true}}}}\n"),
        );
        let write = |host: &str| {
            plan.steps
                .iter()
                .find(|step| step.host.as_str() == host && step.why.starts_with("set debug"))
                .unwrap()
        };
        for (before, host) in [("a", "b"), ("b", "c")] {
            let is_well = |id: &usize| {
                plan.steps.iter().any(|step| {
                    step.id == *id
                        && step.host.as_str() == before
                        && step.why.contains("the engine answers with them")
                })
            };
            assert!(write(host).after.iter().any(is_well), "{}", shown(&plan));
        }
    }
}

/// Found by the model: a run about the first manager alone labelled nodes that were not there yet.
#[test]
fn what_a_manager_does_to_a_node_is_left_out_with_the_node() {
    let text = "hosts:\n  - {name: a, address: 10.0.0.11, labels: {x: '1'}}\n  - {name: b, address: 10.0.0.12, labels: {x: '2'}}\n";
    let inventory = Inventory::parse(text, "t").unwrap();
    let mut plan = plan_with(&inventory, &[debian("13", "a", 11), debian("13", "b", 12)]);
    plan.limit_to(&[HostName::parse("a").unwrap()]);
    let labels: Vec<&str> = plan
        .steps
        .iter()
        .map(|step| step.why.as_str())
        .filter(|why| why.starts_with("label"))
        .collect();
    assert_eq!(labels, ["label the node a: x=1"], "{}", shown(&plan));
}
