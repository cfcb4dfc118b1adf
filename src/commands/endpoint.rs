//! Where the engine of a host is reached: the one place that decides it for `env`, `context`, `config`, `url` and `inspect`.

use std::path::PathBuf;

use super::cert::kept;
use crate::error::Error;
use crate::global::Global;
use crate::inventory::{DEFAULT_FILE, HostSpec, Inventory};

/// Where an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As `DOCKER_HOST` takes it.
    pub url: String,
    /// The folder of the certificate that opens it, where it asks for one.
    pub certs: Option<PathBuf>,
}

impl Endpoint {
    /// Of a host's engine: over TLS where it listens, else over SSH.
    pub fn of(inventory: &Inventory, host: &HostSpec, global: &Global) -> Result<Self, Error> {
        let certs = match host.api {
            Some(_) => Some(kept::folder_for(inventory, host, global)?),
            None => None,
        };
        Ok(Self {
            url: url(host),
            certs,
        })
    }

    /// The same, with a certificate that is there and can be used.
    pub fn open(inventory: &Inventory, host: &HostSpec, global: &Global) -> Result<Self, Error> {
        let endpoint = Self::of(inventory, host, global)?;
        if let Some(folder) = &endpoint.certs {
            kept::check(folder, host, &makes_one(host, global))?;
        }
        Ok(endpoint)
    }

    /// As arguments of Docker's client. Each survives a shell that breaks its words at blanks, and the client takes the quotes off.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(folder) = &self.certs {
            let file = |name: &str| folder.join(name).display().to_string();
            all.push("--tlsverify".to_owned());
            all.push(format!("--tlscacert=\"{}\"", file(kept::CA)));
            all.push(format!("--tlscert=\"{}\"", file(kept::CERT)));
            all.push(format!("--tlskey=\"{}\"", file(kept::KEY)));
        }
        all.push(format!("-H={}", self.url));
        all
    }
}

/// As `DOCKER_HOST` takes it.
#[must_use]
pub fn url(host: &HostSpec) -> String {
    if let Some(api) = &host.api {
        return api.url();
    }
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
    format!("ssh://{user}{address}{port}")
}

/// The command that makes a certificate for a host.
fn makes_one(host: &HostSpec, global: &Global) -> String {
    if global.certs.is_some() {
        return format!("docker-machine regenerate-certs {}", host.name);
    }
    let file = match global.file.to_str() {
        Some(DEFAULT_FILE) | None => String::new(),
        Some(file) => format!("-f {file} "),
    };
    format!("docker-cluster {file}cert issue")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_listens_is_reached_there() {
        let text = "hosts:\n  - {name: a, address: a.example, private: 10.0.0.1, engine: {api: tls}}\n  - {name: b, address: 'fe80::2', ssh: {user: root, port: 2222}}\n  - {name: c, address: c.example, engine: {api: tls, address: '::'}}\n  - {name: d, address: 'fd00::4', engine: {api: tls}}";
        let inventory = Inventory::parse(text, "x.yaml").unwrap();
        let urls: Vec<String> = inventory.hosts.iter().map(url).collect();
        assert_eq!(
            urls,
            [
                "tcp://10.0.0.1:2376",
                "ssh://root@[fe80::2]:2222",
                "tcp://c.example:2376",
                "tcp://[fd00::4]:2376"
            ]
        );
    }

    #[test]
    fn arguments_are_those_of_docker_machine() {
        let endpoint = Endpoint {
            url: "tcp://10.0.0.1:2376".to_owned(),
            certs: Some(PathBuf::from("/c/a")),
        };
        assert_eq!(
            endpoint.arguments(),
            [
                "--tlsverify",
                "--tlscacert=\"/c/a/ca.pem\"",
                "--tlscert=\"/c/a/cert.pem\"",
                "--tlskey=\"/c/a/key.pem\"",
                "-H=tcp://10.0.0.1:2376"
            ]
        );
    }
}
