//! Beginning agents, and giving them further tasks.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use futures_util::StreamExt as _;
use model::{BranchId, Code, Failure, SessionId, check_branch_name};
use store::{BRANCH_REPOS_MAX, BranchRepo, BranchRow, NewBranch};

use super::forms::{AlsoRepo, BranchHistory, NotSpawned, OWN_ENGINE_DIR, Options, ResumeForm, SpawnForm, Spawned, SpawnedOne};
use super::kinds::Kinds;
use super::part::BranchPart;
use super::{BranchesOf, kinds};
use crate::git::{Beside, BesideOrder, Carried, CloneOrder, History, Mirror, Oid, Repo, Seat, Shop};
use crate::{MessageForm, MountForm, SessionForm};

/// Agents that one request may begin.
const AGENTS_MAX: usize = 32;
/// Agents of one request whose clones are made at once.
const AT_ONCE: usize = 8;
/// The longest check command, in bytes.
const CHECK_BYTES_MAX: usize = 8 << 10;
/// Files that one request may name to be carried in.
const FILES_MAX: usize = 1000;
/// Directories of a sparse checkout.
const SPARSE_MAX: usize = 200;
/// The longest path of one, in bytes.
const SPARSE_BYTES_MAX: usize = 500;
/// The longest name of a repository beside the first one, in bytes.
const REPO_NAME_BYTES_MAX: usize = 100;
/// Who commits are by where nobody says.
const NOBODY: (&str, &str) = ("Lazaret", "agent@localhost");
/// What an agent is asked that is to go on and told no more.
const GO_ON: &str = "Go on with your task from where you stopped.";

/// What the user should know of one agent.
#[derive(Default)]
struct Said {
    is_fallback: bool,
    notes: Vec<String>,
}

/// What all agents of one request have in common.
struct Order<'a> {
    form: &'a SpawnForm,
    kinds: &'a Kinds,
    shop: Shop,
    repo: Repo,
    mirror: Mirror,
    author: (String, String),
    batch: Option<String>,
    key: String,
    /// Branches of the repository that have an agent.
    taken: Vec<String>,
    /// The repositories beside it.
    also: Vec<Also>,
}

/// A repository beside the first one.
struct Also {
    name: String,
    repo: Repo,
    mirror: Mirror,
    /// Branches of it that have an agent.
    taken: Vec<String>,
}

impl Order<'_> {
    /// The repositories beside the first one, as paths.
    fn places(&self) -> Result<Vec<(String, String)>, Failure> {
        self.also.iter().map(|other| Ok((other.name.clone(), place_of(&other.repo)?))).collect()
    }
}

