//! Many agents on one repository: how soon all are at work, what each takes on the disk, and how quickly one looks at them.

mod peers;
mod repo;

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Recorded, Rule, Say, Script};

use crate::daemon::{Connection, Daemon};
use crate::native::built;
use crate::peers::quiet;
use crate::sample::{self, Times, ms};
use repo::Shape;

/// What is measured; `--small` proves only that it can be.
struct Size {
    shape: Shape,
    /// Agents that are begun at once.
    agents: usize,
    /// Agents that are listed.
    listed: usize,
    /// How often one looks.
    looks: usize,
}

const WHOLE: Size =
    Size { shape: Shape { files: 20_000, file_bytes: 8 << 10, past: 840, commits: 200 }, agents: 20, listed: 100, looks: 100 };
const SMALL: Size = Size { shape: Shape { files: 500, file_bytes: 1 << 10, past: 4, commits: 10 }, agents: 4, listed: 8, looks: 10 };

/// How long anything may take before it counts as not coming.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often is looked whether all are there.
const LOOK: Duration = Duration::from_millis(2);

pub(crate) fn run() -> Result<String> {
    let size = if std::env::args().any(|arg| arg == "--small") { &SMALL } else { &WHOLE };
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let (project, at) = (dir.path().join("project"), dir.path().join("peers"));
    repo::make(&project, size.shape)?;
    let large = disk(&project.join(".git"))?;
    let tree = disk(&project)?.saturating_sub(large);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.block_on(ModelServer::start(script()));
    let repos = format!("[\"{}\"]", dir.path().display());
    let url = server.url();
    let settings =
        [("providers.anthropic.base_url", url.as_str()), ("providers.anthropic.keyless", "true"), ("jobs.repos", repos.as_str())];
    let daemon = Daemon::start_with(dir.path(), &settings)?;
    let bench = Bench { daemon: &daemon, server: &server, project: &project, size };

    // The first agent pays for the mirror and the files of the commit.
    let first = bench.at_work("first", 1, "be quick")?;
    bench.over()?;
    let alone = bench.one_by_one()?;
    let before = disk(&daemon.home)?;
    let all = bench.at_work("work", size.agents, "be quick")?;
    bench.over()?;
    let each = disk(&daemon.home)?.saturating_sub(before) / u64::try_from(size.agents)?;
    bench.edit()?;
    let edited = disk(&daemon.home)?.saturating_sub(before) / u64::try_from(size.agents)?;
    let peers: Vec<(Duration, u64)> = peers::ALL.iter().map(|peer| peer.trees(&project, &at, size.agents)).collect::<Result<_>>()?;
    let preview = bench.preview()?;
    bench.fill()?;
    let (list, status, cli) = bench.looks()?;

    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
    let mut text = format!(
        "A repository of {} MiB in packs and {} MiB in {} files; {} agents at once.\n\n\
         | {} agents | seconds | MiB on the disk, each | lacks |\n|---|---|---|---|\n\
         | Lazaret: spawned at once, until the engine of each has asked its model | {} | {}; {} with a commit of each | |\n",
        large >> 20,
        tree >> 20,
        size.shape.files,
        size.agents,
        size.agents,
        seconds(all),
        mib(each),
        mib(edited),
    );
    for (peer, (time, bytes)) in peers::ALL.iter().zip(peers) {
        text.push_str(&format!("| {} | {} | {} | {} |\n", peer.name, seconds(time), mib(bytes), peer.lacks));
    }
    text.push_str(&format!(
        "\n| | median ms | p99 ms |\n|---|---|---|\n| the first agent on a commit: mirror, files, clone, sandbox | {} | |\n",
        ms(first)
    ));
    let mut row = |name: &str, times: &Times| text.push_str(&format!("| {name} | {} | {} |\n", ms(times.median()), ms(times.p99())));
    row("one more agent on it: clone, sandbox, until its engine has asked its model", &alone);
    row(&format!("list of {} agents", size.listed), &list);
    row("status of one of them", &status);
    row("`lazaret agents list` as a process", &cli);
    row(&format!("preview of {} branches: each, in order, and all pairs", size.agents), &preview);
    text.push_str(&format!("\n{}.\n", sample::machine()));
    Ok(text)
}

/// Agents commit a file of their own; every fourth changes the same one too.
fn script() -> Script {
    let commit = "b=$(git branch --show-current); echo $b > own-$b.txt; case ${b#work-} in *0|*1|*5) echo $b > shared.txt;; esac; git add -A; git commit -q -m $b";
    let rule = |contains: &str, say: Vec<Say>| Rule { contains: contains.to_owned(), say };
    let over = || Say::Text("it is over".to_owned());
    Script {
        rules: vec![rule("be at it", vec![Say::Shell(commit.to_owned()), over()]), rule("be quick", vec![over()])],
        ..Script::default()
    }
}

struct Bench<'a> {
    daemon: &'a Daemon,
    server: &'a ModelServer,
    project: &'a Path,
    size: &'a Size,
}

