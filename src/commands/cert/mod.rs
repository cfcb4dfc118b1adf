//! `cert`: certificates for persons, who reach with them the engines that listen on the network (`engine.api: tls`).
//!
//! The key is made here and stays here. The CA's key comes into memory, over SSH from a host that keeps it, as it does when `up` gives
//! an engine its certificate: who may log in there as root may do all that it could do.

pub mod kept;
mod record;

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use time::OffsetDateTime;

use super::carry_out::{Job, Manner, carry_out, check_consent};
use super::{ask_all, load, reach};
use crate::decide::authority;
use crate::engines::api::recorders;
use crate::error::{Error, Exit};
use crate::facts::Scope;
use crate::global::{Global, Output};
use crate::host::{Command, Connection};
use crate::inventory::{HostSpec, Inventory, OwnCa};
use crate::paths::ENGINES_CA;
use crate::secrets::EnginesCa;
use crate::secrets::engines::{Issued, fingerprint};
use crate::ui::{Progress, Tone, Ui, list_width, table};
use crate::whoami::whoami;
use crate::x509;
use record::{Given, Standing};

/// Life of a person's certificate by default, in days: who uses it is reminded once a year that it opens everything.
pub const DAYS: u32 = 365;

/// A day, in seconds.
const DAY: i64 = 86_400;

/// Seconds in days, of which the last is begun: a certificate of five days ends in five days, and not in four a second later.
fn in_days(seconds: i64) -> i64 {
    (seconds + DAY - 1) / DAY
}

/// A certificate that ends within this time is spoken of, in days: who looks once a month learns of it in time.
pub const SOON_DAYS: i64 = 30;

/// Prints the checksum of a file, or nothing if it is not there. Argument: FILE.
const SUM: &str = r#"[ ! -e "$1" ] || sha256sum < "$1" | cut -d' ' -f1"#;

/// Arguments of `cert`.
#[derive(Debug, Args)]
pub struct CertArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CertCommand,
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Make a certificate for a person and keep it here; who has it is root on every host whose engine listens
    Issue {
        /// Whose it is [default: your login here]
        name: Option<String>,
        /// How many days it is good for
        #[arg(long, value_name = "DAYS", default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
    /// List the certificates that were made for persons
    Ls,
    /// Take a certificate back: the engines get a new CA, and every certificate ends with the old one
    Revoke {
        /// Whose it is
        name: String,
        /// How it goes about it.
        #[command(flatten)]
        manner: Manner,
    },
    /// Give the engines a new CA and new certificates; every certificate of a person ends
    RotateCa {
        /// How it goes about it.
        #[command(flatten)]
        manner: Manner,
    },
}

/// Runs it.
pub async fn run(args: &CertArgs, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    match &args.command {
        CertCommand::Issue { name, days } => {
            let name = name.clone().unwrap_or_else(kept::own_name);
            kept::check_name(&name)?;
            let folder = kept::folder(&inventory.cluster, &name)?;
            let ends = issue(&inventory, &name, *days, &folder, ui).await?;
            say_issued(&name, &folder, ends, global, ui);
            Ok(Exit::Done)
        }
        CertCommand::Ls => list(&inventory, global, ui).await,
        CertCommand::Revoke { name, manner } => revoke(&inventory, name, manner, global, ui).await,
        CertCommand::RotateCa { manner } => {
            check_ours(&inventory)?;
            check_consent("cert rotate-ca", manner.yes)?;
            let exit = rotate("cert rotate-ca", &inventory, manner, global, ui).await?;
            Ok(say_rotated(exit, ui))
        }
    }
}

/// Makes a certificate and keeps it in a folder. Returns when it ends. It is written down on the hosts before anybody has it.
pub async fn issue(
    inventory: &Inventory,
    person: &str,
    days: u32,
    folder: &Path,
    ui: Ui,
) -> Result<i64, Error> {
    let keepers = Keepers::reach(inventory, ui).await?;
    let ca = keepers.ca().await?;
    let issued = ca
        .issue_client(person, i64::from(days))
        .map_err(|error| Error::failed("no certificate was made").because(error))?;
    keepers.hand_out(&ca, &issued, person, folder).await?;
    Ok(issued.ends)
}

/// Keeps a certificate that was issued already in one more folder, and writes it down on the hosts of this inventory before.
pub async fn hand_out(
    inventory: &Inventory,
    ca: &EnginesCa,
    issued: &Issued,
    person: &str,
    folder: &Path,
    ui: Ui,
) -> Result<(), Error> {
    let keepers = Keepers::reach(inventory, ui).await?;
    keepers.hand_out(ca, issued, person, folder).await
}

/// A CA of the person's own is not made anew here.
fn check_ours(inventory: &Inventory) -> Result<(), Error> {
    match &inventory.engine.ca {
        None => Ok(()),
        Some(own) => Err(Error::failed(format!(
            "the CA of the engines is your own, in {}: docker-cluster does not replace it",
            own.cert
        ))
        .hint("put another in its place, and `docker-cluster up` gives every engine a certificate of that one: all of the old one end with it")),
    }
}

