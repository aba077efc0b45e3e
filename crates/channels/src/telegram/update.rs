//! What Telegram tells, in the words of the protocol. Pure.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading;

/// The bot itself.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) id: String,
    pub(super) username: String,
}

/// Who `getMe` says that it is.
pub(super) fn me(found: &Value) -> Option<Me> {
    Some(Me { id: reading::id(&found["id"])?, username: reading::name(&found["username"]) })
}

/// A chat.
pub(super) fn chat(found: &Value) -> Option<Chat> {
    let name = [&found["title"], &found["username"], &found["first_name"]].into_iter().find(|v| v.is_string());
    Some(Chat { id: reading::id(&found["id"])?, name: name.map(reading::name).unwrap_or_default(), group: found["type"] != "private" })
}

/// What an update tells, when it is something.
pub(super) fn heard(update: &Value, me: &Me) -> Option<Heard> {
    let id = reading::id(&update["update_id"])?;
    if update["message"].is_object() {
        return message(&update["message"], me);
    }
    if update["edited_message"].is_object() {
        let edited = message(&update["edited_message"], me)?;
        let about = Some(edited.id.clone());
        return Some(Heard { kind: HeardKind::Edit, about, id, at_ms: ms(&update["edited_message"]["edit_date"]), ..edited });
    }
    if update["callback_query"].is_object() {
        return button(&update["callback_query"]);
    }
    if update["message_reaction"].is_object() {
        return reaction(&update["message_reaction"], id);
    }
    member(&update["my_chat_member"], id)
}

fn message(message: &Value, me: &Me) -> Option<Heard> {
    let chat = chat(&message["chat"])?;
    let sender = sender(message)?;
    // What the bot wrote itself is no news.
    if sender.id == me.id {
        return None;
    }
    let mut heard = reading::heard(HeardKind::Message, reading::id(&message["message_id"])?, chat, sender, ms(&message["date"]));
    let (words, entities) = if message["text"].is_string() {
        (&message["text"], &message["entities"])
    } else {
        (&message["caption"], &message["caption_entities"])
    };
    heard.text = reading::text(words);
    heard.files = files(message);
    heard.thread = thread(message);
    heard.mention = !heard.chat.group
        || is_mentioned(&heard.text, entities, me)
        || reading::id(&message["reply_to_message"]["from"]["id"]).as_ref() == Some(&me.id);
    heard.quoted = quoted(message);
    if message["forward_origin"].is_object() {
        // All of it is somebody else's: neither words nor a mention of the sender's own.
        let sender = origin(&message["forward_origin"]);
        heard.quoted = Some(Quoted { id: None, sender, text: std::mem::take(&mut heard.text), forwarded: true });
        heard.mention = !heard.chat.group;
    }
    // Members that came, a title that changed and the like say nothing.
    (!heard.text.is_empty() || !heard.files.is_empty() || heard.quoted.as_ref().is_some_and(|q| q.forwarded)).then_some(heard)
}

/// Who wrote it. A channel or an anonymous administrator stands behind a user of Telegram's own, so the chat counts then.
fn sender(message: &Value) -> Option<Who> {
    if message["sender_chat"].is_object() {
        let chat = chat(&message["sender_chat"])?;
        return Some(Who { id: chat.id, name: chat.name, bot: false });
    }
    user(&message["from"])
}

fn user(user: &Value) -> Option<Who> {
    let names = [&user["first_name"], &user["last_name"]].map(reading::name);
    let name = names.join(" ").trim().to_owned();
    Some(Who { id: reading::id(&user["id"])?, name, bot: user["is_bot"] == true })
}

fn origin(origin: &Value) -> Option<Who> {
    match origin["type"].as_str()? {
        "user" => user(&origin["sender_user"]),
        "chat" => chat(&origin["sender_chat"]).map(|c| Who { id: c.id, name: c.name, bot: false }),
        "channel" => chat(&origin["chat"]).map(|c| Who { id: c.id, name: c.name, bot: false }),
        // Only a name, which anybody can have.
        _ => None,
    }
}

fn thread(message: &Value) -> Option<String> {
    (message["is_topic_message"] == true).then(|| reading::id(&message["message_thread_id"])).flatten()
}

fn quoted(message: &Value) -> Option<Quoted> {
    let reply = &message["reply_to_message"];
    // A message of a topic answers the one that opened the topic.
    if !reply.is_object() || reply["forum_topic_created"].is_object() {
        return None;
    }
    let whole = if reply["text"].is_string() { &reply["text"] } else { &reply["caption"] };
    let chosen = &message["quote"]["text"];
    Some(Quoted {
        id: reading::id(&reply["message_id"]),
        sender: sender(reply),
        text: reading::text(if chosen.is_string() { chosen } else { whole }),
        forwarded: false,
    })
}

