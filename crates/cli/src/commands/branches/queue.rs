//! `lazaret agents queue`, and `lazaret agents merge --queue`.

use std::path::Path;
use std::time::Duration;

use app::{BranchView, QueueForm, QueuePlace, QueueView};
use http::Method;
use model::{BranchId, Code, Failure, PlaceState, QueueState};
use tokio::signal::unix::{SignalKind, signal};

use super::super::begin::{accepted_once, again};
use super::super::sandbox::escaped;
use super::super::{Context, lists};
use super::which;
use crate::args;
use crate::client::{Client, internal};
use crate::exit::{Done, clean};
use crate::home::random_hex;
use crate::out;

/// Queues that one list shows.
const QUEUES_MAX: usize = 500;
/// How long a queue rests until it is looked at again.
const LOOK: Duration = Duration::from_millis(150);
/// Looks in a row at which no daemon may be there.
const LOOKS_MISSED_MAX: u32 = 200;
/// Files that one line names.
const FILES_SHOWN: usize = 10;

/// Makes a queue of these agents' branches and waits for its end.
pub(super) async fn make(context: &Context, client: &Client, agents: &[BranchView], flags: &args::Merge) -> Done {
    let form = QueueForm {
        agents: agents.iter().map(|agent| agent.id.clone()).collect(),
        into: flags.into.clone(),
        check: flags.check.clone(),
        expect: flags.expect.iter().cloned().collect(),
        resolve: flags.resolve,
    };
    let made = asked(client, &form).await?;
    follow(context, client, made).await
}

/// Makes a queue, once however often it has to be said.
async fn asked(client: &Client, form: &QueueForm) -> Result<QueueView, Failure> {
    let key = random_hex::<16>()?;
    let body = serde_json::to_vec(form).map_err(|e| internal(&e.to_string()))?;
    let made = accepted_once(client, "/v1/merge-queues", &key, body).await?;
    serde_json::from_slice(&made).map_err(|e| internal(&format!("the daemon's answer is not understood: {e}")))
}

/// Puts one branch at the commit that was looked at through a queue of its own and says what came of it; prints nothing. Whoever stops
/// waiting leaves the queue alone.
///
/// # Errors
/// The queue cannot be made or looked at, or the branch stands in its way: then in words why.
pub(in crate::commands) async fn through(client: &Client, agent: BranchId, expect: String) -> Result<String, Failure> {
    let form = QueueForm { agents: vec![agent], expect: vec![expect], ..QueueForm::default() };
    let mut queue = asked(client, &form).await?;
    let at = format!("/v1/merge-queues/{}", queue.id);
    let mut missed = 0;
    while queue.state == QueueState::Working {
        tokio::time::sleep(LOOK).await;
        match client.json::<QueueView>(Method::GET, &at, None).await {
            Ok(now) => (queue, missed) = (now, 0),
            // The next daemon goes on with it.
            Err(failure) if failure.code == Code::DaemonMissing && missed < LOOKS_MISSED_MAX => missed += 1,
            Err(failure) => return Err(failure),
        }
    }
    let Some(place) = queue.places.first() else { return Err(internal("a merge queue has no branch")) };
    let said = match &place.note {
        Some(note) => format!("{}; {note}", sentence(place, &queue.into)),
        None => sentence(place, &queue.into),
    };
    match place.state {
        state if state.is_in() => Ok(said),
        PlaceState::Conflict => Err(Failure::new(Code::MergeConflict, said)),
        _ => Err(Failure::new(Code::Conflict, said)),
    }
}

/// The queues, or what one says and does.
pub(super) async fn run(context: &Context, client: &Client, verb: args::Agents) -> Done {
    let args::Agents::Queue { id, repo, stop, resume } = verb else { return Ok(0) };
    let Some(id) = id else { return list(context, client, repo.as_deref()).await };
    let at = format!("/v1/merge-queues/{}", escaped(&id));
    if stop {
        let queue: QueueView = client.json(Method::POST, &format!("{at}/stop"), None).await?;
        if context.json {
            out::json(&queue)?;
        } else {
            out::line(&clean(&format!("{}: {}", queue.id, queue.state.as_str())));
        }
        return Ok(0);
    }
    let queue: QueueView =
        if resume { client.json(Method::POST, &format!("{at}/resume"), None).await? } else { client.json(Method::GET, &at, None).await? };
    follow(context, client, queue).await
}

