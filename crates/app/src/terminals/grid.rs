//! One page of a screen: its characters, and where the next one goes.

use std::collections::VecDeque;

use super::cell::{Cell, Style};

/// A line.
pub(super) type Line = Vec<Cell>;

/// Where the next character goes, and how it looks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) col: usize,
    pub(super) style: Style,
    /// A line is full, and the next character begins another one.
    pub(super) is_full: bool,
}

/// One page.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) lines: VecDeque<Line>,
    pub(super) at: Place,
    pub(super) saved: Place,
    /// The first line that scrolls, and the one after the last.
    pub(super) top: usize,
    pub(super) bottom: usize,
}

impl Grid {
    pub(super) fn new(rows: usize, cols: usize) -> Self {
        let lines = (0..rows).map(|_| blank(cols, Style::default())).collect();
        Self { rows, cols, lines, at: Place::default(), saved: Place::default(), top: 0, bottom: rows }
    }

    /// Gives it another size. Lines that do not fit go away at the top where the place would be lost, else at the bottom.
    pub(super) fn resize(&mut self, rows: usize, cols: usize, mut gone: impl FnMut(Line)) {
        for line in &mut self.lines {
            line.resize(cols, Cell::empty(Style::default()));
        }
        while self.lines.len() > rows {
            if self.at.row + 1 >= self.lines.len() || self.at.row >= rows {
                gone(self.lines.pop_front().unwrap_or_default());
                self.at.row = self.at.row.saturating_sub(1);
            } else {
                self.lines.pop_back();
            }
        }
        while self.lines.len() < rows {
            self.lines.push_back(blank(cols, Style::default()));
        }
        (self.rows, self.cols, self.top, self.bottom) = (rows, cols, 0, rows);
        for place in [&mut self.at, &mut self.saved] {
            (place.row, place.col) = (place.row.min(rows - 1), place.col.min(cols - 1));
            place.is_full = false;
        }
    }

    /// Goes to a place, within the page.
    pub(super) fn go(&mut self, row: usize, col: usize) {
        self.at.row = row.min(self.rows - 1);
        self.at.col = col.min(self.cols - 1);
        self.at.is_full = false;
    }

    pub(super) fn column(&mut self, col: usize) {
        self.at.col = col.min(self.cols - 1);
        self.at.is_full = false;
    }

    /// Moves up or down, not beyond the margins when it begins within.
    pub(super) fn up(&mut self, n: usize) {
        let stop = if self.at.row >= self.top { self.top } else { 0 };
        self.at.row = self.at.row.saturating_sub(n).max(stop);
        self.at.is_full = false;
    }

    pub(super) fn down(&mut self, n: usize) {
        let stop = if self.at.row < self.bottom { self.bottom } else { self.rows } - 1;
        self.at.row = self.at.row.saturating_add(n).min(stop);
        self.at.is_full = false;
    }

    /// Writes a character of this width.
    pub(super) fn put(&mut self, c: char, width: usize, wraps: bool, inserts: bool, gone: impl FnMut(Line)) {
        if width == 0 || width > self.cols {
            return;
        }
        if (self.at.is_full || self.at.col + width > self.cols) && wraps {
            self.at.col = 0;
            self.line_feed(gone);
        }
        self.at.is_full = false;
        self.at.col = self.at.col.min(self.cols - width);
        if inserts {
            self.insert_cells(width);
        }
        let (row, col, style) = (self.at.row, self.at.col, self.at.style);
        let Some(line) = self.lines.get_mut(row) else { return };
        // The other half of a wide character that is written over is no character any more.
        if line[col].c == '\0' && col > 0 {
            line[col - 1].c = ' ';
        }
        if let Some(after) = line.get_mut(col + width).filter(|cell| cell.c == '\0') {
            after.c = ' ';
        }
        line[col] = Cell { c, style };
        if width == 2 {
            line[col + 1] = Cell { c: '\0', style };
        }
        if col + width >= self.cols {
            self.at.is_full = true;
            self.at.col = self.cols - 1;
        } else {
            self.at.col = col + width;
        }
    }

