//! The matrix: every ordered pair of hosts, and why a pair fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::causes::{About, Case, Finding, UNEXPLAINED, explain};
use super::encryption::Encryption;
use super::figures::Measurement;
use super::forgery::Forgery;
use super::known::Known;
use super::probes::{Asked, Probes};
use super::wire::Wire;
use crate::inventory::{HostName, Inventory};

/// At which layer a pair failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// One of the two could not take part.
    Unasked,
    /// The name.
    Name,
    /// A short request.
    Http,
    /// A body longer than a packet, towards the one who asked.
    Large,
    /// The same, from the one who asked.
    Upload,
}

/// How a pair failed, as the one who asked saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub layer: Layer,
    /// Whether the container answers by its address.
    pub by_address: bool,
    /// What wget said.
    pub words: String,
    /// Who was asked.
    pub to: HostName,
}

impl Failure {
    /// One of the two could not take part, with why.
    pub fn unasked(to: &HostName, words: impl Into<String>) -> Self {
        Self {
            layer: Layer::Unasked,
            by_address: false,
            words: words.into(),
            to: to.clone(),
        }
    }

    /// The bare fact, for when no cause is found.
    #[must_use]
    pub fn sentence(&self) -> String {
        let said = if self.words.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.words)
        };
        let to = &self.to;
        match self.layer {
            Layer::Unasked => self.words.clone(),
            Layer::Name => format!("the name of the container on {to} does not resolve{said}"),
            Layer::Http => format!("the container on {to} does not answer over the network{said}"),
            Layer::Large => {
                format!("{to} answers, but a body larger than one packet does not arrive{said}")
            }
            Layer::Upload => {
                format!("{to} answers, but does not get a body larger than one packet{said}")
            }
        }
    }
}

/// One ordered pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Who asked.
    pub from: HostName,
    /// Who was asked.
    pub to: HostName,
    /// Whether the answer came, with the nonce, short and long, both ways.
    pub ok: bool,
    /// Time of one request by name, connection included, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Why not, as a sentence.
    pub cause: Option<String>,
    /// How it failed.
    #[serde(skip)]
    pub failure: Option<Failure>,
}

impl Pair {
    /// A pair with what came of asking: the time of one request in milliseconds, or how it failed.
    pub fn new(from: &HostName, to: &HostName, result: Result<f64, Failure>) -> Self {
        let (ok, latency_ms, failure) = match result {
            Ok(latency) => (true, Some(latency), None),
            Err(failure) => (false, None, Some(failure)),
        };
        let cause = failure.as_ref().map(Failure::sentence);
        Self {
            from: from.clone(),
            to: to.clone(),
            ok,
            latency_ms,
            cause,
            failure,
        }
    }
}

/// Two hosts, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Direction {
    /// From this one.
    pub from: HostName,
    /// To this one.
    pub to: HostName,
}

/// One cause, with all that it explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The name of the cause in the table; stable.
    pub cause: &'static str,
    /// The sentence, without its subject.
    pub what: String,
    /// What to run or change.
    pub fix: String,
    /// The hosts that it is about.
    pub hosts: Vec<HostName>,
    /// The directions that it is about.
    pub links: Vec<Direction>,
    /// The pairs that it explains.
    pub pairs: Vec<Direction>,
    /// What was observed.
    pub observed: Vec<String>,
}

impl Verdict {
    fn new(cause: &'static str, finding: &Finding) -> Self {
        let (what, fix) = (finding.what.clone(), finding.fix.clone());
        Self {
            cause,
            what,
            fix,
            hosts: Vec::new(),
            links: Vec::new(),
            pairs: Vec::new(),
            observed: Vec::new(),
        }
    }

    fn add(&mut self, finding: Finding) {
        match finding.about {
            About::Hosts(hosts) => {
                self.hosts.extend(
                    hosts
                        .into_iter()
                        .filter(|host| !self.hosts.contains(host))
                        .collect::<Vec<_>>(),
                );
            }
            About::Link(from, to) => {
                let link = Direction { from, to };
                if !self.links.contains(&link) {
                    self.links.push(link);
                }
            }
        }
        let new: Vec<String> = finding
            .observed
            .into_iter()
            .filter(|line| !self.observed.contains(line))
            .collect();
        self.observed.extend(new);
    }

