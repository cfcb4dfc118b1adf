//! Who configures the interface that is to be a port, and how it comes to configure the bridge in its place, at every boot.
//!
//! systemd-networkd is told by files of ours, which the script writes: the host's own file stays as it is, and is made to be for the
//! bridge. ifupdown has one file for an interface, and no way to say that it is for another: there the file itself changes.

use crate::checksum::sha256_hex;
use crate::facts::Facts;
use crate::plan::{Action, Content, HostWorld, KEEP_MODE, Problem, PutFile, WantedFile};

use super::PROGRAM;

const NETWORKD: &str = "systemd-networkd";
const IFUPDOWN: &str = "ifupdown";

/// What ifupdown reads for a try, before its own files become so.
const TRIED: &str = "/etc/docker-cluster/fabric/interfaces";

/// The folder with the files of ifupdown.
pub(crate) const INTERFACES: &str = "/etc/network/";

/// Settings of systemd-networkd that tie an interface to other devices: they would be tied to the bridge.
const TIES: &[&str] = &[
    "BatmanAdvanced",
    "Bond",
    "Bridge",
    "IPVLAN",
    "IPVTAP",
    "IPoIB",
    "L2TP",
    "MACVLAN",
    "MACVTAP",
    "MACsec",
    "Tunnel",
    "VLAN",
    "VRF",
    "VXLAN",
    "Xfrm",
];

/// Who configures the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Manager {
    /// No program that is known: the script moves the address, at every boot as well.
    Nobody,
    /// systemd-networkd, by this file.
    Networkd(String),
    /// ifupdown, and what has to change in its files.
    Ifupdown(Vec<Change>),
}

/// A file of ifupdown in which the bridge takes the interface's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    path: String,
    before: String,
    after: String,
}

impl Manager {
    /// Who configures a host's interface; who did, where the bridge has its address already. A problem where that is not understood.
    pub(super) fn of(
        host: &HostWorld<'_>,
        port: &str,
        bridge: &str,
        is_moved: bool,
    ) -> Result<Self, Problem> {
        let facts = host.facts;
        let written = |word: &str| {
            let links = facts.links.as_ref().filter(|_| is_moved)?;
            links.lines(word).find_map(|words| words.first()).cloned()
        };
        let found = facts.managers.get(port).filter(|_| !is_moved);
        let name = written("manager").or_else(|| found.map(|manager| manager.name.clone()));
        let file = written("file").or_else(|| found?.file.clone());
        let refused = |what: String, fix: &str| {
            let other = "or choose `network: {fabric: macvlan}`, which moves nothing";
            Problem::on(host.name(), what, format!("{fix}, {other}"))
        };
        match (name.as_deref(), file) {
            (None, _) => Ok(Self::Nobody),
            (Some(NETWORKD), Some(file)) => match unfit(facts, port, &file) {
                None => Ok(Self::Networkd(file)),
                Some(why) => Err(refused(
                    format!("its interface {port} is configured by {NETWORKD}, and {why}"),
                    "give the interface a file of its own with a fixed address",
                )),
            },
            (Some(IFUPDOWN), _) => {
                changes(facts, port, bridge)
                    .map(Self::Ifupdown)
                    .map_err(|why| {
                        refused(
                            format!("its interface {port} is configured by {IFUPDOWN}, and {why}"),
                            "give the interface there a fixed address, in words that name no other",
                        )
                    })
            }
            (Some(other), _) => Err(refused(
                format!(
                    "its interface {port} is configured by {other}, which would undo the move of its address to a bridge"
                ),
                &format!("configure it with {NETWORKD} or {IFUPDOWN}, or with neither"),
            )),
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> Option<&'static str> {
        match self {
            Self::Nobody => None,
            Self::Networkd(_) => Some(NETWORKD),
            Self::Ifupdown(_) => Some(IFUPDOWN),
        }
    }

    /// The lines of the host's configuration that say so.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.name().map(|name| format!("manager {name}")));
        if let Self::Networkd(file) = self {
            words.push(format!("file {file}"));
        }
        words
    }

