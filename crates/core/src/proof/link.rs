//! The way between two hosts, as the agents on both ends saw it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::inventory::HostName;

/// How often each datagram is sent (`REPEATS` in `links.pl`).
pub const REPEATS: u32 = 3;

/// What became of a kind of datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It was seen behind the receiver's firewall.
    Passed {
        /// How many of those that were sent did not arrive.
        lost: u32,
    },
    /// The sender's own firewall did not let it out.
    DeniedAtSource,
    /// It left, and did not come off the wire at the receiver.
    Lost,
    /// It came off the wire at the receiver, and its firewall dropped it.
    DroppedAtTarget,
}

impl Way {
    /// Whether anything arrived.
    #[must_use]
    pub fn passed(self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}

/// What became of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tcp {
    /// It was made.
    Open,
    /// The host answered, and nothing listens.
    Refused,
    /// No answer.
    Silent,
    /// The own firewall or routing did not let it out.
    Blocked,
}

/// One direction between two hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// TCP, by port.
    pub tcp: BTreeMap<u16, Tcp>,
    /// Whether an ICMP echo was answered.
    pub icmp: bool,
    /// UDP on the VXLAN port.
    pub vxlan: Way,
    /// UDP 7946.
    pub gossip: Way,
    /// IP protocol 50, if the network is encrypted.
    pub esp: Option<Way>,
    /// The longest IP packet that arrived unfragmented, in bytes, and the longest that came off the wire.
    pub path_mtu: (u32, u32),
}

impl Link {
    /// Whether the other host gave any sign of life.
    #[must_use]
    pub fn anything_passes(&self) -> bool {
        self.icmp
            || self
                .tcp
                .values()
                .any(|tcp| matches!(tcp, Tcp::Open | Tcp::Refused))
            || self.vxlan.passed()
            || self.gossip.passed()
    }

    /// Whether what does not pass comes off the wire at the other host.
    #[must_use]
    pub fn reaches_the_wire(&self) -> bool {
        [self.vxlan, self.gossip].contains(&Way::DroppedAtTarget)
    }

    /// What passes, in words, for the sentence that says what does not.
    #[must_use]
    pub fn passing(&self) -> String {
        let tcp = self
            .tcp
            .values()
            .any(|tcp| matches!(tcp, Tcp::Open | Tcp::Refused));
        match (tcp, self.icmp) {
            (true, true) => "TCP and ICMP pass".to_owned(),
            (true, false) => "TCP passes".to_owned(),
            (false, true) => "ICMP passes".to_owned(),
            (false, false) => "neither TCP nor ICMP passes".to_owned(),
        }
    }

    /// The document of `--output json`.
    pub fn to_json(&self, from: &HostName, to: &HostName) -> Value {
        let way = |way: Way| match way {
            Way::Passed { .. } => "arrives",
            Way::DeniedAtSource => "denied-at-source",
            Way::Lost => "lost",
            Way::DroppedAtTarget => "dropped-at-target",
        };
        let tcp: BTreeMap<String, &str> = self
            .tcp
            .iter()
            .map(|(port, tcp)| {
                let said = match tcp {
                    Tcp::Open => "open",
                    Tcp::Refused => "refused",
                    Tcp::Silent => "silent",
                    Tcp::Blocked => "denied-at-source",
                };
                (port.to_string(), said)
            })
            .collect();
        json!({
            "from": from,
            "to": to,
            "icmp": self.icmp,
            "tcp": tcp,
            "gossip": way(self.gossip),
            "vxlan": way(self.vxlan),
            "esp": self.esp.map(way),
            "path_mtu": self.path_mtu.0,
        })
    }

    /// The layers, a line each, as evidence.
    #[must_use]
    pub fn layers(&self, tunnel: Option<u16>) -> Vec<String> {
        let way = |way: Way| match way {
            Way::Passed { lost: 0 } => "arrives".to_owned(),
            Way::Passed { lost } => format!("arrives, {lost} of {REPEATS} lost"),
            Way::DeniedAtSource => "is refused by the sender's own firewall".to_owned(),
            Way::Lost => "leaves and does not come off the wire".to_owned(),
            Way::DroppedAtTarget => {
                "comes off the wire and does not get past the receiver's firewall".to_owned()
            }
        };
        let mut lines = vec![format!(
            "ICMP echo: {}",
            if self.icmp { "answered" } else { "no answer" }
        )];
        lines.extend(self.tcp.iter().map(|(port, tcp)| {
            let said = match tcp {
                Tcp::Open => "open",
                Tcp::Refused => "refused, so the host is reached",
                Tcp::Silent => "no answer",
                Tcp::Blocked => "not let out",
            };
            format!("TCP {port}: {said}")
        }));
        if let Some(port) = tunnel {
            lines.push(format!("UDP 7946: {}", way(self.gossip)));
            lines.push(format!("UDP {port}: {}", way(self.vxlan)));
        }
        lines.extend(self.esp.map(|esp| format!("IP protocol 50: {}", way(esp))));
        lines.push(format!(
            "longest packet that arrives whole: {} bytes",
            self.path_mtu.0
        ));
        lines
    }
}
