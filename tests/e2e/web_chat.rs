//! Conversations on the page: heard, routed and answered the way of every message, by whoever is logged in and by nobody else.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::http::PATIENCE;
use crate::marks;
use crate::oidc::{DOMAIN, Issuer, house};
use crate::support::{KEY, Lab};
use crate::web::Web;

const TALK: &str = "/v1/web/chats/default/messages";

fn rule(contains: &str, say: Vec<Say>) -> Rule {
    Rule { contains: contains.to_owned(), say }
}

fn says(contains: &str, text: &str) -> Rule {
    rule(contains, vec![Say::Text(text.to_owned())])
}

fn lab(rules: Vec<Rule>) -> (Lab, ModelServer) {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    (lab, server)
}

#[track_caller]
fn say(web: &Web, token: &str, text: &str, key: &str) -> Value {
    let head = format!("content-type: application/json\r\nidempotency-key: {key}\r\n");
    let body = serde_json::to_vec(&json!({ "text": text })).expect("JSON");
    web.ask_with(token, "POST", TALK, &head, &body).is(202)
}

fn messages(web: &Web, token: &str) -> Vec<Value> {
    web.ask(token, "GET", TALK, Value::Null).is(200)["items"].as_array().expect("messages").clone()
}

/// Waits until a message is there of which something is so.
#[track_caller]
fn seen(web: &Web, token: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = messages(web, token);
        if let Some(found) = all.iter().find(|message| is_it(message)) {
            return found.clone();
        }
        assert!(Instant::now() < end, "it never came: {all:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_said(text: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["by"] != "you" && message["text"].as_str().is_some_and(|said| said.contains(text))
}

#[test]
fn what_is_said_is_answered_once_and_stays_over_a_kill() {
    let (lab, _server) = lab(vec![says("the tide", "ebb at noon"), says("the moon", "it is full")]);
    let web = Web::start(&lab);
    let own = web.owner.clone();
    assert_eq!(messages(&web, &own), Vec::<Value>::new(), "looking makes nothing");
    assert_eq!(web.ask(&own, "GET", "/v1/channels", Value::Null).is(200)["items"], json!([]));
    let said = say(&web, &own, "How is the tide?", "one");
    assert_eq!((&said["outcome"], &said["again"]), (&json!("turn"), &json!(false)));
    assert_eq!(say(&web, &own, "How is the tide?", "one")["again"], true, "the same key says it once");
    seen(&web, &own, is_said("ebb at noon"));
    let all = messages(&web, &own);
    assert_eq!(all.iter().map(|message| message["by"].as_str().expect("who")).collect::<Vec<_>>(), ["you", "agent"]);
    // The host's own commands are answered here as anywhere.
    say(&web, &own, "/agent", "two");
    seen(&web, &own, is_said("default, called"));
    // It is the asker of the turn that counts, and the path can be asked for.
    let turn = all[0]["turn"].as_str().expect("a turn");
    let why = web.ask(&own, "GET", &format!("/v1/why/{turn}"), Value::Null).is(200).to_string();
    assert!(why.contains("asked on web"), "{why}");
    let before = messages(&web, &own).len();
    say(&web, &own, "And the moon?", "three");
    lab.kill_daemon();
    let web = Web::start(&lab);
    say(&web, &own, "And the moon?", "three");
    seen(&web, &own, is_said("it is full"));
    assert_eq!(messages(&web, &own).len(), before + 2, "said once, answered once: {:#?}", messages(&web, &own));
}

#[test]
fn a_page_that_waits_is_told_of_the_next_change_and_ends_with_its_right() {
    let (lab, _server) = lab(vec![says("the tide", "ebb at noon")]);
    let web = Web::start(&lab);
    let first = web.ask(&web.owner, "GET", TALK, Value::Null).is(200);
    let path = format!("{TALK}?seen={}&wait_s=50", first["version"]);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| web.ask(&web.owner, "GET", &path, Value::Null).is(200));
        say(&web, &web.owner, "How is the tide?", "one");
        let told = waits.join().expect("an answer");
        assert_ne!(told["version"], first["version"]);
    });
    // What is known is another one already: nobody waits.
    web.ask(&web.owner, "GET", &format!("{TALK}?seen=7&wait_s=50"), Value::Null).is(200);
    for wrong in ["after=x", "after=..", "seen=-1", "limit=x", "nothing=1"] {
        web.ask(&web.owner, "GET", &format!("{TALK}?{wrong}"), Value::Null).refused(422, "USAGE");
    }
}

