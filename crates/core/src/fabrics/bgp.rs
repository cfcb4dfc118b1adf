//! A subnet for each host, as in `routed`, announced by BIRD: to every other host, to reflectors among them, or to the site's routers.
//!
//! What announces can also withdraw: a host that dies is noticed by BFD, and the others have no route to it any more. A host that comes
//! or goes needs nothing on the others where reflectors or routers pass on what it says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::links::{self, LINKS};
use super::routed;
use super::shares::{self, LEARNED, OWN, Shares};
use super::{About, Asks, Encryption, Fabric, Layer, Names, SubnetOf, docker0, keeper};
use crate::engines::packages;
use crate::facts::firewall::Traffic;
use crate::inventory::{BgpSpec, FabricKind, HostName, PassedOn};
use crate::plan::{
    Action, Content, HostWorld, Piece, Problem, Slot, Stage, StepId, Steps, Undo, Verb, WantedFile,
    World,
};
use crate::platform::{BIRD_PACKAGE, SERVICES};
use crate::proof::causes::{self, Case, Finding};
use crate::proof::{Cause, Needs};
use crate::secret::{self, Secret};

const SCRIPT: &str = concat!(
    include_str!("../../../../templates/fabrics/common.sh"),
    include_str!("../../../../templates/fabrics/routed.sh")
);

/// BIRD's unit, as Debian's package brings it.
const UNIT: &str = "bird.service";

/// Its configuration. The user is the package's, and BIRD runs as it.
const BIRD_CONF: &str = "/etc/bird/bird.conf";

/// TCP port of BGP.
const BGP_PORT: u16 = 179;

/// UDP port of BFD between neighbours.
const BFD_PORT: u16 = 3784;

/// The word of a line of the configuration about who may use these ports.
const NEIGHBOUR: &str = "neighbour";

/// How long a command about BIRD may take: it says farewell to its neighbours when it stops.
const BIRD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the others' routes may take: a session that was refused is tried again within four, and a bridge is announced
/// within five after the engine has made it.
const ROUTES_DEADLINE: Duration = Duration::from_secs(60);

/// How sentences of the script begin about what only the other side can mend, or a configuration of BIRD's.
const NOT_THE_LINKS: &[&str] = &["no route to", "the BGP session", "BIRD"];

/// What the script says of a configuration that BIRD has not read.
const NOT_READ: &str = "BIRD has not read";

/// Subnets announced by BGP.
pub struct Bgp;

impl Fabric for Bgp {
    fn about(&self) -> About {
        About {
            title: "a subnet for each host, announced by BGP",
            layer: Layer::Three,
            names: Names::OnItsHost,
            encryption: Encryption::None,
            disturbs: "nothing",
            overhead: 0,
        }
    }

