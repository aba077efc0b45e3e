//! What a mail tells, in the words of the protocol, and who really sent it. Pure.

use mail_parser::{Message, MessageParser, MimeHeaders as _};
use wire::chat::{Attachment, Chat, Heard, HeardKind, Quoted, Who};

use super::Rules;
use crate::reading;

/// Files of one mail.
const FILES_MAX: usize = 32;

/// A mail that may be reported.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) heard: Heard,
    pub(super) subject: String,
}

/// Why a mail is not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Left {
    /// It is none.
    #[error("it cannot be read")]
    Unread,
    /// It does not say plainly who wrote it.
    #[error("it has no single sender")]
    Sender,
    /// It is the account's own.
    #[error("it is the account's own")]
    Own,
    /// Who wrote it is not allowed.
    #[error("its sender is not on the list")]
    Stranger,
    /// Nobody who is believed says that the sender wrote it.
    #[error("the receiving server does not vouch for its sender")]
    Unproven,
}

/// Reads a mail. `name` names it where it has no id of its own, and its files.
pub(super) fn mail(bytes: &[u8], name: &str, rules: &Rules) -> Result<Mail, Left> {
    let message = MessageParser::default().parse(bytes).ok_or(Left::Unread)?;
    let address = single_sender(&message).ok_or(Left::Sender)?;
    if address == rules.address {
        return Err(Left::Own);
    }
    if !rules.allows(&address) {
        return Err(Left::Stranger);
    }
    if !is_proven(&message, &address, &rules.vouches) {
        return Err(Left::Unproven);
    }
    let from = message.from().and_then(|from| from.first()).and_then(|from| from.name()).unwrap_or_default();
    let who = Who { id: address.clone(), name: reading::clip(from, 256), bot: is_machine(&message) };
    let chat = Chat { id: address, name: who.name.clone(), group: false };
    let id = message.message_id().filter(|id| is_id(id)).map_or_else(|| name.to_owned(), str::to_owned);
    let at_ms = message.date().map_or(0, |date| date.to_timestamp().saturating_mul(1000));
    let mut heard = reading::heard(HeardKind::Message, id.clone(), chat, who, at_ms);
    let (text, quoted) = parted(&message.body_text(0).unwrap_or_default());
    heard.text = reading::clip(&text, wire::chat::CHAT_TEXT_BYTES_MAX);
    let first = |value: &mail_parser::HeaderValue| {
        let all = value.as_text_list().map(<[_]>::to_vec).or_else(|| value.as_text().map(|text| vec![text.to_owned().into()]));
        all.and_then(|all| all.into_iter().map(|id| id.into_owned()).find(|id| is_id(id)))
    };
    let answered = first(message.in_reply_to());
    heard.thread = Some(first(message.references()).or_else(|| answered.clone()).unwrap_or(id));
    heard.quoted = (!quoted.is_empty()).then_some(Quoted { id: answered, sender: None, text: quoted, forwarded: false });
    heard.mention = true;
    heard.files = files(&message, name);
    Ok(Mail { heard, subject: reading::clip(message.subject().unwrap_or_default(), 400) })
}

/// A file of a mail.
pub(super) fn file(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let message = MessageParser::default().parse(bytes)?;
    message.attachments().nth(at).map(|part| part.contents().to_vec())
}

/// The subject of a mail.
pub(super) fn subject(bytes: &[u8]) -> Option<String> {
    let message = MessageParser::default().parse(bytes)?;
    message.subject().map(|subject| reading::clip(subject, 400))
}

fn files(message: &Message, name: &str) -> Vec<Attachment> {
    let file = |(at, part): (usize, &mail_parser::MessagePart)| Attachment {
        id: format!("{name}:{at}"),
        name: reading::clip(part.attachment_name().unwrap_or_default(), 256),
        mime: part.content_type().map(|t| format!("{}/{}", t.ctype(), t.subtype().unwrap_or("octet-stream"))).unwrap_or_default(),
        size: Some(part.contents().len() as u64),
    };
    message.attachments().enumerate().take(FILES_MAX).map(file).collect()
}

/// The one address of the one `From`, in small letters. Two of either let two programs see two senders.
fn single_sender(message: &Message) -> Option<String> {
    let heads = message.headers_raw().filter(|(name, _)| name.eq_ignore_ascii_case("from")).count();
    let from = message.from()?;
    let mut all = from.iter();
    let address = all.next()?.address()?.trim().to_ascii_lowercase();
    let plain = address.bytes().all(|b| b.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&b))
        && address.split('@').filter(|p| !p.is_empty()).count() == 2;
    (heads == 1 && all.next().is_none() && plain && address.matches('@').count() == 1 && address.len() <= 254).then_some(address)
}

/// Whether the server that received the mail found that the domain of the sender sent it. Only its own head counts, and that is the
/// first: what stands below came with the mail and can say anything.
fn is_proven(message: &Message, address: &str, vouches: &str) -> bool {
    let first = message.headers_raw().find(|(name, _)| name.eq_ignore_ascii_case("authentication-results"));
    let Some((_, raw)) = first else { return false };
    // Comments may hold anything, also what looks like a result.
    let mut depth = 0u32;
    let text: String = raw
        .chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0 && *c != '"'
        })
        .collect::<String>()
        .to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let named = parts.next().and_then(|server| server.split_whitespace().next()) == Some(vouches);
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let passes = |part: &str| {
        let mut words = part.split_whitespace();
        let property =
            |name: &str| part.split_whitespace().find_map(|word| word.strip_prefix(name)).map(|value| value.trim_start_matches('@'));
        match words.next() {
            // Alignment with the address is what DMARC is about.
            Some("dmarc=pass") => property("header.from=").is_none_or(|from| from == domain),
            Some("dkim=pass") => {
                property("header.d=").or_else(|| property("header.i=").map(|i| i.rsplit('@').next().unwrap_or(i))) == Some(domain)
            }
            _ => false,
        }
    };
    named && !domain.is_empty() && parts.any(passes)
}

