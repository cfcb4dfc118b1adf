//! `ls`: the hosts and their state.

use clap::Args;
use serde_json::{Value, json};

use super::active::active;
use super::cert::{SOON_DAYS, say_ending};
use super::endpoint;
use super::{Asked, ask, load, select};
use crate::engines::{self, api};
use crate::error::{Error, Exit};
use crate::facts::Facts;
use crate::global::{Global, Output};
use crate::inventory::{Filter, HostName, HostSpec, Inventory};
use crate::stores;
use crate::ui::{Progress, Template, Tone, Ui, list_width, table};
use crate::x509;

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only the names; asks no host, unless a filter wants to know its state
    #[arg(short, long, conflicts_with = "format")]
    pub quiet: bool,
    /// Only those that fit: name=GLOB, tag=GLOB, label=KEY or label=KEY=VALUE, state=up. Of one key any, of several keys each
    #[arg(long, value_name = "KEY=VALUE", value_parser = Wish::parse)]
    pub filter: Vec<Wish>,
    /// A template in the manner of Go, such as `table {{.Name}}\t{{.State}}\t{{.URL}}`
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

/// What a filter wants of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A name, or a glob of names.
    Name(String),
    /// A tag, or a glob of tags.
    Tag(String),
    /// A label, with this value if one is named.
    Label(String, Option<String>),
    /// A state, as `ls` writes it.
    State(String),
}

impl Wish {
    fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        let value = value.to_owned();
        Ok(match key {
            "name" => Self::Name(value),
            "tag" => Self::Tag(value),
            "label" => match value.split_once('=') {
                Some((label, value)) => Self::Label(label.to_owned(), Some(value.to_owned())),
                None => Self::Label(value, None),
            },
            "state" => Self::State(value),
            other => {
                return Err(format!(
                    "`{other}` is no key; there are name, tag, label and state"
                ));
            }
        })
    }

    fn is_met(&self, inventory: &Inventory, host: &HostSpec, state: Option<&str>) -> bool {
        // Names and tags are selected as `--on` does it.
        let selects = |text: &str| {
            let filter = Filter::parse(text);
            let selected = filter
                .as_ref()
                .ok()
                .and_then(|filter| filter.select(inventory).ok());
            selected.is_some_and(|hosts| hosts.iter().any(|other| other.name == host.name))
        };
        match self {
            Self::Name(glob) => selects(glob),
            Self::Tag(glob) => selects(&format!("@{glob}")),
            Self::Label(key, value) => host
                .labels
                .get(key)
                .is_some_and(|own| value.as_ref().is_none_or(|value| value == own)),
            // What is not known yet does not exclude it.
            Self::State(wanted) => state.is_none_or(|state| state.eq_ignore_ascii_case(wanted)),
        }
    }
}

impl Ls {
    /// Whether nothing is asked of any host.
    #[must_use]
    pub fn asks_nobody(&self) -> bool {
        self.quiet
            && !self
                .filter
                .iter()
                .any(|wish| matches!(wish, Wish::State(_)))
    }

    /// Whether a host is as the filters want it: of each key one.
    fn wants(&self, inventory: &Inventory, host: &HostSpec, state: Option<&str>) -> bool {
        self.filter.iter().all(|wish| {
            let same = self
                .filter
                .iter()
                .filter(|other| std::mem::discriminant(*other) == std::mem::discriminant(wish));
            same.into_iter()
                .any(|wish| wish.is_met(inventory, host, state))
        })
    }
}

