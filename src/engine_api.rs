//! The engine's API on a host, over SSH: `bollard` on a private local socket, each connection of which is a remote
//! `docker system dial-stdio`. That is what Docker's own client does, and it works for root and through sudo alike, where a
//! forwarded socket needs the right to open it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Ipam, IpamConfig,
    NetworkConnectRequest, NetworkCreateRequest, NodeSpec, NodeSpecAvailabilityEnum,
    NodeSpecRoleEnum, RestartPolicy, RestartPolicyNameEnum, SwarmInitRequest, SwarmJoinRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DeleteNodeOptionsBuilder, RemoveContainerOptionsBuilder,
    UpdateNodeOptionsBuilder,
};
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::debug;

use crate::host::{Command, Connection, MAX_OUTPUT};
use crate::labels::KEEPER_LABEL;
use crate::plan::{EngineCall, NewContainer, NodeUpdate, SwarmRole};
use crate::secrets::Secret;

/// How long a call may take, with all that it asks the engine. A first attachment is tried again for [`FIRST_ATTACH_DEADLINE`], and an
/// engine on a busy host takes some seconds for each container. The client's own timeout ends with the first byte of an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(240);

/// How long a swarm's worker is tried that cannot attach to a network because its manager does not answer: the engine gives up on
/// one try after 20 s, and finds another manager meanwhile if there is one.
pub const ATTACH_DEADLINE: Duration = Duration::from_secs(60);

/// The same for the first attachment of an engine that has just joined. It compares the network with every other engine on it before it goes
/// on, and waits 30 s for each that has not heard of it yet (networkdb's `bulkSyncNode`); an attempt that the engine has given up meanwhile
/// holds up the next. Who missed it hears of it when engines compare their lists, up to 60 s later: seen on ten hosts, where three attempts
/// in 60 s failed and a fourth would not have.
const FIRST_ATTACH_DEADLINE: Duration = Duration::from_secs(150);

/// How the engine says that: in general, and when the managers have not yet found an address for its load balancer.
const NO_MANAGER_ANSWERS: [&str; 2] = [
    "context deadline exceeded",
    "failed to find a load balancer IP",
];

/// How often an attachment is tried again. Each try is some work for the managers.
const ATTACH_POLL: Duration = Duration::from_secs(1);

/// Whether these words of an engine say that it waits for a manager of its swarm.
#[must_use]
pub fn waits_for_a_manager(words: &str) -> bool {
    NO_MANAGER_ANSWERS.iter().any(|said| words.contains(said))
}

/// How long a `dial-stdio` may live: as long as any run.
const DIAL_LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// How long an engine may take to agree on a version of its API: it answers a ping.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Most bytes that an engine says on one connection. An honest answer to what is asked here has some kilobytes, and what a hostile host
/// says is read into memory.
const MAX_ANSWER: u64 = MAX_OUTPUT as u64;

/// A call of the engine's API that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The engine refused or did not answer.
    #[error("the engine of the host says: {0}")]
    Engine(String),
    /// It began an answer and did not end it, or never began one.
    #[error("the engine of the host did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The socket on this machine.
    #[error("cannot make the local socket for the engine's API: {0}")]
    Local(#[from] std::io::Error),
}

impl From<bollard::errors::Error> for ApiError {
    fn from(error: bollard::errors::Error) -> Self {
        match error {
            bollard::errors::Error::DockerResponseServerError { message, .. } => {
                Self::Engine(crate::words::printable(message.as_bytes()))
            }
            // The client names only the outermost of what went wrong.
            other => {
                let causes =
                    std::iter::successors(Some(&other as &dyn std::error::Error), |error| {
                        error.source()
                    });
                let words: Vec<String> = causes.map(ToString::to_string).collect();
                Self::Engine(crate::words::printable(words.join(": ").as_bytes()))
            }
        }
    }
}

/// An open way to a host's engine.
pub struct EngineApi {
    /// The client.
    pub docker: Docker,
    socket: PathBuf,
    bridge: JoinHandle<()>,
}

