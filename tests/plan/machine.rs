//! `docker-machine create`: a host that is wanted for its engine alone.

use docker_cluster::decide::machine;
use docker_cluster::inventory::Inventory;
use docker_cluster::plan::{Action, EngineCall};
use docker_cluster::secrets::EnginesCa;

use super::fake::{Fake, debian, decided, inventory, problems, shown};
use super::only_problem;

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

const OF_SWARM: &str = "network: {fabric: nat, subnet: 192.0.2.0/24}\n\
    engine: {api: tls, address: 0.0.0.0, ca: ../certs/ca.pem, ca_key: ../certs/ca-key.pem, options: {cluster-store: 'consul://10.0.0.5:8500', cluster-advertise: 'eth0:2376'}}\n\
    swarm: {mode: standalone, managers: [a], discovery: 'consul://10.0.0.5:8500', image: 'swarm:latest'}\n";

/// As `create` writes it, with the CA of all machines read.
fn of_swarm(hosts: &[Fake], settings: &str, ca: &EnginesCa) -> Inventory {
    let mut inventory = inventory(hosts, settings);
    let own = inventory.engine.ca.as_mut().unwrap();
    own.text = ca.cert().to_owned();
    inventory
}

#[test]
fn a_master_of_swarm_is_made_with_the_ca_of_all_machines() {
    let hosts = [debian("11", "a", 11)];
    let ca = EnginesCa::mint("machines").unwrap();
    let plan = decided(&of_swarm(&hosts, OF_SWARM, &ca), &hosts, machine::plan);
    insta::assert_snapshot!(shown(&plan));
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("engines.pem"), "its key is on no host");
    let told: Vec<&String> = plan
        .notes
        .iter()
        .filter(|note| note.contains("without TLS"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("which hosts containers run on"),
        "{told:?}"
    );
}

#[test]
fn a_machine_with_an_agent_alone_has_no_manager() {
    let hosts = [debian("11", "b", 12)];
    let ca = EnginesCa::mint("machines").unwrap();
    let settings = OF_SWARM.replace("[a]", "[]").replace(
        "image:",
        "join_options: ['ttl=60s'], experimental: true, image:",
    );
    let plan = decided(&of_swarm(&hosts, &settings, &ca), &hosts, machine::plan);
    let containers: Vec<(String, String)> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Engine(EngineCall::RunContainer(new)) => {
                Some((new.name.clone(), new.arguments.join(" ")))
            }
            _ => None,
        })
        .collect();
    let arguments =
        "--experimental join --advertise 10.0.0.12:2376 --ttl=60s consul://10.0.0.5:8500";
    assert_eq!(
        containers,
        [("swarm-agent".to_owned(), arguments.to_owned())]
    );
}

#[test]
fn swarm_on_a_newer_engine_is_shown_the_way() {
    let hosts = [debian("13", "a", 11)];
    let ca = EnginesCa::mint("machines").unwrap();
    let settings = OF_SWARM.replace(
        ", options: {cluster-store: 'consul://10.0.0.5:8500', cluster-advertise: 'eth0:2376'}",
        "",
    );
    let plan = decided(&of_swarm(&hosts, &settings, &ca), &hosts, machine::plan);
    let said = only_problem(&plan);
    assert!(
        said.contains("standalone Swarm is for engines up to 20.10"),
        "{said}"
    );
    let fix = &plan.problems[0].fix;
    assert!(fix.contains("swarm mode"), "{fix}");
}

#[test]
fn what_docker_machine_has_left_is_not_replaced_unasked() {
    let theirs = "\"/swarm-agent\" \"running\" \"always\" {} {} 0";
    let hosts = [debian("11", "a", 11).with("containers", theirs)];
    let ca = EnginesCa::mint("machines").unwrap();
    let plan = decided(&of_swarm(&hosts, OF_SWARM, &ca), &hosts, machine::plan);
    let said = only_problem(&plan);
    assert!(
        said.contains("has a container swarm-agent that docker-cluster has not made"),
        "{said}"
    );
}

#[test]
fn a_ca_of_the_persons_own_that_cannot_be_read_is_told() {
    let hosts = [debian("11", "a", 11)];
    let plan = decided(&inventory(&hosts, OF_SWARM), &hosts, machine::plan);
    let said = only_problem(&plan);
    assert!(
        said.contains("ca.pem (cluster.yaml:2), the CA of the engines, is no certificate"),
        "{said}"
    );
}
