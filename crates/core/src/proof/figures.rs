//! What a measurement found.

use serde::{Deserialize, Serialize};

use super::matrix::Direction;

/// What was measured over one of the two networks: medians over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Median time of a request of 128 bytes over a connection that is open, in microseconds.
    pub p50_us: f64,
    /// The time that 99 of 100 requests stay below, in microseconds.
    pub p99_us: f64,
    /// Requests per second over 16 connections.
    pub requests_per_second: f64,
    /// Bits per second of one connection that sends all it can.
    pub bits_per_second: f64,
    /// The same of eight connections at once, together.
    pub bits_per_second_of_eight: f64,
    /// Seconds that the sending machine's processors worked for 10^9 bytes of one connection, whatever else they did included.
    /// Where one machine carries both hosts, as in a lab, it is the work of both ends.
    pub cpu_seconds_per_gigabyte: f64,
}

impl Figures {
    /// These as multiples of others.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        let of = |pick: fn(&Self) -> f64| pick(self) / pick(other).max(f64::MIN_POSITIVE);
        Self {
            p50_us: of(|figures| figures.p50_us),
            p99_us: of(|figures| figures.p99_us),
            requests_per_second: of(|figures| figures.requests_per_second),
            bits_per_second: of(|figures| figures.bits_per_second),
            bits_per_second_of_eight: of(|figures| figures.bits_per_second_of_eight),
            cpu_seconds_per_gigabyte: of(|figures| figures.cpu_seconds_per_gigabyte),
        }
    }
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
