//! Progress: a spinner a host in a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::Style;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::{Ui, indent};
use crate::event::{Event, Events};
use crate::inventory::HostName;

/// How often spinners turn: often enough to look alive, seldom enough for a slow SSH terminal.
const TICK: Duration = Duration::from_millis(120);

/// Steps that took at least this long say so.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The reporter of a run.
pub struct Progress {
    events: Events,
    task: JoinHandle<()>,
}

impl Progress {
    /// Starts to report. In a terminal with spinners, else with a line an event.
    #[must_use]
    pub fn start(ui: Ui) -> Self {
        let (events, receiver) = Events::channel();
        let task = tokio::spawn(report(ui, receiver, can_draw()));
        Self { events, task }
    }

    /// Where events go.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Shows what is left and ends, although senders may still live (the one that waits for signals does).
    pub async fn finish_now(self) {
        let (done, shown) = tokio::sync::oneshot::channel();
        self.events
            .emit(Event::Flush(std::sync::Arc::new(std::sync::Mutex::new(
                Some(done),
            ))));
        // The reporter answers when it gets there; if it is gone, there is nothing to wait for.
        let _ = shown.await;
        self.task.abort();
    }

    /// Waits until everything is shown.
    pub async fn finish(self) {
        let Self { events, task } = self;
        drop(events);
        // The task ends when the last sender is gone; a panic in it has already been printed.
        let _ = task.await;
    }
}

/// Whether spinners can be drawn: they go back to the beginning of a line.
fn can_draw() -> bool {
    std::io::stderr().is_terminal() && !super::is_dumb(&|name| std::env::var_os(name))
}

struct Reporter {
    ui: Ui,
    bars: Option<MultiProgress>,
    by_host: BTreeMap<HostName, ProgressBar>,
}

async fn report(ui: Ui, mut receiver: UnboundedReceiver<Event>, terminal: bool) {
    let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
    let mut reporter = Reporter {
        ui,
        bars,
        by_host: BTreeMap::new(),
    };
    while let Some(event) = receiver.recv().await {
        reporter.show(event);
    }
    for bar in reporter.by_host.values() {
        bar.finish_and_clear();
    }
}

impl Reporter {
    fn show(&mut self, event: Event) {
        match event {
            Event::Connecting(host) => self.busy(&host, "connecting"),
            Event::Gathered(host) => self.idle(&host),
            Event::Unreached { host, error, hint } => {
                self.idle(&host);
                self.trouble(&host, "cannot be asked", &error, &hint);
            }
            Event::Asking { host, why } => {
                self.line(&format!(
                    "? {host}: {why}    {}",
                    self.dim("Enter goes on, q stops")
                ));
            }
            Event::StepStarted { host, why } => {
                if self.bars.is_none() {
                    self.line(&format!("{} {}: {why}", self.dim("·"), host));
                }
                self.busy(&host, &why);
            }
            Event::StepProgress { host, what } => self.busy(&host, &format!("waiting: {what}")),
            Event::StepDone { host, why, took } => {
                let took = if took >= WORTH_TELLING {
                    format!(" ({:.1} s)", took.as_secs_f64())
                } else {
                    String::new()
                };
                self.line(&format!(
                    "{} {host}: {why}{}",
                    self.good("✓"),
                    self.dim(&took)
                ));
            }
            Event::StepFailed {
                host,
                why,
                error,
                hint,
            } => {
                self.idle(&host);
                self.trouble(&host, &format!("failed: {why}"), &error, &hint);
            }
            Event::RollingBack { host, why } => {
                self.line(&format!(
                    "{} {host}: going back to what worked, after: {why}",
                    self.dim("↩")
                ));
                self.busy(&host, "going back to what worked");
            }
            Event::Skipped { host, why, because } => {
                self.idle(&host);
                self.line(&format!(
                    "{} {host}: not done: {why}\n    because {because}",
                    self.dim("–")
                ));
            }
            Event::HostDone(host) => self.idle(&host),
            Event::Note(text) => self.line(&text),
            Event::Flush(done) => {
                for bar in std::mem::take(&mut self.by_host).into_values() {
                    bar.finish_and_clear();
                }
                if let Some(done) = done.lock().ok().and_then(|mut done| done.take()) {
                    let _ = done.send(());
                }
            }
        }
    }

    fn trouble(&self, host: &HostName, what: &str, error: &str, hint: &str) {
        let mut text = format!("{} {host}: {what}\n    {}", self.ui.bad("✗"), indent(error));
        if !hint.is_empty() {
            let _ = write!(
                text,
                "\n    {} {hint}",
                self.ui.paint(self.ui.err, Style::new().cyan(), "Hint:")
            );
        }
        self.line(&text);
    }

    fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| self.ui.note(text)),
            None => {
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }
        }
    }

    fn busy(&mut self, host: &HostName, what: &str) {
        let Some(bars) = &self.bars else { return };
        let bar = self.by_host.entry(host.clone()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(host.to_string());
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_message(what.to_owned());
    }

    fn idle(&mut self, host: &HostName) {
        if let Some(bar) = self.by_host.remove(host) {
            bar.finish_and_clear();
        }
    }

    fn good(&self, text: &str) -> String {
        self.ui.paint(self.ui.err, Style::new().green(), text)
    }

    fn dim(&self, text: &str) -> String {
        self.ui.paint(self.ui.err, Style::new().dimmed(), text)
    }
}
