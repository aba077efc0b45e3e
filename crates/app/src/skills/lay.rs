//! The files of skills in the home: a directory per hash, made once, and never used when it is not what its name says.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::{Code, Failure};

use super::look::{SKILL_BYTES_MAX, of_skill};
use super::shelf::Skill;
use crate::App;
use crate::plugins::{Fresh, folder};

/// Where the versions lie, in the directory of skills.
const VERSIONS: &str = "versions";
/// Where what came is unpacked and looked at.
pub(super) const CAME: &str = "came";
/// What the name of a directory begins with that is not whole yet.
const FRESH: &str = ".fresh-";

fn unwritten(error: &io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the skills cannot be written into the home: {error}")).hint("free some space in the home")
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?
}

impl App {
    /// Where everything about skills lies.
    pub(crate) fn skills_dir(&self) -> PathBuf {
        self.home().join("skills")
    }

    fn versions_dir(&self) -> PathBuf {
        self.skills_dir().join(VERSIONS)
    }

    /// Where the files with this hash lie.
    pub(super) fn version_dir(&self, hash: &str) -> PathBuf {
        self.versions_dir().join(hash.trim_start_matches("sha256:"))
    }

    /// Lays out the files of a skill, if they are not there. They are not looked at.
    pub(crate) async fn lay_out_skill(&self, skill: &Skill) -> Result<PathBuf, Failure> {
        let at = self.version_dir(&skill.hash);
        if fs::symlink_metadata(&at).is_ok() {
            return Ok(at);
        }
        let archive = match skill.shipped {
            Some(files) => tar_of_texts(files)?,
            None => self.store().skill_archive(&skill.hash).await.map_err(|e| e.failure())?,
        };
        let (versions, hash, into) = (self.versions_dir(), skill.hash.clone(), at.clone());
        blocking(move || put(&versions, &archive, &hash, &into)).await?;
        Ok(at)
    }

    /// Removes the laid out files of skills that are not in force.
    pub(crate) fn sweep_versions(&self) -> io::Result<()> {
        let skills = self.shelf().all();
        let wanted: BTreeSet<&str> = skills.values().map(|skill| skill.hash.trim_start_matches("sha256:")).collect();
        let entries = match fs::read_dir(self.versions_dir()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with(FRESH) && !wanted.contains(name.as_str()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what a killed daemon left half made.
    pub(crate) fn sweep_half_made_skills(&self) {
        let mut left = vec![self.skills_dir().join(CAME)];
        let entries = fs::read_dir(self.versions_dir()).into_iter().flatten().flatten();
        left.extend(entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(FRESH)).map(|entry| entry.path()));
        for path in left {
            if let Err(error) = fs::remove_dir_all(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "half a skill was not removed");
            }
        }
    }
}

/// Unpacks an archive under its hash.
fn put(versions: &Path, archive: &[u8], hash: &str, into: &Path) -> Result<(), Failure> {
    let fresh = Fresh::make(versions)?;
    let mut held = tempfile_in(versions)?;
    held.write_all(archive).and_then(|()| io::Seek::rewind(&mut held)).map_err(|e| unwritten(&e))?;
    folder::unpack(held, &fresh.dir).map_err(of_skill)?;
    check(&fresh.dir, hash, "it")?;
    folder::sync_whole(&fresh.dir).map_err(|e| unwritten(&e))?;
    model::crash::point("skill:laid-out");
    match fs::rename(&fresh.dir, into) {
        // Another one was quicker.
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => Ok(()),
        Err(e) => Err(unwritten(&e)),
        Ok(()) => folder::sync_dir(versions).map_err(|e| unwritten(&e)),
    }
}

/// A file without a name.
fn tempfile_in(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(format!("{FRESH}{:032x}.tar", crate::clock::fresh_bits()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(|e| unwritten(&e))?;
    fs::remove_file(&path).map_err(|e| unwritten(&e))?;
    Ok(file)
}

/// Refuses a folder that is not what was approved.
pub(crate) fn check(dir: &Path, hash: &str, name: &str) -> Result<(), Failure> {
    let there = folder::hash_folder(dir).map_err(of_skill)?;
    if there == hash {
        return Ok(());
    }
    Err(Failure::new(Code::SkillChanged, format!("the files of the skill {name} in the home are {there}, and {hash} was approved"))
        .hint(format!("see what changed, and approve it or put it back: lazaret skill verify {name}")))
}

/// Copies a skill's files to where a sandbox will see them, and refuses them when they are not what was approved: what was
/// copied is looked at, so nobody changes it in between.
pub(crate) fn copy(from: &Path, to: &Path, hash: &str, name: &str) -> Result<(), Failure> {
    let leaves = folder::leaves(from).map_err(of_skill)?;
    let fail = |e: io::Error| unwritten(&e);
    fs::create_dir(to).map_err(fail)?;
    let mut left = SKILL_BYTES_MAX;
    for (path, (kind, _)) in &leaves {
        if let Some(above) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(to.join(above)).map_err(fail)?;
        }
        if *kind == b'l' {
            continue;
        }
        let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut source = OpenOptions::new().read(true).custom_flags(nofollow).open(from.join(path)).map_err(fail)?.take(left + 1);
        let mut file = OpenOptions::new().write(true).create_new(true).open(to.join(path)).map_err(fail)?;
        let bytes = io::copy(&mut source, &mut file).map_err(fail)?;
        left =
            left.checked_sub(bytes).ok_or_else(|| Failure::new(Code::SkillChanged, format!("the files of the skill {name} have grown")))?;
        // Whatever the umask: inside, another user reads it.
        file.set_permissions(Permissions::from_mode(if *kind == b'x' { 0o755 } else { 0o644 })).map_err(fail)?;
    }
    open_dirs(to).map_err(fail)?;
    check(to, hash, name)
}

fn open_dirs(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_dirs(&entry.path())?;
        }
    }
    Ok(())
}

/// An archive of a folder's plain files, in order, without owners or times.
pub(super) fn tar_of_folder(dir: &Path) -> Result<Vec<u8>, Failure> {
    let mut builder = tar::Builder::new(Vec::new());
    let fail = |e: io::Error| unwritten(&e);
    for (path, (kind, _)) in folder::leaves(dir).map_err(of_skill)? {
        let bytes = fs::read(dir.join(&path)).map_err(fail)?;
        append(&mut builder, &path, if kind == b'x' { 0o755 } else { 0o644 }, &bytes).map_err(fail)?;
    }
    builder.into_inner().map_err(fail)
}

fn tar_of_texts(files: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        append(&mut builder, Path::new(path), 0o644, text.as_bytes()).map_err(|e| unwritten(&e))?;
    }
    builder.into_inner().map_err(|e| unwritten(&e))
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mtime(0);
    builder.append_data(&mut header, path, bytes)
}
