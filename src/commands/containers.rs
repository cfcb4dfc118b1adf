//! Containers on all hosts, for `ps`, `exec` and `logs`: one question a host, in one round trip. The engine is asked itself where it can be
//! ([`crate::engine_ask`]), and else Docker's client, which also has the words for what is wrong.

use std::collections::BTreeMap;

use serde_json::Value;

use super::listed::{Listed, Times};
use super::{answer, give_up, select};
use crate::engine_ask::{self, Question, in_query};
use crate::error::{Error, Exit};
use crate::event::{Event, Events};
use crate::global::Global;
use crate::host::{COMMAND_TIMEOUT, Command, Connector, HostError, Output, Rights};
use crate::inventory::{HostName, HostSpec, Inventory};
use crate::plan::Unreached;
use crate::probe::FactsError;
use crate::ui::{Progress, Ui};

/// What Docker's client is to say of a container: all that it knows, a line each.
const FORMAT: &str = "{{json .}}";

/// A container, and where it is.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its host.
    pub host: HostName,
    /// What Docker's client says of it: texts, by Docker's own names.
    pub fields: BTreeMap<String, String>,
}

impl Container {
    /// One of Docker's fields; empty if this release has none of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Its names: a container that others are linked with has one for each link as well, `other/alias`.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.field("Names")
            .split(',')
            .filter(|name| !name.contains('/'))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names().next().unwrap_or_default()
    }
}

/// What was found, and who did not say.
#[derive(Debug, Default)]
pub struct Found {
    /// The containers, by host in the inventory's order.
    pub containers: Vec<Container>,
    /// Hosts that did not answer: what they have is not known.
    pub silent: Vec<Unreached>,
}

/// Which containers are listed, and what of them.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Stopped ones as well.
    pub all: bool,
    /// Only those that fit, as `docker ps` takes it.
    pub filter: Vec<String>,
    /// Their sizes as well, which the engine finds by a look at all of their files.
    pub size: bool,
}

impl Wanted {
    /// For Docker's client.
    fn command(&self) -> Command {
        let argv = ["docker", "ps", "--no-trunc", "--format", FORMAT].map(str::to_owned);
        let filters = self
            .filter
            .iter()
            .flat_map(|filter| ["--filter".to_owned(), filter.clone()]);
        let all = self.all.then(|| "--all".to_owned());
        Command::new(argv.into_iter().chain(filters).chain(all))
    }

    /// For the engine. None for a filter that only Docker's client has words for.
    fn question(&self) -> Option<Command> {
        let mut filters: BTreeMap<String, BTreeMap<&str, bool>> = BTreeMap::new();
        for filter in &self.filter {
            let (name, value) = filter.split_once('=')?;
            let values = filters.entry(name.trim().to_lowercase()).or_default();
            values.insert(value.trim(), true);
        }
        let filters = serde_json::to_string(&filters).ok()?;
        let path = format!(
            "/containers/json?all={}&size={}&filters={}",
            u8::from(self.all),
            u8::from(self.size),
            in_query(&filters)
        );
        let questions = [Question::get(path, COMMAND_TIMEOUT), Question::times()];
        Some(engine_ask::command(&questions))
    }
}

/// Asks hosts, all at once. The hosts that do not answer are told of.
pub async fn list(hosts: &[&HostSpec], wanted: &Wanted, ui: Ui) -> Result<Found, Error> {
    let connector =
        Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let progress = Progress::start(ui);
    let each = hosts.iter().map(|spec| {
        let (connector, events) = (&connector, progress.events());
        async move {
            events.emit(Event::Connecting(spec.name.clone()));
            (*spec, ask(connector, spec, wanted, events).await)
        }
    });
    let mut found = Found::default();
    for (spec, result) in futures_util::future::join_all(each).await {
        match result {
            Ok(containers) => found.containers.extend(containers),
            Err(error) => {
                found
                    .silent
                    .push(give_up(spec, &FactsError::Host(error), progress.events()))
            }
        }
    }
    progress.finish().await;
    Ok(found)
}

async fn ask(
    connector: &Connector,
    spec: &HostSpec,
    wanted: &Wanted,
    events: &Events,
) -> Result<Vec<Container>, HostError> {
    let client = wanted.command().rights(Rights::Engine);
    let question = wanted.question().map(|own| own.rights(Rights::Engine));
    let (connection, mut output) =
        answer(connector, spec, question.as_ref().unwrap_or(&client)).await?;
    if question.is_some() {
        if let Some(containers) = told(&spec.name, &output) {
            events.emit(Event::Gathered(spec.name.clone()));
            return Ok(containers);
        }
        // An engine that has used up its time has nothing more to say to another.
        if !engine_ask::has_run_out(&output) {
            output = connection.run(&client).await?;
        }
    }
    events.emit(Event::Gathered(spec.name.clone()));
    match output.status {
        0 => Ok(read(&spec.name, &output.stdout_text())),
        status => Err(connection.failure(&client, status, &output)),
    }
}

/// What the engine itself says. None if it does not, for whatever reason.
fn told(host: &HostName, output: &Output) -> Option<Vec<Container>> {
    let answers = engine_ask::read(output)?;
    let [listed, times] = answers.as_slice() else {
        return None;
    };
    let times = Times::parse(std::str::from_utf8(&times.body).ok()?)?;
    let listed: Vec<Listed> = listed.json()?;
    let containers = listed.iter().map(|listed| Container {
        host: host.clone(),
        fields: listed.fields(&times),
    });
    Some(by_name(containers.collect()))
}