impl BranchesOf<'_> {
    /// Begins agents, each on a branch of its own; one that is there already gets a further task. When this returns, their turns are
    /// durable. The same key is the same request.
    ///
    /// # Errors
    /// The form is wrong, the repository, commit, engine, model, agent or key is missing, or a branch is in the way. Of several it
    /// is one only when none could begin: else the answer says which did not, and the others go on.
    pub async fn spawn(&self, form: SpawnForm, fds: Vec<OwnedFd>, key: Option<String>) -> Result<Spawned, Failure> {
        let inferred = form.kind.is_none();
        let kinds = Kinds::of(self.app.home(), &form.types)?;
        let kind = match &form.kind {
            Some(kind) => kinds.named(kind)?.name.as_str(),
            None => kinds.inferred(&form.branch, &form.task),
        };
        let branches = check(&form)?;
        if !fds.is_empty() && fds.len() != form.also.len() + 1 {
            return Err(Failure::new(Code::Usage, "each repository has one descriptor").field("ticket"));
        }
        let mut fds = fds.into_iter();
        let (shop, repo) = self.open_repo(&form.repo, fds.next().as_ref()).await?;
        let mut also: Vec<Also> = Vec::with_capacity(form.also.len());
        for AlsoRepo { name, repo: path } in &form.also {
            let (_, other) = self.open_repo(path, fds.next().as_ref()).await?;
            if std::iter::once(&repo).chain(also.iter().map(|known| &known.repo)).any(|known| known.key == other.key) {
                return Err(Failure::new(Code::Usage, format!("the repository {} is named twice", path.display())).field("also"));
            }
            let (taken, mirror) = (self.taken(&other).await?, shop.mirror(&other).await.map_err(|e| e.failure())?);
            also.push(Also { name: name.clone(), repo: other, mirror, taken });
        }
        let mirror = shop.mirror(&repo).await.map_err(|e| e.failure())?;
        let order = Order {
            author: self.author(&form, &repo).await?,
            batch: form.n.is_some().then(|| form.branch.clone()),
            taken: self.taken(&repo).await?,
            also,
            form: &form,
            kinds: &kinds,
            shop,
            repo,
            mirror,
            key: key.unwrap_or_else(|| format!("{:032x}", crate::clock::fresh_bits())),
        };
        let mut spawned = Spawned { items: Vec::new(), failed: Vec::new(), inferred, is_fallback: false, notes: Vec::new() };
        let mut each = Vec::with_capacity(branches.len());
        for (n, branch) in branches.iter().enumerate() {
            each.push(self.spawn_one(&order, branch, kind, n));
        }
        let mut begun = futures_util::stream::iter(each).buffered(AT_ONCE);
        let mut first = None;
        let mut names = branches.iter();
        while let Some(one) = begun.next().await {
            let branch = names.next().cloned().unwrap_or_default();
            let (one, said) = match one {
                Ok(one) => one,
                // One that cannot begin takes none of the others along.
                Err(failure) => {
                    spawned.failed.push(NotSpawned { branch, code: failure.code, message: failure.message.clone() });
                    first.get_or_insert(failure);
                    continue;
                }
            };
            spawned.items.push(one);
            spawned.is_fallback |= said.is_fallback;
            spawned.notes.extend(said.notes);
        }
        spawned.notes.dedup();
        match first {
            Some(failure) if spawned.items.is_empty() => Err(failure),
            _ => Ok(spawned),
        }
    }

    /// The branches of a repository that have an agent.
    async fn taken(&self, repo: &Repo) -> Result<Vec<String>, Failure> {
        self.app.store().branches_taken(self.caller.makes_for(), &place_of(repo)?).await.map_err(|e| e.failure())
    }

    /// Asks an agent for a further turn.
    ///
    /// # Errors
    /// There is none of this identity, or the text is malformed.
    pub async fn resume(&self, id: &str, form: ResumeForm, key: Option<String>) -> Result<SpawnedOne, Failure> {
        let row = self.row(id).await?;
        let text = form.text.as_deref().unwrap_or(GO_ON);
        let turn = self.ask(&row, kinds::further(&row.name, text), key).await?;
        let row = self.app.store().branch(&row.id).await.map_err(|e| e.failure())?;
        Ok(SpawnedOne { agent: self.app.branch_view(row).await?, turn, is_new: false })
    }

    pub(super) async fn ask(&self, row: &BranchRow, text: String, key: Option<String>) -> Result<model::TurnId, Failure> {
        let form = MessageForm { text, ..MessageForm::default() };
        self.app.sessions_of(&self.caller).message(row.session.as_str(), form, key).await
    }

    /// Whose name commits carry: that of the configuration, of the form, of the repository, or nobody's.
    async fn author(&self, form: &SpawnForm, repo: &Repo) -> Result<(String, String), Failure> {
        let configured = self.app.settings().branches.author.clone();
        if let Some(author) = configured {
            return Ok((author.name, author.email));
        }
        let plain = |text: &str| !text.trim().is_empty() && text.len() <= 200 && !text.chars().any(|c| c.is_control() || "<>".contains(c));
        if let Some(author) = &form.author {
            if !plain(&author.name) || !plain(&author.email) {
                return Err(Failure::new(Code::Usage, "the author's name and address are plain text").field("author"));
            }
            return Ok((author.name.clone(), author.email.clone()));
        }
        let own = repo.user().await.map_err(|e| e.failure())?;
        Ok(own.filter(|(name, email)| plain(name) && plain(email)).unwrap_or_else(|| (NOBODY.0.to_owned(), NOBODY.1.to_owned())))
    }

    /// The repository, opened for this caller.
    async fn open_repo(&self, path: &Path, fd: Option<&OwnedFd>) -> Result<(Shop, Repo), Failure> {
        let real = self.repo_path(path, fd)?;
        let shop = self.app.shop().await.map_err(|e| e.failure())?;
        let repo = shop.open(&real).await.map_err(|e| e.failure())?;
        if fd.is_none() && repo.path != real {
            // What lies above was not looked at.
            self.app.listed_repo(&repo.path)?;
        }
        Ok((shop, repo))
    }

    /// Where the repository is: the directory that the caller opened, or one that the configuration lists.
    fn repo_path(&self, path: &Path, fd: Option<&OwnedFd>) -> Result<PathBuf, Failure> {
        let unusable = |why: String| Failure::new(Code::PathUnusable, format!("the repository cannot be used: {why}")).field("repo");
        let Some(fd) = fd else {
            // What is listed there is for jobs to read; here branches of it are moved.
            if self.caller.tenant.is_some() {
                return Err(Failure::new(Code::Forbidden, "only the owner begins agents on repositories of this machine").field("repo"));
            }
            return self.app.listed_repo(path);
        };
        let seen = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|e| unusable(e.to_string()))?;
        if seen != path {
            return Err(unusable("its directory was moved, or its path has links in it".to_owned()));
        }
        if let Some(why) = crate::refused_place(&seen, self.app.home()) {
            return Err(unusable(why));
        }
        Ok(seen)
    }

    async fn spawn_one(&self, order: &Order<'_>, branch: &str, kind: &str, n: usize) -> Result<(SpawnedOne, Said), Failure> {
        let mut said = Said::default();
        let key = format!("{}:{n}", order.key);
        let place = place_of(&order.repo)?;
        let found = self.app.store().branch_named(self.caller.makes_for(), &place, branch).await.map_err(|e| e.failure())?;
        let (row, is_new) = match found {
            Some(row) => {
                let options: Options = serde_json::from_value(row.options.clone()).unwrap_or_default();
                // Asked before, and perhaps not answered: the same agent, whatever has become of its turn.
                let is_again = options.key.as_deref() == Some(&key);
                if !is_again {
                    same_engine(order.form, &row, &options)?;
                    same_repos(order, &row)?;
                }
                (row, is_again)
            }
            None => (self.make(order, branch, kind, &key, &mut said).await?, true),
        };
        let task = &order.form.task;
        let text =
            if is_new || row.turns == 0 { order.kinds.prompt(&row.kind, branch, &seats(&row), task) } else { kinds::further(branch, task) };
        let turn = self.ask(&row, text, Some(key)).await?;
        model::crash::point("branch:asked");
        let row = self.app.store().branch(&row.id).await.map_err(|e| e.failure())?;
        Ok((SpawnedOne { agent: self.app.branch_view(row).await?, turn, is_new }, said))
    }

    /// Makes an agent: its clone, then its row and session at once.
    async fn make(&self, order: &Order<'_>, branch: &str, kind: &str, key: &str, said: &mut Said) -> Result<BranchRow, Failure> {
        let Order { form, shop, repo, mirror, .. } = order;
        self.app.admit(&self.caller, store::Claim::Session).await?;
        beside(branch, &order.taken)?;
        let (commit, target) = begin_at(repo, form.from.as_deref(), branch).await?;
        let mut begun = Vec::with_capacity(order.also.len());
        for other in &order.also {
            beside(branch, &other.taken)?;
            begun.push(begin_at(&other.repo, None, branch).await?);
        }
        let id = BranchId::from_bits(crate::clock::fresh_bits());
        let session = SessionId::from_bits(crate::clock::fresh_bits());
        let tree = self.app.grow_tree();
        let asked = session_form(order, branch, &id);
        // Everything that can be refused is, before files are made.
        let (session, is_fallback) = self.app.sessions_of(&self.caller).branch_session(asked, &session, tree.id().clone()).await?;
        said.is_fallback |= is_fallback;
        let carried = self.carried(repo, form, &form.files, said).await?;
        let mut clones = Vec::with_capacity(order.also.len());
        for (other, (commit, target)) in order.also.iter().zip(&begun) {
            let of = Beside { name: &other.name, repo: &other.repo, mirror: &other.mirror, commit };
            clones.push(BesideOrder { of, upstream: target.as_deref(), carried: self.carried(&other.repo, form, &[], said).await? });
        }
        let trailer = self.app.settings().branches.trailer.clone().map(|trailer| format!("{trailer}: {} <{}>", session.engine, NOBODY.1));
        let clone = CloneOrder {
            repo,
            mirror,
            branch,
            commit: &commit,
            upstream: target.as_deref(),
            sparse: &form.sparse,
            history: match form.history {
                BranchHistory::All => History::All,
                BranchHistory::Branch => History::Branch,
            },
            author: (&order.author.0, &order.author.1),
            trailer: trailer.as_deref(),
            carried,
            disk_bytes: disk_of(&session),
            beside: clones,
        };
        said.notes.extend(shop.clone_into(clone, tree.id()).await.map_err(|e| e.failure())?);
        model::crash::point("branch:cloned");
        let options = Options {
            history: form.history,
            check: form.check.clone(),
            author: form.author.clone(),
            key: Some(key.to_owned()),
            engine_dir: form.engine_dir.clone(),
            worktrees: Vec::new(),
        };
        let new = NewBranch {
            id,
            session,
            repo: place_of(repo)?,
            name: branch.to_owned(),
            kind: kind.to_owned(),
            base: commit.to_string(),
            target,
            task: form.task.clone(),
            batch: order.batch.clone(),
            options: serde_json::to_value(options).map_err(|e| Failure::new(Code::Internal, e.to_string()))?,
            also: order
                .places()?
                .into_iter()
                .zip(begun)
                .map(|((name, repo), (base, target))| also_row(name, repo, &base, target))
                .collect(),
        };
        // Before the row: a daemon that dies in between leaves a directory that is swept, not a session without one.
        let dir = self.app.session_dir(&new.session.id);
        crate::sessions::make_dir(&dir)?;
        let made = self.app.store().create_branch(new).await.map_err(|e| e.failure());
        drop(tree);
        if made.is_err() {
            let _ = std::fs::remove_dir(&dir);
        }
        let row = made?;
        self.app.branch_news(&row.session);
        model::crash::point("branch:made");
        Ok(row)
    }
}

