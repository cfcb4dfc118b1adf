//! What a plan is made of: the world that it is decided from, its steps, and what forbids it. [`crate::decide`] makes plans.

mod file;
pub mod mesh;
mod step;
mod world;

use std::collections::BTreeSet;

use serde::Serialize;

pub use crate::daemon_json::{Conflict, Options};
pub use file::WantedFile;
pub use mesh::Mesh;
pub use step::{
    Action, Authority, ConsulCall, Content, EngineCall, KEEP_MODE, NetworkDriver, NewContainer,
    NewNetwork, NodeUpdate, Piece, PutFile, Recorded, Restored, SecretsFrom, Slot, Stage, Step,
    StepId, SwarmRole, Undo, Verb,
};
pub use world::{ETHERNET_MTU, HostWorld, Unreached, World};

use crate::inventory::{FabricKind, HostName};

/// Something that forbids the run, found before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The host it is about; none if it is about the cluster.
    pub host: Option<HostName>,
    /// What is wrong, as a sentence without a full stop.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Problem {
    /// A problem of one host.
    pub fn on(host: &HostName, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            host: Some(host.clone()),
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// A problem of the cluster.
    pub fn of_all(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            host: None,
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// A plan: what would change, on which host, in which order, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The cluster.
    pub cluster: String,
    /// The fabric that was chosen.
    pub fabric: FabricKind,
    /// Why it was chosen.
    pub reason: String,
    /// The hosts the plan is about, in the inventory's order.
    pub hosts: Vec<HostName>,
    /// The steps.
    pub steps: Vec<Step>,
    /// What forbids the run.
    pub problems: Vec<Problem>,
    /// What a person should know before agreeing.
    pub notes: Vec<String>,
    /// Hosts that could not be asked; the run leaves them out.
    pub unreached: Vec<Unreached>,
}

impl Plan {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps of one host.
    pub fn steps_of<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = &'a Step> {
        self.steps.iter().filter(move |step| step.host == *host)
    }

    /// Leaves out the steps of hosts that are not selected, except for what the others need of them and what changes nothing there: a
    /// token is fetched, a secret read. Where they need more, that is a problem, and nothing is done.
    pub fn limit_to(&mut self, selected: &[HostName]) {
        // A step about another host than its own is that one's: without it there may be nothing yet to do it to.
        let is_selected =
            |step: &Step| selected.contains(step.about.as_ref().unwrap_or(&step.host));
        let mut kept: BTreeSet<StepId> = self
            .steps
            .iter()
            .filter(|step| is_selected(step))
            .map(|step| step.id)
            .collect();
        let mut pending: Vec<StepId> = kept.iter().copied().collect();
        let mut problems = Vec::new();
        while let Some(step) = pending
            .pop()
            .and_then(|id| self.steps.iter().find(|step| step.id == id))
        {
            for needed in self.needs(step) {
                if kept.contains(&needed.id) {
                    continue;
                }
                if needed.action.only_reads() {
                    kept.insert(needed.id);
                    pending.push(needed.id);
                } else {
                    problems.push(Problem::on(
                        &step.host,
                        format!(
                            "`{}` waits for {}, which is not selected, to: {}",
                            step.why, needed.host, needed.why
                        ),
                        format!("select {} as well, or leave --on out", needed.host),
                    ));
                }
            }
        }
        // What is needed first is told, once.
        problems.sort_by(|a, b| a.host.cmp(&b.host).then(a.fix.cmp(&b.fix)));
        problems.dedup_by(|a, b| a.host == b.host && a.fix == b.fix);
        if !problems.is_empty() {
            self.problems.extend(problems);
            self.steps.clear();
        }
        let mut steps = std::mem::take(&mut self.steps);
        let hosts: BTreeSet<HostName> = steps
            .iter()
            .filter(|step| kept.contains(&step.id))
            .map(|step| step.host.clone())
            .collect();
        // Nobody can wait for a host whose own steps are left out.
        let of_others = |step: &&Step| {
            !kept.contains(&step.id) && !selected.contains(&step.host) && !step.action.only_reads()
        };
        let left_out: BTreeSet<HostName> = steps
            .iter()
            .filter(of_others)
            .map(|step| step.host.clone())
            .collect();
        for step in &mut steps {
            if let Action::WaitFor { peers, .. } = &mut step.action {
                peers.retain(|(peer, _)| !left_out.contains(peer));
            }
        }
        steps.retain_mut(|step| match &mut step.action {
            // Of a host that is only asked for something, no more is written down than what it is asked about.
            Action::Note { lines } if !selected.contains(&step.host) => {
                lines.retain(|line| line.starts_with(crate::record::NODE_LINE));
                hosts.contains(&step.host) && !lines.is_empty()
            }
            _ => kept.contains(&step.id),
        });
        let kept: Vec<StepId> = steps.iter().map(|step| step.id).collect();
        for step in &mut steps {
            for ids in [&mut step.after, &mut step.turns, &mut step.follows] {
                ids.retain(|id| kept.contains(id));
            }
        }
        self.hosts
            .retain(|host| selected.contains(host) || steps.iter().any(|step| step.host == *host));
        self.steps = steps;
    }

    /// What must be done on other hosts before this step can be.
    fn needs(&self, step: &Step) -> Vec<&Step> {
        let before = |id: &StepId| self.steps.iter().find(|other| other.id == *id);
        let waited = step
            .after
            .iter()
            .filter(|id| !step.turns.contains(id))
            .filter_map(before);
        let slots = step.action.reads();
        let filled = slots.iter().filter_map(|slot| {
            self.steps
                .iter()
                .rev()
                .find(|other| other.id < step.id && other.action.fills(*slot))
        });
        let made = self.steps.iter().filter(|other| {
            other.host == step.host && other.id < step.id && other.action.makes_for_others()
        });
        waited.chain(filled).chain(made).collect()
    }
}

