//! Waiting for agents.

use std::time::Duration;

use app::{BranchView, SessionView};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::Method;
use model::{BranchState, Code, Failure, TurnId};
use tokio::signal::unix::{SignalKind, signal};

use super::super::Context;
use super::super::follow::Follow;
use super::super::job_form::duration;
use super::super::screen::Form;
use super::{list, path, which};
use crate::args;
use crate::client::{Client, internal};
use crate::exit::{Done, clean};
use crate::out;

/// How long an agent that another command was given rests until it is looked at again.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(context: &Context, client: &Client, on: &args::OnBranches, timeout: Option<&str>) -> Done {
    let timeout = timeout.map(|text| duration("--timeout", text)).transpose()?;
    let agents = if on.branches.is_empty() && on.branch_flags.is_empty() {
        let place = which::place(on.repo.as_deref())?;
        which::all(client, place.as_deref(), None).await?.into_iter().filter(|agent| !agent.state.is_over()).collect()
    } else {
        which::some(client, on).await?
    };
    all(context, client, agents, timeout).await
}

/// Shows what happens in one agent until its turn is over. An interrupt leaves it alone: it was given its work for good.
pub(super) async fn watch(context: &Context, client: &Client, agent: &BranchView, turn: Option<TurnId>) -> Done {
    let session: SessionView = client.json(Method::GET, &format!("/v1/sessions/{}", agent.session), None).await?;
    // From the beginning of the turn: it may have begun already, and be over.
    let mut follow = Follow::after(client, &session, 0, Form::of(context.json));
    if let Some(turn) = turn {
        follow.expect_alone(turn);
    }
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    let result = tokio::select! {
        result = follow.result_with_approvals() => result?,
        _ = interrupted.recv() => {
            out::note(&clean(&format!("{} goes on; see: lazaret agents follow {}", agent.branch, agent.branch)));
            return Ok(130);
        }
    };
    let agent: BranchView = client.json(Method::GET, &path(agent), None).await?;
    if !context.json {
        out::note(&clean(&list::sentence(&agent)));
    }
    Ok(super::super::run::exit_status(&result))
}

/// Waits for several; the status is that of the worst.
pub(super) async fn all(context: &Context, client: &Client, agents: Vec<BranchView>, timeout: Option<Duration>) -> Done {
    let mut ends: FuturesUnordered<_> = agents.iter().map(|agent| end(client, agent)).collect();
    let collect = async {
        let mut worst = 0;
        while let Some(agent) = ends.next().await {
            let agent = agent?;
            if context.json {
                out::json(&agent)?;
            } else {
                out::line(&clean(&list::sentence(&agent)));
            }
            worst = worst.max(status(&agent));
        }
        Ok(worst)
    };
    match timeout {
        None => collect.await,
        Some(timeout) => tokio::time::timeout(timeout, collect)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Code::Timeout, "not all agents are over yet").hint("they go on; wait for them again"))),
    }
}

/// The agent, once its turn is over.
async fn end(client: &Client, agent: &BranchView) -> Result<BranchView, Failure> {
    let at = path(agent);
    loop {
        let now = super::super::begin::again(|| client.json::<BranchView>(Method::GET, &at, None)).await?;
        if now.state.is_over() {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The exit status of a command that waited for this agent.
fn status(agent: &BranchView) -> u8 {
    match (agent.state, agent.code) {
        (BranchState::Done, _) => 0,
        (BranchState::Stopped, _) => Code::Cancelled.exit_status(),
        (_, Some(code)) => code.exit_status(),
        (_, None) => 1,
    }
}
