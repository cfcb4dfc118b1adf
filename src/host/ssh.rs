//! SSH through the system's own client, with one multiplexing master per host that outlives the command, and further ones where sshd
//! allows it too few sessions.
//!
//! The masters are started here, not by the `openssh` crate, because the crate cannot pass options on to a jump host and loses
//! its log; commands, streams and port forwards then go through `openssh` over the master's socket (167 ms to connect, 4 ms a
//! command: `crates.md`).

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio as LocalStdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcetera::BaseStrategy as _;
use openssh::Session;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use super::connection::{CONNECTIONS_PER_HOST, Connection};
use super::error::{Tried, classify, is_busy};
use super::{HostError, Parcels};
use crate::inventory::{HostKeyPolicy, HostSpec, SshSpec};
use crate::words::printable;

/// How many connections are opened at a time. sshd's `MaxStartups` is 10:30:100: with 10 connections that are not authenticated yet it
/// begins to refuse further ones at random. Hosts of their own never see more than one of ours, but those behind one jump host all
/// pass its sshd, and a jump host in `~/.ssh/config` is not visible here: with ten at a time there is never an eleventh. Each
/// also costs this machine a process and a key exchange, which is CPU time: a few cores are busy with ten.
const CONNECTS_AT_A_TIME: usize = 10;

/// How long a connection is tried again that sshd hangs up on before it says who it is. A hardened jump host may let two log in at a
/// time (`MaxStartups 2`), and ten hosts behind it want to: each login takes a fifth of a second, or more on a small host.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// How long is waited before the second try, and at most before any other: half as long again each time.
const CONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// How long the local master may take to say whether it lives. It is a process on this machine that answers over a socket.
pub(super) const MASTER_CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// On top of the connection timeout: authentication, which may ask an agent, a smart card or a directory service.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(20);

/// A silent connection is probed this often, and given up after [`KEEPALIVE_COUNT`] silent probes: half a minute is longer
/// than a reload of a firewall or a moment of packet loss, and shorter than a person's patience.
const KEEPALIVE_SECONDS: u32 = 10;
/// See [`KEEPALIVE_SECONDS`].
const KEEPALIVE_COUNT: u32 = 3;

/// Makes connections. One per run.
#[derive(Debug)]
pub struct Connector {
    way: Way,
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

impl Connector {
    /// Prepares the private folder for control sockets: `$XDG_RUNTIME_DIR/docker-cluster`, else one under the temporary
    /// folder that is named after the user. Socket paths are limited to 108 bytes, so it is a short one.
    pub fn new() -> Result<Self, HostError> {
        let folder = control_folder().map_err(|source| HostError::Local {
            what: "cannot make the folder for SSH sockets".to_owned(),
            source,
        })?;
        let way = Way {
            folder,
            starts: Arc::new(Semaphore::new(CONNECTS_AT_A_TIME)),
        };
        Ok(Self {
            way,
            parcels: Arc::default(),
        })
    }

    /// Connects to a host, or finds the connection that an earlier command left.
    pub async fn connect(&self, host: &HostSpec) -> Result<Connection, HostError> {
        let (session, liveness) = self.way.master(&host.ssh, 0).await?;
        Ok(Connection::new(
            host.ssh.clone(),
            liveness,
            Arc::clone(&self.parcels),
            self.way.clone(),
            session,
        ))
    }

    /// Connects anew where the connection that was found turned out to be dead.
    pub async fn reconnect(&self, host: &HostSpec) -> Result<Connection, HostError> {
        self.way.stop(&host.ssh).await;
        self.connect(host).await
    }
}

/// Tries of a login that sshd hangs up on, because it has no room for another one at that moment.
#[derive(Debug)]
pub struct Retries {
    began: Instant,
    pause: Duration,
    tries: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            pause: CONNECT_PAUSES.0,
            tries: 0,
        }
    }
}

impl Retries {
    /// How long to wait before the next try; nothing if what ssh says is no reason for one, or it has been tried for long enough.
    pub fn pause_after(&mut self, said_by_ssh: &str) -> Option<Duration> {
        self.tries += 1;
        if !is_busy(said_by_ssh) || self.began.elapsed() >= CONNECT_PATIENCE {
            return None;
        }
        // Up to twice as long, so that not all of them come at the same instant again.
        let jitter = self
            .pause
            .mul_f64(f64::from(uuid::Uuid::new_v4().into_bytes()[0]) / 255.0);
        let pause = self.pause + jitter;
        self.pause = CONNECT_PAUSES.1.min(self.pause * 3 / 2);
        Some(pause)
    }
}