/// Whether the entities that Telegram found name the bot: `@name`, a command to it, or a link to it.
fn is_mentioned(text: &str, entities: &Value, me: &Me) -> bool {
    let units: Vec<u16> = text.encode_utf16().collect();
    let piece = |entity: &Value| {
        let from = usize::try_from(entity["offset"].as_u64()?).ok()?;
        let length = usize::try_from(entity["length"].as_u64()?).ok()?;
        units.get(from..from.checked_add(length)?).map(String::from_utf16_lossy)
    };
    entities.as_array().map(Vec::as_slice).unwrap_or_default().iter().any(|entity| match entity["type"].as_str() {
        Some("mention" | "bot_command") => {
            let name = piece(entity).and_then(|text| text.split_once('@').map(|(_, name)| name.to_owned()));
            !me.username.is_empty() && name.is_some_and(|name| name.eq_ignore_ascii_case(&me.username))
        }
        Some("text_mention") => reading::id(&entity["user"]["id"]).as_ref() == Some(&me.id),
        _ => false,
    })
}

fn files(message: &Value) -> Vec<Attachment> {
    let file = |kind: &str, found: &Value, mime: &str| {
        let given = reading::name(&found["mime_type"]);
        let mime = if given.is_empty() { mime.to_owned() } else { given };
        let end = mime.split('/').nth(1).filter(|end| end.bytes().all(|b| b.is_ascii_alphanumeric())).unwrap_or("bin").to_owned();
        let named = reading::name(&found["file_name"]);
        let name = if named.is_empty() { format!("{kind}.{end}") } else { named };
        Some(Attachment { id: reading::id(&found["file_id"])?, name, mime, size: found["file_size"].as_u64() })
    };
    let kinds = [
        ("document", "application/octet-stream"),
        ("audio", "audio/mpeg"),
        ("video", "video/mp4"),
        ("voice", "audio/ogg"),
        ("video_note", "video/mp4"),
        ("sticker", "image/webp"),
    ];
    let mut files: Vec<Attachment> = kinds.iter().filter_map(|(kind, mime)| file(kind, &message[kind], mime)).collect();
    // The same picture in several sizes, the largest last.
    files.extend(message["photo"].as_array().and_then(|sizes| sizes.last()).and_then(|largest| file("photo", largest, "image/jpeg")));
    files
}

fn button(query: &Value) -> Option<Heard> {
    let message = &query["message"];
    let at_ms = crate::clock::now_ms();
    let mut heard = reading::heard(HeardKind::Button, reading::id(&query["id"])?, chat(&message["chat"])?, user(&query["from"])?, at_ms);
    heard.about = reading::id(&message["message_id"]);
    heard.value = Some(query["data"].as_str()?.to_owned());
    heard.thread = thread(message);
    heard.mention = true;
    Some(heard)
}

fn reaction(found: &Value, id: String) -> Option<Heard> {
    let emojis = |list: &Value| -> Vec<String> {
        list.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(|r| r["emoji"].as_str().map(str::to_owned)).collect()
    };
    let before = emojis(&found["old_reaction"]);
    let given = emojis(&found["new_reaction"]).into_iter().find(|emoji| !before.contains(emoji))?;
    let sender = if found["actor_chat"].is_object() {
        chat(&found["actor_chat"]).map(|c| Who { id: c.id, name: c.name, bot: false })
    } else {
        user(&found["user"])
    };
    let mut heard = reading::heard(HeardKind::Reaction, id, chat(&found["chat"])?, sender?, ms(&found["date"]));
    heard.about = reading::id(&found["message_id"]);
    heard.value = Some(given);
    Some(heard)
}

fn member(found: &Value, id: String) -> Option<Heard> {
    let is_in = |member: &Value| match member["status"].as_str()? {
        "creator" | "administrator" | "member" => Some(true),
        "restricted" => Some(member["is_member"] == true),
        _ => Some(false),
    };
    let kind = match (is_in(&found["old_chat_member"])?, is_in(&found["new_chat_member"])?) {
        (false, true) => HeardKind::Joined,
        (true, false) => HeardKind::Left,
        _ => return None,
    };
    Some(reading::heard(kind, id, chat(&found["chat"])?, user(&found["from"])?, ms(&found["date"])))
}

