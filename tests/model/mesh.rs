//! The mesh of a model host: its key, and the interface that was made of its configuration.

use docker_cluster::plan::Slot;
use docker_cluster::plan::mesh::{OWN, PEER};
use docker_cluster::secrets::{Secret, Slots};
use std::net::Ipv4Addr;

use super::host::{Answer, Cluster, Host};

pub const MESH_UNIT: &str = "docker-cluster-underlay.service";
pub const FLOOR_UNIT: &str = "docker-cluster-underlay-floor.service";
pub const MESH_CONFIG: &str = "/etc/docker-cluster/underlay/config";
pub const MESH_SCRIPT: &str = "/usr/local/lib/docker-cluster/underlay";

/// What a host has of a mesh beside its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mesh {
    /// The public half of its key.
    pub key: Option<String>,
    /// The configuration that its interface was made of.
    pub device: Option<String>,
    /// Whether nothing leaves outside of it.
    pub floor: bool,
}

/// The words of the lines of a configuration that begin with this one.
fn lines<'a>(config: &'a str, word: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let words = config
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    words.filter_map(move |words| (words[0] == word).then(|| words[1..].to_vec()))
}

impl Host {
    /// Its address for the other hosts: the one in its mesh, if it has one.
    pub fn private(&self) -> &str {
        let config = self.mesh.device.as_deref().unwrap_or_default();
        let own = lines(config, OWN).next();
        own.and_then(|words| words[0].split('/').next())
            .unwrap_or(&self.address)
    }

    /// What makes rules for packets: an engine's package brings it.
    pub fn has_iptables(&self) -> bool {
        self.packages.contains("iptables") || self.engine.is_some()
    }

    /// Whether its kernel has the module of WireGuard.
    pub fn has_module(&self) -> bool {
        self.release != 13
    }

    /// Does what the script does when one of the units is started or told of a change.
    pub fn start_mesh(&mut self, unit: &str, verb: &str) -> Result<(), String> {
        if self.files.get(MESH_SCRIPT).is_none() || self.unit_file(unit).is_none() {
            return Err("there is nothing that could start".to_owned());
        }
        if !self.has_iptables() {
            return Err("iptables-restore: not found".to_owned());
        }
        let is_active = self.is_active(unit);
        if verb == "reload" && !is_active {
            return Err(format!("{unit} is not active, cannot reload"));
        }
        let config = self.files.text(MESH_CONFIG).map(str::to_owned);
        let config = config.ok_or("the file of its configuration is missing")?;
        self.mesh.floor = true;
        if unit == MESH_UNIT {
            if !self.packages.contains("wireguard-tools") {
                return Err("wg: not found".to_owned());
            }
            if !self.has_module() && !self.packages.contains("wireguard-go") {
                return Err("wireguard-go: not found".to_owned());
            }
            if self.mesh.key.is_none() {
                return Err("it has no key".to_owned());
            }
            self.mesh.device = Some(config);
        }
        let unit = self.unit(unit);
        unit.active = true;
        unit.starts += usize::from(verb != "reload");
        Ok(())
    }

    /// What the script says is not as it should be.
    pub fn wrong_with_mesh(&self) -> Option<&'static str> {
        let config = self.files.text(MESH_CONFIG);
        match () {
            () if self.mesh.key.is_none() => Some("the key of this host is missing"),
            () if !self.mesh.floor => Some("the route that keeps packets from leaving is missing"),
            () if self.mesh.device.as_deref() != config => {
                Some("the interface is not that of the config")
            }
            () => None,
        }
    }
}

impl Cluster {
    /// Makes a host's key if it has none, and reads its public half.
    pub fn make_key(&mut self, at: usize, address: Ipv4Addr, slots: &Slots) -> Answer {
        let host = &self.hosts[at];
        if host.files.get(MESH_SCRIPT).is_none() || !host.packages.contains("wireguard-tools") {
            return Answer::Failed("wg: not found".to_owned());
        }
        self.born += 1;
        let new = format!("{:0>43}=", self.born);
        let key = self.hosts[at].mesh.key.get_or_insert(new);
        slots.fill(Slot::PublicKey(address), Secret::new(key.clone()));
        Answer::Done
    }

    /// The hosts that one hears over its mesh: both know each other by the keys that they have.
    pub fn heard(&self, at: usize) -> Vec<&str> {
        let knows = |host: &Host, other: &Host| {
            let config = host.mesh.device.as_deref().unwrap_or_default();
            let found = lines(config, PEER).find(|words| words[0] == other.name);
            found.is_some_and(|words| Some(words[1]) == other.mesh.key.as_deref())
        };
        let host = &self.hosts[at];
        let others = self.hosts.iter();
        others
            .filter(|other| knows(host, other) && knows(other, host))
            .map(|other| other.name.as_str())
            .collect()
    }
}
