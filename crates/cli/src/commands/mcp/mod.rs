//! `lazaret mcp`: an MCP server by which an agent program on the host, for example Claude Code, coordinates branch agents.
//!
//! Each tool is a verb of this command line, run as a process with the repositories fixed when the server was started: what a
//! model says becomes one argument, or standard input, and never a part of a shell's line. What cannot be taken back is
//! asked of the person at the client first.

mod install;
mod run;
mod tools;

use std::sync::Arc;

use model::{Code, Failure};

use super::Context;
use super::branches::repo;
use crate::args::{Mcp, McpVerb};
use crate::exit::Done;

/// What the server is called.
const NAME: &str = "lazaret";

pub(super) async fn run(context: &Context, flags: Mcp) -> Done {
    if let Some(McpVerb::Install { dir, remove }) = flags.verb {
        return install::run(context, dir.as_deref(), remove);
    }
    let (repo, also) = repo::several(&flags.repo)?;
    if let Some(n) = (1..also.len()).find(|n| also[..*n].iter().any(|other| other.name.eq_ignore_ascii_case(&also[*n].name))) {
        return Err(Failure::new(Code::Usage, format!("two repositories are called `{}`", also[n].name.escape_debug()))
            .hint("name one yourself: --repo NAME=DIR")
            .field("--repo"));
    }
    let program = std::env::current_exe().map_err(|e| Failure::new(Code::Internal, format!("this program cannot be found: {e}")))?;
    let (person, asks) = plugins::person();
    let tools = run::Coordinator { program, repo, also, may_start: context.may_start, person };
    plugins::serve_tools(Arc::new(tools), NAME, asks)
        .await
        .map_err(|e| Failure::new(Code::Internal, format!("the talk with the client broke off: {e}")))?;
    Ok(0)
}
