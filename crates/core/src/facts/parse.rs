//! From what the probe printed to facts: pure, and never trusting the host.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Address, ApiFacts, Container, DataFacts, Endpoint, Engine, EngineProcess, Facts, FileFact,
    FileLine, InSwarm, Init, Interface, LinkFacts, Manager, MeshFacts, Module, Network, Node,
    Origin, PackageFacts, Route, StoreFacts, Unit,
};
use crate::versions::{parse_engine_version, parse_kernel_version};
use crate::words::printable;

/// Parses the probe's output. `sent` and `received` are this machine's clock around the probe, in seconds since 1970.
/// `None` if it is not such an output, or was cut off.
#[must_use]
pub fn parse(output: &[u8], sent: i64, received: i64) -> Option<Facts> {
    let text = String::from_utf8_lossy(output);
    let sections = Sections::split(&text);
    if !sections.has("begin") || !sections.has("end") {
        return None;
    }
    let os = key_values(&sections.text("os-release"));
    let from_os = |key: &str| clean(os.get(key).map_or("", String::as_str));
    let uname = sections.line("uname");
    let mut uname = uname.split_whitespace().skip(1).map(clean);
    let kernel_text = uname.next().unwrap_or_default();
    let clock: i64 = sections.line("clock").trim().parse().unwrap_or(sent);
    let certificate = sections.text("swarm-cert");
    let (swarm_cluster, swarm_role) = swarm_certificate(&certificate).unzip();
    // What marks a section as incomplete comes before the list of those is taken.
    let files = files(&sections);
    let units = units(&sections);
    let is_active = |unit: &str| units.get(unit).is_some_and(|unit| unit.active == "active");
    Some(Facts {
        iptables: !sections.line("iptables").is_empty(),
        firewall: super::firewall::firewall(&sections, is_active),
        os_id: from_os("ID"),
        os_version: from_os("VERSION_ID"),
        os_codename: from_os("VERSION_CODENAME"),
        os_pretty: from_os("PRETTY_NAME"),
        kernel: parse_kernel_version(&kernel_text).ok(),
        kernel_text,
        architecture: uname.next().unwrap_or_default(),
        hostname: sections.word("hostname"),
        machine_id: sections.word("machine-id"),
        boot_id: sections.word("boot-id"),
        clock,
        clock_offset: clock_offset(clock, sent, received),
        modules: modules(&sections),
        interfaces: links(&sections),
        addresses: addresses(&sections),
        managers: sections.pairs("managers").map(manager).collect(),
        manager_lines: sections.all("manager-lines", file_line),
        routes: routes(&sections),
        tcp: sockets(&sections, "tcp", Some(LISTENS)),
        udp: sockets(&sections, "udp", None),
        init: match sections.word("init").as_str() {
            "systemd" => Init::Systemd,
            other => Init::Other(other.to_owned()),
        },
        package_managers: sections.words("package-managers").collect(),
        candidates: candidates(&sections),
        engine_versions: versions(&sections, "docker.io"),
        client_versions: versions(&sections, "docker-cli"),
        packages: packages(&sections),
        links: link_facts(&sections),
        mesh: mesh_facts(&sections),
        mesh_programs: sections.words("mesh-programs").collect(),
        installing: sections.words("installing").collect(),
        on_containerd: sections.words("on-containerd").collect(),
        data: data(&sections),
        in_swarm: in_swarm(&sections),
        engine: engine(&sections),
        daemon_json: sections.optional("daemon-json"),
        unit_lines: sections.all("unit-lines", file_line),
        environment_files: sections.all("environment-files", file_line),
        engine_process: engine_process(&sections),
        units,
        docker_sock: sections.has("docker-sock"),
        store: store(&sections, &files),
        api: ApiFacts {
            ca: sections.text("api-ca"),
            cert: sections.text("api-cert"),
            manager: sections.text("swarm-manager-cert"),
        },
        files,
        written_before: sections.pairs("written-before").collect(),
        records: sections.all("records", |line| serde_json::from_str(line).ok()),
        origins: sections.all("origins", origin).into_iter().collect(),
        made: sections.words("made").collect(),
        daemon_json_origin: sections.optional("daemon-json-origin"),
        daemon_json_written: sections.optional("daemon-json-written"),
        swarm_cluster,
        swarm_manager: swarm_role.as_deref() == Some("swarm-manager"),
        swarm_certificate_ends: crate::x509::expiry(&certificate),
        nodes: sections.all("nodes", node),
        migration: migration(&sections),
        store_user: sections
            .line("user-exists")
            .contains("docker-cluster-store"),
        through_sudo: !matches!(sections.word("sudo-user").as_str(), "" | "root"),
        // Last: reading the others fills it.
        incomplete: sections.incomplete.take().into_iter().collect(),
    })
}

