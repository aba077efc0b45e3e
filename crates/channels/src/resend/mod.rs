//! Email by Resend: mails that it received are told by signed webhooks, fetched, and answered by its API. A mail is of whom it
//! says only where the receiving server found that; any other is left out.

mod proof;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::{HeaderName, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Attachment, Chat, Delivery, Failing, Heard, HeardKind, Quoted, Who};
use zeroize::Zeroizing;

use crate::calls::{Recent, call};
use crate::clock::now_ms;
use crate::http::{Ask, Base};
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, account, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{clip_chars, heard, id, name, path_id, rfc3339_ms, text};
use crate::sign::{is_hmac_sha256, is_recent};
use crate::sink::Sink;
use crate::surroundings::CredentialError;
use proof::{HEAD_BYTES_MAX, Head, address};

/// Characters of a mail.
const TEXT_MAX: u32 = 100_000;
/// The largest file, in bytes: Resend takes 40 MB of a mail in base64.
const FILE_BYTES_MAX: u64 = 25 << 20;
/// Files of one mail that are handed on.
const FILES_MAX: usize = 32;
/// Conversations whose subject is remembered.
const SUBJECTS_MAX: usize = 5_000;
/// Characters of a subject.
const SUBJECT_MAX: usize = 120;
/// Signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 8;

/// The network.
pub(crate) struct Resend;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// From whom mails are: `Name <agent@example.org>`.
    from: String,
    /// The server whose findings about senders count: the first word of `Authentication-Results` in mails that Resend received.
    authserv: String,
    /// The addresses that are heard (`ann@example.org` or `@example.org`); all whose sender is proven when none is listed.
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default = "base_url")]
    base_url: String,
    /// Where received mails and their files are brought from.
    #[serde(default = "files_url")]
    files_url: String,
}

fn base_url() -> String {
    "https://api.resend.com".to_owned()
}

fn files_url() -> String {
    "https://inbound-cdn.resend.com".to_owned()
}

