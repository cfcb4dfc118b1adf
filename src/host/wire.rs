//! What travels to a host's login shell: one line that every shell reads the same way, and marks that frame what is ours.
//!
//! sshd hands a command line to the login shell, whatever that is, after the shell's own start files have run. So the line is made
//! of what `sh`, `bash`, `zsh`, `ksh`, `csh`, `tcsh` and `fish` all take for the same words: no line feed, no `!`, no quote within
//! quotes. What it says is decoded and read by `/bin/sh` alone. And a mark that nobody can guess is printed before the command
//! begins, and another one after it, so that what start files, a message of the day or a wrapper print is told from its output.

use super::{Command, HostError, Output, Rights};
use crate::inventory::{Become, SshSpec};
use crate::words::printable;

/// Most bytes that are passed over while a mark is waited for. A message of the day has some kilobytes.
pub(super) const MAX_NOISE: usize = 1 << 20;

/// Longest line that is sent, in bytes: the login shell gets it as one argument, and Linux takes none above 128 KiB.
const MAX_LINE: usize = 120 << 10;

/// Most lines, and most characters of each, that are told of what a host says instead of running a command.
const MAX_WORDS: (usize, usize) = (4, 200);

/// In how many of a host's last bytes its last words are looked for.
const LAST_WORDS: usize = 16 << 10;

/// Decodes its argument and runs it. Nothing in it is special between single quotes, in any shell.
const BOOT: &str = r#"PATH=$PATH:/usr/local/bin:/usr/bin:/bin:/snap/bin; eval "$(printf %b "$1")""#;

/// What a command finds in its environment, and nothing else: what somebody exports at login is for people, and must not send
/// Docker's client to another engine, Perl to other modules, or words into another language. Proxies stay, for package managers:
/// whoever sets them on a server means its programs. The usual folders come first in the PATH.
const CLEAN: &str = concat!(
    r#"env -i PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH" HOME="${HOME:-/root}" "#,
    r#"USER="${USER:-root}" LOGNAME="${LOGNAME:-root}" SUDO_USER="${SUDO_USER-}" LC_ALL=C "#,
    r#"DOCKER_HOST=unix:///var/run/docker.sock "#,
    r#"${http_proxy+"http_proxy=$http_proxy"} ${https_proxy+"https_proxy=$https_proxy"} "#,
    r#"${ftp_proxy+"ftp_proxy=$ftp_proxy"} ${no_proxy+"no_proxy=$no_proxy"} "#,
    r#"${HTTP_PROXY+"HTTP_PROXY=$HTTP_PROXY"} ${HTTPS_PROXY+"HTTPS_PROXY=$HTTPS_PROXY"} "#,
    r#"${NO_PROXY+"NO_PROXY=$NO_PROXY"} ${ALL_PROXY+"ALL_PROXY=$ALL_PROXY"} ${all_proxy+"all_proxy=$all_proxy"}"#
);

/// The engine that everything is asked of: the one whose facts are read.
const ENGINE: &str = "unix:///var/run/docker.sock";

/// What Docker's client would take from the environment instead of its arguments.
const DOCKERS_VARIABLES: &str = "DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH \
    DOCKER_API_VERSION DOCKER_MACHINE_NAME";

/// Says that this is `/bin/sh`, who has logged in, and what could make root of them: `UID SOCKET SUDO`.
const SAY_SHELL: &str = r#"socket=-; if [ -w /var/run/docker.sock ]; then socket=w; fi
sudo=-; if command -v doas >/dev/null 2>&1; then sudo=doas; fi; if command -v sudo >/dev/null 2>&1; then sudo=sudo; fi
printf '%s%s.shell %s %s %s\n' "$one" "$two" "$login" "$socket" "$sudo"; printf '%s%s.shell' "$one" "$two" >&2
"#;

/// Says that the command begins, with the rights that it is to have.
const SAY_BEGIN: &str = r#"printf '%s%s.begin' "$one" "$two"; printf '%s%s.begin' "$one" "$two" >&2
"#;

/// The same where both streams are one.
const SAY_BEGIN_ONCE: &str = r#"printf '%s%s.begin' "$one" "$two"
"#;