    fn asks(&self) -> Asks {
        // Each host's own part is a route of its own, as are those to the others.
        Asks {
            modules: &["bridge", "veth"],
            subnet: SubnetOf::Nobody,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        let shares = shares::divide(world);
        let mut problems = Vec::new();
        for host in &world.hosts {
            problems.extend(routed::of_part(world, host, &shares));
            problems.extend(of_bird(host));
        }
        problems.extend(of_passwords(world));
        problems.extend(shares.problems);
        problems
    }

    fn steps(&self, world: &World<'_>, steps: &mut Steps, notes: &mut Vec<String>) {
        let shares = shares::divide(world);
        routed::give_options(world, &shares, steps, notes);
        let (mut changed, mut new_passwords, mut readers) = (Vec::new(), Vec::new(), Vec::new());
        for host in &world.hosts {
            let Some(part) = shares.of.get(host.name()) else {
                continue;
            };
            let before = steps.last_of(host.name());
            if host.facts.unit(UNIT).is_none() {
                packages::install(
                    host,
                    Stage::Network,
                    &[BIRD_PACKAGE],
                    "BIRD, which speaks BGP,",
                    UNIT,
                    steps,
                );
            }
            let config = config(world, host, *part, &shares);
            // The ports are closed to everybody else before BIRD opens them to all.
            let ours = |line: &str| !NOT_THE_LINKS.iter().any(|begin| line.starts_with(begin));
            links::put_where(
                FabricKind::Bgp,
                host,
                SCRIPT.to_owned(),
                &config,
                ours,
                steps,
            );
            let read = announce(world, host, &shares, &mut new_passwords, steps);
            readers.extend(read);
            routed::make_network(world, host, *part, steps);
            if steps.last_of(host.name()) != before {
                changed.push(host);
            }
            keeper::get_image(world, host, steps);
        }
        // A host with another password than the others' would be alone: no BIRD reads a new one before all have it.
        for id in readers {
            steps.require(id, &new_passwords);
        }
        let all = steps.last_of_each();
        for host in changed {
            wait_for_routes(world, host, &shares, &all, steps);
        }
        let passwords = world.inventory.network.bgp.passwords();
        notes.extend(passwords.filter_map(|(_, password)| password.file.note()));
        links::say_names(world, steps, notes);
    }

    fn leaves(&self, world: &World<'_>, host: &HostWorld<'_>) -> Vec<String> {
        let mut lines = docker0::leaves(world, host);
        lines.extend(packages::enables(host, UNIT));
        lines
    }

    fn listens(&self, _: &World<'_>) -> Vec<Traffic> {
        vec![Traffic::Tcp(BGP_PORT), Traffic::Udp(BFD_PORT)]
    }

    fn behind(&self, world: &World<'_>) -> Vec<(IpAddr, IpNet)> {
        shares::divide(world).behind(world)
    }

    fn needs(&self, world: &World<'_>) -> Needs {
        links::needs(world, None, world.underlay_mtu())
    }

    fn causes(&self) -> &'static [&'static [Cause]] {
        &[
            causes::STANDING,
            SESSIONS,
            LINKS,
            causes::UNDER_ALL,
            routed::BETWEEN,
        ]
    }
}

/// Rows about BIRD, by what the script on the host says of it.
const SESSIONS: &[Cause] = &[
    Cause::latent("bird-down", |case| {
        links::said(
            case,
            &["BIRD does not run on this host", NOT_READ],
            |_| "`docker-cluster up` starts it; `journalctl -u bird` there tells why it ended",
        )
    }),
    Cause::latent("bgp-password", other_password),
    Cause::latent("bgp-session", session_down),
];

/// How the script begins about a session whose two sides differ about the password.
const FOR_PASSWORD: &str = "is down for its password";

/// What the script says of the session between the two, which is told before those with others: they explain nothing of this pair where
/// each host talks to each. `how` is what it goes on with.
fn between(case: &Case<'_>, how: &str) -> Option<Finding> {
    let hosts = case.hosts().filter_map(|(_, view)| view.private);
    let begin: Vec<String> = hosts
        .map(|address| format!("the BGP session with {address} {how}"))
        .collect();
    let begin: Vec<&str> = begin.iter().map(String::as_str).collect();
    links::said(case, &begin, cure)
}

fn other_password(case: &Case<'_>) -> Option<Finding> {
    between(case, FOR_PASSWORD).or_else(|| match between(case, "") {
        Some(_) => None,
        None => links::said(case, &[FOR_PASSWORD], cure),
    })
}

fn session_down(case: &Case<'_>) -> Option<Finding> {
    between(case, "").or_else(|| links::said(case, &["the BGP session"], cure))
}

/// What to do about a session that is down, by why it is.
fn cure(sentence: &str) -> &'static str {
    if sentence.contains(FOR_PASSWORD) {
        return "give both sides one password (`network.bgp.password_file`); `docker-cluster up` puts a changed file right";
    }
    if sentence.contains("autonomous system") {
        return "give both sides the number that the other expects (`network.bgp.as`, `network.bgp.routers`); `docker-cluster up` puts a changed file right";
    }
    if sentence.contains("refuses") {
        return "start BIRD on the other side (`docker-cluster up`, if it is a host of the cluster)";
    }
    "let TCP port 179 and UDP port 3784 through between the two, in both directions"
}

