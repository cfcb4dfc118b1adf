//! Proof: an nginx on every host, asked by name from every other, and every ordered pair a cell of a matrix.
//!
//! One SSH command per source host, many sources in parallel. Probe containers are labelled, have a name of their run, end by
//! themselves, and are removed in any case.

mod autopsy;
mod bench;
mod direct;
mod forge;
mod links;
mod mesh;
mod peers;
mod runs;
mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::sync::watch;

pub use autopsy::Reports;
pub use bench::PAIR_TIME;

use direct::Started;
use peers::Missing;
use runs::Running;
use wire::Watch;

use crate::engine_api;
use crate::event::{Event, Events};
use crate::fabrics;
use crate::host::{Command, Connection, HostError, Hosts, Output};
use crate::images::{self, Tar};
use crate::inventory::{HostName, Inventory, container_name};
use crate::labels::PROBE_PREFIX;
use crate::proof::causes;
use crate::proof::{Asked, Direction, Failure, HostView, Ill, Matrix, Pair, Probes, read};
use crate::words::reason;

const START: &str = concat!(
    include_str!("../../templates/verify/engine.sh"),
    include_str!("../../templates/verify/neighbours.sh"),
    include_str!("../../templates/verify/probe-failed.sh"),
    include_str!("../../templates/verify/probe-start.sh")
);
const FAILED: &str = concat!(
    include_str!("../../templates/verify/engine.sh"),
    include_str!("../../templates/verify/probe-failed.sh"),
    "words=$1\nfailed\n"
);
const SERVE: &str = include_str!("../../templates/verify/probe-serve.sh");
const REMOVE: &str = concat!(
    include_str!("../../templates/verify/engine.sh"),
    include_str!("../../templates/verify/probe-remove.sh")
);
const PROBE: &str = include_str!("../../templates/verify/probe.sh");

/// How long a probe container lives at least, in seconds, on top of what its run is going to do: well beyond what starts and autopsies
/// take, and short enough that a killed run bothers nobody.
const PROBE_LIFETIME: u64 = 900;

/// How long a host tries the others until a pair counts as broken, in seconds from its first question. Gossip spreads a new name in a
/// second or two; a lost packet of TCP is sent again after one, two and four.
const PAIR_DEADLINE: u64 = 15;

/// The same while its engine has not learned of the other's container: what gossip has missed comes with a bulk sync, which engines
/// do every 30 s. Fifteen seconds were seen, after an engine came back to the network.
const LEARN_DEADLINE: u64 = 40;

/// How long pairs are tried again that fail for nothing but what engines have yet to tell each other, in seconds. Engines compare all
/// they know about a network, and about who is on it, with one other each: both every 30 s, for the first time up to 60 s after they
/// came (networkdb's `bulkSyncTables`, memberlist's push and pull). One who is told of neither needs both, one after the other.
const NEWS_DEADLINE: u64 = 75;

/// How long a pair is tried at least, in seconds: those that come late, behind others that are dead, have less to wait for, as their
/// names had that time to spread. Long enough that one lost packet is sent again.
const PAIR_LEAST: u64 = 5;

/// How long the last attempt of a pair goes on after that, in seconds: four requests, of three seconds each if they are not answered.
const LAST_ATTEMPT: u64 = 12;

/// How many other hosts a host asks at a time. Each is a shell and four requests: thirty hosts that asked all others at once brought a
/// machine that carries them all to a load of 170, and answers came after their deadline. Eight keep a fast host busy.
const AT_A_TIME: usize = 8;

/// How many hosts start their probes, or ask, at a time. A start is seconds of an engine's work, and in swarm mode the managers find
/// an address for each; where hosts share cores (virtual machines, the lab) more at once only wait for each other. With
/// [`AT_A_TIME`] it bounds what the network under test has to carry at once.
const HOSTS_AT_A_TIME: usize = 10;

/// How long starting a probe may take: the engine makes the network's sandbox, and a store without quorum answers after 14 s
/// (`facts.md`).
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long removing a probe may take: a second or two, on a busy host ten. It ends by itself as well.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a probe that does not start is tried again: while a swarm or a store elects a leader, its networks are not found, and an
/// election takes some seconds.
const START_DEADLINE: Duration = Duration::from_secs(12);

