//! A daemon that dies over what is said on a chat network: each message is asked once, each answer is seen once, and what was asked for by
//! a command is there or can be asked for again.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::channel::{Effect, LabNetwork, TOKEN};
use testkit::client::{Connection, Reply};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::marks;
use crate::scene::PATIENCE;
use crate::support::Lab;

#[path = "agent_tools.rs"]
pub(crate) mod agent_tools;

macro_rules! points {
    ($($test:ident: $point:literal, $scene:ident;)*) => {
        /// Every point that is tried here.
        pub(crate) const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { $scene($point); })*
    };
}

points! {
    channel_ready: "channel:ready", asked;
    channel_session_made: "channel:session-made", asked;
    channel_noted: "channel:noted", asked;
    channel_heard: "channel:heard", asked;
    out_claimed: "out:claimed", asked;
    out_answered: "out:answered", asked;
    out_settled: "out:settled", asked;
    store_channel_ready_before: "store.channel-ready.before", asked;
    store_channel_ready_after: "store.channel-ready.after", asked;
    store_channel_cursor_before: "store.channel-cursor.before", asked;
    store_channel_cursor_after: "store.channel-cursor.after", asked;
    store_chat_session_before: "store.chat-session.before", asked;
    store_chat_session_after: "store.chat-session.after", asked;
    store_inbound_hear_before: "store.inbound-hear.before", asked;
    store_inbound_hear_after: "store.inbound-hear.after", asked;
    store_outbox_claim_before_of_a_connection: "store.outbox-claim.before", asked;
    store_outbox_claim_after_of_a_connection: "store.outbox-claim.after", asked;
    store_outbox_claim_before: "store.outbox-claim.before@2", asked;
    store_outbox_claim_after: "store.outbox-claim.after@2", asked;
    store_outbox_tried_before: "store.outbox-tried.before", asked;
    store_outbox_tried_after: "store.outbox-tried.after", asked;
    channel_files_brought: "channel:files-brought", with_a_file;
    channel_noted_with_a_file: "channel:noted", with_a_file;
    out_settled_of_a_refusal: "out:settled", refused;
    store_outbox_tried_before_of_a_refusal: "store.outbox-tried.before", refused;
    store_outbox_tried_after_of_a_refusal: "store.outbox-tried.after", refused;
    out_claimed_again: "out:claimed@2", refused;
    channel_noted_of_a_pairing: "channel:noted", paired;
    store_inbound_hear_before_of_a_pairing: "store.inbound-hear.before", paired;
    store_inbound_hear_after_of_a_pairing: "store.inbound-hear.after", paired;
    store_pairing_before: "store.pairing.before", paired;
    store_pairing_after: "store.pairing.after", paired;
    channel_noted_of_a_stranger: "channel:noted", admitted;
    store_inbound_hear_after_of_a_stranger: "store.inbound-hear.after", admitted;
    out_owed_to_who_lets_in: "out:owed", admitted;
    channel_admitted: "channel:admitted", admitted;
    channel_replayed: "channel:replayed", admitted;
    host_done_with_a_stranger: "host:done", admitted;
    store_admission_before: "store.admission.before", admitted;
    store_admission_after: "store.admission.after", admitted;
    store_inbound_close_before_of_a_stranger: "store.inbound-close.before", admitted;
    store_inbound_close_after_of_a_stranger: "store.inbound-close.after", admitted;
    host_done: "host:done", undone;
    host_undo_noted: "host:undo-noted", undone;
    store_inbound_close_before_of_a_note: "store.inbound-close.before", undone;
    store_inbound_close_after_of_a_note: "store.inbound-close.after", undone;
    store_inbound_close_before: "store.inbound-close.before@2", undone;
    store_inbound_close_after: "store.inbound-close.after@2", undone;
    card_shown: "card:shown", confirmed;
    out_owed: "out:owed", confirmed;
    store_outbox_put_before: "store.outbox-put.before", confirmed;
    store_outbox_put_after: "store.outbox-put.after", confirmed;
    store_outbox_put_before_by_hand: "store.outbox-put.before", sent_by_hand;
    store_outbox_put_after_by_hand: "store.outbox-put.after", sent_by_hand;
    channel_added: "channel:added", added;
    store_channel_put_before: "store.channel-put.before", added;
    store_channel_put_after: "store.channel-put.after", added;
    channel_removed: "channel:removed", removed;
    store_channel_remove_before: "store.channel-remove.before", removed;
    store_channel_remove_after: "store.channel-remove.after", removed;
    store_chat_put_before: "store.chat-put.before", placed;
    store_chat_put_after: "store.chat-put.after", placed;
    store_wiring_put_before: "store.wiring-put.before", placed;
    store_wiring_put_after: "store.wiring-put.after", placed;
    store_wiring_remove_before: "store.wiring-remove.before", placed;
    store_wiring_remove_after: "store.wiring-remove.after", placed;
    store_destination_put_before: "store.destination-put.before", placed;
    store_destination_put_after: "store.destination-put.after", placed;
    store_destination_remove_before: "store.destination-remove.before", placed;
    store_destination_remove_after: "store.destination-remove.after", placed;
    store_people_change_before: "store.people-change.before", placed;
    store_people_change_after: "store.people-change.after", placed;
    store_chat_forget_before: "store.chat-forget.before", forgotten;
    store_chat_forget_after: "store.chat-forget.after", forgotten;
}

