//! Getting an image onto a host: pulled by the host, or pushed from a tar on this machine.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::checksum::sha256_hex;
use crate::files;
use crate::host::{Command, Connection};
use crate::words::reason;

/// How long an image may take to be pulled or loaded: 50 MB over a slow line.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(600);

/// A tar of an image on this machine.
#[derive(Clone, Copy)]
pub struct Tar<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Its SHA-256 in lower-case hexadecimal, if it is to be checked.
    pub sha256: Option<&'a str>,
}

impl<'a> Tar<'a> {
    /// One that is taken as it is.
    #[must_use]
    pub fn unchecked(path: &'a Path) -> Self {
        Self { path, sha256: None }
    }
}

/// A tar as it is sent: packed once for all hosts, a third of its size on the wire. The engine unpacks what it loads. One that is packed
/// already stays as it is.
async fn packed(tar: Tar<'_>) -> std::io::Result<Bytes> {
    let Tar { path, sha256 } = tar;
    let tar = files::read_aside(path).await?;
    if let Some(wanted) = sha256 {
        let found = sha256_hex(&tar);
        if found != wanted {
            let words = format!("its SHA-256 is {found}, and the inventory says {wanted}");
            return Err(std::io::Error::other(words));
        }
    }
    Ok(tokio::task::spawn_blocking(move || pack(tar))
        .await
        .map_err(std::io::Error::other)??
        .into())
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

/// Gets an image onto a host that lacks it. `address` is where other hosts reach this one, if several of them lack it: then the tar is
/// sent to one of them only. The error is a sentence.
pub async fn ensure(
    host: &Connection,
    image: &str,
    tar: Option<Tar<'_>>,
    address: Option<IpAddr>,
) -> Result<(), String> {
    let here = Command::new(["docker", "image", "inspect", "--format", "{{.Id}}", image]);
    if host
        .run(&here)
        .await
        .map_err(|error| error.to_string())?
        .status
        == 0
    {
        return Ok(());
    }
    let (command, output) = match tar {
        Some(tar) => {
            let name = tar.path.display().to_string();
            let parcel = host.parcels.get(&name, packed(tar)).await;
            let parcel = parcel.map_err(|error| {
                format!("the image {image} cannot be read from {name}: {error}")
            })?;
            let command = Command::new(["docker", "load", "-q"]).timeout(IMAGE_TIMEOUT);
            let output = parcel.feed(host, address, &command).await;
            (command, output)
        }
        None => {
            let command = Command::new(["docker", "pull", "-q", image]).timeout(IMAGE_TIMEOUT);
            let output = host.run(&command).await;
            (command, output)
        }
    };
    let output = output.map_err(|error| error.to_string())?;
    if output.status != 0 {
        let error = host.failure(&command, output.status, &output).to_string();
        let hint = if tar.is_none() {
            "; a host without a registry takes it from a tar (`tar:` beside `image:`)"
        } else {
            ""
        };
        return Err(format!(
            "the image {image} cannot be had: {}{hint}",
            reason(&error)
        ));
    }
    match host
        .run(&here)
        .await
        .map_err(|error| error.to_string())?
        .status
    {
        0 => Ok(()),
        _ => Err(format!("the tar does not hold the image {image}")),
    }
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
        archive
            .append_data(&mut header, "zeros", &[0u8; 100_000][..])
            .unwrap();
        let plain = archive.into_inner().unwrap();
        let packed = pack(plain.clone()).unwrap();
        assert!(packed.len() < plain.len() / 10 && packed.starts_with(&[0x1f, 0x8b]));
        assert_eq!(pack(packed.clone()).unwrap(), packed);
        assert_eq!(pack(b"short".to_vec()).unwrap(), b"short");
    }
}