/// Who a host talks to: the address, the autonomous system, what else BIRD is to know of it, and the slot of the password.
struct Neighbour {
    address: IpAddr,
    number: u32,
    more: &'static str,
    password: Option<Slot>,
}

fn neighbours(world: &World<'_>, host: &HostWorld<'_>) -> Vec<Neighbour> {
    let BgpSpec { number, by, .. } = &world.inventory.network.bgp;
    let (number, me) = (*number, host.name());
    let password = of_all(world);
    let others: Vec<&HostWorld<'_>> = world.others(me).collect();
    let mut all: Vec<Neighbour> = match by {
        PassedOn::Mesh => others
            .iter()
            .map(|other| Neighbour {
                address: other.private,
                number,
                more: "",
                password,
            })
            .collect(),
        PassedOn::Reflectors(names) => {
            let is_one = |name: &HostName| names.contains(name);
            let with = others
                .iter()
                .filter(|other| is_one(me) || is_one(other.name()));
            let client = |other: &HostWorld<'_>| {
                if is_one(me) && !is_one(other.name()) {
                    " rr client;"
                } else {
                    ""
                }
            };
            with.map(|other| Neighbour {
                address: other.private,
                number,
                more: client(other),
                password,
            })
            .collect()
        }
        // What comes back from a router has been told to it by a host with the same number.
        PassedOn::Routers(routers) => {
            let more = " allow local as 1;";
            routers
                .iter()
                .map(|router| Neighbour {
                    address: router.address.into(),
                    number: router.number,
                    more,
                    password: match router.password {
                        Some(_) => Some(Slot::BgpPassword(Some(router.address))),
                        None => password,
                    },
                })
                .collect()
        }
    };
    all.sort_by_key(|neighbour| neighbour.address);
    all
}

/// The slot of the password of all sessions, if they have one.
fn of_all(world: &World<'_>) -> Option<Slot> {
    let password = world.inventory.network.bgp.password.as_ref();
    password.map(|_| Slot::BgpPassword(None))
}

/// The hosts that talk to this one and cannot be asked: what was said to them goes on.
fn silent(world: &World<'_>, host: &HostWorld<'_>, shares: &Shares) -> Vec<Neighbour> {
    let BgpSpec { number, by, .. } = &world.inventory.network.bgp;
    // Whether a silent one is a reflector, those know that talk to it.
    let known: Vec<&str> = host
        .facts
        .links
        .iter()
        .flat_map(|links| links.lines(NEIGHBOUR))
        .flatten()
        .map(String::as_str)
        .collect();
    let (talks_to_all, more) = match by {
        PassedOn::Mesh => (true, ""),
        PassedOn::Reflectors(names) if names.contains(host.name()) => (true, " rr client;"),
        PassedOn::Reflectors(_) => (false, ""),
        PassedOn::Routers(_) => return Vec::new(),
    };
    let talks =
        |peer: &&shares::Peer| talks_to_all || known.contains(&peer.address.to_string().as_str());
    let of = |peer: &shares::Peer| Neighbour {
        address: peer.address,
        number: *number,
        more,
        password: of_all(world),
    };
    shares.silent.iter().filter(talks).map(of).collect()
}

/// The host's links. The order of words is that of `templates/fabrics/routed.sh`.
fn config(world: &World<'_>, host: &HostWorld<'_>, part: IpNet, shares: &Shares) -> Vec<String> {
    let mut lines = vec![
        format!("cluster-subnet {}", world.inventory.network.subnet),
        format!("{OWN} {part}"),
        format!("bridge {}", links::bridge(world)),
        format!("out {}", routed::towards_others(host)),
        format!("daemon bird {BIRD_CONF}"),
        format!("port tcp {BGP_PORT}"),
        format!("port udp {BFD_PORT}"),
    ];
    let all = neighbours(world, host)
        .into_iter()
        .chain(silent(world, host, shares));
    let mut addresses: Vec<IpAddr> = all.map(|neighbour| neighbour.address).collect();
    addresses.sort();
    addresses.dedup();
    lines.extend(
        addresses
            .iter()
            .map(|address| format!("{NEIGHBOUR} {address}")),
    );
    lines.extend(links::peer_lines(world, host, shares, |part, address| {
        format!("{LEARNED} {part} {address}")
    }));
    lines
}

