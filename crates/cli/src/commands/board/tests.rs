//! The board, drawn on screens that nobody looks at.

use app::{ApprovalView, BranchChange, BranchDiff, BranchView, Decision, MergeView};
use model::{BranchId, BranchState, Event, EventKind, SessionId, Timestamp, TurnId};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use serde_json::json;

use super::draw;
use super::state::{Act, Answer, Board, Input, Link, Mode, Order, Pane};

/// What strangers write to take a terminal over, to hide, and to push things aside.
const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{202e}gnp\u{200b}\u{feff}\u{2066}a\u{301}\u{301}\u{301}\u{301}\u{9b}31m日本語🇩🇪👍🏽\u{e0041}";

fn agent(n: u128, branch: &str, state: &str) -> BranchView {
    let value = json!({
        "id": BranchId::from_bits(n), "repo": "/srv/repo", "branch": branch, "state": state, "waiting_for": null, "type": "feature",
        "task": format!("do the {branch} thing"), "batch": null, "base": "b".repeat(40), "target": "main",
        "session": SessionId::from_bits(n), "turn": null, "outcome": null, "code": null, "engine": "mini", "model": "", "provider": "p",
        "turns": 1, "tip": "a".repeat(40), "ref": format!("refs/heads/{branch}"), "is_home": true, "note": null, "commits": 2, "dirty": 1,
        "untracked": 3, "size": { "files": 2, "added": 10, "removed": 4 }, "check": null, "verdict": null, "merged_into": null,
        "cost_usd": 0.0125, "duration_ms": 61_000, "created": 0, "updated": 0,
    });
    serde_json::from_value(value).expect("an agent")
}

fn approval(n: u128, text: &str, is_long: bool) -> ApprovalView {
    let value = json!({
        "id": model::ApprovalId::from_bits(n), "session": SessionId::from_bits(1), "agent": "default", "tool": "mark_set", "plugin": "mark",
        "correlation": "c", "arguments": {}, "text": text, "is_long": is_long, "hash": "h4sh", "risk": "high", "status": "pending",
        "asked_at": 0, "expires_at": 1,
    });
    serde_json::from_value(value).expect("a confirmation")
}

struct Seen {
    board: Board,
    width: u16,
    height: u16,
}

impl Seen {
    fn new(width: u16, height: u16, agents: Vec<BranchView>) -> Self {
        let board = Board::new("/srv/repo".to_owned(), true, Timestamp(1000));
        let mut seen = Self { board, width, height };
        seen.on(Input::Begins);
        let mut changes: Vec<BranchChange> = agents.into_iter().map(|agent| BranchChange::Agent { agent: Box::new(agent) }).collect();
        changes.push(BranchChange::Ready);
        seen.on(Input::Changes(changes));
        seen
    }

    fn on(&mut self, input: Input) -> Vec<Order> {
        let orders = self.board.on(input, Timestamp(2000));
        let _ = self.screen();
        orders
    }

