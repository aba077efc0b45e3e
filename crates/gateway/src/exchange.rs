//! One request, from its head to its reply. Read from [`handle`] down.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use model::{Code, Money, Usage};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::ask::Ask;
use crate::books::{Closed, Entry};
use crate::fallback::{self, Target};
use crate::flow::{End, Ending, Flow, Outgoing, Pending, Source, scrub_header};
use crate::gateway::{BUFFER_UNIT, Shared};
use crate::meter::{Framing, Meter};
use crate::prices::{Price, canonical};
use crate::purse::{PurseError, Reservation};
use crate::refusal::{self, Refusal, failure_of};
use crate::rehearsal::{self, Asked};
use crate::route::{self, Action, Found, Route};
use crate::scrub::Scrubber;
use crate::upstream::Provider;
use crate::{Basis, Call, Identity, Kind, REHEARSAL, RoundsError, TapeMode, Unpriced, Wire, headers, tape};

/// The least output that is worth a call whose output was lowered to what the budget still pays.
const OUTPUT_TOKENS_MIN: u64 = 1024;

/// How often one call waits for more money: each of its budgets may have to be raised, and not for ever.
const WAITS_MAX: usize = 8;

/// One request with everything that was found out about it.
struct Exchange {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    route: Route,
    parts: Parts,
    body: Bytes,
    started: Instant,
    room: Option<OwnedSemaphorePermit>,
    /// Who answers, where it is not who was asked first.
    answered_by: Option<String>,
}

/// Answers one request.
pub(crate) async fn handle(shared: Arc<Shared>, identity: Arc<Identity>, request: Request<Incoming>) -> Response<Outgoing> {
    let provider = shared.providers.get(&identity.provider).cloned();
    let guess = provider.as_ref().map_or_else(|| route::guess(request.uri().path()), |p| p.kind);
    let route = match route::find(request.method(), request.uri().path()) {
        Found::Probe => return refusal::head(StatusCode::OK, "text/plain", Outgoing::Own(None)),
        Found::Nothing => return own(guess, &Refusal::new(Code::NotFound, "this path is no call to a model that may be made here")),
        Found::Route(route) => route,
    };
    match admit(shared, identity, route, request).await {
        Ok(exchange) => exchange.run(provider).await,
        Err((kind, refusal)) => own(kind, &refusal),
    }
}

fn own(kind: Kind, refusal: &Refusal) -> Response<Outgoing> {
    let (status, body) = refusal.answer(kind);
    refusal::head(status, rehearsal::JSON, Outgoing::Own(Some(body)))
}

/// Makes room for a request and reads its body.
async fn admit(
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    route: Route,
    request: Request<Incoming>,
) -> Result<Exchange, (Kind, Refusal)> {
    let kind = route.kind;
    let busy = || (kind, Refusal::new(Code::Busy, "too many calls are under way; try again later"));
    let started = Instant::now();
    let room = shared.in_flight.clone().try_acquire_owned().map_err(|_| busy())?;
    let (parts, body) = request.into_parts();
    if !headers::is_plain_body(&parts.headers) {
        return Err((
            kind,
            Refusal::new(Code::Usage, "the request's body is encoded; send it plain").with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ));
    }
    let body = read_body(&shared, body, started).await.map_err(|refusal| (kind, refusal))?;
    Ok(Exchange { shared, identity, route, parts, body, started, room: Some(room), answered_by: None })
}