/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);

/// A home with the network, and the daemon that dies there.
struct Place {
    point: String,
    lab: Lab,
    _server: ModelServer,
    network: LabNetwork,
    /// The daemon that is to die, until it did.
    first: Option<Child>,
}

fn rule(contains: &str, say: Say) -> Rule {
    Rule { contains: contains.to_owned(), say: vec![say] }
}

impl Place {
    /// A home with the network's program and no daemon.
    fn new(point: &str) -> Self {
        let lab = Lab::new();
        marks::install(&lab);
        let mark =
            Rule { contains: "mark one".to_owned(), say: vec![Say::Shell(marks::command("one")), Say::Text("it is over".to_owned())] };
        let rules = vec![rule("hello there", Say::Text("hello back".to_owned())), mark];
        let server = lab.model(Script { rules, ..Script::default() });
        for (key, value) in [
            ("providers.anthropic.base_url", server.url().as_str()),
            ("providers.anthropic.keyless", "true"),
            ("engine", "mini"),
            ("egress.private_ok", "[\"127.0.0.1\"]"),
        ] {
            lab.run(&["config", "set", key, value]).succeeds();
        }
        let network = LabNetwork::start().expect("a network");
        LabNetwork::install(&lab.home()).expect("the program");
        Self { point: point.to_owned(), lab, _server: server, network, first: None }
    }

    /// The same with an account, and `ann` who owns it, reached at `d-ann`.
    fn joined(point: &str) -> Self {
        let mut place = Self::new(point);
        place.start();
        place.call("POST", "/v1/channels", &place.account(), &[]);
        place.pair("ann");
        place
    }

    fn account(&self) -> Value {
        json!({ "name": "lab", "network": "lab", "program": "lab", "config": { "base_url": self.network.base_url() },
            "credentials": { "token": TOKEN } })
    }

    fn start(&self) {
        self.lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    }

    /// From here on the daemon is one that dies at the point.
    fn dies(&mut self) {
        self.lab.run(&["stop", "--grace", "0s"]).succeeds();
        let mut command = self.lab.command(&["up", "--listen", "127.0.0.1:0"]);
        let child = command.env("LAZARET_CRASH_AT", &self.point).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("up");
        self.first = Some(child);
    }

    /// Starts the next daemon once the first one is dead.
    fn look(&mut self) {
        let Some(first) = &mut self.first else { return };
        let Some(status) = first.try_wait().expect("wait") else { return };
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{}: it was to be killed, and ended with {status}", self.point);
        self.first = None;
        self.start();
    }

