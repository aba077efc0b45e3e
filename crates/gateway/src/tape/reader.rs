//! Reading a tape.
/// Answers requests from a tape.
pub struct Reader {}
