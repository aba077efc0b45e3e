//! A daemon that dies over what is due and over what is told: each time has one effect, and each end is told, under one identity.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Connection, Reply};

use crate::scene::{PATIENCE, daemon, dies};
use crate::support::Lab;

macro_rules! points {
    ($($test:ident: $point:literal, $scene:ident;)*) => {
        /// Every point that is tried here.
        pub(crate) const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { $scene($point); })*
    };
}

points! {
    task_planned: "task:planned", due;
    task_begun: "task:begun", due;
    task_made: "task:made", due;
    store_task_create_before: "store.task-create.before", due;
    store_task_create_after: "store.task-create.after", due;
    store_task_plan_before: "store.task-plan.before", due;
    store_task_plan_after: "store.task-plan.after", due;
    store_task_begin_before: "store.task-begin.before", due;
    store_task_begin_after: "store.task-begin.after", due;
    store_task_made_before: "store.task-made.before", due;
    store_task_made_after: "store.task-made.after", due;
    store_task_change_before: "store.task-change.before", paused;
    store_task_change_after: "store.task-change.after", paused;
    store_task_remove_before: "store.task-remove.before", removed;
    store_task_remove_after: "store.task-remove.after", removed;
    store_task_end_before: "store.task-end.before", failed;
    store_task_end_after: "store.task-end.after", failed;
    store_task_forget_before: "store.task-forget.before", at_start;
    store_task_forget_after: "store.task-forget.after", at_start;
    webhook_claimed: "webhook:claimed", told;
    webhook_sent: "webhook:sent", told;
    store_webhook_claim_before: "store.webhook-claim.before@2", told;
    store_webhook_claim_after: "store.webhook-claim.after@2", told;
    store_webhook_body_before: "store.webhook-body.before", told;
    store_webhook_body_after: "store.webhook-body.after", told;
    store_webhook_tried_before: "store.webhook-tried.before", told;
    store_webhook_tried_after: "store.webhook-tried.after", told;
    store_webhook_resend_before: "store.webhook-resend.before", told_again;
    store_webhook_resend_after: "store.webhook-resend.after", told_again;
    store_webhook_forget_before: "store.webhook-forget.before", at_start;
    store_webhook_forget_after: "store.webhook-forget.after", at_start;
}

/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);

fn ask(lab: &Lab, method: &str, path: &str, body: Value) -> std::io::Result<Reply> {
    let socket = lab.home().join("run").join(api::OWNER_SOCKET);
    let body = Some(body).filter(|body| !body.is_null());
    Connection::open(&socket, PATIENCE)?.ask(method, path, &[], body.as_ref())
}