    fn key(&mut self, code: KeyCode) -> Vec<Order> {
        self.on(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn press(&mut self, c: char) -> Vec<Order> {
        self.key(KeyCode::Char(c))
    }

    fn types(&mut self, text: &str) {
        text.chars().for_each(|c| drop(self.press(c)));
    }

    /// Draws, and gives the lines. Every cell holds what a terminal only shows.
    fn screen(&mut self) -> String {
        let mut terminal = Terminal::new(TestBackend::new(self.width, self.height)).expect("a screen");
        terminal.draw(|frame| draw::draw(frame, &mut self.board)).expect("draw");
        let buffer = terminal.backend().buffer().clone();
        let mut text = String::new();
        for y in 0..self.height {
            for x in 0..self.width {
                let symbol = buffer[(x, y)].symbol();
                let is_plain = symbol
                    .chars()
                    .all(|c| !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
                assert!(is_plain, "{symbol:?} at {x},{y}");
                text.push_str(symbol);
            }
            text.push('\n');
        }
        text
    }
}

fn asked(seen: &mut Seen, approvals: Vec<ApprovalView>) {
    let id = seen.board.chosen.clone().expect("one is chosen");
    seen.on(Input::Answer(Answer::Asked(id, Ok((approvals, vec![])))));
}

#[test]
fn agents_are_listed_with_what_each_waits_for() {
    let mut waits = agent(1, "feat/waits", "waiting");
    waits.waiting_for = Some("a yes to the tool mark_set".to_owned());
    let mut seen = Seen::new(120, 30, vec![waits, agent(2, "feat/works", "working"), agent(3, "feat/done", "done")]);
    let screen = seen.screen();
    for text in
        ["feat/waits", "a yes to the tool mark_set", "working", "1m01s", "$0.0125", "1+3", "1 done · 1 waiting · 1 working", "/srv/repo"]
    {
        assert!(screen.contains(text), "{text}\n{screen}");
    }
}

#[test]
fn every_size_has_a_picture() {
    let mut hostile = agent(1, HOSTILE, "waiting");
    (hostile.task, hostile.waiting_for, hostile.repo) = (HOSTILE.repeat(20), Some(HOSTILE.to_owned()), HOSTILE.to_owned());
    let mut agents: Vec<BranchView> = (2..60).map(|n| agent(n, &format!("b{n}"), "done")).collect();
    agents.push(hostile);
    for (width, height) in [(80, 24), (40, 15), (200, 60), (20, 6), (5, 2), (1, 1), (39, 7), (100, 10)] {
        let mut seen = Seen::new(width, height, agents.clone());
        seen.board.choose(Some(BranchId::from_bits(1)));
        seen.on(Input::Events(SessionId::from_bits(1), vec![text(1, &format!("{HOSTILE}\n").repeat(50))]));
        asked(&mut seen, vec![approval(1, HOSTILE, false)]);
        for c in ['1', '2', '3', 'z', '?', 'x', 'a', 'n', 'd', 'n', 's', 'n', 'r'] {
            seen.press(c);
        }
        seen.key(KeyCode::Esc);
        seen.press('/');
        seen.types(HOSTILE);
        seen.on(Input::Lost(HOSTILE.to_owned()));
        assert_eq!(seen.screen().lines().count(), usize::from(height));
    }
}

fn text(seq: u64, text: &str) -> Event {
    let (session, turn) = (SessionId::from_bits(1), TurnId::from_bits(1));
    Event { seq, time: Timestamp(0), session, turn, kind: EventKind::Text { text: text.to_owned() } }
}

#[test]
fn a_call_is_approved_with_a_second_key_after_all_of_it_was_seen() {
    let mut seen = Seen::new(80, 24, vec![agent(1, "one", "waiting")]);
    let long: String = (0..60).map(|n| format!("line {n} \u{1b}[8m\n")).collect();
    asked(&mut seen, vec![approval(7, &long, false)]);
    assert!(seen.screen().contains("mark_set wants a yes"));
    assert_eq!(seen.press('a'), []);
    assert!(seen.screen().contains("line 0 \\u{1b}[8m"), "{}", seen.screen());
    assert_eq!(seen.press('y'), [], "not before its end was on the screen");
    assert_eq!(seen.key(KeyCode::End), [], "nor by a leap");
    assert_eq!(seen.press('y'), []);
    for _ in 0..6 {
        seen.key(KeyCode::PageDown);
    }
    assert!(seen.screen().contains("[hash h4sh]"), "{}", seen.screen());
    let orders = seen.press('y');
    let [Order::Do(Act::Decide { approval, decision: Decision::Approve })] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(approval.hash, "h4sh");
    assert!(matches!(seen.board.mode, Mode::Browse), "once");
    // No is said the same way; another key says nothing.
    asked(&mut seen, vec![approval_of_one()]);
    seen.press('d');
    assert_eq!(seen.key(KeyCode::Enter), []);
    assert!(matches!(&seen.press('y')[..], [Order::Do(Act::Decide { decision: Decision::Deny, .. })]));
}

fn approval_of_one() -> ApprovalView {
    approval(8, "mark_set\n  text = \"x\"", false)
}

#[test]
fn what_was_answered_elsewhere_or_is_too_long_is_not_approved_here() {
    let mut seen = Seen::new(80, 24, vec![agent(1, "one", "waiting")]);
    asked(&mut seen, vec![approval_of_one()]);
    seen.press('a');
    asked(&mut seen, vec![]);
    assert_eq!(seen.press('y'), []);
    assert!(matches!(seen.board.mode, Mode::Browse));
    asked(&mut seen, vec![approval(9, "long", true)]);
    seen.press('a');
    assert!(matches!(seen.board.mode, Mode::Browse), "it has more than can be read here");
}

#[test]
fn a_merge_is_of_the_commit_that_was_seen() {
    let mut seen = Seen::new(80, 24, vec![agent(1, "one", "done")]);
    let id = BranchId::from_bits(1);
    assert_eq!(seen.press('m'), [Order::Preview(id.clone(), "a".repeat(40))]);
    assert_eq!(seen.press('y'), [], "not before it is known what would come of it");
    let view = |result: &str| MergeView {
        also: Vec::new(),
        branch: "one".to_owned(),
        into: "main".to_owned(),
        result: result.to_owned(),
        commit: None,
        conflicts: vec!["a.txt".to_owned()],
        size: None,
    };
    seen.on(Input::Answer(Answer::Previewed(id.clone(), Ok(Box::new(view("ready"))))));
    assert!(seen.screen().contains("one merges into main"), "{}", seen.screen());
    let orders = seen.press('y');
    let expect = Act::Merge { id: id.clone(), branch: "one".to_owned(), expect: "a".repeat(40) };
    assert_eq!(orders, [Order::Do(expect)]);
    // A conflict cannot be merged, and a branch that moved is looked at again.
    seen.press('m');
    seen.on(Input::Answer(Answer::Previewed(id.clone(), Ok(Box::new(view("conflict"))))));
    assert!(seen.screen().contains("a.txt"));
    assert_eq!(seen.press('y'), []);
    seen.key(KeyCode::Esc);
    // Through the queue, and in a pull request, goes what was seen as well.
    seen.press('Q');
    seen.on(Input::Answer(Answer::Previewed(id.clone(), Ok(Box::new(view("ready"))))));
    seen.screen();
    assert_eq!(seen.press('y'), [Order::Do(Act::Queue { id: id.clone(), expect: "a".repeat(40) })]);
    seen.press('p');
    seen.screen();
    let orders = seen.press('y');
    assert!(matches!(&orders[..], [Order::Do(Act::Pr { expect, .. })] if *expect == "a".repeat(40)), "{orders:?}");
    let mut several = agent(1, "one", "done");
    several.also =
        vec![serde_json::from_value(json!({
        "name": "lib", "repo": "/lib", "base": "b", "target": "main", "tip": "d", "ref": null, "note": null, "commits": 1, "dirty": 0,
        "untracked": 0, "size": null, "merged_into": null,
    }))
    .expect("a repository")];
    seen.on(Input::Changes(vec![BranchChange::Agent { agent: Box::new(several) }]));
    seen.press('p');
    assert!(seen.screen().contains("This is of /srv/repo alone."), "{}", seen.screen());
    seen.key(KeyCode::Esc);
    seen.press('Q');
    seen.on(Input::Answer(Answer::Previewed(id, Ok(Box::new(view("ready"))))));
    let mut moved = agent(1, "one", "done");
    moved.tip = Some("c".repeat(40));
    seen.on(Input::Changes(vec![BranchChange::Agent { agent: Box::new(moved) }]));
    assert!(seen.screen().contains("look at it again"), "{}", seen.screen());
    assert_eq!(seen.press('y'), []);
}

#[test]
fn agents_are_chosen_filtered_and_put_in_order() {
    let mut seen = Seen::new(80, 24, vec![agent(1, "alpha", "done"), agent(2, "beta", "waiting"), agent(3, "gamma", "working")]);
    let names = |seen: &Seen| seen.board.order.iter().map(|id| seen.board.agents[id].branch.clone()).collect::<Vec<_>>();
    assert_eq!(names(&seen), ["gamma", "beta", "alpha"], "the youngest first");
    let orders = seen.key(KeyCode::Down);
    assert!(orders.contains(&Order::Follow(Some(SessionId::from_bits(2)))), "{orders:?}");
    seen.press('o');
    assert_eq!(names(&seen), ["beta", "gamma", "alpha"], "who waits first");
    assert_eq!(seen.board.agent().map(|a| a.branch.as_str()), Some("beta"), "the same is chosen");
    seen.press('/');
    seen.types("alp");
    assert_eq!(names(&seen), ["alpha"]);
    assert_eq!(seen.board.agent().map(|a| a.branch.as_str()), Some("alpha"));
    seen.key(KeyCode::Esc);
    assert_eq!(names(&seen).len(), 3);
    // One that goes is no longer there, also when it went while nobody could tell.
    seen.on(Input::Changes(vec![BranchChange::Gone { id: BranchId::from_bits(3) }]));
    seen.on(Input::Lost("gone".to_owned()));
    assert!(matches!(seen.board.link, Link::Lost(_)) && seen.screen().contains("no daemon"));
    seen.on(Input::Begins);
    seen.on(Input::Changes(vec![BranchChange::Agent { agent: Box::new(agent(1, "alpha", "done")) }, BranchChange::Ready]));
    assert_eq!(names(&seen), ["alpha"]);
    assert!(seen.screen().contains("answers again"), "{}", seen.screen());
}

#[test]
fn the_mouse_chooses_and_scrolls_and_answers_nothing() {
    let mut seen = Seen::new(80, 16, vec![agent(1, "alpha", "waiting"), agent(2, "beta", "done")]);
    let mouse = |kind, column, row| Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    let click = MouseEventKind::Down(MouseButton::Left);
    let row = seen.screen().lines().position(|line| line.contains("alpha")).expect("a row");
    seen.on(mouse(click, 5, u16::try_from(row).expect("a row")));
    assert_eq!(seen.board.agent().map(|a| a.branch.as_str()), Some("alpha"));
    let tab = seen.board.areas.tabs[2].0;
    seen.on(mouse(click, tab.x, tab.y));
    assert_eq!(seen.board.pane, Pane::About);
    seen.on(mouse(MouseEventKind::ScrollDown, 5, 12));
    assert!(seen.board.about_top > 0);
    asked(&mut seen, vec![approval_of_one()]);
    seen.press('a');
    for y in 0..16 {
        for x in 0..80 {
            assert_eq!(seen.on_quiet(mouse(click, x, y)), []);
        }
    }
    assert!(matches!(seen.board.mode, Mode::Sure(_)));
}

impl Seen {
    fn on_quiet(&mut self, input: Input) -> Vec<Order> {
        self.board.on(input, Timestamp(2000))
    }
}

#[test]
fn pasted_text_presses_no_keys() {
    let mut seen = Seen::new(80, 24, vec![agent(1, "alpha", "working")]);
    assert_eq!(seen.on(Input::Paste("sy\rq".to_owned())), []);
    assert!(matches!(seen.board.mode, Mode::Browse));
    seen.press('s');
    assert_eq!(seen.on(Input::Paste("y".to_owned())), []);
    assert!(matches!(seen.board.mode, Mode::Sure(_)), "a yes is pressed");
    assert!(matches!(&seen.press('y')[..], [Order::Do(Act::Stop { .. })]));
    seen.press('r');
    seen.on(Input::Paste("go on\rwith it".to_owned()));
    let orders = seen.key(KeyCode::Enter);
    let [Order::Do(Act::Resume { text, .. })] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(text, "go on\nwith it");
}

#[test]
fn a_diff_stands_in_one_column_or_two_and_says_what_hides() {
    let whole: BranchDiff = serde_json::from_value(json!({
        "base": "b", "tip": "a".repeat(40), "commits": [], "size": { "files": 2, "added": 1, "removed": 1 }, "truncated": false,
        "files": [
            { "path": "src/x.rs", "from": null, "change": "changed", "added": 1, "removed": 1, "flags": ["bidi", "invisible"] },
            { "path": format!("{HOSTILE}/y"), "from": null, "change": "added", "added": 1, "removed": 0, "flags": [] },
        ],
    }))
    .expect("a diff");
    for width in [80, 120] {
        let mut seen = Seen::new(width, 24, vec![agent(1, "alpha", "done")]);
        let id = BranchId::from_bits(1);
        assert_eq!(seen.press('2'), [Order::Diff(id.clone())]);
        let orders = seen.on(Input::Answer(Answer::Diff(id.clone(), Ok(Box::new(whole.clone())))));
        assert_eq!(orders, [Order::Patch(id.clone(), "src/x.rs".to_owned())]);
        let patch = "--- a/src/x.rs\n+++ b/src/x.rs\n@@ -1,2 +1,2 @@\n same\n-gone \u{202e}x\n+come\n";
        seen.on(Input::Answer(Answer::Patch(id.clone(), "src/x.rs".to_owned(), Ok(patch.to_owned()))));
        let screen = seen.screen();
        assert!(screen.contains("look at it twice: bidi, invisible"), "{screen}");
        let line = screen.lines().find(|line| line.contains("gone \\u{202e}x")).expect("the line");
        assert_eq!(line.contains("+come"), width >= 100, "{screen}");
        assert!(matches!(&seen.press(']')[..], [Order::Patch(_, path)] if path.ends_with("/y")));
        assert!(seen.screen().contains("2/2 added"), "{}", seen.screen());
        assert_eq!(seen.press('['), []);
    }
}

#[test]
fn without_colours_there_are_none() {
    let mut seen = Seen::new(80, 24, vec![agent(1, "alpha", "failed"), agent(2, "beta", "waiting")]);
    seen.board.colours = false;
    seen.on(Input::Events(SessionId::from_bits(2), vec![text(1, "hello")]));
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a screen");
    terminal.draw(|frame| draw::draw(frame, &mut seen.board)).expect("draw");
    let plain = ratatui::style::Color::Reset;
    assert!(terminal.backend().buffer().content.iter().all(|cell| cell.fg == plain && cell.bg == plain));
    seen.board.colours = true;
    terminal.draw(|frame| draw::draw(frame, &mut seen.board)).expect("draw");
    assert!(terminal.backend().buffer().content.iter().any(|cell| cell.fg != plain));
}

#[test]
fn time_runs_on_only_where_something_works() {
    let mut seen = Seen::new(80, 24, vec![agent(1, "alpha", "done")]);
    assert!(!seen.board.is_moving());
    seen.on(Input::Changes(vec![BranchChange::Agent { agent: Box::new(agent(2, "beta", "working")) }]));
    assert!(seen.board.is_moving());
    seen.board.on(Input::Look, Timestamp(12_000));
    let beta = seen.board.agents[&BranchId::from_bits(2)].clone();
    assert_eq!((beta.state, seen.board.took_ms(&beta)), (BranchState::Working, 71_000));
}
