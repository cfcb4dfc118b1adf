//! `network`: the fabric, its subnet or the LAN's pool, and what only some fabrics have.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::{
    Checker, MAX_HOST_PREFIX, MIN_MTU, OVERLAY_PORT, POOL_BITS, flaw, interface_name, subnet,
};
use crate::inventory::error::Flaw;
use crate::inventory::raw::{
    BridgeKind, FabricKind, RawBgp, RawHost, RawInventory, RawNetwork, RawVxlan,
};
use crate::inventory::{
    BgpSpec, ClusterName, DEFAULT_AS, DEFAULT_HOST_PREFIX, DEFAULT_SUBNET, DEFAULT_VXLAN, HostName,
    LanSpec, NetworkName, NetworkSpec, PassedOn, PasswordFile, RouterSpec, VxlanSpec,
};

impl Checker<'_> {
    pub(super) fn network(
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
        let guard_allow = self.guard_allow(&raw.network, guard);
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
            guard_allow,
            host_prefix,
            vxlan,
            bridge,
            lan,
            bgp,
        })
    }

    fn guard(&mut self, raw: &RawInventory, fabric: FabricKind) -> Option<bool> {
        let allows = raw.network.guard_allow.first();
        let is_overlay = matches!(
            fabric,
            FabricKind::Overlay | FabricKind::Swarm | FabricKind::Auto
        );
        if !is_overlay && let Some(allowed) = allows {
            self.wrong(
                allowed,
                format!("`guard_allow` is about the ports of overlays, and the fabric is {fabric}"),
                "remove `guard_allow`",
            );
        }
        let guard = raw.network.guard.as_ref()?;
        if !is_overlay {
            self.wrong(
                guard,
                format!("`guard` is about the ports of overlays, and the fabric is {fabric}"),
                "remove `guard`: what this fabric opens is for the cluster's hosts only in any case",
            );
        }
        Some(guard.value)
    }

    /// Who else may send to the guarded ports.
    fn guard_allow(&mut self, raw: &RawNetwork, guard: Option<bool>) -> Vec<IpNet> {
        let mut all = Vec::new();
        for allowed in &raw.guard_allow {
            let text = &allowed.value;
            let net: Option<IpNet> = text
                .parse()
                .ok()
                .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            match net {
                Some(net) if net.prefix_len() == 0 => self.wrong(
                    allowed,
                    format!("{net} is everybody"),
                    "name the network that they send from, or say `guard: false`",
                ),
                Some(net) if net.trunc() != net => self.wrong(
                    allowed,
                    format!(
                        "{net} is an address in a network; the network is {}",
                        net.trunc()
                    ),
                    "write the address alone, or the network",
                ),
                Some(net) => match sends_nothing(&net) {
                    Some((message, help)) => self.wrong(allowed, message, help),
                    None => all.push(net),
                },
                None => self.wrong(
                    allowed,
                    format!("`{text}` is neither an address nor a network"),
                    "write it like 192.0.2.7 or 192.0.2.0/24",
                ),
            }
        }
        if let (Some(false), Some(first)) = (guard, raw.guard_allow.first()) {
            let message = "`guard: false` lets everybody in, and `guard_allow` some";
            self.wrong(first, message, "remove one of the two");
        }
        all.sort();
        all.dedup();
        all
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
        let listed = raw.reflectors.iter();
        let reflectors = self.each_once(listed.map(|name| (name, name.value.as_str())), names)?;
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
            let password = router.value.password_file.as_ref();
            let password = password.map(|named| PasswordFile::at(self.file(named)));
            routers.push(RouterSpec {
                address,
                number: router.value.number,
                password,
            });
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
        let password = raw.password_file.as_ref();
        let password = password.map(|named| PasswordFile::at(self.file(named)));
        Some(BgpSpec {
            number,
            by,
            password,
        })
    }
}

/// Length of the prefixes below which IPv6 writes IPv4, such as `::ffff:0:0/96` (RFC 4291).
const OF_IPV4: u8 = 96;

/// Why no packet between hosts comes from any address of a network (RFC 6890), and what to write instead.
fn sends_nothing(net: &IpNet) -> Option<(String, String)> {
    if let IpAddr::V6(ip) = net.addr()
        && let (Some(ip), Some(bits)) = (ip.to_ipv4_mapped(), net.prefix_len().checked_sub(OF_IPV4))
    {
        let message = format!(
            "{net} is IPv4 in the letters of IPv6: packets of it are IPv4, which no rule about IPv6 is for"
        );
        let plain = match bits {
            32 => ip.to_string(),
            _ => format!("{ip}/{bits}"),
        };
        return Some((message, format!("write `{plain}`")));
    }
    // A network that only begins with such addresses has others in it as well.
    let what = match (net.addr(), net.prefix_len()) {
        (ip, _) if ip.is_loopback() => "each host's own loopback",
        (ip, _) if ip.is_multicast() => "for multicast",
        (IpAddr::V4(ip), 8..) if ip.octets()[0] == 0 => "no address of a host",
        (IpAddr::V4(ip), _) if ip.octets()[0] >= 240 => "reserved",
        (IpAddr::V6(ip), OF_IPV4..) if ip.to_ipv4().is_some() => "no address of a host",
        _ => return None,
    };
    let help = match net.addr().is_unspecified() {
        true => "name the network that they send from, or say `guard: false` for everybody",
        false => "write the address that they have on the network, such as 192.0.2.7",
    };
    let message = format!("{net} is {what}: nothing comes from there");
    Some((message, help.to_owned()))
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
