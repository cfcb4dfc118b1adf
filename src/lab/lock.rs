//! One maker at a time: two labs that come up at once share images, and choose ports and subnets from the same few.

use std::fs::{File, TryLockError};
use std::time::Duration;

use super::{LabError, state};
use crate::event::{Event, Events};

/// How often a lock that somebody holds is tried again. What is waited for takes seconds at least.
const POLL: Duration = Duration::from_millis(200);

/// A lock; dropping it gives it back. The kernel does so as well when its holder dies.
pub(super) struct Held(#[expect(dead_code, reason = "the open file is the lock")] File);

fn open(name: &str) -> Result<File, LabError> {
    let path = state::cache()?.join(format!("{}.lock", name.replace([':', '/'], "-")));
    // The file stays: whoever removed it could take away the file that somebody else has just locked.
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(LabError::file(format!("cannot open {}", path.display())))
}

/// Takes a lock, and waits while another process of this user holds it; `why` is said if it has to wait.
pub(super) async fn hold(name: &str, why: &str, events: &Events) -> Result<Held, LabError> {
    let file = open(name)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Held(file)),
            Err(TryLockError::WouldBlock) if told => {}
            Err(TryLockError::WouldBlock) => {
                events.emit(Event::Note(format!("waiting for another lab: {why}")));
                told = true;
            }
            Err(TryLockError::Error(source)) => {
                return Err(LabError::file(format!("cannot lock {name}"))(source));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Takes a lock, or gives none if another process of this user holds it.
pub(super) fn try_hold(name: &str) -> Result<Option<Held>, LabError> {
    let file = open(name)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Held(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => {
            Err(LabError::file(format!("cannot lock {name}"))(source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_given_back() {
        let name = format!("test-{}", std::process::id());
        let held = try_hold(&name).unwrap();
        assert!(held.is_some());
        assert!(try_hold(&name).unwrap().is_none());
        drop(held);
        assert!(try_hold(&name).unwrap().is_some());
        std::fs::remove_file(state::cache().unwrap().join(format!("{name}.lock"))).unwrap();
    }
}
