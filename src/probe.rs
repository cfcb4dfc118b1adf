//! Asking a host for its facts: one read-only script, one round trip.

use std::time::Duration;

use crate::facts::{Facts, SCRIPT, Scope, parse};
use crate::host::{Command, Connection, HostError};
use crate::words::printable;

/// How long the probe may take. Inside the script an engine is waited for 25 seconds in all, and each of the store's questions is
/// bounded by ten.
const FACTS_TIMEOUT: Duration = Duration::from_secs(60);

/// Facts that could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The host could not be asked.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It answered something else.
    #[error("the host's answer is not what the facts probe prints{}", detail(.0))]
    Garbled(String),
}

fn detail(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// Asks a host for its facts.
pub async fn gather(host: &Connection, scope: Scope) -> Result<Facts, FactsError> {
    let command = Command::script(SCRIPT, scope.words().iter().copied()).timeout(FACTS_TIMEOUT);
    let sent = now();
    let output = host.run(&command).await?;
    let received = now();
    if output.status != 0 {
        return Err(host.failure(&command, output.status, &output).into());
    }
    parse(&output.stdout, sent, received).ok_or_else(|| {
        let text = printable(&output.stdout[..output.stdout.len().min(200)]);
        FactsError::Garbled(format!("{} {}", text.trim(), output.stderr_text().trim()))
    })
}

fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}
