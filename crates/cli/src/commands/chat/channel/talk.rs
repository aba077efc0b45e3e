//! A conversation on the terminal, as the daemon is asked about it.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use app::{WebEditForm, WebMessage, WebMessageForm, WebMessages, WebPressForm, WebSaid};
use http::Method;
use model::{Code, Failure};
use serde::Serialize;

use super::shown::{self, Shown};
use crate::client::{Client, collect, full, internal};
use crate::commands::Context;
use crate::commands::begin::{accepted_once, again};
use crate::commands::chat::attach;
use crate::commands::sandbox::escaped;
use crate::env::Env;
use crate::exit::clean;
use crate::home::random_hex;
use crate::out;

/// Messages of one look.
const PAGE: usize = 100;
/// Files that can still be kept; older ones are found on the page of `lazaret ui` no more than here.
const FILES_MAX: usize = 200;

/// What was shown of a message.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Known {
    text: String,
    reactions: usize,
    lost: usize,
    is_over: bool,
}

/// A file that can be kept.
#[derive(Debug)]
struct Lent {
    number: usize,
    message: String,
    file: String,
    name: String,
}

/// A conversation.
pub(super) struct Talk<'a> {
    context: &'a Context,
    client: &'a Client,
    agent: String,
    chat: Option<String>,
    version: u64,
    known: HashMap<String, Known>,
    files: VecDeque<Lent>,
    files_seen: usize,
    /// The message whose buttons are pressed, and what each says and sends.
    buttons: Option<(String, Vec<(String, String)>)>,
    /// What was said last.
    own: Option<String>,
    /// What was said and is not over.
    pending: Option<String>,
    /// What was said last that became a turn, until that ends.
    turn_of: Option<String>,
    is_asked: bool,
    is_bad: bool,
}

/// A look that waits for a change.
pub(super) struct Wait {
    path: String,
}

impl Wait {
    pub(super) async fn ask(&self, client: &Client) -> Result<WebMessages, Failure> {
        client.json(Method::GET, &self.path, None).await
    }
}

impl<'a> Talk<'a> {
    /// Looks at a conversation; gives what was said in it lately.
    pub(super) async fn open(
        context: &'a Context,
        client: &'a Client,
        agent: &str,
        chat: Option<&str>,
    ) -> Result<(Self, Vec<Shown>), Failure> {
        let mut talk = Self {
            context,
            client,
            agent: agent.to_owned(),
            chat: chat.map(str::to_owned),
            version: 0,
            known: HashMap::new(),
            files: VecDeque::new(),
            files_seen: 0,
            buttons: None,
            own: None,
            pending: None,
            turn_of: None,
            is_asked: false,
            is_bad: false,
        };
        let first: WebMessages = client.json(Method::GET, &talk.path("", &[("limit", PAGE.to_string())]), None).await?;
        let items = first.items.clone();
        let mut fresh: HashMap<String, Shown> = talk.take(first).into_iter().map(|shown| (shown.message.id.clone(), shown)).collect();
        let said = |item: WebMessage| if item.by == "you" { Some(Shown::own(item)) } else { fresh.remove(&item.id) };
        let shown = items.into_iter().filter_map(said).collect();
        Ok((talk, shown))
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        match &self.chat {
            Some(chat) => format!("{} on the terminal, {chat}", self.agent),
            None => format!("{} on the terminal", self.agent),
        }
    }

    /// An address below the messages of this conversation.
    fn path(&self, below: &str, query: &[(&str, String)]) -> String {
        let chat = self.chat.iter().map(|chat| ("chat", chat.clone()));
        let words: Vec<String> = chat.chain(query.iter().cloned()).map(|(name, value)| format!("{name}={}", escaped(&value))).collect();
        let agent = escaped(&self.agent).replace('/', "%2F");
        let query = if words.is_empty() { String::new() } else { format!("?{}", words.join("&")) };
        format!("/v1/terminal/chats/{agent}/messages{below}{query}")
    }

    /// The look that comes next: it waits this many seconds for a change.
    pub(super) fn asked(&self, wait_s: u64) -> Wait {
        let number = |n: u64| n.to_string();
        Wait { path: self.path("", &[("limit", PAGE.to_string()), ("seen", number(self.version)), ("wait_s", number(wait_s))]) }
    }

    /// Looks, with the next daemon when one has just died.
    pub(super) async fn look(&self, wait_s: u64) -> Result<WebMessages, Failure> {
        let wait = self.asked(wait_s);
        again(async || wait.ask(self.client).await).await
    }