/// Reads a body within the limits of size, memory and time.
async fn read_body(shared: &Shared, mut body: Incoming, started: Instant) -> Result<Bytes, Refusal> {
    let limits = &shared.limits;
    let too_large = || {
        Refusal::new(Code::Usage, format!("the request is larger than {} bytes", limits.request_bytes))
            .with_status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let slow = || Refusal::new(Code::Usage, "the request's body did not come in time").with_status(StatusCode::REQUEST_TIMEOUT);
    if body.size_hint().lower() > limits.request_bytes as u64 {
        return Err(too_large());
    }
    let mut held: Option<OwnedSemaphorePermit> = None;
    let (mut first, mut more, mut len) = (Bytes::new(), BytesMut::new(), 0usize);
    while !body.is_end_stream() {
        let until = (Instant::now() + limits.body_idle).min(started + limits.total);
        let Some(frame) = tokio::time::timeout_at(until, body.frame()).await.map_err(|_| slow())? else { break };
        let frame = frame.map_err(|_| Refusal::new(Code::Usage, "the request's body broke off"))?;
        let Ok(piece) = frame.into_data() else { continue };
        len += piece.len();
        if len > limits.request_bytes {
            return Err(too_large());
        }
        hold(shared, &mut held, len)?;
        if first.is_empty() && more.is_empty() {
            first = piece;
        } else {
            more.reserve(first.len() + piece.len());
            more.extend_from_slice(&std::mem::take(&mut first));
            more.extend_from_slice(&piece);
        }
    }
    // The memory is accounted for while it fills; from here on it belongs to a call in flight, and those are limited too.
    Ok(if more.is_empty() { first } else { more.freeze() })
}

/// Takes units of memory until they cover `len` bytes.
fn hold(shared: &Shared, held: &mut Option<OwnedSemaphorePermit>, len: usize) -> Result<(), Refusal> {
    let units = len.div_ceil(BUFFER_UNIT).saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    if units == 0 {
        return Ok(());
    }
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let full = |_| Refusal::new(Code::Busy, "too many large requests are under way; try again later");
    let more = shared.buffers.clone().try_acquire_many_owned(units).map_err(full)?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}

impl Exchange {
    async fn run(mut self, provider: Option<Arc<Provider>>) -> Response<Outgoing> {
        if let Some(TapeMode::Replay(reader)) = self.identity.tape.clone() {
            return self.replay(&reader);
        }
        let is_scripted = self.identity.rehearsal || self.identity.provider == REHEARSAL;
        let suits = provider.as_ref().is_some_and(|p| self.route.suits(p.kind));
        if !is_scripted && !suits {
            let refusal = match provider {
                None => Refusal::new(Code::Forbidden, "no provider is set for this sandbox"),
                Some(_) => Refusal::new(Code::NotFound, "the provider of this sandbox does not speak this API"),
            };
            return self.refuse(&refusal);
        }
        let wire = match self.route.action {
            Action::Generate(wire) => wire,
            _ if is_scripted => return self.scripted_lookup(),
            _ => match provider {
                Some(provider) => return self.lookup(&provider).await,
                None => return self.refuse(&Refusal::new(Code::Forbidden, "no provider is set for this sandbox")),
            },
        };
        match provider.filter(|_| !is_scripted) {
            Some(provider) => self.ask_in_turn(wire, &provider).await,
            None => {
                let mut pending = match self.open() {
                    Ok(ending) => Pending::new(ending),
                    Err(refusal) => return self.refuse(&refusal),
                };
                let result = self.count(pending.ending()).and_then(|()| self.scripted(wire, pending.ending()));
                let ending = pending.end();
                match result {
                    Ok(reply) => self.forward(reply, Some(wire), Some(ending)),
                    Err(refusal) => self.fail(ending, &refusal),
                }
            }
        }
    }

    /// Asks those who may answer, one after the other, until one does: as long as nothing went to the caller.
    async fn ask_in_turn(mut self, wire: Wire, first: &Arc<Provider>) -> Response<Outgoing> {
        let mut targets = fallback::targets(first, &self.identity, &self.shared.providers, &self.route).into_iter().peekable();
        while let Some(target) = targets.next() {
            let mut pending = match self.open() {
                Ok(ending) => Pending::new(ending),
                Err(refusal) => return self.refuse(&refusal),
            };
            pending.ending().call.provider.clone_from(&target.provider.name);
            let result = match self.count(pending.ending()) {
                Ok(()) => self.generate(wire, &target, pending.ending()).await,
                Err(refusal) => Err(refusal),
            };
            let mut ending = pending.end();
            let is_over = match &result {
                Ok(reply) => !fallback::is_outage(reply.status),
                Err(refusal) => !fallback::falls_back(refusal),
            };
            if let Some(next) = targets.peek().filter(|_| !is_over) {
                if let Err(refusal) = &result {
                    ending.note(refusal);
                }
                ending.call.instead = Some(next.name());
                // Its place is that of the next one.
                self.room = ending.room.take();
                ending.close(End::Whole, None);
                continue;
            }
            if target.provider.name != first.name || target.model.is_some() {
                self.answered_by = Some(target.name());
            }
            return match result {
                Ok(reply) => self.forward(reply, Some(wire), Some(ending)),
                Err(refusal) => self.fail(ending, &refusal),
            };
        }
        self.refuse(&Refusal::new(Code::Internal, "there is nobody to ask"))
    }

    /// Ends a call that came to nothing.
    fn fail(self, mut ending: Ending, refusal: &Refusal) -> Response<Outgoing> {
        ending.note(refusal);
        ending.close(End::Whole, None);
        self.refuse(refusal)
    }

    /// Opens the call in the books, before anything can cost.
    fn open(&mut self) -> Result<Ending, Refusal> {
        let id = &self.identity;
        let entry: Entry =
            self.shared.books.entry(&id.turn, &id.budgets, || self.shared.purse.enter(&id.budgets)).map_err(|closed| match closed {
                Closed::Ledger => Refusal::new(Code::StoreUnusable, "the ledger cannot be written, so no call is made"),
                Closed::TurnBusy | Closed::Turns => Refusal::new(Code::Busy, "too many calls are under way; try again later"),
            })?;
        let call = Call {
            sandbox: id.sandbox.clone(),
            session: id.session.clone(),
            turn: id.turn.clone(),
            provider: id.provider.clone(),
            model: String::new(),
            usage: Usage::default(),
            cost: Money::ZERO,
            basis: Basis::Unpriced,
            status: 200,
            code: None,
            message: String::new(),
            instead: None,
            took: std::time::Duration::ZERO,
        };
        Ok(Ending { entry, call, reservation: None, price: None, round: None, started: self.started, room: self.room.take() })
    }

    /// Counts the call among those of its turn.
    fn count(&self, ending: &mut Ending) -> Result<(), Refusal> {
        let Some(rounds) = &self.identity.rounds else { return Ok(()) };
        rounds.take().map_err(|error| match error {
            RoundsError::Over(_) => Refusal::new(Code::TurnLimit, format!("this turn may not {error}")),
            RoundsError::Unkept(_) => Refusal::new(Code::StoreUnusable, model::chain(&error)),
        })?;
        ending.round = Some(Arc::clone(rounds));
        Ok(())
    }

    /// A call to a real model.
    async fn generate(&self, wire: Wire, target: &Target, ending: &mut Ending) -> Result<Reply, Refusal> {
        let (shared, id, provider) = (&self.shared, &self.identity, &target.provider);
        let route = target.route(&self.route);
        let mut ask = Ask::read(wire, &route, self.body.clone(), (id.model.as_deref(), target.model.as_deref()), shared.remote)?;
        ending.call.model.clone_from(&ask.model);
        self.permit(&ask)?;
        if !target.is_last && shared.resting.is_resting(&provider.name) {
            return Err(Refusal::new(Code::ProviderDown, "the provider was too slow a moment ago"));
        }
        let key = self.key(provider)?;
        if provider.free {
            ending.call.basis = Basis::Free;
        } else if let Some(price) = self.price(&ask)? {
            ending.price = Some(price);
            if !id.budgets.is_empty() {
                ending.reservation = Some(self.reserve(wire, &mut ask, &price, target.is_last).await?);
            }
        }
        let sent = self.send_to(wire, target, &route, key.as_deref().map(String::as_str), ask.body).await;
        if sent.is_err() {
            // Whether a request that broke off was worked on is not known; one that never left was not.
            let reservation = ending.reservation.take();
            if let (Some(reservation), Err(refusal)) = (reservation, &sent)
                && refusal.code == Code::ProviderDown
            {
                reservation.settle(Money::ZERO);
            }
        }
        let reply = sent?;
        ending.call.status = reply.status.as_u16();
        if !reply.status.is_success() {
            let (code, message) = failure_of(reply.status);
            ending.call.code = Some(code);
            message.clone_into(&mut ending.call.message);
        }
        Ok(reply)
    }

    /// Whether the model may be called.
    fn permit(&self, ask: &Ask) -> Result<(), Refusal> {
        let models = &self.identity.models;
        let is_listed =
            |model: &str| canonical(model).is_some_and(|name| models.iter().any(|allowed| canonical(allowed).as_deref() == Some(&name)));
        if models.is_empty() || (is_listed(&ask.model) && ask.fallbacks.iter().all(|m| is_listed(m))) {
            return Ok(());
        }
        Err(Refusal::new(Code::Forbidden, "this model is not one that may be called here"))
    }

    fn key(&self, provider: &Provider) -> Result<Option<Zeroizing<String>>, Refusal> {
        let key = self.shared.keys.key(&provider.name).filter(|key| !key.is_empty());
        if key.is_none() && !provider.keyless {
            return Err(Refusal::new(Code::KeyMissing, format!("no key is stored for provider `{}`", provider.name)));
        }
        Ok(key)
    }

    /// The price that holds: the dearest of all models that may answer.
    fn price(&self, ask: &Ask) -> Result<Option<Price>, Refusal> {
        let prices = &self.shared.prices;
        let mut found: Option<Price> = None;
        for model in std::iter::once(&ask.model).chain(&ask.fallbacks) {
            let Some(price) = prices.of(model) else {
                if self.identity.budgets.is_empty() || self.shared.unpriced == Unpriced::Allow {
                    continue;
                }
                return Err(Refusal::new(
                    Code::PriceUnknown,
                    format!("the price of model `{}` is not known, so no budget can hold", model.escape_debug()),
                ));
            };
            let price = prices.at(price, ask.tier);
            if found.is_none_or(|other| price.worst(ask.input, price.output_max) > other.worst(ask.input, other.output_max)) {
                found = Some(price);
            }
        }
        Ok(found)
    }

    /// Sets aside what the call can cost at most, with a lower output if only that fits.
    async fn reserve(&self, wire: Wire, ask: &mut Ask, price: &Price, may_wait: bool) -> Result<Reservation, Refusal> {
        let input = if ask.is_open { price.context } else { ask.input.min(price.context) };
        let output = ask.output.unwrap_or(price.output_max);
        let mut waits_left = WAITS_MAX;
        let mut result = self.take(wire, ask, price, (input, output)).await;
        let patience = self.identity.patience.as_ref().filter(|_| may_wait);
        while let (Err(PurseError::Exceeded { key, worst, .. }), Some(patience)) = (&result, patience) {
            if waits_left == 0 || !patience.exceeded(key, *worst).await {
                break;
            }
            waits_left -= 1;
            self.shared.purse.look_again(key);
            result = self.take(wire, ask, price, (input, output)).await;
        }
        result.map_err(|error| match error {
            PurseError::Exceeded { worst, left, .. } => {
                Refusal::new(Code::BudgetExceeded, format!("the call may cost up to {worst} and {left} is left of the budget"))
            }
            PurseError::Ledger(_) => Refusal::new(Code::StoreUnusable, "the ledger cannot be written, so no call is made"),
        })
    }

    /// Takes from the budgets what so many tokens of input and output can cost, or what fewer of output can.
    async fn take(&self, wire: Wire, ask: &mut Ask, price: &Price, (input, output): (u64, u64)) -> Result<Reservation, PurseError> {
        let (purse, wait) = (&self.shared.purse, self.shared.limits.budget_wait);
        let answers = ask.answers;
        let worst = |output: u64| price.worst(input, output.saturating_mul(answers));
        let result = purse.reserve(&self.identity.budgets, worst(output), wait).await;
        let Err(PurseError::Exceeded { left, .. }) = &result else { return result };
        let lower = price.affordable_output(input, *left) / answers;
        if lower >= OUTPUT_TOKENS_MIN && lower < output && ask.can_lower() && ask.lower_output(wire, lower) {
            return purse.reserve(&self.identity.budgets, worst(lower), wait).await;
        }
        result
    }

    /// Sends a call to one of several. Where there is another one, this one has less time, a busy one is waited for a little, and
    /// its answer counts only when it has begun.
    async fn send_to(&self, wire: Wire, target: &Target, route: &Route, key: Option<&str>, body: Bytes) -> Result<Reply, Refusal> {
        if target.is_last {
            return self.send(&target.provider, route, key, body).await;
        }
        let soon = Instant::now() + self.shared.limits.first_byte_of_many;
        let slow = || {
            self.shared.resting.rest(&target.provider.name);
            Refusal::new(Code::ProviderError, "the provider did not begin to answer in time").with_status(StatusCode::GATEWAY_TIMEOUT)
        };
        let sent = tokio::time::timeout_at(soon, self.send(&target.provider, route, key, body.clone())).await;
        let mut reply = sent.map_err(|_| slow())??;
        if let Some(wait) = fallback::worth_waiting(reply.status, &reply.headers) {
            tokio::time::sleep(wait).await;
            let sent = tokio::time::timeout_at(soon + wait, self.send(&target.provider, route, key, body)).await;
            reply = sent.map_err(|_| slow())??;
        }
        if reply.status.is_success() {
            tokio::time::timeout_at(soon + self.shared.limits.first_byte_of_many, reply.begin(wire)).await.map_err(|_| slow())??;
        }
        Ok(reply)
    }

    async fn send(&self, provider: &Arc<Provider>, route: &Route, key: Option<&str>, body: Bytes) -> Result<Reply, Refusal> {
        let query = route::query(provider.kind, &route.action, self.parts.uri.query());
        let uri = provider.uri(&route.tail, &query).ok_or_else(|| Refusal::new(Code::Internal, "the provider's address cannot be made"))?;
        let headers = headers::request(&self.parts.headers, provider.kind, provider.auth, key, &provider.headers).map_err(|_| {
            Refusal::new(Code::KeyMissing, format!("the key of provider `{}` has characters that no key has", provider.name))
        })?;
        let response = self.shared.upstream.send(self.parts.method.clone(), uri, headers, body).await?;
        Reply::of(response, provider, key)
    }

    /// A list of models or a count of tokens from a real provider: forwarded, not accounted.
    async fn lookup(self, provider: &Arc<Provider>) -> Response<Outgoing> {
        let sent = match self.key(provider) {
            Ok(key) => self.send(provider, &self.route, key.as_deref().map(String::as_str), self.body.clone()).await,
            Err(refusal) => Err(refusal),
        };
        match sent {
            Ok(reply) => self.forward(reply, None, None),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// The scripted model.
    fn scripted(&self, wire: Wire, ending: &mut Ending) -> Result<Reply, Refusal> {
        let is_events = self.parts.uri.query().is_some_and(|q| q.split('&').any(|p| p == "alt=sse"));
        let mut asked = Asked::read(wire, &self.body, self.route.model.as_deref(), self.route.streams, is_events)
            .map_err(|_| Refusal::new(Code::Usage, "the request is not JSON"))?;
        // A chat stream always tells its usage here, as with a real provider.
        asked.usage = true;
        ending.call.model = asked.model.chars().filter(|c| !c.is_control()).take(128).collect();
        ending.call.basis = Basis::Free;
        let rendered = rehearsal::render(wire, &asked, &rehearsal::rehearse(&asked));
        Ok(Reply::made(StatusCode::OK, rendered.content_type, rendered.pieces.into(), false))
    }

    fn scripted_lookup(self) -> Response<Outgoing> {
        let kind = self.route.kind;
        let value = if self.route.action == Action::Count {
            rehearsal::token_count(kind, &self.body)
        } else {
            rehearsal::models(kind, self.route.model.as_deref())
        };
        let pieces = VecDeque::from([Bytes::from(value.to_string())]);
        self.forward(Reply::made(StatusCode::OK, rehearsal::JSON, pieces, false), None, None)
    }

    /// The recorded reply.
    fn replay(mut self, reader: &tape::Reader) -> Response<Outgoing> {
        let answer = reader.answer(self.parts.method.as_str(), &self.route.tail, &tape::canonical(&self.body));
        let Action::Generate(wire) = self.route.action else {
            return match answer {
                Ok(answer) => self.forward(Reply::taped(answer), None, None),
                Err(differs) => self.refuse(&Refusal::new(Code::ReplayDiffers, differs)),
            };
        };
        let mut ending = match self.open() {
            Ok(ending) => ending,
            Err(refusal) => return self.refuse(&refusal),
        };
        ending.call.basis = Basis::Free;
        match answer {
            Ok(answer) => {
                let reply = Reply::taped(answer);
                ending.call.status = reply.status.as_u16();
                if !reply.status.is_success() {
                    let (code, message) = failure_of(reply.status);
                    (ending.call.code, ending.call.message) = (Some(code), message.to_owned());
                }
                self.forward(reply, Some(wire), Some(ending))
            }
            Err(differs) => {
                let refusal = Refusal::new(Code::ReplayDiffers, differs);
                ending.call.status = refusal.status.as_u16();
                (ending.call.code, ending.call.message) = (Some(refusal.code), refusal.message.clone());
                ending.close(End::Whole, None);
                self.refuse(&refusal)
            }
        }
    }

    fn refuse(self, refusal: &Refusal) -> Response<Outgoing> {
        let (status, body) = refusal.answer(self.route.kind);
        if let Some(mut tap) = self.tap(status, rehearsal::JSON) {
            tap.piece(&body);
            tap.end(true);
        }
        refusal::head(status, rehearsal::JSON, Outgoing::Own(Some(body)))
    }

    fn tap(&self, status: StatusCode, content_type: &str) -> Option<tape::Tap> {
        let Some(TapeMode::Record(writer)) = &self.identity.tape else { return None };
        let request = tape::Request {
            method: self.parts.method.to_string(),
            path: self.route.tail.clone(),
            body: self.body.clone(),
            by: self.answered_by.clone(),
        };
        Some(writer.tap(request, status.as_u16(), content_type))
    }

    /// Sends a reply on, counted and recorded as it passes.
    fn forward(mut self, reply: Reply, wire: Option<Wire>, ending: Option<Ending>) -> Response<Outgoing> {
        let limits = &self.shared.limits;
        let framing = if reply.content_type() == rehearsal::EVENTS { Framing::Events } else { Framing::Json };
        let meter = wire.filter(|_| reply.status.is_success()).map(|wire| Meter::new(wire, framing));
        let flow = Flow {
            tap: self.tap(reply.status, reply.content_type()),
            source: reply.source,
            scrubber: reply.scrubber,
            meter,
            left_bytes: limits.response_bytes,
            idle: limits.idle,
            deadline: self.started + limits.total,
            timer: None,
            is_over: false,
            breaking: None,
            ending,
            _room: self.room.take(),
        };
        let mut response = Response::new(Outgoing::Flow(Box::new(flow)));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }
}

/// A reply before it is sent on.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    source: Source,
    scrubber: Option<Scrubber>,
}

impl Reply {
    /// Judges the head of a provider's reply.
    fn of(response: Response<Incoming>, provider: &Provider, key: Option<&str>) -> Result<Self, Refusal> {
        let (parts, body) = response.into_parts();
        let no_answer = |why: &str| Refusal::new(Code::ProviderError, format!("the provider answered with {why}"));
        let is_plain = parts.headers.get_all(header::CONTENT_ENCODING).iter().all(|v| v.as_bytes().eq_ignore_ascii_case(b"identity"));
        if !is_plain {
            return Err(no_answer("a compressed reply that was not asked for"));
        }
        if parts.status.is_redirection() || parts.status.is_informational() {
            return Err(no_answer("a redirect, which is not followed"));
        }
        let needles = key.and_then(|key| provider.needles(key));
        let mut headers = headers::response(&parts.headers, scrub_header(needles.as_ref()));
        headers::pace(parts.status, &mut headers);
        let scrubber = needles.map(Scrubber::new);
        let reply = Self { status: parts.status, headers, source: Source::Provider(body, None), scrubber };
        let is_known = matches!(reply.content_type(), rehearsal::JSON | rehearsal::EVENTS);
        match is_known {
            true => Ok(reply),
            false if parts.status.is_success() => Err(no_answer("something that is no answer of a model")),
            // The status passes; a page for people instead of an error does not.
            false => Err(Refusal::new(failure_of(parts.status).0, failure_of(parts.status).1).with_status(parts.status)),
        }
    }

    /// Waits for the first piece. One that reports an error, or none at all, is no answer.
    async fn begin(&mut self, wire: Wire) -> Result<(), Refusal> {
        let Source::Provider(incoming, first) = &mut self.source else { return Ok(()) };
        let cut = || Refusal::new(Code::StreamCut, "the provider closed the connection before it answered");
        while first.as_ref().is_none_or(Bytes::is_empty) {
            let frame = incoming.frame().await.ok_or_else(cut)?.map_err(|_| cut())?;
            *first = frame.into_data().ok();
        }
        match first {
            Some(bytes) if fallback::is_error(wire, bytes) => {
                Err(Refusal::new(Code::ProviderError, "the provider reported an error instead of an answer"))
            }
            _ => Ok(()),
        }
    }

    fn made(status: StatusCode, content_type: &str, pieces: VecDeque<Bytes>, breaks: bool) -> Self {
        let mut headers = HeaderMap::new();
        if let Ok(value) = content_type.parse() {
            headers.insert(header::CONTENT_TYPE, value);
        }
        headers::pace(status, &mut headers);
        Self { status, headers, source: Source::Made(pieces, breaks), scrubber: None }
    }

    fn taped(answer: tape::Answer) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        Self::made(status, &answer.content_type, answer.pieces, !answer.is_whole)
    }

    /// The media type without its parameters.
    fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()?.split(';').next()).unwrap_or_default().trim()
    }
}
