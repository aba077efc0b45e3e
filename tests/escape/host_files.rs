//! The host's files that nobody mounted.

use crate::support::each_caller;

/// What the root of a sandbox may hold.
const TOP: [&str; 21] = [
    "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys",
    "tmp", "usr", "var", "workspace",
];

#[test]
fn the_hosts_homes_and_secrets_are_not_there() {
    each_caller(|caller| {
        let secret = caller.file("secret.txt", "of the host");
        let by_path = format!("read={}", secret.display());
        let through = format!("read=/proc/1/root{}", secret.display());
        let attacks = [by_path.as_str(), &through, "read=/etc/shadow", "list=/", "list=/boot", "list=/var/lib", "list=/root"];
        let report = caller.sandbox().attack(&attacks);
        assert_eq!(report.denied(&by_path), "ENOENT");
        assert!(["EACCES", "EPERM", "ENOENT"].contains(&report.denied(&through)), "{report:?}");
        assert!(["ENOENT", "EACCES"].contains(&report.denied("read=/etc/shadow")), "{report:?}");
        let top: Vec<String> = serde_json::from_value(report.worked("list=/").clone()).expect("names");
        let odd: Vec<&String> = top.iter().filter(|name| !TOP.contains(&name.as_str())).collect();
        assert!(odd.is_empty() && top.len() > 5, "{top:?}");
        for place in ["list=/boot", "list=/root", "list=/var/lib"] {
            assert!(report.is_absent_or_empty(place), "{place}: {report:?}");
        }
    });
}

/// Given on purpose, the same file can be read.
#[test]
fn a_mounted_directory_is_there() {
    each_caller(|caller| {
        let dir = caller.dir("given");
        caller.file("given/note.txt", "for the agent");
        let trial = caller.sandbox().option("--mount").option(format!("{}:/home/sandbox/given", dir.display()));
        assert_eq!(trial.attack(&["read=/home/sandbox/given/note.txt"]).worked("read=/home/sandbox/given/note.txt"), "for the agent");
    });
}
