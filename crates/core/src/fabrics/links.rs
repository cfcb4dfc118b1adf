//! What fabrics share whose links are docker-cluster's own: a script, a configuration and a unit on each host.
//!
//! The unit makes the links before the engine starts, at every boot. The script does the same at any time, and says what is not as it
//! should be; that is a fact of the host (`templates/fabrics/`).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::guard;
use super::shares::Shares;
use super::{MTU_OPTION, SIGN_OF_LIFE, SSH_PORT, docker0};
use crate::facts::Network;
use crate::inventory::FabricKind;
use crate::plan::{
    Action, EngineCall, HostWorld, NetworkDriver, NewNetwork, Problem, Stage, StepId, Steps, Undo,
    Verb, WantedFile, World,
};
use crate::platform::SERVICES;
use crate::proof::causes::{self, Case, Finding};
use crate::proof::{Cause, HostView, Needs};
use crate::underlays::{NETWORKD_PATH, routes_stay};

/// What makes and checks the links.
pub(crate) const SCRIPT: &str = "/usr/local/lib/docker-cluster/fabric";

/// What they are to be.
pub(super) const CONFIG: &str = "/etc/docker-cluster/fabric/config";

/// What makes them before the engine starts.
pub(crate) const UNIT: &str = "docker-cluster-fabric.service";

pub(super) const UNIT_PATH: &str = "/etc/systemd/system/docker-cluster-fabric.service";

/// How long making or taking away the links of a host may take: some dozen commands of the kernel, on a busy host.
pub(crate) const LINKS_TIMEOUT: Duration = Duration::from_secs(60);

/// How the line of the configuration begins that says which fabric the links are of: the script passes over it.
const OF: &str = "# fabric";

/// Which fabric a host's links are of, or what else its configuration is of.
pub(super) fn of<'a>(host: &'a HostWorld<'_>) -> Option<&'a str> {
    let links = host.facts.links.as_ref()?;
    links.lines("#").find_map(|words| match words {
        [fabric, kind] if fabric == "fabric" => Some(kind.as_str()),
        _ => None,
    })
}

/// Links that are there for another fabric: two at the same time would be in each other's way.
pub(crate) fn of_another(host: &HostWorld<'_>, wanted: FabricKind) -> Option<Problem> {
    let of = of(host)?;
    let is_guarded = of == guard::GUARD;
    let fits = match wanted {
        // One guard for all of them.
        FabricKind::Overlay | FabricKind::Swarm | FabricKind::Auto if is_guarded => true,
        _ => of == wanted.to_string(),
    };
    // Whether the inventory names the other fabric, leaves it to `auto` or is only asked what would be, is all the same.
    let (what, keep) = match is_guarded {
        true => (
            "it has an overlay, whose ports are guarded".to_owned(),
            "auto",
        ),
        false => (
            format!("its links to the other hosts are those of the fabric {of}"),
            of,
        ),
    };
    let wanted = match wanted {
        FabricKind::Auto => "an overlay".to_owned(),
        named => named.to_string(),
    };
    (!fits).then(|| {
        Problem::on(
            host.name(),
            format!("{what}, beside which there cannot be {wanted}"),
            format!("keep it with `network: {{fabric: {keep}}}`; or take the cluster down first (`docker-cluster down`), then bring it up with the other fabric; containers are named before anything goes"),
        )
    })
}

/// Links that are there for another bridge.
pub(super) fn other_bridge(world: &World<'_>, host: &HostWorld<'_>) -> Option<Problem> {
    let has = host.facts.links.as_ref()?.word("bridge")?;
    let wanted = bridge(world);
    (has != wanted).then(|| {
        Problem::on(
            host.name(),
            format!("its part of the subnet is on the bridge {has}, and the inventory wants it on {wanted}"),
            "take the cluster down first (`docker-cluster down`), then bring it up with the other bridge",
        )
    })
}

/// Longest name of an interface, in bytes (`IFNAMSIZ` of Linux, without the end).
const MAX_INTERFACE: usize = 15;

/// The name of the cluster's bridge on each host: one that rules can name, whatever the network's own name is.
pub(super) fn bridge(world: &World<'_>) -> String {
    if docker0::is_wanted(world) {
        return docker0::DEVICE.to_owned();
    }
    let name = format!("br-{}", world.inventory.network.name.as_str());
    if name.len() <= MAX_INTERFACE {
        return name;
    }
    let sum = crate::checksum::sha256_hex(world.inventory.network.name.as_str().as_bytes());
    format!("br-dc{}", &sum[..MAX_INTERFACE - "br-dc".len()])
}

