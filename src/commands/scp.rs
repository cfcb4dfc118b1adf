//! `scp`: files to, from and between hosts, with the inventory's keys, jump hosts and ports.

use std::io::Write;
use std::process::Command;

use clap::Args;

use super::load;
use super::ssh_config::{Sharing, fragment};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::inventory::{HostSpec, Inventory};

/// Arguments of `scp`.
#[derive(Debug, Args)]
pub struct Scp {
    /// Folders as well, with what is in them
    #[arg(short, long)]
    pub recursive: bool,
    /// Without a progress meter
    #[arg(short, long)]
    pub quiet: bool,
    /// What is copied, and where to: paths here, or HOST:PATH. Two different hosts meet on this machine
    #[arg(required = true, num_args = 2.., value_names = ["FROM", "TO"])]
    pub paths: Vec<String>,
}

/// Runs it. The exit status is that of scp.
pub fn run(args: &Scp, global: &Global) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let hosts: Vec<Option<&HostSpec>> = args
        .paths
        .iter()
        .map(|path| host_of(&inventory, path))
        .collect::<Result<_, _>>()?;
    let mut named: Vec<&HostSpec> = hosts.iter().flatten().copied().collect();
    if named.is_empty() {
        return Err(
            Error::usage("neither of these paths is on a host").hint("write one as HOST:PATH")
        );
    }
    named.sort_by_key(|host| &host.name);
    named.dedup_by_key(|host| &host.name);
    let failed = |error: std::io::Error| Error::failed("cannot run scp").because(error);
    let mut config = tempfile::Builder::new()
        .prefix("docker-cluster-ssh")
        .tempfile()
        .map_err(failed)?;
    config
        .write_all(fragment(&inventory, &named, Sharing::Found)?.as_bytes())
        .map_err(failed)?;
    let mut scp = Command::new("scp");
    // Between two hosts by way of this machine: they may not know each other, nor each other's keys.
    scp.arg("-3")
        .arg("-F")
        .arg(config.path())
        .arg("-S")
        .arg(crate::host::system_ssh());
    for (flag, is_set) in [("-r", args.recursive), ("-q", args.quiet)] {
        if is_set {
            scp.arg(flag);
        }
    }
    let status = scp.arg("--").args(&args.paths).status().map_err(failed)?;
    drop(config);
    match status.code() {
        Some(0) => Ok(Exit::Done),
        code => std::process::exit(code.unwrap_or(i32::from(Exit::Failed as u8))),
    }
}

/// The host that a path is on; none if it is here.
fn host_of<'a>(inventory: &'a Inventory, path: &str) -> Result<Option<&'a HostSpec>, Error> {
    name_of(path)
        .map(|name| super::host(inventory, name))
        .transpose()
}

/// The name of the host that a path is on; none if it is here. As scp itself decides: what has a colon before any slash is elsewhere.
pub(super) fn name_of(path: &str) -> Option<&str> {
    let name = match path.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").map(|(name, _)| name),
        None => path
            .split_once(':')
            .map(|(name, _)| name)
            .filter(|name| !name.contains('/') && !name.is_empty()),
    };
    // `user@HOST:PATH` is another login than the inventory's.
    name.map(|name| name.rsplit_once('@').map_or(name, |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_here_or_on_a_host() {
        let text = "hosts: [{name: a, address: x}, {name: 'fd00::2', address: 'fd00::2'}]";
        let inventory = Inventory::parse(text, "x.yaml").unwrap();
        let host = |path: &str| {
            host_of(&inventory, path).map(|host| host.map(|host| host.name.to_string()))
        };
        for (path, name) in [
            ("a:/etc/hosts", Some("a")),
            ("a:", Some("a")),
            ("ops@a:x", Some("a")),
            ("[fd00::2]:/x", Some("fd00::2")),
            ("./a:b", None),
            ("/tmp/a", None),
            ("a", None),
            (":x", None),
        ] {
            assert_eq!(host(path).unwrap().as_deref(), name, "{path}");
        }
        assert!(format!("{:?}", host("c:/x").unwrap_err()).contains("no host is called `c`"));
    }
}
