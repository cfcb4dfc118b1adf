//! What happens, as data. Logic emits events; only [`crate::ui`] prints.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::inventory::HostName;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A host is being reached.
    Connecting(HostName),
    /// Its facts are here.
    Gathered(HostName),
    /// It could not be reached or asked.
    Unreached {
        /// The host.
        host: HostName,
        /// Why.
        error: String,
        /// What to do about it.
        hint: String,
    },
    /// Somebody wants to be asked before this step.
    Asking {
        /// The host.
        host: HostName,
        /// The step's sentence.
        why: String,
    },
    /// A step began.
    StepStarted {
        /// The host.
        host: HostName,
        /// The step's sentence.
        why: String,
    },
    /// A step is still at it.
    StepProgress {
        /// The host.
        host: HostName,
        /// What it is at.
        what: String,
    },
    /// A step is done.
    StepDone {
        /// The host.
        host: HostName,
        /// The step's sentence.
        why: String,
        /// How long it took.
        took: Duration,
    },
    /// A step failed; its host leaves the run.
    StepFailed {
        /// The host.
        host: HostName,
        /// The step's sentence.
        why: String,
        /// The error, with all that the host said.
        error: String,
        /// What to do about it.
        hint: String,
    },
    /// A step failed, and its host is brought back to what worked.
    RollingBack {
        /// The host.
        host: HostName,
        /// The step that failed.
        why: String,
    },
    /// A host leaves the run because of another.
    Skipped {
        /// The host.
        host: HostName,
        /// The step that could not begin.
        why: String,
        /// Why not.
        because: String,
    },
    /// The host has nothing left to do.
    HostDone(HostName),
    /// Something worth a line.
    Note(String),
    /// Everything before this is to be shown; then the sender is told.
    Flush(Arc<Mutex<Option<oneshot::Sender<()>>>>),
}

/// Where events go. Cheap to clone; sending never waits.
#[derive(Debug, Clone)]
pub struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    /// A sender and its receiver.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Emits an event. That nobody listens any more is no error: the run is ending.
    pub fn emit(&self, event: Event) {
        if !matches!(event, Event::Flush(_)) {
            tracing::debug!(?event);
        }
        let _ = self.0.send(event);
    }
}
