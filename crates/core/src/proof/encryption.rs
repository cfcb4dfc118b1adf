//! Whether traffic is encrypted that is to be, by what was seen on the wire.

use serde::Serialize;

use super::causes::{About, Finding};
use super::matrix::Direction;

/// What was seen of each direction between two probes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Encryption {
    /// Left as ESP, and never in clear.
    pub proved: Vec<Direction>,
    /// Left in clear.
    pub clear: Vec<Direction>,
    /// Nothing of it was seen, or nobody could look.
    pub unseen: Vec<Direction>,
}

impl Encryption {
    /// Whether all of it was proved.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.clear.is_empty() && self.unseen.is_empty() && !self.proved.is_empty()
    }

    /// What is to be said of what left in clear. `made_plain`: the network itself was made without encryption.
    pub fn findings(&self, network: &str, made_plain: bool) -> Vec<Finding> {
        let (what, fix) = match made_plain {
            true => (
                format!("traffic is not encrypted: the network {network} was made without it, and packets of its containers leave in clear"),
                "it cannot be changed in place: `docker-cluster plan` says how the network is made anew; or remove `network.encrypted`".to_owned(),
            ),
            false => (
                format!("traffic is not encrypted, although the network {network} was made for it: packets of its containers leave in clear"),
                "see whether its engine is older than 20.10.24 or 23.0.3 (CVE-2023-28840), and upgrade it; `ip xfrm state` and `iptables -S OUTPUT` there show what encrypts".to_owned(),
            ),
        };
        self.clear
            .iter()
            .map(|Direction { from, to }| Finding {
                about: About::Link(from.clone(), to.clone()),
                what: what.clone(),
                fix: fix.clone(),
                observed: vec![format!(
                    "{from} -> {to}: VXLAN in clear was seen on the wire, between the probes"
                )],
            })
            .collect()
    }
}
