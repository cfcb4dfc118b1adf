//! Plans of fabrics beside the overlays, and which fabric is advised.

use docker_cluster::decide::advise::advise;
use docker_cluster::inventory::FabricKind;
use docker_cluster::plan::{Action, Plan, World};

use super::fake::{Fake, debian, inventory, plan_for, plan_without, problems, shown};

/// The configuration of a host's links, as a plan writes it.
fn config<'a>(plan: &'a Plan, host: &str) -> &'a str {
    let mut files = plan
        .steps
        .iter()
        .rev()
        .filter(|step| step.host.as_str() == host)
        .filter_map(|step| match &step.action {
            Action::PutFile(file) if file.path == "/etc/docker-cluster/fabric/config" => {
                file.content.plain()
            }
            _ => None,
        });
    files.next().expect("the host gets links")
}

/// A host with links, as the probe tells them.
fn linked(mut host: Fake, config: &str) -> Fake {
    let lines: Vec<String> = config.lines().map(|line| format!("|{line}\n")).collect();
    host.sections
        .push_str(&format!("@fabric-config\n{}", lines.concat()));
    host
}

fn hosts() -> Vec<Fake> {
    vec![
        debian("13", "a", 11),
        debian("13", "b", 12),
        debian("13", "c", 13),
    ]
}

const ROUTED: &str = "cluster: test\nnetwork: {fabric: routed, subnet: 10.91.0.0/16}\n";

#[test]
fn each_host_gets_a_part_and_a_route_to_each_other() {
    let plan = plan_for(&hosts(), ROUTED);
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert_eq!(
        config(&plan, "b"),
        "# fabric routed\ncluster-subnet 10.91.0.0/16\nown 10.91.1.0/24\nbridge br-test\nout eth0\npeer 10.91.0.0/24 10.0.0.11\npeer 10.91.2.0/24 10.0.0.13\n"
    );
    insta::assert_snapshot!(shown(&plan));
}

#[test]
fn one_layer_2_has_a_range_for_each_host() {
    let plan = plan_for(
        &hosts(),
        "cluster: test\nnetwork: {fabric: vxlan, subnet: 10.92.0.0/16, vxlan: {id: 7, port: 4791}}\n",
    );
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert_eq!(
        config(&plan, "a"),
        "# fabric vxlan\nown 10.92.0.0/24\nbridge br-test\ndevice dcvx7\nid 7\nport 4791\naddress 10.0.0.11\nmtu 1450\npeer 10.0.0.12 10.92.1.0/24\npeer 10.0.0.13 10.92.2.0/24\n"
    );
    insta::assert_snapshot!(shown(&plan));
}

#[test]
fn a_part_is_kept_when_hosts_come_and_go() {
    let of = |own: &str, peer: &str| {
        format!(
            "# fabric routed\ncluster-subnet 10.91.0.0/16\nown {own}\nbridge br-test\nout eth0\n{peer}"
        )
    };
    let [a, b, c] = <[Fake; 3]>::try_from(hosts()).unwrap();
    // Not in the order in which they would be chosen now.
    let a = linked(a, &of("10.91.5.0/24", "peer 10.91.3.0/24 10.0.0.12"));
    let b = linked(b, &of("10.91.3.0/24", "peer 10.91.5.0/24 10.0.0.11"));
    let all = [a.clone(), b.clone(), c];
    let plan = plan_for(&all, ROUTED);
    assert!(
        config(&plan, "c").contains("own 10.91.0.0/24\n"),
        "{}",
        config(&plan, "c")
    );
    assert!(
        config(&plan, "a").contains("own 10.91.5.0/24\n"),
        "{}",
        config(&plan, "a")
    );
    // What does not answer keeps its part and its place.
    let plan = plan_without(&[a, all[2].clone()], &["b"], ROUTED);
    assert!(
        config(&plan, "c").contains("peer 10.91.3.0/24 10.0.0.12\n"),
        "{}",
        config(&plan, "c")
    );
}

