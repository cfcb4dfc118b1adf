//! Plans and matrices as people read them.

use std::fmt::Write as _;

use owo_colors::Style;
use similar::TextDiff;

use super::table::{Tone, table};
use super::{Ui, indent};
use crate::fabrics;
use crate::inventory::{FabricKind, HostName};
use crate::plan::{Action, Plan, Step};
use crate::proof::{
    Changes, Direction, Encryption, Figures, Forgery, Matrix, Measurement, Pair, Verdict, Wire,
};

/// Lines of unchanged text around a change in a diff.
const DIFF_CONTEXT: usize = 2;

/// More hosts than this make a table wider than most terminals: the matrix then is a list of what fails.
const MAX_MATRIX: usize = 50;

/// A plan.
#[must_use]
pub fn plan(plan: &Plan, ui: Ui) -> String {
    let paint = |style: Style, text: &str| ui.paint(ui.out, style, text);
    let mut text = String::new();
    let fabric = match fabrics::fabric(plan.fabric) {
        None => String::new(),
        Some(fabric) => format!("{}, because ", fabric.about().title),
    };
    let _ = writeln!(
        text,
        "Cluster {}: {fabric}{}.",
        paint(Style::new().bold(), &plan.cluster),
        plan.reason
    );
    for unreached in &plan.unreached {
        let _ = writeln!(
            text,
            "\n{} {} cannot be asked and is left out: {}",
            paint(Style::new().red(), "✗"),
            unreached.host,
            indent(&unreached.error)
        );
    }
    if !plan.problems.is_empty() {
        let verb = if plan.problems.len() == 1 {
            "forbids"
        } else {
            "forbid"
        };
        let _ = writeln!(
            text,
            "\n{}",
            paint(
                Style::new().red().bold(),
                &format!("{} {verb} this:", count(plan.problems.len(), "problem"))
            )
        );
        for problem in &plan.problems {
            let whose = problem
                .host
                .as_ref()
                .map_or_else(String::new, |host| format!("{host}: "));
            let _ = writeln!(
                text,
                "  {} {whose}{}\n      {} {}",
                paint(Style::new().red(), "✗"),
                indent(&problem.what),
                paint(Style::new().cyan(), "→"),
                problem.fix
            );
        }
        for note in &plan.notes {
            let _ = writeln!(text, "\n{} {note}", paint(Style::new().yellow(), "Note:"));
        }
        return text;
    }
    for (hosts, steps) in alike(plan) {
        let names: Vec<&str> = hosts.iter().map(|host| host.as_str()).collect();
        let _ = writeln!(text, "\n{}", paint(Style::new().bold(), &names.join(", ")));
        for step in steps {
            let _ = writeln!(text, "  {} {}", paint(Style::new().yellow(), "~"), step.why);
            if let Action::PutFile(file) = &step.action
                && let (Some(before), Some(after)) = (&file.before, file.content.plain())
            {
                if hosts.len() > 1 {
                    let _ = writeln!(
                        text,
                        "      {}",
                        paint(Style::new().dimmed(), &format!("on {}:", step.host))
                    );
                }
                text.push_str(&diff(before, after, ui));
            }
        }
    }
    if !plan.notes.is_empty() {
        text.push('\n');
        for note in &plan.notes {
            let _ = writeln!(text, "{} {note}", paint(Style::new().yellow(), "Note:"));
        }
    }
    let busy = plan
        .hosts
        .iter()
        .filter(|host| plan.steps_of(host).next().is_some())
        .count();
    match plan.steps.len() {
        0 if plan.hosts.is_empty() => {
            text.push_str("\nNothing is known of the hosts: none answers.\n")
        }
        0 if plan.fabric == FabricKind::Auto => text.push_str("\nNothing to do.\n"),
        0 if !plan.unreached.is_empty() => {
            text.push_str("\nNothing to do: every host that answers is as the inventory says.\n");
        }
        0 => text.push_str("\nNothing to do: every host is as the inventory says.\n"),
        n => {
            let _ = writeln!(text, "\n{} on {}.", count(n, "step"), count(busy, "host"));
        }
    }
    text
}

