//! The agent of one host: its program, files, certificates and units.

use std::time::Duration;

use super::certificates::{Certificate, ENGINE_CERT, certificates};
use super::files::wanted_files;
use super::servers::Servers;
use super::{RECONCILE, RECONCILE_UNIT, START_TIMEOUT, UNIT, USER, ready, switch_off};
use crate::engines::{self, INSTALL_TIMEOUT, SYSTEMD_TIMEOUT};
use crate::facts::Unit;
use crate::inventory::{HostName, ProgramSource};
use crate::paths::{PUSHED_STORE, SECRETS_PATH};
use crate::plan::{Action, HostWorld, Stage, StepId, Steps, Undo, Verb, World};
use crate::platform::{PackageManager, SERVICES, STORE_PACKAGE};

/// What the steps of one host are made from, beside the host itself.
pub(super) struct Given<'a> {
    pub(super) servers: &'a Servers,
    /// The host that keeps the secrets before all others.
    pub(super) leader: &'a HostName,
    /// Checksum of the store's present secrets.
    pub(super) bundle: Option<&'a str>,
    /// The step that brings the secrets.
    pub(super) secrets: Option<StepId>,
    /// The step after which the agent before this one is well again.
    pub(super) previous: Option<StepId>,
}

/// What became of a host.
#[derive(Default)]
pub(super) struct Done {
    /// The step that starts or restarts its agent.
    pub(super) started: Option<StepId>,
    /// The step after which an agent that ran before is well again.
    pub(super) well: Option<StepId>,
}

/// Whether something of a host is made from the store's secrets and is not there yet.
pub(super) fn needs_secrets(
    world: &World<'_>,
    host: &HostWorld<'_>,
    servers: &Servers,
    bundle: Option<&str>,
) -> bool {
    let lacks = wanted_files(world, host, servers)
        .iter()
        .any(|file| file.content.plain().is_none() && !file.is_there(host.facts, bundle));
    let due = |certificate: &Certificate| certificate.is_due(host).is_some();
    lacks || certificates(host, servers).iter().any(due)
}

/// Makes the agent of one host what it should be. One that runs is changed after the one before it is well: a quorum that exists is
/// kept, and what one agent refuses never reaches the next.
pub(super) fn steps(
    world: &World<'_>,
    host: &HostWorld<'_>,
    given: &Given<'_>,
    steps: &mut Steps,
) -> Done {
    let unit = host.facts.unit(UNIT);
    let active = unit.is_some_and(|unit| unit.active == "active");
    let mut agent = Agent {
        world,
        host,
        given,
        turn: given.previous.filter(|_| active).into_iter().collect(),
        written: Vec::new(),
        restart: false,
        reload: false,
        reload_units: false,
    };
    agent.program(steps);
    agent.files(steps);
    agent.certificates(steps);
    agent.units(unit, steps);
    if !active {
        return agent.first_start(steps);
    }
    agent.helper(steps);
    agent.restart(steps)
}

struct Agent<'a> {
    world: &'a World<'a>,
    host: &'a HostWorld<'a>,
    given: &'a Given<'a>,
    /// What an agent that runs waits for before it is changed.
    turn: Vec<StepId>,
    /// What was written, and goes back with a start that fails.
    written: Vec<String>,
    /// Whether the agent has to be started again,
    restart: bool,
    /// or to read its certificates again,
    reload: bool,
    /// and systemd its units.
    reload_units: bool,
}

