//! Test parts.

pub mod client;
pub mod faulty;
pub mod model_server;
pub mod servers;
