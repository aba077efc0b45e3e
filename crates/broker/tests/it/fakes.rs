//! A house around a broker: people who answer as told, a book that remembers, tools that count their calls.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lazaret_broker::{Answered, Approved, Ask, Audit, Broker, CallFailure, Caller, Catalogue, Confirm, Grant, Handler, Rate, Tool};
use model::{ApprovalId, AuditEntry, Code, Failure, Risk, SandboxId, SessionId};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

/// What a person does when asked.
pub(crate) enum Person {
    Yes,
    /// Yes, but to something else.
    YesToAnother,
    No(Option<&'static str>),
    Nothing,
    /// Never answers.
    Asleep,
    Made(Result<Value, CallFailure>),
    Unknown,
    /// Nobody is asked: it was left to the agent.
    Left,
    Failing(Failure),
}

#[derive(Default)]
pub(crate) struct People {
    pub(crate) answers: Mutex<VecDeque<Person>>,
    /// Hashes that were asked about.
    pub(crate) asked: Mutex<Vec<String>>,
    /// What happened, in order.
    pub(crate) steps: Mutex<Vec<String>>,
    /// Asks that were dropped before an answer.
    pub(crate) left: Arc<AtomicUsize>,
    pub(crate) begin_fails: Mutex<Option<Failure>>,
}

struct Left(Arc<AtomicUsize>, bool);

impl Drop for Left {
    fn drop(&mut self) {
        if self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Confirm for People {
    fn ask<'a>(&'a self, ask: Ask<'a>, waiting: &'a (dyn Fn(&ApprovalId) + Send + Sync)) -> BoxFuture<'a, Result<Answered, Failure>> {
        async move {
            let id = ApprovalId::from_bits(1);
            self.asked.lock().expect("no test panicked with it").push(ask.hash.to_owned());
            waiting(&id);
            let mut left = Left(Arc::clone(&self.left), true);
            let person = self.answers.lock().expect("no test panicked with it").pop_front().expect("nobody should be asked");
            let answered = match person {
                Person::Yes => Answered::Approved(Grant { id, hash: ask.hash.to_owned() }),
                Person::YesToAnother => Answered::Approved(Grant { id, hash: "another".to_owned() }),
                Person::No(note) => Answered::Denied(note.map(str::to_owned)),
                Person::Nothing => Answered::Expired,
                Person::Asleep => std::future::pending().await,
                Person::Made(outcome) => Answered::Made(outcome),
                Person::Unknown => Answered::Unknown,
                Person::Left => Answered::Left,
                Person::Failing(failure) => {
                    left.1 = false;
                    return Err(failure);
                }
            };
            left.1 = false;
            Ok(answered)
        }
        .boxed()
    }

    fn begin<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            if let Some(failure) = self.begin_fails.lock().expect("no test panicked with it").clone() {
                return Err(failure);
            }
            self.steps.lock().expect("no test panicked with it").push(format!("begin {}", grant.id));
            Ok(())
        }
        .boxed()
    }

    fn finish<'a>(&'a self, grant: &'a Grant, outcome: &'a Result<Value, CallFailure>) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let word = outcome.as_ref().map_or_else(|failure| failure.code.to_string(), ToString::to_string);
            self.steps.lock().expect("no test panicked with it").push(format!("finish {} {word}", grant.id));
            Ok(())
        }
        .boxed()
    }
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) entries: Mutex<Vec<AuditEntry>>,
    pub(crate) durable: AtomicUsize,
    pub(crate) fails: Mutex<bool>,
}

impl Audit for Book {
    fn note(&self, entry: AuditEntry) -> BoxFuture<'_, ()> {
        self.entries.lock().expect("no test panicked with it").push(entry);
        async {}.boxed()
    }

    fn note_now(&self, entry: AuditEntry) -> BoxFuture<'_, Result<(), Failure>> {
        if *self.fails.lock().expect("no test panicked with it") {
            return async { Err(Failure::new(Code::StoreUnusable, "/var/secret/path is full")) }.boxed();
        }
        self.durable.fetch_add(1, Ordering::SeqCst);
        self.entries.lock().expect("no test panicked with it").push(entry);
        async { Ok(()) }.boxed()
    }
}

/// Does what its argument `do` says.
pub(crate) struct Doer {
    pub(crate) calls: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    pub(crate) began: Notify,
    pub(crate) go_on: Semaphore,
}

