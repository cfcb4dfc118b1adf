//! What forbids Consul on these hosts, found before anything is touched.

use std::collections::BTreeMap;

use super::servers::{Servers, quorum};
use super::{FOLDER, HTTPS_PORT, SERF_PORT, SERVER_PORT, certificates};
use crate::inventory::{HostName, ProgramSource};
use crate::paths::SECRETS_PATH;
use crate::plan::{HostWorld, Problem, World};
use crate::platform::{PackageManager, Release, STORE_PACKAGE};

/// What forbids Consul here.
pub(super) fn problems(world: &World<'_>) -> Vec<Problem> {
    // Of each content of the secrets, a host that has it.
    let bundles: BTreeMap<&str, &HostName> = world
        .hosts
        .iter()
        .filter_map(|host| {
            let secrets = host.facts.files.get(SECRETS_PATH)?;
            Some((secrets.sha256.as_str(), host.name()))
        })
        .collect();
    let servers = Servers::of(world);
    let new = world
        .hosts
        .iter()
        .filter(|host| host.facts.store.config.is_none());
    quorum(world)
        .into_iter()
        .chain(several_clusters(&bundles))
        .chain(two_authorities(world))
        .chain(nobody_has_secrets(world, &bundles))
        .chain(new.flat_map(|host| of_new_agent(world, host, &servers)))
        .collect()
}

fn several_clusters(bundles: &BTreeMap<&str, &HostName>) -> Option<Problem> {
    let names: Vec<&str> = bundles.values().map(|host| host.as_str()).collect();
    (names.len() > 1).then(|| {
        Problem::of_all(
            format!("{} hold different secrets of the store in {SECRETS_PATH}", names.join(" and ")),
            "if a `store rotate-ca` was interrupted, run it again; else they were in different clusters: keep the file on the hosts whose store is the right one and remove it on the others",
        )
    })
}

fn two_authorities(world: &World<'_>) -> Option<Problem> {
    let rotating = certificates::under_way(world);
    let names: Vec<&str> = rotating.iter().map(|name| name.as_str()).collect();
    (!names.is_empty()).then(|| {
        Problem::of_all(
            format!(
                "the store is getting a new CA: {} still trust two",
                names.join(", ")
            ),
            "end what was begun with `docker-cluster store rotate-ca`",
        )
    })
}

/// A store is there, and its secrets are where nobody answers.
fn nobody_has_secrets(world: &World<'_>, bundles: &BTreeMap<&str, &HostName>) -> Option<Problem> {
    let missing: Vec<&str> = world
        .unreached
        .iter()
        .map(|unreached| unreached.host.as_str())
        .collect();
    let ca = format!("{FOLDER}/ca.pem");
    let is_of_a_store = |host: &HostWorld<'_>| {
        host.facts.store.config.is_some()
            || !missing.is_empty() && host.facts.files.contains_key(&ca)
    };
    (bundles.is_empty() && world.hosts.iter().any(is_of_a_store)).then(|| {
        Problem::of_all(
            "there is a store, but no host that answers holds its secrets",
            match missing[..] {
                [] => "bring back a server of the store".to_owned(),
                _ => format!("bring back {}", missing.join(", ")),
            },
        )
    })
}

/// Of a host that has no agent yet.
fn of_new_agent(world: &World<'_>, host: &HostWorld<'_>, servers: &Servers) -> Vec<Problem> {
    let mut problems = taken_ports(host, servers.hosts.contains(host.name()));
    if world.inventory.store.source == ProgramSource::Package && host.facts.store.path.is_empty() {
        problems.extend(no_package(host));
        let in_the_way = crate::platform::in_the_way(host.facts, STORE_PACKAGE);
        problems.extend(
            in_the_way
                .into_iter()
                .map(|(what, fix)| Problem::on(host.name(), what, fix)),
        );
    }
    problems
}

fn taken_ports(host: &HostWorld<'_>, is_server: bool) -> Vec<Problem> {
    let server = is_server.then_some((SERVER_PORT, "Consul's servers"));
    [(SERF_PORT, "Consul's gossip"), (HTTPS_PORT, "Consul's API")]
        .into_iter()
        .chain(server)
        .filter(|(port, _)| host.facts.tcp.iter().any(|(_, taken)| taken == port))
        .map(|(port, what)| {
            Problem::on(
                host.name(),
                format!("TCP port {port} is taken, and {what} needs it"),
                format!("find the program with `ss -ltnp 'sport = :{port}'` there, and stop it; another Consul can be used with `store.url` instead"),
            )
        })
        .collect()
}

fn no_package(host: &HostWorld<'_>) -> Option<Problem> {
    let packaged = Release::of(host.facts).is_some_and(|release| release.consul)
        || host.facts.candidates.contains_key("consul");
    (!packaged || PackageManager::of(host.facts).is_none()).then(|| {
        Problem::on(
            host.name(),
            format!("{} has no package of Consul", host.facts.os_pretty),
            "say `store.source` with a `path` or `url` of the program, its `sha256` and `version`",
        )
    })
}
