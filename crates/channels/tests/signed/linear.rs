//! Linear: issues and their comments.

use serde_json::{Value, json};
use testkit::platforms::linear::{ISSUE, KEY, Linear, ME, SECRET};
use testkit::platforms::signed::hmac_sha256_hex;
use testkit::platforms::{Account, Fault, text_of};
use wire::chat::{Act, Failing};

use crate::PROGRAM;
use crate::contract::{Case, refuses};

fn account(platform: &Linear) -> Account {
    Account::new(PROGRAM, "linear", &platform.config(), &[("api_key", KEY), ("webhook_secret", SECRET)])
}

fn shown(comment: &Value) -> String {
    comment["body"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn keeps_the_contract() {
    let platform = Linear::start();
    Case {
        account: account(&platform),
        web: &platform.web,
        chat: "team-1",
        thread: Some(ISSUE),
        message: Some(&|n| platform.comment("ann", &format!("c{n}"), &format!("hello {n}"), 0)),
        fresh: &|| {},
        taken: 200,
        sent: &|| platform.comments().iter().map(shown).collect(),
        path: "/graphql",
        credential: "api_key",
        wrong: "lin_api_wrong",
        once: true,
    }
    .holds();
}

#[test]
fn refuses_what_linear_did_not_sign_now_for_this_workspace() {
    let platform = Linear::start();
    let good = platform.comment("ann", "c1", "hi", 0);
    let text = String::from_utf8(good.body.clone()).unwrap();
    let mut changed = good.clone();
    changed.body = text.replace("\"hi\"", "\"ho\"").into_bytes();
    let mut foreign: Value = serde_json::from_str(&text).unwrap();
    foreign["organizationId"] = json!("org-2");
    let mut timeless: Value = serde_json::from_str(&text).unwrap();
    timeless["webhookTimestamp"] = Value::Null;
    refuses(
        &account(&platform),
        &[
            ("none", good.without("linear-signature")),
            ("another's", good.changed("linear-signature", &hmac_sha256_hex("x", &good.body))),
            ("another body", changed),
            ("old", platform.comment("ann", "c1", "hi", -3_600)),
            ("from tomorrow", platform.comment("ann", "c1", "hi", 86_400)),
            ("without a time", Linear::event(&timeless)),
            ("another workspace", Linear::event(&foreign)),
        ],
    );
}

#[test]
fn files_edits_and_reactions() {
    let platform = Linear::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), ME);
    let files = vec![channel.file("1", "a].txt", "text/plain", b"file")];
    channel.deliver(
        "d1",
        "team-1",
        Some(ISSUE),
        Act::Send { text: "see".to_owned(), files, reply_to: Some("c0".to_owned()), buttons: Vec::new() },
    );
    let message = channel.delivered("d1").0.remove(0);
    let comment = platform.comments().remove(0);
    let body = shown(&comment);
    assert_eq!((comment["parentId"].as_str(), body.contains("[a_.txt](")), (Some("c0"), true), "{body}");
    platform.comment("ann", "c9", &format!("look: {body}"), 0).post(&mut channel, "w1");
    let heard = channel.hear();
    assert_eq!(channel.fetch(&heard.files[0].id, 100).unwrap(), b"file");
    assert!(channel.fetch("https://evil.example/files/0", 100).is_err());
    assert_eq!(platform.comment(ME, "c8", "own words", 0).status(&mut channel, "w2"), 200);
    channel.deliver("e1", "team-1", Some(ISSUE), Act::Edit { message: message.clone(), text: "new".to_owned(), buttons: Vec::new() });
    assert_eq!(channel.delivered("e1").0, std::slice::from_ref(&message));
    assert_eq!(platform.comments()[0]["body"], "new");
    channel.deliver("r1", "team-1", Some(ISSUE), Act::React { message, emoji: "👍".to_owned() });
    channel.delivered("r1");
    assert_eq!(platform.reactions().len(), 1);
    channel.deliver("x1", "team-1", None, text_of("x"));
    assert_eq!(channel.failed("x1").0, Failing::Final);
    channel.deliver("x2", "team-1", Some("nowhere"), text_of("x"));
    assert_eq!(channel.failed("x2").0, Failing::Final);
}

/// A comment that was written while its answer was lost is looked up, and a look that gets no answer is no reason to give it up.
#[test]
fn a_comment_in_doubt_is_looked_up_until_it_is_known() {
    let platform = Linear::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    platform.web.fail("/graphql", Fault::DropAfter);
    channel.deliver("d1", "team-1", Some(ISSUE), text_of("written once"));
    assert_eq!(channel.failed("d1").0, Failing::Unknown);
    platform.web.fail("/graphql", Fault::Status(503));
    channel.deliver("d1", "team-1", Some(ISSUE), text_of("written once"));
    assert_eq!(channel.failed("d1").0, Failing::Passing);
    channel.deliver("d1", "team-1", Some(ISSUE), text_of("written once"));
    let made = channel.delivered("d1").0;
    let stands: Vec<Value> = platform.comments().iter().map(|comment| comment["id"].clone()).collect();
    assert_eq!(stands, [json!(made[0])]);
}
