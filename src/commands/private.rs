//! Files and folders of this machine that are for this user alone.

use std::io::{Error, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes a folder that is not there, and those above it (0700).
pub fn folder(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Writes a file (0600), in a folder that is made if need be. Renamed into place: who reads meanwhile reads the old one or the new one.
pub fn file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let above = path.parent().unwrap_or(Path::new("."));
    folder(above)?;
    let mut new = tempfile::NamedTempFile::new_in(above)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(path).map(drop).map_err(|error| error.error)
}
