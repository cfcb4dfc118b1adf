//! `env` in docker-machine's words.

use clap::Args;

use super::{Machines, refused};
use crate::commands::env::{Wish, point_at, point_to, take_back};
use crate::commands::shells::Shell;
use crate::commands::{host, load, standalone};
use crate::error::{Error, Exit};
use crate::ui::Ui;

/// Arguments of `env`.
#[derive(Debug, Args)]
pub struct Env {
    /// The machine [default: the one called default]
    pub name: Option<String>,
    /// The shell that is to read it; one that is not known is taken for a POSIX shell [default: by $SHELL]
    #[arg(long)]
    pub shell: Option<String>,
    /// Point at the manager of Swarm on the machine instead of its engine
    #[arg(long)]
    pub swarm: bool,
    /// Let programs reach the machine without a proxy: adds its address to NO_PROXY
    #[arg(long)]
    pub no_proxy: bool,
    /// Print what takes the exports back, and brings back what was there before them
    #[arg(short, long)]
    pub unset: bool,
}

/// Runs it.
pub fn run(args: &Env, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let shell = args.shell.clone().or_else(|| std::env::var("SHELL").ok());
    let shell = Shell::of_login(shell.as_deref());
    if args.unset {
        if args.name.is_some() {
            return Err(Error::failed(
                "Error: Expected no machine name when the -u flag is present",
            ));
        }
        return take_back(shell, machines.global(), ui);
    }
    let name = machines.one(args.name.as_ref())?;
    let inventory = match args.swarm {
        true => load(&machines.global_of(&name))?,
        false => load(machines.global())?,
    };
    let host = host(&inventory, &name)?;
    let wish = Wish {
        shell,
        no_proxy: args.no_proxy,
        command: std::env::args().collect(),
    };
    let global = machines.global();
    if args.swarm {
        if !standalone::is_manager(&inventory, host) {
            return Err(refused::no_master(&name));
        }
        let endpoint = standalone::endpoint(&inventory, host, global)?;
        return point_to(endpoint, &inventory, host, &wish, global, ui);
    }
    point_at(&inventory, host, &wish, global, ui)
}
