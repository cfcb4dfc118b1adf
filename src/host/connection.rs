//! A connected host: commands and streams, each in a session of its own, over as many connections as they need.
//!
//! sshd bounds the sessions of a connection (`MaxSessions`: ten, two on a hardened host, and other commands of the same person have some
//! of them). One that is refused waits until a short one of ours ends. Where only such are open as stay open (the lock, the runner, ways
//! to the engine), a further connection is made.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use openssh::{ForwardType, OwningCommand, Session, Socket, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tracing::{debug, trace};

use super::runner::{self, Runner};
use super::ssh::{Liveness, MASTER_CHECK_TIMEOUT, Way, local};
use super::stream::{Beginning, Stream};
use super::wire::{Framed, Heard, MAX_NOISE, Wire, refused};
use super::{Command, HostError, LONGEST_RUN, MAX_OUTPUT, Output, Parcels, Rights};
use crate::inventory::SshSpec;

/// How many commands run on one host at a time in sessions of their own. sshd allows ten per connection (`MaxSessions`); three are
/// left for the lock, for the runner, and for a person.
const SESSIONS_PER_HOST: usize = 7;

/// How many connections to one host are opened at most, beyond which sshd is said to allow too little. Where it allows one session each,
/// there must be one for the lock, the runner, short commands, an image for other hosts, and some ways to the engine.
pub(super) const CONNECTIONS_PER_HOST: usize = 10;

/// The number of a connection that is made for one command: one that no other has.
const FRESH: usize = CONNECTIONS_PER_HOST;

/// How long the host may take to open a session, and to begin a command whose streams stay open: sshd says so as soon as it has forked.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a short command waits for a session that another one has, before a further connection is made for it. Most of them end within
/// that, and some install packages.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// How long sshd may still count a session that has ended: until it has heard that this end has heard of it, a round trip.
const SETTLE: Duration = Duration::from_millis(500);

/// How often it is tried again within [`SETTLE`].
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// On top of a command's own deadline, which the remote `timeout` enforces: its `-k 5` and the way back.
const DEADLINE_GRACE: Duration = Duration::from_secs(10);

/// A connected host.
#[derive(Debug)]
pub struct Connection {
    /// How it was reached.
    pub spec: SshSpec,
    /// Just made, or found.
    pub liveness: Liveness,
    /// What this run has for many hosts.
    pub parcels: Arc<Parcels>,
    way: Way,
    /// The connection that was made first, and further ones for sessions that it refused.
    masters: Mutex<Vec<Arc<Session>>>,
    first: Arc<Session>,
    sessions: Semaphore,
    /// Sessions of short commands that are open, and a word when one of them ends.
    short: AtomicUsize,
    ended: Notify,
    last_end: StdMutex<Option<Instant>>,
    /// Held by the short command whose turn it is to get what becomes free.
    turn: Mutex<()>,
    runner: Mutex<Option<Runner>>,
    forwards: AtomicUsize,
}

/// Something on a host that a local socket can be connected to.
#[derive(Debug, Clone)]
pub enum Remote {
    /// A unix socket.
    Unix(String),
    /// A TCP port on the host's own loopback.
    Loopback(u16),
}

/// How long a session stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// As long as one command; others wait for it.
    Short,
    /// As long as it likes.
    Long,
}

/// A short session that is open; others are told when it ends.
struct Open<'a>(&'a Connection);

