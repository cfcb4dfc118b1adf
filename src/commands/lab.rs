//! `lab`: throwaway hosts on this machine's Docker engine.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::error::{Error, Exit};
use crate::global::{Global, Output};
use crate::inventory::ClusterName;
use crate::lab::{self, LabError, MAX_HOSTS, Os, Wanted};
use crate::ui::{Progress, Tone, Ui, list_width, table};

/// Arguments of `lab`.
#[derive(Debug, Args)]
pub struct LabArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What to do with labs.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Make hosts, and an inventory for them
    Up(LabUp),
    /// Remove a lab; leaves nothing of it
    Down {
        /// Name of the lab
        #[arg(long, default_value = "lab")]
        name: String,
    },
    /// List the labs
    Ls,
}

/// Arguments of `lab up`.
#[derive(Debug, Args)]
pub struct LabUp {
    /// Name of the lab and its cluster; hosts are NAME-1, NAME-2 and so on
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// How many hosts
    #[arg(long, default_value_t = 3)]
    pub hosts: usize,
    /// Their operating system
    #[arg(long, value_enum, default_value = "debian-11")]
    pub os: Os,
    /// Without an engine, and without Consul
    #[arg(long)]
    pub bare: bool,
    /// Where the inventory goes [default: NAME.yaml]
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Base URL of a Debian mirror, above `/debian` [default: what this machine's apt uses]
    #[arg(long, value_name = "URL", env = "DOCKER_CLUSTER_LAB_MIRROR")]
    pub mirror: Option<String>,
}

/// Runs it.
pub async fn run(args: &LabArgs, global: &Global, ui: Ui) -> Result<Exit, Error> {
    match &args.command {
        LabCommand::Up(args) => up(args, ui).await,
        LabCommand::Down { name } => {
            let name = parse_name(name)?;
            let count = lab::down(name.as_str()).await.map_err(wrong)?;
            ui.note(&match count {
                0 => format!("There is no lab {name}; nothing is left of it."),
                1 => format!("Removed the lab {name}: 1 host."),
                n => format!("Removed the lab {name}: {n} hosts."),
            });
            Ok(Exit::Done)
        }
        LabCommand::Ls => ls(global, ui).await,
    }
}

async fn up(args: &LabUp, ui: Ui) -> Result<Exit, Error> {
    let name = parse_name(&args.name)?;
    if !(1..=MAX_HOSTS).contains(&args.hosts) {
        return Err(Error::usage(format!("--hosts is from 1 to {MAX_HOSTS}")));
    }
    let inventory = args
        .inventory
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{name}.yaml")));
    let wanted = Wanted {
        name,
        hosts: args.hosts,
        os: args.os,
        bare: args.bare,
        mirror: args.mirror.clone(),
        inventory,
    };
    let progress = Progress::start(ui);
    let result = lab::up(&wanted, progress.events()).await;
    progress.finish().await;
    result.map_err(wrong)?;
    let file = wanted.inventory.display();
    ui.note(&format!(
        "Made {} hosts. Next: docker-cluster -f {file} up",
        wanted.hosts
    ));
    Ok(Exit::Done)
}

async fn ls(global: &Global, ui: Ui) -> Result<Exit, Error> {
    let labs = lab::list().await.map_err(wrong)?;
    match global.output {
        Output::Json => ui.json(&json!({"labs": labs})),
        Output::Text if labs.is_empty() => ui.note("There are no labs."),
        Output::Text => {
            let row = |lab: &lab::Lab, host: &lab::LabHost| {
                let tone = if host.status.starts_with("Up") {
                    Tone::Good
                } else {
                    Tone::Bad
                };
                let inventory = lab
                    .inventory
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |path| path.display().to_string());
                vec![
                    (lab.name.clone(), Tone::Plain),
                    (host.name.clone(), Tone::Plain),
                    (host.os.clone(), Tone::Plain),
                    (host.status.clone(), tone),
                    (inventory, Tone::Dim),
                ]
            };
            let rows = labs
                .iter()
                .flat_map(|lab| lab.hosts.iter().map(move |host| row(lab, host)))
                .collect();
            ui.print(&table(
                &["LAB", "HOST", "OS", "STATUS", "INVENTORY"],
                rows,
                ui.out,
                list_width(),
            ));
        }
    }
    Ok(Exit::Done)
}

fn parse_name(text: &str) -> Result<ClusterName, Error> {
    // Hosts are called NAME-1, and a host name is at most 63 characters.
    match ClusterName::parse(text) {
        Ok(name) if text.len() <= 40 && !text.contains(['.', '_']) => Ok(name),
        Ok(_) => Err(
            Error::usage(format!("`{text}` cannot be the name of a lab"))
                .hint("at most 40 letters, digits and `-`: hosts are named after it"),
        ),
        Err(error) => Err(Error::usage(error)),
    }
}

pub(super) fn wrong(error: LabError) -> Error {
    let hint = error.hint();
    Error::failed("the lab failed").because(error).hint(hint)
}
