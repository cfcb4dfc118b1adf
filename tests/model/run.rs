//! Obeys a plan on the model as `apply` does on real hosts: steps of one host in their order, hosts in any, with a host that fails or a
//! run that is cut off wherever a test wants it.

use std::collections::BTreeSet;

use docker_cluster::plan::{Action, Plan, Step};
use docker_cluster::secrets::Slots;

use super::files::Reach;
use super::host::{Answer, Cluster, Doing};

/// What goes wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    /// The run is killed after so many steps; one that writes a file has written its record alone.
    Cut(usize),
    /// So many steps are done, and the next one fails: before it did anything, or when all of it was done.
    Fails(usize, After),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Nothing,
    All,
}

/// Numbers without a pattern that anybody would meet by chance, the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What was done, for a person.
    pub told: Vec<String>,
    pub failed: Vec<String>,
    pub skipped: BTreeSet<String>,
    pub was_cut: bool,
}

impl Ended {
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && !self.was_cut
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Done,
    Given,
}

struct Run<'a> {
    plan: &'a Plan,
    states: Vec<State>,
    begun: BTreeSet<usize>,
    slots: Slots,
    left: BTreeSet<String>,
    ended: Ended,
}

/// Runs a plan. `watch` is called after each step.
pub fn run(
    cluster: &mut Cluster,
    plan: &Plan,
    fault: Fault,
    dice: &mut Dice,
    watch: &mut dyn FnMut(&Cluster, &Step),
) -> Ended {
    let mut run = Run {
        plan,
        states: vec![State::Pending; plan.steps.iter().map(|step| step.id + 1).max().unwrap_or(0)],
        begun: BTreeSet::new(),
        slots: Slots::default(),
        left: BTreeSet::new(),
        ended: Ended::default(),
    };
    let mut stalled: BTreeSet<usize> = BTreeSet::new();
    let mut done = 0;
    loop {
        run.give_up_after_others();
        let ready = run.ready();
        if ready.is_empty() {
            break;
        }
        let fresh: Vec<usize> = ready
            .iter()
            .copied()
            .filter(|at| !stalled.contains(at))
            .collect();
        // Nobody gets any further: the first that waits has waited long enough.
        let late = fresh.is_empty();
        let from = if late { &ready } else { &fresh };
        let step = &plan.steps[from[dice.below(from.len())]];
        if fault == Fault::Cut(done) {
            if matches!(
                step.action,
                Action::PutFile(_) | Action::AddFlags { .. } | Action::IssueCertificate { .. }
            ) {
                run.obey(cluster, step, Reach::RecordOnly);
            }
            run.ended
                .told
                .push(format!("cut at {}: {}", step.host, step.why));
            run.ended.was_cut = true;
            return run.ended;
        }
        let answer = match fault {
            Fault::Fails(at, After::Nothing) if at == done => {
                Answer::Failed("it was to fail".to_owned())
            }
            Fault::Fails(at, After::All) if at == done => {
                match run.obey(cluster, step, Reach::Whole) {
                    Answer::Done => Answer::Failed("it was to fail, when it was done".to_owned()),
                    other => other,
                }
            }
            _ => run.obey(cluster, step, Reach::Whole),
        };
        match answer {
            Answer::Waiting(_) if !late => {
                run.begun.insert(step.id);
                stalled.insert(run.position(step));
                continue;
            }
            Answer::Done => {
                run.states[step.id] = State::Done;
                run.ended.told.push(format!("{}: {}", step.host, step.why));
            }
            Answer::Waiting(why) | Answer::Failed(why) => run.fail(cluster, step, &why),
        }
        done += 1;
        stalled.clear();
        watch(cluster, step);
    }
    run.ended
}

impl Run<'_> {
    fn position(&self, step: &Step) -> usize {
        self.plan
            .steps
            .iter()
            .position(|other| other.id == step.id)
            .unwrap_or(0)
    }

    /// The first step of each host that is not over, by its place in the plan.
    fn next(&self) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for (at, step) in self.plan.steps.iter().enumerate() {
            if self.states[step.id] == State::Pending && seen.insert(&step.host) {
                all.push(at);
            }
        }
        all
    }

    fn ready(&self) -> Vec<usize> {
        let is_over = |id: &usize| self.states[*id] != State::Pending;
        let is_ready = |at: &usize| {
            let step = &self.plan.steps[*at];
            step.after.iter().chain(&step.follows).all(is_over)
        };
        self.next().into_iter().filter(is_ready).collect()
    }

    /// Hosts whose next step needs one that will never be done leave the run.
    fn give_up_after_others(&mut self) {
        loop {
            let lost = self.next().into_iter().find(|at| {
                self.plan.steps[*at]
                    .after
                    .iter()
                    .any(|id| self.states[*id] == State::Given)
            });
            let Some(at) = lost else { return };
            let host = self.plan.steps[at].host.to_string();
            self.give_up(&host);
            self.ended.skipped.insert(host);
        }
    }

    fn give_up(&mut self, host: &str) {
        for step in self
            .plan
            .steps
            .iter()
            .filter(|step| step.host.as_str() == host)
        {
            if self.states[step.id] == State::Pending {
                self.states[step.id] = State::Given;
            }
        }
        self.left.insert(host.to_owned());
    }

    fn obey(&mut self, cluster: &mut Cluster, step: &Step, reach: Reach) -> Answer {
        let at = cluster.index(step.host.as_str());
        let doing = Doing {
            slots: &self.slots,
            reach,
            again: self.begun.contains(&step.id),
            left: &self.left,
        };
        cluster.obey(at, &step.action, &doing)
    }

    fn fail(&mut self, cluster: &mut Cluster, step: &Step, why: &str) {
        self.ended
            .failed
            .push(format!("{}: {}: {why}", step.host, step.why));
        self.ended
            .told
            .push(format!("FAILED {}: {}: {why}", step.host, step.why));
        let at = cluster.index(step.host.as_str());
        for action in step.undo.iter().flat_map(|undo| &undo.actions) {
            let doing = Doing {
                slots: &self.slots,
                reach: Reach::Whole,
                again: false,
                left: &self.left,
            };
            match cluster.obey(at, action, &doing) {
                Answer::Done => {}
                // What a way back waits for may need the other hosts, which are still under way.
                Answer::Waiting(_) => {}
                Answer::Failed(also) => {
                    self.ended.told.push(format!("  and its way back: {also}"));
                    break;
                }
            }
        }
        self.give_up(step.host.as_str());
    }
}
