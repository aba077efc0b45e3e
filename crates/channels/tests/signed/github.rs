//! GitHub: issues and pull requests.

use serde_json::{Value, json};
use testkit::platforms::github::{APP, GitHub, LOGIN, SECRET, TOKEN};
use testkit::platforms::signed::{APP_KEY, date, hmac_sha256_hex};
use testkit::platforms::{Account, Fault, text_of};
use wire::chat::{Act, Failing, FromChannel, HeardKind};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

fn account(platform: &GitHub) -> Account {
    let config = json!({"login": LOGIN, "base_url": platform.web.url(), "repositories": ["Acme/Shop"]});
    Account::new(PROGRAM, "github", &config, &[("token", TOKEN), ("webhook_secret", SECRET)])
}

fn ann() -> Value {
    json!({"id": 5, "login": "ann", "type": "User"})
}

fn shown(comment: &Value) -> String {
    comment["body"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn keeps_the_contract() {
    let platform = GitHub::start();
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: "acme/shop",
        thread: Some("12"),
        message: Some(&|n| platform.comment(n as u64, &ann(), &format!("hello {n}"))),
        fresh: &|| {},
        taken: 204,
        sent: &|| platform.comments().iter().map(shown).collect(),
        path: "/comments",
        credential: "token",
        wrong: "ghp_wrong",
        once: true,
    }
    .holds();
}

#[test]
fn refuses_what_github_did_not_sign_for_this_account() {
    let platform = GitHub::start();
    let good = platform.comment(1, &ann(), "hi");
    let mut changed = good.clone();
    changed.body = String::from_utf8(good.body.clone()).unwrap().replace("ann", "bob").into_bytes();
    let old = json!({"id": 1, "body": "hi", "user": ann(), "created_at": date(-9 * 86_400)});
    let old = json!({"action": "created", "issue": {"number": 12}, "comment": old, "sender": ann()});
    let foreign = json!({"action": "created", "repository": {"full_name": "other/repo"}, "issue": {"number": 12}, "comment": {"id": 1, "body": "hi"}, "sender": ann()});
    refuses(
        &account(&platform),
        &[
            ("none", good.without("x-hub-signature-256")),
            ("another's", good.changed("x-hub-signature-256", &format!("sha256={}", hmac_sha256_hex("x", &good.body)))),
            ("the old kind", good.without("x-hub-signature-256").with("x-hub-signature", "sha1=00")),
            ("another body", changed),
            ("no event", good.without("x-github-event")),
            ("old", platform.event("issue_comment", &old)),
            ("another repository", platform.event("issue_comment", &foreign)),
        ],
    );
}

#[test]
fn threads_edits_reactions_and_who_it_is() {
    let platform = GitHub::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), "900");
    platform.comment(4, &ann(), "hey @lazaret-bot, look").post(&mut channel, "w1");
    let heard = channel.hear();
    assert_eq!((heard.sender.id.as_str(), heard.thread.as_deref(), heard.mention), ("5", Some("12"), true));
    assert_eq!(
        platform.comment(5, &json!({"id": 900, "login": "Lazaret-Bot", "type": "User"}), "own words").status(&mut channel, "w2"),
        204
    );
    assert_eq!(platform.event("ping", &json!({"zen": "x"})).status(&mut channel, "w3"), 204);
    let review = json!({
        "action": "created", "pull_request": {"number": 12}, "sender": ann(),
        "comment": {"id": 8, "in_reply_to_id": 7, "body": "why?", "created_at": date(0)},
    });
    platform.event("pull_request_review_comment", &review).post(&mut channel, "w4");
    let heard = channel.hear();
    assert_eq!(heard.thread.as_deref(), Some("12/r7"));
    channel.deliver("d1", "acme/shop", heard.thread.as_deref(), text_of("because"));
    assert_eq!(channel.delivered("d1").0, ["r1"]);
    assert_eq!(platform.comments()[0]["review"], true);
    channel.deliver("e1", "acme/shop", Some("12"), Act::Edit { message: "c1".to_owned(), text: "so".to_owned(), buttons: Vec::new() });
    channel.delivered("e1");
    assert_eq!(platform.comments()[0]["body"], "so");
    for id in ["r1", "r2"] {
        channel.deliver(id, "acme/shop", Some("12"), Act::React { message: "c4".to_owned(), emoji: "👍".to_owned() });
        channel.delivered(id);
    }
    assert_eq!(platform.reactions(), [("issues/comments/4".to_owned(), "+1".to_owned())]);
    for (id, chat, thread, text) in [
        ("x1", "acme/shop", None, "x"),
        ("x2", "acme/..", Some("12"), "x"),
        ("x3", "acme/none", Some("12"), "x"),
        ("x4", "acme/shop", Some("12/../9"), "x"),
    ] {
        channel.deliver(id, chat, thread, text_of(text));
        assert_eq!(channel.failed(id).0, Failing::Final, "{id}");
    }
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. })));
    let edited =
        json!({"action": "edited", "issue": {"number": 12}, "comment": {"id": 4, "body": "new", "updated_at": date(0)}, "sender": ann()});
    platform.event("issue_comment", &edited).post(&mut channel, "w5");
    assert_eq!((channel.hear().kind, channel.answer("w5").0), (HeardKind::Edit, 204));
}

#[test]
fn a_copied_mark_of_somebody_else_is_not_ours() {
    let platform = GitHub::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    channel.deliver("d1", "acme/shop", Some("12"), text_of("one"));
    channel.delivered("d1");
    let mark = shown(&platform.comments()[0]).split_once("<!--").map(|(_, mark)| format!("<!--{mark}")).unwrap();
    // Nobody can know a mark before it is written; one who could would still not be the account.
    platform.web.fail("/comments", Fault::DropAfter);
    channel.deliver("d2", "acme/shop", Some("12"), text_of("two"));
    assert_eq!(channel.failed("d2").0, Failing::Unknown);
    platform.put("evil", &mark);
    channel.deliver("d2", "acme/shop", Some("12"), text_of("two"));
    assert_eq!(channel.delivered("d2").0, ["c2"]);
    assert_eq!(platform.comments().len(), 3);
}

#[test]
fn acts_as_an_app() {
    let platform = GitHub::start();
    let config = json!({"app_id": APP.0, "installation_id": APP.1, "base_url": platform.web.url()});
    let account = Account::new(PROGRAM, "github", &config, &[("private_key", APP_KEY), ("webhook_secret", SECRET)]);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), "11");
    platform.comment(4, &ann(), "@lazaret-app hi").post(&mut channel, "w1");
    assert!(channel.hear().mention);
    let mut other = platform.event("issue_comment", &json!({"installation": {"id": 99}, "sender": ann()}));
    assert_eq!(other.status(&mut channel, "w2"), 403);
    other.body = b"{}".to_vec();
    assert_eq!(other.status(&mut channel, "w3"), 401);
    channel.deliver("d1", "acme/shop", Some("12"), text_of("one"));
    assert_eq!(channel.delivered("d1").0, ["c1"]);
    channel.deliver("d2", "acme/shop", Some("12"), text_of("two"));
    channel.delivered("d2");
    assert_eq!(platform.web.calls("access_tokens").len(), 1, "a token is drawn once");
}
