//! Mail: IMAP in, SMTP out.
//!
//! `From` is a line that anybody can write. A mail counts only when its sender is on the account's list and the server that received
//! it vouches for the sender's domain; all other mails are left out. The cursor is the folder's validity and the last mail's
//! number. A delivery's message id is the same in each try.

mod compose;
mod imap;
mod lines;
mod read;
mod smtp;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use wire::chat::{Abilities, About, Act, Chat, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::backoff::{Backoff, Trouble};
use crate::calls::{Recent, marked, trouble};
use crate::link::Gone;
use crate::network::{Account, DeliverError, File, Network, OpenError, Setup, needs};
use crate::note::Steps;
use crate::sink::Sink;
use crate::text::plain;
use imap::{Imap, Opened};
use lines::{MailError, Safety, Server};

/// Characters of a mail's text.
const TEXT_MAX: u32 = 60_000;
/// The most that the files of one mail may have, in bytes.
const FILES_BYTES_MAX: usize = 20 << 20;
/// Threads whose subject is remembered.
const THREADS_MAX: usize = 2048;
/// The shortest time between two looks at a folder, in seconds.
const POLL_S_MIN: u64 = 1;

/// The network.
pub(crate) struct Email;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The account's own address.
    address: String,
    /// The name that the servers know; else the address.
    user: Option<String>,
    imap: String,
    #[serde(default = "tls")]
    imap_tls: Safety,
    smtp: String,
    #[serde(default = "tls")]
    smtp_tls: Safety,
    #[serde(default = "inbox")]
    folder: String,
    /// Who may write and be written to: addresses, or `@domain`.
    allow: Vec<String>,
    /// The name under which the receiving server writes `Authentication-Results`.
    vouches: String,
    /// How often the folder is looked at, in seconds, where the server does not tell by itself or forgets to.
    #[serde(default = "poll_s")]
    poll_s: u64,
}

fn tls() -> Safety {
    Safety::Tls
}

fn inbox() -> String {
    "INBOX".to_owned()
}

fn poll_s() -> u64 {
    60
}

/// Who counts.
#[derive(Debug, Clone)]
struct Rules {
    address: String,
    allow: Vec<String>,
    vouches: String,
}

impl Rules {
    fn allows(&self, address: &str) -> bool {
        let domain = address.rfind('@').map_or("", |at| &address[at..]);
        self.allow.iter().any(|rule| rule == address || (rule.starts_with('@') && rule == domain))
    }
}

