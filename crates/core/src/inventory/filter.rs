//! The host filter of `--on`: `a,web-*,@tag`.

use globset::{Glob, GlobMatcher};

use super::{HostSpec, Inventory};

/// Which hosts of the inventory a command is about.
#[derive(Debug, Clone, Default)]
pub struct Filter(Vec<Pattern>);

#[derive(Debug, Clone)]
enum Pattern {
    Name(GlobMatcher),
    Tag(GlobMatcher),
}

impl Filter {
    /// Parses a comma-separated list of names, globs of names (`*`, `?`, `[ab]`) and `@tag`s.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part.strip_prefix('@') {
                _ if part.is_empty() => {
                    return Err(format!("`{text}` has an empty part between its commas"));
                }
                Some("") => return Err("`@` must be followed by a tag".to_owned()),
                Some(tag) => patterns.push(Pattern::Tag(glob(tag)?)),
                None => patterns.push(Pattern::Name(glob(part)?)),
            }
        }
        Ok(Self(patterns))
    }

    /// Whether every host is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The hosts it selects, in the inventory's order. A part that selects nothing is an error: it is a typing mistake
    /// more often than not.
    pub fn select<'a>(&self, inventory: &'a Inventory) -> Result<Vec<&'a HostSpec>, String> {
        if self.is_everything() {
            return Ok(inventory.hosts.iter().collect());
        }
        for pattern in &self.0 {
            if !inventory.hosts.iter().any(|host| pattern.matches(host)) {
                let known: Vec<&str> = inventory
                    .hosts
                    .iter()
                    .map(|host| host.name.as_str())
                    .collect();
                return Err(match pattern {
                    Pattern::Tag(tag) => format!("no host has the tag `{}`", tag.glob()),
                    Pattern::Name(name) => {
                        format!(
                            "no host is called `{}`; there are {}",
                            name.glob(),
                            known.join(", ")
                        )
                    }
                });
            }
        }
        Ok(inventory
            .hosts
            .iter()
            .filter(|host| self.0.iter().any(|pattern| pattern.matches(host)))
            .collect())
    }
}

impl Pattern {
    fn matches(&self, host: &HostSpec) -> bool {
        match self {
            Self::Name(glob) => glob.is_match(host.name.as_str()),
            Self::Tag(glob) => host.tags.iter().any(|tag| glob.is_match(tag.as_str())),
        }
    }
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text)
        .map(|glob| glob.compile_matcher())
        .map_err(|error| format!("`{text}` is no pattern: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: &str) -> Result<Vec<String>, String> {
        let inventory = Inventory::parse(
            "hosts:\n  - {name: web-1, address: a, tags: [front]}\n  - {name: web-2, address: b}\n  - {name: db, address: c, tags: [back]}\n",
            "t.yaml",
        )
        .unwrap();
        Filter::parse(filter)?
            .select(&inventory)
            .map(|hosts| hosts.iter().map(|host| host.name.to_string()).collect())
    }

    #[test]
    fn names_globs_and_tags() {
        assert_eq!(names("db").unwrap(), ["db"]);
        assert_eq!(names("web-*").unwrap(), ["web-1", "web-2"]);
        assert_eq!(names("db,@front").unwrap(), ["web-1", "db"]);
        assert_eq!(names("*").unwrap(), ["web-1", "web-2", "db"]);
        assert_eq!(names("w*b-*2").unwrap(), ["web-2"]);
    }

    #[test]
    fn a_part_that_selects_nothing_is_an_error() {
        assert!(names("web-9").unwrap_err().contains("web-1, web-2, db"));
        assert!(names("@none").unwrap_err().contains("tag `none`"));
        assert!(names("db,,web-1").unwrap_err().contains("empty part"));
        assert!(names("@").is_err());
    }

    #[test]
    fn a_glob_must_match_the_whole_name() {
        let matches = |pattern: &str, text: &str| glob(pattern).unwrap().is_match(text);
        assert!(!matches("web", "web-1"));
        assert!(!matches("*-1", "web-12"));
        assert!(!matches("a*a", "a"));
        assert!(matches("web-[12]", "web-2"));
        assert!(
            glob("web-[")
                .unwrap_err()
                .starts_with("`web-[` is no pattern")
        );
    }
}
