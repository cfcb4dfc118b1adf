//! A new CA for the store, while everything goes on.
//!
//! Nobody may show a certificate that somebody else does not trust yet. So there are three stretches, and none begins before the one
//! before it is over on every host: all trust both CAs; all certificates are of the new one; nobody trusts the old one. An engine
//! reads certificates only when it starts, so the first stretch restarts the engines, one after the other; agents reload.
//!
//! Where a rotation stands is in the facts: a host in the midst of one has two certificates in its `ca.pem`, the new one first. That is
//! enough to go on after a run that was killed, from any laptop.

use crate::engines::{self, options};
use crate::fabrics::overlay;
use crate::inventory::HostName;
use crate::paths::SECRETS_PATH;
use crate::plan::{
    Action, HostWorld, Plan, Problem, SecretsFrom, Stage, StepId, Steps, Verb, World,
};
use crate::stores::consul;
use crate::stores::consul::certificates::{
    Certificate, ENGINE_CERT, certificates, trusted, under_way,
};
use crate::stores::consul::files::wanted_files;
use crate::stores::consul::servers::Servers;
use crate::stores::consul::{START_TIMEOUT, UNIT, content_plan, ready};

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stretch {
    /// Not every host trusts both CAs, or nobody knows whether every engine does.
    Trust,
    /// Every host trusts both, and some agent has no certificate of the new one.
    Issue,
    /// All certificates are of the new one.
    Forget,
}

/// What a rotation is decided from.
struct Rotation<'a> {
    world: &'a World<'a>,
    servers: Servers,
    /// The hosts that have an agent of the store.
    members: Vec<&'a HostWorld<'a>>,
}

/// Gives the store a new CA, or ends what an earlier run began.
#[must_use]
pub fn plan_rotation(world: &World<'_>) -> Plan {
    let members = world
        .hosts
        .iter()
        .filter(|host| host.facts.store.config.is_some())
        .collect();
    let rotation = Rotation {
        world,
        servers: Servers::of(world),
        members,
    };
    let stretch = rotation.stretch();
    let reason = match stretch {
        Stretch::Trust => "it gets a new CA",
        Stretch::Issue | Stretch::Forget => "it gets a new CA, which an earlier run began",
    };
    let mut notes = Vec::new();
    let mut plan = content_plan(world, reason, |holder, steps| {
        rotation.rotate(holder, stretch, steps, &mut notes)
    });
    for unreached in &world.unreached {
        plan.problems.push(Problem::on(
            &unreached.host,
            format!(
                "cannot be asked ({}), and would be shut out of the store by a new CA",
                unreached.error
            ),
            "bring it back, or take it out of the inventory and run `up` first",
        ));
    }
    for host in rotation
        .members
        .iter()
        .filter(|host| !host.facts.store.ready)
    {
        plan.problems.push(Problem::on(
            host.name(),
            "its store does not answer",
            "see `verify`, and mend it first",
        ));
    }
    if plan.problems.is_empty() {
        plan.notes = notes;
    } else {
        plan.steps.clear();
    }
    plan
}

