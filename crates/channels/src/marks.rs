//! Markdown as networks write it that have marks of their own.

/// The longest marked piece of a text, in bytes; what is longer keeps its marks.
const SPAN_BYTES_MAX: usize = 2_048;

/// How a network marks text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    bold: &'static str,
    italic: &'static str,
    strike: &'static str,
    link: Link,
}

#[derive(Debug, Clone, Copy)]
enum Link {
    /// `words (address)`.
    Words,
    /// `<address|words>`.
    Angle,
}

/// WhatsApp.
pub(crate) const WHATSAPP: Marks = Marks { bold: "*", italic: "_", strike: "~", link: Link::Words };
/// Google Chat.
pub(crate) const GOOGLE: Marks = Marks { bold: "*", italic: "_", strike: "~", link: Link::Angle };

impl Marks {
    /// The text with this network's marks. Blocks of code stay as they are.
    pub(crate) fn of(&self, markdown: &str) -> String {
        let mut out = String::with_capacity(markdown.len());
        let mut code = false;
        for (n, line) in markdown.split('\n').enumerate() {
            if n > 0 {
                out.push('\n');
            }
            if line.trim_start().starts_with("```") {
                code = !code;
                out.push_str("```");
            } else if code {
                out.push_str(line);
            } else {
                self.line(line, &mut out);
            }
        }
        out
    }

    fn line(&self, line: &str, out: &mut String) {
        let level = line.bytes().take_while(|b| *b == b'#').count();
        match line.get(level..).and_then(|rest| rest.strip_prefix(' ')).filter(|_| (1..=6).contains(&level)) {
            Some(title) => {
                out.push_str(self.bold);
                self.spans(&title.replace("**", ""), out);
                out.push_str(self.bold);
            }
            None => self.spans(line, out),
        }
    }

    fn spans(&self, mut rest: &str, out: &mut String) {
        let mut before = ' ';
        while let Some(first) = rest.chars().next() {
            let word = before.is_alphanumeric();
            let taken = match first {
                '\\' if rest[1..].starts_with(|c: char| c.is_ascii_punctuation()) => {
                    out.push_str(&rest[1..2]);
                    2
                }
                '`' => code(rest, out),
                '[' => self.link(rest, out),
                '*' if rest.starts_with("**") => self.span(rest, "**", self.bold, out),
                '_' if rest.starts_with("__") && !word => self.span(rest, "__", self.bold, out),
                '~' if rest.starts_with("~~") => self.span(rest, "~~", self.strike, out),
                '*' => self.span(rest, "*", self.italic, out),
                '_' if !word => self.span(rest, "_", self.italic, out),
                _ => 0,
            };
            let step = if taken == 0 {
                out.push(first);
                first.len_utf8()
            } else {
                taken
            };
            before = rest[..step].chars().next_back().unwrap_or(' ');
            rest = &rest[step..];
        }
    }

    /// A span between two marks. What it takes; nothing where the second mark is missing.
    fn span(&self, rest: &str, mark: &str, ours: &str, out: &mut String) -> usize {
        let inner = &rest[mark.len()..];
        let Some(end) = near(inner, mark).filter(|end| *end > 0) else { return 0 };
        let text = &inner[..end];
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return 0;
        }
        out.push_str(ours);
        // What is marked within keeps its own marks; a span within a span is one deep.
        out.push_str(text);
        out.push_str(ours);
        end + 2 * mark.len()
    }

    fn link(&self, rest: &str, out: &mut String) -> usize {
        let found = near(rest, "](").and_then(|middle| Some((middle, middle + near(&rest[middle..], ")")?)));
        let Some((middle, end)) = found else { return 0 };
        let (words, address) = (&rest[1..middle], &rest[middle + 2..end]);
        if words.is_empty() || words.contains('[') || address.contains(char::is_whitespace) || address.is_empty() {
            return 0;
        }
        match self.link {
            // An address with these marks would end the link early.
            Link::Angle if !address.contains(['|', '>']) && !words.contains(['|', '>']) => out.push_str(&format!("<{address}|{words}>")),
            _ if words == address => out.push_str(address),
            _ => out.push_str(&format!("{words} ({address})")),
        }
        end + 1
    }
}

/// Where a mark is, not far from here: a text of beginnings without ends costs no more than its length.
fn near(text: &str, mark: &str) -> Option<usize> {
    text[..text.floor_char_boundary(SPAN_BYTES_MAX)].find(mark)
}

/// A piece of code, as it is.
fn code(rest: &str, out: &mut String) -> usize {
    let Some(end) = near(&rest[1..], "`").filter(|end| *end > 0) else { return 0 };
    out.push_str(&rest[..end + 2]);
    end + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_the_networks_own() {
        for (markdown, whatsapp, google) in [
            ("**a** and *b* and ~~c~~", "*a* and _b_ and ~c~", "*a* and _b_ and ~c~"),
            ("# Title", "*Title*", "*Title*"),
            ("[x](https://e.org)", "x (https://e.org)", "<https://e.org|x>"),
            ("`a*b*`", "`a*b*`", "`a*b*`"),
            ("```rust\na **b**\n```", "```\na **b**\n```", "```\na **b**\n```"),
            ("snake_case_name 2 * 3 * 4", "snake_case_name 2 * 3 * 4", "snake_case_name 2 * 3 * 4"),
            (r"\*not\*", "*not*", "*not*"),
            ("**open", "**open", "**open"),
            ("ä**ö**ü\n", "ä*ö*ü\n", "ä*ö*ü\n"),
        ] {
            assert_eq!(WHATSAPP.of(markdown), whatsapp);
            assert_eq!(GOOGLE.of(markdown), google);
        }
    }
}
