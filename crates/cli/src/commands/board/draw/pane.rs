//! What is shown of the chosen agent: its log, what it changed, what it is.

use app::{BranchView, FileChange};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Look, put, table};
use crate::commands::board::patch::{self, Line};
use crate::commands::board::safe;
use crate::commands::board::state::{Board, Pane};

/// The width from which on both sides of a diff stand beside each other.
pub(super) const BESIDE_FROM: u16 = 100;
/// Digits of a line's number.
const NUMBER: usize = 5;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, board: &mut Board, look: Look) {
    board.areas.most = 0;
    let asked = banner(board);
    let mut area = area;
    if let Some(text) = asked {
        put(buffer, area, 0, &safe::cell(&text, usize::from(area.width)), look.ask());
        area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    }
    match board.pane {
        Pane::Log => log(buffer, area, board, look),
        Pane::Diff => diff(buffer, area, board, look),
        Pane::About => about(buffer, area, board),
    }
}

/// What the chosen one waits for, and the key that answers.
fn banner(board: &Board) -> Option<String> {
    if let Some(approval) = board.asked.first() {
        let more = if board.asked.len() > 1 { format!(" (and {} more)", board.asked.len() - 1) } else { String::new() };
        return Some(format!("? {} wants a yes{more}: a looks at it and approves, d denies", safe::flat(&approval.tool)));
    }
    let question = board.questions.first()?;
    Some(format!("? a answers: {}", safe::flat(&question.text)))
}

fn log(buffer: &mut Buffer, area: Rect, board: &mut Board, look: Look) {
    let lines = board.log.seen(usize::from(area.width), usize::from(area.height));
    for (row, (kind, text)) in (0u16..).zip(lines) {
        put(buffer, area, row, &text, look.log(kind));
    }
    if board.log.back > 0 {
        let text = format!(" {} lines further: End ", board.log.back);
        put(buffer, area, area.height.saturating_sub(1), &safe::fit(&text, usize::from(area.width)), look.chosen());
    }
}

fn about(buffer: &mut Buffer, area: Rect, board: &mut Board) {
    let Some(agent) = board.agent() else { return };
    let lines: Vec<String> = facts(agent, board.took_ms(agent))
        .into_iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .flat_map(|(name, value)| safe::wrap(&format!("{name:<11} {value}"), usize::from(area.width)))
        .collect();
    board.areas.most = lines.len().saturating_sub(usize::from(area.height));
    board.about_top = board.about_top.min(board.areas.most);
    for (row, text) in (0u16..area.height).zip(lines.iter().skip(board.about_top)) {
        put(buffer, area, row, text, Style::new());
    }
}

fn facts(agent: &BranchView, took_ms: u64) -> Vec<(&'static str, String)> {
    let check = agent.check.as_ref().map(|check| {
        let how = if check.passed { "passed" } else { "failed" };
        let output = if check.passed { String::new() } else { format!("\n{}", check.output.trim_end()) };
        format!("{how}: {}{output}", check.command)
    });
    let size = agent.size.map(|size| format!("{} files, +{} -{}", size.files, size.added, size.removed));
    vec![
        ("branch", agent.branch.clone()),
        ("state", table::state(agent).to_owned()),
        ("waits for", agent.waiting_for.clone().unwrap_or_default()),
        ("repository", agent.repo.clone()),
        ("task", agent.task.clone()),
        ("type", agent.kind.clone()),
        ("engine", format!("{} {}", agent.engine, agent.model)),
        ("turns", agent.turns.to_string()),
        ("from", format!("{} {}", agent.base, agent.target.clone().unwrap_or_default())),
        ("at", format!("{} {}", agent.tip.clone().unwrap_or_default(), agent.reference.clone().unwrap_or_default())),
        ("commits", agent.commits.to_string()),
        ("uncommitted", if agent.dirty == 0 { String::new() } else { format!("{} files", agent.dirty) }),
        ("untracked", if agent.untracked == 0 { String::new() } else { format!("{} files", agent.untracked) }),
        ("changes", size.unwrap_or_default()),
        ("check", check.unwrap_or_default()),
        ("verdict", agent.verdict.as_ref().map(|verdict| verdict.verdict.clone()).unwrap_or_default()),
        ("merged", agent.merged_into.clone().unwrap_or_default()),
        ("note", agent.note.clone().unwrap_or_default()),
        ("error", agent.code.map(|code| code.to_string()).unwrap_or_default()),
        ("cost", format!("${:.4}", agent.cost_usd)),
        ("time", table::time(took_ms)),
        ("session", agent.session.to_string()),
    ]
}

