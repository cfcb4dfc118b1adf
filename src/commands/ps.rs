//! `ps`: the containers of all hosts in one list.

use clap::Args;
use serde_json::{Map, Value, json};

use super::containers::{Container, Wanted, ended, list};
use super::{load, select};
use crate::error::{Error, Exit};
use crate::global::{Global, Output};
use crate::ui::{Template, Tone, Ui, list_width, table};

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Stopped ones as well
    #[arg(short, long)]
    pub all: bool,
    /// Only those that fit, as `docker ps` takes it: name=web, status=exited, network=net, label=k=v
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Only their ids
    #[arg(short, long, conflicts_with = "format")]
    pub quiet: bool,
    /// A template in the manner of `docker ps`, such as `table {{.Host}}\t{{.Names}}\t{{.Status}}`
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

/// Digits of an id that are shown, as Docker's client does it.
const SHORT_ID: usize = 12;

/// The field of a template that needs the sizes.
const SIZE: &str = ".Size";

/// Runs it.
pub async fn run(args: &Ps, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let template = args
        .format
        .as_deref()
        .map(Template::parse)
        .transpose()
        .map_err(wrong)?;
    let wanted = Wanted {
        all: args.all,
        filter: args.filter.clone(),
        // As Docker's client decides it.
        size: args
            .format
            .as_deref()
            .is_some_and(|text| text.contains(SIZE)),
    };
    let found = list(&select(&inventory, global)?, &wanted, ui).await?;
    match (template, global.output) {
        (Some(template), _) => {
            let documents: Vec<Value> = found.containers.iter().map(fields).collect();
            ui.print(
                &template
                    .rows(&documents, ui.out, list_width())
                    .map_err(wrong)?,
            );
        }
        (None, _) if args.quiet => {
            let ids = found
                .containers
                .iter()
                .map(|container| short(container.field("ID")) + "\n");
            ui.print(&ids.collect::<String>());
        }
        (None, Output::Json) => ui.json(&json!({
            "cluster": inventory.cluster,
            "containers": found.containers.iter().map(document).collect::<Vec<_>>(),
            "unreached": found.silent,
        })),
        (None, Output::Text) => {
            let rows = found.containers.iter().map(row).collect();
            ui.print(&table(
                &["HOST", "NAME", "IMAGE", "STATUS", "NETWORKS", "PORTS"],
                rows,
                ui.out,
                list_width(),
            ));
        }
    }
    Ok(ended(&found))
}

fn wrong(error: String) -> Error {
    Error::usage(format!("--format: {error}"))
}

fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}

fn row(container: &Container) -> Vec<(String, Tone)> {
    let status = container.field("Status");
    let tone = match status {
        up if up.starts_with("Up") && !up.contains("unhealthy") => Tone::Good,
        _ => Tone::Bad,
    };
    let cell = |text: &str| match text {
        "" => ("-".to_owned(), Tone::Dim),
        text => (text.to_owned(), Tone::Plain),
    };
    vec![
        cell(container.host.as_str()),
        cell(container.name()),
        cell(container.field("Image")),
        (status.to_owned(), tone),
        cell(&container.field("Networks").replace(',', ", ")),
        cell(container.field("Ports")),
    ]
}

/// What a template sees: Docker's own fields, and the host.
fn fields(container: &Container) -> Value {
    let mut map: Map<String, Value> = container
        .fields
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    map.insert("ID".to_owned(), short(container.field("ID")).into());
    map.insert("Host".to_owned(), container.host.as_str().into());
    map.into()
}

fn document(container: &Container) -> Value {
    let list = |text: &str| -> Vec<String> {
        text.split(',')
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect()
    };
    json!({
        "host": container.host,
        "id": container.field("ID"),
        "name": container.name(),
        "image": container.field("Image"),
        "status": container.field("Status"),
        "networks": list(container.field("Networks")),
        "ports": list(container.field("Ports")),
        "labels": list(container.field("Labels")),
        "created": container.field("CreatedAt"),
    })
}
