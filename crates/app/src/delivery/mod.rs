//! What goes out to chat networks: owed durably, given to the channel in order, tried until it is taken or will never be.
//!
//! Everything that wants to say something goes through [`DeliveryOf::send`]; the channel's own connection (`channels/talk.rs`) claims
//! what is due.

mod cards;
mod files;
mod typing;

use std::collections::{HashMap, VecDeque};

use model::{Code, Failure, OutboxId, SessionId, Timestamp, TurnId, split_text};
use serde_json::{Value, json};
use store::{ChatRow, DestinationRow, NewOut, OutOutcome, OutRow};
use tokio::sync::mpsc;
use wire::chat::{Abilities, Act, Address, Button, Delivery, Failing, FromChannel, ToChannel};

pub(crate) use cards::by_code;
pub use files::OutFile;
pub(crate) use files::mime_of;

use crate::{App, now};

/// Tries of a delivery before it is given up.
const TRIES_MAX: u32 = 12;
/// Tries of a delivery of which nobody knows whether it had its effect, where the platform may take it twice.
const DOUBT_TRIES_MAX: u32 = 3;
/// How long a platform that takes each once by a key knows the key at the least, in milliseconds.
const KEY_MS: u64 = 120_000;
/// The first and the longest time between two tries, in milliseconds.
const BACKOFF_MS: (u64, u64) = (2_000, 600_000);
/// How long a network that was asked too often is left alone when it does not say, and at most, in milliseconds.
const RATE_MS: (u64, u64) = (5_000, 3_600_000);
/// How long a delivery waits for a credential before it is given up, in milliseconds.
const CREDENTIAL_MS: u64 = 24 * 3_600_000;
/// How long is waited between two looks whether the credential is accepted again, in milliseconds.
const CREDENTIAL_AGAIN_MS: u64 = 60_000;
/// Chats whose rate is counted; beyond it the oldest are forgotten.
const LANES_MAX: usize = 10_000;
/// Over which time messages of one chat are counted, in milliseconds.
const MINUTE_MS: u64 = 60_000;
/// What an edit begins with that names a delivery instead of a message.
pub(crate) const OUT_PREFIX: &str = "out:";

/// What is said somewhere.
#[derive(Debug, Clone, Default)]
pub struct Saying {
    /// Markdown; split where it is longer than the network takes.
    pub text: String,
    /// Files that come along with the last message.
    pub files: Vec<OutFile>,
    /// The platform's id of the message that it answers.
    pub reply_to: Option<String>,
    /// Buttons below the last message, where the network has them.
    pub buttons: Vec<Button>,
}

/// Where something is said, and what for.
#[derive(Debug, Clone)]
pub struct Target {
    /// The account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the thread.
    pub thread: Option<String>,
    /// What it is owed for: the same cause says it once.
    pub cause: String,
    /// The agent that says it.
    pub agent: Option<String>,
    /// The session that hears of it when it fails for good.
    pub session: Option<SessionId>,
    /// The turn that caused it.
    pub turn: Option<TurnId>,
}

/// The way out.
pub struct DeliveryOf<'a> {
    app: &'a App,
}

impl App {
    /// The way out to chat networks.
    #[must_use]
    pub fn delivery(&self) -> DeliveryOf<'_> {
        DeliveryOf { app: self }
    }

    /// Something is owed through a channel.
    pub(crate) fn wake_channel(&self, channel: &str) {
        if let Some(desk) = self.board().desk(channel) {
            desk.wake();
        }
    }

    /// The same, whichever it is.
    pub(crate) fn wake_channels(&self) {
        self.board().wake_all();
    }
}

