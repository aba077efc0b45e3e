//! `lazaret chat --channel`: a chat of the network `terminal`. What is said goes the way of every message of a network, so wirings,
//! rights, confirmations and the host's commands hold here as anywhere; whoever has the owner's socket speaks as the owner.
//!
//! `talk.rs` asks the daemon, `line.rs` reads what is typed, `shown.rs` tells what is new, and this file brings them together.

mod line;
mod shown;
mod talk;

use std::collections::VecDeque;
use std::future::Future;
use std::io::IsTerminal;
use std::pin::Pin;
use std::time::Duration;

use app::WebMessages;
use model::{Code, Failure};
use rustyline::ExternalPrinter;
use tokio::signal::unix::{SignalKind, signal};

use self::line::Line;
use self::shown::Shown;
use self::talk::{Talk, Wait};
use super::editor::{Editor, Read};
use super::{plain, terminal};
use crate::args;
use crate::client::{Client, internal};
use crate::commands::Context;
use crate::exit::{self, Done};
use crate::home::Home;
use crate::out;

/// What the prompt looks like.
const PROMPT: &str = "> ";
/// How long the next look waits for a change: while an answer is awaited, whose end may change nothing that is shown, and else.
const LOOK_S: (u64, u64) = (1, 25);
/// How long a terminal waits for a daemon that is gone before it looks again.
const GONE: Duration = Duration::from_secs(1);
/// Messages that are shown to who comes back.
const SHOWN_FIRST: usize = 10;

/// `lazaret chat --channel`.
pub(super) async fn run(context: &Context, flags: &args::Chat) -> Done {
    if let Some(flag) = super::conversation::given(&flags.begin).into_iter().find(|flag| *flag != "--agent") {
        return Err(crate::places::usage(flag, "on a channel the agent has it of its own")
            .hint("lazaret agent set NAME, or leave out --channel for a session of your own"));
    }
    let home = Home::open(&context.env.home)?;
    let client = Client::new(&home, context.may_start);
    let agent = flags.begin.agent.as_deref().unwrap_or("default");
    let mut ended = signal(SignalKind::terminate()).map_err(|e| internal(&e.to_string()))?;
    let (mut talk, first) = Talk::open(context, &client, agent, flags.chat.as_deref()).await?;
    let is_terminal = !context.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let before = terminal::Settings::read();
    let done = {
        let talking = async {
            if is_terminal {
                let watcher = Client::new(&home, false);
                typed(&mut talk, &watcher, home.path(), first).await
            } else {
                lines(&mut talk, context.json).await
            }
        };
        tokio::select! {
            done = talking => done,
            _ = ended.recv() => Ok(143),
        }
    };
    if let Some(before) = before {
        before.restore();
    }
    done
}

/// Talks line by line until standard input ends: a line is said when what came of the one before is over, or asks for an answer. Ends at the
/// first turn that fails, and at the first line that nobody hears.
async fn lines(talk: &mut Talk<'_>, is_json: bool) -> Done {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    loop {
        let text = tokio::select! {
            text = plain::line() => text?,
            _ = interrupt.recv() => return Ok(130),
        };
        let Some(text) = text else { break };
        match line::parse(&text) {
            Line::Empty => continue,
            Line::Quit => break,
            line => obey(talk, line).await?,
        }
        while talk.waits() {
            let page = tokio::select! {
                page = talk.look(LOOK_S.0) => page?,
                _ = interrupt.recv() => return Ok(130),
            };
            for shown in talk.take(page) {
                print(&shown, is_json)?;
            }
        }
        if talk.ended_badly() {
            return Ok(1);
        }
    }
    if talk.is_asked() {
        out::note("it waits for an answer: say it in the next line of such a conversation");
        return Ok(1);
    }
    Ok(0)
}

fn print(shown: &Shown, is_json: bool) -> Result<(), Failure> {
    if is_json {
        return out::json(&shown.message);
    }
    if let Some(text) = &shown.text {
        out::line(text);
    }
    shown.notes.iter().for_each(|note| out::note(note));
    Ok(())
}

