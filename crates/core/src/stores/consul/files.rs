//! The files that make a host an agent of the store: what is in them, and whether they are there already.

use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::{Value, json};

use super::servers::Servers;
use super::{
    DATA, FOLDER, HTTPS_PORT, KEEP_SECRETS, RECONCILE, RECONCILE_UNIT, SERF_PORT, SERVER_PORT,
    STORE_COMMAND, UNIT, USER,
};
use crate::inventory::ProgramSource;
use crate::paths::{PUSHED_STORE, SECRETS_PATH};
use crate::plan::{Content, HostWorld, Piece, Slot, WantedFile, World};

/// The owner of what only root changes.
const ROOT: &str = "root:root";
/// Where units are.
const UNITS: &str = "/etc/systemd/system/";

/// The version from which the configuration has a `tls` section, other names for tokens and a port for gRPC over TLS.
const MODERN: semver::Version = semver::Version::new(1, 14, 0);

/// The version that a host has or will have.
fn version(world: &World<'_>, host: &HostWorld<'_>) -> semver::Version {
    match &world.inventory.store.source {
        ProgramSource::Path { version, .. } | ProgramSource::Url { version, .. } => version.clone(),
        ProgramSource::Package => {
            let candidate = host
                .facts
                .candidates
                .get("consul")
                .and_then(|text| crate::versions::parse_engine_version(text));
            // The only Debian that packages it has 1.8.
            host.facts
                .store
                .version
                .clone()
                .or(candidate)
                .unwrap_or(semver::Version::new(1, 8, 7))
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
        "data_dir": DATA,
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
        // Left out where there is a quorum to join: a server that expects nobody but itself makes one of its own.
        if let Some(expect) = servers.expects(host) {
            config["bootstrap_expect"] = json!(expect);
        }
        merge(
            &mut config,
            json!({
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
        let key = if version(world, host) >= MODERN {
            "initial_management"
        } else {
            "master"
        };
        pieces.extend([
            text(&format!("\",\n    \"{key}\": \"")),
            Piece::Slot(Slot::ManagementToken),
        ]);
    }
    pieces.push(text("\"\n  }}\n}\n"));
    Content(pieces)
}

fn render(template: &str, program: &str, network: &str, server: bool) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let values = context! { consul => program, folder => FOLDER, user => USER, store => STORE_COMMAND, port => HTTPS_PORT, network => network, server => server };
    // The templates are our own and tested: what they use is defined right here.
    environment.render_str(template, values).unwrap_or_default() + "\n"
}

/// A file that does not differ between clusters but by what its template asks for.
struct Fixed {
    /// Its folder, where `name` is not the whole path.
    folder: &'static str,
    name: &'static str,
    mode: &'static str,
    template: &'static str,
    why: &'static str,
    /// Whether Consul has to be started again for it.
    restarts: bool,
}

const FIXED: [Fixed; 4] = [
    Fixed {
        folder: "",
        name: STORE_COMMAND,
        mode: "0755",
        template: include_str!("../../../../../templates/consul/store.sh"),
        why: "put the store's command in place",
        restarts: false,
    },
    Fixed {
        folder: UNITS,
        name: UNIT,
        mode: "0644",
        template: include_str!("../../../../../templates/consul/consul.service"),
        why: "put Consul's unit in place, ordered before the engine",
        restarts: true,
    },
    Fixed {
        folder: "",
        name: RECONCILE,
        mode: "0755",
        template: include_str!("../../../../../templates/consul/reconcile.sh"),
        why: "put the script in place that mends what engines lose when the store changes its leader",
        restarts: false,
    },
    Fixed {
        folder: UNITS,
        name: RECONCILE_UNIT,
        mode: "0644",
        template: include_str!("../../../../../templates/consul/reconcile.service"),
        why: "put the unit of that script in place",
        restarts: false,
    },
];

/// All of them, for one host.
pub(crate) fn wanted_files(
    world: &World<'_>,
    host: &HostWorld<'_>,
    servers: &Servers,
) -> Vec<WantedFile> {
    let is_server = servers.hosts.contains(host.name());
    let kept = is_server.then(|| WantedFile {
        path: SECRETS_PATH.to_owned(),
        mode: "0600",
        owner: ROOT.to_owned(),
        content: Content(vec![Piece::Slot(Slot::StoreBundle)]),
        why: KEEP_SECRETS.to_owned(),
        read_by: None,
    });
    let program = program(world, host);
    let network = world.inventory.network.name.as_str();
    let fixed = FIXED.iter().map(|file| WantedFile {
        path: format!("{}{}", file.folder, file.name),
        mode: file.mode,
        owner: ROOT.to_owned(),
        content: Content::text(render(file.template, program, network, is_server)),
        why: file.why.to_owned(),
        read_by: file.restarts.then_some(UNIT),
    });
    kept.into_iter()
        .chain(configuration(world, host, servers))
        .chain(fixed)
        .collect()
}

/// What Consul reads from its folder.
fn configuration(world: &World<'_>, host: &HostWorld<'_>, servers: &Servers) -> [WantedFile; 3] {
    let file = |name: &str, mode, owner: String, content, why: String| WantedFile {
        path: format!("{FOLDER}/{name}"),
        mode,
        owner,
        content,
        why,
        read_by: Some(UNIT),
    };
    let group = || format!("root:{USER}");
    let role = match servers.hosts.contains(host.name()) {
        true => "server",
        false => "client agent",
    };
    let config = serde_json::to_string_pretty(&agent_config(world, host, servers));
    [
        file(
            "ca.pem",
            "0644",
            ROOT.to_owned(),
            Content(vec![Piece::Slot(Slot::StoreCa)]),
            "put the certificate of the store's CA in place".to_owned(),
        ),
        file(
            "agent.json",
            "0640",
            group(),
            Content::text(config.unwrap_or_default() + "\n"),
            format!("configure Consul as a {role}"),
        ),
        file(
            "secrets.json",
            "0640",
            group(),
            secrets_config(world, host, servers),
            "give Consul its gossip key and tokens".to_owned(),
        ),
    ]
}

fn program(world: &World<'_>, host: &HostWorld<'_>) -> &'static str {
    match (
        &world.inventory.store.source,
        host.facts.store.path.as_str(),
    ) {
        (ProgramSource::Package, "/usr/local/bin/consul") => "/usr/local/bin/consul",
        (ProgramSource::Package, _) => "/usr/bin/consul",
        _ => PUSHED_STORE,
    }
}
