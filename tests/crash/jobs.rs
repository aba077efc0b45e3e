//! A daemon that dies over jobs: each accepted job ends once, whatever it died over, and its tool has run once for that end.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Connection, Reply};

use crate::scene::{self, PATIENCE, daemon, dies, kill_daemon};
use crate::support::Lab;

macro_rules! points {
    ($($test:ident: $point:literal, $scene:ident;)*) => {
        /// Every point that is tried here.
        pub(crate) const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { $scene($point); })*
    };
}

points! {
    job_accepted: "job:accepted", done;
    job_claimed: "job:claimed@2", done;
    job_asked: "job:asked", done;
    blob_written: "blob:written", done;
    blob_kept: "blob:kept", done;
    job_file_coming: "job:file-coming", brought;
    hook_begun: "hook:begun", hooked;
    hook_ended: "hook:ended", hooked;
    hook_begun_after_the_engine: "hook:begun@2", hooked;
    hook_ended_after_the_engine: "hook:ended@2", hooked;
    job_before_end_with_hooks: "job:before-end", hooked;
    job_before_end: "job:before-end", done;
    job_ended: "job:ended", done;
    store_job_accept_before: "store.job-accept.before", done;
    store_job_accept_after: "store.job-accept.after", done;
    store_job_claim_before: "store.job-claim.before@2", done;
    store_job_claim_after: "store.job-claim.after@2", done;
    store_session_begin_before: "store.session-begin.before", done;
    store_session_begin_after: "store.session-begin.after", done;
    store_session_begin_of_a_pooled_one: "store.session-begin.after", pooled;
    store_job_start_before: "store.job-start.before", done;
    store_job_start_after: "store.job-start.after", done;
    store_job_finish_before: "store.job-finish.before", done;
    store_job_finish_after: "store.job-finish.after", done;
    store_job_lapse_before: "store.job-lapse.before", done;
    store_job_lapse_after: "store.job-lapse.after", done;
    store_job_renew_before: "store.job-renew.before", slow;
    store_job_renew_after: "store.job-renew.after", slow;
    job_taken: "job:taken", taken;
    store_job_take_before: "store.job-take.before", taken;
    store_job_take_after: "store.job-take.after", taken;
    job_again: "job:again", again;
    store_job_retry_before: "store.job-retry.before", again;
    store_job_retry_after: "store.job-retry.after", again;
    job_cancelled: "job:cancelled", stopped;
    store_job_cancel_before: "store.job-cancel.before", stopped;
    store_job_cancel_after: "store.job-cancel.after", stopped;
    store_job_settle_before: "store.job-settle.before", stopped;
    store_job_settle_after: "store.job-settle.after", stopped;
    job_sessions_forgotten: "job:sessions-forgotten", forgotten;
    store_job_delete_before: "store.job-delete.before", forgotten;
    store_job_delete_after: "store.job-delete.after", forgotten;
    pool_booted: "pool:booted", pooled;
    pool_booted_again: "pool:booted@2", pooled;
    sandbox_claimed: "sandbox.claimed", pooled;
    pool_moved_in: "pool:moved-in", pooled;
    asked_with_a_pooled_one: "job:asked", pooled;
    store_job_mark_before: "store.job-mark.before", asked;
    store_job_mark_after: "store.job-mark.after", asked;
}

/// What the tool does: it counts its runs, and leaves something large.
const TOOL: &str = "echo once >> runs; head -c 100000 /dev/zero > big; echo ran $(wc -l < runs) times";
/// What the model says then.
const ANSWER: &str = "The tool printed: ran 1 times";
/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);

fn call(lab: &Lab, method: &str, path: &str, body: Value) -> std::io::Result<Reply> {
    let socket = lab.home().join("run").join(api::OWNER_SOCKET);
    let body = Some(body).filter(|body| !body.is_null());
    Connection::open(&socket, PATIENCE)?.ask(method, path, &[("Idempotency-Key", "one")], body.as_ref())
}

