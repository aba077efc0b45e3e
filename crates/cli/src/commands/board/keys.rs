//! What keys and the mouse do.

use app::Decision;
use model::BranchId;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::state::{Act, Board, Mode, Order, Pane, Sort, Sure, TYPED_CHARS_MAX, Write};

/// Lines that the wheel moves.
const WHEEL: usize = 3;

/// The keys, for the help.
pub(super) const HELP: &[(&str, &str)] = &[
    ("↑ ↓ k j", "choose an agent; PgUp PgDn Home End scroll what is below"),
    ("Tab 1 2 3", "log, diff, about"),
    ("[ ]", "the file before or after, in the diff"),
    ("z Enter", "the lower part alone, and back"),
    ("a", "answer: say yes to a call, or answer a question"),
    ("d", "deny a call"),
    ("s", "stop the agent"),
    ("r", "resume it with a message"),
    ("m", "merge its branch, after a preview"),
    ("Q", "the same through the queue: on top of the target, only when the check passes"),
    ("p", "push it and open a pull request"),
    ("c", "put it away, when nothing is lost"),
    ("/ o", "filter, order"),
    ("Esc", "back; no"),
    ("q Ctrl-C", "leave; the agents go on"),
    ("mouse", "click chooses, the wheel scrolls"),
];

/// What a second key is about besides.
#[derive(Default)]
struct About {
    seen: Option<String>,
    queue: bool,
}

