//! docker-cluster connects Docker hosts that people already have: from one inventory, over plain SSH, to an overlay network
//! that is proven to work. `ARCHITECTURE.md` describes how the parts fit.

pub mod apply;
pub mod cli;
pub mod clients;
pub mod commands;
pub mod dispatch;
pub mod engine_api;
pub mod engine_ask;
pub mod error;
pub mod event;
pub mod files;
pub mod global;
pub mod host;
pub mod images;
pub mod lab;
pub mod lock;
pub mod logging;
pub mod machine;
pub mod probe;
pub mod programs;
pub mod secrets;
pub mod ui;
pub mod verify;
pub mod whoami;

// The half that decides, under the names that it has there.
pub use docker_cluster_core::{
    checksum, daemon_json, decide, engines, fabrics, facts, inventory, labels, names, paths, plan,
    platform, proof, record, secret, stores, underlays, versions, words, x509,
};
