//! `cargo +nightly fuzz run inventory`: any text is an inventory, or an error with a line.
#![no_main]

use docker_cluster::inventory::{Colour, Inventory};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Inventory::parse(text, "cluster.yaml") {
        assert!(!error.flaws.is_empty() && error.flaws.iter().all(|flaw| flaw.line >= 1));
        assert!(!error.render(80, Colour::Off).is_empty());
    }
});
