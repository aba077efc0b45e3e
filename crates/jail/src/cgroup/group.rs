//! The groups of one sandbox.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::driver::{Controller, GroupLimits, enable};
use super::files::{self, CgroupError};
use crate::{CgroupJoin, pidfd};

/// Which kind of hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One hierarchy for each controller.
    V1,
    /// One for all.
    V2,
}

/// Processes that a guest may have beside its commands: itself, and what unpacks and packs files.
const GUEST_PIDS: u32 = 16;
/// How long killing may take. Only a process that the kernel itself holds takes longer than milliseconds.
pub const KILL_WAIT: Duration = Duration::from_secs(10);
/// How long an empty group may refuse to go away.
pub const REMOVE_WAIT: Duration = Duration::from_secs(5);
/// The first pause between two looks; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_micros(200);
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// The length of a period in which processor time is counted, in microseconds: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;
/// The smallest quota that the kernel takes, in microseconds.
const CPU_QUOTA_US_MIN: u64 = 1_000;

/// What the commands of a sandbox have used. What the host does not count is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of memory now.
    pub memory_bytes: u64,
    /// The most bytes of memory at any time.
    pub memory_peak_bytes: u64,
    /// How many processes were ended for want of memory.
    pub oom_kills: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// The most processes and threads at any time.
    pub pids_peak: u64,
    /// How often a new process was refused.
    pub pids_refused: u64,
    /// Processor time.
    pub cpu: Duration,
}

/// The groups of one sandbox, in every hierarchy. Dropping it removes nothing.
#[derive(Debug, Clone)]
pub struct Group {
    kind: Kind,
    places: Vec<(Vec<Controller>, PathBuf)>,
}

impl Group {
    pub(super) fn new(kind: Kind, places: Vec<(Vec<Controller>, PathBuf)>) -> Self {
        Self { kind, places }
    }

    pub(super) fn places(&self) -> &[(Vec<Controller>, PathBuf)] {
        &self.places
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn existing(mut self) -> Self {
        self.places.retain(|(_, path)| path.exists());
        self
    }

    pub(super) fn make(&self, limits: &GroupLimits) -> Result<(), CgroupError> {
        for (controllers, path) in &self.places {
            files::make(path)?;
            if self.kind == Kind::V2 {
                enable(path, controllers)?;
                files::make(&path.join("guest"))?;
            }
            let commands = path.join("commands");
            files::make(&commands)?;
            for controller in controllers {
                self.limit(*controller, path, &commands, limits)?;
            }
        }
        Ok(())
    }

    fn limit(&self, controller: Controller, group: &Path, commands: &Path, limits: &GroupLimits) -> Result<(), CgroupError> {
        match (controller, self.kind) {
            (Controller::Pids, _) => {
                let Some(pids) = limits.pids else { return Ok(()) };
                files::write(&commands.join("pids.max"), &pids.to_string())?;
                files::write(&group.join("pids.max"), &pids.saturating_add(GUEST_PIDS).to_string())
            }
            (Controller::Memory, Kind::V1) => {
                let Some(bytes) = limits.memory_bytes.map(|b| b.to_string()) else { return Ok(()) };
                files::write(&commands.join("memory.limit_in_bytes"), &bytes)?;
                // Memory and swap together; a kernel without swap accounting does not have it.
                let both = commands.join("memory.memsw.limit_in_bytes");
                if both.exists() { files::write(&both, &bytes) } else { Ok(()) }
            }
            (Controller::Memory, Kind::V2) => {
                let Some(bytes) = limits.memory_bytes else { return Ok(()) };
                files::write(&commands.join("memory.max"), &bytes.to_string())?;
                files::write(&commands.join("memory.swap.max"), "0").or_else(missing)?;
                // One process alone must not die and leave the others waiting for it.
                files::write(&commands.join("memory.oom.group"), "1").or_else(missing)
            }
            (Controller::Cpu, kind) => {
                let Some(millis) = limits.cpu_millis else { return Ok(()) };
                let quota = (u64::from(millis) * CPU_PERIOD_US / 1000).max(CPU_QUOTA_US_MIN);
                match kind {
                    Kind::V1 => files::write(&commands.join("cpu.cfs_quota_us"), &quota.to_string()),
                    Kind::V2 => files::write(&commands.join("cpu.max"), &format!("{quota} {CPU_PERIOD_US}")),
                }
            }
        }
    }

    /// What the launcher needs to enter them.
    #[must_use]
    pub fn join(&self) -> CgroupJoin {
        // Version 1 moves a single thread without the global lock that a whole process takes, and with that lock goes a
        // wait of several milliseconds on a busy machine. Whoever enters has one thread.
        let file = match self.kind {
            Kind::V1 => "tasks",
            Kind::V2 => "cgroup.procs",
        };
        let guest = self.places.iter().map(|(_, path)| self.guest(path).join(file)).collect();
        let commands = self.places.iter().map(|(_, path)| path.join("commands").join(file)).collect();
        CgroupJoin { guest, commands }
    }

    fn guest(&self, path: &Path) -> PathBuf {
        if self.kind == Kind::V2 { path.join("guest") } else { path.to_owned() }
    }

    /// Kills every command and all that they started; the guest lives on and can start others. Returns when none is
    /// left, after [`KILL_WAIT`] at the latest.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when some do not end.
    pub fn kill_commands(&self) -> Result<(), CgroupError> {
        let Some(path) = self.killing_place() else { return Ok(()) };
        let commands = path.join("commands");
        let limit = files::read(&commands.join("pids.max"));
        let killed = kill(&commands, std::slice::from_ref(&commands));
        if !limit.trim().is_empty() {
            let _ = files::write(&commands.join("pids.max"), limit.trim());
        }
        killed
    }

    /// Kills everything, the guest too. Returns when none is left, after [`KILL_WAIT`] at the latest.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when some do not end.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        let Some(path) = self.killing_place() else { return Ok(()) };
        kill(path, &[self.guest(path), path.join("commands")])
    }

