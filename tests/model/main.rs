//! Worlds by the thousand: what must hold of every plan, and what becomes of hosts that obey it.
//!
//! The hosts are a model ([`host`]): what each action of a plan does to what the probe would print. Nothing here opens a connection.
//! `PROPTEST_CASES` says how many worlds each property sees; one that fails is printed as small as it can be made, and its seed is kept in
//! `tests/model/regressions.txt`, to be seen first by the next run.

mod engine;
mod files;
mod host;
mod mesh;
mod probe;
mod properties;
mod run;
mod store;
mod swarm;
mod world;
