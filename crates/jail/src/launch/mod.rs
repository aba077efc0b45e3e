//! From a [`Spec`](crate::Spec) to the sandbox's first process.

mod start;

mod build;
mod devices;
mod identity;
mod idmap;
mod landlock;
mod mounts;
mod proc;
mod root;
mod stores;
mod target;

pub use start::{Stand, launch};

pub(crate) use landlock::abi;
