//! Making the hosts of a lab: a network of their own, a systemd container each, and an inventory.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig,
    HostConfigCgroupnsModeEnum, Ipam, IpamConfig, NetworkCreateRequest, NetworkingConfig,
    PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bollard::{Docker, body_full};

use super::images::{Smoke, append};
use super::state::{self, MARK};
use super::{LABEL, LabError, Wanted, lock};
use crate::event::{Event, Events};
use crate::host::{Command, Connector};
use crate::inventory::{HostName, HostSpec, Inventory};

/// Subnets that a lab tries for itself, one after the other, until the engine takes one: 10.213.0.0/24 to 10.213.31.0/24, rarely
/// used by others and outside Docker's own pools.
const SUBNETS: std::ops::Range<u8> = 0..32;

/// Ports of loopback for the hosts' sshd: below what Linux gives to outgoing connections (32768 and up), so that nobody comes by
/// the port of a host while it reboots.
const PORTS: std::ops::Range<u16> = 20_000..32_768;

/// Label of a host with its port: one that is switched off shows no port.
const PORT_LABEL: &str = "docker-cluster.lab.port";

/// First host address in the lab's subnet. The gateway has 1, and the first ones are left for what a test adds.
const FIRST_ADDRESS: usize = 11;

/// Most hosts of a lab: what its subnet holds.
pub const MAX_HOSTS: usize = 200;

/// How long a host may take to boot, in seconds: about five alone, more when two cores boot many at once.
const BOOT_DEADLINE: u64 = 180;

/// How often a booting host is asked.
const POLL: Duration = Duration::from_millis(400);

/// The ordinary user, who has sudo and is not in the group `docker`.
const USER: &str = "ops";

/// User and group id of that user: the first that `useradd` gives.
const USER_ID: u64 = 1000;

struct Made {
    name: String,
    port: u16,
    address: String,
    user: &'static str,
}

pub(super) async fn make(
    docker: &Docker,
    wanted: &Wanted,
    image: &str,
    smoke: &Smoke,
    events: &Events,
) -> Result<(), LabError> {
    let key = state::create(wanted.name.as_str()).await?;
    let public = std::fs::read(key.with_extension("pub"))
        .map_err(LabError::file("cannot read the lab's key"))?;
    let made = place(docker, wanted, image, &public, events).await?;
    let text = inventory(wanted, &made, &key, smoke);
    let file = wanted.inventory.display().to_string();
    let parsed = Inventory::parse(&text, &file).map_err(|error| {
        LabError::InTheWay(format!("the lab's inventory is not valid: {error}"))
    })?;
    wait(&parsed.hosts, wanted, events).await?;
    state::write_inventory(wanted.name.as_str(), &wanted.inventory, &text)
}

/// Makes the lab's network and starts its hosts, each at an address and a port that nobody else has.
async fn place(
    docker: &Docker,
    wanted: &Wanted,
    image: &str,
    public: &[u8],
    events: &Events,
) -> Result<Vec<Made>, LabError> {
    // Whoever chooses from what is free must be alone until it is taken.
    let _held = lock::hold("place", "it takes its addresses and ports", events).await?;
    let subnet = network(docker, wanted).await?;
    let mut ports = free_ports(reserved(docker).await?);
    let mut made = Vec::new();
    for number in 1..=wanted.hosts {
        // The last one logs in as an ordinary user: what works there works through sudo.
        let user = if number == wanted.hosts { USER } else { "root" };
        let address = format!("{subnet}.{}", FIRST_ADDRESS + number - 1);
        let name = format!("{}-{number}", wanted.name);
        loop {
            let Some(port) = ports.next() else {
                let range = format!("{} to {}", PORTS.start, PORTS.end - 1);
                return Err(LabError::InTheWay(format!(
                    "no port of loopback from {range} is free"
                )));
            };
            let host = Made {
                name: name.clone(),
                port,
                address: address.clone(),
                user,
            };
            create(docker, wanted, &host, image, public).await?;
            match docker.start_container(&name, None).await {
                Ok(()) => {
                    made.push(host);
                    break;
                }
                // Only the engine's own machine knows all of its ports, and another user's lab knows nothing of the lock.
                Err(error) if is_port_taken(&error) => {
                    tracing::info!(%error, port, "taken; trying the next");
                    let options = RemoveContainerOptionsBuilder::default()
                        .force(true)
                        .v(true)
                        .build();
                    docker
                        .remove_container(&name, Some(options))
                        .await
                        .map_err(LabError::engine(format!("removing {name}")))?;
                }
                Err(error) => return Err(LabError::engine(format!("starting {name}"))(error)),
            }
        }
    }
    Ok(made)
}

