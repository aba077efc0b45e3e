//! Files that come with jobs: they go to the home as they come, and nothing stays of those that no job has.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::PATIENCE;
use crate::support::Lab;

const MIB: usize = 1 << 20;
/// What all files of one job may have, less a little.
const LONG: usize = 60 * MIB;
/// Uploads at once: several times what they may take in memory together, and no more than a slow disk takes in before one that waits for
/// the others is given up.
const AT_ONCE: usize = 3;

const BEFORE: &str = "--X\r\ncontent-disposition: form-data; name=\"job\"\r\n\r\n";
const BETWEEN: &str = "\r\n--X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"long\"\r\n\r\n";
const AFTER: &str = "\r\n--X--\r\n";

impl Lab {
    /// Begins to send a job with a file of so many bytes.
    fn upload(&self, job: &Value, bytes: usize) -> UnixStream {
        let mut stream = UnixStream::connect(self.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let job = format!("{BEFORE}{job}{BETWEEN}");
        let length = job.len() + bytes + AFTER.len();
        let head = format!("POST /v1/jobs HTTP/1.1\r\nhost: lazaret\r\nconnection: close\r\ncontent-length: {length}\r\n");
        stream.write_all(format!("{head}content-type: multipart/form-data; boundary=X\r\n\r\n{job}").as_bytes()).expect("write");
        stream
    }

    /// What is in the home of files that no job has yet.
    fn unfinished(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.home().join("blobs")).expect("a directory").flatten();
        all.map(|entry| entry.path()).filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("growing-"))).collect()
    }

    #[track_caller]
    fn unfinished_is(&self, wanted: impl Fn(&[PathBuf]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !wanted(&self.unfinished()) {
            assert!(Instant::now() < end, "{:?}", self.unfinished());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn send(stream: &mut UnixStream, bytes: usize) {
    let piece = vec![b'x'; MIB];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(MIB);
        stream.write_all(&piece[..n]).expect("write");
        left -= n;
    }
}

fn finish(stream: &mut UnixStream) -> String {
    stream.write_all(AFTER.as_bytes()).expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The most memory that the daemon had since it was last asked to count anew.
struct Peak(i32);

impl Peak {
    fn of(lab: &Lab) -> Self {
        let stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
        Self(rustix::net::sockopt::socket_peercred(&stream).expect("a peer").pid.as_raw_nonzero().get())
    }

    fn anew(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.0), "5").expect("count anew");
    }

    fn mib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
    }
}

fn job() -> Value {
    json!({ "agent_id": "a", "prompt": "say hello" })
}

#[test]
fn long_files_are_never_whole_in_memory() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    // Everything that is loaded once has been.
    let mut first = lab.upload(&job(), MIB);
    send(&mut first, MIB);
    let answer = finish(&mut first);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let peak = Peak::of(&lab);
    peak.anew();
    let before = peak.mib();
    let mut later = job();
    later["delay_s"] = json!(100_000);
    // All of them are on their way before any is at its end.
    let mut streams: Vec<UnixStream> = (0..AT_ONCE).map(|_| lab.upload(&later, LONG)).collect();
    std::thread::scope(|scope| streams.iter_mut().for_each(|stream| drop(scope.spawn(|| send(stream, LONG)))));
    lab.unfinished_is(|files| files.len() == AT_ONCE);
    for stream in &mut streams {
        let answer = finish(stream);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
    let grown = peak.mib() - before;
    assert!(grown < LONG / MIB, "{AT_ONCE} files of {LONG} bytes took {grown} MiB of memory");
    assert_eq!(lab.unfinished(), Vec::<PathBuf>::new());

    // On its way into the sandbox it is not whole in memory either.
    let mut now = lab.upload(&job(), LONG);
    send(&mut now, LONG);
    let answer = finish(&mut now);
    let made: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    let id = made["id"].as_str().expect("an identity");
    let end = lab.job_over(id);
    assert_eq!(end["status"], "completed", "{end}");
    let grown = peak.mib() - before;
    assert!(grown < LONG / MIB, "a job with a file of {LONG} bytes took {grown} MiB of memory");

    // The measure sees what is in memory: a prompt of that length is.
    let mut long = later.clone();
    long["prompt"] = json!("x".repeat(LONG));
    lab.ask("POST", "/v1/jobs", long).is(202);
    assert!(peak.mib() - before >= LONG / MIB, "{} MiB", peak.mib() - before);
}

#[test]
fn what_breaks_off_leaves_nothing() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let half = |lab: &Lab| {
        let mut stream = lab.upload(&job(), 4 * MIB);
        send(&mut stream, 2 * MIB);
        lab.unfinished_is(|files| files.iter().any(|file| file.metadata().is_ok_and(|meta| meta.len() > 0)));
        stream
    };
    drop(half(&lab));
    lab.unfinished_is(<[PathBuf]>::is_empty);
    let held = half(&lab);
    lab.kill_daemon();
    drop(held);
    assert_eq!(lab.unfinished().len(), 1, "what a killed daemon had is there still");
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    assert_eq!(lab.unfinished(), Vec::<PathBuf>::new());
    assert_eq!(lab.ask("GET", "/v1/jobs", Value::Null).is(200)["items"], json!([]));
    // More than a job may bring is refused as it comes, and goes again.
    let mut stream = lab.upload(&job(), LONG + 5 * MIB);
    let piece = vec![b'x'; MIB];
    // It may be refused before all of it is sent.
    let _ = (0..65).try_for_each(|_| stream.write_all(&piece)).and_then(|()| stream.write_all(AFTER.as_bytes()));
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    lab.unfinished_is(<[PathBuf]>::is_empty);
}

/// One key is one job, also where its file came in another form; another file is another request.
#[test]
fn a_key_knows_the_files_however_they_came() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let mut form = job();
    form["delay_s"] = json!(100_000);
    let part = |bytes: &str| format!("{BEFORE}{form}{BETWEEN}{bytes}{AFTER}").into_bytes();
    let ask = |kind: &str, body: &[u8]| lab.ask_with("POST", "/v1/jobs", &[("content-type", kind), ("idempotency-key", "one")], body);
    let parts = "multipart/form-data; boundary=X";
    let id = ask(parts, &part("abc")).is(202)["id"].clone();
    assert_eq!(ask(parts, &part("abc")).is(202)["id"], id);
    let mut json = form.clone();
    json["files"] = json!([{ "path": "long", "data": "YWJj" }]);
    assert_eq!(ask("application/json", json.to_string().as_bytes()).is(202)["id"], id);
    ask(parts, &part("abd")).refused(409, "CONFLICT");
    ask("application/json", form.to_string().as_bytes()).refused(409, "CONFLICT");
}
