//! The board as a state: what came in changes it, and says what is to be done. Nothing here draws, asks or waits.

use std::collections::HashMap;

use app::{ApprovalView, BranchChange, BranchDiff, BranchView, CleanView, Decision, MergeView, QuestionView};
use model::{BranchId, BranchState, Event, Failure, QuestionId, SessionId, Timestamp};
use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Rect;

use super::log::Log;
use super::words::merge_text;
use super::{patch, safe};

/// Agents that the board shows; the daemon keeps no more of a tenant.
pub(super) const AGENTS_MAX: usize = 10_000;
/// The longest text that is typed here, in characters.
pub(super) const TYPED_CHARS_MAX: usize = 4000;
/// Requests under way at once.
pub(super) const REQUESTS_MAX: usize = 8;

/// What can happen to the board.
#[derive(Debug)]
pub(super) enum Input {
    /// A key.
    Key(KeyEvent),
    /// The mouse.
    Mouse(MouseEvent),
    /// Text that was pasted.
    Paste(String),
    /// The terminal has another size.
    Resized,
    /// Time has passed.
    Look,
    /// Agents changed.
    Changes(Vec<BranchChange>),
    /// The stream of changes begins, or begins again: all agents come anew.
    Begins,
    /// The daemon is gone.
    Lost(String),
    /// Something happened in a session that is looked at.
    Events(SessionId, Vec<Event>),
    /// An answer of the daemon.
    Answer(Answer),
    /// The board is to end: the terminal or its owner says so.
    End,
}

/// What the daemon answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// What an agent is asked.
    Asked(BranchId, Result<(Vec<ApprovalView>, Vec<QuestionView>), Failure>),
    /// What an agent changed.
    Diff(BranchId, Result<Box<BranchDiff>, Failure>),
    /// The changes of a file.
    Patch(BranchId, String, Result<String, Failure>),
    /// What would come of a merge.
    Previewed(BranchId, Result<Box<MergeView>, Failure>),
    /// What would be lost.
    Cleaned(BranchId, Result<CleanView, Failure>),
    /// Something was done, in words.
    Did(Result<String, Failure>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// Look at the log of this session, or at none.
    Follow(Option<SessionId>),
    /// Ask what an agent is asked.
    Asks(BranchId, SessionId),
    Diff(BranchId),
    Patch(BranchId, String),
    Preview(BranchId, String),
    CleanLook(BranchId),
    Do(Act),
    Quit,
}

/// Something that changes the world. A queue merges as well, and goes on when the board does not.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Decide { approval: Box<ApprovalView>, decision: Decision },
    Answer { session: SessionId, question: QuestionId, text: String },
    Stop { id: BranchId, branch: String },
    Resume { id: BranchId, branch: String, text: String },
    Merge { id: BranchId, branch: String, expect: String },
    Queue { id: BranchId, expect: String },
    Clean { id: BranchId, branch: String },
    Pr { repo: String, branch: String, expect: String },
}

/// What the lower part shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Log,
    Diff,
    About,
}

impl Pane {
    pub(super) const ALL: [(Pane, &'static str); 3] = [(Pane::Log, "1 log"), (Pane::Diff, "2 diff"), (Pane::About, "3 about")];
}

/// The order of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Age,
    State,
    Branch,
    Cost,
    Changed,
}

impl Sort {
    pub(super) const ALL: [Sort; 5] = [Sort::Age, Sort::State, Sort::Branch, Sort::Cost, Sort::Changed];

    pub(super) fn word(self) -> &'static str {
        match self {
            Sort::Age => "age",
            Sort::State => "state",
            Sort::Branch => "branch",
            Sort::Cost => "cost",
            Sort::Changed => "last",
        }
    }
}

/// What keys mean just now.
#[derive(Debug)]
pub(super) enum Mode {
    Browse,
    Help,
    /// The filter is typed.
    Filter,
    /// Something is typed.
    Write(Write, String),
    /// Something wants a second key.
    Sure(Box<Sure>),
}

