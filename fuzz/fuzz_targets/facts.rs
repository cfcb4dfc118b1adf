//! `cargo +nightly fuzz run facts`: whatever a host prints is facts, or nothing.
#![no_main]

use docker_cluster::facts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = facts::parse(bytes, 0, 0);
    let whole = [b"@begin\n|1\n", bytes, b"\n@end\n|1\n"].concat();
    let _ = facts::parse(&whole, 0, 0);
});
