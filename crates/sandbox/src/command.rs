//! A command inside, seen from the host.

use bytes::Bytes;
use wire::{Exit, Size};

use crate::SandboxError;

/// A running command: destructure it to use its parts from different tasks.
#[derive(Debug)]
pub struct Command {
    /// Its input, when it was started with one.
    pub stdin: Option<CommandStdin>,
    /// What it prints and how it ends.
    pub output: CommandOutput,
    /// Signals, size, acknowledgement. Cheap to clone.
    pub control: CommandControl,
}

/// The input of a command. Dropping it ends the input.
#[derive(Debug)]
pub struct CommandStdin {}

/// What a command prints. Dropping it forgets what comes later.
#[derive(Debug)]
pub struct CommandOutput {}

/// Acts on a command.
#[derive(Debug, Clone)]
pub struct CommandControl {}

/// A numbered piece of a command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its place in the command's output, from 1 without gaps.
    pub number: u64,
    /// What it is.
    pub piece: Piece,
}

/// What a command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of standard output, or of the terminal.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// It ended and nothing follows.
    Exited(Exit),
}

impl CommandStdin {
    /// Sends bytes to the command's input; waits while the command does not read.
    ///
    /// # Errors
    /// [`SandboxError::Gone`] when the sandbox ended. Input for a command that has ended is dropped.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SandboxError> {
        let _ = bytes;
        Err(SandboxError::Gone(String::new()))
    }

    /// Ends the input. The same as dropping it.
    pub fn close(self) {}
}

impl CommandOutput {
    /// The next piece; `None` after [`Piece::Exited`].
    ///
    /// # Errors
    /// The sandbox ended before the command did.
    pub async fn next(&mut self) -> Result<Option<Output>, SandboxError> {
        Ok(None)
    }
}

impl CommandControl {
    /// The process identity inside.
    #[must_use]
    pub fn pid(&self) -> i32 {
        0
    }

    /// The stream that the command has on the control channel, for [`crate::Sandbox::attach`].
    #[must_use]
    pub fn stream(&self) -> u32 {
        0
    }

    /// Pieces up to `number` are safe; the guest may forget them and sends more.
    pub fn ack(&self, number: u64) {
        let _ = number;
    }

    /// Sends a signal to the command's process group.
    pub fn signal(&self, signal: i32) {
        let _ = signal;
    }

    /// Tells the command's terminal its size.
    pub fn resize(&self, size: Size) {
        let _ = size;
    }
}