/// How far a host's clock is from this machine's, in seconds: 0 if it lies between the two moments at which it was asked.
fn clock_offset(clock: i64, sent: i64, received: i64) -> i64 {
    if clock < sent {
        clock.saturating_sub(sent)
    } else {
        clock.saturating_sub(received).max(0)
    }
}

fn modules(sections: &Sections<'_>) -> BTreeMap<String, Module> {
    let state = |state: &str| match state {
        "loaded" | "builtin" | "available" => Module::Present,
        "missing" => Module::Missing,
        _ => Module::Unknown,
    };
    sections
        .pairs("modules")
        .map(|(name, text)| (name, state(&text)))
        .collect()
}

/// The mark of a migration, if there is one.
fn migration<T: serde::de::DeserializeOwned>(sections: &Sections<'_>) -> Option<T> {
    let text = sections.text("migration");
    if text.trim().is_empty() {
        return None;
    }
    let read = serde_json::from_str(&text).ok();
    if read.is_none() {
        sections.incomplete.borrow_mut().insert("migration");
    }
    read
}

/// One line from a host, safe to print and to compare.
fn clean(text: &str) -> String {
    printable(text.as_bytes()).replace(['\n', '\t'], " ")
}

pub(super) struct Sections<'a> {
    lines: BTreeMap<&'a str, Vec<&'a str>>,
    /// Those that are not whole: the host said so, or a line of them is not what it should be.
    incomplete: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Sections<'a> {
    fn split(text: &'a str) -> Self {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut incomplete = BTreeSet::new();
        let mut current = None;
        for line in text.split('\n') {
            if let Some(name) = line.strip_prefix('@') {
                map.entry(name).or_default();
                current = Some(name);
            } else if let (Some(content), Some(name)) = (line.strip_prefix('|'), current)
                && let Some(lines) = map.get_mut(name)
            {
                lines.push(content);
            } else if line == "!" {
                incomplete.extend(WHOLE_OR_UNKNOWN.iter().find(|name| current == Some(**name)));
            }
        }
        Self {
            lines: map,
            incomplete: RefCell::new(incomplete),
        }
    }

    fn is_incomplete(&self, name: &str) -> bool {
        self.incomplete.borrow().contains(name)
    }

    /// Every line of a list, read. One that cannot be read is something that is not known, not something that is not there.
    fn all<T>(&self, name: &'static str, read: impl Fn(&'a str) -> Option<T>) -> Vec<T> {
        let found: Vec<Option<T>> = self
            .lines(name)
            .filter(|line| !line.trim().is_empty())
            .map(read)
            .collect();
        if found.iter().any(Option::is_none) {
            self.incomplete.borrow_mut().insert(name);
        }
        found.into_iter().flatten().collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.lines.get(name).is_some_and(|lines| !lines.is_empty())
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &'a str> + '_ {
        self.lines.get(name).into_iter().flatten().copied()
    }

    fn line(&self, name: &str) -> String {
        self.lines(name).next().unwrap_or_default().to_owned()
    }

    /// The first line, without blanks around it.
    fn word(&self, name: &str) -> String {
        clean(self.line(name).trim())
    }

    /// Its lines that are not empty.
    fn words(&self, name: &str) -> impl Iterator<Item = String> + '_ {
        self.lines(name).map(clean).filter(|line| !line.is_empty())
    }

    /// Lines of a word and what follows it.
    fn pairs(&self, name: &str) -> impl Iterator<Item = (String, String)> + '_ {
        self.lines(name)
            .filter_map(|line| line.split_once(' '))
            .map(|(word, rest)| (clean(word), clean(rest.trim())))
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.lines(name).fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
    }

    /// The text of a file, `None` if the file is not there.
    fn optional(&self, name: &str) -> Option<String> {
        self.lines.contains_key(name).then(|| self.text(name))
    }
}

