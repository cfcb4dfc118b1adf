//! The lab: throwaway hosts on this machine's Docker engine. Its product is an ordinary inventory, and nothing downstream knows
//! that it is a lab.
//!
//! `DOCKER_HOST` is the only thing that says which engine it uses. Everything it makes carries a label with the lab's name, so that
//! `lab down` finds it also after a crash.

mod hosts;
mod images;
mod limits;
mod lock;
mod os;
mod state;

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};
use serde::Serialize;

use crate::event::Events;
use crate::inventory::ClusterName;
use crate::words::printable;

pub use hosts::MAX_HOSTS;
pub use os::Os;

/// Label of everything that a lab makes; its value is the lab's name.
pub const LABEL: &str = "docker-cluster.lab";

/// What a lab is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name, and that of its cluster; hosts are NAME-1, NAME-2 and so on.
    pub name: ClusterName,
    /// How many hosts.
    pub hosts: usize,
    /// Their operating system.
    pub os: Os,
    /// Whether they come without an engine, and without Consul.
    pub bare: bool,
    /// Base URL of a Debian mirror, above `/debian`. Default: what this machine's apt uses.
    pub mirror: Option<String>,
    /// Where the inventory goes.
    pub inventory: PathBuf,
}

/// A lab that could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// No engine here.
    #[error("no Docker engine answers on this machine: {0}")]
    NoEngine(String),
    /// The engine refused something.
    #[error("{what}: {words}")]
    Engine {
        /// What was tried.
        what: String,
        /// Its words.
        words: String,
    },
    /// A program on this machine failed.
    #[error("`{command}` failed: {words}")]
    Program {
        /// The command.
        command: String,
        /// Its last words.
        words: String,
    },
    /// A file on this machine.
    #[error("{what}: {source}")]
    File {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The lab is there already, or something else is in the way.
    #[error("{0}")]
    InTheWay(String),
    /// Somebody else is at it.
    #[error("{0}")]
    Busy(String),
    /// Too many hosts for this machine's settings.
    #[error("{hosts} hosts share this machine's kernel, whose settings are too small for so many")]
    TooSmall {
        /// How many were wanted.
        hosts: usize,
        /// The settings, as `sysctl -w` takes them.
        command: String,
    },
    /// Hosts that do not come up.
    #[error("{host} did not come up within {seconds} s: {words}")]
    NotUp {
        /// The host.
        host: String,
        /// The limit.
        seconds: u64,
        /// The last thing seen.
        words: String,
    },
}

impl LabError {
    fn engine(what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let what = what.into();
        move |error| {
            let words = match error {
                bollard::errors::Error::DockerResponseServerError { message, .. } => message,
                bollard::errors::Error::DockerStreamError { error } => error,
                other => other.to_string(),
            };
            Self::Engine {
                what,
                words: printable(words.as_bytes()),
            }
        }
    }

    fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let words = match self {
            Self::TooSmall { command, .. } => {
                return format!(
                    "run `sudo sysctl -w {command}`, which lasts until the next boot, and this command again"
                );
            }
            Self::NoEngine(_) => {
                "start one (`systemctl start docker`), or set DOCKER_HOST; on Debian and Ubuntu `make demo` installs one"
            }
            Self::Engine { .. } => "`docker info` shows the engine that the lab uses",
            Self::Program { .. } => {
                "on Debian and Ubuntu: `apt-get install debootstrap debian-archive-keyring openssh-client`"
            }
            Self::File { .. } => "check the path and its rights",
            Self::InTheWay(_) => {
                "`docker-cluster lab ls` shows the labs, `docker-cluster lab down --name NAME` removes one"
            }
            Self::Busy(_) => "wait until it is over; a command that was killed holds nothing",
            Self::NotUp { .. } => {
                "`docker logs NAME` shows its boot; a host needs about 150 MB of memory"
            }
        };
        words.to_owned()
    }
}

/// A lab as `lab ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lab {
    /// Its name.
    pub name: String,
    /// Its hosts, in order.
    pub hosts: Vec<LabHost>,
    /// Its inventory, if it is known.
    pub inventory: Option<PathBuf>,
}

/// A host of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabHost {
    /// Its name.
    pub name: String,
    /// Its operating system.
    pub os: String,
    /// What the engine says of it.
    pub status: String,
}

/// This machine's engine, or the one that `DOCKER_HOST` names.
async fn engine() -> Result<Docker, LabError> {
    let docker =
        Docker::connect_with_defaults().map_err(|error| LabError::NoEngine(error.to_string()))?;
    docker
        .negotiate_version()
        .await
        .map_err(|error| LabError::NoEngine(error.to_string()))
}

