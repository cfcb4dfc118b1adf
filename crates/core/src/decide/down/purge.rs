//! What `down --purge` takes: packages, and with `--purge-data` what their programs have written.

use std::time::Duration;

use super::{counted, made, put_options_back, run};
use crate::daemon_json;
use crate::engines;
use crate::facts::Facts;
use crate::plan::{Action, HostWorld, Plan, Problem, Recorded, Stage, Steps};
use crate::platform::{self, PackageManager, SERVICES};

/// How long removing packages may take.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(600);

/// How long removing the data of an engine may take: millions of small files on a slow disk.
const DATA_TIMEOUT: Duration = Duration::from_secs(3600);

/// Whether packages go as well that docker-cluster installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// They stay.
    Keep,
    /// They go, with their configuration. What they have written since stays.
    Purge,
    /// That goes as well: volumes, images and containers of an engine that docker-cluster installed.
    PurgeData,
}

impl Packages {
    pub(super) fn go(self) -> bool {
        self != Self::Keep
    }
}

/// Who still needs what `--purge` would remove, and what could not be named before it is lost.
pub(super) fn in_use(host: &HostWorld<'_>, packages: Packages) -> Vec<Problem> {
    let mut problems = Vec::new();
    let tasks: Vec<&str> = host
        .facts
        .on_containerd
        .iter()
        .map(String::as_str)
        .filter(|what| what.contains("namespace"))
        .collect();
    if packages.go()
        && made(host.facts, "package").any(|package| package == "containerd")
        && !tasks.is_empty()
    {
        problems.push(Problem::on(
            host.name(),
            format!(
                "containerd, which `up` installed, serves others by now: {}",
                tasks.join(", ")
            ),
            "leave `--purge` out, or stop them first",
        ));
    }
    let silent = host
        .facts
        .engine
        .as_ref()
        .is_some_and(|engine| !engine.is_up());
    let in_it = |line: &String| {
        ["swarm", "network", "image"].contains(&line.split(' ').next().unwrap_or_default())
    };
    if silent
        && !engines::is_running(host.facts)
        && !engine_goes(host, packages)
        && host.facts.made.iter().any(in_it)
    {
        problems.push(Problem::on(
            host.name(),
            "its engine is stopped, and holds what `up` put into it",
            "start it first (`systemctl start docker`), so that it can be taken out",
        ));
    }
    if packages == Packages::PurgeData && engine_goes(host, packages) && silent {
        problems.push(Problem::on(
            host.name(),
            "its engine does not answer, so nobody can say what would be lost with its data",
            "start it first (`systemctl start docker`), or leave `--purge-data` out",
        ));
    }
    problems
}

/// Whether the engine itself goes: that of the package that docker-cluster installed, and not another that took its place since.
pub(super) fn engine_goes(host: &HostWorld<'_>, packages: Packages) -> bool {
    let facts = host.facts;
    let is_there = |state: &str| !matches!(state.get(1..2), None | Some("c" | "n"));
    let of_package = facts
        .packages
        .present
        .get(platform::ENGINE_PACKAGE)
        .is_some_and(|(state, _)| is_there(state));
    let is_it = facts.engine.is_none() || facts.packages.present.is_empty() || of_package;
    packages.go()
        && is_it
        && made(facts, "package").any(|package| package == platform::ENGINE_PACKAGE)
}

pub(super) fn remove_packages(
    host: &HostWorld<'_>,
    packages: Packages,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) {
    let name = host.name();
    let names: Vec<String> = made(host.facts, "package").map(str::to_owned).collect();
    if packages == Packages::PurgeData
        && !engine_goes(host, packages)
        && host.facts.engine.is_some()
    {
        notes.push(format!(
            "{name}: `up` did not install its engine, which stays with its data"
        ));
    }
    let Some(manager) = PackageManager::of(host.facts).filter(|_| !names.is_empty()) else {
        return;
    };
    if !packages.go() {
        notes.push(format!(
            "{name}: these packages stay (`down --purge` removes them): {}",
            names.join(", ")
        ));
        return;
    }
    let goes = engine_goes(host, packages);
    if goes && host.facts.engine.is_some() {
        stop_engine(host, steps, notes);
    }
    if goes && host.facts.record(daemon_json::PATH).is_some() {
        put_options_back(host, None, Recorded::Dropped, Vec::new(), steps, notes);
    }
    let why = format!(
        "remove the packages that were installed, unless somebody has asked for them since: {}",
        names.join(", ")
    );
    let args = std::iter::once("purge".to_owned()).chain(names).collect();
    let action = Action::Script {
        name: "apt-remove",
        text: manager.remove,
        args,
        timeout: REMOVE_TIMEOUT,
    };
    steps.add(name, Stage::Engine, why, action);
    if goes {
        data(host, packages, steps, notes);
    }
}

