//! The files of a commit as a frozen tree: checked out once, and under the clones of all agents that begin there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::TreeId;
use serde::{Deserialize, Serialize};

use super::error::GitError;
use super::lfs::{LARGE, Lent, lend};
use super::mirror::Mirror;
use super::repo::{Oid, Repo};
use super::room::{Given, Room, Script, Seat, Shown, Taken};
use super::submodules::{Submodule, submodules};
use super::{History, Shop};

/// How long the checkout of a commit may take.
const CHECKOUT_TIME: Duration = Duration::from_secs(30 * 60);
/// Base trees that one repository keeps; the one that was used longest ago goes first.
pub(crate) const BASES_MAX: usize = 8;
/// How often a base is made from the one before; then one is made anew, since each adds a layer.
const GENERATIONS_MAX: u32 = 24;
/// The longest list of base trees, in bytes.
const LIST_BYTES_MAX: u64 = 256 << 10;
/// What a base tree may hold, in bytes: what is checked out counts against nobody's limit.
const BASE_BYTES_MAX: u64 = 1 << 40;

/// Makes a clone whose files are those of a commit. It belongs to nobody yet: no branch, no name.
pub(super) const MAKE: &str = concat!(
    r#"
commit=$1 format=$2 mirror=$3 shallow=$4 sparse=${6-}
git init -q --object-format="$format" --initial-branch=lazaret --template= .
git config core.logAllRefUpdates false
if [ -n "$mirror" ]; then
    printf '%s/objects\n' "$mirror" >.git/objects/info/alternates
else
    git index-pack --stdin >/dev/null
fi
if [ -n "$shallow" ]; then printf '%s' "$shallow" >.git/shallow; fi
git update-ref --no-deref HEAD "$commit"
if [ -n "$sparse" ]; then printf '%s\n' "$sparse" | git sparse-checkout set --cone --stdin; fi
lfs=${5-}
"#,
    large_files!(),
    r#"
git reset -q --hard "$commit"
settle() {
    [ "$(git ls-files | wc -l)" -lt 5000 ] && return 0
    sleep 1.1
    git update-index -q --refresh --force-write-index 2>/dev/null || git update-index -q --refresh
}
settle
"#
);

/// Makes it that of another commit.
const STEP: &str = concat!(
    r#"
commit=$1 pack=$2 lfs=${3-}
if [ -n "$pack" ]; then git index-pack --stdin --fix-thin >/dev/null; fi
"#,
    large_files!(),
    r#"
git checkout -q --detach "$commit"
"#
);

/// Fills a submodule's place. Its directory is its own: no path in it says where the tree is seen.
pub(super) const INNER: &str = r#"
path=$1 commit=$2 format=$3 mirror=$4 shallow=$5
mkdir -p "./$path"
cd "./$path"
if [ ! -e .git ]; then
    git init -q --object-format="$format" --initial-branch=lazaret --template= .
    git config core.logAllRefUpdates false
fi
if [ -n "$mirror" ]; then
    printf '%s/objects\n' "$mirror" >.git/objects/info/alternates
else
    git index-pack --stdin >/dev/null
fi
if [ -n "$shallow" ]; then printf '%s' "$shallow" >.git/shallow; fi
git update-ref --no-deref HEAD "$commit"
git reset -q --hard "$commit"
"#;

/// One base tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    commit: String,
    history: History,
    tree: TreeId,
    generation: u32,
    /// When it was last used, in milliseconds since 1970.
    used: u64,
    /// The directories that are checked out; all where there is none.
    #[serde(default)]
    sparse: Vec<String>,
    /// What it lacks of large files.
    #[serde(default)]
    note: Option<String>,
    /// The repositories beside the first one: what each is called, which it is, its commit.
    #[serde(default)]
    beside: Vec<(String, String, String)>,
}

/// The base trees of one mirror.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bases {
    bases: Vec<Base>,
}

fn path_of(mirrors: &Path, key: &str) -> PathBuf {
    mirrors.join(format!("{key}.bases"))
}

fn read(mirrors: &Path, key: &str) -> Bases {
    let path = path_of(mirrors, key);
    let is_small = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= LIST_BYTES_MAX);
    // What cannot be read is made again, and its trees are swept.
    is_small.then(|| fs::read(&path).ok()).flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn write(mirrors: &Path, key: &str, bases: &Bases) -> Result<(), GitError> {
    let path = path_of(mirrors, key);
    let fresh = path.with_extension("bases.new");
    let bytes = serde_json::to_vec(bases).map_err(|e| GitError::io("write the list of base trees")(e.into()))?;
    fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, &path)).map_err(GitError::io("write the list of base trees"))
}

