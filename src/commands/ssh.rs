//! `ssh`: a command, or a shell, on a host.

use clap::Args;

use super::{host, load};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::host::{for_a_person, ssh_arguments};
use crate::inventory::HostSpec;

/// Arguments of `ssh`.
#[derive(Debug, Args)]
pub struct Ssh {
    /// The host
    pub host: String,
    /// The command; a shell without one
    #[arg(trailing_var_arg = true)]
    pub command: Vec<String>,
}

/// Runs it. The exit status is the command's own.
pub async fn run(args: &Ssh, global: &Global) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let host = host(&inventory, &args.host)?;
    let unsent = |error| Error::usage("the command cannot be sent").because(error);
    let line = match args.command.as_slice() {
        [] => None,
        command => Some(for_a_person(command).map_err(unsent)?),
    };
    talk(host, line).await
}

/// Runs a line of the login's shell on a host, or the shell itself, and ends as it ends.
pub(super) async fn talk(host: &HostSpec, line: Option<String>) -> Result<Exit, Error> {
    let failed = |error: std::io::Error| Error::failed("cannot run ssh").because(error);
    let arguments = ssh_arguments(&host.ssh)
        .map_err(|error| Error::failed("cannot prepare ssh").because(error))?;
    let mut ssh = tokio::process::Command::new(crate::host::system_ssh());
    // A person may be asked for what a program may not: a password, the passphrase of a key. The first of two values counts.
    ssh.args(["-o", "BatchMode=no"])
        .args(arguments)
        .arg("--")
        .arg(&host.ssh.address)
        .args(line);
    let status = ssh.status().await.map_err(failed)?;
    match status.code() {
        Some(0) => Ok(Exit::Done),
        code => std::process::exit(code.unwrap_or(i32::from(Exit::Failed as u8))),
    }
}
