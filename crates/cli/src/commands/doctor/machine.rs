//! What the machine gives, whatever the home.

use jail::Layer;

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![kernel(), image(), certificates()];
    checks.extend(jail::probe().into_iter().map(|probe| {
        let label = probe.layer.to_string();
        match probe.found {
            Ok(how) => Check::pass(label, how),
            // Without root memory, cpu and disk are preferred, not required; the level of each sandbox names what is missing.
            Err(missing) if probe.layer == Layer::Cgroup && !rustix::process::geteuid().is_root() => {
                Check::warn(label, missing.why, missing.remedy)
            }
            Err(missing) => Check::fail(label, missing.why, missing.remedy),
        }
    }));
    checks
}

fn kernel() -> Check {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Check::pass("kernel", format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine())))
}

/// The image `host` is this machine's /usr.
fn image() -> Check {
    let missing: Vec<&str> = ["/usr/bin/env", "/bin/sh"].into_iter().filter(|path| !std::path::Path::new(path).exists()).collect();
    if missing.is_empty() {
        Check::pass("image host", "/usr of this machine, read-only")
    } else {
        Check::fail("image host", format!("{} is missing", missing.join(", ")), "install coreutils and a shell, or use --image DIR")
    }
}

fn certificates() -> Check {
    match rustls_native_certs::load_native_certs().certs.len() {
        0 => Check::warn(
            "certificates",
            "this machine trusts no certificate authority, so no https address can be reached",
            "install the package ca-certificates",
        ),
        n => Check::pass("certificates", format!("{n} authorities are trusted")),
    }
}
