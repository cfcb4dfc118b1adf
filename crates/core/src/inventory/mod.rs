//! The inventory: YAML to types, with errors that point at the line.
//!
//! [`raw`] is what serde reads, [`check`] what makes it whole; everything else uses the typed [`Inventory`].

mod bgp;
mod check;
mod encoding;
mod error;
mod file;
mod filter;
pub mod raw;
mod standalone;
mod underlay;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

pub use crate::names::{ClusterName, HostName, NetworkName, Tag, container_name};
pub use bgp::{BgpSpec, PassedOn, PasswordFile, RouterSpec};
pub use check::{VXLAN_OVERHEAD, overlap};
pub use encoding::{NotText, decode};
pub use error::{Colour, Flaw, InventoryError};
pub use file::NamedFile;
pub use filter::Filter;
pub use raw::{Become, BridgeKind, FabricKind, HostKeyPolicy, InstallPolicy, StoreKind};
pub use standalone::{
    DEFAULT_SWARM_IMAGE, SWARM_PORT, StandaloneSpec, Strategy, SwarmFilter, SwarmKind, SwarmTar,
};
pub use underlay::{Endpoint, UnderlaySpec, WireguardSpec};

/// The file a command reads when none is named.
pub const DEFAULT_FILE: &str = "cluster.yaml";

/// Default subnet of the overlay. Not from `10.0.0.0/16`, where most LANs and Docker's own swarm pool begin.
pub const DEFAULT_SUBNET: &str = "10.90.0.0/16";

/// Default prefix length of a host's part of the subnet: 254 containers on each of 256 hosts of the default subnet.
pub const DEFAULT_HOST_PREFIX: u8 = 24;

/// Default VXLAN. Not port 4789, which engines in swarm mode and overlays take.
pub const DEFAULT_VXLAN: VxlanSpec = VxlanSpec { id: 42, port: 4790 };

/// The autonomous system that hosts are: the first of those that nobody has on the Internet (RFC 6996).
pub const DEFAULT_AS: u32 = 64512;

/// Default smoke-test image: it holds nginx and wget both, and is in every mirror of Docker Hub.
pub const DEFAULT_SMOKE_IMAGE: &str = "nginx:alpine";

/// Oldest kernel by default: the first whose VXLAN and network namespaces overlay networks can rely on (Docker's
/// documentation of multi-host networking asks for 3.16).
pub const DEFAULT_KERNEL_MINIMUM: (u64, u64, u64) = (3, 16, 0);

/// How long a connection may take by default. A LAN answers in milliseconds and a far host in one or two
/// seconds; what has not answered after ten is not going to.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an SSH connection outlives the command that made it, by default: long enough that the next command of a person
/// at work finds it, short enough that a laptop left alone holds nothing open.
pub const DEFAULT_PERSIST: Duration = Duration::from_secs(600);

/// A checked inventory.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// The hosts, in the order of the file.
    pub hosts: Vec<HostSpec>,
    /// The engine.
    pub engine: EngineSpec,
    /// Oldest kernel accepted.
    pub kernel_minimum: (u64, u64, u64),
    /// The store.
    pub store: StoreSpec,
    /// The network.
    pub network: NetworkSpec,
    /// What lies under it.
    pub underlay: UnderlaySpec,
    /// Swarm mode.
    pub swarm: SwarmSpec,
    /// The smoke test.
    pub smoke: SmokeSpec,
    /// How many engines may restart at a time while containers run.
    pub restart_parallel: usize,
}

/// A host of the inventory.
#[derive(Debug, Clone)]
pub struct HostSpec {
    /// Its name.
    pub name: HostName,
    /// How to reach it.
    pub ssh: SshSpec,
    /// Where the other hosts reach it.
    pub private: PrivateAddress,
    /// Where the mesh of an underlay reaches it.
    pub endpoint: Endpoint,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its part of the network's subnet, if the inventory names it.
    pub subnet: Option<IpNet>,
    /// Where its engine listens on the network, if it does.
    pub api: Option<ApiSpec>,
}

/// TCP port of an engine with TLS: Docker's own.
pub const API_PORT: u16 = 2376;

/// An engine that listens on the network, for who has a certificate of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSpec {
    /// Where it listens; none is the host's private address.
    pub listen: Option<IpAddr>,
    /// Where clients reach it: an address, or a name.
    pub host: String,
    /// More names in its certificate.
    pub names: Vec<String>,
    /// More addresses in its certificate.
    pub addresses: Vec<IpAddr>,
}

impl ApiSpec {
    /// Whether it listens on all addresses of its host.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.listen.is_some_and(|ip| ip.is_unspecified())
    }

    /// Where clients reach it, as `DOCKER_HOST` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        tcp_url(&self.host)
    }

    /// Where clients reach a manager of standalone Swarm on the same host, as `DOCKER_HOST` takes it.
    #[must_use]
    pub fn manager_url(&self, swarm: &StandaloneSpec) -> String {
        tcp_url_at(&self.host, swarm.port)
    }
}

/// An engine with TLS at an address or a name, as Docker writes it.
#[must_use]
pub fn tcp_url(host: &str) -> String {
    tcp_url_at(host, API_PORT)
}