fn say_issued(name: &str, folder: &Path, ends: i64, global: &Global, ui: Ui) {
    match global.output {
        Output::Json => ui.json(&json!({"name": name, "folder": folder, "ends": ends})),
        Output::Text => {
            ui.print(&folder.display().to_string());
            ui.note(&format!(
                "The certificate of {name} is good until {}. Who has it is root on every host whose engine listens: keep it like a key.",
                date(ends)
            ));
        }
    }
}

/// The hosts that keep the CA and the record of whom it has given certificates, as far as they answer.
struct Keepers {
    hosts: Vec<Arc<Connection>>,
    own: Option<OwnCa>,
}

impl Keepers {
    async fn reach(inventory: &Inventory, ui: Ui) -> Result<Self, Error> {
        let specs: Vec<&HostSpec> = recorders(inventory)
            .filter_map(|name| inventory.host(name.as_str()))
            .collect();
        if specs.is_empty() {
            return Err(
                Error::usage("no engine of this inventory listens on the network")
                    .hint("say `engine: {api: tls}` in it, and run `docker-cluster up`"),
            );
        }
        let progress = Progress::start(ui);
        let reached = reach(&specs, progress.events()).await;
        progress.finish().await;
        let (hosts, _) = reached?;
        if hosts.is_empty() {
            return Err(Error::Said(Exit::Failed));
        }
        // In the inventory's order: the first that has the CA is asked for it, as by `up`.
        let hosts = specs
            .iter()
            .filter_map(|spec| hosts.get(&spec.name).cloned());
        Ok(Self {
            hosts: hosts.collect(),
            own: inventory.engine.ca.clone(),
        })
    }

    /// The CA, of which no two hosts may have different ones.
    async fn ca(&self) -> Result<EnginesCa, Error> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::failed("the CA of the engines cannot be read").because(error)
        };
        if let Some(own) = &self.own {
            return EnginesCa::read(&own.cert, &own.key).map_err(|error| failed(&error));
        }
        let mut found: Vec<(&Connection, String)> = Vec::new();
        for host in &self.hosts {
            let command = Command::script(SUM, [ENGINES_CA.to_owned()]);
            let sum = host.check(&command).await.map_err(|error| failed(&error))?;
            if !sum.trim().is_empty() {
                found.push((host, sum));
            }
        }
        let Some((host, sum)) = found.first() else {
            return Err(Error::failed("no host has a CA for its engines yet")
                .hint("`docker-cluster up` makes it"));
        };
        if found.iter().any(|(_, other)| other != sum) {
            return Err(Error::failed("the hosts keep different CAs of the engines")
                .hint("`docker-cluster cert rotate-ca` was cut off: run it again"));
        }
        let text = host
            .check(&Command::new(["cat", ENGINES_CA]))
            .await
            .map_err(|error| failed(&error))?;
        EnginesCa::parse(&text).map_err(|error| failed(&error))
    }

    /// What names the CA that the engines trust, by its certificate alone.
    async fn trusted(&self) -> Result<String, Error> {
        if let Some(own) = &self.own {
            return Ok(fingerprint(&own.text));
        }
        let command = Command::script(
            r#"[ ! -e "$1" ] || sed '/PRIVATE KEY/,$d' "$1""#,
            [ENGINES_CA.to_owned()],
        );
        for host in &self.hosts {
            let text = host.check(&command).await.map_err(unreadable)?;
            if !text.trim().is_empty() {
                return Ok(fingerprint(&text));
            }
        }
        Ok(String::new())
    }

    /// Writes a certificate down on the hosts, then keeps it.
    async fn hand_out(
        &self,
        ca: &EnginesCa,
        issued: &Issued,
        person: &str,
        folder: &Path,
    ) -> Result<(), Error> {
        let given = Given {
            name: person.to_owned(),
            serial: issued.serial.clone(),
            ends: issued.ends,
            ca: ca.fingerprint(),
            by: whoami(),
            at: OffsetDateTime::now_utc().unix_timestamp(),
        };
        for host in &self.hosts {
            record::add(host, &given).await.map_err(|error| {
                Error::failed("the certificate could not be written down on the hosts")
                    .because(error)
            })?;
        }
        kept::keep(folder, ca.cert(), issued)
    }

    async fn given(&self) -> Result<Vec<Given>, Error> {
        let mut all = Vec::new();
        for host in &self.hosts {
            all.push(record::read(host).await.map_err(unreadable)?);
        }
        Ok(record::merged(all))
    }
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::failed("the record of certificates cannot be read").because(error)
}

