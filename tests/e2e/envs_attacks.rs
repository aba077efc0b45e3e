//! Envs, forks and their files under attack: by what a session writes into them, by a neighbour, and by another tenant.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Lab, PATIENCE};

/// A home with a daemon, whose sessions run what they are asked as a script.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab
}

/// A session of bash: its prompts are scripts.
#[track_caller]
fn shell(lab: &Lab, form: Value) -> String {
    let mut form = form;
    form["engine"] = json!("program:/bin/bash");
    form["program"] = json!("/bin/bash");
    form["model"] = json!("rehearsal");
    lab.session(form)
}

/// Runs a script in a turn that must end well, and gives what it printed.
#[track_caller]
fn printed(lab: &Lab, session: &str, script: &str) -> String {
    let result = lab.turn(session, script);
    assert_eq!(result["status"], "completed", "{script}: {result}");
    result["text"].as_str().expect("a text").to_owned()
}

#[track_caller]
fn env(lab: &Lab, name: &str) {
    lab.ask("POST", "/v1/envs", json!({ "name": name })).is(201);
}

/// Asks over TCP with a token.
fn over_tcp(address: &str, token: &str, method: &str, path: &str, body: &Value) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("write");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    (status, answer)
}

/// Another tenant's env and session do not exist, on every route that takes a name, as one that nobody has.
#[test]
fn what_belongs_to_another_tenant_is_not_there() {
    let lab = Lab::new();
    let ready = lab.run(&["start", "--listen", "127.0.0.1:0", "--json"]).succeeds().events();
    let address = ready[0]["address"].as_str().expect("an address").to_owned();
    let token = |tenant: &str| {
        let form = json!({ "name": tenant, "scope": "write", "tenant": tenant });
        lab.ask("POST", "/v1/tokens", form).is(201)["token"].as_str().expect("a token").to_owned()
    };
    let (own, other) = (token("own"), token("other"));
    let (status, made) = over_tcp(&address, &own, "POST", "/v1/envs", &json!({ "name": "den" }));
    assert_eq!(status, 201, "{made}");
    let form = json!({ "env": "den", "engine": "program:/bin/bash", "program": "/bin/bash", "model": "rehearsal" });
    let (status, made) = over_tcp(&address, &own, "POST", "/v1/sessions", &form);
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(made.rsplit("\r\n\r\n").next().expect("a body")).expect("JSON");
    let session = made["id"].as_str().expect("an identity").to_owned();

    let routes = |slug: &str, session: &str| -> Vec<(&'static str, String, Value)> {
        let (v1, seed, s) = (format!("/v1/envs/{slug}"), format!("/api/containers/{slug}"), format!("/v1/sessions/{session}"));
        vec![
            ("GET", v1.clone(), Value::Null),
            ("PATCH", v1.clone(), json!({ "core_memory": "taken" })),
            ("POST", format!("{v1}/clone"), json!({ "name": "copy" })),
            ("GET", format!("{v1}/files"), Value::Null),
            ("GET", format!("{v1}/files?path=x&download=1"), Value::Null),
            ("PUT", format!("{v1}/files?path=x"), Value::Null),
            ("POST", format!("{v1}/files/mkdir?path=x"), Value::Null),
            ("DELETE", format!("{v1}/files?path=x"), Value::Null),
            ("DELETE", format!("{v1}?force=true"), Value::Null),
            ("GET", seed.clone(), Value::Null),
            ("PATCH", seed.clone(), json!({ "core_memory": "taken" })),
            ("GET", format!("{seed}/files"), Value::Null),
            ("GET", format!("{seed}/files/download?path=x"), Value::Null),
            ("POST", format!("{seed}/files/mkdir?path=x"), Value::Null),
            ("DELETE", format!("{seed}/files?path=x"), Value::Null),
            ("DELETE", seed, Value::Null),
            ("GET", s.clone(), Value::Null),
            ("PATCH", s.clone(), json!({ "title": "taken" })),
            ("POST", format!("{s}/messages"), json!({ "text": "id" })),
            ("POST", format!("{s}/inject"), json!({ "text": "id" })),
            ("POST", format!("{s}/answer"), json!({ "text": "yes" })),
            ("POST", format!("{s}/cancel"), json!({})),
            ("POST", format!("{s}/undo"), json!({})),
            ("POST", format!("{s}/fork"), json!({})),
            ("GET", format!("{s}/turns"), Value::Null),
            ("GET", format!("{s}/events"), Value::Null),
            ("GET", format!("{s}/diff"), Value::Null),
            ("GET", format!("{s}/diff/1?path=x"), Value::Null),
            ("GET", format!("{s}/export"), Value::Null),
            ("GET", format!("{s}/files?path=/home/sandbox"), Value::Null),
            ("POST", format!("{s}/archive"), json!({})),
            ("DELETE", s, Value::Null),
        ]
    };
    let nobody = routes("no-such-env", "ses_00000000000000000000000000000000");
    for ((method, path, body), (_, absent, _)) in routes("den", &session).into_iter().zip(nobody) {
        let (status, answer) = over_tcp(&address, &other, method, &path, &body);
        assert_eq!(status, 404, "{method} {path}: {answer}");
        let (status, answer) = over_tcp(&address, &other, method, &absent, &body);
        assert_eq!(status, 404, "{method} {absent}: {answer}");
    }
    // Nor can a session be made there, nor a name of it be saved or listed.
    let joined = over_tcp(&address, &other, "POST", "/v1/sessions", &form);
    assert!(joined.0 == 404 || joined.0 == 422, "{joined:?}");
    let saved = over_tcp(&address, &other, "POST", "/v1/envs", &json!({ "name": "mine now", "session_id": session }));
    assert_eq!(saved.0, 404, "{saved:?}");
    for list in ["/v1/envs", "/v1/sessions", "/v1/sessions?env=den", "/api/containers"] {
        let (status, answer) = over_tcp(&address, &other, "GET", list, &Value::Null);
        assert!(status == 200 && !answer.contains("den\"") && !answer.contains(&session), "{list}: {answer}");
    }
    // The control: with its own token each of them is there, and none was changed.
    let (status, answer) = over_tcp(&address, &own, "GET", "/v1/envs/den", &Value::Null);
    assert!(status == 200 && !answer.contains("taken"), "{answer}");
    let (status, answer) = over_tcp(&address, &own, "GET", &format!("/v1/sessions/{session}/turns"), &Value::Null);
    assert!(status == 200 && answer.contains("\"items\":[]"), "{answer}");
}

