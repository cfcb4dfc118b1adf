//! `store`: what a key-value store needs beside `up`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tokio::sync::watch;

use super::carry_out::{Job, Manner, carry_out, check_consent};
use super::{Asked, ask_all, load};
use crate::apply::{Pace, apply};
use crate::decide::down::plan_prune;
use crate::decide::rotation;
use crate::error::{Error, Exit};
use crate::facts::Scope;
use crate::global::Global;
use crate::inventory::Inventory;
use crate::plan::{Plan, World};
use crate::secrets::Slots;
use crate::stores::consul;
use crate::ui::{Progress, Ui};

/// Arguments of `store`.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Save everything in the store to a file on this machine; it holds tokens, and only you can read it
    Backup {
        /// The file
        #[arg(value_name = "FILE")]
        snapshot: PathBuf,
    },
    /// Put everything back as it was when the file was saved
    Restore {
        /// The file
        #[arg(value_name = "FILE")]
        snapshot: PathBuf,
        /// How it goes about it.
        #[command(flatten)]
        manner: Manner,
    },
    /// Give the store a new CA and all certificates anew, or end what an interrupted run began
    RotateCa {
        /// How it goes about it.
        #[command(flatten)]
        manner: Manner,
    },
    /// Remove the endpoints of containers that are gone, which block their names
    Prune {
        /// How it goes about it.
        #[command(flatten)]
        manner: Manner,
    },
}

/// Runs it.
pub async fn run(args: &StoreArgs, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    match &args.command {
        StoreCommand::Backup { snapshot: file } => {
            let asked = ask_all(&inventory, Scope::Usual, ui).await?;
            let plan = own(&inventory, &asked, |world| consul::plan_backup(world, file))?;
            let progress = Progress::start(ui);
            // Nothing is changed: neither a lock nor consent is needed.
            let (_stop, never) = watch::channel(false);
            let outcome = apply(
                &plan,
                Slots::default(),
                &asked.hosts,
                progress.events(),
                never,
                &Pace::Free,
                None,
            )
            .await;
            progress.finish().await;
            if !outcome.is_complete() {
                return Ok(Exit::Failed);
            }
            ui.note(&format!(
                "Saved to {}. It holds tokens: keep it like a key.",
                file.display()
            ));
            Ok(Exit::Done)
        }
        StoreCommand::Restore {
            snapshot: file,
            manner,
        } => {
            check_consent("store restore", manner.yes)?;
            std::fs::metadata(file).map_err(|error| {
                Error::usage(format!("cannot read {}", file.display())).because(error)
            })?;
            let asked = ask_all(&inventory, Scope::Usual, ui).await?;
            own(&inventory, &asked, |world| {
                consul::plan_restore(world, file)
            })?;
            let decide = |world: &World<'_>| consul::plan_restore(world, file);
            job(
                "store restore",
                &inventory,
                &asked,
                &decide,
                manner,
                global,
                ui,
            )
            .await
        }
        StoreCommand::RotateCa { manner } => {
            check_consent("store rotate-ca", manner.yes)?;
            let asked = ask_all(&inventory, Scope::Usual, ui).await?;
            job(
                "store rotate-ca",
                &inventory,
                &asked,
                &rotation::plan_rotation,
                manner,
                global,
                ui,
            )
            .await
        }
        StoreCommand::Prune { manner } => {
            check_consent("store prune", manner.yes)?;
            let asked = ask_all(&inventory, Scope::Endpoints, ui).await?;
            job(
                "store prune",
                &inventory,
                &asked,
                &plan_prune,
                manner,
                global,
                ui,
            )
            .await
        }
    }
}

pub(super) async fn job(
    command: &'static str,
    inventory: &Inventory,
    asked: &Asked,
    decide: &dyn Fn(&World<'_>) -> Plan,
    manner: &Manner,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    carry_out(
        &Job {
            command,
            inventory,
            asked,
            decide,
            manner,
            prove: false,
        },
        global,
        ui,
    )
    .await
}

/// The plan, if there is a store of docker-cluster's own.
fn own(
    inventory: &Inventory,
    asked: &Asked,
    plan: impl Fn(&World<'_>) -> Plan,
) -> Result<Plan, Error> {
    let world = World::new(inventory, &asked.facts, asked.unreached.clone());
    let plan = plan(&world);
    match plan.problems.first() {
        None => Ok(plan),
        Some(problem) => Err(Error::failed(problem.what.clone()).hint(problem.fix.clone())),
    }
}