async fn list(context: &Context, client: &Client, repo: Option<&Path>) -> Done {
    let place = which::place(repo)?;
    let query = match place.as_deref() {
        Some(place) => {
            let text =
                place.to_str().ok_or_else(|| Failure::new(Code::PathUnusable, "the repository's path is not UTF-8").field("--repo"))?;
            format!("?repo={}", escaped(text))
        }
        None => String::new(),
    };
    let queues: Vec<QueueView> = lists::list(client, &format!("/v1/merge-queues{query}"), QUEUES_MAX).await?;
    if context.json {
        queues.iter().try_for_each(out::json)?;
        return Ok(0);
    }
    let row = |queue: &QueueView| {
        let done = queue.places.iter().filter(|place| place.state.is_in()).count();
        let at = queue.places.iter().find(|place| !place.state.is_in());
        vec![
            queue.id.to_string(),
            queue.state.as_str().to_owned(),
            queue.into.clone(),
            format!("{done} of {}", queue.places.len()),
            at.map(|place| format!("{} ({})", place.branch, place.state.as_str())).unwrap_or_default(),
            out::ago(queue.changed),
        ]
    };
    out::table(&["queue", "state", "into", "in", "at", "last"], &queues.iter().map(row).collect::<Vec<_>>());
    Ok(0)
}

/// Shows each branch as it comes to its end, until the queue does. An interrupt leaves the queue alone.
async fn follow(context: &Context, client: &Client, mut queue: QueueView) -> Done {
    let at = format!("/v1/merge-queues/{}", queue.id);
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    let mut shown = 0;
    loop {
        let known = queue.places.iter().take_while(|place| place.state.is_in()).count();
        if !context.json {
            queue.places[shown..known].iter().for_each(|place| out::line(&clean(&sentence(place, &queue.into))));
        }
        shown = known;
        if queue.state != QueueState::Working {
            return ended(context, &queue);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = interrupted.recv() => {
                out::note(&clean(&format!("the queue goes on; see: lazaret agents queue {}", queue.id)));
                return Ok(130);
            }
        }
        queue = again(|| client.json::<QueueView>(Method::GET, &at, None)).await?;
    }
}

fn ended(context: &Context, queue: &QueueView) -> Done {
    let way = queue.places.iter().find(|place| place.state.is_in_the_way());
    if context.json {
        out::json(queue)?;
    } else if let Some(place) = way {
        out::line(&clean(&sentence(place, &queue.into)));
        for file in place.conflicts.iter().take(FILES_SHOWN) {
            out::line(&clean(&format!("  {}: {}", file.path, file.message)));
        }
        if let Some(check) = place.check.as_ref().filter(|check| !check.passed) {
            out::line(&clean(check.output.trim_end()));
        }
        if let Some(note) = &place.note {
            out::note(&clean(note));
        }
    } else if queue.state == QueueState::Stopped {
        out::note(&clean(&format!("the queue was stopped; to go on: lazaret agents queue {} --resume", queue.id)));
    }
    Ok(match (queue.state, way.map(|place| place.state)) {
        (QueueState::Done, _) => 0,
        (_, Some(PlaceState::Conflict)) => Code::MergeConflict.exit_status(),
        (_, Some(_)) => 1,
        (_, None) => Code::Cancelled.exit_status(),
    })
}

fn sentence(place: &QueuePlace, into: &str) -> String {
    let branch = &place.branch;
    let commit: String = place.commit.as_deref().unwrap_or_default().chars().take(10).collect();
    match place.state {
        PlaceState::Merged => format!("{branch} is merged into {into}, which is at {commit}"),
        PlaceState::Current => format!("{into} has everything of {branch} already"),
        PlaceState::Conflict => {
            let files: Vec<&str> = place.conflicts.iter().take(FILES_SHOWN).map(|file| file.path.as_str()).collect();
            format!("{branch} conflicts with {into}; nothing was changed: {}", files.join(", "))
        }
        PlaceState::Refused => format!("{branch} was not merged into {into}: the check failed on the result; nothing was changed"),
        // Where a merge of several repositories stands half, the note says so.
        PlaceState::Failed => format!("{branch} was not merged into {into}"),
        state => format!("{branch} is {}", state.as_str()),
    }
}
