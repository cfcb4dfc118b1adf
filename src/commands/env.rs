//! `env`: the exports that point Docker's client at a host. It needs no connection, but for `--swarm`, which asks the hosts who of
//! them is a manager.
//!
//! Docker's client runs plain `ssh`. It cannot be told of keys, jump hosts or sudo, takes what a login prints for the engine's answer,
//! and asks whatever engine a login's own `DOCKER_HOST` names. So a folder with an `ssh` of our own goes to the front of the PATH: it
//! hands the inventory's settings to the system's ssh for the inventory's hosts, and everything else through unchanged.
//!
//! What other tools have exported for Docker's client would go before our own: it is kept aside and unset, and `--unset` brings it back.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{answer, host, load, select};
use crate::error::{Error, Exit};
use crate::facts::{Engine, Swarm};
use crate::global::Global;
use crate::host::{Command, Connector, HostError, Rights};
use crate::inventory::{HostName, HostSpec, Inventory};
use crate::ui::Ui;

/// What Docker's client takes from its environment instead of, or together with, `DOCKER_HOST`. `DOCKER_CONFIG` stays, where a
/// person's credentials and plugins are.
const OTHERS: [&str; 6] = [
    "DOCKER_CONTEXT",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "DOCKER_MACHINE_NAME",
    "DOCKER_API_VERSION",
];

const DOCKER_HOST: &str = "DOCKER_HOST";

/// What `env` set `DOCKER_HOST` to: where the two differ, somebody else has set it since.
const OURS: &str = "DOCKER_CLUSTER_HOST";

/// Before the name of a variable: what it was.
const SAVED: &str = "DOCKER_CLUSTER_SAVED_";

/// Arguments of `env`.
#[derive(Debug, Args)]
pub struct Env {
    /// The host
    #[arg(required_unless_present_any = ["unset", "swarm"])]
    pub host: Option<String>,
    /// Point at a manager of the swarm; asks the hosts who is one
    #[arg(long, conflicts_with = "host")]
    pub swarm: bool,
    /// Print what takes the exports back, and brings back what was there before them
    #[arg(long, conflicts_with_all = ["host", "swarm"])]
    pub unset: bool,
}

/// Runs it.
pub async fn run(args: &Env, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let lookup = |name: &str| std::env::var(name).ok();
    if args.unset {
        ui.print(&format!("{}{}", taken_back(&lookup)?, path_export(None)?));
        return Ok(Exit::Done);
    }
    let inventory = load(global)?;
    let host = match &args.host {
        Some(name) => host(&inventory, name)?,
        None => a_manager(&inventory, global).await?,
    };
    let shim = write_shim(global, &inventory)?;
    let eval = match &args.host {
        Some(name) => name.as_str(),
        None => "--swarm",
    };
    let (exports, path) = (exported(&url(host), &lookup)?, path_export(Some(&shim))?);
    ui.print(&format!("{exports}{path}# eval \"$(docker-cluster env {eval})\"\n"));
    Ok(Exit::Done)
}

/// Points at a host, and keeps aside what somebody else has set. Twice is as once.
fn exported(url: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
    let mut text = format!("export {DOCKER_HOST}={url}\n", url = quote(url)?);
    let own = lookup(OURS);
    if own.as_deref() != Some(url) {
        text.push_str(&format!("export {OURS}={}\n", quote(url)?));
    }
    if let Some(old) = lookup(DOCKER_HOST).filter(|old| own.as_ref() != Some(old)) {
        text.push_str(&format!("export {SAVED}{DOCKER_HOST}={}\n", quote(&old)?));
    }
    for name in OTHERS {
        if let Some(old) = lookup(name) {
            text.push_str(&format!("export {SAVED}{name}={}\nunset {name}\n", quote(&old)?));
        }
    }
    Ok(text)
}

/// Takes back what [`exported`] has set, and nothing that somebody has set since.
fn taken_back(lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
    let (now, own) = (lookup(DOCKER_HOST), lookup(OURS));
    let is_ours = match (&now, &own) {
        (None, _) => true,
        (Some(now), Some(own)) => now == own,
        // Version 0.1 did not say what it had set; it set nothing but this.
        (Some(now), None) => now.starts_with("ssh://"),
    };
    let mut text = String::new();
    let mut bring_back = |name: &str, is_free: bool| -> Result<bool, Error> {
        let saved = lookup(&format!("{SAVED}{name}"));
        if let Some(old) = &saved {
            if is_free {
                text.push_str(&format!("export {name}={}\n", quote(old)?));
            }
            text.push_str(&format!("unset {SAVED}{name}\n"));
        }
        Ok(saved.is_some() && is_free)
    };
    let brought_back = bring_back(DOCKER_HOST, is_ours)?;
    for name in OTHERS {
        bring_back(name, lookup(name).is_none())?;
    }
    if is_ours && !brought_back {
        text.insert_str(0, &format!("unset {DOCKER_HOST}\n"));
    }
    if own.is_some() {
        text.push_str(&format!("unset {OURS}\n"));
    }
    Ok(text)
}

