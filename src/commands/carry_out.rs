//! Carrying out a plan: show, ask, lock, apply, prove, report. Every command that changes hosts ends here.

use std::io::IsTerminal;

use serde_json::json;
use tokio::sync::watch;

use super::{Asked, stop_signal};
use crate::apply::{self, Outcome};
use crate::cli::{Global, Output};
use crate::error::{Error, Exit};
use crate::event::Events;
use crate::host::Hosts;
use crate::inventory::Inventory;
use crate::lock;
use crate::plan::Plan;
use crate::ui::{Progress, Ui};
use crate::verify::{self, Look, Matrix};

/// What is to be done, and how.
pub struct Job<'a> {
    /// The command, for the lock and for messages.
    pub command: &'static str,
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The connected hosts.
    pub asked: &'a Asked,
    /// The plan.
    pub plan: &'a Plan,
    /// Whether nobody is asked.
    pub yes: bool,
    /// Whether the hosts are verified afterwards.
    pub prove: bool,
}

/// Refuses to begin where nobody can be asked. Called before anything is read, so that a script learns it at once.
pub fn check_consent(command: &str, yes: bool) -> Result<(), Error> {
    let may_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if yes || may_ask {
        return Ok(());
    }
    Err(Error::usage(format!("`{command}` asks before it changes hosts, and there is no terminal to ask in"))
        .hint("look at what it would do first, then say --yes"))
}

/// Carries it out.
pub async fn carry_out(job: &Job<'_>, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let Job { inventory, asked, plan, .. } = job;
    if global.output == Output::Text {
        ui.print(&crate::ui::plan(plan, ui));
    }
    if !plan.problems.is_empty() {
        if global.output == Output::Json {
            ui.json(&json!({"plan": plan}));
        }
        return Err(Error::Said(Exit::Failed));
    }
    if asked.hosts.is_empty() {
        return Err(Error::failed("no host can be reached"));
    }
    if !plan.is_empty() && !job.yes && !confirm()? {
        return Err(Error::failed("nothing was done, as you wish"));
    }
    let progress = Progress::start(ui);
    let stop = stop_signal(progress.events().clone());
    let lock = if plan.is_empty() { None } else { Some(lock::lock(inventory, &asked.hosts, job.command).await?) };
    let outcome = apply::apply(plan, &asked.hosts, progress.events(), stop.clone()).await;
    drop(lock);
    let matrix = match job.prove && !outcome.interrupted {
        true => Some(prove(inventory, asked, &outcome, progress.events(), stop).await),
        false => None,
    };
    progress.finish_now().await;
    report(job, &outcome, matrix.as_ref(), global, ui);
    if !outcome.is_complete() || !plan.unreached.is_empty() {
        return Ok(Exit::Failed);
    }
    Ok(if matrix.is_some_and(|matrix| !matrix.ok()) { Exit::Broken } else { Exit::Done })
}

fn confirm() -> Result<bool, Error> {
    dialoguer::Confirm::new()
        .with_prompt("Do this?")
        .default(false)
        .interact()
        .map_err(|error| Error::failed("cannot ask").because(error))
}

/// Verifies what is left of the cluster: a host that failed is in the matrix as what it is.
async fn prove(
    inventory: &Inventory,
    asked: &Asked,
    outcome: &Outcome,
    events: &Events,
    stop: watch::Receiver<bool>,
) -> Matrix {
    let mut unreached = asked.unreached_by_name();
    unreached.extend(
        outcome.failed.iter().map(|(host, error)| (host.clone(), error.lines().next().unwrap_or_default().to_owned())),
    );
    let hosts: Hosts = asked
        .hosts
        .iter()
        .filter(|(name, _)| !unreached.contains_key(*name))
        .map(|(name, host)| (name.clone(), host.clone()))
        .collect();
    verify::verify(inventory, &hosts, &unreached, &Look::default(), events, stop).await.0
}

fn report(job: &Job<'_>, outcome: &Outcome, matrix: Option<&Matrix>, global: &Global, ui: Ui) {
    match global.output {
        Output::Json => ui.json(&json!({
            "plan": job.plan,
            "done": outcome.done,
            "left": outcome.left,
            "failed": outcome.failed.iter().map(|(host, error)| json!({"host": host, "error": error})).collect::<Vec<_>>(),
            "verify": matrix.map(Matrix::to_json),
        })),
        Output::Text => {
            if let Some(matrix) = matrix {
                ui.print(&crate::ui::matrix(matrix, ui, crate::ui::width()));
            }
            if outcome.left > 0 {
                let why = if outcome.interrupted { "Stopped" } else { "Not finished" };
                let (done, left, command) = (outcome.done, outcome.left, job.command);
                ui.note(&format!(
                    "{why}: {done} steps done, {left} left. Run `{command}` again: it goes on where this one stopped."
                ));
            }
        }
    }
}
