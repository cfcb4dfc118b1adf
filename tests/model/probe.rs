//! What the facts probe would print on a model host, for the real parser; and certificates, which cost too much to make a new one for
//! every world.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use docker_cluster::checksum::sha256_hex;
use docker_cluster::engines::api;
use docker_cluster::facts::{self, Facts};
use docker_cluster::inventory::{HostName, Inventory};
use docker_cluster::paths;
use docker_cluster::plan::{Action, Plan, Unreached, World};
use docker_cluster::record;
use docker_cluster::secrets::{EnginesCa, StoreBundle};
use serde_json::{Value, json};

use super::files::DAEMON_JSON;
use super::host::{
    AGENT, Cluster, ENGINE_UNIT, GUARD_CONFIG, GUARD_UNIT, HELPER_UNIT, Host, PUSHED, STORE_UNIT,
};
use super::mesh::{FLOOR_UNIT, MESH_CONFIG, MESH_UNIT};

/// The clock of all hosts: certificates are made by this machine's.
static NOW: LazyLock<i64> = LazyLock::new(|| {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
});

/// How many secrets are made in all: a world rarely makes more than two.
const BUNDLES: usize = 3;

/// The secrets that are made as the so-manieth of a world.
pub fn bundle(number: usize) -> StoreBundle {
    static ALL: LazyLock<Vec<StoreBundle>> = LazyLock::new(|| {
        (0..BUNDLES)
            .map(|_| StoreBundle::mint("demo").expect("secrets can be made"))
            .collect()
    });
    ALL[number % BUNDLES].clone()
}

/// The engines' CA that is made as the so-manieth of a world.
pub fn engines_ca(number: usize) -> EnginesCa {
    static ALL: LazyLock<Vec<EnginesCa>> = LazyLock::new(|| {
        (0..BUNDLES)
            .map(|_| EnginesCa::mint("demo").expect("secrets can be made"))
            .collect()
    });
    ALL[number % BUNDLES].clone()
}

/// A text that is made once for each key.
fn once(
    all: &Mutex<HashMap<String, String>>,
    key: String,
    make: impl FnOnce() -> String,
) -> String {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(key).or_insert_with(make).clone()
}

/// The certificate that an action issues.
pub fn certificate_of(bundle: &StoreBundle, action: &Action) -> String {
    static ALL: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);
    let Action::IssueCertificate {
        days,
        common_name,
        dns_names,
        addresses,
        ..
    } = action
    else {
        panic!("{action:?} issues no certificate")
    };
    let key = sha256_hex(format!("{} {action:?}", json!(bundle)).as_bytes());
    once(&ALL, key, || {
        bundle
            .issue(common_name, dns_names, addresses, *days)
            .expect("a certificate")
            .0
    })
}

/// The certificate that an action issues to an engine.
pub fn server_certificate_of(ca: &EnginesCa, action: &Action) -> String {
    static ALL: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);
    let Action::IssueCertificate {
        days,
        common_name,
        dns_names,
        addresses,
        ..
    } = action
    else {
        panic!("{action:?} issues no certificate")
    };
    let key = sha256_hex(format!("{} {action:?}", ca.fingerprint()).as_bytes());
    once(&ALL, key, || {
        ca.issue_server(common_name, dns_names, addresses, *days)
            .expect("a certificate")
            .0
    })
}

/// A certificate as swarm mode gives to its nodes.
fn node_certificate(swarm: &str, role: &str) -> String {
    static ALL: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);
    static KEY: LazyLock<rcgen::KeyPair> =
        LazyLock::new(|| rcgen::KeyPair::generate().expect("a key"));
    once(&ALL, format!("{swarm} {role}"), || {
        let mut parameters = rcgen::CertificateParams::default();
        parameters
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, swarm);
        parameters
            .distinguished_name
            .push(rcgen::DnType::OrganizationalUnitName, role);
        parameters.self_signed(&*KEY).expect("a certificate").pem()
    })
}

/// The facts that a text comes to. Worlds are small, and the same host is in many of them: of a text that was parsed before they are known.
fn parsed(text: String) -> Facts {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Facts>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        let parse = |text: &String| {
            let facts = facts::parse(text.as_bytes(), *NOW, *NOW).expect("the probe is whole");
            assert!(
                facts.incomplete.is_empty(),
                "{:?} in {text}",
                facts.incomplete
            );
            facts
        };
        if let Some(facts) = known.get(&text) {
            return facts.clone();
        }
        let facts = parse(&text);
        known.insert(text, facts.clone());
        facts
    })
}

