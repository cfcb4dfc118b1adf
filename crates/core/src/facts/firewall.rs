//! The firewall of a host, where it throws away what no rule lets in: told from the files in which ufw, firewalld and nftables keep what they
//! do, and from the kernel's own input chain. What cannot be understood is taken to let everything in: a warning must be true.

use std::net::IpAddr;

use ipnet::IpNet;

use super::parse::Sections;

/// The chain of the guard (`templates/fabrics/guard.sh`).
pub const GUARD_CHAIN: &str = "DOCKER-CLUSTER";

/// What keeps the firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Ubuntu's and Debian's `ufw`.
    Ufw,
    /// `firewalld`.
    Firewalld,
    /// Rules by `iptables`, whoever made them.
    Iptables,
    /// The service `nftables`, with `/etc/nftables.conf`.
    Nftables,
}

/// What travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// IP protocol 50.
    Esp,
}

impl Traffic {
    fn protocol(self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Esp => "esp",
        }
    }

    fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(port) | Self::Udp(port) => Some(port),
            Self::Esp => None,
        }
    }
}

/// Ranges of ports, from and to, both included.
type Ports = Vec<(u16, u16)>;

/// A rule: what it is about, and whether it lets in. What is `None` is about all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rule {
    from: Option<IpNet>,
    interface: Option<String>,
    protocol: Option<String>,
    ports: Option<Ports>,
    lets_in: bool,
}

impl Rule {
    fn is_about(&self, traffic: Traffic, from: IpAddr, interface: Option<&str>) -> bool {
        let ports = match (&self.ports, traffic.port()) {
            (None, _) => true,
            (Some(ports), Some(port)) => ports
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&port)),
            (Some(_), None) => false,
        };
        ports
            && self.from.is_none_or(|net| net.contains(&from))
            && self
                .interface
                .as_deref()
                .is_none_or(|name| Some(name) == interface)
            && self.protocol.as_deref().is_none_or(|protocol| {
                protocol == traffic.protocol()
                    || traffic == Traffic::Esp && matches!(protocol, "50" | "ipv6-crypt")
            })
    }
}

/// A firewall that denies by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Who keeps it.
    pub tool: Tool,
    /// What it says of what no rule is about, in its own words.
    pub default: String,
    rules: Vec<Rule>,
}

impl Firewall {
    /// Whether it lets this in from there, by an interface of that name.
    #[must_use]
    pub fn lets_in(&self, traffic: Traffic, from: IpAddr, interface: Option<&str>) -> bool {
        self.rules
            .iter()
            .find(|rule| rule.is_about(traffic, from, interface))
            .is_some_and(|rule| rule.lets_in)
    }

