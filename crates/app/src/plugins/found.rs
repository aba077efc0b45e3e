//! Plugins that are there: folders of the home, and what ships.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::Manifest;
use broker::manifest::Skill;
use model::{Code, Failure};
use sha2::{Digest, Sha256};

use super::ShippedPlugin;

/// Plugins of one home.
const PLUGINS_MAX: usize = 256;
/// The longest name of a plugin.
const NAME_BYTES_MAX: usize = 48;
/// Files of a folder whose times and sizes are looked at.
const FILES_MAX: usize = 10_000;
/// Names that no folder takes: what bears them is part of the daemon.
pub(crate) const RESERVED_PLUGINS: &[&str] = &["memory", "installer", "lazaret"];

/// A plugin that is there.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Its folder; one that ships has none.
    pub(crate) folder: Option<PathBuf>,
    /// What it says of itself.
    pub(crate) manifest: Arc<Manifest>,
    /// What it tells agents.
    pub(crate) skills: Vec<Skill>,
    /// Changes when any of its files does.
    pub(crate) print: String,
}

/// Whether a text can be the name of a plugin.
pub(crate) fn is_plugin_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// The names of all plugins that are there, readable or not.
pub(crate) fn names(plugins: &Path, shipped: &[ShippedPlugin]) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = shipped.iter().map(|plugin| plugin.name.to_owned()).collect();
    let unread = |e: std::io::Error| Failure::new(Code::HomeUnsafe, format!("the plugins of the home cannot be read: {e}"));
    match std::fs::read_dir(plugins) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(unread)?.file_name().to_string_lossy().into_owned();
                // What is on its way in or out has a name that begins with a dot.
                if !name.starts_with('.') {
                    names.push(name);
                }
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(unread(e)),
    }
    names.sort();
    names.dedup();
    if names.len() > PLUGINS_MAX {
        return Err(Failure::new(Code::PluginInvalid, format!("there are more than {PLUGINS_MAX} plugins")));
    }
    Ok(names)
}

/// Reads a plugin: its folder in the home, or else what ships. `None` when there is none of this name.
pub(crate) fn read(plugins: &Path, shipped: &[ShippedPlugin], name: &str) -> Option<Result<Found, Failure>> {
    let folder = plugins.join(name);
    match std::fs::symlink_metadata(&folder) {
        Ok(meta) => Some(if !is_plugin_name(name) {
            let shown: String = name.escape_debug().take(NAME_BYTES_MAX).collect();
            Err(Failure::new(Code::PluginInvalid, format!("`{shown}` is not a name for a plugin: small letters, digits, `-` and `_`")))
        } else if RESERVED_PLUGINS.contains(&name) {
            Err(Failure::new(Code::PluginInvalid, format!("`{name}` is part of the daemon, and no plugin takes its place")))
        } else if !meta.is_dir() {
            Err(Failure::new(Code::PluginInvalid, "it is not a directory")
                .hint("a link is not followed; copy the folder, or `lazaret plugin install` it"))
        } else {
            read_folder(&folder)
        }),
        Err(_) => shipped.iter().find(|plugin| plugin.name == name).map(read_shipped),
    }
}

fn read_folder(folder: &Path) -> Result<Found, Failure> {
    let wrong = |error: broker::ManifestError| {
        Failure::new(Code::PluginInvalid, model::chain(&error)).hint(format!("lazaret plugin check {}", folder.display()))
    };
    let manifest = Manifest::read_dir(folder).map_err(wrong)?;
    let skills = broker::manifest::skills(folder).map_err(wrong)?;
    let print = print_of(folder).map_err(|e| Failure::new(Code::PluginInvalid, format!("its folder cannot be read: {e}")))?;
    Ok(Found { folder: Some(folder.to_owned()), manifest: Arc::new(manifest), skills, print })
}

fn read_shipped(plugin: &ShippedPlugin) -> Result<Found, Failure> {
    let manifest = Manifest::from_toml(plugin.manifest)
        .map_err(|error| Failure::new(Code::Internal, format!("the manifest of {} is wrong: {}", plugin.name, model::chain(&error))))?;
    let skills = plugin.skills.iter().map(|(file, text)| Skill { file: (*file).to_owned(), text: (*text).to_owned() }).collect();
    let print = hex(&Sha256::digest(plugin.manifest));
    Ok(Found { folder: None, manifest: Arc::new(manifest), skills, print })
}

/// Names, sizes, modes and times of a folder's files: what changes when somebody changes the plugin. It saves starting its
/// program to ask for its tools; what the program lists is looked at again whenever it starts.
fn print_of(folder: &Path) -> std::io::Result<String> {
    let mut seen: BTreeMap<PathBuf, (u64, u32, i64, i64)> = BTreeMap::new();
    let mut dirs = vec![folder.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            let meta = std::fs::symlink_metadata(&path)?;
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            let size = if meta.is_dir() { 0 } else { meta.size() };
            seen.insert(path, (size, meta.mode(), meta.mtime(), meta.mtime_nsec()));
            if seen.len() > FILES_MAX {
                return Err(std::io::Error::other(format!("it has more than {FILES_MAX} files")));
            }
        }
    }
    let mut hash = Sha256::new();
    for (path, about) in seen {
        hash.update(format!("{}\0{about:?}\0", path.display()));
    }
    Ok(hex(&hash.finalize()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