/// Runs it.
pub async fn run(args: &Ls, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let wrong = |error| Error::usage(format!("--format: {error}"));
    let template = args
        .format
        .as_deref()
        .map(Template::parse)
        .transpose()
        .map_err(wrong)?;
    let mut selected = select(&inventory, global)?;
    selected.retain(|host| args.wants(&inventory, host, None));
    let names = |names: &mut dyn Iterator<Item = &HostName>| {
        names.map(|name| format!("{name}\n")).collect::<String>()
    };
    if args.asks_nobody() {
        ui.print(&names(&mut selected.iter().map(|host| &host.name)));
        return Ok(Exit::Done);
    }
    let progress = Progress::start(ui);
    let asked = ask(&selected, progress.events()).await;
    progress.finish().await;
    let asked = asked?;
    let mut hosts: Vec<(&HostSpec, Value)> = selected
        .iter()
        .map(|host| (*host, described(&inventory, host, &asked)))
        .collect();
    hosts.retain(|(host, about)| args.wants(&inventory, host, about["state"].as_str()));
    match (template, global.output) {
        (Some(template), _) => {
            let active = active(&inventory)?.map(|host| &host.name);
            let fields: Vec<Value> = hosts
                .iter()
                .map(|(host, about)| fields(host, about, active == Some(&host.name)))
                .collect();
            ui.print(
                &template
                    .rows(&fields, ui.out, list_width())
                    .map_err(wrong)?,
            );
        }
        (None, _) if args.quiet => ui.print(&names(&mut hosts.iter().map(|(host, _)| &host.name))),
        (None, Output::Json) => {
            let hosts: Vec<&Value> = hosts.iter().map(|(_, about)| about).collect();
            ui.json(&json!({"cluster": inventory.cluster, "hosts": hosts}));
        }
        (None, Output::Text) => {
            let columns = [
                "name",
                "address",
                "state",
                "engine",
                "kernel",
                "store",
                "certificate",
                "network",
            ];
            let row = |about: &Value| columns.iter().map(|column| cell(about, column)).collect();
            ui.print(&table(
                &columns
                    .map(str::to_uppercase)
                    .each_ref()
                    .map(String::as_str),
                hosts.iter().map(|(_, about)| row(about)).collect(),
                ui.out,
                list_width(),
            ));
            let soon = ending(&hosts, &asked);
            if !soon.is_empty() {
                ui.note(&format!(
                    "Certificates of {} end within {SOON_DAYS} days, or have ended: `docker-cluster up` renews them.",
                    soon.join(", ")
                ));
            }
            say_ending(&inventory, global, ui);
        }
    }
    Ok(if asked.unreached.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn described(inventory: &Inventory, host: &HostSpec, asked: &Asked) -> Value {
    if let Some((_, facts)) = asked.facts.iter().find(|(name, _)| *name == host.name) {
        return describe(inventory, host, facts);
    }
    let unreached = asked
        .unreached
        .iter()
        .find(|unreached| unreached.host == host.name);
    let error = unreached.map(|unreached| unreached.error.clone());
    json!({"name": host.name, "address": host.ssh.address, "state": "unreachable", "error": error})
}

/// What a template sees: the names that scripts know from Docker Machine, and those of the columns.
fn fields(host: &HostSpec, about: &Value, is_active: bool) -> Value {
    let text = |key: &str| {
        about
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    json!({
        "Name": host.name,
        "Active": if is_active { "*" } else { "-" },
        "DriverName": "generic",
        "State": text("state"),
        "URL": endpoint::url(host),
        "Swarm": text("store").strip_prefix("swarm ").unwrap_or_default(),
        "DockerVersion": text("engine"),
        "Error": text("error"),
        "Address": host.ssh.address,
        "Kernel": text("kernel"),
        "Store": text("store"),
        "Certificate": text("certificate"),
        "Network": text("network"),
        "Labels": host.labels,
        "Tags": host.tags,
    })
}

fn cell(host: &Value, column: &str) -> (String, Tone) {
    let text = host
        .get(column)
        .and_then(Value::as_str)
        .unwrap_or("-")
        .to_owned();
    let tone = match (column, text.as_str()) {
        ("state", UP) => Tone::Good,
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
    at.format(&time::format_description::well_known::Rfc3339)
        .ok()
}

/// A host of which the engine answers.
pub const UP: &str = "up";

/// The state of a host, in a word or some.
pub fn state(facts: &Facts) -> &'static str {
    match facts.engine.as_ref() {
        None => "no engine",
        Some(engine) if engine.is_up() => UP,
        Some(engine) if engine.incomplete => "engine tells half",
        Some(_) if engines::is_running(facts) => "engine hangs",
        Some(_) if facts.is_active(engines::SOCKET_UNIT) => "stopped, started by its socket",
        Some(_) => "engine stopped",
    }
}

/// When the first certificate of a host ends: of its agent in the store, of its node in a swarm, of its engine and of a manager that listen.
fn ends(facts: &Facts, is_member: bool) -> Option<i64> {
    let of_agent = stores::part(facts).map(|_| facts.store.agent_cert.as_str());
    let listens = facts.record(api::DROP_IN).is_some();
    let of_engine = listens.then_some([&facts.api.cert, &facts.api.manager]);
    let of_engine = of_engine.into_iter().flatten().map(String::as_str);
    let texts = of_agent.into_iter().chain(of_engine);
    let of_node = facts.swarm_certificate_ends.filter(|_| is_member);
    texts.filter_map(x509::expiry).chain(of_node).min()
}

/// The hosts with a certificate that ends soon, or has ended.
fn ending<'a>(hosts: &'a [(&HostSpec, Value)], asked: &Asked) -> Vec<&'a str> {
    let left = |host: &HostSpec| {
        let (_, facts) = asked.facts.iter().find(|(name, _)| *name == host.name)?;
        let engine = facts.engine.as_ref();
        let is_member = engine.is_some_and(|engine| engine.swarm().is_member());
        Some(ends(facts, is_member)? - facts.clock)
    };
    let hosts = hosts.iter().map(|(host, _)| *host);
    let soon = hosts.filter(|host| left(host).is_some_and(|left| left < SOON_DAYS * DAY));
    soon.map(|host| host.name.as_str()).collect()
}

fn describe(inventory: &Inventory, host: &HostSpec, facts: &Facts) -> Value {
    let engine = facts.engine.as_ref();
    let swarm = engine.map(crate::facts::Engine::swarm).unwrap_or_default();
    let store = stores::part(facts).or_else(|| match (swarm.is_manager, swarm.is_member()) {
        (true, _) => Some("swarm manager"),
        (false, true) => Some("swarm worker"),
        (false, false) => None,
    });
    let name = inventory.network.of_containers();
    let network = match engine.and_then(|engine| engine.network(name)) {
        Some(network) => Some(format!("{name} ({})", network.driver)),
        // A worker knows the network only while a container of its own is on it.
        None if swarm.is_member() && !swarm.is_manager => Some(format!("{name} (on demand)")),
        None => None,
    };
    let expires = ends(facts, swarm.is_member());
    let certificate = expires.map(|at| match at - facts.clock {
        left if left < 0 => format!("expired {} days ago", -left / DAY),
        left => format!("{} days left", left / DAY),
    });
    let mesh = facts.mesh.as_ref().and_then(crate::plan::mesh::own);
    let network = network.map(|network| match mesh {
        Some(_) => format!("{network} over wireguard"),
        None => network,
    });
    json!({
        "name": host.name,
        "address": host.ssh.address,
        "mesh": mesh,
        "certificate": certificate,
        "certificate_expires": expires.and_then(rfc3339),
        "state": state(facts),
        "engine": engine.map(|engine| engine.version_text.clone()),
        "kernel": facts.kernel_text,
        "store": store,
        "network": network,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_one_key_are_alternatives_and_those_of_several_add_up() {
        let text = "hosts:\n  - {name: web-1, address: a, tags: [front], labels: {disk: ssd}}\n  \
            - {name: web-2, address: b, tags: [front]}\n  - {name: db, address: c, labels: {disk: hdd}}\n";
        let inventory = Inventory::parse(text, "x.yaml").unwrap();
        let names = |filters: &[&str], state: Option<&str>| {
            let filter = filters
                .iter()
                .map(|text| Wish::parse(text).unwrap())
                .collect();
            let args = Ls {
                quiet: true,
                filter,
                format: None,
            };
            let hosts = inventory
                .hosts
                .iter()
                .filter(|host| args.wants(&inventory, host, state));
            hosts
                .map(|host| host.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(&[], None), "web-1 web-2 db");
        assert_eq!(names(&["name=web-*"], None), "web-1 web-2");
        assert_eq!(names(&["name=web-2", "name=db"], None), "web-2 db");
        assert_eq!(names(&["tag=front", "label=disk"], None), "web-1");
        assert_eq!(names(&["label=disk=hdd"], None), "db");
        assert_eq!(
            names(&["name=nobody"], None),
            "",
            "a filter may find nothing"
        );
        assert_eq!(
            names(&["state=up"], None),
            "web-1 web-2 db",
            "not known yet"
        );
        assert_eq!(names(&["state=up"], Some("engine stopped")), "");
        for (text, why) in [
            ("name", "KEY=VALUE"),
            ("driver=x", "`driver` is no key; there are name"),
        ] {
            assert!(Wish::parse(text).unwrap_err().contains(why), "{text}");
        }
    }
}
