//! The facts of a host: one read-only probe (`templates/facts.sh`), one round trip. Parsing is pure and never trusts the
//! host: anything that is not what it should be is missing, not a panic.

pub mod firewall;
mod migration;
mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::Value;

use crate::labels::{KEEPER_LABEL, PROBE_LABEL, SWARM_LABEL};
use crate::record::Record;

pub use migration::{Attachment, ContainerRecord, MigrationRecord, NetworkRecord};
pub use parse::parse;

/// The probe: the list of sections, and the Perl that fills most of them, which is the shell's here-document.
pub const SCRIPT: &str = concat!(
    include_str!("../../../../templates/facts.sh"),
    include_str!("../../../../templates/facts.pl"),
    "END_OF_PERL\nfi\n"
);

/// A kernel module, and whether it can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Loaded, built in, or there to be loaded.
    Present,
    /// Certainly not there.
    Missing,
    /// The host does not tell.
    Unknown,
}

/// Which init system runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Init {
    /// systemd: `/run/systemd/system` exists.
    Systemd,
    /// Something else; the name of process 1.
    Other(String),
}

/// A systemd unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`.
    pub active: String,
    /// `enabled`, `disabled`, `masked`.
    pub file_state: String,
    /// The unit file.
    pub path: String,
    /// Drop-ins.
    pub drop_ins: Vec<String>,
    /// Main process, 0 if there is none.
    pub main_pid: u32,
    /// Systemd's id of the present start; another with each start. Empty before systemd 232.
    pub invocation: String,
    /// Whether its files have changed since systemd read them.
    pub needs_reload: bool,
}

/// The process of a running engine: how it was started for real, whatever files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineProcess {
    /// Its process id.
    pub pid: u32,
    /// Its program.
    pub exe: String,
    /// The unit that it belongs to; empty if none.
    pub unit: String,
    /// Its arguments, the program's name first.
    pub args: Vec<String>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// The file.
    pub file: String,
    /// The line.
    pub text: String,
}

/// A program that configures an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Its name.
    pub name: String,
    /// The file that it goes by, if it is known to go by one; systemd-networkd only.
    pub file: Option<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MTU, in bytes.
    pub mtu: u32,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub interface: String,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether it is lent for a time, and renewed by some program.
    pub lent: bool,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// By which gateway, if it leads through one.
    pub via: Option<IpAddr>,
    /// Over which interface.
    pub interface: String,
    /// Which of the host's addresses packets have that go there, if the route says so.
    pub source: Option<IpAddr>,
}

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Its name, without the slash.
    pub name: String,
    /// `running`, `exited`, `created`.
    pub status: String,
    /// `no`, `always`, `unless-stopped`, `on-failure`; empty is `no`.
    pub restart: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The networks it is on.
    pub networks: Value,
    /// Exit code of its last run.
    pub exit_code: i64,
}

impl Container {
    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }

    /// Whether it is docker-cluster's own: a probe, what keeps a network open, or a part of standalone Swarm.
    #[must_use]
    pub fn is_own(&self) -> bool {
        [PROBE_LABEL, KEEPER_LABEL, SWARM_LABEL]
            .iter()
            .any(|label| self.labels.contains_key(*label))
    }

    /// Whether the engine starts it again after its own restart.
    #[must_use]
    pub fn comes_back(&self) -> bool {
        matches!(
            self.restart.as_str(),
            "always" | "unless-stopped" | "on-failure"
        )
    }

    /// Whether it certainly does: `on-failure` leaves a container down that ends well when it is asked to stop.
    #[must_use]
    pub fn surely_comes_back(&self) -> bool {
        matches!(self.restart.as_str(), "always" | "unless-stopped")
    }
}

/// A network of the engine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its driver.
    pub driver: String,
    /// `local`, `global`, `swarm`.
    pub scope: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// The part of its subnet that containers get addresses from, if it is not all of it.
    pub range: Option<IpNet>,
    /// Its driver options.
    pub options: BTreeMap<String, String>,
    /// Whether plain containers can join it in swarm mode.
    pub attachable: bool,
    /// Whether it is the one that a swarm publishes ports over, which it makes by itself.
    pub is_ingress: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its endpoints as this engine knows them, by id.
    pub endpoints: BTreeMap<String, Endpoint>,
}

/// An endpoint as an engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the container.
    pub container: String,
    /// Whether it is, or was, of a container of this engine: the others know it from the store, and list it under a key of its own.
    pub is_own: bool,
}

