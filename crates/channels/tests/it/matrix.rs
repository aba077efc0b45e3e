//! Matrix, on a real homeserver.

use std::cell::Cell;

use serde_json::{Value, json};
use testkit::platforms::{Account, Matrix, Web};
use wire::chat::{Act, Address, HeardKind, ToChannel};

use crate::contract::{self, PROGRAM, Stage, ready};

/// A room of the account's and Ann's.
struct Room<'a> {
    matrix: &'a Matrix,
    bot: (String, String),
    ann: (String, String),
    room: String,
    said: Cell<u32>,
}

impl<'a> Room<'a> {
    fn new(matrix: &'a Matrix, name: &str, others: &[&str]) -> Self {
        let (bot, ann) = (matrix.user(&format!("bot-{name}")), matrix.user(&format!("ann-{name}")));
        let made = matrix.call("POST", "/_matrix/client/v3/createRoom", &ann.1, &json!({"preset": "private_chat", "invite": [bot.0]}));
        let room = made["room_id"].as_str().unwrap().to_owned();
        let join = format!("/_matrix/client/v3/rooms/{}/join", escape(&room));
        let _ = matrix.call("POST", &join, &bot.1, &json!({}));
        for other in others {
            let other = matrix.user(other);
            let _ =
                matrix.call("POST", &format!("/_matrix/client/v3/rooms/{}/invite", escape(&room)), &ann.1, &json!({"user_id": other.0}));
            let _ = matrix.call("POST", &join, &other.1, &json!({}));
        }
        Self { matrix, bot, ann, room, said: Cell::new(0) }
    }

    fn sends(&self, kind: &str, content: &Value) -> String {
        self.said.set(self.said.get() + 1);
        let path = format!("/_matrix/client/v3/rooms/{}/send/{kind}/t{}", escape(&self.room), self.said.get());
        self.matrix.call("PUT", &path, &self.ann.1, content)["event_id"].as_str().unwrap().to_owned()
    }

    /// Events of the account's, the oldest first.
    fn made(&self) -> Vec<Value> {
        let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=200", escape(&self.room));
        let found = self.matrix.call("GET", &path, &self.ann.1, &Value::Null);
        let all = found["chunk"].as_array().unwrap().iter().filter(|e| e["sender"] == self.bot.0.as_str() && e["state_key"].is_null());
        let mut all: Vec<Value> = all.cloned().collect();
        all.reverse();
        all
    }
}

fn escape(text: &str) -> String {
    text.replace('!', "%21").replace(':', "%3A").replace('$', "%24").replace('@', "%40")
}

