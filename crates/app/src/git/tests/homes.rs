//! Branches on their way home, and what is stopped there.

use super::*;

/// A repository with one commit, its mirror, and a clone on the branch `work`.
async fn scene() -> (Lab, Oid) {
    let lab = Lab::new().await;
    let base = lab.commit("repo", &[("a", "one\n")], "first");
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    lab.clone("agent", &mirror, "work", &base);
    (lab, base)
}

#[tokio::test]
async fn a_branch_comes_home_again_and_again() {
    let (lab, base) = scene().await;
    let status = lab.plain("agent", &["status", "--porcelain"]);
    assert_eq!(status, "", "a fresh clone is clean");
    assert_eq!(lab.plain("agent", &["symbolic-ref", "HEAD"]), "refs/heads/work");
    assert_eq!(lab.plain("agent", &["rev-parse", "origin/main"]), base.to_string());
    let before = lab.untouched(&[]);
    let one = lab.commit("agent", &[("b", "two\n")], "second");
    let settled = lab.home("agent", "work", &base).await.expect("home");
    assert_eq!((settled.name.as_str(), settled.aside.clone(), settled.commits), ("refs/heads/work", None, 1));
    assert_eq!(lab.oid("repo", "work"), one);
    // Once more with nothing new, then with more.
    assert_eq!(lab.home("agent", "work", &base).await.expect("home"), settled);
    let two = lab.commit("agent", &[("b", "three\n")], "third");
    assert_eq!(lab.home("agent", "work", &base).await.expect("home").commits, 2);
    assert_eq!(lab.oid("repo", "work"), two);
    assert_eq!(lab.untouched(&["refs/heads/work"]), before);
    lab.plain("repo", &["fsck", "--strict"]);
    assert_eq!(lab.plain("repo", &["show", "work:b"]), "three");
    let left: Vec<_> = fs::read_dir(lab.mirrors()).expect("list").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "no quarantine is left: {left:?}");
}

