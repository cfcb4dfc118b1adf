//! A store that somebody else runs: docker-cluster only tells the engines where it is.

use super::{Endpoint, Store};
use crate::facts::firewall::Traffic;
use crate::plan::{HostWorld, Problem, Steps, World};

/// A store of the user's own.
pub struct External;

impl Store for External {
    fn backend(&self, world: &World<'_>) -> &'static str {
        match &world.inventory.store.external {
            Some(external) if external.url.starts_with("etcd://") => "etcd",
            Some(external) if external.url.starts_with("zk://") => "zookeeper",
            _ => "consul",
        }
    }

    fn endpoint(&self, world: &World<'_>) -> Endpoint {
        let external = world.inventory.store.external.as_ref();
        external.map_or_else(
            || Endpoint {
                url: String::new(),
                options: Default::default(),
            },
            |external| Endpoint {
                url: external.url.clone(),
                options: external.options.clone(),
            },
        )
    }

    fn problems(&self, _: &World<'_>) -> Vec<Problem> {
        Vec::new()
    }

    fn steps(&self, _: &World<'_>, _: &mut Steps, _: &mut Vec<String>) {}

    fn ports(&self, _: &HostWorld<'_>) -> Vec<(u16, &'static str)> {
        Vec::new()
    }

    fn traffic(&self, _: &World<'_>, _: &HostWorld<'_>) -> Vec<Traffic> {
        Vec::new()
    }

    fn listens(&self) -> Vec<Traffic> {
        Vec::new()
    }

    fn leaves(&self, _: &HostWorld<'_>) -> Option<String> {
        None
    }

    fn engines(&self) -> Option<&'static [&'static str]> {
        None
    }
}
