//! A user's repository: looked at, given objects, and its branches moved; nothing else of it is ever written.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::GitError;
use super::run::{Call, Git, prefixed};

/// The most refs of a repository that are read.
pub(crate) const REFS_MAX: usize = 200_000;
/// The most bytes of a list of refs.
const REFS_BYTES_MAX: u64 = 64 << 20;
/// The most bytes of a repository's configuration that are read.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// How long making or looking at a working tree may take.
const TREE_TIME: std::time::Duration = std::time::Duration::from_secs(600);

/// The name of an object: 40 or 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Oid(String);

impl Oid {
    /// The name, if the text is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (matches!(text.len(), 40 | 64) && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// Its digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that stands for nothing, in the same form.
    pub(crate) fn zero(&self) -> Self {
        Self("0".repeat(self.0.len()))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<std::ffi::OsStr> for Oid {
    fn as_ref(&self) -> &std::ffi::OsStr {
        self.0.as_ref()
    }
}

/// How a repository names its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// A user's repository.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    git: Git,
    /// The working tree, or the directory of a bare one.
    pub(crate) path: PathBuf,
    /// Whether it has a working tree.
    pub(crate) is_bare: bool,
    git_dir: PathBuf,
    common_dir: PathBuf,
    owner: (u32, u32),
    /// How objects are named.
    pub(crate) format: Format,
    /// Names this repository among the mirrors of a home; the same for all of its linked working trees.
    pub(crate) key: String,
    /// What its configuration could start, overridden.
    guards: Vec<(String, String)>,
    is_case_blind: bool,
}

impl Repo {
    /// Opens the repository at or above `path`, which is absolute.
    ///
    /// # Errors
    /// There is none, or it lacks objects that it fetches when they are needed (a partial clone).
    pub(crate) async fn open(git: &Git, path: &Path) -> Result<Self, GitError> {
        let unusable = |why: String| GitError::Repo { path: path.to_owned(), why };
        let real = std::fs::canonicalize(path).map_err(|e| unusable(e.to_string()))?;
        let at = std::fs::metadata(&real).map_err(|e| unusable(e.to_string()))?;
        if !at.is_dir() {
            return Err(unusable("it is no directory".into()));
        }
        let owner = (at.uid(), at.gid());
        let ask = |args: &[&str]| {
            // It is the user who names it: who owns it is not held against them, and nothing of it is run.
            git.call("look at the repository", &real).user(Some(owner)).config("safe.directory", "*").args(args)
        };
        let mut facts = vec!["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"];
        facts.extend(["--is-bare-repository", "--show-object-format"]);
        let said = match ask(&facts).text().await {
            Err(GitError::Failed { complaint, .. }) => return Err(unusable(complaint)),
            other => other?,
        };
        let [git_dir, common_dir, bare, format] = said.split('\n').collect::<Vec<_>>()[..] else {
            return Err(unusable("its path has characters that cannot be worked with".into()));
        };
        let format = match format {
            "sha1" => Format::Sha1,
            "sha256" => Format::Sha256,
            other => return Err(unusable(format!("it names objects by {other}"))),
        };
        let (git_dir, common_dir, is_bare) = (PathBuf::from(git_dir), PathBuf::from(common_dir), bare == "true");
        let top = if is_bare { git_dir.clone() } else { PathBuf::from(ask(&["rev-parse", "--show-toplevel"]).text().await?) };
        let common = std::fs::metadata(&common_dir).map_err(|e| unusable(e.to_string()))?;
        let hash = Sha256::digest(format!("{}\0{}\0{}", common_dir.display(), common.dev(), common.ino()).as_bytes());
        let key = hash.iter().take(12).map(|b| format!("{b:02x}")).collect();
        let owner = (common.uid(), common.gid());
        let mut repo = Self {
            git: git.clone(),
            path: top,
            is_bare,
            git_dir,
            common_dir,
            owner,
            format,
            key,
            guards: Vec::new(),
            is_case_blind: false,
        };
        let config = repo.read_config().await?;
        let is_true = |key: &str| config.get(key).is_some_and(|value| matches!(value.as_str(), "" | "true" | "yes" | "on" | "1"));
        let is_promised = |(key, value): (&String, &String)| {
            key == "extensions.partialclone" || (key.starts_with("remote.") && key.ends_with(".promisor") && value == "true")
        };
        if config.iter().any(is_promised) {
            let why = "it is a partial clone, which fetches objects from its origin when they are needed; branch agents have no such \
                       connection. Fetch all of it first: git fetch --refetch --no-filter, then unset remote.origin.promisor";
            return Err(unusable(why.into()));
        }
        repo.is_case_blind = is_true("core.ignorecase");
        repo.guards = guards(config.keys());
        Ok(repo)
    }

    async fn read_config(&self) -> Result<BTreeMap<String, String>, GitError> {
        let call = self.call("read the repository's configuration").args(["config", "--list", "-z"]).max(CONFIG_BYTES_MAX);
        let out = call.run().await?;
        let entries = out.split(|b| *b == 0).filter(|entry| !entry.is_empty());
        let pairs = entries.map(|entry| {
            let text = String::from_utf8_lossy(entry);
            let (key, value) = text.split_once('\n').unwrap_or((&text, ""));
            (key.to_owned(), value.to_owned())
        });
        Ok(pairs.collect())
    }

