//! Large files beside git: a commit has a pointer, the content lies below `.git/lfs/objects` by its SHA-256.
//!
//! No program of git-lfs runs on the host. What a commit points at is copied from the user's store into the mirror, each by its hash, and
//! is seen read-only inside; there git-lfs fills the files. What an agent adds comes out as bytes, is hashed here, and only then put into
//! the user's store under the name that the hash gives it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::TreeId;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use sha2::{Digest as _, Sha256};

use super::Shop;
use super::error::{GitError, shown};
use super::mirror::{Mirror, blocking, tempfile_in};
use super::repo::{Oid, Repo};
use super::room::{Given, Room, Script, Seat, Taken};

/// The longest pointer, in bytes.
const POINTER_BYTES_MAX: u64 = 1024;
/// Large files of one commit that are lent.
const POINTERS_MAX: usize = 50_000;
/// Small files of one commit that are looked at.
const CANDIDATES_MAX: usize = 200_000;
/// Bytes of large files that one commit is lent.
const LENT_BYTES_MAX: u64 = 64 << 30;
/// Large files that come home at once.
const HOME_FILES_MAX: usize = 10_000;
/// Bytes of large files that come home at once.
const HOME_BYTES_MAX: u64 = 4 << 30;
/// The longest list of files, in bytes.
const NAMES_BYTES_MAX: u64 = 256 << 20;
/// The most bytes of small files.
const SMALL_BYTES_MAX: u64 = 256 << 20;
/// How long taking them out of a clone may take.
const HOME_TIME: Duration = Duration::from_secs(600);
/// A piece that is copied, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Names that one note lists.
const LISTED_MAX: usize = 5;
/// First lines of pointers.
const VERSIONS: [&str; 2] = ["version https://git-lfs.github.com/spec/v1", "version https://hawser.github.com/spec/v1"];
/// Where a mirror has what belongs to large files.
pub(super) const LARGE: &str = "lfs";
/// Where git-lfs lies, here and in sandboxes that see the machine's programs.
const PROGRAMS: [&str; 2] = ["/usr/bin/git-lfs", "/usr/local/bin/git-lfs"];

/// Prints each object that is asked for: its name and size in a line, then so many bytes. One that is not there is a line with `-`.
const OUT: &str = r#"
while read -r name size; do
    rest=${name#??}
    file=.git/lfs/objects/${name%"$rest"}/${rest%"${rest#??}"}/$name
    if [ -f "$file" ] && [ ! -L "$file" ] && [ "$(wc -c <"$file")" -eq "$size" ]; then
        printf '%s %s\n' "$name" "$size"
        head -c "$size" -- "$file"
    else
        printf '%s -\n' "$name"
    fi
done
"#;

/// A large file, as a commit names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The SHA-256 of its content, in hexadecimal digits.
    hash: String,
    size: u64,
    path: String,
}

/// What was lent for a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lent {
    /// Large files of the commit.
    pub(crate) files: usize,
    /// Those of them that lie nowhere here.
    pub(crate) missing: Vec<String>,
}

impl Lent {
    /// What the user should know of it.
    pub(crate) fn note(&self) -> Option<String> {
        if self.files == 0 {
            return None;
        }
        if !PROGRAMS.iter().any(|program| Path::new(program).is_file()) {
            let many = self.files;
            return Some(format!("git-lfs is not installed here: the agent sees pointers instead of {many} large files (install git-lfs)"));
        }
        let names = listed(&self.missing)?;
        Some(format!("large files that are not on this machine stay pointers: {names} (git lfs fetch brings them)"))
    }
}

/// Large files that did not come home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// What the user should know of it.
    pub(crate) note: String,
    /// How many.
    pub(crate) files: u64,
}

