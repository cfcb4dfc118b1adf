//! The certificates of agents and engines: which a host needs, and when they are due.

use std::net::IpAddr;

use super::servers::Servers;
use super::{FOLDER, USER};
use crate::facts::Facts;
use crate::inventory::HostName;
use crate::plan::{Action, Authority, HostWorld, World};
use crate::x509::{self, Due};

/// Life of the store's CA, in days. It never leaves the servers and can be rotated; ten years outlive the hosts.
pub const CA_DAYS: i64 = 3650;

/// Life of a host's certificate, in days. `up` renews it when less than a third is left, so a cluster that somebody looks
/// at twice a year never sees one expire.
pub const CERTIFICATE_DAYS: i64 = 825;

/// The certificate that the engine shows to its own agent, and the key. It is one of its own because an engine reads it only when it
/// starts: it lives as long as the CA, so that no engine restarts for a certificate, and is good for asking only.
pub(crate) const ENGINE_CERT: &str = "engine.pem";
/// See [`ENGINE_CERT`].
pub(crate) const ENGINE_KEY: &str = "engine-key.pem";
/// A certificate that a host needs.
pub(crate) struct Certificate {
    /// Whose it is, for sentences.
    pub of: &'static str,
    days: i64,
    common_name: String,
    dns_names: Vec<String>,
    addresses: Vec<IpAddr>,
    /// Names of the files.
    pub cert: &'static str,
    key: &'static str,
    owner: String,
}

pub(crate) fn certificates(host: &HostWorld<'_>, servers: &Servers) -> [Certificate; 2] {
    let (dns_names, addresses) = subject(host, servers);
    [
        Certificate {
            of: "agent",
            days: CERTIFICATE_DAYS,
            common_name: host.name().to_string(),
            dns_names,
            addresses,
            cert: "agent.pem",
            key: "agent-key.pem",
            owner: format!("root:{USER}"),
        },
        Certificate {
            of: "engine",
            days: CA_DAYS,
            common_name: format!("engine of {}", host.name()),
            dns_names: vec!["engine".to_owned()],
            addresses: Vec::new(),
            cert: ENGINE_CERT,
            key: ENGINE_KEY,
            owner: "root:root".to_owned(),
        },
    ]
}

impl Certificate {
    /// Whether it must be issued: there is none, it is of another CA or for other names, or less than a third of its life is left. The
    /// host's own clock decides, so that the plan needs none.
    pub fn is_due(&self, host: &HostWorld<'_>) -> Option<String> {
        let store = &host.facts.store;
        let present = if self.cert == ENGINE_CERT {
            &store.engine_cert
        } else {
            &store.agent_cert
        };
        let of = self.of;
        let (ca, now) = (&store.ca_cert, host.facts.clock);
        Some(
            match x509::due(present, ca, &self.dns_names, &self.addresses, now)? {
                Due::Missing => format!("issue a certificate for its {of}"),
                Due::Unreadable => format!("issue a readable certificate for its {of}"),
                Due::OtherAuthority => {
                    format!("issue a certificate of the present CA for its {of}")
                }
                Due::OtherNames => {
                    format!("issue a certificate with the present names for its {of}")
                }
                Due::Ends(left) => {
                    let days = left / 86_400;
                    format!("renew the certificate of its {of}, which expires in {days} days")
                }
            },
        )
    }

    pub fn paths(&self) -> [String; 2] {
        [
            format!("{FOLDER}/{}", self.cert),
            format!("{FOLDER}/{}", self.key),
        ]
    }

    pub fn issue(self) -> Action {
        let [cert_path, key_path] = self.paths();
        let Self {
            days,
            common_name,
            dns_names,
            addresses,
            owner,
            ..
        } = self;
        Action::IssueCertificate {
            by: Authority::Store,
            days,
            common_name,
            dns_names,
            addresses,
            cert_path,
            key_path,
            owner,
        }
    }
}

/// Names and addresses of an agent's certificate. Servers prove by `server.dc1.consul` that they are some
/// (`verify_server_hostname`).
fn subject(host: &HostWorld<'_>, servers: &Servers) -> (Vec<String>, Vec<IpAddr>) {
    let mut names = vec!["localhost".to_owned()];
    if servers.hosts.contains(host.name()) {
        names.push("server.dc1.consul".to_owned());
    }
    (names, vec![IpAddr::from([127, 0, 0, 1]), host.private])
}

/// The certificates in a host's `ca.pem`: one, or the new one and the old one.
pub(crate) fn trusted(facts: &Facts) -> Vec<Vec<u8>> {
    x509_parser::pem::Pem::iter_from_buffer(facts.store.ca_cert.as_bytes())
        .flatten()
        .map(|pem| pem.contents)
        .collect()
}

/// The hosts that are in the midst of a rotation.
#[must_use]
pub fn under_way<'a>(world: &'a World<'_>) -> Vec<&'a HostName> {
    world
        .hosts
        .iter()
        .filter(|host| trusted(host.facts).len() > 1)
        .map(HostWorld::name)
        .collect()
}
