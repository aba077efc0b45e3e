//! Taking over what another install has, and giving away what this one has: lines of JSON that hold no secret.
//!
//! Each thing is taken over once. What it was there and what it is here is noted, so a second time changes nothing, also where
//! it was changed or removed here meanwhile. A crash between the thing and the note leaves a thing that the next run
//! finds by its name or by its identity, which comes from what it was called there.
//!
//! Start at `of.rs` (one import), `things.rs` (each kind of thing), `talks.rs` (conversations) and `folders.rs` (skills and files);
//! `give.rs` is the other way.

mod folders;
mod give;
mod lines;
mod of;
mod talks;
mod things;

pub use lines::{CARRY_FORM, CARRY_LINE_BYTES_MAX, Carried, CarryEvent, CarryLine, CarryReport};
pub use of::{CARRY_BYTES_MAX, ImportOf, digest};
