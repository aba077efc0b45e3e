//! A bare repository in the home that has the objects of a user's: hard links of files that are never changed, so that
//! it costs no space while the user keeps them, and loses nothing when the user's repository is tidied.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::GitError;
use super::repo::{Format, Oid, Repo};
use super::run::{Call, Git};

/// Where mirrors are seen inside sandboxes.
pub(crate) const INSIDE: &str = "/opt/lazaret-mirrors";
/// How often the user's objects are listed anew when they were tidied meanwhile.
const LOOKS_MAX: usize = 8;
/// The most files of objects that a mirror takes.
const FILES_MAX: usize = 2_000_000;
/// What the name of a mirror that is not whole ends with.
const FRESH: &str = ".new";
/// Parts of a pack, in the order in which they must come: the index says that the rest is there.
const PACK_PARTS: [&str; 3] = [".pack", ".rev", ".idx"];

/// A mirror of a user's repository.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    git: Git,
    dir: PathBuf,
    /// As [`Repo::key`].
    pub(crate) key: String,
    /// Where it is seen inside.
    inside: String,
    /// How objects are named.
    pub(crate) format: Format,
    /// Where the history of a shallow clone ends.
    pub(crate) shallow: Option<String>,
}

/// Held while something of a mirror is changed.
#[derive(Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "held for its drop")] File);

impl Mirror {
    /// The mirror of a repository with all objects that it has now: made when there is none.
    ///
    /// # Errors
    /// The home or the repository cannot be read or written.
    pub(crate) async fn of(git: &Git, mirrors: &Path, repo: &Repo) -> Result<Self, GitError> {
        Self::at(git, mirrors, INSIDE, repo).await
    }

