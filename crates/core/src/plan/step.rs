//! Steps: data with a sentence. The same value is printed, tested and run.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::checksum::sha256_hex;
use crate::daemon_json::Options;
use crate::facts::Facts;
use crate::inventory::{HostName, NamedFile};
use crate::platform::PackageManager;
use crate::record::Record;

/// Number of a step in its plan.
pub type StepId = usize;

/// One step on one host.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// Where it runs.
    pub host: HostName,
    /// The stage it belongs to.
    pub stage: Stage,
    /// What it does and why, as a sentence without a full stop.
    pub why: String,
    /// What is done.
    pub action: Action,
    /// Steps of other hosts that must be done before. Steps of one host run in the order of their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
    /// Those of `after` that are there for the order alone: what one host refuses must not reach the next. A run that is about fewer hosts
    /// does not need them.
    #[serde(skip)]
    pub turns: Vec<StepId>,
    /// Steps of other hosts that must be over before, whatever became of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<StepId>,
    /// The host that it is about, if that is another than the one it is done on.
    #[serde(skip)]
    pub about: Option<HostName>,
    /// The way back to what worked, if this step fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

/// The way back to what worked, decided before anything is touched like everything else.
#[derive(Debug, Clone, Serialize)]
pub struct Undo {
    /// The unit whose last words are part of the report.
    pub unit: &'static str,
    /// What is done, in this order, on the host of the step that failed.
    pub actions: Vec<Action>,
}

/// How long taking away half an installation may take: no network is needed, but each package's own scripts run.
const UNDO_TIMEOUT: Duration = Duration::from_secs(300);

impl Undo {
    /// The way back from an installation of packages that failed half-way. `unit` is that of the packages, for its last words.
    #[must_use]
    pub fn of_installation(manager: PackageManager, unit: &'static str) -> Self {
        let args = vec!["undo".to_owned()];
        let action = Action::Script {
            name: "undo-install",
            text: manager.remove,
            args,
            timeout: UNDO_TIMEOUT,
        };
        Self {
            unit,
            actions: vec![action],
        }
    }
}

/// The stages of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The host remembers what is added to it.
    Record,
    /// What carries all that follows is there.
    Underlay,
    /// The engine is there.
    Engine,
    /// The store runs.
    Store,
    /// The engine uses it.
    Options,
    /// The hosts are one swarm.
    Swarm,
    /// The network is there.
    Network,
}