impl Drop for EngineApi {
    fn drop(&mut self) {
        self.bridge.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl EngineApi {
    /// Opens the way, and agrees with the engine on an API version.
    pub async fn open(host: &Arc<Connection>) -> Result<Self, ApiError> {
        let socket = host.socket_path();
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let host = Arc::clone(host);
        let bridge = tokio::spawn(async move {
            while let Ok((local, _)) = listener.accept().await {
                tokio::spawn(bridge(Arc::clone(&host), local));
            }
        });
        let text = socket.display().to_string();
        let docker =
            Docker::connect_with_unix(&text, CALL_TIMEOUT.as_secs(), bollard::API_DEFAULT_VERSION);
        // From here on the bridge is ended when this is dropped, also on an error.
        let api = match docker {
            Ok(docker) => Self {
                docker,
                socket,
                bridge,
            },
            Err(error) => {
                bridge.abort();
                let _ = std::fs::remove_file(&socket);
                return Err(error.into());
            }
        };
        let docker = in_time(OPEN_TIMEOUT, api.docker.clone().negotiate_version()).await??;
        Ok(Self::with_client(api, docker))
    }

    fn with_client(mut api: Self, docker: Docker) -> Self {
        api.docker = docker;
        api
    }

    /// Obeys a call of the plan.
    pub async fn call(&self, call: &EngineCall) -> Result<(), ApiError> {
        in_time(CALL_TIMEOUT, self.obey(call)).await?
    }

    async fn obey(&self, call: &EngineCall) -> Result<(), ApiError> {
        match call {
            EngineCall::CreateNetwork(wanted) => {
                let text = |address: std::net::IpAddr| address.to_string();
                let config = IpamConfig {
                    subnet: Some(wanted.subnet.clone()),
                    ip_range: wanted.range.map(|range| range.to_string()),
                    gateway: wanted.gateway.map(text),
                    auxiliary_addresses: (!wanted.reserved.is_empty()).then(|| {
                        wanted
                            .reserved
                            .iter()
                            .map(|(name, ip)| (name.clone(), ip.to_string()))
                            .collect()
                    }),
                };
                let request = NetworkCreateRequest {
                    name: wanted.name.clone(),
                    driver: Some(wanted.driver.as_str().to_owned()),
                    attachable: wanted.attachable.then_some(true),
                    ipam: Some(Ipam {
                        config: Some(vec![config]),
                        ..Default::default()
                    }),
                    options: Some(to_hash(&wanted.options)),
                    labels: Some(to_hash(&wanted.labels)),
                    ..Default::default()
                };
                match self
                    .docker
                    .create_network(request)
                    .await
                    .map(|_| ())
                    .map_err(ApiError::from)
                {
                    // An engine that was stopped when the plan was made may have it: the step after this one looks at what it is.
                    Err(ApiError::Engine(words)) if words.contains("already exists") => {}
                    other => other?,
                }
            }
            EngineCall::RunKeeper {
                name,
                image,
                network,
                cluster,
            } => {
                self.run_keeper(name, image, network, cluster).await?;
            }
            EngineCall::RunContainer(new) => self.run_container(new).await?,
            EngineCall::InitSwarm {
                force_new_cluster,
                address,
                address_pool,
                data_path_port,
            } => {
                let request = SwarmInitRequest {
                    listen_addr: Some("0.0.0.0:2377".to_owned()),
                    advertise_addr: Some(address.to_string()),
                    data_path_addr: Some(address.to_string()),
                    data_path_port: Some(u32::from(*data_path_port)),
                    default_addr_pool: address_pool.clone().map(|pool| vec![pool]),
                    // A /24 each, as Docker's own default.
                    subnet_size: address_pool.as_ref().map(|_| 24),
                    force_new_cluster: force_new_cluster.then_some(true),
                    ..Default::default()
                };
                self.docker.init_swarm(request).await?;
            }
            EngineCall::Connect {
                network,
                container,
                address,
                aliases,
            } => {
                let ipam = address.clone().map(|ip| EndpointIpamConfig {
                    ipv4_address: Some(ip),
                    ..Default::default()
                });
                let endpoint = EndpointSettings {
                    ipam_config: ipam,
                    aliases: Some(aliases.clone()),
                    ..Default::default()
                };
                let request = NetworkConnectRequest {
                    container: container.clone(),
                    endpoint_config: Some(endpoint),
                };
                match self
                    .docker
                    .connect_network(network, request)
                    .await
                    .map_err(ApiError::from)
                {
                    Err(ApiError::Engine(words)) if words.contains("already exists in network") => {
                    }
                    other => other?,
                }
            }
            EngineCall::UpdateNode(update) => self.update_node(update).await?,
            EngineCall::RemoveNode { id } => {
                let force = DeleteNodeOptionsBuilder::default().force(true).build();
                match self.docker.delete_node(id, Some(force)).await {
                    Ok(())
                    | Err(bollard::errors::Error::DockerResponseServerError {
                        status_code: 404,
                        ..
                    }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    async fn run_keeper(
        &self,
        name: &str,
        image: &str,
        network: &str,
        cluster: &str,
    ) -> Result<(), ApiError> {
        let end = Instant::now() + FIRST_ATTACH_DEADLINE;
        loop {
            match self.start_keeper(name, image, network, cluster).await {
                Err(ApiError::Engine(words))
                    if waits_for_a_manager(&words) && Instant::now() < end =>
                {
                    tokio::time::sleep(ATTACH_POLL).await;
                }
                other => return other,
            }
        }
    }

    /// Whether the keeper runs on the network of today. An engine that was started a moment ago has started it as well, and replacing
    /// it then would close the network.
    async fn is_kept(&self, name: &str, network: &str) -> bool {
        let (container, present) = tokio::join!(
            self.docker.inspect_container(name, None),
            self.docker.inspect_network(network, None)
        );
        let (Ok(container), Ok(present)) = (container, present) else {
            return false;
        };
        let is_running = container.state.and_then(|state| state.running) == Some(true);
        let networks = container
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let id = networks
            .get(network)
            .and_then(|endpoint| endpoint.network_id.as_deref());
        is_running && id.is_some() && id == present.id.as_deref()
    }

    async fn start_keeper(
        &self,
        name: &str,
        image: &str,
        network: &str,
        cluster: &str,
    ) -> Result<(), ApiError> {
        if self.is_kept(name, network).await {
            return Ok(());
        }
        self.remove(name).await?;
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["sleep".to_owned()]),
            // The largest number of seconds that every sleep takes; the restart policy does the rest in 68 years.
            cmd: Some(vec!["2147483647".to_owned()]),
            // Process 1 ignores a signal that it does not handle, and the stop of the engine would wait ten seconds for it.
            stop_signal: Some("SIGKILL".to_owned()),
            labels: Some(HashMap::from([(
                KEEPER_LABEL.to_owned(),
                cluster.to_owned(),
            )])),
            host_config: Some(confined(network)),
            ..Default::default()
        };
        self.start(name, body).await
    }

    /// Runs a container of docker-cluster's own in place of one of its name.
    async fn run_container(&self, new: &NewContainer) -> Result<(), ApiError> {
        self.remove(&new.name).await?;
        let binds = new.files.iter().map(|path| format!("{path}:{path}:ro"));
        let body = ContainerCreateBody {
            image: Some(new.image.clone()),
            cmd: Some(new.arguments.clone()),
            labels: Some(to_hash(&new.labels)),
            host_config: Some(HostConfig {
                binds: Some(binds.collect()),
                ..confined("host")
            }),
            ..Default::default()
        };
        self.start(&new.name, body).await
    }

    async fn start(&self, name: &str, body: ContainerCreateBody) -> Result<(), ApiError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        self.docker.create_container(Some(options), body).await?;
        self.docker.start_container(name, None).await?;
        Ok(())
    }

    /// Removes a container; one that is not there is removed.
    async fn remove(&self, name: &str) -> Result<(), ApiError> {
        let force = RemoveContainerOptionsBuilder::default().force(true).build();
        match self.docker.remove_container(name, Some(force)).await {
            Ok(())
            | Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The two join tokens of the swarm: manager's and worker's.
    pub async fn join_tokens(&self) -> Result<(Secret, Secret), ApiError> {
        let swarm = in_time(CALL_TIMEOUT, self.docker.inspect_swarm()).await??;
        let tokens = swarm.join_tokens.unwrap_or_default();
        match (tokens.manager, tokens.worker) {
            (Some(manager), Some(worker)) => Ok((Secret::new(manager), Secret::new(worker))),
            _ => Err(ApiError::Engine(
                "it keeps no join tokens; it may not be a manager any more".to_owned(),
            )),
        }
    }

    /// Joins a swarm. An engine that needs longer than its own 20 s goes on in the background; the step after this one waits
    /// for it.
    pub async fn join_swarm(
        &self,
        managers: &[String],
        address: &str,
        token: &Secret,
    ) -> Result<(), ApiError> {
        let request = SwarmJoinRequest {
            listen_addr: Some("0.0.0.0:2377".to_owned()),
            advertise_addr: Some(address.to_owned()),
            data_path_addr: Some(address.to_owned()),
            remote_addrs: Some(managers.to_vec()),
            join_token: Some(token.expose().to_owned()),
        };
        match in_time(CALL_TIMEOUT, self.docker.join_swarm(request))
            .await?
            .map_err(ApiError::from)
        {
            Err(ApiError::Engine(text)) if text.contains("Timeout was reached before node") => {
                Ok(())
            }
            // Never let a refused token travel on in an error text.
            Err(ApiError::Engine(text)) => {
                Err(ApiError::Engine(text.replace(token.expose(), "[token]")))
            }
            other => other,
        }
    }

    async fn update_node(&self, update: &NodeUpdate) -> Result<(), ApiError> {
        let nodes = self.docker.list_nodes(None).await?;
        let is_it = |node: &bollard::models::Node| {
            let name = node
                .description
                .as_ref()
                .and_then(|description| description.hostname.as_deref());
            let down = node
                .status
                .as_ref()
                .and_then(|status| status.state)
                .is_some_and(|state| state.to_string() == "down");
            // A host that left and came back leaves its old entry behind, which is down.
            node.id.as_ref() == Some(&update.node) || name == Some(update.node.as_str()) && !down
        };
        let wanted = &update.node;
        let node = nodes
            .into_iter()
            .find(is_it)
            .ok_or_else(|| ApiError::Engine(format!("no node is called {wanted}")))?;
        let (Some(id), Some(version), Some(spec)) =
            (node.id, node.version.and_then(|v| v.index), node.spec)
        else {
            return Err(ApiError::Engine(format!(
                "the entry of node {wanted} is incomplete"
            )));
        };
        let mut labels = spec.labels.unwrap_or_default();
        labels.extend(to_hash(&update.labels));
        let role = match update.role {
            Some(SwarmRole::Manager) => Some(NodeSpecRoleEnum::MANAGER),
            Some(SwarmRole::Worker) => Some(NodeSpecRoleEnum::WORKER),
            None => spec.role,
        };
        let availability = if update.drain {
            Some(NodeSpecAvailabilityEnum::DRAIN)
        } else {
            spec.availability
        };
        let spec = NodeSpec {
            labels: Some(labels),
            role,
            availability,
            ..spec
        };
        let options = UpdateNodeOptionsBuilder::default()
            .version(i64::try_from(version).unwrap_or(i64::MAX))
            .build();
        self.docker.update_node(&id, spec, options).await?;
        Ok(())
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, ApiError> {
    timeout(limit, work)
        .await
        .map_err(|_| ApiError::Silent(limit))
}

/// How docker-cluster's own containers run: started again by the engine, and without rights that they do not need.
fn confined(network: &str) -> HostConfig {
    HostConfig {
        network_mode: Some(network.to_owned()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ALWAYS),
            maximum_retry_count: None,
        }),
        cap_drop: Some(vec!["ALL".to_owned()]),
        readonly_rootfs: Some(true),
        ..Default::default()
    }
}

fn to_hash(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

async fn bridge(host: Arc<Connection>, mut local: UnixStream) {
    let command = Command::new(["docker", "system", "dial-stdio"]).timeout(DIAL_LIFETIME);
    let mut remote = match host.stream(&command).await {
        Ok(remote) => remote,
        Err(error) => return debug!(host = %host.spec.address, %error, "no way to the engine"),
    };
    if let (Some(mut stdin), Some(stdout)) = (remote.stdin(), remote.stdout()) {
        let (mut from_client, mut to_client) = local.split();
        // The first side that ends the connection ends it for the other too: of the streams of a session over SSH only dropping closes.
        // One that stayed open would be a session less for the rest of the run.
        let mut said = stdout.take(MAX_ANSWER);
        tokio::select! {
            _ = copy(&mut from_client, &mut stdin) => {}
            _ = copy(&mut said, &mut to_client) => {}
        }
    }
}
