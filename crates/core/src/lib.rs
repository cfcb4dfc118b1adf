//! The half of docker-cluster that decides: from an inventory and the facts of hosts to a plan, and from what was observed to a verdict.
//!
//! Nothing here does I/O, asks a clock or waits; `ARCHITECTURE.md` shows the floors, and `tests/floors.rs` holds them.

pub mod checksum;
pub mod daemon_json;
pub mod decide;
pub mod engines;
pub mod fabrics;
pub mod facts;
pub mod inventory;
pub mod labels;
pub mod names;
pub mod paths;
pub mod plan;
pub mod platform;
pub mod proof;
pub mod record;
pub mod secret;
pub mod stores;
pub mod underlays;
pub mod versions;
pub mod words;
pub mod x509;
