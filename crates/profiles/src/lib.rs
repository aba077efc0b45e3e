//! Profiles: reusable job configurations, and the templates that their prompts come from.
//!
//! Everything here is pure: texts in, values out. A [`Profile`] is read from TOML and says what a job runs with when the
//! request does not; its [`Variables`] check and complete what a request brings; [`Templates`] renders a prompt from a map
//! of templates and nothing else. Nothing here knows where any of it is kept, what an engine is, or who may see what.
//!
//! Who writes a template may be hostile. It reaches values, filters and loops: no files, no environment, no function of
//! the host, no attribute that is not a key of a value. Before it is rendered its shape is checked (`guard.rs`), so that no
//! value can be built up without bound; while it is rendered its steps, the bytes that it works on and its output are
//! counted.
//!
//! Start at [`Profile::parse`] and [`Templates::render`]. Keeps INV-7. Limits: [`CONTENT_CHARS_MAX`], [`OUTPUT_BYTES_MAX`],
//! [`VARIABLES_BYTES_MAX`], [`TEMPLATES_MAX`], [`STEPS_MAX`].

mod error;
mod filters;
mod guard;
mod meter;
mod methods;
mod name;
mod profile;
mod template;
mod variables;

pub use error::ProfileError;
pub use guard::included;
pub use name::{ConfigKind, NAME_CHARS_MAX, check_name};
pub use profile::{Hook, Profile, Read, Source, Undefined};
pub use template::{OUTPUT_BYTES_MAX, STEPS_MAX, TEMPLATES_MAX, Templates, check_template};
pub use variables::{VARIABLES_BYTES_MAX, VARIABLES_MAX, VarType, Variable, Variables};

/// Characters that a profile, an engine, a template or a hook may have.
pub const CONTENT_CHARS_MAX: usize = 100_000;
