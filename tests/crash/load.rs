//! Work from many sides while the daemon, the guests, or both are killed: at random moments and at every labelled point.
//!
//! Clients ask by idempotency keys and ask again whatever was not acknowledged. In the end every accepted turn has one
//! result, each tool has run once for each turn that completed, and nothing is left that no row names. `LAZARET_SEED`
//! repeats the order of the kills, `LAZARET_CRASH_TURNS` says how many turns are asked.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use store::SessionFilter;
use testkit::client::{Connection, Reply};

use crate::chance::Chance;
use crate::scene::{self, AWAY, PATIENCE};
use crate::support::{Lab, first_line};
use crate::{log, points, world};

/// Turns that are asked when nobody says otherwise.
const TURNS: usize = 1000;
/// Sessions with files of their own.
const PRIVATE: usize = 4;
/// Sessions in one env.
const SHARED: usize = 4;
/// The env.
const ENV: &str = "together";
/// Turns that a client lets wait at once.
const WAITING: usize = 5;
/// A tool that counts its runs in a file beside it.
const TOOL: &str = "echo run >> runs; wc -l < runs";
/// What the model is told of a tool that was killed together with its program.
const UNKNOWN: &str = "whether it had an effect is not known.";
/// How long a client waits before it asks again.
const AGAIN: Duration = Duration::from_millis(15);
/// How long one daemon lives at most, beyond twice the time that it took to start.
const LIFE: Duration = Duration::from_millis(2500);
/// The load is over after this time, or somebody is stuck.
const STUCK: Duration = Duration::from_secs(3000);

/// What all threads share.
struct Load {
    socket: PathBuf,
    seed: u64,
    turns: usize,
    working: AtomicUsize,
    guests_killed: AtomicUsize,
    over: AtomicBool,
}

/// What a client knows at its end.
struct Asked {
    session: String,
    /// Accepted turns, in the order in which they were asked.
    turns: Vec<String>,
    /// Every event as it was first seen.
    events: Vec<Value>,
}