/// What a new process sees that would tell it apart, or could be of use to an attacker.
const IDENTITY: &str = "for f in /etc/machine-id /var/lib/dbus/machine-id /etc/hostid /proc/sys/kernel/random/boot_id; do \
    echo \"$f $(cat $f 2>/dev/null)\"; done; echo \"host $(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)\"; \
    echo \"random $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' ')\"; echo \"uuid $(cat /proc/sys/kernel/random/uuid)\"; env | sort | sed 's/^/env /'";

fn lines<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)).collect()
}

/// Forks begin with the same files and nothing else in common: random state differs, no token or identity of the host is
/// in any of them, and what was deleted before the checkpoint is not in their files.
#[test]
fn forks_share_no_secret_and_no_random_state() {
    let lab = lab();
    let mother = shell(&lab, json!({}));
    let secret = format!("forgotten-{}-canary", std::process::id());
    printed(
        &lab,
        &mother,
        &format!(
            "echo {secret} > ~/key; dd if=/dev/urandom of=~/junk bs=1k count=64 2>/dev/null; echo kept > ~/kept; sync; rm ~/key; ls ~"
        ),
    );
    let forks = lab.ask("POST", &format!("/v1/sessions/{mother}/fork"), json!({ "n": 3 })).is(201);
    let forks: Vec<String> = forks["items"].as_array().expect("forks").iter().map(|f| f["id"].as_str().expect("id").to_owned()).collect();
    let mut all = vec![mother.clone()];
    all.extend(forks.iter().cloned());
    let seen: Vec<String> = all.iter().map(|session| printed(&lab, session, IDENTITY)).collect();
    for key in ["random ", "uuid "] {
        let different: HashSet<&str> = seen.iter().flat_map(|s| lines(s, key)).filter(|value| value.len() >= 32).collect();
        assert_eq!(different.len(), all.len(), "{key}differs: {seen:#?}");
    }
    let host = |path: &str| std::fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
    for of_host in [host("/etc/machine-id"), host("/proc/sys/kernel/hostname"), host("/var/lib/dbus/machine-id")] {
        if of_host.len() >= 4 {
            assert!(
                !seen.iter().any(|s| lines(s, "env ")
                    .iter()
                    .chain(&lines(s, "/etc/machine-id "))
                    .chain(&lines(s, "host "))
                    .any(|l| l.contains(&of_host))),
                "{of_host}: {seen:#?}"
            );
        }
    }
    // A machine's identity that is there at all is each sandbox's own.
    let ids: Vec<&str> = seen.iter().flat_map(|s| lines(s, "/etc/machine-id ")).filter(|id| !id.is_empty()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    let token = std::fs::read_to_string(lab.home().join("token")).expect("a token");
    assert!(!seen.iter().any(|s| s.contains(token.trim()) || s.contains("lzt_")), "{seen:#?}");
    // The search finds what is there, and the deleted secret is not. In two halves: the script is itself in /proc.
    let (first, second) = secret.split_at(9);
    let find = |word: &str| format!("grep -rl -- {word} /home /workspace /tmp /var 2>/dev/null; echo searched");
    for fork in &forks {
        assert!(printed(&lab, fork, &find("kept")).contains("/home/sandbox/kept"));
        assert_eq!(printed(&lab, fork, &find(&format!("{first}''{second}"))).trim(), "searched");
        assert_eq!(printed(&lab, fork, "cat ~/key 2>&1; cat ~/kept").lines().last(), Some("kept"));
    }
    // An archive of a fork does not hold it either.
    let archive = lab.ask("GET", &format!("/v1/sessions/{}/export", forks[0]), Value::Null);
    assert_eq!(archive.status, 200);
    let holds = |text: &str| archive.body.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("kept") && archive.body.len() > 1024);
}

