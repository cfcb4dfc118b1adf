//! The machines that are kept: an inventory a machine, `machines/NAME.yaml`, which is what it is made by, and `machines.yaml`, which has the
//! hosts of all of them and is made from those.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use etcetera::BaseStrategy;
use serde_json::Value;

use super::authority::{Authority, TlsFiles};
use crate::commands::ssh_config::SSH_PORT;
use crate::commands::{load, private};
use crate::error::Error;
use crate::global::{Global, Output};
use crate::inventory::{HostSpec, Inventory, OwnCa};
use crate::secrets::EnginesCa;
use crate::secrets::engines::Issued;
use crate::ui::{ColourChoice, Ui};

/// The machine that is meant where none is named.
const DEFAULT: &str = "default";

/// The first lines of the inventory of all machines. The subnet is one that no host is in (TEST-NET-1, RFC 5737): machines have no network
/// in common, and an inventory has one.
pub const HEAD: &str = "cluster: machines\nnetwork: {fabric: nat, subnet: 192.0.2.0/24}\n";

/// The folder of the machines.
#[derive(Debug)]
pub struct Machines {
    folder: PathBuf,
    all: Global,
    authority: Authority,
}

impl Machines {
    /// In this folder, or where they are kept.
    pub fn open(folder: Option<&Path>, tls: &TlsFiles, verbose: u8) -> Result<Self, Error> {
        let folder = match folder {
            Some(folder) => std::path::absolute(folder).map_err(failed)?,
            None => usual()?,
        };
        let file = folder.join("machines.yaml");
        let all = Global {
            file,
            on: None,
            output: Output::Text,
            color: ColourChoice::Auto,
            verbose,
            certs: Some(folder.join("machines")),
        };
        let authority = Authority::of(tls, &folder.join("certs"));
        Ok(Self {
            folder,
            all,
            authority,
        })
    }

    /// The CA of all machines.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether an inventory names the CA of all machines.
    pub fn is_the_ca(&self, own: &OwnCa) -> bool {
        plain(&own.cert.path) == plain(self.authority.files()[0])
    }

    /// Makes the CA of all machines, if there is none, or in its place.
    pub fn ready_ca(&self, anew: bool, ui: Ui) -> Result<(), Error> {
        let _lock = self.lock()?;
        match anew {
            true => self.authority.replace(ui),
            false => self.authority.ca(ui),
        }
        .map(drop)
    }

    /// The person's certificate of a CA.
    pub fn person(&self, ca: &EnginesCa, ui: Ui) -> Result<Issued, Error> {
        let _lock = self.lock()?;
        self.authority.person(ca, ui)
    }

    /// The files of the CA as the inventory of one machine names them: relative where they are in the folder, which may be moved.
    pub fn ca_files(&self) -> [String; 2] {
        self.authority.files().map(|path| {
            let below = path.strip_prefix(&self.folder);
            below.map_or_else(
                |_| path.display().to_string(),
                |below| Path::new("..").join(below).display().to_string(),
            )
        })
    }

