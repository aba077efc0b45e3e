//! HTML as readable text. Any bytes are taken; time and memory grow with the length alone.

use super::entities::decoded;
use crate::net::Url;
use crate::text::{one_line, visible};

/// Elements whose content is no text for readers.
const SKIPPED: &[&str] =
    &["script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas", "select", "datalist", "dialog"];
/// Elements whose content is not markup: it goes on to their own end tag.
const RAW: &[&str] = &["script", "style", "textarea", "title", "noscript", "iframe", "xmp"];
/// Elements without content and end tag.
const VOID: &[&str] = &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// Elements that end where the next one of their kind begins.
const ENDED: &[&str] = &["p", "li", "dt", "dd", "tr", "td", "th"];
/// Elements that begin and end a paragraph.
const BLOCKS: &[&str] = &[
    "p", "div", "section", "article", "main", "header", "footer", "nav", "aside", "ul", "ol", "dl", "dt", "dd", "table", "form",
    "fieldset", "figure", "figcaption", "address", "details", "summary", "body", "html", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5",
    "h6",
];
/// Nested lists and quotes that are shown as such.
const NESTING_MAX: usize = 16;
/// Elements inside one that is skipped that are kept in mind.
const SKIP_DEPTH_MAX: usize = 512;

/// A tag, or the text up to the next one.
enum Token<'a> {
    Text(&'a str),
    Open { name: String, attributes: &'a str, closed: bool },
    Close(String),
}

/// Title and readable text of a page. With `marks`, headings, lists and links are written as Markdown does.
pub(crate) fn readable(page: &str, base: &Url, marks: bool) -> (String, String) {
    let mut out = Writer { marks, ..Writer::new(base) };
    let mut rest = page;
    while let Some((token, after)) = next(rest) {
        rest = after;
        match token {
            Token::Text(text) => out.text(text),
            Token::Open { name, attributes, closed } => {
                out.open(&name, attributes, closed);
                if RAW.contains(&name.as_str()) && !closed {
                    let end = raw_end(rest, &name);
                    if name == "title" && out.title.is_empty() {
                        out.title = one_line(&decoded(&rest[..end]));
                    }
                    rest = &rest[end..];
                }
            }
            Token::Close(name) => out.close(&name),
        }
    }
    let text = visible(&out.text);
    (out.title, text.trim().to_owned())
}

/// A piece of HTML as one piece of text, without marks.
pub(super) fn plain(piece: &str) -> String {
    let mut text = String::new();
    let mut rest = piece;
    while let Some((token, after)) = next(rest) {
        rest = after;
        if let Token::Text(piece) = token {
            text.push_str(piece);
        }
    }
    decoded(&text)
}

/// The first token and what follows it.
fn next(rest: &str) -> Option<(Token<'_>, &str)> {
    let bytes = rest.as_bytes();
    if bytes.is_empty() {
        return None;
    }
    let at = rest.find('<').unwrap_or(rest.len());
    if at > 0 {
        return Some((Token::Text(&rest[..at]), &rest[at..]));
    }
    let tag = &rest[1..];
    if let Some(comment) = tag.strip_prefix("!--") {
        let end = comment.find("-->").map_or(comment.len(), |end| end + 3);
        return Some((Token::Text(""), &comment[end..]));
    }
    match tag.as_bytes().first() {
        Some(b'!' | b'?') => {
            let end = tag.find('>').map_or(tag.len(), |end| end + 1);
            Some((Token::Text(""), &tag[end..]))
        }
        Some(b'/') => {
            let end = tag.find('>').unwrap_or(tag.len());
            Some((Token::Close(name_of(&tag[1..end])), tag.get(end + 1..).unwrap_or("")))
        }
        Some(b) if b.is_ascii_alphabetic() => {
            let end = tag_end(tag);
            let inside = &tag[..end];
            let name = name_of(inside);
            let attributes = &inside[name.len().min(inside.len())..];
            let closed = attributes.trim_end().ends_with('/') || VOID.contains(&name.as_str());
            Some((Token::Open { name, attributes, closed }, tag.get(end + 1..).unwrap_or("")))
        }
        // A bracket that begins nothing.
        _ => Some((Token::Text(&rest[..1]), tag)),
    }
}

fn name_of(inside: &str) -> String {
    inside
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b':')
        .map(|b| char::from(b.to_ascii_lowercase()))
        .collect()
}

