//! A plugin's folder on its way into the home: an archive that anybody may have made, unpacked within limits, and the hash
//! over what came of it.
//!
//! Only files and directories are taken. A link, a device, a set-id bit, a path that leads anywhere else or comes twice, and
//! whatever git would act on are refused, not left out: an archive that holds such a thing is not what its owner thinks.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use model::{Code, Failure};
use sha2::{Digest, Sha256};

/// Bytes that the files of a plugin may have together.
pub(super) const FOLDER_BYTES_MAX: u64 = 64 << 20;
/// Files and directories that a plugin may have.
pub const FOLDER_FILES_MAX: usize = 5_000;
/// The longest archive of a plugin, in bytes.
pub const ARCHIVE_BYTES_MAX: u64 = FOLDER_BYTES_MAX + (16 << 20);
/// The deepest file.
const DEPTH_MAX: usize = 16;
/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 512;
/// The bits of set-user-id, set-group-id and sticky.
const SET_ID: u32 = 0o7000;
/// What the bytes of a gzip file begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What the bytes of a zip file begin with.
const ZIP: [u8; 2] = *b"PK";

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Code::PluginInvalid, what)
}

fn unread(error: &io::Error) -> Failure {
    refused(format!("the archive cannot be read: {error}"))
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the files cannot be written into the home: {error}")).hint("free some space in the home")
}

/// Unpacks an archive (tar, perhaps gzip'ed) into `dir`, which is empty. Where everything in it lies below one directory that
/// is no plugin's own, that directory is left out.
pub(crate) fn unpack(mut archive: File, dir: &Path) -> Result<(), Failure> {
    let mut head = [0; 2];
    let n = archive.read(&mut head).map_err(|e| unread(&e))?;
    archive.rewind().map_err(|e| unread(&e))?;
    let from = io::BufReader::new(archive);
    match head {
        GZIP => entries(flate2::read::MultiGzDecoder::new(from), dir)?,
        ZIP => return Err(refused("zip archives are not taken").hint("pack it with tar, or install from its directory")),
        _ if n < head.len() => return Err(refused("the archive is empty")),
        _ => entries(from, dir)?,
    }
    lift(dir).map_err(|e| unwritten(&e))
}

fn entries(from: impl Read, dir: &Path) -> Result<(), Failure> {
    // What is more than headers and padding around the largest folder is no plugin, whatever it unpacks to.
    let limited = from.take(FOLDER_BYTES_MAX + (FOLDER_FILES_MAX as u64) * 4096);
    let mut archive = tar::Archive::new(limited);
    let mut room = Room { bytes: FOLDER_BYTES_MAX, files: FOLDER_FILES_MAX };
    let mut any = false;
    for entry in archive.entries().map_err(|e| unread(&e))? {
        let mut entry = entry.map_err(|e| unread(&e))?;
        let kind = entry.header().entry_type();
        if kind == tar::EntryType::XGlobalHeader {
            continue;
        }
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path_bytes()));
        let shown = shown(&path);
        let mode = entry.header().mode().map_err(|e| unread(&e))?;
        if mode & SET_ID != 0 {
            return Err(refused(format!("{shown} has a set-id or sticky bit")));
        }
        let Some(path) = plain(&path)? else { continue };
        any = true;
        match kind {
            tar::EntryType::Directory => make_dirs(dir, &path, &mut room)?,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                if let Some(above) = path.parent() {
                    make_dirs(dir, above, &mut room)?;
                }
                room.take_file()?;
                write_file(&mut entry, &dir.join(&path), mode & 0o100 != 0, &shown, &mut room)?;
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                return Err(refused(format!("{shown} is a link")).hint("put the file itself in its place"));
            }
            _ => return Err(refused(format!("{shown} is neither a file nor a directory"))),
        }
    }
    if any { Ok(()) } else { Err(refused("the archive holds no file")) }
}

/// What may still come.
struct Room {
    bytes: u64,
    files: usize,
}

impl Room {
    fn take_file(&mut self) -> Result<(), Failure> {
        self.files = self.files.checked_sub(1).ok_or_else(|| refused(format!("there are more than {FOLDER_FILES_MAX} files")))?;
        Ok(())
    }

