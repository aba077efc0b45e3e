//! An agent's branch comes home: out of its clone as bytes, through a quarantine, into the user's repository.
//!
//! Every step may be repeated: a kill anywhere leaves objects that nothing names, never a branch without its objects.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::TreeId;

use super::Shop;
use super::error::GitError;
use super::inspect::{Found, inspect};
use super::mirror::{Mirror, remove, tempfile_in};
use super::repo::{Oid, RefMove, Repo};
use super::room::{GONE, Given, Room, Script, Seat, Taken};

/// The most bytes that come home at once.
pub(crate) const PACK_BYTES_MAX: u64 = 2 << 30;
/// The most objects that come home at once.
pub(crate) const OBJECTS_MAX: u32 = 2_000_000;
/// How long packing inside may take.
const PACK_TIME: Duration = Duration::from_secs(600);
/// How long checking may take.
const CHECK_TIME: Duration = Duration::from_secs(600);
/// Fewer objects than this come as files of their own, as `git fetch` does it.
const UNPACK_OBJECTS: u32 = 100;
/// What the name of a quarantine ends with.
pub(crate) const QUARANTINE: &str = "quarantine";
/// Where a branch stands that the user has moved meanwhile, or has checked out.
pub(crate) const ASIDE: &str = "refs/lazaret/";

/// What the checker of objects refuses beyond what it always does.
const STRICT: &str = "--strict=hasDot=error,hasDotdot=error,hasDotgit=error,fullPathname=error,emptyName=error,nullSha1=error,\
                      badFilemode=error,zeroPaddedFilemode=error,gitmodulesSymlink=error,gitattributesSymlink=error,\
                      gitignoreSymlink=error,mailmapSymlink=error";

/// Prints where the branch is, then what it reaches beyond what is known, as a pack.
pub(super) const PACK: &str = r#"
tip=$(git rev-parse --verify --quiet "refs/heads/$1^{commit}") || exit 44
printf '%s\n' "$tip"
{
    printf '%s\n' "$tip"
    while read -r have; do
        if git cat-file -e "$have" 2>/dev/null; then printf '^%s\n' "$have"; fi
    done
} | git pack-objects --revs --stdout --thin --delta-base-offset --no-reuse-object --threads=1 -q
"#;

/// Prints how many files are changed, and how many are new, in the working directory.
pub(super) const DIRT: &str = r#"
git status --porcelain=v1 --untracked-files=all --ignore-submodules=none | awk '
    /^\?\?/ { fresh++; next } { changed++ } END { printf "%d %d\n", changed, fresh }'
"#;

/// A branch that is to come home.
#[derive(Debug)]
pub(crate) struct HomeOrder<'a> {
    /// Where to.
    pub(crate) repo: &'a Repo,
    /// Its mirror.
    pub(crate) mirror: &'a Mirror,
    /// The tree with the clone: the session's, or better a checkpoint of it.
    pub(crate) tree: &'a TreeId,
    /// Where the clone lies in it.
    pub(crate) seat: Seat<'a>,
    /// The branch, in the clone and at home.
    pub(crate) branch: &'a str,
    /// The commit that the agent began from.
    pub(crate) base: &'a Oid,
    /// Where it stood when it came home last.
    pub(crate) last: Option<&'a Oid>,
}

/// How a branch came home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CameHome {
    /// Where the branch is in the clone, and now at home.
    pub(crate) tip: Oid,
    /// The ref that was moved: `refs/heads/B`, or `refs/lazaret/B`.
    pub(crate) name: String,
    /// Why it is not the branch itself.
    pub(crate) aside: Option<String>,
    /// Commits beyond the base.
    pub(crate) commits: u64,
    /// What deserves a second look.
    pub(crate) found: Found,
}

/// Work in a clone that no commit has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dirt {
    /// Files that are changed or removed.
    pub(crate) changed: u64,
    /// Files that git does not know.
    pub(crate) untracked: u64,
}