/// What a step does: a closed set. Everything pluggable compiles down to it, and only [`crate::apply`] matches on it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Runs an argv as root.
    Run {
        /// The argv.
        argv: Vec<String>,
        /// Its time limit; seconds in JSON.
        #[serde(serialize_with = "seconds")]
        timeout: Duration,
    },
    /// Runs an argv as root over a connection that is made for it: that it can be made is what is to be shown.
    RunAnew {
        /// The argv.
        argv: Vec<String>,
        /// Its time limit; seconds in JSON.
        #[serde(serialize_with = "seconds")]
        timeout: Duration,
    },
    /// Runs a shell script with arguments as root.
    Script {
        /// Its name, for messages.
        name: &'static str,
        /// Its text.
        #[serde(skip)]
        text: &'static str,
        /// Its arguments.
        args: Vec<String>,
        /// Its time limit; seconds in JSON.
        #[serde(serialize_with = "seconds")]
        timeout: Duration,
    },
    /// Starts or restarts a systemd unit.
    Service {
        /// What becomes of it.
        verb: Verb,
        /// The unit.
        unit: &'static str,
        /// Its time limit; seconds in JSON.
        #[serde(serialize_with = "seconds")]
        timeout: Duration,
    },
    /// Puts a file in place atomically and records what was there.
    PutFile(PutFile),
    /// Puts files back as they were before they were last written, byte for byte; those that were not there go.
    PutBack {
        /// The files.
        paths: Vec<String>,
    },
    /// Puts a file back as it was before docker-cluster came, or writes what is left of it without docker-cluster's part. A file that
    /// somebody else has changed since the plan was made is left alone.
    Restore {
        /// Where.
        path: String,
        /// SHA-256 of what is there now, by which a later change is noticed.
        present: String,
        /// What becomes of it.
        into: Restored,
        /// What becomes of its record.
        record: Recorded,
    },
    /// Writes down what a run adds to a host beside files, before it does: `down` takes away what is written there.
    Note {
        /// A line each, such as `image nginx:alpine`.
        lines: Vec<String>,
    },
    /// Makes secrets, or fetches them from a host that has them. Late data: the plan names the slots, this fills them.
    Secrets(SecretsFrom),
    /// Reads the CA of the engines where a person keeps one of their own: files of this machine.
    OwnCa {
        /// The file of its certificate.
        cert: NamedFile,
        /// The file of its key.
        key: NamedFile,
    },
    /// Issues a certificate, and puts it and its key in place.
    IssueCertificate {
        /// Whose it is.
        by: Authority,
        /// Its life, in days.
        days: i64,
        /// Name in the subject.
        common_name: String,
        /// DNS names.
        dns_names: Vec<String>,
        /// Addresses.
        addresses: Vec<IpAddr>,
        /// Where the certificate goes, in PEM.
        cert_path: String,
        /// Where the key goes, in PEM.
        key_path: String,
        /// Owner of both, as `user:group`.
        owner: String,
    },
    /// Puts a drop-in in place that starts the engine as its unit does, with these flags more. How its unit starts it is read when it is
    /// done: the engine may have come with this very run.
    AddFlags {
        /// The drop-in.
        path: String,
        /// The flags.
        flags: Vec<String>,
    },
    /// Pushes a program from this machine.
    PushProgram {
        /// Where it comes from.
        source: String,
        /// Its SHA-256.
        sha256: String,
        /// Where it goes.
        path: String,
        /// Where other hosts that get it reach this one.
        address: Option<IpAddr>,
    },
    /// Gets an image onto the host.
    EnsureImage {
        /// The image.
        image: String,
        /// A tar of it on this machine; without one the host pulls it.
        tar: Option<PathBuf>,
        /// SHA-256 of the tar, if it is to be checked.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// Where other hosts that lack it reach this one, if there are any.
        address: Option<IpAddr>,
    },
    /// Calls the engine's API.
    Engine(EngineCall),
    /// Calls the Consul API on the host.
    Consul(ConsulCall),
    /// Waits until a command succeeds.
    WaitFor {
        /// What is waited for, as a fragment: "the store has a leader".
        what: String,
        /// The command that tells.
        argv: Vec<String>,
        /// Words that its output must hold, each of them.
        expect: Vec<String>,
        /// Words that its output must hold as well, one of each host that has not left the run.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        peers: Vec<(HostName, String)>,
        /// How long at most; seconds in JSON.
        #[serde(serialize_with = "seconds")]
        deadline: Duration,
    },
    /// Joins a swarm with a token that fills a slot during the run.
    JoinSwarm {
        /// Manager or worker.
        role: SwarmRole,
        /// Addresses of managers, as `ip:port`.
        managers: Vec<String>,
        /// Address that the others use, and that data goes over.
        address: IpAddr,
    },
    /// Fetches the join tokens from a manager into their slots.
    FetchJoinTokens,
    /// Makes a key on the host if it has none, and reads its public half into the slot of the host's address. The other half stays there.
    MakeKey {
        /// The host's address in the mesh.
        address: Ipv4Addr,
        /// What makes it, and prints the public half.
        argv: Vec<String>,
    },
}

/// A duration as programs read it in a plan: whole seconds.
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// What a service is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// To run, if it does not.
    Start,
    /// To stop and run again.
    Restart,
    /// To read its configuration again.
    Reload,
}

