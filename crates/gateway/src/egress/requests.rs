//! Requests that are looked at, one after the other: each is judged by itself, goes out in one canonical form, and its answer
//! is carried as it comes.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::poll_fn;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{Answer, Ending, framed};
use super::body::{Body, Framing};
use super::bound::{Finder, Scrubbers};
use super::head::{Aim, HEAD_BYTES_MAX, Head, HeadError, Target, parse_head};
use super::hello::{Gate, HelloError};
use super::link::{Link, Outgoing};
use super::path::canonical_path;
use super::policy::{Asked, Policy, Report, shown};
use super::pump::carry;
use super::serve::{Account, Egress, farewell};
use super::stream::Scrubbed;
use super::{Inspection, Refusal};

/// Pieces of a body that wait for the host.
const PIECES_MAX: usize = 4;
/// Bytes that are read from a client at once.
const READ_BYTES: usize = 64 << 10;
/// How long a connection waits for another request.
const KEEP: Duration = Duration::from_secs(60);
/// What a client is told that waits for a word before it sends the body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The requests of one connection.
pub(super) struct Requests<'a> {
    pub(super) egress: &'a Egress,
    pub(super) policy: &'a Policy,
    /// The tunnel that they come through.
    pub(super) within: Option<Target>,
    /// What seals the way to the host; without it requests go in the clear.
    pub(super) seal: Option<&'a Inspection>,
    pub(super) link: Option<Link>,
}

/// How a request ended that did not end well.
enum Stop {
    /// The client can still be told.
    Tell(Refusal),
    /// The answer has begun.
    Cut(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Tell(refusal)
    }
}

/// How an exchange ended well.
enum Done {
    /// Whether the answer is whole and the connection good for another request.
    Answered(bool),
    /// The host agreed to go on as a WebSocket.
    Switched(Upgraded, Bytes),
}

impl Requests<'_> {
    /// Serves requests until the client is done or one is refused; `first` was read already.
    pub(super) async fn serve<S>(mut self, client: &mut S, buffer: &mut BytesMut, first: Option<Head>, account: &mut Account<'_>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut next = first;
        let mut wait = self.egress.limits().head;
        loop {
            let head = match next.take() {
                Some(head) => head,
                None => match timeout(wait, read_head(client, buffer, self.within.as_ref())).await {
                    Ok(Ok(Some(head))) => head,
                    // Nothing is half said.
                    Ok(Ok(None)) => return,
                    Err(_) if buffer.is_empty() && account.is_told => return,
                    Err(_) => return refuse(client, Refusal::SlowHead, account).await,
                    Ok(Err(Refusal::Broken)) if account.is_told => return,
                    Ok(Err(refusal)) => return refuse(client, refusal, account).await,
                },
            };
            wait = KEEP;
            account.begin(&head.target);
            let ended = self.one(client, buffer, head, &mut account.report).await;
            match ended {
                Ok(keep) => {
                    account.tell(None);
                    if !keep {
                        let _ = timeout(KEEP, client.shutdown()).await;
                        return;
                    }
                }
                Err(Stop::Tell(refusal)) => return refuse(client, refusal, account).await,
                Err(Stop::Cut(refusal)) => return account.tell(Some(refusal)),
            }
        }
    }

    /// One request. Says whether another may follow.
    async fn one<S>(&mut self, client: &mut S, buffer: &mut BytesMut, mut head: Head, report: &mut Report) -> Result<bool, Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (policy, target) = (self.policy, head.target.clone());
        let Aim::Resource(resource) = head.aim.clone() else { return Err(Refusal::Head(HeadError::Method("a tunnel")).into()) };
        let path = canonical_path(&resource);
        let raw = resource.split_once('?').map_or(resource.as_str(), |(path, _)| path);
        let method = if head.websocket { model::WEBSOCKET } else { &head.method };
        report.request = Some(Asked { method: method.to_owned(), path: shown(raw), status: None });
        policy.judge(&head, &path)?;
        if self.seal.is_none() && policy.demands_tls(&target) {
            return Err(Refusal::Hello(HelloError::NotTls).into());
        }
        policy.spend_request()?;
        let swapped = policy.secrets.swap(&mut head, &resource, path.as_deref().ok(), self.seal.is_some());
        swapped.map_err(|misplaced| Refusal::secret(&target, misplaced))?;
        let scrubbers = policy.secrets.scrubbers(&target);
        let (body, pieces) = outgoing(head.framing);
        let request = canonical(&head, &resource, self.seal.is_some(), !scrubbers.is_empty(), body)?;
        self.connect(&target).await?;
        let link = self.link.as_mut().expect("it was connected just now");
        let judged = |policy: &Policy| policy.judge(&head, &path).is_ok();
        let exchange = Exchange {
            egress: self.egress,
            policy,
            head: &head,
            answered: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            status: AtomicU16::new(0),
        };
        let done = tokio::select! {
            biased;
            done = exchange.run(client, buffer, link, request, pieces, scrubbers) => done,
            () = policy.withdrawn(judged) => Err(Refusal::Withdrawn(target.clone())),
        };
        (report.sent, report.received) = (exchange.sent.load(Ordering::Relaxed), exchange.received.load(Ordering::Relaxed));
        if let Some(asked) = &mut report.request {
            asked.status = Some(exchange.status.load(Ordering::Relaxed)).filter(|status| *status > 0);
        }
        let is_answered = exchange.answered.load(Ordering::Relaxed);
        match done {
            Ok(Done::Answered(keep)) => {
                if !keep {
                    self.link = None;
                }
                Ok(keep && head.keep)
            }
            Ok(Done::Switched(upgraded, agreed)) => {
                self.link = None;
                socket(client, buffer, (upgraded, agreed), (self.egress, self.policy), (&head, &path), report).await
            }
            Err(refusal) => {
                self.link = None;
                Err(if is_answered { Stop::Cut(refusal) } else { Stop::Tell(refusal) })
            }
        }
    }

    /// Makes sure that there is a connection to the target.
    async fn connect(&mut self, target: &Target) -> Result<(), Refusal> {
        if self.link.as_mut().is_some_and(|link| link.serves(target)) {
            return Ok(());
        }
        self.link = None;
        let stream = self.egress.reach(target, self.policy).await?;
        self.link = Some(Link::open(target.clone(), stream, self.seal, self.egress.limits()).await?);
        Ok(())
    }
}

