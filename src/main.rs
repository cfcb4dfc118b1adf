//! Parse, run, exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use docker_cluster::cli::Cli;
use docker_cluster::error::{Error, Exit};
use docker_cluster::ui::Ui;
use docker_cluster::{dispatch, logging};

fn main() -> ExitCode {
    let (name, arguments) = arguments();
    let matches = Cli::command().bin_name(name).get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let ui = Ui::new(cli.global.color);
    // What only reads and prints starts no threads, no TLS and no log: shells call `env` at every prompt.
    if cli.command.is_local() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        return match runtime.map(|runtime| runtime.block_on(dispatch::run(cli, ui))) {
            Ok(result) => finish(result, None, ui),
            Err(error) => no_runtime(&error, ui),
        };
    }
    // Before anything speaks TLS; that a provider is there already is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let log = logging::start(cli.global.verbose);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => finish(runtime.block_on(dispatch::run(cli, ui)), log, ui),
        Err(error) => no_runtime(&error, ui),
    }
}

fn no_runtime(error: &std::io::Error, ui: Ui) -> ExitCode {
    ui.error(&Error::failed("cannot start").because(error));
    Exit::Failed.into()
}

/// Says how it ended, and where the log is if that may help.
fn finish(result: Result<Exit, Error>, log: Option<PathBuf>, ui: Ui) -> ExitCode {
    let (exit, logged) = match result {
        Ok(exit) => (exit, matches!(exit, Exit::Failed | Exit::Broken)),
        Err(error) => {
            ui.error(&error);
            (error.exit(), error.exit() == Exit::Failed)
        }
    };
    if let Some(log) = log.filter(|_| logged) {
        ui.note(&format!("Log: {}", log.display()));
    }
    exit.into()
}

/// Docker's client calls a plugin with the plugin's own name as the first argument: `docker cluster up` arrives as
/// `docker-cluster cluster up`.
///
/// Returns what the person typed as the program's name as well, for usage and help.
fn arguments() -> (&'static str, Vec<String>) {
    let mut arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "cluster") {
        arguments.remove(1);
        return ("docker cluster", arguments);
    }
    ("docker-cluster", arguments)
}
