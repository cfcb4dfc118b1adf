//! What was seen on the wire between hosts whose traffic is to go through a mesh.

use serde::Serialize;

use super::causes::{About, Finding};
use crate::inventory::HostName;

/// What one host sent or got outside of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leak {
    /// The host.
    pub host: HostName,
    /// What it was: `token` (of a probe, readable), or a port such as `udp 4789`.
    pub what: String,
    /// Where it went to or came from.
    pub peer: String,
    /// How many packets.
    pub packets: u64,
}

/// What was seen on the wire while the probes talked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Wire {
    /// The hosts on which somebody looked.
    pub watched: Vec<HostName>,
    /// Those on which nobody could.
    pub unwatched: Vec<HostName>,
    /// What should not have been there.
    pub leaks: Vec<Leak>,
}

impl Wire {
    /// Whether every host was looked at, and nothing was seen.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unwatched.is_empty() && self.leaks.is_empty() && !self.watched.is_empty()
    }

    /// What is to be said of what was seen.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut hosts: Vec<&HostName> = self.leaks.iter().map(|leak| &leak.host).collect();
        hosts.dedup();
        let of = |host: &HostName| {
            let mine = self.leaks.iter().filter(move |leak| leak.host == *host);
            mine.map(|leak| match leak.what.as_str() {
                "token" => format!(
                    "{host}: a probe's token was readable in {} packets ({})",
                    leak.packets, leak.peer
                ),
                port => format!("{host}: {} packets of {port} ({})", leak.packets, leak.peer),
            })
            .collect()
        };
        hosts
            .into_iter()
            .map(|host| Finding {
                about: About::Hosts(vec![host.clone()]),
                what: "what is for the other hosts was seen outside of the mesh, in clear".to_owned(),
                fix: "`docker-cluster up` puts back what keeps it inside; `ip route` and `iptables -t raw -S` there show what is left of that".to_owned(),
                observed: of(host),
            })
            .collect()
    }
}
