//! A turn: ask the model, run what it asks for, ask again. And turn after turn of one process.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use super::chat::{Answer, Call, Message, Part, Reply, Stop, Usage, mend};
use super::events::Events;
use super::granted::Granted;
use super::http::{self, Address, HttpError};
use super::input::Input;
use super::options::{Options, Wire};
use super::tools::{Offer, Question};
use super::transcript::{Transcript, random_id};
use super::{Trouble, anthropic, openai, tools};

/// The longest prompt, in bytes.
const PROMPT_BYTES_MAX: u64 = 32 << 20;
/// The longest file of standing instructions, in bytes.
const INSTRUCTIONS_BYTES_MAX: u64 = 2 << 20;
/// How often one request is sent again, not counting that nobody was there to hear it.
const RETRIES_MAX: u32 = 4;
/// The first wait before a request is sent again; it doubles each time.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// How often it doubles.
const RETRY_DOUBLED_MAX: u32 = 3;
/// The longest wait that the other side can ask for.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long one request may be tried again after its first failure; a provider that is down ends the turn by then.
const RETRY_TIME_MAX: Duration = Duration::from_secs(50);
/// What is sent where a key belongs. It opens nothing.
const KEY: &str = "lazaret-placeholder";

/// What the model is told about itself.
const SYSTEM: &str = "You are mini, an agent that works on its own in a sandboxed Linux machine. The working directory is \
{cwd}. Do what the user asks with the tools you have, and look at what is there before you change it. {questions} Check \
your work by running it where that is possible. Say plainly what failed, what you did not do and what you are not sure of; never claim a result that \
you did not see. When you are done, answer with a short text and call no tool.";

/// What it is told about questions, where nobody can answer them and where somebody can.
const ALONE: &str = "Nobody can answer questions while you work, so decide what is reasonable and say what you decided.";
const ATTENDED: &str = "Decide what is reasonable and say what you decided; ask the user only what you cannot decide.";

/// Runs the turn that the options describe and writes its result.
pub(super) fn run(options: &Options, events: &mut Events) -> Result<(), Trouble> {
    let prompt = prompt(options)?;
    let mut session = Session::open(options, None)?;
    session.turn(prompt, events)
}

/// Runs turn after turn, as they come. One that fails says so; the process takes the next one all the same.
pub(super) fn serve(options: &Options, events: &mut Events, input: Input) -> Result<(), Trouble> {
    let mut session = Session::open(options, Some(input))?;
    if options.terminal && options.prompt_file.is_some() {
        let first = prompt(options)?;
        events.echo(&first);
        session.try_turn(first, events);
    }
    events.ready();
    while let Some(prompt) = session.next()? {
        session.try_turn(prompt, events);
        events.ready();
    }
    Ok(())
}

/// A conversation that this process leads.
struct Session<'a> {
    options: &'a Options,
    address: Address,
    transcript: Transcript,
    messages: Vec<Message>,
    /// Where a person's words come from; `None` when there is only the one prompt.
    input: Option<Input>,
    /// The tools that the owner allows, as of the present turn.
    granted: Granted,
}

impl<'a> Session<'a> {
    fn open(options: &'a Options, input: Option<Input>) -> Result<Self, Trouble> {
        if let Some(cwd) = &options.cwd {
            std::env::set_current_dir(cwd).map_err(|error| Trouble::io("enter the working directory", &error))?;
        }
        let address = Address::parse(&options.base_url)?;
        // What cannot be read ends the process before a transcript is made.
        system(options, false)?;
        let (transcript, messages) = match &options.resume {
            Some(id) => Transcript::resume(&options.state, id)?,
            None => (Transcript::create(&options.state, options.name.as_deref())?, Vec::new()),
        };
        Ok(Self { options, address, transcript, messages, input, granted: Granted::default() })
    }

    /// A turn; one that fails says so.
    fn try_turn(&mut self, prompt: String, events: &mut Events) {
        let done = match prompt.trim() {
            "" if self.options.terminal => Ok(()),
            "" => Err(Trouble::new("the prompt is empty")),
            _ => self.turn(prompt, events),
        };
        if let Err(trouble) = done {
            events.error(trouble.status, &trouble.message);
        }
    }

    fn next(&mut self) -> Result<Option<String>, Trouble> {
        self.input.as_mut().map_or(Ok(None), Input::prompt)
    }

    /// Kept on disk first: what a model was shown must be found again.
    fn add(&mut self, message: Message) -> Result<(), Trouble> {
        self.transcript.add(&message)?;
        self.messages.push(message);
        Ok(())
    }

    fn turn(&mut self, prompt: String, events: &mut Events) -> Result<(), Trouble> {
        // Instructions may have changed since the turn before.
        let system = system(self.options, self.input.is_some())?;
        events.session(&self.transcript.id, &self.options.model);
        // So may what the owner allows.
        self.granted = Granted::ask(self.options.tools.as_deref(), events);
        let offers: Vec<Offer> = tools::offers().filter(|offer| self.options.may_use(&offer.name)).chain(self.granted.offers()).collect();
        // A turn that broke off may have left calls without an answer.
        self.messages = mend(std::mem::take(&mut self.messages));
        self.add(Message::User(prompt))?;
        let mut usage = Usage::default();
        for turn in 1..=self.options.turns_max {
            let reply = ask(self.options, &self.address, (&system, &offers), &self.messages, events)?;
            usage = usage.plus(reply.usage);
            let text = reply.answer.text();
            let calls: Vec<_> = reply.answer.calls().cloned().collect();
            self.add(Message::Assistant(whole(reply.answer)))?;
            for call in &calls {
                events.tool_call(call);
                let (output, is_error) = self.call(call, events)?;
                events.tool_result(&call.id, &output, is_error);
                self.add(Message::Tool { id: call.id.clone(), output, is_error })?;
            }
            match reply.stop {
                Stop::Pause => (),
                _ if !calls.is_empty() => (),
                Stop::Refusal => return Err(Trouble::new("the model refused to answer")),
                stop => {
                    if stop == Stop::Length {
                        events.notice("the last answer of the model was cut at its limit of tokens");
                    }
                    events.result(&text, turn, usage);
                    return Ok(());
                }
            }
        }
        Err(Trouble::new(format!("TURN_LIMIT: the model was asked {} times and came to no end", self.options.turns_max)))
    }

