//! Everything that is printed. Results go to standard output, everything else to standard error.

mod html;
mod junit;
mod prices;
mod progress;
mod render;
mod table;
mod template;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};

use owo_colors::{OwoColorize, Style};

use crate::error::Error;
use crate::inventory::Colour;

pub use html::html;
pub use junit::junit;
pub use prices::{prices, prices_html, prices_markdown};
pub use progress::Progress;
pub use render::{bench, changes, matrix, plan};
pub use table::{Tone, table};
pub use template::{Template, pretty};

/// Width of output that goes into a file or a pipe, in columns.
const PIPE_WIDTH: usize = 100;

/// Width of a terminal that does not tell, in columns.
const UNKNOWN_WIDTH: usize = 80;

/// No line is broken for fewer columns than this: a word a line is read no better than what the terminal itself breaks.
const NARROWEST: usize = 20;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColourChoice {
    /// In a terminal, unless NO_COLOR is set; elsewhere if CLICOLOR_FORCE is.
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
        let decide = |is_terminal| colour(choice, is_terminal, &|name| std::env::var_os(name));
        Self {
            out: decide(std::io::stdout().is_terminal()),
            err: decide(std::io::stderr().is_terminal()),
        }
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
            Error::Inventory(error) => {
                self.note(error.render(width_of_stderr(), self.err).trim_end())
            }
            Error::Message {
                what, cause, hint, ..
            } => {
                self.note(&format!("{} {what}", self.bad("Error:")));
                if let Some(cause) = cause {
                    self.note(&format!("Caused by: {}", indent(cause)));
                }
                if let Some(hint) = hint {
                    self.note(&format!(
                        "{} {hint}",
                        self.paint(self.err, Style::new().cyan(), "Hint:")
                    ));
                }
            }
            Error::Said(_) => {}
        }
    }

    /// An error as docker-machine writes it: without a mark before it, which scripts do not expect.
    pub fn machine_error(self, error: &Error) {
        match error {
            Error::Message {
                what, cause, hint, ..
            } => {
                for text in [Some(what), cause.as_ref(), hint.as_ref()]
                    .into_iter()
                    .flatten()
                {
                    self.note(text);
                }
            }
            Error::Inventory(_) | Error::Said(_) => self.error(error),
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

/// Whether to use colour: what was asked for, else what the environment says (no-color.org, bixense.com/clicolors), else whether it
/// is a terminal. An empty variable is as none.
fn colour(
    choice: ColourChoice,
    is_terminal: bool,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Colour {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let on = match choice {
        ColourChoice::Always => true,
        ColourChoice::Never => false,
        ColourChoice::Auto if is_set("NO_COLOR") => false,
        ColourChoice::Auto
            if is_set("CLICOLOR_FORCE")
                && variable("CLICOLOR_FORCE").is_none_or(|value| value != "0") =>
        {
            true
        }
        ColourChoice::Auto => is_terminal && !is_dumb(variable),
    };
    if on { Colour::On } else { Colour::Off }
}

/// Whether the terminal knows no control codes at all, as that of an editor.
fn is_dumb(variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    variable("TERM").is_some_and(|term| term == "dumb")
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
    width_of(&console::Term::stdout())
}

fn width_of(term: &console::Term) -> usize {
    match (term.is_term(), term.size().1) {
        (false, _) => PIPE_WIDTH,
        // A serial line does not know.
        (true, 0) => UNKNOWN_WIDTH,
        (true, columns) => usize::from(columns).max(NARROWEST),
    }
}

/// Columns for a list: a line each where it goes into a file or to another program, which may look for words in it.
#[must_use]
pub fn list_width() -> usize {
    if console::Term::stdout().is_term() {
        width()
    } else {
        usize::MAX
    }
}

fn width_of_stderr() -> usize {
    width_of(&console::Term::stderr())
}

/// Indents all lines but the first, so that a block of a host's words stays together.
pub(crate) fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_what_was_asked_for_then_what_the_environment_says() {
        let colour = |choice, terminal, set: &[(&str, &str)]| {
            let value = |name: &str| {
                set.iter()
                    .find(|(other, _)| *other == name)
                    .map(|(_, value)| OsString::from(value))
            };
            super::colour(choice, terminal, &value) == Colour::On
        };
        use ColourChoice::{Always, Auto, Never};
        assert!(colour(Auto, true, &[]) && !colour(Auto, false, &[]));
        for value in ["1", "0", "false"] {
            assert!(
                !colour(Auto, true, &[("NO_COLOR", value)]),
                "any value counts: {value}"
            );
        }
        assert!(
            colour(Auto, true, &[("NO_COLOR", "")]),
            "an empty one is none"
        );
        assert!(!colour(Auto, true, &[("TERM", "dumb")]));
        assert!(colour(Auto, false, &[("CLICOLOR_FORCE", "1")]));
        assert!(
            !colour(Auto, false, &[("CLICOLOR_FORCE", "0")])
                && !colour(Auto, false, &[("CLICOLOR_FORCE", "")])
        );
        assert!(!colour(
            Auto,
            true,
            &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
        ));
        assert!(colour(
            Always,
            false,
            &[("NO_COLOR", "1"), ("TERM", "dumb")]
        ));
        assert!(!colour(Never, true, &[("CLICOLOR_FORCE", "1")]));
    }
}
