//! A whole conversation on every network through the shipped programs: the account is added, a chat is paired, and a person is answered, has
//! a tool run, is asked and answers by a button, sends a file, sees the account write, sees a message change, is reminded of something, and says
//! yes to a call. The platforms are emulators on loopback that refuse what the real ones refuse, and a real homeserver and mail server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};
use testkit::platforms::bluebubbles::BlueBubbles;
use testkit::platforms::bridge::{Bridge, Linked};
use testkit::platforms::courier::Courier;
use testkit::platforms::github::GitHub;
use testkit::platforms::googlechat::GoogleChat;
use testkit::platforms::linear::Linear;
use testkit::platforms::mailbox::Mailbox;
use testkit::platforms::resend::Resend;
use testkit::platforms::signal::Signal;
use testkit::platforms::signed::Posted;
use testkit::platforms::slack::Evented;
use testkit::platforms::teams::Teams;
use testkit::platforms::telegram::Hooked;
use testkit::platforms::webex::Webex;
use testkit::platforms::wechat::WeChat;
use testkit::platforms::whatsapp::WhatsApp;
use testkit::platforms::{Discord, Party, Room, SentFile, Slack, Standing, Telegram};

use crate::http::PATIENCE;
use crate::support::{KEY, Lab};
use crate::web::Web;

macro_rules! networks {
    ($($test:ident: $party:expr;)*) => {
        $(#[test] fn $test() { converse(&$party); })*
    };
}

networks! {
    a_conversation_on_telegram: Telegram::start();
    a_conversation_on_telegram_by_webhook: Hooked(Telegram::start());
    a_conversation_on_discord: Discord::start();
    a_conversation_on_slack: Slack::start();
    a_conversation_on_slack_by_events: Evented(Slack::start());
    a_conversation_on_matrix: Room::start();
    a_conversation_with_a_program: Courier::start();
    a_conversation_by_mail: Mailbox::start();
    a_conversation_on_whatsapp: WhatsApp::start(&[]);
    a_conversation_on_teams: Teams::start();
    a_conversation_on_google_chat: GoogleChat::start();
    a_conversation_on_webex: Webex::start();
    a_conversation_on_github: GitHub::start();
    a_conversation_on_linear: Linear::start();
    a_conversation_by_resend: Resend::start();
    a_conversation_on_signal: Signal::start();
    a_conversation_on_imessage: BlueBubbles::start();
    a_conversation_on_wechat: WeChat::start();
    a_conversation_over_a_bridge_with_keys: Linked("whatsapp-bridge", Bridge::start(true));
    a_conversation_over_a_bridge_without_keys: Linked("wechat-bridge", Bridge::start(false));
}

/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);
/// A picture that the agent sends: of a kind that every network takes that takes any.
const DRAWING: &[u8] = b"GIF89a of boats";
/// What a text begins with that may be there twice.
const DOUBTED: &str = "(possibly sent twice)";
/// The tools that the agent has. One of them a person has to say yes to.
const TOOLS: [&str; 6] = ["ask_user", "send_message", "send_file", "edit_message", "schedule_task", "set_instructions"];
/// Says something and gives it another text, where the network has such a thing.
const MEND: &str = r#"id=$(ipc tool.invoke.send_message '{"text":"a first draft"}' | grep -oE 'out_[0-9a-f]{32}' | head -n 1)
ipc tool.invoke.edit_message "{\"id\":\"$id\",\"text\":\"the last word\"}" 2>&1"#;

/// A daemon with an account of a network.
struct Scene<'a> {
    party: &'a dyn Party,
    lab: Lab,
    /// Where platforms post what happens: without a token of ours.
    web: std::cell::RefCell<Web>,
    server: ModelServer,
}

fn converse(party: &dyn Party) {
    let scene = Scene::new(party);
    let view = scene.is_well();
    let can = |ability: &str| view["abilities"][ability] == true;
    scene.pair();
    scene.says_twice("@Andy good morning");
    scene.sees_once("a good day to you");
    scene.says("@Andy count the boats");
    scene.sees_once("they were counted");
    assert!(scene.model_read("seven boats"), "{}: the tool's answer", party.network());
    scene.is_asked(can("buttons"), can("edit"));
    scene.sends_a_file();
    scene.is_sent_a_file(view["abilities"]["file_max"].as_u64() > Some(0));
    if party.network() == "wechat" {
        scene.is_told_of_a_file_that_is_refused();
    }
    scene.tells_a_group_of_a_file_that_is_refused();
    scene.is_stopped(can("typing"));
    scene.outlives_its_program();
    scene.sees_it_mended(can("edit"));
    scene.is_reminded();
    scene.says_yes(can("edit"));
    scene.outlives_its_daemon();
}

