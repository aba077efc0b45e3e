//! `lazaret session`.

use app::{AnswerForm, Change, MessageForm, SessionView, TurnView, UndoForm};
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Event, Failure, QuestionId};
use serde_json::{Value, json};

use super::begin::again;
use super::chat::attach;
use super::follow::{Follow, ask};
use super::lists;
use super::run::exit_status;
use super::sandbox::{escaped, plain};
use super::screen::{Form, Screen};
use super::{Context, archive, fork, text};
use crate::args;
use crate::client::{Client, full, internal};
use crate::exit::{Done, clean};
use crate::home::random_hex;
use crate::out;

/// Turns that are listed.
const TURNS_MAX: usize = 10_000;
/// Events in one page of the log.
const EVENTS_PAGE: usize = 1000;
/// How much of a prompt is shown in a list.
const PROMPT_CHARS: usize = 50;
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub(super) async fn run(context: &Context, verb: args::Session) -> Done {
    let client = context.client()?;
    match verb {
        args::Session::List(flags) => list(context, &client, &flags).await?,
        args::Session::Show { id } => {
            let view: SessionView = client.json(Method::GET, &path(&id)?, None).await?;
            show(context, &view)?;
        }
        args::Session::Turns { id } => turns(context, &client, &id).await?,
        args::Session::Events { id, after, follow } => events(context, &client, &id, after, follow).await?,
        args::Session::Send(flags) => return send(context, &client, flags).await,
        args::Session::Cancel { id } => {
            let _: Value = post(&client, &id, "cancel", None).await?;
        }
        args::Session::Answer { id, question, text } => {
            let text = text::given("answer", &text, ANSWER_BYTES_MAX)?;
            answer(&client, &id, question.as_deref(), text).await?;
        }
        args::Session::Archive { ids } => each(&client, &ids, "archive").await?,
        args::Session::Unarchive { ids } => each(&client, &ids, "unarchive").await?,
        args::Session::Delete { ids } => {
            for id in ids {
                let _: Value = client.json(Method::DELETE, &path(&id)?, None).await?;
            }
        }
        args::Session::Undo { id, to, private, force } => {
            let view = undo(&client, &id, &UndoForm { to, private, force }).await?;
            if context.json { out::json(&view)? } else { out::line(&stands(&view)) }
        }
        args::Session::Fork(flags) => return fork::run(context, &client, flags).await,
        args::Session::Diff { id, turn, patch } => diff(context, &client, &id, turn, patch.as_deref()).await?,
        args::Session::Export { id, output } => archive::export(context, &client, &id, output.as_deref()).await?,
        args::Session::Import { file } => {
            let view = archive::import(&client, &file).await?;
            if context.json { out::json(&view)? } else { out::line(view.id.as_str()) }
        }
    }
    Ok(0)
}

/// Where a session is in the API.
pub(super) fn path(id: &str) -> Result<String, Failure> {
    Ok(format!("/v1/sessions/{}", plain(id)?))
}

async fn post<T: serde::de::DeserializeOwned>(client: &Client, id: &str, verb: &str, body: Option<&Value>) -> Result<T, Failure> {
    client.json(Method::POST, &format!("{}/{verb}", path(id)?), body).await
}

async fn each(client: &Client, ids: &[String], verb: &str) -> Result<(), Failure> {
    for id in ids {
        let _: Value = post(client, id, verb, None).await?;
    }
    Ok(())
}

async fn list(context: &Context, client: &Client, flags: &args::SessionList) -> Result<(), Failure> {
    let mut query = format!("/v1/sessions?archived={}", flags.archived);
    for (name, value) in [("env", &flags.env), ("agent", &flags.agent), ("label", &flags.label)] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", escaped(value)));
        }
    }
    let views: Vec<SessionView> = lists::list(client, &query, flags.limit).await?;
    if context.json {
        return views.iter().try_for_each(out::json);
    }
    let row = |view: &SessionView| {
        vec![
            view.id.to_string(),
            state(view).to_owned(),
            view.agent.clone(),
            view.env.clone().unwrap_or_default(),
            view.turns.to_string(),
            out::ago(view.updated),
            view.title.clone(),
        ]
    };
    out::table(&["session", "state", "agent", "env", "turns", "changed", "title"], &views.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// The word for where a session stands.
fn state(view: &SessionView) -> &'static str {
    match view.state {
        app::SessionState::Idle => "idle",
        app::SessionState::Queued => "queued",
        app::SessionState::Running => "running",
        app::SessionState::Waiting => "waiting",
        app::SessionState::Archived => "archived",
    }
}