/// Runs a command that a person has typed, or says that it is not there as a shell says it.
pub(super) const AS_TYPED: &str = r#"if command -v "$1" >/dev/null 2>&1; then exec "$@"; fi
printf '%s: not found\n' "$1" >&2; exit 127"#;

/// Runs `run` as root.
const THROUGH_SUDO: &str = r#"exec sudo -n -- /bin/sh -c "$run" docker-cluster "$@""#;

/// How much of a command is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framed {
    /// Its beginning and its end, with its exit status.
    Whole,
    /// Its beginning: its streams stay open, and what is said on them says itself when it ends.
    Beginning,
}

/// A command as it is sent.
#[derive(Debug)]
pub(super) struct Wire {
    /// The line.
    pub line: String,
    /// What frames its output.
    pub marks: Marks,
}

impl Wire {
    /// A command with the rights that it wants.
    pub fn new(command: &Command, become_root: Become, framed: Framed) -> Result<Self, HostError> {
        let marks = Marks::new();
        let begin = format!("{}{SAY_BEGIN}", marks.halves());
        let run = match framed {
            Framed::Beginning => format!("{begin}exec {CLEAN} \"$@\""),
            Framed::Whole => format!(
                "{begin}{CLEAN} \"$@\"\nstatus=$?\nprintf '%s%s.end %s\\n' \"$one\" \"$two\" \"$status\"; \
                 printf '%s%s.end' \"$one\" \"$two\" >&2\nexit \"$status\""
            ),
        };
        let direct = "eval \"$run\"";
        let become_it = match command.rights {
            Rights::Login => direct.to_owned(),
            Rights::Engine => with_engine(become_root, direct, THROUGH_SUDO),
            Rights::Root => as_root(become_root, direct, THROUGH_SUDO),
        };
        let quoted = |words: &[String]| quote(words, &command.argv);
        let text = format!(
            "{}LC_ALL=C; export LC_ALL\nlogin=$(id -u)\n{SAY_SHELL}run={}\nset -- {}\n{become_it}",
            marks.halves(),
            quoted(&[run])?,
            quoted(&command.limited())?,
        );
        Ok(Self {
            line: line(&text, || command.display())?,
            marks,
        })
    }
}

/// A command on a host for an ssh of its own, beside which we stand: each stream begins with a mark, and what comes before it is not let
/// through.
#[derive(Debug)]
pub struct Spoken {
    line: String,
    marks: Marks,
    spec: SshSpec,
    shown: String,
}

/// Whether a command has a terminal on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// It has.
    Yes,
    /// It has not: its two streams stay two.
    No,
}

impl Spoken {
    /// Docker's client, on the engine of that host, with the right to use it. The argv begins with `docker`.
    pub fn docker(argv: &[String], spec: &SshSpec, terminal: Terminal) -> Result<Self, HostError> {
        let marks = Marks::new();
        // An engine that the arguments name is the one that was asked for.
        let names_an_engine = argv
            .iter()
            .skip(1)
            .take_while(|word| word.starts_with('-'))
            .any(|word| {
                matches!(word.as_str(), "-H" | "-c" | "--host" | "--context")
                    || word.starts_with("--host=")
                    || word.starts_with("-H")
            });
        let mut words = argv.to_vec();
        if !names_an_engine {
            // An argument and not a variable: root's own may name another context, and sudo keeps no variables.
            words.splice(1..1, ["-H", ENGINE].map(str::to_owned));
        }
        // On a terminal the second mark would be among the words of the command.
        let say = if terminal == Terminal::Yes {
            SAY_BEGIN_ONCE
        } else {
            SAY_BEGIN
        };
        let direct = format!("{say}exec \"$@\"");
        let text = format!(
            "{}LC_ALL=C; export LC_ALL; unset {DOCKERS_VARIABLES}\nlogin=$(id -u)\n{SAY_SHELL}set -- {}\n{}",
            marks.halves(),
            quote(&words, argv)?,
            with_engine(
                spec.become_root,
                &direct,
                &format!("{say}exec sudo -n -- \"$@\"")
            ),
        );
        let shown = "docker".to_owned();
        Ok(Self {
            line: line(&text, || argv.join(" "))?,
            marks,
            spec: spec.clone(),
            shown,
        })
    }

