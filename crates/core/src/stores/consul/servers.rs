//! Who the servers of the store are, by what the hosts' own configurations and the inventory say.

use std::net::IpAddr;

use serde_json::Value;

use crate::facts::Facts;
use crate::inventory::{HostName, Members, quorum_size};
use crate::paths::SECRETS_PATH;
use crate::plan::{HostWorld, Problem, World};

/// The agent's configuration that a host has, as far as the plan needs it.
fn configured(facts: &Facts) -> Option<Value> {
    serde_json::from_str(facts.store.config.as_deref()?).ok()
}

/// Whether a host is a server of the store, by its own configuration.
#[must_use]
pub fn is_server(facts: &Facts) -> Option<bool> {
    configured(facts)?.get("server")?.as_bool()
}

/// Who the servers are, and who left.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    pub(crate) hosts: Vec<HostName>,
    /// Addresses of all servers, those of hosts that cannot be asked right now included.
    pub(crate) addresses: Vec<IpAddr>,
    /// Addresses of servers that are no longer in the inventory.
    pub(crate) gone: Vec<IpAddr>,
    /// How many servers a new server waits for before it makes a quorum with them; none where it joins the one that there is.
    expect: Option<usize>,
    /// Whether there is a store already.
    pub(crate) exists: bool,
    /// Whether it answers on any host. Before it ever has, no server may wait for more than there are: one of those that were to begin it
    /// may have left the inventory since.
    answers: bool,
}

/// The servers that the agents' configurations name. A host does not become one by its own word, which would bring it the CA's key:
/// another has to name it, unless there is no other.
fn named_servers(configs: &[(IpAddr, Value)]) -> Vec<IpAddr> {
    let names = |config: &Value| -> Vec<IpAddr> {
        let words = config
            .get("retry_join")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        words
            .filter_map(|word| word.as_str()?.parse().ok())
            .collect()
    };
    let named: Vec<(IpAddr, Vec<IpAddr>)> = configs
        .iter()
        .map(|(by, config)| (*by, names(config)))
        .collect();
    // In the order in which they are written there: another one would be another configuration.
    let mut servers: Vec<IpAddr> = Vec::new();
    for ip in named.iter().flat_map(|(_, servers)| servers) {
        let by_another = named
            .iter()
            .any(|(by, servers)| by != ip && servers.contains(ip));
        if !servers.contains(ip) && (by_another || named.len() == 1) {
            servers.push(*ip);
        }
    }
    servers
}

impl Servers {
    /// By the configurations that there are, and what the inventory wants beside them.
    pub(crate) fn of(world: &World<'_>) -> Self {
        let configs: Vec<(IpAddr, Value)> = world
            .hosts
            .iter()
            .filter_map(|host| Some((host.private, configured(host.facts)?)))
            .collect();
        let expects = configs
            .iter()
            .filter_map(|(_, config)| config.get("bootstrap_expect").and_then(Value::as_u64));
        let expect = expects.max().unwrap_or(0) as usize;
        let mut known = named_servers(&configs);
        let exists = !configs.is_empty();
        let reached = |ip: &IpAddr| world.hosts.iter().find(|host| host.private == *ip);
        // With a host that cannot be asked, an unknown address may be its: nobody is removed until everybody answers.
        let gone: Vec<IpAddr> = if world.unreached.is_empty() {
            known
                .iter()
                .copied()
                .filter(|ip| reached(ip).is_none())
                .collect()
        } else {
            Vec::new()
        };
        known.retain(|ip| !gone.contains(ip));
        let wanted = match &world.inventory.store.servers {
            Members::Named(names) => {
                let named: Vec<IpAddr> = world
                    .hosts
                    .iter()
                    .filter(|host| names.contains(host.name()))
                    .map(|host| host.private)
                    .collect();
                for ip in named {
                    if !known.contains(&ip) {
                        known.push(ip);
                    }
                }
                names.len()
            }
            Members::Count(count) => *count,
            Members::BySize => quorum_size(world.inventory.hosts.len()),
        };
        // A first start needs every server at once: only hosts that answer can be among them, and an even number is no better.
        let reachable = world.hosts.len();
        let wanted = if exists {
            wanted
        } else {
            wanted.min(if reachable.is_multiple_of(2) {
                reachable.saturating_sub(1).max(1)
            } else {
                reachable
            })
        };
        for host in &world.hosts {
            if known.len() < wanted && !known.contains(&host.private) {
                known.push(host.private);
            }
        }
        let hosts = world
            .hosts
            .iter()
            .filter(|host| known.contains(&host.private))
            .map(|host| host.name().clone())
            .collect();
        // Agents alone are no store: the run that was to begin it was cut off, or its first server went back to what it was.
        let is_server =
            |(_, config): &(IpAddr, Value)| config.get("server") == Some(&Value::Bool(true));
        let has_server = configs.iter().any(is_server) || !world.unreached.is_empty();
        let expect = match exists && has_server {
            // Alone it would be a quorum of its own; of several, each asks the others first whether there is one.
            true => (expect > 1).then_some(expect),
            false => Some(known.len()),
        };
        let answers = world.hosts.iter().any(|host| host.facts.store.ready);
        Self {
            hosts,
            expect,
            addresses: known,
            gone,
            exists,
            answers,
        }
    }

