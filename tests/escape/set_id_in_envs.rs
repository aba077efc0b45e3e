//! What one session leaves in an env for the next one, or for the host, to run or open: set-ID programs, device nodes, file
//! capabilities. None can be made, and one that is there is inert.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Stdio};

use crate::envs::Env;
use crate::support::{PROBE, Report, each_caller, finish};

const NODES: [&str; 4] = ["device=/home/sandbox/d", "block-device=/home/sandbox/b", "whiteout=/home/sandbox/w", "device=/workspace/d"];
const BITS: [&str; 5] = [
    "chmod-setuid=/home/sandbox/s1",
    "chmod-setgid=/home/sandbox/s2",
    "open-setuid=/home/sandbox/s3",
    "chmod-setuid=/workspace/s4",
    "xattr=/home/sandbox/f,security.capability",
];

/// Ways by which programs set bits and make nodes without being asked to.
const SMUGGLE: &str = "cd; cp /usr/bin/id tool; python3 - <<'END' || exit 9
import io, tarfile
with tarfile.open('bits.tar', 'w') as tar:
    for name, mode in (('suid', 0o4755), ('sgid', 0o2755)):
        info = tarfile.TarInfo(name); info.mode = mode; info.size = 4; tar.addfile(info, io.BytesIO(b'#!/x'))
    info = tarfile.TarInfo('null'); info.type = tarfile.CHRTYPE; info.devmajor, info.devminor = 1, 3; tar.addfile(info)
END
tar -xpf bits.tar 2>/dev/null; install -m 4755 tool suid-tool 2>/dev/null; cp -p /usr/bin/passwd . 2>/dev/null; echo tried";

#[test]
fn no_session_leaves_anything_that_acts_for_others() {
    each_caller(|caller| {
        let env = Env::create(caller, "den");
        let output = env.session(&[], &format!("touch ~/f; {PROBE} {} {}", NODES.join(" "), BITS.join(" ")));
        let report = Report::read(&output, NODES.len() + BITS.len());
        report.all_denied(&NODES, "EPERM");
        report.all_denied(&BITS, "EPERM");
        // Archives and copies carry the bits no further than commands do.
        let said = env.printed(SMUGGLE);
        assert_eq!(said, "tried\n");
        let found = env.printed("find ~ /workspace -xdev \\( -perm /6000 -o -type b -o -type c \\) ! -type d; echo searched");
        assert_eq!(found, "searched\n");
        let listed = env.lazaret(&["env", "files", "den", "ls", "", "--json"]);
        for line in listed.lines() {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(entry["mode"].as_u64().expect("a mode") & 0o6000, 0, "{entry}");
        }
    });
}

/// A set-ID program that is in a directory all the same, from before or from the host, changes nobody in any session; and
/// the same program does on the host, so it is the sandbox that makes it inert.
#[test]
fn a_set_id_program_from_elsewhere_is_inert() {
    each_caller(|caller| {
        let env = Env::create(caller, "den");
        let dir = caller.dir("given");
        let tool = dir.join("who");
        fs::copy("/usr/bin/id", &tool).expect("copy");
        chown(&tool, Some(0), Some(0)).expect("give it to root");
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).expect("chmod");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("chmod");
        let mount = format!("{}:/home/sandbox/given:rw", dir.display());
        let output = env.session(&["--mount", &mount], "~/given/who -u; cp -p ~/given/who ~/own; ~/own -u; stat -c %a ~/own");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..2], ["1000", "1000"], "{output:?}");
        assert!(lines.get(2).is_none_or(|mode| mode.len() == 3), "no bit was copied: {output:?}");
        // On the host, started by somebody else, it acts as its owner: in a place without `nosuid`.
        let open = std::env::temp_dir().join(format!("lazaret-set-id-{}-{}", std::process::id(), caller.uid));
        fs::create_dir(&open).expect("make");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("chmod");
        let control = open.join("who");
        fs::copy("/usr/bin/id", &control).expect("copy");
        fs::set_permissions(&control, fs::Permissions::from_mode(0o6755)).expect("chmod");
        let mut command = Command::new(&control);
        std::os::unix::process::CommandExt::uid(&mut command, 65534).arg("-u");
        let output = finish(command, Stdio::null());
        fs::remove_dir_all(&open).expect("remove");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "the control acts as its owner");
    });
}