/// What is typed.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Resume { id: BranchId, branch: String },
    Answer { session: SessionId, question: QuestionView },
}

/// Something that is done only after a second key.
#[derive(Debug)]
pub(super) struct Sure {
    /// Of which agent.
    pub(super) id: BranchId,
    pub(super) title: String,
    /// All that there is to read. From others: shown harmless.
    pub(super) text: String,
    /// What `y` does; nothing while it is looked at, or where it cannot be done.
    pub(super) act: Option<Act>,
    /// The first line that is seen.
    pub(super) top: usize,
    /// Whether the end was on the screen: nobody says yes to what they could not see.
    pub(super) is_read: bool,
    /// The commits that it is about; with others it is looked at anew.
    pub(super) seen: Option<String>,
    /// Whether a merge goes through the queue.
    pub(super) queue: bool,
}

/// The way to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Up,
    Lost(String),
}

/// What is shown of an agent's changes.
#[derive(Debug, Default)]
pub(super) struct Diff {
    /// Whose, at which commit.
    pub(super) of: Option<(BranchId, String)>,
    pub(super) whole: Option<Box<BranchDiff>>,
    pub(super) trouble: Option<String>,
    /// Which file.
    pub(super) file: usize,
    /// The files that were read.
    pub(super) patches: HashMap<String, (Vec<patch::Line>, bool)>,
    pub(super) top: usize,
}

/// Where things are on the screen, for the mouse. Written by drawing.
#[derive(Debug, Default, Clone)]
pub(super) struct Areas {
    /// The rows of agents, and the first that is seen.
    pub(super) rows: Rect,
    pub(super) first: usize,
    pub(super) tabs: Vec<(Rect, Pane)>,
    pub(super) pane: Rect,
    /// How far the pane can be scrolled.
    pub(super) most: usize,
    /// The rows of what is to be read before a second key.
    pub(super) sure: usize,
}

/// The board.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) title: String,
    pub(super) colours: bool,
    pub(super) agents: HashMap<BranchId, BranchView>,
    /// When each came, to let its time run on.
    came: HashMap<BranchId, Timestamp>,
    /// Told since the stream began anew; what is not among them when it is ready is gone.
    fresh: Option<Vec<BranchId>>,
    /// Those that are shown, in order.
    pub(super) order: Vec<BranchId>,
    pub(super) chosen: Option<BranchId>,
    pub(super) filter: String,
    pub(super) sort: Sort,
    pub(super) pane: Pane,
    pub(super) is_zoomed: bool,
    pub(super) log: Log,
    pub(super) diff: Diff,
    pub(super) about_top: usize,
    pub(super) asked: Vec<ApprovalView>,
    pub(super) questions: Vec<QuestionView>,
    pub(super) mode: Mode,
    pub(super) link: Link,
    pub(super) is_ready: bool,
    pub(super) message: Option<(String, bool)>,
    pub(super) areas: Areas,
    pub(super) now: Timestamp,
    pub(super) requests: usize,
}

impl Board {
    /// An empty board.
    pub(super) fn new(title: String, colours: bool, now: Timestamp) -> Self {
        Self {
            title,
            colours,
            agents: HashMap::new(),
            came: HashMap::new(),
            fresh: None,
            order: Vec::new(),
            chosen: None,
            filter: String::new(),
            sort: Sort::Age,
            pane: Pane::Log,
            is_zoomed: false,
            log: Log::default(),
            diff: Diff::default(),
            about_top: 0,
            asked: Vec::new(),
            questions: Vec::new(),
            mode: Mode::Browse,
            link: Link::Up,
            is_ready: false,
            message: None,
            areas: Areas::default(),
            now,
            requests: 0,
        }
    }