fn listed(names: &[String]) -> Option<String> {
    let more = names.len().saturating_sub(LISTED_MAX);
    let mut text = names.iter().take(LISTED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    (!names.is_empty()).then_some(text)
}

/// Reads a pointer; `None` for what is none.
fn parse(bytes: &[u8], path: &str) -> Option<Pointer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    VERSIONS.contains(&lines.next()?).then_some(())?;
    let mut lines = lines.filter(|line| !line.starts_with("ext-"));
    let hash = lines.next()?.strip_prefix("oid sha256:").filter(|hash| is_hash(hash))?.to_owned();
    let size = lines.next()?.strip_prefix("size ")?.parse().ok()?;
    Some(Pointer { hash, size, path: path.to_owned() })
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Where an object lies below `lfs/objects`.
fn place_of(hash: &str) -> PathBuf {
    [&hash[..2], &hash[2..4], hash].iter().collect()
}

/// Blobs that may be pointers, each with a path that has it.
type Candidates = BTreeMap<Oid, String>;

/// The large files of a commit.
async fn pointers_of(mirror: &Mirror, commit: &Oid) -> Result<Vec<Pointer>, GitError> {
    let what = "look for large files";
    let (mut rules, mut small, mut left) = (Vec::new(), Candidates::new(), Vec::new());
    let list = mirror.call(what).args(["ls-tree", "-r", "-l", "-z", "--full-tree", commit.as_str()]).max(NAMES_BYTES_MAX);
    let (status, complaint) = list
        .pieces(|piece| {
            for byte in piece {
                if *byte != 0 {
                    left.push(*byte);
                    continue;
                }
                if let Some((oid, size, path)) = entry(&left) {
                    if path == ".gitattributes" || path.ends_with("/.gitattributes") {
                        rules.push(oid);
                    } else if (100..=POINTER_BYTES_MAX).contains(&size) && small.len() < CANDIDATES_MAX {
                        small.insert(oid, path.to_owned());
                    }
                }
                left.clear();
            }
        })
        .await?;
    if status != 0 {
        return Err(GitError::Failed { what, complaint });
    }
    // The contents of attributes say whether there are any at all.
    let mut has_any = false;
    read_blobs(mirror, rules.iter(), |_, bytes| has_any |= bytes.windows(10).any(|word| word == b"filter=lfs")).await?;
    if has_any { read_pointers(mirror, &small).await } else { Ok(Vec::new()) }
}

/// One regular file of a long list: its object, size and path.
fn entry(line: &[u8]) -> Option<(Oid, u64, &str)> {
    let (head, path) = std::str::from_utf8(line).ok()?.split_once('\t')?;
    let mut words = head.split_ascii_whitespace();
    let is_file = matches!(words.next()?, "100644" | "100755");
    (is_file && words.next()? == "blob").then_some(())?;
    Some((Oid::parse(words.next()?)?, words.next()?.parse().ok()?, path))
}

async fn read_pointers(mirror: &Mirror, small: &Candidates) -> Result<Vec<Pointer>, GitError> {
    let mut found = Vec::new();
    read_blobs(mirror, small.keys(), |oid, bytes| {
        if let Some(pointer) = small.get(oid).and_then(|path| parse(bytes, &shown(path.as_bytes())))
            && found.len() < POINTERS_MAX
        {
            found.push(pointer);
        }
    })
    .await?;
    Ok(found)
}

/// Reads small blobs, one after the other.
async fn read_blobs<'a>(mirror: &Mirror, oids: impl Iterator<Item = &'a Oid>, mut each: impl FnMut(&Oid, &[u8])) -> Result<(), GitError> {
    let what = "read small files";
    let names: String = oids.map(|oid| format!("{oid}\n")).collect();
    if names.is_empty() {
        return Ok(());
    }
    let out = mirror.call(what).args(["cat-file", "--batch=%(objectname) %(objectsize)"]).input(names).max(SMALL_BYTES_MAX).run().await?;
    let mut rest = &out[..];
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let (head, after) = rest.split_at(end);
        let read = std::str::from_utf8(head).ok().and_then(|head| head.split_once(' '));
        let read = read.and_then(|(oid, size)| Some((Oid::parse(oid)?, size.parse::<usize>().ok()?)));
        let (oid, size) = read.ok_or(GitError::Strange { what })?;
        let body = after.get(1..1 + size).ok_or(GitError::Strange { what })?;
        each(&oid, body);
        rest = after.get(2 + size..).unwrap_or_default();
    }
    Ok(())
}

