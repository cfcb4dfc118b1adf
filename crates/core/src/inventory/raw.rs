//! The inventory as it is written: what serde reads and what the JSON Schema describes.
//!
//! Every value that can be wrong in itself is [`Spanned`], so that an error can point at it. Nothing outside
//! [`crate::inventory`] sees these types; [`super::check`] turns them into the typed [`super::Inventory`].

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::standalone::{Strategy, SwarmFilter, SwarmKind};
use super::underlay::RawUnderlay;

/// An inventory of docker-cluster: the hosts and what connects them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "docker-cluster inventory")]
pub struct RawInventory {
    /// Name of the cluster; letters, digits, `-`, `_` and `.`. Default: `cluster`.
    #[schemars(with = "Option<String>")]
    pub cluster: Option<Spanned<String>>,
    /// How hosts are reached, unless a host says otherwise.
    #[serde(default)]
    pub ssh: RawSsh,
    /// The Docker engine on every host.
    #[serde(default)]
    pub engine: RawEngine,
    /// What is asked of the kernel.
    #[serde(default)]
    pub kernel: RawKernel,
    /// The key-value store behind a classic overlay.
    #[serde(default)]
    pub store: RawStore,
    /// The network that connects the containers.
    #[serde(default)]
    pub network: RawNetwork,
    /// What lies under the network: `plain` (the hosts' own network), `wireguard` (a mesh of it, which encrypts everything), or a map with
    /// `wireguard` or `interface`. Default: `plain`.
    #[schemars(with = "Option<RawUnderlay>")]
    pub underlay: Option<Spanned<RawUnderlay>>,
    /// Swarm mode settings, for the `swarm` fabric; or standalone Swarm, over the `overlay` fabric.
    #[serde(default)]
    pub swarm: RawSwarm,
    /// The reachability smoke test.
    #[serde(default)]
    pub smoke: RawSmoke,
    /// How engines are restarted.
    #[serde(default)]
    pub restart: RawRestart,
    /// The hosts: addresses, or maps with more.
    #[schemars(with = "Vec<RawHost>", length(min = 1))]
    pub hosts: Spanned<Vec<Spanned<RawHost>>>,
}

/// SSH settings. They win over `~/.ssh/config`, which counts for everything that is not said here.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSsh {
    /// Login user. Default: what `~/.ssh/config` or ssh itself says.
    #[schemars(with = "Option<String>")]
    pub user: Option<Spanned<String>>,
    /// Port of sshd. Default: what `~/.ssh/config` or ssh itself says.
    #[schemars(with = "Option<u16>")]
    pub port: Option<Spanned<u16>>,
    /// Private key file; `~/` is expanded and a relative path is relative to the inventory.
    #[schemars(with = "Option<String>")]
    pub identity: Option<Spanned<String>>,
    /// Jump host as in `ssh -J`: `[user@]host[:port]`, several separated by commas.
    #[schemars(with = "Option<String>")]
    pub jump: Option<Spanned<String>>,
    /// How to become root: `auto` (root, or sudo when the login is not root), `root` or `sudo`.
    #[schemars(with = "Option<Become>")]
    #[serde(rename = "become")]
    pub become_root: Option<Spanned<Become>>,
    /// `accept-new` remembers the key of a host seen for the first time; `strict` refuses it. A changed key is always fatal.
    #[schemars(with = "Option<HostKeyPolicy>")]
    pub host_key: Option<Spanned<HostKeyPolicy>>,
    /// A `known_hosts` file to use instead of the user's own.
    #[schemars(with = "Option<String>")]
    pub known_hosts: Option<Spanned<String>>,
    /// How long to wait for a connection, such as `10s`. Default: 10s.
    #[schemars(with = "Option<String>")]
    pub connect_timeout: Option<Spanned<String>>,
    /// How long a connection outlives the command that made it, such as `10m`. Default: 10m. `docker-cluster disconnect`
    /// closes it at once.
    #[schemars(with = "Option<String>")]
    pub persist: Option<Spanned<String>>,
}

