//! Objects that an agent forges: paths into a repository, links in the place of git's own files, submodules that would run
//! something, trees that name more files than there is room for. None comes home.

use crate::git::Project;
use crate::support::each_caller;

/// Makes a commit of a forged tree on the agent's branch; `$entry` is one entry of it, as it is written.
const FORGE: &str = r#"
blob=$(printf '#!/bin/sh\ntouch "%s/forged"\n' "$marks" | git hash-object -w --stdin)
raw() { printf '%s' "$1" | python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'; }
tree=$({ printf '%s %s\0' "$mode" "$name"; raw "$blob"; } | git hash-object -t tree -w --stdin --literally)
for dir in $above; do
    tree=$({ printf '40000 %s\0' "$dir"; raw "$tree"; } | git hash-object -t tree -w --stdin --literally)
done
git update-ref refs/heads/"$branch" "$(git commit-tree "$tree" -p HEAD -m forged)"
"#;

#[test]
fn no_forged_tree_comes_home() {
    each_caller(|caller| {
        let project = Project::new(caller);
        let before = project.print(&[]);
        let cases = [
            ("100755", "post-checkout", "hooks .git"),
            ("100755", "post-checkout", "hooks .GIT"),
            ("100755", "config", "git~1"),
            ("100644", "..", "a"),
            ("100644", ".git", ""),
            ("120000", ".gitmodules", ""),
            ("120000", ".gitattributes", ""),
            ("100644", "x", ".git::$INDEX_ALLOCATION"),
            ("100777", "x", ""),
        ];
        for (n, (mode, name, above)) in cases.into_iter().enumerate() {
            let branch = format!("forged-{n}");
            let script = format!("marks='{}' mode={mode} name='{name}' above='{above}' branch={branch}\n{FORGE}", project.mark());
            let agent = project.spawn(&branch, &script, &[]);
            assert!(agent.to_string().contains("not taken"), "{name} below {above}: {agent}");
            assert!(!project.try_git(&["rev-parse", "--verify", "--quiet", &branch]).status.success(), "{agent}");
        }
        assert_eq!(project.print(&[]), before);
        // The control: where nothing looks, a fetch takes such a tree.
        let control = caller.dir("control");
        let script = format!(
            "git clone -q ../project . && git config user.name x && git config user.email x\nmarks=. mode=100755 name=post-checkout above='hooks .git' branch=forged\n\
             {FORGE}\ncd ../project && git fetch -q ../control forged:control && git ls-tree -r --name-only control"
        );
        let fetched = project.sh(&control, &script, &[]);
        assert!(String::from_utf8_lossy(&fetched.stdout).contains(".git/hooks/post-checkout"), "{fetched:?}");
    });
}

#[test]
fn no_submodule_that_would_run_something_comes_home() {
    each_caller(|caller| {
        let project = Project::new(caller);
        for (n, text) in [
            "[submodule \"x\"]\\n\\tpath = x\\n\\turl = -u./payload\\n",
            "[submodule \"../../hooks\"]\\n\\tpath = x\\n\\turl = https://example.org/x\\n",
            "[submodule \"x\"]\\n\\tpath = x\\n\\turl = https://example.org/x\\n\\tupdate = !touch marks\\n",
            "[submodule \"x\"]\\n\\tpath = -x\\n\\turl = https://example.org/x\\n",
        ]
        .into_iter()
        .enumerate()
        {
            let branch = format!("sub-{n}");
            let agent = project.spawn(&branch, &format!("printf '{text}' >.gitmodules; git add -A; git commit -q -m sub"), &[]);
            assert!(agent.to_string().contains("not taken"), "{text}: {agent}");
            assert!(!project.try_git(&["rev-parse", "--verify", "--quiet", &branch]).status.success(), "{agent}");
        }
        // The controls: a plain fetch takes such a file, and a submodule that runs nothing comes home.
        let control = caller.dir("control");
        let script = "git clone -q ../project . && git config user.name x && git config user.email x && printf \"$1\" >.gitmodules && git add -A && \
                      git commit -q -m sub && cd ../project && git fetch -q ../control HEAD:refs/heads/control && git show control:.gitmodules";
        let text = "[submodule \"x\"]\\n\\tpath = x\\n\\turl = https://example.org/x\\n\\tupdate = !touch marks\\n";
        let fetched = project.sh(&control, script, &[text]);
        assert!(String::from_utf8_lossy(&fetched.stdout).contains("update = !touch"), "{fetched:?}");
        let fine =
            "printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = https://example.org/x\\n' >.gitmodules; git add -A; git commit -q -m sub";
        assert_eq!(project.spawn("fine", fine, &[])["ref"], "refs/heads/fine");
    });
}

/// A hundred million files in nine small objects, and a file of gigabytes in a few bytes: neither fills the host.
#[test]
fn bombs_do_not_come_home() {
    each_caller(|caller| {
        let project = Project::new(caller);
        let before = project.print(&[]);
        let tree = "entry=\"100644 blob $(git hash-object -w README.md)\"; for i in 1 2 3 4 5 6 7 8; do \
                    entry=\"040000 tree $(for n in 0 1 2 3 4 5 6 7 8 9; do printf '%s\\tf%s\\n' \"$entry\" $n; done | git mktree)\"; done; \
                    git update-ref refs/heads/tree $(git commit-tree ${entry#040000 tree } -p HEAD -m bomb)";
        let agent = project.spawn("tree", tree, &[]);
        assert!(agent.to_string().contains("not taken"), "{agent}");
        // The control: a few files more than usual are nothing.
        let fine = "for n in $(seq 500); do echo $n >f$n; done; git add -A; git commit -q -m many";
        assert_eq!(project.spawn("fine", fine, &[])["ref"], "refs/heads/fine");
        assert_eq!(project.print(&["fine"]), before);
        // And a plain fetch takes the bomb.
        let control = caller.dir("control");
        let fetch = "cd ../project && git fetch -q ../control tree:bomb && git cat-file -t bomb:f0/f0/f0/f0/f0/f0/f0/f0";
        let script = format!("git clone -q ../project . && git config user.name x && git config user.email x && {{ {tree}; }} && {fetch}");
        let fetched = project.sh(&control, &script, &[]);
        assert_eq!(String::from_utf8_lossy(&fetched.stdout).trim(), "blob", "{fetched:?}");
    });
}
