//! Trees in the home, where there is no disk image: directories, and frozen layers beneath them.
//!
//! A tree is `trees/<id>/` with `upper`, which holds `home` and `workspace`, and `layers.json`, which lists what lies
//! beneath, topmost first. A tree that has nothing beneath is mounted as it is; one that has is an overlay. To copy a
//! tree its upper directory becomes a layer that both have, and both go on with an empty one: no file is touched.
//!
//! The order of steps is what makes a kill harmless. The list is written with the layer's name first, then the upper
//! directory is renamed to the layer: a topmost layer that is not there means that this rename did not happen.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jail::Source;
use model::TreeId;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::SandboxError;
use crate::home::{LAYERS, TREES, make_dir, remove_tree, replace_file};
use crate::host::Host;
use crate::pool::{FRESH, fill, random};
use crate::trees::HALVES;

/// The list of a tree.
const LIST: &str = "layers.json";
/// The largest list that is read.
const LIST_BYTES_MAX: u64 = 64 << 10;
/// The most layers of one tree; the kernel lays at most 500 over one another. A tree that has them can be used, but not
/// copied any more.
pub(crate) const LAYERS_MAX: usize = 450;
/// What the name of a tree that is being removed ends with.
const GONE: &str = ".gone";

/// What `layers.json` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Names in `layers/`, topmost first.
    layers: Vec<String>,
    /// Whether the tree takes no writes, and has no upper directory.
    frozen: bool,
}

fn dir(host: &Host, id: &TreeId) -> PathBuf {
    host.home.trees().join(id.as_str())
}

/// Whether the tree lies in the home.
pub(crate) fn exists(host: &Host, id: &TreeId) -> bool {
    dir(host, id).is_dir()
}

/// The names of all trees in the home, with those that are half made.
pub(crate) fn list(host: &Host) -> Result<Vec<String>, SandboxError> {
    names(&host.home.trees())
}

/// Makes an empty tree.
pub(crate) fn make(host: &Host, id: &TreeId) -> Result<(), SandboxError> {
    whole(host, id, &List::default())
}

/// Makes a tree with this list, so that it is whole or not there.
fn whole(host: &Host, id: &TreeId, list: &List) -> Result<(), SandboxError> {
    let fresh = host.home.trees().join(format!("{id}{FRESH}"));
    let failed = || SandboxError::io(format!("make the tree {id}"));
    remove_tree(&fresh).map_err(failed())?;
    make_dir(&fresh)?;
    write(&fresh, list)?;
    if !list.frozen {
        make_upper(host, &fresh).map_err(failed())?;
    }
    model::crash::point("tree:filled");
    match fs::rename(&fresh, dir(host, id)) {
        Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => Err(SandboxError::TreeExists(id.clone())),
        other => other.map_err(failed()),
    }
}

/// Makes an empty upper directory where there is none.
fn make_upper(host: &Host, tree: &Path) -> std::io::Result<()> {
    let (upper, fresh) = (tree.join("upper"), tree.join("upper.new"));
    if !tree.join("work").exists() {
        fs::create_dir(tree.join("work"))?;
    }
    if upper.exists() {
        return Ok(());
    }
    remove_tree(&fresh)?;
    fs::create_dir(&fresh)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fill(&rustix::fs::open(&fresh, flags, Mode::empty())?, host.is_root())?;
    fs::rename(fresh, upper)
}

/// Where the halves of the tree are mounted from.
pub(crate) fn sources(host: &Host, id: &TreeId, read_only: bool, contested: bool) -> Result<[Source; 2], SandboxError> {
    let _one = host.trees();
    let tree = dir(host, id);
    let list = read(host, id)?;
    if list.frozen && !read_only {
        return Err(SandboxError::Path { path: id.to_string(), why: "it is frozen: make a tree of it and use that".into() });
    }
    if !list.frozen {
        make_upper(host, &tree).map_err(SandboxError::io("make the writable layer of a tree"))?;
    }
    let own = (!list.frozen).then(|| Path::new(TREES).join(id.as_str()));
    let mut lowers: Vec<PathBuf> = list.layers.iter().map(|name| Path::new(LAYERS).join(name)).collect();
    if let (Some(own), true) = (&own, lowers.is_empty()) {
        return Ok(HALVES.map(|half| Source::Path(host.home.root().join(own).join("upper").join(half))));
    }
    if own.is_some() && contested {
        let why = "its files lie in layers, which one sandbox at a time can write; root has a disk image for that".into();
        return Err(SandboxError::TreeInUse { tree: id.clone(), why });
    }
    let upper = match own {
        Some(own) if !read_only => Some((own.join("upper"), own.join("work"))),
        Some(own) => {
            lowers.insert(0, own.join("upper"));
            None
        }
        None => None,
    };
    if let ([single], None) = (lowers.as_slice(), &upper) {
        return Ok(HALVES.map(|half| Source::Path(host.home.root().join(single).join(half))));
    }
    let base = host.home.root().to_owned();
    Ok(HALVES.map(|half| Source::Layers { base: base.clone(), lowers: lowers.clone(), upper: upper.clone(), path: half.into() }))
}