/// The engine of a host.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    /// Version, such as 20.10.5.
    pub version: Option<semver::Version>,
    /// Version as it is written.
    pub version_text: String,
    /// Path of `dockerd`.
    pub path: String,
    /// Path of its client; `None` if there is none, or Podman's in its place.
    pub client: Option<String>,
    /// Key-value backends in the binary: `consul`, `etcd`, `zookeeper`.
    pub kv_backends: BTreeSet<String>,
    /// What `docker info` says, if the engine answers, and answers all that it is asked.
    pub info: Option<Value>,
    /// Whether it answered `docker info` and did not tell all of its containers, networks, images or nodes.
    pub incomplete: bool,
    /// Its identity (`/etc/docker/key.json`).
    pub key: String,
    /// Containers, all states.
    pub containers: Vec<Container>,
    /// Networks.
    pub networks: Vec<Network>,
    /// Networks over a store with their endpoints, if those were asked for.
    pub endpoints: Vec<Network>,
    /// Images as `name:tag`.
    pub images: BTreeSet<String>,
}

impl Engine {
    /// Whether it answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.info_str("ServerVersion")
            .is_some_and(|version| !version.is_empty())
    }

    /// A string of `docker info`.
    #[must_use]
    pub fn info_str(&self, key: &str) -> Option<&str> {
        self.info.as_ref()?.get(key)?.as_str()
    }

    /// The swarm part of `docker info`.
    #[must_use]
    pub fn swarm(&self) -> Swarm {
        let Some(swarm) = self.info.as_ref().and_then(|info| info.get("Swarm")) else {
            return Swarm::default();
        };
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |key: &str| swarm.get(key).and_then(Value::as_u64).unwrap_or_default();
        Swarm {
            state: text(swarm.get("LocalNodeState")),
            node_id: text(swarm.get("NodeID")),
            node_address: text(swarm.get("NodeAddr")),
            is_manager: swarm
                .get("ControlAvailable")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
            cluster_id: text(swarm.pointer("/Cluster/ID")),
            error: text(swarm.get("Error")),
            managers: number("Managers"),
            nodes: number("Nodes"),
            remote_managers: swarm
                .get("RemoteManagers")
                .and_then(Value::as_array)
                .map(|list| {
                    list.iter()
                        .filter_map(|m| m.get("Addr").and_then(Value::as_str).map(str::to_owned))
                        .collect()
                })
                .unwrap_or_default(),
            address_pools: swarm
                .pointer("/Cluster/DefaultAddrPool")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|pool| pool.as_str()?.parse().ok())
                .collect(),
            data_path_port: swarm
                .pointer("/Cluster/DataPathPort")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        }
    }

    /// A network by name.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// The addresses of running containers on a network, each with whose it is.
    #[must_use]
    pub fn addresses_on(&self, network: &str) -> Vec<(Ipv4Addr, String)> {
        let address = |container: &Container| {
            let text = container
                .networks
                .get(network)?
                .get("IPAddress")?
                .as_str()?;
            Some((text.parse().ok()?, container.name.clone()))
        };
        self.containers
            .iter()
            .filter(|container| container.is_running())
            .filter_map(address)
            .collect()
    }

    /// Running containers that are not docker-cluster's own.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers
            .iter()
            .filter(|container| container.is_running() && !container.is_own())
    }
}

/// Swarm mode as one engine sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swarm {
    /// `inactive`, `pending`, `active`, `error`, `locked`; empty if the engine does not say.
    pub state: String,
    /// This node's id.
    pub node_id: String,
    /// This node's address.
    pub node_address: String,
    /// Whether it is a manager that can reach a quorum.
    pub is_manager: bool,
    /// Id of the swarm; managers only.
    pub cluster_id: String,
    /// The engine's own words on what is wrong.
    pub error: String,
    /// Managers, as a manager counts them.
    pub managers: u64,
    /// Nodes, as a manager counts them.
    pub nodes: u64,
    /// Addresses of managers, as `ip:port`.
    pub remote_managers: Vec<String>,
    /// Pools of networks made without a subnet; managers only.
    pub address_pools: Vec<IpNet>,
    /// VXLAN port; managers only, 0 elsewhere.
    pub data_path_port: u64,
}

impl Swarm {
    /// Whether this engine is part of a swarm, in whatever state.
    #[must_use]
    pub fn is_member(&self) -> bool {
        !matches!(self.state.as_str(), "" | "inactive")
    }
}

/// A node of a swarm, as a manager sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// `ready`, `down`, `unknown`.
    pub state: String,
    /// `active`, `pause`, `drain`.
    pub availability: String,
    /// Whether it is meant to be a manager.
    pub is_manager: bool,
    /// Whether it counts for the quorum. After a new cluster was forced, the managers of before are such by name only:
    /// they cannot be demoted, and need not be before they are removed (swarmkit, controlapi's `RemoveNode`).
    pub is_raft_member: bool,
    /// Whether it is a manager that the others reach.
    pub is_reachable: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it sends from: what the managers see, and what it says as one of them.
    pub addresses: Vec<IpAddr>,
}

