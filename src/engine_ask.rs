//! Questions to a host's engine by a small program there, a round trip for all of them: for what is asked so often that the start of
//! Docker's client would cost more than its answer. It is a shorter way and never the only one: who asks knows another for hosts
//! without Perl, and for an engine that is stopped or does not listen where it usually does.

use std::time::Duration;

use crate::host::{Command, MAX_OUTPUT, Output};

const ASK: &str = include_str!("../templates/host/ask.pl");

/// Exit status of the program where the engine cannot be asked in this way.
const NO_WAY: i32 = 75;

/// The same of `timeout` for a program that does not run, or that is not there.
const NO_PROGRAM: [i32; 2] = [126, 127];

/// What `timeout` exits with when the time is over, and with `-k` when it had to kill.
const TIMED_OUT: [i32; 2] = [124, 137];

/// What the engine answers in a status that stands for no answer.
const SILENT: u16 = 0;

/// How long the engine may take for what it has in memory.
pub const PROMPT: Duration = Duration::from_secs(15);

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    method: &'static str,
    path: String,
    patience: Duration,
    body: String,
}

impl Question {
    fn new(method: &'static str, path: impl Into<String>, patience: Duration) -> Self {
        Self {
            method,
            path: path.into(),
            patience,
            body: String::new(),
        }
    }

    /// What the engine has there.
    pub fn get(path: impl Into<String>, patience: Duration) -> Self {
        Self::new("GET", path, patience)
    }

    /// Something that it is to do. `{Id}` in the path is the id that the last answer with one has told.
    pub fn post(
        path: impl Into<String>,
        body: Option<&serde_json::Value>,
        patience: Duration,
    ) -> Self {
        Self {
            body: body.map(ToString::to_string).unwrap_or_default(),
            ..Self::new("POST", path, patience)
        }
    }

    /// Something that it is to remove.
    pub fn delete(path: impl Into<String>, patience: Duration) -> Self {
        Self::new("DELETE", path, patience)
    }

    /// A file of the host.
    pub fn file(path: &str) -> Self {
        Self::new("FILE", path, Duration::ZERO)
    }

    /// What the host's clocks show, now and for each container of the answer before.
    pub fn times() -> Self {
        Self::new("TIMES", "-", Duration::ZERO)
    }
}

/// What the engine said to one question.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status; 0 where it did not answer in time, or not to the end.
    pub status: u16,
    /// Its words, or its bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether it is what was asked for.
    #[must_use]
    pub fn is_well(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Its document, if it is one.
    #[must_use]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What it says instead.
    #[must_use]
    pub fn words(&self) -> String {
        let text = crate::words::printable(&self.body);
        match self.json::<serde_json::Value>() {
            Some(document) if self.status != SILENT => match document["message"].as_str() {
                Some(message) => crate::words::printable(message.as_bytes()),
                None => text,
            },
            _ => text,
        }
    }
}

/// The command that asks all of them, one after the other, until one is not answered well.
#[must_use]
pub fn command(questions: &[Question]) -> Command {
    let mut text = Vec::new();
    for question in questions {
        let Question {
            method,
            path,
            patience,
            body,
        } = question;
        let seconds = patience.as_secs();
        text.extend(format!("{method} {path} {seconds} {}\n{body}", body.len()).into_bytes());
    }
    Command::new(["perl", "-e", ASK, &MAX_OUTPUT.to_string()]).stdin(text)
}

/// The answers in what the command gave back: none where this host cannot be asked in this way, or has not said all.
#[must_use]
pub fn read(output: &Output) -> Option<Vec<Answer>> {
    if output.status != 0 {
        return None;
    }
    let (mut answers, mut rest) = (Vec::new(), output.stdout.as_slice());
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (status, length) = std::str::from_utf8(&rest[..end]).ok()?.split_once(' ')?;
        let (status, length) = (status.parse().ok()?, length.parse::<usize>().ok()?);
        let body = rest[end + 1..].get(..length)?.to_vec();
        rest = &rest[end + 1 + length..];
        answers.push(Answer { status, body });
    }
    (!answers.is_empty()).then_some(answers)
}

/// Whether the host cannot be asked in this way, so that nothing was.
#[must_use]
pub fn is_no_way(output: &Output) -> bool {
    output.status == NO_WAY || NO_PROGRAM.contains(&output.status)
}

/// Whether the time of all questions was over before they were answered.
#[must_use]
pub fn has_run_out(output: &Output) -> bool {
    TIMED_OUT.contains(&output.status)
}

/// What a command in a container said, out of the engine's stream of it: frames of a byte for the stream, three of nothing, a length and so
/// many bytes. None if it was cut.
#[must_use]
pub fn streams(mut raw: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    /// Bytes before each frame's own.
    const HEAD: usize = 8;
    /// The stream of errors.
    const STDERR: u8 = 2;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while !raw.is_empty() {
        let head: [u8; HEAD] = raw.get(..HEAD)?.try_into().ok()?;
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let end = HEAD.checked_add(usize::try_from(length).ok()?)?;
        let bytes = raw.get(HEAD..end)?;
        match head[0] {
            STDERR => stderr.extend_from_slice(bytes),
            _ => stdout.extend_from_slice(bytes),
        }
        raw = &raw[end..];
    }
    Some((stdout, stderr))
}

/// A text as it is written in the query of a path.
#[must_use]
pub fn in_query(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                written.push(char::from(byte));
            }
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: i32, stdout: &[u8]) -> Output {
        Output {
            status,
            stdout: stdout.to_vec(),
            stderr: Vec::new(),
        }
    }

    #[test]
    fn answers_are_told_apart_by_their_lengths() {
        let answers = read(&said(
            0,
            b"200 5\n1\n2\n3204 0\n404 22\n{\"message\":\"no such\"}\n",
        ))
        .unwrap();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 204, 404]);
        assert_eq!(answers[0].body, b"1\n2\n3");
        assert_eq!(answers[2].words(), "no such");
        assert!(answers[1].is_well() && !answers[2].is_well());
        for lie in [
            "200 9\nshort",
            "200 99999999999999999999\n",
            "x 1\na",
            "200\n",
            "no end",
            "",
        ] {
            assert!(read(&said(0, lie.as_bytes())).is_none(), "{lie}");
        }
        assert!(read(&said(NO_WAY, b"200 0\n")).is_none());
        for (status, no_way) in [
            (NO_WAY, true),
            (127, true),
            (126, true),
            (124, false),
            (0, false),
        ] {
            assert_eq!(is_no_way(&said(status, b"")), no_way, "{status}");
        }
    }

    #[test]
    fn a_commands_streams_are_told_apart() {
        let frame = |stream: u8, text: &str| {
            let mut bytes = vec![stream, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()];
            bytes.extend_from_slice(text.as_bytes());
            bytes
        };
        let raw = [
            frame(1, "a\n"),
            frame(2, "no"),
            frame(1, ""),
            frame(1, "b\n"),
        ]
        .concat();
        assert_eq!(streams(&raw), Some((b"a\nb\n".to_vec(), b"no".to_vec())));
        assert_eq!(streams(&raw[..raw.len() - 1]), None);
        assert_eq!(streams(&[1, 0, 0, 0, 255, 255, 255, 255]), None);
        assert_eq!(streams(&[]), Some((Vec::new(), Vec::new())));
    }

    #[test]
    fn a_query_has_nothing_but_plain_bytes() {
        assert_eq!(in_query("{\"a b\":é}"), "%7B%22a%20b%22%3A%C3%A9%7D");
    }
}