/// How to become root on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Become {
    /// Root if the login is root, else passwordless sudo.
    Auto,
    /// The login must be root.
    Root,
    /// Passwordless sudo.
    Sudo,
}

/// What to do about host keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// Remember the key of a host seen for the first time.
    AcceptNew,
    /// Refuse a host whose key is not known.
    Strict,
}

/// The Docker engine.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEngine {
    /// Version constraint such as `>=20.10, <23`. Default: any version that can carry the fabric.
    #[schemars(with = "Option<String>")]
    pub version: Option<Spanned<String>>,
    /// `auto` installs a missing engine from the distribution's packages; `never` makes a missing engine a problem.
    pub install: Option<InstallPolicy>,
    /// More daemon options, merged into `daemon.json`. A key that the host already sets otherwise is a problem.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub options: Option<Spanned<RawOptions>>,
    /// How clients reach the engine: `ssh` (default), or `tls` as well, on port 2376 with certificates of the cluster's own.
    pub api: Option<EngineApi>,
    /// Where it listens for `api: tls`, for all hosts: `0.0.0.0`, which is on all addresses. Default: each host's private address.
    #[schemars(with = "Option<String>")]
    pub address: Option<Spanned<String>>,
    /// More names and addresses in the certificates of all engines, for `api: tls`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub tls_san: Vec<Spanned<String>>,
    /// The certificate of a CA of your own for `api: tls`, a file on this machine; a relative path is relative to the inventory. Default: a
    /// CA that docker-cluster makes, and keeps on the hosts.
    #[serde(default, deserialize_with = "a_value")]
    #[schemars(with = "Option<String>")]
    pub ca: Option<Spanned<String>>,
    /// The key of that CA, a file on this machine. Required with `ca`.
    #[serde(default, deserialize_with = "a_value")]
    #[schemars(with = "Option<String>")]
    pub ca_key: Option<Spanned<String>>,
}

/// How clients reach an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EngineApi {
    /// Over SSH alone: nothing listens on the network.
    Ssh,
    /// On TCP port 2376 as well, for who has a certificate of the cluster.
    Tls,
}

/// The engine of one host.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHostEngine {
    /// How clients reach it: `ssh`, or `tls` as well. Default: what `engine.api` says for all hosts.
    #[schemars(with = "Option<EngineApi>")]
    pub api: Option<Spanned<EngineApi>>,
    /// Where it listens for `api: tls`: an address of the host, or `0.0.0.0` for all of them. Default: its private address.
    #[schemars(with = "Option<String>")]
    pub address: Option<Spanned<String>>,
    /// More names and addresses in its certificate, for `api: tls`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub tls_san: Vec<Spanned<String>>,
}

/// Options with the place of each, so that an error can point at one.
#[derive(Debug, Default, Clone)]
pub struct RawOptions(pub Vec<(String, Spanned<RawValue>)>);

/// A value of any kind, with the places of what is in it.
#[derive(Debug, Default, Clone)]
pub enum RawValue {
    /// Nothing.
    #[default]
    Null,
    /// A number, a text, or true or false.
    Plain(serde_json::Value),
    /// A list.
    List(Vec<Spanned<RawValue>>),
    /// Keys with values.
    Map(RawOptions),
}

impl RawOptions {
    /// The options without their places.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.0
            .iter()
            .map(|(key, value)| (key.clone(), value.value.to_json()))
            .collect()
    }
}

impl RawValue {
    /// The value without the places.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Plain(value) => value.clone(),
            Self::List(values) => values.iter().map(|value| value.value.to_json()).collect(),
            Self::Map(options) => serde_json::Value::Object(options.to_json()),
        }
    }
}

