//! Parts of the subnet on the engines' own bridge: there and back.

use docker_cluster::checksum::sha256_hex;
use docker_cluster::decide::down::{Packages, plan};
use docker_cluster::plan::{Action, Plan};
use docker_cluster::record;
use serde_json::json;

use super::fake::{Fake, debian, decided, inventory, ours, plan_for, problems, shown};

const DOCKER0: &str =
    "cluster: test\nnetwork: {fabric: routed, subnet: 10.91.0.0/16, bridge: docker0}\n";

/// A host whose `docker0` is there.
fn at(host: Fake, bridge: &str, subnet: &str) -> Fake {
    host.with("addresses", &format!("3: docker0    inet {bridge} scope global docker0"))
        .with_network(
            json!({"Name": "bridge", "Id": "0", "Driver": "bridge", "Scope": "local", "IPAM": {"Config": [{"Subnet": subnet}]}}),
        )
}

fn usual(host: Fake) -> Fake {
    at(host, "172.17.0.1/16", "172.17.0.0/16")
}

/// A Debian 14 with a version of the engine.
fn forky(name: &'static str, n: u8, version: &'static str) -> Fake {
    Fake {
        engine: Some((version, "")),
        ..debian("14", name, n)
    }
}

fn text<'a>(plan: &'a Plan, host: &str) -> Vec<&'a str> {
    let of_host = plan.steps.iter().filter(|step| step.host.as_str() == host);
    of_host
        .filter_map(|step| match &step.action {
            Action::PutFile(file) if file.path == "/etc/docker/daemon.json" => file.content.plain(),
            _ => None,
        })
        .collect()
}

#[test]
fn docker0_moves_to_each_hosts_part() {
    let a = Fake {
        daemon_json: Some("{\"debug\": true}\n"),
        containers: vec![("app", "always")],
        ..debian("13", "a", 11)
    };
    let hosts = [
        usual(a),
        usual(forky("b", 12, "28.5.2+dfsg4")),
        usual(forky("c", 13, "28.1.1")),
    ];
    let plan = plan_for(&hosts, DOCKER0);
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert!(
        !text(&plan, "a")[0].contains("allow-direct-routing"),
        "26.1 does not start with it"
    );
    assert!(text(&plan, "b")[0].contains("\"allow-direct-routing\": true"));
    assert!(
        !text(&plan, "c")[0].contains("allow-direct-routing"),
        "28.1 neither"
    );
    // What worked is where docker0 was, too: the engine keeps that for itself.
    let restart = plan
        .steps
        .iter()
        .find(|step| step.why.starts_with("restart"))
        .unwrap();
    let undo = &restart.undo.as_ref().unwrap().actions;
    let put = undo.iter().find_map(|action| match action {
        Action::PutFile(file) => file.content.plain(),
        _ => None,
    });
    assert_eq!(
        put,
        Some("{\n  \"debug\": true,\n  \"bip\": \"172.17.0.1/16\"\n}\n")
    );
    insta::assert_snapshot!(shown(&plan));
}

#[test]
fn bgp_may_have_it_as_well() {
    let hosts = [usual(debian("13", "a", 11)), usual(debian("13", "b", 12))];
    let plan = plan_for(&hosts, &DOCKER0.replace("routed", "bgp"));
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert!(text(&plan, "b")[0].contains("\"bip\": \"10.91.1.1/24\""));
    let announces = plan.steps.iter().any(|step| match &step.action {
        Action::PutFile(file) => {
            file.path.ends_with("bird.conf")
                && file
                    .content
                    .plain()
                    .is_some_and(|text| text.contains("interface \"docker0\""))
        }
        _ => false,
    });
    assert!(announces, "{}", shown(&plan));
}

