//! What Discord tells, in the words of the protocol. Pure.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading;

/// Kinds of messages that somebody wrote: plain ones, replies, commands.
const WRITTEN: &[u64] = &[0, 19, 20, 23];

/// What a dispatch tells, when it is something. `session` and `seq` name those that have no id of their own. The chat is the
/// channel; which of them are threads the caller knows.
pub(super) fn heard(kind: &str, event: &Value, me: &str, session: &str, seq: i64) -> Option<Heard> {
    match kind {
        "MESSAGE_CREATE" => message(event, me),
        "MESSAGE_UPDATE" => {
            let edited = event["edited_timestamp"].as_str()?;
            let heard = message(event, me)?;
            let (id, about) = (format!("{}:{edited}", heard.id), Some(heard.id.clone()));
            Some(Heard { kind: HeardKind::Edit, id, about, at_ms: reading::rfc3339_ms(edited).unwrap_or(0), ..heard })
        }
        "MESSAGE_REACTION_ADD" => reaction(event, me, session, seq),
        "INTERACTION_CREATE" => pressed(event),
        _ => None,
    }
}

/// Somebody, as Discord verified it. What a webhook sends has a name and picture of its own choice and is nobody.
fn user(user: &Value) -> Option<Who> {
    let shown = if user["global_name"].is_string() { &user["global_name"] } else { &user["username"] };
    Some(Who { id: reading::id(&user["id"])?, name: reading::name(shown), bot: user["bot"] == true })
}

fn author(message: &Value) -> Option<Who> {
    match reading::id(&message["webhook_id"]) {
        Some(webhook) => Some(Who { id: format!("webhook:{webhook}"), name: reading::name(&message["author"]["username"]), bot: true }),
        None => user(&message["author"]),
    }
}

fn chat(event: &Value) -> Option<Chat> {
    Some(Chat { id: reading::id(&event["channel_id"])?, name: String::new(), group: event["guild_id"].is_string() })
}

pub(super) fn message(message: &Value, me: &str) -> Option<Heard> {
    let sender = author(message)?;
    if sender.id == me || !message["type"].as_u64().is_none_or(|kind| WRITTEN.contains(&kind)) {
        return None;
    }
    let at_ms = message["timestamp"].as_str().and_then(reading::rfc3339_ms).unwrap_or(0);
    let mut heard = reading::heard(HeardKind::Message, reading::id(&message["id"])?, chat(message)?, sender, at_ms);
    heard.text = reading::text(&message["content"]);
    heard.mention = !heard.chat.group || list(&message["mentions"]).iter().any(|user| user["id"] == me);
    heard.files = files(message, &heard.chat.id, &heard.id);
    let (reference, quoted) = (&message["message_reference"], &message["referenced_message"]);
    if let Some(snapshot) = list(&message["message_snapshots"]).first() {
        heard.quoted = Some(Quoted {
            id: reading::id(&reference["message_id"]),
            sender: None,
            text: reading::text(&snapshot["message"]["content"]),
            forwarded: true,
        });
    } else if quoted.is_object() || reference["message_id"].is_string() {
        heard.quoted = Some(Quoted {
            id: reading::id(&reference["message_id"]),
            sender: author(quoted),
            text: reading::text(&quoted["content"]),
            forwarded: false,
        });
    }
    Some(heard)
}

fn files(message: &Value, chat: &str, id: &str) -> Vec<Attachment> {
    let file = |file: &Value| {
        Some(Attachment {
            id: format!("{chat}/{id}/{}", reading::id(&file["id"])?),
            name: reading::name(&file["filename"]),
            mime: reading::name(&file["content_type"]),
            size: file["size"].as_u64(),
        })
    };
    list(&message["attachments"]).iter().filter_map(file).collect()
}

fn reaction(event: &Value, me: &str, session: &str, seq: i64) -> Option<Heard> {
    let id = reading::id(&event["user_id"]).filter(|id| id != me)?;
    let sender = user(&event["member"]["user"]).filter(|who| who.id == id).unwrap_or(Who { id, name: String::new(), bot: false });
    let mut heard = reading::heard(HeardKind::Reaction, format!("{session}:{seq}"), chat(event)?, sender, crate::clock::now_ms());
    heard.about = reading::id(&event["message_id"]);
    heard.value = Some(reading::name(&event["emoji"]["name"]));
    Some(heard)
}

