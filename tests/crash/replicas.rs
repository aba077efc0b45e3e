//! Three daemons on one PostgreSQL database, one of which is killed every few seconds: each job that was accepted ends well and
//! once, whichever daemon took it, worked on it and was asked about it. `LAZARET_CRASH_JOBS` says how many jobs are asked.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Connection, Reply};
use testkit::postgres::Server;

use crate::chance::Chance;
use crate::scene::{PATIENCE, daemon};
use crate::support::Lab;
use crate::world;

/// Jobs that are asked when nobody says otherwise.
const JOBS: usize = 1000;
/// Who asks for them.
const CLIENTS: usize = 6;
/// The daemons.
const REPLICAS: usize = 3;
/// How long whoever is not answered waits before somebody else is asked.
const AGAIN: Duration = Duration::from_millis(20);
/// The load is over after this time, or somebody is stuck.
const STUCK: Duration = Duration::from_secs(3000);
/// How long one request for the end of a job waits, in seconds.
const WAIT_S: u64 = 10;

struct Load<'a> {
    labs: &'a [Lab],
    seed: u64,
    working: AtomicUsize,
    began: Instant,
}

impl Load<'_> {
    fn call(&self, at: &Lab, method: &str, path: &str, key: &str, body: Option<&Value>) -> std::io::Result<Reply> {
        let mut connection = Connection::open(&at.home().join("run").join(api::OWNER_SOCKET), PATIENCE)?;
        connection.ask(method, path, &[("Idempotency-Key", key)], body)
    }

    /// Asks one daemon after the other until one has an answer.
    fn insist(&self, chance: &mut Chance, method: &str, path: &str, key: &str, body: Option<&Value>) -> Value {
        loop {
            assert!(self.began.elapsed() < STUCK, "seed {}: {method} {path} is not answered", self.seed);
            let at = &self.labs[usize::try_from(chance.below(REPLICAS as u64)).unwrap_or(0)];
            match self.call(at, method, path, key, body) {
                // What is not over yet is asked for again.
                Ok(reply) if matches!(reply.code().as_str(), "BUSY" | "DAEMON_STOPPING" | "STORE_UNUSABLE" | "TIMEOUT") => {}
                Ok(reply) => return reply.good().unwrap_or_else(|error| panic!("seed {}: {method} {path}: {error}", self.seed)),
                // It is dead, or died over it.
                Err(_) => {}
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Asks for its share of the jobs and waits for their ends; what each job was asked as, and how it ended.
    fn client(&self, n: usize, jobs: usize, chance: &mut Chance) -> BTreeMap<String, Value> {
        let mut asked = Vec::new();
        for job in (n..jobs).step_by(CLIENTS) {
            let key = format!("{}-{job}", self.seed);
            let form = json!({ "agent_id": format!("agent-{}", job % 7), "prompt": format!("say {job}"), "retries": 10 });
            let id = self.insist(chance, "POST", "/v1/jobs", &key, Some(&form))["id"].as_str().expect("an identity").to_owned();
            if job % 5 == 0 {
                assert_eq!(self.insist(chance, "POST", "/v1/jobs", &key, Some(&form))["id"], id, "seed {}: one key, one job", self.seed);
            }
            asked.push(id);
        }
        let over = |id: String| {
            let path = format!("/v1/jobs/{id}/wait?timeout_s={WAIT_S}");
            let job = self.insist(chance, "GET", &path, "none", None);
            (id, job)
        };
        let ended = asked.into_iter().map(over).collect();
        self.working.fetch_sub(1, Ordering::SeqCst);
        ended
    }

    /// Kills one daemon after the other, until nobody works any more; how often.
    fn kill(&self, daemons: &mut [Option<Child>], chance: &mut Chance) -> usize {
        let (mut kills, mut rest) = (0, Duration::ZERO);
        while self.working.load(Ordering::SeqCst) > 0 {
            // Where starting takes long, working does too: a fleet that is killed more often than it starts does nothing.
            let until = Instant::now() + chance.wait(1000, 4000) + rest;
            while Instant::now() < until && self.working.load(Ordering::SeqCst) > 0 {
                std::thread::sleep(AGAIN);
            }
            let dying = usize::try_from(chance.below(REPLICAS as u64)).unwrap_or(0);
            if let Some(mut child) = daemons[dying].take() {
                child.kill().expect("kill");
                child.wait().expect("wait");
                kills += 1;
            }
            let began = Instant::now();
            daemons[dying] = Some(daemon(&self.labs[dying], None));
            rest = began.elapsed() * 2;
        }
        kills
    }
}

/// Homes whose daemons share a database and a key.
fn labs(url: &str) -> Vec<Lab> {
    let labs: Vec<Lab> = (0..REPLICAS).map(|_| Lab::new()).collect();
    for (n, lab) in labs.iter().enumerate() {
        lab.run(&["config", "set", "store.url", url]).succeeds();
        lab.run(&["config", "set", "store.lost_after", "10s"]).succeeds();
        lab.run(&["config", "set", "jobs.keep", "100000"]).succeeds();
        if n > 0 {
            let key = lab.home().join("master.key");
            std::fs::copy(labs[0].home().join("master.key"), &key).expect("copy");
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("chmod");
        } else {
            lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
            lab.run(&["stop"]).succeeds();
        }
    }
    labs
}

#[expect(clippy::disallowed_methods, reason = "a test's own setting, not the program's")]
fn jobs() -> usize {
    std::env::var("LAZARET_CRASH_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(JOBS)
}

#[test]
fn jobs_of_many_daemons_end_well_and_once() {
    let mut chance = Chance::new(11);
    let server = Server::start(false).expect("a server");
    let labs = labs(&server.database().expect("a database"));
    let mut daemons: Vec<Option<Child>> = labs.iter().map(|lab| Some(daemon(lab, None))).collect();
    let load = Load { labs: &labs, seed: chance.seed, working: AtomicUsize::new(CLIENTS), began: Instant::now() };
    let about = format!("seed {}", load.seed);
    let jobs = jobs();
    let (ended, kills) = std::thread::scope(|scope| {
        let client = |n| {
            let load = &load;
            scope.spawn(move || {
                let _over = Over(&load.working);
                load.client(n, jobs, &mut Chance::new(100 + n as u64))
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let kills = load.kill(&mut daemons, &mut chance);
        let ended: BTreeMap<String, Value> = clients.into_iter().flat_map(|c| c.join().expect("a client")).collect();
        (ended, kills)
    });
    eprintln!("{jobs} jobs, {kills} kills, {:?}", load.began.elapsed());
    assert_eq!(ended.len(), jobs, "{about}: each key has a job of its own");
    for job in ended.values() {
        assert_eq!(job["status"], "completed", "{about}: {job}");
    }
    // Nothing is there besides, each of them has one answer, and nothing is stuck.
    let mut seen = HashSet::new();
    let mut path = "/v1/jobs?limit=200".to_owned();
    loop {
        let page = load.insist(&mut chance, "GET", &path, "none", None);
        for job in page["items"].as_array().expect("jobs") {
            assert_eq!(job["status"], "completed", "{about}: {job}");
            assert!(seen.insert(job["id"].as_str().expect("an identity").to_owned()), "{about}: listed twice");
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/jobs?limit=200&after={next}");
    }
    assert_eq!(seen, ended.keys().cloned().collect(), "{about}");
    for job in ended.values() {
        let session = job["session"].as_str().expect("a session");
        let log = load.insist(&mut chance, "GET", &format!("/v1/sessions/{session}/events?limit=500"), "none", None);
        let results = log["events"].as_array().expect("events").iter().filter(|e| e["type"] == "result");
        let ends: Vec<&Value> = results.map(|e| &e["status"]).collect();
        assert_eq!(ends, ["completed"], "{about}: the session of {job}");
    }
    for mut child in daemons.into_iter().flatten() {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
    for lab in &labs {
        // Whatever the killed ones left goes with the next start.
        lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        lab.run(&["stop", "--grace", "10s"]).succeeds();
        world::empties(lab, PATIENCE, &about);
    }
}

/// Ends the load when a client cannot go on, so that the others are not waited for.
struct Over<'a>(&'a AtomicUsize);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(0, Ordering::SeqCst);
        }
    }
}
