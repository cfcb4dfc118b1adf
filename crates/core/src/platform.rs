//! What distributions call things: rows of a table, not types.

use std::collections::BTreeSet;

use crate::facts::Facts;
use crate::versions::parse_engine_version;

/// A package manager that docker-cluster can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageManager {
    /// The program whose presence shows it.
    pub program: &'static str,
    /// The script that installs packages: its arguments are `PACKAGE` or `PACKAGE=VERSION`.
    pub install: &'static str,
    /// The script that removes packages and leaves their data: `purge PACKAGE...`, or `undo` for what an installation left that failed
    /// half-way.
    pub remove: &'static str,
    /// Name of the first script, for messages.
    pub name: &'static str,
}

/// The table of package managers. Another one is another row and another script in `templates/`.
const PACKAGE_MANAGERS: &[PackageManager] = &[PackageManager {
    program: "apt-get",
    install: include_str!("../../../templates/apt-install.sh"),
    remove: include_str!("../../../templates/apt-remove.sh"),
    name: "apt-install",
}];

impl PackageManager {
    /// The one that a host has.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Self> {
        PACKAGE_MANAGERS
            .iter()
            .find(|manager| facts.package_managers.contains(manager.program))
            .copied()
    }
}

/// A service manager that docker-cluster can use: how it is told what to do. Its answers are read by the facts probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceManager {
    /// The program.
    pub program: &'static str,
    /// To start units at every boot; the units follow. It reads units again by itself, so that nothing has to be read before, which costs a
    /// host a tenth of a second of CPU each time. And it has to: without that (`--no-reload`) systemd says of every unit that it is not what is
    /// on the disk, and the next plan would have something to do.
    pub enable: &'static [&'static str],
    /// Not to do that any more.
    pub disable: &'static [&'static str],
    /// The same, and to stop them.
    pub disable_now: &'static [&'static str],
    /// To stop units.
    pub stop: &'static [&'static str],
    /// To read units that were written.
    pub reread: &'static [&'static str],
}

/// systemd, the only row so far: `decide/checks.rs` refuses hosts that have another.
pub const SERVICES: ServiceManager = ServiceManager {
    program: "systemctl",
    enable: &["enable"],
    disable: &["disable"],
    disable_now: &["disable", "--now"],
    stop: &["stop"],
    reread: &["daemon-reload"],
};

impl ServiceManager {
    /// The argv of an order about these units.
    #[must_use]
    pub fn argv(self, order: &[&str], units: &[&str]) -> Vec<String> {
        [self.program]
            .iter()
            .chain(order)
            .chain(units)
            .map(ToString::to_string)
            .collect()
    }
}

/// What a release of a distribution offers, where its package lists do not tell (a fresh host has none).
#[derive(Debug)]
pub struct Release {
    /// `ID` and `VERSION_ID` of `/etc/os-release`.
    pub id: (&'static str, &'static str),
    /// `VERSION_CODENAME`.
    pub codename: &'static str,
    /// Packages of the engine and its client.
    pub engine_packages: &'static [&'static str],
    /// Version of the engine.
    pub engine: (u64, u64, u64),
    /// Key-value backends in its binary.
    pub kv_backends: &'static [&'static str],
    /// Whether there is a package of Consul.
    pub consul: bool,
    /// Whether there is one of WireGuard in user space.
    pub wireguard_go: bool,
}

/// The releases, from their package indexes; the backends from the binaries (`facts.md`: a Debian patch removes Consul's
/// from Debian 12 on).
const RELEASES: &[Release] = &[
    Release {
        id: ("debian", "11"),
        codename: "bullseye",
        engine_packages: &["docker.io"],
        engine: (20, 10, 5),
        kv_backends: &["consul", "etcd", "zookeeper"],
        consul: true,
        wireguard_go: false,
    },
    Release {
        id: ("debian", "12"),
        codename: "bookworm",
        engine_packages: &["docker.io"],
        engine: (20, 10, 24),
        kv_backends: &["etcd", "zookeeper"],
        consul: false,
        wireguard_go: true,
    },
    // From Debian 13 on the client is a package of its own, and only recommended.
    Release {
        id: ("debian", "13"),
        codename: "trixie",
        engine_packages: &["docker.io", "docker-cli"],
        engine: (26, 1, 5),
        kv_backends: &[],
        consul: false,
        wireguard_go: true,
    },
    Release {
        id: ("debian", "14"),
        codename: "forky",
        engine_packages: &["docker.io", "docker-cli"],
        engine: (28, 5, 2),
        kv_backends: &[],
        consul: false,
        wireguard_go: true,
    },
];