#[tokio::test]
async fn a_large_branch_comes_as_a_pack() {
    let (lab, base) = scene().await;
    for n in 0..200 {
        lab.write(&format!("agent/f{n}"), format!("{n}\n"));
    }
    let tip = lab.commit("agent", &[], "many");
    lab.home("agent", "work", &base).await.expect("home");
    assert_eq!(lab.oid("repo", "work"), tip);
    let packs = fs::read_dir(lab.path("repo/.git/objects/pack"))
        .expect("list")
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|e| e == "pack"));
    assert_eq!(packs.count(), 1);
    lab.plain("repo", &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_branch_that_the_user_moved_or_has_open_stays_where_it_is() {
    let (lab, base) = scene().await;
    let one = lab.commit("agent", &[("b", "two\n")], "second");
    // The user has a branch of this name that went elsewhere.
    lab.plain("repo", &["checkout", "-q", "-b", "work"]);
    let theirs = lab.commit("repo", &[("c", "user\n")], "of the user");
    lab.plain("repo", &["checkout", "-q", "main"]);
    let settled = lab.home("agent", "work", &base).await.expect("home");
    assert_eq!(settled.name, "refs/lazaret/work");
    assert!(settled.aside.is_some_and(|why| why.contains("moved")));
    assert_eq!((lab.oid("repo", "work"), lab.oid("repo", "refs/lazaret/work")), (theirs, one));
    // Checked out, though it could go forward.
    lab.plain("repo", &["checkout", "-q", "-B", "work", base.as_str()]);
    let before = lab.untouched(&["refs/lazaret/work"]);
    let two = lab.commit("agent", &[("b", "three\n")], "third");
    let settled = lab.home("agent", "work", &base).await.expect("home");
    assert!(settled.aside.is_some_and(|why| why.contains("checked out")));
    assert_eq!(lab.oid("repo", "refs/lazaret/work"), two);
    assert_eq!(lab.untouched(&["refs/lazaret/work"]), before);
    // The agent rewrote its history: what came home before is not thrown away.
    lab.plain("repo", &["checkout", "-q", "main"]);
    lab.plain("repo", &["branch", "-f", "work", two.as_str()]);
    lab.plain("agent", &["reset", "-q", "--hard", base.as_str()]);
    let three = lab.commit("agent", &[("d", "anew\n")], "anew");
    assert_eq!(lab.home("agent", "work", &base).await.expect("home").name, "refs/lazaret/work");
    assert_eq!((lab.oid("repo", "work"), lab.oid("repo", "refs/lazaret/work")), (two, three));
}

#[tokio::test]
async fn names_that_cannot_stand_beside_others_stand_aside() {
    let (lab, base) = scene().await;
    lab.plain("repo", &["branch", "feat"]);
    lab.plain("repo", &["branch", "Deep/Er/x"]);
    lab.plain("repo", &["config", "core.ignorecase", "true"]);
    for (branch, other) in [("feat/x", "feat"), ("FEAT", "feat"), ("deep/er", "Deep/Er/x"), ("Deep/Er", "Deep/Er/x")] {
        let repo = lab.repo().await;
        assert_eq!(repo.clash(branch).await.expect("look").as_deref(), Some(other), "{branch}");
    }
    assert_eq!(lab.repo().await.clash("fea").await.expect("look"), None);
    let agent = lab.commit("agent", &[("b", "two\n")], "second");
    lab.plain("agent", &["update-ref", "refs/heads/feat/x", agent.as_str()]);
    let settled = lab.home("agent", "feat/x", &base).await.expect("home");
    assert_eq!(settled.name, "refs/lazaret/feat/x");
}

/// Builds a commit of a tree that no porcelain makes, in the clone.
fn forged(lab: &Lab, entries: &[(&str, &str, &str)], message: &str) {
    let mut tree = Vec::new();
    let mut entries: Vec<_> = entries.to_vec();
    entries.sort_by_key(|(mode, name, _)| if *mode == "40000" { format!("{name}/") } else { (*name).to_owned() });
    for (mode, name, oid) in entries {
        tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        tree.extend((0..oid.len() / 2).map(|n| u8::from_str_radix(&oid[2 * n..2 * n + 2], 16).expect("hex")));
    }
    let hash = |kind: &str, bytes: &[u8]| {
        let text = format!("exec git hash-object -t {kind} -w --stdin --literally");
        String::from_utf8(lab.script("agent", &text, &[], bytes).1).expect("text").trim().to_owned()
    };
    let tree = hash("tree", &tree);
    let commit = lab.plain("agent", &["commit-tree", &tree, "-p", "HEAD", "-m", message]);
    lab.plain("agent", &["update-ref", "refs/heads/work", &commit]);
}

#[tokio::test]
async fn trees_that_reach_into_a_repository_or_out_of_it_are_stopped() {
    for name in [".git", ".GIT", "..", ".", "git~1", ".gi\u{200c}t", ".git ", "a/b", ".git::$INDEX_ALLOCATION"] {
        let (lab, base) = scene().await;
        let blob = lab.plain("agent", &["hash-object", "-w", "a"]);
        forged(&lab, &[("100644", name, &blob)], "forged");
        let before = lab.seen("repo");
        let came = lab.home("agent", "work", &base).await;
        assert!(matches!(came, Err(GitError::Refused(_))), "{name:?}: {came:?}");
        assert_eq!(lab.seen("repo"), before, "{name:?}");
        let mirror = lab.mirror(&lab.repo().await).await;
        assert!(!mirror.has(&lab.oid("agent", "refs/heads/work")).await.expect("look"), "nothing of it is in the mirror");
    }
}

#[tokio::test]
async fn what_lies_in_the_middle_of_a_branch_is_looked_at_too() {
    let (lab, base) = scene().await;
    let blob = lab.plain("agent", &["hash-object", "-w", "a"]);
    forged(&lab, &[("100644", "a\\.git\\hooks", &blob)], "forged");
    lab.plain("agent", &["checkout", "-q", "--force", "--orphan", "fresh", base.as_str()]);
    let tree = lab.plain("agent", &["rev-parse", &format!("{base}^{{tree}}")]);
    let commit = lab.plain("agent", &["commit-tree", &tree, "-p", "refs/heads/work", "-m", "harmless again"]);
    lab.plain("agent", &["update-ref", "refs/heads/work", &commit]);
    let came = lab.home("agent", "work", &base).await;
    assert!(matches!(came, Err(GitError::Refused(_))), "{came:?}");
}

#[tokio::test]
async fn strange_modes_and_dangerous_links_are_stopped() {
    for (mode, name, target) in
        [("100777", "x", "a"), ("120000", ".gitmodules", "/etc/passwd"), ("120000", ".gitattributes", "x"), ("140000", "x", "a")]
    {
        let (lab, base) = scene().await;
        lab.write("agent/target", target);
        let blob = lab.plain("agent", &["hash-object", "-w", "target"]);
        forged(&lab, &[(mode, name, &blob)], "forged");
        let came = lab.home("agent", "work", &base).await;
        assert!(matches!(came, Err(GitError::Refused(_))), "{mode} {name}: {came:?}");
    }
}

#[tokio::test]
async fn submodules_that_would_run_something_are_stopped() {
    for text in [
        "[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n",
        "[submodule \"../../hooks\"]\n\tpath = x\n\turl = https://example.org/x\n",
        "[submodule \"x\"]\n\tpath = x\n\turl = https://example.org/x\n\tupdate = !touch /tmp/x\n",
        "[submodule \"x\"]\n\tpath = -x\n\turl = https://example.org/x\n",
    ] {
        let (lab, base) = scene().await;
        lab.commit("agent", &[(".gitmodules", text)], "submodule");
        let came = lab.home("agent", "work", &base).await;
        assert!(matches!(came, Err(GitError::Refused(_))), "{text}: {came:?}");
    }
    // A path with a carriage return at its end, which one reader keeps and the other cuts off.
    let (lab, base) = scene().await;
    lab.commit("agent", &[(".gitmodules", "[submodule \"x\"]\n\tpath = \"x\\r\"\n\turl = https://example.org/x\n")], "submodule");
    let found = lab.home("agent", "work", &base).await;
    assert!(found.is_ok() || matches!(found, Err(GitError::Refused(_))), "{found:?}");
}

#[tokio::test]
async fn what_is_no_whole_pack_is_stopped() {
    let (lab, base) = scene().await;
    let tip = lab.commit("agent", &[("b", "two\n"), ("c", "three\n")], "second");
    let (_, whole) = lab.script("agent", home::PACK, &["work"], format!("{base}\n").as_bytes());
    let pack = &whole[41..];
    let mut many = pack.to_vec();
    many[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut changed = pack.to_vec();
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    let empty = [b"PACK".as_slice(), &2u32.to_be_bytes(), &0u32.to_be_bytes()].concat();
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let before = lab.seen("mirrors");
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("short", b"PACK"),
        ("no pack", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("cut", &pack[..pack.len() - 30]),
        ("changed", &changed),
        ("so many", &many),
        ("without its objects", &empty),
    ] {
        let came = home::receive(&mirror, &base, &tip, lab.file(bytes)).await;
        assert!(matches!(came, Err(GitError::Refused(_))), "{what}: {came:?}");
        assert_eq!(lab.seen("mirrors"), before, "{what}");
    }
    home::receive(&mirror, &base, &tip, lab.file(pack)).await.expect("the whole one is taken");
}

#[tokio::test]
async fn a_pack_without_a_file_that_its_commit_names_is_stopped() {
    let (lab, base) = scene().await;
    let tip = lab.commit("agent", &[("b", "a file that is left out\n")], "second");
    let names = lab.plain("agent", &["rev-list", "--objects", "--filter=blob:none", tip.as_str(), &format!("^{base}")]);
    let names: String = names.lines().map(|line| format!("{}\n", line.split(' ').next().expect("a name"))).collect();
    let (_, pack) = lab.script("agent", "git pack-objects --stdout -q", &[], names.as_bytes());
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let came = home::receive(&mirror, &base, &tip, lab.file(&pack)).await;
    assert!(matches!(came, Err(GitError::Refused(_))), "{came:?}");
    assert!(!mirror.has(&tip).await.expect("look"));
}

#[tokio::test]
async fn a_tree_that_names_more_files_than_there_is_room_for_is_stopped() {
    let (lab, base) = scene().await;
    let blob = lab.plain("agent", &["hash-object", "-w", "a"]);
    let mut entry = format!("100644 blob {blob}\tf");
    // Ten names for the same tree, eight deep: a hundred million files in nine small objects.
    for _ in 0..8 {
        let kind = entry.split('\t').next().expect("a part").to_owned();
        let lines: String = (0..10).map(|n| format!("{kind}\tf{n}\n")).collect();
        let (_, tree) = lab.script("agent", "git mktree", &[], lines.as_bytes());
        entry = format!("040000 tree {}\tf", String::from_utf8(tree).expect("text").trim());
    }
    let (_, tree) = lab.script("agent", "git mktree", &[], format!("{entry}\n").as_bytes());
    let tree = String::from_utf8(tree).expect("text").trim().to_owned();
    let commit = lab.plain("agent", &["commit-tree", &tree, "-p", base.as_str(), "-m", "bomb"]);
    lab.plain("agent", &["update-ref", "refs/heads/work", &commit]);
    let came = lab.home("agent", "work", &base).await;
    assert!(matches!(&came, Err(GitError::Refused(why)) if why.contains("files")), "{came:?}");
}

#[tokio::test]
async fn what_deserves_a_second_look_is_told() {
    let (lab, base) = scene().await;
    std::os::unix::fs::symlink("/etc/passwd", lab.path("agent/link")).expect("link");
    lab.write("agent/run.sh", "#!/bin/sh\n");
    fs::set_permissions(lab.path("agent/run.sh"), fs::Permissions::from_mode(0o755)).expect("chmod");
    lab.write("agent/b\u{202e}gpj.exe", "x");
    lab.plain("agent", &["add", "-A"]);
    lab.plain("agent", &["update-index", "--add", "--cacheinfo", &format!("160000,{base},sub")]);
    lab.plain("agent", &["commit", "-q", "-m", "odd"]);
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let (tip, pack) = lab.packed("agent", "work", &[&base]);
    let found = home::receive(&mirror, &base, &tip, pack).await.expect("received");
    assert_eq!(
        (found.links, found.submodules, found.programs),
        (vec!["link".to_owned()], vec!["sub".to_owned()], vec!["run.sh".to_owned()])
    );
    assert_eq!(found.names, ["b\u{fffd}gpj.exe"]);
}

#[tokio::test]
async fn the_branch_alone_carries_nothing_else() {
    let lab = Lab::new().await;
    let base = lab.commit("repo", &[("a", "one\n")], "first");
    lab.write("repo/a", "the secret of a stash\n");
    lab.plain("repo", &["stash", "-q"]);
    lab.plain("repo", &["checkout", "-q", "-b", "other"]);
    lab.commit("repo", &[("s", "the secret of a branch\n")], "other");
    lab.plain("repo", &["checkout", "-q", "main"]);
    lab.commit("repo", &[("s", "the secret that was removed\n")], "oops");
    lab.plain("repo", &["reset", "-q", "--hard", base.as_str()]);
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    // As the pack of a base tree is made.
    let out = tempfile_in(&lab.mirrors()).expect("a file");
    let call = mirror.call("pack").args(["pack-objects", "--revs", "--stdout", "--quiet"]).input(format!("{base}\n"));
    call.into_file(out.try_clone().expect("a file")).await.expect("packed");
    let (mut out, mut pack) = (out, Vec::new());
    out.rewind().expect("rewind");
    out.read_to_end(&mut pack).expect("read");
    fs::create_dir(lab.path("agent")).expect("mkdir");
    lab.script("agent", base::MAKE, &[base.as_str(), "sha1", "", ""], &pack);
    let args = ["work", base.as_str(), "Agent", "agent@example.org", "", ""];
    lab.script("agent", clone::CLONE, &args, clone::PACKED_HEADER.as_bytes());
    let objects = lab.plain("agent", &["cat-file", "--batch-all-objects", "--batch-check"]);
    assert_eq!(objects.lines().count(), 3, "a commit, a tree and a file: {objects}");
    let seen = |at: &str| lab.plain(at, &["cat-file", "--batch-all-objects", "--batch", "--unordered"]);
    assert!(seen("repo").contains("the secret of a stash"), "the search finds it where it is");
    assert!(!seen("agent").contains("secret"));
    assert!(!lab.path("agent/.git/objects/info/alternates").exists());
}

#[tokio::test]
async fn work_that_is_not_committed_is_counted() {
    let (lab, _) = scene().await;
    let count = || String::from_utf8(lab.script("agent", home::DIRT, &[], b"").1).expect("text");
    assert_eq!(count(), "0 0\n");
    lab.write("agent/a", "changed\n");
    lab.write("agent/new\nname", "x");
    lab.write("agent/dir/new", "x");
    assert_eq!(count(), "1 2\n");
}
