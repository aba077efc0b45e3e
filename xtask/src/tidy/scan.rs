//! Just enough of Rust's lexical structure to tell code from comments and strings.

/// A source file taken apart.
pub(crate) struct Scanned {
    /// The source with comments and the insides of literals blanked; lines keep their numbers.
    pub(crate) code: String,
    /// Every string literal: its line (from 1) and its text, escapes as written.
    pub(crate) strings: Vec<(usize, String)>,
}

/// Takes a source file apart. Never fails: what is not Rust comes out as odd code, and the compiler says so.
pub(crate) fn scan(source: &str) -> Scanned {
    let mut scanner = Scanner { rest: source, line: 1, out: Scanned { code: String::with_capacity(source.len()), strings: Vec::new() } };
    while scanner.step() {}
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    out: Scanned,
}

impl Scanner<'_> {
    fn step(&mut self) -> bool {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else { return false };
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment(rest));
        } else if first == '"' {
            self.string(1, end_of_plain(&rest[1..]), 1);
        } else if let Some(hashes) = raw_prefix(rest) {
            let open = rest.find('"').map_or(rest.len(), |at| at + 1);
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = rest[open..].find(&close).unwrap_or(rest.len() - open);
            self.string(open, inside, close.len());
        } else if first == '\'' {
            let end = char_literal(rest).unwrap_or(1);
            if end == 1 { self.keep(1) } else { self.blank(end) }
        } else if first.is_alphanumeric() || first == '_' {
            // A whole word at once, so that the `r` of `for"` is not taken for a raw string.
            self.keep(rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()));
        } else {
            self.keep(first.len_utf8());
        }
        true
    }

    fn keep(&mut self, len: usize) {
        self.out.code.push_str(&self.rest[..len]);
        self.pass(len);
    }

    fn blank(&mut self, len: usize) {
        let blanked = self.rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' });
        self.out.code.extend(blanked);
        self.pass(len);
    }

    fn string(&mut self, open: usize, inside: usize, close: usize) {
        self.out.strings.push((self.line, self.rest[open..open + inside].to_owned()));
        self.blank((open + inside + close).min(self.rest.len()));
    }

    fn pass(&mut self, len: usize) {
        self.line += self.rest[..len].matches('\n').count();
        self.rest = &self.rest[len..];
    }
}

/// The bytes before the quote that ends a plain string.
fn end_of_plain(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The hashes of a raw string that starts here (`r"`, `br#"`, `cr##"`).
fn raw_prefix(rest: &str) -> Option<usize> {
    let after = ["br", "cr", "r"].into_iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let hashes = after.bytes().take_while(|b| *b == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a character literal that starts here; `None` for a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let skipped = chars.next()?.0;
        return rest[skipped + 1..].find('\'').map(|at| skipped + at + 2);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

/// The length of a block comment, those inside it included.
fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let source = "let a = \"unsafe // \\\" x\"; // unsafe\nlet b = 'u'; /* unsafe /* y */ unsafe */ fn f<'a>(c: &'a str) {}\nlet r = br#\"SELECT \"#; for_r();\nlet q = '\\''; let z = '\\u{41}'; unsafe {}";
        let scanned = scan(source);
        assert_eq!(scanned.code.matches("unsafe").count(), 1);
        assert_eq!(scanned.code.lines().count(), 4);
        assert!(scanned.code.contains("fn f<'a>(c: &'a str) {}"));
        assert!(scanned.code.contains("for_r();"));
        let strings: Vec<(usize, &str)> = scanned.strings.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(strings, [(1, "unsafe // \\\" x"), (3, "SELECT ")]);
    }

    #[test]
    fn anything_comes_to_an_end() {
        for odd in ["\"", "'", "r#\"", "/*", "'\\", "\"\\", "b", "é'é'", "'é"] {
            scan(odd);
        }
    }
}
