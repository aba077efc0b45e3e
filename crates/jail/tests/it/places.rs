//! Mount points in a tree that guests write to.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use crate::jail::{Identity, Layer, Mount, Source};
use crate::support::{CALLER, Case, MODES, bind};

/// Files and directories of the host, seen at these places.
fn with_places(case: &mut Case, files: &[&str], directories: &[&str]) {
    fs::write(case.path("given"), "given\n").expect("written");
    fs::set_permissions(case.path("given"), fs::Permissions::from_mode(0o644)).expect("mode");
    fs::create_dir_all(case.path("dir")).expect("made");
    fs::set_permissions(case.path("dir"), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::write(case.path("dir/in"), "in\n").expect("written");
    let (file, dir) = (case.path("given"), case.path("dir"));
    case.spec.mounts.extend(files.iter().map(|at| bind(file.to_str().expect("text"), at)));
    case.spec.mounts.extend(directories.iter().map(|at| bind(dir.to_str().expect("text"), at)));
}

/// Gives what lies in the writable layer to the sandbox's user.
fn own(case: &Case) {
    let uid = match case.spec.identity {
        Identity::Reserved { uid, .. } => uid,
        Identity::Caller => CALLER,
    };
    let all = std::process::Command::new("chown").arg("-Rh").arg(format!("{uid}:{uid}")).arg(case.path("upper")).status();
    assert!(all.expect("chown").success());
}

#[test]
fn what_is_mounted_in_a_tree_cannot_be_moved_or_removed_with_the_way_to_it() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        with_places(&mut case, &["/home/sandbox/.a/b/f", "/workspace/w"], &["/home/sandbox/d"]);
        let script = "cd; for p in .a/b/f .a/b .a d /home/sandbox /workspace/w; do mv $p /tmp/gone 2>/dev/null && echo moved $p
            mv $p $p.x 2>/dev/null && echo renamed $p; rm -rf $p 2>/dev/null && echo removed $p; ln -sf /tmp $p.l && mv -T $p.l $p 2>/dev/null && echo replaced $p; done
            (echo no > .a/b/f) 2>/dev/null && echo wrote; echo mine > .a/b/mine; cat .a/b/f .a/b/mine d/in /workspace/w";
        assert_eq!(case.sh(script).out, "given\nmine\nin\ngiven\n", "rootless: {rootless}");
    }
}

#[test]
fn no_link_of_a_tree_is_followed_to_a_mount_point() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        let home = case.path("upper/home/sandbox");
        fs::create_dir_all(home.join("real/deep")).expect("made");
        fs::create_dir_all(case.path("upper/workspace/f")).expect("made");
        for (to, at) in
            [("/etc", "etc"), ("/proc", "proc"), ("real", "beside"), ("../../..", "up"), ("/nowhere", "dangling"), ("loop", "loop")]
        {
            symlink(to, home.join(at)).expect("link");
        }
        symlink("/etc/passwd", case.path("upper/workspace/link")).expect("link");
        rustix::fs::mknodat(rustix::fs::CWD, home.join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("pipe");
        own(&case);
        let below = |names: &[&str]| names.iter().map(|name| format!("/home/sandbox/{name}")).collect::<Vec<_>>();
        let directories = below(&["etc", "proc", "beside/deep", "up/usr", "dangling", "loop/x", "pipe"]);
        with_places(&mut case, &["/workspace/f", "/workspace/link"], &directories.iter().map(String::as_str).collect::<Vec<_>>());
        let script = "cd; cat etc/in proc/in beside/deep/in up/usr/in dangling/in loop/x/in pipe/in /workspace/f /workspace/link
            readlink etc.moved-0 beside.moved-0 up.moved-0 loop.moved-0 /workspace/link.moved-0; ls -d real/deep pipe.moved-0 /workspace/f.moved-0
            ls /etc; test -e /proc/self/status && ls -d /usr/bin";
        let said = format!(
            "{}{}/etc\nreal\n../../..\nloop\n/etc/passwd\n/workspace/f.moved-0\npipe.moved-0\nreal/deep\npasswd\n/usr/bin",
            "in\n".repeat(7),
            "given\n".repeat(2)
        );
        assert_eq!(case.sh(script).ok(), said, "rootless: {rootless}");
    }
}

/// A directory that a user of the host opened is not tidied: the start is refused, and nothing in it is renamed.
#[test]
fn in_a_directory_of_a_user_nothing_is_moved_aside() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        let work = case.path("work-of-user");
        fs::create_dir(&work).expect("made");
        symlink("/etc", work.join("link")).expect("link");
        for path in [&work, &work.join("link")] {
            std::os::unix::fs::lchown(path, Some(CALLER), Some(CALLER)).expect("owner");
        }
        chown(&work, Some(CALLER), Some(CALLER)).expect("owner");
        case.fds = vec![fs::File::open(&work).expect("open").into()];
        let owner = Some((CALLER, CALLER));
        case.spec.mounts.push(Mount { source: Source::Fd(0), target: "/workspace".into(), read_only: false, owner });
        with_places(&mut case, &[], &["/workspace/link"]);
        assert_eq!(case.sh("true").refused().layer, Layer::Mounts, "rootless: {rootless}");
        assert_eq!(fs::read_link(work.join("link")).expect("still there"), Path::new("/etc"));
    }
}
