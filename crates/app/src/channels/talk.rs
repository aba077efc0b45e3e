//! One connection with the program of a channel: its reports in, its deliveries out. Everything that it says is hostile.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use broker::plugin::{Input, Output};
use model::{Code, Failure, InboundId, OutboxId};
use store::{ChannelRow, OutOutcome, OutRow};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wire::chat::{
    Abilities, CHAT_LINE_BYTES_MAX, CHAT_PIECE_BYTES_MAX, CHAT_REPORTS_MAX, CHAT_VERSION, FromChannel, Health, Heard, ToChannel,
};

use super::{Desk, HookAnswer, IT_CONNECTS, ORDERS_MAX, Order};
use crate::App;
use crate::clock::wait_until;
use crate::delivery::{Lanes, outcome_of};
use crate::live::lock;

/// Lines that wait on their way to the program, and from it.
const LINES_MAX: usize = 64;
/// How long a program that does not read its input is waited for.
const WRITE_WAIT: Duration = Duration::from_secs(30);
/// How long a program may take until its account is accepted.
const READY_WAIT: Duration = Duration::from_secs(120);
/// How long a delivery may take.
const DELIVERY_WAIT: Duration = Duration::from_secs(300);
/// Deliveries that are under way at once.
const DELIVERIES_MAX: usize = 16;
/// Files that are fetched, requests and questions that are answered at once, each.
const ASKED_MAX: usize = 64;
/// How long is waited when the store does not answer.
const RETRY: Duration = Duration::from_secs(2);
/// Characters of what a program says for people.
const TOLD_CHARS_MAX: usize = 500;
/// Lines that a program may log within [`LOG_WINDOW`]; the rest is dropped.
const LOGS_MAX: u32 = 60;
/// Over which time they are counted.
const LOG_WINDOW: Duration = Duration::from_secs(60);

/// A report that waits for those of its chat before it.
struct Reported {
    seq: u64,
    /// Nothing while it is being heard.
    heard: Option<Box<Heard>>,
}

/// Where the pieces of a fetched file go.
type Pieces = mpsc::Sender<Result<(Vec<u8>, bool), String>>;

/// One connection.
pub(super) struct Talk<'a> {
    app: &'a App,
    desk: &'a Arc<Desk>,
    row: ChannelRow,
    abilities: Abilities,
    is_ready: bool,
    /// The report that came last, and the last of those up to which all are durable.
    last: u64,
    acked: u64,
    /// Reports that are durable, beyond the one that is acknowledged, and their cursors.
    cursors: BTreeMap<u64, Option<String>>,
    done: HashSet<u64>,
    /// Reports by chat: while one is heard, the next of its chat wait.
    chats: HashMap<String, VecDeque<Reported>>,
    hearing: JoinSet<(u64, String, Result<(), Failure>)>,
    sending: HashMap<OutboxId, (Instant, OutRow)>,
    feeding: JoinSet<Option<(OutboxId, OutOutcome)>>,
    lanes: Lanes,
    fetches: HashMap<String, Pieces>,
    hooks: HashMap<String, (Instant, oneshot::Sender<HookAnswer>)>,
    dms: HashMap<String, (Instant, oneshot::Sender<Result<wire::chat::Chat, String>>)>,
    asked: u64,
    logs: (Instant, u32),
}

impl<'a> Talk<'a> {
    pub(super) fn new(app: &'a App, desk: &'a Arc<Desk>, row: ChannelRow) -> Self {
        Self {
            app,
            desk,
            row,
            abilities: Abilities::default(),
            is_ready: false,
            last: 0,
            acked: 0,
            cursors: BTreeMap::new(),
            done: HashSet::new(),
            chats: HashMap::new(),
            hearing: JoinSet::new(),
            sending: HashMap::new(),
            feeding: JoinSet::new(),
            lanes: Lanes::default(),
            fetches: HashMap::new(),
            hooks: HashMap::new(),
            dms: HashMap::new(),
            asked: 0,
            logs: (Instant::now(), 0),
        }
    }

