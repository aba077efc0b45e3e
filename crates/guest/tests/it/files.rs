//! The file verbs, on trees as an attacker would leave them.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What stands outside the root and must never be seen.
const SECRET: &str = "secret-of-the-host-4711";

struct Ran {
    out: Vec<u8>,
    error: Option<String>,
}

impl Ran {
    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        assert_eq!(self.error, None);
        let lines = self.out.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
    }

    #[track_caller]
    fn names(&self) -> Vec<String> {
        self.lines().iter().map(|line| line["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Done, and what it printed.
    #[track_caller]
    fn text(&self) -> String {
        assert_eq!(self.error, None);
        String::from_utf8(self.out.clone()).expect("UTF-8")
    }

    /// Refused with this code, and nothing printed.
    #[track_caller]
    fn refused(&self, code: &str) {
        assert_eq!(self.error.as_deref(), Some(code));
        assert!(self.out.is_empty(), "{:?}", String::from_utf8_lossy(&self.out));
    }
}

fn files_with<A: AsRef<OsStr>>(root: &Path, args: &[A], input: &[u8]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret-guest"));
    command.arg("files").arg(&args[0]).arg("--root").arg(root).args(&args[1..]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().expect("ended");
    writer.join().expect("no panic");
    assert!(!String::from_utf8_lossy(&output.stdout).contains(SECRET), "a verb left the root");
    let error = (!output.status.success()).then(|| {
        assert_eq!(output.status.code(), Some(1));
        let line: Value = serde_json::from_slice(&output.stderr).expect("one JSON line");
        assert!(line["message"].is_string());
        line["code"].as_str().expect("a code").to_owned()
    });
    Ran { out: output.stdout, error }
}

fn files(root: &Path, args: &[&str]) -> Ran {
    files_with(root, args, b"")
}

/// A root with a directory beside it that holds a secret.
fn roots() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let all = tempfile::tempdir().expect("a directory");
    let (root, outside) = (all.path().join("root"), all.path().join("outside"));
    for directory in [&root, &outside] {
        std::fs::create_dir(directory).expect("made");
    }
    std::fs::write(outside.join("secret"), SECRET).expect("written");
    (all, root, outside)
}

#[test]
fn files_go_in_and_come_out() {
    let (_all, root, _) = roots();
    files_with(&root, &["write", "--size", "5", "a"], b"hello").text();
    assert_eq!(files(&root, &["read", "a"]).text(), "hello");
    files_with(&root, &["write", "x/y/z", "--parents"], b"deep").text();
    files_with(&root, &["write", "none/z"], b"deep").refused("NOT_FOUND");
    files(&root, &["mkdir", "./d//e"]).text();
    files(&root, &["mkdir", "d/e"]).text();
    assert_eq!(files(&root, &["list", "."]).names(), ["a", "d", "x"]);
    let about = &files(&root, &["stat", "x/y/z"]).lines()[0];
    assert_eq!((&about["name"], &about["type"], &about["size"], &about["mode"]), (&json!("z"), &json!("file"), &json!(4), &json!(0o644)));
    assert!(about["mtime_ms"].as_i64() > Some(1_600_000_000_000));
    std::fs::set_permissions(root.join("a"), std::fs::Permissions::from_mode(0o700)).expect("set");
    files_with(&root, &["write", "a"], b"again").text();
    assert_eq!(std::fs::metadata(root.join("a")).expect("there").mode() & 0o7777, 0o700, "the mode is kept");
    files_with(&root, &["write", "d"], b"x").refused("CONFLICT");
    files_with(&root, &["write", "a", "--size", "9"], b"cut").refused("CONFLICT");
    assert_eq!(files(&root, &["read", "a"]).text(), "again", "a broken upload changes nothing");
    assert_eq!(files(&root, &["list", ""]).names(), ["a", "d", "x"], "and leaves nothing behind");
    files(&root, &["remove", "d"]).text();
    files(&root, &["remove", "d"]).refused("NOT_FOUND");
    files(&root, &["read", "x"]).refused("CONFLICT");
    files(&root, &["mkdir", "a/b"]).refused("CONFLICT");
    for wrong in [&["read"][..], &["read", "a", "b"], &["nothing", "a"], &["list", "a", "--limit", "0"], &["list", "--odd", "a"]] {
        files(&root, wrong).refused("USAGE");
    }
}

#[test]
fn a_directory_is_listed_a_page_at_a_time() {
    let (_all, root, _) = roots();
    for n in 0..25 {
        std::fs::write(root.join(format!("f{n:02}")), "").expect("written");
    }
    let mut seen: Vec<String> = Vec::new();
    loop {
        let after = seen.last().cloned().unwrap_or_default();
        let page = files(&root, &["list", ".", "--limit", "10", "--after", &after]).names();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 10);
        seen.extend(page);
    }
    assert_eq!(seen, (0..25).map(|n| format!("f{n:02}")).collect::<Vec<_>>());
}

/// No link leads out, whether it stands at the end, in the middle, or was put in the way of a new file.
#[test]
fn no_link_is_followed() {
    let (_all, root, outside) = roots();
    symlink(&outside, root.join("dir")).expect("made");
    symlink(outside.join("secret"), root.join("file")).expect("made");
    symlink("../outside/secret", root.join("up")).expect("made");
    symlink("/proc/self/root/etc/passwd", root.join("magic")).expect("made");
    symlink("loop", root.join("loop")).expect("made");
    symlink("nowhere", root.join("dangling")).expect("made");
    let shown = files(&root, &["list", "."]).lines();
    assert_eq!(shown.len(), 6);
    assert!(shown.iter().all(|line| line["type"] == "link" && line["target"].is_string()));
    for path in ["dir/secret", "dir/none", "file", "up", "magic", "loop", "loop/x", "dangling"] {
        files(&root, &["read", path]).refused("FORBIDDEN");
        files_with(&root, &["write", path], b"x").refused("FORBIDDEN");
        files_with(&root, &["write", "--parents", path], b"x").refused("FORBIDDEN");
    }
    for path in ["dir", "dir/x", "file/x", "dangling", "loop/x"] {
        files(&root, &["mkdir", path]).refused("FORBIDDEN");
    }
    files(&root, &["list", "dir"]).refused("FORBIDDEN");
    files(&root, &["stat", "dir/secret"]).refused("FORBIDDEN");
    files(&root, &["remove", "dir/secret"]).refused("FORBIDDEN");
    for path in ["../outside/secret", "/etc/passwd", "a/../../outside/secret", "..", "dir/.."] {
        for verb in ["read", "list", "stat", "remove", "mkdir"] {
            files(&root, &[verb, path]).refused("USAGE");
        }
    }
    assert_eq!(files(&root, &["stat", "dir"]).lines()[0]["type"], "link");
    // A link goes; what it points at stays.
    std::fs::create_dir(root.join("tree")).expect("made");
    symlink(&outside, root.join("tree/dir")).expect("made");
    for path in ["tree", "dir", "file", "dangling"] {
        files(&root, &["remove", path]).text();
    }
    assert_eq!(std::fs::read_to_string(outside.join("secret")).expect("there"), SECRET);
    // The positive control: the same path without a link.
    std::fs::create_dir(root.join("dir")).expect("made");
    std::fs::write(root.join("dir/secret"), "own").expect("written");
    assert_eq!(files(&root, &["read", "dir/secret"]).text(), "own");
}

/// A root that is itself reached over a link is refused too.
#[test]
fn the_root_is_a_directory() {
    let (all, root, _) = roots();
    symlink(&root, all.path().join("link")).expect("made");
    files(&all.path().join("link"), &["list", "."]).refused("CONFLICT");
    files(&root.join("none"), &["list", "."]).refused("NOT_FOUND");
    files(&root, &["remove", "."]).refused("USAGE");
    files(&root, &["read", "."]).refused("CONFLICT");
}

#[test]
fn pipes_sockets_and_devices_are_shown_and_not_opened() {
    let (_all, root, _) = roots();
    let at = |name: &str| std::ffi::CString::new(root.join(name).into_os_string().into_vec()).expect("no NUL");
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o666), 0).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("bound");
    let mut names = vec!["fifo", "socket"];
    let device = rustix::fs::makedev(1, 5);
    // Only root can make one.
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        at("zero"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        device,
    );
    if made.is_ok() {
        names.push("zero");
    } else {
        assert!(!rustix::process::geteuid().is_root(), "{made:?}");
    }
    let began = Instant::now();
    for line in files(&root, &["list", "."]).lines() {
        assert_eq!(line["type"], "other");
    }
    for name in names {
        files(&root, &["read", name]).refused("FORBIDDEN");
        files_with(&root, &["write", name], b"x").refused("FORBIDDEN");
        files(&root, &["list", name]).refused("CONFLICT");
        assert_eq!(files(&root, &["stat", name]).lines()[0]["type"], "other");
        files(&root, &["remove", name]).text();
    }
    assert!(began.elapsed() < crate::support::PATIENCE, "something blocked");
}

