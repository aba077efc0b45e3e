//! Real servers on loopback for the plugins that ship: mail, calendars and MCP over HTTP, each a package that `cargo xtask
//! test` installs; a server of pages that a test writes itself; and a proxy that stands for the egress door.

mod pages;
mod process;
mod proxy;

pub use pages::{Page, Pages, Seen};
pub use process::{Calendar, Everything, Mail, python_of_tests};
pub use proxy::Proxy;
