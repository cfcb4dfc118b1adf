//! `env`: what points Docker's client at a host, in the words of a person's shell. It needs no connection, but for `--swarm`, which asks
//! the hosts who of them is a manager.
//!
//! Docker's client runs plain `ssh`. It cannot be told of keys, jump hosts or sudo, takes what a login prints for the engine's answer,
//! and asks whatever engine a login's own `DOCKER_HOST` names. So a folder with an `ssh` of our own goes to the front of the PATH: it
//! hands the inventory's settings to the system's ssh for the inventory's hosts, and everything else through unchanged.
//!
//! What other tools have exported for Docker's client would go before our own: it is kept aside and unset, and `--unset` brings it back.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, json};

use super::endpoint::Endpoint;
use super::shells::{Change, Shell};
use super::{answer, host, load, private, select, standalone};
use crate::error::{Error, Exit};
use crate::facts::{Engine, Swarm};
use crate::global::{Global, Output};
use crate::host::{Command, Connector, HostError, Rights};
use crate::inventory::{DEFAULT_FILE, HostName, HostSpec, Inventory};
use crate::ui::Ui;

/// What Docker's client takes from its environment instead of, or together with, `DOCKER_HOST`. `DOCKER_CONFIG` stays, where a
/// person's credentials and plugins are.
const OTHERS: [&str; 5] = [
    "DOCKER_CONTEXT",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "DOCKER_API_VERSION",
];

const DOCKER_HOST: &str = "DOCKER_HOST";

/// The name of the host, which prompts show.
const NAME: &str = "DOCKER_MACHINE_NAME";

const TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";

const CERT_PATH: &str = "DOCKER_CERT_PATH";

/// What `env` sets, and for each where it keeps what it has set it to: where the two differ, somebody else has set it since.
const OURS: [(&str, &str); 6] = [
    (DOCKER_HOST, "DOCKER_CLUSTER_HOST"),
    (NAME, "DOCKER_CLUSTER_NAME"),
    ("NO_PROXY", "DOCKER_CLUSTER_NO_PROXY"),
    ("no_proxy", "DOCKER_CLUSTER_no_proxy"),
    (TLS_VERIFY, "DOCKER_CLUSTER_TLS_VERIFY"),
    (CERT_PATH, "DOCKER_CLUSTER_CERT_PATH"),
];

/// Before the name of a variable: what it was.
const SAVED: &str = "DOCKER_CLUSTER_SAVED_";

/// Arguments of `env`.
#[derive(Debug, Args)]
pub struct Env {
    /// The host
    #[arg(required_unless_present_any = ["unset", "swarm"])]
    pub host: Option<String>,
    /// The shell that is to read it [default: by $SHELL]
    #[arg(long, value_enum)]
    pub shell: Option<Shell>,
    /// Point at a manager of the swarm; asks the hosts who is one
    #[arg(long, conflicts_with = "host")]
    pub swarm: bool,
    /// Let programs reach the host without a proxy: adds its address to NO_PROXY
    #[arg(long)]
    pub no_proxy: bool,
    /// Print what takes the exports back, and brings back what was there before them
    #[arg(short, long, conflicts_with_all = ["host", "swarm"])]
    pub unset: bool,
}

/// A variable of the environment.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Runs it.
pub async fn run(args: &Env, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let lookup = |name: &str| std::env::var(name).ok();
    let shell = args
        .shell
        .unwrap_or_else(|| Shell::of_login(lookup("SHELL").as_deref()));
    if args.unset {
        return take_back(shell, global, ui);
    }
    let inventory = load(global)?;
    let wish = Wish {
        shell,
        no_proxy: args.no_proxy,
        command: again(args, global),
    };
    let host = match &args.host {
        Some(name) => host(&inventory, name)?,
        None if inventory.swarm.standalone.is_some() => {
            let host = standalone::a_manager(&inventory, global).await?;
            let endpoint = standalone::endpoint(&inventory, host, global)?;
            return point_to(endpoint, &inventory, host, &wish, global, ui);
        }
        None => a_manager(&inventory, global).await?,
    };
    point_at(&inventory, host, &wish, global, ui)
}

