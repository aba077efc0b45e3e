//! Connections: parallel calls, broken clients, and who leaves when.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lazaret_broker::{Asker, CALLS_MAX, CONNECTIONS_MAX, Caller, MESSAGE_TIME_MAX, Standing, Who};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::{CallDecoder, frame_call};

use crate::fakes::{House, Person, caller, caller_of, request};

/// The sandbox's end of a connection.
struct Client {
    stream: UnixStream,
    decoder: CallDecoder,
    served: JoinHandle<()>,
}

impl Client {
    fn new(house: &House, n: u128, cancel: &CancellationToken) -> Self {
        let (near, far) = UnixStream::pair().expect("as the test made it");
        let (broker, cancel) = (house.broker.clone(), cancel.clone());
        #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
        let served = tokio::spawn(async move { broker.serve(far, Bytes::new(), caller_of(n), cancel).await });
        Self { stream: near, decoder: CallDecoder::default(), served }
    }

    async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&frame_call(message).expect("as the test made it")).await.expect("as the test made it");
    }

    /// The next message, or nothing when the host has ended the connection.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(message) = self.decoder.next_message().expect("as the test made it") {
                return Some(serde_json::from_slice(&message).expect("as the test made it"));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(n) if n > 0 => self.decoder.push(&buffer[..n]),
                _ => return None,
            }
        }
    }
}

#[tokio::test]
async fn calls_of_one_connection_run_at_once() {
    let house = House::new();
    let mut client = Client::new(&house, 1, &CancellationToken::new());
    client.send(&request("low", "slow", json!({"do": "wait"}))).await;
    client.send(&request("low", "fast", json!({}))).await;
    assert_eq!(client.next().await.expect("as the test made it")["correlation"], "fast");
    house.doer.go_on.add_permits(1);
    let origin = json!({"tool": "low", "plugin": "test", "untrusted": true});
    let slow = json!({"correlation": "slow", "result": "waited", "error": null, "origin": origin});
    assert_eq!(client.next().await.expect("as the test made it"), slow);
    drop(client.stream);
    client.served.await.expect("as the test made it");
    house.broker.drain().await;
}

#[tokio::test]
async fn a_correlation_under_way_is_refused_in_its_session_alone() {
    let house = House::new();
    let cancel = CancellationToken::new();
    let (mut one, mut two, mut other) = (Client::new(&house, 1, &cancel), Client::new(&house, 1, &cancel), Client::new(&house, 2, &cancel));
    one.send(&request("low", "c", json!({"do": "wait"}))).await;
    house.doer.began.notified().await;
    two.send(&request("low", "c", json!({}))).await;
    let refused = two.next().await.expect("as the test made it");
    assert_eq!((&refused["error"]["code"], &refused["error"]["field"]), (&json!("VALIDATION_FAILED"), &json!("correlation")));
    other.send(&request("low", "c", json!({}))).await;
    assert_eq!(other.next().await.expect("as the test made it")["error"], json!(null));
    house.doer.go_on.add_permits(1);
    assert_eq!(one.next().await.expect("as the test made it")["result"], "waited");
    two.send(&request("low", "c", json!({}))).await;
    assert_eq!(two.next().await.expect("as the test made it")["error"], json!(null), "and then it is free again");
}

#[tokio::test]
async fn a_session_has_so_many_calls_and_a_sandbox_so_many_connections() {
    let house = House::new();
    let cancel = CancellationToken::new();
    let mut client = Client::new(&house, 1, &cancel);
    for n in 0..CALLS_MAX {
        client.send(&request("low", &n.to_string(), json!({"do": "wait"}))).await;
    }
    while house.calls() < CALLS_MAX {
        house.doer.began.notified().await;
    }
    client.send(&request("low", "more", json!({}))).await;
    let refused = client.next().await.expect("as the test made it");
    assert_eq!((&refused["correlation"], &refused["error"]["code"]), (&json!("more"), &json!("RATE_LIMITED")));
    let mut others: Vec<Client> = Vec::new();
    for _ in 1..CONNECTIONS_MAX {
        let mut other = Client::new(&house, 1, &cancel);
        other.send(b"[]").await;
        assert_eq!(other.next().await.expect("as the test made it")["error"]["stage"], 1);
        others.push(other);
    }
    let mut refused = Client::new(&house, 1, &cancel);
    assert_eq!(refused.next().await.expect("as the test made it")["error"]["code"], "RATE_LIMITED");
    assert_eq!(refused.next().await, None);
    house.doer.go_on.add_permits(CALLS_MAX);
    for _ in 0..CALLS_MAX {
        assert_eq!(client.next().await.expect("as the test made it")["result"], "waited");
    }
    cancel.cancel();
    house.broker.drain().await;
}

