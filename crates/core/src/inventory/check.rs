//! Makes a checked inventory of a raw one, and collects everything that is wrong with it.

mod api;
mod standalone;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::error::{Flaw, InventoryError, range_of};
use super::raw::{
    Become, BridgeKind, FabricKind, InstallPolicy, RawBgp, RawHost, RawHostMap, RawInventory,
    RawNetwork, RawServers, RawSource, RawSsh, RawValue, RawVxlan, StoreKind,
};
use super::underlay::{Endpoint, endpoint};
use super::{
    BgpSpec, DEFAULT_AS, DEFAULT_HOST_PREFIX, DEFAULT_VXLAN, LanSpec, PassedOn, VxlanSpec,
};
use super::{
    ClusterName, DEFAULT_CONNECT_TIMEOUT, DEFAULT_KERNEL_MINIMUM, DEFAULT_PERSIST,
    DEFAULT_SMOKE_IMAGE, DEFAULT_SUBNET, EngineSpec, ExternalStore, HostName, HostSpec, Inventory,
    Members, NetworkName, NetworkSpec, PrivateAddress, ProgramSource, SmokeSpec, SshSpec,
    StoreSpec, SwarmSpec, Tag, resolve_path,
};
use crate::daemon_json::{self, OptionKind};

/// Largest inventory read, in bytes. A thousand hosts with every setting take less than half of it; beyond is a mistake
/// in the path, such as a disk image.
const MAX_SOURCE: usize = 1 << 20;

/// The VXLAN header and what carries it, in bytes: the engine takes it off the underlay's MTU.
pub const VXLAN_OVERHEAD: u16 = 50;

/// Longest prefix of a host's part: it leaves 13 addresses for containers beside the bridge's own.
const MAX_HOST_PREFIX: u8 = 28;

/// By how much a host's part of a LAN's pool has a longer prefix, by default: eight hosts share a pool.
const POOL_BITS: u8 = 3;

/// UDP port of the VXLAN of engines (RFC 7348).
pub(super) const OVERLAY_PORT: u16 = DEFAULT_DATA_PATH_PORT;

/// Smallest MTU that IPv4 containers can live with over VXLAN: 576 bytes, which every IPv4 host must accept (RFC 791),
/// and the overhead.
const MIN_MTU: u16 = 576 + VXLAN_OVERHEAD;

/// UDP port of VXLAN by default (RFC 7348).
const DEFAULT_DATA_PATH_PORT: u16 = 4789;

/// TCP and UDP ports that swarm mode has for itself: its managers and its gossip.
const SWARM_PORTS: [u16; 2] = [2377, 7946];

/// Daemon options that the fabric owns; setting them as engine options would be a second opinion.
const OWNED_OPTIONS: &[&str] = crate::daemon_json::STORE_KEYS;

pub(super) fn inventory(source: &str, file: &str) -> Result<Inventory, InventoryError> {
    if source.len() > MAX_SOURCE {
        let flaw = flaw(
            0..0,
            "the file is larger than 1 MiB",
            "name an inventory with -f FILE",
            "",
        );
        return Err(InventoryError::new(file, "", vec![flaw]));
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let raw: RawInventory =
        serde_saphyr::from_str_with_options(source, options).map_err(|error| {
            let range = error
                .location()
                .map_or(0..0, |location| range_of(source, &location));
            InventoryError::new(file, source, vec![syntax(&error, range, source)])
        })?;
    let mut checker = Checker {
        source,
        file,
        flaws: Vec::new(),
    };
    let inventory = checker.inventory(raw);
    match inventory {
        Some(inventory) if checker.flaws.is_empty() => Ok(inventory),
        _ => Err(InventoryError::new(file, source, checker.flaws)),
    }
}

fn flaw(
    range: Range<usize>,
    message: impl Into<String>,
    help: impl Into<String>,
    label: impl Into<String>,
) -> Flaw {
    Flaw {
        message: message.into(),
        help: help.into(),
        labels: vec![(range, label.into())],
        line: 1,
    }
}

fn syntax(error: &serde_saphyr::Error, range: Range<usize>, source: &str) -> Flaw {
    // The parser ends its messages with the place ("... at line 3, column 5"), which the caret shows better.
    let full = error.without_snippet().to_string();
    let message = in_plain_words(
        full.split(" at line ")
            .next()
            .unwrap_or(&full)
            .trim()
            .trim_end_matches(':'),
    );
    let help = if source.trim().is_empty() {
        "the file is empty; `docker-cluster init ADDRESS...` writes an inventory to start from"
    } else if message.contains("unknown field") {
        "check the spelling; `docker-cluster schema` describes every key"
    } else if message.contains("missing field `hosts`") {
        "add `hosts:` with a list of addresses"
    } else if message.to_ascii_lowercase().contains("duplicate") {
        "keep one of the two"
    } else {
        "`docker-cluster schema` describes the file; `docker-cluster init` writes one to start from"
    };
    flaw(range, message, help, "here")
}

/// The parser's words where they are about its own types and options, in words about the file.
fn in_plain_words(message: &str) -> String {
    if let Some(key) = message.strip_prefix("duplicate mapping key: ") {
        let key = key.split(',').next().unwrap_or(key);
        return format!("duplicate key `{key}`");
    }
    match message {
        "invalid u16" => "this is not a whole number from 0 to 65535".to_owned(),
        "invalid usize" | "invalid u64" => "this is not a whole number".to_owned(),
        "invalid bool" => "this is neither `true` nor `false`".to_owned(),
        "expected sequence start" => {
            "here must be a list: `[a, b]`, or lines that begin with `- `".to_owned()
        }
        "expected mapping start" => "here must be keys with values: `key: value`".to_owned(),
        "recursive references require weak recursion types" => {
            "an alias (`*`) inside of what it stands for".to_owned()
        }
        other => other.replace("unknown variant", "unknown value"),
    }
}

pub(super) struct Checker<'a> {
    source: &'a str,
    file: &'a str,
    flaws: Vec<Flaw>,
}

