//! The machines that are kept: an inventory a machine, `machines/NAME.yaml`, which is what it is made by, and `machines.yaml`, which has the
//! hosts of all of them and is made from those.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde_json::Value;

use crate::commands::load;
use crate::error::Error;
use crate::global::{Global, Output};
use crate::inventory::{HostSpec, Inventory};
use crate::ui::ColourChoice;

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
}

impl Machines {
    /// In this folder, or where they are kept.
    pub fn open(folder: Option<&Path>, verbose: u8) -> Result<Self, Error> {
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
        Ok(Self { folder, all })
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
        Inventory::parse(text, &self.file_of(name).display().to_string()).map_err(wrong)?;
        let all = self.composed(Some(text))?.unwrap_or_default();
        Inventory::parse(&all, &self.all.file.display().to_string())
            .map(drop)
            .map_err(wrong)
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
        let make = |folder: &Path| {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
        };
        make(&self.folder.join("machines")).map_err(failed)?;
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
        let mut hosts = String::new();
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            let _ = writeln!(hosts, "  - {}", host_of(&text, &path)?);
        }
        if let Some(text) = more {
            let _ = writeln!(
                hosts,
                "  - {}",
                host_of(text, Path::new("the new machine"))?
            );
        }
        Ok((!hosts.is_empty()).then(|| {
            format!("# All machines of docker-machine. Made from the files in machines/: change those, and `provision`.\n{HEAD}hosts:\n{hosts}")
        }))
    }
}

/// The host in the inventory of a machine, as somebody may have changed it.
fn host_of(text: &str, path: &Path) -> Result<Value, Error> {
    let wrong = |why: String| {
        Error::usage(format!("{} is no inventory of a machine", path.display())).because(why)
    };
    let document: Value = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
    match document["hosts"].as_array().map(Vec::as_slice) {
        Some([host]) => Ok(host.clone()),
        _ => Err(wrong("it has not one host below `hosts:`".to_owned())),
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

/// Whole or not at all, for this user alone (a temporary file is 0600).
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(path)
        .map(drop)
        .map_err(|error| failed(error.error))
}

fn failed(error: std::io::Error) -> Error {
    Error::failed("cannot keep the machines").because(error)
}
