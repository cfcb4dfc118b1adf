//! `bench --fabrics`: makes each fabric in turn on the same throwaway hosts, measures it, and takes it down.
//!
//! Each is made, measured and taken down by this program's own commands, as a person would: what is measured is what they make.

use std::path::{Path, PathBuf};
use std::process::{Output as Ended, Stdio};
use std::time::Instant;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::watch;

use super::{Bench, write};
use crate::commands::lab::wrong;
use crate::commands::stop_signal;
use crate::error::{Error, Exit};
use crate::event::Events;
use crate::fabrics;
use crate::global::{Global, Output};
use crate::inventory::{ClusterName, FabricKind};
use crate::lab::{self, Os, Wanted};
use crate::proof::{Figures, Outcome, Price, Prices, WayToConnect};
use crate::ui::{self, Ui};

/// Two hosts are one wire.
const HOSTS: usize = 2;

/// The most characters of a failed command that are told in a row of the table.
const MAX_WHY: usize = 160;

/// Runs it.
pub async fn run(args: &Bench, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let ways = ways(&args.only)?;
    // Its notes are the run's own.
    let (events, _) = Events::channel();
    let stop = stop_signal(events);
    let mut rows = Vec::new();
    for os in [Os::Debian13, Os::Debian11] {
        let of_os: Vec<WayToConnect> = ways
            .iter()
            .copied()
            .filter(|way| os_of(way.fabric) == os)
            .collect();
        if !of_os.is_empty() && !*stop.borrow() {
            rows.extend(on_hosts(os, &of_os, ui, &stop).await?);
        }
    }
    if *stop.borrow() {
        ui.note("Interrupted; nothing is left of the hosts.");
        return Ok(Exit::Failed);
    }
    let prices = Prices {
        machine: machine(),
        rows,
    };
    write(args.html.as_deref(), || ui::prices_html(&prices))?;
    write(args.markdown.as_deref(), || ui::prices_markdown(&prices))?;
    match global.output {
        Output::Json => ui.json(&serde_json::to_value(&prices).unwrap_or_default()),
        Output::Text => ui.print(&ui::prices(&prices, ui, ui::width())),
    }
    Ok(match prices.rows.iter().any(Price::has_failed) {
        true => Exit::Failed,
        false => Exit::Done,
    })
}

/// Everything that is measured: each fabric as it is and over WireGuard, and what encrypts by itself.
fn ways(only: &[String]) -> Result<Vec<WayToConnect>, Error> {
    let known: Vec<String> = measured().map(|kind| kind.to_string()).collect();
    if let Some(wrong) = only.iter().find(|name| !known.contains(name)) {
        return Err(
            Error::usage(format!("--only: there is no fabric `{wrong}`"))
                .hint(format!("there are {}", known.join(", "))),
        );
    }
    let wanted = measured().filter(|kind| only.is_empty() || only.contains(&kind.to_string()));
    let mut ways = Vec::new();
    for fabric in wanted {
        let way = WayToConnect {
            fabric,
            encrypted: false,
            wireguard: false,
        };
        ways.push(way);
        if fabric == FabricKind::Swarm {
            ways.push(WayToConnect {
                encrypted: true,
                ..way
            });
        }
        ways.push(WayToConnect {
            wireguard: true,
            ..way
        });
    }
    Ok(ways)
}

/// Every fabric whose containers have something between hosts.
fn measured() -> impl Iterator<Item = FabricKind> {
    // A published port is the hosts' own network.
    fabrics::ALL
        .iter()
        .copied()
        .filter(|kind| *kind != FabricKind::Nat)
}

/// The hosts for a fabric: the classic overlay needs an engine that has it still.
fn os_of(fabric: FabricKind) -> Os {
    match fabric {
        FabricKind::Overlay => Os::Debian11,
        _ => Os::Debian13,
    }
}

