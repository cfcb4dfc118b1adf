//! `url`: where the engine of a host is reached, as DOCKER_HOST takes it.

use clap::Args;

use super::endpoint;
use super::{host, load};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::ui::Ui;

/// Arguments of `url`.
#[derive(Debug, Args)]
pub struct Url {
    /// The host
    pub host: String,
}

/// Runs it.
pub fn run(args: &Url, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    ui.print(&endpoint::url(host(&inventory, &args.host)?));
    Ok(Exit::Done)
}
