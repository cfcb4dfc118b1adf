//! Carrying out a plan: show, ask, lock, apply, prove, report. Every command that changes hosts ends here.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::io::BufReader;
use tokio::sync::{Mutex, watch};

use super::{Asked, stop_signal};
use crate::apply::{self, Failed, Outcome, Pace};
use crate::decide::down::loses_data;
use crate::error::{Error, Exit};
use crate::event::{Event, Events};
use crate::global::{Global, Output};
use crate::host::Hosts;
use crate::inventory::Inventory;
use crate::lock::{self, Lock, LockError};
use crate::plan::{Plan, World};
use crate::proof::{Ill, Matrix, NotFinished};
use crate::secrets::Slots;
use crate::ui::{Progress, Ui};
use crate::verify::{self, Look};
use crate::words;

/// How a run goes about it, whatever the command: the arguments that all of them share.
#[derive(Debug, Clone, Args)]
pub struct Manner {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Wait before every step until Enter is pressed; q, or the end of the input, stops the run there
    #[arg(long)]
    pub step: bool,
    /// If another run holds the cluster, wait this long for it, such as 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub lock_wait: Option<Duration>,
}

/// What is to be done, and how.
pub struct Job<'a> {
    /// The command, for the lock and for messages.
    pub command: &'static str,
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The connected hosts.
    pub asked: &'a Asked,
    /// Decides what is to be done. It is called again once the cluster is locked: what another run did in between counts.
    pub decide: &'a dyn Fn(&World<'_>) -> Plan,
    /// How it goes about it.
    pub manner: &'a Manner,
    /// Whether the hosts are verified afterwards.
    pub prove: bool,
}

/// Refuses to begin where nobody can be asked. Called before anything is read, so that a script learns it at once.
pub fn check_consent(command: &str, yes: bool) -> Result<(), Error> {
    let may_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if yes || may_ask {
        return Ok(());
    }
    Err(Error::usage(format!(
        "`{command}` asks before it changes hosts, and there is no terminal to ask in"
    ))
    .hint("look at what it would do first, then say --yes"))
}

/// Carries it out.
pub async fn carry_out(job: &Job<'_>, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let Job {
        inventory, asked, ..
    } = job;
    let mut plan = (job.decide)(&World::new(
        inventory,
        &asked.facts,
        asked.unreached.clone(),
    ));
    consent(job, &plan, job.manner.yes, global, ui)?;
    let progress = Progress::start(ui);
    let locked = if plan.is_empty() {
        Ok(None)
    } else {
        lock_and_look(job, progress.events()).await
    };
    progress.finish().await;
    let lock = match locked? {
        None => None,
        Some((lock, now)) => {
            if json!(now) != json!(plan) {
                ui.note(
                    "The hosts have changed since they were looked at. What is to be done now:",
                );
                consent(job, &now, job.manner.yes, global, ui)?;
                plan = now;
            }
            Some(lock)
        }
    };
    let progress = Progress::start(ui);
    let stop = stop_signal(progress.events().clone());
    let pace = match job.manner.step {
        true => Pace::StepByStep(Mutex::new(Box::new(BufReader::new(tokio::io::stdin())))),
        false => Pace::Free,
    };
    let outcome = apply::apply(
        &plan,
        Slots::of_inventory(&inventory.network.bgp),
        &asked.hosts,
        progress.events(),
        stop.clone(),
        &pace,
        lock.as_ref(),
    )
    .await;
    // Where somebody else may be at work by now, there is nothing to prove.
    let is_lost = lock.as_ref().is_some_and(Lock::is_gone);
    drop(lock);
    let matrix = match job.prove && !outcome.interrupted && !is_lost {
        true => Some(prove(job, &outcome, progress.events(), stop).await),
        false => None,
    };
    progress.finish_now().await;
    report(job, &plan, &outcome, matrix.as_ref(), global, ui);
    if !outcome.is_complete() || !plan.unreached.is_empty() {
        return Ok(Exit::Failed);
    }
    Ok(if matrix.is_some_and(|matrix| !matrix.ok()) {
        Exit::Broken
    } else {
        Exit::Done
    })
}

/// Locks the cluster and decides again: another run may have been at work between the first look and the lock, and what it did must
/// not be done again, or undone.
async fn lock_and_look(job: &Job<'_>, events: &Events) -> Result<Option<(Lock, Plan)>, Error> {
    let Job {
        inventory, asked, ..
    } = job;
    let told = |held: &LockError| events.emit(Event::Note(format!("{held}; waiting for it")));
    let patience = job.manner.lock_wait.unwrap_or_default();
    let lock = lock::lock_within(inventory, &asked.hosts, job.command, patience, told).await?;
    let fresh = super::ask_again(inventory, asked, events).await;
    let plan = (job.decide)(&World::new(
        inventory,
        &fresh.facts,
        fresh.unreached.clone(),
    ));
    Ok(Some((lock, plan)))
}

