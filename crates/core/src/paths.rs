//! Where docker-cluster keeps things on a host.

/// The folder of everything that it keeps there for itself.
pub const HOME: &str = "/var/lib/docker-cluster";

/// The record of what was written to the host.
pub const RECORD: &str = "/var/lib/docker-cluster/record";

/// The secrets of the store, on its servers.
pub const SECRETS_PATH: &str = "/var/lib/docker-cluster/secrets/store.json";

/// The CA of engines that listen on the network: its certificate and its key, on a few hosts.
pub const ENGINES_CA: &str = "/var/lib/docker-cluster/secrets/engines.pem";

/// Whom that CA has given certificates, a line each, on the same hosts.
pub const CLIENTS: &str = "/var/lib/docker-cluster/secrets/clients";

/// What hung on the host's networks, while a migration is under way and afterwards.
pub const MIGRATION: &str = "/var/lib/docker-cluster/migration.json";

/// The program of the store, where no package brings it.
pub const PUSHED_STORE: &str = "/usr/local/lib/docker-cluster/consul";
