//! What Webex says: webhooks name what happened, and what it is has to be fetched.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading::{heard, id, name, rfc3339_ms, text};

/// Files that one message may carry.
const FILES_MAX: usize = 20;

/// What a webhook is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A message was written.
    Message(String),
    /// A message has another text.
    Edited(String),
    /// A button was pressed.
    Action(String),
    /// Somebody was brought into a room, or out of it.
    Member(Box<Heard>),
}

/// Reads a webhook whose signature was checked. `me` is the account's own id: what it did itself is left out.
pub(crate) fn event(body: &Value, me: &str) -> Option<Event> {
    let data = &body["data"];
    let subject = crate::reading::path_id(data["id"].as_str()?)?.to_owned();
    match (body["resource"].as_str()?, body["event"].as_str()?) {
        ("messages", "created") if data["personId"] != *me => Some(Event::Message(subject)),
        ("messages", "updated") if data["personId"] != *me => Some(Event::Edited(subject)),
        ("attachmentActions", "created") => Some(Event::Action(subject)),
        ("memberships", kind @ ("created" | "deleted")) if data["personId"] == *me => {
            let kind = if kind == "created" { HeardKind::Joined } else { HeardKind::Left };
            let chat = Chat { id: id(&data["roomId"])?, name: String::new(), group: data["roomType"] != "direct" };
            let sender = Who { id: id(&body["actorId"])?, name: String::new(), bot: false };
            let at_ms = rfc3339_ms(data["created"].as_str().unwrap_or_default()).unwrap_or(0);
            Some(Event::Member(Box::new(heard(kind, subject, chat, sender, at_ms))))
        }
        _ => None,
    }
}

/// Reads a message that was fetched with the account's token: only then its sender is known. `edited` says that it is told for
/// another time.
pub(crate) fn message(message: &Value, me: &str, edited: bool) -> Option<Heard> {
    let sender = Who { id: id(&message["personId"])?, name: name(&message["personEmail"]), bot: is_bot(&message["personEmail"]) };
    if sender.id == me {
        return None;
    }
    let chat = Chat { id: id(&message["roomId"])?, name: String::new(), group: message["roomType"] != "direct" };
    let at = message["updated"].as_str().filter(|_| edited).or_else(|| message["created"].as_str());
    let at_ms = at.and_then(rfc3339_ms).unwrap_or(0);
    let mid = id(&message["id"])?;
    let mut out = heard(HeardKind::Message, mid.clone(), chat, sender, at_ms);
    if edited {
        out.kind = HeardKind::Edit;
        out.id = format!("{mid}@{at_ms}");
        out.about = Some(mid);
    }
    out.thread = id(&message["parentId"]);
    out.mention = !out.chat.group || message["mentionedPeople"].as_array().into_iter().flatten().any(|person| *person == *me);
    out.text = text(&message["text"]);
    if message["isForwarded"] == true {
        out.quoted = Some(Quoted { id: None, sender: None, text: std::mem::take(&mut out.text), forwarded: true });
    }
    for url in message["files"].as_array().into_iter().flatten().filter_map(Value::as_str).take(FILES_MAX) {
        // The last piece of the address is the file's id; the rest is the platform's and not taken from a message.
        if let Some(file) = url.rsplit('/').next().and_then(crate::reading::path_id) {
            out.files.push(Attachment { id: file.to_owned(), name: String::new(), mime: String::new(), size: None });
        }
    }
    (!out.text.trim().is_empty() || !out.files.is_empty() || out.quoted.is_some()).then_some(out)
}

/// Reads a press of a button that was fetched.
pub(crate) fn action(action: &Value, direct: bool) -> Option<Heard> {
    let sender = Who { id: id(&action["personId"])?, name: String::new(), bot: false };
    let chat = Chat { id: id(&action["roomId"])?, name: String::new(), group: !direct };
    let at_ms = rfc3339_ms(action["created"].as_str().unwrap_or_default()).unwrap_or(0);
    let mut out = heard(HeardKind::Button, id(&action["id"])?, chat, sender, at_ms);
    out.about = Some(id(&action["messageId"])?);
    out.value = Some(id(&action["inputs"]["lazaret"])?);
    Some(out)
}

fn is_bot(email: &Value) -> bool {
    email.as_str().is_some_and(|email| email.ends_with("@webex.bot") || email.ends_with("@sparkbot.io"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_webhook_only_names_what_to_fetch() {
        let hook = |resource: &str, event: &str, person: &str| json!({"resource": resource, "event": event, "actorId": "P1", "data": {"id": "M1", "roomId": "R", "personId": person}});
        assert_eq!(event(&hook("messages", "created", "P1"), "ME"), Some(Event::Message("M1".to_owned())));
        assert_eq!(event(&hook("messages", "updated", "P1"), "ME"), Some(Event::Edited("M1".to_owned())));
        assert_eq!(event(&hook("messages", "created", "ME"), "ME"), None);
        assert_eq!(event(&hook("attachmentActions", "created", "P1"), "ME"), Some(Event::Action("M1".to_owned())));
        assert!(
            matches!(event(&hook("memberships", "created", "ME"), "ME"), Some(Event::Member(heard)) if heard.kind == HeardKind::Joined)
        );
        assert_eq!(event(&hook("memberships", "created", "P1"), "ME"), None);
        let mut bad = hook("messages", "created", "P1");
        bad["data"]["id"] = json!("../people/me");
        assert_eq!(event(&bad, "ME"), None);
    }

    #[test]
    fn messages_and_buttons() {
        let fetched = json!({
            "id": "M1", "roomId": "R", "roomType": "group", "personId": "P1", "personEmail": "ann@example.com", "text": "Lazy hi",
            "mentionedPeople": ["ME"], "parentId": "M0", "files": ["https://webexapis.com/v1/contents/F1", "https://evil.example/x/../y?z"],
            "created": "2026-01-02T03:04:05Z",
        });
        let out = message(&fetched, "ME", false).unwrap();
        assert_eq!((out.sender.id.as_str(), out.thread.as_deref(), out.mention), ("P1", Some("M0"), true));
        assert_eq!(out.files.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["F1"]);
        let edited = message(&fetched, "ME", true).unwrap();
        assert_eq!((edited.kind, edited.about.as_deref()), (HeardKind::Edit, Some("M1")));
        let pressed =
            json!({"id": "A1", "messageId": "M1", "roomId": "R", "personId": "P1", "inputs": {"lazaret": "yes"}, "type": "submit"});
        assert_eq!(action(&pressed, false).unwrap().value.as_deref(), Some("yes"));
        assert_eq!(message(&json!({"id": "M", "roomId": "R", "personId": "ME", "text": "x"}), "ME", false), None);
    }
}
