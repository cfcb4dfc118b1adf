//! Swarms of model hosts: what managers know.

use std::collections::BTreeMap;

use super::engine::Network;

/// An entry in the list of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    pub hostname: String,
    pub is_manager: bool,
    pub is_gone: bool,
    pub is_drained: bool,
    pub labels: BTreeMap<String, String>,
}

impl Node {
    pub fn new(id: String, hostname: &str, is_manager: bool) -> Self {
        Self {
            id,
            hostname: hostname.to_owned(),
            is_manager,
            is_gone: false,
            is_drained: false,
            labels: BTreeMap::new(),
        }
    }
}

/// A swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swarm {
    pub id: String,
    pub nodes: Vec<Node>,
    pub networks: Vec<Network>,
    pub services: Vec<String>,
}

impl Swarm {
    pub fn new(id: &str, ingress: &str) -> Self {
        Self {
            id: id.to_owned(),
            nodes: Vec::new(),
            networks: vec![Network::ingress(ingress)],
            services: Vec::new(),
        }
    }

    pub fn node(&mut self, id: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    pub fn is_manager(&self, id: &str) -> bool {
        self.nodes
            .iter()
            .any(|node| node.id == id && node.is_manager)
    }
}