#[tokio::test]
async fn waiting_is_told_and_leaving_gives_the_ask_up() {
    let house = House::new();
    house.will(Person::Asleep);
    let mut client = Client::new(&house, 1, &CancellationToken::new());
    client.send(&request("high", "c", json!({}))).await;
    assert_eq!(
        client.next().await.expect("as the test made it"),
        json!({"correlation": "c", "waiting": "apr_00000000000000000000000000000001"})
    );
    drop(client.stream);
    client.served.await.expect("as the test made it");
    house.broker.drain().await;
    assert_eq!((house.people.left.load(Ordering::SeqCst), house.calls()), (1, 0));
}

#[tokio::test]
async fn a_confirmed_call_survives_its_connection() {
    let house = House::new();
    house.will(Person::Yes);
    let mut client = Client::new(&house, 1, &CancellationToken::new());
    client.send(&request("high", "c", json!({"do": "wait"}))).await;
    house.doer.began.notified().await;
    drop(client.stream);
    client.served.await.expect("as the test made it");
    house.doer.go_on.add_permits(1);
    house.broker.drain().await;
    assert!(house.people.steps.lock().expect("no test panicked with it").last().expect("as the test made it").ends_with("\"waited\""));
}

#[tokio::test]
async fn wrong_lengths_end_the_connection_with_a_word() {
    let house = House::new();
    for length in [0u32, (1 << 20) + 1, u32::MAX] {
        let mut client = Client::new(&house, 1, &CancellationToken::new());
        client.stream.write_all(&length.to_be_bytes()).await.expect("as the test made it");
        let said = client.next().await.expect("as the test made it");
        assert_eq!((&said["error"]["code"], &said["error"]["stage"]), (&json!("VALIDATION_FAILED"), &json!(1)));
        assert_eq!(client.next().await, None);
        client.served.await.expect("as the test made it");
    }
}

/// A frame that comes byte by byte is not waited for. The clock stands still but for what is waited for.
#[tokio::test(start_paused = true)]
async fn a_frame_must_be_whole_in_time() {
    let house = House::new();
    let mut client = Client::new(&house, 1, &CancellationToken::new());
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    client.send(&request("low", "c", json!({}))).await;
    assert_eq!(client.next().await.expect("as the test made it")["error"], json!(null), "an idle connection may stay");
    let frame = frame_call(&request("low", "c", json!({}))).expect("as the test made it");
    let began = tokio::time::Instant::now();
    for byte in &frame[..frame.len() - 1] {
        if client.stream.write_all(&[*byte]).await.is_err() || began.elapsed() > MESSAGE_TIME_MAX {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        client.next().await.expect("as the test made it")["error"]["message"].as_str().expect("as the test made it").contains("not whole")
    );
    assert_eq!(client.next().await, None);
    assert_eq!(house.calls(), 1);
}

#[tokio::test]
async fn what_came_with_the_door_line_counts_and_cancel_ends_all() {
    let house = House::new();
    let (mut near, far) = UnixStream::pair().expect("as the test made it");
    let cancel = CancellationToken::new();
    let read = Bytes::from(frame_call(&request("low", "c", json!({"do": "hang"}))).expect("as the test made it"));
    let (broker, token) = (house.broker.clone(), cancel.clone());
    let served = broker.serve(far, read, caller(), token);
    tokio::join!(served, async {
        house.doer.began.notified().await;
        cancel.cancel();
        assert_eq!(near.read(&mut [0; 16]).await.unwrap_or(0), 0);
    });
    house.broker.drain().await;
    assert_eq!(house.doer.ended.load(Ordering::SeqCst), 0);
}

/// Split at every byte, several messages in one write: the same answers.
#[tokio::test]
async fn splits_do_not_matter() {
    let house = House::new();
    let mut client = Client::new(&house, 1, &CancellationToken::new());
    let frames: Vec<u8> =
        (0..3).flat_map(|n| frame_call(&request("low", &format!("c{n}"), json!({"n": n}))).expect("as the test made it")).collect();
    for step in [1, 2, 3, 5, 7, 64, frames.len()] {
        for piece in frames.chunks(step) {
            client.stream.write_all(piece).await.expect("as the test made it");
            tokio::task::yield_now().await;
        }
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(client.next().await.expect("as the test made it")["correlation"].as_str().expect("as the test made it").to_owned());
        }
        seen.sort();
        assert_eq!(seen, ["c0", "c1", "c2"], "steps of {step}");
    }
}

