//! Mirrors of every kind of repository.

use super::*;

#[tokio::test]
async fn a_mirror_links_what_is_there_and_keeps_it_when_the_user_tidies() {
    use std::os::unix::fs::MetadataExt as _;
    let lab = Lab::new().await;
    let first = lab.commit("repo", &[("a", "one\n")], "first");
    let gone = lab.commit("repo", &[("b", "two\n")], "second");
    lab.plain("repo", &["gc", "-q"]);
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    assert!(mirror.has(&first).await.expect("look") && mirror.has(&gone).await.expect("look"));
    let packs = |at: &Path| {
        fs::read_dir(at.join("pack"))
            .expect("list")
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|e| e == "pack"))
            .map(|e| e.path())
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (packs(&mirror.objects()), packs(&lab.path("repo/.git/objects")));
    assert_eq!(ours[0].metadata().expect("look").ino(), theirs[0].metadata().expect("look").ino(), "one file with two names");
    // The user throws the second commit away, and all that is loose.
    lab.plain("repo", &["reset", "-q", "--hard", first.as_str()]);
    lab.plain("repo", &["reflog", "expire", "--expire=now", "--all"]);
    lab.plain("repo", &["gc", "-q", "--prune=now"]);
    assert!(!lab.try_plain("repo", &["cat-file", "-e", gone.as_str()]).status.success(), "the user does not have it any more");
    let third = lab.commit("repo", &[("c", "three\n")], "third");
    let mirror = lab.mirror(&repo).await;
    assert!(mirror.has(&gone).await.expect("look") && mirror.has(&third).await.expect("look"));
    lab.plain("repo", &["repack", "-qad"]);
    let mirror = lab.mirror(&repo).await;
    assert!(mirror.call("check").args(["fsck", "--connectivity-only"]).run().await.is_ok());
    // A pack and its index come and go together.
    for pack in packs(&mirror.objects()) {
        assert!(pack.with_extension("idx").exists());
    }
}

#[tokio::test]
async fn many_at_once_make_one_mirror_while_the_user_repacks() {
    let lab = Lab::new().await;
    let mut last = lab.commit("repo", &[("a", "0\n")], "0");
    for n in 1..30 {
        last = lab.commit("repo", &[("a", &format!("{n}\n"))], &n.to_string());
    }
    let repo = lab.repo().await;
    let mirrors = lab.mirrors();
    let all = (0..8).map(|_| Mirror::of(&lab.git, &mirrors, &repo));
    let tidy = async {
        for n in 0..4 {
            let args: &[&str] = if n % 2 == 0 { &["repack", "-qad"] } else { &["gc", "-q", "--prune=now"] };
            lab.plain("repo", args);
            tokio::task::yield_now().await;
        }
    };
    let (made, ()) = tokio::join!(futures_util::future::join_all(all), tidy);
    for mirror in made {
        assert!(mirror.expect("a mirror").has(&last).await.expect("look"));
    }
    let left: Vec<_> = fs::read_dir(lab.mirrors()).expect("list").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "the mirror, its lock, and the empty directory: {left:?}");
}

#[tokio::test]
async fn half_a_mirror_is_made_anew() {
    let lab = Lab::new().await;
    let first = lab.commit("repo", &[("a", "one\n")], "first");
    let repo = lab.repo().await;
    fs::create_dir_all(lab.mirrors().join(format!("{}.new/objects", repo.key))).expect("mkdir");
    fs::create_dir(lab.mirrors().join(format!("{}.0.quarantine", repo.key))).expect("mkdir");
    home::sweep(&lab.mirrors());
    assert_eq!(fs::read_dir(lab.mirrors()).expect("list").count(), 1, "only the empty directory is left");
    assert!(lab.mirror(&repo).await.has(&first).await.expect("look"));
}