    /// Runs a tool; a question goes to the person at the other end, where there is one.
    fn call(&mut self, call: &Call, events: &mut Events) -> Result<(String, bool), Trouble> {
        if let Some(outcome) = self.granted.call(call, events) {
            return Ok(outcome);
        }
        if !self.options.may_use(&call.name) {
            return Ok((format!("The tool {} may not be used.", call.name.escape_debug()), true));
        }
        let question = call.input.as_object().filter(|_| call.name == tools::ASK_USER).map(Question::of);
        let (Some(input), Some(Ok(question))) = (&mut self.input, question) else { return Ok(tools::run(call)) };
        let id = random_id("ask").map_err(|error| Trouble::io("make an identity", &error))?;
        events.question(&id, &question);
        let answer = input.answer(&id)?;
        if input.lost > 0 {
            events.notice(&format!("{} prompts came while a question was open and are lost", std::mem::take(&mut input.lost)));
        }
        Ok(match answer {
            Some(text) => (text[..text.floor_char_boundary(tools::OUTPUT_BYTES_MAX)].to_owned(), false),
            None => (tools::NOBODY.to_owned(), true),
        })
    }
}

/// An answer of no parts would be refused by the provider at the next request.
fn whole(answer: Answer) -> Answer {
    if answer.parts.is_empty() { Answer { parts: vec![Part::Text("(no answer)".to_owned())] } } else { answer }
}

/// Sends one request, again where that may help, and reads its answer.
fn ask(
    options: &Options,
    address: &Address,
    (system, offers): (&str, &[Offer]),
    messages: &[Message],
    events: &mut Events,
) -> Result<Reply, Trouble> {
    let body = match options.wire {
        Wire::Anthropic => anthropic::request(&options.model, system, messages, offers, options.answer_tokens_max),
        Wire::OpenAi => openai::request(&options.model, system, messages, offers),
    };
    let body = body.to_string();
    let mut failed_first: Option<Instant> = None;
    let mut attempt = 0;
    loop {
        let error = match send(options.wire, address, body.as_bytes(), events) {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let since = *failed_first.get_or_insert_with(Instant::now);
        let wait = error.wait.unwrap_or_else(|| RETRY_WAIT * 2u32.pow(attempt.min(RETRY_DOUBLED_MAX))).min(RETRY_WAIT_MAX);
        attempt += 1;
        // A host that is started anew takes its time; only the time limits how long it is looked for.
        let is_often = attempt > RETRIES_MAX && !error.away;
        if !error.retriable || is_often || since.elapsed() + wait > RETRY_TIME_MAX {
            return Err(Trouble { status: error.status, message: error.message });
        }
        events.retry(error.status, &error.message, attempt, wait);
        std::thread::sleep(wait);
    }
}

fn send(wire: Wire, address: &Address, body: &[u8], events: &mut Events) -> Result<Reply, HttpError> {
    let (path, headers) = match wire {
        Wire::Anthropic => (anthropic::PATH, anthropic::headers(KEY)),
        Wire::OpenAi => (openai::PATH, openai::headers(KEY)),
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut answer = http::post(address, path, &headers, body)?;
    match wire {
        Wire::Anthropic => anthropic::read(&mut answer, events),
        Wire::OpenAi => openai::read(&mut answer, events),
    }
}

fn prompt(options: &Options) -> Result<String, Trouble> {
    let bytes = match &options.prompt_file {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| Trouble::io("open the prompt", &error))?;
            read_all("the prompt", file, PROMPT_BYTES_MAX)?
        }
        None => read_all("the prompt", std::io::stdin().lock(), PROMPT_BYTES_MAX)?,
    };
    if bytes.trim().is_empty() {
        return Err(Trouble::new("the prompt is empty"));
    }
    Ok(bytes)
}

fn system(options: &Options, is_attended: bool) -> Result<String, Trouble> {
    let cwd = std::env::current_dir().map_err(|error| Trouble::io("find the working directory", &error))?;
    let questions = if is_attended { ATTENDED } else { ALONE };
    let mut system = match &options.system {
        Some(path) => instructions(path)?,
        None => SYSTEM.replace("{questions}", questions).replace("{cwd}", &cwd.to_string_lossy()),
    };
    if let Some(path) = &options.instructions {
        system.push_str("\n\n");
        system.push_str(&instructions(path)?);
    }
    Ok(system)
}

fn instructions(path: &Path) -> Result<String, Trouble> {
    let file = std::fs::File::open(path).map_err(|error| Trouble::io("open the instructions", &error))?;
    read_all("the instructions", file, INSTRUCTIONS_BYTES_MAX)
}

fn read_all(what: &str, reader: impl Read, max: u64) -> Result<String, Trouble> {
    let mut bytes = Vec::new();
    reader.take(max + 1).read_to_end(&mut bytes).map_err(|error| Trouble::io(&format!("read {what}"), &error))?;
    if bytes.len() as u64 > max {
        return Err(Trouble::new(format!("{what} has more than {max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Trouble::new(format!("{what} is not UTF-8")))
}

#[cfg(test)]
mod tests;