/// One session's part: commits to a repository and rows to a database that its neighbour writes too.
fn work_of(who: &str) -> String {
    WORK.replace("WHO", who)
}

const WORK: &str = "set -u
cd ~/repo || exit 9
for n in $(seq 25); do
    echo WHO $n > WHO-$n
    until git add WHO-$n 2>/dev/null && git commit -qm \"WHO $n\" -- WHO-$n 2>/dev/null; do sleep 0.0$((RANDOM % 5 + 1)); done
    # Neither goes on into its second half while the other one is in its first.
    if [ $n = 12 ]; then touch ~/half-WHO; until [ -e ~/half-left ] && [ -e ~/half-right ]; do sleep 0.05; done; fi
done
python3 - <<'END' && echo finished
import sqlite3
db = sqlite3.connect('/home/sandbox/data.db', timeout=600, isolation_level=None)
for n in range(100):
    db.execute('begin immediate')
    (total,) = db.execute('select total from account').fetchone()
    db.execute('update account set total = ?', (total + 1,))
    db.execute('insert into log values (?, ?)', ('WHO', n))
    db.execute('commit')
END";

/// Two sessions write one env at once with git and SQLite, which lock by files: nothing is lost and nothing is broken.
#[test]
fn two_sessions_write_one_env_and_lose_nothing() {
    let lab = lab();
    env(&lab, "bench");
    let sessions = [shell(&lab, json!({ "env": "bench" })), shell(&lab, json!({ "env": "bench" }))];
    let made = printed(
        &lab,
        &sessions[0],
        "mkdir ~/repo && cd ~/repo && git init -q . && git config user.name a && git config user.email a@example.org && git config gc.auto 0 \
         && git commit -q --allow-empty -m begin && python3 -c \"import sqlite3; db = sqlite3.connect('/home/sandbox/data.db'); \
         db.execute('create table account (total int)'); db.execute('insert into account values (0)'); \
         db.execute('create table log (who text, n int)'); db.commit()\" && echo made",
    );
    assert_eq!(made.trim(), "made");
    let turns: Vec<String> = sessions.iter().zip(["left", "right"]).map(|(s, who)| lab.send(s, &work_of(who))).collect();
    for (session, turn) in sessions.iter().zip(&turns) {
        let result = lab.result_of(session, turn);
        assert!(result["status"] == "completed" && result["text"].as_str().is_some_and(|t| t.contains("finished")), "{result}");
    }
    let checked = printed(
        &lab,
        &sessions[1],
        "cd ~/repo && git fsck --strict 2>&1 | grep -v dangling; git rev-list --count HEAD; git ls-files | wc -l; python3 -c \"import sqlite3; \
         db = sqlite3.connect('/home/sandbox/data.db'); print(db.execute('pragma integrity_check').fetchone()[0], \
         db.execute('select total from account').fetchone()[0], db.execute('select count(*) from log').fetchone()[0])\"",
    );
    assert_eq!(checked.lines().map(str::trim).collect::<Vec<_>>(), ["51", "50", "ok 200 200"], "{checked}");
    // They really worked beside each other: neither one's commits are all before the other's, as each waited for the other half-way.
    let order = printed(&lab, &sessions[0], "cd ~/repo && git log --reverse --format=%s | grep -v begin | cut -d' ' -f1 | uniq | wc -l");
    assert!(order.trim().parse::<u32>().expect("a number") > 2, "they took turns: {order}");
}