impl<'a> Scene<'a> {
    fn new(party: &'a dyn Party) -> Self {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_lazaret")).with_file_name("lazaret-channels");
        assert!(program.is_file(), "{} is not built: cargo build -p lazaret-channels", program.display());
        let lab = Lab::new();
        let say = |contains: &str, say: Vec<Say>| Rule { contains: contains.to_owned(), say };
        let text = |text: &str| Say::Text(text.to_owned());
        let ask = Say::Tool { name: "ask_user".to_owned(), input: json!({ "question": "Which colour?", "options": ["red", "blue"] }) };
        let rules = vec![
            say("good morning", vec![text("a good day to you")]),
            say("count the boats", vec![Say::Shell("printf 'seven %s' boats".to_owned()), text("they were counted")]),
            say("ask me", vec![ask, text("so it is painted")]),
            say(
                "draw the boats",
                vec![
                    Say::Shell(format!("printf '{}' > ~/boats.gif", String::from_utf8_lossy(DRAWING))),
                    Say::Tool { name: "send_file".to_owned(), input: json!({ "path": "~/boats.gif", "caption": "as they lie there" }) },
                    text("it was drawn"),
                ],
            ),
            say(
                "pack the boats",
                vec![
                    Say::Shell("printf 'seven boats' > ~/boats.bin".to_owned()),
                    Say::Tool { name: "send_file".to_owned(), input: json!({ "path": "~/boats.bin", "caption": "all of them" }) },
                    text("it was packed"),
                ],
            ),
            say("write a draft", vec![Say::Shell(MEND.to_owned()), text("it was mended")]),
            say("look at the tide table", vec![text("the tide turns now")]),
            say(
                "remind me",
                vec![
                    Say::Tool {
                        name: "schedule_task".to_owned(),
                        input: json!({ "prompt": "look at the tide table", "in": "1s", "name": "tides" }),
                    },
                    text("it is planned"),
                ],
            ),
            say(
                "be brief",
                vec![
                    Say::Tool { name: "set_instructions".to_owned(), input: json!({ "instructions": "Short words." }) },
                    text("as you say"),
                ],
            ),
            say("take your time", vec![Say::Shell("sleep 1000".to_owned()), text("never said")]),
            say("are you there", vec![text("still here")]),
            say("once more", vec![text("here as before")]),
        ];
        // What no rule knows: a file came, and what is in it is said.
        let server = lab.model(Script { key: Some(KEY.to_owned()), rules, command: "cat ~/inbox/*/*".to_owned(), ..Script::default() });
        lab.connect("anthropic", &server);
        lab.run(&["config", "set", "engine", "mini"]).succeeds();
        lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
        let web = std::cell::RefCell::new(Web::start(&lab));
        lab.ask("POST", "/v1/agents", json!({ "name": "default", "tools": TOOLS })).is(201);
        let form = json!({ "name": "account", "network": party.network(), "config": party.config(),
            "credentials": party.credentials().into_iter().collect::<std::collections::BTreeMap<_, _>>() });
        let added = lab.ask("POST", "/v1/channels", form);
        assert!((200..300).contains(&added.status), "{}: {}", party.network(), String::from_utf8_lossy(&added.body));
        Self { party, lab, web, server }
    }

    fn view(&self) -> Value {
        self.lab.ask("GET", "/v1/channels/account", Value::Null).is(200)
    }

