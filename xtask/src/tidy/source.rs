//! Rules about source files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Problems, scan::scan};
use crate::run;

/// The most lines of a file that are not tests.
const PROD_LINES_MAX: usize = 600;
/// The most lines of a file of tests.
const TEST_LINES_MAX: usize = 800;

/// Words that may stand in the code of some places only.
const WORDS: &[Word] = &[
    Word { find: &["unsafe"], only_in: &["crates/jail/", "testkit/src/bin/probe"], instead: "`unsafe` lives in crates/jail" },
    Word {
        find: &["env::var", "env::var_os", "env::vars", "env::vars_os", "env::set_var", "env::remove_var"],
        // Neither is a part of the program: cargo tells a build script everything in this way, and a test runner has no
        // other way to hand a seed on.
        only_in: &[
            "crates/cli/src/env.rs", "crates/channels/src/main.rs", "crates/cli/build.rs", "tests/crash/chance.rs", "tests/crash/load.rs",
            "tests/crash/jobs_load.rs", "tests/crash/replicas.rs", "tests/e2e/envs_attacks.rs", "tests/e2e/evals.rs",
        ],
        instead: "environment variables are read in crates/cli/src/env.rs",
    },
    Word { find: &["#[ignore", "#[ignore]"], only_in: &[], instead: "a test that does not run is no test: assert what happens today" },
    Word { find: &["#[allow", "#![allow"], only_in: &[], instead: "use #[expect(.., reason = ..)]" },
    Word { find: &["todo!", "unimplemented!", "dbg!"], only_in: &[], instead: "finish it" },
];

/// What begins a statement of SQL.
const SQL: &[&str] = &[
    "SELECT ", "INSERT INTO ", "INSERT OR ", "DELETE FROM ", "CREATE TABLE ", "CREATE INDEX ", "ALTER TABLE ", "PRAGMA ", "BEGIN IMMEDIATE",
];

/// A queue that is measured beside ours, in its own words: no part of the program.
const PEER: &str = "benches/src/jobs/baseline.rs";

struct Word {
    find: &'static [&'static str],
    only_in: &'static [&'static str],
    instead: &'static str,
}

pub(crate) fn check(files: &[PathBuf], problems: &mut Problems) -> Result<()> {
    for path in files {
        let Ok(text) = run::read(path) else { continue };
        machine_paths(path, &text, problems);
        if path.extension().is_some_and(|e| e == "rs") {
            rust(path, &text, problems);
        }
    }
    Ok(())
}

fn rust(path: &Path, text: &str, problems: &mut Problems) {
    let name = path.to_string_lossy();
    let scanned = scan(text);
    for (number, line) in scanned.code.lines().enumerate() {
        for word in WORDS {
            let allowed = word.only_in.iter().any(|place| name.starts_with(place));
            if !allowed && word.find.iter().any(|find| contains_word(line, find)) {
                problems.push(format!("{name}:{}: {}", number + 1, word.instead));
            }
        }
    }
    let may_sql = ["crates/store/", "xtask/src/tidy/", PEER].iter().any(|place| name.starts_with(place));
    for (line, string) in &scanned.strings {
        if !may_sql && SQL.iter().any(|sql| string.trim_start().starts_with(sql)) {
            problems.push(format!("{name}:{line}: SQL lives in crates/store"));
        }
    }
    let is_test = name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs");
    let (lines, max) = match is_test {
        true => (text.lines().count(), TEST_LINES_MAX),
        false => (prod_lines(text), PROD_LINES_MAX),
    };
    if lines > max {
        problems.push(format!("{name}: {lines} lines, the limit is {max}: divide it by what it does"));
    }
}

/// Whether `word` stands in `line` and is not a part of a longer name.
fn contains_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !part_of_name(line[..at].chars().next_back()) && (word.ends_with('!') || !part_of_name(line[at + word.len()..].chars().next()))
    })
}

/// The lines before the tests of the file.
fn prod_lines(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

/// Paths of the machine on which something was written mean nothing elsewhere.
fn machine_paths(path: &Path, text: &str, problems: &mut Problems) {
    // Put together, so that this file does not hold what it looks for.
    let marks = [["/wor", "k/"].concat(), ["/far", "m/"].concat(), ["/tmp/tar", "get"].concat(), ["/root/.car", "go"].concat()];
    for (number, line) in text.lines().enumerate() {
        if let Some(mark) = marks.iter().find(|mark| is_absolute(line, mark)) {
            problems.push(format!("{}:{}: a path of one machine ({mark})", path.display(), number + 1));
        }
    }
}

/// Whether the path stands in `line` from its root on, and not as the middle of another.
fn is_absolute(line: &str, path: &str) -> bool {
    let inside = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "_-.})".contains(c));
    line.match_indices(path).any(|(at, _)| !inside(&line[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(path: &str, text: &str) -> Vec<String> {
        let mut problems = Problems::new();
        rust(Path::new(path), text, &mut problems);
        machine_paths(Path::new(path), text, &mut problems);
        problems
    }

    #[test]
    fn words_in_their_place_only() {
        for (path, text, count) in [
            ("crates/jail/src/a.rs", "unsafe { f() }", 0),
            ("crates/guest/src/a.rs", "unsafe { f() }", 1),
            ("crates/guest/src/a.rs", "// unsafe", 0),
            ("crates/guest/src/a.rs", "#![forbid(unsafe_code)]", 0),
            ("crates/cli/src/env.rs", "std::env::var(\"A\")", 0),
            ("crates/app/src/a.rs", "std::env::var_os(\"A\")", 1),
            ("crates/app/src/a.rs", "env!(\"A\"); std::env::args()", 0),
            ("tests/e2e/a.rs", "#[ignore] fn a() {}", 1),
            ("tests/e2e/a.rs", "#[ignore = \"x\"] fn a() {}", 1),
            ("crates/app/src/a.rs", "#[allow(dead_code)]", 1),
            ("crates/app/src/a.rs", "todo!()", 1),
            ("crates/app/src/a.rs", "f(\"SELECT 1\")", 1),
            ("crates/store/src/a.rs", "f(\"SELECT 1\")", 0),
            ("crates/app/src/a.rs", "f(\"please SELECT one\")", 0),
        ] {
            assert_eq!(problems_of(path, text).len(), count, "{path}: {text}");
        }
    }

    #[test]
    fn sizes_count_what_is_shipped() {
        let long = "fn a() {}\n".repeat(PROD_LINES_MAX);
        assert!(problems_of("crates/app/src/a.rs", &long).is_empty());
        assert_eq!(problems_of("crates/app/src/a.rs", &format!("{long}\n\n")).len(), 1);
        assert!(problems_of("crates/app/src/a.rs", &format!("{long}#[cfg(test)]\nmod tests {{}}\n")).is_empty());
        assert!(problems_of("tests/e2e/a.rs", &format!("{long}\n\n")).is_empty());
    }

    #[test]
    fn machine_paths_are_found() {
        assert_eq!(problems_of("a.rs", &["// /wor", "k/x"].concat()).len(), 1);
        assert!(problems_of("a.rs", "// /workspace/x and /home/sandbox").is_empty());
        assert!(problems_of("a.rs", &["sessions/7/wor", "k/x"].concat()).is_empty());
    }
}
