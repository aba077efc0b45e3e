//! What is typed. Lines that begin with `/` are the host's, but for a few that are this terminal's own.

/// What `/keys` says.
pub(super) const KEYS: &str = "\
/press N         press a button of the last message that has some: its number, or what it says
/edit TEXT       give your last message another text, as long as no turn took it
/save N [PATH]   keep the file with this number
/keys            this
/quit            leave (also Ctrl-D); what runs goes on
@path in a line sends a file along; a line that ends with \\ goes on in the next";

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Empty,
    /// For the chat, the host's commands among it.
    Say(String),
    /// Another text for what was said last.
    Edit(String),
    /// A button, by its number or its label.
    Press(String),
    /// Keep a file.
    Save {
        /// The number that it was shown with.
        number: usize,
        /// Where; under its name in the working directory when left out.
        path: Option<String>,
    },
    Keys,
    Quit,
    /// One of our own that is written wrongly, with what to say about it.
    Wrong(String),
}

/// Reads a line.
pub(super) fn parse(text: &str) -> Line {
    let trimmed = text.trim();
    let (word, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
    let rest = rest.trim();
    match (word, rest) {
        ("", _) => Line::Empty,
        ("/quit", "") => Line::Quit,
        ("/keys", "") => Line::Keys,
        ("/press", "") => Line::Wrong("/press N: the number of a button, or what it says".to_owned()),
        ("/press", which) => Line::Press(which.to_owned()),
        ("/edit", "") => Line::Wrong("/edit TEXT: what your last message says from now on".to_owned()),
        ("/edit", text) => Line::Edit(text.to_owned()),
        ("/save", rest) => {
            let (number, path) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            match number.parse() {
                Ok(number) => Line::Save { number, path: Some(path.trim()).filter(|path| !path.is_empty()).map(str::to_owned) },
                Err(_) => Line::Wrong("/save N [PATH]: the number of a file that was shown".to_owned()),
            }
        }
        _ => Line::Say(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_chats_but_for_our_own() {
        let say = |text: &str| Line::Say(text.to_owned());
        for (text, expect) in [
            ("", Line::Empty),
            ("  \t", Line::Empty),
            ("hello", say("hello")),
            (" two\nlines", say(" two\nlines")),
            ("/stop", say("/stop")),
            ("/help", say("/help")),
            ("/quit now", say("/quit now")),
            ("/pressing", say("/pressing")),
            ("/quit", Line::Quit),
            ("/keys", Line::Keys),
            ("/press 2", Line::Press("2".to_owned())),
            ("/press  Not now ", Line::Press("Not now".to_owned())),
            ("/edit  a b", Line::Edit("a b".to_owned())),
            ("/save 3", Line::Save { number: 3, path: None }),
            ("/save 3  a b", Line::Save { number: 3, path: Some("a b".to_owned()) }),
        ] {
            assert_eq!(parse(text), expect, "{text:?}");
        }
        for text in ["/press", "/edit", "/save", "/save x", "/save -1"] {
            assert!(matches!(parse(text), Line::Wrong(_)), "{text:?}");
        }
    }
}
