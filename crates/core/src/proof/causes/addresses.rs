//! Rows about addresses: packets that a kernel does not believe to come from where they come from, and two who have one address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{About, Case, Cause, Finding, about_host, on};
use crate::inventory::HostName;
use crate::proof::Layer;
use crate::proof::known::{HostView, Known};
use crate::proof::link::Link;

/// So many packets thrown away while pairs were asked are those of a pair: each tries for some seconds, and one or two may be anybody's.
const MANY_REFUSED: u64 = 3;

/// The kernel of the host that is asked throws away what the other sends it.
pub(super) fn of_hosts(case: &Case<'_>) -> Option<Finding> {
    let is_cut = |link: &Link| !link.icmp && !link.vxlan.passed() && !link.gossip.passed();
    let (_, to, _) = case.directions().find(|(_, to, link)| {
        is_cut(link) && link.reaches_the_wire() && case.host(to).is_some_and(refuses)
    })?;
    rp_filter(case.known, to)
}

/// The hosts reach each other, and one of them threw packets away while the pair was asked.
pub(super) fn of_containers(case: &Case<'_>) -> Option<Finding> {
    case.failure
        .filter(|failure| failure.layer == Layer::Http && !failure.by_address)?;
    let (name, _) = case.hosts().find(|(_, view)| refuses(view))?;
    rp_filter(case.known, name)
}