fn get(lab: &Lab, path: &str) -> Value {
    ask(lab, "GET", path, Value::Null).and_then(Reply::good).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Asks over the daemon's death, and asks the next one again unless the answer came or the first request came through.
fn ask_over(lab: &Lab, point: &str, method: &str, path: &str, body: &Value, done: &[u16]) {
    let mut first = daemon(lab, Some(point));
    let said = ask(lab, method, path, body.clone());
    let is_done = said.is_ok_and(|reply| (200..300).contains(&reply.status));
    dies(&mut first, point);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    if !is_done {
        let again = ask(lab, method, path, body.clone()).expect("an answer");
        assert!((200..300).contains(&again.status) || done.contains(&again.status), "{point}: {}", again.json());
    }
}

/// Looks until it is so.
#[track_caller]
fn wait(point: &str, mut is_so: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + PATIENCE;
    loop {
        match is_so() {
            Ok(()) => return,
            Err(why) => assert!(Instant::now() < end, "{point}: {why}"),
        }
        std::thread::sleep(STEP);
    }
}

fn log(lab: &Lab, task: &str) -> Vec<Value> {
    get(lab, &format!("/v1/tasks/{task}/log?limit=200"))["items"].as_array().expect("items").clone()
}

fn of(log: &[Value], status: &str) -> usize {
    log.iter().filter(|run| run["status"] == status).count()
}

fn often() -> Value {
    let job = json!({ "agent_id": "task", "prompt": "hello" });
    json!({ "name": "often", "cron": "* * * * * *", "overlap": "parallel", "misfire": "all", "action": { "job": job } })
}

fn yearly() -> Value {
    let job = json!({ "agent_id": "task", "prompt": "hello" });
    json!({ "name": "yearly", "cron": "0 0 1 1 *", "action": { "job": job } })
}

/// Every time that came has one run, and every run one job.
fn due(point: &str) {
    let lab = Lab::new();
    ask_over(&lab, point, "POST", "/v1/tasks", &often(), &[409]);
    wait(point, || {
        let log = log(&lab, "often");
        if of(&log, "done") >= 3 { Ok(()) } else { Err(format!("{log:?}")) }
    });
    lab.run(&["task", "pause", "often"]).succeeds();
    wait(point, || {
        let log = log(&lab, "often");
        if of(&log, "begun") == 0 { Ok(()) } else { Err(format!("{log:?}")) }
    });
    let log = log(&lab, "often");
    let times: BTreeSet<u64> = log.iter().filter_map(|run| run["due"].as_u64()).collect();
    assert_eq!(times.len(), log.len(), "{point}: {log:?}");
    assert_eq!(of(&log, "failed"), 0, "{point}: {log:?}");
    let first = times.first().copied().unwrap_or_default();
    for run in log.iter().filter(|run| run["status"] == "done") {
        let jobs = get(&lab, &format!("/v1/jobs?label=task-run={}", run["id"].as_str().expect("an identity")));
        let ids: Vec<&str> = jobs["items"].as_array().expect("items").iter().filter_map(|job| job["id"].as_str()).collect();
        assert_eq!(ids, [run["job"].as_str().expect("a job")], "{point}: {run}");
        // None is left out between the first and the last.
        assert_eq!((run["due"].as_u64().unwrap_or_default() - first) % 1000, 0, "{point}: {run}");
    }
}

fn paused(point: &str) {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    ask(&lab, "POST", "/v1/tasks", yearly()).and_then(Reply::good).expect("a task");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    ask_over(&lab, point, "POST", "/v1/tasks/yearly/pause", &json!({}), &[]);
    assert_eq!(get(&lab, "/v1/tasks/yearly")["status"], "paused", "{point}");
}

fn removed(point: &str) {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    ask(&lab, "POST", "/v1/tasks", yearly()).and_then(Reply::good).expect("a task");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    ask_over(&lab, point, "DELETE", "/v1/tasks/yearly", &Value::Null, &[404]);
    assert_eq!(get(&lab, "/v1/tasks")["items"], json!([]), "{point}");
}

/// A failure is counted once.
fn failed(point: &str) {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    ask(&lab, "POST", "/v1/envs", json!({ "name": "gone" })).and_then(Reply::good).expect("an env");
    let action = json!({ "message": { "text": "hello", "env": "gone" } });
    ask(&lab, "POST", "/v1/tasks", json!({ "name": "fails", "cron": "0 0 1 1 *", "action": action }))
        .and_then(Reply::good)
        .expect("a task");
    ask(&lab, "DELETE", "/v1/envs/gone", Value::Null).and_then(Reply::good).expect("gone");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let mut first = daemon(&lab, Some(point));
    // It may die before this is answered.
    let _ = ask(&lab, "POST", "/v1/tasks/fails/run", json!({}));
    dies(&mut first, point);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    wait(point, || {
        let log = log(&lab, "fails");
        if of(&log, "failed") == 1 && log.len() == 1 { Ok(()) } else { Err(format!("{log:?}")) }
    });
    assert_eq!(get(&lab, "/v1/tasks/fails")["failures"], 1, "{point}");
}

/// What is done at every start is done by the next one.
fn at_start(point: &str) {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    ask(&lab, "POST", "/v1/tasks", yearly()).and_then(Reply::good).expect("a task");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let mut command = lab.command(&["up", "--listen", "127.0.0.1:0"]);
    let mut first = command.env("LAZARET_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("up");
    dies(&mut first, point);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    assert_eq!(get(&lab, "/v1/tasks/yearly")["status"], "active", "{point}");
}

/// Takes webhooks: their identities and bodies, in the order in which they came.
struct Mailbox {
    url: String,
    letters: Arc<Mutex<Vec<(String, String)>>>,
}

impl Mailbox {
    fn new(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let letters = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&letters);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                take(stream, answer, |letter| kept.lock().expect("letters").push(letter));
            }
        });
        Self { url, letters }
    }

    fn by_identity(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, body) in self.letters.lock().expect("letters").iter().cloned() {
            all.entry(id).or_default().push(body);
        }
        all
    }
}

