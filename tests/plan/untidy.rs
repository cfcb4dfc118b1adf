//! Clusters that are not as a first `up` leaves them: grown, changed, half there, and with others' things in them.

use docker_cluster::facts;
use docker_cluster::inventory::HostName;
use docker_cluster::plan::{Action, EngineCall, Plan};
use serde_json::json;

use super::fake::{Fake, debian, plan_for, problems, shown};
use super::{only_problem, three};

/// The network `cluster` in swarm mode, with these driver options.
fn network(options: &serde_json::Value) -> serde_json::Value {
    json!({
        "Name": "cluster", "Id": "n1", "Driver": "overlay", "Scope": "swarm", "Attachable": true,
        "IPAM": {"Config": [{"Subnet": "10.90.0.0/16"}]}, "Options": options, "Labels": {"docker-cluster": "cluster"},
    })
}

fn manager(options: &serde_json::Value) -> Fake {
    let mut host = debian("13", "a", 11);
    host.swarm = Some(("s", "node-a", true));
    host.info =
        json!({"Swarm": {"Cluster": {"DataPathPort": 4789, "DefaultAddrPool": ["10.0.0.0/8"]}}});
    host.with_network(network(options))
}

#[test]
fn what_a_network_is_made_with_cannot_be_changed_in_place() {
    let mtu = || manager(&json!({"com.docker.network.driver.mtu": "1500"}));
    assert_eq!(
        problems(&plan_for(&[mtu()], "network: {mtu: 1500}\n")),
        [""; 0]
    );
    let plan = plan_for(&[mtu()], "network: {mtu: 1400}\n");
    let problem = only_problem(&plan);
    assert!(
        problem.contains("made for an underlay of 1500 bytes, and the inventory wants 1400"),
        "{problem}"
    );
    assert!(
        plan.problems[0].fix.contains("network: {mtu: 1500}"),
        "{}",
        plan.problems[0].fix
    );
    let plan = plan_for(&[mtu()], "network: {encrypted: true}\n");
    assert!(
        only_problem(&plan).contains("does not encrypt, and the inventory wants it"),
        "{:?}",
        problems(&plan)
    );
    let plan = plan_for(&[manager(&json!({"encrypted": ""}))], "");
    assert!(
        only_problem(&plan).contains("encrypts, and the inventory does not want it"),
        "{:?}",
        problems(&plan)
    );
    let plan = plan_for(&[mtu()], "swarm: {data_path_port: 5000}\n");
    assert!(
        only_problem(&plan).contains("sends its data over UDP 4789, and the inventory wants 5000")
    );
    let plan = plan_for(&[mtu()], "swarm: {address_pool: 10.20.0.0/16}\n");
    assert!(
        only_problem(&plan)
            .contains("takes networks out of 10.0.0.0/8, and the inventory wants 10.20.0.0/16")
    );
    let mut closed = network(&json!({}));
    closed["Attachable"] = json!(false);
    let mut host = debian("13", "a", 11);
    host.swarm = Some(("s", "node-a", true));
    let plan = plan_for(&[host.with_network(closed)], "");
    assert!(
        only_problem(&plan).contains("was made for services only"),
        "{:?}",
        problems(&plan)
    );
}

