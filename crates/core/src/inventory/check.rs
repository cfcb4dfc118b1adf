//! Makes a checked inventory of a raw one, and collects everything that is wrong with it.

mod api;
mod engine;
mod network;
mod standalone;
mod store;

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use serde_saphyr::{Location, Spanned};

use super::error::{Flaw, InventoryError, line_of, range_of};
use super::raw::{Become, RawHost, RawHostMap, RawInventory, RawServers, RawSsh};
use super::underlay::{Endpoint, endpoint};
use super::{
    ClusterName, DEFAULT_CONNECT_TIMEOUT, DEFAULT_KERNEL_MINIMUM, DEFAULT_PERSIST,
    DEFAULT_SMOKE_IMAGE, HostName, HostSpec, Inventory, Members, NamedFile, NetworkSpec,
    PrivateAddress, SmokeSpec, SshSpec, SwarmKind, SwarmSpec, Tag, resolve_path,
};

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

    /// The file on this machine that is named here.
    pub(super) fn file(&self, named: &Spanned<String>) -> NamedFile {
        let line = line_of(self.source, self.at(&named.referenced).start);
        let path = resolve_path(&named.value, self.file);
        NamedFile::at(path, format!("{}:{line}", self.file))
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
                let listed = list.iter().map(|name| (value, name.as_str()));
                let chosen = self.each_once(listed, names)?;
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

    /// Hosts that are listed by name, each with its place in the file.
    fn each_once<'l, T: 'l>(
        &mut self,
        listed: impl Iterator<Item = (&'l Spanned<T>, &'l str)>,
        names: &[HostName],
    ) -> Option<Vec<HostName>> {
        let mut chosen = Vec::new();
        for (at, name) in listed {
            match names.iter().find(|host| host.as_str() == name) {
                Some(host) if chosen.contains(host) => {
                    let what = format!("`{name}` is listed twice");
                    self.wrong(at, what, "list each host once");
                    return None;
                }
                Some(host) => chosen.push(host.clone()),
                None => {
                    let what = format!("no host is called `{name}`");
                    self.wrong(at, what, "use the names under `hosts:`");
                    return None;
                }
            }
        }
        Some(chosen)
    }

    fn swarm(
        &mut self,
        raw: &RawInventory,
        hosts: &[HostSpec],
        network: Option<&NetworkSpec>,
    ) -> Option<SwarmSpec> {
        let names: Vec<HostName> = hosts.iter().map(|host| host.name.clone()).collect();
        let tags: Vec<&Tag> = hosts.iter().flat_map(|host| &host.tags).collect();
        let managers = match &raw.swarm.managers {
            // Agents of a standalone Swarm whose managers are not in this inventory.
            Some(none) if is_standalone(raw) && is_empty(&none.value) => Members::Named(Vec::new()),
            managers => self.members(managers.as_ref(), "managers", &names)?,
        };
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

fn is_standalone(raw: &RawInventory) -> bool {
    let mode = raw.swarm.mode.as_ref();
    mode.is_some_and(|mode| mode.value == SwarmKind::Standalone)
}

fn is_empty(members: &RawServers) -> bool {
    matches!(members, RawServers::Names(names) if names.is_empty())
}

/// Whether two networks share an address.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
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
        return Err(format!("{net} is IPv6, and what is to be here is IPv4"));
    }
    if let Some(what) = nobodys(&net) {
        return Err(format!("{net} is {what}, which no host can have"));
    }
    // Two addresses go to the network and the gateway; each host's containers and its smoke test need some.
    if net.prefix_len() > 28 {
        return Err(format!(
            "{net} is too small for containers on several hosts"
        ));
    }
    Ok(net)
}

/// What addresses are for that neither hosts nor containers can be given (RFC 6890).
pub(super) fn nobodys(net: &IpNet) -> Option<&'static str> {
    match (net.addr(), net.broadcast()) {
        (IpAddr::V4(first), _) if first.is_loopback() => Some("each host's own loopback"),
        (_, IpAddr::V4(last)) if last.is_multicast() => Some("for multicast"),
        (_, IpAddr::V4(last)) if last.octets()[0] >= 240 => Some("reserved"),
        (IpAddr::V4(first), _) if first.octets()[0] == 0 => Some("reserved"),
        _ => None,
    }
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.as_secs() > 0 => Ok(duration),
        Ok(_) => Err("at least one second".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