/// How often.
const START_POLL: Duration = Duration::from_millis(700);

/// Exit status of the start script for a missing image.
const NO_IMAGE: i32 = 3;

/// The same for an engine, or an agent of its store, that is down for now: no other try would find it up.
const NO_ENGINE: i32 = 4;

/// The same for an engine that is stopped, and is not to be started by a question.
const STOPPED: i32 = 5;

/// A probe that runs.
#[derive(Debug, Clone)]
struct Probe {
    container: String,
    nonce: String,
    address: Ipv4Addr,
    /// What the others ask: its name, its address, or an address and a port.
    target: String,
    mac: String,
    /// How often its host had refused a neighbour when it started.
    refused: u64,
    /// The same of packets by where they came from.
    sources_refused: u64,
}

/// How a verification looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Only what fails is looked at below HTTP.
    #[default]
    Failures,
    /// Every layer of every pair.
    Everything,
}

/// What a verification does.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// How deep.
    pub depth: Depth,
    /// The directions to measure, after all of them are verified.
    pub measure: Vec<Direction>,
    /// The hosts' private addresses, for the measurement over the bare underlay.
    pub underlay: BTreeMap<HostName, IpAddr>,
}

/// Verifies the hosts. Those that cannot take part are in the matrix too, as what they are: pairs that do not reach.
pub async fn verify(
    inventory: &Inventory,
    hosts: &Hosts,
    absent: &BTreeMap<HostName, Ill>,
    look: &Look,
    events: &Events,
    mut stop: watch::Receiver<bool>,
) -> (Matrix, Reports) {
    let began = std::time::Instant::now();
    let mut reports = Reports::new();
    let run = Running::begin();
    let lifetime = lifetime(hosts.len(), look.measure.len());
    let way = fabrics::probes(inventory);
    let work = async {
        let encrypted = inventory.network.encrypted;
        let published = match way.asked {
            Asked::ByPublishedPort => autopsy::private_addresses(inventory, hosts).await,
            Asked::ByName | Asked::ByAddress => BTreeMap::new(),
        };
        let question = peers::Question {
            network: &way.network,
            encrypted,
        };
        let told = match way.asked {
            Asked::ByName => peers::complete(&question, hosts, events).await,
            // Their engines know nothing of each other, and need not.
            Asked::ByAddress | Asked::ByPublishedPort => peers::Told::default(),
        };
        let start = Start {
            inventory,
            way: &way,
            published: &published,
            run: &run,
            lifetime,
        };
        let (probes, mut broken) = start_all(&start, hosts, events).await;
        let watch = match encrypted {
            true => {
                Some(Watch::begin(hosts, &probes, inventory.swarm.data_path_port, lifetime).await)
            }
            false => None,
        };
        let all = look.depth == Depth::Everything;
        let mesh = match all {
            true => mesh::Watch::begin(inventory, hosts, &probes, lifetime).await,
            false => None,
        };
        let mut matrix =
            ask_all(inventory, &way, hosts, absent, &probes, &mut broken, events).await;
        let encryption = match watch {
            Some(watch) => Some(watch.end(&probes, &told.addresses, &mut reports).await),
            None => None,
        };
        let wire = match mesh {
            Some(watch) => Some(watch.end(&mut reports).await),
            None => None,
        };
        // Where the hosts reach each other, if somebody looked.
        let mut private = BTreeMap::new();
        // A host that could not take part is a reason to look, also where no pair is left that it could be part of.
        if all || !matrix.ok() || !broken.is_empty() || !absent.is_empty() {
            let mut ill = broken;
            ill.extend(absent.iter().map(|(name, ill)| (name.clone(), ill.clone())));
            let mut below = Below {
                inventory,
                hosts,
                ill: &ill,
                probes: &probes,
                unlisted: &told.missing,
                waited: Duration::ZERO,
            };
            private = explain(&below, all, &mut matrix, &mut reports, events).await;
            if let Some((pairs, again)) = worth_asking_again(&matrix) {
                ask_again(&mut below, &pairs, again, &mut matrix, events).await;
                matrix.verdicts.clear();
                if all || !matrix.ok() || !ill.is_empty() {
                    explain(&below, all, &mut matrix, &mut reports, events).await;
                }
            }
        }
        if all && inventory.is_guarded() {
            let forgery = forge::look(&way.network, hosts, &probes, &private, &mut reports).await;
            matrix.add_all("forged-packet", forgery.findings());
            matrix.forgery = Some(forgery);
        }
        if let Some(encryption) = encryption {
            matrix.add_all(
                "not-encrypted",
                encryption.findings(&matrix.network, !told.sealed),
            );
            matrix.notes.extend(causes::flaws(&told.versions));
            matrix.encryption = Some(encryption);
        }
        if let Some(wire) = wire {
            matrix.add_all("mesh-leak", wire.findings());
            matrix.wire = Some(wire);
        }
        if !look.measure.is_empty() {
            matrix.bench =
                bench::measure(hosts, &probes, &look.underlay, &look.measure, events).await;
        }
        matrix
    };
    let stopped = async {
        // The sender lives as long as the program.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let mut matrix = tokio::select! {
        matrix = work => matrix,
        () = stopped => Matrix::interrupted(inventory, &way),
    };
    remove_all(hosts, &run.name, events).await;
    run.end();
    matrix.took = began.elapsed();
    (matrix, reports)
}

