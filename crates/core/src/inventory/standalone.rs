//! Standalone Swarm as an inventory wants it: Docker's scheduler of before swarm mode, in containers.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// The last release of standalone Swarm.
pub const DEFAULT_SWARM_IMAGE: &str = "swarm:1.2.9";

/// TCP port of its managers: Docker Machine's own.
pub const SWARM_PORT: u16 = 3376;

/// Which swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SwarmKind {
    /// The swarm mode of the engines themselves.
    Engine,
    /// Docker Swarm in containers.
    Standalone,
}

/// How standalone Swarm chooses among the hosts that a container may run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The host with the fewest containers.
    Spread,
    /// The fullest host that still has room.
    Binpack,
    /// Any.
    Random,
}

impl Strategy {
    /// As Swarm takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Binpack => "binpack",
            Self::Random => "random",
        }
    }
}

/// By what standalone Swarm rules hosts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SwarmFilter {
    /// Hosts whose engine does not answer.
    Health,
    /// Hosts where a published port is taken.
    Port,
    /// Hosts with as many containers as their engine's label `containerslots` says.
    ContainerSlots,
    /// Hosts without the containers whose volumes or links a container shares.
    Dependency,
    /// What `-e affinity:...` says.
    Affinity,
    /// What `-e constraint:...` says.
    Constraint,
    /// What `-e whitelist:...` says.
    Whitelist,
}

impl SwarmFilter {
    /// As Swarm takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Port => "port",
            Self::ContainerSlots => "containerslots",
            Self::Dependency => "dependency",
            Self::Affinity => "affinity",
            Self::Constraint => "constraint",
            Self::Whitelist => "whitelist",
        }
    }
}

/// Standalone Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandaloneSpec {
    /// Its image.
    pub image: String,
    /// A tar of the image on this machine.
    pub tar: Option<SwarmTar>,
    /// How it chooses a host.
    pub strategy: Strategy,
    /// Where managers and agents find each other, if not in the cluster's store.
    pub discovery: Option<String>,
    /// By what it rules hosts out; empty is by everything.
    pub filters: Vec<SwarmFilter>,
    /// The TCP port of its managers.
    pub port: u16,
    /// Whether hosts have an agent.
    pub agents: bool,
    /// More flags of managers, without dashes.
    pub options: Vec<String>,
    /// More flags of agents, without dashes.
    pub join_options: Vec<String>,
    /// Whether what is experimental may be used.
    pub experimental: bool,
}

/// A tar of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmTar {
    /// Where it is on this machine.
    pub path: PathBuf,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}
