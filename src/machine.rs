//! The command line of Docker Machine, which the program takes when it is called `docker-machine`. The doc comments here are help texts.

use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{Args, Parser};

use crate::commands::machine::{TlsFiles, Verb};

/// As docker-machine says it: scripts read the second word.
const VERSION: &str = concat!(
    "version ",
    env!("CARGO_PKG_VERSION"),
    ", build ",
    env!("BUILD_COMMIT"),
    " (docker-cluster)"
);

/// docker-machine's verbs for hosts that you already have (its driver `generic`), by docker-cluster.
///
/// Engines are reached as docker-machine's were, at `tcp://ADDRESS:2376` with TLS on both sides; with `create --engine-api=ssh` over ssh, and
/// nothing listens on the network.
#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = NAME, version = VERSION, disable_version_flag = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 3 refused before anything was created; of `ssh` and `scp` the command's own."
)]
pub struct Machine {
    /// The folder of machines.yaml, the inventory of all machines [default: ~/.local/state/docker-cluster]
    #[arg(short, long, value_name = "FOLDER", env = "MACHINE_STORAGE_PATH")]
    pub storage_path: Option<PathBuf>,
    /// More on standard error
    #[arg(short = 'D', long, env = "MACHINE_DEBUG", value_parser = FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub debug: bool,
    /// The version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Where the CA and your certificate are.
    #[command(flatten)]
    pub tls: TlsFiles,
    #[command(flatten)]
    idle: Idle,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What docker-machine takes and nothing here needs: its own SSH, its crash reports.
#[derive(Debug, Args)]
struct Idle {
    #[arg(long, hide = true, value_name = "TOKEN")]
    github_api_token: Option<String>,
    #[arg(long, hide = true, value_name = "TOKEN")]
    bugsnag_api_token: Option<String>,
    #[arg(long, hide = true)]
    native_ssh: bool,
}

/// The name under which the program is docker-machine.
pub const NAME: &str = "docker-machine";

/// The one driver that is here.
const GENERIC: &str = "generic";

/// What docker-machine takes where no driver is named.
const DEFAULT_DRIVER: &str = "virtualbox";

/// Whether the program was called by that name.
#[must_use]
pub fn is_called(program: &str) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name == NAME)
}

/// The arguments with two dashes before long names: docker-machine takes one as well, and has no clusters of short ones.
#[must_use]
pub fn normalised(arguments: Vec<String>) -> Vec<String> {
    let mut is_theirs = false;
    let long = |word: String| match word.strip_prefix('-') {
        Some(name)
            if !name.starts_with('-')
                && name.split('=').next().is_some_and(|name| name.len() > 1) =>
        {
            format!("-{word}")
        }
        _ => word,
    };
    let each = arguments.into_iter().map(|word| {
        // What follows `ssh` is another program's.
        is_theirs |= word == "ssh" || word == "--";
        if is_theirs { word } else { long(word) }
    });
    each.collect()
}

/// The driver that `create` is asked for, if it is one that makes machines: its own options are not known here, and need not be.
#[must_use]
pub fn other_driver(arguments: &[String], default: Option<&str>) -> Option<String> {
    let verb = arguments.iter().position(|word| word == "create")?;
    let words = &arguments[verb + 1..];
    if words.iter().any(|word| word == "-h" || word == "--help") {
        return None;
    }
    let named = words
        .iter()
        .enumerate()
        .find_map(|(at, word)| match word.as_str() {
            "-d" | "--driver" => words.get(at + 1).cloned(),
            _ => ["-d=", "--driver="]
                .iter()
                .find_map(|flag| word.strip_prefix(flag))
                .map(str::to_owned),
        });
    let driver = named
        .or_else(|| default.map(str::to_owned))
        .unwrap_or_else(|| DEFAULT_DRIVER.to_owned());
    (driver != GENERIC).then_some(driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        for (typed, taken) in [
            (
                "dm create -driver generic -generic-ip-address=10.0.0.1 a",
                "dm create --driver generic --generic-ip-address=10.0.0.1 a",
            ),
            ("dm -s=/x ls -q -f={{.Name}}", "dm -s=/x ls -q -f={{.Name}}"),
            (
                "dm -native-ssh ssh a ls -la",
                "dm --native-ssh ssh a ls -la",
            ),
        ] {
            assert_eq!(normalised(words(typed)), words(taken));
        }
    }

    #[test]
    fn a_driver_that_makes_machines_is_seen_before_its_options() {
        let other = |text: &str, default| other_driver(&words(text), default);
        assert_eq!(
            other("dm create -d amazonec2 --amazonec2-region x a", None).as_deref(),
            Some("amazonec2")
        );
        assert_eq!(
            other("dm create --driver=none a", Some("generic")).as_deref(),
            Some("none")
        );
        assert_eq!(other("dm create a", None).as_deref(), Some("virtualbox"));
        assert_eq!(other("dm create a", Some("generic")), None);
        assert_eq!(other("dm create -d generic a", Some("digitalocean")), None);
        assert_eq!(other("dm create --help", None), None);
        assert_eq!(other("dm ls", None), None);
    }
}