impl Verb {
    /// As service managers take it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

/// What becomes of a file that docker-cluster wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restored {
    /// What was there before, byte for byte, or nothing.
    Original,
    /// It has changes of others, and goes to a file beside it that is called like it with `.kept` at the end, or `.kept.2` and so on.
    Aside,
    /// This text: the changes of others without our own.
    Merged(String),
}

/// What becomes of the record of a file that is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recorded {
    /// It goes with the file.
    Dropped,
    /// It stays until a later step has shown that all is well with the file, and [`Action::PutBack`] can bring back what worked.
    Kept,
}

/// Role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwarmRole {
    /// Decides.
    Manager,
    /// Obeys.
    Worker,
}

/// The mode of a [`PutFile`] whose mode and owner are those of the file that is there: somebody may have had a reason for them. Without
/// one it is `0644` and root's.
pub const KEEP_MODE: &str = "keep";

/// A file to put in place.
#[derive(Debug, Clone, Serialize)]
pub struct PutFile {
    /// Where.
    pub path: String,
    /// Mode in octal, such as `0644`, or [`KEEP_MODE`].
    pub mode: &'static str,
    /// `user:group`.
    pub owner: String,
    /// What.
    pub content: Content,
    /// What is there now, where that is worth showing.
    #[serde(skip)]
    pub before: Option<String>,
    /// The unit that reads it when it starts: until then the file is not in effect, and the next plan can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_by: Option<&'static str>,
    /// See [`crate::record::Record::ours`].
    #[serde(skip)]
    pub ours: Option<Options>,
}

/// Content with slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Content(pub Vec<Piece>);

/// A piece of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// Text.
    Text(String),
    /// A secret, filled in during the run.
    Slot(Slot),
}

/// A secret that is born or fetched during a run, or named by the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slot {
    /// All secrets of the store in one JSON document, as it is kept on its servers.
    StoreBundle,
    /// Certificate of the store's CA. Not a secret, but born with them.
    StoreCa,
    /// Gossip key of the store.
    Gossip,
    /// Token that may do anything in the store.
    ManagementToken,
    /// Token of the agents themselves.
    AgentToken,
    /// Token that the engines use.
    EngineToken,
    /// The CA of the engines, certificate and key, as it is kept on a few hosts.
    EnginesBundle,
    /// Certificate of the engines' CA. Not a secret, but born with its key.
    EnginesCa,
    /// Token to join a swarm as a manager.
    ManagerJoinToken,
    /// Token to join a swarm as a worker.
    WorkerJoinToken,
    /// Public key of the host that has this address in the mesh. Not a secret, but born there.
    PublicKey(Ipv4Addr),
    /// Password of BGP sessions: of all of them, or of those with the router that has this address. The inventory names the file.
    BgpPassword(Option<Ipv4Addr>),
}

/// Whose certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// The store's CA: agents and what asks them.
    Store,
    /// The CA of engines that listen on the network.
    Engines,
    /// The same, for managers of standalone Swarm: they serve as engines do, and ask engines.
    Managers,
}

/// Where the store's secrets, or those of the engines' CA, come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretsFrom {
    /// No host has them yet.
    Mint,
    /// This host has them.
    Fetch,
    /// Those at hand, with a new CA beside the old one, unless they have two already.
    Rotate,
    /// Those at hand, without the old CA.
    Retire,
    /// A new CA of the engines.
    MintEngines,
    /// This host has the CA of the engines.
    FetchEngines,
}

/// A container of docker-cluster's own, on the network of its host, which the engine starts again. It has no capabilities, and writes
/// nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewContainer {
    /// Its name.
    pub name: String,
    /// Its image, whose entrypoint is the program.
    pub image: String,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// Files of the host that it reads, under the paths that they have there.
    pub files: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A call of the engine's API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "call")]
