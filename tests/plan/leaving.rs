//! What `down` takes, what it leaves, and what it refuses to lose.

use docker_cluster::checksum;
use docker_cluster::decide::down::{Packages, loses_data, plan};
use docker_cluster::decide::migrate::{self, Way};
use docker_cluster::decide::rm;
use docker_cluster::inventory::Inventory;
use docker_cluster::plan::{Action, Plan, Recorded, Restored};

use super::fake::{Fake, debian, decided, inventory, ours, plan_for, problems, shown};

fn down(hosts: &[Fake], packages: Packages) -> Plan {
    decided(&inventory(hosts, "cluster: demo\n"), hosts, |world| {
        plan(world, packages)
    })
}

/// The sentences of a host's steps.
fn steps<'a>(plan: &'a Plan, host: &str) -> Vec<&'a str> {
    plan.steps
        .iter()
        .filter(|step| step.host.as_str() == host)
        .map(|step| step.why.as_str())
        .collect()
}

fn has(plan: &Plan, host: &str, words: &str) -> bool {
    steps(plan, host).iter().any(|why| why.contains(words))
}

/// A host whose engine `up` installed, with somebody's data in it.
fn installed() -> Fake {
    Fake {
        containers: vec![("app", "always")],
        sections: "@made
|package docker.io
|package containerd
@images
|nginx:1 sha256:1
@volumes
|volume orders 1250000000
|volume cache 
|volume e640e2f4276718fd1d750997b8c8359c7435196960256712e7ff8dfcb3d0341a 2000
|layers 25000000
@data-folders
|/var/lib/docker 1300000
|/var/lib/containerd ?
"
        .to_owned(),
        ..debian("13", "a", 11)
    }
}

#[test]
fn a_purge_keeps_the_data_and_says_so() {
    let plan = down(&[installed()], Packages::Purge);
    assert!(!loses_data(&plan), "{}", shown(&plan));
    assert!(
        has(&plan, "a", "remove the packages that were installed"),
        "{}",
        shown(&plan)
    );
    let notes = plan.notes.join("\n");
    for words in [
        "a: the engine goes, which `up` installed, and with it stop the container app",
        "a: /var/lib/docker (1.3 GB) stays: volumes orders (1.2 GB), cache (size not told), 1 volume without a name (2.0 kB), 1 image (25.0 MB), container app; `--purge-data` would remove it",
        "a: /var/lib/containerd (its size was not told in time) stays",
    ] {
        assert!(notes.contains(words), "{words}\n{notes}");
    }
}

#[test]
fn purge_data_names_what_is_lost() {
    let plan = down(&[installed()], Packages::PurgeData);
    assert!(loses_data(&plan));
    let whys = steps(&plan, "a");
    let at = |words: &str| whys.iter().position(|why| why.contains(words)).unwrap();
    let lost = "REMOVE FOR GOOD /var/lib/docker (1.3 GB) with volumes orders (1.2 GB), cache (size not told), 1 volume without a name (2.0 kB), 1 image (25.0 MB), container app, and /var/lib/containerd";
    assert!(
        at("stop the engine") < at("remove the packages") && at("remove the packages") < at(lost),
        "{whys:#?}"
    );
    assert!(
        !plan.notes.iter().any(|note| note.contains("stays;")),
        "{:?}",
        plan.notes
    );

    // What was there before the engine is not docker-cluster's to remove.
    let mut before = installed();
    before.sections +=
        "@made\n|data docker.io /var/lib/docker\n|data containerd /var/lib/containerd\n";
    let plan = down(&[before], Packages::PurgeData);
    assert!(!loses_data(&plan), "{}", shown(&plan));
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("/var/lib/docker (1.3 GB) was there before `up`"))
    );

    // Nor is that of an engine which was there, nor what is elsewhere.
    let mut theirs = installed();
    theirs.sections = theirs.sections.replace(
        "|package docker.io\n|package containerd\n",
        "|package consul\n",
    );
    let plan = down(&[theirs], Packages::PurgeData);
    assert!(
        !loses_data(&plan) && !has(&plan, "a", "stop the engine"),
        "{}",
        shown(&plan)
    );
    assert!(
        plan.notes
            .contains(&"a: `up` did not install its engine, which stays with its data".to_owned())
    );
    let mut elsewhere = Fake {
        info: serde_json::json!({"DockerRootDir": "/srv/docker"}),
        ..installed()
    };
    elsewhere.sections = elsewhere
        .sections
        .split("@data-folders")
        .next()
        .unwrap()
        .to_owned();
    let plan = down(&[elsewhere], Packages::PurgeData);
    assert!(!loses_data(&plan), "{}", shown(&plan));
    assert!(plan.notes.iter().any(|note| {
        note.contains("the engine's data is in /srv/docker and stays: volumes orders")
    }));
}

