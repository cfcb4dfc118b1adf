//! A thin typed client for the few calls of Consul's HTTP API that a plan makes, over SSH and mutual TLS.
//!
//! The crate that was asked for, `consulrs`, has had no commit since 2022 and brings TLS stacks with open advisories; see
//! `CONTRIBUTING.md`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, Identity, Method, StatusCode};
use serde_json::{Value, json};

use crate::clients::http::{body, chain};
use crate::host::{Connection, HostError, MAX_OUTPUT, Remote};
use crate::plan::{ConsulCall, Slot};
use crate::secrets::{Secret, SecretsError, Slots};
use crate::stores::consul::HTTPS_PORT;
use crate::words::printable;

/// How long one request may take. The servers' own limit for a write without a leader is some seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// How long saving or restoring may take: a store of docker-cluster holds some megabytes at most, over whatever line there is.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);

/// Most bytes of a snapshot: it is held in memory, and a store of docker-cluster holds a hundredth of this.
const MAX_SNAPSHOT: usize = 256 << 20;

/// How long the first leader may take to be elected and to know the management token.
const LEADER_DEADLINE: Duration = Duration::from_secs(120);

/// How often it is asked for.
const POLL: Duration = Duration::from_millis(300);

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum ConsulError {
    /// The way to it.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The certificate to show.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// No answer, or not over TLS.
    #[error("Consul does not answer: {0}")]
    Transport(String),
    /// A file on this machine.
    #[error("{0}")]
    File(String),
    /// A refusal.
    #[error("Consul answers {status} to {what}: {body}")]
    Refused {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Its words.
        body: String,
    },
}

struct Api {
    client: Client,
    token: Secret,
}

/// Obeys a call of the plan on the agent of a host.
pub async fn call(
    host: &Arc<Connection>,
    slots: &Slots,
    call: &ConsulCall,
) -> Result<(), ConsulError> {
    let api = Api::open(host, slots).await?;
    match call {
        ConsulCall::EnsureAccess {
            engine_rules,
            agent_rules,
        } => {
            api.wait_for_leader().await?;
            api.ensure(
                "docker-cluster-engine",
                "what Docker engines need for their overlay networks",
                engine_rules,
                &slots.get(Slot::EngineToken)?,
            )
            .await?;
            api.ensure(
                "docker-cluster-agent",
                "what the agents themselves need",
                agent_rules,
                &slots.get(Slot::AgentToken)?,
            )
            .await
        }
        ConsulCall::Backup { file } => {
            let snapshot = api.snapshot_of_a_leader().await?;
            save(file, &snapshot).map_err(|error| {
                ConsulError::File(format!("cannot write {}: {error}", file.display()))
            })
        }
        ConsulCall::Restore { file } => {
            let cannot =
                |error| ConsulError::File(format!("cannot read {}: {error}", file.display()));
            let snapshot = tokio::fs::read(file).await.map_err(cannot)?;
            api.restore(snapshot).await
        }
        ConsulCall::RemovePeers { addresses } => {
            api.wait_for_leader().await?;
            for address in addresses {
                let answer = api
                    .request(
                        Method::DELETE,
                        &format!("/v1/operator/raft/peer?address={address}"),
                        None,
                    )
                    .await?;
                // A server that the others removed already is what is wanted.
                if !answer.0.is_success() && !answer.1.contains("was not found") {
                    return Err(refused("removing a server", &answer));
                }
            }
            Ok(())
        }
    }
}

impl Api {
    async fn open(host: &Connection, slots: &Slots) -> Result<Self, ConsulError> {
        let socket = host.forward(&Remote::Loopback(HTTPS_PORT)).await?;
        // The CA's key is at hand: a certificate for this one conversation, instead of reading a host's key.
        let (cert, key) =
            slots
                .bundle()?
                .issue("docker-cluster", &["docker-cluster".to_owned()], &[], 1)?;
        let transport = |error: reqwest::Error| ConsulError::Transport(error.to_string());
        let identity =
            Identity::from_pem(format!("{cert}{}", key.expose()).as_bytes()).map_err(transport)?;
        let trusted = Certificate::from_pem_bundle(slots.get(Slot::StoreCa)?.expose().as_bytes())
            .map_err(transport)?;
        let client = Client::builder()
            .unix_socket(socket)
            .tls_certs_only(trusted)
            .identity(identity)
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(transport)?;
        Ok(Self {
            client,
            token: slots.get(Slot::ManagementToken)?,
        })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), ConsulError> {
        let mut request = self
            .client
            .request(method, format!("https://localhost:{HTTPS_PORT}{path}"))
            .header("X-Consul-Token", self.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let transport = |error: reqwest::Error| ConsulError::Transport(chain(&error));
        let response = request.send().await.map_err(transport)?;
        let status = response.status();
        let body = bounded(response, MAX_OUTPUT).await?;
        Ok((
            status,
            printable(&body).replace(self.token.expose(), "[token]"),
        ))
    }

    /// Everything in the store, as Consul packs it: a compressed archive with its own checksums.
    /// Asks again while the servers change their leader, in which a stream between them breaks off.
    async fn snapshot_of_a_leader(&self) -> Result<Vec<u8>, ConsulError> {
        let end = Instant::now() + LEADER_DEADLINE;
        loop {
            match self.snapshot().await {
                Err(ConsulError::Refused { status, .. })
                    if status >= 500 && Instant::now() < end =>
                {
                    tokio::time::sleep(POLL).await;
                }
                answer => return answer,
            }
        }
    }

    async fn snapshot(&self) -> Result<Vec<u8>, ConsulError> {
        let transport = |error: reqwest::Error| ConsulError::Transport(chain(&error));
        let request = self
            .client
            .get(format!("https://localhost:{HTTPS_PORT}/v1/snapshot"))
            .timeout(SNAPSHOT_TIMEOUT)
            .header("X-Consul-Token", self.token.expose());
        let response = request.send().await.map_err(transport)?;
        let status = response.status();
        let bytes = bounded(response, MAX_SNAPSHOT).await?;
        match status.is_success() {
            true => Ok(bytes),
            false => Err(refused("saving the store", &(status, printable(&bytes)))),
        }
    }

    async fn restore(&self, snapshot: Vec<u8>) -> Result<(), ConsulError> {
        let transport = |error: reqwest::Error| ConsulError::Transport(chain(&error));
        let request = self
            .client
            .put(format!("https://localhost:{HTTPS_PORT}/v1/snapshot"))
            .timeout(SNAPSHOT_TIMEOUT)
            .header("X-Consul-Token", self.token.expose())
            .body(snapshot);
        let response = request.send().await.map_err(transport)?;
        let status = response.status();
        let body = bounded(response, MAX_OUTPUT).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(refused(
                "putting the store back",
                &(status, printable(&body)),
            )),
        }
    }

