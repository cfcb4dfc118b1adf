//! The fabric `bgp`: what hosts announce, and to whom.

use docker_cluster::inventory::Inventory;
use docker_cluster::plan::{Action, Content, Piece, Plan, Slot};
use docker_cluster::secrets::Slots;
use serde_json::json;

use super::fake::{Fake, inventory, plan_for, plan_with, plan_without, problems, shown};
use super::three;

const BGP: &str = "network: {fabric: bgp}\n";

/// What a plan writes to a file of a host.
fn written(plan: &Plan, host: &str, path: &str) -> Option<String> {
    plan.steps
        .iter()
        .filter(|step| step.host.as_str() == host)
        .find_map(|step| match &step.action {
            Action::PutFile(file) if file.path == path => {
                Content::plain(&file.content).map(str::to_owned)
            }
            _ => None,
        })
}

/// What BIRD is told of its neighbours.
fn neighbours(plan: &Plan, host: &str) -> Vec<String> {
    let text = written(plan, host, "/etc/bird/bird.conf").unwrap_or_default();
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("neighbor "));
    lines.map(str::to_owned).collect()
}

/// A host whose BIRD runs, and whose links are there.
fn with_bird(host: Fake, config: &str, wrong: &str, active: &str) -> Fake {
    let unit = format!(
        "Id=bird.service\nLoadState=loaded\nActiveState={active}\nUnitFileState=enabled\nFragmentPath=/lib/systemd/system/bird.service\nMainPID=2"
    );
    host.with("units", &unit)
        .with("made", "enabled bird.service")
        .with("fabric-config", &format!("# fabric bgp\n{config}"))
        .with("fabric-wrong", wrong)
}

#[test]
fn each_host_announces_its_part_to_every_other() {
    let plan = plan_for(&three("13"), BGP);
    insta::assert_snapshot!(shown(&plan));
    insta::assert_snapshot!(
        "what_bird_is_told",
        written(&plan, "a", "/etc/bird/bird.conf").unwrap()
    );
    insta::assert_snapshot!(
        "the_links",
        written(&plan, "a", "/etc/docker-cluster/fabric/config").unwrap()
    );
}

#[test]
fn reflectors_pass_on_what_hosts_announce() {
    let plan = plan_for(
        &three("13"),
        "network: {fabric: bgp, bgp: {reflectors: [b]}}\n",
    );
    assert_eq!(neighbours(&plan, "a"), ["neighbor 10.0.0.12 as 64512;"]);
    assert_eq!(
        neighbours(&plan, "b"),
        [
            "neighbor 10.0.0.11 as 64512; rr client;",
            "neighbor 10.0.0.13 as 64512; rr client;"
        ]
    );
    let text = |host| written(&plan, host, "/etc/bird/bird.conf").unwrap();
    assert!(
        text("a").contains("export where net ~ [ 10.90.0.0/16{24,32} ] && source = RTS_DEVICE;"),
        "{}",
        text("a")
    );
    assert!(
        text("b").contains("export where net ~ [ 10.90.0.0/16{24,32} ];"),
        "{}",
        text("b")
    );
    // All three are still waited for, and may use the ports.
    let config = written(&plan, "a", "/etc/docker-cluster/fabric/config").unwrap();
    assert!(
        config.contains("learned 10.90.2.0/24 10.0.0.13\n")
            && !config.contains("neighbour 10.0.0.13"),
        "{config}"
    );
}

#[test]
fn routers_of_the_site_may_tell_a_host_of_its_own_system() {
    let settings =
        "network: {fabric: bgp, bgp: {as: 64600, routers: [{address: 10.0.0.1, as: 65001}]}}\n";
    let plan = plan_for(&three("13"), settings);
    assert_eq!(
        neighbours(&plan, "a"),
        ["neighbor 10.0.0.1 as 65001; allow local as 1;"]
    );
    assert!(
        written(&plan, "c", "/etc/bird/bird.conf")
            .unwrap()
            .contains("local 10.0.0.13 as 64600;")
    );
}

