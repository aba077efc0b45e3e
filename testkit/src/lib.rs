//! Test parts.

pub mod channel;
pub mod client;
pub mod clock;
pub mod faulty;
pub mod model_server;
pub mod platforms;
pub mod postgres;
pub mod servers;
