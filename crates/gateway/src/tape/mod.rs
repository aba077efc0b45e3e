//! Tapes: every exchange of a run in one file, to run it again without a model.

mod canon;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;
