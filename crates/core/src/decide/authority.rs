//! A new CA for the engines that listen on the network. It is the only way to take a certificate back: an engine asks nobody whether one
//! was revoked, so what it trusts must change.
//!
//! The old CA is not trusted any longer than an engine's turn to restart takes, and all certificates of it end with that. A run that was
//! cut off is made again with yet another CA: nothing of the one before is needed.

use crate::engines::api::{self, Have};
use crate::engines::options::{self, Shown, Turns};
use crate::fabrics::{overlay, standalone};
use crate::inventory::FabricKind;
use crate::plan::{HostWorld, Plan, Problem, Steps, World};

/// Gives the engines a new CA, and each a certificate of it.
#[must_use]
pub fn plan(world: &World<'_>) -> Plan {
    let listening: Vec<&HostWorld<'_>> = world
        .hosts
        .iter()
        .filter(|host| api::wanted(host).is_some() && host.facts.record(api::DROP_IN).is_some())
        .collect();
    let mut problems = world.problems.clone();
    problems.extend(forbidden(world, &listening));
    let (mut steps, mut notes) = (Steps::default(), Vec::new());
    if problems.is_empty() {
        renew(world, &listening, &mut steps, &mut notes);
    }
    Plan {
        cluster: world.inventory.cluster.to_string(),
        fabric: FabricKind::Auto,
        reason: match world.inventory.engine.ca {
            Some(_) => "its engines get new certificates of your own CA".to_owned(),
            None => {
                "its engines get a new CA, and every certificate of the old one ends".to_owned()
            }
        },
        hosts: world.hosts.iter().map(|host| host.name().clone()).collect(),
        steps: steps.into_vec(),
        problems,
        notes,
        unreached: world.unreached.clone(),
    }
}

fn forbidden(world: &World<'_>, listening: &[&HostWorld<'_>]) -> Vec<Problem> {
    let inventory = world.inventory;
    let mut problems = Vec::new();
    for unreached in &world.unreached {
        if inventory
            .host(unreached.host.as_str())
            .is_some_and(|host| host.api.is_some())
        {
            problems.push(Problem::on(
                &unreached.host,
                format!(
                    "cannot be asked ({}), and would go on to trust the certificates of the old CA",
                    unreached.error
                ),
                "bring it back, or take it out of the inventory",
            ));
        }
    }
    if listening.is_empty() && problems.is_empty() {
        problems.push(Problem::of_all(
            "no engine listens on the network",
            "say `engine: {api: tls}` in the inventory, and run `up`",
        ));
    }
    problems
}

fn renew(
    world: &World<'_>,
    listening: &[&HostWorld<'_>],
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    let secrets = api::new_secrets(world, steps);
    let mut turns = Turns::default();
    for host in listening {
        let Some(api) = api::wanted(host) else {
            continue;
        };
        let todo = api::to_listen(world, host, api, Have::Replace);
        let uses_store = options::uses_store(host);
        let shown = Shown {
            what: "the engine answers",
            why: "wait until the engine answers",
            question: &options::of_info("{{.ServerVersion}}"),
            expect: Vec::new(),
            // With the old CA it would be open to whom it is to be closed to.
            put_back: Vec::new(),
            settled: uses_store.then(overlay::gossips),
            back: Vec::new(),
        };
        let mut turn = turns.before(world, host);
        let first = steps.next_id();
        options::put_api(host, todo.actions, secrets, &mut turn, steps);
        let why = "restart the engine, which reads certificates only then";
        let restarted = options::restart(host, why, &shown, turn, steps, notes);
        turns.begin(steps, first);
        turns.took(host, &restarted);
    }
    standalone::renew(world, steps);
}
