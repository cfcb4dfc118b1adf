//! `verify`: prove it again, and say why a pair fails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use super::{absent, load, reach, select, stop_signal};
use crate::error::{Error, Exit};
use crate::event::Events;
use crate::global::{Global, Output};
use crate::inventory::Inventory;
use crate::proof::Matrix;
use crate::ui::{self, Progress, Ui};
use crate::verify::{Depth, Look, Reports};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Look at every layer of every pair, also of those that work
    #[arg(long)]
    pub deep: bool,
    /// Keep everything that was seen in this folder
    #[arg(long, value_name = "DIR")]
    pub evidence: Option<PathBuf>,
    /// Write a JUnit report: a test case a pair
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write one self-contained page with the matrix, the latencies and the verdicts
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Verify again after this time, such as 30s, and print only what changes
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub watch: Option<Duration>,
    /// With --watch: end with exit code 4 as soon as something is broken
    #[arg(long, requires = "watch", conflicts_with = "until_ok")]
    pub until_broken: bool,
    /// With --watch: end with exit code 0 as soon as nothing is
    #[arg(long, requires = "watch")]
    pub until_ok: bool,
}

/// The shortest interval of `--watch`: starting a container a host and asking all pairs takes some seconds, and shall not be
/// all that the hosts do.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Err(error) => Err(format!(
            "{error}; write a number with a unit, such as 30s or 5m"
        )),
        Ok(interval) if interval < MIN_INTERVAL => Err(format!(
            "at least {}, so that the hosts have other things to do",
            humantime::format_duration(MIN_INTERVAL)
        )),
        Ok(interval) => Ok(interval),
    }
}

/// Runs it.
pub async fn run(args: &Verify, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    if let Some(every) = args.watch {
        return watch(args, global, ui, &inventory, every).await;
    }
    let progress = Progress::start(ui);
    let stop = stop_signal(progress.events().clone());
    let (matrix, reports) = once(args, global, &inventory, progress.events(), stop).await?;
    progress.finish_now().await;
    write(args, &matrix, &reports)?;
    match global.output {
        Output::Json => ui.json(&matrix.to_json()),
        Output::Text => ui.print(&ui::matrix(&matrix, ui, ui::width())),
    }
    Ok(exit(&matrix))
}

pub(super) fn exit(matrix: &Matrix) -> Exit {
    match () {
        () if matrix.interrupted => Exit::Failed,
        () if matrix.ok() => Exit::Done,
        () => Exit::Broken,
    }
}

async fn once(
    args: &Verify,
    global: &Global,
    inventory: &Inventory,
    events: &Events,
    stop: watch::Receiver<bool>,
) -> Result<(Matrix, Reports), Error> {
    let selected = select(inventory, global)?;
    let (hosts, unreached) = reach(&selected, events).await?;
    let depth = if args.deep {
        Depth::Everything
    } else {
        Depth::Failures
    };
    let absent = unreached.into_iter().map(absent).collect();
    let look = Look {
        depth,
        ..Look::default()
    };
    Ok(crate::verify::verify(inventory, &hosts, &absent, &look, events, stop).await)
}

/// Verifies again and again, and says what has changed. Ends on a signal, or with the state that was waited for; the exit code is
/// that of the last look.
async fn watch(
    args: &Verify,
    global: &Global,
    ui: Ui,
    inventory: &Inventory,
    every: Duration,
) -> Result<Exit, Error> {
    // Progress of every round would be noise: nobody listens to the events.
    let (events, _) = Events::channel();
    let mut stop = stop_signal(events.clone());
    let mut rounds = tokio::time::interval(every);
    // A round that takes longer than the interval is followed by a pause all the same.
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last: Option<Matrix> = None;
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let (matrix, reports) = once(args, global, inventory, &events, stop.clone()).await?;
        if matrix.interrupted {
            break;
        }
        write(args, &matrix, &reports)?;
        let changes = last.as_ref().map(|last| matrix.changes_since(last));
        match (global.output, changes) {
            (_, Some(changes)) if changes.is_empty() => {}
            // A document a line, so that a program can read them as they come.
            (Output::Json, _) => ui.print(&format!("{}\n", ui::at_now(matrix.to_json()))),
            (Output::Text, None) => ui.print(&ui::matrix(&matrix, ui, ui::width())),
            (Output::Text, Some(changes)) => ui.print(&ui::changes(&changes, &matrix, ui)),
        }
        let (found, wanted) = (exit(&matrix), args.until_broken.then_some(Exit::Broken));
        let wanted = wanted.or(args.until_ok.then_some(Exit::Done));
        last = Some(matrix);
        if wanted == Some(found) {
            break;
        }
    }
    Ok(last.as_ref().map_or(Exit::Failed, exit))
}

/// Writes the files that were asked for.
fn write(args: &Verify, matrix: &Matrix, reports: &Reports) -> Result<(), Error> {
    if let Some(folder) = &args.evidence {
        let write = || -> std::io::Result<()> {
            save(
                &folder.join("verify.json"),
                &format!("{:#}\n", matrix.to_json()),
            )?;
            for ((host, file), text) in reports {
                save(&folder.join(host.as_str()).join(file), text)?;
            }
            Ok(())
        };
        write().map_err(|error| {
            Error::failed(format!("cannot keep the evidence in {}", folder.display()))
                .because(error)
        })?;
    }
    let files = [
        (&args.junit, ui::junit as fn(&Matrix) -> String),
        (&args.html, ui::html),
    ];
    for (file, text) in files
        .into_iter()
        .filter_map(|(file, render)| Some((file.as_ref()?, render(matrix))))
    {
        save(file, &text).map_err(|error| {
            Error::failed(format!("cannot write {}", file.display())).because(error)
        })?;
    }
    Ok(())
}

/// Writes a file as a whole or not at all, with the folders above it.
pub(super) fn save(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let file = tempfile::Builder::new()
        .permissions(readable())
        .tempfile_in(folder)?;
    std::fs::write(file.path(), text)?;
    file.persist(path)?;
    Ok(())
}

/// Reports are to be read by others: a temporary file is its owner's only.
fn readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o644)
}
