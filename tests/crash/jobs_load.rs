//! Jobs from many sides, some in sandboxes that were made ahead, while their daemon is killed again and again: each that was
//! accepted ends well, once, and its tool has run once. `LAZARET_CRASH_JOBS` says how many are asked, `LAZARET_SEED` repeats the
//! order of the kills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Connection, Reply};

use crate::chance::Chance;
use crate::scene::{self, PATIENCE, daemon};
use crate::support::Lab;
use crate::world;

/// Jobs that are asked when nobody says otherwise.
const JOBS: usize = 120;
/// Who asks for them.
const CLIENTS: usize = 4;
/// Jobs that run at once. Each daemon ends so many before it is killed, so that none is killed over a job that cannot move.
const RUNNING: usize = 4;
/// The tool counts its runs.
const TOOL: &str = "echo once >> runs; echo ran $(wc -l < runs) times";
/// What the model says then.
const ANSWER: &str = "The tool printed: ran 1 times";
/// How long whoever is not answered waits before asking again.
const AGAIN: Duration = Duration::from_millis(20);
/// The load is over after this time, or somebody is stuck.
const STUCK: Duration = Duration::from_secs(3000);

struct Load {
    socket: PathBuf,
    seed: u64,
    jobs: usize,
    /// Clients that are not done.
    working: AtomicUsize,
    began: Instant,
}

impl Load {
    fn call(&self, method: &str, path: &str, key: &str, body: Option<&Value>) -> std::io::Result<Reply> {
        Connection::open(&self.socket, PATIENCE)?.ask(method, path, &[("Idempotency-Key", key)], body)
    }

