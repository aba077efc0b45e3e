//! The first process of a sandbox: one thread, one loop.

mod host;
mod init;
mod requests;
mod transfers;

pub use init::{Init, InitError, Setup};
