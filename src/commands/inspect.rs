//! `inspect`: what the inventory says of hosts, whole, in the form that scripts know from Docker Machine.

use clap::Args;
use serde_json::{Value, json};

use super::cert::kept;
use super::endpoint::Endpoint;
use super::{host, load, standalone};
use crate::error::{Error, Exit};
use crate::global::Global;
use crate::inventory::{HostSpec, Inventory, PrivateAddress};
use crate::ui::{Template, Ui, pretty};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The hosts
    #[arg(required = true)]
    pub hosts: Vec<String>,
    /// A template in the manner of Go, such as `{{.Driver.IPAddress}}` or `{{json .HostOptions}}`
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

/// Runs it.
pub fn run(args: &Inspect, global: &Global, ui: Ui) -> Result<Exit, Error> {
    let inventory = load(global)?;
    let hosts = args
        .hosts
        .iter()
        .map(|name| host(&inventory, name))
        .collect::<Result<Vec<_>, _>>()?;
    let documents: Vec<Value> = hosts
        .iter()
        .map(|host| document(&inventory, host, global))
        .collect::<Result<_, _>>()?;
    match &args.format {
        Some(text) => {
            let wrong = |error| Error::usage(format!("--format: {error}"));
            let template = Template::parse(text).map_err(wrong)?;
            ui.print(
                &template
                    .rows(&documents, ui.out, crate::ui::list_width())
                    .map_err(wrong)?,
            );
        }
        None => documents
            .iter()
            .for_each(|document| ui.print(&pretty(document))),
    }
    Ok(Exit::Done)
}

/// The port that ssh takes where none is named.
const SSH_PORT: u16 = 22;

fn document(inventory: &Inventory, host: &HostSpec, global: &Global) -> Result<Value, Error> {
    let endpoint = Endpoint::of(inventory, host, global)?;
    let ssh = &host.ssh;
    let labels: Vec<String> = host
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Ok(json!({
        "Name": host.name,
        "Cluster": inventory.cluster,
        "DriverName": "generic",
        "URL": endpoint.url,
        "Driver": {
            "MachineName": host.name,
            "IPAddress": ssh.address,
            "PrivateAddress": match &host.private {
                PrivateAddress::Auto => Value::Null,
                PrivateAddress::Ip(ip) => ip.to_string().into(),
                PrivateAddress::Interface(name) => name.clone().into(),
            },
            "SSHUser": ssh.user.as_deref().unwrap_or_default(),
            "SSHPort": ssh.port.unwrap_or(SSH_PORT),
            "SSHKeyPath": ssh.identity.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            "SSHJumpHost": ssh.jump.as_deref().unwrap_or_default(),
        },
        "HostOptions": {
            "EngineOptions": {
                "Labels": labels,
                "Options": inventory.engine.options,
                "TlsVerify": host.api.is_some(),
            },
            "AuthOptions": auth(inventory, host, &endpoint),
            "SwarmOptions": standalone::options(inventory, host),
        },
        "Labels": host.labels,
        "Tags": host.tags,
    }))
}

/// The certificates, where the engine asks for them.
fn auth(inventory: &Inventory, host: &HostSpec, endpoint: &Endpoint) -> Value {
    let (Some(api), Some(folder)) = (&host.api, &endpoint.certs) else {
        return Value::Null;
    };
    let addresses = api.addresses.iter().map(ToString::to_string);
    let names: Vec<String> = api.names.iter().cloned().chain(addresses).collect();
    let key = inventory.engine.ca.as_ref().map(|own| &own.key);
    json!({
        "CaPrivateKeyPath": key,
        "CertDir": folder,
        "CaCertPath": folder.join(kept::CA),
        "ClientCertPath": folder.join(kept::CERT),
        "ClientKeyPath": folder.join(kept::KEY),
        "StorePath": folder,
        "ServerCertSANs": names,
    })
}
