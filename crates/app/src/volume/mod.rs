//! The tools volume on the disk.
//!
//! `bin/` and `python/` are the owner's: what lies there by hand stays. A package is a directory `.packages/<n>` that never
//! changes once it has its number; `.current/<package>` is a link to it, and to rename that link is what installs it. What a
//! package brings is linked from `bin/` and `python/` through `.current`, so that running sandboxes see the new one at once.
//! A kill in between leaves directories that no link names and links that lead nowhere; [`Volume::sweep`] removes both.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use model::{Code, Failure};

use crate::ToolView;

/// Directories that the owner may put files into.
const OPEN: [&str; 2] = ["bin", "python"];
/// Packages, by number.
const PACKAGES: &str = ".packages";
/// Links to the packages in force, by key.
const CURRENT: &str = ".current";
/// What the name of a directory begins with that is not whole yet.
const FRESH: &str = ".fresh-";
/// What is said of a package, in its directory.
const ABOUT: &str = "tool.json";
/// The deepest package.
const DEPTH_MAX: usize = 64;
/// The longest name or version.
const NAME_BYTES_MAX: usize = 214;

/// Where a tool comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Pypi,
    Npm,
    File,
}

impl Source {
    /// The configuration key that says where its packages are.
    pub(crate) fn key(self) -> &'static str {
        if self == Self::Npm { "engines.registry" } else { "tools.index" }
    }
}

/// A tool as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) source: Source,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

impl Wanted {
    /// Reads `NAME[==VERSION]`, `npm:NAME[@VERSION]` or `file:NAME`.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let (source, rest) = match (text.strip_prefix("npm:"), text.strip_prefix("file:")) {
            (Some(rest), _) => (Source::Npm, rest),
            (None, Some(rest)) => (Source::File, rest),
            (None, None) => (Source::Pypi, text.strip_prefix("pypi:").unwrap_or(text)),
        };
        let (name, version) = match source {
            Source::Pypi => rest.split_once("==").map_or((rest, None), |(name, version)| (name, Some(version))),
            // The first character may be the @ of a scope.
            Source::Npm => match rest.char_indices().skip(1).find(|(_, c)| *c == '@') {
                Some((at, _)) => (&rest[..at], Some(&rest[at + 1..])),
                None => (rest, None),
            },
            Source::File => (rest, None),
        };
        let is_name = match (source, name.strip_prefix('@').and_then(|scoped| scoped.split_once('/'))) {
            (Source::Npm, Some((scope, name))) => is_plain(scope) && is_plain(name),
            _ => is_plain(name),
        };
        if !is_name || !version.is_none_or(is_plain) {
            let shown: String = text.chars().take(80).collect();
            return Err(Failure::new(Code::Usage, format!("`{}` is not the name of a tool", shown.escape_debug()))
                .hint("NAME or NAME==VERSION from PyPI, npm:NAME or npm:NAME@VERSION, or file:PATH")
                .field("name"));
        }
        Ok(Self { source, name: name.to_owned(), version: version.map(str::to_owned) })
    }

    /// As people write it, without the version.
    pub(crate) fn shown(&self) -> String {
        match self.source {
            Source::Pypi => self.name.clone(),
            Source::Npm => format!("npm:{}", self.name),
            Source::File => format!("file:{}", self.name),
        }
    }

    /// What it is called in the volume: names that mean the same package are the same.
    pub(crate) fn key(&self) -> String {
        match self.source {
            Source::Pypi => format!("pypi-{}", plain_python(&self.name)),
            Source::Npm => format!("npm-{}", self.name.replace('/', "+")),
            Source::File => format!("file-{}", self.name),
        }
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+!".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    begins && text.len() <= NAME_BYTES_MAX && text.chars().all(plain)
}

/// The one form of a Python package's name.
fn plain_python(name: &str) -> String {
    let mut plain = String::new();
    for c in name.to_ascii_lowercase().chars() {
        let c = if matches!(c, '_' | '.') { '-' } else { c };
        if c != '-' || !plain.ends_with('-') {
            plain.push(c);
        }
    }
    plain
}

