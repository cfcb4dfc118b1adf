//! The verbs of Docker Machine, for who calls the program `docker-machine`: those of docker-cluster where they are the same, on an
//! inventory that is kept for the person.

mod authority;
mod certificates;
mod create;
mod engine_options;
mod env;
mod list;
mod machines;
mod refused;
mod remove;
mod swarm;
mod tabs;

use clap::{Args, Subcommand};

pub use authority::TlsFiles;
pub use machines::Machines;
pub use refused::{driver as refused_driver, refused_early};

use super::carry_out::Manner;
use super::{active, ask, config, host, inspect, ip, load, restart, scp, ssh, standalone, url};
use crate::error::{Error, Exit};
use crate::ui::{Progress, Ui};

/// What consent means here: docker-machine never asks before it changes a host.
const UNASKED: Manner = Manner {
    yes: true,
    step: false,
    lock_wait: None,
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print which machine is active
    Active(Active),
    /// Print the arguments that point Docker's client at a machine
    Config(Config),
    /// Make a host a machine: install its engine if it has none, and set the engine's options
    Create(Box<create::Create>),
    /// Print what points Docker's client at a machine, for a shell
    Env(env::Env),
    /// Print what is known of a machine
    Inspect(Inspect),
    /// Print the addresses of machines
    Ip(Names),
    /// Not for hosts that nobody here has made
    Kill(Names),
    /// List machines
    Ls(list::Ls),
    /// Not here: sshfs does it
    Mount(Anything),
    /// Make machines again what `create` has made them
    Provision(create::Provision),
    /// Give machines new certificates, and restart their engines
    RegenerateCerts(Regenerate),
    /// Restart the engines of machines, one after the other; the hosts stay up
    Restart(Names),
    /// Forget machines; the hosts are not touched
    Rm(remove::Rm),
    /// Log into a machine, or run a command on it
    Ssh(Ssh),
    /// Copy files between here and machines
    Scp(Scp),
    /// Not for hosts that nobody here has made
    Start(Names),
    /// Print the state of a machine
    Status(One),
    /// Not for hosts that nobody here has made
    Stop(Names),
    /// Not here: the host's package manager does it
    Upgrade(Names),
    /// Print where the engine of a machine is reached
    Url(One),
    /// Print the version of this program, or of a machine's engine
    Version(One),
}

/// Machines by name.
#[derive(Debug, Args)]
pub struct Names {
    /// The machines [default: the one called default]
    pub names: Vec<String>,
}

/// A machine by name.
#[derive(Debug, Args)]
pub struct One {
    /// The machine [default: the one called default]
    pub name: Option<String>,
}

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct Config {
    /// The machine [default: the one called default]
    pub name: Option<String>,
    /// Point at the manager of Swarm on the machine instead of its engine
    #[arg(long)]
    pub swarm: bool,
}

/// What nobody reads.
#[derive(Debug, Args)]
pub struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The machine [default: the one called default]
    pub name: Option<String>,
    /// A template in the manner of Go, such as `{{.Driver.IPAddress}}` or `{{json .Driver}}`
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

/// Arguments of `regenerate-certs`.
#[derive(Debug, Args)]
pub struct Regenerate {
    /// The machines [default: the one called default]
    pub names: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// A new CA as well, and a new certificate for you: every machine gets a certificate of it, and all earlier ones end
    #[arg(long)]
    pub client_certs: bool,
}

/// Arguments of `ssh`.
#[derive(Debug, Args)]
pub struct Ssh {
    /// The machine, and the command as its shell is to read it; a shell without one
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "MACHINE COMMAND"
    )]
    pub words: Vec<String>,
}

/// Arguments of `scp`.
#[derive(Debug, Args)]
pub struct Scp {
    /// Folders as well, with what is in them
    #[arg(short, long)]
    pub recursive: bool,
    /// Without a progress meter
    #[arg(short, long)]
    pub quiet: bool,
    /// Not here: rsync by itself does it
    #[arg(short, long)]
    pub delta: bool,
    /// From where, and where to: paths here, or MACHINE:PATH
    #[arg(required = true, num_args = 2, value_names = ["FROM", "TO"])]
    pub paths: Vec<String>,
}

/// Arguments of `active`.
#[derive(Debug, Args)]
pub struct Active {
    /// Taken, and not needed: no machine is asked
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

impl Verb {
    /// Whether it only reads files and prints: no host, no engine, nothing to wait for.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Create(_)
            | Self::Provision(_)
            | Self::RegenerateCerts(_)
            | Self::Restart(_)
            | Self::Ssh(_) => false,
            Self::Version(args) => args.name.is_none(),
            Self::Ls(args) => args.asks_nobody(),
            _ => true,
        }
    }
}

