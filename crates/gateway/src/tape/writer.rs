//! Writing a tape.
/// Appends exchanges to a tape.
pub struct Writer {}