/// Where a tag ends: at the first `>` outside of quotes.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => (),
        }
    }
    // A quote that nothing closes: the tag ends at the first bracket after all.
    tag.find('>').unwrap_or(tag.len())
}

/// Where the end tag of an element begins whose content is not markup.
fn raw_end(rest: &str, name: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut from = 0;
    while let Some(at) = rest[from..].find("</") {
        let at = from + at;
        let after = &bytes[at + 2..];
        if after.len() >= name.len() && after[..name.len()].eq_ignore_ascii_case(name.as_bytes()) {
            return at;
        }
        from = at + 2;
    }
    rest.len()
}

/// The value of an attribute.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '=' || c == '/').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('=') {
            None => ("", after),
            Some(value) => quoted(value.trim_start()),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(decoded(value));
        }
        let shorter = after.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        // A stray `=` has no name before it: it is stepped over.
        rest = if shorter.len() == rest.len() { shorter.get(1..).unwrap_or("") } else { shorter };
    }
    None
}

fn quoted(value: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inside) = value.strip_prefix(quote) {
            return inside.split_once(quote).unwrap_or((inside, ""));
        }
    }
    value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len()))
}

/// What must stand between what was written and what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

struct Writer<'a> {
    base: &'a Url,
    marks: bool,
    text: String,
    title: String,
    /// Elements that are open inside of one that is skipped, that one first.
    skip: Vec<String>,
    gap: Gap,
    /// How deep in text whose spaces count.
    pre: usize,
    /// For each open list the number of its next item; `None` for one without numbers.
    lists: Vec<Option<u32>>,
    quotes: usize,
    /// How many quotes were open when the last gap was written.
    quoted: usize,
    /// Where the text of the open link begins, and where it leads.
    link: Option<(usize, String)>,
    cells: usize,
}

impl<'a> Writer<'a> {
    fn new(base: &'a Url) -> Self {
        Self {
            base,
            marks: false,
            text: String::new(),
            title: String::new(),
            skip: Vec::new(),
            gap: Gap::None,
            pre: 0,
            lists: Vec::new(),
            quotes: 0,
            quoted: 0,
            link: None,
            cells: 0,
        }
    }

