//! What hung on the networks of a host when a migration began, as its host keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What hung on the networks of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRecord {
    /// The networks over the store that containers of this host used.
    pub networks: Vec<NetworkRecord>,
    /// The containers on them.
    pub containers: Vec<ContainerRecord>,
}

/// A network as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its name.
    pub name: String,
    /// Its subnet.
    pub subnet: String,
    /// Its driver options.
    pub options: BTreeMap<String, String>,
    /// Its labels, which tell whose it is.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A container as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its name.
    pub name: String,
    /// Whether it ran.
    pub running: bool,
    /// Its restart policy; empty is none. It is the container's own and stays with it.
    #[serde(default)]
    pub restart: String,
    /// What it hung on.
    pub attachments: Vec<Attachment>,
}

/// One network of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network.
    pub network: String,
    /// The address there that was given to it, which it keeps. One that the engine chose, the engine chooses again: asked for by name
    /// it would be bound to it from then on, and whoever gets it meanwhile would keep the container from starting.
    pub address: Option<String>,
    /// Its other names there.
    pub aliases: Vec<String>,
}