    /// A call in this repository, in which nothing that it configures is started.
    pub(crate) fn call(&self, what: &'static str) -> Call {
        let mut call = self.git.call(what, &self.path).user(Some(self.owner)).option(prefixed("--git-dir=", &self.git_dir));
        if !self.is_bare {
            call = call.option(prefixed("--work-tree=", &self.path));
        }
        self.guards.iter().fold(call, |call, (key, value)| call.config(key, value))
    }

    /// The git that works in it.
    pub(crate) fn git_of(&self) -> &Git {
        &self.git
    }

    /// Whose it is: user and group.
    pub(crate) fn owner(&self) -> (u32, u32) {
        self.owner
    }

    /// Where its objects lie.
    pub(crate) fn objects(&self) -> PathBuf {
        self.common_dir.join("objects")
    }

    /// A file of its common directory.
    pub(crate) fn common(&self, name: &str) -> PathBuf {
        self.common_dir.join(name)
    }

    /// The commit that `name` stands for: a branch, a tag, digits, `HEAD~2`.
    ///
    /// # Errors
    /// [`GitError::NoCommit`].
    pub(crate) async fn commit(&self, name: &str) -> Result<Oid, GitError> {
        let none = || GitError::NoCommit(name.chars().filter(|c| !c.is_control()).take(200).collect());
        if name.is_empty() || name.starts_with('-') || name.contains('\0') {
            return Err(none());
        }
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")].map(str::to_owned);
        let answer = self.call("find a commit").args(args).answer().await?;
        let said = String::from_utf8_lossy(&answer.out).trim().to_owned();
        if answer.status == 0 { Oid::parse(&said).ok_or_else(none) } else { Err(none()) }
    }