    /// Talks until the program ends or says what it must not.
    pub(super) async fn run(mut self, input: Box<dyn Input>, output: Box<dyn Output>) -> Result<(), Failure> {
        let (to, lines) = mpsc::channel::<ToChannel>(LINES_MAX);
        let (said, from) = mpsc::channel::<Result<FromChannel, String>>(LINES_MAX);
        let (orders, asked) = mpsc::channel(ORDERS_MAX);
        let mut ways = JoinSet::new();
        ways.spawn(write(input, lines));
        ways.spawn(read(output, said));
        *lock(&self.desk.orders) = Some(orders);
        // What a person must mend stays said until it is mended.
        if !self.desk.waits_for_a_person() {
            self.desk.tell(Some(Health::Connecting), IT_CONNECTS);
        }
        let config = self.row.config.as_object().cloned().unwrap_or_default();
        let start = ToChannel::Start { v: CHAT_VERSION, account: self.row.name.clone(), config, cursor: self.row.cursor.clone() };
        put(&to, start).await?;
        self.serve(&to, from, asked).await
    }

    async fn serve(
        &mut self,
        to: &mpsc::Sender<ToChannel>,
        mut from: mpsc::Receiver<Result<FromChannel, String>>,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<(), Failure> {
        let until_ready = Instant::now() + READY_WAIT;
        let mut due: Option<model::Timestamp> = None;
        let mut looks = true;
        loop {
            if looks && self.is_ready {
                looks = false;
                due = self.deliver(to).await?;
            }
            let patience = self.patience(until_ready);
            tokio::select! {
                said = from.recv() => match said {
                    Some(Ok(said)) => looks |= self.hear(said, to).await?,
                    Some(Err(why)) => return Err(wrong(&why)),
                    None => return Ok(()),
                },
                Some(heard) = self.hearing.join_next(), if !self.hearing.is_empty() => {
                    self.heard(heard)?;
                    // What the same commit made durable is acknowledged together, behind one cursor.
                    while let Some(heard) = self.hearing.try_join_next() {
                        self.heard(heard)?;
                    }
                    self.acknowledge(to).await?;
                }
                Some(fed) = self.feeding.join_next(), if !self.feeding.is_empty() => looks |= self.fed(fed).await?,
                Some(order) = orders.recv() => self.take(order, to).await?,
                () = self.desk.wake.notified() => looks = true,
                () = at(due), if self.is_ready && self.sending.len() < DELIVERIES_MAX => looks = true,
                () = tokio::time::sleep_until(patience) => self.lose_patience(until_ready)?,
            }
        }
    }

    /// When something that is waited for has taken too long.
    fn patience(&self, until_ready: Instant) -> Instant {
        let waits = self.sending.values().map(|(until, _)| *until);
        let waits = waits.chain(self.hooks.values().map(|(until, _)| *until)).chain(self.dms.values().map(|(until, _)| *until));
        let waits = waits.chain((!self.is_ready).then_some(until_ready));
        waits.min().unwrap_or_else(|| Instant::now() + DELIVERY_WAIT)
    }

    fn lose_patience(&mut self, until_ready: Instant) -> Result<(), Failure> {
        let at = Instant::now();
        self.hooks.retain(|_, (until, _)| *until > at);
        self.dms.retain(|_, (until, _)| *until > at);
        // One that waits for a person says so, and is left to wait.
        if !self.is_ready && until_ready <= at && !self.desk.waits_for_a_person() {
            return Err(wrong("it was not ready in time"));
        }
        if self.sending.values().any(|(until, _)| *until <= at) {
            return Err(wrong("it did not answer for a delivery in time"));
        }
        Ok(())
    }

    /// Takes what the program says. Says whether deliveries are to be looked for.
    async fn hear(&mut self, said: FromChannel, to: &mpsc::Sender<ToChannel>) -> Result<bool, Failure> {
        match said {
            FromChannel::Ready { v, me, abilities } => {
                if v != CHAT_VERSION {
                    return Err(wrong("it speaks another version of the protocol"));
                }
                self.ready(serde_json::json!(me), *abilities).await?;
                return Ok(true);
            }
            FromChannel::Report { seq, cursor, event } => self.report(seq, cursor, event)?,
            FromChannel::Delivered { .. } | FromChannel::Failed { .. } => return self.settle(said).await,
            FromChannel::WebhookAnswer { id, status, headers, body } => {
                if let Some((_, answer)) = self.hooks.remove(&id) {
                    let body = base64::engine::general_purpose::STANDARD.decode(body).map_err(|_| wrong("an answer is no base64"))?;
                    // Whoever waited may be gone.
                    let _ = answer.send(HookAnswer { status, headers, body });
                }
            }
            FromChannel::Dm { id, chat, error } => {
                if let Some((_, answer)) = self.dms.remove(&id) {
                    let _ = answer.send(chat.ok_or_else(|| told(&error.unwrap_or_default())));
                }
            }
            FromChannel::Piece(piece) => self.piece(&piece)?,
            FromChannel::NoFile { id, message } => {
                if let Some(pieces) = self.fetches.remove(&id) {
                    let _ = pieces.try_send(Err(told(&message)));
                }
            }
            FromChannel::Health { state, message } => {
                self.desk.tell(Some(state), self.app.secrets().clean(told(&message)));
            }
            FromChannel::Log { message } => {
                if self.logs.0.elapsed() > LOG_WINDOW {
                    self.logs = (Instant::now(), 0);
                }
                self.logs.1 += 1;
                if self.logs.1 <= LOGS_MAX {
                    tracing::info!(channel = self.row.name, said = self.app.secrets().clean(told(&message)), "a channel says");
                }
            }
        }
        let _ = to;
        Ok(false)
    }

    async fn ready(&mut self, me: serde_json::Value, abilities: Abilities) -> Result<(), Failure> {
        let store = self.app.store();
        let known = serde_json::json!(abilities);
        store.channel_ready(&self.row.name, me.clone(), known).await.map_err(|e| e.failure())?;
        self.abilities = abilities;
        if !self.is_ready {
            // What an earlier connection was about is asked about again, under the same identity.
            store.release_out(&self.row.name, crate::now()).await.map_err(|e| e.failure())?;
            self.app.go_on_hosting(&self.row.name);
            self.app.tell_of_admissions(&self.row.name);
        }
        self.is_ready = true;
        self.desk.tell(Some(Health::Well), "connected");
        model::crash::point("channel:ready");
        Ok(())
    }

    fn report(&mut self, seq: u64, cursor: Option<String>, event: Box<Heard>) -> Result<(), Failure> {
        if seq != self.last + 1 {
            return Err(wrong("its reports are not numbered one after the other"));
        }
        if seq - self.acked > CHAT_REPORTS_MAX as u64 {
            return Err(wrong("it does not wait for acknowledgements"));
        }
        self.last = seq;
        self.cursors.insert(seq, cursor);
        let chat = event.chat.id.clone();
        let queue = self.chats.entry(chat.clone()).or_default();
        queue.push_back(Reported { seq, heard: Some(event) });
        if queue.len() == 1 {
            self.begin_hearing(chat);
        }
        Ok(())
    }

    /// Begins to hear the first report of a chat.
    fn begin_hearing(&mut self, chat: String) {
        let first = self.chats.get_mut(&chat).and_then(VecDeque::front_mut);
        let Some((seq, heard)) = first.and_then(|first| Some((first.seq, first.heard.take()?))) else { return };
        let (app, channel) = (self.app.clone(), self.row.name.clone());
        self.hearing.spawn(async move {
            let id = InboundId::from_bits(crate::clock::fresh_bits());
            let hearing = app.clone();
            // What was kept is acted on also when the channel's program ends meanwhile: told again, it is known.
            let outcome = app.see_through(async move { hearing.hear_report(&channel, id, *heard).await }).await;
            (seq, chat, outcome)
        });
    }

    /// A report is durable: the next of its chat may follow.
    fn heard(&mut self, heard: Result<(u64, String, Result<(), Failure>), tokio::task::JoinError>) -> Result<(), Failure> {
        let (seq, chat, outcome) = heard.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        outcome?;
        self.done.insert(seq);
        let waits = self.chats.get_mut(&chat).is_some_and(|queue| {
            queue.pop_front();
            !queue.is_empty()
        });
        if waits {
            self.begin_hearing(chat);
        } else {
            self.chats.remove(&chat);
        }
        Ok(())
    }

    /// Acknowledges all reports up to the first that is not durable.
    async fn acknowledge(&mut self, to: &mpsc::Sender<ToChannel>) -> Result<(), Failure> {
        let mut cursor = None;
        let before = self.acked;
        while self.done.remove(&(self.acked + 1)) {
            self.acked += 1;
            if let Some(Some(at)) = self.cursors.remove(&self.acked) {
                cursor = Some(at);
            }
        }
        if let Some(cursor) = cursor {
            self.app.store().channel_cursor(&self.row.name, cursor).await.map_err(|e| e.failure())?;
        }
        if self.acked > before {
            model::crash::point("channel:heard");
            put(to, ToChannel::Ack { seq: self.acked }).await?;
        }
        Ok(())
    }

    /// Gives the program what is due. Says when to look again.
    async fn deliver(&mut self, to: &mpsc::Sender<ToChannel>) -> Result<Option<model::Timestamp>, Failure> {
        let room = DELIVERIES_MAX.saturating_sub(self.sending.len());
        if room == 0 {
            return Ok(None);
        }
        let at = crate::now();
        let store = self.app.store();
        let next = match store.next_out(&self.row.name).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(channel = self.row.name, error = model::chain(&error), "deliveries wait for the store");
                tokio::time::sleep(RETRY).await;
                return Ok(Some(at));
            }
        };
        if next.is_none_or(|next| next > at) {
            return Ok(next);
        }
        let rows = store.claim_out(&self.row.name, room, at).await.map_err(|e| e.failure())?;
        model::crash::point("out:claimed");
        for row in rows {
            self.sending.insert(row.id.clone(), (Instant::now() + DELIVERY_WAIT, row.clone()));
            let (app, to, abilities) = (self.app.clone(), to.clone(), self.abilities.clone());
            self.feeding.spawn(async move { app.feed(&row, &abilities, &to).await.err().map(|outcome| (row.id, outcome)) });
        }
        Ok(store.next_out(&self.row.name).await.map_err(|e| e.failure())?.filter(|next| *next > at))
    }

    /// A delivery was handed to the program, or cannot even be tried: then no answer of it is waited for. Says whether deliveries are
    /// to be looked for.
    async fn fed(&mut self, fed: Result<Option<(OutboxId, OutOutcome)>, tokio::task::JoinError>) -> Result<bool, Failure> {
        let Some((id, outcome)) = fed.map_err(|e| Failure::new(Code::Internal, e.to_string()))? else { return Ok(false) };
        self.sending.remove(&id);
        self.app.store().out_tried(&id, outcome, crate::now()).await.map_err(|e| e.failure())?;
        Ok(true)
    }

    /// The program answers for a delivery.
    async fn settle(&mut self, said: FromChannel) -> Result<bool, Failure> {
        let id = match &said {
            FromChannel::Delivered { id, .. } | FromChannel::Failed { id, .. } => id,
            _ => return Ok(false),
        };
        let Ok(id) = id.parse::<OutboxId>() else { return Err(wrong("it answers for a delivery that there is not")) };
        // One that was asked about twice, or given up meanwhile.
        let Some((_, row)) = self.sending.remove(&id) else { return Ok(false) };
        let at = crate::now();
        let mut outcome = outcome_of(&row, &said, self.abilities.idempotent, at);
        if let OutOutcome::Sent(_, next) = &mut outcome {
            *next = self.lanes.sent(&row.chat, self.abilities.per_minute, at);
        }
        if let OutOutcome::Again(_, error) | OutOutcome::Dead(error) = &mut outcome {
            *error = self.app.secrets().clean(told(error));
        }
        model::crash::point("out:answered");
        self.app.out_settled(&row, outcome, at).await?;
        Ok(true)
    }

    fn piece(&mut self, piece: &wire::chat::Piece) -> Result<(), Failure> {
        // A file that nobody wants any more.
        let Some(pieces) = self.fetches.get(&piece.id) else { return Ok(()) };
        let bytes = base64::engine::general_purpose::STANDARD.decode(&piece.data).map_err(|_| wrong("a piece is no base64"))?;
        if bytes.len() > CHAT_PIECE_BYTES_MAX {
            return Err(wrong("a piece of a file is too large"));
        }
        // Whoever writes them to the disk is slow, or gone: the file is given up, and says so.
        if pieces.try_send(Ok((bytes, piece.last))).is_err() || piece.last {
            self.fetches.remove(&piece.id);
        }
        Ok(())
    }

    async fn take(&mut self, order: Order, to: &mpsc::Sender<ToChannel>) -> Result<(), Failure> {
        self.asked += 1;
        let until = Instant::now() + DELIVERY_WAIT;
        match order {
            Order::Webhook(request, answer) if self.is_ready && self.hooks.len() < ASKED_MAX => {
                let id = format!("w{}", self.asked);
                self.hooks.insert(id.clone(), (until, answer));
                let body = base64::engine::general_purpose::STANDARD.encode(&request.body);
                let (method, path, headers) = (request.method, request.path, request.headers);
                put(to, ToChannel::Webhook { id, method, path, headers, body }).await
            }
            Order::Fetch { id, max, pieces } if self.fetches.len() < ASKED_MAX && !self.fetches.contains_key(&id) => {
                self.fetches.insert(id.clone(), pieces);
                put(to, ToChannel::Fetch { id, max }).await
            }
            Order::OpenDm { handle, answer } if self.is_ready && self.abilities.open_dm && self.dms.len() < ASKED_MAX => {
                let id = format!("d{}", self.asked);
                self.dms.insert(id.clone(), (until, answer));
                put(to, ToChannel::OpenDm { id, handle }).await
            }
            Order::Typing { to: place, on } if self.is_ready && self.abilities.typing => put(to, ToChannel::Typing { to: place, on }).await,
            // Whoever asked is told by the other end of what is dropped here.
            Order::Webhook(..) | Order::Fetch { .. } | Order::OpenDm { .. } | Order::Typing { .. } => Ok(()),
        }
    }
}