/// How long the probes of a run have to live: all hosts ask, in turns, and then directions are measured one after the other.
fn lifetime(hosts: usize, measured: usize) -> Duration {
    let turns = u32::try_from(hosts.div_ceil(HOSTS_AT_A_TIME)).unwrap_or(u32::MAX);
    let measured = u32::try_from(measured).unwrap_or(u32::MAX);
    let asking = ask_limit(hosts.saturating_sub(1)).saturating_mul(turns);
    let asking = asking
        .saturating_add(Duration::from_secs(NEWS_DEADLINE))
        .saturating_add(asking);
    Duration::from_secs(PROBE_LIFETIME)
        .saturating_add(asking)
        .saturating_add(PAIR_TIME.saturating_mul(measured))
}

/// How long a host may take to ask that many others: if all of them are dead, one after the other.
fn ask_limit(targets: usize) -> Duration {
    let in_a_row = u64::try_from(targets.div_ceil(AT_A_TIME)).unwrap_or(u64::MAX);
    Duration::from_secs(
        LEARN_DEADLINE.saturating_add(in_a_row.saturating_mul(PAIR_LEAST + LAST_ATTEMPT)),
    )
}

/// What a look at the layers below starts from.
struct Below<'a> {
    inventory: &'a Inventory,
    hosts: &'a Hosts,
    ill: &'a BTreeMap<HostName, Ill>,
    probes: &'a BTreeMap<HostName, Probe>,
    /// Which engines did not list which others when the probes started.
    unlisted: &'a Missing,
    /// How long the engines were given to learn of each other, beyond what every pair is given.
    waited: Duration,
}

/// Says why pairs fail. Returns where the hosts reach each other.
async fn explain(
    below: &Below<'_>,
    all: bool,
    matrix: &mut Matrix,
    reports: &mut Reports,
    events: &Events,
) -> BTreeMap<HostName, IpAddr> {
    let Below {
        inventory,
        hosts,
        ill,
        probes,
        ..
    } = *below;
    for host in hosts.keys() {
        let why = "look at the layers below".to_owned();
        events.emit(Event::StepStarted {
            host: host.clone(),
            why,
        });
    }
    let mut known = autopsy::examine(inventory, hosts, ill, reports).await;
    for (name, probe) in probes {
        if let Some(view) = known.hosts.get_mut(name) {
            view.probe_mac.clone_from(&probe.mac);
            view.probe_address = Some(probe.address);
            let since = |view: &HostView, key: &str, before: u64| {
                let now = view.check(key).and_then(|count| count.parse::<u64>().ok());
                now.unwrap_or(0).saturating_sub(before)
            };
            view.neighbours_refused = since(view, "neighbours-refused", probe.refused);
            view.sources_refused = since(view, "sources-refused", probe.sources_refused);
        }
    }
    known.waited = below.waited;
    known.resolving = matrix.resolving();
    for (name, others) in below.unlisted {
        if let Some(view) = known.hosts.get_mut(name) {
            view.unlisted.clone_from(others);
        }
    }
    matrix.judge(&known, all);
    if all {
        // A pair that works has no verdict to say it in. A second look says the same.
        let unseen = known.not_looked_at();
        matrix.notes.retain(|note| !unseen.contains(note));
        matrix.notes.extend(unseen);
    }
    let stale = causes::stale_endpoints(&known);
    // Who was not asked may have the container.
    if !stale.is_empty()
        && hosts.len() == inventory.hosts.len()
        && known.hosts.values().all(|view| view.ill.is_none())
    {
        let still =
            causes::stale_endpoints(&autopsy::examine(inventory, hosts, ill, reports).await);
        let both = stale
            .into_iter()
            .filter(|(id, _)| still.contains_key(id))
            .collect();
        if let Some(finding) = causes::stale_finding(&known, &both) {
            matrix.add_all("stale-endpoint", vec![finding]);
        }
    }
    let private = |(name, view): (HostName, HostView)| Some((name, view.private?));
    known.hosts.into_iter().filter_map(private).collect()
}

