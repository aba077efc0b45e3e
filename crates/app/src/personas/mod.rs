//! Templates of agents: a persona with its instructions, skills, tools and tasks, made with a few words of the owner.
//!
//! A template is read and filled in (`template.rs`). What it would make or change is a plan, shown before anything is done
//! (`plan.rs`), and done under its hash (`of.rs`). What an agent was made from is kept beside it: what the template changed since and
//! what the owner changed can be told apart, and the owner's word stays.

mod of;
mod plan;
mod template;

pub use of::{TemplateApply, TemplateOrder, TemplatesOf};
pub use plan::{TemplateField, TemplatePlan, TemplateTask};
pub use template::TemplateView;
