//! `lazaret run`: one task, from the prompt to the result.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use app::{MountNote, SessionForm, SessionView, Tape};
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Code, Event, EventKind, Failure, Money, Outcome, PROMPT_BYTES_MAX, ResultEvent};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::repo::Clone;
use super::{Context, sandbox};
use crate::args;
use crate::client::{Client, Ticket, collect, full, internal};
use crate::config::Config;
use crate::exit::{Done, clean};
use crate::home::{Home, random_hex};
use crate::{out, places};

/// Where a program that the user brought is seen inside.
const OWN_ENGINE_DIR: &str = "/opt/lazaret/engines/own";
/// How much of a tool's input and output is shown to a person.
const SHOWN_CHARS: usize = 200;
/// How often a lost daemon is looked for again.
const RECONNECTS_MAX: usize = 60;
/// How often is tried what a dying daemon may have left undone.
const ATTEMPTS_MAX: usize = 4;
/// How long is waited between two looks.
const RECONNECT_STEP: std::time::Duration = std::time::Duration::from_millis(200);

pub(super) async fn run(context: &Context, flags: args::Run) -> Done {
    let prompt = prompt(&flags.prompt)?;
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let client = Client::new(&home, context.may_start);
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    let mut ended = signal(SignalKind::terminate()).map_err(|e| internal(&e.to_string()))?;
    let work = Work { context, flags: &flags, home: &home, config: &config, client: &client };
    // Until the turn is accepted, an interrupt has nothing to cancel: dropping the work ends it.
    let (session, _ticket) = tokio::select! {
        made = work.session() => made?,
        _ = interrupted.recv() => return Ok(130),
        _ = ended.recv() => return Ok(130),
    };
    let path = format!("/v1/sessions/{}", session.id);
    // It stays attached to the end: a session without anybody gives its sandbox up.
    let mut attached = Follow::new(&client, &session, context.json);
    let done = {
        let follow = work.turn(&mut attached, &path, &prompt);
        tokio::pin!(follow);
        let mut asked = false;
        loop {
            tokio::select! {
                done = &mut follow => break done,
                _ = interrupted.recv(), if !asked => asked = true,
                _ = ended.recv(), if !asked => asked = true,
            }
            if asked {
                let end = async {
                    let _ = client.json::<Value>(Method::POST, &format!("{path}/cancel"), None).await;
                    (&mut follow).await
                };
                break tokio::time::timeout(CANCEL_WAIT, end).await.unwrap_or_else(|_| Err(Failure::new(Code::Cancelled, "cancelled")));
            }
        }
    };
    let after = work.afterwards(&path, done.is_ok()).await;
    let result = done?;
    after?;
    Ok(exit_status(&result))
}

/// How long a cancelled turn may take to say so.
const CANCEL_WAIT: std::time::Duration = std::time::Duration::from_millis(1800);

struct Work<'a> {
    context: &'a Context,
    flags: &'a args::Run,
    home: &'a Home,
    config: &'a Config,
    client: &'a Client,
}