/// Takes a letter, and answers when it is kept: whoever was told that it came must find it.
fn take(mut stream: TcpStream, answer: &str, keep: impl FnOnce((String, String))) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut text = String::new();
    let mut buffer = [0; 65536];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let field = |name: &str| head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix(name).map(|v| v.trim().to_owned()));
            if body.len() >= field("content-length:")?.parse::<usize>().ok()? {
                keep((field("x-lazaret-delivery:")?, body.to_owned()));
                return stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).ok();
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => text.push_str(std::str::from_utf8(&buffer[..n]).ok()?),
            _ => return None,
        }
    }
}

fn hooks(lab: &Lab) {
    lab.run(&["config", "set", "webhooks.private_ok", "[\"127.0.0.1\"]"]).succeeds();
}

fn told_job(lab: &Lab, url: &str) -> std::io::Result<Value> {
    let form = json!({ "agent_id": "hook", "prompt": "hello", "webhook_url": url });
    ask(lab, "POST", "/v1/jobs", form)?.good()
}

fn state(lab: &Lab, status: &str) -> Result<(), String> {
    let page = get(lab, "/v1/webhooks");
    let items = page["items"].as_array().expect("items");
    if items.len() == 1 && items[0]["status"] == status { Ok(()) } else { Err(page.to_string()) }
}

/// The end of a job is told, twice at most and the same both times.
fn told(point: &str) {
    let (lab, mailbox) = (Lab::new(), Mailbox::new("200 OK"));
    hooks(&lab);
    let mut first = daemon(&lab, Some(point));
    told_job(&lab, &mailbox.url).expect("a job");
    dies(&mut first, point);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    wait(point, || state(&lab, "sent"));
    let letters = mailbox.by_identity();
    let bodies: Vec<&Vec<String>> = letters.values().collect();
    assert!(bodies.len() == 1 && (1..=2).contains(&bodies[0].len()), "{point}: {letters:?}");
    assert!(bodies[0].iter().all(|body| *body == bodies[0][0]) && bodies[0][0].contains("job.completed"), "{point}: {letters:?}");
}

/// What was given up is sent again, once it was asked for.
fn told_again(point: &str) {
    let (lab, mailbox) = (Lab::new(), Mailbox::new("410 Gone"));
    hooks(&lab);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    told_job(&lab, &mailbox.url).expect("a job");
    wait(point, || state(&lab, "dead"));
    let id = get(&lab, "/v1/webhooks")["items"][0]["id"].as_str().expect("an identity").to_owned();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    ask_over(&lab, point, "POST", &format!("/v1/webhooks/{id}/resend"), &json!({}), &[409]);
    wait(point, || state(&lab, "dead"));
    wait(point, || {
        let letters = mailbox.by_identity();
        if letters.get(&id).is_some_and(|bodies| bodies.len() >= 2) { Ok(()) } else { Err(format!("{letters:?}")) }
    });
}