impl DeliveryOf<'_> {
    /// Says something at a place of a name: the name is the permission. When this returns, it is owed durably.
    ///
    /// # Errors
    /// The agent has no destination of this name (`FORBIDDEN`), the account is gone, or a file cannot be kept.
    pub async fn send(
        &self,
        tenant: &str,
        agent: &str,
        destination: &str,
        saying: Saying,
        cause: String,
        from: Option<(SessionId, TurnId)>,
    ) -> Result<Vec<OutboxId>, Failure> {
        let target = self.target(tenant, agent, destination, cause, from).await?;
        self.say(target, saying).await
    }

    /// The place of an agent's name for it.
    ///
    /// # Errors
    /// There is none of this name, or it is another agent.
    pub async fn target(
        &self,
        tenant: &str,
        agent: &str,
        destination: &str,
        cause: String,
        from: Option<(SessionId, TurnId)>,
    ) -> Result<Target, Failure> {
        let known = self.app.store().destinations(tenant, agent).await.map_err(|e| e.failure())?;
        let names = || known.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ");
        let row: &DestinationRow = known.iter().find(|row| row.name == destination).ok_or_else(|| {
            Failure::new(Code::Forbidden, format!("agent {agent} may not send to `{}`", destination.escape_debug()))
                .hint(format!("it may send to: {}", names()))
                .field("to")
        })?;
        let Some(chat) = &row.chat else {
            return Err(Failure::new(Code::Forbidden, format!("`{destination}` is an agent, not a chat")).field("to"));
        };
        let (_, chat): (String, ChatRow) = self.app.store().chat(chat).await.map_err(|e| e.failure())?;
        let (session, turn) = from.unzip();
        Ok(Target {
            channel: chat.channel,
            chat: chat.chat,
            thread: row.thread.clone(),
            cause,
            agent: Some(agent.to_owned()),
            session,
            turn,
        })
    }

    /// Says something. When this returns, it is owed durably; the same cause says it once.
    ///
    /// # Errors
    /// The account is gone, too much waits, or a file cannot be kept.
    pub async fn say(&self, target: Target, saying: Saying) -> Result<Vec<OutboxId>, Failure> {
        let abilities = self.abilities(&target.channel).await?;
        let files = self.app.keep_out_files(saying.files).await?;
        let outs = parts(&target, &abilities, &saying.text, saying.reply_to.as_deref(), &files, &saying.buttons);
        if outs.is_empty() {
            return Err(Failure::new(Code::Usage, "there is nothing to say").field("text"));
        }
        self.owe(&target.channel, outs).await
    }

    /// Shows somebody a card, while what it asks is not decided. What comes of it changes the card: see [`store::Store::send_card`].
    pub(crate) async fn ask(&self, target: Target, text: &str, buttons: &[Button]) -> Result<(), Failure> {
        let abilities = self.abilities(&target.channel).await?;
        let outs = parts(&target, &abilities, text, None, &[], buttons);
        self.app.store().send_card(outs, now()).await.map_err(|e| e.failure())?;
        model::crash::point("out:owed");
        self.app.wake_channel(&target.channel);
        Ok(())
    }

    /// Gives something that was said another text. `of` is a delivery of this daemon's.
    ///
    /// # Errors
    /// There is no such delivery, or the network cannot edit.
    pub async fn edit(&self, of: &OutboxId, text: &str, cause: String) -> Result<Vec<OutboxId>, Failure> {
        let row = self.app.store().out(of).await.map_err(|e| e.failure())?;
        let abilities = self.abilities(&row.channel).await?;
        if !abilities.edit {
            return Err(Failure::new(Code::Usage, "this network does not edit messages"));
        }
        let text: String = text.chars().take(text_max(&abilities)).collect();
        let act = json!({ "do": "edit", "message": format!("{OUT_PREFIX}{of}"), "text": text, "buttons": [] });
        let out = NewOut {
            channel: row.channel.clone(),
            chat: row.chat,
            thread: row.thread,
            act,
            cause,
            agent: row.agent,
            session: row.session,
            turn: row.turn,
        };
        self.owe(&row.channel, vec![out]).await
    }

    /// Reacts to a message of somebody's.
    ///
    /// # Errors
    /// The network has no reactions.
    pub async fn react(&self, target: Target, message: &str, emoji: &str) -> Result<Vec<OutboxId>, Failure> {
        if !self.abilities(&target.channel).await?.react {
            return Err(Failure::new(Code::Usage, "this network has no reactions"));
        }
        let out = out_of(&target, target.cause.clone(), json!({ "do": "react", "message": message, "emoji": emoji }));
        self.owe(&target.channel, vec![out]).await
    }

    async fn owe(&self, channel: &str, outs: Vec<NewOut>) -> Result<Vec<OutboxId>, Failure> {
        let ids = self.app.store().send(outs, now()).await.map_err(|e| e.failure())?;
        model::crash::point("out:owed");
        self.app.wake_channel(channel);
        Ok(ids)
    }

    /// The largest file that a network takes, in bytes; 0 where it takes none.
    ///
    /// # Errors
    /// The account is gone.
    pub(crate) async fn file_max(&self, channel: &str) -> Result<u64, Failure> {
        Ok(self.abilities(channel).await?.file_max)
    }

    async fn abilities(&self, channel: &str) -> Result<Abilities, Failure> {
        let row = self.app.store().channel(channel).await.map_err(|e| e.failure())?;
        Ok(abilities_of(row.abilities.as_ref()))
    }
}