    /// Looks until it is so, over the daemon's death.
    #[track_caller]
    fn until<T>(&mut self, mut is_so: impl FnMut(&Self) -> Result<T, String>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            match is_so(self) {
                Ok(found) => return found,
                Err(why) => assert!(Instant::now() < end, "{}: {why}", self.point),
            }
            self.look();
            std::thread::sleep(STEP);
        }
    }

    /// Waits until the first daemon is dead and the next one is there.
    #[track_caller]
    fn is_dead(&mut self) {
        self.until(|place| if place.first.is_none() { Ok(()) } else { Err("it does not come to the point".to_owned()) });
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Reply> {
        let socket = self.lab.home().join("run").join(api::OWNER_SOCKET);
        Connection::open(&socket, PATIENCE)?.ask(method, path, &[], Some(body).filter(|body| !body.is_null()))
    }

    /// Asks until there is an answer: a good one, or one that says that it was done before.
    #[track_caller]
    fn call(&mut self, method: &str, path: &str, body: &Value, done: &[u16]) -> Value {
        let reply = self.until(|place| place.ask(method, path, body).map_err(|error| format!("{path}: {error}")));
        let is_good = (200..300).contains(&reply.status) || done.contains(&reply.status);
        assert!(is_good, "{}: {path}: {} {}", self.point, reply.status, reply.json());
        reply.json()
    }

    #[track_caller]
    fn items(&mut self, path: &str) -> Vec<Value> {
        self.call("GET", path, &Value::Null, &[])["items"].as_array().expect("items").clone()
    }

    fn say(&self, id: &str, sender: &str, text: &str) {
        self.network.say(said(id, sender, text));
    }

    fn press(&self, id: &str, sender: &str, value: &str) {
        let mut heard = said(id, sender, "");
        heard["kind"] = json!("button");
        heard["value"] = json!(value);
        self.network.say(heard);
    }

    /// What was seen by somebody that has these words; not what an earlier message was changed to.
    fn seen(&self, whom: &str, words: &str) -> Vec<Effect> {
        let chat = format!("d-{whom}");
        let has = |effect: &Effect| effect.act["text"].as_str().is_some_and(|text| text.contains(words));
        let is_it = |effect: &Effect| effect.act["do"] != "edit" && effect.chat == chat && has(effect);
        self.network.effects().into_iter().filter(is_it).collect()
    }

    #[track_caller]
    fn sees(&mut self, whom: &str, words: &str) -> Effect {
        self.until(|place| {
            place.seen(whom, words).pop().ok_or_else(|| format!("{whom} never sees `{words}`: {:#?}", place.network.effects()))
        })
    }

    /// Somebody proves with a code who they are.
    #[track_caller]
    fn pair(&mut self, who: &str) {
        let made = self.call("POST", "/v1/pairings", &json!({ "agent": "default", "role": "owner" }), &[]);
        self.say(&format!("pair-{who}"), who, made["code"].as_str().expect("a code"));
        self.sees(who, "Paired");
    }

    /// The first daemon died, and whatever is owed to these people was seen: each of these words once, as nothing leaves out of order.
    #[track_caller]
    fn once(&mut self, what: &[(&str, &str)]) {
        self.is_dead();
        for (n, (whom, _)) in what.iter().enumerate() {
            self.say(&format!("last-{n}"), whom, "/agent");
            self.until(|place| {
                let count = what[..=n].iter().filter(|(other, _)| other == whom).count();
                if place.seen(whom, ", called @").len() == count { Ok(()) } else { Err(format!("{:#?}", place.network.effects())) }
            });
        }
        for (whom, words) in what {
            let seen = self.seen(whom, words);
            assert_eq!(seen.len(), 1, "{}: {whom} sees `{words}`: {:#?}", self.point, self.network.effects());
        }
    }

    /// There is one session, and it has had this many turns.
    #[track_caller]
    fn has_turns(&mut self, turns: u64) -> Value {
        let sessions = self.items("/v1/sessions");
        let counts: Vec<Option<u64>> = sessions.iter().map(|session| session["turns"].as_u64()).collect();
        assert_eq!(counts, [Some(turns)], "{}: {sessions:#?}", self.point);
        sessions[0].clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut first) = self.first.take() {
            // Whatever it is, the test is over.
            let _ = first.kill();
            let _ = first.wait();
        }
    }
}

fn said(id: &str, sender: &str, text: &str) -> Value {
    let chat = format!("d-{sender}");
    json!({ "kind": "message", "id": id, "chat": { "id": chat, "name": chat, "group": false },
        "sender": { "id": sender, "name": sender }, "text": text, "at_ms": 1_800_000_000_000_u64 })
}

/// A message, its turn and its answer.
fn asked(point: &str) {
    let mut place = Place::joined(point);
    place.dies();
    place.say("m1", "ann", "hello there");
    place.sees("ann", "hello back");
    place.once(&[("ann", "hello back")]);
    place.has_turns(1);
}

