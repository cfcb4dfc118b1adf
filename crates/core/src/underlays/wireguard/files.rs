//! The files of a mesh on a host: the script, what it is to make, and the units that run it.

use std::net::{IpAddr, SocketAddr};

use super::rotation::Keys;
use super::{Carried, Driver, routes_stay};
use crate::facts::firewall::Traffic;
use crate::inventory::{Endpoint, WireguardSpec};
use crate::plan::mesh::{Mate, OWN, PEER};
use crate::plan::{Content, HostWorld, Piece, Slot, Steps, WantedFile, World};

/// What makes and checks the mesh.
pub(crate) const SCRIPT: &str = "/usr/local/lib/docker-cluster/underlay";

/// What it is to be.
pub(super) const CONFIG: &str = "/etc/docker-cluster/underlay/config";

/// What makes it before the engine starts.
pub(crate) const UNIT: &str = "docker-cluster-underlay.service";

pub(super) const UNIT_PATH: &str = "/etc/systemd/system/docker-cluster-underlay.service";

/// What lets nothing for the other hosts leave outside of it, before there is any interface.
pub(crate) const FLOOR_UNIT: &str = "docker-cluster-underlay-floor.service";

const FLOOR_PATH: &str = "/etc/systemd/system/docker-cluster-underlay-floor.service";

const TEXT: &str = concat!(
    include_str!("../../../../../templates/fabrics/common.sh"),
    include_str!("../../../../../templates/underlays/wireguard.sh")
);

/// How the kernel's module is run, and how the program is: that one can die, and comes back.
const KERNEL_SERVICE: &str =
    "Type=oneshot\nRemainAfterExit=yes\nExecStart=/usr/local/lib/docker-cluster/underlay up";
const GO_SERVICE: &str = "Type=simple\nExecStart=/usr/local/lib/docker-cluster/underlay run\nExecStartPost=/usr/local/lib/docker-cluster/underlay up\nRestart=always\nRestartSec=1";

/// The argv that asks the script.
pub(super) fn argv(words: &[&str]) -> Vec<String> {
    [SCRIPT]
        .iter()
        .chain(words)
        .map(ToString::to_string)
        .collect()
}

/// The script, where it is not there as it should be.
pub(super) fn script(host: &HostWorld<'_>) -> Option<WantedFile> {
    let file = WantedFile::of_root(
        SCRIPT,
        "0755",
        TEXT,
        "put the script in place that makes its mesh with the other hosts",
    );
    (!file.is_there(host.facts, None)).then_some(file)
}

/// The configuration of a host's mesh.
pub(super) struct Config {
    driver: Driver,
    content: Content,
}

impl Config {
    /// As the world wants it. The public half of a key that is born during the run fills the slot of its host's address.
    pub(super) fn of(
        world: &World<'_>,
        spec: &WireguardSpec,
        host: &HostWorld<'_>,
        carried: &Carried,
        keys: &Keys,
    ) -> Self {
        let driver = Driver::of(host);
        let mut text = Text::default();
        text.say("# underlay wireguard\n");
        text.say(&format!("device {}\n", spec.interface));
        text.say(&format!("driver {}\n", driver.as_str()));
        text.say(&format!(
            "{OWN} {}/{}\n",
            host.private,
            spec.subnet.prefix_len()
        ));
        text.say(&format!("mesh {}\n", spec.subnet));
        text.say(&format!("port {}\n", spec.port));
        text.say(&format!("mtu {}\n", host.mtu));
        for mate in mates(world, spec, host) {
            text.say(&format!("{PEER} {} ", mate.name));
            match mate.key.is_empty() || matches!(keys, Keys::Next) {
                true => text.key(Slot::PublicKey(mate.address)),
                false => text.say(&mate.key),
            }
            text.say(&format!(
                " {} {} {}\n",
                mate.address, mate.endpoint, spec.keepalive
            ));
            if matches!(keys, Keys::Both) {
                text.say(&format!("next {} ", mate.name));
                text.key(Slot::PublicKey(mate.address));
                text.say("\n");
            }
        }
        let others = |address: &IpAddr| *address != host.private;
        for (address, part) in carried.behind.iter().filter(|(to, _)| others(to)) {
            text.say(&format!("behind {address} {part}\n"));
        }
        for traffic in &carried.listens {
            match traffic {
                Traffic::Tcp(port) => text.say(&format!("guard tcp {port}\n")),
                Traffic::Udp(port) => text.say(&format!("guard udp {port}\n")),
                Traffic::Esp => {}
            }
        }
        Self {
            driver,
            content: text.end(),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> WantedFile {
        WantedFile {
            content: self.content.clone(),
            ..WantedFile::of_root(CONFIG, "0600", "", "write down whom its mesh is with")
        }
    }
}

/// The other hosts, by their addresses in the mesh: those that answer, and those that do not as the others know them.
fn mates(world: &World<'_>, spec: &WireguardSpec, host: &HostWorld<'_>) -> Vec<Mate> {
    let mut all: Vec<Mate> = Vec::new();
    for other in world.others(host) {
        let IpAddr::V4(address) = other.private else {
            continue;
        };
        let key = other.facts.mesh.as_ref().map(|mesh| mesh.key.clone());
        all.push(Mate {
            name: other.name().to_string(),
            key: key.unwrap_or_default(),
            address,
            endpoint: endpoint(other, spec),
        });
    }
    let silent = world.mesh.iter().flat_map(|mesh| &mesh.silent);
    all.extend(silent.cloned());
    all.sort_by_key(|mate| mate.address);
    all
}

/// Where the others send what is for a host.
pub(super) fn endpoint(host: &HostWorld<'_>, spec: &WireguardSpec) -> String {
    match host.spec.endpoint {
        Endpoint::Own => SocketAddr::new(host.outer, spec.port).to_string(),
        Endpoint::At(ip, port) => SocketAddr::new(ip, port.unwrap_or(spec.port)).to_string(),
        Endpoint::Unreachable => "-".to_owned(),
    }
}

/// The files that are not there as they should be, beside the script.
pub(super) fn missing(host: &HostWorld<'_>, config: &Config, steps: &Steps) -> Vec<WantedFile> {
    let service = match config.driver {
        Driver::Kernel => KERNEL_SERVICE,
        Driver::Go => GO_SERVICE,
    };
    let unit = include_str!("../../../../../templates/underlays/wireguard.service")
        .replace("{service}", service);
    let floor = include_str!("../../../../../templates/underlays/floor.service");
    let files = [
        config.file(),
        WantedFile::of_root(
            UNIT_PATH,
            "0644",
            unit,
            "put the unit in place that makes the mesh before the engine starts",
        ),
        WantedFile::of_root(
            FLOOR_PATH,
            "0644",
            floor,
            "put the unit in place that lets nothing leave outside of it",
        ),
    ];
    let absent = |file: &WantedFile| !file.is_there(host.facts, None);
    files
        .into_iter()
        .filter(absent)
        .chain(routes_stay(host, steps))
        .collect()
}

/// Text with slots in it, piece by piece.
#[derive(Default)]
struct Text {
    pieces: Vec<Piece>,
    last: String,
}

impl Text {
    fn say(&mut self, text: &str) {
        self.last.push_str(text);
    }

    fn key(&mut self, slot: Slot) {
        self.pieces
            .push(Piece::Text(std::mem::take(&mut self.last)));
        self.pieces.push(Piece::Slot(slot));
    }

    fn end(mut self) -> Content {
        self.pieces.push(Piece::Text(self.last));
        Content(self.pieces)
    }
}