impl Checker<'_> {
    fn at(&self, location: &Location) -> Range<usize> {
        range_of(self.source, location)
    }

    pub(super) fn wrong<T>(
        &mut self,
        at: &Spanned<T>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let range = self.at(&at.referenced);
        self.flaws.push(flaw(range, message, help, "here"));
    }

    pub(super) fn twice(
        &mut self,
        first: &Location,
        second: &Location,
        message: String,
        help: &str,
    ) {
        let labels = vec![
            (self.at(second), "again here".to_owned()),
            (self.at(first), "first here".to_owned()),
        ];
        self.flaws.push(Flaw {
            message,
            help: help.to_owned(),
            labels,
            line: 1,
        });
    }

    /// Parses a value; a refusal is noted with its line.
    pub(super) fn parse<T, E: ToString>(
        &mut self,
        value: &Spanned<String>,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(&value.value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(value, error.to_string(), help);
                None
            }
        }
    }

    fn inventory(&mut self, raw: RawInventory) -> Option<Inventory> {
        let cluster = match &raw.cluster {
            Some(name) => self.parse(
                name,
                "name the cluster in letters, digits, `-`, `_`, `.`",
                ClusterName::parse,
            ),
            None => ClusterName::parse("cluster").ok(),
        };
        let hosts = self.hosts(&raw);
        self.api_of_all(&raw, &hosts);
        let names: Vec<HostName> = hosts.iter().map(|host| host.name.clone()).collect();
        let network = self.network(&raw, cluster.as_ref(), &names);
        let store = self.store(&raw, &names);
        let engine = self.engine(&raw, network.as_ref());
        let kernel_minimum = match &raw.kernel.minimum {
            Some(text) => self.parse(
                text,
                "write it like `4.19`",
                crate::versions::parse_kernel_version,
            ),
            None => Some(DEFAULT_KERNEL_MINIMUM),
        };
        let swarm = self.swarm(&raw, &hosts, network.as_ref());
        let underlay = self.underlay(&raw, &hosts, network.as_ref(), swarm.as_ref());
        let restart_parallel = match raw.restart.parallel {
            Some(value) if value.value == 0 => {
                self.wrong(&value, "no engine could ever restart", "write 1 or more");
                1
            }
            Some(value) => value.value,
            None => 1,
        };
        let smoke = SmokeSpec {
            image: self.image(raw.smoke.image.as_ref(), DEFAULT_SMOKE_IMAGE),
            tar: raw.smoke.tar.map(|tar| resolve_path(&tar.value, self.file)),
        };
        Some(Inventory {
            cluster: cluster?,
            hosts,
            engine: engine?,
            kernel_minimum: kernel_minimum?,
            store: store?,
            network: network?,
            underlay: underlay?,
            swarm: swarm?,
            smoke,
            restart_parallel,
        })
    }

    fn hosts(&mut self, raw: &RawInventory) -> Vec<HostSpec> {
        if raw.hosts.value.is_empty() {
            self.wrong(
                &raw.hosts,
                "there are no hosts",
                "list at least one address under `hosts:`",
            );
        }
        let mut hosts: Vec<HostSpec> = Vec::new();
        let mut names: HashMap<HostName, Location> = HashMap::new();
        let mut targets: HashMap<(String, Option<u16>, Option<String>), Location> = HashMap::new();
        let mut privates: HashMap<IpAddr, Location> = HashMap::new();
        for entry in &raw.hosts.value {
            let Some((mut spec, at, private_at)) = self.host(entry, &raw.ssh) else {
                continue;
            };
            spec.api = self.api(raw, entry, &spec, at);
            if let Some(first) = names.insert(spec.name.clone(), at) {
                let message = format!("two hosts are called `{}`", spec.name);
                self.twice(&first, &at, message, "give each host its own name");
                continue;
            }
            // Behind different jump hosts one private address can be two machines.
            let target = (
                spec.ssh.address.to_ascii_lowercase(),
                spec.ssh.port,
                spec.ssh.jump.clone(),
            );
            if let Some(first) = targets.insert(target, at) {
                let message = format!("two hosts have the address `{}`", spec.ssh.address);
                self.twice(
                    &first,
                    &at,
                    message,
                    "remove one, or correct its address or port",
                );
            }
            if let (PrivateAddress::Ip(ip), Some(at)) = (&spec.private, private_at)
                && let Some(first) = privates.insert(*ip, at)
            {
                let message = format!("two hosts have the private address `{ip}`");
                self.twice(
                    &first,
                    &at,
                    message,
                    "each host needs an address of its own",
                );
            }
            hosts.push(spec);
        }
        hosts
    }

    fn host(
        &mut self,
        entry: &Spanned<RawHost>,
        defaults: &RawSsh,
    ) -> Option<(HostSpec, Location, Option<Location>)> {
        let empty = RawHostMap::default();
        let (map, address, address_at) = match &entry.value {
            RawHost::Address(address) => (&empty, address.clone(), entry.referenced),
            RawHost::Full(map) => match (&map.address, &map.name) {
                (Some(address), _) => (&**map, address.value.clone(), address.referenced),
                (None, Some(name)) => (&**map, name.value.clone(), name.referenced),
                (None, None) => {
                    self.wrong(entry, "this host has no address", "add `address:`");
                    return None;
                }
            },
            RawHost::Empty => return None,
        };
        let address_spanned = Spanned::new(address.clone(), address_at, address_at);
        let mut settings = RawSsh::clone(&map.ssh);
        let address = self.parse(
            &address_spanned,
            "write a host name or an IP address; user and port have keys of their own",
            |text| split_destination(text, &mut settings),
        )?;
        let name_at = map.name.as_ref().map_or(address_at, |name| name.referenced);
        let name = map
            .name
            .clone()
            .unwrap_or_else(|| Spanned::new(address.clone(), address_at, address_at));
        let name = self.parse(
            &name,
            "give the host a `name:` of letters, digits, `-`, `_`, `.`",
            HostName::parse,
        )?;
        let private = match &map.private {
            None => PrivateAddress::Auto,
            Some(text) => match text.value.parse::<IpAddr>() {
                Ok(ip) if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => {
                    self.wrong(
                        text,
                        format!("{ip} cannot be reached from other hosts"),
                        "write the host's address on the network it shares with the others",
                    );
                    return None;
                }
                Ok(ip) => PrivateAddress::Ip(ip),
                Err(_) => PrivateAddress::Interface(self.parse(
                    text,
                    "write an IP address, or the name of an interface such as `eth1`",
                    interface_name,
                )?),
            },
        };
        let endpoint = match &map.endpoint {
            Some(text) => self.parse(
                text,
                "write an address, `ADDRESS:PORT`, or `none` for a host that nobody can send to first",
                endpoint,
            )?,
            None => Endpoint::Own,
        };
        let ssh = self.ssh(address, &settings, defaults)?;
        let tags = map
            .tags
            .iter()
            .filter_map(|tag| {
                self.parse(
                    tag,
                    "write tags in letters, digits, `-`, `_`, `.`",
                    Tag::parse,
                )
            })
            .collect();
        let private_at = map.private.as_ref().map(|private| private.referenced);
        let subnet = match &map.subnet {
            Some(text) => Some(self.parse(
                text,
                "write a part of `network.subnet`, such as `10.90.7.0/24`",
                subnet,
            )?),
            None => None,
        };
        Some((
            HostSpec {
                name,
                ssh,
                private,
                endpoint,
                tags,
                labels: map.labels.clone(),
                subnet,
                api: None,
            },
            name_at,
            private_at,
        ))
    }

    fn ssh(&mut self, address: String, own: &RawSsh, defaults: &RawSsh) -> Option<SshSpec> {
        fn pick<T: Clone>(
            own: &Option<Spanned<T>>,
            default: &Option<Spanned<T>>,
        ) -> Option<Spanned<T>> {
            own.clone().or_else(|| default.clone())
        }
        let user = match pick(&own.user, &defaults.user) {
            Some(user) => Some(self.parse(&user, "write the login name alone", |text| {
                word("user name", text)
            })?),
            None => None,
        };
        let jump = match pick(&own.jump, &defaults.jump) {
            Some(jump) => Some(self.parse(
                &jump,
                "write it as `ssh -J` takes it: [user@]host[:port]",
                |text| word("jump host", text),
            )?),
            None => None,
        };
        let port = pick(&own.port, &defaults.port);
        if let Some(port) = port.as_ref().filter(|port| port.value == 0) {
            self.wrong(
                port,
                "port 0 does not exist",
                "write a port from 1 to 65535",
            );
        }
        let connect_timeout = match pick(&own.connect_timeout, &defaults.connect_timeout) {
            Some(text) => self.parse(&text, "write it like `10s`", positive_duration)?,
            None => DEFAULT_CONNECT_TIMEOUT,
        };
        let persist = match pick(&own.persist, &defaults.persist) {
            Some(text) => self.parse(&text, "write it like `10m`", positive_duration)?,
            None => DEFAULT_PERSIST,
        };
        let path =
            |value: Option<Spanned<String>>| value.map(|text| resolve_path(&text.value, self.file));
        Some(SshSpec {
            address,
            user,
            port: port.map(|port| port.value),
            identity: path(pick(&own.identity, &defaults.identity)),
            jump,
            become_root: pick(&own.become_root, &defaults.become_root)
                .map_or(Become::Auto, |value| value.value),
            host_key: pick(&own.host_key, &defaults.host_key).map(|value| value.value),
            known_hosts: path(pick(&own.known_hosts, &defaults.known_hosts)),
            connect_timeout,
            persist,
        })
    }

    fn network(
        &mut self,
        raw: &RawInventory,
        cluster: Option<&ClusterName>,
        names: &[HostName],
    ) -> Option<NetworkSpec> {
        let name = match &raw.network.name {
            Some(name) => self.parse(
                name,
                "name the network in letters, digits, `-`, `_`, `.`",
                |text| match text {
                    "bridge" | "host" | "none" | "ingress" | "docker_gwbridge" => {
                        Err(format!("`{text}` is a network of the engine itself"))
                    }
                    _ => NetworkName::parse(text),
                },
            ),
            None => cluster.and_then(|name| NetworkName::parse(name.as_str()).ok()),
        };
        let fabric = raw
            .network
            .fabric
            .as_ref()
            .map_or(FabricKind::Auto, |fabric| fabric.value);
        let (named, lan) = match fabric.is_in_lan() {
            true => (Some(self.pool(raw)?), Some(self.lan(raw, fabric)?)),
            false => {
                self.only_in_a_lan(&raw.network);
                (raw.network.subnet.as_ref(), None)
            }
        };
        let subnet = match named {
            Some(text) => self.parse(
                text,
                "write it in CIDR notation, such as `10.90.0.0/16`",
                subnet,
            ),
            None => subnet(DEFAULT_SUBNET).ok(),
        };
        if let Some(subnet) = &subnet {
            self.hosts_outside(raw, *subnet, named);
            self.within_the_lan(raw, *subnet, lan.as_ref());
        }
        let mtu = raw.network.mtu.as_ref().map(|mtu| {
            if mtu.value < MIN_MTU {
                self.wrong(
                    mtu,
                    format!(
                        "an MTU of {} leaves containers less than 576 bytes",
                        mtu.value
                    ),
                    "write the MTU of the network between the hosts, such as 1500",
                );
            }
            mtu.value
        });
        if let Some(encrypted) = raw
            .network
            .encrypted
            .as_ref()
            .filter(|encrypted| encrypted.value)
            && fabric == FabricKind::Overlay
        {
            self.wrong(
                encrypted,
                "the classic overlay cannot encrypt: the engine accepts the option and then no container starts",
                "remove `encrypted`, or use `fabric: swarm`",
            );
        }
        let encrypted = raw
            .network
            .encrypted
            .as_ref()
            .is_some_and(|encrypted| encrypted.value);
        let guard = self.guard(raw, fabric);
        let subnet = subnet?;
        let host_prefix = self.host_prefix(raw, subnet)?;
        let vxlan = self.vxlan(&raw.network.vxlan)?;
        let bgp = self.bgp(&raw.network.bgp, names)?;
        let bridge = self.bridge(&raw.network, fabric);
        Some(NetworkSpec {
            fabric,
            name: name?,
            subnet,
            mtu,
            encrypted,
            guard,
            host_prefix,
            vxlan,
            bridge,
            lan,
            bgp,
        })
    }

    fn guard(&mut self, raw: &RawInventory, fabric: FabricKind) -> Option<bool> {
        let guard = raw.network.guard.as_ref()?;
        let is_overlay = matches!(
            fabric,
            FabricKind::Overlay | FabricKind::Swarm | FabricKind::Auto
        );
        if !is_overlay {
            self.wrong(
                guard,
                format!("`guard` is about the ports of overlays, and the fabric is {fabric}"),
                "remove `guard`: what this fabric opens is for the cluster's hosts only in any case",
            );
        }
        Some(guard.value)
    }

    /// Which bridge has each host's part: the engine's own only where nothing else gives it addresses.
    fn bridge(&mut self, network: &RawNetwork, fabric: FabricKind) -> BridgeKind {
        let Some(bridge) = network
            .bridge
            .as_ref()
            .filter(|bridge| bridge.value == BridgeKind::Docker0)
        else {
            return BridgeKind::Own;
        };
        if !fabric.may_use_docker0() {
            self.wrong(
                bridge,
                format!("the fabric {fabric} has a bridge of its own, and leaves docker0 alone"),
                "remove `bridge`, or say `fabric: routed` or `fabric: bgp`",
            );
        }
        if let Some(name) = &network.name {
            self.wrong(
                name,
                "with `bridge: docker0` containers are on the engine's own network, and no other is made",
                "remove `name`, or `bridge`",
            );
        }
        bridge.value
    }

    /// Hosts inside the network's subnet would become unreachable the moment it exists; those inside the pool of a LAN share an address with
    /// a container.
    fn hosts_outside(
        &mut self,
        raw: &RawInventory,
        subnet: IpNet,
        named: Option<&Spanned<String>>,
    ) {
        let key = if raw.network.pool.is_some() {
            "pool"
        } else {
            "subnet"
        };
        for entry in &raw.hosts.value {
            let (address, at) = match &entry.value {
                RawHost::Full(map) => match map.private.as_ref().or(map.address.as_ref()) {
                    Some(address) => (address.value.as_str(), address.referenced),
                    None => continue,
                },
                RawHost::Address(address) => (address.as_str(), entry.referenced),
                RawHost::Empty => continue,
            };
            let Some(ip) = address
                .parse::<IpAddr>()
                .ok()
                .filter(|ip| subnet.contains(ip))
            else {
                continue;
            };
            let (labels, which, help) = match named {
                Some(text) => (
                    vec![
                        (self.at(&text.referenced), format!("this {key}")),
                        (self.at(&at), "holds this host".to_owned()),
                    ],
                    format!("the network's {key}"),
                    match key {
                        "pool" => "choose a part of the LAN that no host is in".to_owned(),
                        _ => format!(
                            "choose a subnet that no host is in, such as `{}`",
                            another_subnet(raw)
                        ),
                    },
                ),
                None => (
                    vec![(self.at(&at), "this host is in it".to_owned())],
                    "the network's default subnet".to_owned(),
                    format!(
                        "choose another with `network: {{subnet: {}}}`",
                        another_subnet(raw)
                    ),
                ),
            };
            let message = format!("{which} {subnet} overlaps with the address {ip} of a host");
            self.flaws.push(Flaw {
                message,
                help,
                labels,
                line: 1,
            });
            break;
        }
    }

    /// The addresses in the LAN that containers may have. Only a person knows which are free.
    fn pool<'a>(&mut self, raw: &'a RawInventory) -> Option<&'a Spanned<String>> {
        let network = &raw.network;
        if let (None, Some(fabric)) = (&network.pool, &network.fabric) {
            self.wrong(
                fabric,
                format!("with the fabric {} containers are hosts of the LAN, and no `pool` says which of its addresses they may have", fabric.value),
                "add `pool:` with a part of the LAN that nobody else has or gives out, such as `10.0.0.128/25`",
            );
        }
        network.pool.as_ref()
    }

    fn lan(&mut self, raw: &RawInventory, fabric: FabricKind) -> Option<LanSpec> {
        let network = &raw.network;
        let named = match &network.subnet {
            Some(text) => Some(self.parse(
                text,
                "write the LAN's subnet, such as `10.0.0.0/24`",
                subnet,
            )?),
            None => None,
        };
        let gateway = match &network.gateway {
            Some(text) => Some(self.parse(
                text,
                "write the address of the LAN's router, such as `10.0.0.1`",
                |text| {
                    text.parse::<Ipv4Addr>()
                        .map(IpAddr::V4)
                        .map_err(|_| format!("{text:?} is not an IPv4 address"))
                },
            )?),
            None => None,
        };
        let interface = match &network.interface {
            Some(text) => Some(self.parse(
                text,
                "write the name of the LAN's interface, such as `eth1`",
                |text| {
                    interface_name(text)
                        .map_err(|_| format!("{text:?} is not the name of an interface"))
                },
            )?),
            None => None,
        };
        if let Some(shim) = network
            .shim
            .as_ref()
            .filter(|shim| shim.value && fabric != FabricKind::Macvlan)
        {
            self.wrong(
                shim,
                format!("with the fabric {fabric} a host reaches its containers anyway"),
                "remove `shim`",
            );
        }
        let shim = network.shim.as_ref().is_some_and(|shim| shim.value);
        Some(LanSpec {
            subnet: named,
            gateway,
            interface,
            shim,
        })
    }

    /// Settings that mean nothing to a network of the cluster's own.
    fn only_in_a_lan(&mut self, network: &RawNetwork) {
        let texts = [
            ("pool", &network.pool),
            ("gateway", &network.gateway),
            ("interface", &network.interface),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some((key, text.as_ref()?.referenced)));
        let shim = network.shim.as_ref().map(|shim| ("shim", shim.referenced));
        let given: Vec<(&str, Location)> = texts.chain(shim).collect();
        for (key, at) in given {
            let message = format!("`{key}` is for fabrics whose containers are hosts of the LAN");
            let help = "remove it, or say `fabric: macvlan` or `fabric: bridged`";
            let range = self.at(&at);
            self.flaws.push(flaw(range, message, help, "here"));
        }
    }

    /// Pool, gateway and hosts are in the LAN's subnet, and the pool is only of containers.
    fn within_the_lan(&mut self, raw: &RawInventory, pool: IpNet, lan: Option<&LanSpec>) {
        let (Some(lan), Some(text)) = (lan, &raw.network.pool) else {
            return;
        };
        if let (Some(gateway), Some(at)) = (lan.gateway, &raw.network.gateway) {
            if pool.contains(&gateway) {
                self.wrong(
                    text,
                    format!("the pool {pool} holds the gateway {gateway}"),
                    "choose a part without it",
                );
            }
            if let Some(subnet) = lan.subnet.filter(|subnet| !subnet.contains(&gateway)) {
                self.wrong(
                    at,
                    format!("the gateway {gateway} is not in {subnet}"),
                    "correct one of the two",
                );
            }
        }
        let Some(subnet) = lan.subnet else { return };
        if !subnet.contains(&pool) {
            self.wrong(
                text,
                format!("the pool {pool} is not in {subnet}"),
                "choose a part of the LAN's subnet",
            );
        }
        for entry in &raw.hosts.value {
            let RawHost::Full(map) = &entry.value else {
                continue;
            };
            let Some(at) = &map.private else { continue };
            if let Some(ip) = at
                .value
                .parse::<IpAddr>()
                .ok()
                .filter(|ip| lan.interface.is_none() && !subnet.contains(ip))
            {
                let help =
                    "correct one of the two, or name the interface of the LAN with `interface:`";
                self.wrong(
                    at,
                    format!("the host's address {ip} is not in the LAN's subnet {subnet}"),
                    help,
                );
            }
        }
    }

    /// How long the prefix of each host's part is, which must leave a part for each host and addresses in each part.
    fn host_prefix(&mut self, raw: &RawInventory, subnet: IpNet) -> Option<u8> {
        let fabric = raw
            .network
            .fabric
            .as_ref()
            .map_or(FabricKind::Auto, |fabric| fabric.value);
        let Some(prefix) = &raw.network.host_prefix else {
            return Some(match fabric.is_in_lan() {
                true => {
                    (subnet.prefix_len() + POOL_BITS).clamp(DEFAULT_HOST_PREFIX, MAX_HOST_PREFIX)
                }
                false => DEFAULT_HOST_PREFIX.max(subnet.prefix_len()),
            });
        };
        let hosts = raw.hosts.value.len();
        let parts =
            1_usize.checked_shl(u32::from(prefix.value.saturating_sub(subnet.prefix_len())));
        let fits = prefix.value >= subnet.prefix_len() && prefix.value <= MAX_HOST_PREFIX;
        if !fits || parts.is_some_and(|parts| parts < hosts) {
            self.wrong(
                prefix,
                format!(
                    "parts of /{} of {subnet} are not enough, or too small, for {hosts} hosts",
                    prefix.value
                ),
                format!(
                    "write a number from {} to {MAX_HOST_PREFIX} that leaves a part for each host",
                    subnet.prefix_len()
                ),
            );
            return None;
        }
        Some(prefix.value)
    }

    fn vxlan(&mut self, raw: &RawVxlan) -> Option<VxlanSpec> {
        if let Some(id) = raw
            .id
            .as_ref()
            .filter(|id| id.value == 0 || id.value >= 1 << 24)
        {
            self.wrong(
                id,
                format!("{} is no number of a VXLAN", id.value),
                "write a number from 1 to 16777215",
            );
            return None;
        }
        if let Some(port) = raw
            .port
            .as_ref()
            .filter(|port| port.value < 1024 || port.value == OVERLAY_PORT)
        {
            self.wrong(
                port,
                format!("port {} is not free for it", port.value),
                "write a port from 1024 on that is not 4789",
            );
            return None;
        }
        let of = |id: Option<&Spanned<u32>>| id.map_or(DEFAULT_VXLAN.id, |id| id.value);
        Some(VxlanSpec {
            id: of(raw.id.as_ref()),
            port: raw
                .port
                .as_ref()
                .map_or(DEFAULT_VXLAN.port, |port| port.value),
        })
    }
}