fn get(lab: &Lab, path: &str) -> Value {
    call(lab, "GET", path, Value::Null).and_then(Reply::good).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn form() -> Value {
    json!({ "agent_id": "a", "prompt": "count", "engine": "mini", "model": "claude-sonnet-4-5", "artifacts": ["big"] })
}

fn up(lab: &Lab) {
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
}

/// Asks for the job until that is acknowledged.
fn create(lab: &Lab, form: &Value, about: &str) -> String {
    let reply = call(lab, "POST", "/v1/jobs", form.clone()).and_then(Reply::good);
    let made = reply.unwrap_or_else(|error| panic!("{about}: {error}"));
    made["id"].as_str().expect("an identity").to_owned()
}

/// Waits until the job is over.
fn over(lab: &Lab, id: &str, about: &str) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let shown = get(lab, &format!("/v1/jobs/{id}"));
        if !shown["finished"].is_null() {
            return shown;
        }
        assert!(Instant::now() < end, "{about}: it does not end: {shown}");
        std::thread::sleep(STEP);
    }
}

fn waits_for(lab: &Lab, id: &str, about: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let shown = get(lab, &format!("/v1/jobs/{id}"));
        if is_so(&shown) {
            return shown;
        }
        assert!(Instant::now() < end, "{about}: {shown}");
        std::thread::sleep(STEP);
    }
}

/// The job has ended well, once, and there is only one.
fn good(lab: &Lab, id: &str, about: &str) {
    let end = over(lab, id, about);
    assert_eq!((&end["status"], end["text"].as_str().map(str::trim)), (&json!("completed"), Some(ANSWER)), "{about}: {end}");
    assert_eq!(end["artifacts"], json!([{ "path": "big", "bytes": 100_000 }]), "{about}: {end}");
    let all = get(lab, "/v1/jobs");
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{about}: {all}");
    let session = end["session"].as_str().expect("a session");
    let events = get(lab, &format!("/v1/sessions/{session}/events?limit=1000"));
    let results = events["events"].as_array().expect("events").iter().filter(|e| e["type"] == "result").count();
    assert_eq!(results, 1, "{about}: {events:#}");
}

/// The daemon dies over a job's way from its acceptance to its end.
fn done(point: &str) {
    let (lab, _server) = scene::lab(TOOL);
    dies_over(&lab, point, &form());
}

/// The same with a sandbox that was made ahead. What a killed daemon kept ready goes, and is in nobody's way.
fn pooled(point: &str) {
    let (lab, _server) = scene::lab(TOOL);
    lab.run(&["config", "set", "pool.size", "1"]).succeeds();
    let mut first = daemon(&lab, Some(point));
    let ready = Instant::now() + PATIENCE;
    // It may die before one is ready.
    while call(&lab, "GET", "/v1/pool", Value::Null).and_then(Reply::good).is_ok_and(|pool| pool["ready"] == 0) {
        assert!(Instant::now() < ready, "{point}: no sandbox is ready");
        std::thread::sleep(STEP);
    }
    let _ = call(&lab, "POST", "/v1/jobs", form());
    dies(&mut first, point);
    up(&lab);
    let id = create(&lab, &form(), point);
    good(&lab, &id, point);
    let session = get(&lab, &format!("/v1/jobs/{id}"))["session"].as_str().expect("a session").to_owned();
    let end = Instant::now() + PATIENCE;
    // One is ready, and nothing else is there.
    while get(&lab, "/v1/sandboxes")["items"].as_array().is_none_or(|all| all.len() != 1 || all[0]["label"] != "pool:default") {
        assert!(Instant::now() < end, "{point}: {}", get(&lab, "/v1/sandboxes"));
        std::thread::sleep(STEP);
    }
    assert_eq!(get(&lab, &format!("/v1/sessions/{session}"))["state"], "idle", "{point}");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}

/// The same with a tool that takes its time.
fn slow(point: &str) {
    let (lab, _server) = scene::lab(&format!("sleep 14; {TOOL}"));
    dies_over(&lab, point, &form());
}

fn dies_over(lab: &Lab, point: &str, form: &Value) {
    let mut first = daemon(lab, Some(point));
    // It may die over the very request.
    let _ = call(lab, "POST", "/v1/jobs", form.clone());
    dies(&mut first, point);
    up(lab);
    let id = create(lab, form, point);
    good(lab, &id, point);
}

