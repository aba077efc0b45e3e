//! `--prove`, its second half: a live egress proxy with one granted host, a service that really answers behind every name, and
//! a throw-away sandbox that asks for all of them.
//!
//! Each request that must fail is also made, outside of any sandbox, under a policy that grants it: what fails inside fails
//! because of the policy and nothing else. The one exception is the metadata address, to which nothing is ever sent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::egress::{Egress, Limits, Policy, Resolve};
use model::{EgressRule, Failure, SandboxId};
use sandbox::{Door, Doors, Exec, Hold, Piece, Relay, Request, Sandboxes, Stdio};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Check;
use crate::client::internal;
use crate::compose;
use crate::config::Config;
use crate::home::Home;

/// The loopback port inside that leads to the proxy.
const PORT_INSIDE: u16 = 4101;
/// How long all of it may take.
const TIME: Duration = Duration::from_secs(300);
/// The longest output of the sandbox, and the longest answer outside.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// What the service says. Who reads it has reached it.
const GREETING: &str = "the service was reached";
/// The longest request that the service reads.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Where a name leads that is granted and must not lead there: loopback as well, and not the address that is listed.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The granted host, another one, and names that lead to private and metadata addresses.
const GRANTED: &str = "granted.test";
const OTHER: &str = "other.test";
const INSIDE: &str = "inside.test";
const METADATA: &str = "metadata.test";

/// One request and what must come of it.
struct Case {
    /// What is tried.
    name: &'static str,
    request: String,
    /// How often the service must have answered.
    reached: usize,
    /// Rules and addresses under which it is answered more often: the control. None for what is never sent.
    control: Option<(Vec<EgressRule>, Vec<IpAddr>)>,
}

pub(super) async fn checks(home: &Home, config: &Config) -> Vec<Check> {
    match tokio::time::timeout(TIME, tried(home, config)).await {
        Ok(Ok(checks)) => checks,
        Ok(Err(failure)) => vec![Check::of("prove egress", &failure)],
        Err(_) => vec![Check::fail("prove egress", "it took too long", "run it again on a quieter machine")],
    }
}

/// Answers names as the proof needs them.
struct Names;

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let address = match host {
            GRANTED | OTHER => Some(Ipv4Addr::LOCALHOST),
            INSIDE => Some(PRIVATE),
            METADATA => Some(Ipv4Addr::new(169, 254, 169, 254)),
            _ => None,
        };
        Box::pin(std::future::ready(address.map(|a| vec![a.into()]).ok_or_else(|| io::ErrorKind::NotFound.into())))
    }
}

/// The egress door of the one sandbox; every other door is closed.
struct OneDoor {
    egress: Egress,
    policy: Arc<Policy>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Doors for OneDoor {
    fn open(&self, _: &SandboxId, door: Door, stream: UnixStream, read: Bytes, hold: Hold) {
        if door == Door::Egress {
            let (egress, policy, cancel) = (self.egress.clone(), Arc::clone(&self.policy), self.cancel.clone());
            self.tasks.spawn(async move {
                egress.serve(stream, read, policy, cancel).await;
                drop(hold);
            });
        }
    }
}

/// Sets everything up, asks, judges, and takes everything down again.
async fn tried(home: &Home, config: &Config) -> Result<Vec<Check>, Failure> {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    // Taken down with this function, however it ends.
    let _end = cancel.clone().drop_guard();
    let port = serve(&tasks, &cancel, Ipv4Addr::LOCALHOST.into(), 0).await?;
    serve(&tasks, &cancel, PRIVATE.into(), port).await?;
    let other_port = serve(&tasks, &cancel, Ipv4Addr::LOCALHOST.into(), 0).await?;
    let cases = cases(port, other_port);
    let limits = Limits { connect: Duration::from_secs(5), ..Limits::default() };
    let egress = Egress::new(Arc::new(Names), limits);
    let policy = Arc::new(Policy { rules: granted(port), private_ok: vec![Ipv4Addr::LOCALHOST.into()], ..Policy::default() });
    let doors = OneDoor { egress: egress.clone(), policy, tasks: tasks.clone(), cancel: cancel.clone() };
    let made = compose::sandbox_config(home, config)?;
    // Whoever starts a daemon now would sweep this sandbox away; one that is up does not.
    let _lock = home.lock();
    let sandboxes = Sandboxes::open(made, Arc::new(doors)).await.map_err(|e| e.failure())?;
    let answers = ask_inside(&sandboxes, &cases).await;
    sandboxes.shutdown(true).await;
    let answers = answers?;
    if answers.len() != cases.len() {
        return Err(internal(&format!("only {} of {} requests were answered", answers.len(), cases.len())));
    }
    let mut checks = Vec::new();
    for (case, answer) in cases.iter().zip(&answers) {
        checks.push(judge(case, answer, control(&egress, case, &tasks, &cancel).await));
    }
    cancel.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(checks)
}

fn rule(text: &str) -> Vec<EgressRule> {
    text.parse().into_iter().collect()
}

fn granted(port: u16) -> Vec<EgressRule> {
    [GRANTED, INSIDE].iter().flat_map(|host| rule(&format!("{host}:{port}"))).chain(rule(&format!("{METADATA}:80"))).collect()
}

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")
}

