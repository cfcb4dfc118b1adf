//! `bench`: what the network costs, as multiples of the bare underlay.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::verify::{exit, save};
use super::{ask, load, select, stop_signal};
use crate::error::{Error, Exit};
use crate::global::{Global, Output};
use crate::inventory::{HostName, HostSpec};
use crate::plan::World;
use crate::proof::Direction;
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
}

/// Runs it.
pub async fn run(args: &Bench, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
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
        .map(|host| (host.name().clone(), host.private))
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
    if let Some(file) = &args.html {
        save(file, &ui::html(&matrix)).map_err(|error| {
            Error::failed(format!("cannot write {}", file.display())).because(error)
        })?;
    }
    match global.output {
        Output::Json => ui.json(&matrix.to_json()),
        Output::Text => ui.print(&ui::bench(&matrix, ui, ui::width())),
    }
    Ok(match exit(&matrix) {
        Exit::Done if matrix.bench.iter().any(|measured| measured.ratio.is_none()) => Exit::Failed,
        exit => exit,
    })
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