fn is_port_taken(error: &bollard::errors::Error) -> bool {
    let text = error.to_string();
    text.contains("port is already allocated") || text.contains("address already in use")
}

/// Ports that hosts of labs have, also those that are switched off.
async fn reserved(docker: &Docker) -> Result<BTreeSet<u16>, LabError> {
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&super::by_label(None))
        .build();
    let found = docker
        .list_containers(Some(options))
        .await
        .map_err(LabError::engine("listing labs"))?;
    let port =
        |labels: HashMap<String, String>| labels.get(PORT_LABEL).and_then(|port| port.parse().ok());
    Ok(found
        .into_iter()
        .filter_map(|container| container.labels.and_then(port))
        .collect())
}

/// Ports of loopback that seem free. A host's port is fixed, not left to the engine: one of the engine's changes when the host reboots.
fn free_ports(reserved: BTreeSet<u16>) -> impl Iterator<Item = u16> {
    PORTS.filter(move |port| {
        !reserved.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok()
    })
}

/// Makes the lab's network, and returns the first three numbers of its subnet.
async fn network(docker: &Docker, wanted: &Wanted) -> Result<String, LabError> {
    // The engine's default bridge knows the MTU that this machine's own network needs; a new network would not ask.
    let bridge = docker.inspect_network("bridge", None).await.ok();
    let mtu = bridge
        .and_then(|bridge| bridge.options)
        .and_then(|options| options.get("com.docker.network.driver.mtu").cloned());
    let mut refused = String::new();
    for third in SUBNETS {
        let subnet = format!("10.213.{third}");
        let request = NetworkCreateRequest {
            name: wanted.name.to_string(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(format!("{subnet}.0/24")),
                    ..Default::default()
                }]),
                ..Default::default()
            }),
            options: mtu
                .clone()
                .map(|mtu| HashMap::from([("com.docker.network.driver.mtu".to_owned(), mtu)])),
            labels: Some(HashMap::from([(LABEL.to_owned(), wanted.name.to_string())])),
            ..Default::default()
        };
        match docker.create_network(request).await {
            Ok(_) => return Ok(subnet),
            Err(bollard::errors::Error::DockerResponseServerError { message, .. })
                if message.contains("overlap") =>
            {
                refused = message
            }
            Err(error) => return Err(LabError::engine("making the lab's network")(error)),
        }
    }
    Err(LabError::InTheWay(format!(
        "no subnet from 10.213.0.0/24 to 10.213.31.0/24 is free: {refused}"
    )))
}

