//! What a turn asks a person, and the answers.

use std::time::Duration;

use model::{Code, EventKind, Failure, QuestionId, SessionId, TurnEvent, TurnId};
use store::{QuestionRow, QuestionStatus, Record};

use crate::live::lock;
use crate::pump::{Asked, Pump, Stop, Wants};
use crate::runner::need;
use crate::turn::Running;
use crate::{App, now};

/// How long a question stands. Then the engine hears that nobody answered.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long an engine must be silent before its turn waits for a person whom a call of it asks: while it works on beside the
/// call, its time runs.
const QUIET: Duration = Duration::from_millis(300);
/// What the engine hears then.
const NOBODY: &str = "Nobody answered.";

impl App {
    /// What a turn has asked so far, in order.
    pub(crate) async fn questions_of(&self, session: &SessionId, turn: &TurnId) -> Result<Vec<QuestionRow>, Failure> {
        self.store().turn_questions(session, turn).await.map_err(|e| e.failure())
    }
}

impl Running<'_> {
    /// What was written to the engine's input after the prompt, before an earlier daemon ended.
    pub(crate) fn said_before(&self, wants: &[Wants]) -> Vec<u8> {
        let mut asked = self.asked.iter();
        let mut bytes = Vec::new();
        for want in wants {
            match want {
                Wants::Reply(reply) => bytes.extend_from_slice(reply),
                Wants::Answer(question) => {
                    if let Some(answer) = asked.next().and_then(|q| q.answer.as_deref()) {
                        bytes.extend(self.ready.engine.answer(&question.id, answer));
                    }
                }
            }
        }
        bytes
    }
}

