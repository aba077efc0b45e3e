//! Linux mechanisms.

mod spec;

pub use spec::*;