/// Whether a number can be that of an autonomous system: all but the first and those that mean something else (RFC 7607, 6793, 7300).
fn is_as(number: u32) -> bool {
    !matches!(number, 0 | 23456 | 65535 | u32::MAX)
}

impl Checker<'_> {
    /// Who announces what to whom.
    fn bgp(&mut self, raw: &RawBgp, names: &[HostName]) -> Option<BgpSpec> {
        if let Some(number) = raw.number.as_ref().filter(|number| !is_as(number.value)) {
            self.wrong(
                number,
                format!("{} is no number of an autonomous system", number.value),
                "write one of those that are private, such as 64512",
            );
            return None;
        }
        let number = raw
            .number
            .as_ref()
            .map_or(DEFAULT_AS, |number| number.value);
        let mut reflectors: Vec<HostName> = Vec::new();
        for name in &raw.reflectors {
            match names.iter().find(|host| host.as_str() == name.value) {
                Some(host) if reflectors.contains(host) => {
                    self.wrong(
                        name,
                        format!("`{host}` is listed twice"),
                        "list each host once",
                    );
                    return None;
                }
                Some(host) => reflectors.push(host.clone()),
                None => {
                    self.wrong(
                        name,
                        format!("no host is called `{}`", name.value),
                        "use the names under `hosts:`",
                    );
                    return None;
                }
            }
        }
        let mut routers = Vec::new();
        for router in &raw.routers {
            let Ok(address) = router.value.address.parse::<Ipv4Addr>() else {
                self.wrong(
                    router,
                    format!("`{}` is no IPv4 address of a router", router.value.address),
                    "write its address on the network that the hosts are on",
                );
                return None;
            };
            if !is_as(router.value.number) {
                self.wrong(
                    router,
                    format!(
                        "{} is no number of an autonomous system",
                        router.value.number
                    ),
                    "write the number that this router has",
                );
                return None;
            }
            routers.push((address, router.value.number));
        }
        let by = match (reflectors.is_empty(), routers.is_empty()) {
            (true, true) => PassedOn::Mesh,
            (false, true) => PassedOn::Reflectors(reflectors),
            (true, false) => PassedOn::Routers(routers),
            (false, false) => {
                if let Some(first) = raw.routers.first() {
                    let what = "both `reflectors` and `routers` would pass on what hosts announce";
                    self.wrong(first, what, "keep one of the two lists");
                }
                return None;
            }
        };
        Some(BgpSpec { number, by })
    }

    fn members(
        &mut self,
        value: Option<&Spanned<RawServers>>,
        what: &str,
        names: &[HostName],
    ) -> Option<Members> {
        let Some(value) = value else {
            return Some(Members::BySize);
        };
        match &value.value {
            RawServers::Count(count) => {
                if *count == 0 || *count > names.len() {
                    self.wrong(
                        value,
                        format!("{count} {what} among {} hosts is not possible", names.len()),
                        "write an odd number, at most the number of hosts",
                    );
                    return None;
                }
                if count % 2 == 0 {
                    self.wrong(
                        value,
                        format!("{count} {what} tolerate no more losses than {}", count - 1),
                        "write an odd number",
                    );
                    return None;
                }
                Some(Members::Count(*count))
            }
            RawServers::Names(list) => {
                let mut chosen = Vec::new();
                for name in list {
                    match names.iter().find(|host| host.as_str() == name) {
                        Some(host) if chosen.contains(host) => {
                            self.wrong(
                                value,
                                format!("`{name}` is listed twice"),
                                "list each host once",
                            );
                            return None;
                        }
                        Some(host) => chosen.push(host.clone()),
                        None => {
                            self.wrong(
                                value,
                                format!("no host is called `{name}`"),
                                "use the names under `hosts:`",
                            );
                            return None;
                        }
                    }
                }
                if chosen.len() % 2 == 0 {
                    self.wrong(
                        value,
                        format!("{} {what} make no good quorum", chosen.len()),
                        "list an odd number of hosts",
                    );
                    return None;
                }
                Some(Members::Named(chosen))
            }
        }
    }

    fn store(&mut self, raw: &RawInventory, names: &[HostName]) -> Option<StoreSpec> {
        let servers = self.members(raw.store.servers.as_ref(), "servers", names)?;
        let source = match &raw.store.source {
            None => ProgramSource::Package,
            Some(source) => self.source(source)?,
        };
        let external = match &raw.store.url {
            Some(url) => Some(ExternalStore {
                url: self.parse(
                    url,
                    "write it as the engine takes it, such as `consul://10.0.0.5:8500/prefix`",
                    store_url,
                )?,
                options: raw.store.options.clone(),
            }),
            None => None,
        };
        if let Some(servers) = raw
            .store
            .servers
            .as_ref()
            .filter(|_| raw.store.url.is_some())
        {
            self.wrong(
                servers,
                "`servers` are of a store that docker-cluster runs, and `url` is one that it does not",
                "keep one of the two",
            );
        }
        if let Some(at) = raw
            .store
            .source
            .as_ref()
            .filter(|_| raw.store.url.is_some())
            .and_then(|source| {
                [&source.path, &source.url, &source.sha256, &source.version]
                    .into_iter()
                    .find_map(Option::as_ref)
            })
        {
            self.wrong(
                at,
                "`source` is the program of a store that docker-cluster runs, and `url` is a store that it does not",
                "keep one of the two",
            );
        }
        Some(StoreSpec {
            kind: raw.store.kind.unwrap_or(StoreKind::Consul),
            servers,
            source,
            external,
        })
    }

    fn image(&mut self, image: Option<&Spanned<String>>, default: &str) -> String {
        let Some(image) = image else {
            return default.to_owned();
        };
        let text = &image.value;
        if text.is_empty() || text.starts_with('-') || text.contains(char::is_whitespace) {
            let message = format!("{text:?} is not the name of an image");
            self.wrong(image, message, format!("write it like `{default}`"));
        }
        text.clone()
    }

    fn sha256(&mut self, text: &Spanned<String>) -> Option<String> {
        let help = "write the 64 hexadecimal digits that sha256sum prints";
        self.parse(text, help, |text| {
            let text = text.to_ascii_lowercase();
            match text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
                true => Ok(text),
                false => Err("this is not a SHA-256"),
            }
        })
    }

    fn source(&mut self, source: &RawSource) -> Option<ProgramSource> {
        let (at, is_path) = match (&source.path, &source.url) {
            (Some(path), None) => (path, true),
            (None, Some(url)) => (url, false),
            (Some(_), Some(url)) => {
                self.wrong(
                    url,
                    "`path` and `url` exclude each other",
                    "keep one of the two",
                );
                return None;
            }
            (None, None) => match &source.sha256 {
                Some(sha) => {
                    self.wrong(
                        sha,
                        "a checksum without `path` or `url`",
                        "add one of the two, or remove `source`",
                    );
                    return None;
                }
                None => return Some(ProgramSource::Package),
            },
        };
        let Some(sha256) = &source.sha256 else {
            self.wrong(
                at,
                "a program from elsewhere needs its checksum",
                "add `sha256:` beside it",
            );
            return None;
        };
        let sha256 = self.sha256(sha256)?;
        let Some(version) = &source.version else {
            self.wrong(
                at,
                "a program from elsewhere needs its version",
                "add `version:` beside it, such as `1.20.1`",
            );
            return None;
        };
        let version = self.parse(version, "write it like `1.20.1`", |text| {
            crate::versions::parse_engine_version(text)
                .ok_or_else(|| format!("{text:?} is not a version"))
        })?;
        if !is_path && !at.value.starts_with("https://") && !at.value.starts_with("http://") {
            self.wrong(
                at,
                "the URL must begin with https:// or http://",
                "correct the URL, or use `path:` for a file",
            );
            return None;
        }
        Some(match is_path {
            true => ProgramSource::Path {
                path: resolve_path(&at.value, self.file),
                sha256,
                version,
            },
            false => ProgramSource::Url {
                url: at.value.clone(),
                sha256,
                version,
            },
        })
    }

    fn engine(&mut self, raw: &RawInventory, network: Option<&NetworkSpec>) -> Option<EngineSpec> {
        let version = match &raw.engine.version {
            Some(text) => Some(self.parse(
                text,
                "write it like `>=20.10, <23`",
                semver::VersionReq::parse,
            )?),
            None => None,
        };
        let options = raw
            .engine
            .options
            .as_ref()
            .map(|options| options.value.clone())
            .unwrap_or_default();
        let json = options.to_json();
        let moves_docker0 = network.is_some_and(|network| network.bridge == BridgeKind::Docker0);
        for (key, value) in &options.0 {
            // Without a network of docker-cluster's own, the store of one is the person's own affair.
            let by_hand = network.is_some_and(|network| network.fabric == FabricKind::Nat);
            if OWNED_OPTIONS.contains(&key.as_str()) && !by_hand {
                let message = format!("`{key}` is written by docker-cluster itself");
                let help = "remove it; `store:` and `private:` decide its value";
                self.wrong(value, message, help);
                continue;
            }
            if moves_docker0 && daemon_json::DOCKER0_KEYS.contains(&key.as_str()) {
                self.wrong(
                    value,
                    format!("`{key}` decides about docker0, and `network: {{bridge: docker0}}` does so too"),
                    "keep one of the two; each host's part of the subnet is its `subnet:`, and the MTU `network.mtu`",
                );
            }
            self.engine_option(key, value);
            let swarm = network.is_some_and(|network| network.fabric == FabricKind::Swarm);
            if swarm
                && key == "live-restore"
                && matches!(value.value, RawValue::Plain(serde_json::Value::Bool(true)))
            {
                self.wrong(
                    value,
                    "`live-restore` excludes swarm mode",
                    "remove it, or use another `network.fabric`",
                );
            }
            let Some(network) = network else { continue };
            for theirs in option_subnets(key, &json)
                .iter()
                .filter(|theirs| overlap(theirs, &network.subnet))
            {
                let message = format!(
                    "`{key}` has {theirs}, which overlaps with the network's subnet {}",
                    network.subnet
                );
                self.wrong(
                    value,
                    message,
                    "choose another `network.subnet`, or another range here",
                );
            }
        }
        let install = raw.engine.install.unwrap_or(InstallPolicy::Auto);
        Some(EngineSpec {
            version,
            install,
            options: json,
        })
    }

    /// An option that the engine would refuse, which is found here and not when an engine has been stopped for it.
    fn engine_option(&mut self, key: &str, value: &Spanned<RawValue>) {
        if let Some(right) = daemon_json::key_of_flag(key) {
            self.wrong(
                value,
                format!(
                    "`{key}` is a flag of the engine; in its file the option is called `{right}`"
                ),
                format!("write `{right}`"),
            );
            return;
        }
        let Some(kind) = daemon_json::kind(key) else {
            return;
        };
        if let (OptionKind::Texts, RawValue::Map(below)) = (kind, &value.value) {
            for (name, below) in below
                .0
                .iter()
                .filter(|(_, below)| !OptionKind::Text.fits(&below.value.to_json()))
            {
                let found = below.value.to_json();
                let message =
                    format!("`{key}.{name}` is {found}, and the engine takes text only here");
                self.wrong(
                    below,
                    message,
                    format!(
                        "write it in quotes: `\"{}\"`",
                        found.to_string().trim_matches('"')
                    ),
                );
            }
            return;
        }
        let found = value.value.to_json();
        if !kind.fits(&found) {
            self.wrong(
                value,
                format!("`{key}` is {found}, and the engine wants {kind} here"),
                kind.example(key),
            );
        }
    }

    fn swarm(
        &mut self,
        raw: &RawInventory,
        hosts: &[HostSpec],
        network: Option<&NetworkSpec>,
    ) -> Option<SwarmSpec> {
        let names: Vec<HostName> = hosts.iter().map(|host| host.name.clone()).collect();
        let tags: Vec<&Tag> = hosts.iter().flat_map(|host| &host.tags).collect();
        let managers = self.members(raw.swarm.managers.as_ref(), "managers", &names)?;
        let address_pool = match &raw.swarm.address_pool {
            Some(text) => {
                let pool = self.parse(
                    text,
                    "write it in CIDR notation, such as `10.91.0.0/16`",
                    subnet,
                )?;
                if network.is_some_and(|network| overlap(&network.subnet, &pool)) {
                    self.wrong(
                        text,
                        format!("the pool {pool} overlaps with the network's subnet"),
                        "choose another",
                    );
                }
                Some(pool)
            }
            None => None,
        };
        let data_path_port = match &raw.swarm.data_path_port {
            // The range that `docker swarm init --data-path-port` accepts.
            Some(port) if !(1024..=49151).contains(&port.value) => {
                self.wrong(
                    port,
                    "the data path port is from 1024 to 49151",
                    "write 4789 or remove it",
                );
                return None;
            }
            Some(port) if SWARM_PORTS.contains(&port.value) => {
                let message = format!(
                    "port {} is one of swarm mode's own, which cannot be changed",
                    port.value
                );
                self.wrong(port, message, "write 4789 or remove it");
                return None;
            }
            Some(port) => port.value,
            None => DEFAULT_DATA_PATH_PORT,
        };
        for tag in &raw.swarm.spread {
            if Tag::parse(&tag.value).is_ok()
                && !tags.iter().any(|known| known.as_str() == tag.value)
            {
                let message = format!("no host has the tag `{}`", tag.value);
                self.wrong(tag, message, "use tags of the hosts below `hosts:`");
            }
        }
        let spread = raw
            .swarm
            .spread
            .iter()
            .filter_map(|tag| self.parse(tag, "write a tag of your hosts", Tag::parse))
            .collect();
        let standalone = self.standalone(raw, hosts, network);
        Some(SwarmSpec {
            managers,
            spread,
            address_pool,
            data_path_port,
            standalone,
        })
    }
}

