//! Inventory errors: each points at its line with a caret and says what to do.

use std::fmt::Write as _;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource};
use serde_saphyr::Location;

/// One thing that is wrong in an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong, as a fragment: "two hosts are called `a`".
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Byte ranges in the source, with what to write under each.
    pub labels: Vec<(Range<usize>, String)>,
    /// Line of the first label, from 1.
    pub line: usize,
}

/// An inventory that cannot be used: everything that is wrong with it, in the order of the lines.
#[derive(Debug, Clone)]
pub struct InventoryError {
    file: String,
    source: String,
    /// What is wrong; never empty.
    pub flaws: Vec<Flaw>,
}

impl InventoryError {
    pub(super) fn new(file: &str, source: &str, mut flaws: Vec<Flaw>) -> Self {
        for flaw in &mut flaws {
            flaw.line = flaw
                .labels
                .first()
                .map_or(1, |(range, _)| line_of(source, range.start));
        }
        flaws.sort_by_key(|flaw| flaw.line);
        Self {
            file: file.to_owned(),
            source: source.to_owned(),
            flaws,
        }
    }

    /// The errors with their source lines and carets, for a terminal `width` columns wide.
    #[must_use]
    pub fn render(&self, width: usize, colour: Colour) -> String {
        let theme = match colour {
            Colour::On => GraphicalTheme::unicode(),
            Colour::Off => GraphicalTheme::unicode_nocolor(),
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .with_links(false);
        let mut out = String::new();
        for flaw in &self.flaws {
            let labels = flaw.labels.iter().map(|(range, text)| {
                LabeledSpan::new(Some(text.clone()), range.start, range.len())
            });
            let diagnostic = MietteDiagnostic::new(flaw.message.clone())
                .with_help(flaw.help.clone())
                .with_labels(labels);
            let report = miette::Report::new(diagnostic).with_source_code(
                NamedSource::new(&self.file, self.source.clone()).with_language("yaml"),
            );
            if handler.render_report(&mut out, report.as_ref()).is_err() {
                // The renderer only fails when the writer does, and a String does not; but no error may be lost.
                let _ = writeln!(out, "{}:{}: {}", self.file, flaw.line, flaw.message);
            }
        }
        out
    }
}

impl std::fmt::Display for InventoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, flaw) in self.flaws.iter().enumerate() {
            if i > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{}:{}: {}", self.file, flaw.line, flaw.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for InventoryError {}

/// Whether to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours.
    On,
    /// Plain text.
    Off,
}

/// Byte range of a location in `source`. The parser gives byte offsets for text input; where it gives none, the range is
/// worked out from line and column.
pub(super) fn range_of(source: &str, location: &Location) -> Range<usize> {
    let start = match location.span().byte_offset() {
        Some(offset) if *location != Location::UNKNOWN => offset as usize,
        _ => offset_of(source, location.line() as usize, location.column() as usize),
    };
    let start = floor_char_boundary(source, start.min(source.len()));
    // A block's span reaches over all of its lines; a caret is for the first.
    let rest = &source[start..];
    let line_end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
    let end = match location.span().byte_len() {
        Some(len) if len > 0 => floor_char_boundary(source, (start + len as usize).min(line_end)),
        _ => {
            start
                + rest
                    .find([' ', ',', '\n', '\r', '}', ']'])
                    .unwrap_or(rest.len())
        }
    };
    start..end.max(start)
}

fn offset_of(source: &str, line: usize, column: usize) -> usize {
    let before: usize = source
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let text = source.get(before..).unwrap_or_default();
    before
        + text
            .chars()
            .take(column.saturating_sub(1))
            .map(char::len_utf8)
            .sum::<usize>()
}

fn floor_char_boundary(source: &str, mut at: usize) -> usize {
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

pub(super) fn line_of(source: &str, offset: usize) -> usize {
    source.as_bytes()[..offset.min(source.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
