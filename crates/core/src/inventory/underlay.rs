//! What lies under the fabric: as it is written, and as it is meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::check::{
    Checker, OVERLAY_PORT, interface_name, nobodys, overlap, positive_duration, subnet,
};
use super::raw::{RawHost, RawInventory};
use super::{HostSpec, NetworkSpec, PassedOn, SwarmSpec};

/// Port of WireGuard by default: the one of its documentation, which firewalls know.
const DEFAULT_PORT: u16 = 51820;

/// Where the hosts' addresses in the mesh come from by default: 254 hosts, beside the network's own default.
const DEFAULT_MESH: &str = "10.99.0.0/24";

/// How often an idle host is heard by default: what WireGuard's documentation says every NAT remembers.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(25);

/// The longest keepalive. Keys are agreed on anew every two minutes where there is traffic; beyond that a mesh that works would look as if
/// nobody was heard.
const MAX_KEEPALIVE: Duration = Duration::from_secs(120);

/// Name of the mesh's interface by default.
const DEFAULT_INTERFACE: &str = "dcwg0";

/// What lies under the fabric: `plain`, `wireguard`, or a map.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawUnderlay {
    /// `plain` (the hosts' own network) or `wireguard` (a mesh of it).
    Word(String),
    /// A map.
    Full(Box<RawUnderlayMap>),
}

/// One of its keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUnderlayMap {
    /// A mesh of WireGuard between the hosts, which docker-cluster makes.
    #[schemars(with = "Option<RawWireguard>")]
    pub wireguard: Option<RawWireguard>,
    /// An interface that others manage, such as `tailscale0`, the same on every host: it is taken as it is, with its address and its MTU.
    #[schemars(with = "Option<String>")]
    pub interface: Option<Spanned<String>>,
}

/// A mesh of WireGuard between the hosts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWireguard {
    /// The UDP port that hosts listen on. Default: 51820.
    #[schemars(with = "Option<u16>")]
    pub port: Option<Spanned<u16>>,
    /// Where the hosts' addresses in the mesh come from, in CIDR notation. Default: `10.99.0.0/24`.
    #[schemars(with = "Option<String>")]
    pub subnet: Option<Spanned<String>>,
    /// How often an idle host is heard, at most 2 minutes. Default: `25s`.
    #[schemars(with = "Option<String>")]
    pub keepalive: Option<Spanned<String>>,
    /// Name of the mesh's interface. Default: `dcwg0`.
    #[schemars(with = "Option<String>")]
    pub interface: Option<Spanned<String>>,
}

// By hand, as for hosts: an untagged enum buffers its input, and the spans inside are lost.
impl<'de> Deserialize<'de> for RawUnderlay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UnderlayVisitor;
        impl<'de> Visitor<'de> for UnderlayVisitor {
            type Value = RawUnderlay;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`plain`, `wireguard`, or a map with `wireguard` or `interface`")
            }

            fn visit_str<E>(self, word: &str) -> Result<RawUnderlay, E> {
                Ok(RawUnderlay::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawUnderlay, A::Error> {
                RawUnderlayMap::deserialize(MapAccessDeserializer::new(map))
                    .map(|map| RawUnderlay::Full(Box::new(map)))
            }
        }
        deserializer.deserialize_any(UnderlayVisitor)
    }
}

/// What lies under the fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnderlaySpec {
    /// The hosts' own network.
    Plain,
    /// A mesh of WireGuard.
    Wireguard(WireguardSpec),
    /// An interface that others manage.
    Interface(String),
}

/// A mesh of WireGuard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireguardSpec {
    /// The UDP port that hosts listen on.
    pub port: u16,
    /// Where their addresses come from.
    pub subnet: Ipv4Net,
    /// How often an idle host is heard, in seconds.
    pub keepalive: u64,
    /// Name of its interface.
    pub interface: String,
}

/// Where the others send what is for a host of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// To its private address, at the mesh's port.
    Own,
    /// Here: what is in front of it passes it on. Without a port it is the mesh's.
    At(IpAddr, Option<u16>),
    /// Nowhere: it is behind a NAT, and goes to the others first.
    Unreachable,
}

/// `203.0.113.7`, `203.0.113.7:51820`, `[2001:db8::7]:51820` or `none`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    if text == "none" {
        return Ok(Endpoint::Unreachable);
    }
    let (ip, port) = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(both), _) => (both.ip(), Some(both.port())),
        (_, Ok(ip)) => (ip, None),
        _ => return Err(format!("{text:?} is neither an address nor `none`")),
    };
    match ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || port == Some(0) {
        true => Err(format!("{text} cannot be reached from other hosts")),
        false => Ok(Endpoint::At(ip, port)),
    }
}

