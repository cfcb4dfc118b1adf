//! Walks the plan. The only match over [`Action`]; it makes no choice that the plan has not made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::{Mutex, MutexGuard, watch};
use tracing::debug;

use crate::checksum::sha256_hex;
use crate::clients::consul;
use crate::engine_api::{ApiError, EngineApi};
use crate::engines::{self, api};
use crate::event::{Event, Events};
use crate::facts::Scope;
use crate::host::{Command, Connection, HostError, Hosts, Output};
use crate::images::Tar;
use crate::inventory::HostName;
use crate::lock::{Lock, LostLock};
use crate::paths::{ENGINES_CA, SECRETS_PATH};
use crate::plan::{
    Action, Authority, Content, Options, Plan, PutFile, Recorded, Restored, SecretsFrom, Slot,
    Step, StepId, SwarmRole, Undo,
};
use crate::probe::{self, FactsError};
use crate::programs;
use crate::record::{self, Record};
use crate::secrets::{EnginesCa, Secret, SecretsError, Slots, StoreBundle};
use crate::whoami::whoami;
use crate::words::is_public_key;

/// Puts a file in place; see the script.
const PUT_FILE: &str = include_str!("../templates/put-file.sh");

/// Puts files back; see the script.
const PUT_BACK: &str = include_str!("../templates/put-back.sh");

/// Restores a file; see the script.
const RESTORE: &str = include_str!("../templates/restore.sh");

/// Writes down what is added to a host; see the script.
const NOTE: &str = include_str!("../templates/note.sh");

/// Asks whether one of several ports answers; see the script.
const REACH: &str = include_str!("../templates/reach.pl");

/// How long a manager's port is tried before a host joins through it, in seconds: three SYNs, of which one may be lost.
const REACH_SECONDS: u64 = 6;

/// How many lines of a unit's journal are part of a report: what a daemon says when it gives up, and what led to it.
const JOURNAL_LINES: &str = "12";

/// Starts a unit; see the script.
const SERVICE: &str = include_str!("../templates/service.sh");

/// How often a condition is asked for at first. A question costs the host a process; four in a second feel immediate.
const POLL: Duration = Duration::from_millis(250);

/// How often a condition is asked for that takes longer than [`SOON`]: a second more is not felt then, and questions slow down what they
/// wait for. On a small host a `docker info` four times a second is a quarter of a processor.
const POLL_LATER: Duration = Duration::from_secs(1);

/// What comes within this time comes at once: most restarts and elections do.
const SOON: Duration = Duration::from_secs(4);

/// How long one question of a poll may take: a daemon that hangs is asked again.
const POLL_QUESTION: Duration = Duration::from_secs(15);

/// How long a script may take that only moves small files, in seconds.
const SHORT: Duration = Duration::from_secs(60);

/// How long a file may take to be written: 200 MB over a slow line.
const PUT_TIMEOUT: Duration = Duration::from_secs(600);

/// How many of a failed poll's last words are kept, in bytes: the reason is at the end.
const LAST_WORDS: usize = 2000;

/// How a manager says that it cannot reach one that is to become a manager as well (swarmkit's `manager/state/raft`).
const CANNOT_CALL_BACK: &str = "could not connect to prospective new cluster member";

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Over SSH.
    #[error(transparent)]
    Host(#[from] HostError),
    /// In the engine.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// In the store.
    #[error(transparent)]
    Consul(#[from] consul::ConsulError),
    /// With secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A condition that did not come.
    #[error("waited {} for: {what}{last_words}", humantime::format_duration(*.after))]
    Waited {
        /// The condition.
        what: String,
        /// How long.
        after: Duration,
        /// What the last question brought.
        last_words: String,
    },
    /// No manager of the swarm can be reached from the host that is to join it.
    #[error("none of the swarm's managers can be reached from here: {0}")]
    NoManager(String),
    /// The facts of the host.
    #[error("{0}")]
    Facts(String),
    /// The engine's unit starts something else.
    #[error(
        "{} does not start the engine itself, so no flags can be added to it",
        engines::UNIT
    )]
    Unit,
    /// What should be a public key of WireGuard is none.
    #[error("what the host gives for its public key is none of WireGuard")]
    NoKey,
    /// An image.
    #[error("{0}")]
    Image(String),
    /// A program to push.
    #[error("{0}")]
    Program(String),
}