    /// What one ref names, when there is such a ref.
    pub(crate) async fn at(&self, name: &str) -> Result<Option<Oid>, GitError> {
        match self.commit(name).await {
            Err(GitError::NoCommit(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The branch that is checked out here, without `refs/heads/`; `None` where none is.
    pub(crate) async fn head(&self) -> Result<Option<String>, GitError> {
        let answer = self.call("find the branch that is checked out").args(["symbolic-ref", "--quiet", "HEAD"]).answer().await?;
        let name = String::from_utf8_lossy(&answer.out).trim_end_matches('\n').to_owned();
        Ok((answer.status == 0).then(|| name.strip_prefix("refs/heads/").map(str::to_owned)).flatten())
    }

    /// Every branch that some working tree of this repository has checked out, with the tree's path.
    pub(crate) async fn checked_out(&self) -> Result<Vec<(String, PathBuf)>, GitError> {
        let out = self.call("list the working trees").args(["worktree", "list", "--porcelain", "-z"]).run().await?;
        let (mut found, mut path) = (Vec::new(), PathBuf::new());
        for line in out.split(|b| *b == 0) {
            let line = String::from_utf8_lossy(line);
            if let Some(at) = line.strip_prefix("worktree ") {
                path = PathBuf::from(at);
            } else if let Some(branch) = line.strip_prefix("branch refs/heads/") {
                found.push((branch.to_owned(), path.clone()));
            }
        }
        Ok(found)
    }

    /// All refs below `prefixes`, by name.
    pub(crate) async fn refs(&self, prefixes: &[&str]) -> Result<BTreeMap<String, Oid>, GitError> {
        let what = "list the branches";
        let call = self.call(what).args(["for-each-ref", "--format=%(objectname) %(refname)", "--"]).args(prefixes);
        let out = call.max(REFS_BYTES_MAX).run().await?;
        let mut refs = BTreeMap::new();
        for line in out.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            // A name that is no text cannot be spoken of; such a branch is not offered.
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let (oid, name) = line.split_once(' ').ok_or(GitError::Strange { what })?;
            refs.insert(name.to_owned(), Oid::parse(oid).ok_or(GitError::Strange { what })?);
            if refs.len() > REFS_MAX {
                let why = format!("it has more than {REFS_MAX} branches and tags");
                return Err(GitError::Repo { path: self.path.clone(), why });
            }
        }
        Ok(refs)
    }

    /// The user's name and address as this repository's own configuration has them.
    pub(crate) async fn user(&self) -> Result<Option<(String, String)>, GitError> {
        let config = self.read_config().await?;
        let get = |key: &str| config.get(key).filter(|value| !value.is_empty()).cloned();
        Ok(get("user.name").zip(get("user.email")))
    }

    /// A branch of this repository whose name differs only in the size of letters, where the file system does not tell
    /// them apart; or one that this name cannot stand beside.
    pub(crate) async fn clash(&self, branch: &str) -> Result<Option<String>, GitError> {
        let refs = self.refs(&["refs/heads/"]).await?;
        let names = refs.keys().filter_map(|name| name.strip_prefix("refs/heads/"));
        let folded = branch.to_lowercase();
        let below = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
        let clashes = |name: &&str| {
            let other = name.to_lowercase();
            let is_same = self.is_case_blind && *name != branch && (other == folded || below(&other, &folded) || below(&folded, &other));
            is_same || below(name, branch) || below(branch, name)
        };
        Ok(names.into_iter().find(clashes).map(str::to_owned))
    }

    /// Moves refs, all or none; each from its old value, `None` where it must not be there.
    ///
    /// # Errors
    /// [`GitError::Moved`] when one is elsewhere by now.
    pub(crate) async fn move_refs(&self, moves: &[RefMove<'_>], why: &str) -> Result<(), GitError> {
        let mut lines = String::from("start\n");
        for RefMove { name, to, from } in moves {
            let zero = to.zero();
            lines.push_str(&format!("update {name} {to} {}\n", from.as_ref().unwrap_or(&zero)));
        }
        lines.push_str("prepare\ncommit\n");
        let args = ["update-ref", "--no-deref", "-m", why, "--stdin"];
        match self.call("move a branch").args(args).input(lines).run().await {
            Ok(_) => Ok(()),
            Err(GitError::Failed { complaint, .. })
                if complaint.contains("but expected") || complaint.contains("reference already exists") =>
            {
                Err(GitError::Moved(moves.first().map_or_else(String::new, |m| m.name.to_owned())))
            }
            Err(other) => Err(other),
        }
    }

    /// Makes a working tree at a place where nothing is, with a branch or a commit.
    ///
    /// # Errors
    /// The branch is checked out elsewhere, or the place is taken.
    pub(crate) async fn add_worktree(&self, path: &Path, what: &str, is_detached: bool) -> Result<(), GitError> {
        let call = self.call("make a working tree").args(["worktree", "add", "--quiet"]).time(TREE_TIME);
        let call = if is_detached { call.arg("--detach") } else { call };
        call.arg("--").arg(path).arg(what).run().await.map(drop)
    }

    /// Removes a working tree that has nothing which no commit has, and forgets one that is gone.
    ///
    /// # Errors
    /// It has; or it is none of this repository.
    pub(crate) async fn remove_worktree(&self, path: &Path) -> Result<(), GitError> {
        self.call("remove a working tree").args(["worktree", "remove", "--"]).arg(path).time(TREE_TIME).run().await.map(drop)
    }

    /// Whether a working tree of this repository has nothing that no commit has. Not where that cannot be seen.
    pub(crate) async fn is_clean_worktree(&self, path: &Path) -> bool {
        let Ok(other) = Self::open(&self.git, path).await else { return false };
        let is_ours = other.common_dir == self.common_dir && other.path == path;
        let args = ["status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none"];
        let said = other.call("look at a working tree").args(args).time(TREE_TIME).run().await;
        // What was committed there without a branch is nowhere else either.
        let Ok(Some(head)) = other.at("HEAD").await else { return false };
        let args = ["for-each-ref", "--count=1", "--contains", head.as_str(), "refs/"];
        let kept = self.call("look for a commit").args(args).time(TREE_TIME).run().await;
        is_ours && said.is_ok_and(|said| said.is_empty()) && kept.is_ok_and(|kept| !kept.is_empty())
    }

    /// Removes a ref that is still at `from`.
    ///
    /// # Errors
    /// As [`Repo::move_refs`].
    pub(crate) async fn remove_ref(&self, name: &str, from: &Oid) -> Result<(), GitError> {
        let args = ["update-ref", "--no-deref", "-d", name, from.as_str()];
        match self.call("remove a branch").args(args).run().await {
            Ok(_) => Ok(()),
            Err(GitError::Failed { complaint, .. }) if complaint.contains("but expected") => Err(GitError::Moved(name.to_owned())),
            Err(other) => Err(other),
        }
    }
}

/// One ref that is to be moved.
#[derive(Debug)]
pub(crate) struct RefMove<'a> {
    /// Its full name.
    pub(crate) name: &'a str,
    /// Where to.
    pub(crate) to: Oid,
    /// Where it must be now.
    pub(crate) from: Option<Oid>,
}

/// Overrides for every key of a repository's configuration that could start a program.
fn guards<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<(String, String)> {
    let mut guards = Vec::new();
    for key in keys {
        let Some((section, last)) = key.split_once('.').zip(key.rsplit_once('.')).map(|((section, _), (_, last))| (section, last)) else {
            continue;
        };
        let value = match (section, last) {
            ("filter", "clean" | "smudge" | "process") | ("diff", "command" | "textconv") | ("merge", "driver") => "",
            ("filter", "required") => "false",
            ("diff", "external") => continue,
            ("hook", "enabled") => "false",
            ("hook", "command") | ("trailer", "command" | "cmd") => "/bin/true",
            ("gpg", "program") | ("credential", "helper") => continue,
            _ => continue,
        };
        guards.push((key.clone(), value.to_owned()));
        if section == "hook" {
            let name = key.rsplit_once('.').map_or("", |(name, _)| name);
            guards.push((format!("{name}.enabled"), "false".to_owned()));
        }
    }
    guards
}
