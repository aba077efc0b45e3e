//! Reading what a branch brings: from objects only, with nothing that a tree or a configuration could say about how.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::GitError;
use super::flags::{Flag, flags_of};
use super::mirror::Mirror;
use super::repo::Oid;

/// How long reading may take.
const READ_TIME: Duration = Duration::from_secs(60);
/// The longest log, in bytes.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// The longest list of changes, in bytes.
const CHANGES_BYTES_MAX: u64 = 64 << 20;
/// The longest patch, in bytes.
pub(crate) const PATCH_BYTES_MAX: u64 = 64 << 20;
/// Fields of one commit in the log.
const FIELDS: usize = 5;

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitView {
    /// Its name.
    pub(crate) oid: Oid,
    /// Who wrote it, as the commit says.
    pub(crate) author: String,
    /// The address, as the commit says.
    pub(crate) email: String,
    /// When, in seconds since 1970, as the commit says.
    pub(crate) at: i64,
    /// The first line of its message.
    pub(crate) subject: String,
}

/// How one file differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileChange {
    /// Its path, cleaned of what must not be shown.
    pub(crate) path: String,
    /// The path as it is, for asking for its patch.
    pub(crate) raw_path: Vec<u8>,
    /// Where it was before, when it was moved.
    pub(crate) moved_from: Option<String>,
    /// `A`, `M`, `D`, `R`, `T` (its kind).
    pub(crate) kind: char,
    /// Lines that came; `None` for a binary file.
    pub(crate) added: Option<u64>,
    /// Lines that went.
    pub(crate) removed: Option<u64>,
    /// Its mode before and after.
    pub(crate) modes: (String, String),
    /// What deserves a second look.
    pub(crate) flags: Vec<Flag>,
}

/// The commits of `tip` that `base` does not have, newest first.
///
/// # Errors
/// Git fails.
pub(crate) async fn log(mirror: &Mirror, base: &Oid, tip: &Oid, max: usize) -> Result<Vec<CommitView>, GitError> {
    let what = "read the log";
    let format = "--format=tformat:%H%x00%an%x00%ae%x00%at%x00%s";
    let args = ["log", "-z", format, "--no-color", "--no-notes", "--no-mailmap", &format!("--max-count={max}"), "--end-of-options"];
    let call = mirror.call(what).args(args).args([tip.as_str(), &format!("^{base}"), "--"]);
    let out = call.max(LOG_BYTES_MAX).time(READ_TIME).run().await?;
    let words: Vec<&[u8]> = out.split(|b| *b == 0).collect();
    let commits = words.chunks_exact(FIELDS).map(|fields| {
        let text = |n: usize| super::error::shown(fields[n]);
        Some(CommitView { oid: Oid::parse(&text(0))?, author: text(1), email: text(2), at: text(3).parse().ok()?, subject: text(4) })
    });
    commits.collect::<Option<_>>().ok_or(GitError::Strange { what })
}

/// The commit at which two parted; `None` when they have nothing in common.
pub(crate) async fn fork_point(mirror: &Mirror, one: &Oid, other: &Oid) -> Result<Option<Oid>, GitError> {
    let answer = mirror.call("find where two branches parted").args(["merge-base", one.as_str(), other.as_str()]).answer().await?;
    let said = String::from_utf8_lossy(&answer.out);
    Ok(said.lines().next().filter(|_| answer.status == 0).and_then(Oid::parse))
}

