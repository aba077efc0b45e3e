//! What Google Chat posts to an app's endpoint: interaction events.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading::{heard, id, name, rfc3339_ms, text};

/// Files that one message may carry.
const FILES_MAX: usize = 20;
/// The method's name of our buttons; Google hands it back.
pub(crate) const PRESSED: &str = "lazaret";

/// Reads an event whose token was checked. A space is the chat; `thread` is the name of the thread.
pub(crate) fn read(event: &Value) -> Option<Heard> {
    let space = &event["space"];
    let direct = space["spaceType"] == "DIRECT_MESSAGE" || space["type"] == "DM" || space["singleUserBotDm"] == true;
    let chat = Chat { id: id(&space["name"])?, name: name(&space["displayName"]), group: !direct };
    let user = &event["user"];
    let sender = Who { id: id(&user["name"])?, name: name(&user["displayName"]), bot: user["type"] == "BOT" };
    let at_ms = rfc3339_ms(event["eventTime"].as_str().unwrap_or_default()).unwrap_or(0);
    let message = &event["message"];
    match event["type"].as_str()? {
        "MESSAGE" => {
            // Whoever the event says did it must have written the message too.
            if message["sender"]["name"] != user["name"] || message["space"]["name"].as_str().is_some_and(|space| space != chat.id) {
                return None;
            }
            let mut out = heard(HeardKind::Message, id(&message["name"])?, chat, sender, at_ms);
            said(message, &mut out);
            (!out.text.trim().is_empty() || !out.files.is_empty() || out.quoted.is_some()).then_some(out)
        }
        "CARD_CLICKED" => {
            if event["action"]["actionMethodName"].as_str().or_else(|| event["common"]["invokedFunction"].as_str()) != Some(PRESSED) {
                return None;
            }
            let value = event["action"]["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|pair| pair["key"] == "value")
                .map(|pair| id(&pair["value"]));
            let value = value.flatten().or_else(|| id(&event["common"]["parameters"]["value"]))?;
            let about = id(&message["name"])?;
            // A click has no id: who, which message, and when make one that Google's second try repeats.
            let mut out = heard(HeardKind::Button, format!("{about}/click/{}/{at_ms}", sender.id), chat, sender, at_ms);
            out.thread = id(&message["thread"]["name"]);
            out.about = Some(about);
            out.value = Some(value);
            Some(out)
        }
        kind @ ("ADDED_TO_SPACE" | "REMOVED_FROM_SPACE") => {
            let kind = if kind == "ADDED_TO_SPACE" { HeardKind::Joined } else { HeardKind::Left };
            let made = format!("{}/member/{at_ms}", chat.id);
            Some(heard(kind, made, chat, sender, at_ms))
        }
        _ => None,
    }
}

fn said(message: &Value, out: &mut Heard) {
    // Only messages that mention the app come from a space; `argumentText` is the text without the mention.
    let argument = message["argumentText"].as_str().map(str::trim_start);
    let mentioned = message["annotations"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|a| a["type"] == "USER_MENTION" && a["userMention"]["user"]["type"] == "BOT");
    out.mention = !out.chat.group || mentioned;
    out.text = match argument {
        Some(argument) if mentioned => crate::reading::clip(argument, wire::chat::CHAT_TEXT_BYTES_MAX),
        _ => text(&message["text"]),
    };
    out.thread = id(&message["thread"]["name"]);
    let quoted = &message["quotedMessageMetadata"];
    if let Some(original) = id(&quoted["name"]) {
        let forwarded = quoted["quoteType"] == "FORWARD";
        let snapshot = &quoted["quotedMessageSnapshot"];
        let sender = id(&snapshot["sender"]).map(|id| Who { id, name: String::new(), bot: false });
        out.quoted = Some(Quoted { id: Some(original), sender, text: text(&snapshot["text"]), forwarded });
    }
    let files = message["attachment"].as_array().or_else(|| message["attachments"].as_array()).into_iter().flatten();
    for file in files.take(FILES_MAX) {
        // What lies in Drive is the person's; an app has no right to it.
        if let Some(resource) = id(&file["attachmentDataRef"]["resourceName"]) {
            out.files.push(Attachment { id: resource, name: name(&file["contentName"]), mime: name(&file["contentType"]), size: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "type": "MESSAGE", "eventTime": "2026-01-02T03:04:05Z",
            "space": {"name": "spaces/A", "displayName": "Team", "spaceType": "SPACE"},
            "user": {"name": "users/1", "displayName": "Ann", "type": "HUMAN"},
            "message": {
                "name": "spaces/A/messages/M", "sender": {"name": "users/1"}, "text": "@Lazy hi", "argumentText": " hi",
                "thread": {"name": "spaces/A/threads/T"},
                "annotations": [{"type": "USER_MENTION", "userMention": {"user": {"name": "users/9", "type": "BOT"}}}],
                "attachment": [{"contentName": "a.png", "contentType": "image/png", "attachmentDataRef": {"resourceName": "res=="}}],
            },
        })
    }

    #[test]
    fn messages_of_a_space() {
        let out = read(&event()).unwrap();
        assert_eq!((out.chat.id.as_str(), out.thread.as_deref(), out.text.as_str()), ("spaces/A", Some("spaces/A/threads/T"), "hi"));
        assert!(out.mention && out.chat.group);
        assert_eq!(out.files[0].id, "res==");
        let mut other = event();
        other["message"]["sender"]["name"] = json!("users/2");
        assert_eq!(read(&other), None);
        other = event();
        other["message"]["space"] = json!({"name": "spaces/B"});
        assert_eq!(read(&other), None);
    }

    #[test]
    fn clicks_are_ours_and_the_same_twice() {
        let mut click = event();
        click["type"] = json!("CARD_CLICKED");
        click["action"] = json!({"actionMethodName": PRESSED, "parameters": [{"key": "value", "value": "yes"}]});
        let out = read(&click).unwrap();
        assert_eq!((out.kind, out.value.as_deref(), out.about.as_deref()), (HeardKind::Button, Some("yes"), Some("spaces/A/messages/M")));
        assert_eq!(read(&click).unwrap().id, out.id);
        click["action"]["actionMethodName"] = json!("other");
        assert_eq!(read(&click), None);
    }
}