pub enum EngineCall {
    /// Creates a network.
    CreateNetwork(NewNetwork),
    /// Runs the container that keeps a network's sandbox on a host alive; one that is there and stopped is replaced.
    RunKeeper {
        /// Its name.
        name: String,
        /// An image that holds `sleep`.
        image: String,
        /// The network.
        network: String,
        /// The cluster, for its label.
        cluster: String,
    },
    /// Runs a container of docker-cluster's own; one of its name is replaced.
    RunContainer(Box<NewContainer>),
    /// Makes this engine the first manager of a new swarm, or of the old one without the managers that it has lost.
    InitSwarm {
        /// Whether the swarm is there and has lost its quorum.
        force_new_cluster: bool,
        /// Address that the others use, and that data goes over.
        address: IpAddr,
        /// Pool for networks made without a subnet.
        address_pool: Option<String>,
        /// UDP port of VXLAN.
        data_path_port: u16,
    },
    /// Puts a container on a network; one that is on it already stays.
    Connect {
        /// The network.
        network: String,
        /// The container.
        container: String,
        /// The address it gets there.
        address: Option<String>,
        /// Its other names there.
        aliases: Vec<String>,
    },
    /// Changes a node, on a manager.
    UpdateNode(NodeUpdate),
    /// Removes a node that has left, or is gone for good, on a manager.
    RemoveNode {
        /// Its id.
        id: String,
    },
}

/// A network to create.
#[derive(Debug, Clone, Serialize)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// What carries it.
    pub driver: NetworkDriver,
    /// Its subnet, in CIDR notation.
    pub subnet: String,
    /// The part of the subnet that this host gives out, if it is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<IpNet>,
    /// The address that containers send to what is elsewhere, if it is not the engine's to choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Addresses that no container gets, by a name for each; the engine gives some names a meaning.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Whether plain containers can join it in swarm mode.
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What carries a network of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkDriver {
    /// The engine's own overlay, over a store or in a swarm.
    Overlay,
    /// A bridge on this host.
    Bridge,
    /// Devices of their own on an interface of this host.
    Macvlan,
}

impl NetworkDriver {
    /// As the engine calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
        }
    }
}

impl NewNetwork {
    /// An overlay of a cluster.
    #[must_use]
    pub fn overlay(name: &str, subnet: impl ToString, options: BTreeMap<String, String>) -> Self {
        Self {
            name: name.to_owned(),
            driver: NetworkDriver::Overlay,
            subnet: subnet.to_string(),
            range: None,
            gateway: None,
            reserved: BTreeMap::new(),
            options,
            attachable: false,
            labels: BTreeMap::new(),
        }
    }
}

/// A change of a node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeUpdate {
    /// The node's id, or its host name where the id is born in the same run.
    pub node: String,
    /// Labels to set; others stay.
    pub labels: BTreeMap<String, String>,
    /// The role, if it changes.
    pub role: Option<SwarmRole>,
    /// Whether its tasks move to other nodes.
    pub drain: bool,
}

/// A call of the Consul API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "call")]
pub enum ConsulCall {
    /// Registers the policies and tokens of engines and agents, if they are not registered.
    EnsureAccess {
        /// The engines' policy, in HCL.
        engine_rules: String,
        /// The agents' policy, in HCL.
        agent_rules: String,
    },
    /// Saves everything in the store to a file on this machine.
    Backup {
        /// The file.
        file: PathBuf,
    },
    /// Puts everything back that such a file holds.
    Restore {
        /// The file.
        file: PathBuf,
    },
    /// Removes servers that are gone for good from the quorum.
    RemovePeers {
        /// Their addresses, as `ip:port`.
        addresses: Vec<String>,
    },
}

impl Authority {
    /// All of its secrets.
    #[must_use]
    pub fn slot(self) -> Slot {
        match self {
            Self::Store => Slot::StoreBundle,
            Self::Engines | Self::Managers => Slot::EnginesBundle,
        }
    }
}

impl SecretsFrom {
    /// Whose secrets they are.
    #[must_use]
    pub fn of(self) -> Authority {
        match self {
            Self::Mint | Self::Fetch | Self::Rotate | Self::Retire => Authority::Store,
            Self::MintEngines | Self::FetchEngines => Authority::Engines,
        }
    }
}