/// The name of a run's probe on a host: the host name of the container, and what the others ask for.
fn probe_name(run: &str, host: &HostName) -> String {
    container_name(&format!("{PROBE_PREFIX}{run}"), host)
}

/// Why pairs are asked once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Their engines have yet to tell each other something.
    News,
    /// They failed, and nothing was found below them: what it was may be over, on hosts that have much to do.
    Unexplained,
}

impl Again {
    fn patience(self) -> Patience {
        match self {
            Self::News => Patience {
                answer: NEWS_DEADLINE,
                learn: NEWS_DEADLINE,
            },
            Self::Unexplained => Patience::default(),
        }
    }

    fn why(self) -> String {
        match self {
            Self::News => {
                let limit = humantime::format_duration(Duration::from_secs(NEWS_DEADLINE));
                format!("the engines still learn of each other, up to {limit}")
            }
            Self::Unexplained => "ask once more: nothing is wrong below".to_owned(),
        }
    }
}

fn worth_asking_again(matrix: &Matrix) -> Option<(Vec<Direction>, Again)> {
    [
        (matrix.may_heal(), Again::News),
        (matrix.unexplained(), Again::Unexplained),
    ]
    .into_iter()
    .find(|(pairs, _)| !pairs.is_empty())
}

/// Asks those pairs once more.
async fn ask_again(
    below: &mut Below<'_>,
    pairs: &[Direction],
    again: Again,
    matrix: &mut Matrix,
    events: &Events,
) {
    let began = Instant::now();
    let mut by_source: BTreeMap<&HostName, Vec<&Probe>> = BTreeMap::new();
    for Direction { from, to } in pairs {
        by_source
            .entry(from)
            .or_default()
            .extend(below.probes.get(to));
    }
    let (hosts, probes) = (below.hosts, below.probes);
    let asks = by_source
        .into_iter()
        .filter_map(|(from, targets)| Some((from, targets, hosts.get(from)?, probes.get(from)?)));
    let patience = &again.patience();
    let asks = asks.map(|(from, targets, host, own)| async move {
        events.emit(Event::StepStarted {
            host: from.clone(),
            why: again.why(),
        });
        (from, ask(host, own, &targets, patience).await)
    });
    for (from, answers) in on_each(asks).await {
        // Who cannot be asked any more has nothing new to say.
        let Ok(answers) = answers else { continue };
        for pair in matrix.pairs.iter_mut().filter(|pair| pair.from == *from) {
            let Some(line) = probes
                .get(&pair.to)
                .and_then(|probe| answers.get(&probe.container))
            else {
                continue;
            };
            *pair = Pair::new(&pair.from, &pair.to, read(&pair.to, Some(line)));
            if pair.ok && again == Again::Unexplained {
                matrix.notes.push(format!(
                    "{} -> {}: no answer in {PAIR_DEADLINE} s, and one when asked again; nothing was wrong below",
                    pair.from, pair.to
                ));
            }
        }
    }
    below.waited = began.elapsed();
}

/// Does something on all hosts, on so many at a time that they do not get into each other's way.
async fn on_each<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::stream::iter(work)
        .buffer_unordered(HOSTS_AT_A_TIME)
        .collect()
        .await
}

