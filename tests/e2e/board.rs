//! The board of branch agents, on a real terminal: tmux is one that can be asked what it shows.

use std::io::{BufRead, Read};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::model_server::{Rule, Say, Script};

use crate::branches::{Project, status, told};
use crate::marks;
use crate::support::{KEY, Lab, PATIENCE};
use crate::web::{Web, begun};

/// A terminal of its own, with the board in it. Its server ends with this value.
struct Term<'a> {
    lab: &'a Lab,
}

impl<'a> Term<'a> {
    /// Opens a terminal of this size and runs the board in it; what is shown before and after is told from it by words.
    fn open(lab: &'a Lab, size: (u16, u16), args: &[&str]) -> Self {
        let term = Self { lab };
        let line = [&[env!("CARGO_BIN_EXE_lazaret"), "board"], args].concat().join(" ");
        // What stands on the screen before must stand there afterwards, and the terminal must echo again.
        let script = format!(
            "echo it was so before; {line}; s=$?; echo left with $s; if stty -a | grep -q ' icanon'; then echo lines again; fi; exec cat"
        );
        let (width, height) = (size.0.to_string(), size.1.to_string());
        term.tmux(&["new-session", "-d", "-s", "b", "-x", &width, "-y", &height, &script]);
        term
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        let plain = self.lab.command(&[]);
        tmux.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        tmux.env("TMUX_TMPDIR", self.lab.path(".")).env("LANG", "C.UTF-8").current_dir(self.lab.path("."));
        tmux.args(["-L", "board", "-f", "/dev/null"]).args(args);
        tmux
    }

    #[track_caller]
    fn tmux(&self, args: &[&str]) -> String {
        let out = self.command(args).output().expect("tmux is installed by `cargo xtask test`: apt-get install tmux");
        assert!(out.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "b"])
    }

    /// Waits until the terminal shows something of which this holds, and gives all that it shows then.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let shown = self.shown();
            if holds(&shown) {
                return shown;
            }
            assert!(began.elapsed() < PATIENCE, "{what} is not shown:\n{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn expect(&self, text: &str) -> String {
        self.until(text, |shown| shown.contains(text))
    }

    /// Waits until the row of a branch shows this.
    #[track_caller]
    fn row(&self, branch: &str, text: &str) -> usize {
        let find = |shown: &str| shown.lines().position(|line| line.get(2..).is_some_and(|l| l.starts_with(branch)) && line.contains(text));
        let shown = self.until(&format!("{branch} with {text}"), |shown| find(shown).is_some());
        find(&shown).expect("it was there")
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "b"], keys].concat());
    }

    /// A click, as terminals report it.
    fn click(&self, column: usize, row: usize) {
        for end in ["M", "m"] {
            self.tmux(&["send-keys", "-t", "b", "-l", &format!("\x1b[<0;{};{}{end}", column + 1, row + 1)]);
        }
    }
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}

/// Begins an agent and does not wait for it.
#[track_caller]
fn begin(lab: &Lab, project: &Project, branch: &str, task: &str) {
    lab.run(&["spawn", "--repo", project.repo(), "--branch", branch, "--type", "other", "--task", task]).succeeds();
}

fn kill(pid: &str, signal: Signal) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).unwrap_or_else(|| panic!("{pid} is one process"));
    kill_process(pid, signal).expect("kill");
}