#[test]
fn a_host_that_does_not_answer_keeps_its_session_and_its_part() {
    let learned = "own 10.90.0.0/24\nneighbour 10.0.0.12\nneighbour 10.0.0.13\nlearned 10.90.1.0/24 10.0.0.12\nlearned 10.90.7.0/24 10.0.0.13";
    let mut hosts = three("13");
    hosts[0] = with_bird(
        hosts[0].clone(),
        learned,
        "no route to 10.90.7.0/24 has been learned",
        "active",
    );
    let plan = plan_without(&hosts, &["c"], BGP);
    assert!(
        neighbours(&plan, "a").contains(&"neighbor 10.0.0.13 as 64512;".to_owned()),
        "{}",
        shown(&plan)
    );
    let config = written(&plan, "a", "/etc/docker-cluster/fabric/config").unwrap();
    assert!(
        config.contains("learned 10.90.7.0/24 10.0.0.13\n"),
        "{config}"
    );
}

#[test]
fn what_only_the_other_side_can_mend_is_no_reason_to_do_anything() {
    let of = |wrong: &str, active: &str| {
        let config = "own 10.90.0.0/24\nneighbour 10.0.0.12\nlearned 10.90.1.0/24 10.0.0.12";
        let host = with_bird(three("13").remove(0), config, wrong, active);
        let plan = plan_for(&[host], BGP);
        plan.steps
            .iter()
            .map(|step| step.why.clone())
            .collect::<Vec<_>>()
    };
    let session = of(
        "the BGP session with 10.0.0.12 is down: it refuses TCP port 179",
        "active",
    );
    assert!(
        !session.iter().any(|why| why.contains("mend its links")),
        "{session:?}"
    );
    let down = of("BIRD does not run on this host", "inactive");
    assert!(
        down.iter()
            .any(|why| why == "start BIRD, which announces this host's containers"),
        "{down:?}"
    );
    assert!(!down.iter().any(|why| why.contains("install")), "{down:?}");
}

#[test]
fn a_bird_of_somebody_elses_is_left_alone() {
    let unit = "Id=bird.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nFragmentPath=/lib/systemd/system/bird.service\nMainPID=2";
    let host = three("13").remove(0).with("units", unit);
    let found = problems(&plan_for(std::slice::from_ref(&host), BGP));
    assert_eq!(
        found,
        ["a: BIRD runs there already, with a configuration that is not docker-cluster's"]
    );
    // Also where the package is of an earlier `up`, and the cluster was taken down since.
    let theirs = host.clone().with("made", "package bird2");
    assert_eq!(problems(&plan_for(&[theirs], BGP)).len(), 1);
    // One that `up` has installed, and then was cut off, is none.
    assert_eq!(
        problems(&plan_for(
            &[host.with("made", "enabled bird.service\npackage bird2")],
            BGP
        )),
        Vec::<String>::new()
    );
    // Something else that speaks BGP.
    let host = Fake {
        tcp: vec![22, 179],
        ..three("13").remove(0)
    };
    assert_eq!(
        problems(&plan_for(&[host], BGP)),
        ["a: TCP port 179 is taken, and BIRD needs it"]
    );
}

#[test]
fn settings_that_cannot_be_are_named_with_their_line() {
    let flaw = |bgp: &str| {
        let text = format!("network:\n  fabric: bgp\n  bgp: {bgp}\nhosts: [u, v]\n");
        Inventory::parse(&text, "cluster.yaml")
            .unwrap_err()
            .to_string()
    };
    assert!(
        flaw("{as: 0}").contains("0 is no number of an autonomous system"),
        "{}",
        flaw("{as: 0}")
    );
    assert!(flaw("{reflectors: [z]}").contains("no host is called `z`"));
    assert!(flaw("{reflectors: [u, u]}").contains("`u` is listed twice"));
    assert!(
        flaw("{routers: [{address: gw, as: 1}]}").contains("`gw` is no IPv4 address of a router")
    );
    assert!(
        flaw("{routers: [{address: 10.0.0.1, as: 0}]}")
            .contains("no number of an autonomous system")
    );
    let both = flaw("{reflectors: [u], routers: [{address: 10.0.0.1, as: 65001}]}");
    assert!(
        both.contains("both `reflectors` and `routers` would pass on what hosts announce"),
        "{both}"
    );
}

/// The same inventory twice comes to the same plan, and one with another subnet is refused where links are there.
#[test]
fn a_part_outside_of_the_subnet_is_a_problem() {
    let host = with_bird(three("13").remove(0), "own 10.90.0.0/24", "", "active");
    let hosts = [host];
    let found = problems(&plan_with(
        &inventory(&hosts, "network: {fabric: bgp, subnet: 10.77.0.0/16}\n"),
        &hosts,
    ));
    assert!(
        found
            .iter()
            .any(|line| line.contains("10.90.0.0/24, which is not in 10.77.0.0/16")),
        "{found:?}"
    );
}

