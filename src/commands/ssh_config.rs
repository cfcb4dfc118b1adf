//! `ssh-config`: the inventory's ways into its hosts as a fragment of `~/.ssh/config`, so that Docker's client, Compose, rsync and
//! editors find them by name and by address, with keys, jump hosts and shared connections.
//!
//! What is written is what ssh itself makes of the inventory and of the person's own configuration (`ssh -G`): a host that is reached
//! by an alias of theirs is reached by this file alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{load, private, select};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::host::{ssh_arguments, system_ssh};
use crate::inventory::{Become, HostSpec, Inventory, SshSpec};
use crate::ui::Ui;

/// Longest path of a socket that every system takes, in bytes (macOS: 104 with the byte that ends it), less the 17 that ssh puts at the
/// end of it while it makes one.
const LONGEST_SOCKET: usize = 103 - 17;

/// How long ssh's `%C` is: a SHA-1 in hexadecimal.
const HASH_LENGTH: usize = 40;

/// Whose connections are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Those that ssh makes by itself for whoever reads the file.
    Made,
    /// The one that a command of ours has left, if it is there.
    Found,
}

/// Runs it.
pub fn run(global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let selected = select(&inventory, global)?;
    let file = std::path::absolute(&global.file).unwrap_or_else(|_| global.file.clone());
    ui.print(&format!(
        "# The hosts of cluster {}, by `docker-cluster -f {} ssh-config`.\n\
         # At the top of ~/.ssh/config, `Include` followed by the path of this file makes every program that uses ssh know them.\n{}",
        inventory.cluster,
        file.display().to_string().replace('\n', " "),
        fragment(&inventory, &selected, Sharing::Made)?
    ));
    Ok(Exit::Done)
}

/// The fragment for these hosts.
pub fn fragment(
    inventory: &Inventory,
    hosts: &[&HostSpec],
    sharing: Sharing,
) -> Result<String, Error> {
    let mut text = String::new();
    for host in hosts {
        let settings = Settings::ask(&host.ssh)?;
        let body = body(&host.ssh, &settings, sharing)?;
        let (others, by_port) = addresses(inventory, host);
        text.push('\n');
        if host.ssh.become_root == Become::Sudo {
            text.push_str(
                "# Its login needs sudo, which Docker's client knows nothing of: `docker-cluster env` does.\n",
            );
        }
        let _ = write!(text, "Host {}{others}\n{body}", host.name);
        if let Some(port) = by_port {
            // Docker's client is told the address and the port: the address alone is that of several hosts.
            let _ = write!(
                text,
                "Match originalhost {} exec \"test %p = {port}\"\n{body}",
                host.ssh.address
            );
        }
    }
    for jump in jumps(hosts) {
        let _ = write!(text, "{}", of_jump(&jump)?);
    }
    Ok(text)
}

/// By what else than its name a host is told: its address where no other host has it, else its address and its port.
fn addresses(inventory: &Inventory, host: &HostSpec) -> (String, Option<u16>) {
    let address = &host.ssh.address;
    if inventory.host(address).is_some() {
        return (String::new(), None);
    }
    let port = |spec: &SshSpec| spec.port.unwrap_or(SSH_PORT);
    let same: Vec<&HostSpec> = inventory
        .hosts
        .iter()
        .filter(|other| other.ssh.address == *address)
        .collect();
    match same.as_slice() {
        [_] => (format!(" {address}"), None),
        // Behind different jump hosts one address and port can be two machines.
        _ if same
            .iter()
            .filter(|other| port(&other.ssh) == port(&host.ssh))
            .count()
            > 1 =>
        {
            (String::new(), None)
        }
        _ => (String::new(), Some(port(&host.ssh))),
    }
}

/// The port that ssh takes where none is named.
pub(super) const SSH_PORT: u16 = 22;

/// What ssh makes of a way into a host.
pub(super) struct Settings(BTreeMap<String, Vec<String>>);

impl Settings {
    pub(super) fn ask(spec: &SshSpec) -> Result<Self, Error> {
        let failed = |why: String| {
            Error::failed(format!("ssh cannot say how it reaches {}", spec.address))
                .because(why)
                .hint("`ssh -G` followed by the address shows the same; is ~/.ssh/config in order?")
        };
        let arguments = ssh_arguments(spec)
            .map_err(|error| Error::failed("cannot prepare ssh").because(error))?;
        let ran = std::process::Command::new(system_ssh())
            .arg("-G")
            .args(arguments)
            .arg("--")
            .arg(&spec.address)
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !ran.status.success() {
            return Err(failed(
                String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
            ));
        }
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&ran.stdout).lines() {
            if let Some((key, value)) = line.split_once(' ') {
                settings
                    .entry(key.to_owned())
                    .or_default()
                    .push(value.to_owned());
            }
        }
        Ok(Self(settings))
    }

    fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn one(&self, key: &str) -> Option<&str> {
        self.all(key)
            .first()
            .map(String::as_str)
            .filter(|value| *value != "none")
    }
}

/// Keys that ssh tries by itself: they need no line.
const USUAL_KEYS: [&str; 7] = [
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "id_xmss",
];

