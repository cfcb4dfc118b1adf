//! Plain tables without borders: they survive narrow terminals, pipes and `awk`.

use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets,
};
use console::measure_text_width;
use owo_colors::{OwoColorize, Style};

use crate::inventory::Colour;

/// Spaces between two columns.
const COLUMN_GAP: u16 = 2;

/// How a cell looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Good.
    Good,
    /// Bad.
    Bad,
    /// Of little weight.
    Dim,
}

/// A table with a header. Rows are cells with their tone; `width` is the terminal's, in columns. Where it does not fit with its words
/// whole, it is a list: names and numbers that are broken in the middle nobody can read, or copy.
#[must_use]
pub fn table(
    header: &[&str],
    rows: Vec<Vec<(String, Tone)>>,
    colour: Colour,
    width: usize,
) -> String {
    let least = least_widths(header, &rows);
    if least.iter().map(|least| usize::from(*least)).sum::<usize>() > width {
        return list(header, &rows, colour);
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX));
    let head = |text: &&str| match colour {
        Colour::On => Cell::new(text).add_attribute(Attribute::Bold),
        Colour::Off => Cell::new(text),
    };
    table.set_header(header.iter().map(head));
    for row in rows {
        table.add_row(row.into_iter().map(|(text, tone)| {
            let cell = Cell::new(text);
            match (colour, tone) {
                (Colour::On, Tone::Good) => cell.fg(Color::Green),
                (Colour::On, Tone::Bad) => cell.fg(Color::Red),
                (Colour::On, Tone::Dim) => cell.fg(Color::DarkGrey),
                _ => cell,
            }
        }));
    }
    if colour == Colour::On {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for (column, least) in table.column_iter_mut().zip(least) {
        column
            .set_padding((0, COLUMN_GAP))
            .set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
    let text: String = table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    text
}

/// How wide each column is at least, with the gap behind it: its longest word stays whole.
fn least_widths(header: &[&str], rows: &[Vec<(String, Tone)>]) -> Vec<u16> {
    let longest = |text: &str| text.split_whitespace().map(measure_text_width).max();
    let columns = header.iter().enumerate().map(|(at, name)| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let words = cells.filter_map(|(text, _)| longest(text));
        words.chain(longest(name)).max().unwrap_or(0)
    });
    columns
        .map(|longest| {
            u16::try_from(longest)
                .unwrap_or(u16::MAX)
                .saturating_add(COLUMN_GAP)
        })
        .collect()
}

/// The same as a list: what the first column says, and below it a line for each of the others.
fn list(header: &[&str], rows: &[Vec<(String, Tone)>], colour: Colour) -> String {
    let mut text = String::new();
    for row in rows {
        for (at, ((cell, tone), name)) in row.iter().zip(header).enumerate() {
            let style = match (at, tone) {
                (0, _) => Style::new().bold(),
                (_, Tone::Good) => Style::new().green(),
                (_, Tone::Bad) => Style::new().red(),
                (_, Tone::Dim) => Style::new().dimmed(),
                (_, Tone::Plain) => Style::new(),
            };
            let cell = match colour {
                Colour::On => cell.style(style).to_string(),
                Colour::Off => cell.clone(),
            };
            text.push_str(&if at == 0 {
                format!("{cell}\n")
            } else {
                format!("  {name}: {cell}\n")
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: usize) -> String {
        let header = ["host", "address", "state", "engine", "kernel"];
        let row = |name: &str| {
            let cells = [name, "10.0.0.11", "up", "20.10.5+dfsg1", "5.10.0-30-amd64"];
            cells.map(|text| (text.to_owned(), Tone::Good)).to_vec()
        };
        table(
            &header,
            vec![row("db-1"), row("a-very-long-name.of.a.host.example.org")],
            Colour::Off,
            width,
        )
    }

    #[test]
    fn no_word_is_torn_apart() {
        for width in 0..300 {
            let text = shown(width);
            for word in [
                "a-very-long-name.of.a.host.example.org",
                "20.10.5+dfsg1",
                "5.10.0-30-amd64",
                "kernel",
            ] {
                assert!(text.contains(word), "{width}: {text}");
            }
            let is_list = text.starts_with("db-1\n  address: 10.0.0.11\n");
            let is_table =
                text.lines().count() == 3 && text.lines().all(|line| line.chars().count() <= width);
            assert!(is_list != is_table, "{width}: {text}");
        }
        let sentences = |width| {
            let cells = ["a", "some words that may be on several lines"];
            let cells = cells.map(|text| (text.to_owned(), Tone::Plain)).to_vec();
            table(&["host", "what"], vec![cells], Colour::Off, width)
        };
        assert!(
            sentences(20).starts_with("host  what\na     some words\n"),
            "{}",
            sentences(20)
        );
        let header = ["a", "b"];
        let small = table(
            &header,
            vec![vec![("x".into(), Tone::Plain), ("y".into(), Tone::Bad)]],
            Colour::Off,
            20,
        );
        assert_eq!(small, "a  b\nx  y\n", "what fits is a table");
    }
}