// By hand: derived code would go through a buffer, which loses the places.
impl<'de> Deserialize<'de> for RawOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OptionsVisitor;
        impl<'de> Visitor<'de> for OptionsVisitor {
            type Value = RawOptions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("options, as keys with values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawOptions, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(RawOptions(all))
            }
        }
        deserializer.deserialize_map(OptionsVisitor)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = RawValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.into()))
            }

            fn visit_unit<E>(self) -> Result<RawValue, E> {
                Ok(RawValue::Null)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawValue, A::Error> {
                let mut all = Vec::new();
                while let Some(value) = list.next_element()? {
                    all.push(value);
                }
                Ok(RawValue::List(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(RawValue::Map(RawOptions(all)))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Whether a missing engine is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstallPolicy {
    /// Install it from the distribution's packages.
    Auto,
    /// Leave the host alone and report it.
    Never,
}

/// The kernel.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKernel {
    /// Oldest kernel accepted. Default: `3.16`, the first with a VXLAN that overlay networks can rely on.
    #[schemars(with = "Option<String>")]
    pub minimum: Option<Spanned<String>>,
}

/// The key-value store.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawStore {
    /// Which store to run on the hosts.
    pub kind: Option<StoreKind>,
    /// The servers: a number (odd), or names of hosts. Default: 1 for one or two hosts, 3 up to ten, 5 from there.
    #[schemars(with = "Option<RawServers>")]
    pub servers: Option<Spanned<RawServers>>,
    /// Where the store's program comes from. Default: the distribution's package.
    pub source: Option<RawSource>,
    /// An external store that docker-cluster does not manage, such as `etcd://10.0.0.5:2379,10.0.0.6:2379/prefix`.
    #[schemars(with = "Option<String>")]
    pub url: Option<Spanned<String>>,
    /// `cluster-store-opts` for an external store (`kv.cacertfile` and others).
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// Kind of key-value store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// HashiCorp Consul: an agent on every host.
    Consul,
}

/// Servers by number or by name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawServers {
    /// How many.
    Count(usize),
    /// Which hosts.
    Names(Vec<String>),
}

/// Where a program comes from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawSource {
    /// A binary on this machine, pushed to the hosts over SSH.
    #[schemars(with = "Option<String>")]
    pub path: Option<Spanned<String>>,
    /// A binary, or a zip that holds it, fetched by this machine and pushed to the hosts over SSH.
    #[schemars(with = "Option<String>")]
    pub url: Option<Spanned<String>>,
    /// SHA-256 of the file, in hexadecimal. Required with `path` and `url`.
    #[serde(default, deserialize_with = "a_value")]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Spanned<String>>,
    /// Version of the program, such as `1.20.1`: its configuration is written for it. Required with `path` and `url`.
    #[schemars(with = "Option<String>")]
    pub version: Option<Spanned<String>>,
}

