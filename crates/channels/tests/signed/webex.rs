//! Webex.

use serde_json::json;
use testkit::platforms::signed::{date, hmac_sha1_hex};
use testkit::platforms::webex::{ME, SECRET, TOKEN, Webex};
use testkit::platforms::{Account, buttons_of, text_of};
use wire::chat::{Act, Failing, FromChannel, HeardKind};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

fn account(platform: &Webex) -> Account {
    Account::new(PROGRAM, "webex", &json!({"base_url": platform.web.url()}), &[("token", TOKEN), ("webhook_secret", SECRET)])
}

fn sent(platform: &Webex) -> Vec<String> {
    let own = platform.messages().into_iter().filter(|message| message["personId"] == ME);
    own.map(|message| message["markdown"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn keeps_the_contract() {
    let platform = Webex::start();
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: "ROOM",
        thread: None,
        message: Some(&|n| platform.write("ANN", &format!("M{n}"), &json!({"text": format!("hello {n}")}))),
        fresh: &|| {},
        taken: 200,
        sent: &|| sent(&platform),
        path: "/messages",
        credential: "token",
        wrong: "wrong",
        once: false,
    }
    .holds();
}

#[test]
fn refuses_what_webex_did_not_sign() {
    let platform = Webex::start();
    let good = platform.write("ANN", "M1", &json!({}));
    let mut changed = good.clone();
    changed.body = String::from_utf8(good.body.clone()).unwrap().replace("ANN", "BOB").into_bytes();
    refuses(
        &account(&platform),
        &[
            ("none", good.without("x-spark-signature")),
            ("another's", good.changed("x-spark-signature", &hmac_sha1_hex("x", &good.body))),
            ("another body", changed),
        ],
    );
}

#[test]
fn only_what_is_fetched_counts() {
    let platform = Webex::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), ME);
    // Told of something that is not there, or not for the account, or old.
    assert_eq!(Webex::event("messages", "created", &json!({"id": "NONE", "personId": "ANN"})).status(&mut channel, "w0"), 200);
    assert_eq!(Webex::event("messages", "created", &json!({"id": "../people/me", "personId": "ANN"})).status(&mut channel, "w1"), 200);
    assert_eq!(platform.write("ANN", "M0", &json!({"created": date(-3 * 86_400)})).status(&mut channel, "w2"), 200);
    assert_eq!(platform.write(ME, "M00", &json!({})).status(&mut channel, "w3"), 200);
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. })));
    let more = json!({"mentionedPeople": [ME], "parentId": "M5", "files": ["https://webexapis.com/v1/contents/FILE1", "https://webexapis.com/v1/contents/SCANNED"]});
    platform.write("ANN", "M1", &more).post(&mut channel, "w4");
    let heard = channel.hear();
    assert_eq!((heard.thread.as_deref(), heard.mention, heard.sender.id.as_str()), (Some("M5"), true, "ANN"));
    assert_eq!(channel.fetch(&heard.files[0].id, 100).unwrap(), b"content");
    assert!(channel.fetch(&heard.files[1].id, 100).is_err_and(|why| why.contains("malware")));
    channel.deliver("d1", "ROOM", Some("M5"), buttons_of("Shall I? <@all>", &[("Yes", "yes")]));
    let message = channel.delivered("d1").0.remove(0);
    let card = platform.messages().pop().unwrap();
    assert_eq!((card["parentId"].as_str(), card["markdown"].as_str()), (Some("M5"), Some("Shall I? <\u{200B}@all>")));
    platform.press("ANN", &message, "yes").post(&mut channel, "w5");
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.about.as_deref(), heard.value.as_deref()), (HeardKind::Button, Some(message.as_str()), Some("yes")));
    channel.deliver("d2", "ROOM", None, text_of("plain"));
    let message = channel.delivered("d2").0.remove(0);
    channel.deliver("e1", "ROOM", None, Act::Edit { message, text: "new".to_owned(), buttons: Vec::new() });
    channel.delivered("e1");
    assert_eq!(sent(&platform).pop().as_deref(), Some("new"));
    let files = vec![channel.file("1", "a.txt", "text/plain", b"file")];
    channel.deliver("f1", "ROOM", None, Act::Send { text: String::new(), files, reply_to: None, buttons: Vec::new() });
    channel.delivered("f1");
    assert_eq!(platform.messages().pop().unwrap()["files"], json!(["a.txt"]));
    channel.deliver("x1", "OTHER", None, text_of("x"));
    assert_eq!(channel.failed("x1").0, Failing::Final);
    channel.deliver("x2", "ROOM", None, text_of(&"😀".repeat(2_000)));
    assert_eq!(channel.failed("x2").0, Failing::Final);
}
