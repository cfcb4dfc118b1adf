//! One mutating run per host: a lock on every host of a run, held by a remote process that lives on heartbeats and answers each.
//!
//! A laptop that sleeps sends none, and the hosts let go. So a lock is only counted on for as long as its last answered heartbeat lasts,
//! by a clock that goes on in sleep, and it is looked at before every step.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::host::{Command, Connection, HostError, Hosts, LONGEST_RUN};
use crate::inventory::{HostName, Inventory};

const SCRIPT: &str = include_str!("../templates/lock.sh");

/// How often the holder is told that we live. Three may be lost before [`EXPIRY_SECONDS`].
const HEARTBEAT: Duration = Duration::from_secs(10);

/// When a holder that hears nothing lets go, in seconds: longer than a hiccup of the network, shorter than a coffee.
const EXPIRY_SECONDS: u64 = 40;

/// How much earlier than the remote end lets go the lock is not counted on any more, in seconds: a step that begins takes a moment to
/// get there, and two clocks need not run alike.
const MARGIN_SECONDS: u64 = 5;

/// How long the lock may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A heartbeat.
const BEAT: &[u8] = b"+";

/// Most bytes that the remote end says: who holds a lock, and two for each heartbeat of the longest run.
const MAX_SAID: u64 = 1 << 17;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `user@machine`.
    pub who: String,
    /// What the cluster is called in their inventory. Version 0.1 did not say.
    #[serde(default)]
    pub cluster: String,
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
    #[error("another run holds the cluster: {who} since {since}, with `{command}`{other} (process {pid}), seen on {host}", who = holder.who, since = holder.since, command = holder.command, pid = holder.pid, other = other_name(.cluster, .holder))]
    Held {
        /// What the cluster is called here.
        cluster: String,
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

fn other_name(cluster: &str, holder: &Holder) -> String {
    match holder.cluster.as_str() {
        "" => String::new(),
        other if other == cluster => String::new(),
        other => format!(" of the cluster {other}"),
    }
}

/// A lock that was held and is not, or may not be, any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the lock of {0} is lost: this machine slept, or the connection was away; the host lets go {EXPIRY_SECONDS} s after the last sign of \
     life, and another run may be at work there"
)]
pub struct LostLock(HostName);

impl LostLock {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        "look at `docker-cluster plan`, then run the same command again: it goes on from what it finds".to_owned()
    }
}

/// A held lock. Dropping it ends the heartbeats, and the holders let go.
#[derive(Debug, Default)]
pub struct Lock(Vec<Held>);

#[derive(Debug)]
struct Held {
    host: HostName,
    pulse: Arc<Pulse>,
    beats: JoinHandle<()>,
}

/// What is known of a holder.
#[derive(Debug, Default)]
struct Pulse {
    /// Until when it certainly holds, in milliseconds of [`awake_or_asleep`].
    sure_until: AtomicU64,
    /// Whether it has ended.
    ended: AtomicBool,
}

impl Pulse {
    /// A heartbeat was answered that was sent then.
    fn answered(&self, sent: Duration) {
        let until = sent + Duration::from_secs(EXPIRY_SECONDS - MARGIN_SECONDS);
        self.sure_until.store(
            u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
            Ordering::SeqCst,
        );
    }

    fn is_held(&self, now: Duration) -> bool {
        !self.ended.load(Ordering::SeqCst)
            && now.as_millis() < u128::from(self.sure_until.load(Ordering::SeqCst))
    }
}

impl Lock {
    /// Whether a host is still held by this run; an error if not. A host that was never locked is not.
    pub fn check(&self, host: &HostName) -> Result<(), LostLock> {
        let now = awake_or_asleep();
        match self
            .0
            .iter()
            .any(|held| held.host == *host && held.pulse.is_held(now))
        {
            true => Ok(()),
            false => Err(LostLock(host.clone())),
        }
    }

    /// Whether no host is held any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let now = awake_or_asleep();
        !self.0.iter().any(|held| held.pulse.is_held(now))
    }
}

// Of each by itself: one that was had while another host refused must not go on beating.
impl Drop for Held {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

/// Time since this machine was started, sleep included: the clock of `Instant` stands still in sleep. Where there is no such clock, that.
fn awake_or_asleep() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|word| word.parse().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or_else(|| BEGAN.elapsed())
}

