//! What Bot Framework posts for Microsoft Teams: activities.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading::{heard, id, name, rfc3339_ms, text};

/// Files that one message may carry.
const FILES_MAX: usize = 20;

/// Reads an activity whose token was checked. `app` is the account's own id in the directory (`28:APP` in Teams).
///
/// The chat is the conversation without its thread; a thread of a team's channel is the id of its first message.
pub(crate) fn read(activity: &Value, app: &str) -> Vec<Heard> {
    let Some(mut out) = common(activity, app) else { return Vec::new() };
    match activity["type"].as_str().unwrap_or_default() {
        "message" if activity["value"]["lazaret"].is_string() => {
            out.kind = HeardKind::Button;
            out.value = id(&activity["value"]["lazaret"]);
            out.about = id(&activity["replyToId"]);
            if out.about.is_some() && out.value.is_some() { vec![out] } else { Vec::new() }
        }
        "message" => {
            said(activity, &mut out, app);
            if out.text.trim().is_empty() && out.files.is_empty() && out.quoted.is_none() { Vec::new() } else { vec![out] }
        }
        "messageUpdate" => {
            if activity["channelData"]["eventType"].as_str().is_some_and(|kind| kind != "editMessage") {
                return Vec::new();
            }
            said(activity, &mut out, app);
            out.kind = HeardKind::Edit;
            out.about = Some(out.id.clone());
            // The activity has the message's id; each edit is an event of its own.
            out.id = format!("{}@{}", out.id, out.at_ms);
            vec![out]
        }
        "messageReaction" => {
            let Some(about) = id(&activity["replyToId"]) else { return Vec::new() };
            let given = activity["reactionsAdded"].as_array().into_iter().flatten().filter_map(|reaction| id(&reaction["type"]));
            let one = |value: String| {
                let mut one = out.clone();
                one.kind = HeardKind::Reaction;
                one.id = format!("{}:{value}", out.id);
                one.about = Some(about.clone());
                one.value = Some(emoji(&value).to_owned());
                one
            };
            given.take(FILES_MAX).map(one).collect()
        }
        "conversationUpdate" => {
            let has = |list: &Value| list.as_array().into_iter().flatten().any(|member| own(member, app));
            let kind = match (has(&activity["membersAdded"]), has(&activity["membersRemoved"])) {
                (true, _) => HeardKind::Joined,
                (_, true) => HeardKind::Left,
                _ => return Vec::new(),
            };
            out.kind = kind;
            vec![out]
        }
        _ => Vec::new(),
    }
}

/// What every activity has. The sender is the person's id in the directory where Teams gives it, which is the same in all chats.
fn common(activity: &Value, app: &str) -> Option<Heard> {
    let from = &activity["from"];
    if own(from, app) || !own(&activity["recipient"], app) {
        return None;
    }
    let sender = Who {
        id: id(&from["aadObjectId"]).or_else(|| id(&from["id"]))?,
        name: name(&from["name"]),
        bot: from["id"].as_str().is_some_and(|known| known.starts_with("28:")) || from["role"] == "bot",
    };
    let conversation = &activity["conversation"];
    let whole = id(&conversation["id"])?;
    let (chat, thread) = match whole.split_once(";messageid=") {
        Some((chat, first)) => (chat.to_owned(), Some(first.to_owned())),
        None => (whole.clone(), None),
    };
    let group = conversation["conversationType"].as_str().map_or(conversation["isGroup"] == true, |kind| kind != "personal");
    let chat = Chat { id: chat, name: name(&conversation["name"]), group };
    let at_ms = rfc3339_ms(activity["timestamp"].as_str().unwrap_or_default()).unwrap_or(0);
    let mut out = heard(HeardKind::Message, id(&activity["id"])?, chat, sender, at_ms);
    out.thread = thread;
    Some(out)
}

fn own(account: &Value, app: &str) -> bool {
    let known = account["id"].as_str().unwrap_or_default();
    known == app || known.strip_prefix("28:") == Some(app)
}

