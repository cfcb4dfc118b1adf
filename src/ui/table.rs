//! Plain tables without borders: they survive narrow terminals, pipes and `awk`.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

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

/// A table with a header. Rows are cells with their tone; `width` is the terminal's, in columns.
#[must_use]
pub fn table(header: &[&str], rows: Vec<Vec<(String, Tone)>>, colour: Colour, width: usize) -> String {
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
    let text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    text
}
