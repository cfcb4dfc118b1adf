//! What fabrics cost, side by side: for a terminal, as a page in Markdown, and as one self-contained page.

use std::fmt::Write as _;

use minijinja::context;

use super::html::page;
use super::render::{FIGURES, cells};
use super::table::{Tone, table};
use super::{Ui, now};
use crate::proof::{Outcome, Price, Prices};

const PAGE: &str = include_str!("../../templates/prices.html");

/// The longest bar of the chart in Markdown, in characters.
const BAR: f64 = 40.0;

/// What a lab does to the figures. Said wherever they are.
const CAVEAT: &str = "Both hosts of a pair share this machine's processors and a virtual link that is as fast as its memory. On a real wire of \
    1 or 10 Gbit/s the bare underlay is slower, so that every ratio of throughput is nearer to 1; what encrypts and what copies \
    packets in a process costs there what it costs here, in CPU. Compare rows with each other, and measure your own wire with \
    `docker-cluster bench`.";

/// What the columns are.
const COLUMNS: &str = "Each figure is over the fabric, with its multiple of the bare underlay in brackets; the two were measured in turns. TCP: \
    p50 and p99 of a request of 128 bytes, requests a second over 16 connections, throughput of one and of eight streams, and the \
    seconds that the machine's processors worked for 10^9 bytes, both ends together.";

fn rows(prices: &Prices) -> impl Iterator<Item = (&Price, Vec<String>)> {
    prices.rows.iter().map(|row| {
        let cells = match &row.outcome {
            Outcome::Measured { figures, ratio } => cells(Some(figures), Some(ratio)).to_vec(),
            _ => vec![row.why_not().unwrap_or_default()],
        };
        (row, cells)
    })
}

/// The throughput of one stream as a share of the underlay's, and its rank: what the charts show.
fn bars(prices: &Prices) -> Vec<(String, f64)> {
    let mut bars: Vec<(String, f64)> = prices
        .rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Measured { ratio, .. } => Some((row.way.to_string(), ratio.bits_per_second)),
            _ => None,
        })
        .collect();
    bars.sort_by(|a, b| b.1.total_cmp(&a.1));
    bars
}

/// For a terminal.
#[must_use]
pub fn prices(prices: &Prices, ui: Ui, width: usize) -> String {
    let mut header = vec!["fabric", "hosts"];
    header.extend(FIGURES);
    let mut absent = String::new();
    let mut measured = Vec::new();
    for (row, cells) in rows(prices) {
        if let Some(why) = row.why_not() {
            let _ = writeln!(absent, "  {}: {why}", row.way);
            continue;
        }
        let mut line = vec![
            (row.way.to_string(), Tone::Plain),
            (row.os.to_owned(), Tone::Dim),
        ];
        line.extend(cells.into_iter().map(|cell| (cell, Tone::Plain)));
        measured.push(line);
    }
    let mut text = table(&header, measured, ui.out, width);
    let _ = writeln!(
        text,
        "In brackets: as a multiple of the bare underlay; below 1x is better for times and CPU, worse for rates."
    );
    text + &absent
}

/// A page in Markdown.
#[must_use]
pub fn prices_markdown(prices: &Prices) -> String {
    let mut text = format!(
        "# What does every fabric cost?\n\nWritten by `docker-cluster bench --fabrics --markdown FILE`, which makes each on the same two \
         throwaway hosts, measures it and takes it down.\nMachine: {}.\n\n{COLUMNS}\n\n| fabric | hosts | {} |\n|---|---|{}\n",
        prices.machine,
        FIGURES.join(" | "),
        "---|".repeat(FIGURES.len())
    );
    for (row, mut cells) in rows(prices) {
        cells.resize(FIGURES.len(), String::new());
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "/")).collect();
        let _ = writeln!(text, "| {} | {} | {} |", row.way, row.os, cells.join(" | "));
    }
    text.push_str("\n## Throughput of one stream, of the bare underlay's\n\n```\n");
    let bars = bars(prices);
    let widest = bars.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, share) in bars {
        let length = (share.clamp(0.0, 1.0) * BAR).round();
        // A bar has at least one character: what was measured is not nothing.
        let bar: String = (0..BAR as usize)
            .take_while(|at| *at == 0 || (*at as f64) < length)
            .map(|_| '█')
            .collect();
        let _ = writeln!(text, "{name:<widest$}  {bar} {share:.2}");
    }
    let _ = write!(
        text,
        "```\n\n## What a virtual link does to these figures\n\n{CAVEAT}\n"
    );
    text
}