#[test]
fn a_card_is_pressed_once_and_shows_what_came_of_it() {
    let mark = vec![Say::Shell(marks::command("one")), Say::Text("it is over".to_owned())];
    let (lab, _server) = lab(vec![rule("mark one", mark)]);
    marks::install(&lab);
    let web = Web::start(&lab);
    let own = web.owner.clone();
    say(&web, &own, "mark one", "one");
    let card = seen(&web, &own, |message| message["buttons"].as_array().is_some_and(|all| !all.is_empty()));
    let press = |message: &str, value: &str| web.ask(&own, "POST", &format!("{TALK}/{message}/press"), json!({ "value": value }));
    let (id, yes) = (card["id"].as_str().expect("an identity"), card["buttons"][0]["value"].as_str().expect("a value"));
    assert!(card["text"].as_str().is_some_and(|text| text.contains("mark_set") || text.contains("mark")), "{card:#}");
    // Only what the card has can be pressed, and only on the card.
    press(id, "a:apr_00000000000000000000000000000001:y:00000000").refused(409, "CONFLICT");
    press("out_00000000000000000000000000000001", yes).refused(404, "NOT_FOUND");
    press("nothing", yes).refused(404, "NOT_FOUND");
    assert_eq!(marks::made(&lab), Vec::<String>::new());
    let said = press(id, yes).is(202);
    assert_eq!(said["outcome"], "answer", "{said:#}");
    seen(&web, &own, is_said("it is over"));
    assert_eq!(marks::made(&lab), ["one"]);
    let after = seen(&web, &own, |message| message["id"] == id && message["edited"] == true);
    assert_eq!(after.get("buttons"), None, "{after:#}");
    press(id, yes).refused(409, "CONFLICT");
    assert_eq!(marks::made(&lab), ["one"]);
}

#[test]
fn files_come_along_and_what_cannot_be_is_refused() {
    let read = vec![Say::Shell("cat /home/sandbox/inbox/*/*".to_owned()), Say::Text("it is read".to_owned())];
    let (lab, _server) = lab(vec![rule("read it", read)]);
    let web = Web::start(&lab);
    let own = web.owner.clone();
    let file = json!({ "name": "../../tide \u{202e}.txt", "data": STANDARD.encode("ebb at noon") });
    web.ask(&own, "POST", TALK, json!({ "text": "read it", "files": [file] })).is(202);
    seen(&web, &own, is_said("it is read"));
    let all = messages(&web, &own);
    let session = all[0]["session"].as_str().expect("a session");
    let log = web.ask(&own, "GET", &format!("/v1/sessions/{session}/events"), Value::Null).is(200).to_string();
    assert!(log.contains("ebb at noon"), "{log}");
    assert_eq!(all[0]["files"][0].get("error"), None, "{:#}", all[0]);
    let many: Vec<Value> = (0..11).map(|n| json!({ "name": n.to_string(), "data": "" })).collect();
    for (form, status, code) in [
        (json!({ "text": "" }), 422, "USAGE"),
        (json!({ "text": " \n" }), 422, "USAGE"),
        (json!({ "text": "a\u{0}b" }), 422, "USAGE"),
        (json!({ "text": "x".repeat(300 << 10) }), 413, "TOO_LARGE"),
        (json!({ "text": "x", "files": [{ "name": "a", "data": "?" }] }), 422, "USAGE"),
        (json!({ "text": "x", "files": many }), 422, "USAGE"),
        (json!({ "text": "x", "asker": "usr_1" }), 422, "USAGE"),
    ] {
        web.ask(&own, "POST", TALK, form).refused(status, code);
    }
    web.ask(&own, "POST", "/v1/web/chats/nobody/messages", json!({ "text": "x" })).refused(404, "NOT_FOUND");
    for path in ["out_00000000000000000000000000000001/files/out_1", "x/files/..%2f..%2ftoken"] {
        web.ask(&own, "GET", &format!("{TALK}/{path}"), Value::Null).refused(404, "NOT_FOUND");
    }
}

#[test]
fn wirings_and_switches_hold_here_too() {
    let (lab, _server) = lab(vec![says("hello", "good day")]);
    let web = Web::start(&lab);
    let own = web.owner.clone();
    say(&web, &own, "hello", "one");
    seen(&web, &own, is_said("good day"));
    let wiring = web.ask(&own, "GET", "/v1/wirings", Value::Null).is(200)["items"][0]["id"].as_str().expect("a wiring").to_owned();
    web.ask(&own, "DELETE", &format!("/v1/wirings/{wiring}"), Value::Null).is(200);
    let said = say(&web, &own, "hello again", "two");
    assert_eq!((&said["outcome"], &said["gate"]), (&json!("held"), &json!("wiring")), "{said:#}");
    assert!(said["fix"].as_str().is_some_and(|fix| fix.contains("lazaret wire add")), "{said:#}");
    assert_eq!(web.ask(&own, "GET", "/v1/web/chats", Value::Null).is(200)["items"][0]["is_heard"], false);
    let heard = web.ask(&own, "GET", "/v1/heard?outcome=held", Value::Null).is(200);
    assert_eq!(heard["items"][0]["gate"], "wiring");
    assert!(!heard.to_string().contains("hello again"), "what was said is not told: {heard}");
    web.ask(&own, "POST", "/v1/channels/web/off", Value::Null).is(200);
    web.ask(&own, "POST", TALK, json!({ "text": "hello" })).refused(403, "FORBIDDEN");
    web.ask(&own, "PATCH", "/v1/channels/web", json!({ "config": { "base_url": "http://evil.invalid" } })).refused(422, "USAGE");
    for form in [json!({ "name": "web", "network": "telegram" }), json!({ "name": "mine", "network": "web" })] {
        web.ask(&own, "POST", "/v1/channels", form).refused(422, "USAGE");
    }
    let chat = web.ask(&own, "GET", "/v1/chats", Value::Null).is(200)["items"][0]["id"].as_str().expect("a chat").to_owned();
    web.ask(&own, "POST", "/v1/channels/web/on", Value::Null).is(200);
    web.ask(&own, "POST", &format!("/v1/chats/{chat}/test"), Value::Null).is(202);
    seen(&web, &own, is_said("messages of this account arrive here"));
}