/// What a network said that it can do; little, before it said anything.
pub(crate) fn abilities_of(said: Option<&Value>) -> Abilities {
    said.and_then(|said| serde_json::from_value(said.clone()).ok()).unwrap_or_default()
}

/// Characters of one message where the network has not said yet.
const TEXT_CHARS_USUAL: usize = 4000;

fn text_max(abilities: &Abilities) -> usize {
    if abilities.text_max == 0 { TEXT_CHARS_USUAL } else { abilities.text_max as usize }
}

fn out_of(target: &Target, cause: String, act: Value) -> NewOut {
    NewOut {
        channel: target.channel.clone(),
        chat: target.chat.clone(),
        thread: target.thread.clone(),
        act,
        cause,
        agent: target.agent.clone(),
        session: target.session.clone(),
        turn: target.turn.clone(),
    }
}

/// The messages that a saying becomes. The first answers what is answered; files and buttons stand with the last.
pub(crate) fn parts(
    target: &Target,
    abilities: &Abilities,
    text: &str,
    reply_to: Option<&str>,
    files: &[Value],
    buttons: &[Button],
) -> Vec<NewOut> {
    let mut texts = split_text(text, text_max(abilities));
    if texts.len() > store::PARTS_MAX {
        texts.truncate(store::PARTS_MAX - 1);
        texts.push("(The rest was left out: it is longer than is sent.)".to_owned());
    }
    if texts.is_empty() && !files.is_empty() {
        texts.push(String::new());
    }
    let last = texts.len().saturating_sub(1);
    let buttons: &[Button] = if abilities.buttons { buttons } else { &[] };
    let part = |(n, text): (usize, String)| {
        let mut act = json!({ "do": "send", "text": text });
        if let Some(reply) = reply_to.filter(|_| n == 0) {
            act["reply_to"] = json!(reply);
        }
        if n == last {
            act["files"] = json!(files);
            act["buttons"] = json!(buttons);
        }
        let cause = if n == last { target.cause.clone() } else { format!("{}:{n}", target.cause) };
        out_of(target, cause, act)
    };
    texts.into_iter().enumerate().map(part).collect()
}

impl App {
    /// Gives a delivery to its channel: the files first, then the delivery itself.
    ///
    /// # Errors
    /// What became of it, when it cannot even be tried.
    pub(crate) async fn feed(&self, row: &OutRow, abilities: &Abilities, to: &mpsc::Sender<ToChannel>) -> Result<(), OutOutcome> {
        let dead = |why: &str| OutOutcome::Dead(why.to_owned());
        let mut act: Act = serde_json::from_value(row.act.clone()).map_err(|e| OutOutcome::Dead(format!("it cannot be read: {e}")))?;
        match &mut act {
            Act::Send { files, buttons, .. } => {
                if !abilities.buttons {
                    buttons.clear();
                }
                if !files.is_empty() && abilities.file_max == 0 {
                    return Err(dead("the network takes no files"));
                }
                for file in files.iter() {
                    self.feed_file(file, abilities.file_max, to).await?;
                }
            }
            Act::Edit { message, buttons, .. } => {
                if !abilities.edit {
                    return Err(dead("the network does not edit messages"));
                }
                if !abilities.buttons {
                    buttons.clear();
                }
                if let Some(of) = message.strip_prefix(OUT_PREFIX) {
                    *message = self.message_of(of).await.ok_or_else(|| dead("what it edits was never sent"))?;
                }
            }
            Act::React { .. } if !abilities.react => return Err(dead("the network has no reactions")),
            Act::React { .. } => {}
        }
        let place = Address { chat: row.chat.clone(), thread: row.thread.clone() };
        let delivery = Delivery { id: row.id.to_string(), attempt: row.attempts, to: place, act };
        // A channel that went away is asked again when it is back.
        let _ = to.send(ToChannel::Deliver(delivery)).await;
        Ok(())
    }

    async fn message_of(&self, of: &str) -> Option<String> {
        let id: OutboxId = of.parse().ok()?;
        self.store().out(&id).await.ok()?.messages.last().cloned()
    }

