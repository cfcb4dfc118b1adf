//! `restart`: engines, one after the other.

use docker_cluster::decide::restart;

use super::fake::{debian, decided, inventory, problems, shown};

#[test]
fn each_engine_waits_for_the_one_before_it() {
    let mut hosts = vec![
        debian("13", "a", 11),
        debian("13", "b", 12),
        debian("13", "c", 13),
    ];
    hosts[0].containers = vec![("web", "always"), ("job", "no")];
    hosts[1].swarm = Some(("s", "n", true));
    let plan = decided(&inventory(&hosts, ""), &hosts, restart::plan);
    insta::assert_snapshot!(shown(&plan));
    let restart = |name: &str| {
        let words = "restart the engine";
        plan.steps
            .iter()
            .find(|step| step.host.as_str() == name && step.why.starts_with(words))
            .unwrap()
    };
    let last = |name: &str| {
        plan.steps
            .iter()
            .rfind(|step| step.host.as_str() == name)
            .unwrap()
            .id
    };
    assert!(restart("a").after.is_empty());
    assert_eq!(
        restart("b").after,
        [last("a")],
        "until its containers run again"
    );
    assert_eq!(restart("c").after, [last("b")]);
}

#[test]
fn what_cannot_be_restarted_is_said_before_anything_is() {
    let snap = "pid 77\nexe /snap/docker/bin/dockerd\nunit snap.docker.dockerd.service";
    let hosts = [
        debian("13", "a", 11).with("engine-process", snap),
        debian("13", "b", 12).bare(),
    ];
    let plan = decided(&inventory(&hosts, ""), &hosts, restart::plan);
    assert_eq!(
        problems(&plan),
        [
            "a: its engine is /snap/docker/bin/dockerd of the unit snap.docker.dockerd.service, whose restart docker-cluster \
             does not know",
            "b: there is no engine to restart"
        ]
    );
}
