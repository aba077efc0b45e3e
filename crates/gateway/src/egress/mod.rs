//! The door to hosts.