impl BranchesOf<'_> {
    /// What a repository's user has not committed, where that is to be carried in.
    async fn carried(&self, repo: &Repo, form: &SpawnForm, files: &[String], said: &mut Said) -> Result<Option<Carried>, Failure> {
        if !form.carry && files.is_empty() {
            return Ok(None);
        }
        let carried = crate::git::carry(repo, &self.app.mirrors(), form.carry, files).await.map_err(|e| e.failure())?;
        let left_out = carried.left_out.iter();
        said.notes.extend(left_out.map(|name| format!("{name} looks like a credential and was left out; name it with --file")));
        Ok(Some(carried))
    }
}

fn also_row(name: String, repo: String, base: &Oid, target: Option<String>) -> BranchRepo {
    BranchRepo { name, repo, base: base.to_string(), target, ..BranchRepo::default() }
}

/// Where the clones beside the first one lie inside.
fn seats(row: &BranchRow) -> Vec<String> {
    row.also.iter().map(|other| Seat::Beside(&other.name).inside()).collect()
}

/// What the tree of a session may hold.
fn disk_of(session: &store::NewSession) -> u64 {
    session.spec.pointer("/limits/disk_bytes").and_then(serde_json::Value::as_u64).unwrap_or_else(|| model::Limits::default().disk_bytes)
}

