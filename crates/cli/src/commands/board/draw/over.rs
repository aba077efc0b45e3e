//! What lies over the board: help, what wants a second key, what is typed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Look, put};
use crate::commands::board::keys::HELP;
use crate::commands::board::safe;
use crate::commands::board::state::{Areas, Board, Mode, Sure, Write};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, board: &mut Board, look: Look) {
    let (mode, areas) = (&mut board.mode, &mut board.areas);
    match mode {
        Mode::Browse | Mode::Filter => {}
        Mode::Help => help(buffer, area, look),
        Mode::Sure(sure) => second_key(buffer, area, sure, areas, look),
        Mode::Write(what, text) => typed(buffer, area, what, text, look),
    }
}

/// An empty box with a title and a last line, and the room in it.
fn sheet(buffer: &mut Buffer, area: Rect, title: &str, end: &str, look: Look) -> Rect {
    let (x, y) = if area.width >= 60 && area.height >= 20 { (3, 1) } else { (0, 0) };
    let sheet = Rect { x: area.x + x, y: area.y + y, width: area.width - 2 * x, height: area.height - 2 * y };
    let width = usize::from(sheet.width);
    for row in 0..sheet.height {
        put(buffer, sheet, row, &" ".repeat(width), Style::reset());
    }
    put(buffer, sheet, 0, &safe::cell(&format!(" {title}"), width), look.title());
    put(buffer, sheet, sheet.height - 1, &safe::cell(&format!(" {end}"), width), look.chosen());
    Rect { x: sheet.x + 1, y: sheet.y + 1, width: sheet.width.saturating_sub(2), height: sheet.height.saturating_sub(2) }
}

fn help(buffer: &mut Buffer, area: Rect, look: Look) {
    let room = sheet(buffer, area, "keys", "any key goes back", look);
    let lines = HELP.iter().flat_map(|(keys, what)| safe::wrap(&format!("{keys:<10} {what}"), usize::from(room.width)));
    for (row, text) in (0..room.height).zip(lines) {
        put(buffer, room, row, &text, Style::new());
    }
}

fn second_key(buffer: &mut Buffer, area: Rect, sure: &mut Sure, areas: &mut Areas, look: Look) {
    let title = safe::flat(&sure.title);
    let room = sheet(buffer, area, &title, "", look);
    let lines = safe::wrap(&sure.text, usize::from(room.width));
    let rows = usize::from(room.height);
    areas.sure = rows;
    sure.top = sure.top.min(lines.len().saturating_sub(rows));
    sure.is_read |= sure.top + rows >= lines.len();
    let end = match (&sure.act, sure.is_read) {
        (None, _) => "Esc goes back".to_owned(),
        (Some(_), true) => "y yes   Esc no".to_owned(),
        (Some(_), false) => format!("line {} of {}: PgDn reads on   Esc no", sure.top + rows, lines.len()),
    };
    let room = sheet(buffer, area, &title, &end, look);
    for (row, text) in (0..room.height).zip(lines.iter().skip(sure.top)) {
        put(buffer, room, row, text, Style::new());
    }
}

fn typed(buffer: &mut Buffer, area: Rect, what: &Write, text: &str, look: Look) {
    let (title, said, options) = match what {
        Write::Resume { branch, .. } => (format!("{}: what is it to do now?", safe::flat(branch)), String::new(), &[][..]),
        Write::Answer { question, .. } => ("the answer".to_owned(), question.text.clone(), &question.options[..]),
    };
    let room = sheet(buffer, area, &title, "Enter sends   Esc does not", look);
    let width = usize::from(room.width);
    let mut lines: Vec<(String, Style)> = Vec::new();
    if !said.is_empty() {
        lines.extend(safe::wrap(&said, width).into_iter().map(|line| (line, look.ask())));
        lines.push((String::new(), Style::new()));
    }
    for (n, option) in options.iter().enumerate() {
        lines.extend(safe::wrap(&format!("{}. {option}", n + 1), width).into_iter().map(|line| (line, Style::new())));
    }
    lines.extend(safe::wrap(&format!("> {text}_"), width).into_iter().map(|line| (line, look.head())));
    // What is typed is at the end, and always seen.
    let skipped = lines.len().saturating_sub(usize::from(room.height));
    for (row, (text, style)) in (0..room.height).zip(lines.iter().skip(skipped)) {
        put(buffer, room, row, text, *style);
    }
}