/// Hosts with the same sentences together, in the order of the first of each: ten alike hosts are read once.
fn alike(plan: &Plan) -> Vec<(Vec<&HostName>, Vec<&Step>)> {
    let mut groups: Vec<(Vec<&HostName>, Vec<&Step>)> = Vec::new();
    for host in &plan.hosts {
        let steps: Vec<&Step> = plan.steps_of(host).collect();
        let same = |other: &[&Step]| {
            other.len() == steps.len() && other.iter().zip(&steps).all(|(a, b)| a.why == b.why)
        };
        match groups.iter_mut().find(|(_, other)| same(other)) {
            _ if steps.is_empty() => {}
            Some((hosts, _)) => hosts.push(host),
            None => groups.push((vec![host], steps)),
        }
    }
    groups
}

fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

fn diff(before: &str, after: &str, ui: Ui) -> String {
    let mut text = String::new();
    for line in TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(DIFF_CONTEXT)
        .to_string()
        .lines()
    {
        let style = match line.chars().next() {
            Some('+') => Style::new().green(),
            Some('-') => Style::new().red(),
            _ => Style::new().dimmed(),
        };
        if !line.starts_with("\\ No newline") && !line.starts_with("@@") {
            let _ = writeln!(text, "      {}", ui.paint(ui.out, style, line));
        }
    }
    text
}

/// A matrix: a cell a pair with the latency in milliseconds, then a line a cause.
#[must_use]
pub fn matrix(matrix: &Matrix, ui: Ui, width: usize) -> String {
    let mut text = String::new();
    if matrix.interrupted {
        return "Interrupted; nothing is left on the hosts.\n".to_owned();
    }
    if matrix.hosts.len() <= MAX_MATRIX {
        text.push_str(&grid(matrix, ui, width));
    }
    let broken = matrix.pairs.iter().filter(|pair| !pair.ok).count();
    let good = matrix.pairs.len() - broken;
    let took = matrix.took.as_secs_f64();
    let rate = matrix.pairs.len() as f64 / took.max(0.001);
    if matrix.pairs.is_empty() {
        let _ = writeln!(text, "One host has no other to reach.");
    } else if broken == 0 {
        let all = ui.paint(
            ui.out,
            Style::new().green().bold(),
            &format!("All {} reach each other", count(matrix.pairs.len(), "pair")),
        );
        let _ = writeln!(
            text,
            "\n{all} {} on {} ({took:.1} s, {} a second).",
            matrix.asked.in_words(),
            matrix.network,
            of_rate(rate)
        );
    } else {
        let some = ui.paint(
            ui.out,
            Style::new().red().bold(),
            &format!(
                "{} of {} do not reach",
                broken,
                count(matrix.pairs.len(), "pair")
            ),
        );
        let _ = writeln!(text, "\n{some}; {good} do ({took:.1} s).");
    }
    if matrix.hosts.len() > MAX_MATRIX {
        text.push_str(&slowest(matrix));
    }
    if let Some(encryption) = &matrix.encryption {
        text.push_str(&on_the_wire(encryption));
    }
    if let Some(forgery) = &matrix.forgery {
        text.push_str(&forged(forgery));
    }
    if let Some(wire) = &matrix.wire {
        text.push_str(&outside_of_the_mesh(wire));
    }
    text.push_str(&verdicts(&matrix.verdicts, matrix, ui));
    for note in &matrix.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    text
}

/// What was seen of the encryption that was asked for.
fn on_the_wire(encryption: &Encryption) -> String {
    let Encryption {
        proved,
        clear,
        unseen,
    } = encryption;
    let all = proved.len() + clear.len() + unseen.len();
    if encryption.is_whole() {
        return format!(
            "Encrypted: only ESP was seen on the wire, in all {}.\n",
            count(all, "direction")
        );
    }
    if clear.is_empty() {
        return format!(
            "Encrypted is not proved: ESP was seen on the wire in {} of {}.\n",
            proved.len(),
            count(all, "direction")
        );
    }
    String::new()
}

/// What became of forged packets. Those that got in are told with why.
fn forged(forgery: &Forgery) -> String {
    let Forgery {
        kept_out,
        got_in,
        unseen,
    } = forgery;
    let all = kept_out.len() + got_in.len() + unseen.len();
    match (got_in.is_empty(), unseen.is_empty()) {
        (false, _) => String::new(),
        (true, true) => format!("Forged packets: kept out, on {}.\n", count(all, "host")),
        (true, false) => format!(
            "Forged packets: kept out on {} of {}; none could be brought to the others, so nothing is proved there.\n",
            kept_out.len(),
            count(all, "host")
        ),
    }
}

