//! WeChat for an official account.

use serde_json::{Value, json};
use testkit::platforms::signed::now_s;
use testkit::platforms::wechat::{APP, ENCODING_KEY, SECRET, VERIFY, WeChat};
use testkit::platforms::{Account, Channel, buttons_of, text_of};
use wire::chat::{Act, Failing, FromChannel, HeardKind};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

fn account(platform: &WeChat, plain: bool) -> Account {
    let config = json!({"app_id": APP, "base_url": platform.web.url(), "plain": plain});
    Account::new(PROGRAM, "wechat", &config, &[("app_secret", SECRET), ("token", VERIFY), ("encoding_key", ENCODING_KEY)])
}

fn shown(sent: &Value) -> String {
    sent["text"]["content"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn keeps_the_contract() {
    let platform = WeChat::start();
    Case {
        account: account(&platform, false),
        web: &platform.web,
        chat: "ann",
        thread: None,
        message: Some(&|n| platform.text("ann", n as u64, &format!("hello {n}"))),
        fresh: &|| platform.wrote("ann", 5),
        taken: 200,
        sent: &|| platform.sent().iter().map(shown).collect(),
        path: "/custom/send",
        credential: "app_secret",
        wrong: "wrong",
        once: false,
    }
    .holds();
}

#[test]
fn refuses_what_wechat_did_not_sign_now_for_this_app() {
    let platform = WeChat::start();
    let good = platform.text("ann", 1, "hi");
    let xml = WeChat::xml("ann", "<MsgType>text</MsgType><Content>hi</Content><MsgId>1</MsgId>");
    let mut unsigned = good.clone();
    unsigned.path = format!("?timestamp={}&nonce=nonce1", now_s());
    let mut wrong = good.clone();
    wrong.path = format!("?timestamp={}&nonce=nonce1&msg_signature=0000000000000000000000000000000000000000", now_s());
    let mut swapped = good.clone();
    swapped.body = WeChat::sealed(&xml, APP, now_s()).body;
    refuses(
        &account(&platform, false),
        &[
            ("none", unsigned),
            ("wrong", wrong),
            ("another message", swapped),
            ("old", WeChat::sealed(&xml, APP, now_s() - 3_600)),
            ("another app's", WeChat::sealed(&xml, "wx9999", now_s())),
            ("unencrypted", WeChat::plain(&xml, now_s())),
        ],
    );
}

fn report_of(channel: &mut Channel) -> bool {
    channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. }))
}

#[test]
fn a_plain_signature_is_good_for_one_body() {
    let platform = WeChat::start();
    let account = account(&platform, true);
    let mut channel = account.start(None);
    channel.ready();
    // What is signed is a second: the requests have each their own, whatever the clock does meanwhile.
    let now = now_s();
    let good = WeChat::plain(&WeChat::xml("ann", "<MsgType>text</MsgType><Content>hi</Content><MsgId>1</MsgId>"), now);
    good.post(&mut channel, "w1");
    assert_eq!(channel.hear().text, "hi");
    let mut forged = good.clone();
    forged.body = WeChat::xml("owner", "<MsgType>text</MsgType><Content>/stop</Content><MsgId>2</MsgId>").into_bytes();
    assert_eq!(forged.status(&mut channel, "w2"), 401);
    assert!(!report_of(&mut channel));
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xml><FromUserName>&b;</FromUserName></xml>"#;
    let bomb = WeChat::plain(bomb, now - 1);
    assert_eq!(bomb.status(&mut channel, "w3"), 200);
    assert!(!report_of(&mut channel));
}

#[test]
fn challenge_menus_files_and_limits() {
    let platform = WeChat::start();
    let account = account(&platform, false);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), APP);
    let asked = WeChat::plain("", now_s()).path;
    channel.webhook("g1", "GET", &format!("{asked}&echostr=12345"), &[], b"");
    assert_eq!(channel.answer("g1"), (200, b"12345".to_vec()));
    channel.webhook("g2", "GET", "?signature=00&timestamp=1&nonce=2&echostr=12345", &[], b"");
    assert_eq!(channel.answer("g2").0, 401);
    channel.deliver("d0", "stranger", None, text_of("x"));
    let (why, words, _) = channel.failed("d0");
    assert!(why == Failing::Final && words.contains("48 hours"), "{words}");
    platform.text("ann", 1, "hi").post(&mut channel, "w1");
    channel.hear();
    channel.deliver("d1", "ann", None, buttons_of("Shall I?", &[("Yes", "yes")]));
    assert_eq!(channel.delivered("d1").0.len(), 1);
    assert_eq!(platform.sent()[0]["msgmenu"]["list"], json!([{"id": "yes", "content": "Yes"}]));
    let pressed = WeChat::xml("ann", "<MsgType>text</MsgType><Content>Yes</Content><MsgId>2</MsgId><bizmsgmenuid>yes</bizmsgmenuid>");
    WeChat::sealed(&pressed, APP, now_s()).post(&mut channel, "w2");
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.value.as_deref()), (HeardKind::Button, Some("yes")));
    let files = vec![channel.file("1", "a.jpg", "image/jpeg", b"picture")];
    channel.deliver("f1", "ann", None, Act::Send { text: String::new(), files, reply_to: None, buttons: Vec::new() });
    channel.delivered("f1");
    let picture = WeChat::xml("ann", "<MsgType>image</MsgType><MediaId>m0</MediaId><MsgId>3</MsgId>");
    WeChat::sealed(&picture, APP, now_s()).post(&mut channel, "w3");
    let heard = channel.hear();
    assert_eq!(channel.fetch(&heard.files[0].id, 100).unwrap(), b"picture");
    assert!(channel.fetch("m9", 100).is_err());
    let files = vec![channel.file("2", "a.zip", "application/zip", b"zip")];
    channel.deliver("f2", "ann", None, Act::Send { text: "see".to_owned(), files, reply_to: None, buttons: Vec::new() });
    assert_eq!(channel.failed("f2").0, Failing::Final);
    platform.wrote("ann", 0);
    channel.deliver("d2", "ann", None, text_of("x"));
    assert!(channel.failed("d2").1.contains("five messages"));
    let followed = WeChat::xml("bob", "<MsgType>event</MsgType><Event>subscribe</Event>");
    WeChat::sealed(&followed, APP, now_s()).post(&mut channel, "w4");
    assert_eq!(channel.hear().kind, HeardKind::Joined);
}
