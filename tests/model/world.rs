//! Worlds that do not exist: hosts of every kind, with things of others on them, and inventories over them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use docker_cluster::inventory::{HostName, Inventory};
use proptest::prelude::*;
use serde_json::json;

use super::engine::{Container, Engine, Network};
use super::files::{DAEMON_JSON, File};
use super::host::{Cluster, Host, Unit};
use super::swarm::{Node, Swarm};

/// What a host is before docker-cluster comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No engine; the release of Debian.
    Bare(u8),
    /// An engine: its version, and the release that it runs on.
    With(&'static str, u8),
}

impl Kind {
    pub fn release(self) -> u8 {
        match self {
            Self::Bare(release) | Self::With(_, release) => release,
        }
    }
}

/// Key-value backends in the binary of an engine, as released and as Debian builds it.
pub fn backends(version: &str) -> &'static str {
    match version {
        "20.10.24+dfsg1" => "etcd zookeeper",
        old if old.starts_with("1") || old.starts_with("20.") => "consul etcd zookeeper",
        _ => "",
    }
}

/// What the packages of a release bring.
pub fn packaged(release: u8) -> &'static str {
    match release {
        11 => "20.10.5+dfsg1",
        12 => "20.10.24+dfsg1",
        _ => "26.1.5+dfsg1",
    }
}

/// A host in few words, so that proptest can make a smaller one of it.
#[derive(Debug, Clone)]
pub struct HostRecipe {
    pub kind: Kind,
    pub stopped: bool,
    pub disabled: bool,
    /// Containers of somebody, a bit each: `always`, `no`, `on-failure`.
    pub guests: u8,
    /// Options of somebody in `daemon.json`.
    pub options: u8,
    pub tagged: bool,
    /// Whether it is in the swarm of somebody that there is, if there is one.
    pub member: bool,
}

/// What the inventory asks for.
#[derive(Debug, Clone)]
pub struct Settings {
    pub fabric: &'static str,
    pub external: bool,
    /// Servers and managers; by the size of the cluster if none.
    pub members: Option<usize>,
    pub options: bool,
    pub encrypted: bool,
    pub parallel: usize,
    pub pushed: bool,
    /// Whether somebody has a swarm already.
    pub foreign_swarm: bool,
    /// Whether engines listen on the network.
    pub tls: bool,
    /// Whether a mesh of WireGuard carries it.
    pub mesh: bool,
}

/// A world in few words.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub hosts: Vec<HostRecipe>,
    pub settings: Settings,
    /// Decides which host goes on first, wherever several could.
    pub seed: u64,
}

/// What engines a world has.
#[derive(Debug, Clone, Copy)]
pub enum Palette {
    /// Those that could do the classic overlay.
    Classic,
    /// Those that could not.
    Modern,
    Mixed,
}

fn kinds(palette: Palette) -> Vec<Kind> {
    let classic = [
        Kind::Bare(11),
        Kind::With("20.10.5+dfsg1", 11),
        Kind::With("19.03.15", 11),
    ];
    let modern = [
        Kind::Bare(13),
        Kind::With("26.1.5+dfsg1", 13),
        Kind::With("29.7.0", 13),
        Kind::Bare(12),
    ];
    match palette {
        Palette::Classic => classic.to_vec(),
        Palette::Modern => modern.to_vec(),
        Palette::Mixed => [&classic[..], &modern, &[Kind::With("20.10.24+dfsg1", 12)]].concat(),
    }
}

fn host_recipe(palette: Palette) -> impl Strategy<Value = HostRecipe> {
    let rarely = || prop::bool::weighted(0.1);
    let kind = prop::sample::select(kinds(palette));
    (
        kind,
        rarely(),
        rarely(),
        0u8..8,
        0u8..4,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(kind, stopped, disabled, guests, options, tagged, member)| HostRecipe {
                kind,
                stopped,
                disabled,
                guests,
                options,
                tagged,
                member,
            },
        )
}

