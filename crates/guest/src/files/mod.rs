//! `lazaret-guest files VERB`: the files of a sandbox, for its host.
//!
//! The host never walks through files that an agent could write; it runs this inside, where the files are. Paths are
//! relative to a root that the host names, and no link is ever followed: each component is opened by itself, so that one
//! that is exchanged in between is either still a directory or refused. Pipes, sockets and devices are shown and never
//! opened. What is found is told as JSON lines; names that are no UTF-8 come with their bytes in hexadecimal digits.
//!
//! `files list|stat|read|write|mkdir|remove|diff|patch --root DIR [options] PATH...`, see [`verbs`]. Exit status: 0 done,
//! 1 not done (a JSON line `{"code", "message"}` on standard error says why).

mod compare;
mod diff;
mod lines;
mod list;
mod open;
mod patch;
mod path;
mod remove;
mod trouble;
mod verbs;
mod write;

pub(crate) use verbs::main;