impl Load {
    fn call(&self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> std::io::Result<Reply> {
        let mut connection = Connection::open(&self.socket, PATIENCE)?;
        let key: Vec<(&str, &str)> = key.map(|key| ("Idempotency-Key", key)).into_iter().collect();
        connection.ask(method, path, &key, body)
    }

    /// Asks until there is an answer that says more than that the daemon has no time.
    fn insist(&self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Value {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < STUCK && !self.over.load(Ordering::SeqCst), "seed {}: {method} {path} is not answered", self.seed);
            match self.call(method, path, key, body) {
                Ok(reply) if matches!(reply.code().as_str(), "BUSY" | "DAEMON_STOPPING") => {}
                Ok(reply) => return reply.good().unwrap_or_else(|error| panic!("seed {}: {method} {path}: {error}", self.seed)),
                // The daemon is dead, or died over it: whoever wants to know asks again.
                Err(_) => {}
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// A session that is there for certain. One whose making was not acknowledged may be there as well, and empty.
    fn session(&self, n: usize) -> String {
        let mut form = json!({ "engine": "mini", "model": "claude-sonnet-4-5", "title": format!("client {n}") });
        if n >= PRIVATE {
            form["env"] = ENV.into();
            form["subdir"] = format!("client-{n}").into();
        }
        self.insist("POST", "/v1/sessions", None, Some(&form))["id"].as_str().expect("an id").to_owned()
    }

    fn client(&self, n: usize) -> Asked {
        let mut asked = Asked { session: self.session(n), turns: Vec::new(), events: Vec::new() };
        let path = format!("/v1/sessions/{}/messages", asked.session);
        let mine = self.turns / (PRIVATE + SHARED) + usize::from(n < self.turns % (PRIVATE + SHARED));
        for turn in 0..mine {
            let key = format!("{}-{n}-{turn}", self.seed);
            let form = json!({ "text": format!("count {turn}") });
            let accepted = self.insist("POST", &path, Some(&key), Some(&form))["turn"].as_str().expect("a turn").to_owned();
            if turn % 7 == 0 {
                let again = self.insist("POST", &path, Some(&key), Some(&form));
                assert_eq!(again["turn"], accepted, "seed {}: one key, one turn", self.seed);
            }
            assert!(!asked.turns.contains(&accepted), "seed {}: another key, another turn", self.seed);
            asked.turns.push(accepted);
            while asked.turns.len() - asked.results() >= WAITING {
                self.read(&mut asked);
            }
        }
        while asked.results() < asked.turns.len() {
            self.read(&mut asked);
        }
        self.working.fetch_sub(1, Ordering::SeqCst);
        asked
    }

    /// Reads on in a session's log, which never changes what it said.
    fn read(&self, asked: &mut Asked) {
        let path = format!("/v1/sessions/{}/events?after={}&limit=500", asked.session, asked.events.len());
        let page = self.insist("GET", &path, None, None);
        let page = page["events"].as_array().cloned().unwrap_or_default();
        for event in &page {
            asked.events.push(event.clone());
            assert_eq!(event["seq"], asked.events.len(), "seed {}: numbers without a gap: {event}", self.seed);
        }
        if page.is_empty() {
            std::thread::sleep(AGAIN);
        }
    }

    /// Makes, forks, copies and deletes what nobody else works with; whatever a kill leaves of it is swept.
    fn meddle(&self, mut chance: Chance, sessions: &Mutex<Vec<String>>) {
        let mut round = 0;
        while self.working.load(Ordering::SeqCst) > 0 {
            round += 1;
            let known = sessions.lock().map(|s| s.clone()).unwrap_or_default();
            let some = known.get(usize::try_from(chance.below(known.len().max(1) as u64)).unwrap_or(0)).cloned().unwrap_or_default();
            let (method, path, body) = match chance.below(6) {
                0 | 1 => ("POST", format!("/v1/sessions/{some}/fork"), Some(json!({ "text": "count as well" }))),
                2 => ("POST", "/v1/envs".to_owned(), Some(json!({ "name": format!("extra {round}") }))),
                3 => ("POST", format!("/v1/envs/{ENV}/clone"), Some(json!({ "name": format!("copy {round}") }))),
                4 => ("DELETE", format!("/v1/envs/extra-{}", round - 1), None),
                _ => ("DELETE", format!("/v1/envs/copy-{}?force=true", round - 1), None),
            };
            if let Ok(reply) = self.call(method, &path, None, body.as_ref()) {
                assert_ne!(reply.code(), "INTERNAL", "seed {}: {method} {path}: {}", self.seed, String::from_utf8_lossy(&reply.body));
                self.undo_again(&reply, &mut chance);
            }
            std::thread::sleep(chance.wait(50, 400));
        }
    }

    /// A fork is taken back to its beginning now and then, and deleted.
    fn undo_again(&self, reply: &Reply, chance: &mut Chance) {
        let Some(fork) = reply.json()["items"][0]["id"].as_str().map(str::to_owned) else { return };
        std::thread::sleep(chance.wait(0, 300));
        // It may be at work, or the daemon gone: then it is not.
        let _ = self.call("POST", &format!("/v1/sessions/{fork}/undo"), None, Some(&json!({})));
        if chance.below(2) == 0 {
            let _ = self.call("DELETE", &format!("/v1/sessions/{fork}"), None, None);
        }
    }
}

impl Asked {
    fn results(&self) -> usize {
        self.events.iter().filter(|e| e["type"] == "result").count()
    }

    /// What happened in a turn, without the lines of its sandbox.
    fn story(&self, turn: &str) -> Vec<Value> {
        let mut all: Vec<Value> = self.events.iter().filter(|e| e["turn"] == turn).cloned().collect();
        all.iter_mut().for_each(|event| event["level"] = Value::Null);
        all
    }

    fn unread(&self, turn: &str, about: &str) -> ! {
        panic!("{about}: no number at the end of {turn} in {}: {:#?}", self.session, self.story(turn))
    }

    /// What the log of a session must say, whatever was killed; how many turns failed.
    fn check(&self, about: &str) -> usize {
        let of = |turn: &str, kind: &str| self.events.iter().filter(|e| e["turn"] == turn && e["type"] == kind).count();
        let ends: Vec<&Value> = self.events.iter().filter(|e| e["type"] == "result").collect();
        let order: Vec<&str> = ends.iter().filter_map(|e| e["turn"].as_str()).collect();
        assert_eq!(order, self.turns, "{about}: {} answers in the order of its inbox, each turn once", self.session);
        let (mut runs, mut failed, mut unheard) = (0, 0, 0);
        for (place, end) in ends.iter().enumerate() {
            let turn = end["turn"].as_str().unwrap_or_default();
            if end["status"] != "completed" {
                // A turn whose every request of the model met a kill says so, and took no guest with it.
                let story = self.story(turn);
                let said = format!("{story:?}");
                if end["code"] != "SANDBOX_FAILED" && AWAY.iter().any(|why| said.contains(why)) {
                    unheard += 1;
                    continue;
                }
                failed += 1;
                assert_eq!(end["code"], "SANDBOX_FAILED", "{about}: turn {} of {}: {story:#?}", place + 1, self.session);
                continue;
            }
            assert_eq!(of(turn, "start"), 1, "{about}: {turn} in {}", self.session);
            // The model may answer from what the tool said to a turn that was lost after it.
            let least = usize::from(place == 0 || ends[place - 1]["status"] == "completed");
            for kind in ["tool_call", "tool_result"] {
                assert!((least..=1).contains(&of(turn, kind)), "{about}: {} {kind} of {turn} in {}", of(turn, kind), self.session);
            }
            let said = end["text"].as_str().unwrap_or_default();
            // Or from what it was told of a tool that was killed together with that turn: that nobody knows.
            if least == 0 && said.ends_with(UNKNOWN) {
                continue;
            }
            let now: usize = said.rsplit(' ').next().and_then(|n| n.trim().parse().ok()).unwrap_or_else(|| self.unread(turn, about));
            assert!(now > runs && now <= place + 1, "{about}: run {now} after {runs} at the end of turn {} of {}", place + 1, self.session);
            assert!(now - runs <= 1 + failed + unheard, "{about}: no tool runs twice");
            runs = now;
        }
        failed
    }
}

/// A daemon that may die at a point, also before it is ready.
fn daemon(lab: &Lab, point: Option<&str>) -> (Child, bool) {
    let mut command = lab.command(&["up", "--listen", "127.0.0.1:0"]);
    if let Some(point) = point {
        command.env("LAZARET_CRASH_AT", point);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("up");
    let is_ready = first_line(&mut child).contains("ready");
    (child, is_ready)
}

/// Kills the first process of one of the sandboxes.
fn kill_a_guest(lab: &Lab, chance: &mut Chance) -> bool {
    let traces = world::traces(lab);
    let pids: Vec<i32> =
        traces.values().flatten().filter_map(|trace| trace.strip_prefix("process /proc/")).filter_map(|pid| pid.parse().ok()).collect();
    let Some(chosen) = pids.get(usize::try_from(chance.below(pids.len().max(1) as u64)).unwrap_or(0)) else { return false };
    Pid::from_raw(*chosen).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// Kills until nobody works any more; how often.
fn kill(lab: &Lab, load: &Load, chance: &mut Chance) -> usize {
    let (mut kills, began) = (0, Instant::now());
    while load.working.load(Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < STUCK, "seed {}: {} clients are stuck", load.seed, load.working.load(Ordering::SeqCst));
        let point = (chance.below(2) == 0).then(|| {
            let all = points::under_load();
            let name = all[usize::try_from(chance.below(all.len() as u64)).unwrap_or(0)];
            format!("{name}@{}", 1 + chance.below(25))
        });
        let before = world::traces(lab);
        let started = Instant::now();
        let (mut child, is_ready) = daemon(lab, point.as_deref());
        // Where starting takes long, so does everything else: daemons that live shorter than that get nothing done.
        let least = started.elapsed() * 2;
        let about = format!("seed {}, kill {kills}, point {point:?}", load.seed);
        assert!(is_ready || point.is_some(), "{about}: the daemon does not come up");
        if is_ready && point.is_none() && chance.below(4) == 0 {
            world::settles(lab, &before, &about);
        }
        let life = Instant::now() + least + chance.wait(100, u64::try_from(LIFE.as_millis()).unwrap_or(1));
        while Instant::now() < life && load.working.load(Ordering::SeqCst) > 0 && child.try_wait().expect("wait").is_none() {
            std::thread::sleep(AGAIN);
            if chance.below(200) == 0 && kill_a_guest(lab, chance) {
                load.guests_killed.fetch_add(1, Ordering::SeqCst);
            }
        }
        if chance.below(5) == 0 && kill_a_guest(lab, chance) {
            load.guests_killed.fetch_add(1, Ordering::SeqCst);
        }
        let _ = child.kill();
        child.wait().expect("wait");
        kills += 1;
    }
    kills
}

#[expect(clippy::disallowed_methods, reason = "a test's own setting, not the program's")]
fn turns() -> usize {
    std::env::var("LAZARET_CRASH_TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(TURNS)
}

#[test]
fn nothing_is_lost_or_doubled_under_load() {
    let mut chance = Chance::new(7);
    let (lab, _server) = scene::lab(TOOL);
    let load = Load {
        socket: lab.home().join("run").join(api::OWNER_SOCKET),
        seed: chance.seed,
        turns: turns(),
        working: AtomicUsize::new(PRIVATE + SHARED),
        guests_killed: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let about = format!("seed {}", load.seed);
    lab.run(&["sandbox", "list"]).succeeds();
    load.insist("POST", "/v1/envs", None, Some(&json!({ "name": ENV })));
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let sessions = Mutex::new(Vec::new());
    let began = Instant::now();
    let (asked, kills) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..PRIVATE + SHARED)
            .map(|n| {
                let (load, sessions) = (&load, &sessions);
                scope.spawn(move || {
                    let _over = Over(load);
                    let asked = load.client(n);
                    if let Ok(mut sessions) = sessions.lock() {
                        sessions.push(asked.session.clone());
                    }
                    asked
                })
            })
            .collect();
        let meddler = Chance::new(8);
        scope.spawn(|| load.meddle(meddler, &sessions));
        let kills = kill(&lab, &load, &mut chance);
        let asked: Vec<Asked> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        (asked, kills)
    });
    let guests = load.guests_killed.load(Ordering::SeqCst);
    let failed: usize = asked.iter().map(|asked| asked.check(&about)).sum();
    eprintln!("{} turns, {kills} kills of the daemon, {guests} of guests, {failed} turns failed, {:?}", load.turns, began.elapsed());
    assert!(failed <= guests, "{about}: {failed} turns failed, and {guests} guests were killed");
    // The last daemon ends what is open, sweeps, and forgets nothing.
    lab.run(&["sandbox", "list"]).succeeds();
    go_back(&load, &asked, &about);
    // Whoever starts next sweeps what that left.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["sandbox", "list"]).succeeds();
    // It also ends the turns of forks that the one before did not cancel in time.
    world::idle(&lab, &about);
    world::ends(&lab, &about);
    compare(&lab, &asked, &about);
    trees(&lab, &about);
}

/// Ends the load when a client cannot go on, so that nobody waits for the others.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.over.store(true, Ordering::SeqCst);
            self.0.working.store(0, Ordering::SeqCst);
        }
    }
}