#[test]
fn strange_names_are_told_and_taken() {
    let (_all, root, _) = roots();
    let names: [&[u8]; 6] = [b"new\nline", b"\x1b[31mred", "\u{202e}gpj.exe".as_bytes(), b"\xff\xfe raw", b"\\u0000", b"--root"];
    for name in names {
        std::fs::write(root.join(OsStr::from_bytes(name)), name).expect("written");
    }
    let ran = files(&root, &["list", "."]);
    assert!(!ran.out.contains(&0x1b) && ran.out.iter().filter(|b| **b == b'\n').count() == names.len(), "a name breaks no line");
    for line in ran.lines() {
        let name = line["name"].as_str().expect("a name");
        let hex: String = match line["raw"].as_str() {
            Some(raw) => raw.to_owned(),
            None => name.bytes().map(|b| format!("{b:02x}")).collect(),
        };
        let found = files(&root, &["read", "--hex", &hex]);
        assert_eq!(found.error, None);
        assert!(names.contains(&found.out.as_slice()), "{name:?}");
        assert_eq!(line["raw"].is_string(), found.out.contains(&0xff));
    }
    assert_eq!(files(&root, &["read", "./--root"]).text(), "--root");
    assert_eq!(files(&root, &["read", "--", "--root"]).text(), "--root");
    files(&root, &["read", "--hex", "6100"]).refused("USAGE");
    files(&root, &["remove", "--hex", "fffe20726177"]).text();
    assert_eq!(files(&root, &["list", "."]).lines().len(), names.len() - 1);
}