/// Shows the plan, and goes on only if nothing forbids it and the person agrees.
fn consent(job: &Job<'_>, plan: &Plan, yes: bool, global: &Global, ui: Ui) -> Result<(), Error> {
    if global.output == Output::Text {
        ui.print(&crate::ui::plan(plan, ui));
    }
    if !plan.problems.is_empty() {
        if global.output == Output::Json {
            ui.json(&json!({"plan": plan}));
        }
        return Err(Error::Said(Exit::Failed));
    }
    if job.asked.hosts.is_empty() {
        return Err(Error::failed("no host can be reached"));
    }
    if !plan.is_empty() && !yes && !confirm(plan)? {
        return Err(Error::failed("nothing was done, as you wish"));
    }
    Ok(())
}

fn confirm(plan: &Plan) -> Result<bool, Error> {
    let failed = |error| Error::failed("cannot ask").because(error);
    let agreed = dialoguer::Confirm::new()
        .with_prompt("Do this?")
        .default(false)
        .interact()
        .map_err(failed)?;
    if !agreed || !loses_data(plan) {
        return Ok(agreed);
    }
    // What nothing brings back is not agreed to by the habit of saying yes.
    let typed: String = dialoguer::Input::new()
        .with_prompt(format!(
            "Data is removed for good. Type the cluster's name, {}, if that is meant",
            plan.cluster
        ))
        .allow_empty(true)
        .interact_text()
        .map_err(failed)?;
    Ok(typed.trim() == plan.cluster)
}

/// Verifies what is left of the cluster: a host that failed is in the matrix as what it is.
async fn prove(
    job: &Job<'_>,
    outcome: &Outcome,
    events: &Events,
    stop: watch::Receiver<bool>,
) -> Matrix {
    let Job {
        inventory,
        asked,
        command,
        ..
    } = job;
    let mut absent = asked.absent();
    absent.extend(
        outcome
            .failed
            .iter()
            .map(|failed| (failed.host.clone(), not_finished(command, failed))),
    );
    let hosts: Hosts = asked
        .hosts
        .iter()
        .filter(|(name, _)| !absent.contains_key(*name))
        .map(|(name, host)| (name.clone(), host.clone()))
        .collect();
    verify::verify(inventory, &hosts, &absent, &Look::default(), events, stop)
        .await
        .0
}

/// How many lines of what a failed step said are part of the verdict: the reason is among the last, and all of it was printed before.
const LAST_LINES: usize = 8;

fn not_finished(command: &str, failed: &Failed) -> Ill {
    let Failed { why, error, .. } = failed;
    let (first, rest) = error.split_once('\n').unwrap_or((error, ""));
    let reason = if rest.trim().is_empty() {
        String::new()
    } else {
        format!(": {}", words::reason(rest))
    };
    Ill::NotFinished(NotFinished {
        command: command.to_owned(),
        what: format!(
            "`{command}` did not get to its end there, at \u{201c}{why}\u{201d}: {}{reason}",
            first.trim_end_matches(':')
        ),
        said: words::last_lines(rest, LAST_LINES),
    })
}

fn report(
    job: &Job<'_>,
    plan: &Plan,
    outcome: &Outcome,
    matrix: Option<&Matrix>,
    global: &Global,
    ui: Ui,
) {
    match global.output {
        Output::Json => ui.json(&json!({
            "plan": plan,
            "done": outcome.done,
            "left": outcome.left,
            "failed": outcome.failed.iter().map(Failed::to_json).collect::<Vec<_>>(),
            "verify": matrix.map(Matrix::to_json),
        })),
        Output::Text => {
            if let Some(matrix) = matrix {
                ui.print(&crate::ui::matrix(matrix, ui, crate::ui::width()));
            }
            if outcome.left > 0 {
                let why = if outcome.interrupted {
                    "Stopped"
                } else {
                    "Not finished"
                };
                let (done, left, command) = (outcome.done, outcome.left, job.command);
                ui.note(&format!(
                    "{why}: {done} steps done, {left} left. Run `{command}` again: it goes on where this one stopped."
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::HostName;

    #[test]
    fn the_verdict_on_a_step_that_failed_says_how() {
        let failed = |error: &str| Failed {
            host: HostName::parse("a").unwrap(),
            why: "install docker.io".to_owned(),
            error: error.to_owned(),
        };
        let apt = "`apt-install docker.io` failed with exit status 100:\nReading package lists...\nE: Unable to locate package docker.io\n";
        let Ill::NotFinished(step) = not_finished("up", &failed(apt)) else {
            panic!()
        };
        assert_eq!(
            step.what,
            "`up` did not get to its end there, at \u{201c}install docker.io\u{201d}: `apt-install docker.io` failed with exit status 100: E: Unable to locate package docker.io"
        );
        assert_eq!(
            step.said,
            [
                "Reading package lists...",
                "E: Unable to locate package docker.io"
            ]
        );
        let Ill::NotFinished(step) = not_finished("up", &failed("the engine of the host says: no"))
        else {
            panic!()
        };
        assert!(
            step.what
                .ends_with("\u{201d}: the engine of the host says: no"),
            "{}",
            step.what
        );
        assert!(step.said.is_empty());
        // A program that fails and says nothing: no colon with nothing after it.
        let Ill::NotFinished(step) =
            not_finished("up", &failed("`x` failed with exit status 1:\n\n"))
        else {
            panic!()
        };
        assert!(step.what.ends_with("exit status 1"), "{}", step.what);
    }
}
