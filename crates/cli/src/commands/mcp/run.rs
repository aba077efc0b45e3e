//! A call: the verb as a process of its own.

use std::path::PathBuf;
use std::process::Stdio;

use app::{AlsoRepo, BranchView, ChangeSize};
use futures_util::future::BoxFuture;
use plugins::{Call, Outcome, Person, Plugin, Said, ToolError};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::tools::ALL;
use crate::exit::clean;

/// The most that a verb may print for a result, in bytes: more is too much for a conversation.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// The most that is kept of what it says went wrong.
const ERROR_BYTES_MAX: usize = 8 << 10;
/// Signs of a commit that a person is shown.
const COMMIT_SHOWN: usize = 12;
/// The exit status of a wait whose time was up.
const TIME_UP: i32 = 4;

/// The tools, for one repository and those that agents may work on beside it.
pub(super) struct Coordinator {
    /// This program.
    pub(super) program: PathBuf,
    /// The repository.
    pub(super) repo: PathBuf,
    /// Those beside it.
    pub(super) also: Vec<AlsoRepo>,
    /// Whether a daemon may be started.
    pub(super) may_start: bool,
    /// Who is asked.
    pub(super) person: Person,
}

/// What a verb said.
struct Ran {
    status: i32,
    /// Each JSON value that it printed.
    items: Vec<Value>,
    error: String,
}

impl Plugin for Coordinator {
    fn tools(&self) -> BoxFuture<'_, Result<Vec<Value>, ToolError>> {
        Box::pin(async { Ok(ALL.iter().map(|tool| tool.listed(&self.also)).collect()) })
    }

    fn call<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Outcome, ToolError>> {
        Box::pin(async move {
            let tool = ALL.iter().find(|tool| tool.name == call.tool).ok_or_else(|| ToolError::Unknown(call.tool.clone()))?;
            let (mut flags, input) = tool.flags(&call.arguments, &self.also)?;
            if tool.asks {
                flags.extend(self.asked(&call.arguments).await?);
            }
            let ran = self.run(tool.verb, &flags, input).await?;
            if ran.items.is_empty() && ran.status != 0 && ran.status != TIME_UP {
                return Err(ToolError::Remote(ran.error));
            }
            Ok(json!({ "exit": ran.status, "items": ran.items, "said": ran.error }).into())
        })
    }
}

impl Coordinator {
    async fn run(&self, verb: &[&str], flags: &[String], input: Option<String>) -> Result<Ran, ToolError> {
        let broken = |error: std::io::Error| ToolError::Remote(format!("the command cannot be run: {error}"));
        let mut command = Command::new(&self.program);
        if !self.may_start {
            command.arg("--no-daemon");
        }
        command.arg("--json").args(verb).arg("--repo").arg(&self.repo).args(flags).kill_on_drop(true);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(broken)?;
        if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
            // A verb that refuses its flags does not read it.
            let _ = pipe.write_all(input.as_bytes()).await;
        }
        let (output, error) = tokio::join!(read(child.stdout.take(), OUTPUT_BYTES_MAX), read(child.stderr.take(), ERROR_BYTES_MAX));
        if output.len() > OUTPUT_BYTES_MAX {
            return Err(ToolError::Remote(format!(
                "the answer is longer than {OUTPUT_BYTES_MAX} bytes: ask for less, for example one file"
            )));
        }
        let status = child.wait().await.map_err(broken)?.code().unwrap_or(1);
        Ok(Ran { status, items: parsed(&output), error: clean(String::from_utf8_lossy(&error).trim()) })
    }

    /// Asks the person whether a branch may be merged as it is now. Gives the flags that hold it at that.
    async fn asked(&self, arguments: &Value) -> Result<Vec<String>, ToolError> {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default();
        let branch = text("branch");
        let flags = vec![format!("--branch={branch}")];
        let seen = self.run(&["agents", "status"], &flags, None).await?;
        let agent: Option<BranchView> = seen.items.into_iter().next().and_then(|item| serde_json::from_value(item).ok());
        let Some((agent, expect)) = agent.and_then(|agent| agent.seen().map(|seen| (agent, seen))) else {
            let why = if seen.status == 0 { format!("{branch} has nothing to merge yet") } else { seen.error };
            return Err(ToolError::Remote(why));
        };
        let question = clean(&question(&agent, text("into")));
        match self.person.says(question).await {
            Said::Yes => Ok(vec!["--yes".to_owned(), format!("--expect={expect}")]),
            Said::No => Err(ToolError::Remote("the user said no; nothing was merged".to_owned())),
            Said::Nobody => Err(ToolError::Remote(format!(
                "this client cannot ask its user, so nothing was merged; ask them to run: lazaret agents merge --branch={} --expect={expect}",
                shell_word(branch)
            ))),
        }
    }
}

/// What a person says yes to: what is merged where, in each repository of the agent.
fn question(agent: &BranchView, into: &str) -> String {
    let part = |place: &str, tip: Option<&str>, target: Option<&str>, commits: u64, size: Option<ChangeSize>| {
        let at: String = tip.unwrap_or("no commit").chars().take(COMMIT_SHOWN).collect();
        let into = if into.is_empty() { target.unwrap_or("its target") } else { into };
        let lines = size.map(|size| format!(", {} lines added and {} removed", size.added, size.removed)).unwrap_or_default();
        let many = if commits == 1 { "" } else { "s" };
        format!("at {at} into {into} in {place}? {commits} commit{many}{lines}.")
    };
    let mut text =
        format!("Merge {} {}", agent.branch, part(&agent.repo, agent.tip.as_deref(), agent.target.as_deref(), agent.commits, agent.size));
    for other in agent.also.iter().filter(|other| other.commits > 0) {
        text.push_str(&format!(" And {}", part(&other.repo, other.tip.as_deref(), other.target.as_deref(), other.commits, other.size)));
    }
    text + " Nothing is pushed."
}

/// A word as a shell takes it for itself.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // One byte more tells that there was more.
        let _ = pipe.take(most as u64 + 1).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The JSON values of what a verb printed: one over several lines, or one in each.
fn parsed(output: &[u8]) -> Vec<Value> {
    serde_json::Deserializer::from_slice(output).into_iter().map_while(Result::ok).collect()
}
