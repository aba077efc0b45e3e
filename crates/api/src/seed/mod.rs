//! The paths and forms of the container-per-chat server, over the same sessions and envs: its clients work here with one
//! header more. A chat is a session, a container is an env.

mod ask;
mod chat;
mod chats;
mod container_files;
mod containers;
mod tell;
mod time;

pub(crate) use chats::OPERATIONS as CHAT;

use crate::operation::Operation;

/// Containers and their files.
pub(crate) const CONTAINERS: &[Operation] = containers::OPERATIONS;
/// Files of containers.
pub(crate) const CONTAINER_FILES: &[Operation] = container_files::OPERATIONS;