/// How Docker's client is to be pointed at a host.
pub(super) struct Wish {
    /// The shell that is to read it.
    pub shell: Shell,
    /// Whether the host is reached without a proxy.
    pub no_proxy: bool,
    /// The command line of this call, for the hint.
    pub command: Vec<String>,
}

/// Prints what points Docker's client at a host.
pub(super) fn point_at(
    inventory: &Inventory,
    host: &HostSpec,
    wish: &Wish,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    let endpoint = Endpoint::open(inventory, host, global)?;
    point_to(endpoint, inventory, host, wish, global, ui)
}

/// Prints what points Docker's client at something on a host.
pub(super) fn point_to(
    endpoint: Endpoint,
    inventory: &Inventory,
    host: &HostSpec,
    wish: &Wish,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    let lookup = |name: &str| std::env::var(name).ok();
    let mut wanted = vec![(DOCKER_HOST, endpoint.url)];
    if let Some(folder) = &endpoint.certs {
        // In docker-machine's order.
        wanted.insert(0, (TLS_VERIFY, "1".to_owned()));
        wanted.push((CERT_PATH, folder.display().to_string()));
    }
    wanted.push((NAME, host.name.to_string()));
    if wish.no_proxy {
        wanted.push(without_proxy(&host.ssh.address, &lookup));
    }
    let mut changes = exported(&wanted, &lookup);
    if endpoint.certs.is_some() {
        changes.extend(path_change(None)?);
    } else if wish.shell.runs_scripts() {
        let shim = write_shim(global, inventory)?;
        changes.extend(path_change(Some(&shim))?);
    }
    say(&changes, wish.shell, Some(&wish.command), global, ui)
}

/// Prints what takes that back.
pub(super) fn take_back(shell: Shell, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let mut changes = taken_back(&|name| std::env::var(name).ok());
    changes.extend(path_change(None)?);
    say(&changes, shell, None, global, ui)
}

/// Prints the changes for a shell, with how it is made to take them, or for programs.
fn say(
    changes: &[Change],
    shell: Shell,
    command: Option<&Vec<String>>,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    match global.output {
        Output::Json => {
            let (mut set, mut unset) = (Map::new(), Vec::new());
            for change in changes {
                match change {
                    Change::Set(name, value) | Change::SetPath(name, value) => {
                        set.insert(name.clone(), value.clone().into());
                    }
                    Change::Unset(name) => unset.push(name.clone()),
                }
            }
            ui.json(&json!({"set": set, "unset": unset}));
        }
        Output::Text => {
            let hint = command
                .map(|command| shell.hint(command))
                .transpose()?
                .unwrap_or_default();
            ui.print(&format!("{}{hint}", shell.lines(changes)?));
        }
    }
    Ok(Exit::Done)
}

/// The command line of this call, for the hint.
fn again(args: &Env, global: &Global) -> Vec<String> {
    let mut words = vec!["docker-cluster".to_owned()];
    if global.file != Path::new(DEFAULT_FILE) {
        words.extend(["-f".to_owned(), global.file.display().to_string()]);
    }
    words.push("env".to_owned());
    if let Some(shell) = args.shell {
        words.extend(["--shell".to_owned(), shell.name()]);
    }
    if args.no_proxy {
        words.push("--no-proxy".to_owned());
    }
    words.push(args.host.clone().unwrap_or_else(|| "--swarm".to_owned()));
    words
}

/// The list of who is reached without a proxy, with one more address: under the name that is in use.
fn without_proxy(address: &str, lookup: Lookup<'_>) -> (&'static str, String) {
    let (name, marker) = if lookup("no_proxy").is_some() {
        OURS[3]
    } else {
        OURS[2]
    };
    let now = lookup(name);
    // What an earlier call has added is not added to.
    let own = now.is_some() && now == lookup(marker);
    let before = if own {
        lookup(&format!("{SAVED}{name}"))
    } else {
        now
    }
    .filter(|list| !list.is_empty());
    match before {
        Some(list) if list.split(',').any(|part| part.trim() == address) => (name, list),
        Some(list) => (name, format!("{list},{address}")),
        None => (name, address.to_owned()),
    }
}

