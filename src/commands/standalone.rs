//! Standalone Swarm, for those who want to be pointed at it: which host has a manager that runs, and where it is reached.

use std::time::Duration;

use super::endpoint::Endpoint;
use super::{answer, host, select};
use crate::error::Error;
use crate::fabrics::standalone::MANAGER;
use crate::global::Global;
use crate::host::{Command, Connector, HostError, Rights};
use crate::inventory::{HostName, HostSpec, Inventory};
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

/// Where the manager of a host is reached, with the certificate that opens the engines as well.
pub fn endpoint(
    inventory: &Inventory,
    host: &HostSpec,
    global: &Global,
) -> Result<Endpoint, Error> {
    let mut endpoint = Endpoint::open(inventory, host, global)?;
    if let Some(api) = &host.api {
        endpoint.url = api.manager_url();
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
