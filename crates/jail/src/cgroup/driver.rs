//! Where control groups can be made, and how.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::files::{self, CgroupError};
use super::group::{Group, Kind};

/// What a hierarchy can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    /// The number of processes and threads.
    Pids,
    /// Memory and swap.
    Memory,
    /// Processor time.
    Cpu,
}

impl Controller {
    /// All, in the order in which a process enters them.
    pub(super) const ALL: [Controller; 3] = [Controller::Pids, Controller::Memory, Controller::Cpu];

    /// The kernel's name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Controller::Pids => "pids",
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
        }
    }
}

/// The limits of a sandbox's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLimits {
    /// Bytes of memory, swap included.
    pub memory_bytes: Option<u64>,
    /// Processors, in thousandths. The kernel gives at least ten of them.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

impl GroupLimits {
    fn wants(&self, controller: Controller) -> bool {
        match controller {
            Controller::Pids => self.pids.is_some(),
            Controller::Memory => self.memory_bytes.is_some(),
            Controller::Cpu => self.cpu_millis.is_some(),
        }
    }
}

/// What this host offers. Cheap to make and to copy; it holds paths only.
#[derive(Debug, Clone)]
pub struct Driver {
    kind: Kind,
    /// What the names of this installation's groups begin with.
    prefix: String,
    /// Where the groups lie, in each hierarchy (v1) or once (v2), with the controllers that it has.
    bases: Vec<(Vec<Controller>, PathBuf)>,
}

impl Driver {
    /// Looks at /sys/fs/cgroup and at the caller's own group. `install` tells this installation's groups from others'.
    #[must_use]
    pub fn detect(install: &str) -> Self {
        let own = files::read(Path::new("/proc/self/cgroup"));
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
        Self::at(Path::new("/sys/fs/cgroup"), own, install)
    }

    /// The same for another root directory (a tree that stands in, in tests) and the caller's own v2 group.
    #[must_use]
    pub fn at(root: &Path, own: &str, install: &str) -> Self {
        // The point ends the installation's part, so that no other's name can begin with it.
        let prefix = format!("lazaret-{}.", install.replace('.', "_"));
        if root.join("cgroup.controllers").exists() {
            return Self { kind: Kind::V2, prefix, bases: delegated(root, own).into_iter().collect() };
        }
        let mut bases: Vec<(Vec<Controller>, PathBuf)> = Vec::new();
        for controller in Controller::ALL {
            // Some hosts mount two controllers at one place; the single names are links then.
            let Ok(path) = fs::canonicalize(root.join(controller.as_str())) else { continue };
            if access(path.join("cgroup.procs"), Access::WRITE_OK).is_err() {
                continue;
            }
            match bases.iter_mut().find(|(_, have)| *have == path) {
                Some((controllers, _)) => controllers.push(controller),
                None => bases.push((vec![controller], path)),
            }
        }
        Self { kind: Kind::V1, prefix, bases }
    }

    /// `v1` or `v2`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.kind {
            Kind::V1 => "v1",
            Kind::V2 => "v2",
        }
    }

    /// Whether groups with a limit of this controller (`pids`, `memory`, `cpu`) can be made.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.bases.iter().any(|(controllers, _)| controllers.iter().any(|c| c.as_str() == controller))
    }

    /// Makes the groups of a sandbox.
    ///
    /// # Errors
    /// [`CgroupError`]; nothing is left then. [`CgroupError::Controller`] for a limit that [`Driver::has`] denies.
    pub fn create(&self, name: &str, limits: &GroupLimits) -> Result<Group, CgroupError> {
        check(name)?;
        for controller in Controller::ALL {
            if limits.wants(controller) && !self.has(controller.as_str()) {
                return Err(CgroupError::Controller { controller: controller.as_str() });
            }
        }
        let group = self.group(name, |controllers| {
            // The hierarchy of pids is where everything is found and killed.
            controllers.iter().any(|c| *c == Controller::Pids || limits.wants(*c))
        });
        if let Err(error) = self.prepare(&group).and_then(|()| group.make(limits)) {
            let _ = group.remove();
            return Err(error);
        }
        Ok(group)
    }

    /// The groups of a sandbox that was made earlier, perhaps by a daemon that is gone.
    #[must_use]
    pub fn open(&self, name: &str) -> Option<Group> {
        check(name).ok()?;
        let group = self.group(name, |_| true).existing();
        (!group.is_empty()).then_some(group)
    }

    /// The names of all groups of this installation, in any hierarchy.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for (_, base) in &self.bases {
            let Ok(entries) = fs::read_dir(base) else { continue };
            let groups = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
            let ours = groups.filter_map(|e| e.file_name().to_str().and_then(|name| name.strip_prefix(&self.prefix)).map(str::to_owned));
            names.extend(ours);
        }
        names.into_iter().collect()
    }

    fn group(&self, name: &str, wanted: impl Fn(&[Controller]) -> bool) -> Group {
        let bases = self.bases.iter().filter(|(controllers, _)| self.kind == Kind::V2 || wanted(controllers));
        Group::new(self.kind, bases.map(|(controllers, base)| (controllers.clone(), base.join(format!("{}{name}", self.prefix)))).collect())
    }

    /// Lets the groups to come have their controllers (v2). Nothing of this installation's own is made beside the
    /// groups, so nothing is left when the last of them is gone.
    fn prepare(&self, group: &Group) -> Result<(), CgroupError> {
        if self.kind == Kind::V1 {
            return Ok(());
        }
        group
            .places()
            .iter()
            .filter_map(|(controllers, path)| Some((controllers, path.parent()?)))
            .try_for_each(|(c, above)| enable(above, c))
    }
}

/// Lets the groups below have these controllers (v2).
pub(super) fn enable(path: &Path, controllers: &[Controller]) -> Result<(), CgroupError> {
    let words: Vec<String> = controllers.iter().map(|c| format!("+{}", c.as_str())).collect();
    files::write(&path.join("cgroup.subtree_control"), &words.join(" "))
}

/// The v2 group below which this user can make groups with limits: the root, or the highest group on the way to its
/// own one that was handed to it.
fn delegated(root: &Path, own: &str) -> Option<(Vec<Controller>, PathBuf)> {
    let mut path = root.to_owned();
    let names = own.split('/').filter(|n| !n.is_empty() && *n != "..");
    for name in std::iter::once("").chain(names) {
        if !name.is_empty() {
            path.push(name);
        }
        let writable = access(&path, Access::WRITE_OK).is_ok() && access(path.join("cgroup.subtree_control"), Access::WRITE_OK).is_ok();
        if writable {
            let text = files::read(&path.join("cgroup.controllers"));
            let has = |c: &Controller| text.split_whitespace().any(|word| word == c.as_str());
            return Some((Controller::ALL.into_iter().filter(has).collect(), path));
        }
    }
    None
}

fn check(name: &str) -> Result<(), CgroupError> {
    let plain = !name.is_empty() && name.len() <= 128 && !name.starts_with('.');
    if plain && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) { Ok(()) } else { Err(CgroupError::Name) }
}
