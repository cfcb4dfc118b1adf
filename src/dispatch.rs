//! From what was typed to the command that does it.

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};
use crate::commands::machine::{self, Machines};
use crate::commands::{
    active, advise, bench, cert, completions, config, context, docker_ssh, down, env, exec, init,
    inspect, ip, lab, logs, ls, migrate, plan, ps, restart, rm, run_on, scp, ssh, ssh_config,
    status, store, underlay, up, url, verify,
};
use crate::error::{Error, Exit};
use crate::global::SchemaOf;
use crate::inventory::Inventory;
use crate::machine::Machine;
use crate::proof::Matrix;
use crate::ui::Ui;

/// Runs a verb of docker-machine.
pub async fn machine(called: Machine, ui: Ui) -> Result<Exit, Error> {
    let machines = Machines::open(
        called.storage_path.as_deref(),
        &called.tls,
        u8::from(called.debug),
    )?;
    machine::run(&called.verb, &machines, ui).await
}

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
        Command::Active => active::run(global, ui),
        Command::Ip(args) => ip::run(&args, global, ui).await,
        Command::Url(args) => url::run(&args, global, ui),
        Command::Config(args) => config::run(&args, global, ui),
        Command::Inspect(args) => inspect::run(&args, global, ui),
        Command::Status(args) => status::run(&args, global, ui).await,
        Command::Scp(args) => scp::run(&args, global),
        Command::Restart(args) => restart::run(&args, global, ui).await,
        Command::Ps(args) => ps::run(&args, global, ui).await,
        Command::Exec(args) => exec::run(&args, global, ui).await,
        Command::Logs(args) => logs::run(&args, global, ui).await,
        Command::RunOn(args) => run_on::run(&args, global, ui).await,
        Command::Completions(args) => completions::run(&args, Cli::command(), ui),
        Command::Manual(args) => completions::manual(&args, Cli::command()),
        Command::Ls(args) => ls::run(&args, global, ui).await,
        Command::Ssh(args) => ssh::run(&args, global).await,
        Command::SshConfig => ssh_config::run(global, ui),
        Command::Cert(args) => cert::run(&args, global, ui).await,
        Command::Context(args) => context::run(&args, global, ui),
        Command::Lab(args) => lab::run(&args, global, ui).await,
        Command::DockerSsh(args) => docker_ssh::run(&args, global, ui),
        Command::Down(args) => down::run(&args, global, ui).await,
        Command::Store(args) => store::run(&args, global, ui).await,
        Command::Underlay(args) => underlay::run(&args, global, ui).await,
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
