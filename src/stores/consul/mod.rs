//! Consul: an agent on every host, some of them servers, and the engine pointed at its own.
//!
//! The engine takes one Consul address only, so high availability is a local agent on every host (`facts.md`). Everything
//! between agents is mutual TLS under a CA of the cluster's own, gossip is encrypted, and access is denied by default: the
//! agents carry a token as their default that can only do what the engine needs, so the engine itself needs none.

mod client;

use std::collections::BTreeMap;
use std::net::IpAddr;

use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::{Value, json};
use x509_parser::extensions::GeneralName;

use super::Endpoint;
use crate::apply::SECRETS_PATH;
use crate::engines::INSTALL_TIMEOUT;
use crate::facts::Facts;
use crate::inventory::{HostName, Members, ProgramSource, quorum_size};
use crate::plan::{
    Action, ConsulCall, Content, HostWorld, Piece, Problem, PutFile, SecretsFrom, Slot, Stage, StepId, Steps, World,
};
use crate::platform::{PackageManager, Release};
use crate::record::sha256_hex;
use crate::secrets::CERTIFICATE_DAYS;

pub use client::{ConsulError, call};

/// The unit.
pub const UNIT: &str = "docker-cluster-consul.service";
/// The unit that starts containers again which lost the race with the store at boot.
pub const RECONCILE_UNIT: &str = "docker-cluster-reconcile.service";
/// The system user.
const USER: &str = "docker-cluster-store";
/// Where its configuration is.
const FOLDER: &str = "/etc/docker-cluster/consul";
/// A pushed program.
pub const PUSHED: &str = "/usr/local/lib/docker-cluster/consul";
/// `consul` with the environment that reaches the local agent.
pub const STORE_COMMAND: &str = "/usr/local/lib/docker-cluster/store";
/// Port of the agents' HTTPS API, on loopback only. Consul's own choice for HTTPS.
pub const HTTPS_PORT: u16 = 8501;
/// Port of the servers' RPC.
const SERVER_PORT: u16 = 8300;
/// Port of the agents' gossip, TCP and UDP.
const SERF_PORT: u16 = 8301;
/// The version from which the configuration has a `tls` section, other names for tokens and a port for gRPC over TLS.
const MODERN: semver::Version = semver::Version::new(1, 14, 0);

/// How long the service may take to start, in seconds: its unit's own limit (120) and a stop before it.
const START_TIMEOUT: u64 = 240;

/// How long the store may take to have a leader and answer everywhere, in seconds. An election takes a few seconds; servers
/// that were just installed on slow hosts may be a minute apart.
const READY_DEADLINE: u64 = 180;

/// What engines may do: their own keys, and the sessions that hold them. Reading nodes lets `consul members` answer.
const ENGINE_RULES: &str = r#"key_prefix "docker/" { policy = "write" }
session_prefix "" { policy = "write" }
node_prefix "" { policy = "read" }
"#;

/// What agents may do: register themselves.
const AGENT_RULES: &str = r#"node_prefix "" { policy = "write" }
service_prefix "" { policy = "read" }
"#;

