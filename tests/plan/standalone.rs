//! Standalone Swarm: managers and agents as containers.

use docker_cluster::checksum::sha256_hex;
use docker_cluster::decide::authority;
use docker_cluster::labels::{MADE_OF_LABEL, SWARM_LABEL};
use docker_cluster::plan::{Action, EngineCall, NewContainer, Plan};
use serde_json::json;

use super::fake::{Fake, debian, decided, inventory, plan_for, problems, shown};
use super::only_problem;
use super::tls::Listening;

const OVER_A_STORE: &str = "engine: {api: tls}\nnetwork: {fabric: overlay}\nswarm: {mode: standalone, managers: 3, strategy: binpack, filters: [health, constraint], tar: /x/swarm.tar, sha256: aefb1e6a826796193bb79dfd2d6e1ad088387536c4ce49bc6748bc60afae7a39}\n";

/// With a store of somebody else's, so that the world is small.
const BY_ITSELF: &str = "engine: {api: tls}\nnetwork: {fabric: nat, subnet: 192.0.2.0/24}\nswarm: {mode: standalone, managers: [a], discovery: 'consul://10.0.0.5:8500'}\n";

fn containers(plan: &Plan) -> Vec<(&str, &NewContainer)> {
    let calls = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Engine(EngineCall::RunContainer(new)) => Some((step.host.as_str(), &**new)),
        _ => None,
    });
    calls.collect()
}

#[test]
fn three_hosts_get_managers_and_agents() {
    let hosts = [("a", 11), ("b", 12), ("c", 13), ("d", 14)].map(|(name, n)| debian("11", name, n));
    let plan = plan_for(&hosts, OVER_A_STORE);
    insta::assert_snapshot!(shown(&plan));
    let all = containers(&plan);
    let made: Vec<(&str, &str)> = all
        .iter()
        .map(|(host, new)| (*host, new.name.as_str()))
        .collect();
    let (agent, manager) = ("swarm-agent", "swarm-agent-master");
    assert_eq!(
        made,
        [
            ("a", agent),
            ("a", manager),
            ("b", agent),
            ("b", manager),
            ("c", agent),
            ("c", manager),
            ("d", agent)
        ]
    );
    let discovery = "--discovery-opt kv.cacertfile=/etc/docker-cluster/consul/ca.pem \
                     --discovery-opt kv.certfile=/etc/docker-cluster/consul/engine.pem \
                     --discovery-opt kv.keyfile=/etc/docker-cluster/consul/engine-key.pem consul://127.0.0.1:8501";
    assert_eq!(
        all[0].1.arguments.join(" "),
        format!("join --advertise 10.0.0.11:2376 {discovery}")
    );
    assert_eq!(
        all[1].1.arguments.join(" "),
        format!(
            "manage --tlsverify --tlscacert=/etc/docker-cluster/engine/ca.pem \
             --tlscert=/etc/docker-cluster/swarm/manager.pem --tlskey=/etc/docker-cluster/swarm/manager-key.pem \
             -H tcp://10.0.0.11:3376 --strategy binpack --filter health --filter constraint \
             --replication --advertise 10.0.0.11:3376 {discovery}"
        )
    );
    assert!(all.iter().all(|(_, new)| {
        new.files
            .iter()
            .all(|path| new.arguments.concat().contains(path))
    }));
}

/// A host on which everything runs as this plan wants it.
fn made(listening: &Listening, signer: &Listening, plan: &Plan) -> Fake {
    let host = debian("11", "a", 11);
    let lines: Vec<String> = containers(plan)
        .iter()
        .map(|(_, new)| {
            let labels = json!(new.labels);
            format!("\"/{}\" \"running\" \"always\" {labels} {{}} 0", new.name)
        })
        .collect();
    let address = host.address.clone();
    let (cert, _) = signer
        .ca
        .issue_manager("manager on a", &[], &[address.parse().unwrap()], 3650)
        .unwrap();
    let key = "/etc/docker-cluster/swarm/manager-key.pem";
    let sum = sha256_hex(b"a key");
    let mut host = listening.on(host);
    host.tcp.push(3376);
    host.with("containers", &lines.join("\n"))
        .with("images", "nginx:alpine sha256:1\nswarm:1.2.9 sha256:2")
        .with("swarm-manager-cert", &cert)
        .with("files", &format!("600 root:root {key}"))
        .with("sums", &format!("{sum}  {key}"))
}

