//! SSH through the system's own client, with one multiplexing master per host that outlives the command.
//!
//! The master is started here, not by the `openssh` crate, because the crate cannot pass options on to a jump host and loses
//! its log; commands, streams and port forwards then go through `openssh` over the master's socket (167 ms to connect, 4 ms a
//! command: `crates.md`).

use std::borrow::Cow;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio as LocalStdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openssh::{ForwardType, OwningCommand, Session, Socket, Stdio};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tracing::{debug, trace};

use super::error::classify;
use super::runner::{self, Runner};
use super::{Command, HostError, LONGEST_RUN, MAX_OUTPUT, Output, Parcels, Rights, printable};
use crate::inventory::{HostKeyPolicy, HostSpec, SshSpec};

/// How many commands run on one host at a time in sessions of their own. sshd allows ten per connection (`MaxSessions`); three are
/// left for the lock, for the runner, and for a person.
const SESSIONS_PER_HOST: usize = 7;

/// How many connections are opened at a time. sshd's `MaxStartups` is 10:30:100: with 10 connections that are not authenticated yet it
/// begins to refuse further ones at random. Hosts of their own never see more than one of ours, but those behind one jump host all
/// pass its sshd, and a jump host in `~/.ssh/config` is not visible here: with ten at a time there is never an eleventh. Each
/// also costs this machine a process and a key exchange, which is CPU time: a few cores are busy with ten.
const CONNECTS_AT_A_TIME: usize = 10;

/// How long the local master may take to say whether it lives. It is a process on this machine that answers over a socket.
const MASTER_CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// On top of the connection timeout: authentication, which may ask an agent, a smart card or a directory service.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the host may take to begin a command whose streams stay open: sshd says so as soon as it has forked.
const STREAM_TIMEOUT: Duration = Duration::from_secs(30);

/// On top of a command's own deadline, which the remote `timeout` enforces: its `-k 5` and the way back.
const DEADLINE_GRACE: Duration = Duration::from_secs(10);

/// A silent connection is probed this often, and given up after [`KEEPALIVE_COUNT`] silent probes: half a minute is longer
/// than a reload of a firewall or a moment of packet loss, and shorter than a person's patience.
const KEEPALIVE_SECONDS: u32 = 10;
/// See [`KEEPALIVE_SECONDS`].
const KEEPALIVE_COUNT: u32 = 3;

/// Makes connections. One per run.
#[derive(Debug)]
pub struct Connector {
    folder: PathBuf,
    starts: Semaphore,
    parcels: Arc<Parcels>,
}

/// Whether the connection was just made or was found alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Just made: the host answered a moment ago.
    Fresh,
    /// Found: the master lives, the host may not.
    Reused,
}

/// A connected host.
#[derive(Debug)]
pub struct Connection {
    /// How it was reached.
    pub spec: SshSpec,
    /// Just made, or found.
    pub liveness: Liveness,
    /// What this run has for many hosts.
    pub parcels: Arc<Parcels>,
    session: Arc<Session>,
    sessions: Semaphore,
    runner: Mutex<Option<Runner>>,
    folder: PathBuf,
    forwards: AtomicUsize,
}

impl Connector {
    /// Prepares the private folder for control sockets: `$XDG_RUNTIME_DIR/docker-cluster`, else one under the temporary
    /// folder that is named after the user. Socket paths are limited to 108 bytes, so it is a short one.
    pub fn new() -> Result<Self, HostError> {
        let folder = control_folder()
            .map_err(|source| HostError::Local { what: "cannot make the folder for SSH sockets".to_owned(), source })?;
        Ok(Self { folder, starts: Semaphore::new(CONNECTS_AT_A_TIME), parcels: Arc::default() })
    }

