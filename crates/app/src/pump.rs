//! Carries an engine's output from the guest to the log.

use std::collections::VecDeque;
use std::path::PathBuf;

use engines::{End, Feed, Parsed};
use model::{Code, EventKind, Failure, Outcome, QuestionId, SessionId, Usage};
use sandbox::{Command, CommandControl, CommandOutput, Exit, Piece, Sandbox, SandboxError};
use store::{QuestionStatus, Record, Spool};

use crate::exposed::Pieces;
use crate::process::{Input, Process};
use crate::raw_log::RawLog;
use crate::stops::limit_reached;
use crate::turn::Running;
use crate::{App, now};

/// How a turn ended.
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
    pub(crate) usage: Usage,
    pub(crate) code: Option<Code>,
    pub(crate) message: Option<String>,
    pub(crate) engine_session: Option<String>,
    pub(crate) spool: Option<Spool>,
    /// What the guest may forget once the end is durable.
    pub(crate) ack: Option<Ack>,
    /// Kept until the end is durable: dropping it lets the guest forget the command, and with it that it has run.
    pub(crate) output: Option<CommandOutput>,
    /// The last model call that failed, as the gateway saw it.
    pub(crate) call: Option<(Code, String)>,
    /// The engine's process, when it waits for a further turn.
    pub(crate) process: Option<Process>,
    /// What was read last, to be logged with the result.
    pub(crate) events: Vec<EventKind>,
    /// It is no end: the turn waits for a person, and the daemon ends.
    pub(crate) is_left: bool,
    /// Of a terminal: those before it are told when the end is durable.
    pub(crate) closing: Option<crate::terminals::Closing>,
}

/// Frames of a command up to a number.
pub(crate) struct Ack {
    pub(crate) control: CommandControl,
    pub(crate) number: u64,
}

impl Ending {
    fn with(outcome: Outcome, code: Code, message: String) -> Self {
        Self {
            outcome,
            text: String::new(),
            usage: Usage::default(),
            code: Some(code),
            message: Some(message),
            engine_session: None,
            spool: None,
            ack: None,
            output: None,
            call: None,
            process: None,
            events: Vec::new(),
            is_left: false,
            closing: None,
        }
    }

    /// Takes note of a model call.
    pub(crate) fn call(&mut self, event: &EventKind) {
        match event {
            // A call that its caller left explains nothing: so it looks whenever an engine is lost.
            EventKind::Error { code: Code::Cancelled, .. } => {}
            EventKind::Error { code, message, .. } if self.call.as_ref().is_none_or(|(c, _)| *c != Code::ReplayDiffers) => {
                self.call = Some((*code, message.clone()));
            }
            EventKind::Usage { .. } if self.call.as_ref().is_some_and(|(c, _)| *c != Code::ReplayDiffers) => self.call = None,
            _ => {}
        }
    }

    /// Lets a failed model call explain an engine's failure: the gateway knows what the engine only guesses. A replay
    /// that differs has failed whatever the engine made of it.
    pub(crate) fn explain(&mut self) {
        let Some((code, message)) = self.call.take() else { return };
        let guessed =
            !matches!(self.code, None | Some(Code::Cancelled | Code::Timeout | Code::MemoryLimit | Code::DiskLimit | Code::OutputLimit));
        if code == Code::ReplayDiffers || (self.outcome == Outcome::Failed && guessed) {
            self.outcome = Outcome::of_failure(code);
            self.code = Some(code);
            self.message = Some(message);
        }
    }

    pub(crate) fn failed(failure: &Failure) -> Self {
        let message = match &failure.hint {
            Some(hint) => format!("{} ({hint})", failure.message),
            None => failure.message.clone(),
        };
        Self::with(Outcome::of_failure(failure.code), failure.code, message)
    }

    /// Turns an end that was good so far into a failure.
    pub(crate) fn fail(&mut self, code: Code, message: String) {
        if self.code.is_none() {
            self.outcome = Outcome::of_failure(code);
            self.code = Some(code);
            self.message = Some(message);
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self::with(Outcome::Cancelled, Code::Cancelled, "cancelled".to_owned())
    }
}

/// How much of an engine's standard error is kept for its failure.
const STDERR_TAIL_BYTES: usize = 8 << 10;
/// Events that are logged at once at most.
const BATCH_EVENTS_MAX: usize = 512;

/// Lines of text that come together become one event of at most this much.
const JOINED_BYTES_MAX: usize = 64 << 10;

/// What ends a turn in order.
enum Over {
    /// The engine ended.
    Exited(Exit),
    /// The engine said that it is done, and waits for the next turn.
    Waits,
}

/// What makes the pump stop before the engine's own end.
pub(crate) enum Stop {
    Cancelled,
    /// The daemon ends while the turn waits for a person: it waits on.
    Left,
    Deadline,
    Flood,
    /// It asked its model more often than it may.
    Rounds(u32),
    /// It goes round in circles, or wrote more than is read: its parser says why.
    Hopeless,
    Gone(SandboxError),
}

/// Something that the engine asks, by its own name for it.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) options: Vec<String>,
}

