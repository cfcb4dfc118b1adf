//! Consul's own rows of the table of causes.

use crate::proof::Cause;
use crate::proof::causes::{About, Case, Finding, about_host, on};

/// In their order: an agent that does not run sees no leader either.
pub const CAUSES: &[Cause] = &[
    Cause::latent("store-agent-down", store_agent_down),
    Cause::latent("store-no-leader", store_no_leader),
];

fn store_agent_down(case: &Case<'_>) -> Option<Finding> {
    case.hosts().find_map(|(name, view)| {
        let store = view.store.as_ref().filter(|store| !store.runs)?;
        about_host(
            name,
            "its Consul agent does not run: its engine hears of no new containers, and cannot start any on the network",
            on(case.known, name, "systemctl status docker-cluster-consul"),
            vec![format!("the agent's client says: {}", store.error)],
        )
    })
}

fn store_no_leader(case: &Case<'_>) -> Option<Finding> {
    case.hosts().find_map(|(name, view)| {
        let store = view.store.as_ref().filter(|store| store.runs && !store.ready)?;
        let lost = match store.lost.as_slice() {
            [] => String::new(),
            lost => format!(" ({} are down)", lost.join(", ")),
        };
        Some(Finding {
            // Shared by all hosts that see it, so that it is one sentence.
            about: About::Hosts(
                case.known
                    .hosts
                    .iter()
                    .filter(|(_, view)| view.store.as_ref().is_some_and(|store| store.runs && !store.ready))
                    .map(|(name, _)| name.clone())
                    .collect(),
            ),
            what: format!(
                "the store has no leader{lost}: running containers keep their network, new ones cannot join it"
            ),
            fix: "start the servers that are down; it goes on by itself when a majority is back".to_owned(),
            observed: vec![format!("{name}: {}", store.error)],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::causes::tests::{about, all_well, b, host, no_answer, verdict};
    use crate::proof::{Known, StoreView};

    fn over_consul() -> Known {
        Known {
            rows: &[CAUSES],
            ..all_well()
        }
    }

    #[test]
    fn an_agent_that_does_not_run_is_named() {
        let mut known = over_consul();
        b(&mut known).store = Some(StoreView {
            error: "connection refused".into(),
            ..StoreView::default()
        });
        let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
        assert_eq!((id, finding.about), ("store-agent-down", about("b")));
        assert!(finding.what.contains("Consul agent does not run"));
        assert!(finding.observed[0].contains("connection refused"));
        assert_eq!(
            verdict(&known, None).map(|(id, _)| id),
            Some("store-agent-down"),
            "also before anything fails"
        );
    }

    #[test]
    fn a_store_without_a_leader_is_one_sentence_about_all_who_see_it() {
        let mut known = over_consul();
        for name in ["a", "b"] {
            let lost = vec!["c".into()];
            let view = StoreView {
                runs: true,
                ready: false,
                error: "No cluster leader".into(),
                lost,
            };
            known.hosts.get_mut(&host(name)).unwrap().store = Some(view);
        }
        let (id, finding) = verdict(&known, Some(&no_answer())).unwrap();
        assert_eq!(
            (id, finding.about),
            ("store-no-leader", About::Hosts(vec![host("a"), host("b")]))
        );
        assert!(
            finding
                .what
                .contains("the store has no leader (c are down)")
        );
        assert!(finding.observed[0].contains("No cluster leader"));
    }
}
