//! `ls`: the hosts and their state.

use serde_json::{Value, json};

use super::{ask, load, select};
use crate::engines;
use crate::error::{Error, Exit};
use crate::facts::Facts;
use crate::global::{Global, Output};
use crate::inventory::{HostSpec, Inventory};
use crate::stores;
use crate::ui::{Progress, Tone, Ui, list_width, table};

/// Runs it.
pub async fn run(global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let selected = select(&inventory, global)?;
    let progress = Progress::start(ui);
    let asked = ask(&selected, progress.events()).await;
    progress.finish().await;
    let asked = asked?;
    let hosts: Vec<Value> = selected
        .iter()
        .map(|host| match asked.facts.iter().find(|(name, _)| *name == host.name) {
            Some((_, facts)) => describe(&inventory, host, facts),
            None => {
                let error = asked
                    .unreached
                    .iter()
                    .find(|unreached| unreached.host == host.name)
                    .map(|unreached| unreached.error.clone());
                json!({"name": host.name, "address": host.ssh.address, "state": "unreachable", "error": error})
            }
        })
        .collect();
    match global.output {
        Output::Json => ui.json(&json!({"cluster": inventory.cluster, "hosts": hosts})),
        Output::Text => {
            let columns = ["name", "address", "state", "engine", "kernel", "store", "certificate", "network"];
            let rows = hosts.iter().map(|host| columns.iter().map(|column| cell(host, column)).collect()).collect();
            ui.print(&table(
                &columns.map(str::to_uppercase).each_ref().map(String::as_str),
                rows,
                ui.out,
                list_width(),
            ));
        }
    }
    Ok(if asked.unreached.is_empty() { Exit::Done } else { Exit::Failed })
}

fn cell(host: &Value, column: &str) -> (String, Tone) {
    let text = host.get(column).and_then(Value::as_str).unwrap_or("-").to_owned();
    let tone = match (column, text.as_str()) {
        ("state", "up") => Tone::Good,
        ("state", _) => Tone::Bad,
        ("certificate", text) if text.starts_with("expired") => Tone::Bad,
        (_, "-") => Tone::Dim,
        _ => Tone::Plain,
    };
    (text, tone)
}

/// Seconds of a day.
const DAY: i64 = 86_400;

fn rfc3339(at: i64) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(at).ok()?;
    at.format(&time::format_description::well_known::Rfc3339).ok()
}

fn describe(inventory: &Inventory, host: &HostSpec, facts: &Facts) -> Value {
    let engine = facts.engine.as_ref();
    let state = match engine {
        None => "no engine",
        Some(engine) if engine.is_up() => "up",
        Some(engine) if engine.incomplete => "engine tells half",
        Some(_) if engines::is_running(facts) => "engine hangs",
        Some(_) if facts.is_active(engines::SOCKET_UNIT) => "stopped, started by its socket",
        Some(_) => "engine stopped",
    };
    let swarm = engine.map(crate::facts::Engine::swarm).unwrap_or_default();
    let store = stores::part(facts).or_else(|| match (swarm.is_manager, swarm.is_member()) {
        (true, _) => Some("swarm manager"),
        (false, true) => Some("swarm worker"),
        (false, false) => None,
    });
    let name = inventory.network.name.as_str();
    let network = match engine.and_then(|engine| engine.network(name)) {
        Some(network) => Some(format!("{name} ({})", network.driver)),
        // A worker knows the network only while a container of its own is on it.
        None if swarm.is_member() && !swarm.is_manager => Some(format!("{name} (on demand)")),
        None => None,
    };
    // Of the agent in the store, or of the node in its swarm.
    let expires = crate::x509::expiry(&facts.store.agent_cert).filter(|_| stores::part(facts).is_some());
    let expires = expires.or(facts.swarm_certificate_ends.filter(|_| swarm.is_member()));
    let certificate = expires.map(|at| match at - facts.clock {
        left if left < 0 => format!("expired {} days ago", -left / DAY),
        left => format!("{} days left", left / DAY),
    });
    json!({
        "name": host.name,
        "address": host.ssh.address,
        "certificate": certificate,
        "certificate_expires": expires.and_then(rfc3339),
        "state": state,
        "engine": engine.map(|engine| engine.version_text.clone()),
        "kernel": facts.kernel_text,
        "store": store,
        "network": network,
    })
}