#[test]
fn parts_that_cannot_be_are_refused() {
    let other = linked(debian("13", "a", 11), "# fabric vxlan\nown 10.92.0.0/24\n");
    let found = problems(&plan_for(&[other, debian("13", "b", 12)], ROUTED));
    assert!(
        found
            .iter()
            .any(|what| what
                .contains("those of the fabric vxlan, beside which there cannot be routed")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|what| what.contains("it has the part 10.92.0.0/24, which is not in 10.91.0.0/16")),
        "{found:?}"
    );
    let same = |name, n| linked(debian("13", name, n), "# fabric routed\nown 10.91.4.0/24\n");
    let found = problems(&plan_for(&[same("a", 11), same("b", 12)], ROUTED));
    assert!(found[0].contains("they overlap"), "{found:?}");
    let taken = Fake {
        routes: vec!["10.91.8.0/24 via 10.0.0.1 dev eth0"],
        ..debian("13", "a", 11)
    };
    let found = problems(&plan_for(&[taken, debian("13", "b", 12)], ROUTED));
    assert!(
        found[0].contains("collides with its route to 10.91.8.0/24"),
        "{found:?}"
    );
}

#[test]
fn nat_needs_nothing_but_the_image() {
    let plan = plan_for(&hosts(), "network: {fabric: nat}\n");
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert!(plan.steps.iter().all(|step| matches!(
        step.action,
        Action::Note { .. } | Action::EnsureImage { .. }
    )));
}

#[test]
fn what_fits_is_advised_first_and_what_does_not_says_why() {
    let (hosts, old) = (hosts(), vec![debian("11", "a", 11), debian("11", "b", 12)]);
    for (hosts, first) in [(hosts, FabricKind::Swarm), (old, FabricKind::Overlay)] {
        let inventory = inventory(&hosts, "");
        let facts: Vec<_> = hosts.iter().map(Fake::facts).collect();
        let world = World::new(&inventory, &facts, Vec::new());
        let all = advise(&world);
        assert_eq!(all[0].fabric, first);
        assert!(all[0].fits(), "{:?}", all[0].problems);
        let overlay = all
            .iter()
            .find(|advice| advice.fabric == FabricKind::Overlay)
            .unwrap();
        assert_eq!(overlay.fits(), first == FabricKind::Overlay);
        assert!(
            overlay.fits()
                || overlay
                    .problems
                    .iter()
                    .any(|one| one.what.contains("no overlay over a key-value store"))
        );
        let vxlan = all
            .iter()
            .find(|advice| advice.fabric == FabricKind::Vxlan)
            .unwrap();
        assert_eq!(
            (vxlan.mtu, vxlan.line.as_str()),
            (1450, "network: {fabric: vxlan}")
        );
    }
}

#[test]
fn what_is_advised_of_a_cluster_that_is_there_is_what_its_plan_says() {
    let guarded = "it has an overlay, whose ports are guarded, beside which there cannot be ";
    let routed = "its links to the other hosts are those of the fabric routed, beside which there cannot be ";
    for (config, there, settings, beginning, keep) in [
        (
            "# fabric routed\nown 10.90.0.0/24\n",
            FabricKind::Routed,
            "",
            routed,
            "routed",
        ),
        (
            "# fabric guard\n",
            FabricKind::Swarm,
            "network: {fabric: nat}\n",
            guarded,
            "auto",
        ),
    ] {
        let hosts = [linked(debian("13", "a", 11), config), debian("13", "b", 12)];
        let inventory = inventory(&hosts, settings);
        let facts: Vec<_> = hosts.iter().map(Fake::facts).collect();
        let all = advise(&World::new(&inventory, &facts, Vec::new()));
        let plan = plan_for(&hosts, settings);
        let [of_plan] = &plan.problems[..] else {
            panic!("{:?}", plan.problems);
        };
        assert!(
            of_plan
                .fix
                .contains(&format!("`network: {{fabric: {keep}}}`")),
            "{}",
            of_plan.fix
        );
        for advice in &all {
            let said = advice
                .problems
                .iter()
                .find(|one| one.what.starts_with(beginning));
            match advice.fabric {
                fabric if fabric == there => assert!(advice.fits(), "{:?}", advice.problems),
                FabricKind::Overlay if there == FabricKind::Swarm => assert_eq!(said, None),
                fabric => assert_eq!(said.unwrap().what, format!("{beginning}{fabric}")),
            }
            if advice.fabric == plan.fabric {
                assert_eq!(&advice.problems[0], of_plan);
            }
            // The inventory wants nothing of what it is only asked about.
            let wants =
                |one: &docker_cluster::plan::Problem| one.what.contains("the inventory wants");
            assert!(!advice.problems.iter().any(wants), "{:?}", advice.problems);
        }
    }
}
