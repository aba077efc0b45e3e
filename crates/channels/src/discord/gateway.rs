//! Discord's gateway: hello, identify or resume, heartbeats, events.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use wire::chat::{Failing, Heard, Who};

use super::event::{self, list};
use super::rest::snowflake;
use super::{Bot, abilities};
use crate::backoff::{Backoff, Trouble, jitter};
use crate::calls::trouble;
use crate::http::{Base, HttpError};
use crate::link::Gone;
use crate::reading;
use crate::ws::{Said, WebSocket, WsError};

/// Guilds, messages and reactions there and in direct chats, and what messages say.
const INTENTS: u32 = 1 | 1 << 9 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 15;
/// Channels whose last message is remembered for the case that a session is gone.
const CHANNELS_MAX: usize = 100;
/// Messages of one channel that are read then, in pages of 100.
const PAGES_MAX: usize = 10;
/// How long a page of them is waited for that cannot be read just now.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the gateway may take to say hello.
const HELLO: Duration = Duration::from_secs(20);
/// How long the host may take to acknowledge a press.
const PRESS: Duration = Duration::from_millis(2500);
/// The shortest time between heartbeats that is believed.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);

/// Where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    /// The session.
    #[serde(rename = "s")]
    session: String,
    /// The last event of it.
    #[serde(rename = "q")]
    seq: i64,
    /// Where to resume it.
    #[serde(rename = "u")]
    url: String,
    /// The last message of each channel.
    #[serde(rename = "c")]
    channels: BTreeMap<String, u64>,
}

impl Place {
    pub(super) fn read(cursor: Option<&str>) -> Self {
        cursor.and_then(|cursor| serde_json::from_str(cursor).ok()).unwrap_or_default()
    }

    fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The last message of a channel is this one; the channel that was silent longest is forgotten for it.
    fn heard(&mut self, channel: &str, message: &str) {
        let Ok(message) = message.parse::<u64>() else { return };
        let last = self.channels.entry(channel.to_owned()).or_default();
        *last = message.max(*last);
        if self.channels.len() > CHANNELS_MAX
            && let Some(oldest) = self.channels.iter().min_by_key(|(_, last)| **last).map(|(channel, _)| channel.clone())
        {
            self.channels.remove(&oldest);
        }
    }
}

/// Why a connection ended.
enum End {
    /// The host is gone.
    Gone,
    /// Go on with the same session at once.
    Resume,
    /// The session is gone.
    Anew,
    /// Something is wrong.
    Trouble(Trouble),
}

impl From<WsError> for End {
    fn from(error: WsError) -> Self {
        Self::Trouble(Trouble::passing(error))
    }
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// One connection.
struct Line {
    socket: WebSocket,
    me: String,
    every: Duration,
    next_beat: Instant,
    /// Whether the last heartbeat was answered.
    alive: bool,
}

impl Bot {
    pub(super) async fn stay_connected(&self) {
        let mut backoff = Backoff::default();
        loop {
            let end = tokio::select! {
                biased;
                () = self.setup.cancel.cancelled() => return,
                end = self.connection(&mut backoff) => end,
            };
            let trouble = match end {
                Ok(()) | Err(End::Gone) => return,
                Err(End::Resume) => Trouble::passing("Discord asked to connect anew"),
                Err(End::Anew) => {
                    let mut place = self.cursor();
                    (place.session, place.seq, place.url) = Default::default();
                    Trouble::Passing("Discord ended the session".to_owned(), Some(Duration::from_secs(1)))
                }
                Err(End::Trouble(trouble)) => trouble,
            };
            if !backoff.pause(&trouble, &self.setup.link, &self.setup.cancel).await {
                return;
            }
        }
    }

    async fn connection(&self, backoff: &mut Backoff) -> Result<(), End> {
        let me = self.rest.call(http::Method::GET, "/users/@me", None).await.map_err(|e| End::Trouble(trouble(e)))?;
        let me = reading::id(&me["id"]).ok_or_else(|| End::Trouble(Trouble::passing("Discord does not say who the bot is")))?;
        let mut line = self.hello(me).await?;
        loop {
            tokio::select! {
                () = sleep_until(line.next_beat) => {
                    if !line.alive {
                        line.socket.close(4000).await;
                        return Err(End::Trouble(Trouble::passing("Discord answers no heartbeat")));
                    }
                    self.beat(&mut line).await?;
                }
                said = line.socket.next() => match said? {
                    Said::Text(text) => self.take(&text, &mut line, backoff).await?,
                    Said::Closed { code } => return Err(ended(code)),
                },
            }
        }
    }