/// Logs somebody in by an issuer and gives their token.
fn login(web: &Web, issuer: &Issuer, who: &str, more: Value) -> String {
    let mut claims = json!({ "sub": who, "email": format!("{who}@example.com"), "email_verified": true, "name": who });
    more.as_object().into_iter().flatten().for_each(|(name, value)| claims[name] = value.clone());
    issuer.says(json!({ "claims": claims }));
    let secret = "the secret of a page, long enough to be one";
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(secret));
    let url =
        web.ask("", "POST", "/v1/login/oidc", json!({ "challenge": challenge })).is(200)["url"].as_str().expect("an address").to_owned();
    let at = Web { address: issuer.url().trim_start_matches("http://").to_owned(), owner: String::new() };
    let said = at.ask("", "GET", url.strip_prefix(&issuer.url()).expect("the issuer's"), Value::Null).is(200);
    let text = |name: &str| said[name].as_str().expect("text").to_owned();
    let back = web.ask("", "GET", &format!("/v1/login/callback?code={}&state={}", text("code"), text("state")), Value::Null);
    let place = back.head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a place").to_owned();
    let code = place.split_once('#').expect("a code").1;
    web.ask("", "POST", "/v1/login", json!({ "code": code, "verifier": secret })).is(200)["token"].as_str().expect("a token").to_owned()
}

#[test]
fn everybody_has_conversations_of_their_own_and_programs_have_none() {
    let (lab, issuer) = (Lab::new(), Issuer::start());
    let web = house(&lab, &issuer, DOMAIN);
    let (anna, ben) = (login(&web, &issuer, "anna", json!({})), login(&web, &issuer, "ben", json!({})));
    let said = say(&web, &anna, "a word of anna", "one");
    assert_eq!(said["outcome"], "turn", "{said:#}");
    // The same key of somebody else is another message.
    say(&web, &ben, "a word of ben", "one");
    let of = |token: &str| json!(messages(&web, token)).to_string();
    for (token, own, other) in [(&anna, "a word of anna", "a word of ben"), (&ben, "a word of ben", "a word of anna")] {
        assert!(of(token).contains(own) && !of(token).contains(other), "{}", of(token));
    }
    let answer = seen(&web, &anna, |message| message["by"] != "you")["id"].as_str().expect("an identity").to_owned();
    web.ask(&anna, "POST", &format!("{TALK}/{answer}/press"), json!({ "value": "x" })).refused(409, "CONFLICT");
    web.ask(&ben, "POST", &format!("{TALK}/{answer}/press"), json!({ "value": "x" })).refused(404, "NOT_FOUND");
    // The owner of the home is of another tenant, and has an account of their own.
    assert!(!of(&web.owner).contains("a word of"), "{}", of(&web.owner));
    // Programs are nobody, whatever they may do.
    for (scope, tenant) in [("admin", None), ("manage", Some("crew")), ("write", Some("other"))] {
        let token = web.token(scope, tenant).0;
        for (verb, path) in [("GET", TALK), ("GET", "/v1/web/chats"), ("POST", TALK)] {
            let form = if verb == "GET" { Value::Null } else { json!({ "text": "x" }) };
            web.ask(&token, verb, path, form).refused(403, "FORBIDDEN");
        }
    }
    // Somebody who only looks does not speak.
    lab.run(&["user", "add", "ben@example.com", "--role", "viewer", "--tenant", "crew"]).succeeds();
    let ben = login(&web, &issuer, "ben", json!({}));
    web.ask(&ben, "POST", TALK, json!({ "text": "x" })).refused(403, "FORBIDDEN");
    web.ask(&ben, "GET", TALK, Value::Null).refused(403, "FORBIDDEN");
    assert_eq!(web.ask(&ben, "GET", "/v1/web/chats", Value::Null).is(200)["items"], json!([]));
    // What was heard is told to its tenant only.
    let other = web.token("manage", Some("other")).0;
    assert_eq!(web.ask(&other, "GET", "/v1/heard", Value::Null).is(200)["items"], json!([]));
    let crew = web.token("manage", Some("crew")).0;
    let chat = web.ask(&crew, "GET", "/v1/chats", Value::Null).is(200)["items"][0]["id"].as_str().expect("a chat").to_owned();
    web.ask(&other, "POST", &format!("/v1/chats/{chat}/test"), Value::Null).refused(404, "NOT_FOUND");
}
