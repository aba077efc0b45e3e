//! From bytes, in whatever pieces they come, to lines for a parser.

use model::{Code, EventKind, Outcome};

use crate::{End, Exit, Parsed, Parser};

/// The longest line that is given to a parser, in bytes. Engines put whole files into one line of JSON; what is longer
/// is passed over, with a notice.
pub const LINE_BYTES_MAX: usize = 8 << 20;
/// All output of one turn, in bytes. What comes after it is not read any more and the turn fails with `OUTPUT_LIMIT`.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// The output of one turn on its way to a parser.
pub struct Feed {
    parser: Box<dyn Parser>,
    held: Vec<u8>,
    /// Bytes of the present line that were dropped because it is too long.
    dropped: u64,
    taken: u64,
}

impl Feed {
    /// A feed of one turn's output.
    #[must_use]
    pub fn new(parser: Box<dyn Parser>) -> Self {
        Self { parser, held: Vec::new(), dropped: 0, taken: 0 }
    }

    /// Takes standard output as it comes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Parsed> {
        let mut out = Vec::new();
        let was_over = self.is_over_limit();
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        if was_over {
            return out;
        }
        if self.is_over_limit() {
            let text = format!("the engine wrote more than {OUTPUT_BYTES_MAX} bytes; the rest is not read");
            out.push(Parsed::Event(EventKind::Notice { text }));
            return out;
        }
        let mut pieces = bytes.split(|b| *b == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_BYTES_MAX.saturating_sub(self.held.len());
            let fits = piece.len().min(room);
            self.held.extend_from_slice(&piece[..fits]);
            self.dropped += (piece.len() - fits) as u64;
            if pieces.peek().is_some() {
                self.line(&mut out);
            }
        }
        out
    }

    /// Whether the engine wrote more than [`OUTPUT_BYTES_MAX`].
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.taken > OUTPUT_BYTES_MAX
    }

    /// Whether the caller should end the engine now: it wrote too much, or goes round in circles.
    #[must_use]
    pub fn must_end(&self) -> bool {
        self.is_over_limit() || self.parser.is_stuck()
    }

    /// The end of the output: what a last line without an end meant, and the end of the turn.
    pub fn finish(mut self, exit: Exit, stderr_tail: &str) -> (Vec<Parsed>, End) {
        let mut out = Vec::new();
        if !self.held.is_empty() || self.dropped > 0 {
            self.line(&mut out);
        }
        let mut end = self.parser.finish(exit, stderr_tail);
        if self.is_over_limit() {
            end.outcome = Outcome::of_failure(Code::OutputLimit);
            end.code = Some(Code::OutputLimit);
            end.message = Some(format!("the engine wrote more than {OUTPUT_BYTES_MAX} bytes"));
        }
        (out, end)
    }

    /// Whether the turn is over although the process may live on; see [`Parser::is_over`].
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.parser.is_over()
    }

    /// What to write to ask that the turn ends early; see [`Parser::interrupt`].
    #[must_use]
    pub fn interrupt(&self) -> Vec<u8> {
        self.parser.interrupt()
    }

    /// The end of a turn of a process that goes on, once it [`Feed::is_over`].
    #[must_use]
    pub fn finish_live(self) -> (Vec<Parsed>, End) {
        // What stands after the turn's last line is no part of it.
        let quiet = Self { held: Vec::new(), dropped: 0, ..self };
        quiet.finish(Exit { code: Some(0), signal: None }, "")
    }

    fn line(&mut self, out: &mut Vec<Parsed>) {
        if self.dropped > 0 {
            let bytes = self.held.len() as u64 + self.dropped;
            let text = format!("a line of {bytes} bytes was passed over: the limit is {LINE_BYTES_MAX}");
            out.push(Parsed::Event(EventKind::Notice { text }));
        } else if !self.parser.is_over() {
            let line = String::from_utf8_lossy(&self.held);
            out.extend(self.parser.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.held.clear();
        self.dropped = 0;
    }
}