/// A file that docker-cluster cares about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFact {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Mode in octal, such as `640`.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
}

/// The store's part on a host.
#[derive(Debug, Clone, Default)]
pub struct StoreFacts {
    /// Path of the program.
    pub path: String,
    /// Version of the program.
    pub version: Option<semver::Version>,
    /// SHA-256 of the program that docker-cluster pushed.
    pub sha256: String,
    /// Whether the local agent answers with a leader behind it.
    pub ready: bool,
    /// What it says instead.
    pub error: String,
    /// The agent's configuration, without its secrets.
    pub config: Option<String>,
    /// The agents that this one knows: name and status.
    pub members: Vec<(String, String)>,
    /// The agent's certificate, in PEM.
    pub agent_cert: String,
    /// The certificate that the engine shows to its agent, in PEM.
    pub engine_cert: String,
    /// The CA's certificate, in PEM.
    pub ca_cert: String,
}

/// What an engine that listens on the network shows to its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiFacts {
    /// The CA's certificate, in PEM.
    pub ca: String,
    /// Its own certificate, in PEM.
    pub cert: String,
    /// That of a manager of standalone Swarm, in PEM.
    pub manager: String,
}

/// A service, secret or config of a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSwarm {
    /// `service`, `secret` or `config`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The stack that it belongs to.
    pub stack: Option<String>,
}

/// Links to other hosts that docker-cluster itself has made on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Their configuration, each line in words.
    pub config: Vec<Vec<String>>,
    /// What is not as the configuration says, a sentence each.
    pub wrong: Vec<String>,
}

impl LinkFacts {
    /// The words after the first, of the lines that begin with it.
    pub fn lines<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a [String]> + 'a {
        self.config.iter().filter_map(move |line| {
            line.split_first()
                .filter(|(first, _)| *first == word)
                .map(|(_, rest)| rest)
        })
    }

    /// The second word of the first line that begins with this one.
    pub fn word(&self, first: &str) -> Option<&str> {
        let find = |line: &&Vec<String>| line.first().is_some_and(|word| word == first);
        self.config.iter().find(find)?.get(1).map(String::as_str)
    }
}

/// A mesh with other hosts that docker-cluster itself has made on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshFacts {
    /// Its configuration, and what is not as that says.
    pub links: LinkFacts,
    /// The public half of the host's key; empty if it has none.
    pub key: String,
    /// The other hosts, by name: how many seconds ago they were heard, if ever, and from where.
    pub heard: BTreeMap<String, (Option<u64>, String)>,
}

/// What the engine of a host has written beside its options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataFacts {
    /// Volumes of the engine's own driver, each with its size in bytes if that was told in time.
    pub volumes: Vec<(String, Option<u64>)>,
    /// Size of all layers of images, in bytes.
    pub layers: Option<u64>,
    /// The folders of engine and containerd in which there is something, each with its size in bytes.
    pub folders: Vec<(String, Option<u64>)>,
}

/// What apt and dpkg say, asked where something may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageFacts {
    /// Packages around engines that are there, with dpkg's two or three letters of their state and their version.
    pub present: BTreeMap<String, (String, String)>,
    /// Packages of any kind that are half installed.
    pub halves: Vec<String>,
    /// What apt would do for what is missing, as far as it is more than adding packages: `(FOR, WORD, PACKAGE, VERSION)`, where the word
    /// is `Remv` or `Inst` and the version the present one.
    pub changes: Vec<(String, String, String, String)>,
    /// Why apt could not: what for, and its words.
    pub refusals: Vec<(String, String)>,
    /// Programs of an engine that no package owns, where packages put theirs.
    pub by_hand: Vec<String>,
}