/// A tree that is as bad as a session can make it.
const MONSTER: &str = "python3 - <<'END'
import os, sys
home = os.environ.get('HOME', '/home/sandbox')
os.makedirs(home + '/many'); os.chdir(home + '/many')
made = 0
try:
    for n in range(100000):
        os.close(os.open('f%d' % n, os.O_CREAT | os.O_WRONLY)); made = n + 1
except OSError as error:
    print('stopped', error)
os.makedirs(home + '/odd'); os.chdir(home + '/odd')
names = [b'new\\nline', b'esc\\x1b[2J\\x1b]52;c;AAAA\\x07', '\\u202ertl\\u202c'.encode(), b'\\xff\\xfe', b'a' * 255, b'-rf', b'..\\\\x', b'tab\\t', '\\u200bzero'.encode()]
for name in names: open(name, 'w').write('odd')
with open('sparse', 'wb') as f:
    size = (1 << 63) - 4097
    while size:
        try: f.truncate(size); break
        except OSError: size >>= 1
os.chdir(home)
for n in range(1000): os.mkdir('deep'); os.chdir('deep')
print('made', made, 'sparse', size)
END";

/// Whether what is sent to a terminal or client could do something there.
fn is_clean(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    !text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
    })
}

/// 100,000 files, a chain of 1,000 directories, names for terminals and a file of exabytes: lists, diffs and exports stay
/// bounded and clean, and the daemon answers meanwhile.
#[test]
fn a_hostile_tree_costs_its_readers_no_more_than_their_limits() {
    let lab = lab();
    env(&lab, "swamp");
    let session = shell(&lab, json!({ "env": "swamp" }));
    let made = printed(&lab, &session, MONSTER);
    assert!(made.contains("made 100000"), "{made}");
    let timed = |path: &str| {
        // An answer that takes too long is none.
        let answer = lab.ask("GET", path, Value::Null);
        assert_eq!(lab.ask("GET", "/health", Value::Null).status, 200);
        answer
    };
    // Pages are bounded, and going through them shows every file once.
    let (mut names, mut after) = (HashSet::new(), String::new());
    loop {
        let page = timed(&format!("/v1/envs/swamp/files?path=many&limit=100000{after}")).is(200);
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 1000, "{} in a page", items.len());
        names.extend(items.iter().map(|i| i["name"].as_str().expect("a name").to_owned()));
        // A few pages tell; all hundred of them would only take time.
        match page["next"].as_str() {
            Some(next) if names.len() < 3000 => after = format!("&after={next}"),
            next => {
                assert!(next.is_some(), "the list ended early");
                break;
            }
        }
    }
    assert_eq!(names.len(), 3000, "each page shows others");
    let odd = timed("/v1/envs/swamp/files?path=odd");
    assert!(odd.status == 200 && !odd.body.contains(&0x1b) && !odd.body.contains(&7), "{odd:?}");
    let deep = "deep/".repeat(900);
    let far = timed(&format!("/v1/envs/swamp/files?path={}", deep.trim_end_matches('/')));
    assert!(far.status < 500, "{far:?}");
    // The command line shows the names on terminals.
    for path in ["odd", "many"] {
        let shown = lab.run(&["env", "files", "swamp", "ls", path]);
        assert!(is_clean(shown.out.as_bytes()) && is_clean(shown.err.as_bytes()), "{path} shows control characters");
    }
    // A file that nobody could store is not sent without end: refused, or cut.
    let began = Instant::now();
    let sparse = lab.command(&["env", "files", "swamp", "get", "odd/sparse", "--output", "/dev/null"]).spawn();
    let mut child = sparse.expect("run the binary");
    while child.try_wait().expect("wait").is_none() && began.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    // Differences and archives: an answer in time, of bounded size, whatever it says.
    let diff = timed(&format!("/v1/sessions/{session}/diff?turn=1"));
    assert!(diff.status < 500 && diff.body.len() < 64 << 20, "{} {}", diff.status, diff.body.len());
    assert!(!diff.body.contains(&0x1b));
    assert_eq!(printed(&lab, &session, "echo alive").trim(), "alive");
    lab.ask("DELETE", "/v1/envs/swamp/files?path=many", Value::Null).is(200);
    lab.ask("DELETE", "/v1/envs/swamp/files?path=deep", Value::Null).is(200);
    assert_eq!(printed(&lab, &session, "ls ~").trim(), "odd");
}

/// Swaps what stands at `x` between a directory, links to places outside, and nothing, as fast as it can, until `stop`.
const RACER: &str = "cd ~ && mkdir -p a && echo inside > a/passwd && exec python3 - <<'END'
import os, time
os.chdir('/home/sandbox')
for name, to in (('l', '/etc'), ('m', '/proc/self/root/etc'), ('u', '../../../../etc'), ('h', 'HOSTDIR')):
    os.symlink(to, name)
