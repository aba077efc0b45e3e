//! Whole connections through the proxy, over loopback. Each refusal stands beside the same request with the one thing
//! changed that makes it pass, so that no refusal can come from a broken test.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use model::EventKind;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::egress::{HEAD_BYTES_MAX, HeadError, Slots, Watch};

const LOOPBACK: &str = "127.0.0.1";

/// Answers from a list, and counts the questions. A name with several answers gives them one after the other.
#[derive(Default)]
struct Names {
    answers: HashMap<&'static str, Vec<Vec<&'static str>>>,
    asked: AtomicUsize,
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(host).map(|all| all[n.min(all.len() - 1)].clone());
        Box::pin(async move {
            let answer = answer.ok_or(io::ErrorKind::NotFound)?;
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            Ok(answer.iter().map(|a| a.parse().unwrap()).collect())
        })
    }
}

#[derive(Default)]
struct Seen(Mutex<Vec<Report>>);

impl Watch for Seen {
    fn seen(&self, report: &Report) {
        self.0.lock().unwrap().push(report.clone());
    }
}

/// A proxy, one host on loopback that sends everything back, and what came to it.
struct World {
    port: u16,
    names: Arc<Names>,
    seen: Arc<Seen>,
    accepted: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
    host: JoinHandle<()>,
    egress: Egress,
}

impl Drop for World {
    fn drop(&mut self) {
        self.host.abort();
    }
}

/// The name `good.test` and all in `more` lead where they say.
async fn world(more: &[(&'static str, &[&[&'static str]])]) -> World {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (accepted, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, bytes) = (Arc::clone(&accepted), Arc::clone(&heard));
    let host = spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let bytes = Arc::clone(&bytes);
            spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    bytes.fetch_add(n, Ordering::SeqCst);
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
                let _ = stream.write_all(b"bye").await;
            });
        }
    });
    let mut answers: HashMap<_, _> = more.iter().map(|(name, all)| (*name, all.iter().map(|a| a.to_vec()).collect())).collect();
    answers.insert("good.test", vec![vec![LOOPBACK]]);
    let names = Arc::new(Names { answers, asked: AtomicUsize::new(0) });
    let egress = Egress::new(Arc::clone(&names) as Arc<dyn Resolve>, Limits::default());
    World { port, names, seen: Arc::default(), accepted, heard, host, egress }
}

#[expect(clippy::disallowed_methods, reason = "tests own what they spawn by its handle or by the end of the runtime")]
fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> JoinHandle<()> {
    tokio::spawn(future)
}

impl World {
    fn policy(&self, hosts: &[&str]) -> Policy {
        let rules = hosts.iter().map(|h| format!("{h}:{}", self.port).parse().unwrap()).collect();
        let private_ok = vec![LOOPBACK.parse().unwrap()];
        Policy { rules, private_ok, watch: Some(Arc::clone(&self.seen) as Arc<dyn Watch>), ..Policy::default() }
    }

    /// Opens a connection from a sandbox; the handle ends with it.
    fn open(&self, policy: Policy) -> (DuplexStream, JoinHandle<()>, CancellationToken) {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (egress, cancel) = (self.egress.clone(), CancellationToken::new());
        let token = cancel.clone();
        let task = spawn(async move { egress.serve(server, Bytes::new(), Arc::new(policy), token).await });
        (client, task, cancel)
    }

