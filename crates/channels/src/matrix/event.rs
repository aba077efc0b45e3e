//! What a homeserver tells, in the words of the protocol. Pure.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Who};

use crate::reading;

/// What an event tells, when it is something. Who sent it is what the homeserver says, not the event.
pub(super) fn heard(event: &Value, chat: &Chat, me: &str) -> Option<Heard> {
    let sender = reading::id(&event["sender"]).filter(|sender| sender != me)?;
    let id = reading::id(&event["event_id"])?;
    let at_ms = event["origin_server_ts"].as_i64().unwrap_or(0);
    let who = Who { name: String::new(), id: sender, bot: event["content"]["msgtype"] == "m.notice" };
    let heard = |kind| reading::heard(kind, id.clone(), chat.clone(), who.clone(), at_ms);
    let (content, relates) = (&event["content"], &event["content"]["m.relates_to"]);
    match event["type"].as_str()? {
        "m.room.message" if relates["rel_type"] == "m.replace" => {
            let mut edit = message(&content["m.new_content"], chat, me, heard(HeardKind::Edit))?;
            edit.about = reading::id(&relates["event_id"]);
            edit.thread = None;
            Some(edit)
        }
        "m.room.message" => message(content, chat, me, heard(HeardKind::Message)),
        "m.reaction" => {
            let mut given = heard(HeardKind::Reaction);
            given.about = Some(reading::id(&relates["event_id"])?);
            given.value = Some(reading::name(&relates["key"]));
            Some(given)
        }
        _ => None,
    }
}

fn message(content: &Value, chat: &Chat, me: &str, mut heard: Heard) -> Option<Heard> {
    let kind = content["msgtype"].as_str()?;
    let relates = &content["m.relates_to"];
    let body = reading::text(&content["body"]);
    let is_reply = relates["m.in_reply_to"]["event_id"].is_string();
    let is_file = matches!(kind, "m.image" | "m.file" | "m.audio" | "m.video");
    // A file's body is its name, or what is said about it where it has a name of its own.
    let said = !is_file || (content["filename"].is_string() && content["filename"] != content["body"]);
    heard.text = match (said, is_reply) {
        (false, _) => String::new(),
        (true, true) => without_fallback(&body).to_owned(),
        (true, false) => body.clone(),
    };
    if kind == "m.emote" {
        heard.text = format!("* {}", heard.text);
    }
    if relates["rel_type"] == "m.thread" {
        heard.thread = reading::id(&relates["event_id"]);
    }
    heard.mention = !chat.group || is_mentioned(content, &heard.text, me);
    if is_file {
        let name = if content["filename"].is_string() { &content["filename"] } else { &content["body"] };
        let info = &content["info"];
        heard.files.push(Attachment {
            id: reading::id(&content["url"])?,
            name: reading::name(name),
            mime: reading::name(&info["mimetype"]),
            size: info["size"].as_u64(),
        });
    }
    Some(heard)
}

/// Which event a message answers, where it does: not the one that old programs are shown in a thread.
pub(super) fn answers(event: &Value) -> Option<String> {
    let relates = &event["content"]["m.relates_to"];
    let shown = relates["rel_type"] == "m.thread" && relates["is_falling_back"] == true;
    (!shown).then(|| reading::id(&relates["m.in_reply_to"]["event_id"])).flatten()
}

/// What an event says, for quoting.
pub(super) fn said(event: &Value) -> String {
    without_fallback(&reading::text(&event["content"]["body"])).to_owned()
}

/// The text behind the quote that replies once began with.
fn without_fallback(body: &str) -> &str {
    if !body.starts_with("> <") && !body.starts_with("> * <") {
        return body;
    }
    let mut rest = body;
    while rest.starts_with("> ") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest.strip_prefix('\n').unwrap_or(rest)
}

fn is_mentioned(content: &Value, text: &str, me: &str) -> bool {
    match content["m.mentions"].as_object() {
        Some(mentions) => mentions.get("user_ids").and_then(Value::as_array).is_some_and(|all| all.iter().any(|user| user == me)),
        // Programs of before there were such lists write the id.
        None => text.split(|c: char| c.is_whitespace() || c == ',').any(|word| word.trim_end_matches(':') == me),
    }
}

