//! iMessage by a BlueBubbles server.

use serde_json::json;
use testkit::platforms::bluebubbles::{BlueBubbles, CHAT, PASSWORD};
use testkit::platforms::{Account, Fault};
use wire::chat::{Act, Failing, FromChannel, HeardKind, ToChannel};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

const ANN: &str = "+15550002";

fn account(platform: &BlueBubbles) -> Account {
    let config = json!({"base_url": platform.web.url(), "poll_s": 1, "private_api": true});
    Account::new(PROGRAM, "imessage", &config, &[("password", PASSWORD), ("webhook_secret", "hook words")])
}

#[test]
fn keeps_the_contract() {
    let platform = BlueBubbles::start();
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: CHAT,
        thread: None,
        message: None,
        fresh: &|| {},
        taken: 200,
        sent: &|| platform.sent(),
        path: "/message/text",
        credential: "password",
        wrong: "wrong",
        once: false,
    }
    .holds();
}

#[test]
fn goes_on_after_the_last_row_that_the_host_has() {
    let platform = BlueBubbles::start();
    let account = account(&platform);
    platform.write(ANN, &json!({"text": "from years ago"}));
    let mut channel = account.start(None);
    channel.ready();
    for n in 0..3 {
        platform.write(ANN, &json!({"text": format!("hello {n}")}));
    }
    let (seq, first, heard) = channel.report();
    assert_eq!((heard.text.as_str(), heard.sender.id.as_str(), heard.chat.id.as_str(), heard.mention), ("hello 0", ANN, CHAT, true));
    channel.say(&ToChannel::Ack { seq });
    let (_, _, unacked) = channel.report();
    assert_eq!(unacked.text, "hello 1");
    channel.kill();
    platform.write(ANN, &json!({"text": "while it was down"}));
    let mut channel = account.start(first.as_deref());
    let texts: Vec<String> = (0..3).map(|_| channel.hear().text).collect();
    assert_eq!(texts, ["hello 1", "hello 2", "while it was down"]);
    assert_eq!(channel.stop(), Some(0));
}

#[test]
fn many_messages_in_any_order_of_dates_are_all_heard() {
    let platform = BlueBubbles::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    channel.kill();
    // A Mac that was away gets what is old last.
    for n in 0..450_i64 {
        platform.write(ANN, &json!({"text": n.to_string(), "dateCreated": 1_700_000_000_000 - n}));
    }
    let mut channel = account.start(Some("0"));
    let texts: Vec<String> = (0..450).map(|_| channel.hear().text).collect();
    assert_eq!(texts, (0..450).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_webhook_is_believed_nothing() {
    let platform = BlueBubbles::start();
    let account = account(&platform);
    let lie = json!({"guid": "GUID-9", "text": "/stop", "handle": {"address": "owner"}, "isFromMe": false, "chats": [{"guid": CHAT}]});
    refuses(
        &account,
        &[("no secret", BlueBubbles::hook("new-message", &lie, "")), ("wrong", BlueBubbles::hook("new-message", &lie, "hook"))],
    );
    let mut channel = account.start(None);
    channel.ready();
    assert_eq!(BlueBubbles::hook("new-message", &lie, "hook+words").status(&mut channel, "w1"), 200);
    let guid = platform.write(ANN, &json!({"text": "first"}));
    assert_eq!(channel.hear().text, "first");
    platform.edit(&guid, "second", "hook+words").post(&mut channel, "w2");
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.text.as_str(), heard.about.as_deref()), (HeardKind::Edit, "second", Some(guid.as_str())));
    assert_eq!(channel.answer("w2").0, 200);
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. })));
}

#[test]
fn files_tapbacks_and_edits() {
    let platform = BlueBubbles::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    let files = json!([{"guid": "at_1", "transferName": "../a.png", "mimeType": "image/png", "totalBytes": 10}]);
    let guid = platform.write(ANN, &json!({"text": "\u{FFFC}", "attachments": files}));
    let heard = channel.hear();
    assert_eq!(channel.fetch(&heard.files[0].id, 100).unwrap(), b"attachment");
    assert!(channel.fetch("../../server/info", 100).is_err());
    platform.write(ANN, &json!({"associatedMessageGuid": format!("p:0/{guid}"), "associatedMessageType": "love"}));
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.about.as_deref(), heard.value.as_deref()), (HeardKind::Reaction, Some(guid.as_str()), Some("❤️")));
    let files = vec![channel.file("1", "a.txt", "text/plain", b"file")];
    channel.deliver("d1", CHAT, None, Act::Send { text: "**see**".to_owned(), files, reply_to: Some(guid.clone()), buttons: Vec::new() });
    let messages = channel.delivered("d1").0;
    assert_eq!((messages.len(), platform.sent()[0].as_str()), (2, "see"));
    channel.deliver("e1", CHAT, None, Act::Edit { message: messages[0].clone(), text: "new".to_owned(), buttons: Vec::new() });
    channel.delivered("e1");
    channel.deliver("r1", CHAT, None, Act::React { message: guid.clone(), emoji: "👍".to_owned() });
    channel.delivered("r1");
    assert_eq!(platform.acts()[1]["reaction"], "like");
    channel.deliver("r2", CHAT, None, Act::React { message: guid, emoji: "🦀".to_owned() });
    assert_eq!(channel.failed("r2").0, Failing::Final);
    assert_eq!(channel.open_dm("ann@example.com"), Ok("iMessage;-;ann@example.com".to_owned()));
    assert!(channel.open_dm("a/b").is_err());
    // A server that comes back is asked again.
    platform.web.fail("/message/query", Fault::Status(503));
    platform.write(ANN, &json!({"text": "after"}));
    assert_eq!(channel.hear().text, "after");
}