/// A subnet that holds none of the hosts' addresses, to propose.
fn another_subnet(raw: &RawInventory) -> String {
    let addresses: Vec<IpAddr> = raw
        .hosts
        .value
        .iter()
        .flat_map(|entry| match &entry.value {
            RawHost::Full(map) => [&map.private, &map.address]
                .map(|text| text.as_ref().map(|text| text.value.clone())),
            RawHost::Address(address) => [Some(address.clone()), None],
            RawHost::Empty => [None, None],
        })
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect();
    // One of the 10.x.0.0/16 is free unless somebody has written an inventory to prove the opposite.
    (90..=255)
        .filter_map(|second: u8| subnet(&format!("10.{second}.0.0/16")).ok())
        .find(|candidate| !addresses.iter().any(|ip| candidate.contains(ip)))
        .map_or_else(
            || DEFAULT_SUBNET.to_owned(),
            |candidate| candidate.to_string(),
        )
}

/// Whether two networks share an address.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Ranges that a daemon option gives to other networks of the engine.
fn option_subnets(key: &str, options: &serde_json::Map<String, serde_json::Value>) -> Vec<IpNet> {
    let net =
        |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<IpNet>().ok());
    match key {
        "bip" | "fixed-cidr" => options.get(key).and_then(net).into_iter().collect(),
        "default-address-pools" => {
            let pools = options
                .get(key)
                .and_then(serde_json::Value::as_array)
                .into_iter()
                .flatten();
            pools.filter_map(|pool| net(pool.get("base")?)).collect()
        }
        _ => Vec::new(),
    }
}

