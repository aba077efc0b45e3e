//! A chat network with an agent behind it: what people say there, what becomes visible, and what a scripted model makes of it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::channel::{Effect, LabNetwork, PROGRAM, TOKEN, pressed, said};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::agent::Agent;
use crate::support::{Caller, finish, within};

/// Whatever is waited for comes within this time, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
/// A key that is nobody's.
const KEY: &str = "sk-ant-api03-canary-of-a-chat-000000000000000000000";

/// A daemon with the plugin `marks` and one account of the lab's network.
pub(crate) struct Chat<'a> {
    pub(crate) agent: Agent<'a>,
    pub(crate) network: LabNetwork,
    _server: ModelServer,
    _runtime: tokio::runtime::Runtime,
}

/// What the agent runs when a message holds a word; its answer is what that printed.
pub(crate) fn on(word: &str, command: impl Into<String>) -> Rule {
    Rule { contains: word.to_owned(), say: vec![Say::Shell(command.into())] }
}

/// A call of a tool of the plugin, and what is answered.
pub(crate) fn call(tool: &str, text: &str) -> String {
    format!("ipc tool.invoke.{tool} '{{\"text\":\"{text}\"}}' 2>&1")
}

impl<'a> Chat<'a> {
    /// One in which the agent does what the rules say. `max` is what its sandboxes may reach at most.
    pub(crate) fn new(caller: &'a Caller, rules: Vec<Rule>, max: &[String]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let server = runtime.block_on(ModelServer::start(Script { key: Some(KEY.to_owned()), rules, ..Script::default() }));
        let network = LabNetwork::start().expect("a network");
        caller.dir(".lazaret");
        let config = format!(
            "engine = \"mini\"\n[egress]\nprivate_ok = [\"127.0.0.1\"]\nmax = {}\n[providers.anthropic]\nbase_url = \"{}\"\n",
            json!(max),
            server.url()
        );
        caller.file(".lazaret/config.toml", &config);
        caller.dir(".lazaret/channels");
        caller.dir(".lazaret/channels/lab");
        let program = caller.file(".lazaret/channels/lab/channel", PROGRAM);
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let agent = Agent::new(caller);
        agent.secret("anthropic", KEY);
        let base = format!("base_url={}", network.base_url());
        let mut add = caller.lazaret();
        add.args(["channel", "add", "lab", "--network", "lab", "--program", "lab", "--config", &base, "--credential", "-"]);
        let token = caller.file("token", TOKEN);
        let added = finish(add, std::fs::File::open(token).expect("open").into());
        assert!(added.status.success(), "{added:?}");
        let chat = Self { agent, network, _server: server, _runtime: runtime };
        assert!(
            within(PATIENCE, || chat.json(&["channel", "show", "lab"])["health"] == "well"),
            "{}",
            chat.json(&["channel", "show", "lab"])
        );
        chat
    }

