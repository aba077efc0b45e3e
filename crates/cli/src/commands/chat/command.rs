//! The commands of a conversation: lines that begin with `/`.

use app::UndoForm;

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// Nothing.
    Empty,
    /// For the agent.
    Say(String),
    Undo(UndoWords),
    Fork,
    Diff {
        turn: Option<u64>,
        path: Option<String>,
    },
    SaveEnv(String),
    Show,
    Help,
    Quit,
    /// A command that is none, with what to say about it.
    Wrong(String),
}

/// The words after `/undo`.
#[derive(Debug, PartialEq)]
pub(super) struct UndoWords {
    to: Option<u64>,
    private: bool,
    force: bool,
}

impl From<UndoWords> for UndoForm {
    fn from(words: UndoWords) -> Self {
        Self { to: words.to, private: words.private, force: words.force }
    }
}

/// What `/help` says.
pub(super) const HELP: &str = "\
/undo [TURN] [--private|--force]  go back to the end of the turn before the last, or of TURN (0: the beginning)
/fork                             go on in a copy of this session; the original stays as it is
/diff [TURN [PATH]]               what the last turn, or TURN, changed in the files; with PATH, the lines of one file
/env save NAME                    make an env of this session's files, and go on in it
/session                          which session this is
/help                             this
/quit                             leave (also Ctrl-D)
@path in a line attaches a file; a line that ends with \\ goes on in the next; // at its beginning stands for /
Ctrl-C interrupts the turn; at the prompt, twice, it leaves";

/// Reads a line.
pub(super) fn parse(text: &str) -> Line {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Line::Empty;
    }
    let Some(command) = trimmed.strip_prefix('/') else { return Line::Say(text.to_owned()) };
    if command.starts_with('/') {
        return Line::Say(command.to_owned());
    }
    let mut words = command.split_whitespace();
    let (verb, rest): (&str, Vec<&str>) = (words.next().unwrap_or(""), words.collect());
    match (verb, rest.as_slice()) {
        ("undo", rest) => undo(rest),
        ("fork", []) => Line::Fork,
        ("diff", []) => Line::Diff { turn: None, path: None },
        ("diff", [turn, path @ ..]) => match turn.parse() {
            Ok(turn) => Line::Diff { turn: Some(turn), path: (!path.is_empty()).then(|| path.join(" ")) },
            Err(_) => Line::Wrong(format!("`{turn}` is not the number of a turn: /diff [TURN [PATH]]")),
        },
        ("env", ["save", name @ ..]) if !name.is_empty() => Line::SaveEnv(name.join(" ")),
        ("env", _) => Line::Wrong("say: /env save NAME".to_owned()),
        ("session", []) => Line::Show,
        ("help", _) => Line::Help,
        ("quit" | "exit", []) => Line::Quit,
        _ => Line::Wrong(format!("there is no command /{verb}; /help lists them, and // at the beginning sends a line that starts with /")),
    }
}

fn undo(words: &[&str]) -> Line {
    let mut form = UndoWords { to: None, private: false, force: false };
    for word in words {
        match (*word, word.parse::<u64>()) {
            ("--private", _) => form.private = true,
            ("--force", _) => form.force = true,
            (_, Ok(turn)) if form.to.is_none() => form.to = Some(turn),
            _ => return Line::Wrong("say: /undo [TURN] [--private|--force]".to_owned()),
        }
    }
    if form.private && form.force {
        return Line::Wrong("--private and --force exclude each other".to_owned());
    }
    Line::Undo(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let undo = |to, private, force| Line::Undo(UndoWords { to, private, force });
        for (text, expect) in [
            ("", Line::Empty),
            ("  \t", Line::Empty),
            ("hello", Line::Say("hello".to_owned())),
            ("  indented", Line::Say("  indented".to_owned())),
            ("//compact now", Line::Say("/compact now".to_owned())),
            ("/undo", undo(None, false, false)),
            ("/undo 0 --force", undo(Some(0), false, true)),
            ("/undo --private 3", undo(Some(3), true, false)),
            ("/fork", Line::Fork),
            ("/diff", Line::Diff { turn: None, path: None }),
            ("/diff 2 a b.txt", Line::Diff { turn: Some(2), path: Some("a b.txt".to_owned()) }),
            ("/env save My Project", Line::SaveEnv("My Project".to_owned())),
            ("/session", Line::Show),
            ("/help me", Line::Help),
            (" /quit ", Line::Quit),
            ("/exit", Line::Quit),
        ] {
            assert_eq!(parse(text), expect, "{text}");
        }
        for text in ["/undo x", "/undo 1 2", "/undo --private --force", "/fork 2", "/diff x", "/env", "/env drop", "/etc/passwd", "/"] {
            assert!(matches!(parse(text), Line::Wrong(_)), "{text}");
        }
    }
}