impl Release {
    /// The row of a host.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<&'static Self> {
        // Raspbian has the packages of the Debian that it is made of, under its number.
        let id = if facts.os_id == "raspbian" {
            "debian"
        } else {
            &facts.os_id
        };
        // A release under way has no number yet.
        let by_name =
            |release: &&Self| facts.os_version.is_empty() && release.codename == facts.os_codename;
        let of_distribution = || RELEASES.iter().filter(|release| release.id.0 == id);
        of_distribution()
            .find(|release| release.id.1 == facts.os_version)
            .or_else(|| of_distribution().find(by_name))
    }
}

/// Packages that exclude the distribution's own, for hosts whose package lists cannot tell yet: what would be installed, and what apt
/// would take off for it. From the `Conflicts` and `Breaks` of both sides.
const RIVALS: &[(&str, &[&str])] = &[
    (
        "docker.io",
        &[
            "containerd.io",
            "cri-o-runc",
            "docker-ce",
            "docker-ce-cli",
            "docker-ce-rootless-extras",
            "docker-ee",
            "docker-ee-cli",
            "docker-engine",
            "lxc-docker",
            "moby-cli",
            "moby-containerd",
            "moby-engine",
            "moby-runc",
            "podman-docker",
        ],
    ),
    (
        "docker-cli",
        &[
            "docker-ce-cli",
            "docker-ee-cli",
            "moby-cli",
            "podman-docker",
        ],
    ),
    (
        "docker-ce-cli",
        &["docker-cli", "moby-cli", "podman-docker"],
    ),
];

/// What is in the way of installing a package on a host, with what to do about it. By apt's own word where its lists know the package,
/// else by what is known to exclude it. Nothing is ever removed to make room.
#[must_use]
pub fn in_the_way(facts: &Facts, wanted: &str) -> Vec<(String, String)> {
    let packages = &facts.packages;
    let mut found = Vec::new();
    let ours = |package: &&String| !facts.made.contains(&format!("package {package}"));
    let halves: Vec<&str> = packages
        .halves
        .iter()
        .filter(ours)
        .map(String::as_str)
        .collect();
    if !halves.is_empty() {
        found.push((
            format!(
                "dpkg was interrupted there: half installed are {}",
                halves.join(", ")
            ),
            "run `dpkg --configure -a` there, and `apt-get -f install` if that asks for it"
                .to_owned(),
        ));
    }
    let is_there = |name: &str| {
        packages
            .present
            .get(name)
            .is_some_and(|(state, _)| state.get(1..2) == Some("i"))
    };
    let listed = facts.candidates.contains_key(wanted);
    let mut removed: Vec<String> = packages
        .changes
        .iter()
        .filter(|(target, word, ..)| target == wanted && word == "Remv")
        .map(|(_, _, package, version)| format!("{package} {version}"))
        .collect();
    if !listed {
        let rivals = RIVALS
            .iter()
            .filter(|(target, _)| *target == wanted)
            .flat_map(|(_, rivals)| *rivals);
        let version = |name: &&str| Some(format!("{name} {}", packages.present.get(*name)?.1));
        removed.extend(rivals.filter(|name| is_there(name)).filter_map(version));
    }
    let also_there = match facts.on_containerd.is_empty() {
        true => String::new(),
        false => format!(
            "; what may need it is there: {}",
            facts.on_containerd.join(", ")
        ),
    };
    if !removed.is_empty() {
        found.push((
            format!("installing {wanted} would remove {}{also_there}", removed.join(", ")),
            "docker-cluster removes nothing to make room: install an engine that goes with them by hand (docker-ce goes with containerd.io), or remove them yourself if nobody needs them".to_owned(),
        ));
    }
    let refusals = packages
        .refusals
        .iter()
        .filter(|(target, _)| listed && target == wanted);
    let words: Vec<&str> = refusals.map(|(_, words)| words.as_str()).collect();
    if !words.is_empty() {
        found.push((
            format!("apt cannot install {wanted}: {}", words.join("; ")),
            format!("look at `apt-get -s install {wanted}` there; `apt-mark showhold` tells what is held"),
        ));
    }
    if wanted != ENGINE_PACKAGE {
        return found;
    }
    if !packages.by_hand.is_empty() {
        found.push((
            format!(
                "{} was put there by hand, and docker.io would write over it",
                packages.by_hand.join(", ")
            ),
            "install the engine by hand as well, or move it away".to_owned(),
        ));
    }
    let runs = facts
        .unit("containerd.service")
        .filter(|unit| unit.active == "active");
    if let Some(unit) =
        runs.filter(|_| removed.is_empty() && !is_there("containerd") && !is_there("containerd.io"))
    {
        found.push((
            format!(
                "a containerd runs there that no package brought ({}), and docker.io would bring another{also_there}",
                unit.path
            ),
            "install the engine there by hand, so that it uses the containerd that is there".to_owned(),
        ));
    }
    found
}

