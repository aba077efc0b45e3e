//! A message to a chat, answered by the events of its turn.

use std::collections::VecDeque;
use std::convert::Infallible;

use app::{MessageForm, SessionView};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use model::TurnId;
use serde_json::{Value, json};

use super::ask::{Ask, ChatForm};
use super::tell::{Telling, resume, warning};
use crate::auth::Identity;
use crate::request::Form;
use crate::stream::{Piece, Streams, Watch, streaming};
use crate::{Api, Problem};

/// What says that a silent stream is alive.
const ALIVE: &[u8] = b": alive\n\n";

/// Asks, and streams what comes. The turn goes on when the client leaves.
pub(super) async fn post(
    State(api): State<Api>,
    who: Identity,
    Extension(streams): Extension<Streams>,
    Form(form): Form<ChatForm>,
) -> Result<Response, Problem> {
    let ask = form.read()?;
    // A place first: what is asked is also told.
    let place = streams.enter(&who)?;
    let sessions = api.app.sessions_of(&who.caller);
    let (chat, is_new) = match &ask.chat {
        Some(id) => (sessions.show(id).await?, false),
        None => (sessions.create(ask.form.clone(), Vec::new()).await?, true),
    };
    let id = chat.id.to_string();
    let asked = async {
        // Followed first: nothing of the turn can come before.
        let follow = sessions.follow(&id, chat.last_seq, false).await?;
        let message = MessageForm { text: ask.prompt.clone(), files: ask.files.clone(), priority: None };
        Ok::<_, model::Failure>((follow, sessions.message(&id, message, None).await?))
    };
    let (follow, turn) = match asked.await {
        Ok(asked) => asked,
        Err(failure) => {
            if is_new && let Err(error) = sessions.remove(&id).await {
                tracing::warn!(%error, "a chat whose first message was refused stays");
            }
            return Err(failure.into());
        }
    };
    let ready = preface(&chat, &ask, &turn).iter().map(event).collect();
    let telling = Telling::new(turn, chat.turns);
    let stream = Chat { watch: Watch::new(follow, api.clone(), who, place), telling, ready, is_over: false };
    let body = stream::unfold(stream, |mut chat| async move { Some((Ok::<_, Infallible>(chat.next().await?), chat)) });
    Ok(streaming("text/event-stream", Body::from_stream(body)))
}

/// What is said before the turn begins.
fn preface(chat: &SessionView, ask: &Ask, turn: &TurnId) -> Vec<Value> {
    let mut said = vec![
        json!({ "type": "session", "sessionId": chat.id, "workingDirectory": chat.workdir, "resumeInfo": resume(chat.turns),
            "trustLevel": "sandboxed", "containerId": chat.env, "turn": turn }),
        json!({ "type": "user_message", "content": ask.message }),
    ];
    if chat.is_fallback {
        said.push(warning("there is no key for a model: a rehearsal answers"));
    }
    said.extend(ask.warnings.iter().map(|text| warning(text)));
    said
}

/// One event on its way.
fn event(said: &Value) -> Bytes {
    format!("data: {said}\n\n").into()
}

struct Chat {
    watch: Watch,
    telling: Telling,
    ready: VecDeque<Bytes>,
    is_over: bool,
}

impl Chat {
    /// The next bytes, `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.is_over {
                return None;
            }
            match self.watch.next().await {
                Piece::Silence => return Some(Bytes::from_static(ALIVE)),
                Piece::Events(events) => {
                    for one in &events {
                        let (said, is_end) = self.telling.tell(one);
                        self.ready.extend(said.iter().map(event));
                        self.is_over |= is_end;
                    }
                }
                Piece::End => {
                    self.is_over = true;
                    self.ready.push_back(event(&json!({ "type": "error", "error": "the chat is gone" })));
                }
            }
        }
    }
}