/// One self-contained page.
#[must_use]
pub fn prices_html(prices: &Prices) -> String {
    let rows: Vec<_> = rows(prices)
        .map(|(row, cells)| {
            context! { way => row.way.to_string(), os => row.os, cells, absent => row.why_not().is_some() }
        })
        .collect();
    let bars: Vec<_> = bars(prices)
        .into_iter()
        .map(|(name, share)| {
            context! { name, share => format!("{share:.2}"), width => format!("{:.1}", share.clamp(0.005, 1.0) * 100.0) }
        })
        .collect();
    let values = context! {
        rows, bars,
        figures => FIGURES.to_vec(),
        columns => COLUMNS,
        caveat => CAVEAT.replace('`', ""),
        machine => prices.machine.clone(),
        when => now(),
        version => env!("CARGO_PKG_VERSION"),
    };
    page(PAGE, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::FabricKind;
    use crate::proof::{Figures, WayToConnect};

    fn sample() -> Prices {
        let figures = |factor: f64| Figures {
            p50_us: 50.0 * factor,
            p99_us: 90.0 * factor,
            requests_per_second: 20_000.0 / factor,
            bits_per_second: 10e9 / factor,
            bits_per_second_of_eight: 12e9 / factor,
            cpu_seconds_per_gigabyte: 0.5 * factor,
        };
        let row = |fabric, encrypted, outcome| Price {
            way: WayToConnect {
                fabric,
                encrypted,
                wireguard: false,
            },
            os: "debian-13",
            outcome,
        };
        let measured = |factor| Outcome::Measured {
            figures: figures(factor),
            ratio: figures(factor).over(&figures(1.0)),
        };
        let why = "its kernel has no <esp4> | module".to_owned();
        Prices {
            machine: "2 cores".to_owned(),
            rows: vec![
                row(FabricKind::Vxlan, false, measured(4.0)),
                row(FabricKind::Routed, false, measured(1.25)),
                row(FabricKind::Swarm, true, Outcome::Skipped { why }),
            ],
        }
    }

    #[test]
    fn markdown_has_a_row_and_a_bar_for_each() {
        let text = prices_markdown(&sample());
        assert!(
            text.contains(
                "| routed | debian-13 | 62 µs (1.25x) | 112 µs (1.25x) | 16000 (0.80x) |"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "| swarm, encrypted | debian-13 | skipped: its kernel has no <esp4> / module |  |"
            ),
            "{text}"
        );
        // The best comes first, and a bar is as long as its share.
        let chart = text.split("```").nth(1).unwrap();
        let lines: Vec<&str> = chart.trim().lines().collect();
        assert_eq!(lines.len(), 2, "{chart}");
        assert!(
            lines[0].starts_with("routed") && lines[0].ends_with("0.80"),
            "{chart}"
        );
        assert_eq!(lines[0].matches('█').count(), 32);
        assert_eq!(lines[1].matches('█').count(), 10);
    }

    #[test]
    fn the_page_escapes_and_shows_what_was_skipped() {
        let page = prices_html(&sample());
        assert!(page.contains("no &lt;esp4&gt; | module"), "{page}");
        assert!(page.contains("width: 80.0%"), "{page}");
    }

    #[test]
    fn a_terminal_gets_the_skipped_below_the_table() {
        let ui = Ui {
            out: crate::inventory::Colour::Off,
            err: crate::inventory::Colour::Off,
        };
        let text = prices(&sample(), ui, 140);
        assert!(
            text.ends_with("  swarm, encrypted: skipped: its kernel has no <esp4> | module\n"),
            "{text}"
        );
    }
}
