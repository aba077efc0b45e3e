//! Microsoft Teams by Bot Framework.

use serde_json::{Value, json};
use testkit::platforms::signed::{PLATFORM_KEY, STRANGER_KEY, date, now_s, token, token_with};
use testkit::platforms::teams::{APP, KID, PASSWORD, TENANT, Teams};
use testkit::platforms::{Account, Channel, buttons_of, text_of, until};
use wire::chat::{Act, Failing, HeardKind};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

fn account(platform: &Teams) -> Account {
    Account::new(PROGRAM, "teams", &platform.config(), &[("app_password", PASSWORD)])
}

fn shown(sent: &Value) -> String {
    sent["text"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn keeps_the_contract() {
    let platform = Teams::start();
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: "a:1",
        thread: None,
        message: Some(&|n| platform.post(&platform.activity("ann", &n.to_string(), &json!({"text": format!("hello {n}")})))),
        fresh: &|| {},
        taken: 200,
        sent: &|| platform.sent().iter().map(shown).collect(),
        path: "/activities",
        credential: "app_password",
        wrong: "wrong",
        once: false,
    }
    .holds();
}

#[test]
fn refuses_tokens_that_are_not_bot_frameworks_for_this_app() {
    let platform = Teams::start();
    let good = platform.post(&platform.activity("ann", "1", &json!({})));
    let bearing = |token: String| good.changed("authorization", &format!("Bearer {token}"));
    let with = |key: &str, value: Value| {
        let mut claims = platform.claims();
        claims[key] = value;
        bearing(token(PLATFORM_KEY, KID, &claims))
    };
    let elsewhere = json!({"serviceUrl": "https://evil.example/"});
    refuses(
        &account(&platform),
        &[
            ("none", good.without("authorization")),
            ("a stranger's", bearing(token(STRANGER_KEY, KID, &platform.claims()))),
            ("an unknown key's", bearing(token(PLATFORM_KEY, "other", &platform.claims()))),
            ("unsigned", bearing(token_with(PLATFORM_KEY, &json!({"alg": "none", "kid": KID}), &platform.claims()))),
            ("another algorithm", bearing(token_with(PLATFORM_KEY, &json!({"alg": "HS256", "kid": KID}), &platform.claims()))),
            ("another app's", with("aud", json!("app-2"))),
            ("another issuer's", with("iss", json!("https://sts.windows.net/x/"))),
            ("old", with("exp", json!(now_s() - 1_000))),
            ("not yet", with("nbf", json!(now_s() + 1_000))),
            ("without an end", with("exp", Value::Null)),
            ("an old activity", platform.post(&platform.activity("ann", "1", &json!({"timestamp": date(-7_200)})))),
            ("for another connector", with("serviceurl", json!("https://evil.example/"))),
            ("of another connector", platform.post(&platform.activity("ann", "1", &elsewhere))),
            ("of another network", platform.post(&platform.activity("ann", "1", &json!({"channelId": "webchat"})))),
            ("of another directory", platform.post(&platform.activity("ann", "1", &json!({"channelData": {"tenant": {"id": "t2"}}})))),
        ],
    );
}

fn heard_of(channel: &mut Channel, platform: &Teams, more: &Value) -> wire::chat::Heard {
    let id = more.to_string();
    platform.post(&platform.activity("ann", "7", more)).post(channel, &id);
    let heard = channel.hear();
    assert_eq!(channel.answer(&id).0, 200);
    heard
}

#[test]
fn a_whole_conversation() {
    let platform = Teams::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), format!("28:{APP}"));
    let place = json!({"conversation": {"id": "19:x@thread.tacv2;messageid=5", "conversationType": "channel"}});
    let heard = heard_of(&mut channel, &platform, &place);
    assert_eq!((heard.chat.id.as_str(), heard.thread.as_deref(), heard.sender.id.as_str()), ("19:x@thread.tacv2", Some("5"), "ann"));
    assert!(!heard.mention && heard.chat.group);
    channel.deliver("d1", &heard.chat.id, heard.thread.as_deref(), buttons_of("Shall I?", &[("Yes", "yes")]));
    let message = channel.delivered("d1").0.remove(0);
    let sent = platform.sent().remove(0);
    assert_eq!(sent["at"], "19%3Ax%40thread.tacv2%3Bmessageid%3D5");
    assert_eq!(sent["attachments"][0]["content"]["body"][1]["actions"][0]["data"]["lazaret"], "yes");
    let pressed = heard_of(&mut channel, &platform, &json!({"value": {"lazaret": "yes"}, "replyToId": message, "text": null}));
    assert_eq!((pressed.kind, pressed.about.as_deref()), (HeardKind::Button, Some(message.as_str())));
    channel.deliver(
        "e1",
        &heard.chat.id,
        heard.thread.as_deref(),
        Act::Edit { message: message.clone(), text: "Done".to_owned(), buttons: Vec::new() },
    );
    assert_eq!(channel.delivered("e1").0, std::slice::from_ref(&message));
    assert_eq!(platform.edited().remove(0).1["text"], "Done");
    let picture = json!({"attachments": [{"contentType": "image/png", "contentUrl": format!("{}v3/attachments/img1/views/original", platform.service()), "name": "a.png"}]});
    let heard = heard_of(&mut channel, &platform, &picture);
    assert_eq!(channel.fetch(&heard.files[0].id, 1_000).unwrap(), b"picture");
    assert!(channel.fetch("https://evil.example/x", 1_000).is_err());
    assert!(channel.fetch("http://127.0.0.1:1/x", 1_000).is_err());
    let files = vec![channel.file("1", "a.png", "image/png", b"png")];
    channel.deliver("f1", "a:1", None, Act::Send { text: String::new(), files, reply_to: None, buttons: Vec::new() });
    channel.delivered("f1");
    let files = vec![channel.file("2", "a.zip", "application/zip", b"zip")];
    channel.deliver("f2", "19:x@thread.tacv2", None, Act::Send { text: "see".to_owned(), files, reply_to: None, buttons: Vec::new() });
    assert_eq!(channel.failed("f2").0, Failing::Final);
    channel.deliver("g", "gone", None, text_of("x"));
    assert_eq!(channel.failed("g").0, Failing::Final);
    assert_eq!(channel.open_dm("29:ann"), Ok("a:new".to_owned()));
}

