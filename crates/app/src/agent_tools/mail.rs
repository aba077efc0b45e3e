//! What one agent says to another: a turn of the other's, in a conversation that is theirs alone, for the person who asked the first. The answer
//! comes back as a turn of the first; what is passed on too often goes no further.

use broker::Standing;
use model::{Code, Failure, TurnId, escaped};
use serde_json::{Value, json};
use store::{Mail, Origin, SessionKey, TurnAbout};

use super::{Doing, wrong};
use crate::{App, MessageForm};

/// How often something is passed on between agents before somebody who is none must speak again.
const HOPS_MAX: u32 = 8;

/// Says something to another agent.
pub(super) async fn send(doing: &Doing, to: &str, text: &str) -> Result<Value, Failure> {
    let (app, caller) = (&doing.app, &doing.caller);
    let (session, turn) = (doing.session()?, doing.turn()?);
    if to == caller.agent {
        return Err(wrong("this is you"));
    }
    if caller.asker.as_ref().is_some_and(|asker| matches!(asker.standing, Standing::Nobody)) {
        return Err(Failure::new(Code::Forbidden, "nothing is passed on for whoever asked"));
    }
    let store = app.store();
    app.agents().show(to).await?;
    let hops = store.mail_of(turn).await.map_err(|e| e.failure())?.map_or(0, |mail| mail.hops).saturating_add(1);
    if hops > HOPS_MAX {
        return Err(Failure::new(Code::RateLimited, format!("agents have passed this on {HOPS_MAX} times; a person has to speak first")));
    }
    // What is told in one conversation is not told in another one of the same two.
    let key = SessionKey {
        tenant: caller.tenant.clone(),
        agent: to.to_owned(),
        chat: format!("agent-{}", caller.agent),
        thread: session.to_string(),
    };
    let theirs = app.session_named(&key, &format!("asked by {}", caller.agent)).await?;
    let origin = doing.asker().await?.map(Origin::of).map(|mut origin| {
        origin.via.push(caller.agent.clone());
        origin
    });
    let known = store.destinations(&caller.tenant, to).await.map_err(|e| e.failure())?;
    let name = known.iter().find(|row| row.target.as_deref() == Some(&caller.agent)).map_or(caller.agent.as_str(), |row| row.name.as_str());
    let prompt = format!("<message from_agent=\"{}\">\n{}\n</message>\n", escaped(name), escaped(text));
    let mail = Mail { hops, from: Some((caller.agent.clone(), session.clone(), turn.clone())) };
    let about = TurnAbout { origin, mail: Some(mail), ..TurnAbout::default() };
    let form = MessageForm { text: prompt, ..MessageForm::default() };
    let made = app.sessions_of(&doing.tenant()).message_about(theirs.as_str(), form, Some(doing.cause()), about).await?;
    model::crash::point("tool:mailed");
    Ok(json!({ "turn": made, "note": "its answer comes to you as a further message; end your turn now, and go on when it is there" }))
}

impl App {
    /// Lets the agent go on that asked a turn which has ended.
    pub(crate) async fn pass_on(&self, turn: &TurnId) {
        let session = match self.store().reply_of(turn).await {
            Ok(Some((_, session))) => session,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%turn, error = model::chain(&error), "whether an agent waits for an answer is not known"),
        };
        // A session whose files are with another daemon is worked on there.
        if matches!(self.store().session_elsewhere(&session).await, Ok(Some(_))) {
            return;
        }
        match Box::pin(self.bring(&session, None, None)).await {
            Ok(live) => live.wake.notify_one(),
            Err(failure) => tracing::warn!(%session, %failure, "an agent does not hear an answer"),
        }
    }
}
