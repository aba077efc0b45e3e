//! What platforms send is read without harm, whatever it is.

use proptest::prelude::*;
use serde_json::{Map, Value};
use wire::chat::Who;

use crate::http::Base;

/// Names and values that readers look for, so that chance gets past their first lines.
const WORDS: &[&str] = &[
    "type", "message", "MESSAGE", "CARD_CLICKED", "action", "created", "edited", "opened", "Comment", "create", "update", "data", "id",
    "body", "text", "from", "recipient", "28:app", "29:x", "conversation", "space", "spaces/A", "name", "user", "sender", "issue",
    "number", "comment", "repository", "full_name", "a/b", "entry", "changes", "field", "messages", "value", "metadata", "phone_number_id",
    "7", "contacts", "statuses", "interactive", "button_reply", "context", "reaction", "emoji", "image", "attachments", "attachment",
    "contentType", "content", "entities", "mention", "mentioned", "timestamp", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.é", "2026-13",
    "actor", "teamId", "envelope", "sourceUuid", "dataMessage", "mentions", "quote", "groupInfo", "editMessage", "\u{FFFC}", "handle",
    "address", "chats", "guid", "isFromMe", "itemType", "associatedMessageType", "-love", "associatedMessageGuid", "p:0/", "resource",
    "event", "roomId", "personId", "inputs", "lazaret", "19:x;messageid=", "thread", "files", "](", "[x](http://", "membersAdded",
    "reactionsAdded", "messageReaction", "conversationUpdate", "messageUpdate", "```", "> @me", "@me", "<at>", "",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,12}"]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 10, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            3 => proptest::collection::vec((word(), inner), 0..10).prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn readers_of_json_stand_anything(value in anything(), event in word()) {
        let me = Who { id: "me".to_owned(), name: "me".to_owned(), bot: true };
        let files = Base::parse("http://files.example").unwrap();
        let number = crate::signal::of_number("+1");
        let _ = crate::whatsapp::hostile(&value);
        let _ = crate::teams::hostile(&value);
        let _ = crate::github::hostile(&event, &value);
        let _ = crate::linear::hostile(&value, &me, &files);
        let _ = crate::googlechat::hostile(&value);
        let _ = crate::webex::hostile(&value);
        let _ = crate::signal::hostile(&value, &number);
        let _ = crate::imessage::hostile(&value);
    }

    #[test]
    fn readers_of_text_stand_anything(text in "(?s).{0,200}", words in proptest::collection::vec(word(), 0..20)) {
        let joined = words.concat();
        for text in [text.as_str(), joined.as_str()] {
            let _ = crate::reading::rfc3339_ms(text);
            let _ = crate::marks::WHATSAPP.of(text);
            let _ = crate::marks::GOOGLE.of(text);
            let _ = crate::github::mentions(text, "me");
            let _ = crate::wechat::hostile(&format!("<xml><MsgType>{text}</MsgType><FromUserName>x</FromUserName></xml>"));
            let _ = crate::wechat::hostile(text);
            let _ = crate::resend::hostile(text);
            let _ = crate::jwt::Jwks::read(text.as_bytes());
            let _ = crate::jwt::PrivateKey::read(text);
        }
    }
}

#[test]
fn a_text_of_beginnings_costs_little() {
    for piece in ["[", "](", "**", "*", "`", "~~", "_ _", "[x](", "\\*"] {
        let text = piece.repeat((256 << 10) / piece.len());
        assert!(crate::marks::WHATSAPP.of(&text).len() <= text.len());
        let _ = crate::marks::GOOGLE.of(&text);
    }
}
