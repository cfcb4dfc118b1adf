//! The operating systems of lab hosts: rows of a table.

/// An operating system of lab hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Os {
    /// Debian 11 "bullseye": engine 20.10.5 with the Consul backend, and Consul 1.8.7 as a package.
    #[value(name = "debian-11")]
    Debian11,
    /// Debian 12 "bookworm": engine 20.10.24 without the Consul backend.
    #[value(name = "debian-12")]
    Debian12,
    /// Debian 13 "trixie": engine 26.1.5, swarm mode only.
    #[value(name = "debian-13")]
    Debian13,
    /// Debian 14 "forky": engine 28.5.2, swarm mode only, which closes containers to other hosts.
    #[value(name = "debian-14")]
    Debian14,
}

impl Os {
    /// Its name on the command line and in tags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian11 => "debian-11",
            Self::Debian12 => "debian-12",
            Self::Debian13 => "debian-13",
            Self::Debian14 => "debian-14",
        }
    }

    /// The suite, for debootstrap and apt.
    pub(super) fn suite(self) -> &'static str {
        match self {
            Self::Debian11 => "bullseye",
            Self::Debian12 => "bookworm",
            Self::Debian13 => "trixie",
            Self::Debian14 => "forky",
        }
    }

    /// The suite whose debootstrap script makes it, where that is another: a debootstrap older than the release has no
    /// script of its name, and Debian's newer releases are all made alike.
    pub(super) fn script(self) -> Option<&'static str> {
        match self {
            Self::Debian11 | Self::Debian12 | Self::Debian13 => None,
            Self::Debian14 => Some("sid"),
        }
    }

    /// Packages of hosts that are not bare: the engine, and Consul where the engine can use it. From Debian 13 on the client is a package
    /// of its own.
    pub(super) fn packages(self) -> &'static str {
        match self {
            Self::Debian11 => "docker.io consul",
            Self::Debian12 => "docker.io",
            Self::Debian13 | Self::Debian14 => "docker.io docker-cli",
        }
    }
}
