//! `active`: the host that Docker's client of this shell talks to.

use super::context::{Store, context_name};
use super::endpoint;
use super::load;
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::inventory::{HostSpec, Inventory};
use crate::ui::Ui;

/// Runs it.
pub fn run(global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let host = active(&inventory)?.ok_or_else(|| {
        Error::failed(format!(
            "no host of the cluster {} is the one of Docker's client here",
            inventory.cluster
        ))
        .hint("`docker-cluster env HOST` prints what points it at one")
    })?;
    ui.print(host.name.as_str());
    Ok(Exit::Done)
}

/// The host that Docker's client of this shell talks to, if it is one of these: by DOCKER_HOST, else by the context, which Docker's
/// client looks at in this order as well.
pub fn active(inventory: &Inventory) -> Result<Option<&HostSpec>, Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = variable("DOCKER_HOST") {
        return Ok(by_url(
            inventory,
            &url,
            variable("DOCKER_MACHINE_NAME").as_deref(),
        ));
    }
    let context = match variable("DOCKER_CONTEXT") {
        Some(name) => Some(name),
        None => Store::open()?.current(),
    };
    Ok(context.and_then(|context| {
        inventory
            .hosts
            .iter()
            .find(|host| context_name(&inventory.cluster, &host.name) == context)
    }))
}

/// Of hosts behind different jump hosts two may have one URL: then the name tells.
fn by_url<'a>(inventory: &'a Inventory, url: &str, name: Option<&str>) -> Option<&'a HostSpec> {
    let mut same = inventory
        .hosts
        .iter()
        .filter(|host| endpoint::url(host) == url);
    let first = same.next()?;
    let named = std::iter::once(first)
        .chain(same)
        .find(|host| Some(host.name.as_str()) == name);
    Some(named.unwrap_or(first))
}
