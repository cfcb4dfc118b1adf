//! A mesh of WireGuard: each host knows each other by its public key, and everything between them is encrypted.
//!
//! Keys are made on the hosts by the script (`templates/underlays/wireguard.sh`) and never leave them; public halves travel in slots of
//! the plan. Behind the mesh's route is one that leads nowhere, and what listens on every address is let in from the mesh only: without the
//! mesh nothing passes, in clear least of all.

mod causes;
mod files;
pub mod rotation;

use std::time::Duration;

pub(crate) use causes::CAUSES;
pub(crate) use files::{SCRIPT, UNIT};

use super::{Carried, Underlay, moved, routes_stay};
use crate::engines::packages;
use crate::facts::Module;
use crate::facts::firewall::Traffic;
use crate::inventory::{Inventory, UnderlaySpec, WireguardSpec};
use crate::plan::{Action, HostWorld, Problem, Stage, StepId, Steps, Undo, Verb, World, mesh};
use crate::platform::{MESH_PACKAGE, MESH_PROGRAM_PACKAGE, RULES_PACKAGE, Release, SERVICES};
use crate::proof::{Cause, MeshView};
use files::Config;
use rotation::Keys;

/// How long one command about the mesh of a host may take: some dozen commands of the kernel, on a busy host.
pub(crate) const MESH_TIMEOUT: Duration = Duration::from_secs(60);

/// How long hosts may take to hear each other: the first message may be lost while the other one is not ready, and is repeated every five
/// seconds.
const HEARD_DEADLINE: Duration = Duration::from_secs(60);

/// The kernel's module.
const MODULE: &str = "wireguard";

/// A mesh between the hosts.
pub struct Wireguard;

/// What the inventory says of the mesh.
fn spec<'a>(world: &World<'a>) -> Option<&'a WireguardSpec> {
    match &world.inventory.underlay {
        UnderlaySpec::Wireguard(spec) => Some(spec),
        _ => None,
    }
}

/// What makes the interface of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// The kernel's module.
    Kernel,
    /// A program in user space.
    Go,
}

impl Driver {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Go => "go",
        }
    }

    /// What a host has stays; else the module, where there is one.
    fn of(host: &HostWorld<'_>) -> Self {
        let present = host.facts.mesh.as_ref().and_then(|mesh| {
            let words = mesh.links.lines("driver").next()?;
            words.first().map(String::as_str)
        });
        let has_module = host.facts.modules.get(MODULE) == Some(&Module::Present);
        match (present, has_module) {
            (Some("go"), _) => Self::Go,
            (Some("kernel"), true) | (None, true) => Self::Kernel,
            _ => Self::Go,
        }
    }
}

