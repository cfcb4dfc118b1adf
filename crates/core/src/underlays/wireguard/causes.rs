//! Why a pair fails that talks over a mesh, or will when something changes. The order is from what explains most.

use crate::inventory::HostName;
use crate::proof::causes::{About, Case, Finding, about_host, on};
use crate::proof::{Cause, MeshView};

/// Keys are agreed on anew after two minutes, and nothing is taken under one that is older than three (WireGuard's `REJECT_AFTER_TIME`). A
/// keepalive sees to it that hosts without traffic do it as well.
const OLD: u64 = 180;

/// Rows about the mesh.
pub(crate) const CAUSES: &[Cause] = &[
    Cause::latent("mesh-down", down),
    Cause::latent("mesh-wrong-key", wrong_key),
    Cause::latent("mesh-endpoint-moved", endpoint_moved),
    Cause::latent("mesh-port-blocked", port_blocked),
    Cause::latent("mesh-handshake-old", handshake_old),
    Cause::latent("mesh-mtu", mtu),
    Cause::latent("mesh-open", open),
    Cause::latent("mesh-drift", drift),
    Cause::latent("engine-first", engine_first),
];

/// What is done about whatever is not as it was made.
const MEND: &str = "`docker-cluster up` mends it";

/// The two hosts with their meshes, the asked one first.
fn meshes<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a HostName, &'a MeshView)> + use<'a> {
    case.hosts()
        .filter_map(|(name, view)| Some((name, view.mesh.as_ref()?)))
}

/// Both directions, as who hears sees who is heard: `(who, its mesh, whom, that one's mesh)`.
fn views<'a>(
    case: &Case<'a>,
) -> impl Iterator<Item = (&'a HostName, &'a MeshView, &'a HostName, &'a MeshView)> + use<'a> {
    let both: Vec<_> = meshes(case).collect();
    let pairs = match both[..] {
        [(a, of_a), (b, of_b)] => vec![(a, of_a, b, of_b), (b, of_b, a, of_a)],
        _ => Vec::new(),
    };
    pairs.into_iter()
}

/// The first sentence of one of the two hosts that holds one of these words and none of those.
fn said(case: &Case<'_>, words: &[&str], not: &[&str], fix: &str) -> Option<Finding> {
    meshes(case).find_map(|(name, mesh)| {
        let has = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
        let mut found = mesh.wrong.iter();
        let line = found.find(|line| has(line, words) && !has(line, not))?;
        let all = mesh.wrong.iter().map(|line| format!("{name}: {line}"));
        about_host(name, line.clone(), fix, all.collect())
    })
}

fn down(case: &Case<'_>) -> Option<Finding> {
    let stopped = meshes(case).find(|(_, mesh)| !mesh.runs);
    if let Some((name, _)) = stopped {
        let show = on(
            case.known,
            name,
            &format!("journalctl -u {} -n 20", super::UNIT),
        );
        return about_host(
            name,
            "its mesh of WireGuard does not run",
            format!("{MEND}; {show} says why it ended"),
            Vec::new(),
        );
    }
    said(
        case,
        &["is missing", "is down", "could not be looked at"],
        &["route", "rule", "chain"],
        MEND,
    )
}

fn wrong_key(case: &Case<'_>) -> Option<Finding> {
    let (name, _, other, _) = views(case).find(|(_, mesh, other, theirs)| {
        let known = mesh.mates.get(other.as_str()).map(|(key, _)| key);
        !theirs.key.is_empty() && known.is_some_and(|known| *known != theirs.key)
    })?;
    let what = format!("it knows {other} by another key than the one that {other} has");
    about_host(name, what, MEND, Vec::new()).or_else(|| said(case, &["another key"], &[], MEND))
}

/// Whether a host has not been heard lately: never, or so many seconds ago.
fn unheard<'a>(mesh: &'a MeshView, other: &HostName) -> Option<(Option<u64>, &'a str)> {
    let (age, place) = mesh.heard.get(other.as_str())?;
    age.is_none_or(|age| age > OLD)
        .then_some((*age, place.as_str()))
}

fn endpoint_moved(case: &Case<'_>) -> Option<Finding> {
    views(case)
        .find_map(|(name, mesh, other, theirs)| {
            let (_, sends_to) = mesh.mates.get(other.as_str())?;
            if *sends_to == theirs.endpoint {
                return None;
            }
            let what = format!(
                "it sends what is for {other} to {sends_to}, and {other} is at {} now",
                theirs.endpoint
            );
            about_host(name, what, MEND, Vec::new())
        })
        .or_else(|| said(case, &["is to be reached at"], &[], MEND))
}

/// A finding about what does not come through between two hosts.
fn between(
    case: &Case<'_>,
    fits: impl Fn(Option<u64>) -> bool,
    what: impl Fn(u16, Option<u64>) -> String,
) -> Option<Finding> {
    views(case).find_map(|(name, mesh, other, theirs)| {
        let (age, place) = unheard(mesh, other).filter(|(age, _)| fits(*age))?;
        Some(Finding {
            about: About::Link(other.clone(), name.clone()),
            what: what(theirs.port, age),
            fix: format!(
                "let UDP {} pass between the hosts, both ways: their own firewalls, security groups, a NAT in between (`endpoint:`)",
                theirs.port
            ),
            observed: vec![format!(
                "{name} sends to {place}, and {}",
                age.map_or("has never heard anything".to_owned(), |age| format!(
                    "heard it {age} s ago"
                ))
            )],
        })
    })
}

fn port_blocked(case: &Case<'_>) -> Option<Finding> {
    between(
        case,
        |age| age.is_none(),
        |port, _| {
            format!("nothing of WireGuard has ever come through: UDP {port} is blocked on the way")
        },
    )
}