    /// The sentence that says so, without its subject.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (tool, default) = (self.tool, &self.default);
        let by = match tool {
            Tool::Ufw => "ufw",
            Tool::Firewalld => "firewalld",
            Tool::Iptables => "iptables",
            Tool::Nftables => "nftables",
        };
        format!("{by} throws away what no rule lets in ({default})")
    }

    /// The commands that let this in from these nets, one after the other.
    #[must_use]
    pub fn remedy(&self, traffic: &[Traffic], from: &[IpNet]) -> String {
        let mut all = traffic.to_vec();
        all.sort_unstable();
        all.dedup();
        let ports = |wanted: &str| -> Vec<String> {
            let of = all.iter().filter(|traffic| traffic.protocol() == wanted);
            of.filter_map(|traffic| traffic.port())
                .map(|port| port.to_string())
                .collect()
        };
        let each = ["tcp", "udp"]
            .into_iter()
            .map(|protocol| (protocol, ports(protocol)));
        let each: Vec<(&str, Vec<String>)> = each.filter(|(_, ports)| !ports.is_empty()).collect();
        let esp = all.contains(&Traffic::Esp);
        let commands = from.iter().flat_map(|net| {
            let source =
                if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
            let mut lines: Vec<String> = Vec::new();
            match self.tool {
                Tool::Ufw => {
                    lines.extend(each.iter().map(|(protocol, ports)| {
                        format!("ufw allow from {source} to any port {} proto {protocol}", ports.join(","))
                    }));
                    lines.extend(esp.then(|| format!("ufw allow from {source} proto esp")));
                }
                Tool::Firewalld => {
                    let family = if net.addr().is_ipv4() { "ipv4" } else { "ipv6" };
                    let rule = |what: String| {
                        format!("--add-rich-rule='rule family={family} source address={source} {what} accept'")
                    };
                    let ports = each.iter().flat_map(|(protocol, ports)| {
                        ports.iter().map(move |port| format!("port port={port} protocol={protocol}"))
                    });
                    let rules: Vec<String> =
                        ports.chain(esp.then(|| "protocol value=esp".to_owned())).map(rule).collect();
                    lines.push(format!("firewall-cmd --permanent {}", rules.join(" ")));
                }
                Tool::Iptables => {
                    lines.extend(each.iter().map(|(protocol, ports)| {
                        let ports = ports.join(",");
                        format!("iptables -I INPUT -s {source} -p {protocol} -m multiport --dports {ports} -j ACCEPT")
                    }));
                    lines.extend(esp.then(|| format!("iptables -I INPUT -s {source} -p esp -j ACCEPT")));
                }
                Tool::Nftables => {
                    let family = if net.addr().is_ipv4() { "ip" } else { "ip6" };
                    lines.extend(each.iter().map(|(protocol, ports)| {
                        format!("{family} saddr {source} {protocol} dport {{ {} }} accept", ports.join(", "))
                    }));
                    lines.extend(esp.then(|| format!("{family} saddr {source} meta l4proto esp accept")));
                }
            }
            lines
        });
        let commands: Vec<String> = commands.map(|line| format!("`{line}`")).collect();
        match self.tool {
            Tool::Ufw => commands.join(" and "),
            Tool::Firewalld => format!("{} and `firewall-cmd --reload`", commands.join(" and ")),
            Tool::Iptables => format!(
                "{}, and keep them over a reboot as the others are kept",
                commands.join(" and ")
            ),
            Tool::Nftables => format!(
                "{} in the input chain of /etc/nftables.conf, then `systemctl reload nftables` and a restart of the engine, whose rules that takes away",
                commands.join(" and ")
            ),
        }
    }
}

/// The firewall that denies by default, if there is one.
pub(super) fn firewall(
    sections: &Sections<'_>,
    is_active: impl Fn(&str) -> bool,
) -> Option<Firewall> {
    let ufw = ufw(
        &sections.text("ufw-conf"),
        &sections.text("ufw-default"),
        &sections.text("ufw-rules"),
    );
    let firewalld = || {
        is_active("firewalld.service").then(|| {
            firewalld(
                &sections.text("firewalld-conf"),
                &sections.text("firewalld-zones"),
            )
        })
    };
    let nftables =
        || is_active("nftables.service").then(|| nftables(&sections.text("nftables-conf")));
    ufw.or_else(|| firewalld().flatten())
        .or_else(|| nftables().flatten())
        .or_else(|| iptables(&sections.text("input-chain")))
}

fn ufw(conf: &str, default: &str, rules: &str) -> Option<Firewall> {
    let of = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| {
            line.trim()
                .strip_prefix(key)?
                .strip_prefix('=')
                .map(str::to_owned)
        })?;
        Some(line.trim().trim_matches(['"', '\'']).to_ascii_uppercase())
    };
    of(conf, "ENABLED").filter(|on| on == "YES")?;
    let policy = of(default, "DEFAULT_INPUT_POLICY").filter(|policy| policy != "ACCEPT")?;
    let rules = rules
        .lines()
        .filter_map(|line| ufw_rule(line.trim().strip_prefix("### tuple ###")?))
        .collect();
    Some(Firewall {
        tool: Tool::Ufw,
        default: format!("DEFAULT_INPUT_POLICY={policy}"),
        rules,
    })
}

