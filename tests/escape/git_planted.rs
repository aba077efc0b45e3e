//! What an agent plants in its clone for a git to run: hooks, configuration, attributes, filters, nested repositories. The
//! host takes the branch home, shows and merges it, and none of it runs there; a plain git in such a clone runs it.

use crate::git::Project;
use crate::support::each_caller;

/// Plants everything that is known to start a program, and commits what can be committed. `$1` is where marks are left.
const PLANT: &str = r#"
marks=$1
plant() { printf '#!/bin/sh\ntouch "%s/%s"\ncat 2>/dev/null\nexit 0\n' "$marks" "$1" >"$PWD/.git/planted-$1"; chmod +x "$PWD/.git/planted-$1"; echo "$PWD/.git/planted-$1"; }
for hook in pre-commit post-commit post-checkout post-merge pre-merge-commit reference-transaction post-index-change pre-push \
    pre-receive update post-receive post-update push-to-checkout fsmonitor-watchman prepare-commit-msg post-rewrite; do
    mkdir -p .git/hooks .githooks
    cp "$(plant "hook-$hook")" ".git/hooks/$hook"
    cp ".git/hooks/$hook" ".githooks/$hook"
done
{
    printf '[core]\n\tfsmonitor = %s\n\tsshCommand = %s\n\tpager = %s\n\teditor = %s\n\taskPass = %s\n\talternateRefsCommand = %s\n' \
        "$(plant fsmonitor)" "$(plant ssh)" "$(plant pager)" "$(plant editor)" "$(plant askpass)" "$(plant alternates)"
    printf '[diff]\n\texternal = %s\n[diff "evil"]\n\tcommand = %s\n\ttextconv = %s\n' "$(plant external)" "$(plant command)" "$(plant textconv)"
    printf '[filter "evil"]\n\tclean = %s\n\tsmudge = %s\n\trequired = true\n' "$(plant clean)" "$(plant smudge)"
    printf '[merge "evil"]\n\tdriver = %s\n[credential]\n\thelper = %s\n[gpg]\n\tprogram = %s\n' "$(plant driver)" "$(plant credential)" "$(plant gpg)"
    printf '[alias]\n\tlog = !%s\n\tstatus = !%s\n[uploadpack]\n\tpackObjectsHook = %s\n' "$(plant alias)" "$(plant alias)" "$(plant packhook)"
    printf '[sequence]\n\teditor = %s\n[trailer "x"]\n\tcommand = %s\n' "$(plant sequence)" "$(plant trailer)"
} >.git/evil
printf '[include]\n\tpath = evil\n' >>.git/config
printf '* filter=evil diff=evil merge=evil\n' >.git/info/attributes
printf '*.md filter=evil diff=evil merge=evil\n*.lfs filter=lfs diff=lfs merge=lfs -text\n' >.gitattributes
printf '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n' >.gitmodules
printf 'planted\n' >>README.md
printf 'planted\n' >note.txt
mkdir -p nested && git init -q nested && printf '[core]\n\tfsmonitor = touch %s/nested\n' "$marks" >>nested/.git/config
mkdir -p bare/objects bare/refs && printf 'ref: refs/heads/main\n' >bare/HEAD && printf '[core]\n\tbare = true\n\tfsmonitor = touch %s/bare\n' "$marks" >bare/config
"#;

/// Commits what was planted, past its own hooks and filters.
const COMMIT: &str = "git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c filter.evil.clean=cat -c filter.evil.smudge=cat add README.md note.txt \
                      .gitattributes .gitmodules .githooks bare && git -c core.hooksPath=/dev/null -c core.fsmonitor=false commit -q -m planted";