    /// Any command, with its rights and its deadline. Its standard input is that of ssh.
    pub fn of(command: &Command, spec: &SshSpec) -> Result<Self, HostError> {
        let Wire { line, marks } = Wire::new(command, spec.become_root, Framed::Beginning)?;
        Ok(Self {
            line,
            marks,
            spec: spec.clone(),
            shown: command.display(),
        })
    }

    /// The line for the login shell.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Where the command's own output begins, on either stream.
    #[must_use]
    pub fn begins(&self, bytes: &[u8]) -> Option<usize> {
        self.marks.beginning(bytes)
    }

    /// What a host's words instead of its beginning mean.
    #[must_use]
    pub fn refusal(&self, stdout: &[u8], stderr: &[u8]) -> HostError {
        refused(&self.spec, self.marks.refusal(stdout, stderr), &self.shown)
    }
}

/// The error that a command stands for which did not begin.
pub(super) fn refused(spec: &SshSpec, heard: Heard, command: &str) -> HostError {
    let destination = spec.destination();
    match heard {
        Heard::NotRoot(login, words) => HostError::NoRoot {
            destination,
            how: spec.become_root,
            login,
            words,
        },
        Heard::NoShell(words) => HostError::NoShell { destination, words },
        Heard::Ran(_) | Heard::CutOff => HostError::Disconnected {
            command: command.to_owned(),
        },
    }
}

/// The line that runs an argv with what a person's login gives it, for `docker-cluster ssh`.
pub(crate) fn for_a_person(argv: &[String]) -> Result<String, HostError> {
    let text = format!("set -- {}\n{AS_TYPED}", quote(argv, argv)?);
    line(&text, || argv.join(" "))
}

/// Becomes root in the way that is asked for: `direct` is for who is root already, and ends the shell as the other one does. Who
/// cannot become root begins nothing, and [`Marks::refusal`] says so.
fn as_root(how: Become, direct: &str, through_sudo: &str) -> String {
    let sudo = format!("if [ \"$sudo\" != sudo ]; then exit 126; fi\n{through_sudo}");
    let other = if how == Become::Root {
        "exit 126"
    } else {
        &sudo
    };
    match how {
        Become::Auto | Become::Root => {
            format!("if [ \"$login\" = 0 ]; then\n{direct}\nfi\n{other}")
        }
        Become::Sudo => sudo,
    }
}

/// The same for what only needs the engine's socket: who may use it is not made root, unless that is asked for.
fn with_engine(how: Become, direct: &str, through_sudo: &str) -> String {
    let as_root = as_root(how, direct, through_sudo);
    match how {
        Become::Auto => format!("if [ \"$socket\" = w ]; then\n{direct}\nfi\n{as_root}"),
        Become::Root | Become::Sudo => as_root,
    }
}

fn quote(words: &[String], shown: &[String]) -> Result<String, HostError> {
    shlex::try_join(words.iter().map(String::as_str)).map_err(|_| HostError::Unquotable {
        command: shown.join(" "),
    })
}

fn line(text: &str, shown: impl Fn() -> String) -> Result<String, HostError> {
    // What that shell says of an error begins with its name: `sh`, and not the text.
    let line = format!("exec /bin/sh -c '{BOOT}' sh '{}'", encode(text));
    if line.len() > MAX_LINE {
        return Err(HostError::TooLong {
            command: shown(),
            limit: MAX_LINE,
        });
    }
    Ok(line)
}

/// As `printf %b` reads it. Of what is left as it is no shell makes anything between single quotes.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 5 / 4);
    for byte in text.bytes() {
        match byte {
            b'\'' | b'\\' | b'!' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("\\0{byte:03o}")),
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

/// What nobody but the host's `/bin/sh` can say, since the line that asks for it holds it in two halves: a login shell that shows what
/// it runs (`set -x`) does not say it.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    token: String,
}

/// Who has logged in, as their shell says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// Their user id.
    pub uid: String,
    /// Whether they may use the engine's socket.
    pub may_use_engine: bool,
    /// `sudo`, `doas` or nothing: what could make root of them.
    pub sudo: String,
}

/// What a host said, and how far a command got.
#[derive(Debug)]
pub(super) enum Heard {
    /// It ran, and this is what it gave back.
    Ran(Output),
    /// It began, and its end was not heard of.
    CutOff,
    /// Root could not be had.
    NotRoot(Login, String),
    /// Nothing of ours was run: these are the host's own words.
    NoShell(String),
}