#[test]
fn agents_are_watched_answered_stopped_and_merged_on_the_board() {
    let lab = Lab::new();
    marks::install(&lab);
    let rule = |contains: &str, command: String| Rule {
        contains: contains.to_owned(),
        say: vec![Say::Shell(command), Say::Text("it is over".to_owned())],
    };
    let rules = vec![
        rule("mark one", marks::command("one")),
        rule("be slow", "sleep 600".to_owned()),
        rule("be lined", "echo lined > lined.txt; git add -A; git commit -q -m lined".to_owned()),
        rule("be quick", "echo quick > quick.txt; git add -A; git commit -q -m quick".to_owned()),
    ];
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    let project = Project::new(&lab, "project");
    let term = Term::open(&lab, (80, 24), &["--repo", project.repo()]);
    term.expect("no agent is here");
    // They appear, and how each stands changes, without anything being pressed.
    begin(&lab, &project, "slow", "be slow");
    begin(&lab, &project, "asks", "mark one");
    begin(&lab, &project, "quick", "be quick");
    let check = ["--check", "test -f lined.txt -a -f quick.txt", "--type", "other", "--task", "be lined"];
    lab.run(&[&["spawn", "--repo", project.repo(), "--branch", "lined"], &check[..]].concat()).succeeds();
    term.row("slow", "working");
    term.row("asks", "waiting");
    term.row("quick", "done");
    // Whoever comes stands above all others: a row is clicked where it is when all of them are there.
    term.row("lined", "lined");
    // The mouse chooses; stopping wants a second key.
    let row = term.row("slow", "working");
    term.click(5, row);
    term.until("> slow", |shown| shown.lines().any(|line| line.starts_with("> slow")));
    // What is pasted presses no keys.
    term.tmux(&["set-buffer", "-b", "pasted", "sy\nq"]);
    term.tmux(&["paste-buffer", "-p", "-b", "pasted", "-t", "b"]);
    term.keys(&["s"]);
    term.expect("stop slow?");
    term.keys(&["Escape"]);
    term.expect("nothing was done");
    assert_eq!(status(&lab, &project, "slow")["state"], json!("working"));
    term.keys(&["s"]);
    term.expect("stop slow?");
    term.keys(&["y"]);
    term.row("slow", "stopped");
    // A call is shown whole, and made after the second key.
    let row = term.row("asks", "waiting");
    term.click(5, row);
    term.expect("mark_set wants a yes");
    term.keys(&["a"]);
    // A picture may be looked at while it is drawn.
    term.until("the call", |shown| ["text = \"one\"", "approve mark_set?", "y yes"].iter().all(|part| shown.contains(part)));
    assert!(marks::made(&lab).is_empty());
    term.keys(&["y"]);
    term.row("asks", "done");
    assert_eq!(marks::made(&lab), ["one"]);
    // A merge is looked at first.
    let row = term.row("quick", "done");
    term.click(5, row);
    term.until("> quick", |shown| shown.lines().any(|line| line.starts_with("> quick")));
    term.keys(&["2"]);
    term.expect("+quick");
    term.keys(&["m"]);
    let tip = project.git(&["rev-parse", "quick"]);
    term.until("the merge", |shown| shown.contains("quick merges into main") && shown.contains(&tip));
    assert_ne!(project.git(&["rev-parse", "main"]), tip, "looking changes nothing");
    term.keys(&["y"]);
    term.row("quick", "merged");
    term.expect("quick is merged into main");
    term.keys(&["1"]);
    assert_eq!(project.git(&["rev-parse", "main"]), tip);
    // Another one goes through a queue, which is there for everybody to see, and takes the commit that was seen.
    let row = term.row("lined", "done");
    term.click(5, row);
    term.until("> lined", |shown| shown.lines().any(|line| line.starts_with("> lined")));
    term.keys(&["Q"]);
    term.expect("lined merges into main");
    term.keys(&["y"]);
    term.row("lined", "merged");
    let queues = lab.run(&["agents", "queue", "--repo", project.repo(), "--json"]).succeeds().events();
    assert_eq!((queues.len(), &queues[0]["places"][0]["expect"]), (1, &json!(project.git(&["rev-parse", "lined"]))), "{queues:?}");
    assert_eq!(project.git(&["log", "--format=%s", "-2", "main"]), "lined\nquick");
    term.expect("lined is merged into main");
    let row = term.row("quick", "merged");
    term.click(5, row);
    term.keys(&["1"]);
    // Smaller, larger, and out of the way.
    let whole = "? help  q leave  a answer  s stop  r resume  m merge  / filter  o order  z larger";
    for (width, height, footer) in [("40", "15", "? help  q leave"), ("130", "40", whole)] {
        term.tmux(&["resize-window", "-t", "b", "-x", width, "-y", height]);
        let last: usize = height.parse().expect("a number");
        // The terminal itself shows the old picture, cut, until the board has drawn anew.
        term.until("the whole board", |shown| {
            let is_new = shown.lines().nth(last - 1).is_some_and(|line| line.trim_end() == footer);
            is_new && shown.contains("> quick") && shown.contains("3 about")
        });
    }
    term.keys(&["q"]);
    let shown = term.expect("lines again");
    assert!(shown.contains("it was so before") && shown.contains("left with 0") && !shown.contains("3 about"), "{shown}");
}

