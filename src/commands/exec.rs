//! `exec`: a command in a container, wherever it runs.

use std::io::IsTerminal;

use clap::Args;

use super::beside::{Input, speak};
use super::containers::find;
use super::load;
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::host::{Spoken, Terminal};
use crate::ui::Ui;

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Hand on what is typed
    #[arg(short, long)]
    pub interactive: bool,
    /// With a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// As this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// In this folder
    #[arg(short, long, value_name = "FOLDER")]
    pub workdir: Option<String>,
    /// With this variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Name or id of the container
    pub container: String,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Runs it. The exit status is the command's own.
pub async fn run(args: &Exec, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    if args.tty && !std::io::stdin().is_terminal() {
        return Err(Error::usage("there is no terminal here to hand on").hint("leave -t out"));
    }
    let (host, container) = find(&inventory, &args.container, global, ui).await?;
    let mut argv = vec!["docker".to_owned(), "exec".to_owned()];
    for (flag, is_set) in [("--interactive", args.interactive), ("--tty", args.tty)] {
        if is_set {
            argv.push(flag.to_owned());
        }
    }
    let options = [("--user", &args.user), ("--workdir", &args.workdir)];
    let options = options
        .into_iter()
        .filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
    for (flag, value) in options.chain(args.env.iter().map(|value| ("--env", value))) {
        argv.extend([flag.to_owned(), value.clone()]);
    }
    argv.push(container.field("ID").to_owned());
    argv.extend(args.command.iter().cloned());
    let terminal = if args.tty {
        Terminal::Yes
    } else {
        Terminal::No
    };
    let input = if args.interactive {
        Input::Passed
    } else {
        Input::None
    };
    let spoken = Spoken::docker(&argv, &host.ssh, terminal)
        .map_err(|error| Error::usage("the command cannot be sent").because(error))?;
    speak(&host.ssh, &spoken, terminal, input)
}
