//! `up`: plan, ask, apply, verify.

use clap::Args;

use super::carry_out::{Job, Manner, carry_out, check_consent};
use super::{ask_all, load, select};
use crate::decide;
use crate::error::{Error, Exit};
use crate::facts::Scope;
use crate::global::Global;
use crate::inventory::HostName;
use crate::plan::World;
use crate::ui::Ui;

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// How it goes about it.
    #[command(flatten)]
    pub manner: Manner,
    /// Go on with one manager's knowledge where a swarm has lost its quorum for good
    #[arg(long)]
    pub recover_quorum: bool,
}

/// Runs it.
pub async fn run(args: &Up, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let selected: Vec<HostName> = select(&inventory, global)?
        .iter()
        .map(|host| host.name.clone())
        .collect();
    check_consent("up", args.manner.yes)?;
    let asked = ask_all(&inventory, Scope::Usual, ui).await?;
    let decide = |world: &World<'_>| {
        let mut plan = decide::up(&world.clone().recovering(args.recover_quorum));
        plan.limit_to(&selected);
        plan
    };
    // A swarm that was just recovered is not whole yet: the next run makes it so.
    let prove = !args.recover_quorum;
    let job = Job {
        command: "up",
        inventory: &inventory,
        asked: &asked,
        decide: &decide,
        manner: &args.manner,
        prove,
    };
    carry_out(&job, global, ui).await
}