fn by_label(value: Option<&str>) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([(
        "label",
        vec![value.map_or_else(|| LABEL.to_owned(), |value| format!("{LABEL}={value}"))],
    )])
}

/// Makes a lab.
pub async fn up(wanted: &Wanted, events: &Events) -> Result<(), LabError> {
    limits::check(wanted.hosts)?;
    let docker = engine().await?;
    let _held = lab_lock(wanted.name.as_str())?;
    if list_with(&docker)
        .await?
        .iter()
        .any(|lab| lab.name == wanted.name.as_str())
    {
        return Err(LabError::InTheWay(format!(
            "a lab called {} is there already",
            wanted.name
        )));
    }
    state::check_inventory_path(&wanted.inventory)?;
    let image = images::host(&docker, wanted, events).await?;
    let smoke = images::smoke(&docker, wanted, events).await?;
    match hosts::make(&docker, wanted, &image, &smoke, events).await {
        Ok(()) => Ok(()),
        Err(error) => {
            // Half a lab is no lab. What went wrong first is what is told.
            let _ = remove(&docker, wanted.name.as_str()).await;
            Err(error)
        }
    }
}

/// Removes a lab: hosts with their disks, network, keys, connections, and the inventory if nobody changed it. Images stay.
pub async fn down(name: &str) -> Result<usize, LabError> {
    let docker = engine().await?;
    let _held = lab_lock(name)?;
    remove(&docker, name).await
}

/// Two commands on one lab would take its pieces from each other.
fn lab_lock(name: &str) -> Result<lock::Held, LabError> {
    lock::try_hold(&format!("lab-{name}"))?.ok_or_else(|| {
        LabError::Busy(format!(
            "another command makes or removes the lab {name} at this moment"
        ))
    })
}

async fn remove(docker: &Docker, name: &str) -> Result<usize, LabError> {
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&by_label(Some(name)))
        .build();
    let found = docker
        .list_containers(Some(options))
        .await
        .map_err(LabError::engine("listing the lab's hosts"))?;
    let removals = found
        .iter()
        .filter_map(|container| container.id.clone())
        .map(|id| async move {
            let options = RemoveContainerOptionsBuilder::default()
                .force(true)
                .v(true)
                .build();
            match docker.remove_container(&id, Some(options)).await {
                Ok(())
                | Err(bollard::errors::Error::DockerResponseServerError {
                    status_code: 404, ..
                }) => Ok(()),
                Err(error) => Err(LabError::engine("removing a host of the lab")(error)),
            }
        });
    for result in futures_util::future::join_all(removals).await {
        result?;
    }
    let options = ListNetworksOptionsBuilder::default()
        .filters(&by_label(Some(name)))
        .build();
    for network in docker
        .list_networks(Some(options))
        .await
        .map_err(LabError::engine("listing the lab's network"))?
    {
        docker
            .remove_network(&network.id.unwrap_or_default())
            .await
            .map_err(LabError::engine("removing the lab's network"))?;
    }
    state::remove(name).await?;
    Ok(found.len())
}

/// The labs of this machine's engine.
pub async fn list() -> Result<Vec<Lab>, LabError> {
    list_with(&engine().await?).await
}

async fn list_with(docker: &Docker) -> Result<Vec<Lab>, LabError> {
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&by_label(None))
        .build();
    let mut labs: Vec<Lab> = Vec::new();
    for container in docker
        .list_containers(Some(options))
        .await
        .map_err(LabError::engine("listing labs"))?
    {
        let labels = container.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let host = LabHost {
            name: container
                .names
                .and_then(|names| names.into_iter().next())
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            os: label("docker-cluster.lab.os"),
            status: container.status.unwrap_or_default(),
        };
        let name = label(LABEL);
        match labs.iter_mut().find(|lab| lab.name == name) {
            Some(lab) => lab.hosts.push(host),
            None => labs.push(Lab {
                inventory: state::inventory_of(&name),
                name,
                hosts: vec![host],
            }),
        }
    }
    labs.sort_by(|a, b| a.name.cmp(&b.name));
    for lab in &mut labs {
        let number = |host: &LabHost| {
            host.name
                .rsplit('-')
                .next()
                .and_then(|n| n.parse::<usize>().ok())
        };
        lab.hosts.sort_by_key(number);
    }
    Ok(labs)
}