#[test]
fn nothing_that_an_agent_plants_runs_on_the_host() {
    each_caller(|caller| {
        let project = Project::new(caller);
        let before = project.print(&["evil"]);
        let script = format!("set -- '{}'\n{PLANT}\n{COMMIT}", project.mark());
        let agent = project.spawn("evil", &script, &[]);
        assert_eq!(agent["commits"], 1, "{agent}");
        assert_eq!(agent["ref"], "refs/heads/evil", "{agent}");
        assert_eq!(project.print(&["evil"]), before, "nothing of the user's changed but the branch");
        // Everything that the host does with a branch.
        project.agents("diff", &["evil"]);
        project.agents("summary", &["evil"]);
        project.agents("list", &[]);
        project.agents("review", &["evil"]);
        let again = project.spawn(
            "evil",
            "printf more >>note.txt; git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c filter.evil.clean=cat commit -q -am more",
            &[],
        );
        assert_eq!(again["commits"], 2, "{again}");
        assert_eq!(project.marks(), Vec::<String>::new(), "nothing ran on the host");
        // The branch chooses filters, so only the user's own git may bring the files along: the merge is refused as a whole.
        let merged = project.lazaret(&["agents", "merge", "evil", "--yes"]);
        assert!(!merged.status.success(), "{merged:?}");
        assert!(String::from_utf8_lossy(&merged.stderr).contains("filter"), "{merged:?}");
        assert_eq!(project.print(&["evil"]), before);
        // Where nobody has the target open, no file is written and nothing can be chosen.
        project.git(&["checkout", "--quiet", "--detach"]);
        project.agents("merge", &["evil", "--into", "main", "--yes"]);
        assert_eq!(project.git(&["rev-parse", "main"]), project.git(&["rev-parse", "evil"]));
        assert_eq!(project.marks(), Vec::<String>::new(), "nothing ran on the host");

        // The control: the same in a clone that a plain git opens.
        let control = caller.dir("control");
        let clone = project.sh(&control, "git clone -q ../project . && git config user.name x && git config user.email x", &[]);
        assert!(clone.status.success(), "{clone:?}");
        let planted = project.sh(&control, PLANT, &[&project.mark()]);
        assert!(planted.status.success(), "{planted:?}");
        project.sh(
            &control,
            "git status; git diff; git add README.md note.txt .gitattributes; git commit -m x; git checkout -b other; git checkout HEAD~1",
            &[],
        );
        let fired = project.marks();
        for name in ["fsmonitor", "clean", "smudge", "hook-pre-commit", "hook-post-checkout", "hook-reference-transaction"] {
            assert!(fired.iter().any(|mark| mark == name), "{name} works where nothing stops it: {fired:?}");
        }
    });
}

/// A `.git` that is a file, and parts of it that are links, lead a git on the host to other places.
#[test]
fn a_repository_that_points_elsewhere_leads_nowhere() {
    each_caller(|caller| {
        let project = Project::new(caller);
        let private = caller.dir("private");
        let made = project.sh(&private, "git init -q -b main . && git config user.name x && git config user.email x && echo canary-of-another >secret && git add -A && git commit -q -m secret", &[]);
        assert!(made.status.success(), "{made:?}");
        let before = project.print(&["evil"]);
        let elsewhere = private.join(".git");
        for (n, script) in [
            format!("mv .git ../.git-moved; printf 'gitdir: {}\\n' >.git", elsewhere.display()),
            format!("rm -rf .git/objects; ln -s {}/objects .git/objects", elsewhere.display()),
            format!("printf '%s\\n' {}/objects >>.git/objects/info/alternates", elsewhere.display()),
            format!("printf '%s\\n' {} >.git/commondir", elsewhere.display()),
            format!("rm .git/HEAD; ln -s {}/HEAD .git/HEAD", elsewhere.display()),
            format!("rm -rf .git/refs; ln -s {}/refs .git/refs; git pack-refs --all", elsewhere.display()),
        ]
        .into_iter()
        .enumerate()
        {
            let branch = format!("evil-{n}");
            let task = format!("do it\ncall bash {}", serde_json::json!({ "command": script }));
            project.lazaret(&["spawn", "--branch", &branch, "--task", &task, "--wait"]);
            let at = project.try_git(&["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")]);
            let at = String::from_utf8_lossy(&at.stdout).trim().to_owned();
            assert!(at.is_empty() || at == project.git(&["rev-parse", "main"]), "{script}: {at}");
        }
        let now = project.print(&["evil-0", "evil-1", "evil-2", "evil-3", "evil-4", "evil-5"]);
        assert_eq!(now, before);
        let all = project.sh(&project.dir, "git cat-file --batch-all-objects --batch --unordered", &[]);
        assert!(!String::from_utf8_lossy(&all.stdout).contains("canary-of-another"), "nothing of the other repository came along");
        // The control: a plain git that fetches from such a clone brings it.
        let control = caller.dir("control");
        let script = "git clone -q ../project . && printf '%s\\n' \"$1\" >>.git/objects/info/alternates && \
                      git update-ref refs/heads/evil \"$(git --git-dir=\"$2\" rev-parse main)\" && cd ../project && git fetch -q ../control evil:control && \
                      git show control:secret";
        let fetched = project.sh(&control, script, &[&format!("{}/objects", elsewhere.display()), &elsewhere.display().to_string()]);
        assert!(String::from_utf8_lossy(&fetched.stdout).contains("canary-of-another"), "{fetched:?}");
    });
}
