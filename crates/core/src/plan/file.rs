//! Files that docker-cluster wants on a host: whether they are there as they should be, and the step that puts them there.

use super::step::{Action, Content, PutFile};
use crate::checksum::sha256_hex;
use crate::facts::Facts;

/// A file that a host should have.
#[derive(Debug, Clone)]
pub struct WantedFile {
    /// Where.
    pub path: String,
    /// Mode in octal, such as `0644`.
    pub mode: &'static str,
    /// `user:group`.
    pub owner: String,
    /// What.
    pub content: Content,
    /// The sentence of its step.
    pub why: String,
    /// The unit that reads it when it starts, and has to be restarted to see it.
    pub read_by: Option<&'static str>,
}

impl WantedFile {
    /// A text that belongs to root.
    #[must_use]
    pub fn of_root(
        path: &str,
        mode: &'static str,
        text: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        let (path, owner) = (path.to_owned(), "root:root".to_owned());
        Self {
            path,
            mode,
            owner,
            content: Content::text(text),
            why: why.into(),
            read_by: None,
        }
    }

    /// The action that puts it there.
    #[must_use]
    pub fn put(self) -> Action {
        let Self {
            path,
            mode,
            owner,
            content,
            read_by,
            ..
        } = self;
        Action::PutFile(PutFile {
            path,
            mode,
            owner,
            content,
            before: None,
            read_by,
            ours: None,
        })
    }

    /// Whether it is there. `bundle` is the checksum of the store's present secrets, for files that hold some of them.
    #[must_use]
    pub fn is_there(&self, facts: &Facts, bundle: Option<&str>) -> bool {
        let Some(file) = facts.files.get(&self.path) else {
            return false;
        };
        if file.mode != self.mode.trim_start_matches('0') || file.owner != self.owner {
            return false;
        }
        match self.content.plain() {
            Some(text) => file.sha256 == sha256_hex(text.as_bytes()),
            // What filled the slots is only known by its checksum: of the file, and of the secrets at that time.
            None => facts.record(&self.path).is_some_and(|record| {
                record.source == self.content.fingerprint()
                    && record.sha256 == file.sha256
                    && Some(record.secrets.as_str()) == bundle
            }),
        }
    }
}
