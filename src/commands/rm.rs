//! `rm`: takes a host out of its swarm.

use clap::Args;

use super::carry_out::{Job, Manner, carry_out, check_consent};
use super::{ask_all, host, load};
use crate::decide;
use crate::error::{Error, Exit};
use crate::facts::Scope;
use crate::global::{Global, Output};
use crate::plan::World;
use crate::ui::Ui;

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// The host
    pub host: String,
    /// How it goes about it.
    #[command(flatten)]
    pub manner: Manner,
}

/// Runs it.
pub async fn run(args: &Rm, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let target = host(&inventory, &args.host)?.name.clone();
    check_consent("rm", args.manner.yes)?;
    let asked = ask_all(&inventory, Scope::Usual, ui).await?;
    let decide = |world: &World<'_>| decide::rm(world, &target);
    let job = Job {
        command: "rm",
        inventory: &inventory,
        asked: &asked,
        decide: &decide,
        manner: &args.manner,
        prove: false,
    };
    let exit = carry_out(&job, global, ui).await?;
    if exit == Exit::Done && global.output == Output::Text {
        ui.note(&format!(
            "{target} is out. Remove it from {} as well, or the next `up` joins it again.",
            global.file.display()
        ));
    }
    Ok(exit)
}