/// Every base tree of a home.
pub(crate) fn all_trees(mirrors: &Path) -> Vec<TreeId> {
    let entries = fs::read_dir(mirrors).into_iter().flatten().flatten();
    let keys = entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.strip_suffix(".bases")).map(str::to_owned));
    keys.flat_map(|key| read(mirrors, &key).bases).map(|base| base.tree).collect()
}

/// A repository that is checked out beside the first one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beside<'a> {
    /// What it is called there.
    pub(crate) name: &'a str,
    pub(crate) repo: &'a Repo,
    /// Its mirror, as [`Shop::mirror`] gave it a moment ago.
    pub(crate) mirror: &'a Mirror,
    pub(crate) commit: &'a Oid,
}

/// What a base tree has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) commit: &'a Oid,
    pub(super) history: History,
    /// The directories that are checked out; all where there is none.
    pub(super) sparse: &'a [String],
    /// The repositories beside the first one.
    pub(super) beside: &'a [Beside<'a>],
}

impl Shape<'_> {
    fn is_of(&self, base: &Base) -> bool {
        base.commit == self.commit.as_str() && base.history == self.history && base.sparse == self.sparse && base.beside == self.others()
    }

    fn others(&self) -> Vec<(String, String, String)> {
        let other = |one: &Beside<'_>| (one.name.to_owned(), one.mirror.key.clone(), one.commit.to_string());
        self.beside.iter().map(other).collect()
    }
}

/// One clone of a base tree.
struct Piece<'a> {
    seat: Seat<'a>,
    mirror: &'a Mirror,
    commit: &'a Oid,
    sparse: &'a [String],
    lent: Lent,
    inner: Vec<Submodule>,
}

impl Piece<'_> {
    /// Where large files are lent: nowhere when there are none.
    fn large(&self) -> &str {
        if self.lent.files > 0 { self.mirror.inside() } else { "" }
    }
}

/// Lends the large files of all clones, the first one's first.
async fn lend_all(repo: &Repo, mirror: &Mirror, shape: Shape<'_>) -> Result<Vec<Lent>, GitError> {
    let mut lent = vec![lend(repo, mirror, shape.commit).await?];
    for one in shape.beside {
        lent.push(lend(one.repo, one.mirror, one.commit).await?);
    }
    Ok(lent)
}

fn note_of(lent: &[Lent]) -> Option<String> {
    lent.iter().filter_map(Lent::note).reduce(|one, other| format!("{one}; {other}"))
}

/// The clones of a tree, the first one first.
async fn pieces<'a>(repo: &Repo, mirror: &'a Mirror, shape: Shape<'a>, lent: Vec<Lent>) -> Result<Vec<Piece<'a>>, GitError> {
    let mut pieces = Vec::with_capacity(lent.len());
    for (n, lent) in lent.into_iter().enumerate() {
        pieces.push(match n.checked_sub(1).and_then(|n| shape.beside.get(n)) {
            None => {
                let inner = submodules(repo, mirror, shape.commit).await?;
                Piece { seat: Seat::First, mirror, commit: shape.commit, sparse: shape.sparse, lent, inner }
            }
            Some(one) => {
                let inner = submodules(one.repo, one.mirror, one.commit).await?;
                Piece { seat: Seat::Beside(one.name), mirror: one.mirror, commit: one.commit, sparse: &[], lent, inner }
            }
        });
    }
    Ok(pieces)
}

