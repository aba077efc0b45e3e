//! What the WhatsApp Cloud API posts to a webhook.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading::{heard, id, name, text};

/// Messages that one request may carry; Meta sends up to 1,000 changes at once.
const MESSAGES_MAX: usize = 1_000;

/// What became of a message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// The message.
    pub(crate) message: String,
    /// `sent`, `delivered`, `read` or `failed`.
    pub(crate) state: String,
    /// Why it failed: the platform's code and words.
    pub(crate) error: Option<(i64, String)>,
}

/// What a request said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct News {
    pub(crate) heard: Vec<Heard>,
    pub(crate) statuses: Vec<Status>,
    /// Changes that are for another number of the same app.
    pub(crate) others: usize,
}

/// Reads the body of a request whose signature was checked. Changes of another number than `number` are counted and left out.
pub(crate) fn read(body: &Value, number: &str) -> News {
    let mut news = News::default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for change in list(&body["entry"]).iter().flat_map(|entry| list(&entry["changes"])) {
        let value = &change["value"];
        if change["field"] != "messages" || value["metadata"]["phone_number_id"] != *number {
            news.others += 1;
            continue;
        }
        for message in list(&value["messages"]) {
            if news.heard.len() < MESSAGES_MAX {
                news.heard.extend(message_of(&message, &value["contacts"], number));
            }
        }
        for status in list(&value["statuses"]) {
            if let (Some(message), Some(state)) = (id(&status["id"]), status["status"].as_str()) {
                let error = &status["errors"][0];
                let words = error["error_data"]["details"].as_str().or_else(|| error["title"].as_str()).unwrap_or_default();
                let error = error["code"].as_i64().map(|code| (code, words.to_owned()));
                news.statuses.push(Status { message, state: state.to_owned(), error });
            }
        }
    }
    news
}

fn message_of(message: &Value, contacts: &Value, number: &str) -> Option<Heard> {
    let (from, mid) = (id(&message["from"])?, id(&message["id"])?);
    let named = contacts.as_array().into_iter().flatten().find(|contact| contact["wa_id"] == *from);
    let sender = Who { id: from.clone(), name: named.map(|contact| name(&contact["profile"]["name"])).unwrap_or_default(), bot: false };
    let chat = match id(&message["group_id"]) {
        Some(group) => Chat { id: group, name: String::new(), group: true },
        None => Chat { id: from, name: sender.name.clone(), group: false },
    };
    let at_ms = message["timestamp"].as_str().and_then(|at| at.parse::<i64>().ok()).unwrap_or(0).saturating_mul(1_000);
    let mut out = heard(HeardKind::Message, mid, chat, sender, at_ms);
    out.mention = !out.chat.group;
    let kind = message["type"].as_str().unwrap_or_default();
    match kind {
        "text" => out.text = text(&message["text"]["body"]),
        "reaction" => {
            out.kind = HeardKind::Reaction;
            out.about = Some(id(&message["reaction"]["message_id"])?);
            // An empty emoji takes a reaction back: nothing to tell.
            out.value = Some(id(&message["reaction"]["emoji"])?);
            return Some(out);
        }
        "interactive" => {
            let reply = [&message["interactive"]["button_reply"], &message["interactive"]["list_reply"]]
                .into_iter()
                .find(|reply| reply.is_object())?;
            pressed(&mut out, message, id(&reply["id"])?, &reply["title"])?;
            return Some(out);
        }
        "button" => {
            pressed(&mut out, message, id(&message["button"]["payload"])?, &message["button"]["text"])?;
            return Some(out);
        }
        "image" | "video" | "audio" | "document" | "sticker" => {
            let media = &message[kind];
            out.text = text(&media["caption"]);
            let called = media["filename"].as_str().map_or_else(|| kind.to_owned(), |_| name(&media["filename"]));
            out.files.push(Attachment { id: id(&media["id"])?, name: called, mime: name(&media["mime_type"]), size: None });
        }
        "location" => {
            let at = &message["location"];
            out.text = format!(
                "[location {}, {}{}]",
                at["latitude"],
                at["longitude"],
                at["name"].as_str().map(|n| format!(": {n}")).unwrap_or_default()
            );
        }
        "contacts" => {
            let names = message["contacts"].as_array().into_iter().flatten().filter_map(|c| c["name"]["formatted_name"].as_str());
            out.text = format!("[contacts: {}]", names.collect::<Vec<_>>().join(", "));
        }
        _ => return None,
    }
    quote(&mut out, &message["context"], number);
    Some(out)
}

fn pressed(out: &mut Heard, message: &Value, value: String, label: &Value) -> Option<()> {
    out.kind = HeardKind::Button;
    out.about = Some(id(&message["context"]["id"])?);
    out.value = Some(value);
    out.text = text(label);
    Some(())
}

