//! What a repository remembers: stashes, other branches, what was removed. An agent that is given its branch's history
//! alone finds none of it.

use crate::git::Project;
use crate::support::each_caller;

/// Searches every object that git can read.
const SEARCH: &str = "git cat-file --batch-all-objects --batch --unordered | grep -a -o 'canary-[a-z]*' | sort -u >found; \
                      git add found; git commit -q --allow-empty -m found";

#[test]
fn the_history_of_a_branch_is_all_that_is_seen_where_so_asked() {
    each_caller(|caller| {
        let project = Project::new(caller);
        project.caller.file("project/README.md", "canary-stashed\n");
        project.git(&["stash", "--quiet"]);
        project.git(&["checkout", "--quiet", "-b", "side"]);
        project.commit("side", "canary-branch\n", "side");
        project.git(&["checkout", "--quiet", "main"]);
        project.commit("oops", "canary-removed\n", "oops");
        project.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
        project.commit("kept", "canary-own\n", "kept");
        project.spawn("narrow", SEARCH, &["--history", "branch"]);
        assert_eq!(project.read("narrow", "found"), "canary-own");
        // Also where a base was made before for another branch of the same repository.
        project.spawn("of-side", SEARCH, &["--history", "branch", "--from", "side"]);
        assert_eq!(project.read("of-side", "found"), "canary-branch");
        project.spawn("narrow-again", SEARCH, &["--history", "branch"]);
        assert_eq!(project.read("narrow-again", "found"), "canary-own");
        // The control: with all of the history the same search finds them.
        project.spawn("wide", SEARCH, &["--history", "all"]);
        assert_eq!(project.read("wide", "found"), "canary-branch\ncanary-own\ncanary-removed\ncanary-stashed");
    });
}
