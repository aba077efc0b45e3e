//! Host directories that sessions ask for by name: only below the roots that the configuration lists.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::{Code, Failure};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sandbox::HostMount;
use serde::{Deserialize, Serialize};

use crate::{AgentForm, App};

/// A host directory that is asked for over the API, seen at `/home/sandbox/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountForm {
    /// Where it is on the host; absolute.
    pub host: PathBuf,
    /// What it is called inside.
    pub name: String,
    /// Whether nothing inside can write to it.
    #[serde(default = "read_only")]
    pub read_only: bool,
    /// Whether the owner said so at the command line, whom the configured roots do not bind. Taken over the owner's socket only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_owner: bool,
}

fn read_only() -> bool {
    true
}

/// A root below which directories may be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountRoot {
    /// Absolute; links in it are resolved when it is used.
    pub path: PathBuf,
    /// Whether what is below may be mounted writable.
    #[serde(default)]
    pub read_write: bool,
}

/// Where mounts are seen inside.
const HOME: &str = "/home/sandbox";
/// What the directory of the user's notes is called inside.
const VAULT_NAMES: [&str; 2] = ["Vault", "Parachute"];
/// Mounts that one session or env may ask for.
pub const MOUNTS_MAX: usize = 16;
/// The longest name of a mount, as on every file system of Linux.
const NAME_BYTES_MAX: usize = 255;

/// Names that stand for credentials: neither a path with one of them in it nor a directory that holds one is mounted.
const SECRET_NAMES: &[&str] = &[
    ".ssh", ".gnupg", ".gpg", ".pki", ".aws", ".azure", ".gcloud", ".kube", ".docker", ".config/gcloud", ".config/gh", ".config/op",
    ".password-store", ".local/share/keyrings", ".mozilla", ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".vault-token", ".secret",
    ".secrets", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519",
];
/// Names that are refused in a path, and that a project's own directory may hold all the same.
const SECRET_PARTS: &[&str] = &[".env", "credentials", ".credentials", "private_key", "secrets"];
/// Directories that are the system's own.
const SYSTEM: &[&str] = &["/proc", "/sys", "/dev", "/run", "/etc", "/boot"];

/// Why a host directory is never mounted, for those that are not: neither for the owner nor for anybody else. `real` is
/// free of links, `home` is the home of Lazaret.
#[must_use]
pub fn refused_place(real: &Path, home: &Path) -> Option<String> {
    let home = std::fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
    if real.starts_with(&home) || home.starts_with(real) {
        return Some("it holds the home of Lazaret, or lies in it".to_owned());
    }
    if let Some(system) = SYSTEM.iter().find(|system| real.starts_with(system)) {
        return Some(format!("{system} is the system's own"));
    }
    // Some file systems do not tell small letters from capital ones.
    let small = PathBuf::from(real.to_string_lossy().to_ascii_lowercase());
    let within = |part: &&&str| small.ancestors().any(|at| at.ends_with(part));
    if let Some(part) = SECRET_NAMES.iter().chain(SECRET_PARTS).find(within) {
        return Some(format!("{part} holds credentials"));
    }
    let held = SECRET_NAMES.iter().find(|name| std::fs::symlink_metadata(real.join(name)).is_ok());
    held.map(|name| format!("it holds {name}, and that holds credentials"))
}

impl App {
    /// Opens directories that were asked for by name: links resolved first, below an allowed root, never a place of secrets.
    pub(crate) fn open_mounts(&self, forms: &[MountForm]) -> Result<Vec<HostMount>, Failure> {
        if forms.len() > MOUNTS_MAX {
            return Err(Failure::new(Code::Usage, format!("there are more than {MOUNTS_MAX} mounts")).field("mounts"));
        }
        for (n, form) in forms.iter().enumerate() {
            check_name(&form.name)?;
            if forms[..n].iter().any(|f| f.name == form.name) {
                return Err(usage(format!("two mounts are called `{}`", form.name)));
            }
        }
        let settings = self.settings();
        forms.iter().map(|form| open(form, &settings.mount_roots, self.home())).collect()
    }

    /// The directory of the user's notes, where one is configured: read-only at `/home/sandbox/Vault`, and by the name that
    /// clients of older systems know.
    pub(crate) fn vault(&self) -> Result<Vec<HostMount>, Failure> {
        let settings = self.settings();
        let Some(vault) = &settings.vault else { return Ok(Vec::new()) };
        let fail = |why: String| {
            Failure::new(Code::PathUnusable, format!("the vault {} cannot be mounted: {why}", vault.display()))
                .hint("set `vault` in the configuration to a directory that is there, or remove it")
                .field("vault")
        };
        let real = std::fs::canonicalize(vault).map_err(|e| fail(e.to_string()))?;
        if let Some(why) = refused_place(&real, self.home()) {
            return Err(fail(why));
        }
        let mount = |name: &str| {
            let fd = open_real(&real, Path::new("/")).map_err(fail)?;
            Ok(HostMount { fd, target: Path::new(HOME).join(name), read_only: true })
        };
        VAULT_NAMES.iter().map(|name| mount(name)).collect()
    }