/// Takes `user@` and `:port` off an address as people type it, into the settings where they are not set.
fn split_destination(text: &str, settings: &mut RawSsh) -> Result<String, String> {
    let mut host = text.strip_prefix("ssh://").unwrap_or(text);
    let spanned =
        |value: &str| Spanned::new(value.to_owned(), Location::UNKNOWN, Location::UNKNOWN);
    if let Some((user, rest)) = host.split_once('@') {
        settings
            .user
            .get_or_insert(spanned(&word("user name", user)?));
        host = rest;
    }
    // An IPv6 address has several colons; only `[address]:port` names a port there.
    if let Some((bracketed, port)) = host
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
    {
        let port = port
            .parse()
            .map_err(|_| format!("`{port}` is not a port"))?;
        settings
            .port
            .get_or_insert(Spanned::new(port, Location::UNKNOWN, Location::UNKNOWN));
        host = bracketed;
    } else if host.matches(':').count() == 1
        && let Some((name, port)) = host.split_once(':')
    {
        let port = port
            .parse()
            .map_err(|_| format!("`{port}` is not a port"))?;
        settings
            .port
            .get_or_insert(Spanned::new(port, Location::UNKNOWN, Location::UNKNOWN));
        host = name;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:%".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(allowed) {
        return Err(format!("{text:?} is not an address"));
    }
    Ok(host.to_owned())
}

