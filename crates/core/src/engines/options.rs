//! Daemon options on the way into `daemon.json`: what conflicts, what changes, and the restarts that follow.

use std::time::Duration;

use serde_json::Value;

use super::api::{self, Todo};
use super::unit::{self, Flag};
use super::{RESTART_TIMEOUT, START_DEADLINE, UNIT};
use crate::daemon_json::{self, History, MergeError};
use crate::facts::{Container, Engine, Facts};
use crate::inventory::HostName;
use crate::plan::{
    Action, Content, HostWorld, KEEP_MODE, Options, Problem, PutFile, Stage, StepId, Steps, Undo,
    Verb, World,
};

/// What a fabric wants of the engines' options.
pub struct Target<'a> {
    /// The options that a host should have.
    pub wanted: &'a dyn Fn(&HostWorld<'_>) -> Options,
    /// Whether a running engine has them in effect, as far as it tells.
    pub runs_with: &'a dyn Fn(&HostWorld<'_>) -> bool,
    /// What shows it, such as a [`of_info`] question.
    pub question: &'a [&'a str],
    /// What that must show.
    pub shows: &'a dyn Fn(&HostWorld<'_>) -> Vec<String>,
    /// See [`Shown::settled`].
    pub settled: Option<Action>,
    /// See [`Shown::back`].
    pub back: &'a dyn Fn(&HostWorld<'_>) -> Vec<Action>,
}

/// The question for something of `docker info`.
#[must_use]
pub const fn of_info(format: &str) -> [&str; 4] {
    ["docker", "info", "--format", format]
}

/// The options in a host's `daemon.json`.
#[must_use]
pub fn present(host: &HostWorld<'_>) -> Options {
    host.facts
        .daemon_json
        .as_deref()
        .and_then(|text| daemon_json::parse(text).ok())
        .unwrap_or_default()
}

/// Whether a host's engine is set up for a store, in its file or by a flag.
#[must_use]
pub fn uses_store(host: &HostWorld<'_>) -> bool {
    present(host).contains_key("cluster-store") || unit::flag(host.facts, "cluster-store").is_some()
}

/// Where a switch is on, in the file or by a flag.
#[must_use]
pub fn switched_on(host: &HostWorld<'_>, key: &str) -> Option<String> {
    if present(host).get(key).and_then(Value::as_bool) == Some(true) {
        return Some(daemon_json::PATH.to_owned());
    }
    unit::flag(host.facts, key)
        .filter(Flag::is_on)
        .map(|flag| flag.source)
}

/// What is known of a host's `daemon.json` beside what is in it.
#[must_use]
pub fn history(facts: &Facts) -> History {
    let parse = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| daemon_json::parse(text).ok())
    };
    let Some(record) = facts.record(daemon_json::PATH) else {
        return History::default();
    };
    // A file that is as the record says is what was written, wherever the run ended that wrote it.
    let unchanged = || {
        let file = facts.files.get(daemon_json::PATH)?;
        (record.sha256 == file.sha256)
            .then(|| parse(&facts.daemon_json))
            .flatten()
    };
    let written = unchanged()
        .or_else(|| parse(&facts.daemon_json_written))
        .unwrap_or_default();
    // A record that does not tell the keys is of an earlier docker-cluster: only what nobody else sets is surely its own.
    let told = record.ours.clone().unwrap_or_else(daemon_json::store_claim);
    let original = parse(&facts.daemon_json_origin).unwrap_or_default();
    let is_taken = |key: &String| told.contains_key(key) && !written.contains_key(key);
    let taken = original
        .iter()
        .filter(|(key, _)| is_taken(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    History {
        written: daemon_json::claimed(&written, &told),
        original,
        taken,
    }
}

fn merged(host: &HostWorld<'_>, wanted: &Options) -> Result<Option<String>, MergeError> {
    daemon_json::merge(
        host.facts.daemon_json.as_deref(),
        wanted,
        &history(host.facts),
    )
}

/// What forbids the wanted options on a host.
pub fn problems(host: &HostWorld<'_>, wanted: &Options, problems: &mut Vec<Problem>) {
    match merged(host, wanted) {
        Ok(_) => {}
        Err(MergeError::Invalid(error)) => problems.push(Problem::on(
            host.name(),
            format!("{} is not valid: {error}", daemon_json::PATH),
            "mend it by hand; nothing is written over it",
        )),
        Err(MergeError::Conflicts(conflicts)) => problems.extend(conflicts.into_iter().map(|conflict| {
            Problem::on(
                host.name(),
                format!(
                    "the daemon option `{}` is {} in {}, and the cluster needs {}",
                    conflict.key,
                    conflict.found,
                    daemon_json::PATH,
                    conflict.wanted
                ),
                "remove it there if the cluster may set it; docker-cluster does not overwrite what it did not write",
            )
        })),
    }
    for key in wanted.keys() {
        if let Some(Flag { name, source, .. }) = unit::flag(host.facts, key) {
            problems.push(Problem::on(
                host.name(),
                format!("`--{name}` is a flag in {source}, and the cluster sets `{key}` in {}; the engine refuses to start with both", daemon_json::PATH),
                "remove the flag there",
            ));
        }
    }
    unread(host, wanted, problems);
    hidden_data(host, wanted, problems);
}

/// Options that would be written where the engine does not look for them, or that need a restart of an engine which is not ours to
/// restart.
fn unread(host: &HostWorld<'_>, wanted: &Options, problems: &mut Vec<Problem>) {
    let changes = merged(host, wanted).is_ok_and(|text| text.is_some());
    if !changes {
        return;
    }
    if let Some(path) = unit::options_elsewhere(host.facts) {
        problems.push(Problem::on(
            host.name(),
            format!(
                "its engine reads its options from {path} (flag --config-file), not from {}",
                daemon_json::PATH
            ),
            format!(
                "move that file to {} and remove the flag",
                daemon_json::PATH
            ),
        ));
    }
    if let Some(what) = super::elsewhere(host.facts) {
        problems.push(Problem::on(
            host.name(),
            format!("the engine that has its socket is {what}, not that of {UNIT}: its options and its restarts are out of reach"),
            "stop it, and start it as docker.service, or remove it and let `up` install the distribution's own; its containers, images and volumes are where its data root is",
        ));
    }
}

/// An option that says where the engine keeps what it has, or how.
struct Place {
    /// Its key, below that of an object.
    path: &'static [&'static str],
    /// Where `docker info` tells it.
    info: Option<&'static str>,
    /// What it is where nobody sets it; `null` where that depends on the engine.
    default: Value,
}