/// Where the engine finds its agent.
#[must_use]
pub fn endpoint() -> Endpoint {
    let file = |name: &str| format!("{FOLDER}/{name}");
    // All three: with one missing the engine silently speaks plain text (`facts.md`).
    let options =
        [("kv.cacertfile", file("ca.pem")), ("kv.certfile", file("agent.pem")), ("kv.keyfile", file("agent-key.pem"))];
    Endpoint {
        url: format!("consul://127.0.0.1:{HTTPS_PORT}"),
        options: options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

/// The agent's configuration that a host has, as far as the plan needs it.
fn configured(facts: &Facts) -> Option<Value> {
    serde_json::from_str(facts.store.config.as_deref()?).ok()
}

/// The TCP ports on which the other agents reach this one.
#[must_use]
pub fn ports(facts: &Facts) -> Vec<(u16, &'static str)> {
    match is_server(facts) {
        Some(true) => vec![(SERF_PORT, "the gossip of the store"), (SERVER_PORT, "the store's servers")],
        Some(false) => vec![(SERF_PORT, "the gossip of the store")],
        None => Vec::new(),
    }
}

/// Whether a host is a server of the store, by its own configuration.
#[must_use]
pub fn is_server(facts: &Facts) -> Option<bool> {
    configured(facts)?.get("server")?.as_bool()
}

/// Who the servers are, and who left.
#[derive(Debug, Default)]
struct Servers {
    hosts: Vec<HostName>,
    /// Addresses of all servers, those of hosts that cannot be asked right now included.
    addresses: Vec<IpAddr>,
    /// Addresses of servers that are no longer in the inventory.
    gone: Vec<IpAddr>,
    /// How many servers the first start waits for.
    expect: usize,
    /// Whether there is a store already.
    exists: bool,
}

fn servers(world: &World<'_>) -> Servers {
    let mut known: Vec<IpAddr> = Vec::new();
    let mut expect = 0;
    for config in world.hosts.iter().filter_map(|host| configured(host.facts)) {
        for address in config.get("retry_join").and_then(Value::as_array).into_iter().flatten() {
            if let Some(ip) = address.as_str().and_then(|text| text.parse().ok())
                && !known.contains(&ip)
            {
                known.push(ip);
            }
        }
        expect = expect.max(config.get("bootstrap_expect").and_then(Value::as_u64).unwrap_or(0) as usize);
    }
    let exists = !known.is_empty();
    let reached = |ip: &IpAddr| world.hosts.iter().find(|host| host.private == *ip);
    // With a host that cannot be asked, an unknown address may be its: nobody is removed until everybody answers.
    let gone: Vec<IpAddr> = if world.unreached.is_empty() {
        known.iter().copied().filter(|ip| reached(ip).is_none()).collect()
    } else {
        Vec::new()
    };
    known.retain(|ip| !gone.contains(ip));
    let wanted = match &world.inventory.store.servers {
        Members::Named(names) => {
            let named: Vec<IpAddr> =
                world.hosts.iter().filter(|host| names.contains(host.name())).map(|host| host.private).collect();
            for ip in named {
                if !known.contains(&ip) {
                    known.push(ip);
                }
            }
            names.len()
        }
        Members::Count(count) => *count,
        Members::BySize => quorum_size(world.inventory.hosts.len()),
    };
    // A first start needs every server at once: only hosts that answer can be among them, and an even number is no better.
    let reachable = world.hosts.len();
    let wanted = if exists {
        wanted
    } else {
        wanted.min(if reachable.is_multiple_of(2) { reachable.saturating_sub(1).max(1) } else { reachable })
    };
    for host in &world.hosts {
        if known.len() < wanted && !known.contains(&host.private) {
            known.push(host.private);
        }
    }
    let hosts =
        world.hosts.iter().filter(|host| known.contains(&host.private)).map(|host| host.name().clone()).collect();
    Servers { hosts, expect: if expect > 0 { expect } else { known.len() }, addresses: known, gone, exists }
}

/// What forbids Consul here.
#[must_use]
pub fn problems(world: &World<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let bundles: BTreeMap<&str, &HostName> = world
        .hosts
        .iter()
        .filter_map(|host| Some((host.facts.files.get(SECRETS_PATH)?.sha256.as_str(), host.name())))
        .collect();
    if bundles.len() > 1 {
        let names: Vec<&str> = bundles.values().map(|host| host.as_str()).collect();
        problems.push(Problem::of_all(
            format!("{} hold different secrets of the store in {SECRETS_PATH}", names.join(" and ")),
            "they were in different clusters; keep the file on the hosts whose store is the right one and remove it on the others",
        ));
    }
    let has_store = world.hosts.iter().any(|host| host.facts.store.config.is_some());
    if bundles.is_empty()
        && (has_store
            || !world.unreached.is_empty()
                && world.hosts.iter().any(|host| host.facts.files.contains_key(&format!("{FOLDER}/ca.pem"))))
    {
        let missing: Vec<&str> = world.unreached.iter().map(|unreached| unreached.host.as_str()).collect();
        problems.push(Problem::of_all(
            "there is a store, but no host that answers holds its secrets",
            if missing.is_empty() {
                "bring back a server of the store".to_owned()
            } else {
                format!("bring back {}", missing.join(", "))
            },
        ));
    }
    for host in &world.hosts {
        if host.facts.store.config.is_some() {
            continue;
        }
        let servers_here = servers(world).hosts.contains(host.name());
        let mut ports = vec![(SERF_PORT, "Consul's gossip"), (HTTPS_PORT, "Consul's API")];
        if servers_here {
            ports.push((SERVER_PORT, "Consul's servers"));
        }
        for (port, what) in ports {
            if host.facts.tcp.iter().any(|(_, taken)| *taken == port) {
                problems.push(Problem::on(
                    host.name(),
                    format!("TCP port {port} is taken, and {what} needs it"),
                    format!("find the program with `ss -ltnp 'sport = :{port}'` there, and stop it; another Consul can be used with `store.url` instead"),
                ));
            }
        }
        let packaged = Release::of(host.facts).is_some_and(|release| release.consul)
            || host.facts.candidates.contains_key("consul");
        if world.inventory.store.source == ProgramSource::Package
            && host.facts.store.path.is_empty()
            && !(packaged && PackageManager::of(host.facts).is_some())
        {
            problems.push(Problem::on(
                host.name(),
                format!("{} has no package of Consul", host.facts.os_pretty),
                "say `store.source` with a `path` or `url` of the program, its `sha256` and `version`",
            ));
        }
    }
    problems
}

/// The version that a host has or will have.
fn version(world: &World<'_>, host: &HostWorld<'_>) -> semver::Version {
    match &world.inventory.store.source {
        ProgramSource::Path { version, .. } | ProgramSource::Url { version, .. } => version.clone(),
        ProgramSource::Package => {
            let candidate =
                host.facts.candidates.get("consul").and_then(|text| crate::facts::parse_engine_version(text));
            // The only Debian that packages it has 1.8.
            host.facts.store.version.clone().or(candidate).unwrap_or(semver::Version::new(1, 8, 7))
        }
    }
}

fn agent_config(world: &World<'_>, host: &HostWorld<'_>, servers: &Servers) -> Value {
    let server = servers.hosts.contains(host.name());
    let modern = version(world, host) >= MODERN;
    let mut config = json!({
        "datacenter": "dc1",
        "node_name": host.name().as_str(),
        "server": server,
        "data_dir": "/var/lib/docker-cluster-consul",
        "bind_addr": host.private.to_string(),
        "advertise_addr": host.private.to_string(),
        "client_addr": "127.0.0.1",
        "retry_join": servers.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "retry_interval": "2s",
        "ports": {"http": -1, "https": HTTPS_PORT, "dns": -1, "grpc": -1, "serf_wan": -1, "server": SERVER_PORT, "serf_lan": SERF_PORT},
        "acl": {"enabled": true, "default_policy": "deny", "down_policy": "extend-cache"},
        // A stopped host is not a host that left: its place is kept.
        "leave_on_terminate": false,
        "skip_leave_on_interrupt": true,
        "rejoin_after_leave": true,
        "disable_update_check": true,
        "disable_remote_exec": true,
        "enable_script_checks": false,
        "log_level": "INFO",
    });
    let tls = json!({
        "ca_file": format!("{FOLDER}/ca.pem"),
        "cert_file": format!("{FOLDER}/agent.pem"),
        "key_file": format!("{FOLDER}/agent-key.pem"),
        "verify_incoming": true,
        "verify_outgoing": true,
    });
    if modern {
        config["tls"] = json!({"defaults": tls, "internal_rpc": {"verify_server_hostname": true}});
        config["ports"]["grpc_tls"] = json!(-1);
        config["peering"] = json!({"enabled": false});
    } else {
        merge(&mut config, tls);
        config["verify_server_hostname"] = json!(true);
    }
    if server {
        merge(
            &mut config,
            json!({
                "bootstrap_expect": servers.expect,
                // The default of 5 is for machines that hardly manage; elections then take 5 s instead of 1.
                "performance": {"raft_multiplier": 1},
                // Who leaves the quorum is decided by `up`, not by a timer.
                "autopilot": {"cleanup_dead_servers": false},
                "connect": {"enabled": false},
            }),
        );
    }
    config
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn secrets_config(world: &World<'_>, host: &HostWorld<'_>, servers: &Servers) -> Content {
    let text = |text: &str| Piece::Text(text.to_owned());
    let mut pieces = vec![
        text("{\n  \"encrypt\": \""),
        Piece::Slot(Slot::Gossip),
        text("\",\n  \"acl\": {\"tokens\": {\n    \"agent\": \""),
        Piece::Slot(Slot::AgentToken),
        text("\",\n    \"default\": \""),
        Piece::Slot(Slot::EngineToken),
    ];
    if servers.hosts.contains(host.name()) {
        let key = if version(world, host) >= MODERN { "initial_management" } else { "master" };
        pieces.extend([text(&format!("\",\n    \"{key}\": \"")), Piece::Slot(Slot::ManagementToken)]);
    }
    pieces.push(text("\"\n  }}\n}\n"));
    Content(pieces)
}

fn render(template: &str, program: &str, network: &str) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let values = context! { consul => program, folder => FOLDER, user => USER, store => STORE_COMMAND, port => HTTPS_PORT, network => network };
    // The templates are our own and tested: what they use is defined right here.
    environment.render_str(template, values).unwrap_or_default() + "\n"
}

/// A file of the plan: whether it is needed, and its step.
struct Wanted {
    path: String,
    mode: &'static str,
    owner: String,
    content: Content,
    why: String,
    /// Whether the store's service must be restarted to see it.
    restarts: bool,
}

impl Wanted {
    /// `bundle` is the checksum of the store's present secrets.
    fn is_there(&self, facts: &Facts, bundle: Option<&str>) -> bool {
        let Some(file) = facts.files.get(&self.path) else {
            return false;
        };
        if file.mode != self.mode.trim_start_matches('0') || file.owner != self.owner {
            return false;
        }
        match self.content.plain() {
            Some(text) => file.sha256 == sha256_hex(text.as_bytes()),
            // What filled the slots is only known by its checksum: of the file, and of the secrets at that time.
            None => facts.record(&self.path).is_some_and(|record| {
                record.source == self.content.fingerprint()
                    && record.sha256 == file.sha256
                    && Some(record.secrets.as_str()) == bundle
            }),
        }
    }
}

/// Checksum of the store's secrets that a server holds.
fn facts_bundle(facts: &Facts) -> Option<&str> {
    facts.files.get(SECRETS_PATH).map(|file| file.sha256.as_str())
}

fn wanted_files(world: &World<'_>, host: &HostWorld<'_>, servers: &Servers) -> Vec<Wanted> {
    let program = program(world, host);
    let group = format!("root:{USER}");
    let root = "root:root".to_owned();
    let network = world.inventory.network.name.as_str();
    let file = |path: &str, mode, owner: &String, content, why: &str, restarts| Wanted {
        path: path.to_owned(),
        mode,
        owner: owner.clone(),
        content,
        why: why.to_owned(),
        restarts,
    };
    let config = serde_json::to_string_pretty(&agent_config(world, host, servers)).unwrap_or_default() + "\n";
    let role = if servers.hosts.contains(host.name()) { "server" } else { "client agent" };
    let mut files = Vec::new();
    if servers.hosts.contains(host.name()) {
        files.push(file(
            SECRETS_PATH,
            "0600",
            &root,
            Content(vec![Piece::Slot(Slot::StoreBundle)]),
            "keep the store's secrets where root alone reads them",
            false,
        ));
    }
    files.extend([
        file(
            &format!("{FOLDER}/ca.pem"),
            "0644",
            &root,
            Content(vec![Piece::Slot(Slot::StoreCa)]),
            "put the certificate of the store's CA in place",
            true,
        ),
        file(
            &format!("{FOLDER}/agent.json"),
            "0640",
            &group,
            Content::text(config),
            &format!("configure Consul as a {role}"),
            true,
        ),
        file(
            &format!("{FOLDER}/secrets.json"),
            "0640",
            &group,
            secrets_config(world, host, servers),
            "give Consul its gossip key and tokens",
            true,
        ),
        file(
            STORE_COMMAND,
            "0755",
            &root,
            Content::text(render(include_str!("../../../templates/consul/store.sh"), program, network)),
            "put the store's command in place",
            false,
        ),
        file(
            &format!("/etc/systemd/system/{UNIT}"),
            "0644",
            &root,
            Content::text(render(include_str!("../../../templates/consul/consul.service"), program, network)),
            "put Consul's unit in place, ordered before the engine",
            true,
        ),
        file(
            "/usr/local/lib/docker-cluster/reconcile",
            "0755",
            &root,
            Content::text(render(include_str!("../../../templates/consul/reconcile.sh"), program, network)),
            "put the script in place that starts containers which lost the race with the store",
            false,
        ),
        file(
            &format!("/etc/systemd/system/{RECONCILE_UNIT}"),
            "0644",
            &root,
            Content::text(render(include_str!("../../../templates/consul/reconcile.service"), program, network)),
            "put the unit of that script in place",
            false,
        ),
    ]);
    files
}

fn program(world: &World<'_>, host: &HostWorld<'_>) -> &'static str {
    match (&world.inventory.store.source, host.facts.store.path.as_str()) {
        (ProgramSource::Package, "/usr/local/bin/consul") => "/usr/local/bin/consul",
        (ProgramSource::Package, _) => "/usr/bin/consul",
        _ => PUSHED,
    }
}

/// Whether the agent's certificate must be issued: there is none, it is of another CA or for other names, or less than a
/// third of its life is left. The host's own clock decides, so that the plan needs none.
fn certificate_is_due(host: &HostWorld<'_>, dns_names: &[String], addresses: &[IpAddr]) -> Option<String> {
    let parse = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok().map(|(_, pem)| pem);
    let (Some(cert), Some(ca)) = (parse(&host.facts.store.agent_cert), parse(&host.facts.store.ca_cert)) else {
        return Some("issue a certificate for its agent".to_owned());
    };
    let (Ok(cert), Ok(ca)) = (cert.parse_x509(), ca.parse_x509()) else {
        return Some("issue a readable certificate for its agent".to_owned());
    };
    if cert.verify_signature(Some(ca.public_key())).is_err() {
        return Some("issue a certificate of the present CA for its agent".to_owned());
    }
    let alternative = cert.subject_alternative_name().ok().flatten();
    let names = || alternative.iter().flat_map(|names| &names.value.general_names);
    let all = dns_names
        .iter()
        .all(|wanted| names().any(|name| matches!(name, GeneralName::DNSName(found) if found == wanted)));
    let octets = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ips = addresses
        .iter()
        .all(|ip| names().any(|name| matches!(name, GeneralName::IPAddress(found) if *found == octets(ip))));
    if !all || !ips {
        return Some("issue a certificate with the present names for its agent".to_owned());
    }
    let left = cert.validity().not_after.timestamp() - host.facts.clock;
    let third = CERTIFICATE_DAYS * 24 * 3600 / 3;
    (left < third).then(|| format!("renew the certificate of its agent, which expires in {} days", left / 86_400))
}

/// The steps that make the store run everywhere.
pub fn steps(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let servers = servers(world);
    let holder = world.hosts.iter().find(|host| facts_bundle(host.facts).is_some());
    let bundle = holder.and_then(|host| facts_bundle(host.facts));
    let leader = holder.map(HostWorld::name).or(servers.hosts.first());
    let Some(leader) = leader.cloned() else { return };
    if !servers.exists {
        let names: Vec<&str> = servers.hosts.iter().map(HostName::as_str).collect();
        notes.push(match names.len() {
            1 => format!("the store runs on one server, {}: it tolerates no loss", names[0]),
            n => format!("the store runs on {n} servers ({}): it tolerates the loss of {}", names.join(", "), n / 2),
        });
    }
    // What needs secrets decides whether they are made or fetched at all.
    let needs_secrets = |host: &HostWorld<'_>| {
        let (dns, ips) = subject(host, &servers);
        wanted_files(world, host, &servers)
            .iter()
            .any(|file| file.content.plain().is_none() && !file.is_there(host.facts, bundle))
            || certificate_is_due(host, &dns, &ips).is_some()
    };
    let access_is_new = !servers.exists || !world.hosts.iter().any(|host| host.facts.store.ready);
    let secrets = (world.hosts.iter().any(needs_secrets) || access_is_new || !servers.gone.is_empty()).then(|| {
        let (from, why) = match holder {
            Some(_) => (SecretsFrom::Fetch, "read the store's CA, gossip key and tokens, which it keeps"),
            None => (SecretsFrom::Mint, "make the store's CA, gossip key and tokens"),
        };
        steps.add(&leader, Stage::Store, why, Action::Secrets(from))
    });

    let mut started = Vec::new();
    let mut previous: Option<StepId> = None;
    let mut changed = Vec::new();
    for host in &world.hosts {
        let name = host.name();
        let mut restart = install(world, host, steps);
        let (dns_names, addresses) = subject(host, &servers);
        let mut reload_units = false;
        for file in wanted_files(world, host, &servers) {
            if file.is_there(host.facts, bundle) {
                continue;
            }
            restart |= file.restarts;
            reload_units |= file.path.starts_with("/etc/systemd/");
            let after = if file.content.plain().is_none() { secrets.into_iter().collect() } else { Vec::new() };
            let put =
                PutFile { path: file.path, mode: file.mode, owner: file.owner, content: file.content, before: None };
            steps.add_after(name, Stage::Store, file.why, Action::PutFile(put), after);
        }
        if let Some(why) = certificate_is_due(host, &dns_names, &addresses) {
            restart = true;
            let action = Action::IssueCertificate {
                common_name: name.to_string(),
                dns_names,
                addresses,
                cert_path: format!("{FOLDER}/agent.pem"),
                key_path: format!("{FOLDER}/agent-key.pem"),
                owner: format!("root:{USER}"),
            };
            steps.add_after(name, Stage::Store, why, action, secrets.into_iter().collect());
        }
        if reload_units {
            run(steps, name, "let systemd read the units", &["systemctl", "daemon-reload"], 60, Vec::new());
        }
        let unit = host.facts.unit(UNIT);
        let active = unit.is_some_and(|unit| unit.active == "active");
        if unit.is_none_or(|unit| unit.file_state != "enabled") {
            run(
                steps,
                name,
                "start Consul and its helper at every boot",
                &["systemctl", "enable", UNIT, RECONCILE_UNIT],
                60,
                Vec::new(),
            );
        }
        if restart || !active {
            let (why, after) = match active {
                // One at a time: a quorum that exists is kept.
                true => ("restart Consul with its new configuration", previous.into_iter().collect()),
                false => ("start Consul", Vec::new()),
            };
            let action = Action::Service { verb: "restart", unit: UNIT, timeout: START_TIMEOUT };
            let id = steps.add_after(name, Stage::Store, why, action, after);
            if active {
                previous = Some(id);
            }
            started.push(id);
            changed.push(name.clone());
        }
    }
    let access = access_is_new.then(|| {
        let call =
            ConsulCall::EnsureAccess { engine_rules: ENGINE_RULES.to_owned(), agent_rules: AGENT_RULES.to_owned() };
        let id = steps.add(
            &leader,
            Stage::Store,
            "register the tokens of engines and agents, and what they may do",
            Action::Consul(call),
        );
        steps.follow(id, &started);
        id
    });
    if !servers.gone.is_empty() {
        let addresses: Vec<String> = servers.gone.iter().map(|ip| format!("{ip}:{SERVER_PORT}")).collect();
        let why = format!("take {} out of the store's quorum, which left the inventory", addresses.join(", "));
        let id = steps.add(&leader, Stage::Store, why, Action::Consul(ConsulCall::RemovePeers { addresses }));
        steps.follow(id, &started);
    }
    for host in &world.hosts {
        if changed.contains(host.name()) || !host.facts.store.ready {
            let action = Action::WaitFor {
                what: "the store answers with a leader behind it".to_owned(),
                argv: [STORE_COMMAND, "kv", "get", "-keys", "docker/"].map(str::to_owned).to_vec(),
                expect: Vec::new(),
                peers: Vec::new(),
                deadline: READY_DEADLINE,
            };
            steps.add_after(
                host.name(),
                Stage::Store,
                "wait until the store answers",
                action,
                access.into_iter().collect(),
            );
        }
    }
}