impl<'a> Open<'a> {
    fn new(connection: &'a Connection) -> Self {
        connection.short.fetch_add(1, Ordering::SeqCst);
        Self(connection)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        *self
            .0
            .last_end
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.short.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

/// What has come from a command so far.
#[derive(Default)]
struct Came {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Connection {
    pub(super) fn new(
        spec: SshSpec,
        liveness: Liveness,
        parcels: Arc<Parcels>,
        way: Way,
        session: Session,
    ) -> Self {
        let first = Arc::new(session);
        Self {
            spec,
            liveness,
            parcels,
            way,
            masters: Mutex::new(vec![Arc::clone(&first)]),
            first,
            sessions: Semaphore::new(SESSIONS_PER_HOST),
            short: AtomicUsize::new(0),
            ended: Notify::new(),
            last_end: StdMutex::default(),
            turn: Mutex::default(),
            runner: Mutex::new(None),
            forwards: AtomicUsize::new(0),
        }
    }

    /// Runs a command over a further connection, which is made for it now and ends with it, whatever others there are.
    pub async fn check_anew(&self, command: &Command) -> Result<String, HostError> {
        self.way.stop_one(&self.spec, FRESH).await;
        let (session, liveness) = self.way.master(&self.spec, FRESH).await?;
        let fresh = Self::new(
            self.spec.clone(),
            liveness,
            Arc::clone(&self.parcels),
            self.way.clone(),
            session,
        );
        let checked = fresh.check(command).await;
        self.way.stop_one(&self.spec, FRESH).await;
        checked
    }

    /// Opens one session for the commands that follow each other from here on, until [`Connection::release`]. A host without Perl
    /// gets a session for each, as before.
    pub async fn hold(&self) {
        if let Ok(mut stream) = self.stream(&runner::command().timeout(LONGEST_RUN)).await
            && let (Some(input), Some(output)) = (stream.stdin(), stream.stdout())
        {
            *self.runner.lock().await = Some(Runner::new(stream, input, output));
        }
    }

    /// Ends what [`Connection::hold`] began.
    pub async fn release(&self) {
        self.runner.lock().await.take();
    }

    /// Runs a command over the session that is held, unless there is none, it is busy, or the command has to have its own.
    async fn run_held(&self, command: &Command) -> Option<Result<Output, HostError>> {
        if command.rights != Rights::Root || command.stdin.len() > runner::MAX_INPUT {
            return None;
        }
        let mut place = self.runner.try_lock().ok()?;
        // Not in its place while it works: one that was left in the middle of a command is of no more use.
        let mut runner = place.take()?;
        trace!(address = %self.spec.address, port = self.spec.port, command = %command.display(), "run in the held session");
        match timeout(command.timeout + DEADLINE_GRACE, runner.run(command)).await {
            Ok(Ok(output)) => {
                *place = Some(runner);
                Some(Ok(output))
            }
            Ok(Err(broken)) => broken.error(command).map(Err),
            Err(_) => Some(Err(HostError::CommandTimedOut {
                command: command.display(),
                after: command.timeout,
            })),
        }
    }

    /// Runs a command and returns what it gave back, whatever its status.
    pub async fn run(&self, command: &Command) -> Result<Output, HostError> {
        if let Some(result) = self.run_held(command).await {
            return result;
        }
        let _permit = self.session_permit().await?;
        let wire = Wire::new(command, self.spec.become_root, Framed::Whole)?;
        trace!(address = %self.spec.address, port = self.spec.port, command = %command.display(), "run");
        let (mut child, _open) = self
            .open(&wire.line, Stay::Short, &command.display())
            .await?;
        let mut came = Came::default();
        let hear = async {
            run_inner(&mut child, command, &mut came).await?;
            // Its end is waited for in any case: before that its session is not free.
            Ok(child.wait().await)
        };
        let ended = timeout(command.timeout + DEADLINE_GRACE, hear).await;
        let heard = wire.marks.read(&came.stdout, &came.stderr);
        match (ended, heard) {
            (Ok(Err(error)), _) => Err(error),
            (_, Heard::Ran(output)) => within(output, command),
            // Where the login says something else and then waits, its words are worth more than how long it took.
            (Err(_), Heard::NoShell(words)) if !words.is_empty() => Err(HostError::NoShell {
                destination: self.spec.destination(),
                words,
            }),
            (Err(_), _) => Err(HostError::CommandTimedOut {
                command: command.display(),
                after: command.timeout,
            }),
            // What the crate makes of 127, the status of a shell that did not find its command.
            (Ok(Ok(Ok(_) | Err(openssh::Error::Remote(_)))), heard) => {
                Err(refused(&self.spec, heard, &command.display()))
            }
            // A connection that ended says nothing of the login, whatever it had printed by then.
            (Ok(Ok(Err(_))), _) => Err(HostError::Disconnected {
                command: command.display(),
            }),
        }
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub async fn check(&self, command: &Command) -> Result<String, HostError> {
        let output = self.run(command).await?;
        match output.status {
            0 => Ok(output.stdout_text()),
            status => Err(self.failure(command, status, &output)),
        }
    }

    /// The error that a failed command stands for.
    #[must_use]
    pub fn failure(&self, command: &Command, status: i32, output: &Output) -> HostError {
        let stderr = output.stderr_text();
        match status {
            // What `timeout` exits with when the time is over, and with `-k` when it had to kill.
            124 | 137 if stderr.is_empty() => HostError::CommandTimedOut {
                command: command.display(),
                after: command.timeout,
            },
            _ => HostError::Failed {
                command: command.display(),
                status,
                stderr,
            },
        }
    }

    /// Starts a command whose streams stay open, within [`SESSION_TIMEOUT`]. The permit is not held: such commands (the lock, API
    /// streams) are few and live as long as the run, and are counted in [`SESSIONS_PER_HOST`].
    pub async fn stream(&self, command: &Command) -> Result<Stream, HostError> {
        let Wire { line, marks } = Wire::new(command, self.spec.become_root, Framed::Beginning)?;
        let (child, _) = self.open(&line, Stay::Long, &command.display()).await?;
        let beginning = Beginning {
            marks,
            spec: self.spec.clone(),
            command: command.display(),
        };
        Ok(Stream { child, beginning })
    }

    /// Opens a session on a connection that has one left.
    async fn open(
        &self,
        line: &str,
        stay: Stay,
        command: &str,
    ) -> Result<(Child, Option<Open<'_>>), HostError> {
        let mut fresh = None;
        let mut turn = None;
        let began = Instant::now();
        loop {
            // Listened for before anything is tried: one that ends meanwhile is heard.
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let masters = self.masters.lock().await.clone();
            for master in &masters {
                match timeout(SESSION_TIMEOUT, spawn(master, line, stay)).await {
                    Ok(Ok(child)) => {
                        return Ok((child, (stay == Stay::Short).then(|| Open::new(self))));
                    }
                    Ok(Err(error)) if is_refusal(&error) => {
                        debug!(address = %self.spec.address, connections = masters.len(), "no session left");
                        if fresh
                            .as_ref()
                            .is_some_and(|fresh| Arc::ptr_eq(fresh, master))
                        {
                            return Err(self.no_session(0));
                        }
                    }
                    Ok(Err(_)) => {
                        return Err(HostError::Disconnected {
                            command: command.to_owned(),
                        });
                    }
                    Err(_) => {
                        return Err(HostError::CommandTimedOut {
                            command: command.to_owned(),
                            after: SESSION_TIMEOUT,
                        });
                    }
                }
            }
            if stay == Stay::Short && turn.is_none() {
                // One after the other from here on: all at once they would only refuse each other what has become free.
                turn = Some(self.turn.lock().await);
                continue;
            }
            let is_full = masters.len() >= CONNECTIONS_PER_HOST;
            if stay == Stay::Short && (is_full || began.elapsed() < SHORT_PATIENCE) {
                if self.short.load(Ordering::SeqCst) > 0 {
                    let _ = timeout(SHORT_PATIENCE, ended).await;
                    continue;
                }
                if self.has_just_ended() {
                    tokio::time::sleep(SETTLE_POLL).await;
                    continue;
                }
            }
            let mut now = self.masters.lock().await;
            // Somebody else may have made one meanwhile.
            if now.len() == masters.len() {
                if is_full {
                    return Err(self.no_session(now.len()));
                }
                let (session, liveness) = self.way.master(&self.spec, now.len()).await?;
                let session = Arc::new(session);
                if liveness == Liveness::Fresh {
                    fresh = Some(Arc::clone(&session));
                }
                now.push(session);
            }
        }
    }

    /// Whether sshd may still count a session of ours that has ended.
    fn has_just_ended(&self) -> bool {
        let last = self.last_end.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < SETTLE)
    }

    fn no_session(&self, connections: usize) -> HostError {
        HostError::NoSession {
            destination: self.spec.destination(),
            connections,
        }
    }

    /// Forwards a new private local socket to something on the host. The socket goes when the master goes.
    pub async fn forward(&self, remote: &Remote) -> Result<PathBuf, HostError> {
        let path = self.socket_path();
        let target = match remote {
            Remote::Unix(path) => Socket::UnixSocket {
                path: Cow::Owned(PathBuf::from(path)),
            },
            Remote::Loopback(port) => Socket::TcpSocket {
                host: "127.0.0.1".into(),
                port: *port,
            },
        };
        let listen = Socket::UnixSocket {
            path: Cow::Borrowed(path.as_path()),
        };
        self.first
            .request_port_forward(ForwardType::Local, listen, target)
            .await
            .map_err(|error| HostError::Ssh {
                destination: self.spec.destination(),
                detail: format!("forwarding a socket: {error}"),
            })?;
        Ok(path)
    }

    /// A path for a new private local socket.
    pub(crate) fn socket_path(&self) -> PathBuf {
        let number = self.forwards.fetch_add(1, Ordering::Relaxed);
        self.way.socket_path(&self.spec, number)
    }

    /// Whether the connection is still there: a command that was lost may have been lost alone.
    pub async fn is_alive(&self) -> bool {
        matches!(
            timeout(MASTER_CHECK_TIMEOUT, self.first.check()).await,
            Ok(Ok(()))
        )
    }

    /// Ends the connection, so that the next use makes a new one.
    pub async fn close(&self) {
        self.way.stop(&self.spec).await;
    }

    async fn session_permit(&self) -> Result<SemaphorePermit<'_>, HostError> {
        self.sessions
            .acquire()
            .await
            .map_err(|error| local("no session left", std::io::Error::other(error)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for number in 0..self.forwards.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(self.way.socket_path(&self.spec, number));
        }
    }
}

type Child = openssh::Child<Arc<Session>>;

async fn spawn(master: &Arc<Session>, line: &str, stay: Stay) -> Result<Child, openssh::Error> {
    // `raw_command`: sshd hands the line to the login shell as it is, and every word of it is already quoted.
    let mut command: OwningCommand<Arc<Session>> =
        Session::to_raw_command(Arc::clone(master), line);
    let errors = match stay {
        Stay::Short => Stdio::piped(),
        Stay::Long => Stdio::null(),
    };
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .await
}

/// Whether sshd refused to open a session, and the connection is well: the master says so in a word of the multiplexing protocol.
fn is_refusal(error: &openssh::Error) -> bool {
    matches!(error, openssh::Error::SshMux(cause) if cause.to_string().contains("Server refused the request"))
}

/// Feeds a command and hears it to its end.
async fn run_inner(child: &mut Child, command: &Command, came: &mut Came) -> Result<(), HostError> {
    let stdin = child.stdin().take();
    let stdout = child.stdout().take();
    let stderr = child.stderr().take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that ends without reading all of its input is not an error of ours.
            let _ = stdin.write_all(&command.stdin).await;
            let _ = stdin.shutdown().await;
        }
        Ok(())
    };
    // A host that never stops talking is left at once: nothing more is read, and its end of the line is closed.
    tokio::try_join!(
        feed,
        read_bounded(stdout, &mut came.stdout, command),
        read_bounded(stderr, &mut came.stderr, command)
    )?;
    Ok(())
}

async fn read_bounded(
    stream: Option<impl AsyncRead + Unpin>,
    bytes: &mut Vec<u8>,
    command: &Command,
) -> Result<(), HostError> {
    let limit = MAX_OUTPUT + MAX_NOISE;
    if let Some(stream) = stream {
        // A read error means that the connection ended; the mark of the end is missing then.
        let _ = stream.take(limit as u64 + 1).read_to_end(bytes).await;
    }
    if bytes.len() > limit {
        Err(too_much(command))
    } else {
        Ok(())
    }
}

fn within(output: Output, command: &Command) -> Result<Output, HostError> {
    if output.stdout.len().max(output.stderr.len()) > MAX_OUTPUT {
        Err(too_much(command))
    } else {
        Ok(output)
    }
}

fn too_much(command: &Command) -> HostError {
    HostError::TooMuchOutput {
        command: command.display(),
        limit: MAX_OUTPUT,
    }
}
