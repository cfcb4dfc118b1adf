//! From what was typed to the command that does it.

use crate::cli::{Cli, Command};
use crate::commands::{advise, bench, docker_ssh, down, env, init, lab, ls, migrate, plan, rm, ssh, store, up, verify};
use crate::error::{Error, Exit};
use crate::global::SchemaOf;
use crate::inventory::Inventory;
use crate::proof::Matrix;
use crate::ui::Ui;

/// Runs a command.
pub async fn run(cli: Cli, ui: Ui) -> Result<Exit, Error> {
    let global = &cli.global;
    match cli.command {
        Command::Init(args) => init::run(&args, ui),
        Command::Plan(args) => plan::run(&args, global, ui).await,
        Command::Advise => advise::run(global, ui).await,
        Command::Up(args) => up::run(&args, global, ui).await,
        Command::Verify(args) => verify::run(&args, global, ui).await,
        Command::Bench(args) => bench::run(&args, global, ui).await,
        Command::Env(args) => env::run(&args, global, ui).await,
        Command::Ls => ls::run(global, ui).await,
        Command::Ssh(args) => ssh::run(&args, global).await,
        Command::Lab(args) => lab::run(&args, global, ui).await,
        Command::DockerSsh(args) => docker_ssh::run(&args, global, ui),
        Command::Down(args) => down::run(&args, global, ui).await,
        Command::Store(args) => store::run(&args, global, ui).await,
        Command::Rm(args) => rm::run(&args, global, ui).await,
        Command::Migrate(args) => migrate::run(&args, global, ui).await,
        Command::Disconnect => {
            let count = crate::host::disconnect_all()
                .await
                .map_err(|error| Error::failed("cannot close the connections").because(error))?;
            ui.note(&format!("Closed {count} connections."));
            Ok(Exit::Done)
        }
        Command::Schema { of } => {
            match of {
                SchemaOf::Inventory => ui.json(&Inventory::schema()),
                SchemaOf::Verify => ui.print(Matrix::SCHEMA),
            }
            Ok(Exit::Done)
        }
        Command::PluginMetadata => {
            ui.json(&serde_json::json!({
                "SchemaVersion": "0.1.0",
                "Vendor": "docker-cluster",
                "Version": env!("CARGO_PKG_VERSION"),
                "ShortDescription": "Connect Docker hosts over SSH",
            }));
            Ok(Exit::Done)
        }
    }
}