/// How many texts are known at a time: some ten kilobytes each.
const MOST_KNOWN: usize = 1000;

/// The text of the probe under way.
#[derive(Default)]
struct Text(String);

impl Text {
    fn section(&mut self, name: &str, lines: &str) {
        let _ = writeln!(self.0, "@{name}");
        for line in lines.lines() {
            let _ = writeln!(self.0, "|{line}");
        }
    }

    fn file(&mut self, name: &str, host: &Host, path: &str) {
        if let Some(text) = host.files.text(path) {
            self.section(name, text);
        }
    }
}

/// The unit of Debian's package, as far as it says something about options.
const DEBIAN_UNIT: &str = "/lib/systemd/system/docker.service\t[Service]\n/lib/systemd/system/docker.service\tExecStart=/usr/sbin/dockerd -H fd://";

/// Where the record keeps the options of before, and those that were written last.
fn record_of(path: &str, ending: &str) -> String {
    format!("{}/{}.{ending}", paths::RECORD, record::key(path))
}

impl Cluster {
    /// What `docker info` says.
    pub fn info(&self, at: usize) -> Value {
        let Some(engine) = self.hosts[at].engine.as_ref() else {
            return Value::Null;
        };
        let swarm = match &engine.swarm {
            None => {
                json!({"LocalNodeState": "inactive", "NodeID": "", "ControlAvailable": false, "Error": ""})
            }
            Some((number, id)) => {
                let manages = self.manages(at).is_some();
                let swarm = &self.swarms[*number];
                let lost = swarm.is_manager(id) && !manages;
                let mut all = json!({
                    "LocalNodeState": "active", "NodeID": id, "NodeAddr": self.hosts[at].private(), "ControlAvailable": manages,
                    "Error": if lost { "The swarm does not have a leader" } else { "" },
                });
                if manages {
                    all["Managers"] =
                        json!(swarm.nodes.iter().filter(|node| node.is_manager).count());
                    all["Nodes"] = json!(swarm.nodes.len());
                    all["Cluster"] = json!({"ID": swarm.id});
                }
                all
            }
        };
        let option = |key: &str| engine.effective.get(key).cloned().unwrap_or(json!(""));
        json!({
            "ServerVersion": engine.version, "Swarm": swarm, "DockerRootDir": "/var/lib/docker", "Driver": "overlay2",
            "ClusterStore": option("cluster-store"), "ClusterAdvertise": option("cluster-advertise"),
        })
    }

    fn probe(&self, at: usize) -> String {
        let host = &self.hosts[at];
        let mut text = Text::default();
        text.section("begin", "1");
        text.section("clock", &NOW.to_string());
        let release = host.release;
        text.section(
            "os-release",
            &format!("PRETTY_NAME=\"Debian {release}\"\nID=debian\nVERSION_ID=\"{release}\""),
        );
        text.section("uname", "Linux 5.10.0-30-amd64 x86_64");
        text.section("hostname", &host.name);
        text.section("machine-id", &format!("machine-of-{}", host.name));
        let wireguard = if host.has_module() {
            "\nwireguard builtin"
        } else {
            ""
        };
        text.section(
            "modules",
            &format!("vxlan builtin\nbridge builtin\nveth builtin\nbr_netfilter builtin\nip_vs builtin\nesp4 builtin{wireguard}"),
        );
        let (link, address, route) = match host.mesh.device {
            Some(_) => (
                "\n3: dcwg0: <POINTOPOINT> mtu 1420 qdisc",
                format!(
                    "\n3: dcwg0    inet {}/24 scope global dcwg0",
                    host.private()
                ),
                "\n10.99.0.0/24 dev dcwg0 scope link",
            ),
            None => ("", String::new(), ""),
        };
        text.section(
            "links",
            &format!(
                "1: lo: <LOOPBACK> mtu 65536 qdisc\n2: eth0: <BROADCAST> mtu 1500 qdisc{link}"
            ),
        );
        text.section(
            "addresses",
            &format!(
                "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet {}/16 scope global eth0{address}",
                host.address
            ),
        );
        text.section(
            "routes",
            &format!("default via 10.1.0.1 dev eth0\n10.1.0.0/16 dev eth0 scope link{route}"),
        );
        self.sockets(at, &mut text);
        text.section("init", "systemd");
        if host.has_iptables() {
            text.section("iptables", "there");
        }
        text.section("package-managers", "apt-get");
        text.file("daemon-json", host, DAEMON_JSON);
        text.section("units", &units(host));
        self.engine(at, &mut text);
        self.guard(at, &mut text);
        self.mesh(at, &mut text);
        self.store(at, &mut text);
        packages(host, &mut text);
        files(host, &mut text);
        text.section("end", "1");
        text.0
    }