/// What an engine said that wants bytes on its input, in order.
pub(crate) enum Wants {
    /// A person's answer.
    Answer(Asked),
    /// These bytes.
    Reply(Vec<u8>),
}

pub(crate) struct Pump<'a> {
    pub(crate) running: &'a Running<'a>,
    control: CommandControl,
    /// The way to the engine's input, where it takes more than its prompt.
    pub(crate) input: Option<Input>,
    /// What the engine wants to hear.
    wants: VecDeque<Wants>,
    /// Questions of an earlier daemon's that were not answered when the turn was taken up.
    pub(crate) open: VecDeque<QuestionId>,
    /// When the turn's time is up.
    pub(crate) deadline: tokio::time::Instant,
    /// Since when it waits for a person whom one of its calls asks.
    pub(crate) stands_since: Option<tokio::time::Instant>,
    /// From when on it says nothing, if it says nothing more.
    pub(crate) quiet_from: tokio::time::Instant,
    pub(crate) feed: Feed,
    raw: RawLog,
    /// Takes exposed secrets out of texts that come in pieces, where there are any.
    pieces: Option<Pieces>,
    stderr: Vec<u8>,
    /// Events that are not logged yet, and the frames that they come from.
    waiting: Vec<EventKind>,
    engine_session: Option<String>,
    /// What is known of the end so far.
    ending: Ending,
    recorded: u64,
    pub(crate) read: u64,
}

/// Runs until the turn is over, is cancelled, runs out of time or floods.
pub(crate) async fn pump(
    running: &Running<'_>,
    sandbox: &Sandbox,
    command: Command,
    input: Option<Input>,
    feed: Feed,
) -> Result<Ending, Failure> {
    let Command { stdin: _stdin, mut output, control } = command;
    let path = raw_path(running.app, &running.live.id);
    let begins = running.turn.spool == running.turn.spool_base;
    if begins {
        let _ = std::fs::remove_file(&path);
    }
    let (raw, before) = RawLog::open(&path, running.turn.spool, running.app.secrets().vault()).map_err(unkept)?;
    let mut pump = Pump {
        running,
        control,
        input,
        wants: VecDeque::new(),
        open: running.asked.iter().filter(|q| q.status == QuestionStatus::Open).map(|q| q.id.clone()).collect(),
        deadline: running.started + running.live.spec.limits.time,
        stands_since: None,
        quiet_from: tokio::time::Instant::now(),
        feed,
        raw,
        pieces: running.app.exposed_pieces(&running.ground.agent.name),
        stderr: Vec::new(),
        waiting: Vec::new(),
        engine_session: None,
        ending: Ending::cancelled(),
        recorded: running.turn.spool,
        read: running.turn.spool,
    };
    // What an earlier daemon has read and recorded brings the parser to where it was; its events are logged already.
    for record in &before {
        pump.take(record.is_stderr, &record.bytes);
    }
    pump.waiting.clear();
    pump.skip_answered().await?;
    let mut calls = running.live.calls_out.lock().await;
    // One wait for the whole turn: an engine that says something every moment must not begin it again each time.
    let abandoned = running.live.abandoned();
    tokio::pin!(abandoned);
    let mut stop = loop {
        if let Some(stop) = pump.hear().await? {
            break Err(stop);
        }
        let changed = running.live.waits.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some(stop) = pump.mind().await? {
            break Err(stop);
        }
        let mind_at = pump.mind_at();
        tokio::select! {
            biased;
            () = running.cancel.cancelled() => break Err(Stop::Cancelled),
            () = &mut abandoned => {
                // Nobody waits for its sandbox either.
                running.live.released.notify_one();
                break Err(Stop::Cancelled);
            }
            () = running.live.cancel.cancelled() => break Err(if pump.stands_since.is_some() { Stop::Left } else { Stop::Cancelled }),
            () = tokio::time::sleep_until(pump.deadline), if pump.stands_since.is_none() => break Err(Stop::Deadline),
            () = changed => {}
            () = tokio::time::sleep_until(mind_at.unwrap_or(pump.deadline)), if mind_at.is_some() => {}
            next = output.next() => match next {
                Ok(Some(piece)) => match piece.piece {
                    // Sent again although it was read: the acknowledgement was lost with the old daemon.
                    _ if piece.number <= pump.recorded => {}
                    Piece::Stdout(bytes) => if !pump.keep(piece.number, false, &bytes).map_err(unkept)? {
                        break Err(Stop::Flood);
                    },
                    Piece::Stderr(bytes) => if !pump.keep(piece.number, true, &bytes).map_err(unkept)? {
                        break Err(Stop::Flood);
                    },
                    Piece::Exited(exit) => {
                        pump.read = piece.number;
                        break Ok(Over::Exited(exit));
                    }
                },
                Ok(None) => break Err(Stop::Gone(SandboxError::Gone("the engine's output ended without its end".to_owned()))),
                Err(error) => break Err(Stop::Gone(error)),
            },
            Some(event) = calls.recv() => {
                pump.ending.call(&event);
                let over = pump.rounds(&event);
                pump.waiting.push(event);
                pump.heard();
                if let Some(most) = over {
                    break Err(Stop::Rounds(most));
                }
            }
            // Only when nothing else waits: pieces that come together share a commit.
            () = std::future::ready(()), if pump.has_news() && !pump.feed.is_over() => pump.flush().await?,
        }
        if pump.feed.must_end() {
            break Err(Stop::Hopeless);
        }
        if pump.input.is_some() && pump.feed.is_over() {
            break Ok(Over::Waits);
        }
        if pump.waiting.len() >= BATCH_EVENTS_MAX {
            pump.flush().await?;
        }
    };
    drop(calls);
    if matches!(stop, Err(Stop::Cancelled)) {
        pump.interrupt(&mut output).await?;
    }
    if stop.is_ok()
        && let Some(kept) = pump.go().await?
    {
        stop = Err(kept);
    }
    pump.end(sandbox, stop, output).await
}

