//! Many commands over one SSH session: a small program on the host runs them one after the other.
//!
//! A session of its own for each command costs two round trips, a login shell, and sudo; over this it is one round trip.

use std::pin::Pin;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{Command, HostError, MAX_OUTPUT, Output};

const RUNNER: &str = include_str!("../../templates/host/runner.pl");

/// What goes to a command this way at most, in bytes: the program holds it in memory. Images and programs go their own way.
pub(super) const MAX_INPUT: usize = 1 << 20;

/// Longest line of the program's own, in bytes: three numbers.
const MAX_LINE: u64 = 100;

/// The command that starts the program.
pub(super) fn command() -> Command {
    Command::new(["perl", "-e", RUNNER, &MAX_OUTPUT.to_string()])
}

/// How a command failed to be run.
#[derive(Debug)]
pub(super) enum Broken {
    /// The program never began, so that nothing was run: the host may lack Perl.
    NeverBegan,
    /// It ended, or said what it cannot say. What became of the command is not known.
    Lost,
    /// The command said more than is kept.
    TooMuch,
}

/// The program on a host, as seen from here.
pub(super) struct Runner {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: BufReader<Pin<Box<dyn AsyncRead + Send>>>,
    has_begun: bool,
    /// Held: their end is the program's.
    _held: Box<dyn std::any::Any + Send>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Runner")
            .field("has_begun", &self.has_begun)
            .finish_non_exhaustive()
    }
}

impl Runner {
    /// `held` is what must live as long as the streams do.
    pub fn new(
        held: impl Send + 'static,
        input: impl AsyncWrite + Send + 'static,
        output: impl AsyncRead + Send + 'static,
    ) -> Self {
        let output: Pin<Box<dyn AsyncRead + Send>> = Box::pin(output);
        Self {
            input: Box::pin(input),
            output: BufReader::new(output),
            has_begun: false,
            _held: Box::new(held),
        }
    }

    /// Runs a command, as root if the program does. After an error this one is of no more use.
    pub async fn run(&mut self, command: &Command) -> Result<Output, Broken> {
        let argv = command.limited().join("\0");
        let mut request = format!("{} {}\n{argv}", argv.len(), command.stdin.len()).into_bytes();
        request.extend_from_slice(&command.stdin);
        // Sent before the program is known to run: it costs no round trip of its own.
        let sent = async {
            self.input
                .write_all(&request)
                .await
                .and(self.input.flush().await)
        }
        .await;
        if !self.has_begun {
            if self.line().await.as_deref() != Some("ready") {
                return Err(Broken::NeverBegan);
            }
            self.has_begun = true;
        }
        sent.map_err(|_| Broken::Lost)?;
        let line = self.line().await.ok_or(Broken::Lost)?;
        let numbers: Vec<usize> = line
            .split(' ')
            .map_while(|word| word.parse().ok())
            .collect();
        let [status, stdout, stderr] = numbers[..] else {
            return Err(Broken::Lost);
        };
        if stdout > MAX_OUTPUT || stderr > MAX_OUTPUT {
            return Err(Broken::TooMuch);
        }
        let status = i32::try_from(status).map_err(|_| Broken::Lost)?;
        Ok(Output {
            status,
            stdout: self.bytes(stdout).await?,
            stderr: self.bytes(stderr).await?,
        })
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (&mut self.output)
            .take(MAX_LINE)
            .read_line(&mut line)
            .await
            .ok()?;
        line.strip_suffix('\n').map(str::to_owned)
    }

    async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        let read = (&mut self.output)
            .take(count as u64)
            .read_to_end(&mut bytes)
            .await;
        if read.is_ok_and(|read| read == count) {
            Ok(bytes)
        } else {
            Err(Broken::Lost)
        }
    }
}

impl Broken {
    /// The error of a command that was being run; none if it can be run in another way.
    pub fn error(self, command: &Command) -> Option<HostError> {
        match self {
            Self::NeverBegan => None,
            Self::Lost => Some(HostError::Disconnected {
                command: command.display(),
            }),
            Self::TooMuch => Some(HostError::TooMuchOutput {
                command: command.display(),
                limit: MAX_OUTPUT,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    fn started(program: &str, args: &[&str]) -> Runner {
        let mut child = tokio::process::Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Runner::new(child, input, output)
    }

    fn perl() -> Runner {
        started("perl", &["-e", RUNNER, &MAX_OUTPUT.to_string()])
    }

    #[tokio::test]
    async fn commands_run_one_after_the_other_with_their_own_streams() {
        let mut runner = perl();
        let output = runner
            .run(&Command::script(
                "cat /dev/null; echo \"$1\"; echo no >&2; exit 3",
                ["a b\n$(id)"],
            ))
            .await;
        let output = output.unwrap();
        assert_eq!(
            (output.status, &*output.stdout, &*output.stderr),
            (3, &b"a b\n$(id)\n"[..], &b"no\n"[..])
        );
        // Every byte there and back, more than any pipe holds.
        let bytes: Vec<u8> = (0..MAX_INPUT).map(|at| (at % 251) as u8).collect();
        let output = runner
            .run(&Command::new(["cat"]).stdin(bytes.clone()))
            .await
            .unwrap();
        assert_eq!((output.status, output.stdout == bytes), (0, true));
        // One that does not read what it is given, one that is killed, one that is not there.
        assert_eq!(
            runner
                .run(&Command::new(["true"]).stdin(bytes))
                .await
                .unwrap()
                .status,
            0
        );
        assert_eq!(
            runner
                .run(&Command::new(["sh", "-c", "kill -9 $$"]))
                .await
                .unwrap()
                .status,
            128 + 9
        );
        assert_eq!(
            runner
                .run(&Command::new(["no-such-program"]))
                .await
                .unwrap()
                .status,
            127
        );
        let output = runner
            .run(&Command::new(["sh", "-c", "yes | head -n 1"]))
            .await
            .unwrap();
        assert_eq!(
            (output.status, &*output.stdout),
            (0, &b"y\n"[..]),
            "SIGPIPE ends a program as usual"
        );
    }

    #[tokio::test]
    async fn endless_talk_ends_and_a_host_without_perl_is_told_apart() {
        let mut runner = perl();
        let endless = runner.run(&Command::new(["cat", "/dev/zero"])).await;
        assert!(matches!(endless, Err(Broken::TooMuch)), "{endless:?}");
        let mut runner = started("sh", &["-c", "exit 127"]);
        let none = runner.run(&Command::new(["true"])).await;
        assert!(matches!(none, Err(Broken::NeverBegan)), "{none:?}");
        for lie in [
            "ready; 0 99999999999999999999 1; ",
            "ready; 0 5 0; hi",
            "ready; -1 0 0; ",
            "ready; ",
            "ready; 0 18446744073709551615 0; ",
        ] {
            let mut runner = started("printf", &[&lie.replace("; ", "\n")]);
            let told = runner.run(&Command::new(["true"])).await;
            assert!(
                matches!(told, Err(Broken::Lost | Broken::TooMuch)),
                "{lie}: {told:?}"
            );
        }
    }
}