fn settings(palette: Palette) -> impl Strategy<Value = Settings> {
    let fabrics = match palette {
        Palette::Classic => vec!["auto", "auto", "overlay", "swarm"],
        Palette::Modern | Palette::Mixed => vec!["auto", "auto", "swarm"],
    };
    let rarely = || prop::bool::weighted(0.2);
    let members = prop::option::weighted(0.3, prop::sample::select(vec![1usize, 3, 5]));
    (
        prop::sample::select(fabrics),
        rarely(),
        members,
        any::<bool>(),
        rarely(),
        1usize..3,
        rarely(),
        (
            rarely(),
            prop::bool::weighted(0.3),
            prop::bool::weighted(0.3),
        ),
    )
        .prop_map(
            |(
                fabric,
                external,
                members,
                options,
                encrypted,
                parallel,
                pushed,
                (foreign_swarm, tls, mesh),
            )| {
                Settings {
                    fabric,
                    external,
                    members,
                    options,
                    encrypted,
                    parallel,
                    pushed,
                    foreign_swarm,
                    tls,
                    mesh,
                }
            },
        )
}

/// Worlds of so many hosts.
pub fn worlds(sizes: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Recipe> {
    prop::sample::select(vec![Palette::Classic, Palette::Modern, Palette::Mixed]).prop_flat_map(
        move |palette| {
            let hosts = prop::collection::vec(host_recipe(palette), sizes.clone());
            (hosts, settings(palette), any::<u64>()).prop_map(|(hosts, settings, seed)| Recipe {
                hosts,
                settings,
                seed,
            })
        },
    )
}

/// The image that every cluster needs.
pub const IMAGE: &str = "nginx:alpine";

/// The external store.
pub const EXTERNAL: &str = "etcd://10.9.0.5:2379/docker";

pub fn name_of(at: usize) -> HostName {
    HostName::parse(&format!("h{at}")).unwrap()
}

impl Recipe {
    /// The inventory of the first so many hosts.
    pub fn inventory(&self, count: usize) -> Inventory {
        self.inventory_of(&(0..count).collect::<Vec<_>>())
    }

    /// The inventory of these hosts.
    pub fn inventory_of(&self, hosts: &[usize]) -> Inventory {
        let s = &self.settings;
        let mut text = "cluster: demo\n".to_owned();
        let encrypted = if s.encrypted && s.fabric != "overlay" {
            ", encrypted: true"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "network: {{name: demo, fabric: {}{encrypted}}}",
            s.fabric
        );
        if s.mesh {
            text += "underlay: wireguard\n";
        }
        let _ = writeln!(text, "restart: {{parallel: {}}}", s.parallel);
        let servers = s.members.filter(|count| *count <= hosts.len());
        let servers = servers
            .map(|count| format!("servers: {count}"))
            .unwrap_or_default();
        if s.external {
            let _ = writeln!(text, "store: {{url: '{EXTERNAL}'}}");
        } else if s.pushed {
            let source = format!(
                "source: {{path: /consul, sha256: '{}', version: '1.20.1'}}",
                "a".repeat(64)
            );
            let comma = if servers.is_empty() { "" } else { ", " };
            let _ = writeln!(text, "store: {{{servers}{comma}{source}}}");
        } else if !servers.is_empty() {
            let _ = writeln!(text, "store: {{{servers}}}");
        }
        let managers = s.members.filter(|count| *count <= hosts.len());
        let managers = managers
            .map(|count| format!("managers: {count}, "))
            .unwrap_or_default();
        let spread = if hosts.iter().any(|at| self.hosts[*at].tagged) {
            "rack"
        } else {
            ""
        };
        let _ = writeln!(text, "swarm: {{{managers}spread: [{spread}]}}");
        let options = "options: {max-concurrent-downloads: 4, log-opts: {max-size: 10m}}";
        let options = if s.options { options } else { "install: auto" };
        let api = if s.tls { "api: tls, " } else { "" };
        let _ = writeln!(text, "engine: {{{api}{options}}}");
        text += "hosts:\n";
        for at in hosts {
            let tags = if self.hosts[*at].tagged {
                ", tags: [rack], labels: {place: left}"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  - {{name: {}, address: {}{tags}}}",
                name_of(*at),
                address(*at)
            );
        }
        Inventory::parse(&text, "cluster.yaml").unwrap_or_else(|error| panic!("{error:?}\n{text}"))
    }

    /// The hosts, as they are before docker-cluster comes.
    pub fn cluster(&self) -> Cluster {
        let mut cluster = Cluster {
            hosts: self
                .hosts
                .iter()
                .enumerate()
                .map(|(at, recipe)| host(at, recipe))
                .collect(),
            ..Cluster::default()
        };
        if self.settings.foreign_swarm {
            self.join_foreign(&mut cluster);
        }
        cluster
    }

    fn join_foreign(&self, cluster: &mut Cluster) {
        let mut swarm = Swarm::new("theirs", "10.200.0.0/24");
        swarm.services.push("shop".to_owned());
        for at in 0..cluster.hosts.len() {
            let host = &mut cluster.hosts[at];
            let Some(engine) = host
                .engine
                .as_mut()
                .filter(|engine| engine.up && self.hosts[at].member)
            else {
                continue;
            };
            let id = format!("their-node-{at}");
            let is_manager = swarm.nodes.len() < 3;
            engine.swarm = Some((0, id.clone()));
            engine.bridge();
            swarm.nodes.push(Node::new(id, &host.name, is_manager));
        }
        // An even number of managers is no better than one less.
        if swarm.nodes.len() == 2 {
            swarm.nodes[1].is_manager = false;
        }
        if !swarm.nodes.is_empty() {
            cluster.swarms.push(swarm);
        }
    }
}

pub fn address(at: usize) -> String {
    format!("10.1.{}.{}", at / 200, at % 200 + 11)
}

fn host(at: usize, recipe: &HostRecipe) -> Host {
    let mut host = Host::new(
        &name_of(at).to_string(),
        &address(at),
        recipe.kind.release(),
    );
    host.files.0.insert(
        "/etc/docker-cluster/notes".to_owned(),
        File::new("of somebody", "600", "root:root"),
    );
    host.files.0.insert(
        "/etc/systemd/system/shop.service".to_owned(),
        File::new("theirs", "644", "root:root"),
    );
    let Kind::With(version, _) = recipe.kind else {
        return host;
    };
    let options = match recipe.options {
        0 => None,
        1 => Some((json!({"log-driver": "journald"}), "600")),
        2 => Some((json!({"debug": true, "log-opts": {"max-file": "3"}}), "644")),
        _ => Some((
            json!({"max-concurrent-downloads": 4, "dns": ["10.0.0.2"]}),
            "644",
        )),
    };
    if let Some((options, mode)) = options {
        host.files.0.insert(
            DAEMON_JSON.to_owned(),
            File::new(format!("{options}\n"), mode, "root:root"),
        );
    }
    let mut engine = Engine::new(version, backends(version));
    engine
        .networks
        .push(Network::bridge("web_default", "172.18.0.0/16"));
    engine.images.insert("guest:1".to_owned());
    for (bit, restart) in ["always", "no", "on-failure"].iter().enumerate() {
        if recipe.guests & (1 << bit) != 0 {
            let networks =
                BTreeMap::from([("web_default".to_owned(), "id-web_default".to_owned())]);
            engine.containers.push(Container::new(
                &format!("guest-{restart}"),
                "guest:1",
                restart,
                networks,
            ));
        }
    }
    host.packages.insert("docker.io".to_owned());
    host.engine = Some(engine);
    host.units.insert(
        "docker.service".to_owned(),
        Unit {
            enabled: !recipe.disabled,
            ..Unit::default()
        },
    );
    if recipe.stopped {
        host.stop_engine();
    } else {
        host.start_engine().expect("the engine of somebody runs");
        host.settle();
    }
    host
}