/// `KEY=value` lines; quotes as in `/etc/os-release`.
fn key_values(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

/// The configuration of links, each line in words.
fn words_of(sections: &Sections<'_>, name: &str) -> Option<Vec<Vec<String>>> {
    let words = |line: &str| line.split_whitespace().map(clean).collect::<Vec<_>>();
    let all = sections.optional(name)?;
    Some(
        all.lines()
            .map(words)
            .filter(|line| !line.is_empty())
            .collect(),
    )
}

/// What `templates/underlays/wireguard.sh` says when it is asked for facts.
fn mesh_facts(sections: &Sections<'_>) -> Option<MeshFacts> {
    let config = words_of(sections, "underlay-config")?;
    let mut mesh = MeshFacts::default();
    for line in sections.lines("underlay") {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split_whitespace();
        match word {
            "wrong" => mesh.links.wrong.push(clean(rest)),
            "key" => mesh.key = public_key(rest),
            "heard" => {
                let (Some(name), Some(age), Some(place)) =
                    (words.next(), words.next(), words.next())
                else {
                    continue;
                };
                mesh.heard
                    .insert(clean(name), (age.parse().ok(), clean(place)));
            }
            _ => {}
        }
    }
    mesh.links.config = config;
    Some(mesh)
}

/// A public key of WireGuard, or nothing: it ends in files of other hosts.
fn public_key(text: &str) -> String {
    match crate::words::is_public_key(text.trim()) {
        true => text.trim().to_owned(),
        false => String::new(),
    }
}

fn link_facts(sections: &Sections<'_>) -> Option<LinkFacts> {
    let config = words_of(sections, "fabric-config")?;
    let wrong = sections
        .lines("fabric-wrong")
        .map(clean)
        .filter(|line| !line.is_empty())
        .collect();
    Some(LinkFacts { config, wrong })
}

fn links(sections: &Sections<'_>) -> Vec<Interface> {
    // "4: eth0@if5: <FLAGS> mtu 1400 qdisc ..."
    let parse = |line: &str| {
        let mut parts = line.split(": ");
        let name = parts.nth(1)?.split('@').next()?;
        let mtu = line
            .split(" mtu ")
            .nth(1)?
            .split(' ')
            .next()?
            .parse()
            .ok()?;
        Some(Interface {
            name: clean(name),
            mtu,
        })
    };
    sections.lines("links").filter_map(parse).collect()
}

fn addresses(sections: &Sections<'_>) -> Vec<Address> {
    // "4: eth0    inet 192.0.2.2/24 brd ... scope global eth0"
    let parse = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let interface = clean(words.next()?);
        words.find(|word| *word == "inet" || *word == "inet6")?;
        let net = words.next()?.parse().ok()?;
        Some(Address {
            interface,
            net,
            lent: words.any(|word| word == "dynamic"),
        })
    };
    sections.lines("addresses").filter_map(parse).collect()
}

