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
