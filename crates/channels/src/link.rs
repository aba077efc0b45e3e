//! The way to the host: reports within a window of what may be outstanding, health, log.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc, watch};
use wire::chat::{Abilities, CHAT_LINE_BYTES_MAX, CHAT_REPORTS_MAX, CHAT_TEXT_BYTES_MAX, CHAT_VERSION, FromChannel, Health, Heard, Who};

/// Lines on their way to the host; when so many wait, whoever says more waits too.
pub(crate) const LINES_MAX: usize = 64;
/// The longest id of the platform's that is handed on, in bytes; a thing with a longer one cannot be told apart and is left out.
const ID_BYTES_MAX: usize = 1024;
/// The longest name for showing.
const NAME_BYTES_MAX: usize = 256;
/// The longest quoted text.
const QUOTED_BYTES_MAX: usize = 32 << 10;
/// Files of one message that are handed on.
const FILES_MAX: usize = 64;
/// The longest line for the log.
const LOG_BYTES_MAX: usize = 2000;

/// The host is gone, or wants no more: whoever reports ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host takes no more")]
pub(crate) struct Gone;

/// A cheap handle.
#[derive(Clone)]
pub(crate) struct Link {
    parts: Arc<Parts>,
}

struct Parts {
    /// `None` once nothing more is to be said. Never held across an await.
    lines: Mutex<Option<mpsc::Sender<FromChannel>>>,
    /// The number of the last report; held while it is written, so that they leave in order.
    last: AsyncMutex<u64>,
    /// One permit for each report that may still be made.
    room: Semaphore,
    /// The number up to which all is durable.
    acked: watch::Sender<u64>,
    /// What was last said about how the channel is, and whether it was ready. Never held across an await.
    said: Mutex<(Option<(Health, String)>, bool)>,
}

impl Link {
    /// A link, and what is to be written to the host.
    pub(crate) fn new() -> (Self, mpsc::Receiver<FromChannel>) {
        let (lines, written) = mpsc::channel(LINES_MAX);
        let parts = Parts {
            lines: Mutex::new(Some(lines)),
            last: AsyncMutex::new(0),
            room: Semaphore::new(CHAT_REPORTS_MAX),
            acked: watch::Sender::new(0),
            said: Mutex::new((None, false)),
        };
        (Self { parts: Arc::new(parts) }, written)
    }

    /// Tells the host what happened, with the place to go on after it. Waits when too much is outstanding.
    ///
    /// # Errors
    /// The host is gone.
    pub(crate) async fn report(&self, heard: Heard, cursor: Option<String>) -> Result<u64, Gone> {
        let Some(heard) = bounded(heard) else {
            self.log("something came with an id too long to be told apart; it was left out").await;
            return Ok(*self.parts.last.lock().await);
        };
        let room = self.parts.room.acquire().await.map_err(|_| Gone)?;
        model::crash::point("channel:reporting");
        let mut last = self.parts.last.lock().await;
        let lines = self.lines().ok_or(Gone)?;
        let line = lines.reserve().await.map_err(|_| Gone)?;
        // Nothing is waited for from here on: whoever gives a report up before has taken neither room nor a number.
        *last += 1;
        line.send(FromChannel::Report { seq: *last, cursor, event: Box::new(heard) });
        room.forget();
        Ok(*last)
    }

    /// Waits until the host has everything up to this report for good.
    ///
    /// # Errors
    /// The host is gone.
    pub(crate) async fn acked(&self, seq: u64) -> Result<(), Gone> {
        self.parts.acked.subscribe().wait_for(|acked| *acked >= seq).await.map(drop).map_err(|_| Gone)?;
        if self.parts.room.is_closed() { Err(Gone) } else { Ok(()) }
    }

    /// Reports, and waits until the host has it for good.
    ///
    /// # Errors
    /// The host is gone.
    pub(crate) async fn tell(&self, heard: Heard, cursor: Option<String>) -> Result<(), Gone> {
        let seq = self.report(heard, cursor).await?;
        self.acked(seq).await
    }