impl Action {
    /// Puts the file of a record back as it was. One that others have changed since goes aside.
    #[must_use]
    pub fn restore(facts: &Facts, of: &Record, record: Recorded) -> Self {
        let present = facts.files.get(&of.path).map(|file| file.sha256.clone());
        let changed = present.as_ref().is_some_and(|sum| *sum != of.sha256);
        Self::Restore {
            path: of.path.clone(),
            present: present.unwrap_or_default(),
            into: match changed {
                true => Restored::Aside,
                false => Restored::Original,
            },
            record,
        }
    }

    /// Waits until a command succeeds and says each of these words.
    pub fn wait(
        what: impl Into<String>,
        argv: &[&str],
        expect: impl IntoIterator<Item = impl Into<String>>,
        deadline: Duration,
    ) -> Self {
        Self::WaitFor {
            what: what.into(),
            argv: argv.iter().map(ToString::to_string).collect(),
            expect: expect.into_iter().map(Into::into).collect(),
            peers: Vec::new(),
            deadline,
        }
    }

    /// Whether it leaves its host as it is.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::WaitFor { .. }
                | Self::FetchJoinTokens
                | Self::Secrets(SecretsFrom::Fetch | SecretsFrom::FetchEngines)
                | Self::OwnCa { .. }
        )
    }

    /// Whether other hosts build on what it makes.
    #[must_use]
    pub fn makes_for_others(&self) -> bool {
        match self {
            Self::Engine(call) => matches!(
                call,
                EngineCall::InitSwarm { .. } | EngineCall::CreateNetwork(_)
            ),
            Self::Secrets(_) | Self::OwnCa { .. } | Self::FetchJoinTokens => true,
            _ => false,
        }
    }

    /// The late data that it needs.
    #[must_use]
    pub fn reads(&self) -> Vec<Slot> {
        let in_content = |content: &Content| -> Vec<Slot> {
            let slots = content.0.iter().filter_map(|piece| {
                if let Piece::Slot(slot) = piece {
                    Some(*slot)
                } else {
                    None
                }
            });
            slots.collect()
        };
        match self {
            Self::PutFile(file) => in_content(&file.content),
            Self::IssueCertificate { by, .. } => vec![by.slot()],
            Self::Consul(_) => vec![Slot::StoreBundle],
            Self::JoinSwarm {
                role: SwarmRole::Manager,
                ..
            } => vec![Slot::ManagerJoinToken],
            Self::JoinSwarm {
                role: SwarmRole::Worker,
                ..
            } => vec![Slot::WorkerJoinToken],
            _ => Vec::new(),
        }
    }

    /// Whether it fills this slot.
    #[must_use]
    pub fn fills(&self, slot: Slot) -> bool {
        match slot {
            // It is there before the run begins.
            Slot::BgpPassword(_) => false,
            Slot::ManagerJoinToken | Slot::WorkerJoinToken => matches!(self, Self::FetchJoinTokens),
            Slot::PublicKey(of) => {
                matches!(self, Self::MakeKey { address, .. } if *address == of)
            }
            Slot::StoreBundle
            | Slot::StoreCa
            | Slot::Gossip
            | Slot::ManagementToken
            | Slot::AgentToken
            | Slot::EngineToken => {
                matches!(self, Self::Secrets(from) if from.of() == Authority::Store)
            }
            Slot::EnginesBundle | Slot::EnginesCa => {
                matches!(self, Self::OwnCa { .. })
                    || matches!(self, Self::Secrets(from) if from.of() == Authority::Engines)
            }
        }
    }
}

impl Content {
    /// Plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    /// The text, if there are no slots in it.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Fingerprint of the content with slots in the place of secrets: equal content has equal fingerprints, and a
    /// fingerprint tells nothing of a secret.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // A list of plain enums cannot fail to serialise.
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }
}