fn read(host: &HostName, text: &str) -> Vec<Container> {
    let line = |line: &str| {
        let document: BTreeMap<String, Value> = serde_json::from_str(line).ok()?;
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let fields = document
            .into_iter()
            .map(|(key, value)| (key, text(value)))
            .collect();
        Some(Container {
            host: host.clone(),
            fields,
        })
    };
    by_name(text.lines().filter_map(line).collect())
}

fn by_name(mut containers: Vec<Container>) -> Vec<Container> {
    containers.sort_by(|a, b| a.name().cmp(b.name()));
    containers
}

/// The one container of that name or id, wherever it runs, and its host. Where two hosts have one, the person says which is meant.
pub async fn find<'a>(
    inventory: &'a Inventory,
    name: &str,
    global: &Global,
    ui: Ui,
) -> Result<(&'a HostSpec, Container), Error> {
    let wanted = Wanted {
        all: true,
        ..Wanted::default()
    };
    let found = list(&select(inventory, global)?, &wanted, ui).await?;
    let container = one(&found, name)?;
    let spec = super::host(inventory, container.host.as_str())?;
    if !found.silent.is_empty() {
        ui.note(&format!(
            "{} has a {name}; whether another one has, is not known.",
            spec.name
        ));
    }
    Ok((spec, container))
}

/// Digits of an id that name a container: fewer are a name that is mistyped more often than not.
const SHORTEST_ID: usize = 4;

fn one(found: &Found, name: &str) -> Result<Container, Error> {
    let mut same: Vec<&Container> = found
        .containers
        .iter()
        .filter(|container| container.names().any(|own| own == name))
        .collect();
    let is_id = name.len() >= SHORTEST_ID && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if same.is_empty() && is_id {
        same = found
            .containers
            .iter()
            .filter(|container| container.field("ID").starts_with(name))
            .collect();
    }
    match same.as_slice() {
        [container] => Ok((*container).clone()),
        [] if found.silent.is_empty() => {
            Err(Error::failed(format!("no host has a container {name}"))
                .hint("`docker-cluster ps -a` lists them, stopped ones as well"))
        }
        [] => {
            let silent: Vec<&str> = found.silent.iter().map(|host| host.host.as_str()).collect();
            let verb = if silent.len() == 1 { "does" } else { "do" };
            Err(
                Error::failed(format!("no host that answers has a container {name}")).because(
                    format!("{} {verb} not answer, and may have it", silent.join(", ")),
                ),
            )
        }
        many => {
            let hosts: Vec<String> = many
                .iter()
                .map(|container| format!("{} ({})", container.host, container.field("Status")))
                .collect();
            let first = &many[0].host;
            Err(Error::usage(format!(
                "{} hosts have a container {name}: {}",
                many.len(),
                hosts.join(", ")
            ))
            .hint(format!("say which: `--on {first}`")))
        }
    }
}

/// What is left to say, and how a listing ends: a host that was not heard is a failure, since what it has is missing.
pub fn ended(found: &Found) -> Exit {
    if found.silent.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[(&str, &str)], silent: &[&str]) -> Found {
        let name = |name: &str| HostName::parse(name).unwrap();
        Found {
            containers: lines
                .iter()
                .flat_map(|(host, line)| read(&name(host), line))
                .collect(),
            silent: silent
                .iter()
                .map(|host| Unreached {
                    host: name(host),
                    error: "off".to_owned(),
                    hint: String::new(),
                })
                .collect(),
        }
    }

    #[test]
    fn a_name_is_one_container_or_a_question() {
        let web = r#"{"ID":"abcd1234","Names":"web,proxy/web","Status":"Up 2 hours"}"#;
        let app = r#"{"ID":"abcd9999","Names":"app","Status":"Exited (0)"}"#;
        let host = |found: &Found, name: &str| {
            one(found, name).map(|container| container.host.to_string())
        };
        let two = found(&[("a", web), ("b", app)], &[]);
        assert_eq!(host(&two, "web").unwrap(), "a");
        assert_eq!(host(&two, "abcd9").unwrap(), "b");
        let said = |found: &Found, name: &str| format!("{:?}", one(found, name).unwrap_err());
        assert!(
            said(&two, "abcd")
                .contains("2 hosts have a container abcd: a (Up 2 hours), b (Exited (0))")
        );
        assert!(said(&two, "we").contains("no host has a container we"));
        assert!(
            said(&two, "abc").contains("no host has"),
            "three digits are no id"
        );
        let silent = found(&[("a", web)], &["b", "c"]);
        assert!(said(&silent, "app").contains("b, c do not answer, and may have it"));
        assert_eq!(host(&silent, "web").unwrap(), "a");
        let both = found(&[("a", web), ("b", web)], &[]);
        assert!(
            said(&both, "web").contains("say which: `--on a`"),
            "{}",
            said(&both, "web")
        );
        assert!(
            read(&HostName::parse("a").unwrap(), "WARNING: x\n").is_empty(),
            "what is no JSON is none"
        );
    }
}