    fn insist(&self, method: &str, path: &str, key: &str, body: Option<&Value>) -> Value {
        loop {
            assert!(self.began.elapsed() < STUCK, "seed {}: {method} {path} is not answered", self.seed);
            match self.call(method, path, key, body) {
                // What is not over yet is asked for again.
                Ok(reply) if matches!(reply.code().as_str(), "BUSY" | "DAEMON_STOPPING" | "TIMEOUT") => {}
                Ok(reply) => return reply.good().unwrap_or_else(|error| panic!("seed {}: {method} {path}: {error}", self.seed)),
                // It is dead, or died over it.
                Err(_) => {}
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Asks for its share of the jobs and waits for their ends.
    fn client(&self, n: usize) -> BTreeMap<String, Value> {
        let mut asked = Vec::new();
        for job in (n..self.jobs).step_by(CLIENTS) {
            let key = format!("{}-{job}", self.seed);
            // Every third one needs a sandbox of its own kind.
            let limits = (job % 3 == 0).then(|| json!({ "memory_bytes": 200 << 20, "cpu_millis": 1000, "pids": 64, "disk_bytes": 64 << 20, "time": { "secs": 600, "nanos": 0 } }));
            let form = json!({ "agent_id": format!("agent-{}", job % 5), "prompt": "count", "engine": "mini", "model": "claude-sonnet-4-5", "retries": 10, "limits": limits });
            let id = self.insist("POST", "/v1/jobs", &key, Some(&form))["id"].as_str().expect("an identity").to_owned();
            if job % 7 == 0 {
                assert_eq!(self.insist("POST", "/v1/jobs", &key, Some(&form))["id"], id, "seed {}: one key, one job", self.seed);
            }
            asked.push(id);
        }
        let over = |id: String| {
            let job = self.insist("GET", &format!("/v1/jobs/{id}/wait?timeout_s=5"), "none", None);
            (id, job)
        };
        let ended = asked.into_iter().map(over).collect();
        self.working.fetch_sub(1, Ordering::SeqCst);
        ended
    }

    /// How many jobs have ended so far, as far as a daemon tells.
    fn ended(&self) -> Option<usize> {
        let text = self.call("GET", "/metrics", "none", None).ok()?.body;
        let text = String::from_utf8(text).ok()?;
        let number = text.lines().find_map(|line| line.strip_prefix("tower_jobs_by_status{status=\"completed\"} "))?;
        number.parse().ok()
    }

    /// Lets daemons live a while and kills them, until nobody works any more; how many, and the last one.
    fn kill(&self, lab: &Lab, chance: &mut Chance) -> (usize, Child) {
        let mut kills = 0;
        loop {
            let mut child = daemon(lab, None);
            let before = self.ended().unwrap_or(0);
            while self.working.load(Ordering::SeqCst) > 0 && self.ended().is_none_or(|now| now < before + RUNNING) {
                assert!(self.began.elapsed() < STUCK, "seed {}: stuck", self.seed);
                std::thread::sleep(AGAIN);
            }
            let until = Instant::now() + chance.wait(0, 400);
            while Instant::now() < until && self.working.load(Ordering::SeqCst) > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            if self.working.load(Ordering::SeqCst) == 0 {
                return (kills, child);
            }
            child.kill().expect("kill");
            child.wait().expect("wait");
            kills += 1;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own setting, not the program's")]
fn jobs() -> usize {
    std::env::var("LAZARET_CRASH_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(JOBS)
}

/// Ends the load when a client cannot go on.
struct Over<'a>(&'a AtomicUsize);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(0, Ordering::SeqCst);
        }
    }
}

#[test]
fn jobs_end_well_and_once_however_often_their_daemon_is_killed() {
    let mut chance = Chance::new(17);
    let (lab, _server) = scene::lab(TOOL);
    let running = RUNNING.to_string();
    for (key, value) in [("pool.size", "2"), ("jobs.running_max", running.as_str()), ("jobs.keep", "100000")] {
        lab.run(&["config", "set", key, value]).succeeds();
    }
    let socket = lab.home().join("run").join(api::OWNER_SOCKET);
    let load = Load { socket, seed: chance.seed, jobs: jobs(), working: AtomicUsize::new(CLIENTS), began: Instant::now() };
    let about = format!("seed {}", load.seed);
    let (ended, kills, last) = std::thread::scope(|scope| {
        let client = |n| {
            let load = &load;
            scope.spawn(move || {
                let _over = Over(&load.working);
                load.client(n)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let (kills, last) = load.kill(&lab, &mut chance);
        let ended: BTreeMap<String, Value> = clients.into_iter().flat_map(|c| c.join().expect("a client")).collect();
        (ended, kills, last)
    });
    eprintln!("{} jobs, {kills} kills, {:?}", load.jobs, load.began.elapsed());
    assert!(kills > 0, "{about}: nothing was killed");
    assert_eq!(ended.len(), load.jobs, "{about}: each key has a job of its own");
    let mut sessions = BTreeSet::new();
    for (id, job) in &ended {
        let told = (&job["status"], job["text"].as_str().map(str::trim));
        assert_eq!(told, (&json!("completed"), Some(ANSWER)), "{about}: {id}: {job}");
        let session = job["session"].as_str().expect("a session");
        assert!(sessions.insert(session.to_owned()), "{about}: {id} shares its session");
        let log = load.insist("GET", &format!("/v1/sessions/{session}/events?limit=1000"), "none", None);
        let results = log["events"].as_array().expect("events").iter().filter(|e| e["type"] == "result").count();
        assert_eq!(results, 1, "{about}: {id}: {log:#}");
    }
    let line = format!("tower_jobs_by_status{{status=\"completed\"}} {}\n", load.jobs);
    let asked = Instant::now();
    loop {
        let counts = load.call("GET", "/metrics", "none", None).expect("metrics");
        let counts = String::from_utf8(counts.body).expect("text");
        if counts.contains(&line) && counts.contains("\ntower_jobs_active 0\n") && counts.contains("\nlazaret_queue_depth 0\n") {
            break;
        }
        assert!(asked.elapsed() < PATIENCE, "{about}: {counts}");
        std::thread::sleep(AGAIN);
    }
    let mut last = last;
    last.kill().expect("kill");
    last.wait().expect("wait");
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    world::ends(&lab, &about);
}