#[test]
fn a_deep_directory_is_removed_and_a_sparse_file_is_only_a_number() {
    let (_all, root, outside) = roots();
    // Deeper than any path can name, each with a file and a link out.
    let mut at = rustix::fs::open(&root, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).expect("opened");
    for n in 0..3_000 {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).expect("made");
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).expect("opened");
        rustix::fs::symlinkat(outside.as_os_str(), &at, "out").expect("made");
        if n % 10 == 0 {
            rustix::fs::mkdirat(&at, "closed", rustix::fs::Mode::empty()).expect("made");
        }
    }
    drop(at);
    files(&root, &["remove", "d"]).text();
    assert!(std::fs::read_dir(&root).expect("readable").next().is_none());
    assert!(outside.join("secret").exists());

    let sparse = std::fs::File::create(root.join("sparse")).expect("made");
    let size = (1u64 << 42) + 1;
    sparse.set_len(size).expect("a file system with large files");
    assert_eq!(files(&root, &["list", "."]).lines()[0]["size"], size);
    // Two of them are compared without reading four terabytes.
    for side in ["old", "new"] {
        std::fs::create_dir(root.join(side)).expect("made");
        let file = std::fs::File::create(root.join(side).join("sparse")).expect("made");
        file.set_len(size).expect("set");
        file.write_at(side.as_bytes(), 1 << 41).expect("written");
        file.write_at(b"same", 1 << 40).expect("written");
    }
    assert_eq!(files(&root, &["diff", "old", "new"]).lines().len(), 1);
    std::fs::File::options().write(true).open(root.join("new/sparse")).expect("opened").write_at(b"old", 1 << 41).expect("written");
    assert_eq!(files(&root, &["diff", "old", "new"]).lines().len(), 0);
}

