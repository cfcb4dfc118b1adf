//! An interface that others manage, such as Tailscale's: it is taken as it is, with its address and its MTU.

use super::{Carried, Underlay, moved};
use crate::inventory::{Inventory, UnderlaySpec};
use crate::plan::{Problem, Steps, World};
use crate::proof::Cause;

/// Nothing of our own either: only the addresses are others.
pub struct Interface;

impl Underlay for Interface {
    fn about(&self, inventory: &Inventory) -> Option<String> {
        match &inventory.underlay {
            UnderlaySpec::Interface(name) => Some(format!("over the interface {name}")),
            _ => None,
        }
    }

    fn problems(&self, world: &World<'_>) -> Vec<Problem> {
        moved(world, "an interface that others manage")
            .into_iter()
            .collect()
    }

    fn steps(&self, _: &World<'_>, _: &Carried, _: &mut Steps, _: &mut Vec<String>) {}

    fn causes(&self) -> &'static [Cause] {
        &[]
    }
}