    /// Takes in what happened; gives what is to be done.
    pub(super) fn on(&mut self, input: Input, now: Timestamp) -> Vec<Order> {
        self.now = now;
        match input {
            Input::Key(key) => self.key(key),
            Input::Mouse(mouse) => self.mouse(mouse),
            Input::Paste(text) => {
                self.paste(&text);
                Vec::new()
            }
            Input::Look | Input::Resized => Vec::new(),
            Input::Begins => {
                self.fresh = Some(Vec::new());
                if let Link::Lost(_) = std::mem::replace(&mut self.link, Link::Up) {
                    self.say("the daemon answers again", false);
                    // What was looked at is looked at anew.
                    return vec![Order::Follow(self.log.session.clone())];
                }
                Vec::new()
            }
            Input::Lost(why) => {
                self.link = Link::Lost(why);
                Vec::new()
            }
            Input::Changes(changes) => self.changed(changes),
            Input::Events(session, events) => {
                if self.log.session.as_ref() == Some(&session) && self.log.take(&events) {
                    return self.ask_again();
                }
                Vec::new()
            }
            Input::Answer(answer) => {
                self.requests = self.requests.saturating_sub(1);
                self.answered(answer)
            }
            Input::End => vec![Order::Quit],
        }
    }

    /// The agent that is chosen.
    pub(super) fn agent(&self) -> Option<&BranchView> {
        self.agents.get(self.chosen.as_ref()?)
    }

    /// Whether something on the screen runs on by itself.
    pub(super) fn is_moving(&self) -> bool {
        self.agents.values().any(|agent| !agent.state.is_over())
    }

    /// How long an agent's turn took, or takes.
    pub(super) fn took_ms(&self, agent: &BranchView) -> u64 {
        let since = self.came.get(&agent.id).map_or(0, |came| self.now.0.saturating_sub(came.0));
        let runs = matches!(agent.state, BranchState::Working | BranchState::Waiting) && agent.duration_ms > 0;
        agent.duration_ms.saturating_add(if runs { since } else { 0 })
    }

    /// Says something in the last line.
    pub(super) fn say(&mut self, text: &str, is_trouble: bool) {
        self.message = Some((safe::flat(text), is_trouble));
    }

    fn changed(&mut self, changes: Vec<BranchChange>) -> Vec<Order> {
        let before = self.agent().cloned();
        for change in changes {
            match change {
                BranchChange::Agent { agent } => {
                    if let Some(fresh) = &mut self.fresh {
                        fresh.push(agent.id.clone());
                    }
                    if self.agents.len() < AGENTS_MAX || self.agents.contains_key(&agent.id) {
                        self.came.insert(agent.id.clone(), self.now);
                        self.agents.insert(agent.id.clone(), *agent);
                    }
                }
                BranchChange::Gone { id } => {
                    self.agents.remove(&id);
                    self.came.remove(&id);
                }
                BranchChange::Ready => {
                    if let Some(fresh) = self.fresh.take() {
                        self.agents.retain(|id, _| fresh.contains(id));
                        self.came.retain(|id, _| fresh.contains(id));
                    }
                    self.is_ready = true;
                }
            }
        }
        self.arrange();
        let mut orders = self.choose(self.chosen.clone());
        let after = self.agent().cloned();
        if let (Some(before), Some(after)) = (before, after)
            && before.id == after.id
        {
            if before.tip != after.tip {
                self.outdated(&after);
                if self.pane == Pane::Diff {
                    orders.extend(self.want_diff());
                }
            }
            if (before.state, &before.waiting_for) != (after.state, &after.waiting_for) {
                orders.extend(self.ask_again());
            }
        }
        orders
    }

    /// What was to be confirmed was of another commit.
    fn outdated(&mut self, now: &BranchView) {
        let Mode::Sure(sure) = &self.mode else { return };
        if sure.id == now.id && sure.seen.is_some() && sure.seen != now.seen() {
            self.mode = Mode::Browse;
            self.say("the branch has come further: look at it again", true);
        }
    }

