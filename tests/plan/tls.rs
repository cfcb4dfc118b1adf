//! Engines that listen on the network (`engine.api: tls`).

use docker_cluster::checksum::sha256_hex;
use docker_cluster::decide::{authority, down};
use docker_cluster::engines::api;
use docker_cluster::plan::{Action, Plan};
use docker_cluster::record;
use docker_cluster::secrets::EnginesCa;
use serde_json::json;

use super::fake::{Fake, NOW, debian, decided, inventory, plan_for, plan_without, problems, shown};
use super::only_problem;

const TLS: &str = "network: {fabric: nat, subnet: 192.0.2.0/24}\nengine: {api: tls}\n";

/// The unit of Docker's own package.
const DOCKER_CE: &str = "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/c.sock";

/// What a host has whose engine listens: made by the real parts, so that the plan finds nothing to do.
pub struct Listening {
    pub ca: EnginesCa,
    days: i64,
}

impl Listening {
    pub fn new() -> Self {
        Self {
            ca: EnginesCa::mint("cluster").unwrap(),
            days: 3650,
        }
    }

    /// What the sections of the probe say on a keeper of the CA.
    pub fn on(&self, host: Fake) -> Fake {
        let address = host.address.clone();
        let (cert, _) = self
            .ca
            .issue_server("engine", &[], &[address.parse().unwrap()], self.days)
            .unwrap();
        let flags = [
            format!("-H tcp://{address}:2376"),
            "--tlsverify".to_owned(),
            format!("--tlscacert={}", api::CA),
            format!("--tlscert={}", api::CERT),
            format!("--tlskey={}", api::KEY),
        ];
        let (_, facts) = host.facts();
        let drop_in = api::drop_in(&facts, &flags).unwrap();
        let bundle = self.ca.kept();
        let texts = [
            (api::CA, "644", self.ca.cert()),
            (api::CERT, "644", &cert),
            (api::KEY, "600", "a key"),
            (api::DROP_IN, "644", &drop_in),
            (docker_cluster::paths::ENGINES_CA, "600", bundle.expose()),
        ];
        let sum = |text: &str| sha256_hex(text.as_bytes());
        let each = |line: &dyn Fn(&str, &str, &str) -> String| {
            texts
                .map(|(path, mode, text)| line(path, mode, text))
                .join("\n")
        };
        let source = |path: &str| fingerprint(path).unwrap_or_default();
        let records = each(&|path, _, text| {
            let secrets = sum(bundle.expose());
            json!({"path": path, "sha256": sum(text), "source": source(path), "secrets": secrets, "by": "x", "at": 1})
                .to_string()
        });
        let mut host = host;
        host.tcp.push(2376);
        let read: Vec<&str> = drop_in
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        host.unit
            .push((api::DROP_IN, Box::leak(read.join("\n").into_boxed_str())));
        host.with(
            "files",
            &each(&|path, mode, _| format!("{mode} root:root {path}")),
        )
        .with(
            "sums",
            &each(&|path, _, text| format!("{}  {path}", sum(text))),
        )
        .with("records", &records)
        .with("images", "nginx:alpine sha256:1")
        .with("api-ca", self.ca.cert())
        .with("api-cert", &cert)
    }
}

/// The fingerprint of a file with slots, as the plan that writes it has it.
fn fingerprint(path: &str) -> Option<String> {
    let plan = plan_for(&[debian("13", "a", 11)], TLS);
    plan.steps.iter().find_map(|step| match &step.action {
        Action::PutFile(file) if file.path == path => Some(file.content.fingerprint()),
        _ => None,
    })
}

fn why(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.why.as_str()).collect()
}

