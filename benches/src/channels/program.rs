//! A channel whose platform is this file: requests that are posted to it are messages, and it can flood its host with as many as the
//! protocol takes.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use wire::chat::{Abilities, About, CHAT_REPORTS_MAX, CHAT_VERSION, Chat, FromChannel, Health, Heard, HeardKind, ToChannel, Who};

/// Its network.
pub(crate) const NETWORK: &str = "bench";

/// Does what a channel's program is asked for, if these are its arguments.
pub(crate) fn run(args: &[String]) -> Option<Result<()>> {
    match args {
        [verb, network] if verb == "about" && network == NETWORK => Some(about()),
        [verb, network] if verb == "run" && network == NETWORK => Some(talk()),
        _ => None,
    }
}

fn about() -> Result<()> {
    let about = About { network: NETWORK.to_owned(), webhooks: true, ..About::default() };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&about)?).context("failed to say what is needed")
}

/// What is to be said without being asked.
#[derive(Default)]
struct Flood {
    /// Messages that are still to be reported.
    left: u64,
    all: u64,
    chats: u64,
    began: Option<Instant>,
}

struct Talk {
    out: std::io::BufWriter<std::io::Stdout>,
    seq: u64,
    acked: u64,
    flood: Flood,
    /// Requests that are answered when their report is durable.
    asked: BTreeMap<u64, String>,
    sent: HashMap<String, String>,
}

fn talk() -> Result<()> {
    let out = std::io::BufWriter::new(std::io::stdout());
    let mut talk = Talk { out, seq: 0, acked: 0, flood: Flood::default(), asked: BTreeMap::new(), sent: HashMap::new() };
    for line in std::io::stdin().lock().lines() {
        let line: ToChannel = serde_json::from_str(&line?)?;
        if matches!(line, ToChannel::Stop) {
            break;
        }
        talk.hear(line)?;
        talk.out.flush()?;
    }
    Ok(())
}

impl Talk {
    fn say(&mut self, line: &FromChannel) -> Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        Ok(self.out.write_all(b"\n")?)
    }

    fn hear(&mut self, line: ToChannel) -> Result<()> {
        match line {
            ToChannel::Start { config, .. } => self.start(&config),
            ToChannel::Ack { seq } => self.ack(seq),
            ToChannel::Deliver(delivery) => {
                let messages = vec![self.sent.entry(delivery.id.clone()).or_insert_with(|| format!("p-{}", delivery.id)).clone()];
                self.say(&FromChannel::Delivered { id: delivery.id, messages, again: false })
            }
            ToChannel::Webhook { id, body, .. } => {
                let text = base64(&body).context("a request that is no base64")?;
                let asked: Value = serde_json::from_slice(&text)?;
                let word = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
                self.report(&word("id"), &word("chat"), word("text"), None)?;
                self.asked.insert(self.seq, id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, config: &Map<String, Value>) -> Result<()> {
        let me = Who { id: "me".to_owned(), name: String::new(), bot: true };
        let abilities = Abilities { text_max: 4000, per_minute: 1_000_000, ..Abilities::default() };
        self.say(&FromChannel::Ready { v: CHAT_VERSION, me, abilities: Box::new(abilities) })?;
        let number = |key: &str| config.get(key).and_then(Value::as_u64).unwrap_or(0);
        self.flood =
            Flood { left: number("messages"), all: number("messages"), chats: number("chats").max(1), began: Some(Instant::now()) };
        self.pour()
    }

    /// Reports as much as may be outstanding.
    fn pour(&mut self) -> Result<()> {
        while self.flood.left > 0 && self.seq - self.acked < CHAT_REPORTS_MAX as u64 {
            self.flood.left -= 1;
            let n = self.flood.left;
            let chat = format!("c{}", n % self.flood.chats);
            self.report(&format!("m{n}"), &chat, "one of many".to_owned(), Some(n.to_string()))?;
        }
        Ok(())
    }

    fn ack(&mut self, seq: u64) -> Result<()> {
        self.acked = seq;
        while let Some(first) = self.asked.first_entry().filter(|first| *first.key() <= seq) {
            let id = first.remove();
            self.say(&FromChannel::WebhookAnswer { id, status: 200, headers: Vec::new(), body: String::new() })?;
        }
        self.pour()?;
        if self.flood.all > 0 && self.flood.left == 0 && self.acked == self.seq {
            let took = self.flood.began.take().map(|began| began.elapsed().as_micros()).unwrap_or_default();
            self.flood.all = 0;
            self.say(&FromChannel::Health { state: Health::Well, message: format!("done {took}") })?;
        }
        Ok(())
    }

    fn report(&mut self, id: &str, chat: &str, text: String, cursor: Option<String>) -> Result<()> {
        self.seq += 1;
        let heard = Heard {
            kind: HeardKind::Message,
            id: id.to_owned(),
            chat: Chat { id: chat.to_owned(), name: String::new(), group: chat.starts_with('c') },
            thread: None,
            sender: Who { id: "ann".to_owned(), name: "Ann".to_owned(), bot: false },
            text,
            mention: false,
            quoted: None,
            about: None,
            value: None,
            files: Vec::new(),
            at_ms: 1,
        };
        self.say(&FromChannel::Report { seq: self.seq, cursor, event: Box::new(heard) })
    }
}

/// The bytes behind base64 with its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        held = held << 6 | u32::from(digit(byte)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}
