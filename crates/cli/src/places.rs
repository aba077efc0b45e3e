//! What the flags of a sandbox mean: limits, mounts, image, environment. Host paths are opened here, with the caller's
//! own rights, and go on as descriptors only.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::{Code, EgressRule, Failure, parse_bytes, parse_duration};
use rustix::fs::{Mode, OFlags};
use sandbox::Image;

use crate::args;
use crate::config::{Config, cpu_millis};
use crate::env::Env;

/// A host directory that the user named, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) fd: OwnedFd,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

impl Opened {
    /// Where it is on the host.
    pub(crate) fn host_path(&self) -> Result<PathBuf, Failure> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
            .map_err(|e| Failure::new(Code::PathUnusable, format!("a mounted directory has no path: {e}")))
    }
}

/// Everything that the flags of [`args::Places`] ask for.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) image: Image,
    pub(crate) mounts: Vec<Opened>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) allow: Vec<EgressRule>,
}

/// The limits of the flags, over those of the configuration.
pub(crate) fn limits(flags: &args::Limits, config: &Config) -> Result<model::Limits, Failure> {
    let mut limits = config.limits().map_err(|why| Failure::new(Code::ConfigInvalid, why))?;
    let size = |flag: &str, text: &str| parse_bytes(text).ok_or_else(|| usage(flag, &format!("`{text}` is not a size like 512m or 2g")));
    if let Some(text) = &flags.memory {
        limits.memory_bytes = size("--memory", text)?;
    }
    if let Some(cpus) = flags.cpus {
        limits.cpu_millis = cpu_millis(cpus).ok_or_else(|| usage("--cpus", &format!("`{cpus}` is not between 0.01 and 1024")))?;
    }
    if let Some(pids) = flags.pids {
        limits.pids = pids;
    }
    if let Some(text) = &flags.disk {
        limits.disk_bytes = size("--disk", text)?;
    }
    if let Some(text) = &flags.timeout {
        limits.time = parse_duration(text).ok_or_else(|| usage("--timeout", &format!("`{text}` is not a time like 90s or 1h")))?;
    }
    check_limits(&limits)?;
    Ok(limits)
}

/// The limits of the flags, or none when no flag names any: then the agent's or the configured ones hold.
pub(crate) fn limits_if_any(flags: &args::Limits, config: &Config) -> Result<Option<model::Limits>, Failure> {
    let args::Limits { memory, cpus, pids, disk, timeout } = flags;
    let is_any = memory.is_some() || cpus.is_some() || pids.is_some() || disk.is_some() || timeout.is_some();
    is_any.then(|| limits(flags, config)).transpose()
}

/// The smallest memory in which the guest and a shell run.
const MEMORY_MIN: u64 = 8 << 20;
/// The smallest number of processes that lets a shell run a pipeline.
const PIDS_MIN: u32 = 4;

fn check_limits(limits: &model::Limits) -> Result<(), Failure> {
    if limits.memory_bytes < MEMORY_MIN {
        return Err(usage("--memory", "less than 8m is too little for anything to run"));
    }
    if limits.pids < PIDS_MIN {
        return Err(usage("--pids", "fewer than 4 processes are too few for anything to run"));
    }
    if limits.time.is_zero() {
        return Err(usage("--timeout", "no time is too little"));
    }
    Ok(())
}

/// Opens what the flags name.
pub(crate) fn places(flags: &args::Places, config: &Config, env: &Env) -> Result<Places, Failure> {
    let mut mounts = Vec::new();
    if let Some(text) = &flags.workspace {
        let (dir, read_only) = match text.strip_suffix(":ro") {
            Some(dir) => (dir, true),
            None => (text.as_str(), false),
        };
        mounts.push(open(Path::new(dir), Path::new("/workspace"), read_only, env, "--workspace")?);
    }
    for text in &flags.mounts {
        let (rest, read_only) = match text.strip_suffix(":rw") {
            Some(rest) => (rest, false),
            None => (text.strip_suffix(":ro").unwrap_or(text), true),
        };
        let (host, guest) = rest.rsplit_once(':').ok_or_else(|| usage("--mount", &format!("`{text}` is not HOST:GUEST[:rw]")))?;
        let target = if is_plain_name(guest) { Path::new(OWN_HOME).join(guest) } else { PathBuf::from(guest) };
        if !target.is_absolute() || target.components().any(|c| matches!(c, std::path::Component::ParentDir)) {
            return Err(usage("--mount", &format!("`{guest}` is not an absolute path inside")));
        }
        mounts.push(open(Path::new(host), &target, read_only, env, "--mount")?);
    }
    let image = match flags.image.as_str() {
        "host" => Image::Host { usr_local: false },
        "host+local" => Image::Host { usr_local: true },
        path if path.contains('/') => Image::Tree(tree(Path::new(path))?),
        name => {
            return Err(Failure::new(Code::ImageMissing, format!("there is no image `{name}`"))
                .hint("use `host`, `host+local`, or the path of an unpacked root file system")
                .field("--image"));
        }
    };
    Ok(Places { image, mounts, env: pairs(&flags.env)?, allow: allowed(&flags.allow, config)? })
}

