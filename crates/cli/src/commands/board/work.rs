//! What the board asks of the daemon.

use std::path::PathBuf;
use std::process::Stdio;

use app::{AnswerForm, BranchDiff, BranchView, CleanForm, CleanView, Decision, MergeForm, MergeView, ResumeForm, SessionView, SpawnedOne};
use http::Method;
use model::{BranchId, Code, Failure};
use serde_json::{Value, json};

use super::super::{approvals, branches, sandbox::escaped};
use super::state::{Act, Answer, Order};
use crate::client::{Client, collect, full, internal};

/// The end of what a command said that is shown, in characters.
const SAID_CHARS_MAX: usize = 300;
/// Bytes of one file's changes that are read.
const PATCH_BYTES_MAX: usize = 8 << 20;

/// Asks, and gives what came of it. `None` for what is done elsewhere.
pub(super) async fn perform(client: Client, home: PathBuf, order: Order) -> Option<Answer> {
    Some(match order {
        Order::Asks(id, session) => Answer::Asked(id, asks(&client, session.as_str()).await),
        Order::Diff(id) => {
            let whole = client.json::<BranchDiff>(Method::GET, &at(&id, "diff"), None).await;
            Answer::Diff(id, whole.map(Box::new))
        }
        Order::Patch(id, path) => {
            let text = patch(&client, &id, &path).await;
            Answer::Patch(id, path, text)
        }
        Order::Preview(id, tip) => {
            let form = MergeForm { dry_run: true, expect: Some(tip), ..MergeForm::default() };
            let view = post::<MergeView>(&client, &id, "merge", &json!(form)).await;
            Answer::Previewed(id, view.map(Box::new))
        }
        Order::CleanLook(id) => {
            let form = CleanForm { dry_run: true, ..CleanForm::default() };
            let view = post::<CleanView>(&client, &id, "clean", &json!(form)).await;
            Answer::Cleaned(id, view)
        }
        Order::Do(act) => Answer::Did(did(&client, home, act).await),
        Order::Follow(_) | Order::Quit => return None,
    })
}

fn at(id: &BranchId, what: &str) -> String {
    format!("/v1/branches/{id}/{what}")
}

async fn post<T: serde::de::DeserializeOwned>(client: &Client, id: &BranchId, what: &str, form: &Value) -> Result<T, Failure> {
    client.json(Method::POST, &at(id, what), Some(form)).await
}

async fn asks(client: &Client, session: &str) -> Result<(Vec<app::ApprovalView>, Vec<app::QuestionView>), Failure> {
    let asked = approvals::pending(client, session).await?;
    let view: SessionView = client.json(Method::GET, &format!("/v1/sessions/{session}"), None).await?;
    Ok((asked, view.questions))
}

async fn patch(client: &Client, id: &BranchId, path: &str) -> Result<String, Failure> {
    let asked = format!("{}?path={}", at(id, "patch"), escaped(path));
    let response = client.send(Method::GET, &asked, "application/json", full(Vec::new())).await?;
    let bytes = collect(response).await?;
    let kept = bytes.get(..PATCH_BYTES_MAX).unwrap_or(&bytes);
    Ok(String::from_utf8_lossy(kept).into_owned())
}

/// Does something, and says in words what came of it.
async fn did(client: &Client, home: PathBuf, act: Act) -> Result<String, Failure> {
    match act {
        Act::Decide { approval, decision } => {
            let view = approvals::decide(client, &approval, decision, None).await?;
            let word = if decision == Decision::Approve { "approved" } else { "denied" };
            Ok(format!("{}: {}", view.tool, if view.status == word { word } else { &view.status }))
        }
        Act::Answer { session, question, text } => {
            let form = AnswerForm { question: Some(question), text };
            client.json::<Value>(Method::POST, &format!("/v1/sessions/{session}/answer"), Some(&json!(form))).await?;
            Ok("answered".to_owned())
        }
        Act::Stop { id, branch } => {
            let view: BranchView = post(client, &id, "stop", &json!({})).await?;
            Ok(format!("{branch} is {}", view.state.as_str()))
        }
        Act::Resume { id, branch, text } => {
            post::<SpawnedOne>(client, &id, "messages", &json!(ResumeForm { text: Some(text) })).await?;
            Ok(format!("{branch} goes on"))
        }
        Act::Queue { id, expect } => branches::through(client, id, expect).await,
        Act::Merge { id, branch, expect } => {
            let form = MergeForm { expect: Some(expect), ..MergeForm::default() };
            let view: MergeView = post(client, &id, "merge", &json!(form)).await?;
            match view.result.as_str() {
                "merged" => Ok(format!("{branch} is merged into {}", view.into)),
                "current" => Ok(format!("{} has everything of {branch} already", view.into)),
                "conflict" => Err(Failure::new(Code::MergeConflict, format!("{branch} conflicts with {}; nothing was changed", view.into))),
                other => Err(internal(&format!("{branch}: {other}"))),
            }
        }
        Act::Clean { id, branch } => {
            post::<CleanView>(client, &id, "clean", &json!(CleanForm::default())).await?;
            Ok(format!("{branch} is put away"))
        }
        Act::Pr { repo, branch, expect } => pull_request(home, &repo, &branch, &expect).await,
    }
}

/// Runs `lazaret agents pr` without a terminal: nothing of it, nor of git or ssh, may ask or write on the board's.
async fn pull_request(home: PathBuf, repo: &str, branch: &str, expect: &str) -> Result<String, Failure> {
    let program = std::env::current_exe().map_err(|e| internal(&format!("the program cannot be found: {e}")))?;
    let out = tokio::process::Command::new(program)
        .args(["agents", "pr", "--yes", "--repo", repo, &format!("--branch={branch}"), &format!("--expect={expect}")])
        .env("LAZARET_HOME", home)
        .envs([("GIT_TERMINAL_PROMPT", "0"), ("GIT_ASKPASS", "false"), ("SSH_ASKPASS", "false"), ("SSH_ASKPASS_REQUIRE", "force")])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| internal(&format!("the command cannot be run: {e}")))?;
    let said = String::from_utf8_lossy(if out.status.success() { &out.stdout } else { &out.stderr }).into_owned();
    let said: String = said.trim().chars().take(SAID_CHARS_MAX).collect();
    if out.status.success() { Ok(format!("pull request: {said}")) } else { Err(Failure::new(Code::Conflict, said)) }
}
