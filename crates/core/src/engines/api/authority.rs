//! The CA of engines that listen: which hosts keep it, and what is wrong with it.

use std::collections::BTreeMap;

use super::{todo, wanted};
use crate::inventory::{HostName, Inventory, OwnCa};
use crate::paths::ENGINES_CA;
use crate::plan::{
    Action, Content, HostWorld, Piece, Problem, Recorded, SecretsFrom, Slot, Stage, StepId, Steps,
    WantedFile, World,
};
use crate::x509;

/// On how many hosts the CA's key is, at most: one may be lost. Who has it can be root on all.
const KEEPERS: usize = 3;

/// The hosts that have the record of whom the CA has given certificates.
pub fn recorders(inventory: &Inventory) -> impl Iterator<Item = &HostName> {
    let listening = inventory.hosts.iter().filter(|host| host.api.is_some());
    listening.map(|host| &host.name).take(KEEPERS)
}

/// The hosts that may have the CA's key: not whoever says so. None has that of a CA of the person's own.
pub fn keepers(inventory: &Inventory) -> impl Iterator<Item = &HostName> {
    let is_own = inventory.engine.ca.is_some();
    recorders(inventory).filter(move |_| !is_own)
}

/// The first keeper that has the CA's key.
pub(super) fn holder<'a>(world: &'a World<'_>) -> Option<&'a HostWorld<'a>> {
    let mut here = keepers(world.inventory).filter_map(|name| world.host(name));
    here.find(|host| host.facts.files.contains_key(ENGINES_CA))
}

/// The hosts that answer and may have the CA's key.
fn keepers_here<'a>(world: &'a World<'_>) -> Vec<&'a HostName> {
    keepers(world.inventory)
        .filter(|name| world.host(name).is_some())
        .collect()
}

/// What is wrong with the CA, or not known of it.
pub(super) fn problem(world: &World<'_>) -> Option<Problem> {
    if let Some(own) = &world.inventory.engine.ca {
        return own_problem(world, own);
    }
    let keepers: Vec<&HostName> = keepers(world.inventory).collect();
    let sum = |host: &HostWorld<'_>| {
        host.facts
            .files
            .get(ENGINES_CA)
            .map(|file| file.sha256.clone())
    };
    let (mut kept, mut elsewhere) = (BTreeMap::new(), None);
    for host in &world.hosts {
        let Some(sum) = sum(host) else { continue };
        match keepers.contains(&host.name()) {
            true => drop(kept.insert(sum, host.name())),
            false => elsewhere = Some(host.name()),
        }
    }
    if kept.len() > 1 {
        let names: Vec<&str> = kept.values().map(|name| name.as_str()).collect();
        return Some(Problem::of_all(
            format!(
                "{} keep different CAs of the engines in {ENGINES_CA}",
                names.join(" and ")
            ),
            "`docker-cluster cert rotate-ca` was cut off: run it again",
        ));
    }
    if !kept.is_empty() || keepers.is_empty() {
        let left = ca_left(world).filter(|left| *left <= 0);
        return left.map(|_| {
            Problem::of_all(
                "the CA of the engines has expired",
                "make a new one with `docker-cluster cert rotate-ca`; certificates are issued anew after it",
            )
        });
    }
    if let Some(name) = elsewhere {
        return Some(Problem::on(
            name,
            format!(
                "it has the CA of the engines, and is none of the first {KEEPERS} hosts with `api: tls`, which are believed to have it"
            ),
            "name it before the others in the inventory, or make a new CA with `docker-cluster cert rotate-ca`",
        ));
    }
    let mut silent = world.unreached.iter().map(|unreached| &unreached.host);
    if let Some(name) = silent.find(|name| keepers.contains(name)) {
        return Some(Problem::on(
            name,
            "it does not answer, and may have the CA of the engines: nobody else has",
            "bring it back, or take it out of the inventory",
        ));
    }
    let has_ca = |host: &&HostWorld<'_>| wanted(host).is_some() && !host.facts.api.ca.is_empty();
    world.hosts.iter().find(has_ca).map(|host| {
        Problem::on(
            host.name(),
            "its engine trusts a CA whose key no host has any more",
            "make a new one with `docker-cluster cert rotate-ca`; certificates are issued anew after it",
        )
    })
}

/// What is wrong with a CA of the person's own.
fn own_problem(world: &World<'_>, own: &OwnCa) -> Option<Problem> {
    let host = world.hosts.iter().find(|host| wanted(host).is_some())?;
    let file = &own.cert;
    let help = "name the files of a CA as `engine: {ca: FILE, ca_key: FILE}`, or leave them out: then docker-cluster makes one";
    match x509::expiry(&own.text) {
        None => {
            let strange = || format!("{file}, the CA of the engines, is no certificate");
            Some(Problem::of_all(
                own.flaw.clone().unwrap_or_else(strange),
                help,
            ))
        }
        Some(ends) if ends <= host.facts.clock => Some(Problem::of_all(
            format!("the CA of the engines in {file} has expired"),
            "put another in its place; certificates are issued anew after it",
        )),
        // Who has no key may still ask what there is to do, where nothing has to be signed for it.
        Some(_) => {
            let flaw = own.flaw.clone().filter(|_| signs(world))?;
            Some(Problem::of_all(flaw, help))
        }
    }
}