    /// Waits until something is so. What is not, is told with the network's name.
    #[track_caller]
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            if Instant::now() >= end {
                let heard: Vec<String> = self.server.requests().iter().map(|request| request.json()["messages"].to_string()).collect();
                panic!(
                    "{}: {what}: it never came to be so\nthe chat: {:#?}\nthe channel: {:#}\nowed: {:#}\nthe model was asked: {:#?}",
                    self.party.network(),
                    self.party.standing(),
                    self.view(),
                    self.lab.ask("GET", "/v1/deliveries", Value::Null).is(200),
                    heard.last(),
                );
            }
            std::thread::sleep(STEP);
        }
    }

    #[track_caller]
    fn is_well(&self) -> Value {
        self.until("the account is well", || Some(self.view()).filter(|view| view["health"] == "well"))
    }

    /// Hands a request over as its platform does: until it is taken.
    #[track_caller]
    fn post(&self, posted: Option<Posted>) {
        let Some(posted) = posted else { return };
        let headers: String = posted.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let path = format!("/hooks/account{}", posted.path);
        self.until("the request is taken", || {
            let answer = self.web.borrow().ask_with("", posted.method, &path, &headers, &posted.body);
            // It is away for a moment, or begins.
            (!matches!(answer.status, 429 | 503)).then(|| {
                assert!((200..300).contains(&answer.status), "{}: {}", self.party.network(), answer.status);
            })
        });
    }

    #[track_caller]
    fn says(&self, text: &str) {
        self.post(self.party.writes(text));
    }

    /// The same, told twice where the platform posts what happens.
    #[track_caller]
    fn says_twice(&self, text: &str) {
        let posted = self.party.writes(text);
        self.post(posted.clone());
        self.post(posted);
    }

    #[track_caller]
    fn sees(&self, words: &str) -> Standing {
        self.until(words, || self.party.standing().into_iter().find(|stands| stands.text.contains(words)))
    }

    /// Words that stand there once, or a second time marked as such.
    #[track_caller]
    fn sees_once(&self, words: &str) {
        self.sees(words);
        let texts: Vec<String> = self.party.standing().into_iter().map(|stands| stands.text).filter(|text| text.contains(words)).collect();
        let plain = texts.iter().filter(|text| !text.contains(DOUBTED)).count();
        assert!(plain <= 1 && texts.len() <= 2, "{}: {texts:#?}", self.party.network());
    }

    fn model_read(&self, words: &str) -> bool {
        self.server.requests().iter().any(|request| request.json().to_string().contains(words))
    }

    #[track_caller]
    fn pair(&self) {
        let made = self.lab.run(&["wire", "pair", "--agent", "default", "--role", "owner"]).succeeds();
        self.says(made.out.trim());
        self.sees("Paired");
    }

    /// The agent asks; the person presses a button where there are some, else says the number.
    #[track_caller]
    fn is_asked(&self, buttons: bool, edits: bool) {
        self.says("@Andy ask me");
        let card = self.sees("Which colour?");
        if buttons {
            assert_eq!(card.buttons.len(), 2, "{}: {card:?}", self.party.network());
            let value = card.buttons[1].clone();
            self.post(self.party.presses(&card, &value));
        } else {
            assert!(card.text.contains("2. blue"), "{}: {card:?}", self.party.network());
            self.says("@Andy 2");
        }
        self.sees_once("so it is painted");
        assert!(self.model_read("blue"), "{}: the answer", self.party.network());
        if buttons && edits {
            self.until("the card shows what was answered, and can be pressed no more", || {
                let now = self.party.standing();
                let answered = now.iter().any(|stands| stands.text.contains("Which colour?") && stands.text.contains("blue"));
                (answered && now.iter().all(|stands| stands.buttons.is_empty())).then_some(())
            });
        }
    }

    #[track_caller]
    fn sends_a_file(&self) {
        let Some(SentFile { posted, bytes }) = self.party.sends("@Andy look at this") else { return };
        let content = String::from_utf8_lossy(bytes).into_owned();
        self.post(posted);
        self.sees(&content);
    }

    /// The agent sends a file: it stands in the chat once, or where the network carries none, its name and place do.
    #[track_caller]
    fn is_sent_a_file(&self, carries: bool) {
        self.says("@Andy draw the boats");
        self.sees_once("it was drawn");
        if carries {
            let holds = |stands: &Standing| stands.files.iter().any(|file| file == DRAWING);
            self.until("the file", || self.party.standing().iter().any(holds).then_some(()));
            assert_eq!(self.party.standing().iter().filter(|stands| holds(stands)).count(), 1, "{}", self.party.network());
        } else {
            let told = self.sees("boats.gif");
            assert!(told.text.contains("/home/sandbox/boats.gif") && told.text.contains("ses_"), "{}: {told:?}", self.party.network());
        }
    }

    /// The agent sends a file of a kind that the network does not take: the chat is told which one and why, with what was said of it.
    #[track_caller]
    fn is_told_of_a_file_that_is_refused(&self) {
        self.says("@Andy pack the boats");
        self.sees_once("it was packed");
        let told = self.sees("boats.bin");
        assert!(told.text.contains("Not sent") && told.text.contains("WeChat takes") && told.text.contains("all of them"), "{told:?}");
        self.sees_once("all of them");
    }

    /// The same in a group, where a network may take fewer kinds of files than in a chat of two.
    #[track_caller]
    fn tells_a_group_of_a_file_that_is_refused(&self) {
        if self.party.writes_in_group("").is_none() {
            return;
        }
        let code = self.lab.run(&["wire", "pair", "--agent", "default", "--role", "owner"]).succeeds().out;
        let sees =
            |words: &str| self.until(words, || self.party.standing_in_group().into_iter().find(|stands| stands.text.contains(words)));
        self.post(self.party.writes_in_group(code.trim()));
        sees("Paired");
        self.post(self.party.writes_in_group("@Andy pack the boats"));
        let told = sees("boats.bin");
        assert!(told.text.contains("Not sent") && told.text.contains("in groups") && told.text.contains("all of them"), "{told:?}");
        assert!(self.party.standing_in_group().iter().all(|stands| stands.files.is_empty()), "nothing was brought");
    }

    /// The account is seen writing as long as the agent is at work, and the person can stop it.
    #[track_caller]
    fn is_stopped(&self, shows_writing: bool) {
        self.says("@Andy take your time");
        self.until("the agent is at work", || self.model_read("take your time").then_some(()));
        if shows_writing {
            self.until("the account is seen writing", || self.party.was_seen_writing().then_some(()));
        }
        self.says("@Andy /stop");
        self.sees("Stopped");
        assert!(!self.party.standing().iter().any(|stands| stands.text.contains("never said")));
        // What was stopped is not gone on with.
        self.says("@Andy /clear");
        self.sees("new conversation");
    }

    /// The program of the channel is killed; what is said meanwhile is answered once it is back.
    #[track_caller]
    fn outlives_its_program(&self) {
        let before = self.view()["restarts"].as_u64().unwrap_or_default();
        let killed = self.kill();
        assert!(killed > 0, "{}: its program runs", self.party.network());
        self.until("its program has ended", || (self.view()["restarts"].as_u64() > Some(before)).then_some(()));
        if !self.party.keeps() {
            self.is_well();
        }
        self.says("@Andy are you there");
        self.sees_once("still here");
        self.is_well();
    }

    /// What the agent said gets another text in its place; where a network changes nothing, the agent is told so and the first one stays.
    #[track_caller]
    fn sees_it_mended(&self, edits: bool) {
        self.says("@Andy write a draft");
        self.sees_once("it was mended");
        if edits {
            self.until("the new text stands where the first one stood", || {
                let now = self.party.standing();
                let stands = |words: &str| now.iter().filter(|stands| stands.text.contains(words)).count();
                (stands("the last word") == 1 && stands("a first draft") == 0).then_some(())
            });
        } else {
            self.sees_once("a first draft");
            assert!(self.model_read("does not edit messages"), "{}: the agent is told", self.party.network());
        }
    }

    /// What is asked for later is said then, where it was asked.
    #[track_caller]
    fn is_reminded(&self) {
        self.says("@Andy remind me");
        self.sees_once("it is planned");
        self.sees_once("the tide turns now");
    }

    /// A call that needs a yes: the card shows it whole and is answered by its button, or by the code that stands on it. Where nobody is written
    /// to alone there is no card: the chat is told so, and the code of another surface answers.
    #[track_caller]
    fn says_yes(&self, edits: bool) {
        self.says("@Andy be brief");
        let card = self.until("a card", || {
            let is_it = |text: &str| text.contains("wants to call") || text.contains("none of them can be reached");
            self.party.standing().into_iter().find(|stands| is_it(&stands.text))
        });
        let has_card = card.text.contains("wants to call");
        assert_ne!(has_card, ["github", "linear"].contains(&self.party.network()), "{}: {card:?}", self.party.network());
        let instructions = || self.lab.ask("GET", "/v1/agents/default", Value::Null).is(200)["instructions"].clone();
        assert_eq!(instructions(), "", "{}: nothing is done before", self.party.network());
        if let Some(button) = card.buttons.first() {
            assert!(card.text.contains("Short words."), "{}: {card:?}", self.party.network());
            self.post(self.party.presses(&card, button));
        } else {
            let code = if has_card { code_on(&card.text) } else { self.code_that_waits() };
            self.says(&format!("@Andy /approve {code}"));
        }
        self.sees_once("as you say");
        assert_eq!(instructions(), "Short words.", "{}", self.party.network());
        if has_card && edits {
            self.until("the card tells what came of it, and can be pressed no more", || {
                let now = self.party.standing();
                let is_told = now.iter().any(|stands| stands.text.contains("approved by"));
                (is_told && now.iter().all(|stands| stands.buttons.is_empty())).then_some(())
            });
        }
    }

    /// The code of the one call that waits, as the command line tells it.
    #[track_caller]
    fn code_that_waits(&self) -> String {
        let waits = self.lab.ask("GET", "/v1/approvals?status=pending", Value::Null).is(200);
        let hash = waits["items"][0]["hash"].as_str().unwrap_or_else(|| panic!("{}: nothing waits: {waits:#}", self.party.network()));
        hash.chars().take(8).collect()
    }

    /// The daemon is killed; what is said meanwhile is answered by the next one.
    #[track_caller]
    fn outlives_its_daemon(&self) {
        self.lab.kill_daemon();
        let keeps = self.party.keeps();
        let said = keeps.then(|| self.party.writes("@Andy once more"));
        // What is left of the first one may still take a connection, and answer nothing.
        *self.web.borrow_mut() = self.until("the next daemon is there", || Web::tried(&self.lab));
        match said {
            Some(posted) => self.post(posted),
            None => {
                self.is_well();
                self.says("@Andy once more");
            }
        }
        self.sees_once("here as before");
        self.is_well();
    }

    /// Kills the processes of this home's channel, and no other's.
    fn kill(&self) -> usize {
        let install = std::fs::read_to_string(self.lab.home().join("install-id")).expect("an identity");
        let label = format!("lazaret-{}.", install.trim());
        let told = format!("run\0{}\0", self.party.network());
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc").expect("read").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(rustix::process::Pid::from_raw)
            else {
                continue;
            };
            let read = |name: &str| std::fs::read(entry.path().join(name)).map(|text| String::from_utf8_lossy(&text).into_owned());
            let (Ok(line), Ok(group)) = (read("cmdline"), read("cgroup")) else { continue };
            if line.ends_with(&told) && group.contains(&label) && rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
            {
                killed += 1;
            }
        }
        killed
    }
}

