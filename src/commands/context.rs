//! `context`: a context of Docker's client for each host, named CLUSTER-HOST, so that `docker --context NAME` and its completions know
//! them.
//!
//! They are written as Docker's client writes them (`~/.docker/contexts/meta/SHA-256 of the name/meta.json`), which is the same since
//! 19.03 and needs no client here. Each says in its metadata whose it is: one that somebody else has made is never touched.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cert::kept;
use super::endpoint::Endpoint;
use super::{host, load, private, select};
use crate::error::{Error, Exit};
use crate::global::{Global, Output};
use crate::inventory::{Become, ClusterName, HostName, HostSpec, Inventory};
use crate::ui::{Tone, Ui, list_width, table};

/// Under which key of a context's metadata it says whose it is.
const OURS: &str = "docker-cluster";

/// Arguments of `context`.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ContextCommand,
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Make a context of Docker's client for each host, or bring it up to date
    Create {
        /// The hosts [default: all, or those of --on]
        hosts: Vec<String>,
    },
    /// Remove the contexts of this cluster that `context create` has made
    Rm {
        /// The hosts [default: all, also those that are not in the inventory any more]
        hosts: Vec<String>,
    },
    /// List the contexts of this cluster
    Ls,
}

/// Runs it.
pub fn run(args: &ContextArgs, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let store = Store::open()?;
    match &args.command {
        ContextCommand::Create { hosts } => {
            let hosts = named(&inventory, hosts, global)?;
            create(&store, &inventory, &hosts, global, ui)
        }
        ContextCommand::Rm { hosts } => remove(&store, &inventory, hosts, global, ui),
        ContextCommand::Ls => {
            list(&store, &inventory, global, ui)?;
            Ok(Exit::Done)
        }
    }
}

fn named<'a>(
    inventory: &'a Inventory,
    names: &[String],
    global: &Global,
) -> Result<Vec<&'a HostSpec>, Error> {
    if names.is_empty() {
        select(inventory, global)
    } else {
        names.iter().map(|name| host(inventory, name)).collect()
    }
}

fn create(
    store: &Store,
    inventory: &Inventory,
    hosts: &[&HostSpec],
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    // All or none: a name that somebody else has is found before anything is written.
    for host in hosts {
        let name = context_name(&inventory.cluster, &host.name);
        if store
            .read(&name)?
            .is_some_and(|context| context.host_of(&inventory.cluster).is_none())
        {
            return Err(Error::failed(format!(
                "there is a context {name} that is not of this cluster"
            ))
            .hint(format!(
                "`docker context rm {name}` removes it, if it is yours"
            )));
        }
    }
    let endpoints = hosts
        .iter()
        .map(|host| Endpoint::open(inventory, host, global))
        .collect::<Result<Vec<_>, _>>()?;
    for (host, endpoint) in hosts.iter().zip(&endpoints) {
        let name = context_name(&inventory.cluster, &host.name);
        store.write(&name, &inventory.cluster, &host.name, endpoint)?;
        ui.print(&name);
    }
    let hosts: Vec<&&HostSpec> = hosts.iter().filter(|host| host.api.is_none()).collect();
    let need_settings = |host: &&&HostSpec| {
        let ssh = &host.ssh;
        ssh.identity.is_some()
            || ssh.jump.is_some()
            || ssh.known_hosts.is_some()
            || ssh.host_key.is_some()
    };
    if hosts.iter().any(need_settings) {
        ui.note(
            "Docker's client takes keys, jump hosts and known hosts from your ssh configuration: \
             `docker-cluster ssh-config` prints what belongs there.",
        );
    }
    let sudo: Vec<&str> = hosts
        .iter()
        .filter(|host| host.ssh.become_root == Become::Sudo)
        .map(|host| host.name.as_str())
        .collect();
    if !sudo.is_empty() {
        ui.note(&format!(
            "The login on {} needs sudo, which Docker's client knows nothing of: use `docker-cluster env` there.",
            sudo.join(", ")
        ));
    }
    Ok(Exit::Done)
}

fn remove(
    store: &Store,
    inventory: &Inventory,
    hosts: &[String],
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    let wanted: Option<Vec<HostName>> = match hosts.is_empty() && global.on.is_none() {
        true => None,
        false => Some(
            named(inventory, hosts, global)?
                .into_iter()
                .map(|host| host.name.clone())
                .collect(),
        ),
    };
    let ours = store.of_cluster(&inventory.cluster)?;
    let chosen: Vec<&Context> = ours
        .iter()
        .filter(
            |context| match (&wanted, context.host_of(&inventory.cluster)) {
                (Some(wanted), Some(host)) => wanted.iter().any(|name| name.as_str() == host),
                _ => true,
            },
        )
        .collect();
    let current = store.current();
    if let Some(used) = chosen
        .iter()
        .find(|context| Some(&context.name) == current.as_ref())
    {
        return Err(Error::failed(format!(
            "{} is the context that Docker's client uses",
            used.name
        ))
        .hint("`docker context use default` first"));
    }
    for context in &chosen {
        store.remove(&context.name)?;
        ui.print(&context.name);
    }
    if chosen.is_empty() {
        ui.note("There are none.");
    }
    Ok(Exit::Done)
}