    /// The credential was accepted. Says so once, and from then on that all is well.
    pub(crate) async fn ready(&self, me: Who, abilities: Abilities) {
        let first = {
            let mut said = self.said();
            let first = !said.1;
            said.1 = true;
            first
        };
        if first {
            self.say(FromChannel::Ready { v: CHAT_VERSION, me, abilities: Box::new(abilities) }).await;
        }
        self.health(Health::Well, "").await;
    }

    /// Says how the channel is, where that is something else than before.
    pub(crate) async fn health(&self, state: Health, message: &str) {
        let message = cut(message, LOG_BYTES_MAX);
        {
            let mut said = self.said();
            let now = (state, message.clone());
            if said.0.as_ref() == Some(&now) {
                return;
            }
            said.0 = Some(now);
        }
        self.say(FromChannel::Health { state, message }).await;
    }

    /// A line for the log. No credential, and no text of anybody's.
    pub(crate) async fn log(&self, message: &str) {
        self.say(FromChannel::Log { message: cut(message, LOG_BYTES_MAX) }).await;
    }

    /// Writes a line to the host; one that is gone hears nothing.
    pub(crate) async fn say(&self, line: FromChannel) {
        if let Some(lines) = self.lines() {
            let _ = lines.send(line).await;
        }
    }

    /// The host acknowledged. A number that was never reported counts as the last one that was.
    pub(crate) async fn on_ack(&self, seq: u64) {
        let last = *self.parts.last.lock().await;
        let seq = seq.min(last);
        model::crash::point("channel:acked");
        let mut newly = 0;
        self.parts.acked.send_if_modified(|acked| {
            newly = seq.saturating_sub(*acked);
            *acked = seq.max(*acked);
            newly > 0
        });
        self.parts.room.add_permits(usize::try_from(newly).unwrap_or(0));
    }

    /// Whoever waits for the host is let go.
    pub(crate) fn close(&self) {
        self.parts.room.close();
        self.parts.acked.send_modify(|acked| *acked = u64::MAX);
    }