fn routes(sections: &Sections<'_>) -> Vec<Route> {
    // "default via 192.0.2.1 dev eth0", "10.0.0.0/8 dev eth1 ...", "10.1.2.3 via ..."
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let to = words.next()?;
        let to = match to {
            "default" => IpNet::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).ok()?,
            to => to
                .parse::<IpNet>()
                .ok()
                .or_else(|| to.parse::<IpAddr>().ok().map(IpNet::from))?,
        };
        let (mut via, mut word) = (None, words.next()?);
        if word == "via" {
            (via, word) = (words.next()?.parse().ok(), words.next()?);
        }
        while word != "dev" {
            word = words.next()?;
        }
        let interface = clean(words.next()?);
        let source = words.find(|word| *word == "src").and_then(|_| words.next());
        Some(Route {
            to,
            via,
            interface,
            source: source.and_then(|text| text.parse().ok()),
        })
    };
    sections.lines("routes").filter_map(parse).collect()
}

/// The state of a TCP socket that listens (`TCP_LISTEN` in the kernel's `tcp_states.h`).
const LISTENS: &str = "0A";

fn sockets<C: FromIterator<(IpAddr, u16)>>(
    sections: &Sections<'_>,
    name: &str,
    state: Option<&str>,
) -> C {
    sections
        .lines(name)
        .filter_map(|line| socket(line, state))
        .collect()
}

