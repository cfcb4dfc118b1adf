//! `create`: the inventory of a host alone, and what makes it true. `provision` makes it true again.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::machines::{HEAD, is_name};
use super::{Machines, UNASKED, certificates, engine_options, refused_early, swarm};
use crate::commands::carry_out::{Job, Manner, carry_out, check_consent};
use crate::commands::{ask_all, complete, load};
use crate::decide::machine;
use crate::error::{Error, Exit};
use crate::facts::{Engine, Scope};
use crate::global::Global;
use crate::inventory::{API_PORT, Inventory};
use crate::plan::World;
use crate::ui::Ui;

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The name of the machine
    name: Option<String>,
    /// `generic`, for a host that you already have; all others make machines and are refused, docker-machine's default as well
    #[arg(short, long, env = "MACHINE_DRIVER", default_value = "virtualbox")]
    driver: String,
    /// Where ssh finds the host: an IP address, a name, or a Host of your ~/.ssh/config
    #[arg(long, value_name = "ADDRESS", env = "GENERIC_IP_ADDRESS")]
    generic_ip_address: Option<String>,
    /// The login; it is root, or has sudo without a password
    #[arg(
        long,
        value_name = "USER",
        env = "GENERIC_SSH_USER",
        default_value = "root"
    )]
    generic_ssh_user: String,
    /// A file with a private key [default: your agent and your own keys]
    #[arg(long, value_name = "FILE", env = "GENERIC_SSH_KEY")]
    generic_ssh_key: Option<PathBuf>,
    /// The port of ssh
    #[arg(
        long,
        value_name = "PORT",
        env = "GENERIC_SSH_PORT",
        default_value_t = 22
    )]
    generic_ssh_port: u16,
    /// Not used: an engine with TLS listens on port 2376
    #[arg(long, value_name = "PORT", env = "GENERIC_ENGINE_PORT")]
    generic_engine_port: Option<u16>,
    /// Not used: a missing engine comes from the packages of the host's distribution
    #[arg(long, value_name = "URL", env = "MACHINE_DOCKER_INSTALL_URL")]
    engine_install_url: Option<String>,
    #[command(flatten)]
    pub(super) engine: engine_options::EngineOptions,
    /// One more name or address in the certificate of the engine
    #[arg(long, value_name = "NAME")]
    tls_san: Vec<String>,
    /// How the engine is reached: on port 2376 with TLS, as by docker-machine, or over ssh alone
    #[arg(long, value_enum, env = "MACHINE_ENGINE_API", default_value_t)]
    engine_api: Api,
    #[command(flatten)]
    agreed: Agreed,
    #[command(flatten)]
    swarm: swarm::Swarm,
}

/// How an engine is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Api {
    /// On port 2376, with TLS.
    #[default]
    Tls,
    /// Over SSH alone.
    Ssh,
}

/// What a person has agreed to beforehand.
#[derive(Debug, Args)]
pub struct Agreed {
    /// Do not ask where containers run on an engine that is to be changed
    #[arg(short, long)]
    yes: bool,
}

/// Arguments of `provision`.
#[derive(Debug, Args)]
pub struct Provision {
    /// The machines [default: the one called default]
    pub names: Vec<String>,
    #[command(flatten)]
    agreed: Agreed,
}

/// Runs it. A machine that could not be made is not kept: the next `create` goes on where this one stopped.
pub async fn run(args: &Create, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let (name, address) = args.checked(machines)?;
    if let Some(key) = args
        .generic_ssh_key
        .as_ref()
        .filter(|key| !key.starts_with("~") && !key.is_file())
    {
        let error = Error::failed(format!(
            "Error with pre-create check: \"SSH key does not exist: {}\"",
            key.display()
        ));
        refused_early(&error, ui);
    }
    let text = args
        .inventory(name, address, &machines.ca_files())
        .and_then(|text| machines.check(name, &text).map(|()| text))
        .unwrap_or_else(|error| refused_early(&error, ui));
    if args.engine_api == Api::Tls {
        machines.ready_ca(false, ui)?;
    }
    args.unused().iter().for_each(|flag| {
        ui.note(&format!(
            "{flag} is not used; docs/docker-machine.md says why."
        ))
    });
    let file = machines.file_of(name).display().to_string();
    let inventory = Inventory::parse(text.as_str(), &file)
        .map_err(|error| Error::Inventory(Box::new(error)))?;
    let inventory = complete(inventory);
    match make(&inventory, "create", &args.agreed, machines.global(), ui).await? {
        Exit::Done => {
            certificates::issue(&inventory, machines, ui).await?;
            machines.add(name, &text)?;
        }
        other => return Ok(other),
    }
    ui.print(&format!(
        "Docker is up and running!\nTo see how to connect your Docker Client to the Docker Engine running on this machine, \
         run: docker-machine env {name}"
    ));
    Ok(Exit::Done)
}