/// Sets these variables, and keeps aside what somebody else has set. Twice is as once.
fn exported(wanted: &[(&str, String)], lookup: Lookup<'_>) -> Vec<Change> {
    let mut changes: Vec<Change> = wanted
        .iter()
        .map(|(name, value)| Change::Set((*name).to_owned(), value.clone()))
        .collect();
    for (name, marker) in OURS {
        let Some((_, value)) = wanted.iter().find(|(wanted, _)| *wanted == name) else {
            continue;
        };
        let own = lookup(marker);
        if own.as_ref() != Some(value) {
            changes.push(Change::Set(marker.to_owned(), value.clone()));
        }
        if let Some(old) = lookup(name).filter(|old| own.as_ref() != Some(old)) {
            changes.push(Change::Set(format!("{SAVED}{name}"), old));
        }
    }
    for name in OTHERS {
        if wanted.iter().any(|(wanted, _)| *wanted == name) {
            continue;
        }
        let marker = marker_of(name).filter(|marker| lookup(marker).is_some());
        if let Some(old) = lookup(name) {
            // What an earlier call has set for another host is nobody's.
            if marker.and_then(lookup).as_ref() != Some(&old) {
                changes.push(Change::Set(format!("{SAVED}{name}"), old));
            }
            changes.push(Change::Unset(name.to_owned()));
        }
        changes.extend(marker.map(|marker| Change::Unset(marker.to_owned())));
    }
    changes
}

/// Where `env` keeps what it has set a variable to, if it sets it.
fn marker_of(name: &str) -> Option<&'static str> {
    let (_, marker) = OURS.iter().find(|(ours, _)| *ours == name)?;
    Some(marker)
}

/// Takes back what [`exported`] has set, and nothing that somebody has set since.
fn taken_back(lookup: Lookup<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, marker) in OURS {
        let (now, own) = (lookup(name), lookup(marker));
        let is_ours = match (&now, &own) {
            (None, _) => own.is_some() || name == DOCKER_HOST || OTHERS.contains(&name),
            (Some(now), Some(own)) => now == own,
            // Version 0.1 did not say what it had set; it set nothing but this.
            (Some(now), None) => name == DOCKER_HOST && now.starts_with("ssh://"),
        };
        let brought_back = bring_back(name, is_ours, lookup, &mut changes);
        let is_set = now.is_some() || own.is_some() || name == DOCKER_HOST;
        if is_ours && !brought_back && is_set {
            changes.insert(0, Change::Unset(name.to_owned()));
        }
        if own.is_some() {
            changes.push(Change::Unset(marker.to_owned()));
        }
    }
    for name in OTHERS.iter().filter(|name| marker_of(name).is_none()) {
        bring_back(name, lookup(name).is_none(), lookup, &mut changes);
    }
    changes
}

/// Sets a variable to what it was, if nobody else has set it. Returns whether it did.
fn bring_back(name: &str, is_free: bool, lookup: Lookup<'_>, changes: &mut Vec<Change>) -> bool {
    let saved = format!("{SAVED}{name}");
    let Some(old) = lookup(&saved) else {
        return false;
    };
    if is_free {
        changes.push(Change::Set(name.to_owned(), old));
    }
    changes.push(Change::Unset(saved));
    is_free
}

/// A host whose engine is a manager, by its own word.
async fn a_manager<'a>(inventory: &'a Inventory, global: &Global) -> Result<&'a HostSpec, Error> {
    let connector =
        Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let question = Command::new(["docker", "info", "--format", "{{json .Swarm}}"])
        .rights(Rights::Engine)
        .timeout(SWARM_TIMEOUT);
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
    Engine {
        info: Some(json!({"Swarm": part})),
        ..Engine::default()
    }
    .swarm()
}