/// What the steps of a plan say of what a script makes.
pub(super) struct Words {
    pub(super) script: &'static str,
    pub(super) config: &'static str,
    /// The mode of the configuration.
    pub(super) mode: &'static str,
    pub(super) unit: &'static str,
    pub(super) boot: &'static str,
    pub(super) make: &'static str,
    /// What comes before the first sentence of what is wrong.
    pub(super) mend: &'static str,
    /// What is said of systemd-networkd, which takes away every route that it did not set itself; none where there are no routes.
    pub(super) routes: Option<&'static str>,
}

/// Of links.
pub(super) const LINK_WORDS: Words = Words {
    script: "put the script in place that makes its links to the other hosts",
    config: "write down which links it has",
    mode: "0644",
    unit: "put the unit in place that makes them before the engine starts",
    boot: "make the links at every boot",
    make: "make its links to the other hosts",
    mend: "mend its links",
    routes: Some("let systemd-networkd keep routes that are not its own"),
};

/// What links are made of: the script of the fabric, the configuration, a line each, and the unit.
pub(super) fn files(kind: FabricKind, text: String, config: &[String]) -> [WantedFile; 3] {
    files_of(&LINK_WORDS, kind, text, config)
}

fn files_of(words: &Words, kind: impl Display, text: String, config: &[String]) -> [WantedFile; 3] {
    let unit_text = include_str!("../../../../templates/fabrics/docker-cluster-fabric.service");
    let config = format!("{OF} {kind}\n{}\n", config.join("\n"));
    [
        WantedFile::of_root(SCRIPT, "0755", text, words.script),
        WantedFile::of_root(CONFIG, words.mode, config, words.config),
        WantedFile::of_root(UNIT_PATH, "0644", unit_text, words.unit),
    ]
}

/// Brings a host's links to what the configuration says, a line each. `text` is the script of the fabric.
pub(super) fn put(
    kind: FabricKind,
    host: &HostWorld<'_>,
    text: String,
    config: &[String],
    steps: &mut Steps,
) -> Option<StepId> {
    put_where(kind, host, text, config, |_| true, steps)
}

/// The same where not all that the script finds wrong is the links': `ours` tells what making them again mends.
pub(super) fn put_where(
    kind: FabricKind,
    host: &HostWorld<'_>,
    text: String,
    config: &[String],
    ours: impl Fn(&str) -> bool,
    steps: &mut Steps,
) -> Option<StepId> {
    put_with(&LINK_WORDS, kind, host, text, config, ours, steps)
}

/// The same in other words.
pub(super) fn put_with(
    words: &Words,
    kind: impl Display,
    host: &HostWorld<'_>,
    text: String,
    config: &[String],
    ours: impl Fn(&str) -> bool,
    steps: &mut Steps,
) -> Option<StepId> {
    let (name, facts) = (host.name(), host.facts);
    let networkd = words.routes.and_then(|_| routes_stay(host, steps));
    let files = files_of(words, kind, text, config);
    let missing: Vec<WantedFile> = files
        .into_iter()
        .filter(|file| !file.is_there(facts, None))
        .chain(networkd)
        .collect();
    let written: Vec<String> = missing.iter().map(|file| file.path.clone()).collect();
    let unit = facts.unit(UNIT);
    let new_unit = written.iter().any(|path| path == UNIT_PATH);
    for file in missing {
        steps.add(name, Stage::Network, file.why.clone(), file.put());
    }
    let run = |steps: &mut Steps, why: &str, argv: Vec<String>| {
        steps.add(
            name,
            Stage::Network,
            why,
            Action::Run {
                argv,
                timeout: LINKS_TIMEOUT,
            },
        );
    };
    if unit.is_none_or(|unit| unit.file_state != "enabled") {
        run(steps, words.boot, SERVICES.argv(SERVICES.enable, &[UNIT]));
    } else if new_unit || unit.is_some_and(|unit| unit.needs_reload) {
        run(
            steps,
            "let systemd read the unit",
            SERVICES.argv(SERVICES.reread, &[]),
        );
    }
    let wrong: Vec<&String> = facts
        .links
        .iter()
        .flat_map(|links| &links.wrong)
        .filter(|line| ours(line.as_str()))
        .collect();
    let works = unit.is_some_and(|unit| unit.active == "active");
    let same = written.iter().all(|path| path == NETWORKD_PATH);
    let why = match (wrong.as_slice(), same && works) {
        ([], true) => return None,
        ([one], true) => format!("{}: {one}", words.mend),
        ([one, rest @ ..], true) => format!("{}: {one}, and {} more", words.mend, rest.len()),
        _ => words.make.to_owned(),
    };
    let restart = Action::Service {
        verb: Verb::Restart,
        unit: UNIT,
        timeout: LINKS_TIMEOUT,
    };
    let id = steps.add(name, Stage::Network, why, restart.clone());
    let argv = SERVICES.argv(SERVICES.reread, &[]);
    let back = match works {
        true => vec![
            Action::PutBack { paths: written },
            Action::Run {
                argv,
                timeout: LINKS_TIMEOUT,
            },
            restart,
        ],
        // Nothing was there before: what was made goes.
        false => vec![down()],
    };
    steps.undo(
        id,
        Undo {
            unit: UNIT,
            actions: back,
        },
    );
    Some(id)
}