impl Checker<'_> {
    pub(super) fn underlay(
        &mut self,
        raw: &RawInventory,
        hosts: &[HostSpec],
        network: Option<&NetworkSpec>,
        swarm: Option<&SwarmSpec>,
    ) -> Option<UnderlaySpec> {
        let spec = match &raw.underlay {
            None => UnderlaySpec::Plain,
            Some(at) => match &at.value {
                RawUnderlay::Word(word) => match word.as_str() {
                    "plain" => UnderlaySpec::Plain,
                    "wireguard" => {
                        self.wireguard(&RawWireguard::default(), at, raw, hosts, network, swarm)?
                    }
                    _ => {
                        self.wrong(
                            at,
                            format!("`{word}` is no underlay"),
                            "write `plain`, `wireguard`, or `{interface: NAME}` for one that others manage",
                        );
                        return None;
                    }
                },
                RawUnderlay::Full(map) => match (&map.wireguard, &map.interface) {
                    (Some(mesh), None) => self.wireguard(mesh, at, raw, hosts, network, swarm)?,
                    (None, Some(name)) => UnderlaySpec::Interface(self.parse(
                        name,
                        "write the name of an interface, such as `tailscale0`",
                        interface_name,
                    )?),
                    (mesh, _) => {
                        let help = match mesh {
                            Some(_) => "keep one of the two keys",
                            None => "write `wireguard`, or `{interface: NAME}`",
                        };
                        let message = "an underlay is either `wireguard` or an `interface`";
                        self.wrong(at, message, help);
                        return None;
                    }
                },
            },
        };
        self.endpoints(raw, hosts, &spec);
        Some(spec)
    }

    fn wireguard(
        &mut self,
        mesh: &RawWireguard,
        at: &Spanned<RawUnderlay>,
        raw: &RawInventory,
        hosts: &[HostSpec],
        network: Option<&NetworkSpec>,
        swarm: Option<&SwarmSpec>,
    ) -> Option<UnderlaySpec> {
        if let Some(fabric) = raw
            .network
            .fabric
            .as_ref()
            .filter(|fabric| fabric.value.is_in_lan())
        {
            let message = format!(
                "the fabric {} makes containers hosts of the LAN: nothing of them can go through a mesh",
                fabric.value
            );
            let help = "choose another fabric, or `underlay: plain`";
            self.twice(&at.referenced, &fabric.referenced, message, help);
        }
        if network.is_some_and(|network| matches!(network.bgp.by, PassedOn::Routers(_)))
            && let Some(router) = raw.network.bgp.routers.first()
        {
            let message = "the site's routers are no part of a mesh between the hosts".to_owned();
            let help = "remove `network.bgp.routers`, or say `underlay: plain`";
            self.twice(&at.referenced, &router.referenced, message, help);
        }
        let port = mesh.port.as_ref().map_or(DEFAULT_PORT, |port| port.value);
        if let Some(given) = &mesh.port {
            let owner = self.port_owner(port, network, swarm);
            if let Some(owner) = owner {
                self.wrong(
                    given,
                    format!("port {port} is {owner}"),
                    "write another, such as 51820",
                );
            }
        }
        let net = match &mesh.subnet {
            Some(text) => self.parse(
                text,
                "write it in CIDR notation, such as `10.99.0.0/24`",
                mesh_subnet,
            )?,
            None => DEFAULT_MESH.parse().ok()?,
        };
        self.mesh_overlaps(mesh, at, net, hosts, network, swarm);
        let keepalive = match &mesh.keepalive {
            Some(text) => self.parse(text, "write it like `25s`", |text| {
                positive_duration(text).and_then(|keepalive| match keepalive > MAX_KEEPALIVE {
                    true => Err("at most two minutes: a host that is heard less often looks as if it was not there".to_owned()),
                    false => Ok(keepalive),
                })
            })?,
            None => DEFAULT_KEEPALIVE,
        };
        let interface = match &mesh.interface {
            Some(name) => self.parse(name, "write it like `dcwg0`", device_name)?,
            None => DEFAULT_INTERFACE.to_owned(),
        };
        Some(UnderlaySpec::Wireguard(WireguardSpec {
            port,
            subnet: net,
            keepalive: keepalive.as_secs(),
            interface,
        }))
    }

    /// Who else has a UDP port of the hosts.
    fn port_owner(
        &self,
        port: u16,
        network: Option<&NetworkSpec>,
        swarm: Option<&SwarmSpec>,
    ) -> Option<String> {
        let fabric = network.is_some_and(|network| network.vxlan.port == port);
        let data = swarm.is_some_and(|swarm| swarm.data_path_port == port);
        match port {
            0 => Some("no port".to_owned()),
            OVERLAY_PORT => Some("that of overlays".to_owned()),
            7946 => Some("that of the engines' gossip".to_owned()),
            8301 | 8302 | 8600 => Some("one of Consul's".to_owned()),
            _ if fabric => Some("that of `network.vxlan`".to_owned()),
            _ if data => Some("`swarm.data_path_port`".to_owned()),
            _ => None,
        }
    }

    /// What the mesh's subnet must not share addresses with: the network's, the pool of swarm mode, and the hosts' own.
    fn mesh_overlaps(
        &mut self,
        mesh: &RawWireguard,
        at: &Spanned<RawUnderlay>,
        net: Ipv4Net,
        hosts: &[HostSpec],
        network: Option<&NetworkSpec>,
        swarm: Option<&SwarmSpec>,
    ) {
        let net = IpNet::V4(net);
        let addresses = hosts.iter().flat_map(|host| {
            let private = match &host.private {
                super::PrivateAddress::Ip(ip) => Some(*ip),
                _ => None,
            };
            [host.ssh.address.parse::<IpAddr>().ok(), private]
        });
        let taken = network
            .filter(|network| overlap(&network.subnet, &net))
            .map(|network| format!("the network's subnet {}", network.subnet))
            .or_else(|| {
                let pool = swarm.and_then(|swarm| swarm.address_pool)?;
                overlap(&pool, &net).then(|| format!("the pool {pool} of `swarm.address_pool`"))
            })
            .or_else(|| {
                let ip = addresses.flatten().find(|ip| net.contains(ip))?;
                Some(format!("the address {ip} of a host"))
            });
        let Some(taken) = taken else { return };
        let message = format!("the mesh's subnet {net} overlaps with {taken}");
        let help = "choose another with `underlay: {wireguard: {subnet: ...}}`";
        match &mesh.subnet {
            Some(text) => self.wrong(text, message, help),
            None => self.wrong(at, message, help),
        }
    }

    /// `endpoint:` belongs to a mesh, and of two hosts that nobody can begin with, neither could begin.
    fn endpoints(&mut self, raw: &RawInventory, hosts: &[HostSpec], spec: &UnderlaySpec) {
        let written = raw
            .hosts
            .value
            .iter()
            .filter_map(|entry| match &entry.value {
                RawHost::Full(map) => map.endpoint.as_ref(),
                _ => None,
            });
        let UnderlaySpec::Wireguard(mesh) = spec else {
            for endpoint in written {
                self.wrong(
                    endpoint,
                    "an endpoint is where the mesh of `underlay: wireguard` reaches this host",
                    "remove it, or say `underlay: wireguard`",
                );
            }
            return;
        };
        let unreachable: Vec<&Spanned<String>> = written
            .filter(|endpoint| endpoint.value == "none")
            .collect();
        if let [first, second, ..] = unreachable.as_slice() {
            self.twice(
                &first.referenced,
                &second.referenced,
                "two hosts have no endpoint: neither could find the other".to_owned(),
                "give all but one an endpoint: a port that is passed on to it",
            );
        }
        // The network's address and the broadcast's are nobody's.
        let room = (1_u64 << (32 - mesh.subnet.prefix_len())).saturating_sub(2);
        if room < hosts.len() as u64 {
            let message = format!(
                "the mesh's subnet {} has {room} addresses, and there are {} hosts",
                mesh.subnet,
                hosts.len()
            );
            if let Some(at) = &raw.underlay {
                self.wrong(
                    at,
                    message,
                    "choose a larger one with `underlay: {wireguard: {subnet: ...}}`",
                );
            }
        }
    }
}

fn mesh_subnet(text: &str) -> Result<Ipv4Net, String> {
    match text.parse::<Ipv4Net>() {
        // Two hosts need a /30; `subnet` says the rest.
        Ok(net) if net.trunc() == net && net.prefix_len() > 30 => {
            Err(format!("{net} is too small for two hosts"))
        }
        Ok(net) if net.trunc() == net => match nobodys(&IpNet::V4(net)) {
            Some(what) => Err(format!("{net} is {what}, which no host can have")),
            None => Ok(net),
        },
        _ => match subnet(text)? {
            IpNet::V4(net) => Ok(net),
            IpNet::V6(net) => Err(format!("{net} is IPv6")),
        },
    }
}

/// A name that a device can be given, and that rules of a firewall take for nothing else.
fn device_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    match interface_name(text) {
        Ok(name) if name.chars().all(allowed) => Ok(name),
        _ => Err(format!("{text:?} is not the name of an interface")),
    }
}

impl WireguardSpec {
    /// All addresses that a host can have in it.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.subnet.hosts()
    }
}
