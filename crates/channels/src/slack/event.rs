//! What Slack tells, in the words of the protocol. Pure.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading;

/// The app itself.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) user: String,
    pub(super) bot: String,
}

/// Who `auth.test` says that it is.
pub(super) fn me(found: &Value) -> Option<Me> {
    Some(Me { user: reading::id(&found["user_id"])?, bot: reading::id(&found["bot_id"]).unwrap_or_default() })
}

/// What an event tells, when it is something.
pub(super) fn heard(payload: &Value, me: &Me) -> Option<Heard> {
    let event = &payload["event"];
    match event["type"].as_str()? {
        // A mention in a channel comes as both; the message has all of it.
        "message" => message(event, payload, me),
        "reaction_added" => reaction(event, payload, me),
        "member_joined_channel" if event["user"] == me.user.as_str() => member(HeardKind::Joined, event, payload),
        _ => None,
    }
}

fn message(event: &Value, payload: &Value, me: &Me) -> Option<Heard> {
    let chat = chat(event)?;
    match event["subtype"].as_str() {
        None | Some("file_share" | "thread_broadcast" | "bot_message") => written(event, chat, me),
        Some("message_changed") => {
            let now = &event["message"];
            // Slack also changes a message when it shows what a link leads to.
            if now["text"] == event["previous_message"]["text"] {
                return None;
            }
            let edited = written(now, chat, me)?;
            let (id, about) = (reading::id(&payload["event_id"])?, Some(edited.id.clone()));
            Some(Heard { kind: HeardKind::Edit, id, about, at_ms: ms(&event["ts"]), ..edited })
        }
        _ => None,
    }
}

fn written(event: &Value, chat: Chat, me: &Me) -> Option<Heard> {
    let sender = sender(event)?;
    if sender.id == me.user || (!me.bot.is_empty() && event["bot_id"] == me.bot.as_str()) {
        return None;
    }
    let ts = reading::id(&event["ts"])?;
    let mut heard = reading::heard(HeardKind::Message, ts, chat, sender, ms(&event["ts"]));
    let raw = reading::text(&event["text"]);
    heard.mention = !heard.chat.group || raw.contains(&format!("<@{}>", me.user)) || raw.contains(&format!("<@{}|", me.user));
    heard.text = unescape(&raw);
    heard.thread = reading::id(&event["thread_ts"]);
    heard.files = files(&event["files"]);
    // A message that is shared is an attachment that says where it is from.
    let shared = event["attachments"].as_array().and_then(|all| all.iter().find(|a| a["is_share"] == true || a["is_msg_unfurl"] == true));
    if let Some(shared) = shared {
        let sender = reading::id(&shared["author_id"]).map(|id| Who { id, name: reading::name(&shared["author_name"]), bot: false });
        heard.quoted =
            Some(Quoted { id: reading::id(&shared["ts"]), sender, text: unescape(&reading::text(&shared["text"])), forwarded: true });
    }
    Some(heard)
}

/// Who wrote it: the member, or the app, each by Slack's id.
fn sender(event: &Value) -> Option<Who> {
    let name = reading::name(&event["user_profile"]["display_name"]);
    if let Some(bot) = reading::id(&event["bot_id"]) {
        let id = reading::id(&event["user"]).unwrap_or(bot);
        return Some(Who { id, name: reading::name(&event["username"]), bot: true });
    }
    Some(Who { id: reading::id(&event["user"])?, name, bot: false })
}

fn chat(event: &Value) -> Option<Chat> {
    let id = reading::id(&event["channel"])?;
    // Direct chats begin with a D; a group of several people is `mpim`.
    let group = event["channel_type"].as_str().map_or_else(|| !id.starts_with('D'), |kind| kind != "im");
    Some(Chat { id, name: String::new(), group })
}

fn files(found: &Value) -> Vec<Attachment> {
    let file = |file: &Value| {
        let (name, mime) = (reading::name(&file["name"]), reading::name(&file["mimetype"]));
        Some(Attachment { id: reading::id(&file["id"])?, name, mime, size: file["size"].as_u64() })
    };
    found.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(file).collect()
}