    /// Keeps what came of a try.
    pub(crate) async fn out_settled(&self, row: &OutRow, outcome: OutOutcome, at: Timestamp) -> Result<(), Failure> {
        let dead = if let OutOutcome::Dead(why) = &outcome { Some(why.clone()) } else { None };
        let is_over = !matches!(outcome, OutOutcome::Again(..));
        self.store().out_tried(&row.id, outcome, at).await.map_err(|e| e.failure())?;
        model::crash::point("out:settled");
        if let Some(why) = dead {
            tracing::warn!(delivery = %row.id, channel = row.channel, why, "a message is given up");
        } else if is_over {
            self.forget_out_files(&row.act);
        }
        Ok(())
    }
}

/// What follows from what a channel says of a delivery. Where its platform takes each `once` by a key, a doubt costs nothing as long as the key
/// is known.
pub(crate) fn outcome_of(row: &OutRow, said: &FromChannel, once: bool, at: Timestamp) -> OutOutcome {
    match said {
        FromChannel::Delivered { messages, .. } => {
            let makes = row.act["do"] == "send";
            let ids: Vec<String> = messages.iter().filter(|id| !id.is_empty()).take(MESSAGES_MAX).cloned().collect();
            if makes && ids.is_empty() {
                return OutOutcome::Dead("the channel said that it was sent, and not as what".to_owned());
            }
            OutOutcome::Sent(ids, at)
        }
        FromChannel::Failed { why, message, after_ms, .. } => {
            let again = |ms: u64| OutOutcome::Again(Timestamp(at.0.saturating_add(spread(row, ms))), message.clone());
            let (first, most) = BACKOFF_MS;
            let backoff = first.saturating_mul(1 << row.attempts.saturating_sub(1).min(16)).min(most);
            let old = at.0.saturating_sub(row.created.0);
            match why {
                Failing::Final => OutOutcome::Dead(message.clone()),
                Failing::Rate if old < CREDENTIAL_MS => again(after_ms.unwrap_or(RATE_MS.0).clamp(1, RATE_MS.1)),
                Failing::Credential if old < CREDENTIAL_MS => again(CREDENTIAL_AGAIN_MS),
                Failing::Passing if row.attempts < TRIES_MAX => again(backoff.max(after_ms.unwrap_or(0).min(RATE_MS.1))),
                Failing::Unknown if row.attempts < DOUBT_TRIES_MAX || (once && old < KEY_MS) => again(backoff),
                Failing::Rate | Failing::Credential | Failing::Passing | Failing::Unknown => {
                    OutOutcome::Dead(format!("given up after {} tries: {message}", row.attempts))
                }
            }
        }
        _ => OutOutcome::Dead("nothing was said of it".to_owned()),
    }
}

/// Messages that one delivery becomes at most.
const MESSAGES_MAX: usize = 64;

/// Up to a tenth more, so that what failed together is not tried together again.
fn spread(row: &OutRow, ms: u64) -> u64 {
    let mark = row.id.as_str().bytes().fold(u64::from(row.attempts), |mark, byte| mark.wrapping_mul(31).wrapping_add(u64::from(byte)));
    ms + mark % (ms / 10).max(1)
}

/// How much was said in each chat within the last minute.
#[derive(Default)]
pub(crate) struct Lanes(HashMap<String, VecDeque<Timestamp>>);

