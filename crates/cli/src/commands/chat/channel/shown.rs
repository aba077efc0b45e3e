//! How messages look on a terminal. What they say comes from agents and strangers, and is made harmless.

use app::WebMessage;

use crate::exit::clean;
use crate::out;

/// Characters of what a file, a button or an emoji is called.
const NAME_CHARS: usize = 80;
/// Reactions that are told of one message.
const REACTIONS_SHOWN: usize = 20;

/// Something to show.
#[derive(Debug)]
pub(super) struct Shown {
    /// What it is of.
    pub(super) message: WebMessage,
    /// What is said.
    pub(super) text: Option<String>,
    /// What stands beside it.
    pub(super) notes: Vec<String>,
}

/// Something foreign that stands within a line.
fn word(text: &str) -> String {
    out::cut(&clean(&text.replace(['\n', '\t', '\r'], " ")), NAME_CHARS)
}

impl Shown {
    /// A message that was not there before; `files` are the numbers of what came along.
    pub(super) fn fresh(message: WebMessage, files: &[usize]) -> Self {
        let mut notes: Vec<String> = Vec::new();
        for (file, n) in message.files.iter().zip(files) {
            let size = file.size.map(|size| format!(" ({})", out::bytes(size))).unwrap_or_default();
            notes.push(format!("file {n}: {}{size}; /save {n} keeps it", word(&file.name)));
        }
        notes.extend(buttons(&message));
        let text = Some(clean(&message.text)).filter(|text| !text.is_empty());
        Self { message, text, notes }
    }

    /// A message that says something else now.
    pub(super) fn changed(message: WebMessage) -> Self {
        let text = Some(clean(&message.text)).filter(|text| !text.is_empty());
        let mut notes = vec!["(it said something else before)".to_owned()];
        notes.extend(buttons(&message));
        Self { message, text, notes }
    }

    /// A message of one's own, for who comes back to it.
    pub(super) fn own(message: WebMessage) -> Self {
        let text = Some(format!("you: {}", clean(&message.text)));
        Self { message, text, notes: Vec::new() }
    }

    /// Something that became known of a message that was shown.
    pub(super) fn beside(message: WebMessage, notes: Vec<String>) -> Self {
        Self { message, text: None, notes }
    }
}

fn buttons(message: &WebMessage) -> Option<String> {
    let names: Vec<String> = message.buttons.iter().enumerate().map(|(n, button)| format!("[{}] {}", n + 1, word(&button.label))).collect();
    (!names.is_empty()).then(|| format!("{}; /press N", names.join("  ")))
}

/// What reactions beyond the first `known` ones say.
pub(super) fn reactions(message: &WebMessage, known: usize) -> Vec<String> {
    let of = if message.by == "you" { "your message" } else { "a message" };
    let about = word(&out::cut(&message.text, 40));
    let fresh = message.reactions.iter().skip(known).take(REACTIONS_SHOWN);
    fresh.map(|emoji| format!("{} on {of}: {about}", word(emoji))).collect()
}

/// What became of a message of one's own that no turn came of, and of what went along with it.
pub(super) fn trouble(message: &WebMessage) -> Vec<String> {
    let mut notes = Vec::new();
    let did = match message.outcome.as_deref() {
        Some("held") => Some("it waits"),
        Some("dropped") => Some("it was not taken"),
        Some("kept") => Some("it was heard, and is told with the next message"),
        _ => None,
    };
    if let Some(did) = did {
        let why = message.reason.as_deref().or(message.gate.as_deref()).map(|why| format!(": {}", clean(why))).unwrap_or_default();
        notes.push(format!("{did}{why}"));
        notes.extend(message.fix.as_deref().map(|fix| format!("hint: {}", clean(fix))));
    }
    match message.state.as_deref() {
        Some("failed") => {
            let session = message.session.as_ref().map(|id| format!("; see: lazaret session events {id}")).unwrap_or_default();
            notes.push(format!("the turn failed{session}"));
        }
        Some("cancelled") => notes.push("the turn was stopped".to_owned()),
        _ => {}
    }
    notes
}

/// Files of a message of one's own that the agent did not get, beyond the first `known` ones.
pub(super) fn missing(message: &WebMessage, known: usize) -> Vec<String> {
    let lost = message.files.iter().filter_map(|file| file.error.as_deref().map(|why| (file, why)));
    lost.skip(known).map(|(file, why)| format!("{} did not come along: {}", word(&file.name), word(why))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(more: serde_json::Value) -> WebMessage {
        let mut whole = json!({ "id": "out_1", "by": "agent", "at": 0, "text": "hi \u{1b}[2J", "edited": false });
        more.as_object().into_iter().flatten().for_each(|(key, value)| whole[key] = value.clone());
        serde_json::from_value(whole).expect("a message")
    }

    #[test]
    fn nothing_that_is_shown_moves_the_terminal() {
        let hostile = json!({ "files": [{ "name": "a\n\u{1b}]0;x\u{7}", "size": 2048 }],
            "buttons": [{ "label": "Yes\u{202e}", "value": "y" }, { "label": "No", "value": "n" }] });
        let shown = Shown::fresh(message(hostile), &[4]);
        let all = format!("{:?}{:?}", shown.text, shown.notes);
        assert!(all.contains("file 4: a ") && all.contains("[2] No") && all.contains("(2k)"), "{all}");
        let raw = [shown.text.unwrap_or_default(), shown.notes.concat()].concat();
        assert!(!raw.contains('\u{1b}') && !raw.contains('\u{202e}') && !raw.contains('\u{7}'), "{raw:?}");
    }

    #[test]
    fn what_became_of_a_message_is_told_with_the_cure() {
        let held = message(json!({ "by": "you", "outcome": "held", "reason": "no agent hears it", "fix": "lazaret wire add" }));
        assert_eq!(trouble(&held), ["it waits: no agent hears it", "hint: lazaret wire add"]);
        assert!(trouble(&message(json!({ "by": "you", "outcome": "turn", "state": "done" }))).is_empty());
        assert_eq!(trouble(&message(json!({ "outcome": "turn", "state": "cancelled" }))), ["the turn was stopped"]);
        let lost = message(json!({ "files": [{ "name": "a" }, { "name": "b", "error": "too large" }] }));
        assert_eq!((missing(&lost, 0), missing(&lost, 1)), (vec!["b did not come along: too large".to_owned()], Vec::new()));
        let liked = message(json!({ "by": "you", "reactions": ["+", "!"] }));
        assert_eq!(reactions(&liked, 1).len(), 1);
    }
}