fn reaction(event: &Value, payload: &Value, me: &Me) -> Option<Heard> {
    let id = reading::id(&event["user"]).filter(|user| *user != me.user)?;
    let chat = chat(&event["item"])?;
    let mut heard = reading::heard(
        HeardKind::Reaction,
        reading::id(&payload["event_id"])?,
        chat,
        Who { id, name: String::new(), bot: false },
        ms(&event["event_ts"]),
    );
    heard.about = reading::id(&event["item"]["ts"]);
    let name = reading::name(&event["reaction"]);
    heard.value = Some(emoji_of(&name).map_or(name, str::to_owned));
    Some(heard)
}

fn member(kind: HeardKind, event: &Value, payload: &Value) -> Option<Heard> {
    let id = reading::id(&event["inviter"]).or_else(|| reading::id(&event["user"]))?;
    Some(reading::heard(
        kind,
        reading::id(&payload["event_id"])?,
        chat(event)?,
        Who { id, name: String::new(), bot: false },
        ms(&event["event_ts"]),
    ))
}

/// A button that was pressed.
pub(super) fn pressed(payload: &Value) -> Option<Heard> {
    if payload["type"] != "block_actions" {
        return None;
    }
    let action = &payload["actions"][0];
    let sender = Who { id: reading::id(&payload["user"]["id"])?, name: reading::name(&payload["user"]["name"]), bot: false };
    let channel = reading::id(&payload["channel"]["id"])?;
    let group = !channel.starts_with('D');
    // Each press has a time of its own, to the microsecond.
    let id = format!("{}:{}:{}", reading::id(&payload["message"]["ts"])?, sender.id, reading::id(&action["action_ts"])?);
    let mut heard = reading::heard(
        HeardKind::Button,
        id,
        Chat { id: channel, name: reading::name(&payload["channel"]["name"]), group },
        sender,
        ms(&action["action_ts"]),
    );
    heard.about = reading::id(&payload["message"]["ts"]);
    heard.thread = reading::id(&payload["message"]["thread_ts"]);
    heard.value = Some(action["value"].as_str()?.to_owned());
    heard.mention = true;
    Some(heard)
}