/// The network.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNetwork {
    /// How containers on different hosts reach each other. Default: `auto`.
    #[schemars(with = "Option<FabricKind>")]
    pub fabric: Option<Spanned<FabricKind>>,
    /// Name of the Docker network. Default: the cluster's name.
    #[schemars(with = "Option<String>")]
    pub name: Option<Spanned<String>>,
    /// Subnet in CIDR notation. Default: `10.90.0.0/16`; for fabrics whose containers are hosts of the LAN, the LAN's own.
    #[schemars(with = "Option<String>")]
    pub subnet: Option<Spanned<String>>,
    /// MTU of the underlay in bytes; the engine takes 50 off for VXLAN. Default: the smallest among the hosts' interfaces.
    #[schemars(with = "Option<u16>")]
    pub mtu: Option<Spanned<u16>>,
    /// Encrypt the traffic between hosts (swarm mode only). Default: false.
    #[schemars(with = "Option<bool>")]
    pub encrypted: Option<Spanned<bool>>,
    /// Whether the ports of an overlay (UDP 4789 or the swarm's own, TCP and UDP 7946, TCP 2377 of a swarm) are closed to everybody who does not take part in it. Default:
    /// true, but for a store that is not docker-cluster's own: engines outside the inventory may be in it.
    #[schemars(with = "Option<bool>")]
    pub guard: Option<Spanned<bool>>,
    /// Addresses and networks that may send to these ports as well, such as `192.0.2.0/24`: engines that somebody joins by hand. Default: none.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub guard_allow: Vec<Spanned<String>>,
    /// Prefix length of each host's part of the subnet, for fabrics that give each host one. Default: 24.
    #[schemars(with = "Option<u8>")]
    pub host_prefix: Option<Spanned<u8>>,
    /// The part of the LAN that containers get addresses from, in CIDR notation, where they are hosts of it (`macvlan`, `bridged`). Nothing else may
    /// give these out, such as the LAN's DHCP server.
    #[schemars(with = "Option<String>")]
    pub pool: Option<Spanned<String>>,
    /// The router that containers in the LAN send to. Default: that of each host.
    #[schemars(with = "Option<String>")]
    pub gateway: Option<Spanned<String>>,
    /// The interface of the LAN on every host. Default: the one with the host's private address.
    #[schemars(with = "Option<String>")]
    pub interface: Option<Spanned<String>>,
    /// Whether a host reaches its own containers, for the fabric `macvlan`. Default: false.
    #[schemars(with = "Option<bool>")]
    pub shim: Option<Spanned<bool>>,
    /// Which bridge has each host's part of the subnet, for the fabrics `routed` and `bgp`. Default: `own`.
    #[schemars(with = "Option<BridgeKind>")]
    pub bridge: Option<Spanned<BridgeKind>>,
    /// The VXLAN of the fabrics `vxlan` and `openvswitch`.
    #[serde(default)]
    pub vxlan: RawVxlan,
    /// Who announces what to whom, for the fabric `bgp`.
    #[serde(default)]
    pub bgp: RawBgp,
}

/// Who announces what to whom, for the fabric `bgp`. Without reflectors and routers every host tells every other.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBgp {
    /// Number of the autonomous system that the hosts are. Default: 64512, the first of those that are private.
    #[schemars(with = "Option<u32>")]
    #[serde(rename = "as")]
    pub number: Option<Spanned<u32>>,
    /// Hosts that pass on to all others what each of them announces. Default: none.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub reflectors: Vec<Spanned<String>>,
    /// File on this machine with the password of all sessions (TCP MD5), one line; `~/` is expanded and a relative path is relative to the
    /// inventory. Default: sessions have none.
    #[serde(default, deserialize_with = "a_value")]
    #[schemars(with = "Option<String>")]
    pub password_file: Option<Spanned<String>>,
    /// Routers of the site that pass it on instead.
    #[serde(default)]
    #[schemars(with = "Vec<RawRouter>")]
    pub routers: Vec<Spanned<RawRouter>>,
}

/// The value of a key that something is made safe by: one that is written with nothing behind it is not taken for one that is not written, which
/// would mean that there is no password, no CA of one's own, no checksum.
fn a_value<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<String>>, D::Error> {
    let value = Option::<Spanned<String>>::deserialize(deserializer)?;
    match value.filter(|text| !text.value.trim().is_empty()) {
        Some(text) => Ok(Some(text)),
        None => Err(serde::de::Error::custom(
            "there is no value here: write one, or remove the key",
        )),
    }
}

/// A router of the site that speaks BGP.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRouter {
    /// Its address on the network that the hosts are on.
    pub address: String,
    /// Number of its autonomous system.
    #[serde(rename = "as")]
    pub number: u32,
    /// File on this machine with the password of its sessions, where it is another than that of all sessions.
    #[serde(default, deserialize_with = "a_value")]
    #[schemars(with = "Option<String>")]
    pub password_file: Option<Spanned<String>>,
}

/// The VXLAN of the fabrics `vxlan` and `openvswitch`.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVxlan {
    /// Its number, which must be the cluster's own on this network. Default: 42.
    #[schemars(with = "Option<u32>")]
    pub id: Option<Spanned<u32>>,
    /// Its UDP port. Default: 4790, which no engine uses.
    #[schemars(with = "Option<u16>")]
    pub port: Option<Spanned<u16>>,
}

