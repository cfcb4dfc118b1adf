//! Bytes that many hosts get: sent over SSH once, and from there on from host to host, over their own network.
//!
//! The host that is asked first keeps them while the run lasts and gives them to who knows a token; each checks their SHA-256 before
//! it uses them. Where that cannot be (no Perl, a firewall between the hosts) they are sent over SSH as well.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openssh::ChildStdin;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio::time::timeout;
use tracing::debug;

use super::{Command, Connection, HostError, LONGEST_RUN, Output, Stream};
use crate::checksum::sha256_hex;

const KEEP: &str = include_str!("../../templates/host/parcel-keep.pl");
const FETCH: &str = include_str!("../../templates/host/parcel-fetch.pl");

/// Exit status of the second one for bytes that could not be had.
const NOT_HAD: i32 = 97;

/// How long the bytes may take to the host that keeps them: 200 MB over a slow line.
const SEND_TIMEOUT: Duration = Duration::from_secs(600);

/// Longest line that the keeper says, in bytes: a port.
const MAX_LINE: u64 = 10;

/// The parcels of a run, by what they are made from.
#[derive(Debug, Default)]
pub struct Parcels(Mutex<BTreeMap<String, Arc<OnceCell<Arc<Parcel>>>>>);

impl Parcels {
    /// A parcel, made when it is asked for first. Others that ask meanwhile wait for that; after an error the next one tries.
    pub async fn get<E>(
        &self,
        name: &str,
        make: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Arc<Parcel>, E> {
        let cell = Arc::clone(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(name.to_owned())
                .or_default(),
        );
        let parcel = cell
            .get_or_try_init(|| async { Ok(Arc::new(Parcel::new(make.await?))) })
            .await?;
        Ok(Arc::clone(parcel))
    }
}

/// Bytes for many hosts.
#[derive(Debug)]
pub struct Parcel {
    /// The bytes.
    pub bytes: Bytes,
    /// Their checksum, in hex.
    pub sha256: String,
    place: AsyncMutex<Place>,
}

#[derive(Debug)]
enum Place {
    /// Nobody has asked for them.
    Here,
    /// A host gives them to the others.
    At(Arc<Keeper>),
    /// The host that was asked to could not.
    OnlyHere,
}

/// A host that gives bytes to others, for as long as this lives.
#[derive(Debug)]
struct Keeper {
    address: Ipv4Addr,
    port: u16,
    token: String,
    _input: ChildStdin,
    _stream: Stream,
}

impl Parcel {
    fn new(bytes: Bytes) -> Self {
        let sha256 = sha256_hex(&bytes);
        Self {
            bytes,
            sha256,
            place: AsyncMutex::new(Place::Here),
        }
    }

    /// Runs a command with these bytes as its standard input. `address` is where the host's peers reach it; without one the bytes
    /// take the way over SSH.
    pub async fn feed(
        &self,
        host: &Connection,
        address: Option<IpAddr>,
        command: &Command,
    ) -> Result<Output, HostError> {
        if let Some(IpAddr::V4(address)) = address
            && let Some(keeper) = self.keeper(host, address).await
        {
            let fetch = ["perl", "-e", FETCH].map(str::to_owned).into_iter();
            let from = [
                keeper.address.to_string(),
                keeper.port.to_string(),
                self.bytes.len().to_string(),
            ];
            let prefix = fetch.chain(from).chain([self.sha256.clone()]);
            let output = host
                .run(&command.through(prefix, format!("{}\n", keeper.token)))
                .await?;
            if output.status != NOT_HAD {
                return Ok(output);
            }
            debug!(host = %host.spec.address, words = %output.stderr_text().trim(), "the bytes take the way over SSH");
        }
        host.run(&command.clone().stdin_shared(self.bytes.clone()))
            .await
    }

    /// Who gives the bytes to others: this host, if it is the first to ask. The others wait until it has them.
    async fn keeper(&self, host: &Connection, address: Ipv4Addr) -> Option<Arc<Keeper>> {
        let mut place = self.place.lock().await;
        if let Place::Here = *place {
            *place = match timeout(SEND_TIMEOUT, self.send(host, address)).await {
                Ok(Some(keeper)) => Place::At(Arc::new(keeper)),
                _ => Place::OnlyHere,
            };
        }
        match &*place {
            Place::At(keeper) => Some(Arc::clone(keeper)),
            Place::Here | Place::OnlyHere => None,
        }
    }

    async fn send(&self, host: &Connection, address: Ipv4Addr) -> Option<Keeper> {
        let argv = [
            "perl".to_owned(),
            "-e".to_owned(),
            KEEP.to_owned(),
            address.to_string(),
            self.bytes.len().to_string(),
        ];
        let mut stream = host
            .stream(&Command::new(argv).timeout(LONGEST_RUN))
            .await
            .ok()?;
        let (mut input, output) = (stream.stdin()?, stream.stdout()?);
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut line = String::new();
        let mut output = BufReader::new(output.take(MAX_LINE));
        // Both at once: one that cannot keep the bytes ends without reading them.
        let send = async {
            input.write_all(format!("{token}\n").as_bytes()).await?;
            input.write_all(&self.bytes).await?;
            input.flush().await
        };
        let (sent, read) = tokio::join!(send, output.read_line(&mut line));
        let port = sent
            .and(read)
            .ok()
            .and_then(|_| line.trim_end().parse().ok())?;
        debug!(host = %host.spec.address, bytes = self.bytes.len(), "sent over SSH once, for all hosts");
        Some(Keeper {
            address,
            port,
            token,
            _input: input,
            _stream: stream,
        })
    }
}