/// The same at another port.
#[must_use]
pub fn tcp_url_at(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("tcp://[{host}]:{port}"),
        false => format!("tcp://{host}:{port}"),
    }
}

/// How ssh reaches a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSpec {
    /// Host name, IP address or alias of `~/.ssh/config`.
    pub address: String,
    /// Login user, if not left to ssh.
    pub user: Option<String>,
    /// Port, if not left to ssh.
    pub port: Option<u16>,
    /// Private key file.
    pub identity: Option<PathBuf>,
    /// Jump host.
    pub jump: Option<String>,
    /// How to become root.
    pub become_root: Become,
    /// Host keys; `None` is `accept-new` unless `~/.ssh/config` says something for this host.
    pub host_key: Option<HostKeyPolicy>,
    /// A `known_hosts` file of its own.
    pub known_hosts: Option<PathBuf>,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long a connection outlives the command that made it.
    pub persist: Duration,
}

impl SshSpec {
    /// The destination as a person would type it, for messages and hints.
    #[must_use]
    pub fn destination(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.address),
            None => self.address.clone(),
        }
    }
}

/// Where the other hosts reach a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivateAddress {
    /// Found from its own routes: the address it uses towards the other hosts.
    Auto,
    /// This address.
    Ip(IpAddr),
    /// The first IPv4 address of this interface.
    Interface(String),
}

/// The engine.
#[derive(Debug, Clone)]
pub struct EngineSpec {
    /// Accepted versions.
    pub version: Option<semver::VersionReq>,
    /// Whether a missing engine is installed.
    pub install: InstallPolicy,
    /// More daemon options.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// A CA of the person's own for engines that listen.
    pub ca: Option<OwnCa>,
}

/// A CA on this machine. Its key is read when a certificate is issued, and is on no host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCa {
    /// The file of its certificate.
    pub cert: NamedFile,
    /// The file of its key.
    pub key: NamedFile,
    /// Its certificate in PEM, once it is read; empty if it cannot be.
    pub text: String,
    /// Why nothing can be signed with it, as a sentence.
    pub flaw: Option<String>,
}

/// The store.
#[derive(Debug, Clone)]
pub struct StoreSpec {
    /// Which kind is run.
    pub kind: StoreKind,
    /// Which hosts are servers.
    pub servers: Members,
    /// Where its program comes from.
    pub source: ProgramSource,
    /// An external store instead.
    pub external: Option<ExternalStore>,
}

/// An external store.
#[derive(Debug, Clone)]
pub struct ExternalStore {
    /// The URL as the engine wants it: `provider://addr[,addr...][/prefix]`.
    pub url: String,
    /// `cluster-store-opts`.
    pub options: BTreeMap<String, String>,
}

/// Servers or managers: by number, by name, or by the size of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// By the size of the cluster.
    BySize,
    /// So many.
    Count(usize),
    /// These.
    Named(Vec<HostName>),
}

impl Members {
    /// Chooses the members among `hosts`: the named ones, or the first so many.
    #[must_use]
    pub fn choose<'a>(&self, hosts: &'a [HostSpec]) -> Vec<&'a HostName> {
        let count = match self {
            Self::Named(names) => {
                return hosts
                    .iter()
                    .map(|host| &host.name)
                    .filter(|name| names.contains(name))
                    .collect();
            }
            Self::Count(count) => *count,
            Self::BySize => quorum_size(hosts.len()),
        };
        hosts.iter().map(|host| &host.name).take(count).collect()
    }
}

/// How many servers a quorum system of `hosts` hosts gets: odd, so that no server is only there to be lost; 1 where two
/// would tolerate no loss anyway; 5 from ten hosts, where two losses at a time become likely (the sizes that Consul's and
/// Docker's documentation recommend).
#[must_use]
pub fn quorum_size(hosts: usize) -> usize {
    match hosts {
        0..=2 => 1,
        3..=9 => 3,
        _ => 5,
    }
}

/// Where a program comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSource {
    /// The distribution's package.
    Package,
    /// A file on this machine.
    Path {
        /// The file.
        path: PathBuf,
        /// Its SHA-256 in lower-case hexadecimal.
        sha256: String,
        /// Its version, by which its configuration is written.
        version: semver::Version,
    },
    /// A download.
    Url {
        /// Where from.
        url: String,
        /// Its SHA-256 in lower-case hexadecimal.
        sha256: String,
        /// Its version, by which its configuration is written.
        version: semver::Version,
    },
}

