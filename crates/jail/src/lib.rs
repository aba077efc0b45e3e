//! Linux mechanisms: how a sandbox is built, entered, limited and ended.
//!
//! [`launch`] turns a [`Spec`] into a process that has every wall around it; it is called by a static program with one
//! thread and does no more than the specification says. [`cgroup`] makes, kills and removes control groups, [`seccomp`]
//! holds the list of system calls, [`scm`], [`pidfd`] and [`peer`] are small safe forms of kernel interfaces, and
//! [`probe`] tells what a host can give.
//!
//! It knows nothing of sessions, frames, images or policy: the host decides, and every path or descriptor in a
//! specification is the host's. This is the only crate with `unsafe` code, each block with the reason why it is sound.
//! All is synchronous.
//!
//! Keeps INV-4: a layer that cannot be had is a [`LaunchError`], never a weaker sandbox.

pub mod btrfs;
pub mod cgroup;
mod error;
pub mod fanotify;
mod launch;
pub mod peer;
pub mod pidfd;
mod probe;
pub mod rlimits;
pub mod scm;
pub mod seccomp;
pub mod signals;
pub mod spawn;
mod spec;
mod sys;

pub use error::{LaunchError, Layer};
pub use launch::{Stand, launch};
pub use probe::{Missing, Probe, probe};
pub use spec::*;
