//! Hosts that do not exist: the text that the facts probe would print on them, for the real parser.

use std::fmt::Write as _;

use docker_cluster::daemon_json::{self, History};
use docker_cluster::decide;
use docker_cluster::facts::{self, Facts};
use docker_cluster::inventory::{Colour, HostName, Inventory};
use docker_cluster::plan::{Plan, Unreached, World};
use docker_cluster::ui::{self, Ui};
use serde_json::{Value, json};

/// The clock of all fake hosts, in seconds since 1970.
pub const NOW: i64 = 1_800_000_000;

/// The unit of Debian's package, as far as it says something about options.
const DEBIAN_UNIT: &str = "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS\nExecReload=/bin/kill -s HUP $MAINPID";

/// A host that does not exist.
#[derive(Debug, Clone)]
pub struct Fake {
    /// Name in the inventory, and host name unless `hostname` says otherwise.
    pub name: &'static str,
    pub hostname: Option<&'static str>,
    pub machine_id: Option<&'static str>,
    pub engine_key: Option<&'static str>,
    pub os: (&'static str, &'static str),
    pub kernel: &'static str,
    pub address: String,
    pub engine: Option<(&'static str, &'static str)>,
    pub up: bool,
    /// Path of Docker's client; empty if there is none.
    pub client: &'static str,
    pub swarm: Option<(&'static str, &'static str, bool)>,
    pub daemon_json: Option<&'static str>,
    pub default_docker: Option<&'static str>,
    /// More of what `docker info` says, or other things.
    pub info: serde_json::Value,
    /// The engine's unit and drop-ins after it, each with its file.
    pub unit: Vec<(&'static str, &'static str)>,
    pub routes: Vec<&'static str>,
    pub tcp: Vec<u16>,
    pub containers: Vec<(&'static str, &'static str)>,
    pub missing_modules: Vec<&'static str>,
    pub clock: i64,
    pub init: &'static str,
    /// Something where there are the programs of iptables.
    pub iptables: &'static str,
    pub sections: String,
}

/// A Debian host with the number `n` as the end of its address.
pub fn debian(release: &'static str, name: &'static str, n: u8) -> Fake {
    let engine = match release {
        "11" => Some(("20.10.5+dfsg1", "consul etcd zookeeper")),
        "12" => Some(("20.10.24+dfsg1", "etcd zookeeper")),
        "13" => Some(("26.1.5+dfsg1", "")),
        _ => None,
    };
    Fake {
        name,
        hostname: None,
        machine_id: None,
        engine_key: None,
        os: ("debian", release),
        kernel: "5.10.0-30-amd64",
        address: format!("10.0.0.{n}"),
        engine,
        up: true,
        client: "/usr/bin/docker",
        swarm: None,
        daemon_json: None,
        default_docker: None,
        info: serde_json::json!({}),
        unit: vec![("/lib/systemd/system/docker.service", DEBIAN_UNIT)],
        routes: Vec::new(),
        tcp: vec![22],
        containers: Vec::new(),
        missing_modules: Vec::new(),
        clock: NOW,
        init: "systemd",
        iptables: "there",
        sections: String::new(),
    }
}

impl Fake {
    /// With a network, as the engine's API has it.
    pub fn with_network(mut self, network: serde_json::Value) -> Self {
        self.sections += &format!("@networks\n|{network}\n");
        self
    }

    /// With one more section of the probe's answer.
    pub fn with(mut self, section: &str, lines: &str) -> Self {
        self.sections += &format!("@{section}\n");
        for line in lines.lines() {
            self.sections += &format!("|{line}\n");
        }
        self
    }

    pub fn bare(mut self) -> Self {
        self.engine = None;
        self.up = false;
        self
    }

