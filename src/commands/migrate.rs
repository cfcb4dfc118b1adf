//! `migrate`: from an overlay over a store to swarm mode, and back.

use clap::Args;

use super::carry_out::{Job, Manner, carry_out, check_consent};
use super::{ask_for, load};
use crate::decide::migrate::{Way, plan};
use crate::error::{Error, Exit};
use crate::facts::Scope;
use crate::global::Global;
use crate::inventory::HostSpec;
use crate::plan::World;
use crate::ui::{Progress, Ui};

/// How often the plan is made anew. An engine that did not start tells of its containers only after the first pass; a third pass that
/// still finds work means that something works against us.
const PASSES: usize = 3;

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Go back to the store
    #[arg(long)]
    pub rollback: bool,
    /// Upgrade engines from the distribution's packages on the way
    #[arg(long, conflicts_with = "rollback")]
    pub upgrade: bool,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// How it goes about it.
    #[command(flatten)]
    pub manner: Manner,
}

/// Runs it.
pub async fn run(args: &Migrate, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    if !args.plan {
        check_consent("migrate", args.manner.yes)?;
    }
    let way = if args.rollback {
        Way::Back
    } else {
        Way::ToSwarm {
            upgrade: args.upgrade,
        }
    };
    let all: Vec<&HostSpec> = inventory.hosts.iter().collect();
    for pass in 1..=PASSES {
        let progress = Progress::start(ui);
        // The way back ends a swarm: what is in it must be known.
        let scope = if args.rollback {
            Scope::Removal
        } else {
            Scope::Candidates
        };
        let asked = ask_for(&all, scope, progress.events()).await;
        progress.finish().await;
        let asked = asked?;
        let decide = |world: &World<'_>| plan(world, way);
        let plan = decide(&World::new(
            &inventory,
            &asked.facts,
            asked.unreached.clone(),
        ));
        if args.plan {
            super::plan::show(&plan, global, ui);
            return Ok(if plan.problems.is_empty() {
                Exit::Done
            } else {
                Exit::Failed
            });
        }
        // A way back ends where it began, which is where the way forth would begin again: it is walked once.
        let last = plan.is_empty() || args.rollback;
        let manner = Manner {
            yes: args.manner.yes || pass > 1,
            ..args.manner.clone()
        };
        let job = Job {
            command: "migrate",
            inventory: &inventory,
            asked: &asked,
            decide: &decide,
            manner: &manner,
            prove: last,
        };
        let exit = carry_out(&job, global, ui).await?;
        if last || exit != Exit::Done {
            return Ok(exit);
        }
    }
    Err(Error::failed("the hosts do not become what the plan wants")
        .hint("look at `docker-cluster migrate --plan`"))
}
