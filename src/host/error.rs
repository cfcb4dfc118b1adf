//! What can go wrong between here and a host, told apart by what ssh says.

use std::time::Duration;

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
    /// The host key is not known and the policy is strict.
    #[error("the host key of {address} is not known, and the inventory asks for `host_key: strict`")]
    HostKeyUnknown {
        /// The host.
        address: String,
    },
    /// Neither root nor sudo.
    #[error("{destination} is not root and has no passwordless sudo: {detail}")]
    NoRoot {
        /// `user@address`.
        destination: String,
        /// What sudo said.
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
            Self::HostKeyUnknown { address } => format!("connect once by hand with `ssh {address}` and compare the fingerprint, or set `host_key: accept-new`"),
            Self::NoRoot { .. } => "log in as root, or let sudo run without a password for this user (a line `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d)".to_owned(),
            Self::Ssh { destination, .. } => format!("try `ssh -v {destination}`"),
            Self::Disconnected { .. } => "check the network, then run the same command again: it goes on where this one stopped".to_owned(),
            Self::CommandTimedOut { .. } => "look at the load of the host; then run the same command again".to_owned(),
            Self::TooMuchOutput { .. } | Self::Unquotable { .. } => "this is not what a healthy host does; look at it by hand".to_owned(),
            Self::Failed { .. } => "the host's own words are above".to_owned(),
            Self::Local { .. } => "this is about the machine that docker-cluster runs on".to_owned(),
        }
    }
}

/// Tells an ssh failure from its log (LogLevel INFO of OpenSSH 7.6 and later).
pub(super) fn classify(log: &str, address: &str, destination: &str, connect_timeout: Duration) -> HostError {
    let address = address.to_owned();
    let has = |needle: &str| log.contains(needle);
    // Order matters where two sentences appear together: a changed key is reported before the refusal that follows from it.
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("HOST IDENTIFICATION HAS CHANGED") {
        let word = |prefix: &str| log.split_whitespace().find(|word| word.starts_with(prefix)).unwrap_or_default();
        let offending = log.lines().filter(|line| line.starts_with("Offending"));
        let known_in = offending.filter_map(|line| line.split("key in ").nth(1)).next().unwrap_or("known_hosts");
        return HostError::HostKeyChanged {
            address,
            fingerprint: word("SHA256:").trim_end_matches('.').to_owned(),
            known_in: known_in.trim().to_owned(),
        };
    }
    if has("host key is known for") || has("Host key verification failed") {
        return HostError::HostKeyUnknown { address };
    }
    if has("Could not resolve hostname") {
        return HostError::Unresolvable { address };
    }
    if has("Permission denied (") || has("Too many authentication failures") {
        let methods = log.rsplit("Permission denied (").next().and_then(|rest| rest.split(')').next());
        return HostError::Denied {
            destination: destination.to_owned(),
            methods: methods.filter(|text| text.len() < 80).unwrap_or("publickey").to_owned(),
        };
    }
    if has("Connection refused") {
        return HostError::Refused { address };
    }
    if has("No route to host") || has("Network is unreachable") {
        return HostError::Unreachable { address };
    }
    if has("Connection timed out") || has("Operation timed out") || has("timed out") {
        return HostError::TimedOut { address, after: connect_timeout };
    }
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Three lines hold the reason and what led to it; all of the log is in the run's log file.
    let detail = lines[lines.len().saturating_sub(3)..].join("; ");
    HostError::Ssh {
        destination: destination.to_owned(),
        detail: if detail.is_empty() { "it said nothing".to_owned() } else { detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &str) -> String {
        classify(log, "db-2", "ops@db-2", Duration::from_secs(10)).to_string()
    }

    #[test]
    fn five_ways_not_to_get_in_read_differently() {
        assert_eq!(told("ssh: connect to host db-2 port 22: No route to host\r\n"), "no route to db-2");
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
        let error = classify(log, "db-2", "db-2", Duration::from_secs(10));
        assert_eq!(error.to_string(), "the host key of db-2 has CHANGED: it now shows SHA256:abcDEF");
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