/// Says no, as the last word on this connection.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S, refusal: Refusal, account: &mut Account<'_>) {
    let answer = refusal.answer();
    // First the log: whoever hears of a refusal finds it there.
    account.tell(Some(refusal));
    farewell(client, &answer).await;
}

/// Carries the frames of a WebSocket.
async fn socket<S>(
    client: &mut S,
    buffer: &mut BytesMut,
    upgraded: (Upgraded, Bytes),
    by: (&Egress, &Policy),
    asked: (&Head, &Result<String, &'static str>),
    report: &mut Report,
) -> Result<bool, Stop>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let ((head, path), (egress, policy), (upgraded, agreed)) = (asked, by, upgraded);
    let answered = async {
        client.write_all(&agreed).await?;
        client.flush().await
    };
    answered.await.map_err(|_| Stop::Cut(Refusal::Broken))?;
    let mut host = Scrubbed::new(TokioIo::new(upgraded), policy.secrets.scrubbers(&head.target));
    let first = buffer.split();
    let cut = tokio::select! {
        biased;
        cut = carry(client, &mut host, Gate::opened(), &first, (egress.limits(), policy), report) => cut,
        () = policy.withdrawn(|policy| policy.judge(head, path).is_ok()) => Some(Refusal::Withdrawn(head.target.clone())),
    };
    cut.map_or(Ok(false), |refusal| Err(Stop::Cut(refusal)))
}

/// Reads until a head is whole; `None` at the end of the connection.
pub(super) async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    within: Option<&Target>,
) -> Result<Option<Head>, Refusal> {
    loop {
        if let Some((head, length)) = parse_head(buffer, within)? {
            let _ = buffer.split_to(length);
            return Ok(Some(head));
        }
        buffer.reserve(HEAD_BYTES_MAX);
        match stream.read_buf(buffer).await {
            Ok(0) if buffer.is_empty() => return Ok(None),
            Ok(0) | Err(_) => return Err(Refusal::Broken),
            Ok(_) => (),
        }
    }
}

