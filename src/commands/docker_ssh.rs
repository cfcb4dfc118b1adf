//! `docker-ssh`: what the `ssh` of [`super::env`] runs. It takes ssh's own arguments, adds the inventory's settings if the
//! destination is one of its hosts, and becomes the system's ssh, or, for Docker's own command, stands beside it: over that stream the
//! engine speaks HTTP, and what a login prints before it begins is not let through.

use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use super::beside::beside;
use super::load;
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::host::{Spoken, Terminal, ssh_arguments};
use crate::inventory::{HostSpec, Inventory};
use crate::ui::Ui;

/// Options of ssh that take a value (`ssh(1)`, OpenSSH 9).
const WITH_VALUE: &str = "BbcDEeFIiJLlmOopQRSWw";

/// Arguments of `docker-ssh`.
#[derive(Debug, Args)]
pub struct DockerSsh {
    /// Arguments of ssh
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// Becomes ssh, or runs it.
pub fn run(args: &DockerSsh, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let mut ssh = Command::new(crate::host::system_ssh());
    let destination = Destination::parse(&args.arguments);
    let inventory = match load(global) {
        Ok(inventory) => Some(inventory),
        // Every ssh of a shell comes by here: a slip in an inventory must not cost the way to other hosts.
        Err(error) => {
            ui.error(&error);
            ui.note("Going on with plain ssh; `eval \"$(docker-cluster env --unset)\"` takes this ssh away.");
            None
        }
    };
    let found = inventory.as_ref().zip(destination.as_ref());
    let Some((host, destination)) = found.and_then(|(all, to)| Some((to.find(all)?, to))) else {
        return Err(replaced(ssh.args(&args.arguments)));
    };
    let arguments = ssh_arguments(&host.ssh)
        .map_err(|error| Error::failed("cannot prepare ssh").because(error))?;
    let Some(words) = destination.dockers_words() else {
        // What a person, rsync or git wants of ssh is theirs: every word stays, and what the inventory's settings would take from them
        // (questions, forwards, their own way around) is given back. Of two settings ssh takes the first, of two jumps none.
        ssh.args(["-o", "BatchMode=no", "-o", "ClearAllForwardings=no"]);
        let jumps = destination
            .options(&args.arguments)
            .any(|word| word.starts_with("-J"));
        let jump = arguments
            .iter()
            .position(|word| word == "-J")
            .filter(|_| jumps);
        ssh.args(
            arguments
                .iter()
                .enumerate()
                .filter(|(at, _)| jump.is_none_or(|jump| *at != jump && *at != jump + 1))
                .map(|(_, word)| word),
        );
        return Err(replaced(ssh.args(&args.arguments)));
    };
    ssh.args(arguments);
    ssh.arg("-T").arg("--").arg(&host.ssh.address);
    let spoken = Spoken::docker(&words, &host.ssh, Terminal::No)
        .map_err(|error| Error::usage("the command cannot be sent").because(error))?;
    beside(ssh.arg(spoken.line()), &spoken, "no way to the engine")
}

/// Becomes that program; only returns if it fails.
fn replaced(program: &mut Command) -> Error {
    Error::failed("cannot run ssh").because(program.exec())
}

/// Where an ssh command line goes.
#[derive(Debug, PartialEq, Eq)]
struct Destination {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    command: Vec<String>,
}

impl Destination {
    fn parse(arguments: &[String]) -> Option<Self> {
        let (mut user, mut port, mut host) = (None, None, None);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix('-').filter(|_| word != "--") {
                None if word == "--" => host = words.next().cloned(),
                None => host = Some(word.clone()),
                Some(letters) => {
                    let option = letters.chars().find(|letter| WITH_VALUE.contains(*letter));
                    let Some(option) = option else { continue };
                    let value = match letters.split_once(option) {
                        Some((_, attached)) if !attached.is_empty() => attached.to_owned(),
                        _ => words.next()?.clone(),
                    };
                    match option {
                        'l' => user = Some(value),
                        'p' => port = value.parse().ok(),
                        _ => {}
                    }
                }
            }
            if host.is_some() {
                break;
            }
        }
        let mut host = host?;
        if let Some((name, rest)) = host.clone().split_once('@') {
            user.get_or_insert(name.to_owned());
            host = rest.to_owned();
        }
        Some(Self {
            host,
            user,
            port,
            command: words.cloned().collect(),
        })
    }

    /// The words before the destination.
    fn options<'a>(&'a self, arguments: &'a [String]) -> impl Iterator<Item = &'a String> {
        let ends = format!("@{}", self.host);
        arguments
            .iter()
            .take_while(move |word| **word != self.host && !word.ends_with(&ends))
    }

    fn find<'a>(&self, inventory: &'a Inventory) -> Option<&'a HostSpec> {
        inventory.hosts.iter().find(|host| {
            let ssh = &host.ssh;
            ssh.address == self.host
                && (self.port.is_none() || self.port == ssh.port)
                && (self.user.is_none() || self.user == ssh.user)
        })
    }

    /// The words of Docker's own command, `docker [--host X] system dial-stdio`; nothing if it is another one. A command of a person may
    /// begin like it, and is for their shell on the host.
    fn dockers_words(&self) -> Option<Vec<String>> {
        let words = shlex::split(&self.command.join(" "))?;
        let rest: &[String] = match words.as_slice() {
            [docker, option, _, rest @ ..]
                if docker == "docker" && (option == "-H" || option == "--host") =>
            {
                rest
            }
            [docker, option, rest @ ..]
                if docker == "docker"
                    && (option.starts_with("--host=") || option.starts_with("-H")) =>
            {
                rest
            }
            [docker, rest @ ..] if docker == "docker" => rest,
            _ => return None,
        };
        let is_dial = rest.len() == 2 && rest[0] == "system" && rest[1] == "dial-stdio";
        is_dial.then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Destination {
        Destination::parse(&shlex::split(line).unwrap()).unwrap()
    }

    #[test]
    fn command_lines_of_dockers_client() {
        let found =
            parse("-o ConnectTimeout=30 -T -l root -p 2222 -- db-1 docker system dial-stdio");
        assert_eq!(
            (found.host.as_str(), found.user.as_deref(), found.port),
            ("db-1", Some("root"), Some(2222))
        );
        assert_eq!(found.command, ["docker", "system", "dial-stdio"]);
        let found = parse("-p2222 -vT ops@db-1 -- x");
        assert_eq!(
            (found.host.as_str(), found.user.as_deref(), found.port),
            ("db-1", Some("ops"), Some(2222))
        );
    }

    #[test]
    fn only_dockers_command_is_framed() {
        assert_eq!(parse("h uptime -p").dockers_words(), None);
        assert_eq!(
            parse("h docker system dial-stdio").dockers_words().unwrap(),
            ["docker", "system", "dial-stdio"]
        );
        assert_eq!(
            parse("h 'docker system dial-stdio'")
                .dockers_words()
                .unwrap()
                .len(),
            3
        );
        for mine in [
            "h 'docker --host unix:///run/user/1/docker.sock system dial-stdio'",
            "h docker -H x system dial-stdio",
        ] {
            assert!(parse(mine).dockers_words().is_some(), "{mine}");
        }
        for theirs in [
            "h 'docker rm -f old && docker start app'",
            "h docker ps",
            "h 'docker system dial-stdio; id'",
            "h 'docker system dial-stdio > /tmp/x'",
            "h docker --host x ps",
        ] {
            assert_eq!(parse(theirs).dockers_words(), None, "{theirs}");
        }
    }
}