/// Whether a program wrote it: answers to those go on for ever.
fn is_machine(message: &Message) -> bool {
    let head = |name: &str| {
        let found = message.headers_raw().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_ascii_lowercase())
    };
    head("auto-submitted").is_some_and(|value| value != "no")
        || head("precedence").is_some_and(|value| matches!(value.as_str(), "bulk" | "junk" | "list"))
        || head("list-id").is_some()
}

/// A message id that can stand in a head again.
pub(super) fn is_id(id: &str) -> bool {
    id.contains('@') && id.len() <= 400 && id.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"()\\,;".contains(&b))
}

/// The sender's own words, and what the mail repeats of another.
fn parted(text: &str) -> (String, String) {
    let lines: Vec<&str> = text.lines().collect();
    let is_quoted = |line: &&str| line.trim_start().starts_with('>');
    let mut own: Vec<&str> = Vec::new();
    let mut quoted: Vec<&str> = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        // The line that announces a quote, as in `On ... wrote:`, is nobody's.
        let announces = line.trim_end().ends_with(':') && lines[n + 1..].iter().find(|l| !l.trim().is_empty()).is_some_and(is_quoted);
        if is_quoted(line) {
            quoted.push(line.trim_start().trim_start_matches('>').trim_start());
        } else if !announces {
            own.push(line);
        }
    }
    (own.join("\n").trim().to_owned(), quoted.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            address: "bot@mail.test".to_owned(),
            allow: vec!["ann@b.test".to_owned(), "@c.test".to_owned()],
            vouches: "mx.mail.test".to_owned(),
        }
    }

    fn of(heads: &str) -> Result<Mail, Left> {
        mail(format!("{heads}\r\nSubject: Hi\r\nMessage-ID: <1@b.test>\r\n\r\nhello\r\n").as_bytes(), "7:1", &rules())
    }

    #[test]
    fn a_sender_counts_only_with_the_word_of_the_receiving_server() {
        let good = "Authentication-Results: mx.mail.test; dmarc=pass header.from=b.test\r\nFrom: Ann <Ann@B.test>";
        let found = of(good).unwrap();
        assert_eq!((found.heard.sender.id.as_str(), found.heard.text.as_str(), found.subject.as_str()), ("ann@b.test", "hello", "Hi"));
        assert_eq!((found.heard.id.as_str(), found.heard.thread.as_deref()), ("1@b.test", Some("1@b.test")));
        assert!(of("Authentication-Results: mx.mail.test; spf=pass; dkim=pass header.d=c.test\r\nFrom: x@c.test").is_ok());
        for (heads, expect) in [
            ("From: ann@b.test", Left::Unproven),
            ("Authentication-Results: evil.test; dmarc=pass header.from=b.test\r\nFrom: ann@b.test", Left::Unproven),
            (
                "Authentication-Results: mx.mail.test; dmarc=fail\r\nAuthentication-Results: mx.mail.test; dmarc=pass\r\nFrom: ann@b.test",
                Left::Unproven,
            ),
            ("Authentication-Results: evil.test\r\nAuthentication-Results: mx.mail.test; dmarc=pass\r\nFrom: ann@b.test", Left::Unproven),
            ("Authentication-Results: mx.mail.test; dmarc=pass header.from=evil.test\r\nFrom: ann@b.test", Left::Unproven),
            ("Authentication-Results: mx.mail.test; dkim=pass header.d=evil.test\r\nFrom: ann@b.test", Left::Unproven),
            ("Authentication-Results: mx.mail.test; spf=pass smtp.mailfrom=ann@b.test\r\nFrom: ann@b.test", Left::Unproven),
            ("Authentication-Results: mx.mail.test; dkim=fail (; dmarc=pass header.from=b.test)\r\nFrom: ann@b.test", Left::Unproven),
            ("Authentication-Results: mx.mail.test; dmarc=pass\r\nFrom: eve@b.test", Left::Stranger),
            ("Authentication-Results: mx.mail.test; dmarc=pass\r\nFrom: ann@b.test.evil.test", Left::Stranger),
            ("Authentication-Results: mx.mail.test; dmarc=pass\r\nFrom: ann@b.test\r\nFrom: eve@evil.test", Left::Sender),
            ("Authentication-Results: mx.mail.test; dmarc=pass\r\nFrom: ann@b.test, eve@evil.test", Left::Sender),
            ("From: bot@mail.test", Left::Own),
            ("From: nobody", Left::Sender),
            ("X: y", Left::Sender),
        ] {
            assert_eq!(of(heads).map(|m| m.heard.sender.id), Err(expect), "{heads}");
        }
        assert!(of(&format!("{good}\r\nAuto-Submitted: auto-replied")).unwrap().heard.sender.bot);
    }

    #[test]
    fn what_is_quoted_is_not_the_senders() {
        let (own, quoted) = parted("yes\n\nOn Monday Boss wrote:\n> /stop\n>> x\n\nbye\n");
        assert_eq!((own.as_str(), quoted.as_str()), ("yes\n\n\nbye", "/stop\nx"));
    }
}
