//! What is shown on the terminal of a program inside, and what of it may reach a person's terminal.
//!
//! Everything that a program inside prints is hostile. It is read here, and written anew: characters, colours, movements, clearing,
//! margins, the other page, and the modes of keys and mouse that [`RESET`] undoes. Everything else is dropped: titles, clipboards, colours
//! of the terminal, links, notifications, pictures, files, printing, the size of the window, and all strings. A question is never passed on: a
//! terminal's answer is typed text, and may arrive when another program reads it. The few that programs cannot do without are answered here.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar as _;

use super::grid::{Grid, Line};
use super::parse::{Csi, Parser, Token};

/// The largest terminal.
pub(crate) const ROWS_MAX: u16 = 300;
/// The widest terminal.
pub(crate) const COLS_MAX: u16 = 500;
/// Lines that have left the top of the page and are still kept.
const SCROLLED_MAX: usize = 500;
/// Bytes of one answer's worth of questions that one piece of output gets; a flood of questions gets no flood of answers.
const ANSWER_BYTES_MAX: usize = 512;
/// Bells that one piece of output rings.
const BELLS_MAX: usize = 2;

/// Brings a terminal back from whatever may have been done to it by what [`Screen::take`] lets through.
///
/// The place of the cursor is saved before what moves it: leaving the other page where there was none, and taking away margins.
pub const RESET: &[u8] =
    b"\x1b[?2026l\x1b7\x1b[?1049l\x1b7\x1b[r\x1b8\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?1l\
\x1b[?7h\x1b[?12l\x1b[?25h\x1b[4l\x1b>\x1b[0m\x1b[0 q";

/// Modes that a program may set and reset, with `CSI ?`.
const MODES: &[u16] = &[1, 7, 12, 25, 1000, 1002, 1003, 1004, 1006, 2004, 2026];
/// Those of them that only say what the terminal sends, which whoever comes later must set too.
const KEPT: &[u16] = &[1, 1000, 1002, 1003, 1004, 1006, 2004];
/// The other page, in its older and newer forms.
const OTHER_PAGE: &[u16] = &[47, 1047, 1049];

/// What a piece of output of a program comes to, see [`Screen::take`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// For the person's terminal.
    pub show: Vec<u8>,
    /// For the program, as if it were typed.
    pub answer: Vec<u8>,
    bells: usize,
}

/// The screen of one program in a terminal: what it printed, read as hostile.
#[derive(Debug)]
pub struct Screen {
    parser: Parser,
    main: Grid,
    other: Grid,
    is_other: bool,
    scrolled: VecDeque<Line>,
    modes: Vec<u16>,
    /// `CSI ? 7`, `CSI ? 25`, `CSI 4`, `ESC =`.
    wraps: bool,
    is_hidden: bool,
    inserts: bool,
    keypad: bool,
    cursor: u16,
    /// Which of the two sets of characters are line drawings, and which set is in use.
    drawings: [bool; 2],
    set: usize,
    last: char,
    is_fresh: bool,
}

impl Screen {
    /// An empty screen of this size, brought within what there can be.
    #[must_use]
    pub fn new(rows: u16, cols: u16) -> Self {
        let (rows, cols) = bounded(rows, cols);
        let grid = || Grid::new(usize::from(rows), usize::from(cols));
        Self {
            parser: Parser::default(),
            main: grid(),
            other: grid(),
            is_other: false,
            scrolled: VecDeque::new(),
            modes: Vec::new(),
            wraps: true,
            is_hidden: false,
            inserts: false,
            keypad: false,
            cursor: 0,
            drawings: [false; 2],
            set: 0,
            last: ' ',
            is_fresh: true,
        }
    }

    /// Reads output.
    pub fn take(&mut self, bytes: &[u8]) -> Taken {
        let mut taken = Taken::default();
        let mut parser = std::mem::take(&mut self.parser);
        for byte in bytes {
            parser.byte(*byte, &mut |token| self.token(token, &mut taken));
        }
        self.parser = parser;
        self.is_fresh &= taken.show.is_empty();
        taken
    }

    /// Gives it another size.
    pub fn resize(&mut self, rows: u16, cols: u16) {
        let (rows, cols) = bounded(rows, cols);
        let (rows, cols) = (usize::from(rows), usize::from(cols));
        if (self.main.rows, self.main.cols) == (rows, cols) {
            return;
        }
        let scrolled = &mut self.scrolled;
        self.main.resize(rows, cols, |line| keep(scrolled, line));
        self.other.resize(rows, cols, |_| {});
    }

    /// Rows and columns.
    pub(crate) fn size(&self) -> (u16, u16) {
        let short = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        (short(self.main.rows), short(self.main.cols))
    }

