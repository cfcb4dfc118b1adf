//! A host runs an argv, streams bytes in and out, and lends its sockets. No domain verb in it.
//!
//! Values travel as arguments or on standard input, never pasted into shell text: [`Command`] is an argv, and the only
//! quoting is the one that SSH itself needs, done in one place ([`wire`]).

mod connection;
mod error;
mod parcels;
mod runner;
mod ssh;
mod stream;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use connection::{Connection, Remote};
pub use error::HostError;
pub use parcels::{Parcel, Parcels};
pub use ssh::{
    Connector, Liveness, Retries, disconnect_all, forget, ssh_arguments, ssh_shims, system_ssh,
};
pub use stream::{Stream, StreamOutput, copy_framed};
pub(crate) use wire::for_a_person;
pub use wire::{Login, Spoken, Terminal};

use crate::inventory::HostName;
use crate::words::printable;

/// The connected hosts of a run.
pub type Hosts = BTreeMap<HostName, Arc<Connection>>;

/// How long an ordinary command may take. It asks a local daemon or touches a few files; what takes longer is stuck.
/// Commands with work to do (package managers, image loads) bring their own.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// How long something may run that lives as long as a run of ours: none takes longer.
pub const LONGEST_RUN: Duration = Duration::from_secs(24 * 3600);

/// Most bytes read from one command's output, per stream. The facts of a host with hundreds of containers take some
/// hundred kilobytes; an endless stream must not fill this machine's memory.
pub const MAX_OUTPUT: usize = 16 << 20;

/// With which rights a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// As the login user.
    Login,
    /// As root: directly, or through passwordless sudo.
    Root,
    /// As who may use the engine's socket: the login user, or else root.
    Engine,
}

/// Whose words a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// This program's: what is not there is a fault that the step names.
    Program,
    /// A person's, who reads what a shell would say. It costs the start of one.
    Person,
}

/// A command for a host.
#[derive(Debug, Clone)]
pub struct Command {
    argv: Vec<String>,
    of: Of,
    stdin: Bytes,
    timeout: Duration,
    rights: Rights,
}

impl Command {
    /// A command that runs as root within [`COMMAND_TIMEOUT`].
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            of: Of::Program,
            stdin: Bytes::new(),
            timeout: COMMAND_TIMEOUT,
            rights: Rights::Root,
        }
    }

    /// One that a person has typed.
    pub fn typed(argv: impl IntoIterator<Item = String>) -> Self {
        Self {
            of: Of::Person,
            ..Self::new(argv)
        }
    }

    /// A shell script, sent on standard input; `args` are its `$1`, `$2` and so on.
    pub fn script<S: Into<String>>(text: &str, args: impl IntoIterator<Item = S>) -> Self {
        Self::new(
            ["sh", "-s", "--"]
                .map(String::from)
                .into_iter()
                .chain(args.into_iter().map(Into::into)),
        )
        .stdin(text.as_bytes())
    }

    /// Bytes for its standard input.
    #[must_use]
    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin_shared(bytes.into().into())
    }

    /// Bytes for its standard input that other commands share: an image for many hosts is in memory once.
    #[must_use]
    pub fn stdin_shared(mut self, bytes: Bytes) -> Self {
        self.stdin = bytes;
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With which rights it runs.
    #[must_use]
    pub fn rights(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }

    /// The same command behind another that hands on to it, with that one's standard input.
    fn through(&self, prefix: impl IntoIterator<Item = String>, stdin: String) -> Self {
        let argv = prefix
            .into_iter()
            .chain(self.argv.iter().cloned())
            .collect();
        Self {
            argv,
            stdin: stdin.into_bytes().into(),
            ..*self
        }
    }

    /// The argv, for messages; of a script in it the first line. Secrets never are in it: they travel on standard input.
    #[must_use]
    pub fn display(&self) -> String {
        let words: Vec<String> = self.argv.iter().map(|word| first_line(word)).collect();
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
    }

    /// The argv with its deadline: a dropped connection leaves the remote process running, so the remote end has one as well.
    fn limited(&self) -> Vec<String> {
        let seconds = self.timeout.as_secs().max(1).to_string();
        let shell = ["/bin/sh", "-c", wire::AS_TYPED, "sh"];
        let shell = match self.of {
            Of::Program => &[][..],
            Of::Person => &shell[..],
        };
        let words = ["timeout", "-k", "5", &seconds];
        let words = words.iter().chain(shell).map(|word| (*word).to_owned());
        words.chain(self.argv.iter().cloned()).collect()
    }
}

/// What a command gave back.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Exit status; 128 and the signal if it was killed.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, with terminal control codes neutralised.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        printable(&self.stdout)
    }

    /// Standard error as text, with terminal control codes neutralised.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        printable(&self.stderr)
    }
}

fn first_line(word: &str) -> String {
    word.split_once('\n')
        .map_or_else(|| word.to_owned(), |(first, _)| format!("{first} …"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_shown_by_its_first_line() {
        let command = Command::new(["sh", "-c", "# Does it.\nset -e\nrm x", "a b"]);
        assert_eq!(command.display(), "sh -c '# Does it. …' 'a b'");
    }

    #[test]
    fn control_codes_of_a_host_do_not_reach_the_terminal() {
        assert_eq!(
            printable(b"a\x1b[31mred\x07\r\nb\tc"),
            "a\u{fffd}[31mred\u{fffd}\nb\tc"
        );
        assert_eq!(
            printable("x\u{202e}y\u{9b}z".as_bytes()),
            "x\u{fffd}y\u{fffd}z"
        );
        assert_eq!(printable(&[0xff, b'a']), "\u{fffd}a");
    }
}