/// What was seen on the wires of hosts whose traffic is to go through a mesh.
fn outside_of_the_mesh(wire: &Wire) -> String {
    let names = |hosts: &[HostName]| {
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        names.join(", ")
    };
    if wire.is_clean() {
        return format!(
            "On the wires of {}: nothing of the probes and no port of the network outside of the mesh.\n",
            names(&wire.watched)
        );
    }
    if wire.unwatched.is_empty() {
        return String::new();
    }
    format!(
        "Nobody could look at the wires of {}: that nothing is outside of the mesh is not proved.\n",
        names(&wire.unwatched)
    )
}

/// What was measured: a row a direction, each figure with its multiple of the bare underlay's; then why pairs fail.
#[must_use]
pub fn bench(matrix: &Matrix, ui: Ui, width: usize) -> String {
    if matrix.interrupted {
        return "Interrupted; nothing is left on the hosts.\n".to_owned();
    }
    let mut header = vec!["direction"];
    header.extend(FIGURES);
    let rows = matrix.bench.iter().map(|measured| {
        let mut row = vec![(
            format!("{} -> {}", measured.direction.from, measured.direction.to),
            Tone::Plain,
        )];
        row.extend(figures(measured).map(|text| (text, Tone::Plain)));
        row
    });
    let mut text = table(&header, rows.collect(), ui.out, width);
    let _ = writeln!(
        text,
        "Over {}, and as a multiple of the bare underlay: below 1x is better for times and CPU, worse for rates.",
        matrix.network
    );
    for measured in &matrix.bench {
        for error in &measured.errors {
            let Direction { from, to } = &measured.direction;
            let _ = writeln!(
                text,
                "  {} {from} -> {to}: {error}",
                ui.paint(ui.out, Style::new().red(), "✗")
            );
        }
    }
    text.push_str(&verdicts(&matrix.verdicts, matrix, ui));
    text
}

/// What the figures of a measurement are called, in the order of [`figures`].
pub(super) const FIGURES: [&str; 6] = [
    "p50",
    "p99",
    "requests/s",
    "1 stream",
    "8 streams",
    "CPU s/GB",
];

/// The figures of a measurement, as text.
pub(super) fn figures(measured: &Measurement) -> [String; 6] {
    cells(measured.fabric.as_ref(), measured.ratio.as_ref())
}

/// Figures with their multiples of the underlay's, as text.
pub(super) fn cells(figures: Option<&Figures>, ratio: Option<&Figures>) -> [String; 6] {
    let cell = |pick: fn(&Figures) -> f64, show: fn(f64) -> String| {
        let value = figures.map_or_else(|| "?".to_owned(), |of| show(pick(of)));
        ratio.map_or(value.clone(), |of| format!("{value} ({:.2}x)", pick(of)))
    };
    let gigabits = |rate: f64| format!("{:.2} Gbit/s", rate / 1e9);
    [
        cell(|of| of.p50_us, |us| format!("{us:.0} µs")),
        cell(|of| of.p99_us, |us| format!("{us:.0} µs")),
        cell(|of| of.requests_per_second, |rate| format!("{rate:.0}")),
        cell(|of| of.bits_per_second, gigabits),
        cell(|of| of.bits_per_second_of_eight, gigabits),
        cell(|of| of.cpu_seconds_per_gigabyte, |s| format!("{s:.2}")),
    ]
}

/// What has changed between two looks, a line each with the time, and the state after it.
#[must_use]
pub fn changes(changes: &Changes, now: &Matrix, ui: Ui) -> String {
    let at = super::now();
    let mut text = String::new();
    let broken = now.pairs.iter().filter(|pair| !pair.ok).count();
    let (style, state) = match broken {
        0 => (
            Style::new().green(),
            format!("all {} reach each other", count(now.pairs.len(), "pair")),
        ),
        n => (
            Style::new().red(),
            format!("{n} of {} do not reach", count(now.pairs.len(), "pair")),
        ),
    };
    let _ = writeln!(text, "{at} {}", ui.paint(ui.out, style, &state));
    for verdict in &changes.gone {
        let mark = ui.paint(ui.out, Style::new().green(), "✓");
        let _ = writeln!(text, "  {mark} no more: {}", indent(&verdict.sentence()));
    }
    text.push_str(&verdicts(&changes.appeared, now, ui));
    text
}