fn ms(ts: &Value) -> i64 {
    let text = ts.as_str().unwrap_or_default();
    let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
    let millis: i64 = format!("{rest:0<3}").get(..3).and_then(|m| m.parse().ok()).unwrap_or(0);
    seconds.parse::<i64>().ok().and_then(|s| s.checked_mul(1000)).map_or(0, |s| s.saturating_add(millis))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Emoji that agents and people use to answer, by Slack's names.
const EMOJI: &[(&str, &str)] = &[
    ("\u{1F44D}", "+1"),
    ("\u{1F44E}", "-1"),
    ("\u{1F440}", "eyes"),
    ("\u{2705}", "white_check_mark"),
    ("\u{274C}", "x"),
    ("\u{2764}\u{FE0F}", "heart"),
    ("\u{1F389}", "tada"),
    ("\u{1F64F}", "pray"),
    ("\u{1F525}", "fire"),
    ("\u{1F602}", "joy"),
    ("\u{1F604}", "smile"),
    ("\u{1F914}", "thinking_face"),
    ("\u{1F44F}", "clap"),
    ("\u{1F680}", "rocket"),
    ("\u{1F622}", "cry"),
    ("\u{26A0}\u{FE0F}", "warning"),
    ("\u{23F3}", "hourglass_flowing_sand"),
    ("\u{1F4AF}", "100"),
];

/// Slack's name of an emoji, which may be the name already.
pub(super) fn name_of(emoji: &str) -> Option<String> {
    let bare = |text: &str| text.trim_end_matches('\u{FE0F}').to_owned();
    if let Some((_, name)) = EMOJI.iter().find(|(known, _)| bare(known) == bare(emoji)) {
        return Some((*name).to_owned());
    }
    let name = emoji.trim_matches(':');
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_+-'".contains(&b);
    (!name.is_empty() && name.len() <= 100 && name.bytes().all(fine)).then(|| name.to_owned())
}

fn emoji_of(name: &str) -> Option<&'static str> {
    EMOJI.iter().find(|(_, known)| *known == name).map(|(emoji, _)| *emoji)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(event: &Value) -> Option<Heard> {
        heard(&json!({"event_id": "Ev1", "event": event}), &Me { user: "UBOT".to_owned(), bot: "BBOT".to_owned() })
    }

    #[test]
    fn messages_edits_and_what_is_shared() {
        let event = json!({"type": "message", "channel": "C1", "channel_type": "channel", "user": "U1", "text": "<@UBOT> a &lt; b &amp;lt;", "ts": "1700000000.000200",
            "thread_ts": "1699999999.0001", "files": [{"id": "F1", "name": "a.txt", "mimetype": "text/plain", "size": 3}]});
        let said = of(&event).unwrap();
        assert!(
            said.mention
                && said.chat.group
                && said.text == "<@UBOT> a < b &lt;"
                && said.at_ms == 1_700_000_000_000
                && said.files[0].id == "F1"
        );
        assert_eq!(said.thread.as_deref(), Some("1699999999.0001"));
        let direct = json!({"type": "message", "channel": "D1", "channel_type": "im", "user": "U1", "text": "hi", "ts": "1.5"});
        assert!(of(&direct).is_some_and(|h| h.mention && !h.chat.group && h.at_ms == 1500));
        let own = json!({"type": "message", "channel": "D1", "user": "UBOT", "bot_id": "BBOT", "text": "hi", "ts": "1.5"});
        assert!(of(&own).is_none());
        let app = json!({"type": "message", "subtype": "bot_message", "channel": "C1", "bot_id": "B2", "username": "Boss", "text": "hi", "ts": "1.5"});
        assert!(of(&app).is_some_and(|h| h.sender.bot && h.sender.id == "B2"));
        let changed = |before: &str, now: &str| {
            json!({"type": "message", "subtype": "message_changed", "channel": "C1", "ts": "3.0", "message": {"user": "U1", "text": now, "ts": "2.0"},
                "previous_message": {"text": before}})
        };
        assert!(of(&changed("a", "a")).is_none());
        assert_eq!(
            of(&changed("a", "b")).map(|h| (h.kind, h.id, h.about)),
            Some((HeardKind::Edit, "Ev1".to_owned(), Some("2.0".to_owned())))
        );
        let mut shared = direct.clone();
        shared["attachments"] = json!([{"is_share": true, "author_id": "U9", "text": "/stop", "ts": "0.5"}]);
        assert!(of(&shared).unwrap().quoted.is_some_and(|q| q.forwarded && q.text == "/stop"));
        for wrong in [
            json!({}),
            json!({"type": "message"}),
            json!({"type": "message", "subtype": "channel_topic", "channel": "C1", "user": "U1", "ts": "1.0"}),
        ] {
            assert!(of(&wrong).is_none());
        }
    }

    #[test]
    fn presses_and_reactions() {
        let press = json!({"type": "block_actions", "user": {"id": "U1", "name": "ann"}, "channel": {"id": "C1"}, "message": {"ts": "2.0", "thread_ts": "1.0"},
            "actions": [{"value": "ok", "action_ts": "3.25"}]});
        let heard = pressed(&press).unwrap();
        assert_eq!(
            (heard.value.as_deref(), heard.about.as_deref(), heard.id.as_str(), heard.at_ms),
            (Some("ok"), Some("2.0"), "2.0:U1:3.25", 3250)
        );
        let react =
            json!({"type": "reaction_added", "user": "U1", "reaction": "+1", "item": {"channel": "C1", "ts": "2.0"}, "event_ts": "4.0"});
        assert_eq!(of(&react).and_then(|h| h.value).as_deref(), Some("\u{1F44D}"));
        assert_eq!(name_of("\u{2764}").as_deref(), Some("heart"));
        assert_eq!(name_of(":party_blob:").as_deref(), Some("party_blob"));
        assert!(name_of("\u{1F9A9}").is_none() && name_of("").is_none() && name_of("a b").is_none());
    }
}