/// The first manager in the inventory's order. Which hosts are managers was decided when they joined, by `swarm.managers` and `spread`.
fn manager_of<'a>(
    inventory: &'a Inventory,
    answers: Vec<(&HostName, Result<Swarm, HostError>)>,
) -> Result<&'a HostSpec, Error> {
    let (mut managers, mut others, mut silent, mut hint) =
        (Vec::new(), Vec::new(), Vec::new(), None);
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
            return Err(
                Error::failed(format!("{first} and {other} are managers of two swarms"))
                    .hint("`docker-cluster env HOST` points at one of them"),
            );
        }
        return host(inventory, first.as_str());
    }
    let silent = silent.join("\n");
    if others.is_empty() {
        return Err(
            Error::failed("no host answers that could say who is a manager")
                .because(silent)
                .hint(hint.unwrap_or_default()),
        );
    }
    let error = Error::failed(format!(
        "no manager of a swarm answers; {} {} none",
        others.join(", "),
        if others.len() == 1 { "is" } else { "are" }
    ));
    let error = if silent.is_empty() {
        error
    } else {
        error.because(silent)
    };
    Err(error.hint("`docker-cluster plan` says what the swarm lacks; `docker-cluster env HOST` points at one host"))
}

fn quote(text: &str) -> Result<String, Error> {
    shlex::try_quote(text)
        .map(Into::into)
        .map_err(|_| Error::failed("a path or address holds a NUL byte"))
}

fn shims() -> Result<PathBuf, Error> {
    crate::host::ssh_shims().ok_or_else(|| Error::failed("this user has no home folder"))
}

