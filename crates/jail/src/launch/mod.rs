//! From a [`Spec`](crate::Spec) to the sandbox's first process.

mod start;

pub use start::{Stand, launch};