pub(crate) fn unkept(error: std::io::Error) -> Failure {
    Failure::new(Code::Internal, format!("the engine's output cannot be kept: {error}"))
}

/// What an earlier daemon read of the turn so far, as far as it wants bytes on the engine's input.
pub(crate) fn replayed(running: &Running<'_>) -> Result<Vec<Wants>, Failure> {
    let path = raw_path(running.app, &running.live.id);
    let (_, before) = RawLog::open(&path, running.turn.spool, running.app.secrets().vault()).map_err(unkept)?;
    let mut feed = Feed::new(running.reader(engines::Carried::default()));
    let mut wants = Vec::new();
    for record in before.iter().filter(|r| !r.is_stderr) {
        wants.extend(feed.push(&record.bytes).into_iter().filter_map(want));
    }
    Ok(wants)
}

fn want(parsed: Parsed) -> Option<Wants> {
    match parsed {
        Parsed::Question { id, text, options } => Some(Wants::Answer(Asked { id, text, options })),
        Parsed::Reply(bytes) => Some(Wants::Reply(bytes)),
        Parsed::Event(_) | Parsed::SessionId(_) => None,
    }
}

impl Pump<'_> {
    /// Keeps a piece and reads it. `false` when the log of the turn is full.
    pub(crate) fn keep(&mut self, number: u64, is_stderr: bool, bytes: &[u8]) -> std::io::Result<bool> {
        if !self.raw.append(number, is_stderr, bytes)? {
            return Ok(false);
        }
        model::crash::point("output:kept");
        self.read = number;
        self.heard();
        self.take(is_stderr, bytes);
        Ok(true)
    }

    fn take(&mut self, is_stderr: bool, bytes: &[u8]) {
        if is_stderr {
            self.stderr.extend_from_slice(bytes);
            let over = self.stderr.len().saturating_sub(STDERR_TAIL_BYTES);
            self.stderr.drain(..over);
            return;
        }
        let parsed = self.feed.push(bytes);
        self.note(parsed);
    }

    fn note(&mut self, parsed: Vec<Parsed>) {
        for one in parsed {
            match one {
                Parsed::Event(event) => match &mut self.pieces {
                    Some(pieces) => pieces.take(event).into_iter().for_each(|event| push_joined(&mut self.waiting, event)),
                    None => push_joined(&mut self.waiting, event),
                },
                Parsed::SessionId(id) => self.engine_session = Some(id),
                other => {
                    self.let_go();
                    self.wants.extend(want(other));
                }
            }
        }
    }

    /// Logs what was kept back of the engine's texts: nothing more of them comes for now.
    fn let_go(&mut self) {
        for event in self.pieces.as_mut().map(Pieces::rest).unwrap_or_default() {
            match (self.waiting.last_mut(), event) {
                (Some(EventKind::Text { text }), EventKind::Text { text: more }) => text.push_str(&more),
                (Some(EventKind::Thinking { text }), EventKind::Thinking { text: more }) => text.push_str(&more),
                (_, event) => self.waiting.push(event),
            }
        }
    }

    /// The most rounds with the model that there may be, when the gateway refused a further one.
    fn rounds(&self, event: &EventKind) -> Option<u32> {
        let most = self.running.live.spec.job.as_ref()?.max_turns?;
        matches!(event, EventKind::Error { code: Code::TurnLimit, .. }).then_some(most)
    }

    pub(crate) fn has_news(&self) -> bool {
        self.read > self.recorded || !self.waiting.is_empty()
    }

    fn spool(&self) -> Option<Spool> {
        (self.read > self.recorded).then(|| Spool { first: self.recorded + 1, last: self.read })
    }

    /// Forgets what was answered before an earlier daemon ended: its input has it, or is sent it again.
    async fn skip_answered(&mut self) -> Result<(), Failure> {
        let answered = self.running.asked.len() - self.open.len();
        if self.running.turn.state == model::TurnState::Waiting && self.open.is_empty() {
            // The daemon ended while a call waited, or between the answer and the turn's going on. One that is cancelled
            // meanwhile is seen below.
            if !self.stand_again().await? {
                self.go_on().await?;
            }
        }
        let mut seen = 0;
        self.wants.retain(|want| match want {
            Wants::Reply(_) => false,
            Wants::Answer(_) => {
                seen += 1;
                seen > answered
            }
        });
        Ok(())
    }

    /// Gives the engine what it wants to hear. A question is put to a person, and the turn waits.
    async fn hear(&mut self) -> Result<Option<Stop>, Failure> {
        while let Some(want) = self.wants.pop_front() {
            let Some(input) = self.input.clone() else { continue };
            match want {
                Wants::Reply(bytes) => input.write(bytes)?,
                Wants::Answer(asked) => {
                    if self.has_news() {
                        self.flush().await?;
                    }
                    match self.ask(&asked).await? {
                        Ok(answer) => input.write(self.running.ready.engine.answer(&asked.id, &answer))?,
                        Err(stop) => return Ok(Some(stop)),
                    }
                }
            }
        }
        Ok(None)
    }

    /// Logs what was read, and lets the guest forget it.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        let running = self.running;
        let mut waiting = std::mem::take(&mut self.waiting);
        running.app.clean_events(&running.ground.agent.name, &mut waiting);
        let mut record = Record::new(running.turn.id.clone(), running.fence, waiting, now());
        record.spool = self.spool();
        record.engine_session = self.engine_session.clone();
        let events = running.app.store().record(record).await.map_err(|e| e.failure())?;
        model::crash::point("output:recorded");
        self.recorded = self.read;
        self.control.ack(self.read);
        running.app.publish(&running.live.id, &events);
        Ok(())
    }

    async fn end(mut self, sandbox: &Sandbox, stop: Result<Over, Stop>, output: CommandOutput) -> Result<Ending, Failure> {
        if matches!(stop, Err(Stop::Left)) {
            if self.has_news() {
                self.flush().await?;
            }
            // Dropping it would let the guest forget what no daemon has read. The process ends now.
            std::mem::forget(output);
            return Ok(Ending { is_left: true, ..Ending::cancelled() });
        }
        let limits = &self.running.live.spec.limits;
        // The frames of the turn's end are recorded with the result, those before it now.
        let spool_end = stop.is_ok().then_some(self.read);
        if matches!(stop, Ok(Over::Exited(_))) {
            self.read -= 1;
        }
        let feed = std::mem::replace(&mut self.feed, Feed::new(Box::new(Silent)));
        let (parsed, end) = match &stop {
            Ok(Over::Waits) => feed.finish_live(),
            Ok(Over::Exited(exit)) => {
                feed.finish(engines::Exit { code: exit.code, signal: exit.signal }, &String::from_utf8_lossy(&self.stderr))
            }
            Err(_) => feed.finish(engines::Exit { code: None, signal: Some(9) }, &String::from_utf8_lossy(&self.stderr)),
        };
        self.note(parsed);
        self.let_go();
        let mut process = None;
        let mut last_events = Vec::new();
        match (&stop, self.input.take()) {
            (Ok(Over::Waits), Some(input)) => {
                // All that was read is recorded with the result: there is nothing of the turn after it.
                last_events = std::mem::take(&mut self.waiting);
                process = Some(Process {
                    output,
                    control: self.control.clone(),
                    input,
                    sandbox: sandbox.id().clone(),
                    lease: self.running.turn.engine_lease,
                    read: self.read,
                    carried: end.carried,
                    kind: self.running.ready.kind,
                });
            }
            (Ok(_), _) => self.ending.output = Some(output),
            // One that was stopped is drained: what it still says must not hold up the channel.
            _ => drop(output),
        }
        if process.is_none() && self.has_news() {
            self.flush().await?;
        }
        let mut ending = ending_of(end, self.engine_session.take());
        ending.events = last_events;
        ending.process = process;
        ending.output = self.ending.output.take();
        ending.call = self.ending.call.take();
        if let Some(last) = spool_end {
            ending.spool = Some(Spool { first: self.recorded + 1, last });
            ending.ack = Some(Ack { control: self.control.clone(), number: last });
        }
        let because = |code: Code, message: String| Some((code, message));
        let cause = match stop {
            Ok(_) => limit_reached(sandbox, limits, ending.code),
            Err(Stop::Hopeless | Stop::Left) => None,
            Err(Stop::Rounds(most)) => because(Code::TurnLimit, format!("the engine asked its model more than {most} times")),
            Err(Stop::Cancelled) => because(Code::Cancelled, "cancelled".to_owned()),
            Err(Stop::Deadline) => because(Code::Timeout, format!("the time limit of {} s was reached", limits.time.as_secs())),
            Err(Stop::Flood) => because(Code::OutputLimit, "the engine wrote more than is kept of one turn".to_owned()),
            Err(Stop::Gone(error)) => {
                let failure = error.failure();
                because(failure.code, failure.message)
            }
        };
        if let Some((code, message)) = cause {
            ending.outcome = Outcome::of_failure(code);
            ending.code = Some(code);
            ending.message = Some(message);
        }
        Ok(ending)
    }
}