/// Makes machines again what their inventories say, one after the other.
pub async fn provision(args: &Provision, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let mut worst = Exit::Done;
    for name in machines.named(&args.names)? {
        let global = machines.global_of(&name);
        let inventory = load(&global)?;
        match make(&inventory, "provision", &args.agreed, &global, ui).await {
            Ok(Exit::Done) => certificates::ensure(&inventory, machines, ui).await?,
            Ok(exit) => worst = exit,
            // Said here, so that it does not stop those after it.
            Err(error) => {
                ui.machine_error(&error);
                worst = error.exit();
            }
        }
    }
    Ok(worst)
}

/// Carries it out. It asks only where what runs on the host would notice: docker-machine restarted engines under their containers.
async fn make(
    inventory: &Inventory,
    command: &'static str,
    agreed: &Agreed,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    let asked = ask_all(inventory, Scope::Usual, ui).await?;
    let plan = machine::plan(&World::new(
        inventory,
        &asked.facts,
        asked.unreached.clone(),
    ));
    let engines = asked
        .facts
        .iter()
        .filter_map(|(_, facts)| facts.engine.as_ref());
    let is_noticed = !plan.is_empty() && engines.flat_map(Engine::running).next().is_some();
    let manner = Manner {
        yes: agreed.yes || !is_noticed,
        ..UNASKED
    };
    check_consent(command, manner.yes)?;
    let job = Job {
        command,
        inventory,
        asked: &asked,
        decide: &machine::plan,
        manner: &manner,
        prove: false,
    };
    carry_out(&job, global, ui).await
}

impl Create {
    /// The name and the address, if a machine can be called so. What is refused here ends with 1, as it does in docker-machine.
    fn checked(&self, machines: &Machines) -> Result<(&str, &str), Error> {
        let name = self
            .name
            .as_deref()
            .ok_or_else(|| Error::failed("Error: No machine name specified"))?;
        if !is_name(name) {
            return Err(Error::failed(
                "Error creating machine: Invalid hostname specified. Allowed hostname chars are: 0-9a-zA-Z . -",
            ));
        }
        if machines.has(name) {
            return Err(Error::failed(format!(
                "Docker machine \"{name}\" already exists"
            )));
        }
        let address = self.generic_ip_address.as_deref();
        let address = address.filter(|address| !address.is_empty());
        let address = address.ok_or_else(|| {
            Error::failed(
                "Error setting machine configuration from flags provided: generic driver requires the --generic-ip-address option",
            )
        })?;
        Ok((name, address))
    }

    /// The inventory of the host alone.
    fn inventory(&self, name: &str, address: &str, ca: &[String; 2]) -> Result<String, Error> {
        let mut ssh: Map<String, Value> = Map::new();
        ssh.insert("user".to_owned(), self.generic_ssh_user.clone().into());
        ssh.insert("port".to_owned(), self.generic_ssh_port.into());
        if let Some(key) = &self.generic_ssh_key {
            let path = if key.starts_with("~") {
                key.clone()
            } else {
                std::path::absolute(key).unwrap_or(key.clone())
            };
            ssh.insert("identity".to_owned(), path.display().to_string().into());
        }
        // JSON is YAML, with quotes where they are needed.
        let mut host = json!({"name": name, "address": address, "ssh": ssh});
        match self.engine_api {
            // On all addresses, as docker-machine's: behind a NAT the host has not the one that was typed.
            Api::Tls => {
                host["engine"] =
                    json!({"api": "tls", "address": "0.0.0.0", "tls_san": self.tls_san});
            }
            Api::Ssh => {}
        }
        let mut engine = json!({"options": self.engine.options()?});
        if self.engine_api == Api::Tls {
            (engine["ca"], engine["ca_key"]) = (json!(ca[0]), json!(ca[1]));
        }
        let swarm = match self.swarm.settings(name)? {
            Some(_) if self.engine_api == Api::Ssh => {
                return Err(Error::failed(
                    "a manager of Swarm asks engines over TLS, and `--engine-api=ssh` is for none",
                )
                .hint("leave `--engine-api=ssh` out"));
            }
            Some(settings) => format!("swarm: {settings}\n"),
            None => String::new(),
        };
        Ok(format!(
            "# Made by `docker-machine create`; `docker-machine provision {name}` makes the host as this says.\n\
             {HEAD}engine: {engine}\n{swarm}hosts:\n  - {host}\n"
        ))
    }