impl Stage for Room<'_> {
    fn web(&self) -> &Web {
        &self.matrix.web
    }

    fn account(&self) -> Account {
        let account = Account::new(PROGRAM, "matrix", &json!({"base_url": self.matrix.web.url(), "wait_s": 20}), &[("token", &self.bot.1)]);
        // Listening begins with what is said after its first start.
        let mut channel = ready(&account, None);
        let _ = channel.rest();
        account
    }

    fn stranger(&self) -> Account {
        Account::new(PROGRAM, "matrix", &json!({"base_url": self.matrix.web.url()}), &[("token", "stranger")])
    }

    fn chat(&self) -> String {
        self.room.clone()
    }

    fn nowhere(&self) -> String {
        "!nowhere:home.test".to_owned()
    }

    fn sends_at(&self) -> &'static str {
        "/send/m.room.message/"
    }

    fn says(&self, text: &str) -> String {
        self.sends("m.room.message", &json!({"msgtype": "m.text", "body": text}))
    }

    fn shown(&self) -> Vec<String> {
        self.made().into_iter().map(|event| event["content"]["body"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn is_sure(&self) -> bool {
        true
    }
}

#[test]
fn everything_on_one_homeserver() {
    let matrix = Matrix::start();
    contract::hears_until_acknowledged(&Room::new(&matrix, "hears", &[]));
    contract::delivers_once_through_kills(&Room::new(&matrix, "kills", &[]));
    contract::says_why_not(&Room::new(&matrix, "why", &[]));
    contract::says_that_a_credential_is_refused(&Room::new(&matrix, "refused", &[]));
    contract::comes_back(&Room::new(&matrix, "storm", &[]), "/sync");
    reads_what_a_sync_left_out(&Room::new(&matrix, "gap", &[]));
    talks_in_a_thread(&Room::new(&matrix, "thread", &["carl"]));
    goes_where_it_is_invited(&matrix);
}

fn reads_what_a_sync_left_out(room: &Room) {
    let account = room.account();
    let mut channel = ready(&account, None);
    room.says("hello");
    let (seq, cursor, _) = channel.report();
    channel.say(&ToChannel::Ack { seq });
    channel.kill();
    let ids: Vec<String> = (0..150).map(|n| room.says(&n.to_string())).collect();
    let mut channel = ready(&account, cursor.as_deref());
    let heard: Vec<String> = ids.iter().map(|_| channel.hear().id).collect();
    assert_eq!(heard, ids);
}

fn talks_in_a_thread(room: &Room) {
    let account = room.account();
    let mut channel = ready(&account, None);
    let root = room.says("the root");
    let heard = channel.hear();
    assert!(heard.chat.group && !heard.mention && heard.sender.id == room.ann.0);
    let relates = json!({"rel_type": "m.thread", "event_id": root, "is_falling_back": false, "m.in_reply_to": {"event_id": root}});
    let said = room.sends(
        "m.room.message",
        &json!({"msgtype": "m.text", "body": "look", "m.mentions": {"user_ids": [room.bot.0]}, "m.relates_to": relates}),
    );
    let heard = channel.hear();
    assert!(heard.mention && heard.thread.as_deref() == Some(root.as_str()) && heard.id == said);
    assert!(heard.quoted.is_some_and(|q| q.text == "the root" && q.sender.is_some_and(|s| s.id == room.ann.0) && !q.forwarded));

    channel.say(&ToChannel::Typing { to: Address { chat: room.room.clone(), thread: None }, on: true });
    let file = channel.file("f", "../a b.txt", "text/plain", &vec![b'x'; 300_000]);
    let text = "**hi** <script>".to_owned();
    channel.deliver(
        "d1",
        &room.room,
        Some(&root),
        Act::Send { text, files: vec![file], reply_to: Some(said.clone()), buttons: Vec::new() },
    );
    let (messages, _) = channel.delivered("d1");
    let made = room.made();
    assert_eq!(messages, made.iter().map(|e| e["event_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
    let content = &made[0]["content"];
    assert_eq!(content["formatted_body"], "<strong>hi</strong> &lt;script&gt;");
    assert_eq!((&content["m.relates_to"]["event_id"], &content["m.relates_to"]["m.in_reply_to"]["event_id"]), (&json!(root), &json!(said)));
    let file = &made[1]["content"];
    assert_eq!((&file["msgtype"], &file["body"], &file["m.relates_to"]["event_id"]), (&json!("m.file"), &json!("a b.txt"), &json!(root)));
    // The file comes back as it went.
    let uri = file["url"].as_str().unwrap();
    assert_eq!(channel.fetch(uri, 1 << 20), Ok(vec![b'x'; 300_000]));
    assert!(
        channel.fetch(uri, 1000).is_err() && channel.fetch("mxc://home.test/../x", 10).is_err() && channel.fetch("https://x", 10).is_err()
    );
    room.sends("m.room.message", &json!({"msgtype": "m.image", "body": "p.png", "url": uri, "info": {"mimetype": "image/png"}}));
    let heard = channel.hear();
    assert_eq!((heard.text.as_str(), heard.files[0].id.as_str(), heard.files[0].name.as_str()), ("", uri, "p.png"));

    channel.deliver("d2", &room.room, None, Act::Edit { message: messages[0].clone(), text: "done".to_owned(), buttons: Vec::new() });
    assert_eq!(channel.delivered("d2").0, [messages[0].clone()]);
    channel.deliver("d3", &room.room, None, Act::React { message: said.clone(), emoji: "\u{1F44D}".to_owned() });
    assert_eq!(channel.delivered("d3").0, Vec::<String>::new());
    let made = room.made();
    assert!(made.iter().any(|e| e["type"] == "m.room.message" && e["content"]["m.new_content"]["body"] == "done"));
    assert!(made.iter().any(|e| e["type"] == "m.reaction" && e["content"]["m.relates_to"]["event_id"] == said.as_str()));
    let new = json!({"msgtype": "m.text", "body": "looked"});
    let replace = json!({"rel_type": "m.replace", "event_id": said});
    room.sends("m.room.message", &json!({"msgtype": "m.text", "body": "* looked", "m.new_content": new, "m.relates_to": replace}));
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.text.as_str(), heard.about.as_deref()), (HeardKind::Edit, "looked", Some(said.as_str())));
    room.sends("m.reaction", &json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": messages[0], "key": "x"}}));
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.value.as_deref(), heard.about), (HeardKind::Reaction, Some("x"), Some(messages[0].clone())));
}

fn goes_where_it_is_invited(matrix: &Matrix) {
    let (bot, ann) = (matrix.user("guest"), matrix.user("host"));
    let account = Account::new(PROGRAM, "matrix", &json!({"base_url": matrix.web.url(), "wait_s": 20}), &[("token", &bot.1)]);
    let mut channel = ready(&account, None);
    let invite = json!({"preset": "private_chat", "invite": [bot.0]});
    let room = matrix.call("POST", "/_matrix/client/v3/createRoom", &ann.1, &invite)["room_id"].as_str().unwrap().to_owned();
    let heard = channel.hear();
    assert_eq!((heard.kind, heard.chat.id), (HeardKind::Joined, room));
    let made = channel.open_dm(&ann.0).unwrap();
    assert_eq!(channel.open_dm(&ann.0), Ok(made));
    assert!(channel.open_dm("ann").is_err());
}