/// Options with another value of which the engine starts without the containers, images and volumes that it has, which stay where they
/// were (`dockerd --help`; the containerd image store has images of its own).
fn places() -> [Place; 5] {
    let root = || Value::from("/var/lib/docker");
    [
        Place {
            path: &["data-root"],
            info: Some("DockerRootDir"),
            default: root(),
        },
        Place {
            path: &["graph"],
            info: Some("DockerRootDir"),
            default: root(),
        },
        Place {
            path: &["storage-driver"],
            info: Some("Driver"),
            default: Value::Null,
        },
        Place {
            path: &["userns-remap"],
            info: None,
            default: Value::from(""),
        },
        Place {
            path: &["features", "containerd-snapshotter"],
            info: None,
            default: Value::Null,
        },
    ]
}

fn value_at<'a>(options: &'a Options, path: &[&str]) -> Option<&'a Value> {
    let (first, below) = path.split_first()?;
    let value = options.get(*first)?;
    if below.is_empty() {
        Some(value)
    } else {
        value_at(value.as_object()?, below)
    }
}

/// What of a host's options says where its engine keeps what it has, and is docker-cluster's: it stays when the cluster goes, and so is
/// taken out of the history.
pub fn keep_places(options: &Options, history: &mut History) -> Vec<String> {
    let mut kept = Vec::new();
    for place in places() {
        let now = value_at(options, place.path);
        if now.is_some()
            && now == value_at(&history.written, place.path)
            && now != value_at(&history.original, place.path)
        {
            if let [above @ .., key] = place.path {
                let mut map = Some(&mut history.written);
                for name in above {
                    map = map
                        .and_then(|map| map.get_mut(*name))
                        .and_then(Value::as_object_mut);
                }
                map.and_then(|map| map.shift_remove(*key));
            }
            kept.push(place.path.join("."));
        }
    }
    kept
}

/// Whether an engine keeps its images in containerd's store.
fn has_image_store(engine: &Engine) -> bool {
    let status = engine
        .info
        .as_ref()
        .and_then(|info| info.get("DriverStatus"));
    status.is_some_and(|status| status.to_string().contains("io.containerd.snapshotter"))
}