/// The branches that a form asks for; what is wrong with it otherwise.
fn check(form: &SpawnForm) -> Result<Vec<String>, Failure> {
    let wrong = |field: &str, why: String| Failure::new(Code::Usage, why).field(field);
    if form.task.trim().is_empty() || form.task.contains('\0') {
        return Err(Failure::new(Code::PromptInvalid, "the task is empty or holds a NUL").field("task"));
    }
    let branches = match form.n {
        None => vec![form.branch.clone()],
        Some(n) if (1..=AGENTS_MAX).contains(&n) => (1..=n).map(|n| format!("{}-{n}", form.branch)).collect(),
        Some(_) => return Err(wrong("n", format!("one request begins 1 to {AGENTS_MAX} agents"))),
    };
    for branch in &branches {
        check_branch_name(branch).map_err(|e| wrong("branch", e.to_string()))?;
    }
    if form.check.as_ref().is_some_and(|check| check.trim().is_empty() || check.len() > CHECK_BYTES_MAX || check.contains('\0')) {
        return Err(wrong("check", format!("a check command has 1 to {CHECK_BYTES_MAX} bytes and no NUL")));
    }
    check_sparse(&form.sparse)?;
    check_also(&form.also)?;
    if form.files.len() > FILES_MAX {
        return Err(wrong("files", format!("at most {FILES_MAX} files are named")));
    }
    Ok(branches)
}

