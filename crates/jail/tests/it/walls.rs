//! Each wall holds, and what it stops works when it is taken away.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use crate::jail::{Identity, Layer, Mount, Source, Upper, Walls};
use crate::support::{CALLER, Case, MODES};

/// Runs a script in a sandbox with all walls, and in one without the wall that `open` takes away: only there it works.
fn stops(modes: &[bool], script: &str, open: impl Fn(&mut Walls)) {
    for rootless in modes.iter().copied() {
        let mut case = Case::new(rootless);
        let held = case.sh(script);
        assert!(held.status.is_some_and(|s| s != 0 && s != 125), "the wall does not stop it (rootless: {rootless}): {held:?}");
        open(&mut case.spec.walls);
        case.fresh_layer();
        let open = case.sh(script);
        assert_eq!(open.status, Some(0), "it does not work without the wall either (rootless: {rootless}): {open:?}");
    }
}

#[test]
fn a_command_runs_as_user_1000_in_a_tree_of_its_own() {
    for rootless in MODES {
        let case = Case::new(rootless);
        assert_eq!(case.sh("grep -c ' / / ' /proc/self/mountinfo").ok(), "1", "nothing of the old root is left");
        case.fresh_layer();
        let out = case.sh("id -u; id -g; hostname; pwd; ls /; cat /proc/1/comm; ls /sys | wc -l");
        let tree = "bin\ndata\ndev\netc\nhome\nlib\nlib64\nopt\nproc\nrun\nsbin\nsys\ntmp\nusr\nworkspace";
        assert_eq!(out.ok(), format!("1000\n1000\nsandbox\n/workspace\n{tree}\nguest\n0"), "rootless: {rootless}");
    }
}

#[test]
fn only_its_own_places_can_be_written() {
    for rootless in MODES {
        let case = Case::new(rootless);
        let script = "for d in /workspace /home/sandbox /tmp /dev/shm; do echo x > $d/f && cat $d/f || exit 1; done
            for d in / /etc /usr /opt /opt/lazaret/bin /run /run/lazaret /proc /proc/self /sys /dev /dev/pts /data; do
                (: > $d/f) 2>/dev/null && echo written $d; done; echo 1 > /dev/null; head -c 1 /dev/urandom | wc -c";
        assert_eq!(case.sh(script).ok(), "x\nx\nx\nx\n1", "rootless: {rootless}");
        let file = case.path("upper/workspace/f");
        assert_eq!(fs::read_to_string(&file).expect("in the layer"), "x\n");
        let owner = match case.spec.identity {
            Identity::Reserved { uid, .. } => uid,
            Identity::Caller => CALLER,
        };
        assert_eq!(fs::metadata(&file).expect("there").uid(), owner, "on the host");
    }
}

#[test]
fn the_root_is_read_only_by_itself() {
    // Landlock denies it too, so it is out of the way in both halves.
    for rootless in MODES {
        let mut case = Case::new(rootless);
        case.spec.walls.landlock = false;
        let upper = case.path("upper");
        // As root only the host's root may write there, so only rootless can show that it works without the wall.
        assert!(case.sh(": > /f").err.contains("Read-only file system"), "rootless: {rootless}");
        case.spec.walls.read_only = false;
        case.fresh_layer();
        let open = case.sh(": > /f");
        assert_eq!(open.status == Some(0), rootless, "{open:?}");
        assert_eq!(upper.join("f").exists(), rootless);
    }
}

#[test]
fn landlock_stops_writing_to_proc_by_itself() {
    let script = "echo sandboxed > /proc/self/comm";
    stops(&MODES, script, |walls| (walls.landlock, walls.proc) = (false, false));
    // Each of the two alone is enough.
    for rootless in MODES {
        let mut case = Case::new(rootless);
        case.spec.walls.proc = false;
        assert!(case.sh(script).err.contains("Permission denied"), "rootless: {rootless}");
        (case.spec.walls.proc, case.spec.walls.landlock) = (true, false);
        case.fresh_layer();
        assert!(case.sh(script).err.contains("Read-only file system"), "rootless: {rootless}");
    }
}