    /// Goes down a line; the page moves when there is none.
    pub(super) fn line_feed(&mut self, gone: impl FnMut(Line)) {
        self.at.is_full = false;
        if self.at.row + 1 == self.bottom {
            self.scroll_up(1, gone);
        } else if self.at.row + 1 < self.rows {
            self.at.row += 1;
        }
    }

    /// Goes up a line; the page moves when there is none.
    pub(super) fn reverse_feed(&mut self) {
        self.at.is_full = false;
        if self.at.row == self.top {
            self.scroll_down(1);
        } else {
            self.at.row = self.at.row.saturating_sub(1);
        }
    }

    /// Moves what is within the margins up. Lines that leave the page at its top are handed on.
    pub(super) fn scroll_up(&mut self, n: usize, mut gone: impl FnMut(Line)) {
        for _ in 0..n.min(self.bottom - self.top) {
            let Some(line) = self.lines.remove(self.top) else { return };
            if self.top == 0 {
                gone(line);
            }
            self.lines.insert(self.bottom - 1, blank(self.cols, self.at.style));
        }
    }

    pub(super) fn scroll_down(&mut self, n: usize) {
        for _ in 0..n.min(self.bottom - self.top) {
            self.lines.remove(self.bottom - 1);
            self.lines.insert(self.top, blank(self.cols, self.at.style));
        }
    }

    /// Inserts lines where the place is, or removes them.
    pub(super) fn shift_lines(&mut self, n: usize, is_insert: bool) {
        if self.at.row < self.top || self.at.row >= self.bottom {
            return;
        }
        let top = std::mem::replace(&mut self.top, self.at.row);
        if is_insert {
            self.scroll_down(n);
        } else {
            self.scroll_up(n, |_| {});
        }
        self.top = top;
        self.column(0);
    }

    pub(super) fn insert_cells(&mut self, n: usize) {
        let (col, cols, empty) = (self.at.col, self.cols, Cell::empty(self.at.style));
        let Some(line) = self.lines.get_mut(self.at.row) else { return };
        for _ in 0..n.min(cols - col) {
            line.pop();
            line.insert(col, empty);
        }
        self.at.is_full = false;
    }

    pub(super) fn delete_cells(&mut self, n: usize) {
        let (col, cols, empty) = (self.at.col, self.cols, Cell::empty(self.at.style));
        let Some(line) = self.lines.get_mut(self.at.row) else { return };
        for _ in 0..n.min(cols - col) {
            line.remove(col);
            line.push(empty);
        }
        self.at.is_full = false;
    }

    /// Clears part of the line: from the place on, up to it, or all of it.
    pub(super) fn clear_line(&mut self, how: u16) {
        let (from, to) = match how {
            0 => (self.at.col, self.cols),
            1 => (0, self.at.col + 1),
            2 => (0, self.cols),
            _ => return,
        };
        self.clear_cells(from, to);
    }

    pub(super) fn clear_cells(&mut self, from: usize, to: usize) {
        let (empty, to) = (Cell::empty(self.at.style), to.min(self.cols));
        if let Some(line) = self.lines.get_mut(self.at.row) {
            line.iter_mut().take(to).skip(from).for_each(|cell| *cell = empty);
        }
    }

    /// Clears part of the page, in the same way.
    pub(super) fn clear(&mut self, how: u16) {
        let row = self.at.row;
        let (from, to) = match how {
            0 => (row + 1, self.rows),
            1 => (0, row),
            2 => (0, self.rows),
            _ => return,
        };
        self.clear_line(how);
        let (cols, style) = (self.cols, self.at.style);
        self.lines.iter_mut().take(to).skip(from).for_each(|line| *line = blank(cols, style));
    }
}

fn blank(cols: usize, style: Style) -> Line {
    vec![Cell::empty(style); cols]
}
