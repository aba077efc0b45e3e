//! What an agent did.

use app::{BranchDiff, BranchView, FileChange, SessionView};
use http::Method;
use model::{Event, EventKind, Failure};

use super::super::Context;
use super::super::follow::Follow;
use super::super::sandbox::escaped;
use super::super::screen::{Form, Screen};
use super::{list, path};
use crate::client::{Client, collect, full, internal};
use crate::exit::clean;
use crate::out;

/// Events in one page of the log.
const EVENTS_PAGE: usize = 1000;
/// Commits that a summary shows.
const COMMITS_SHOWN: usize = 20;
/// Hexadecimal digits of a commit that people see.
const COMMIT_DIGITS: usize = 10;

#[derive(serde::Deserialize)]
struct Page {
    events: Vec<Event>,
}

/// Everything in an agent's log, and with `follow` what comes until its turn is over.
pub(super) async fn logs(context: &Context, client: &Client, agent: &BranchView, follow: bool) -> Result<(), Failure> {
    let session: SessionView = client.json(Method::GET, &format!("/v1/sessions/{}", agent.session), None).await?;
    if follow && !agent.state.is_over() {
        let mut follow = Follow::after(client, &session, 0, Form::of(context.json));
        if let Some(turn) = &agent.turn {
            follow.expect_alone(turn.clone());
        }
        return follow.result().await.map(drop);
    }
    let mut screen = Screen::new(if context.json { Form::Json } else { Form::Chat });
    let mut after = 0;
    loop {
        let asked = format!("/v1/sessions/{}/events?after={after}&limit={EVENTS_PAGE}", agent.session);
        let page: Page = client.json(Method::GET, &asked, None).await?;
        for event in &page.events {
            screen.show(event)?;
            after = event.seq;
        }
        if page.events.is_empty() {
            return Ok(());
        }
    }
}

/// The last words, the commits and the size of what was changed.
pub(super) async fn summary(context: &Context, client: &Client, agent: &BranchView) -> Result<(), Failure> {
    let text = last_words(client, agent).await?;
    let diffs = if agent.tip.is_some() { diffs(client, agent).await? } else { Vec::new() };
    if context.json {
        return out::json(&serde_json::json!({ "agent": agent, "text": text, "diff": as_one(&diffs) }));
    }
    list::show(agent);
    for (name, diff) in &diffs {
        out::line("");
        head(name.as_deref());
        for commit in diff.commits.iter().take(COMMITS_SHOWN) {
            let id: String = commit.id.chars().take(COMMIT_DIGITS).collect();
            out::line(&format!("{id} {}", clean(&commit.subject)));
        }
        stat(&diff.files);
    }
    if !text.trim().is_empty() {
        out::line(&format!("\n{}", clean(text.trim_end())));
    }
    Ok(())
}

/// What it said at the end of its last turn.
async fn last_words(client: &Client, agent: &BranchView) -> Result<String, Failure> {
    let (mut text, mut after) = (String::new(), 0);
    loop {
        let asked = format!("/v1/sessions/{}/events?after={after}&limit={EVENTS_PAGE}", agent.session);
        let page: Page = client.json(Method::GET, &asked, None).await?;
        let Some(last) = page.events.last() else { return Ok(text) };
        after = last.seq;
        for event in page.events {
            if let EventKind::Result(result) = event.kind {
                text = result.text;
            }
        }
    }
}

/// What it changed.
pub(super) async fn diff(
    context: &Context,
    client: &Client,
    agent: &BranchView,
    file: Option<&str>,
    only_stat: bool,
) -> Result<(), Failure> {
    let diffs = diffs(client, agent).await?;
    if only_stat || context.json && file.is_none() {
        if context.json {
            return out::json(&as_one(&diffs));
        }
        for (name, diff) in &diffs {
            head(name.as_deref());
            stat(&diff.files);
        }
        return Ok(());
    }
    let is_asked = |change: &&FileChange| file.is_none_or(|file| file == change.path);
    if let Some(file) = file.filter(|_| !diffs.iter().any(|(_, diff)| diff.files.iter().any(|change| is_asked(&change)))) {
        return Err(Failure::new(model::Code::NotFound, format!("the branch does not change `{}`", file.escape_debug())).field("--file"));
    }
    for (name, diff) in &diffs {
        let files: Vec<&FileChange> = diff.files.iter().filter(is_asked).collect();
        if !context.json && !files.is_empty() {
            head(name.as_deref());
        }
        for change in files {
            let text = patch(client, agent, name.as_deref(), &change.path).await?;
            if context.json {
                out::json(&serde_json::json!({ "repo": name, "file": change, "patch": text }))?;
                continue;
            }
            warn(change);
            out::line(&clean(text.trim_end()));
        }
        if diff.truncated {
            out::note("more files differ than are listed");
        }
    }
    Ok(())
}

/// What it changed in each of its repositories, the first one first; with what the others are called.
pub(super) async fn diffs(client: &Client, agent: &BranchView) -> Result<Vec<(Option<String>, BranchDiff)>, Failure> {
    let mut diffs = vec![(None, client.json(Method::GET, &format!("{}/diff", path(agent)), None).await?)];
    for other in agent.also.iter().filter(|other| other.tip.is_some()) {
        let asked = format!("{}/diff?repo={}", path(agent), escaped(&other.name));
        diffs.push((Some(other.name.clone()), client.json(Method::GET, &asked, None).await?));
    }
    Ok(diffs)
}

/// All of it as a program reads it: the first one, with the others in `also`.
pub(super) fn as_one(diffs: &[(Option<String>, BranchDiff)]) -> serde_json::Value {
    let Some(((_, first), others)) = diffs.split_first() else { return serde_json::Value::Null };
    let mut value = serde_json::json!(first);
    if !others.is_empty() {
        value["also"] = others.iter().map(|(name, diff)| serde_json::json!({ "name": name, "diff": diff })).collect();
    }
    value
}

/// Says which repository follows, where it is not the first one.
pub(super) fn head(name: Option<&str>) {
    if let Some(name) = name {
        out::line(&clean(&format!("in {name}:")));
    }
}

/// The changes of one file, in the first repository or the one of this name.
pub(super) async fn patch(client: &Client, agent: &BranchView, repo: Option<&str>, file: &str) -> Result<String, Failure> {
    let repo = repo.map(|repo| format!("&repo={}", escaped(repo))).unwrap_or_default();
    let asked = format!("{}/patch?path={}{repo}", path(agent), escaped(file));
    let response = client.send(Method::GET, &asked, "application/json", full(Vec::new())).await?;
    let bytes = collect(response).await?;
    String::from_utf8(bytes.to_vec()).map_err(|e| internal(&e.to_string()))
}

/// What a reader would not see by reading.
pub(super) fn warn(change: &FileChange) {
    if !change.flags.is_empty() {
        out::line(&clean(&format!("! {}: {}", change.path, change.flags.join(", "))));
    }
}

/// Names and numbers.
pub(super) fn stat(files: &[FileChange]) {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let row = |change: &FileChange| {
        vec![change.path.clone(), change.change.clone(), number(change.added), number(change.removed), change.flags.join(" ")]
    };
    out::table(&["file", "change", "+", "-", "look at"], &files.iter().map(row).collect::<Vec<_>>());
}
