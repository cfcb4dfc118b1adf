//! Problems of any cluster, whatever the fabric.

use std::collections::BTreeMap;

use crate::daemon_json;
use crate::engines::unit::{self, Flag};
use crate::engines::{self, MAX_CLOCK_OFFSET, unheard};
use crate::fabrics::overlay::Overlay;
use crate::fabrics::{self, Asks, SubnetOf, links, standalone};
use crate::facts::{Init, Module};
use crate::inventory::{FabricKind, HostName, InstallPolicy};
use crate::plan::{HostWorld, Problem, World};
use crate::platform::{Offer, PackageManager};

/// All of them.
#[must_use]
pub fn problems(world: &World<'_>, kind: FabricKind) -> Vec<Problem> {
    let fabric = fabrics::fabric(kind);
    // Where no fabric is possible, what overlays ask is the most that `auto` would.
    let asks = fabric.unwrap_or(&Overlay).asks();
    let mut problems = Vec::new();
    for host in &world.hosts {
        kernel(world, host, asks, &mut problems);
        engine(world, host, &mut problems);
        problems.extend(links::of_another(host, kind));
        if host.facts.init != Init::Systemd {
            let Init::Other(name) = &host.facts.init else {
                continue;
            };
            problems.push(Problem::on(
                host.name(),
                format!("its init system is {name:?}, not systemd"),
                "docker-cluster manages services through systemd; use a host that has it",
            ));
        }
        if host.facts.clock_offset.abs() > MAX_CLOCK_OFFSET {
            problems.push(Problem::on(
                host.name(),
                format!(
                    "its clock is {} s {} this machine's",
                    host.facts.clock_offset.abs(),
                    if host.facts.clock_offset < 0 {
                        "behind"
                    } else {
                        "ahead of"
                    }
                ),
                "set the clocks (`timedatectl set-ntp true`); certificates depend on them",
            ));
        }
        if let Some(network) =
            routes_that_collide(world, host).filter(|_| asks.subnet == SubnetOf::Cluster)
        {
            problems.push(network);
        }
    }
    problems.extend(engines::api::problems(world));
    problems.extend(standalone::problems(world, kind));
    duplicates(world, &mut problems);
    problems
}

fn kernel(world: &World<'_>, host: &HostWorld<'_>, asks: Asks, problems: &mut Vec<Problem>) {
    let wanted = world.inventory.kernel_minimum;
    if host.facts.kernel.is_some_and(|kernel| kernel < wanted) {
        problems.push(Problem::on(
            host.name(),
            format!(
                "its kernel {} is older than {}.{}",
                host.facts.kernel_text, wanted.0, wanted.1
            ),
            "boot a newer kernel, or lower `kernel.minimum` in the inventory",
        ));
    }
    for module in asks.modules.iter().copied() {
        if host.facts.modules.get(module) == Some(&Module::Missing) {
            problems.push(Problem::on(
                host.name(),
                format!("its kernel {} has no {module} module, which the network needs", host.facts.kernel_text),
                "install the kernel package that holds it (on cloud images often `linux-modules-extra-...`)",
            ));
        }
    }
}

fn engine(world: &World<'_>, host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    let spec = &world.inventory.engine;
    unit_of_engine(host, problems);
    if let Some(engine) = host
        .facts
        .engine
        .as_ref()
        .filter(|engine| engine.version.is_none())
    {
        problems.push(Problem::on(
            host.name(),
            format!("its engine {} tells no version that docker-cluster understands: {:?}", engine.path, engine.version_text),
            "run `dockerd --version` there; an engine of Docker's or of the distribution's packages says `Docker version 1.2.3`",
        ));
        return;
    }
    let Some(offer) = &host.engine else {
        let (what, fix) = match spec.install {
            InstallPolicy::Never => (
                "has no Docker engine, and the inventory says `install: never`".to_owned(),
                "install the engine there, or say `install: auto`",
            ),
            InstallPolicy::Auto if PackageManager::of(host.facts).is_none() => (
                format!(
                    "has no Docker engine, and docker-cluster cannot install one with what {} has",
                    host.facts.os_pretty
                ),
                "install the engine there by hand; docker-cluster installs it with apt",
            ),
            InstallPolicy::Auto => (
                format!(
                    "has no Docker engine, and docker-cluster does not know what {} offers",
                    host.facts.os_pretty
                ),
                "run `apt-get update` there, so that its package lists tell, or install the engine by hand",
            ),
        };
        problems.push(Problem::on(host.name(), what, fix));
        return;
    };
    if offer.to_install && spec.install == InstallPolicy::Never {
        problems.push(Problem::on(
            host.name(),
            "has no Docker engine, and the inventory says `install: never`",
            "install the engine there, or say `install: auto`",
        ));
    }
    if let Some(wanted) = &spec.version
        && !wanted.matches(&offer.version)
    {
        let (what, fix) = match offer.to_install {
            true => (
                format!(
                    "its packages offer the engine {}, and the inventory wants {wanted}",
                    offered(host, offer)
                ),
                "change `engine.version`, or install the wanted engine there by hand",
            ),
            false => (
                format!(
                    "its engine is {}, and the inventory wants {wanted}",
                    offer.version
                ),
                "upgrade or downgrade the engine there by hand, or change `engine.version`; docker-cluster never does so silently",
            ),
        };
        problems.push(Problem::on(host.name(), what, fix));
    }
    problems.extend(engines::package_problems(world, host));
    if engines::client_package(world, host).is_none() {
        problems.extend(unheard(host));
    }
    option_file(host, problems);
}

