//! `rm`: forgets machines. As with docker-machine's driver `generic`, nothing is done on the hosts.

use std::io::{BufRead, Write};

use clap::Args;

use super::Machines;
use crate::error::{Error, Exit};
use crate::ui::Ui;

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// The machines
    pub names: Vec<String>,
    /// Do not ask, and go on after what fails
    #[arg(short, long)]
    pub force: bool,
    /// Do not ask
    #[arg(short)]
    pub yes: bool,
}

/// Runs it.
pub fn run(args: &Rm, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    if args.names.is_empty() {
        return Err(Error::failed(
            "Error: Expected to get one or more machine names as arguments",
        ));
    }
    ui.print(&format!("About to remove {}", args.names.join(", ")));
    ui.note(
        "The machines are forgotten here. Nothing is done on the hosts: what `create` has put there stays, and \
         `docker-cluster -f FILE down` with the machine's file, before it is forgotten, takes it away.",
    );
    if !args.yes && !args.force && !is_sure("Are you sure?")? {
        return Ok(Exit::Done);
    }
    let mut wrong = Vec::new();
    for name in &args.names {
        match machines
            .named(std::slice::from_ref(name))
            .and_then(|_| machines.remove(name))
        {
            Ok(()) => ui.print(&format!("Successfully removed {name}")),
            Err(error) => wrong.push(format!("Error removing host \"{name}\": {}", words(&error))),
        }
    }
    match (wrong.is_empty(), args.force) {
        (true, _) => Ok(Exit::Done),
        (false, true) => {
            ui.note(&wrong.join("\n"));
            Ok(Exit::Done)
        }
        (false, false) => Err(Error::failed(wrong.join("\n"))),
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::Message {
            what,
            cause: Some(cause),
            ..
        } => format!("{what}: {cause}"),
        Error::Message { what, .. } => what.clone(),
        Error::Inventory(_) | Error::Said(_) => "its file is not in order".to_owned(),
    }
}

/// Asks as docker-machine does, which scripts answer by `echo y |`. What is no clear yes is a no.
pub(super) fn is_sure(question: &str) -> Result<bool, Error> {
    let failed = |error: std::io::Error| Error::failed("cannot ask").because(error);
    let mut out = std::io::stdout().lock();
    write!(out, "{question} (y/n): ")
        .and_then(|()| out.flush())
        .map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(failed)?;
    Ok(answer.trim().to_ascii_lowercase().starts_with('y'))
}