#[test]
fn what_nobody_can_name_is_not_removed() {
    let plan = down(
        &[Fake {
            up: false,
            ..installed()
        }],
        Packages::PurgeData,
    );
    assert!(
        problems(&plan)[0].contains("nobody can say what would be lost"),
        "{:?}",
        problems(&plan)
    );
    // A list that was cut short.
    let mut cut = installed();
    cut.sections += "@volumes\n!\n";
    assert!(problems(&down(&[cut], Packages::PurgeData))[0].contains("did not tell all"));
    // The packages are gone already: a run that was cut off goes on.
    let mut gone = Fake {
        containers: Vec::new(),
        ..installed().bare()
    };
    gone.sections += "@data-folders\n|volume orders\n";
    let plan = down(&[gone], Packages::PurgeData);
    assert!(
        loses_data(&plan) && has(&plan, "a", "orders"),
        "{}",
        shown(&plan)
    );
}

#[test]
fn an_engine_that_serves_others_by_now_is_not_purged() {
    let mut host = installed();
    host.sections += "@on-containerd\n|kubelet (active)\n|12 in containerd's namespace k8s.io\n";
    let found = problems(&down(&[host], Packages::Purge));
    assert!(
        found[0].contains("serves others by now: 12 in containerd's namespace k8s.io"),
        "{found:?}"
    );
}

/// Somebody has another engine by now, from where `up` had put Debian's.
#[test]
fn an_engine_that_took_the_place_of_ours_stays() {
    let mut host = installed();
    host.sections +=
        "@packages\n|rc |docker.io|26.1.5\n|ii |docker-ce|28.0\n|ii |containerd.io|1.7\n";
    let plan = down(&[host], Packages::PurgeData);
    assert!(
        !loses_data(&plan) && !has(&plan, "a", "stop the engine"),
        "{}",
        shown(&plan)
    );
}

#[test]
fn what_is_in_a_stopped_engine_is_not_forgotten() {
    let mut host = Fake {
        up: false,
        ..debian("13", "a", 11)
    };
    host.sections = "@made\n|swarm\n|image x\n".to_owned();
    let found = problems(&down(std::slice::from_ref(&host), Packages::Keep));
    assert_eq!(
        found,
        ["a: its engine is stopped, and holds what `up` put into it"]
    );
    // With the engine itself it goes.
    host.sections += "|package docker.io\n";
    assert_eq!(
        problems(&down(&[host], Packages::Purge)),
        Vec::<String>::new()
    );
}

/// Options that came before the engine outlive it.
#[test]
fn options_of_somebody_survive_the_engine() {
    let mut host = Fake {
        daemon_json: Some("{\"debug\": true, \"labels\": [\"a\"]}"),
        ..installed()
    };
    host.sections += &written(
        "{\"debug\": true, \"labels\": [\"a\"]}",
        Some("{\"debug\": true}"),
    );
    for host in [
        host.clone(),
        Fake {
            containers: Vec::new(),
            ..host.bare()
        },
    ] {
        let plan = down(&[host], Packages::Purge);
        let restored = plan.steps.iter().any(|step| {
            matches!(&step.action, Action::Restore { path, into: Restored::Original, .. } if path == "/etc/docker/daemon.json")
        });
        assert!(restored, "{}", shown(&plan));
    }
}