fn tree(path: &Path) -> Result<PathBuf, Failure> {
    let missing =
        |why: String| Failure::new(Code::ImageMissing, format!("the image {} cannot be used: {why}", path.display())).field("--image");
    let path = std::fs::canonicalize(path).map_err(|e| missing(e.to_string()))?;
    if !path.join("usr").is_dir() && !path.join("bin").is_dir() {
        return Err(missing("it has neither usr nor bin".to_owned()));
    }
    Ok(path)
}

/// Where sandboxes have their home.
const OWN_HOME: &str = "/home/sandbox";

/// Whether a text can be the name of one directory entry.
pub(crate) fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\0'])
}

/// What `--env` names: at most one env, and variables. A name in small letters, digits and hyphens is an env's; one that
/// is followed by `=`, or has a capital letter or `_`, is a variable's.
pub(crate) fn split_env(texts: &[String]) -> Result<(Option<String>, Vec<String>), Failure> {
    let (envs, variables): (Vec<String>, Vec<String>) = texts.iter().cloned().partition(|text| model::is_name(text));
    match envs.as_slice() {
        [] => Ok((None, variables)),
        [env] => Ok((Some(env.clone()), variables)),
        [one, two, ..] => Err(usage("--env", &format!("a session works in one env, not in `{one}` and `{two}`"))),
    }
}

/// `K=V`, or `K` for the caller's own value.
pub(crate) fn pairs(texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    texts
        .iter()
        .map(|text| {
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, value.to_owned()),
                None => {
                    let value =
                        Env::named(text).ok_or_else(|| usage("--env", &format!("`{text}` is not set here and no =VALUE is given")))?;
                    (text.as_str(), value)
                }
            };
            let plain = !key.is_empty()
                && !key.starts_with(|c: char| c.is_ascii_digit())
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !plain || value.contains('\0') {
                return Err(usage("--env", &format!("`{}` is not a variable name", key.escape_debug())));
            }
            Ok((key.to_owned(), value))
        })
        .collect()
}

/// Hosts may only narrow what the configuration grants.
fn allowed(texts: &[String], config: &Config) -> Result<Vec<EgressRule>, Failure> {
    texts
        .iter()
        .map(|text| {
            let rule: EgressRule = text.parse().map_err(|e: model::EgressRuleError| usage("--allow", &e.to_string()))?;
            if config.egress.max.iter().any(|max| max.covers(&rule)) {
                return Ok(rule);
            }
            let line = format!("add \"{rule}\" to `max` under [egress] in the configuration");
            Err(Failure::new(Code::EgressDenied, format!("{rule} is not within egress.max")).hint(line).field("--allow"))
        })
        .collect()
}

pub(crate) fn open(host: &Path, target: &Path, read_only: bool, env: &Env, flag: &str) -> Result<Opened, Failure> {
    let fail = |why: String| Failure::new(Code::PathUnusable, format!("{} cannot be mounted: {why}", host.display())).field(flag);
    let fd = rustix::fs::open(host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|e| fail(e.to_string()))?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|e| fail(e.to_string()))?;
    if let Some(why) = app::refused_place(&real, &env.home) {
        return Err(fail(why).hint("mount the directory of the work alone"));
    }
    let need = if read_only { rustix::fs::Access::READ_OK } else { rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK };
    rustix::fs::access(format!("/proc/self/fd/{}", fd.as_raw_fd()), need).map_err(|e| {
        let what = if read_only { "you may not read it" } else { "you may not write to it" };
        fail(format!("{what} ({e})")).hint(if read_only { "check its permissions" } else { "check its permissions, or mount it read-only" })
    })?;
    Ok(Opened { fd, target: target.to_owned(), read_only })
}

/// Whether a file lies where credentials are kept, so that it is not sent anywhere.
pub(crate) fn is_refused(path: &Path, env: &Env) -> Option<String> {
    app::refused_place(path, &env.home)
}

/// A flag that is wrong.
pub(crate) fn usage(flag: &str, why: &str) -> Failure {
    Failure::new(Code::Usage, format!("{flag}: {why}")).field(flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_is_told_from_variables() {
        let split = |texts: &[&str]| split_env(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let (env, variables) = split(&["my-project", "K=V", "HANDED", "http_proxy", "a=b"]).expect("one env");
        assert_eq!(env.as_deref(), Some("my-project"));
        assert_eq!(variables, ["K=V", "HANDED", "http_proxy", "a=b"]);
        assert_eq!(split(&["x=1"]).expect("none").0, None);
        assert!(split(&["one", "two"]).is_err());
    }

    #[test]
    fn names_of_directory_entries() {
        for good in ["notes", "a b", ".x"] {
            assert!(is_plain_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "/a", "a\0"] {
            assert!(!is_plain_name(bad), "{bad:?}");
        }
    }
}