/// Everything known of a host.
#[derive(Debug, Clone)]
pub struct Facts {
    /// `ID` of `/etc/os-release`.
    pub os_id: String,
    /// `VERSION_ID`.
    pub os_version: String,
    /// `VERSION_CODENAME`, which a release under way has and a number it has not.
    pub os_codename: String,
    /// `PRETTY_NAME`.
    pub os_pretty: String,
    /// Kernel release as it is written.
    pub kernel_text: String,
    /// Kernel version.
    pub kernel: Option<(u64, u64, u64)>,
    /// Machine architecture.
    pub architecture: String,
    /// Host name.
    pub hostname: String,
    /// Machine id.
    pub machine_id: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// The host's clock, in seconds since 1970.
    pub clock: i64,
    /// How far the host's clock is from this machine's, in seconds; 0 within the time of the probe.
    pub clock_offset: i64,
    /// Kernel modules.
    pub modules: BTreeMap<String, Module>,
    /// Interfaces.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Who configures an interface, by its name; nobody who is known does those that are not here.
    pub managers: BTreeMap<String, Manager>,
    /// The files that systemd-networkd and ifupdown go by.
    pub manager_lines: Vec<FileLine>,
    /// Routes, the default route as `0.0.0.0/0`.
    pub routes: Vec<Route>,
    /// Listening TCP sockets.
    pub tcp: BTreeSet<(IpAddr, u16)>,
    /// Bound UDP sockets.
    pub udp: BTreeSet<(IpAddr, u16)>,
    /// Init system.
    pub init: Init,
    /// Package managers.
    pub package_managers: BTreeSet<String>,
    /// What apt would install, by package, if its lists say.
    pub candidates: BTreeMap<String, String>,
    /// All versions of the engine that its packages offer, the newest first.
    pub engine_versions: Vec<String>,
    /// All versions of its client as a package of its own.
    pub client_versions: Vec<String>,
    /// The engine, if there is one.
    pub engine: Option<Engine>,
    /// What apt and dpkg say of them.
    pub packages: PackageFacts,
    /// The links to other hosts that are docker-cluster's own, if there are any.
    pub links: Option<LinkFacts>,
    /// The mesh that carries them, if it is docker-cluster's own.
    pub mesh: Option<MeshFacts>,
    /// What of the programs of WireGuard is there: `wg`, `wireguard-go`.
    pub mesh_programs: BTreeSet<String>,
    /// What an installation was about that was cut off.
    pub installing: Vec<String>,
    /// Who else uses containerd, in words: `kubelet (active)`, `12 in containerd's namespace k8s.io`.
    pub on_containerd: Vec<String>,
    /// What its engine has written; asked only where it may go.
    pub data: DataFacts,
    /// Services, secrets and configs of the swarm, by the word of a manager that told all of them; asked only where the swarm may end.
    pub in_swarm: Option<Vec<InSwarm>>,
    /// `/etc/docker/daemon.json`, if there is one.
    pub daemon_json: Option<String>,
    /// The engine's unit and its drop-ins, in the order in which systemd reads them.
    pub unit_lines: Vec<FileLine>,
    /// The files that they name for the environment.
    pub environment_files: Vec<FileLine>,
    /// The engine's process, if it runs.
    pub engine_process: Option<EngineProcess>,
    /// systemd units by name.
    pub units: BTreeMap<String, Unit>,
    /// Whether it has the programs of iptables, by which rules are made.
    pub iptables: bool,
    /// Its firewall, if that throws away what no rule lets in.
    pub firewall: Option<firewall::Firewall>,
    /// Whether the socket that every client looks for is there.
    pub docker_sock: bool,
    /// The store.
    pub store: StoreFacts,
    /// The certificates for its engine on the network.
    pub api: ApiFacts,
    /// Files of docker-cluster, and `daemon.json`.
    pub files: BTreeMap<String, FileFact>,
    /// Lists that the host did not tell to their end, by the name of their section.
    pub incomplete: BTreeSet<&'static str>,
    /// What docker-cluster has written here.
    pub records: Vec<Record>,
    /// The start of its unit that was the present one when a file was written, by the file's key in the record.
    pub written_before: BTreeMap<String, String>,
    /// What was there before a file was first written, by the file's key in the record.
    pub origins: BTreeMap<String, Origin>,
    /// What docker-cluster added to this host beside files, as its record says: `package NAME`, `image NAME`, `network NAME`.
    pub made: BTreeSet<String>,
    /// The text of `daemon.json` before docker-cluster wrote it first; `None` if there was no file or nothing was written.
    pub daemon_json_origin: Option<String>,
    /// The text of `daemon.json` as docker-cluster last wrote it.
    pub daemon_json_written: Option<String>,
    /// Id of the swarm that this engine is in, from its node certificate; workers do not tell it otherwise.
    pub swarm_cluster: Option<String>,
    /// Whether this engine is a manager by its node certificate, also while its quorum is lost.
    pub swarm_manager: bool,
    /// When this engine's node certificate ends, in seconds since 1970.
    pub swarm_certificate_ends: Option<i64>,
    /// The nodes of the swarm, as a manager sees them; empty elsewhere.
    pub nodes: Vec<Node>,
    /// What hung on the networks of this host when a migration began.
    pub migration: Option<MigrationRecord>,
    /// Whether the store's system user exists.
    pub store_user: bool,
    /// Whether who logs in becomes root by sudo.
    pub through_sudo: bool,
}