/// Talks on a terminal: what comes is shown above the line that is typed.
async fn typed(talk: &mut Talk<'_>, watcher: &Client, home: &std::path::Path, first: Vec<Shown>) -> Done {
    let mut editor = Editor::open(home)?;
    let mut screen = Screen::new(editor.printer()?);
    out::note(&exit::clean(&format!("{}; /help tells what the host understands, /keys what this terminal does", talk.name())));
    first.into_iter().rev().take(SHOWN_FIRST).rev().for_each(|shown| screen.show(&shown));
    let mut looking: Pin<Box<dyn Future<Output = Result<WebMessages, Failure>> + '_>> = Box::pin(watch(watcher, talk.asked(LOOK_S.1)));
    let mut interrupts = 0;
    loop {
        let read = {
            let reading = editor.read(PROMPT);
            tokio::pin!(reading);
            loop {
                tokio::select! {
                    read = &mut reading => break read?,
                    page = &mut looking => {
                        for shown in talk.take(page?) {
                            screen.show(&shown);
                        }
                        let wait = if talk.waits() { LOOK_S.0 } else { LOOK_S.1 };
                        looking = Box::pin(watch(watcher, talk.asked(wait)));
                    }
                    () = screen.work() => {}
                }
            }
        };
        let line = match read {
            Read::Line(text) => line::parse(&text),
            Read::End => return Ok(0),
            Read::Interrupted if interrupts > 0 => return Ok(130),
            Read::Interrupted => {
                interrupts += 1;
                out::note("once more leaves; /stop stops what runs");
                continue;
            }
        };
        interrupts = 0;
        match line {
            Line::Quit => return Ok(0),
            // A conversation outlives what goes wrong in it.
            line => match obey(talk, line).await {
                Ok(()) => looking = Box::pin(watch(watcher, talk.asked(LOOK_S.0))),
                Err(failure) => exit::print(&failure, false),
            },
        }
    }
}

/// The next change. A daemon that is gone is waited for, and not started: who stopped it meant that.
async fn watch(client: &Client, wait: Wait) -> Result<WebMessages, Failure> {
    loop {
        match wait.ask(client).await {
            Err(failure) if failure.code == Code::DaemonMissing || failure.code.is_retriable() => tokio::time::sleep(GONE).await,
            done => return done,
        }
    }
}

/// Does what a line says.
async fn obey(talk: &mut Talk<'_>, line: Line) -> Result<(), Failure> {
    match line {
        Line::Empty | Line::Quit => Ok(()),
        Line::Say(text) => talk.say(&text).await,
        Line::Edit(text) => talk.edit(&text).await,
        Line::Press(which) => talk.press(&which).await,
        Line::Save { number, path } => talk.save(number, path.as_deref()).await,
        Line::Keys => {
            out::note(line::KEYS);
            Ok(())
        }
        Line::Wrong(why) => Err(Failure::new(Code::Usage, why)),
    }
}

/// What is shown above the prompt. Showing may have to wait for the prompt, and then nothing else does.
struct Screen<P> {
    /// Lent to the thread that shows.
    printer: Option<P>,
    queue: VecDeque<String>,
    showing: Option<tokio::task::JoinHandle<P>>,
}

/// Messages that wait to be shown; beyond it the oldest are left out.
const QUEUE_MAX: usize = 1000;

impl<P: ExternalPrinter + Send + 'static> Screen<P> {
    fn new(printer: P) -> Self {
        Self { printer: Some(printer), queue: VecDeque::new(), showing: None }
    }

    fn show(&mut self, shown: &Shown) {
        let lines: Vec<&str> = shown.text.iter().chain(&shown.notes).map(String::as_str).collect();
        if lines.is_empty() {
            return;
        }
        if self.queue.len() >= QUEUE_MAX {
            self.queue.pop_front();
        }
        self.queue.push_back(format!("{}\n", lines.join("\n")));
    }

    /// Shows what waits. Never ends while nothing does.
    async fn work(&mut self) {
        loop {
            if let Some(showing) = &mut self.showing {
                let done = showing.await;
                self.showing = None;
                self.printer = done.ok();
            }
            if self.queue.is_empty() {
                break;
            }
            let (Some(mut printer), Some(text)) = (self.printer.take(), self.queue.pop_front()) else { break };
            self.showing = Some(tokio::task::spawn_blocking(move || {
                // A terminal that is gone ends the prompt too.
                let _ = printer.print(text);
                printer
            }));
        }
        std::future::pending::<()>().await;
    }
}