/// A line of `/proc/net/{tcp,udp}{,6}`: the local address and port in hexadecimal, each 32-bit word of the address in the
/// byte order of the machine (little-endian on what Docker runs on).
fn socket(line: &str, state: Option<&str>) -> Option<(IpAddr, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    if let Some(state) = state
        && words.nth(1)? != state
    {
        return None;
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        u32::from_str_radix(address.get(at..at + 8)?, 16)
            .ok()
            .map(u32::swap_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bits = words
                .iter()
                .fold(0u128, |bits, word| (bits << 32) | u128::from(*word));
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        _ => return None,
    };
    Some((ip, port))
}

/// "/lib/systemd/system/docker.service<TAB>ExecStart=/usr/sbin/dockerd"
fn file_line(line: &str) -> Option<FileLine> {
    let (file, text) = line.split_once('\t')?;
    // Tabs and all: a value may hold any.
    Some(FileLine {
        file: clean(file),
        text: printable(text.as_bytes()),
    })
}

/// `INTERFACE NAME`, or `INTERFACE NAME FILE`.
fn manager((interface, rest): (String, String)) -> (String, Manager) {
    let (name, file) = rest.split_once(' ').unwrap_or((&rest, ""));
    let file = (!file.is_empty()).then(|| file.to_owned());
    let name = name.to_owned();
    (interface, Manager { name, file })
}

/// Lines "pid NUMBER", "exe PATH", "unit NAME", and "arg WORD" for each argument.
fn engine_process(sections: &Sections<'_>) -> Option<EngineProcess> {
    let of = |kind: &str| -> Vec<String> {
        sections
            .lines("engine-process")
            .filter_map(|line| Some(clean(line.strip_prefix(kind)?)))
            .collect()
    };
    let first = |kind| of(kind).into_iter().next().unwrap_or_default();
    let process = EngineProcess {
        pid: first("pid ").parse().unwrap_or(0),
        exe: first("exe "),
        unit: first("unit "),
        args: of("arg "),
    };
    sections.has("engine-process").then_some(process)
}

/// "0123456789abcdef file 644 root:root SHA256", "0123456789abcdef absent /etc/docker-cluster".
fn origin(line: &str) -> Option<(String, Origin)> {
    let mut words = line.split_whitespace();
    let key = clean(words.next()?);
    match words.next()? {
        "absent" => Some((key, Origin::Absent)),
        "file" => Some((key, Origin::File)),
        _ => None,
    }
}

fn candidates(sections: &Sections<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut package = String::new();
    for line in sections
        .lines("candidates")
        .filter(|line| !line.contains('|'))
    {
        match line.trim().strip_prefix("Candidate:") {
            Some(version) if version.trim() != "(none)" => {
                found.insert(package.clone(), clean(version.trim()));
            }
            Some(_) => {}
            None => package = clean(line.trim_end_matches(':')),
        }
    }
    found
}

/// Lines `docker.io | VERSION`, as apt sorts them: the newest first.
fn versions(sections: &Sections<'_>, package: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let all = sections
        .lines("candidates")
        .filter_map(|line| line.split_once('|'));
    for version in all
        .filter(|(name, _)| name.trim() == package)
        .map(|(_, text)| clean(text.trim()))
    {
        if !found.contains(&version) {
            found.push(version);
        }
    }
    found
}

fn packages(sections: &Sections<'_>) -> PackageFacts {
    // "ii |docker.io|20.10.5+dfsg1-1"
    let present = |line: &str| {
        let mut words = line.split('|').map(|word| clean(word.trim()));
        let (state, name, version) = (words.next()?, words.next()?, words.next()?);
        Some((name, (state, version)))
    };
    let mut found = PackageFacts {
        present: sections.lines("packages").filter_map(present).collect(),
        halves: sections
            .lines("halves")
            .map(clean)
            .filter(|line| !line.is_empty())
            .collect(),
        by_hand: sections
            .lines("by-hand")
            .map(clean)
            .filter(|line| !line.is_empty())
            .collect(),
        ..PackageFacts::default()
    };
    for line in sections.lines("simulation").map(clean) {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let (Some(target), Some(word), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        match (word.as_str(), rest.split_once(' ')) {
            ("Remv" | "Inst", Some((name, version))) => {
                found
                    .changes
                    .push((target, word, name.to_owned(), version.to_owned()));
            }
            ("E:", _) => found.refusals.push((target, rest)),
            _ => {}
        }
    }
    found
}

fn data(sections: &Sections<'_>) -> DataFacts {
    let mut data = DataFacts::default();
    for line in sections
        .lines("volumes")
        .chain(sections.lines("data-folders"))
    {
        let mut words = line.split(' ');
        let (Some(kind), Some(word)) = (words.next(), words.next()) else {
            continue;
        };
        let number = words.next().and_then(|size| size.parse::<u64>().ok());
        match kind {
            "volume" => data.volumes.push((clean(word), number)),
            "layers" => data.layers = word.parse().ok(),
            path if path.starts_with('/') => {
                data.folders.push((
                    clean(path),
                    word.parse::<u64>()
                        .ok()
                        .map(|kilobytes| kilobytes.saturating_mul(1024)),
                ));
            }
            _ => {}
        }
    }
    data
}

/// Lines `service "web" {"com.docker.stack.namespace":"shop"}`. Nothing unless a manager told them all.
fn in_swarm(sections: &Sections<'_>) -> Option<Vec<InSwarm>> {
    let lines: Vec<&str> = sections
        .lines("swarm-content")
        .filter(|line| !line.is_empty())
        .collect();
    if !sections.lines.contains_key("swarm-content") || sections.is_incomplete("swarm-content") {
        return None;
    }
    let one = |line: &&str| {
        let (kind, rest) = line.split_once(' ')?;
        let mut values = serde_json::Deserializer::from_str(rest)
            .into_iter::<Value>()
            .filter_map(Result::ok);
        let name = clean(values.next()?.as_str()?);
        let stack = values
            .next()?
            .get("com.docker.stack.namespace")
            .and_then(Value::as_str)
            .map(clean);
        Some(InSwarm {
            kind: clean(kind),
            name,
            stack,
        })
    };
    // A line that is not understood is something all the same: without it the list is not whole.
    lines.iter().map(one).collect()
}

fn units(sections: &Sections<'_>) -> BTreeMap<String, Unit> {
    let mut units = BTreeMap::new();
    // `systemctl show` separates units by an empty line.
    for block in sections.text("units").split("\n\n") {
        let values = key_values(block);
        let get = |key: &str| clean(values.get(key).map_or("", String::as_str));
        if values.contains_key("Id") {
            let unit = Unit {
                load: get("LoadState"),
                active: get("ActiveState"),
                file_state: get("UnitFileState"),
                path: get("FragmentPath"),
                drop_ins: get("DropInPaths")
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
                main_pid: get("MainPID").parse().unwrap_or(0),
                invocation: get("InvocationID"),
                needs_reload: get("NeedDaemonReload") == "yes",
            };
            units.insert(get("Id"), unit);
        }
    }
    units
}

/// What the engine is asked for as a whole.
const ENGINE_LISTS: [&str; 7] = [
    "containers",
    "networks",
    "images",
    "nodes",
    "endpoints",
    "swarm-content",
    "volumes",
];

/// Sections of which a part is not enough: what is missing in them would be taken for what is not there.
const WHOLE_OR_UNKNOWN: &[&str] = &[
    "api-ca",
    "api-cert",
    "swarm-manager-cert",
    "containers",
    "networks",
    "images",
    "nodes",
    "endpoints",
    "swarm-content",
    "volumes",
    "installing",
    "fabric-config",
    "fabric-wrong",
    "underlay",
    "underlay-config",
    "on-containerd",
    "packages",
    "simulation",
    "daemon-json",
    "daemon-json-origin",
    "daemon-json-written",
    "environment-files",
    "files",
    "made",
    "migration",
    "origins",
    "records",
    "store-config",
    "sums",
    "swarm-cert",
    "unit-lines",
    "units",
    "written-before",
];

fn engine(sections: &Sections<'_>) -> Option<Engine> {
    let path = clean(sections.line("dockerd-path").trim());
    if path.is_empty() {
        return None;
    }
    // "Docker version 20.10.5+dfsg1, build 55c4c88"
    let line = sections.line("dockerd-version");
    let version_text = clean(
        line.split("version ")
            .nth(1)
            .unwrap_or_default()
            .split(',')
            .next()
            .unwrap_or_default(),
    );
    let (containers, networks) = (
        sections.all("containers", container),
        sections.all("networks", network),
    );
    let endpoints = sections.all("endpoints", network);
    let incomplete = ENGINE_LISTS.iter().any(|list| sections.is_incomplete(list));
    let info = serde_json::from_str(&sections.line("docker-info")).ok();
    Some(Engine {
        version: parse_engine_version(&version_text),
        version_text,
        path,
        client: Some(clean(sections.line("docker-client").trim()))
            .filter(|path| !path.is_empty() && !path.starts_with("podman ")),
        kv_backends: sections.lines("kv-backends").map(clean).collect(),
        // Docker's client says something of itself where no engine answers.
        incomplete: incomplete && info.as_ref().is_some_and(tells_version),
        // What has not told everything is not to be acted on, as if the rest were not there.
        info: if incomplete { None } else { info },
        key: clean(sections.line("engine-key").trim()),
        containers,
        networks,
        endpoints,
        // "NAME:TAG ID"
        images: sections
            .lines("images")
            .filter_map(|line| line.split_once(' '))
            .map(|(name, _)| clean(name))
            .collect(),
    })
}

fn tells_version(info: &Value) -> bool {
    info.get("ServerVersion")
        .and_then(Value::as_str)
        .is_some_and(|version| !version.is_empty())
}

fn container(line: &str) -> Option<Container> {
    let mut values = serde_json::Deserializer::from_str(line)
        .into_iter::<Value>()
        .filter_map(Result::ok);
    let mut text = || Some(clean(values.next()?.as_str()?));
    let (name, status, restart) = (text()?.trim_start_matches('/').to_owned(), text()?, text()?);
    // What it hangs on decides what may be removed: a line without it tells too little.
    let labels = Option::<BTreeMap<String, String>>::deserialize(values.next()?)
        .ok()?
        .unwrap_or_default();
    let networks = values.next().filter(Value::is_object)?;
    let exit_code = values.next().and_then(|code| code.as_i64()).unwrap_or(0);
    Some(Container {
        name,
        status,
        restart,
        labels,
        networks,
        exit_code,
    })
}

fn network(line: &str) -> Option<Network> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| clean(value.get(key).and_then(Value::as_str).unwrap_or_default());
    let strings = |key: &str| {
        value
            .get(key)
            .and_then(|map| BTreeMap::deserialize(map).ok())
            .unwrap_or_default()
    };
    let parts = || {
        value
            .pointer("/IPAM/Config")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let nets =
        |key: &'static str| parts().filter_map(move |part| part.get(key)?.as_str()?.parse().ok());
    Some(Network {
        name: text("Name"),
        id: text("Id"),
        driver: text("Driver"),
        scope: text("Scope"),
        subnets: nets("Subnet").collect(),
        range: nets("IPRange").next(),
        options: strings("Options"),
        attachable: value
            .get("Attachable")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        is_ingress: value
            .get("Ingress")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        labels: strings("Labels"),
        endpoints: value
            .get("Containers")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, one)| {
                let text = |key: &str| one.get(key).and_then(Value::as_str).map(clean);
                let endpoint = Endpoint {
                    container: text("Name")?,
                    is_own: !key.starts_with("ep-"),
                };
                Some((text("EndpointID")?, endpoint))
            })
            .collect(),
    })
}