/// The volume of a home.
pub(crate) struct Volume {
    dir: PathBuf,
}

/// A package that is being made; what is left of it goes with this.
pub(crate) struct Fresh {
    pub(crate) dir: PathBuf,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %self.dir.display(), %error, "half a tool was not removed");
        }
    }
}

impl Volume {
    /// Opens the volume, made when it is not there.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, Failure> {
        for part in OPEN.into_iter().chain([PACKAGES, CURRENT]) {
            make_open(&dir.join(part)).map_err(|e| unusable("make its directories", &e))?;
        }
        Ok(Self { dir })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A place to make a package in.
    pub(crate) fn fresh(&self) -> Result<Fresh, Failure> {
        let dir = self.dir.join(PACKAGES).join(format!("{FRESH}{:032x}", crate::clock::fresh_bits()));
        fs::create_dir(&dir).map_err(|e| unusable("make a package", &e))?;
        Ok(Fresh { dir })
    }

    /// Puts a whole package in force, in the place of an earlier one of the same key.
    pub(crate) fn put(&self, fresh: Fresh, wanted: &Wanted) -> Result<ToolView, Failure> {
        let fail = |e: io::Error| unusable("put a package in force", &e);
        let programs = programs_of(&fresh.dir).map_err(fail)?;
        let version = version_of(&fresh.dir, wanted).unwrap_or_default();
        let view = ToolView { name: wanted.shown(), version, programs: programs.into_keys().collect(), installed: crate::now() };
        let about = serde_json::to_vec(&view).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        fs::write(fresh.dir.join(ABOUT), about).map_err(fail)?;
        open_up(&fresh.dir, 0).map_err(fail)?;
        let number = format!("{:032x}", crate::clock::fresh_bits());
        fs::rename(&fresh.dir, self.dir.join(PACKAGES).join(&number)).map_err(fail)?;
        model::crash::point("tools:unpacked");
        self.link(&self.dir.join(CURRENT).join(wanted.key()), &Path::new("..").join(PACKAGES).join(number)).map_err(fail)?;
        model::crash::point("tools:installed");
        self.sweep()?;
        Ok(view)
    }

    /// What is in force, by name.
    pub(crate) fn list(&self) -> Result<Vec<ToolView>, Failure> {
        let fail = |e: io::Error| unusable("read it", &e);
        let mut all = Vec::new();
        for (_, package) in self.current().map_err(fail)? {
            let about = match fs::read(package.join(ABOUT)) {
                // It was taken out of force meanwhile.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                about => about.map_err(fail)?,
            };
            all.push(serde_json::from_slice::<ToolView>(&about).map_err(|e| fail(io::Error::other(e)))?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Takes a package out of force, and removes it.
    pub(crate) fn remove(&self, wanted: &Wanted) -> Result<(), Failure> {
        match fs::remove_file(self.dir.join(CURRENT).join(wanted.key())) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Failure::new(Code::NotFound, format!("there is no tool {}", wanted.shown()))
                    .hint("`lazaret tools list` names them")
                    .field("name"));
            }
            Err(e) => return Err(unusable("remove a package", &e)),
        }
        model::crash::point("tools:removed");
        self.sweep()
    }

    /// Makes the links what the packages in force say, and removes packages that are not. Nothing is installed meanwhile.
    pub(crate) fn sweep(&self) -> Result<(), Failure> {
        let swept = self.drop_fresh().and_then(|()| self.relink()).and_then(|()| self.drop_packages());
        swept.map_err(|e| unusable("sweep it", &e))
    }