#[test]
fn where_an_engine_keeps_what_it_has_stays() {
    let text = "{\"data-root\": \"/srv/docker\", \"debug\": true}";
    let mut host = Fake {
        daemon_json: Some(text),
        ..debian("13", "a", 11)
    };
    host.sections += &written(text, None);
    let plan = down(&[host], Packages::Keep);
    let left = plan.steps.iter().find_map(|step| match &step.action {
        Action::Restore {
            into: Restored::Merged(text),
            ..
        } => Some(text.clone()),
        _ => None,
    });
    assert_eq!(
        left.expect("it is not put back whole")
            .split_whitespace()
            .collect::<String>(),
        "{\"data-root\":\"/srv/docker\"}"
    );
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("`data-root` stays")),
        "{:?}",
        plan.notes
    );
}

/// The sections of a `daemon.json` that docker-cluster wrote, over what there was.
fn written(text: &str, origin: Option<&str>) -> String {
    let sum = checksum::sha256_hex(text.as_bytes());
    let ours = ours(origin.unwrap_or_default(), text);
    let json = serde_json::json!({"path": "/etc/docker/daemon.json", "sha256": sum, "source": "", "by": "x", "at": 1, "ours": ours});
    let origin = origin.map_or_else(String::new, |text| {
        format!("@daemon-json-origin\n|{text}\n")
    });
    format!(
        "@records\n|{json}\n@sums\n|{sum}  /etc/docker/daemon.json\n@daemon-json-written\n|{text}\n{origin}"
    )
}

#[test]
fn a_failed_restart_brings_the_options_back() {
    let ours = "{\"debug\": true, \"labels\": [\"a\"]}";
    let mut host = Fake {
        daemon_json: Some(ours),
        ..debian("13", "a", 11)
    };
    host.sections = written(ours, Some("{\"debug\": true}"));
    let plan = down(&[host], Packages::Keep);
    let restore = plan
        .steps
        .iter()
        .find(|step| matches!(step.action, Action::Restore { .. }))
        .unwrap();
    assert!(
        matches!(
            restore.action,
            Action::Restore {
                record: Recorded::Kept,
                ..
            }
        ),
        "{restore:?}"
    );
    let whys = steps(&plan, "a");
    let at = |words: &str| whys.iter().position(|why| why.contains(words)).unwrap();
    let order = [
        "put /etc/docker/daemon.json back",
        "restart the engine",
        "wait until",
        "forget what was written to",
    ];
    assert!(
        order.windows(2).all(|two| at(two[0]) < at(two[1])),
        "{whys:#?}"
    );
    for step in plan
        .steps
        .iter()
        .filter(|step| step.why.contains("the engine answers") || step.why.contains("restart"))
    {
        let undo = step.undo.as_ref().unwrap();
        assert!(
            matches!(&undo.actions[0], Action::PutBack { paths } if paths == &["/etc/docker/daemon.json"])
        );
    }
}

/// Cut off between the file and the restart: the engine still runs with the cluster's options.
#[test]
fn a_down_that_was_cut_off_goes_on_with_the_restart() {
    let ours = "{\"labels\": [\"a\"]}";
    let was = "{\"debug\": true}";
    let mut restored = Fake {
        daemon_json: Some(was),
        ..debian("13", "a", 11)
    };
    restored.sections = written(ours, Some(was)).replace(
        "@sums\n|",
        &format!("@sums\n|{}  /etc/docker/daemon.json\n|", "0".repeat(64)),
    );
    let mut absent = debian("13", "a", 11);
    absent.sections = written(ours, None).replace("@sums\n|", "@nothing\n|");
    for host in [restored, absent] {
        let plan = down(&[host], Packages::Keep);
        assert!(
            !plan
                .steps
                .iter()
                .any(|step| matches!(step.action, Action::Restore { .. })),
            "{}",
            shown(&plan)
        );
        // What an earlier run kept may be older than what somebody wrote since.
        assert!(
            plan.steps.iter().all(|step| step.undo.is_none()),
            "{}",
            shown(&plan)
        );
        assert!(
            has(&plan, "a", "restart the engine without") && has(&plan, "a", "forget what was"),
            "{}",
            shown(&plan)
        );
    }
}

