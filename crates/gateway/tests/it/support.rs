//! A gateway with a scripted provider, and a caller at its door.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lazaret_gateway::{Budget, BudgetKey, Call, Config, Gateway, Identity, Keys, Kind, Ledger, LedgerError, ProviderConfig};
use model::{Money, SandboxId, SessionId, TurnId};
use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Script};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

/// The host's key: nothing that comes back may hold it.
pub(crate) const CANARY: &str = "sk-ant-api03-CANARYcanary0123456789CANARYcanary";

/// A ledger in memory.
#[derive(Default)]
pub(crate) struct Paper {
    pub(crate) drawn: Mutex<HashMap<BudgetKey, u64>>,
    pub(crate) calls: Mutex<Vec<Call>>,
    pub(crate) broken: AtomicBool,
}

impl Paper {
    fn check(&self) -> Result<(), LedgerError> {
        if self.broken.load(Ordering::SeqCst) { Err(LedgerError("disk full".into())) } else { Ok(()) }
    }

    pub(crate) fn spent(&self, key: &str) -> u64 {
        self.drawn.lock().unwrap().get(&BudgetKey(key.into())).copied().unwrap_or_default()
    }
}

impl Ledger for Paper {
    fn draw<'a>(&'a self, key: &'a BudgetKey, limit: Money, want: Money) -> BoxFuture<'a, Result<Money, LedgerError>> {
        async move {
            self.check()?;
            let mut drawn = self.drawn.lock().unwrap();
            let sum = drawn.entry(key.clone()).or_default();
            let granted = want.0.min(limit.0.saturating_sub(*sum));
            *sum += granted;
            Ok(Money(granted))
        }
        .boxed()
    }

    fn give_back<'a>(&'a self, key: &'a BudgetKey, unspent: Money) -> BoxFuture<'a, Result<(), LedgerError>> {
        async move {
            self.check()?;
            *self.drawn.lock().unwrap().get_mut(key).unwrap() -= unspent.0;
            Ok(())
        }
        .boxed()
    }

    fn record<'a>(&'a self, calls: &'a [Call]) -> BoxFuture<'a, Result<(), LedgerError>> {
        async move {
            self.check()?;
            self.calls.lock().unwrap().extend_from_slice(calls);
            Ok(())
        }
        .boxed()
    }
}

struct OneKey(Option<&'static str>);

impl Keys for OneKey {
    fn key(&self, _provider: &str) -> Option<Zeroizing<String>> {
        self.0.map(|key| Zeroizing::new(key.to_owned()))
    }
}

/// Everything together.
pub(crate) struct House {
    pub(crate) server: ModelServer,
    pub(crate) gateway: Gateway,
    pub(crate) paper: Arc<Paper>,
    pub(crate) cancel: CancellationToken,
    tasks: TaskTracker,
}

/// Providers named after what they speak.
pub(crate) const WIRES: [(&str, &str); 4] = [
    ("anthropic", "/v1/messages"),
    ("openai", "/v1/chat/completions"),
    ("openai", "/v1/responses"),
    ("gemini", "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
];

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default(), Some(CANARY)).await
    }

    pub(crate) async fn with(config: Config, key: Option<&'static str>) -> Self {
        let server = ModelServer::start(Script { key: key.map(str::to_owned), ..Script::default() }).await;
        let url = server.url();
        Self::at(config, key, server, &url)
    }

    pub(crate) fn at(mut config: Config, key: Option<&'static str>, server: ModelServer, url: &str) -> Self {
        for (name, kind) in [("anthropic", Kind::Anthropic), ("openai", Kind::OpenAi), ("gemini", Kind::Gemini)] {
            let entry = config.providers.entry(name.to_owned()).or_default();
            entry.kind = Some(kind);
            entry.base_url = Some(url.to_owned());
        }
        let paper = Arc::new(Paper::default());
        let gateway = Gateway::open(config, Arc::new(OneKey(key)), paper.clone(), Arc::new(())).unwrap();
        Self { server, gateway, paper, cancel: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Opens a connection for `identity`.
    pub(crate) async fn dial(&self, identity: Identity) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let (gateway, cancel) = (self.gateway.clone(), self.cancel.clone());
        self.tasks.spawn(async move { gateway.serve(far, Bytes::new(), Arc::new(identity), cancel).await });
        let (send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        self.tasks.spawn(connection);
        send
    }

    pub(crate) async fn send(&self, identity: Identity, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.dial(identity).await.send_request(request).await.unwrap()
    }

    /// One whole call: status, headers as text, body. A body that breaks off ends with `<cut>`.
    pub(crate) async fn call(&self, identity: Identity, path: &str, body: &Value) -> Answer {
        self.whole(identity, post(path, body)).await
    }

    pub(crate) async fn whole(&self, identity: Identity, request: Request<Full<Bytes>>) -> Answer {
        let response = self.send(identity, request).await;
        let (parts, mut body) = response.into_parts();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => text.extend_from_slice(b"<cut>"),
            }
        }
        Answer { status: parts.status.as_u16(), head: format!("{:?}", parts.headers), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// The rows of a turn, once it is finished.
    pub(crate) async fn rows(&self, turn: &TurnId) -> Vec<Call> {
        self.gateway.finish(turn).await;
        self.paper.calls.lock().unwrap().iter().filter(|call| call.turn == *turn).cloned().collect()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn code(&self) -> String {
        let value: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let text = value["error"]["message"].as_str().unwrap_or_default();
        text.split(':').next().unwrap_or_default().to_owned()
    }
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "127.0.0.1").header("content-type", "application/json");
    request.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "127.0.0.1").body(Full::default()).unwrap()
}

pub(crate) fn turn(n: u128) -> TurnId {
    TurnId::from_bits(n)
}

/// A caller of a provider, without a budget.
pub(crate) fn identity(provider: &str) -> Identity {
    Identity {
        sandbox: SandboxId::from_bits(1),
        session: SessionId::from_bits(1),
        turn: turn(1),
        provider: provider.to_owned(),
        fallback: Vec::new(),
        model: None,
        models: Vec::new(),
        budgets: Vec::new(),
        tape: None,
        rehearsal: false,
        patience: None,
        rounds: None,
    }
}

pub(crate) fn with_budget(provider: &str, usd: &str) -> Identity {
    Identity { budgets: vec![Budget { key: BudgetKey("run".into()), limit: usd.parse().unwrap() }], ..identity(provider) }
}

/// A request that fits every API of [`WIRES`], without tools.
pub(crate) fn prompt(path: &str, text: &str) -> Value {
    let message = json!([{"role": "user", "content": text}]);
    if path.contains("/messages") {
        json!({"model": "claude-haiku-4-5", "max_tokens": 1000, "stream": true, "messages": message})
    } else if path.contains("/chat") {
        json!({"model": "gpt-5-nano", "max_completion_tokens": 1000, "stream": true, "messages": message})
    } else if path.contains("/responses") {
        json!({"model": "gpt-5-nano", "max_output_tokens": 1000, "stream": true, "input": text})
    } else {
        json!({"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 1000}})
    }
}

/// Provider tables beside those of the house.
pub(crate) fn providers(entries: &[(&str, ProviderConfig)]) -> BTreeMap<String, ProviderConfig> {
    entries.iter().map(|(name, config)| ((*name).to_owned(), config.clone())).collect()
}
