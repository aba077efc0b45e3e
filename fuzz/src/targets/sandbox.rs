//! File trees that come out of a sandbox.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Component, Path},
};

use super::{Target, hash};

pub(crate) const UNPACK: Target = Target {
    name: "sandbox_unpack",
    corpus: "sandbox_unpack",
    recorded: None,
    words: &[
        b"../", b"/etc/passwd", b"a/b", b"\0", b"0000644\0", b"0004755\0", b"ustar\0", b"L", b"x", b"1", b"2", b"3", b"6",
        b"77777777777\0", b"17 path=../../x\n",
    ],
    run: unpack,
};

/// The deepest directory that is looked into afterwards.
const DEPTH_MAX: usize = 64;

/// Nothing outside of the directory changes, and nothing inside leads out or is more than a file, directory or link.
fn unpack(input: &[u8]) -> u64 {
    let outer = tempfile::tempdir().expect("a directory");
    let inside = outer.path().join("inside");
    std::fs::create_dir(&inside).expect("a directory");
    std::fs::write(outer.path().join("canary"), b"untouched").expect("a file");
    let dir: OwnedFd = File::open(&inside).expect("the directory").into();
    let done = sandbox::unpack(dir, input);
    let mut names: Vec<_> = std::fs::read_dir(outer.path()).expect("the directory").map(|e| e.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["canary", "inside"], "something was made outside");
    assert_eq!(std::fs::read(outer.path().join("canary")).expect("the canary"), b"untouched");
    let count = walk(&inside, 0);
    hash(&(done.is_ok(), count.min(8)))
}

fn walk(dir: &Path, depth: usize) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        count += 1;
        let kind = entry.file_type().expect("a kind");
        if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).expect("a link");
            let mut level = i64::try_from(depth).unwrap_or(i64::MAX);
            for part in target.components() {
                match part {
                    Component::ParentDir => level -= 1,
                    Component::Normal(_) => level += 1,
                    Component::CurDir => (),
                    Component::RootDir | Component::Prefix(_) => panic!("an absolute link: {target:?}"),
                }
                assert!(level >= 0, "a link that leads out: {target:?}");
            }
        } else {
            assert!(kind.is_file() || kind.is_dir(), "neither file nor directory: {:?}", entry.path());
            let mode = entry.metadata().expect("metadata").mode();
            assert_eq!(mode & 0o7000 & !0o1000, 0, "setuid or setgid");
            if kind.is_dir() && depth < DEPTH_MAX {
                count += walk(&entry.path(), depth + 1);
            }
        }
    }
    count
}
