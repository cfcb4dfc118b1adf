//! `ls` and `status` in docker-machine's words.

use std::cmp::Ordering;
use std::net::TcpStream;
use std::time::Duration;

use clap::Args;
use regex_automata::dfa::regex::Regex;
use regex_automata::util::syntax;
use serde_json::{Value, json};

use super::Machines;
use super::tabs::aligned;
use crate::commands::active::active;
use crate::commands::endpoint;
use crate::commands::ssh_config::SSH_PORT;
use crate::commands::{Asked, ask, ip, load};
use crate::error::{Error, Exit};
use crate::inventory::{HostSpec, Inventory};
use crate::ui::{Progress, Template, Ui};

/// What docker-machine lists.
const DEFAULT_FORMAT: &str = "table {{.Name}}\\t{{.Active}}\\t{{.DriverName}}\\t{{.State}}\\t{{.URL}}\\t{{.Swarm}}\\t{{.DockerVersion}}\\t{{.Error}}";

/// What a format begins with that has a head.
const TABLE: &str = "table ";

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only the names; asks no machine, unless a filter wants to know its state
    #[arg(short, long)]
    quiet: bool,
    /// Only those that fit: name=REGEX, state=Running, driver=generic, label=KEY=VALUE, swarm=NAME. Of one key any, of several keys each
    #[arg(long, value_name = "KEY=VALUE", value_parser = Wish::parse)]
    filter: Vec<Wish>,
    /// How long a machine may take to be reached, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// A template in the manner of Go, such as `table {{.Name}}\t{{.State}}`
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

/// What a filter wants.
#[derive(Debug, Clone)]
enum Wish {
    Name(Box<Regex>),
    State(String),
    Driver(String),
    Label(String),
    Swarm,
}

impl Wish {
    fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or("Unable to parse filters: write them as KEY=VALUE")?;
        let value = value.to_owned();
        Ok(match key.to_lowercase().as_str() {
            "name" => Self::Name(Box::new(expression(&value)?)),
            "state" => Self::State(value),
            "driver" => Self::Driver(value),
            "label" => Self::Label(value),
            "swarm" => Self::Swarm,
            _ => return Err(format!("Unsupported filter key '{key}'")),
        })
    }

    /// What is not known yet does not exclude a machine.
    fn is_met(&self, machine: &Machine, state: Option<State>) -> bool {
        match self {
            Self::Name(expression) => expression.is_match(machine.spec.name.as_str()),
            Self::State(wanted) => {
                state.is_none_or(|state| state.as_str().eq_ignore_ascii_case(wanted))
            }
            Self::Driver(driver) => driver == "generic",
            Self::Label(label) => machine.labels.contains(label),
            // No machine here is of docker-machine's own Swarm.
            Self::Swarm => false,
        }
    }
}

/// As Go searches it, anywhere in the name. Names are ASCII.
fn expression(text: &str) -> Result<Regex, String> {
    let ascii = syntax::Config::new().unicode(false).utf8(false);
    Regex::builder()
        .syntax(ascii)
        .build(text)
        .map_err(|error| format!("`{text}` is no regular expression: {error}"))
}

/// The state of a machine, in docker-machine's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its port of ssh opens.
    Running,
    /// It does not.
    Stopped,
    /// It opens, and there is no way in.
    Error,
}

impl State {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Error => "Error",
        }
    }
}

/// How long a port may take to open.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of a machine, by its port alone, as docker-machine's driver `generic` has it.
pub fn state(spec: &HostSpec) -> Result<State, Error> {
    let address = (ip::reached(spec)?, spec.ssh.port.unwrap_or(SSH_PORT));
    Ok(
        match TcpStream::connect_timeout(&address.into(), PATIENCE) {
            Ok(_) => State::Running,
            Err(_) => State::Stopped,
        },
    )
}

/// A machine and its engine's labels and options.
struct Machine {
    spec: HostSpec,
    labels: Vec<String>,
    options: Value,
}

impl Ls {
    /// Whether nothing is asked of any machine.
    #[must_use]
    pub fn asks_nobody(&self) -> bool {
        self.quiet
            && !self
                .filter
                .iter()
                .any(|wish| matches!(wish, Wish::State(_)))
    }

    /// Whether a machine is as the filters want it: of each key one.
    fn wants(&self, machine: &Machine, state: Option<State>) -> bool {
        self.filter.iter().all(|wish| {
            let kind = std::mem::discriminant(wish);
            let same = self
                .filter
                .iter()
                .filter(|other| std::mem::discriminant(*other) == kind);
            same.into_iter().any(|wish| wish.is_met(machine, state))
        })
    }
}

/// Runs it.
pub async fn run(args: &Ls, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let format = Format::parse(args.format.as_deref().unwrap_or(DEFAULT_FORMAT))?;
    let inventory = machines.inventory()?;
    let mut all = inventory
        .iter()
        .flat_map(|inventory| &inventory.hosts)
        .map(|host| machine(host, machines));
    let mut all = all.by_ref().collect::<Result<Vec<_>, _>>()?;
    all.retain(|machine| args.wants(machine, None));
    all.sort_by(|a, b| naturally(a.spec.name.as_str(), b.spec.name.as_str()));
    let names = |all: &[&Machine]| {
        all.iter()
            .map(|machine| format!("{}\n", machine.spec.name))
            .collect::<String>()
    };
    if args.asks_nobody() {
        ui.print(&names(&all.iter().collect::<Vec<_>>()));
        return Ok(Exit::Done);
    }
    all.iter_mut()
        .for_each(|machine| machine.spec.ssh.connect_timeout = Duration::from_secs(args.timeout));
    let asked = match all.as_slice() {
        [] => Asked::default(),
        all => look(all, ui).await?,
    };
    let states: Vec<State> = all.iter().map(|machine| seen(machine, &asked)).collect();
    let fit = all
        .iter()
        .zip(states)
        .filter(|(machine, state)| args.wants(machine, Some(*state)));
    let fit: Vec<(&Machine, State)> = fit.collect();
    if args.quiet {
        ui.print(&names(
            &fit.iter().map(|(machine, _)| *machine).collect::<Vec<_>>(),
        ));
        return Ok(Exit::Done);
    }
    let rows: Vec<Value> = fit
        .iter()
        .map(|(machine, state)| row(machine, *state, &asked, inventory.as_ref()))
        .collect::<Result<_, _>>()?;
    ui.print(&format.shown(&rows)?);
    Ok(Exit::Done)
}