impl Board {
    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Order> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => vec![Order::Quit],
                KeyCode::Char('u') => {
                    self.empty();
                    Vec::new()
                }
                _ => Vec::new(),
            };
        }
        match &self.mode {
            Mode::Browse => self.browse(key.code),
            Mode::Help => {
                self.mode = Mode::Browse;
                Vec::new()
            }
            Mode::Filter => self.filter(key.code),
            Mode::Write(..) => self.write(key.code),
            Mode::Sure(_) => self.sure(key.code),
        }
    }

    fn browse(&mut self, key: KeyCode) -> Vec<Order> {
        self.message = None;
        let page = usize::from(self.areas.pane.height.max(2)) - 1;
        match key {
            KeyCode::Char('q') => return vec![Order::Quit],
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Up | KeyCode::Char('k') => return self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => return self.step(1),
            KeyCode::PageUp => self.scroll(true, page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll(false, page),
            KeyCode::Home => self.scroll(true, usize::MAX),
            KeyCode::End => self.scroll(false, usize::MAX),
            KeyCode::Tab => return self.show(next(self.pane)),
            KeyCode::Char('1') => return self.show(Pane::Log),
            KeyCode::Char('2') => return self.show(Pane::Diff),
            KeyCode::Char('3') => return self.show(Pane::About),
            KeyCode::Char('[') => return self.file(false),
            KeyCode::Char(']') => return self.file(true),
            KeyCode::Char('z') | KeyCode::Enter => self.is_zoomed = !self.is_zoomed,
            KeyCode::Esc if self.is_zoomed => self.is_zoomed = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('o') => {
                let at = Sort::ALL.iter().position(|sort| *sort == self.sort).unwrap_or(0);
                self.sort = Sort::ALL[(at + 1) % Sort::ALL.len()];
                self.arrange();
            }
            KeyCode::Char(verb) => return self.verb(verb),
            _ => {}
        }
        Vec::new()
    }

    /// Something that is done to the chosen agent.
    fn verb(&mut self, verb: char) -> Vec<Order> {
        let Some(agent) = self.agent().cloned() else { return Vec::new() };
        let (id, branch) = (agent.id.clone(), agent.branch.clone());
        let is_over = agent.state.is_over();
        match verb {
            'a' => return self.answer(),
            'd' => return self.decide(Decision::Deny),
            's' if is_over => self.say("it is over already", true),
            's' => {
                let text = format!("The agent on {branch} is stopped. What it committed so far comes home.");
                self.ask_sure(&id, format!("stop {branch}?"), text, Some(Act::Stop { id: id.clone(), branch }), About::default());
            }
            'r' => self.mode = Mode::Write(Write::Resume { id, branch }, String::new()),
            'm' | 'Q' => {
                let Some(seen) = agent.seen() else {
                    self.say("nothing of this agent came home yet", true);
                    return Vec::new();
                };
                if !is_over {
                    self.say("it is not over: wait for it, or stop it", true);
                    return Vec::new();
                }
                let how = if verb == 'Q' { "merge through the queue" } else { "merge" };
                self.ask_sure(
                    &id,
                    format!("{how}: {branch}?"),
                    "looking what would come of it ...".to_owned(),
                    None,
                    About { seen: Some(seen.clone()), queue: verb == 'Q' },
                );
                return vec![Order::Preview(id, seen)];
            }
            'p' => {
                let Some(tip) = agent.tip.clone() else {
                    self.say("nothing of this agent came home yet", true);
                    return Vec::new();
                };
                let into = agent.target.clone().unwrap_or_default();
                let mut text = format!(
                    "{branch} at {tip} is pushed to `origin` with your own git, and a pull request into {into} is opened through the GitHub plugin."
                );
                if !agent.also.is_empty() {
                    text.push_str(&format!(
                        "\n\nThis is of {} alone. In each of its other repositories: lazaret agents pr {branch} --repo DIR",
                        agent.repo
                    ));
                }
                self.ask_sure(
                    &id,
                    format!("pull request: {branch}?"),
                    text,
                    Some(Act::Pr { repo: agent.repo.clone(), branch, expect: tip }),
                    About { seen: agent.seen(), queue: false },
                );
            }
            'c' => {
                self.ask_sure(
                    &id,
                    format!("put away {branch}?"),
                    "looking what would be lost ...".to_owned(),
                    None,
                    About { seen: agent.seen(), queue: false },
                );
                return vec![Order::CleanLook(id)];
            }
            _ => {}
        }
        Vec::new()
    }

    fn ask_sure(&mut self, id: &BranchId, title: String, text: String, act: Option<Act>, about: About) {
        let About { seen, queue } = about;
        let sure = Sure { id: id.clone(), title, text, act, top: 0, is_read: false, seen, queue };
        self.mode = Mode::Sure(Box::new(sure));
    }

    /// Answers what the chosen agent asks: a call first, then a question.
    fn answer(&mut self) -> Vec<Order> {
        if self.asked.is_empty()
            && let (Some(question), Some(agent)) = (self.questions.first(), self.agent())
        {
            let what = Write::Answer { session: agent.session.clone(), question: question.clone() };
            self.mode = Mode::Write(what, String::new());
            return Vec::new();
        }
        self.decide(Decision::Approve)
    }

    /// Shows the whole call, and waits for the second key.
    fn decide(&mut self, decision: Decision) -> Vec<Order> {
        let (Some(approval), Some(id)) = (self.asked.first().cloned(), self.chosen.clone()) else {
            self.say("it asks nothing", true);
            return self.ask_again();
        };
        let (word, is_yes) = if decision == Decision::Approve { ("approve", true) } else { ("deny", false) };
        if is_yes && approval.is_long {
            self.say("an argument is longer than 64 KiB: read it with `lazaret approvals show`, then approve it there", true);
            return Vec::new();
        }
        let text = format!("{}\n[hash {}]", approval.text.trim_end(), approval.hash);
        let title = format!("{word} {}?", approval.tool);
        self.ask_sure(&id, title, text, Some(Act::Decide { approval: Box::new(approval), decision }), About::default());
        Vec::new()
    }

    /// The second key.
    fn sure(&mut self, key: KeyCode) -> Vec<Order> {
        let rows = self.areas.sure.max(1);
        let Mode::Sure(sure) = &mut self.mode else { return Vec::new() };
        match key {
            KeyCode::Char('y') if sure.act.is_some() && sure.is_read => {
                let act = sure.act.take();
                self.mode = Mode::Browse;
                return act.map(Order::Do).into_iter().collect();
            }
            KeyCode::Char('y') if sure.act.is_some() => self.say("read it to its end first: PgDn", true),
            KeyCode::Char('y') => {}
            KeyCode::Up | KeyCode::Char('k') => sure.top = sure.top.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => sure.top = sure.top.saturating_add(1),
            KeyCode::PageUp => sure.top = sure.top.saturating_sub(rows),
            KeyCode::PageDown | KeyCode::Char(' ') => sure.top = sure.top.saturating_add(rows),
            KeyCode::Home => sure.top = 0,
            // Not to the end at once: it is to be read.
            KeyCode::Esc | KeyCode::Char('n' | 'q') => {
                self.mode = Mode::Browse;
                self.say("nothing was done", false);
            }
            _ => {}
        }
        Vec::new()
    }

    fn filter(&mut self, key: KeyCode) -> Vec<Order> {
        match key {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Browse;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < TYPED_CHARS_MAX => self.filter.push(c),
            _ => {}
        }
        self.arrange();
        self.choose(self.chosen.clone())
    }

    fn write(&mut self, key: KeyCode) -> Vec<Order> {
        let Mode::Write(what, text) = &mut self.mode else { return Vec::new() };
        match key {
            KeyCode::Esc => {
                self.mode = Mode::Browse;
                self.say("nothing was sent", false);
            }
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) if text.chars().count() < TYPED_CHARS_MAX => text.push(c),
            KeyCode::Enter if text.trim().is_empty() => {}
            KeyCode::Enter => {
                let (what, text) = (what.clone(), std::mem::take(text));
                self.mode = Mode::Browse;
                return vec![Order::Do(match what {
                    Write::Resume { id, branch } => Act::Resume { id, branch, text },
                    Write::Answer { session, question } => {
                        let text = option_of(&question.options, &text).unwrap_or(text);
                        Act::Answer { session, question: question.id, text }
                    }
                })];
            }
            _ => {}
        }
        Vec::new()
    }

    /// Pasted text goes where text is typed, and nowhere else: it presses no keys.
    pub(super) fn paste(&mut self, text: &str) {
        let into = match &mut self.mode {
            Mode::Filter => &mut self.filter,
            Mode::Write(_, into) => into,
            Mode::Browse | Mode::Help | Mode::Sure(_) => return,
        };
        let room = TYPED_CHARS_MAX.saturating_sub(into.chars().count());
        into.extend(text.chars().map(|c| if c == '\r' { '\n' } else { c }).take(room));
        if matches!(self.mode, Mode::Filter) {
            self.arrange();
        }
    }

    /// Takes back what was typed.
    fn empty(&mut self) {
        match &mut self.mode {
            Mode::Filter => self.filter.clear(),
            Mode::Write(_, text) => text.clear(),
            _ => {}
        }
        self.arrange();
    }

    /// The agent `by` rows further.
    fn step(&mut self, by: isize) -> Vec<Order> {
        let at = self.order.iter().position(|id| Some(id) == self.chosen.as_ref()).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(self.order.len().saturating_sub(1));
        self.choose(self.order.get(to).cloned())
    }

    fn show(&mut self, pane: Pane) -> Vec<Order> {
        self.pane = pane;
        if pane == Pane::Diff { self.want_diff() } else { Vec::new() }
    }

    fn file(&mut self, forth: bool) -> Vec<Order> {
        let count = self.diff.whole.as_ref().map_or(0, |whole| whole.files.len());
        if self.pane != Pane::Diff || count == 0 {
            return Vec::new();
        }
        let to = if forth { (self.diff.file + 1).min(count - 1) } else { self.diff.file.saturating_sub(1) };
        if to != self.diff.file {
            (self.diff.file, self.diff.top) = (to, 0);
        }
        self.want_patch()
    }

    fn scroll(&mut self, is_up: bool, by: usize) {
        let most = self.areas.most;
        match self.pane {
            // The log is read from its end.
            Pane::Log if is_up => self.log.back = self.log.back.saturating_add(by),
            Pane::Log => self.log.back = self.log.back.saturating_sub(by),
            Pane::Diff => move_top(&mut self.diff.top, is_up, by, most),
            Pane::About => move_top(&mut self.about_top, is_up, by, most),
        }
    }

    /// The mouse did something.
    pub(super) fn mouse(&mut self, mouse: MouseEvent) -> Vec<Order> {
        let at = Position { x: mouse.column, y: mouse.row };
        let wheel = match mouse.kind {
            MouseEventKind::ScrollUp => Some(true),
            MouseEventKind::ScrollDown => Some(false),
            _ => None,
        };
        if let (Mode::Sure(sure), Some(is_up)) = (&mut self.mode, wheel) {
            sure.top = if is_up { sure.top.saturating_sub(WHEEL) } else { sure.top.saturating_add(WHEEL) };
            return Vec::new();
        }
        // A click answers nothing.
        if !matches!(self.mode, Mode::Browse) {
            return Vec::new();
        }
        if let Some(is_up) = wheel {
            if hit(self.areas.rows, at) {
                return self.step(if is_up { -1 } else { 1 });
            }
            self.scroll(is_up, WHEEL);
            return Vec::new();
        }
        if mouse.kind != MouseEventKind::Down(MouseButton::Left) {
            return Vec::new();
        }
        if hit(self.areas.rows, at) {
            let row = self.areas.first + usize::from(at.y - self.areas.rows.y);
            if let Some(id) = self.order.get(row).cloned() {
                return self.choose(Some(id));
            }
        }
        let tab = self.areas.tabs.iter().find(|(area, _)| hit(*area, at)).map(|(_, pane)| *pane);
        tab.map_or_else(Vec::new, |pane| self.show(pane))
    }
}

fn hit(area: Rect, at: Position) -> bool {
    area.contains(at)
}

fn next(pane: Pane) -> Pane {
    match pane {
        Pane::Log => Pane::Diff,
        Pane::Diff => Pane::About,
        Pane::About => Pane::Log,
    }
}

fn move_top(top: &mut usize, is_up: bool, by: usize, most: usize) {
    *top = if is_up { top.saturating_sub(by) } else { top.saturating_add(by).min(most) };
}

/// The answer that a number stands for.
fn option_of(options: &[String], text: &str) -> Option<String> {
    let n: usize = text.trim().parse().ok()?;
    options.get(n.checked_sub(1)?).cloned()
}