/// ` allow udp 7946 0.0.0.0/0 any 10.0.0.0/24 in`: action, protocol, port and address of here, of there, and the direction; an interface hangs on
/// that, and an application's names may be between.
fn ufw_rule(text: &str) -> Option<Rule> {
    let words: Vec<&str> = text
        .split_whitespace()
        .take_while(|word| !word.starts_with("comment="))
        .collect();
    let [action, protocol, port, _, _, from, .., direction] = words[..] else {
        return None;
    };
    let interface = match direction.strip_prefix("in") {
        Some("") => None,
        Some(interface) => Some(interface.strip_prefix('_')?.to_owned()),
        None => return None,
    };
    let lets_in = match action.split('_').next()? {
        "allow" | "limit" => true,
        "deny" | "reject" => false,
        _ => return None,
    };
    Some(Rule {
        from: net(from).filter(|net| net.prefix_len() > 0),
        interface,
        protocol: (protocol != "any").then(|| protocol.to_owned()),
        ports: if port == "any" {
            None
        } else {
            Some(port_list(port)?)
        },
        lets_in,
    })
}

fn net(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// `2377,7946` or `7000:8000` or `7000-8000`.
fn port_list(text: &str) -> Option<Ports> {
    let one = |text: &str| {
        let (first, last) = text.split_once([':', '-']).unwrap_or((text, text));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    text.split(',').map(one).collect()
}

/// What `iptables -S INPUT` prints.
fn iptables(text: &str) -> Option<Firewall> {
    let mut policy = None;
    let mut rules = Vec::new();
    for line in text.lines() {
        if let Some(word) = line.strip_prefix("-P INPUT ") {
            policy = (word.trim() != "ACCEPT").then(|| format!("-P INPUT {}", word.trim()));
        } else if let Some(rest) = line.strip_prefix("-A INPUT") {
            match iptables_rule(rest) {
                Read::Rule(rule) => rules.push(rule),
                Read::NoMatter => {}
                // It may let in what no other rule does.
                Read::Unknown => rules.push(Rule {
                    lets_in: true,
                    ..Rule::default()
                }),
            }
        }
    }
    let denies_all = |rule: &Rule| *rule == Rule::default();
    let last = rules
        .iter()
        .any(denies_all)
        .then(|| "a last rule of INPUT that drops all".to_owned());
    Some(Firewall {
        tool: Tool::Iptables,
        default: policy.or(last)?,
        rules,
    })
}

/// What is made of a rule.
enum Read {
    Rule(Rule),
    /// It decides nothing about a new packet from another host.
    NoMatter,
    /// It is not understood.
    Unknown,
}

fn iptables_rule(text: &str) -> Read {
    let mut rule = Rule::default();
    let mut target = None;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "-s" => match words.next().and_then(net) {
                Some(net) => rule.from = Some(net),
                None => return Read::Unknown,
            },
            "-i" => match words.next() {
                Some("lo") | None => return Read::NoMatter,
                Some(name) => rule.interface = Some(name.to_owned()),
            },
            "-p" => rule.protocol = words.next().map(str::to_owned),
            // The matches of these are in words of their own.
            "-m" => match words.next() {
                Some("tcp" | "udp" | "multiport" | "comment" | "esp") => {}
                Some("conntrack" | "state") => {
                    let states = words.by_ref().nth(1).unwrap_or_default();
                    if !states.split(',').any(|state| state == "NEW") {
                        return Read::NoMatter;
                    }
                }
                _ => return Read::Unknown,
            },
            "--comment" => skip_comment(&mut words),
            "--dport" | "--dports" => match words.next().and_then(port_list) {
                Some(ports) => rule.ports = Some(ports),
                None => return Read::Unknown,
            },
            "-j" => target = words.next(),
            "--reject-with" => drop(words.next()),
            _ => return Read::Unknown,
        }
    }
    match target {
        Some("ACCEPT") => Read::Rule(Rule {
            lets_in: true,
            ..rule
        }),
        Some("DROP" | "REJECT") => Read::Rule(rule),
        // The guard throws away, and lets nothing in.
        Some("LOG" | "NFLOG" | GUARD_CHAIN) | None => Read::NoMatter,
        Some(_) => Read::Unknown,
    }
}

/// A comment is one word, or several in quotes.
fn skip_comment<'a>(words: &mut impl Iterator<Item = &'a str>) {
    let Some(first) = words.next() else { return };
    let mut word = first;
    let quoted = first.starts_with('"');
    while quoted && (word.len() == 1 || !word.ends_with('"')) {
        match words.next() {
            Some(next) => word = next,
            None => return,
        }
    }
}