/// A swarm of two that `up` made: a manager and a worker.
fn swarm() -> [Fake; 2] {
    [("a", 11, true), ("b", 12, false)].map(|(name, n, manager)| {
        let mut host = Fake { swarm: Some(("s", name, manager)), ..debian("13", name, n) };
        host.sections = "@made\n|swarm\n".to_owned();
        if manager {
            host.sections += r#"@nodes
|{"ID":"a","Description":{"Hostname":"a"},"Spec":{"Role":"manager"},"Status":{"State":"ready"},"ManagerStatus":{"Reachability":"reachable","Leader":true}}
|{"ID":"b","Description":{"Hostname":"b"},"Spec":{"Role":"worker"},"Status":{"State":"ready"}}
@networks
|{"Name":"ingress","Id":"i","Driver":"overlay","Scope":"swarm","Ingress":true}
|{"Name":"demo","Id":"d","Driver":"overlay","Scope":"swarm","Labels":{"docker-cluster":"demo"}}
@swarm-content
"#;
        }
        host
    })
}

#[test]
fn a_swarm_with_nothing_of_others_ends() {
    let plan = down(&swarm(), Packages::Keep);
    assert_eq!(problems(&plan), Vec::<String>::new());
    let noted = plan
        .steps
        .iter()
        .find(|step| step.why.contains("nothing of others is in the swarm"))
        .unwrap()
        .id;
    let leave = |host: &str| {
        plan.steps
            .iter()
            .find(|step| step.host.as_str() == host && step.why == "leave the swarm")
            .unwrap()
    };
    // The manager knows that it may before anybody leaves, and leaves last.
    assert!(
        leave("b").after.contains(&noted) && leave("a").id > noted,
        "{}",
        shown(&plan)
    );
    assert!(
        leave("a").follows.contains(&leave("b").id),
        "{}",
        shown(&plan)
    );
}

#[test]
fn a_swarm_that_holds_what_others_made_does_not_end() {
    let mut hosts = swarm();
    hosts[0].sections += r#"|service "shop_web" {"com.docker.stack.namespace":"shop"}
|service "lone" {}
|secret "shop_pw" {"com.docker.stack.namespace":"shop"}
|secret "topsecret" null
|config "nginx" {}
@networks
|{"Name":"shop_default","Id":"e","Driver":"overlay","Scope":"swarm","Labels":{"com.docker.stack.namespace":"shop"}}
|{"Name":"mine","Id":"m","Driver":"overlay","Scope":"swarm","Labels":{}}
|{"Name":"of-another-cluster","Id":"o","Driver":"overlay","Scope":"swarm","Labels":{"docker-cluster":"other"}}
"#;
    let plan = down(&hosts, Packages::Keep);
    assert_eq!(
        problems(&plan),
        [
            "a: the swarm ends with this, and holds what is not docker-cluster's: the stack shop (service shop_web, secret shop_pw, network shop_default), the service lone, the secret topsecret, the config nginx, the networks mine, of-another-cluster"
        ]
    );
    for remedy in [
        "`docker stack rm shop`",
        "`docker service rm lone`",
        "`docker network rm mine of-another-cluster`",
    ] {
        assert!(
            plan.problems[0].fix.contains(remedy),
            "{}",
            plan.problems[0].fix
        );
    }
    // The way back of a migration ends a swarm as well.
    let back = decided(&inventory(&hosts, "cluster: demo\n"), &hosts, |world| {
        migrate::plan(world, Way::Back)
    });
    assert!(
        problems(&back)
            .iter()
            .any(|what| what.contains("the stack shop")),
        "{:?}",
        problems(&back)
    );
}

