//! What the crate promises, through its public interface.

mod acp;
mod custom;
mod hostile;
mod live;
mod options;
mod plans;
mod render;
mod transcripts;
