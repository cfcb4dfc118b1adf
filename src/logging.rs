//! Logs: on standard error as much as `-v` asks for, and everything in a file per run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use etcetera::BaseStrategy;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// How many log files are kept: enough to look back over a day of work.
const KEPT: usize = 20;

/// Starts logging. Returns the log file, if one could be made.
#[must_use]
pub fn start(verbose: u8) -> Option<PathBuf> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::TRACE,
    };
    let ours = |level: LevelFilter| EnvFilter::new(format!("off,docker_cluster={level}"));
    let screen = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter(ours(level));
    let file = open();
    let layer = file
        .as_ref()
        .map(|(_, file)| file.try_clone())
        .and_then(Result::ok)
        .map(|file| {
            fmt::layer()
                .with_ansi(false)
                .with_writer(Mutex::new(file))
                .with_filter(ours(LevelFilter::TRACE))
        });
    tracing_subscriber::registry()
        .with(screen)
        .with(layer)
        .init();
    file.map(|(path, _)| path)
}

fn open() -> Option<(PathBuf, File)> {
    let base = etcetera::choose_base_strategy().ok()?;
    let folder = base
        .state_dir()
        .unwrap_or_else(|| base.cache_dir())
        .join("docker-cluster")
        .join("log");
    std::fs::create_dir_all(&folder).ok()?;
    prune(&folder);
    let path = folder.join(format!(
        "{}-{}.log",
        time::OffsetDateTime::now_utc().unix_timestamp(),
        std::process::id()
    ));
    let file = File::create(&path).ok()?;
    Some((path, file))
}

fn prune(folder: &Path) {
    let mut logs: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    // Names begin with the time, so their order is that of the runs.
    logs.sort();
    for old in logs.iter().rev().skip(KEPT - 1) {
        let _ = std::fs::remove_file(old);
    }
}