/// Changes that would make an engine start without what it has.
fn hidden_data(host: &HostWorld<'_>, wanted: &Options, problems: &mut Vec<Problem>) {
    let Some(engine) = host.facts.engine.as_ref() else {
        return;
    };
    let Some(after) = merged(host, wanted)
        .ok()
        .flatten()
        .and_then(|text| daemon_json::parse(&text).ok())
    else {
        return;
    };
    let present = present(host);
    for Place {
        path,
        info,
        default,
    } in places()
    {
        let (before, then) = (value_at(&present, path), value_at(&after, path));
        let now = info.and_then(|key| engine.info_str(key));
        let will = then.unwrap_or(&default);
        let is_now = match path.last() {
            Some(&"containerd-snapshotter") => {
                engine.info.is_some() && will.as_bool() == Some(has_image_store(engine))
            }
            // An engine that may choose takes what it has.
            _ => now.is_some() && (will.as_str() == now || will.is_null()),
        };
        if before == then || before.unwrap_or(&default) == will || is_now {
            continue;
        }
        let key = path.join(".");
        let what = match then {
            Some(value) => format!("`{key}: {}`", value.to_string().trim_matches('"')),
            None => format!("to take `{key}` out of {}", daemon_json::PATH),
        };
        let fix = match then {
            Some(_) => format!(
                "move them by hand and set `{key}` there, or leave it out of `engine.options`"
            ),
            None => format!(
                "move them by hand and take it out there, or keep `{key}` in `engine.options`"
            ),
        };
        problems.push(Problem::on(
            host.name(),
            format!(
                "{what} would make its engine start without the containers, images and volumes that it has{}",
                now.map(|now| format!(" in {now}")).unwrap_or_default()
            ),
            fix,
        ));
    }
}

/// How long containers with a restart policy may take to run again after their engine answers. Engines start them one
/// after the other, each in a second or two.
const CONTAINERS_DEADLINE: Duration = Duration::from_secs(120);

/// Writes the options where they are missing and restarts the engines that do not run with them. The first engine that was there
/// before goes alone: what it refuses never reaches the next. While containers run, the others go one at a time as well. Returns the
/// hosts whose engine restarts.
pub fn steps(
    world: &World<'_>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
    target: &Target<'_>,
) -> Vec<HostName> {
    let mut turns = Turns::default();
    let mut restarted = Vec::new();
    api::notes(world, notes);
    let secrets = api::secrets(world, steps);
    for host in &world.hosts {
        let name = host.name();
        let wanted = (target.wanted)(host);
        let text = merged(host, &wanted).ok().flatten();
        let listening = api::todo(world, host);
        let up = host.facts.engine.as_ref().is_some_and(Engine::is_up);
        // `docker info` also shows options that came by a reload, which has no effect on a store that is set already
        // (`facts.md`); what docker-cluster writes is always followed by a restart.
        let in_effect = up && (target.runs_with)(host) || wanted.is_empty();
        let same = text.is_none() && listening.is_nothing();
        if same && in_effect && !host.facts.has_not_read(UNIT, daemon_json::PATH) {
            continue;
        }
        let mut put_back = listening.paths.clone();
        // An older state than the one that this run, or the one that was cut off, has replaced is not what worked.
        if text.is_some() || host.facts.has_not_read(UNIT, daemon_json::PATH) {
            put_back.push(daemon_json::PATH.to_owned());
        }
        let shown = Shown {
            what: "the engine answers with its new options",
            why: "wait until the engine answers with them",
            question: target.question,
            expect: (target.shows)(host),
            put_back,
            settled: target.settled.clone(),
            back: (target.back)(host),
        };
        if same && !super::is_running(host.facts) && !is_new(host) {
            // It is stopped, and starts with these very options: in a step before this one, unless engines look for each other.
            let (after, first) = (turns.before(world, host), steps.next_id());
            if uses_store(host) {
                super::start(steps, host, after);
            }
            let answers = shown.wait(steps, name);
            let settled = shown.settle(steps, name);
            if uses_store(host) {
                turns.begin(steps, first);
                turns.took(
                    host,
                    &Restarted {
                        settled,
                        well: settled.unwrap_or(answers),
                    },
                );
            }
            restarted.push(name.clone());
            continue;
        }
        let mut after = turns.before(world, host);
        let first = steps.next_id();
        if let Some(text) = text {
            let present = present(host);
            let put = PutFile {
                path: daemon_json::PATH.to_owned(),
                mode: KEEP_MODE,
                owner: "root:root".to_owned(),
                content: Content::text(text),
                before: Some(host.facts.daemon_json.clone().unwrap_or_default()),
                read_by: Some(UNIT),
                ours: Some(daemon_json::claim(&present, &wanted, &history(host.facts))),
            };
            let id = steps.add(
                name,
                Stage::Options,
                changes(&present, &wanted),
                Action::PutFile(put),
            );
            // Not only the restart waits: a host that reboots by itself must not meet options that nobody has tried.
            steps.await_turn(id, &std::mem::take(&mut after));
        }
        let Todo {
            actions,
            afterwards,
            ..
        } = listening;
        put_api(host, actions, secrets, &mut after, steps);
        let last = restart(
            host,
            "restart the engine with its new options",
            &shown,
            after,
            steps,
            notes,
        );
        for (why, action) in afterwards {
            steps.add(name, Stage::Options, why, action);
        }
        turns.begin(steps, first);
        turns.took(host, &last);
        restarted.push(name.clone());
    }
    restarted
}