impl Lanes {
    /// Notes a message that was sent. Says from when on the next one may follow.
    pub(crate) fn sent(&mut self, chat: &str, per_minute: u32, at: Timestamp) -> Timestamp {
        if per_minute == 0 {
            return at;
        }
        if self.0.len() >= LANES_MAX && !self.0.contains_key(chat) {
            self.0.retain(|_, times| times.back().is_some_and(|last| last.0 + MINUTE_MS > at.0));
            if self.0.len() >= LANES_MAX {
                self.0.clear();
            }
        }
        let times = self.0.entry(chat.to_owned()).or_default();
        times.push_back(at);
        while times.front().is_some_and(|first| first.0 + MINUTE_MS <= at.0) || times.len() > per_minute as usize {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= per_minute as usize => Timestamp(first.0 + MINUTE_MS),
            _ => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(attempts: u32) -> OutRow {
        OutRow {
            id: OutboxId::from_bits(7),
            channel: "lab".into(),
            tenant: "default".into(),
            chat: "c".into(),
            thread: None,
            act: json!({ "do": "send", "text": "hi" }),
            cause: "x".into(),
            agent: None,
            session: None,
            turn: None,
            state: "sending".into(),
            attempts,
            due: Timestamp(0),
            messages: Vec::new(),
            error: None,
            created: Timestamp(0),
            settled: None,
        }
    }

    fn failed(why: Failing, after_ms: Option<u64>) -> FromChannel {
        FromChannel::Failed { id: String::new(), why, message: "no".into(), after_ms }
    }

    #[test]
    fn nothing_is_sent_without_an_id_of_the_platform() {
        let said = |messages: Vec<String>| FromChannel::Delivered { id: String::new(), messages, again: false };
        assert!(matches!(outcome_of(&row(1), &said(vec![]), false, Timestamp(0)), OutOutcome::Dead(_)));
        assert!(matches!(outcome_of(&row(1), &said(vec![String::new()]), false, Timestamp(0)), OutOutcome::Dead(_)));
        assert!(matches!(outcome_of(&row(1), &said(vec!["7".into()]), false, Timestamp(0)), OutOutcome::Sent(ids, _) if ids == ["7"]));
        let edit = OutRow { act: json!({ "do": "edit" }), ..row(1) };
        assert!(matches!(outcome_of(&edit, &said(vec![]), false, Timestamp(0)), OutOutcome::Sent(..)));
    }

    #[test]
    fn tries_grow_rarer_and_end() {
        let mut waited = 0;
        for attempt in 1..TRIES_MAX {
            match outcome_of(&row(attempt), &failed(Failing::Passing, None), false, Timestamp(0)) {
                OutOutcome::Again(at, _) => waited += at.0,
                other => panic!("{attempt}: {other:?}"),
            }
        }
        assert!((1_000_000..4_000_000).contains(&waited), "{waited} ms in all");
        assert!(matches!(outcome_of(&row(TRIES_MAX), &failed(Failing::Passing, None), false, Timestamp(0)), OutOutcome::Dead(_)));
        assert!(matches!(outcome_of(&row(1), &failed(Failing::Final, None), false, Timestamp(0)), OutOutcome::Dead(_)));
        assert!(matches!(outcome_of(&row(3), &failed(Failing::Unknown, None), false, Timestamp(0)), OutOutcome::Dead(_)));
        // A platform that takes it once by its key is asked on as long as it knows the key.
        let in_doubt = |at: u64| outcome_of(&row(7), &failed(Failing::Unknown, None), true, Timestamp(at));
        assert!(matches!((in_doubt(KEY_MS - 1), in_doubt(KEY_MS)), (OutOutcome::Again(..), OutOutcome::Dead(_))));
        assert!(
            matches!(outcome_of(&row(99), &failed(Failing::Rate, Some(30_000)), false, Timestamp(0)), OutOutcome::Again(at, _) if at.0 >= 30_000)
        );
        let late = Timestamp(CREDENTIAL_MS);
        assert!(matches!(outcome_of(&row(99), &failed(Failing::Credential, None), false, late), OutOutcome::Dead(_)));
    }

    #[test]
    fn a_chat_is_not_written_to_more_often_than_its_network_allows() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.sent("a", 2, Timestamp(1000)), Timestamp(1000));
        assert_eq!(lanes.sent("a", 2, Timestamp(2000)), Timestamp(61_000));
        assert_eq!(lanes.sent("b", 2, Timestamp(2000)), Timestamp(2000), "another chat does not wait");
        assert_eq!(lanes.sent("a", 2, Timestamp(61_000)), Timestamp(62_000));
        assert_eq!(lanes.sent("c", 0, Timestamp(5)), Timestamp(5), "no limit was said");
        (0..20_000).for_each(|n| {
            let _ = lanes.sent(&n.to_string(), 5, Timestamp(70_000));
        });
        assert!(lanes.0.len() <= LANES_MAX);
    }

    #[test]
    fn a_saying_becomes_messages_with_files_and_buttons_at_its_end() {
        let target =
            Target { channel: "lab".into(), chat: "c".into(), thread: None, cause: "x".into(), agent: None, session: None, turn: None };
        let abilities = Abilities { text_max: 64, buttons: true, ..Abilities::default() };
        let buttons = [Button { label: "Yes".into(), value: "y".into() }];
        let outs = parts(&target, &abilities, &"word ".repeat(40), Some("m1"), &[json!({ "id": "f" })], &buttons);
        assert!(outs.len() > 2);
        assert_eq!(outs[0].act["reply_to"], "m1");
        assert!(outs[1].act.get("reply_to").is_none() && outs[0].act.get("buttons").is_none());
        let last = outs.last().expect("one");
        assert_eq!((last.cause.as_str(), &last.act["buttons"][0]["value"], &last.act["files"][0]["id"]), ("x", &json!("y"), &json!("f")));
        assert!(parts(&target, &abilities, "  ", None, &[], &buttons).is_empty());
    }
}