fn diff(buffer: &mut Buffer, area: Rect, board: &mut Board, look: Look) {
    let width = usize::from(area.width);
    let say = |buffer: &mut Buffer, text: &str, style| put(buffer, area, 0, &safe::cell(&safe::flat(text), width), style);
    if let Some(trouble) = &board.diff.trouble {
        return say(buffer, trouble, look.trouble());
    }
    let Some(whole) = &board.diff.whole else { return say(buffer, "looking ...", look.dim()) };
    let Some(file) = whole.files.get(board.diff.file) else { return say(buffer, "nothing is changed", look.dim()) };
    let more = if whole.truncated { "+" } else { "" };
    put(buffer, area, 0, &safe::cell(&heading(file, board.diff.file + 1, whole.files.len(), more), width), look.head());
    let mut top = 1;
    if !file.flags.is_empty() {
        let text = format!("! look at it twice: {}", file.flags.join(", "));
        put(buffer, area, top, &safe::cell(&safe::flat(&text), width), look.trouble());
        top += 1;
    }
    let area = Rect { y: area.y + top, height: area.height.saturating_sub(top), ..area };
    let Some((lines, is_cut)) = board.diff.patches.get(&file.path) else {
        return put(buffer, area, 0, "looking ...", look.dim());
    };
    let is_beside = area.width >= BESIDE_FROM;
    let pairs = if is_beside { patch::beside(lines) } else { Vec::new() };
    let count = if is_beside { pairs.len() } else { lines.len() } + usize::from(*is_cut);
    board.areas.most = count.saturating_sub(usize::from(area.height));
    board.diff.top = board.diff.top.min(board.areas.most);
    for row in 0..area.height {
        let at = board.diff.top + usize::from(row);
        if is_beside {
            if let Some((left, right)) = pairs.get(at) {
                sides(buffer, area, row, (*left, *right), look);
                continue;
            }
        } else if let Some(line) = lines.get(at) {
            put(buffer, area, row, &unified(line, width), look.diff(line.kind));
            continue;
        }
        if *is_cut && at + 1 == count {
            put(buffer, area, row, "more lines differ than are shown: lazaret agents diff", look.trouble());
        }
    }
}

fn heading(file: &FileChange, n: usize, of: usize, more: &str) -> String {
    let number = |n: Option<u64>, mark: char| n.map(|n| format!(" {mark}{n}")).unwrap_or_default();
    let from = file.from.as_ref().map(|from| format!(" (was {from})")).unwrap_or_default();
    let text = format!("{n}/{of}{more} {} {}{}{}{from}  [ ]", file.change, file.path, number(file.added, '+'), number(file.removed, '-'));
    safe::shown(&text)
}

fn numbered(n: Option<u64>) -> String {
    n.map_or_else(|| " ".repeat(NUMBER), |n| format!("{n:>NUMBER$}"))
}

fn sign(kind: patch::Kind) -> char {
    match kind {
        patch::Kind::Head | patch::Kind::Same => ' ',
        patch::Kind::Added => '+',
        patch::Kind::Removed => '-',
    }
}

fn unified(line: &Line, width: usize) -> String {
    if line.kind == patch::Kind::Head {
        return safe::fit(&safe::shown(&line.text), width);
    }
    safe::fit(&format!("{} {}{}", numbered(line.after.or(line.before)), sign(line.kind), safe::shown(&line.text)), width)
}

/// What was, and what is, in two halves.
fn sides(buffer: &mut Buffer, area: Rect, row: u16, (left, right): (patch::Side<'_>, patch::Side<'_>), look: Look) {
    if let Some(head) = left.filter(|line| line.kind == patch::Kind::Head) {
        return put(buffer, area, row, &safe::fit(&safe::shown(&head.text), usize::from(area.width)), look.diff(head.kind));
    }
    let half = area.width / 2;
    let halves = [(left, 0, half.saturating_sub(1), true), (right, half + 1, area.width - half - 1, false)];
    put(buffer, Rect { x: area.x + half, width: 1, ..area }, row, "│", look.dim());
    for (line, x, width, is_left) in halves {
        let Some(line) = line else { continue };
        let n = if is_left { line.before } else { line.after };
        let text = format!("{} {}{}", numbered(n), sign(line.kind), safe::shown(&line.text));
        let at = Rect { x: area.x + x, width, ..area };
        put(buffer, at, row, &safe::fit(&text, usize::from(width)), look.diff(line.kind));
    }
}
