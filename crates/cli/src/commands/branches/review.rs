//! Reading an agent's work with somebody's eyes: comments, checks, a verdict.

use app::{BranchDiff, BranchView, CheckOrder, CheckView, CommentForm, CommentView, SpawnedOne, VerdictForm};
use http::Method;
use model::{Code, Failure};
use serde_json::json;

use super::super::Context;
use super::super::lists;
use super::{list, path, read, wait, which};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::out;

pub(super) async fn run(context: &Context, client: &Client, flags: args::Review) -> Done {
    let agent = which::one(client, &flags.on).await?;
    let at = path(&agent);
    let mut is_said = false;
    for pair in flags.comments.chunks(2) {
        let [place, text] = pair else { continue };
        let (file, line) = place_of(place)?;
        let form = CommentForm { path: file, line, text: text.clone() };
        let made: CommentView = client.json(Method::POST, &format!("{at}/comments"), Some(&json!(form))).await?;
        if context.json {
            out::json(&made)?
        } else {
            show_comment(&made)
        }
        is_said = true;
    }
    if let Some(command) = &flags.check {
        let passed = one_check(context, client, &agent, Some(command)).await?;
        if !flags.send && !flags.approve && !flags.reject {
            return Ok(u8::from(!passed));
        }
        is_said = true;
    }
    if flags.approve || flags.reject {
        let verdict = if flags.approve { "approved" } else { "rejected" };
        let form = VerdictForm { verdict: verdict.to_owned() };
        let agent: BranchView = client.json(Method::POST, &format!("{at}/verdict"), Some(&json!(form))).await?;
        if context.json {
            out::json(&agent)?
        } else {
            out::line(&clean(&format!("{}: {verdict}", agent.branch)))
        }
        is_said = true;
    }
    if flags.send {
        let sent: SpawnedOne = client.json(Method::POST, &format!("{at}/review"), None).await?;
        if flags.wait {
            return wait::watch(context, client, &sent.agent, Some(sent.turn)).await;
        }
        if context.json {
            out::json(&sent)?
        } else {
            out::line(&clean(&list::sentence(&sent.agent)))
        }
        return Ok(0);
    }
    if !is_said {
        whole(context, client, &agent, flags.file.as_deref()).await?;
    }
    Ok(0)
}

/// `FILE`, `FILE:LINE`, or `.` for the whole.
fn place_of(text: &str) -> Result<(Option<String>, Option<u64>), Failure> {
    if text == "." {
        return Ok((None, None));
    }
    if let Some((file, line)) = text.rsplit_once(':')
        && !line.is_empty()
        && line.bytes().all(|b| b.is_ascii_digit())
    {
        let line: u64 = line.parse().unwrap_or(0);
        if line == 0 || file.is_empty() {
            return Err(Failure::new(Code::Usage, format!("--comment: `{}` is not FILE[:LINE]", text.escape_debug())).field("--comment"));
        }
        return Ok((Some(file.to_owned()), Some(line)));
    }
    Ok((Some(text.to_owned()), None))
}

fn show_comment(comment: &CommentView) {
    let place = match (&comment.path, comment.line) {
        (Some(path), Some(line)) => format!("{path}:{line}"),
        (Some(path), None) => path.clone(),
        _ => "the whole".to_owned(),
    };
    let sent = if comment.turn.is_some() { " (sent)" } else { "" };
    out::line(&clean(&format!("#{} {place}{sent}: {}", comment.n, comment.text)));
}

/// File by file, with the comments at each.
async fn whole(context: &Context, client: &Client, agent: &BranchView, file: Option<&str>) -> Result<(), Failure> {
    let diffs = read::diffs(client, agent).await?;
    let comments: Vec<CommentView> = lists::all(client, &format!("{}/comments", path(agent))).await?;
    if context.json {
        return out::json(&json!({ "agent": agent, "diff": read::as_one(&diffs), "comments": comments }));
    }
    list::show(agent);
    for (name, diff) in &diffs {
        out::line("");
        read::head(name.as_deref());
        read::stat(&diff.files);
        for change in diff.files.iter().filter(|change| file.is_none_or(|file| file == change.path)) {
            out::line("");
            read::warn(change);
            out::line(&clean(read::patch(client, agent, name.as_deref(), &change.path).await?.trim_end()));
            comments.iter().filter(|comment| comment.path.as_ref() == Some(&change.path)).for_each(show_comment);
        }
    }
    let is_of = |comment: &CommentView, diff: &BranchDiff| diff.files.iter().any(|change| comment.path.as_ref() == Some(&change.path));
    let is_elsewhere = |comment: &&CommentView| !diffs.iter().any(|(_, diff)| is_of(comment, diff));
    comments.iter().filter(is_elsewhere).for_each(show_comment);
    out::note("to comment: --comment FILE:LINE TEXT; to send the comments: --send; to judge: --approve or --reject");
    Ok(())
}

/// Runs the check of agents; 1 when one does not pass.
pub(super) async fn check(context: &Context, client: &Client, on: &args::OnBranches, command: Option<&str>) -> Done {
    let mut all = true;
    for agent in which::some(client, on).await? {
        all &= one_check(context, client, &agent, command).await?;
    }
    Ok(u8::from(!all))
}

/// Runs the check of an agent.
pub(super) async fn checked(client: &Client, agent: &BranchView, command: Option<&str>) -> Result<CheckView, Failure> {
    let order = CheckOrder { command: command.map(str::to_owned) };
    client.json(Method::POST, &format!("{}/check", path(agent)), Some(&json!(order))).await
}

/// Whether the check of an agent passes.
async fn one_check(context: &Context, client: &Client, agent: &BranchView, command: Option<&str>) -> Result<bool, Failure> {
    let check = checked(client, agent, command).await?;
    if context.json {
        out::json(&json!({ "branch": agent.branch, "check": check }))?;
    } else {
        let how = if check.passed { "passed" } else { "failed" };
        out::line(&clean(&format!("{}: {how}: {}", agent.branch, check.command)));
        if !check.passed && !check.output.is_empty() {
            out::line(&clean(check.output.trim_end()));
        }
    }
    Ok(check.passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_files_and_lines() {
        assert_eq!(place_of("src/a.rs:12").ok(), Some((Some("src/a.rs".to_owned()), Some(12))));
        assert_eq!(place_of("a:b").ok(), Some((Some("a:b".to_owned()), None)));
        assert_eq!(place_of(".").ok(), Some((None, None)));
        assert!(place_of("a:0").is_err());
    }
}