    /// Connects, and says who it is or where it was.
    async fn hello(&self, me: String) -> Result<Line, End> {
        let place = self.cursor().clone();
        let url = self.gateway_url(&place).await?;
        let mut socket = match WebSocket::connect(self.rest.http(), &url).await {
            Err(WsError::Http(HttpError::Denied { .. })) if self.gateway.is_none() && !place.url.is_empty() => {
                // Not a gateway that was granted: the session is resumed through the one that everybody begins at.
                self.cursor().url.clear();
                WebSocket::connect(self.rest.http(), &self.gateway_url(&Place::default()).await?).await?
            }
            other => other?,
        };
        let hello =
            tokio::time::timeout(HELLO, socket.next()).await.map_err(|_| End::Trouble(Trouble::passing("Discord says no hello")))??;
        let Said::Text(hello) = hello else { return Err(End::Trouble(Trouble::passing("Discord ended the connection at once"))) };
        let hello: Value = serde_json::from_str(&hello).unwrap_or_default();
        let every = hello["d"]["heartbeat_interval"].as_u64().filter(|_| hello["op"] == 10).map(Duration::from_millis);
        let every = every.ok_or_else(|| End::Trouble(Trouble::passing("Discord says no hello")))?.max(HEARTBEAT_MIN);
        let begin = if place.session.is_empty() {
            let properties = json!({"os": "linux", "browser": "lazaret", "device": "lazaret"});
            json!({"op": 2, "d": {"token": self.rest.token(), "intents": INTENTS, "properties": properties}})
        } else {
            json!({"op": 6, "d": {"token": self.rest.token(), "session_id": place.session, "seq": place.seq}})
        };
        socket.send(begin.to_string()).await?;
        Ok(Line { socket, me, every, next_beat: Instant::now() + jitter(every), alive: true })
    }

    async fn gateway_url(&self, place: &Place) -> Result<http::Uri, End> {
        let bad = |why: String| End::Trouble(Trouble::Passing(why, None));
        let base = if let Some(base) = &self.gateway {
            base.clone()
        } else {
            let mut url = place.url.clone();
            if url.is_empty() {
                let found = self.rest.call(http::Method::GET, "/gateway/bot", None).await.map_err(|e| End::Trouble(trouble(e)))?;
                url = found["url"].as_str().unwrap_or_default().to_owned();
            }
            Base::parse(&url).map_err(bad)?
        };
        base.at("/?v=10&encoding=json").map_err(|e| bad(e.to_string()))
    }

    async fn beat(&self, line: &mut Line) -> Result<(), End> {
        line.alive = false;
        line.next_beat = Instant::now() + line.every;
        let seq = self.cursor().seq;
        let seq = if seq > 0 { json!(seq) } else { Value::Null };
        Ok(line.socket.send(json!({"op": 1, "d": seq}).to_string()).await?)
    }

