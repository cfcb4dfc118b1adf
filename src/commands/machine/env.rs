//! `env` in docker-machine's words.

use clap::Args;

use super::{Machines, refused};
use crate::commands::env::{Wish, point_at, take_back};
use crate::commands::shells::Shell;
use crate::commands::{host, load};
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
    /// Only for masters of docker-machine's own Swarm, which is not built here
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
    if args.swarm {
        return Err(refused::no_master(&name));
    }
    let inventory = load(machines.global())?;
    let wish = Wish {
        shell,
        no_proxy: args.no_proxy,
        command: std::env::args().collect(),
    };
    point_at(
        &inventory,
        host(&inventory, &name)?,
        &wish,
        machines.global(),
        ui,
    )
}