os.makedirs('b', exist_ok=True)
swaps = 0
while not os.path.exists('/home/sandbox/stop'):
    for name in 'lmuh':
        for step in (('a', 'x'), ('x', 'a'), (name, 'x'), ('x', name)):
            try: os.rename(*step)
            except OSError: pass
        try: os.symlink('/etc/passwd', 'b/passwd')
        except OSError: pass
        try: os.unlink('b/passwd')
        except OSError: pass
        swaps += 1
    # Now and then the right thing stands still for a moment, so that whoever looks finds it as well.
    if swaps % 4096 == 0:
        for step in (('a', 'x'), ('x', 'a')):
            try: os.rename(*step)
            except OSError: pass
            time.sleep(0.02)
print('swaps', swaps)
END";

/// How long the race goes on.
#[expect(clippy::disallowed_methods, reason = "a longer race is asked for from outside; the program itself reads nothing of it")]
fn race_seconds() -> u64 {
    std::env::var("LAZARET_RACE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10)
}

/// Directories and links take each other's place while the host lists, reads, writes and removes: nothing outside of the
/// tree is ever read or changed.
#[test]
fn a_race_of_links_leads_no_reader_or_writer_outside() {
    let lab = lab();
    let seconds = race_seconds();
    let canary = lab.path("canary");
    std::fs::create_dir(&canary).expect("make");
    std::fs::write(canary.join("passwd"), "canary-of-the-host").expect("write");
    // The control: by its name alone, such a link is followed.
    std::os::unix::fs::symlink(&canary, lab.path("control")).expect("link");
    assert_eq!(std::fs::read_to_string(lab.path("control").join("passwd")).expect("read"), "canary-of-the-host");
    let of_host = std::fs::read("/etc/passwd").expect("read");

    env(&lab, "track");
    let session = shell(&lab, json!({ "env": "track" }));
    let racer = RACER.replace("HOSTDIR", canary.to_str().expect("utf-8"));
    let turn = lab.send(&session, &racer);
    lab.event_where(&session, |e| e["type"] == "start");
    let began = Instant::now();
    let (mut read, mut refused, mut wrote) = (0, 0, 0);
    // At least as long as it is to go on, and until each end of a look was seen: which comes first is a matter of luck.
    while began.elapsed() < Duration::from_secs(seconds) || ((read == 0 || refused == 0 || wrote == 0) && began.elapsed() < PATIENCE) {
        for path in ["x/passwd", "b/passwd", "l/passwd", "h/passwd", "u/passwd"] {
            let got = lab.ask("GET", &format!("/v1/envs/track/files?download=1&path={path}"), Value::Null);
            match got.status {
                200 => {
                    let text = String::from_utf8_lossy(&got.body).into_owned();
                    assert!(text == "inside\n" || text == "pushed", "read through a link: {text}");
                    read += 1;
                }
                status => {
                    assert!((400..500).contains(&status), "{got:?}");
                    refused += 1;
                }
            }
        }
        for path in ["x", "l", "h", ""] {
            let list = lab.ask("GET", &format!("/v1/envs/track/files?path={path}"), Value::Null);
            let text = String::from_utf8_lossy(&list.body).into_owned();
            assert!(!text.contains("\"shadow\"") && !text.contains("\"hosts\""), "listed through a link: {text}");
        }
        let headers = [("content-type", "application/octet-stream")];
        wrote += u32::from(lab.ask_with("PUT", "/v1/envs/track/files?path=x/passwd", &headers, b"pushed").status == 201);
        lab.ask("POST", "/v1/envs/track/files/mkdir?path=x/made", Value::Null);
        lab.ask("DELETE", "/v1/envs/track/files?path=h/passwd", Value::Null);
        lab.ask("DELETE", "/v1/envs/track/files?path=x/made", Value::Null);
    }
    lab.ask_with("PUT", "/v1/envs/track/files?path=stop", &[("content-type", "application/octet-stream")], b"").is(201);
    let said = lab.result_of(&session, &turn);
    assert!(said["text"].as_str().is_some_and(|t| t.contains("swaps")), "{said}");
    assert!(read > 0 && refused > 0 && wrote > 0, "the race was one: {read} read, {refused} refused, {wrote} written");
    let left: Vec<_> = std::fs::read_dir(&canary).expect("there").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["passwd"], "nothing was made or removed beside the canary");
    assert_eq!(std::fs::read_to_string(canary.join("passwd")).expect("read"), "canary-of-the-host");
    assert_eq!(std::fs::read("/etc/passwd").expect("read"), of_host);
}
