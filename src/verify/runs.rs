//! Which verifications of this user run on this machine: each holds a lock on a file with its name. What a killed one has left on
//! the hosts is removed by the next, and what belongs to one that still runs is left alone.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// A verification that runs.
#[derive(Debug)]
pub struct Running {
    /// Its name, eight hexadecimal digits.
    pub name: String,
    /// The names of those that were killed.
    pub dead: Vec<String>,
    files: Vec<PathBuf>,
    /// Locked as long as this lives.
    _lock: Option<File>,
}

impl Running {
    /// Begins one. Without a folder to lock in, leftovers only end by their own deadline.
    #[must_use]
    pub fn begin() -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let (mut dead, mut files, mut lock) = (Vec::new(), Vec::new(), None);
        if let Some(folder) = folder() {
            for path in std::fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
            {
                let Some(other) = path.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                let free = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
                if free
                    && other.len() == name.len()
                    && other.bytes().all(|byte| byte.is_ascii_hexdigit())
                {
                    dead.push(other.to_owned());
                    files.push(path);
                }
            }
            let path = folder.join(&name);
            lock = locked(&path);
            files.push(path);
        }
        Self {
            name,
            dead,
            files,
            _lock: lock,
        }
    }

    /// Ends it: its containers are removed, and those of the dead ones as well.
    pub fn end(self) {
        for file in &self.files {
            // Left behind, it is found dead again and nothing is found on the hosts.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Makes the file of a run that is alive. Another run that begins at this moment tries the locks of
/// all files: it must not find one that is not locked yet, and take this run for dead, nor have the
/// lock itself in the moment in which this one wants it. So the file gets its name when it is locked.
fn locked(path: &Path) -> Option<File> {
    let unnamed = path.with_extension("new");
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&unnamed)
        .ok()?;
    let held = file.try_lock().is_ok() && std::fs::rename(&unnamed, path).is_ok();
    held.then_some(file)
}

fn folder() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    let folder = base
        .state_dir()
        .unwrap_or_else(|| base.data_dir())
        .join("docker-cluster")
        .join("verify");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}