/// The inventory of these hosts where this is in the files with passwords, or why they cannot be read. Each file after the first has its
/// number in it as well.
fn signed(hosts: &[Fake], settings: &str, read: Result<&str, &str>) -> Inventory {
    let mut inventory = inventory(hosts, settings);
    for (at, file) in inventory.network.bgp.passwords_mut().enumerate() {
        let number = if at == 0 {
            String::new()
        } else {
            at.to_string()
        };
        let read = read.map(|text| format!("{number}{text}").into_bytes());
        file.take(read.map_err(str::to_owned));
    }
    inventory
}

/// The plan of such an inventory, which shows no password.
fn with_password(hosts: &[Fake], settings: &str, read: Result<&str, &str>) -> Plan {
    let inventory = signed(hosts, settings, read);
    let plan = plan_with(&inventory, hosts);
    for text in [
        shown(&plan),
        serde_json::to_string(&plan).unwrap(),
        format!("{plan:?} {inventory:?}"),
    ] {
        assert!(!text.contains("s3same"), "{text}");
    }
    plan
}

/// The sentences of steps about BIRD.
fn about_bird(plan: &Plan) -> Vec<String> {
    let of_bird = plan.steps.iter().filter(|step| step.why.contains("BIRD"));
    of_bird.map(|step| step.why.clone()).collect()
}

/// The hosts as `up` leaves them.
fn after_up(settings: &str, password: &str) -> Vec<Fake> {
    let first = with_password(&three("13"), settings, Ok(password));
    let slots = Slots::of_inventory(&signed(&three("13"), settings, Ok(password)).network.bgp);
    let after = |host: Fake| {
        let content = told(&first, host.name).unwrap();
        let (_, passwords) = slots.resolve(&content).unwrap();
        announcing(host, &content, &passwords)
    };
    three("13").into_iter().map(after).collect()
}

const SIGNED: &str = "network: {fabric: bgp, bgp: {password_file: bgp.password}}\n";

/// What BIRD is told, with the names of slots in their places.
fn told(plan: &Plan, host: &str) -> Option<Content> {
    let mut of_host = plan.steps.iter().filter(|step| step.host.as_str() == host);
    of_host.find_map(|step| match &step.action {
        Action::PutFile(file) if file.path == "/etc/bird/bird.conf" => Some(file.content.clone()),
        _ => None,
    })
}

/// The host as `up` leaves it, where the sum of the passwords was this.
fn announcing(host: Fake, content: &Content, passwords: &str) -> Fake {
    let path = "/etc/bird/bird.conf";
    let record = json!({"path": path, "sha256": "f00", "source": content.fingerprint(), "secrets": passwords, "by": "me", "at": 1});
    let own = match host.name {
        "a" => "own 10.90.0.0/24",
        "b" => "own 10.90.1.0/24",
        _ => "own 10.90.2.0/24",
    };
    with_bird(host, own, "", "active")
        .with("records", &record.to_string())
        .with("sums", &format!("f00  {path}"))
        .with("files", &format!("640 bird:bird {path}"))
}

#[test]
fn a_password_is_filled_in_where_nobody_sees_it() {
    let plan = with_password(&three("13"), SIGNED, Ok("s3same open\n"));
    let Content(pieces) = told(&plan, "a").unwrap();
    let slots = pieces
        .iter()
        .filter(|piece| **piece == Piece::Slot(Slot::BgpPassword(None)));
    assert_eq!(slots.count(), 2, "{pieces:?}");
    let Some(Piece::Text(text)) = pieces.first() else {
        panic!("{pieces:?}");
    };
    assert!(
        text.ends_with("    neighbor 10.0.0.12 as 64512;\n    password \""),
        "{text}"
    );
}