/// What BIRD is told.
fn bird_conf(world: &World<'_>, host: &HostWorld<'_>, shares: &Shares) -> Content {
    let network = &world.inventory.network;
    let passes_on =
        matches!(&network.bgp.by, PassedOn::Reflectors(names) if names.contains(host.name()));
    let shortest = shares
        .of
        .values()
        .map(IpNet::prefix_len)
        .chain([network.host_prefix])
        .min()
        .unwrap_or_default();
    let mut text = include_str!("../../../../templates/fabrics/bird.conf")
        .replace("{address}", &host.private.to_string())
        .replace("{bridge}", &links::bridge(world))
        .replace("{out}", routed::towards_others(host))
        .replace("{as}", &network.bgp.number.to_string())
        .replace("{subnet}", &network.subnet.to_string())
        .replace("{length}", &shortest.to_string())
        .replace(
            "{from}",
            if passes_on {
                ""
            } else {
                " && source = RTS_DEVICE"
            },
        );
    let mut pieces = Vec::new();
    for Neighbour {
        address,
        number,
        more,
        password,
    } in neighbours(world, host)
        .into_iter()
        .chain(silent(world, host, shares))
    {
        let name = address.to_string().replace('.', "_");
        text += &format!(
            "\nprotocol bgp with_{name} from others {{\n    neighbor {address} as {number};{more}\n"
        );
        if let Some(slot) = password {
            text += "    password \"";
            pieces.extend([Piece::Text(std::mem::take(&mut text)), Piece::Slot(slot)]);
            text += "\";\n";
        }
        text += "}\n";
    }
    pieces.push(Piece::Text(text));
    Content(pieces)
}

/// Checksum of the passwords that a host's sessions have.
fn checksum(world: &World<'_>, content: &Content) -> String {
    let all = world.inventory.network.bgp.passwords();
    let used = all.map(|(of, file)| (Slot::BgpPassword(of), file));
    let used = used.filter(|(slot, _)| content.0.contains(&Piece::Slot(*slot)));
    // In the order of slots, as the record has it.
    let read: BTreeMap<Slot, &Secret> = used
        .filter_map(|(slot, file)| Some((slot, file.content.as_ref().ok()?)))
        .collect();
    secret::checksum(read.into_values())
}

/// Brings BIRD to what it is to say: one that runs reads its configuration without an end of its sessions.
fn announce(
    world: &World<'_>,
    host: &HostWorld<'_>,
    shares: &Shares,
    new_passwords: &mut Vec<StepId>,
    steps: &mut Steps,
) -> Option<StepId> {
    let (name, facts) = (host.name(), host.facts);
    let file = WantedFile {
        path: BIRD_CONF.to_owned(),
        mode: "0640",
        owner: "bird:bird".to_owned(),
        content: bird_conf(world, host, shares),
        why: "write down what BIRD announces, and to whom".to_owned(),
        read_by: None,
    };
    let unit = facts.unit(UNIT);
    let passwords = checksum(world, &file.content);
    let is_new = !file.is_there(facts, Some(&passwords));
    let record = facts.record(BIRD_CONF);
    let other_password = record.is_some_and(|record| record.secrets != passwords);
    if is_new {
        let id = steps.add(name, Stage::Network, file.why.clone(), file.put());
        if other_password {
            new_passwords.push(id);
        }
    }
    // The package enables it.
    if unit.is_some_and(|unit| unit.file_state != "enabled") {
        let argv = SERVICES.argv(SERVICES.enable, &[UNIT]);
        steps.add(
            name,
            Stage::Network,
            "start BIRD at every boot",
            Action::Run {
                argv,
                timeout: BIRD_TIMEOUT,
            },
        );
    }
    let works = unit.is_some_and(|unit| unit.active == "active");
    let has_not_read = facts
        .links
        .iter()
        .flat_map(|links| &links.wrong)
        .any(|line| line.starts_with(NOT_READ));
    let (verb, why) = match (works, is_new || has_not_read) {
        (true, false) => return None,
        (true, true) if other_password => (
            Verb::Reload,
            "let BIRD read its configuration; sessions with another password begin anew, within seconds",
        ),
        (true, true) => (
            Verb::Reload,
            "let BIRD read its configuration; sessions that are as before go on",
        ),
        (false, _) => (
            Verb::Restart,
            "start BIRD, which announces this host's containers",
        ),
    };
    let service = |verb| Action::Service {
        verb,
        unit: UNIT,
        timeout: BIRD_TIMEOUT,
    };
    let id = steps.add(name, Stage::Network, why, service(verb));
    let back = Action::PutBack {
        paths: if is_new {
            vec![BIRD_CONF.to_owned()]
        } else {
            Vec::new()
        },
    };
    let off = Action::Script {
        name: "units-off",
        text: include_str!("../../../../templates/units-off.sh"),
        args: vec![UNIT.to_owned()],
        timeout: BIRD_TIMEOUT,
    };
    steps.undo(
        id,
        Undo {
            unit: UNIT,
            actions: vec![back, if works { service(Verb::Restart) } else { off }],
        },
    );
    Some(id)
}

