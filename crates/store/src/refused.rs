//! Files that a network would not take: the chat that they were for is told, so that nothing is left out in silence.

use model::Timestamp;
use serde_json::{Value, json};

use crate::StoreError;
use crate::db::Connection;
use crate::outbox::{NewOut, OutRow, owe};

/// Files that are named.
const NAMED_MAX: usize = 5;
/// Characters of a file's name, of the reason, and of what was to be said with the files.
const CHARS_MAX: (usize, usize, usize) = (80, 300, 500);

/// Owes the chat of a delivery that was given up the names of the files that do not come, and why. The agent hears of it by the delivery
/// itself.
pub(crate) fn tell(conn: &Connection, row: &OutRow, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let Some(text) = told(&row.act, why) else { return Ok(()) };
    let new = NewOut {
        channel: row.channel.clone(),
        chat: row.chat.clone(),
        thread: row.thread.clone(),
        act: json!({ "do": "send", "text": text }),
        cause: format!("refused:{}", row.id),
        agent: row.agent.clone(),
        session: None,
        turn: None,
    };
    match owe(conn, &new, now) {
        // A chat to which nothing goes out any more is told nothing either; the outcome is kept all the same.
        Ok(_) | Err(StoreError::Limit { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is said about the files of an act; nothing where there are none.
fn told(act: &Value, why: &str) -> Option<String> {
    let files = act["files"].as_array().filter(|files| act["do"] == "send" && !files.is_empty())?;
    // Marks of a text would show another name than the file has.
    let plain = |text: &str, most: usize| text.chars().filter(|c| !c.is_control() && *c != '`').take(most).collect::<String>();
    let (name_max, why_max, text_max) = CHARS_MAX;
    let mut names: Vec<String> =
        files.iter().take(NAMED_MAX).map(|file| format!("`{}`", plain(file["name"].as_str().unwrap_or("file"), name_max))).collect();
    if files.len() > NAMED_MAX {
        names.push(format!("{} more", files.len() - NAMED_MAX));
    }
    let mut text = format!("(Not sent: {}. {})", names.join(", "), plain(why, why_max));
    let said = act["text"].as_str().unwrap_or_default().trim();
    if !said.is_empty() {
        let short: String = said.chars().take(text_max).collect();
        text = format!("{short}\n\n{text}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_reason_are_told_and_what_was_said_with_them() {
        let act = json!({ "do": "send", "text": "as asked", "files": [{ "name": "a`\n.zip" }, { "name": "b" }] });
        assert_eq!(told(&act, "it takes pictures").expect("told"), "as asked\n\n(Not sent: `a.zip`, `b`. it takes pictures)");
        let many: Vec<Value> = (0..9).map(|n| json!({ "name": n.to_string() })).collect();
        let text = told(&json!({ "do": "send", "text": "", "files": many }), "no").expect("told");
        assert!(text.contains("`4`, 4 more. no)") && !text.contains("`5`"), "{text}");
        let long = json!({ "do": "send", "text": "x".repeat(9000), "files": [{ "name": "n".repeat(900) }] });
        assert!(told(&long, &"w".repeat(9000)).expect("told").chars().count() < 950);
        for none in [json!({ "do": "send", "text": "x" }), json!({ "do": "send", "files": [] }), json!({ "do": "edit", "files": [{}] })] {
            assert_eq!(told(&none, "no"), None);
        }
    }
}
