//! An engine that listens on the network, with TLS on both sides, beside its local socket (`engine.api: tls`).
//!
//! A drop-in starts it as its unit does, with the flags more: listener and TLS are one line, so that neither is ever there without the
//! other. Its CA is the engines' own. The store's would do for no engine: every agent has a certificate of that one, and who has a
//! certificate of this one is root.

mod authority;
mod problems;

use std::net::IpAddr;

use super::{SYSTEMD_TIMEOUT, UNIT, is_running, unit};
use crate::checksum::sha256_hex;
use crate::facts::{Engine, Facts};
use crate::inventory::{API_PORT, ApiSpec, tcp_url};
use crate::paths::ENGINES_CA;
use crate::plan::{
    Action, Authority, Content, HostWorld, Piece, Recorded, Slot, WantedFile, World,
};
use crate::platform::SERVICES;
use crate::record;
use crate::x509::{self, Due};

pub use authority::{at_hand, new_secrets, recorders, secrets};
pub use problems::problems;

use authority::{bundle_of, ca_left};

/// The CA's certificate, on each host whose engine listens.
pub const CA: &str = "/etc/docker-cluster/engine/ca.pem";
/// The engine's certificate: it is good for serving only.
pub const CERT: &str = "/etc/docker-cluster/engine/server.pem";
/// Its key.
pub const KEY: &str = "/etc/docker-cluster/engine/server-key.pem";

/// What starts the engine with the flags. It is read last of all drop-ins, so that it adds to what the others say.
pub const DROP_IN: &str = "/etc/systemd/system/docker.service.d/zz-docker-cluster.conf";

/// Everything that the engine reads when it starts.
pub const FILES: [&str; 4] = [CA, KEY, CERT, DROP_IN];

/// Life of an engine's certificate, in days: that of its CA. An engine reads it only when it starts, and none is to restart for that.
const DAYS: i64 = 3650;

/// A day, in seconds.
const DAY: i64 = 86_400;

/// Where an engine listens that is started without saying so.
const LOCAL: &str = "unix:///var/run/docker.sock";

/// Where a host's engine is to listen, if it is.
#[must_use]
pub fn wanted<'a>(host: &'a HostWorld<'_>) -> Option<&'a ApiSpec> {
    host.spec.api.as_ref()
}

/// The address that it listens on.
fn address(host: &HostWorld<'_>, api: &ApiSpec) -> IpAddr {
    api.listen.unwrap_or(host.private)
}

/// The flags that make it listen.
fn flags(host: &HostWorld<'_>, api: &ApiSpec) -> Vec<String> {
    vec![
        format!("-H {}", tcp_url(&address(host, api).to_string())),
        "--tlsverify".to_owned(),
        format!("--tlscacert={CA}"),
        format!("--tlscert={CERT}"),
        format!("--tlskey={KEY}"),
    ]
}

/// The text of the drop-in: how the unit starts the engine, and the flags. `None` if it does not start the engine itself.
#[must_use]
pub fn drop_in(facts: &Facts, flags: &[String]) -> Option<String> {
    let command = unit::command_without(facts, DROP_IN)?;
    let before = unit::flags_without(facts, DROP_IN);
    // Once it is told where to listen, it listens nowhere else.
    let local = match before.iter().any(|flag| flag.name == "host") {
        true => String::new(),
        false => format!(" -H {LOCAL}"),
    };
    Some(format!(
        "# Written by docker-cluster (engine.api: tls): as the unit starts the engine, and on the network with TLS.\n\
         # When the unit changes, `docker-cluster up` writes this anew.\n\
         [Service]\nExecStart=\nExecStart={command}{local} {}\n",
        flags.join(" ")
    ))
}

/// Names and addresses in the certificate of a host's engine: wherever somebody may look for it.
#[must_use]
pub fn subject(host: &HostWorld<'_>, api: &ApiSpec) -> (Vec<String>, Vec<IpAddr>) {
    let (mut names, mut addresses) = (api.names.clone(), vec![host.private]);
    addresses.extend(api.listen.filter(|ip| !ip.is_unspecified()));
    addresses.extend(&api.addresses);
    for reached in [&api.host, &host.spec.ssh.address] {
        match reached.parse() {
            Ok(ip) => addresses.push(ip),
            Err(_) => names.push(reached.clone()),
        }
    }
    names.sort();
    names.dedup();
    addresses.sort();
    addresses.dedup();
    (names, addresses)
}

