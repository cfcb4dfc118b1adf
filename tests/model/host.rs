//! Model hosts, and what each action of a plan does to them.
//!
//! As much of a host as plans look at: the engine with its options in effect, files with their record, units, packages, users, and what
//! several hosts share: swarms and stores. What takes time on real hosts is a step that waits until the others have got further.

use std::collections::{BTreeMap, BTreeSet};

use docker_cluster::daemon_json::Options;
use docker_cluster::engines::api;
use docker_cluster::labels::KEEPER_LABEL;
use docker_cluster::paths::ENGINES_CA;
use docker_cluster::plan::{
    Action, Authority, ConsulCall, Content, EngineCall, NetworkDriver, NodeUpdate, SecretsFrom,
    Slot, SwarmRole,
};
use docker_cluster::secrets::{EnginesCa, Secret, Slots, StoreBundle};
use serde_json::Value;

use super::engine::{Container, Engine, Network};
use super::files::{DAEMON_JSON, Files, Reach, Written};
use super::mesh::{FLOOR_UNIT, MESH_SCRIPT, MESH_UNIT, Mesh};
use super::probe::{bundle, certificate_of, engines_ca, server_certificate_of};
use super::store::Store;
use super::swarm::{Node, Swarm};
use super::world::{backends, packaged};

pub const ENGINE_UNIT: &str = "docker.service";
pub const STORE_UNIT: &str = "docker-cluster-consul.service";
pub const HELPER_UNIT: &str = "docker-cluster-reconcile.service";
pub const GUARD_UNIT: &str = "docker-cluster-fabric.service";
pub const GUARD_CONFIG: &str = "/etc/docker-cluster/fabric/config";
pub const GUARD_SCRIPT: &str = "/usr/local/lib/docker-cluster/fabric";
pub const AGENT: &str = "/etc/docker-cluster/consul";
pub const PUSHED: &str = "/usr/local/lib/docker-cluster/consul";
pub const SECRETS: &str = "/var/lib/docker-cluster/secrets/store.json";
pub const OWN_STORE: &str = "consul://127.0.0.1:8501";

/// The engine's unit without a drop-in.
pub const PACKAGED: &str = "the package's";

/// A unit of systemd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    pub enabled: bool,
    pub active: bool,
    /// It was started, and nobody has waited for it yet.
    pub settling: bool,
    pub starts: usize,
    /// Its file as systemd has read it.
    pub seen: Option<String>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub address: String,
    pub release: u8,
    pub files: Files,
    pub packages: BTreeSet<String>,
    pub users: BTreeSet<String>,
    pub engine: Option<Engine>,
    pub units: BTreeMap<String, Unit>,
    /// Whether the store has data here.
    pub has_data: bool,
    /// What its agent runs as, which is what its files said when it started.
    pub agent: Option<Agent>,
    /// The configuration that its guard's rules were made from.
    pub rules: Option<String>,
    /// What carries the network to the others, if it is ours.
    pub mesh: Mesh,
}

/// An agent of the store that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub gossip: String,
    pub is_server: bool,
    /// How many servers it waits for before it makes a quorum with them.
    pub expects: Option<u64>,
}

