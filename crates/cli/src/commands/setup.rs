//! `lazaret setup`: the first steps, in a terminal or by flags. Both do the same, in the same order, and either can go on where the
//! other stopped: what is done is seen from what is there.

use std::io::{BufRead, IsTerminal, Read};
use std::sync::OnceLock;
use std::time::Duration;

use app::{AgentForm, ChannelView, DEFAULT_AGENT, PairingView, SessionView, SetupState, SetupStep, SetupView};
use http::Method;
use model::{Code, Failure, Outcome};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::screen::Form;
use super::{Context, config, once, secret, text};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::out;

/// How long an account may take to connect before the next step comes.
const CONNECT_WAIT: Duration = Duration::from_secs(20);
/// How long somebody may take to send the code.
const PAIR_WAIT: Duration = Duration::from_secs(600);
/// How often is looked whether they did.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The longest answer to a question, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How often a value that is needed is asked for; who ends their input would be asked for ever.
const TYPED_TRIES_MAX: u32 = 3;
/// The longest standing instructions, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 128 << 10;
/// Models of a server that are named to choose from.
const SHOWN_MODELS_MAX: usize = 30;
/// Where models of this machine usually answer.
const LOCAL_URL: &str = "http://127.0.0.1:11434/v1";
/// The provider that stands for them.
const LOCAL: &str = "local";
/// Providers that are offered.
const PROVIDERS: [(&str, &str); 4] = [
    ("anthropic", "Anthropic (Claude): a key of console.anthropic.com"),
    ("openai", "OpenAI: a key of platform.openai.com"),
    ("gemini", "Google (Gemini): a key of aistudio.google.com"),
    (LOCAL, "a model of this machine: Ollama, vLLM, llama.cpp or the like"),
];

/// A network as the daemon describes it.
#[derive(Debug, Deserialize)]
struct Guide {
    network: String,
    title: String,
    steps: Vec<String>,
    fields: Vec<Field>,
    reached: bool,
    hello: String,
}

#[derive(Debug, Deserialize)]
struct Field {
    key: String,
    what: String,
    required: bool,
    secret: bool,
}

pub(super) async fn run(context: &Context, flags: args::Setup) -> Done {
    let home = Home::open(&context.env.home)?;
    let client = Client::new(&home, context.may_start);
    if flags.restart {
        let _: SetupView = client.json(Method::DELETE, "/v1/setup", None).await?;
    }
    for step in &flags.skip {
        note(&client, step, true, "").await?;
    }
    let secrets = Secrets::read(&flags)?;
    let asks = !flags.yes && !context.json && std::io::stdin().is_terminal();
    let steps = Steps { context, home: &home, client: &client, flags: &flags, secrets, asks, chosen: OnceLock::new() };
    steps.model().await?;
    steps.agent().await?;
    steps.channel().await?;
    steps.pair().await?;
    steps.hello().await?;
    let view = show(&client).await?;
    if context.json {
        out::json(&view)?;
    } else {
        tell(&view);
    }
    Ok(0)
}

async fn show(client: &Client) -> Result<SetupView, Failure> {
    client.json(Method::GET, "/v1/setup", None).await
}

async fn note(client: &Client, step: &str, skip: bool, note: &str) -> Result<SetupView, Failure> {
    client.json(Method::POST, "/v1/setup", Some(&json!({ "step": step, "skip": skip, "note": note }))).await
}

fn tell(view: &SetupView) {
    for step in &view.steps {
        let word = match step.state {
            SetupState::Done => "done",
            SetupState::Skipped => "skipped",
            SetupState::Todo => "to do",
        };
        out::line(&format!("{word:<8} {:<8} {}", step.step.as_str(), clean(&step.what)));
        if !step.fix.is_empty() {
            out::line(&format!("{:<17} -> {}", "", clean(&step.fix)));
        }
    }
}

/// Values that came on standard input, which is read once: each on a line of its own, the provider's key first.
struct Secrets {
    key: Option<Zeroizing<String>>,
    credentials: Map<String, Value>,
}