    /// The place whose members are all members: that of pids where there is one.
    fn killing_place(&self) -> Option<&Path> {
        let pids = self.places.iter().find(|(controllers, _)| controllers.contains(&Controller::Pids));
        pids.or(self.places.first()).map(|(_, path)| path.as_path())
    }

    /// Removes the groups, which must be empty or emptying: it tries for [`REMOVE_WAIT`]. Groups that are gone already
    /// are no error.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when processes are still in them.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let end = Instant::now() + REMOVE_WAIT;
        for (_, path) in &self.places {
            let v2 = (self.kind == Kind::V2).then(|| path.join("guest"));
            for directory in [Some(path.join("commands")), v2, Some(path.clone())].into_iter().flatten() {
                remove_one(&directory, end)?;
            }
        }
        Ok(())
    }

    /// What the commands have used.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for (controllers, path) in &self.places {
            let at = |name: &str| path.join("commands").join(name);
            for controller in controllers {
                match (controller, self.kind) {
                    (Controller::Pids, _) => {
                        stats.pids = files::number(&at("pids.current"));
                        stats.pids_peak = files::number(&at("pids.peak"));
                        stats.pids_refused = files::keyed(&at("pids.events"), "max");
                    }
                    (Controller::Memory, Kind::V1) => {
                        stats.memory_bytes = files::number(&at("memory.usage_in_bytes"));
                        stats.memory_peak_bytes = files::number(&at("memory.max_usage_in_bytes"));
                        stats.oom_kills = files::keyed(&at("memory.oom_control"), "oom_kill");
                    }
                    (Controller::Memory, Kind::V2) => {
                        stats.memory_bytes = files::number(&at("memory.current"));
                        stats.memory_peak_bytes = files::number(&at("memory.peak"));
                        stats.oom_kills = files::keyed(&at("memory.events"), "oom_kill");
                    }
                    (Controller::Cpu, Kind::V1) => stats.cpu = Duration::from_nanos(files::number(&at("cpuacct.usage"))),
                    (Controller::Cpu, Kind::V2) => stats.cpu = Duration::from_micros(files::keyed(&at("cpu.stat"), "usage_usec")),
                }
            }
        }
        stats
    }
}

/// A file that not every kernel has.
fn missing(error: CgroupError) -> Result<(), CgroupError> {
    match error {
        CgroupError::File { source, .. }
            if source.kind() == std::io::ErrorKind::NotFound || source.raw_os_error() == Some(libc::EACCES) =>
        {
            Ok(())
        }
        other => Err(other),
    }
}

/// Kills all members of `groups`, which are `top` or below it.
fn kill(top: &Path, groups: &[PathBuf]) -> Result<(), CgroupError> {
    // Nobody can fork away from what follows.
    let _ = files::write(&top.join("pids.max"), "0");
    let all_at_once = top.join("cgroup.kill");
    let all_at_once = all_at_once.exists() && files::write(&all_at_once, "1").is_ok();
    let end = Instant::now() + KILL_WAIT;
    let mut pause = PAUSE;
    loop {
        let members: Vec<(i32, &PathBuf)> =
            groups.iter().flat_map(|group| members(group).into_iter().map(move |pid| (pid, group))).collect();
        if members.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(CgroupError::Busy { path: top.to_owned() });
        }
        if !all_at_once {
            for (pid, group) in members {
                kill_member(pid, group);
            }
        }
        sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn members(group: &Path) -> Vec<i32> {
    files::read(&group.join("cgroup.procs")).lines().filter_map(|line| line.parse().ok()).collect()
}

/// Kills one member. Between the list and the signal its number may be given to another process, so the descriptor is
/// opened first and membership is looked at again.
fn kill_member(pid: i32, group: &Path) {
    let Ok(process) = pidfd::open(pid) else { return };
    let text = files::read(Path::new(&format!("/proc/{pid}/cgroup")));
    let ours = text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| {
        // The name in the process's file is relative to a mount that may be shown elsewhere, so the tails are compared.
        path.len() > 1 && group.ends_with(path.trim_start_matches('/'))
    });
    if ours {
        let _ = pidfd::kill(process.as_fd(), libc::SIGKILL);
    }
}

fn remove_one(directory: &Path, end: Instant) -> Result<(), CgroupError> {
    let mut pause = PAUSE;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() != Some(libc::EBUSY) => {
                return Err(CgroupError::File { operation: "remove the control group", path: directory.to_owned(), source: error });
            }
            Err(_) if Instant::now() > end => return Err(CgroupError::Busy { path: directory.to_owned() }),
            Err(_) => {
                sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