/// Puts what an engine needs to listen, or takes it away: not before its turn, and not before the CA is at hand.
pub fn put_api(
    host: &HostWorld<'_>,
    actions: Vec<(String, Action)>,
    secrets: Option<StepId>,
    turn: &mut Vec<StepId>,
    steps: &mut Steps,
) {
    for (why, action) in actions {
        let after = match action.reads().is_empty() {
            true => Vec::new(),
            false => secrets.into_iter().collect(),
        };
        let id = steps.add_after(host.name(), Stage::Options, why, action, after);
        steps.await_turn(id, &std::mem::take(turn));
    }
}

/// The sentence for a change of the file.
fn changes(present: &Options, wanted: &Options) -> String {
    let set: Vec<&str> = wanted
        .iter()
        .filter(|(key, value)| present.get(*key) != Some(value))
        .map(|(key, _)| key.as_str())
        .collect();
    match set.is_empty() {
        true => format!(
            "take out of {} what the inventory does not set any more; every other option stays",
            daemon_json::PATH
        ),
        false => format!(
            "set {} in {}; every other option stays",
            set.join(", "),
            daemon_json::PATH
        ),
    }
}

/// Whose turn it is when engines restart.
#[derive(Default)]
pub struct Turns {
    first: Option<StepId>,
    rolling: Vec<StepId>,
    /// The last manager of a swarm: whatever runs on them, and however many may restart at a time, two of three are its quorum.
    manager: Option<StepId>,
    settled: Option<StepId>,
}

impl Turns {
    /// What the restart of this host's engine waits for.
    #[must_use]
    pub fn before(&self, world: &World<'_>, host: &HostWorld<'_>) -> Vec<StepId> {
        if is_new(host) {
            return Vec::new();
        }
        let mut after: Vec<StepId> = self.first.into_iter().collect();
        if has_running(host) {
            // This one waits for the one that is `parallel` before it.
            let earlier = self
                .rolling
                .len()
                .checked_sub(world.inventory.restart_parallel);
            after.extend(earlier.and_then(|at| self.rolling.get(at)).copied());
        }
        if is_manager(host) {
            after.extend(self.manager);
        }
        after.dedup();
        after
    }

    /// Lets a host's turn begin no sooner than the engine before it has found the others, or has failed to.
    pub fn begin(&self, steps: &mut Steps, first: StepId) {
        let before: Vec<StepId> = self.settled.into_iter().collect();
        steps.follow(first, &before);
    }

    /// Notes the restart of this host's engine.
    pub fn took(&mut self, host: &HostWorld<'_>, restarted: &Restarted) {
        if !is_new(host) {
            self.first.get_or_insert(restarted.well);
        }
        if has_running(host) {
            self.rolling.push(restarted.well);
        }
        if is_manager(host) {
            self.manager = Some(restarted.well);
        }
        self.settled = restarted.settled.or(self.settled);
    }
}

/// An engine that this very run installs: it has nothing to lose.
pub(crate) fn is_new(host: &HostWorld<'_>) -> bool {
    host.engine.as_ref().is_some_and(|engine| engine.to_install)
}

fn has_running(host: &HostWorld<'_>) -> bool {
    host.facts
        .engine
        .iter()
        .flat_map(|engine| engine.running())
        .next()
        .is_some()
}

fn is_manager(host: &HostWorld<'_>) -> bool {
    host.facts
        .engine
        .as_ref()
        .is_some_and(|engine| engine.swarm().is_manager)
}

/// What a restarted engine must show.
pub struct Shown<'a> {
    /// What is waited for.
    pub what: &'a str,
    /// The step's sentence.
    pub why: &'a str,
    /// The question that tells.
    pub question: &'a [&'a str],
    /// What the answer must show.
    pub expect: Vec<String>,
    /// The files that were written in this run, which are put back if the engine does not take them.
    pub put_back: Vec<String>,
    /// What shows that the engine has found the others, where engines must not look for each other at the same time: then each
    /// restart waits for this of the one before.
    pub settled: Option<Action>,
    /// What it takes beside the old options to bring back what was: done with them in place, before the engine starts with them.
    pub back: Vec<Action>,
}

