//! The record on each host: what docker-cluster wrote there, with the originals byte for byte.
//!
//! It lives in `/var/lib/docker-cluster/record`, readable by root alone: per file a `.json` with what was written, a
//! `.origin` that says what was there before (`absent`, or `file MODE OWNER SHA256`), and the `.bytes` of that.
//! `templates/put-file.sh` writes all three; a file is put in place only after its record is.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checksum::sha256_hex;

/// How such a line begins.
pub const NODE_LINE: &str = "node ";

/// What was last written to one file of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The file.
    pub path: String,
    /// SHA-256 of the bytes that were written, in hexadecimal.
    pub sha256: String,
    /// Fingerprint of the content as the plan knows it, with slots in the place of secrets.
    pub source: String,
    /// SHA-256 of the secrets that filled the slots; empty if there were none.
    #[serde(default)]
    pub secrets: String,
    /// Who wrote it: `user@machine`.
    pub by: String,
    /// When, in seconds since 1970 by that machine's clock.
    pub at: i64,
    /// Of a file that is merged with what others have in it: the keys that docker-cluster has set, see
    /// [`crate::daemon_json::claim`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ours: Option<Map<String, Value>>,
}

/// Name of a file's record, without the ending.
#[must_use]
pub fn key(path: &str) -> String {
    sha256_hex(path.as_bytes())[..16].to_owned()
}