impl Pump<'_> {
    /// Puts a question to a person and waits; the clock stands, and the turn gives its place to others.
    pub(crate) async fn ask(&mut self, asked: &Asked) -> Result<Result<String, Stop>, Failure> {
        let running = self.running;
        let (app, live) = (running.app, running.live);
        let id = match self.open.pop_front() {
            // Asked by an earlier daemon, and maybe answered since.
            Some(id) => id,
            None => {
                let id = QuestionId::from_bits(crate::clock::fresh_bits());
                let mut event = [EventKind::Question { id: id.clone(), text: asked.text.clone(), options: asked.options.clone() }];
                app.clean_events(&running.ground.agent.name, &mut event);
                let [event] = event;
                let EventKind::Question { text, options, .. } = &event else {
                    return Err(Failure::new(Code::Internal, "a question cannot be asked without an exposed secret in it"));
                };
                let kept = (id.clone(), text.clone(), options.clone());
                let mut record = Record::new(running.turn.id.clone(), running.fence, vec![event], now()).change(TurnEvent::Ask);
                record.question = Some(kept);
                let events = app.store().record(record).await.map_err(|e| e.failure())?;
                model::crash::point("turn:asked");
                app.publish(&live.id, &events);
                id
            }
        };
        let since = tokio::time::Instant::now();
        drop(lock(&running.place).take());
        live.waits.stand(true);
        let answer = loop {
            let told = live.answered.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let row = app.store().question(&id).await.map_err(|e| e.failure())?;
            if row.status != QuestionStatus::Open {
                break row.answer.unwrap_or_else(|| NOBODY.to_owned());
            }
            tokio::select! {
                () = told => {}
                () = running.cancel.cancelled() => return Ok(Err(Stop::Cancelled)),
                // It waits on, for the next daemon.
                () = live.cancel.cancelled() => return Ok(Err(Stop::Left)),
                () = live.abandoned() => return Ok(Err(Stop::Cancelled)),
                () = tokio::time::sleep_until(since + ANSWER_WAIT_MAX) => {
                    match app.store().answer_question(&id, NOBODY.to_owned(), now()).await {
                        // Somebody was quicker.
                        Ok(_) | Err(store::StoreError::Conflict(_)) => {}
                        Err(error) => return Err(error.failure()),
                    }
                }
            }
        };
        if !self.go_on().await? {
            return Ok(Err(self.kept_from_going_on()));
        }
        self.deadline += since.elapsed();
        Ok(Ok(answer))
    }

    /// Takes a place again for a turn that waited for a person, and says that it runs. `false` when it is cancelled, or the
    /// daemon ends, before it has one.
    pub(crate) async fn go_on(&mut self) -> Result<bool, Failure> {
        let running = self.running;
        let (app, live) = (running.app, running.live);
        let Some(place) = app.place(live, need(&running.ground, live, running.turn.priority), &running.cancel).await else {
            return Ok(false);
        };
        *lock(&running.place) = Some(place);
        let record = Record::new(running.turn.id.clone(), running.fence, Vec::new(), now()).change(TurnEvent::Answer);
        app.store().record(record).await.map_err(|e| e.failure())?;
        app.branch_news(&live.id);
        live.waits.stand(false);
        self.heard();
        model::crash::point("turn:answered");
        Ok(true)
    }

    /// Why a turn that waited has got no place.
    fn kept_from_going_on(&self) -> Stop {
        let running = self.running;
        if running.live.cancel.is_cancelled() && !running.cancel.is_cancelled() { Stop::Left } else { Stop::Cancelled }
    }

    /// The engine is at work.
    pub(crate) fn heard(&mut self) {
        self.quiet_from = tokio::time::Instant::now() + QUIET;
    }

    /// When it may be time to wait for a person, or to do so no longer.
    pub(crate) fn mind_at(&self) -> Option<tokio::time::Instant> {
        let waits = &self.running.live.waits;
        match self.stands_since {
            None if waits.should_stand() => Some(self.quiet_from),
            None => None,
            Some(_) => waits.expected_until(),
        }
    }

    /// Lets the turn wait while a call of it waits for a person and nothing else happens, and go on when that is over.
    pub(crate) async fn mind(&mut self) -> Result<Option<Stop>, Failure> {
        let is_quiet = self.quiet_from <= tokio::time::Instant::now();
        let should_stand = self.running.live.waits.should_stand() && is_quiet;
        match (self.stands_since, should_stand) {
            (None, true) => {
                self.stand().await?;
                Ok(None)
            }
            (Some(_), false) => self.go().await,
            _ => Ok(None),
        }
    }

    /// Lets a turn go on that waits for its calls.
    pub(crate) async fn go(&mut self) -> Result<Option<Stop>, Failure> {
        let Some(since) = self.stands_since else { return Ok(None) };
        if !self.go_on().await? {
            return Ok(Some(self.kept_from_going_on()));
        }
        self.deadline += since.elapsed();
        self.stands_since = None;
        Ok(None)
    }

    /// The turn waits from now on: its clock stands, and its place is another's.
    async fn stand(&mut self) -> Result<(), Failure> {
        if self.has_news() {
            self.flush().await?;
        }
        let running = self.running;
        let record = Record::new(running.turn.id.clone(), running.fence, Vec::new(), now()).change(TurnEvent::Ask);
        running.app.store().record(record).await.map_err(|e| e.failure())?;
        running.app.branch_news(&running.live.id);
        model::crash::point("turn:stands");
        self.stands_since = Some(tokio::time::Instant::now());
        running.live.waits.stand(true);
        drop(lock(&running.place).take());
        Ok(())
    }

    /// Takes up the waiting of an earlier daemon's turn: its calls come again. `false` when there is nothing to wait for.
    pub(crate) async fn stand_again(&mut self) -> Result<bool, Failure> {
        let running = self.running;
        let open = running.app.store().open_approvals(&running.live.id, &running.turn.id).await.map_err(|e| e.failure())?;
        let pending = open.into_iter().filter(|row| row.state == model::ApprovalState::Pending && row.expires > now()).map(|row| row.id);
        let asked = running.app.store().open_tool_questions(&running.turn.id).await.map_err(|e| e.failure())?;
        let pending: Vec<_> = pending.chain(asked.iter().map(crate::agent_tools::wait_of)).collect();
        if pending.is_empty() {
            return Ok(false);
        }
        running.live.waits.expect(pending);
        self.stands_since = Some(tokio::time::Instant::now());
        running.live.waits.stand(true);
        Ok(true)
    }
}

/// Why an answer is none of those that a question offers.
pub(crate) fn check_answer(question: &QuestionRow, answer: &str) -> Result<(), Failure> {
    let wrong = |why: &str| Err(Failure::new(Code::Usage, why).field("text"));
    if answer.trim().is_empty() {
        return wrong("the answer is empty");
    }
    if !question.options.is_empty() && !question.options.iter().any(|o| o == answer) {
        return wrong("the answer is none of those that are offered");
    }
    Ok(())
}
