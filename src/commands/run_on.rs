//! `run-on`: one command on many hosts at once, each line of its output with the name of its host before it.

use std::fmt::Write as _;
use std::process::Stdio;

use clap::Args;
use owo_colors::Style;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::beside::SSH_FAILED;
use super::load;
use crate::error::{Error, Exit};
use crate::global::{Global, Output};
use crate::host::{
    Command, Connector, HostError, LONGEST_RUN, Liveness, MAX_OUTPUT, Rights, Spoken,
    ssh_arguments, system_ssh,
};
use crate::inventory::{Filter, HostSpec, Inventory};
use crate::ui::Ui;
use crate::words::printable;

/// Arguments of `run-on`.
#[derive(Debug, Args)]
pub struct RunOn {
    /// The hosts: names, globs and @tags, separated by commas, or `all`
    pub hosts: String,
    /// As root instead of the login user
    #[arg(long)]
    pub root: bool,
    /// The command
    #[arg(trailing_var_arg = true, required = true)]
    pub command: Vec<String>,
}

/// What stands for every host, where none has this name: a star would have to be kept from the shell.
const ALL: &str = "all";

/// Longest piece of a line that is kept together, in bytes: one that never ends must not fill the memory.
const LONGEST_LINE: usize = 64 << 10;

/// How much is read at a time, in bytes.
const PIECE: usize = 16 << 10;

/// The colours of the hosts' names, one after the other.
const COLOURS: [fn(Style) -> Style; 5] = [
    |style| style.cyan(),
    |style| style.magenta(),
    |style| style.yellow(),
    |style| style.blue(),
    |style| style.green(),
];

/// What became of the command on a host.
struct Ended {
    status: Result<i32, HostError>,
    stdout: String,
    stderr: String,
}

/// Which of its two streams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Stdout,
    Stderr,
}

/// Runs it. 0 if it did everywhere, else 1.
pub async fn run(args: &RunOn, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let hosts = chosen(&inventory, &args.hosts)?;
    let connector =
        Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let rights = if args.root {
        Rights::Root
    } else {
        Rights::Login
    };
    let command = Command::typed(args.command.iter().cloned())
        .rights(rights)
        .timeout(LONGEST_RUN);
    let widest = hosts
        .iter()
        .map(|host| host.name.as_str().len())
        .max()
        .unwrap_or(0);
    let each = hosts.iter().enumerate().map(|(at, spec)| {
        let name = format!("{:<widest$}", spec.name.as_str());
        let style = COLOURS[at % COLOURS.len()](Style::new());
        let say = move |of: Of, line: &str| match of {
            Of::Stdout => ui.print(&format!("{} | {line}\n", ui.paint(ui.out, style, &name))),
            Of::Stderr => ui.note(&format!("{} | {line}", ui.paint(ui.err, style, &name))),
        };
        run_on(
            &connector,
            spec,
            &command,
            (global.output == Output::Text).then_some(say),
        )
    });
    let all: Vec<Ended> = futures_util::future::join_all(each).await;
    let is_done = all.iter().all(|ended| matches!(ended.status, Ok(0)));
    match global.output {
        Output::Json => {
            ui.json(&json!({"hosts": hosts.iter().zip(&all).map(document).collect::<Vec<_>>()}))
        }
        Output::Text => hosts
            .iter()
            .zip(&all)
            .for_each(|(host, ended)| tell(host, ended, ui)),
    }
    Ok(if is_done { Exit::Done } else { Exit::Failed })
}

fn chosen<'a>(inventory: &'a Inventory, text: &str) -> Result<Vec<&'a HostSpec>, Error> {
    if text == ALL && inventory.host(ALL).is_none() {
        return Ok(inventory.hosts.iter().collect());
    }
    Filter::parse(text)
        .and_then(|filter| filter.select(inventory))
        .map_err(Error::usage)
}