impl Host {
    pub fn new(name: &str, address: &str, release: u8) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            release,
            files: Files::default(),
            packages: BTreeSet::new(),
            users: BTreeSet::new(),
            engine: None,
            units: BTreeMap::new(),
            has_data: false,
            agent: None,
            rules: None,
            mesh: Mesh::default(),
        }
    }

    pub fn unit(&mut self, name: &str) -> &mut Unit {
        self.units.entry(name.to_owned()).or_default()
    }

    pub fn is_active(&self, name: &str) -> bool {
        self.units.get(name).is_some_and(|unit| unit.active)
    }

    pub fn unit_file(&self, name: &str) -> Option<&str> {
        match name {
            ENGINE_UNIT => {
                let drop_in = self.files.text(api::DROP_IN);
                self.engine.as_ref().map(|_| drop_in.unwrap_or(PACKAGED))
            }
            name => self.files.text(&format!("/etc/systemd/system/{name}")),
        }
    }

    /// What systemd does to have units started at every boot, or no longer.
    fn enable(&mut self, units: &[&str], on: bool) -> Result<(), String> {
        for name in units {
            let seen = self
                .unit_file(name)
                .map(str::to_owned)
                .ok_or(format!("Unit file {name} does not exist"))?;
            let unit = self.unit(name);
            unit.enabled = on;
            // systemd reads units again after that.
            unit.seen = Some(seen);
        }
        Ok(())
    }

    /// Systemd's name for the present start of a unit.
    pub fn invocation(&self, name: &str) -> String {
        let unit = self.units.get(name).filter(|unit| unit.active);
        unit.map(|unit| format!("{name}-{}", unit.starts))
            .unwrap_or_default()
    }

    /// The options in `daemon.json`.
    pub fn options(&self) -> Result<Options, String> {
        match self.files.text(DAEMON_JSON).unwrap_or_default().trim() {
            "" => Ok(Options::new()),
            text => serde_json::from_str(text).map_err(|error| error.to_string()),
        }
    }

    /// Whether systemd has read the drop-in that makes the engine listen.
    pub fn reads_drop_in(&self) -> bool {
        let seen = self
            .units
            .get(ENGINE_UNIT)
            .and_then(|unit| unit.seen.as_ref());
        seen.is_some_and(|seen| seen != PACKAGED)
    }

    pub fn stop_engine(&mut self) {
        self.unit(ENGINE_UNIT).active = false;
        self.unit(HELPER_UNIT).active = false;
        if let Some(engine) = &mut self.engine {
            engine.up = false;
            engine.effective = Options::new();
            for container in &mut engine.containers {
                container.running = false;
            }
        }
    }

    /// Starts the engine, or starts it again.
    pub fn start_engine(&mut self) -> Result<(), String> {
        let options = self.options();
        let listens = self.reads_drop_in();
        let lacks = [api::CA, api::CERT, api::KEY]
            .into_iter()
            .find(|path| listens && self.files.get(path).is_none());
        let Some(engine) = &mut self.engine else {
            return Err("there is no engine".to_owned());
        };
        let was_up = engine.up;
        let refused = match &options {
            Err(error) => Some(error.clone()),
            Ok(options) if options.contains_key("cluster-store") && engine.major() >= 23 => {
                Some("the following directives don't match any configuration option: cluster-store".to_owned())
            }
            Ok(options) if options.contains_key("cluster-store") && engine.swarm.is_some() => Some(
                "--cluster-store and --cluster-advertise daemon configurations are incompatible with swarm mode"
                    .to_owned(),
            ),
            Ok(_) => lacks.map(|path| format!("could not load {path}")),
        };
        if let Some(refused) = refused {
            self.stop_engine();
            return Err(refused);
        }
        engine.effective = options.unwrap_or_default();
        engine.listens = listens;
        engine.up = true;
        engine.settling = true;
        engine.starts += 1;
        for container in &mut engine.containers {
            // `unless-stopped` is not among the guests.
            container.running = container.restart == "always"
                || container.running && was_up && container.restart == "unless-stopped";
        }
        let unit = self.unit(ENGINE_UNIT);
        unit.active = true;
        unit.starts += 1;
        // Wanted by the engine's unit, and a part of it.
        let helper = self.unit(HELPER_UNIT);
        if helper.enabled {
            (helper.active, helper.starts) = (true, helper.starts + 1);
        }
        Ok(())
    }

    pub fn settle(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.settling = false;
        }
    }

    /// The agent that its files describe.
    fn configured(&self) -> Option<Agent> {
        let parse = |name: &str| -> Option<Value> {
            serde_json::from_str(self.files.text(&format!("{AGENT}/{name}.json"))?).ok()
        };
        let (config, secrets) = (parse("agent")?, parse("secrets")?);
        Some(Agent {
            gossip: secrets.get("encrypt")?.as_str()?.to_owned(),
            is_server: config.get("server") == Some(&Value::Bool(true)),
            expects: config.get("bootstrap_expect").and_then(Value::as_u64),
        })
    }

    /// The agent that runs.
    pub fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref().filter(|_| self.is_active(STORE_UNIT))
    }

    pub fn consul(&self) -> Option<&'static str> {
        if self.packages.contains("consul") {
            Some("/usr/bin/consul")
        } else {
            self.files.get(PUSHED).map(|_| PUSHED)
        }
    }
}

/// Everything that there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    pub hosts: Vec<Host>,
    pub swarms: Vec<Swarm>,
    pub stores: BTreeMap<String, Store>,
    /// How many things were born: their number is part of their names.
    pub born: usize,
    /// How many secrets were made.
    pub minted: usize,
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// Not yet: others have to get further.
    Waiting(String),
    Failed(String),
}

fn failed(why: impl Into<String>) -> Answer {
    Answer::Failed(why.into())
}

fn done(result: Result<(), String>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(why) => Answer::Failed(why),
    }
}

fn waits(until: bool, what: &str) -> Answer {
    if until {
        Answer::Done
    } else {
        Answer::Waiting(what.to_owned())
    }
}

/// How an action is done.
pub struct Doing<'a> {
    pub slots: &'a Slots,
    pub reach: Reach,
    /// It was begun before and did not get to its end.
    pub again: bool,
    /// Hosts that have left the run.
    pub left: &'a BTreeSet<String>,
}

impl Cluster {
    pub fn index(&self, name: &str) -> usize {
        self.hosts
            .iter()
            .position(|host| host.name == name)
            .expect("plans name hosts that there are")
    }

    fn born(&mut self, what: &str) -> String {
        self.born += 1;
        format!("{what}{:024}", self.born)
    }

    /// Whether a swarm has a leader, by those managers that answer.
    pub fn has_quorum(&self, swarm: usize, settled: bool) -> bool {
        let managers = self.swarms[swarm]
            .nodes
            .iter()
            .filter(|node| node.is_manager);
        let (mut all, mut alive) = (0, 0);
        for manager in managers {
            all += 1;
            let of =
                |engine: &Engine| engine.swarm == Some((swarm, manager.id.clone())) && engine.up;
            let is_up = |engine: &Engine| of(engine) && !(settled && engine.settling);
            alive += usize::from(
                self.hosts
                    .iter()
                    .any(|host| host.engine.as_ref().is_some_and(is_up)),
            );
        }
        alive * 2 > all
    }

    /// The swarm that this host manages, if it can.
    pub fn manages(&self, at: usize) -> Option<usize> {
        let engine = self.hosts[at].engine.as_ref().filter(|engine| engine.up)?;
        let (swarm, id) = engine.swarm.as_ref()?;
        (self.swarms[*swarm].is_manager(id) && self.has_quorum(*swarm, false)).then_some(*swarm)
    }

    /// Servers of a store that run: their addresses. `settled` leaves those out that were started a moment ago.
    fn servers(&self, gossip: &str, settled: bool) -> BTreeSet<String> {
        let runs = |host: &&Host| {
            let unit = host.units.get(STORE_UNIT).filter(|unit| unit.active);
            unit.is_some_and(|unit| !(settled && unit.settling))
                && host
                    .agent()
                    .is_some_and(|agent| agent.gossip == gossip && agent.is_server)
        };
        self.hosts
            .iter()
            .filter(runs)
            .map(|host| host.private().to_owned())
            .collect()
    }

