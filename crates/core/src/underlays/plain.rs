//! The hosts' own network, as it is.

use super::{Carried, Underlay, moved};
use crate::inventory::Inventory;
use crate::plan::{Problem, Steps, World};
use crate::proof::Cause;

/// Nothing of our own.
pub struct Plain;

impl Underlay for Plain {
    fn about(&self, _: &Inventory) -> Option<String> {
        None
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        moved(world, "the hosts' own network (`underlay: plain`)")
            .into_iter()
            .collect()
    }

    fn steps(&self, _: &World<'_>, _: &Carried, _: &mut Steps, _: &mut Vec<String>) {}

    fn causes(&self) -> &'static [Cause] {
        &[]
    }
}