impl Work<'_> {
    /// Makes the session, or makes it ready again, with everything that it needs before its turn.
    async fn session(&self) -> Result<(SessionView, Option<Ticket>), Failure> {
        if let Some(id) = &self.flags.resume {
            return self.resume(id).await;
        }
        let limits = places::limits(&self.flags.limits, self.config)?;
        let mut places = places::places(&self.flags.places, self.config, &self.context.env)?;
        let (engine, program) = self.engine(&mut places)?;
        let (notes, fds) = sandbox::split(places.mounts)?;
        let budget = self.flags.budget_usd.as_deref().map(str::parse::<Money>).transpose();
        let form = SessionForm {
            engine,
            program,
            model: self.flags.model.clone(),
            limits: Some(limits),
            image: Some(sandbox::image_ref(places.image)),
            variables: places.env,
            workdir: Some("/workspace".to_owned()),
            egress: places.allow,
            budget: budget.map_err(|e| Failure::new(Code::Usage, e.to_string()).field("--budget-usd"))?,
            tape: match (&self.flags.record, &self.flags.replay) {
                (Some(_), _) => Tape::Record,
                (_, Some(_)) => Tape::Replay,
                _ => Tape::Off,
            },
            foreground: true,
            opened: notes,
            ..SessionForm::default()
        };
        // Whether or not a daemon that died over it made the session, nobody has asked anything of that one.
        let (session, ticket) = again(|| self.make(&form, &fds)).await?;
        let path = format!("/v1/sessions/{}", session.id);
        let prepared = self.prepare(&path).await;
        if let Err(failure) = prepared {
            let _ = self.client.json::<Value>(Method::DELETE, &path, None).await;
            return Err(failure);
        }
        if session.is_fallback && !self.context.json {
            out::note("no provider key is stored: this is a rehearsal, answered by a script and not by a model");
            out::note("to use a model: lazaret secret set anthropic -");
        }
        Ok((session, ticket))
    }

    async fn make(&self, form: &SessionForm, fds: &[OwnedFd]) -> Result<(SessionView, Option<Ticket>), Failure> {
        let ticket = if fds.is_empty() { None } else { Some(self.client.hand_over(fds).await?) };
        let mut body = serde_json::to_value(form).map_err(|e| internal(&e.to_string()))?;
        body["ticket"] = json!(ticket.as_ref().map(|t| &t.name));
        Ok((self.client.json(Method::POST, "/v1/sessions", Some(&body)).await?, ticket))
    }

    async fn resume(&self, id: &str) -> Result<(SessionView, Option<Ticket>), Failure> {
        let path = format!("/v1/sessions/{}", sandbox::plain(id)?);
        let session: SessionView = self.client.json(Method::GET, &path, None).await?;
        let mut fds = Vec::new();
        for MountNote { host, target, read_only } in &session.mounts {
            fds.push(places::open(host, target, *read_only, &self.context.env, "--resume")?.fd);
        }
        let ticket = if fds.is_empty() { None } else { Some(self.client.hand_over(&fds).await?) };
        let body = json!({ "mounts": session.mounts, "ticket": ticket.as_ref().map(|t| &t.name) });
        let session = self.client.json(Method::POST, &format!("{path}/resume"), Some(&body)).await?;
        Ok((session, ticket))
    }

    /// The engine that is asked for. One by path is shown to the sandbox with its directory.
    fn engine(&self, places: &mut places::Places) -> Result<(Option<String>, Option<String>), Failure> {
        let Some(engine) = &self.flags.engine else { return Ok((None, None)) };
        if !engine.contains('/') {
            return Ok((Some(engine.clone()), None));
        }
        let missing =
            |why: String| Failure::new(Code::EngineMissing, format!("the engine {engine} cannot be used: {why}")).field("--engine");
        let real = std::fs::canonicalize(engine).map_err(|e| missing(e.to_string()))?;
        if !real.is_file() {
            return Err(missing("it is not a file".to_owned()));
        }
        let program = if real.starts_with("/usr") && !real.starts_with("/usr/local") {
            real.clone()
        } else {
            let root = package_root(&real);
            let inside = real.strip_prefix(&root).map_err(|e| missing(e.to_string()))?.to_owned();
            places.mounts.push(places::open(&root, Path::new(OWN_ENGINE_DIR), true, &self.context.env, "--engine")?);
            Path::new(OWN_ENGINE_DIR).join(inside)
        };
        let program = program.to_str().ok_or_else(|| missing("its path is not UTF-8".to_owned()))?.to_owned();
        let stem = Path::new(engine).file_stem().and_then(|s| s.to_str()).unwrap_or("");
        let name = if stem == "claude" { "claude-code" } else { stem };
        let known = engines::by_name(name).map_or_else(|| format!("program:{program}"), |e| e.name().to_owned());
        Ok((Some(known), Some(program)))
    }

    /// Files and tape, before the turn.
    async fn prepare(&self, path: &str) -> Result<(), Failure> {
        if let Some(tape) = &self.flags.replay {
            let fail = |e: std::io::Error| Failure::new(Code::TapeInvalid, format!("the tape {} cannot be read: {e}", tape.display()));
            let bytes = std::fs::read(tape).map_err(fail)?;
            let response = self.client.send(Method::PUT, &format!("{path}/tape"), "application/octet-stream", full(bytes)).await?;
            collect(response).await?;
        }
        if let Some(repo) = &self.flags.repo {
            let clone = Clone::of(repo, self.home, &self.context.env.path)?;
            sandbox::upload_content(self.client, &format!("{path}/files?path=/workspace"), &clone.dir).await?;
        }
        Ok(())
    }

    /// Asks, and shows what happens until the result.
    async fn turn(&self, follow: &mut Follow<'_>, path: &str, prompt: &str) -> Result<ResultEvent, Failure> {
        // Attached before the turn is accepted: from its first moment somebody waits for it.
        follow.attach().await?;
        let key = random_hex::<16>()?;
        self.ask(path, prompt, &key).await?;
        follow.result().await
    }

    /// Accepted once, however often it has to be said.
    async fn ask(&self, path: &str, prompt: &str, key: &str) -> Result<(), Failure> {
        let body = serde_json::to_vec(&json!({ "text": prompt })).map_err(|e| internal(&e.to_string()))?;
        let mut last = internal("not asked");
        for _ in 0..RECONNECTS_MAX {
            let request = http::Request::builder()
                .method(Method::POST)
                .uri(format!("{path}/messages"))
                .header("host", "lazaret")
                .header("content-type", "application/json")
                .header("idempotency-key", key)
                .body(full(body.clone()))
                .map_err(|e| internal(&e.to_string()))?;
            let sent = async { self.client.connection().await?.send_request(request).await };
            match sent.await {
                Ok(response) => return collect(response).await.map(drop),
                Err(failure) if failure.code == Code::DaemonMissing => last = failure,
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(RECONNECT_STEP).await;
        }
        Err(last)
    }

    /// What is to be taken home, and the end of what is not kept.
    async fn afterwards(&self, path: &str, has_result: bool) -> Result<(), Failure> {
        let taken = async {
            if let Some(dir) = &self.flags.out {
                sandbox::download(self.client, &format!("{path}/files?path=/workspace"), dir, 1).await?;
            }
            if let Some(file) = &self.flags.record {
                let response = self.client.send(Method::GET, &format!("{path}/tape"), "application/json", full(Vec::new())).await?;
                let bytes = collect(response).await?;
                std::fs::write(file, bytes)
                    .map_err(|e| Failure::new(Code::PathUnusable, format!("the tape {} cannot be written: {e}", file.display())))?;
            }
            Ok(())
        };
        let taken = if has_result { taken.await } else { Ok(()) };
        let end = again(|| self.end(path)).await;
        taken?;
        match end {
            // A daemon that died over it had done it.
            Err(failure) if failure.code == Code::NotFound => Ok(()),
            end => end,
        }
    }

    /// Gives back what the session holds: its sandbox, or all of it when it is not kept.
    async fn end(&self, path: &str) -> Result<(), Failure> {
        let (method, path) = if self.flags.no_keep { (Method::DELETE, path.to_owned()) } else { (Method::POST, format!("{path}/release")) };
        self.client.json::<Value>(method, &path, None).await.map(drop)
    }
}