/// Whether something listens on the engine's port of an address.
fn listens(facts: &Facts, address: IpAddr) -> bool {
    facts.tcp.iter().any(|(ip, port)| {
        *port == API_PORT && (*ip == address || ip.is_unspecified() || address.is_unspecified())
    })
}

/// What makes a host's engine listen, or not any more.
#[derive(Debug, Default)]
pub struct Todo {
    /// What is done before the engine restarts, each with its sentence.
    pub actions: Vec<(String, Action)>,
    /// The files that are written by that.
    pub paths: Vec<String>,
    /// What is done once the engine does well without what was there.
    pub afterwards: Vec<(String, Action)>,
    /// Whether the engine runs and must restart.
    pub restarts: bool,
}

impl Todo {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.actions.is_empty() && !self.restarts
    }
}

/// What is to be done on a host.
#[must_use]
pub fn todo(world: &World<'_>, host: &HostWorld<'_>) -> Todo {
    match wanted(host) {
        Some(api) => to_listen(world, host, api, Have::Keep),
        None if host.facts.record(DROP_IN).is_some() => to_stop(host),
        None => Todo::default(),
    }
}

/// Whether what is there may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Have {
    /// It may, where it is right.
    Keep,
    /// It is of a CA that ends.
    Replace,
}

/// What makes the engine of a host listen.
#[must_use]
pub fn to_listen(world: &World<'_>, host: &HostWorld<'_>, api: &ApiSpec, have: Have) -> Todo {
    let facts = host.facts;
    let bundle = bundle_of(world);
    let mut todo = Todo::default();
    let ca = ca_file(world);
    if have == Have::Replace || !ca.is_there(facts, bundle) {
        todo.paths.push(ca.path.clone());
        todo.actions.push((ca.why.clone(), ca.put()));
    }
    let (names, addresses) = subject(host, api);
    let why = match have {
        Have::Replace => Some("issue its engine a certificate of the new CA".to_owned()),
        // Of a CA that is not the present one, or whose text is not known to be.
        Have::Keep if !todo.paths.is_empty() => Some("issue its engine a certificate".to_owned()),
        Have::Keep => due(facts, &names, &addresses),
    };
    if let Some(why) = why {
        todo.paths.extend([KEY, CERT].map(str::to_owned));
        let issue = Action::IssueCertificate {
            by: Authority::Engines,
            days: DAYS,
            common_name: format!("engine of {}", host.name()),
            dns_names: names,
            addresses,
            cert_path: CERT.to_owned(),
            key_path: KEY.to_owned(),
            owner: "root:root".to_owned(),
        };
        todo.actions.push((why, issue));
    }
    let flags = flags(host, api);
    let file = facts.files.get(DROP_IN);
    let text = drop_in(facts, &flags).map(|text| sha256_hex(text.as_bytes()));
    let is_there = file.is_some_and(|file| Some(&file.sha256) == text.as_ref());
    let unit = facts.unit(UNIT);
    if !is_there {
        let why = format!(
            "let its engine listen on {} as well, for who has a certificate of the cluster",
            tcp_url(&address(host, api).to_string())
        );
        let path = DROP_IN.to_owned();
        todo.paths.push(path.clone());
        todo.actions.push((why, Action::AddFlags { path, flags }));
    }
    let seen = unit.is_some_and(|unit| unit.drop_ins.iter().any(|path| path == DROP_IN));
    if !is_there || !seen || unit.is_some_and(|unit| unit.needs_reload) {
        todo.actions.push(reread());
    }
    let is_up = facts.engine.as_ref().is_some_and(Engine::is_up);
    todo.restarts = FILES.iter().any(|path| facts.has_not_read(UNIT, path))
        || is_up && !listens(facts, address(host, api));
    todo
}

fn ca_file(world: &World<'_>) -> WantedFile {
    // That of the person's own is known; one that is born in the run is not.
    let own = world.inventory.engine.ca.as_ref();
    WantedFile {
        content: own.map_or_else(
            || Content(vec![Piece::Slot(Slot::EnginesCa)]),
            |own| Content::text(&own.text),
        ),
        read_by: Some(UNIT),
        ..WantedFile::of_root(CA, "0644", "", "trust the CA of the engines' certificates")
    }
}