async fn at(due: Option<model::Timestamp>) {
    match due {
        Some(due) => wait_until(due).await,
        None => std::future::pending().await,
    }
}

fn wrong(why: &str) -> Failure {
    Failure::new(Code::PluginError, format!("the program of the channel was ended: {why}"))
}

/// What a program says for people: short, on one line.
fn told(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TOLD_CHARS_MAX).collect()
}

/// Puts a line on its way. A program that does not read is given up.
pub(super) async fn put(to: &mpsc::Sender<ToChannel>, line: ToChannel) -> Result<(), Failure> {
    match tokio::time::timeout(WRITE_WAIT, to.send(line)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(wrong("it closed its input")),
        Err(_) => Err(wrong("it does not read its input")),
    }
}

async fn write(mut input: Box<dyn Input>, mut lines: mpsc::Receiver<ToChannel>) {
    while let Some(line) = lines.recv().await {
        let Ok(mut text) = serde_json::to_vec(&line) else { continue };
        text.push(b'\n');
        if input.write(&text).await.is_err() {
            return;
        }
    }
}

async fn read(mut output: Box<dyn Output>, said: mpsc::Sender<Result<FromChannel, String>>) {
    let mut held: Vec<u8> = Vec::new();
    loop {
        let Ok(Some(bytes)) = output.read().await else { return };
        let mut rest = bytes.as_ref();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            held.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut held);
            if line.len() > CHAT_LINE_BYTES_MAX {
                let _ = said.send(Err("a line is too long".to_owned())).await;
                return;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let read = serde_json::from_slice::<FromChannel>(&line).map_err(|e| format!("a line is none of the protocol: {e}"));
            let is_wrong = read.is_err();
            if said.send(read).await.is_err() || is_wrong {
                return;
            }
        }
        held.extend_from_slice(rest);
        if held.len() > CHAT_LINE_BYTES_MAX {
            let _ = said.send(Err("a line is too long".to_owned())).await;
            return;
        }
    }
}