    /// Flags that are taken and mean nothing here.
    fn unused(&self) -> Vec<&'static str> {
        let all = [
            (
                "--generic-engine-port",
                self.generic_engine_port
                    .is_some_and(|port| port != API_PORT),
            ),
            ("--engine-install-url", self.engine_install_url.is_some()),
            ("--swarm-addr", self.swarm.swarm_addr.is_some()),
            (
                "--tls-san",
                !self.tls_san.is_empty() && self.engine_api == Api::Ssh,
            ),
        ];
        all.into_iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(flag, _)| flag)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn text(arguments: &[&str]) -> Result<String, Error> {
        let words = ["create", "--driver", "generic"].iter().chain(arguments);
        let create = Line::try_parse_from(words).unwrap().create;
        create.inventory(
            "dev",
            create.generic_ip_address.as_deref().unwrap(),
            &["../certs/ca.pem", "/k/ca-key.pem"].map(str::to_owned),
        )
    }

    #[test]
    fn what_was_typed_is_an_inventory() {
        let text = text(&[
            "--generic-ip-address=10.90.0.4",
            "--generic-ssh-key=/keys/a b",
            "--generic-ssh-port=2222",
            "--engine-opt=log-driver=journald",
            "--engine-label=disk=ssd",
            "--tls-san=docker.example.com",
            "dev",
        ]);
        let inventory = Inventory::parse(&text.unwrap(), "dev.yaml").unwrap();
        let host = &inventory.hosts[0];
        assert_eq!(
            (host.name.as_str(), host.ssh.address.as_str()),
            ("dev", "10.90.0.4")
        );
        assert_eq!(
            (host.ssh.user.as_deref(), host.ssh.port),
            (Some("root"), Some(2222))
        );
        assert_eq!(
            host.ssh.identity.as_deref(),
            Some(std::path::Path::new("/keys/a b"))
        );
        let api = host.api.as_ref().unwrap();
        assert!(api.is_everywhere() && api.names == ["docker.example.com"]);
        assert_eq!(api.url(), "tcp://10.90.0.4:2376");
        let ca = inventory.engine.ca.as_ref().unwrap();
        assert_eq!(ca.key.path, std::path::Path::new("/k/ca-key.pem"));
        assert_eq!(
            json!(inventory.engine.options),
            json!({"log-driver": "journald", "labels": ["disk=ssd"]})
        );
    }

    #[test]
    fn swarm_is_as_docker_machine_was_told() {
        let swarm = |arguments: &[&str]| {
            let all = [&["--generic-ip-address=10.90.0.4"][..], arguments, &["dev"]].concat();
            let text = text(&all).unwrap();
            let inventory = Inventory::parse(&text, "/s/machines/dev.yaml").unwrap();
            let managers = inventory.swarm.managers.choose(&inventory.hosts).len();
            (managers, inventory.swarm.standalone)
        };
        let store = "--swarm-discovery=consul://10.0.0.5:8500";
        let (managers, spec) = swarm(&["--swarm", "--swarm-master", store]);
        let spec = spec.unwrap();
        assert_eq!((managers, spec.agents, spec.port), (1, true, 3376));
        assert_eq!(spec.image, "swarm:latest");
        assert_eq!(spec.discovery.as_deref(), Some("consul://10.0.0.5:8500"));
        let (managers, spec) = swarm(&["--swarm", store, "--swarm-join-opt=ttl=60s"]);
        assert_eq!(
            (managers, spec.unwrap().join_options),
            (0, vec!["ttl=60s".to_owned()])
        );
        let (managers, spec) = swarm(&[
            "--swarm-master",
            store,
            "--swarm-strategy=binpack",
            "--swarm-opt=replication",
            "--swarm-host=tcp://0.0.0.0:3377",
            "--swarm-experimental",
        ]);
        let spec = spec.unwrap();
        assert_eq!((managers, spec.agents, spec.port), (1, false, 3377));
        assert_eq!(
            (spec.strategy.as_str(), spec.experimental, spec.options),
            ("binpack", true, vec!["replication".to_owned()])
        );
        assert_eq!(
            swarm(&[store]).1,
            None,
            "the others mean nothing by themselves"
        );
        let said = |arguments: &[&str]| {
            let all = [&["--generic-ip-address=a"][..], arguments, &["dev"]].concat();
            format!("{:?}", text(&all).unwrap_err())
        };
        assert!(said(&["--swarm"]).contains("--swarm-discovery=consul://"));
        assert!(said(&["--swarm", "--swarm-discovery=token://x"]).contains("not there any more"));
        assert!(said(&["--swarm", store, "--engine-api=ssh"]).contains("over TLS"));
        let unix = ["--swarm-master", store, "--swarm-host=unix:///x"];
        assert!(said(&unix).contains("tcp://0.0.0.0:PORT"));
    }

    #[test]
    fn an_engine_may_be_reached_over_ssh_alone() {
        let text = text(&["--generic-ip-address=a", "--engine-api=ssh", "dev"]).unwrap();
        let inventory = Inventory::parse(&text, "dev.yaml").unwrap();
        assert_eq!(inventory.hosts[0].api, None);
    }
}
