//! Files of a bot's in Teams: pictures stand in a message; anything else a person has to want first, and only in a chat of two.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_RANGE;
use http::{Method, Uri};
use serde_json::{Value, json};

use crate::http::{Ask, Base};
use crate::network::{DeliverError, File};

/// The largest picture that a message may have in it, in bytes.
const IMAGE_BYTES_MAX: usize = 1 << 20;
/// The largest file that is offered, in bytes: it waits in memory for the person.
pub(super) const FILE_BYTES_MAX: u64 = 25 << 20;
/// Files that wait, and bytes of all of them; the oldest is let go for a new one.
const OFFERED_MAX: (usize, usize) = (32, 64 << 20);

/// Files that wait for somebody to want them. A restart lets them go.
#[derive(Default)]
pub(super) struct Offered {
    /// The key of the offer, the chat, and the file. Never held across an await.
    held: Mutex<VecDeque<(String, String, File)>>,
}

impl Offered {
    /// Keeps a file until it is wanted.
    pub(super) fn put(&self, key: &str, chat: &str, file: &File) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(known, _, _)| known != key);
        held.push_back((key.to_owned(), chat.to_owned(), file.clone()));
        while held.len() > OFFERED_MAX.0 || held.iter().map(|(_, _, file)| file.bytes.len()).sum::<usize>() > OFFERED_MAX.1 {
            held.pop_front();
        }
    }

    /// The file of an offer, once, and only in the chat where it was made.
    pub(super) fn take(&self, key: &str, chat: &str) -> Option<File> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let at = held.iter().position(|(known, place, _)| known == key && place == chat)?;
        held.remove(at).map(|(_, _, file)| file)
    }
}

/// What a file is shown as: itself, or an offer.
pub(super) fn shown(file: &File, chat: &str, key: &str) -> Result<Value, DeliverError> {
    if matches!(file.mime(), "image/png" | "image/jpeg" | "image/gif") && file.bytes.len() <= IMAGE_BYTES_MAX {
        let url = format!("data:{};base64,{}", file.mime(), STANDARD.encode(&file.bytes));
        return Ok(json!({"contentType": file.mime(), "contentUrl": url, "name": file.name()}));
    }
    may_offer(file, chat)?;
    let context = json!({"lazaret": key});
    let content = json!({"description": file.name(), "sizeInBytes": file.bytes.len(), "acceptContext": context, "declineContext": context});
    Ok(json!({"contentType": "application/vnd.microsoft.teams.card.file.consent", "name": file.name(), "content": content}))
}

/// Whether a file can be brought at all.
pub(super) fn may_offer(file: &File, chat: &str) -> Result<(), DeliverError> {
    let picture = matches!(file.mime(), "image/png" | "image/jpeg" | "image/gif") && file.bytes.len() <= IMAGE_BYTES_MAX;
    // Chats of two are `a:...`, groups and channels `19:...@thread...`.
    if !picture && !chat.starts_with("a:") {
        return Err(DeliverError::never("in groups Teams takes from bots only pictures (PNG, JPEG, GIF) of up to 1 MB"));
    }
    if file.bytes.is_empty() || file.bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(DeliverError::never("the file is empty, or too large to be offered"));
    }
    Ok(())
}

/// The answer of a person to an offer: its key, the chat, and where to bring the file if they want it.
pub(super) struct Answer {
    /// The offer's.
    pub(super) key: String,
    /// Where the file is wanted, and what Teams calls it then; nothing when it is not wanted.
    pub(super) place: Option<(Uri, Value)>,
}

/// Reads the answer to an offer. A place that is not one of Microsoft's is none.
pub(super) fn answer(activity: &Value, base: &Base) -> Option<Answer> {
    if activity["type"] != "invoke" || activity["name"] != "fileConsent/invoke" {
        return None;
    }
    let value = &activity["value"];
    let key = crate::reading::id(&value["context"]["lazaret"])?;
    let url = value["uploadInfo"]["uploadUrl"].as_str().and_then(|url| url.parse::<Uri>().ok());
    let ours = |url: &Uri| is_storage(url) || base.is_origin_of(url);
    let place = url.filter(|url| value["action"] == "accept" && ours(url)).map(|url| (url, value["uploadInfo"].clone()));
    Some(Answer { key, place })
}

/// Whether an address is where Teams keeps files of people and teams.
pub(super) fn is_storage(url: &Uri) -> bool {
    url.scheme_str() == Some("https") && url.host().is_some_and(|host| host.to_ascii_lowercase().ends_with(".sharepoint.com"))
}

/// The request that brings a file where it is wanted. The address has its own permission: no token goes along.
pub(super) fn bring(file: &File, url: Uri) -> Ask {
    let length = file.bytes.len();
    let range = format!("bytes 0-{}/{length}", length.saturating_sub(1));
    Ask::new(Method::PUT, url).body("application/octet-stream", file.bytes.clone()).header(CONTENT_RANGE, &range)
}

/// The message that shows a file that was brought.
pub(super) fn brought(file: &File, info: &Value) -> Value {
    let content = json!({"uniqueId": info["uniqueId"], "fileType": info["fileType"]});
    let card = json!({"contentType": "application/vnd.microsoft.teams.card.file.info", "contentUrl": info["contentUrl"], "name": file.name(), "content": content});
    json!({"type": "message", "attachments": [card]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::chat::Attachment;

    fn file(bytes: usize) -> File {
        let about = Attachment { id: "1".to_owned(), name: "a.zip".to_owned(), mime: "application/zip".to_owned(), size: None };
        File { about, bytes: vec![0; bytes].into() }
    }

    #[test]
    fn offers_are_bounded_and_taken_once_where_they_were_made() {
        let offered = Offered::default();
        offered.put("k", "a:1", &file(3));
        assert!(offered.take("k", "a:2").is_none());
        assert!(offered.take("k", "a:1").is_some() && offered.take("k", "a:1").is_none());
        for n in 0..100 {
            offered.put(&n.to_string(), "a:1", &file(20 << 20));
        }
        assert_eq!(offered.held.lock().unwrap().len(), 3);
        assert!(shown(&file(3), "19:x@thread.v2", "k").is_err() && shown(&file(0), "a:1", "k").is_err());
    }

    #[test]
    fn files_are_brought_to_microsoft_only() {
        let base = Base::parse("https://smba.trafficmanager.net/teams").unwrap();
        let invoke = |url: &str, action: &str| json!({"type": "invoke", "name": "fileConsent/invoke", "value": {"action": action, "context": {"lazaret": "k"}, "uploadInfo": {"uploadUrl": url}}});
        let wanted = |url: &str, action: &str| answer(&invoke(url, action), &base).unwrap().place.is_some();
        assert!(wanted("https://acme-my.sharepoint.com/x?y", "accept"));
        assert!(!wanted("https://acme-my.sharepoint.com/x?y", "decline"));
        for bad in [
            "https://evil.example/x", "http://acme.sharepoint.com/x", "https://sharepoint.com.evil.example/x", "/x",
            "https://evilsharepoint.com/x",
        ] {
            assert!(!wanted(bad, "accept"), "{bad}");
        }
        assert!(answer(&json!({"type": "message"}), &base).is_none());
    }
}