fn pressed(event: &Value) -> Option<Heard> {
    // 3 is a button; commands and forms are nothing that this channel made.
    if event["type"] != 3 {
        return None;
    }
    let sender = user(&event["member"]["user"]).or_else(|| user(&event["user"]))?;
    let mut heard = reading::heard(HeardKind::Button, reading::id(&event["id"])?, chat(event)?, sender, crate::clock::now_ms());
    heard.about = reading::id(&event["message"]["id"]);
    heard.value = Some(event["data"]["custom_id"].as_str()?.to_owned());
    heard.mention = true;
    Some(heard)
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kind: &str, event: &Value) -> Option<Heard> {
        heard(kind, event, "1", "s", 5)
    }

    #[test]
    fn messages_are_their_verified_authors() {
        let mut event = json!({"id": "10", "channel_id": "20", "guild_id": "30", "type": 0, "content": "hi <@1>", "timestamp": "2026-03-01T10:00:00.5+00:00",
            "author": {"id": "2", "username": "ann", "global_name": "Ann"}, "mentions": [{"id": "1"}],
            "attachments": [{"id": "9", "filename": "a.txt", "size": 3, "url": "https://cdn.discordapp.com/x"}]});
        let said = of("MESSAGE_CREATE", &event).unwrap();
        assert!(said.mention && said.chat.group && said.sender.name == "Ann" && said.files[0].id == "20/10/9");
        event["webhook_id"] = json!("77");
        assert_eq!(of("MESSAGE_CREATE", &event).map(|h| (h.sender.id, h.sender.bot)), Some(("webhook:77".to_owned(), true)));
        event["webhook_id"] = json!(null);
        event["type"] = json!(7);
        assert!(of("MESSAGE_CREATE", &event).is_none(), "a message of the system's");
        event["type"] = json!(19);
        event["referenced_message"] = json!({"id": "8", "author": {"id": "1", "username": "bot"}, "content": "before"});
        event["message_reference"] = json!({"message_id": "8"});
        assert!(of("MESSAGE_CREATE", &event).unwrap().quoted.is_some_and(|q| q.text == "before" && !q.forwarded));
        event["message_snapshots"] = json!([{"message": {"content": "/stop"}}]);
        event["content"] = json!("");
        let forwarded = of("MESSAGE_CREATE", &event).unwrap();
        assert!(forwarded.text.is_empty() && forwarded.quoted.is_some_and(|q| q.forwarded && q.text == "/stop"));
        assert!(of("MESSAGE_UPDATE", &event).is_none(), "an embed came, nobody edited");
        event["edited_timestamp"] = json!("2026-03-01T10:01:00Z");
        assert_eq!(
            of("MESSAGE_UPDATE", &event).map(|h| (h.id, h.about)),
            Some(("10:2026-03-01T10:01:00Z".to_owned(), Some("10".to_owned())))
        );
        event["author"]["id"] = json!("1");
        assert!(of("MESSAGE_CREATE", &event).is_none(), "its own");
        assert!(of("MESSAGE_CREATE", &json!({})).is_none() && of("OTHER", &event).is_none());
    }

    #[test]
    fn buttons_and_reactions() {
        let press = json!({"type": 3, "id": "5", "channel_id": "20", "user": {"id": "2", "username": "ann"}, "message": {"id": "10"}, "data": {"custom_id": "ok"}});
        let heard = of("INTERACTION_CREATE", &press).unwrap();
        assert_eq!((heard.kind, heard.value.as_deref(), heard.about.as_deref()), (HeardKind::Button, Some("ok"), Some("10")));
        let mut react =
            json!({"user_id": "2", "channel_id": "20", "message_id": "10", "emoji": {"name": "x"}, "member": {"user": {"id": "3"}}});
        assert_eq!(of("MESSAGE_REACTION_ADD", &react).map(|h| (h.id, h.sender.id)), Some(("s:5".to_owned(), "2".to_owned())));
        react["user_id"] = json!("1");
        assert!(of("MESSAGE_REACTION_ADD", &react).is_none());
    }
}
