//! Options that every command takes. The doc comments here are help texts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::ui::ColourChoice;

/// What applies to every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The inventory.
    #[arg(short, long, global = true, value_name = "FILE", env = "DOCKER_CLUSTER_FILE", default_value = crate::inventory::DEFAULT_FILE)]
    pub file: PathBuf,
    /// Only these hosts: names, globs and @tags, separated by commas, such as `a,web-*,@db`.
    #[arg(long, global = true, value_name = "HOSTS")]
    pub on: Option<String>,
    /// What results look like.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColourChoice,
    /// More on standard error: -v for information, -vv for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Where each host has a folder with the certificate that opens its engine, if it is not where `cert issue` keeps them.
    #[arg(skip)]
    pub certs: Option<PathBuf>,
}

/// What results look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs; docs/programs.md describes it.
    Json,
}

/// What a JSON Schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SchemaOf {
    /// The inventory.
    #[default]
    Inventory,
    /// What `verify` and `bench` write with `--output json`.
    Verify,
}