impl Network for Resend {
    fn about(&self) -> About {
        About {
            addresses: ["files_url"].map(str::to_owned).to_vec(),
            webhooks: true,
            ..needs(
                "resend",
                "Email by Resend",
                &["api.resend.com:443", "inbound-cdn.resend.com:443"],
                &[("api_key", "an API key with full access", true), ("webhook_secret", "the webhook's signing secret (whsec_...)", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        setup.credentials.line("api_key")?;
        let secret = setup.credentials.line("webhook_secret")?;
        let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(&secret)).ok().filter(|secret| secret.len() >= 16);
        let bad = |what: &str| OpenError::Config(what.to_owned());
        if config.authserv.trim().is_empty() {
            return Err(bad("`authserv` is empty: then nobody is who they say"));
        }
        Ok(Arc::new(Mailbox {
            base: Base::named("base_url", &config.base_url)?,
            files: Base::named("files_url", &config.files_url)?,
            secret: Zeroizing::new(secret.ok_or_else(|| CredentialError::Bad("webhook_secret".to_owned(), "it is no signing secret"))?),
            address: address(&config.from).ok_or_else(|| bad("`from` is no address"))?,
            from: config.from,
            authserv: config.authserv,
            allow: config.allow.iter().map(|known| known.to_ascii_lowercase()).collect(),
            subjects: Recent::new(SUBJECTS_MAX),
            setup,
        }))
    }
}

/// Whether words are a command or a code, which nothing may stand before.
fn is_for_the_host(words: &str) -> bool {
    let words = words.trim();
    words.starts_with('/') || words.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-'))
}

/// One address.
struct Mailbox {
    setup: Setup,
    base: Base,
    files: Base,
    secret: Zeroizing<Vec<u8>>,
    from: String,
    address: String,
    authserv: String,
    allow: Vec<String>,
    /// The subject of each conversation.
    subjects: Recent<String>,
}

impl Account for Mailbox {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // A key that may only send is refused here: nothing could be heard with it.
            self.setup.introduce(abilities(), || async { self.get("/domains").await.map(|_| account(&self.address)) }).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let Act::Send { text, reply_to, .. } = &delivery.act else {
                return Err(DeliverError::never("a mail can neither be edited nor reacted to"));
            };
            let to = address(&delivery.to.chat).ok_or_else(|| DeliverError::never("that is no address"))?;
            let mut body = json!({"from": self.from, "to": [to], "subject": self.subject(delivery, text), "text": text});
            if let Some(root) = delivery.to.thread.as_deref().and_then(message_id) {
                let answered = reply_to.as_deref().and_then(message_id).unwrap_or(root);
                let references = if answered == root { root.to_owned() } else { format!("{root} {answered}") };
                body["headers"] = json!({"In-Reply-To": answered, "References": references});
            }
            if !files.is_empty() {
                let file =
                    |file: &File| json!({"filename": file.name(), "content": STANDARD.encode(&file.bytes), "content_type": file.mime()});
                body["attachments"] = files.iter().map(file).collect();
            }
            let send = |attempt: Attempt| self.send(&body, attempt);
            steps.once("mail", send).await.map(drop)
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            if !self.is_signed(&request) {
                return Answer::status(401);
            }
            let Ok(event) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            if event["type"] != "email.received" {
                return Answer::status(200);
            }
            let Some(mail) = event["data"]["email_id"].as_str().and_then(path_id) else { return Answer::status(400) };
            let heard = match self.hear(mail).await {
                Ok(heard) => heard,
                Err(error) if error.why == Failing::Final => None,
                Err(_) => return Answer::status(503),
            };
            match heard {
                None => Answer::status(200),
                Some(heard) => match self.setup.link.tell(heard, None).await {
                    Ok(()) => Answer::status(200),
                    Err(_) => Answer::status(503),
                },
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let (mail, file) =
                file.split_once('/').and_then(|(mail, file)| Some((path_id(mail)?, path_id(file)?))).ok_or("the file has no id")?;
            let about = self.get(&format!("/emails/receiving/{mail}/attachments/{file}")).await.map_err(|e| e.to_string())?;
            let url = self.place(&about["download_url"]).ok_or("Resend's place of the file is not one of its own")?;
            self.setup.http.send(Ask::get(url)).await.map_err(|e| e.to_string())?.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let id = address(handle).ok_or("a person on this network is an address")?;
            Ok(Chat { id, name: String::new(), group: false })
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: FILE_BYTES_MAX,
        threads: true,
        open_dm: true,
        idempotent: true,
        per_minute: 60,
        ..Abilities::default()
    }
}

impl Mailbox {
    /// Whether a request carries a signature of now: of its id, its time and its body.
    fn is_signed(&self, request: &Hook) -> bool {
        let header = |name: &str| request.header(name);
        let (Some(id), Some(at), Some(signatures)) = (header("svix-id"), header("svix-timestamp"), header("svix-signature")) else {
            return false;
        };
        let recent = at.parse::<i64>().is_ok_and(|at| is_recent(at.saturating_mul(1_000), now_ms()));
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", at.as_bytes(), b".", &request.body];
        let good = |signature: &str| {
            let given = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            given.is_some_and(|given| is_hmac_sha256(&self.secret, &parts, &given))
        };
        recent && signatures.split(' ').take(SIGNATURES_MAX).any(good)
    }

    /// Fetches a mail and reads it. `None` where it is not for this address, or nobody proved who wrote it.
    async fn hear(&self, mail: &str) -> Result<Option<Heard>, DeliverError> {
        let about = self.get(&format!("/emails/receiving/{mail}")).await?;
        let ours = ["to", "cc", "bcc", "received_for"].into_iter().flat_map(|field| about[field].as_array().into_iter().flatten());
        if !ours.filter_map(|to| address(to.as_str()?)).any(|to| to == self.address) {
            return Ok(None);
        }
        // The API gives headers without their order, which is what says whose they are: the mail itself is looked at.
        let raw = self
            .place(&about["raw"]["download_url"])
            .ok_or_else(|| DeliverError::never("Resend's place of the mail is not one of its own"))?;
        let reply = self.setup.http.send(Ask::get(raw)).await?;
        if !reply.status.is_success() {
            return Err(DeliverError::new(Failing::Passing, "the mail cannot be had"));
        }
        let head = Head::read(&reply.beginning(HEAD_BYTES_MAX).await?);
        let Some(from) = head.proven(&self.authserv) else {
            self.setup.link.log("a mail whose sender nobody proved was left out").await;
            return Ok(None);
        };
        let listed = |known: &String| *known == from || known.starts_with('@') && from.ends_with(known.as_str());
        if from == self.address || !(self.allow.is_empty() || self.allow.iter().any(listed)) {
            return Ok(None);
        }
        Ok(Some(self.read(mail, &about, &head, from)))
    }

    fn read(&self, mail: &str, about: &Value, head: &Head, from: String) -> Heard {
        let sender = Who {
            id: from.clone(),
            name: name(&about["from"]),
            bot: head.one("auto-submitted").is_some_and(|kind| !kind.eq_ignore_ascii_case("no")),
        };
        let chat = Chat { id: from, name: String::new(), group: false };
        let own = head.one("message-id").and_then(message_id).map_or_else(|| format!("<{mail}@resend>"), str::to_owned);
        let root = head
            .one("references")
            .and_then(|all| all.split_whitespace().find_map(message_id))
            .or_else(|| head.one("in-reply-to").and_then(message_id));
        let at_ms = rfc3339_ms(about["created_at"].as_str().unwrap_or_default()).unwrap_or(0);
        let mut out = heard(HeardKind::Message, own.clone(), chat, sender, at_ms);
        let thread = root.map_or(own, str::to_owned);
        let subject = name(&about["subject"]);
        self.subjects.put(&thread, subject.clone());
        out.mention = true;
        let (words, quoted) = split(&text(&about["text"]));
        // The subject belongs to the first mail of a conversation.
        let begins = root.is_none() && !subject.is_empty() && !is_for_the_host(&words);
        out.text = if begins { format!("{subject}\n\n{words}") } else { words };
        out.thread = Some(thread);
        out.quoted = (!quoted.is_empty()).then_some(Quoted { id: None, sender: None, text: quoted, forwarded: false });
        for file in about["attachments"].as_array().into_iter().flatten().take(FILES_MAX) {
            if let Some(known) = file["id"].as_str().and_then(path_id) {
                let id = format!("{mail}/{known}");
                out.files.push(Attachment {
                    id,
                    name: name(&file["filename"]),
                    mime: name(&file["content_type"]),
                    size: file["size"].as_u64(),
                });
            }
        }
        out
    }

    fn subject(&self, delivery: &Delivery, text: &str) -> String {
        let known = delivery.to.thread.as_deref().and_then(|thread| self.subjects.get(thread));
        let subject = match known {
            Some(subject) if subject.get(..3).is_some_and(|re| re.eq_ignore_ascii_case("re:")) => subject,
            Some(subject) => format!("Re: {subject}"),
            None => {
                text.lines().map(|line| line.trim_matches(['#', '*', ' '])).find(|line| !line.is_empty()).unwrap_or("A message").to_owned()
            }
        };
        clip_chars(&subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>(), SUBJECT_MAX)
    }

    async fn send(&self, body: &Value, attempt: Attempt) -> Result<String, DeliverError> {
        let key = attempt.key(43);
        let ask = Ask::post(self.base.at("/emails")?, body).header(HeaderName::from_static("idempotency-key"), &key);
        match self.ask(ask).await {
            Ok(answer) => id(&answer["id"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "Resend named no mail")),
            // The key is known with other words around: the subject is not remembered over a restart. The first try was taken.
            Err(error) if attempt.doubtful && error.message.contains("invalid_idempotent_request") => Ok(key),
            Err(error) => Err(error),
        }
    }

    /// An address that Resend gave, where it is one of those that files are brought from.
    fn place(&self, url: &Value) -> Option<Uri> {
        url.as_str()?.parse().ok().filter(|url| self.files.is_origin_of(url))
    }

    async fn get(&self, path: &str) -> Result<Value, DeliverError> {
        self.ask(Ask::get(self.base.at(path)?)).await
    }

    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let key = self.setup.credentials.line("api_key").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
        let called = call(&self.setup.http, ask.bearer(&key)).await?;
        let kind = called.body["name"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "missing_api_key" | "invalid_api_key" | "restricted_api_key" => {
                Err(DeliverError::new(Failing::Credential, format!("Resend answered {kind}")))
            }
            "concurrent_idempotent_requests" => Err(DeliverError::new(Failing::Passing, kind).after(called.after)),
            _ => called.ok(|body| format!("{kind} {}", body["message"].as_str().unwrap_or_default())),
        }
    }
}

/// A message's id as it stands in headers: nothing that could end a header or name two.
fn message_id(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix('<')?.strip_suffix('>')?;
    let fine = inner.contains('@') && inner.len() <= 400 && inner.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>'));
    fine.then(|| text.trim())
}

/// What somebody wrote, and what they quoted: it begins with the first quoted line and the line that names it, or with the mark
/// of a forwarded mail.
fn split(body: &str) -> (String, String) {
    let marks = ["-----original message-----", "---------- forwarded message", "begin forwarded message"];
    let mut at = 0;
    let mut before: Option<usize> = None;
    for line in body.split_inclusive('\n') {
        let bare = line.trim();
        let small = bare.get(..40.min(bare.len())).unwrap_or(bare).to_ascii_lowercase();
        if bare.starts_with('>') || marks.iter().any(|mark| small.starts_with(mark)) {
            let begins = before.unwrap_or(at);
            return (body[..begins].trim().to_owned(), body[begins..].trim().to_owned());
        }
        // `On ... wrote:` stands above a quote, with an empty line between at most.
        if bare.ends_with(':') {
            before = Some(at);
        } else if !bare.is_empty() {
            before = None;
        }
        at += line.len();
    }
    (body.trim().to_owned(), String::new())
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(text: &str) -> bool {
    split(text).0.len() <= text.len() && Head::read(text.as_bytes()).proven("mx").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_not_the_senders() {
        for (body, own, quoted) in [
            ("yes\n\nOn Monday Bob wrote:\n> /stop\n> now", "yes", "On Monday Bob wrote:\n> /stop\n> now"),
            ("see\r\n---------- Forwarded message ---------\r\n/stop", "see", "---------- Forwarded message ---------\r\n/stop"),
            ("> /stop", "", "> /stop"),
            ("list:\n- a", "list:\n- a", ""),
            ("", "", ""),
        ] {
            assert_eq!(split(body), (own.to_owned(), quoted.to_owned()), "{body}");
        }
        assert_eq!(message_id(" <a@b> "), Some("<a@b>"));
        for bad in ["a@b", "<a@b>\r\nBcc: <x@y>", "<a b@c>", "<>", "<a@b> <c@d>"] {
            assert_eq!(message_id(bad), None, "{bad}");
        }
    }
}