fn document((host, ended): (&&HostSpec, &Ended)) -> serde_json::Value {
    let (status, error) = match &ended.status {
        Ok(status) => (Some(*status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    json!({
        "host": host.name,
        "status": status,
        "error": error,
        "stdout": ended.stdout,
        "stderr": ended.stderr,
    })
}

/// Says of a host where it went wrong.
fn tell(host: &HostSpec, ended: &Ended, ui: Ui) {
    let mut text = format!(
        "{} {}: ",
        ui.paint(ui.err, Style::new().red().bold(), "✗"),
        host.name
    );
    match &ended.status {
        Ok(0) => return,
        Ok(SSH_FAILED) => {
            text.push_str("exit status 255, or the connection was lost: ssh ends with the same")
        }
        Ok(status) => {
            let _ = write!(text, "exit status {status}");
        }
        Err(error) => {
            let hint = ui.paint(ui.err, Style::new().cyan(), "Hint:");
            let _ = write!(
                text,
                "{}\n    {hint} {}",
                crate::ui::indent(&error.to_string()),
                error.hint()
            );
        }
    }
    ui.note(&text);
}

async fn run_on(
    connector: &Connector,
    spec: &HostSpec,
    command: &Command,
    say: Option<impl Fn(Of, &str)>,
) -> Ended {
    let mut ended = Ended {
        status: Ok(0),
        stdout: String::new(),
        stderr: String::new(),
    };
    let result = async {
        let liveness = connector.connect(spec).await?.liveness;
        match run_once(spec, command, say.as_ref(), &mut ended).await {
            // A connection that an earlier command left may be to a host that has rebooted since. The command has not begun.
            Err(HostError::Ssh { .. }) if liveness == Liveness::Reused => {
                connector.reconnect(spec).await?;
                run_once(spec, command, say.as_ref(), &mut ended).await
            }
            other => other,
        }
    };
    ended.status = result.await;
    ended
}

async fn run_once(
    spec: &HostSpec,
    command: &Command,
    say: Option<&impl Fn(Of, &str)>,
    ended: &mut Ended,
) -> Result<i32, HostError> {
    let spoken = Spoken::of(command, &spec.ssh)?;
    let failed = |source| HostError::Local {
        what: "cannot run ssh".to_owned(),
        source,
    };
    let mut ssh = tokio::process::Command::new(system_ssh())
        .args(ssh_arguments(&spec.ssh)?)
        .args(["-T", "--"])
        .arg(&spec.ssh.address)
        .arg(spoken.line())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (stdout, stderr) = (ssh.stdout.take(), ssh.stderr.take());
    let (out, err) = tokio::join!(
        hear(stdout, &spoken, |line| told(
            say,
            Of::Stdout,
            line,
            &mut ended.stdout
        )),
        hear(stderr, &spoken, |line| told(
            say,
            Of::Stderr,
            line,
            &mut ended.stderr
        )),
    );
    let status = ssh.wait().await.map_err(failed)?;
    match out {
        Ok(()) => Ok(status.code().unwrap_or(i32::from(Exit::Failed as u8))),
        Err(before) => {
            let words = err.err().unwrap_or_default();
            Err(match status.code() {
                Some(SSH_FAILED) if before.is_empty() => HostError::Ssh {
                    destination: spec.ssh.destination(),
                    detail: printable(&words).trim().to_owned(),
                },
                _ => spoken.refusal(&before, &words),
            })
        }
    }
}

/// A line is said, or kept for the document.
fn told(say: Option<&impl Fn(Of, &str)>, of: Of, line: &str, kept: &mut String) {
    match say {
        Some(say) => say(of, line),
        None if kept.len() + line.len() < MAX_OUTPUT => {
            kept.push_str(line);
            kept.push('\n');
        }
        None => {}
    }
}

/// Hears a stream line by line from its mark on. Returns what came instead, if the mark never came.
async fn hear(
    stream: Option<impl AsyncRead + Unpin>,
    spoken: &Spoken,
    mut line: impl FnMut(&str),
) -> Result<(), Vec<u8>> {
    let Some(mut stream) = stream else {
        return Err(Vec::new());
    };
    let (mut pending, mut piece, mut begun) = (Vec::new(), vec![0; PIECE], false);
    // A read error means that ssh has ended: what has come is what there is.
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        pending.extend_from_slice(&piece[..read]);
        if !begun {
            let Some(at) = spoken.begins(&pending) else {
                continue;
            };
            pending.drain(..at);
            begun = true;
        }
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            line(&printable(&pending[..end]));
            pending.drain(..=end);
        }
        if pending.len() > LONGEST_LINE {
            line(&printable(&std::mem::take(&mut pending)));
        }
    }
    if begun && !pending.is_empty() {
        line(&printable(&pending));
    }
    if begun { Ok(()) } else { Err(pending) }
}