/// Large files that the commits of a branch bring.
async fn brought(mirror: &Mirror, base: &Oid, tip: &Oid) -> Result<Vec<Pointer>, GitError> {
    let what = "look for large files of the branch";
    let range = format!("{base}..{tip}");
    let args = ["log", "--format=", "--raw", "-z", "-m", "--no-renames", "--no-abbrev", "--no-ext-diff", "--end-of-options", &range, "--"];
    let out = mirror.call(what).args(args).max(NAMES_BYTES_MAX).run().await?;
    let mut candidates = Candidates::new();
    let mut words = out.split(|b| *b == 0);
    while let Some(head) = words.next() {
        // Between commits stand line ends.
        let Some(head) = head.iter().position(|b| *b == b':').map(|at| &head[at..]) else { continue };
        let Some(path) = words.next().and_then(|path| std::str::from_utf8(path).ok()) else { continue };
        let fields: Vec<&str> = std::str::from_utf8(head).unwrap_or_default().split(' ').collect();
        let is_file = fields.get(1).is_some_and(|mode| mode.starts_with("100"));
        if let Some(oid) = fields.get(3).filter(|_| is_file).and_then(|oid| Oid::parse(oid))
            && candidates.len() < CANDIDATES_MAX
        {
            candidates.insert(oid, path.to_owned());
        }
    }
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let names: String = candidates.keys().map(|oid| format!("{oid}\n")).collect();
    let call = mirror.call(what).args(["cat-file", "--batch-check=%(objectname) %(objectsize)"]).input(names).max(NAMES_BYTES_MAX);
    let sizes = call.text().await?;
    let is_small =
        |line: &str| line.split_once(' ').and_then(|(_, size)| size.parse::<u64>().ok()).is_some_and(|size| size <= POINTER_BYTES_MAX);
    let small: Candidates = sizes
        .lines()
        .filter(|line| is_small(line))
        .filter_map(|line| Oid::parse(line.split(' ').next()?))
        .filter_map(|oid| candidates.remove_entry(&oid))
        .collect();
    read_pointers(mirror, &small).await
}

/// Copies what a commit points at from the user's store into the mirror, each by its hash.
///
/// # Errors
/// The home cannot be written, or git fails.
pub(crate) async fn lend(repo: &Repo, mirror: &Mirror, commit: &Oid) -> Result<Lent, GitError> {
    let pointers = pointers_of(mirror, commit).await?;
    if pointers.is_empty() {
        return Ok(Lent::default());
    }
    let total = pointers.iter().fold(0u64, |sum, pointer| sum.saturating_add(pointer.size));
    if total > LENT_BYTES_MAX {
        let why = format!("its large files have {total} bytes together; {LENT_BYTES_MAX} are lent");
        return Err(GitError::Repo { path: repo.path.clone(), why });
    }
    let (common, to) = (repo.common(""), lent_at(mirror));
    let files = pointers.len();
    let missing = blocking(move || {
        make_open(&to)?;
        let mut missing = Vec::new();
        for pointer in &pointers {
            if !place(&common, &to, pointer)? {
                missing.push(pointer.path.clone());
            }
        }
        Ok(missing)
    })
    .await?;
    Ok(Lent { files, missing })
}

/// Where a mirror has the objects of large files.
fn lent_at(mirror: &Mirror) -> PathBuf {
    mirror.dir().join(LARGE).join("objects")
}