/// Does it again when the daemon died over it, with the next one.
async fn again<T>(attempt: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(failure) if failure.code == Code::DaemonMissing => tokio::time::sleep(RECONNECT_STEP).await,
            done => return done,
        }
    }
    attempt().await
}

/// The exit status of a command that waited for this result.
pub(super) fn exit_status(result: &ResultEvent) -> u8 {
    match (result.status, result.code) {
        (Outcome::Completed, _) => 0,
        (_, Some(code)) => code.exit_status(),
        (status, None) => status.exit_status(),
    }
}

type Events = http_body_util::BodyDataStream<hyper::body::Incoming>;

/// Shows a session's events, over restarts of the daemon.
pub(super) struct Follow<'a> {
    client: &'a Client,
    path: String,
    after: u64,
    screen: Screen,
    stream: Option<Events>,
    held: Vec<u8>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(client: &'a Client, session: &SessionView, json: bool) -> Self {
        let screen = Screen { json, text_shown: false, mid_line: false };
        Self { client, path: format!("/v1/sessions/{}", session.id), after: session.last_seq, screen, stream: None, held: Vec::new() }
    }

    /// Opens the stream. As long as it is open, the session's work goes on.
    async fn attach(&mut self) -> Result<(), Failure> {
        let request = http::Request::builder()
            .uri(format!("{}/events?after={}&attach=true", self.path, self.after))
            .header("host", "lazaret")
            .header("accept", "application/x-ndjson")
            .body(full(Vec::new()))
            .map_err(|e| internal(&e.to_string()))?;
        let response = self.client.connection().await?.send_request(request).await?;
        self.held.clear();
        self.stream = Some(response.into_body().into_data_stream());
        Ok(())
    }

    /// Shows what happens until the next result.
    pub(super) async fn result(&mut self) -> Result<ResultEvent, Failure> {
        let (mut lost, mut seen) = (0, self.after);
        loop {
            if let Some(result) = self.shown()? {
                return Ok(result);
            }
            if self.after > seen {
                // The work goes on: the patience is for each time that it does not.
                (lost, seen) = (0, self.after);
            }
            let piece = match &mut self.stream {
                Some(stream) => stream.next().await,
                None => None,
            };
            if let Some(Ok(bytes)) = piece {
                self.held.extend_from_slice(&bytes);
                continue;
            }
            if self.stream.take().is_some() && !self.screen.json && lost > 0 {
                out::note("the daemon went away; looking for it again");
            }
            match self.attach().await {
                Ok(()) => {}
                Err(failure) if failure.code == Code::DaemonMissing && lost < RECONNECTS_MAX => tokio::time::sleep(RECONNECT_STEP).await,
                Err(failure) => return Err(failure),
            }
            lost += 1;
            if lost > RECONNECTS_MAX {
                return Err(Failure::new(Code::DaemonMissing, "the daemon is gone"));
            }
        }
    }

    /// Shows the whole events that have come, up to a result.
    fn shown(&mut self) -> Result<Option<ResultEvent>, Failure> {
        while let Some(end) = self.held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.held.drain(..=end).collect();
            if line.len() == 1 {
                continue;
            }
            let event: Event = serde_json::from_slice(&line).map_err(|e| internal(&format!("an event is not understood: {e}")))?;
            self.after = event.seq;
            self.screen.show(&event)?;
            if let EventKind::Result(result) = event.kind {
                self.screen.text_shown = false;
                return Ok(Some(result));
            }
        }
        Ok(None)
    }
}

