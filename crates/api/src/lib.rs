//! The HTTP face: routes over the use cases of `app`, a file per resource.
//!
//! The same routes answer on two listeners. On the owner's Unix socket the kernel says who is there and no token is
//! needed; on TCP every route but those that tell nothing wants a token, and the `Host` header must name this machine, so
//! that a web page cannot reach it under another name. Host paths never travel as text: a client of the owner's socket
//! hands descriptors over beside it ([`Tickets`]) and names the ticket.
//!
//! Each route stands in a table with the scope it needs, what it takes and what it answers (`operation.rs`). The router,
//! the check of scopes and the [`document`] are made from these tables.
//!
//! It does not know what a sandbox, an engine or a database is. Start at [`router`] and [`serve_owner`].

mod auth;
mod base;
mod files;
mod job_form;
mod log_text;
mod logins;
mod openapi;
mod operation;
mod ports;
mod problem;
mod rate;
mod request;
mod routes;
mod seed;
mod serve;
mod stream;
mod tcp;
mod tickets;

pub use auth::Access;
pub use base::{BasePath, under};
pub use logins::Logins;
pub use openapi::document;
pub use problem::{Problem, status_of};
pub use rate::Rates;
pub use routes::{Api, router};
pub use serve::{serve_descriptors, serve_owner};
pub use tcp::serve_tcp;
pub use tickets::Tickets;

/// The owner's socket, in the home's `run`.
pub const OWNER_SOCKET: &str = "lazaret.sock";
/// Where descriptors are handed over, in the home's `run`.
pub const FDS_SOCKET: &str = "fds.sock";
/// Below it, paths and forms are those of the container-per-chat server whose clients work here too.
const SEED_PREFIX: &str = "/api/";