    /// What makes a terminal of the same size show the same: the lines that went by, with `history`, and the page.
    #[must_use]
    pub fn repaint(&self, history: bool) -> Vec<u8> {
        if self.is_fresh {
            return Vec::new();
        }
        let mut out = RESET.to_vec();
        let grid = self.page();
        if history {
            // What stands on the person's terminal goes up and is not written over.
            out.extend_from_slice("\r\n".repeat(grid.rows).as_bytes());
            out.extend_from_slice(b"\x1b[H");
            for line in self.scrolled.iter().filter(|_| !self.is_other) {
                write_line(line, &mut out);
                out.extend_from_slice(b"\x1b[0m\r\n");
            }
            if !self.scrolled.is_empty() && !self.is_other {
                out.extend_from_slice("\r\n".repeat(grid.rows.saturating_sub(1)).as_bytes());
            }
        }
        if self.is_other {
            out.extend_from_slice(b"\x1b[?1049h");
        }
        out.extend_from_slice(b"\x1b[H\x1b[2J");
        for (row, line) in grid.lines.iter().enumerate() {
            if line.iter().any(|cell| !cell.is_blank()) {
                out.extend_from_slice(format!("\x1b[{};1H", row + 1).as_bytes());
                write_line(line, &mut out);
            }
        }
        out.extend_from_slice(b"\x1b[0m");
        for mode in &self.modes {
            out.extend_from_slice(format!("\x1b[?{mode}h").as_bytes());
        }
        let switches: [(bool, &[u8]); 4] =
            [(!self.wraps, b"\x1b[?7l"), (self.is_hidden, b"\x1b[?25l"), (self.inserts, b"\x1b[4h"), (self.keypad, b"\x1b=")];
        switches.iter().filter(|(on, _)| *on).for_each(|(_, bytes)| out.extend_from_slice(bytes));
        if (grid.top, grid.bottom) != (0, grid.rows) {
            out.extend_from_slice(format!("\x1b[{};{}r", grid.top + 1, grid.bottom).as_bytes());
        }
        out.extend_from_slice(format!("\x1b[{} q\x1b[{};{}H", self.cursor, grid.at.row + 1, grid.at.col + 1).as_bytes());
        grid.at.style.write(&mut out);
        out
    }

    /// The page as text, without the empty lines at its end.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.page().lines.iter().map(|line| {
            let text: String = line.iter().filter(|cell| cell.c != '\0').map(|cell| cell.c).collect();
            text.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    fn page(&self) -> &Grid {
        if self.is_other { &self.other } else { &self.main }
    }

    fn grid(&mut self) -> &mut Grid {
        if self.is_other { &mut self.other } else { &mut self.main }
    }

    fn token(&mut self, token: Token, taken: &mut Taken) {
        match token {
            Token::Text(c) => self.text_of(c, 1, taken),
            Token::Control(control) => self.control(control, taken),
            Token::Escape(with, last) => self.escape(with, last, taken),
            Token::Csi(csi) => self.csi(&csi, taken),
        }
    }

    fn text_of(&mut self, c: char, times: usize, taken: &mut Taken) {
        let c = if self.drawings[self.set] { drawing(c) } else { c };
        self.last = c;
        let (width, wraps, inserts, is_other) = (c.width().unwrap_or(0), self.wraps, self.inserts, self.is_other);
        let mut bytes = [0; 4];
        for _ in 0..times {
            let scrolled = &mut self.scrolled;
            let grid = if is_other { &mut self.other } else { &mut self.main };
            grid.put(c, width, wraps, inserts, |line| {
                if !is_other {
                    keep(scrolled, line)
                }
            });
            taken.show.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
        }
    }

    fn feed(&mut self) {
        let (scrolled, is_other) = (&mut self.scrolled, self.is_other);
        let grid = if is_other { &mut self.other } else { &mut self.main };
        grid.line_feed(|line| {
            if !is_other {
                keep(scrolled, line)
            }
        });
    }

    fn control(&mut self, control: u8, taken: &mut Taken) {
        let grid = self.grid();
        match control {
            7 => {
                taken.bells += 1;
                if taken.bells > BELLS_MAX {
                    return;
                }
            }
            8 => grid.column(grid.at.col.saturating_sub(1)),
            9 => grid.column(grid.at.col / 8 * 8 + 8),
            10 => self.feed(),
            13 => grid.column(0),
            // The sets of characters are translated here and never switched outside.
            14 | 15 => {
                self.set = usize::from(control == 14);
                return;
            }
            _ => return,
        }
        taken.show.push(control);
    }

