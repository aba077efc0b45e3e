//! Files that would act as their owner when somebody on the host runs them from a shared directory: set-user-ID,
//! set-group-ID, file capabilities.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::each_caller;

const BITS: [&str; 3] = ["chmod-setuid=/workspace/a", "chmod-setgid=/workspace/b", "open-setuid=/workspace/c"];

/// The modes that the host sees in a directory, set-ID bits only.
fn set_id(dir: &Path) -> Vec<u32> {
    let entries = fs::read_dir(dir).expect("list").flatten();
    entries.map(|entry| entry.metadata().expect("a file").permissions().mode() & 0o6000).filter(|mode| *mode != 0).collect()
}

#[test]
fn no_set_id_file_reaches_a_shared_directory() {
    each_caller(|caller| {
        let dir = caller.dir("shared");
        let shared = dir.to_string_lossy().into_owned();
        let trial = caller.sandbox().option("--workspace").option(&shared);
        let report = trial.attack(&[BITS[0], BITS[1], BITS[2], "openat2-setuid=/workspace/d"]);
        report.all_denied(&BITS, "EPERM");
        assert_eq!(report.denied("openat2-setuid=/workspace/d"), "ENOSYS");
        assert_eq!(set_id(&dir), Vec::<u32>::new());
    });
}

#[test]
fn without_the_filter_they_do() {
    each_caller(|caller| {
        let dir = caller.dir("shared");
        let shared = dir.to_string_lossy().into_owned();
        let report = caller.without("seccomp").option("--workspace").option(&shared).attack(&BITS);
        for attack in BITS {
            report.worked(attack);
        }
        assert_eq!(set_id(&dir).len(), 3);
    });
}

#[test]
fn file_capabilities_cannot_be_set() {
    each_caller(|caller| {
        let attack = "xattr=/workspace/a,security.capability";
        assert_eq!(caller.sandbox().attack(&[attack]).denied(attack), "EPERM");
    });
}

/// Such a file that the host has in its own tree gives nothing inside.
#[test]
fn existing_set_id_programs_change_nobody() {
    each_caller(|caller| {
        let output =
            caller.sandbox().run(&["/bin/sh", "-c", "/usr/bin/passwd -S root 2>&1; /usr/bin/su -c id root </dev/null 2>&1; id -u"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.trim_end().ends_with("1000") && !text.contains("uid=0"), "{output:?}");
        let report = caller.sandbox().attack(&["mounts"]);
        let mounts = report.worked("mounts").as_str().expect("a text").to_owned();
        // Single device files of the host, bound one by one, are nothing that could be run.
        let lax: Vec<&str> = mounts.lines().filter(|line| !line.contains("nosuid") && !line.contains(" - devtmpfs ")).collect();
        assert!(lax.is_empty(), "{lax:?}");
    });
}