/// How the files differ between two commits, with what deserves a second look in each.
///
/// # Errors
/// There is more than is read.
pub(crate) async fn changes(mirror: &Mirror, from: &Oid, to: &Oid) -> Result<Vec<FileChange>, GitError> {
    let what = "list what the branch changes";
    let fixed = ["diff-tree", "-r", "-z", "-M", "--no-ext-diff", "--no-textconv", "--no-color", "--no-abbrev"];
    let call = |how: &[&str]| {
        let call = mirror.call(what).args(fixed).args(how).args(["--end-of-options", from.as_str(), to.as_str(), "--"]);
        call.max(CHANGES_BYTES_MAX).time(READ_TIME).run()
    };
    let (raw, counted, squeezed) =
        tokio::try_join!(call(&["--raw"]), call(&["--numstat"]), call(&["--numstat", "-w", "--ignore-blank-lines"]))?;
    let mut changes = parse_raw(&raw).ok_or(GitError::Strange { what })?;
    let (counted, squeezed) = (parse_numstat(&counted), parse_numstat(&squeezed));
    for change in &mut changes {
        let (added, removed) = counted.get(&change.raw_path).copied().unwrap_or((Some(0), Some(0)));
        (change.added, change.removed) = (added, removed);
        let is_counted = added.zip(removed).is_some_and(|(added, removed)| added + removed > 0);
        let is_seen = squeezed.get(&change.raw_path).is_some_and(|(added, removed)| added.unwrap_or(1) + removed.unwrap_or(1) > 0);
        if is_counted && !is_seen {
            change.flags.push(Flag::WhitespaceOnly);
        }
    }
    let patch = patch(mirror, from, to, None).await;
    let texts = match patch {
        Ok(patch) => super::flags::read_patch(&patch),
        // So large a change is not looked at line by line, and says so.
        Err(GitError::Long { .. }) => {
            changes.iter_mut().for_each(|change| change.flags.push(Flag::NotLookedAt));
            BTreeMap::new()
        }
        Err(other) => return Err(other),
    };
    for change in &mut changes {
        flags_of(change, texts.get(&change.raw_path));
    }
    Ok(changes)
}

/// The differences as text; of one file where `path` names it. Hostile text: whoever shows it cleans it.
///
/// # Errors
/// There is more than is read.
pub(crate) async fn patch(mirror: &Mirror, from: &Oid, to: &Oid, path: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
    use std::os::unix::ffi::OsStrExt as _;
    let args = ["diff-tree", "-p", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "--submodule=short"];
    let mut call = mirror.call("show what the branch changes").args(args).config("core.quotePath", "true");
    call = call.args(["--end-of-options", from.as_str(), to.as_str(), "--"]);
    if let Some(path) = path {
        call = call.arg(std::ffi::OsStr::from_bytes(path));
    }
    call.max(PATCH_BYTES_MAX).time(READ_TIME).run().await
}

fn parse_raw(out: &[u8]) -> Option<Vec<FileChange>> {
    let mut words = out.split(|b| *b == 0);
    let mut changes = Vec::new();
    while let Some(head) = words.next().filter(|head| !head.is_empty()) {
        let head = std::str::from_utf8(head).ok()?.strip_prefix(':')?;
        let fields: Vec<&str> = head.split(' ').collect();
        let [before, after, _, _, status] = fields[..] else { return None };
        let kind = status.chars().next()?;
        let first = words.next()?;
        let (moved_from, path) = if matches!(kind, 'R' | 'C') { (Some(super::error::shown(first)), words.next()?) } else { (None, first) };
        changes.push(FileChange {
            path: super::error::shown(path),
            raw_path: path.to_vec(),
            moved_from,
            kind,
            added: None,
            removed: None,
            modes: (before.to_owned(), after.to_owned()),
            flags: Vec::new(),
        });
    }
    Some(changes)
}

/// Lines that came and went, by path; `None` for binary files.
type Counts = BTreeMap<Vec<u8>, (Option<u64>, Option<u64>)>;

fn parse_numstat(out: &[u8]) -> Counts {
    let mut counts = Counts::new();
    let mut words = out.split(|b| *b == 0);
    while let Some(line) = words.next().filter(|line| !line.is_empty()) {
        let mut fields = line.splitn(3, |b| *b == b'\t');
        let mut number = || fields.next().and_then(|field| std::str::from_utf8(field).ok()).and_then(|text| text.parse().ok());
        let pair = (number(), number());
        let path = match fields.next() {
            Some([]) | None => {
                words.next();
                words.next().unwrap_or_default()
            }
            Some(path) => path,
        };
        counts.insert(path.to_vec(), pair);
    }
    counts
}