#[test]
fn a_host_with_shorter_packets_than_the_network_is_told() {
    let host = manager(&json!({"com.docker.network.driver.mtu": "9000"}));
    let plan = plan_for(&[host], "");
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("a: its interface carries 1500 bytes")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn the_pool_of_a_swarm_leaves_the_hosts_their_own_network() {
    let pool = |hosts: &[Fake], settings: &str| {
        let plan = plan_for(hosts, settings);
        let call = plan.steps.iter().find_map(|step| match &step.action {
            Action::Engine(EngineCall::InitSwarm { address_pool, .. }) => {
                Some(address_pool.clone())
            }
            _ => None,
        });
        (call.expect("a swarm begins"), plan.notes)
    };
    let (found, notes) = pool(&three("13"), "");
    assert_eq!(
        found.as_deref(),
        Some("10.200.0.0/16"),
        "the hosts are in 10.0.0.0/24"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.contains("hosts have 10.0.0.0/24")),
        "{notes:?}"
    );
    // Somebody else's route is in the way of the first choice.
    let mut hosts = three("13");
    hosts[2].routes = vec!["10.200.3.0/24 via 10.0.0.9 dev eth0"];
    assert_eq!(pool(&hosts, "").0.as_deref(), Some("10.201.0.0/16"));
    assert_eq!(
        pool(&hosts, "swarm: {address_pool: 10.77.0.0/16}\n")
            .0
            .as_deref(),
        Some("10.77.0.0/16")
    );
    let mut elsewhere = debian("13", "a", 11);
    elsewhere.address = "192.168.7.11".to_owned();
    let far: Vec<Fake> = vec![elsewhere];
    // The fake's routes name 10.0.0.0/24 all the same, so only the note is of interest: it names what is taken.
    assert!(
        pool(&far, "")
            .1
            .iter()
            .any(|note| note.contains("10.0.0.0/8, would hide"))
    );
}

#[test]
fn an_ingress_over_the_hosts_own_network_is_told() {
    let mut host = manager(&json!({}));
    let ingress = json!({"Name": "ingress", "Id": "i", "Driver": "overlay", "Scope": "swarm", "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]}});
    host = host.with_network(ingress);
    let plan = plan_for(&[host], "");
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("the swarm's ingress network has 10.0.0.0/24")),
        "{:?}",
        plan.notes
    );
}

/// A node as a manager lists it.
fn node(name: &str, state: &str) -> String {
    json!({"ID": format!("id-{name}"), "Description": {"Hostname": name}, "Spec": {"Role": "worker"}, "Status": {"State": state}})
        .to_string()
}

#[test]
fn a_node_that_was_never_a_host_of_the_inventory_stays() {
    let removes = |plan: &Plan| {
        plan.steps
            .iter()
            .any(|step| matches!(step.action, Action::Engine(EngineCall::RemoveNode { .. })))
    };
    let host = || {
        manager(&json!({})).with(
            "nodes",
            &[node("a", "ready"), node("stranger", "down")].join("\n"),
        )
    };
    let plan = plan_for(&[host()], "");
    assert!(!removes(&plan), "{}", shown(&plan));
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("stranger is in the swarm, down")),
        "{:?}",
        plan.notes
    );
    let plan = plan_for(&[host().with("made", "node stranger")], "");
    assert!(removes(&plan), "one that was: {}", shown(&plan));
}

#[test]
fn known_faults_of_engines_are_told() {
    let notes = |version: &'static str, settings: &str| {
        let mut host = debian("13", "a", 11);
        host.engine = Some((version, ""));
        plan_for(&[host], settings).notes.join("\n")
    };
    assert!(
        notes("23.0.1", "network: {encrypted: true}\n")
            .contains("a (23.0.1): this version may send or accept plain text")
    );
    assert!(!notes("23.0.1", "").contains("plain text"));
    assert!(
        notes("29.3.0", "").contains("a (29.3.0): engines 29.0 to 29.6 do not learn names again")
    );
    assert!(!notes("29.7.0", "").contains("do not learn names"));
}

#[test]
fn zookeeper_is_refused_where_it_ends_every_engine() {
    let plan = plan_for(&three("11"), "store: {url: 'zk://10.0.0.5:2181'}\n");
    let found = problems(&plan);
    assert!(
        found.len() == 3 && found[0].contains("the engine 20.10.5 crashes with ZooKeeper"),
        "{found:?}"
    );
    assert!(
        problems(&plan_for(
            &three("12"),
            "store: {url: 'etcd://10.0.0.5:2379'}\n"
        ))
        .is_empty()
    );
}

