//! Servers of agents in the browser of this machine, each under a name of its own: `http://NAME.localhost:PORT/`.
//!
//! A browser keeps what belongs to one origin from all others. So each session has an origin that no other session ever gets, and neither the
//! dashboard nor the API is part of it. A request under such a name reaches nothing but the one server inside; it is answered only when it
//! comes from this machine, names its host once, and brings the session cookie that the one-time link of `lazaret agents open` gave.

mod grants;
mod proxy;

pub(crate) use grants::Ports;
pub(crate) use proxy::beside;
