use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::*;

/// Times that end a test that hangs, and are never reached by one that does not.
const LONG: Waits = Waits { answer: Duration::from_secs(240), host: Duration::from_secs(240), person: Duration::from_secs(240) };
const SHORT: Duration = Duration::from_millis(50);

/// What a fake host does with one connection after it has read the request.
type Serve = Box<dyn FnOnce(&mut UnixStream, &Value) + Send>;

/// A host that serves connections one after the other; what each of them asked.
struct FakeHost {
    dir: tempfile::TempDir,
    asked: JoinHandle<Vec<Value>>,
}

impl FakeHost {
    fn start(connections: Vec<Serve>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("host.sock")).expect("bound");
        let asked = std::thread::spawn(move || connections.into_iter().map(|serve| one(&listener, serve)).collect());
        Self { dir, asked }
    }

    fn host(&self, waits: Waits) -> Host {
        Host::new(&self.dir.path().join("host.sock"), waits)
    }
}

fn one(listener: &UnixListener, serve: Serve) -> Value {
    let (mut stream, _) = listener.accept().expect("accepted");
    let asked = read_request(&mut stream);
    serve(&mut stream, &asked);
    asked
}

pub(crate) fn read_request(stream: &mut UnixStream) -> Value {
    let mut line = vec![0; Door::Broker.line().len()];
    stream.read_exact(&mut line).expect("a line");
    assert_eq!(line, Door::Broker.line());
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).expect("a message");
    serde_json::from_slice(&body).expect("JSON")
}

pub(crate) fn send(stream: &mut UnixStream, message: &Value) {
    stream.write_all(&frame_call(message.to_string().as_bytes()).expect("short")).expect("sent");
}

fn answers(result: Value) -> Serve {
    Box::new(move |stream, asked| send(stream, &json!({ "correlation": asked["correlation"], "result": result, "error": null })))
}

fn waits_then_leaves() -> Serve {
    Box::new(|stream, asked| send(stream, &json!({ "correlation": asked["correlation"], "waiting": "apr_1" })))
}

fn leaves() -> Serve {
    Box::new(|_, _| ())
}

fn call() -> Call {
    Call::new("tool.invoke.x", "{\"a\": 1}").expect("well formed")
}

fn result(outcome: Result<Outcome, DoorError>) -> Value {
    match outcome.expect("an answer") {
        Outcome::Result(raw, _) => serde_json::from_str(raw.get()).expect("JSON"),
        Outcome::Error(raw, _) => panic!("{raw}"),
    }
}

#[test]
fn a_call_has_three_fields_and_one_answer() {
    let fake = FakeHost::start(vec![answers(json!({ "z": 1, "a": [null] }))]);
    let outcome = fake.host(LONG).call(&call(), &Gate::default(), &mut |_| ()).expect("an answer");
    // As the host wrote it.
    assert!(matches!(&outcome, Outcome::Result(raw, None) if raw.get() == "{\"a\":[null],\"z\":1}"));
    let asked = fake.asked.join().expect("served").remove(0);
    let correlation = asked["correlation"].as_str().expect("a name");
    assert_eq!(correlation.len(), 32);
    assert_eq!(asked, json!({ "topic": "tool.invoke.x", "correlation": correlation, "arguments": { "a": 1 } }));
    assert_ne!(correlation, call().correlation);
}

#[test]
fn an_error_is_given_as_it_came_and_null_is_a_result() {
    let error = json!({ "code": "UNKNOWN_TOOL", "message": "m", "retriable": false, "stage": 2 });
    let sent = error.clone();
    let fake = FakeHost::start(vec![
        // Without a name: the host could not read the request.
        Box::new(move |stream, _| send(stream, &json!({ "correlation": "", "result": null, "error": sent }))),
        answers(Value::Null),
    ]);
    let host = fake.host(LONG);
    let Ok(Outcome::Error(raw, _)) = host.call(&call(), &Gate::default(), &mut |_| ()) else { panic!("no error") };
    assert_eq!(serde_json::from_str::<Value>(raw.get()).expect("JSON"), error);
    assert_eq!(result(host.call(&call(), &Gate::default(), &mut |_| ())), Value::Null);
}

/// The host is killed twice, once while a person is asked: the very same request comes again and is answered.
#[test]
fn a_call_outlives_its_host() {
    let fake = FakeHost::start(vec![leaves(), waits_then_leaves(), waits_then_leaves(), answers(json!("done"))]);
    let mut told = Vec::new();
    let outcome = fake.host(LONG).call(&call(), &Gate::default(), &mut |approval| told.push(approval.to_owned()));
    assert_eq!(result(outcome), "done");
    assert_eq!(told, ["apr_1", "apr_1"]);
    let asked = fake.asked.join().expect("served");
    assert!(asked.len() == 4 && asked.iter().all(|one| one == &asked[0]), "{asked:?}");
}