fn get(authority: &str, fields: &str) -> String {
    format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n")
}

fn cases(port: u16, other_port: u16) -> Vec<Case> {
    let loopback = || vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    let case = |name, request, reached, control| Case { name, request, reached, control };
    let allows = |text: String| Some((rule(&text), loopback()));
    let (target, hidden) = (format!("{GRANTED}:{port}"), get(&format!("{OTHER}:{port}"), "Connection: close\r\n"));
    let both = || Some((rule(&target).into_iter().chain(rule(&format!("{OTHER}:{port}"))).collect(), loopback()));
    let twofold = |fields: &str| format!("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n0\r\n\r\n{hidden}");
    vec![
        case("the granted host, by a tunnel", connect(&target), 1, None),
        case("the granted host, by a plain request", get(&target, "Connection: close\r\n"), 1, None),
        case("a host that is not granted", connect(&format!("{OTHER}:{port}")), 0, allows(format!("{OTHER}:{port}"))),
        case("another port of the granted host", connect(&format!("{GRANTED}:{other_port}")), 0, allows(format!("{GRANTED}:{other_port}"))),
        case("an address instead of the name", connect(&format!("127.0.0.1:{port}")), 0, allows(format!("127.0.0.1:{port}"))),
        case(
            "a granted name that leads to a private address",
            connect(&format!("{INSIDE}:{port}")),
            0,
            Some((rule(&format!("{INSIDE}:{port}")), vec![PRIVATE.into()])),
        ),
        case("a granted name that leads to the metadata address", connect(&format!("{METADATA}:80")), 0, None),
        case("the metadata address itself", connect("169.254.169.254:80"), 0, None),
        case("a name that is cut by a zero", connect(&format!("{OTHER}\0.{GRANTED}:{port}")), 0, None),
        case("two lengths for one body", twofold("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 0, None),
        case("a target and another Host", get(&target, "Host: other.test\r\n"), 0, None),
        case("a second request behind the first", format!("{}{hidden}", get(&target, "")), 1, both()),
    ]
}

/// What the sandbox was answered, in the order of the cases.
async fn ask_inside(sandboxes: &Sandboxes, cases: &[Case]) -> Result<Vec<String>, Failure> {
    let id = SandboxId::from_bits(super::prove::random()?);
    let mut request = Request::new(id, "doctor --prove");
    request.limits.time = TIME;
    request.orphan = Duration::ZERO;
    request.relays = vec![Relay { port: PORT_INSIDE, door: Door::Egress }];
    let env = sandbox::base_env(&request.limits);
    let made = sandboxes.start(request).await.map_err(|e| e.failure())?;
    let requests: Vec<&str> = cases.iter().map(|case| case.request.as_str()).collect();
    let argv = vec![jail::GUEST_PATH.to_owned(), "ask-proxy".to_owned(), PORT_INSIDE.to_string(), json!(requests).to_string()];
    let exec = Exec { argv, env, cwd: "/workspace".to_owned(), stdio: Stdio::Pipes { stdin: false }, lease: 0 };
    let mut command = made.exec(exec).await.map_err(|e| e.failure())?;
    let mut printed = Vec::new();
    while let Some(output) = command.output.next().await.map_err(|e| e.failure())? {
        match output.piece {
            Piece::Stdout(bytes) if printed.len() + bytes.len() <= OUTPUT_BYTES_MAX => printed.extend_from_slice(&bytes),
            Piece::Stdout(_) | Piece::Stderr(_) => {}
            Piece::Exited(_) => {}
        }
        command.control.ack(output.number);
    }
    Ok(String::from_utf8_lossy(&printed).lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// How often the service answers the request when it is granted.
async fn control(egress: &Egress, case: &Case, tasks: &TaskTracker, cancel: &CancellationToken) -> Option<usize> {
    let (rules, private_ok) = case.control.clone()?;
    let policy = Arc::new(Policy { rules, private_ok, ..Policy::default() });
    let (mut near, far) = tokio::io::duplex(HEAD_BYTES_MAX);
    let (egress, cancel) = (egress.clone(), cancel.child_token());
    tasks.spawn(async move { egress.serve(far, Bytes::new(), policy, cancel).await });
    near.write_all(case.request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let _ = near.take(OUTPUT_BYTES_MAX as u64).read_to_end(&mut answer).await;
    Some(reached(&String::from_utf8_lossy(&answer)))
}

fn reached(answer: &str) -> usize {
    answer.matches(GREETING).count()
}

fn judge(case: &Case, answer: &str, control: Option<usize>) -> Check {
    let (found, first) = (reached(answer), answer.lines().next().unwrap_or("no answer"));
    let is_refused = case.reached > 0 || ["HTTP/1.1 4", "HTTP/1.1 5"].iter().any(|status| answer.starts_with(status));
    let detail = format!("{}: {first}", case.name);
    if found > case.reached || (case.reached == 0 && !is_refused) {
        return Check::fail("NOT DENIED", detail, "do not grant hosts here; report it with the output of `lazaret doctor --json`");
    }
    if found < case.reached {
        return Check::fail("egress", detail, "no host can be reached through the proxy; look into logs/daemon.log in the home");
    }
    match control {
        Some(count) if count <= case.reached => {
            Check::fail("egress", format!("{}: its control does not pass, so its failure means nothing", case.name), "run it again")
        }
        _ if case.reached > 0 && case.control.is_none() => Check::pass("egress", detail),
        _ => Check::pass("denied", detail),
    }
}

/// A service that greets whoever asks, until it is cancelled. Gives its port.
async fn serve(tasks: &TaskTracker, cancel: &CancellationToken, address: IpAddr, port: u16) -> Result<u16, Failure> {
    let fail = |e: io::Error| internal(&format!("no service can be set up for the proof: {e}"));
    let listener = TcpListener::bind(SocketAddr::new(address, port)).await.map_err(fail)?;
    let port = listener.local_addr().map_err(fail)?.port();
    let (each, cancel) = (tasks.clone(), cancel.clone());
    tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            if let Ok((stream, _)) = stream {
                let cancel = cancel.clone();
                each.spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        _ = greet(stream) => {}
                    }
                });
            }
        }
    });
    Ok(port)
}