/// Swarm mode writes the swarm's id as the organization of every node certificate, and the role as its unit.
fn swarm_certificate(pem: &str) -> Option<(String, String)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let cert = pem.parse_x509().ok()?;
    let id = clean(cert.subject().iter_organization().next()?.as_str().ok()?);
    let role = clean(
        cert.subject()
            .iter_organizational_unit()
            .next()?
            .as_str()
            .ok()?,
    );
    Some((id, role))
}

fn node(line: &str) -> Option<Node> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |path: &str| {
        clean(
            value
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )
    };
    Some(Node {
        id: text("/ID"),
        hostname: text("/Description/Hostname"),
        state: text("/Status/State"),
        availability: text("/Spec/Availability"),
        is_manager: text("/Spec/Role") == "manager",
        is_raft_member: value
            .get("ManagerStatus")
            .is_some_and(|status| !status.is_null()),
        is_reachable: text("/ManagerStatus/Reachability") == "reachable",
        labels: value
            .pointer("/Spec/Labels")
            .and_then(|labels| BTreeMap::deserialize(labels).ok())
            .unwrap_or_default(),
        addresses: node_addresses(&text("/Status/Addr"), &text("/ManagerStatus/Addr")),
    })
}

/// Some engines say 0.0.0.0 or 127.0.0.1 of themselves, which is nowhere.
fn node_addresses(seen: &str, manager: &str) -> Vec<IpAddr> {
    let manager = manager.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let mut all: Vec<IpAddr> = seen.parse().ok().into_iter().chain(manager).collect();
    all.retain(|address| !address.is_unspecified() && !address.is_loopback());
    all.dedup();
    all
}