    /// Whether a store has a leader.
    pub fn leads(&self, gossip: &str, settled: bool) -> bool {
        let Some(store) = self
            .stores
            .get(gossip)
            .filter(|store| !store.peers.is_empty())
        else {
            return false;
        };
        self.servers(gossip, settled)
            .intersection(&store.peers)
            .count()
            * 2
            > store.peers.len()
    }

    fn elect(&mut self, gossip: &str) {
        let servers = self.servers(gossip, false);
        let leads = self.leads(gossip, false);
        let ready = self
            .hosts
            .iter()
            .filter(|host| servers.contains(host.private()));
        let ready = ready.filter_map(|host| host.agent()?.expects);
        let begins = ready
            .max()
            .is_some_and(|expect| servers.len() as u64 >= expect);
        let store = self.stores.entry(gossip.to_owned()).or_default();
        if store.peers.is_empty() && begins || leads {
            store.peers.extend(servers);
        }
    }

    /// The store whose leader a host's agent reaches.
    pub fn agent_store(&self, at: usize) -> Option<String> {
        let gossip = &self.hosts[at].agent()?.gossip;
        self.leads(gossip, false).then(|| gossip.clone())
    }

    /// The same, if it may do anything there.
    pub fn answers(&self, at: usize) -> bool {
        self.agent_store(at)
            .is_some_and(|gossip| self.stores[&gossip].registered)
    }

    /// The store that a host's engine is in.
    pub fn engine_store(&self, at: usize) -> Option<String> {
        let url = self.hosts[at].engine.as_ref()?.store_url()?;
        match url == OWN_STORE {
            true => self.agent_store(at).filter(|_| self.answers(at)),
            false => Some(url.to_owned()),
        }
    }

    /// What a host's engine lists as its networks.
    pub fn networks(&self, at: usize) -> Vec<Network> {
        let Some(engine) = self.hosts[at].engine.as_ref().filter(|engine| engine.up) else {
            return Vec::new();
        };
        let mut all = engine.networks.clone();
        all.extend(
            self.engine_store(at)
                .and_then(|key| self.stores.get(&key))
                .into_iter()
                .flat_map(|s| s.networks.clone()),
        );
        if let Some((swarm, _)) = &engine.swarm {
            let is_manager = self.manages(at).is_some();
            let used = |network: &Network| {
                engine
                    .containers
                    .iter()
                    .any(|one| one.networks.get(&network.name) == Some(&network.id))
            };
            let shown = |network: &&Network| is_manager || network.ingress || used(network);
            all.extend(self.swarms[*swarm].networks.iter().filter(shown).cloned());
        }
        all
    }

    /// A network that a container of this host can be put on, shown or not.
    fn reachable(&self, at: usize, name: &str) -> Option<Network> {
        let swarm = self.hosts[at]
            .engine
            .as_ref()
            .and_then(|engine| engine.swarm.clone());
        let of_swarm = swarm.and_then(|(swarm, _)| {
            self.swarms[swarm]
                .networks
                .iter()
                .find(|n| n.name == name)
                .cloned()
        });
        self.networks(at)
            .into_iter()
            .find(|network| network.name == name)
            .or(of_swarm)
    }

