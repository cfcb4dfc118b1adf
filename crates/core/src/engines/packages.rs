//! Packages that a fabric or an underlay needs on a host, beside the engine's.

use super::INSTALL_TIMEOUT;
use crate::plan::{Action, HostWorld, Problem, Stage, Steps, Undo};
use crate::platform::{self, PackageManager};

/// What forbids installing a package where it is missing.
pub(crate) fn problems(host: &HostWorld<'_>, package: &str, what: &str) -> Vec<Problem> {
    if PackageManager::of(host.facts).is_none() {
        return vec![Problem::on(
            host.name(),
            format!("{what} is missing there, and docker-cluster does not know how to install it"),
            format!("install {what} there by hand"),
        )];
    }
    let found = platform::in_the_way(host.facts, package);
    found
        .into_iter()
        .map(|(what, fix)| Problem::on(host.name(), what, fix))
        .collect()
}

/// Installs packages of a host's distribution. `unit` is the one that they bring, for its last words.
pub(crate) fn install(
    host: &HostWorld<'_>,
    stage: Stage,
    packages: &[&str],
    what: &str,
    unit: &'static str,
    steps: &mut Steps,
) {
    let Some(manager) = PackageManager::of(host.facts) else {
        return;
    };
    let args = packages.iter().map(ToString::to_string).collect();
    let action = Action::Script {
        name: manager.name,
        text: manager.install,
        args,
        timeout: INSTALL_TIMEOUT,
    };
    let why = format!(
        "install {what} from the packages of {}",
        host.facts.os_pretty
    );
    let id = steps.add(host.name(), stage, why, action);
    steps.undo(id, Undo::of_installation(manager, unit));
}

/// The line of the record about a unit that the package enables, unless it is enabled already.
pub(crate) fn enables(host: &HostWorld<'_>, unit: &str) -> Option<String> {
    let present = host.facts.unit(unit);
    let was_off = present.is_none_or(|present| present.file_state != "enabled");
    was_off.then(|| format!("enabled {unit}"))
}