impl From<FactsError> for StepError {
    fn from(error: FactsError) -> Self {
        match error {
            FactsError::Host(error) => Self::Host(error),
            FactsError::Garbled(_) => Self::Facts(error.to_string()),
        }
    }
}

impl StepError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Host(error) => error.hint(),
            Self::NoManager(_) => {
                "let that port pass between the hosts: their own firewalls (`docker-cluster plan` names those that it sees), security groups, a firewall between them".to_owned()
            }
            // The managers answer the one who joins over a connection of their own.
            Self::Api(ApiError::Engine(words)) | Self::Waited { last_words: words, .. } if words.contains(CANNOT_CALL_BACK) => {
                "the swarm's managers cannot reach this host: let TCP 2377 in there from the other hosts".to_owned()
            }
            Self::NoKey => {
                "look at `/usr/local/lib/docker-cluster/underlay public` there".to_owned()
            }
            Self::Waited { .. } => {
                "run the same command again when the cause is mended: it goes on where this run stopped".to_owned()
            }
            Self::Facts(_) => "look at the host by hand: `docker-cluster ssh HOST` is a shell on it".to_owned(),
            Self::Unit => {
                "let its `ExecStart=` be one line that begins with dockerd, or say `api: ssh` for this host".to_owned()
            }
            Self::Image(_) => "correct `smoke.image` or `smoke.tar` in the inventory".to_owned(),
            Self::Program(_) => "correct `store.source` in the inventory".to_owned(),
            Self::Api(_) | Self::Consul(_) | Self::Secrets(_) => {
                "run again with -vv and look at the log file".to_owned()
            }
        }
    }
}

/// Whether a run goes on by itself.
pub enum Pace {
    /// It does.
    Free,
    /// It waits for a line of this before every step; the end of it stops the run. One step at a time, whatever the host.
    StepByStep(Mutex<Box<dyn AsyncBufRead + Send + Unpin>>),
}

/// A step that failed; its host left the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The host.
    pub host: HostName,
    /// The step's sentence.
    pub why: String,
    /// The error, with all that the host said.
    pub error: String,
}

impl Failed {
    /// The document of `--output json`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json!({"host": self.host, "step": self.why, "error": self.error})
    }
}

/// How a run ended.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Steps that were done.
    pub done: usize,
    /// Steps that were not begun, because of a failure or an interruption.
    pub left: usize,
    /// The steps that failed, one a host at most.
    pub failed: Vec<Failed>,
    /// Hosts that could not go on because of another.
    pub skipped: Vec<HostName>,
    /// Whether somebody asked to stop.
    pub interrupted: bool,
}

impl Outcome {
    /// Whether everything was done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left == 0 && self.failed.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Done,
    Given,
}

struct Run<'a> {
    plan: &'a Plan,
    slots: Slots,
    states: Vec<(StepId, watch::Sender<State>)>,
    events: &'a Events,
    stop: watch::Receiver<bool>,
    pace: &'a Pace,
    lock: Option<&'a Lock>,
    by: String,
}

/// Runs the plan. `slots` has the secrets that are there before. `stop` turns true when somebody asks to stop: steps that run are finished, no other begins. The same goes for a host
/// whose lock is lost; a plan that changes nothing needs none.
pub async fn apply(
    plan: &Plan,
    slots: Slots,
    hosts: &Hosts,
    events: &Events,
    stop: watch::Receiver<bool>,
    pace: &Pace,
    lock: Option<&Lock>,
) -> Outcome {
    let run = Run {
        plan,
        slots,
        states: plan
            .steps
            .iter()
            .map(|step| (step.id, watch::Sender::new(State::Pending)))
            .collect(),
        events,
        stop,
        pace,
        lock,
        by: whoami(),
    };
    let each = plan
        .hosts
        .iter()
        .map(|host| run.host(host, hosts.get(host)));
    let mut outcome = Outcome::default();
    for part in futures_util::future::join_all(each).await {
        outcome.done += part.done;
        outcome.left += part.left;
        outcome.failed.extend(part.failed);
        outcome.skipped.extend(part.skipped);
        outcome.interrupted |= part.interrupted;
    }
    outcome
}