fn ms(seconds: &Value) -> i64 {
    seconds.as_i64().unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(update: &Value) -> Option<Heard> {
        heard(update, &Me { id: "42".to_owned(), username: "harbour_bot".to_owned() })
    }

    fn said(message: Value) -> Value {
        let mut whole = json!({"message_id": 7, "date": 100, "chat": {"id": -5, "type": "supergroup", "title": "Quay"},
            "from": {"id": 9, "is_bot": false, "first_name": "Ann", "last_name": "Lee"}});
        for (key, value) in message.as_object().unwrap() {
            whole[key] = value.clone();
        }
        json!({"update_id": 1, "message": whole})
    }

    #[test]
    fn a_mention_is_what_telegram_marks_as_one() {
        let emoji = "\u{1F6A2} @Harbour_Bot hi";
        let marked = of(&said(json!({"text": emoji, "entities": [{"type": "mention", "offset": 3, "length": 12}]}))).unwrap();
        assert!(marked.mention && marked.text == emoji && marked.at_ms == 100_000);
        assert!(!of(&said(json!({"text": "@harbour_bot hi"}))).unwrap().mention, "text alone is no mention");
        assert!(
            !of(&said(json!({"text": "@harbour_bott", "entities": [{"type": "mention", "offset": 0, "length": 13}]}))).unwrap().mention
        );
        assert!(
            of(&said(json!({"text": "/stop@harbour_bot", "entities": [{"type": "bot_command", "offset": 0, "length": 17}]})))
                .unwrap()
                .mention
        );
        assert!(!of(&said(json!({"text": "/stop", "entities": [{"type": "bot_command", "offset": 0, "length": 5}]}))).unwrap().mention);
        let wild = json!([{"type": "mention", "offset": u64::MAX, "length": u64::MAX}, {"type": "mention", "offset": -1, "length": 2}, 5]);
        assert!(!of(&said(json!({"text": "x", "entities": wild}))).unwrap().mention);
        assert!(of(&said(json!({"text": "hi", "chat": {"id": 9, "type": "private", "first_name": "Ann"}}))).unwrap().mention);
    }

    #[test]
    fn what_is_forwarded_or_anonymous_is_not_the_senders() {
        let origin = json!({"type": "user", "sender_user": {"id": 1, "is_bot": false, "first_name": "Boss"}});
        let forwarded = of(&said(json!({"text": "/stop", "forward_origin": origin}))).unwrap();
        assert_eq!(forwarded.text, "");
        assert!(forwarded.quoted.is_some_and(|q| q.forwarded && q.text == "/stop" && q.sender.is_some_and(|s| s.id == "1")));
        let hidden = of(&said(json!({"text": "x", "forward_origin": {"type": "hidden_user", "sender_user_name": "Boss"}}))).unwrap();
        assert!(hidden.quoted.is_some_and(|q| q.sender.is_none()));
        let anonymous = of(&said(json!({"text": "x", "sender_chat": {"id": -5, "type": "supergroup", "title": "Quay"}}))).unwrap();
        assert_eq!(anonymous.sender.id, "-5");
        let quote = json!({"message_id": 3, "from": {"id": 42, "is_bot": true, "first_name": "bot"}, "text": "all of it"});
        let reply = of(&said(json!({"text": "yes", "reply_to_message": quote, "quote": {"text": "of it"}}))).unwrap();
        assert!(reply.mention && reply.quoted.is_some_and(|q| q.text == "of it" && q.id.as_deref() == Some("3")));
    }

    #[test]
    fn other_updates_have_ids_of_their_own() {
        let mut edited = said(json!({"text": "new", "edit_date": 120}));
        edited["edited_message"] = edited["message"].take();
        let edit = of(&edited).unwrap();
        assert_eq!((edit.kind, edit.id.as_str(), edit.about.as_deref(), edit.at_ms), (HeardKind::Edit, "1", Some("7"), 120_000));
        let chat = json!({"id": -5, "type": "group", "title": "Quay"});
        let user = json!({"id": 9, "is_bot": false, "first_name": "Ann"});
        let query = json!({"update_id": 2, "callback_query": {"id": "q1", "from": user, "data": "yes", "message": {"message_id": 8, "chat": chat}}});
        let pressed = of(&query).unwrap();
        assert_eq!((pressed.kind, pressed.value.as_deref(), pressed.about.as_deref()), (HeardKind::Button, Some("yes"), Some("8")));
        let reaction = |old: Value, new: Value| {
            of(
                &json!({"update_id": 3, "message_reaction": {"chat": chat, "message_id": 8, "user": user, "date": 1, "old_reaction": old, "new_reaction": new}}),
            )
        };
        let thumb = json!([{"type": "emoji", "emoji": "\u{1F44D}"}]);
        assert_eq!(reaction(json!([]), thumb.clone()).unwrap().value.as_deref(), Some("\u{1F44D}"));
        assert!(reaction(thumb, json!([])).is_none(), "a reaction taken back");
        let member = |old: &str, new: &str| {
            let member =
                json!({"chat": chat, "from": user, "date": 1, "old_chat_member": {"status": old}, "new_chat_member": {"status": new}});
            of(&json!({"update_id": 4, "my_chat_member": member})).map(|h| h.kind)
        };
        assert_eq!(member("left", "member"), Some(HeardKind::Joined));
        assert_eq!(member("administrator", "kicked"), Some(HeardKind::Left));
        assert_eq!(member("member", "administrator"), None);
        for wrong in [
            json!(null),
            json!({}),
            json!({"update_id": 1}),
            json!({"update_id": 1, "message": {}}),
            json!({"update_id": "x", "message": []}),
        ] {
            assert!(of(&wrong).is_none(), "{wrong}");
        }
    }
}