    /// How many servers the one on this host is told to expect. One that is a server already keeps what it has, so that nothing has
    /// to restart for it; only the first of all, which was alone, stops being one that needs nobody when others join it.
    pub(crate) fn expects(&self, host: &HostWorld<'_>) -> Option<usize> {
        let Some(own) = configured(host.facts)
            .filter(|config| config.get("server") == Some(&Value::Bool(true)))
        else {
            return self.expect.map(|count| self.at_most(count));
        };
        let own = own
            .get("bootstrap_expect")
            .and_then(Value::as_u64)
            .map(|count| self.at_most(count as usize));
        own.filter(|count| *count > 1 || self.addresses.len() == 1 || !host.facts.store.ready)
    }
}

impl Servers {
    fn at_most(&self, count: usize) -> usize {
        if self.answers {
            count
        } else {
            count.min(self.addresses.len().max(1))
        }
    }
}

/// Whether enough servers can be asked for a quorum of them.
pub(crate) fn quorum(world: &World<'_>) -> Option<Problem> {
    let servers = Servers::of(world);
    let missing: Vec<&str> = world
        .unreached
        .iter()
        .map(|unreached| unreached.host.as_str())
        .collect();
    if servers.exists {
        let all = servers.addresses.len();
        let here = servers
            .addresses
            .iter()
            .filter(|ip| world.hosts.iter().any(|host| host.private == **ip))
            .count();
        return (here * 2 <= all && !missing.is_empty()).then(|| {
            Problem::of_all(
                format!(
                    "no quorum is possible: of the store's {all} servers only {here} can be asked"
                ),
                format!("bring back {}", missing.join(", ")),
            )
        });
    }
    let Members::Named(names) = &world.inventory.store.servers else {
        return None;
    };
    let absent: Vec<&str> = names
        .iter()
        .map(HostName::as_str)
        .filter(|name| missing.contains(name))
        .collect();
    (!absent.is_empty()).then(|| {
        Problem::of_all(
            format!(
                "{} cannot be asked, and the store is to begin with its server there",
                absent.join(", ")
            ),
            "bring it back, or name others in `store.servers`",
        )
    })
}

/// The server that holds the store's secrets. Not whoever says so: it is asked for the CA's key, and gives the others theirs.
pub(crate) fn holder<'a>(world: &'a World<'_>, servers: &Servers) -> Option<&'a HostWorld<'a>> {
    world
        .hosts
        .iter()
        .find(|host| servers.hosts.contains(host.name()) && facts_bundle(host.facts).is_some())
}

/// Checksum of the store's secrets that a server holds.
pub(crate) fn facts_bundle(facts: &Facts) -> Option<&str> {
    facts
        .files
        .get(SECRETS_PATH)
        .map(|file| file.sha256.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_host_becomes_a_server_by_its_own_word() {
        let config = |by: &str, servers: &[&str]| {
            (
                by.parse().unwrap(),
                serde_json::json!({"retry_join": servers}),
            )
        };
        let named = |configs: &[(IpAddr, Value)]| -> Vec<String> {
            named_servers(configs)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        let (a, b, c) = ("10.0.0.11", "10.0.0.12", "10.0.0.13");
        assert_eq!(
            named(&[config(a, &[a]), config(b, &[a]), config(c, &[a, c])]),
            [a]
        );
        assert_eq!(
            named(&[config(a, &[a, b, c]), config(b, &[a, b, c])]),
            [a, b, c]
        );
        // Of one server nobody else may know yet.
        assert_eq!(named(&[config(a, &[a])]), [a]);
    }
}
