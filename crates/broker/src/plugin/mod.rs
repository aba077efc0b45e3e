//! Plugins: programs that speak MCP on standard input and output, seen from the host.
//!
//! A [`Supervisor`] starts a plugin's program when it is wanted, keeps it while it is of use, and gives it up when it hangs,
//! crashes or talks nonsense. How a program is started, and what holds it, is behind [`Launch`]; nothing here knows sandboxes
//! or credentials. Whatever a program says is hostile: lines, results and lists have limits, and nothing but a well-formed
//! answer to a call is a result.

mod client;
mod content;
mod line;
mod process;
mod rpc;
mod settings;
mod supervisor;
mod tool;

pub use client::{Client, ClientError, LISTED_MAX, Listed, Listing, RESULT_BYTES_MAX};
pub use process::{Input, Launch, Output, Process, Running, Tail};
pub use settings::config_faults;
pub use supervisor::{Check, Health, Supervisor, SupervisorConfig};
pub use tool::PluginTool;

#[cfg(test)]
mod tests;
