//! What comes out of a sandbox as files: links, pipes, odd names and set-ID bits must do nothing on the host.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use crate::support::{Caller, Standing, each_caller};

/// A tree as an attacker would leave it for whoever copies it.
const TREE: &str = r#"
mkdir -p /workspace/out/dir && cd /workspace/out
echo plain > plain
ln -s /etc/passwd to-host-file
ln -s / to-host-root
ln -s ../../../../../../tmp up
ln -s to-host-root/tmp chain
mkfifo pipe
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")' 2>/dev/null
echo odd > "$(printf 'new\nline\033[2J')"
echo deep > dir/file
ln plain hard
chmod 0777 plain
"#;

fn walk(dir: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(dir).expect("list").flatten() {
        let meta = fs::symlink_metadata(entry.path()).expect("look");
        visit(&entry.path(), &meta);
        if meta.is_dir() {
            walk(&entry.path(), visit);
        }
    }
}

#[test]
fn copies_hold_only_plain_things() {
    each_caller(|caller: &Caller| {
        let sandbox = Standing::create(caller, &[]);
        let made = sandbox.exec(&["/bin/sh", "-c", TREE]);
        assert!(made.status.success(), "{made:?}");
        let out = caller.dir("out");
        let copied = sandbox.copy(&format!("{}:/workspace/out", sandbox.id), &out.to_string_lossy());
        // Refusing the whole tree is as good as leaving the odd parts out.
        let mut plain = 0;
        walk(&out, &mut |path, meta| {
            let kind = meta.file_type();
            assert!(!kind.is_fifo() && !kind.is_socket() && !kind.is_char_device() && !kind.is_block_device(), "{}", path.display());
            assert_eq!(meta.permissions().mode() & 0o6000, 0, "{}", path.display());
            if kind.is_symlink() {
                let target = fs::read_link(path).expect("a link");
                let lands = path.parent().expect("a parent").join(&target);
                assert!(target.is_relative() && !lands.to_string_lossy().contains(".."), "{} -> {}", path.display(), target.display());
            }
            plain += usize::from(meta.is_file());
        });
        assert!(!copied.status.success() || plain > 0, "{copied:?}");
        // A terminal that shows the names is not taken over.
        for stream in [&copied.stdout, &copied.stderr] {
            assert!(!stream.contains(&0x1b), "{copied:?}");
        }
    });
}

/// A link where the copy shall go, planted between two copies, is not followed on the host.
#[test]
fn a_copy_does_not_write_through_a_link() {
    each_caller(|caller: &Caller| {
        let sandbox = Standing::create(caller, &[]);
        sandbox.exec(&["/bin/sh", "-c", "mkdir -p /workspace/out/a && echo attack > /workspace/out/a/victim"]);
        let out = caller.dir("out");
        let outside = caller.dir("outside");
        let victim = caller.file("outside/victim", "untouched");
        std::os::unix::fs::symlink(&outside, out.join("a")).expect("plant a link");
        let _ = sandbox.copy(&format!("{}:/workspace/out", sandbox.id), &out.to_string_lossy());
        let _ = sandbox.copy(&format!("{}:/workspace/out/.", sandbox.id), &out.to_string_lossy());
        assert_eq!(fs::read_to_string(victim).expect("the victim"), "untouched");
    });
}

/// Files that are put in cannot be led outside by a link that stands inside.
#[test]
fn a_copy_inwards_stays_inside() {
    each_caller(|caller: &Caller| {
        let sandbox = Standing::create(caller, &[]);
        let victim = caller.file("victim", "untouched");
        let plant = format!("ln -s {} /workspace/in; ln -s {} /workspace/dir", victim.display(), caller.home.display());
        sandbox.exec(&["/bin/sh", "-c", &plant]);
        let given = caller.file("given", "from the host");
        let _ = sandbox.copy(&given.to_string_lossy(), &format!("{}:/workspace/in", sandbox.id));
        let _ = sandbox.copy(&given.to_string_lossy(), &format!("{}:/workspace/dir/victim", sandbox.id));
        assert_eq!(fs::read_to_string(victim).expect("the victim"), "untouched");
    });
}

/// A tree that is deep, wide and oddly named costs the host no more than its limits, and the daemon lives on.
#[test]
fn a_monstrous_tree_does_no_harm() {
    const MONSTER: &str = "
import os
os.makedirs('/workspace/m'); os.chdir('/workspace/m')
for n in range(3000): open('f%d' % n, 'w').close()
open('a' * 255, 'w').close(); open('\\n\\r\\t', 'w').close(); open(b'\\xff\\xfe', 'w').close()
f = open('sparse', 'w'); f.truncate(1 << 30); f.close()
for n in range(1200): os.mkdir('d'); os.chdir('d')
";
    each_caller(|caller: &Caller| {
        let sandbox = Standing::create(caller, &[]);
        let made = sandbox.exec(&["/usr/bin/python3", "-c", MONSTER]);
        assert!(made.status.success(), "{made:?}");
        let out = caller.dir("out");
        let _ = sandbox.copy(&format!("{}:/workspace/m", sandbox.id), &out.to_string_lossy());
        assert!(sandbox.exec(&["/bin/true"]).status.success(), "the sandbox is gone");
    });
}
