//! The commands: one verb, one file.

pub mod active;
pub mod advise;
pub mod bench;
pub mod beside;
pub mod carry_out;
pub mod cert;
pub mod completions;
pub mod config;
pub mod containers;
pub mod context;
pub mod docker_ssh;
pub mod down;
pub mod endpoint;
pub mod env;
pub mod exec;
pub mod init;
pub mod inspect;
pub mod ip;
pub mod lab;
mod listed;
pub mod logs;
pub mod ls;
pub mod machine;
pub mod migrate;
pub mod plan;
mod private;
pub mod ps;
pub mod restart;
pub mod rm;
pub mod run_on;
pub mod scp;
pub mod shells;
pub mod ssh;
pub mod ssh_config;
mod standalone;
pub mod status;
pub mod store;
pub mod underlay;
pub mod up;
pub mod url;
pub mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, Exit};
use crate::event::{Event, Events};
use crate::facts::{Facts, Scope};
use crate::files;
use crate::global::Global;
use crate::host::{
    Command as RemoteCommand, Connection, Connector, HostError, Hosts, Liveness, Output,
};
use crate::inventory::{DEFAULT_FILE, Filter, HostName, HostSpec, Inventory, decode};
use crate::plan::Unreached;
use crate::probe::{self, FactsError};
use crate::proof::Ill;
use crate::secrets::EnginesCa;
use crate::ui::{Progress, Ui};

/// Reads the inventory.
pub fn load(global: &Global) -> Result<Inventory, Error> {
    let file = global.file.display().to_string();
    let unreadable =
        |cause: String| Error::usage(format!("cannot read the inventory {file}")).because(cause);
    let bytes = std::fs::read(&global.file).map_err(|error| {
        let error = unreadable(error.to_string());
        let hint = if file == DEFAULT_FILE {
            "name one with -f FILE, or start one: `docker-cluster init ADDRESS... > cluster.yaml`"
        } else {
            "check the path"
        };
        error.hint(hint)
    })?;
    let source =
        decode(&bytes).map_err(|error| unreadable(error.what.clone()).hint(error.hint(&file)))?;
    let inventory =
        Inventory::parse(source, &file).map_err(|error| Error::Inventory(Box::new(error)))?;
    Ok(complete(inventory))
}

/// An inventory with what of it is in files of this machine: paths in the home, the certificate of the person's own CA, the
/// passwords of BGP.
fn complete(inventory: Inventory) -> Inventory {
    let mut inventory = match etcetera::home_dir() {
        Ok(home) => inventory.with_home(&home),
        // Who has no home has no files in it.
        Err(_) => inventory,
    };
    if let Some(own) = &mut inventory.engine.ca {
        // One that cannot be used is a problem of plans, and none for who only asks where an engine is.
        let cert = EnginesCa::own_text(&own.cert);
        own.text = cert.as_ref().cloned().unwrap_or_default();
        let usable = cert.and_then(|cert| EnginesCa::with_key(&own.cert, cert, &own.key));
        own.flaw = usable.err().map(|error| error.to_string());
        own.key.everybody_reads = files::everybody_reads(&own.key.path);
    }
    // One that cannot be read is a problem of a plan; what needs no password goes on without.
    for password in inventory.network.bgp.passwords_mut() {
        let path = &password.file.path;
        let read = files::read_small(path).map_err(|error| error.to_string());
        password.file.everybody_reads = files::everybody_reads(path);
        password.take(read);
    }
    inventory
}

/// The hosts that `--on` selects.
pub fn select<'a>(inventory: &'a Inventory, global: &Global) -> Result<Vec<&'a HostSpec>, Error> {
    let filter = match &global.on {
        Some(text) => {
            Filter::parse(text).map_err(|error| Error::usage(format!("--on: {error}")))?
        }
        None => Filter::default(),
    };
    filter
        .select(inventory)
        .map_err(|error| Error::usage(format!("--on: {error}")))
}