    /// Whether what was said last is not over, and nothing is asked either.
    pub(super) fn waits(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether somebody must answer before the last turn goes on.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked && self.turn_of.is_some()
    }

    /// Whether the last message came to nothing.
    pub(super) fn ended_badly(&self) -> bool {
        self.is_bad
    }

    /// Says something; files that it names go along.
    pub(super) async fn say(&mut self, text: &str) -> Result<(), Failure> {
        let (text, files) = attach::gather(text, "", &self.context.env)?;
        let key = random_hex::<16>()?;
        accepted_once(self.client, &self.path("", &[]), &key, bytes_of(&WebMessageForm { text, files })?).await?;
        let id = format!("key:{key}");
        (self.own, self.pending, self.is_asked, self.is_bad) = (Some(id.clone()), Some(id), false, false);
        Ok(())
    }

    /// Gives what was said last another text.
    pub(super) async fn edit(&mut self, text: &str) -> Result<(), Failure> {
        let nothing = || Failure::new(Code::NotFound, "nothing was said here yet");
        let own = self.own.clone().ok_or_else(nothing)?;
        let path = self.path(&format!("/{}", escaped(&own)), &[]);
        let said: WebSaid = self.send(Method::PATCH, &path, &WebEditForm { text: text.to_owned() }).await?;
        tell(&said);
        Ok(())
    }

    /// Presses a button of the last message that has some.
    pub(super) async fn press(&mut self, which: &str) -> Result<(), Failure> {
        let nothing = || Failure::new(Code::NotFound, "there is nothing to press");
        let (message, buttons) = self.buttons.clone().ok_or_else(nothing)?;
        let by_number = which.parse::<usize>().ok().and_then(|n| buttons.get(n.checked_sub(1)?));
        let found = by_number.or_else(|| buttons.iter().find(|(label, _)| label.eq_ignore_ascii_case(which)));
        let (_, value) =
            found.ok_or_else(|| Failure::new(Code::Usage, format!("it has {} buttons, and none is called so", buttons.len())))?;
        let path = self.path(&format!("/{}/press", escaped(&message)), &[]);
        let said: WebSaid = self.send(Method::POST, &path, &WebPressForm { value: value.clone() }).await?;
        tell(&said);
        (self.pending, self.is_asked, self.is_bad) = (self.turn_of.clone(), false, false);
        Ok(())
    }

