//! The board on a screen of any size.

mod look;
mod over;
mod pane;
mod table;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::safe;
use super::state::{Board, Link, Mode, Pane};
pub(super) use look::Look;

/// The smallest screen on which there is anything to see.
const SMALLEST: (u16, u16) = (20, 6);

/// Draws the board, and notes where everything is.
pub(super) fn draw(frame: &mut Frame<'_>, board: &mut Board) {
    let area = frame.area();
    let look = Look { colours: board.colours };
    let buffer = frame.buffer_mut();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        put(buffer, area, 0, "too small", Style::new());
        return;
    }
    let rows = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
    put(buffer, rows(0, 1), 0, &title(board, usize::from(area.width)), look.title());
    let body = area.height - 2;
    let table = if board.is_zoomed { 2 } else { table_rows(board.order.len(), body) };
    table::draw(buffer, rows(1, table), board, look);
    tabs(buffer, rows(1 + table, 1), board, look);
    board.areas.pane = rows(2 + table, body - table - 1);
    pane::draw(buffer, board.areas.pane, board, look);
    footer(buffer, rows(area.height - 1, 1), board, look);
    over::draw(buffer, area, board, look);
}

/// The rows of the list with its head: as many as there are agents, and not more than leave room for the rest.
fn table_rows(agents: usize, body: u16) -> u16 {
    let most = (body * 2 / 5).max(4).min(body.saturating_sub(3)).max(2);
    u16::try_from(agents + 1).unwrap_or(most).clamp(2, most)
}

fn title(board: &Board, width: usize) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for agent in board.agents.values() {
        let word = agent.state.as_str();
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, n)) => *n += 1,
            None => counts.push((word, 1)),
        }
    }
    counts.sort_unstable();
    let mut text = format!(" board  {}", board.title);
    let counts: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let mut end = counts.join(" · ");
    if board.sort != super::state::Sort::Age {
        end.push_str(&format!("  by {}", board.sort.word()));
    }
    if !board.filter.is_empty() {
        end.push_str(&format!("  /{}", safe::flat(&board.filter)));
    }
    let room = width.saturating_sub(safe::width(&end) + 2);
    text = safe::cell(&text, room);
    safe::cell(&format!("{text} {end}"), width)
}

fn tabs(buffer: &mut Buffer, area: Rect, board: &mut Board, look: Look) {
    put(buffer, area, 0, &" ".repeat(usize::from(area.width)), look.bar());
    board.areas.tabs.clear();
    let mut x = 0;
    for (pane, name) in Pane::ALL {
        let text = format!(" {name} ");
        let width = u16::try_from(text.len()).unwrap_or(0);
        if x + width > area.width {
            return;
        }
        let at = Rect { x: area.x + x, width, ..area };
        put(buffer, at, 0, &text, if pane == board.pane { look.chosen() } else { look.bar() });
        board.areas.tabs.push((at, pane));
        x += width + 1;
    }
    let Some(agent) = board.agent() else { return };
    let name = safe::fit(&safe::flat(&agent.branch), usize::from(area.width.saturating_sub(x)));
    put(buffer, Rect { x: area.x + x, width: area.width.saturating_sub(x), ..area }, 0, &name, look.bar());
}

fn footer(buffer: &mut Buffer, area: Rect, board: &Board, look: Look) {
    let width = usize::from(area.width);
    let (text, style) = match (&board.mode, &board.link, &board.message) {
        (Mode::Filter, ..) => (format!("/{}_  Enter keeps it, Esc not", safe::flat(&board.filter)), look.chosen()),
        (_, Link::Lost(why), _) => (format!("no daemon: looking for it again ({})", safe::flat(why)), look.trouble()),
        (_, _, Some((text, true))) => (text.clone(), look.trouble()),
        (_, _, Some((text, false))) => (text.clone(), look.good()),
        _ if width < 60 => ("? help  q leave".to_owned(), look.dim()),
        _ => ("? help  q leave  a answer  s stop  r resume  m merge  / filter  o order  z larger".to_owned(), look.dim()),
    };
    put(buffer, area, 0, &safe::cell(&text, width), style);
}

/// Writes a harmless line into an area, cut where the area ends.
fn put(buffer: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    let area = area.intersection(buffer.area);
    if row < area.height && area.width > 0 {
        buffer.set_stringn(area.x, area.y + row, text, usize::from(area.width), style);
    }
}
