//! What can go wrong between here and a host, told apart by what ssh says.

use std::time::Duration;

use super::wire::Login;
use crate::inventory::{Become, HostKeyPolicy};

/// A host that could not be reached, or a command on it that could not be run or failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No route, or the host does not answer ARP.
    #[error("no route to {address}")]
    Unreachable {
        /// Where ssh tried to connect.
        address: String,
    },
    /// Nothing listens on the port.
    #[error("{address} refuses SSH connections on that port")]
    Refused {
        /// Where ssh tried to connect.
        address: String,
    },
    /// Authentication failed.
    #[error("permission denied for {destination} ({methods})")]
    Denied {
        /// `user@address`.
        destination: String,
        /// The methods sshd would take, such as `publickey`.
        methods: String,
    },
    /// The name has no address.
    #[error("cannot resolve the name {address}")]
    Unresolvable {
        /// The name.
        address: String,
    },
    /// No answer in time.
    #[error("{address} did not answer within {}", humantime::format_duration(*.after))]
    TimedOut {
        /// Where ssh tried to connect.
        address: String,
        /// How long it waited.
        after: Duration,
    },
    /// The host key is not the one that is known.
    #[error("the host key of {address} has CHANGED: it now shows {fingerprint}")]
    HostKeyChanged {
        /// The host.
        address: String,
        /// The fingerprint it shows now, as `SHA256:...`.
        fingerprint: String,
        /// `file:line` of the key that is known.
        known_in: String,
    },
    /// The host key is not known and somebody's policy is strict.
    #[error("the host key of {address} is not known, and {}", match .asked_by {
        StrictBy::Inventory => "the inventory asks for `host_key: strict`",
        StrictBy::Configuration => "your ssh configuration takes no new ones (`StrictHostKeyChecking`)",
    })]
    HostKeyUnknown {
        /// The host, which may be a jump host.
        address: String,
        /// Whose policy it is.
        asked_by: StrictBy,
    },
    /// The login's shell ran nothing of ours.
    #[error("{destination} runs no commands; {}", match .words.as_str() { "" => "it says nothing".to_owned(), words => format!("it says:\n{words}") })]
    NoShell {
        /// `user@address`.
        destination: String,
        /// What it said instead.
        words: String,
    },
    /// Root could not be had.
    #[error("{destination} is not root{}", no_root(.how, .login, .words))]
    NoRoot {
        /// `user@address`.
        destination: String,
        /// How it was to be had.
        how: Become,
        /// Who has logged in.
        login: Login,
        /// What sudo said.
        words: String,
    },
    /// sshd opens no further session on a connection, nor on another one.
    #[error("sshd of {destination} opens no {}", match .connections { 0 => "session on a connection".to_owned(), many => format!("further session on any of {many} connections") })]
    NoSession {
        /// `user@address`.
        destination: String,
        /// How many connections are full; 0 if a new one gave no session at all.
        connections: usize,
    },
    /// sshd hangs up before it says who it is.
    #[error("sshd of {destination} hangs up at once, {tries} times in a row: {detail}")]
    Busy {
        /// `user@address`.
        destination: String,
        /// How often it was tried.
        tries: u32,
        /// The last lines of the log.
        detail: String,
    },
    /// ssh failed in a way that has no name of its own.
    #[error("ssh to {destination} failed: {detail}")]
    Ssh {
        /// `user@address`.
        destination: String,
        /// The last lines of its log.
        detail: String,
    },
    /// The connection ended while a command ran. Whether the command finished is not known.
    #[error("the connection was lost while `{command}` ran")]
    Disconnected {
        /// The command.
        command: String,
    },
    /// A command took too long.
    #[error("`{command}` did not finish within {}", humantime::format_duration(*.after))]
    CommandTimedOut {
        /// The command.
        command: String,
        /// Its limit.
        after: Duration,
    },
    /// A command's output is beyond all bounds.
    #[error("`{command}` wrote more than {limit} bytes")]
    TooMuchOutput {
        /// The command.
        command: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// A command failed.
    #[error("`{command}` failed with exit status {status}{}", stderr_block(.stderr))]
    Failed {
        /// The command.
        command: String,
        /// Its exit status.
        status: i32,
        /// All it wrote on standard error.
        stderr: String,
    },
    /// A command line is longer than a login shell takes.
    #[error("`{command}` is longer than {limit} bytes")]
    TooLong {
        /// The command.
        command: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// A NUL byte cannot be in an argument.
    #[error("`{command}` holds a NUL byte")]
    Unquotable {
        /// The command.
        command: String,
    },
    /// Something on this machine failed.
    #[error("{what}: {source}")]
    Local {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

fn stderr_block(stderr: &str) -> String {
    match stderr.trim_end() {
        "" => String::new(),
        text => format!(":\n{text}"),
    }
}

/// Whose policy takes no new host keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictBy {
    /// The inventory's `host_key: strict`.
    Inventory,
    /// `StrictHostKeyChecking` of the person's or the system's configuration of ssh.
    Configuration,
}

/// Why root could not be had, after "is not root".
fn no_root(how: &Become, login: &Login, words: &str) -> String {
    match (how, login.sudo.as_str()) {
        (Become::Root, _) => format!(
            " (it has the user id {}), and the inventory says `become: root`",
            login.uid
        ),
        (_, "sudo") => match words {
            "" => " and has no passwordless sudo: it says nothing".to_owned(),
            words => format!(" and has no passwordless sudo: {words}"),
        },
        (_, "doas") => {
            " and has no passwordless sudo: there is no sudo on the host, and doas is not used"
                .to_owned()
        }
        _ => " and has no passwordless sudo: there is no sudo on the host".to_owned(),
    }
}

/// What to do about it.
fn root_hint(how: Become, login: &Login, words: &str) -> String {
    let user = "for this user (a line `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d)";
    let mut hint = match (how, login.sudo.as_str()) {
        (Become::Root, _) => "set `user: root` in the inventory, or `become: auto` to go through sudo".to_owned(),
        // The words are English: sudo runs in the C locale here. They choose the advice, not the error.
        (_, "sudo") if words.contains("must have a tty") => {
            "`requiretty` of /etc/sudoers forbids sudo without a terminal: write `Defaults:USER !requiretty` in /etc/sudoers.d".to_owned()
        }
        (_, "sudo") => format!("log in as root, or let sudo run without a password {user}"),
        _ => format!("log in as root (`user:` in the inventory), or install sudo and let it run without a password {user}"),
    };
    if login.may_use_engine {
        hint.push_str("; Docker's client works for this user all the same: `docker-cluster env HOST` needs no root");
    }
    hint
}

impl HostError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "check that the host is up and that this machine has a route to it".to_owned(),
            Self::Refused { .. } => "check that sshd runs there, and the `port:` in the inventory".to_owned(),
            Self::Denied { destination, .. } => {
                format!("try `ssh {destination}`; check `user:` and `identity:` in the inventory, and that your agent holds the key")
            }
            Self::Unresolvable { .. } => "check the spelling of `address:` in the inventory, and DNS".to_owned(),
            Self::TimedOut { .. } => "check that the host is up and no firewall swallows the connection; `connect_timeout:` in the inventory sets the patience".to_owned(),
            Self::HostKeyChanged { known_in, .. } => format!(
                "somebody may be in between. Compare the fingerprint on the host's console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`); only if the host was reinstalled, remove the old key: {known_in}"
            ),
            Self::HostKeyUnknown { address, asked_by } => {
                let instead = match asked_by {
                    StrictBy::Inventory => "or set `host_key: accept-new` in the inventory",
                    StrictBy::Configuration => "or set `host_key: accept-new` in the inventory, which wins over ~/.ssh/config",
                };
                format!("connect once by hand with `ssh {address}` and compare the fingerprint, {instead}")
            }
            Self::NoShell { destination, .. } => format!("set `user:` in the inventory to one who gets a shell there, and look at `ssh {destination} true`"),
            Self::NoRoot { how, login, words, .. } => root_hint(*how, login, words),
            Self::NoSession { .. } => "`MaxSessions` in /etc/ssh/sshd_config there says how many sessions a connection may have: at least 1, better 10; then reload sshd".to_owned(),
            Self::Busy { .. } => "`MaxStartups` in /etc/ssh/sshd_config there (or of a jump host) says how many may log in at a time; `fail2ban`, `PerSourcePenalties` and /etc/hosts.deny hang up like that as well".to_owned(),
            Self::Ssh { destination, .. } => format!("try `ssh -v {destination}`"),
            Self::Disconnected { .. } => "check the network, then run the same command again: it goes on where this one stopped".to_owned(),
            Self::CommandTimedOut { .. } => "look at the load of the host; then run the same command again".to_owned(),
            Self::TooMuchOutput { .. } | Self::TooLong { .. } | Self::Unquotable { .. } => "this is not what a healthy host does; look at it by hand".to_owned(),
            Self::Failed { .. } => "the host's own words are above".to_owned(),
            Self::Local { .. } => "this is about the machine that docker-cluster runs on".to_owned(),
        }
    }
}