    /// Connects to a host, or finds the connection that an earlier command left.
    pub async fn connect(&self, host: &HostSpec) -> Result<Connection, HostError> {
        let spec = &host.ssh;
        let stem = stem(spec);
        let control = self.folder.join(format!("{stem}.ctl"));
        // Two processes that start a master for one host at once would leave one of them running without a socket.
        let lock_path = self.folder.join(format!("{stem}.lock"));
        let lock = std::fs::File::create(&lock_path).map_err(|source| local("cannot lock the SSH socket", source))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
            .await
            .map_err(|error| local("cannot lock the SSH socket", std::io::Error::other(error)))?
            .map_err(|source| local("cannot lock the SSH socket", source))?;
        let mut liveness = Liveness::Reused;
        let mut session = resume(&control).await;
        if session.is_none() {
            let _permit =
                self.starts.acquire().await.map_err(|error| local("cannot connect", std::io::Error::other(error)))?;
            liveness = Liveness::Fresh;
            self.start_master(spec, &control, &stem).await?;
            session = resume(&control).await;
        }
        drop(lock);
        let session = session.ok_or_else(|| HostError::Ssh {
            destination: spec.destination(),
            detail: "the connection ended as soon as it was made".to_owned(),
        })?;
        Ok(Connection {
            spec: spec.clone(),
            liveness,
            parcels: Arc::clone(&self.parcels),
            session: Arc::new(session),
            sessions: Semaphore::new(SESSIONS_PER_HOST),
            runner: Mutex::new(None),
            folder: self.folder.clone(),
            forwards: AtomicUsize::new(0),
        })
    }

    /// Connects anew where the connection that was found turned out to be dead.
    pub async fn reconnect(&self, host: &HostSpec) -> Result<Connection, HostError> {
        let control = self.folder.join(format!("{}.ctl", stem(&host.ssh)));
        stop_master(&control).await;
        self.connect(host).await
    }

    async fn start_master(&self, spec: &SshSpec, control: &Path, stem: &str) -> Result<(), HostError> {
        let log = self.folder.join(format!("{stem}.log"));
        for stale in [control, log.as_path()] {
            let _ = std::fs::remove_file(stale);
        }
        let config = self.folder.join(format!("{stem}.conf"));
        std::fs::write(&config, client_config(spec))
            .map_err(|source| local("cannot write the SSH configuration", source))?;
        let mut ssh = tokio::process::Command::new("ssh");
        ssh.arg("-F").arg(&config).arg("-S").arg(control).arg("-E").arg(&log).args(["-M", "-N", "-f"]);
        ssh.args(client_options(spec));
        // The master lives on in the background: with our own standard streams it would hold a pipe open after we end.
        ssh.arg("--")
            .arg(&spec.address)
            .stdin(LocalStdio::null())
            .stdout(LocalStdio::null())
            .stderr(LocalStdio::null());
        debug!(address = %spec.address, "starting ssh master");
        let limit = spec.connect_timeout + AUTHENTICATION_TIMEOUT;
        let status = match timeout(limit, ssh.kill_on_drop(true).status()).await {
            Ok(Ok(status)) => status,
            Ok(Err(source)) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(HostError::Local {
                    what: "cannot run `ssh`; install the OpenSSH client".to_owned(),
                    source,
                });
            }
            Ok(Err(source)) => return Err(local("cannot run `ssh`", source)),
            Err(_) => {
                return Err(HostError::TimedOut { address: spec.address.clone(), after: limit });
            }
        };
        if status.success() {
            return Ok(());
        }
        let log = printable(&std::fs::read(&log).unwrap_or_default());
        debug!(address = %spec.address, %log, "ssh failed");
        Err(classify(&log, &spec.address, &spec.destination(), spec.connect_timeout))
    }
}

/// Arguments for an `ssh` of a person or of Docker's client: the inventory's settings, over the connection that is there, if any.
pub fn ssh_arguments(spec: &SshSpec) -> Result<Vec<String>, HostError> {
    let folder = control_folder().map_err(|source| local("cannot make the folder for SSH sockets", source))?;
    let stem = stem(spec);
    let config = folder.join(format!("{stem}.conf"));
    std::fs::write(&config, client_config(spec))
        .map_err(|source| local("cannot write the SSH configuration", source))?;
    let control = folder.join(format!("{stem}.ctl"));
    let mut arguments =
        vec!["-F".to_owned(), config.display().to_string(), "-S".to_owned(), control.display().to_string()];
    arguments.extend(client_options(spec));
    Ok(arguments)
}