    /// Puts those that the filter lets through in order.
    pub(super) fn arrange(&mut self) {
        let words: Vec<String> = self.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let passes = |agent: &BranchView| {
            let text = format!("{} {} {} {} {} {}", agent.branch, agent.state.as_str(), agent.kind, agent.engine, agent.task, agent.repo);
            let text = text.to_lowercase();
            words.iter().all(|word| text.contains(word))
        };
        let mut shown: Vec<&BranchView> = self.agents.values().filter(|agent| passes(agent)).collect();
        // Always the same order: by identity where nothing else tells.
        shown.sort_by(|a, b| b.id.cmp(&a.id));
        match self.sort {
            Sort::Age => {}
            Sort::State => shown.sort_by_key(|agent| urgency(agent.state)),
            Sort::Branch => shown.sort_by(|a, b| a.branch.cmp(&b.branch)),
            Sort::Cost => shown.sort_by(|a, b| b.cost_usd.total_cmp(&a.cost_usd)),
            Sort::Changed => shown.sort_by_key(|agent| std::cmp::Reverse(agent.updated)),
        }
        self.order = shown.into_iter().map(|agent| agent.id.clone()).collect();
    }

    /// Chooses an agent; another one, or none, where it is not shown.
    pub(super) fn choose(&mut self, wanted: Option<BranchId>) -> Vec<Order> {
        let wanted = wanted.filter(|id| self.order.contains(id)).or_else(|| {
            // Where the last one stood, as far as there is something.
            let at = self.areas.first.min(self.order.len().saturating_sub(1));
            self.order.get(at).cloned()
        });
        if wanted == self.chosen && (wanted.is_none() || self.log.session.is_some()) {
            return Vec::new();
        }
        self.chosen = wanted;
        (self.asked, self.questions, self.about_top) = (Vec::new(), Vec::new(), 0);
        let session = self.agent().map(|agent| agent.session.clone());
        self.log = Log::of(session.clone());
        let mut orders = vec![Order::Follow(session)];
        orders.extend(self.ask_again());
        if self.pane == Pane::Diff {
            orders.extend(self.want_diff());
        }
        orders
    }

    /// Asks what the chosen one is asked, where it is.
    pub(super) fn ask_again(&mut self) -> Vec<Order> {
        match self.agent() {
            Some(agent) if !agent.state.is_over() => vec![Order::Asks(agent.id.clone(), agent.session.clone())],
            _ => {
                (self.asked, self.questions) = (Vec::new(), Vec::new());
                Vec::new()
            }
        }
    }

    /// Asks for the changes of the chosen one, unless they are there.
    pub(super) fn want_diff(&mut self) -> Vec<Order> {
        let Some(agent) = self.agent() else { return Vec::new() };
        let Some(tip) = agent.tip.clone() else {
            self.diff = Diff { trouble: Some("nothing of this agent came home yet".to_owned()), ..Diff::default() };
            return Vec::new();
        };
        let of = Some((agent.id.clone(), tip));
        if self.diff.of == of {
            return self.want_patch();
        }
        let id = agent.id.clone();
        self.diff = Diff { of, ..Diff::default() };
        vec![Order::Diff(id)]
    }

    /// Asks for the file that is looked at, unless it is there.
    pub(super) fn want_patch(&mut self) -> Vec<Order> {
        let (Some((id, _)), Some(whole)) = (&self.diff.of, &self.diff.whole) else { return Vec::new() };
        match whole.files.get(self.diff.file) {
            Some(file) if !self.diff.patches.contains_key(&file.path) => vec![Order::Patch(id.clone(), file.path.clone())],
            _ => Vec::new(),
        }
    }

    fn answered(&mut self, answer: Answer) -> Vec<Order> {
        match answer {
            Answer::Asked(id, Ok((asked, questions))) if self.chosen.as_ref() == Some(&id) => {
                (self.asked, self.questions) = (asked, questions);
                self.forget_answered();
                Vec::new()
            }
            Answer::Asked(_, Err(failure)) => self.trouble(&failure),
            Answer::Asked(..) => Vec::new(),
            Answer::Diff(id, of) => self.diffed(&id, of),
            Answer::Patch(id, path, text) => {
                if self.diff.of.as_ref().is_some_and(|(of, _)| *of == id) {
                    let text = text.unwrap_or_else(|failure| failure.message);
                    self.diff.patches.insert(path, patch::read(&text));
                }
                Vec::new()
            }
            Answer::Previewed(id, view) => self.previewed(&id, view),
            Answer::Cleaned(id, view) => self.cleaned(&id, view),
            Answer::Did(Ok(text)) => {
                self.say(&text, false);
                self.ask_again()
            }
            Answer::Did(Err(failure)) => {
                self.say(&failure.message, true);
                self.ask_again()
            }
        }
    }