    /// Does what an action says.
    pub fn obey(&mut self, at: usize, action: &Action, doing: &Doing<'_>) -> Answer {
        match action {
            Action::Run { argv, .. } => {
                let words: Vec<&str> = argv.iter().map(String::as_str).collect();
                done(self.command(at, &words))
            }
            Action::Script { name, args, .. } => done(self.script(at, name, args)),
            Action::Service { verb, unit, .. } => {
                self.service(at, verb.as_str(), unit, doing.again)
            }
            Action::PutFile(file) => match doing.slots.resolve(&file.content) {
                Ok((bytes, secrets)) => {
                    let host = &mut self.hosts[at];
                    let start = file
                        .read_by
                        .map(|unit| host.invocation(unit))
                        .unwrap_or_default();
                    let source = Content::fingerprint(&file.content);
                    let (path, mode, owner) = (file.path.as_str(), file.mode, file.owner.as_str());
                    let written = Written {
                        path,
                        mode,
                        owner,
                        source: &source,
                        secrets: &secrets,
                        ours: file.ours.as_ref(),
                        start,
                    };
                    if owner.ends_with("docker-cluster-store")
                        && !host.users.contains("docker-cluster-store")
                    {
                        return failed("chown: invalid group");
                    }
                    host.files.put(
                        &written,
                        &String::from_utf8(bytes).expect("files are text"),
                        doing.reach,
                    );
                    Answer::Done
                }
                Err(error) => failed(format!("a slot is read before it is filled: {error}")),
            },
            Action::PutBack { paths } => {
                for path in paths {
                    self.hosts[at].files.put_back(path);
                }
                Answer::Done
            }
            Action::Restore {
                path,
                present,
                into,
                record,
            } => done(self.hosts[at].files.restore(path, present, into, *record)),
            Action::MakeKey { address, .. } => self.make_key(at, *address, doing.slots),
            Action::Note { lines } => {
                self.hosts[at].files.note(lines);
                Answer::Done
            }
            Action::OwnCa { .. } => failed("there is no CA of a person's own in this model"),
            Action::Secrets(from) => done(self.secrets(at, *from, doing.slots)),
            Action::IssueCertificate { .. } => done(self.issue(at, action, doing)),
            Action::AddFlags { path, flags } => {
                let (_, facts) = &self.facts(&[at])[0];
                let Some(text) = api::drop_in(facts, flags) else {
                    return failed("the unit does not start the engine itself");
                };
                let host = &mut self.hosts[at];
                let written = Written {
                    path,
                    mode: "0644",
                    owner: "root:root",
                    source: "flags",
                    secrets: "",
                    ours: None,
                    start: host.invocation(ENGINE_UNIT),
                };
                host.files.put(&written, &text, doing.reach);
                Answer::Done
            }
            Action::PushProgram { sha256, path, .. } => {
                let text = format!("the program of {sha256}");
                let written = Written {
                    path,
                    mode: "0755",
                    owner: "root:root",
                    source: sha256,
                    secrets: "",
                    ours: None,
                    start: String::new(),
                };
                self.hosts[at].files.put(&written, &text, doing.reach);
                Answer::Done
            }
            Action::EnsureImage { image, .. } => done(self.with_engine(at, |engine| {
                engine.images.insert(image.clone());
                Ok(())
            })),
            Action::Engine(call) => done(self.call(at, call)),
            Action::Consul(call) => self.consul(at, call),
            Action::RunAnew { argv, .. } => {
                panic!("the model has no fabric that moves a host's address: {argv:?}")
            }
            Action::WaitFor {
                what,
                argv,
                expect,
                peers,
                ..
            } => {
                let Some(said) =
                    self.question(at, &argv.iter().map(String::as_str).collect::<Vec<_>>())
                else {
                    return Answer::Waiting(format!("{what} ({argv:?} fails)"));
                };
                let peers = peers
                    .iter()
                    .filter(|(peer, _)| !doing.left.contains(peer.as_str()))
                    .map(|(_, word)| word);
                let missing: Vec<&String> = expect
                    .iter()
                    .chain(peers)
                    .filter(|word| !said.contains(*word))
                    .collect();
                waits(
                    missing.is_empty(),
                    &format!("{what}: {missing:?} is not in {said:?}"),
                )
            }
            Action::JoinSwarm { role, managers, .. } => {
                done(self.join(at, *role, managers, doing.slots))
            }
            Action::FetchJoinTokens => match self.manages(at) {
                Some(swarm) => {
                    for (slot, role) in [
                        (Slot::ManagerJoinToken, "manager"),
                        (Slot::WorkerJoinToken, "worker"),
                    ] {
                        doing
                            .slots
                            .fill(slot, Secret::new(format!("{swarm}:{role}")));
                    }
                    Answer::Done
                }
                None => failed("this node is not a swarm manager"),
            },
        }
    }

