//! `config`: the arguments that point Docker's client at a host, for one call: `docker $(docker-cluster config HOST) ps`.

use clap::Args;

use super::endpoint::Endpoint;
use super::{host, load};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::ui::Ui;

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct Config {
    /// The host
    pub host: String,
}

/// Runs it.
pub fn run(args: &Config, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let host = host(&inventory, &args.host)?;
    for argument in Endpoint::open(&inventory, host, global)?.arguments() {
        ui.print(&argument);
    }
    Ok(Exit::Done)
}
