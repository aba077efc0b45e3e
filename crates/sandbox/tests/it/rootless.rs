//! The same without root: another user runs the program `owner`.

use std::process::Stdio;

use crate::direct;
use crate::support::Home;

#[test]
fn one_command_without_a_daemon() {
    let home = Home::of_user();
    direct::streams_and_statuses(&home);
    direct::signals_go_through(&home);
    direct::time_is_limited(&home);
}

#[test]
fn a_killed_run_leaves_nothing_to_the_next() {
    let home = Home::of_user();
    direct::what_a_killed_run_leaves_goes_with_the_next(&home);
}

/// Every wall stands without root too; what cannot be had is named, and refused when it must be had.
#[test]
fn every_wall_stands_and_what_is_missing_is_named() {
    let home = Home::of_user();
    let line = "id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; touch /x 2>&1; \
                ls /.. | grep -c farm; n=0; for i in $(seq 100); do sleep 1 & n=$((n+1)); done 2>/dev/null; echo $n";
    let out = home.owner("exec", &["pids=40", "--", "/bin/sh", "-c", line]).stdin(Stdio::null()).output().expect("owner");
    let (said, level) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("1000"), "{said}{level}");
    assert_eq!(lines.next(), Some("CapEff:0000000000000000"));
    assert_eq!((lines.next(), lines.next()), (Some("NoNewPrivs:1"), Some("Seccomp:2")));
    assert_eq!(lines.next(), Some("touch: cannot touch '/x': Read-only file system"));
    assert_eq!(lines.next(), Some("0"));
    for wall in ["user", "network", "seccomp", "landlock", "capabilities", "pids", "time"] {
        assert!(level.contains(&format!("level {wall} true")), "{wall}: {level}");
    }
    for missing in ["memory", "cpu"] {
        assert!(level.contains(&format!("level {missing} false")), "{missing}: {level}");
    }
    let out = home.owner("exec", &["require=1", "--", "true"]).output().expect("owner");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("LAYER_MISSING") && said.contains("delegate"), "{said}");
    assert_eq!(out.status.code(), Some(3));
    home.assert_nothing_left();
}

/// A killed daemon's sandbox is taken over by the next one of the same user.
#[test]
fn a_sandbox_is_taken_over() {
    use std::io::{BufRead as _, BufReader};
    let home = Home::of_user();
    let serve = |n: &str| {
        let mut child = home
            .owner("serve", &["tree=tre_0000000000000000000000000000000a", "--", "/bin/sh", "-c", "sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("owner");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut said).expect("said");
        assert!(said.trim().ends_with(n), "{said}");
        child
    };
    let mut first = serve("0");
    first.kill().expect("kill -9");
    first.wait().expect("gone");
    // The tree is in use by the sandbox that lives on, so the next one is for another purpose.
    let out = home.owner("exec", &["--", "/bin/sh", "-c", "echo up"]).output().expect("owner");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "up\n", "{}", String::from_utf8_lossy(&out.stderr));
    home.assert_nothing_left();
}

/// Without root a tree is copied between its uses, by layers, and the copies share nothing that one of them changes.
#[test]
fn trees_are_copied_by_layers() {
    let home = Home::of_user();
    let id = |n: u8| format!("tre_{n:032x}");
    let exec = |settings: &[String], line: &str| {
        let args: Vec<&str> = settings.iter().map(String::as_str).chain(["--", "/bin/sh", "-c", line]).collect();
        let out = home.owner("exec", &args).output().expect("owner");
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let on = |n: u8| vec![format!("tree={}", id(n))];
    let tree = |words: &[&str]| {
        let out = home.owner("tree", words).output().expect("owner");
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    exec(&on(1), "mkdir d; echo one > d/f; echo keep > k; echo home > ~/h; ln -s k l; mkdir -m 0 closed");
    tree(&["freeze", &id(1), &id(2)]);
    assert_eq!(exec(&on(1), "cat d/f ~/h l; stat -c %a closed; rm k; echo two > d/f; rm -r closed; mkdir new"), "one\nhome\nkeep\n0\n");
    tree(&["freeze", &id(1), &id(3)]);
    tree(&["copy", &id(2), &id(4)]);
    assert_eq!(exec(&on(4), "cat d/f k l; echo four > d/f"), "one\nkeep\nkeep\n");
    assert_eq!(exec(&on(1), "cat d/f; ls"), "two\nd\nl\nnew\n");
    for (n, expect) in [(2, "one\nkeep\nsealed\n"), (3, "two\nsealed\n"), (4, "four\nkeep\nsealed\n")] {
        let mut asked = on(1);
        asked.push(format!("read={}", id(n)));
        let line = "cd /mnt/old/workspace; cat d/f k 2>/dev/null; (: > x) 2>/dev/null || echo sealed";
        assert_eq!(exec(&asked, line), expect, "{n}");
    }
    // A rename of a directory that lies in a layer is left to the program, which copies.
    assert_eq!(exec(&on(4), "mv d e && cat e/f; ls; ls -a ~ | wc -l"), "four\nclosed\ne\nk\nl\n3\n");
    let refused = home.owner("exec", &[&format!("tree={}", id(2)), "--", "true"]).output().expect("owner");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("frozen"), "{refused:?}");
    tree(&["remove", &id(1), &id(2)]);
    assert_eq!(tree(&["list"]), format!("{}\n{}\n", id(3), id(4)));
    assert_eq!(exec(&on(4), "cat e/f k"), "four\nkeep\n");
    tree(&["remove", &id(3), &id(4)]);
    assert_eq!(std::fs::read_dir(home.path.join("layers")).expect("list").count(), 0, "no layer is left");
    home.assert_nothing_left();
}
