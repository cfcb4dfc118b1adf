//! One mutating run per cluster: a lock on every host, held by a remote process that lives on heartbeats.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::host::{Command, Connection, HostError, Hosts, LONGEST_RUN};
use crate::inventory::{HostName, Inventory};

const SCRIPT: &str = include_str!("../templates/lock.sh");

/// How often the holder is told that we live. Three may be lost before [`EXPIRY_SECONDS`].
const HEARTBEAT: Duration = Duration::from_secs(10);

/// When a holder that hears nothing lets go, in seconds: longer than a hiccup of the network, shorter than a coffee.
const EXPIRY_SECONDS: u64 = 40;

/// How long the lock may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `user@machine`.
    pub who: String,
    /// Process id there.
    pub pid: u32,
    /// The command.
    pub command: String,
    /// Since when, as RFC 3339 in UTC by that machine's clock.
    pub since: String,
}

/// A lock that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("another run holds the cluster: {who} since {since}, with `{command}` (process {pid}), seen on {host}", who = holder.who, since = holder.since, command = holder.command, pid = holder.pid)]
    Held {
        /// Where it was seen.
        host: HostName,
        /// Who has it.
        holder: Holder,
    },
    /// A host failed.
    #[error("cannot lock the cluster on {host}: {error}")]
    Host {
        /// Which.
        host: HostName,
        /// Why.
        error: HostError,
    },
}

/// A held lock. Dropping it ends the heartbeats, and the holders let go.
#[derive(Debug)]
pub struct Lock(Vec<JoinHandle<()>>);

impl Drop for Lock {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Locks the cluster on every connected host. The first of the inventory decides between two runs that start at the same
/// instant; the others follow at once.
pub async fn lock(inventory: &Inventory, hosts: &Hosts, command: &str) -> Result<Lock, LockError> {
    let since =
        time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let holder = Holder { who: crate::apply::who(), pid: std::process::id(), command: command.to_owned(), since };
    let path = format!("/run/docker-cluster-{}.lock", inventory.cluster);
    let mut ordered = inventory.hosts.iter().filter_map(|spec| Some((&spec.name, hosts.get(&spec.name)?)));
    let mut lock = Lock(Vec::new());
    if let Some((name, host)) = ordered.next() {
        lock.0.push(lock_host(name, host, &path, &holder).await?);
    }
    for result in
        futures_util::future::join_all(ordered.map(|(name, host)| lock_host(name, host, &path, &holder))).await
    {
        lock.0.push(result?);
    }
    Ok(lock)
}

/// How often a lock that somebody holds is asked for again. Each question is a command on a host.
const WAIT_POLL: Duration = Duration::from_secs(1);

/// The same, and waits this long for a run that holds it. `told` is called once, with who that is.
pub async fn lock_within(
    inventory: &Inventory,
    hosts: &Hosts,
    command: &str,
    patience: Duration,
    told: impl FnOnce(&LockError),
) -> Result<Lock, LockError> {
    let end = Instant::now() + patience;
    let mut told = Some(told);
    loop {
        match lock(inventory, hosts, command).await {
            Err(held @ LockError::Held { .. }) if Instant::now() < end => {
                if let Some(told) = told.take() {
                    told(&held);
                }
                tokio::time::sleep(WAIT_POLL).await;
            }
            other => return other,
        }
    }
}

async fn lock_host(
    name: &HostName,
    host: &Arc<Connection>,
    path: &str,
    holder: &Holder,
) -> Result<JoinHandle<()>, LockError> {
    let wrong = |error: HostError| LockError::Host { host: name.clone(), error };
    let info = serde_json::to_string(holder).unwrap_or_default();
    let command =
        Command::new(["sh", "-c", SCRIPT, "lock", path, &info, &EXPIRY_SECONDS.to_string()]).timeout(LONGEST_RUN);
    let mut stream = host.stream(&command).await.map_err(wrong)?;
    let lost = || HostError::Disconnected { command: "lock".to_owned() };
    let (Some(mut stdin), Some(stdout)) = (stream.stdin(), stream.stdout()) else {
        return Err(wrong(lost()));
    };
    let mut lines = BufReader::new(stdout).lines();
    let answer = timeout(ANSWER_TIMEOUT, lines.next_line()).await.map_err(|_| wrong(lost()))?;
    match answer.ok().flatten().as_deref() {
        Some("locked") => Ok(tokio::spawn(async move {
            // The streams live in this task: when it ends, the remote end sees the end of its input.
            let _stream = stream;
            while stdin.write_all(b"+").await.is_ok() && stdin.flush().await.is_ok() {
                tokio::time::sleep(HEARTBEAT).await;
            }
        })),
        Some("held") => {
            let text = timeout(ANSWER_TIMEOUT, lines.next_line())
                .await
                .ok()
                .and_then(Result::ok)
                .flatten()
                .unwrap_or_default();
            // A holder that is just writing its name, or letting go, shows an empty one.
            let unknown = Holder {
                who: "somebody".to_owned(),
                pid: 0,
                command: "?".to_owned(),
                since: "a moment ago".to_owned(),
            };
            let text = crate::host::printable(text.as_bytes());
            Err(LockError::Held { host: name.clone(), holder: serde_json::from_str(&text).unwrap_or(unknown) })
        }
        _ => Err(wrong(HostError::Failed {
            command: "lock".to_owned(),
            status: 1,
            stderr: "the host did not answer; it needs `flock` and root rights".to_owned(),
        })),
    }
}