/// An engine that docker-cluster could not start or restart when it has to.
fn unit_of_engine(host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    let Some(engine) = &host.facts.engine else {
        return;
    };
    let unit = host.facts.unit(engines::UNIT);
    if unit.is_some_and(|unit| unit.load == "masked") {
        problems.push(Problem::on(
            host.name(),
            format!(
                "the unit {} is masked: somebody does not want its engine to start",
                engines::UNIT
            ),
            format!("`systemctl unmask {}` there, if it may", engines::UNIT),
        ));
    } else if unit.is_none() && !engines::is_running(host.facts) && host.facts.init == Init::Systemd
    {
        problems.push(Problem::on(
            host.name(),
            format!(
                "its engine {} is stopped, and there is no unit {} that starts it",
                engine.path,
                engines::UNIT
            ),
            "start it in its own way, or remove it and let `up` install the distribution's own",
        ));
    }
    if engine
        .info
        .as_ref()
        .is_some_and(|info| info.get("BuildahVersion").is_some())
    {
        problems.push(Problem::on(
            host.name(),
            "what answers on its /var/run/docker.sock is Podman, which has no overlay networks between hosts",
            "remove the package podman-docker, or its socket (`systemctl disable --now podman.socket`)",
        ));
    }
}

/// What the engine would not read, or not start with.
fn option_file(host: &HostWorld<'_>, problems: &mut Vec<Problem>) {
    let Some(text) = &host.facts.daemon_json else {
        return;
    };
    if unit::options_elsewhere(host.facts).is_some() {
        return;
    }
    let is_old = host
        .engine
        .as_ref()
        .is_some_and(|engine| engine.version.major < TAKES_BYTE_ORDER_MARK);
    if text.starts_with(daemon_json::BYTE_ORDER_MARK) && is_old {
        problems.push(Problem::on(
            host.name(),
            format!(
                "{} begins with a byte order mark, and its engine does not start with one",
                daemon_json::PATH
            ),
            format!(
                "remove it: `sed -i '1s/^\\xEF\\xBB\\xBF//' {}`",
                daemon_json::PATH
            ),
        ));
    }
    // One option in two places.
    let keys = daemon_json::parse(text).unwrap_or_default();
    for key in keys.keys() {
        if let Some(Flag { name, source, .. }) = unit::flag(host.facts, key) {
            problems.push(Problem::on(
                host.name(),
                format!("the daemon option `{key}` is set in {} and as a flag in {source}; the engine refuses to start with both", daemon_json::PATH),
                format!("remove one of the two; a restart of the engine fails until then (flag --{name})"),
            ));
        }
    }
}

/// The first engine that takes a byte order mark in its options (moby/moby#44777).
const TAKES_BYTE_ORDER_MARK: u64 = 23;

/// The versions that a host could install, for a person.
fn offered(host: &HostWorld<'_>, offer: &Offer) -> String {
    let mut all: Vec<String> = host
        .facts
        .engine_versions
        .iter()
        .filter_map(|text| crate::versions::parse_engine_version(text))
        .map(|version| version.to_string())
        .collect();
    all.dedup();
    if all.is_empty() {
        offer.version.to_string()
    } else {
        all.join(", ")
    }
}

/// A route of the host that the overlay's subnet would hide, or be hidden by.
fn routes_that_collide(world: &World<'_>, host: &HostWorld<'_>) -> Option<Problem> {
    let wanted = &world.inventory.network;
    let ours = host
        .facts
        .engine
        .as_ref()
        .and_then(|engine| engine.network(wanted.name.as_str()));
    // The bridges of the wanted network itself are no collision.
    let is_ours = |interface: &str| {
        ours.is_some_and(|network| network.id.len() >= 12 && interface.ends_with(&network.id[..12]))
    };
    fabrics::route_that_collides(world, host, is_ours)
}

/// Names and identities that must be unique.
fn duplicates(world: &World<'_>, problems: &mut Vec<Problem>) {
    type Identity = fn(&HostWorld<'_>) -> String;
    let identities: [(&str, &str, Identity); 4] = [
        (
            "host name",
            "give each its own with `hostnamectl set-hostname NAME` and restart its engine; overlay networks lose all packets between hosts of one name",
            |host| host.facts.hostname.clone(),
        ),
        (
            "machine id",
            "these are clones: `rm /etc/machine-id && systemd-machine-id-setup` on one of them, then reboot it",
            |host| host.facts.machine_id.clone(),
        ),
        (
            "engine id",
            "these are clones: stop the engine on one, `rm /etc/docker/key.json`, start it again",
            |host| {
                host.facts
                    .engine
                    .as_ref()
                    .map(|engine| engine.key.clone())
                    .unwrap_or_default()
            },
        ),
        (
            "private address",
            "correct `private:` in the inventory",
            |host| host.private.to_string(),
        ),
    ];
    for (what, fix, identity) in identities {
        let mut seen: BTreeMap<String, Vec<&HostName>> = BTreeMap::new();
        for host in &world.hosts {
            let value = identity(host);
            if !value.is_empty() {
                seen.entry(value).or_default().push(host.name());
            }
        }
        for (value, hosts) in seen.into_iter().filter(|(_, hosts)| hosts.len() > 1) {
            let names: Vec<&str> = hosts.iter().map(|host| host.as_str()).collect();
            problems.push(Problem::of_all(
                format!("{} have the same {what} `{value}`", names.join(" and ")),
                fix,
            ));
        }
    }
}
