//! Packs a folder for the daemon, with the rights of whoever runs this.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::{Code, Failure};

/// Directories that are nobody's plugin: they are left out.
const LEFT_OUT: &[&str] = &[".git", "__pycache__"];
/// The deepest directory that is walked.
const DEPTH_MAX: usize = 32;

/// Writes a folder as a tar archive: plain files and directories, in order, without owners or times. A link is refused, since
/// it would lead somewhere else in the home.
pub(super) fn folder(dir: &Path, into: impl Write) -> Result<(), Failure> {
    let fail = |e: io::Error| Failure::new(Code::PathUnusable, format!("{} cannot be read: {e}", dir.display()));
    if !fs::metadata(dir).map_err(fail)?.is_dir() {
        return Err(Failure::new(Code::PathUnusable, format!("{} is not a directory", dir.display())));
    }
    let mut builder = tar::Builder::new(into);
    let (mut files, mut bytes) = (0usize, 0u64);
    let mut waiting: Vec<(PathBuf, usize)> = vec![(PathBuf::new(), 0)];
    while let Some((inner, depth)) = waiting.pop() {
        let mut names = fs::read_dir(dir.join(&inner))
            .map_err(fail)?
            .map(|e| e.map(|e| e.file_name()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(fail)?;
        names.sort();
        for name in names.into_iter().filter(|name| !LEFT_OUT.iter().any(|out| *name == **out)) {
            let inner = inner.join(name);
            let meta = fs::symlink_metadata(dir.join(&inner)).map_err(fail)?;
            files += 1;
            bytes += if meta.is_file() { meta.len() } else { 0 };
            if files > app::PLUGIN_FILES_MAX || bytes > app::PLUGIN_BYTES_MAX || depth > DEPTH_MAX {
                let why = format!(
                    "{} holds more than a plugin may: {} files, {} MiB",
                    dir.display(),
                    app::PLUGIN_FILES_MAX,
                    app::PLUGIN_BYTES_MAX >> 20
                );
                return Err(Failure::new(Code::PluginInvalid, why));
            }
            if meta.is_dir() {
                let mut header = header(0o755, 0, tar::EntryType::Directory);
                builder.append_data(&mut header, &inner, io::empty()).map_err(fail)?;
                waiting.push((inner, depth + 1));
            } else if meta.is_file() {
                let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
                let file = File::options().read(true).custom_flags(nofollow).open(dir.join(&inner)).map_err(fail)?;
                let mode = if meta.mode() & 0o111 != 0 { 0o755 } else { 0o644 };
                let mut header = header(mode, meta.len(), tar::EntryType::Regular);
                builder.append_data(&mut header, &inner, io::Read::take(file, meta.len())).map_err(fail)?;
            } else {
                let shown = inner.to_string_lossy().into_owned();
                return Err(Failure::new(Code::PluginInvalid, format!("{shown} is a link or no plain file"))
                    .hint("put the file itself in its place"));
            }
        }
    }
    builder.finish().map_err(fail)
}

fn header(mode: u32, bytes: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes);
    header.set_entry_type(kind);
    header.set_mtime(0);
    header
}

/// One archive of files that are at hand.
pub(super) fn files(all: &[(&str, &[u8])]) -> Result<Vec<u8>, Failure> {
    let mut builder = tar::Builder::new(Vec::new());
    let fail = |e: io::Error| crate::client::internal(&e.to_string());
    for (name, bytes) in all {
        let mut header = header(0o644, bytes.len() as u64, tar::EntryType::Regular);
        builder.append_data(&mut header, name, *bytes).map_err(fail)?;
    }
    builder.into_inner().map_err(fail)
}