/// Runs a verb.
pub async fn run(verb: &Verb, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    match verb {
        Verb::Active(_) => {
            let inventory = machines.inventory()?;
            let found = inventory
                .as_ref()
                .map(active::active)
                .transpose()?
                .flatten();
            let name = match found {
                Some(host) => Some(host.name.to_string()),
                None => list::active_swarm(inventory.as_ref(), machines)?,
            };
            ui.print(&name.ok_or_else(|| Error::failed("No active host found"))?);
            Ok(Exit::Done)
        }
        Verb::Config(args) => {
            let host = machines.one(args.name.as_ref())?;
            if args.swarm {
                return config_of_swarm(&host, machines, ui);
            }
            config::run(&config::Config { host }, machines.global(), ui)
        }
        Verb::Create(args) => create::run(args, machines, ui).await,
        Verb::Env(args) => env::run(args, machines, ui),
        Verb::Inspect(args) => {
            let name = machines.one(args.name.as_ref())?;
            let args = inspect::Inspect {
                hosts: vec![name.clone()],
                format: args.format.clone(),
            };
            inspect::run(&args, &machines.global_of(&name), ui)
        }
        Verb::Ip(args) => {
            let args = ip::Ip {
                hosts: machines.named(&args.names)?,
                private: false,
            };
            ip::run(&args, machines.global(), ui).await
        }
        Verb::Kill(args) => refused::power("kill", "Killing", &machines.named(&args.names)?, ui),
        Verb::Ls(args) => list::run(args, machines, ui).await,
        Verb::Mount(_) => refused::mount(),
        Verb::Provision(args) => create::provision(args, machines, ui).await,
        Verb::RegenerateCerts(args) => certificates::regenerate(args, machines, ui).await,
        Verb::Restart(args) => {
            let hosts = machines.named(&args.names)?;
            hosts
                .iter()
                .for_each(|name| ui.print(&format!("Restarting \"{name}\"...")));
            restart::run(
                &restart::Restart {
                    hosts,
                    manner: UNASKED,
                },
                machines.global(),
                ui,
            )
            .await
        }
        Verb::Rm(args) => remove::run(args, machines, ui),
        Verb::Ssh(args) => speak(args, machines).await,
        Verb::Scp(args) => copy(args, machines),
        Verb::Start(args) => refused::power("start", "Starting", &machines.named(&args.names)?, ui),
        Verb::Status(args) => {
            ui.print(list::state(&machines.host(args.name.as_ref())?)?.as_str());
            Ok(Exit::Done)
        }
        Verb::Stop(args) => refused::power("stop", "Stopping", &machines.named(&args.names)?, ui),
        Verb::Upgrade(args) => refused::upgrade(&machines.named(&args.names)?),
        Verb::Url(args) => url::run(
            &url::Url {
                host: machines.one(args.name.as_ref())?,
            },
            machines.global(),
            ui,
        ),
        Verb::Version(One { name: None }) => {
            ui.print(concat!(
                "docker-machine version ",
                env!("CARGO_PKG_VERSION"),
                ", build ",
                env!("BUILD_COMMIT"),
                " (docker-cluster)"
            ));
            Ok(Exit::Done)
        }
        Verb::Version(args) => version(args, machines, ui).await,
    }
}

/// The arguments that point Docker's client at the manager of Swarm on a machine.
fn config_of_swarm(name: &str, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(&machines.global_of(name))?;
    let host = host(&inventory, name)?;
    if !standalone::is_manager(&inventory, host) {
        return Err(refused::no_master(name));
    }
    let endpoint = standalone::endpoint(&inventory, host, machines.global())?;
    endpoint
        .arguments()
        .iter()
        .for_each(|argument| ui.print(argument));
    Ok(Exit::Done)
}

/// The command is one line for the shell of the login, as docker-machine sends it: `docker-machine ssh a "ls | wc"`.
async fn speak(args: &Ssh, machines: &Machines) -> Result<Exit, Error> {
    let host = machines.host(args.words.first())?;
    let command = args.words.get(1..).unwrap_or_default();
    let command = command.strip_prefix(&["--".to_owned()]).unwrap_or(command);
    ssh::talk(&host, (!command.is_empty()).then(|| command.join(" "))).await
}

fn copy(args: &Scp, machines: &Machines) -> Result<Exit, Error> {
    if args.delta {
        return Err(refused::delta());
    }
    let on = args.paths.iter().filter_map(|path| scp::name_of(path));
    on.map(|name| machines.one(Some(&name.to_owned())))
        .collect::<Result<Vec<_>, _>>()?;
    let args = scp::Scp {
        recursive: args.recursive,
        quiet: args.quiet,
        paths: args.paths.clone(),
    };
    scp::run(&args, machines.global())
}

/// Of the engine of a machine.
async fn version(args: &One, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let host = machines.host(args.name.as_ref())?;
    let progress = Progress::start(ui);
    let asked = ask(&[&host], progress.events()).await;
    progress.finish().await;
    let asked = asked?;
    let Some((_, facts)) = asked.facts.first() else {
        return Err(Error::Said(Exit::Failed));
    };
    let engine = facts.engine.as_ref().filter(|engine| engine.is_up());
    let engine = engine
        .ok_or_else(|| Error::failed(format!("the engine of {} does not answer", host.name)))?;
    ui.print(&engine.version_text);
    Ok(Exit::Done)
}