/// The zones as their files say, each after a line `zone NAME`. The zone of a packet is that of its source, then of its interface, then the
/// default one; what is not understood, such as a rule of its own language, is taken to let in.
fn firewalld(conf: &str, zones: &str) -> Option<Firewall> {
    let default = conf
        .lines()
        .find_map(|line| line.trim().strip_prefix("DefaultZone="))
        .unwrap_or("public")
        .trim();
    let mut rules = Vec::new();
    let mut is_known = false;
    // Zones with sources first, then with interfaces, then the default one, as firewalld takes them.
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in zones.lines() {
        match (line.strip_prefix("zone "), files.last_mut()) {
            (Some(name), _) => files.push((name.trim(), String::new())),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    // The administrator's own file comes first, and is the one that counts.
    let mut seen = Vec::new();
    files.retain(|(name, _)| {
        !seen.contains(name) && {
            seen.push(*name);
            true
        }
    });
    let parts: Vec<(&str, String, &str)> = files
        .iter()
        .map(|(name, text)| (*name, outside_of_rules(text), text.as_str()))
        .collect();
    for wanted in ["source", "interface", "default"] {
        for (name, plain, whole) in &parts {
            let nets = attributes(plain, "source", "address")
                .filter_map(net)
                .map(|net| (Some(net), None));
            let names =
                attributes(plain, "interface", "name").map(|name| (None, Some(name.to_owned())));
            let places: Vec<(Option<IpNet>, Option<String>)> = match wanted {
                "source" => nets.collect(),
                "interface" => names.collect(),
                _ if *name == default => {
                    is_known = true;
                    vec![(None, None)]
                }
                _ => Vec::new(),
            };
            for (from, interface) in places {
                let place = Rule {
                    from,
                    interface,
                    ..Rule::default()
                };
                rules.extend(zone(plain, whole, &place));
            }
        }
    }
    is_known.then(|| Firewall {
        tool: Tool::Firewalld,
        default: format!("its zone {default}"),
        rules,
    })
}

/// What firewalld's own services are, of those that matter here.
const SERVICES: [(&str, &str, u16); 4] = [
    ("docker-swarm", "tcp", 2377),
    ("docker-swarm", "tcp", 7946),
    ("docker-swarm", "udp", 7946),
    ("docker-swarm", "udp", 4789),
];

/// The rules of a zone for one place, the last of which is its target.
fn zone(plain: &str, whole: &str, place: &Rule) -> Vec<Rule> {
    let let_in = |protocol: &str, ports: Option<Ports>| Rule {
        protocol: Some(protocol.to_owned()),
        ports,
        lets_in: true,
        ..place.clone()
    };
    let ports = |text: &str| -> Vec<(String, Option<Ports>)> {
        elements(text, "port")
            .filter_map(|of| {
                Some((
                    attribute(of, "protocol")?.to_owned(),
                    port_list(attribute(of, "port")?),
                ))
            })
            .chain(attributes(text, "protocol", "value").map(|name| (name.to_owned(), None)))
            .collect()
    };
    let mut rules: Vec<Rule> = Vec::new();
    for rich in whole
        .split("<rule")
        .skip(1)
        .filter_map(|rest| rest.split("</rule>").next())
    {
        let from = attributes(rich, "source", "address").find_map(net);
        let lets_in = rich.contains("<accept");
        let (places, all) = (
            ports(rich),
            rich.contains("<service") || rich.contains("invert"),
        );
        if all {
            rules.push(Rule {
                lets_in: true,
                ..place.clone()
            });
        }
        rules.extend(places.into_iter().map(|(protocol, ports)| Rule {
            from: from.or(place.from),
            lets_in,
            ..let_in(&protocol, ports)
        }));
    }
    rules.extend(
        ports(plain)
            .into_iter()
            .map(|(protocol, ports)| let_in(&protocol, ports)),
    );
    for name in attributes(plain, "service", "name") {
        let of = SERVICES.iter().filter(|(service, _, _)| *service == name);
        rules.extend(of.map(|(_, protocol, port)| let_in(protocol, Some(vec![(*port, *port)]))));
        if name == "docker-swarm" {
            rules.push(let_in("esp", None));
        }
    }
    let accepts = elements(plain, "zone").any(|of| attribute(of, "target") == Some("ACCEPT"));
    rules.push(Rule {
        lets_in: accepts,
        ..place.clone()
    });
    rules
}

fn outside_of_rules(text: &str) -> String {
    let mut parts = text.split("<rule");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once("</rule>").map_or("", |(_, rest)| rest)
    })
}

