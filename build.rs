//! Tells the program which commit it is made of.

use std::path::Path;
use std::process::Command;

/// Digits of a commit that are shown: enough for it to stay the only one in a large repository.
const DIGITS: usize = 12;

/// What cargo puts into a crate that it packs, with the commit.
const PACKED: &str = ".cargo_vcs_info.json";

/// Says so where there is no repository, as in an unpacked archive of the source.
const UNKNOWN: &str = "unknown";

/// Says so of a program for developers: it would be built anew after each commit, and is often made of what is in none.
const DEBUG: &str = "debug build";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // For whoever builds from an archive and knows what it is of.
    println!("cargo:rerun-if-env-changed=DOCKER_CLUSTER_COMMIT");
    let told = std::env::var("DOCKER_CLUSTER_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty());
    let found = told.or_else(|| match std::env::var("PROFILE").as_deref() {
        Ok("debug") => Some(DEBUG.to_owned()),
        _ => packed().or_else(checked_out),
    });
    let commit: String = found
        .unwrap_or_else(|| UNKNOWN.to_owned())
        .chars()
        .take(DIGITS)
        .collect();
    // Not in the manner of Docker's own variables: cargo hands it to tests as well, which look at those.
    println!("cargo:rustc-env=BUILD_COMMIT={commit}");
}

fn packed() -> Option<String> {
    if !Path::new(PACKED).exists() {
        return None;
    }
    println!("cargo:rerun-if-changed={PACKED}");
    let text = std::fs::read_to_string(PACKED).ok()?;
    let (_, rest) = text.split_once("\"sha1\":")?;
    rest.split('"').nth(1).map(ToOwned::to_owned)
}

fn checked_out() -> Option<String> {
    // An archive that is unpacked somewhere below another repository is not of that one's commit.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // It has a line for each change of what is checked out.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    let head = git(&["rev-parse", "--git-path", "HEAD"])?;
    for file in [log, head].iter().filter(|file| Path::new(file).exists()) {
        println!("cargo:rerun-if-changed={file}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let ran = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(ran.stdout).ok()?;
    ran.status.success().then(|| text.trim().to_owned())
}
