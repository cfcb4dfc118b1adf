//! Clients of key-value stores.

pub mod consul;
pub mod http;