    async fn take(&self, text: &str, line: &mut Line, backoff: &mut Backoff) -> Result<(), End> {
        let Ok(said) = serde_json::from_str::<Value>(text) else { return Ok(()) };
        match said["op"].as_u64() {
            Some(0) => self.dispatch(&said, line, backoff).await,
            Some(1) => self.beat(line).await,
            Some(7) => Err(End::Resume),
            Some(9) => Err(if said["d"] == true { End::Resume } else { End::Anew }),
            Some(11) => {
                line.alive = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn dispatch(&self, said: &Value, line: &mut Line, backoff: &mut Backoff) -> Result<(), End> {
        let (kind, event, seq) = (said["t"].as_str().unwrap_or_default(), &said["d"], said["s"].as_i64().unwrap_or(0));
        match kind {
            "READY" => {
                let begun = Place {
                    session: reading::id(&event["session_id"]).unwrap_or_default(),
                    seq,
                    url: event["resume_gateway_url"].as_str().unwrap_or_default().to_owned(),
                    channels: BTreeMap::new(),
                };
                // While there is no cursor, the next process resumes this session.
                self.setup.began(&begun.write()).map_err(|e| End::Trouble(trouble(e)))?;
                self.ready(&line.me, &reading::name(&event["user"]["username"])).await;
                let missed = self.cursor().channels.clone();
                for (channel, last) in missed {
                    self.read_on(&channel, last, &line.me).await?;
                }
                // Not before: who does not get so far begins anew, and asks again for what was missed.
                let mut place = self.cursor();
                (place.session, place.seq, place.url) = (begun.session, begun.seq, begun.url);
                backoff.well();
            }
            "RESUMED" => {
                self.ready(&line.me, "").await;
                backoff.well();
            }
            "GUILD_CREATE" => list(&event["channels"]).iter().chain(list(&event["threads"])).for_each(|found| self.keep_place(found)),
            "CHANNEL_CREATE" | "CHANNEL_UPDATE" | "THREAD_CREATE" | "THREAD_UPDATE" => self.keep_place(event),
            _ => {}
        }
        let session = self.cursor().session.clone();
        if let Some(heard) = event::heard(kind, event, &line.me, &session, seq) {
            let report = self.report(heard, Some(seq)).await?;
            if kind == "INTERACTION_CREATE" {
                self.answer_press(event, report).await?;
            }
        }
        let mut place = self.cursor();
        place.seq = place.seq.max(seq);
        Ok(())
    }

    async fn ready(&self, me: &str, name: &str) {
        self.setup.link.ready(Who { id: me.to_owned(), name: name.to_owned(), bot: true }, abilities()).await;
    }

    /// Reports with the thread where the channel is one, and the cursor after it.
    async fn report(&self, mut heard: Heard, seq: Option<i64>) -> Result<u64, Gone> {
        let channel = heard.chat.id.clone();
        if heard.chat.group {
            let place = self.place(&channel).await;
            heard.chat.name = place.name;
            if let Some(parent) = place.parent {
                (heard.chat.id, heard.thread) = (parent, Some(channel.clone()));
            }
        }
        let cursor = {
            let mut place = self.cursor();
            place.seq = place.seq.max(seq.unwrap_or(0));
            if heard.kind == wire::chat::HeardKind::Message {
                place.heard(&channel, &heard.id);
            }
            place.write()
        };
        self.setup.link.report(heard, Some(cursor)).await
    }

    /// What a channel said after a message, for a session that is gone.
    async fn read_on(&self, channel: &str, last: u64, me: &str) -> Result<(), End> {
        let Ok(id) = snowflake(channel) else { return Ok(()) };
        let mut last = last;
        for _ in 0..PAGES_MAX {
            let path = format!("/channels/{id}/messages?limit=100&after={last}");
            let Some(found) = self.page(&path).await? else { return Ok(()) };
            let mut messages: Vec<(u64, &Value)> =
                list(&found).iter().filter_map(|m| Some((reading::id(&m["id"])?.parse().ok()?, m))).collect();
            messages.sort_by_key(|(id, _)| *id);
            for (id, message) in &messages {
                last = last.max(*id);
                let mut message = (*message).clone();
                // History does not say where it is from.
                let place = self.place(channel).await;
                if place.parent.is_some() || !place.name.is_empty() {
                    message["guild_id"] = json!("-");
                }
                if let Some(heard) = event::message(&message, me) {
                    self.report(heard, None).await?;
                }
            }
            if messages.len() < 100 {
                break;
            }
        }
        Ok(())
    }

    /// A page of what a channel said; `None` where it can be read no longer. An error that passes is waited for.
    async fn page(&self, path: &str) -> Result<Option<Value>, End> {
        let mut waits = Backoff::default();
        loop {
            let error = match self.rest.call(http::Method::GET, path, None).await {
                Ok(found) => return Ok(Some(found)),
                Err(error) if error.why == Failing::Final => return Ok(None),
                Err(error) => error,
            };
            let wait = waits.next().max(error.after.unwrap_or_default());
            if wait > PAGE_WAIT_MAX || error.why == Failing::Credential {
                return Err(End::Trouble(trouble(error)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Tells Discord that a press was taken, once the host has it.
    async fn answer_press(&self, event: &Value, report: u64) -> Result<(), Gone> {
        let token = event["token"].as_str().unwrap_or_default();
        if let (Some(id), false) = (reading::id(&event["id"]), token.is_empty())
            && snowflake(&id).is_ok()
        {
            let path = format!("/interactions/{id}/{}/callback", crate::http::encode(token));
            // Discord waits three seconds, and heartbeats must go on.
            let acked = tokio::time::timeout(PRESS, self.setup.link.acked(report)).await;
            let Ok(acked) = acked else { return Ok(()) };
            acked?;
            let _ = self.rest.call(http::Method::POST, &path, Some(&json!({"type": 6}))).await;
        }
        Ok(())
    }
}

/// What the code of a close means.
fn ended(code: Option<u16>) -> End {
    match code {
        Some(4004) => End::Trouble(Trouble::Credential("Discord does not accept the token".to_owned())),
        Some(4013 | 4014) => End::Trouble(Trouble::Credential(
            "Discord does not give this bot what messages say: switch the message content intent on in the developer portal".to_owned(),
        )),
        Some(4007 | 4009) => End::Anew,
        Some(4010..=4012) => End::Trouble(Trouble::Credential("Discord does not take this kind of connection for the bot".to_owned())),
        _ => End::Trouble(Trouble::passing("Discord closed the connection")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_bounded() {
        let mut place = Place { session: "s".to_owned(), seq: 7, url: "wss://x".to_owned(), channels: BTreeMap::new() };
        for n in 0..3 * CHANNELS_MAX {
            place.heard(&format!("c{n}"), &(1_000 + n).to_string());
        }
        assert_eq!(place.channels.len(), CHANNELS_MAX);
        assert!(!place.channels.contains_key("c0") && place.channels.contains_key("c299"));
        place.heard("c299", "5");
        assert_eq!(place.channels["c299"], 1_299);
        assert_eq!(Place::read(Some(&place.write())), place);
        assert_eq!(Place::read(Some("nonsense")), Place::default());
        assert!(place.write().len() < 8 << 10);
    }
}