/// The code by which a card is answered with a yes.
fn code_on(card: &str) -> String {
    let (_, code) = card.split_once("/approve ").unwrap_or_else(|| panic!("no code on the card: {card}"));
    code.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn what_an_account_cannot_use_is_named_by_its_key() {
    let telegram = Telegram::start();
    let lab = Lab::new();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let base = format!("base_url={}", telegram.web.url());
    let add = ["channel", "add", "family", "--network", "telegram", "--config", &base, "--config", "poll_s=often", "--credential", "-"];
    // The one credential that is needed has no need of its name.
    lab.run_with(&add, Telegram::TOKEN.as_bytes()).succeeds();
    let waits_for = |health: &str, words: &str| {
        let end = Instant::now() + PATIENCE;
        loop {
            let view = lab.ask("GET", "/v1/channels/family", Value::Null).is(200);
            if view["health"] == health && view["message"].as_str().is_some_and(|message| message.contains(words)) {
                return;
            }
            assert!(Instant::now() < end, "never {health} with `{words}`: {view:#}");
            std::thread::sleep(STEP);
        }
    };
    waits_for("configuration", "`poll_s`");
    lab.run(&["channel", "set", "family", "--config", &base, "--config", "poll_s=5"]).succeeds();
    waits_for("well", "");
    lab.run_with(&["channel", "set", "family", "--credential", "-"], b"no token of a bot").succeeds();
    waits_for("credential", "`token`");
    // Of several nobody guesses, and an address is one.
    let several = ["channel", "add", "other", "--network", "whatsapp", "--config", "phone_number_id=7", "--credential", "-"];
    let refused = lab.run_with(&several, b"something").fails("USAGE", 2);
    assert!(refused.err.contains("app_secret"), "{}", refused.err);
    let nowhere = ["channel", "add", "other", "--network", "matrix", "--config", "base_url=::", "--credential", "-"];
    assert!(lab.run_with(&nowhere, b"something").fails("CONFIG_INVALID", 2).err.contains("base_url"));
    // One of this machine is no place for a sandbox unless the owner says so.
    let here = ["channel", "add", "other", "--network", "matrix", "--config", "base_url=http://127.0.0.2:1", "--credential", "-"];
    assert!(lab.run_with(&here, b"something").fails("CONFIG_INVALID", 2).err.contains("egress.private_ok"));
}
