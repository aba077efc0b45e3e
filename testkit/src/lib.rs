//! Test parts.

pub mod model_server;
