//! Mail as an agent sees it.

use mail_parser::{Message, MessageParser, MimeHeaders};
use serde_json::{Value, json};

use super::NOTE;
use super::imap::{Answer, Imap, Word};
use crate::clock::parse_moment;
use crate::net::Url;
use crate::text::{one_line, shorten, visible};
use crate::tool::ToolError;
use crate::web::html;

/// Bytes of a mail that are read; what comes after is mostly attached.
const MAIL_BYTES_MAX: usize = 4 << 20;
/// Characters of a mail's text that are given.
const TEXT_CHARS_MAX: usize = 100_000;
/// Characters of a subject or a name.
const LINE_CHARS_MAX: usize = 500;
/// Attachments and addresses that are named.
const NAMED_MAX: usize = 100;

/// The heads of these mails, in the order of `uids`.
pub(super) async fn headlines(imap: &mut Imap, uids: &[u32]) -> Result<Vec<Value>, ToolError> {
    let list: Vec<String> = uids.iter().map(u32::to_string).collect();
    let items = "(UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID)])";
    let answers = imap.command(&[Word::raw("UID FETCH"), Word::raw(list.join(",")), Word::raw(items)]).await?;
    let mut found: Vec<(u32, Value)> = answers.iter().filter_map(headline).collect();
    found.sort_by_key(|(uid, _)| uids.iter().position(|u| u == uid));
    found.dedup_by_key(|(uid, _)| *uid);
    Ok(found.into_iter().filter(|(uid, _)| uids.contains(uid)).map(|(_, line)| line).collect())
}

fn headline(answer: &Answer) -> Option<(u32, Value)> {
    let uid = number(&answer.text, "UID ")?;
    let mail = MessageParser::default().parse(answer.literals.first()?.as_slice())?;
    let mut line = heads(&mail);
    line["uid"] = json!(uid);
    line["unread"] = json!(!flags(&answer.text).contains("\\seen"));
    line["size"] = json!(number(&answer.text, "RFC822.SIZE "));
    Some((uid, line))
}

fn number(text: &str, before: &str) -> Option<u32> {
    // Only whole words count: `UID ` also ends other names.
    let at = text.match_indices(before).find(|(at, _)| *at > 0 && matches!(text.as_bytes()[at - 1], b' ' | b'('))?.0;
    let digits: String = text[at + before.len()..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn flags(text: &str) -> String {
    let list = text.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')'));
    list.map_or_else(String::new, |(flags, _)| flags.to_ascii_lowercase())
}

/// One whole mail.
pub(super) async fn whole(imap: &mut Imap, uid: u32, folder: &str) -> Result<Value, ToolError> {
    let items = format!("(UID FLAGS RFC822.SIZE BODY.PEEK[]<0.{MAIL_BYTES_MAX}>)");
    let answers = imap.command(&[Word::raw("UID FETCH"), Word::raw(uid.to_string()), Word::raw(items)]).await?;
    let answer = answers.iter().find(|a| number(&a.text, "UID ") == Some(uid) && !a.literals.is_empty());
    let answer = answer.ok_or_else(|| ToolError::NotFound(format!("there is no mail {uid} in `{folder}`")))?;
    let parsed = MessageParser::default().parse(answer.literals[0].as_slice());
    let mail = parsed.ok_or_else(|| ToolError::Remote("the mail cannot be read".to_owned()))?;
    let text = text(&mail);
    let shown = shorten(&text, TEXT_CHARS_MAX);
    let attachments: Vec<Value> = mail
        .attachments()
        .take(NAMED_MAX)
        .map(|part| {
            let kind = part.content_type().map(|t| format!("{}/{}", t.ctype(), t.subtype().unwrap_or("*")));
            json!({
                "name": part.attachment_name().map(|n| shorten(&one_line(n), LINE_CHARS_MAX)), "type": kind.map(|k| one_line(&k)),
                "size": part.contents().len(),
            })
        })
        .collect();
    let mut found = heads(&mail);
    found["uid"] = json!(uid);
    found["folder"] = json!(folder);
    found["unread"] = json!(!flags(&answer.text).contains("\\seen"));
    found["complete"] = json!(answer.literals[0].len() < MAIL_BYTES_MAX && shown.len() == text.len());
    found["text"] = json!(shown);
    found["attachments"] = json!(attachments);
    found["note"] = json!(NOTE);
    Ok(found)
}

/// The text of a mail: its plain part, or its HTML as a reader would see it.
fn text(mail: &Message<'_>) -> String {
    let is_plain = |part: &mail_parser::MessagePart<'_>| matches!(part.body, mail_parser::PartType::Text(_));
    let plain = mail.text_bodies().find(|part| is_plain(part)).and_then(|part| part.text_contents());
    if let Some(plain) = plain.filter(|text| !text.trim().is_empty()) {
        return visible(plain);
    }
    let Some(page) = mail.html_bodies().next().and_then(|part| part.text_contents()) else { return String::new() };
    match Url::parse("https://mail.invalid/") {
        Ok(base) => html::readable(page, &base, true).1,
        Err(_) => String::new(),
    }
}

fn heads(mail: &Message<'_>) -> Value {
    let people = |address: Option<&mail_parser::Address<'_>>| -> Vec<String> {
        let all = address.into_iter().flat_map(mail_parser::Address::iter).take(NAMED_MAX);
        all.map(|a| {
            let mailbox = a.address().unwrap_or("");
            let text = a.name().map_or_else(|| mailbox.to_owned(), |name| format!("{name} <{mailbox}>"));
            shorten(&one_line(&text), LINE_CHARS_MAX)
        })
        .collect()
    };
    let date = mail.date().map(mail_parser::DateTime::to_rfc3339);
    json!({
        "from": people(mail.from()), "to": people(mail.to()), "cc": people(mail.cc()),
        "subject": shorten(&one_line(mail.subject().unwrap_or("")), LINE_CHARS_MAX),
        "date": date.and_then(|d| parse_moment(&d)).map(crate::clock::Moment::rfc3339),
        "message_id": mail.message_id().map(|id| shorten(&one_line(id), LINE_CHARS_MAX)),
        "in_reply_to": mail.in_reply_to().as_text().map(|id| shorten(&one_line(id), LINE_CHARS_MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_mail_breaks_the_reader(
            text in "[()UID FLAGSRFC822.SIZE\\\\Seen0-9é{}]{0,60}",
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "From: ", "Subject: ", "=?UTF-8?B?", "=?x?Q?", "?=", "\r\n", "Content-Type: multipart/mixed; boundary=b\r\n", "--b\r\n", "--b--",
                "Content-Type: text/html\r\n", "Content-Transfer-Encoding: base64\r\n", "<p hidden>", "\"", "<a@b>", "\u{202e}", "x",
                "Date: Sun, 99 Foo 2026", "Content-Type: message/rfc822\r\n",
            ]), 0..40),
        ) {
            let answer = Answer { text, literals: vec![pieces.concat().into_bytes()] };
            let _ = headline(&answer);
            if let Some(mail) = MessageParser::default().parse(answer.literals[0].as_slice()) {
                let (text, heads) = (super::text(&mail), heads(&mail).to_string());
                let is_shown = |c: char| !crate::text::is_deceptive(c);
                proptest::prop_assert!(text.chars().all(is_shown) && heads.chars().all(is_shown));
            }
        }
    }
}