#[test]
fn who_else_decides_about_docker0_is_asked_first() {
    let b = || usual(debian("13", "b", 12));
    let of = |a: Fake| problems(&plan_for(&[a, b()], DOCKER0)).join("\n");
    let options = |text| {
        usual(Fake {
            daemon_json: Some(text),
            ..debian("13", "a", 11)
        })
    };
    for (text, words) in [
        (
            "{\"bip\": \"192.168.5.1/24\"}",
            "`bip` is \"192.168.5.1/24\"",
        ),
        ("{\"ip-masq\": true}", "`ip-masq` is true"),
        (
            "{\"mtu\": 1400, \"bridge\": \"br0\"}",
            "`bridge` is set in /etc/docker/daemon.json",
        ),
        ("{\"fixed-cidr\": \"172.17.9.0/24\"}", "`fixed-cidr` is set"),
        (
            "{\"default-gateway\": \"172.17.0.9\"}",
            "`default-gateway` is set",
        ),
        ("{\"ipv6\": true}", "`ipv6` is set"),
    ] {
        let found = of(options(text));
        assert!(found.contains(words), "{text}: {found}");
    }
    let flag = |options| {
        usual(Fake {
            default_docker: Some(options),
            ..debian("13", "a", 11)
        })
    };
    let found = of(flag("DOCKER_OPTS=\"-b br0\""));
    assert!(
        found.contains("`bridge` is set as a flag in /etc/default/docker"),
        "{found}"
    );
    let found = of(flag("DOCKER_OPTS=\"--bip=172.18.0.1/16\""));
    assert!(found.contains("`--bip` is a flag"), "{found}");
    let lives_on = usual(Fake {
        info: json!({"LiveRestoreEnabled": true}),
        containers: vec![("app", "always")],
        ..debian("13", "a", 11)
    });
    let found = of(lives_on);
    assert!(
        found.contains("its engine has live-restore, with which docker0 stays where it is while containers run: app"),
        "{found}"
    );
    let shop = usual(debian("13", "a", 11)).with_network(
        json!({"Name": "shop", "Id": "1", "Driver": "bridge", "Scope": "local", "IPAM": {"Config": [{"Subnet": "10.91.0.0/20"}]}}),
    );
    let found = of(shop);
    assert!(
        found.contains("overlaps with 10.91.0.0/20 of its network shop"),
        "{found}"
    );
    let stopped = Fake {
        up: false,
        ..debian("13", "a", 11)
    };
    let found = of(stopped);
    assert!(
        found.contains("its engine is stopped, and where docker0 is"),
        "{found}"
    );
    let own = usual(debian("13", "a", 11)).with(
        "fabric-config",
        "# fabric routed\nown 10.91.0.0/24\nbridge br-test",
    );
    let found = of(own);
    assert!(
        found.contains(
            "its part of the subnet is on the bridge br-test, and the inventory wants it on docker0"
        ),
        "{found}"
    );
}

const OURS: &str = "{\n  \"debug\": true,\n  \"bip\": \"10.91.0.1/24\",\n  \"ip-masq\": false\n}\n";
const THEIRS: &str = "{\"debug\":   true}\n";

/// A host that `up` has moved: what docker-cluster wrote, what is in the file now, and where `docker0` is.
fn moved(written: &str, file: &'static str, bridge: &str, subnet: &str) -> Fake {
    let host = Fake {
        daemon_json: Some(file),
        ..debian("13", "a", 11)
    };
    let path = "/etc/docker/daemon.json";
    let record = json!({"path": path, "sha256": sha256_hex(written.as_bytes()), "source": "", "by": "me@here", "at": 1, "ours": ours(THEIRS, OURS)});
    at(host, bridge, subnet)
        .with("made", "docker0 172.17.0.1/16")
        .with("records", &record.to_string())
        .with("sums", &format!("{}  {path}", sha256_hex(file.as_bytes())))
        .with(
            "origins",
            &format!(
                "{} file 644 root:root {}",
                record::key(path),
                sha256_hex(THEIRS.as_bytes())
            ),
        )
        .with("daemon-json-origin", THEIRS.trim_end_matches('\n'))
        .with("daemon-json-written", written.trim_end_matches('\n'))
}

fn down(host: Fake) -> Plan {
    let hosts = [host];
    decided(&inventory(&hosts, DOCKER0), &hosts, |world| {
        plan(world, Packages::Keep)
    })
}

#[test]
fn docker0_goes_back_by_an_option_for_one_start() {
    let plan = down(moved(OURS, OURS, "10.91.0.1/24", "10.91.0.0/24"));
    assert_eq!(problems(&plan), Vec::<String>::new());
    insta::assert_snapshot!(shown(&plan));
    // The run that was cut off between the two starts has one left.
    let half = "{\n  \"debug\": true,\n  \"bip\": \"172.17.0.1/16\"\n}\n";
    let plan = down(moved(half, half, "172.17.0.1/16", "172.17.0.0/16"));
    assert_eq!(text(&plan, "a"), Vec::<&str>::new(), "{}", shown(&plan));
    let whys: Vec<&str> = plan.steps.iter().map(|step| step.why.as_str()).collect();
    assert_eq!(whys[0], "put /etc/docker/daemon.json back as it was");
}

#[test]
fn docker0_does_not_go_where_somebody_else_is() {
    let taken = moved(OURS, OURS, "10.91.0.1/24", "10.91.0.0/24").with_network(
        json!({"Name": "shop", "Id": "1", "Driver": "bridge", "Scope": "local", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}}),
    );
    let found = problems(&down(taken));
    assert_eq!(
        found,
        [
            "a: docker0 was at 172.17.0.1/16, and its network shop has these addresses now: the engine would not start"
        ]
    );
    // Somebody has said where it is to be.
    let said = "{\n  \"debug\": true,\n  \"bip\": \"192.168.7.1/24\",\n  \"ip-masq\": false\n}\n";
    let plan = down(moved(OURS, said, "10.91.0.1/24", "10.91.0.0/24"));
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert_eq!(text(&plan, "a"), Vec::<&str>::new(), "{}", shown(&plan));
}