/// What it takes to make a connection.
#[derive(Debug, Clone)]
pub(super) struct Way {
    folder: PathBuf,
    starts: Arc<Semaphore>,
}

impl Way {
    /// A path for a private local socket of this process.
    pub fn socket_path(&self, spec: &SshSpec, number: usize) -> PathBuf {
        self.folder.join(format!(
            "{}-{}-{number}.sock",
            stem(spec),
            std::process::id()
        ))
    }

    /// The master of that number of a host, from 0: found, or started.
    pub async fn master(
        &self,
        spec: &SshSpec,
        number: usize,
    ) -> Result<(Session, Liveness), HostError> {
        let stem = numbered(&stem(spec), number);
        let control = self.folder.join(format!("{stem}.ctl"));
        // Two processes that start a master for one host at once would leave one of them running without a socket.
        let lock_path = self.folder.join(format!("{stem}.lock"));
        let lock = std::fs::File::create(&lock_path)
            .map_err(|source| local("cannot lock the SSH socket", source))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
            .await
            .map_err(|error| local("cannot lock the SSH socket", std::io::Error::other(error)))?
            .map_err(|source| local("cannot lock the SSH socket", source))?;
        let mut liveness = Liveness::Reused;
        let mut session = resume(&control).await;
        if session.is_none() {
            liveness = Liveness::Fresh;
            self.start(spec, &control, &stem).await?;
            session = resume(&control).await;
        }
        drop(lock);
        let session = session.ok_or_else(|| HostError::Ssh {
            destination: spec.destination(),
            detail: "the connection ended as soon as it was made".to_owned(),
        })?;
        Ok((session, liveness))
    }

    /// Ends all masters of a host.
    pub async fn stop(&self, spec: &SshSpec) {
        for number in 0..CONNECTIONS_PER_HOST {
            self.stop_one(spec, number).await;
        }
    }

    /// Ends the master of that number.
    pub async fn stop_one(&self, spec: &SshSpec, number: usize) {
        stop_master(
            &self
                .folder
                .join(format!("{}.ctl", numbered(&stem(spec), number))),
        )
        .await;
    }

    /// Starts a master, and tries again where sshd has no room for another login at that moment.
    async fn start(&self, spec: &SshSpec, control: &Path, stem: &str) -> Result<(), HostError> {
        let mut retries = Retries::default();
        loop {
            let log = {
                let permit = self.starts.acquire().await;
                let _permit = permit
                    .map_err(|error| local("cannot connect", std::io::Error::other(error)))?;
                match self.start_master(spec, control, stem).await? {
                    Started::Up => return Ok(()),
                    Started::Failed { log } => log,
                }
            };
            if let Some(pause) = retries.pause_after(&log) {
                tokio::time::sleep(pause).await;
                continue;
            }
            return Err(match is_busy(&log) {
                true => HostError::Busy {
                    destination: spec.destination(),
                    tries: retries.tries,
                    detail: log
                        .lines()
                        .map(str::trim)
                        .rfind(|line| !line.is_empty())
                        .unwrap_or_default()
                        .to_owned(),
                },
                false => classify(
                    &log,
                    &Tried {
                        address: spec.address.clone(),
                        destination: spec.destination(),
                        connect_timeout: spec.connect_timeout,
                        host_key: spec.host_key,
                    },
                ),
            });
        }
    }

    async fn start_master(
        &self,
        spec: &SshSpec,
        control: &Path,
        stem: &str,
    ) -> Result<Started, HostError> {
        let log = self.folder.join(format!("{stem}.log"));
        for stale in [control, log.as_path()] {
            let _ = std::fs::remove_file(stale);
        }
        let config = self.folder.join(format!("{stem}.conf"));
        std::fs::write(&config, client_config(spec))
            .map_err(|source| local("cannot write the SSH configuration", source))?;
        let mut ssh = tokio::process::Command::new(system_ssh());
        ssh.arg("-F")
            .arg(&config)
            .arg("-S")
            .arg(control)
            .arg("-E")
            .arg(&log)
            .args(["-M", "-N", "-f"]);
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
                return Err(HostError::TimedOut {
                    address: spec.address.clone(),
                    after: limit,
                });
            }
        };
        if status.success() {
            return Ok(Started::Up);
        }
        let log = printable(&std::fs::read(&log).unwrap_or_default());
        debug!(address = %spec.address, %log, "ssh failed");
        Ok(Started::Failed { log })
    }
}

