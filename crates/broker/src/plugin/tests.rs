//! Real programs on real pipes: each test is a small MCP server in Python that misbehaves in one way.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{Code, Failure};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Health, Launch, Process, Running, Supervisor, SupervisorConfig, Tail};

/// A server whose tools are the functions `tool_NAME(arguments, meta)`.
const SERVER: &str = r#"
import json, os, sys, threading, time
lock = threading.Lock()
def say(message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\n"); sys.stdout.flush()
def text(value): return {"content": [{"type": "text", "text": value}]}
cancelled = []
def tool_echo(a, m): return text(a["text"])
def tool_meta(a, m): return {"content": [], "structuredContent": m}
def tool_crash(a, m): sys.stderr.write("out of luck\n"); sys.stderr.flush(); os._exit(3)
def tool_hang(a, m): time.sleep(3600)
def tool_big(a, m): return text("x" * (1 << 20))
def tool_huge(a, m): return text("x" * (5 << 20))
def tool_fail(a, m): return {"content": [{"type": "text", "text": "no such city"}], "isError": True}
def tool_wrong(a, m): return {"answer": 42}
def tool_garbage(a, m): sys.stdout.write("Traceback, or whatever\n"); sys.stdout.flush(); time.sleep(3600)
def tool_stranger(a, m): say({"jsonrpc": "2.0", "id": 999999, "result": text("for nobody")}); time.sleep(3600)
def tool_pid(a, m): return text(str(os.getpid()))
def tool_asks(a, m):
    say({"jsonrpc": "2.0", "id": "q1", "method": "sampling/createMessage", "params": {}})
    say({"jsonrpc": "2.0", "id": "q2", "method": "ping"})
    while len(answers) < 2: time.sleep(0.01)
    return text(json.dumps([answers["q1"]["error"]["code"], answers["q2"]["result"]]))
def tool_flood(a, m):
    for _ in range(2000): sys.stderr.write("y" * 1000 + "\n")
    sys.stderr.write("the end of the flood\n"); sys.stderr.flush()
    return text("done")
def tool_meet(a, m):
    # Comes back only when so many are here at once.
    barrier.wait(20); return text("met")
def tool_cancelled(a, m): return text(json.dumps(cancelled))
barrier = threading.Barrier(8)
answers = {}
names = [n[5:] for n in list(globals()) if n.startswith("tool_")]
def call(message):
    p = message["params"]
    say({"jsonrpc": "2.0", "id": message["id"], "result": globals()["tool_" + p["name"]](p.get("arguments"), p.get("_meta"))})
def serve():
    for line in sys.stdin:
        m = json.loads(line)
        method, id = m.get("method"), m.get("id")
        if method == "initialize":
            time.sleep(float(os.environ.get("SLOW", "0")))
            say({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": os.environ.get("PROTOCOL", "2024-11-05"), "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "7"}}})
        elif method == "tools/list":
            at = int(m["params"].get("cursor", "0"))
            page = [{"name": n, "description": n, "inputSchema": {"type": "object"}} for n in names[at:at + 4]]
            result = {"tools": page}
            if at + 4 < len(names): result["nextCursor"] = str(at + 4)
            say({"jsonrpc": "2.0", "id": id, "result": result})
        elif method == "tools/call": threading.Thread(target=call, args=(m,), daemon=True).start()
        elif method == "notifications/cancelled": cancelled.append(m["params"]["requestId"])
        elif method is None: answers[id] = m
serve()
"#;

/// Starts the server as a child process.
struct Children {
    script: String,
    env: Vec<(&'static str, &'static str)>,
    started: AtomicUsize,
}

struct OneChild {
    child: Mutex<Option<Child>>,
    tail: Arc<Tail>,
}

impl Running for OneChild {
    fn end(&self) -> BoxFuture<'_, ()> {
        async {
            let child = self.child.lock().unwrap().take();
            if let Some(mut child) = child {
                let _ = child.kill().await;
            }
        }
        .boxed()
    }

    fn last_words(&self) -> String {
        self.tail.text()
    }
}

