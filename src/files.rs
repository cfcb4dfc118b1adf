//! Files on this machine that others name: in an inventory, or as an argument.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

/// The most that is read from a file with a password, a key or certificates, in bytes: a bundle of all public CAs has a quarter of it.
const SMALL_FILE: u64 = 1 << 20;

/// The right of everybody to read a file. That of its group does not count: it is often the owner's alone, or shares a secret on purpose.
const EVERYBODY_READS: u32 = 0o004;

/// Opens a regular file, and nothing else: a FIFO that nobody writes to and a terminal are waited for without end, and a device may have
/// no end.
fn open(path: &Path) -> io::Result<File> {
    let found = std::fs::metadata(path)?.file_type();
    let what = match found {
        _ if found.is_file() => return File::open(path),
        _ if found.is_dir() => "a directory",
        _ if found.is_fifo() => "a FIFO",
        _ if found.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::other(format!(
        "it is {what}, and only a regular file is read"
    )))
}

/// Reads a file, however large it is.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same where others are at work meanwhile.
pub async fn read_aside(path: &Path) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read(&path))
        .await
        .map_err(io::Error::other)?
}

/// Reads a file that is small: a disk image in its place would take all memory of this machine.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = open(path)?.take(SMALL_FILE + 1);
    match file.read_to_end(&mut bytes)? as u64 > SMALL_FILE {
        true => Err(io::Error::other("it is too large for what is to be in it")),
        false => Ok(bytes),
    }
}

/// Whether everybody on this machine may read a file.
#[must_use]
pub fn everybody_reads(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & EVERYBODY_READS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_regular_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        for (path, what) in [
            (fifo.as_path(), "a FIFO"),
            (folder.path(), "a directory"),
            (Path::new("/dev/zero"), "a device"),
            (Path::new("/dev/null"), "a device"),
        ] {
            let wanted = format!("it is {what}, and only a regular file is read");
            let told = [
                read(path).unwrap_err(),
                read_aside(path).await.unwrap_err(),
                read_small(path).unwrap_err(),
            ];
            assert_eq!(told.map(|error| error.to_string()), [&*wanted; 3]);
        }
    }

    #[test]
    fn a_file_that_is_too_large_takes_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image)
            .unwrap()
            .set_len(SMALL_FILE + 1)
            .unwrap();
        let told = read_small(&image).unwrap_err().to_string();
        assert_eq!(told, "it is too large for what is to be in it");
        assert_eq!(read(&image).unwrap().len() as u64, SMALL_FILE + 1);
    }

    #[test]
    fn a_file_of_the_group_is_not_everybodys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for (mode, open) in [(0o644, true), (0o640, false), (0o600, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(everybody_reads(&file), open, "{mode:o}");
        }
    }
}
