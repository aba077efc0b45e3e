//! What a sandbox has on the host, written down before it is made.

use std::fs;
use std::path::{Path, PathBuf};

use model::{Level, Limits, SandboxId, Timestamp, TreeId};
use serde::{Deserialize, Serialize};

use crate::SandboxError;
use crate::home::replace_file;

/// The name of a record in the directory of its sandbox.
const FILE: &str = "record.json";
/// The largest record that is read.
const BYTES_MAX: u64 = 512 << 10;

/// What a sandbox has on the host. Written first without a process, then again with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The form of this file.
    pub(crate) form: u32,
    /// The version of the wire that its guest speaks.
    pub(crate) wire: u32,
    pub(crate) id: SandboxId,
    pub(crate) label: String,
    /// What its user wants to have back.
    #[serde(default)]
    pub(crate) note: String,
    /// The boot of the machine in which it was made; in another nothing of it lives.
    pub(crate) boot: String,
    pub(crate) made: Timestamp,
    /// The reserved user, as root.
    pub(crate) uid: Option<u32>,
    /// The name of its control group.
    pub(crate) group: Option<String>,
    /// The kept tree that it writes to.
    pub(crate) tree: Option<TreeId>,
    /// Further trees that it reads.
    #[serde(default)]
    pub(crate) reads: Vec<TreeId>,
    /// Where its host files are seen, in the order of their names.
    #[serde(default)]
    pub(crate) files: Vec<PathBuf>,
    /// Where it has host directories among the files of its tree.
    #[serde(default)]
    pub(crate) mounts: Vec<PathBuf>,
    pub(crate) limits: Limits,
    pub(crate) level: Level,
    /// The first process, once there is one.
    pub(crate) init: Option<Process>,
}

/// A process that cannot be mistaken for another one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Its start in ticks since boot.
    pub(crate) started: u64,
}

impl Record {
    pub(crate) const FORM: u32 = 1;

    /// Writes the record into the directory of its sandbox.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), SandboxError> {
        let bytes = serde_json::to_vec(self).map_err(|e| SandboxError::Start(e.to_string()))?;
        replace_file(&dir.join(FILE), &bytes)
    }

    /// Reads the record of a sandbox; `None` when there is none that this version can read.
    pub(crate) fn read(dir: &Path) -> Option<Record> {
        let path = dir.join(FILE);
        let meta = fs::symlink_metadata(&path).ok()?;
        if !meta.is_file() || meta.len() > BYTES_MAX {
            return None;
        }
        let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (record.form == Self::FORM).then_some(record)
    }
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn now(pid: i32) -> Option<Process> {
        let started = jail::pidfd::start_time(pid).ok()?;
        Some(Process { pid, started })
    }
}

/// What tells this boot of the machine from others.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The host's clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_and_foreign_ones_are_not() {
        let dir = tempfile::tempdir().expect("temp dir");
        let pid = i32::try_from(std::process::id()).expect("pid");
        let record = Record {
            form: Record::FORM,
            wire: wire::VERSION,
            id: SandboxId::from_bits(1),
            label: "x".into(),
            note: "{}".into(),
            boot: boot(),
            made: now(),
            uid: Some(7),
            group: None,
            tree: Some(TreeId::from_bits(3)),
            reads: Vec::new(),
            files: vec!["/home/sandbox/x".into()],
            mounts: vec!["/home/sandbox/notes".into()],
            limits: Limits::default(),
            level: Level::default(),
            init: Process::now(pid),
        };
        record.write(dir.path()).expect("written");
        assert_eq!(Record::read(dir.path()), Some(record.clone()));
        assert!(record.init.is_some_and(|p| p.started > 0));
        Record { form: 2, ..record }.write(dir.path()).expect("written");
        assert_eq!(Record::read(dir.path()), None);
        fs::write(dir.path().join(FILE), "{").expect("written");
        assert_eq!(Record::read(dir.path()), None);
    }
}
