//! Daemon options on the way into `daemon.json`: what conflicts, what changes, and the restarts that follow.

use super::{RESTART_TIMEOUT, START_DEADLINE, UNIT, flags};
use crate::inventory::HostName;
use crate::plan::daemon_json::{self, MergeError};
use crate::plan::{Action, Content, HostWorld, Options, Problem, PutFile, Stage, StepId, Steps, World};

/// What a fabric wants of the engines' options.
pub struct Target<'a> {
    /// The options that a host should have.
    pub wanted: &'a dyn Fn(&HostWorld<'_>) -> Options,
    /// Whether a running engine has them in effect, as far as it tells.
    pub runs_with: &'a dyn Fn(&HostWorld<'_>) -> bool,
    /// The format of `docker info` that shows it.
    pub format: &'static str,
    /// What that must show.
    pub shows: &'a dyn Fn(&HostWorld<'_>) -> Vec<String>,
}

/// The options in a host's `daemon.json`.
#[must_use]
pub fn present(host: &HostWorld<'_>) -> Options {
    host.facts.daemon_json.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Keys of the present `daemon.json` that docker-cluster wrote: all wanted ones, unless somebody changed the file since.
fn ours(host: &HostWorld<'_>, wanted: &Options) -> Vec<String> {
    let (Some(record), Some(file)) = (host.facts.record(daemon_json::PATH), host.facts.files.get(daemon_json::PATH))
    else {
        return Vec::new();
    };
    if record.sha256 == file.sha256 { wanted.keys().cloned().collect() } else { Vec::new() }
}

fn merged(host: &HostWorld<'_>, wanted: &Options) -> Result<Option<String>, MergeError> {
    daemon_json::merge(host.facts.daemon_json.as_deref(), wanted, &ours(host, wanted), &[])
}

/// What forbids the wanted options on a host.
pub fn problems(host: &HostWorld<'_>, wanted: &Options, problems: &mut Vec<Problem>) {
    match merged(host, wanted) {
        Ok(_) => {}
        Err(MergeError::Invalid(error)) => problems.push(Problem::on(
            host.name(),
            format!("{} is not valid: {error}", daemon_json::PATH),
            "mend it by hand; nothing is written over it",
        )),
        Err(MergeError::Conflicts(conflicts)) => problems.extend(conflicts.into_iter().map(|conflict| {
            Problem::on(
                host.name(),
                format!(
                    "the daemon option `{}` is {} in {}, and the cluster needs {}",
                    conflict.key,
                    conflict.found,
                    daemon_json::PATH,
                    conflict.wanted
                ),
                "remove it there if the cluster may set it; docker-cluster does not overwrite what it did not write",
            )
        })),
    }
    let flags = flags(host.facts);
    for key in wanted.keys() {
        if let Some((flag, source)) = flags.iter().find(|(flag, _)| *flag == daemon_json::flag_for(key)) {
            problems.push(Problem::on(
                host.name(),
                format!("`--{flag}` is a flag in {source}, and the cluster sets `{key}` in {}; the engine refuses to start with both", daemon_json::PATH),
                "remove the flag there",
            ));
        }
    }
}

/// Writes the options where they are missing and restarts the engines that do not run with them: one at a time while
/// containers run. Returns the hosts whose engine restarts.
pub fn steps(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>, target: &Target<'_>) -> Vec<HostName> {
    let mut rolling: Vec<StepId> = Vec::new();
    let mut restarted = Vec::new();
    for host in &world.hosts {
        let name = host.name();
        let wanted = (target.wanted)(host);
        let text = merged(host, &wanted).ok().flatten();
        let up = host.facts.engine.as_ref().is_some_and(crate::facts::Engine::is_up);
        // `docker info` also shows options that came by a reload, which has no effect on a store that is set already
        // (`facts.md`); what docker-cluster writes is always followed by a restart.
        if text.is_none() && ((up && (target.runs_with)(host)) || wanted.is_empty()) {
            continue;
        }
        if let Some(text) = text {
            let present = present(host);
            let keys: Vec<&str> = wanted
                .iter()
                .filter(|(key, value)| present.get(*key) != Some(value))
                .map(|(key, _)| key.as_str())
                .collect();
            let put = PutFile {
                path: daemon_json::PATH.to_owned(),
                mode: "0644",
                owner: "root:root".to_owned(),
                content: Content::text(text),
                before: Some(host.facts.daemon_json.clone().unwrap_or_default()),
            };
            steps.add(
                name,
                Stage::Options,
                format!("set {} in {}; every other option stays", keys.join(", "), daemon_json::PATH),
                Action::PutFile(put),
            );
        }
        let running: Vec<_> = host.facts.engine.iter().flat_map(|engine| engine.running()).collect();
        let mut after = Vec::new();
        if !running.is_empty() {
            let down: Vec<&str> = running.iter().filter(|c| !c.comes_back()).map(|c| c.name.as_str()).collect();
            if !down.is_empty() {
                notes.push(format!(
                    "{name}: the restart of its engine stops {} for good: no restart policy",
                    down.join(", ")
                ));
            }
            // This one waits for the one that is `parallel` before it.
            let earlier = rolling.len().checked_sub(world.inventory.restart_parallel);
            after.extend(earlier.and_then(|at| rolling.get(at)).copied());
        }
        let why = match running.len() {
            0 => "restart the engine with its new options".to_owned(),
            1 => "restart the engine with its new options (1 container runs)".to_owned(),
            n => format!("restart the engine with its new options ({n} containers run)"),
        };
        steps.add_after(
            name,
            Stage::Options,
            why,
            Action::Service { verb: "restart", unit: UNIT, timeout: RESTART_TIMEOUT },
            after,
        );
        let action = Action::WaitFor {
            what: "the engine answers with its new options".to_owned(),
            argv: ["docker", "info", "--format", target.format].map(str::to_owned).to_vec(),
            expect: (target.shows)(host),
            peers: Vec::new(),
            deadline: START_DEADLINE,
        };
        let id = steps.add(name, Stage::Options, "wait until the engine answers with them", action);
        if !running.is_empty() {
            rolling.push(id);
        }
        restarted.push(name.clone());
    }
    restarted
}
