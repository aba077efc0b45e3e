//! A small MCP server: JSON-RPC in lines, calls of tools at once, and questions to the person at the other end.
//!
//! The other end is a host that its user started, which is trusted; lines are limited all the same, so that a fault stays small.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use crate::person::{Ask, Asks, Said};
use crate::tool::{Call, Outcome, Plugin, ToolError};

/// The longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 4 << 20;
/// The longest result, in bytes of its JSON; the host takes no longer one. Longer ones are errors, never cut.
const RESULT_BYTES_MAX: usize = 900 << 10;
/// Calls that may be under way; more are refused.
const CALLS_MAX: usize = 32;
/// How long calls that are under way when the input ends may still take.
const GRACE: Duration = Duration::from_secs(4);
/// The versions of the protocol that are spoken here, the newest first.
const VERSIONS: [&str; 3] = ["2025-06-18", "2025-03-26", "2024-11-05"];
/// The longest idempotency key that is taken over.
const KEY_BYTES_MAX: usize = 64;

const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;
const INTERNAL_ERROR: i64 = -32_603;

/// Serves `plugin` until the input ends or the output breaks.
///
/// # Errors
/// Reading or writing failed, or a line was too long.
pub(crate) async fn serve<R, W>(plugin: Arc<dyn Plugin>, name: &str, mut asks: Asks, input: R, mut output: W) -> std::io::Result<()>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let can_ask = asks.flag();
    let mut server = Server {
        plugin,
        name: name.to_owned(),
        calls: JoinSet::new(),
        running: BTreeMap::new(),
        asked: BTreeMap::new(),
        count: 0,
        can_ask,
    };
    let mut lines = Lines { input, line: Vec::new() };
    loop {
        tokio::select! {
            line = lines.next() => match line? {
                None => break,
                Some(line) => {
                    if let Some(answer) = server.take(&line) {
                        send(&mut output, &answer).await?;
                    }
                }
            },
            Some(ended) = server.calls.join_next() => {
                if let Some(answer) = server.ended(ended) {
                    send(&mut output, &answer).await?;
                }
            }
            Some(ask) = asks.next() => {
                let request = server.ask(ask);
                send(&mut output, &request).await?;
            }
        }
    }
    // Nobody is left who could answer.
    server.asked.clear();
    // What an input's end finds under way may be a mail half sent: it gets the chance to end well.
    let _ = tokio::time::timeout(GRACE, async {
        while let Some(ended) = server.calls.join_next().await {
            if let Some(answer) = server.ended(ended) {
                let _ = send(&mut output, &answer).await;
            }
        }
    })
    .await;
    Ok(())
}

struct Server {
    plugin: Arc<dyn Plugin>,
    name: String,
    calls: JoinSet<(Value, Value)>,
    /// Calls under way by the text of their id, so that they can be given up.
    running: BTreeMap<String, (AbortHandle, Value)>,
    /// Questions that the person has, by their id; as many as calls at most.
    asked: BTreeMap<String, oneshot::Sender<Said>>,
    count: u64,
    can_ask: Arc<AtomicBool>,
}