impl Agent<'_> {
    /// Gets the program and the user onto the host.
    fn program(&mut self, steps: &mut Steps) {
        match &self.world.inventory.store.source {
            ProgramSource::Package => self.install(steps),
            ProgramSource::Path { sha256, path, .. } => {
                self.push(path.display().to_string(), sha256, steps);
            }
            ProgramSource::Url { sha256, url, .. } => self.push(url.clone(), sha256, steps),
        }
        if !self.host.facts.store_user {
            let argv = [
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
                USER,
            ];
            self.run(
                "make a system user for Consul",
                argv.map(str::to_owned).to_vec(),
                steps,
            );
        }
    }

    fn install(&mut self, steps: &mut Steps) {
        let facts = self.host.facts;
        let Some(manager) = PackageManager::of(facts).filter(|_| facts.store.path.is_empty())
        else {
            return;
        };
        let action = Action::Script {
            name: manager.name,
            text: manager.install,
            args: vec![STORE_PACKAGE.to_owned()],
            timeout: INSTALL_TIMEOUT,
        };
        let why = format!("install Consul from the packages of {}", facts.os_pretty);
        let id = steps.add(self.host.name(), Stage::Store, why, action);
        steps.undo(id, Undo::of_installation(manager, UNIT));
        self.restart = true;
    }

    fn push(&mut self, source: String, sha256: &str, steps: &mut Steps) {
        let facts = self.host.facts;
        // The record holds the checksum of what was fetched; what was unpacked from it has another.
        let is_there = facts
            .record(PUSHED_STORE)
            .is_some_and(|record| record.source == *sha256 && record.sha256 == facts.store.sha256);
        if is_there {
            return;
        }
        let why = format!("push Consul from {source}");
        let action = Action::PushProgram {
            source,
            sha256: sha256.to_owned(),
            path: PUSHED_STORE.to_owned(),
            address: (self.world.hosts.len() > 1).then_some(self.host.private),
        };
        let id = steps.add(self.host.name(), Stage::Store, why, action);
        // A program that does not start must not be on all hosts at once, and goes back with the rest.
        steps.await_turn(id, &self.turn);
        self.written.push(PUSHED_STORE.to_owned());
        self.restart = true;
    }

    fn files(&mut self, steps: &mut Steps) {
        let Given {
            servers,
            leader,
            bundle,
            secrets,
            ..
        } = *self.given;
        let host = self.host;
        for file in wanted_files(self.world, host, servers) {
            self.restart |= file.read_by.is_some() && host.facts.has_not_read(UNIT, &file.path);
            let is_kept = file.path == SECRETS_PATH && bundle.is_none() && host.name() == leader;
            if is_kept || file.is_there(host.facts, bundle) {
                continue;
            }
            self.restart |= file.read_by.is_some();
            self.reload_units |= file.path.starts_with("/etc/systemd/");
            self.written.push(file.path.clone());
            let needs = file.content.plain().is_none();
            let after = secrets.filter(|_| needs).into_iter().collect();
            let id = steps.add_after(
                host.name(),
                Stage::Store,
                file.why.clone(),
                file.put(),
                after,
            );
            steps.await_turn(id, &self.turn);
        }
    }

    fn certificates(&mut self, steps: &mut Steps) {
        for certificate in certificates(self.host, self.given.servers) {
            let Some(why) = certificate.is_due(self.host) else {
                continue;
            };
            self.reload |= certificate.cert != ENGINE_CERT;
            self.written.extend(certificate.paths());
            let after = self.given.secrets.into_iter().collect();
            let name = self.host.name();
            let id = steps.add_after(name, Stage::Store, why, certificate.issue(), after);
            steps.await_turn(id, &self.turn);
        }
    }

    fn units(&mut self, unit: Option<&Unit>, steps: &mut Steps) {
        self.reload_units |= [UNIT, RECONCILE_UNIT].iter().any(|unit| {
            self.host
                .facts
                .unit(unit)
                .is_some_and(|unit| unit.needs_reload)
        });
        if unit.is_none_or(|unit| unit.file_state != "enabled") {
            let argv = SERVICES.argv(SERVICES.enable, &[UNIT, RECONCILE_UNIT]);
            self.run("start Consul and its helper at every boot", argv, steps);
        } else if self.reload_units {
            let argv = SERVICES.argv(SERVICES.reread, &[]);
            self.run("let systemd read the units", argv, steps);
        }
    }

    /// The helper starts with the engine; where that goes on as it is, the helper needs a start of its own.
    fn helper(&self, steps: &mut Steps) {
        let host = self.host;
        let helped = engines::is_running(host.facts) && engines::options::uses_store(host);
        let lacks =
            self.given.servers.hosts.contains(host.name()) && !host.facts.is_active(RECONCILE_UNIT);
        if helped && (lacks || self.written.iter().any(|path| path == RECONCILE)) {
            let why = "start the helper that keeps the engines' watches of the store alive";
            let action = service(Verb::Restart, RECONCILE_UNIT);
            steps.add(host.name(), Stage::Store, why, action);
        }
    }

    fn first_start(&self, steps: &mut Steps) -> Done {
        let action = service(Verb::Restart, UNIT);
        let id = steps.add(self.host.name(), Stage::Store, "start Consul", action);
        // Nothing worked before: what does not start is not left trying for ever, in the way of whatever took its place.
        let undo = Undo {
            unit: UNIT,
            actions: vec![switch_off(START_TIMEOUT)],
        };
        steps.undo(id, undo);
        Done {
            started: Some(id),
            well: None,
        }
    }

    fn restart(&self, steps: &mut Steps) -> Done {
        let (verb, why) = match (self.restart, self.reload) {
            (true, _) => (Verb::Restart, "restart Consul with its new configuration"),
            // Consul reads its certificates again on a reload; nothing that uses it notices.
            (false, true) => (Verb::Reload, "let Consul read its new certificate"),
            (false, false) => return Done::default(),
        };
        let name = self.host.name();
        let id = steps.add(name, Stage::Store, why, service(verb, UNIT));
        steps.await_turn(id, &self.turn);
        steps.undo(id, self.put_back());
        let well = steps.add(name, Stage::Store, "wait until the store answers", ready());
        steps.undo(well, self.put_back());
        Done {
            started: Some(id),
            well: Some(well),
        }
    }

    fn put_back(&self) -> Undo {
        let back = [
            Action::PutBack {
                paths: self.written.clone(),
            },
            Action::Run {
                argv: SERVICES.argv(SERVICES.reread, &[]),
                timeout: SYSTEMD_TIMEOUT,
            },
            service(Verb::Restart, UNIT),
        ];
        Undo {
            unit: UNIT,
            actions: back.into(),
        }
    }

    fn run(&self, why: &str, argv: Vec<String>, steps: &mut Steps) {
        let timeout: Duration = SYSTEMD_TIMEOUT;
        steps.add(
            self.host.name(),
            Stage::Store,
            why,
            Action::Run { argv, timeout },
        );
    }
}

fn service(verb: Verb, unit: &'static str) -> Action {
    Action::Service {
        verb,
        unit,
        timeout: START_TIMEOUT,
    }
}