/// A socket on which nobody listens is one of a host that comes back.
#[test]
fn a_host_that_is_away_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let (socket, fresh) = (dir.path().join("host.sock"), dir.path().join("fresh"));
    drop(UnixListener::bind(&socket).expect("bound"));
    let host = Host::new(&socket, LONG);
    let caller = std::thread::spawn(move || result(host.call(&call(), &Gate::default(), &mut |_| ())));
    let listener = UnixListener::bind(&fresh).expect("bound");
    std::fs::rename(&fresh, &socket).expect("in its place");
    one(&listener, answers(json!(7)));
    assert_eq!(caller.join().expect("ended"), 7);
}

#[test]
fn each_wait_has_an_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let waits = Waits { answer: SHORT, host: SHORT, person: Duration::from_secs(60) };
    let patient = Host::new(&dir.path().join("none"), LONG);
    assert!(matches!(patient.call(&call(), &Gate::default(), &mut |_| ()), Err(DoorError::NoHost(_))), "there was never one");
    drop(UnixListener::bind(dir.path().join("stale")).expect("bound"));
    let nobody = Host::new(&dir.path().join("stale"), waits);
    assert!(matches!(nobody.call(&call(), &Gate::default(), &mut |_| ()), Err(DoorError::NoHost(_))));
    let fake = FakeHost::start(vec![Box::new(|stream, _| {
        // Ends when the other side does.
        let _ = stream.read(&mut [0]);
    })]);
    let unanswered = Waits { answer: SHORT, ..LONG };
    assert!(matches!(fake.host(unanswered).call(&call(), &Gate::default(), &mut |_| ()), Err(DoorError::Timeout(_))));
}

/// The clock of the answer stands while a person is asked.
#[test]
fn waiting_for_a_person_stops_the_clock() {
    let (host, call, now) = (Host::new(Path::new("/none"), LONG), call(), Instant::now());
    let mut progress = Progress { deadline: now, waiting: None, lost: Some(now) };
    let mut told = Vec::new();
    let message = json!({ "correlation": call.correlation, "waiting": "apr_1" }).to_string();
    let heard = host.hear(message.as_bytes(), &call, &mut progress, &mut |approval| told.push(approval.to_owned()));
    assert!(heard.expect("understood").is_none());
    assert!(progress.deadline >= now + LONG.person && progress.lost.is_none());
    assert_eq!((told, progress.waiting.as_deref()), (vec!["apr_1".to_owned()], Some("apr_1")));
}

#[test]
fn what_makes_no_sense_ends_the_call() {
    let say = |bytes: &'static [u8]| -> Serve { Box::new(move |stream, _| stream.write_all(bytes).expect("sent")) };
    for bytes in [&b"\0\0\0\0"[..], b"\xff\xff\xff\xff", b"\0\0\0\x02{]", b"\0\0\0\x15{\"correlation\":\"other\"}"] {
        let fake = FakeHost::start(vec![say(bytes)]);
        let outcome = fake.host(LONG).call(&call(), &Gate::default(), &mut |_| ());
        assert!(matches!(outcome, Err(DoorError::Protocol(_))), "{bytes:?} {outcome:?}");
    }
}

#[test]
fn a_call_can_be_given_up() {
    let (asked_tx, asked) = mpsc::sync_channel(1);
    let fake = FakeHost::start(vec![Box::new(move |stream, _| {
        asked_tx.send(()).expect("heard");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    })]);
    let gate = std::sync::Arc::new(Gate::default());
    let (host, shut) = (fake.host(LONG), std::sync::Arc::clone(&gate));
    let caller = std::thread::spawn(move || host.call(&call(), &gate, &mut |_| ()));
    asked.recv().expect("asked");
    shut.shut();
    assert!(matches!(caller.join().expect("ended"), Err(DoorError::Cancelled)));
    fake.asked.join().expect("the connection ended");
    // One that was given up before it began is not made.
    assert!(matches!(Host::new(Path::new("/none"), LONG).call(&call(), &shut, &mut |_| ()), Err(DoorError::Cancelled)));
}

#[test]
fn arguments_are_an_object_that_fits() {
    for bad in ["", "[]", "null", "\"{}\"", "{", "{} {}", "1"] {
        assert!(matches!(Call::new("t", bad), Err(DoorError::Arguments(_))), "{bad}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(CALL_BYTES_MAX));
    assert!(matches!(Call::new("t", &long), Err(DoorError::Arguments(_))));
    // What the host would refuse reaches it as it is written.
    let twice = Call::new("t\"\n", " {\"a\":1,\"a\":2} ").expect("an object");
    let text = String::from_utf8(twice.frame[4..].to_vec()).expect("text");
    assert!(text.starts_with("{\"topic\":\"t\\\"\\n\",") && text.ends_with("\"arguments\":{\"a\":1,\"a\":2}}"), "{text}");
}