impl Secrets {
    fn read(flags: &args::Setup) -> Result<Self, Failure> {
        let mut wanted: Vec<Option<String>> = Vec::new();
        match flags.key.as_deref() {
            None => {}
            Some("-") => wanted.push(None),
            Some(_) => {
                return Err(Failure::new(Code::Usage, "a key is not taken from the command line, where others can see it")
                    .hint("--key -   and type or pipe it")
                    .field("--key"));
            }
        }
        for pair in &flags.credential {
            match pair.split_once('=') {
                Some((key, "-")) => wanted.push(Some(key.to_owned())),
                _ => {
                    return Err(Failure::new(Code::Usage, "a credential is not taken from the command line, where others can see it")
                        .hint("--credential KEY=-   and type or pipe it")
                        .field("--credential"));
                }
            }
        }
        let mut found = Self { key: None, credentials: Map::new() };
        let is_terminal = std::io::stdin().is_terminal();
        let piped = if is_terminal || wanted.is_empty() { Zeroizing::new(String::new()) } else { piped()? };
        let mut lines = piped.lines();
        let is_one = wanted.len() == 1;
        for name in wanted {
            let value = match (is_terminal, is_one) {
                (true, _) => secret::read(name.as_deref().unwrap_or("the key"))?,
                // One value may have several lines.
                (false, true) => Zeroizing::new(piped.trim().to_owned()),
                (false, false) => Zeroizing::new(lines.next().unwrap_or_default().trim().to_owned()),
            };
            if value.is_empty() {
                return Err(Failure::new(
                    Code::Usage,
                    format!("standard input holds no value for {}", name.as_deref().unwrap_or("the key")),
                ));
            }
            match name {
                None => found.key = Some(value),
                Some(name) => drop(found.credentials.insert(name, Value::String(value.to_string()))),
            }
        }
        Ok(found)
    }
}

fn piped() -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(ANSWER_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|e| Failure::new(Code::Usage, format!("standard input cannot be read: {e}")))?;
    if text.len() as u64 > ANSWER_BYTES_MAX {
        return Err(Failure::new(Code::Usage, format!("standard input holds more than {ANSWER_BYTES_MAX} bytes")));
    }
    Ok(text)
}

struct Steps<'a> {
    context: &'a Context,
    home: &'a Home,
    client: &'a Client,
    flags: &'a args::Setup,
    secrets: Secrets,
    /// Whether a person is asked what the flags do not say.
    asks: bool,
    /// The model that was named, with its provider: the agent asks it.
    chosen: OnceLock<String>,
}