    /// The vault for sessions of a tenant: none where the agent is not lent to it.
    pub(crate) fn vault_for(&self, agent: &AgentForm, tenant: &str) -> Result<Vec<HostMount>, Failure> {
        if agent.is_lent(tenant) { self.vault() } else { Ok(Vec::new()) }
    }
}

/// Which directory the first of these is: its file system and its number there.
pub(crate) fn mark_of(mounts: &[HostMount]) -> Result<Option<(u64, u64)>, Failure> {
    let Some(mount) = mounts.first() else { return Ok(None) };
    let stat = rustix::fs::fstat(&mount.fd);
    let stat = stat.map_err(|e| Failure::new(Code::PathUnusable, format!("a directory of the host cannot be looked at: {e}")))?;
    Ok(Some((stat.st_dev, stat.st_ino)))
}

/// Opens one directory below one of the roots.
fn open(form: &MountForm, roots: &[MountRoot], home: &Path) -> Result<HostMount, Failure> {
    let shown = form.host.display();
    let fail = |why: String| Failure::new(Code::PathUnusable, format!("{shown} cannot be mounted: {why}")).field("mounts");
    if !form.host.is_absolute() {
        return Err(usage(format!("`{shown}` is not an absolute path")));
    }
    let outside = || {
        Failure::new(Code::Forbidden, format!("{shown} lies below no root that the configuration allows"))
            .hint("add its directory to `roots` under [mounts] in the configuration")
            .field("mounts")
    };
    // That a path outside of the roots exists is nobody's business: the answer is the same when it does not.
    let Ok(real) = std::fs::canonicalize(&form.host) else {
        let below = roots.iter().any(|root| form.host.starts_with(&root.path));
        return Err(if below { fail("it cannot be found".to_owned()) } else { outside() });
    };
    let mut found: Option<(PathBuf, bool)> = None;
    if form.by_owner {
        // It had no link in it when the owner named it: one that is there now is somebody else's.
        if real != form.host {
            return Err(fail("a link was put into its path since".to_owned()));
        }
        found = Some((PathBuf::from("/"), true));
    }
    for root in roots.iter().filter(|_| !form.by_owner) {
        let Ok(path) = std::fs::canonicalize(&root.path) else { continue };
        // The closest root decides: a smaller one may say less than the one around it.
        if real.starts_with(&path) && found.as_ref().is_none_or(|(best, _)| path.starts_with(best)) {
            found = Some((path, root.read_write));
        }
    }
    let (root, read_write) = found.ok_or_else(outside)?;
    if let Some(why) = refused_place(&real, home) {
        return Err(Failure::new(Code::Forbidden, format!("{shown} cannot be mounted: {why}")).field("mounts"));
    }
    if !form.read_only && !read_write {
        return Err(Failure::new(Code::Forbidden, format!("{shown} can be mounted read-only only"))
            .hint("ask for it read-only, or set read_write for its root in the configuration")
            .field("mounts"));
    }
    let fd = open_real(&real, &root).map_err(fail)?;
    Ok(HostMount { fd, target: Path::new(HOME).join(&form.name), read_only: form.read_only })
}

/// Opens a directory that was just found free of links below `root`, and refuses one that is not any more: somebody may
/// put a link in its place in between.
pub(crate) fn open_real(real: &Path, root: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let changed = || "it changed while it was opened".to_owned();
    let base = rustix::fs::open(root, flags, Mode::empty()).map_err(|e| e.to_string())?;
    let below = real.strip_prefix(root).map_err(|_| changed())?;
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = rustix::io::retry_on_intr(|| rustix::fs::openat2(&base, below, flags, Mode::empty(), resolve));
    let fd = opened.map_err(|e| match e {
        Errno::LOOP | Errno::XDEV => changed(),
        Errno::NOTDIR => "it is not a directory".to_owned(),
        e => e.to_string(),
    })?;
    let seen = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|e| e.to_string())?;
    if seen == real { Ok(fd) } else { Err(changed()) }
}

fn check_name(name: &str) -> Result<(), Failure> {
    let why = if name.is_empty() || name.len() > NAME_BYTES_MAX {
        format!("the name of a mount has 1 to {NAME_BYTES_MAX} bytes")
    } else if name.starts_with('.') || name.contains('/') || name.chars().any(char::is_control) {
        format!("`{}` is not a plain name for a mount", name.escape_debug())
    } else if VAULT_NAMES.iter().any(|taken| taken.eq_ignore_ascii_case(name)) {
        format!("`{name}` is the place of the vault")
    } else {
        return Ok(());
    };
    Err(usage(why))
}