impl Network for Email {
    fn about(&self) -> About {
        About {
            addresses: ["imap", "smtp"].map(str::to_owned).to_vec(),
            ..needs(
                "email",
                "Mail over IMAP and SMTP; imap and smtp are HOST:PORT",
                &[],
                &[("password", "the password of the mailbox, best one for this program alone", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let imap = Server::parse(&config.imap, config.imap_tls).map_err(|why| OpenError::of("imap", why))?;
        let smtp = Server::parse(&config.smtp, config.smtp_tls).map_err(|why| OpenError::of("smtp", why))?;
        let address = config.address.to_ascii_lowercase();
        if !is_address(&address) {
            return Err(OpenError::Config("`address` is no mail address".to_owned()));
        }
        if config.allow.is_empty() || config.vouches.is_empty() {
            return Err(OpenError::Config("`allow` must name somebody, and `vouches` the server that checks who sent a mail".to_owned()));
        }
        let allow = config.allow.iter().map(|rule| rule.to_ascii_lowercase()).collect();
        let rules = Rules { allow, vouches: config.vouches.to_ascii_lowercase(), address };
        let user = config.user.clone().unwrap_or_else(|| rules.address.clone());
        let secret = setup.credentials.line("password")?;
        Ok(Arc::new(Mailbox { config, imap, smtp, rules, user, secret, setup, subjects: Recent::new(THREADS_MAX) }))
    }
}

struct Mailbox {
    config: Config,
    imap: Server,
    smtp: Server,
    rules: Rules,
    user: String,
    secret: Zeroizing<String>,
    setup: Setup,
    /// Subjects by thread and by mail.
    subjects: Recent<String>,
}

/// Why reading ended.
enum End {
    Gone,
    Trouble(Trouble),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<MailError> for End {
    fn from(error: MailError) -> Self {
        Self::Trouble(match error {
            MailError::Credential(_) => Trouble::Credential(error.to_string()),
            _ => Trouble::passing(error),
        })
    }
}

impl From<DeliverError> for End {
    fn from(error: DeliverError) -> Self {
        Self::Trouble(trouble(error))
    }
}

impl Account for Mailbox {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            let mut place = self.setup.cursor.as_deref().and_then(place);
            loop {
                let outcome = tokio::select! {
                    biased;
                    () = self.setup.cancel.cancelled() => return,
                    outcome = self.reading(&mut place, &mut backoff) => outcome,
                };
                let Err(End::Trouble(trouble)) = outcome else { return };
                if !backoff.pause(&trouble, &self.setup.link, &self.setup.cancel).await {
                    return;
                }
            }
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let Act::Send { text, reply_to, .. } = &delivery.act else {
                return Err(DeliverError::never("a mail that was sent cannot be changed"));
            };
            let to = delivery.to.chat.to_ascii_lowercase();
            if !is_address(&to) || !self.rules.allows(&to) {
                return Err(DeliverError::never("this address is not on the list of those that may be written to"));
            }
            if files.iter().map(|file| file.bytes.len()).sum::<usize>() > FILES_BYTES_MAX {
                return Err(DeliverError::never("the files are larger than a mail takes"));
            }
            if text.trim().is_empty() && files.is_empty() {
                return Err(DeliverError::never("there is nothing to send"));
            }
            let (thread, answers) = (delivery.to.thread.as_deref(), reply_to.as_deref());
            let send = |attempt: crate::note::Attempt| async move {
                let subject = self.subject(thread, answers).await;
                let domain = self.rules.address.rsplit_once('@').map_or("", |(_, domain)| domain);
                let id = format!("lazaret.{}@{domain}", attempt.key(43));
                // Most servers show a mail of the same id once; whoever sees it twice is told.
                let text = marked(&plain(text), attempt.doubtful);
                let parts =
                    compose::Parts { from: &self.rules.address, to: &to, subject: &subject, id: &id, thread, answers, text: &text, files };
                let mail = compose::mail(&parts);
                smtp::send(&self.setup.http, &self.smtp, &self.user, &self.secret, &self.rules.address, &to, &mail)
                    .await
                    .map_err(refused)?;
                self.subjects.put(&id, subject);
                Ok(id)
            };
            steps.once("mail", send).await.map(drop)
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut parts = file.split(':').map(str::parse::<u32>);
            let (Some(Ok(validity)), Some(Ok(uid)), Some(Ok(at)), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
                return Err("this is no file of a mail".to_owned());
            };
            let bytes = self.mail(validity, uid).await.map_err(|e| e.to_string())?.ok_or("the mail is gone")?;
            let file = usize::try_from(at).ok().and_then(|at| read::file(&bytes, at)).ok_or("the mail has no such file")?;
            sink.push(&file).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let id = handle.to_ascii_lowercase();
            let known = is_address(&id) && self.rules.allows(&id);
            known.then_some(Chat { id, name: String::new(), group: false }).ok_or_else(|| "this address is not on the list".to_owned())
        })
    }
}

impl Mailbox {
    async fn log_in(&self) -> Result<(Imap, Opened), MailError> {
        let mut imap = Imap::open(&self.setup.http, &self.imap, &self.user, &self.secret).await?;
        let opened = imap.examine(&self.config.folder).await?;
        Ok((imap, opened))
    }

    /// Reads what came, and waits for more.
    async fn reading(&self, place: &mut Option<Opened>, backoff: &mut Backoff) -> Result<(), End> {
        let (mut imap, opened) = self.log_in().await?;
        backoff.well();
        let from = match *place {
            Some(known) if known.validity == opened.validity => known,
            // The folder was made anew: all of it is read, and the host knows by their ids what it had.
            Some(_) => Opened { next: 1, ..opened },
            None => {
                self.setup.began(&format!("{}:{}", opened.validity, opened.next))?;
                opened
            }
        };
        *place = Some(from);
        self.setup.link.ready(Who { id: self.rules.address.clone(), name: String::new(), bot: true }, abilities()).await;
        let mut next = from.next;
        loop {
            for uid in imap.since(next).await? {
                if let Some(bytes) = imap.mail(uid).await? {
                    self.report(&bytes, Opened { next: uid, ..opened }).await?;
                }
                next = uid.saturating_add(1);
                *place = Some(Opened { next, ..opened });
            }
            imap.wait(Duration::from_secs(self.config.poll_s.max(POLL_S_MIN))).await?;
        }
    }

    async fn report(&self, bytes: &[u8], at: Opened) -> Result<(), Gone> {
        let name = format!("{}:{}", at.validity, at.next);
        match read::mail(bytes, &name, &self.rules) {
            Ok(mail) => {
                self.subjects.put(&mail.heard.id, mail.subject.clone());
                if let Some(thread) = &mail.heard.thread {
                    self.subjects.put(thread, mail.subject);
                }
                let cursor = format!("{}:{}", at.validity, at.next.saturating_add(1));
                self.setup.link.report(mail.heard, Some(cursor)).await.map(drop)
            }
            Err(read::Left::Own) => Ok(()),
            Err(left) => {
                self.setup.link.log(&format!("a mail was left out: {left}")).await;
                Ok(())
            }
        }
    }

    async fn mail(&self, validity: u32, uid: u32) -> Result<Option<Vec<u8>>, MailError> {
        let (mut imap, opened) = self.log_in().await?;
        if opened.validity == validity { imap.mail(uid).await } else { Ok(None) }
    }

    /// The subject of what is answered: as it is remembered, or as the mailbox has it.
    async fn subject(&self, thread: Option<&str>, answers: Option<&str>) -> String {
        let ids = [answers, thread];
        let known = ids.into_iter().flatten().find_map(|id| self.subjects.get(id));
        let found = match (known, answers.or(thread).filter(|id| read::is_id(id))) {
            (Some(known), _) => Some(known),
            (None, Some(id)) => self.look_up(id).await.ok().flatten(),
            (None, None) => None,
        };
        match found.filter(|subject| !subject.is_empty()) {
            Some(subject) if subject.to_ascii_lowercase().starts_with("re:") => subject,
            Some(subject) => format!("Re: {subject}"),
            None => format!("A message of {}", self.setup.account),
        }
    }

    async fn look_up(&self, id: &str) -> Result<Option<String>, MailError> {
        let (mut imap, _) = self.log_in().await?;
        let Some(uid) = imap.with_id(id).await?.pop() else { return Ok(None) };
        Ok(imap.mail(uid).await?.and_then(|bytes| read::subject(&bytes)))
    }
}

/// Validity and next number of a cursor.
fn place(cursor: &str) -> Option<Opened> {
    let (validity, next) = cursor.split_once(':')?;
    Some(Opened { validity: validity.parse().ok()?, next: next.parse().ok()? })
}

/// An address that can stand in a head and in a command.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let atom = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b));
    let label = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.len() <= 254 && local.split('.').all(atom) && domain.split('.').all(label)
}

fn refused(error: MailError) -> DeliverError {
    match error {
        MailError::Net(error) => error.into(),
        MailError::Credential(_) => DeliverError::new(Failing::Credential, error.to_string()),
        MailError::Refused { passing, .. } => DeliverError::new(if passing { Failing::Passing } else { Failing::Final }, error.to_string()),
    }
}

fn abilities() -> Abilities {
    Abilities { text_max: TEXT_MAX, file_max: 15 << 20, threads: true, open_dm: true, per_minute: 20, ..Abilities::default() }
}
