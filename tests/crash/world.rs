//! What a home has on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::scene::PATIENCE;
use crate::support::Lab;

/// All of an earlier life is gone this long after the next start, also where everybody waits for a processor: two seconds on a
/// machine with nothing else to do.
pub(crate) const GONE: Duration = Duration::from_secs(120);
/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);
/// How deep control groups are searched.
const GROUPS_DEEP: usize = 6;

/// What there is, by the sandbox that it belongs to; what belongs to none, by itself.
pub(crate) type Traces = BTreeMap<String, Vec<String>>;

/// Everything that the sandboxes of a home have: processes, control groups, directories, users, mounts, loop devices, and
/// what was begun and not put in place.
pub(crate) fn traces(lab: &Lab) -> Traces {
    let home = lab.home();
    let install = fs::read_to_string(home.join("install-id")).unwrap_or_default().trim().to_owned();
    let mut traces = Traces::new();
    let mut add = |owner: &str, what: String| traces.entry(owner.to_owned()).or_default().push(what);
    if install.is_empty() {
        return traces;
    }
    for process in children(Path::new("/proc")) {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let words: Vec<String> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        let label = words.get(2).and_then(|label| label.strip_prefix(&format!("{install}:")));
        if let (Some("launch"), Some(id)) = (words.get(1).map(String::as_str), label) {
            add(id, format!("process {}", process.display()));
        }
    }
    let prefix = format!("lazaret-{install}.");
    groups(Path::new("/sys/fs/cgroup"), &prefix, 0, &mut |id, path| add(id, format!("group {}", path.display())));
    for dir in ["sandboxes", "direct"].iter().flat_map(|part| children(&home.join(part))) {
        add(&name(&dir), format!("directory {}", dir.display()));
    }
    // A kept tree keeps its user, as its files are the user's.
    for link in children(Path::new("/run/lazaret/uids")) {
        let held = fs::read_link(&link).unwrap_or_default().to_string_lossy().into_owned();
        if let Some(at) = held.find("sbx_").filter(|_| held.contains(&install)) {
            add(held[at..].split(':').next().unwrap_or_default(), format!("user {} for {held}", name(&link)));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
    for line in mounts.lines().filter(|line| line.contains(&*home.to_string_lossy())) {
        add("a mount", line.to_owned());
    }
    let begun = |path: &PathBuf| {
        let name = name(path);
        name.starts_with(".fresh-") || name.ends_with(".new") || name.starts_with("clone-")
    };
    let engines = children(&home.join("engines"));
    let places = ["images", "run"].iter().map(|part| home.join(part)).chain(engines);
    for path in places.flat_map(|place| children(&place)).filter(begun) {
        add("nobody", format!("begun {}", path.display()));
    }
    traces
}

/// Loop devices over the home's image: there as long as a daemon or a sandbox uses it.
pub(crate) fn loops(lab: &Lab) -> Vec<String> {
    let home = lab.home().to_string_lossy().into_owned();
    let backing = |device: &PathBuf| fs::read_to_string(device.join("loop/backing_file")).is_ok_and(|file| file.contains(&home));
    children(Path::new("/sys/block")).iter().filter(|d| backing(d)).map(|d| name(d)).collect()
}

/// Waits until what there was `before` the next start is gone or belongs to a sandbox that the new daemon lists, at
/// most [`GONE`].
#[track_caller]
pub(crate) fn settles(lab: &Lab, before: &Traces, about: &str) {
    let began = Instant::now();
    loop {
        let listed = listed(lab);
        let old = |owner: &String| before.contains_key(owner) && !listed.contains(owner);
        let strange: Traces = traces(lab).into_iter().filter(|(owner, _)| old(owner)).collect();
        if strange.is_empty() {
            return;
        }
        assert!(began.elapsed() < GONE, "{about}: left {:?} after the next start: {strange:#?}", began.elapsed());
        std::thread::sleep(STEP);
    }
}

/// Waits until there is no trace at all, at most `limit`.
#[track_caller]
pub(crate) fn empties(lab: &Lab, limit: Duration, about: &str) {
    let began = Instant::now();
    loop {
        let left = traces(lab);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < limit, "{about}: left after {:?}: {left:#?}", began.elapsed());
        std::thread::sleep(STEP);
    }
}

/// Waits until every turn of every session is over. Whoever asked for one may be gone, and a daemon that is stopped before a turn
/// has begun leaves it to the next one.
#[track_caller]
pub(crate) fn idle(lab: &Lab, about: &str) {
    let began = Instant::now();
    loop {
        let mut open = lab.run(&["session", "list", "--limit", "10000", "--json"]).succeeds().events();
        open.retain(|session| session["state"] != "idle");
        if open.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{about}: turns are not over: {open:#?}");
        std::thread::sleep(STEP);
    }
}

/// Stops the daemon; then nothing at all is there any more.
#[track_caller]
pub(crate) fn ends(lab: &Lab, about: &str) {
    lab.run(&["stop", "--grace", "0s"]);
    empties(lab, GONE, about);
    let began = Instant::now();
    while !loops(lab).is_empty() {
        assert!(began.elapsed() < GONE, "{about}: loop devices are left: {:?}", loops(lab));
        std::thread::sleep(STEP);
    }
}

/// The sandboxes that the daemon knows. Does not start one.
fn listed(lab: &Lab) -> BTreeSet<String> {
    let ran = lab.run(&["--no-daemon", "sandbox", "list", "--json"]);
    if ran.status != 0 {
        return BTreeSet::new();
    }
    ran.events().iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
}

fn groups(dir: &Path, prefix: &str, deep: usize, found: &mut impl FnMut(&str, &Path)) {
    for path in children(dir) {
        let name = name(&path);
        if let Some(id) = name.strip_prefix(prefix) {
            found(id, &path);
        } else if deep < GROUPS_DEEP && path.is_dir() && !path.is_symlink() {
            groups(&path, prefix, deep + 1, found);
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