impl Shop {
    /// Brings a branch home. `None` where the clone has no such branch.
    ///
    /// # Errors
    /// [`GitError::Refused`] for what an agent must not hand over; nothing of the user's has changed then.
    pub(crate) async fn bring_home(&self, order: HomeOrder<'_>) -> Result<Option<CameHome>, GitError> {
        model::check_branch_name(order.branch)?;
        let Some((tip, pack)) = self.fetch_pack(&order).await? else { return Ok(None) };
        model::crash::point("branch:packed");
        let found = receive(order.mirror, order.base, &tip, pack).await?;
        model::crash::point("branch:received");
        let Settled { name, aside, commits } = settle(order.repo, order.mirror, order.branch, order.base, &tip).await?;
        Ok(Some(CameHome { tip, name, aside, commits, found }))
    }

    /// What the clone has beyond its commits.
    pub(crate) async fn dirt(&self, mirror: &Mirror, tree: &TreeId, seat: Seat<'_>) -> Result<Dirt, GitError> {
        let what = "look for what is not committed";
        let room = Room::reading(self.sandboxes(), tree, &[self.show(mirror)]).await?;
        let script = Script { what, text: DIRT, args: &[], given: Given::Nothing, time: CHECK_TIME };
        let mut out = Vec::new();
        let done = room.run(seat, script, Taken::Bytes(&mut out, 4 << 10)).await;
        room.close().await;
        done?;
        let text = String::from_utf8_lossy(&out);
        let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().ok());
        let (changed, untracked) = (numbers.next().flatten(), numbers.next().flatten());
        changed.zip(untracked).map(|(changed, untracked)| Dirt { changed, untracked }).ok_or(GitError::Strange { what })
    }

    /// The branch's commit and a pack, out of the clone: hostile bytes.
    async fn fetch_pack(&self, order: &HomeOrder<'_>) -> Result<Option<(Oid, File)>, GitError> {
        let what = "pack the agent's branch";
        let room = Room::reading(self.sandboxes(), order.tree, &[self.show(order.mirror)]).await?;
        let have: String = [Some(order.base), order.last].into_iter().flatten().map(|oid| format!("{oid}\n")).collect();
        let mut file = tempfile_in(self.mirrors()).map_err(GitError::io("hold a pack"))?;
        let given = Given::Bytes(have.into_bytes());
        let script = Script { what, text: PACK, args: &[order.branch], given, time: PACK_TIME };
        let done = room.run(order.seat, script, Taken::File(&mut file, PACK_BYTES_MAX)).await;
        room.close().await;
        if done? == GONE {
            return Ok(None);
        }
        file.rewind().map_err(GitError::io("read a pack"))?;
        let mut line = vec![0; order.base.as_str().len() + 1];
        let refused = || GitError::Refused("what came out of the clone names no commit".into());
        file.read_exact(&mut line).map_err(|_| refused())?;
        let tip = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix('\n')).and_then(Oid::parse).ok_or_else(refused)?;
        Ok(Some((tip, file)))
    }
}

/// Takes a pack of an agent into the mirror, through a quarantine. `pack` stands at the pack's first byte.
///
/// # Errors
/// [`GitError::Refused`] when its form, its size or what is in it is not taken.
pub(crate) async fn receive(mirror: &Mirror, base: &Oid, tip: &Oid, mut pack: File) -> Result<Found, GitError> {
    let (count, rest) = pack_head(&mut pack)?;
    let quarantine = Quarantine::make(mirror).await?;
    if count > 0 {
        let call = quarantine.call("check the objects of the agent's branch");
        let args = ["index-pack", "--stdin", "--fix-thin", STRICT, &format!("--max-input-size={PACK_BYTES_MAX}")].map(str::to_owned);
        let call = call.args(args).input_file(rest).time(CHECK_TIME).file_max(PACK_BYTES_MAX * 2);
        match call.run().await {
            Err(GitError::Failed { complaint, .. }) => return Err(GitError::Refused(complaint)),
            other => drop(other?),
        }
    }
    let found = inspect(&quarantine, base, tip).await?;
    model::crash::point("branch:checked");
    let (from, to) = (quarantine.objects().join("pack"), mirror.objects().join("pack"));
    super::mirror::blocking(move || super::mirror::link_packs(&from, &to, &mut (1 << 10))).await?;
    quarantine.close();
    Ok(found)
}

