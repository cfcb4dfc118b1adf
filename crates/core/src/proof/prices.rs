//! What fabrics cost, side by side: one run that measured each on hosts of the same kind.

use serde::Serialize;

use super::figures::Figures;
use crate::inventory::FabricKind;

/// A way to connect hosts that is measured: a fabric, and what is around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WayToConnect {
    /// The fabric.
    pub fabric: FabricKind,
    /// Whether the fabric itself encrypts.
    pub encrypted: bool,
    /// Whether it goes over WireGuard.
    pub wireguard: bool,
}

impl std::fmt::Display for WayToConnect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encrypted = if self.encrypted { ", encrypted" } else { "" };
        let over = if self.wireguard {
            " over WireGuard"
        } else {
            ""
        };
        write!(f, "{}{encrypted}{over}", self.fabric)
    }
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Outcome {
    /// It was measured.
    Measured {
        /// Over the network.
        figures: Figures,
        /// As multiples of the bare underlay's, which were measured in turns with it.
        ratio: Figures,
    },
    /// It cannot be had on such hosts.
    Skipped {
        /// Why.
        why: String,
    },
    /// It was made, or was to be, and something went wrong.
    Failed {
        /// What.
        why: String,
    },
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price {
    /// What was measured.
    #[serde(flatten)]
    pub way: WayToConnect,
    /// The operating system of the hosts, such as `debian-13`.
    pub os: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Price {
    /// Why there are no figures.
    #[must_use]
    pub fn why_not(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Measured { .. } => None,
            Outcome::Skipped { why } => Some(format!("skipped: {why}")),
            Outcome::Failed { why } => Some(format!("failed: {why}")),
        }
    }

    /// Whether it was to be measured and was not.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prices {
    /// The machine that carried the hosts, in words.
    pub machine: String,
    /// The rows, in the order of the run.
    pub rows: Vec<Price>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_called_as_a_person_would() {
        let way = |encrypted, wireguard| WayToConnect {
            fabric: FabricKind::Swarm,
            encrypted,
            wireguard,
        };
        assert_eq!(way(false, false).to_string(), "swarm");
        assert_eq!(way(true, false).to_string(), "swarm, encrypted");
        assert_eq!(way(false, true).to_string(), "swarm over WireGuard");
    }

    #[test]
    fn what_was_skipped_has_not_failed() {
        let row = |outcome| Price {
            way: WayToConnect {
                fabric: FabricKind::Routed,
                encrypted: false,
                wireguard: false,
            },
            os: "debian-13",
            outcome,
        };
        let why = || "no esp4".to_owned();
        let skipped = row(Outcome::Skipped { why: why() });
        assert!(!skipped.has_failed());
        assert_eq!(skipped.why_not().unwrap(), "skipped: no esp4");
        assert!(row(Outcome::Failed { why: why() }).has_failed());
    }
}