/// A daemon that dies while it starts.
fn starting(lab: &Lab, point: &str) -> Child {
    let mut command = lab.command(&["up", "--listen", "127.0.0.1:0"]);
    command.env("LAZARET_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("up")
}

/// The daemon dies over the jobs of the one before.
fn taken(point: &str) {
    let (lab, _server) = scene::lab(&format!("sleep 10; {TOOL}"));
    up(&lab);
    let id = create(&lab, &form(), point);
    waits_for(&lab, &id, point, |job| !job["started"].is_null());
    assert!(kill_daemon(&lab), "{point}: no daemon");
    dies(&mut starting(&lab, point), point);
    up(&lab);
    good(&lab, &id, point);
}

/// A loopback port that nobody listens at and nobody else can have, as long as the socket lives.
fn bound() -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&fd, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let at = SocketAddr::try_from(getsockname(&fd).expect("an address")).expect("of the internet");
    (fd, at)
}

/// The daemon dies over a try that came to nothing.
fn again(point: &str) {
    let (lab, _server) = scene::lab(TOOL);
    // Bound and not listened at: nobody else can answer there.
    let nobody = bound();
    lab.run(&["config", "set", "providers.anthropic.base_url", &format!("http://{}", nobody.1)]).succeeds();
    let form = json!({ "agent_id": "a", "prompt": "count", "engine": "mini", "model": "claude-sonnet-4-5", "retries": 1 });
    let mut first = daemon(&lab, Some(point));
    let id = create(&lab, &form, point);
    dies(&mut first, point);
    up(&lab);
    let end = over(&lab, &id, point);
    assert_eq!((&end["status"], &end["tries"]), (&json!("failed"), &json!(2)), "{point}: {end}");
}

/// The daemon dies over a job that is stopped.
fn stopped(point: &str) {
    let (lab, _server) = scene::lab("sleep 100000");
    let mut first = daemon(&lab, Some(point));
    let id = create(&lab, &form(), point);
    let session = waits_for(&lab, &id, point, |job| !job["started"].is_null())["session"].as_str().expect("a session").to_owned();
    // Something was used by then.
    let end = Instant::now() + PATIENCE;
    while !get(&lab, &format!("/v1/sessions/{session}/events?limit=1000")).to_string().contains("tool_call") {
        assert!(Instant::now() < end, "{point}: no tool is called");
        std::thread::sleep(STEP);
    }
    let path = format!("/v1/jobs/{id}/cancel");
    let _ = call(&lab, "POST", &path, Value::Null);
    dies(&mut first, point);
    up(&lab);
    if get(&lab, &format!("/v1/jobs/{id}"))["finished"].is_null() {
        // What the first request came to may have ended it meanwhile.
        let again = call(&lab, "POST", &path, Value::Null).unwrap_or_else(|error| panic!("{point}: {error}"));
        assert!(matches!(again.status, 200..300 | 409), "{point}: {} {}", again.status, again.json());
    }
    let end = over(&lab, &id, point);
    assert_eq!((&end["status"], &end["exit_code"]), (&json!("cancelled"), &json!(130)), "{point}: {end}");
    // And nothing works on.
    let until = Instant::now() + PATIENCE;
    while get(&lab, &format!("/v1/sessions/{session}"))["state"] != "idle" {
        assert!(Instant::now() < until, "{point}: the turn of a stopped job goes on");
        std::thread::sleep(STEP);
    }
}

/// The daemon dies over a job that is forgotten.
fn forgotten(point: &str) {
    let (lab, _server) = scene::lab(TOOL);
    let mut first = daemon(&lab, Some(point));
    let id = create(&lab, &form(), point);
    good(&lab, &id, point);
    let path = format!("/v1/jobs/{id}");
    // Its turn may just be put away.
    let forget = || {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = call(&lab, "DELETE", &path, Value::Null);
            if Instant::now() > end || said.as_ref().map_or(true, |reply| reply.status != 409) {
                return said;
            }
            std::thread::sleep(STEP);
        }
    };
    let _ = forget();
    dies(&mut first, point);
    up(&lab);
    let again = forget().expect("an answer");
    assert!(again.status == 404 || (200..300).contains(&again.status), "{point}: {}", again.json());
    assert_eq!(get(&lab, "/v1/jobs")["items"], json!([]), "{point}");
    assert_eq!(get(&lab, "/v1/sessions")["items"], json!([]), "{point}");
}

