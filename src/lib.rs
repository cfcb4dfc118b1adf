//! docker-cluster connects Docker hosts that people already have: from one inventory, over plain SSH, to an overlay network
//! that is proven to work. `ARCHITECTURE.md` describes how the parts fit.

pub mod apply;
pub mod cli;
pub mod commands;
pub mod engine_api;
pub mod engines;
pub mod error;
pub mod event;
pub mod fabrics;
pub mod facts;
pub mod host;
pub mod images;
pub mod inventory;
pub mod lab;
pub mod lock;
pub mod logging;
pub mod plan;
pub mod platform;
pub mod record;
pub mod secrets;
pub mod stores;
pub mod ui;
pub mod verify;
pub mod words;
