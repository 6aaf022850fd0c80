//! A process that asks back before it answers. It ends when its input is closed.

use std::{io, time::Duration};

use bytes::Bytes;
use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::timeout,
};

use crate::{
    frame,
    worker::{Error, FETCH, MAX_DIAGNOSTICS, Workers, explain},
};

/// How long the error output of a killed process is read. Where no filter refuses it, a process can leave children that hold the output.
const DIAGNOSTICS_TIMEOUT: Duration = Duration::from_secs(5);

/// A running process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    errors: ChildStderr,
}

/// What the process reads.
#[derive(Debug)]
pub struct Input(ChildStdin);

/// What the process writes.
#[derive(Debug)]
pub struct Output(BufReader<ChildStdout>);

impl Workers {
    /// Starts a process that fetches packages.
    ///
    /// # Errors
    /// The executable is missing, or the machine has no processes left.
    pub fn fetch(&self) -> Result<(Session, Input, Output), Error> {
        let mut child = self.start(FETCH).map_err(Error::Start)?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(errors)) => Ok((Session { child, errors }, Input(stdin), Output(BufReader::new(stdout)))),
            _ => Err(Error::Start(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Session {
    /// Ends a process whose work is done.
    pub async fn stop(mut self) {
        let _ = self.child.kill().await;
    }

    /// Ends the process, and says why it did not answer.
    pub async fn end(mut self) -> Error {
        // One that has ended already keeps its status.
        let _ = self.child.start_kill();
        let mut diagnostics = Vec::new();
        let _ = timeout(DIAGNOSTICS_TIMEOUT, self.errors.take(MAX_DIAGNOSTICS).read_to_end(&mut diagnostics)).await;
        match self.child.wait().await {
            Ok(status) => explain(status, &diagnostics, None),
            Err(error) => Error::Start(error),
        }
    }
}

impl Input {
    /// Writes one frame.
    ///
    /// # Errors
    /// The message is longer than [`frame::MAX_REQUEST`], or the process has ended.
    pub async fn write(&mut self, message: &impl Message) -> io::Result<()> {
        let bytes = message.encode_to_vec();
        self.0.write_all(&frame::header(bytes.len(), frame::MAX_REQUEST)?).await?;
        self.0.write_all(&bytes).await?;
        self.0.flush().await
    }
}

impl Output {
    /// Reads one frame.
    ///
    /// # Errors
    /// The process has ended, or wrote no message of at most `limit` bytes.
    pub async fn read<M: Message + Default>(&mut self, limit: usize) -> io::Result<M> {
        let mut header = [0; 4];
        self.0.read_exact(&mut header).await?;
        let length = frame::length(header, limit)?;
        let mut message = Vec::new();
        (&mut self.0).take(length as u64).read_to_end(&mut message).await?;
        if message.len() != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        M::decode(Bytes::from(message)).map_err(io::Error::other)
    }
}
