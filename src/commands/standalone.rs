//! Standalone Swarm, for those who want to be pointed at it: which host has a manager that runs, and where it is reached.

use std::time::Duration;

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::{answer, host, select};
use crate::error::Error;
use crate::fabrics::standalone::MANAGER;
use crate::global::Global;
use crate::host::{Command, Connector, HostError, Rights};
use crate::inventory::{HostName, HostSpec, Inventory, tcp_url_at};
use crate::labels::SWARM_LABEL;

/// How long an engine may take to list its containers.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);

/// A host whose manager runs. Any of them will do: those that do not lead hand on what they are asked.
pub async fn a_manager<'a>(
    inventory: &'a Inventory,
    global: &Global,
) -> Result<&'a HostSpec, Error> {
    let connector =
        Connector::new().map_err(|error| Error::failed("cannot prepare SSH").because(error))?;
    let label = format!("label={SWARM_LABEL}={}", inventory.cluster);
    let format = "{{.Names}}";
    let question = Command::new(["docker", "ps", "--filter", &label, "--format", format])
        .rights(Rights::Engine)
        .timeout(LIST_TIMEOUT);
    let each = select(inventory, global)?.into_iter().map(|spec| {
        let (connector, question) = (&connector, &question);
        async move {
            let asked = async {
                let (connection, output) = answer(connector, spec, question).await?;
                match output.status {
                    0 => Ok(output.stdout_text().lines().any(|name| name == MANAGER)),
                    status => Err(connection.failure(question, status, &output)),
                }
            };
            (&spec.name, asked.await)
        }
    });
    first(inventory, futures_util::future::join_all(each).await)
}

/// The first in the inventory's order.
fn first<'a>(
    inventory: &'a Inventory,
    answers: Vec<(&HostName, Result<bool, HostError>)>,
) -> Result<&'a HostSpec, Error> {
    if let Some((name, _)) = answers
        .iter()
        .find(|(_, answer)| matches!(answer, Ok(true)))
    {
        return host(inventory, name.as_str());
    }
    let silent: Vec<String> = answers
        .iter()
        .filter_map(|(name, answer)| Some(format!("{name}: {}", answer.as_ref().err()?)))
        .collect();
    let error = Error::failed("no manager of Swarm runs on a host that answers")
        .hint("`docker-cluster up` runs what is missing of it");
    Err(match silent.is_empty() {
        true => error,
        false => error.because(silent.join("\n")),
    })
}

/// Whether a host is to have a manager.
#[must_use]
pub fn is_manager(inventory: &Inventory, host: &HostSpec) -> bool {
    let managers = inventory.swarm.managers.choose(&inventory.hosts);
    inventory.swarm.standalone.is_some() && managers.contains(&&host.name)
}

/// What a host is told of Swarm, under the names that scripts know from Docker Machine.
#[must_use]
pub fn options(inventory: &Inventory, host: &HostSpec) -> Option<Value> {
    let spec = inventory.swarm.standalone.as_ref()?;
    let is_manager = is_manager(inventory, host);
    Some(json!({
        "IsSwarm": spec.agents || is_manager,
        "Address": "",
        "Discovery": spec.discovery.as_deref().unwrap_or_default(),
        "Agent": spec.agents,
        "Master": is_manager,
        "Host": tcp_url_at("0.0.0.0", spec.port),
        "Image": spec.image,
        "Strategy": spec.strategy.as_str(),
        "ArbitraryFlags": spec.options,
        "ArbitraryJoinFlags": spec.join_options,
        "IsExperimental": spec.experimental,
    }))
}

/// Where the manager of a host is reached, with the certificate that opens the engines as well.
pub fn endpoint(
    inventory: &Inventory,
    host: &HostSpec,
    global: &Global,
) -> Result<Endpoint, Error> {
    let mut endpoint = Endpoint::open(inventory, host, global)?;
    if let (Some(api), Some(swarm)) = (&host.api, &inventory.swarm.standalone) {
        endpoint.url = api.manager_url(swarm);
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_runs_is_taken_and_silence_is_told() {
        let inventory = Inventory::parse("hosts: [a, b, c]", "x.yaml").unwrap();
        let names: Vec<&HostName> = inventory.hosts.iter().map(|host| &host.name).collect();
        let late = || HostError::Disconnected {
            command: "docker ps".to_owned(),
        };
        let found = first(
            &inventory,
            vec![
                (names[0], Err(late())),
                (names[1], Ok(false)),
                (names[2], Ok(true)),
            ],
        );
        assert_eq!(found.unwrap().name.as_str(), "c");
        let none = first(
            &inventory,
            vec![(names[0], Err(late())), (names[1], Ok(false))],
        );
        let said = format!("{:?}", none.unwrap_err());
        assert!(
            said.contains("no manager of Swarm runs") && said.contains("a: "),
            "{said}"
        );
    }
}