    /// The mirror of a submodule, which lies within that of the repository around it and is seen with it.
    pub(crate) async fn inner(&self, repo: &Repo) -> Result<Self, GitError> {
        let dir = self.dir.join("modules");
        fs::create_dir_all(&dir)
            .and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)))
            .map_err(GitError::io("make a mirror"))?;
        Self::at(&self.git, &dir, &format!("{}/modules", self.inside), repo).await
    }

    async fn at(git: &Git, mirrors: &Path, inside: &str, repo: &Repo) -> Result<Self, GitError> {
        let dir = mirrors.join(&repo.key);
        let inside = format!("{inside}/{}", repo.key);
        let mut mirror = Self { git: git.clone(), dir, key: repo.key.clone(), inside, format: repo.format, shallow: None };
        let _held = mirror.hold().await?;
        mirror.make().await?;
        mirror.shallow = mirror.take_shallow(repo)?;
        if fs::symlink_metadata(repo.objects().join("info/alternates")).is_ok() {
            mirror.pull(repo).await?;
        } else {
            let (from, to) = (repo.objects(), mirror.objects());
            blocking(move || link_all(&from, &to)).await?;
        }
        Ok(mirror)
    }

    /// Nobody else changes the mirror while what is given lives.
    pub(crate) async fn hold(&self) -> Result<Held, GitError> {
        let path = self.dir.with_extension("lock");
        blocking(move || {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let file = File::options().create(true).write(true).truncate(false).open(path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(Held(file))
        })
        .await
    }

    async fn make(&self) -> Result<(), GitError> {
        if self.dir.is_dir() {
            return Ok(());
        }
        let fresh = self.dir.with_extension(&FRESH[1..]);
        let parent = self.dir.parent().unwrap_or(&self.dir);
        remove(&fresh).map_err(GitError::io("remove half a mirror"))?;
        let format = format!("--object-format={}", self.format.as_str());
        let call = self.git.call("make a mirror", parent).args(["init", "--quiet", "--bare", "--initial-branch=none", &format, "--"]);
        call.arg(&fresh).run().await?;
        let config = self.git.in_bare("set up a mirror", &fresh);
        // The sandbox's user reads what the daemon writes.
        config.args(["config", "core.sharedRepository", "0644"]).run().await?;
        for dir in ["", "objects", "objects/pack", "objects/info", "refs", "refs/heads", "refs/tags"] {
            fs::set_permissions(fresh.join(dir), fs::Permissions::from_mode(0o755)).map_err(GitError::io("open a mirror"))?;
        }
        for file in ["HEAD", "config"] {
            fs::set_permissions(fresh.join(file), fs::Permissions::from_mode(0o644)).map_err(GitError::io("open a mirror"))?;
        }
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).map_err(GitError::io("open a mirror"))?;
        model::crash::point("branch:mirror-filled");
        fs::rename(&fresh, &self.dir).map_err(GitError::io("make a mirror"))
    }

    /// A call in the mirror: with its own configuration, which nobody else writes.
    pub(crate) fn call(&self, what: &'static str) -> Call {
        self.git.in_bare(what, &self.dir)
    }

    /// The git that works in it.
    pub(crate) fn git_of(&self) -> &Git {
        &self.git
    }

    /// Where it lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its objects lie.
    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// Where it is seen inside.
    pub(crate) fn inside(&self) -> &str {
        &self.inside
    }

    /// Whether it has this commit.
    pub(crate) async fn has(&self, commit: &Oid) -> Result<bool, GitError> {
        let answer = self.call("look for a commit").args(["cat-file", "-e", &format!("{commit}^{{commit}}")]).answer().await?;
        Ok(answer.status == 0)
    }

    /// Whether `commit` reaches `ancestor`; not where one of them is missing.
    pub(crate) async fn is_ancestor(&self, ancestor: &Oid, commit: &Oid) -> Result<bool, GitError> {
        let args = ["merge-base", "--is-ancestor", ancestor.as_str(), commit.as_str()];
        Ok(self.call("compare two commits").args(args).answer().await?.status == 0)
    }

    fn take_shallow(&self, repo: &Repo) -> Result<Option<String>, GitError> {
        let text = match fs::read_to_string(repo.common("shallow")) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(fs::read_to_string(self.dir.join("shallow")).ok()),
            Err(e) => return Err(GitError::io("read where a shallow clone ends")(e)),
        };
        let mut lines: Vec<&str> = text.lines().filter(|line| Oid::parse(line).is_some()).collect();
        lines.sort_unstable();
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let fresh = self.dir.join("shallow.new");
        let write = || {
            fs::write(&fresh, &text)?;
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644))?;
            fs::rename(&fresh, self.dir.join("shallow"))
        };
        write().map_err(GitError::io("write where a shallow clone ends"))?;
        Ok(Some(text))
    }

    /// Takes what the repository's refs reach, for one whose objects lie partly in other places: those places hold what
    /// is none of this repository's business.
    async fn pull(&self, repo: &Repo) -> Result<(), GitError> {
        let refs = repo.refs(&["refs/"]).await?;
        let mut wanted: Vec<Oid> = refs.into_values().collect();
        wanted.extend(repo.at("HEAD").await?);
        wanted.sort();
        wanted.dedup();
        let list = wanted.iter().map(|oid| format!("{oid}\n")).collect::<String>();
        // Objects without what they reach were never written, so those that are there are there with all.
        let checked = self.call("look for commits").args(["cat-file", "--batch-check=%(objectname)"]).input(list).run().await?;
        let checked = String::from_utf8_lossy(&checked).into_owned();
        let there: HashSet<&str> = checked.lines().filter(|line| Oid::parse(line).is_some()).collect();
        let (have, want): (Vec<&Oid>, Vec<&Oid>) = wanted.iter().partition(|oid| there.contains(oid.as_str()));
        if want.is_empty() {
            return Ok(());
        }
        let revs = want.iter().map(|oid| format!("{oid}\n")).chain(have.iter().map(|oid| format!("^{oid}\n"))).collect::<String>();
        let pack = tempfile_in(self.dir.parent().unwrap_or(&self.dir)).map_err(GitError::io("hold a pack"))?;
        let out = pack.try_clone().map_err(GitError::io("hold a pack"))?;
        let args = ["pack-objects", "--revs", "--stdout", "--delta-base-offset", "--quiet"];
        repo.call("pack what its branches reach").args(args).input(revs).time(PULL_TIME).into_file(out).await?;
        self.take_pack(pack).await
    }

    /// Adds the objects of a pack, which came from a repository that is trusted.
    pub(crate) async fn take_pack(&self, mut pack: File) -> Result<(), GitError> {
        use std::io::Seek as _;
        pack.rewind().map_err(GitError::io("read a pack"))?;
        let call = self.call("take a pack").args(["index-pack", "--stdin", "--fix-thin"]);
        call.input_file(pack).time(PULL_TIME).run().await.map(drop)
    }
}

