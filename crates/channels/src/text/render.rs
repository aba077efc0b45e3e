//! Markdown in the forms of networks.

use super::parse::{Block, Span, blocks};

/// The form of one network.
struct Form {
    /// Text in which nothing is a mark of the network's any more.
    escape: fn(&str) -> String,
    bold: (&'static str, &'static str),
    italic: (&'static str, &'static str),
    strike: (&'static str, &'static str),
    code: (&'static str, &'static str),
    /// A block of code, from its language and its escaped text.
    block: fn(&str, &str) -> String,
    /// A quote of lines that follow one another, already in the form.
    quote: fn(&str) -> String,
    /// From the label in the form and the address.
    link: fn(&str, &str) -> String,
    bullet: &'static str,
    line_end: &'static str,
}

const TELEGRAM: Form = Form {
    escape: html,
    bold: ("<b>", "</b>"),
    italic: ("<i>", "</i>"),
    strike: ("<s>", "</s>"),
    code: ("<code>", "</code>"),
    block: |language, text| match language {
        "" => format!("<pre>{text}</pre>"),
        language => format!("<pre><code class=\"language-{}\">{text}</code></pre>", html(language)),
    },
    quote: |text| format!("<blockquote>{text}</blockquote>"),
    link: |label, url| format!("<a href=\"{}\">{label}</a>", html(url)),
    bullet: "\u{2022}",
    line_end: "\n",
};

const MATRIX: Form = Form {
    bold: ("<strong>", "</strong>"),
    italic: ("<em>", "</em>"),
    strike: ("<del>", "</del>"),
    block: |language, text| match language {
        "" => format!("<pre><code>{text}</code></pre>"),
        language => format!("<pre><code class=\"language-{}\">{text}</code></pre>", html(language)),
    },
    line_end: "<br>",
    ..TELEGRAM
};

const SLACK: Form = Form {
    escape: mrkdwn_escape,
    bold: ("*", "*"),
    italic: ("_", "_"),
    strike: ("~", "~"),
    code: ("`", "`"),
    block: |_, text| format!("```\n{text}\n```"),
    quote: |text| text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n"),
    link: |label, url| format!("<{}|{}>", mrkdwn_escape(url), label.replace('|', "/")),
    bullet: "\u{2022}",
    line_end: "\n",
};

const PLAIN: Form = Form {
    escape: str::to_owned,
    bold: ("", ""),
    italic: ("", ""),
    strike: ("", ""),
    code: ("", ""),
    block: |_, text| text.to_owned(),
    quote: |text| text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n"),
    link: |label, url| if label == url { url.to_owned() } else { format!("{label} ({url})") },
    bullet: "-",
    line_end: "\n",
};

/// The tags that Telegram knows.
pub(crate) fn html_for_telegram(text: &str) -> String {
    render(text, &TELEGRAM)
}

/// The tags that Matrix knows.
pub(crate) fn html_for_matrix(text: &str) -> String {
    render(text, &MATRIX)
}

/// Slack's own form.
pub(crate) fn mrkdwn(text: &str) -> String {
    render(text, &SLACK)
}

/// Text without any marks.
pub(crate) fn plain(text: &str) -> String {
    render(text, &PLAIN)
}

/// Text in which Slack sees neither mention, channel nor link.
fn mrkdwn_escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn html(text: &str) -> String {
    mrkdwn_escape(text).replace('"', "&quot;")
}

fn render(text: &str, form: &Form) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut quote: Vec<String> = Vec::new();
    for block in blocks(text) {
        if let Block::Quote(spans) = &block {
            quote.push(spans_in(spans, form));
            continue;
        }
        if !quote.is_empty() {
            lines.push((form.quote)(&std::mem::take(&mut quote).join(form.line_end)));
        }
        lines.push(match block {
            Block::Code { language, text } => (form.block)(&language, &(form.escape)(&text)),
            Block::Heading(spans) => wrapped(form.bold, &spans_in(&spans, form)),
            Block::Item { indent, mark, spans } => {
                let mark = if mark == "-" { form.bullet } else { &mark };
                format!("{}{mark} {}", " ".repeat(indent), spans_in(&spans, form))
            }
            Block::Line(spans) | Block::Quote(spans) => spans_in(&spans, form),
        });
    }
    if !quote.is_empty() {
        lines.push((form.quote)(&quote.join(form.line_end)));
    }
    lines.join(form.line_end)
}

fn wrapped((open, close): (&str, &str), inner: &str) -> String {
    if inner.is_empty() { String::new() } else { format!("{open}{inner}{close}") }
}