fn stop_engine(host: &HostWorld<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let name = host.name();
    let engine = host.facts.engine.as_ref();
    let running: Vec<&str> = engine
        .into_iter()
        .flat_map(|engine| engine.running())
        .map(|c| c.name.as_str())
        .collect();
    if let Some(containers) = counted("container", running) {
        notes.push(format!(
            "{name}: the engine goes, which `up` installed, and with it stop the {containers}"
        ));
    }
    notes.push(format!(
        "{name}: the engine's firewall rules and its bridges stay until the next boot"
    ));
    let live = engine.and_then(|engine| engine.info.as_ref()?.get("LiveRestoreEnabled")?.as_bool());
    if live == Some(true) {
        let script = "docker ps -q | xargs -r -n 1 -P 16 docker stop >/dev/null";
        let why = "stop the containers, which this engine would leave running without itself";
        run(steps, name, Stage::Engine, why, &["sh", "-c", script]);
    }
    let argv = SERVICES.argv(SERVICES.stop, &["docker.socket", engines::UNIT]);
    run(steps, name, Stage::Engine, "stop the engine", &argv);
}

/// The folder of the engine's data, unless its options say another.
const ENGINE_DATA: &str = "/var/lib/docker";

/// What becomes of what the engine has written.
fn data(host: &HostWorld<'_>, packages: Packages, steps: &mut Steps, notes: &mut Vec<String>) {
    let (name, facts) = (host.name(), host.facts);
    let engine = facts.engine.as_ref();
    let root = engine
        .and_then(|engine| engine.info_str("DockerRootDir"))
        .unwrap_or(ENGINE_DATA);
    let elsewhere = !std::path::Path::new(root).starts_with(ENGINE_DATA);
    let held = held(facts);
    let size_of = |path: &str| match facts.data.folders.iter().find(|(folder, _)| folder == path) {
        Some((_, Some(bytes))) => format!("{path} ({})", size(*bytes)),
        Some((_, None)) => format!("{path} (its size was not told in time)"),
        None => path.to_owned(),
    };
    if elsewhere {
        notes.push(format!(
            "{name}: the engine's data is in {root} and stays: {held}"
        ));
    }
    let is_there = |path: &str| facts.data.folders.iter().any(|(folder, _)| folder == path);
    let (mut going, mut why) = (Vec::new(), Vec::new());
    for (package, path) in [
        (platform::ENGINE_PACKAGE, ENGINE_DATA),
        ("containerd", "/var/lib/containerd"),
    ] {
        if !made(facts, "package").any(|made| made == package) || !is_there(path) {
            continue;
        }
        if packages != Packages::PurgeData {
            let what = if path == ENGINE_DATA && !elsewhere {
                format!(": {held}")
            } else {
                String::new()
            };
            notes.push(format!(
                "{name}: {} stays{what}; `--purge-data` would remove it",
                size_of(path)
            ));
        } else if facts.made.contains(&format!("data {package} {path}")) {
            notes.push(format!(
                "{name}: {} was there before `up` installed {package}, and stays",
                size_of(path)
            ));
        } else {
            let what = if path == ENGINE_DATA && !elsewhere {
                format!(" with {held}")
            } else {
                String::new()
            };
            why.push(format!("{}{what}", size_of(path)));
            going.push(path.to_owned());
        }
    }
    if !going.is_empty() {
        let text = include_str!("../../../../../templates/data-remove.sh");
        let action = Action::Script {
            name: DATA_REMOVE,
            text,
            args: going,
            timeout: DATA_TIMEOUT,
        };
        steps.add(
            name,
            Stage::Engine,
            format!("REMOVE FOR GOOD {}", why.join(", and ")),
            action,
        );
    }
}

/// Name of the script that removes the data of an engine.
const DATA_REMOVE: &str = "data-remove";

/// Whether a plan loses data for good, which is a question of its own.
#[must_use]
pub fn loses_data(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| {
        matches!(
            step.action,
            Action::Script {
                name: DATA_REMOVE,
                ..
            }
        )
    })
}

/// What an engine holds, in words: volumes by name with their sizes, images, containers.
fn held(facts: &Facts) -> String {
    // A volume that nobody named has a checksum for a name.
    let is_named =
        |name: &str| !(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let (named, unnamed): (Vec<_>, Vec<_>) = facts
        .data
        .volumes
        .iter()
        .partition(|(name, _)| is_named(name));
    let with_size = |(name, bytes): &&(String, Option<u64>)| match bytes {
        Some(bytes) => format!("{name} ({})", size(*bytes)),
        None => format!("{name} (size not told)"),
    };
    let mut parts = Vec::new();
    let names: Vec<String> = named.iter().map(with_size).collect();
    parts.extend(counted(
        "volume",
        names.iter().map(String::as_str).collect(),
    ));
    if !unnamed.is_empty() {
        let bytes: u64 = unnamed.iter().filter_map(|(_, bytes)| *bytes).sum();
        let plural = if unnamed.len() == 1 { "" } else { "s" };
        parts.push(format!(
            "{} volume{plural} without a name ({})",
            unnamed.len(),
            size(bytes)
        ));
    }
    if let Some(engine) = &facts.engine {
        let layers = facts
            .data
            .layers
            .map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
        match engine.images.len() {
            0 => {}
            1 => parts.push(format!("1 image{layers}")),
            n => parts.push(format!("{n} images{layers}")),
        }
        let containers = engine
            .containers
            .iter()
            .filter(|container| !container.is_own());
        parts.extend(counted(
            "container",
            containers
                .map(|container| container.name.as_str())
                .collect(),
        ));
    }
    if parts.is_empty() {
        "no volume, image or container".to_owned()
    } else {
        parts.join(", ")
    }
}

/// A size for a person, in powers of ten as Docker's client writes them.
fn size(bytes: u64) -> String {
    let units = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}