impl Handler for Doer {
    fn call<'a>(&'a self, call: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>> {
        async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.began.notify_one();
            let arguments = call.arguments();
            let answer = match arguments.get("do").and_then(Value::as_str).unwrap_or("echo") {
                "echo" => Ok(arguments.clone()),
                "wait" => {
                    let _permit = self.go_on.acquire().await;
                    Ok(json!("waited"))
                }
                "hang" => std::future::pending().await,
                "panic" => panic!("at /home/somebody/secret.rs"),
                "large" => Ok(json!("x".repeat(1 << 20))),
                "leak" => Ok(json!({"key": "canary-secret-0123456789", "canary-secret-0123456789": 1})),
                "leak_error" => Err(CallFailure::new(Code::HandlerError, "bad token canary-secret-0123456789")),
                code => {
                    let code = Code::ALL.iter().find(|known| known.as_str() == code).copied().expect("a code");
                    Err(CallFailure { code, message: "its own words".to_owned(), retriable: true })
                }
            };
            self.ended.fetch_add(1, Ordering::SeqCst);
            answer
        }
        .boxed()
    }
}

pub(crate) struct House {
    pub(crate) broker: Broker,
    pub(crate) people: Arc<People>,
    pub(crate) book: Arc<Book>,
    pub(crate) doer: Arc<Doer>,
}

pub(crate) const SECRET: &str = "canary-secret-0123456789";

impl House {
    /// A broker with the tools `low`, `high`, and `shy` (for the group `inner` alone).
    pub(crate) fn new() -> Self {
        let (people, book) = (Arc::new(People::default()), Arc::new(Book::default()));
        let doer =
            Arc::new(Doer { calls: AtomicUsize::new(0), ended: AtomicUsize::new(0), began: Notify::new(), go_on: Semaphore::new(0) });
        let broker = Broker::new(Arc::clone(&people) as Arc<dyn Confirm>, Arc::clone(&book) as Arc<dyn Audit>);
        let tool = |name: &str, risk, groups| Tool { groups, ..tool(name, risk, Arc::clone(&doer) as Arc<dyn Handler>) };
        let inner = Some(BTreeSet::from(["inner".to_owned()]));
        let tools = vec![tool("low", Risk::Low, None), tool("high", Risk::High, None), tool("shy", Risk::Low, inner)];
        let (catalogue, refused) = Catalogue::new(tools);
        assert_eq!(refused, []);
        broker.set_catalogue(catalogue);
        broker.set_sanitizer(Arc::new(sanitize::Sanitizer::new([SECRET])));
        broker.set_rate(Rate { per_minute: 6_000, burst: 1_000 }, [].into());
        Self { broker, people, book, doer }
    }

    pub(crate) fn will(&self, person: Person) {
        self.people.answers.lock().expect("no test panicked with it").push_back(person);
    }

    pub(crate) fn calls(&self) -> usize {
        self.doer.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn last_entry(&self) -> AuditEntry {
        self.book.entries.lock().expect("no test panicked with it").last().cloned().expect("something was noted")
    }

    pub(crate) async fn raw(&self, caller: &Arc<Caller>, request: &[u8]) -> wire::Answer {
        self.broker.call(caller, request, &|_| {}).await
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> wire::Answer {
        self.raw(&caller(), &request(tool, "c", arguments)).await
    }
}

pub(crate) fn tool(name: &str, risk: Risk, handler: Arc<dyn Handler>) -> Tool {
    Tool {
        name: name.to_owned(),
        plugin: "test".to_owned(),
        description: "for tests".to_owned(),
        risk,
        schema: json!({
            "type": "object",
            "properties": {"do": {"type": "string"}, "to": {"type": "array", "items": {"type": "string", "maxLength": 5}}, "n": {"type": "integer"}},
            "additionalProperties": false,
        }),
        groups: None,
        is_owners: false,
        deadline: Duration::from_secs(60),
        handler,
    }
}

pub(crate) fn caller() -> Arc<Caller> {
    caller_of(1)
}

pub(crate) fn caller_of(n: u128) -> Arc<Caller> {
    Arc::new(Caller {
        session: Some(SessionId::from_bits(n)),
        sandbox: Some(SandboxId::from_bits(n)),
        agent: "tester".to_owned(),
        group: "outer".to_owned(),
        ..Caller::owner()
    })
}

pub(crate) fn request(tool: &str, correlation: &str, arguments: Value) -> Vec<u8> {
    json!({"topic": format!("tool.invoke.{tool}"), "correlation": correlation, "arguments": arguments}).to_string().into_bytes()
}

/// The code, the stage, the field and the seconds of a refusal.
pub(crate) fn error(answer: &wire::Answer) -> (&str, Option<u8>, Option<&str>, Option<u64>) {
    let error = answer.error.as_ref().unwrap_or_else(|| panic!("no error but {}", answer.result));
    (&error.code, error.stage, error.field.as_deref(), error.retry_after)
}
