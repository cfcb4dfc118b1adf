//! `logs`: what a container has written, wherever it runs, or what the units of a host have.

use clap::Args;

use super::beside::{Input, speak};
use super::containers::find;
use super::load;
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::host::{Command, Connector, LONGEST_RUN, Rights, Spoken, Terminal};
use crate::inventory::{HostSpec, Inventory};
use crate::ui::Ui;

/// The units of a host that its part in a cluster depends on: the engine and what runs it, and those of ours.
const UNITS: [&str; 4] = [
    "docker.service",
    "docker.socket",
    "containerd.service",
    "docker-cluster-*",
];

/// Lines of a host's units that are shown unless more are asked for: a few screens.
const USUAL_LINES: &str = "200";

/// Ends what follows when nobody listens any more.
const FOLLOW: &str = include_str!("../../templates/follow.sh");

/// Ends with [`UNKNOWN`] if a host neither has a unit (or one of a pattern), nor wrote down what it has said: one that is gone has said
/// something. Its answer is one only where there is a systemd that answers.
const IS_KNOWN: &str = r#"systemctl show --property=Version >/dev/null 2>&1 || exit 0
for state in $(systemctl show --property=LoadState -- "$1" 2>/dev/null); do
    [ "$state" = LoadState=not-found ] || exit 0
done
[ -n "$(journalctl --quiet --lines=1 --output=cat --unit "$1" 2>/dev/null)" ] || exit 3
"#;

/// As `systemctl status` ends for a unit that is not there.
const UNKNOWN: i32 = 3;

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// A host of the inventory, or the name or id of a container
    pub name: String,
    /// Of a host: this unit of systemd [default: docker, containerd and those of docker-cluster]
    pub unit: Option<String>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
    /// Only so many lines from the end [default: all of a container, 200 of a host]
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only what is newer, such as `10m` or `2026-01-31 12:00`
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// With the time of each line
    #[arg(short, long)]
    pub timestamps: bool,
}

/// Runs it. The exit status is that of `journalctl` or of `docker logs`.
pub async fn run(args: &Logs, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    match inventory.host(&args.name) {
        Some(host) => of_units(args, host).await,
        None => of_container(args, &inventory, global, ui).await,
    }
}

async fn of_units(args: &Logs, host: &HostSpec) -> Result<Exit, Error> {
    let mut argv = ["journalctl", "--no-pager"].map(str::to_owned).to_vec();
    match &args.unit {
        Some(unit) => argv.extend(["--unit".to_owned(), unit.clone()]),
        None => argv.extend(
            UNITS
                .iter()
                .flat_map(|unit| ["--unit".to_owned(), (*unit).to_owned()]),
        ),
    }
    let lines = args
        .tail
        .map_or_else(|| USUAL_LINES.to_owned(), |lines| lines.to_string());
    argv.extend([
        "--lines".to_owned(),
        if args.since.is_some() && args.tail.is_none() {
            "all".into()
        } else {
            lines
        },
    ]);
    if let Some(since) = &args.since {
        argv.extend(["--since".to_owned(), before_now(since)]);
    }
    if args.follow {
        argv.push("--follow".to_owned());
    }
    argv.extend([
        "--output".to_owned(),
        if args.timestamps {
            "short-iso"
        } else {
            "short"
        }
        .to_owned(),
    ]);
    // What is wrong with the way in is told as everywhere, and the connection stays for the next command.
    let connector =
        Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let connection = connector.connect(host).await.map_err(|error| {
        Error::failed(format!("{} cannot be asked", host.name))
            .because(&error)
            .hint(error.hint())
    })?;
    if let Some(unit) = &args.unit {
        let known = connection
            .run(&Command::script(IS_KNOWN, [unit.as_str()]))
            .await;
        // A host that does not answer this is told of by what comes next.
        if known.is_ok_and(|known| known.status == UNKNOWN) {
            return Err(
                Error::failed(format!("{} has no unit {unit}", host.name)).hint(format!(
                    "`docker-cluster ssh {} systemctl list-unit-files` lists those it has",
                    host.name
                )),
            );
        }
    }
    listen(args, host, argv, Rights::Root)
}

/// Shows what a command says, to its end or to Ctrl-C.
fn listen(args: &Logs, host: &HostSpec, argv: Vec<String>, rights: Rights) -> Result<Exit, Error> {
    let (argv, input) = match args.follow {
        // The end of what is typed here, which nobody does, is the end of this program.
        true => (
            ["sh", "-c", FOLLOW, "sh"]
                .map(str::to_owned)
                .into_iter()
                .chain(argv)
                .collect(),
            Input::Held,
        ),
        false => (argv, Input::None),
    };
    let command = Command::new(argv).rights(rights).timeout(LONGEST_RUN);
    let spoken = Spoken::of(&command, &host.ssh)
        .map_err(|error| Error::usage("the command cannot be sent").because(error))?;
    speak(&host.ssh, &spoken, Terminal::No, input)
}

/// `10m` as systemd takes it, which Docker's client takes as it is: ten minutes ago.
fn before_now(since: &str) -> String {
    match humantime::parse_duration(since) {
        Ok(_) => format!("-{since}"),
        Err(_) => since.to_owned(),
    }
}

async fn of_container(
    args: &Logs,
    inventory: &Inventory,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    if args.unit.is_some() {
        super::host(inventory, &args.name)?;
    }
    let (host, container) = find(inventory, &args.name, global, ui).await?;
    let mut argv = ["docker", "logs"].map(str::to_owned).to_vec();
    for (flag, is_set) in [("--follow", args.follow), ("--timestamps", args.timestamps)] {
        if is_set {
            argv.push(flag.to_owned());
        }
    }
    let tail = args.tail.map(|lines| lines.to_string());
    for (flag, value) in [("--tail", &tail), ("--since", &args.since)] {
        argv.extend(
            value
                .iter()
                .flat_map(|value| [flag.to_owned(), value.clone()]),
        );
    }
    argv.push(container.field("ID").to_owned());
    listen(args, host, argv, Rights::Engine)
}
