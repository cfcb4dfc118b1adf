//! A private sshd on loopback for tests. It logs in whoever runs them, as that user, on this machine. Nothing here needs root.

#![allow(dead_code, reason = "each test program uses another part of it")]

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Local, Stdio};
use std::time::{Duration, Instant};

use docker_cluster::host::{Connection, Connector};
use docker_cluster::inventory::{HostSpec, Inventory};

/// How long sshd may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// An sshd of its own, ended when dropped.
pub struct Sshd {
    child: Child,
    pub folder: tempfile::TempDir,
    pub port: u16,
}

/// Says past the capture of a test's output that it did not run.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Starts sshd on a port that was free a moment ago. That it listens is known by its process id,
/// which it writes down then: somebody else may have taken the port since, and would answer as well.
/// Then it ends, and there is none.
fn listens(sshd: &Path, folder: &Path, port: u16, lines: &str, end: Instant) -> Option<Child> {
    let text = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/keys\nPidFile {0}/pid\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n{lines}\n",
        folder.display()
    );
    std::fs::write(folder.join("config"), text).unwrap();
    let log = folder.join("log");
    let mut child = Local::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(folder.join("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    while !folder.join("pid").exists() {
        let ended = child.try_wait().unwrap().is_some();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(Instant::now() < end, "sshd does not listen: {said}");
        if ended {
            assert!(said.contains("Address already in use"), "{said}");
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(child)
}

impl Sshd {
    /// With these lines in its configuration. `None`, and *skipped* is said, where there is no sshd.
    pub fn start(lines: &str) -> Option<Self> {
        let Some(sshd) = program("sshd") else {
            skipped("there is no sshd here; `scripts/prepare` says how to get one");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        for key in ["host", "user"] {
            let key = folder.path().join(key);
            let made = Local::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(key)
                .status()
                .unwrap();
            assert!(made.success());
        }
        std::fs::rename(folder.path().join("user.pub"), folder.path().join("keys")).unwrap();
        // Where root starts it, it wants this folder, which an init script makes elsewhere.
        if is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let port = TcpListener::bind(("127.0.0.1", 0))
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            if let Some(child) = listens(&sshd, folder.path(), port, lines, end) {
                return Some(Self {
                    child,
                    folder,
                    port,
                });
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn inventory(&self, ssh: &str) -> String {
        format!(
            "hosts:\n  - name: a\n    address: 127.0.0.1\n    ssh: {{port: {}, identity: {}, known_hosts: {}{ssh}}}\n",
            self.port,
            self.path("user").display(),
            self.path("known").display(),
        )
    }

    pub fn spec(&self) -> HostSpec {
        Inventory::parse(&self.inventory(""), "x.yaml")
            .unwrap()
            .hosts
            .remove(0)
    }

    /// docker-cluster with a home of its own.
    pub fn docker_cluster(&self, ssh: &str) -> Local {
        let (file, text) = (self.path("cluster.yaml"), self.inventory(ssh));
        // Another command may be reading it.
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            std::fs::write(&file, text).unwrap();
        }
        let mut command = Local::new(env!("CARGO_BIN_EXE_docker-cluster"));
        command
            .env("HOME", self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("NO_COLOR", "1");
        command
            .env_remove("XDG_STATE_HOME")
            .env_remove("DOCKER_HOST")
            .current_dir(self.folder.path());
        command
    }

    /// A connected host; its connections end with this.
    pub async fn connected(&self) -> Connection {
        Connector::new()
            .unwrap()
            .connect(&self.spec())
            .await
            .unwrap()
    }
}

impl Sshd {
    /// Ends it: from now on nothing listens on its port.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
