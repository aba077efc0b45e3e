//! Signal by a signal-cli daemon.

use serde_json::{Value, json};
use testkit::platforms::signal::{Failure, ME, NUMBER, Signal};
use testkit::platforms::{Account, text_of};
use wire::chat::{Act, Failing, Health, HeardKind};

use crate::PROGRAM;

fn account(platform: &Signal) -> Account {
    Account::new(PROGRAM, "signal", &platform.config(), &[])
}

fn texts(platform: &Signal) -> Vec<String> {
    platform.sent().iter().map(|sent| sent["message"].as_str().unwrap_or_default().to_owned()).collect()
}

fn envelope(data: &Value) -> Value {
    json!({"source": "+15550002", "sourceNumber": "+15550002", "sourceUuid": "ann-uuid", "sourceName": "Ann", "timestamp": 5, "dataMessage": data})
}

#[test]
fn hears_and_is_heard_and_connects_again() {
    let platform = Signal::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    assert_eq!(channel.ready(), ME);
    platform.receive(&envelope(
        &json!({"timestamp": 5, "message": "hi", "attachments": [{"id": "f.png", "contentType": "image/png", "size": 10}]}),
    ));
    let heard = channel.hear();
    assert_eq!((heard.text.as_str(), heard.chat.id.as_str(), heard.id.as_str()), ("hi", "ann-uuid", "5:ann-uuid"));
    assert_eq!(channel.fetch(&heard.files[0].id, 100).unwrap(), b"attachment");
    assert!(channel.fetch("none ann-uuid", 100).is_err() && channel.fetch("f.png", 100).is_err());
    platform.receive(&envelope(&json!({"timestamp": 6, "message": "all", "groupInfo": {"groupId": "g+/="}})));
    let heard = channel.hear();
    let files = vec![channel.file("1", "a;b.txt", "text/plain", b"file")];
    channel.deliver(
        "d1",
        &heard.chat.id,
        None,
        Act::Send { text: "**see**".to_owned(), files, reply_to: Some(heard.id.clone()), buttons: Vec::new() },
    );
    let message = channel.delivered("d1").0.remove(0);
    let sent = platform.sent().remove(0);
    assert_eq!(
        (&sent["groupId"], &sent["quoteTimestamp"], &sent["quoteAuthor"], &sent["message"]),
        (&json!("g+/="), &json!(6), &json!("ann-uuid"), &json!("see"))
    );
    assert_eq!(sent["attachments"][0], "data:text/plain;filename=a_b.txt;base64,ZmlsZQ==");
    channel.deliver("e1", "ann-uuid", None, Act::Edit { message: message.clone(), text: "new".to_owned(), buttons: Vec::new() });
    channel.delivered("e1");
    assert_eq!(platform.sent()[1]["editTimestamp"].to_string(), message.split(':').next().unwrap());
    channel.deliver("r1", "ann-uuid", None, Act::React { message: "5:ann-uuid".to_owned(), emoji: "👍".to_owned() });
    channel.delivered("r1");
    assert_eq!((&platform.sent()[2]["targetAuthor"], &platform.sent()[2]["targetTimestamp"]), (&json!("ann-uuid"), &json!(5)));
    platform.disconnect();
    channel.health(Health::Connecting);
    channel.health(Health::Connecting);
    platform.receive(&envelope(&json!({"timestamp": 9, "reaction": {"emoji": "❤️", "targetAuthorUuid": ME, "targetSentTimestamp": 7}})));
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.value.as_deref()), (HeardKind::Reaction, Some("❤️")));
    assert_eq!(channel.open_dm("+15550002"), Ok("ann-uuid".to_owned()));
    assert!(channel.open_dm("+10000000").is_err());
}

#[test]
fn nothing_is_sent_twice_without_a_word() {
    let platform = Signal::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    for (n, (failure, expect)) in
        [(Failure::Code(-5), Failing::Rate), (Failure::Code(-1), Failing::Final), (Failure::Unregistered, Failing::Final)]
            .into_iter()
            .enumerate()
    {
        platform.fail(failure);
        let id = format!("f{n}");
        channel.deliver(&id, "ann-uuid", None, text_of("one"));
        assert_eq!(channel.failed(&id).0, expect, "{failure:?}");
    }
    assert_eq!(texts(&platform).len(), 0);
    platform.fail(Failure::DropAfter);
    channel.deliver("d1", "ann-uuid", None, text_of("two"));
    assert_eq!(channel.failed("d1").0, Failing::Unknown);
    channel.health(Health::Connecting);
    channel.kill();
    let mut channel = account.start(None);
    channel.ready();
    channel.deliver("d1", "ann-uuid", None, text_of("two"));
    let (messages, again) = channel.delivered("d1");
    assert!(!again);
    channel.deliver("d1", "ann-uuid", None, text_of("two"));
    assert_eq!(channel.delivered("d1"), (messages, true));
    assert_eq!(texts(&platform), ["two", "(possibly sent twice)\ntwo"]);
    channel.kill();
    let mut channel = account.start_and_die(None, Some("channel:noted"));
    channel.ready();
    channel.deliver("d2", "ann-uuid", None, text_of("three"));
    channel.ends();
    let mut channel = account.start(None);
    channel.deliver("d2", "ann-uuid", None, text_of("three"));
    assert!(channel.delivered("d2").1);
    assert_eq!(texts(&platform).len(), 3);
}

#[test]
fn a_daemon_that_does_not_know_the_account_is_said() {
    let platform = Signal::start();
    let mut config = platform.config();
    config["account"] = json!("+15559999");
    let account = Account::new(PROGRAM, "signal", &config, &[]);
    let mut channel = account.start(None);
    assert!(channel.health(Health::Credential).contains("does not know"));
    assert_ne!(NUMBER, "+15559999");
}

#[test]
fn what_the_daemon_handed_over_is_not_lost_with_the_process() {
    let platform = Signal::start();
    let account = account(&platform);
    let mut channel = account.start(None);
    channel.ready();
    for n in 1..=3 {
        platform.receive(&envelope(&json!({"timestamp": n, "message": format!("hello {n}")})));
    }
    assert_eq!(channel.report().2.text, "hello 1");
    assert_eq!(channel.report().2.text, "hello 2");
    assert_eq!(channel.report().2.text, "hello 3");
    channel.kill();
    // The daemon has none of them any more.
    let mut channel = account.start(None);
    let ids: Vec<String> = (0..3).map(|_| channel.hear().id).collect();
    assert_eq!(ids, ["1:ann-uuid", "2:ann-uuid", "3:ann-uuid"]);
    channel.ready();
    platform.receive(&envelope(&json!({"timestamp": 4, "message": "new"})));
    assert_eq!(channel.hear().text, "new");
}