    fn with_engine(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Engine) -> Result<(), String>,
    ) -> Result<(), String> {
        match self.hosts[at].engine.as_mut().filter(|engine| engine.up) {
            Some(engine) => act(engine),
            None => Err("Cannot connect to the Docker daemon".to_owned()),
        }
    }

    fn command(&mut self, at: usize, argv: &[&str]) -> Result<(), String> {
        let host = &mut self.hosts[at];
        match argv {
            ["systemctl", "daemon-reload"] => {
                for name in [STORE_UNIT, HELPER_UNIT, GUARD_UNIT, MESH_UNIT, FLOOR_UNIT] {
                    let seen = host.unit_file(name).map(str::to_owned);
                    // One that there never was is nothing yet.
                    if seen.is_some() || host.units.contains_key(name) {
                        host.unit(name).seen = seen;
                    }
                }
                if host.engine.is_some() {
                    let seen = host.files.text(api::DROP_IN).map(str::to_owned);
                    host.unit(ENGINE_UNIT).seen = seen;
                }
                Ok(())
            }
            ["systemctl", "stop", "docker.socket", ENGINE_UNIT] => {
                host.stop_engine();
                Ok(())
            }
            ["systemctl", "disable", "--now", GUARD_UNIT] => {
                host.units.remove(GUARD_UNIT);
                Ok(())
            }
            ["sh", "-c", _, "sh", GUARD_SCRIPT] => {
                host.rules = None;
                Ok(())
            }
            ["sh", "-c", _, "sh", MESH_SCRIPT] => {
                host.mesh = Mesh::default();
                Ok(())
            }
            ["systemctl", "enable", units @ ..] => host.enable(units, true),
            ["systemctl", "disable", units @ ..] => host.enable(units, false),
            ["useradd", .., user] => match host.users.insert((*user).to_owned()) {
                true => Ok(()),
                false => Err(format!("user {user} already exists")),
            },
            ["userdel", user] => match host.users.remove(*user) {
                true => Ok(()),
                false => Err(format!("user {user} does not exist")),
            },
            ["rm", "-rf", "--", "/var/lib/docker-cluster-consul"] => {
                host.has_data = false;
                Ok(())
            }
            ["rm", "-f", path] => {
                host.files.0.remove(*path);
                Ok(())
            }
            ["docker", "rm", "-f", name] => self.with_engine(at, |engine| {
                engine
                    .containers
                    .retain(|container| container.name != *name);
                Ok(())
            }),
            ["docker", "start", name] => self.with_engine(at, |engine| {
                engine
                    .container(name)
                    .ok_or(format!("no container {name}"))?
                    .running = true;
                Ok(())
            }),
            ["docker", "network", "disconnect", "-f", network, name] => {
                self.with_engine(at, |engine| {
                    let container = engine
                        .container(name)
                        .ok_or(format!("no container {name}"))?;
                    container
                        .networks
                        .remove(*network)
                        .map(drop)
                        .ok_or(format!("{name} is not on {network}"))
                })
            }
            ["docker", "swarm", "leave", "--force"] => self.leave(at, true),
            // Unless a container uses it; either is well.
            ["sh", "-c", script, "sh", image] if script.contains("docker image rm") => self
                .with_engine(at, |engine| {
                    if !engine
                        .containers
                        .iter()
                        .any(|container| container.image == *image)
                    {
                        engine.images.remove(*image);
                    }
                    Ok(())
                }),
            other => panic!("the model does not know the command {other:?}"),
        }
    }

    fn script(&mut self, at: usize, name: &str, args: &[String]) -> Result<(), String> {
        match name {
            "apt-install" => args
                .iter()
                .try_for_each(|package| self.install(at, package)),
            "undo-install" => Ok(()),
            "apt-remove" => {
                let host = &mut self.hosts[at];
                for package in &args[1..] {
                    host.packages.remove(package);
                    if package == "docker.io" {
                        host.engine = None;
                        host.units.remove(ENGINE_UNIT);
                    }
                }
                Ok(())
            }
            "units-off" => {
                let host = &mut self.hosts[at];
                for unit in args {
                    let unit = host.unit(unit);
                    (unit.active, unit.enabled) = (false, false);
                }
                Ok(())
            }
            "swarm-leave" => {
                if self.hosts[at]
                    .engine
                    .as_ref()
                    .is_some_and(|engine| engine.swarm.is_some())
                {
                    self.leave(at, args.iter().any(|arg| arg == "--force"))?;
                }
                let files = &mut self.hosts[at].files;
                files.unnote(|line| line.starts_with("swarm"));
                files.forget_nothing();
                Ok(())
            }
            "settle" => {
                self.hosts[at].files.settle(&args[0]);
                Ok(())
            }
            "forget" => {
                self.hosts[at].files.forget(&args[0], &args[1]);
                Ok(())
            }
            other => panic!("the model does not know the script {other} {args:?}"),
        }
    }

    fn install(&mut self, at: usize, package: &str) -> Result<(), String> {
        let host = &mut self.hosts[at];
        let name = package.split('=').next().unwrap_or(package);
        let new: Vec<String> = match name {
            "docker.io" => ["docker.io", "containerd", "runc"]
                .map(str::to_owned)
                .to_vec(),
            name => vec![name.to_owned()],
        };
        let new: Vec<String> = new
            .into_iter()
            .filter(|package| !host.packages.contains(package))
            .collect();
        host.files.note(
            &new.iter()
                .map(|package| format!("package {package}"))
                .collect::<Vec<_>>(),
        );
        host.packages.extend(new);
        if name == "docker.io" && host.engine.is_none() {
            let version = packaged(host.release);
            host.engine = Some(Engine::new(version, backends(version)));
            host.unit(ENGINE_UNIT).enabled = true;
            host.start_engine()?;
        }
        Ok(())
    }

    fn service(&mut self, at: usize, verb: &str, unit: &str, again: bool) -> Answer {
        match (unit, verb) {
            (ENGINE_UNIT, "start") if self.hosts[at].is_active(unit) => Answer::Done,
            (ENGINE_UNIT, _) => done(self.hosts[at].start_engine()),
            (HELPER_UNIT, _) => {
                let unit = self.hosts[at].unit(unit);
                (unit.active, unit.starts) = (true, unit.starts + 1);
                Answer::Done
            }
            (MESH_UNIT | FLOOR_UNIT, _) => done(self.hosts[at].start_mesh(unit, verb)),
            (GUARD_UNIT, _) => {
                let host = &mut self.hosts[at];
                if host.files.get(GUARD_SCRIPT).is_none() || host.unit_file(unit).is_none() {
                    return failed("there is nothing that could start");
                }
                host.rules = host.files.text(GUARD_CONFIG).map(str::to_owned);
                let unit = host.unit(unit);
                (unit.active, unit.starts) = (true, unit.starts + 1);
                Answer::Done
            }
            (STORE_UNIT, "reload") if self.hosts[at].is_active(unit) => Answer::Done,
            (STORE_UNIT, _) => {
                if !again && let Err(error) = self.start_agent(at) {
                    self.hosts[at].unit(STORE_UNIT).active = false;
                    return Answer::Failed(error);
                }
                let gossip = self.hosts[at]
                    .agent()
                    .map(|agent| agent.gossip.clone())
                    .unwrap_or_default();
                self.elect(&gossip);
                waits(self.leads(&gossip, false), "its agent finds no leader")
            }
            other => panic!("the model does not know the service {other:?}"),
        }
    }

    fn start_agent(&mut self, at: usize) -> Result<(), String> {
        let host = &mut self.hosts[at];
        let text = host
            .unit_file(STORE_UNIT)
            .ok_or("there is no such unit")?
            .to_owned();
        let program = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=")?.split(' ').next())
            .unwrap_or_default();
        if host.consul() != Some(program) {
            return Err(format!("{program} is not there"));
        }
        if !host.users.contains("docker-cluster-store") {
            return Err("its user is not there".to_owned());
        }
        for file in [
            "agent.json",
            "secrets.json",
            "ca.pem",
            "agent.pem",
            "agent-key.pem",
        ] {
            if host.files.get(&format!("{AGENT}/{file}")).is_none() {
                return Err(format!("{file} is not there"));
            }
        }
        host.has_data = true;
        // One that is new counts from when the others have taken it in, and one that was there is missed until it is well again.
        host.agent = host.configured();
        let store = host
            .agent
            .as_ref()
            .and_then(|agent| self.stores.get(&agent.gossip));
        let is_peer = store.is_some_and(|store| store.peers.contains(host.private()));
        let unit = host.unit(STORE_UNIT);
        unit.seen.get_or_insert(text);
        (unit.active, unit.settling, unit.starts) = (true, is_peer, unit.starts + 1);
        Ok(())
    }

    fn secrets(&mut self, at: usize, from: SecretsFrom, slots: &Slots) -> Result<(), String> {
        let text = |error: docker_cluster::secrets::SecretsError| error.to_string();
        let made = match from {
            SecretsFrom::Mint => {
                self.minted += 1;
                bundle(self.minted)
            }
            SecretsFrom::Fetch => {
                let kept = self.hosts[at]
                    .files
                    .text(SECRETS)
                    .ok_or("cat: no such file")?;
                StoreBundle::parse(kept).map_err(text)?
            }
            SecretsFrom::Rotate => slots
                .bundle()
                .map_err(text)?
                .rotated("demo")
                .map_err(text)?,
            SecretsFrom::Retire => slots.bundle().map_err(text)?.retired(),
            SecretsFrom::MintEngines => {
                self.minted += 1;
                slots.fill_engines(engines_ca(self.minted));
                return Ok(());
            }
            SecretsFrom::FetchEngines => {
                let kept = self.hosts[at].files.text(ENGINES_CA);
                let ca = EnginesCa::parse(kept.ok_or("cat: no such file")?).map_err(text)?;
                slots.fill_engines(ca);
                return Ok(());
            }
        };
        slots.fill_store(made).map_err(text)
    }

    fn issue(&mut self, at: usize, action: &Action, doing: &Doing<'_>) -> Result<(), String> {
        let Action::IssueCertificate {
            by,
            cert_path,
            key_path,
            owner,
            ..
        } = action
        else {
            return Ok(());
        };
        let empty = |error| format!("a slot is read before it is filled: {error}");
        let (cert, mode, start) = match by {
            Authority::Store => {
                let bundle = doing.slots.bundle().map_err(empty)?;
                (certificate_of(&bundle, action), "0640", String::new())
            }
            Authority::Engines => {
                let ca = doing.slots.engines().map_err(empty)?;
                let start = self.hosts[at].invocation(ENGINE_UNIT);
                (server_certificate_of(&ca, action), "0600", start)
            }
            Authority::Managers => {
                return Err("no world of the model has standalone Swarm".to_owned());
            }
        };
        let files = &mut self.hosts[at].files;
        let written = |path, mode, source| Written {
            path,
            mode,
            owner,
            source,
            secrets: "",
            ours: None,
            start: start.clone(),
        };
        files.put(&written(key_path, mode, "key"), "a key", doing.reach);
        if doing.reach == Reach::Whole {
            files.put(
                &written(cert_path, "0644", "certificate"),
                &cert,
                Reach::Whole,
            );
        }
        Ok(())
    }

    fn call(&mut self, at: usize, call: &EngineCall) -> Result<(), String> {
        if !self.hosts[at]
            .engine
            .as_ref()
            .is_some_and(|engine| engine.up)
        {
            return Err("Cannot connect to the Docker daemon".to_owned());
        }
        match call {
            EngineCall::CreateNetwork(new) => {
                assert_eq!(
                    new.driver,
                    NetworkDriver::Overlay,
                    "the model has no other networks of ours"
                );
                let manages = self.manages(at);
                let mut network = Network {
                    driver: "overlay",
                    scope: if manages.is_some() { "swarm" } else { "global" },
                    options: new.options.clone(),
                    labels: new.labels.clone(),
                    attachable: new.attachable,
                    ..Network::bridge(&new.name, &new.subnet)
                };
                network.id = self.born(&new.name);
                let all = match (manages, self.engine_store(at)) {
                    (Some(swarm), _) => &mut self.swarms[swarm].networks,
                    (None, Some(key)) => &mut self.stores.entry(key).or_default().networks,
                    (None, None) => {
                        return Err("could not find a store or a swarm for an overlay".to_owned());
                    }
                };
                if !all.iter().any(|other| other.name == new.name) {
                    all.push(network);
                }
                Ok(())
            }
            EngineCall::RunKeeper {
                name,
                image,
                network,
                cluster,
            } => {
                let found = self
                    .reachable(at, network)
                    .ok_or(format!("network {network} not found"))?;
                self.with_engine(at, |engine| {
                    if !engine.images.contains(image) {
                        return Err(format!("no such image {image}"));
                    }
                    engine.bridge();
                    let is_it = |one: &Container| {
                        one.name == *name
                            && one.running
                            && one.networks.get(network) == Some(&found.id)
                    };
                    if engine.containers.iter().any(is_it) {
                        return Ok(());
                    }
                    engine
                        .containers
                        .retain(|container| container.name != *name);
                    let mut keeper = Container::new(
                        name,
                        image,
                        "always",
                        BTreeMap::from([(network.clone(), found.id.clone())]),
                    );
                    keeper
                        .labels
                        .insert(KEEPER_LABEL.to_owned(), cluster.clone());
                    engine.containers.push(keeper);
                    Ok(())
                })
            }
            EngineCall::RunContainer(new) => Err(format!(
                "no world of the model has standalone Swarm: {}",
                new.name
            )),
            EngineCall::InitSwarm {
                force_new_cluster,
                address_pool,
                ..
            } => self.begin_swarm(at, *force_new_cluster, address_pool.as_deref()),
            EngineCall::Connect {
                network, container, ..
            } => {
                let found = self
                    .reachable(at, network)
                    .ok_or(format!("network {network} not found"))?;
                self.with_engine(at, |engine| {
                    let one = engine
                        .container(container)
                        .ok_or(format!("no container {container}"))?;
                    one.networks.insert(network.clone(), found.id.clone());
                    engine.bridge();
                    Ok(())
                })
            }
            EngineCall::UpdateNode(update) => self.update(at, update),
            EngineCall::RemoveNode { id } => {
                let swarm = self.manages(at).ok_or("this node is not a swarm manager")?;
                if self.swarms[swarm].is_manager(id) {
                    return Err(
                        "node is a member of the raft cluster and cannot be removed".to_owned()
                    );
                }
                self.swarms[swarm].nodes.retain(|node| node.id != *id);
                Ok(())
            }
        }
    }

    fn begin_swarm(&mut self, at: usize, force: bool, pool: Option<&str>) -> Result<(), String> {
        let membership = self.hosts[at]
            .engine
            .as_ref()
            .and_then(|engine| engine.swarm.clone());
        if force {
            let (swarm, id) = membership.ok_or("this node is not part of a swarm")?;
            for node in &mut self.swarms[swarm].nodes {
                node.is_manager = node.id == id;
                node.is_gone |= node.id != id;
            }
            return Ok(());
        }
        if membership.is_some() {
            return Err("this node is already part of a swarm".to_owned());
        }
        if self.hosts[at]
            .engine
            .as_ref()
            .is_some_and(|engine| engine.store_url().is_some())
        {
            return Err("swarm mode is incompatible with a store".to_owned());
        }
        let ingress = pool.map_or("10.0.0.0/24".to_owned(), |pool| pool.replace("/16", "/24"));
        let (id, swarm) = (self.born("node"), Swarm::new(&self.born("swarm"), &ingress));
        self.swarms.push(swarm);
        let number = self.swarms.len() - 1;
        self.enter(at, number, id, true);
        Ok(())
    }

    fn enter(&mut self, at: usize, swarm: usize, id: String, is_manager: bool) {
        let host = &mut self.hosts[at];
        self.swarms[swarm]
            .nodes
            .push(Node::new(id.clone(), &host.name, is_manager));
        if let Some(engine) = &mut host.engine {
            engine.swarm = Some((swarm, id));
            engine.bridge();
        }
    }

    fn join(
        &mut self,
        at: usize,
        role: SwarmRole,
        managers: &[String],
        slots: &Slots,
    ) -> Result<(), String> {
        let slot = if role == SwarmRole::Manager {
            Slot::ManagerJoinToken
        } else {
            Slot::WorkerJoinToken
        };
        let token = slots
            .get(slot)
            .map_err(|error| format!("a slot is read before it is filled: {error}"))?;
        let swarm: usize = token
            .expose()
            .split(':')
            .next()
            .and_then(|text| text.parse().ok())
            .expect("a token of the model");
        let engine = self.hosts[at]
            .engine
            .as_ref()
            .filter(|engine| engine.up)
            .ok_or("Cannot connect to the Docker daemon")?;
        if engine.swarm.is_some() {
            return Err("this node is already part of a swarm".to_owned());
        }
        if engine.store_url().is_some() {
            return Err("swarm mode is incompatible with a store".to_owned());
        }
        let is_named = |other: usize| {
            managers
                .iter()
                .any(|manager| manager.split(':').next() == Some(self.hosts[other].private()))
        };
        if !(0..self.hosts.len()).any(|other| is_named(other) && self.manages(other) == Some(swarm))
        {
            return Err("no manager answers".to_owned());
        }
        let id = self.born("node");
        self.enter(at, swarm, id, role == SwarmRole::Manager);
        Ok(())
    }

    fn leave(&mut self, at: usize, force: bool) -> Result<(), String> {
        let Some(engine) = self.hosts[at].engine.as_mut().filter(|engine| engine.up) else {
            return Err("Cannot connect to the Docker daemon".to_owned());
        };
        let (swarm, id) = engine
            .swarm
            .clone()
            .ok_or("this node is not part of a swarm")?;
        if self.swarms[swarm].is_manager(&id) && !force {
            return Err("you are attempting to leave the swarm on a node that is participating as a manager".to_owned());
        }
        if let Some(engine) = &mut self.hosts[at].engine {
            engine.swarm = None;
        }
        if let Some(node) = self.swarms[swarm].node(&id) {
            node.is_gone = true;
        }
        Ok(())
    }

    fn update(&mut self, at: usize, update: &NodeUpdate) -> Result<(), String> {
        let swarm = self.manages(at).ok_or("this node is not a swarm manager")?;
        let managers = self.swarms[swarm]
            .nodes
            .iter()
            .filter(|node| node.is_manager)
            .count();
        let is_it = |node: &&mut Node| {
            node.id == update.node || node.hostname == update.node && !node.is_gone
        };
        let node = self.swarms[swarm]
            .nodes
            .iter_mut()
            .find(is_it)
            .ok_or(format!("no node is called {}", update.node))?;
        match update.role {
            Some(SwarmRole::Worker) if managers == 1 && node.is_manager => {
                return Err("attempting to demote the last manager of the swarm".to_owned());
            }
            Some(role) => node.is_manager = role == SwarmRole::Manager,
            None => {}
        }
        node.labels.extend(update.labels.clone());
        node.is_drained |= update.drain;
        Ok(())
    }

    fn consul(&mut self, at: usize, call: &ConsulCall) -> Answer {
        let Some(key) = self.agent_store(at) else {
            return Answer::Waiting("the store has no leader".to_owned());
        };
        let store = self.stores.entry(key).or_default();
        match call {
            ConsulCall::EnsureAccess { .. } => store.registered = true,
            ConsulCall::RemovePeers { addresses } => {
                store.peers.retain(|peer| {
                    !addresses
                        .iter()
                        .any(|gone| gone.split(':').next() == Some(peer))
                });
            }
            ConsulCall::Backup { .. } | ConsulCall::Restore { .. } => {}
        }
        Answer::Done
    }

    /// What a command that is waited for prints, or nothing if it fails.
    fn question(&mut self, at: usize, argv: &[&str]) -> Option<String> {
        let is_up = self.hosts[at]
            .engine
            .as_ref()
            .is_some_and(|engine| engine.up);
        match argv {
            ["docker", "info", "--format", format] if is_up => {
                self.hosts[at].settle();
                let info = self.info(at);
                let value = |path: &str| match info.pointer(&format!("/{}", path.replace('.', "/")))
                {
                    Some(Value::String(text)) => text.clone(),
                    Some(value) => value.to_string(),
                    None => String::new(),
                };
                let mut said = String::new();
                let mut rest = *format;
                while let Some((before, after)) = rest.split_once("{{.") {
                    let (path, more) = after.split_once("}}")?;
                    said += before;
                    said += &value(path);
                    rest = more;
                }
                Some(said + rest)
            }
            [MESH_SCRIPT, "heard"] => {
                let heard = self.heard(at);
                Some(heard.iter().map(|name| format!("[{name}]\n")).collect())
            }
            ["ss", "-Hltn", _] => {
                let gossips = self.engine_store(at).is_some()
                    || self.hosts[at]
                        .engine
                        .as_ref()
                        .is_some_and(|engine| engine.up && engine.swarm.is_some());
                Some(if gossips {
                    "LISTEN 0 128 *:7946".to_owned()
                } else {
                    String::new()
                })
            }
            [
                "/usr/local/lib/docker-cluster/store",
                "kv",
                "get",
                "-keys",
                prefix,
            ] => {
                let gossip = self.hosts[at].agent()?.gossip.clone();
                self.elect(&gossip);
                if !self.answers(at) {
                    return None;
                }
                self.hosts[at].unit(STORE_UNIT).settling = false;
                let here = self.agent_store(at);
                let nodes = (0..self.hosts.len()).filter(|other| self.engine_store(*other) == here);
                let lines = nodes.filter_map(|other| {
                    let engine = self.hosts[other].engine.as_ref()?;
                    Some(format!(
                        "{prefix}{}\n",
                        engine.effective.get("cluster-advertise")?.as_str()?
                    ))
                });
                Some(lines.collect())
            }
            ["docker", "network", "inspect", "--format", _, name] if is_up => {
                let network = self
                    .networks(at)
                    .into_iter()
                    .find(|network| network.name == *name)?;
                Some(format!("{} {}", network.scope, network.subnet))
            }
            ["docker", "inspect", "--format", _, names @ ..] if is_up => {
                let engine = self.hosts[at].engine.as_ref()?;
                let line = |container: &Container| {
                    format!(
                        "/{}={};",
                        container.name,
                        if container.running {
                            "running"
                        } else {
                            "exited"
                        }
                    )
                };
                Some(
                    engine
                        .containers
                        .iter()
                        .filter(|one| names.contains(&one.name.as_str()))
                        .map(line)
                        .collect(),
                )
            }
            ["docker", "node", "inspect", "--format", _, id] => {
                let swarm = self.manages(at)?;
                let node = self.swarms[swarm].node(id)?;
                Some(match node.is_manager {
                    true => "role=manager manager=yes".to_owned(),
                    false => "role=worker manager=no".to_owned(),
                })
            }
            ["docker", "node", "ls", ..] => self.manages(at).map(|_| "Leader".to_owned()),
            ["sh", "-c", script, "sh", name] if script.contains("docker network rm") && is_up => {
                self.remove_network(at, name).then(String::new)
            }
            ["sh", "-c", script, ..] if script.contains("docker node ps") => {
                self.manages(at).map(|_| String::new())
            }
            _ if !is_up => None,
            other => panic!("the model does not know the question {other:?}"),
        }
    }

    /// Whether the network is gone.
    fn remove_network(&mut self, at: usize, name: &str) -> bool {
        let Some(network) = self
            .networks(at)
            .into_iter()
            .find(|network| network.name == name)
        else {
            return true;
        };
        let is_on = |engine: &Engine| {
            engine
                .containers
                .iter()
                .any(|one| one.networks.get(name) == Some(&network.id))
        };
        let hosts: Vec<&Host> = match network.scope {
            "local" => vec![&self.hosts[at]],
            _ => self.hosts.iter().collect(),
        };
        let in_swarm = self.hosts[at]
            .engine
            .as_ref()
            .is_some_and(|engine| engine.swarm.is_some());
        if hosts
            .iter()
            .any(|host| host.engine.as_ref().is_some_and(is_on))
            || name == "docker_gwbridge" && in_swarm
        {
            return false;
        }
        let all = match (network.scope, self.manages(at), self.engine_store(at)) {
            ("local", ..) => self.hosts[at]
                .engine
                .as_mut()
                .map(|engine| &mut engine.networks),
            ("swarm", Some(swarm), _) => Some(&mut self.swarms[swarm].networks),
            ("global", _, Some(key)) => self.stores.get_mut(&key).map(|store| &mut store.networks),
            _ => None,
        };
        let Some(all) = all else { return false };
        all.retain(|other| other.id != network.id);
        true
    }
}
