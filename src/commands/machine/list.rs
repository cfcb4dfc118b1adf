//! `ls` and `status` in docker-machine's words.

use std::cmp::Ordering;
use std::collections::BTreeMap;
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
use crate::commands::{Asked, ask, ip, load, standalone};
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
    Swarm(String),
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
            "swarm" => Self::Swarm(value),
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
            Self::Swarm(name) => {
                let master = machine.master.as_ref();
                master.is_some_and(|master| master.eq_ignore_ascii_case(name))
            }
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
    swarm: Option<SwarmPart>,
    /// The manager of the Swarm that it is of, if that is a machine.
    master: Option<String>,
}

/// What a machine is in docker-machine's own Swarm.
struct SwarmPart {
    discovery: String,
    is_master: bool,
    /// Where its manager would be reached.
    url: String,
    options: Value,
}

impl SwarmPart {
    fn of(inventory: &Inventory, host: &HostSpec) -> Option<Self> {
        let spec = inventory.swarm.standalone.as_ref()?;
        Some(Self {
            discovery: spec.discovery.clone().unwrap_or_default(),
            is_master: standalone::is_manager(inventory, host),
            url: host.api.as_ref()?.manager_url(spec),
            options: standalone::options(inventory, host)?,
        })
    }

    /// Whether Docker's client of this shell talks to its manager.
    fn is_active(&self) -> bool {
        self.is_master && std::env::var("DOCKER_HOST").is_ok_and(|url| url == self.url)
    }
}

/// The machine whose manager of Swarm Docker's client of this shell talks to.
pub fn active_swarm(
    inventory: Option<&Inventory>,
    machines: &Machines,
) -> Result<Option<String>, Error> {
    for host in inventory.iter().flat_map(|inventory| &inventory.hosts) {
        let machine = machine(host, machines)?;
        if machine.swarm.is_some_and(|swarm| swarm.is_active()) {
            return Ok(Some(host.name.to_string()));
        }
    }
    Ok(None)
}

/// Tells each machine who is the manager of its Swarm: who finds the others in the same place.
fn find_masters(all: &mut [Machine]) {
    let masters: BTreeMap<String, String> = all
        .iter()
        .filter_map(|machine| {
            let swarm = machine.swarm.as_ref().filter(|swarm| swarm.is_master)?;
            Some((swarm.discovery.clone(), machine.spec.name.to_string()))
        })
        .collect();
    for machine in all {
        let swarm = machine.swarm.as_ref();
        machine.master = swarm.and_then(|swarm| masters.get(&swarm.discovery).cloned());
    }
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
    find_masters(&mut all);
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
    let own = load(&machines.global_of(host.name.as_str()))?;
    let swarm = own.hosts.first().and_then(|host| SwarmPart::of(&own, host));
    let options = own.engine.options;
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
        swarm,
        master: None,
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
    let swarm = machine.swarm.as_ref();
    let is_active_swarm = swarm.is_some_and(SwarmPart::is_active);
    let master = machine.master.as_deref().unwrap_or_default();
    Ok(json!({
        "Name": name,
        "Active": match (active, is_active_swarm) {
            (true, _) => "*",
            (false, true) => "* (swarm)",
            (false, false) => "-",
        },
        "ActiveHost": active,
        "ActiveSwarm": is_active_swarm,
        "DriverName": "generic",
        "State": state.as_str(),
        "URL": if state == State::Running { endpoint::url(&machine.spec) } else { String::new() },
        "Swarm": match swarm {
            Some(swarm) if swarm.is_master => format!("{master} (master)"),
            _ => master.to_owned(),
        },
        "SwarmOptions": swarm.map(|swarm| &swarm.options),
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
