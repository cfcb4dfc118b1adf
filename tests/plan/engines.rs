//! How the engine of a host is started, and what that means for its options.

use docker_cluster::plan::{Action, Plan};
use serde_json::json;

use super::fake::{Fake, debian, ours, plan_for, problems, shown};
use super::{only_problem, three};

/// The unit of engines.
const ENGINE: &str = "docker.service";

/// The unit of Docker's own package.
const DOCKER_CE: (&str, &str) = (
    "/lib/systemd/system/docker.service",
    "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/c.sock",
);

/// The drop-in that docker-machine writes, and that Docker's documentation tells people to write.
const RESET: (&str, &str) = (
    "/etc/systemd/system/docker.service.d/10-machine.conf",
    "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd",
);

fn one(change: impl FnOnce(&mut Fake)) -> Fake {
    let mut host = debian("13", "a", 11);
    change(&mut host);
    host
}

fn no_problem(host: Fake) -> Plan {
    let plan = plan_for(&[host], "");
    assert_eq!(problems(&plan), [""; 0]);
    plan
}

#[test]
fn hosts_in_the_file_and_a_drop_in_that_takes_the_flag_back() {
    let hosts = Some(r#"{"hosts": ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"]}"#);
    no_problem(one(|host| {
        host.daemon_json = hosts;
        host.unit = vec![DOCKER_CE, RESET];
    }));
    let both = plan_for(
        &[one(|host| {
            host.daemon_json = hosts;
            host.unit = vec![DOCKER_CE];
        })],
        "",
    );
    assert!(
        only_problem(&both)
            .contains("`hosts` is set in /etc/docker/daemon.json and as a flag in /lib/systemd")
    );
}

#[test]
fn a_file_that_no_unit_names_says_nothing() {
    let file = Some("DOCKER_OPTS=\"--log-driver=local\"");
    let option = Some(r#"{"log-driver": "journald"}"#);
    no_problem(one(|host| {
        (host.default_docker, host.daemon_json) = (file, option);
        host.unit = vec![DOCKER_CE];
    }));
    // Debian's unit names it.
    let read = plan_for(
        &[one(|host| {
            (host.default_docker, host.daemon_json) = (file, option)
        })],
        "",
    );
    assert!(
        only_problem(&read).contains("as a flag in /etc/default/docker"),
        "{:?}",
        problems(&read)
    );
}

#[test]
fn flags_in_variables_and_behind_a_backslash_are_flags() {
    for unit in [
        "[Service]\nEnvironment=\"DOCKER_OPTS=--log-driver=local\"\nExecStart=/usr/bin/dockerd $DOCKER_OPTS",
        "[Service]\nExecStart=/usr/bin/dockerd \\\n  --log-driver=local",
        "[Service]\nEnvironment=LOG=local\nExecStart=/usr/bin/dockerd --log-driver ${LOG}",
    ] {
        let unit: &'static str = unit;
        let plan = plan_for(
            &[one(|host| {
                host.daemon_json = Some(r#"{"log-driver": "journald"}"#);
                host.unit = vec![("/etc/systemd/system/docker.service", unit)];
            })],
            "",
        );
        assert!(
            only_problem(&plan).contains("`log-driver` is set in"),
            "{unit}"
        );
    }
    // A script: what runs tells.
    let script = one(|host| {
        host.daemon_json = Some(r#"{"log-driver": "journald"}"#);
        host.unit = vec![(
            "/etc/systemd/system/docker.service",
            "[Service]\nExecStart=/opt/start-docker",
        )];
    });
    let script = script.with(
        "engine-process",
        "pid 1\nexe /usr/bin/dockerd\nunit docker.service\narg dockerd\narg --log-driver=local",
    );
    assert!(
        only_problem(&plan_for(&[script], ""))
            .contains("as a flag in the command line of the running engine")
    );
}

#[test]
fn another_options_file() {
    let elsewhere = |daemon_json| {
        one(|host| {
            host.daemon_json = daemon_json;
            host.unit = vec![(
                "/u",
                "[Service]\nExecStart=/usr/bin/dockerd --config-file /srv/docker.json",
            )];
        })
    };
    let settings = "engine: {options: {mtu: 1400}}\n";
    let plan = plan_for(&[elsewhere(None)], settings);
    assert!(
        only_problem(&plan).contains("its engine reads its options from /srv/docker.json"),
        "{:?}",
        problems(&plan)
    );
    // Nothing is to be written there: nothing is wrong.
    no_problem(elsewhere(None));
}

#[test]
fn a_byte_order_mark_is_for_engines_that_take_it() {
    let marked = Some("\u{feff}{\"log-driver\": \"journald\"}");
    no_problem(one(|host| host.daemon_json = marked));
    let mut old = three("11");
    old[0].daemon_json = marked;
    assert!(only_problem(&plan_for(&old, "")).contains("begins with a byte order mark"));
}

#[test]
fn live_restore_excludes_swarm_mode_wherever_it_is_said() {
    let flag = one(|host| {
        host.unit = vec![("/u", "[Service]\nExecStart=/usr/bin/dockerd --live-restore")]
    });
    assert!(only_problem(&plan_for(&[flag], "")).contains("has `live-restore` on (/u)"));
    let off = one(|host| {
        host.unit = vec![(
            "/u",
            "[Service]\nExecStart=/usr/bin/dockerd --live-restore=false",
        )]
    });
    no_problem(off);
    let said = plan_for(&[one(|_| {})], "engine: {options: {live-restore: true}}\n");
    assert!(
        only_problem(&said).contains("`engine.options` has `live-restore: true`"),
        "{:?}",
        problems(&said)
    );
    let nftables = one(|host| host.daemon_json = Some(r#"{"firewall-backend": "nftables"}"#));
    assert!(only_problem(&plan_for(&[nftables], "")).contains("`firewall-backend: nftables`"));
    // A store by flags excludes it as well.
    let store = one(|host| {
        host.unit = vec![(
            "/u",
            "[Service]\nExecStart=/usr/bin/dockerd --cluster-store=consul://x:8500",
        )];
    });
    let found = problems(&plan_for(&[store], "network: {fabric: swarm}\n"));
    assert!(
        found
            .iter()
            .any(|what| what.contains("set up for an overlay over a store")),
        "{found:?}"
    );
}

#[test]
fn what_is_advertised_already_is_adopted() {
    let options = |advertise: &str| -> Option<&'static str> {
        let text =
            json!({"cluster-store": "etcd://10.0.0.5:2379/docker", "cluster-advertise": advertise})
                .to_string();
        Some(Box::leak(text.into_boxed_str()))
    };
    let settings = "store: {url: 'etcd://10.0.0.5:2379/docker'}\n";
    for advertise in ["eth0:2376", "10.0.0.11:2375", "10.0.0.11:2376"] {
        let mut host = debian("12", "a", 11);
        host.daemon_json = options(advertise);
        host.info = json!({"ClusterStore": "etcd://10.0.0.5:2379/docker", "ClusterAdvertise": advertise.replace("eth0", "10.0.0.11")});
        let plan = plan_for(&[host], settings);
        assert_eq!(problems(&plan), [""; 0], "{advertise}");
        assert!(
            !shown(&plan).contains("daemon.json"),
            "{advertise}: {}",
            shown(&plan)
        );
    }
    let mut host = debian("12", "a", 11);
    host.daemon_json = options("10.9.9.9:2376");
    assert!(
        only_problem(&plan_for(&[host], settings))
            .contains("`cluster-advertise` is \"10.9.9.9:2376\"")
    );
}

#[test]
fn the_engine_that_has_the_socket_counts() {
    let snap = |daemon_json| {
        let host = one(|host| {
            host.unit = Vec::new();
            host.daemon_json = daemon_json;
        });
        host.with(
            "engine-process",
            "pid 77\nexe /snap/docker/2/bin/dockerd\nunit snap.docker.dockerd.service\narg dockerd",
        )
    };
    let plan = plan_for(&[snap(None)], "engine: {options: {mtu: 1400}}\n");
    let problem = only_problem(&plan);
    assert!(
        problem.contains("/snap/docker/2/bin/dockerd of the unit snap.docker.dockerd.service"),
        "{problem}"
    );
    // It can be part of a swarm as it is: neither its options nor its start are touched.
    let plan = no_problem(snap(None));
    assert!(
        plan.steps
            .iter()
            .all(|step| !matches!(step.action, Action::Service { unit, .. } if unit == ENGINE)),
        "{}",
        shown(&plan)
    );
    // Stopped, with no unit that could start it.
    let mut stopped = one(|host| host.up = false);
    stopped.sections +=
        "@units\n|\n|Id=docker.service\n|LoadState=not-found\n|ActiveState=inactive\n";
    assert!(
        only_problem(&plan_for(&[stopped], ""))
            .contains("there is no unit docker.service that starts it")
    );
}

#[test]
fn an_engine_that_tells_no_version_is_not_one_that_is_missing() {
    let host = one(|host| host.engine = Some(("library-import", "")));
    assert!(
        only_problem(&plan_for(&[host], ""))
            .contains("tells no version that docker-cluster understands")
    );
}

#[test]
fn options_that_would_hide_what_an_engine_has() {
    let host = || {
        one(|host| host.info = json!({"DockerRootDir": "/var/lib/docker", "Driver": "overlay2"}))
    };
    let plan = plan_for(&[host()], "engine: {options: {data-root: /srv/docker}}\n");
    assert!(
        only_problem(&plan)
            .contains("without the containers, images and volumes that it has in /var/lib/docker")
    );
    let plan = plan_for(&[host()], "engine: {options: {storage-driver: overlay2}}\n");
    assert_eq!(problems(&plan), [""; 0], "it is what it has");
    let new = plan_for(
        &[debian("13", "a", 11).bare()],
        "engine: {options: {data-root: /srv/docker}}\n",
    );
    assert_eq!(problems(&new), [""; 0], "a new engine has nothing to hide");
    // The same the other way: what a new engine was given is not taken from one that has used it since.
    let text = r#"{"data-root": "/srv/docker"}"#;
    let used = one(|host| {
        host.daemon_json = Some(text);
        host.info = json!({"DockerRootDir": "/srv/docker", "Driver": "overlay2"});
    });
    let plan = plan_for(&[record_of_options(used, "{}", text)], "");
    assert!(
        only_problem(&plan)
            .contains("to take `data-root` out of /etc/docker/daemon.json would make")
    );
}

/// What the host's record says of `daemon.json`.
fn record_of_options(host: Fake, original: &str, written: &str) -> Fake {
    let ours = ours(original, written);
    let record = json!({"path": "/etc/docker/daemon.json", "sha256": "0", "source": "s", "by": "me", "at": 1, "ours": ours});
    host.with("records", &record.to_string())
        .with("daemon-json-origin", original)
        .with("daemon-json-written", written)
}

#[test]
fn options_are_ours_or_theirs_one_by_one() {
    let host = |now: &'static str| {
        record_of_options(
            one(|host| host.daemon_json = Some(now)),
            "{}",
            r#"{"mtu": 1400, "debug": true}"#,
        )
    };
    // Theirs and ours mixed: ours may change, and goes when it is not wanted any more.
    let mixed = host("{\n  \"mtu\": 1400,\n  \"debug\": false,\n  \"dns\": []\n}");
    let plan = plan_for(
        std::slice::from_ref(&mixed),
        "engine: {options: {mtu: 1450}}\n",
    );
    assert_eq!(problems(&plan), [""; 0]);
    assert!(shown(&plan).contains("\"mtu\": 1450"), "{}", shown(&plan));
    let plan = plan_for(std::slice::from_ref(&mixed), "");
    assert!(
        shown(&plan).contains("what the inventory does not set any more"),
        "{}",
        shown(&plan)
    );
    assert!(
        shown(&plan).contains("-  \"mtu\": 1400"),
        "{}",
        shown(&plan)
    );
    assert!(!shown(&plan).contains("-  \"debug\""), "{}", shown(&plan));
    let plan = plan_for(&[mixed], "engine: {options: {mtu: 1400, debug: true}}\n");
    assert!(
        only_problem(&plan)
            .contains("`debug` is false in /etc/docker/daemon.json, and the cluster needs true")
    );
    // A record of before it told the keys: only the store's are surely ours.
    let text = r#"{"mtu": 1400, "cluster-store": "consul://x"}"#;
    let record = json!({"path": "/etc/docker/daemon.json", "sha256": "0", "source": "s", "by": "me", "at": 1});
    let old = one(|host| host.daemon_json = Some(text))
        .with("records", &record.to_string())
        .with("daemon-json-written", text);
    let plan = plan_for(&[old], "");
    assert!(!shown(&plan).contains("-  \"mtu\""), "{}", shown(&plan));
}

#[test]
fn options_that_are_written_and_not_read_yet_restart_the_engine() {
    let host = |start: &str| {
        let mut host = one(|host| host.daemon_json = Some(r#"{"mtu": 1400}"#));
        host.sections += "@units\n|\n|Id=docker.service\n|LoadState=loaded\n|ActiveState=active\n|UnitFileState=enabled\n|InvocationID=aaaa\n";
        let host = record_of_options(host, "{}", r#"{"mtu": 1400}"#);
        host.with("written-before", &format!("5a7b8c1bcffb2a0f {start}"))
    };
    let settings = "engine: {options: {mtu: 1400}}\n";
    let restarts = |host: Fake| {
        let plan = plan_for(&[host], settings);
        assert_eq!(problems(&plan), [""; 0]);
        plan.steps.iter().any(|step| {
            matches!(
                step.action,
                Action::Service {
                    verb: docker_cluster::plan::Verb::Restart,
                    unit: ENGINE,
                    ..
                }
            )
        })
    };
    assert!(
        restarts(host("aaaa")),
        "the same start as when the file was written"
    );
    assert!(!restarts(host("bbbb")), "it was restarted since");
}

/// What an engine in the swarm `s` keeps, as swarmkit writes it.
fn node_certificate() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "s");
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationalUnitName, "swarm-worker");
    params
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

#[test]
fn a_stopped_engine_is_started_before_anything_is_decided() {
    let mut hosts = three("13");
    for host in &mut hosts {
        host.swarm = Some(("s", host.name, host.name == "a"));
    }
    hosts[1].up = false;
    // Only its certificate tells that it is in a swarm.
    hosts[1] = hosts[1]
        .clone()
        .with("swarm-cert", &node_certificate())
        .with(
            "units",
            "\nId=docker.socket\nLoadState=loaded\nActiveState=active",
        );
    let plan = plan_for(&hosts, "");
    assert_eq!(problems(&plan), [""; 0]);
    assert!(
        plan.steps.iter().all(|step| step.host.as_str() == "b"),
        "{}",
        shown(&plan)
    );
    assert!(
        shown(&plan).contains("which its socket would start at the first question"),
        "{}",
        shown(&plan)
    );
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("b: stopped, and in a swarm")),
        "{:?}",
        plan.notes
    );
    // What it has is not claimed as ours.
    let lines = serde_json::to_string(&plan.steps).unwrap();
    assert!(
        !lines.contains("docker_gwbridge") && !lines.contains("image nginx"),
        "{lines}"
    );
}
