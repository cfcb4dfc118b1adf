//! The floors of `ARCHITECTURE.md`: a room takes only from the floors below it, so that no two rooms need each other.
//!
//! The compiler holds the greatest of these lines: what decides is a crate that has no way to do I/O. This test holds the others, and what
//! a crate could still reach by itself: files, clocks, processes and the environment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms of the half that decides, the lowest floor first.
const DECIDING: &[&[&str]] = &[
    &[
        "checksum",
        "daemon_json",
        "labels",
        "paths",
        "versions",
        "words",
        "x509",
    ],
    &["names", "record", "secret"],
    &["inventory"],
    &["facts"],
    &["platform"],
    &["plan"],
    &["engines"],
    &["proof"],
    &["stores", "underlays"],
    &["fabrics"],
    &["decide"],
];

/// The rooms of the program, which stand on all of those.
const ACTING: &[&[&str]] = &[
    &["files"],
    &["event", "host", "logging", "secrets", "whoami"],
    &[
        "clients",
        "engine_api",
        "engine_ask",
        "images",
        "lock",
        "probe",
    ],
    &["programs"],
    &["apply", "lab", "verify"],
    &["error"],
    &["ui"],
    &["global"],
    &["commands"],
    &["cli", "machine"],
    &["dispatch"],
];

/// What the half that decides must not reach.
const OUTSIDE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "now_utc",
    "tokio",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The room that a file is in: the first part of its path below the root.
fn room(root: &Path, file: &Path) -> String {
    let first = file
        .strip_prefix(root)
        .unwrap()
        .iter()
        .next()
        .unwrap()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file: without comments.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms that code takes from: `crate::ROOM`, and each of `crate::{ROOM, ROOM::item}`.
fn taken(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect()
    };
    let mut all = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => {
                // Only the first words of the outermost braces are rooms.
                let (mut depth, mut part) = (0, String::new());
                for c in list.chars() {
                    match c {
                        '}' if depth == 0 => break,
                        ',' if depth == 0 => all.insert(word(&std::mem::take(&mut part))),
                        _ => {
                            depth += i32::from(c == '{') - i32::from(c == '}');
                            part.push(c);
                            false
                        }
                    };
                }
                all.insert(word(&part));
            }
            None => {
                all.insert(word(after));
            }
        }
    }
    all.remove("");
    all
}

/// What is wrong with the imports below a root. `ground` are rooms that everybody may take from.
fn wrong(root: &Path, floors: &[&[&str]], ground: &[&[&str]]) -> Vec<String> {
    let floor_of = |room: &str| floors.iter().position(|floor| floor.contains(&room));
    let below: BTreeSet<&str> = ground
        .iter()
        .flat_map(|floor| floor.iter().copied())
        .collect();
    let mut files = Vec::new();
    sources(root, &mut files);
    let mut found = Vec::new();
    for file in files {
        let own = room(root, &file);
        if matches!(own.as_str(), "lib" | "main") {
            continue;
        }
        let Some(floor) = floor_of(&own) else {
            found.push(format!(
                "{} is on no floor: give it one in tests/floors.rs",
                file.display()
            ));
            continue;
        };
        for other in taken(&code(&file))
            .into_iter()
            .filter(|other| *other != own && !below.contains(other.as_str()))
        {
            if floor_of(&other).is_none_or(|of_other| of_other >= floor) {
                found.push(format!(
                    "{} takes from {other}, which is not below {own}",
                    file.display()
                ));
            }
        }
    }
    found
}

#[test]
fn a_room_takes_only_from_the_floors_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = wrong(&root.join("crates/core/src"), DECIDING, &[]);
    found.extend(wrong(&root.join("src"), ACTING, DECIDING));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_decides_reaches_nothing_outside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/core");
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let code = code(file);
        // Tests below the code of a file may do what they like.
        let code = code
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for outside in OUTSIDE.iter().filter(|outside| code.contains(**outside)) {
            found.push(format!("{} reaches {outside}", file.display()));
        }
    }
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let crates = [
        "bollard", "openssh", "reqwest", "tokio", "tempfile", "etcetera", "uuid",
    ];
    found.extend(
        crates
            .iter()
            .filter(|name| manifest.contains(**name))
            .map(|name| format!("it depends on {name}")),
    );
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The checks above see what they are for.
#[test]
fn imports_are_read_as_they_are_written() {
    let code = "use crate::plan::{Action, Step};\nuse crate::{facts, stores::{self, consul}};\nlet x = crate::words::reason(y);";
    assert_eq!(
        taken(code).into_iter().collect::<Vec<_>>(),
        ["facts", "plan", "stores", "words"]
    );
    let upward = tempfile::tempdir().unwrap();
    std::fs::write(upward.path().join("plan.rs"), "use crate::decide;\n").unwrap();
    std::fs::write(upward.path().join("attic.rs"), "").unwrap();
    let found = wrong(upward.path(), DECIDING, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
}