/// Waits until the routes to the other hosts are there. What the script finds wrong is the answer where they do not come.
fn wait_for_routes(
    world: &World<'_>,
    host: &HostWorld<'_>,
    shares: &Shares,
    all: &[StepId],
    steps: &mut Steps,
) {
    let others = world.others(host.name());
    let peers: Vec<_> = others
        .filter_map(|other| {
            Some((
                other.name().clone(),
                format!("{} via ", shares.of.get(other.name())?),
            ))
        })
        .collect();
    if peers.is_empty() {
        return;
    }
    let script = r#""$1" check; ip -o -4 route show proto "$2" | grep -v ^unreachable; true"#;
    let action = Action::WaitFor {
        what: "the routes to the other hosts have been learned".to_owned(),
        argv: ["sh", "-c", script, "sh", links::SCRIPT, "12"]
            .map(str::to_owned)
            .to_vec(),
        expect: Vec::new(),
        peers,
        deadline: ROUTES_DEADLINE,
    };
    let id = steps.add(
        host.name(),
        Stage::Network,
        "wait for the routes to the other hosts",
        action,
    );
    steps.follow(id, all);
}

/// Passwords that cannot be read here.
fn of_passwords(world: &World<'_>) -> Vec<Problem> {
    let files = world.inventory.network.bgp.passwords();
    let wrong = files.filter_map(|(_, file)| Some((file, file.content.as_ref().err()?)));
    wrong
        .map(|(file, why)| {
            Problem::of_all(
                format!("the password in {} cannot be used: {why}", file.file),
                "write it into that file, or correct `password_file` under `network.bgp`",
            )
        })
        .collect()
}

/// What is in BIRD's way.
fn of_bird(host: &HostWorld<'_>) -> Vec<Problem> {
    let facts = host.facts;
    let Some(unit) = facts.unit(UNIT) else {
        let mut problems = packages::problems(host, BIRD_PACKAGE, "BIRD");
        if facts.tcp.iter().any(|(_, port)| *port == BGP_PORT) {
            problems.push(Problem::on(
                host.name(),
                format!("TCP port {BGP_PORT} is taken, and BIRD needs it"),
                format!(
                    "find the program with `ss -ltnp 'sport = :{BGP_PORT}'` there, and stop it, or use `fabric: routed`"
                ),
            ));
        }
        return problems;
    };
    let is_theirs = facts.record(BIRD_CONF).is_none() && unit.active == "active";
    // What a run left that was cut off after the installation runs as well, with the package's own configuration. After a `down` the package
    // may be there still, and BIRD be somebody's by now.
    let came_with_us = facts.made.contains(&format!("enabled {UNIT}"));
    if !is_theirs || came_with_us {
        return Vec::new();
    }
    vec![Problem::on(
        host.name(),
        "BIRD runs there already, with a configuration that is not docker-cluster's",
        "announce the subnets with that one and use `fabric: routed` for the rest, or stop it (`systemctl disable --now bird`)",
    )]
}
