//! Parse, run, exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use docker_cluster::cli::Cli;
use docker_cluster::commands::machine::{refused_driver, refused_early};
use docker_cluster::error::{Error, Exit};
use docker_cluster::machine::{self, Machine};
use docker_cluster::ui::{ColourChoice, Ui};
use docker_cluster::{dispatch, logging};

fn main() -> ExitCode {
    let (name, arguments) = arguments();
    if arguments
        .first()
        .is_some_and(|program| machine::is_called(program))
    {
        return as_docker_machine(arguments);
    }
    let matches = Cli::command().bin_name(name).get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let ui = Ui::new(cli.global.color);
    let needs = if cli.command.is_local() {
        Needs::Nothing
    } else {
        Needs::Hosts {
            verbose: cli.global.verbose,
        }
    };
    let (result, log) = run(needs, dispatch::run(cli, ui));
    finish(result, log, ui)
}

/// Called by that name: its command line, its words, and its exit codes.
fn as_docker_machine(arguments: Vec<String>) -> ExitCode {
    let ui = Ui::new(ColourChoice::Auto);
    let arguments = machine::normalised(arguments);
    let default = std::env::var("MACHINE_DRIVER").ok();
    if let Some(driver) = machine::other_driver(&arguments, default.as_deref()) {
        refused_early(&refused_driver(&driver), ui);
    }
    let machine = match Machine::try_parse_from(arguments) {
        Ok(machine) => machine,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Failed.into()
            } else {
                Exit::Done.into()
            };
        }
    };
    let needs = if machine.verb.is_local() {
        Needs::Nothing
    } else {
        Needs::Hosts {
            verbose: u8::from(machine.debug),
        }
    };
    let is_debug = machine.debug;
    let (result, log) = run(needs, dispatch::machine(machine, ui));
    match result {
        Ok(Exit::Done) => return Exit::Done.into(),
        Ok(_) => {}
        Err(error) => ui.machine_error(&error),
    }
    // Only where it is asked for: scripts compare what docker-machine says.
    if let Some(log) = log.filter(|_| is_debug) {
        ui.note(&format!("Log: {}", log.display()));
    }
    Exit::Failed.into()
}

/// What a command needs of this program.
enum Needs {
    /// It only reads and prints: it starts no threads, no TLS and no log. Shells call `env` at every prompt.
    Nothing,
    /// It speaks with hosts.
    Hosts {
        /// How much is said on standard error.
        verbose: u8,
    },
}

/// Runs a command. Returns its end, and where its log is.
fn run(
    needs: Needs,
    task: impl Future<Output = Result<Exit, Error>>,
) -> (Result<Exit, Error>, Option<PathBuf>) {
    let (runtime, log) = match needs {
        Needs::Nothing => (tokio::runtime::Builder::new_current_thread().build(), None),
        Needs::Hosts { verbose } => {
            // Before anything speaks TLS; that a provider is there already is what is wanted.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let log = logging::start(verbose);
            (
                tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build(),
                log,
            )
        }
    };
    match runtime {
        Ok(runtime) => (runtime.block_on(task), log),
        Err(error) => (Err(Error::failed("cannot start").because(error)), None),
    }
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
