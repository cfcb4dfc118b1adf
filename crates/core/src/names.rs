//! Names that travel: parsed once here, so that nothing later has to ask whether a name is safe in a file name, a
//! label, a shell word or a DNS query. Values are still always passed as arguments, never pasted into shell text.

use std::fmt;

use serde::Serialize;

/// Longest name accepted, in bytes: the limit of one DNS label (RFC 1035, 2.3.4).
pub const MAX_NAME: usize = 63;

fn check(kind: &str, text: &str, extra: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    if text.is_empty() {
        return Err(format!("a {kind} cannot be empty"));
    }
    if text.len() > MAX_NAME {
        return Err(format!(
            "a {kind} has at most {MAX_NAME} characters, this one has {}",
            text.len()
        ));
    }
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!(
            "a {kind} holds letters, digits and `{extra}`; {bad:?} is none of them"
        ));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("a {kind} starts with a letter or a digit"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Parses the name; the error is a sentence that says which character or length is refused.
            pub fn parse(text: &str) -> Result<Self, String> {
                check($kind, text, $extra).map(|()| Self(text.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// Name of the cluster.
    ClusterName, "cluster name", "-_."
);
name!(
    /// Name of a host in the inventory. `:` allows an IPv6 address to be its own name.
    HostName, "host name", "-_.:"
);
name!(
    /// Name of a Docker network (the engine's own rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`).
    NetworkName, "network name", "-_."
);
name!(
    /// A tag.
    Tag, "tag", "-_."
);

/// How many digits of a checksum stand for what is cut off a name: enough that no two of a cluster's hosts meet.
const CUT_DIGITS: usize = 10;

/// The name of a container of ours on a host, which is its host name and one DNS label as well: never longer than that may be, and
/// different for each host, because a checksum stands for what is cut off.
#[must_use]
pub fn container_name(prefix: &str, host: &HostName) -> String {
    let whole = format!("{prefix}-{}", host.slug());
    // A resolver takes no label that ends with a dash.
    if whole.len() <= MAX_NAME && !whole.ends_with('-') {
        return whole;
    }
    let digits = &crate::checksum::sha256_hex(format!("{prefix}-{host}").as_bytes())[..CUT_DIGITS];
    let kept: String = whole.chars().take(MAX_NAME - CUT_DIGITS - 1).collect();
    format!(
        "{}-{digits}",
        kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
    )
}

impl HostName {
    /// The name as one DNS label: everything but letters and digits becomes `-`, and what became of two different names stays
    /// different by some digits of a checksum.
    #[must_use]
    pub fn slug(&self) -> String {
        let dash = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let slug: String = self.0.chars().map(dash).collect();
        if slug == self.0 {
            slug
        } else {
            format!(
                "{slug}-{}",
                &crate::checksum::sha256_hex(self.0.as_bytes())[..4]
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_break_out_are_refused() {
        for bad in [
            "", "-rf", "a b", "a;b", "$(id)", "a'b", "a\"b", "a\nb", "../x", "a/b", "é", "a`b`",
            "{{a}}",
        ] {
            assert!(HostName::parse(bad).is_err(), "{bad:?} must be refused");
        }
        assert!(
            HostName::parse(&"a".repeat(64))
                .unwrap_err()
                .contains("at most 63")
        );
    }

    #[test]
    fn ordinary_names_pass() {
        for good in [
            "web-1",
            "10.0.0.11",
            "fd00::2",
            "db_2.example.org",
            &"a".repeat(63),
        ] {
            assert_eq!(HostName::parse(good).unwrap().as_str(), good);
        }
        let slug = |name: &str| HostName::parse(name).unwrap().slug();
        assert_eq!(slug("web-1"), "web-1");
        assert_ne!(slug("Web.1"), slug("web-1"));
        assert_ne!(slug("web.1"), slug("web_1"));
    }

    #[test]
    fn containers_of_ours_have_names_that_fit_and_differ() {
        let cloud = "ip-10-11-12-13.eu-central-1.compute.internal";
        let far = "f".repeat(62);
        let hosts = [
            "a",
            "A",
            "web.1",
            "web_1",
            "web-1",
            "Web-1",
            "10.0.0.11",
            "fd00::2",
            cloud,
            &cloud.to_uppercase(),
            &format!("{cloud}.example.org"),
            &format!("{far}a"),
            &format!("{far}b"),
            &format!("{far}A"),
            "a.",
            "a..",
            "a-",
            "a--",
        ]
        .map(|name| HostName::parse(name).unwrap());
        let (net, long) = ("n".repeat(63), format!("{}-", "N".repeat(62)));
        for prefix in [
            "dc-probe-0123abcd",
            "dc-keeper-net",
            &format!("dc-keeper-{net}"),
            &format!("dc-keeper-{long}"),
        ] {
            let names: std::collections::BTreeSet<String> = hosts
                .iter()
                .map(|host| container_name(prefix, host))
                .collect();
            assert_eq!(
                names.len(),
                hosts.len(),
                "two hosts share a name: {names:?}"
            );
            for name in names {
                // 63 bytes are a DNS label, and less than the kernel's 64 of a host name.
                assert!(
                    name.len() <= 63 && name.len() >= 2,
                    "{name} has {} characters",
                    name.len()
                );
                assert!(
                    name.starts_with("dc-") && name.ends_with(|c: char| c.is_ascii_alphanumeric()),
                    "{name}"
                );
                assert!(
                    name.chars()
                        .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)),
                    "{name}"
                );
            }
        }
        // One that fits is as it always was: the keepers of a cluster stay the same.
        assert_eq!(
            container_name("dc-keeper-net", &hosts[4]),
            "dc-keeper-net-web-1"
        );
    }
}
