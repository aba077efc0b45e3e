//! Skills that agents are given by name: folders in the agent-skills form, approved by hash.
//!
//! What arrives is unpacked and looked at (`look.rs`, `front.rs`), shown to a person, and put in force under the hash over
//! its files (`of.rs`). The files stand in the store, so each daemon of a database has them; each lays them out in its own
//! home under their hash (`lay.rs`) and refuses what is there when it is not what was approved. What is in force is at hand
//! in the shelf (`shelf.rs`), with what ships.

mod forms;
mod front;
mod lay;
mod look;
mod of;
mod shelf;

pub use forms::{SkillFile, SkillFinding, SkillOrder, SkillReview, SkillState, SkillVersionView, SkillView};
pub(crate) use lay::{check, copy};
pub use look::{SKILL_BYTES_MAX, SKILL_FILES_MAX};
pub use of::SkillsOf;
pub(crate) use shelf::{Shelf, Skill};