/// Whether a manager can be reached from a host that is to join through it. The engine itself would try for minutes, and not say which port
/// it tried.
async fn managers_answer(host: &Connection, managers: &[String]) -> Result<(), StepError> {
    let ends = managers
        .iter()
        .filter_map(|manager| manager.rsplit_once(':'));
    let mut argv: Vec<String> = ["perl", "-e", REACH, &REACH_SECONDS.to_string()]
        .map(str::to_owned)
        .to_vec();
    argv.extend(ends.flat_map(|(address, port)| {
        [address.trim_matches(['[', ']']).to_owned(), port.to_owned()]
    }));
    let output = host.run(&Command::new(argv)).await?;
    let said = output.stdout_text();
    // A host without Perl is not asked.
    if output.status != 1 || said.trim().is_empty() {
        return Ok(());
    }
    Err(StepError::NoManager(
        said.trim().lines().collect::<Vec<_>>().join(", "),
    ))
}

/// What fails over a connection that is no more fails in as many words as there are ways over it: then it is the connection.
async fn explained(error: StepError, step: &Step, connection: &Connection) -> StepError {
    if matches!(error, StepError::Host(HostError::Disconnected { .. }))
        || connection.is_alive().await
    {
        return error;
    }
    debug!(host = %step.host, %error, "the connection is no more");
    HostError::Disconnected {
        command: step.why.clone(),
    }
    .into()
}