    /// What the probe prints.
    fn probe(&self) -> String {
        let mut text = String::new();
        let mut section = |name: &str, lines: &str| {
            let _ = writeln!(text, "@{name}");
            for line in lines.lines() {
                let _ = writeln!(text, "|{line}");
            }
        };
        let hostname = self.hostname.unwrap_or(self.name);
        section("begin", "1");
        section("clock", &self.clock.to_string());
        section(
            "os-release",
            &format!(
                "PRETTY_NAME=\"Debian GNU/Linux {}\"\nID={}\nVERSION_ID=\"{}\"",
                self.os.1, self.os.0, self.os.1
            ),
        );
        section("uname", &format!("Linux {} x86_64", self.kernel));
        section("hostname", hostname);
        section(
            "machine-id",
            &self
                .machine_id
                .map_or_else(|| format!("machine-of-{}", self.name), str::to_owned),
        );
        let modules = [
            "vxlan",
            "bridge",
            "veth",
            "br_netfilter",
            "ip_vs",
            "macvlan",
            "esp4",
        ];
        let modules: Vec<String> = modules
            .iter()
            .map(|name| {
                format!(
                    "{name} {}",
                    if self.missing_modules.contains(name) {
                        "missing"
                    } else {
                        "builtin"
                    }
                )
            })
            .collect();
        section("modules", &modules.join("\n"));
        section(
            "links",
            "1: lo: <LOOPBACK> mtu 65536 qdisc\n2: eth0: <BROADCAST> mtu 1500 qdisc",
        );
        section(
            "addresses",
            &format!(
                "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet {}/24 scope global eth0",
                self.address
            ),
        );
        section(
            "routes",
            &[
                &[
                    "default via 10.0.0.1 dev eth0",
                    "10.0.0.0/24 dev eth0 scope link",
                ],
                &self.routes[..],
            ]
            .concat()
            .join("\n"),
        );
        let tcp: Vec<String> = self
            .tcp
            .iter()
            .map(|port| format!("0: 00000000:{port:04X} 00000000:0000 0A"))
            .collect();
        section("tcp", &tcp.join("\n"));
        section("init", self.init);
        section("iptables", self.iptables);
        section("package-managers", "apt-get");
        if let Some((version, backends)) = self.engine {
            section("dockerd-path", "/usr/sbin/dockerd");
            section("docker-client", self.client);
            section(
                "dockerd-version",
                &format!("Docker version {version}, build x"),
            );
            section("kv-backends", &backends.replace(' ', "\n"));
            section(
                "engine-key",
                &self
                    .engine_key
                    .map_or_else(|| format!("KEY:{}", self.name), str::to_owned),
            );
            let active = if self.up { "active" } else { "inactive" };
            let drop_ins: Vec<&str> = self.unit.iter().skip(1).map(|(file, _)| *file).collect();
            section(
                "units",
                &format!(
                    "Id=docker.service\nLoadState=loaded\nActiveState={active}\nUnitFileState=enabled\nFragmentPath=/lib/systemd/system/docker.service\nDropInPaths={}\nMainPID=1",
                    drop_ins.join(" ")
                ),
            );
            if self.up {
                let swarm = match self.swarm {
                    Some((id, node, manager)) => {
                        serde_json::json!({"LocalNodeState": "active", "NodeID": node, "ControlAvailable": manager, "Managers": i32::from(manager), "Cluster": {"ID": id}})
                    }
                    None => serde_json::json!({"LocalNodeState": "inactive"}),
                };
                let mut info = serde_json::json!({"ServerVersion": version, "Swarm": swarm});
                merge(&mut info, &self.info);
                section("docker-info", &info.to_string());
            }
            let containers: Vec<String> = self
                .containers
                .iter()
                .map(|(name, restart)| format!("\"/{name}\" \"running\" \"{restart}\" {{}} {{}} 0"))
                .collect();
            section("containers", &containers.join("\n"));
        }
        if let Some(json) = self.daemon_json {
            section("daemon-json", json);
        }
        let with_file = |file: &str, text: &str| -> String {
            text.lines()
                .map(|line| format!("{file}\t{line}\n"))
                .collect()
        };
        let unit: String = self
            .unit
            .iter()
            .map(|(file, text)| with_file(file, text))
            .collect();
        section("unit-lines", &unit);
        if let Some(options) = self.default_docker {
            section(
                "environment-files",
                &with_file("/etc/default/docker", options),
            );
        }
        text.push_str(&self.sections);
        text.push_str("@end\n|1\n");
        text
    }

