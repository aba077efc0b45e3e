//! The paths and forms of two other servers, over the same sessions, envs and jobs: their clients work here with one header
//! more. For the container-per-chat server a chat is a session and a container is an env; for the server of jobs a job is one.

mod ask;
mod chat;
mod chats;
mod configs;
mod container_files;
mod containers;
mod jobs;
mod tell;
mod time;

pub(crate) use chats::OPERATIONS as CHAT;

use crate::operation::Operation;

/// Containers and their files.
pub(crate) const CONTAINERS: &[Operation] = containers::OPERATIONS;
/// Files of containers.
pub(crate) const CONTAINER_FILES: &[Operation] = container_files::OPERATIONS;
/// Jobs, as the server of jobs has them.
pub(crate) const JOBS: &[Operation] = jobs::OPERATIONS;
/// Profiles, engines and configurations, as the server of jobs has them.
pub(crate) const CONFIGS: &[Operation] = configs::OPERATIONS;