/// The steps after which a restarted engine is as it should be.
pub struct Restarted {
    /// It has found the others, where that matters.
    pub settled: Option<StepId>,
    /// Its containers run again as well.
    pub well: StepId,
}

impl Shown<'_> {
    fn settle(&self, steps: &mut Steps, host: &HostName) -> Option<StepId> {
        let action = self.settled.clone()?;
        Some(steps.add(
            host,
            Stage::Options,
            "wait until the engine gossips, before another looks for it",
            action,
        ))
    }

    fn wait(&self, steps: &mut Steps, host: &HostName) -> StepId {
        let action = Action::wait(
            self.what,
            self.question,
            self.expect.clone(),
            START_DEADLINE,
        );
        steps.add(host, Stage::Options, self.why, action)
    }
}

/// Restarts an engine, waits until it answers and until its containers with a restart policy run again; if it does not, its options
/// are put back and it is started with those.
pub fn restart(
    host: &HostWorld<'_>,
    why: &str,
    shown: &Shown<'_>,
    after: Vec<StepId>,
    steps: &mut Steps,
    notes: &mut Vec<String>,
) -> Restarted {
    let name = host.name();
    let running: Vec<&Container> = host
        .facts
        .engine
        .iter()
        .flat_map(|engine| engine.running())
        .collect();
    let names = |keep: &dyn Fn(&Container) -> bool| -> Vec<&str> {
        running
            .iter()
            .filter(|container| keep(container))
            .map(|container| container.name.as_str())
            .collect()
    };
    let down = names(&|container| !container.comes_back());
    if !down.is_empty() {
        notes.push(format!(
            "{name}: the restart of its engine stops {} for good: no restart policy",
            down.join(", ")
        ));
    }
    let perhaps = names(&|container| container.comes_back() && !container.surely_comes_back());
    if !perhaps.is_empty() {
        notes.push(format!(
            "{name}: the restart of its engine may stop {} for good: with the policy on-failure it only comes back if it ends with an error",
            perhaps.join(", ")
        ));
    }
    let why = match running.len() {
        0 => why.to_owned(),
        1 => format!("{why} (1 container runs)"),
        n => format!("{why} ({n} containers run)"),
    };
    let undo = || {
        let back = Action::PutBack {
            paths: shown.put_back.clone(),
        };
        let again = [
            Action::Service {
                verb: Verb::Restart,
                unit: UNIT,
                timeout: RESTART_TIMEOUT,
            },
            super::wait_for_answer(Vec::new()),
        ];
        let actions = std::iter::once(back)
            .chain(api::reread_after(&shown.put_back))
            .chain(shown.back.iter().cloned())
            .chain(again);
        Undo {
            unit: UNIT,
            actions: actions.collect(),
        }
    };
    let action = Action::Service {
        verb: Verb::Restart,
        unit: UNIT,
        timeout: RESTART_TIMEOUT,
    };
    let restart = steps.add(name, Stage::Options, why, action);
    steps.await_turn(restart, &after);
    let id = shown.wait(steps, name);
    if !shown.put_back.is_empty() {
        steps.undo(restart, undo());
        steps.undo(id, undo());
    }
    let settled = shown.settle(steps, name);
    let back = names(&Container::surely_comes_back);
    if back.is_empty() {
        return Restarted {
            settled,
            well: settled.unwrap_or(id),
        };
    }
    let argv = [
        "docker",
        "inspect",
        "--format",
        "{{.Name}}={{.State.Status}};",
    ]
    .map(str::to_owned);
    let action = Action::WaitFor {
        what: "its containers with a restart policy run again".to_owned(),
        argv: argv
            .into_iter()
            .chain(back.iter().map(ToString::to_string))
            .collect(),
        expect: back
            .iter()
            .map(|name| format!("/{name}=running;"))
            .collect(),
        peers: Vec::new(),
        deadline: CONTAINERS_DEADLINE,
    };
    let well = steps.add(
        name,
        Stage::Options,
        format!("wait until {} run again", back.join(", ")),
        action,
    );
    Restarted { settled, well }
}

/// The options that the inventory wants of every engine, for fabrics that need none of their own.
pub fn of_inventory(world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
    let wanted = |_: &HostWorld<'_>| -> Options { world.inventory.engine.options.clone() };
    let target = Target {
        wanted: &wanted,
        runs_with: &|_| true,
        question: &of_info("{{.ServerVersion}}"),
        shows: &|_| Vec::new(),
        settled: None,
        back: &|_| Vec::new(),
    };
    self::steps(world, steps, notes, &target);
}