/// A forwarded message says nothing of its sender's own; an answer names what it answers, without its words.
fn quote(out: &mut Heard, context: &Value, number: &str) {
    if context["forwarded"] == true || context["frequently_forwarded"] == true {
        out.quoted = Some(Quoted { id: None, sender: None, text: std::mem::take(&mut out.text), forwarded: true });
    } else if let Some(answered) = id(&context["id"]) {
        let sender = id(&context["from"]).map(|id| Who { bot: id == number, id, name: String::new() });
        out.quoted = Some(Quoted { id: Some(answered), sender, text: String::new(), forwarded: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(number: &str, message: Value) -> Value {
        let contacts = json!([{"wa_id": "4915", "profile": {"name": "Ann"}}]);
        let value = json!({"metadata": {"phone_number_id": number}, "contacts": contacts, "messages": [message]});
        json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]})
    }

    fn one(message: Value) -> Heard {
        let mut news = read(&body("7", message), "7");
        assert_eq!(news.heard.len(), 1);
        news.heard.remove(0)
    }

    #[test]
    fn says_who_wrote_what() {
        let out = one(json!({"from": "4915", "id": "wamid.1", "timestamp": "1700000000", "type": "text", "text": {"body": "hi"}}));
        assert_eq!((out.sender.id.as_str(), out.sender.name.as_str(), out.text.as_str()), ("4915", "Ann", "hi"));
        assert_eq!((out.chat.id.as_str(), out.chat.group, out.mention, out.at_ms), ("4915", false, true, 1_700_000_000_000));
    }

    #[test]
    fn a_forwarded_text_is_not_the_senders() {
        let context = json!({"forwarded": true});
        let out = one(json!({"from": "4915", "id": "wamid.1", "type": "text", "text": {"body": "/stop"}, "context": context}));
        assert_eq!(out.text, "");
        assert_eq!(out.quoted.map(|q| (q.text, q.forwarded)), Some(("/stop".to_owned(), true)));
        let context = json!({"id": "wamid.0", "from": "7"});
        let out = one(json!({"from": "4915", "id": "wamid.1", "type": "text", "text": {"body": "yes"}, "context": context}));
        assert_eq!(out.quoted.and_then(|q| q.id), Some("wamid.0".to_owned()));
        assert_eq!(out.text, "yes");
    }

    #[test]
    fn buttons_reactions_and_files() {
        let reply = json!({"type": "button_reply", "button_reply": {"id": "yes:1", "title": "Yes"}});
        let out = one(json!({"from": "4915", "id": "w2", "type": "interactive", "interactive": reply, "context": {"id": "w1"}}));
        assert_eq!((out.kind, out.about.as_deref(), out.value.as_deref()), (HeardKind::Button, Some("w1"), Some("yes:1")));
        let out = one(json!({"from": "4915", "id": "w3", "type": "reaction", "reaction": {"message_id": "w1", "emoji": "👍"}}));
        assert_eq!((out.kind, out.about.as_deref(), out.value.as_deref()), (HeardKind::Reaction, Some("w1"), Some("👍")));
        let document = json!({"id": "m1", "filename": "../../a.pdf", "mime_type": "application/pdf", "caption": "see"});
        let out = one(json!({"from": "4915", "id": "w4", "type": "document", "document": document}));
        assert_eq!((out.files[0].id.as_str(), out.text.as_str()), ("m1", "see"));
        assert!(
            read(&body("7", json!({"from": "1", "id": "w5", "type": "reaction", "reaction": {"message_id": "w1", "emoji": ""}})), "7")
                .heard
                .is_empty()
        );
    }

    #[test]
    fn another_numbers_messages_are_left_out_and_failures_are_told() {
        let message = json!({"from": "4915", "id": "w", "type": "text", "text": {"body": "hi"}});
        assert_eq!(read(&body("8", message), "7"), News { others: 1, ..News::default() });
        let errors = json!([{"code": 131_047, "title": "Re-engagement message", "error_data": {"details": "more than 24 hours"}}]);
        let statuses = json!([{"id": "w9", "status": "failed", "errors": errors}]);
        let value = json!({"metadata": {"phone_number_id": "7"}, "statuses": statuses});
        let news = read(&json!({"entry": [{"changes": [{"field": "messages", "value": value}]}]}), "7");
        assert_eq!(news.statuses[0].error, Some((131_047, "more than 24 hours".to_owned())));
        for bad in [json!(null), json!([]), json!({"entry": {}}), json!({"entry": [{"changes": [1]}]})] {
            assert!(read(&bad, "7").heard.is_empty());
        }
    }
}