fn store(sections: &Sections<'_>, files: &BTreeMap<String, FileFact>) -> StoreFacts {
    let ready: Vec<&str> = sections.lines("store-ready").collect();
    // "Consul v1.8.7"
    let version = sections.line("consul-version");
    let version = version.split(" v").nth(1).and_then(parse_engine_version);
    StoreFacts {
        path: clean(sections.line("consul-path").trim()),
        version,
        sha256: files
            .get(crate::paths::PUSHED_STORE)
            .map(|file| file.sha256.clone())
            .unwrap_or_default(),
        ready: ready.last() == Some(&"ready"),
        // Before "ready" are the keys that were found, which are no error.
        error: match ready.last() {
            Some(&"ready") | None => String::new(),
            Some(_) => clean(ready.first().copied().unwrap_or_default()),
        },
        config: sections.optional("store-config"),
        members: sections
            .lines("store-members")
            .skip(1)
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let name = clean(words.next()?);
                words.next()?;
                Some((name, clean(words.next()?)))
            })
            .collect(),
        agent_cert: sections.text("agent-cert"),
        engine_cert: sections.text("engine-cert"),
        ca_cert: sections.text("ca-cert"),
    }
}

fn files(sections: &Sections<'_>) -> BTreeMap<String, FileFact> {
    let mut files: BTreeMap<String, FileFact> = BTreeMap::new();
    for line in sections.lines("files") {
        let mut words = line.splitn(3, ' ');
        if let (Some(mode), Some(owner), Some(path)) = (words.next(), words.next(), words.next()) {
            let file = files.entry(clean(path)).or_default();
            file.mode = clean(mode);
            file.owner = clean(owner);
        }
    }
    for line in sections.lines("sums") {
        if let Some((sum, path)) = line.split_once("  ") {
            files.entry(clean(path)).or_default().sha256 = clean(sum);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_engines_write_them() {
        assert_eq!(
            parse_engine_version("20.10.5+dfsg1").unwrap(),
            semver::Version::new(20, 10, 5)
        );
        assert_eq!(
            parse_engine_version("17.05.0-ce").unwrap(),
            semver::Version::new(17, 5, 0)
        );
        assert_eq!(
            parse_engine_version("1.8").unwrap(),
            semver::Version::new(1, 8, 0)
        );
        assert!(parse_engine_version("dev").is_none());
        assert_eq!(parse_kernel_version("5.10.0-30-amd64").unwrap(), (5, 10, 0));
        assert_eq!(parse_kernel_version("4.19").unwrap(), (4, 19, 0));
        assert!(parse_kernel_version("new").is_err());
    }

    #[test]
    fn sockets_of_proc_net() {
        let line = "   0: 0100007F:2135 00000000:0000 0A 00000000:00000000 00:00000000";
        assert_eq!(
            socket(line, Some("0A")).unwrap(),
            ("127.0.0.1".parse().unwrap(), 8501)
        );
        let line =
            " 1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0";
        assert_eq!(
            socket(line, Some("0A")).unwrap(),
            ("::1".parse().unwrap(), 22)
        );
        assert!(socket("  sl  local_address rem_address   st", None).is_none());
    }

    #[test]
    fn the_certificate_of_a_member_is_not_that_of_a_manager() {
        let output = "@begin\n|1\n@swarm-cert\n|the member's\n@end\n|1\n";
        let facts = parse(output.as_bytes(), 0, 0).unwrap();
        assert_eq!(facts.api.manager, "");
    }

    #[test]
    fn content_cannot_open_a_section() {
        let output = "@begin\n|1\n@hostname\n|web\n|@machine-id\n@end\n|1\n";
        let facts = parse(output.as_bytes(), 0, 0).unwrap();
        assert_eq!(
            (facts.hostname.as_str(), facts.machine_id.as_str()),
            ("web", "")
        );
    }

    #[test]
    fn an_answer_that_was_cut_off_is_no_answer() {
        assert!(parse(b"@begin\n|1\n@hostname\n|web\n", 0, 0).is_none());
        assert!(parse(b"", 0, 0).is_none());
        assert!(parse(&[0xff; 1000], 0, 0).is_none());
    }

    #[test]
    fn the_clock_is_off_only_beyond_the_time_of_the_probe() {
        let at = |clock: i64| {
            parse(
                format!("@begin\n|1\n@clock\n|{clock}\n@end\n|1\n").as_bytes(),
                100,
                103,
            )
            .unwrap()
            .clock_offset
        };
        assert_eq!((at(99), at(100), at(103), at(110)), (-1, 0, 0, 7));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_host_prints_is_no_panic(bytes in proptest::collection::vec(0u8..=255, 0..600), section in "[a-z-]{1,16}") {
            let mut output = format!("@begin\n|1\n@{section}\n|").into_bytes();
            output.extend(bytes);
            output.extend(b"\n@end\n|1\n");
            let _ = parse(&output, 0, 0);
        }
    }
}
