//! Syncs: news of all rooms, from a token on.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use wire::chat::{Chat, Heard, Quoted, Who};

use super::{User, abilities, event};
use crate::backoff::{Backoff, Trouble};
use crate::calls::trouble;
use crate::http::encode;
use crate::link::Gone;
use crate::network::DeliverError;
use crate::reading;

/// Events of one room in one sync.
const TIMELINE_MAX: u32 = 100;
/// Pages of what a sync left out.
const PAGES_MAX: usize = 20;

/// Why syncing ended.
enum End {
    Gone,
    Trouble(Trouble),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<DeliverError> for End {
    fn from(error: DeliverError) -> Self {
        Self::Trouble(trouble(error))
    }
}

impl User {
    pub(super) async fn stay_in_sync(&self) {
        let mut backoff = Backoff::default();
        let mut since = self.setup.cursor.clone();
        loop {
            let outcome = tokio::select! {
                biased;
                () = self.setup.cancel.cancelled() => return,
                outcome = self.syncing(&mut since, &mut backoff) => outcome,
            };
            let Err(End::Trouble(trouble)) = outcome else { return };
            if !backoff.pause(&trouble, &self.setup.link, &self.setup.cancel).await {
                return;
            }
        }
    }

    async fn syncing(&self, since: &mut Option<String>, backoff: &mut Backoff) -> Result<(), End> {
        let found = self.api.call(Method::GET, "/_matrix/client/v3/account/whoami", None).await?;
        let me =
            reading::id(&found["user_id"]).ok_or_else(|| End::Trouble(Trouble::passing("the homeserver does not say who the user is")))?;
        me.clone_into(&mut self.me.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if since.is_none() {
            *since = Some(self.begin().await?);
        }
        let who = Who { id: me.clone(), name: String::new(), bot: true };
        self.setup.link.ready(who.clone(), abilities()).await;
        loop {
            let wait = Duration::from_secs(self.config.wait_s);
            let from = since.clone().unwrap_or_default();
            let path = format!(
                "/_matrix/client/v3/sync?timeout={}&since={}&filter={}",
                wait.as_millis(),
                encode(&from),
                encode(&filter().to_string())
            );
            let news = match self.api.sync(&path, wait).await {
                Err(error) if error.message.contains("M_UNKNOWN_POS") || error.message.contains("M_INVALID_PARAM") => {
                    // A homeserver that was set up anew knows no old token.
                    self.setup.link.log("the homeserver does not know where listening was; it begins anew").await;
                    *since = Some(self.begin().await?);
                    continue;
                }
                other => other?,
            };
            backoff.well();
            self.setup.link.ready(who.clone(), abilities()).await;
            let next = reading::id(&news["next_batch"]).ok_or_else(|| End::Trouble(Trouble::passing("a sync has no end")))?;
            let heard = self.heard(&news, &from, &me).await?;
            // The last one takes the token along: with it all of them are the host's.
            let last = heard.len().saturating_sub(1);
            for (n, heard) in heard.into_iter().enumerate() {
                self.setup.link.report(heard, (n == last).then(|| next.clone())).await?;
            }
            *since = Some(next);
        }
    }

    /// Where to begin, when nothing was heard yet: with what comes from now on.
    async fn begin(&self) -> Result<String, DeliverError> {
        let filter = json!({"room": {"timeline": {"limit": 0}, "state": {"types": []}}, "presence": {"types": []}});
        let path = format!("/_matrix/client/v3/sync?timeout=0&filter={}", encode(&filter.to_string()));
        let news = self.api.sync(&path, Duration::ZERO).await?;
        let since = reading::id(&news["next_batch"]).ok_or_else(|| DeliverError::never("a sync has no end"))?;
        self.join_all(&news).await;
        self.setup.began(&since)?;
        Ok(since)
    }

    /// All that a sync tells, room by room, each in its order.
    async fn heard(&self, news: &Value, since: &str, me: &str) -> Result<Vec<Heard>, End> {
        self.join_all(news).await;
        let mut all = Vec::new();
        for (room, found) in rooms(news, "join").into_iter().chain(rooms(news, "leave")) {
            let mut events = Vec::new();
            if found["timeline"]["limited"] == true {
                events = self.left_out(room, &found["timeline"], since).await?;
            }
            events.extend(list(&found["timeline"]["events"]).iter().cloned());
            if events.iter().chain(list(&found["state"]["events"])).any(|event| event["type"] == "m.room.member") {
                self.members.put(room, None);
            }
            for said in &events {
                if said["type"] == "m.room.encrypted" {
                    self.setup.link.log("a message in an encrypted room cannot be read").await;
                }
                let is_mine = said["type"] == "m.room.member" && said["state_key"] == me;
                if !is_mine && !matches!(said["type"].as_str(), Some("m.room.message" | "m.reaction")) {
                    continue;
                }
                let chat = Chat { id: room.to_owned(), name: String::new(), group: self.is_group(room).await };
                let heard = event::membership(said, &chat, me).or_else(|| event::heard(said, &chat, me));
                if let Some(mut heard) = heard {
                    if let Some(answered) = event::answers(said) {
                        heard.quoted = Some(self.quoted(room, answered).await);
                    }
                    all.push(heard);
                }
            }
        }
        Ok(all)
    }

    /// What happened in a room between a token and the part that a sync shows.
    async fn left_out(&self, room: &str, timeline: &Value, since: &str) -> Result<Vec<Value>, DeliverError> {
        let Some(mut from) = reading::id(&timeline["prev_batch"]) else { return Ok(Vec::new()) };
        let mut back = Vec::new();
        for _ in 0..PAGES_MAX {
            let path =
                format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100&from={}&to={}", encode(room), encode(&from), encode(since));
            let page = match self.api.call(Method::GET, &path, None).await {
                // A room that was left shows no more.
                Err(error) if error.why == wire::chat::Failing::Final => break,
                other => other?,
            };
            back.extend(list(&page["chunk"]).iter().cloned());
            match reading::id(&page["end"]).filter(|end| *end != from && !list(&page["chunk"]).is_empty()) {
                Some(end) => from = end,
                None => break,
            }
        }
        back.reverse();
        Ok(back)
    }

    /// Goes where the account is invited to, if it may.
    async fn join_all(&self, news: &Value) {
        for (room, _) in rooms(news, "invite") {
            if self.config.join {
                let _ = self.api.call(Method::POST, &format!("/_matrix/client/v3/rooms/{}/join", encode(room)), Some(&json!({}))).await;
            }
        }
    }

    /// Whether others than one person are in a room, as the homeserver counts them. In doubt they are.
    async fn is_group(&self, room: &str) -> bool {
        if let Some(Some(known)) = self.members.get(room) {
            return known;
        }
        let path = format!("/_matrix/client/v3/rooms/{}/joined_members", encode(room));
        let Ok(found) = self.api.call(Method::GET, &path, None).await else { return true };
        let group = found["joined"].as_object().is_none_or(|joined| joined.len() != 2);
        self.members.put(room, Some(group));
        group
    }

    async fn quoted(&self, room: &str, id: String) -> Quoted {
        let path = format!("/_matrix/client/v3/rooms/{}/event/{}", encode(room), encode(&id));
        let found = self.api.call(Method::GET, &path, None).await.unwrap_or_default();
        let sender = reading::id(&found["sender"]).map(|id| Who { id, name: String::new(), bot: false });
        Quoted { id: Some(id), sender, text: event::said(&found), forwarded: false }
    }
}

fn filter() -> Value {
    json!({"room": {"timeline": {"limit": TIMELINE_MAX}, "state": {"lazy_load_members": true}, "ephemeral": {"types": []}, "include_leave": true},
        "presence": {"types": []}, "account_data": {"types": []}})
}

fn rooms<'a>(news: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    news["rooms"][kind].as_object().map(|rooms| rooms.iter().map(|(id, room)| (id.as_str(), room)).collect()).unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