/// What is known of a way in when it fails.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    /// Where ssh tried to connect.
    pub address: String,
    /// `user@address`.
    pub destination: String,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// What the inventory says of host keys.
    pub host_key: Option<HostKeyPolicy>,
}

/// Whether sshd hung up before it said who it is: it does so when too many log in at a time, and not when it means it.
pub(super) fn is_busy(log: &str) -> bool {
    log.contains("kex_exchange_identification") || log.contains("ssh_exchange_identification")
}

/// Tells an ssh failure from its log (LogLevel INFO of OpenSSH 7.6 and later).
pub(super) fn classify(log: &str, tried: &Tried) -> HostError {
    let Tried {
        address,
        destination,
        connect_timeout,
        host_key,
    } = tried.clone();
    let has = |needle: &str| log.contains(needle);
    // Of a jump host the log has another name than the one that was asked for; with a port of its own it is `[name]:port`.
    let named = |before: &str, after: &str| {
        let name = log.split_once(before)?.1.split_once(after)?.0;
        let name = name
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]:"))
            .map_or(name, |(name, _)| name);
        (!name.contains(char::is_whitespace)).then(|| name.to_owned())
    };
    // Order matters where two sentences appear together: a changed key is reported before the refusal that follows from it.
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("HOST IDENTIFICATION HAS CHANGED") {
        let word = |prefix: &str| {
            log.split_whitespace()
                .find(|word| word.starts_with(prefix))
                .unwrap_or_default()
        };
        let offending = log.lines().filter(|line| line.starts_with("Offending"));
        let known_in = offending
            .filter_map(|line| line.split("key in ").nth(1))
            .next()
            .unwrap_or("known_hosts");
        return HostError::HostKeyChanged {
            address: named("Host key for ", " has changed").unwrap_or(address),
            fingerprint: word("SHA256:").trim_end_matches('.').to_owned(),
            known_in: known_in.trim().to_owned(),
        };
    }
    if has("host key is known for") || has("Host key verification failed") {
        let asked_by = match host_key {
            Some(HostKeyPolicy::Strict) => StrictBy::Inventory,
            Some(HostKeyPolicy::AcceptNew) | None => StrictBy::Configuration,
        };
        return HostError::HostKeyUnknown {
            address: named("host key is known for ", " and").unwrap_or(address),
            asked_by,
        };
    }
    if has("Could not resolve hostname") {
        return HostError::Unresolvable { address };
    }
    if has("Permission denied (") || has("Too many authentication failures") {
        let methods = log
            .rsplit("Permission denied (")
            .next()
            .and_then(|rest| rest.split(')').next());
        return HostError::Denied {
            destination,
            methods: methods
                .filter(|text| text.len() < 80)
                .unwrap_or("publickey")
                .to_owned(),
        };
    }
    if has("Connection refused") {
        return HostError::Refused { address };
    }
    if has("No route to host") || has("Network is unreachable") {
        return HostError::Unreachable { address };
    }
    if has("Connection timed out") || has("Operation timed out") || has("timed out") {
        return HostError::TimedOut {
            address,
            after: connect_timeout,
        };
    }
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    // Three lines hold the reason and what led to it; all of the log is in the run's log file.
    let detail = lines[lines.len().saturating_sub(3)..].join("; ");
    HostError::Ssh {
        destination,
        detail: if detail.is_empty() {
            "it said nothing".to_owned()
        } else {
            detail
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried() -> Tried {
        Tried {
            address: "db-2".to_owned(),
            destination: "ops@db-2".to_owned(),
            connect_timeout: Duration::from_secs(10),
            host_key: None,
        }
    }

    fn told(log: &str) -> String {
        classify(log, &tried()).to_string()
    }

    #[test]
    fn who_takes_no_new_keys_is_named() {
        let log = "No ED25519 host key is known for db-2 and you have requested strict checking.\r\nHost key verification failed.\r\n";
        assert_eq!(
            told(log),
            "the host key of db-2 is not known, and your ssh configuration takes no new ones (`StrictHostKeyChecking`)"
        );
        let strict = Tried {
            host_key: Some(HostKeyPolicy::Strict),
            ..tried()
        };
        assert_eq!(
            classify(log, &strict).to_string(),
            "the host key of db-2 is not known, and the inventory asks for `host_key: strict`"
        );
        assert!(
            classify(log, &tried())
                .hint()
                .contains("`host_key: accept-new` in the inventory, which wins")
        );
        assert!(
            told(&log.replace("db-2", "[db-2]:2222"))
                .starts_with("the host key of db-2 is not known")
        );
        // The key that is not known is the jump host's.
        let log = log.replace("db-2", "jump.example");
        assert!(
            told(&log).starts_with("the host key of jump.example is not known"),
            "{}",
            told(&log)
        );
    }

    #[test]
    fn why_root_cannot_be_had_is_told_by_what_is_there_not_by_words() {
        let told = |how, uid: &str, sudo: &str, may_use_engine, words: &str| {
            let login = Login {
                uid: uid.to_owned(),
                may_use_engine,
                sudo: sudo.to_owned(),
            };
            let error = HostError::NoRoot {
                destination: "ops@db-2".to_owned(),
                how,
                login,
                words: words.to_owned(),
            };
            (error.to_string(), error.hint())
        };
        let (what, hint) = told(
            Become::Auto,
            "1000",
            "sudo",
            false,
            "sudo : un mot de passe est requis",
        );
        assert_eq!(
            what,
            "ops@db-2 is not root and has no passwordless sudo: sudo : un mot de passe est requis"
        );
        assert!(
            hint.contains("NOPASSWD") && !hint.contains("Docker's client"),
            "{hint}"
        );
        let (_, hint) = told(
            Become::Auto,
            "1000",
            "sudo",
            false,
            "sudo: sorry, you must have a tty to run sudo",
        );
        assert!(hint.contains("!requiretty"), "{hint}");
        let (what, hint) = told(Become::Auto, "1000", "doas", false, "");
        assert!(
            what.ends_with("there is no sudo on the host, and doas is not used"),
            "{what}"
        );
        assert!(hint.contains("install sudo"), "{hint}");
        let (what, _) = told(Become::Sudo, "0", "-", false, "");
        assert!(what.ends_with("there is no sudo on the host"), "{what}");
        let (what, hint) = told(Become::Root, "1000", "sudo", true, "");
        assert_eq!(
            what,
            "ops@db-2 is not root (it has the user id 1000), and the inventory says `become: root`"
        );
        assert!(
            hint.contains("`become: auto`") && hint.contains("Docker's client works for this user"),
            "{hint}"
        );
    }

    #[test]
    fn five_ways_not_to_get_in_read_differently() {
        assert_eq!(
            told("ssh: connect to host db-2 port 22: No route to host\r\n"),
            "no route to db-2"
        );
        assert_eq!(
            told("ssh: connect to host db-2 port 22: Connection refused\r\n"),
            "db-2 refuses SSH connections on that port"
        );
        assert_eq!(
            told("ops@db-2: Permission denied (publickey,password).\r\n"),
            "permission denied for ops@db-2 (publickey,password)"
        );
        assert_eq!(
            told("ssh: Could not resolve hostname db-2: Name or service not known\r\n"),
            "cannot resolve the name db-2"
        );
        assert_eq!(
            told("ssh: connect to host db-2 port 22: Connection timed out\r\n"),
            "db-2 did not answer within 10s"
        );
    }

    #[test]
    fn a_changed_key_names_the_fingerprint_and_the_line() {
        let log = "@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nThe fingerprint for the ED25519 key sent by the remote host is\nSHA256:abcDEF.\nPlease contact your system administrator.\nAdd correct host key in /home/u/.ssh/known_hosts to get rid of this message.\nOffending ED25519 key in /home/u/.ssh/known_hosts:7\nHost key verification failed.\n";
        let error = classify(log, &tried());
        assert_eq!(
            error.to_string(),
            "the host key of db-2 has CHANGED: it now shows SHA256:abcDEF"
        );
        assert!(error.hint().contains("/home/u/.ssh/known_hosts:7"));
    }

    #[test]
    fn what_has_no_name_keeps_the_words_of_ssh() {
        assert_eq!(
            told("kex_exchange_identification: read: Connection reset by peer\n"),
            "ssh to ops@db-2 failed: kex_exchange_identification: read: Connection reset by peer"
        );
        assert_eq!(told(""), "ssh to ops@db-2 failed: it said nothing");
    }
}
