//! Slack.

use serde_json::{Value, json};
use testkit::platforms::{Account, Slack, Web, buttons_of};
use wire::chat::{Act, Failing, FromChannel, HeardKind, ToChannel};

use crate::contract::{self, PROGRAM, Stage, ready};

impl Stage for Slack {
    fn web(&self) -> &Web {
        &self.web
    }

    fn account(&self) -> Account {
        let credentials = [("token", Slack::TOKEN), ("app_token", Slack::APP_TOKEN)];
        Account::new(PROGRAM, "slack", &json!({"base_url": self.web.url()}), &credentials)
    }

    fn stranger(&self) -> Account {
        Account::new(PROGRAM, "slack", &json!({"base_url": self.web.url()}), &[("token", "xoxb-stranger"), ("app_token", "xapp-stranger")])
    }

    fn chat(&self) -> String {
        "D1".to_owned()
    }

    fn nowhere(&self) -> String {
        "C77".to_owned()
    }

    fn sends_at(&self) -> &'static str {
        "/chat.postMessage"
    }

    fn says(&self, text: &str) -> String {
        Slack::says(self, "D1", text, &json!({}))
    }

    fn shown(&self) -> Vec<String> {
        Slack::shown(self).into_iter().map(|shown| shown.asked["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn is_sure(&self) -> bool {
        true
    }

    fn knows_heard(&self, count: usize) {
        self.wait_acked(count);
    }
}

#[test]
fn hears_until_acknowledged() {
    contract::hears_until_acknowledged(&Slack::start());
}

#[test]
fn delivers_once_through_kills() {
    contract::delivers_once_through_kills(&Slack::start());
}

#[test]
fn says_why_not() {
    contract::says_why_not(&Slack::start());
}

#[test]
fn says_that_a_credential_is_refused() {
    contract::says_that_a_credential_is_refused(&Slack::start());
}

#[test]
fn comes_back() {
    let slack = Slack::start();
    contract::comes_back(&slack, "/apps.connections.open");
    let account = Stage::account(&slack);
    let mut channel = ready(&account, None);
    for _ in 0..2 {
        slack.disconnect();
        let id = Stage::says(&slack, "on");
        // What was told twice is the host's to know.
        while channel.hear().id != id {}
    }
}

#[test]
fn an_envelope_is_acknowledged_when_the_host_has_it() {
    let slack = Slack::start();
    let account = Stage::account(&slack);
    let mut channel = ready(&account, None);
    for n in 0..3 {
        Stage::says(&slack, &n.to_string());
    }
    for n in 0..3 {
        assert_eq!(channel.report().2.text, n.to_string());
    }
    assert_eq!(slack.envelopes(), (0, 3));
    channel.kill();
    let mut channel = ready(&account, None);
    for n in 0..3 {
        assert_eq!(channel.hear().text, n.to_string());
    }
    // What is nothing to the host is acknowledged by itself.
    slack.happens("events_api", json!({"event": {"type": "emoji_changed"}}));
    Stage::says(&slack, "last");
    assert_eq!(channel.hear().text, "last");
    slack.wait_acked(5);
    assert_eq!(channel.stop(), Some(0));
}

#[test]
fn an_envelope_is_told_again_by_slack_when_the_program_dies_before_it_is_acknowledged() {
    let slack = Slack::start();
    let account = Stage::account(&slack);
    let mut channel = account.start_and_die(None, Some("channel:before-ack"));
    let _ = channel.ready();
    let id = Stage::says(&slack, "one");
    let (seq, _, heard) = channel.report();
    channel.say(&ToChannel::Ack { seq });
    assert_eq!(channel.ends(), None);
    assert_eq!((heard.id.as_str(), slack.envelopes()), (id.as_str(), (0, 1)));
    // The same once more: the host knows it by its identity.
    let mut channel = ready(&account, None);
    assert_eq!(channel.hear().id, id);
    slack.wait_acked(1);
    assert_eq!(channel.stop(), Some(0));
}

#[test]
fn a_conversation_in_a_thread_with_all_that_there_is() {
    let slack = Slack::start();
    let account = Stage::account(&slack);
    let mut channel = ready(&account, None);
    slack.holds("F1", &vec![7; 400_000]);
    slack.holds("Fevil", b"x");
    let files = json!([{"id": "F1", "name": "plan.pdf", "mimetype": "application/pdf", "size": 400_000}, {"id": "Fevil", "name": "x"}]);
    slack.says("C1", "<@UBOT> look", &json!({"thread_ts": "1600000000.000001", "files": files}));
    let heard = channel.hear();
    assert!(heard.mention && heard.chat.group && heard.thread.as_deref() == Some("1600000000.000001"));
    assert_eq!(channel.fetch("F1", 1 << 20), Ok(vec![7; 400_000]));
    assert!(channel.fetch("F1", 1000).is_err() && channel.fetch("F9", 1000).is_err());
    assert!(channel.fetch("Fevil", 1000).is_err_and(|why| why.contains("keeps none")));

    let file = channel.file("a", "a.txt", "text/plain", b"one");
    let text = format!("<!channel> **hi** {}", "<&> ".repeat(800));
    channel.deliver(
        "d1",
        "C1",
        heard.thread.as_deref(),
        Act::Send { text, files: vec![file], reply_to: Some(heard.id), buttons: Vec::new() },
    );
    let (messages, _) = channel.delivered("d1");
    let shown = slack.shown();
    assert!(messages.len() == shown.len() && shown.len() > 3);
    assert!(shown.iter().all(|s| s.asked["thread_ts"] == "1600000000.000001" && !s.asked.to_string().contains("<!")));
    assert!(shown[0].asked["text"].as_str().unwrap().starts_with("&lt;!channel&gt; *hi*"));
    assert_eq!(shown.last().unwrap().file, Some(("a.txt".to_owned(), b"one".to_vec())));

    channel.deliver("d2", "C1", None, buttons_of("Shall I?", &[("Yes", "ok:1"), ("No", "no:1")]));
    let question = channel.delivered("d2").0.remove(0);
    let press = json!({"type": "block_actions", "user": {"id": "U1", "name": "ann"}, "channel": {"id": "C1"}, "message": {"ts": question},
        "actions": [{"value": "ok:1", "action_ts": "1700000099.5"}]});
    slack.happens("interactive", press);
    let pressed = channel.hear();
    assert_eq!(
        (pressed.kind, pressed.value.as_deref(), pressed.about.as_deref()),
        (HeardKind::Button, Some("ok:1"), Some(question.as_str()))
    );
    channel.deliver("d3", "C1", None, Act::Edit { message: question.clone(), text: "Done.".to_owned(), buttons: Vec::new() });
    assert_eq!(channel.delivered("d3").0, std::slice::from_ref(&question));
    let last = slack.shown().pop().unwrap().asked;
    assert_eq!((&last["text"], last["blocks"].as_array().unwrap().len()), (&Value::from("Done."), 1));
    for id in ["d4", "d5"] {
        channel.deliver(id, "C1", None, Act::React { message: question.clone(), emoji: "\u{1F44D}".to_owned() });
        assert_eq!(channel.delivered(id).0, Vec::<String>::new());
    }
    assert_eq!(slack.reactions().len(), 1);
    channel.deliver("d6", "C1", None, Act::Edit { message: "1.0".to_owned(), text: "x".to_owned(), buttons: Vec::new() });
    assert_eq!(channel.failed("d6").0, Failing::Final);
    assert_eq!(channel.open_dm("U1"), Ok("D1".to_owned()));
    assert!(channel.open_dm("U2").is_err());
}

#[test]
fn requests_are_taken_when_they_are_slacks_own() {
    use ring::hmac;
    let slack = Slack::start();
    let config = json!({"base_url": slack.web.url(), "mode": "webhook"});
    let account = Account::new(PROGRAM, "slack", &config, &[("token", Slack::TOKEN), ("signing_secret", "shared")]);
    let mut channel = ready(&account, None);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signed = |secret: &str, at: u64, body: &str| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), format!("v0:{at}:{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        (at.to_string(), format!("v0={hex}"))
    };
    let post = |channel: &mut testkit::platforms::Channel, id: &str, (at, signature): &(String, String), kind: &str, body: &str| {
        let headers = [("x-slack-request-timestamp", at.as_str()), ("x-slack-signature", signature.as_str()), ("content-type", kind)];
        channel.webhook(id, "POST", "", &headers, body.as_bytes());
    };
    let challenge = r#"{"type":"url_verification","challenge":"abc"}"#;
    post(&mut channel, "challenge", &signed("shared", now, challenge), "application/json", challenge);
    assert_eq!(channel.answer("challenge"), (200, b"abc".to_vec()));
    for (id, headers) in [
        ("old", signed("shared", now - 400, challenge)),
        ("other", signed("theirs", now, challenge)),
        ("none", (now.to_string(), String::new())),
    ] {
        post(&mut channel, id, &headers, "application/json", challenge);
        assert_eq!(channel.answer(id).0, 401, "{id}");
    }
    let event = json!({"event_id": "Ev1", "event": {"type": "message", "channel": "D1", "channel_type": "im", "user": "U1", "text": "hi", "ts": "1.5"}}).to_string();
    post(&mut channel, "event", &signed("shared", now, &event), "application/json", &event);
    let (seq, _, heard) = channel.report();
    assert_eq!(heard.text, "hi");
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::WebhookAnswer { .. })));
    channel.say(&ToChannel::Ack { seq });
    assert_eq!(channel.answer("event").0, 200);
    let press = "payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A%7B%22id%22%3A%22U1%22%7D%2C%22channel%22%3A%7B%22id%22%3A%22C1%22%7D%2C%22message%22%3A%7B%22ts%22%3A%222.0%22%7D%2C%22actions%22%3A%5B%7B%22value%22%3A%22ok%22%2C%22action_ts%22%3A%223.5%22%7D%5D%7D";
    post(&mut channel, "press", &signed("shared", now, press), "application/x-www-form-urlencoded", press);
    assert_eq!(channel.hear().value.as_deref(), Some("ok"));
    assert_eq!(channel.answer("press").0, 200);
}