async fn list(inventory: &Inventory, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let keepers = Keepers::reach(inventory, ui).await?;
    let (given, ca) = (keepers.given().await?, keepers.trusted().await?);
    let now = OffsetDateTime::now_utc().unix_timestamp();
    match global.output {
        Output::Json => {
            let each = given.iter().map(|one| {
                json!({
                    "name": one.name,
                    "serial": one.serial,
                    "ends": one.ends,
                    "state": one.standing(now, &ca).as_str(),
                    "by": one.by,
                    "at": one.at,
                })
            });
            let all: Vec<_> = each.collect();
            ui.json(&json!({"cluster": inventory.cluster, "certificates": all}));
        }
        Output::Text if given.is_empty() => {
            ui.note("There are none; `docker-cluster cert issue` makes one.");
        }
        Output::Text => {
            ui.print(&table(
                &["NAME", "SERIAL", "UNTIL", "STATE", "BY"],
                given.iter().map(|one| row(one, now, &ca)).collect(),
                ui.out,
                list_width(),
            ));
            for (name, days) in record::ending(&given, now, &ca, SOON_DAYS * DAY) {
                ui.note(&format!(
                    "The last certificate of {name} ends in {} days: `docker-cluster cert issue {name}` makes a new one.",
                    in_days(days)
                ));
            }
        }
    }
    Ok(Exit::Done)
}

/// Says that the certificate of this person here has ended or ends soon, if some engine of the inventory asks for one.
pub fn say_ending(inventory: &Inventory, global: &Global, ui: Ui) {
    let Some(host) = inventory.hosts.iter().find(|host| host.api.is_some()) else {
        return;
    };
    let Ok(folder) = kept::folder_for(inventory, host, global) else {
        return;
    };
    let text = std::fs::read_to_string(folder.join(kept::CERT)).unwrap_or_default();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    if let Some(left) = x509::expiry(&text).map(|ends| ends - now)
        && left < SOON_DAYS * DAY
    {
        let what = match left > 0 {
            true => format!("ends in {} days", in_days(left)),
            false => "has ended".to_owned(),
        };
        ui.note(&format!(
            "The certificate in {} {what}: `docker-cluster cert issue` makes a new one.",
            folder.display()
        ));
    }
}

fn row(given: &Given, now: i64, ca: &str) -> Vec<(String, Tone)> {
    let standing = given.standing(now, ca);
    let tone = match standing {
        Standing::Valid => Tone::Plain,
        Standing::Expired | Standing::Ended => Tone::Dim,
    };
    let until = match standing {
        Standing::Valid => {
            format!("{} ({} days)", date(given.ends), in_days(given.ends - now))
        }
        Standing::Expired | Standing::Ended => date(given.ends),
    };
    let cells = [
        given.name.clone(),
        given.serial.clone(),
        until,
        standing.as_str().to_owned(),
        given.by.clone(),
    ];
    cells.map(|text| (text, tone)).to_vec()
}

/// A day, as `2027-01-31`.
fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.date().to_string())
}

async fn revoke(
    inventory: &Inventory,
    name: &str,
    manner: &Manner,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    check_ours(inventory)?;
    check_consent("cert revoke", manner.yes)?;
    let keepers = Keepers::reach(inventory, ui).await?;
    let (given, ca) = (keepers.given().await?, keepers.trusted().await?);
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let valid = |one: &&Given| one.standing(now, &ca) == Standing::Valid;
    if !given.iter().filter(valid).any(|one| one.name == name) {
        return Err(Error::failed(format!(
            "{name} has no certificate that the engines would take"
        ))
        .hint("`docker-cluster cert ls` lists those that were made"));
    }
    let mut others: Vec<&str> = given
        .iter()
        .filter(valid)
        .map(|one| one.name.as_str())
        .filter(|other| *other != name)
        .collect();
    others.sort_unstable();
    others.dedup();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!(
            " Those of {} end with it: issue them anew.",
            others.join(", ")
        ),
    };
    ui.note(&format!(
        "An engine asks nobody whether a certificate was revoked. To take back that of {name} all engines get a new CA.{others}"
    ));
    let exit = rotate("cert revoke", inventory, manner, global, ui).await?;
    Ok(say_rotated(exit, ui))
}

fn say_rotated(exit: Exit, ui: Ui) -> Exit {
    if exit == Exit::Done {
        ui.note(
            "Every certificate of a person has ended: `docker-cluster cert issue` makes yours anew.",
        );
    }
    exit
}

/// Gives the engines a new CA, and each a certificate of it.
pub async fn rotate(
    command: &'static str,
    inventory: &Inventory,
    manner: &Manner,
    global: &Global,
    ui: Ui,
) -> Result<Exit, Error> {
    let asked = ask_all(inventory, Scope::Usual, ui).await?;
    let job = Job {
        command,
        inventory,
        asked: &asked,
        decide: &authority::plan,
        manner,
        prove: false,
    };
    carry_out(&job, global, ui).await
}
