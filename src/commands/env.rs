//! `env`: the exports that point Docker's client at a host. It needs no connection.
//!
//! Docker's client runs plain `ssh` and cannot be told of keys, jump hosts or sudo. Where the inventory has such settings for a
//! host, a folder with an `ssh` of our own goes to the front of the PATH: it hands the inventory's settings to the system's ssh
//! for the inventory's hosts, and everything else through unchanged.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use etcetera::BaseStrategy;

use super::{host, load};
use crate::cli::Global;
use crate::error::{Error, Exit};
use crate::inventory::{Become, HostSpec, Inventory};
use crate::ui::Ui;

/// Arguments of `env`.
#[derive(Debug, Args)]
pub struct Env {
    /// The host
    #[arg(required_unless_present_any = ["unset", "swarm"])]
    pub host: Option<String>,
    /// Point at a manager of the swarm
    #[arg(long, conflicts_with = "host")]
    pub swarm: bool,
    /// Print what takes the exports back
    #[arg(long, conflicts_with_all = ["host", "swarm"])]
    pub unset: bool,
}

/// Runs it.
pub fn run(args: &Env, global: &Global, ui: Ui) -> Result<Exit, Error> {
    if args.unset {
        ui.print(&format!("unset DOCKER_HOST\n{}", path_export(None)?));
        return Ok(Exit::Done);
    }
    let inventory = load(global)?;
    let host = match &args.host {
        Some(name) => host(&inventory, name)?,
        None => first_manager(&inventory),
    };
    let shim = if needs_shim(host) { Some(write_shim(global, &inventory)?) } else { None };
    let url = quote(&url(host))?;
    let eval = match &args.host {
        Some(name) => name.as_str(),
        None => "--swarm",
    };
    let path = path_export(shim.as_deref())?;
    ui.print(&format!("export DOCKER_HOST={url}\n{path}# eval \"$(docker-cluster env {eval})\"\n"));
    Ok(Exit::Done)
}

/// The manager that a new swarm begins with, and that stays one unless somebody demotes it.
fn first_manager(inventory: &Inventory) -> &HostSpec {
    let chosen = inventory.swarm.managers.choose(&inventory.hosts);
    // A checked inventory has at least one host, and so has the choice of managers.
    inventory.hosts.iter().find(|host| chosen.contains(&&host.name)).unwrap_or(&inventory.hosts[0])
}

/// Whether Docker's client would not get in with plain ssh.
fn needs_shim(host: &HostSpec) -> bool {
    let ssh = &host.ssh;
    let plain = ssh.identity.is_none() && ssh.jump.is_none() && ssh.known_hosts.is_none() && ssh.host_key.is_none();
    let root = match (ssh.become_root, ssh.user.as_deref()) {
        (Become::Sudo, _) => false,
        (_, user) => user.is_none_or(|user| user == "root"),
    };
    !(plain && root)
}

fn url(host: &HostSpec) -> String {
    let ssh = &host.ssh;
    let user = ssh.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = ssh.port.map(|port| format!(":{port}")).unwrap_or_default();
    let address = if ssh.address.contains(':') { format!("[{}]", ssh.address) } else { ssh.address.clone() };
    format!("ssh://{user}{address}{port}")
}

fn quote(text: &str) -> Result<String, Error> {
    shlex::try_quote(text).map(Into::into).map_err(|_| Error::failed("a path or address holds a NUL byte"))
}

fn shims() -> Result<PathBuf, Error> {
    let base = etcetera::choose_base_strategy()
        .map_err(|error| Error::failed("this user has no home folder").because(error))?;
    Ok(base.state_dir().unwrap_or_else(|| base.data_dir()).join("docker-cluster").join("ssh"))
}

/// Writes the folder with the `ssh` for this inventory.
fn write_shim(global: &Global, inventory: &Inventory) -> Result<PathBuf, Error> {
    let failed = |error: std::io::Error| Error::failed("cannot write the ssh for Docker's client").because(error);
    let file = std::fs::canonicalize(&global.file).map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    let folder = shims()?.join(inventory.cluster.as_str());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    let text = format!(
        "#!/bin/sh\n# Written by `docker-cluster env`: ssh with the settings of an inventory, for Docker's client.\n\
         DOCKER_CLUSTER_SSH_FOLDER={} exec {} -f {} docker-ssh -- \"$@\"\n",
        quote(&folder.display().to_string())?,
        quote(&program.display().to_string())?,
        quote(&file.display().to_string())?,
    );
    let path = folder.join("ssh");
    // Renamed into place: a client that runs right now has the old one or the new one.
    let new = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
    std::fs::write(new.path(), text).map_err(failed)?;
    std::fs::set_permissions(new.path(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    new.persist(&path).map_err(|error| failed(error.error))?;
    Ok(folder)
}

/// The PATH with this shim in front and no other; nothing if that is what it is already.
fn path_export(shim: Option<&Path>) -> Result<String, Error> {
    let all = shims()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let old: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let others = old.iter().filter(|folder| !folder.starts_with(&all)).cloned();
    let new: Vec<PathBuf> = shim.map(Path::to_path_buf).into_iter().chain(others).collect();
    if new == old {
        return Ok(String::new());
    }
    let joined =
        std::env::join_paths(new).map_err(|error| Error::failed("the PATH cannot be changed").because(error))?;
    Ok(format!("export PATH={}\n", quote(&joined.to_string_lossy())?))
}
