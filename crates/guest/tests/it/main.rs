//! The real program, driven over its channel as a host does, in a real sandbox. These tests need root.

mod calls;
mod commands;
mod files;
mod hosts;
mod relays;
mod support;
mod trees;