impl Rotation<'_> {
    fn stretch(&self) -> Stretch {
        let found = self
            .members
            .iter()
            .map(|host| trusted(host.facts))
            .find(|found| found.len() > 1);
        let Some(new) = found.and_then(|found| found.into_iter().next()) else {
            return Stretch::Trust;
        };
        if !self
            .members
            .iter()
            .all(|host| trusted(host.facts).first() == Some(&new))
        {
            return Stretch::Trust;
        }
        // Certificates are compared with the first of `ca.pem`, the new one.
        let is_of_it = |host: &HostWorld<'_>, found: &Certificate| found.is_due(host).is_none();
        let all = |host: &&HostWorld<'_>| {
            certificates(host, &self.servers)
                .iter()
                .all(|found| is_of_it(host, found))
        };
        let agent = |host: &&HostWorld<'_>| {
            certificates(host, &self.servers)
                .iter()
                .all(|found| found.cert == ENGINE_CERT || is_of_it(host, found))
        };
        // Agents get theirs when all engines have been restarted. Before the first has, it cannot be seen which engines were.
        match (self.members.iter().all(all), self.members.iter().any(agent)) {
            (true, _) => Stretch::Forget,
            (false, true) => Stretch::Issue,
            (false, false) => Stretch::Trust,
        }
    }

    fn rotate(&self, holder: &HostName, from: Stretch, steps: &mut Steps, notes: &mut Vec<String>) {
        if from == Stretch::Trust {
            // Only in memory: what is kept is written next. One that an earlier run made is gone on with: the secrets themselves tell,
            // and no host that says it trusts two.
            let why = match under_way(self.world).is_empty() {
                true => "make the store's new CA",
                false => "go on with the store's new CA",
            };
            steps.add(
                holder,
                Stage::Store,
                why,
                Action::Secrets(SecretsFrom::Rotate),
            );
        }
        if from == Stretch::Trust {
            self.keep(holder, "keep the store's new CA beside the old one", steps);
            let over = steps.last_of_each();
            for host in &self.members {
                let why = "trust the new CA beside the old one";
                self.put(host, why, |path| path.ends_with("/ca.pem"), &over, steps);
                reload(host, steps);
            }
            // Agents trust both: engines come next, with certificates that their own agent trusts already.
            let over = steps.last_of_each();
            let mut turns = options::Turns::default();
            for host in &self.members {
                let mut after = over.clone();
                after.extend(turns.before(self.world, host));
                let first = steps.next_id();
                self.issue(host, ENGINE_CERT, &after, steps);
                turns.begin(steps, first);
                if engines::is_running(host.facts) && options::uses_store(host) {
                    turns.took(host, &self.restart_engine(host, after, steps, notes));
                }
            }
        }
        if from <= Stretch::Issue {
            let over = steps.last_of_each();
            for host in &self.members {
                self.issue(host, "agent.pem", &over, steps);
                reload(host, steps);
            }
        }
        let why = "retire the store's old CA: everything has certificates of the new one";
        let over = steps.last_of_each();
        steps.add_after(
            holder,
            Stage::Store,
            why,
            Action::Secrets(SecretsFrom::Retire),
            over,
        );
        self.keep(holder, "keep the store's new CA alone", steps);
        let over = steps.last_of_each();
        for host in &self.members {
            // All files with secrets, although their content may be the same: each is known by the secrets that it was made from.
            self.put(
                host,
                "trust the new CA alone",
                |path| path != SECRETS_PATH,
                &over,
                steps,
            );
            reload(host, steps);
        }
    }

    /// Keeps the secrets on the servers, first on the host that they are read from: what the others have is never newer.
    fn keep(&self, holder: &HostName, why: &str, steps: &mut Steps) {
        let is_secret = |path: &str| path == SECRETS_PATH;
        let (first, others): (Vec<_>, Vec<_>) =
            self.members.iter().partition(|host| host.name() == holder);
        for host in first {
            self.put(host, why, is_secret, &[], steps);
        }
        let kept: Vec<StepId> = steps.last_of(holder).into_iter().collect();
        for host in others {
            self.put(host, why, is_secret, &kept, steps);
        }
    }

    /// Writes those files of a host that secrets are in.
    fn put(
        &self,
        host: &HostWorld<'_>,
        why: &str,
        which: impl Fn(&str) -> bool,
        after: &[StepId],
        steps: &mut Steps,
    ) {
        let files = wanted_files(self.world, host, &self.servers).into_iter();
        for mut file in files.filter(|file| file.content.plain().is_none() && which(&file.path)) {
            // What Consul reads only at its start is what it was; the rest it reads again when it is told to.
            file.read_by = None;
            steps.add_after(host.name(), Stage::Store, why, file.put(), after.to_vec());
        }
    }

    fn issue(&self, host: &HostWorld<'_>, cert: &str, after: &[StepId], steps: &mut Steps) {
        for certificate in certificates(host, &self.servers)
            .into_iter()
            .filter(|found| found.cert == cert)
        {
            let why = format!(
                "issue a certificate of the new CA for its {}",
                certificate.of
            );
            steps.add_after(
                host.name(),
                Stage::Store,
                why,
                certificate.issue(),
                after.to_vec(),
            );
        }
    }

    /// Restarts an engine and waits until it has its network from the store, which shows that both trust each other.
    fn restart_engine(
        &self,
        host: &HostWorld<'_>,
        after: Vec<StepId>,
        steps: &mut Steps,
        notes: &mut Vec<String>,
    ) -> options::Restarted {
        let shown = options::Shown {
            what: "the engine answers",
            why: "wait until the engine answers",
            question: &options::of_info("{{.ClusterStore}}"),
            expect: vec![consul::endpoint().url],
            put_back: Vec::new(),
            settled: Some(overlay::gossips()),
            back: Vec::new(),
        };
        let why = "restart the engine, which reads certificates only then";
        let restarted = options::restart(host, why, &shown, after, steps, notes);
        let well = overlay::wait_for_network(self.world, host, steps, Vec::new());
        options::Restarted { well, ..restarted }
    }
}

fn reload(host: &HostWorld<'_>, steps: &mut Steps) {
    let action = Action::Service {
        verb: Verb::Reload,
        unit: UNIT,
        timeout: START_TIMEOUT,
    };
    steps.add(
        host.name(),
        Stage::Store,
        "let Consul read its certificates",
        action,
    );
    steps.add(
        host.name(),
        Stage::Store,
        "wait until the store answers",
        ready(),
    );
}
