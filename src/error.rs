//! Errors at the edge: what a command failed with, what to do, and the exit code. Library errors below are fragments; here
//! they become `Error:`, `Caused by:` and `Hint:`.

use std::process::ExitCode;

use crate::inventory::InventoryError;

/// Exit codes; `docs/programs.md` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or inventory.
    Usage = 2,
    /// Changes are pending (`plan --exit-code`).
    Pending = 3,
    /// Some pair does not reach.
    Broken = 4,
    /// Another run holds the cluster.
    Locked = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that failed.
#[derive(Debug)]
pub enum Error {
    /// The inventory: printed with its lines.
    Inventory(Box<InventoryError>),
    /// Anything else.
    Message {
        /// What failed, as a fragment.
        what: String,
        /// Why.
        cause: Option<String>,
        /// What to do.
        hint: Option<String>,
        /// The exit code.
        exit: Exit,
    },
    /// Everything was said already; only the exit code is left.
    Said(Exit),
}

impl Error {
    /// A failure.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::Message {
            what: what.into(),
            cause: None,
            hint: None,
            exit: Exit::Failed,
        }
    }

    /// Wrong usage.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Message {
            what: what.into(),
            cause: None,
            hint: None,
            exit: Exit::Usage,
        }
    }

    /// With a cause.
    #[must_use]
    pub fn because(mut self, text: impl std::fmt::Display) -> Self {
        if let Self::Message { cause, .. } = &mut self {
            *cause = Some(text.to_string());
        }
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Message { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Inventory(_) => Exit::Usage,
            Self::Message { exit, .. } | Self::Said(exit) => *exit,
        }
    }
}

impl From<crate::lock::LockError> for Error {
    fn from(error: crate::lock::LockError) -> Self {
        let (exit, hint) = match &error {
            crate::lock::LockError::Held { .. } => (
                Exit::Locked,
                "wait until it is done; the lock of a run that died expires by itself within a minute".to_owned(),
            ),
            crate::lock::LockError::Host { error, .. } => (Exit::Failed, error.hint()),
        };
        Self::Message {
            what: error.to_string(),
            cause: None,
            hint: Some(hint),
            exit,
        }
    }
}