/// Locks every connected host. The first of the inventory decides between two runs that start at the same instant; the others follow
/// at once.
pub async fn lock(inventory: &Inventory, hosts: &Hosts, command: &str) -> Result<Lock, LockError> {
    let since = time::OffsetDateTime::now_utc()
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default();
    let cluster = inventory.cluster.to_string();
    let holder = Holder {
        who: crate::whoami::whoami(),
        cluster,
        pid: std::process::id(),
        command: command.to_owned(),
        since,
    };
    let mut ordered = inventory
        .hosts
        .iter()
        .filter_map(|spec| Some((&spec.name, hosts.get(&spec.name)?)));
    let mut lock = Lock::default();
    if let Some((name, host)) = ordered.next() {
        lock.0.push(lock_host(name, host, &holder).await?);
    }
    for result in
        futures_util::future::join_all(ordered.map(|(name, host)| lock_host(name, host, &holder)))
            .await
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
    holder: &Holder,
) -> Result<Held, LockError> {
    let wrong = |error: HostError| LockError::Host {
        host: name.clone(),
        error,
    };
    let info = serde_json::to_string(holder).unwrap_or_default();
    let command = Command::new([
        "sh",
        "-c",
        SCRIPT,
        "lock",
        &holder.cluster,
        &info,
        &EXPIRY_SECONDS.to_string(),
    ])
    .timeout(LONGEST_RUN);
    let mut stream = host.stream(&command).await.map_err(wrong)?;
    let lost = || HostError::Disconnected {
        command: "lock".to_owned(),
    };
    let (Some(mut stdin), Some(stdout)) = (stream.stdin(), stream.stdout()) else {
        return Err(wrong(lost()));
    };
    let mut lines = BufReader::new(stdout.take(MAX_SAID)).lines();
    // The first heartbeat goes with the question: from when it is sent the remote end counts.
    let sent = awake_or_asleep();
    let _ = stdin.write_all(BEAT).await;
    let _ = stdin.flush().await;
    let answer = timeout(ANSWER_TIMEOUT, lines.next_line())
        .await
        .map_err(|_| wrong(lost()))?;
    // Why the command did not begin is in the error of the stream.
    let answer = answer.map_err(|error| wrong(error.downcast().unwrap_or_else(|_| lost())))?;
    match answer.as_deref() {
        Some("locked") => {
            let pulse = Arc::new(Pulse::default());
            pulse.answered(sent);
            let watched = Arc::clone(&pulse);
            let beats = tokio::spawn(async move {
                // The streams live in this task: when it ends, the remote end sees the end of its input.
                let _stream = stream;
                beat(&mut stdin, &mut lines, &watched, sent).await;
                watched.ended.store(true, Ordering::SeqCst);
            });
            Ok(Held {
                host: name.clone(),
                pulse,
                beats,
            })
        }
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
                cluster: String::new(),
                pid: 0,
                command: "?".to_owned(),
                since: "a moment ago".to_owned(),
            };
            let text = crate::words::printable(text.as_bytes());
            let holder_there = serde_json::from_str(&text).unwrap_or(unknown);
            Err(LockError::Held {
                cluster: holder.cluster.clone(),
                host: name.clone(),
                holder: holder_there,
            })
        }
        Some(other) => {
            let stderr = crate::words::printable(other.as_bytes());
            Err(wrong(HostError::Failed {
                command: "lock".to_owned(),
                status: 1,
                stderr,
            }))
        }
        None => Err(wrong(lost())),
    }
}

/// Sends heartbeats and hears the answers, until the other side ends. `sent` is when the first one was, which is not answered yet.
async fn beat(
    stdin: &mut (impl AsyncWrite + Unpin),
    lines: &mut Lines<impl AsyncBufRead + Unpin>,
    pulse: &Pulse,
    mut sent: Duration,
) {
    loop {
        // An answer that does not come leaves `sure_until` where it is.
        if !matches!(lines.next_line().await, Ok(Some(_))) {
            return;
        }
        pulse.answered(sent);
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            // It says nothing unasked: this is its end.
            _ = lines.next_line() => return,
        }
        sent = awake_or_asleep();
        if stdin.write_all(BEAT).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_counts_for_as_long_as_its_last_answered_heartbeat() {
        let pulse = Pulse::default();
        let at = Duration::from_secs;
        assert!(!pulse.is_held(at(0)), "nothing was answered");
        pulse.answered(at(100));
        assert!(pulse.is_held(at(134)));
        assert!(!pulse.is_held(at(135)), "the remote end lets go at 140");
        pulse.answered(at(130));
        assert!(pulse.is_held(at(135)));
        pulse.ended.store(true, Ordering::SeqCst);
        assert!(!pulse.is_held(at(135)));
    }

    #[test]
    fn a_host_that_was_never_locked_is_not_held() {
        let host = HostName::parse("a").unwrap();
        let error = Lock::default().check(&host).unwrap_err();
        assert!(
            error.to_string().starts_with("the lock of a is lost"),
            "{error}"
        );
    }

    #[test]
    fn the_clock_goes_on() {
        let first = awake_or_asleep();
        assert!(first > Duration::ZERO && awake_or_asleep() >= first);
    }

    #[tokio::test]
    async fn an_end_of_the_other_side_is_noticed_between_heartbeats() {
        let (ours, theirs) = tokio::io::duplex(64);
        let (read, mut write) = tokio::io::split(ours);
        let mut lines = BufReader::new(read).lines();
        let pulse = Arc::new(Pulse::default());
        let watched = Arc::clone(&pulse);
        let task = tokio::spawn(async move {
            beat(&mut write, &mut lines, &watched, Duration::from_secs(7)).await
        });
        let (read, mut write) = tokio::io::split(theirs);
        write.write_all(b"+\n").await.unwrap();
        write.flush().await.unwrap();
        while pulse.sure_until.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(pulse.is_held(Duration::from_secs(41)));
        drop((read, write));
        // Long before the next heartbeat is due.
        timeout(HEARTBEAT / 2, task).await.unwrap().unwrap();
    }
}
