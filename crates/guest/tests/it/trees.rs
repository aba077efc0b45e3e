//! Trees in and out: what comes back is what went in, and nothing leaves the target.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use guest::{Pack, Unpack, UnpackError};
use wire::{FromGuest, Get, Put, ToGuest};

use crate::support::Host;

fn packed(path: &Path) -> (Vec<u8>, u64) {
    let mut pack = Pack::new(path).expect("opened");
    let mut bytes = Vec::new();
    while !pack.next(&mut bytes, 1000).expect("packed") {}
    (bytes, pack.skipped())
}

fn unpack(bytes: &[u8], step: usize, into: &Path) -> Result<u64, UnpackError> {
    let mut unpack = Unpack::new(into)?;
    for piece in bytes.chunks(step) {
        unpack.push(piece)?;
    }
    unpack.finish()
}

/// A stream of one entry as an attacker would write it: no check of the name.
fn entry(kind: tar::EntryType, name: &str, link: &str, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn a_tree_survives_any_split() {
    let dir = tempfile::tempdir().expect("dir");
    let tree = dir.path().join("tree");
    let long = "d".repeat(200);
    fs::create_dir_all(tree.join(&long).join("deep")).expect("made");
    fs::create_dir(tree.join("empty")).expect("made");
    let odd = std::ffi::OsStr::from_bytes(b"odd \xff\n\x1b[31m");
    fs::write(tree.join(odd), b"odd").expect("written");
    fs::write(tree.join(&long).join("deep/file"), vec![7; 70_001]).expect("written");
    fs::write(tree.join("zero"), b"").expect("written");
    fs::set_permissions(tree.join("zero"), fs::Permissions::from_mode(0o4711)).expect("mode");
    symlink("/etc/passwd", tree.join("out")).expect("link");
    symlink("x".repeat(300), tree.join("long")).expect("link");
    assert!(Command::new("mkfifo").arg(tree.join("fifo")).status().expect("mkfifo").success());
    let holes = fs::File::create(tree.join("holes")).expect("made");
    holes.set_len(1 << 40).expect("set");

    let (bytes, skipped) = packed(&tree);
    assert_eq!(skipped, 2, "the fifo and the file of holes");
    for step in [1, 511, 512, 513, bytes.len()] {
        let out = dir.path().join(format!("out{step}"));
        assert_eq!(unpack(&bytes, step, &out), Ok(0));
        let at = |name: &str| out.join("tree").join(name);
        assert_eq!(fs::read(out.join("tree").join(odd)).expect("read"), b"odd");
        assert_eq!(fs::read(at(&long).join("deep/file")).expect("read"), vec![7; 70_001]);
        assert_eq!(fs::metadata(at("zero")).expect("there").mode() & 0o7777, 0o711);
        assert_eq!(fs::read_link(at("out")).expect("link"), Path::new("/etc/passwd"));
        assert_eq!(fs::read_link(at("long")).expect("link"), Path::new(&"x".repeat(300)));
        assert!(at("empty").is_dir() && !at("fifo").exists() && !at("holes").exists());
    }

    // Others read it too.
    let mut archive = tar::Archive::new(bytes.as_slice());
    assert_eq!(archive.entries().expect("tar").filter(Result::is_ok).count(), 9);
    // And theirs is read here, with names in records.
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all("again", tree.join(&long)).expect("appended");
    let theirs = builder.into_inner().expect("tar");
    assert_eq!(unpack(&theirs, 100, &dir.path().join("theirs")), Ok(0));
    assert_eq!(fs::read(dir.path().join("theirs/again/deep/file")).expect("read").len(), 70_001);
}

/// Every way out that a stream can try.
#[test]
fn nothing_leaves_the_target() {
    use tar::EntryType as Kind;
    let dir = tempfile::tempdir().expect("dir");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("kept"), "kept").expect("written");
    let outside_text = outside.to_str().expect("text");
    let target = dir.path().join("target");

    let absolute = format!("{outside_text}/new");
    for name in ["../outside/new", "a/../../outside/new", absolute.as_str(), "..", "/", ""] {
        let result = unpack(&entry(Kind::Regular, name, "", b"x"), 512, &target);
        assert!(matches!(result, Err(UnpackError::Name(_))), "{name}: {result:?}");
    }
    let through_link = [entry(Kind::Symlink, "way", outside_text, b""), entry(Kind::Regular, "way/new", "", b"x")].concat();
    assert!(matches!(unpack(&through_link, 512, &target), Err(UnpackError::Entry { .. })));
    let over_link = [entry(Kind::Symlink, "file", &format!("{outside_text}/kept"), b""), entry(Kind::Regular, "file", "", b"new")].concat();
    assert_eq!(unpack(&over_link, 512, &target), Ok(0));
    assert_eq!(fs::read_to_string(target.join("file")).expect("read"), "new", "the link was replaced");
    let hard = entry(Kind::Link, "hard", &format!("{outside_text}/kept"), b"");
    assert!(matches!(unpack(&hard, 512, &target), Err(UnpackError::Name(_))));
    let hard_way = [entry(Kind::Symlink, "way2", outside_text, b""), entry(Kind::Link, "hard", "way2/kept", b"")].concat();
    assert!(unpack(&hard_way, 512, &target).is_err());
    let mode = [entry(Kind::Symlink, "way3", outside_text, b""), entry(Kind::Directory, "way3", "", b"")].concat();
    assert!(unpack(&mode, 512, &target).is_err());
    let devices =
        [entry(Kind::Char, "dev", "", b""), entry(Kind::Fifo, "fifo", "", b""), entry(Kind::Regular, "set-id", "", b"x")].concat();
    assert_eq!(unpack(&devices, 512, &target), Ok(2));
    assert_eq!(fs::metadata(target.join("set-id")).expect("there").mode() & 0o7777, 0o755);

    assert_eq!(fs::read_dir(&outside).expect("read").count(), 1);
    assert_eq!(fs::read_to_string(outside.join("kept")).expect("read"), "kept");
}

