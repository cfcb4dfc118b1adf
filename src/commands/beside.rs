//! Beside an ssh: for commands that talk with a person or with Docker's client while they run. What a login prints before they begin is
//! not let through.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::error::{Error, Exit};
use crate::host::{Retries, Spoken, Terminal, copy_framed, ssh_arguments, system_ssh};
use crate::inventory::SshSpec;

/// Exit status of ssh where it is ssh that failed.
pub const SSH_FAILED: i32 = 255;

/// Whether what is typed here reaches the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// It does.
    Passed,
    /// Nothing does: a script that runs this in a loop keeps its own input.
    None,
    /// Nothing does, and it ends when this program ends.
    Held,
}

/// Runs a command on a host, over the connection that is there, and ends as it ends.
pub fn speak(
    spec: &SshSpec,
    spoken: &Spoken,
    terminal: Terminal,
    input: Input,
) -> Result<Exit, Error> {
    let arguments =
        ssh_arguments(spec).map_err(|error| Error::failed("cannot prepare ssh").because(error))?;
    let mut ssh = Command::new(system_ssh());
    ssh.args(arguments).arg(if terminal == Terminal::Yes {
        "-t"
    } else {
        "-T"
    });
    match input {
        Input::Passed => {}
        Input::None => drop(ssh.stdin(Stdio::null())),
        Input::Held => drop(ssh.stdin(Stdio::piped())),
    }
    beside(
        ssh.arg("--").arg(&spec.address).arg(spoken.line()),
        spoken,
        &format!("nothing can be run on {}", spec.destination()),
    )
}

/// Runs ssh, and lets through what is the command's. Ends as ssh ends. `refused` says what it means if the command does not begin.
pub fn beside(ssh: &mut Command, spoken: &Spoken, refused: &str) -> Result<Exit, Error> {
    let mut retries = Retries::default();
    loop {
        let failed = |error| Error::failed("cannot run ssh").because(error);
        let Heard {
            code,
            instead,
            words,
        } = hear(ssh, spoken).map_err(failed)?;
        match instead {
            None => std::process::exit(code),
            // ssh failed, and has said why. What is for the engine is still unread: ssh reads nothing before it has logged in.
            Some(said) if code == SSH_FAILED && said.is_empty() => {
                match retries.pause_after(&String::from_utf8_lossy(&words)) {
                    Some(pause) => std::thread::sleep(pause),
                    None => {
                        let _ = io::stderr().write_all(&words);
                        std::process::exit(code)
                    }
                }
            }
            Some(said) => {
                let error = spoken.refusal(&said, &words);
                return Err(Error::failed(refused).because(&error).hint(error.hint()));
            }
        }
    }
}

/// How an ssh ended.
struct Heard {
    code: i32,
    /// What came on standard output, if the command did not begin.
    instead: Option<Vec<u8>>,
    /// What came on standard error in that case.
    words: Vec<u8>,
}

fn hear(ssh: &mut Command, spoken: &Spoken) -> io::Result<Heard> {
    let mut child = ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("its output cannot be heard"));
    };
    // Files, not Rust's own handles, which keep back what does not end in a line feed.
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (heard, words) = std::thread::scope(|scope| {
        // What ssh itself says is kept back as well: that a session was refused, and that it therefore makes a connection of its own.
        let errors = scope.spawn(move || let_through(stderr, err, |bytes| spoken.begins(bytes)));
        let heard = let_through(stdout, out, |bytes| spoken.begins(bytes));
        (heard, errors.join())
    });
    let status = child.wait()?;
    Ok(Heard {
        code: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
        // A client that has hung up is not an error of ours.
        instead: heard.ok().and_then(Result::err),
        words: words
            .ok()
            .and_then(Result::ok)
            .and_then(Result::err)
            .unwrap_or_default(),
    })
}

/// Copies what is the command's. Between pipes the kernel moves the bytes, which it must not do into a file: it takes the place where it
/// writes from before it waits, so that of two streams in one file (`2>&1`) each wrote over the other, and over what came later.
fn let_through(
    from: impl Read,
    to: File,
    begins: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<Result<(), Vec<u8>>> {
    match to.metadata()?.is_file() {
        true => copy_framed(from, Written(to), begins),
        false => copy_framed(from, to, begins),
    }
}

/// A file that is written to: the kernel does not know it behind this type.
struct Written(File);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_streams_in_one_file_do_not_write_over_each_other() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::create(path.path()).unwrap();
        let begins = |bytes: &[u8]| bytes.starts_with(b">").then_some(1);
        let (from_out, mut out) = io::pipe().unwrap();
        let (from_err, mut err) = io::pipe().unwrap();
        std::thread::scope(|scope| {
            for from in [from_out, from_err] {
                let to = file.try_clone().unwrap();
                scope.spawn(move || let_through(from, to, begins).unwrap().unwrap());
            }
            // Time for the one that has nothing to say to wait for it.
            let say = |out: &mut dyn Write, text: &str| {
                out.write_all(text.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(50));
            };
            say(&mut err, ">");
            say(&mut out, ">one\n");
            say(&mut err, "two\n");
            say(&mut out, "three\n");
            drop((out, err));
        });
        (&file).write_all(b"later\n").unwrap();
        let text = std::fs::read_to_string(path.path()).unwrap();
        assert_eq!(text, "one\ntwo\nthree\nlater\n");
    }
}
