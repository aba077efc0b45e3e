//! What belongs to others: the user's branches, other agents' branches, the objects that all share. An agent reads them
//! at most, and what it does to its own copies stays there.

use crate::git::Project;
use crate::support::each_caller;

#[test]
fn an_agent_changes_nothing_but_its_own_branch() {
    each_caller(|caller| {
        let project = Project::new(caller);
        project.git(&["branch", "precious"]);
        project.git(&["tag", "v1"]);
        project.spawn("other", "echo other >other; git add -A; git commit -q -m other", &[]);
        let before = project.print(&["evil"]);
        let script = "echo evil >evil; git add -A; git commit -q -m evil\n\
            m=$(ls -d /opt/lazaret-mirrors/*)\n\
            { git push -f origin HEAD:main HEAD:precious HEAD:other :v1; git push -f $m HEAD:main; \
              git --git-dir=$m update-ref refs/heads/main HEAD; git --git-dir=$m gc --prune=now; rm -rf $m/objects $m/refs $m/config; \
              touch $m/x; chmod -R 777 $m; mount -o remount,rw $m; printf '[core]\\n\\tfsmonitor = x\\n' >>$m/config; } >attempts 2>&1; \
            git update-ref refs/heads/main HEAD; git update-ref refs/heads/other HEAD; git update-ref refs/tags/v1 HEAD; \
            git update-ref -d refs/remotes/origin/precious; git update-ref refs/replace/$(git rev-parse origin/main) HEAD; \
            git gc -q --prune=now; ls $m/objects/pack >/dev/null && [ -f $m/config ] && echo the mirror stands >attempts.md; \
            git add attempts.md; git commit -q -m report";
        let agent = project.spawn("evil", script, &[]);
        assert_eq!(agent["ref"], "refs/heads/evil", "{agent}");
        assert_eq!(project.read("evil", "attempts.md"), "the mirror stands");
        assert_eq!(project.print(&["evil"]), before, "no other branch or tag moved");
        // Others begin from what is whole.
        let next = project.spawn("next", "git fsck && git log --oneline origin/other >log && git add -A && git commit -q -m log", &[]);
        assert_eq!(next["commits"], 1, "{next}");
        // The control: with the repository itself at hand, such a push moves them.
        let control = caller.dir("control");
        let pushed =
            project.sh(&control, "git clone -q ../project . && git push -q -f origin HEAD~0:precious :v1 && git -C ../project tag", &[]);
        assert!(pushed.status.success() && pushed.stdout.is_empty(), "{pushed:?}");
    });
}

/// Two agents of one repository do not see each other's files, and neither sees the user's working tree.
#[test]
fn an_agent_sees_no_others_files() {
    each_caller(|caller| {
        let project = Project::new(caller);
        project.caller.file("project/untracked", "canary-of-the-user\n");
        project.spawn("one", "echo canary-of-one >left; true", &[]);
        let look = "{ grep -rl canary-of- / --include='*' --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr --exclude-dir=dev 2>/dev/null; true; } >found; \
                    git add found; git commit -q -m found";
        let agent = project.spawn("two", look, &[]);
        assert_eq!(agent["commits"], 1, "{agent}");
        // Its own task stands in its own transcript; nothing of the others' files is anywhere.
        let found = project.read("two", "found");
        let foreign: Vec<&str> =
            found.lines().filter(|line| line.contains("left") || line.contains("untracked") || line.contains("project")).collect();
        assert!(foreign.is_empty(), "{found}");
        // The control: an agent that is given the files finds them.
        let look = "grep -l canary-of-the-user untracked >found; git add found; git commit -q -m found";
        project.spawn("three", look, &["--carry"]);
        assert_eq!(project.read("three", "found"), "untracked");
    });
}