/// Where a session stands after it went back.
pub(super) fn stands(view: &SessionView) -> String {
    match view.head {
        0 => format!("{} is at its beginning", view.id),
        head => format!("{} is at the end of turn {head}", view.id),
    }
}

fn show(context: &Context, view: &SessionView) -> Result<(), Failure> {
    if context.json {
        return out::json(view);
    }
    let model = if view.model.is_empty() { view.provider.clone() } else { format!("{}/{}", view.provider, view.model) };
    let mut lines = vec![
        ("session", view.id.to_string()),
        ("title", view.title.clone()),
        ("state", state(view).to_owned()),
        ("agent", view.agent.clone()),
        ("engine", view.engine.clone()),
        ("model", model),
        ("env", view.env.clone().unwrap_or_else(|| "none: its files are its own".to_owned())),
        ("begins in", view.workdir.clone()),
        ("turns", format!("{}, now at the end of turn {}", view.turns, view.head)),
        ("made", out::ago(view.created)),
        ("changed", out::ago(view.updated)),
    ];
    if let Some(parent) = &view.parent {
        lines.push(("forked from", format!("{} at turn {}", parent.session, parent.turn)));
    }
    lines.extend(view.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    lines.extend(view.mounts.iter().map(|m| {
        let how = if m.read_only { "read-only" } else { "writable" };
        ("mount", format!("{} at {}, {how}", m.host.display(), m.target.display()))
    }));
    for question in &view.questions {
        let offered = if question.options.is_empty() { String::new() } else { format!(" ({})", question.options.join(" / ")) };
        lines.push(("asks", format!("{}{offered}, question {}", question.text, question.id)));
    }
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        out::line(&format!("{name:<12} {}", clean(value)));
    }
    Ok(())
}

async fn turns(context: &Context, client: &Client, id: &str) -> Result<(), Failure> {
    let turns: Vec<TurnView> = lists::list(client, &format!("{}/turns", path(id)?), TURNS_MAX).await?;
    if context.json {
        return turns.iter().try_for_each(out::json);
    }
    let row = |turn: &TurnView| {
        let end = turn.outcome.map_or_else(|| turn.state.as_str(), |outcome| outcome.as_str());
        let history = match (turn.in_history, turn.checkpoint) {
            (false, _) => "undone",
            (true, true) => "checkpoint",
            (true, false) => "",
        };
        let accepted = out::ago(turn.accepted);
        vec![
            turn.n.to_string(),
            turn.parent.to_string(),
            end.to_owned(),
            history.to_owned(),
            accepted,
            out::cut(&turn.prompt, PROMPT_CHARS),
        ]
    };
    out::table(&["turn", "after", "state", "history", "asked", "prompt"], &turns.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn events(context: &Context, client: &Client, id: &str, mut after: u64, follow: bool) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Page {
        events: Vec<Event>,
    }
    let path = path(id)?;
    let mut screen = Screen::new(if context.json { Form::Json } else { Form::Run });
    loop {
        let page: Page = client.json(Method::GET, &format!("{path}/events?after={after}&limit={EVENTS_PAGE}"), None).await?;
        for event in &page.events {
            screen.show(event)?;
            after = event.seq;
        }
        if page.events.is_empty() {
            break;
        }
    }
    if !follow {
        return Ok(());
    }
    let uri = format!("{path}/events?after={after}");
    let request = http::Request::builder().uri(uri).header("host", "lazaret").header("accept", "application/x-ndjson");
    let request = request.body(full(Vec::new())).map_err(|e| internal(&e.to_string()))?;
    let mut stream = client.connection().await?.send_request(request).await?.into_body().into_data_stream();
    let mut held: Vec<u8> = Vec::new();
    while let Some(Ok(piece)) = stream.next().await {
        held.extend_from_slice(&piece);
        while let Some(end) = held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            if line.len() > 1 {
                screen.show(&serde_json::from_slice(&line).map_err(|e| internal(&e.to_string()))?)?;
            }
        }
    }
    Ok(())
}

