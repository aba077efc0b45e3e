//! WhatsApp's Cloud API.

use serde_json::{Value, json};
use testkit::platforms::signed::hmac_sha256_hex;
use testkit::platforms::whatsapp::{NUMBER, SECRET, TOKEN, WhatsApp};
use testkit::platforms::{Account, Channel, Fault, buttons_of, text_of, until};
use wire::chat::{Act, Address, Failing, HeardKind, ToChannel};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

const ANN: &str = "491500001";

fn account(platform: &WhatsApp) -> Account {
    let config = json!({"phone_number_id": NUMBER, "base_url": platform.web.url(), "status_wait_s": 60});
    Account::new(PROGRAM, "whatsapp", &config, &[("access_token", TOKEN), ("app_secret", SECRET), ("verify_token", "verify me")])
}

fn text(n: usize) -> Value {
    json!({"type": "text", "text": {"body": format!("hello {n}")}})
}

fn shown(sent: &Value) -> String {
    sent["text"]["body"].as_str().or_else(|| sent["interactive"]["body"]["text"].as_str()).unwrap_or_default().to_owned()
}

fn started(account: &Account) -> Channel {
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), NUMBER);
    channel
}

#[test]
fn keeps_the_contract() {
    let platform = WhatsApp::start(&[ANN]);
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: ANN,
        thread: None,
        message: Some(&|n| platform.message(ANN, &format!("wamid.in{n}"), &text(n))),
        fresh: &|| {},
        taken: 200,
        sent: &|| platform.sent().iter().map(shown).collect(),
        path: "/messages",
        credential: "access_token",
        wrong: "EAAG-wrong",
        once: false,
    }
    .holds();
}

#[test]
fn refuses_what_meta_did_not_sign() {
    let platform = WhatsApp::start(&[]);
    let good = platform.message(ANN, "wamid.1", &text(1));
    let other = format!("sha256={}", hmac_sha256_hex("another app's secret", &good.body));
    let bare = hmac_sha256_hex(SECRET, &good.body);
    let mut changed = good.clone();
    changed.body = String::from_utf8(good.body.clone()).unwrap().replace("hello", "hallo").into_bytes();
    refuses(
        &account(&platform),
        &[
            ("none", good.without("x-hub-signature-256")),
            ("another's", good.changed("x-hub-signature-256", &other)),
            ("no scheme", good.changed("x-hub-signature-256", &bare)),
            ("twice", good.with("x-hub-signature-256", "sha256=00")),
            ("another body", changed),
        ],
    );
}

#[test]
fn another_number_and_old_messages_are_not_heard() {
    let platform = WhatsApp::start(&[]);
    let account = account(&platform);
    let mut channel = started(&account);
    let message = json!({"from": ANN, "id": "wamid.x", "timestamp": "1700000000", "type": "text", "text": {"body": "old"}});
    assert_eq!(WhatsApp::change(NUMBER, &json!({"messages": [message]})).status(&mut channel, "old"), 200);
    assert_eq!(WhatsApp::change("999", &json!({"messages": [message]})).status(&mut channel, "other"), 200);
    assert!(!channel.rest().iter().any(|line| matches!(line, wire::chat::FromChannel::Report { .. })));
    // The same twice is told twice under one id: the host knows it by that.
    let good = platform.message(ANN, "wamid.1", &text(1));
    let ids: Vec<String> = ["a", "b"]
        .map(|id| {
            good.post(&mut channel, id);
            let heard = channel.hear();
            assert_eq!(channel.answer(id).0, 200);
            heard.id
        })
        .to_vec();
    assert_eq!(ids, ["wamid.1", "wamid.1"]);
}

#[test]
fn answers_the_challenge_to_who_knows_the_words() {
    let platform = WhatsApp::start(&[]);
    let account = account(&platform);
    let mut channel = started(&account);
    for (id, token, expect) in [("good", "verify+me", 200), ("bad", "wrong", 403), ("none", "", 403)] {
        channel.webhook(id, "GET", &format!("?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=12345"), &[], b"");
        let (status, body) = channel.answer(id);
        assert_eq!(status, expect, "{id}");
        assert_eq!(body == b"12345", expect == 200);
    }
}

