//! `completions` and `manual`: what shells and `man` know of the commands, made from the commands themselves.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{Error, Exit};
use crate::ui::Ui;

/// The name that completions are for.
const NAME: &str = "docker-cluster";

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `manual`.
#[derive(Debug, Args)]
pub struct Manual {
    /// The folder for the pages
    pub folder: PathBuf,
}

/// Prints the completions of a shell for these commands.
pub fn run(args: &Completions, mut commands: Command, ui: Ui) -> Result<Exit, Error> {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut commands, NAME, &mut bytes);
    ui.print(&String::from_utf8_lossy(&bytes));
    Ok(Exit::Done)
}

/// Writes a manual page for each command.
pub fn manual(args: &Manual, commands: Command) -> Result<Exit, Error> {
    let failed = |error: std::io::Error| {
        Error::failed(format!("cannot write to {}", args.folder.display())).because(error)
    };
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(commands.name(NAME), &args.folder).map_err(failed)?;
    Ok(Exit::Done)
}
