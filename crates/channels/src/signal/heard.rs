//! What signal-cli says that it received: envelopes, whose sender Signal's encryption proves.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use crate::reading::{clip, heard, id, name, text};

/// Files that one message may carry.
const FILES_MAX: usize = 32;
/// What stands before the id of a group in the id of a chat.
pub(crate) const GROUP: &str = "group:";
/// What stands in the text where somebody is mentioned.
const PLACE: char = '\u{FFFC}';

/// Who the account is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Me {
    /// Its number.
    pub(crate) number: String,
    /// Its service id, where it is known.
    pub(crate) uuid: Option<String>,
}

impl Me {
    fn is(&self, who: &Value) -> bool {
        who.as_str().is_some_and(|who| who == self.number || self.uuid.as_deref() == Some(who))
    }
}

/// Reads the parameters of a notification `receive`. What another device of the account's own sent is left out, and what came for
/// another account of the same daemon.
pub(crate) fn read(params: &Value, me: &Me) -> Option<Heard> {
    let params = if params["result"].is_object() { &params["result"] } else { params };
    if params["account"].is_string() && !me.is(&params["account"]) {
        return None;
    }
    let envelope = &params["envelope"];
    if me.is(&envelope["sourceUuid"]) || me.is(&envelope["sourceNumber"]) {
        return None;
    }
    let edit = envelope["editMessage"].as_object();
    let data = edit.map_or(&envelope["dataMessage"], |edit| &edit["dataMessage"]);
    // The service id stays when somebody changes their number, and some give no number.
    let sender =
        Who { id: id(&envelope["sourceUuid"]).or_else(|| id(&envelope["source"]))?, name: name(&envelope["sourceName"]), bot: false };
    let group = &data["groupInfo"];
    let chat = match id(&group["groupId"]) {
        Some(known) => Chat { id: format!("{GROUP}{known}"), name: name(&group["groupName"]), group: true },
        None => Chat { id: sender.id.clone(), name: sender.name.clone(), group: false },
    };
    let at_ms = data["timestamp"].as_i64().or_else(|| envelope["timestamp"].as_i64())?;
    let mut out = heard(HeardKind::Message, message_id(at_ms, &sender.id), chat, sender, at_ms);
    if data["reaction"].is_object() {
        let reaction = &data["reaction"];
        if reaction["isRemove"] == true {
            return None;
        }
        let author = id(&reaction["targetAuthorUuid"]).or_else(|| id(&reaction["targetAuthor"]))?;
        out.kind = HeardKind::Reaction;
        out.about = Some(message_id(reaction["targetSentTimestamp"].as_i64()?, &author));
        out.value = Some(id(&reaction["emoji"])?);
        return Some(out);
    }
    let mentions = data["mentions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = |mention: &Value| me.is(&mention["uuid"]) || me.is(&mention["number"]);
    out.mention = !out.chat.group || mentions.iter().any(own);
    out.text = named(&text(&data["message"]), mentions, &own);
    if let Some(target) = edit.and_then(|edit| edit["targetSentTimestamp"].as_i64()) {
        out.kind = HeardKind::Edit;
        out.about = Some(message_id(target, &out.sender.id));
    }
    let quote = &data["quote"];
    if let (Some(at), Some(author)) = (quote["id"].as_i64(), id(&quote["authorUuid"]).or_else(|| id(&quote["author"]))) {
        let bot = me.is(&quote["authorUuid"]) || me.is(&quote["authorNumber"]);
        let written = Some(message_id(at, if bot { &me.number } else { &author }));
        out.quoted = Some(Quoted {
            id: written,
            sender: Some(Who { id: author, name: String::new(), bot }),
            text: text(&quote["text"]),
            forwarded: false,
        });
    }
    for file in data["attachments"].as_array().into_iter().flatten().take(FILES_MAX) {
        if let Some(known) = id(&file["id"]) {
            // signal-cli wants to know whose file it is.
            out.files.push(Attachment {
                id: format!("{known} {}", out.chat.id),
                name: name(&file["filename"]),
                mime: name(&file["contentType"]),
                size: file["size"].as_u64(),
            });
        }
    }
    (!out.text.trim().is_empty() || !out.files.is_empty()).then_some(out)
}

/// Signal names a message by its time and its author.
pub(crate) fn message_id(at_ms: i64, author: &str) -> String {
    format!("{at_ms}:{author}")
}

/// The time and the author of a message.
pub(crate) fn parts(message: &str) -> Option<(i64, &str)> {
    let (at, author) = message.split_once(':')?;
    Some((at.parse().ok()?, author)).filter(|(_, author)| !author.is_empty())
}

/// The text with names in the places of mentions; the account's own mention goes.
fn named(text: &str, mentions: &[Value], own: &dyn Fn(&Value) -> bool) -> String {
    let mut next = mentions.iter();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match (c, if c == PLACE { next.next() } else { None }) {
            (PLACE, Some(mention)) if own(mention) => {}
            (PLACE, Some(mention)) => {
                out.push('@');
                out.push_str(&clip(mention["name"].as_str().unwrap_or("someone"), 128));
            }
            (c, _) => out.push(c),
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn me() -> Me {
        Me { number: "+100".to_owned(), uuid: Some("me-uuid".to_owned()) }
    }

    fn params(data: Value) -> Value {
        json!({"account": "+100", "envelope": {
            "source": "+200", "sourceNumber": "+200", "sourceUuid": "ann-uuid", "sourceName": "Ann", "timestamp": 5, "dataMessage": data,
        }})
    }

    #[test]
    fn messages_in_groups_and_alone() {
        let out = read(&params(json!({"timestamp": 5, "message": "hi"})), &me()).unwrap();
        assert_eq!((out.id.as_str(), out.chat.id.as_str(), out.mention), ("5:ann-uuid", "ann-uuid", true));
        let mentions =
            json!([{"name": "x", "uuid": "me-uuid", "start": 0, "length": 1}, {"name": "Bob", "uuid": "bob", "start": 5, "length": 1}]);
        let data = json!({"timestamp": 6, "message": "\u{FFFC} tell \u{FFFC}", "mentions": mentions, "groupInfo": {"groupId": "g+/="}});
        let out = read(&params(data), &me()).unwrap();
        assert_eq!((out.chat.id.as_str(), out.text.as_str(), out.mention), ("group:g+/=", "tell @Bob", true));
    }

    #[test]
    fn edits_reactions_quotes_and_files() {
        let data = json!({"timestamp": 7, "reaction": {"emoji": "👍", "targetAuthorUuid": "me-uuid", "targetSentTimestamp": 3, "isRemove": false}});
        let out = read(&params(data), &me()).unwrap();
        assert_eq!((out.kind, out.about.as_deref(), out.value.as_deref()), (HeardKind::Reaction, Some("3:me-uuid"), Some("👍")));
        let mut edit = params(json!(null));
        edit["envelope"]["editMessage"] = json!({"targetSentTimestamp": 5, "dataMessage": {"timestamp": 8, "message": "new"}});
        let out = read(&edit, &me()).unwrap();
        assert_eq!((out.kind, out.id.as_str(), out.about.as_deref()), (HeardKind::Edit, "8:ann-uuid", Some("5:ann-uuid")));
        let quote = json!({"id": 3, "authorUuid": "me-uuid", "authorNumber": "+100", "text": "what?"});
        let files = json!([{"id": "f.png", "filename": "../x", "contentType": "image/png", "size": 12}]);
        let out = read(&params(json!({"timestamp": 9, "message": "this", "quote": quote, "attachments": files})), &me()).unwrap();
        assert_eq!(out.quoted.and_then(|q| q.id).as_deref(), Some("3:+100"));
        assert_eq!(out.files[0].id, "f.png ann-uuid");
        assert_eq!(parts("9:ann-uuid"), Some((9, "ann-uuid")));
        assert_eq!(parts("x:ann"), None);
    }

    #[test]
    fn other_accounts_and_own_devices_are_left_out() {
        let mut other = params(json!({"timestamp": 5, "message": "hi"}));
        other["account"] = json!("+999");
        assert_eq!(read(&other, &me()), None);
        let mut own = params(json!({"timestamp": 5, "message": "hi"}));
        own["envelope"]["sourceUuid"] = json!("me-uuid");
        assert_eq!(read(&own, &me()), None);
        let mut nobody = params(json!({"timestamp": 5, "message": "hi"}));
        nobody["envelope"]["sourceUuid"] = json!(null);
        nobody["envelope"]["source"] = json!(null);
        assert_eq!(read(&nobody, &me()), None);
    }
}