/// Options of the inventory: on the command line, where they win over `~/.ssh/config`.
pub(crate) fn client_options(spec: &SshSpec) -> Vec<String> {
    let mut options = vec![
        "BatchMode=yes".to_owned(),
        format!("ConnectTimeout={}", spec.connect_timeout.as_secs().max(1)),
        format!("ControlPersist={}", spec.persist.as_secs()),
        format!("ServerAliveInterval={KEEPALIVE_SECONDS}"),
        format!("ServerAliveCountMax={KEEPALIVE_COUNT}"),
        // The master is for commands; what the user's configuration forwards is not wanted twice.
        "ClearAllForwardings=yes".to_owned(),
        "ForwardX11=no".to_owned(),
        "ForwardAgent=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "RemoteCommand=none".to_owned(),
        "LogLevel=INFO".to_owned(),
    ];
    match spec.host_key {
        Some(HostKeyPolicy::Strict) => options.push("StrictHostKeyChecking=yes".to_owned()),
        Some(HostKeyPolicy::AcceptNew) => options.push("StrictHostKeyChecking=accept-new".to_owned()),
        None => {}
    }
    if let Some(path) = &spec.known_hosts {
        options.push(format!("UserKnownHostsFile=\"{}\"", path.display()));
    }
    let mut args: Vec<String> = options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect();
    args.extend(endpoint_options(spec));
    if let Some(jump) = &spec.jump {
        args.extend(["-J".to_owned(), jump.clone()]);
    }
    args
}