fn due(facts: &Facts, names: &[String], addresses: &[IpAddr]) -> Option<String> {
    let key = facts.files.get(KEY);
    let is_private = key.is_some_and(|key| key.mode == "600" && key.owner == "root:root");
    if !is_private {
        return Some("issue its engine a certificate".to_owned());
    }
    let (cert, ca) = (&facts.api.cert, &facts.api.ca);
    Some(match x509::due(cert, ca, names, addresses, facts.clock)? {
        Due::Missing => "issue its engine a certificate".to_owned(),
        Due::Unreadable => "issue its engine a readable certificate".to_owned(),
        Due::OtherAuthority => "issue its engine a certificate of the present CA".to_owned(),
        Due::OtherNames => "issue its engine a certificate with its present names".to_owned(),
        Due::Ends(left) if left <= 0 => {
            "renew its engine's certificate, which has expired".to_owned()
        }
        Due::Ends(left) => {
            let days = left / DAY;
            format!("renew its engine's certificate, which expires in {days} days")
        }
    })
}

fn reread() -> (String, Action) {
    let action = Action::Run {
        argv: SERVICES.argv(SERVICES.reread, &[]),
        timeout: SYSTEMD_TIMEOUT,
    };
    (
        "let systemd read how the engine is started".to_owned(),
        action,
    )
}

/// What ends it: the drop-in goes first and comes back if the engine does not do well without it, the certificates follow.
#[must_use]
pub fn to_stop(host: &HostWorld<'_>) -> Todo {
    let facts = host.facts;
    let mut todo = Todo {
        restarts: is_running(facts),
        ..Todo::default()
    };
    // A host whose engine does not listen is none that keeps the CA.
    let is_of_it = |path: &str| FILES.contains(&path) || path == ENGINES_CA;
    for record in facts.records.iter().filter(|record| is_of_it(&record.path)) {
        let is_drop_in = record.path == DROP_IN;
        let kept = match is_drop_in {
            true => Recorded::Kept,
            false => Recorded::Dropped,
        };
        let restore = Action::restore(facts, record, kept);
        if is_drop_in {
            let why = "let its engine listen on the network no more".to_owned();
            todo.actions.push((why, restore));
            todo.actions.push(reread());
            todo.paths.push(record.path.clone());
        } else {
            todo.afterwards
                .push((format!("remove {}", record.path), restore));
        }
    }
    if !todo.paths.is_empty() {
        todo.afterwards.push(settle(DROP_IN));
    }
    todo
}

fn settle(path: &str) -> (String, Action) {
    let action = Action::Script {
        name: "settle",
        text: include_str!("../../../../../templates/settle.sh"),
        args: vec![record::key(path)],
        timeout: SYSTEMD_TIMEOUT,
    };
    (format!("forget what was written to {path}"), action)
}

/// The way back from files that the engine did not take, after they are put back.
#[must_use]
pub fn reread_after(paths: &[String]) -> Option<Action> {
    let units = paths.iter().any(|path| path == DROP_IN);
    units.then(|| reread().1)
}

/// Where a host begins to listen, for a note.
#[must_use]
pub fn opens(host: &HostWorld<'_>, api: &ApiSpec) -> String {
    let on = match api.is_everywhere() {
        true => "all its addresses".to_owned(),
        false => address(host, api).to_string(),
    };
    format!("{} on {on}", host.name())
}

/// What a person should know of engines that are about to listen.
pub fn notes(world: &World<'_>, notes: &mut Vec<String>) {
    let mut opened: Vec<String> = Vec::new();
    for host in &world.hosts {
        let Some(api) = wanted(host).filter(|_| host.facts.record(DROP_IN).is_none()) else {
            continue;
        };
        opened.push(opens(host, api));
    }
    let own = world.inventory.engine.ca.as_ref();
    notes.extend(own.and_then(|own| own.key.note()));
    if let Some(left) = ca_left(world).filter(|left| *left < DAYS * DAY / 3) {
        notes.push(format!(
            "the CA of the engines expires in {} days, and all certificates with it: {}",
            left / DAY,
            match world.inventory.engine.ca {
                Some(_) => "put another in its place",
                None => "`docker-cluster cert rotate-ca` makes a new one",
            }
        ));
    }
    if !opened.is_empty() {
        notes.push(format!(
            "TCP port {API_PORT} opens: {}; who has a certificate of the cluster is root there",
            opened.join(", ")
        ));
    }
}
