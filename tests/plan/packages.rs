//! What packages would cost, and what they bring.

use docker_cluster::decide::migrate::{self, Way};
use docker_cluster::plan::{Action, Plan};

use super::fake::{Fake, debian, decided, inventory, plan_for, problems, shown};

fn bare(release: &'static str, sections: &str) -> Fake {
    Fake {
        sections: sections.to_owned(),
        ..debian(release, "a", 11).bare()
    }
}

/// The arguments of the scripts that install packages.
fn installs(plan: &Plan) -> Vec<String> {
    let args = |action: &Action| match action {
        Action::Script {
            name: "apt-install",
            args,
            ..
        } => Some(args.join(" ")),
        _ => None,
    };
    plan.steps
        .iter()
        .filter_map(|step| args(&step.action))
        .collect()
}

#[test]
fn nothing_is_removed_to_make_room_for_an_engine() {
    let listed = "@candidates
|docker.io:
|  Candidate: 26.1.5+dfsg1-9
@packages
|ii |containerd.io|1.7.2-1
@simulation
|docker.io Remv containerd.io 1.7.2-1
@on-containerd
|kubelet (active)
|/etc/kubernetes
|12 in containerd's namespace k8s.io
";
    let found = problems(&plan_for(&[bare("13", listed)], ""));
    assert_eq!(
        found,
        [
            "a: installing docker.io would remove containerd.io 1.7.2-1; what may need it is there: kubelet (active), /etc/kubernetes, 12 in containerd's namespace k8s.io"
        ]
    );
    // A fresh host has no lists, and dpkg knows what is there.
    for (package, release) in [
        ("containerd.io", "13"),
        ("docker-ce-cli", "11"),
        ("podman-docker", "13"),
        ("moby-engine", "12"),
    ] {
        let found = problems(&plan_for(
            &[bare(release, &format!("@packages\n|ii |{package}|1.0\n"))],
            "",
        ));
        assert!(
            found[0].contains(&format!("installing docker.io would remove {package} 1.0")),
            "{found:?}"
        );
    }
    // One that was removed and has left its configuration is in nobody's way, nor is one that does not exclude it.
    for line in [
        "rc |containerd.io|1.7.2-1",
        "ii |kubelet|1.30",
        "ii |runc|1.1",
    ] {
        assert_eq!(
            problems(&plan_for(
                &[bare("13", &format!("@packages\n|{line}\n"))],
                ""
            )),
            Vec::<String>::new()
        );
    }
    // Where apt's lists are there, its word counts: it knows of packages that go together after all.
    let agreed =
        "@candidates\n|docker.io:\n|  Candidate: 26.1.5\n@packages\n|ii |podman-docker|1.0\n";
    assert_eq!(
        problems(&plan_for(&[bare("13", agreed)], "")),
        Vec::<String>::new()
    );
}

#[test]
fn apt_refuses_before_anything_is_touched() {
    let held = "@candidates\n|docker.io:\n|  Candidate: 26.1.5\n@simulation\n|docker.io E: containerd : Depends: runc but it is not going to be installed\n|docker.io E: Unable to correct problems, you have held broken packages.\n";
    let found = problems(&plan_for(&[bare("13", held)], ""));
    assert!(
        found.len() == 1
            && found[0].contains("a: apt cannot install docker.io: containerd : Depends: runc"),
        "{found:?}"
    );
    let half = "@halves\n|tini\n";
    let plan = plan_for(&[bare("13", half)], "");
    assert!(problems(&plan)[0].contains("dpkg was interrupted there: half installed are tini"));
    assert!(plan.problems[0].fix.contains("dpkg --configure -a"));
    // Half of what docker-cluster installed itself is ended by it.
    let own = "@halves\n|docker.io\n@made\n|package docker.io\n";
    assert_eq!(
        problems(&plan_for(&[bare("13", own)], "")),
        Vec::<String>::new()
    );
    let by_hand = "@by-hand\n|/usr/bin/runc\n";
    assert!(
        problems(&plan_for(&[bare("13", by_hand)], ""))[0]
            .contains("/usr/bin/runc was put there by hand")
    );
    let running = "@units\n|Id=containerd.service\n|LoadState=loaded\n|ActiveState=active\n|FragmentPath=/usr/local/lib/systemd/system/containerd.service\n";
    assert!(
        problems(&plan_for(&[bare("13", running)], ""))[0]
            .contains("a containerd runs there that no package brought")
    );
    // Consul's package is looked at in the same way.
    let store = Fake {
        sections:
            "@candidates\n|consul:\n|  Candidate: 1.8.7\n@simulation\n|consul Remv nomad 1.0\n"
                .to_owned(),
        ..debian("11", "a", 11)
    };
    assert_eq!(
        problems(&plan_for(&[store], "")),
        ["a: installing consul would remove nomad 1.0"]
    );
}

#[test]
fn an_upgrade_costs_no_package_either() {
    let upgrade = |sections: &str| {
        let ours = r#"{"cluster-store": "consul://127.0.0.1:8501"}"#;
        let candidate = "@candidates\n|docker.io:\n|  Candidate: 26.1.5\n";
        let host = Fake {
            daemon_json: Some(ours),
            sections: format!("{candidate}{sections}"),
            ..debian("11", "a", 11)
        };
        let hosts = [host];
        problems(&decided(&inventory(&hosts, ""), &hosts, |world| {
            migrate::plan(world, Way::ToSwarm { upgrade: true })
        }))
    };
    assert_eq!(upgrade(""), Vec::<String>::new());
    assert!(
        upgrade("@simulation\n|docker.io Remv docker-ce 20.10\n")[0]
            .contains("would remove docker-ce 20.10")
    );
    assert!(upgrade("@packages\n|hi |docker.io|20.10.5\n")[0].contains("docker.io is held there"));
}