#[test]
fn engines_of_a_cluster_begin_to_listen() {
    let mut hosts = [
        debian("11", "a", 11),
        debian("13", "b", 12).bare(),
        debian("13", "c", 13),
    ];
    hosts[1] = hosts[1]
        .clone()
        .with("candidates", "docker.io:\n  Candidate: 26.1.5+dfsg1-9");
    let plan = plan_for(&hosts, TLS);
    insta::assert_snapshot!(shown(&plan));
    // The engine that is there is told nothing before the one before it is well.
    let text = serde_json::to_string(&plan).unwrap();
    assert!(
        text.contains("--tlsverify") && text.contains("tcp://10.0.0.12:2376"),
        "{text}"
    );
    assert!(
        !text.contains("PRIVATE KEY"),
        "secrets are no part of a plan"
    );
}

#[test]
fn what_is_right_is_left_alone() {
    let made = Listening::new();
    let hosts = [
        made.on(debian("13", "a", 11)),
        made.on(debian("11", "b", 12)),
    ];
    let plan = plan_for(&hosts, TLS);
    assert!(
        plan.is_empty() && problems(&plan).is_empty(),
        "{}",
        shown(&plan)
    );
}

#[test]
fn the_unit_is_respected_and_watched() {
    let text = |unit: &'static str| {
        let mut host = debian("13", "a", 11);
        host.unit = vec![("/lib/systemd/system/docker.service", unit)];
        api::drop_in(&host.facts().1, &["-H tcp://10.0.0.11:2376".to_owned()])
    };
    let line = |unit| text(unit).unwrap().lines().last().unwrap().to_owned();
    assert_eq!(
        line(DOCKER_CE),
        "ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/c.sock -H tcp://10.0.0.11:2376"
    );
    assert_eq!(
        line("[Service]\nExecStart=/usr/bin/dockerd --debug"),
        "ExecStart=/usr/bin/dockerd --debug -H unix:///var/run/docker.sock -H tcp://10.0.0.11:2376",
        "once it is told where to listen, it listens nowhere else"
    );
    assert_eq!(text("[Service]\nExecStart=/opt/start-docker"), None);
    // A unit that an upgrade has changed: the drop-in follows.
    let made = Listening::new();
    let mut host = made.on(debian("13", "a", 11));
    host.unit[0].1 = DOCKER_CE;
    let plan = plan_for(&[host], TLS);
    let steps = why(&plan);
    assert!(
        steps[0].starts_with("let its engine listen on tcp://10.0.0.11:2376"),
        "{steps:?}"
    );
    assert!(
        steps
            .iter()
            .any(|why| why.starts_with("restart the engine")),
        "{steps:?}"
    );
}