/// Names and addresses of an agent's certificate. Servers prove by `server.dc1.consul` that they are some
/// (`verify_server_hostname`).
fn subject(host: &HostWorld<'_>, servers: &Servers) -> (Vec<String>, Vec<IpAddr>) {
    let mut names = vec!["localhost".to_owned()];
    if servers.hosts.contains(host.name()) {
        names.push("server.dc1.consul".to_owned());
    }
    (names, vec![IpAddr::from([127, 0, 0, 1]), host.private])
}

/// Gets the program and the user onto a host. Returns whether the program changed.
fn install(world: &World<'_>, host: &HostWorld<'_>, steps: &mut Steps) -> bool {
    let name = host.name();
    let mut changed = false;
    match &world.inventory.store.source {
        ProgramSource::Package if host.facts.store.path.is_empty() => {
            if let Some(manager) = PackageManager::of(host.facts) {
                let action = Action::Script {
                    name: manager.name,
                    text: manager.install,
                    args: vec!["consul".to_owned()],
                    timeout: INSTALL_TIMEOUT,
                };
                steps.add(
                    name,
                    Stage::Store,
                    format!("install Consul from the packages of {}", host.facts.os_pretty),
                    action,
                );
                changed = true;
            }
        }
        ProgramSource::Package => {}
        ProgramSource::Path { sha256, .. } | ProgramSource::Url { sha256, .. } => {
            let source = match &world.inventory.store.source {
                ProgramSource::Path { path, .. } => path.display().to_string(),
                ProgramSource::Url { url, .. } => url.clone(),
                ProgramSource::Package => String::new(),
            };
            // The record holds the checksum of what was fetched; what was unpacked from it has another.
            let record = host.facts.record(PUSHED);
            let is_there =
                record.is_some_and(|record| record.source == *sha256 && record.sha256 == host.facts.store.sha256);
            if !is_there {
                let action =
                    Action::PushProgram { source: source.clone(), sha256: sha256.clone(), path: PUSHED.to_owned() };
                steps.add(name, Stage::Store, format!("push Consul from {source}"), action);
                changed = true;
            }
        }
    }
    if !host.facts.store_user {
        run(
            steps,
            name,
            "make a system user for Consul",
            &[
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
                USER,
            ],
            60,
            Vec::new(),
        );
    }
    changed
}

fn run(steps: &mut Steps, host: &HostName, why: &str, argv: &[&str], timeout: u64, after: Vec<StepId>) -> StepId {
    let action = Action::Run { argv: argv.iter().map(ToString::to_string).collect(), timeout };
    steps.add_after(host, Stage::Store, why, action, after)
}