/// The daemon dies over the scripts before and after the engine: one that ended is not run again, and one that was under
/// way knows that it was begun before.
fn hooked(point: &str) {
    let (lab, _server) = scene::lab("echo ran 1 times");
    let note = |name: &str| format!("echo \"$LAZARET_ATTEMPT $LAZARET_TURN\" >> {name}");
    let profile = format!("[hooks]\npre = '''\n{}\n'''\npost = '''\n{}\n'''\n", note("before"), note("after"));
    lab.run_with(&["profile", "set", "hooked", "-"], profile.as_bytes()).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let mut form = form();
    form["profile"] = json!("hooked");
    form["artifacts"] = json!(["before", "after"]);
    let mut first = daemon(&lab, Some(point));
    let _ = call(&lab, "POST", "/v1/jobs", form.clone());
    dies(&mut first, point);
    up(&lab);
    let id = create(&lab, &form, point);
    let end = over(&lab, &id, point);
    assert_eq!(end["status"], "completed", "{point}: {end}");
    for (name, dies_at) in [("before", "hook:begun"), ("after", "hook:begun@2")] {
        let path = format!("/v1/jobs/{id}/artifacts/{name}");
        let text = call(&lab, "GET", &path, Value::Null).expect("an answer").body;
        // It died between the note and the script: that is begun once more, and only then.
        let attempt = if point == dies_at { 2 } else { 1 };
        let turn = end["turn"].as_str().expect("a turn");
        assert_eq!(String::from_utf8_lossy(&text), format!("{attempt} {turn}\n"), "{point}: {name}");
    }
}

/// The daemon dies over a file that comes with a job: nothing stays of it, and the same request is a new one.
fn brought(point: &str) {
    let (lab, _server) = scene::lab("wc -c < note; echo ran 1 times");
    let mut form = form();
    form["artifacts"] = json!(["note"]);
    let mut body = format!("--X\r\ncontent-disposition: form-data; name=\"job\"\r\n\r\n{form}\r\n").into_bytes();
    body.extend_from_slice(b"--X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"note\"\r\n\r\n");
    body.extend(std::iter::repeat_n(b'x', 400_000));
    body.extend_from_slice(b"\r\n--X--\r\n");
    let send = || {
        let mut stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let head = format!(
            "POST /v1/jobs HTTP/1.1\r\nhost: lazaret\r\nconnection: close\r\nidempotency-key: one\r\ncontent-length: {}\r\n\
             content-type: multipart/form-data; boundary=X\r\n\r\n",
            body.len()
        );
        let mut answer = String::new();
        // It may die over it.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).and_then(|()| stream.read_to_string(&mut answer));
        answer
    };
    let blobs = lab.home().join("blobs");
    let unfinished = || std::fs::read_dir(&blobs).expect("a directory").flatten().filter(|e| e.file_name().len() != 2).count();
    let mut first = daemon(&lab, Some(point));
    send();
    dies(&mut first, point);
    assert_eq!(unfinished(), 1, "{point}");
    up(&lab);
    assert_eq!((unfinished(), get(&lab, "/v1/jobs")["items"].clone()), (0, json!([])), "{point}");
    let answer = send();
    let made: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {answer}"));
    let end = over(&lab, made["id"].as_str().expect("an identity"), point);
    assert_eq!(
        (&end["status"], &end["artifacts"]),
        (&json!("completed"), &json!([{ "path": "note", "bytes": 400_000 }])),
        "{point}: {end}"
    );
}

/// The daemon dies over a job that waits for a person.
fn asked(point: &str) {
    let (lab, server) = scene::lab(&crate::marks::command("one"));
    crate::marks::install(&lab);
    let form = json!({ "agent_id": "a", "prompt": "mark", "engine": "mini", "model": "claude-sonnet-4-5", "plugins": ["marks"] });
    let mut first = daemon(&lab, Some(point));
    let id = create(&lab, &form, point);
    dies(&mut first, point);
    up(&lab);
    waits_for(&lab, &id, point, |job| job["status"] == "waiting");
    let asked = crate::marks::pending(&lab, 1).remove(0);
    let path = format!("/v1/approvals/{}", asked["id"].as_str().expect("an identity"));
    let yes = json!({ "decision": "approve", "hash": asked["hash"] });
    call(&lab, "POST", &path, yes).and_then(Reply::good).unwrap_or_else(|error| panic!("{point}: {error}"));
    let end = over(&lab, &id, point);
    assert_eq!(end["status"], "completed", "{point}: {end}");
    drop(server);
}