    fn escape(&mut self, with: u8, last: u8, taken: &mut Taken) {
        match (with, last) {
            (b'(' | b')', _) => {
                self.drawings[usize::from(with == b')')] = last == b'0';
                return;
            }
            (0, b'7') => self.grid().saved = self.grid().at,
            (0, b'8') => self.grid().at = self.grid().saved,
            (0, b'D') => self.feed(),
            (0, b'E') => {
                self.feed();
                self.grid().column(0);
            }
            (0, b'M') => self.grid().reverse_feed(),
            (0, b'=') => self.keypad = true,
            (0, b'>') => self.keypad = false,
            (0, b'c') => {
                // A real reset would also take what stood on the person's terminal before.
                self.soften();
                self.grid().clear(2);
                self.grid().go(0, 0);
                taken.show.extend_from_slice(RESET);
                taken.show.extend_from_slice(b"\x1b[H\x1b[2J");
                return;
            }
            _ => return,
        }
        taken.show.extend_from_slice(&[0x1b, last]);
    }

    /// Everything as at the beginning, but for what is written.
    fn soften(&mut self) {
        self.is_other = false;
        self.modes.clear();
        (self.wraps, self.is_hidden, self.inserts, self.keypad) = (true, false, false, false);
        (self.cursor, self.drawings, self.set) = (0, [false; 2], 0);
        let grid = self.grid();
        (grid.top, grid.bottom) = (0, grid.rows);
        grid.at.style = super::cell::Style::default();
        grid.saved = super::grid::Place::default();
    }

    fn csi(&mut self, csi: &Csi, taken: &mut Taken) {
        let passes = match (csi.private, csi.intermediates.as_slice()) {
            (0, []) => self.usual(csi, taken),
            (b'?', []) => self.private(csi, taken),
            (b'>', []) if csi.last == b'c' => answer(taken, b"\x1b[>1;10;0c"),
            (b'?', b"$") if csi.last == b'p' => answer(taken, format!("\x1b[?{};0$y", csi.param(0)).as_bytes()),
            (0, b" ") if csi.last == b'q' && csi.param(0) <= 6 => {
                self.cursor = csi.param(0);
                true
            }
            (0, b"!") if csi.last == b'p' => {
                let was_other = self.is_other;
                self.soften();
                self.is_other = was_other;
                taken.show.extend_from_slice(b"\x1b[!p");
                false
            }
            _ => false,
        };
        if passes {
            csi.write(&mut taken.show);
        }
    }

    /// Sequences without a mark. Whether they go on to the person's terminal.
    fn usual(&mut self, csi: &Csi, taken: &mut Taken) -> bool {
        let (n, last) = (csi.count(0), self.last);
        let (rows, cols, row, col) = (self.page().rows, self.page().cols, self.page().at.row, self.page().at.col);
        let (scrolled, is_other) = (&mut self.scrolled, self.is_other);
        let grid = if is_other { &mut self.other } else { &mut self.main };
        match csi.last {
            b'A' => grid.up(n),
            b'B' | b'e' => grid.down(n),
            b'C' | b'a' => grid.column(col.saturating_add(n)),
            b'D' => grid.column(col.saturating_sub(n)),
            b'E' | b'F' => {
                if csi.last == b'E' {
                    grid.down(n)
                } else {
                    grid.up(n)
                }
                grid.column(0);
            }
            b'G' | b'`' => grid.column(n - 1),
            b'H' | b'f' => grid.go(n - 1, csi.count(1) - 1),
            b'd' => grid.go(n - 1, col),
            b'I' => grid.column((col / 8).saturating_add(n).saturating_mul(8)),
            b'Z' => grid.column(col.div_ceil(8).saturating_sub(n) * 8),
            // What the person's terminal keeps of lines that went by is not the program's.
            b'J' if csi.param(0) <= 2 => grid.clear(csi.param(0)),
            b'K' => grid.clear_line(csi.param(0)),
            b'L' => grid.shift_lines(n, true),
            b'M' => grid.shift_lines(n, false),
            b'P' => grid.delete_cells(n),
            b'@' => grid.insert_cells(n),
            b'X' => grid.clear_cells(col, col.saturating_add(n)),
            b'S' => grid.scroll_up(n, |line| {
                if !is_other {
                    keep(scrolled, line)
                }
            }),
            b'T' if csi.params.len() <= 1 => grid.scroll_down(n),
            b'b' => {
                self.text_of(last, n.min(cols), taken);
                return false;
            }
            b'm' => grid.at.style.set(csi),
            b'r' => {
                let bottom = if csi.param(1) == 0 { rows } else { usize::from(csi.param(1)).min(rows) };
                if n < bottom {
                    (grid.top, grid.bottom) = (n - 1, bottom);
                    grid.go(0, 0);
                }
            }
            b's' if csi.params.is_empty() => grid.saved = grid.at,
            b'u' if csi.params.is_empty() => grid.at = grid.saved,
            b'h' | b'l' if csi.params == [4] => self.inserts = csi.last == b'h',
            b'n' if csi.param(0) == 5 => return answer(taken, b"\x1b[0n"),
            b'n' if csi.param(0) == 6 => {
                return answer(taken, format!("\x1b[{};{}R", row + 1, col + 1).as_bytes());
            }
            b'c' if csi.param(0) == 0 => return answer(taken, b"\x1b[?62;22c"),
            _ => return false,
        }
        true
    }

