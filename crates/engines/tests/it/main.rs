//! What the crate promises, through its public interface.

mod custom;
mod hostile;
mod live;
mod plans;
mod render;
mod transcripts;