/// The inside of each element of that name: `<NAME ...>`.
fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.split('<').skip(1).filter_map(move |rest| {
        let inside = rest.split('>').next()?.strip_prefix(name)?;
        inside
            .starts_with([' ', '\t', '\n', '/'])
            .then_some(inside)
            .or_else(|| inside.is_empty().then_some(inside))
    })
}

fn attribute<'a>(inside: &'a str, name: &str) -> Option<&'a str> {
    let at = inside
        .match_indices(name)
        .find(|(at, _)| inside[..*at].ends_with(char::is_whitespace))?
        .0;
    let rest = inside[at + name.len()..]
        .trim_start()
        .strip_prefix('=')?
        .trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest[1..].split(quote).next()
}

fn attributes<'a>(text: &'a str, element: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    elements(text, element).filter_map(move |inside| attribute(inside, name))
}

/// `/etc/nftables.conf`, as far as it is written plainly: an input chain with the policy `drop`, and lines that end in `accept`.
fn nftables(conf: &str) -> Option<Firewall> {
    let lines = || {
        conf.lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
    };
    let at = lines().position(|line| line.contains("hook input"))?;
    let chain: Vec<&str> = lines()
        .skip(at)
        .take_while(|line| !line.starts_with('}'))
        .collect();
    chain.first()?.contains("policy drop").then_some(())?;
    let rules = chain
        .iter()
        .flat_map(|line| line.split(';'))
        .filter_map(|line| nft_rule(line.trim()));
    Some(Firewall {
        tool: Tool::Nftables,
        default: "policy drop of its input chain".to_owned(),
        rules: rules.collect(),
    })
}