/// The host of that name.
pub fn host<'a>(inventory: &'a Inventory, name: &str) -> Result<&'a HostSpec, Error> {
    inventory.host(name).ok_or_else(|| {
        let known: Vec<&str> = inventory
            .hosts
            .iter()
            .map(|host| host.name.as_str())
            .collect();
        Error::usage(format!("no host is called `{name}`"))
            .hint(format!("the inventory has {}", known.join(", ")))
    })
}

/// The connected hosts, their facts, and those that could not be asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// Connections.
    pub hosts: Hosts,
    /// Facts, in the inventory's order.
    pub facts: Vec<(HostName, Facts)>,
    /// The others.
    pub unreached: Vec<Unreached>,
    /// How much was asked.
    pub scope: Scope,
}

impl Asked {
    /// Those that could not be asked, with why.
    #[must_use]
    pub fn absent(&self) -> BTreeMap<HostName, Ill> {
        self.unreached.iter().cloned().map(absent).collect()
    }
}

impl Asked {
    /// Takes in what became of asking a host.
    fn take(
        &mut self,
        spec: &HostSpec,
        result: Result<(Arc<Connection>, Facts), FactsError>,
        events: &Events,
    ) {
        match result {
            Ok((connection, facts)) => {
                events.emit(Event::Gathered(spec.name.clone()));
                self.hosts.insert(spec.name.clone(), connection);
                self.facts.push((spec.name.clone(), facts));
            }
            Err(error) => self.unreached.push(give_up(spec, &error, events)),
        }
    }
}

/// Connects to hosts and asks for their facts, all at once.
pub async fn ask(specs: &[&HostSpec], events: &Events) -> Result<Asked, Error> {
    ask_for(specs, Scope::Usual, events).await
}

/// Asks every host of an inventory, and shows how that goes.
pub async fn ask_all(inventory: &Inventory, scope: Scope, ui: Ui) -> Result<Asked, Error> {
    let progress = Progress::start(ui);
    let all: Vec<&HostSpec> = inventory.hosts.iter().collect();
    let asked = ask_for(&all, scope, progress.events()).await;
    progress.finish().await;
    asked
}

/// Asks these, with a wider or narrower question than usual.
pub async fn ask_for(specs: &[&HostSpec], scope: Scope, events: &Events) -> Result<Asked, Error> {
    let connector =
        Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let each = specs.iter().map(|spec| async {
        events.emit(Event::Connecting(spec.name.clone()));
        (*spec, ask_one(&connector, spec, scope).await)
    });
    let mut asked = Asked {
        scope,
        ..Asked::default()
    };
    for (spec, result) in futures_util::future::join_all(each).await {
        asked.take(
            spec,
            result.map(|(connection, facts)| (Arc::new(connection), facts)),
            events,
        );
    }
    Ok(asked)
}

/// A host that could not be asked, for `verify`.
fn absent(unreached: Unreached) -> (HostName, Ill) {
    (
        unreached.host,
        Ill::Unreached {
            error: unreached.error,
            hint: unreached.hint,
        },
    )
}

/// Asks the connected hosts once more, in the inventory's order. One that does not answer any more is unreached from now on.
pub async fn ask_again(inventory: &Inventory, asked: &Asked, events: &Events) -> Asked {
    let connected = inventory
        .hosts
        .iter()
        .filter_map(|spec| Some((spec, asked.hosts.get(&spec.name)?)));
    let each = connected.map(|(spec, connection)| async move {
        (
            spec,
            connection,
            probe::gather(connection, asked.scope).await,
        )
    });
    let mut again = Asked {
        scope: asked.scope,
        unreached: asked.unreached.clone(),
        ..Asked::default()
    };
    for (spec, connection, result) in futures_util::future::join_all(each).await {
        again.take(
            spec,
            result.map(|facts| (Arc::clone(connection), facts)),
            events,
        );
    }
    again
}

