//! Telegram.

use serde_json::json;
use testkit::platforms::{Account, Telegram, Web, buttons_of, until};
use wire::chat::{Act, Address, Failing, HeardKind, ToChannel};

use crate::contract::{self, PROGRAM, Stage, ready};

impl Stage for Telegram {
    fn web(&self) -> &Web {
        &self.web
    }

    fn account(&self) -> Account {
        Account::new(PROGRAM, "telegram", &json!({"base_url": self.web.url(), "poll_s": 20}), &[("token", Telegram::TOKEN)])
    }

    fn stranger(&self) -> Account {
        Account::new(PROGRAM, "telegram", &json!({"base_url": self.web.url()}), &[("token", "1:stranger")])
    }

    fn chat(&self) -> String {
        "9".to_owned()
    }

    fn nowhere(&self) -> String {
        "77".to_owned()
    }

    fn sends_at(&self) -> &'static str {
        "/sendMessage"
    }

    fn says(&self, text: &str) -> String {
        Telegram::says(self, 9, text, &json!({})).to_string()
    }

    fn shown(&self) -> Vec<String> {
        Telegram::shown(self).into_iter().map(|shown| shown.text).collect()
    }

    fn is_sure(&self) -> bool {
        false
    }
}

#[test]
fn hears_until_acknowledged() {
    contract::hears_until_acknowledged(&Telegram::start());
}

#[test]
fn delivers_once_through_kills() {
    contract::delivers_once_through_kills(&Telegram::start());
}

#[test]
fn says_why_not() {
    contract::says_why_not(&Telegram::start());
}

#[test]
fn says_that_a_credential_is_refused() {
    contract::says_that_a_credential_is_refused(&Telegram::start());
}

#[test]
fn comes_back() {
    contract::comes_back(&Telegram::start(), "/getUpdates");
}

#[test]
fn an_update_is_confirmed_only_when_the_host_has_it() {
    let telegram = Telegram::start();
    let account = Stage::account(&telegram);
    // Said before anybody asks, so that one answer brings all of them.
    let ids = [0, 1, 2].map(|n| Stage::says(&telegram, &n.to_string()));
    let mut channel = ready(&account, None);
    let mut last = 0;
    for id in &ids {
        let (seq, cursor, heard) = channel.report();
        assert_eq!(&heard.id, id);
        assert_eq!(cursor.as_deref(), Some((seq + 1).to_string().as_str()));
        last = seq;
    }
    assert_eq!(telegram.unconfirmed(), 3);
    channel.say(&ToChannel::Ack { seq: last });
    Stage::says(&telegram, "after");
    // Not acknowledged: only the three before it are confirmed.
    assert_eq!(channel.report().2.text, "after");
    assert_eq!(telegram.unconfirmed(), 1);
}