#[test]
fn a_router_may_have_a_password_of_its_own() {
    let settings = "network: {fabric: bgp, bgp: {password_file: all, routers: [{address: 10.0.0.1, as: 65001}, {address: 10.0.0.2, as: 65001, password_file: two}]}}\n";
    let plan = with_password(&three("13"), settings, Ok("s3same"));
    let Content(pieces) = told(&plan, "a").unwrap();
    let slots: Vec<&Piece> = pieces
        .iter()
        .filter(|piece| matches!(piece, Piece::Slot(_)))
        .collect();
    let two = "10.0.0.2".parse().unwrap();
    assert_eq!(
        slots,
        [
            &Piece::Slot(Slot::BgpPassword(None)),
            &Piece::Slot(Slot::BgpPassword(Some(two)))
        ]
    );
    // In whichever order they are listed.
    let swapped = "network: {fabric: bgp, bgp: {routers: [{address: 10.0.0.9, as: 65001, password_file: one}, {address: 10.0.0.2, as: 65001, password_file: two}]}}\n";
    let hosts = after_up(swapped, "s3same");
    let same = with_password(&hosts, swapped, Ok("s3same"));
    assert_eq!(
        (problems(&same), about_bird(&same)),
        (Vec::new(), Vec::new())
    );
    let other = with_password(&hosts, swapped, Ok("s3same anew"));
    assert_eq!(about_bird(&other).len(), 6, "{}", shown(&other));
}

#[test]
fn no_bird_reads_another_password_before_all_have_it() {
    let hosts = after_up(SIGNED, "s3same");
    // It is there: nothing is written, and nobody reads anything.
    let same = with_password(&hosts, SIGNED, Ok("s3same"));
    assert_eq!(problems(&same), Vec::<String>::new());
    assert_eq!(about_bird(&same), Vec::<String>::new());
    let plan = with_password(&hosts, SIGNED, Ok("another s3same"));
    let writes = "write down what BIRD announces, and to whom";
    let reads = "let BIRD read its configuration; sessions with another password begin anew, within seconds";
    assert_eq!(about_bird(&plan), [writes, reads].repeat(3));
    let written: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| step.why == writes)
        .collect();
    for step in plan.steps.iter().filter(|step| step.why == reads) {
        let others = written.iter().filter(|other| other.host != step.host);
        assert_eq!(
            step.after,
            others.map(|other| other.id).collect::<Vec<_>>(),
            "{step:?}"
        );
    }
    // Without any: the file is another one as well.
    assert_eq!(
        about_bird(&plan_for(&hosts, BGP)),
        [writes, reads].repeat(3)
    );
}

#[test]
fn a_password_that_cannot_be_used_is_a_problem() {
    let long = "s3same".repeat(14);
    let found = |read| problems(&with_password(&three("13"), SIGNED, read));
    let beginning = "the password in bgp.password (cluster.yaml:1) cannot be used: ";
    assert_eq!(
        found(Err("No such file or directory (os error 2)")),
        [format!("{beginning}No such file or directory (os error 2)")]
    );
    let unfit =
        format!("{beginning}it must be one line of 1 to 80 characters of ASCII without quotes");
    for text in [
        "",
        "\n",
        "s3same\";\nprotocol bgp evil {",
        "a \"s3same\"",
        "s3samé",
        &long,
    ] {
        assert_eq!(found(Ok(text)), std::slice::from_ref(&unfit), "{text}");
    }
    assert!(found(Ok("s3same\r\n")).is_empty());
    assert_eq!(
        found(Ok("   \n")),
        [format!("{beginning}there is nothing but spaces in it")]
    );
    let two = "network:\n  fabric: bgp\n  bgp:\n    routers:\n      - {address: 10.0.0.1, as: 65001}\n      - address: 10.0.0.2\n        as: 65002\n        password_file: two\n";
    let plan = with_password(&three("13"), two, Err("it is a FIFO"));
    assert_eq!(
        problems(&plan),
        ["the password in two (cluster.yaml:8) cannot be used: it is a FIFO"]
    );
}

#[test]
fn a_password_that_everybody_can_read_is_told() {
    let told = |everybody_reads| {
        let mut inventory = signed(&three("13"), SIGNED, Ok("s3same"));
        for password in inventory.network.bgp.passwords_mut() {
            password.file.everybody_reads = everybody_reads;
        }
        let plan = plan_with(&inventory, &three("13"));
        plan.notes
            .into_iter()
            .find(|note| note.contains("a secret"))
    };
    assert_eq!(told(false), None);
    assert_eq!(
        told(true).as_deref(),
        Some(
            "everybody on this machine can read bgp.password (cluster.yaml:1), which is a secret: `chmod o= bgp.password`"
        )
    );
}
