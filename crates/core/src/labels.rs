//! Labels and names that docker-cluster gives to what it makes on an engine.

/// Label of every probe container; its value is the cluster.
pub const PROBE_LABEL: &str = "docker-cluster.probe";

/// Label with the time at which a probe is a leftover, in seconds since 1970 by its host's clock; `templates/verify/probe-start.sh` has it
/// as well.
pub const EXPIRES_LABEL: &str = "docker-cluster.expires";

/// Label of the container that keeps a network open; its value is the cluster.
pub const KEEPER_LABEL: &str = "docker-cluster.keeper";

/// Label of the containers of standalone Swarm; its value is the cluster.
pub const SWARM_LABEL: &str = "docker-cluster.swarm";

/// Label of what a container was made of, as a checksum: one that is made otherwise is replaced.
pub const MADE_OF_LABEL: &str = "docker-cluster.made-of";

/// How the names of probe containers begin.
pub const PROBE_PREFIX: &str = "dc-probe-";
