//! The door from a sandbox to hosts: an HTTP proxy that denies by default.
//!
//! One parser ([`parse_head`]) reads every request, strictly; one policy ([`Policy`]) says what may be reached; one resolver
//! ([`Resolve`]) gives the addresses, and the address that was checked is the one that is dialled. Private, local and
//! reserved addresses are never dialled, unless the owner listed that very address.
//!
//! A tunnel (`CONNECT`) that speaks TLS must name in it the host that was asked for; beyond that its bytes are not looked at.
//! Where a rule is for certain paths or methods, or a secret is bound to the host, the tunnel is looked into
//! ([`Inspection`]): TLS ends here, each request in it is read by the same parser and judged by itself, and goes on by TLS
//! of our own. Plain requests (`GET http://host/`) are judged in the same way. Redirects are never followed here.
//!
//! Start at [`Egress::serve`].

mod address;
mod answer;
mod authority;
mod body;
mod bound;
mod budget;
mod courier;
mod head;
mod hello;
mod link;
mod path;
mod policy;
mod pump;
mod refusal;
mod requests;
mod resolve;
mod serve;
mod stream;

pub use address::refused_range;
pub use authority::{AuthorityError, Inspection, StoredAuthority};
pub use body::{Body, Framing};
pub use bound::{Bound, BoundError, BoundSecrets, PLACEHOLDER_PREFIX, check_header, check_value, placeholder};
pub use budget::{Budget, Spent, Used};
pub use courier::{ADDRESS_BYTES_MAX, Address, AddressError, Answer, Courier, CourierError, Reach};
pub use head::{Aim, HEAD_BYTES_MAX, Head, HeadError, Target, parse_head};
pub use hello::{Gate, HELLO_BYTES_MAX, HelloError};
pub use path::canonical_path;
pub use policy::{Asked, CONNECTIONS_MAX, Ceiling, Policy, Report, Slots, Watch};
pub use refusal::Refusal;
pub use resolve::{Resolve, SystemResolver};
pub use serve::{Egress, Limits};