/// A directory that sandboxes can read.
fn make_open(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for at in dir.ancestors().take(2) {
        fs::set_permissions(at, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Whether an object is in the mirror now. What is written is what was hashed.
fn place(common: &Path, to: &Path, pointer: &Pointer) -> io::Result<bool> {
    let target = to.join(place_of(&pointer.hash));
    if target.is_file() {
        return Ok(true);
    }
    let Some(from) = open_own(common, &pointer.hash)?.filter(|file| file.metadata().is_ok_and(|meta| meta.len() == pointer.size)) else {
        return Ok(false);
    };
    let dir = target.parent().unwrap_or(to);
    make_open(dir)?;
    let fresh = dir.join(format!("{:032x}.tmp", crate::clock::fresh_bits()));
    let copied = (|| {
        let mut copy = File::options().write(true).create_new(true).open(&fresh)?;
        if !copy_hashed(from, &mut copy, pointer)? {
            return Ok(false);
        }
        copy.set_permissions(fs::Permissions::from_mode(0o444))?;
        copy.sync_all()?;
        fs::rename(&fresh, &target).map(|()| true)
    })();
    if !matches!(copied, Ok(true)) {
        // What is reported is why it is not there.
        let _ = fs::remove_file(&fresh);
    }
    copied
}

/// Copies exactly the size of a pointer, and says whether that is what the pointer names.
fn copy_hashed(from: impl Read, to: &mut File, pointer: &Pointer) -> io::Result<bool> {
    let mut from = from.take(pointer.size);
    let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE_BYTES], 0u64);
    loop {
        let n = from.read(&mut piece)?;
        if n == 0 {
            break;
        }
        bytes += n as u64;
        hash.update(&piece[..n]);
        to.write_all(&piece[..n])?;
    }
    let hash: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(bytes == pointer.size && hash == pointer.hash)
}

const NO_LINKS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

/// An object of the user's own store; no link on the way is followed.
fn open_own(common: &Path, hash: &str) -> io::Result<Option<File>> {
    let dir = rustix::fs::open(common, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = Path::new("lfs/objects").join(place_of(hash));
    match rustix::fs::openat2(&dir, &path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty(), NO_LINKS) {
        Ok(fd) => {
            let file = File::from(fd);
            Ok(file.metadata()?.is_file().then_some(file))
        }
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

impl Shop {
    /// Brings the large files home that the commits between `base` and `tip` point at and that the user does not have. Says what did
    /// not come, and why.
    ///
    /// # Errors
    /// A sandbox or the user's store cannot be used.
    pub(crate) async fn bring_large(
        &self,
        (repo, mirror): (&Repo, &Mirror),
        (tree, seat): (&TreeId, Seat<'_>),
        base: &Oid,
        tip: &Oid,
    ) -> Result<Option<Lost>, GitError> {
        let pointers = brought(mirror, base, tip).await?;
        let common = repo.common("");
        let mut wanted: BTreeMap<String, Pointer> = BTreeMap::new();
        for pointer in pointers {
            if open_own(&common, &pointer.hash).map_err(GitError::io("look at the large files of the repository"))?.is_none() {
                wanted.insert(pointer.hash.clone(), pointer);
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let total = wanted.values().fold(0u64, |sum, pointer| sum.saturating_add(pointer.size));
        if wanted.len() > HOME_FILES_MAX || total > HOME_BYTES_MAX {
            let files = wanted.len();
            let note = format!("{files} large files with {total} bytes did not come home; {HOME_BYTES_MAX} bytes are taken");
            return Ok(Some(Lost { note, files: files as u64 }));
        }
        let file = self.pack_large(mirror, (tree, seat), &wanted, total).await?;
        let owner = repo.owner();
        let lost = blocking(move || take_out(file, &common, owner, wanted)).await?;
        Ok(listed(&lost).map(|names| Lost {
            note: format!("large files that the agent's clone has not, or not as its commits name them: {names}"),
            files: lost.len() as u64,
        }))
    }

    /// The objects out of the clone: hostile bytes.
    async fn pack_large(
        &self,
        mirror: &Mirror,
        (tree, seat): (&TreeId, Seat<'_>),
        wanted: &BTreeMap<String, Pointer>,
        total: u64,
    ) -> Result<File, GitError> {
        let room = Room::reading(self.sandboxes(), tree, &[self.show(mirror)]).await?;
        let mut file = tempfile_in(self.mirrors()).map_err(GitError::io("hold large files"))?;
        let list: String = wanted.values().map(|pointer| format!("{} {}\n", pointer.hash, pointer.size)).collect();
        let max = total + 128 * wanted.len() as u64;
        let script = Script {
            what: "take large files out of the clone",
            text: OUT,
            args: &[],
            given: Given::Bytes(list.into_bytes()),
            time: HOME_TIME,
        };
        let done = room.run(seat, script, Taken::File(&mut file, max)).await;
        room.close().await;
        done?;
        file.rewind().map_err(GitError::io("read large files"))?;
        Ok(file)
    }
}

/// Puts what came into the user's store, each under the name of its own hash; gives the paths of those that did not.
fn take_out(file: File, common: &Path, owner: (u32, u32), mut wanted: BTreeMap<String, Pointer>) -> io::Result<Vec<String>> {
    let mut from = BufReader::new(file);
    loop {
        let mut line = Vec::new();
        if io::Read::take(&mut from, 100).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&line);
        let Some((hash, size)) = line.trim_end().split_once(' ') else { break };
        if size == "-" {
            continue;
        }
        // Whatever is said, only what was asked for is taken, in the size that was asked for.
        let Some(pointer) = wanted.get(hash).filter(|pointer| pointer.size.to_string() == size).cloned() else { break };
        if keep(&mut from, common, owner, &pointer)? {
            wanted.remove(&pointer.hash);
        } else {
            break;
        }
    }
    Ok(wanted.into_values().map(|pointer| pointer.path).collect())
}

/// Writes one object into the user's store, as the user; no link on the way is followed.
fn keep(from: impl Read, common: &Path, owner: (u32, u32), pointer: &Pointer) -> io::Result<bool> {
    let mut dir = rustix::fs::open(common, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let own = (rustix::fs::Uid::from_raw(owner.0), rustix::fs::Gid::from_raw(owner.1));
    for part in ["lfs", "objects", &pointer.hash[..2], &pointer.hash[2..4]] {
        let is_new = match rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(e) => return Err(e.into()),
        };
        let next = rustix::fs::openat2(&dir, part, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), NO_LINKS)?;
        if is_new {
            rustix::fs::fchown(&next, Some(own.0), Some(own.1))?;
        }
        dir = next;
    }
    let fresh = format!(".{:032x}.lazaret", crate::clock::fresh_bits());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(&dir, fresh.as_str(), flags, Mode::from_raw_mode(0o644))?);
    let kept = (|| {
        if !copy_hashed(from, &mut copy, pointer)? {
            return Ok(false);
        }
        rustix::fs::fchown(&copy, Some(own.0), Some(own.1))?;
        copy.sync_all()?;
        rustix::fs::renameat(&dir, fresh.as_str(), &dir, pointer.hash.as_str())?;
        Ok(true)
    })();
    if !matches!(kept, Ok(true)) {
        // What is reported is why it is not there.
        let _ = rustix::fs::unlinkat(&dir, fresh.as_str(), AtFlags::empty());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn only_exact_pointers_are_pointers() {
        let good = format!("{}\noid sha256:{HASH}\nsize 5\n", VERSIONS[0]);
        assert_eq!(parse(good.as_bytes(), "a"), Some(Pointer { hash: HASH.to_owned(), size: 5, path: "a".to_owned() }));
        let bad = [
            String::new(),
            good.replace("v1", "v2"),
            good.replace(HASH, "../../../../etc/passwd"),
            good.replace(HASH, &HASH.to_uppercase()),
            good.replace("size 5", "size -5"),
            good.replace("size 5", ""),
            good.replace("sha256", "sha1"),
        ];
        for bad in bad {
            assert_eq!(parse(bad.as_bytes(), "a"), None, "{bad}");
        }
    }

    #[test]
    fn what_comes_out_is_taken_by_its_hash_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let meta = fs::metadata(dir.path()).expect("there");
        use std::os::unix::fs::MetadataExt as _;
        let owner = (meta.uid(), meta.gid());
        let take = |said: &str, size| {
            let mut file = tempfile_in(dir.path()).expect("a file");
            file.write_all(said.as_bytes()).expect("write");
            file.rewind().expect("rewind");
            let wanted = Pointer { hash: HASH.to_owned(), size, path: "big".to_owned() };
            take_out(file, dir.path(), owner, BTreeMap::from([(HASH.to_owned(), wanted)])).expect("read")
        };
        let other = "0".repeat(64);
        for bad in [
            format!("{HASH} 5\nhallo"),
            format!("{HASH} 5\nhell"),
            format!("{HASH} 6\nhello!"),
            format!("{HASH} -\n"),
            format!("{other} 5\nhello"),
            "x".repeat(1000),
        ] {
            assert_eq!(take(&bad, 5), ["big"], "{bad}");
            assert!(open_own(dir.path(), HASH).expect("look").is_none(), "{bad}");
        }
        assert!(take(&format!("{HASH} 5\nhello"), 5).is_empty());
        let mut text = String::new();
        open_own(dir.path(), HASH).expect("look").expect("there").read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
        // A link in the user's store leads nowhere.
        let away = tempfile::tempdir().expect("a directory");
        fs::remove_dir_all(dir.path().join("lfs/objects")).expect("remove");
        std::os::unix::fs::symlink(away.path(), dir.path().join("lfs/objects")).expect("link");
        let pointer = Pointer { hash: HASH.to_owned(), size: 5, path: "big".to_owned() };
        assert!(keep("hello".as_bytes(), dir.path(), owner, &pointer).is_err());
        assert_eq!(fs::read_dir(away.path()).expect("list").count(), 0);
    }
}