impl Underlay for Wireguard {
    fn about(&self, inventory: &Inventory) -> Option<String> {
        match &inventory.underlay {
            UnderlaySpec::Wireguard(spec) => Some(format!(
                "over a mesh of WireGuard ({}, UDP {})",
                spec.subnet, spec.port
            )),
            _ => None,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let Some(spec) = spec(world) else {
            return Vec::new();
        };
        let mut problems: Vec<Problem> = moved(world, "a mesh of WireGuard").into_iter().collect();
        problems.extend(world.mesh.iter().flat_map(|mesh| mesh.problems.clone()));
        for host in &world.hosts {
            problems.extend(no_program(host));
            problems.extend(collisions(spec, host));
        }
        problems
    }

    fn steps(
        &self,
        world: &World<'_>,
        carried: &Carried,
        steps: &mut Steps,
        notes: &mut Vec<String>,
    ) {
        let Some(spec) = spec(world) else { return };
        let before = steps.next_id();
        let mut read = Vec::new();
        for host in &world.hosts {
            install(host, steps);
            read.extend(make_key(host, steps));
        }
        let mut made: Vec<(&HostWorld<'_>, Option<StepId>)> = Vec::new();
        for host in &world.hosts {
            let config = Config::of(world, spec, host, carried, &Keys::Present);
            made.push((host, put(host, &config, &read, steps)));
        }
        let over: Vec<StepId> = made.iter().filter_map(|(_, id)| *id).collect();
        for (host, id) in &made {
            if id.is_some() {
                hear(world, spec, host, &over, steps);
            }
        }
        if steps.next_id() > before {
            tell(world, spec, notes);
        }
    }

    fn causes(&self) -> &'static [Cause] {
        CAUSES
    }
}

/// Hosts that lack a program, and have no package of it.
fn no_program(host: &HostWorld<'_>) -> Option<Problem> {
    let programs = &host.facts.mesh_programs;
    if !programs.contains("wg") {
        let found = packages::problems(host, MESH_PACKAGE, "WireGuard's program wg");
        if let Some(problem) = found.into_iter().next() {
            return Some(problem);
        }
    }
    if !host.facts.iptables {
        let found = packages::problems(host, RULES_PACKAGE, "the program iptables");
        if let Some(problem) = found.into_iter().next() {
            return Some(problem);
        }
    }
    if Driver::of(host) == Driver::Kernel || programs.contains("wireguard-go") {
        return None;
    }
    let release = Release::of(host.facts);
    if release.is_some_and(|release| !release.wireguard_go) {
        return Some(Problem::on(
            host.name(),
            format!(
                "its kernel {} has no wireguard module, and {} has no package of wireguard-go, which does without",
                host.facts.kernel_text, host.facts.os_pretty
            ),
            "boot the distribution's own kernel, which has the module, or put a program `wireguard-go` on its PATH by hand",
        ));
    }
    let found = packages::problems(host, MESH_PROGRAM_PACKAGE, "the program wireguard-go");
    found.into_iter().next()
}

/// What the mesh would be in the way of on a host, or would find in its own.
fn collisions(spec: &WireguardSpec, host: &HostWorld<'_>) -> Vec<Problem> {
    let facts = host.facts;
    let mut problems = Vec::new();
    let net = ipnet::IpNet::V4(spec.subnet);
    let route = facts.routes.iter().find(|route| {
        route.to.prefix_len() > 0
            && crate::inventory::overlap(&route.to, &net)
            && route.interface != spec.interface
    });
    if let Some(route) = route {
        problems.push(Problem::on(
            host.name(),
            format!(
                "the mesh's subnet {net} collides with its route to {} over {}",
                route.to, route.interface
            ),
            "choose another `underlay: {wireguard: {subnet: ...}}`",
        ));
    }
    if facts.mesh.is_some() {
        return problems;
    }
    if facts
        .interfaces
        .iter()
        .any(|found| found.name == spec.interface)
    {
        problems.push(Problem::on(
            host.name(),
            format!(
                "it has an interface {} already, which is not docker-cluster's",
                spec.interface
            ),
            "choose another name with `underlay: {wireguard: {interface: ...}}`; one that others manage is `underlay: {interface: NAME}`",
        ));
    }
    if facts.udp.iter().any(|(_, port)| *port == spec.port) {
        problems.push(Problem::on(
            host.name(),
            format!("UDP port {} is taken there", spec.port),
            "choose another `underlay: {wireguard: {port: ...}}`",
        ));
    }
    problems
}

/// The programs that are missing.
fn install(host: &HostWorld<'_>, steps: &mut Steps) {
    let programs = &host.facts.mesh_programs;
    let mut wanted = Vec::new();
    if !programs.contains("wg") {
        wanted.push(MESH_PACKAGE);
    }
    if Driver::of(host) == Driver::Go && !programs.contains("wireguard-go") {
        wanted.push(MESH_PROGRAM_PACKAGE);
    }
    let has = |package| wanted.contains(&package);
    let what = match (has(MESH_PROGRAM_PACKAGE), has(MESH_PACKAGE)) {
        (true, _) => "WireGuard, in user space (its kernel has no module)",
        (false, true) => "the tools of WireGuard",
        (false, false) => "what keeps everything inside of the mesh (iptables)",
    };
    // An engine brings it, and comes after the mesh.
    if !host.facts.iptables {
        wanted.push(RULES_PACKAGE);
    }
    if wanted.is_empty() {
        return;
    }
    packages::install(host, Stage::Underlay, &wanted, what, UNIT, steps);
}

/// Makes the key of a host that has none, and reads its public half for the others.
fn make_key(host: &HostWorld<'_>, steps: &mut Steps) -> Option<StepId> {
    let name = host.name();
    if let Some(script) = files::script(host) {
        steps.add(name, Stage::Underlay, script.why.clone(), script.put());
    }
    if host
        .facts
        .mesh
        .as_ref()
        .is_some_and(|mesh| !mesh.key.is_empty())
    {
        return None;
    }
    let std::net::IpAddr::V4(address) = host.private else {
        return None;
    };
    Some(steps.add(
        name,
        Stage::Underlay,
        "make its key, and read the half of it that is for the others",
        Action::MakeKey {
            address,
            argv: files::argv(&["key"]),
        },
    ))
}

/// Runs the script.
fn ask(words: &[&str]) -> Action {
    Action::Run {
        argv: files::argv(words),
        timeout: MESH_TIMEOUT,
    }
}

/// Brings a host's mesh to what its configuration says. `read` are the steps that read the keys of others. Returns the step that did it.
fn put(
    host: &HostWorld<'_>,
    config: &Config,
    read: &[StepId],
    steps: &mut Steps,
) -> Option<StepId> {
    let (name, facts) = (host.name(), host.facts);
    let missing = files::missing(host, config, steps);
    let written: Vec<String> = missing.iter().map(|file| file.path.clone()).collect();
    for file in missing {
        let waits = match file.path == files::CONFIG {
            true => read.to_vec(),
            false => Vec::new(),
        };
        steps.add_after(name, Stage::Underlay, file.why.clone(), file.put(), waits);
    }
    let units = [files::FLOOR_UNIT, UNIT];
    let is_unit = |path: &String| path.starts_with("/etc/systemd/system/");
    let needs_reload = |unit: &&str| facts.unit(unit).is_some_and(|unit| unit.needs_reload);
    let is_off = |unit: &&&str| {
        facts
            .unit(unit)
            .is_none_or(|unit| unit.file_state != "enabled")
    };
    let off: Vec<&str> = units.iter().filter(is_off).copied().collect();
    if !off.is_empty() {
        run(
            host,
            "make the mesh at every boot, before the engine starts",
            SERVICES.argv(SERVICES.enable, &off),
            steps,
        );
    } else if written.iter().any(is_unit) || units.iter().any(needs_reload) {
        run(
            host,
            "let systemd read the units",
            SERVICES.argv(SERVICES.reread, &[]),
            steps,
        );
    }
    if !facts.is_active(files::FLOOR_UNIT) {
        let start = service(files::FLOOR_UNIT, Verb::Start);
        let why = "let nothing for the other hosts leave it outside of the mesh";
        steps.add(name, Stage::Underlay, why, start);
    }
    bring_up(host, &written, steps)
}

/// Starts the mesh, or tells the one that runs what has changed: sessions go on then.
fn bring_up(host: &HostWorld<'_>, written: &[String], steps: &mut Steps) -> Option<StepId> {
    let (name, facts) = (host.name(), host.facts);
    let works = facts.is_active(UNIT);
    let script_changed = facts.mesh.is_some() && files::script(host).is_some();
    let restart = !works || written.iter().any(|path| path == files::UNIT_PATH);
    let wrong: Vec<&String> = facts
        .mesh
        .iter()
        .flat_map(|mesh| &mesh.links.wrong)
        .collect();
    let changed = written.iter().any(|path| path == files::CONFIG) || script_changed;
    let (verb, why) = match (restart, changed, wrong.as_slice()) {
        (true, ..) => (
            Verb::Restart,
            "start the mesh with the other hosts".to_owned(),
        ),
        (false, true, _) => (
            Verb::Reload,
            "tell the mesh what has changed; what flows goes on".to_owned(),
        ),
        (false, false, []) => return None,
        (false, false, [one]) => (Verb::Reload, format!("mend its mesh: {one}")),
        (false, false, [one, rest @ ..]) => (
            Verb::Reload,
            format!("mend its mesh: {one}, and {} more", rest.len()),
        ),
    };
    let id = steps.add(name, Stage::Underlay, why, service(UNIT, verb));
    let back = match works {
        true => vec![
            Action::PutBack {
                paths: written.to_vec(),
            },
            Action::Run {
                argv: SERVICES.argv(SERVICES.reread, &[]),
                timeout: MESH_TIMEOUT,
            },
            service(UNIT, verb),
        ],
        false => switch_off().to_vec(),
    };
    steps.undo(
        id,
        Undo {
            unit: UNIT,
            actions: back,
        },
    );
    Some(id)
}

/// Waits until the others are heard: what follows is told their addresses in the mesh.
fn hear(
    world: &World<'_>,
    spec: &WireguardSpec,
    host: &HostWorld<'_>,
    over: &[StepId],
    steps: &mut Steps,
) {
    let others = world.others(host.name());
    let peers: Vec<_> = others
        .map(|other| (other.name().clone(), format!("[{}]", other.name())))
        .collect();
    if peers.is_empty() {
        return;
    }
    let action = Action::WaitFor {
        what: format!(
            "the other hosts to be heard over WireGuard (UDP {} must pass between them)",
            spec.port
        ),
        argv: files::argv(&["heard"]),
        expect: Vec::new(),
        peers,
        deadline: HEARD_DEADLINE,
    };
    let why = "wait until it hears the other hosts over the mesh";
    let id = steps.add(host.name(), Stage::Underlay, why, action);
    steps.follow(id, over);
}

fn run(host: &HostWorld<'_>, why: &str, argv: Vec<String>, steps: &mut Steps) {
    let action = Action::Run {
        argv,
        timeout: MESH_TIMEOUT,
    };
    steps.add(host.name(), Stage::Underlay, why, action);
}

fn service(unit: &'static str, verb: Verb) -> Action {
    Action::Service {
        verb,
        unit,
        timeout: MESH_TIMEOUT,
    }
}

/// Takes a host's mesh away, its key included; the files go with all others.
pub(crate) fn switch_off() -> [Action; 2] {
    let units = Action::Script {
        name: "units-off",
        text: include_str!("../../../../../templates/units-off.sh"),
        args: [UNIT, files::FLOOR_UNIT].map(str::to_owned).to_vec(),
        timeout: MESH_TIMEOUT,
    };
    let script = r#"[ ! -x "$1" ] || "$1" down"#;
    let argv = ["sh", "-c", script, "sh", SCRIPT]
        .map(str::to_owned)
        .to_vec();
    let down = Action::Run {
        argv,
        timeout: MESH_TIMEOUT,
    };
    [units, down]
}

/// The mesh as a host sees it, for `verify`.
#[must_use]
pub fn view(world: &World<'_>, host: &HostWorld<'_>) -> Option<MeshView> {
    let spec = spec(world)?;
    let mesh = host.facts.mesh.as_ref();
    let mates = mesh.into_iter().flat_map(mesh::mates);
    Some(MeshView {
        runs: host.facts.is_active(UNIT),
        port: spec.port,
        key: mesh.map(|mesh| mesh.key.clone()).unwrap_or_default(),
        endpoint: files::endpoint(host, spec),
        wrong: mesh
            .map(|mesh| mesh.links.wrong.clone())
            .unwrap_or_default(),
        mates: mates
            .map(|mate| (mate.name, (mate.key, mate.endpoint)))
            .collect(),
        heard: mesh.map(|mesh| mesh.heard.clone()).unwrap_or_default(),
    })
}

/// What a person should know of a mesh that is made or changed.
fn tell(world: &World<'_>, spec: &WireguardSpec, notes: &mut Vec<String>) {
    let names = |driver: Driver| {
        let of = world
            .hosts
            .iter()
            .filter(|host| Driver::of(host) == driver)
            .map(|host| host.name().as_str());
        of.collect::<Vec<_>>().join(", ")
    };
    let go = names(Driver::Go);
    if !go.is_empty() {
        notes.push(format!(
            "the kernel of {go} has no module of WireGuard: wireguard-go encrypts there, in user space, which takes many times the CPU"
        ));
    }
    for host in &world.hosts {
        let Some(firewall) = &host.facts.firewall else {
            continue;
        };
        let port = Traffic::Udp(spec.port);
        let interface = host.facts.interface_with(host.outer);
        let from: Vec<_> = world
            .others(host.name())
            .map(|other| other.outer)
            .filter(|outer| !firewall.lets_in(port, *outer, interface))
            .map(ipnet::IpNet::from)
            .collect();
        if !from.is_empty() {
            notes.push(format!(
                "{}: {}, and lacks a rule for UDP {}, over which the mesh goes; there, as root: {}",
                host.name(),
                firewall.sentence(),
                spec.port,
                firewall.remedy(&[port], &from)
            ));
        }
    }
}