#[test]
fn buttons_reactions_and_files_both_ways() {
    let platform = WhatsApp::start(&[ANN]);
    let account = account(&platform);
    let mut channel = started(&account);
    channel.deliver("b1", ANN, None, buttons_of("**Shall I?**", &[("Yes", "yes:1"), ("No, this label is too long", "no:1")]));
    channel.delivered("b1");
    let card = platform.sent().remove(0);
    assert_eq!(card["interactive"]["body"]["text"], "*Shall I?*");
    let long = "x".repeat(1_500);
    channel.deliver("b2", ANN, None, buttons_of(&long, &[("Yes", "yes:2")]));
    assert_eq!(channel.delivered("b2").0.len(), 2, "a text that is too long for buttons is not cut");
    assert_eq!(platform.sent()[1]["text"]["body"], long);
    let many: Vec<(&str, &str)> = ["1", "2", "3", "4", "5", "6"].map(|n| (n, n)).to_vec();
    channel.deliver("b3", ANN, None, buttons_of("which?", &many));
    channel.delivered("b3");
    let reply = json!({"type": "button_reply", "button_reply": {"id": "yes:1", "title": "Yes"}});
    platform
        .message(ANN, "wamid.in1", &json!({"type": "interactive", "interactive": reply, "context": {"id": "wamid.1"}}))
        .post(&mut channel, "w");
    let pressed = channel.hear();
    assert_eq!((pressed.kind, pressed.value.as_deref(), pressed.about.as_deref()), (HeardKind::Button, Some("yes:1"), Some("wamid.1")));
    channel.deliver("r1", ANN, None, Act::React { message: "wamid.in1".to_owned(), emoji: "👍".to_owned() });
    channel.delivered("r1");
    assert_eq!(platform.sent().pop().unwrap()["reaction"]["emoji"], "👍");
    let files = vec![channel.file("1", "a.png", "image/png", b"png"), channel.file("2", "b.zip", "application/zip", b"zip")];
    channel.deliver("f1", ANN, None, Act::Send { text: String::new(), files, reply_to: Some("wamid.in1".to_owned()), buttons: Vec::new() });
    assert_eq!(channel.delivered("f1").0.len(), 2);
    let sent = platform.sent();
    assert_eq!((&sent[sent.len() - 2]["type"], &sent[sent.len() - 1]["document"]["filename"]), (&json!("image"), &json!("b.zip")));
    assert_eq!(sent[sent.len() - 1]["context"]["message_id"], "wamid.in1");
    let id = platform.put("c.bin", &[7; 300_000]);
    let document = json!({"id": id, "filename": "c.bin", "mime_type": "application/x"});
    platform.message(ANN, "wamid.in2", &json!({"type": "document", "document": document})).post(&mut channel, "w2");
    let heard = channel.hear();
    assert_eq!(channel.fetch(&heard.files[0].id, 1 << 20).unwrap().len(), 300_000);
    assert!(channel.fetch(&heard.files[0].id, 1_000).is_err(), "larger than was asked for");
    assert!(channel.fetch("../1060700", 1_000).is_err());
    channel.say(&ToChannel::Typing { to: Address { chat: ANN.to_owned(), thread: None }, on: true });
    assert_eq!(channel.open_dm("+49 15"), Err("a person on WhatsApp is a number of digits".to_owned()));
    assert_eq!(channel.open_dm("+491500002"), Ok("491500002".to_owned()));
}

#[test]
fn what_whatsapp_cannot_deliver_is_not_said_to_be() {
    let platform = WhatsApp::start(&[]);
    let account = account(&platform);
    let mut channel = started(&account);
    // Any status shows that statuses come here; from then on they are waited for.
    assert_eq!(channel.send("d0", ANN, "hello").len(), 1);
    assert_eq!(platform.statuses().status(&mut channel, "s0"), 200);
    channel.deliver("d1", ANN, None, text_of("hello again"));
    until("the message is there", || platform.sent().len() >= 2);
    platform.statuses().post(&mut channel, "s1");
    let (why, words, _) = channel.failed("d1");
    assert_eq!(why, Failing::Final);
    assert!(words.contains("24 hours"), "{words}");
    platform.web.fail("/messages", Fault::Status(500));
    channel.deliver("d2", ANN, None, text_of("x"));
    assert_eq!(channel.failed("d2").0, Failing::Passing);
    channel.deliver("d3", "not a number", None, text_of("x"));
    assert_eq!(channel.failed("d3").0, Failing::Final);
}