/// A private session goes back two turns, and its files with it.
fn go_back(load: &Load, asked: &[Asked], about: &str) {
    for asked in asked.iter().take(PRIVATE).filter(|asked| asked.turns.len() > 3) {
        let path = format!("/v1/sessions/{}", asked.session);
        let last = asked.turns.len();
        let runs = |turn: usize| {
            let end = asked.events.iter().find(|e| e["type"] == "result" && e["turn"] == asked.turns[turn - 1]).expect("a result");
            end["text"].as_str().and_then(|text| text.rsplit(' ').next()?.trim().parse::<usize>().ok())
        };
        // One that failed may have run its tool or not.
        let Some(before) = runs(last - 2) else { continue };
        load.insist("POST", &format!("{path}/undo"), None, Some(&json!({ "to": last - 2 })));
        let turn = load.insist("POST", &format!("{path}/messages"), None, Some(&json!({ "text": "count again" })));
        let mut further = Asked { session: asked.session.clone(), turns: Vec::new(), events: asked.events.clone() };
        while !further.events.iter().any(|e| e["type"] == "result" && e["turn"] == turn["turn"]) {
            load.read(&mut further);
        }
        let end = further.events.last().cloned().unwrap_or_default();
        let now = end["text"].as_str().and_then(|text| text.rsplit(' ').next()?.trim().parse::<usize>().ok());
        assert_eq!(now, Some(before + 1), "{about}: the files of turn {} of {} are back: {end}", last - 2, asked.session);
    }
}