impl Shop {
    /// The frozen tree with the files of a commit, made when there is none; and what it lacks, in words.
    pub(super) async fn base(&self, repo: &Repo, mirror: &Mirror, shape: Shape<'_>) -> Result<(TreeId, Option<String>), GitError> {
        // One at a time for each repository: who comes second finds what the first has made.
        let lock = self.base_lock(&mirror.key);
        let _one = lock.lock().await;
        let mut bases = read(self.mirrors(), &mirror.key);
        let now = super::now_millis();
        let at = bases.bases.iter().position(|base| shape.is_of(base));
        let mut lent = None;
        if let Some(at) = at {
            // What it lacked may be here by now.
            let lacks = match &bases.bases[at].note {
                None => None,
                Some(_) => note_of(lent.insert(lend_all(repo, mirror, shape).await?)),
            };
            if lacks == bases.bases[at].note && self.sandboxes().has_tree(&bases.bases[at].tree).await {
                bases.bases[at].used = now;
                let tree = bases.bases[at].tree.clone();
                write(self.mirrors(), &mirror.key, &bases)?;
                return Ok((tree, lacks));
            }
            bases.bases.remove(at);
        }
        let lent = match lent {
            Some(lent) => lent,
            None => lend_all(repo, mirror, shape).await?,
        };
        let note = note_of(&lent);
        let last = self.last_base(mirror, &bases, shape).await?;
        let work = self.grow();
        let pieces = pieces(repo, mirror, shape, lent).await?;
        // A submodule that goes would leave its files, as a repository beside would: such a tree is made anew, and none is made from it.
        let is_plain = pieces.len() == 1 && pieces.iter().all(|piece| piece.inner.is_empty());
        let last = last.filter(|_| is_plain);
        let made = match (&last, pieces.first()) {
            (Some(last), Some(first)) => self.step_base(first, last, shape.history, work.id()).await.map(|()| last.generation + 1),
            _ => self.make_base(&pieces, shape.history, work.id()).await.map(|()| 0),
        };
        let made = match (made, &last) {
            // The last one may be gone or damaged: begin anew.
            (Err(error), Some(_)) => {
                tracing::info!(error = model::chain(&error), "a base tree is made anew");
                self.drop_tree(work.id()).await;
                self.make_base(&pieces, shape.history, work.id()).await.map(|()| 0)
            }
            (made, _) => made,
        };
        let generation = match made {
            Ok(generation) => generation,
            Err(error) => {
                self.drop_tree(work.id()).await;
                return Err(error);
            }
        };
        let generation = if is_plain { generation } else { GENERATIONS_MAX };
        let base = self.grow();
        let frozen = self.sandboxes().snapshot(work.id(), base.id(), true).await;
        self.drop_tree(work.id()).await;
        frozen?;
        model::crash::point("branch:base-frozen");
        let tree = base.id().clone();
        bases.bases.push(Base {
            commit: shape.commit.to_string(),
            history: shape.history,
            tree: tree.clone(),
            generation,
            used: now,
            sparse: shape.sparse.to_vec(),
            note: note.clone(),
            beside: shape.others(),
        });
        let gone = retire(&mut bases);
        write(self.mirrors(), &mirror.key, &bases)?;
        for tree in gone {
            self.drop_tree(&tree).await;
        }
        Ok((tree, note))
    }

    /// The base tree to begin with. One without an alternate holds what its commit reaches, which another commit's clone
    /// must not see unless it reaches that too.
    async fn last_base(&self, mirror: &Mirror, bases: &Bases, shape: Shape<'_>) -> Result<Option<Base>, GitError> {
        let Shape { commit, history, sparse, .. } = shape;
        // Of one that lacks large files those that do not change would be lacking too.
        let fits = |base: &&Base| {
            let is_alike = base.history == history && base.sparse == sparse && base.beside.is_empty();
            is_alike && base.generation < GENERATIONS_MAX && base.note.is_none()
        };
        let mut fitting: Vec<&Base> = bases.bases.iter().filter(fits).collect();
        fitting.sort_by_key(|base| std::cmp::Reverse(base.used));
        for base in fitting {
            let fits = match Oid::parse(&base.commit) {
                Some(_) if history == History::All => true,
                Some(from) => mirror.is_ancestor(&from, commit).await?,
                None => false,
            };
            if fits && self.sandboxes().has_tree(&base.tree).await {
                return Ok(Some(base.clone()));
            }
        }
        Ok(None)
    }

