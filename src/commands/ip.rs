//! `ip`: the addresses of hosts, one a line.

use std::net::{IpAddr, ToSocketAddrs};

use clap::Args;

use super::ssh_config::Settings;
use super::{ask, host, load};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::inventory::{HostSpec, Inventory};
use crate::plan::World;
use crate::ui::{Progress, Ui};

/// Arguments of `ip`.
#[derive(Debug, Args)]
pub struct Ip {
    /// The hosts
    #[arg(required = true)]
    pub hosts: Vec<String>,
    /// The addresses at which the hosts reach each other, instead of those at which this machine reaches them; asks the hosts
    #[arg(long)]
    pub private: bool,
}

/// Runs it.
pub async fn run(args: &Ip, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let hosts = args
        .hosts
        .iter()
        .map(|name| host(&inventory, name))
        .collect::<Result<Vec<_>, _>>()?;
    let addresses = match args.private {
        true => private(&inventory, &hosts, ui).await?,
        false => hosts
            .iter()
            .map(|host| reached(host))
            .collect::<Result<Vec<_>, _>>()?,
    };
    for address in addresses {
        ui.print(&address.to_string());
    }
    Ok(Exit::Done)
}

/// Where this machine reaches a host: the inventory's address, which may be a name, or an alias of `~/.ssh/config`.
pub(super) fn reached(host: &HostSpec) -> Result<IpAddr, Error> {
    if let Ok(ip) = host.ssh.address.parse() {
        return Ok(ip);
    }
    let settings = Settings::ask(&host.ssh)?;
    let name = settings.one("hostname").unwrap_or(&host.ssh.address);
    if let Ok(ip) = name.parse() {
        return Ok(ip);
    }
    let failed = |why: String| {
        Error::failed(format!(
            "cannot resolve {name}, the address of {}",
            host.name
        ))
        .because(why)
        .hint("behind a jump host only that may know it; `ip --private` asks the host itself")
    };
    let mut found = (name, 0)
        .to_socket_addrs()
        .map_err(|error| failed(error.to_string()))?;
    found
        .next()
        .map(|address| address.ip())
        .ok_or_else(|| failed("it has no address".to_owned()))
}

/// Where the other hosts reach them.
async fn private(inventory: &Inventory, hosts: &[&HostSpec], ui: Ui) -> Result<Vec<IpAddr>, Error> {
    let progress = Progress::start(ui);
    let asked = ask(hosts, progress.events()).await;
    progress.finish().await;
    let asked = asked?;
    if !asked.unreached.is_empty() {
        return Err(Error::Said(Exit::Failed));
    }
    let world = World::new(inventory, &asked.facts, Vec::new());
    let of = |spec: &&HostSpec| {
        world
            .host(&spec.name)
            .map(|host| host.private)
            .ok_or_else(|| {
                match world
                    .problems
                    .iter()
                    .find(|problem| problem.host.as_ref() == Some(&spec.name))
                {
                    Some(problem) => {
                        Error::failed(format!("{}: {}", spec.name, problem.what)).hint(&problem.fix)
                    }
                    None => Error::failed(format!("{} has no private address", spec.name)),
                }
            })
    };
    hosts.iter().map(of).collect()
}