    /// The machines whose engines trust the CA of all machines, without these.
    pub fn with_the_ca(&self, without: &[String]) -> Result<Vec<String>, Error> {
        let hosts = self.inventory()?.map(|all| all.hosts).unwrap_or_default();
        let mut names = Vec::new();
        for host in hosts {
            let name = host.name.to_string();
            let inventory = load(&self.global_of(&name))?;
            let is_it = |own: OwnCa| self.is_the_ca(&own);
            if host.api.is_some()
                && !without.contains(&name)
                && inventory.engine.ca.is_some_and(is_it)
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Lets a machine that has a CA of its own have that of all machines.
    pub fn adopt(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let path = self.file_of(name);
        let own = load(&self.global_of(name))?.engine.ca;
        if own.is_some_and(|own| self.is_the_ca(&own)) {
            return Ok(());
        }
        let files = self.ca_files();
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let text = with_ca(&text, &files).ok_or_else(|| {
            Error::failed(format!("{} cannot be changed by itself", path.display())).hint(format!(
                "write `ca: {}` and `ca_key: {}` below `engine:` there",
                files[0], files[1]
            ))
        })?;
        self.check_text(name, &text)?;
        write(&path, &text)?;
        self.compose()
    }

    /// What names the inventory of all machines to a command.
    pub fn global(&self) -> &Global {
        &self.all
    }

    /// What names the inventory of one machine to a command.
    pub fn global_of(&self, name: &str) -> Global {
        Global {
            file: self.file_of(name),
            ..self.all.clone()
        }
    }

    /// The inventory of one machine.
    pub fn file_of(&self, name: &str) -> PathBuf {
        self.folder.join("machines").join(format!("{name}.yaml"))
    }

    /// The folder of a machine, which has the certificate that opens its engine.
    pub fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.join("machines").join(name)
    }

    /// All machines; none if there are none.
    pub fn inventory(&self) -> Result<Option<Inventory>, Error> {
        if !self.all.file.exists() {
            return Ok(None);
        }
        load(&self.all).map(Some)
    }

    /// Whether there is a machine of that name.
    pub fn has(&self, name: &str) -> bool {
        is_name(name) && self.file_of(name).is_file()
    }

    /// The name of a machine, or of the one that is meant where none is named.
    pub fn one(&self, name: Option<&String>) -> Result<String, Error> {
        let names = self.named(&name.cloned().into_iter().collect::<Vec<_>>())?;
        Ok(names.into_iter().next().unwrap_or_default())
    }

    /// The same of several. All that are not there are told at once.
    pub fn named(&self, names: &[String]) -> Result<Vec<String>, Error> {
        if names.is_empty() {
            if self.has(DEFAULT) {
                return Ok(vec![DEFAULT.to_owned()]);
            }
            return Err(Error::failed(format!(
                "Error: No machine name(s) specified and no \"{DEFAULT}\" machine exists"
            )));
        }
        let unknown: Vec<String> = names
            .iter()
            .filter(|name| !self.has(name))
            .map(|name| unknown(name))
            .collect();
        if unknown.is_empty() {
            Ok(names.to_vec())
        } else {
            Err(Error::failed(unknown.join("\n")))
        }
    }

    /// The host of a machine.
    pub fn host(&self, name: Option<&String>) -> Result<HostSpec, Error> {
        let name = self.one(name)?;
        let hosts = load(&self.global_of(&name))?.hosts;
        hosts
            .into_iter()
            .next()
            .ok_or_else(|| Error::failed(unknown(&name)))
    }

    /// Whether a machine could be added: the inventory of all would be one.
    pub fn check(&self, name: &str, text: &str) -> Result<(), Error> {
        let wrong = |error| Error::Inventory(Box::new(error));
        let new = self.check_text(name, text)?;
        self.check_is_new(&new)?;
        let all = self.composed(Some(text))?.unwrap_or_default();
        Inventory::parse(&all, &self.all.file.display().to_string())
            .map(drop)
            .map_err(wrong)
    }

    /// A host is one machine: its engine has one set of options.
    fn check_is_new(&self, new: &Inventory) -> Result<(), Error> {
        let known = self.inventory()?.map(|all| all.hosts).unwrap_or_default();
        let target = |host: &HostSpec| {
            let port = host.ssh.port.unwrap_or(SSH_PORT);
            (host.ssh.address.to_ascii_lowercase(), port)
        };
        let same = new.hosts.iter().find_map(|host| {
            let same = known.iter().find(|other| target(other) == target(host));
            Some((host, same?))
        });
        match same {
            None => Ok(()),
            Some((host, other)) => Err(Error::failed(format!(
                "Docker machine \"{}\" is this host already: ssh finds it at {}, port {}",
                other.name,
                host.ssh.address,
                host.ssh.port.unwrap_or(SSH_PORT)
            ))
            .hint(format!(
                "use it by that name, or let `docker-machine rm {}` forget it first",
                other.name
            ))),
        }
    }

    fn check_text(&self, name: &str, text: &str) -> Result<Inventory, Error> {
        Inventory::parse(text, &self.file_of(name).display().to_string())
            .map_err(|error| Error::Inventory(Box::new(error)))
    }

    /// Adds a machine.
    pub fn add(&self, name: &str, text: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        write(&self.file_of(name), text)?;
        self.compose()
    }

    /// Forgets a machine.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        std::fs::remove_file(self.file_of(name)).map_err(failed)?;
        match std::fs::remove_dir_all(self.folder_of(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        self.compose()
    }

    /// Several of these may be at work: scripts create machines side by side.
    fn lock(&self) -> Result<File, Error> {
        private::folder(&self.folder.join("machines")).map_err(failed)?;
        let file = File::create(self.folder.join("machines.lock")).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    fn compose(&self) -> Result<(), Error> {
        match self.composed(None)? {
            Some(text) => write(&self.all.file, &text),
            None => match std::fs::remove_file(&self.all.file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            },
        }
    }

    /// The inventory of all machines, and of one more; none if there are none.
    fn composed(&self, more: Option<&str>) -> Result<Option<String>, Error> {
        let mut files: Vec<PathBuf> = match std::fs::read_dir(self.folder.join("machines")) {
            Ok(entries) => entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
        files.sort();
        let (mut hosts, mut authorities) = (String::new(), Vec::new());
        let mut add = |text: &str, path: &Path| {
            let (host, ca) = host_of(text, path)?;
            let _ = writeln!(hosts, "  - {host}");
            if host["engine"]["api"] == "tls" {
                authorities.push(ca);
            }
            Ok::<(), Error>(())
        };
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            add(&text, &path)?;
        }
        if let Some(text) = more {
            add(text, Path::new("the new machine"))?;
        }
        authorities.dedup();
        // Machines that were made with CAs of their own have none in common.
        let engine = match authorities.as_slice() {
            [Some([ca, key])] => {
                format!("engine: {}\n", serde_json::json!({"ca": ca, "ca_key": key}))
            }
            _ => String::new(),
        };
        Ok((!hosts.is_empty()).then(|| {
            format!("# All machines of docker-machine. Made from the files in machines/: change those, and `provision`.\n{HEAD}{engine}hosts:\n{hosts}")
        }))
    }
}

/// A path without the steps up that a relative one has brought into it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

/// The host in the inventory of a machine, as somebody may have changed it, and the files of the CA of its engine, as the inventory of all
/// machines names them.
fn host_of(text: &str, path: &Path) -> Result<(Value, Option<[String; 2]>), Error> {
    let wrong = |why: String| {
        Error::usage(format!("{} is no inventory of a machine", path.display())).because(why)
    };
    let document: Value = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let file = |key: &str| {
        let text = document["engine"][key].as_str()?;
        let from_here = |text: &str| match text.strip_prefix("../") {
            Some(beside) => beside.to_owned(),
            None if text.starts_with('/') || text.starts_with("~/") => text.to_owned(),
            None => format!("machines/{text}"),
        };
        Some(from_here(text))
    };
    let ca = file("ca").zip(file("ca_key")).map(<[String; 2]>::from);
    match document["hosts"].as_array().map(Vec::as_slice) {
        Some([host]) => Ok((host.clone(), ca)),
        _ => Err(wrong("it has not one host below `hosts:`".to_owned())),
    }
}

/// The inventory of a machine with the files of a CA, and all else as it was written; `None` if it names one, or is not as `create` writes
/// it.
fn with_ca(text: &str, [ca, key]: &[String; 2]) -> Option<String> {
    let document: Value = serde_saphyr::from_str(text).ok()?;
    if !document["engine"]["ca"].is_null() {
        return None;
    }
    let (ca, key) = (Value::from(ca.as_str()), Value::from(key.as_str()));
    const ENGINE: &str = "engine: {";
    let at = match text.starts_with(ENGINE) {
        true => Some(0),
        false => text.find(&format!("\n{ENGINE}")).map(|at| at + 1),
    };
    match at.map(|at| at + ENGINE.len()) {
        Some(at) => {
            let (before, after) = text.split_at(at);
            let comma = if after.starts_with('}') { "" } else { ", " };
            Some(format!(
                "{before}\"ca\": {ca}, \"ca_key\": {key}{comma}{after}"
            ))
        }
        None if document.get("engine").is_none() => Some(format!(
            "{}\nengine: {{\"ca\": {ca}, \"ca_key\": {key}}}\n",
            text.trim_end()
        )),
        None => None,
    }
}

/// As docker-machine has it: a name of a host, which is safe in a path as well.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

fn unknown(name: &str) -> String {
    format!(
        "Docker machine \"{name}\" does not exist. Use \"docker-machine ls\" to list machines. \
         Use \"docker-machine create\" to add a new one."
    )
}

fn usual() -> Result<PathBuf, Error> {
    let base = etcetera::choose_base_strategy()
        .map_err(|error| Error::failed("this user has no home folder").because(error))?;
    Ok(base
        .state_dir()
        .unwrap_or_else(|| base.data_dir())
        .join("docker-cluster"))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    private::file(path, text.as_bytes()).map_err(failed)
}

fn failed(error: std::io::Error) -> Error {
    Error::failed("cannot keep the machines").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gets_the_ca_of_all_and_keeps_what_was_written() {
        let files = ["../certs/ca.pem", "../certs/ca-key.pem"].map(str::to_owned);
        let host = "hosts: [{name: a, address: 10.0.0.1, engine: {api: tls}}]\n";
        for engine in [
            "",
            "engine: {}\n",
            "# Mine.\nengine: {\"options\":{\"debug\":true}}\n",
        ] {
            let text = with_ca(&format!("{HEAD}{engine}{host}"), &files).unwrap();
            let inventory = Inventory::parse(&text, "/s/machines/a.yaml").unwrap();
            let ca = inventory.engine.ca.unwrap();
            assert_eq!(
                ca.cert.path,
                Path::new("/s/machines/../certs/ca.pem"),
                "{text}"
            );
            assert_eq!(text.contains("# Mine."), engine.contains("# Mine."));
            assert_eq!(with_ca(&text, &files), None, "it has one");
            let (_, all) = host_of(&text, Path::new("a.yaml")).unwrap();
            assert_eq!(
                all.unwrap(),
                ["certs/ca.pem", "certs/ca-key.pem"].map(str::to_owned)
            );
        }
        assert_eq!(
            with_ca(&format!("engine:\n  options: {{}}\n{host}"), &files),
            None,
            "written otherwise"
        );
    }
}
