//! What a BlueBubbles-style bridge says about messages on a Mac.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading::{heard, id, name, text};

/// Files that one message may carry.
const FILES_MAX: usize = 32;
/// The object that stands in the text where a file is.
const PLACE: char = '\u{FFFC}';

/// Reads a message that was fetched from the bridge with the account's password. `edited` says that it is told for another time.
pub(crate) fn read(message: &Value, edited: bool) -> Option<Heard> {
    // What the account wrote itself, and changes of a group's name or members.
    if message["isFromMe"] != false || message["itemType"].as_i64().unwrap_or(0) != 0 {
        return None;
    }
    let sender = Who { id: id(&message["handle"]["address"])?, name: String::new(), bot: false };
    let room = &message["chats"][0];
    let room_id = id(&room["guid"])?;
    // 45 is a chat of two; a bridge that does not say has it in the id: `iMessage;-;` of two, `iMessage;+;` of more.
    let group = room["style"].as_i64().map_or_else(|| !room_id.contains(";-;"), |style| style != 45);
    let chat = Chat { id: room_id, name: name(&room["displayName"]), group };
    let at_ms = message["dateCreated"].as_i64().unwrap_or(0);
    let guid = id(&message["guid"])?;
    let mut out = heard(HeardKind::Message, guid.clone(), chat, sender, at_ms);
    if let Some(kind) = tapback(&message["associatedMessageType"]) {
        let about = message["associatedMessageGuid"].as_str()?;
        // `p:0/GUID` is a part of a message, `bp:GUID` a message.
        let about = about.rsplit_once('/').map_or_else(|| about.trim_start_matches("bp:"), |(_, guid)| guid);
        out.kind = HeardKind::Reaction;
        out.about = Some(about.to_owned()).filter(|about| !about.is_empty());
        out.value = Some(kind?.to_owned());
        return out.about.is_some().then_some(out);
    }
    if edited {
        out.kind = HeardKind::Edit;
        out.at_ms = message["dateEdited"].as_i64()?;
        out.id = format!("{guid}@{}", out.at_ms);
        out.about = Some(guid);
    }
    // iMessage has mentions, but the bridge does not tell whom: only a chat of two speaks to the account for sure.
    out.mention = !out.chat.group;
    out.text = text(&message["text"]).replace(PLACE, "").trim().to_owned();
    if let Some(origin) = id(&message["threadOriginatorGuid"]) {
        out.quoted = Some(Quoted { id: Some(origin), sender: None, text: String::new(), forwarded: false });
    }
    for file in message["attachments"].as_array().into_iter().flatten().take(FILES_MAX) {
        if let Some(known) = id(&file["guid"]) {
            out.files.push(Attachment {
                id: known,
                name: name(&file["transferName"]),
                mime: name(&file["mimeType"]),
                size: file["totalBytes"].as_u64(),
            });
        }
    }
    (!out.text.is_empty() || !out.files.is_empty()).then_some(out)
}

/// The six tapbacks, by name or by number. `None` is no tapback, `Some(None)` one that is taken back.
fn tapback(kind: &Value) -> Option<Option<&'static str>> {
    let number = |kind: i64| match kind {
        2000 => Some(Some("❤️")),
        2001 => Some(Some("👍")),
        2002 => Some(Some("👎")),
        2003 => Some(Some("😂")),
        2004 => Some(Some("‼️")),
        2005 => Some(Some("❓")),
        3000..=3999 => Some(None),
        _ => None,
    };
    match kind {
        Value::Number(kind) => number(kind.as_i64()?),
        Value::String(kind) => match kind.as_str() {
            "love" => Some(Some("❤️")),
            "like" => Some(Some("👍")),
            "dislike" => Some(Some("👎")),
            "laugh" => Some(Some("😂")),
            "emphasize" => Some(Some("‼️")),
            "question" => Some(Some("❓")),
            other if other.starts_with('-') => Some(None),
            other => number(other.parse().ok()?),
        },
        _ => None,
    }
}

/// What the bridge calls an emoji; it takes these six.
pub(crate) fn reaction(emoji: &str) -> Option<&'static str> {
    match emoji.trim_end_matches('\u{FE0F}') {
        "❤" | "💜" | "♥" => Some("love"),
        "👍" | "👌" | "✅" | "✔" => Some("like"),
        "👎" | "❌" => Some("dislike"),
        "😂" | "🤣" | "😄" => Some("laugh"),
        "‼" | "❗" | "⚠" => Some("emphasize"),
        "❓" | "👀" | "🤔" => Some("question"),
        _ => None,
    }
}
