//! Test parts.

pub mod channel;
pub mod client;
pub mod clock;
pub mod faulty;
mod held;
pub mod model_server;
pub mod platforms;
pub mod postgres;
pub mod servers;
