//! Everything that is printed. Results go to standard output, everything else to standard error.

mod html;
mod junit;
mod progress;
mod render;
mod table;

use std::io::{IsTerminal, Write};

use owo_colors::{OwoColorize, Style};

use crate::error::Error;
use crate::inventory::Colour;

pub use html::html;
pub use junit::junit;
pub use progress::Progress;
pub use render::{bench, changes, matrix, plan};
pub use table::{Tone, table};

/// Width of output that goes into a file or a pipe, in columns.
const PIPE_WIDTH: usize = 100;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColourChoice {
    /// In a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The one that prints.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    /// Colour on standard output.
    pub out: Colour,
    /// Colour on standard error.
    pub err: Colour,
}

impl Ui {
    /// Finds out what the streams can do.
    #[must_use]
    pub fn new(choice: ColourChoice) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let decide = |terminal: bool| match choice {
            ColourChoice::Always => Colour::On,
            ColourChoice::Auto if terminal && !plain => Colour::On,
            _ => Colour::Off,
        };
        Self { out: decide(std::io::stdout().is_terminal()), err: decide(std::io::stderr().is_terminal()) }
    }

    /// A result, on standard output.
    pub fn print(self, text: &str) {
        // A reader that went away (`| head`) is not an error of ours.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        if !text.ends_with('\n') && !text.is_empty() {
            let _ = out.write_all(b"\n");
        }
        let _ = out.flush();
    }

    /// A JSON document, on standard output.
    pub fn json(self, value: &serde_json::Value) {
        self.print(&format!("{value:#}\n"));
    }

    /// A remark, on standard error.
    pub fn note(self, text: &str) {
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "{text}");
    }

    /// An error, on standard error.
    pub fn error(self, error: &Error) {
        match error {
            Error::Inventory(error) => self.note(error.render(width_of_stderr(), self.err).trim_end()),
            Error::Message { what, cause, hint, .. } => {
                self.note(&format!("{} {what}", self.bad("Error:")));
                if let Some(cause) = cause {
                    self.note(&format!("Caused by: {}", indent(cause)));
                }
                if let Some(hint) = hint {
                    self.note(&format!("{} {hint}", self.paint(self.err, Style::new().cyan(), "Hint:")));
                }
            }
            Error::Said(_) => {}
        }
    }

    fn bad(self, text: &str) -> String {
        self.paint(self.err, Style::new().red().bold(), text)
    }

    pub(crate) fn paint(self, colour: Colour, style: Style, text: &str) -> String {
        match colour {
            Colour::On => text.style(style).to_string(),
            Colour::Off => text.to_owned(),
        }
    }
}

/// Now, as RFC 3339 in UTC, to the second.
#[must_use]
pub(crate) fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

/// A document with `at`, the time now.
#[must_use]
pub fn at_now(mut document: serde_json::Value) -> serde_json::Value {
    document["at"] = now().into();
    document
}

/// Columns of the terminal on standard output.
#[must_use]
pub fn width() -> usize {
    let term = console::Term::stdout();
    if term.is_term() { usize::from(term.size().1).max(40) } else { PIPE_WIDTH }
}

/// Columns for a list: a line each where it goes into a file or to another program, which may look for words in it.
#[must_use]
pub fn list_width() -> usize {
    if console::Term::stdout().is_term() { width() } else { usize::MAX }
}

fn width_of_stderr() -> usize {
    let term = console::Term::stderr();
    if term.is_term() { usize::from(term.size().1).max(40) } else { PIPE_WIDTH }
}

/// Indents all lines but the first, so that a block of a host's words stays together.
pub(crate) fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}