    /// Removes links that were being made when a daemon was killed.
    fn drop_fresh(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.dir.join(CURRENT))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(FRESH) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The packages in force: key and directory.
    fn current(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.dir.join(CURRENT))? {
            let entry = entry?;
            let key = entry.file_name().to_string_lossy().into_owned();
            if !key.starts_with(FRESH) && entry.path().join(ABOUT).is_file() {
                all.push((key, entry.path()));
            }
        }
        all.sort();
        Ok(all)
    }

    fn relink(&self) -> io::Result<()> {
        let current = self.current()?;
        for (open, parts) in OPEN.into_iter().zip([programs_of as fn(&Path) -> io::Result<BTreeMap<String, PathBuf>>, modules_of]) {
            let dir = self.dir.join(open);
            let ours = Path::new("..").join(CURRENT);
            let mut standing: HashSet<String> = HashSet::new();
            // A link of ours that leads nowhere is of a package that is gone, or has lost this part.
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let is_ours = fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(&ours));
                if is_ours && !entry.path().exists() {
                    fs::remove_file(entry.path())?;
                } else {
                    standing.insert(entry.file_name().to_string_lossy().into_owned());
                }
            }
            for (key, package) in &current {
                for (name, inner) in parts(package)? {
                    // What is there stays: the owner's own file, or that of a package that was first.
                    if standing.insert(name.clone()) {
                        self.link(&dir.join(&name), &ours.join(key).join(inner))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn drop_packages(&self) -> io::Result<()> {
        let mut named = HashSet::new();
        for (_, link) in self.current()? {
            named.extend(fs::read_link(link)?.file_name().map(ToOwned::to_owned));
        }
        for entry in fs::read_dir(self.dir.join(PACKAGES))? {
            let entry = entry?;
            if !named.contains(&entry.file_name()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes a link, or lets one that is there lead to `target`, at once.
    fn link(&self, at: &Path, target: &Path) -> io::Result<()> {
        let fresh = self.dir.join(CURRENT).join(format!("{FRESH}{:032x}", crate::clock::fresh_bits()));
        symlink(target, &fresh)?;
        fs::rename(&fresh, at)
    }
}

/// The programs that a package brings: name and place in it.
fn programs_of(package: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut all = BTreeMap::new();
    for dir in ["bin", "python/bin", "npm/bin"] {
        all.extend(names_in(&package.join(dir))?.into_iter().map(|name| (name.clone(), Path::new(dir).join(name))));
    }
    Ok(all)
}

/// What a package brings that Python can import.
fn modules_of(package: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let names = names_in(&package.join("python"))?.into_iter().filter(|name| name != "bin" && name != "__pycache__");
    Ok(names.map(|name| (name.clone(), Path::new("python").join(name))).collect())
}

/// The names in a directory that are UTF-8; none when it is not there.
fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
        Ok(entries) => entries.filter_map(|e| e.map(|e| e.file_name().into_string().ok()).transpose()).collect(),
    }
}

/// The version that came, as the package itself says.
fn version_of(package: &Path, wanted: &Wanted) -> Option<String> {
    match wanted.source {
        Source::Pypi => names_in(&package.join("python")).ok()?.iter().find_map(|name| {
            let (of, version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
            (plain_python(of) == plain_python(&wanted.name) && is_plain(version)).then(|| version.to_owned())
        }),
        Source::Npm => {
            let path = package.join("npm/lib/node_modules").join(&wanted.name).join("package.json");
            let about: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
            about["version"].as_str().filter(|version| is_plain(version)).map(str::to_owned)
        }
        Source::File => None,
    }
}

/// Lets everybody read a package: a sandbox's user is nobody here. Links are left as they are and never followed.
fn open_up(at: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("the package is too deep"));
    }
    let meta = fs::symlink_metadata(at)?;
    if meta.is_symlink() {
        let to = fs::read_link(at)?;
        return if to.is_absolute() { fs::remove_file(at) } else { Ok(()) };
    }
    let mode = if meta.is_dir() || meta.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 };
    fs::set_permissions(at, fs::Permissions::from_mode(mode))?;
    if meta.is_dir() {
        for entry in fs::read_dir(at)? {
            open_up(&entry?.path(), depth + 1)?;
        }
    }
    Ok(())
}

/// Makes a directory that everybody may look into; one that is there stays as the owner made it.
fn make_open(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    for made in [dir.parent().unwrap_or(dir), dir] {
        fs::set_permissions(made, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

pub(crate) fn unusable(what: &str, error: &io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the tools volume cannot be used: {what}: {error}"))
}

#[cfg(test)]
mod tests;