/// Whoever is behind a connection: each is asked for once, and the last goes on.
struct Behind(Mutex<VecDeque<Option<Arc<Caller>>>>);

impl Behind {
    fn put(&self, all: impl IntoIterator<Item = Option<Arc<Caller>>>) {
        *self.0.lock().expect("nobody panicked") = all.into_iter().collect();
    }
}

impl Who for Behind {
    fn who(&self) -> BoxFuture<'_, Option<Arc<Caller>>> {
        let mut all = self.0.lock().expect("nobody panicked");
        let now = if all.len() > 1 { all.pop_front() } else { all.front().cloned() };
        Box::pin(std::future::ready(now.flatten()))
    }

    fn line(&self) -> String {
        "one".to_owned()
    }
}

/// A caller whose turn was asked by somebody who is this.
fn asked(standing: Standing, tools: &[&str]) -> Option<Arc<Caller>> {
    let tools = Some(tools.iter().map(|name| (*name).to_owned()).collect());
    let asker = Asker { channel: "lab".into(), handle: "eve".into(), user: None, standing, tools, kept: std::collections::BTreeSet::new() };
    Some(Arc::new(Caller { asker: Some(asker), ..(*caller()).clone() }))
}

fn served(house: &House, behind: &Arc<Behind>) -> Client {
    let (near, far) = UnixStream::pair().expect("as the test made it");
    let (broker, who) = (house.broker.clone(), Arc::clone(behind));
    #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
    let served = tokio::spawn(async move { broker.serve(far, Bytes::new(), who, CancellationToken::new()).await });
    Client { stream: near, decoder: CallDecoder::default(), served }
}

#[tokio::test]
async fn a_connection_outlives_a_turn_and_its_rights_do_not() {
    let house = House::new();
    let behind = Arc::new(Behind(Mutex::default()));
    let mut client = served(&house, &behind);
    let cases = [
        ("low", asked(Standing::Member, &["low"]), "made"),
        ("low", asked(Standing::Member, &["other"]), "UNAUTHORIZED"),
        ("list_tools", asked(Standing::Member, &[]), "made"),
        ("low", asked(Standing::Guest, &["low"]), "made"),
        ("low", asked(Standing::Guest, &[]), "UNAUTHORIZED"),
        // Nobody is even asked.
        ("high", asked(Standing::Guest, &["high"]), "UNAUTHORIZED"),
        // It tells of calls that were made for others.
        ("get_diagnostics", asked(Standing::Guest, &["get_diagnostics"]), "UNAUTHORIZED"),
        ("list_tools", asked(Standing::Guest, &[]), "made"),
        ("list_tools", asked(Standing::Nobody, &["list_tools"]), "UNAUTHORIZED"),
        ("low", asked(Standing::Nobody, &["low"]), "UNAUTHORIZED"),
        ("low", asked(Standing::Admin, &[]), "made"),
        // The turn is over.
        ("low", None, "UNAUTHORIZED"),
        // Nobody on a chat network asked.
        ("low", Some(caller()), "made"),
    ];
    for (n, (tool, now, expect)) in cases.into_iter().enumerate() {
        behind.put([now]);
        client.send(&request(tool, &format!("c{n}"), json!({}))).await;
        let answer = client.next().await.expect("as the test made it");
        assert_eq!(answer["error"]["code"].as_str().unwrap_or("made"), expect, "{n} {tool}: {answer}");
    }
    assert!(house.people.asked.lock().expect("nobody panicked").is_empty());
}

#[tokio::test]
async fn a_right_that_went_while_a_person_was_asked_is_gone() {
    let member = || asked(Standing::Member, &["high"]);
    for (then, expect) in [(member(), None), (asked(Standing::Nobody, &["high"]), Some("UNAUTHORIZED")), (None, Some("UNAUTHORIZED"))] {
        let house = House::new();
        house.will(Person::Yes);
        let behind = Arc::new(Behind(Mutex::default()));
        behind.put([member(), then]);
        let mut client = served(&house, &behind);
        client.send(&request("high", "c", json!({}))).await;
        let mut answer = client.next().await.expect("as the test made it");
        while answer.get("waiting").is_some() {
            answer = client.next().await.expect("as the test made it");
        }
        assert_eq!(answer["error"]["code"].as_str(), expect, "{answer}");
    }
}
