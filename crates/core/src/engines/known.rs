//! Faults of released engines that their users should be told of: pure functions of a version, for `plan` and `verify` alike.

use semver::Version;

/// A fault that an engine is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Its name; stable.
    pub id: &'static str,
    /// What goes wrong, as a fragment without the engine's name.
    pub what: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

const PLAIN_TEXT: Fault = Fault {
    id: "encryption-flaw",
    what: "this version may send or accept plain text on an encrypted network (CVE-2023-28840, CVE-2023-28841, CVE-2023-28842)",
    fix: "upgrade the engine to 20.10.24, or to 23.0.3 or newer; until then let no UDP of the network's port in from outside of the cluster",
};

const FORGETS_NAMES: Fault = Fault {
    id: "forgotten-names",
    what: "engines 29.0 to 29.6 do not learn names again of a host that was away for some seconds (moby/moby#53141)",
    fix: "engines from 29.7 on do not forget them",
};

/// The faults of an engine that matter to what is wanted of it: an encrypted network, or any network of a swarm.
#[must_use]
pub fn faults(version: &Version, encrypted: bool) -> Vec<Fault> {
    let encryption = may_send_plain_text(version).filter(|_| encrypted);
    encryption
        .into_iter()
        .chain(forgets_names(version))
        .collect()
}

/// Whether encrypted overlays of this engine are not to be trusted: mended in 20.10.24 and 23.0.3, and not before 20.10 at all.
#[must_use]
pub fn may_send_plain_text(version: &Version) -> Option<Fault> {
    let of = (version.major, version.minor, version.patch);
    (of < (20, 10, 24) || ((23, 0, 0)..(23, 0, 3)).contains(&of)).then_some(PLAIN_TEXT)
}

/// Whether names stay unknown to this engine after another host was away for 10 to 30 s.
#[must_use]
pub fn forgets_names(version: &Version) -> Option<Fault> {
    (version.major == 29 && version.minor <= 6).then_some(FORGETS_NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(version: &str, encrypted: bool) -> Vec<&'static str> {
        faults(&Version::parse(version).unwrap(), encrypted)
            .iter()
            .map(|fault| fault.id)
            .collect()
    }

    #[test]
    fn each_fault_has_its_versions() {
        for flawed in [
            "1.13.1", "19.3.15", "20.10.5", "20.10.23", "23.0.0", "23.0.2",
        ] {
            assert_eq!(ids(flawed, true), ["encryption-flaw"], "{flawed}");
            assert!(
                ids(flawed, false).is_empty(),
                "{flawed}: of no interest where nothing is to be encrypted"
            );
        }
        for sound in [
            "20.10.24", "20.10.27", "23.0.3", "23.0.15", "24.0.0", "26.1.5", "28.5.2", "29.7.0",
            "30.0.0",
        ] {
            assert!(ids(sound, true).is_empty(), "{sound}");
        }
        for forgetful in ["29.0.0", "29.6.2"] {
            assert_eq!(ids(forgetful, true), ["forgotten-names"], "{forgetful}");
        }
        assert!(ids("28.5.2", false).is_empty());
    }
}
