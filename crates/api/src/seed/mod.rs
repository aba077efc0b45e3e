//! The paths and forms of the container-per-chat server, over the same sessions and envs.

use crate::operation::Operation;

pub(crate) const CHAT: &[Operation] = &[];
pub(crate) const CONTAINERS: &[Operation] = &[];
