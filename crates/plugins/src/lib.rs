//! The plugins that ship. Each runs as a process of its own in a sandbox of its own, speaks MCP on standard input and
//! output, and reaches its hosts through the egress proxy. Nothing here runs in the daemon.
//!
//! Start at [`serve`]. What a plugin is told by its launcher is in [`Surroundings`]; what its tools are called and take
//! is written once, in its manifest under share/plugins. Everything that comes from the other side of a connection is
//! hostile here as well: it is read within limits and given on as data, with a note of where it came from.
//!
//! A tool with an effect that others see derives the name of the effect from the host's idempotency key, so that a call
//! that is made again is the same mail, event or comment.

mod calendar;
mod clock;
mod email;
mod files;
mod github;
mod http_endpoints;
mod manifest;
mod mcp;
mod net;
mod person;
mod remote_mcp;
mod shipped;
mod surroundings;
mod text;
mod tool;
mod web;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use net::NetError;
pub use person::{Asks, Person, Said, person};
pub use shipped::{SHIPPED, Shipped};
pub use surroundings::{Surroundings, SurroundingsError};
use tokio::io::BufReader;
pub use tool::{Call, Outcome, Plugin, ToolError};

/// The exit status for a name that is no plugin's.
const NO_SUCH: i32 = 2;
/// The exit status for surroundings or a configuration that the plugin cannot work with.
const MISCONFIGURED: i32 = 78;
/// The exit status when the talk with the host broke off.
const BROKEN: i32 = 1;

/// The two ends of a talk with a host.
#[derive(Debug)]
pub struct Talk {
    /// What the host says.
    pub input: OwnedFd,
    /// What the plugin says.
    pub output: OwnedFd,
}

/// Serves the plugin of this name on standard input and output until the input ends. `variable` gives the value of a
/// variable of the process. Gives the exit status: 0, 1 when the talk broke off, 2 for an unknown name, 78 for a
/// configuration that is missing or wrong; what is wrong is said on standard error.
#[must_use]
pub fn serve(name: &str, variable: &dyn Fn(&str) -> Option<String>) -> i32 {
    run(name, variable, |plugin| async move {
        mcp::serve(plugin, name, person().1, BufReader::new(tokio::io::stdin()), tokio::io::stdout()).await
    })
}

/// The same over other ends than the standard ones.
#[must_use]
pub fn serve_on(name: &str, variable: &dyn Fn(&str) -> Option<String>, talk: Talk) -> i32 {
    let Talk { input, output } = talk;
    let (input, output) = (tokio::fs::File::from_std(input.into()), tokio::fs::File::from_std(output.into()));
    run(name, variable, |plugin| async move { mcp::serve(plugin, name, person().1, BufReader::new(input), output).await })
}

/// Serves tools of the caller's own as an MCP server called `name` on standard input and output, until the input ends.
///
/// # Errors
/// Reading or writing failed, or a line was too long.
pub async fn serve_tools(tools: Arc<dyn Plugin>, name: &str, asks: Asks) -> std::io::Result<()> {
    mcp::serve(tools, name, asks, BufReader::new(tokio::io::stdin()), tokio::io::stdout()).await
}

fn run<F: Future<Output = std::io::Result<()>>>(
    name: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    work: impl FnOnce(Arc<dyn Plugin>) -> F,
) -> i32 {
    let say = |text: &str| drop(writeln!(std::io::stderr(), "{name}: {text}"));
    let around = match Surroundings::read(variable) {
        Ok(around) => around,
        Err(error) => {
            say(&format!("failed to {error}"));
            return MISCONFIGURED;
        }
    };
    // Another part of the process may have chosen the same one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        say("no runtime can be made");
        return BROKEN;
    };
    let plugin = match open(name, around) {
        None => {
            say("there is no such plugin");
            return NO_SUCH;
        }
        Some(Err(error)) => {
            say(&error.to_string());
            return MISCONFIGURED;
        }
        Some(Ok(plugin)) => plugin,
    };
    let served = runtime.block_on(work(plugin));
    // A read of the input that nobody answers would hold the end up.
    runtime.shutdown_background();
    match served {
        Ok(()) => 0,
        Err(error) => {
            say(&error.to_string());
            BROKEN
        }
    }
}

/// The plugin of this name; `None` when there is none.
fn open(name: &str, around: Surroundings) -> Option<Result<Arc<dyn Plugin>, SurroundingsError>> {
    fn shared<P: Plugin + 'static>(plugin: Result<P, SurroundingsError>) -> Result<Arc<dyn Plugin>, SurroundingsError> {
        plugin.map(|plugin| Arc::new(plugin) as Arc<dyn Plugin>)
    }
    Some(match name {
        "calendar" => shared(calendar::Calendar::open(around)),
        "email" => shared(email::Email::open(around)),
        "files" => shared(files::Files::open(around)),
        "github" => shared(github::Github::open(around)),
        "http" => shared(http_endpoints::Endpoints::open(around)),
        "remote-mcp" => shared(remote_mcp::Bridge::open(around)),
        "web" => shared(web::Web::open(around)),
        _ => return None,
    })
}
