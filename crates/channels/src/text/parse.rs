//! A small Markdown: what models write, line by line. What is not plainly one of its forms stays text.

/// How deep forms may stand in one another.
const DEPTH_MAX: usize = 6;
/// How far the end of a form is looked for, in bytes: a text of many beginnings costs no more than that each.
const REACH: usize = 800;

/// A mark on both sides of what it forms, and what that becomes.
type Mark = (&'static str, fn(Vec<Span>) -> Span);

/// The longer of two that begin alike stands first.
const MARKS: &[Mark] = &[("**", Span::Bold), ("__", Span::Bold), ("~~", Span::Strike), ("*", Span::Italic), ("_", Span::Italic)];

/// A line, or a block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// Code between fences, with the language that was named.
    Code { language: String, text: String },
    /// A line of a heading.
    Heading(Vec<Span>),
    /// A line of a quote.
    Quote(Vec<Span>),
    /// A line of a list: its indentation, its mark (`-` or `1.`), the rest.
    Item { indent: usize, mark: String, spans: Vec<Span> },
    /// Any other line, also an empty one.
    Line(Vec<Span>),
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span {
    /// Text as it is.
    Text(String),
    /// Bold text.
    Bold(Vec<Span>),
    /// Slanted text.
    Italic(Vec<Span>),
    /// Struck text.
    Strike(Vec<Span>),
    /// Code.
    Code(String),
    /// A link to an address of the web or of mail.
    Link { label: Vec<Span>, url: String },
}

/// Reads a text.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let inner = line.trim_start();
        if let Some(fence) = fence(inner) {
            let language = inner[fence.len()..].trim().chars().filter(|c| c.is_alphanumeric() || "+-_#.".contains(*c)).take(32).collect();
            let mut code: Vec<&str> = Vec::new();
            for line in lines.by_ref() {
                let end = line.trim();
                if end.len() >= fence.len() && end.chars().all(|c| fence.starts_with(c)) {
                    break;
                }
                code.push(line);
            }
            blocks.push(Block::Code { language, text: code.join("\n") });
        } else {
            blocks.push(line_of(line));
        }
    }
    blocks
}

fn fence(line: &str) -> Option<&str> {
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(mark).len();
    // A fence of backticks has none behind it: that is code in a line.
    (length >= 3 && !(mark == '`' && line[length..].contains('`'))).then(|| &line[..length])
}

fn line_of(line: &str) -> Block {
    let inner = line.trim_start();
    let indent = line.len() - inner.len();
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    if (1..=6).contains(&hashes) && inner[hashes..].starts_with(' ') {
        return Block::Heading(spans(inner[hashes..].trim().trim_end_matches('#').trim_end()));
    }
    if let Some(rest) = inner.strip_prefix('>') {
        return Block::Quote(spans(rest.strip_prefix(' ').unwrap_or(rest)));
    }
    if let Some(rest) = ["- ", "* ", "+ "].iter().find_map(|mark| inner.strip_prefix(mark)) {
        return Block::Item { indent: indent.min(16), mark: "-".to_owned(), spans: spans(rest) };
    }
    let digits = inner.len() - inner.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if (1..=9).contains(&digits) && inner[digits..].starts_with(". ") {
        return Block::Item { indent: indent.min(16), mark: inner[..=digits].to_owned(), spans: spans(&inner[digits + 2..]) };
    }
    Block::Line(spans(line))
}

/// Reads a line.
fn spans(line: &str) -> Vec<Span> {
    within(line, 0)
}

fn within(text: &str, depth: usize) -> Vec<Span> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if first == '\\'
            && let Some(next) = rest[1..].chars().next().filter(char::is_ascii_punctuation)
        {
            plain.push(next);
            rest = &rest[2..];
            before = next;
            continue;
        }
        let form = if depth < DEPTH_MAX { form(rest, before, depth) } else { None };
        if let Some((span, length)) = form {
            if !plain.is_empty() {
                found.push(Span::Text(std::mem::take(&mut plain)));
            }
            found.push(span);
            before = rest[..length].chars().next_back().unwrap_or(' ');
            rest = &rest[length..];
        } else {
            plain.push(first);
            before = first;
            rest = &rest[first.len_utf8()..];
        }
    }
    if !plain.is_empty() {
        found.push(Span::Text(plain));
    }
    found
}

/// The form that begins here, and how many bytes it has.
fn form(text: &str, before: char, depth: usize) -> Option<(Span, usize)> {
    match text.as_bytes().first()? {
        b'`' => {
            let ticks = text.len() - text.trim_start_matches('`').len();
            let end = reach(&text[ticks..]).find(&text[..ticks])?;
            let code = &text[ticks..ticks + end];
            (!code.is_empty()).then(|| (Span::Code(code.to_owned()), end + 2 * ticks))
        }
        b'[' => link(text, depth),
        b'*' | b'_' | b'~' => {
            MARKS.iter().filter(|(mark, _)| text.starts_with(mark)).find_map(|(mark, make)| {
                // A `_` inside a word, as in names of files, marks nothing.
                if mark.starts_with('_') && before.is_alphanumeric() {
                    return None;
                }
                let inner = &text[mark.len()..];
                let end = closing(inner, mark)?;
                Some((make(within(&inner[..end], depth + 1)), end + 2 * mark.len()))
            })
        }
        _ => None,
    }
}

fn reach(text: &str) -> &str {
    &text[..text.floor_char_boundary(REACH)]
}

/// Where a mark ends what it began: behind something, and not inside a word where that counts.
fn closing(text: &str, mark: &str) -> Option<usize> {
    if text.starts_with(|c: char| c.is_whitespace()) {
        return None;
    }
    let mut from = 0;
    while let Some(at) = reach(text)[from..].find(mark).map(|at| at + from) {
        // Of three marks in a row the first ends what stands inside.
        let at = at + usize::from(mark.len() == 2 && text[at + 2..].starts_with(&mark[..1]));
        let after = text[at + mark.len()..].chars().next();
        let longer = mark.len() == 1 && after.is_some_and(|c| mark.starts_with(c));
        let in_word = mark.starts_with('_') && after.is_some_and(char::is_alphanumeric);
        let behind_space = text[..at].chars().next_back().is_none_or(char::is_whitespace);
        if !longer && !in_word && !behind_space {
            return Some(at);
        }
        from = at + if longer { 2 } else { mark.len() };
        if !text.is_char_boundary(from) || from > reach(text).len() {
            return None;
        }
    }
    None
}

fn link(text: &str, depth: usize) -> Option<(Span, usize)> {
    let label = reach(&text[1..]).find("](")?;
    let inner = &text[1..=label];
    let address = &text[label + 3..];
    let end = reach(address).find(')')?;
    let url = address[..end].trim();
    let (scheme, _) = url.split_once(':')?;
    let known = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https" | "mailto");
    let clean = !url.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '|'));
    (known && clean && !inner.is_empty() && !inner.contains('['))
        .then(|| (Span::Link { label: within(inner, depth + 1), url: url.to_owned() }, label + 3 + end + 1))
}