async fn create(
    docker: &Docker,
    wanted: &Wanted,
    host: &Made,
    image: &str,
    public: &[u8],
) -> Result<(), LabError> {
    let binding = PortBinding {
        host_ip: Some("127.0.0.1".to_owned()),
        host_port: Some(host.port.to_string()),
    };
    let tmpfs = [("/run", "exec,mode=755"), ("/tmp", "exec,mode=1777")];
    let port = host.port.to_string();
    let labels = [
        (LABEL, wanted.name.as_str()),
        ("docker-cluster.lab.os", wanted.os.name()),
        (PORT_LABEL, port.as_str()),
    ];
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(host.address.clone()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: Some(host.name.clone()),
        labels: Some(
            labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
        ),
        volumes: Some(vec!["/var/lib/docker".to_owned()]),
        exposed_ports: Some(vec!["22/tcp".to_owned()]),
        stop_timeout: Some(30),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(wanted.name.to_string(), endpoint)])),
        }),
        host_config: Some(HostConfig {
            network_mode: Some(wanted.name.to_string()),
            // Everything but SYS_RESOURCE, which not every root has to give: `--privileged` fails there (`facts.md`).
            cap_add: Some(vec!["ALL".to_owned()]),
            cap_drop: Some(vec!["SYS_RESOURCE".to_owned()]),
            security_opt: Some(
                ["seccomp=unconfined", "apparmor=unconfined"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            // The engine's API has no `systempaths=unconfined`: that is the client's word for empty lists here.
            masked_paths: Some(Vec::new()),
            readonly_paths: Some(Vec::new()),
            device_cgroup_rules: Some(vec!["a *:* rwm".to_owned()]),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            tmpfs: Some(
                tmpfs
                    .map(|(path, options)| (path.to_owned(), options.to_owned()))
                    .into_iter()
                    .collect(),
            ),
            port_bindings: Some(HashMap::from([("22/tcp".to_owned(), Some(vec![binding]))])),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default()
        .name(&host.name)
        .build();
    docker
        .create_container(Some(options), body)
        .await
        .map_err(LabError::engine(format!("making {}", host.name)))?;
    let mut archive = tar::Builder::new(Vec::new());
    let packed = append(
        &mut archive,
        "root/.ssh/authorized_keys",
        0o600,
        (0, 0),
        public,
    )
    .and_then(|()| {
        append(
            &mut archive,
            &format!("home/{USER}/.ssh/authorized_keys"),
            0o600,
            (USER_ID, USER_ID),
            public,
        )
    })
    .and_then(|()| archive.into_inner())
    .map_err(LabError::file("cannot pack the lab's key"))?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    docker
        .upload_to_container(&host.name, Some(options), body_full(packed.into()))
        .await
        .map_err(LabError::engine(format!(
            "giving {} the lab's key",
            host.name
        )))
}

fn inventory(wanted: &Wanted, hosts: &[Made], key: &Path, smoke: &Smoke) -> String {
    let folder = key.parent().unwrap_or(Path::new("/"));
    // JSON strings are YAML strings: paths with any characters arrive as they are.
    let quote = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
    let mut text = format!(
        "{MARK}\n# Three things differ from hosts of your own: the key, the ports on loopback, and the image that no registry has.\n\
         cluster: {name}\nssh:\n  identity: {key}\n  known_hosts: {known}\nsmoke:\n  image: {image}\n  tar: {tar}\nhosts:\n",
        name = wanted.name,
        key = quote(key),
        known = quote(&folder.join("known_hosts")),
        image = smoke.tag,
        tar = quote(&smoke.tar),
    );
    for host in hosts {
        let _ = write!(
            text,
            "  - name: {}\n    address: 127.0.0.1\n    private: {}\n    ssh: {{user: {}, port: {}}}\n",
            host.name, host.address, host.user, host.port
        );
    }
    text
}

async fn wait(hosts: &[HostSpec], wanted: &Wanted, events: &Events) -> Result<(), LabError> {
    let connector = Connector::new().map_err(|error| LabError::InTheWay(error.to_string()))?;
    let units: &[&str] = if wanted.bare {
        &["ssh.service"]
    } else {
        &["ssh.service", "docker.service"]
    };
    let each = hosts.iter().map(|host| async {
        let why = "boot".to_owned();
        let began = Instant::now();
        events.emit(Event::StepStarted {
            host: host.name.clone(),
            why: why.clone(),
        });
        let command = Command::new(
            ["systemctl", "is-active"]
                .into_iter()
                .chain(units.iter().copied()),
        );
        let words = loop {
            let words = match connector.connect(host).await {
                Ok(connection) => match connection.run(&command).await {
                    // Its exit code is 0 as soon as one of several is active: each has a line.
                    Ok(output)
                        if output
                            .stdout_text()
                            .lines()
                            .filter(|line| *line == "active")
                            .count()
                            == units.len() =>
                    {
                        break None;
                    }
                    Ok(output) => format!(
                        "{} {}",
                        output.stdout_text().trim(),
                        output.stderr_text().trim()
                    ),
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            if began.elapsed().as_secs() >= BOOT_DEADLINE {
                break Some(words);
            }
            tokio::time::sleep(POLL).await;
        };
        match words {
            None => {
                events.emit(Event::StepDone {
                    host: host.name.clone(),
                    why,
                    took: began.elapsed(),
                });
                events.emit(Event::HostDone(host.name.clone()));
                Ok(())
            }
            Some(words) => Err(not_up(&host.name, words)),
        }
    });
    futures_util::future::join_all(each)
        .await
        .into_iter()
        .collect()
}

fn not_up(host: &HostName, words: String) -> LabError {
    LabError::NotUp {
        host: host.to_string(),
        seconds: BOOT_DEADLINE,
        words,
    }
}
