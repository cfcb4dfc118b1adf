//! Text that must not be printed.

use std::fmt;

use crate::checksum::sha256_hex;

/// Text that must not be printed. Its Debug says nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// SHA-256 of several secrets, none of which has a line break in it; empty if there are none. It is for records that root alone reads.
#[must_use]
pub fn checksum<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let lines: Vec<&str> = secrets.into_iter().map(Secret::expose).collect();
    if lines.is_empty() {
        return String::new();
    }
    sha256_hex(lines.join("\n").as_bytes())
}