#[tokio::test]
async fn a_linked_working_tree_has_the_mirror_of_its_repository() {
    let lab = Lab::new().await;
    lab.commit("repo", &[("a", "one\n")], "first");
    let linked = lab.path("linked");
    lab.plain("repo", &["worktree", "add", "-q", "-b", "side", linked.to_str().expect("text")]);
    let other = lab.commit("linked", &[("b", "two\n")], "second");
    let repo = lab.repo().await;
    let worktree = Repo::open(&lab.git, &lab.path("linked")).await.expect("a repository");
    assert_eq!(repo.key, worktree.key);
    assert_eq!(worktree.path, fs::canonicalize(&linked).expect("a path"));
    assert!(lab.mirror(&worktree).await.has(&other).await.expect("look"));
    assert_eq!(worktree.head().await.expect("a branch").as_deref(), Some("side"));
    let mut out: Vec<String> = repo.checked_out().await.expect("trees").into_iter().map(|(branch, _)| branch).collect();
    out.sort();
    assert_eq!(out, ["main", "side"]);
    // Below the top as well.
    fs::create_dir(lab.path("repo/deep")).expect("mkdir");
    assert_eq!(Repo::open(&lab.git, &lab.path("repo/deep")).await.expect("a repository").path, repo.path);
}

#[tokio::test]
async fn a_repository_that_borrows_objects_gives_only_what_its_refs_reach() {
    let lab = Lab::new().await;
    let first = lab.commit("repo", &[("a", "one\n")], "first");
    lab.plain("repo", &["checkout", "-q", "-b", "private"]);
    let secret = lab.commit("repo", &[("b", "two\n")], "of somebody else");
    lab.plain("repo", &["checkout", "-q", "main"]);
    let from = lab.path("repo");
    let to = lab.path("borrower");
    lab.plain(
        "mirrors",
        &["clone", "-q", "--shared", "--single-branch", "--branch", "main", from.to_str().expect("text"), to.to_str().expect("text")],
    );
    assert!(lab.try_plain("borrower", &["cat-file", "-e", secret.as_str()]).status.success(), "it could see it");
    let own = lab.commit("borrower", &[("c", "three\n")], "own");
    let borrower = Repo::open(&lab.git, &to).await.expect("a repository");
    let mirror = lab.mirror(&borrower).await;
    assert!(mirror.has(&first).await.expect("look") && mirror.has(&own).await.expect("look"));
    assert!(!mirror.has(&secret).await.expect("look"));
    let later = lab.commit("borrower", &[("c", "four\n")], "later");
    assert!(lab.mirror(&borrower).await.has(&later).await.expect("look"));
}

#[tokio::test]
async fn shallow_clones_work_and_partial_ones_are_refused() {
    let lab = Lab::new().await;
    for n in 0..5 {
        lab.commit("repo", &[("a", &format!("{n}\n"))], &n.to_string());
    }
    let from = format!("file://{}", lab.path("repo").display());
    lab.plain("repo", &["config", "uploadpack.allowFilter", "true"]);
    let to = |name: &str| lab.path(name).to_str().expect("text").to_owned();
    lab.plain("mirrors", &["clone", "-q", "--depth=2", &from, &to("shallow")]);
    lab.plain("mirrors", &["clone", "-q", "--filter=blob:none", &from, &to("partial")]);
    let shallow = Repo::open(&lab.git, &lab.path("shallow")).await.expect("a repository");
    let mirror = lab.mirror(&shallow).await;
    assert!(mirror.shallow.as_ref().is_some_and(|text| text.lines().count() == 1), "{:?}", mirror.shallow);
    let tip = shallow.commit("HEAD").await.expect("a commit");
    assert_eq!(mirror.call("count").args(["rev-list", "--count", tip.as_str()]).text().await.expect("a number"), "2");
    lab.clone("agent", &mirror, "work", &tip);
    assert_eq!(lab.plain("agent", &["rev-list", "--count", "HEAD"]), "2");
    let done = lab.commit("agent", &[("b", "new\n")], "more");
    let (at, pack) = lab.packed("agent", "work", &[&tip]);
    home::receive(&mirror, &tip, &at, pack).await.expect("received");
    let settled = home::settle(&shallow, &mirror, "work", &tip, &at).await.expect("home");
    assert_eq!((at, settled.commits), (done.clone(), 1));
    assert_eq!(lab.oid("shallow", "work"), done);
    let partial = Repo::open(&lab.git, &lab.path("partial")).await;
    assert!(matches!(&partial, Err(GitError::Repo { why, .. }) if why.contains("partial clone")), "{partial:?}");
}

