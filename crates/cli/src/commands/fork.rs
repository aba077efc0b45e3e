//! `lazaret session fork`: other ways from the same point, and the best of them.

use app::{FORKS_MAX, ForkForm, SessionView};
use http::Method;
use model::{Code, Failure, Outcome, ResultEvent};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::follow::Follow;
use super::run::exit_status;
use super::screen::{Form, seconds};
use super::session::path;
use super::{Context, text};
use crate::args;
use crate::client::{Client, internal};
use crate::exit::Done;
use crate::out;

/// Lines of an answer that are shown beside the others.
const LINES_SHOWN: usize = 3;

pub(super) async fn run(context: &Context, client: &Client, flags: args::Fork) -> Done {
    if !(1..=FORKS_MAX).contains(&flags.n) {
        return Err(Failure::new(Code::Usage, format!("-n: {} is not between 1 and {FORKS_MAX}", flags.n)).field("-n"));
    }
    let asks = flags.prompt.as_deref().map(text::prompt).transpose()?;
    let form = ForkForm { at: flags.at, n: flags.n, text: asks };
    let made = make(client, &flags.id, &form).await?;
    if form.text.is_none() {
        for view in &made {
            if context.json { out::json(view)? } else { out::line(view.id.as_str()) }
        }
        return Ok(0);
    }
    if !context.json {
        out::note(&format!("{} sessions are at it", made.len()));
    }
    let ends = wait(client, &made).await?;
    compare(context, &made, &ends)?;
    // One good answer is what was asked for.
    let status = |end: &Result<ResultEvent, Failure>| match end {
        Ok(result) => exit_status(result),
        Err(failure) => failure.code.exit_status(),
    };
    Ok(ends.iter().map(status).min().unwrap_or(1))
}

/// Forks a session.
pub(super) async fn make(client: &Client, id: &str, form: &ForkForm) -> Result<Vec<SessionView>, Failure> {
    let made: Value = client.json(Method::POST, &format!("{}/fork", path(id)?), Some(&json!(form))).await?;
    serde_json::from_value(made["items"].clone()).map_err(|e| internal(&format!("the daemon's answer is not understood: {e}")))
}

/// Waits for the first result of each; an interrupt cancels them all.
async fn wait(client: &Client, made: &[SessionView]) -> Result<Vec<Result<ResultEvent, Failure>>, Failure> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    // From the beginning of the log: the turn was asked for before anybody followed.
    let one = async |view: &SessionView| Follow::after(client, view, 0, Form::Silent).result().await;
    let all = futures_util::future::join_all(made.iter().map(one));
    tokio::pin!(all);
    loop {
        tokio::select! {
            ends = &mut all => return Ok(ends),
            _ = interrupted.recv() => {
                for view in made {
                    let _: Result<Value, Failure> = client.json(Method::POST, &format!("/v1/sessions/{}/cancel", view.id), None).await;
                }
            }
        }
    }
}

/// Shows the results side by side.
fn compare(context: &Context, made: &[SessionView], ends: &[Result<ResultEvent, Failure>]) -> Result<(), Failure> {
    if context.json {
        for (view, end) in made.iter().zip(ends) {
            match end {
                Ok(result) => out::json(&json!({
                    "session": view.id, "status": result.status, "code": result.code, "text": result.text,
                    "cost_usd": result.cost_usd, "duration_ms": result.duration_ms, "usage": result.usage,
                }))?,
                Err(failure) => out::json(&json!({ "session": view.id, "status": Outcome::Failed, "error": failure }))?,
            }
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    for (view, end) in made.iter().zip(ends) {
        let (words, text) = match end {
            Ok(result) => {
                let status =
                    result.code.map_or_else(|| result.status.as_str().to_owned(), |code| format!("{}: {code}", result.status.as_str()));
                ([status, format!("${:.4}", result.cost_usd), format!("{:.1} s", seconds(result.duration_ms))], result.text.as_str())
            }
            Err(failure) => ([failure.code.to_string(), String::new(), String::new()], failure.message.as_str()),
        };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES_SHOWN);
        let first = lines.next().unwrap_or_default().to_owned();
        let [status, cost, time] = words;
        rows.push(vec![view.id.to_string(), status, cost, time, first]);
        rows.extend(lines.map(|line| vec![String::new(), String::new(), String::new(), String::new(), line.to_owned()]));
    }
    out::table(&["session", "status", "cost", "time", "answer"], &rows);
    out::note("to go on with one of them: lazaret chat --session ID; to forget one: lazaret session delete ID");
    Ok(())
}