    fn take_bytes(&mut self, bytes: u64) -> Result<(), Failure> {
        let large = || refused(format!("there are more than {} MiB of files", FOLDER_BYTES_MAX >> 20));
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(large)?;
        Ok(())
    }
}

/// A path that stays below the folder and cannot be read in two ways; `None` for the folder itself.
fn plain(path: &Path) -> Result<Option<PathBuf>, Failure> {
    let shown = shown(path);
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => {
                let Some(name) = name.to_str().filter(|name| is_plain(name)) else {
                    return Err(refused(format!("{shown} has a name that is not plain text")));
                };
                if name.eq_ignore_ascii_case(".git") || name.eq_ignore_ascii_case(".gitmodules") {
                    return Err(refused(format!("{shown} is something that git acts on")).hint("leave out .git; submodules are not taken"));
                }
                plain.push(name);
            }
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(refused(format!("{shown} leads out of the folder")));
            }
        }
    }
    if plain.as_os_str().len() > PATH_BYTES_MAX || plain.components().count() > DEPTH_MAX {
        return Err(refused(format!("{shown} is too long or too deep")));
    }
    Ok((plain != PathBuf::new()).then_some(plain))
}

/// Whether a name shows as what it is: no control characters, nothing that reorders or hides text, no backslash.
fn is_plain(name: &str) -> bool {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\\' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{e0000}'..='\u{e007f}')
    };
    !name.chars().any(hidden)
}

fn shown(path: &Path) -> String {
    let text: String = path.to_string_lossy().chars().take(120).collect();
    text.chars()
        .flat_map(|c| {
            if c.is_ascii_graphic() || c == ' ' { c.to_string() } else { c.escape_unicode().to_string() }.chars().collect::<Vec<_>>()
        })
        .collect()
}

fn make_dirs(dir: &Path, inner: &Path, room: &mut Room) -> Result<(), Failure> {
    let mut at = dir.to_owned();
    for part in inner.components() {
        at.push(part);
        match DirBuilder::new().mode(0o755).create(&at) {
            Ok(()) => room.take_file()?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && at.is_dir() => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(refused(format!("{} is a file and a directory", shown(inner))));
            }
            Err(e) => return Err(unwritten(&e)),
        }
    }
    Ok(())
}

fn write_file(from: &mut impl Read, at: &Path, is_program: bool, shown: &str, room: &mut Room) -> Result<(), Failure> {
    let mode = if is_program { 0o755 } else { 0o644 };
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(at) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(refused(format!("{shown} comes twice"))),
        Err(e) => return Err(unwritten(&e)),
    };
    let mut piece = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut piece).map_err(|e| unread(&e))?;
        if n == 0 {
            break;
        }
        room.take_bytes(n as u64)?;
        file.write_all(&piece[..n]).map_err(|e| unwritten(&e))?;
    }
    // The umask does not decide who can read it inside.
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(|e| unwritten(&e))
}

/// Moves what lies in a lone directory one level up.
fn lift(dir: &Path) -> io::Result<()> {
    let has = |name: &str| dir.join(name).exists();
    if has("manifest.toml") || has("manifest.json") {
        return Ok(());
    }
    let names = fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    let [only] = names.as_slice() else { return Ok(()) };
    if !only.is_dir() {
        return Ok(());
    }
    let aside = dir.with_extension("lifted");
    fs::rename(only, &aside)?;
    fs::remove_dir(dir)?;
    fs::rename(&aside, dir)
}

/// The hash over a folder: every path in order, whether it is a program, and what is in it. A link counts as what it says; it
/// is never followed.
///
/// # Errors
/// The folder cannot be read, or has more than [`FOLDER_FILES_MAX`] files or [`FOLDER_BYTES_MAX`] bytes.
pub fn hash_folder(dir: &Path) -> Result<String, Failure> {
    Ok(hash_leaves(&leaves(dir)?))
}