impl Run<'_> {
    async fn host(&self, name: &HostName, connection: Option<&Arc<Connection>>) -> Outcome {
        let steps: Vec<&Step> = self.plan.steps_of(name).collect();
        let mut outcome = Outcome::default();
        if let (Some(connection), false) = (connection, steps.is_empty()) {
            connection.hold().await;
        }
        for (at, step) in steps.iter().enumerate() {
            let verdict = self.step(step, connection, &mut outcome).await;
            if verdict.is_err() {
                outcome.left += steps.len() - at;
                for given in &steps[at..] {
                    self.set(given.id, State::Given);
                }
                break;
            }
            outcome.done += 1;
            self.set(step.id, State::Done);
        }
        if let Some(connection) = connection {
            connection.release().await;
        }
        if !steps.is_empty() && outcome.left == 0 {
            self.events.emit(Event::HostDone(name.clone()));
        }
        outcome
    }

    async fn step(
        &self,
        step: &Step,
        connection: Option<&Arc<Connection>>,
        outcome: &mut Outcome,
    ) -> Result<(), ()> {
        let (host, why) = (step.host.clone(), step.why.clone());
        if let Err(other) = self.wait_for_others(step).await {
            let because = match self.plan.steps.iter().find(|step| step.id == other) {
                Some(other) => format!("{} did not get to: {}", other.host, other.why),
                None => "another host failed".to_owned(),
            };
            outcome.skipped.push(host.clone());
            self.events.emit(Event::Skipped { host, why, because });
            return Err(());
        }
        // Held while the step runs: at the next question nothing is under way anywhere.
        let (goes_on, _turn) = self.ask(&host, &why).await;
        if !goes_on || *self.stop.borrow() {
            outcome.interrupted = true;
            return Err(());
        }
        let Some(connection) = connection else {
            outcome.failed.push(Failed {
                host,
                why,
                error: "not connected".to_owned(),
            });
            return Err(());
        };
        if let Err(lost) = self.is_locked(&host) {
            // The lock goes with the connection; where that is what happened, it is what is said.
            let (error, hint) = match connection.is_alive().await {
                true => (lost.to_string(), lost.hint()),
                false => {
                    let error = HostError::Disconnected {
                        command: why.clone(),
                    };
                    (error.to_string(), error.hint())
                }
            };
            let failed = Failed {
                host: host.clone(),
                why: why.clone(),
                error: error.clone(),
            };
            outcome.failed.push(failed);
            self.events.emit(Event::StepFailed {
                host,
                why,
                error,
                hint,
            });
            return Err(());
        }
        self.events.emit(Event::StepStarted {
            host: host.clone(),
            why: why.clone(),
        });
        let began = Instant::now();
        match self.obey(&step.host, &step.action, connection).await {
            Ok(()) => {
                self.events.emit(Event::StepDone {
                    host,
                    why,
                    took: began.elapsed(),
                });
                Ok(())
            }
            Err(error) => {
                let error = explained(error, step, connection).await;
                let hint = error.hint();
                let mut error = error.to_string();
                if let Some(undo) = &step.undo {
                    self.events.emit(Event::RollingBack {
                        host: host.clone(),
                        why: why.clone(),
                    });
                    error = self.roll_back(&step.host, undo, connection, error).await;
                }
                outcome.failed.push(Failed {
                    host: host.clone(),
                    why: why.clone(),
                    error: error.clone(),
                });
                self.events.emit(Event::StepFailed {
                    host,
                    why,
                    error,
                    hint,
                });
                Err(())
            }
        }
    }

    /// Whether nobody else is at work on a host.
    fn is_locked(&self, host: &HostName) -> Result<(), LostLock> {
        self.lock.map_or(Ok(()), |lock| lock.check(host))
    }

    /// Asks whether to go on, if somebody wants to be asked.
    async fn ask(
        &self,
        host: &HostName,
        why: &str,
    ) -> (
        bool,
        Option<MutexGuard<'_, Box<dyn AsyncBufRead + Send + Unpin>>>,
    ) {
        let Pace::StepByStep(input) = self.pace else {
            return (true, None);
        };
        let mut input = input.lock().await;
        if *self.stop.borrow() {
            return (false, None);
        }
        self.events.emit(Event::Asking {
            host: host.clone(),
            why: why.to_owned(),
        });
        let mut line = String::new();
        let mut stop = self.stop.clone();
        let read = tokio::select! {
            read = input.read_line(&mut line) => read.unwrap_or(0),
            _ = stop.wait_for(|stop| *stop) => 0,
        };
        (
            read > 0 && !line.trim_start().starts_with(['q', 'n']),
            Some(input),
        )
    }

    async fn wait_for_others(&self, step: &Step) -> Result<(), StepId> {
        let hard = step.after.iter().map(|id| (id, true));
        for (id, must_succeed) in hard.chain(step.follows.iter().map(|id| (id, false))) {
            let Some((_, state)) = self.states.iter().find(|(other, _)| other == id) else {
                continue;
            };
            let mut state = state.subscribe();
            // The sender lives as long as this run: the wait cannot fail.
            if let Ok(state) = state.wait_for(|state| *state != State::Pending).await
                && *state == State::Given
                && must_succeed
            {
                return Err(*id);
            }
        }
        Ok(())
    }

    fn set(&self, id: StepId, state: State) {
        if let Some((_, sender)) = self.states.iter().find(|(other, _)| *other == id) {
            sender.send_replace(state);
        }
    }

    /// Brings a host back to what worked. Returns the error with what became of it.
    async fn roll_back(
        &self,
        name: &HostName,
        undo: &Undo,
        host: &Arc<Connection>,
        mut error: String,
    ) -> String {
        // Before anything is restarted again: the last words are those of the failure.
        let journal = Command::new([
            "journalctl",
            "-q",
            "-u",
            undo.unit,
            "-n",
            JOURNAL_LINES,
            "--no-pager",
            "-o",
            "cat",
        ]);
        if let Ok(words) = host.run(&journal).await.map(|output| output.stdout_text())
            && !words.trim().is_empty()
            && !error.contains(words.trim())
        {
            error = format!(
                "{error}\nThe last words of {}:\n{}",
                undo.unit,
                words.trim_end()
            );
        }
        for action in &undo.actions {
            // What another run does there now is not to be undone.
            if let Err(lost) = self.is_locked(name) {
                return format!("{error}\n{name} was not brought back to what worked: {lost}");
            }
            if let Action::PutBack { paths } = action {
                match self.put_back(host, paths).await {
                    Ok(said) if said.trim().is_empty() => {}
                    Ok(said) => error = format!("{error}\n{}", said.trim_end()),
                    Err(also) => {
                        return format!(
                            "{error}\n{name} could not be brought back to what worked: {also}"
                        );
                    }
                }
            } else if let Err(also) = self.obey(name, action, host).await {
                return format!("{error}\n{name} could not be brought back to what worked: {also}");
            }
        }
        format!("{error}\n{name} is back to what worked before.")
    }

    async fn obey(
        &self,
        name: &HostName,
        action: &Action,
        host: &Arc<Connection>,
    ) -> Result<(), StepError> {
        match action {
            Action::Run { argv, timeout } => {
                host.check(&Command::new(argv.clone()).timeout(*timeout))
                    .await?;
            }
            Action::RunAnew { argv, timeout } => {
                host.check_anew(&Command::new(argv.clone()).timeout(*timeout))
                    .await?;
            }
            Action::Script {
                name,
                text,
                args,
                timeout,
            } => drop(self.script(host, name, text, args, *timeout).await?),
            Action::Service {
                verb,
                unit,
                timeout,
            } => {
                let args = [verb.as_str(), *unit].map(str::to_owned);
                self.script(host, "systemctl", SERVICE, &args, *timeout)
                    .await?;
            }
            Action::PutFile(file) => self.put(host, file).await?,
            Action::PutBack { paths } => drop(self.put_back(host, paths).await?),
            Action::Restore {
                path,
                present,
                into,
                record,
            } => {
                self.restore(host, path, present, into, *record).await?;
            }
            Action::Note { lines } => drop(self.script(host, "note", NOTE, lines, SHORT).await?),
            Action::Secrets(SecretsFrom::Mint) => self
                .slots
                .fill_store(StoreBundle::mint(&self.plan.cluster)?)?,
            Action::Secrets(SecretsFrom::Fetch) => {
                let json = host.check(&Command::new(["cat", SECRETS_PATH])).await?;
                self.slots.fill_store(StoreBundle::parse(&json)?)?;
            }
            Action::Secrets(SecretsFrom::Rotate) => {
                self.slots
                    .fill_store(self.slots.bundle()?.rotated(&self.plan.cluster)?)?;
            }
            Action::Secrets(SecretsFrom::Retire) => {
                self.slots.fill_store(self.slots.bundle()?.retired())?
            }
            Action::Secrets(SecretsFrom::MintEngines) => self
                .slots
                .fill_engines(EnginesCa::mint(&self.plan.cluster)?),
            Action::Secrets(SecretsFrom::FetchEngines) => {
                let text = host.check(&Command::new(["cat", ENGINES_CA])).await?;
                self.slots.fill_engines(EnginesCa::parse(&text)?);
            }
            Action::OwnCa { cert, key } => self.slots.fill_engines(EnginesCa::read(cert, key)?),
            Action::IssueCertificate {
                by,
                days,
                common_name: name,
                dns_names,
                addresses,
                cert_path,
                key_path,
                owner,
            } => {
                // An engine reads its own when it starts; what only root is to read, only root reads.
                let (mode, read_by) = match by {
                    Authority::Store => ("0640", ""),
                    Authority::Engines => ("0600", engines::UNIT),
                    Authority::Managers => ("0600", ""),
                };
                let (cert, key) = match by {
                    Authority::Store => {
                        let bundle = self.slots.bundle()?;
                        bundle.issue(name, dns_names, addresses, *days)?
                    }
                    Authority::Engines => {
                        let ca = self.slots.engines()?;
                        ca.issue_server(name, dns_names, addresses, *days)?
                    }
                    Authority::Managers => {
                        let ca = self.slots.engines()?;
                        ca.issue_manager(name, dns_names, addresses, *days)?
                    }
                };
                // The key first: a certificate without its key would look whole to the next plan.
                let file = NewFile {
                    path: key_path,
                    mode,
                    owner,
                    source: "key",
                    secrets: "",
                    read_by,
                    ours: None,
                };
                self.write(host, &file, key.expose().as_bytes()).await?;
                let file = NewFile {
                    path: cert_path,
                    mode: "0644",
                    owner,
                    source: "certificate",
                    secrets: "",
                    read_by,
                    ours: None,
                };
                self.write(host, &file, cert.as_bytes()).await?;
            }
            Action::AddFlags { path, flags } => self.add_flags(host, path, flags).await?,
            Action::PushProgram {
                source,
                sha256,
                path,
                address,
            } => {
                let program = programs::fetch(source, sha256);
                let parcel = host
                    .parcels
                    .get(source, program)
                    .await
                    .map_err(StepError::Program)?;
                let file = NewFile {
                    path,
                    mode: "0755",
                    owner: "root:root",
                    source: sha256,
                    secrets: "",
                    read_by: "",
                    ours: None,
                };
                let command = self.put_command(&file, &parcel.sha256);
                let output = parcel.feed(host, *address, &command).await?;
                written(host, path, &command, &output)?;
            }
            Action::EnsureImage {
                image,
                tar,
                sha256,
                address,
            } => {
                let tar = tar.as_deref().map(|path| Tar {
                    path,
                    sha256: sha256.as_deref(),
                });
                crate::images::ensure(host, image, tar, *address)
                    .await
                    .map_err(StepError::Image)?;
            }
            Action::Engine(call) => EngineApi::open(host).await?.call(call).await?,
            Action::Consul(call) => consul::call(host, &self.slots, call).await?,
            Action::WaitFor {
                what,
                argv,
                expect,
                peers,
                deadline,
            } => {
                let question = Question {
                    what,
                    argv,
                    expect,
                    peers,
                    deadline: *deadline,
                };
                self.wait(name, host, &question).await?;
            }
            Action::FetchJoinTokens => {
                let (manager, worker) = EngineApi::open(host).await?.join_tokens().await?;
                self.slots.fill(Slot::ManagerJoinToken, manager);
                self.slots.fill(Slot::WorkerJoinToken, worker);
            }
            Action::MakeKey { address, argv } => {
                let key = host
                    .check(&Command::new(argv.clone()).timeout(SHORT))
                    .await?;
                // It ends in files of other hosts: it may be nothing but a key.
                if !is_public_key(key.trim()) {
                    return Err(StepError::NoKey);
                }
                let key = Secret::new(key.trim().to_owned());
                self.slots.fill(Slot::PublicKey(*address), key);
            }
            Action::JoinSwarm {
                role,
                managers,
                address,
            } => {
                let slot = match role {
                    SwarmRole::Manager => Slot::ManagerJoinToken,
                    SwarmRole::Worker => Slot::WorkerJoinToken,
                };
                let token: Secret = self.slots.get(slot)?;
                managers_answer(host, managers).await?;
                EngineApi::open(host)
                    .await?
                    .join_swarm(managers, &address.to_string(), &token)
                    .await?;
            }
        }
        Ok(())
    }

    /// Puts files back as they were before they were last written. Returns what there is to tell: versions of others that were kept.
    async fn put_back(&self, host: &Connection, paths: &[String]) -> Result<String, StepError> {
        let args: Vec<String> = paths
            .iter()
            .flat_map(|path| [record::key(path), path.clone()])
            .collect();
        self.script(host, "put-back", PUT_BACK, &args, SHORT).await
    }

    /// Runs a script. Returns what it says on standard error.
    async fn script(
        &self,
        host: &Connection,
        name: &str,
        text: &str,
        args: &[String],
        timeout: Duration,
    ) -> Result<String, StepError> {
        let command = Command::script(text, args.iter().cloned()).timeout(timeout);
        let output = host.run(&command).await?;
        if output.status != 0 {
            // A script's name says more than `sh -s --`; both streams may hold the reason.
            return Err(match host.failure(&command, output.status, &output) {
                HostError::Failed { status, stderr, .. } => {
                    let command = format!("{name} {}", args.join(" "));
                    let stderr = format!("{}{}", tail(&output.stdout_text()), stderr);
                    HostError::Failed {
                        command,
                        status,
                        stderr,
                    }
                    .into()
                }
                other => other.into(),
            });
        }
        Ok(output.stderr_text())
    }

    /// Adds flags to the way in which the engine's unit starts it, as that is at this moment.
    async fn add_flags(
        &self,
        host: &Connection,
        path: &str,
        flags: &[String],
    ) -> Result<(), StepError> {
        let facts = probe::gather(host, Scope::Usual).await?;
        let text = api::drop_in(&facts, flags).ok_or(StepError::Unit)?;
        let source = Content::text(text.as_str()).fingerprint();
        let file = NewFile {
            path,
            mode: "0644",
            owner: "root:root",
            source: &source,
            secrets: "",
            read_by: engines::UNIT,
            ours: None,
        };
        self.write(host, &file, text.as_bytes()).await
    }

    async fn put(&self, host: &Connection, file: &PutFile) -> Result<(), StepError> {
        let (bytes, secrets) = self.slots.resolve(&file.content)?;
        let source = Content::fingerprint(&file.content);
        let PutFile {
            path,
            mode,
            owner,
            read_by,
            ours,
            ..
        } = file;
        let read_by = read_by.unwrap_or_default();
        self.write(
            host,
            &NewFile {
                path,
                mode,
                owner,
                source: &source,
                secrets: &secrets,
                read_by,
                ours: ours.as_ref(),
            },
            &bytes,
        )
        .await
    }

    async fn write(
        &self,
        host: &Connection,
        file: &NewFile<'_>,
        bytes: &[u8],
    ) -> Result<(), StepError> {
        let command = self.put_command(file, &sha256_hex(bytes)).stdin(bytes);
        let output = host.run(&command).await?;
        written(host, file.path, &command, &output)
    }

    /// The command that puts a file in place, with its content on standard input.
    fn put_command(&self, file: &NewFile<'_>, sha256: &str) -> Command {
        let record = Record {
            path: file.path.to_owned(),
            sha256: sha256.to_owned(),
            source: file.source.to_owned(),
            secrets: file.secrets.to_owned(),
            by: self.by.clone(),
            at: time::OffsetDateTime::now_utc().unix_timestamp(),
            ours: file.ours.cloned(),
        };
        let (key, record) = (record::key(file.path), json!(record).to_string());
        let NewFile {
            path,
            mode,
            owner,
            read_by,
            ..
        } = file;
        Command::new([
            "sh", "-c", PUT_FILE, "put-file", path, mode, owner, sha256, &key, &record, read_by,
        ])
        .timeout(PUT_TIMEOUT)
    }

    async fn restore(
        &self,
        host: &Connection,
        path: &str,
        present: &str,
        into: &Restored,
        record: Recorded,
    ) -> Result<(), StepError> {
        let (way, text) = match into {
            Restored::Original => ("original", ""),
            Restored::Aside => ("aside", ""),
            Restored::Merged(text) => ("merged", text.as_str()),
        };
        let kept = match record {
            Recorded::Dropped => "drop",
            Recorded::Kept => "keep",
        };
        let argv = [
            "sh",
            "-c",
            RESTORE,
            "restore",
            &record::key(path),
            path,
            present,
            way,
            kept,
        ];
        let command = Command::new(argv).stdin(text.as_bytes());
        let output = host.run(&command).await?;
        match output.status {
            0 => Ok(()),
            status => Err(match host.failure(&command, status, &output) {
                HostError::Failed { status, stderr, .. } => HostError::Failed {
                    command: format!("restoring {path}"),
                    status,
                    stderr,
                }
                .into(),
                other => other.into(),
            }),
        }
    }

    /// Whether a host has left the run.
    fn has_left(&self, host: &HostName) -> bool {
        let given = |step: &Step| {
            self.states
                .iter()
                .any(|(id, state)| *id == step.id && *state.borrow() == State::Given)
        };
        self.plan.steps_of(host).any(given)
    }

    async fn wait(
        &self,
        name: &HostName,
        host: &Connection,
        question: &Question<'_>,
    ) -> Result<(), StepError> {
        let begun = Instant::now();
        let end = begun + question.deadline;
        let command =
            Command::new(question.argv.to_vec()).timeout(POLL_QUESTION.min(question.deadline));
        loop {
            let last_words = match host.run(&command).await {
                Ok(output) => {
                    let text = output.stdout_text();
                    let peers = question
                        .peers
                        .iter()
                        .filter(|(peer, _)| !self.has_left(peer))
                        .map(|(_, word)| word);
                    let missing: Vec<&str> = question
                        .expect
                        .iter()
                        .chain(peers)
                        .filter(|word| !text.contains(word.as_str()))
                        .map(String::as_str)
                        .collect();
                    match (output.status, missing.is_empty()) {
                        (0, true) => return Ok(()),
                        (0, false) => format!(
                            "{}\n(still missing: {})",
                            text.trim_end(),
                            missing.join(", ")
                        ),
                        _ => format!("{}{text}", output.stderr_text()),
                    }
                }
                // With the connection itself gone, asking again would only wait for the deadline.
                Err(error @ HostError::Disconnected { .. }) if !host.is_alive().await => {
                    return Err(error.into());
                }
                // The host may be busy: a command that was lost or late is asked again until the deadline.
                Err(
                    error @ (HostError::Disconnected { .. } | HostError::CommandTimedOut { .. }),
                ) => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if Instant::now() >= end {
                let words = tail(&last_words);
                let last_words = if words.trim().is_empty() {
                    String::new()
                } else {
                    format!("\n{}", words.trim_end())
                };
                return Err(StepError::Waited {
                    what: question.what.to_owned(),
                    after: question.deadline,
                    last_words,
                });
            }
            self.events.emit(Event::StepProgress {
                host: name.clone(),
                what: question.what.to_owned(),
            });
            tokio::time::sleep(if begun.elapsed() < SOON {
                POLL
            } else {
                POLL_LATER
            })
            .await;
        }
    }
}