impl Server {
    /// Takes one message; gives the answer that can be given at once.
    fn take(&mut self, line: &[u8]) -> Option<Value> {
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            return Some(failed(&Value::Null, PARSE_ERROR, "this is not JSON"));
        };
        let id = message.get("id").cloned();
        let Some(method) = message.get("method").and_then(Value::as_str) else {
            let is_answer = message.get("result").is_some() || message.get("error").is_some();
            // An answer to a request that was never sent is nothing to react to.
            if let Some(asked) = id.as_ref().and_then(Value::as_str).and_then(|id| self.asked.remove(id)) {
                let _ = asked.send(said(&message));
            }
            return (!is_answer).then(|| failed(&id.unwrap_or(Value::Null), INVALID_REQUEST, "this is not a request"));
        };
        let params = message.get("params").cloned().unwrap_or_else(|| json!({}));
        let Some(id) = id else {
            self.notice(method, &params);
            return None;
        };
        match method {
            "initialize" => {
                self.can_ask.store(params.pointer("/capabilities/elicitation").is_some_and(Value::is_object), Ordering::Relaxed);
                Some(done(&id, self.initialize(&params)))
            }
            "ping" => Some(done(&id, json!({}))),
            "tools/list" => self.begin(id, None),
            "tools/call" => match call_of(params) {
                Ok(call) => self.begin(id, Some(call)),
                Err(why) => Some(failed(&id, INVALID_PARAMS, why)),
            },
            other => Some(failed(&id, METHOD_NOT_FOUND, &format!("there is no method `{other}` here"))),
        }
    }

    fn initialize(&self, params: &Value) -> Value {
        let asked = params.get("protocolVersion").and_then(Value::as_str);
        let version = asked.filter(|v| VERSIONS.contains(v)).unwrap_or(VERSIONS[0]);
        json!({
            "protocolVersion": version,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": self.name, "version": env!("CARGO_PKG_VERSION")},
        })
    }

    /// The request that puts a question to the person.
    fn ask(&mut self, ask: Ask) -> Value {
        self.asked.retain(|_, asked| !asked.is_closed());
        self.count += 1;
        let id = format!("ask-{}", self.count);
        self.asked.insert(id.clone(), ask.said);
        let yes = json!({"type": "boolean", "title": "Yes, do this", "default": false});
        let schema = json!({"type": "object", "properties": {"yes": yes}, "required": ["yes"]});
        let params = json!({"message": ask.question, "requestedSchema": schema});
        json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params})
    }

    fn notice(&mut self, method: &str, params: &Value) {
        if method == "notifications/cancelled"
            && let Some(id) = params.get("requestId")
            && let Some((running, _)) = self.running.remove(&id.to_string())
        {
            running.abort();
        }
    }

    /// Begins what takes time: a call, or without one the list of tools.
    fn begin(&mut self, id: Value, call: Option<Call>) -> Option<Value> {
        if self.calls.len() >= CALLS_MAX {
            return Some(failed(&id, INTERNAL_ERROR, "too many calls are under way"));
        }
        let key = id.to_string();
        if self.running.contains_key(&key) {
            return Some(failed(&id, INVALID_REQUEST, "a request of this id is under way"));
        }
        let (plugin, own) = (self.plugin.clone(), id.clone());
        let running = self.calls.spawn(async move {
            let answer = match call {
                Some(call) => done(&own, outcome(plugin.call(&call).await)),
                None => match plugin.tools().await {
                    Ok(tools) => done(&own, json!({ "tools": tools })),
                    Err(error) => failed(&own, INTERNAL_ERROR, &error.to_string()),
                },
            };
            (own, answer)
        });
        self.running.insert(key, (running, id));
        None
    }

    /// The answer of a call that ended; none for one that was given up.
    fn ended(&mut self, ended: Result<(Value, Value), tokio::task::JoinError>) -> Option<Value> {
        match ended {
            Ok((id, answer)) => self.running.remove(&id.to_string()).map(|_| answer),
            Err(error) if error.is_cancelled() => None,
            Err(error) => {
                let task = error.id();
                let key = self.running.iter().find(|(_, (running, _))| running.id() == task).map(|(key, _)| key.clone())?;
                let (_, id) = self.running.remove(&key)?;
                Some(failed(&id, INTERNAL_ERROR, "the plugin failed inside"))
            }
        }
    }
}

/// What the person said: yes is yes only where it is said in so many words.
fn said(message: &Value) -> Said {
    let is_yes = message.pointer("/result/action").and_then(Value::as_str) == Some("accept")
        && message.pointer("/result/content/yes") == Some(&Value::Bool(true));
    match message.get("result") {
        Some(_) if is_yes => Said::Yes,
        Some(_) => Said::No,
        None => Said::Nobody,
    }
}

fn call_of(params: Value) -> Result<Call, &'static str> {
    let tool = params.get("name").and_then(Value::as_str).ok_or("a call names its tool")?.to_owned();
    let arguments = params.get("arguments").cloned().unwrap_or_else(|| json!({}));
    if !arguments.is_object() {
        return Err("arguments are an object");
    }
    let key = params.pointer("/_meta/lazaret~1idempotency-key").and_then(Value::as_str);
    // It becomes a part of names and heads elsewhere.
    let is_plain =
        |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    Ok(Call { tool, arguments, key: key.filter(is_plain).map(str::to_owned) })
}

/// The result of `tools/call`.
fn outcome(outcome: Result<Outcome, ToolError>) -> Value {
    let text = |text: String, is_error: bool| json!({"content": [{"type": "text", "text": text}], "isError": is_error});
    match outcome {
        Err(error) => text(error.to_string(), true),
        Ok(Outcome::Whole(value)) if value.to_string().len() <= RESULT_BYTES_MAX => value,
        Ok(Outcome::Object(value)) if value.to_string().len() <= RESULT_BYTES_MAX => {
            let mut result = text(value.to_string(), false);
            result["structuredContent"] = value;
            result
        }
        Ok(_) => text(format!("the result is longer than {RESULT_BYTES_MAX} bytes: ask for less"), true),
    }
}

