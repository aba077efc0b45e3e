//! One turn in a session that is there for it alone.

use app::{MessageForm, SessionView};
use http::Method;
use model::{Failure, ResultEvent};
use serde_json::Value;

use super::begin::again;
use super::follow::{Follow, ask};
use super::screen::Form;
use crate::client::Client;
use crate::home::random_hex;

/// Asks something in a session, shows what happens in this form, and gives how it ended. The session is forgotten unless `keep`.
pub(super) async fn turn(client: &Client, session: &SessionView, form: Form, text: String, keep: bool) -> Result<ResultEvent, Failure> {
    let path = format!("/v1/sessions/{}", session.id);
    let mut follow = Follow::new(client, session, form);
    let done = async {
        // Attached before the turn is accepted: from its first moment somebody waits for it.
        follow.attach().await?;
        let key = random_hex::<16>()?;
        let message = MessageForm { text, ..MessageForm::default() };
        follow.expect(ask(client, &path, &message, &key).await?);
        follow.result().await
    }
    .await;
    drop(follow);
    if !keep {
        let _ = again(async || client.json::<Value>(Method::DELETE, &path, None).await).await;
    }
    done
}