    /// What it is about: hosts, or the directions between them; many are counted.
    #[must_use]
    pub fn subject(&self) -> String {
        if !self.hosts.is_empty() {
            return self
                .hosts
                .iter()
                .map(HostName::as_str)
                .collect::<Vec<_>>()
                .join(", ");
        }
        let both = |link: &Direction| {
            self.links.contains(&Direction {
                from: link.to.clone(),
                to: link.from.clone(),
            })
        };
        let mut names: Vec<String> = Vec::new();
        for link in &self.links {
            match both(link) {
                true if link.from > link.to => {}
                true => names.push(format!("{} <-> {}", link.from, link.to)),
                false => names.push(format!("{} -> {}", link.from, link.to)),
            }
        }
        let more = names.len().saturating_sub(SUBJECTS);
        names.truncate(SUBJECTS);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }

    /// The whole sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let subject = self.subject();
        let colon = if subject.is_empty() { "" } else { ": " };
        let share = match self.pairs.len() {
            0 | 1 => String::new(),
            n => format!("; {n} pairs share this cause"),
        };
        format!("{subject}{colon}{}{share}", self.what)
    }
}

/// What is different between two looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Causes that were not there, or were not the same.
    pub appeared: Vec<Verdict>,
    /// Causes that are gone.
    pub gone: Vec<Verdict>,
}

impl Changes {
    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.gone.is_empty()
    }
}

/// Three directions tell where to look; the rest is counted.
const SUBJECTS: usize = 3;

/// The causes that go away by themselves, or are found not to.
const HEALS: &[&str] = &["neighbours", "name-unknown"];

/// The causes of hosts that take no part, and keep nobody else from it.
const TAKES_NO_PART: &[&str] = &[
    "host-unreachable",
    "not-finished",
    "engine-down",
    "no-probe",
];

/// All pairs.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The cluster.
    pub cluster: String,
    /// The network that was verified.
    pub network: String,
    /// What containers were asked by.
    pub asked: Asked,
    /// The hosts, in the inventory's order.
    pub hosts: Vec<HostName>,
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// Why pairs fail, the cause of most pairs first; after a deep look also what works still and will not for long.
    pub verdicts: Vec<Verdict>,
    /// What was seen on the wire, where traffic is to be encrypted.
    pub encryption: Option<Encryption>,
    /// What became of forged packets, after a deep look at a network whose ports are guarded.
    pub forgery: Option<Forgery>,
    /// What was seen outside of the mesh that lies under the fabric, after a deep look.
    pub wire: Option<Wire>,
    /// What a person should know, and that makes nothing fail.
    pub notes: Vec<String>,
    /// What was measured, if anything was.
    pub bench: Vec<Measurement>,
    /// Each host as it sees itself, where the layers below were looked at.
    pub states: BTreeMap<HostName, Value>,
    /// The layers of each direction, likewise.
    pub layers: Vec<Value>,
    /// How long it took.
    pub took: Duration,
    /// Whether somebody stopped it.
    pub interrupted: bool,
}

impl Matrix {
    /// A matrix of these hosts without pairs yet.
    pub fn new(inventory: &Inventory, way: &Probes, hosts: Vec<HostName>) -> Self {
        Self {
            cluster: inventory.cluster.to_string(),
            network: way.network.clone(),
            asked: way.asked,
            hosts,
            pairs: Vec::new(),
            verdicts: Vec::new(),
            encryption: None,
            forgery: None,
            wire: None,
            notes: Vec::new(),
            bench: Vec::new(),
            states: BTreeMap::new(),
            layers: Vec::new(),
            took: Duration::ZERO,
            interrupted: false,
        }
    }

    /// The matrix of a run that was interrupted: nothing is known.
    pub fn interrupted(inventory: &Inventory, way: &Probes) -> Self {
        Self {
            interrupted: true,
            ..Self::new(inventory, way, Vec::new())
        }
    }

    /// Whether every pair reaches, and nothing else was found.
    #[must_use]
    pub fn ok(&self) -> bool {
        !self.interrupted && self.pairs.iter().all(|pair| pair.ok) && self.verdicts.is_empty()
    }

