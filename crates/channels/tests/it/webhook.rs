//! Requests of anybody's own program.

use std::sync::{Arc, Mutex};

use ring::hmac;
use serde_json::{Value, json};
use testkit::platforms::{Account, Call, Channel, Fault, Reply, Web, text_of};
use wire::chat::{Act, Failing, FromChannel, ToChannel};

use crate::contract::{PROGRAM, ready};

const SECRET: &str = "a secret of two programs";

fn tag(secret: &str, at: &str, body: &[u8]) -> String {
    let signed = [at.as_bytes(), b".", body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &signed);
    format!("t={at},v1=") + &tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A program that takes answers, each once by its key, and shows what it took.
fn peer() -> (Web, Arc<Mutex<Vec<Value>>>) {
    let taken = Arc::<Mutex<Vec<Value>>>::default();
    let kept = Arc::clone(&taken);
    let web = Web::start(move |call: Call| {
        let kept = Arc::clone(&kept);
        async move {
            let given = call.header("x-lazaret-signature").unwrap_or_default();
            let at = given.trim_start_matches("t=").split(',').next().unwrap_or_default();
            let body = if call.method == "GET" { call.target.clone().into_bytes() } else { call.body.to_vec() };
            if given != tag(SECRET, at, &body) {
                return Reply::status(401);
            }
            if call.method == "GET" {
                return Reply::status(200).body(vec![7; 300_000]);
            }
            let asked = call.json();
            assert_eq!(call.header("idempotency-key"), asked["id"].as_str());
            if asked["chat"] == "nowhere" {
                return Reply::status(404);
            }
            let mut taken = kept.lock().unwrap();
            if !taken.iter().any(|known| known["id"] == asked["id"]) {
                taken.push(asked.clone());
            }
            Reply::json(200, &json!({"id": format!("m{}", taken.len())}))
        }
    });
    (web, taken)
}

fn account(web: &Web) -> Account {
    Account::new(PROGRAM, "webhook", &json!({"base_url": format!("{}/answers", web.url())}), &[("secret", SECRET)])
}

fn post(channel: &mut Channel, id: &str, secret: &str, at: u64, body: &str) {
    let at = at.to_string();
    let headers = [("x-lazaret-signature", tag(secret, &at, body.as_bytes()))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    channel.webhook(id, "POST", "", &headers, body.as_bytes());
}

#[test]
fn a_request_counts_once_and_only_when_it_is_signed_now() {
    let (web, _) = peer();
    let account = account(&web);
    let mut channel = ready(&account, None);
    let body = json!({"id": "1", "chat": "c", "sender": {"id": "ann"}, "text": "hi"}).to_string();
    let now = now_s();
    for (id, secret, at) in
        [("other", "another secret of others", now), ("old", SECRET, now - 301), ("early", SECRET, now + 310), ("huge", SECRET, u64::MAX)]
    {
        post(&mut channel, id, secret, at, &body);
        assert_eq!(channel.answer(id).0, 401, "{id}");
    }
    channel.webhook("none", "POST", "", &[], body.as_bytes());
    assert_eq!(channel.answer("none").0, 401);
    let at = now.to_string();
    let good = tag(SECRET, &at, body.as_bytes());
    channel.webhook("body", "POST", "", &[("x-lazaret-signature", &good)], body.replace("hi", "ho").as_bytes());
    assert_eq!(channel.answer("body").0, 401);
    let twice = [("x-lazaret-signature", good.as_str()), ("x-lazaret-signature", "t=1,v1=00")];
    channel.webhook("twice", "POST", "", &twice, body.as_bytes());
    assert_eq!(channel.answer("twice").0, 401);
    channel.webhook("get", "GET", "", &[], b"");
    assert_eq!(channel.answer("get").0, 405);
    post(&mut channel, "form", SECRET, now, r#"{"id":"1","chat":"c","sender":{"id":"ann"},"is_owner":true}"#);
    assert_eq!(channel.answer("form").0, 400);

    post(&mut channel, "good", SECRET, now, &body);
    let (seq, _, heard) = channel.report();
    assert_eq!((heard.text.as_str(), heard.sender.id.as_str(), heard.mention), ("hi", "ann", true));
    // The same again while the host does not have it yet is no yes.
    post(&mut channel, "again", SECRET, now, &body);
    assert_eq!(channel.answer("again").0, 409);
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::WebhookAnswer { .. })));
    channel.say(&ToChannel::Ack { seq });
    assert_eq!(channel.answer("good").0, 200);
    post(&mut channel, "later", SECRET, now, &body);
    assert_eq!(channel.answer("later"), (200, br#"{"status":"known"}"#.to_vec()));
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. })));
}

#[test]
fn answers_are_signed_and_taken_once() {
    let (web, taken) = peer();
    let account = account(&web);
    for point in ["channel:begun", "channel:took", "channel:noted", "channel:told"] {
        let before = taken.lock().unwrap().len();
        let mut channel = account.start_and_die(None, Some(point));
        let _ = channel.ready();
        channel.deliver(point, "c", Some("t"), text_of(point));
        assert_eq!(channel.ends(), None, "{point}");
        let mut channel = ready(&account, None);
        channel.deliver(point, "c", Some("t"), text_of(point));
        assert_eq!(channel.delivered(point).0, [format!("m{}", before + 1)]);
        assert_eq!(taken.lock().unwrap().len(), before + 1, "{point}");
    }
    let mut channel = ready(&account, None);
    for (fault, why) in [(Fault::TooOften(3), Failing::Rate), (Fault::Status(500), Failing::Passing), (Fault::DropAfter, Failing::Unknown)]
    {
        web.fail("/answers", fault);
        channel.deliver("d", "c", None, text_of("x"));
        assert_eq!(channel.failed("d").0, why);
    }
    let before = taken.lock().unwrap().len();
    let file = channel.file("f", "a.txt", "text/plain", b"one");
    channel.deliver("e", "c", None, Act::Send { text: "with".to_owned(), files: vec![file], reply_to: None, buttons: Vec::new() });
    let _ = channel.delivered("e");
    assert_eq!(taken.lock().unwrap()[before]["files"][0], json!({"name": "a.txt", "mime": "text/plain", "data": "b25l"}));
    channel.deliver("f", "nowhere", None, text_of("x"));
    assert_eq!(channel.failed("f").0, Failing::Final);
    assert_eq!(channel.fetch(&format!("{}/files/1", web.url()), 1 << 20), Ok(vec![7; 300_000]));
    assert!(channel.fetch("http://127.0.0.1:1/files/1", 10).is_err());
}