#[test]
fn parts_of_proc_are_empty() {
    let script = "test -n \"$(cat /proc/cmdline)\"";
    stops(&MODES, script, |walls| walls.proc = false);
    let all = "for f in cmdline config.gz interrupts kallsyms keys key-users kmsg locks modules timer_list; do
        test -z \"$(cat /proc/$f 2>/dev/null)\" || echo $f; done; ls -A /proc/acpi /proc/driver /proc/scsi 2>/dev/null | grep -v : | grep .; true";
    for rootless in MODES {
        assert_eq!(Case::new(rootless).sh(all).ok(), "", "rootless: {rootless}");
    }
}

#[test]
fn there_is_no_network_but_loopback() {
    for rootless in MODES {
        let case = Case::new(rootless);
        let script = "grep -c : /proc/net/dev; cat /proc/net/route | wc -l; python3 - <<'END'\nimport socket\ns=socket.create_server(('127.0.0.1',0)); socket.create_connection(s.getsockname()); print('loopback')\nEND";
        assert_eq!(case.sh(script).ok(), "1\n1\nloopback", "rootless: {rootless}");
    }
    // A listener of the host is reached only without the wall.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let script = format!("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'");
    stops(&MODES, &script, |walls| walls.network = false);
}

#[test]
fn the_host_s_processes_are_not_seen() {
    stops(&[false], &format!("test -d /proc/{}", std::process::id()), |walls| walls.pids = false);
}

#[test]
fn no_capability_is_left_and_none_can_be_had() {
    for rootless in MODES {
        let case = Case::new(rootless);
        let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status | tr -d ' \\t'; cat /proc/sys/user/max_user_namespaces";
        let zero = "0000000000000000";
        let expect =
            format!("Groups:\nCapInh:{zero}\nCapPrm:{zero}\nCapEff:{zero}\nCapBnd:{zero}\nCapAmb:{zero}\nNoNewPrivs:1\nSeccomp:2\n0");
        assert_eq!(case.sh(script).ok(), expect, "rootless: {rootless}");
    }
    // A user namespace of its own would give it every right inside: seccomp and the limit stop it, each alone.
    let mut case = Case::new(true);
    assert_ne!(case.run(&["unshare", "-U", "true"]).status, Some(0));
    case.spec.walls.seccomp = false;
    case.fresh_layer();
    assert!(case.run(&["unshare", "-U", "true"]).err.contains("No space left"));
    case.spec.walls.privileges = false;
    case.fresh_layer();
    assert_eq!(case.run(&["unshare", "-U", "true"]).status, Some(0));
}

#[test]
fn a_mount_is_stopped_by_seccomp_and_by_the_lack_of_rights() {
    let script = "mount -t tmpfs none /tmp";
    // Rootless it is the program's exec that loses the rights, so there is no control for it here.
    stops(&[false], script, |walls| (walls.seccomp, walls.privileges, walls.landlock) = (false, false, false));
    for rootless in MODES {
        let mut case = Case::new(rootless);
        (case.spec.walls.seccomp, case.spec.walls.landlock) = (false, false);
        assert_ne!(case.sh(script).status, Some(0), "rights alone, rootless: {rootless}");
        (case.spec.walls.seccomp, case.spec.walls.privileges) = (true, false);
        case.fresh_layer();
        assert_ne!(case.sh(script).status, Some(0), "seccomp alone, rootless: {rootless}");
    }
}

#[test]
fn the_guest_cannot_be_read_or_ended_by_commands() {
    for rootless in MODES {
        let case = Case::new(rootless);
        let script = "for f in environ maps fd/0 exe cwd root mem; do cat /proc/1/$f >/dev/null 2>&1 && echo read $f; done
            readlink /proc/1/exe; kill -9 1; kill -STOP 1; echo alive";
        assert_eq!(case.sh(script).ok(), "alive", "rootless: {rootless}");
    }
}

