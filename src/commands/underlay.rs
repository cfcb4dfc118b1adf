//! `underlay`: what lies under the fabric, where that is docker-cluster's own.

use clap::{Args, Subcommand};

use super::carry_out::{Manner, check_consent};
use super::store::job;
use super::{ask_all, load};
use crate::decide::underlay::plan_rotation;
use crate::error::{Error, Exit};
use crate::facts::Scope;
use crate::global::Global;
use crate::ui::Ui;

/// Arguments of `underlay`.
#[derive(Debug, Args)]
pub struct UnderlayArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: UnderlayCommand,
}

/// What to do with the underlay.
#[derive(Debug, Subcommand)]
pub enum UnderlayCommand {
    /// Give every host of the mesh of WireGuard a new key, one after the other, while traffic goes on
    RotateKeys {
        /// How it goes about it.
        #[command(flatten)]
        manner: Manner,
    },
}

/// Runs it.
pub async fn run(args: &UnderlayArgs, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let UnderlayCommand::RotateKeys { manner } = &args.command;
    check_consent("underlay rotate-keys", manner.yes)?;
    let asked = ask_all(&inventory, Scope::Usual, ui).await?;
    job(
        "underlay rotate-keys",
        &inventory,
        &asked,
        &plan_rotation,
        manner,
        global,
        ui,
    )
    .await
}
