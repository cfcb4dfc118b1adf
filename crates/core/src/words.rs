//! Words of hosts and programs: made safe to print, and cut to the line that tells why something failed.

/// Lines that only lead to a manual: Docker's client ends with one of them, whatever went wrong.
const NOISE: [&str; 6] = [
    "Run 'docker",
    "See 'docker",
    "Usage:",
    "For more help",
    "Try 'docker",
    "unable to find image '",
];

/// How the line begins, or what it holds, that names the reason, in Docker's client and in package managers.
const MARKS: [&str; 8] = [
    "error response from daemon",
    "error during connect",
    "cannot connect to the docker daemon",
    "docker: ",
    "e: ",
    "error: ",
    "fatal: ",
    "level=fatal",
];

/// The line that has the reason: the last that says it is an error, or else the last that is no pointer to a manual.
#[must_use]
pub fn reason(text: &str) -> String {
    let lines: Vec<&str> = meaningful(text).collect();
    let marked = |line: &&str| {
        let line = line.to_ascii_lowercase();
        MARKS.iter().any(|mark| line.starts_with(mark)) || line.contains(MARKS[0])
    };
    let at = lines
        .iter()
        .rposition(marked)
        .or_else(|| lines.len().checked_sub(1));
    let Some(at) = at else {
        return "it says nothing".to_owned();
    };
    match (lines[at], lines.get(at + 1)) {
        // What is announced comes in the line after it.
        (line, Some(next)) if line.ends_with(':') => format!("{line} {next}"),
        (line, _) => line.to_owned(),
    }
}

/// The last lines of what a program said, without those that say nothing.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<String> = meaningful(text).map(str::to_owned).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

fn meaningful(text: &str) -> impl Iterator<Item = &str> {
    let is_noise = |line: &str| {
        let line = line.to_ascii_lowercase();
        NOISE
            .iter()
            .any(|noise| line.starts_with(&noise.to_ascii_lowercase()))
    };
    text.lines()
        .map(str::trim)
        .filter(move |line| !line.is_empty() && !is_noise(line))
}

/// Bytes from a host as text that is safe to print: a host may be hostile, and a terminal obeys escape codes. Line feeds
/// and tabs stay, every other control character becomes U+FFFD.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| *c != '\r')
        .map(|c| match c {
            '\n' | '\t' => c,
            // Bidirectional overrides reorder what a person reads.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Whether a text is a public key of WireGuard: 32 bytes in base64.
#[must_use]
pub fn is_public_key(text: &str) -> bool {
    text.len() == 44
        && text.strip_suffix('=').is_some_and(|rest| {
            rest.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_before_what_leads_to_a_manual() {
        let why = "docker: Error response from daemon: attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded";
        for words in [
            // 28 and newer.
            format!("{why}\n\nRun 'docker run --help' for more information\n"),
            // Older ones.
            format!("{why}.\nSee 'docker run --help'.\n"),
            format!("Unable to find image 'x:1' locally\n{why}\nSee 'docker run --help'.\n\n"),
            why.to_owned(),
            format!("WARNING: Error loading config file\n{why}\n"),
            // Somebody's wrapper has the last word.
            format!("{why}\nexit status 125\n"),
        ] {
            assert_eq!(reason(&words).trim_end_matches('.'), why, "{words}");
        }
        assert_eq!(
            reason("E: Unable to locate package docker.io\n"),
            "E: Unable to locate package docker.io"
        );
        assert_eq!(
            reason("Error response from daemon:\n  no space left on device\n"),
            "Error response from daemon: no space left on device"
        );
        assert_eq!(reason("first\nlast\n\n"), "last");
        for nothing in [
            "",
            "\n \n",
            "Run 'docker run --help' for more information\n",
        ] {
            assert_eq!(reason(nothing), "it says nothing");
        }
    }

    #[test]
    fn the_last_lines_are_those_that_say_something() {
        assert_eq!(
            last_lines("a\n\nb\nc\nSee 'docker --help'.\n", 2),
            ["b", "c"]
        );
        assert_eq!(last_lines("", 2), Vec::<String>::new());
    }
}
