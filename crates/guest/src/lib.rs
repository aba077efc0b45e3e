//! The program inside a sandbox.
//!
//! One static binary is the launcher ([`launch`]), the sandbox's first process ([`Init`]) and what stands at hand for
//! those who run inside. The first process has one thread and one loop; it trusts the host and nobody else. What comes
//! from inside (output, connections, file trees, processes) is hostile: all of it is bounded, and none of it can stop the
//! loop. It never holds a credential.

mod channel;
mod command;
mod init;
mod launch;
mod poll;
mod relay;
mod spool;
mod tar;

pub use command::DRAIN_GRACE;
pub use init::{Init, InitError, Setup};
pub use launch::launch;
pub use relay::{ListenError, RELAY_CONNECTIONS_MAX};
pub use spool::SPOOL_BYTES_MAX;
pub use tar::{Pack, PackError, Unpack, UnpackError};
