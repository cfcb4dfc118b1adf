//! What docker-machine does and this does not, each with a sentence that says what to do instead.

use crate::error::{Error, Exit};
use crate::ui::Ui;

/// Of docker-machine: nothing has been created, and nothing is left to remove.
const BEFORE_CREATION: i32 = 3;

/// A driver that makes machines.
#[must_use]
pub fn driver(name: &str) -> Error {
    Error::failed(format!(
        "the driver \"{name}\" makes machines, which this docker-machine does not: make it with your provider's tools or \
         Terraform, and name it here by `create -d generic --generic-ip-address=ADDRESS NAME`"
    ))
}

/// Ends with docker-machine's status for what is refused before creation.
pub fn refused_early(error: &Error, ui: Ui) -> ! {
    ui.machine_error(error);
    std::process::exit(BEFORE_CREATION)
}

/// `start`, `stop` and `kill`, in docker-machine's own words.
pub fn power(verb: &str, doing: &str, names: &[String], ui: Ui) -> Result<Exit, Error> {
    names
        .iter()
        .for_each(|name| ui.print(&format!("{doing} \"{name}\"...")));
    let each: Vec<String> = names
        .iter()
        .map(|_| format!("generic driver does not support {verb}"))
        .collect();
    Err(Error::failed(each.join("\n")))
}

/// `mount`.
pub fn mount() -> Result<Exit, Error> {
    Err(Error::failed(
        "`mount` is not here: `sshfs MACHINE:PATH FOLDER` does it, with what `docker-cluster -f machines.yaml ssh-config` \
         prints in your ~/.ssh/config",
    ))
}

/// `scp --delta`.
pub fn delta() -> Error {
    Error::failed(
        "`scp --delta` is not here: `rsync` does it, with what `docker-cluster -f machines.yaml ssh-config` prints in your \
         ~/.ssh/config",
    )
}

/// `upgrade`. An engine that is there is never replaced.
pub fn upgrade(names: &[String]) -> Result<Exit, Error> {
    let name = names.first().map_or("NAME", String::as_str);
    Err(Error::failed(format!(
        "an engine that is there is not replaced: upgrade its package by the host's own means, such as \
         `docker-machine ssh {name} sudo apt-get install --only-upgrade docker.io`, and `docker-machine provision {name}` after it"
    )))
}

/// `--swarm`, in docker-machine's words for a machine that is no master: none is, here.
pub fn no_master(name: &str) -> Error {
    Error::failed(format!(
        "\"{name}\" is not a swarm master. The --swarm flag is intended for use with swarm masters"
    ))
}
