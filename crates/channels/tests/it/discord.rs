//! Discord.

use serde_json::{Value, json};
use testkit::platforms::discord::Order;
use testkit::platforms::{Account, Channel, Discord, Fault, Web, buttons_of, until};
use wire::chat::{Act, Address, Failing, Health, HeardKind, ToChannel};

use crate::contract::{self, PROGRAM, Stage, ready};

impl Stage for Discord {
    fn web(&self) -> &Web {
        &self.web
    }

    fn account(&self) -> Account {
        let config = json!({"base_url": self.web.url(), "gateway_url": self.gateway()});
        Account::new(PROGRAM, "discord", &config, &[("token", Discord::TOKEN)])
    }

    fn stranger(&self) -> Account {
        let config = json!({"base_url": self.web.url(), "gateway_url": self.gateway()});
        Account::new(PROGRAM, "discord", &config, &[("token", "stranger")])
    }

    fn chat(&self) -> String {
        "500".to_owned()
    }

    fn nowhere(&self) -> String {
        "77".to_owned()
    }

    fn sends_at(&self) -> &'static str {
        "/channels/500/messages"
    }

    fn says(&self, text: &str) -> String {
        Discord::says(self, "500", text, &json!({}))
    }

    fn shown(&self) -> Vec<String> {
        Discord::shown(self).into_iter().map(|shown| shown.asked["content"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn is_sure(&self) -> bool {
        true
    }
}

/// Says one thing and has it heard: the cursor after it.
fn greeted(discord: &Discord, channel: &mut Channel) -> String {
    Stage::says(discord, "hello");
    let (seq, cursor, _) = channel.report();
    channel.say(&ToChannel::Ack { seq });
    cursor.unwrap()
}

#[test]
fn hears_what_was_not_acknowledged_again_when_it_resumes() {
    let discord = Discord::start();
    let account = Stage::account(&discord);
    let mut channel = ready(&account, None);
    let cursor = greeted(&discord, &mut channel);
    let missed = Stage::says(&discord, "missed");
    assert_eq!(channel.report().2.id, missed);
    channel.kill();
    let later = Stage::says(&discord, "later");
    let mut channel = ready(&account, Some(&cursor));
    assert_eq!([channel.hear().id, channel.hear().id], [missed, later]);
    assert_eq!((discord.counts().1, discord.counts().2), (1, 1));
    assert_eq!(channel.stop(), Some(0));
}

#[test]
fn reads_on_where_a_session_is_gone() {
    let discord = Discord::start();
    let account = Stage::account(&discord);
    let mut channel = ready(&account, None);
    let cursor = greeted(&discord, &mut channel);
    channel.kill();
    let missed: Vec<String> = (0..150).map(|n| Stage::says(&discord, &n.to_string())).collect();
    discord.order(Order::Invalid);
    let mut channel = ready(&account, Some(&cursor));
    let heard: Vec<String> = missed.iter().map(|_| channel.hear().id).collect();
    assert_eq!(heard, missed);
    assert_eq!(discord.counts().2, 0);
}

#[test]
fn a_session_that_is_gone_before_anything_was_acknowledged_is_followed_by_another() {
    let discord = Discord::start();
    let account = Stage::account(&discord);
    ready(&account, None).kill();
    discord.order(Order::Invalid);
    let mut channel = ready(&account, None);
    let said = Stage::says(&discord, "in the second session");
    assert_eq!(channel.report().2.id, said);
    channel.kill();
    assert_eq!(ready(&account, None).hear().id, said);
    assert_eq!(discord.counts().2, 1);
}

#[test]
fn what_cannot_be_read_just_now_is_read_later() {
    let discord = Discord::start();
    let account = Stage::account(&discord);
    let mut channel = ready(&account, None);
    let cursor = greeted(&discord, &mut channel);
    channel.kill();
    let missed: Vec<String> = (0..3).map(|n| Stage::says(&discord, &n.to_string())).collect();
    discord.order(Order::Invalid);
    // The last is longer than is waited for in a connection: it is begun anew, and what was missed is asked for again.
    for fault in [Fault::Status(503), Fault::TooOften(1), Fault::Drop, Fault::TooOften(11)] {
        discord.web.fail("/messages?limit=100", fault);
    }
    let mut channel = ready(&account, Some(&cursor));
    let heard: Vec<String> = missed.iter().map(|_| channel.hear().id).collect();
    assert_eq!(heard, missed);
}

#[test]
fn delivers_once_through_kills() {
    contract::delivers_once_through_kills(&Discord::start());
}

#[test]
fn says_why_not() {
    contract::says_why_not(&Discord::start());
}

#[test]
fn says_that_a_credential_is_refused() {
    contract::says_that_a_credential_is_refused(&Discord::start());
}

#[test]
fn comes_back_from_everything_that_a_gateway_does() {
    let discord = Discord::start();
    contract::comes_back(&discord, "/users/@me");
    let account = Stage::account(&discord);
    let mut channel = ready(&account, None);
    greeted(&discord, &mut channel);
    for order in [Order::Reconnect, Order::Close(4000), Order::Close(4007), Order::Invalid] {
        discord.order(order);
        let id = Stage::says(&discord, "on");
        // What was told twice is the host's to know.
        while channel.hear().id != id {}
    }
    discord.order(Order::Close(4014));
    assert!(channel.health(Health::Credential).contains("intent"));
}

#[test]
fn a_gateway_that_answers_no_heartbeat_is_left() {
    let discord = Discord::start();
    discord.heartbeats(100, false);
    let account = Stage::account(&discord);
    let mut channel = ready(&account, None);
    assert!(channel.health(Health::Connecting).is_empty());
    assert!(channel.health(Health::Connecting).contains("heartbeat"));
    // A connection may have been left before it had a session: no heartbeat is answered until one that had is gone on with.
    until("the session is resumed", || discord.counts().2 > 0);
    discord.heartbeats(100, true);
    greeted(&discord, &mut channel);
    assert!(discord.counts().0 > 0);
}

#[test]
fn a_conversation_in_a_thread_with_all_that_there_is() {
    let discord = Discord::start();
    let account = Stage::account(&discord);
    let mut channel = ready(&account, None);
    let url = format!("{}/files/plan", discord.web.url());
    discord.holds("plan", &vec![7; 400_000]);
    let files = json!([{"id": "31", "filename": "plan.pdf", "content_type": "application/pdf", "size": 400_000, "url": url},
        {"id": "32", "filename": "x", "url": "https://evil.test/x"}]);
    discord.says("601", "<@1000> look", &json!({"mentions": [{"id": "1000"}], "attachments": files}));
    let heard = channel.hear();
    assert!(heard.mention && heard.chat.group && heard.chat.id == "600" && heard.thread.as_deref() == Some("601"));
    assert_eq!(channel.fetch(&heard.files[0].id, 1 << 20), Ok(vec![7; 400_000]));
    assert!(channel.fetch(&heard.files[0].id, 1000).is_err());
    assert!(channel.fetch(&heard.files[1].id, 1000).is_err_and(|why| why.contains("keeps none")));
    assert!(channel.fetch("601/../1", 1000).is_err());

    channel.say(&ToChannel::Typing { to: Address { chat: "600".to_owned(), thread: Some("601".to_owned()) }, on: true });
    let files = [channel.file("a", "a.txt", "text/plain", b"one"), channel.file("b", "b.txt", "text/plain", b"two")];
    let text = format!("@everyone {}", "word ".repeat(500));
    channel.deliver(
        "d1",
        "600",
        Some("601"),
        Act::Send { text, files: files.to_vec(), reply_to: Some(heard.id.clone()), buttons: Vec::new() },
    );
    let (messages, _) = channel.delivered("d1");
    let shown = discord.shown();
    assert_eq!(messages, shown.iter().map(|s| s.id.clone()).collect::<Vec<_>>());
    assert!(shown.len() == 3 && shown.iter().all(|s| s.channel == "601" && s.asked["allowed_mentions"]["parse"] == json!([])));
    assert_eq!(shown[0].asked["message_reference"]["message_id"], heard.id.as_str());
    assert_eq!(shown[2].files, [("a.txt".to_owned(), b"one".to_vec()), ("b.txt".to_owned(), b"two".to_vec())]);

    channel.deliver("d2", "600", None, buttons_of("Shall I?", &[("Yes", "ok:1"), ("No", "no:1")]));
    let question = channel.delivered("d2").0.remove(0);
    let press = json!({"id": "41", "token": "tok", "type": 3, "channel_id": "600", "guild_id": "700", "member": {"user": {"id": "9", "username": "ann"}},
        "message": {"id": question}, "data": {"custom_id": "ok:1"}});
    discord.happens("INTERACTION_CREATE", press);
    let pressed = channel.hear();
    assert_eq!(
        (pressed.kind, pressed.value.as_deref(), pressed.about.as_deref()),
        (HeardKind::Button, Some("ok:1"), Some(question.as_str()))
    );
    channel.deliver("d3", "600", None, Act::Edit { message: question.clone(), text: "Done.".to_owned(), buttons: Vec::new() });
    assert_eq!(channel.delivered("d3").0, std::slice::from_ref(&question));
    let last = discord.shown().pop().unwrap().asked;
    assert_eq!((&last["content"], &last["components"]), (&Value::from("Done."), &json!([])));
    channel.deliver("d4", "600", None, Act::React { message: question.clone(), emoji: "\u{1F44D}".to_owned() });
    assert_eq!(channel.delivered("d4").0, Vec::<String>::new());
    channel.deliver("d5", "600", None, Act::React { message: "../1".to_owned(), emoji: "x".to_owned() });
    assert_eq!(channel.failed("d5").0, Failing::Final);
    assert_eq!(discord.done().0.len(), 1);
    until("the press is answered, and it was seen writing", || {
        let (_, answered, typing) = discord.done();
        answered == ["41"] && typing == 1
    });
    assert_eq!(channel.open_dm("9"), Ok("500".to_owned()));
    assert!(channel.open_dm("10").is_err() && channel.open_dm("@me").is_err());
}
