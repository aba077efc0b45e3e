//! Removes what a sandbox has on the host. Everything here may be repeated, and works on what a crash left.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use model::SandboxId;

use crate::home::remove_tree;
use crate::host::Host;
use crate::launcher::Init;
use crate::record::{Process, Record};
use crate::{SandboxError, disk};

/// Kills and removes all of a sandbox but a kept tree. Continues past failures and gives the first.
pub(crate) fn remove(host: &Host, id: &SandboxId, dir: &Path) -> Result<(), SandboxError> {
    let record = Record::read(dir);
    let killed = kill(host, id, record.as_ref());
    model::crash::point("sandbox.killed");
    let grouped = host.groups.open(id.as_str()).map_or(Ok(()), |group| {
        let all = group.kill_all().and_then(|()| group.remove());
        all.map_err(|e| SandboxError::Start(model::chain(&e)))
    });
    model::crash::point("sandbox.group.removed");
    // A user whose processes may live is not given to another sandbox, and the record stays for the next attempt.
    killed?;
    grouped?;
    match (&host.uids, &record) {
        (Some(uids), Some(Record { uid: Some(uid), .. })) => uids.release(*uid, id.as_str()),
        // Its user may have been taken and not been written down yet.
        (Some(uids), None) => uids.sweep(|_, what| what != id.as_str()),
        _ => {}
    }
    model::crash::point("sandbox.user.released");
    if record.as_ref().is_none_or(|r| r.tree.is_none()) {
        disk::remove_ephemeral(host, id)?;
    }
    remove_tree(dir).map_err(SandboxError::io(format!("remove {}", dir.display())))
}

/// Kills the processes of a sandbox and waits until they are gone.
fn kill(host: &Host, id: &SandboxId, record: Option<&Record>) -> Result<(), SandboxError> {
    match record {
        Some(record) if record.boot != host.boot => Ok(()),
        Some(Record { init: Some(process), .. }) => Init::find(*process).map_or(Ok(()), |init| init.kill_and_wait()),
        // It may have been started and not been written down yet.
        _ => strays(&host.label(id)).into_iter().try_for_each(|init| init.kill_and_wait()),
    }
}

/// Launchers and first processes whose command line carries this label. Only used for the moment between the start of
/// a process and the record of it.
fn strays(label: &str) -> Vec<Init> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let mine = pids.filter(|pid| is_own(*pid) && carries(*pid, label));
    mine.filter_map(|pid| Init::find(Process::now(pid)?)).collect()
}

fn carries(pid: i32, label: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|b| *b == 0).skip(1);
    words.next() == Some(b"launch") && words.next() == Some(label.as_bytes())
}

/// Only the caller's own processes count: another user's could carry any text. The kernel shows a process that cannot be
/// looked into, as the guest makes itself, as root's.
fn is_own(pid: i32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    own == 0 || fs::metadata(format!("/proc/{pid}")).is_ok_and(|m| m.uid() == own || m.uid() == 0)
}