#[tokio::test]
async fn other_formats_of_objects_and_refs_work() {
    for options in [&["--object-format=sha256"][..], &["--ref-format=reftable"][..]] {
        let lab = Lab::new().await;
        fs::remove_dir_all(lab.path("repo/.git")).expect("remove");
        let made = lab.try_plain("repo", &["init", "-q", "-b", "main"].iter().chain(options).copied().collect::<Vec<_>>());
        let complaint = String::from_utf8_lossy(&made.stderr).into_owned();
        if complaint.contains("unknown option `ref-format") {
            // A git that cannot make one can have no user who has one: it is refused.
            lab.plain("repo", &["init", "-q", "-b", "main"]);
            for (key, value) in [("core.repositoryFormatVersion", "1"), ("extensions.refStorage", "reftable")] {
                lab.plain("repo", &["config", key, value]);
            }
            let opened = Repo::open(&lab.git, &lab.path("repo")).await;
            assert!(matches!(&opened, Err(GitError::Repo { .. })), "{opened:?}");
            continue;
        }
        assert!(made.status.success(), "{complaint}");
        let first = lab.commit("repo", &[("a", "one\n")], "first");
        let repo = lab.repo().await;
        let mirror = lab.mirror(&repo).await;
        assert!(mirror.has(&first).await.expect("look"), "{options:?}");
        lab.clone("agent", &mirror, "feat/x", &first);
        let done = lab.commit("agent", &[("b", "two\n")], "second");
        let settled = lab.home("agent", "feat/x", &first).await.expect("home");
        assert_eq!((settled.name.as_str(), settled.commits), ("refs/heads/feat/x", 1), "{options:?}");
        assert_eq!(lab.oid("repo", "refs/heads/feat/x"), done);
    }
}

#[tokio::test]
async fn what_is_no_repository_is_refused_with_its_reason() {
    let lab = Lab::new().await;
    fs::create_dir(lab.path("none")).expect("mkdir");
    lab.write("file", "x");
    for path in ["none", "missing", "file"] {
        let opened = Repo::open(&lab.git, &lab.path(path)).await;
        assert!(matches!(opened, Err(GitError::Repo { .. })), "{path}: {opened:?}");
    }
    let repo = lab.repo().await;
    assert!(matches!(repo.commit("HEAD").await, Err(GitError::NoCommit(_))), "no commit yet");
    for bad in ["", "--all", "-h", "no such", "HEAD\0"] {
        assert!(matches!(repo.commit(bad).await, Err(GitError::NoCommit(_))), "{bad:?}");
    }
}

