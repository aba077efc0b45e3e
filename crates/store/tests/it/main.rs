//! The public behaviour of the store, on real files.

mod smoke;