/// Makes `to` what `from` holds; no sandbox has `from`.
pub(crate) fn snapshot(host: &Host, from: &TreeId, to: &TreeId, frozen: bool) -> Result<(), SandboxError> {
    let mut list = read(host, from)?;
    if !list.frozen {
        freeze(host, from, &mut list)?;
    }
    whole(host, to, &List { layers: list.layers, frozen })
}

/// Turns the upper directory of a tree into its topmost layer.
fn freeze(host: &Host, id: &TreeId, list: &mut List) -> Result<(), SandboxError> {
    let failed = || SandboxError::io(format!("freeze the tree {id}"));
    let tree = dir(host, id);
    if list.layers.len() >= LAYERS_MAX {
        return Err(SandboxError::Busy { what: "layers of a tree", max: LAYERS_MAX });
    }
    // Missing when this process was killed after the rename of the last time.
    make_upper(host, &tree).map_err(failed())?;
    let name: String = random().map_err(failed())?.iter().map(|b| format!("{b:02x}")).collect();
    list.layers.insert(0, name.clone());
    write(&tree, list)?;
    model::crash::point("tree:layer.named");
    // The host gave it a mode that only its owner can pass; as a layer it is the root of nothing.
    fs::set_permissions(tree.join("upper"), fs::Permissions::from_mode(0o755)).map_err(failed())?;
    fs::rename(tree.join("upper"), host.home.layers().join(name)).map_err(failed())?;
    model::crash::point("tree:layer.made");
    make_upper(host, &tree).map_err(failed())
}

/// Removes a tree; its layers go with the next sweep unless others have them.
pub(crate) fn remove(host: &Host, id: &TreeId) -> Result<(), SandboxError> {
    let gone = host.home.trees().join(format!("{id}{GONE}"));
    let failed = || SandboxError::io(format!("remove the tree {id}"));
    remove_tree(&gone).map_err(failed())?;
    match fs::rename(dir(host, id), &gone) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed())?,
    }
    model::crash::point("tree:unnamed");
    remove_tree(&gone).map_err(failed())
}

/// Removes what is half made or half removed, and layers that no tree has.
pub(crate) fn sweep(host: &Host) -> Result<(), SandboxError> {
    let failed = || SandboxError::io("remove what is left of trees");
    let mut wanted = Vec::new();
    for name in names(&host.home.trees())? {
        match name.parse::<TreeId>() {
            // A list that cannot be read may name any layer.
            Ok(id) => wanted.extend(read(host, &id)?.layers),
            Err(_) if name.ends_with(FRESH) || name.ends_with(GONE) => {
                remove_tree(&host.home.trees().join(name)).map_err(failed())?;
            }
            Err(_) => {}
        }
    }
    for name in names(&host.home.layers())? {
        if !wanted.contains(&name) {
            remove_tree(&host.home.layers().join(name)).map_err(failed())?;
        }
    }
    Ok(())
}

fn write(tree: &Path, list: &List) -> Result<(), SandboxError> {
    let bytes = serde_json::to_vec(list).map_err(|e| SandboxError::Start(e.to_string()))?;
    replace_file(&tree.join(LIST), &bytes)
}

/// Reads the list of a tree, without a topmost layer that was never made.
fn read(host: &Host, id: &TreeId) -> Result<List, SandboxError> {
    let path = dir(host, id).join(LIST);
    let unusable = |why: String| SandboxError::Path { path: path.display().to_string(), why };
    let meta = fs::symlink_metadata(&path).map_err(SandboxError::io("look at the layers of a tree"))?;
    if !meta.is_file() || meta.len() > LIST_BYTES_MAX {
        return Err(unusable("it is no list of layers".into()));
    }
    let bytes = fs::read(&path).map_err(SandboxError::io("read the layers of a tree"))?;
    let mut list: List = serde_json::from_slice(&bytes).map_err(|e| unusable(e.to_string()))?;
    if list.layers.iter().any(|name| name.len() != 32 || !name.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(unusable("it names something that is no layer".into()));
    }
    if list.layers.first().is_some_and(|name| !host.home.layers().join(name).exists()) {
        list.layers.remove(0);
    }
    Ok(list)
}

fn names(dir: &Path) -> Result<Vec<String>, SandboxError> {
    let entries = fs::read_dir(dir).map_err(SandboxError::io("read the home"))?;
    Ok(entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
}