    pub fn facts(&self) -> (HostName, Facts) {
        let facts =
            facts::parse(self.probe().as_bytes(), NOW, NOW).expect("the fake probe is whole");
        (HostName::parse(self.name).unwrap(), facts)
    }
}

/// Puts more into a document, member by member.
fn merge(into: &mut serde_json::Value, more: &serde_json::Value) {
    match (into, more) {
        (serde_json::Value::Object(into), serde_json::Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// The inventory of these hosts, with more settings before `hosts:`.
pub fn inventory(hosts: &[Fake], settings: &str) -> Inventory {
    let list: String = hosts
        .iter()
        .map(|host| format!("  - {{name: {}, address: {}}}\n", host.name, host.address))
        .collect();
    Inventory::parse(&format!("{settings}hosts:\n{list}"), "cluster.yaml").unwrap()
}

/// The plan for these hosts.
pub fn plan_for(hosts: &[Fake], settings: &str) -> Plan {
    plan_without(hosts, &[], settings)
}

/// The plan for these hosts, some of which do not answer.
pub fn plan_without(hosts: &[Fake], silent: &[&str], settings: &str) -> Plan {
    let inventory = inventory(hosts, settings);
    let facts: Vec<(HostName, Facts)> = hosts
        .iter()
        .filter(|host| !silent.contains(&host.name))
        .map(Fake::facts)
        .collect();
    let unreached = silent
        .iter()
        .map(|name| Unreached {
            host: HostName::parse(name).unwrap(),
            error: "no route to it".to_owned(),
            hint: String::new(),
        })
        .collect();
    let first = decide::up(&World::new(&inventory, &facts, unreached));
    assert_eq!(
        serde_json::to_value(&first).unwrap(),
        serde_json::to_value(decide::up(&World::new(
            &inventory,
            &facts,
            first.unreached.clone()
        )))
        .unwrap(),
        "a plan is a pure function"
    );
    first
}

/// The plan for these hosts by an inventory of one's own.
pub fn plan_with(inventory: &Inventory, hosts: &[Fake]) -> Plan {
    decided(inventory, hosts, decide::up)
}

/// What a command decides for these hosts.
pub fn decided(inventory: &Inventory, hosts: &[Fake], decide: impl Fn(&World<'_>) -> Plan) -> Plan {
    let facts: Vec<(HostName, Facts)> = hosts.iter().map(Fake::facts).collect();
    decide(&World::new(inventory, &facts, Vec::new()))
}

/// The plan as a person reads it.
pub fn shown(plan: &Plan) -> String {
    ui::plan(
        plan,
        Ui {
            out: Colour::Off,
            err: Colour::Off,
        },
    )
}

/// What forbids it.
pub fn problems(plan: &Plan) -> Vec<String> {
    assert!(
        plan.problems.is_empty() || plan.steps.is_empty(),
        "a plan with problems has no steps"
    );
    plan.problems
        .iter()
        .map(|problem| {
            format!(
                "{}{}",
                problem
                    .host
                    .as_ref()
                    .map(|host| format!("{host}: "))
                    .unwrap_or_default(),
                problem.what
            )
        })
        .collect()
}

/// What a record says that docker-cluster has set in a `daemon.json`.
pub fn ours(original: &str, written: &str) -> Value {
    let parse = |text: &str| daemon_json::parse(text).unwrap_or_default();
    json!(daemon_json::claim(
        &parse(original),
        &parse(written),
        &History::default()
    ))
}