    /// The pair of two hosts.
    #[must_use]
    pub fn pair(&self, from: &HostName, to: &HostName) -> Option<&Pair> {
        self.pairs
            .iter()
            .find(|pair| pair.from == *from && pair.to == *to)
    }

    /// Joins what is known into one verdict a cause. `all`: pairs that work are looked at as well.
    pub fn judge(&mut self, known: &Known, all: bool) {
        self.states = known
            .hosts
            .iter()
            .map(|(name, view)| (name.clone(), view.to_json()))
            .collect();
        self.layers = known
            .links
            .iter()
            .map(|((from, to), link)| link.to_json(from, to))
            .collect();
        let mut verdicts: Vec<Verdict> = Vec::new();
        let place = |verdicts: &mut Vec<Verdict>, cause: &'static str, finding: &Finding| {
            let same = |verdict: &Verdict| verdict.cause == cause && verdict.what == finding.what;
            verdicts.iter().position(same).unwrap_or_else(|| {
                verdicts.push(Verdict::new(cause, finding));
                verdicts.len() - 1
            })
        };
        for pair in self.pairs.iter_mut().filter(|pair| all || !pair.ok) {
            let case = Case {
                from: &pair.from,
                to: &pair.to,
                failure: pair.failure.as_ref(),
                known,
            };
            let Some((cause, finding)) = explain(&case) else {
                continue;
            };
            let at = place(&mut verdicts, cause.id, &finding);
            if !pair.ok {
                pair.cause = Some(match &finding.about {
                    About::Hosts(hosts) => {
                        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
                        format!("{}: {}", names.join(", "), finding.what)
                    }
                    About::Link(from, to) => format!("{from} -> {to}: {}", finding.what),
                });
            }
            verdicts[at].pairs.push(Direction {
                from: pair.from.clone(),
                to: pair.to.clone(),
            });
            verdicts[at].add(finding);
        }
        // A host that is alone is in no pair, and well only if it could have been in one.
        for host in self.hosts.iter().filter(|_| self.pairs.is_empty()) {
            let Some(ill) = known.hosts.get(host).and_then(|view| view.ill.as_ref()) else {
                continue;
            };
            let failure = Failure::unasked(host, ill.words());
            let case = Case {
                from: host,
                to: host,
                failure: Some(&failure),
                known,
            };
            let Some((cause, finding)) = explain(&case) else {
                continue;
            };
            let at = place(&mut verdicts, cause.id, &finding);
            verdicts[at].add(finding);
        }
        verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.pairs.len()));
        self.verdicts = verdicts;
    }

    /// The pairs that fail for nothing but what engines have yet to tell each other, and will by themselves; none where something else
    /// is wrong that could keep them from it.
    pub fn may_heal(&self) -> Vec<Direction> {
        if !self
            .verdicts
            .iter()
            .all(|verdict| HEALS.contains(&verdict.cause) || TAKES_NO_PART.contains(&verdict.cause))
        {
            return Vec::new();
        }
        let healing = self
            .verdicts
            .iter()
            .filter(|verdict| HEALS.contains(&verdict.cause));
        healing
            .flat_map(|verdict| verdict.pairs.iter().cloned())
            .filter(|of| self.pair(&of.from, &of.to).is_some_and(|pair| !pair.ok))
            .collect()
    }

    /// The pairs that fail although nothing below them does, as far as was seen.
    pub fn unexplained(&self) -> Vec<Direction> {
        let verdicts = self
            .verdicts
            .iter()
            .filter(|verdict| verdict.cause == UNEXPLAINED);
        verdicts
            .flat_map(|verdict| verdict.pairs.iter().cloned())
            .collect()
    }

    /// The hosts whose containers resolve at least one of the others' names.
    pub fn resolving(&self) -> BTreeSet<HostName> {
        let resolves = |pair: &&Pair| match &pair.failure {
            None => true,
            Some(failure) => !matches!(failure.layer, Layer::Name | Layer::Unasked),
        };
        self.pairs
            .iter()
            .filter(resolves)
            .map(|pair| pair.from.clone())
            .collect()
    }

    /// What is different from an earlier look: what is broken now and what is not any more. Latencies always differ and do not
    /// count.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Changes {
        let new_in = |this: &Self, that: &Self| -> Vec<Verdict> {
            let same =
                |a: &Verdict, b: &Verdict| a.cause == b.cause && a.sentence() == b.sentence();
            this.verdicts
                .iter()
                .filter(|a| !that.verdicts.iter().any(|b| same(a, b)))
                .cloned()
                .collect()
        };
        let (appeared, mut gone) = (new_in(self, earlier), new_in(earlier, self));
        // A cause that has grown or shrunk is told once, as it is now.
        gone.retain(|old| {
            !appeared
                .iter()
                .any(|new| new.cause == old.cause && new.what == old.what)
        });
        Changes { appeared, gone }
    }

    /// Adds findings of one cause that no pair's failure led to, as one verdict.
    pub fn add_all(&mut self, cause: &'static str, findings: Vec<Finding>) {
        let Some(first) = findings.first() else {
            return;
        };
        let mut verdict = Verdict::new(cause, first);
        findings
            .into_iter()
            .for_each(|finding| verdict.add(finding));
        self.verdicts.push(verdict);
    }

    /// Pairs per second, to a tenth.
    #[must_use]
    pub fn rate(&self) -> f64 {
        (10.0 * self.pairs.len() as f64 / self.took.as_secs_f64().max(0.001)).round() / 10.0
    }

    /// The JSON Schema of that document.
    pub const SCHEMA: &str = include_str!("../../../../templates/verify/document.schema.json");

    /// The document of `verify --output json`; `templates/verify/document.schema.json` describes it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "cluster": self.cluster,
            "network": self.network,
            "ok": self.ok(),
            "hosts": self.hosts,
            "pairs": self.pairs,
            "verdicts": self.verdicts,
            "states": self.states,
            "layers": self.layers,
            "encryption": self.encryption,
            "forgery": self.forgery,
            "wire": self.wire,
            "notes": self.notes,
            "bench": self.bench,
            "took_ms": self.took.as_millis() as u64,
            "pairs_per_second": self.rate(),
        })
    }
}

