//! Google Chat.

use serde_json::{Value, json};
use testkit::platforms::googlechat::{GoogleChat, KID};
use testkit::platforms::signed::{PLATFORM_KEY, STRANGER_KEY, date, now_s, token, token_with};
use testkit::platforms::{Account, buttons_of, text_of};
use wire::chat::{Act, Failing, HeardKind};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

fn account(platform: &GoogleChat) -> Account {
    Account::new(PROGRAM, "googlechat", &platform.config(), &[("service_account", &GoogleChat::key_file(false))])
}

fn shown(message: &Value) -> String {
    message["text"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn keeps_the_contract() {
    let platform = GoogleChat::start();
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: "spaces/A",
        thread: Some("spaces/A/threads/T"),
        message: Some(&|n| GoogleChat::event(&GoogleChat::message(&n.to_string(), &format!("hello {n}")))),
        fresh: &|| {},
        taken: 200,
        sent: &|| platform.messages().iter().map(shown).collect(),
        path: "/messages",
        credential: "service_account",
        wrong: &GoogleChat::key_file(true),
        once: true,
    }
    .holds();
}

#[test]
fn refuses_tokens_that_are_not_chats_for_this_project() {
    let platform = GoogleChat::start();
    let good = GoogleChat::event(&GoogleChat::message("1", "hi"));
    let bearing = |token: String| good.changed("authorization", &format!("Bearer {token}"));
    let with = |key: &str, value: Value| {
        let mut claims = GoogleChat::claims();
        claims[key] = value;
        bearing(token(PLATFORM_KEY, KID, &claims))
    };
    let mut old = GoogleChat::message("1", "hi");
    old["eventTime"] = json!(date(-2 * 3_600));
    refuses(
        &account(&platform),
        &[
            ("none", good.without("authorization")),
            ("no token", good.changed("authorization", "Bearer x")),
            ("a stranger's", bearing(token(STRANGER_KEY, KID, &GoogleChat::claims()))),
            ("unsigned", bearing(token_with(PLATFORM_KEY, &json!({"alg": "none", "kid": KID}), &GoogleChat::claims()))),
            ("another project's", with("aud", json!("999"))),
            ("another issuer's", with("iss", json!("https://accounts.google.com"))),
            ("old token", with("exp", json!(now_s() - 1_000))),
            ("old event", GoogleChat::event(&old)),
        ],
    );
}

#[test]
fn cards_edits_and_files() {
    let platform = GoogleChat::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    channel.deliver("d1", "spaces/A", None, buttons_of("**Shall I?** <users/all>", &[("Yes", "yes")]));
    let message = channel.delivered("d1").0.remove(0);
    let sent = platform.messages().remove(0);
    assert_eq!(shown(&sent), "*Shall I?* <\u{200B}users/all>");
    let action = &sent["cardsV2"][0]["card"]["sections"][0]["widgets"][0]["buttonList"]["buttons"][0]["onClick"]["action"];
    let clicked = json!({"type": "CARD_CLICKED", "message": {"name": message}, "action": {"actionMethodName": action["function"], "parameters": action["parameters"]}});
    GoogleChat::event(&clicked).post(&mut channel, "w1");
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.value.as_deref(), heard.about.as_deref()), (HeardKind::Button, Some("yes"), Some(message.as_str())));
    channel.deliver("e1", "spaces/A", None, Act::Edit { message: message.clone(), text: "Done".to_owned(), buttons: Vec::new() });
    channel.delivered("e1");
    assert_eq!(platform.messages()[0]["cardsV2"], json!([]));
    let mut file = GoogleChat::message("2", "");
    file["message"]["attachment"] = json!([{"contentName": "a", "attachmentDataRef": {"resourceName": "res/a=="}}]);
    GoogleChat::event(&file).post(&mut channel, "w2");
    let heard = channel.hear();
    assert_eq!(channel.fetch(&heard.files[0].id, 100).unwrap(), b"attachment");
    for (id, chat) in [("x1", "spaces/../x"), ("x2", "users/1"), ("x3", "spaces/gone")] {
        channel.deliver(id, chat, None, text_of("x"));
        assert_eq!(channel.failed(id).0, Failing::Final, "{id}");
    }
    assert_eq!(channel.open_dm("users/1"), Ok("spaces/DM1".to_owned()));
    assert!(channel.open_dm("users/1/../2").is_err());
    assert!(platform.web.calls("/token").len() == 1);
}

#[test]
fn an_address_as_audience_takes_chats_tokens_only() {
    let platform = GoogleChat::start();
    let mut account = account(&platform);
    account.config.insert("audience".to_owned(), json!("https://hooks.example/chat"));
    let event = GoogleChat::event(&GoogleChat::message("1", "hi"));
    let signed = |email: &str, verified: bool, audience: &str| {
        let claims = json!({
            "iss": "https://accounts.google.com", "aud": audience, "email": email, "email_verified": verified, "iat": now_s() - 10, "exp": now_s() + 3_600,
        });
        event.changed("authorization", &format!("Bearer {}", token(PLATFORM_KEY, KID, &claims)))
    };
    let chat = "chat@system.gserviceaccount.com";
    refuses(
        &account,
        &[
            ("the other kind", event.clone()),
            ("somebody's with an account", signed("mallory@example.org", true, "https://hooks.example/chat")),
            ("unverified", signed(chat, false, "https://hooks.example/chat")),
            ("another address's", signed(chat, true, "https://hooks.example/other")),
        ],
    );
    let mut channel = account.start(None);
    channel.ready();
    signed(chat, true, "https://hooks.example/chat").post(&mut channel, "w1");
    assert_eq!(channel.hear().text, "hi");
    assert_eq!(channel.answer("w1").0, 200);
}