type Pieces = mpsc::Sender<Result<Frame<Bytes>, io::Error>>;

/// A body for the host, and where its pieces are put in.
fn outgoing(framing: Framing) -> (Outgoing, Option<Pieces>) {
    if framing == Framing::Empty {
        return (Empty::new().map_err(|never| match never {}).boxed_unsync(), None);
    }
    let (pieces, mut out) = mpsc::channel(PIECES_MAX);
    (StreamBody::new(poll_fn(move |cx| out.poll_recv(cx))).boxed_unsync(), Some(pieces))
}

/// The request as the host gets it.
fn canonical(head: &Head, resource: &str, is_sealed: bool, is_scrubbed: bool, body: Outgoing) -> Result<Request<Outgoing>, Refusal> {
    let malformed = |why| Refusal::Head(HeadError::Malformed(why));
    let uri: Uri = resource.parse().map_err(|_| malformed("the path has a character that no address has"))?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).map_err(|_| malformed("the method is none"))?;
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    let Target { host, port } = &head.target;
    let usual = if is_sealed { 443 } else { 80 };
    let named = if *port == usual { host.clone() } else { format!("{host}:{port}") };
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| malformed("a header field has a character that none has"));
    fields.insert(header::HOST, value(&named)?);
    for (name, text) in &head.fields {
        // A part of an answer could hold a part of a value that is too short to be known, and an extension could hide one.
        let hides = matches!(name.as_str(), "accept-encoding" | "range" | "if-range" | "sec-websocket-extensions");
        if is_scrubbed && hides {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("the name of a header field is none"))?;
        fields.append(name, value(text)?);
    }
    if is_scrubbed {
        fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if head.websocket {
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    match head.framing {
        Framing::Length(length) => drop(fields.insert(header::CONTENT_LENGTH, length.into())),
        Framing::Chunked => drop(fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        Framing::Empty if matches!(head.method.as_str(), "POST" | "PUT" | "PATCH") => drop(fields.insert(header::CONTENT_LENGTH, 0.into())),
        Framing::Empty => {}
    }
    Ok(request)
}

/// One request and its answer, both ways at once.
struct Exchange<'a> {
    egress: &'a Egress,
    policy: &'a Policy,
    head: &'a Head,
    /// Whether the client has heard of the answer.
    answered: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    /// The status of the answer; 0 before there is one.
    status: AtomicU16,
}

impl Exchange<'_> {
    async fn run<S>(
        &self,
        client: &mut S,
        buffer: &mut BytesMut,
        link: &mut Link,
        request: Request<Outgoing>,
        pieces: Option<Pieces>,
        scrubbers: Scrubbers,
    ) -> Result<Done, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        if self.head.expects && pieces.is_some() && buffer.is_empty() {
            let said = async {
                client.write_all(CONTINUE).await?;
                client.flush().await
            };
            said.await.map_err(|_| Refusal::Broken)?;
        }
        let (mut reader, mut writer) = tokio::io::split(client);
        let Link { sender, work, is_over, .. } = link;
        let mut up = pin!(self.up(&mut reader, buffer, pieces));
        let mut is_up = false;
        let mut down = pin!(async {
            sender.ready().await.map_err(|_| Refusal::Broken)?;
            let response = timeout(self.egress.limits().idle, sender.send_request(request)).await;
            let response = response.map_err(|_| Refusal::TooLong)?.map_err(|_| Refusal::Broken)?;
            self.down(&mut writer, response, scrubbers).await
        });
        loop {
            tokio::select! {
                biased;
                done = &mut down => {
                    return done.map(|done| match done {
                        Done::Answered(keep) => Done::Answered(keep && is_up),
                        switched => switched,
                    });
                }
                ended = &mut up, if !is_up => {
                    ended?;
                    is_up = true;
                }
                () = &mut *work, if !*is_over => *is_over = true,
            }
        }
    }

    /// The body of the request.
    async fn up<R: AsyncRead + Unpin>(&self, reader: &mut R, buffer: &mut BytesMut, pieces: Option<Pieces>) -> Result<(), Refusal> {
        let Some(pieces) = pieces else { return Ok(()) };
        let (mut body, mut finder) = (Body::new(self.head.framing), Finder::default());
        loop {
            while let Some(piece) = body.next(buffer)? {
                self.count(&self.sent, piece.len())?;
                if finder.feed(&piece) {
                    // The host sees that the body was broken off.
                    let _ = pieces.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
                    return Err(Refusal::secret(&self.head.target, super::bound::Misplaced::Body));
                }
                if pieces.send(Ok(Frame::data(piece))).await.is_err() {
                    // The host has heard enough; its answer is on the way, and the rest of the body is not read.
                    return std::future::pending().await;
                }
            }
            if body.is_done() {
                return Ok(());
            }
            buffer.reserve(READ_BYTES);
            match timeout(self.egress.limits().idle, reader.read_buf(buffer)).await {
                Err(_) => return Err(Refusal::TooLong),
                Ok(Ok(0) | Err(_)) => return Err(Refusal::Broken),
                Ok(Ok(_)) => (),
            }
        }
    }

    /// The answer.
    async fn down<W: AsyncWrite + Unpin>(
        &self,
        writer: &mut W,
        response: Response<Incoming>,
        mut scrubbers: Scrubbers,
    ) -> Result<Done, Refusal> {
        let status = response.status();
        self.status.store(status.as_u16(), Ordering::Relaxed);
        let has_body = !response.body().is_end_stream();
        let answer = Answer::new(self.head, status, response.headers(), has_body, &scrubbers)?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.head.websocket {
                return Err(Refusal::Broken);
            }
            let (head, ..) = answer.finish("Upgrade\r\nUpgrade: websocket");
            let upgraded = timeout(self.egress.limits().connect, hyper::upgrade::on(response)).await;
            let upgraded = upgraded.map_err(|_| Refusal::TooLong)?.map_err(|_| Refusal::Broken)?;
            self.answered.store(true, Ordering::Relaxed);
            return Ok(Done::Switched(upgraded, head));
        }
        let keep = self.head.keep && answer.ending != Ending::Close;
        let connection = match (keep, self.head.is_old) {
            (false, _) => "close",
            (true, true) => "keep-alive",
            (true, false) => "",
        };
        let (head, ending, mut unpack) = answer.finish(connection);
        self.answered.store(true, Ordering::Relaxed);
        self.write(writer, head).await?;
        let mut body = response.into_body();
        loop {
            let frame = timeout(self.egress.limits().idle, body.frame()).await.map_err(|_| Refusal::TooLong)?;
            let Some(frame) = frame else { break };
            let Ok(mut packed) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
            while !packed.is_empty() {
                let piece = unpack.feed(&mut packed)?;
                self.pass(writer, scrubbers.feed(piece), ending).await?;
            }
            writer.flush().await.map_err(|_| Refusal::Broken)?;
        }
        let rest = unpack.finish()?;
        self.pass(writer, scrubbers.feed(rest), ending).await?;
        self.pass(writer, scrubbers.finish(), ending).await?;
        if ending == Ending::Chunked {
            self.write(writer, Bytes::from_static(b"0\r\n\r\n")).await?;
        }
        writer.flush().await.map_err(|_| Refusal::Broken)?;
        Ok(Done::Answered(keep))
    }

    async fn pass<W: AsyncWrite + Unpin>(&self, writer: &mut W, piece: Bytes, ending: Ending) -> Result<(), Refusal> {
        if piece.is_empty() || ending == Ending::None {
            return Ok(());
        }
        self.count(&self.received, piece.len())?;
        self.write(writer, framed(piece, ending)).await
    }

    async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut W, bytes: Bytes) -> Result<(), Refusal> {
        match timeout(self.egress.limits().idle, writer.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Refusal::Broken),
            Err(_) => Err(Refusal::TooLong),
        }
    }

    fn count(&self, counter: &AtomicU64, n: usize) -> Result<(), Refusal> {
        counter.fetch_add(n as u64, Ordering::Relaxed);
        self.policy.spend_bytes(n as u64)?;
        if self.sent.load(Ordering::Relaxed) + self.received.load(Ordering::Relaxed) > self.egress.limits().bytes_max {
            return Err(Refusal::TooMuch);
        }
        Ok(())
    }
}