/// What all probes of a run are started with.
struct Start<'a> {
    inventory: &'a Inventory,
    way: &'a Probes,
    /// The addresses on which hosts publish a port of their probe, where the others are to ask there.
    published: &'a BTreeMap<HostName, IpAddr>,
    run: &'a Running,
    lifetime: Duration,
}

async fn start_all(
    with: &Start<'_>,
    hosts: &Hosts,
    events: &Events,
) -> (BTreeMap<HostName, Probe>, BTreeMap<HostName, Ill>) {
    let starts = hosts.iter().map(|(name, host)| async move {
        events.emit(Event::StepStarted {
            host: name.clone(),
            why: "start a probe container".to_owned(),
        });
        (name.clone(), start(with, name, host, events).await)
    });
    let (mut probes, mut broken) = (BTreeMap::new(), BTreeMap::new());
    for (name, result) in on_each(starts).await {
        match result {
            Ok(probe) => {
                probes.insert(name, probe);
            }
            Err(ill) => {
                broken.insert(name, ill);
            }
        }
    }
    (probes, broken)
}

async fn start(
    with: &Start<'_>,
    name: &HostName,
    host: &Connection,
    events: &Events,
) -> Result<Probe, Ill> {
    let Start {
        inventory,
        way,
        run,
        ..
    } = with;
    fn broken(error: impl std::fmt::Display) -> Ill {
        Ill::NoProbe(error.to_string())
    }
    let container = probe_name(&run.name, name);
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let image = &inventory.smoke.image;
    // Nothing is published where nobody is to ask there.
    let publish = with.published.get(name);
    let wanted = direct::Wanted {
        cluster: inventory.cluster.as_str(),
        network: &way.network,
        image,
        name: &container,
        lifetime: with.lifetime,
        nonce: &nonce,
        publish: publish.map(IpAddr::to_string),
        dead: &run.dead,
    };
    let began = Instant::now();
    loop {
        let (output, found) = attempt(host, &wanted).await.map_err(broken)?;
        match output.status {
            0 => {
                let found = found.ok_or_else(|| {
                    broken(format!(
                        "its engine does not tell the address of a container on the network: {}",
                        reason(&output.stdout_text())
                    ))
                })?;
                let Located {
                    address,
                    mac,
                    refused,
                    sources_refused,
                    port,
                } = found;
                let target = match (way.asked, with.published.get(name), port) {
                    (Asked::ByName, ..) => container.clone(),
                    (Asked::ByAddress, ..) => address.to_string(),
                    (Asked::ByPublishedPort, Some(host), Some(port)) => format!("{host}:{port}"),
                    (Asked::ByPublishedPort, ..) => {
                        return Err(broken("its engine publishes no port for a container"));
                    }
                };
                return Ok(Probe {
                    container,
                    nonce,
                    address,
                    target,
                    mac,
                    refused,
                    sources_refused,
                });
            }
            NO_IMAGE => {
                let what = format!("fetch the smoke-test image {image}");
                events.emit(Event::StepProgress {
                    host: name.clone(),
                    what,
                });
                let tar = inventory.smoke.tar.as_deref().map(Tar::unchecked);
                images::ensure(host, image, tar, None)
                    .await
                    .map_err(broken)?;
            }
            STOPPED => return Err(Ill::Stopped),
            status if status == NO_ENGINE || began.elapsed() >= patience(&output.stderr_text()) => {
                let words = output.stderr_text();
                return Err(broken(format!(
                    "its engine cannot start a container on the network: {}",
                    reason(&words)
                )));
            }
            _ => {
                // The engine may have made the container and failed to start it.
                remove(host, &container).await.map_err(broken)?;
                tokio::time::sleep(START_POLL).await;
            }
        }
    }
}

/// Tries to start one: its exit status and words are those of the script, whichever way it went.
async fn attempt(
    host: &Connection,
    wanted: &direct::Wanted<'_>,
) -> Result<(Output, Option<Located>), HostError> {
    let output = match direct::start(host, wanted).await? {
        Started::Runs(located) => return Ok((Output::default(), Some(located))),
        // What its engine lacks is not in its words.
        Started::Refused(words) => host.run(&Command::script(FAILED, [words])).await?,
        Started::Said(output) => output,
        Started::NoWay => {
            let lifetime = wanted.lifetime.as_secs().to_string();
            let publish = wanted
                .publish
                .as_ref()
                .map(|address| format!("{address}::80"));
            let publish = publish.unwrap_or_default();
            let mut args = vec![
                wanted.cluster,
                wanted.network,
                wanted.image,
                wanted.name,
                &lifetime,
                wanted.nonce,
                &publish,
                SERVE,
            ];
            args.extend(wanted.dead.iter().map(String::as_str));
            host.run(&Command::script(START, args).timeout(START_TIMEOUT))
                .await?
        }
    };
    let located = where_it_is(&output.stdout_text());
    Ok((output, located))
}