impl Bench<'_> {
    fn spawn(&self, asks: &mut Connection, branch: &str, task: &str) -> Result<()> {
        let form = json!({ "repo": self.project, "branch": branch, "task": task, "type": "other", "engine": "mini" });
        asks.ask("POST", "/v1/branches", &form).map(drop)
    }

    /// Begins agents at once, each by a request of its own: until each engine has asked its model.
    fn at_work(&self, name: &str, n: usize, task: &str) -> Result<Duration> {
        let before = self.server.requests().len();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..n)
                .map(|agent| {
                    scope.spawn(move || {
                        let mut asks = self.daemon.connect()?;
                        self.spawn(&mut asks, &format!("{name}-{agent}"), task)
                    })
                })
                .collect();
            spawned.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("a request panicked")))
        })?;
        loop {
            // The first request of each: an engine that works already has asked again meanwhile.
            let asked: Vec<Instant> = self.server.requests().into_iter().skip(before).filter(is_first).map(|r| r.when).collect();
            if asked.len() >= n {
                let last = asked.iter().max().copied().unwrap_or(began);
                return Ok(last.duration_since(began));
            }
            if began.elapsed() > PATIENCE {
                bail!("{} of {n} agents are at work after {} s", asked.len(), PATIENCE.as_secs());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Begins one after the other; how soon each is at work.
    fn one_by_one(&self) -> Result<Times> {
        let mut times = Vec::new();
        for n in 0..self.size.looks.div_ceil(10) {
            times.push(self.at_work(&format!("alone-{n}"), 1, "be quick")?);
            self.over()?;
        }
        Ok(Times::of(times))
    }

    fn agents(&self, asks: &mut Connection) -> Result<Vec<Value>> {
        let list = asks.ask("GET", "/v1/branches?limit=500", &Value::Null)?;
        Ok(list["items"].as_array().context("a list")?.clone())
    }

    /// Waits until all are over and have come home.
    fn over(&self) -> Result<()> {
        let mut asks = self.daemon.connect()?;
        let began = Instant::now();
        loop {
            let agents = self.agents(&mut asks)?;
            if let Some(bad) = agents.iter().find(|agent| agent["state"] == "failed" || agent["state"] == "stopped") {
                bail!("an agent is {}: {bad}", bad["state"]);
            }
            if agents.iter().all(|agent| agent["state"] == "done" && agent["is_home"] == true) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("the agents are not over after {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets those that are at work commit, and waits until that has come home.
    fn edit(&self) -> Result<()> {
        let mut asks = self.daemon.connect()?;
        for agent in self.agents(&mut asks)?.iter().filter(|agent| is_at_work(agent)) {
            let id = agent["id"].as_str().context("an agent")?;
            asks.ask("POST", &format!("/v1/branches/{id}/messages"), &json!({ "text": "be at it" }))?;
        }
        self.over()
    }

    /// What would conflict if all were merged.
    fn preview(&self) -> Result<Times> {
        let mut asks = self.daemon.connect()?;
        let agents = self.agents(&mut asks)?;
        let ids: Vec<&Value> = agents.iter().filter(|agent| is_at_work(agent)).map(|agent| &agent["id"]).collect();
        let form = json!({ "agents": ids });
        let mut times = Vec::new();
        for round in 0..=self.size.looks.div_ceil(10) {
            let began = Instant::now();
            let seen = asks.ask("POST", "/v1/branches/preview", &form)?;
            let took = began.elapsed();
            let conflicts = seen["pairs"].as_array().context("pairs")?.len();
            if conflicts == 0 {
                bail!("no branch conflicts with another: {seen}");
            }
            // The first round warms what git reads.
            if round > 0 {
                times.push(took);
            }
        }
        Ok(Times::of(times))
    }

    /// Begins as many more as are listed.
    fn fill(&self) -> Result<()> {
        let mut asks = self.daemon.connect()?;
        for n in self.agents(&mut asks)?.len()..self.size.listed {
            self.spawn(&mut asks, &format!("more-{n}"), "be quick")?;
        }
        self.over()
    }

    /// The list, the state of one, and the verb that lists.
    fn looks(&self) -> Result<(Times, Times, Times)> {
        let mut asks = self.daemon.connect()?;
        let agents = self.agents(&mut asks)?;
        let id = agents.first().and_then(|agent| agent["id"].as_str()).context("an agent")?.to_owned();
        let program = built("profile", "lazaret")?;
        let (mut list, mut status, mut cli) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.size.looks {
            let began = Instant::now();
            let page = asks.ask("GET", &format!("/v1/branches?limit={}", self.size.listed), &Value::Null)?;
            list.push(began.elapsed());
            if page["items"].as_array().map_or(0, Vec::len) < self.size.listed {
                bail!("not all agents are listed");
            }
            let began = Instant::now();
            asks.ask("GET", &format!("/v1/branches/{id}"), &Value::Null)?;
            status.push(began.elapsed());
            let began = Instant::now();
            let mut verb = Command::new(&program);
            quiet(verb.env("LAZARET_HOME", &self.daemon.home).args(["agents", "list", "--all"]))?;
            cli.push(began.elapsed());
        }
        Ok((Times::of(list), Times::of(status), Times::of(cli)))
    }
}

/// Whether an agent is one of those that are begun at once.
fn is_at_work(agent: &Value) -> bool {
    agent["branch"].as_str().is_some_and(|branch| branch.starts_with("work-"))
}

/// Whether a request is the first of its conversation.
fn is_first(request: &Recorded) -> bool {
    !String::from_utf8_lossy(&request.body).contains("tool_result")
}

/// Bytes on the disk below a directory; what several names lead to counts once.
fn disk(dir: &Path) -> Result<u64> {
    let (mut bytes, mut seen, mut open) = (0, HashSet::new(), vec![dir.to_owned()]);
    while let Some(at) = open.pop() {
        // What goes away while it is counted takes nothing.
        let Ok(entries) = std::fs::read_dir(&at) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = std::fs::symlink_metadata(entry.path()) else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            }
            if seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.blocks() * 512;
            }
        }
    }
    Ok(bytes)
}