    fn guard(&self, at: usize, text: &mut Text) {
        let host = &self.hosts[at];
        text.file("fabric-config", host, GUARD_CONFIG);
        if host.rules.as_deref() != host.files.text(GUARD_CONFIG) {
            text.section("fabric-wrong", "the rules are not those of the config");
        }
    }

    fn mesh(&self, at: usize, text: &mut Text) {
        let host = &self.hosts[at];
        let programs = [("wg", "wireguard-tools"), ("wireguard-go", "wireguard-go")];
        let there = programs
            .iter()
            .filter(|(_, package)| host.packages.contains(*package));
        let there: Vec<&str> = there.map(|(program, _)| *program).collect();
        text.section("mesh-programs", &there.join("\n"));
        if host.files.get(MESH_CONFIG).is_none() {
            return;
        }
        text.file("underlay-config", host, MESH_CONFIG);
        let mut lines = format!("key {}\n", host.mesh.key.as_deref().unwrap_or_default());
        for name in self.heard(at) {
            let _ = writeln!(lines, "heard {name} 12 10.1.0.1:51820");
        }
        if let Some(wrong) = host.wrong_with_mesh() {
            let _ = writeln!(lines, "wrong {wrong}");
        }
        text.section("underlay", &lines);
    }

    fn sockets(&self, at: usize, text: &mut Text) {
        let host = &self.hosts[at];
        let mut tcp = vec![22];
        if host.is_active(STORE_UNIT) {
            tcp.extend([8301, 8501]);
            tcp.extend(
                host.agent()
                    .is_some_and(|agent| agent.is_server)
                    .then_some(8300),
            );
        }
        let engine = host.engine.as_ref().filter(|engine| engine.up);
        if let Some(engine) =
            engine.filter(|engine| engine.swarm.is_some() || engine.store_url().is_some())
        {
            tcp.push(7946);
            tcp.extend(engine.swarm.is_some().then_some(2377));
        }
        tcp.extend(engine.filter(|engine| engine.listens).map(|_| 2376));
        let line = |port: &u16| format!("0: 00000000:{port:04X} 00000000:0000 0A\n");
        text.section("tcp", &tcp.iter().map(line).collect::<String>());
    }