#[test]
fn what_a_swarm_holds_must_be_known() {
    // The manager did not tell, in whatever way.
    for (content, words) in [
        ("", "no manager of the swarm of a, b tells what is in it"),
        (
            "@swarm-content\n|service \n",
            "no manager of the swarm of a, b tells what is in it",
        ),
        ("@swarm-content\n!\n", "did not tell all"),
    ] {
        let mut hosts = swarm();
        hosts[0].sections = hosts[0].sections.replace("@swarm-content\n", content);
        let found = problems(&down(&hosts, Packages::Keep));
        assert!(
            found.iter().any(|what| what.contains(words)),
            "{content}: {found:?}"
        );
    }
    // Its quorum is lost: by the certificate alone it is a manager.
    let mut hosts = swarm();
    hosts[0].swarm = Some(("s", "a", false));
    let certificate = certificate("s", "swarm-manager");
    hosts[0].sections = format!("@made\n|swarm\n@swarm-cert\n{certificate}");
    hosts[1].sections = format!(
        "@made\n|swarm\n@swarm-cert\n{}",
        self::certificate("s", "swarm-worker")
    );
    let found = problems(&down(&hosts, Packages::Keep));
    assert!(
        found.len() == 1 && found[0].contains("no manager of the swarm"),
        "{found:?}"
    );
    // Unless an earlier run looked, and was cut off while the managers left.
    hosts[0].sections += "@made\n|swarm-ends s\n";
    let plan = down(&hosts, Packages::Keep);
    assert!(
        problems(&plan).is_empty() && has(&plan, "a", "leave the swarm"),
        "{}",
        shown(&plan)
    );
}

/// A certificate as swarm mode gives to its nodes.
fn certificate(swarm: &str, role: &str) -> String {
    let mut parameters = rcgen::CertificateParams::default();
    parameters
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, swarm);
    parameters
        .distinguished_name
        .push(rcgen::DnType::OrganizationalUnitName, role);
    let pem = parameters
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap()
        .pem();
    pem.lines().map(|line| format!("|{line}\n")).collect()
}

#[test]
fn nodes_outside_of_the_inventory_are_not_stranded() {
    let mut hosts = swarm();
    hosts[0].sections = hosts[0].sections.replace(
        "@networks\n",
        "|{\"ID\":\"x\",\"Description\":{\"Hostname\":\"elsewhere\"},\"Spec\":{\"Role\":\"worker\"},\"Status\":{\"State\":\"down\"}}\n@networks\n",
    );
    let found = problems(&down(&hosts, Packages::Keep));
    assert!(
        found.len() == 1
            && found[0].contains("nodes that are not in the inventory: elsewhere (down)"),
        "{found:?}"
    );
}

#[test]
fn a_swarm_of_others_goes_on() {
    // The swarm was there; `up` joined b to it, and somebody made it a manager since.
    let mut hosts = swarm();
    hosts[0].sections =
        hosts[0].sections.replace("|swarm\n", "|image x\n") + "|service \"lone\" {}\n";
    hosts[1].swarm = Some(("s", "b", true));
    let plan = down(&hosts, Packages::Keep);
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert!(!has(&plan, "a", "leave the swarm"), "{}", shown(&plan));
    assert!(
        plan.notes
            .contains(&"a: it stays in its swarm, which it was in before".to_owned()),
        "{:?}",
        plan.notes
    );
    let at = |words: &str| {
        plan.steps
            .iter()
            .find(|step| step.why.contains(words))
            .unwrap()
    };
    let (demoted, worker) = (at("demote b to a worker"), at("wait until it is a worker"));
    assert!(
        demoted.host.as_str() == "a"
            && worker.after == [demoted.id]
            && at("leave the swarm").id > worker.id
    );
    assert_eq!(
        at("remove b from the swarm").after,
        [at("leave the swarm").id]
    );
}

#[test]
fn containers_on_networks_of_others_hang_on_the_swarm_as_well() {
    let mut hosts = swarm();
    hosts[0].sections += "@networks\n|{\"Name\":\"mine\",\"Id\":\"m\",\"Driver\":\"overlay\",\"Scope\":\"swarm\"}\n@containers\n|\"/guest\" \"running\" \"no\" {} {\"mine\":{}} 0\n";
    let found = problems(&down(&hosts, Packages::Keep));
    assert!(
        found.contains(
            &"a: containers hang on networks that end with this: guest (mine)".to_owned()
        ),
        "{found:?}"
    );
}