#[test]
fn what_an_agent_says_does_not_steer_the_terminal_of_the_board() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let bytes = "\\033]2;owned\\007\\033[2J\\033[?1049l\\302\\23331m\\342\\200\\256evil\\342\\200\\213\\r\\033[8m";
    let task = told(&format!("printf '{bytes}' | tee said; git add -A; git commit -q -m evil"));
    let args = ["spawn", "--repo", project.repo(), "--branch", "evil", "--type", "other", "--wait", "--task"];
    lab.run(&[&args[..], &[&task]].concat()).succeeds();
    let term = Term::open(&lab, (80, 24), &["--repo", project.repo()]);
    let title = |of: &str| term.tmux(&["display-message", "-p", "-t", of, "#{pane_title}"]);
    let before = title("b");
    term.row("evil", "done");
    term.until("the log", |shown| shown.contains("\\u{1b}]2;owned") && shown.contains("\\u{202e}evil\\u{200b}"));
    term.keys(&["2"]);
    term.until("the diff", |shown| ["+\\u{1b}]2;owned", "look at it twice:", "bidi"].iter().all(|part| shown.contains(part)));
    term.keys(&["3"]);
    term.expect("repository");
    assert_eq!(title("b"), before, "the title of the terminal is its own");
    assert_eq!(term.tmux(&["display-message", "-p", "-t", "b", "#{alternate_on}"]).trim(), "1", "the board is there");
    // The control: on a terminal as they are, the same bytes do what they say.
    let script = format!("printf '{bytes}'; exec cat");
    term.tmux(&["new-session", "-d", "-s", "plain", "-x", "80", "-y", "24", &script]);
    let began = Instant::now();
    while title("plain").trim() != "owned" {
        assert!(began.elapsed() < PATIENCE, "the bytes are not hostile: {}", title("plain"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_board_outlives_the_daemon_and_gives_the_terminal_back_when_it_is_ended() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    begin(&lab, &project, "first", "Add a rehearsal");
    let term = Term::open(&lab, (80, 24), &["--repo", project.repo(), "--no-color"]);
    term.row("first", "done");
    lab.kill_daemon();
    term.expect("no daemon");
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    term.expect("the daemon answers again");
    begin(&lab, &project, "second", "Add another rehearsal");
    term.row("second", "done");
    let coloured = term.tmux(&["capture-pane", "-p", "-e", "-t", "b"]);
    let has_colour = |code: &str| coloured.contains(&format!("\x1b[{code}"));
    assert!(!(30..38).any(|code| has_colour(&format!("{code}m")) || has_colour(&format!("38;5;{}", code - 30))), "{coloured}");
    // Ended from outside.
    let board = term.tmux(&["list-panes", "-t", "b", "-F", "#{pane_pid}"]);
    let shell = board.trim();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("the shell is there");
    kill(children.trim(), Signal::TERM);
    let shown = term.expect("lines again");
    assert!(shown.contains("left with 130") && shown.contains("it was so before"), "{shown}");
    // Without a terminal there is none.
    lab.run(&["board", "--repo", project.repo()]).fails("USAGE", 2);
}

#[test]
fn changes_are_told_to_whom_they_concern_and_no_longer_than_that() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let project = Project::new(&lab, "project");
    let (crew, id) = web.token("read", Some("crew"));
    let open =
        |token: &str, of: &str| begun(web.begin(token, "GET", &format!("/v1/branches/changes{of}"), "accept: text/event-stream\r\n", b""));
    let (mut theirs, mut ours, mut elsewhere) = (open(&crew, ""), open(&web.owner, ""), open(&web.owner, "?repo=/nowhere"));
    let mut told = |wanted: &dyn Fn(&Value) -> bool| {
        loop {
            let mut line = String::new();
            assert!(ours.read_line(&mut line).expect("a line") > 0, "the stream ended");
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let change: Value = serde_json::from_str(data).expect("JSON");
            if wanted(&change) {
                return change;
            }
        }
    };
    told(&|change| change["type"] == "ready");
    begin(&lab, &project, "work", "Add a rehearsal");
    let begun = told(&|change| change["type"] == "agent" && change["agent"]["branch"] == "work");
    let done = told(&|change| change["agent"]["state"] == "done" && change["agent"]["is_home"] == true);
    assert_eq!((&done["agent"]["id"], &done["agent"]["commits"]), (&begun["agent"]["id"], &json!(1)));
    lab.run(&["agents", "merge", "work", "--repo", project.repo(), "--yes"]).succeeds();
    told(&|change| change["agent"]["merged_into"] == "main");
    lab.run(&["agents", "clean", "work", "--repo", project.repo()]).succeeds();
    let gone = told(&|change| change["type"] == "gone");
    assert_eq!(gone["id"], begun["agent"]["id"]);
    // Another tenant's reader, and one of another repository, heard of nothing.
    lab.run(&["token", "revoke", &id]).succeeds();
    let mut heard = String::new();
    theirs.read_to_string(&mut heard).expect("an end");
    assert!(heard.contains("ready") && !heard.contains("work"), "{heard}");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    // However the daemon ends its streams, what came before is there.
    heard.clear();
    let _ = elsewhere.read_to_string(&mut heard);
    assert!(heard.contains("ready") && !heard.contains("work"), "{heard}");
}
