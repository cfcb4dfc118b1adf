//! Certificates of machines: that of the person is in each machine's folder, as docker-machine had it.

use super::remove::is_sure;
use super::{Machines, Regenerate, UNASKED};
use crate::commands::{cert, load};
use crate::error::{Error, Exit};
use crate::inventory::{HostSpec, Inventory};
use crate::secrets::EnginesCa;
use crate::ui::Ui;

/// Life of the certificate, in days: docker-machine's.
pub(super) const DAYS: u32 = 1080;

/// Puts the person's certificate for the machine of an inventory into the machine's folder, if its engine asks for one.
pub async fn issue(inventory: &Inventory, machines: &Machines, ui: Ui) -> Result<(), Error> {
    for host in inventory.hosts.iter().filter(|host| host.api.is_some()) {
        let folder = machines.folder_of(host.name.as_str());
        let person = cert::kept::own_name();
        let own = inventory.engine.ca.as_ref();
        match own.filter(|own| machines.is_the_ca(own)) {
            Some(own) => {
                let ca = EnginesCa::read(&own.cert, &own.key)
                    .map_err(|error| Error::failed("no certificate was made").because(error))?;
                let issued = machines.person(&ca, ui)?;
                cert::hand_out(inventory, &ca, &issued, &person, &folder, ui).await?;
            }
            // Made with a CA of its own, on the host or in files that were named then.
            None => drop(cert::issue(inventory, &person, DAYS, &folder, ui).await?),
        }
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

/// Gives the engines of machines new certificates of the CA of all machines; with `--client-certs` it is a new CA, for every machine.
pub async fn regenerate(args: &Regenerate, machines: &Machines, ui: Ui) -> Result<Exit, Error> {
    let mut names = machines.named(&args.names)?;
    let question = "Regenerate TLS machine certs?  Warning: this is irreversible.";
    if !args.force && !is_sure(question)? {
        return Ok(Exit::Done);
    }
    if args.client_certs {
        let others = machines.with_the_ca(&names)?;
        if !others.is_empty() {
            ui.note(&format!(
                "A new CA is one for all machines: {} get new certificates as well.",
                others.join(", ")
            ));
        }
        names.extend(others);
    }
    let mut is_new = args.client_certs;
    let mut worst = Exit::Done;
    for name in names {
        let global = machines.global_of(&name);
        if load(&global)?.hosts.iter().all(|host| host.api.is_none()) {
            ui.note(&format!(
                "There are no certificates of {name}: its engine is reached over ssh. Nothing was done."
            ));
            continue;
        }
        ui.print("Regenerating TLS certificates");
        // One that was made with other files keeps those.
        let own = load(&global)?.engine.ca;
        if own.is_none_or(|own| machines.is_the_ca(&own)) {
            machines.ready_ca(std::mem::take(&mut is_new), ui)?;
            machines.adopt(&name)?;
        }
        let inventory = load(&global)?;
        match cert::rotate("regenerate-certs", &inventory, &UNASKED, &global, ui).await {
            Ok(Exit::Done) => issue(&inventory, machines, ui).await?,
            Ok(exit) => worst = exit,
            // Said here, so that it does not stop those after it, which would go on to trust the old CA.
            Err(error) => {
                ui.machine_error(&error);
                worst = error.exit();
            }
        }
    }
    Ok(worst)
}