fn done(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn failed(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

async fn send<W: AsyncWrite + Unpin>(output: &mut W, message: &Value) -> std::io::Result<()> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    output.write_all(&line).await?;
    output.flush().await
}

/// Lines of a stream; what was read of one is kept when the reading is given up.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let room = (LINE_BYTES_MAX - self.line.len().min(LINE_BYTES_MAX)) as u64;
        let read = (&mut self.input).take(room).read_until(b'\n', &mut self.line).await?;
        if self.line.last() == Some(&b'\n') {
            return Ok(Some(std::mem::take(&mut self.line)));
        }
        if read > 0 || self.line.len() >= LINE_BYTES_MAX {
            let long = self.line.len() >= LINE_BYTES_MAX;
            return if long { Err(std::io::Error::other("a line is too long")) } else { Ok(None) };
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use tokio::io::BufReader;
    use tokio::sync::Notify;

    use super::*;

    struct Odd {
        go: Notify,
    }

    impl Plugin for Odd {
        fn tools(&self) -> BoxFuture<'_, Result<Vec<Value>, ToolError>> {
            Box::pin(async { Ok(vec![json!({"name": "say"})]) })
        }

        fn call<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Outcome, ToolError>> {
            Box::pin(async move {
                match call.tool.as_str() {
                    "say" => Ok(json!({"said": call.arguments, "key": call.key}).into()),
                    "wait" => {
                        self.go.notified().await;
                        Ok(json!({"waited": true}).into())
                    }
                    "go" => {
                        self.go.notify_one();
                        Ok(json!({}).into())
                    }
                    "never" => std::future::pending().await,
                    "panic" => panic!("a fault"),
                    "much" => Ok(json!({"text": "x".repeat(RESULT_BYTES_MAX)}).into()),
                    other => Err(ToolError::Unknown(other.to_owned())),
                }
            })
        }
    }

    async fn said(lines: &[Value]) -> Vec<Value> {
        let input = lines.iter().map(|l| l.to_string() + "\n").collect::<String>();
        let mut output = Vec::new();
        serve(Arc::new(Odd { go: Notify::new() }), "odd", crate::person().1, BufReader::new(input.as_bytes()), &mut output).await.unwrap();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn call(id: i64, tool: &str) -> Value {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"a": 1}}})
    }

    #[tokio::test]
    async fn the_handshake_and_the_unknown() {
        let answers = said(&[
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-03-26"}}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": "a", "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": 2, "method": "resources/list"}),
            json!({"jsonrpc": "2.0", "id": 3, "result": {}}),
            json!([1]),
        ])
        .await;
        assert_eq!(answers.len(), 4, "{answers:?}");
        assert_eq!(answers[0]["result"]["protocolVersion"], "2025-03-26");
        assert_eq!((&answers[1]["id"], &answers[1]["result"]), (&json!("a"), &json!({})));
        assert_eq!(answers[2]["error"]["code"], METHOD_NOT_FOUND);
        assert_eq!(answers[3]["error"]["code"], INVALID_REQUEST);
    }

    #[tokio::test]
    async fn calls_run_at_once() {
        let answers = said(&[call(1, "wait"), call(2, "go")]).await;
        let mut ids: Vec<i64> = answers.iter().map(|a| a["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2]);
        assert!(answers.iter().all(|a| a["result"]["isError"] == false), "{answers:?}");
    }

    #[tokio::test]
    async fn faults_are_errors_and_the_server_goes_on() {
        let answers = said(&[call(1, "panic"), call(2, "none"), call(3, "much"), call(4, "say")]).await;
        let of = |id: i64| answers.iter().find(|a| a["id"] == id).unwrap();
        assert_eq!(of(1)["error"]["code"], INTERNAL_ERROR);
        assert_eq!((&of(2)["result"]["isError"], &of(3)["result"]["isError"]), (&json!(true), &json!(true)));
        assert_eq!(of(4)["result"]["structuredContent"]["said"], json!({"a": 1}));
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_gets_no_answer() {
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
        let answers = said(&[call(1, "never"), cancel, call(2, "say")]).await;
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0]["id"], 2);
    }

    #[tokio::test]
    async fn only_plain_keys_are_taken_over() {
        for (key, expect) in [("gra_01-x", json!("gra_01-x")), ("a\r\nBcc: b", Value::Null), ("", Value::Null)] {
            let mut call = call(1, "say");
            call["params"]["_meta"] = json!({"lazaret/idempotency-key": key});
            assert_eq!(said(&[call]).await[0]["result"]["structuredContent"]["key"], expect);
        }
    }
}