/// What is in a folder: every path in order.
pub(crate) fn leaves(dir: &Path) -> Result<BTreeMap<PathBuf, Leaf>, Failure> {
    let mut room = Room { bytes: FOLDER_BYTES_MAX, files: FOLDER_FILES_MAX };
    let mut all = BTreeMap::new();
    walk(dir, Path::new(""), 0, &mut room, &mut all)?;
    Ok(all)
}

/// The hash over a folder of which it is known what is in it.
pub(crate) fn hash_leaves(all: &BTreeMap<PathBuf, Leaf>) -> String {
    let mut hash = Sha256::new();
    for (path, (kind, digest)) in all {
        let path = path.as_os_str().as_bytes();
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        hash.update([*kind]);
        hash.update(digest);
    }
    format!("sha256:{}", hex(&hash.finalize()))
}

/// Whether a file is a plain one, a program or a link; and the hash of what is in it.
pub(crate) type Leaf = (u8, [u8; 32]);

fn walk(dir: &Path, inner: &Path, depth: usize, room: &mut Room, all: &mut BTreeMap<PathBuf, Leaf>) -> Result<(), Failure> {
    let fail = |e: io::Error| refused(format!("the folder cannot be read at {}: {e}", shown(inner)));
    if depth > DEPTH_MAX {
        return Err(refused(format!("{} is too deep", shown(inner))));
    }
    for entry in fs::read_dir(dir.join(inner)).map_err(fail)? {
        let inner = inner.join(entry.map_err(fail)?.file_name());
        // The owner's own repository is no part of the plugin.
        if inner == Path::new(".git") {
            continue;
        }
        let path = dir.join(&inner);
        let meta = fs::symlink_metadata(&path).map_err(fail)?;
        room.take_file()?;
        if meta.is_dir() {
            walk(dir, &inner, depth + 1, room, all)?;
        } else if meta.is_symlink() {
            let to = fs::read_link(&path).map_err(fail)?;
            all.insert(inner, (b'l', Sha256::digest(to.as_os_str().as_bytes()).into()));
        } else if meta.is_file() {
            room.take_bytes(meta.len())?;
            let mut hash = Sha256::new();
            let mut file = File::open(&path).map_err(fail)?.take(FOLDER_BYTES_MAX);
            let mut piece = vec![0; 64 << 10];
            loop {
                let n = file.read(&mut piece).map_err(fail)?;
                if n == 0 {
                    break;
                }
                hash.update(&piece[..n]);
            }
            let kind = if meta.mode() & 0o111 != 0 { b'x' } else { b'f' };
            all.insert(inner, (kind, hash.finalize().into()));
        } else {
            return Err(refused(format!("{} is neither a file nor a directory", shown(&inner))));
        }
    }
    Ok(())
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Makes everything in a folder durable, at once: a flush for each of thousands of files would take minutes.
pub(crate) fn sync_whole(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Makes a directory's names durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    type Build<'a> = &'a dyn Fn(&mut tar::Builder<Vec<u8>>);

    fn entry(name: &str, kind: tar::EntryType, mode: u32, bytes: &[u8], builder: &mut tar::Builder<Vec<u8>>) {
        let mut header = tar::Header::new_ustar();
        // The builder's own way refuses names that an attacker would write.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_cksum();
        builder.append(&header, bytes).expect("append");
    }

    fn file(name: &str, builder: &mut tar::Builder<Vec<u8>>) {
        entry(name, tar::EntryType::Regular, 0o644, b"x", builder);
    }

    fn unpacked(bytes: &[u8]) -> Result<tempfile::TempDir, Failure> {
        let dir = tempfile::tempdir().expect("a directory");
        let into = dir.path().join("plugin");
        fs::create_dir(&into).expect("make");
        let mut held = tempfile::tempfile().expect("a file");
        held.write_all(bytes).and_then(|()| held.rewind()).expect("write");
        unpack(held, &into).map(|()| dir)
    }

    fn tar_of(build: Build<'_>) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().expect("an archive")
    }

    #[test]
    fn only_plain_files_come_out() {
        let good = tar_of(&|b| {
            entry("top/", tar::EntryType::Directory, 0o755, b"", b);
            file("top/manifest.toml", b);
            entry("top/run", tar::EntryType::Regular, 0o755, b"y", b);
        });
        let dir = unpacked(&good).expect("unpacked");
        let mode = |name: &str| fs::metadata(dir.path().join("plugin").join(name)).map(|m| m.mode() & 0o7777).ok();
        assert_eq!((mode("manifest.toml"), mode("run")), (Some(0o644), Some(0o755)), "the lone directory is left out");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&good).expect("pack");
        unpacked(&packed.finish().expect("pack")).expect("gzip too");
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        let kinds = [
            ("link", tar::EntryType::Symlink, "link"),
            ("hard", tar::EntryType::Link, "link"),
            ("device", tar::EntryType::Block, "neither"),
            ("console", tar::EntryType::Char, "neither"),
            ("pipe", tar::EntryType::Fifo, "neither"),
        ];
        for (name, kind, why) in kinds {
            let error = unpacked(&tar_of(&|b| entry(name, kind, 0o644, b"", b))).expect_err(name);
            assert!(error.code == Code::PluginInvalid && error.message.contains(why), "{name}: {error}");
        }
        for (name, why) in [
            ("../x", "leads out"),
            ("a/../../x", "leads out"),
            ("/etc/x", "leads out"),
            (".git/config", "git"),
            ("sub/.GIT/hooks/x", "git"),
            (".gitmodules", "git"),
            ("a\u{1b}[2J", "plain text"),
            ("a\u{202e}b", "plain text"),
            ("a\\b", "plain text"),
            ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", "deep"),
        ] {
            let error = unpacked(&tar_of(&|b| file(name, b))).expect_err(name);
            assert!(error.message.contains(why), "{name}: {error}");
            assert!(error.message.is_ascii() && !error.message.contains('\u{1b}'), "{name} is shown escaped");
        }
        for mode in [0o4755, 0o2755, 0o1777] {
            let error = unpacked(&tar_of(&|b| entry("x", tar::EntryType::Regular, mode, b"x", b))).expect_err("set-id");
            assert!(error.message.contains("set-id"), "{error}");
        }
        let twice = tar_of(&|b| {
            file("x", b);
            file("x", b);
        });
        assert!(unpacked(&twice).expect_err("twice").message.contains("twice"));
        let both = tar_of(&|b| {
            file("x", b);
            file("x/y", b);
        });
        assert!(unpacked(&both).is_err());
        assert!(unpacked(b"").is_err() && unpacked(b"PK\x03\x04").is_err() && unpacked(&[0; 1024]).is_err());
        assert!(unpacked(&[7; 2048]).is_err(), "no archive at all");
    }

    #[test]
    fn a_bomb_goes_off_nowhere() {
        let many = tar_of(&|b| (0..=FOLDER_FILES_MAX).for_each(|n| file(&format!("f{n}"), b)));
        assert!(unpacked(&many).expect_err("many").message.contains("5000"));
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_ustar();
        header.set_path("zeros").expect("a path");
        header.set_mode(0o644);
        header.set_size(1 << 30);
        header.set_cksum();
        builder.append(&header, io::repeat(0).take(1 << 30)).expect("append");
        let packed = builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive");
        assert!(packed.len() < 8 << 20);
        assert!(unpacked(&packed).expect_err("large").message.contains("64 MiB"));
    }

    #[test]
    fn the_hash_is_over_everything() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let hash = || hash_folder(dir.path()).expect("a hash");
        fs::write(at("a"), "1").expect("write");
        let first = hash();
        assert!(first.starts_with("sha256:") && first.len() == 71 && first == hash());
        fs::write(at("a"), "2").expect("write");
        let second = hash();
        fs::set_permissions(at("a"), fs::Permissions::from_mode(0o755)).expect("chmod");
        let third = hash();
        fs::rename(at("a"), at("b")).expect("rename");
        let fourth = hash();
        std::os::unix::fs::symlink("b", at("c")).expect("link");
        let fifth = hash();
        fs::create_dir(at(".git")).and_then(|()| fs::write(at(".git/x"), "1")).expect("write");
        assert_eq!(fifth, hash(), "the owner's repository is no part of it");
        let all = std::collections::HashSet::from([first, second, third, fourth, fifth]);
        assert_eq!(all.len(), 5);
    }
}