#[test]
fn mounts_are_what_was_asked_for() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        let shared = case.path("shared");
        fs::create_dir(&shared).expect("made");
        fs::write(shared.join("file"), "host").expect("written");
        let owner = (CALLER, CALLER);
        for path in [shared.clone(), shared.join("file")] {
            chown(path, Some(CALLER), Some(CALLER)).expect("owner");
        }
        case.fds =
            vec![OwnedFd::from(fs::File::open(&shared).expect("open")), OwnedFd::from(fs::File::open(shared.join("file")).expect("open"))];
        let mount = |source, target: &str, read_only| Mount { source, target: target.into(), read_only, owner: Some(owner) };
        case.spec.mounts.push(mount(Source::Fd(0), "/workspace", false));
        case.spec.mounts.push(mount(Source::Path(shared.clone()), "/made/here", true));
        case.spec.mounts.push(mount(Source::Fd(1), "/home/sandbox/one", true));
        case.spec.mounts.push(Mount { owner: None, ..mount(Source::Tmpfs(1 << 20), "/scratch", false) });
        let script = "stat -c %u:%g /workspace/file; echo new > /workspace/made; cat /made/here/made; cat /home/sandbox/one; echo
            (: > /made/here/no) 2>/dev/null || echo sealed; (: > /home/sandbox/one) 2>/dev/null || echo sealed
            cp /usr/bin/true /workspace/suid; chmod 4755 /workspace/suid; grep -cE ' /(workspace|made/here|scratch|tmp) [^ ]*nosuid,nodev' /proc/self/mountinfo
            head -c 2000000 /dev/zero > /scratch/big 2>/dev/null; stat -c %s /scratch/big";
        assert_eq!(case.sh(script).ok(), "1000:1000\nnew\nhost\nsealed\nsealed\n4\n1048576", "rootless: {rootless}");
        let made = fs::metadata(shared.join("made")).expect("on the host");
        assert_eq!((made.uid(), made.gid()), owner, "it belongs to the owner of the directory");
    }
}

#[test]
fn another_s_files_are_not_shown_as_one_s_own() {
    let mut case = Case::new(true);
    case.spec.mounts.push(Mount { source: Source::Path("/usr".into()), target: "/data".into(), read_only: false, owner: Some((0, 0)) });
    let refused = case.sh("true").refused();
    assert_eq!((refused.layer, refused.errno), (Layer::Mounts, libc::EPERM));
    assert!(refused.remedy.contains("root"), "{refused}");
}

#[test]
fn the_door_and_the_guest_program_cannot_be_changed() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        case.fds = vec![OwnedFd::from(fs::File::open(case.path("door")).expect("open"))];
        case.spec.door = Some(0);
        let script = "ls -A /run/lazaret | wc -l; (: > /run/lazaret/x) 2>/dev/null || echo sealed; readlink /opt/lazaret/bin/ipc
            test -x /opt/lazaret/bin/lazaret-guest && (: >> /opt/lazaret/bin/lazaret-guest) 2>/dev/null || echo sealed";
        assert_eq!(case.sh(script).ok(), "0\nsealed\nlazaret-guest\nsealed", "rootless: {rootless}");
        // An image that was not prepared for it.
        fs::remove_dir_all(case.path("image/opt/lazaret/bin")).expect("removed");
        fs::create_dir(case.path("image/opt/lazaret/bin")).expect("made");
        case.fds = vec![OwnedFd::from(fs::File::open(case.path("door")).expect("open"))];
        assert_eq!(case.sh(script).ok(), "0\nsealed\nlazaret-guest\nsealed", "rootless: {rootless}");
        assert!(!case.path("upper/opt").exists(), "nothing is left of it in the layer");
    }
}

#[test]
fn the_door_tells_the_host_who_comes() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        case.fds = vec![OwnedFd::from(fs::File::open(case.path("door")).expect("open"))];
        case.spec.door = Some(0);
        let socket = case.path("door/host.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("mode");
        let uid = match case.spec.identity {
            Identity::Reserved { uid, .. } => uid,
            Identity::Caller => CALLER,
        };
        std::thread::scope(|scope| {
            let script = "python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"/run/lazaret/host.sock\"); print(s.recv(9).decode())'";
            let inside = scope.spawn(|| case.sh(script));
            let (mut stream, _) = listener.accept().expect("a connection");
            let peer = crate::jail::peer::of(stream.as_fd()).expect("peer");
            assert_eq!(peer.uid, uid);
            let me = i32::try_from(std::process::id()).expect("pid");
            assert!(peer.pid > 1 && crate::jail::peer::descends_from(peer.pid, me));
            stream.write_all(b"welcome").expect("write");
            drop(stream);
            assert_eq!(inside.join().expect("ended").ok(), "welcome", "rootless: {rootless}");
        });
    }
}

