//! Whether forged packets get into a network, by what hosts saw of those that were sent to them.

use serde::Serialize;

use super::causes::{About, Finding};
use crate::inventory::HostName;

/// What became of packets that look as if they came from a machine that takes no part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Forgery {
    /// They arrived at these hosts, and did not get in.
    pub kept_out: Vec<HostName>,
    /// A container saw what was in them.
    pub got_in: Vec<HostName>,
    /// They did not arrive, or nobody could look.
    pub unseen: Vec<HostName>,
}

impl Forgery {
    /// What became of those that were sent to one host.
    pub fn add(&mut self, to: &HostName, arrived: u64, inside: u64) {
        let hosts = match (arrived, inside) {
            (_, 1..) => &mut self.got_in,
            (1.., 0) => &mut self.kept_out,
            (0, 0) => &mut self.unseen,
        };
        hosts.push(to.clone());
    }

    /// What is to be said of those that got in.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let one = |host: &HostName| {
            Finding {
            about: About::Hosts(vec![host.clone()]),
            what: "a forged packet gets into the network: whoever can send to the port of its VXLAN reaches the containers".to_owned(),
            fix: "`docker-cluster up` closes the port to all but those who take part; if it has nothing to do, look there for a rule before the chain DOCKER-CLUSTER: `iptables -S INPUT`".to_owned(),
            observed: vec![format!(
                "{host}: a frame in a VXLAN packet from 192.0.2.213, which is nobody's address, was seen by the probe"
            )],
        }
        };
        self.got_in.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_arrives_and_does_not_get_in_is_kept_out() {
        let host = |name| HostName::parse(name).unwrap();
        let mut found = Forgery::default();
        found.add(&host("a"), 3, 0);
        found.add(&host("b"), 3, 3);
        // Some networks bring it to the probe by a way on which it is not seen before.
        found.add(&host("c"), 0, 1);
        found.add(&host("d"), 0, 0);
        assert_eq!(found.kept_out, [host("a")]);
        assert_eq!(found.got_in, [host("b"), host("c")]);
        assert_eq!(found.unseen, [host("d")]);
        let findings = found.findings();
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[0].about, About::Hosts(vec![host("b")]));
        assert!(findings[0].fix.contains("docker-cluster up"));
    }
}