    /// Keeps a file that was sent here.
    pub(super) async fn save(&mut self, number: usize, path: Option<&str>) -> Result<(), Failure> {
        let lent = self.files.iter().find(|lent| lent.number == number);
        let lent = lent.ok_or_else(|| Failure::new(Code::NotFound, format!("no file {number} was shown")))?;
        let unusable = |why: String| Failure::new(Code::PathUnusable, why);
        let to = match path.map(Env::in_user_home) {
            Some(dir) if dir.is_dir() => dir.join(file_name(&lent.name)?),
            Some(path) => path,
            None => PathBuf::from(file_name(&lent.name)?),
        };
        let from = self.path(&format!("/{}/files/{}", escaped(&lent.message), escaped(&lent.file)), &[]);
        let bytes = collect(self.client.send(Method::GET, &from, "application/json", full(Vec::new())).await?).await?;
        let shown = clean(&to.display().to_string());
        let wrong = |e: std::io::Error| unusable(format!("`{shown}` cannot be written: {e}"));
        // What is there stays: an agent chose the name.
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to).map_err(wrong)?;
        file.write_all(&bytes).map_err(wrong)?;
        out::note(&format!("kept as {shown}"));
        Ok(())
    }

    async fn send<T: serde::de::DeserializeOwned>(&self, method: Method, path: &str, form: &impl Serialize) -> Result<T, Failure> {
        let form = serde_json::to_value(form).map_err(|e| internal(&e.to_string()))?;
        self.client.json(method, path, Some(&form)).await
    }

    /// Takes a look in; gives what is new in it.
    pub(super) fn take(&mut self, page: WebMessages) -> Vec<Shown> {
        let WebMessages { items, edits, next, version } = page;
        self.version = version;
        let mut shown = Vec::new();
        let mut now_known = HashMap::new();
        let is_whole = next.is_none();
        let is_there = |id: &Option<String>| id.as_ref().is_none_or(|id| items.iter().any(|item| item.id == *id));
        // What is so far back that it is not looked at any more is not waited for.
        if !is_whole && !is_there(&self.pending) {
            self.pending = None;
        }
        if !is_whole && !is_there(&self.turn_of) {
            self.turn_of = None;
        }
        for item in items {
            let before = self.known.get(&item.id).cloned();
            let known =
                if item.by == "you" { self.take_own(&item, before, &mut shown) } else { self.take_other(&item, before, &mut shown) };
            now_known.insert(item.id, known);
        }
        for edit in edits {
            let known = Known { text: edit.text.clone(), ..Known::default() };
            let is_new = self.known.get(&edit.id).is_some_and(|before| before.text != edit.text);
            now_known.insert(edit.id.clone(), known);
            if is_new {
                shown.push(Shown::changed(edit));
            }
        }
        self.known = now_known;
        shown
    }

    fn take_other(&mut self, item: &WebMessage, before: Option<Known>, shown: &mut Vec<Shown>) -> Known {
        let known = Known { text: item.text.clone(), reactions: item.reactions.len(), ..Known::default() };
        match &before {
            None => {
                let numbers = self.lend(item);
                if item.asks {
                    (self.is_asked, self.pending) = (true, None);
                }
                shown.push(Shown::fresh(item.clone(), &numbers));
            }
            Some(before) if before.text != item.text => shown.push(Shown::changed(item.clone())),
            Some(_) => {}
        }
        if !item.buttons.is_empty() {
            let all = item.buttons.iter().map(|button| (button.label.clone(), button.value.clone()));
            self.buttons = Some((item.id.clone(), all.collect()));
        } else if self.buttons.as_ref().is_some_and(|(id, _)| *id == item.id) {
            self.buttons = None;
        }
        let notes = shown::reactions(item, before.map_or(0, |before| before.reactions));
        if !notes.is_empty() {
            shown.push(Shown::beside(item.clone(), notes));
        }
        known
    }

    fn take_own(&mut self, item: &WebMessage, before: Option<Known>, shown: &mut Vec<Shown>) -> Known {
        let before = before.unwrap_or_default();
        let lost = item.files.iter().filter(|file| file.error.is_some()).count();
        let is_turn = item.outcome.as_deref() == Some("turn");
        let is_over = !is_turn || matches!(item.state.as_deref(), Some("done" | "failed" | "cancelled"));
        let is_pending = self.pending.as_deref() == Some(item.id.as_str());
        if is_pending && is_turn {
            self.turn_of = Some(item.id.clone());
        }
        let is_ours = is_pending || self.turn_of.as_deref() == Some(item.id.as_str());
        let mut notes = shown::missing(item, before.lost);
        if is_ours && is_over {
            if !before.is_over {
                notes.extend(shown::trouble(item));
            }
            let is_refused = matches!(item.outcome.as_deref(), Some("held" | "dropped"));
            self.is_bad |= is_refused || item.state.as_deref() == Some("failed");
            if is_turn {
                (self.turn_of, self.is_asked) = (None, false);
            }
            if is_pending {
                // An answer lets the turn that asked go on.
                self.pending = if item.outcome.as_deref() == Some("answer") { self.turn_of.clone() } else { None };
            }
        }
        notes.extend(shown::reactions(item, before.reactions));
        self.own.get_or_insert_with(String::new).clone_from(&item.id);
        if !notes.is_empty() {
            shown.push(Shown::beside(item.clone(), notes));
        }
        Known { text: item.text.clone(), reactions: item.reactions.len(), lost, is_over }
    }

    /// Numbers for the files that came with a message.
    fn lend(&mut self, item: &WebMessage) -> Vec<usize> {
        let mut numbers = Vec::new();
        for file in &item.files {
            let Some(id) = &file.id else { continue };
            self.files_seen += 1;
            if self.files.len() >= FILES_MAX {
                self.files.pop_front();
            }
            let (message, file, name) = (item.id.clone(), id.clone(), file.name.clone());
            self.files.push_back(Lent { number: self.files_seen, message, file, name });
            numbers.push(self.files_seen);
        }
        numbers
    }
}

/// What a file may be called here: agents name files.
fn file_name(name: &str) -> Result<&str, Failure> {
    let is_plain =
        !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && !name.contains('/') && !name.chars().any(char::is_control);
    if is_plain && Path::new(name).file_name().is_some() {
        return Ok(name);
    }
    Err(Failure::new(Code::PathUnusable, "the file has a name that is none here").hint("say where: /save N PATH"))
}

fn bytes_of(form: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(form).map_err(|e| internal(&e.to_string()))
}

/// Tells what became of something that changed nothing.
fn tell(said: &WebSaid) {
    if matches!(said.outcome.as_deref(), Some("dropped" | "held")) {
        let why = said.reason.as_deref().or(said.gate.as_deref()).unwrap_or("nothing came of it");
        out::note(&clean(&format!("it was not taken: {why}")));
    }
}