/// User, port and identity as ssh takes them.
fn endpoint_options(spec: &SshSpec) -> Vec<String> {
    let mut args = Vec::new();
    if let Some(user) = &spec.user {
        args.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = spec.port {
        args.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(identity) = &spec.identity {
        args.extend([
            "-i".to_owned(),
            identity.display().to_string(),
            "-o".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
        ]);
    }
    args
}

/// A configuration file that includes the user's and the system's, with our defaults after them: ssh takes the first value
/// it finds. A jump host gets it too, since ssh hands `-F` on to the process that it starts for the jump, but not the options
/// of the command line.
pub(crate) fn client_config(spec: &SshSpec) -> String {
    let mut text = String::new();
    if let Ok(home) = etcetera::home_dir() {
        text.push_str(&format!("Include \"{}\"\n", home.join(".ssh/config").display()));
    }
    text.push_str("Include /etc/ssh/ssh_config\nHost *\n  StrictHostKeyChecking accept-new\n  BatchMode yes\n");
    text.push_str(&format!("  ConnectTimeout {}\n", spec.connect_timeout.as_secs().max(1)));
    if let Some(path) = &spec.known_hosts {
        text.push_str(&format!("  UserKnownHostsFile \"{}\"\n", path.display()));
    }
    text
}

/// The folder that holds control sockets, made if it is missing, refused if somebody else owns it.
fn control_folder() -> std::io::Result<PathBuf> {
    let uid = std::fs::metadata("/proc/self")?.uid();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir()) {
        Some(dir) => dir.join("docker-cluster"),
        None => std::env::temp_dir().join(format!("docker-cluster-{uid}")),
    };
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != uid || found.permissions().mode() & 0o077 != 0 {
        return Err(std::io::Error::other(format!(
            "{} must be a folder that only you can read; remove it",
            folder.display()
        )));
    }
    Ok(folder)
}

/// Name of a host's files in the folder: the same for the same way in, whatever the inventory.
fn stem(spec: &SshSpec) -> String {
    let way = format!(
        "{:?}",
        (&spec.address, &spec.user, spec.port, &spec.identity, &spec.jump, &spec.known_hosts, spec.host_key)
    );
    Sha256::digest(way.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

async fn resume(control: &Path) -> Option<Session> {
    if !control.exists() {
        return None;
    }
    let session = Session::resume_mux(control.into(), None);
    match timeout(MASTER_CHECK_TIMEOUT, session.check()).await {
        Ok(Ok(())) => Some(session),
        _ => None,
    }
}

async fn stop_master(control: &Path) {
    if let Some(session) = resume(control).await {
        let _ = timeout(MASTER_CHECK_TIMEOUT, session.close()).await;
    }
    let _ = std::fs::remove_file(control);
}

/// Ends the connection to a host that an earlier command left, and removes its files.
pub async fn forget(host: &HostSpec) {
    let Ok(folder) = control_folder() else { return };
    let stem = stem(&host.ssh);
    stop_master(&folder.join(format!("{stem}.ctl"))).await;
    for ending in ["log", "conf", "lock"] {
        let _ = std::fs::remove_file(folder.join(format!("{stem}.{ending}")));
    }
}

/// Ends every connection that earlier commands left. Returns how many there were.
pub async fn disconnect_all() -> Result<usize, HostError> {
    let folder = control_folder().map_err(|source| local("cannot open the folder of SSH sockets", source))?;
    let entries = std::fs::read_dir(&folder).map_err(|source| local("cannot list SSH sockets", source))?;
    let mut count = 0;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|ext| ext == "ctl") {
            stop_master(&path).await;
            count += 1;
        } else {
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(count)
}

fn local(what: &str, source: std::io::Error) -> HostError {
    HostError::Local { what: what.to_owned(), source }
}

/// Something on a host that a local socket can be connected to.
#[derive(Debug, Clone)]
pub enum Remote {
    /// A unix socket.
    Unix(String),
    /// A TCP port on the host's own loopback.
    Loopback(u16),
}

/// A running command with open streams.
#[derive(Debug)]
pub struct Stream {
    child: openssh::Child<Arc<Session>>,
}

impl Stream {
    /// Its standard input.
    pub fn stdin(&mut self) -> Option<openssh::ChildStdin> {
        self.child.stdin().take()
    }

    /// Its standard output.
    pub fn stdout(&mut self) -> Option<openssh::ChildStdout> {
        self.child.stdout().take()
    }
}

impl Connection {
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
            Err(_) => Some(Err(HostError::CommandTimedOut { command: command.display(), after: command.timeout })),
        }
    }

    /// Runs a command and returns what it gave back, whatever its status.
    pub async fn run(&self, command: &Command) -> Result<Output, HostError> {
        if let Some(result) = self.run_held(command).await {
            return result;
        }
        let _permit = self.session_permit().await?;
        let deadline = command.timeout + DEADLINE_GRACE;
        trace!(address = %self.spec.address, port = self.spec.port, command = %command.display(), "run");
        match timeout(deadline, self.run_inner(command)).await {
            Ok(result) => result,
            Err(_) => Err(HostError::CommandTimedOut { command: command.display(), after: command.timeout }),
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
        if is_sudo_refusal(&stderr) {
            return HostError::NoRoot {
                destination: self.spec.destination(),
                detail: stderr.lines().last().unwrap_or_default().to_owned(),
            };
        }
        match status {
            // What `timeout` exits with when the time is over, and with `-k` when it had to kill.
            124 | 137 if stderr.is_empty() => {
                HostError::CommandTimedOut { command: command.display(), after: command.timeout }
            }
            _ => HostError::Failed { command: command.display(), status, stderr },
        }
    }

    async fn run_inner(&self, command: &Command) -> Result<Output, HostError> {
        let wire = command.wire()?;
        let lost = |_| HostError::Disconnected { command: command.display() };
        let mut child = self
            .shell(&wire)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(lost)?;
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
        let ((), stdout, stderr) =
            tokio::try_join!(feed, read_bounded(stdout, command), read_bounded(stderr, command))?;
        let status = match child.wait().await {
            Ok(status) => match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
                (Some(code), _) => code,
                (None, Some(signal)) => 128 + signal,
                (None, None) => return Err(HostError::Disconnected { command: command.display() }),
            },
            // What the crate makes of the status of a shell that did not find its command.
            Err(openssh::Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => 127,
            Err(error) => return Err(lost(error)),
        };
        Ok(Output { status, stdout, stderr })
    }

    /// Starts a command whose streams stay open, within [`STREAM_TIMEOUT`]. The permit is not held: such commands (the lock, API
    /// streams) are few and live as long as the run, and are counted in [`SESSIONS_PER_HOST`].
    pub async fn stream(&self, command: &Command) -> Result<Stream, HostError> {
        let wire = command.wire()?;
        let mut shell = self.shell(&wire);
        let spawn = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        match timeout(STREAM_TIMEOUT, spawn).await {
            Ok(Ok(child)) => Ok(Stream { child }),
            Ok(Err(_)) => Err(HostError::Disconnected { command: command.display() }),
            Err(_) => Err(HostError::CommandTimedOut { command: command.display(), after: STREAM_TIMEOUT }),
        }
    }

    /// Forwards a new private local socket to something on the host. The socket goes when the master goes.
    pub async fn forward(&self, remote: &Remote) -> Result<PathBuf, HostError> {
        let path = self.socket_path();
        let target = match remote {
            Remote::Unix(path) => Socket::UnixSocket { path: Cow::Owned(PathBuf::from(path)) },
            Remote::Loopback(port) => Socket::TcpSocket { host: "127.0.0.1".into(), port: *port },
        };
        let listen = Socket::UnixSocket { path: Cow::Borrowed(path.as_path()) };
        self.session.request_port_forward(ForwardType::Local, listen, target).await.map_err(|error| {
            HostError::Ssh { destination: self.spec.destination(), detail: format!("forwarding a socket: {error}") }
        })?;
        Ok(path)
    }

    /// A path for a new private local socket.
    pub(crate) fn socket_path(&self) -> PathBuf {
        let number = self.forwards.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{}-{}-{number}.sock", stem(&self.spec), std::process::id()))
    }

    /// Whether the connection is still there: a command that was lost may have been lost alone.
    pub async fn is_alive(&self) -> bool {
        matches!(timeout(MASTER_CHECK_TIMEOUT, self.session.check()).await, Ok(Ok(())))
    }

    /// Ends the connection, so that the next use makes a new one.
    pub async fn close(&self) {
        stop_master(self.session.control_socket()).await;
    }

    async fn session_permit(&self) -> Result<SemaphorePermit<'_>, HostError> {
        self.sessions.acquire().await.map_err(|error| local("no session left", std::io::Error::other(error)))
    }

    fn shell(&self, wire: &str) -> OwningCommand<Arc<Session>> {
        // `raw_command`: sshd hands the line to the login shell as it is, and every word of it is already quoted.
        Session::to_raw_command(Arc::clone(&self.session), wire)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let prefix = format!("{}-{}-", stem(&self.spec), std::process::id());
        for number in 0..self.forwards.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(self.folder.join(format!("{prefix}{number}.sock")));
        }
    }
}

fn is_sudo_refusal(stderr: &str) -> bool {
    stderr.contains("sudo: a password is required")
        || stderr.contains("sudo: a terminal is required")
        || stderr.contains("is not in the sudoers file")
        || stderr.contains("is not allowed to run sudo")
        || stderr.contains("sudo: not found")
        || stderr.contains("sudo: command not found")
}

async fn read_bounded(stream: Option<impl AsyncRead + Unpin>, command: &Command) -> Result<Vec<u8>, HostError> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // A read error means that the connection ended; the wait for the status says so.
        let _ = stream.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut bytes).await;
    }
    if bytes.len() > MAX_OUTPUT {
        return Err(HostError::TooMuchOutput { command: command.display(), limit: MAX_OUTPUT });
    }
    Ok(bytes)
}