    async fn make_base(&self, pieces: &[Piece<'_>], history: History, tree: &TreeId) -> Result<(), GitError> {
        self.sandboxes().make_tree(tree, BASE_BYTES_MAX).await?;
        let room = Room::writing(self.sandboxes(), tree, &self.shown_to(pieces, history), Vec::new()).await?;
        let mut done = Ok(());
        for piece in pieces {
            done = self.check_out(&room, piece, history).await;
            if done.is_err() {
                break;
            }
        }
        room.close().await;
        done
    }

    /// Makes one clone of a base tree.
    async fn check_out(&self, room: &Room, piece: &Piece<'_>, history: History) -> Result<(), GitError> {
        let Piece { seat, mirror, commit, sparse, .. } = piece;
        let given = match history {
            History::All => Given::Nothing,
            History::Branch => Given::File(self.pack_of(mirror, commit, None).await?),
        };
        if matches!(seat, Seat::Beside(_)) {
            room.make_place(*seat).await?;
        }
        let inside = if history == History::All { mirror.inside() } else { "" };
        let shallow = mirror.shallow.as_deref().unwrap_or_default();
        let sparse = sparse.join("\n");
        let args = [commit.as_str(), mirror.format.as_str(), inside, shallow, piece.large(), &sparse];
        let script = Script { what: "check out the files of a commit", text: MAKE, args: &args, given, time: CHECKOUT_TIME };
        room.run(*seat, script, Taken::Bytes(&mut Vec::new(), 1 << 20)).await?;
        self.fill_inner(room, piece, history).await
    }

    async fn step_base(&self, piece: &Piece<'_>, last: &Base, history: History, tree: &TreeId) -> Result<(), GitError> {
        self.sandboxes().snapshot(&last.tree, tree, false).await?;
        self.sandboxes().set_tree_limit(tree, BASE_BYTES_MAX).await?;
        let from = Oid::parse(&last.commit).ok_or(GitError::Strange { what: "read the list of base trees" })?;
        let (given, pack) = match history {
            History::All => (Given::Nothing, ""),
            History::Branch => (Given::File(self.pack_of(piece.mirror, piece.commit, Some(&from)).await?), "yes"),
        };
        let shown = self.shown_to(std::slice::from_ref(piece), history);
        let room = Room::writing(self.sandboxes(), tree, &shown, Vec::new()).await?;
        let args = [piece.commit.as_str(), pack, piece.large()];
        let script = Script { what: "check out the files of a commit", text: STEP, args: &args, given, time: CHECKOUT_TIME };
        let done = match room.run(piece.seat, script, Taken::Bytes(&mut Vec::new(), 1 << 20)).await {
            Ok(_) => self.fill_inner(&room, piece, history).await,
            Err(error) => Err(error),
        };
        room.close().await;
        done
    }

    /// What a base tree sees of mirrors while it is made.
    fn shown_to(&self, pieces: &[Piece<'_>], history: History) -> Vec<Shown> {
        let large = |mirror: &Mirror| (mirror.dir().join(LARGE), Path::new(mirror.inside()).join(LARGE));
        match history {
            History::All => pieces.iter().map(|piece| self.show(piece.mirror)).collect(),
            History::Branch => pieces.iter().filter(|piece| piece.lent.files > 0).map(|piece| large(piece.mirror)).collect(),
        }
    }

    async fn fill_inner(&self, room: &Room, piece: &Piece<'_>, history: History) -> Result<(), GitError> {
        for Submodule { path, commit, mirror } in &piece.inner {
            let (given, seen) = match history {
                History::All => (Given::Nothing, mirror.inside()),
                History::Branch => (Given::File(self.pack_of(mirror, commit, None).await?), ""),
            };
            let args = [path.as_str(), commit.as_str(), mirror.format.as_str(), seen, mirror.shallow.as_deref().unwrap_or_default()];
            let script = Script { what: "check out a submodule", text: INNER, args: &args, given, time: CHECKOUT_TIME };
            room.run(piece.seat, script, Taken::Bytes(&mut Vec::new(), 1 << 20)).await?;
        }
        Ok(())
    }

    /// What a commit reaches, as a pack; without what `from` reaches.
    async fn pack_of(&self, mirror: &Mirror, commit: &Oid, from: Option<&Oid>) -> Result<fs::File, GitError> {
        use std::io::Seek as _;
        let mut pack = super::mirror::tempfile_in(self.mirrors()).map_err(GitError::io("hold a pack"))?;
        let out = pack.try_clone().map_err(GitError::io("hold a pack"))?;
        let revs = format!("{commit}\n{}", from.map(|from| format!("^{from}\n")).unwrap_or_default());
        let call = mirror.call("pack what a branch reaches").args(["pack-objects", "--revs", "--stdout", "--delta-base-offset", "--quiet"]);
        let call = if from.is_some() { call.arg("--thin") } else { call };
        call.input(revs).time(CHECKOUT_TIME).into_file(out).await?;
        pack.rewind().map_err(GitError::io("hold a pack"))?;
        Ok(pack)
    }
}

/// Takes out what is too many.
fn retire(bases: &mut Bases) -> Vec<TreeId> {
    let mut gone = Vec::new();
    while bases.bases.len() > BASES_MAX {
        let oldest = bases.bases.iter().enumerate().min_by_key(|(_, base)| base.used).map(|(at, _)| at);
        let Some(at) = oldest else { break };
        gone.push(bases.bases.remove(at).tree);
    }
    gone
}
