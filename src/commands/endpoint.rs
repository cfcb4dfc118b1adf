//! Where the engine of a host is reached: the one place that decides it for `env`, `context`, `config`, `url` and `inspect`.

use crate::inventory::HostSpec;

/// Where an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As `DOCKER_HOST` takes it.
    pub url: String,
}

impl Endpoint {
    /// Of a host's engine: over SSH.
    #[must_use]
    pub fn of(host: &HostSpec) -> Self {
        let ssh = &host.ssh;
        let user = ssh
            .user
            .as_ref()
            .map(|user| format!("{user}@"))
            .unwrap_or_default();
        let port = ssh.port.map(|port| format!(":{port}")).unwrap_or_default();
        let address = if ssh.address.contains(':') {
            format!("[{}]", ssh.address)
        } else {
            ssh.address.clone()
        };
        Self {
            url: format!("ssh://{user}{address}{port}"),
        }
    }

    /// As arguments of Docker's client. Each survives a shell that breaks its words at blanks.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        vec![format!("-H={}", self.url)]
    }
}