    /// Sends `bytes`, says that nothing more comes, and reads to the end.
    async fn talk(&self, policy: Policy, bytes: &[u8]) -> String {
        let (mut client, task, _cancel) = self.open(policy);
        let _ = client.write_all(bytes).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        task.await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn connect(&self, policy: Policy, target: &str, then: &str) -> String {
        self.talk(policy, format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{then}").as_bytes()).await
    }

    fn good(&self) -> String {
        format!("good.test:{}", self.port)
    }

    fn last(&self) -> Report {
        self.seen.0.lock().unwrap().last().cloned().unwrap()
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

#[tokio::test]
async fn a_listed_host_is_reached_and_both_ends_close_in_order() {
    let world = world(&[]).await;
    let answer = world.connect(world.policy(&["good.test"]), &world.good(), "hello").await;
    assert_eq!(answer, format!("{OK}hellobye"), "what the host says after the client's end arrives too");
    let report = world.last();
    assert_eq!((report.refusal, report.sent, report.received), (None, 5, 8));
}

#[tokio::test]
async fn without_a_rule_nothing_is_asked_or_dialled() {
    let world = world(&[]).await;
    let answer = world.connect(Policy::default(), &world.good(), "hello").await;
    assert_eq!(status(&answer), "403");
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "EGRESS_DENIED");
    assert!(body["error"]["message"].as_str().unwrap().contains(&world.good()), "{body}");
    assert!(body["error"]["hint"].as_str().unwrap().contains(&format!("\"{}\"", world.good())), "{body}");
    assert_eq!((world.names.asked.load(Ordering::SeqCst), world.accepted()), (0, 0));
    let watched = Policy { watch: world.policy(&[]).watch, ..Policy::default() };
    world.connect(watched, &world.good(), "").await;
    let Some(EventKind::Notice { text }) = world.last().notice() else { panic!("a refusal is an event") };
    assert!(text.contains(&format!("add \"{}\" to `max` under [egress]", world.good())), "{text}");
    assert!(world.connect(world.policy(&["good.test"]), &world.good(), "").await.starts_with(OK));
    assert_eq!(world.last().notice(), None);
}

#[tokio::test]
async fn a_rule_is_for_one_host_and_one_port() {
    const HERE: &[&[&str]] = &[&[LOOPBACK]];
    let names = ["evilgood.test", "good.test.evil", "www.good.test", "good.tes", "good.test2", "xn--god-0na.test"].map(|n| (n, HERE));
    let world = world(&names).await;
    for (name, _) in &names {
        let target = format!("{name}:{}", world.port);
        assert_eq!(status(&world.connect(world.policy(&["good.test"]), &target, "").await), "403", "{name}");
        assert!(world.connect(world.policy(&[name]), &target, "").await.starts_with(OK), "{name} is a name like any other");
    }
    let other = format!("good.test:{}", world.port ^ 1);
    assert_eq!(status(&world.connect(world.policy(&["good.test"]), &other, "").await), "403");
    for spelling in ["GOOD.test", "good.test."] {
        let target = format!("{spelling}:{}", world.port);
        assert!(world.connect(world.policy(&["good.test"]), &target, "").await.starts_with(OK), "{spelling} is the same host");
    }
}

#[tokio::test]
async fn without_an_authority_a_rule_with_a_path_or_method_grants_no_tunnel() {
    let world = world(&[]).await;
    for rest in ["/api", ",GET"] {
        let rules = vec![format!("{}{rest}", world.good()).parse().unwrap()];
        let policy = Policy { rules, ..world.policy(&[]) };
        assert_eq!(status(&world.connect(policy, &world.good(), "").await), "403");
        assert!(matches!(world.last().refusal, Some(Refusal::NeedsInspection(_))));
    }
    assert_eq!(world.accepted(), 0);
}

#[tokio::test]
async fn requests_that_are_not_plain_are_answered_and_go_nowhere() {
    let world = world(&[]).await;
    let port = world.port;
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (format!("TRACE http://good.test:{port}/ HTTP/1.1\r\nHost: good.test:{port}\r\n\r\n").into_bytes(), "405"),
        (format!("GET http://good.test:{port}/ HTTP/1.1\r\nHost: evil.test:{port}\r\n\r\n").into_bytes(), "400"),
        (
            format!("POST http://evil.test:{port}/ HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 70000\r\n\r\n{}", "x".repeat(70_000))
                .into_bytes(),
            "403",
        ),
        (format!("CONNECT good.test:{port} HTTP/1.1\r\nHost: evil.test\r\n\r\n").into_bytes(), "400"),
        (format!("CONNECT good.test:{port} HTTP/1.1\r\nHost: good.test\r\nHost: good.test\r\n\r\n").into_bytes(), "400"),
        (format!("CONNECT evil\0.good.test:{port} HTTP/1.1\r\nHost: good.test\r\n\r\n").into_bytes(), "400"),
        (format!("CONNECT user@good.test:{port} HTTP/1.1\r\nHost: good.test\r\n\r\n").into_bytes(), "400"),
        (format!("CONNECT good.test:{port}\nHost: good.test\n\n").into_bytes(), "400"),
        (format!("CONNECT 2130706433:{port} HTTP/1.0\r\n\r\n").into_bytes(), "400"),
        (format!("CONNECT [::ffff:127.0.0.1]:{port} HTTP/1.0\r\n\r\n").into_bytes(), "400"),
        (vec![5, 1, 0], "400"),
        (format!("CONNECT good.test:{port} HTTP/1.0\r\nX: {}", "y".repeat(HEAD_BYTES_MAX)).into_bytes(), "431"),
    ];
    for (bytes, expect) in &cases {
        let answer = world.talk(world.policy(&["good.test"]), bytes).await;
        assert_eq!(status(&answer), *expect, "{:?} {answer}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
        assert!(*expect == "403" || !answer.contains("evil"), "nothing unread comes back");
    }
    assert_eq!((world.names.asked.load(Ordering::SeqCst), world.accepted()), (0, 0));
    assert!(world.connect(world.policy(&["good.test"]), &world.good(), "").await.starts_with(OK));
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_unless_the_owner_listed_the_address() {
    const INSIDE: &[&str] = &[
        LOOPBACK, "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "168.63.129.16", "0.0.0.0", "224.0.0.1", "::1",
        "::", "fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    ];
    for address in INSIDE {
        let world = world(&[("inside.test", &[&[address]])]).await;
        let target = format!("inside.test:{}", world.port);
        let policy = Policy { private_ok: Vec::new(), ..world.policy(&["inside.test"]) };
        assert_eq!(status(&world.connect(policy, &target, "").await), "403", "{address}");
        assert!(matches!(world.last().refusal, Some(Refusal::Address { .. })), "{address}");
        assert_eq!(world.accepted(), 0);
    }
    let world = world(&[("inside.test", &[&[LOOPBACK]]), ("near.test", &[&["127.0.0.2"]])]).await;
    for (name, expect) in [("inside.test", "200"), ("near.test", "403")] {
        let answer = world.connect(world.policy(&[name]), &format!("{name}:{}", world.port), "").await;
        assert_eq!(status(&answer), expect, "an address is listed by itself, not with its range");
    }
}

#[tokio::test]
async fn one_answer_that_leads_inside_spoils_all() {
    let world = world(&[("mixed.test", &[&[LOOPBACK, "169.254.169.254"]]), ("mixed2.test", &[&["10.1.1.1", LOOPBACK]])]).await;
    for name in ["mixed.test", "mixed2.test"] {
        let answer = world.connect(world.policy(&[name]), &format!("{name}:{}", world.port), "").await;
        assert_eq!(status(&answer), "403");
    }
    assert_eq!(world.accepted(), 0);
}

#[tokio::test]
async fn a_name_is_asked_once_and_the_checked_address_is_dialled() {
    let world = world(&[("turn.test", &[&[LOOPBACK], &["127.0.0.2"]])]).await;
    let target = format!("turn.test:{}", world.port);
    let first = world.connect(world.policy(&["turn.test"]), &target, "hi").await;
    assert_eq!(first, format!("{OK}hibye"));
    assert_eq!(world.names.asked.load(Ordering::SeqCst), 1, "no second question between check and dial");
    let second = world.connect(world.policy(&["turn.test"]), &target, "hi").await;
    assert_eq!(status(&second), "403", "the next connection is checked by itself");
    assert_eq!(world.accepted(), 1);
}

#[tokio::test]
async fn addresses_are_hosts_only_by_their_own_rule() {
    let world = world(&[]).await;
    let target = format!("{LOOPBACK}:{}", world.port);
    assert_eq!(status(&world.connect(world.policy(&["good.test"]), &target, "").await), "403");
    let hidden = Policy { private_ok: Vec::new(), ..world.policy(&[LOOPBACK]) };
    assert_eq!(status(&world.connect(hidden, &target, "").await), "403");
    assert!(world.connect(world.policy(&[LOOPBACK]), &target, "").await.starts_with(OK));
    let rules = vec!["169.254.169.254:80".parse().unwrap()];
    let metadata = Policy { rules, ..world.policy(&[]) };
    assert_eq!(status(&world.connect(metadata, "169.254.169.254:80", "").await), "403");
}

/// The hello of a real client for `name`.
fn hello(name: &str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn tls_must_name_the_host_that_was_asked_for() {
    let world = world(&[]).await;
    let talk = async |name: &str| {
        let mut bytes = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", world.good()).into_bytes();
        bytes.extend(hello(name));
        world.talk(world.policy(&["good.test"]), &bytes).await
    };
    assert!(talk("good.test").await.ends_with("bye"));
    let heard = world.heard.load(Ordering::SeqCst);
    assert_eq!(heard, hello("good.test").len());
    for name in ["evil.test", "evilgood.test", "www.good.test", LOOPBACK] {
        let answer = talk(name).await;
        assert!(answer.starts_with(OK) && !answer.ends_with("bye"), "{name}");
        assert!(matches!(world.last().refusal, Some(Refusal::Hello(HelloError::OtherName(_) | HelloError::NoName))), "{name}");
    }
    assert_eq!(world.heard.load(Ordering::SeqCst), heard, "no byte of a refused hello reaches the host");
}

#[test]
fn port_443_is_for_tls_unless_the_policy_says_otherwise() {
    let target = |port| Target { host: "good.test".into(), port };
    let plain = Policy { plain: vec!["good.test:443".parse().unwrap()], ..Policy::default() };
    assert!(Policy::default().demands_tls(&target(443)));
    assert!(!Policy::default().demands_tls(&target(8443)));
    assert!(!plain.demands_tls(&target(443)));
}

#[tokio::test]
async fn connections_are_counted_and_places_come_back() {
    let world = world(&[]).await;
    let policy = Policy { slots: Slots::new(1), ..world.policy(&["good.test"]) };
    let (mut held, task, _cancel) = world.open(policy.clone());
    held.write_all(format!("CONNECT {} HTTP/1.0\r\n\r\n", world.good()).as_bytes()).await.unwrap();
    let mut ok = [0; OK.len()];
    held.read_exact(&mut ok).await.unwrap();
    assert_eq!(status(&world.connect(policy.clone(), &world.good(), "").await), "503");
    drop(held);
    task.await.unwrap();
    assert_eq!(status(&world.connect(policy, &world.good(), "").await), "200");
}

#[tokio::test]
async fn cancelling_cuts_at_once_and_the_bytes_are_still_counted() {
    let world = world(&[]).await;
    let (mut client, task, cancel) = world.open(world.policy(&["good.test"]));
    client.write_all(format!("CONNECT {} HTTP/1.0\r\n\r\nabc", world.good()).as_bytes()).await.unwrap();
    let mut answer = [0; OK.len() + 3];
    client.read_exact(&mut answer).await.unwrap();
    cancel.cancel();
    task.await.unwrap();
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    let report = world.last();
    assert_eq!((report.refusal, report.sent, report.received), (Some(Refusal::Cancelled), 3, 3));
}

#[tokio::test]
async fn hosts_that_do_not_answer_are_named() {
    // Held, so that nobody else gets the port, and never listened on.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(SocketAddr::new(LOOPBACK.parse().unwrap(), 0)).unwrap();
    let mut world = world(&[]).await;
    let target = format!("nowhere.test:{}", world.port);
    let answer = world.connect(world.policy(&["nowhere.test"]), &target, "").await;
    assert!(status(&answer) == "502" && answer.contains("nowhere.test"), "{answer}");
    world.port = closed.local_addr().unwrap().port();
    assert_eq!(status(&world.connect(world.policy(&["good.test"]), &world.good(), "").await), "502");
    assert!(matches!(world.last().refusal, Some(Refusal::Unreachable(_))));
}

#[tokio::test]
async fn an_address_of_this_machine_is_known_when_it_answers() {
    let world = world(&[]).await;
    let target = Target { host: "good.test".into(), port: world.port };
    let address = [LOOPBACK.parse().unwrap()];
    assert!(world.egress.dial(&target, &address, &world.policy(&[])).await.is_ok());
    let refused = world.egress.dial(&target, &address, &Policy::default()).await.unwrap_err();
    assert!(matches!(refused, Refusal::Address { range: "this machine's own", .. }));
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let world = world(&[("two.test", &[&["127.0.0.2", LOOPBACK]])]).await;
    let policy = Policy { private_ok: vec!["127.0.0.2".parse().unwrap(), LOOPBACK.parse().unwrap()], ..world.policy(&["two.test"]) };
    let answer = world.connect(policy, &format!("two.test:{}", world.port), "hi").await;
    assert_eq!(answer, format!("{OK}hibye"));
}

#[tokio::test(start_paused = true)]
async fn slow_requests_and_slow_names_end() {
    let world = world(&[("slow.test", &[&[]])]).await;
    let (mut client, task, _cancel) = world.open(world.policy(&["good.test"]));
    client.write_all(b"CONNECT good").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    drop(client);
    task.await.unwrap();
    assert_eq!(status(&answer), "408");
    let answer = world.connect(world.policy(&["slow.test"]), &format!("slow.test:{}", world.port), "").await;
    assert_eq!(status(&answer), "502");
}

/// Runs the tunnel alone, without sockets, so that the clock can be stopped.
async fn tunnel(limits: Limits, demand: bool, first: &[u8], host_says: &[u8]) -> (Report, Vec<u8>) {
    let (_client, mut inside) = tokio::io::duplex(64 << 10);
    let (mut far, mut outside) = tokio::io::duplex(64 << 10);
    far.write_all(host_says).await.unwrap();
    let mut report = Report::default();
    report.refusal =
        carry(&mut inside, &mut outside, Gate::new("good.test", demand), first, (&limits, &Policy::default()), &mut report).await;
    drop(outside);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    (report, heard)
}

#[tokio::test(start_paused = true)]
async fn silence_endless_connections_and_floods_end() {
    let began = tokio::time::Instant::now();
    let (report, heard) = tunnel(Limits::default(), false, b"abc", b"").await;
    assert_eq!((report.refusal, heard.as_slice()), (Some(Refusal::TooLong), &b"abc"[..]));
    assert_eq!(began.elapsed().as_secs(), Limits::default().idle.as_secs());
    let short = Limits { total: Duration::from_secs(1), ..Limits::default() };
    assert_eq!(tunnel(short, false, b"", b"").await.0.refusal, Some(Refusal::TooLong));
    let small = Limits { bytes_max: 1000, ..Limits::default() };
    assert_eq!(tunnel(small.clone(), false, b"", &[b'x'; 1000]).await.0.refusal, Some(Refusal::TooLong), "the limit itself is allowed");
    assert_eq!(tunnel(small, false, b"", &[b'x'; 1001]).await.0.refusal, Some(Refusal::TooMuch));
}

#[tokio::test(start_paused = true)]
async fn where_tls_is_demanded_nothing_else_passes() {
    let good = hello("good.test");
    let cut = async |first: &[u8]| tunnel(Limits::default(), true, first, b"").await;
    assert_eq!(cut(&good).await.1, good);
    let began = tokio::time::Instant::now();
    for half in [&b""[..], &good[..1], &good[..good.len() - 1]] {
        let (report, heard) = cut(half).await;
        assert_eq!((report.refusal, heard.len()), (Some(Refusal::Hello(HelloError::Slow)), 0));
    }
    assert_eq!(began.elapsed().as_secs(), 3 * Limits::default().hello.as_secs());
    for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n"] {
        let (report, heard) = cut(other).await;
        assert_eq!((report.refusal, heard.len()), (Some(Refusal::Hello(HelloError::NotTls)), 0));
    }
    assert_eq!(tunnel(Limits::default(), false, b"SSH-2.0-x\r\n", b"").await.1, b"SSH-2.0-x\r\n");
}

#[test]
fn answers_have_the_status_of_their_kind() {
    let head = |refusal: Refusal| String::from_utf8(refusal.answer()).unwrap();
    assert!(head(Refusal::Head(HeadError::Method("TRACE"))).starts_with("HTTP/1.1 405 "));
    for refusal in [Refusal::SlowHead, Refusal::TooMany, Refusal::TooLong, Refusal::TooMuch, Refusal::Broken] {
        let text = head(refusal);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())) && body.starts_with("{\"error\":{\"code\":"), "{text}");
    }
}

/// What the proxy costs: the time to a tunnel, and how fast one runs, beside the same without it. Printed; only a
/// multiple of what is wanted fails, since the machine may be busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_costs() {
    const ROUNDS: u32 = 200;
    const BYTES: usize = 256 << 20;
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            spawn(async move {
                let mut buffer = vec![0; 256 << 10];
                let mut left = BYTES;
                while left > 0 {
                    match stream.read(&mut buffer).await {
                        Ok(n @ 1..) => left = left.saturating_sub(n),
                        _ => return,
                    }
                }
                let _ = stream.write_all(b"!").await;
            });
        }
    });
    let names = Names { answers: HashMap::from([("good.test", vec![vec![LOOPBACK]])]), ..Names::default() };
    let egress = Egress::new(Arc::new(names), Limits::default());
    let policy = Arc::new(Policy {
        rules: vec![format!("good.test:{port}").parse().unwrap()],
        private_ok: vec![LOOPBACK.parse().unwrap()],
        ..Policy::default()
    });
    let request = format!("CONNECT good.test:{port} HTTP/1.0\r\n\r\n");
    let proxied = async || {
        let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
        let (egress, policy) = (egress.clone(), Arc::clone(&policy));
        spawn(async move { egress.serve(server, Bytes::new(), policy, CancellationToken::new()).await });
        client.write_all(request.as_bytes()).await.unwrap();
        let mut ok = [0; OK.len()];
        client.read_exact(&mut ok).await.unwrap();
        client
    };
    let began = Instant::now();
    for _ in 0..ROUNDS {
        drop(TcpStream::connect((LOOPBACK, port)).await.unwrap());
    }
    let direct = began.elapsed() / ROUNDS;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        drop(proxied().await);
    }
    let through = began.elapsed() / ROUNDS;
    let direct_rate = rate(TcpStream::connect((LOOPBACK, port)).await.unwrap(), BYTES).await;
    let through_rate = rate(proxied().await, BYTES).await;
    println!("egress: connect {direct:?} direct, {through:?} through; {direct_rate:.2} GB/s direct, {through_rate:.2} GB/s through");
    assert!(through.saturating_sub(direct) < Duration::from_millis(250), "{direct:?} {through:?}");
    host.abort();
}

async fn rate<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: usize) -> f64 {
    let block = vec![7; 256 << 10];
    let began = Instant::now();
    for _ in 0..bytes / block.len() {
        stream.write_all(&block).await.unwrap();
    }
    let mut end = [0];
    stream.read_exact(&mut end).await.unwrap();
    bytes as f64 / 1e9 / began.elapsed().as_secs_f64()
}
