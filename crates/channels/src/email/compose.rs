//! Building a mail from checked parts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::read::is_id;
use crate::clock::now_ms;
use crate::network::File;

/// Bytes in one encoded word of a head.
const WORD_BYTES: usize = 42;
/// Characters of base64 in a line.
const LINE_CHARS: usize = 76;

/// What a mail is made of.
pub(super) struct Parts<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) subject: &'a str,
    /// Without angle brackets.
    pub(super) id: &'a str,
    /// The first mail of the thread and the one that is answered.
    pub(super) thread: Option<&'a str>,
    pub(super) answers: Option<&'a str>,
    pub(super) text: &'a str,
    pub(super) files: &'a [File],
}

/// The mail, with line ends as mail has them.
pub(super) fn mail(parts: &Parts) -> String {
    let mut head = vec![
        format!("From: {}", parts.from),
        format!("To: {}", parts.to),
        format!("Subject: {}", encoded(parts.subject)),
        format!("Date: {}", date(now_ms() / 1000)),
        format!("Message-ID: <{}>", parts.id),
        // Other programs do not answer those.
        "Auto-Submitted: auto-replied".to_owned(),
        "MIME-Version: 1.0".to_owned(),
    ];
    let thread = parts.thread.filter(|id| is_id(id));
    let answers = parts.answers.filter(|id| is_id(id)).or(thread);
    if let Some(answers) = answers {
        let root = thread.filter(|root| *root != answers).map(|root| format!("<{root}> ")).unwrap_or_default();
        head.extend([format!("In-Reply-To: <{answers}>"), format!("References: {root}<{answers}>")]);
    }
    let text = format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        folded(parts.text.replace('\n', "\r\n").as_bytes())
    );
    if parts.files.is_empty() {
        return format!("{}\r\n{text}", head.join("\r\n"));
    }
    // The id is a hash of the delivery: no file knows it.
    let boundary = format!("=_{}", parts.id.split('@').next().unwrap_or_default());
    let mut mail = format!("{}\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n{text}", head.join("\r\n"));
    for file in parts.files {
        let mime: String = file.mime().chars().filter(|c| c.is_ascii_alphanumeric() || "/.+-_".contains(*c)).collect();
        let name = crate::http::encode(file.name());
        mail.push_str(&format!(
            "--{boundary}\r\nContent-Type: {mime}\r\nContent-Disposition: attachment; filename*=UTF-8''{name}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            folded(&file.bytes)
        ));
    }
    mail.push_str(&format!("--{boundary}--\r\n"));
    mail
}

fn folded(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut out = String::with_capacity(encoded.len() + encoded.len() / 38 + 2);
    for line in encoded.as_bytes().chunks(LINE_CHARS) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push_str("\r\n");
    }
    out
}

/// Text of any script in the form that heads take; it can end no head.
fn encoded(text: &str) -> String {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) && !text.contains("=?") && text.len() < 60 {
        return text.to_owned();
    }
    let (mut words, mut piece) = (Vec::new(), String::new());
    for c in text.chars().filter(|c| !c.is_control()) {
        if piece.len() + c.len_utf8() > WORD_BYTES {
            words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(&piece)));
            piece.clear();
        }
        piece.push(c);
    }
    words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(&piece)));
    words.join("\r\n ")
}

/// A moment as mails write it.
fn date(seconds: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 2 } else { march - 10 };
    let year = era * 400 + year + i64::from(month < 2);
    let name = |all: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| all.get(at).copied()).unwrap_or("");
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} +0000",
        name(&DAYS, days.rem_euclid(7)),
        name(&MONTHS, month),
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders as _};

    #[test]
    fn what_is_built_is_what_was_asked() {
        let about = wire::chat::Attachment {
            id: "1".to_owned(),
            name: "Grüße\r\nX: y.txt".to_owned(),
            mime: "text/plain\r\nX: y".to_owned(),
            size: None,
        };
        let files = [File { about, bytes: vec![7; 1000].into() }];
        let subject = "Re: Größe \r\nBcc: evil@b.test ".to_owned() + &"lang ".repeat(30);
        let text = "a\n.\n--x\n\u{1F6A2} ende";
        let made = mail(&Parts {
            from: "bot@mail.test",
            to: "ann@b.test",
            subject: &subject,
            id: "k@mail.test",
            thread: Some("r@b.test"),
            answers: Some("2@b.test"),
            text,
            files: &files,
        });
        assert!(made.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
        let read = MessageParser::default().parse(made.as_bytes()).unwrap();
        assert_eq!(read.subject().unwrap(), subject.replace("\r\n", ""));
        assert_eq!(read.body_text(0).unwrap().replace("\r\n", "\n"), text);
        assert_eq!((read.message_id(), read.in_reply_to().as_text()), (Some("k@mail.test"), Some("2@b.test")));
        let file = read.attachments().next().unwrap();
        assert_eq!((file.contents().len(), file.attachment_name()), (1000, Some("Grüße\r\nX: y.txt")));
        assert!(read.header("Bcc").is_none() && read.header("X").is_none());
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(1_709_210_096), "Thu, 29 Feb 2024 12:34:56 +0000");
    }
}
