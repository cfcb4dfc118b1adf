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

/// All of them, for one host.
pub(crate) fn wanted_files(
    world: &World<'_>,
    host: &HostWorld<'_>,
    servers: &Servers,
) -> Vec<WantedFile> {
    let program = program(world, host);
    let group = format!("root:{USER}");
    let root = "root:root".to_owned();
    let network = world.inventory.network.name.as_str();
    let file = |path: &str, mode, owner: &String, content, why: &str, restarts: bool| WantedFile {
        path: path.to_owned(),
        mode,
        owner: owner.clone(),
        content,
        why: why.to_owned(),
        read_by: restarts.then_some(UNIT),
    };
    let config = serde_json::to_string_pretty(&agent_config(world, host, servers))
        .unwrap_or_default()
        + "\n";
    let server = servers.hosts.contains(host.name());
    let role = if server { "server" } else { "client agent" };
    let mut files = Vec::new();
    if server {
        files.push(file(
            SECRETS_PATH,
            "0600",
            &root,
            Content(vec![Piece::Slot(Slot::StoreBundle)]),
            KEEP_SECRETS,
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
            Content::text(render(include_str!("../../../../../templates/consul/store.sh"), program, network, server)),
            "put the store's command in place",
            false,
        ),
        file(
            &format!("/etc/systemd/system/{UNIT}"),
            "0644",
            &root,
            Content::text(render(
                include_str!("../../../../../templates/consul/consul.service"),
                program,
                network,
                server,
            )),
            "put Consul's unit in place, ordered before the engine",
            true,
        ),
        file(
            RECONCILE,
            "0755",
            &root,
            Content::text(render(
                include_str!("../../../../../templates/consul/reconcile.sh"),
                program,
                network,
                server,
            )),
            "put the script in place that mends what engines lose when the store changes its leader",
            false,
        ),
        file(
            &format!("/etc/systemd/system/{RECONCILE_UNIT}"),
            "0644",
            &root,
            Content::text(render(
                include_str!("../../../../../templates/consul/reconcile.service"),
                program,
                network,
                server,
            )),
            "put the unit of that script in place",
            false,
        ),
    ]);
    files
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
