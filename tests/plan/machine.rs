//! `docker-machine create`: a host that is wanted for its engine alone.

use docker_cluster::decide::machine;

use super::fake::{debian, decided, inventory, problems, shown};

const NAT: &str = "network: {fabric: nat, subnet: 192.0.2.0/24}\n";

#[test]
fn a_bare_host_gets_its_engine_and_no_image() {
    let hosts = [debian("12", "a", 11).bare()];
    let settings = format!("{NAT}engine: {{options: {{log-driver: journald}}}}\n");
    let plan = decided(&inventory(&hosts, &settings), &hosts, machine::plan);
    insta::assert_snapshot!(shown(&plan));
    let text = serde_json::to_string(&plan).unwrap();
    assert!(
        text.contains("docker.io") && text.contains("journald"),
        "{text}"
    );
    assert!(
        !text.contains("busybox") && !text.contains("\"image "),
        "nothing for verifications, nor a claim on it: {text}"
    );
}

#[test]
fn an_engine_that_is_there_is_left_alone() {
    let hosts = [debian("13", "a", 11)];
    let plan = decided(&inventory(&hosts, NAT), &hosts, machine::plan);
    assert!(
        plan.is_empty() && problems(&plan).is_empty(),
        "{}",
        shown(&plan)
    );
}

#[test]
fn a_host_of_a_cluster_stays_one() {
    let network = serde_json::json!({
        "Name": "shop", "Id": "1", "Driver": "bridge", "Scope": "local", "Labels": {"docker-cluster": "shop"},
    });
    let hosts = [debian("13", "a", 11).with_network(network)];
    let plan = decided(&inventory(&hosts, NAT), &hosts, machine::plan);
    assert_eq!(
        problems(&plan),
        [
            "a: is a host of the cluster shop, whose inventory decides what its engine is started with"
        ]
    );
}

const WITH_A_STORE: &str = "network: {fabric: nat, subnet: 192.0.2.0/24}\nengine: {options: {cluster-store: 'consul://10.0.0.5:8500', cluster-advertise: 'eth0:2376'}}\n";

#[test]
fn a_store_that_somebody_wrote_is_used_and_told_once() {
    let hosts = [debian("11", "a", 11)];
    let plan = decided(&inventory(&hosts, WITH_A_STORE), &hosts, machine::plan);
    let told: Vec<&String> = plan
        .notes
        .iter()
        .filter(|note| note.contains("consul://10.0.0.5:8500 without TLS"))
        .collect();
    assert!(
        told.len() == 1 && problems(&plan).is_empty() && !plan.is_empty(),
        "{}",
        shown(&plan)
    );
    let mut has_it = debian("11", "a", 11);
    has_it.daemon_json =
        Some(r#"{"cluster-store": "consul://10.0.0.5:8500", "cluster-advertise": "eth0:2376"}"#);
    let hosts = [has_it];
    let plan = decided(&inventory(&hosts, WITH_A_STORE), &hosts, machine::plan);
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
}

#[test]
fn an_engine_that_would_not_start_with_it_is_told_before() {
    for (release, words) in [("12", "without the consul backend"), ("13", "from 23 on")] {
        let hosts = [debian(release, "a", 11)];
        let plan = decided(&inventory(&hosts, WITH_A_STORE), &hosts, machine::plan);
        let said = problems(&plan).join("\n");
        assert!(
            said.contains(words) && said.contains("would not start with `cluster-store`"),
            "{said}"
        );
    }
}