/// A host whose engine is a manager, by its own word.
async fn a_manager<'a>(inventory: &'a Inventory, global: &Global) -> Result<&'a HostSpec, Error> {
    let connector = Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let question =
        Command::new(["docker", "info", "--format", "{{json .Swarm}}"]).rights(Rights::Engine).timeout(SWARM_TIMEOUT);
    let each = select(inventory, global)?.into_iter().map(|spec| {
        let (connector, question) = (&connector, &question);
        async move {
            let answer = async {
                let (connection, output) = answer(connector, spec, question).await?;
                match output.status {
                    0 => Ok(swarm(&output.stdout_text())),
                    status => Err(connection.failure(question, status, &output)),
                }
            };
            (&spec.name, answer.await)
        }
    });
    manager_of(inventory, futures_util::future::join_all(each).await)
}

/// How long an engine may take to say what it is in its swarm.
const SWARM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

fn swarm(text: &str) -> Swarm {
    let part: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_default();
    Engine { info: Some(json!({"Swarm": part})), ..Engine::default() }.swarm()
}

/// The first manager in the inventory's order. Which hosts are managers was decided when they joined, by `swarm.managers` and `spread`.
fn manager_of<'a>(
    inventory: &'a Inventory,
    answers: Vec<(&HostName, Result<Swarm, HostError>)>,
) -> Result<&'a HostSpec, Error> {
    let (mut managers, mut others, mut silent, mut hint) = (Vec::new(), Vec::new(), Vec::new(), None);
    for (name, answer) in answers {
        match answer {
            Ok(swarm) if swarm.is_manager => managers.push((name, swarm.cluster_id)),
            Ok(_) => others.push(name.as_str()),
            Err(error) => {
                hint.get_or_insert(error.hint());
                silent.push(format!("{name}: {error}"));
            }
        }
    }
    if let Some(((first, swarm), rest)) = managers.split_first() {
        if let Some((other, _)) = rest.iter().find(|(_, other)| other != swarm) {
            return Err(Error::failed(format!("{first} and {other} are managers of two swarms"))
                .hint("`docker-cluster env HOST` points at one of them"));
        }
        return host(inventory, first.as_str());
    }
    let silent = silent.join("\n");
    if others.is_empty() {
        return Err(Error::failed("no host answers that could say who is a manager")
            .because(silent)
            .hint(hint.unwrap_or_default()));
    }
    let error = Error::failed(format!(
        "no manager of a swarm answers; {} {} none",
        others.join(", "),
        if others.len() == 1 { "is" } else { "are" }
    ));
    let error = if silent.is_empty() { error } else { error.because(silent) };
    Err(error.hint("`docker-cluster plan` says what the swarm lacks; `docker-cluster env HOST` points at one host"))
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
    crate::host::ssh_shims().ok_or_else(|| Error::failed("this user has no home folder"))
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
         folder={} program={} file={}\n\
         # Without the program this is not in the way of any other ssh.\n\
         if [ ! -x \"$program\" ]; then PATH=${{PATH#\"$folder:\"}}; exec ssh \"$@\"; fi\n\
         DOCKER_CLUSTER_SSH_FOLDER=$folder exec \"$program\" -f \"$file\" docker-ssh -- \"$@\"\n",
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A shell that takes the lines one after the other.
    #[derive(Clone, Default, PartialEq, Debug)]
    struct Shell(BTreeMap<String, String>);

    impl Shell {
        fn with(variables: &[(&str, &str)]) -> Self {
            Self(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        }

        fn lookup(&self) -> impl Fn(&str) -> Option<String> {
            |name| self.0.get(name).cloned()
        }

        fn eval(mut self, text: &str) -> Self {
            for line in text.lines() {
                let words = shlex::split(line).unwrap();
                match (words[0].as_str(), words[1].split_once('=')) {
                    ("export", Some((name, value))) => drop(self.0.insert(name.to_owned(), value.to_owned())),
                    ("unset", None) => drop(self.0.remove(&words[1])),
                    _ => panic!("{line}"),
                }
            }
            self
        }

        fn env(self, url: &str) -> Self {
            let text = exported(url, &self.lookup()).unwrap();
            self.eval(&text)
        }

        fn unset(self) -> Self {
            let text = taken_back(&self.lookup()).unwrap();
            self.eval(&text)
        }
    }

    #[test]
    fn what_was_there_comes_back_however_often_env_was_called() {
        let worlds: [&[(&str, &str)]; 4] = [
            &[],
            &[
                ("DOCKER_HOST", "tcp://192.168.99.100:2376"),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CERT_PATH", "/a b/'c'"),
            ],
            &[("DOCKER_CONTEXT", "other"), ("DOCKER_MACHINE_NAME", "default"), ("DOCKER_TLS", "")],
            &[("DOCKER_HOST", "ssh://db-2"), ("DOCKER_API_VERSION", "1.41"), ("DOCKER_CONFIG", "/c")],
        ];
        for world in worlds {
            let before = Shell::with(world);
            for urls in
                [&["ssh://db-1"][..], &["ssh://db-1", "ssh://db-1"], &["ssh://db-1", "ssh://db-2", "ssh://db-1"]]
            {
                let during = urls.iter().fold(before.clone(), |shell, url| shell.env(url));
                assert_eq!(during.0.get("DOCKER_HOST").map(String::as_str), urls.last().copied());
                assert!(OTHERS.iter().all(|name| !during.0.contains_key(*name)), "{during:?}");
                assert_eq!(during.0.get("DOCKER_CONFIG"), before.0.get("DOCKER_CONFIG"));
                let after = during.unset();
                assert_eq!(after, before, "{urls:?}");
                assert_eq!(
                    after.clone().unset().0.get("DOCKER_TLS_VERIFY"),
                    before.0.get("DOCKER_TLS_VERIFY"),
                    "twice"
                );
            }
        }
    }

    #[test]
    fn what_somebody_has_set_since_is_theirs() {
        let shell = Shell::with(&[("DOCKER_TLS_VERIFY", "1")]).env("ssh://db-1");
        let mut shell = shell.eval("export DOCKER_HOST=tcp://theirs:2376\nexport DOCKER_TLS_VERIFY=0\n");
        shell = shell.unset();
        assert_eq!(shell, Shell::with(&[("DOCKER_HOST", "tcp://theirs:2376"), ("DOCKER_TLS_VERIFY", "0")]));
        // And what they have set between two calls is what comes back.
        let shell =
            Shell::default().env("ssh://db-1").eval("export DOCKER_HOST=tcp://theirs:2376\n").env("ssh://db-2").unset();
        assert_eq!(shell, Shell::with(&[("DOCKER_HOST", "tcp://theirs:2376")]));
    }

    #[test]
    fn only_a_real_manager_is_pointed_at() {
        let text = "hosts: [{name: a, address: x}, {name: b, address: y}, {name: c, address: z}]";
        let inventory = Inventory::parse(text, "x.yaml").unwrap();
        let name = |at: usize| &inventory.hosts[at].name;
        let manager = |id: &str| {
            swarm(&format!(r#"{{"LocalNodeState":"active","ControlAvailable":true,"Cluster":{{"ID":"{id}"}}}}"#))
        };
        let worker = || swarm(r#"{"LocalNodeState":"active","ControlAvailable":false}"#);
        let silent = || HostError::Refused { address: "x".to_owned() };
        let chosen = |answers: Vec<Result<Swarm, HostError>>| {
            let answers = answers.into_iter().enumerate().map(|(at, answer)| (name(at), answer)).collect();
            manager_of(&inventory, answers).map(|host| host.name.to_string())
        };
        assert_eq!(chosen(vec![Ok(worker()), Ok(manager("s")), Ok(manager("s"))]).unwrap(), "b");
        assert_eq!(chosen(vec![Err(silent()), Ok(worker()), Ok(manager("s"))]).unwrap(), "c");
        let said = |answers| format!("{:?}", chosen(answers).unwrap_err());
        assert!(
            said(vec![Ok(worker()), Ok(worker()), Err(silent())])
                .contains("no manager of a swarm answers; a, b are none")
        );
        let none = said(vec![Err(silent()), Err(silent()), Err(silent())]);
        assert!(none.contains("no host answers") && none.contains("b: x refuses"), "{none}");
        assert!(said(vec![Ok(manager("s")), Ok(manager("t")), Ok(worker())]).contains("two swarms"));
        assert!(said(vec![Ok(swarm("")), Ok(swarm("null")), Ok(swarm("<html>"))]).contains("a, b, c are none"));
    }
}
