//! Chats that there are, and what can be done with one.

use app::{AnswerForm, SessionPatch, SessionQuery, SessionState, SessionView};
use axum::Json;
use axum::extract::State;
use axum::routing::{delete, get, patch, post};
use model::{Code, EventKind, Failure};
use serde_json::{Value, json};

use super::ask::{ChatForm, check};
use super::chat;
use super::tell::question;
use super::time::iso;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Patch, Post};
use crate::operation::{Operation, of};
use crate::request::{Asked, At, Form};
use crate::{Api, Problem};

/// The longest request: a message and its attachments in base64.
const CHAT_BYTES_MAX: usize = 72 << 20;
/// The longest text that is put into a turn that runs, in characters.
const INJECT_CHARS_MAX: usize = 32_000;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::new(Post, "/api/chat", "Sends a message and streams the events of its turn.", || post(chat::post))
        .takes(of::<ChatForm>)
        .at_most(CHAT_BYTES_MAX)
        .gives_bytes(200, &["text/event-stream"]),
    Operation::new(Get, "/api/chat", "Lists chats, the youngest first.", || get(list)).asks(of::<List>),
    Operation::new(Get, "/api/chat/active-streams", "Chats in which a turn runs.", || get(active)),
    Operation::new(Get, "/api/chat/{id}", "A chat with its messages.", || get(show)),
    Operation::new(Delete, "/api/chat/{id}", "Deletes a chat with its files.", || delete(remove)),
    Operation::new(Post, "/api/chat/{id}/archive", "Archives a chat.", || post(archive)),
    Operation::new(Post, "/api/chat/{id}/unarchive", "Takes a chat from the archive.", || post(unarchive)),
    Operation::new(Post, "/api/chat/{id}/abort", "Cancels what runs.", || post(abort)),
    Operation::new(Post, "/api/chat/{id}/answer", "Answers a question.", || post(answer)).takes(of::<Answer>),
    Operation::new(Post, "/api/chat/{id}/inject", "Puts a message into the turn that runs.", || post(inject)).takes(of::<Inject>),
    Operation::new(Get, "/api/chat/{id}/transcript", "Everything that happened in a chat.", || get(transcript)).asks(of::<Since>),
    Operation::new(Patch, "/api/chat/{id}/metadata", "Changes the title.", || patch(rename)).takes(of::<Metadata>),
    Operation::new(Get, "/api/chat/{id}/stream-status", "Whether a turn runs.", || get(stream_status)),
    Operation::new(Get, "/api/chat/{id}/pending-questions", "What is asked just now.", || get(questions)),
];

/// Which chats.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(rename = "ChatQuery")]
struct List {
    /// Entries; 100 when left out, at most 1000.
    limit: Option<usize>,
    /// Entries to leave out before them.
    offset: usize,
    /// Archived ones, or the others when left out.
    archived: bool,
    /// Those with this in their title.
    search: Option<String>,
    /// Those in this container.
    #[serde(alias = "containerId")]
    container_id: Option<String>,
}

/// Chats in a list: when nothing is said, and at most.
const LIST: (usize, usize) = (100, 1000);
/// Chats that one search looks through.
const SEARCH_MAX: usize = 10_000;
/// Chats that are read at once.
const PAGE: usize = 200;