    fn engine(&self, at: usize, text: &mut Text) {
        let host = &self.hosts[at];
        let Some(engine) = &host.engine else { return };
        let drop_in = host.files.text(api::DROP_IN);
        let read = drop_in.filter(|_| host.reads_drop_in()).unwrap_or_default();
        let lines = read
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("\n{}\t{line}", api::DROP_IN));
        let lines: String = lines.collect();
        text.section("unit-lines", &format!("{DEBIAN_UNIT}{lines}"));
        text.section("dockerd-path", "/usr/sbin/dockerd");
        text.section("docker-client", "/usr/bin/docker");
        text.section(
            "dockerd-version",
            &format!("Docker version {}, build x", engine.version),
        );
        text.section("kv-backends", &engine.backends.replace(' ', "\n"));
        text.section("engine-key", &format!("KEY:{}", host.name));
        if let Some((number, id)) = &engine.swarm {
            let swarm = &self.swarms[*number];
            let role = if swarm.is_manager(id) {
                "swarm-manager"
            } else {
                "swarm-worker"
            };
            text.section("swarm-cert", &node_certificate(&swarm.id, role));
        }
        if !engine.up {
            return;
        }
        text.section("docker-sock", "there");
        text.section("docker-info", &self.info(at).to_string());
        let join = |lines: Vec<String>| lines.join("\n");
        text.section(
            "containers",
            &join(
                engine
                    .containers
                    .iter()
                    .map(super::engine::Container::line)
                    .collect(),
            ),
        );
        text.section(
            "networks",
            &join(
                self.networks(at)
                    .iter()
                    .map(|network| network.json().to_string())
                    .collect(),
            ),
        );
        text.section(
            "images",
            &join(
                engine
                    .images
                    .iter()
                    .map(|image| format!("{image} sha256:x"))
                    .collect(),
            ),
        );
        if let Some(number) = self.manages(at) {
            let swarm = &self.swarms[number];
            text.section(
                "nodes",
                &join(
                    swarm
                        .nodes
                        .iter()
                        .map(|node| self.node_line(number, node))
                        .collect(),
                ),
            );
            let services = swarm
                .services
                .iter()
                .map(|name| format!("service {} {{}}", json!(name)));
            text.section("swarm-content", &join(services.collect()));
        }
    }

    fn node_line(&self, swarm: usize, node: &super::swarm::Node) -> String {
        let is_up = |host: &Host| {
            host.engine
                .as_ref()
                .is_some_and(|engine| engine.up && engine.swarm == Some((swarm, node.id.clone())))
        };
        let is_ready = !node.is_gone && self.hosts.iter().any(is_up);
        let mut line = json!({
            "ID": node.id, "Description": {"Hostname": node.hostname},
            "Spec": {
                "Role": if node.is_manager { "manager" } else { "worker" }, "Labels": node.labels,
                "Availability": if node.is_drained { "drain" } else { "active" },
            },
            "Status": {"State": if is_ready { "ready" } else { "down" }, "Addr": self.node_address(swarm, node)},
        });
        if node.is_manager {
            line["ManagerStatus"] =
                json!({"Reachability": if is_ready { "reachable" } else { "unreachable" }});
        }
        line.to_string()
    }

    /// Where the managers have seen a node: at its host's address, if it is one of these.
    fn node_address(&self, swarm: usize, node: &super::swarm::Node) -> String {
        let is_its = |host: &&Host| {
            let engine = host.engine.as_ref();
            engine.is_some_and(|engine| engine.swarm == Some((swarm, node.id.clone())))
        };
        let host = self.hosts.iter().find(is_its);
        host.map_or("10.1.255.1", Host::private).to_owned()
    }

    fn store(&self, at: usize, text: &mut Text) {
        let host = &self.hosts[at];
        let Some(path) = host.consul() else { return };
        text.section("consul-path", path);
        text.section(
            "consul-version",
            if path == PUSHED {
                "Consul v1.20.1"
            } else {
                "Consul v1.8.7"
            },
        );
        if host.files.get(&format!("{AGENT}/ca.pem")).is_none() {
            return;
        }
        text.section(
            "store-ready",
            if self.answers(at) {
                "ready"
            } else {
                "Unexpected response code: 500"
            },
        );
        let Some(gossip) = self.agent_store(at) else {
            return;
        };
        let mut members = "Node Address Status\n".to_owned();
        for other in self.hosts.iter().filter(|other| {
            other
                .agent
                .as_ref()
                .is_some_and(|agent| agent.gossip == gossip)
        }) {
            let status = if other.is_active(STORE_UNIT) {
                "alive"
            } else {
                "failed"
            };
            let _ = writeln!(members, "{} {}:8301 {status}", other.name, other.private());
        }
        text.section("store-members", &members);
    }

    /// The facts of these hosts, by the real parser.
    pub fn facts(&self, hosts: &[usize]) -> Vec<(HostName, Facts)> {
        let of = |at: &usize| {
            (
                HostName::parse(&self.hosts[*at].name).expect("a name"),
                parsed(self.probe(*at)),
            )
        };
        hosts.iter().map(of).collect()
    }

    /// What a command decides for the hosts of an inventory, of which these do not answer.
    pub fn decide(
        &self,
        inventory: &Inventory,
        silent: &[usize],
        decide: impl Fn(&World<'_>) -> Plan,
    ) -> Plan {
        let asked: Vec<usize> = inventory
            .hosts
            .iter()
            .map(|host| self.index(host.name.as_str()))
            .collect();
        let (silent, asked): (Vec<usize>, Vec<usize>) =
            asked.into_iter().partition(|at| silent.contains(at));
        let facts = self.facts(&asked);
        let unreached = |at: &usize| Unreached {
            host: HostName::parse(&self.hosts[*at].name).expect("a name"),
            error: "no route to it".to_owned(),
            hint: String::new(),
        };
        decide(&World::new(
            inventory,
            &facts,
            silent.iter().map(unreached).collect(),
        ))
    }
}