fn body(spec: &SshSpec, settings: &Settings, sharing: Sharing) -> Result<String, Error> {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: &str| lines.push(format!("  {key} {value}\n"));
    line(
        "HostName",
        settings.one("hostname").unwrap_or(&spec.address),
    );
    let login = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    if let Some(user) = settings
        .one("user")
        .filter(|user| spec.user.is_some() || Some(*user) != login.as_deref())
    {
        line("User", user);
    }
    if let Some(port) = settings
        .one("port")
        .filter(|port| *port != SSH_PORT.to_string())
    {
        line("Port", port);
    }
    match &spec.identity {
        Some(path) => line("IdentityFile", &quoted(path)),
        None => {
            let is_usual = |path: &str| {
                USUAL_KEYS
                    .iter()
                    .any(|name| path == format!("~/.ssh/{name}"))
            };
            settings
                .all("identityfile")
                .iter()
                .filter(|path| !is_usual(path))
                .for_each(|path| {
                    line("IdentityFile", &quoted(Path::new(path)));
                });
        }
    }
    for (key, name) in [
        ("identitiesonly", "IdentitiesOnly"),
        ("proxyjump", "ProxyJump"),
    ] {
        settings
            .one(key)
            .filter(|value| *value != "no")
            .into_iter()
            .for_each(|value| line(name, value));
    }
    for (key, name) in [
        ("proxycommand", "ProxyCommand"),
        ("hostkeyalias", "HostKeyAlias"),
        ("certificatefile", "CertificateFile"),
    ] {
        settings
            .one(key)
            .into_iter()
            .for_each(|value| line(name, value));
    }
    lines.extend(host_keys(spec, settings));
    let mut text: String = lines.concat();
    let _ = writeln!(
        text,
        "  ConnectTimeout {}",
        spec.connect_timeout.as_secs().max(1)
    );
    for key in ["ServerAliveInterval", "ServerAliveCountMax"] {
        if let Some(value) = settings.one(&key.to_ascii_lowercase()) {
            let _ = writeln!(text, "  {key} {value}");
        }
    }
    text.push_str(&shared(spec, settings, sharing)?);
    Ok(text)
}

/// Which host keys are known, and whether new ones are taken.
fn host_keys(spec: &SshSpec, settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(path) = &spec.known_hosts {
        lines.push(format!("  UserKnownHostsFile {}\n", quoted(path)));
    }
    // What the person's own configuration says goes on holding, and needs no line.
    match settings.one("stricthostkeychecking") {
        Some("accept-new") => lines.push("  StrictHostKeyChecking accept-new\n".to_owned()),
        Some("true" | "yes") if spec.host_key.is_some() => {
            lines.push("  StrictHostKeyChecking yes\n".to_owned())
        }
        _ => {}
    }
    lines
}

/// How connections are shared.
fn shared(spec: &SshSpec, settings: &Settings, sharing: Sharing) -> Result<String, Error> {
    if sharing == Sharing::Found {
        let path = settings.one("controlpath").unwrap_or("none");
        return Ok(format!("  ControlPath {}\n", quoted(Path::new(path))));
    }
    if spec.persist.is_zero() {
        return Ok(String::new());
    }
    let folder = sockets()?;
    if folder.as_os_str().len() + "/dc-".len() + HASH_LENGTH > LONGEST_SOCKET {
        return Ok(
            "  # No shared connections: the path of your home folder is too long for a socket in it.\n".to_owned()
        );
    }
    let path = word(&format!("{}/dc-%C", escaped(&folder)));
    Ok(format!(
        "  ControlMaster auto\n  ControlPath {path}\n  ControlPersist {}\n",
        spec.persist.as_secs()
    ))
}

/// The folder of sockets: ssh ends where it is told to share connections in a folder that is not there.
fn sockets() -> Result<PathBuf, Error> {
    let failed = |error: std::io::Error| Error::failed("cannot make ~/.ssh").because(error);
    let home = etcetera::home_dir().map_err(|_| Error::failed("this user has no home folder"))?;
    let folder = home.join(".ssh");
    private::folder(&folder).map_err(failed)?;
    Ok(folder)
}

/// The jump hosts, with whose settings they are reached, each once.
fn jumps(hosts: &[&HostSpec]) -> Vec<SshSpec> {
    let mut found: Vec<SshSpec> = Vec::new();
    for spec in hosts.iter().map(|host| &host.ssh) {
        for jump in spec.jump.iter().flat_map(|jump| jump.split(',')) {
            let address = jump.rsplit_once('@').map_or(jump, |(_, host)| host);
            let address = match address
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
            {
                Some((address, _)) => address,
                None => address
                    .split_once(':')
                    .map_or(address, |(address, _)| address),
            };
            if !hosts
                .iter()
                .any(|host| host.name.as_str() == address || host.ssh.address == address)
                && !found.iter().any(|other| other.address == address)
            {
                // User and port of the jump stand in the line that names it.
                found.push(SshSpec {
                    address: address.to_owned(),
                    user: None,
                    port: None,
                    identity: None,
                    jump: None,
                    ..spec.clone()
                });
            }
        }
    }
    found
}

/// What this file alone must know of a jump host.
fn of_jump(spec: &SshSpec) -> Result<String, Error> {
    let settings = Settings::ask(spec)?;
    let is_alias = settings
        .one("hostname")
        .is_some_and(|name| !name.eq_ignore_ascii_case(&spec.address));
    let body = match is_alias {
        true => body(spec, &settings, Sharing::Made)?,
        false => host_keys(spec, &settings).concat(),
    };
    Ok(if body.is_empty() {
        body
    } else {
        format!("\n# A jump host.\nHost {}\n{body}", spec.address)
    })
}

/// A path as one word of the file.
fn quoted(path: &Path) -> String {
    word(&escaped(path))
}

/// A path of which ssh expands nothing.
fn escaped(path: &Path) -> String {
    let whole = std::path::absolute(path)
        .ok()
        .filter(|_| !path.starts_with("~"));
    whole
        .as_deref()
        .unwrap_or(path)
        .display()
        .to_string()
        .replace('%', "%%")
}

/// One word of the file, which breaks at blanks.
fn word(text: &str) -> String {
    match text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\\' | '#' | '\'')) {
        true => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        false => text.to_owned(),
    }
}
