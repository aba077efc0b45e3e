//! The bytes between the host and the guest.
//!
//! Three forms stand here; [`chat`] is what programs of chat networks speak. A connection on a sandbox's one socket begins with a [`Door`] line that names where it wants to
//! go; after that line the gateway and egress doors speak HTTP and the broker's speaks
//! length-prefixed JSON ([`Request`] in, [`Said`] out). The control channel speaks [`Frame`]s: a fixed header
//! and a bounded payload, decoded by [`Decoder`] from whatever pieces arrive. Nothing here does I/O.
//!
//! Every byte that comes from a guest is hostile: lengths are checked before anything is reserved, unknown kinds are
//! errors, and JSON payloads refuse unknown fields. The host never sends what an older guest of the same [`VERSION`]
//! would not understand.

mod call;
pub mod chat;
mod control;
mod door;
mod frame;

pub use call::{Answer, CALL_BYTES_MAX, CALL_HEADER_BYTES, CallDecoder, CallError, ErrorBody, Origin, Request, Said, Waiting, frame_call};
pub use control::{Attach, Boot, Exec, Exit, FromGuest, Get, Launch, Put, Ready, Relay, Size, Started, Stdio, ToGuest, Trouble};
pub use door::{DOOR_LINE_BYTES_MAX, Door, DoorError};
pub use frame::{Decoder, FRAME_BYTES_MAX, Frame, FrameError, HEADER_BYTES, STDIN_WINDOW_BYTES};

/// The version of both forms. Host and guest are built together; a daemon that was upgraded refuses to adopt a guest
/// of another version and replaces its sandbox instead.
pub const VERSION: u32 = 1;