fn units(host: &Host) -> String {
    let mut text = String::new();
    for name in [
        ENGINE_UNIT,
        STORE_UNIT,
        HELPER_UNIT,
        GUARD_UNIT,
        MESH_UNIT,
        FLOOR_UNIT,
    ] {
        let unit = host.units.get(name).cloned().unwrap_or_default();
        let Some(file) = host.unit_file(name) else {
            continue;
        };
        let active = if unit.active { "active" } else { "inactive" };
        let state = if unit.enabled { "enabled" } else { "disabled" };
        let reload = if unit.seen.as_deref().is_some_and(|seen| seen != file) {
            "yes"
        } else {
            "no"
        };
        let drop_in = match name == ENGINE_UNIT && host.reads_drop_in() {
            true => api::DROP_IN,
            false => "",
        };
        let _ = write!(
            text,
            "Id={name}\nDropInPaths={drop_in}\nLoadState=loaded\nActiveState={active}\nUnitFileState={state}\nMainPID=1\nInvocationID={}\nNeedDaemonReload={reload}\n\n",
            host.invocation(name)
        );
    }
    text
}

fn packages(host: &Host, text: &mut Text) {
    let present: String = host
        .packages
        .iter()
        .map(|name| format!("ii |{name}|1\n"))
        .collect();
    text.section("packages", &present);
    if host.engine.is_none() || host.consul().is_none() {
        let consul = if host.release == 11 {
            "1.8.7+dfsg1-2"
        } else {
            "(none)"
        };
        let engine = super::world::packaged(host.release);
        text.section(
            "candidates",
            &format!("docker.io:\n  Candidate: {engine}\nconsul:\n  Candidate: {consul}"),
        );
    }
}

fn files(host: &Host, text: &mut Text) {
    let is_told = |path: &str| {
        let folders = [
            "/etc/docker-cluster/",
            "/var/lib/docker-cluster/secrets/",
            "/usr/local/lib/docker-cluster/",
            "/etc/systemd/system/docker-cluster-",
            api::DROP_IN,
        ];
        folders.iter().any(|folder| path.starts_with(folder))
    };
    let told: BTreeMap<_, _> = host
        .files
        .0
        .iter()
        .filter(|(path, _)| is_told(path))
        .collect();
    let stat: String = told
        .iter()
        .map(|(path, file)| format!("{} {} {path}\n", file.mode, file.owner))
        .collect();
    text.section("files", &stat);
    let daemon = host.files.0.iter().filter(|(path, _)| *path == DAEMON_JSON);
    let sums = told
        .into_iter()
        .chain(daemon)
        .map(|(path, file)| format!("{}  {path}\n", file.sum()));
    text.section("sums", &sums.collect::<String>());
    text.file("migration", host, "/var/lib/docker-cluster/migration.json");
    text.file("store-config", host, &format!("{AGENT}/agent.json"));
    text.file("agent-cert", host, &format!("{AGENT}/agent.pem"));
    text.file("engine-cert", host, &format!("{AGENT}/engine.pem"));
    text.file("ca-cert", host, &format!("{AGENT}/ca.pem"));
    text.file("api-ca", host, api::CA);
    text.file("api-cert", host, api::CERT);
    let record = |ending: &'static str| {
        host.files.0.iter().filter_map(move |(path, file)| {
            let key = path
                .strip_prefix(paths::RECORD)?
                .strip_prefix('/')?
                .strip_suffix(ending)?;
            Some((key.to_owned(), file.text.trim_end().to_owned()))
        })
    };
    let lines = |ending| {
        record(ending)
            .map(|(key, text)| format!("{key} {text}\n"))
            .collect::<String>()
    };
    text.section(
        "records",
        &record(".json")
            .map(|(_, text)| text + "\n")
            .collect::<String>(),
    );
    text.section("origins", &lines(".origin"));
    text.section("written-before", &lines(".start"));
    text.section("made", &host.files.made().join("\n"));
    text.file("daemon-json-origin", host, &record_of(DAEMON_JSON, "bytes"));
    let hidden = format!("{}/.{}.written", paths::RECORD, record::key(DAEMON_JSON));
    let written = if host.files.get(&hidden).is_some() {
        hidden
    } else {
        record_of(DAEMON_JSON, "written")
    };
    text.file("daemon-json-written", host, &written);
    if host.users.contains("docker-cluster-store") {
        text.section("user-exists", "docker-cluster-store:x:999");
    }
}