fn usage(why: String) -> Failure {
    Failure::new(Code::Usage, why).field("mounts")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with the test.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(format!("lazaret-mounts-{:032x}", crate::clock::fresh_bits()));
            std::fs::create_dir(&dir).expect("make");
            Self(std::fs::canonicalize(dir).expect("there"))
        }

        fn dir(&self, name: &str) -> PathBuf {
            let dir = self.0.join(name);
            std::fs::create_dir_all(&dir).expect("make");
            dir
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn form(host: &Path, read_only: bool) -> MountForm {
        MountForm { host: host.to_owned(), name: "here".to_owned(), read_only, by_owner: false }
    }

    fn code(result: Result<HostMount, Failure>) -> Result<(), Code> {
        result.map(drop).map_err(|f| f.code)
    }

    #[test]
    fn only_what_lies_below_a_root_is_mounted_and_links_are_resolved_first() {
        let place = Place::new();
        let (good, outside, home) = (place.dir("root/good"), place.dir("outside"), place.dir("home"));
        let roots = [MountRoot { path: place.0.join("root"), read_write: false }];
        let mount = open(&form(&good, true), &roots, &home).expect("allowed");
        assert_eq!((mount.target, mount.read_only), (PathBuf::from("/home/sandbox/here"), true));
        std::os::unix::fs::symlink(&outside, place.0.join("root/out")).expect("link");
        std::os::unix::fs::symlink(&good, place.0.join("in")).expect("link");
        std::fs::write(place.0.join("root/file"), "x").expect("write");
        assert_eq!(code(open(&form(&place.0.join("in"), true), &roots, &home)), Ok(()), "a link that leads below a root");
        for (path, why) in [
            (place.0.join("root/out"), Code::Forbidden),
            (outside.clone(), Code::Forbidden),
            (place.0.join("missing"), Code::Forbidden),
            (place.0.join("root/../outside"), Code::Forbidden),
            (PathBuf::from("root/good"), Code::Usage),
            (place.0.join("root/missing"), Code::PathUnusable),
            (place.0.join("root/file"), Code::PathUnusable),
        ] {
            assert_eq!(code(open(&form(&path, true), &roots, &home)), Err(why), "{}", path.display());
        }
        assert_eq!(code(open(&form(&good, true), &[], &home)), Err(Code::Forbidden), "no root, no mount");
    }

    #[test]
    fn the_closest_root_says_whether_it_may_be_written() {
        let place = Place::new();
        let (wide, narrow, home) = (place.dir("root/wide"), place.dir("root/narrow/x"), place.dir("home"));
        let root = |path: &str, read_write| MountRoot { path: place.0.join(path), read_write };
        let roots = [root("root", true), root("root/narrow", false)];
        assert_eq!(code(open(&form(&wide, false), &roots, &home)), Ok(()));
        assert_eq!(code(open(&form(&narrow, false), &roots, &home)), Err(Code::Forbidden));
        assert_eq!(code(open(&form(&narrow, true), &roots, &home)), Ok(()));
    }

    #[test]
    fn places_of_secrets_are_refused() {
        let place = Place::new();
        let roots = [MountRoot { path: place.0.clone(), read_write: true }];
        let home = place.dir("user/lazaret");
        for bad in
            ["user/.ssh", "user/.ssh/deep", "u/.AWS/x", "u/.config/gcloud", "u/credentials", "u/.env/x", "user/lazaret", "user/lazaret/db"]
        {
            let dir = place.dir(bad);
            assert_eq!(code(open(&form(&dir, true), &roots, &home)), Err(Code::Forbidden), "{bad}");
        }
        assert_eq!(code(open(&form(&place.0.join("user"), true), &roots, &home)), Err(Code::Forbidden), "it holds the home and .ssh");
        place.dir("v/.gnupg");
        assert_eq!(code(open(&form(&place.0.join("v"), true), &roots, &home)), Err(Code::Forbidden), "it holds .gnupg");
        assert_eq!(code(open(&form(&place.dir("v/work"), true), &roots, &home)), Ok(()));
    }

    #[test]
    fn a_link_put_in_place_after_the_check_is_not_followed() {
        let place = Place::new();
        let (good, outside) = (place.dir("root/a/b"), place.dir("outside/b"));
        assert!(open_real(&good, &place.0.join("root")).is_ok());
        std::fs::rename(place.0.join("root/a"), place.0.join("root/old")).expect("move");
        std::os::unix::fs::symlink(outside.parent().expect("has one"), place.0.join("root/a")).expect("link");
        assert!(std::fs::metadata(&good).is_ok(), "by its name it would be found");
        assert_eq!(open_real(&good, &place.0.join("root")).map(drop), Err("it changed while it was opened".to_owned()));
    }

    #[test]
    fn names_are_plain() {
        for good in ["repo", "My Repo", "a.b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".claude", "a/b", "a\n", "Vault", "vault", "Parachute", &"x".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
