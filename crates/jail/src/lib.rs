//! Linux mechanisms.

pub mod seccomp;
mod spec;

pub use spec::*;
