//! A daemon that dies at each step between what a platform said and the answer that it took, on every network: before the message is heard,
//! before it is acknowledged, over the turn's end, and over what came of the answer. One message goes through four such deaths; it is answered
//! once, and asked once.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::client::{Connection, Reply};
use testkit::model_server::{ModelServer, Rule, Say, Script};
use testkit::platforms::bluebubbles::BlueBubbles;
use testkit::platforms::bridge::{Bridge, Linked};
use testkit::platforms::courier::Courier;
use testkit::platforms::github::GitHub;
use testkit::platforms::googlechat::GoogleChat;
use testkit::platforms::linear::Linear;
use testkit::platforms::mailbox::Mailbox;
use testkit::platforms::resend::Resend;
use testkit::platforms::signal::Signal as Phone;
use testkit::platforms::signed::Posted;
use testkit::platforms::teams::Teams;
use testkit::platforms::webex::Webex;
use testkit::platforms::wechat::WeChat;
use testkit::platforms::whatsapp::WhatsApp;
use testkit::platforms::{Discord, Party, Room, Slack, Telegram};

use crate::scene::PATIENCE;
use crate::support::Lab;

macro_rules! networks {
    ($($test:ident: $party:expr;)*) => {
        $(#[test] fn $test() { answered_once(&$party); })*
    };
}

networks! {
    telegram: Telegram::start();
    discord: Discord::start();
    slack: Slack::start();
    matrix: Room::start();
    a_program: Courier::start();
    mail: Mailbox::start();
    whatsapp: WhatsApp::start(&[]);
    teams: Teams::start();
    google_chat: GoogleChat::start();
    webex: Webex::start();
    github: GitHub::start();
    linear: Linear::start();
    resend: Resend::start();
    signal: Phone::start();
    imessage: BlueBubbles::start();
    wechat: WeChat::start();
    a_bridge_with_keys: Linked("whatsapp-bridge", Bridge::start(true));
    a_bridge_without_keys: Linked("wechat-bridge", Bridge::start(false));
}

/// Where daemons die, one after the other: on its way each one that follows goes past the next of them.
const DEATHS: [&str; 4] = ["store.inbound-hear.before", "channel:noted", "turn:result", "out:answered"];

/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);
/// What a text begins with that may be there twice.
const DOUBTED: &str = "(possibly sent twice)";

fn answered_once(party: &dyn Party) {
    let mut scene = Scene::new(party);
    scene.says("@Andy good morning");
    scene.until("all of the daemons die", |scene| scene.dying.is_none().then_some(()));
    scene.sees("a good day to you");
    if !party.keeps() {
        scene.is_well();
    }
    // What is said after it is answered after it: nothing of what came before is still on its way then.
    scene.says("@Andy are you there");
    scene.sees("still here");
    let seen: Vec<String> =
        scene.party.standing().into_iter().map(|stands| stands.text).filter(|text| text.contains("a good day to you")).collect();
    assert_eq!(seen.iter().filter(|text| !text.contains(DOUBTED)).count(), 1, "{}: {seen:#?}", party.network());
    assert_eq!(seen.len(), 1, "the program knows what its platform took: {}: {seen:#?}", party.network());
    let sessions = scene.ask("GET", "/v1/sessions", &Value::Null).expect("an answer").json();
    let turns: Vec<Option<u64>> = sessions["items"].as_array().into_iter().flatten().map(|one| one["turns"].as_u64()).collect();
    assert_eq!(turns, [Some(2)], "{}: {sessions:#}", party.network());
}

/// A home with an account of a network, whose daemon is to die.
struct Scene<'a> {
    party: &'a dyn Party,
    lab: Lab,
    _server: ModelServer,
    /// The daemon that is to die, and where.
    dying: Option<(Child, &'static str)>,
    /// Where those that follow it die.
    deaths: VecDeque<&'static str>,
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if let Some((mut dying, _)) = self.dying.take() {
            // Whatever it is, the test is over.
            let _ = dying.kill();
            let _ = dying.wait();
        }
    }
}

impl<'a> Scene<'a> {
    fn new(party: &'a dyn Party) -> Self {
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
        let mut scene = Self { party, lab, _server: server, dying: None, deaths: VecDeque::new() };
        let credentials: BTreeMap<&str, String> = party.credentials().into_iter().collect();
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
        scene.deaths = DEATHS.into();
        scene.follow();
        scene.is_well();
        scene
    }

    /// Starts the next daemon: one that dies at the next point, or the one that stays.
    fn follow(&mut self) {
        let Some(point) = self.deaths.pop_front() else {
            self.lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
            return;
        };
        let mut command = self.lab.command(&["up", "--listen", "127.0.0.1:0"]);
        let dying = command.env("LAZARET_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("up");
        self.dying = Some((dying, point));
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Reply> {
        let mut socket = Connection::open(&self.lab.home().join("run").join(api::OWNER_SOCKET), PATIENCE)?;
        socket.ask(method, path, &[], Some(body).filter(|body| !body.is_null()))
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
            let point = self.dying.as_ref().map_or("nowhere", |(_, point)| *point);
            assert!(
                Instant::now() < end,
                "{}: {what}: it never came to be so; to die at {point}: {:#?}",
                self.party.network(),
                self.party.standing()
            );
            if let Some((dying, point)) = &mut self.dying
                && let Some(status) = dying.try_wait().expect("wait")
            {
                assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point}: it was to be killed, and ended with {status}");
                self.dying = None;
                self.follow();
            }
            std::thread::sleep(STEP);
        }
    }

    /// Somebody writes. A platform that posts what happens does so until it is taken.
    #[track_caller]
    fn says(&mut self, text: &str) {
        let Some(posted) = self.party.writes(text) else { return };
        self.until("the request is taken", |scene| {
            let status = scene.posts(&posted)?;
            (200..300).contains(&status).then_some(())
        });
    }

    /// Hands a request to the daemon's port, where nobody is its owner, and gives the status.
    fn posts(&self, posted: &Posted) -> Option<u16> {
        let status = self.ask("GET", "/v1/status", &Value::Null).ok()?.json();
        let address = status["listen"].as_str()?;
        let Posted { method, path, headers, body } = posted;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!("{method} /hooks/account{path} HTTP/1.0\r\nhost: {address}\r\n{headers}content-length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(&[head.as_bytes(), body.as_slice()].concat()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }

    #[track_caller]
    fn sees(&mut self, words: &str) {
        self.until(words, |scene| scene.party.standing().iter().any(|stands| stands.text.contains(words)).then_some(()));
    }
}