/// Where a probe is, by the word of its host.
struct Located {
    address: Ipv4Addr,
    mac: String,
    /// How many neighbours its host had refused.
    refused: u64,
    /// How many packets by where they came from.
    sources_refused: u64,
    /// The port that its host publishes for it, if it was asked to.
    port: Option<u16>,
}

/// What a host says of its probe: nothing but this, since all other hosts ask there.
fn where_it_is(text: &str) -> Option<Located> {
    let mut words = text.split_whitespace();
    let address = words.next()?.parse().ok()?;
    let mac = words.next()?.to_owned();
    let mut count = || {
        words
            .next()
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
    };
    let (refused, sources_refused) = (count(), count());
    let port = words.next().and_then(|port| port.parse().ok());
    is_mac(&mac).then_some(Located {
        address,
        mac,
        refused,
        sources_refused,
        port,
    })
}

fn is_mac(text: &str) -> bool {
    let is_byte =
        |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(is_byte)
}

fn patience(words: &str) -> Duration {
    if engine_api::waits_for_a_manager(words) {
        engine_api::ATTACH_DEADLINE
    } else {
        START_DEADLINE
    }
}

async fn ask_all(
    inventory: &Inventory,
    way: &Probes,
    hosts: &Hosts,
    absent: &BTreeMap<HostName, Ill>,
    probes: &BTreeMap<HostName, Probe>,
    broken: &mut BTreeMap<HostName, Ill>,
    events: &Events,
) -> Matrix {
    let asks = hosts
        .iter()
        .filter_map(|(name, host)| Some((name, host, probes.get(name)?)))
        .map(|(name, host, probe)| async move {
            events.emit(Event::StepStarted {
                host: name.clone(),
                why: format!(
                    "wget from {name} to every other host, {}",
                    way.asked.in_words()
                ),
            });
            let (before, after): (Vec<_>, Vec<_>) = probes
                .iter()
                .filter(|(other, _)| *other != name)
                .partition(|(other, _)| *other < name);
            // From its own place in the list on: not all of them ask the same one first.
            let targets: Vec<&Probe> = after
                .into_iter()
                .chain(before)
                .map(|(_, probe)| probe)
                .collect();
            let answers = ask(host, probe, &targets, &Patience::default()).await;
            events.emit(Event::HostDone(name.clone()));
            (name.clone(), answers)
        });
    let answers: BTreeMap<HostName, Result<BTreeMap<String, String>, HostError>> =
        on_each(asks).await.into_iter().collect();
    let members: Vec<&HostName> = inventory
        .hosts
        .iter()
        .map(|host| &host.name)
        .filter(|name| hosts.contains_key(*name) || absent.contains_key(*name))
        .collect();
    let mut matrix = Matrix::new(
        inventory,
        way,
        members.iter().map(|name| (*name).clone()).collect(),
    );
    for from in &members {
        for to in members.iter().filter(|to| *to != from) {
            let ill = |host: &HostName| {
                let ill = absent.get(host).or_else(|| broken.get(host));
                ill.map(|ill| Failure::unasked(to, format!("{host}: {}", ill.words())))
            };
            let result = match (
                ill(from).or_else(|| ill(to)),
                answers.get(*from),
                probes.get(*to),
            ) {
                (Some(failure), _, _) => Err(failure),
                (None, Some(Ok(lines)), Some(target)) => {
                    read(to, lines.get(&target.container).map(String::as_str))
                }
                (None, Some(Err(error)), _) => {
                    Err(Failure::unasked(to, format!("{from}: {error}")))
                }
                _ => Err(Failure::unasked(to, "it was not asked")),
            };
            matrix.pairs.push(Pair::new(from, to, result));
        }
    }
    // Only now: a probe that cannot ask may well have answered.
    let mute = answers
        .iter()
        .filter_map(|(name, answer)| Some((name, answer.as_ref().err()?)));
    broken.extend(mute.map(|(name, error)| {
        (
            name.clone(),
            Ill::NoProbe(format!("its probe could not be asked: {error}")),
        )
    }));
    matrix
}