/// Takes the links away.
pub(crate) fn down() -> Action {
    let script = r#"[ ! -x "$1" ] || "$1" down"#;
    let argv = ["sh", "-c", script, "sh", SCRIPT]
        .map(str::to_owned)
        .to_vec();
    Action::Run {
        argv,
        timeout: LINKS_TIMEOUT,
    }
}

/// A bridge network of the cluster on one host.
pub(super) fn network(
    world: &World<'_>,
    subnet: IpNet,
    mtu: u32,
    more: &[(&str, &str)],
) -> NewNetwork {
    let mut options = BTreeMap::from([
        ("com.docker.network.bridge.name".to_owned(), bridge(world)),
        (MTU_OPTION.to_owned(), mtu.to_string()),
    ]);
    options.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    let name = world.inventory.network.name.as_str();
    NewNetwork {
        driver: NetworkDriver::Bridge,
        labels: BTreeMap::from([(
            "docker-cluster".to_owned(),
            world.inventory.cluster.to_string(),
        )]),
        ..NewNetwork::overlay(name, subnet, options)
    }
}

/// Creates the network on a host that has none of that name.
pub(super) fn create(host: &HostWorld<'_>, network: NewNetwork, steps: &mut Steps) {
    if host
        .facts
        .engine
        .as_ref()
        .and_then(|engine| engine.network(&network.name))
        .is_some()
    {
        return;
    }
    let (name, part) = (
        &network.name,
        network
            .range
            .map_or_else(|| network.subnet.clone(), |range| range.to_string()),
    );
    let why = format!(
        "create the {} network {name} with the addresses {part} of this host",
        network.driver.as_str()
    );
    steps.add(
        host.name(),
        Stage::Network,
        why,
        Action::Engine(EngineCall::CreateNetwork(network)),
    );
}

/// Networks of a host's engine that are in the way of its own: one of the same name that is another, and any with the same addresses.
pub(super) fn network_problems(
    world: &World<'_>,
    host: &HostWorld<'_>,
    wanted: &NewNetwork,
) -> Vec<Problem> {
    let Some(engine) = &host.facts.engine else {
        return Vec::new();
    };
    let subnet: Option<IpNet> = wanted.subnet.parse().ok();
    let mut problems = Vec::new();
    for found in &engine.networks {
        let subnets: Vec<String> = found.subnets.iter().map(ToString::to_string).collect();
        if found.name == wanted.name {
            let is_it = found.driver == wanted.driver.as_str() && subnets.contains(&wanted.subnet);
            if !is_it {
                problems.push(another(world, host, found, &subnets));
            }
        } else if let Some(subnet) = found
            .subnets
            .iter()
            .find(|one| subnet.is_some_and(|wanted| crate::inventory::overlap(one, &wanted)))
        {
            problems.push(Problem::on(
                host.name(),
                format!(
                    "the wanted subnet {} overlaps with {subnet} of its network {}",
                    wanted.subnet, found.name
                ),
                "choose another `network.subnet`",
            ));
        }
    }
    problems
}

