//! How chats are heard and answered: the words of wirings, and how a long text becomes messages.

use serde::{Deserialize, Serialize};

/// The word that addresses an agent when it has no other.
pub const TRIGGER: &str = "@Andy";
/// Bytes of a pattern of a wiring.
pub const PATTERN_BYTES_MAX: usize = 500;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $($(#[$one:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$one])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// The printed form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The one of this word.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// What becomes of who is not known in a chat.
    ChatPolicy:
    /// They are not heard.
    Strict = "strict",
    /// An admission is asked for, and the message is held.
    Request = "request",
    /// They are heard.
    Public = "public",
}

words! {
    /// When a wiring engages.
    Engage:
    /// When its pattern is found in the text.
    Pattern = "pattern",
    /// When the account is addressed.
    Mention = "mention",
    /// When it is addressed, and after that in the same conversation.
    Sticky = "sticky",
}

words! {
    /// Whose messages engage a wiring.
    Senders:
    /// Everybody's whom the chat's policy lets through.
    All = "all",
    /// Those of members of the agent, also in a public chat.
    Known = "known",
}

words! {
    /// What becomes of messages that do not engage.
    Ignored:
    /// Nothing.
    Drop = "drop",
    /// They are told to the agent together with the next one that does.
    Accumulate = "accumulate",
}

words! {
    /// Which messages belong to one conversation.
    SessionMode:
    /// Those of the chat.
    Shared = "shared",
    /// Those of the thread.
    Thread = "thread",
    /// All that the agent hears anywhere.
    Agent = "agent",
}

/// What opens and closes a block of code.
const FENCE: &str = "```";
/// The shortest limit that texts are split by.
const SPLIT_CHARS_MIN: usize = 64;
/// Characters of the word after a fence that are repeated in the next message.
const LANGUAGE_CHARS_MAX: usize = 24;

/// Splits a text into messages of at most `max` characters (at least 64): at paragraphs, else at lines, else at words. A block of code that is
/// cut is closed and opened again.
#[must_use]
pub fn split_text(text: &str, max: usize) -> Vec<String> {
    let max = max.max(SPLIT_CHARS_MIN);
    let mut rest = text.trim();
    let mut parts = Vec::new();
    // The fence that the next part must open again.
    let mut carried: Option<String> = None;
    while !rest.is_empty() {
        let opening = carried.take().map(|language| format!("{FENCE}{language}\n")).unwrap_or_default();
        let room = max - opening.chars().count();
        if rest.chars().nth(room).is_none() {
            parts.push(format!("{opening}{rest}"));
            break;
        }
        // Room for the fence that may have to be closed.
        let piece = cut(rest, room.saturating_sub(FENCE.len() + 1).max(1));
        let body = format!("{opening}{}", piece.trim_end());
        rest = rest[piece.len()..].trim_start_matches(['\n', '\r']);
        carried = open_fence(&body);
        if carried.is_none() {
            rest = rest.trim_start();
        }
        let closing = if carried.is_some() { format!("\n{FENCE}") } else { String::new() };
        if !body.trim().is_empty() {
            parts.push(format!("{body}{closing}"));
        }
    }
    parts
}

/// The beginning of a text, of at most `room` characters, up to the best place to cut it.
fn cut(text: &str, room: usize) -> &str {
    let end = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
    let head = &text[..end];
    // A cut far in front would make many small messages.
    let least = end / 3;
    for border in ["\n\n", "\n", " "] {
        if let Some(at) = head.rfind(border).filter(|at| *at > least) {
            return &text[..at + border.len()];
        }
    }
    head
}

/// The language of the block of code that a text leaves open.
fn open_fence(text: &str) -> Option<String> {
    let mut open = None;
    for line in text.lines() {
        if let Some(after) = line.trim_start().strip_prefix(FENCE) {
            open = match open {
                None => Some(after.trim().chars().take(LANGUAGE_CHARS_MAX).collect()),
                Some(_) => None,
            };
        }
    }
    open
}

/// A text that closes no element of a prompt and begins none, without control characters: what somebody else wrote stays theirs.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_one_message_and_an_empty_one_is_none() {
        assert_eq!(split_text("  hello\n", 4000), ["hello"]);
        assert!(split_text(" \n ", 4000).is_empty());
    }

    #[test]
    fn it_is_cut_where_a_person_would() {
        let (one, two) = ("a ".repeat(40), "b ".repeat(40));
        let text = format!("{one}\n\n{two}");
        assert_eq!(split_text(&text, 100), [one.trim(), two.trim()]);
        let words = split_text(&"word ".repeat(100), 64);
        assert!(words.iter().all(|part| part.chars().count() <= 64 && part.split(' ').all(|w| w == "word")), "{words:?}");
        assert_eq!(words.iter().map(|part| part.split(' ').count()).sum::<usize>(), 100, "nothing is lost");
    }

    #[test]
    fn code_stays_code_in_each_message() {
        let lines = (0..40).map(|n| format!("let x{n} = {n};")).collect::<Vec<_>>().join("\n");
        let parts = split_text(&format!("See:\n\n```rust\n{lines}\n```\n\nThat is all."), 200);
        assert!(parts.len() > 3, "{parts:?}");
        for part in &parts {
            assert!(part.chars().count() <= 200, "{part}");
            assert_eq!(part.matches(FENCE).count() % 2, 0, "{part}");
        }
        assert!(parts[1].starts_with("```rust\n"), "{}", parts[1]);
        let joined = parts.join("\n");
        assert!((0..40).all(|n| joined.contains(&format!("let x{n} = {n};"))), "{joined}");
    }

    #[test]
    fn hostile_texts_end() {
        for text in ["```".repeat(500), "é".repeat(1000), "`".repeat(999), format!("```{}\n{}", "x".repeat(300), "y ".repeat(300))] {
            let parts = split_text(&text, 1);
            assert!(!parts.is_empty() && parts.iter().all(|part| part.chars().count() <= SPLIT_CHARS_MIN), "{parts:?}");
        }
    }
}