#[test]
fn updates_that_come_twice_and_in_disorder_are_all_reported() {
    let telegram = Telegram::start();
    telegram.is_unruly();
    let account = Stage::account(&telegram);
    for n in 0..5 {
        Stage::says(&telegram, &n.to_string());
    }
    let mut channel = ready(&account, None);
    let mut heard: Vec<String> = (0..10).map(|_| channel.hear().text).collect();
    heard.sort();
    heard.dedup();
    assert_eq!(heard, ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_conversation_in_a_topic_with_all_that_there_is() {
    let telegram = Telegram::start();
    let account = Stage::account(&telegram);
    let mut channel = ready(&account, None);
    let topic = json!({"is_topic_message": true, "message_thread_id": 30, "entities": [{"type": "mention", "offset": 0, "length": 12}],
        "document": {"file_id": "doc1", "file_name": "plan.pdf", "mime_type": "application/pdf", "file_size": 700_000}});
    telegram.holds("doc1", &vec![7; 700_000]);
    telegram.says(-5, "@harbour_bot look", &topic);
    let heard = channel.hear();
    assert!(heard.mention && heard.chat.group && heard.thread.as_deref() == Some("30") && heard.sender.id == "9");
    assert_eq!(channel.fetch(&heard.files[0].id, 1 << 20), Ok(vec![7; 700_000]));
    assert!(channel.fetch(&heard.files[0].id, 699_999).is_err());
    assert!(channel.fetch("../../getMe", 10).is_err());

    channel.say(&ToChannel::Typing { to: Address { chat: "-5".to_owned(), thread: Some("30".to_owned()) }, on: true });
    let file = channel.file("f1", "../résumé.txt", "text/plain", &vec![b'x'; 600_000]);
    let picture = channel.file("f2", "p.png", "image/png", b"tiny");
    let text = format!("**Look** at <b> & `this`\n{}", "\u{1F6A2}".repeat(2500));
    let send = Act::Send { text, files: vec![file, picture], reply_to: Some(heard.id), buttons: Vec::new() };
    channel.deliver("d1", "-5", Some("30"), send);
    let (messages, _) = channel.delivered("d1");
    let shown = telegram.shown();
    assert_eq!(messages, shown.iter().map(|s| s.id.to_string()).collect::<Vec<_>>());
    assert_eq!(shown.len(), 4, "two pieces and two files");
    assert!(shown[0].text.starts_with("<b>Look</b> at &lt;b&gt; &amp; <code>this</code>"));
    assert_eq!((&shown[0].asked["message_thread_id"], &shown[0].asked["reply_parameters"]["message_id"]), (&json!(30), &json!(1)));
    assert!(shown[1].asked["reply_parameters"].is_null());
    assert_eq!(shown[2].file, Some(("résumé.txt".to_owned(), vec![b'x'; 600_000])));
    assert_eq!((shown[2].asked["message_thread_id"].as_str(), shown[3].file.as_ref().map(|f| f.0.as_str())), (Some("30"), Some("p.png")));
    until("it was seen writing", || telegram.typing() == 1);

    channel.deliver("d2", "-5", None, buttons_of("Shall I?", &[("Yes", "ok:1"), ("No", "no:1")]));
    let question = channel.delivered("d2").0.remove(0);
    let message = json!({"message_id": question.parse::<i64>().unwrap(), "chat": {"id": -5, "type": "supergroup", "title": "Quay"}});
    let press = json!({"id": "q1", "from": {"id": 9, "is_bot": false, "first_name": "Ann"}, "data": "ok:1", "message": message});
    telegram.happens("callback_query", press);
    let pressed = channel.hear();
    assert_eq!(
        (pressed.kind, pressed.value.as_deref(), pressed.about.as_deref()),
        (HeardKind::Button, Some("ok:1"), Some(question.as_str()))
    );
    for _ in 0..2 {
        channel.deliver("d3", "-5", None, Act::Edit { message: question.clone(), text: "Done.".to_owned(), buttons: Vec::new() });
        assert_eq!(channel.delivered("d3").0, std::slice::from_ref(&question));
    }
    // The same text under another delivery is no failure either.
    channel.deliver("d4", "-5", None, Act::Edit { message: question.clone(), text: "Done.".to_owned(), buttons: Vec::new() });
    assert_eq!(channel.delivered("d4").0, std::slice::from_ref(&question));
    until("the button stops to turn", || telegram.answered() == ["q1"]);
    channel.deliver("d5", "-5", None, Act::React { message: question.clone(), emoji: "\u{1F44D}".to_owned() });
    assert_eq!(channel.delivered("d5").0, Vec::<String>::new());
    assert_eq!(telegram.reactions(), [(question.parse().unwrap(), "\u{1F44D}".to_owned())]);
    channel.deliver("d6", "-5", None, Act::React { message: question, emoji: "nonsense".to_owned() });
    assert_eq!(channel.failed("d6").0, Failing::Final);
    assert_eq!(channel.open_dm("9"), Ok("9".to_owned()));
    assert!(channel.open_dm("-5").is_err() && channel.open_dm("1000").is_err());
}

#[test]
fn a_webhook_is_answered_when_the_host_has_it() {
    let telegram = Telegram::start();
    let config = json!({"base_url": telegram.web.url(), "mode": "webhook", "webhook_url": "https://hooks.example.org/t"});
    let account = Account::new(PROGRAM, "telegram", &config, &[("token", Telegram::TOKEN), ("webhook_secret", "hook-secret")]);
    let mut channel = ready(&account, None);
    assert_eq!(telegram.webhook().unwrap()["secret_token"], "hook-secret");
    let body = json!({"update_id": 5, "message": {"message_id": 1, "date": 1, "text": "hi", "chat": {"id": 9, "type": "private"},
        "from": {"id": 9, "is_bot": false, "first_name": "Ann"}}});
    let body = body.to_string();
    let header = "x-telegram-bot-api-secret-token";
    for (n, headers) in
        [vec![], vec![(header, "")], vec![(header, "hook-secreT")], vec![(header, "hook-secret"), (header, "x")]].iter().enumerate()
    {
        channel.webhook(&n.to_string(), "POST", "", headers, body.as_bytes());
        assert_eq!(channel.answer(&n.to_string()).0, 401);
    }
    channel.webhook("bad", "POST", "", &[(header, "hook-secret")], b"{");
    assert_eq!(channel.answer("bad").0, 400);
    channel.webhook("good", "POST", "", &[(header, "hook-secret")], body.as_bytes());
    let (seq, _, heard) = channel.report();
    assert_eq!(heard.text, "hi");
    assert!(!channel.rest().iter().any(|line| matches!(line, wire::chat::FromChannel::WebhookAnswer { .. })));
    channel.say(&ToChannel::Ack { seq });
    assert_eq!(channel.answer("good").0, 200);
}