fn spans_in(spans: &[Span], form: &Form) -> String {
    let one = |span: &Span| match span {
        Span::Text(text) => (form.escape)(text),
        Span::Code(text) => wrapped(form.code, &(form.escape)(text)),
        Span::Bold(inner) => wrapped(form.bold, &spans_in(inner, form)),
        Span::Italic(inner) => wrapped(form.italic, &spans_in(inner, form)),
        Span::Strike(inner) => wrapped(form.strike, &spans_in(inner, form)),
        Span::Link { label, url } => (form.link)(&spans_in(label, form), url),
    };
    spans.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# Title #\n\nSome **bold *both***, _slant_, ~~gone~~ and `a<b` in a_file_name.rs.\n- one\n  - two\n1. first\n> said\n> twice\n```rust\nlet x = a < b && \"c\";\n```\n[here](https://example.org/?a=1&b=2) [no](javascript:x) \\*plain\\*";

    #[test]
    fn one_text_in_every_form() {
        assert_eq!(
            html_for_telegram(SAMPLE),
            "<b>Title</b>\n\nSome <b>bold <i>both</i></b>, <i>slant</i>, <s>gone</s> and <code>a&lt;b</code> in a_file_name.rs.\n\u{2022} one\n  \u{2022} two\n1. first\n<blockquote>said\ntwice</blockquote>\n<pre><code class=\"language-rust\">let x = a &lt; b &amp;&amp; &quot;c&quot;;</code></pre>\n<a href=\"https://example.org/?a=1&amp;b=2\">here</a> [no](javascript:x) *plain*"
        );
        assert_eq!(
            mrkdwn(SAMPLE),
            "*Title*\n\nSome *bold _both_*, _slant_, ~gone~ and `a&lt;b` in a_file_name.rs.\n\u{2022} one\n  \u{2022} two\n1. first\n> said\n> twice\n```\nlet x = a &lt; b &amp;&amp; \"c\";\n```\n<https://example.org/?a=1&amp;b=2|here> [no](javascript:x) *plain*"
        );
        assert_eq!(
            plain(SAMPLE),
            "Title\n\nSome bold both, slant, gone and a<b in a_file_name.rs.\n- one\n  - two\n1. first\n> said\n> twice\nlet x = a < b && \"c\";\nhere (https://example.org/?a=1&b=2) [no](javascript:x) *plain*"
        );
        assert!(html_for_matrix("a\n**b**").contains("a<br><strong>b</strong>"));
    }

    #[test]
    fn nothing_of_an_agents_calls_everybody() {
        for text in ["<!channel>", "<@U123>", "<https://evil.test|bank>", "`<!here>`", "```\n<!everyone>\n```", "[<!here>](https://a.test)"]
        {
            let written = mrkdwn(text);
            assert!(!written.contains("<!") && !written.contains("<@") && !written.contains("<https://evil"), "{written}");
        }
        assert_eq!(html_for_telegram("<a href='tg://user?id=1'>x</a>"), "&lt;a href='tg://user?id=1'&gt;x&lt;/a&gt;");
        assert_eq!(html_for_telegram("[x](https://a.test/\"onclick=y)"), "[x](https://a.test/&quot;onclick=y)");
    }

    #[test]
    fn many_beginnings_cost_little() {
        for piece in ["*", "**a", "[a](", "`", "_ ", "~~", "> ", "\\", "[", "*a **b __c "] {
            let text = piece.repeat((64 << 10) / piece.len());
            let begun = std::time::Instant::now();
            let written = html_for_telegram(&text);
            assert!(!written.is_empty());
            assert!(begun.elapsed() < std::time::Duration::from_secs(240), "{piece} took {:?}", begun.elapsed());
        }
    }

    proptest::proptest! {
        #[test]
        fn tags_are_balanced(text in "[a<>&*_~`\\[\\]()#> \\n-]{0,120}") {
            for written in [html_for_telegram(&text), html_for_matrix(&text)] {
                let mut open: Vec<&str> = Vec::new();
                for tag in written.split('<').skip(1) {
                    let name = tag.split(['>', ' ']).next().unwrap_or("");
                    match name.strip_prefix('/') {
                        Some(name) => proptest::prop_assert_eq!(open.pop(), Some(name), "{}", &written),
                        None if name == "br" => {}
                        None => open.push(name),
                    }
                }
                proptest::prop_assert!(open.is_empty(), "{}", written);
            }
        }
    }
}