    /// Sequences with a question mark. Each mode is passed on by itself.
    fn private(&mut self, csi: &Csi, taken: &mut Taken) -> bool {
        let on = match csi.last {
            b'h' => true,
            b'l' => false,
            b'n' if csi.param(0) == 6 => {
                let at = self.page().at;
                return answer(taken, format!("\x1b[?{};{}R", at.row + 1, at.col + 1).as_bytes());
            }
            // Erases what is not protected; nothing is.
            b'J' | b'K' if csi.param(0) <= 2 => {
                let plain = Csi { private: 0, ..csi.clone() };
                if self.usual(&plain, taken) {
                    plain.write(&mut taken.show);
                }
                return false;
            }
            _ => return false,
        };
        for mode in csi.params.iter().copied() {
            if OTHER_PAGE.contains(&mode) {
                self.turn_page(on);
                taken.show.extend_from_slice(if on { b"\x1b[?1049h" } else { b"\x1b[?1049l" });
            } else if mode == 1048 {
                let grid = self.grid();
                if on {
                    grid.saved = grid.at
                } else {
                    grid.at = grid.saved
                }
                taken.show.extend_from_slice(if on { b"\x1b7" } else { b"\x1b8" });
            } else if MODES.contains(&mode) {
                self.mode(mode, on);
                taken.show.extend_from_slice(format!("\x1b[?{mode}{}", char::from(csi.last)).as_bytes());
            }
        }
        false
    }

    fn mode(&mut self, mode: u16, on: bool) {
        match mode {
            7 => self.wraps = on,
            25 => self.is_hidden = !on,
            _ => {}
        }
        self.modes.retain(|kept| *kept != mode);
        if on && KEPT.contains(&mode) {
            self.modes.push(mode);
        }
    }

    fn turn_page(&mut self, to_other: bool) {
        if to_other && !self.is_other {
            self.main.saved = self.main.at;
            let (rows, cols) = (self.main.rows, self.main.cols);
            self.other = Grid::new(rows, cols);
            self.other.at = self.main.at;
        } else if !to_other && self.is_other {
            self.main.at = self.main.saved;
        }
        self.is_other = to_other;
    }
}

/// A question is answered and not passed on.
fn answer(taken: &mut Taken, bytes: &[u8]) -> bool {
    if taken.answer.len() + bytes.len() <= ANSWER_BYTES_MAX {
        taken.answer.extend_from_slice(bytes);
    }
    false
}

fn keep(scrolled: &mut VecDeque<Line>, mut line: Line) {
    let end = line.iter().rposition(|cell| !cell.is_blank()).map_or(0, |at| at + 1);
    line.truncate(end);
    line.shrink_to_fit();
    if scrolled.len() == SCROLLED_MAX {
        scrolled.pop_front();
    }
    scrolled.push_back(line);
}

fn write_line(line: &[super::cell::Cell], out: &mut Vec<u8>) {
    let end = line.iter().rposition(|cell| !cell.is_blank()).map_or(0, |at| at + 1);
    let mut style = super::cell::Style::default();
    out.extend_from_slice(b"\x1b[0m");
    let mut bytes = [0; 4];
    for cell in line[..end].iter().filter(|cell| cell.c != '\0') {
        if cell.style != style {
            cell.style.write(out);
            style = cell.style;
        }
        out.extend_from_slice(cell.c.encode_utf8(&mut bytes).as_bytes());
    }
}

/// A size that there can be. A terminal that says 0 has no size that it knows.
fn bounded(rows: u16, cols: u16) -> (u16, u16) {
    let or = |n: u16, usual: u16, max: u16| if n == 0 { usual } else { n.clamp(2, max) };
    (or(rows, 24, ROWS_MAX), or(cols, 80, COLS_MAX))
}

/// A character of the set of line drawings.
fn drawing(c: char) -> char {
    const DRAWN: &str = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";
    let at = u32::from(c).checked_sub(0x60).and_then(|at| usize::try_from(at).ok());
    at.and_then(|at| DRAWN.chars().nth(at)).unwrap_or(c)
}

#[cfg(test)]
mod tests;
