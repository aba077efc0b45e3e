//! Test parts.

pub mod faulty;
pub mod model_server;
