//! The first process of a sandbox: one thread, one loop.

mod serve;

mod host;
mod requests;
mod transfers;

pub use serve::{Init, InitError, Setup};
