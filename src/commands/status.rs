//! `status`: the state of one host, in a word.

use clap::Args;

use super::ls::state;
use super::{ask, host, load};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::ui::{Progress, Ui};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The host
    pub host: String,
}

/// Runs it. A host that is not up is not an error that would need words, but a script may ask by the exit code.
pub async fn run(args: &Status, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let host = host(&inventory, &args.host)?;
    let progress = Progress::start(ui);
    let asked = ask(&[host], progress.events()).await;
    progress.finish().await;
    let asked = asked?;
    let state = asked
        .facts
        .first()
        .map_or("unreachable", |(_, facts)| state(facts));
    ui.print(state);
    Ok(if state == super::ls::UP {
        Exit::Done
    } else {
        Exit::Failed
    })
}