/// Packages that are there and would be upgraded on the way, as `NAME VERSION`.
#[must_use]
pub fn upgraded(facts: &Facts, wanted: &str) -> Vec<String> {
    let changes = facts
        .packages
        .changes
        .iter()
        .filter(|(target, word, ..)| target == wanted && word == "Inst");
    changes
        .map(|(_, _, package, version)| format!("{package} {version}"))
        .collect()
}

/// The package of the engine.
pub const ENGINE_PACKAGE: &str = "docker.io";

/// The package of its client, where that is one of its own.
pub const CLIENT_PACKAGE: &str = "docker-cli";

/// The client in Docker's own packages.
pub const DOCKER_CE_CLIENT: &str = "docker-ce-cli";

/// The package of Consul, where a distribution has one.
pub const STORE_PACKAGE: &str = "consul";

/// The package of BIRD, which speaks BGP.
pub const BIRD_PACKAGE: &str = "bird2";

/// The package of Open vSwitch.
pub const SWITCH_PACKAGE: &str = "openvswitch-switch";

/// The package of the program that tells the kernel who computes checksums.
pub const ETHTOOL_PACKAGE: &str = "ethtool";

/// The package of WireGuard's tools.
pub const MESH_PACKAGE: &str = "wireguard-tools";

/// The package of WireGuard in user space.
pub const MESH_PROGRAM_PACKAGE: &str = "wireguard-go";

/// The package of what makes rules for packets, where no engine has brought it.
pub const RULES_PACKAGE: &str = "iptables";

/// The packages that docker-cluster may have installed on a host. `templates/apt-remove.sh` knows them as well, but for what comes along with
/// an engine.
pub const INSTALLED_HERE: &[&str] = &[
    ENGINE_PACKAGE,
    CLIENT_PACKAGE,
    DOCKER_CE_CLIENT,
    STORE_PACKAGE,
    BIRD_PACKAGE,
    SWITCH_PACKAGE,
    ETHTOOL_PACKAGE,
    MESH_PACKAGE,
    MESH_PROGRAM_PACKAGE,
    RULES_PACKAGE,
];

/// An engine that a host has, or will get from its packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its version.
    pub version: semver::Version,
    /// Key-value backends in its binary.
    pub kv_backends: BTreeSet<String>,
    /// Whether it is still to be installed.
    pub to_install: bool,
    /// The version as its package manager writes it, where the host's lists tell.
    pub package_version: Option<String>,
}

/// The engine that a host has, or would get. `None` if there is none and nobody knows what its packages hold.
#[must_use]
pub fn offer(facts: &Facts, wanted: Option<&semver::VersionReq>) -> Option<Offer> {
    if let Some(engine) = &facts.engine {
        return Some(Offer {
            version: engine.version.clone()?,
            kv_backends: engine.kv_backends.clone(),
            to_install: false,
            package_version: None,
        });
    }
    PackageManager::of(facts)?;
    // What apt would take by itself, unless the inventory wants another one of those that it has.
    let candidate = facts.candidates.get(ENGINE_PACKAGE);
    let read = |text: &String| Some((parse_engine_version(text)?, text.clone()));
    let fits =
        |found: &(semver::Version, String)| wanted.is_none_or(|wanted| wanted.matches(&found.0));
    let listed = candidate
        .into_iter()
        .chain(&facts.engine_versions)
        .filter_map(read)
        .find(fits)
        .or_else(|| candidate.and_then(read));
    let (listed, package_version) =
        listed.map_or((None, None), |(version, text)| (Some(version), Some(text)));
    let release = Release::of(facts);
    let known = release
        .map(|release| semver::Version::new(release.engine.0, release.engine.1, release.engine.2));
    let version = listed.or(known)?;
    let kv_backends = match release {
        Some(release) => release
            .kv_backends
            .iter()
            .map(ToString::to_string)
            .collect(),
        None => BTreeSet::new(),
    };
    Some(Offer {
        version,
        kv_backends,
        to_install: true,
        package_version,
    })
}
