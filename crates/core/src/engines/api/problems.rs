//! What forbids an engine to listen: addresses that are not its own, and what somebody else has decided.

use std::net::IpAddr;

use super::{DROP_IN, address, authority, listens, wanted};
use crate::daemon_json;
use crate::engines::unit::{self, Flag};
use crate::engines::{UNIT, elsewhere, options};
use crate::inventory::{API_PORT, ApiSpec, PrivateAddress};
use crate::plan::{HostWorld, Problem, World};

/// Options that decide over TLS, beside `hosts`.
const TLS_OPTIONS: [&str; 5] = ["tls", "tlsverify", "tlscacert", "tlscert", "tlskey"];

/// What forbids it.
#[must_use]
pub fn problems(world: &World<'_>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = authority::problem(world).into_iter().collect();
    for host in &world.hosts {
        if let Some(api) = wanted(host) {
            problems.extend(not_reached(host, api));
            problems.extend(in_the_way(host, api));
        }
    }
    problems
}

/// An address by which `env` would send clients where the engine does not listen.
fn not_reached(host: &HostWorld<'_>, api: &ApiSpec) -> Option<Problem> {
    if let Some(ip) = api.listen.filter(|ip| !ip.is_unspecified()) {
        return host.facts.interface_with(ip).is_none().then(|| {
            Problem::on(
                host.name(),
                format!("its engine is to listen on {ip}, which is on none of its interfaces"),
                "correct `engine: {address: ...}` of the host in the inventory",
            )
        });
    }
    let typed: IpAddr = api.host.parse().ok()?;
    let is_other =
        api.listen.is_none() && host.spec.private == PrivateAddress::Auto && typed != host.private;
    is_other.then(|| {
        Problem::on(
            host.name(),
            format!("{typed} is none of its own addresses, and its engine is to listen where clients find it"),
            format!("say `private: {}` for it, if clients reach that, or `engine: {{address: 0.0.0.0}}`", host.private),
        )
    })
}

/// What somebody else has set that decides over listeners or TLS, and a unit that cannot be added to.
fn in_the_way(host: &HostWorld<'_>, api: &ApiSpec) -> Vec<Problem> {
    let facts = host.facts;
    if facts.engine.is_none() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let keys = options::present(host);
    for key in ["hosts"]
        .iter()
        .chain(&TLS_OPTIONS)
        .filter(|key| keys.contains_key(**key))
    {
        problems.push(Problem::on(
            host.name(),
            format!("`{key}` is set in {}, and the engine refuses to start with it beside the flags that `api: tls` needs", daemon_json::PATH),
            "take it out there, if docker-cluster may decide it, or say `api: ssh` for this host",
        ));
    }
    for Flag {
        name,
        value,
        source,
    } in unit::flags_without(facts, DROP_IN)
    {
        let value = value.unwrap_or_default();
        let what = match name.as_str() {
            "host" if value.starts_with("tcp://") => {
                format!(
                    "its engine listens on {value} already ({source}), where TLS would be asked for as well"
                )
            }
            name if TLS_OPTIONS.contains(&name) => {
                format!(
                    "`--{name}` is a flag in {source}: somebody else decides over the TLS of its engine"
                )
            }
            _ => continue,
        };
        let fix = "take it out there and let docker-cluster do it, or say `api: ssh` for this host";
        problems.push(Problem::on(host.name(), what, fix));
    }
    if let Some(what) = elsewhere(facts) {
        problems.push(Problem::on(
            host.name(),
            format!("the engine that has its socket is {what}, not that of {UNIT}: it cannot be told to listen"),
            "start it as docker.service, or say `api: ssh` for this host",
        ));
    } else if unit::command_without(facts, DROP_IN).is_none() {
        problems.push(Problem::on(
            host.name(),
            format!("{UNIT} does not start the engine itself, so no flags can be added to it"),
            "let its `ExecStart=` be one line that begins with dockerd, or say `api: ssh` for this host",
        ));
    }
    if facts.record(DROP_IN).is_none() && problems.is_empty() && listens(facts, address(host, api))
    {
        problems.push(Problem::on(
            host.name(),
            format!("TCP port {API_PORT} is taken, and its engine is to listen there"),
            format!("find the program with `ss -ltnp 'sport = :{API_PORT}'` there, and stop it"),
        ));
    }
    problems
}
