//! Commands whose streams stay open: what a login says before they begin is passed over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use openssh::Session;
use tokio::io::{AsyncRead, ReadBuf};

use super::HostError;
use super::wire::{Heard, MAX_NOISE, Marks, refused};
use crate::inventory::SshSpec;

/// How much is read at a time while the beginning is looked for, in bytes.
const PIECE: usize = 16384;

/// A running command with open streams.
#[derive(Debug)]
pub struct Stream {
    pub(super) child: openssh::Child<Arc<Session>>,
    pub(super) beginning: Beginning,
}

impl Stream {
    /// Its standard input.
    pub fn stdin(&mut self) -> Option<openssh::ChildStdin> {
        self.child.stdin().take()
    }

    /// Its standard output. Reading fails with a [`HostError`] if the command does not begin.
    pub fn stdout(&mut self) -> Option<StreamOutput> {
        let inner = self.child.stdout().take()?;
        Some(StreamOutput {
            inner,
            beginning: self.beginning.clone(),
            state: State::Before(Vec::new()),
        })
    }
}

/// What is known of a command before it begins.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    pub marks: Marks,
    pub spec: SshSpec,
    pub command: String,
}

impl Beginning {
    fn error(&self, stdout: &[u8]) -> HostError {
        match self.marks.refusal(stdout, &[]) {
            heard @ (Heard::NotRoot(..) | Heard::NoShell(_)) if !stdout.is_empty() => {
                refused(&self.spec, heard, &self.command)
            }
            _ => HostError::Disconnected {
                command: self.command.clone(),
            },
        }
    }
}

/// The standard output of a [`Stream`], from where the command begins.
#[derive(Debug)]
pub struct StreamOutput {
    inner: openssh::ChildStdout,
    beginning: Beginning,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What has been read; the command has not begun.
    Before(Vec<u8>),
    /// What was read with the mark and follows it.
    Left(Vec<u8>, usize),
    /// Nothing is between.
    Through,
}

impl AsyncRead for StreamOutput {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Through => return Pin::new(&mut this.inner).poll_read(context, into),
                State::Left(bytes, at) => {
                    let count = into.remaining().min(bytes.len() - *at);
                    into.put_slice(&bytes[*at..*at + count]);
                    *at += count;
                    if *at == bytes.len() {
                        this.state = State::Through;
                    }
                    if count > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Before(bytes) => {
                    let mut piece = [0; PIECE];
                    let mut buffer = ReadBuf::new(&mut piece);
                    ready!(Pin::new(&mut this.inner).poll_read(context, &mut buffer))?;
                    bytes.extend_from_slice(buffer.filled());
                    if let Some(at) = this.beginning.marks.beginning(bytes) {
                        this.state = State::Left(std::mem::take(bytes), at);
                    } else if buffer.filled().is_empty() || bytes.len() > MAX_NOISE {
                        return Poll::Ready(Err(io::Error::other(this.beginning.error(bytes))));
                    }
                }
            }
        }
    }
}

/// Passes on what follows a mark, and nothing before it. Returns what came instead, if it never came.
pub fn copy_framed(
    mut from: impl io::Read,
    mut to: impl io::Write,
    begins: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<Result<(), Vec<u8>>> {
    let mut before = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        let read = from.read(&mut piece)?;
        before.extend_from_slice(&piece[..read]);
        if let Some(at) = begins(&before) {
            to.write_all(&before[at..])?;
            to.flush()?;
            io::copy(&mut from, &mut to)?;
            return Ok(Ok(()));
        }
        if read == 0 || before.len() > MAX_NOISE {
            return Ok(Err(before));
        }
    }
}