#[test]
fn what_somebody_else_decides_is_a_problem() {
    let with = |change: &dyn Fn(&mut Fake)| {
        let mut host = debian("13", "a", 11);
        change(&mut host);
        only_problem(&plan_for(&[host], TLS))
    };
    let machine = "[Service]\nExecStart=/usr/bin/dockerd -H unix:///var/run/docker.sock --tlsverify --tlscacert /etc/docker/ca.pem";
    let both = plan_for(
        &[{
            let mut host = debian("13", "a", 11);
            host.unit = vec![("/10-machine.conf", machine)];
            host
        }],
        TLS,
    );
    assert_eq!(
        problems(&both),
        [
            "a: `--tlsverify` is a flag in /10-machine.conf: somebody else decides over the TLS of its engine",
            "a: `--tlscacert` is a flag in /10-machine.conf: somebody else decides over the TLS of its engine"
        ]
    );
    let hosts = with(&|host| {
        host.daemon_json = Some(r#"{"hosts": ["unix:///var/run/docker.sock"]}"#);
        host.unit = vec![("/u", "[Service]\nExecStart=/usr/bin/dockerd")];
    });
    assert!(
        hosts.contains("`hosts` is set in /etc/docker/daemon.json"),
        "{hosts}"
    );
    let plain = with(&|host| host.default_docker = Some("DOCKER_OPTS=\"-H tcp://127.0.0.1:2375\""));
    assert!(
        plain.contains("listens on tcp://127.0.0.1:2375 already (/etc/default/docker)"),
        "{plain}"
    );
    let taken = with(&|host| host.tcp.push(2376));
    assert!(taken.contains("TCP port 2376 is taken"), "{taken}");
    let script = with(&|host| host.unit = vec![("/u", "[Service]\nExecStart=/opt/start-docker")]);
    assert!(
        script.contains("does not start the engine itself"),
        "{script}"
    );
}

#[test]
fn an_address_that_the_host_has_not_is_a_problem() {
    let of = |host: &str| {
        let text = format!("engine: {{api: tls}}\nhosts: [{host}]\n");
        let inventory = docker_cluster::inventory::Inventory::parse(&text, "x").unwrap();
        let plan = decided(
            &inventory,
            &[debian("13", "a", 11)],
            docker_cluster::decide::up,
        );
        problems(&plan).join("\n")
    };
    assert!(
        of("{name: a, address: 203.0.113.9}").contains("203.0.113.9 is none of its own addresses")
    );
    let named = of("{name: a, address: 10.0.0.11, engine: {address: 10.0.0.99}}");
    assert!(
        named.contains("listen on 10.0.0.99, which is on none of its interfaces"),
        "{named}"
    );
    assert_eq!(
        of("{name: a, address: 203.0.113.9, engine: {address: 0.0.0.0}}"),
        ""
    );
}

#[test]
fn certificates_near_their_end_are_renewed_with_a_restart() {
    let mut made = Listening::new();
    // Certificates begin when they are made, and fake hosts have a clock of their own.
    let today = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    made.days = (NOW - today) / 86_400 + 20;
    let plan = plan_for(&[made.on(debian("13", "a", 11))], TLS);
    let steps = why(&plan);
    assert_eq!(steps[0], "read the CA of the engines, which it keeps");
    assert!(
        steps[1].starts_with("renew its engine's certificate, which expires in"),
        "{steps:?}"
    );
    assert!(steps[2].starts_with("restart the engine"), "{steps:?}");
    made.days -= 30;
    let plan = plan_for(&[made.on(debian("13", "a", 11))], TLS);
    assert!(why(&plan)[1].contains("has expired"), "{:?}", why(&plan));
}

#[test]
fn the_ca_is_believed_to_be_where_it_is_kept_only() {
    let (made, other) = (Listening::new(), Listening::new());
    let hosts = [
        made.on(debian("13", "a", 11)),
        other.on(debian("13", "b", 12)),
    ];
    let plan = plan_for(&hosts, TLS);
    assert!(
        only_problem(&plan).contains("keep different CAs"),
        "{:?}",
        problems(&plan)
    );
    // Nobody who answers has it, and who does not may.
    let hosts = [debian("13", "a", 11), debian("13", "b", 12)];
    let plan = plan_without(&hosts, &["b"], TLS);
    assert!(
        only_problem(&plan).contains("may have the CA"),
        "{:?}",
        problems(&plan)
    );
    // A host that is none of those that keep it says that it has one.
    let new = |name, n| debian("13", name, n);
    let hosts = [
        new("a", 11),
        new("b", 12),
        new("c", 13),
        made.on(new("d", 14)),
    ];
    let plan = plan_for(&hosts, TLS);
    assert!(
        only_problem(&plan).contains("none of the first 3 hosts"),
        "{:?}",
        problems(&plan)
    );
}

#[test]
fn a_ca_of_the_persons_own_takes_the_place_of_the_one_on_hosts() {
    let own = EnginesCa::mint("mine").unwrap();
    let settings = TLS.replace("api: tls", "api: tls, ca: c/ca.pem, ca_key: c/ca-key.pem");
    let hosts = [
        Listening::new().on(debian("13", "a", 11)),
        debian("13", "b", 12),
    ];
    let mut inventory = inventory(&hosts, &settings);
    inventory.engine.ca.as_mut().unwrap().text = own.cert().to_owned();
    let plan = decided(&inventory, &hosts, docker_cluster::decide::up);
    assert!(problems(&plan).is_empty(), "{}", shown(&plan));
    let of = |host: &str| -> Vec<&str> {
        let steps = plan.steps.iter().filter(|step| step.host.as_str() == host);
        steps.map(|step| step.why.as_str()).collect()
    };
    assert_eq!(
        of("a")[..5],
        [
            "remove /var/lib/docker-cluster/secrets/engines.pem, the CA of before",
            "read the CA of the engines, which is on this machine",
            "trust the CA of the engines' certificates",
            "issue its engine a certificate",
            "restart the engine with its new options",
        ]
    );
    let text = serde_json::to_string(&plan.steps).unwrap();
    assert!(
        text.contains("c/ca-key.pem"),
        "where its key is, and not what: {text}"
    );
    assert!(!text.contains("PRIVATE KEY"));
    let told = |plan: &Plan| {
        plan.notes
            .iter()
            .any(|note| note.contains("can read c/ca-key.pem (cluster.yaml:"))
    };
    assert!(!told(&plan));
    inventory.engine.ca.as_mut().unwrap().key.everybody_reads = true;
    assert!(told(&decided(
        &inventory,
        &hosts,
        docker_cluster::decide::up
    )));
    let kept = |why: &&str| why.contains("keep the engines' CA");
    assert_eq!(
        of("b").iter().find(|why| kept(why)),
        None,
        "no host gets the key"
    );
}

#[test]
fn a_ca_that_cannot_sign_is_told_before_anything_is_done() {
    let own = EnginesCa::mint("mine").unwrap();
    let settings = TLS.replace("api: tls", "api: tls, ca: c/ca.pem, ca_key: c/ca-key.pem");
    let why = "the CA of the engines in c/ca-key.pem cannot be used: it is encrypted";
    let with = |hosts: &[Fake], text: &str| {
        let mut inventory = inventory(hosts, &settings);
        let ca = inventory.engine.ca.as_mut().unwrap();
        (ca.text, ca.flaw) = (text.to_owned(), Some(why.to_owned()));
        decided(&inventory, hosts, docker_cluster::decide::up)
    };
    let bare = [debian("13", "a", 11), debian("13", "b", 12)];
    for text in [own.cert(), ""] {
        assert!(only_problem(&with(&bare, text)).contains(why));
    }
}

#[test]
fn a_new_ca_goes_everywhere_or_nowhere() {
    let made = Listening::new();
    let hosts = [
        made.on(debian("13", "a", 11)),
        made.on(debian("11", "b", 12)),
    ];
    let inventory = inventory(&hosts, TLS);
    insta::assert_snapshot!(shown(&decided(&inventory, &hosts, authority::plan)));
    let silent = {
        let facts: Vec<_> = hosts[..1].iter().map(Fake::facts).collect();
        let unreached = vec![docker_cluster::plan::Unreached {
            host: docker_cluster::inventory::HostName::parse("b").unwrap(),
            error: "no route to it".to_owned(),
            hint: String::new(),
        }];
        authority::plan(&docker_cluster::plan::World::new(
            &inventory, &facts, unreached,
        ))
    };
    assert!(
        only_problem(&silent).contains("would go on to trust"),
        "{:?}",
        problems(&silent)
    );
}

#[test]
fn who_does_not_listen_any_more_has_nothing_left() {
    let made = Listening::new();
    let hosts = [made.on(debian("13", "a", 11))];
    let settings = "network: {fabric: nat, subnet: 192.0.2.0/24}\n";
    let plan = plan_for(&hosts, settings);
    let text = serde_json::to_string(&plan).unwrap();
    for path in api::FILES
        .iter()
        .chain([&docker_cluster::paths::ENGINES_CA])
    {
        assert!(
            text.contains(&format!("\"path\":\"{path}\"")),
            "{path}: {text}"
        );
    }
    assert!(
        text.contains(&record::key(api::DROP_IN)),
        "its record goes last"
    );
    // `down` does the same, whatever the inventory says.
    let inventory = inventory(&hosts, settings);
    let down = decided(&inventory, &hosts, |world| {
        down::plan(world, down::Packages::Keep)
    });
    assert!(
        why(&down).contains(&"let its engine listen on the network no more"),
        "{}",
        shown(&down)
    );
}
