//! crun on a prepared bundle.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Skeleton, quiet};
use crate::sample::Contender;

pub(crate) struct Crun {
    root: PathBuf,
    bundle: PathBuf,
    count: usize,
}

impl Crun {
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        let bundle = dir.join("crun-bundle");
        Skeleton::make(&bundle.join("rootfs"))?;
        std::fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config())?).context("failed to write the bundle")?;
        let root = dir.join("crun-state");
        std::fs::create_dir(&root)?;
        Ok(Self { root, bundle, count: 0 })
    }
}

/// Our layers as far as the runtime has them.
fn config() -> Value {
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": source, "options": options});
    let namespaces: Vec<Value> =
        ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"].iter().map(|kind| json!({"type": kind})).collect();
    let ids =
        json!([{"containerID": 1000, "hostID": 1_499_999_998u32, "size": 1}, {"containerID": 0, "hostID": 1_499_999_997u32, "size": 1}]);
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false, "user": {"uid": 1000, "gid": 1000}, "args": ["true"], "cwd": "/workspace",
            "env": ["PATH=/usr/bin:/bin"], "capabilities": {}, "noNewPrivileges": true,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}]
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "peer",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "nodev", "mode=1777", "size=65536k"]),
            mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=65536k"]),
            mount("/workspace", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=65536k"]),
            mount("/usr", "bind", "/usr", &["bind", "ro", "nosuid", "nodev"]),
        ],
        "linux": {
            "namespaces": namespaces, "uidMappings": ids, "gidMappings": ids,
            "cgroupsPath": "/lazaret-bench-crun",
            "resources": {"memory": {"limit": 2_147_483_648u64}, "pids": {"limit": 256}, "cpu": {"quota": 100_000, "period": 100_000}},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger"],
            "readonlyPaths": ["/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs"]
        }
    })
}

impl Contender for Crun {
    fn name(&self) -> String {
        "crun, prepared bundle".to_owned()
    }

    fn lacks(&self) -> String {
        "no seccomp filter or landlock; no overlay, so no disk limit; no supervision".to_owned()
    }

    fn once(&mut self) -> Result<()> {
        self.count += 1;
        let id = format!("peer-{}-{}", std::process::id(), self.count);
        quiet(
            Command::new("crun")
                .arg("--cgroup-manager=cgroupfs")
                .arg("--root")
                .arg(&self.root)
                .args(["run", "--bundle"])
                .arg(&self.bundle)
                .arg(id),
        )
    }
}