/// How containers on different hosts reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FabricKind {
    /// `overlay` where every engine can do it, else `swarm`.
    Auto,
    /// The classic overlay over a key-value store; engines up to 20.10.
    Overlay,
    /// An attachable overlay in swarm mode.
    Swarm,
    /// No network of its own: ports that each host publishes on its private address.
    Nat,
    /// A subnet for each host, and a route to each other host's.
    Routed,
    /// One layer 2 over all hosts by VXLAN, without a store or a swarm.
    Vxlan,
    /// Containers are hosts of the LAN, each with a MAC address of its own.
    Macvlan,
    /// Containers are hosts of the LAN, on a bridge that the host's own address moves to.
    Bridged,
    /// A subnet for each host, which BIRD announces to the others or to the site's routers.
    Bgp,
    /// One layer 2 over all hosts by a switch of Open vSwitch on each.
    Openvswitch,
}

/// Which bridge has a host's part of the subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BridgeKind {
    /// That of a network with the cluster's name.
    Own,
    /// The engine's own, which containers are on that name no network. It moves to the part, and its engine restarts.
    Docker0,
}

impl FabricKind {
    /// Whether each host's part may be that of the engine's own bridge.
    #[must_use]
    pub fn may_use_docker0(self) -> bool {
        matches!(self, Self::Routed | Self::Bgp)
    }

    /// Whether its containers are hosts of the LAN.
    #[must_use]
    pub fn is_in_lan(self) -> bool {
        matches!(self, Self::Macvlan | Self::Bridged)
    }
}

impl std::fmt::Display for FabricKind {
    /// As it is written in an inventory.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Swarm mode.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSwarm {
    /// `engine` (default): the swarm mode of the engines themselves. `standalone`: Docker Swarm in containers, as Docker Machine made it,
    /// over a classic overlay; for engines up to 20.10 with `engine.api: tls`.
    #[schemars(with = "Option<SwarmKind>")]
    pub mode: Option<Spanned<SwarmKind>>,
    /// The image of standalone Swarm. Default: `swarm:1.2.9`.
    #[schemars(with = "Option<String>")]
    pub image: Option<Spanned<String>>,
    /// A tar of that image (`docker save`), pushed over SSH to hosts that lack it; a relative path is relative to the inventory. Default:
    /// the hosts pull the image.
    #[schemars(with = "Option<String>")]
    pub tar: Option<Spanned<String>>,
    /// SHA-256 of the tar, in hexadecimal. Required with `tar`.
    #[serde(default, deserialize_with = "a_value")]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Spanned<String>>,
    /// How standalone Swarm chooses among the hosts that a container may run on. Default: `spread`.
    #[schemars(with = "Option<Strategy>")]
    pub strategy: Option<Spanned<Strategy>>,
    /// Where managers and agents of standalone Swarm find each other, such as `consul://10.0.0.5:8500`. Default: the cluster's store, with
    /// its certificates.
    #[schemars(with = "Option<String>")]
    pub discovery: Option<Spanned<String>>,
    /// By what standalone Swarm rules hosts out. Default: all of them.
    #[serde(default)]
    #[schemars(with = "Vec<SwarmFilter>")]
    pub filters: Vec<Spanned<SwarmFilter>>,
    /// The TCP port of the managers of standalone Swarm. Default: 3376.
    #[schemars(with = "Option<u16>")]
    pub port: Option<Spanned<u16>>,
    /// Whether hosts of standalone Swarm have an agent, which announces their engine. Default: true.
    #[schemars(with = "Option<bool>")]
    pub agents: Option<Spanned<bool>>,
    /// More flags of the managers of standalone Swarm, without dashes, such as `heartbeat=5s`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub options: Vec<Spanned<String>>,
    /// More flags of its agents, without dashes, such as `ttl=60s`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub join_options: Vec<Spanned<String>>,
    /// Whether standalone Swarm may use what its authors called experimental. Default: false.
    #[schemars(with = "Option<bool>")]
    pub experimental: Option<Spanned<bool>>,
    /// The managers, of either kind of swarm: a number (odd), or names of hosts. Default: 1 for one or two hosts, 3 up to ten, 5 from
    /// there.
    #[schemars(with = "Option<RawServers>")]
    pub managers: Option<Spanned<RawServers>>,
    /// Tags to spread managers over: one manager per tag first, such as one per rack.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub spread: Vec<Spanned<String>>,
    /// Pool for networks that are made without a subnet. Default: Docker's own, `10.0.0.0/8`.
    #[schemars(with = "Option<String>")]
    pub address_pool: Option<Spanned<String>>,
    /// UDP port of the VXLAN data path. Default: 4789.
    #[schemars(with = "Option<u16>")]
    pub data_path_port: Option<Spanned<u16>>,
}