#[test]
fn the_first_process_keeps_nothing_of_the_host_open() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        case.spec.mounts.push(Mount {
            source: Source::Path(case.path("door")),
            target: "/data".into(),
            read_only: false,
            owner: Some((CALLER, CALLER)),
        });
        // Its socket, its output, the directory that it reads, and the device that the probe brought.
        assert_eq!(case.run(&["--fds"]).ok(), "/dev/null /proc/1/fd pipe pipe socket", "rootless: {rootless}");
    }
}

#[test]
fn layers_lie_in_the_order_given_and_at_any_depth() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        let deep = case.path(&["x".repeat(100), "y".repeat(100), "z".repeat(100)].join("/"));
        for (name, text) in [("top", "top"), ("middle", "middle")] {
            fs::create_dir_all(deep.join(name).join("etc")).expect("made");
            fs::write(deep.join(name).join("etc/which"), text).expect("written");
        }
        fs::write(deep.join("middle/etc/only"), "only").expect("written");
        let image = case.spec.root.lowers.remove(0);
        case.spec.root.lowers = vec![deep.join("top"), deep.join("middle"), image];
        assert_eq!(
            case.sh("cat /etc/which /etc/only; test -s /etc/passwd; grep -c xxxx /proc/self/mountinfo").out,
            "toponly0\n",
            "rootless: {rootless}"
        );
    }
}

#[test]
fn a_file_system_that_cannot_show_another_owner_is_refused_with_the_remedy() {
    let mut case = Case::new(false);
    case.spec.mounts.push(Mount {
        source: Source::Path("/sys/kernel".into()),
        target: "/data".into(),
        read_only: true,
        owner: Some((7, 7)),
    });
    let refused = case.sh("true").refused();
    assert_eq!(refused.layer, Layer::Mounts);
    assert!(refused.remedy.contains("idmapped"), "{refused:?}");
}

#[test]
fn without_user_namespaces_the_start_is_refused_by_name() {
    let mut case = Case::new(true);
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    case.wrap = ["unshare", "-Ur", "sh", "-c", script].map(str::to_owned).to_vec();
    let refused = case.sh("true").refused();
    assert_eq!((refused.layer, refused.errno), (Layer::Namespaces, libc::ENOSPC));
    assert!(refused.remedy.contains("max_user_namespaces"), "{refused:?}");
}

#[test]
fn settings_of_the_namespaces_are_its_own() {
    let script = "cat /proc/sys/vm/memfd_noexec /proc/sys/user/max_inotify_instances; cat /proc/self/cgroup | cut -d: -f3 | sort -u | tr -d '\\n'; cat /proc/self/uid_map | wc -l; cat /proc/self/setgroups";
    assert_eq!(Case::new(false).sh(script).ok(), "1\n128\n/1\ndeny");
}

#[test]
fn a_layer_of_memory_holds_what_it_was_given() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        case.spec.root.upper = Upper::Tmpfs { bytes: 1 << 20 };
        let out =
            case.sh("head -c 3000000 /dev/zero > /workspace/big 2>/dev/null; test $(stat -c %s /workspace/big) -lt 1048577 && echo full");
        assert_eq!(out.ok(), "full", "rootless: {rootless}");
        case.spec.root.upper = Upper::Tmpfs { bytes: 1 << 20 };
        assert_eq!(case.sh("grep -c ' / / ' /proc/self/mountinfo").ok(), "1", "nothing of the old root is left");
        assert!(!case.path("upper/workspace").exists());
    }
}

/// A loop device that is given back when the test ends.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["-d", &self.0]).status();
    }
}