/// The same for the network that a host gets with its part, if it has one.
pub(super) fn part_problems(
    world: &World<'_>,
    host: &HostWorld<'_>,
    shares: &Shares,
    network: impl Fn(IpNet) -> NewNetwork,
) -> Vec<Problem> {
    let part = shares.of.get(host.name());
    part.map_or_else(Vec::new, |part| {
        network_problems(world, host, &network(*part))
    })
}

fn another(
    world: &World<'_>,
    host: &HostWorld<'_>,
    found: &Network,
    subnets: &[String],
) -> Problem {
    let cluster = world.inventory.cluster.as_str();
    let is_ours = found
        .labels
        .get("docker-cluster")
        .is_some_and(|of| of == cluster);
    let fix = match is_ours {
        true => {
            "it is of another fabric or subnet of this cluster: take the cluster down (`docker-cluster down`) and bring it up anew"
        }
        false => "choose another `network.name`, or remove that network",
    };
    Problem::on(
        host.name(),
        format!(
            "a network called {} is there already, with the driver {}, the scope {} and the subnet {}",
            found.name,
            found.driver,
            found.scope,
            subnets.join(", ")
        ),
        fix,
    )
}

/// The lines about the other hosts, in the words that `line` gives each, and those about hosts that do not answer.
pub(super) fn peer_lines(
    world: &World<'_>,
    host: &HostWorld<'_>,
    shares: &Shares,
    line: impl Fn(&IpNet, &IpAddr) -> String,
) -> Vec<String> {
    let others = world.others(host.name());
    let answering = others.filter_map(|other| Some((shares.of.get(other.name())?, &other.private)));
    let silent = shares.silent.iter().map(|peer| (&peer.part, &peer.address));
    let mut lines: Vec<String> = answering
        .chain(silent)
        .map(|(part, address)| line(part, address))
        .collect();
    lines.sort();
    lines
}

/// What the links need of the way between hosts.
pub(super) fn needs(world: &World<'_>, tunnel: Option<u16>, mtu: u32) -> Needs {
    let ports = world
        .hosts
        .iter()
        .map(|host| (host.name().clone(), vec![(SSH_PORT, SIGN_OF_LIFE)]));
    let network = world.inventory.network.of_containers().to_owned();
    Needs {
        network,
        tunnel,
        gossip: None,
        encrypted: false,
        mtu,
        ports: ports.collect(),
    }
}

/// That names are known on their own host only, for a plan that does something.
pub(super) fn say_names(world: &World<'_>, steps: &Steps, notes: &mut Vec<String>) {
    if steps.next_id() == 0 {
        return;
    }
    notes.push(match docker0::is_wanted(world) {
        true => "containers that name no network reach those of other hosts by address; there are no names on docker0".to_owned(),
        false => format!(
            "containers on {} reach those of other hosts by address; names are known on their own host only",
            world.inventory.network.name
        ),
    });
}

/// Rows about links, by what the script on the host says of them.
pub(crate) const LINKS: &[Cause] = &[
    Cause::latent("forwarding-off", |case| wrong(case, &["does not forward"])),
    Cause::latent("route-missing", |case| wrong(case, &["route"])),
    Cause::latent("raw-table", |case| {
        wrong(case, &["the engine drops what comes"])
    }),
    Cause::latent("masquerade", |case| wrong(case, &["hides the senders"])),
    Cause::latent("rule-missing", |case| wrong(case, &["rule", "chain"])),
    Cause::latent("link-down", |case| {
        wrong(case, &["bridge", "device", "links", "port"])
    }),
];

/// The first sentence about one of the two hosts that holds one of these words.
fn wrong(case: &Case<'_>, words: &[&str]) -> Option<Finding> {
    said(case, words, |_| "`docker-cluster up` mends it")
}

/// The same with what to do about a sentence.
pub(super) fn said(
    case: &Case<'_>,
    words: &[&str],
    fix: impl Fn(&str) -> &'static str,
) -> Option<Finding> {
    let found = |view: &HostView| {
        view.links_wrong
            .iter()
            .find(|line| words.iter().any(|word| line.contains(word)))
            .cloned()
    };
    let (name, sentence, all) = case
        .hosts()
        .find_map(|(name, view)| Some((name, found(view)?, &view.links_wrong)))?;
    let fix = fix(&sentence);
    causes::about_host(
        name,
        sentence,
        fix,
        all.iter().map(|line| format!("{name}: {line}")).collect(),
    )
}
