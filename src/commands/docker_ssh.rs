//! `docker-ssh`: what the `ssh` of [`super::env`] runs. It takes ssh's own arguments, adds the inventory's settings if the
//! destination is one of its hosts, and becomes the system's ssh.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use super::load;
use crate::cli::Global;
use crate::error::{Error, Exit};
use crate::host::ssh_arguments;
use crate::inventory::{HostSpec, Inventory};

/// Says which folder of the PATH is ours, so that ssh is looked up behind it.
const FOLDER_VARIABLE: &str = "DOCKER_CLUSTER_SSH_FOLDER";

/// Options of ssh that take a value (`ssh(1)`, OpenSSH 9).
const WITH_VALUE: &str = "BbcDEeFIiJLlmOopQRSWw";

/// Runs what follows directly if the engine's socket may be written, else through sudo. The text is constant.
const WITH_SOCKET: &str = r#"if [ -w /var/run/docker.sock ]; then exec "$@"; else exec sudo -n -- "$@"; fi"#;

/// Arguments of `docker-ssh`.
#[derive(Debug, Args)]
pub struct DockerSsh {
    /// Arguments of ssh
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// Becomes ssh.
pub fn run(args: &DockerSsh, global: &Global) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let failed = |error: std::io::Error| Error::failed("cannot run ssh").because(error);
    let mut ssh = Command::new(system_ssh());
    match Destination::parse(&args.arguments).and_then(|destination| Some((destination.find(&inventory)?, destination)))
    {
        Some((host, destination)) => {
            let arguments =
                ssh_arguments(&host.ssh).map_err(|error| Error::failed("cannot prepare ssh").because(error))?;
            ssh.args(arguments).arg("-T").arg("--").arg(&host.ssh.address);
            ssh.args(destination.remote_command()?);
        }
        None => {
            ssh.args(&args.arguments);
        }
    }
    // Only returns if it fails.
    Err(failed(ssh.exec()))
}

fn system_ssh() -> PathBuf {
    let own = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| Some(folder) != own.as_ref())
        .map(|folder| folder.join("ssh"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from("/usr/bin/ssh"))
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
        Some(Self { host, user, port, command: words.cloned().collect() })
    }

    fn find<'a>(&self, inventory: &'a Inventory) -> Option<&'a HostSpec> {
        inventory.hosts.iter().find(|host| {
            let ssh = &host.ssh;
            ssh.address == self.host
                && (self.port.is_none() || self.port == ssh.port)
                && (self.user.is_none() || self.user == ssh.user)
        })
    }

    /// Docker's own command through sudo where that is needed; any other as it is.
    fn remote_command(&self) -> Result<Vec<String>, Error> {
        let line = self.command.join(" ");
        let Some(words) = shlex::split(&line).filter(|words| words.first().is_some_and(|word| word == "docker")) else {
            return Ok(self.command.clone());
        };
        let wrapped = ["sh", "-c", WITH_SOCKET, "docker-cluster"].map(str::to_owned).into_iter().chain(words);
        let wrapped: Vec<String> = wrapped.collect();
        let line = shlex::try_join(wrapped.iter().map(String::as_str))
            .map_err(|_| Error::usage("the command holds a NUL byte"))?;
        Ok(vec![line])
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
        let found = parse("-o ConnectTimeout=30 -T -l root -p 2222 -- db-1 docker system dial-stdio");
        assert_eq!((found.host.as_str(), found.user.as_deref(), found.port), ("db-1", Some("root"), Some(2222)));
        assert_eq!(found.command, ["docker", "system", "dial-stdio"]);
        let found = parse("-p2222 -vT ops@db-1 -- x");
        assert_eq!((found.host.as_str(), found.user.as_deref(), found.port), ("db-1", Some("ops"), Some(2222)));
    }

    #[test]
    fn only_dockers_command_is_wrapped() {
        assert_eq!(parse("h uptime -p").remote_command().unwrap(), ["uptime", "-p"]);
        let wrapped = parse("h docker system dial-stdio").remote_command().unwrap();
        assert!(wrapped.len() == 1 && wrapped[0].ends_with("docker-cluster docker system dial-stdio"), "{wrapped:?}");
    }
}
