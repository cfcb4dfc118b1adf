//! `plan`: what `up` would change; touches nothing.

use clap::Args;

use super::{ask, load, select};
use crate::decide;
use crate::error::{Error, Exit};
use crate::global::{Global, Output};
use crate::inventory::{HostName, HostSpec, Inventory};
use crate::plan::{Plan, World};
use crate::ui::{Progress, Ui};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Exit with 3 if changes are pending
    #[arg(long)]
    pub exit_code: bool,
}

/// Runs it.
pub async fn run(args: &PlanArgs, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let selected: Vec<HostName> = select(&inventory, global)?
        .iter()
        .map(|host| host.name.clone())
        .collect();
    let progress = Progress::start(ui);
    let all: Vec<&HostSpec> = inventory.hosts.iter().collect();
    let asked = ask(&all, progress.events()).await;
    progress.finish().await;
    let mut asked = asked?;
    let plan = make(
        &inventory,
        &asked.facts,
        std::mem::take(&mut asked.unreached),
        &selected,
    );
    show(&plan, global, ui);
    Ok(match () {
        () if !plan.problems.is_empty() || !plan.unreached.is_empty() => Exit::Failed,
        () if args.exit_code && !plan.is_empty() => Exit::Pending,
        () => Exit::Done,
    })
}

/// Makes the plan for the selected hosts.
pub(super) fn make(
    inventory: &Inventory,
    facts: &[(HostName, crate::facts::Facts)],
    unreached: Vec<crate::plan::Unreached>,
    selected: &[HostName],
) -> Plan {
    let world = World::new(inventory, facts, unreached);
    let mut plan = decide::up(&world);
    plan.limit_to(selected);
    plan
}

pub(super) fn show(plan: &Plan, global: &Global, ui: Ui) {
    match global.output {
        Output::Json => ui.json(&serde_json::to_value(plan).unwrap_or_default()),
        Output::Text => ui.print(&crate::ui::plan(plan, ui)),
    }
}
