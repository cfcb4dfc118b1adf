//! `advise`: which way to connect these hosts fits; touches nothing.

use serde_json::json;

use super::{ask, load, select};
use crate::decide::advise::{Advice, advise};
use crate::error::{Error, Exit};
use crate::global::{Global, Output};
use crate::plan::World;
use crate::ui::{Progress, Tone, Ui, list_width, table};
use crate::underlays;

/// How many reasons are told of a fabric that does not fit: the first says most.
const REASONS: usize = 2;

/// Runs it.
pub async fn run(global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let selected = select(&inventory, global)?;
    let progress = Progress::start(ui);
    let asked = ask(&selected, progress.events()).await;
    progress.finish().await;
    let mut asked = asked?;
    let unreached = std::mem::take(&mut asked.unreached);
    let silent = !unreached.is_empty();
    let world = World::new(&inventory, &asked.facts, unreached);
    let all = advise(&world);
    let underlay = underlays::of(&inventory).about(&inventory);
    match global.output {
        Output::Json => ui.json(
            &json!({ "cluster": inventory.cluster, "underlay": underlay, "advice": all, "unreached": world.unreached }),
        ),
        Output::Text => {
            ui.print(&shown(&all, underlay.as_deref(), ui));
            for unreached in &world.unreached {
                ui.note(&format!(
                    "{} cannot be asked: {}",
                    unreached.host, unreached.error
                ));
            }
        }
    }
    Ok(if silent { Exit::Failed } else { Exit::Done })
}

fn shown(all: &[Advice], underlay: Option<&str>, ui: Ui) -> String {
    let plain = |text: &str| (text.to_owned(), Tone::Plain);
    let rows = all.iter().map(|advice| {
        let fits = if advice.fits() {
            ("yes".to_owned(), Tone::Good)
        } else {
            ("no".to_owned(), Tone::Bad)
        };
        let about = advice.about;
        vec![
            plain(&advice.fabric.to_string()),
            fits,
            plain(about.layer.in_words()),
            plain(about.names.in_words()),
            plain(about.encryption.in_words()),
            plain(&advice.mtu.to_string()),
            plain(about.disturbs),
        ]
    });
    let columns = [
        "FABRIC",
        "FITS",
        "LAYER",
        "NAMES",
        "ENCRYPTION",
        "MTU",
        "DISTURBS",
    ];
    let mut text = table(&columns, rows.collect(), ui.out, list_width());
    for advice in all.iter().filter(|advice| !advice.fits()) {
        text.push_str(&format!("\n{} does not fit:\n", advice.fabric));
        for problem in advice.problems.iter().take(REASONS) {
            let whose = problem
                .host
                .as_ref()
                .map_or_else(String::new, |host| format!("{host}: "));
            text.push_str(&format!("  {whose}{}\n", problem.what));
        }
        if let Some(more) = advice
            .problems
            .len()
            .checked_sub(REASONS)
            .filter(|more| *more > 0)
        {
            text.push_str(&format!("  and {more} more\n"));
        }
    }
    if let Some(about) = underlay {
        text.push_str(&format!(
            "\nAll of them go {about}: MTU is what that leaves.\n"
        ));
    }
    match all.iter().find(|advice| advice.fits()) {
        Some(first) => text.push_str(&format!("\nWrite into the inventory: {}\n", first.line)),
        None => text.push_str("\nNone fits: mend what is said of one of them, then ask again.\n"),
    }
    text
}
