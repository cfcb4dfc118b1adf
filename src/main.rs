//! Parse, run, exit code.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use docker_cluster::cli::Cli;
use docker_cluster::error::Exit;
use docker_cluster::ui::Ui;
use docker_cluster::{commands, logging};

#[tokio::main]
async fn main() -> ExitCode {
    // Before anything speaks TLS; that a provider is there already is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (name, arguments) = arguments();
    let matches = Cli::command().bin_name(name).get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let ui = Ui::new(cli.global.color);
    let log = logging::start(cli.global.verbose);
    match commands::run(cli, ui).await {
        Ok(exit) => {
            if let (Exit::Failed | Exit::Broken, Some(log)) = (exit, log) {
                ui.note(&format!("Log: {}", log.display()));
            }
            exit.into()
        }
        Err(error) => {
            ui.error(&error);
            if error.exit() == Exit::Failed
                && let Some(log) = log
            {
                ui.note(&format!("Log: {}", log.display()));
            }
            error.exit().into()
        }
    }
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
