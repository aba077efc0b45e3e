//! What an agent writes, in Markdown, in the forms that networks take.
//!
//! The text is a model's, so it is as hostile as any other: nothing in it may become a mention of everybody, a link that runs
//! something, or a tag of the platform's.

mod parse;
mod render;
mod split;

pub(crate) use render::{html_for_matrix, html_for_telegram, mrkdwn, plain};
pub(crate) use split::{characters, split, utf16};
