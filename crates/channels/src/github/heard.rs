//! What GitHub posts to a webhook: issues, pull requests and what is said below them.

use serde_json::Value;
use wire::chat::{Chat, Heard, HeardKind, Who};

use crate::reading::{heard, id, name, rfc3339_ms, text};

/// Reads an event whose signature was checked. `me` is the login of the account: what it wrote itself is left out, and an `@me` in
/// the text is a mention. `None` is an event that says nothing to an agent.
///
/// A repository is the chat, an issue or a pull request the thread (`12`), and a review comment of a pull request answers below its
/// first (`12/r99`).
pub(crate) fn read(event: &str, body: &Value, me: &str) -> Option<Heard> {
    let repository = &body["repository"];
    let chat = Chat { id: id(&repository["full_name"])?, name: name(&repository["full_name"]), group: true };
    let action = body["action"].as_str().unwrap_or_default();
    let (subject, number) = match event {
        "issues" => (&body["issue"], id(&body["issue"]["number"])?),
        "issue_comment" => (&body["comment"], id(&body["issue"]["number"])?),
        "pull_request" => (&body["pull_request"], id(&body["pull_request"]["number"])?),
        "pull_request_review" => (&body["review"], id(&body["pull_request"]["number"])?),
        "pull_request_review_comment" => (&body["comment"], id(&body["pull_request"]["number"])?),
        _ => return None,
    };
    let kind = match (event, action) {
        ("issues" | "pull_request", "opened")
        | ("issue_comment" | "pull_request_review_comment", "created")
        | ("pull_request_review", "submitted") => HeardKind::Message,
        ("issues" | "issue_comment" | "pull_request_review_comment" | "pull_request" | "pull_request_review", "edited") => HeardKind::Edit,
        _ => return None,
    };
    // `sender` is who did it; `subject.user` who wrote it first. An edit of another's words is the editor's.
    let sender = who(&body["sender"])?;
    if sender.id == me || login(&body["sender"]).eq_ignore_ascii_case(me) || subject["performed_via_github_app"]["slug"] == *me {
        return None;
    }
    let at = ["updated_at", "submitted_at", "created_at"].into_iter().find_map(|field| rfc3339_ms(subject[field].as_str()?));
    let message = match event {
        "issue_comment" => format!("c{}", id(&subject["id"])?),
        "pull_request_review_comment" => format!("r{}", id(&subject["id"])?),
        "pull_request_review" => format!("v{}", id(&subject["id"])?),
        _ => format!("i{number}"),
    };
    let words = text(&subject["body"]);
    let mut out = heard(kind, message.clone(), chat, sender, at.unwrap_or(0));
    if kind == HeardKind::Edit {
        // Each edit is an event of its own; the delivery's number is not signed, this time is.
        out.id = format!("{message}@{}", out.at_ms);
        out.about = Some(message);
    }
    out.thread = Some(match event {
        "pull_request_review_comment" => {
            let first = id(&subject["in_reply_to_id"]).or_else(|| id(&subject["id"]))?;
            format!("{number}/r{first}")
        }
        _ => number,
    });
    out.mention = mentions(&words, me);
    out.text = match (event, subject["title"].as_str()) {
        ("issues" | "pull_request", Some(title)) => format!("{title}\n\n{words}"),
        _ => words,
    };
    if out.text.trim().is_empty() { None } else { Some(out) }
}

fn login(user: &Value) -> &str {
    user["login"].as_str().unwrap_or_default()
}

/// Somebody: the number of the account, which no rename changes and nobody else gets.
fn who(user: &Value) -> Option<Who> {
    Some(Who { id: id(&user["id"])?, name: name(&user["login"]), bot: user["type"] == "Bot" })
}

/// Whether `@me` stands in the text as a word, outside quoted lines and code blocks: those are words of others or of no one.
pub(crate) fn mentions(text: &str, me: &str) -> bool {
    let mut code = false;
    text.lines().any(|line| {
        let line = line.trim_start();
        if line.starts_with("```") || line.starts_with("~~~") {
            code = !code;
        }
        !code && !line.starts_with('>') && names(line, me)
    })
}

fn names(line: &str, me: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    line.match_indices('@').any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let login: String = line[at + 1..].chars().take_while(|c| word(*c)).collect();
        !before.is_some_and(|c| word(c) || c == '`' || c == '/') && login.eq_ignore_ascii_case(me.trim_end_matches("[bot]"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn comment(user: Value, body: &str) -> Value {
        json!({
            "action": "created", "repository": {"full_name": "acme/shop"}, "sender": user, "issue": {"number": 12},
            "comment": {"id": 99, "body": body, "user": user, "created_at": "2026-01-02T03:04:05Z"},
        })
    }

    fn ann() -> Value {
        json!({"id": 5, "login": "ann", "type": "User"})
    }

    #[test]
    fn comments_belong_to_their_thread() {
        let out = read("issue_comment", &comment(ann(), "@lazy please look"), "lazy").unwrap();
        assert_eq!((out.chat.id.as_str(), out.thread.as_deref(), out.id.as_str()), ("acme/shop", Some("12"), "c99"));
        assert_eq!((out.sender.id.as_str(), out.mention), ("5", true));
        let review = json!({
            "action": "created", "repository": {"full_name": "acme/shop"}, "sender": ann(), "pull_request": {"number": 3},
            "comment": {"id": 7, "in_reply_to_id": 6, "body": "why?", "updated_at": "2026-01-02T03:04:05Z"},
        });
        let out = read("pull_request_review_comment", &review, "lazy").unwrap();
        assert_eq!((out.thread.as_deref(), out.id.as_str(), out.mention), (Some("3/r6"), "r7", false));
    }

    #[test]
    fn what_the_account_wrote_is_left_out() {
        assert_eq!(read("issue_comment", &comment(json!({"id": 1, "login": "Lazy"}), "x"), "lazy"), None);
        assert_eq!(read("issue_comment", &comment(json!({"login": "no id"}), "x"), "lazy"), None);
        assert_eq!(read("push", &comment(ann(), "x"), "lazy"), None);
    }

    #[test]
    fn an_edit_is_the_editors_and_an_event_of_its_own() {
        let mut body = comment(json!({"id": 6, "login": "bob"}), "new words");
        body["action"] = json!("edited");
        body["comment"]["user"] = ann();
        let out = read("issue_comment", &body, "lazy").unwrap();
        assert_eq!((out.kind, out.about.as_deref(), out.sender.id.as_str()), (HeardKind::Edit, Some("c99"), "6"));
        assert_eq!(out.id, "c99@1767323045000");
    }

    #[test]
    fn a_mention_is_a_word_outside_quotes_and_code() {
        for (text, expect) in [
            ("@lazy do", true),
            ("hey @Lazy, do", true),
            ("(@lazy)", true),
            ("> @lazy do", false),
            ("```\n@lazy do\n```", false),
            ("```\nx\n```\n@lazy do", true),
            ("`@lazy`", false),
            ("a@lazy.example", false),
            ("@lazybones", false),
            ("@lazy-bones", false),
            ("@", false),
            ("acme/@lazy", false),
        ] {
            assert_eq!(mentions(text, "lazy"), expect, "{text}");
        }
    }
}