impl Steps<'_> {
    /// Whether a step is to be done now; says where it stands when a person looks.
    async fn wants(&self, step: SetupStep, is_flagged: bool, title: &str) -> Result<bool, Failure> {
        let view = show(self.client).await?;
        let Some(found) = view.steps.into_iter().find(|view| view.step == step) else { return Ok(false) };
        if is_flagged {
            return Ok(true);
        }
        if self.asks {
            out::line(&format!("\n{title}"));
        }
        match found.state {
            SetupState::Done if self.asks => out::line(&format!("  done: {}", clean(&found.what))),
            SetupState::Skipped if self.asks => out::line("  passed over (lazaret setup --restart asks again)"),
            SetupState::Todo => return Ok(self.asks),
            _ => {}
        }
        Ok(false)
    }

    /// Notes that the person at the terminal passes a step over.
    async fn skip(&self, step: SetupStep) -> Result<(), Failure> {
        note(self.client, step.as_str(), true, "").await.map(drop)
    }

    async fn model(&self) -> Result<(), Failure> {
        if !self.wants(SetupStep::Model, self.flags.provider.is_some(), "1 of 5: a model").await? {
            return Ok(());
        }
        loop {
            let Some(provider) = self.provider()? else { return self.skip(SetupStep::Model).await };
            self.keep_provider(&provider).await?;
            if self.flags.no_test {
                return Ok(());
            }
            let model = match &self.flags.model {
                Some(model) => Some(model.clone()),
                None if provider == LOCAL && self.asks => {
                    self.show_models(&provider).await;
                    prompt("  the model's name: ")?
                }
                None => None,
            };
            if provider == LOCAL && model.is_none() {
                return Err(Failure::new(Code::Usage, "a model of this machine is named").hint("--model NAME").field("--model"));
            }
            match self.try_model(&provider, model.as_deref()).await {
                Ok(answered) => {
                    if let Some(model) = model {
                        let _ = self.chosen.set(format!("{provider}/{model}"));
                    }
                    self.say(&format!("  {answered} answered"));
                    note(self.client, SetupStep::Model.as_str(), false, &answered).await?;
                    return Ok(());
                }
                Err(failure) if self.asks && self.flags.provider.is_none() => {
                    out::line(&format!("  it did not answer: {}", clean(&failure.message)));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// What there is to choose from, where the server says so.
    async fn show_models(&self, provider: &str) {
        let Ok(listed) = super::provider::models(self.client, provider, true).await else { return };
        let names: Vec<&str> = listed.models.iter().take(SHOWN_MODELS_MAX).map(|model| model.id.as_str()).collect();
        if !names.is_empty() {
            out::line(&clean(&format!("  it has: {}", names.join(", "))));
        }
    }

    /// Whose models are used; none to pass it over.
    fn provider(&self) -> Result<Option<String>, Failure> {
        if let Some(provider) = &self.flags.provider {
            return Ok(Some(provider.clone()));
        }
        for (n, (_, what)) in (1..).zip(PROVIDERS) {
            out::line(&format!("  {n}  {what}"));
        }
        let Some(said) = prompt("  which (Enter passes it over): ")? else { return Ok(None) };
        let by_number = said.parse::<usize>().ok().and_then(|n| PROVIDERS.get(n.checked_sub(1)?)).map(|(name, _)| (*name).to_owned());
        Ok(Some(by_number.unwrap_or(said)))
    }

    async fn keep_provider(&self, provider: &str) -> Result<(), Failure> {
        if !model::is_name(provider) {
            return Err(Failure::new(Code::Usage, "a provider's name has small letters, digits and `-`").field("--provider"));
        }
        let known = PROVIDERS.iter().any(|(name, _)| *name == provider && provider != LOCAL);
        let url = match &self.flags.base_url {
            Some(url) => Some(url.clone()),
            None if provider == LOCAL && self.asks => {
                Some(prompt(&format!("  its address [{LOCAL_URL}]: "))?.unwrap_or_else(|| LOCAL_URL.to_owned()))
            }
            None if provider == LOCAL => Some(LOCAL_URL.to_owned()),
            None if known => None,
            None => {
                return Err(Failure::new(Code::Usage, format!("where {provider} answers is not known"))
                    .hint("--base-url URL")
                    .field("--base-url"));
            }
        };
        if let Some(url) = url {
            self.put(&format!("providers.{provider}.base_url"), &url).await?;
            if !known {
                self.put(&format!("providers.{provider}.kind"), "openai").await?;
            }
        }
        if provider == LOCAL {
            return self.put(&format!("providers.{provider}.keyless"), "true").await;
        }
        let key = match &self.secrets.key {
            Some(key) => Some(key.clone()),
            None if self.asks => typed(provider, true)?,
            None => None,
        };
        if let Some(key) = key {
            let body = json!({ "value": key.as_str() });
            self.client.json::<Value>(Method::PUT, &format!("/v1/secrets/{provider}"), Some(&body)).await?;
        }
        Ok(())
    }

    async fn put(&self, key: &str, value: &str) -> Result<(), Failure> {
        config::put(self.context, self.home, key, value).await
    }

    /// One call, the whole way: sandbox, door, provider. Gives who answered.
    async fn try_model(&self, provider: &str, model: Option<&str>) -> Result<String, Failure> {
        // Without a model's name the engine's own choice is asked for.
        let model = model.map(|model| format!("{provider}/{model}"));
        let form = json!({ "engine": "mini", "model": model, "title": "setup", "workdir": "/workspace" });
        let session: SessionView = self.client.json(Method::POST, "/v1/sessions", Some(&form)).await?;
        let text = "Answer with the one word: ready".to_owned();
        let answered = format!("{}/{}", session.provider, if session.model.is_empty() { "its usual model" } else { &session.model });
        if session.provider != provider {
            let path = format!("/v1/sessions/{}", session.id);
            let _ = self.client.json::<Value>(Method::DELETE, &path, None).await;
            return Err(Failure::new(Code::KeyMissing, format!("{provider} has no key, or does not fit the engine"))
                .hint("--key -, or --model NAME"));
        }
        let result = once::turn(self.client, &session, Form::Silent, text, false).await?;
        if result.status == Outcome::Completed {
            return Ok(answered);
        }
        Err(Failure::new(result.code.unwrap_or(Code::ProviderDown), format!("{answered} did not answer: {}", result.text))
            .hint("check the key and the model's name; --no-test stores it untried"))
    }

    async fn agent(&self) -> Result<(), Failure> {
        if !self.wants(SetupStep::Agent, self.flags.agent.is_some(), "2 of 5: an agent").await? {
            return Ok(());
        }
        let name = match &self.flags.agent {
            Some(name) => name.clone(),
            None => loop {
                let Some(name) = prompt("  its name, like andy (Enter passes it over): ")? else {
                    return self.skip(SetupStep::Agent).await;
                };
                if model::is_name(&name) {
                    break name;
                }
                out::line("  a name has small letters, digits and `-`");
            },
        };
        let instructions = match &self.flags.instructions {
            Some(given) => text::given("--instructions", given, INSTRUCTIONS_BYTES_MAX)?,
            None if self.asks => prompt("  what it should know of you and its work, in a line: ")?.unwrap_or_default(),
            None => String::new(),
        };
        let path = format!("/v1/agents/{}", super::sandbox::plain(&name)?);
        let there = match self.client.json::<AgentForm>(Method::GET, &path, None).await {
            Ok(agent) => Some(agent),
            Err(failure) if failure.code == Code::NotFound => None,
            Err(failure) => return Err(failure),
        };
        let is_new = there.is_none();
        let mut agent = there.unwrap_or_else(|| AgentForm { name: name.clone(), ..AgentForm::default() });
        if !instructions.is_empty() {
            agent.instructions = instructions;
        }
        let flagged = self.flags.provider.as_ref().zip(self.flags.model.as_ref()).map(|(provider, model)| format!("{provider}/{model}"));
        if let Some(model) = flagged.or_else(|| self.chosen.get().cloned()) {
            agent.model = Some(model);
        }
        let body = serde_json::to_value(&agent).map_err(|e| crate::client::internal(&e.to_string()))?;
        let (method, path) = if is_new { (Method::POST, "/v1/agents".to_owned()) } else { (Method::PUT, path) };
        self.client.json::<AgentForm>(method, &path, Some(&body)).await?;
        self.say(&format!("  the agent {name} is there"));
        Ok(())
    }

    async fn channel(&self) -> Result<(), Failure> {
        if !self.wants(SetupStep::Channel, self.flags.network.is_some(), "3 of 5: a chat network").await? {
            return Ok(());
        }
        let all: Value = self.client.json(Method::GET, "/v1/networks", None).await?;
        let guides: Vec<Guide> = serde_json::from_value(all["items"].clone()).map_err(|e| crate::client::internal(&e.to_string()))?;
        let asked = match &self.flags.network {
            Some(network) => network.clone(),
            None => {
                let row = |guide: &Guide| vec![guide.network.clone(), guide.title.clone()];
                out::table(&["network", ""], &guides.iter().map(row).collect::<Vec<_>>());
                loop {
                    let Some(network) = prompt("  which (Enter passes it over): ")? else {
                        return self.skip(SetupStep::Channel).await;
                    };
                    if guides.iter().any(|guide| guide.network == network) {
                        break network;
                    }
                    out::line(&format!("  no network is called `{}`: type one of the first column", clean(&network)));
                }
            }
        };
        let Some(guide) = guides.iter().find(|guide| guide.network == asked) else {
            return Err(Failure::new(Code::Usage, format!("no network is called `{}`", asked.escape_debug()))
                .hint("lazaret setup shows them, or lazaret channel add for a program of your own")
                .field("--network"));
        };
        let view = self.connect(guide).await?;
        self.say(&format!(
            "  {}: {}{}",
            view.name,
            view.health,
            if view.message.is_empty() { String::new() } else { format!(" ({})", clean(&view.message)) }
        ));
        if guide.reached
            && let Some(hook) = &view.hook
        {
            self.say(&format!("  give the platform this address: https://YOUR-HOST{hook}"));
        }
        self.say(&format!("  {}", guide.hello));
        Ok(())
    }

    /// Adds the account, or gives it what is said now, and waits until it is known how it is.
    async fn connect(&self, guide: &Guide) -> Result<ChannelView, Failure> {
        let mut settings = super::channel::config(&self.flags.config)?;
        let mut credentials = self.secrets.credentials.clone();
        if self.asks {
            for (n, step) in (1..).zip(&guide.steps) {
                out::line(&format!("  {n}. {step}"));
            }
            for field in &guide.fields {
                if field.secret && !credentials.contains_key(&field.key) {
                    let optional = if field.required { "" } else { " (Enter: none)" };
                    if let Some(value) = typed(&format!("{}: {}{optional}", field.key, field.what), field.required)? {
                        credentials.insert(field.key.clone(), Value::String(value.to_string()));
                    }
                } else if !field.secret && !settings.contains_key(&field.key) {
                    let optional = if field.required { "" } else { " (Enter: none)" };
                    if let Some(value) = prompt(&format!("  {}: {}{optional}: ", field.key, field.what))? {
                        settings.insert(field.key.clone(), serde_json::from_str(&value).unwrap_or(Value::String(value)));
                    }
                }
            }
        }
        let name = guide.network.clone();
        let path = format!("/v1/channels/{name}");
        let there = self.client.json::<ChannelView>(Method::GET, &path, None).await.is_ok();
        let mut view: ChannelView = if there {
            let mut patch = json!({ "credentials": credentials, "on": true });
            if !settings.is_empty() {
                patch["config"] = Value::Object(settings);
            }
            self.client.json(Method::PATCH, &path, Some(&patch)).await?
        } else {
            let form = json!({ "name": name, "network": guide.network, "config": settings, "credentials": credentials });
            self.client.json(Method::POST, "/v1/channels", Some(&form)).await?
        };
        let deadline = tokio::time::Instant::now() + CONNECT_WAIT;
        while matches!(view.health.as_str(), "starting" | "connecting") && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            view = self.client.json(Method::GET, &path, None).await?;
        }
        Ok(view)
    }

    async fn pair(&self) -> Result<(), Failure> {
        let view = show(self.client).await?;
        let state = |step: SetupStep| view.steps.iter().find(|view| view.step == step).map(|view| view.state);
        // Without an account there is no chat to pair.
        let has_channel = state(SetupStep::Channel) == Some(SetupState::Done);
        let is_open = state(SetupStep::Pair) == Some(SetupState::Todo);
        let flagged = self.flags.network.is_some() && is_open;
        if !has_channel || !self.wants(SetupStep::Pair, flagged, "4 of 5: your chat").await? {
            return Ok(());
        }
        let agent = self.first_agent().await?;
        let form = json!({ "agent": agent, "role": "owner" });
        let made: PairingView = self.client.json(Method::POST, "/v1/pairings", Some(&form)).await?;
        let code = made.code.unwrap_or_default();
        let code = code.get(..4).zip(code.get(4..)).map(|(a, b)| format!("{a} {b}")).unwrap_or_default();
        self.say(&format!("  send this code in the chat with your account, within ten minutes: {code}"));
        self.say(&format!("  {agent} hears the chat from then on, and you are its owner"));
        if self.context.json {
            return out::json(&json!({ "pairing": made.id, "code": code, "agent": agent }));
        }
        if !self.asks {
            return Ok(());
        }
        out::line("  waiting; Ctrl-C leaves it open, `lazaret setup` goes on");
        let deadline = tokio::time::Instant::now() + PAIR_WAIT;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = show(self.client).await?;
            if now.steps.iter().any(|view| view.step == SetupStep::Pair && view.state == SetupState::Done) {
                out::line("  paired");
                return Ok(());
            }
        }
        Ok(())
    }

    async fn hello(&self) -> Result<(), Failure> {
        let view = show(self.client).await?;
        let has_model = view.steps.iter().any(|view| view.step == SetupStep::Model && view.state == SetupState::Done);
        // By flags alone a hello is said where a model was just tried.
        let flagged =
            !self.asks && self.flags.provider.is_some() && !self.flags.no_test && !self.flags.skip.iter().any(|step| step == "hello");
        if !has_model || !self.wants(SetupStep::Hello, flagged, "5 of 5: hello").await? {
            return Ok(());
        }
        let said = if self.asks {
            prompt("  say something to it (Enter passes it over): ")?
        } else {
            Some("Say hello in one short sentence.".to_owned())
        };
        let Some(said) = said else { return self.skip(SetupStep::Hello).await };
        let agent = self.first_agent().await?;
        let form = json!({ "agent": agent, "title": "hello", "workdir": "/workspace" });
        let session: SessionView = self.client.json(Method::POST, "/v1/sessions", Some(&form)).await?;
        let result = once::turn(self.client, &session, Form::Silent, said, true).await?;
        if result.status != Outcome::Completed {
            return Err(Failure::new(result.code.unwrap_or(Code::Internal), format!("{agent} did not answer: {}", result.text))
                .hint(format!("lazaret session show {}", session.id)));
        }
        self.say(&format!("  {agent}: {}", clean(&result.text)));
        note(self.client, SetupStep::Hello.as_str(), false, &format!("{agent} answered in {}", session.id)).await.map(drop)
    }

    /// Who is talked to: the agent of the flags, else the first that somebody made.
    async fn first_agent(&self) -> Result<String, Failure> {
        if let Some(agent) = &self.flags.agent {
            return Ok(agent.clone());
        }
        let all: Value = self.client.json(Method::GET, "/v1/agents", None).await?;
        let names = all["items"].as_array().into_iter().flatten().filter_map(|agent| agent["name"].as_str());
        Ok(names.into_iter().find(|name| *name != DEFAULT_AGENT).unwrap_or(DEFAULT_AGENT).to_owned())
    }

    fn say(&self, text: &str) {
        if !self.context.json {
            out::line(text);
        }
    }
}

/// A value that is typed and not shown; none when it is empty and not needed.
fn typed(what: &str, is_needed: bool) -> Result<Option<Zeroizing<String>>, Failure> {
    for _ in 1..TYPED_TRIES_MAX {
        match secret::read(what) {
            Ok(value) => return Ok(Some(value)),
            Err(_) if !is_needed => return Ok(None),
            Err(failure) => out::line(&format!("  {}", clean(&failure.message))),
        }
    }
    secret::read(what).map(Some)
}

/// A line of the person's; none when it is empty or there is no more.
fn prompt(question: &str) -> Result<Option<String>, Failure> {
    out::piece(question);
    let mut line = String::new();
    let read = std::io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut line);
    read.map_err(|e| Failure::new(Code::Usage, format!("the answer cannot be read: {e}")))?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}