    /// Nothing more is said after what was.
    pub(crate) fn end(&self) {
        self.close();
        self.parts.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn lines(&self) -> Option<mpsc::Sender<FromChannel>> {
        self.parts.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn said(&self) -> std::sync::MutexGuard<'_, (Option<(Health, String)>, bool)> {
        self.parts.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings what a platform said under the limits of the protocol. `None` when it cannot be told apart from others.
fn bounded(mut heard: Heard) -> Option<Heard> {
    let ids = [Some(&heard.id), Some(&heard.chat.id), Some(&heard.sender.id), heard.thread.as_ref(), heard.about.as_ref()];
    if ids.into_iter().flatten().any(|id| id.len() > ID_BYTES_MAX) || heard.id.is_empty() || heard.chat.id.is_empty() {
        return None;
    }
    heard.text = clean(&heard.text, CHAT_TEXT_BYTES_MAX);
    heard.chat.name = line(&heard.chat.name);
    heard.sender.name = line(&heard.sender.name);
    heard.value = heard.value.map(|value| cut(&value, ID_BYTES_MAX));
    if let Some(quoted) = &mut heard.quoted {
        quoted.text = clean(&quoted.text, QUOTED_BYTES_MAX);
        quoted.id = quoted.id.take().filter(|id| id.len() <= ID_BYTES_MAX);
        if let Some(sender) = &mut quoted.sender {
            sender.name = line(&sender.name);
            sender.id = cut(&sender.id, ID_BYTES_MAX);
        }
    }
    heard.files.retain(|file| file.id.len() <= 2 * ID_BYTES_MAX && !file.id.chars().any(char::is_control));
    heard.files.truncate(FILES_MAX);
    for file in &mut heard.files {
        file.name = line(&file.name);
        file.mime = line(&file.mime);
    }
    // Text of 256 KiB that is all quotes and backslashes is twice as long on the line; nothing else can grow.
    debug_assert!(serde_json::to_string(&heard).is_ok_and(|line| line.len() < CHAT_LINE_BYTES_MAX));
    Some(heard)
}

/// Cuts at a whole character.
pub(crate) fn cut(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

/// Text without control characters but for line ends and tabs, which would only be of use against a terminal.
fn clean(text: &str, max: usize) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    cut(&kept, max)
}

fn line(text: &str) -> String {
    let kept: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&kept, NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use wire::chat::{Chat, HeardKind};

    fn heard(id: &str, text: &str) -> Heard {
        let who = Who { id: "u".to_owned(), name: String::new(), bot: false };
        let chat = Chat { id: "c".to_owned(), name: String::new(), group: false };
        Heard {
            kind: HeardKind::Message,
            id: id.to_owned(),
            chat,
            thread: None,
            sender: who,
            text: text.to_owned(),
            mention: false,
            quoted: None,
            about: None,
            value: None,
            files: Vec::new(),
            at_ms: 0,
        }
    }

    #[tokio::test]
    async fn no_more_is_outstanding_than_may_be() {
        let (link, mut lines) = Link::new();
        let writer = link.clone();
        let writing = async move {
            for n in 0..=CHAT_REPORTS_MAX {
                writer.report(heard(&n.to_string(), ""), None).await.unwrap();
            }
        };
        let reading = async {
            for expect in 1..=CHAT_REPORTS_MAX as u64 {
                assert!(matches!(lines.recv().await, Some(FromChannel::Report { seq, .. }) if seq == expect));
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
                assert!(lines.try_recv().is_err(), "a report beyond the window");
            }
            // A number that was never given counts for no more than there were.
            link.on_ack(1).await;
            link.on_ack(1).await;
            assert!(matches!(lines.recv().await, Some(FromChannel::Report { seq: 257, .. })));
        };
        tokio::join!(writing, reading);
        link.on_ack(u64::MAX).await;
        assert_eq!(link.acked(257).await, Ok(()));
        assert_eq!(link.parts.room.available_permits(), CHAT_REPORTS_MAX);
        link.close();
        assert_eq!(link.acked(9999).await, Err(Gone));
        assert_eq!(link.report(heard("x", ""), None).await, Err(Gone));
    }

    #[tokio::test]
    async fn a_report_that_is_given_up_takes_neither_room_nor_number() {
        let (link, mut lines) = Link::new();
        let held = link.parts.last.lock().await;
        assert!(link.report(heard("before its number", ""), None).now_or_never().is_none());
        drop(held);
        for n in 0..LINES_MAX {
            link.report(heard(&n.to_string(), ""), None).await.unwrap();
        }
        // Nobody reads: there is no place for its line.
        assert!(link.report(heard("before its line", ""), None).now_or_never().is_none());
        assert_eq!(link.parts.room.available_permits(), CHAT_REPORTS_MAX - LINES_MAX);
        lines.recv().await.unwrap();
        assert_eq!(link.report(heard("next", ""), None).await, Ok(LINES_MAX as u64 + 1));
    }

    #[test]
    fn what_a_platform_says_fits_a_line() {
        let all = "\u{1}\u{7}\"\\".repeat(CHAT_LINE_BYTES_MAX / 4);
        let mut worst = heard("1", &all);
        worst.chat.name.clone_from(&all);
        worst.sender.name.clone_from(&all);
        worst.quoted = Some(wire::chat::Quoted { id: Some(all.clone()), sender: None, text: all.clone(), forwarded: true });
        worst.value = Some("\"".repeat(9999));
        let some = &all[..1024];
        let file = wire::chat::Attachment { id: "\"".repeat(2048), name: some.to_owned(), mime: some.to_owned(), size: None };
        worst.files = vec![file; 99];
        let bounded = bounded(worst).unwrap();
        assert_eq!(bounded.files.len(), FILES_MAX);
        assert!(bounded.quoted.unwrap().id.is_none());
        assert!(super::bounded(heard(&"x".repeat(ID_BYTES_MAX + 1), "")).is_none());
        assert!(super::bounded(heard("", "")).is_none());
    }
}