    /// Waits until the management token is known, which takes a leader.
    async fn wait_for_leader(&self) -> Result<(), ConsulError> {
        let end = Instant::now() + LEADER_DEADLINE;
        loop {
            let answer = self.request(Method::GET, "/v1/acl/token/self", None).await;
            match &answer {
                Ok((status, _)) if status.is_success() => return Ok(()),
                _ if Instant::now() < end => tokio::time::sleep(POLL).await,
                Ok(answer) => return Err(refused("the question for a leader", answer)),
                Err(_) => return answer.map(|_| ()),
            }
        }
    }

    /// Registers a policy and a token with it, or finds them registered.
    async fn ensure(
        &self,
        name: &str,
        description: &str,
        rules: &str,
        token: &Secret,
    ) -> Result<(), ConsulError> {
        let policy = json!({"Name": name, "Description": description, "Rules": rules});
        let answer = self
            .request(Method::PUT, "/v1/acl/policy", Some(&policy))
            .await?;
        if !answer.0.is_success() {
            if !answer.1.contains("already exists") {
                return Err(refused("registering a policy", &answer));
            }
            self.update_policy(name, &policy).await?;
        }
        let body = json!({"SecretID": token.expose(), "Description": description, "Policies": [{"Name": name}]});
        let answer = self
            .request(Method::PUT, "/v1/acl/token", Some(&body))
            .await?;
        let text = answer.1.replace(token.expose(), "[token]");
        if !answer.0.is_success() && !text.contains("already in use") {
            return Err(refused("registering a token", &(answer.0, text)));
        }
        Ok(())
    }

    async fn update_policy(&self, name: &str, policy: &Value) -> Result<(), ConsulError> {
        let found = self
            .request(Method::GET, &format!("/v1/acl/policy/name/{name}"), None)
            .await;
        // Consul before 1.7 cannot find a policy by name; there the list is short.
        let list = self.request(Method::GET, "/v1/acl/policies", None).await?;
        let id_of = |value: &Value| value.get("ID").and_then(Value::as_str).map(str::to_owned);
        let direct = found
            .ok()
            .filter(|(status, _)| status.is_success())
            .and_then(|(_, text)| serde_json::from_str::<Value>(&text).ok())
            .and_then(|value| id_of(&value));
        let listed = || {
            let list: Vec<Value> = serde_json::from_str(&list.1).ok()?;
            list.iter()
                .find(|policy| policy.get("Name").and_then(Value::as_str) == Some(name))
                .and_then(id_of)
        };
        let Some(id) = direct.or_else(listed) else {
            return Err(refused("finding a policy", &list));
        };
        let mut body = policy.clone();
        body["ID"] = json!(id);
        let answer = self
            .request(Method::PUT, &format!("/v1/acl/policy/{id}"), Some(&body))
            .await?;
        if answer.0.is_success() {
            Ok(())
        } else {
            Err(refused("updating a policy", &answer))
        }
    }
}

/// Writes a file as a whole or not at all, for its owner alone: what a temporary file is.
fn save(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(file.path(), bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn refused(what: &str, (status, body): &(StatusCode, String)) -> ConsulError {
    ConsulError::Refused {
        what: what.to_owned(),
        status: status.as_u16(),
        body: body.trim().to_owned(),
    }
}

async fn bounded(response: reqwest::Response, limit: usize) -> Result<Vec<u8>, ConsulError> {
    body(response, limit).await.map_err(ConsulError::Transport)
}
