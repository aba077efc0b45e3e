//! Numbers and short strings of a JSON text that arrives in pieces, with the names that lead to them.

/// Levels of nesting whose names are kept; deeper ones are counted only.
const DEPTH_MAX: usize = 8;
/// Bytes of a name or string that are kept; a longer one matches nothing.
const TEXT_BYTES_MAX: usize = 40;

/// A short text, kept in place.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl Text {
    const EMPTY: Text = Text { bytes: [0; TEXT_BYTES_MAX], len: 0 };

    fn push(&mut self, piece: &[u8]) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.len).min(piece.len());
        self.bytes[self.len.min(TEXT_BYTES_MAX)..][..room].copy_from_slice(&piece[..room]);
        // Past the end the length goes on, so that a cut text equals nothing.
        self.len = self.len.saturating_add(piece.len());
    }

    fn get(&self) -> &[u8] {
        if self.len <= TEXT_BYTES_MAX { &self.bytes[..self.len] } else { b"" }
    }
}

/// A value that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    /// A whole number that is not negative.
    Number(u64),
    /// A string of at most 40 bytes; a longer one is empty.
    Text(&'a [u8]),
}

/// The names that lead to a value, from the outside in. Arrays add none.
pub(crate) struct Path<'a> {
    names: &'a [Option<Text>],
    /// The value's first bytes, when it is a text.
    value: &'a [u8],
}

