//! The command line: clap types only. The doc comments here are the help texts.

use clap::{Parser, Subcommand};

use crate::global::{Global, SchemaOf};

/// The version, and the commit that it is made of.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");

/// Connect the Docker hosts you already have: one inventory, plain SSH, an overlay network, and proof that it works.
#[derive(Debug, Parser)]
#[command(name = "docker-cluster", version = VERSION, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or inventory, 3 changes pending (plan --exit-code), 4 some pair does not reach, 5 another run holds the cluster."
)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a commented inventory to start from
    Init(crate::commands::init::Init),
    /// Show what `up` would change on each host and why; touches nothing
    Plan(crate::commands::plan::PlanArgs),
    /// Say which way to connect these hosts fits, and why others do not; touches nothing
    Advise,
    /// Plan, ask, apply, verify
    Up(crate::commands::up::Up),
    /// Prove that every host reaches every other by name, and say why where not
    Verify(crate::commands::verify::Verify),
    /// Measure what the network costs: latency, requests, throughput and CPU, against the bare underlay
    Bench(crate::commands::bench::Bench),
    /// Print what points Docker's client at a host, for the shell that you use
    Env(crate::commands::env::Env),
    /// Keep a context of Docker's client for each host
    Context(crate::commands::context::ContextArgs),
    /// Make certificates for persons, list them and take them back, for engines that listen on the network
    Cert(crate::commands::cert::CertArgs),
    /// Print the hosts for ~/.ssh/config, so that every program that uses ssh knows them
    SshConfig,
    /// Take a host out of its swarm: drain, demote, leave, remove
    Rm(crate::commands::rm::Rm),
    /// Take the cluster off its hosts: they become what they were before `up`
    Down(crate::commands::down::Down),
    /// Back up, restore and tidy the store
    Store(crate::commands::store::StoreArgs),
    /// Give the mesh under the network new keys
    Underlay(crate::commands::underlay::UnderlayArgs),
    /// Move from an overlay over a store to swarm mode, or back
    Migrate(crate::commands::migrate::Migrate),
    /// List the hosts and their state
    Ls(crate::commands::ls::Ls),
    /// List the containers of all hosts
    Ps(crate::commands::ps::Ps),
    /// Run a command in a container, wherever it runs
    Exec(crate::commands::exec::Exec),
    /// Show what a container, or the units of a host, have written
    Logs(crate::commands::logs::Logs),
    /// Run a command on many hosts at once
    RunOn(crate::commands::run_on::RunOn),
    /// Run a command, or a shell, on a host
    Ssh(crate::commands::ssh::Ssh),
    /// Copy files to, from and between hosts
    Scp(crate::commands::scp::Scp),
    /// Restart engines, one after the other, each waited for
    Restart(crate::commands::restart::Restart),
    /// Print which host Docker's client of this shell talks to
    Active,
    /// Print the state of a host
    Status(crate::commands::status::Status),
    /// Print the addresses of hosts
    Ip(crate::commands::ip::Ip),
    /// Print where the engine of a host is reached
    Url(crate::commands::url::Url),
    /// Print the arguments that point Docker's client at a host, for one call
    Config(crate::commands::config::Config),
    /// Print what the inventory says of hosts
    Inspect(crate::commands::inspect::Inspect),
    /// Throwaway hosts on this machine's Docker engine
    Lab(crate::commands::lab::LabArgs),
    /// Close the SSH connections that earlier commands left open
    Disconnect,
    /// Print the JSON Schema of the inventory
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
    /// Print the completions of a shell
    Completions(crate::commands::completions::Completions),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Manual(crate::commands::completions::Manual),
    /// What the ssh that `env` makes runs
    #[command(hide = true, name = "docker-ssh")]
    DockerSsh(crate::commands::docker_ssh::DockerSsh),
    /// Print what Docker's client asks of a plugin
    #[command(hide = true, name = "docker-cli-plugin-metadata")]
    PluginMetadata,
}

impl Command {
    /// Whether it only reads files and prints: no host, no engine, nothing to wait for.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Init(_)
            | Self::Schema { .. }
            | Self::Context(_)
            | Self::SshConfig
            | Self::Active
            | Self::Url(_)
            | Self::Config(_)
            | Self::Inspect(_)
            | Self::Scp(_)
            | Self::Completions(_)
            | Self::Manual(_)
            | Self::DockerSsh(_)
            | Self::PluginMetadata => true,
            Self::Env(args) => !args.swarm,
            Self::Ip(args) => !args.private,
            Self::Ls(args) => args.asks_nobody(),
            _ => false,
        }
    }
}