impl Marks {
    fn new() -> Self {
        Self {
            token: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// Sets `one` and `two`.
    fn halves(&self) -> String {
        let (one, two) = self.token.split_at(self.token.len() / 2);
        format!("one={one} two={two}\n")
    }

    fn shell(&self) -> String {
        format!("{}.shell", self.token)
    }

    fn begin(&self) -> String {
        format!("{}.begin", self.token)
    }

    fn end(&self) -> String {
        format!("{}.end", self.token)
    }

    /// Where the output of the command begins, if it has begun.
    pub fn beginning(&self, stdout: &[u8]) -> Option<usize> {
        after(stdout, &self.begin())
    }

    /// Where what follows the shell's mark begins.
    pub fn shell_ends(&self, bytes: &[u8]) -> Option<usize> {
        after(bytes, &self.shell())
    }

    /// Reads both streams of a command whose end is framed.
    pub fn read(&self, stdout: &[u8], stderr: &[u8]) -> Heard {
        let Some(at) = self.beginning(stdout) else {
            return self.refusal(stdout, stderr);
        };
        let stdout = &stdout[at..];
        let Some(end) = before_last(stdout, &self.end()) else {
            return Heard::CutOff;
        };
        let status = &stdout[end + self.end().len()..];
        let status = status
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let Ok(status) = String::from_utf8_lossy(status).trim().parse() else {
            return Heard::CutOff;
        };
        Heard::Ran(Output {
            status,
            stdout: stdout[..end].to_vec(),
            stderr: self.own_stderr(stderr).to_vec(),
        })
    }

    /// Of what came on standard error, that of the command. A login that closes the stream takes its marks as well.
    fn own_stderr<'a>(&self, stderr: &'a [u8]) -> &'a [u8] {
        let from = after(stderr, &self.begin())
            .or_else(|| self.shell_ends(stderr))
            .unwrap_or(0);
        let own = &stderr[from..];
        &own[..before_last(own, &self.end()).unwrap_or(own.len())]
    }

    /// Why a command did not begin.
    pub fn refusal(&self, stdout: &[u8], stderr: &[u8]) -> Heard {
        let Some(at) = self.shell_ends(stdout) else {
            return Heard::NoShell(words(&[stdout, stderr].concat()));
        };
        let said = &stdout[at..];
        let line_end = said
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(said.len());
        let line = printable(&said[..line_end]);
        let mut line = line.split_whitespace();
        let mut word = || line.next().unwrap_or_default().to_owned();
        let login = Login {
            uid: word(),
            may_use_engine: word() == "w",
            sudo: word(),
        };
        let stderr = &stderr[self.shell_ends(stderr).unwrap_or(0)..];
        Heard::NotRoot(login, words(&[&said[line_end..], stderr].concat()))
    }
}

/// The last words of a host, short enough for an error.
fn words(bytes: &[u8]) -> String {
    let text = printable(&bytes[bytes.len().saturating_sub(LAST_WORDS)..]);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let (most, longest) = MAX_WORDS;
    let shown = lines[lines.len().saturating_sub(most)..]
        .iter()
        .map(|line| match line.char_indices().nth(longest) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => (*line).to_owned(),
        });
    shown.collect::<Vec<_>>().join("\n")
}

fn after(bytes: &[u8], mark: &str) -> Option<usize> {
    let mark = mark.as_bytes();
    bytes
        .windows(mark.len())
        .position(|window| window == mark)
        .map(|at| at + mark.len())
}

