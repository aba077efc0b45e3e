//! `lazaret approvals`, and asking for confirmations in passing.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use app::{ApprovalView, Decision, DecisionForm};
use http::Method;
use model::{Code, Failure};
use serde_json::json;

use super::sandbox::plain;
use super::{Context, lists};
use crate::args;
use crate::client::{Client, internal};
use crate::exit::{self, Done};
use crate::out;

/// Confirmations that are listed.
const LIST_MAX: usize = 1000;
/// How often a prompt looks whether it is still wanted.
const PROMPT_STEP: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

pub(super) async fn run(context: &Context, verb: args::Approvals) -> Done {
    let client = context.client()?;
    match verb {
        args::Approvals::List { status, session } => list(context, &client, &status, session.as_deref()).await?,
        args::Approvals::Show { id } => {
            let view = view(&client, &id).await?;
            if context.json { out::json(&view)? } else { show(&view, out::line) }
        }
        args::Approvals::Approve(answer) => return answers(context, &client, &answer, Decision::Approve).await,
        args::Approvals::Deny(answer) => return answers(context, &client, &answer, Decision::Deny).await,
    }
    Ok(0)
}

async fn list(context: &Context, client: &Client, status: &str, session: Option<&str>) -> Result<(), Failure> {
    let status = if status == "any" { String::new() } else { format!("status={status}&") };
    let session = session.map(plain).transpose()?.map_or_else(String::new, |id| format!("session={id}"));
    let views: Vec<ApprovalView> = lists::list(client, &format!("/v1/approvals?{status}{session}"), LIST_MAX).await?;
    if context.json {
        return views.iter().try_for_each(out::json);
    }
    let row = |view: &ApprovalView| {
        let left = view.expires_at.0.saturating_sub(app::now().0) / 1000;
        let when = if view.status == "pending" { format!("{left} s left") } else { view.status.clone() };
        let session = view.session.as_ref().map_or_else(String::new, ToString::to_string);
        vec![view.id.to_string(), view.tool.clone(), when, session, view.arguments.to_string()]
    };
    // Whoever answers names what is shown here, so identities are never cut.
    out::table(&["confirmation", "tool", "status", "session", "arguments"], &views.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// One confirmation.
pub(super) async fn view(client: &Client, id: &str) -> Result<ApprovalView, Failure> {
    client.json(Method::GET, &format!("/v1/approvals/{}", plain(id)?), None).await
}

/// The confirmations of a session that wait.
pub(super) async fn pending(client: &Client, session: &str) -> Result<Vec<ApprovalView>, Failure> {
    let path = format!("/v1/approvals?status=pending&session={}", plain(session)?);
    let mut views: Vec<ApprovalView> = lists::list(client, &path, LIST_MAX).await?;
    views.reverse();
    Ok(views)
}

/// Shows a call whole. The host has made its text harmless; it is held to that here too.
pub(super) fn show(view: &ApprovalView, print: fn(&str)) {
    print(&format!("{} {}", view.id, view.status));
    print(exit::clean(&view.text).trim_end());
    print(&format!("  [hash {}]", exit::clean(&view.hash)));
    if let Some(by) = &view.answered_by {
        print(&format!("  [{} by {}]", view.status, exit::clean(by)));
    }
}

/// Answers exactly what was seen.
pub(super) async fn decide(
    client: &Client,
    seen: &ApprovalView,
    decision: Decision,
    note: Option<String>,
) -> Result<ApprovalView, Failure> {
    let form = DecisionForm { decision, hash: seen.hash.clone(), note };
    client.json(Method::POST, &format!("/v1/approvals/{}", plain(seen.id.as_str())?), Some(&json!(form))).await
}

async fn answers(context: &Context, client: &Client, answer: &args::Answer, decision: Decision) -> Done {
    if answer.all {
        return one_by_one(context, client, answer, decision).await;
    }
    if answer.hash.is_some() && answer.ids.len() > 1 {
        return Err(Failure::new(Code::Usage, "--hash is of one confirmation").field("--hash"));
    }
    let mut status = 0;
    for id in &answer.ids {
        if let Err(failure) = one(context, client, answer, decision, id).await {
            status = failure.code.exit_status();
            exit::print(&failure, context.json);
        }
    }
    Ok(status)
}

async fn one(context: &Context, client: &Client, answer: &args::Answer, decision: Decision, id: &str) -> Result<(), Failure> {
    let seen = view(client, id).await?;
    if answer.hash.as_ref().is_some_and(|hash| *hash != seen.hash) {
        return Err(Failure::new(Code::Conflict, format!("confirmation {} has the hash {}", seen.id, seen.hash)).field("--hash"));
    }
    if decision == Decision::Approve {
        if !context.json {
            show(&seen, out::note);
        }
        refuse_long(&seen, answer.long)?;
    }
    let answered = decide(client, &seen, decision, answer.note.clone()).await?;
    told(context, &answered)
}

fn told(context: &Context, answered: &ApprovalView) -> Result<(), Failure> {
    if context.json {
        return out::json(answered);
    }
    out::line(&format!("{} {}", answered.id, answered.status));
    Ok(())
}

fn refuse_long(seen: &ApprovalView, may_be_long: bool) -> Result<(), Failure> {
    if seen.is_long && !may_be_long {
        return Err(Failure::new(Code::Usage, format!("an argument of {} has more than 64 KiB", seen.id))
            .hint("read all of it, and then approve it with --long")
            .field("--long"));
    }
    Ok(())
}

/// Shows each confirmation that waits, and asks.
async fn one_by_one(context: &Context, client: &Client, answer: &args::Answer, decision: Decision) -> Done {
    if !is_terminal() {
        return Err(Failure::new(Code::Usage, "--all asks about each call, on a terminal")
            .hint("name the confirmations: lazaret approvals list")
            .field("--all"));
    }
    let mut views: Vec<ApprovalView> = lists::list(client, "/v1/approvals?status=pending", LIST_MAX).await?;
    views.reverse();
    if views.is_empty() {
        out::note("nothing waits for an answer");
    }
    let (mut status, word) = (0, if decision == Decision::Approve { "approve" } else { "deny" });
    for seen in views {
        show(&seen, out::note);
        let wanted = Arc::new(AtomicBool::new(true));
        match yes(&format!("{word}? [y/N] "), wanted).await? {
            Some(true) => {}
            Some(false) => continue,
            None => return Ok(130),
        }
        let done = match if decision == Decision::Approve { refuse_long(&seen, answer.long) } else { Ok(()) } {
            Ok(()) => decide(client, &seen, decision, answer.note.clone()).await.and_then(|view| told(context, &view)),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            status = failure.code.exit_status();
            exit::print(&failure, context.json);
        }
    }
    Ok(status)
}

/// Whether somebody is there who could be asked.
pub(super) fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// What a word says to a question that only a clear yes answers with yes.
pub(super) fn is_yes(word: &str) -> bool {
    matches!(word.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Asks on the terminal; `None` at the end of the input, or when nobody wants to know any more.
async fn yes(prompt: &str, wanted: Arc<AtomicBool>) -> Result<Option<bool>, Failure> {
    use std::io::Write;
    let mut err = std::io::stderr();
    let _ = err.write_all(prompt.as_bytes()).and_then(|()| err.flush());
    let read = tokio::task::spawn_blocking(move || {
        let stdin = std::io::stdin();
        while wanted.load(Ordering::SeqCst) {
            let mut fds = [rustix::event::PollFd::from_borrowed_fd(stdin.as_fd(), rustix::event::PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&PROMPT_STEP)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let mut line = String::new();
            return Ok((stdin.read_line(&mut line)? > 0).then_some(line));
        }
        Ok::<_, std::io::Error>(None)
    });
    let line = read.await.map_err(|e| internal(&e.to_string()))?;
    let line = line.map_err(|e| internal(&format!("the terminal cannot be read: {e}")))?;
    Ok(line.map(|line| is_yes(&line)))
}

/// Asks about a call of work that is watched, where there is a terminal; else says how it is answered.
///
/// Dropping the future ends the question.
pub(super) async fn in_passing(client: &Client, id: &str, may_ask: bool) -> Result<(), Failure> {
    let seen = view(client, id).await?;
    if seen.status != "pending" {
        return Ok(());
    }
    if !may_ask || !is_terminal() {
        hint(&seen);
        return Ok(());
    }
    show(&seen, out::note);
    if let Err(failure) = refuse_long(&seen, false) {
        exit::print(&failure, false);
        hint(&seen);
        return Ok(());
    }
    let wanted = Arc::new(AtomicBool::new(true));
    let _unwanted = Unwanted(Arc::clone(&wanted));
    let decision = match yes("approve? [y/N] ", wanted).await? {
        Some(true) => Decision::Approve,
        Some(false) => Decision::Deny,
        None => return Ok(()),
    };
    say(decide(client, &seen, decision, None).await)
}

/// Says what came of an answer.
pub(super) fn say(answered: Result<ApprovalView, Failure>) -> Result<(), Failure> {
    match answered {
        Ok(view) => out::note(&format!("{} {}", view.id, view.status)),
        // Somebody else was quicker, or it was too late.
        Err(failure) if failure.code == Code::Conflict => out::note(&exit::clean(&failure.message)),
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// Says how a confirmation is answered from elsewhere.
pub(super) fn hint(seen: &ApprovalView) {
    out::note(&format!(
        "{} waits for a yes to {}: lazaret approvals approve {2} (or deny {2})",
        seen.agent,
        exit::clean(&seen.tool),
        seen.id
    ));
}

/// Ends a prompt that nobody waits for.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (word, expect) in [("y\n", true), (" YES ", true), ("", false), ("\n", false), ("n", false), ("yep", false), ("y;", false)] {
            assert_eq!(is_yes(word), expect, "{word:?}");
        }
    }
}