/// Holds the store against what was seen while things were killed.
fn compare(lab: &Lab, asked: &[Asked], about: &str) {
    let kept = log::read(lab, about);
    for asked in asked {
        let session = kept.iter().find(|kept| kept.id.as_str() == asked.session).unwrap_or_else(|| panic!("{about}: a session is lost"));
        let turns: Vec<&str> = session.turns.iter().map(|turn| turn.id.as_str()).take(asked.turns.len()).collect();
        assert_eq!(turns, asked.turns, "{about}: accepted turns and no others, in their order");
        for (event, seen) in session.events.iter().zip(&asked.events) {
            assert_eq!(&serde_json::to_value(event).expect("json"), seen, "{about}: an event says what it said");
        }
    }
}

/// Every tree that a row names is there, and none that no row names.
pub(crate) fn trees(lab: &Lab, about: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (named, used) = runtime.block_on(async {
        let store = log::open(lab);
        let named = store.tree_refs().await.expect("trees");
        let mut used = HashSet::new();
        for session in store.list_sessions(&SessionFilter::default(), None, 1000).await.expect("sessions").items {
            let checkpoints = store.checkpoints(&session.id).await.expect("checkpoints");
            let turns = store.turns(&session.id, 0, 1000).await.expect("turns");
            let kept: BTreeSet<u64> = checkpoints.iter().map(|c| c.turn).collect();
            let first = kept.iter().copied().find(|n| *n > 0).unwrap_or(0);
            for turn in turns.iter().filter(|turn| turn.n >= first && first > 0) {
                assert!(kept.contains(&turn.n), "{about}: turn {} of {} ended and has no checkpoint: {kept:?}", turn.n, session.id);
            }
            // A beginning with nothing in it has no tree.
            used.extend(checkpoints.into_iter().filter(|c| c.turn > 0).map(|c| c.tree));
        }
        store.close().await.expect("the store closes");
        (named, used)
    });
    let there = on_disk(&lab.home());
    let named: BTreeSet<String> = named.iter().map(|tree| tree.as_str().to_owned()).collect();
    let lost: Vec<_> = used.iter().map(|tree| tree.as_str()).filter(|tree| !there.contains(*tree)).collect();
    let orphans: Vec<_> = there.difference(&named).collect();
    assert!(lost.is_empty() && orphans.is_empty(), "{about}: lost {lost:?}, named by nobody {orphans:?}");
}

/// The trees on a home's disk image, looked at in a mount namespace that goes with the command.
fn on_disk(home: &Path) -> BTreeSet<String> {
    let script = "dir=$(mktemp -d) && mount -o loop,ro \"$1\" \"$dir\" && ls \"$dir/trees\"; status=$?; umount \"$dir\"; rmdir \"$dir\"; exit $status";
    let output = Command::new("unshare").args(["--mount", "sh", "-c", script, "sh"]).arg(home.join("disk.img")).output().expect("look");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