/// A directory and a link change places all the while; no read ever leaves the root.
#[test]
fn a_race_of_links_leads_nowhere() {
    let (_all, root, outside) = roots();
    std::fs::create_dir(root.join("real")).expect("made");
    std::fs::write(root.join("real/secret"), "mine").expect("written");
    symlink(&outside, root.join("link")).expect("made");
    /// Ends the other side of the race, also when an assertion fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (done, mine, refused) = (AtomicBool::new(false), &mut 0, &mut 0);
    std::thread::scope(|scope| {
        let _end = End(&done);
        scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(rustix::fs::CWD, root.join("real"), rustix::fs::CWD, root.join("link"), flags)
                    .expect("exchanged");
            }
        });
        // At least so long, and until both sides have won once.
        let (least, most) = (Instant::now() + Duration::from_secs(2), Instant::now() + crate::support::PATIENCE);
        while Instant::now() < least || ((*mine == 0 || *refused == 0) && Instant::now() < most) {
            let ran = files(&root, &["read", "real/secret"]);
            match ran.error {
                None => {
                    assert_eq!(ran.text(), "mine");
                    *mine += 1;
                }
                Some(code) => {
                    assert!(["FORBIDDEN", "CONFLICT"].contains(&code.as_str()), "{code}");
                    *refused += 1;
                }
            }
            files_with(&root, &["write", "real/new"], b"x");
        }
    });
    assert!(*mine > 0 && *refused > 0, "the race was none: {mine} {refused}");
    assert_eq!(std::fs::read_dir(&outside).expect("readable").count(), 1, "nothing was written outside");
}

#[test]
fn what_differs_between_two_trees_is_told() {
    let (_all, root, outside) = roots();
    for side in ["old", "new"] {
        std::fs::create_dir_all(root.join(side).join("sub/same")).expect("made");
        std::fs::write(root.join(side).join("sub/same/file"), "same").expect("written");
        std::fs::write(root.join(side).join("text"), format!("one\n{side}\n")).expect("written");
        symlink(outside.join(side), root.join(side).join("link")).expect("made");
    }
    let (old, new) = (root.join("old"), root.join("new"));
    std::fs::write(old.join("gone"), "x").expect("written");
    std::fs::create_dir(new.join("fresh")).expect("made");
    std::fs::write(new.join("fresh/binary"), [0u8, 1]).expect("written");
    std::fs::write(old.join("kind"), "x").expect("written");
    std::fs::create_dir(new.join("kind")).expect("made");
    std::fs::set_permissions(new.join("sub/same/file"), std::fs::Permissions::from_mode(0o755)).expect("set");
    let lines = files(&root, &["diff", "old", "new"]).lines();
    let told: Vec<String> = lines.iter().map(|l| format!("{} {} {}", l["change"], l["path"], l["is_binary"]).replace('"', "")).collect();
    let expect = [
        "added fresh false", "added fresh/binary true", "removed gone false", "type kind false", "changed link false",
        "changed sub/same/file false", "changed text false",
    ];
    assert_eq!(told, expect);
    assert_eq!((&lines[2]["size_before"], &lines[2]["size_after"]), (&json!(1), &Value::Null));
    let patch = files(&root, &["patch", "old", "new", "text"]).text();
    assert_eq!(patch, "--- a/text\n+++ b/text\n@@ -1,2 +1,2 @@\n one\n-old\n+new\n");
    assert_eq!(
        files(&root, &["patch", "old", "new", "gone"]).text(),
        "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n"
    );
    assert_eq!(files(&root, &["patch", "old", "new", "sub/same/file"]).text(), "");
    files(&root, &["patch", "old", "new", "fresh/binary"]).refused("USAGE");
    files(&root, &["patch", "old", "new", "link"]).refused("FORBIDDEN");
    files(&root, &["patch", "old", "new", "none"]).refused("NOT_FOUND");
    files(&root, &["diff", "old", "none"]).refused("NOT_FOUND");
}