async fn greet(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{GREETING}", GREETING.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Status;

    #[test]
    fn what_got_through_is_a_failure_and_so_is_a_control_that_does_not_pass() {
        let cases = cases(1, 2);
        let case = |name: &str| cases.iter().find(|case| case.name == name).unwrap();
        let refused = "HTTP/1.1 403 Forbidden\r\n\r\n";
        let got = format!("HTTP/1.1 200 OK\r\n\r\n{GREETING}");
        let other = case("a host that is not granted");
        for (answer, control, expect) in [
            (refused, Some(1), Status::Pass),
            (refused, Some(0), Status::Fail),
            (got.as_str(), Some(1), Status::Fail),
            ("", Some(1), Status::Fail),
            ("no connection: refused", Some(1), Status::Fail),
        ] {
            assert_eq!(judge(other, answer, control).status, expect, "{answer} {control:?}");
        }
        let granted = case("the granted host, by a tunnel");
        assert_eq!((judge(granted, &got, None).status, judge(granted, refused, None).status), (Status::Pass, Status::Fail));
        let second = case("a second request behind the first");
        assert_eq!(judge(second, &got, Some(2)).status, Status::Pass);
        assert_eq!(judge(second, &got, Some(1)).status, Status::Fail, "the hidden request does not work where it is granted");
        assert_eq!(judge(second, &format!("{got}{got}"), Some(2)).status, Status::Fail);
    }
}
