//! Getting an image onto a host: pulled by the host, or pushed from a tar on this machine.

use std::path::Path;
use std::time::Duration;

use crate::host::{Command, Connection};

/// How long an image may take to be pulled or loaded: 50 MB over a slow line.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(600);

/// Gets an image onto a host that lacks it. The error is a sentence.
pub async fn ensure(host: &Connection, image: &str, tar: Option<&Path>) -> Result<(), String> {
    let here = Command::new(["docker", "image", "inspect", "--format", "{{.Id}}", image]);
    if host.run(&here).await.map_err(|error| error.to_string())?.status == 0 {
        return Ok(());
    }
    let command = match tar {
        Some(path) => {
            let bytes = tokio::fs::read(path)
                .await
                .map_err(|error| format!("the image {image} cannot be read from {}: {error}", path.display()))?;
            Command::new(["docker", "load", "-q"]).stdin(bytes)
        }
        None => Command::new(["docker", "pull", "-q", image]),
    };
    host.check(&command.timeout(IMAGE_TIMEOUT)).await.map_err(|error| {
        let hint = if tar.is_none() { "; a host without a registry takes it from a tar (`smoke.tar`)" } else { "" };
        format!("the image {image} cannot be had: {}{hint}", last_line(&error.to_string()))
    })?;
    match host.run(&here).await.map_err(|error| error.to_string())?.status {
        0 => Ok(()),
        _ => Err(format!("the tar does not hold the image {image}")),
    }
}

/// The last line of an error: where programs say what it was.
#[must_use]
pub fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing").to_owned()
}