/// A patch of ours is one that `patch` takes, and gives the new text.
#[test]
fn a_patch_can_be_applied() {
    let (_all, root, _) = roots();
    let old: Vec<String> = (0..200).map(|n| format!("line {}\n", n * 7 % 31)).collect();
    let mut new = old.clone();
    new[3] = "changed\n".to_owned();
    new.drain(50..55);
    new.splice(120..120, ["in\n".to_owned(), "and in\n".to_owned()]);
    new.push("no end".to_owned());
    for (side, lines) in [("old", &old), ("new", &new)] {
        std::fs::create_dir(root.join(side)).expect("made");
        std::fs::write(root.join(side).join("f"), lines.concat()).expect("written");
    }
    let ran = files(&root, &["patch", "old", "new", "f"]);
    let patch = root.join("f.patch");
    std::fs::write(&patch, ran.text()).expect("written");
    let applied =
        Command::new("git").args(["apply", "-p1"]).arg(&patch).current_dir(root.join("old")).env("GIT_CEILING_DIRECTORIES", &root).status();
    assert!(applied.expect("git is there").success(), "{}", ran.text());
    assert_eq!(std::fs::read_to_string(root.join("old/f")).expect("there"), new.concat());
    let strange: OsString = OsString::from_vec(b"\x1b]0;x\x07\n+++ b/other".to_vec());
    std::fs::create_dir_all(root.join("new").join(Path::new(&strange).parent().expect("a part"))).expect("made");
    std::fs::write(root.join("new").join(&strange), "x").expect("written");
    let hex: String = strange.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let side = |name: &str| name.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    let ran = files(&root, &["patch", "--hex", &side("old"), &side("new"), &hex]);
    assert!(!ran.out.contains(&0x1b) && ran.text().lines().nth(1).is_some_and(|line| line.starts_with("+++ \"b/")), "{}", ran.text());
}

/// An overlay cannot move directories of its lower layers; they are removed all the same. Needs root.
#[test]
fn directories_of_a_lower_layer_are_removed() {
    let (all, root, _) = roots();
    for directory in ["low/d/e/f/g", "low/d/h", "up", "work"] {
        std::fs::create_dir_all(all.path().join(directory)).expect("made");
    }
    std::fs::write(all.path().join("low/d/e/f/file"), "x").expect("written");
    let options = "userxattr";
    let script = format!(
        "cd \"$1\" && mount -t tmpfs none work && mkdir work/u work/w && \
         mount -t overlay -o {options},lowerdir=low,upperdir=work/u,workdir=work/w none root && \
         test -d root/d/e/f/g && \"$2\" files remove --root \"$1/root\" d && test ! -e root/d && ls -A root | wc -l"
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(all.path()).arg(env!("CARGO_BIN_EXE_lazaret-guest"));
    let output = command.output().expect("unshare is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0");
    drop(root);
}

/// What is mounted below is not emptied. Needs root, as all tests here do.
#[test]
fn a_mount_is_not_emptied() {
    let (all, root, _) = roots();
    let kept = all.path().join("kept");
    for directory in [kept.clone(), root.join("d/mnt")] {
        std::fs::create_dir_all(directory).expect("made");
    }
    std::fs::write(kept.join("file"), "x").expect("written");
    let script = "mount --bind \"$1\" \"$2/d/mnt\" && exec \"$3\" files remove --root \"$2\" d";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(&kept)
        .arg(&root)
        .arg(env!("CARGO_BIN_EXE_lazaret-guest"));
    let output = command.output().expect("unshare is there");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CONFLICT"));
    assert!(kept.join("file").exists());
}
