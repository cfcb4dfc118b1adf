//! What a measurement found.

use serde::Serialize;

use super::matrix::Direction;

/// What was measured over one of the two networks: medians over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Median time of a request of 128 bytes over a connection that is open, in microseconds.
    pub p50_us: f64,
    /// The time that 99 of 100 requests stay below, in microseconds.
    pub p99_us: f64,
    /// Requests per second over 16 connections.
    pub requests_per_second: f64,
    /// Bits per second of one connection that sends all it can.
    pub bits_per_second: f64,
}

/// One direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// Which.
    #[serde(flatten)]
    pub direction: Direction,
    /// Over the fabric.
    pub fabric: Option<Figures>,
    /// Over the bare underlay.
    pub underlay: Option<Figures>,
    /// The fabric's figures as multiples of the underlay's.
    pub ratio: Option<Figures>,
    /// Why something could not be measured.
    pub errors: Vec<String>,
}

impl Measurement {
    /// One that could not be made.
    pub fn failed(direction: Direction, error: impl Into<String>) -> Self {
        Self {
            direction,
            fabric: None,
            underlay: None,
            ratio: None,
            errors: vec![error.into()],
        }
    }
}