/// Text, mentions, quotes and files.
fn said(activity: &Value, out: &mut Heard, app: &str) {
    let entities = || activity["entities"].as_array().into_iter().flatten();
    out.mention = !out.chat.group || entities().any(|entity| entity["type"] == "mention" && own(&entity["mentioned"], app));
    let mut words = text(&activity["text"]);
    for entity in entities().filter(|entity| entity["type"] == "mention") {
        // `<at>Name</at>`: the account's own goes, others stay as their names.
        let (Some(marked), known) = (entity["text"].as_str().filter(|t| !t.is_empty()), &entity["mentioned"]) else { continue };
        let shown = if own(known, app) { String::new() } else { format!("@{}", name(&known["name"])) };
        words = words.replacen(marked, &shown, 1);
    }
    out.text = words.trim().to_owned();
    for attachment in activity["attachments"].as_array().into_iter().flatten().take(FILES_MAX) {
        let kind = attachment["contentType"].as_str().unwrap_or_default();
        match kind {
            "messageReference" => {
                let about = serde_json::from_str(attachment["content"].as_str().unwrap_or_default())
                    .unwrap_or_else(|_| attachment["content"].clone());
                let user = &about["messageSender"]["user"];
                let sender = id(&user["id"]).map(|id| Who { id, name: name(&user["displayName"]), bot: false });
                out.quoted = Some(Quoted { id: id(&about["messageId"]), sender, text: text(&about["messagePreview"]), forwarded: false });
            }
            "forwardedMessageReference" => {
                let about = &attachment["content"];
                out.quoted = Some(Quoted {
                    id: id(&about["originalMessageId"]),
                    sender: None,
                    text: text(&about["originalMessageContent"]),
                    forwarded: true,
                });
            }
            "application/vnd.microsoft.teams.file.download.info" => {
                // The link carries its own permission and ends after some minutes.
                let mime = attachment["content"]["fileType"].as_str().map_or("application/octet-stream", of_ending);
                push(out, &attachment["content"]["downloadUrl"], attachment, mime);
            }
            _ if kind.starts_with("image/") => push(out, &attachment["contentUrl"], attachment, kind),
            _ => {}
        }
    }
}

fn push(out: &mut Heard, url: &Value, attachment: &Value, mime: &str) {
    if let Some(url) = url.as_str().filter(|url| url.len() <= 4 << 10 && url.starts_with("http")) {
        out.files.push(Attachment { id: url.to_owned(), name: name(&attachment["name"]), mime: mime.to_owned(), size: None });
    }
}

fn of_ending(ending: &str) -> &'static str {
    match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// Teams names its six reactions; newer ones come as themselves.
fn emoji(kind: &str) -> &str {
    match kind {
        "like" => "👍",
        "heart" => "❤️",
        "laugh" => "😂",
        "surprised" => "😮",
        "sad" => "😢",
        "angry" => "😡",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn activity(more: &[(&str, Value)]) -> Value {
        let mut out = json!({
            "type": "message", "id": "1700", "timestamp": "2026-01-02T03:04:05.678Z", "text": "<at>Lazy</at> hello <at>Bob</at>",
            "from": {"id": "29:x", "aadObjectId": "ann-oid", "name": "Ann"}, "recipient": {"id": "28:app", "name": "Lazy"},
            "conversation": {"id": "19:abc@thread.tacv2;messageid=1600", "conversationType": "channel"},
            "entities": [
                {"type": "mention", "text": "<at>Lazy</at>", "mentioned": {"id": "28:app", "name": "Lazy"}},
                {"type": "mention", "text": "<at>Bob</at>", "mentioned": {"id": "29:bob", "name": "Bob"}},
            ],
        });
        for (key, value) in more {
            out[*key] = value.clone();
        }
        out
    }

    #[test]
    fn messages_have_their_thread_and_mention() {
        let out = read(&activity(&[]), "app").remove(0);
        assert_eq!((out.chat.id.as_str(), out.thread.as_deref()), ("19:abc@thread.tacv2", Some("1600")));
        assert_eq!((out.text.as_str(), out.mention, out.sender.id.as_str()), ("hello @Bob", true, "ann-oid"));
        // A mention of somebody with the account's name is none.
        let clone = json!([{"type": "mention", "text": "<at>Lazy</at>", "mentioned": {"id": "29:evil", "name": "Lazy"}}]);
        assert!(!read(&activity(&[("entities", clone)]), "app")[0].mention);
    }

    #[test]
    fn buttons_edits_reactions_and_members() {
        let out =
            read(&activity(&[("value", json!({"lazaret": "yes"})), ("replyToId", json!("1500")), ("text", json!(null))]), "app").remove(0);
        assert_eq!((out.kind, out.about.as_deref(), out.value.as_deref()), (HeardKind::Button, Some("1500"), Some("yes")));
        let out = read(&activity(&[("type", json!("messageUpdate"))]), "app").remove(0);
        assert_eq!((out.kind, out.about.as_deref()), (HeardKind::Edit, Some("1700")));
        assert_ne!(out.id, "1700");
        let added = json!([{"type": "like"}, {"type": "heart"}]);
        let all = read(&activity(&[("type", json!("messageReaction")), ("replyToId", json!("1500")), ("reactionsAdded", added)]), "app");
        assert_eq!(all.iter().filter_map(|r| r.value.as_deref()).collect::<Vec<_>>(), ["👍", "❤️"]);
        assert_ne!(all[0].id, all[1].id);
        let update = [("type", json!("conversationUpdate")), ("membersAdded", json!([{"id": "28:app"}]))];
        assert_eq!(read(&activity(&update), "app")[0].kind, HeardKind::Joined);
    }

    #[test]
    fn own_words_and_those_for_others_are_left_out() {
        assert!(read(&activity(&[("from", json!({"id": "28:app"}))]), "app").is_empty());
        assert!(read(&activity(&[("recipient", json!({"id": "28:other"}))]), "app").is_empty());
        assert!(read(&json!(null), "app").is_empty());
    }
}