/// A file that is written, but for its content.
struct NewFile<'a> {
    path: &'a str,
    mode: &'a str,
    owner: &'a str,
    /// What its content was made from, for the record.
    source: &'a str,
    /// The checksum of the secrets in it; empty if there are none.
    secrets: &'a str,
    /// The unit that reads it when it starts; empty if there is none.
    read_by: &'a str,
    /// See [`Record::ours`].
    ours: Option<&'a Options>,
}

fn written(
    host: &Connection,
    path: &str,
    command: &Command,
    output: &Output,
) -> Result<(), StepError> {
    match output.status {
        0 => Ok(()),
        status => Err(match host.failure(command, status, output) {
            HostError::Failed { status, stderr, .. } => HostError::Failed {
                command: format!("writing {path}"),
                status,
                stderr,
            }
            .into(),
            other => other.into(),
        }),
    }
}

/// A condition that is asked for until it holds.
struct Question<'a> {
    what: &'a str,
    argv: &'a [String],
    expect: &'a [String],
    peers: &'a [(HostName, String)],
    deadline: Duration,
}

fn tail(text: &str) -> String {
    let mut at = text.len().saturating_sub(LAST_WORDS);
    while !text.is_char_boundary(at) {
        at += 1;
    }
    text[at..].to_owned()
}