/// What is no tar stream, or only a part of one, is an error and never a panic.
#[test]
fn damaged_streams_are_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let whole = entry(tar::EntryType::Regular, "file", "", &[1; 3000]);
    for cut in [1, 511, 513, 2000] {
        assert_eq!(unpack(&whole[..cut], 512, dir.path()), Err(UnpackError::Cut), "{cut}");
    }
    assert!(matches!(unpack(&[0xff; 1024], 512, dir.path()), Err(UnpackError::Header(_))));
    let mut huge = tar::Header::new_gnu();
    huge.set_entry_type(tar::EntryType::GNULongName);
    huge.set_size(1 << 40);
    huge.set_cksum();
    assert!(unpack(huge.as_bytes(), 512, dir.path()).is_err(), "a name of a terabyte");
    let records = entry(tar::EntryType::XHeader, "x", "", b"999 path=a\n");
    assert!(unpack(&records, 512, dir.path()).is_err());
}

/// The same through the channel, in a sandbox.
#[test]
fn trees_travel_through_the_channel() {
    let mut host = Host::plain();
    let bytes = entry(tar::EntryType::Regular, "dir/file", "", &vec![9; 3 << 20]);
    host.send(1, 0, &ToGuest::Put(Put { path: "/workspace/new".into() }));
    for piece in bytes.chunks(1 << 20) {
        host.send(1, 0, &ToGuest::Data(piece.to_vec()));
    }
    host.send(1, 0, &ToGuest::End);
    let (frame, message) = host.next();
    assert_eq!((frame.stream, frame.number, message), (1, 0, FromGuest::End));
    host.sh(2, "mkfifo new/fifo; ln -s / new/root");
    host.send(3, 0, &ToGuest::Get(Get { path: "/workspace/new".into() }));
    let mut back = Vec::new();
    let skipped = loop {
        match host.next() {
            (_, FromGuest::Data(bytes)) => back.extend(bytes),
            (frame, FromGuest::End) => break frame.number,
            (_, other) => panic!("{other:?}"),
        }
    };
    assert_eq!(skipped, 1);
    let mut archive = tar::Archive::new(back.as_slice());
    let names: std::collections::BTreeSet<String> =
        archive.entries().expect("tar").map(|e| e.expect("entry").path().expect("path").display().to_string()).collect();
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["new/", "new/dir/", "new/dir/file", "new/root"]);

    // A place that cannot be written, and one that is not there.
    host.send(4, 0, &ToGuest::Put(Put { path: "/usr/new".into() }));
    assert!(matches!(host.next().1, FromGuest::Trouble(t) if t.errno != 0));
    host.send(5, 0, &ToGuest::Get(Get { path: "/workspace/nothing".into() }));
    assert!(matches!(host.next().1, FromGuest::Trouble(t) if t.errno == 2));
}