fn list(store: &Store, inventory: &Inventory, global: &Global, ui: Ui) -> Result<(), Error> {
    let current = store.current();
    let contexts = store.of_cluster(&inventory.cluster)?;
    let is_current = |context: &Context| Some(&context.name) == current.as_ref();
    match global.output {
        Output::Json => {
            let each = contexts.iter().map(|context| {
                json!({
                    "name": context.name,
                    "host": context.host_of(&inventory.cluster),
                    "endpoint": context.endpoint(),
                    "current": is_current(context),
                })
            });
            ui.json(&json!({"cluster": inventory.cluster, "contexts": each.collect::<Vec<_>>()}));
        }
        Output::Text if contexts.is_empty() => {
            ui.note("There are none; `docker-cluster context create` makes them.")
        }
        Output::Text => {
            let rows = contexts.iter().map(|context| {
                let host = context.host_of(&inventory.cluster).unwrap_or_default();
                // One that is left of a host that is not in the inventory any more.
                let tone = if inventory.host(host).is_some() {
                    Tone::Plain
                } else {
                    Tone::Dim
                };
                let mark = if is_current(context) { "*" } else { "-" };
                let cells = [
                    (&*context.name, tone),
                    (host, tone),
                    (mark, Tone::Dim),
                    (context.endpoint(), tone),
                ];
                cells.map(|(text, tone)| (text.to_owned(), tone)).to_vec()
            });
            ui.print(&table(
                &["CONTEXT", "HOST", "CURRENT", "ENDPOINT"],
                rows.collect(),
                ui.out,
                list_width(),
            ));
        }
    }
    Ok(())
}

/// The name of a host's context. Docker's client takes letters, digits and `_.+-` in it.
#[must_use]
pub fn context_name(cluster: &ClusterName, host: &HostName) -> String {
    format!("{cluster}-{}", host.as_str().replace(':', "_"))
}

/// A context that is there.
#[derive(Debug)]
pub struct Context {
    /// Its name.
    pub name: String,
    meta: Value,
}

impl Context {
    /// The host it is of, if it is of this cluster and of ours.
    fn host_of(&self, cluster: &ClusterName) -> Option<&str> {
        let ours = &self.meta["Metadata"][OURS];
        (ours["cluster"] == cluster.as_str()).then(|| ours["host"].as_str())?
    }

    fn endpoint(&self) -> &str {
        self.meta["Endpoints"]["docker"]["Host"]
            .as_str()
            .unwrap_or_default()
    }
}

/// The contexts of Docker's client.
pub struct Store {
    config: PathBuf,
}

impl Store {
    /// Where Docker's client looks.
    pub fn open() -> Result<Self, Error> {
        let config = match std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()) {
            Some(folder) => PathBuf::from(folder),
            None => etcetera::home_dir()
                .map_err(|_| Error::failed("this user has no home folder"))?
                .join(".docker"),
        };
        Ok(Self { config })
    }

    fn folder(&self, kind: &str, name: &str) -> PathBuf {
        let id: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.config.join("contexts").join(kind).join(id)
    }

    fn read(&self, name: &str) -> Result<Option<Context>, Error> {
        read(&self.folder("meta", name).join("meta.json"))
    }

    fn write(
        &self,
        name: &str,
        cluster: &ClusterName,
        host: &HostName,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        let folder = self.folder("meta", name);
        let failed = |error: std::io::Error| {
            Error::failed(format!("cannot write the context {name}")).because(error)
        };
        let meta = json!({
            "Name": name,
            "Metadata": {
                "Description": format!("{host} of the cluster {cluster}"),
                OURS: {"cluster": cluster, "host": host},
            },
            "Endpoints": {"docker": {"Host": endpoint.url, "SkipTLSVerify": false}},
        });
        self.write_tls(name, endpoint).map_err(failed)?;
        private::file(&folder.join("meta.json"), meta.to_string().as_bytes()).map_err(failed)
    }

    /// The certificate, where Docker's client looks for it; one of before goes where none is needed any more.
    fn write_tls(&self, name: &str, endpoint: &Endpoint) -> std::io::Result<()> {
        let folder = self.folder("tls", name);
        let Some(certs) = &endpoint.certs else {
            return match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        for file in [kept::CA, kept::CERT, kept::KEY] {
            let bytes = std::fs::read(certs.join(file))?;
            private::file(&folder.join("docker").join(file), &bytes)?;
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        for kind in ["meta", "tls"] {
            match std::fs::remove_dir_all(self.folder(kind, name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(
                        Error::failed(format!("cannot remove the context {name}")).because(error)
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The contexts that are of this cluster, by name.
    fn of_cluster(&self, cluster: &ClusterName) -> Result<Vec<Context>, Error> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.config.join("contexts/meta"))
            .into_iter()
            .flatten()
            .flatten()
        {
            // What cannot be read is none of ours, and Docker's client says so itself.
            let context = read(&entry.path().join("meta.json")).ok().flatten();
            found.extend(context.filter(|context| context.host_of(cluster).is_some()));
        }
        found.sort_by(|a: &Context, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The one that Docker's client uses where its environment names none.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.config.join("config.json")).ok()?;
        let config: Value = serde_json::from_str(&text).ok()?;
        config["currentContext"]
            .as_str()
            .filter(|name| !name.is_empty())
            .map(ToOwned::to_owned)
    }
}

fn read(path: &Path) -> Result<Option<Context>, Error> {
    let failed =
        |why: String| Error::failed(format!("cannot read {}", path.display())).because(why);
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| failed(error.to_string()))?,
    };
    let meta: Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let name = meta["Name"].as_str().unwrap_or_default().to_owned();
    Ok(Some(Context { name, meta }))
}