/// How long pairs are tried, in seconds.
struct Patience {
    /// From the first question of a host on.
    answer: u64,
    /// The same while its engine has not learned of the other's container.
    learn: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: PAIR_DEADLINE,
            learn: LEARN_DEADLINE,
        }
    }
}

/// One SSH command: those probes from this one. Returns the line of each target, by container name.
async fn ask(
    host: &Connection,
    own: &Probe,
    targets: &[&Probe],
    patience: &Patience,
) -> Result<BTreeMap<String, String>, HostError> {
    let workers = u64::try_from(AT_A_TIME.min(targets.len())).unwrap_or(1);
    let mut arguments: Vec<String> = [patience.answer, patience.learn, PAIR_LEAST, workers]
        .map(|number| number.to_string())
        .to_vec();
    for probe in targets {
        arguments.extend([
            probe.container.clone(),
            probe.nonce.clone(),
            probe.target.clone(),
            probe.address.to_string(),
        ]);
    }
    let limit = ask_limit(targets.len())
        + Duration::from_secs(patience.learn.saturating_sub(LEARN_DEADLINE));
    let text = match direct::exec(host, &own.container, PROBE, &arguments, limit).await? {
        Some(text) => text,
        None => {
            let argv = ["docker", "exec", "-i", &own.container, "sh", "-s", "--"];
            let argv = argv.map(str::to_owned).into_iter().chain(arguments);
            host.check(&Command::new(argv).stdin(PROBE).timeout(limit))
                .await?
        }
    };
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        .collect())
}

async fn remove(host: &Connection, container: &str) -> Result<Output, HostError> {
    match direct::remove(host, container, REMOVE_TIMEOUT).await? {
        Some(output) => Ok(output),
        None => {
            let script = Command::script(REMOVE, [container]).timeout(REMOVE_TIMEOUT);
            host.run(&script).await
        }
    }
}

async fn remove_all(hosts: &Hosts, run: &str, events: &Events) {
    let removals = hosts.iter().map(|(name, host)| async move {
        // By name, whether the start of it is known to have worked or not.
        match remove(host, &probe_name(run, name)).await {
            Ok(output) if output.status == 0 || output.stderr_text().contains("No such container") => {}
            Ok(output) => {
                let words = output.stderr_text();
                let why = if words.trim().is_empty() { "its engine does not answer" } else { words.trim() };
                events.emit(Event::Note(format!(
                    "{name}: the probe container could not be removed ({why}); if there is one, it ends by itself"
                )));
            }
            Err(error) => events.emit(Event::Note(format!(
                "{name}: the probe container could not be removed ({error}); it ends by itself"
            ))),
        }
    });
    on_each(removals).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_where_its_probe_is_and_nothing_else() {
        let found = where_it_is("10.90.0.4 02:42:0a:5a:00:04 7 2\n").unwrap();
        assert_eq!(
            (found.address, &*found.mac, found.refused),
            (Ipv4Addr::new(10, 90, 0, 4), "02:42:0a:5a:00:04", 7)
        );
        assert_eq!(found.port, None);
        assert_eq!(
            where_it_is("10.90.0.4 02:42:0a:5a:00:04 7 2 32768\n")
                .unwrap()
                .port,
            Some(32768)
        );
        let long = "x".repeat(1 << 20);
        for strange in [
            "",
            "10.90.0.4",
            "169.254.169.254/x? 02:42:0a:5a:00:04",
            "10.90.0.4 .*",
            &long,
        ] {
            assert!(where_it_is(strange).is_none());
        }
    }

    #[test]
    fn probes_live_as_long_as_their_run() {
        assert!(lifetime(2, 0) < Duration::from_secs(1200));
        // All directions of twelve hosts, one after the other.
        assert!(lifetime(12, 132) > PAIR_TIME * 132 + ask_limit(11));
        assert!(lifetime(100, 0) > ask_limit(99) * 10);
    }
}
