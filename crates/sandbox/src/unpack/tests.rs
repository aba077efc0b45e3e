//! Hostile trees.

use super::*;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A header of one entry with names as they are, which no honest writer would make.
fn raw(name: &[u8], kind: u8, target: &[u8], mode: u32, data: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name);
    header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[157..157 + target.len()].copy_from_slice(target);
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut out = header.to_vec();
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn run(dir: &Path, tar: &[u8]) -> Result<Unpacked, SandboxError> {
    let fd = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("dir");
    unpack(fd, tar)
}

#[test]
fn names_that_lead_outside_are_left_out_and_named() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = dir.path().join("root");
    fs::create_dir(&root).expect("root");
    let mut tar = Vec::new();
    for name in [b"../out".as_slice(), b"/etc/out", b"a/../../out", b"a/b/../../../out"] {
        tar.extend(raw(name, b'0', b"", 0o644, b"evil"));
    }
    tar.extend(raw(b"fine\n\x1b[2J", b'0', b"", 0o644, b"good"));
    tar.extend(raw(b"pipe", b'6', b"", 0o644, b""));
    tar.extend(raw(b"dev\x1b", b'3', b"", 0o644, b""));
    let done = run(&root, &tar).expect("unpacked");
    assert_eq!((done.files, done.skipped_total), (1, 6));
    assert!(done.skipped.iter().all(|s| !s.name.contains('\x1b')));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1, "only the root itself");
    assert_eq!(fs::read_dir(&root).expect("list").count(), 1);
}

#[test]
fn nothing_is_written_through_a_link_of_the_stream_or_of_before() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir(&root).expect("root");
    fs::create_dir(&outside).expect("outside");
    fs::write(outside.join("kept"), "kept").expect("file");
    std::os::unix::fs::symlink(&outside, root.join("before")).expect("link");
    std::os::unix::fs::symlink(outside.join("kept"), root.join("file")).expect("link");
    let mut tar = raw(b"before/new", b'0', b"", 0o644, b"evil");
    tar.extend(raw(b"before/kept", b'0', b"", 0o644, b"evil"));
    tar.extend(raw(b"before", b'5', b"", 0o777, b""));
    tar.extend(raw(b"file", b'0', b"", 0o644, b"mine"));
    tar.extend(raw(b"inside", b'2', b".", 0o777, b""));
    tar.extend(raw(b"inside/x", b'0', b"", 0o644, b"evil"));
    tar.extend(raw(b"hard", b'1', b"before/kept", 0o644, b""));
    let done = run(&root, &tar).expect("unpacked");
    assert_eq!(fs::read_dir(&outside).expect("list").count(), 1);
    assert_eq!(fs::read(outside.join("kept")).expect("kept"), b"kept");
    assert_eq!(fs::read(root.join("file")).expect("file"), b"mine", "the link was replaced by the file");
    assert!(fs::symlink_metadata(root.join("file")).expect("there").is_file());
    assert_eq!(done.skipped_total, 5, "{:?}", done.skipped);
}

#[test]
fn links_come_over_only_when_no_chain_of_them_leads_outside() {
    let check = |depth, target: &str, inside| assert_eq!(stays_inside(depth, target.as_bytes()), inside, "{depth} {target}");
    check(0, "a", true);
    check(0, "./a/b", true);
    check(1, "../a", true);
    check(2, "../../a", true);
    check(0, "..", false);
    check(1, "../../a", false);
    check(0, "/etc/passwd", false);
    check(4, "a/../../x", false);
    check(0, "", false);
    check(0, "a\0b", false);

    let dir = tempfile::tempdir().expect("temp dir");
    let mut tar = raw(b"p/q/l", b'2', b"../../t", 0o777, b"");
    tar.extend(raw(b"x", b'2', b"p/q/l/../../../etc", 0o777, b""));
    tar.extend(raw(b"abs", b'2', b"/etc", 0o777, b""));
    let done = run(dir.path(), &tar).expect("unpacked");
    assert_eq!(done.skipped_total, 2);
    assert_eq!(fs::read_link(dir.path().join("p/q/l")).expect("link"), Path::new("../../t"));
}

#[test]
fn setuid_bits_and_unreadable_directories_do_not_come_over() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut tar = raw(b"d", b'5', b"", 0, b"");
    tar.extend(raw(b"d/su", b'0', b"", 0o6755, b"x"));
    run(dir.path(), &tar).expect("unpacked");
    assert_eq!(fs::metadata(dir.path().join("d/su")).expect("there").permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(dir.path().join("d")).expect("there").permissions().mode() & 0o7777, 0o700);
}

#[test]
fn lengths_that_lie_are_errors_and_reserve_nothing() {
    let dir = tempfile::tempdir().expect("temp dir");
    for (kind, size) in [(b'0', u64::MAX / 2), (b'L', 1 << 40), (b'x', 1 << 40), (b'K', 1 << 20)] {
        let mut tar = raw(b"n", kind, b"", 0o644, b"");
        tar[124] = 0x80;
        tar[125..136].fill(0);
        tar[128..136].copy_from_slice(&size.to_be_bytes());
        tar[148..156].copy_from_slice(b"        ");
        let sum: u32 = tar[..512].iter().map(|b| u32::from(*b)).sum();
        tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert!(matches!(run(dir.path(), &tar), Err(SandboxError::Tree(_))), "{}", char::from(kind));
    }
    let whole = raw(b"n", b'0', b"", 0o644, &[7; 700]);
    for cut in [1, 511, 513, 1100, whole.len() - 1] {
        let result = run(dir.path(), &whole[..cut]);
        assert!(result.is_err(), "cut at {cut}");
    }
    let mut endless = Vec::new();
    for _ in 0..20 {
        endless.extend(raw(b"x", b'L', b"", 0, b"name"));
    }
    assert!(run(dir.path(), &endless).is_err());
}

#[test]
fn what_an_honest_writer_packs_comes_over_whole() {
    let from = tempfile::tempdir().expect("temp dir");
    let long = "long-".repeat(40);
    fs::create_dir_all(from.path().join("a").join(&long)).expect("dirs");
    fs::write(from.path().join("a").join(&long).join("f"), vec![9; 100_000]).expect("file");
    fs::write(from.path().join("a/empty"), "").expect("file");
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all("top", from.path()).expect("packed");
    let tar = builder.into_inner().expect("packed");
    let into = tempfile::tempdir().expect("temp dir");
    let done = run(into.path(), &tar).expect("unpacked");
    assert_eq!((done.files, done.bytes, done.skipped_total), (2, 100_000, 0));
    assert_eq!(fs::read(into.path().join("top/a").join(&long).join("f")).expect("file"), vec![9; 100_000]);
}
