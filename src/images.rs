//! Getting an image onto a host: pulled by the host, or pushed from a tar on this machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Mutex;

use crate::host::{Command, Connection};

/// How long an image may take to be pulled or loaded: 50 MB over a slow line.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(600);

/// The tar that was read last, with its path. Hosts ask at the same time: the first one reads and packs it, the others wait for that.
static PACKED: Mutex<Option<(PathBuf, Bytes)>> = Mutex::const_new(None);

/// A tar as it is sent: packed once for all hosts, a third of its size on the wire. The engine unpacks what it loads. One that is packed
/// already stays as it is.
async fn packed(path: &Path) -> std::io::Result<Bytes> {
    let mut kept = PACKED.lock().await;
    if let Some((_, bytes)) = kept.as_ref().filter(|(of, _)| of == path) {
        return Ok(bytes.clone());
    }
    let tar = tokio::fs::read(path).await?;
    let bytes: Bytes = tokio::task::spawn_blocking(move || pack(tar)).await.map_err(std::io::Error::other)??.into();
    *kept = Some((path.to_owned(), bytes.clone()));
    Ok(bytes)
}

/// How the magic of a plain tar reads, and where it is.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

fn pack(tar: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let (at, magic) = TAR_MAGIC;
    if tar.get(at..at + magic.len()) != Some(magic) {
        return Ok(tar);
    }
    // The fastest level: the next ones cost more time here than they save on a line of 100 Mbit/s.
    let mut encoder = GzEncoder::new(Vec::with_capacity(tar.len() / 2), Compression::fast());
    encoder.write_all(&tar)?;
    encoder.finish()
}

/// Gets an image onto a host that lacks it. The error is a sentence.
pub async fn ensure(host: &Connection, image: &str, tar: Option<&Path>) -> Result<(), String> {
    let here = Command::new(["docker", "image", "inspect", "--format", "{{.Id}}", image]);
    if host.run(&here).await.map_err(|error| error.to_string())?.status == 0 {
        return Ok(());
    }
    let command = match tar {
        Some(path) => {
            let bytes = packed(path)
                .await
                .map_err(|error| format!("the image {image} cannot be read from {}: {error}", path.display()))?;
            Command::new(["docker", "load", "-q"]).stdin_shared(bytes)
        }
        None => Command::new(["docker", "pull", "-q", image]),
    };
    host.check(&command.timeout(IMAGE_TIMEOUT)).await.map_err(|error| {
        let hint = if tar.is_none() { "; a host without a registry takes it from a tar (`smoke.tar`)" } else { "" };
        format!("the image {image} cannot be had: {}{hint}", last_line(&error.to_string()))
    })?;
    match host.run(&here).await.map_err(|error| error.to_string())?.status {
        0 => Ok(()),
        _ => Err(format!("the tar does not hold the image {image}")),
    }
}

/// The last line of an error: where programs say what it was.
#[must_use]
pub fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_tar_is_packed_and_anything_else_is_left() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(100_000);
        header.set_cksum();
        archive.append_data(&mut header, "zeros", &[0u8; 100_000][..]).unwrap();
        let plain = archive.into_inner().unwrap();
        let packed = pack(plain.clone()).unwrap();
        assert!(packed.len() < plain.len() / 10 && packed.starts_with(&[0x1f, 0x8b]));
        assert_eq!(pack(packed.clone()).unwrap(), packed);
        assert_eq!(pack(b"short".to_vec()).unwrap(), b"short");
    }
}