#[test]
fn a_file_is_brought_when_somebody_wants_it() {
    let platform = Teams::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    let files = vec![channel.file("1", "a.zip", "application/zip", b"zip")];
    channel.deliver("f1", "a:1", None, Act::Send { text: String::new(), files, reply_to: None, buttons: Vec::new() });
    channel.delivered("f1");
    let offer = platform.sent().remove(0)["attachments"][0].clone();
    assert_eq!((&offer["name"], &offer["content"]["sizeInBytes"]), (&json!("a.zip"), &json!(3)));
    let wanted = |conversation: &str| {
        let info =
            json!({"uploadUrl": format!("{}/upload/1", platform.web.url()), "contentUrl": "https://x", "uniqueId": "u", "fileType": "zip"});
        let value = json!({"type": "fileUpload", "action": "accept", "context": offer["content"]["acceptContext"], "uploadInfo": info});
        let place = json!({"id": conversation, "conversationType": "personal", "tenantId": TENANT});
        platform.post(&platform.activity(
            "ann",
            "9",
            &json!({"type": "invoke", "name": "fileConsent/invoke", "conversation": place, "value": value}),
        ))
    };
    // Not in another chat, and not twice.
    for (id, chat) in [("w1", "a:2"), ("w2", "a:1"), ("w3", "a:1")] {
        assert_eq!(wanted(chat).status(&mut channel, id), 200);
    }
    until("the file is shown", || platform.sent().len() >= 2);
    assert_eq!(platform.uploaded(), [b"zip"]);
    assert_eq!(platform.sent()[1]["attachments"][0]["content"], json!({"uniqueId": "u", "fileType": "zip"}));
}
