//! `down`: takes the cluster off its hosts.

use clap::Args;

use super::carry_out::{Job, Manner, carry_out, check_consent};
use super::{ask_for, load, plan};
use crate::decide::down::{self, Packages};
use crate::error::{Error, Exit};
use crate::facts::Scope;
use crate::global::Global;
use crate::inventory::HostSpec;
use crate::plan::World;
use crate::ui::{Progress, Ui};

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct Down {
    /// Remove the packages as well that `up` installed; volumes, images and containers stay
    #[arg(long)]
    pub purge: bool,
    /// Remove the data of an engine as well that `up` installed: its volumes, images and containers, for good
    #[arg(long, requires = "purge")]
    pub purge_data: bool,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// How it goes about it.
    #[command(flatten)]
    pub manner: Manner,
}

/// Runs it.
pub async fn run(args: &Down, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    if global.on.is_some() {
        return Err(Error::usage("`down` takes all hosts of the inventory along")
            .hint("a single host leaves by `rm HOST`, or by being taken out of the inventory before `up`"));
    }
    if !args.plan {
        check_consent("down", args.manner.yes)?;
    }
    let progress = Progress::start(ui);
    let all: Vec<&HostSpec> = inventory.hosts.iter().collect();
    // What would be lost must be known, and how much of it where packages go.
    let scope = if args.purge {
        Scope::Data
    } else {
        Scope::Removal
    };
    let asked = ask_for(&all, scope, progress.events()).await;
    progress.finish().await;
    let asked = asked?;
    let packages = match (args.purge, args.purge_data) {
        (_, true) => Packages::PurgeData,
        (true, false) => Packages::Purge,
        (false, false) => Packages::Keep,
    };
    let decide = |world: &World<'_>| down::plan(world, packages);
    if args.plan {
        let plan = decide(&World::new(
            &inventory,
            &asked.facts,
            asked.unreached.clone(),
        ));
        plan::show(&plan, global, ui);
        return Ok(if plan.problems.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        });
    }
    let job = Job {
        command: "down",
        inventory: &inventory,
        asked: &asked,
        decide: &decide,
        manner: &args.manner,
        prove: false,
    };
    carry_out(&job, global, ui).await
}