async fn list(State(api): State<Api>, who: Identity, Asked(asked): Asked<List>) -> Result<Json<Value>, Problem> {
    let most = crate::request::limit(asked.limit, LIST.0, LIST.1);
    let search = asked.search.map(|text| text.to_lowercase());
    let (mut found, mut left_out, mut looked, mut after) = (Vec::new(), 0, 0, None);
    while found.len() < most && looked < SEARCH_MAX {
        let query = SessionQuery {
            env: asked.container_id.clone(),
            archived: asked.archived,
            after: after.take(),
            limit: Some(PAGE),
            ..SessionQuery::default()
        };
        let page = api.app.sessions_of(&who.caller).list(query).await?;
        looked += page.items.len();
        for chat in page.items {
            if search.as_ref().is_some_and(|text| !chat.title.to_lowercase().contains(text)) {
                continue;
            }
            if left_out < asked.offset {
                left_out += 1;
            } else if found.len() < most {
                found.push(entry(&chat));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Json(json!({ "sessions": found })))
}

/// A chat as the seed shows it.
fn entry(chat: &SessionView) -> Value {
    json!({
        "id": chat.id,
        "sessionId": chat.id,
        "title": chat.title,
        "module": "chat",
        "agentType": chat.agent,
        "model": chat.model,
        "containerId": chat.env,
        "containerEnvId": chat.env,
        "workingDirectory": chat.workdir,
        "trustLevel": "sandboxed",
        "archived": chat.state == SessionState::Archived,
        "messageCount": chat.turns * 2,
        "createdAt": iso(chat.created),
        "lastAccessed": iso(chat.updated),
        "updatedAt": iso(chat.updated),
    })
}

/// Turns that one chat is shown with.
const TURNS_MAX: usize = 1000;
/// Bytes of prompts that one chat is shown with; beyond them only their beginnings are.
const PROMPTS_BYTES_MAX: usize = 16 << 20;
/// Events that are looked through for answers.
const EVENTS_MAX: usize = 50_000;
/// Events that are read at once.
const EVENTS_PAGE: usize = 1000;

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    let sessions = api.app.sessions_of(&who.caller);
    let chat = sessions.show(&id).await?;
    let turns = sessions.turns(&id, 0, TURNS_MAX).await?;
    let mut answers = std::collections::HashMap::new();
    let (mut after, mut looked) = (0, 0);
    while looked < EVENTS_MAX {
        let events = sessions.events(&id, after, EVENTS_PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        looked += events.len();
        for event in events {
            if let EventKind::Result(result) = event.kind {
                answers.insert(event.turn, (event.time, result.text));
            }
        }
    }
    let (mut messages, mut room) = (Vec::new(), PROMPTS_BYTES_MAX);
    for turn in turns.iter().filter(|turn| turn.in_history) {
        let prompt = sessions.prompt(&id, &turn.id).await?;
        room = room.saturating_sub(prompt.len());
        let content = if room > 0 { prompt } else { turn.prompt.clone() };
        messages.push(json!({ "role": "user", "content": content, "timestamp": iso(turn.accepted) }));
        if let Some((time, text)) = answers.remove(&turn.id) {
            messages.push(json!({ "role": "assistant", "content": text, "timestamp": iso(time) }));
        }
    }
    let mut shown = entry(&chat);
    shown["messages"] = json!(messages);
    Ok(Json(shown))
}

async fn remove(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    api.app.sessions_of(&who.caller).remove(&id).await?;
    Ok(Json(json!({ "success": true, "deleted": id })))
}

async fn archive(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    set_archived(&api, &who, &id, true).await
}

async fn unarchive(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    set_archived(&api, &who, &id, false).await
}

async fn set_archived(api: &Api, who: &Identity, id: &str, archived: bool) -> Result<Json<Value>, Problem> {
    let change = SessionPatch { archived: Some(archived), ..SessionPatch::default() };
    let chat = api.app.sessions_of(&who.caller).update(id, change).await?;
    Ok(Json(json!({ "success": true, "session": entry(&chat) })))
}

fn is_at_work(chat: &SessionView) -> bool {
    matches!(chat.state, SessionState::Queued | SessionState::Running | SessionState::Waiting)
}

async fn abort(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    let sessions = api.app.sessions_of(&who.caller);
    if !is_at_work(&sessions.show(&id).await?) {
        return Err(Failure::new(Code::NotFound, "no active stream for this session").into());
    }
    sessions.cancel(&id).await?;
    Ok(Json(json!({ "success": true, "message": "the turn is cancelled", "sessionId": id })))
}

/// An answer to a question.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChatAnswer")]
struct Answer {
    /// Which question; also `requestId`.
    #[serde(alias = "requestId")]
    request_id: String,
    /// The answer: a text, a list of texts, or an object with one for each question.
    answers: Value,
}

/// The one text that answers.
fn answer_text(answers: &Value) -> Option<String> {
    match answers {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if !items.is_empty() => Some(items.iter().filter_map(answer_text).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => fields.values().next().and_then(answer_text),
        _ => None,
    }
}

async fn answer(State(api): State<Api>, who: Identity, At(id): At<String>, Form(form): Form<Answer>) -> Result<Json<Value>, Problem> {
    let wrong = |why: &str, field: &str| Failure::new(Code::Usage, why).field(field);
    let text = answer_text(&form.answers).ok_or_else(|| wrong("answers hold no text", "answers"))?;
    let question = form.request_id.parse().map_err(|_| Failure::new(Code::NotFound, "there is no such question").field("request_id"))?;
    api.app.sessions_of(&who.caller).answer(&id, AnswerForm { question: Some(question), text }).await?;
    Ok(Json(json!({ "success": true, "sessionId": id })))
}

/// A message for the turn that runs.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChatInject")]
struct Inject {
    /// At most 32,000 characters.
    message: String,
}

async fn inject(State(api): State<Api>, who: Identity, At(id): At<String>, Form(form): Form<Inject>) -> Result<Json<Value>, Problem> {
    check(&form.message, INJECT_CHARS_MAX)?;
    let turn = api.app.sessions_of(&who.caller).inject(&id, form.message).await?;
    Ok(Json(json!({ "success": true, "sessionId": id, "turn": turn })))
}

async fn stream_status(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    let chat = api.app.sessions_of(&who.caller).show(&id).await?;
    Ok(Json(json!({ "active": is_at_work(&chat), "sessionId": id })))
}

/// Sessions that are looked through for those at work.
const ACTIVE_MAX: usize = 10_000;

async fn active(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    let (mut streams, mut looked, mut after) = (Vec::new(), 0, None);
    while looked < ACTIVE_MAX {
        let query = SessionQuery { after: after.take(), limit: Some(PAGE), ..SessionQuery::default() };
        let page = api.app.sessions_of(&who.caller).list(query).await?;
        looked += page.items.len();
        streams.extend(page.items.iter().filter(|chat| is_at_work(chat)).map(|chat| json!({ "sessionId": chat.id, "title": chat.title })));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Json(json!({ "count": streams.len(), "streams": streams })))
}

/// From where on.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(rename = "ChatTranscriptQuery")]
struct Since {
    /// Events after this sequence number.
    after: u64,
}

async fn transcript(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(asked): Asked<Since>) -> Result<Json<Value>, Problem> {
    let events = api.app.sessions_of(&who.caller).events(&id, asked.after, EVENTS_PAGE).await?;
    let next = (events.len() == EVENTS_PAGE).then(|| events.last().map(|event| event.seq)).flatten();
    Ok(Json(json!({ "sessionId": id, "events": events, "next": next })))
}

/// What is known about a chat besides its messages.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChatMetadata")]
struct Metadata {
    /// Its title; left as it is when left out.
    #[serde(default)]
    title: Option<String>,
}

async fn rename(State(api): State<Api>, who: Identity, At(id): At<String>, Form(form): Form<Metadata>) -> Result<Json<Value>, Problem> {
    let change = SessionPatch { title: form.title, ..SessionPatch::default() };
    let chat = api.app.sessions_of(&who.caller).update(&id, change).await?;
    Ok(Json(json!({ "success": true, "session": entry(&chat) })))
}

async fn questions(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    let chat = api.app.sessions_of(&who.caller).show(&id).await?;
    let asked = |q: &app::QuestionView| json!({ "requestId": q.id, "questions": [question(&q.text, &q.options)] });
    Ok(Json(json!({ "pending": chat.questions.iter().map(asked).collect::<Vec<_>>(), "sessionId": id })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_several_forms() {
        let check = |value: Value, expect: Option<&str>| assert_eq!(answer_text(&value).as_deref(), expect, "{value}");
        check(json!("blue"), Some("blue"));
        check(json!({ "Which colour?": "blue" }), Some("blue"));
        check(json!({ "Which colours?": ["blue", "red"] }), Some("blue, red"));
        check(json!({}), None);
        check(json!(7), None);
    }
}