    fn trouble(&mut self, failure: &Failure) -> Vec<Order> {
        self.say(&failure.message, true);
        Vec::new()
    }

    /// A confirmation that somebody else has answered is asked for no more.
    fn forget_answered(&mut self) {
        let Mode::Sure(sure) = &self.mode else { return };
        if let Some(Act::Decide { approval, .. }) = &sure.act
            && !self.asked.iter().any(|asked| asked.id == approval.id)
        {
            self.mode = Mode::Browse;
            self.say("it is answered already", true);
        }
    }

    fn diffed(&mut self, id: &BranchId, of: Result<Box<BranchDiff>, Failure>) -> Vec<Order> {
        if self.diff.of.as_ref().is_none_or(|(asked, _)| asked != id) {
            return Vec::new();
        }
        match of {
            Ok(whole) => {
                // What is read is of the commit that it was read at.
                self.diff.of = Some((id.clone(), whole.tip.clone()));
                self.diff.whole = Some(whole);
                self.want_patch()
            }
            Err(failure) => {
                self.diff.trouble = Some(failure.message);
                Vec::new()
            }
        }
    }

    fn previewed(&mut self, id: &BranchId, view: Result<Box<MergeView>, Failure>) -> Vec<Order> {
        let agent = self.agents.get(id).cloned();
        let Mode::Sure(sure) = &mut self.mode else { return Vec::new() };
        if sure.id != *id || sure.act.is_some() {
            return Vec::new();
        }
        match (view, agent) {
            (Ok(view), Some(agent)) => {
                let seen = sure.seen.clone().unwrap_or_default();
                let ready = view.result == "ready";
                sure.text = merge_text(&agent, &view, &seen);
                sure.top = 0;
                let queue = sure.queue;
                let id = id.clone();
                let act =
                    if queue { Act::Queue { id, expect: seen } } else { Act::Merge { id, branch: agent.branch.clone(), expect: seen } };
                sure.act = ready.then_some(act);
            }
            (Err(failure), _) => {
                self.mode = Mode::Browse;
                return self.trouble(&failure);
            }
            (Ok(_), None) => self.mode = Mode::Browse,
        }
        Vec::new()
    }

    fn cleaned(&mut self, id: &BranchId, view: Result<CleanView, Failure>) -> Vec<Order> {
        let Mode::Sure(sure) = &mut self.mode else { return Vec::new() };
        if sure.id != *id || sure.act.is_some() {
            return Vec::new();
        }
        match view {
            Ok(view) if view.loses.is_empty() => {
                let size = view.bytes.map(|bytes| format!("\nIt frees {}.", crate::out::bytes(bytes))).unwrap_or_default();
                sure.text = format!("The agent on {} is forgotten; its branch stays. Nothing is lost.{size}", view.branch);
                sure.act = Some(Act::Clean { id: id.clone(), branch: view.branch });
            }
            Ok(view) => {
                sure.text = format!(
                    "This would lose {}.\n\nIt is not done here. Keep it first: lazaret agents clean {} --archive DIR",
                    view.loses.join(", "),
                    view.branch
                );
            }
            Err(failure) => {
                self.mode = Mode::Browse;
                return self.trouble(&failure);
            }
        }
        Vec::new()
    }
}

/// Who wants a person first.
fn urgency(state: BranchState) -> u8 {
    match state {
        BranchState::Waiting => 0,
        BranchState::Failed => 1,
        BranchState::Working => 2,
        BranchState::Starting => 3,
        BranchState::Done => 4,
        BranchState::Stopped => 5,
    }
}
