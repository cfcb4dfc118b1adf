//! Whom the CA of the engines has given certificates: a line each in a file of root's, on the hosts that keep the CA. Any laptop can read
//! it there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::{Command, Connection, HostError};
use crate::paths::CLIENTS;

/// How long a line may take to be written or the file to be read.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Adds a line, for root alone. Arguments: FILE LINE.
const ADD: &str = r#"set -eu
umask 077
mkdir -p "$(dirname "$1")"
printf '%s\n' "$2" >> "$1"
sync "$1" 2>/dev/null || sync"#;

/// Prints the file, if there is one. Argument: FILE.
const READ: &str = r#"[ ! -e "$1" ] || cat "$1""#;

/// A certificate that was given to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// To whom.
    pub name: String,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// When it ends, in seconds since 1970.
    pub ends: i64,
    /// What names the CA that it is of.
    pub ca: String,
    /// By whom: `user@machine`.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// Writes one down on a host.
pub async fn add(host: &Connection, given: &Given) -> Result<(), HostError> {
    let line = serde_json::json!(given).to_string();
    let command = Command::script(ADD, [CLIENTS.to_owned(), line]).timeout(TIMEOUT);
    host.check(&command).await.map(drop)
}

/// All that a host knows of. A line that is not understood is none.
pub async fn read(host: &Connection) -> Result<Vec<Given>, HostError> {
    let command = Command::script(READ, [CLIENTS.to_owned()]).timeout(TIMEOUT);
    let text = host.check(&command).await?;
    let lines = text.lines();
    Ok(lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// What several hosts know of, each once, in the order in which they were given.
#[must_use]
pub fn merged(all: Vec<Vec<Given>>) -> Vec<Given> {
    let by_number: BTreeMap<String, Given> = all
        .into_iter()
        .flatten()
        .map(|given| (given.serial.clone(), given))
        .collect();
    let mut all: Vec<Given> = by_number.into_values().collect();
    all.sort_by(|a, b| (a.at, &a.serial).cmp(&(b.at, &b.serial)));
    all
}

/// Whose last certificate ends within so many seconds, and in how many. Who has a later one is not told of an earlier one.
#[must_use]
pub fn ending<'a>(all: &'a [Given], now: i64, ca: &str, soon: i64) -> Vec<(&'a str, i64)> {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    let valid = |given: &&Given| given.standing(now, ca) == Standing::Valid;
    for given in all.iter().filter(valid) {
        let left = last.entry(&given.name).or_default();
        *left = (*left).max(given.ends - now);
    }
    last.into_iter().filter(|(_, left)| *left < soon).collect()
}

/// What a certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It opens the engines.
    Valid,
    /// Its time is over.
    Expired,
    /// It is of a CA that the engines trust no more.
    Ended,
}

impl Standing {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Ended => "ended",
        }
    }
}

impl Given {
    /// What it is good for, at a time, where the engines trust this CA.
    #[must_use]
    pub fn standing(&self, now: i64, ca: &str) -> Standing {
        match (self.ca == ca, self.ends > now) {
            (false, _) => Standing::Ended,
            (true, false) => Standing::Expired,
            (true, true) => Standing::Valid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(serial: &str, ca: &str, at: i64, ends: i64) -> Given {
        let text = |text: &str| text.to_owned();
        Given {
            name: text("ada"),
            serial: text(serial),
            ends,
            ca: text(ca),
            by: text("ada@laptop"),
            at,
        }
    }

    #[test]
    fn what_two_hosts_know_is_told_once() {
        let (first, second) = (given("b", "x", 1, 9), given("a", "x", 2, 9));
        let all = merged(vec![
            vec![second.clone(), first.clone()],
            vec![first.clone()],
        ]);
        assert_eq!(all, [first, second]);
    }

    #[test]
    fn who_has_a_later_one_is_not_told_of_an_earlier_one() {
        let all = [
            given("a", "x", 1, 20),
            given("b", "y", 1, 90),
            given("c", "x", 1, 5),
        ];
        assert_eq!(ending(&all, 10, "x", 15), [("ada", 10)]);
        assert_eq!(ending(&all, 10, "x", 10), []);
        assert_eq!(
            ending(&all, 30, "x", 15),
            [],
            "what has ended is not told of"
        );
    }

    #[test]
    fn a_certificate_ends_with_its_time_or_its_ca() {
        assert_eq!(given("a", "x", 1, 9).standing(8, "x"), Standing::Valid);
        assert_eq!(given("a", "x", 1, 9).standing(9, "x"), Standing::Expired);
        assert_eq!(given("a", "x", 1, 9).standing(8, "y"), Standing::Ended);
    }
}