fn with_a_file(point: &str) {
    let mut place = Place::joined(point);
    place.dies();
    let mut heard = said("m1", "ann", "hello there");
    heard["files"] = json!([{ "id": "one", "name": "notes.txt", "size": 8 }]);
    place.network.say(heard);
    place.sees("ann", "hello back");
    place.once(&[("ann", "hello back")]);
    let session = place.has_turns(1)["id"].as_str().expect("an identity").to_owned();
    let turn = place.call("GET", "/v1/why/m1", &Value::Null, &[]);
    assert!(turn.to_string().contains("is sent as"), "{point}: {session}: {turn:#}");
}

/// An answer that the network takes at the second try only.
fn refused(point: &str) {
    let mut place = Place::joined(point);
    place.dies();
    place.network.refuse("passing", None);
    place.say("m1", "ann", "hello there");
    place.sees("ann", "hello back");
    place.once(&[("ann", "hello back")]);
    place.has_turns(1);
}

/// A code that is made, and used.
fn paired(point: &str) {
    let mut place = Place::joined(point);
    place.dies();
    place.pair("bob");
    place.once(&[("bob", "Paired")]);
    assert_eq!(place.items("/v1/handles").len(), 2, "{point}");
}

/// Somebody unknown, who is let in with a button.
fn admitted(point: &str) {
    let mut place = Place::joined(point);
    place.call("POST", "/v1/chats", &json!({ "channel": "lab", "chat": "d-eve" }), &[]);
    let chat = place.call("GET", "/v1/chats", &Value::Null, &[])["items"][0]["id"].as_str().expect("an identity").to_owned();
    place.call("PATCH", &format!("/v1/chats/{chat}"), &json!({ "policy": "request" }), &[]);
    place.call("POST", "/v1/wirings", &json!({ "chat": "lab/d-eve", "agent": "default" }), &[]);
    place.dies();
    place.say("m1", "eve", "hello there");
    let card = place.sees("ann", "wants to talk");
    place.press("b1", "ann", card.act["buttons"][0]["value"].as_str().expect("a button"));
    place.sees("eve", "hello back");
    place.once(&[("eve", "hello back"), ("eve", "let you in first"), ("ann", "wants to talk")]);
    assert_eq!(place.items("/v1/admissions?state=allowed").len(), 1, "{point}");
    place.has_turns(1);
}

/// Two turns, and a command that takes back one of them.
fn undone(point: &str) {
    let mut place = Place::joined(point);
    place.say("m1", "ann", "hello there");
    place.sees("ann", "hello back");
    place.say("m2", "ann", "hello there again");
    place.until(|place| if place.seen("ann", "hello back").len() == 2 { Ok(()) } else { Err("no second answer".to_owned()) });
    place.dies();
    place.say("m3", "ann", "/undo");
    place.sees("ann", "taken back");
    place.once(&[("ann", "taken back")]);
    assert_eq!(place.has_turns(2)["head"], 1, "{point}");
}

/// A call that somebody has to say yes to.
fn confirmed(point: &str) {
    let mut place = Place::joined(point);
    place.dies();
    place.say("m1", "ann", "mark one");
    let card = place.sees("ann", "wants to call");
    place.is_dead();
    place.press("b1", "ann", card.act["buttons"][0]["value"].as_str().expect("a button"));
    place.sees("ann", "it is over");
    place.once(&[("ann", "it is over"), ("ann", "wants to call")]);
    assert_eq!(marks::made(&place.lab), ["one"], "{point}");
}

/// What was given up is sent again, once it was asked for.
fn sent_by_hand(point: &str) {
    let mut place = Place::joined(point);
    place.network.refuse("final", None);
    place.say("m1", "ann", "hello there");
    let dead = place.until(|place| {
        let page = place.ask("GET", "/v1/deliveries?state=dead", &Value::Null).map_err(|e| e.to_string())?.json();
        page["items"][0]["id"].as_str().map(str::to_owned).ok_or_else(|| page.to_string())
    });
    place.dies();
    place.call("POST", &format!("/v1/deliveries/{dead}/resend"), &json!({}), &[409]);
    place.sees("ann", "hello back");
    place.once(&[("ann", "hello back")]);
}

