//! The system-call wall: an allow-list compiled to a classic BPF program when this crate is built.
//!
//! The list is data ([`GROUPS`]): each group has a name, a reason, an answer and its calls. A small compiler turns it
//! into a balanced search over call numbers, with argument checks in the leaves. What no group allows is answered with
//! `EPERM`; a number that is newer than the list with `ENOSYS`, so that a program falls back to an older call; a call
//! that comes through another ABI (32-bit, x32) ends the process.
//!
//! The usual call is [`install`], last in the launch. It does not know what a sandbox is, and it is one wall of several:
//! capabilities, namespaces and landlock stand behind it. What the filter cannot see is anything behind a pointer.

mod arguments;
mod bpf;
mod groups;
mod install;
mod numbers;
mod reference;
#[cfg(test)]
mod tests;

pub use arguments::{Answer, Argument, Call, Group, Test};
pub use bpf::{Instruction, Program};
pub use groups::GROUPS;
pub use install::{Profile, SeccompError, install, program};
pub use numbers::NUMBER_MAX;
pub use reference::reference;