fn before_last(bytes: &[u8], mark: &str) -> Option<usize> {
    let mark = mark.as_bytes();
    bytes.windows(mark.len()).rposition(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command as Local, Stdio};

    use super::*;

    /// A start file, a way of running a line, and a command: what comes of it.
    fn through(shell: &str, before: &str, after: &str, wire: &Wire, stdin: &[u8]) -> Heard {
        // A forced command can run what was asked for and say something before and after it.
        let script = format!("{before}\n{shell} -c \"$LINE\"\nstatus=$?\n{after}\nexit $status");
        let mut child = Local::new("sh")
            .args(["-c", &script])
            .env_clear()
            .envs([
                ("LINE", wire.line.as_str()),
                ("PATH", &std::env::var("PATH").unwrap()),
                ("HOME", "/tmp"),
            ])
            .envs([
                ("DOCKER_HOST", "tcp://elsewhere:1"),
                ("DOCKER_CONTEXT", "elsewhere"),
                ("PERL5LIB", "/nowhere"),
            ])
            .envs([
                ("LC_ALL", "de_DE.UTF-8"),
                ("http_proxy", "http://proxy:1"),
                ("LD_PRELOAD", ""),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        wire.marks.read(&output.stdout, &output.stderr)
    }

    fn ran(heard: Heard) -> Output {
        match heard {
            Heard::Ran(output) => output,
            other => panic!("{other:?}"),
        }
    }

    /// The login shells that this machine has; `sh` there is everywhere.
    fn shells() -> Vec<&'static str> {
        let all = [
            "sh", "dash", "bash", "zsh", "ksh", "mksh", "csh", "tcsh", "fish",
        ];
        let (there, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|shell| {
            let found = Local::new("sh")
                .args(["-c", "command -v \"$1\" >/dev/null", "sh", shell])
                .status();
            found.is_ok_and(|status| status.success())
        });
        // Past the capture of a test's output: what was not looked at is always told.
        if !missing.is_empty() {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: login shells that are not here: {}",
                missing.join(", ")
            );
        }
        there
    }

    const ARGUMENTS: [&str; 8] = [
        "a b",
        "$(id) `id` $HOME",
        "'; rm -rf /",
        "two\nlines\n",
        "!! !x",
        "\\n \\0101 \\\\",
        "äöü \u{1}",
        "",
    ];

    #[test]
    fn every_login_shell_runs_the_same_words() {
        let script = "printf '<%s>' \"$@\"; echo error >&2; cat; exit 3";
        for shell in shells() {
            for framed in [Framed::Whole, Framed::Beginning] {
                let argv = ["sh", "-c", script, "sh"].into_iter().chain(ARGUMENTS);
                let wire = Wire::new(
                    &Command::new(argv).rights(Rights::Login),
                    Become::Auto,
                    framed,
                )
                .unwrap();
                assert!(
                    !wire.line.contains(['\n', '!']) && wire.line.is_ascii(),
                    "{}",
                    wire.line
                );
                let mut stdin = ARGUMENTS.concat().into_bytes();
                stdin.extend((0..=255).cycle().take(100_000).map(|byte: u8| byte));
                let expected: String = ARGUMENTS.iter().map(|word| format!("<{word}>")).collect();
                let expected = [expected.as_bytes(), &stdin].concat();
                if framed == Framed::Beginning {
                    let mut child = Local::new(shell)
                        .args(["-c", &wire.line])
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .stderr(Stdio::null())
                        .spawn()
                        .unwrap();
                    child.stdin.take().unwrap().write_all(&stdin).unwrap();
                    let output = child.wait_with_output().unwrap();
                    let at = wire.marks.beginning(&output.stdout).unwrap();
                    assert_eq!(
                        (output.status.code(), output.stdout[at..] == expected),
                        (Some(3), true),
                        "{shell}"
                    );
                    continue;
                }
                let output = ran(through(shell, "", "", &wire, &stdin));
                assert_eq!(output.status, 3, "{shell}");
                assert!(
                    output.stdout == expected,
                    "{shell}: {}",
                    output.stdout_text()
                );
                assert_eq!(output.stderr, b"error\n", "{shell}");
            }
        }
    }

    #[test]
    fn what_a_login_prints_is_not_the_commands() {
        let command =
            Command::new(["sh", "-c", "echo out; echo err >&2; exit 4"]).rights(Rights::Login);
        let noisy = [
            "",
            "echo Welcome; echo to this host >&2",
            "printf 'no line feed'; printf % >&2",
            "set -x",
            "set -v",
        ];
        for before in noisy {
            for after in [
                "",
                "echo bye; echo bye >&2",
                "printf x; status=0",
                "printf '\\0\\377'",
            ] {
                let wire = Wire::new(&command, Become::Auto, Framed::Whole).unwrap();
                let output = ran(through("sh", before, after, &wire, b""));
                assert_eq!(
                    (output.status, &*output.stdout, &*output.stderr),
                    (4, &b"out\n"[..], &b"err\n"[..]),
                    "{before} {after}"
                );
            }
        }
        // A start file that shows what it runs, or closes a stream.
        for before in ["exec 2>&-", "exec 2>/dev/null"] {
            let wire = Wire::new(&command, Become::Auto, Framed::Whole).unwrap();
            assert_eq!(ran(through("sh", before, "", &wire, b"")).stdout, b"out\n");
        }
        let wire = Wire::new(&command, Become::Auto, Framed::Whole).unwrap();
        assert_eq!(ran(through("sh -x", "", "", &wire, b"")).stdout, b"out\n");
    }

    #[test]
    fn a_login_that_runs_nothing_is_told_apart_in_its_own_words() {
        let wire = Wire::new(&Command::new(["true"]), Become::Auto, Framed::Whole).unwrap();
        for (before, told) in [
            (
                "echo 'This account is currently not available.'; exit 1",
                "This account is currently not available.",
            ),
            (
                "echo; echo 'Please login as the user \"admin\"'; echo; exit 142",
                "Please login as the user \"admin\"",
            ),
            (
                "echo fatal: unrecognized command >&2; exit 128",
                "fatal: unrecognized command",
            ),
            ("exit 1", ""),
            // Its own line is not its word.
            ("printf '%s\\n' \"$LINE\" >/dev/null; exit 0", ""),
        ] {
            let Heard::NoShell(words) = through("sh", before, "", &wire, b"") else {
                panic!("{before}")
            };
            assert_eq!(words, told, "{before}");
        }
        // One that repeats the line, which holds the mark in two halves, is not taken for a shell.
        assert!(matches!(
            through("sh", "printf '%s' \"$LINE\"; exit 0", "", &wire, b""),
            Heard::NoShell(_)
        ));
    }

    #[test]
    fn a_command_that_is_cut_off_has_no_status() {
        let marks = Marks::new();
        let begun = format!("{} 0 - -\n{}half", marks.shell(), marks.begin());
        assert!(matches!(marks.read(begun.as_bytes(), b""), Heard::CutOff));
        assert!(matches!(
            marks.read(format!("{begun}{}", marks.end()).as_bytes(), b""),
            Heard::CutOff
        ));
        let other = Marks::new();
        assert!(matches!(
            marks.read(format!("{begun}{} 0\n", other.end()).as_bytes(), b""),
            Heard::CutOff
        ));
    }

    #[test]
    fn the_environment_of_a_login_reaches_no_command() {
        let command = Command::new(["env"]).rights(Rights::Login);
        let wire = Wire::new(&command, Become::Auto, Framed::Whole).unwrap();
        let told = ran(through(
            "sh",
            "export CONSUL_HTTP_ADDR=x DOCKER_TLS_VERIFY=1 DOCKER_CONFIG=/x",
            "",
            &wire,
            b"",
        ))
        .stdout_text();
        let mut names: Vec<&str> = told
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();
        // What shells set by themselves.
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "DOCKER_HOST",
                "HOME",
                "LC_ALL",
                "LOGNAME",
                "PATH",
                "SUDO_USER",
                "USER",
                "http_proxy"
            ]
        );
        assert!(
            told.contains("DOCKER_HOST=unix:///var/run/docker.sock\n")
                && told.contains("LC_ALL=C\n"),
            "{told}"
        );
        assert!(
            told.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"),
            "{told}"
        );
    }

    #[test]
    fn what_is_written_of_root_is_what_happens() {
        let folder = tempfile::tempdir().unwrap();
        let id = |uid: &str| {
            std::fs::write(folder.path().join("id"), format!("#!/bin/sh\necho {uid}\n")).unwrap()
        };
        let sudo = folder.path().join("sudo");
        std::fs::write(
            &sudo,
            "#!/bin/sh\n[ \"$1 $2\" = '-n --' ] || exit 1\nshift 2\nSUDO_USER=ops exec \"$@\"\n",
        )
        .unwrap();
        id("0");
        for name in ["id", "sudo"] {
            assert!(
                Local::new("chmod")
                    .arg("+x")
                    .arg(folder.path().join(name))
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let path = format!("export PATH={}:$PATH", folder.path().display());
        let command = Command::new(["sh", "-c", "echo \"<$SUDO_USER>\""]);
        let how = |how, before: &str| {
            let wire = Wire::new(&command, how, Framed::Whole).unwrap();
            through("sh", &format!("{path}; {before}"), "", &wire, b"")
        };
        let told = |heard| ran(heard).stdout_text();
        for (uid, become_root, user) in [
            ("0", Become::Auto, "<>\n"),
            ("0", Become::Root, "<>\n"),
            ("0", Become::Sudo, "<ops>\n"),
            ("1000", Become::Auto, "<ops>\n"),
            ("1000", Become::Sudo, "<ops>\n"),
        ] {
            id(uid);
            assert_eq!(told(how(become_root, "")), user, "{uid} {become_root:?}");
        }
        let Heard::NotRoot(login, _) = how(Become::Root, "") else {
            panic!()
        };
        assert_eq!((login.uid.as_str(), login.sudo.as_str()), ("1000", "sudo"));
        // Refused in whatever words, and with whatever PAM prints on the way.
        std::fs::write(
            &sudo,
            "#!/bin/sh\necho Hinweis\necho 'sudo: Passwort wird ben\u{f6}tigt' >&2\nexit 1\n",
        )
        .unwrap();
        let Heard::NotRoot(_, words) = how(Become::Auto, "echo noise; echo noise >&2") else {
            panic!()
        };
        assert_eq!(words, "Hinweis\nsudo: Passwort wird ben\u{f6}tigt");
    }

    #[test]
    fn dockers_own_client_reaches_the_engine_of_that_host() {
        let spec = |become_root| {
            let text = "hosts: [{name: a, address: 127.0.0.1}]";
            let mut spec = crate::inventory::Inventory::parse(text, "x.yaml")
                .unwrap()
                .hosts
                .remove(0)
                .ssh;
            spec.become_root = become_root;
            spec
        };
        let folder = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\necho \"$@\"; env | grep -c '^DOCKER_' \n";
        for (name, text) in [
            ("docker", script),
            (
                "sudo",
                "#!/bin/sh\nshift 2\necho through sudo; exec \"$@\"\n",
            ),
            ("id", "#!/bin/sh\necho 7\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
            assert!(
                Local::new("chmod")
                    .arg("+x")
                    .arg(folder.path().join(name))
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let asked = |argv: &[&str], how| {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            let framed = Spoken::docker(&argv, &spec(how), Terminal::No).unwrap();
            let script = "printf noise; printf noise >&2; sh -c \"$LINE\"";
            let path = format!(
                "{}:{}",
                folder.path().display(),
                std::env::var("PATH").unwrap()
            );
            let output = Local::new("sh")
                .args(["-c", script])
                .envs([
                    ("LINE", framed.line()),
                    ("PATH", &path),
                    ("DOCKER_HOST", "tcp://x:1"),
                    ("DOCKER_CONTEXT", "x"),
                ])
                .output()
                .unwrap();
            let mut passed = Vec::new();
            copy(&output.stdout, &mut passed, &framed)
                .map_err(|said| framed.refusal(&said, &output.stderr))?;
            Ok::<_, HostError>(String::from_utf8(passed).unwrap())
        };
        let dial = ["docker", "system", "dial-stdio"];
        assert_eq!(
            asked(&dial, Become::Sudo).unwrap(),
            format!("through sudo\n-H {ENGINE} system dial-stdio\n0\n")
        );
        let named = ["docker", "--host", "unix:///x.sock", "system", "dial-stdio"];
        assert_eq!(
            asked(&named, Become::Sudo).unwrap(),
            "through sudo\n--host unix:///x.sock system dial-stdio\n0\n"
        );
        let error = asked(&dial, Become::Root).unwrap_err();
        assert!(error.to_string().contains("`become: root`"), "{error}");
    }

    fn copy(from: &[u8], to: &mut Vec<u8>, framed: &Spoken) -> Result<(), Vec<u8>> {
        super::super::copy_framed(from, to, |bytes| framed.begins(bytes)).unwrap()
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        assert!(matches!(
            for_a_person(&["a\0b".to_owned()]),
            Err(HostError::Unquotable { .. })
        ));
        let long = Command::new(["echo".to_owned(), "x".repeat(MAX_LINE)]);
        assert!(matches!(
            Wire::new(&long, Become::Auto, Framed::Whole),
            Err(HostError::TooLong { .. })
        ));
    }
}
