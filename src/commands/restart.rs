//! `restart`: engines, one after the other, each waited for until its containers run again.

use clap::Args;

use super::carry_out::{Job, Manner, carry_out, check_consent};
use super::{ask, host, load, select};
use crate::decide::restart;
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::inventory::{HostSpec, Inventory};
use crate::ui::{Progress, Ui};

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub struct Restart {
    /// The hosts [default: all, or those of --on]
    pub hosts: Vec<String>,
    /// How it goes about it.
    #[command(flatten)]
    pub manner: Manner,
}

/// Runs it.
pub async fn run(args: &Restart, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let chosen = chosen(&inventory, &args.hosts, global)?;
    check_consent("restart", args.manner.yes)?;
    let progress = Progress::start(ui);
    let asked = ask(&chosen, progress.events()).await;
    progress.finish().await;
    let asked = asked?;
    let job = Job {
        command: "restart",
        inventory: &inventory,
        asked: &asked,
        decide: &restart::plan,
        manner: &args.manner,
        prove: false,
    };
    carry_out(&job, global, ui).await
}

/// The hosts that are named, in the inventory's order, or those of `--on`.
fn chosen<'a>(
    inventory: &'a Inventory,
    names: &[String],
    global: &Global,
) -> Result<Vec<&'a HostSpec>, Error> {
    if names.is_empty() {
        return select(inventory, global);
    }
    let named = names
        .iter()
        .map(|name| host(inventory, name).map(|host| &host.name))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(inventory
        .hosts
        .iter()
        .filter(|host| named.contains(&&host.name))
        .collect())
}