/// Measures these, one after the other, on a lab that is removed in any case.
async fn on_hosts(
    os: Os,
    ways: &[WayToConnect],
    ui: Ui,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<Price>, Error> {
    let folder = tempfile::tempdir()
        .map_err(|error| Error::failed("no folder can be made").because(error))?;
    let name = format!("bench-{}-{}", os.name(), std::process::id());
    let wanted = Wanted {
        name: ClusterName::parse(&name).map_err(Error::usage)?,
        hosts: HOSTS,
        os,
        bare: false,
        mirror: None,
        inventory: folder.path().join("lab.yaml"),
    };
    ui.note(&format!("Making {HOSTS} hosts with {}.", os.name()));
    let (events, _) = Events::channel();
    let mut rows = Vec::new();
    let result = lab::up(&wanted, &events).await;
    if result.is_ok() {
        for way in ways {
            if *stop.borrow() {
                break;
            }
            let began = Instant::now();
            let (outcome, clean) = measure(&wanted, *way).await;
            let row = Price {
                way: *way,
                os: os.name(),
                outcome,
            };
            let said = row.why_not().unwrap_or_else(|| "measured".to_owned());
            ui.note(&format!("{way}: {said} ({} s)", began.elapsed().as_secs()));
            rows.push(row);
            if let Err(why) = clean {
                // Whatever came next would be measured on top of what is left.
                ui.note(&format!("{way} was not taken down: {why}"));
                break;
            }
        }
    }
    let removed = lab::down(&name).await;
    result.map_err(wrong)?;
    removed.map_err(wrong)?;
    Ok(rows)
}

/// Makes one, measures it, and takes it down; the second value is whether that was possible.
async fn measure(wanted: &Wanted, way: WayToConnect) -> (Outcome, Result<(), String>) {
    let failed = |why: String| Outcome::Failed { why };
    let file = match inventory(wanted, way) {
        Ok(file) => file,
        Err(error) => return (failed(error.to_string()), Ok(())),
    };
    match refusal(&file).await {
        Ok(Some(why)) => return (Outcome::Skipped { why }, Ok(())),
        Err(why) => return (failed(why), Ok(())),
        Ok(None) => {}
    }
    let outcome = match ours(&file, &["up", "--yes"]).await {
        Ok(_) => figures(&file, wanted).await.unwrap_or_else(failed),
        Err(why) => failed(why),
    };
    let down = ours(&file, &["down", "--yes"]).await;
    (outcome, down.map(|_| ()))
}

/// The lab's inventory with this way to connect.
fn inventory(wanted: &Wanted, way: WayToConnect) -> std::io::Result<PathBuf> {
    let text = std::fs::read_to_string(&wanted.inventory)?;
    let mut network = format!("fabric: {}", way.fabric);
    if way.encrypted {
        network.push_str(", encrypted: true");
    }
    if way.fabric.is_in_lan() {
        // The upper half of the lab's subnet is nobody's.
        let address = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("private: "))
            .unwrap_or_default();
        let lan = address.rsplit_once('.').unwrap_or_default().0;
        network.push_str(&format!(", name: lan, pool: {lan}.128/25"));
    }
    let underlay = if way.wireguard {
        "underlay: wireguard\n"
    } else {
        ""
    };
    let file = wanted.inventory.with_file_name("way.yaml");
    std::fs::write(&file, format!("network: {{{network}}}\n{underlay}{text}"))?;
    Ok(file)
}

/// Why these hosts cannot have it, if they cannot.
async fn refusal(file: &Path) -> Result<Option<String>, String> {
    let ended = run_ours(file, &["plan", "--output", "json"]).await?;
    // An inventory that contradicts itself, such as containers of the LAN over a mesh.
    if ended.status.code() == Some(i32::from(Exit::Usage as u8)) {
        return Ok(Some(last_words(&ended.stderr)));
    }
    let document: Value =
        serde_json::from_slice(&ended.stdout).map_err(|_| last_words(&ended.stderr))?;
    let problem = document["problems"].get(0);
    Ok(problem.and_then(|problem| Some(problem["what"].as_str()?.to_owned())))
}

async fn figures(file: &Path, wanted: &Wanted) -> Result<Outcome, String> {
    let pair = format!("{0}-1:{0}-2", wanted.name);
    let ended = ours(file, &["bench", &pair, "--output", "json"]).await?;
    let document: Value =
        serde_json::from_slice(&ended.stdout).map_err(|error| error.to_string())?;
    let measured = &document["bench"][0];
    let of = |key: &str| serde_json::from_value::<Figures>(measured[key].clone());
    match (of("fabric"), of("ratio")) {
        (Ok(figures), Ok(ratio)) => Ok(Outcome::Measured { figures, ratio }),
        _ => Err(measured["errors"].to_string()),
    }
}

/// Runs a command of this program, which must succeed.
async fn ours(file: &Path, arguments: &[&str]) -> Result<Ended, String> {
    let ended = run_ours(file, arguments).await?;
    match ended.status.success() {
        true => Ok(ended),
        false => Err(format!("{}: {}", arguments[0], last_words(&ended.stderr))),
    }
}

async fn run_ours(file: &Path, arguments: &[&str]) -> Result<Ended, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Command::new(program)
        .arg("-f")
        .arg(file)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| error.to_string())
}

/// What a command said of its failure: the line that begins with `Error:` or, of an inventory, with a cross; else its last.
fn last_words(stderr: &[u8]) -> String {
    let text = crate::words::printable(stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .find_map(|line| line.strip_prefix("Error: ").or(line.strip_prefix("× ")))
        .or_else(|| lines().next_back())
        .unwrap_or("it said nothing");
    line.chars().take(MAX_WHY).collect()
}

/// The machine that carries the hosts, in words.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({model}), Linux {}", kernel.trim())
}
