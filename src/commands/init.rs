//! `init`: a commented inventory to start from.

use clap::Args;

use crate::error::{Error, Exit};
use crate::inventory::Inventory;
use crate::ui::Ui;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Addresses of the hosts: `[user@]host[:port]`
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
}

/// Runs it.
pub fn run(args: &Init, ui: Ui) -> Result<Exit, Error> {
    let hosts: String = args
        .addresses
        .iter()
        .map(|address| format!("  - {}\n", serde_json::Value::from(address.as_str())))
        .collect();
    let text = include_str!("../../templates/inventory.yaml").replace("@HOSTS@\n", &hosts);
    // What is printed is what every other command accepts.
    Inventory::parse(&text, "cluster.yaml").map_err(|error| Error::Inventory(Box::new(error)))?;
    ui.print(&text);
    Ok(Exit::Done)
}