/// Writes the folder with the `ssh` for this inventory.
fn write_shim(global: &Global, inventory: &Inventory) -> Result<PathBuf, Error> {
    let failed = |error: std::io::Error| {
        Error::failed("cannot write the ssh for Docker's client").because(error)
    };
    let file = std::fs::canonicalize(&global.file).map_err(failed)?;
    // By its own name: called by a link it may be another program, `docker-machine`.
    let program = std::env::current_exe()
        .and_then(std::fs::canonicalize)
        .map_err(failed)?;
    let folder = shims()?.join(inventory.cluster.as_str());
    private::folder(&folder).map_err(failed)?;
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
fn path_change(shim: Option<&Path>) -> Result<Option<Change>, Error> {
    let all = shims()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let old: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let others = old
        .iter()
        .filter(|folder| !folder.starts_with(&all))
        .cloned();
    let new: Vec<PathBuf> = shim
        .map(Path::to_path_buf)
        .into_iter()
        .chain(others)
        .collect();
    if new == old {
        return Ok(None);
    }
    let joined = std::env::join_paths(new)
        .map_err(|error| Error::failed("the PATH cannot be changed").because(error))?;
    Ok(Some(Change::SetPath(
        "PATH".to_owned(),
        joined.to_string_lossy().into_owned(),
    )))
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
            Self(
                variables
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        }

        fn lookup(&self) -> impl Fn(&str) -> Option<String> {
            |name| self.0.get(name).cloned()
        }

        fn apply(mut self, changes: Vec<Change>) -> Self {
            for change in changes {
                match change {
                    Change::Set(name, value) | Change::SetPath(name, value) => {
                        drop(self.0.insert(name, value))
                    }
                    Change::Unset(name) => drop(self.0.remove(&name)),
                }
            }
            self
        }

        fn set(self, variables: &[(&str, &str)]) -> Self {
            self.apply(
                variables
                    .iter()
                    .map(|(name, value)| Change::Set((*name).into(), (*value).into()))
                    .collect(),
            )
        }

        fn env(self, address: &str) -> Self {
            let wanted = [
                (DOCKER_HOST, format!("ssh://{address}")),
                (NAME, address.to_owned()),
                without_proxy(address, &self.lookup()),
            ];
            let changes = exported(&wanted, &self.lookup());
            self.apply(changes)
        }

        /// The same for an engine with TLS.
        fn env_tls(self, address: &str) -> Self {
            let wanted = [
                (TLS_VERIFY, "1".to_owned()),
                (DOCKER_HOST, format!("tcp://{address}:2376")),
                (CERT_PATH, format!("/certs/{address}")),
                (NAME, address.to_owned()),
            ];
            let changes = exported(&wanted, &self.lookup());
            self.apply(changes)
        }

        fn unset(self) -> Self {
            let changes = taken_back(&self.lookup());
            self.apply(changes)
        }
    }

    #[test]
    fn what_was_there_comes_back_however_often_env_was_called() {
        let worlds: [&[(&str, &str)]; 6] = [
            &[],
            &[
                ("DOCKER_HOST", "tcp://192.168.99.100:2376"),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CERT_PATH", "/a b/'c'"),
            ],
            &[
                ("DOCKER_CONTEXT", "other"),
                ("DOCKER_MACHINE_NAME", "default"),
                ("DOCKER_TLS", ""),
            ],
            &[
                ("DOCKER_HOST", "ssh://db-2"),
                ("DOCKER_API_VERSION", "1.41"),
                ("DOCKER_CONFIG", "/c"),
            ],
            &[
                ("NO_PROXY", "localhost,.example.org"),
                ("DOCKER_MACHINE_NAME", "db-1"),
            ],
            &[("no_proxy", "db-1"), ("NO_PROXY", "")],
        ];
        for world in worlds {
            let before = Shell::with(world);
            for hosts in [&["db-1"][..], &["db-1", "db-1"], &["db-1", "db-2", "db-1"]] {
                let during = hosts
                    .iter()
                    .fold(before.clone(), |shell, host| shell.env(host));
                let last = *hosts.last().unwrap();
                assert_eq!(during.0["DOCKER_HOST"], format!("ssh://{last}"));
                assert_eq!(during.0["DOCKER_MACHINE_NAME"], last);
                let (name, _) = without_proxy("x", &before.lookup());
                assert!(
                    during.0[name].ends_with(last) && !during.0[name].contains("db-2"),
                    "{during:?}"
                );
                assert!(
                    OTHERS.iter().all(|name| !during.0.contains_key(*name)),
                    "{during:?}"
                );
                assert_eq!(during.0.get("DOCKER_CONFIG"), before.0.get("DOCKER_CONFIG"));
                let after = during.unset();
                assert_eq!(after, before, "{hosts:?}");
                assert_eq!(
                    after.clone().unset().0.get("DOCKER_TLS_VERIFY"),
                    before.0.get("DOCKER_TLS_VERIFY"),
                    "twice"
                );
            }
        }
    }

    #[test]
    fn from_tls_to_ssh_and_back_nothing_is_left() {
        let worlds: [&[(&str, &str)]; 3] = [
            &[],
            &[
                ("DOCKER_HOST", "tcp://192.168.99.100:2376"),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CERT_PATH", "/theirs"),
            ],
            &[("DOCKER_CERT_PATH", "/theirs"), ("DOCKER_CONTEXT", "other")],
        ];
        for world in worlds {
            let before = Shell::with(world);
            let tls = before.clone().env_tls("a");
            assert_eq!(tls.0["DOCKER_CERT_PATH"], "/certs/a");
            assert_eq!(tls.0["DOCKER_TLS_VERIFY"], "1");
            assert_eq!(tls.clone().unset(), before);
            assert_eq!(tls.clone().env_tls("b").env_tls("b").unset(), before);
            let ssh = tls.env("a");
            assert!(
                !ssh.0.contains_key("DOCKER_TLS_VERIFY") && !ssh.0.contains_key("DOCKER_CERT_PATH"),
                "over ssh they would be in the way: {ssh:?}"
            );
            let host = |shell: Shell| {
                let mut shell = shell;
                // `NO_PROXY` of the one over ssh is not what this is about.
                shell
                    .0
                    .retain(|name, _| !name.to_lowercase().ends_with("no_proxy"));
                shell
            };
            assert_eq!(host(ssh.clone().unset()), before, "{ssh:?}");
            assert_eq!(host(ssh.env_tls("b").unset()), before);
        }
    }

    #[test]
    fn what_somebody_has_set_since_is_theirs() {
        let theirs = [
            ("DOCKER_HOST", "tcp://theirs:2376"),
            ("DOCKER_TLS_VERIFY", "0"),
            ("NO_PROXY", "theirs"),
        ];
        let shell =
            Shell::with(&[("DOCKER_TLS_VERIFY", "1"), ("DOCKER_MACHINE_NAME", "m")]).env("db-1");
        let shell = shell.set(&theirs).unset();
        assert_eq!(
            shell,
            Shell::with(&theirs).set(&[("DOCKER_MACHINE_NAME", "m")])
        );
        // And what they have set between two calls is what comes back.
        let shell = Shell::default()
            .env("db-1")
            .set(&theirs[..1])
            .env("db-2")
            .unset();
        assert_eq!(shell, Shell::with(&theirs[..1]));
    }

    #[test]
    fn an_address_is_in_the_list_once() {
        let list = |variables: &[(&str, &str)]| {
            without_proxy("10.0.0.1", &Shell::with(variables).lookup())
        };
        assert_eq!(list(&[]), ("NO_PROXY", "10.0.0.1".to_owned()));
        assert_eq!(
            list(&[("NO_PROXY", "a")]),
            ("NO_PROXY", "a,10.0.0.1".to_owned())
        );
        assert_eq!(
            list(&[("no_proxy", ""), ("NO_PROXY", "a")]),
            ("no_proxy", "10.0.0.1".to_owned())
        );
        assert_eq!(
            list(&[("NO_PROXY", "10.0.0.1, b")]),
            ("NO_PROXY", "10.0.0.1, b".to_owned())
        );
        assert_eq!(
            list(&[("NO_PROXY", "10.0.0.11")]),
            ("NO_PROXY", "10.0.0.11,10.0.0.1".to_owned())
        );
    }

    #[test]
    fn only_a_real_manager_is_pointed_at() {
        let text = "hosts: [{name: a, address: x}, {name: b, address: y}, {name: c, address: z}]";
        let inventory = Inventory::parse(text, "x.yaml").unwrap();
        let name = |at: usize| &inventory.hosts[at].name;
        let manager = |id: &str| {
            swarm(&format!(
                r#"{{"LocalNodeState":"active","ControlAvailable":true,"Cluster":{{"ID":"{id}"}}}}"#
            ))
        };
        let worker = || swarm(r#"{"LocalNodeState":"active","ControlAvailable":false}"#);
        let silent = || HostError::Refused {
            address: "x".to_owned(),
        };
        let chosen = |answers: Vec<Result<Swarm, HostError>>| {
            let answers = answers
                .into_iter()
                .enumerate()
                .map(|(at, answer)| (name(at), answer))
                .collect();
            manager_of(&inventory, answers).map(|host| host.name.to_string())
        };
        assert_eq!(
            chosen(vec![Ok(worker()), Ok(manager("s")), Ok(manager("s"))]).unwrap(),
            "b"
        );
        assert_eq!(
            chosen(vec![Err(silent()), Ok(worker()), Ok(manager("s"))]).unwrap(),
            "c"
        );
        let said = |answers| format!("{:?}", chosen(answers).unwrap_err());
        assert!(
            said(vec![Ok(worker()), Ok(worker()), Err(silent())])
                .contains("no manager of a swarm answers; a, b are none")
        );
        let none = said(vec![Err(silent()), Err(silent()), Err(silent())]);
        assert!(
            none.contains("no host answers") && none.contains("b: x refuses"),
            "{none}"
        );
        assert!(
            said(vec![Ok(manager("s")), Ok(manager("t")), Ok(worker())]).contains("two swarms")
        );
        assert!(
            said(vec![Ok(swarm("")), Ok(swarm("null")), Ok(swarm("<html>"))])
                .contains("a, b, c are none")
        );
    }
}
