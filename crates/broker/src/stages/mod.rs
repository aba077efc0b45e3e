//! The six stages, in their order. The first four decide at once; the fifth may ask a person; the sixth carries the call out.

pub(crate) mod authorize;
pub(crate) mod confirm;
pub(crate) mod envelope;
pub(crate) mod payload;
pub(crate) mod route;
pub(crate) mod topic;
