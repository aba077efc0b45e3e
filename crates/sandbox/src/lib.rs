//! Sandboxes: from a [`Request`] to a running, isolated environment, and back to nothing.
//!
//! This crate makes the directories, control groups, users and sockets of a sandbox, starts the guest program that
//! builds it, and speaks with the guest over the control channel: commands, files, signals. Everything that a sandbox
//! may hold on the host is written down before it is made, so that a process killed at any line leaves nothing that
//! the next [`Sandboxes::adopt`] does not find.
//!
//! It does not know what a session, an engine or HTTP is. A connection that a sandbox opens to a door is handed to
//! the caller's [`Doors`]; only the door `control` is handled here.
//!
//! Start at [`Sandboxes::open`], then [`Sandboxes::start`] and [`Sandbox::exec`]. [`run_direct`] is the same without a
//! daemon, for one command with the caller's own standard streams.
//!
//! Keeps INV-2 (identity is the socket that the host opened, and the kernel's word on who connected), INV-4, INV-7,
//! INV-8 and INV-9.

mod adopt;
mod channel;
mod clean;
mod command;
mod config;
mod direct;
mod disk;
mod door;
mod error;
mod etc;
mod files;
mod forest;
mod home;
mod host;
mod image;
mod launcher;
mod layers;
mod level;
mod make;
mod outbox;
mod pool;
mod record;
mod sandbox;
mod sandboxes;
mod tarball;
mod template;
mod trees;
mod uids;
mod unpack;
mod writes;

pub use command::{Command, CommandControl, CommandOutput, CommandStdin, Output, Piece};
pub use config::{
    Config, HOST_FILE_BYTES_MAX, HOST_FILES_MAX, HostFile, HostMount, Image, NOTE_BYTES_MAX, Request, TREES_MAX, Tree, Wants, base_env,
};
pub use direct::{DirectCommand, run_direct};
pub use error::SandboxError;
pub use sandbox::{Sandbox, Stats, Summary, TarStream};
pub use sandboxes::{Adopted, Doors, Hold, Kept, Sandboxes};
pub use unpack::{Skipped, Unpacked, unpack, unpack_below};
pub use writes::Writes;

/// What [`Writes`] tells.
pub use jail::fanotify::Written;

/// The commands that the guest runs, as the wire describes them.
pub use wire::{Door, Exec, Exit, Relay, Size, Stdio};