/// Directories that are checked out: plain paths below the top, as git can read them from lines.
fn check_sparse(sparse: &[String]) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, why).field("sparse");
    if sparse.len() > SPARSE_MAX {
        return Err(wrong(format!("at most {SPARSE_MAX} directories are named")));
    }
    for path in sparse {
        let parts = Path::new(path).components();
        let is_below = !path.is_empty() && parts.clone().all(|part| matches!(part, Component::Normal(name) if name != ".git"));
        if !is_below || path.len() > SPARSE_BYTES_MAX || path.chars().any(|c| c.is_control() || "\"\\*?[]!#".contains(c)) {
            return Err(wrong(format!("`{}` is no directory of a repository, by a plain path", path.escape_debug())));
        }
    }
    Ok(())
}

/// The session of an agent, as it is asked for.
fn session_form(order: &Order<'_>, branch: &str, id: &BranchId) -> SessionForm {
    let Order { form, shop, mirror, .. } = order;
    let binds = match form.history {
        BranchHistory::All => std::iter::once(mirror).chain(order.also.iter().map(|other| &other.mirror)).map(|m| shop.show(m)).collect(),
        BranchHistory::Branch => Vec::new(),
    };
    SessionForm {
        agent: form.agent.clone(),
        engine: form.engine.clone(),
        program: form.program.clone(),
        mounts: form.engine_dir.iter().map(|dir| engine_mount(dir)).collect(),
        model: form.model.clone(),
        title: Some(branch.to_owned()),
        labels: form.labels.clone(),
        priority: form.priority,
        limits: form.limits,
        workdir: Some("/workspace".to_owned()),
        egress: form.egress.clone(),
        secrets: form.secrets.clone(),
        budget: form.budget,
        branch: Some(BranchPart {
            id: id.clone(),
            binds,
            commit: form.commit,
            beside: order.also.iter().map(|other| other.name.clone()).collect(),
        }),
        ..SessionForm::default()
    }
}

/// The directory of a program that the owner brought. The daemon opens it by its path for each sandbox: an agent goes on when whoever
/// began it is gone.
fn engine_mount(dir: &Path) -> MountForm {
    let name = OWN_ENGINE_DIR.rsplit('/').next().unwrap_or(OWN_ENGINE_DIR).to_owned();
    MountForm { host: dir.to_owned(), name, read_only: true, by_owner: true }
}

/// Repositories beside the first one: few, and each by a name that is a directory's and no more.
fn check_also(also: &[AlsoRepo]) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, why).field("also");
    if also.len() >= BRANCH_REPOS_MAX {
        return Err(wrong(format!("an agent works on at most {BRANCH_REPOS_MAX} repositories")));
    }
    for (n, AlsoRepo { name, .. }) in also.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > REPO_NAME_BYTES_MAX || name.starts_with(['.', '-']) || !name.chars().all(is_plain) {
            return Err(wrong(format!(
                "`{}` is no name of a repository: 1 to {REPO_NAME_BYTES_MAX} letters, digits and `-_.`, the first one a letter, digit or `_`",
                name.escape_debug()
            ))
            .hint("name it yourself: --repo NAME=DIR"));
        }
        // Some file systems do not tell small letters from capital ones.
        if also[..n].iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
            return Err(wrong(format!("two repositories are called `{name}`")).hint("name one yourself: --repo NAME=DIR"));
        }
    }
    Ok(())
}

/// An agent keeps its repositories. None are named where they are the same.
fn same_repos(order: &Order<'_>, row: &BranchRow) -> Result<(), Failure> {
    let known = row.also.iter().map(|other| (other.name.clone(), other.repo.clone()));
    if order.also.is_empty() || order.places()?.into_iter().eq(known) {
        return Ok(());
    }
    Err(Failure::new(Code::Conflict, "the agent on this branch works on other repositories")
        .hint("name the first one alone, or take another branch")
        .field("also"))
}

/// An agent keeps its engine and model.
fn same_engine(form: &SpawnForm, row: &BranchRow, options: &Options) -> Result<(), Failure> {
    let is_other = form.engine.as_deref().is_some_and(|asked| asked != row.engine);
    if is_other || form.engine_dir.is_some() && form.engine_dir != options.engine_dir {
        let place = options.engine_dir.as_ref().map(|dir| format!(" of {}", dir.display())).unwrap_or_default();
        return Err(Failure::new(Code::Conflict, format!("the agent on this branch works with {}{place}", row.engine))
            .hint("leave out the engine, or take another branch")
            .field("engine"));
    }
    Ok(())
}