fn handshake_old(case: &Case<'_>) -> Option<Finding> {
    between(
        case,
        |age| age.is_some(),
        |port, age| {
            format!(
                "the last handshake of WireGuard was {} s ago, and nothing older than {OLD} s is taken: UDP {port} passed, and does not any more",
                age.unwrap_or_default()
            )
        },
    )
}

fn mtu(case: &Case<'_>) -> Option<Finding> {
    said(case, &["another MTU"], &[], MEND)
}

/// What keeps everything inside of the mesh is not there: nothing fails until the mesh does, and then it leaves in clear.
fn open(case: &Case<'_>) -> Option<Finding> {
    let fix = "`docker-cluster up` mends it; until then what is for the other hosts leaves in clear whenever the mesh does not run, or is let in from outside of it";
    said(case, &["route", "rule", "chain"], &[], fix)
}

fn drift(case: &Case<'_>) -> Option<Finding> {
    said(case, &[""], &[], MEND)
}

/// What an engine says that could not listen on its address in the mesh.
const NO_ADDRESS: &str = "cannot assign requested address";

fn engine_first(case: &Case<'_>) -> Option<Finding> {
    let (name, view) = case.hosts().find(|(_, view)| {
        let error = view.swarm_error.as_deref().unwrap_or_default();
        view.mesh.is_some() && error.contains(NO_ADDRESS)
    })?;
    about_host(
        name,
        "its engine started before the mesh had its address, and stays without its swarm",
        on(case.known, name, "systemctl restart docker"),
        view.swarm_error.iter().cloned().collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::causes::tests::{about, all_well, no_answer, verdict};
    use crate::proof::{HostView, Known};

    /// Two hosts that know and hear each other.
    fn meshed() -> Known {
        let mut known = all_well();
        known.under = CAUSES;
        for (own, other) in [("a", "b"), ("b", "a")] {
            let mesh = MeshView {
                runs: true,
                port: 51820,
                key: format!("key of {own}"),
                endpoint: format!("{own}:51820"),
                mates: [(
                    other.to_owned(),
                    (format!("key of {other}"), format!("{other}:51820")),
                )]
                .into(),
                heard: [(other.to_owned(), (Some(20), format!("{other}:51820")))].into(),
                ..MeshView::default()
            };
            view(&mut known, own).mesh = Some(mesh);
        }
        known
    }

    fn view<'a>(known: &'a mut Known, name: &str) -> &'a mut HostView {
        let mut hosts = known.hosts.iter_mut();
        let (_, view) = hosts.find(|(host, _)| host.as_str() == name).unwrap();
        view
    }

    fn found(broken: impl Fn(&mut HostView)) -> Option<(&'static str, Finding)> {
        let mut known = meshed();
        broken(view(&mut known, "b"));
        verdict(&known, Some(&no_answer()))
    }

    fn mesh(view: &mut HostView) -> &mut MeshView {
        view.mesh.as_mut().unwrap()
    }

    #[test]
    fn nothing_is_said_of_a_mesh_that_is_well() {
        assert!(verdict(&meshed(), None).is_none());
    }

    #[test]
    fn each_fault_of_a_mesh_has_its_row() {
        let wrong = |line: &'static str| {
            move |view: &mut HostView| mesh(view).wrong = vec![line.to_owned()]
        };
        let rows = [
            ("mesh-down", found(|view| mesh(view).runs = false)),
            ("mesh-down", found(wrong("the interface dcwg0 is missing"))),
            (
                "mesh-mtu",
                found(wrong("the interface dcwg0 has another MTU than 1420")),
            ),
            (
                "mesh-open",
                found(wrong(
                    "the route that keeps packets to 10.99.0.0/24 from leaving by the default route is missing",
                )),
            ),
            (
                "mesh-open",
                found(wrong("the rule `iptables -t raw -A X` is missing")),
            ),
            (
                "mesh-endpoint-moved",
                found(wrong(
                    "a is not heard at 10.0.0.1:51820, and is to be reached at 10.0.0.9:51820",
                )),
            ),
            (
                "mesh-drift",
                found(wrong(
                    "the interface dcwg0 listens on another port than 51820",
                )),
            ),
            (
                "engine-first",
                found(|view| {
                    view.swarm_error = Some(
                        "listen tcp 10.99.0.1:2377: bind: cannot assign requested address"
                            .to_owned(),
                    );
                }),
            ),
        ];
        for (id, verdict) in rows {
            let (said, finding) = verdict.unwrap();
            assert_eq!((said, finding.about), (id, about("b")), "{}", finding.what);
        }
    }

    #[test]
    fn what_one_side_knows_of_the_other_is_compared() {
        let (id, finding) = found(|view| mesh(view).key = "another".to_owned()).unwrap();
        assert_eq!((id, finding.about), ("mesh-wrong-key", about("a")));
        let (id, finding) = found(|view| mesh(view).endpoint = "c:1".to_owned()).unwrap();
        assert_eq!((id, finding.about), ("mesh-endpoint-moved", about("a")));
        assert!(
            finding.what.contains("to b:51820, and b is at c:1 now"),
            "{}",
            finding.what
        );
        let heard = |age: Option<u64>| {
            move |view: &mut HostView| {
                mesh(view).heard = [("a".to_owned(), (age, "a:51820".to_owned()))].into();
            }
        };
        let (id, finding) = found(heard(None)).unwrap();
        assert_eq!(id, "mesh-port-blocked");
        assert!(finding.fix.contains("UDP 51820"), "{}", finding.fix);
        let (id, finding) = found(heard(Some(300))).unwrap();
        assert_eq!(id, "mesh-handshake-old");
        assert!(finding.what.contains("300 s ago"), "{}", finding.what);
        assert!(found(heard(Some(100))).unwrap().0 != id);
    }
}