impl Launch for Children {
    fn launch<'a>(&'a self, agent: Option<&'a str>) -> BoxFuture<'a, Result<Process, Failure>> {
        async move {
            self.started.fetch_add(1, Ordering::SeqCst);
            let mut command = Command::new("python3");
            command.args(["-c", &self.script]).envs(self.env.iter().copied()).env("AGENT", agent.unwrap_or("")).kill_on_drop(true);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let (input, output, mut errors) = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
            let tail = Arc::new(Tail::default());
            let into = Arc::clone(&tail);
            TaskTracker::new().spawn(async move {
                let mut piece = vec![0; 4096];
                while let Ok(n @ 1..) = errors.read(&mut piece).await {
                    into.push(&piece[..n]);
                }
            });
            let running = OneChild { child: Mutex::new(Some(child)), tail };
            Ok(Process { input: Box::new(input), output: Box::new(output), running: Box::new(running) })
        }
        .boxed()
    }
}

struct Scene {
    supervisor: Supervisor,
    children: Arc<Children>,
}

fn config() -> SupervisorConfig {
    SupervisorConfig {
        name: "test".to_owned(),
        per_agent: false,
        alone: false,
        idle: Duration::from_secs(600),
        check: Arc::new(|_| std::future::ready(Ok(())).boxed()),
    }
}

fn scene(script: &str, env: &[(&'static str, &'static str)], config: SupervisorConfig) -> Scene {
    let children = Arc::new(Children { script: script.to_owned(), env: env.to_vec(), started: AtomicUsize::new(0) });
    let supervisor = Supervisor::new(config, Arc::clone(&children) as Arc<dyn Launch>, TaskTracker::new(), CancellationToken::new());
    Scene { supervisor, children }
}

fn usual() -> Scene {
    scene(SERVER, &[], config())
}

/// Long enough for a machine under load.
const LONG: Duration = Duration::from_secs(240);

impl Scene {
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Code> {
        self.call_as("a", tool, arguments, LONG).await
    }

    async fn call_as(&self, agent: &str, tool: &str, arguments: Value, limit: Duration) -> Result<Value, Code> {
        let meta = json!({ "lazaret/session": "ses", "lazaret/idempotency-key": "apr" });
        self.supervisor.call(agent, tool, &arguments, &meta, limit).await.map_err(|f| f.code)
    }