/// What became of a master.
enum Started {
    Up,
    Failed { log: String },
}

/// Name of the files of a master: the first has the plain one.
fn numbered(stem: &str, number: usize) -> String {
    if number == 0 {
        stem.to_owned()
    } else {
        format!("{stem}.{number}")
    }
}

/// Says which folder of the PATH is ours, so that ssh is looked up behind it.
pub const FOLDER_VARIABLE: &str = "DOCKER_CLUSTER_SSH_FOLDER";

/// The folder below which `docker-cluster env` makes its own `ssh`, one folder a cluster.
pub fn ssh_shims() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(
        base.state_dir()
            .unwrap_or_else(|| base.data_dir())
            .join("docker-cluster")
            .join("ssh"),
    )
}

/// The system's ssh: the first of the PATH that is none of those that `env` makes, which lead back here.
#[must_use]
pub fn system_ssh() -> PathBuf {
    let own = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let shims = ssh_shims();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| {
            Some(folder) != own.as_ref()
                && shims
                    .as_ref()
                    .is_none_or(|shims| !folder.starts_with(shims))
        })
        .map(|folder| folder.join("ssh"))
        .find(|program| program.is_file())
        // Not its bare name, which would lead back here.
        .unwrap_or_else(|| PathBuf::from("/usr/bin/ssh"))
}

/// Arguments for an `ssh` of a person or of Docker's client: the inventory's settings, over the connection that is there, if any.
pub fn ssh_arguments(spec: &SshSpec) -> Result<Vec<String>, HostError> {
    let folder = control_folder()
        .map_err(|source| local("cannot make the folder for SSH sockets", source))?;
    let stem = stem(spec);
    let config = folder.join(format!("{stem}.conf"));
    std::fs::write(&config, client_config(spec))
        .map_err(|source| local("cannot write the SSH configuration", source))?;
    let control = folder.join(format!("{stem}.ctl"));
    let mut arguments = vec![
        "-F".to_owned(),
        config.display().to_string(),
        "-S".to_owned(),
        control.display().to_string(),
    ];
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
        Some(HostKeyPolicy::AcceptNew) => {
            options.push("StrictHostKeyChecking=accept-new".to_owned())
        }
        None => {}
    }
    if let Some(path) = &spec.known_hosts {
        options.push(format!("UserKnownHostsFile=\"{}\"", path.display()));
    }
    let mut args: Vec<String> = options
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect();
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
        text.push_str(&format!(
            "Include \"{}\"\n",
            home.join(".ssh/config").display()
        ));
    }
    text.push_str("Include /etc/ssh/ssh_config\nHost *\n  StrictHostKeyChecking accept-new\n  BatchMode yes\n");
    text.push_str(&format!(
        "  ConnectTimeout {}\n",
        spec.connect_timeout.as_secs().max(1)
    ));
    if let Some(path) = &spec.known_hosts {
        text.push_str(&format!("  UserKnownHostsFile \"{}\"\n", path.display()));
    }
    text
}

/// The folder that holds control sockets, made if it is missing, refused if somebody else owns it.
fn control_folder() -> std::io::Result<PathBuf> {
    let uid = std::fs::metadata("/proc/self")?.uid();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_dir())
    {
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
        (
            &spec.address,
            &spec.user,
            spec.port,
            &spec.identity,
            &spec.jump,
            &spec.known_hosts,
            spec.host_key
        )
    );
    Sha256::digest(way.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
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

/// Ends the connections to a host that an earlier command left, and removes its files.
pub async fn forget(host: &HostSpec) {
    let Ok(folder) = control_folder() else { return };
    for number in 0..CONNECTIONS_PER_HOST {
        let stem = numbered(&stem(&host.ssh), number);
        stop_master(&folder.join(format!("{stem}.ctl"))).await;
        for ending in ["log", "conf", "lock"] {
            let _ = std::fs::remove_file(folder.join(format!("{stem}.{ending}")));
        }
    }
}

/// Ends every connection that earlier commands left. Returns how many there were.
pub async fn disconnect_all() -> Result<usize, HostError> {
    let folder = control_folder()
        .map_err(|source| local("cannot open the folder of SSH sockets", source))?;
    let entries =
        std::fs::read_dir(&folder).map_err(|source| local("cannot list SSH sockets", source))?;
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

pub(super) fn local(what: &str, source: std::io::Error) -> HostError {
    HostError::Local {
        what: what.to_owned(),
        source,
    }
}