/// The smoke test.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSmoke {
    /// An image that holds `sh`, `nginx` and `wget`. Default: `nginx:alpine`.
    #[schemars(with = "Option<String>")]
    pub image: Option<Spanned<String>>,
    /// A tar of that image (`docker save`), pushed over SSH to hosts that lack it; a relative path is relative to the
    /// inventory. Default: the hosts pull the image.
    #[schemars(with = "Option<String>")]
    pub tar: Option<Spanned<String>>,
}

/// Restarts.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRestart {
    /// How many engines may restart at a time while containers run. Default: 1.
    #[schemars(with = "Option<usize>")]
    pub parallel: Option<Spanned<usize>>,
}

/// A host: its address alone, or a map.
#[derive(Debug, Default, JsonSchema)]
#[schemars(untagged)]
pub enum RawHost {
    /// Nothing yet; replaced while reading.
    #[default]
    #[schemars(skip)]
    Empty,
    /// The address alone.
    Address(String),
    /// A map.
    Full(Box<RawHostMap>),
}

/// A host with settings of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHostMap {
    /// Name of the host in this inventory. Default: its address.
    #[schemars(with = "Option<String>")]
    pub name: Option<Spanned<String>>,
    /// Where ssh finds it: a host name, an IP address, or a `Host` of `~/.ssh/config`.
    #[schemars(with = "Option<String>")]
    pub address: Option<Spanned<String>>,
    /// The address or the interface over which the hosts reach each other. Default: found from the host's own routes.
    #[schemars(with = "Option<String>")]
    pub private: Option<Spanned<String>>,
    /// Where the mesh of `underlay: wireguard` reaches this host: `ADDRESS`, `ADDRESS:PORT`, or `none` for one behind a NAT that nobody
    /// can send to first. Default: its private address.
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<Spanned<String>>,
    /// Tags, to select hosts with `--on @tag`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub tags: Vec<Spanned<String>>,
    /// Labels, put on the engine's node in swarm mode.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// This host's part of the network's subnet, for fabrics that give each host one. Default: chosen once, and kept.
    #[schemars(with = "Option<String>")]
    pub subnet: Option<Spanned<String>>,
    /// What the engine of this host alone is told.
    #[serde(default)]
    pub engine: RawHostEngine,
    /// SSH settings of this host alone.
    #[serde(default)]
    pub ssh: RawSsh,
}

// By hand instead of `#[serde(untagged)]`: an untagged enum buffers its input, and the spans inside are lost.
impl<'de> Deserialize<'de> for RawHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HostVisitor;
        impl<'de> Visitor<'de> for HostVisitor {
            type Value = RawHost;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or a map with `address` and more")
            }

            fn visit_str<E>(self, address: &str) -> Result<RawHost, E> {
                Ok(RawHost::Address(address.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawHost, A::Error> {
                RawHostMap::deserialize(MapAccessDeserializer::new(map))
                    .map(|host| RawHost::Full(Box::new(host)))
            }
        }
        deserializer.deserialize_any(HostVisitor)
    }
}