/// What was in the place of a file before docker-cluster wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nothing.
    Absent,
    /// A file, which is kept.
    File,
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// What every plan needs. What apt would install is part of it only where an engine or a store may be missing: the answer
    /// costs the host more than half of all the others.
    #[default]
    Usual,
    /// What apt would install as well, for upgrades.
    Candidates,
    /// What hangs on the networks over a store, as each engine knows it.
    Endpoints,
    /// What would be lost with a swarm.
    Removal,
    /// The same, and what would be lost with an engine.
    Data,
}

impl Scope {
    /// The words that the probe is given.
    #[must_use]
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Usual => &[],
            Self::Candidates => &["candidates"],
            Self::Endpoints => &["endpoints"],
            Self::Removal => &["removal"],
            Self::Data => &["data"],
        }
    }
}

impl Facts {
    /// The unit of that name, if systemd knows it.
    #[must_use]
    pub fn unit(&self, name: &str) -> Option<&Unit> {
        self.units.get(name).filter(|unit| unit.load != "not-found")
    }

    /// Whether a unit runs since before a file was written that it only reads when it starts: a run was cut off in between.
    #[must_use]
    pub fn has_not_read(&self, unit: &str, path: &str) -> bool {
        let written_before = self
            .written_before
            .get(&crate::record::key(path))
            .filter(|start| !start.is_empty());
        let now = self
            .unit(unit)
            .filter(|unit| unit.active == "active")
            .map(|unit| &unit.invocation);
        written_before.is_some() && written_before == now
    }

    /// Whether the mesh that carries this host is not as it should be: what its engine says of a swarm is then no last word on that.
    #[must_use]
    pub fn mesh_is_torn(&self) -> bool {
        let mesh = self.mesh.as_ref();
        mesh.is_some_and(|mesh| !mesh.links.wrong.is_empty())
    }

    /// Whether the engine's socket is gone while the unit that made it is active. An engine that itself listened on
    /// `unix:///var/run/docker.sock` removes the file when it ends, and systemd does not make it again for an engine that starts.
    #[must_use]
    pub fn socket_gone(&self) -> bool {
        !self.docker_sock && self.is_active("docker.socket")
    }

    /// Whether the unit is active.
    #[must_use]
    pub fn is_active(&self, unit: &str) -> bool {
        self.unit(unit).is_some_and(|unit| unit.active == "active")
    }

    /// MTU of an interface.
    #[must_use]
    pub fn mtu_of(&self, interface: &str) -> Option<u32> {
        self.interfaces
            .iter()
            .find(|i| i.name == interface)
            .map(|i| i.mtu)
    }

    /// The first IPv4 address of an interface.
    #[must_use]
    pub fn ipv4_of(&self, interface: &str) -> Option<Ipv4Addr> {
        self.addresses
            .iter()
            .filter(|a| a.interface == interface)
            .find_map(|a| match a.net.addr() {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            })
    }

    /// The interface that has an address.
    #[must_use]
    pub fn interface_with(&self, ip: IpAddr) -> Option<&str> {
        self.addresses
            .iter()
            .find(|a| a.net.addr() == ip)
            .map(|a| a.interface.as_str())
    }

    /// The addresses that packets may have which go from here to there: what the routes say, the interfaces' own where they do not.
    #[must_use]
    pub fn sources_towards(&self, to: IpAddr) -> BTreeSet<IpAddr> {
        let leads = || self.routes.iter().filter(|route| route.to.contains(&to));
        let Some(longest) = leads().map(|route| route.to.prefix_len()).max() else {
            return BTreeSet::new();
        };
        let of_interface = |name: &str| {
            let its = self.addresses.iter().filter(|a| a.interface == name);
            its.map(|a| a.net.addr())
                .filter(|a| a.is_ipv4() == to.is_ipv4())
                .collect::<BTreeSet<IpAddr>>()
        };
        leads()
            .filter(|route| route.to.prefix_len() == longest)
            .flat_map(|route| match route.source {
                Some(source) => BTreeSet::from([source]),
                None => of_interface(&route.interface),
            })
            .collect()
    }

    /// Interface of the default route.
    #[must_use]
    pub fn default_interface(&self) -> Option<&str> {
        self.routes
            .iter()
            .find(|r| r.to.prefix_len() == 0)
            .map(|r| r.interface.as_str())
    }

    /// The record of a file that docker-cluster wrote.
    #[must_use]
    pub fn record(&self, path: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.path == path)
    }
}
