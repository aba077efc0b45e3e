//! A daemon that dies between what a platform said, the router and what is owed, on a network of each kind: one that is asked again and
//! again, one that holds a connection, and one that posts. What was said is answered, and the answer is seen once.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::client::{Connection, Reply};
use testkit::model_server::{ModelServer, Rule, Say, Script};
use testkit::platforms::courier::Courier;
use testkit::platforms::signed::Posted;
use testkit::platforms::{Party, Slack, Telegram};

use crate::scene::PATIENCE;
use crate::support::Lab;

macro_rules! kinds {
    ($($party:ident: $make:expr;)*) => {
        $(mod $party {
            use super::*;

            #[test]
            fn before_it_is_heard() {
                answered_once(&$make, "store.inbound-hear.before");
            }

            #[test]
            fn between_heard_and_acknowledged() {
                answered_once(&$make, "channel:noted");
            }

            #[test]
            fn between_the_turn_and_what_it_owes() {
                answered_once(&$make, "turn:result");
            }

            #[test]
            fn between_sent_and_settled() {
                answered_once(&$make, "out:answered");
            }
        })*
    };
}

kinds! {
    polled: Telegram::start();
    held: Slack::start();
    posted: Courier::start();
}

/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);
/// What a text begins with that may be there twice.
const DOUBTED: &str = "(possibly sent twice)";

fn answered_once(party: &dyn Party, point: &str) {
    let mut scene = Scene::new(party, point);
    scene.says("@Andy good morning");
    scene.sees("a good day to you");
    scene.until("the daemon dies", |scene| scene.dying.is_none().then_some(()));
    // What is said after it is answered after it: nothing of what came before is still on its way then.
    scene.says("@Andy are you there");
    scene.sees("still here");
    let seen: Vec<String> =
        scene.party.standing().into_iter().map(|stands| stands.text).filter(|text| text.contains("a good day to you")).collect();
    assert_eq!(seen.iter().filter(|text| !text.contains(DOUBTED)).count(), 1, "{}: {point}: {seen:#?}", party.network());
    assert_eq!(seen.len(), 1, "the program knows what its platform took: {}: {point}: {seen:#?}", party.network());
    let sessions = scene.ask("GET", "/v1/sessions", &Value::Null).expect("an answer").json();
    let turns: Vec<Option<u64>> = sessions["items"].as_array().into_iter().flatten().map(|one| one["turns"].as_u64()).collect();
    assert_eq!(turns, [Some(2)], "{}: {point}: {sessions:#}", party.network());
}

/// A home with an account of a network, whose daemon is to die.
struct Scene<'a> {
    party: &'a dyn Party,
    lab: Lab,
    _server: ModelServer,
    dying: Option<Child>,
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if let Some(mut dying) = self.dying.take() {
            // Whatever it is, the test is over.
            let _ = dying.kill();
            let _ = dying.wait();
        }
    }
}

impl<'a> Scene<'a> {
    fn new(party: &'a dyn Party, point: &str) -> Self {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_lazaret")).with_file_name("lazaret-channels");
        assert!(program.is_file(), "{} is not built: cargo build -p lazaret-channels", program.display());
        let lab = Lab::new();
        let rule = |contains: &str, text: &str| Rule { contains: contains.to_owned(), say: vec![Say::Text(text.to_owned())] };
        let rules = vec![rule("good morning", "a good day to you"), rule("are you there", "still here")];
        let server = lab.model(Script { rules, ..Script::default() });
        for (key, value) in [
            ("providers.anthropic.base_url", server.url().as_str()),
            ("providers.anthropic.keyless", "true"),
            ("engine", "mini"),
            ("egress.private_ok", "[\"127.0.0.1\"]"),
        ] {
            lab.run(&["config", "set", key, value]).succeeds();
        }
        lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        let mut scene = Self { party, lab, _server: server, dying: None };
        let credentials: std::collections::BTreeMap<&str, String> = party.credentials().into_iter().collect();
        let form = json!({ "name": "account", "network": party.network(), "config": party.config(), "credentials": credentials });
        let added = scene.ask("POST", "/v1/channels", &form).expect("an answer");
        assert!((200..300).contains(&added.status), "{}: {}", party.network(), added.json());
        scene.is_well();
        let code = scene.lab.run(&["wire", "pair", "--agent", "default", "--role", "owner"]).succeeds().out;
        scene.says(code.trim());
        scene.sees("Paired");
        // What was said and answered so far is settled, so that the point is one of what follows.
        scene.until("nothing is owed", |scene| {
            let owed = scene.ask("GET", "/v1/deliveries?state=sent", &Value::Null).ok()?.json();
            (owed["items"].as_array().map(Vec::len) == Some(1)).then_some(())
        });
        scene.lab.run(&["stop", "--grace", "0s"]).succeeds();
        let mut command = scene.lab.command(&["up", "--listen", "127.0.0.1:0"]);
        let dying = command.env("LAZARET_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("up");
        scene.dying = Some(dying);
        scene.is_well();
        scene
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Reply> {
        self.socket()?.ask(method, path, &[], Some(body).filter(|body| !body.is_null()))
    }

    fn socket(&self) -> std::io::Result<Connection> {
        Connection::open(&self.lab.home().join("run").join(api::OWNER_SOCKET), PATIENCE)
    }

    #[track_caller]
    fn is_well(&mut self) {
        self.until("the account is well", |scene| {
            let view = scene.ask("GET", "/v1/channels/account", &Value::Null).ok()?.json();
            (view["health"] == "well").then_some(())
        });
    }

    /// Looks until it is so; a daemon that died is followed by the next one.
    #[track_caller]
    fn until<T>(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = is_so(self) {
                return found;
            }
            assert!(Instant::now() < end, "{}: {what}: it never came to be so: {:#?}", self.party.network(), self.party.standing());
            if let Some(dying) = &mut self.dying
                && let Some(status) = dying.try_wait().expect("wait")
            {
                assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it was to be killed, and ended with {status}");
                self.dying = None;
                self.lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
            }
            std::thread::sleep(STEP);
        }
    }

    /// Somebody writes. A platform that posts what happens does so until it is taken.
    #[track_caller]
    fn says(&mut self, text: &str) {
        let Some(Posted { method, path, headers, body }) = self.party.writes(text) else { return };
        let path = format!("/hooks/account{path}");
        self.until("the request is taken", |scene| {
            let reply = scene.socket().and_then(|mut socket| socket.hand(method, &path, &headers, &body)).ok()?;
            (200..300).contains(&reply.status).then_some(())
        });
    }

    #[track_caller]
    fn sees(&mut self, words: &str) {
        self.until(words, |scene| scene.party.standing().iter().any(|stands| stands.text.contains(words)).then_some(()));
    }
}