/// How many objects a pack says that it has, and the pack from its first byte in a file of its own offset.
fn pack_head(pack: &mut File) -> Result<(u32, File), GitError> {
    let start = pack.stream_position().map_err(GitError::io("read a pack"))?;
    let mut head = [0u8; 12];
    let refused = |why: &str| GitError::Refused(why.into());
    pack.read_exact(&mut head).map_err(|_| refused("what came out of the clone is no pack"))?;
    if head[..4] != *b"PACK" {
        return Err(refused("what came out of the clone is no pack"));
    }
    let count = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    if count > OBJECTS_MAX {
        return Err(refused(&format!("it has {count} objects; {OBJECTS_MAX} are taken")));
    }
    pack.seek(std::io::SeekFrom::Start(start)).map_err(GitError::io("read a pack"))?;
    let rest = pack.try_clone().map_err(GitError::io("read a pack"))?;
    Ok((count, rest))
}

/// A repository of its own for objects that are not trusted yet; it can see the mirror's.
#[derive(Debug)]
pub(crate) struct Quarantine {
    git: super::run::Git,
    dir: PathBuf,
}

impl Quarantine {
    async fn make(mirror: &Mirror) -> Result<Self, GitError> {
        let parent = mirror.dir().parent().unwrap_or_else(|| mirror.dir());
        let dir = parent.join(format!("{}.{:032x}.{QUARANTINE}", mirror.key, crate::clock::fresh_bits()));
        let git = mirror.git_of().clone();
        let format = format!("--object-format={}", mirror.format.as_str());
        let made = Self { git, dir };
        let call = made.git.call("make a quarantine", parent).args(["init", "--quiet", "--bare", "--initial-branch=none", &format, "--"]);
        call.arg(&made.dir).run().await?;
        let set_up = || {
            fs::write(made.dir.join("objects/info/alternates"), format!("{}\n", mirror.objects().display()))?;
            mirror.shallow.as_ref().map_or(Ok(()), |shallow| fs::write(made.dir.join("shallow"), shallow))
        };
        set_up().map_err(GitError::io("make a quarantine"))?;
        // The mirror's modes: what is taken over is read by sandboxes.
        made.call("make a quarantine").args(["config", "core.sharedRepository", "0644"]).run().await?;
        Ok(made)
    }

    /// A call in the quarantine.
    pub(crate) fn call(&self, what: &'static str) -> super::run::Call {
        self.git.in_bare(what, &self.dir)
    }

    fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    fn close(self) {}
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        // The next start removes what cannot be removed now.
        let _ = remove(&self.dir);
    }
}

/// Removes what an earlier process left half done among the mirrors.
pub(crate) fn sweep(mirrors: &Path) {
    for entry in fs::read_dir(mirrors).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_left = name.ends_with(QUARANTINE) || name.ends_with(".new") || name.starts_with("held-");
        if is_left && let Err(error) = remove(&entry.path()).or_else(|_| fs::remove_file(entry.path())) {
            tracing::warn!(%name, %error, "what was left of a repository was not removed");
        }
    }
}

/// Where a branch stands at home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The ref that was moved.
    pub(crate) name: String,
    /// Why it is not the branch itself.
    pub(crate) aside: Option<String>,
    /// Commits beyond the base.
    pub(crate) commits: u64,
}