#[test]
fn networks_of_others_keep_the_store() {
    let ours = "{\"cluster-store\": \"consul://127.0.0.1:8501\"}";
    let mut host = Fake {
        daemon_json: Some(ours),
        ..debian("11", "a", 11)
    };
    host.sections = written(ours, None);
    host.sections += "@networks\n|{\"Name\":\"demo\",\"Id\":\"d\",\"Driver\":\"overlay\",\"Scope\":\"global\",\"Labels\":{\"docker-cluster\":\"demo\"}}\n";
    assert_eq!(
        problems(&down(std::slice::from_ref(&host), Packages::Keep)),
        Vec::<String>::new()
    );
    host.sections += "|{\"Name\":\"mine\",\"Id\":\"m\",\"Driver\":\"overlay\",\"Scope\":\"global\",\"Labels\":{}}\n";
    let plan = down(std::slice::from_ref(&host), Packages::Keep);
    assert_eq!(
        problems(&plan),
        ["the store ends with this, and holds what is not docker-cluster's: the network mine"]
    );
    // A store that is not docker-cluster's own stays, and so does what is in it.
    let hosts = [host.clone()];
    let external = inventory(
        &hosts,
        "cluster: demo\nstore: {url: 'etcd://10.0.0.5:2379'}\n",
    );
    assert_eq!(
        problems(&decided(&external, &hosts, plan_of)),
        Vec::<String>::new()
    );
    // Somebody who was taken out of the inventory still uses it.
    host.sections = host
        .sections
        .replace("|{\"Name\":\"mine\"", "@x\n|{\"Name\":\"mine\"");
    host.sections += "@consul-path\n|/usr/bin/consul\n@store-members\n|Node Address Status\n|a 10.0.0.11:8301 alive\n|old 10.0.0.19:8301 alive\n|gone 10.0.0.18:8301 left\n";
    let found = problems(&down(&[host], Packages::Keep));
    assert!(
        found.len() == 1 && found[0].contains("is used from the host old, not in the inventory"),
        "{found:?}"
    );
}

fn plan_of(world: &docker_cluster::plan::World<'_>) -> Plan {
    plan(world, Packages::Keep)
}

/// The store still serves an engine that went back to what worked.
#[test]
fn the_store_stops_when_every_engine_is_off_it() {
    let ours = "{\"cluster-store\": \"consul://127.0.0.1:8501\"}";
    let hosts: Vec<Fake> = [("a", 11), ("b", 12)]
        .map(|(name, n)| {
            let mut host = Fake { daemon_json: Some(ours), ..debian("11", name, n) };
            host.sections = written(ours, None)
                + "@units\n|\n|Id=docker-cluster-consul.service\n|LoadState=loaded\n|ActiveState=active\n";
            host
        })
        .to_vec();
    let plan = down(&hosts, Packages::Keep);
    let of = |host: &str, words: &str| {
        plan.steps
            .iter()
            .find(|step| step.host.as_str() == host && step.why.contains(words))
            .unwrap()
    };
    assert_eq!(
        of("a", "stop the store").after,
        [of("b", "forget what was written").id],
        "{}",
        shown(&plan)
    );
}

#[test]
fn a_bridge_that_somebody_uses_stays() {
    let mut host = debian("13", "a", 11);
    host.sections = "@made\n|network docker_gwbridge\n@networks\n|{\"Name\":\"docker_gwbridge\",\"Id\":\"g\",\"Driver\":\"bridge\",\"Scope\":\"local\"}\n".to_owned();
    assert!(has(
        &down(std::slice::from_ref(&host), Packages::Keep),
        "a",
        "remove the bridge docker_gwbridge"
    ));
    host.sections += "@containers\n|\"/guest\" \"running\" \"no\" {} {\"docker_gwbridge\":{}} 0\n";
    let plan = down(&[host], Packages::Keep);
    assert!(!has(&plan, "a", "remove the bridge"), "{}", shown(&plan));
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("docker_gwbridge stays, because guest hang on it"))
    );
}

/// A cluster over Consul on its way to swarm mode.
fn over_consul() -> Vec<Fake> {
    let ours = "{\"cluster-store\": \"consul://127.0.0.1:8501\"}";
    [("a", 11), ("b", 12)]
        .map(|(name, n)| {
            let mut host = Fake { daemon_json: Some(ours), ..debian("11", name, n) };
            host.sections = written(ours, None)
                + "@networks\n|{\"Name\":\"mine\",\"Id\":\"m\",\"Driver\":\"overlay\",\"Scope\":\"global\",\"Labels\":{\"team\":\"x\"},\"IPAM\":{\"Config\":[{\"Subnet\":\"10.91.0.0/16\"}]}}\n";
            host
        })
        .to_vec()
}