impl Path<'_> {
    /// Whether the names are these.
    pub(crate) fn is(&self, names: &[&str]) -> bool {
        let mut mine = self.names.iter().flatten();
        names.iter().all(|name| mine.next().is_some_and(|t| t.get() == name.as_bytes())) && mine.next().is_none()
    }

    /// Whether the first names are these.
    pub(crate) fn starts(&self, names: &[&str]) -> bool {
        let mut mine = self.names.iter().flatten();
        names.iter().all(|name| mine.next().is_some_and(|t| t.get() == name.as_bytes()))
    }

    /// Whether this name is among them.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().flatten().any(|t| t.get() == name.as_bytes())
    }

    /// Whether the value is a text that begins so.
    pub(crate) fn value_starts_with(&self, bytes: &[u8]) -> bool {
        self.value.starts_with(bytes)
    }

    /// Whether the last names are these.
    pub(crate) fn ends(&self, names: &[&str]) -> bool {
        let mut mine = self.names.iter().rev().flatten();
        names.iter().rev().all(|name| mine.next().is_some_and(|t| t.get() == name.as_bytes()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Name,
    Value,
    Number,
}

/// Reads a JSON text in pieces. It does not judge: what is no JSON yields nothing or nonsense numbers, never a panic and
/// never more memory.
pub(crate) struct Scanner {
    /// For each level its current name; `None` in an array.
    names: [Option<Text>; DEPTH_MAX],
    /// Whether a level is an object.
    objects: [bool; DEPTH_MAX],
    depth: usize,
    state: State,
    escaped: bool,
    wants_name: bool,
    text: Text,
    number: Option<u64>,
    /// Whether a whole value was read.
    whole: bool,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            names: [None; DEPTH_MAX],
            objects: [false; DEPTH_MAX],
            depth: 0,
            state: State::Between,
            escaped: false,
            wants_name: false,
            text: Text::EMPTY,
            number: None,
            whole: false,
        }
    }

    /// Whether an object or array was opened and closed again.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole && self.depth == 0
    }

    /// Reads the next piece and calls `found` for each number and string.
    pub(crate) fn feed(&mut self, mut piece: &[u8], found: &mut impl FnMut(&Path<'_>, Scalar<'_>)) {
        while let Some((&byte, rest)) = piece.split_first() {
            match self.state {
                State::Between => {
                    piece = rest;
                    self.between(byte);
                }
                State::Name | State::Value => {
                    let plain = if self.escaped { 1 } else { piece.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(piece.len()) };
                    self.escaped = false;
                    self.text.push(&piece[..plain]);
                    piece = &piece[plain..];
                    if let Some((&byte, rest)) = piece.split_first()
                        && matches!(byte, b'"' | b'\\')
                    {
                        piece = rest;
                        self.escaped = byte == b'\\';
                        if self.escaped {
                            self.text.push(b"\\");
                        } else {
                            self.text_ends(found);
                        }
                    }
                }
                State::Number => {
                    if byte.is_ascii_digit() {
                        piece = rest;
                        self.number = self.number.and_then(|n| n.checked_mul(10)?.checked_add(u64::from(byte - b'0')));
                    } else if matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-') {
                        piece = rest;
                        self.number = None;
                    } else {
                        self.number_ends(found);
                    }
                }
            }
        }
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => {
                if self.depth < DEPTH_MAX {
                    self.names[self.depth] = None;
                    self.objects[self.depth] = byte == b'{';
                }
                self.depth = self.depth.saturating_add(1);
                self.whole = true;
                self.wants_name = byte == b'{';
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.wants_name = false;
            }
            b',' => self.wants_name = self.in_object(),
            b':' => self.wants_name = false,
            b'"' => {
                self.text = Text::EMPTY;
                self.state = if self.wants_name { State::Name } else { State::Value };
            }
            b'0'..=b'9' => {
                self.number = Some(u64::from(byte - b'0'));
                self.state = State::Number;
            }
            b'-' => {
                self.number = None;
                self.state = State::Number;
            }
            _ => (),
        }
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.depth <= DEPTH_MAX && self.objects[self.depth - 1]
    }

    fn text_ends(&mut self, found: &mut impl FnMut(&Path<'_>, Scalar<'_>)) {
        let was = std::mem::replace(&mut self.state, State::Between);
        if self.depth == 0 || self.depth > DEPTH_MAX {
            return;
        }
        if was == State::Name {
            self.names[self.depth - 1] = Some(self.text);
        } else {
            let kept = &self.text.bytes[..self.text.len.min(TEXT_BYTES_MAX)];
            found(&Path { names: &self.names[..self.depth], value: kept }, Scalar::Text(self.text.get()));
        }
    }

    fn number_ends(&mut self, found: &mut impl FnMut(&Path<'_>, Scalar<'_>)) {
        self.state = State::Between;
        if self.depth > 0
            && self.depth <= DEPTH_MAX
            && let Some(number) = self.number
        {
            found(&Path { names: &self.names[..self.depth], value: b"" }, Scalar::Number(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str, cut: usize) -> (Vec<String>, bool) {
        let mut scanner = Scanner::new();
        let mut lines = Vec::new();
        for piece in text.as_bytes().chunks(cut.max(1)) {
            scanner.feed(piece, &mut |path, value| {
                let names: Vec<_> = path.names.iter().flatten().map(|t| String::from_utf8_lossy(t.get()).into_owned()).collect();
                let value = match value {
                    Scalar::Number(n) => n.to_string(),
                    Scalar::Text(t) => String::from_utf8_lossy(t).into_owned(),
                };
                lines.push(format!("{}={value}", names.join(".")));
            });
        }
        (lines, scanner.is_whole())
    }

    #[test]
    fn values_are_found_at_any_split() {
        let text = r#"{"a":{"b":12,"s":"x\"y"},"l":[{"c":3},{"c":-4}],"f":1.5,"n":null,"t":true,"e":"","z":99}"#;
        let expect = ["a.b=12", "a.s=x\\\"y", "l.c=3", "e=", "z=99"];
        for cut in 1..text.len() {
            let (lines, whole) = scan(text, cut);
            assert_eq!(lines, expect, "cut {cut}");
            assert!(whole, "cut {cut}");
        }
    }

    #[test]
    fn hostile_texts_yield_nothing_bad() {
        assert_eq!(scan(r#"{"usage":{"n":99999999999999999999999}}"#, 3).0, Vec::<String>::new());
        assert_eq!(scan(&format!("{}1", "[".repeat(100_000)), 7).0, Vec::<String>::new());
        assert!(!scan("]]]}}}{", 1).1);
        let long = "k".repeat(1000);
        assert_eq!(scan(&format!("{{\"{long}\":1,\"b\":2}}"), 9).0, ["=1", "b=2"]);
        assert!(!scan(r#"{"text":"{\"usage\":{\"n\":1}}"}"#, 2).0.iter().any(|l| l.contains("usage.n")));
    }
}