    /// What has to be there for a try.
    pub(super) fn tried(&self) -> Option<WantedFile> {
        let changes = self.changes();
        let all: String = changes.iter().map(|change| change.after.as_str()).collect();
        let why = "write down what ifupdown is to try";
        (!changes.is_empty()).then(|| WantedFile::of_root(TRIED, "0600", all, why))
    }

    /// What makes it so at every boot: the sentence of each step, and the step.
    pub(super) fn kept(&self, bridge: &str) -> impl Iterator<Item = (String, Action)> {
        let step = move |change: &Change| {
            let Change {
                path,
                before,
                after,
            } = change.clone();
            let why = format!("let ifupdown make the bridge {bridge} at every boot: {path}");
            let put = PutFile {
                path,
                mode: KEEP_MODE,
                owner: "root:root".to_owned(),
                content: Content::text(after),
                before: Some(before),
                read_by: None,
                ours: None,
            };
            (why, Action::PutFile(put))
        };
        self.changes().iter().map(step)
    }

    fn changes(&self) -> &[Change] {
        match self {
            Self::Ifupdown(changes) => changes,
            _ => &[],
        }
    }
}

/// Why systemd-networkd's file for the interface cannot be for a bridge.
fn unfit(facts: &Facts, port: &str, file: &str) -> Option<String> {
    let also = |(name, manager): (&String, &crate::facts::Manager)| {
        (name != port && manager.file.as_deref() == Some(file)).then(|| name.clone())
    };
    if let Some(other) = facts.managers.iter().find_map(also) {
        return Some(format!("its file {file} is for {other} as well"));
    }
    let drop_in = format!(
        "/{}.d/",
        file.rsplit_once('/').map_or(file, |(_, name)| name)
    );
    let lines = facts
        .manager_lines
        .iter()
        .filter(|line| line.file == file || line.file.contains(&drop_in));
    lines
        .filter_map(|line| Some((line, line.text.split_once('=')?)))
        .find_map(|(line, (key, value))| {
            let value = value.trim();
            let is_lent =
                key.trim() == "DHCP" && !matches!(value, "" | "no" | "false" | "0" | "off");
            let is_tied = TIES.contains(&key.trim()) && !value.is_empty();
            (is_lent || is_tied).then(|| format!("{} says `{}`", line.file, line.text.trim()))
        })
}

/// What has to change in the files of ifupdown: nothing where the bridge has the interface's place already.
fn changes(facts: &Facts, port: &str, bridge: &str) -> Result<Vec<Change>, String> {
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in facts
        .manager_lines
        .iter()
        .filter(|line| line.file.starts_with(INTERFACES))
    {
        if files.last().is_none_or(|(path, _)| *path != line.file) {
            files.push((&line.file, String::new()));
        }
        if let Some((_, text)) = files.last_mut() {
            text.push_str(&line.text);
            text.push('\n');
        }
    }
    let has = |name: &str| {
        let stanza = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some("iface") && words.next() == Some(name)
        };
        files.iter().any(|(_, text)| text.lines().any(stanza))
    };
    if !has(port) && !has(bridge) {
        return Err(format!("no file in {INTERFACES} has a line `iface {port}`"));
    }
    let mut changes = Vec::new();
    for (path, before) in files {
        let after = in_its_place(&before, port, bridge)
            .map_err(|line| format!("{path} says `{}`", line.trim()))?;
        if after == before {
            continue;
        }
        if !is_whole(facts, path, &before) {
            return Err(format!(
                "{path} has characters that cannot be read back, or no end of its last line"
            ));
        }
        let path = path.to_owned();
        changes.push(Change {
            path,
            before,
            after,
        });
    }
    Ok(changes)
}

/// The file of ifupdown at `path` with the interface in its own place again, where others have changed the file since it was written. None
/// where that cannot be said.
pub(crate) fn without_bridge(facts: &Facts, path: &str) -> Option<String> {
    let links = facts.links.as_ref()?;
    let (port, bridge) = (links.word("interface")?, links.word("bridge")?);
    let lines = facts.manager_lines.iter().filter(|line| line.file == path);
    let mut after = String::new();
    let mut present = String::new();
    for line in lines {
        present.push_str(&line.text);
        present.push('\n');
        if line.text.contains(PROGRAM) {
            continue;
        }
        let words: Vec<&str> = line.text.split_whitespace().collect();
        match words.as_slice() {
            ["auto", name] | ["iface", name, ..] if *name == bridge => {
                after.push_str(&line.text.replacen(bridge, port, 1));
            }
            all if all.contains(&bridge) => return None,
            _ => after.push_str(&line.text),
        }
        after.push('\n');
    }
    is_whole(facts, path, &present).then_some(after)
}