/// Git keeps a branch as a file in a directory: `a` and `a/b` cannot both be.
fn beside(branch: &str, taken: &[String]) -> Result<(), Failure> {
    let below = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    match taken.iter().find(|other| *other == branch || below(branch, other) || below(other, branch)) {
        Some(other) if other == branch => {
            Err(Failure::new(Code::Conflict, format!("an agent works on the branch `{other}` of this repository, beside another one"))
                .hint("take another name, or name the repository that it was spawned in")
                .field("branch"))
        }
        Some(other) => {
            Err(Failure::new(Code::Conflict, format!("an agent works on the branch `{other}`, beside which git has no `{branch}`"))
                .hint("take another name")
                .field("branch"))
        }
        None => Ok(()),
    }
}

/// The commit that a branch begins at, and the branch that it is from.
async fn begin_at(repo: &Repo, from: Option<&str>, branch: &str) -> Result<(Oid, Option<String>), Failure> {
    let ask = |e: crate::git::GitError| e.failure();
    if let Some(other) = repo.clash(branch).await.map_err(ask)? {
        return Err(Failure::new(Code::Conflict, format!("the repository has a branch `{other}`, beside which it can have no `{branch}`"))
            .hint("take another name")
            .field("branch"));
    }
    let there = repo.at(&format!("refs/heads/{branch}")).await.map_err(ask)?;
    let head = repo.head().await.map_err(ask)?;
    match (from, there) {
        (None, Some(there)) => Ok((there, head.filter(|head| head != branch))),
        (None, None) => Ok((repo.commit("HEAD").await.map_err(|e| empty(e, repo))?, head)),
        (Some(from), there) => {
            let commit = repo.commit(from).await.map_err(|e| e.failure().field("from"))?;
            if there.is_some_and(|there| there != commit) {
                return Err(Failure::new(
                    Code::Conflict,
                    format!("the branch `{branch}` is there already, at another commit than `{from}`"),
                )
                .hint("leave out --from to go on from there, or take another name")
                .field("from"));
            }
            let is_branch = repo.at(&format!("refs/heads/{from}")).await.map_err(ask)?.is_some();
            Ok((commit, if is_branch { Some(from.to_owned()) } else { head }.filter(|target| target != branch)))
        }
    }
}

fn empty(error: crate::git::GitError, repo: &Repo) -> Failure {
    match error {
        crate::git::GitError::NoCommit(_) => {
            Failure::new(Code::PathUnusable, format!("the repository {} has no commit yet", repo.path.display()))
                .hint("make a first commit, then spawn")
                .field("repo")
        }
        other => other.failure(),
    }
}

/// The path under which a repository is known.
pub(super) fn place_of(repo: &Repo) -> Result<String, Failure> {
    let text = repo.path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::new(Code::PathUnusable, "the repository's path is not UTF-8").field("repo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(branch: &str, task: &str, n: Option<usize>) -> SpawnForm {
        SpawnForm { branch: branch.to_owned(), task: task.to_owned(), n, ..SpawnForm::default() }
    }

    #[test]
    fn forms_are_checked() {
        assert_eq!(check(&form("a/b", "x", None)).ok(), Some(vec!["a/b".to_owned()]));
        assert_eq!(check(&form("a", "x", Some(2))).ok(), Some(vec!["a-1".to_owned(), "a-2".to_owned()]));
        for bad in [form("", "x", None), form("-a", "x", None), form("a", " \n", None), form("a", "x", Some(0)), form("a", "x", Some(33))] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn repositories_beside_the_first_have_names_of_directories() {
        let of = |names: &[&str]| {
            let also: Vec<AlsoRepo> = names.iter().map(|name| AlsoRepo { name: (*name).to_owned(), repo: "/srv".into() }).collect();
            check_also(&also).is_ok()
        };
        assert!(of(&[]) && of(&["lib", "my_lib-2.0"]));
        for bad in ["", ".", "..", ".git", "a/b", "a b", "$(x)", "-x", "ü", "a\n"] {
            assert!(!of(&[bad]), "{bad:?}");
        }
        assert!(!of(&["lib", "LIB"]) && !of(&["a", "b", "c", "d", "e", "f", "g", "h"]));
    }

    #[test]
    fn branches_that_cannot_both_be_are_refused() {
        let taken = ["feat/x".to_owned(), "feat-a".to_owned()];
        assert!(beside("feat/x", &taken).is_err() && beside("feat", &taken).is_err() && beside("feat/x/y", &taken).is_err());
        assert!(beside("feat/xy", &taken).is_ok() && beside("feat-a_b", &taken).is_ok() && beside("feat/y", &taken).is_ok());
    }
}