/// Connects to hosts, all at once, without their facts: a verification looks for itself, and asks for facts only where it must say
/// why a pair fails.
pub async fn reach(specs: &[&HostSpec], events: &Events) -> Result<(Hosts, Vec<Unreached>), Error> {
    let connector =
        Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let each = specs.iter().map(|spec| async {
        events.emit(Event::Connecting(spec.name.clone()));
        (*spec, reach_one(&connector, spec).await)
    });
    let (mut hosts, mut unreached) = (Hosts::new(), Vec::new());
    for (spec, result) in futures_util::future::join_all(each).await {
        match result {
            Ok(connection) => {
                events.emit(Event::Gathered(spec.name.clone()));
                hosts.insert(spec.name.clone(), Arc::new(connection));
            }
            Err(error) => unreached.push(give_up(spec, &FactsError::Host(error), events)),
        }
    }
    Ok((hosts, unreached))
}

async fn reach_one(connector: &Connector, spec: &HostSpec) -> Result<Connection, HostError> {
    // Tells whether root can be had, and whether a connection that an earlier command left still leads to a host.
    let nothing = RemoteCommand::new(["true"]);
    let (connection, output) = answer(connector, spec, &nothing).await?;
    match output.status {
        0 => Ok(connection),
        status => Err(connection.failure(&nothing, status, &output)),
    }
}

/// Connects to a host and runs a first command. A connection that an earlier command left may be to a host that has rebooted since.
async fn answer(
    connector: &Connector,
    spec: &HostSpec,
    command: &RemoteCommand,
) -> Result<(Connection, Output), HostError> {
    let connection = connector.connect(spec).await?;
    match connection.run(command).await {
        Err(HostError::Disconnected { .. } | HostError::CommandTimedOut { .. })
            if connection.liveness == Liveness::Reused =>
        {
            let connection = connector.reconnect(spec).await?;
            let output = connection.run(command).await?;
            Ok((connection, output))
        }
        Err(error) => Err(error),
        Ok(output) => Ok((connection, output)),
    }
}

/// Says that a host is not reached.
fn give_up(spec: &HostSpec, error: &FactsError, events: &Events) -> Unreached {
    let hint = match error {
        FactsError::Host(error) => error.hint(),
        FactsError::Garbled(_) => {
            "look at the host by hand: `docker-cluster ssh HOST` is a shell on it".to_owned()
        }
    };
    let unreached = Unreached {
        host: spec.name.clone(),
        error: error.to_string(),
        hint,
    };
    events.emit(Event::Unreached {
        host: unreached.host.clone(),
        error: unreached.error.clone(),
        hint: unreached.hint.clone(),
    });
    unreached
}

async fn ask_one(
    connector: &Connector,
    spec: &HostSpec,
    scope: Scope,
) -> Result<(Connection, Facts), FactsError> {
    let connection = connector.connect(spec).await?;
    match probe::gather(&connection, scope).await {
        // A connection that an earlier command left may be to a host that has rebooted since.
        Err(FactsError::Host(
            HostError::Disconnected { .. } | HostError::CommandTimedOut { .. },
        )) if connection.liveness == Liveness::Reused => {
            let connection = connector.reconnect(spec).await?;
            let facts = probe::gather(&connection, scope).await?;
            Ok((connection, facts))
        }
        Err(error) => Err(error),
        Ok(facts) => Ok((connection, facts)),
    }
}

/// Turns true at the first Ctrl-C or SIGTERM; the second ends the program at once.
#[must_use]
pub fn stop_signal(events: Events) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        wait_for_signal().await;
        events.emit(Event::Note(
            "Stopping: the steps that run are finished first. Once more to stop at once."
                .to_owned(),
        ));
        drop(events);
        sender.send_replace(true);
        wait_for_signal().await;
        std::process::exit(i32::from(Exit::Failed as u8));
    });
    receiver
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}
