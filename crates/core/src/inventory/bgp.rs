//! `network.bgp`: who announces the hosts' subnets to whom, and with which passwords.

use std::net::Ipv4Addr;

use super::{HostName, NamedFile};
use crate::secret::Secret;

/// Who announces the hosts' subnets to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BgpSpec {
    /// Number of the autonomous system that the hosts are.
    pub number: u32,
    /// Who passes it on.
    pub by: PassedOn,
    /// By which sessions know their packets, but for routers that have one of their own.
    pub password: Option<PasswordFile>,
}

impl BgpSpec {
    /// All passwords: that of all sessions, and those of routers, each by its address.
    pub fn passwords(&self) -> impl Iterator<Item = (Option<Ipv4Addr>, &PasswordFile)> {
        let routers = match &self.by {
            PassedOn::Routers(routers) => routers.as_slice(),
            PassedOn::Mesh | PassedOn::Reflectors(_) => &[],
        };
        let own = routers
            .iter()
            .filter_map(|router| Some((Some(router.address), router.password.as_ref()?)));
        self.password.iter().map(|file| (None, file)).chain(own)
    }

    /// Their files, to be read.
    pub fn passwords_mut(&mut self) -> impl Iterator<Item = &mut PasswordFile> {
        let routers = match &mut self.by {
            PassedOn::Routers(routers) => routers.as_mut_slice(),
            PassedOn::Mesh | PassedOn::Reflectors(_) => &mut [],
        };
        let own = routers
            .iter_mut()
            .filter_map(|router| router.password.as_mut());
        self.password.iter_mut().chain(own)
    }
}

/// A file on this machine that holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordFile {
    /// Where.
    pub file: NamedFile,
    /// The password, or why there is none.
    pub content: Result<Secret, String>,
}

/// Longest password of a TCP connection, in bytes (`TCP_MD5SIG_MAXKEYLEN` of Linux).
const MAX_PASSWORD: usize = 80;

impl PasswordFile {
    /// One that nobody has read yet.
    pub(super) fn at(file: NamedFile) -> Self {
        let content = Err("nobody has read it".to_owned());
        Self { file, content }
    }

    /// Takes what has been read: one line, which can stand between quotes in a file of BIRD's.
    pub fn take(&mut self, read: Result<Vec<u8>, String>) {
        self.content = read.and_then(|bytes| {
            let text = String::from_utf8(bytes).unwrap_or_default();
            let line = text.trim_end_matches(['\n', '\r']);
            let is_fit = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '"';
            if !(1..=MAX_PASSWORD).contains(&line.len()) || !line.chars().all(is_fit) {
                return Err(format!(
                    "it must be one line of 1 to {MAX_PASSWORD} characters of ASCII without quotes"
                ));
            }
            if line.trim().is_empty() {
                return Err("there is nothing but spaces in it".to_owned());
            }
            Ok(Secret::new(line.to_owned()))
        });
    }
}

/// Who passes on what hosts announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOn {
    /// Nobody: every host tells every other.
    Mesh,
    /// These hosts.
    Reflectors(Vec<HostName>),
    /// Routers of the site.
    Routers(Vec<RouterSpec>),
}

/// A router of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterSpec {
    /// Its address.
    pub address: Ipv4Addr,
    /// Number of its autonomous system.
    pub number: u32,
    /// A password of its own.
    pub password: Option<PasswordFile>,
}
