//! The door from a sandbox to hosts: an HTTP proxy that knows one method, `CONNECT`, and denies by default.
//!
//! One parser ([`parse_head`]) reads the request, strictly; one policy ([`Policy`]) says which host and port may be
//! reached; one resolver ([`Resolve`]) gives the addresses, and the address that was checked is the one that is dialled.
//! Private, local and reserved addresses are never dialled, unless the owner listed that very address. A connection that
//! speaks TLS must name in it the host that was asked for. Beyond that the bytes are not looked at.
//!
//! Start at [`Egress::serve`].

mod address;
mod head;
mod hello;
mod policy;
mod pump;
mod refusal;
mod resolve;
mod serve;

pub use address::refused_range;
pub use head::{HEAD_BYTES_MAX, HeadError, Target, parse_head};
pub use hello::{Gate, HELLO_BYTES_MAX, HelloError};
pub use policy::{CONNECTIONS_MAX, Policy, Report, Slots, Watch};
pub use refusal::Refusal;
pub use resolve::{Resolve, SystemResolver};
pub use serve::{Egress, Limits};
