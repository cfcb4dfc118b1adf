//! Certificates of machines: that of the person who made a machine is in the machine's folder, as docker-machine had it.

use super::remove::is_sure;
use super::{Machines, Regenerate, UNASKED};
use crate::commands::{cert, load};
use crate::error::{Error, Exit};
use crate::inventory::{HostSpec, Inventory};
use crate::ui::Ui;

/// Life of the certificate, in days: docker-machine's.
const DAYS: u32 = 1080;

/// Makes the certificate for the machine of an inventory, if its engine asks for one.
pub async fn issue(inventory: &Inventory, machines: &Machines, ui: Ui) -> Result<(), Error> {
    for host in inventory.hosts.iter().filter(|host| host.api.is_some()) {
        let folder = machines.folder_of(host.name.as_str());
        cert::issue(inventory, &cert::kept::own_name(), DAYS, &folder, ui).await?;
    }
    Ok(())
}

/// The same, if there is none that could be used.
pub async fn ensure(inventory: &Inventory, machines: &Machines, ui: Ui) -> Result<(), Error> {
    let lacks = |host: &HostSpec| {
        let folder = machines.folder_of(host.name.as_str());
        host.api.is_some() && cert::kept::check(&folder, host, "").is_err()
    };
    match inventory.hosts.iter().any(lacks) {
        true => issue(inventory, machines, ui).await,
        false => Ok(()),
    }
}

/// Gives machines a new CA each, their engines new certificates, and the person one.
pub async fn regenerate(args: &Regenerate, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let names = machines.named(&args.names)?;
    let question = "Regenerate TLS machine certs?  Warning: this is irreversible.";
    if !args.force && !is_sure(question)? {
        return Ok(Exit::Done);
    }
    let mut worst = Exit::Done;
    for name in names {
        let global = machines.global_of(&name);
        let inventory = load(&global)?;
        if inventory.hosts.iter().all(|host| host.api.is_none()) {
            ui.note(&format!(
                "There are no certificates of {name}: its engine is reached over ssh. Nothing was done."
            ));
            continue;
        }
        ui.print("Regenerating TLS certificates");
        match cert::rotate("regenerate-certs", &inventory, &UNASKED, &global, ui).await? {
            Exit::Done => issue(&inventory, machines, ui).await?,
            exit => worst = exit,
        }
    }
    Ok(worst)
}