/// Whether something is to be done for which the CA has to be at hand.
fn signs(world: &World<'_>) -> bool {
    world.hosts.iter().any(|host| {
        let actions = todo(world, host).actions;
        actions.iter().any(|(_, action)| !action.reads().is_empty())
    })
}

/// How much is left of the present CA's life, in seconds by the clock of a host that keeps it, or trusts it.
pub(super) fn ca_left(world: &World<'_>) -> Option<i64> {
    if let Some(own) = &world.inventory.engine.ca {
        return Some(x509::expiry(&own.text)? - world.hosts.first()?.facts.clock);
    }
    let host = holder(world)?;
    Some(x509::expiry(&host.facts.api.ca)? - host.facts.clock)
}

/// Makes the CA, or reads it, if it is needed for what is to be done. Returns the step after which it is at hand.
pub fn secrets(world: &World<'_>, steps: &mut Steps) -> Option<StepId> {
    let lacks = |host: &&HostWorld<'_>| {
        keepers(world.inventory).any(|name| name == host.name())
            && !kept().is_there(host.facts, bundle_of(world))
    };
    let lacking: Vec<&HostWorld<'_>> = world.hosts.iter().filter(lacks).collect();
    forget_kept(world, steps);
    if lacking.is_empty() && !signs(world) {
        return None;
    }
    let (at, first) = match read(world, steps) {
        Some(there) => there,
        None => {
            let at = keepers_here(world).into_iter().next()?;
            let why = "make a CA for the engines that listen on the network";
            (at, mint(at, why, steps))
        }
    };
    for host in lacking.into_iter().filter(|host| host.name() != at) {
        keep(host.name(), &[first], steps);
    }
    Some(first)
}

/// Reads the CA that is there already: that of the person's own on this machine, or the one that a host keeps. Returns the host whose
/// step that is, and the step.
fn read<'a>(world: &'a World<'_>, steps: &mut Steps) -> Option<(&'a HostName, StepId)> {
    let (host, why, action) = match &world.inventory.engine.ca {
        // Every step is one of a host.
        Some(OwnCa { cert, key, .. }) => (
            world.hosts.iter().find(|host| wanted(host).is_some())?,
            "read the CA of the engines, which is on this machine",
            Action::OwnCa {
                cert: cert.clone(),
                key: key.clone(),
            },
        ),
        None => (
            holder(world)?,
            "read the CA of the engines, which it keeps",
            Action::Secrets(SecretsFrom::FetchEngines),
        ),
    };
    let id = steps.add(host.name(), Stage::Options, why, action);
    Some((host.name(), id))
}

/// Makes a CA, and keeps it on a host. Returns the step after which it is there.
fn mint(at: &HostName, why: &str, steps: &mut Steps) -> StepId {
    let mint = Action::Secrets(SecretsFrom::MintEngines);
    steps.add(at, Stage::Options, why, mint);
    keep(at, &[], steps)
}

/// Takes the key of an earlier CA off hosts, once the person has one: it is good for nothing any more.
fn forget_kept(world: &World<'_>, steps: &mut Steps) {
    if world.inventory.engine.ca.is_none() {
        return;
    }
    for host in world.hosts.iter().filter(|host| wanted(host).is_some()) {
        let Some(record) = host.facts.record(ENGINES_CA) else {
            continue;
        };
        let why = format!("remove {ENGINES_CA}, the CA of before");
        let action = Action::restore(host.facts, record, Recorded::Dropped);
        steps.add(host.name(), Stage::Options, why, action);
    }
}

/// The step after which the CA is at hand for one more certificate: one that is there, or one that reads it.
pub fn at_hand(world: &World<'_>, steps: &mut Steps) -> Option<StepId> {
    if let Some(id) = steps.filling(Slot::EnginesBundle) {
        return Some(id);
    }
    read(world, steps).map(|(_, id)| id)
}

pub(super) fn bundle_of<'a>(world: &'a World<'_>) -> Option<&'a str> {
    let file = holder(world)?.facts.files.get(ENGINES_CA)?;
    Some(file.sha256.as_str())
}

fn kept() -> WantedFile {
    WantedFile {
        content: Content(vec![Piece::Slot(Slot::EnginesBundle)]),
        ..WantedFile::of_root(
            ENGINES_CA,
            "0600",
            "",
            "keep the engines' CA where root alone reads it",
        )
    }
}

fn keep(host: &HostName, after: &[StepId], steps: &mut Steps) -> StepId {
    let file = kept();
    steps.add_after(
        host,
        Stage::Options,
        file.why.clone(),
        file.put(),
        after.to_vec(),
    )
}

/// Makes a new CA, and keeps it on the hosts that may have it; reads the one of the person, if there is one. Returns the step after which
/// it is at hand.
pub fn new_secrets(world: &World<'_>, steps: &mut Steps) -> Option<StepId> {
    if world.inventory.engine.ca.is_some() {
        forget_kept(world, steps);
        return read(world, steps).map(|(_, id)| id);
    }
    let keepers = keepers_here(world);
    let first = *keepers.first()?;
    let kept = mint(first, "make a new CA for the engines", steps);
    for name in keepers.into_iter().skip(1) {
        keep(name, &[kept], steps);
    }
    Some(kept)
}