fn nft_rule(line: &str) -> Option<Rule> {
    let words: Vec<&str> = line
        .split_whitespace()
        .filter(|word| *word != "counter")
        .collect();
    let after = |word: &str| {
        let at = words.iter().position(|other| *other == word)?;
        let rest = &words[at + 1..];
        let text = match rest.first()? {
            word if word.starts_with('{') => rest
                .iter()
                .take_while(|word| **word != "}")
                .copied()
                .collect::<String>(),
            word => (*word).to_owned(),
        };
        Some(text.trim_matches(['{', '}', '"']).to_owned())
    };
    let lets_in = match (
        words.contains(&"accept"),
        words
            .iter()
            .any(|word| matches!(*word, "jump" | "goto" | "include")),
    ) {
        (_, true) => {
            return Some(Rule {
                lets_in: true,
                ..Rule::default()
            });
        }
        (false, _) => return None,
        (true, _) => true,
    };
    let interface = after("iif").or_else(|| after("iifname"));
    if words.contains(&"ct") || interface.as_deref() == Some("lo") {
        return None;
    }
    let protocol = ["tcp", "udp"]
        .into_iter()
        .find(|protocol| words.contains(protocol))
        .map(str::to_owned);
    let protocol = protocol
        .or_else(|| after("l4proto"))
        .or_else(|| words.contains(&"icmp").then(|| "icmp".to_owned()));
    let ports = match after("dport") {
        Some(list) => port_list(&list),
        None => None,
    };
    let from = after("saddr").map(|list| list.split(',').map(net).collect::<Vec<_>>());
    let from = match from.as_deref() {
        None => None,
        Some([Some(net)]) => Some(*net),
        // A list, or a name: it may be about anybody.
        Some(_) => None,
    };
    Some(Rule {
        from,
        interface,
        protocol,
        ports,
        lets_in,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const ALL: [Traffic; 4] = [
        Traffic::Tcp(2377),
        Traffic::Tcp(7946),
        Traffic::Udp(7946),
        Traffic::Udp(4789),
    ];

    fn kept_out(firewall: &Firewall) -> Vec<Traffic> {
        ALL.into_iter()
            .filter(|traffic| !firewall.lets_in(*traffic, PEER, Some("eth0")))
            .collect()
    }

    #[test]
    fn ufw_by_its_files() {
        let (on, drop) = (
            "# comment\nENABLED=yes\nLOGLEVEL=low\n",
            "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\n",
        );
        let ssh = "*filter\n### RULES ###\n\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 22 -j ACCEPT\n";
        let firewall = ufw(on, drop, ssh).unwrap();
        assert_eq!(kept_out(&firewall), ALL);
        assert!(firewall.lets_in(Traffic::Tcp(22), PEER, None));
        assert_eq!(
            firewall.remedy(&ALL, &["10.0.0.0/24".parse().unwrap()]),
            "`ufw allow from 10.0.0.0/24 to any port 2377,7946 proto tcp` and `ufw allow from 10.0.0.0/24 to any port 4789,7946 proto udp`"
        );
        // What the remedy makes of its file is understood.
        let mended = "### tuple ### allow tcp 2377,7946 0.0.0.0/0 any 10.0.0.0/24 in\n### tuple ### allow udp 4789,7946 0.0.0.0/0 any 10.0.0.0/24 in comment=6f76\n";
        assert!(kept_out(&ufw(on, drop, mended).unwrap()).is_empty());
        for all in [
            "### tuple ### allow any any 0.0.0.0/0 any 10.0.0.0/24 in\n",
            "### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0\n",
            "### tuple ### allow_log any 2000:8000 0.0.0.0/0 any 10.0.0.2 in\n",
        ] {
            assert!(kept_out(&ufw(on, drop, all).unwrap()).is_empty(), "{all}");
        }
        for none in [
            "### tuple ### allow any any 0.0.0.0/0 any 192.168.0.0/24 in\n",
            "### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth1\n",
            "### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 out\n",
            "### tuple ### deny any any 0.0.0.0/0 any 0.0.0.0/0 in\n### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 in\n",
            "### tuple ###\n### tuple ### allow\n",
        ] {
            assert_eq!(kept_out(&ufw(on, drop, none).unwrap()), ALL, "{none}");
        }
        assert_eq!(ufw("ENABLED=no\n", drop, ssh), None);
        assert_eq!(ufw(on, "DEFAULT_INPUT_POLICY=\"ACCEPT\"\n", ssh), None);
        assert_eq!(ufw("", "", ""), None);
    }

    #[test]
    fn iptables_by_its_input_chain() {
        let usual = "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n";
        assert_eq!(kept_out(&iptables(usual).unwrap()), ALL);
        let last = usual.replace("-P INPUT DROP", "-P INPUT ACCEPT")
            + "-A INPUT -j REJECT --reject-with icmp-host-prohibited\n";
        assert_eq!(kept_out(&iptables(&last).unwrap()), ALL);
        assert_eq!(
            iptables("-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\n"),
            None
        );
        assert_eq!(iptables(""), None);
        // The guard lets nothing in that others throw away.
        let guarded = usual.to_owned()
            + "-A INPUT -p udp -m udp --dport 4789 -m comment --comment docker-cluster -j DOCKER-CLUSTER\n";
        assert_eq!(kept_out(&iptables(&guarded).unwrap()), ALL);
        let remedy = iptables(usual)
            .unwrap()
            .remedy(&ALL, &["10.0.0.2/32".parse().unwrap()]);
        assert!(
            remedy.starts_with(
                "`iptables -I INPUT -s 10.0.0.2 -p tcp -m multiport --dports 2377,7946 -j ACCEPT`"
            ),
            "{remedy}"
        );
        for open in [
            "-A INPUT -s 10.0.0.0/24 -j ACCEPT\n",
            "-A INPUT -s 10.0.0.0/24 -p tcp -m multiport --dports 2377,7946 -j ACCEPT\n-A INPUT -s 10.0.0.0/24 -p udp -m multiport --dports 4789,7946 -m comment --comment \"of the cluster\" -j ACCEPT\n",
            // Who knows what is in there.
            "-A INPUT -j KUBE-FIREWALL\n",
            "-A INPUT -m set --match-set peers src -j ACCEPT\n",
            "-A INPUT ! -s 192.168.0.0/24 -j ACCEPT\n",
        ] {
            let text = format!("{usual}{open}");
            assert!(kept_out(&iptables(&text).unwrap()).is_empty(), "{open}");
        }
        let some = format!(
            "{usual}-A INPUT -i eth0 -p udp -m udp --dport 7946 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 2000:3000 -j ACCEPT\n"
        );
        assert_eq!(
            kept_out(&iptables(&some).unwrap()),
            [Traffic::Tcp(7946), Traffic::Udp(4789)]
        );
    }

    #[test]
    fn firewalld_by_its_zones() {
        let conf = "# x\nDefaultZone=public\n";
        let zone = |inside: &str| {
            format!(
                "zone public\n<?xml version=\"1.0\"?>\n<zone>\n <short>Public</short>\n <service name=\"ssh\"/>\n{inside}</zone>\n"
            )
        };
        let firewall = firewalld(conf, &zone("")).unwrap();
        assert_eq!(kept_out(&firewall), ALL);
        let remedy = firewall.remedy(
            &[Traffic::Udp(4789), Traffic::Esp],
            &["10.0.0.0/24".parse().unwrap()],
        );
        assert_eq!(
            remedy,
            "`firewall-cmd --permanent --add-rich-rule='rule family=ipv4 source address=10.0.0.0/24 port port=4789 protocol=udp accept' --add-rich-rule='rule family=ipv4 source address=10.0.0.0/24 protocol value=esp accept'` and `firewall-cmd --reload`"
        );
        // What the remedy makes of its file is understood, and only from there.
        let rich = "<rule family=\"ipv4\"><source address=\"10.0.0.0/24\"/><port port=\"4789\" protocol=\"udp\"/><accept/></rule>\n";
        let firewall = firewalld(conf, &zone(rich)).unwrap();
        assert_eq!(kept_out(&firewall), ALL[..3]);
        assert!(!firewall.lets_in(Traffic::Udp(4789), IpAddr::from([192, 168, 0, 2]), None));
        for open in [
            zone("<service name=\"docker-swarm\"/>\n"),
            zone(
                "<port port=\"2377\" protocol=\"tcp\"/><port protocol=\"tcp\" port=\"7946\"/><port port=\"4000-8000\" protocol=\"udp\"/>",
            ),
            format!(
                "zone trusted\n<zone target=\"ACCEPT\"><source address=\"10.0.0.0/24\"/></zone>\n{}",
                zone("")
            ),
            format!(
                "{}zone internal\n<zone target=\"ACCEPT\"><interface name=\"eth0\"/></zone>\n",
                zone("")
            ),
            zone("").replace("<zone>", "<zone target=\"ACCEPT\">"),
            // The administrator's own file, then the one of the package.
            zone("<service name=\"docker-swarm\"/>\n") + &zone(""),
        ] {
            assert!(
                kept_out(&firewalld(conf, &open).unwrap()).is_empty(),
                "{open}"
            );
        }
        assert_eq!(
            firewalld(conf, "zone work\n<zone/>\n"),
            None,
            "a default zone that nobody tells of"
        );
        assert_eq!(firewalld("", ""), None);
    }

    #[test]
    fn nftables_by_its_file() {
        let conf = |rules: &str| {
            format!(
                "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {{\n chain input {{\n  type filter hook input priority 0; policy drop;\n  iif \"lo\" accept\n  ct state established,related accept\n  tcp dport 22 accept\n{rules}\n }}\n chain forward {{ type filter hook forward priority 0; policy accept; }}\n}}\n"
            )
        };
        assert_eq!(kept_out(&nftables(&conf("")).unwrap()), ALL);
        let remedied = "ip saddr 10.0.0.0/24 tcp dport { 2377, 7946 } accept\nip saddr 10.0.0.0/24 udp dport { 4789, 7946 } accept";
        let firewall = nftables(&conf(remedied)).unwrap();
        assert!(kept_out(&firewall).is_empty(), "{firewall:?}");
        assert!(
            nftables(&conf(""))
                .unwrap()
                .remedy(&ALL, &["10.0.0.0/24".parse().unwrap()])
                .contains("`ip saddr 10.0.0.0/24 tcp dport { 2377, 7946 } accept`")
        );
        assert!(kept_out(&nftables(&conf("ip saddr 10.0.0.0/8 accept")).unwrap()).is_empty());
        assert!(kept_out(&nftables(&conf("jump own")).unwrap()).is_empty());
        assert_eq!(
            nftables(&conf("").replace("policy drop", "policy accept")),
            None
        );
        assert_eq!(nftables("table inet filter { }"), None);
    }
}
