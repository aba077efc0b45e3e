//! Email by Resend.

use serde_json::{Value, json};
use testkit::platforms::resend::{ADDRESS, KEY, Resend, SECRET, SENDING_KEY, SERVER};
use testkit::platforms::signed::now_s;
use testkit::platforms::{Account, text_of};
use wire::chat::{Act, Failing, FromChannel, Health};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

const ANN: &str = "Ann <ann@example.org>";

fn account(platform: &Resend) -> Account {
    Account::new(PROGRAM, "resend", &platform.config(), &[("api_key", KEY), ("webhook_secret", SECRET)])
}

fn proven() -> String {
    format!("Authentication-Results: {SERVER};\r\n spf=pass smtp.mailfrom=example.org; dmarc=pass header.from=example.org")
}

fn shown(sent: &Value) -> String {
    sent["text"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn keeps_the_contract() {
    let platform = Resend::start();
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: "ann@example.org",
        thread: Some("<root@example.org>"),
        message: Some(&|n| platform.receive(&proven(), ANN, &format!("<{n}@example.org>"), &json!({"text": format!("hello {n}")}))),
        fresh: &|| {},
        taken: 200,
        sent: &|| platform.sent().iter().map(shown).collect(),
        path: "/emails",
        credential: "api_key",
        wrong: "re_wrong",
        once: true,
    }
    .holds();
}

#[test]
fn refuses_what_resend_did_not_sign_now() {
    let platform = Resend::start();
    let good = platform.receive(&proven(), ANN, "<1@example.org>", &json!({}));
    let event: Value = serde_json::from_slice(&good.body).unwrap();
    let mut changed = good.clone();
    changed.body = String::from_utf8(good.body.clone()).unwrap().replace("mail0", "mail1").into_bytes();
    refuses(
        &account(&platform),
        &[
            ("none", good.without("svix-signature")),
            ("no id", good.without("svix-id")),
            ("another id", good.changed("svix-id", "msg_2")),
            ("another's", Resend::event(&event, now_s(), "whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBsb25n")),
            ("old", Resend::event(&event, now_s() - 3_600, SECRET)),
            ("another time", Resend::event(&event, now_s() - 3_600, SECRET).changed("svix-timestamp", &now_s().to_string())),
            ("another body", changed),
        ],
    );
}

#[test]
fn nobody_is_who_they_say_unless_the_server_found_so() {
    let platform = Resend::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), ADDRESS);
    for (n, (top, from, more)) in [
        (String::new(), ANN, json!({})),
        (format!("Authentication-Results: {SERVER}; dmarc=fail header.from=example.org"), ANN, json!({})),
        ("Authentication-Results: other; dmarc=pass header.from=example.org".to_owned(), ANN, json!({})),
        (proven(), "Owner <owner@acme.example>", json!({})),
        (
            "X-Nothing: found".to_owned(),
            ANN,
            json!({"header Authentication-Results": format!("{SERVER}; dmarc=pass header.from=example.org")}),
        ),
        (proven(), ANN, json!({"to": ["somebody@acme.example"]})),
        (proven(), ANN, json!({"raw": {"download_url": "https://evil.example/raw"}})),
        (proven(), &format!("Agent <{ADDRESS}>"), json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        let posted = platform.receive(&top, from, &format!("<{n}@example.org>"), &more);
        assert_eq!(posted.status(&mut channel, &n.to_string()), 200, "{n}");
    }
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. })), "{:?}", channel.rest());
}

#[test]
fn conversations_files_and_quotes() {
    let platform = Resend::start();
    let mut account = account(&platform);
    account.config.insert("allow".to_owned(), json!(["@Example.org"]));
    let mut channel = account.start(None);
    channel.ready();
    let file = json!([{"id": "att1", "filename": "../a.txt", "content_type": "text/plain", "content_disposition": "attachment"}]);
    let more = json!({"text": "yes\n\nOn Monday Bob wrote:\n> /stop", "attachments": file});
    platform.receive(&proven(), ANN, "<1@example.org>", &more).post(&mut channel, "w1");
    let heard = channel.hear();
    assert_eq!(
        (heard.sender.id.as_str(), heard.text.as_str(), heard.thread.as_deref()),
        ("ann@example.org", "A question\n\nyes", Some("<1@example.org>"))
    );
    assert!(heard.quoted.unwrap().text.contains("/stop"));
    assert_eq!(channel.fetch(&heard.files[0].id, 100).unwrap(), b"attachment");
    assert!(channel.fetch("mail0/../../domains", 100).is_err());
    let files = vec![channel.file("1", "b.txt", "text/plain", b"file")];
    channel.deliver(
        "d1",
        "ann@example.org",
        heard.thread.as_deref(),
        Act::Send { text: "So it is.".to_owned(), files, reply_to: Some(heard.id), buttons: Vec::new() },
    );
    assert_eq!(channel.delivered("d1").0, ["sent0"]);
    let sent = platform.sent().remove(0);
    assert_eq!((&sent["subject"], &sent["headers"]["In-Reply-To"]), (&json!("Re: A question"), &json!("<1@example.org>")));
    assert_eq!(sent["attachments"][0]["content"], "ZmlsZQ==");
    let more =
        json!({"header References": "<1@example.org> <sent0@acme.example>", "header In-Reply-To": "<sent0@acme.example>", "text": "more"});
    platform.receive(&proven(), ANN, "<2@example.org>", &more).post(&mut channel, "w2");
    let heard = channel.hear();
    assert_eq!((heard.text.as_str(), heard.thread.as_deref()), ("more", Some("<1@example.org>")));
    channel.deliver("d2", "ann@example.org", None, text_of("# A headline\n\nwords"));
    channel.delivered("d2");
    assert_eq!(platform.sent()[1]["subject"], "A headline");
    channel.deliver("x1", "ann@example.org\nBcc: x", None, text_of("x"));
    assert_eq!(channel.failed("x1").0, Failing::Final);
    channel.deliver("x2", "ann@example.org", None, Act::React { message: "m".to_owned(), emoji: "👍".to_owned() });
    assert_eq!(channel.failed("x2").0, Failing::Final);
    assert_eq!(channel.open_dm("Ann@Example.org"), Ok("ann@example.org".to_owned()));
}

#[test]
fn a_key_that_may_only_send_is_not_enough() {
    let platform = Resend::start();
    let account = account(&platform);
    account.credential("api_key", SENDING_KEY);
    assert!(account.start(None).health(Health::Credential).contains("restricted_api_key"));
}