#[test]
fn packages_that_are_upgraded_on_the_way_are_told() {
    let sections =
        "@candidates\n|docker.io:\n|  Candidate: 26.1.5\n@simulation\n|docker.io Inst runc 1.0\n";
    let plan = plan_for(&[bare("13", sections)], "");
    assert!(
        shown(&plan).contains("; it upgrades runc 1.0"),
        "{}",
        shown(&plan)
    );
}

#[test]
fn the_client_comes_with_the_engine() {
    // Where its lists tell, whatever the distribution: both of one version, or the engine alone where it holds its client.
    let lists = |client: &str| {
        format!(
            "@candidates\n|docker.io:\n|  Candidate: 28.5.2+dfsg1-1\n|docker.io | 28.5.2+dfsg1-1\n{client}"
        )
    };
    let kali = |client: &str| Fake {
        os: ("kali", "2026.1"),
        ..bare("13", &lists(client))
    };
    let split = "|docker-cli | 28.5.2+dfsg1-1\n";
    assert_eq!(
        installs(&plan_for(&[kali(split)], "")),
        ["docker.io=28.5.2+dfsg1-1 docker-cli=28.5.2+dfsg1-1"]
    );
    assert_eq!(
        installs(&plan_for(&[kali("")], "")),
        ["docker.io=28.5.2+dfsg1-1"]
    );
    // The client of another release excludes this engine.
    assert_eq!(
        installs(&plan_for(&[kali("|docker-cli | 29.0-1\n")], "")),
        ["docker.io=28.5.2+dfsg1-1"]
    );
    // Where they do not, by the row of the table.
    let fresh = |os: (&'static str, &'static str), sections: &str| {
        installs(&plan_for(
            &[Fake {
                os,
                ..bare("13", sections)
            }],
            "",
        ))
    };
    assert_eq!(fresh(("raspbian", "13"), ""), ["docker.io docker-cli"]);
    assert_eq!(
        fresh(("debian", ""), "@os-release\n|VERSION_CODENAME=forky\n"),
        ["docker.io docker-cli"]
    );
    assert!(
        problems(&plan_for(
            &[Fake {
                os: ("kali", "2026.1"),
                ..bare("13", "")
            }],
            ""
        ))[0]
            .contains("does not know what")
    );
}

#[test]
fn an_engine_without_its_client_gets_one() {
    for client in ["", "podman /usr/bin/docker"] {
        let hosts = [
            Fake {
                client,
                ..debian("13", "a", 11)
            },
            debian("13", "b", 12),
        ];
        let plan = plan_for(&hosts, "");
        assert_eq!(problems(&plan), Vec::<String>::new());
        assert_eq!(installs(&plan), ["docker-cli"], "{}", shown(&plan));
        let first = plan
            .steps
            .iter()
            .find(|step| step.host.as_str() == "a" && !step.why.starts_with("write down"))
            .unwrap();
        assert!(
            first.why.contains("install the Docker client"),
            "{}",
            shown(&plan)
        );
    }
    let says = "its engine has no client";
    let lacking =
        |host: Fake, settings: &str| problems(&plan_for(&[Fake { client: "", ..host }], settings));
    assert!(lacking(debian("13", "a", 11), "engine: {install: never}\n")[0].contains(says));
    // Debian 12 has no package of the client alone.
    assert!(lacking(debian("12", "a", 11), "")[0].contains(says));
    let ce = "@packages\n|ii |docker-ce|28.0\n@candidates\n|docker-ce-cli:\n|  Candidate: 28.0\n";
    let ce = Fake {
        client: "",
        sections: ce.to_owned(),
        ..debian("12", "a", 11)
    };
    assert_eq!(installs(&plan_for(&[ce], "")), ["docker-ce-cli"]);
    // Podman's command of that name is in the way of the real one.
    let podman = "@candidates\n|docker-cli:\n|  Candidate: 26.1.5\n@simulation\n|docker-cli Remv podman-docker 5.4\n";
    let podman = Fake {
        sections: podman.to_owned(),
        ..debian("13", "a", 11)
    };
    assert!(
        lacking(podman, "")[0].contains("installing docker-cli would remove podman-docker 5.4")
    );
    // Commands that install nothing say what is missing, and not that the engine does not answer.
    let hosts = [
        Fake {
            client: "",
            ..debian("13", "a", 11)
        },
        debian("13", "b", 12),
    ];
    let down = decided(&inventory(&hosts, ""), &hosts, |world| {
        docker_cluster::decide::down::plan(world, docker_cluster::decide::down::Packages::Keep)
    });
    assert!(problems(&down)[0].contains(says), "{:?}", problems(&down));
}

#[test]
fn an_installation_that_was_cut_off_is_ended() {
    let sections = "@installing\n|runc\n|docker.io\n@made\n|package docker.io\n|package runc\n";
    let plan = plan_for(
        &[Fake {
            up: false,
            sections: sections.to_owned(),
            ..debian("13", "a", 11)
        }],
        "",
    );
    assert_eq!(installs(&plan), ["docker.io"], "{}", shown(&plan));
    assert!(
        shown(&plan).contains("end the installation of docker.io that was cut off"),
        "{}",
        shown(&plan)
    );
}