/// Gives the user's repository the objects, which the mirror has, and then the branch.
pub(crate) async fn settle(repo: &Repo, mirror: &Mirror, branch: &str, base: &Oid, tip: &Oid) -> Result<Settled, GitError> {
    give(repo, mirror, tip).await?;
    model::crash::point("branch:objects-home");
    let count = mirror.call("count commits").args(["rev-list", "--count", tip.as_str(), &format!("^{base}")]).text().await?;
    let commits = count.parse().map_err(|_| GitError::Strange { what: "count commits" })?;
    let plain = format!("refs/heads/{branch}");
    let now = repo.at(&plain).await?;
    let aside = match &now {
        Some(now) if now == tip => return Ok(Settled { name: plain, aside: None, commits }),
        Some(now) if !mirror.is_ancestor(now, tip).await? => {
            Some("the branch was moved meanwhile, or the agent went back behind it".to_owned())
        }
        _ => match repo.checked_out().await?.into_iter().find(|(other, _)| other == branch) {
            Some((_, path)) => Some(format!("the branch is checked out in {}", path.display())),
            None => repo.clash(branch).await?.map(|other| format!("the repository has a branch {other}, which it cannot stand beside")),
        },
    };
    let name = if aside.is_some() { format!("{ASIDE}{branch}") } else { plain };
    let from = if aside.is_some() { repo.at(&name).await? } else { now };
    if from.as_ref() != Some(tip) {
        repo.move_refs(&[RefMove { name: &name, to: tip.clone(), from }], "lazaret: work of an agent").await?;
    }
    model::crash::point("branch:home");
    Ok(Settled { name, aside, commits })
}

/// Gives the user's repository what `tip` reaches and its own refs do not.
pub(crate) async fn give(repo: &Repo, mirror: &Mirror, tip: &Oid) -> Result<(), GitError> {
    let refs = repo.refs(&["refs/"]).await?;
    let mut have: Vec<&Oid> = refs.values().collect();
    have.sort();
    have.dedup();
    if have.contains(&tip) {
        return Ok(());
    }
    let parent = mirror.dir().parent().unwrap_or_else(|| mirror.dir());
    let mut pack = tempfile_in(parent).map_err(GitError::io("hold a pack"))?;
    let out = pack.try_clone().map_err(GitError::io("hold a pack"))?;
    let revs: String = std::iter::once(format!("{tip}\n")).chain(have.iter().map(|oid| format!("^{oid}\n"))).collect();
    // A ref of the user's that came after the mirror was refreshed is not known there, and is no loss.
    let args = ["pack-objects", "--revs", "--stdout", "--thin", "--delta-base-offset", "--quiet"];
    let call = mirror.call("pack the branch").args(args);
    call.input(known(mirror, revs).await?).time(CHECK_TIME).into_file(out).await?;
    pack.rewind().map_err(GitError::io("read a pack"))?;
    let (count, rest) = pack_head(&mut pack)?;
    if count == 0 {
        return Ok(());
    }
    let call = repo.call("take over the objects of the branch").input_file(rest).time(CHECK_TIME);
    let call =
        if count < UNPACK_OBJECTS { call.args(["unpack-objects", "-q"]) } else { call.args(["index-pack", "--stdin", "--fix-thin"]) };
    call.run().await.map(drop)
}

/// Of a list of commits and exclusions those that the mirror has.
async fn known(mirror: &Mirror, revs: String) -> Result<String, GitError> {
    let names: String = revs.lines().map(|line| format!("{}\n", line.trim_start_matches('^'))).collect();
    let said = mirror.call("look for commits").args(["cat-file", "--batch-check=%(objectname)"]).input(names).text().await?;
    let there: std::collections::HashSet<&str> = said.lines().filter(|line| Oid::parse(line).is_some()).collect();
    Ok(revs.lines().filter(|line| there.contains(line.trim_start_matches('^'))).map(|line| format!("{line}\n")).collect())
}