#[test]
fn a_migration_writes_down_what_it_adds() {
    let hosts = over_consul();
    let plan = decided(&inventory(&hosts, "cluster: demo\n"), &hosts, |world| {
        migrate::plan(world, Way::ToSwarm { upgrade: false })
    });
    for host in ["a", "b"] {
        let first = plan
            .steps
            .iter()
            .find(|step| step.host.as_str() == host)
            .unwrap();
        let Action::Note { lines } = &first.action else {
            panic!("{}", shown(&plan))
        };
        assert!(lines.contains(&"swarm".to_owned()), "{lines:?}");
    }
    // The networks of others stay theirs: `down` would remove what carries the cluster's label.
    let json = serde_json::to_string(&plan.steps).unwrap();
    assert!(
        json.contains(r#""name":"mine""#) && json.contains(r#""labels":{"team":"x"}"#),
        "{json}"
    );
}

#[test]
fn what_a_migration_made_is_taken_down() {
    let mut hosts = swarm();
    for host in &mut hosts {
        // As the migrations of earlier versions left it.
        host.sections = host.sections.replace("|swarm\n", "|image x\n")
            + "@migration\n|{\"networks\":[],\"containers\":[]}\n@units\n|\n|Id=docker-cluster-consul.service\n|LoadState=loaded\n|ActiveState=inactive\n|UnitFileState=disabled\n";
    }
    let plan = down(&hosts, Packages::Keep);
    for host in ["a", "b"] {
        assert!(
            has(&plan, host, "leave the swarm") && has(&plan, host, "stop the store"),
            "{}",
            shown(&plan)
        );
    }
}

/// A host that left the swarm of the cluster may be in another one later.
#[test]
fn who_leaves_a_swarm_is_out_of_it_in_the_record_too() {
    let inventory = Inventory::parse(
        "hosts:\n  - {name: a, address: 10.0.0.11}\n  - {name: b, address: 10.0.0.12}\n",
        "t",
    )
    .unwrap();
    let target = docker_cluster::inventory::HostName::parse("b").unwrap();
    let plan = decided(&inventory, &swarm(), |world| rm(world, &target));
    let leave = plan
        .steps
        .iter()
        .find(|step| step.why == "leave the swarm")
        .unwrap();
    assert!(
        matches!(
            &leave.action,
            Action::Script {
                name: "swarm-leave",
                ..
            }
        ),
        "{leave:?}"
    );
}

/// Every kind of thing that `up` adds beside files is something that `down` knows to take away.
#[test]
fn every_addition_has_its_leftover() {
    for release in ["11", "13"] {
        let hosts: Vec<Fake> = [("a", 11), ("b", 12)]
            .map(|(name, n)| debian(release, name, n))
            .to_vec();
        for step in plan_for(&hosts, "").steps {
            let Action::Note { lines } = step.action else {
                continue;
            };
            for line in lines {
                let kind = line.split(' ').next().unwrap().to_owned();
                // Who was a node is remembered, and nothing that is added.
                let known = ["network", "image", "swarm", "user", "enabled", "node"];
                assert!(known.contains(&kind.as_str()), "{line}");
            }
        }
    }
}

/// Found by the model: a manager that failed to write it down, after the others had left, was in the way of every later `down`.
#[test]
fn nobody_leaves_a_swarm_before_every_manager_has_written_down_that_it_may_end() {
    let mut hosts = swarm();
    hosts[1].swarm = Some(("s", "b", true));
    let plan = down(&hosts, Packages::Keep);
    let of = |host: &str, words: &str| {
        plan.steps
            .iter()
            .find(|step| step.host.as_str() == host && step.why.contains(words))
            .unwrap()
    };
    for (host, other) in [("a", "b"), ("b", "a")] {
        let written = of(other, "nothing of others is in the swarm").id;
        assert!(
            of(host, "leave the swarm").after.contains(&written),
            "{}",
            shown(&plan)
        );
    }
}
