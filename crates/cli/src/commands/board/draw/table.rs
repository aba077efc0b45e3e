//! The list of agents.

use app::BranchView;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Look, put};
use crate::commands::board::safe;
use crate::commands::board::state::Board;
use crate::commands::screen::seconds;

/// One column: its head, how wide it is, from which width of the screen on it is seen, and what stands in it.
struct Column {
    head: &'static str,
    width: usize,
    from: usize,
    text: fn(&Board, &BranchView) -> String,
}

/// The columns after the branch, in their order.
const COLUMNS: &[Column] = &[
    Column { head: "state", width: 8, from: 0, text: |_, agent| state(agent).to_owned() },
    Column { head: "commits", width: 7, from: 60, text: |_, agent| number(agent.commits) },
    Column { head: "open", width: 5, from: 76, text: |_, agent| open(agent) },
    Column { head: "check", width: 6, from: 76, text: |_, agent| check(agent) },
    Column { head: "cost", width: 9, from: 50, text: |_, agent| format!("${:.4}", agent.cost_usd) },
    Column { head: "time", width: 7, from: 36, text: |board, agent| time(board.took_ms(agent)) },
    Column { head: "engine", width: 12, from: 120, text: |_, agent| safe::flat(&agent.engine) },
];
/// The narrowest that the branch gets.
const BRANCH_MIN: usize = 10;
/// The widest that the branch gets while there is something else to say.
const BRANCH_MAX: usize = 34;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, board: &mut Board, look: Look) {
    let width = usize::from(area.width);
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.from <= width).collect();
    let fixed: usize = columns.iter().map(|column| column.width + 1).sum();
    let rest = width.saturating_sub(fixed + 2);
    let longest = board.order.iter().filter_map(|id| board.agents.get(id)).map(|agent| safe::width(&safe::flat(&agent.branch))).max();
    let branch = longest.unwrap_or(0).clamp(BRANCH_MIN.min(rest), BRANCH_MAX.min(rest.div_ceil(2)).max(BRANCH_MIN.min(rest)));
    let last = rest.saturating_sub(branch + 1);
    let line = |mark: &str, name: &str, cells: Vec<String>, more: &str| {
        let mut text = format!("{mark} {}", safe::cell(name, branch));
        for (column, cell) in columns.iter().zip(cells) {
            text.push(' ');
            text.push_str(&safe::cell(&cell, column.width));
        }
        if last > 0 {
            text.push(' ');
            text.push_str(&safe::cell(more, last));
        }
        text
    };
    let heads = columns.iter().map(|column| column.head.to_owned()).collect();
    put(buffer, area, 0, &line(" ", "branch", heads, "waits for / task"), look.head());

    let rows = usize::from(area.height.saturating_sub(1));
    let at = board.order.iter().position(|id| Some(id) == board.chosen.as_ref()).unwrap_or(0);
    // The chosen one is always seen.
    let first =
        board.areas.first.min(at).max((at + 1).saturating_sub(rows)).min(board.order.len().saturating_sub(rows.min(board.order.len())));
    board.areas.first = first;
    board.areas.rows = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if board.order.is_empty() {
        let text = match (board.is_ready, board.filter.is_empty()) {
            (false, _) => "looking ...",
            (true, true) => "no agent is here: lazaret spawn --branch NAME --task TEXT",
            (true, false) => "no agent is let through by the filter: Esc",
        };
        put(buffer, board.areas.rows, 0, &safe::cell(&format!("  {text}"), width), look.dim());
        return;
    }
    for (row, id) in board.order.iter().skip(first).take(rows).enumerate() {
        let Some(agent) = board.agents.get(id) else { continue };
        let is_chosen = Some(id) == board.chosen.as_ref();
        let cells = columns.iter().map(|column| (column.text)(board, agent)).collect();
        let more = agent.waiting_for.as_deref().unwrap_or(&agent.task);
        let text = line(if is_chosen { ">" } else { " " }, &safe::flat(&agent.branch), cells, &safe::flat(more));
        let style = if is_chosen { look.chosen().patch(look.state(agent.state)) } else { look.state(agent.state) };
        put(buffer, board.areas.rows, u16::try_from(row).unwrap_or(u16::MAX), &text, style);
    }
}

/// The word for where an agent stands.
pub(super) fn state(agent: &BranchView) -> &'static str {
    if agent.merged_into.is_some() && agent.state.is_over() { "merged" } else { agent.state.as_str() }
}

fn number(n: u64) -> String {
    if n == 0 { String::new() } else { n.to_string() }
}

/// Files that are not committed: changed, and unknown to git.
fn open(agent: &BranchView) -> String {
    match (agent.dirty, agent.untracked) {
        (0, 0) => String::new(),
        (dirty, untracked) => format!("{dirty}+{untracked}"),
    }
}

fn check(agent: &BranchView) -> String {
    agent.check.as_ref().map_or("", |check| if check.passed { "passed" } else { "failed" }).to_owned()
}

/// A time that people read at a glance.
pub(super) fn time(ms: u64) -> String {
    match ms / 1000 {
        0 if ms == 0 => String::new(),
        0..10 => format!("{:.1}s", seconds(ms)),
        s @ 10..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}