/// The network.
#[derive(Debug, Clone)]
pub struct NetworkSpec {
    /// Which fabric.
    pub fabric: FabricKind,
    /// Name of the Docker network.
    pub name: NetworkName,
    /// The addresses that hosts' parts come from: its subnet, or `pool` where containers are hosts of the LAN.
    pub subnet: IpNet,
    /// MTU of the underlay, in bytes.
    pub mtu: Option<u16>,
    /// Whether the traffic between hosts is encrypted.
    pub encrypted: bool,
    /// Whether the ports of an overlay are closed to everybody else, if the inventory says so.
    pub guard: Option<bool>,
    /// Who may send to these ports beside those who are known to take part.
    pub guard_allow: Vec<IpNet>,
    /// Prefix length of each host's part of the subnet.
    pub host_prefix: u8,
    /// The VXLAN of the fabric of that name.
    pub vxlan: VxlanSpec,
    /// Which bridge has each host's part.
    pub bridge: BridgeKind,
    /// The LAN, for fabrics whose containers are hosts of it.
    pub lan: Option<LanSpec>,
    /// Who announces what to whom.
    pub bgp: BgpSpec,
}

/// The engine's network of containers that name none, which is on `docker0`.
pub const DEFAULT_NETWORK: &str = "bridge";

impl NetworkSpec {
    /// The engine's network whose containers are connected.
    #[must_use]
    pub fn of_containers(&self) -> &str {
        match self.bridge {
            BridgeKind::Own => self.name.as_str(),
            BridgeKind::Docker0 => DEFAULT_NETWORK,
        }
    }

    /// The key that says where the hosts' parts come from.
    #[must_use]
    pub fn parts_key(&self) -> &'static str {
        if self.lan.is_some() {
            "network.pool"
        } else {
            "network.subnet"
        }
    }
}

/// A LAN whose hosts containers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanSpec {
    /// Its subnet, if it is not to be taken from the hosts' own addresses.
    pub subnet: Option<IpNet>,
    /// Its router, if it is not each host's own.
    pub gateway: Option<IpAddr>,
    /// The interface in it, if it is not the one with the host's private address.
    pub interface: Option<String>,
    /// Whether a host reaches its own containers.
    pub shim: bool,
}

/// A VXLAN of docker-cluster's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VxlanSpec {
    /// Its number, 24 bits.
    pub id: u32,
    /// Its UDP port.
    pub port: u16,
}

/// Swarm mode.
#[derive(Debug, Clone)]
pub struct SwarmSpec {
    /// Which hosts are managers.
    pub managers: Members,
    /// Tags to spread managers over.
    pub spread: Vec<Tag>,
    /// Pool for networks made without a subnet.
    pub address_pool: Option<IpNet>,
    /// UDP port of the VXLAN data path.
    pub data_path_port: u16,
    /// Standalone Swarm instead, if that is wanted.
    pub standalone: Option<StandaloneSpec>,
}

/// The smoke test.
#[derive(Debug, Clone)]
pub struct SmokeSpec {
    /// The image.
    pub image: String,
    /// A tar of it on this machine.
    pub tar: Option<PathBuf>,
}

impl Inventory {
    /// Parses and checks an inventory. `file` is its name in errors, and its folder is where relative paths start.
    pub fn parse(source: &str, file: &str) -> Result<Self, InventoryError> {
        check::inventory(source, file)
    }

    /// The same, with paths that begin with `~/` in this folder.
    #[must_use]
    pub fn with_home(mut self, home: &Path) -> Self {
        let of_hosts = self
            .hosts
            .iter_mut()
            .flat_map(|host| [&mut host.ssh.identity, &mut host.ssh.known_hosts]);
        let optional = of_hosts.chain([&mut self.smoke.tar]).flatten();
        let swarm = self.swarm.standalone.as_mut();
        let optional = optional.chain(swarm.and_then(|swarm| Some(&mut swarm.tar.as_mut()?.path)));
        let ca = self.engine.ca.as_mut();
        let optional = optional.chain(
            ca.into_iter()
                .flat_map(|ca| [&mut ca.cert.path, &mut ca.key.path]),
        );
        let program = match &mut self.store.source {
            ProgramSource::Path { path, .. } => Some(path),
            ProgramSource::Package | ProgramSource::Url { .. } => None,
        };
        let passwords = self
            .network
            .bgp
            .passwords_mut()
            .map(|password| &mut password.file.path);
        for path in optional.chain(program).chain(passwords) {
            if let Ok(rest) = path.strip_prefix("~") {
                *path = home.join(rest);
            }
        }
        self
    }

    /// Whether the ports of its overlay, if it is one, are closed by a guard to everybody who takes no part. A mesh closes them itself.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        if matches!(self.underlay, UnderlaySpec::Wireguard(_)) {
            return false;
        }
        let by_default = match self.network.fabric {
            FabricKind::Swarm => true,
            FabricKind::Overlay | FabricKind::Auto => self.store.external.is_none(),
            _ => return false,
        };
        self.network.guard.unwrap_or(by_default)
    }

    /// The host of that name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&HostSpec> {
        self.hosts.iter().find(|host| host.name.as_str() == name)
    }

    /// The JSON Schema of an inventory file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(raw::RawInventory).to_value()
    }
}

/// Makes a relative path relative to the folder of the inventory. One that begins with `~/` waits for [`Inventory::with_home`].
fn resolve_path(text: &str, inventory_file: &str) -> PathBuf {
    if text.starts_with("~/") {
        return PathBuf::from(text);
    }
    let folder = Path::new(inventory_file).parent().unwrap_or(Path::new(""));
    folder.join(text)
}
