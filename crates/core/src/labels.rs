//! Labels and names that docker-cluster gives to what it makes on an engine.

/// Label of every probe container; its value is the cluster.
pub const PROBE_LABEL: &str = "docker-cluster.probe";

/// Label of the container that keeps a network open; its value is the cluster.
pub const KEEPER_LABEL: &str = "docker-cluster.keeper";

/// How the names of probe containers begin.
pub const PROBE_PREFIX: &str = "dc-probe-";
