//! Test parts.

pub mod client;
pub mod clock;
pub mod faulty;
pub mod model_server;
pub mod postgres;
pub mod servers;