/// How long the objects of a whole repository may take.
const PULL_TIME: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// A file in the home that has no name.
pub(crate) fn tempfile_in(dir: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = dir.join(format!("held-{:032x}", crate::clock::fresh_bits()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Links every object file of `from` that `to` does not have. Lists again where the user tidied meanwhile.
fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..LOOKS_MAX {
        match link_once(from, to) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Err(io::Error::other("the repository is tidied again and again; try later"))
}

fn link_once(from: &Path, to: &Path) -> io::Result<()> {
    let mut left = FILES_MAX;
    link_packs(&from.join("pack"), &to.join("pack"), &mut left)?;
    for n in 0..=255u8 {
        let name = format!("{n:02x}");
        let entries = match fs::read_dir(from.join(&name)) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => other?,
        };
        let into = to.join(&name);
        let mut known: Option<HashSet<OsString>> = None;
        for entry in entries {
            let entry = entry?;
            let file = entry.file_name();
            let is_object = file.to_str().is_some_and(|f| matches!(f.len(), 38 | 62) && f.bytes().all(|b| b.is_ascii_hexdigit()));
            if !is_object {
                continue;
            }
            let known = match &mut known {
                Some(known) => known,
                None => known.insert(list_or_make(&into)?),
            };
            if !known.contains(&file) {
                count(&mut left)?;
                place(&entry.path(), &into.join(&file))?;
            }
        }
    }
    // Packs of what was loose a moment ago.
    link_packs(&from.join("pack"), &to.join("pack"), &mut left)
}

fn list_or_make(dir: &Path) -> io::Result<HashSet<OsString>> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map(|()| HashSet::new()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => fs::read_dir(dir)?.map(|entry| entry.map(|e| e.file_name())).collect(),
        Err(e) => Err(e),
    }
}

/// Links every whole pack that `to` does not have.
pub(crate) fn link_packs(from: &Path, to: &Path, left: &mut usize) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".idx")) else { continue };
        let is_pack = stem.strip_prefix("pack-").is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_pack || to.join(&name).exists() {
            continue;
        }
        for part in PACK_PARTS {
            let file = format!("{stem}{part}");
            count(left)?;
            match place(&from.join(&file), &to.join(&file)) {
                // Older packs have no reverse index.
                Err(e) if e.kind() == ErrorKind::NotFound && part == ".rev" => {}
                other => other?,
            }
        }
    }
    Ok(())
}

fn count(left: &mut usize) -> io::Result<()> {
    *left = left.checked_sub(1).ok_or_else(|| io::Error::other(format!("it has more than {FILES_MAX} object files; run git gc in it")))?;
    Ok(())
}

/// Puts one object file into the mirror: a link, or a copy where there can be none or nobody else may read it.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if !meta.is_file() {
        return Err(io::Error::other("an object of the repository is no regular file"));
    }
    let is_readable = meta.permissions().mode() & 0o444 == 0o444 && meta.permissions().mode() & 0o222 == 0;
    if is_readable {
        match fs::hard_link(from, to) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(e),
            Err(_) => {}
        }
    }
    let fresh = to.with_extension(format!("{:032x}.tmp", crate::clock::fresh_bits()));
    let copied = (|| {
        let mut source = File::open(from)?;
        let mut copy = File::options().write(true).create_new(true).open(&fresh)?;
        io::copy(&mut source, &mut copy)?;
        copy.set_permissions(fs::Permissions::from_mode(0o444))?;
        copy.sync_all()?;
        fs::rename(&fresh, to)
    })();
    if copied.is_err() {
        // The error that is reported is why it is not whole.
        let _ = fs::remove_file(&fresh);
    }
    copied
}

/// How long a mirror stays after its last clone.
const KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

/// Removes mirrors that are not `used` and had no clone for long, with the lists of their base trees; those trees are then
/// nobody's, and go with the next sweep of trees.
pub(crate) fn sweep(mirrors: &Path, used: &HashSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(mirrors)? {
        let entry = entry?;
        let Some(key) = entry.file_name().to_str().filter(|name| is_key(name) && !used.contains(*name)).map(str::to_owned) else {
            continue;
        };
        let list = mirrors.join(format!("{key}.bases"));
        let last = fs::metadata(&list).or_else(|_| entry.metadata())?.modified()?;
        if last.elapsed().is_ok_and(|age| age > KEPT) {
            // The list first: a mirror without one has no clone.
            match fs::remove_file(&list) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => remove(&entry.path())?,
            }
        }
    }
    Ok(())
}

fn is_key(name: &str) -> bool {
    name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Removes a directory with all that is in it; fine when there is none.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Runs work that blocks.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, GitError> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e.to_string())));
    done.map_err(GitError::io("work on a mirror"))
}