/// The directory that holds a program and what it needs: the one above the outermost `node_modules`, else its own.
fn package_root(program: &Path) -> PathBuf {
    let outermost = program.ancestors().filter(|at| at.ends_with("node_modules")).last();
    outermost.or(Some(program)).and_then(Path::parent).unwrap_or(program).to_owned()
}

fn prompt(text: &str) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let invalid = |why: String| Failure::new(Code::PromptInvalid, why).field("prompt");
    let mut bytes = Vec::new();
    let limit = PROMPT_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(|e| invalid(format!("the prompt cannot be read: {e}")))?;
    if bytes.len() > PROMPT_BYTES_MAX {
        return Err(invalid(format!("the prompt is longer than {PROMPT_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| invalid("the prompt is not UTF-8".to_owned()))
}

/// Shows events: as they are, or as a person reads them.
struct Screen {
    json: bool,
    text_shown: bool,
    mid_line: bool,
}

impl Screen {
    fn show(&mut self, event: &Event) -> Result<(), Failure> {
        if self.json {
            return out::json(event);
        }
        match &event.kind {
            EventKind::Text { text } => {
                self.text_shown = true;
                self.mid_line = !text.ends_with('\n');
                out::piece(&clean(text));
            }
            EventKind::Start { engine, model, provider, level } => {
                let model = if model.is_empty() { provider.clone() } else { format!("{provider}/{model}") };
                self.note(&format!("{engine} with {model} in a sandbox ({})", level.summary()));
            }
            EventKind::ToolCall { name, input, .. } => self.note(&format!("> {name} {}", short(&input.to_string()))),
            EventKind::ToolResult { output, is_error, .. } => {
                let mark = if *is_error { "<!" } else { "<" };
                self.note(&format!("{mark} {}", short(output)));
            }
            EventKind::Notice { text } | EventKind::Question { text, .. } => self.note(text),
            EventKind::Error { code, message, retriable } => {
                let again = if *retriable { " (it is tried again)" } else { "" };
                self.note(&format!("error[{code}]: {message}{again}"));
            }
            EventKind::Result(result) => self.result(event, result),
            EventKind::Thinking { .. } | EventKind::Approval { .. } | EventKind::Usage { .. } => {}
        }
        Ok(())
    }

    fn result(&mut self, event: &Event, result: &ResultEvent) {
        if !self.text_shown && !result.text.is_empty() {
            out::piece(&clean(&result.text));
            self.mid_line = !result.text.ends_with('\n');
        }
        if self.mid_line {
            out::piece("\n");
            self.mid_line = false;
        }
        let tokens =
            result.usage.input_tokens + result.usage.output_tokens + result.usage.cache_read_tokens + result.usage.cache_write_tokens;
        #[expect(clippy::cast_precision_loss, reason = "a time for people")]
        let seconds = result.duration_ms as f64 / 1000.0;
        self.note(&format!(
            "{} in {seconds:.1} s, {tokens} tokens, ${:.4}, session {}",
            result.status.as_str(),
            result.cost_usd,
            event.session
        ));
    }

    fn note(&mut self, text: &str) {
        if self.mid_line {
            out::piece("\n");
            self.mid_line = false;
        }
        out::note(&clean(text));
    }
}

/// One line of at most [`SHOWN_CHARS`].
fn short(text: &str) -> String {
    let line = text.trim().replace('\n', " ⏎ ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