/// What a line of the probe says: milliseconds, or how it failed.
pub fn read(to: &HostName, line: Option<&str>) -> Result<f64, Failure> {
    let Some(line) = line else {
        return Err(Failure::unasked(to, "the probe said nothing"));
    };
    if let Some(micros) = line.strip_prefix("ok ") {
        let micros = micros.trim().parse::<f64>();
        return micros
            .map(|micros| micros / 1000.0)
            .map_err(|_| Failure::unasked(to, "the probe's answer is not understood"));
    }
    let mut words = line.splitn(4, ' ').skip(1);
    let layer = match words.next() {
        Some("name") => Layer::Name,
        Some("large") => Layer::Large,
        Some("upload") => Layer::Upload,
        _ => Layer::Http,
    };
    let by_address = words.next() == Some("address=ok");
    Err(Failure {
        layer,
        by_address,
        words: words.next().unwrap_or_default().trim().to_owned(),
        to: to.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    #[test]
    fn lines_of_the_probe() {
        let b = host("b");
        assert_eq!(read(&b, Some("ok 1234")).unwrap(), 1.234);
        let failure = read(&b, Some("failed name address=ok wget: bad address 'x'")).unwrap_err();
        assert_eq!((failure.layer, failure.by_address), (Layer::Name, true));
        assert!(
            failure
                .sentence()
                .contains("on b does not resolve (wget: bad address 'x')")
        );
        let failure = read(&b, Some("failed upload address=no x")).unwrap_err();
        assert_eq!((failure.layer, failure.by_address), (Layer::Upload, false));
        assert!(
            read(&b, Some("failed large address=ok x"))
                .unwrap_err()
                .sentence()
                .contains("larger than one packet")
        );
        assert!(
            read(&b, Some("failed http address=no timed out"))
                .unwrap_err()
                .sentence()
                .contains("does not answer")
        );
        assert!(read(&b, Some("ok never")).is_err());
        assert!(read(&b, None).is_err());
    }

    #[test]
    fn pairs_of_one_cause_are_told_once() {
        let (a, b, c) = (host("a"), host("b"), host("c"));
        let failed = |from: &HostName, to: &HostName, words: &str| {
            Pair::new(from, to, Err(Failure::unasked(to, words)))
        };
        let mut matrix = Matrix {
            asked: Asked::ByName,
            cluster: "c".into(),
            network: "n".into(),
            hosts: vec![a.clone(), b.clone(), c.clone()],
            pairs: vec![
                failed(&a, &b, "x"),
                failed(&a, &c, "y"),
                failed(&b, &a, "y"),
                Pair::new(&b, &c, Ok(1.0)),
            ],
            verdicts: Vec::new(),
            encryption: None,
            forgery: None,
            wire: None,
            notes: Vec::new(),
            bench: Vec::new(),
            states: BTreeMap::new(),
            layers: Vec::new(),
            took: Duration::ZERO,
            interrupted: false,
        };
        matrix.judge(&Known::default(), false);
        let sentences: Vec<String> = matrix.verdicts.iter().map(Verdict::sentence).collect();
        assert_eq!(
            sentences,
            ["a -> c, b -> a: y; 2 pairs share this cause", "a -> b: x"]
        );
        assert!(!matrix.ok());
        assert_eq!(matrix.to_json()["pairs"][3]["latency_ms"], 1.0);
        assert_eq!(matrix.to_json()["verdicts"][0]["cause"], "unexplained");
        let unexplained: Vec<_> = matrix.pairs[..3]
            .iter()
            .map(|pair| (&pair.from, &pair.to))
            .collect();
        let mut told = matrix.unexplained();
        told.sort_by_key(|of| (of.from.clone(), of.to.clone()));
        assert_eq!(
            told.iter().map(|of| (&of.from, &of.to)).collect::<Vec<_>>(),
            unexplained
        );
    }

    #[test]
    fn only_what_is_different_is_a_change() {
        let (a, b, c) = (host("a"), host("b"), host("c"));
        let matrix = |failed: &[(&HostName, &HostName, &str)]| {
            let pairs = failed
                .iter()
                .map(|(from, to, words)| Pair::new(from, to, Err(Failure::unasked(to, *words))));
            let mut matrix = Matrix {
                asked: Asked::ByName,
                cluster: "c".into(),
                network: "n".into(),
                hosts: vec![a.clone(), b.clone(), c.clone()],
                pairs: pairs.collect(),
                verdicts: Vec::new(),
                encryption: None,
                forgery: None,
                wire: None,
                notes: Vec::new(),
                bench: Vec::new(),
                states: BTreeMap::new(),
                layers: Vec::new(),
                took: Duration::ZERO,
                interrupted: false,
            };
            matrix.judge(&Known::default(), false);
            matrix
        };
        let (good, bad, worse) = (
            matrix(&[]),
            matrix(&[(&a, &b, "x")]),
            matrix(&[(&a, &b, "x"), (&a, &c, "x")]),
        );
        assert!(bad.changes_since(&bad).is_empty());
        let changes = bad.changes_since(&good);
        assert_eq!((changes.appeared.len(), changes.gone.len()), (1, 0));
        let changes = worse.changes_since(&bad);
        assert_eq!(
            (changes.appeared[0].sentence().as_str(), changes.gone.len()),
            ("a -> b, a -> c: x; 2 pairs share this cause", 0)
        );
        let changes = good.changes_since(&worse);
        assert_eq!((changes.appeared.len(), changes.gone.len()), (0, 1));
    }

    #[test]
    fn both_directions_are_one_subject() {
        let (a, b) = (host("a"), host("b"));
        let finding = |from: &HostName, to: &HostName| Finding {
            about: About::Link(from.clone(), to.clone()),
            what: "x".into(),
            fix: String::new(),
            observed: vec![],
        };
        let mut verdict = Verdict::new("mtu", &finding(&a, &b));
        verdict.add(finding(&a, &b));
        assert_eq!(verdict.subject(), "a -> b");
        verdict.add(finding(&b, &a));
        assert_eq!(verdict.subject(), "a <-> b");
    }
}
