//! What WeChat posts for an official account: a small XML document.

use roxmltree::Document;
use wire::chat::{Attachment, CHAT_TEXT_BYTES_MAX, Chat, Heard, HeardKind, Who};

use crate::reading::{clip, heard};

/// The longest value that is an id.
const ID_BYTES_MAX: usize = 512;

/// The values of a document, one level deep. A document with a DTD is none: entities are of no use here but to attack.
pub(crate) struct Fields<'d>(Document<'d>);

impl<'d> Fields<'d> {
    /// Reads a document.
    pub(crate) fn read(xml: &'d str) -> Option<Self> {
        Document::parse(xml).ok().filter(|doc| doc.root_element().has_tag_name("xml")).map(Self)
    }

    /// The text of a field that is there once.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.root_element().children().filter(|node| node.has_tag_name(name));
        match (found.next(), found.next()) {
            (Some(node), None) => Some(node.text().unwrap_or_default()),
            _ => None,
        }
    }

    fn id(&self, name: &str) -> Option<String> {
        self.get(name).filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.chars().any(char::is_control)).map(str::to_owned)
    }
}

/// Reads a message whose signature was checked. Every chat is with one person.
pub(crate) fn read(fields: &Fields<'_>) -> Option<Heard> {
    let person = fields.id("FromUserName")?;
    let at_s: i64 = fields.get("CreateTime")?.trim().parse().ok()?;
    let sender = Who { id: person.clone(), name: String::new(), bot: false };
    let chat = Chat { id: person.clone(), name: String::new(), group: false };
    // Events have no id of their own: WeChat says to tell them apart by person and second.
    let made = fields.id("MsgId").unwrap_or_else(|| format!("{person}@{at_s}"));
    let mut out = heard(HeardKind::Message, made, chat, sender, at_s.saturating_mul(1_000));
    out.mention = true;
    let kind = fields.get("MsgType")?;
    match kind {
        "text" => {
            out.text = clip(fields.get("Content")?, CHAT_TEXT_BYTES_MAX);
            if let Some(value) = fields.id("bizmsgmenuid") {
                out.kind = HeardKind::Button;
                // A menu's answer does not say which menu: its value is all there is.
                out.about = None;
                out.value = Some(value);
            }
        }
        "image" | "voice" | "video" | "shortvideo" | "file" => {
            let mime = match kind {
                "image" => "image/jpeg",
                "voice" => "audio/amr",
                "video" | "shortvideo" => "video/mp4",
                _ => "application/octet-stream",
            };
            out.text = clip(fields.get("Recognition").unwrap_or_default(), CHAT_TEXT_BYTES_MAX);
            out.files.push(Attachment {
                id: fields.id("MediaId")?,
                name: clip(fields.get("Title").unwrap_or(kind), 256),
                mime: mime.to_owned(),
                size: None,
            });
        }
        "location" => {
            let at = |name| fields.get(name).unwrap_or_default();
            out.text = clip(&format!("[location {}, {}: {}]", at("Location_X"), at("Location_Y"), at("Label")), CHAT_TEXT_BYTES_MAX);
        }
        "link" => {
            out.text = clip(
                &format!("{}\n{}", fields.get("Title").unwrap_or_default(), fields.get("Url").unwrap_or_default()),
                CHAT_TEXT_BYTES_MAX,
            )
        }
        "event" => match fields.get("Event")? {
            "subscribe" => out.kind = HeardKind::Joined,
            "unsubscribe" => out.kind = HeardKind::Left,
            "CLICK" => {
                out.kind = HeardKind::Button;
                out.value = Some(fields.id("EventKey")?);
            }
            _ => return None,
        },
        _ => return None,
    }
    Some(out)
}
