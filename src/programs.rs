//! Getting a program on this machine, to push it: from a file or a URL, never without its checksum.

use std::io::{Cursor, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::checksum::sha256_hex;
use crate::clients::http::{body, chain};
use crate::files;

/// Largest program accepted, in bytes. Consul's is about 170 MB today.
const MAX_PROGRAM: usize = 512 << 20;

/// How long a server may be silent: a mirror that is busy takes some seconds, and one that is gone never answers.
const SILENCE: Duration = Duration::from_secs(60);

/// Reads a program from a path or an `http(s)://` URL and checks it. A zip that holds one file called `consul` is unpacked.
pub async fn fetch(source: &str, sha256: &str) -> Result<Bytes, String> {
    let bytes = if source.starts_with("https://") || source.starts_with("http://") {
        download(source, MAX_PROGRAM).await?
    } else {
        files::read_aside(Path::new(source))
            .await
            .map_err(|error| format!("cannot read {source}: {error}"))?
    };
    let found = sha256_hex(&bytes);
    if found != sha256 {
        return Err(format!(
            "{source} has the SHA-256 {found}, and the inventory says {sha256}; it is not used"
        ));
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return unzip(&bytes)
            .map(Bytes::from)
            .map_err(|error| format!("cannot unpack {source}: {error}"));
    }
    Ok(bytes.into())
}

async fn download(url: &str, limit: usize) -> Result<Vec<u8>, String> {
    let problem = |error: String| format!("cannot fetch {url}: {error}");
    let client = reqwest::Client::builder()
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .build();
    let request = client
        .map_err(|error| problem(chain(&error)))?
        .get(url)
        .send();
    let response = request.await.and_then(reqwest::Response::error_for_status);
    body(response.map_err(|error| problem(chain(&error)))?, limit)
        .await
        .map_err(problem)
}

fn unzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let file = archive
        .by_name("consul")
        .map_err(|_| "it holds no file called `consul`".to_owned())?;
    let mut program = Vec::new();
    file.take(MAX_PROGRAM as u64)
        .read_to_end(&mut program)
        .map_err(|error| error.to_string())?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// Answers one request on loopback with these bytes; the URL to ask.
    fn serve(bytes: Vec<u8>) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/consul", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                bytes.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        url
    }

    fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(bytes).unwrap();
        archive.finish().unwrap().into_inner()
    }

    /// Answers one request on loopback without saying how long the answer is; the URL to ask.
    fn serve_endlessly() -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/consul", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
                .unwrap();
            while stream.write_all(&[0; 1 << 16]).is_ok() {}
        });
        url
    }

    #[tokio::test]
    async fn a_server_that_never_stops_is_cut_off() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let error = download(&serve_endlessly(), 1 << 20).await.unwrap_err();
        assert!(
            error.contains("more than 1048576 bytes and was cut off"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_program_comes_from_a_url_and_only_with_its_checksum() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let program = b"\x7fELF the program".to_vec();
        let sum = sha256_hex(&program);
        assert_eq!(fetch(&serve(program.clone()), &sum).await.unwrap(), program);
        let error = fetch(&serve(program.clone()), &"0".repeat(64))
            .await
            .unwrap_err();
        assert!(
            error.contains(&sum) && error.contains("it is not used"),
            "{error}"
        );
        // The checksum is of the file as it is published, which for Consul is a zip.
        let zip = zipped("consul", &program);
        assert_eq!(
            fetch(&serve(zip.clone()), &sha256_hex(&zip)).await.unwrap(),
            program
        );
        let zip = zipped("nomad", &program);
        let error = fetch(&serve(zip.clone()), &sha256_hex(&zip))
            .await
            .unwrap_err();
        assert!(
            error.contains("it holds no file called `consul`"),
            "{error}"
        );
    }
}
