//! What distributions call things: rows of a table, not types.

use crate::facts::Facts;
use crate::plan::{Action, Undo};

/// A package manager that docker-cluster can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageManager {
    /// The program whose presence shows it.
    pub program: &'static str,
    /// The script that installs packages: its arguments are `PACKAGE` or `PACKAGE=VERSION`.
    pub install: &'static str,
    /// The script that takes away what an installation left that failed half-way.
    pub undo: &'static str,
    /// The script that removes packages; its arguments are their names.
    pub remove: &'static str,
    /// Name of the first script, for messages.
    pub name: &'static str,
}

/// The table of package managers. Another one is another row and another script in `templates/`.
const PACKAGE_MANAGERS: &[PackageManager] = &[PackageManager {
    program: "apt-get",
    install: include_str!("../templates/apt-install.sh"),
    undo: include_str!("../templates/apt-undo.sh"),
    remove: include_str!("../templates/apt-remove.sh"),
    name: "apt-install",
}];

/// How long taking away half an installation may take, in seconds: no network is needed, but each package's own scripts run.
const UNDO_TIMEOUT: u64 = 300;

impl PackageManager {
    /// The way back from an installation that failed half-way. `unit` is that of the packages, for its last words.
    #[must_use]
    pub fn undo_install(self, unit: &'static str) -> Undo {
        let action = Action::Script { name: "undo-install", text: self.undo, args: Vec::new(), timeout: UNDO_TIMEOUT };
        Undo { unit, actions: vec![action] }
    }

    /// The one that a host has.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Self> {
        PACKAGE_MANAGERS.iter().find(|manager| facts.package_managers.contains(manager.program)).copied()
    }
}

/// What a release of a distribution offers, where its package lists do not tell (a fresh host has none).
#[derive(Debug)]
pub struct Release {
    /// `ID` and `VERSION_ID` of `/etc/os-release`.
    pub id: (&'static str, &'static str),
    /// Packages of the engine and its client.
    pub engine_packages: &'static [&'static str],
    /// Version of the engine.
    pub engine: (u64, u64, u64),
    /// Key-value backends in its binary.
    pub kv_backends: &'static [&'static str],
    /// Whether there is a package of Consul.
    pub consul: bool,
}

/// The releases, from their package indexes; the backends from the binaries (`facts.md`: a Debian patch removes Consul's
/// from Debian 12 on).
const RELEASES: &[Release] = &[
    Release {
        id: ("debian", "11"),
        engine_packages: &["docker.io"],
        engine: (20, 10, 5),
        kv_backends: &["consul", "etcd", "zookeeper"],
        consul: true,
    },
    Release {
        id: ("debian", "12"),
        engine_packages: &["docker.io"],
        engine: (20, 10, 24),
        kv_backends: &["etcd", "zookeeper"],
        consul: false,
    },
    // From Debian 13 on the client is a package of its own, and only recommended.
    Release {
        id: ("debian", "13"),
        engine_packages: &["docker.io", "docker-cli"],
        engine: (26, 1, 5),
        kv_backends: &[],
        consul: false,
    },
    Release {
        id: ("debian", "14"),
        engine_packages: &["docker.io", "docker-cli"],
        engine: (28, 5, 2),
        kv_backends: &[],
        consul: false,
    },
];

impl Release {
    /// The row of a host.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<&'static Self> {
        RELEASES.iter().find(|release| release.id == (facts.os_id.as_str(), facts.os_version.as_str()))
    }
}
