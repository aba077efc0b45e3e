//! A hostile archive: it tries to leave the folder of its plugin, to bring what the host would act on, and to fill the disk.
//! The same archive without the hostile entry is installed, so that each refusal is for that entry alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::support::{Caller, each_caller, finish};

const MANIFEST: &str = "description = \"d\"\ncommand = [\"python3\", \"./server.py\"]\n[[tools]]\nname = \"t\"\ndescription = \"d\"\n\
                        [tools.arguments_schema]\ntype = \"object\"\nadditionalProperties = false\n";

/// An entry as an attacker writes it: names and links that no packer would make.
struct Entry<'a> {
    name: &'a str,
    kind: tar::EntryType,
    mode: u32,
    link: &'a str,
    bytes: &'a [u8],
}

fn file<'a>(name: &'a str, bytes: &'a [u8]) -> Entry<'a> {
    Entry { name, kind: tar::EntryType::Regular, mode: 0o644, link: "", bytes }
}

fn link<'a>(name: &'a str, kind: tar::EntryType, to: &'a str) -> Entry<'a> {
    Entry { name, kind, mode: 0o777, link: to, bytes: b"" }
}

fn pack(caller: &Caller, entries: &[Entry<'_>]) -> PathBuf {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let raw = header.as_old_mut();
        raw.name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        raw.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.bytes.len() as u64);
        if matches!(entry.kind, tar::EntryType::Block | tar::EntryType::Char) {
            header.set_device_major(1).and_then(|()| header.set_device_minor(3)).expect("a device");
        }
        header.set_cksum();
        builder.append(&header, entry.bytes).expect("append");
    }
    let path = caller.home.join("plugin.tar");
    fs::write(&path, builder.into_inner().expect("an archive")).expect("write");
    chown(&path, Some(caller.uid), Some(caller.uid)).expect("chown");
    path
}

fn install(caller: &Caller, archive: &Path, name: &str) -> Output {
    let mut command = caller.lazaret();
    command.args(["plugin", "install", archive.to_str().expect("utf-8"), "--name", name]);
    finish(command, Stdio::null())
}

/// Everything below a directory: paths and modes.
fn all_below(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let meta = entry.path().symlink_metadata().expect("look");
        found.push((entry.path(), meta.mode()));
        if meta.is_dir() {
            found.extend(all_below(&entry.path()));
        }
    }
    found
}

fn plugins(caller: &Caller) -> PathBuf {
    let told = caller.lazaret().args(["config", "path"]).output().expect("ask");
    let path = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    path.parent().expect("the home").join("plugins")
}

#[test]
fn an_archive_that_is_not_plain_leaves_nothing() {
    each_caller(|caller| {
        let outside = caller.home.join("outside");
        let escape = format!("../../../..{}", outside.display());
        let target = outside.to_str().expect("utf-8").to_owned();
        let good = || vec![file("manifest.toml", MANIFEST.as_bytes()), file("server.py", b"")];
        let over = vec![b'x'; 100];
        let cases: Vec<(&str, Vec<Entry<'_>>)> = vec![
            ("leads out", vec![file("../outside", b"x")]),
            ("leads out", vec![file(&escape, b"x")]),
            ("leads out", vec![file(&target, b"x")]),
            ("is a link", vec![link("data", tar::EntryType::Symlink, "/etc/passwd"), file("data", b"x")]),
            ("is a link", vec![link("dir", tar::EntryType::Symlink, ".."), file("dir/outside", b"x")]),
            ("is a link", vec![link("data", tar::EntryType::Link, "/etc/passwd")]),
            ("is a link", vec![link("data", tar::EntryType::Link, "manifest.toml")]),
            ("neither", vec![link("null", tar::EntryType::Char, "")]),
            ("neither", vec![link("disk", tar::EntryType::Block, "")]),
            ("neither", vec![link("pipe", tar::EntryType::Fifo, "")]),
            ("set-id", vec![Entry { mode: 0o4755, ..file("root", b"x") }]),
            ("set-id", vec![Entry { mode: 0o2755, ..file("group", b"x") }]),
            ("twice", vec![file("server.py", &over)]),
            ("git", vec![file(".git/hooks/post-checkout", b"#!/bin/sh\n")]),
            ("git", vec![file(".GIT/config", b"x")]),
            ("git", vec![file(".gitmodules", b"x")]),
            ("plain text", vec![file("a\u{1b}]0;owned\u{7}", b"x")]),
            ("plain text", vec![file("a\u{202e}txt.py", b"x")]),
        ];
        for (why, hostile) in cases {
            let names: Vec<&str> = hostile.iter().map(|entry| entry.name).collect();
            let entries: Vec<Entry<'_>> = good().into_iter().chain(hostile).collect();
            let ran = install(caller, &pack(caller, &entries), "hostile");
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert_eq!(ran.status.code(), Some(2), "{names:?}: {said}");
            assert!(said.contains("[PLUGIN_INVALID]") && said.contains(why), "{names:?}: {said}");
            assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}'), "{names:?} is shown escaped");
            assert!(!outside.exists(), "{names:?} wrote outside");
            assert_eq!(all_below(&plugins(caller)), [], "{names:?} left something");
        }
        let ran = install(caller, &pack(caller, &good()), "good");
        assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
        let there = all_below(&plugins(caller));
        assert!(there.len() == 3 && there.iter().all(|(_, mode)| mode & 0o7022 == 0), "{there:?}");
        let mut stop = caller.lazaret();
        stop.arg("stop");
        assert!(finish(stop, Stdio::null()).status.success());
    });
}

#[test]
fn an_archive_that_grows_is_cut_off() {
    each_caller(|caller| {
        // Many small files, and one that is nearly nothing until it is unpacked.
        let names: Vec<String> = (0..5_001).map(|n| format!("f{n}")).collect();
        let many: Vec<Entry<'_>> = names.iter().map(|name| file(name, b"")).collect();
        let ran = install(caller, &pack(caller, &many), "hostile");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains("[PLUGIN_INVALID]") && said.contains("5000 files"), "{said}");
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(80 << 20);
        builder.append_data(&mut header, "zeros", std::io::repeat(0).take(80 << 20)).expect("append");
        let bomb = builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive");
        assert!(bomb.len() < 1 << 20, "it is small as long as it is packed");
        let path = caller.home.join("bomb.tar.gz");
        fs::File::create(&path).and_then(|mut f| f.write_all(&bomb)).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let ran = install(caller, &path, "hostile");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains("[PLUGIN_INVALID]") && said.contains("64 MiB"), "{said}");
        assert_eq!(all_below(&plugins(caller)), [], "what was unpacked is gone");
        let mut stop = caller.lazaret();
        stop.arg("stop");
        assert!(finish(stop, Stdio::null()).status.success());
    });
}