/// The causes, each with what to do and what was observed.
fn verdicts(verdicts: &[Verdict], matrix: &Matrix, ui: Ui) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let broken = verdict.pairs.iter().any(|pair| {
            matrix
                .pair(&pair.from, &pair.to)
                .is_some_and(|pair| !pair.ok)
        });
        let (mark, style) = if broken {
            ("✗", Style::new().red())
        } else {
            ("!", Style::new().yellow())
        };
        let _ = writeln!(
            text,
            "  {} {}",
            ui.paint(ui.out, style, mark),
            indent(&verdict.sentence())
        );
        let _ = writeln!(
            text,
            "      {} {}",
            ui.paint(ui.out, Style::new().cyan(), "→"),
            verdict.fix
        );
        let more = verdict.observed.len().saturating_sub(MAX_OBSERVED);
        for line in verdict.observed.iter().take(MAX_OBSERVED) {
            let _ = writeln!(
                text,
                "      {}",
                ui.paint(ui.out, Style::new().dimmed(), &indent(line))
            );
        }
        if more > 0 {
            let line = format!("{more} more observations: `--evidence DIR` keeps them all");
            let _ = writeln!(
                text,
                "      {}",
                ui.paint(ui.out, Style::new().dimmed(), &line)
            );
        }
    }
    text
}

/// The layers of one direction fit: what else was seen is in the evidence.
const MAX_OBSERVED: usize = 10;

/// The slowest pairs, where a matrix would not fit.
fn slowest(matrix: &Matrix) -> String {
    let mut pairs: Vec<(f64, &Pair)> = matrix
        .pairs
        .iter()
        .filter_map(|pair| Some((pair.latency_ms?, pair)))
        .collect();
    pairs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut text = String::new();
    for (latency, pair) in pairs.iter().take(MAX_SLOWEST) {
        let _ = writeln!(text, "  {latency:8.1} ms  {} -> {}", pair.from, pair.to);
    }
    if text.is_empty() {
        text
    } else {
        format!("The slowest:\n{text}")
    }
}

/// So many pairs fit on a screen beside the causes.
const MAX_SLOWEST: usize = 5;

/// Pairs a second: of few hosts on a slow way there is less than one, which is not none.
fn of_rate(rate: f64) -> String {
    let digits = usize::from(rate < SMALL_RATE);
    format!("{rate:.digits$} pairs")
}

/// Below this, a rate has a digit after the point: the nearest whole number would be 0 or 1.
const SMALL_RATE: f64 = 1.5;

fn grid(matrix: &Matrix, ui: Ui, width: usize) -> String {
    // Names do not fit over the columns when there are many hosts: numbers do, and the rows carry both.
    let widest = matrix
        .hosts
        .iter()
        .map(|host| host.as_str().len())
        .max()
        .unwrap_or(0)
        .max("from".len());
    let named = (widest + 3) * (matrix.hosts.len() + 1) <= width;
    let label = |at: usize, host: &HostName| {
        if named {
            host.to_string()
        } else {
            (at + 1).to_string()
        }
    };
    let mut header = vec![r"from \ to".to_owned()];
    header.extend(
        matrix
            .hosts
            .iter()
            .enumerate()
            .map(|(at, host)| label(at, host)),
    );
    // With many columns the latency does not fit either: a mark does.
    let numbers = named || (matrix.hosts.len() * 7 + widest + 6) <= width;
    let rows = matrix.hosts.iter().enumerate().map(|(at, from)| {
        let name = if named {
            from.to_string()
        } else {
            format!("{} {from}", at + 1)
        };
        let mut row = vec![(name, Tone::Plain)];
        row.extend(matrix.hosts.iter().map(|to| match matrix.pair(from, to) {
            _ if from == to => ("·".to_owned(), Tone::Dim),
            Some(pair) if pair.ok && numbers => (
                format!("{:.1}", pair.latency_ms.unwrap_or_default()),
                Tone::Good,
            ),
            Some(pair) if pair.ok => ("✓".to_owned(), Tone::Good),
            Some(_) => ("✗".to_owned(), Tone::Bad),
            None => ("?".to_owned(), Tone::Dim),
        }));
        row
    });
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    if numbers || matrix.hosts.len() * 4 + widest + 6 <= width {
        let unit = if numbers {
            " (milliseconds a request)"
        } else {
            ""
        };
        return format!(
            "{}{}\n",
            table(&header, rows.collect(), ui.out, width),
            unit.trim_start()
        )
        .replace("\n\n", "\n");
    }
    // Narrower than the narrowest table: one line a source, one mark a target.
    let mut text = String::new();
    for row in rows {
        let marks: String = row.iter().skip(1).map(|(mark, _)| mark.as_str()).collect();
        let _ = writeln!(text, "{:<widest$} {marks}", row[0].0, widest = widest + 3);
    }
    text
}
