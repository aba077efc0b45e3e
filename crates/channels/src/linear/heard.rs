//! What Linear posts to a webhook: comments and issues of a team.

use serde_json::Value;
use wire::chat::{Attachment, Chat, Heard, HeardKind, Who};

use crate::http::Base;

use crate::reading::{clip, heard, id, name, rfc3339_ms, text};

/// Files that one text may name.
const FILES_MAX: usize = 20;
/// The longest address of a file, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// Reads an event whose signature and time were checked. `team` is the only team that is heard, when one is given, and `me` the
/// account's own user id. A team is the chat and an issue the thread. Files are links to where Linear keeps them.
pub(crate) fn read(body: &Value, team: Option<&str>, me: &Who, files: &Base) -> Option<Heard> {
    let data = &body["data"];
    // The actor of the event is what Linear verified; a user inside `data` may be whom it is about.
    let actor = &body["actor"];
    let sender = Who { id: id(&actor["id"])?, name: name(&actor["name"]), bot: actor["type"].as_str().is_some_and(|kind| kind != "user") };
    if sender.id == me.id {
        return None;
    }
    let (kind, action) = (body["type"].as_str()?, body["action"].as_str()?);
    let issue = if kind == "Issue" { data } else { &data["issue"] };
    let in_team = id(&issue["teamId"]).or_else(|| id(&issue["team"]["id"]))?;
    if team.is_some_and(|team| team != in_team && issue["team"]["key"] != *team) {
        return None;
    }
    let chat = Chat { name: name(&issue["team"]["name"]), id: in_team, group: true };
    let at_ms = rfc3339_ms(body["createdAt"].as_str().unwrap_or_default()).unwrap_or(0);
    let subject = id(&data["id"])?;
    let mut out = heard(HeardKind::Message, subject.clone(), chat, sender, at_ms);
    out.thread = Some(if kind == "Issue" { subject.clone() } else { id(&issue["id"])? });
    match (kind, action) {
        ("Comment", "create") => {
            out.text = text(&data["body"]);
            if let Some(parent) = id(&data["parentId"]) {
                out.quoted = Some(wire::chat::Quoted { id: Some(parent), sender: None, text: String::new(), forwarded: false });
            }
        }
        ("Issue", "create") => out.text = format!("{}\n\n{}", text(&data["title"]), text(&data["description"])),
        ("Comment", "update") if body["updatedFrom"].get("body").is_some() => {
            out.kind = HeardKind::Edit;
            // Each edit is an event of its own; the delivery's number is not signed, this time is.
            out.id = format!("{subject}@{at_ms}");
            out.about = Some(subject);
            out.text = text(&data["body"]);
        }
        ("Reaction", "create") => {
            out.kind = HeardKind::Reaction;
            out.about = Some(id(&data["commentId"])?);
            out.value = Some(id(&data["emoji"])?);
        }
        _ => return None,
    }
    out.files = files_of(&out.text, files);
    // Linear has no mention of applications with an API key; its text names people as `@name`.
    out.mention = !me.name.is_empty() && crate::github::mentions(&out.text, &me.name);
    (out.kind == HeardKind::Reaction || !out.text.trim().is_empty()).then_some(out)
}

/// The files that a text names: links to where Linear keeps files, and to nowhere else.
fn files_of(text: &str, files: &Base) -> Vec<Attachment> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let rest = &text[at + 2..];
        let rest = &rest[..rest.floor_char_boundary(ADDRESS_BYTES_MAX)];
        let address = &rest[..rest.find(')').unwrap_or(0)];
        let begins = text[..at].rfind('[').map_or(at, |begin| begin + 1);
        let ours = address.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some() && files.is_origin_of(&uri));
        if ours && found.len() < FILES_MAX {
            found.push(Attachment { id: address.to_owned(), name: clip(&text[begins..at], 256), mime: String::new(), size: None });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn comment(actor: &str, body: &str) -> Value {
        json!({
            "action": "create", "type": "Comment", "createdAt": "2026-01-02T03:04:05.000Z", "organizationId": "org",
            "actor": {"id": actor, "name": "Ann", "type": "user"},
            "data": {"id": "c1", "body": body, "userId": "somebody-else", "issue": {"id": "i1", "teamId": "t1", "team": {"key": "ENG", "name": "Eng"}}},
        })
    }

    fn read_it(body: &Value, team: Option<&str>) -> Option<Heard> {
        let me = Who { id: "me".to_owned(), name: "lazy".to_owned(), bot: true };
        read(body, team, &me, &Base::parse("https://uploads.linear.app").unwrap())
    }

    #[test]
    fn comments_are_the_actors() {
        let out =
            read_it(&comment("ann", "@lazy see [a.png](https://uploads.linear.app/o/x) and [b](https://evil.example/x)"), Some("ENG"))
                .unwrap();
        assert_eq!((out.sender.id.as_str(), out.chat.id.as_str(), out.thread.as_deref()), ("ann", "t1", Some("i1")));
        assert!(out.mention);
        assert_eq!(
            out.files.iter().map(|f| (f.id.as_str(), f.name.as_str())).collect::<Vec<_>>(),
            [("https://uploads.linear.app/o/x", "a.png")]
        );
        assert_eq!(read_it(&comment("me", "hi"), None), None);
        assert_eq!(read_it(&comment("ann", "hi"), Some("OPS")), None);
    }

    #[test]
    fn edits_and_reactions() {
        let mut edit = comment("ann", "new");
        edit["action"] = json!("update");
        assert_eq!(read_it(&edit, None), None, "an update of something else than the text");
        edit["updatedFrom"] = json!({"body": "old"});
        let out = read_it(&edit, None).unwrap();
        assert_eq!((out.kind, out.about.as_deref()), (HeardKind::Edit, Some("c1")));
        let mut reaction = comment("ann", "");
        reaction["type"] = json!("Reaction");
        reaction["data"] = json!({"id": "r1", "emoji": "+1", "commentId": "c1", "issue": {"id": "i1", "teamId": "t1"}});
        assert_eq!(read_it(&reaction, None).unwrap().about.as_deref(), Some("c1"));
    }
}
