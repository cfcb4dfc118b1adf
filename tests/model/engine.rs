//! The engine of a model host.

use std::collections::{BTreeMap, BTreeSet};

use docker_cluster::daemon_json::Options;
use serde_json::{Value, json};

/// A network, wherever it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub name: String,
    pub id: String,
    pub driver: &'static str,
    pub scope: &'static str,
    pub subnet: String,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub attachable: bool,
    pub ingress: bool,
}

impl Network {
    pub fn bridge(name: &str, subnet: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: format!("id-{name}"),
            driver: "bridge",
            scope: "local",
            subnet: subnet.to_owned(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            attachable: false,
            ingress: false,
        }
    }

    pub fn ingress(subnet: &str) -> Self {
        Self {
            driver: "overlay",
            scope: "swarm",
            ingress: true,
            ..Self::bridge("ingress", subnet)
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "Name": self.name, "Id": self.id, "Driver": self.driver, "Scope": self.scope,
            "IPAM": {"Config": [{"Subnet": self.subnet}]}, "Options": self.options, "Labels": self.labels,
            "Attachable": self.attachable, "Ingress": self.ingress,
        })
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub running: bool,
    pub restart: String,
    pub labels: BTreeMap<String, String>,
    /// Ids of its networks, by name.
    pub networks: BTreeMap<String, String>,
}

impl Container {
    pub fn new(name: &str, image: &str, restart: &str, networks: BTreeMap<String, String>) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            running: true,
            restart: restart.to_owned(),
            labels: BTreeMap::new(),
            networks,
        }
    }

    /// A line of the probe.
    pub fn line(&self) -> String {
        let status = if self.running { "running" } else { "exited" };
        let on = |(name, id): (&String, &String)| {
            (
                name.clone(),
                json!({"NetworkID": id, "EndpointID": format!("{}-{name}", self.name)}),
            )
        };
        let networks: serde_json::Map<String, Value> = self.networks.iter().map(on).collect();
        format!(
            "{} {} {} {} {} 0",
            json!(format!("/{}", self.name)),
            json!(status),
            json!(self.restart),
            json!(self.labels),
            json!(networks)
        )
    }
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    pub version: String,
    pub backends: String,
    pub up: bool,
    /// It was started, and nobody has waited for it yet.
    pub settling: bool,
    pub starts: usize,
    /// The options that it runs with.
    pub effective: Options,
    /// Whether it listens on the network, since its last start.
    pub listens: bool,
    pub networks: Vec<Network>,
    pub containers: Vec<Container>,
    pub images: BTreeSet<String>,
    /// Which swarm it is in, and as which node.
    pub swarm: Option<(usize, String)>,
}

impl Engine {
    pub fn new(version: &str, backends: &str) -> Self {
        Self {
            version: version.to_owned(),
            backends: backends.to_owned(),
            up: false,
            settling: false,
            starts: 0,
            effective: Options::new(),
            listens: false,
            networks: vec![Network::bridge("bridge", "172.17.0.0/16")],
            containers: Vec::new(),
            images: BTreeSet::new(),
            swarm: None,
        }
    }

    pub fn major(&self) -> u64 {
        self.version
            .split('.')
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// An engine makes this bridge for containers of an overlay.
    pub fn bridge(&mut self) {
        if !self
            .networks
            .iter()
            .any(|network| network.name == "docker_gwbridge")
        {
            self.networks
                .push(Network::bridge("docker_gwbridge", "172.19.0.0/16"));
        }
    }

    pub fn container(&mut self, name: &str) -> Option<&mut Container> {
        self.containers
            .iter_mut()
            .find(|container| container.name == name)
    }

    /// Where its store is, if it runs with one.
    pub fn store_url(&self) -> Option<&str> {
        self.effective
            .get("cluster-store")
            .filter(|_| self.up)?
            .as_str()
    }
}