async fn send(context: &Context, client: &Client, flags: args::Send) -> Done {
    let text = text::prompt(&flags.text)?;
    let path = path(&flags.id)?;
    if flags.inject {
        let accepted: Value = client.json(Method::POST, &format!("{path}/inject"), Some(&json!({ "text": text }))).await?;
        if context.json {
            out::json(&accepted)?
        } else {
            out::line(accepted["turn"].as_str().unwrap_or_default())
        }
        return Ok(0);
    }
    let files = flags.files.iter().map(|file| attach::read(file, &context.env)).collect::<Result<Vec<_>, _>>()?;
    attach::check(&files)?;
    let form = MessageForm { text, files, ..MessageForm::default() };
    let key = random_hex::<16>()?;
    if !flags.wait {
        let turn = ask(client, &path, &form, &key).await?;
        if context.json {
            out::json(&json!({ "turn": turn }))?
        } else {
            out::line(turn.as_str())
        }
        return Ok(0);
    }
    let view: SessionView = client.json(Method::GET, &path, None).await?;
    let mut follow = Follow::new(client, &view, Form::of(context.json));
    follow.attach().await?;
    follow.expect(ask(client, &path, &form, &key).await?);
    Ok(exit_status(&follow.result().await?))
}

/// Answers what a session asks.
pub(super) async fn answer(client: &Client, id: &str, question: Option<&str>, text: String) -> Result<(), Failure> {
    let question = question.map(|q| q.parse::<QuestionId>()).transpose();
    let question = question.map_err(|e| Failure::new(model::Code::Usage, e.to_string()).field("--question"))?;
    let form = json!(AnswerForm { question, text });
    let _: Value = post(client, id, "answer", Some(&form)).await?;
    Ok(())
}

/// Goes back.
pub(super) async fn undo(client: &Client, id: &str, form: &UndoForm) -> Result<SessionView, Failure> {
    post(client, id, "undo", Some(&json!(form))).await
}

async fn diff(context: &Context, client: &Client, id: &str, turn: Option<u64>, patch: Option<&str>) -> Result<(), Failure> {
    let turn = match turn {
        Some(turn) => turn,
        None => client.json::<SessionView>(Method::GET, &path(id)?, None).await?.head,
    };
    show_diff(context.json, client, id, turn, patch).await
}

/// Shows what a turn changed, or what it changed in one file.
pub(super) async fn show_diff(json: bool, client: &Client, id: &str, turn: u64, patch: Option<&str>) -> Result<(), Failure> {
    let path = path(id)?;
    if let Some(file) = patch {
        let uri = format!("{path}/diff/{turn}?path={}", escaped(file));
        let response = again(async || client.send(Method::GET, &uri, "application/json", full(Vec::new())).await).await?;
        let bytes = crate::client::collect(response).await?;
        let text = String::from_utf8_lossy(&bytes);
        if json {
            return out::json(&json!({ "turn": turn, "path": file, "patch": text }));
        }
        out::line(clean(&text).trim_end());
        return Ok(());
    }
    let changes: Vec<Change> = lists::all(client, &format!("{path}/diff?turn={turn}")).await?;
    if json {
        return changes.iter().try_for_each(out::json);
    }
    for change in &changes {
        let size = |n: Option<u64>| n.map_or_else(String::new, out::bytes);
        let sizes = match (change.size_before, change.size_after) {
            (Some(before), Some(after)) => format!("{} -> {}", out::bytes(before), out::bytes(after)),
            (before, after) => size(before.or(after)),
        };
        out::line(&format!("{:<8} {}  {sizes}", change.change, clean(&change.path.replace('\n', "\\n"))));
    }
    if changes.is_empty() {
        out::note(&format!("turn {turn} changed no file"));
    }
    Ok(())
}
