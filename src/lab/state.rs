//! What a lab keeps on this machine: its SSH key, the host keys, and where its inventory is.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::LabError;
use crate::checksum::sha256_hex;
use crate::host::forget;
use crate::inventory::Inventory;

/// First line of an inventory that a lab wrote.
pub(super) const MARK: &str =
    "# Written by `docker-cluster lab up`; `lab down` removes it unless you change it.";

/// The folder of a lab. Names are checked where they are parsed, so they are safe in a path.
pub(super) fn folder(name: &str) -> Result<PathBuf, LabError> {
    let base = etcetera::choose_base_strategy()
        .map_err(|error| LabError::InTheWay(format!("this user has no home folder: {error}")))?;
    let base = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(base.join("docker-cluster").join("lab").join(name))
}

/// The folder of what can be made again: smoke images as tars.
pub(super) fn cache() -> Result<PathBuf, LabError> {
    let base = etcetera::choose_base_strategy()
        .map_err(|error| LabError::InTheWay(format!("this user has no home folder: {error}")))?;
    let folder = base.cache_dir().join("docker-cluster");
    std::fs::create_dir_all(&folder)
        .map_err(LabError::file(format!("cannot make {}", folder.display())))?;
    Ok(folder)
}

/// Makes the folder of a new lab, for this user alone, with a new SSH key in it. Returns the key's path.
pub(super) async fn create(name: &str) -> Result<PathBuf, LabError> {
    let folder = folder(name)?;
    // The rest of a lab whose hosts are gone.
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(LabError::file(format!(
            "cannot remove {}",
            folder.display()
        )))?;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(LabError::file(format!("cannot make {}", folder.display())))?;
    let key = folder.join("key");
    let comment = format!("docker-cluster lab {name}");
    super::images::program(
        tokio::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f"])
            .arg(&key),
    )
    .await?;
    Ok(key)
}

/// Refuses a path with a file that no lab wrote, and one that cannot be written to: both before hosts are made for it.
pub(super) fn check_inventory_path(path: &Path) -> Result<(), LabError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(LabError::InTheWay(format!(
            "there is no folder {} for the inventory; make it, or name another place with --inventory",
            folder.display()
        )));
    }
    match std::fs::read(path) {
        Ok(bytes) if !bytes.starts_with(MARK.as_bytes()) => Err(LabError::InTheWay(format!(
            "{} is there already, and no lab wrote it; name another with --inventory",
            path.display()
        ))),
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(LabError::file(
            format!("cannot read {}", path.display()),
        )(source)),
        _ => Ok(()),
    }
}

/// Writes the inventory, and remembers where and what.
pub(super) fn write_inventory(name: &str, path: &Path, text: &str) -> Result<(), LabError> {
    std::fs::write(path, text)
        .map_err(LabError::file(format!("cannot write {}", path.display())))?;
    let path = std::fs::canonicalize(path)
        .map_err(LabError::file(format!("cannot find {}", path.display())))?;
    let note = folder(name)?.join("inventory");
    std::fs::write(
        &note,
        format!("{}\n{}\n", path.display(), sha256_hex(text.as_bytes())),
    )
    .map_err(LabError::file(format!("cannot write {}", note.display())))
}

/// Where the lab's inventory was written.
pub(super) fn inventory_of(name: &str) -> Option<PathBuf> {
    let note = std::fs::read_to_string(folder(name).ok()?.join("inventory")).ok()?;
    note.lines()
        .next()
        .map(PathBuf::from)
        .filter(|path| path.exists())
}

/// Removes what a lab kept here.
pub(super) async fn remove(name: &str) -> Result<(), LabError> {
    let folder = folder(name)?;
    let note = std::fs::read_to_string(folder.join("inventory")).unwrap_or_default();
    let mut lines = note.lines();
    if let (Some(path), Some(sum)) = (lines.next(), lines.next())
        && let Ok(text) = std::fs::read_to_string(path)
    {
        if let Ok(inventory) = Inventory::parse(&text, path) {
            for host in &inventory.hosts {
                forget(host).await;
            }
        }
        if sha256_hex(text.as_bytes()) == sum {
            std::fs::remove_file(path).map_err(LabError::file(format!("cannot remove {path}")))?;
        }
    }
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LabError::file(format!(
            "cannot remove {}",
            folder.display()
        ))(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_that_cannot_be_written_is_refused_before_hosts_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("own.yaml"), b"hosts: \xff\n").unwrap();
        std::fs::write(at("lab.yaml"), format!("{MARK} x\n")).unwrap();
        let said = |name: &str| check_inventory_path(&at(name)).map_err(|error| error.to_string());
        assert!(said("new.yaml").is_ok());
        assert!(said("lab.yaml").is_ok());
        assert!(said("own.yaml").unwrap_err().contains("no lab wrote it"));
        assert!(
            said("none/new.yaml")
                .unwrap_err()
                .contains("there is no folder")
        );
        assert!(check_inventory_path(&at("")).is_err());
        assert!(check_inventory_path(Path::new("of-no-lab-yet.yaml")).is_ok());
    }
}