#[tokio::test]
async fn only_what_may_be_carried_in_is() {
    let lab = Lab::new().await;
    lab.commit(
        "repo",
        &[("a", "one\n"), ("gone", "x\n"), ("staged-gone", "x\n"), ("dir/keep", "k\n"), (".gitignore", "ignored\n")],
        "first",
    );
    lab.write("repo/a", "changed\n");
    lab.write("repo/new file\nwith a line", "new\n");
    lab.write("repo/ignored", "x\n");
    lab.write("repo/.env", "SECRET=1\n");
    lab.write("repo/sub/.env.local", "SECRET=2\n");
    fs::remove_file(lab.path("repo/gone")).expect("remove");
    lab.plain("repo", &["rm", "-q", "staged-gone"]);
    lab.write("outside/secret", "s\n");
    std::os::unix::fs::symlink("../outside/secret", lab.path("repo/link")).expect("link");
    std::os::unix::fs::symlink("../outside", lab.path("repo/away")).expect("link");
    let repo = lab.repo().await;
    let list = |carried: &Carried| {
        let mut tar = tar::Archive::new(carried.open().expect("a file"));
        let mut names: Vec<String> =
            tar.entries().expect("entries").map(|e| e.expect("one").path().expect("a path").display().to_string()).collect();
        names.sort();
        names
    };
    let carried = carry(&repo, &lab.mirrors(), true, &[]).await.expect("files");
    assert_eq!(list(&carried), ["a", "away", "link", "new file\nwith a line"]);
    assert_eq!(carried.removed, ["gone", "staged-gone"]);
    assert_eq!(carried.left_out, [".env", "sub/.env.local"]);
    let carried = carry(&repo, &lab.mirrors(), false, &[".env".into(), "ignored".into()]).await.expect("files");
    assert_eq!(list(&carried), [".env", "ignored"]);
    assert_eq!(list(&carry(&repo, &lab.mirrors(), false, &["away/secret".into()]).await.expect("files")), Vec::<String>::new());
    for bad in ["../outside/secret", "/etc/passwd", "a/../../outside/secret"] {
        assert!(carry(&repo, &lab.mirrors(), false, &[bad.into()]).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn only_submodules_that_the_user_has_are_shown() {
    let lab = Lab::new().await;
    for name in ["inner", "innermost", "private"] {
        fs::create_dir(lab.path(name)).expect("mkdir");
        lab.plain(name, &["init", "-q", "-b", "main"]);
    }
    let deep = lab.commit("innermost", &[("deep", "deep\n")], "deep");
    lab.commit("inner", &[("in", "in\n")], "in");
    let add = |at: &str, from: &str, path: &str| {
        let from = lab.path(from).to_str().expect("text").to_owned();
        lab.plain(at, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, path]);
    };
    add("inner", "innermost", "most");
    let inner = lab.commit("inner", &[], "with a submodule");
    lab.commit("repo", &[("a", "one\n")], "first");
    add("repo", "inner", "libs/in ner");
    lab.plain("repo", &["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive"]);
    let base = lab.commit("repo", &[], "with a submodule");
    // A repository of the user's that is no submodule, where an agent's commit says that it is one.
    fs::rename(lab.path("private"), lab.path("repo/private")).expect("move");
    let secret = lab.commit("repo/private", &[("secret", "s\n")], "secret");
    lab.plain("repo", &["checkout", "-q", "-b", "evil"]);
    let modules = lab.plain("repo", &["show", "HEAD:.gitmodules"]);
    lab.write("repo/.gitmodules", format!("{modules}\n[submodule \"libs/in ner2\"]\n\tpath = private\n\turl = ./x\n"));
    lab.plain("repo", &["add", ".gitmodules"]);
    lab.plain("repo", &["update-index", "--add", "--cacheinfo", &format!("160000,{secret},private")]);
    lab.plain("repo", &["commit", "-q", "-m", "evil"]);
    let evil = lab.oid("repo", "HEAD");
    lab.plain("repo", &["checkout", "-q", "main"]);
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    for commit in [&base, &evil] {
        let found = submodules::submodules(&repo, &mirror, commit).await.expect("submodules");
        let shown: Vec<(&str, &Oid)> = found.iter().map(|sub| (sub.path.as_str(), &sub.commit)).collect();
        assert_eq!(shown, [("libs/in ner", &inner), ("libs/in ner/most", &deep)]);
        assert!(found.iter().all(|sub| sub.mirror.dir().starts_with(mirror.dir()) && sub.mirror.inside().starts_with(mirror.inside())));
    }
    // As a base tree is made of them.
    lab.clone("agent", &mirror, "work", &base);
    for sub in submodules::submodules(&repo, &mirror, &base).await.expect("submodules") {
        let args = [&sub.path, sub.commit.as_str(), "sha1", sub.mirror.dir().to_str().expect("text"), ""];
        lab.script("agent", base::INNER, &args[..], b"");
    }
    assert_eq!(fs::read_to_string(lab.path("agent/libs/in ner/most/deep")).expect("read"), "deep\n");
    assert_eq!(lab.plain("agent", &["status", "--porcelain", "--ignore-submodules=none"]), "");
}

#[tokio::test]
async fn a_mirror_goes_when_nobody_has_used_it_for_long() {
    let lab = Lab::new().await;
    lab.commit("repo", &[("a", "one\n")], "first");
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let list = lab.mirrors().join(format!("{}.bases", repo.key));
    fs::write(&list, "{\"bases\":[]}").expect("write");
    let nobody = HashSet::new();
    super::mirror::sweep(&lab.mirrors(), &nobody).expect("swept");
    assert!(mirror.dir().exists(), "it was used a moment ago");
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 24 * 3600);
    fs::File::options().write(true).open(&list).and_then(|file| file.set_modified(then)).expect("set the time");
    super::mirror::sweep(&lab.mirrors(), &HashSet::from([repo.key.clone()])).expect("swept");
    assert!(mirror.dir().exists(), "an agent has it");
    super::mirror::sweep(&lab.mirrors(), &nobody).expect("swept");
    assert!(!mirror.dir().exists() && !list.exists() && lab.mirrors().join("empty").exists());
}