fn output(program: &str, package: &str, args: &[&str]) -> String {
    let out = std::process::Command::new(program).args(args).output();
    let out = out.unwrap_or_else(|error| panic!("{program}: {error}: apt-get install {package}"));
    assert!(out.status.success(), "{program}: {out:?}");
    String::from_utf8(out.stdout).expect("text").trim().to_owned()
}

#[test]
fn a_layer_on_a_device_of_its_own_is_as_large_as_the_device() {
    let mut case = Case::new(false);
    for name in ["tree/upper", "tree/work"] {
        fs::create_dir_all(case.path(name)).expect("made");
    }
    let (disk, tree) = (case.path("disk"), case.path("tree"));
    fs::File::create(&disk).expect("file").set_len(8 << 20).expect("size");
    let (disk, tree) = (disk.to_str().expect("text"), tree.to_str().expect("text"));
    output("mkfs.ext4", "e2fsprogs", &["-q", "-d", tree, disk]);
    let device = Loop(output("losetup", "mount", &["-f", "--show", disk]));
    case.spec.root.upper = Upper::Device {
        device: device.0.clone().into(),
        fstype: "ext4".into(),
        options: Vec::new(),
        upper: "upper".into(),
        work: "work".into(),
    };
    let script = "grep -c ' / / ' /proc/self/mountinfo; head -c 20000000 /dev/zero > /workspace/big 2>/dev/null; test $(stat -c %s /workspace/big) -lt 8388608 && echo full";
    assert_eq!(case.sh(script).ok(), "1\nfull");
    assert_eq!(case.sh("test -s /workspace/big && echo kept").ok(), "kept");
}

#[test]
fn a_link_in_a_writable_layer_leads_nowhere() {
    let case = Case::new(false);
    std::os::unix::fs::symlink("/etc", case.path("upper/workspace")).expect("link");
    let refused = case.sh("ls /workspace").refused();
    assert_eq!(refused.layer, Layer::Root, "{refused}");
}

#[test]
fn what_cannot_be_had_is_named() {
    let mut case = Case::new(false);
    let check = |case: &Case, layer: Layer, errno: i32| {
        let refused = case.sh("true").refused();
        assert_eq!((refused.layer, refused.errno), (layer, errno), "{refused}");
        assert!(!refused.remedy.is_empty());
        case.fresh_layer();
    };
    case.spec.cgroup =
        Some(crate::jail::CgroupJoin { guest: vec!["/sys/fs/cgroup/pids/no-such-group/cgroup.procs".into()], commands: Vec::new() });
    check(&case, Layer::Cgroup, libc::ENOENT);
    case.spec.cgroup = None;
    case.spec.root.lowers.push("/no-such-tree".into());
    check(&case, Layer::Root, libc::ENOENT);
    case.spec.root.lowers.pop();
    case.spec.mounts.push(crate::support::bind("/no-such-file", "/data"));
    check(&case, Layer::Mounts, libc::ENOENT);
    case.spec.mounts.pop();
    case.spec.mounts.push(crate::support::bind("/usr", "/dev"));
    check(&case, Layer::Mounts, libc::EINVAL);
    case.spec.mounts.pop();
    case.spec.door = Some(9);
    check(&case, Layer::Mounts, libc::EBADF);
}

#[test]
fn limits_of_processes_are_clamped_and_hold() {
    for rootless in MODES {
        let mut case = Case::new(rootless);
        case.spec.rlimits = crate::jail::Rlimits { nofile: u64::MAX - 1, nproc: Some(8), fsize: Some(4096) };
        let hard = crate::jail::rlimits::nofile_max();
        let out = case.sh("ulimit -Hn; ulimit -c; head -c 10000 /dev/zero > /tmp/big 2>/dev/null; stat -c %s /tmp/big
            for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done 2>&1; jobs -p | wc -l; kill $(jobs -p)");
        assert!(out.out.starts_with(&format!("{hard}\n0\n4096\n")), "rootless: {rootless}: {out:?}");
        assert!(out.err.contains("fork") || out.out.contains("fork"), "rootless: {rootless}: {out:?}");
    }
}