/// A word that becomes an argument of ssh: not empty, no option, no white space or control characters.
fn word(what: &str, text: &str) -> Result<String, String> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "'\"`$;&|<>(){}\\".contains(c);
    match text.is_empty() || text.starts_with('-') || text.contains(bad) {
        true => Err(format!("{text:?} is not a {what}")),
        false => Ok(text.to_owned()),
    }
}

/// Linux interface names: at most 15 bytes (IFNAMSIZ), no slash, no space.
pub(super) fn interface_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    match (1..=15).contains(&text.len())
        && text.chars().all(allowed)
        && !text.starts_with(['-', '.'])
    {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is neither an IP address nor the name of an interface"
        )),
    }
}

pub(super) fn subnet(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("{text:?} is not a subnet"))?;
    if net.network() != net.addr() {
        return Err(format!(
            "{net} is an address in a subnet; the subnet is {}",
            net.trunc()
        ));
    }
    if net.addr().is_ipv6() {
        return Err(format!(
            "{net} is IPv6; overlay networks of these engines need an IPv4 subnet"
        ));
    }
    // Two addresses go to the network and the gateway; each host's containers and its smoke test need some.
    if net.prefix_len() > 28 {
        return Err(format!(
            "{net} is too small for containers on several hosts"
        ));
    }
    Ok(net)
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.as_secs() > 0 => Ok(duration),
        Ok(_) => Err("at least one second".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A store URL as libkv parses it: exactly one `://`, a known provider, one endpoint for Consul.
fn store_url(text: &str) -> Result<String, String> {
    let mut parts = text.split("://");
    let (Some(provider), Some(rest), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!(
            "{text:?} is not `provider://address[,address...][/prefix]`"
        ));
    };
    let endpoints = rest.split('/').next().unwrap_or_default();
    if endpoints.is_empty() || text.contains(char::is_whitespace) {
        return Err(format!("{text:?} names no address"));
    }
    match provider {
        "consul" if endpoints.contains(',') => Err(
            "Consul takes one address; run a local agent on every host for high availability"
                .to_owned(),
        ),
        "consul" | "etcd" if !endpoints.split(',').all(|endpoint| endpoint.contains(':')) => Err(
            format!("{provider} needs the port as well, such as {provider}://10.0.0.5:8500"),
        ),
        "consul" | "etcd" | "zk" => Ok(text.to_owned()),
        _ => Err(format!("`{provider}` is none of consul, etcd, zk")),
    }
}
