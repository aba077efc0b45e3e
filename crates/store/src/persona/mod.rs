//! What agents are made of beside their own row: skills that were approved, and the template that one came from.

mod origin;
mod skill;

pub use origin::{ORIGIN_BYTES_MAX, OriginRow};
pub use skill::{NewSkill, SKILL_ARCHIVE_BYTES_MAX, SKILL_VERSIONS_MAX, SKILLS_MAX, SkillRow, SkillVersion};
