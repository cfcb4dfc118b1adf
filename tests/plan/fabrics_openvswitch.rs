//! The fabric `openvswitch`: a switch on each host.

use docker_cluster::plan::{Action, Content, Plan};

use super::fake::{Fake, plan_for, plan_without, shown};
use super::three;

const SWITCH: &str = "network: {fabric: openvswitch}\n";

/// The links that a plan writes down for a host.
fn links(plan: &Plan, host: &str) -> Option<String> {
    plan.steps
        .iter()
        .filter(|step| step.host.as_str() == host)
        .find_map(|step| match &step.action {
            Action::PutFile(file) if file.path == "/etc/docker-cluster/fabric/config" => {
                Content::plain(&file.content).map(str::to_owned)
            }
            _ => None,
        })
}

/// A host whose switch is there.
fn with_switch(host: Fake, state: (&str, &str), config: &str, wrong: &str) -> Fake {
    let (active, enabled) = state;
    let unit = format!(
        "Id=openvswitch-switch.service\nLoadState=loaded\nActiveState={active}\nUnitFileState={enabled}\nFragmentPath=/lib/systemd/system/openvswitch-switch.service\nMainPID=0"
    );
    host.with("units", &unit)
        .with("fabric-config", &format!("# fabric openvswitch\n{config}"))
        .with("fabric-wrong", wrong)
}

fn steps_of(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.why.clone()).collect()
}

#[test]
fn each_host_gets_a_switch() {
    let plan = plan_for(&three("13"), SWITCH);
    insta::assert_snapshot!(shown(&plan));
    insta::assert_snapshot!("the_links_of_a_switch", links(&plan, "a").unwrap());
}

#[test]
fn the_kernels_own_switch_is_used_where_it_is() {
    let mut hosts = three("13");
    hosts[0] = hosts[0].clone().with(
        "modules",
        "vxlan builtin\nbridge builtin\nveth builtin\nopenvswitch available",
    );
    let plan = plan_for(&hosts, SWITCH);
    assert!(links(&plan, "a").unwrap().contains("datapath system\n"));
    assert!(links(&plan, "b").unwrap().contains("datapath netdev\n"));
    let slow =
        "the kernel of b, c has no module of Open vSwitch: its switch forwards in user space";
    assert!(
        plan.notes.iter().any(|note| note.starts_with(slow)),
        "{:?}",
        plan.notes
    );
}

#[test]
fn a_switch_that_is_off_is_started_and_what_enabled_it_is_written_down() {
    let config = "own 10.90.0.0/24";
    let off = with_switch(three("13").remove(0), ("inactive", "disabled"), config, "");
    let plan = plan_for(&[off], SWITCH);
    let steps = steps_of(&plan);
    assert!(
        steps.contains(&"start Open vSwitch at every boot".to_owned()),
        "{steps:?}"
    );
    assert!(
        steps.contains(&"start Open vSwitch".to_owned()),
        "{steps:?}"
    );
    assert!(
        !steps.iter().any(|why| why.contains("install")),
        "{steps:?}"
    );
    let noted = plan.steps.iter().any(|step| {
        matches!(&step.action, Action::Note { lines } if lines.contains(&"enabled openvswitch-switch.service".to_owned()))
    });
    assert!(noted, "{}", shown(&plan));
    // One that runs as it should is left alone, and so is one that somebody had before.
    let on = with_switch(three("13").remove(0), ("active", "enabled"), config, "");
    assert!(
        !steps_of(&plan_for(&[on], SWITCH))
            .iter()
            .any(|why| why.contains("Open vSwitch"))
    );
    let dead = with_switch(
        three("13").remove(0),
        ("active", "enabled"),
        config,
        "Open vSwitch does not run (ovs-vswitchd)",
    );
    assert!(steps_of(&plan_for(&[dead], SWITCH)).contains(&"start Open vSwitch".to_owned()));
    let bare = with_switch(
        three("13").remove(0),
        ("active", "enabled"),
        config,
        "the program ethtool, which, is missing",
    );
    assert!(
        steps_of(&plan_for(&[bare], SWITCH))
            .iter()
            .any(|why| why.starts_with("install Open vSwitch"))
    );
}

#[test]
fn a_host_that_does_not_answer_keeps_its_tunnel() {
    let config = "own 10.90.0.0/24\npeer 10.0.0.12 10.90.1.0/24\npeer 10.0.0.13 10.90.7.0/24";
    let mut hosts = three("13");
    hosts[0] = with_switch(hosts[0].clone(), ("active", "enabled"), config, "");
    let plan = plan_without(&hosts, &["c"], SWITCH);
    assert!(
        links(&plan, "a")
            .unwrap()
            .contains("peer 10.0.0.13 10.90.7.0/24"),
        "{}",
        shown(&plan)
    );
}