    /// What a command says, as JSON.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let words: Vec<&str> = std::iter::once("--json").chain(args.iter().copied()).collect();
        serde_json::from_str(&self.agent.ok(&words)).expect("JSON")
    }

    /// Somebody proves with a code that a chat is theirs.
    #[track_caller]
    pub(crate) fn pair(&self, chat: &str, sender: &str, role: &str) {
        let code = self.agent.ok(&["wire", "pair", "--agent", "default", "--role", role]);
        self.network.say(said(&format!("pair-{sender}"), chat, sender, &code));
        self.seen(chat, |text| text.starts_with("Paired"));
    }

    /// A chat that the agent hears whole, with this policy.
    #[track_caller]
    pub(crate) fn hears(&self, chat: &str, policy: &str, more: &[&str]) {
        self.agent.ok(&["chats", "add", "lab", chat, "--group"]);
        let place = format!("lab/{chat}");
        let wire = ["wire", "add", &place, "--agent", "default", "--engage", "pattern", "--pattern", ".", "--senders", "all"];
        self.agent.ok(&[&wire[..], more].concat());
        let id = self.chat_id(chat);
        self.agent.ok(&["chats", "set", &id, "--policy", policy]);
    }

    /// The host's identity of a chat.
    #[track_caller]
    pub(crate) fn chat_id(&self, chat: &str) -> String {
        let all = self.agent.ok(&["--json", "chats", "list"]);
        let mut views = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let view = views.find(|view| view["chat"] == chat).unwrap_or_else(|| panic!("no {chat}: {all}"));
        view["id"].as_str().expect("an identity").to_owned()
    }

    /// Who a handle is.
    #[track_caller]
    pub(crate) fn user(&self, handle: &str) -> String {
        let all = self.agent.ok(&["--json", "people", "handles"]);
        let mut views = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let view = views.find(|view| view["handle"] == handle).unwrap_or_else(|| panic!("no {handle}: {all}"));
        view["user"].as_str().expect("an identity").to_owned()
    }

    /// Somebody says something, and gets an answer in the chat that holds this.
    #[track_caller]
    pub(crate) fn asks(&self, id: &str, chat: &str, sender: &str, text: &str, answer: &str) -> Effect {
        let before = self.network.effects().len();
        self.network.say(said(id, chat, sender, text));
        self.seen_after(before, chat, |text| text.contains(answer))
    }

    /// Somebody presses a button, and gets an answer in the chat that holds this.
    #[track_caller]
    pub(crate) fn presses(&self, id: &str, chat: &str, sender: &str, value: &str, answer: &str) {
        let before = self.network.effects().len();
        self.network.say(pressed(id, chat, sender, value));
        self.seen_after(before, chat, |text| text.contains(answer));
    }

    /// What becomes visible in a chat with such a text.
    #[track_caller]
    pub(crate) fn seen(&self, chat: &str, is_it: impl Fn(&str) -> bool) -> Effect {
        self.seen_after(0, chat, is_it)
    }

    /// The same of what becomes visible after so many effects.
    #[track_caller]
    fn seen_after(&self, before: usize, chat: &str, is_it: impl Fn(&str) -> bool) -> Effect {
        let find = |effects: &[Effect]| effects.iter().skip(before).find(|effect| effect.chat == chat && is_it(effect.text())).cloned();
        let effects = self.network.wait(PATIENCE, |effects| find(effects).is_some());
        find(&effects).expect("it is there")
    }

    /// The cards that a chat was shown, in order.
    pub(crate) fn cards(&self, chat: &str) -> Vec<Effect> {
        cards_in(&self.network.effects(), chat)
    }

    /// The card of this number, from 1, that a chat is shown.
    #[track_caller]
    pub(crate) fn card(&self, chat: &str, number: usize) -> Effect {
        let effects = self.network.wait(PATIENCE, |effects| cards_in(effects, chat).len() >= number);
        cards_in(&effects, chat).swap_remove(number - 1)
    }

    /// Everything that is visible in a chat.
    pub(crate) fn texts(&self, chat: &str) -> Vec<String> {
        self.network.effects().iter().filter(|effect| effect.chat == chat).map(|effect| effect.text().to_owned()).collect()
    }

    /// What became of a message, once the host has heard it.
    #[track_caller]
    pub(crate) fn why(&self, message: &str) -> Value {
        let mut said = Value::Null;
        let heard = within(PATIENCE, || {
            let mut command = self.agent.caller.lazaret();
            command.args(["--json", "why", message]);
            let ran = finish(command, std::process::Stdio::null());
            said = serde_json::from_slice(&ran.stdout).unwrap_or_default();
            ran.status.success()
        });
        assert!(heard, "{message} was not heard");
        said
    }
}

fn cards_in(effects: &[Effect], chat: &str) -> Vec<Effect> {
    effects.iter().filter(|effect| effect.chat == chat && effect.button(0).is_some()).cloned().collect()
}