/// The lines came as text that is safe to print; what is written must be the file's own bytes.
fn is_whole(facts: &Facts, path: &str, text: &str) -> bool {
    let file = facts.files.get(path);
    file.is_some_and(|file| file.sha256 == sha256_hex(text.as_bytes()))
}

/// The text of a file of ifupdown with the bridge in the interface's place, made before anything else is done to it. A line that this cannot
/// be said of is the error.
fn in_its_place<'a>(text: &'a str, port: &str, bridge: &str) -> Result<String, &'a str> {
    let mut made = text.contains(&format!("{PROGRAM} join"));
    let mut after = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let names = |word: &&str| {
            word.strip_prefix(port)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']))
        };
        let changed = match words.as_slice() {
            [first, ..] if first.starts_with('#') => None,
            all if !all.iter().any(names) => None,
            ["iface", name, family, method] if *name == port => {
                if !matches!(
                    (*family, *method),
                    ("inet" | "inet6", "static") | ("inet6", "auto")
                ) {
                    return Err(line);
                }
                let mut stanza = format!("iface {bridge} {family} {method}");
                if !made {
                    stanza.push_str(&format!("\n    pre-up {PROGRAM} join"));
                    made = true;
                }
                Some(stanza)
            }
            [auto @ ("auto" | "allow-auto" | "allow-hotplug"), all @ ..]
                if !line.ends_with('\\')
                    && all.iter().all(|word| *word == port || !names(word)) =>
            {
                let others: Vec<&str> = all.iter().copied().filter(|word| *word != port).collect();
                // A bridge is not plugged in.
                let mut lines = format!("auto {bridge}");
                if !others.is_empty() {
                    lines.push_str(&format!("\n{auto} {}", others.join(" ")));
                }
                Some(lines)
            }
            _ => return Err(line),
        };
        after.push_str(changed.as_deref().unwrap_or(line));
        after.push('\n');
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_takes_the_interfaces_place() {
        let text = "# eth0 is the LAN\nauto lo eth0\niface lo inet loopback\n\nallow-hotplug eth0 eth1\niface eth0 inet static\n    address 10.0.0.12/24\n    up ip route add 10.9.0.0/16 via 10.0.0.9 dev $IFACE\niface eth0 inet6 auto\niface eth1 inet dhcp\n";
        let expected = "# eth0 is the LAN\nauto br-lan\nauto lo\niface lo inet loopback\n\nauto br-lan\nallow-hotplug eth1\niface br-lan inet static\n    pre-up /usr/local/lib/docker-cluster/fabric join\n    address 10.0.0.12/24\n    up ip route add 10.9.0.0/16 via 10.0.0.9 dev $IFACE\niface br-lan inet6 auto\niface eth1 inet dhcp\n";
        assert_eq!(
            in_its_place(text, "eth0", "br-lan").as_deref(),
            Ok(expected)
        );
        // What is so already stays so.
        assert_eq!(
            in_its_place(expected, "eth0", "br-lan").as_deref(),
            Ok(expected)
        );
    }

    #[test]
    fn what_names_the_interface_otherwise_is_not_touched() {
        for line in [
            "iface eth0 inet dhcp",
            "iface eth0 inet static inherits lan",
            "iface eth0:1 inet static",
            "auto eth0.5",
            "auto eth0 \\",
            "mapping eth0",
            "    up ip route add 10.9.0.0/16 dev eth0",
            "    bridge_ports eth0",
        ] {
            assert_eq!(in_its_place(line, "eth0", "br-lan"), Err(line));
        }
        let other = "auto eth01\niface eth01 inet dhcp\n";
        assert_eq!(in_its_place(other, "eth0", "br-lan").as_deref(), Ok(other));
    }
}
