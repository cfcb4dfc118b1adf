//! Files on this machine that an inventory names: there is no secret in an inventory.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// A file on this machine that is named somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Where an inventory names it, such as `cluster.yaml:7`; none if that was an argument.
    pub place: Option<String>,
    /// Whether everybody on this machine may read it, once somebody has looked.
    pub everybody_reads: bool,
}

impl NamedFile {
    /// One that an inventory names there.
    pub(super) fn at(path: PathBuf, place: String) -> Self {
        Self {
            place: Some(place),
            ..path.into()
        }
    }

    /// What a person should know of it if a secret is in it.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let path = self.path.display();
        self.everybody_reads.then(|| {
            format!(
                "everybody on this machine can read {self}, which is a secret: `chmod o= {path}`"
            )
        })
    }
}

impl From<PathBuf> for NamedFile {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            place: None,
            everybody_reads: false,
        }
    }
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} ({place})", self.path.display()),
            None => self.path.display().fmt(f),
        }
    }
}

impl Serialize for NamedFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.path.serialize(serializer)
    }
}