fn added(point: &str) {
    let mut place = Place::new(point);
    place.start();
    place.dies();
    place.call("POST", "/v1/channels", &place.account(), &[409]);
    place.is_dead();
    // Where it died before the row, nobody was told that it is there.
    place.call("POST", "/v1/channels", &place.account(), &[409]);
    assert_eq!(place.items("/v1/channels").len(), 1, "{point}");
    place.pair("ann");
}

fn removed(point: &str) {
    let mut place = Place::joined(point);
    place.dies();
    place.call("DELETE", "/v1/channels/lab", &Value::Null, &[404]);
    place.is_dead();
    place.call("DELETE", "/v1/channels/lab", &Value::Null, &[404]);
    assert_eq!((place.items("/v1/channels"), place.items("/v1/chats"), place.items("/v1/handles")), (vec![], vec![], vec![]), "{point}");
    let secrets = place.lab.run(&["secret", "list"]).succeeds();
    assert!(!secrets.out.contains("channel."), "{point}: {}", secrets.out);
    // It is nobody's, and can be added anew.
    place.call("POST", "/v1/channels", &place.account(), &[]);
    place.pair("ann");
}

/// Where an agent hears and may send to, and who is who there.
fn placed(point: &str) {
    let mut place = Place::joined(point);
    let user = place.items("/v1/handles")[0]["user"].clone();
    place.dies();
    place.call("POST", "/v1/chats", &json!({ "channel": "lab", "chat": "g-fam", "name": "fam", "group": true }), &[409]);
    place.call("POST", "/v1/wirings", &json!({ "chat": "lab/g-fam", "agent": "default" }), &[409]);
    let wirings = place.items("/v1/wirings?chat=lab/g-fam");
    assert_eq!(wirings.len(), 1, "{point}: {wirings:?}");
    let to = |place: &mut Place| {
        let all = place.items("/v1/destinations?agent=default");
        all.iter().filter(|one| one["name"] == "ops").count()
    };
    place.call("POST", "/v1/destinations", &json!({ "agent": "default", "name": "ops", "chat": "lab/g-fam" }), &[]);
    assert_eq!(to(&mut place), 1, "{point}");
    place.call("DELETE", "/v1/destinations/default/ops", &Value::Null, &[404]);
    assert_eq!(to(&mut place), 0, "{point}");
    let wiring = wirings[0]["id"].as_str().expect("an identity");
    place.call("DELETE", &format!("/v1/wirings/{wiring}"), &Value::Null, &[404]);
    assert!(place.items("/v1/wirings?chat=lab/g-fam").is_empty(), "{point}");
    place.call("PUT", "/v1/roles", &json!({ "agent": "default", "user": user, "role": "admin" }), &[]);
    assert_eq!(place.items("/v1/roles").len(), 1, "{point}");
    place.call("DELETE", "/v1/handles/lab/ann", &Value::Null, &[404]);
    assert!(place.items("/v1/handles").is_empty(), "{point}");
    place.is_dead();
    assert_eq!((place.items("/v1/roles").len(), place.items("/v1/handles").len()), (1, 0), "{point}");
}

/// What was said long ago goes at every start.
fn forgotten(point: &str) {
    let mut place = Place::joined(point);
    place.lab.run(&["config", "set", "channels.keep", "1ms"]).succeeds();
    place.say("m1", "ann", "hello there");
    place.sees("ann", "hello back");
    // Its answer is settled by then.
    place.until(|place| {
        let page = place.ask("GET", "/v1/deliveries?state=sent", &Value::Null).map_err(|e| e.to_string())?.json();
        if page["items"].as_array().is_some_and(|all| all.len() == 2) { Ok(()) } else { Err(page.to_string()) }
    });
    place.dies();
    place.is_dead();
    place.until(|place| match place.ask("GET", "/v1/why/m1", &Value::Null) {
        Ok(reply) if reply.status == 404 => Ok(()),
        other => Err(format!("{:?}", other.map(|reply| reply.status))),
    });
    assert!(place.items("/v1/deliveries").is_empty(), "{point}");
    place.say("m2", "ann", "hello there again");
    place.until(|place| if place.seen("ann", "hello back").len() == 2 { Ok(()) } else { Err("no second answer".to_owned()) });
    place.has_turns(2);
}