fn strict(view: &HostView) -> &[String] {
    view.checks
        .get("strict-source")
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn refuses(view: &HostView) -> bool {
    view.sources_refused >= MANY_REFUSED && !strict(view).is_empty()
}

fn rp_filter(known: &Known, host: &HostName) -> Option<Finding> {
    let view = known.hosts.get(host)?;
    let count = view.sources_refused;
    about_host(
        host,
        format!(
            "its kernel throws away packets that come by another interface than the one that leads back to their sender (rp_filter is 1 on {})",
            strict(view).join(", ")
        ),
        format!(
            "let the other hosts' packets come by the interface that its route to them has, or {}",
            on(known, host, "sysctl -w net.ipv4.conf.all.rp_filter=2")
        ),
        vec![format!(
            "{host} threw {count} away meanwhile (IPReversePathFilter in /proc/net/netstat)"
        )],
    )
}

/// Rows of fabrics whose containers are on one layer 2, where each host gives out addresses of its own part and nobody looks at the others'.
pub const ON_ONE_WIRE: &[Cause] = &[
    Cause::latent("duplicate-address", two_containers),
    Cause::of_now("duplicate-address", another_answers),
];

/// Two hosts have containers with one address, by the word of their engines.
fn two_containers(case: &Case<'_>) -> Option<Finding> {
    let mut holders: BTreeMap<Ipv4Addr, Vec<(&HostName, &String)>> = BTreeMap::new();
    for (name, view) in &case.known.hosts {
        for (address, container) in &view.addresses {
            holders.entry(*address).or_default().push((name, container));
        }
    }
    let mine = |(name, _): &(&HostName, &String)| *name == case.from || *name == case.to;
    let (address, both) = holders.into_iter().find(|(_, holders)| {
        let hosts = holders.iter().map(|(name, _)| name);
        hosts.clone().any(|name| Some(name) != hosts.clone().next()) && holders.iter().any(mine)
    })?;
    let mut hosts: Vec<HostName> = both.iter().map(|(name, _)| (*name).clone()).collect();
    hosts.dedup();
    let names: Vec<String> = both
        .iter()
        .map(|(name, container)| format!("{container} on {name}"))
        .collect();
    Some(Finding {
        about: About::Hosts(hosts),
        what: format!(
            "two containers have the address {address}: {}; who asks for it gets one or the other",
            names.join(" and ")
        ),
        fix: "start one of them without `--ip`, or with an address of its own host's part"
            .to_owned(),
        observed: Vec::new(),
    })
}

/// The asking container was told of another MAC address than the one of the container that it asked for.
fn another_answers(case: &Case<'_>) -> Option<Finding> {
    let asked = case.host(case.to)?;
    let address = asked.probe_address?;
    let told = case.host(case.from)?.checks.get("heard")?;
    let mac = told.iter().find_map(|line| {
        let (who, mac) = line.split_once(' ')?;
        (who.parse() == Ok(address) && !mac.eq_ignore_ascii_case(&asked.probe_mac)).then_some(mac)
    })?;
    about_host(
        case.to,
        format!(
            "somebody else has the address {address} of its container as well: {} answered to {} for it",
            mac, case.from
        ),
        "find who has that MAC address, and give it another address: those of the cluster's part are for containers only (`plan` shows which)",
        vec![format!(
            "{}: {address} is at {mac}, and the container of {} has {}",
            case.from, case.to, asked.probe_mac
        )],
    )
}

#[cfg(test)]
mod tests {
    use super::super::STANDING;
    use super::super::tests::{about, all_well, b, host, no_answer, verdict};
    use super::*;
    use crate::proof::Way;

    fn refusing(known: &mut Known) {
        b(known).sources_refused = 7;
        b(known)
            .checks
            .insert("strict-source".into(), vec!["eth1".into()]);
    }

    #[test]
    fn packets_that_come_by_the_wrong_interface_are_told_from_a_dead_way() {
        let mut known = all_well();
        known.rows = &[STANDING];
        let link = known.links.get_mut(&(host("a"), host("b"))).unwrap();
        link.tcp.clear();
        link.icmp = false;
        (link.vxlan, link.gossip) = (Way::DroppedAtTarget, Way::DroppedAtTarget);
        let failure = no_answer();
        let (id, _) = verdict(&known, Some(&failure)).unwrap();
        assert_eq!(id, "underlay-down", "nobody has thrown anything away");
        refusing(&mut known);
        let (id, finding) = verdict(&known, Some(&failure)).unwrap();
        assert_eq!((id, &finding.about), ("rp-filter", &about("b")));
        assert!(
            finding.what.contains("rp_filter is 1 on eth1"),
            "{}",
            finding.what
        );
        assert!(
            finding.fix.contains("net.ipv4.conf.all.rp_filter=2"),
            "{}",
            finding.fix
        );
    }

    #[test]
    fn so_are_packets_of_containers_alone() {
        let mut known = all_well();
        known.rows = &[STANDING, super::super::UNDER_ALL];
        let failure = no_answer();
        assert_eq!(verdict(&known, Some(&failure)).unwrap().0, "unexplained");
        refusing(&mut known);
        assert_eq!(verdict(&known, Some(&failure)).unwrap().0, "rp-filter");
        assert_eq!(verdict(&known, None), None, "what works is not thrown away");
        b(&mut known).sources_refused = MANY_REFUSED - 1;
        assert_eq!(verdict(&known, Some(&failure)).unwrap().0, "unexplained");
    }

    #[test]
    fn two_who_have_one_address_are_named() {
        let address = Ipv4Addr::new(10, 92, 0, 5);
        let mut known = all_well();
        known.rows = &[ON_ONE_WIRE];
        b(&mut known).addresses = vec![(address, "shop".into())];
        assert_eq!(verdict(&known, None), None);
        known.hosts.get_mut(&host("a")).unwrap().addresses = vec![(address, "copy".into())];
        let (id, finding) = verdict(&known, None).unwrap();
        assert_eq!(id, "duplicate-address");
        assert_eq!(finding.about, About::Hosts(vec![host("a"), host("b")]));
        assert!(
            finding.what.contains("copy on a and shop on b"),
            "{}",
            finding.what
        );
    }

    #[test]
    fn who_is_no_container_and_answers_for_one_is_named_by_its_mac() {
        let failure = no_answer();
        let mut known = all_well();
        known.rows = &[ON_ONE_WIRE];
        b(&mut known).probe_address = Some(Ipv4Addr::new(10, 92, 0, 5));
        b(&mut known).probe_mac = "02:42:0a:5c:00:05".into();
        let heard = |known: &mut Known, line: &str| {
            let view = known.hosts.get_mut(&host("a")).unwrap();
            view.checks.insert("heard".into(), vec![line.to_owned()]);
        };
        heard(&mut known, "10.92.0.5 02:42:0A:5C:00:05");
        assert_eq!(verdict(&known, Some(&failure)).unwrap().0, "unexplained");
        heard(&mut known, "10.92.0.5 66:aa:bb:cc:dd:ee");
        let (id, finding) = verdict(&known, Some(&failure)).unwrap();
        assert_eq!(id, "duplicate-address");
        assert!(
            finding.what.contains("66:aa:bb:cc:dd:ee answered to a"),
            "{}",
            finding.what
        );
    }
}
