//! Plain tables without borders: they survive narrow terminals, pipes and `awk`.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use owo_colors::{OwoColorize, Style};

use crate::inventory::Colour;

/// Spaces between two columns.
const COLUMN_GAP: u16 = 2;

/// Terminals of fewer columns than this get a list where a table does not fit: with cells broken after every few letters nobody can
/// read it.
const NARROW: usize = 60;

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

/// A table with a header. Rows are cells with their tone; `width` is the terminal's, in columns.
#[must_use]
pub fn table(
    header: &[&str],
    rows: Vec<Vec<(String, Tone)>>,
    colour: Colour,
    width: usize,
) -> String {
    if width < NARROW && needed(header, &rows) > width {
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
    for column in table.column_iter_mut() {
        column.set_padding((0, COLUMN_GAP));
    }
    let text: String = table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    text
}

/// Columns that a table takes of which no cell is broken.
fn needed(header: &[&str], rows: &[Vec<(String, Tone)>]) -> usize {
    let widest = |at: usize, name: &str| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(at))
            .map(|(text, _)| text.chars().count());
        cells.chain([name.chars().count()]).max().unwrap_or(0)
    };
    header
        .iter()
        .enumerate()
        .map(|(at, name)| widest(at, name) + usize::from(COLUMN_GAP))
        .sum()
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
    fn nothing_is_torn_apart_in_a_narrow_terminal() {
        for width in 0..300 {
            let text = shown(width);
            if width < NARROW {
                assert!(
                    text.contains("  engine: 20.10.5+dfsg1\n") && text.contains("\n  state: up\n"),
                    "{width}: {text}"
                );
                assert!(
                    text.starts_with("db-1\n  address: 10.0.0.11\n"),
                    "{width}: {text}"
                );
            } else {
                assert!(
                    text.lines().all(|line| line.chars().count() <= width),
                    "{width}: {text}"
                );
            }
        }
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