#[test]
fn engines_are_not_moved_to_another_store() {
    let mut host = debian("12", "a", 11);
    host.daemon_json =
        Some(r#"{"cluster-store": "etcd://10.0.0.5:2379", "cluster-advertise": "10.0.0.11:2376"}"#);
    let record = json!({"path": "/etc/docker/daemon.json", "sha256": "0", "source": "s", "by": "me", "at": 1});
    let host = host.with("records", &record.to_string()).with(
        "daemon-json-written",
        r#"{"cluster-store": "etcd://10.0.0.5:2379", "cluster-advertise": "10.0.0.11:2376"}"#,
    );
    let plan = plan_for(&[host], "store: {url: 'etcd://10.0.0.6:2379'}\n");
    assert!(
        only_problem(&plan).contains("has its networks in the store etcd://10.0.0.5:2379"),
        "{:?}",
        problems(&plan)
    );
}

/// A cluster of Consul that begins with the first `count` of four hosts, as its agents' own files say it.
fn grown(count: usize, expect: Option<usize>) -> Vec<Fake> {
    let mut hosts: Vec<Fake> = ["a", "b", "c", "d"]
        .iter()
        .zip(11..)
        .map(|(name, n)| debian("11", name, n))
        .collect();
    for host in &mut hosts[..count] {
        let mut config = json!({"server": host.name == "a", "retry_join": ["10.0.0.11"]});
        if let Some(expect) = expect.filter(|_| host.name == "a") {
            config["bootstrap_expect"] = json!(expect);
        }
        *host = host
            .clone()
            .with("store-config", &config.to_string())
            .with("store-ready", "ready");
        if host.name == "a" {
            let path = "/var/lib/docker-cluster/secrets/store.json";
            *host = host
                .clone()
                .with("files", &format!("600 root:root {path}"))
                .with("sums", &format!("{}  {path}", "a".repeat(64)));
        }
    }
    hosts
}

/// What the configuration that a plan writes for a host says under a key.
fn written(plan: &Plan, host: &str, key: &str) -> Option<serde_json::Value> {
    let file = plan
        .steps
        .iter()
        .filter(|step| step.host.as_str() == host)
        .find_map(|step| match &step.action {
            Action::PutFile(file) if file.path.ends_with("/agent.json") => file.content.plain(),
            _ => None,
        });
    let config: serde_json::Value = serde_json::from_str(file.expect("it is configured")).unwrap();
    config.get(key).cloned()
}

#[test]
fn servers_that_come_later_join_the_quorum_that_there_is() {
    for count in [1, 2] {
        let plan = plan_for(&grown(count, Some(1)), "");
        assert_eq!(problems(&plan), [""; 0]);
        for host in ["b", "c"] {
            assert_eq!(
                written(&plan, host, "server"),
                Some(json!(true)),
                "three servers"
            );
            assert_eq!(
                written(&plan, host, "bootstrap_expect"),
                None,
                "{host} alone would be a second store"
            );
        }
        assert_eq!(
            written(&plan, "a", "bootstrap_expect"),
            None,
            "it is not alone any more"
        );
        assert_eq!(written(&plan, "d", "server"), Some(json!(false)));
    }
    // All of a new store still wait for each other.
    let new = plan_for(&grown(0, None), "");
    assert_eq!(written(&new, "b", "bootstrap_expect"), Some(json!(3)));
    // One that was cut off before its only server ran begins all the same.
    let mut cut = grown(1, Some(1));
    cut[0].sections = cut[0].sections.replace("@store-ready\n|ready\n", "");
    assert_eq!(
        written(&plan_for(&cut, ""), "a", "bootstrap_expect"),
        Some(json!(1))
    );
    // So does one whose only server went back to what it was, while the others keep what was written for them.
    let mut back = grown(2, None);
    for host in &mut back[..2] {
        host.sections = host.sections.replace("@store-ready\n|ready\n", "");
    }
    back[0].sections = back[0].sections.replace("@store-config", "@nothing");
    let plan = plan_for(&back, "store: {servers: 1}\n");
    assert_eq!(problems(&plan), [""; 0]);
    assert_eq!(written(&plan, "a", "bootstrap_expect"), Some(json!(1)));
}

fn limited(hosts: &[Fake], settings: &str, on: &[&str]) -> Plan {
    let mut plan = plan_for(hosts, settings);
    assert_eq!(problems(&plan), [""; 0]);
    plan.limit_to(
        &on.iter()
            .map(|name| HostName::parse(name).unwrap())
            .collect::<Vec<_>>(),
    );
    plan
}

#[test]
fn a_new_host_alone_gets_what_it_needs_of_the_others() {
    let mut hosts = three("13");
    hosts[0] = manager(&json!({}));
    let plan = limited(&hosts, "", &["b"]);
    assert_eq!(problems(&plan), [""; 0]);
    let of_a: Vec<&str> = plan
        .steps
        .iter()
        .filter(|s| s.host.as_str() == "a")
        .map(|s| s.why.as_str())
        .collect();
    assert!(
        of_a.contains(&"fetch the join tokens, which stay in memory"),
        "{of_a:?}"
    );
    for step in plan.steps.iter().filter(|step| step.host.as_str() == "a") {
        assert!(
            step.action.only_reads() || matches!(step.action, Action::Note { .. }),
            "a is not selected: {step:?}"
        );
    }
    assert!(
        plan.steps.iter().all(|step| step.host.as_str() != "c"),
        "{}",
        shown(&plan)
    );
    // The same over a store: its secrets are read on a server.
    let mut hosts = grown(1, Some(1));
    let mut overlay = network(&json!({}));
    overlay["Scope"] = json!("global");
    hosts[0] = hosts[0].clone().with_network(overlay);
    let plan = limited(&hosts, "store: {servers: 1}\n", &["b"]);
    assert_eq!(problems(&plan), [""; 0]);
    assert!(
        plan.steps
            .iter()
            .any(|s| s.host.as_str() == "a" && s.why.starts_with("read the store's CA")),
        "{}",
        shown(&plan)
    );
}

#[test]
fn a_part_of_a_new_cluster_is_refused_before_anything_is_done() {
    for release in ["13", "11"] {
        let plan = limited(&three(release), "", &["b"]);
        let found = problems(&plan);
        assert!(
            found
                .iter()
                .any(|what| what.contains("waits for a, which is not selected")),
            "{found:?}"
        );
        assert!(plan.steps.is_empty());
    }
    // A store of three servers does not begin with one of them.
    let plan = limited(&three("11"), "", &["a"]);
    assert!(
        problems(&plan)[0].contains("a: `start Consul` waits for b, which is not selected"),
        "{:?}",
        problems(&plan)
    );
}

#[test]
fn a_section_that_is_not_whole_is_known_not_to_be() {
    let of = |answer: &str| facts::parse(answer.as_bytes(), 0, 0).unwrap();
    let whole = "@begin\n|1\n@dockerd-path\n|/usr/bin/dockerd\n@docker-info\n|{\"ServerVersion\":\"26.1.5\"}\n";
    let container = r#"|"/web" "running" "" {} {} 0"#;
    let complete = of(&format!("{whole}@containers\n{container}\n@end\n|1\n"))
        .engine
        .unwrap();
    assert!(complete.is_up() && !complete.incomplete && complete.containers.len() == 1);
    for list in ["containers", "networks", "images", "nodes"] {
        let engine = of(&format!(
            "{whole}@containers\n{container}\n@{list}\n!\n@end\n|1\n"
        ))
        .engine
        .unwrap();
        assert!(engine.incomplete && !engine.is_up(), "{list}");
    }
    // Half a line is not one container less.
    let cut = of(&format!(
        "{whole}@containers\n{container}\n|\"/db\" \"runn\n@end\n|1\n"
    ))
    .engine
    .unwrap();
    assert!(cut.incomplete && !cut.is_up());
    // The same of what docker-cluster keeps for itself.
    let record = of("@begin\n|1\n@records\n|{\"path\": \"/etc\n@made\n|swarm\n!\n@end\n|1\n");
    assert_eq!(
        record.incomplete.into_iter().collect::<Vec<_>>(),
        ["made", "records"]
    );
    let mut hosts = three("13");
    hosts[1].sections = "@records\n|{\"path\n".to_owned();
    assert!(
        only_problem(&plan_for(&hosts, ""))
            .contains("b: it did not tell all of what docker-cluster wrote there")
    );
}
