//! Linked devices by a bridge.

use serde_json::{Value, json};
use testkit::platforms::bridge::{Bridge, TOKEN};
use testkit::platforms::{Account, Fault, text_of};
use wire::chat::{Act, Failing, FromChannel, Health, ToChannel};

use crate::PROGRAM;
use crate::contract::Case;

fn account(bridge: &Bridge, network: &'static str) -> Account {
    Account::new(PROGRAM, network, &json!({"base_url": bridge.web.url()}), &[("token", TOKEN)])
}

fn shown(sent: &Value) -> String {
    sent["text"].as_str().unwrap_or_default().to_owned()
}

fn keeps_the_contract(network: &'static str, keys: bool) {
    let bridge = Bridge::start(keys);
    Case {
        account: account(&bridge, network),
        web: &bridge.web,
        chat: "ann",
        thread: None,
        message: None,
        fresh: &|| {},
        taken: 200,
        sent: &|| bridge.sent().iter().map(shown).collect(),
        path: "/v1/messages",
        credential: "token",
        wrong: "wrong",
        once: keys,
    }
    .holds();
}

#[test]
fn keeps_the_contract_with_keys() {
    keeps_the_contract("whatsapp-bridge", true);
}

#[test]
fn keeps_the_contract_without_keys() {
    keeps_the_contract("wechat-bridge", false);
}

#[test]
fn goes_on_after_the_last_event_that_the_host_has() {
    let bridge = Bridge::start(true);
    let account = account(&bridge, "whatsapp-bridge");
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), "me");
    for n in 0..3 {
        bridge.write("ann", &format!("hello {n}"));
    }
    let (seq, cursor, heard) = channel.report();
    assert_eq!(heard.text, "hello 0");
    channel.say(&ToChannel::Ack { seq });
    channel.report();
    channel.kill();
    bridge.write("me", "own words");
    bridge.event(&json!({"kind": "message", "sender": "of no form"}));
    bridge.write("ann", "while it was down");
    let mut channel = account.start(cursor.as_deref());
    let texts: Vec<String> = (0..3).map(|_| channel.hear().text).collect();
    assert_eq!(texts, ["hello 1", "hello 2", "while it was down"]);
    bridge.web.fail("/v1/events", Fault::Status(502));
    bridge.web.fail("/v1/events", Fault::Drop);
    bridge.write("ann", "after");
    assert_eq!(channel.hear().text, "after");
}

#[test]
fn files_edits_reactions_and_a_device_that_is_gone() {
    let bridge = Bridge::start(true);
    let account = account(&bridge, "whatsapp-bridge");
    bridge.link(false);
    let mut channel = account.start(None);
    assert!(channel.health(Health::Credential).contains("not linked"));
    channel.kill();
    bridge.link(true);
    let mut channel = account.start(None);
    channel.ready();
    let files = vec![channel.file("1", "a b.txt", "text/plain", b"file")];
    channel.deliver("d1", "ann", None, Act::Send { text: "see".to_owned(), files, reply_to: None, buttons: Vec::new() });
    assert_eq!(channel.delivered("d1").0, ["out1"]);
    assert_eq!(bridge.sent()[0]["files"], json!([{"id": "file0", "name": "a b.txt", "mime": "text/plain"}]));
    assert_eq!(channel.fetch("file0", 100).unwrap(), b"file");
    assert!(channel.fetch("file0/../../account", 100).is_err());
    channel.deliver("e1", "ann", None, Act::Edit { message: "out1".to_owned(), text: "new".to_owned(), buttons: Vec::new() });
    channel.delivered("e1");
    channel.deliver("r1", "ann", None, Act::React { message: "in1".to_owned(), emoji: "👍".to_owned() });
    channel.delivered("r1");
    assert_eq!((&bridge.acts()[0]["text"], &bridge.acts()[1]["emoji"]), (&json!("new"), &json!("👍")));
    channel.deliver("x1", "nobody", None, text_of("x"));
    assert_eq!(channel.failed("x1").0, Failing::Final);
    assert_eq!((channel.open_dm("ann"), channel.open_dm("bob").is_err()), (Ok("chat of ann".to_owned()), true));
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. })));
}
