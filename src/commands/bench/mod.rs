//! `bench`: what the network costs, as multiples of the bare underlay.

mod every_fabric;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::verify::{exit, save};
use super::{ask, load, select, stop_signal};
use crate::error::{Error, Exit};
use crate::fabrics;
use crate::global::{Global, Output};
use crate::inventory::{HostName, HostSpec, Inventory};
use crate::plan::World;
use crate::proof::{Asked, Direction};
use crate::ui::{self, Progress, Ui};
use crate::verify::{Look, PAIR_TIME, verify};

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// Only these directions, as FROM:TO; all pairs if none is named
    #[arg(value_name = "FROM:TO")]
    pub pairs: Vec<String>,
    /// Write one self-contained page with the figures beside the matrix
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Measure every fabric in turn, on throwaway hosts of this machine; the inventory is not looked at
    #[arg(long, conflicts_with = "pairs")]
    pub fabrics: bool,
    /// With --fabrics: only these, such as `routed,vxlan`
    #[arg(
        long,
        value_name = "FABRIC",
        value_delimiter = ',',
        requires = "fabrics"
    )]
    pub only: Vec<String>,
    /// With --fabrics: write a page in Markdown
    #[arg(long, value_name = "FILE", requires = "fabrics")]
    pub markdown: Option<PathBuf>,
}

/// Runs it.
pub async fn run(args: &Bench, global: &Global, ui: Ui) -> Result<Exit, Error> {
    if args.fabrics {
        return every_fabric::run(args, global, ui).await;
    }
    let inventory = load(global)?;
    if !can_be_measured(&inventory) {
        let fabric = inventory.network.fabric;
        return Err(Error::usage(format!(
            "with the fabric `{fabric}` containers have no network of their own that could be measured"
        ))
        .hint("what goes through a published port costs what the hosts' own network costs, and the engine's forwarding"));
    }
    let selected = select(&inventory, global)?;
    let measure = directions(&args.pairs, &selected)?;
    let time = PAIR_TIME * u32::try_from(measure.len()).unwrap_or(u32::MAX);
    ui.note(&format!(
        "{} directions, one after the other: about {}. Each fills the wire for some seconds.",
        measure.len(),
        humantime::format_duration(Duration::from_secs(time.as_secs()))
    ));
    let progress = Progress::start(ui);
    let asked = ask(&selected, progress.events()).await?;
    let stop = stop_signal(progress.events().clone());
    let world = World::new(&inventory, &asked.facts, asked.unreached.clone());
    let underlay = world
        .hosts
        .iter()
        .map(|host| (host.name().clone(), host.outer))
        .collect();
    let look = Look {
        measure,
        underlay,
        ..Look::default()
    };
    let absent = asked.absent();
    let (matrix, _) = verify(
        &inventory,
        &asked.hosts,
        &absent,
        &look,
        progress.events(),
        stop,
    )
    .await;
    progress.finish_now().await;
    write(args.html.as_deref(), || ui::html(&matrix))?;
    match global.output {
        Output::Json => ui.json(&matrix.to_json()),
        Output::Text => ui.print(&ui::bench(&matrix, ui, ui::width())),
    }
    Ok(match exit(&matrix) {
        Exit::Done if matrix.bench.iter().any(|measured| measured.ratio.is_none()) => Exit::Failed,
        exit => exit,
    })
}

/// Whether containers reach each other's own addresses.
fn can_be_measured(inventory: &Inventory) -> bool {
    fabrics::probes(inventory).asked != Asked::ByPublishedPort
}

/// Writes a page, if it is wanted.
fn write(file: Option<&Path>, page: impl FnOnce() -> String) -> Result<(), Error> {
    let Some(file) = file else { return Ok(()) };
    save(file, &page())
        .map_err(|error| Error::failed(format!("cannot write {}", file.display())).because(error))
}

fn directions(pairs: &[String], selected: &[&HostSpec]) -> Result<Vec<Direction>, Error> {
    let names: Vec<&HostName> = selected.iter().map(|spec| &spec.name).collect();
    if pairs.is_empty() {
        let all = names
            .iter()
            .flat_map(|from| names.iter().map(move |to| (*from, *to)));
        return Ok(all
            .filter(|(from, to)| from != to)
            .map(|(from, to)| Direction {
                from: from.clone(),
                to: to.clone(),
            })
            .collect());
    }
    pairs
        .iter()
        .map(|pair| {
            let known = |name: &str| {
                names
                    .iter()
                    .find(|known| known.as_str() == name)
                    .map(|name| (*name).clone())
            };
            let found = pair
                .split_once(':')
                .and_then(|(from, to)| Some((known(from)?, known(to)?)));
            match found {
                Some((from, to)) if from != to => Ok(Direction { from, to }),
                _ => {
                    let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                    Err(
                        Error::usage(format!("`{pair}` is not a direction between two hosts"))
                            .hint(format!("write FROM:TO, with two of {}", known.join(", "))),
                    )
                }
            }
        })
        .collect()
}