/// Collects steps.
#[derive(Debug, Default)]
pub struct Steps {
    steps: Vec<Step>,
}

impl Steps {
    /// Adds a step at the end of its host's steps.
    pub fn add(
        &mut self,
        host: &HostName,
        stage: Stage,
        why: impl Into<String>,
        action: Action,
    ) -> StepId {
        self.add_after(host, stage, why, action, Vec::new())
    }

    /// Adds a step that also waits for steps of other hosts.
    pub fn add_after(
        &mut self,
        host: &HostName,
        stage: Stage,
        why: impl Into<String>,
        action: Action,
        after: Vec<StepId>,
    ) -> StepId {
        let id = self.steps.len();
        let after = after
            .into_iter()
            .filter(|other| {
                self.steps
                    .get(*other)
                    .is_some_and(|step| step.host != *host)
            })
            .collect();
        self.steps.push(Step {
            id,
            host: host.clone(),
            stage,
            why: why.into(),
            action,
            after,
            turns: Vec::new(),
            follows: Vec::new(),
            about: None,
            undo: None,
        });
        id
    }

    /// Says which host a step is about that is done on another.
    pub fn about(&mut self, id: StepId, host: &HostName) {
        if let Some(step) = self.steps.get_mut(id) {
            step.about = Some(host.clone());
        }
    }

    /// Makes a step wait for its turn, until steps of other hosts are done that it needs nothing of.
    pub fn await_turn(&mut self, id: StepId, others: &[StepId]) {
        let others = self.of_others(id, others);
        if let Some(step) = self.steps.get_mut(id) {
            step.after.extend(&others);
            step.turns.extend(others);
        }
    }

    /// Makes a step wait until steps of other hosts are over, done or not.
    pub fn follow(&mut self, id: StepId, others: &[StepId]) {
        let others = self.of_others(id, others);
        if let Some(step) = self.steps.get_mut(id) {
            step.follows = others;
        }
    }

    /// Makes a step wait until steps of other hosts are done.
    pub fn require(&mut self, id: StepId, others: &[StepId]) {
        let others = self.of_others(id, others);
        if let Some(step) = self.steps.get_mut(id) {
            step.after.extend(others);
        }
    }

    /// Those of these steps that are on other hosts than this one.
    fn of_others(&self, id: StepId, others: &[StepId]) -> Vec<StepId> {
        let host_of = |id: &StepId| self.steps.get(*id).map(|step| &step.host);
        others
            .iter()
            .copied()
            .filter(|other| host_of(other).is_some() && host_of(other) != host_of(&id))
            .collect()
    }

    /// The id of the step that will be added next.
    #[must_use]
    pub fn next_id(&self) -> StepId {
        self.steps.len()
    }

    /// The step that fills a slot, if there is one yet.
    #[must_use]
    pub fn filling(&self, slot: Slot) -> Option<StepId> {
        let filling = self.steps.iter().find(|step| step.action.fills(slot))?;
        Some(filling.id)
    }

    /// Adds a step before all others of its host.
    pub fn prepend(
        &mut self,
        host: &HostName,
        stage: Stage,
        why: impl Into<String>,
        action: Action,
    ) {
        for step in &mut self.steps {
            step.id += 1;
            for id in step
                .after
                .iter_mut()
                .chain(&mut step.turns)
                .chain(&mut step.follows)
            {
                *id += 1;
            }
        }
        let (after, turns, follows) = (Vec::new(), Vec::new(), Vec::new());
        let why = why.into();
        let step = Step {
            id: 0,
            host: host.clone(),
            stage,
            why,
            action,
            after,
            turns,
            follows,
            about: None,
            undo: None,
        };
        self.steps.insert(0, step);
    }

    /// Gives a step its way back.
    pub fn undo(&mut self, id: StepId, undo: Undo) {
        if let Some(step) = self.steps.get_mut(id) {
            step.undo = Some(undo);
        }
    }

    /// The steps of one host so far.
    pub fn of<'a>(&'a self, host: &'a HostName) -> impl DoubleEndedIterator<Item = &'a Step> {
        self.steps.iter().filter(move |step| step.host == *host)
    }

    /// The last step of a host so far.
    #[must_use]
    pub fn last_of(&self, host: &HostName) -> Option<StepId> {
        self.of(host).next_back().map(|step| step.id)
    }

    /// The last step of every host so far.
    #[must_use]
    pub fn last_of_each(&self) -> Vec<StepId> {
        let mut last: Vec<(HostName, StepId)> = Vec::new();
        for step in &self.steps {
            match last.iter_mut().find(|(host, _)| *host == step.host) {
                Some((_, id)) => *id = step.id,
                None => last.push((step.host.clone(), step.id)),
            }
        }
        last.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a host has a step in a stage.
    #[must_use]
    pub fn touches(&self, host: &HostName, stage: Stage) -> bool {
        self.of(host).any(|step| step.stage == stage)
    }

    /// The steps.
    #[must_use]
    pub fn into_vec(self) -> Vec<Step> {
        self.steps
    }
}