#[test]
fn what_runs_is_left_alone_and_what_is_made_otherwise_is_replaced() {
    let listening = Listening::new();
    let bare = listening.on(debian("11", "a", 11));
    let first = plan_for(&[bare], BY_ITSELF);
    assert_eq!(containers(&first).len(), 2, "{}", shown(&first));
    let host = made(&listening, &listening, &first);
    let again = plan_for(std::slice::from_ref(&host), BY_ITSELF);
    assert!(
        again.is_empty() && problems(&again).is_empty(),
        "{}",
        shown(&again)
    );
    let random = BY_ITSELF.replace("discovery:", "strategy: random, discovery:");
    let plan = plan_for(std::slice::from_ref(&host), &random);
    let replaced = containers(&plan);
    assert!(
        replaced.len() == 1 && replaced[0].1.name == "swarm-agent-master",
        "{}",
        shown(&plan)
    );
    assert_ne!(
        replaced[0].1.labels[MADE_OF_LABEL],
        containers(&first)[1].1.labels[MADE_OF_LABEL]
    );
    assert_eq!(replaced[0].1.labels[SWARM_LABEL], "cluster");

    // Not wanted any more: both go, and the notes say nothing of it.
    let without = BY_ITSELF.split("swarm:").next().unwrap();
    let plan = plan_for(&[host], without);
    let why: Vec<&str> = plan.steps.iter().map(|step| step.why.as_str()).collect();
    assert_eq!(
        why,
        [
            "remove swarm-agent, which is not wanted any more",
            "remove swarm-agent-master, which is not wanted any more"
        ]
    );
}

#[test]
fn a_certificate_of_another_ca_is_replaced_with_the_manager_that_shows_it() {
    let listening = Listening::new();
    let first = plan_for(&[listening.on(debian("11", "a", 11))], BY_ITSELF);
    let plan = plan_for(&[made(&listening, &Listening::new(), &first)], BY_ITSELF);
    let why: Vec<&str> = plan.steps.iter().map(|step| step.why.as_str()).collect();
    assert_eq!(
        why,
        [
            "stop the manager of Swarm, which gets another certificate",
            "read the CA of the engines, which it keeps",
            "issue the manager of Swarm a certificate",
            "run a manager of Swarm on port 3376",
            "wait until the manager has all engines"
        ]
    );
}

#[test]
fn a_store_without_tls_is_told_once() {
    let plan = plan_for(&[debian("11", "a", 11), debian("11", "b", 12)], BY_ITSELF);
    let told = plan
        .notes
        .iter()
        .filter(|note| note.contains("without TLS"));
    assert_eq!(told.count(), 1, "{:?}", plan.notes);
}

#[test]
fn the_port_that_managers_open_is_told_where_it_opens() {
    let opens = |hosts: &[Fake], settings: &str| {
        let notes = plan_for(hosts, settings).notes;
        notes.into_iter().find(|note| note.contains("Swarm there"))
    };
    let bare = [debian("11", "a", 11), debian("11", "b", 12)];
    let beyond = "who has a certificate of the cluster asks the manager of Swarm there, and is root on every host";
    assert_eq!(
        opens(&bare, BY_ITSELF),
        Some(format!(
            "TCP port 3376 opens, with TLS: a on 10.0.0.11; {beyond}"
        ))
    );
    let elsewhere = BY_ITSELF
        .replace("api: tls", "api: tls, address: 0.0.0.0")
        .replace("mode: standalone", "mode: standalone, port: 4000");
    assert_eq!(
        opens(&bare, &elsewhere),
        Some(format!(
            "TCP port 4000 opens, with TLS: a on all its addresses; {beyond}"
        ))
    );
    // One that gets another certificate listens already.
    let listening = Listening::new();
    let first = plan_for(&[listening.on(debian("11", "a", 11))], BY_ITSELF);
    let host = made(&listening, &Listening::new(), &first);
    assert_eq!(opens(&[host], BY_ITSELF), None);
}

#[test]
fn newer_engines_are_shown_the_way_to_swarm_mode() {
    let settings = OVER_A_STORE.replace("fabric: overlay", "fabric: auto");
    let plan = plan_for(
        &[
            debian("13", "a", 11),
            debian("13", "b", 12),
            debian("13", "c", 13),
        ],
        &settings,
    );
    let said = only_problem(&plan);
    assert!(said.contains("for engines up to 20.10"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_told_before() {
    let mut host = debian("11", "a", 11);
    host.tcp.push(3376);
    let said = only_problem(&plan_for(&[host], BY_ITSELF));
    assert!(said.contains("TCP port 3376 is taken"), "{said}");
}

#[test]
fn a_new_ca_is_for_the_managers_that_run() {
    let listening = Listening::new();
    let bare = [listening.on(debian("11", "a", 11))];
    let first = plan_for(&bare, BY_ITSELF);
    let why = |hosts: &[Fake]| {
        let plan = decided(&inventory(hosts, BY_ITSELF), hosts, authority::plan);
        let about = plan.steps.iter().map(|step| step.why.clone());
        about
            .filter(|why| why.contains("manager"))
            .collect::<Vec<_>>()
    };
    assert_eq!(why(&bare), [""; 0], "what does not run is not waited for");
    assert_eq!(
        why(&[made(&listening, &listening, &first)]),
        [
            "stop the manager of Swarm, which gets another certificate",
            "issue the manager of Swarm a certificate",
            "run a manager of Swarm on port 3376",
            "wait until the manager has all engines"
        ]
    );
}