/// Adds an event. Lines that follow each other are one text, so that a flood of short lines is no flood of events.
fn push_joined(waiting: &mut Vec<EventKind>, event: EventKind) {
    if let (Some(EventKind::Text { text }), EventKind::Text { text: more }) = (waiting.last_mut(), &event)
        && (text.ends_with('\n') || more.starts_with('\n'))
        && text.len() + more.len() <= JOINED_BYTES_MAX
    {
        text.push_str(more);
        return;
    }
    waiting.push(event);
}

fn ending_of(end: End, session: Option<String>) -> Ending {
    Ending {
        outcome: end.outcome,
        text: end.text,
        usage: end.usage,
        code: end.code,
        message: end.message,
        // An engine that kept nothing of its conversation would fail at every further turn: the next one begins anew.
        engine_session: if end.is_unknown_session { Some(String::new()) } else { end.engine_session.or(session) },
        spool: None,
        ack: None,
        output: None,
        call: None,
        process: None,
        events: Vec::new(),
        is_left: false,
        closing: None,
    }
}

/// Stands where a parser was taken out.
struct Silent;

impl engines::Parser for Silent {
    fn line(&mut self, _: &str) -> Vec<Parsed> {
        Vec::new()
    }

    fn finish(&mut self, _: engines::Exit, _: &str) -> End {
        End {
            outcome: Outcome::Failed,
            text: String::new(),
            usage: Usage::default(),
            cost_usd: None,
            carried: engines::Carried::default(),
            engine_session: None,
            code: None,
            message: None,
            is_unknown_session: false,
        }
    }
}

pub(crate) fn raw_path(app: &App, id: &SessionId) -> PathBuf {
    app.session_dir(id).join("output.raw")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(texts: &[&str]) -> Vec<String> {
        let mut waiting = Vec::new();
        for text in texts {
            push_joined(&mut waiting, EventKind::Text { text: (*text).to_owned() });
        }
        let text = |kind| if let EventKind::Text { text } = kind { text } else { String::new() };
        waiting.into_iter().map(text).collect()
    }

    #[test]
    fn lines_are_joined_and_messages_are_not() {
        assert_eq!(joined(&["one", "\ntwo", "\nthree"]), ["one\ntwo\nthree"]);
        assert_eq!(joined(&["one\n", "two\n"]), ["one\ntwo\n"]);
        assert_eq!(joined(&["a message", "another"]), ["a message", "another"]);
        let long = "x".repeat(JOINED_BYTES_MAX);
        assert_eq!(joined(&[&long, "\nnext"]).len(), 2);
    }
}