fn machine(host: &HostSpec, machines: &Machines) -> Result<Machine, Error> {
    let options = load(&machines.global_of(host.name.as_str()))?
        .engine
        .options;
    let labels = options.get("labels").and_then(Value::as_array);
    let labels = labels
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    Ok(Machine {
        spec: host.clone(),
        labels,
        options: Value::Object(options),
    })
}

async fn look(all: &[Machine], ui: Ui) -> Result<Asked, Error> {
    let specs: Vec<&HostSpec> = all.iter().map(|machine| &machine.spec).collect();
    let progress = Progress::start(ui);
    let asked = ask(&specs, progress.events()).await;
    progress.finish().await;
    asked
}

fn seen(machine: &Machine, asked: &Asked) -> State {
    if asked.hosts.contains_key(&machine.spec.name) {
        return State::Running;
    }
    match state(&machine.spec) {
        Ok(State::Running) => State::Error,
        Ok(other) => other,
        Err(_) => State::Stopped,
    }
}

/// What a template sees of a machine.
fn row(
    machine: &Machine,
    state: State,
    asked: &Asked,
    inventory: Option<&Inventory>,
) -> Result<Value, Error> {
    let name = &machine.spec.name;
    let active = inventory
        .map(active)
        .transpose()?
        .flatten()
        .is_some_and(|host| host.name == *name);
    let facts = asked
        .facts
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, facts)| facts);
    let engine = facts
        .and_then(|facts| facts.engine.as_ref())
        .filter(|engine| engine.is_up());
    let unreached = asked
        .unreached
        .iter()
        .find(|unreached| unreached.host == *name);
    let error = match (unreached, engine) {
        (Some(unreached), _) => unreached
            .error
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        (None, None) => "the engine does not answer".to_owned(),
        (None, Some(_)) => String::new(),
    };
    Ok(json!({
        "Name": name,
        "Active": if active { "*" } else { "-" },
        "ActiveHost": active,
        "ActiveSwarm": false,
        "DriverName": "generic",
        "State": state.as_str(),
        "URL": if state == State::Running { endpoint::url(&machine.spec) } else { String::new() },
        "Swarm": "",
        "SwarmOptions": Value::Null,
        "EngineOptions": machine.options,
        "DockerVersion": engine.map_or_else(|| "Unknown".to_owned(), |engine| format!("v{}", engine.version_text)),
        "Error": error,
    }))
}

/// A template, and whether its list has a head.
struct Format {
    template: Template,
    has_head: bool,
}

impl Format {
    fn parse(text: &str) -> Result<Self, Error> {
        let (text, has_head) = text
            .strip_prefix(TABLE)
            .map_or((text, false), |rest| (rest, true));
        let template =
            Template::parse(text).map_err(|error| Error::usage(format!("--format: {error}")))?;
        Ok(Self { template, has_head })
    }

    fn shown(&self, rows: &[Value]) -> Result<String, Error> {
        let head = json!({
            "Name": "NAME",
            "Active": "ACTIVE",
            "ActiveHost": "ACTIVE_HOST",
            "ActiveSwarm": "ACTIVE_SWARM",
            "DriverName": "DRIVER",
            "State": "STATE",
            "URL": "URL",
            "Swarm": "SWARM",
            "SwarmOptions": "SWARM_OPTIONS",
            "EngineOptions": "ENGINE_OPTIONS",
            "DockerVersion": "DOCKER",
            "Error": "ERRORS",
        });
        let lines = self
            .has_head
            .then_some(&head)
            .into_iter()
            .chain(rows)
            .map(|row| self.template.render(row));
        let lines = lines
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::usage(format!("--format: {error}")))?;
        Ok(aligned(
            &lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        ))
    }
}

/// As a person counts: `node-2` before `node-10`.
fn naturally(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = Vec::new();
        for c in text.chars() {
            match (c.to_digit(10), all.last_mut()) {
                (Some(digit), Some(last)) => {
                    last.1 = last.1.saturating_mul(10).saturating_add(digit.into())
                }
                (Some(digit), None) => all.push((String::new(), digit.into())),
                (None, _) => all.push((c.to_string(), 0)),
            }
        }
        all
    };
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_counted_as_people_do() {
        let mut names = ["node-10", "node-2", "a", "node-1", "10", "9"];
        names.sort_by(|a, b| naturally(a, b));
        assert_eq!(names, ["9", "10", "a", "node-1", "node-2", "node-10"]);
    }

    #[test]
    fn a_name_is_searched_for() {
        let is_met = |pattern: &str, name: &str| expression(pattern).unwrap().is_match(name);
        assert!(
            is_met("no", "node-1") && is_met("^node-[0-9]+$", "node-1") && is_met("a|1", "node-1")
        );
        assert!(!is_met("^ode", "node-1"));
        assert!(Wish::parse("name=(").is_err() && Wish::parse("colour=red").is_err());
    }
}