    fn want(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    /// Writes the gap that is due.
    fn settle(&mut self) {
        let gap = std::mem::replace(&mut self.gap, Gap::None);
        if self.text.is_empty() {
            return;
        }
        let depth = if self.marks { self.quotes.min(NESTING_MAX) } else { 0 };
        let (quote, between) = ("> ".repeat(depth), "> ".repeat(depth.min(self.quoted)));
        if gap >= Gap::Line {
            self.quoted = depth;
        }
        match gap {
            Gap::None => (),
            Gap::Space => self.text.push(' '),
            Gap::Line => self.text.push_str(&format!("\n{quote}")),
            Gap::Paragraph => self.text.push_str(&format!("\n{}\n{quote}", between.trim_end())),
        }
    }

    fn write(&mut self, text: &str) {
        self.settle();
        self.text.push_str(text);
    }

    fn text(&mut self, raw: &str) {
        if !self.skip.is_empty() || raw.is_empty() {
            return;
        }
        let text = decoded(raw);
        if self.pre > 0 {
            return self.write(&text);
        }
        if text.starts_with(char::is_whitespace) {
            self.want(Gap::Space);
        }
        for (n, word) in text.split_whitespace().enumerate() {
            if n > 0 {
                self.want(Gap::Space);
            }
            self.write(word);
        }
        if text.ends_with(char::is_whitespace) && !text.trim().is_empty() {
            self.want(Gap::Space);
        }
    }

    fn open(&mut self, name: &str, attributes: &str, closed: bool) {
        if matches!(self.skip.as_slice(), [only] if only == name) && ENDED.contains(&name) {
            self.skip.clear();
        }
        if !self.skip.is_empty() || SKIPPED.contains(&name) || is_hidden(attributes) {
            // Void elements have no end to wait for.
            if !closed && self.skip.len() < SKIP_DEPTH_MAX && (self.skip.is_empty() || self.skip.iter().any(|s| s == name)) {
                self.skip.push(name.to_owned());
            }
            return;
        }
        if BLOCKS.contains(&name) {
            self.want(Gap::Paragraph);
        }
        match name {
            "br" => self.want(Gap::Line),
            "hr" => {
                self.want(Gap::Paragraph);
                self.write("---");
                self.want(Gap::Paragraph);
            }
            "pre" => {
                self.pre += 1;
                if self.marks {
                    self.write("```\n");
                }
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if self.marks => {
                let level = usize::from(name.as_bytes()[1] - b'0');
                self.write(&format!("{} ", "#".repeat(level)));
            }
            "ul" => self.lists.push(None),
            "ol" => self.lists.push(Some(1)),
            "li" => self.item(),
            "blockquote" => self.quotes += 1,
            "tr" => {
                self.want(Gap::Line);
                self.cells = 0;
            }
            "td" | "th" => {
                if self.cells > 0 {
                    self.write(" | ");
                }
                self.cells += 1;
            }
            "a" => self.link(attributes),
            "img" => {
                let alt = attribute(attributes, "alt").map(|alt| one_line(&alt)).filter(|alt| !alt.is_empty());
                if let Some(alt) = alt {
                    self.write(&format!("[image: {alt}]"));
                }
            }
            _ => (),
        }
    }

    fn item(&mut self) {
        self.want(Gap::Line);
        let depth = self.lists.len().clamp(1, NESTING_MAX) - 1;
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ => "- ".to_owned(),
        };
        self.write(&format!("{}{mark}", "  ".repeat(depth)));
    }

    fn link(&mut self, attributes: &str) {
        let target = attribute(attributes, "href").filter(|href| !href.starts_with('#')).and_then(|href| self.base.join(&href).ok());
        if let (true, Some(target)) = (self.marks, target) {
            self.settle();
            self.link = Some((self.text.len(), target.to_string()));
        }
    }

    fn close(&mut self, name: &str) {
        if !self.skip.is_empty() {
            if let Some(at) = self.skip.iter().rposition(|open| open == name) {
                self.skip.truncate(at);
            }
            return;
        }
        match name {
            "pre" if self.pre > 0 => {
                self.pre -= 1;
                if self.marks {
                    self.write("\n```");
                }
            }
            "ul" | "ol" => drop(self.lists.pop()),
            "blockquote" => self.quotes = self.quotes.saturating_sub(1),
            "a" => {
                if let Some((from, target)) = self.link.take()
                    && self.text.len() > from
                {
                    let words = one_line(&self.text[from..]).replace(['[', ']'], "");
                    self.text.truncate(from);
                    self.text.push_str(&format!("[{words}]({})", target.replace('(', "%28").replace(')', "%29")));
                }
            }
            _ => (),
        }
        if BLOCKS.contains(&name) {
            self.want(Gap::Paragraph);
        } else if name == "li" || name == "tr" {
            self.want(Gap::Line);
        }
    }
}

/// Whether a reader in a browser would not see the element.
fn is_hidden(attributes: &str) -> bool {
    if !attributes.contains(['h', 'H', 's', 'S']) {
        return false;
    }
    let style = attribute(attributes, "style").unwrap_or_default().to_ascii_lowercase().replace(char::is_whitespace, "");
    let unseen = ["display:none", "visibility:hidden", "font-size:0;", "opacity:0;"];
    attribute(attributes, "hidden").is_some()
        || attribute(attributes, "aria-hidden").is_some_and(|v| v.eq_ignore_ascii_case("true"))
        || unseen.iter().any(|word| format!("{style};").contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(page: &str) -> String {
        readable(page, &Url::parse("https://example.com/a/").unwrap(), true).1
    }

    #[test]
    fn pages_become_text() {
        let page = "<!DOCTYPE html><html><head><title> The &amp; Title </title><style>p{}</style></head><body><h1>Harbour</h1>\
                    <p>Ships come <b>at</b> <a href='/ebb?x=1'>ebb\n tide</a>.</p><ul><li>one<li>two<ol><li>a</li></ol></ul>\
                    <pre>  keep\n   this</pre><blockquote>said</blockquote><table><tr><th>A</th><th>B</th></tr><tr><td>1<td>2</table>\
                    <img src=x alt='a mole'><script>if (a < b) { '</p>' }</script>end</body></html>";
        let (title, text) = readable(page, &Url::parse("https://example.com/a/").unwrap(), true);
        assert_eq!(title, "The & Title");
        let expect = "# Harbour\n\nShips come at [ebb tide](https://example.com/ebb?x=1).\n\n- one\n- two\n\n  1. a\n\n\
                      ```\n  keep\n   this\n```\n\n> said\n\nA | B\n1 | 2\n\n[image: a mole]end";
        assert_eq!(text, expect);
        let (_, text) = readable("<h2>A</h2><a href=/b>c</a>", &Url::parse("https://example.com").unwrap(), false);
        assert_eq!(text, "A\n\nc");
    }

    #[test]
    fn what_readers_do_not_see_is_left_out() {
        for hidden in [
            "<div hidden>OBEY</div>",
            "<span style='display: none'>OBEY</span>",
            "<p style=\"VISIBILITY:hidden\">OBEY</p>",
            "<!-- OBEY -->",
            "<script>OBEY</script>",
            "<div hidden><div>x</div>OBEY</div>",
            "<template><p>OBEY</p></template>",
            "<i aria-hidden=true>OBEY</i>",
            "<p style='font-size:0'>OBEY</p>",
            "<noscript>OBEY</noscript>",
        ] {
            let text = read(&format!("<p>before</p>{hidden}<p>after</p>"));
            assert_eq!(text, "before\n\nafter", "{hidden}");
        }
        assert_eq!(read("<p hidden>OBEY<p>after"), "after");
        assert_eq!(read("<head><title>t</title><style>x</style><meta name=a><body><p>after"), "after");
        assert_eq!(read("a\u{202e}b\u{200b}c&#x202e;d"), "abcd");
    }

    #[test]
    fn any_bytes_are_taken() {
        for page in [
            "<", "</", "<a", "<a href", "<a href=", "<a href='", "<p =x>y", "<!--", "<!", "&", "<p/>", "<script>", "<pre><pre>",
            "</ul></li>", "<li>", "< b", "<a href='javascript:x'>y</a>", "<é>", "<p ==== = / />z",
        ] {
            let _ = read(page);
        }
        let deep = "<div>".repeat(50_000) + "x" + &"<ul>".repeat(50_000) + "<li>y";
        assert!(read(&deep).ends_with('y'));
        assert_eq!(read("<a href='javascript:x'>y</a>"), "y");
        let attributes = format!("<p {}>x", "a='b' ".repeat(20_000));
        assert_eq!(read(&attributes), "x");
    }

    proptest::proptest! {
        #[test]
        fn no_page_breaks_the_reader(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "<", ">", "</", "/>", "<!--", "-->", "<p", "<a href=", "'", "\"", "=", "&", "&#x", ";", "<script>", "</script", "<pre>",
                "</pre>", "<ul>", "<li>", "<td>", "<blockquote>", "</blockquote>", "hidden", "style=display:none", "ä", "\u{202e}", " ",
                "\n", "<title>", "x", "<div", "</div>",
            ]), 0..60),
        ) {
            let (title, text) = readable(&pieces.concat(), &Url::parse("https://example.com/").unwrap(), true);
            proptest::prop_assert!(!text.contains(crate::text::is_deceptive) && !title.contains('\n'));
        }
    }
}