/// Whether the account came or went, by an event about its own membership.
pub(super) fn membership(event: &Value, chat: &Chat, me: &str) -> Option<Heard> {
    if event["type"] != "m.room.member" || event["state_key"] != me {
        return None;
    }
    let kind = match (event["unsigned"]["prev_content"]["membership"].as_str(), event["content"]["membership"].as_str()?) {
        (Some("join"), "join") => return None,
        (_, "join") => HeardKind::Joined,
        (_, "leave" | "ban") => HeardKind::Left,
        _ => return None,
    };
    let who = Who { id: reading::id(&event["sender"])?, name: String::new(), bot: false };
    Some(reading::heard(kind, reading::id(&event["event_id"])?, chat.clone(), who, event["origin_server_ts"].as_i64().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ME: &str = "@bot:home.test";

    fn of(content: Value, group: bool) -> Option<Heard> {
        let chat = Chat { id: "!r:home.test".to_owned(), name: String::new(), group };
        let event =
            json!({"type": "m.room.message", "event_id": "$1", "sender": "@ann:home.test", "origin_server_ts": 5, "content": content});
        heard(&event, &chat, ME)
    }

    #[test]
    fn messages_mentions_and_replies() {
        let said = of(json!({"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": [ME]}}), true).unwrap();
        assert!(said.mention && said.at_ms == 5);
        assert!(!of(json!({"msgtype": "m.text", "body": format!("{ME}: hi"), "m.mentions": {}}), true).unwrap().mention);
        assert!(of(json!({"msgtype": "m.text", "body": format!("{ME}: hi")}), true).unwrap().mention);
        assert!(!of(json!({"msgtype": "m.text", "body": format!("{ME}x hi")}), true).unwrap().mention);
        assert!(of(json!({"msgtype": "m.text", "body": "hi"}), false).unwrap().mention);
        assert!(of(json!({"msgtype": "m.notice", "body": "hi"}), true).unwrap().sender.bot);
        let reply =
            json!({"msgtype": "m.text", "body": "> <@boss:x> /stop\n> more\n\nyes", "m.relates_to": {"m.in_reply_to": {"event_id": "$0"}}});
        assert_eq!(of(reply, true).unwrap().text, "yes");
        assert_eq!(of(json!({"msgtype": "m.text", "body": "> <quote of mine"}), true).unwrap().text, "> <quote of mine");
        let thread = json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": "$t", "is_falling_back": true, "m.in_reply_to": {"event_id": "$0"}}});
        assert_eq!(of(thread.clone(), true).unwrap().thread.as_deref(), Some("$t"));
        assert_eq!(answers(&json!({"content": thread})), None);
        assert!(of(json!({}), true).is_none() && of(json!({"msgtype": 5}), true).is_none());
    }

    #[test]
    fn edits_files_and_reactions() {
        let new = json!({"msgtype": "m.text", "body": "new"});
        let edit = of(json!({"msgtype": "m.text", "body": "* new", "m.new_content": new, "m.relates_to": {"rel_type": "m.replace", "event_id": "$0"}}), true).unwrap();
        assert_eq!((edit.kind, edit.text.as_str(), edit.about.as_deref()), (HeardKind::Edit, "new", Some("$0")));
        let file = of(json!({"msgtype": "m.image", "body": "look", "filename": "a.png", "url": "mxc://x/y", "info": {"mimetype": "image/png", "size": 3}}), true).unwrap();
        assert_eq!((file.text.as_str(), file.files[0].name.as_str(), file.files[0].id.as_str()), ("look", "a.png", "mxc://x/y"));
        let bare = of(json!({"msgtype": "m.file", "body": "a.txt", "url": "mxc://x/y"}), true).unwrap();
        assert_eq!((bare.text.as_str(), bare.files[0].name.as_str()), ("", "a.txt"));
        let chat = Chat { id: "!r".to_owned(), name: String::new(), group: true };
        let react = json!({"type": "m.reaction", "event_id": "$2", "sender": "@ann:x", "content": {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$0", "key": "x"}}});
        assert_eq!(
            heard(&react, &chat, ME).map(|h| (h.kind, h.value, h.about)),
            Some((HeardKind::Reaction, Some("x".to_owned()), Some("$0".to_owned())))
        );
        assert!(heard(&react, &chat, "@ann:x").is_none(), "its own");
        let join =
            json!({"type": "m.room.member", "event_id": "$3", "sender": "@ann:x", "state_key": ME, "content": {"membership": "join"}});
        assert_eq!(membership(&join, &chat, ME).map(|h| h.kind), Some(HeardKind::Joined));
        assert!(membership(&join, &chat, "@other:x").is_none());
    }
}
