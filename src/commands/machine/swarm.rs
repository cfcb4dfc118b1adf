//! docker-machine's own Swarm: flags of `create`, as what the inventory of a machine says.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::checksum::sha256_hex;
use crate::error::Error;
use crate::files;
use crate::inventory::SWARM_PORT;

/// The flags.
#[derive(Debug, Args)]
pub struct Swarm {
    /// Run an agent of Docker Swarm (standalone) there, which says in the discovery that the machine is there
    #[arg(long)]
    pub swarm: bool,
    /// Run a manager of Docker Swarm there
    #[arg(long)]
    swarm_master: bool,
    /// Where managers and agents find each other, such as consul://10.0.0.5:8500
    #[arg(long, value_name = "URL")]
    swarm_discovery: Option<String>,
    /// Which machine gets a container: spread, binpack or random
    #[arg(long, value_name = "NAME", default_value = "spread")]
    swarm_strategy: String,
    /// The image of Swarm
    #[arg(
        long,
        value_name = "IMAGE",
        env = "MACHINE_SWARM_IMAGE",
        default_value = "swarm:latest"
    )]
    swarm_image: String,
    /// A tar of that image here (`docker save`), for machines that cannot pull it
    #[arg(long, value_name = "FILE", env = "MACHINE_SWARM_IMAGE_TAR")]
    swarm_image_tar: Option<PathBuf>,
    /// Where a manager listens: only the port may be another
    #[arg(long, value_name = "URL", default_value = "tcp://0.0.0.0:3376")]
    swarm_host: String,
    /// A flag for the manager, without dashes, such as heartbeat=5s
    #[arg(long, value_name = "KEY=VALUE")]
    swarm_opt: Vec<String>,
    /// A flag for the agent, without dashes, such as ttl=60s
    #[arg(long, value_name = "KEY=VALUE")]
    swarm_join_opt: Vec<String>,
    /// Let Swarm use what its authors called experimental
    #[arg(long)]
    swarm_experimental: bool,
    /// Not used, as by docker-machine: what is announced is the address at which other hosts reach the machine
    #[arg(long, value_name = "ADDRESS")]
    pub swarm_addr: Option<String>,
}

impl Swarm {
    /// Whether a machine of that Swarm is wanted. The others say how, and mean nothing without one of these, as in docker-machine.
    pub fn is_wanted(&self) -> bool {
        self.swarm || self.swarm_master
    }

    /// As the inventory of a machine says it, if it is wanted.
    pub fn settings(&self, machine: &str) -> Result<Option<Value>, Error> {
        if !self.is_wanted() {
            return Ok(None);
        }
        let discovery = self.swarm_discovery.as_deref().unwrap_or_default();
        if discovery.is_empty() {
            return Err(Error::failed(
                "`--swarm` needs to be told where managers and agents find each other",
            )
            .hint("say `--swarm-discovery=consul://ADDRESS:8500`"));
        }
        if discovery.starts_with("token:") {
            return Err(
                Error::failed("Docker's own discovery (token://) is not there any more")
                    .hint("run a store, and say `--swarm-discovery=consul://ADDRESS:8500`"),
            );
        }
        let port = self.port()?;
        let managers: Vec<&str> = self.swarm_master.then_some(machine).into_iter().collect();
        let mut settings = json!({
            "mode": "standalone",
            "managers": managers,
            "discovery": discovery,
            "image": self.swarm_image,
            "strategy": self.swarm_strategy,
        });
        let mut more = Map::new();
        let mut add = |key: &str, value: Value, is_said: bool| {
            if is_said {
                more.insert(key.to_owned(), value);
            }
        };
        add("agents", json!(false), !self.swarm);
        add("port", json!(port), port != SWARM_PORT);
        add("options", json!(self.swarm_opt), !self.swarm_opt.is_empty());
        let join = &self.swarm_join_opt;
        add("join_options", json!(join), !join.is_empty());
        add("experimental", json!(true), self.swarm_experimental);
        if let Some(tar) = &self.swarm_image_tar {
            let unreadable =
                |error| Error::failed(format!("cannot read {}", tar.display())).because(error);
            let bytes = files::read(tar).map_err(unreadable)?;
            let path = std::path::absolute(tar).map_err(unreadable)?;
            add("tar", json!(path.display().to_string()), true);
            add("sha256", json!(sha256_hex(&bytes)), true);
        }
        if let Some(settings) = settings.as_object_mut() {
            settings.append(&mut more);
        }
        Ok(Some(settings))
    }

    /// The port of `--swarm-host`. docker-machine's manager was in a network of its own, where any other address had been nobody's.
    fn port(&self) -> Result<u16, Error> {
        let port = self.swarm_host.strip_prefix("tcp://0.0.0.0:");
        port.and_then(|port| port.trim_end_matches('/').parse().ok())
            .ok_or_else(|| {
                Error::failed(format!(
                    "`--swarm-host {}`: a manager listens on all addresses, with TLS",
                    self.swarm_host
                ))
                .hint("write it as `tcp://0.0.0.0:PORT`")
            })
    }
}