    fn started(&self) -> usize {
        self.children.started.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_call_goes_to_one_process_that_stays() {
    let scene = usual();
    let listing = scene.supervisor.listing(None).await.unwrap();
    assert_eq!((listing.server.as_str(), listing.version.as_str()), ("s", "7"));
    assert!(listing.tools.len() > 8 && listing.tools[0].name == "echo", "all pages, in order: {listing:?}");
    assert_eq!(scene.call("echo", json!({ "text": "a\n\u{1f600}\"" })).await, Ok(json!("a\n\u{1f600}\"")));
    assert_eq!(scene.call("meta", json!({})).await, Ok(json!({ "lazaret/session": "ses", "lazaret/idempotency-key": "apr" })));
    assert_eq!(scene.call("asks", json!({})).await, Ok(json!("[-32601, {}]")));
    assert_eq!((scene.started(), scene.supervisor.health()), (1, Health::Well));
}

#[tokio::test]
async fn every_way_to_fail_is_an_error_and_never_a_result() {
    let scene = usual();
    assert_eq!(scene.call("fail", json!({})).await, Err(Code::HandlerError));
    for (tool, code) in
        [("big", Code::PluginError), ("wrong", Code::PluginError), ("garbage", Code::PluginError), ("stranger", Code::PluginError)]
    {
        assert_eq!(scene.call(tool, json!({})).await, Err(code), "{tool}");
    }
    assert_eq!(scene.started(), 1, "none of these ends the program");
    assert_eq!(scene.call("huge", json!({})).await, Err(Code::PluginError));
    assert_eq!(scene.call("crash", json!({})).await, Err(Code::PluginUnavailable));
    assert_eq!(scene.call("echo", json!({ "text": "again" })).await, Ok(json!("again")), "it is started again");
    assert_eq!(scene.started(), 3);
}

#[tokio::test]
async fn what_a_crash_said_is_for_the_owner_alone() {
    let scene = usual();
    let failure = scene.supervisor.call("a", "crash", &json!({}), &json!({}), LONG).await.unwrap_err();
    assert_eq!((failure.code, failure.message.contains("luck"), failure.retriable), (Code::PluginUnavailable, false, true));
    let Health::Failing(seen) = wait_for(|| Some(scene.supervisor.health()).filter(|h| *h != Health::Well)).await else { unreachable!() };
    assert!(seen.hint.unwrap().contains("out of luck"));
}

async fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    tokio::time::timeout(LONG, async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
    .expect("it comes")
}

#[tokio::test]
async fn a_program_that_crashes_again_and_again_is_left_alone_for_longer_and_longer() {
    let scene = scene("import os; os._exit(1)", &[], config());
    assert_eq!(scene.call("echo", json!({})).await, Err(Code::PluginUnavailable));
    assert_eq!(scene.call("echo", json!({})).await, Err(Code::PluginUnavailable), "after a pause");
    assert_eq!(scene.call("echo", json!({})).await, Err(Code::PluginUnavailable), "after a longer pause");
    assert_eq!(scene.started(), 3);
    // The pause is four seconds now, or longer still if the machine slept over it, and no call waits for it.
    loop {
        let before = scene.started();
        let failure = scene.supervisor.call("a", "echo", &json!({}), &json!({}), LONG).await.unwrap_err();
        assert_eq!(failure.code, Code::PluginUnavailable, "{failure}");
        if failure.message.contains("started again in") {
            assert_eq!(scene.started(), before);
            break;
        }
        assert!(before < 8, "it is started without a pause");
    }
}

#[tokio::test]
async fn a_hanging_call_times_out_is_cancelled_and_the_third_ends_the_program() {
    let scene = usual();
    let pid = scene.call("pid", json!({})).await.unwrap();
    let short = Duration::from_millis(600);
    for _ in 0..2 {
        assert_eq!(scene.call_as("a", "hang", json!({}), short).await, Err(Code::PluginTimeout));
    }
    let heard: Vec<u64> = serde_json::from_str(scene.call("cancelled", json!({})).await.unwrap().as_str().unwrap()).unwrap();
    assert_eq!(heard.len(), 2, "the program hears that nobody waits");
    assert_eq!(scene.call("pid", json!({})).await, Ok(pid.clone()), "a call that goes well starts the count anew");
    for _ in 0..3 {
        assert_eq!(scene.call_as("a", "hang", json!({}), short).await, Err(Code::PluginTimeout));
    }
    let now = scene.call("pid", json!({})).await.unwrap();
    assert!(now != pid && scene.started() == 2);
}

#[tokio::test]
async fn calls_run_at_once() {
    let scene = Arc::new(usual());
    let calls = (0..8).map(|_| scene.call("meet", json!({})));
    for met in futures_util::future::join_all(calls).await {
        assert_eq!(met, Ok(json!("met")));
    }
}

#[tokio::test]
async fn too_many_calls_wait_and_then_are_refused() {
    let scene = Arc::new(usual());
    assert!(scene.call("echo", json!({ "text": "" })).await.is_ok());
    let calls = (0..100).map(|_| scene.call_as("a", "hang", json!({}), Duration::from_secs(3)));
    let ends = futures_util::future::join_all(calls).await;
    let refused = ends.iter().filter(|end| **end == Err(Code::PluginUnavailable)).count();
    assert!(ends.iter().all(Result::is_err) && refused >= 20, "16 were under way, 64 waited: {ends:?}");
}

#[tokio::test]
async fn a_flood_of_standard_error_leaves_its_end() {
    let scene = usual();
    assert_eq!(scene.call("flood", json!({})).await, Ok(json!("done")));
    let words = wait_for(|| Some(scene.supervisor.last_words()).filter(|w| w.ends_with("the end of the flood"))).await;
    assert!(words.len() <= 8 << 10, "{}", words.len());
}

#[tokio::test]
async fn a_slow_start_is_waited_for() {
    let slow = scene(SERVER, &[("SLOW", "1")], config());
    assert_eq!(slow.call("echo", json!({ "text": "x" })).await, Ok(json!("x")));
}

/// With a clock that goes on to the next deadline as soon as everybody waits: the limit may be long.
#[tokio::test(start_paused = true)]
async fn a_start_without_an_end_is_not_waited_for() {
    let never = || scene("import time; time.sleep(3600)", &[], config());
    let (late, waited) = (never(), never());
    let short = late.call_as("a", "echo", json!({}), Duration::from_millis(200));
    let (late, failure) = tokio::join!(short, waited.supervisor.listing(None));
    assert_eq!((late, failure.map(drop).map_err(|f| f.code)), (Err(Code::PluginTimeout), Err(Code::PluginTimeout)));
}

#[tokio::test]
async fn other_revisions_of_the_protocol_are_understood_and_no_others() {
    for (revision, good) in [("2025-03-26", true), ("2025-06-18", true), ("2027-01-01", true), ("2023-01-01", false), ("latest", false)] {
        let scene = scene(SERVER, &[("PROTOCOL", revision)], config());
        let began = scene.supervisor.listing(None).await.map(drop).map_err(|f| f.code);
        assert_eq!(began, if good { Ok(()) } else { Err(Code::PluginError) }, "{revision}");
    }
}

#[tokio::test]
async fn an_idle_process_ends_and_the_next_call_starts_another() {
    let scene = scene(SERVER, &[], SupervisorConfig { idle: Duration::from_millis(100), ..config() });
    let first = scene.call("pid", json!({})).await.unwrap();
    wait_for(|| std::fs::metadata(format!("/proc/{}", first.as_str().unwrap())).is_err().then_some(())).await;
    assert!(scene.call("pid", json!({})).await.unwrap() != first);
    assert_eq!(scene.supervisor.health(), Health::Well, "to idle is no failure");
}

#[tokio::test]
async fn each_agent_has_its_own_process_where_the_plugin_wants_that() {
    let scene = scene(SERVER, &[], SupervisorConfig { per_agent: true, ..config() });
    let (a, b) = (scene.call_as("a", "pid", json!({}), LONG).await, scene.call_as("b", "pid", json!({}), LONG).await);
    assert_ne!(a, b);
    assert_eq!(scene.call_as("a", "pid", json!({}), LONG).await, a);
    assert_eq!(scene.call_as("a", "crash", json!({}), LONG).await, Err(Code::PluginUnavailable));
    assert_eq!(scene.call_as("b", "pid", json!({}), LONG).await, b, "the crash of one is not that of the other");
}

#[tokio::test]
async fn what_is_under_way_when_a_plugin_retires_comes_to_its_end() {
    let scene = Arc::new(usual());
    assert!(scene.call("echo", json!({ "text": "" })).await.is_ok());
    let seven = futures_util::future::join_all((0..7).map(|_| scene.call("meet", json!({}))));
    let last = async {
        let (retired, last) = tokio::join!(scene.supervisor.retire(LONG), async {
            // A call that comes now is refused, so the eighth is made by a call that was counted before.
            wait_for(|| scene.supervisor.is_retired().then_some(())).await;
            scene.call("echo", json!({ "text": "late" })).await
        });
        let () = retired;
        last
    };
    let eighth = scene.call("meet", json!({}));
    let (seven, eighth, late) = tokio::join!(seven, eighth, last);
    assert!(seven.into_iter().chain([eighth]).all(|met| met == Ok(json!("met"))));
    assert_eq!(late, Err(Code::PluginUnavailable));
}

#[tokio::test]
async fn a_program_that_lists_otherwise_than_it_may_is_not_called() {
    let no = SupervisorConfig {
        check: Arc::new(|_| std::future::ready(Err(Failure::new(Code::PluginError, "it has changed"))).boxed()),
        ..config()
    };
    let scene = scene(SERVER, &[], no);
    let failure = scene.supervisor.call("a", "echo", &json!({ "text": "x" }), &json!({}), LONG).await.unwrap_err();
    assert_eq!((failure.code, failure.message.contains("it has changed")), (Code::PluginError, true));
}

/// A program that cannot be started for anybody but one, for whom it takes for ever.
struct Nowhere;

impl Launch for Nowhere {
    fn launch<'a>(&'a self, agent: Option<&'a str>) -> BoxFuture<'a, Result<Process, Failure>> {
        let waits = agent == Some("held");
        async move { if waits { std::future::pending().await } else { Err(Failure::new(Code::PluginUnavailable, "there is no such program")) } }
            .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn places_of_agents_that_use_a_plugin_no_more_are_free_for_others() {
    let config = SupervisorConfig { per_agent: true, ..config() };
    let supervisor = Supervisor::new(config, Arc::new(Nowhere), TaskTracker::new(), CancellationToken::new());
    let asks = async |agent: &str| supervisor.listing(Some(agent)).await.map(drop).map_err(|failure| failure.code);
    let mut held = std::pin::pin!(asks("held"));
    assert!(futures_util::poll!(&mut held).is_pending());
    for n in 1..super::supervisor::SLOTS_MAX {
        assert_eq!(asks(&n.to_string()).await, Err(Code::PluginUnavailable));
    }
    assert_eq!(asks("one more").await, Err(Code::Busy), "it is not known yet whether it works for them");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(asks("one more").await, Err(Code::PluginUnavailable));
    for n in 2..super::supervisor::SLOTS_MAX {
        assert_eq!(asks(&n.to_string()).await, Err(Code::PluginUnavailable));
    }
    assert_eq!(asks("1").await, Err(Code::Busy), "the place of who waits for a start is its own");
}
