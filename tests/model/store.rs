//! Stores of model hosts: what is in them, and which servers of one of our own agree.

use std::collections::BTreeSet;

use super::engine::Network;

/// A store, by the key that its agents gossip with, or by its address if it is somebody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    /// Addresses of the servers that are its quorum; none before it ever had a leader.
    pub peers: BTreeSet<String>,
    /// Whether the tokens of engines and agents are registered.
    pub registered: bool,
    pub networks: Vec<Network>,
}
