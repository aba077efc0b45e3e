//! Documents must be true: what they name exists, and what must be named is named.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Problems, crates::MAY_USE};
use crate::{metadata, run};

/// Places in the tree; a code span that begins with one of these is a path.
const PLACES: &[&str] = &["crates/", "testkit/", "tests/", "fuzz/", "benches/", "share/", "docs/", "xtask/", ".ci/", ".config/"];

/// How many invariants ARCHITECTURE.md lists.
const INVARIANTS: usize = 10;

pub(crate) fn check(files: &[PathBuf], problems: &mut Problems) -> Result<()> {
    let tests = test_names(files)?;
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        let text = run::read(path)?;
        for (line, span) in spans(&text) {
            if let Some(why) = broken(&span, files) {
                problems.push(format!("{}:{line}: {why}", path.display()));
            }
        }
        for (line, target) in links(&text) {
            let from = path.parent().unwrap_or_else(|| Path::new(""));
            if !run::root().join(from).join(&target).exists() {
                problems.push(format!("{}:{line}: the link `{target}` leads nowhere", path.display()));
            }
        }
    }
    readme(problems)?;
    architecture(problems)?;
    security(files, &tests, problems)
}

/// Every code span of one line, with its line number; fenced blocks are not spans.
fn spans(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (number + 1, span.to_owned())));
        }
    }
    found
}

/// Relative targets of links, without the anchor.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for piece in line.split("](").skip(1) {
            let target = piece.split([')', '#']).next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

/// Why a span that looks like a path of the tree is wrong.
fn broken(span: &str, files: &[PathBuf]) -> Option<String> {
    let is_path = PLACES.iter().any(|place| span.starts_with(place)) && !span.contains([' ', '<', '{', '$']);
    if !is_path {
        return None;
    }
    // `path.rs::name` names something in a file; tests are looked up by `security`.
    let path = span.split("::").next().unwrap_or(span);
    let exists = match path.split_once('*') {
        Some((before, after)) => files.iter().map(|f| f.to_string_lossy()).any(|f| f.starts_with(before) && f.ends_with(after)),
        None => run::root().join(path).exists(),
    };
    (!exists).then(|| format!("`{path}` does not exist"))
}

/// The commands that README shows are ones that exist.
fn readme(problems: &mut Problems) -> Result<()> {
    let text = run::read(Path::new("README.md"))?;
    for must in ["cargo run --release -- run ", "cargo xtask test"] {
        if !text.contains(must) {
            problems.push(format!("README.md: does not show `{must}`"));
        }
    }
    let verbs = verbs()?;
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced {
            continue;
        }
        let command = line.trim_start().trim_start_matches("$ ");
        let verb = command.strip_prefix("lazaret ").or_else(|| command.strip_prefix("cargo run --release -- "));
        if let Some(verb) = verb.and_then(|rest| rest.split_whitespace().next()).filter(|v| !v.starts_with('-'))
            && !verbs.contains(verb)
        {
            problems.push(format!("README.md:{}: there is no command `lazaret {verb}`", number + 1));
        }
        if let Some(task) = command.strip_prefix("cargo xtask ").and_then(|rest| rest.split_whitespace().next())
            && !["check", "tidy", "test", "bench", "docs"].contains(&task)
        {
            problems.push(format!("README.md:{}: there is no task `cargo xtask {task}`", number + 1));
        }
    }
    Ok(())
}

/// The verbs of the command line, from the generated reference, which is held against the program itself.
fn verbs() -> Result<BTreeSet<String>> {
    let text = run::read(Path::new("docs/reference/cli.md"))?;
    let headings = text.lines().filter_map(|line| line.strip_prefix("## lazaret "));
    Ok(headings.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect())
}

/// The code map says of every crate what the dependency table says, and the invariants are all there.
fn architecture(problems: &mut Problems) -> Result<()> {
    let text = run::read(Path::new("ARCHITECTURE.md"))?;
    for member in metadata::members()? {
        let dir = member.dir.to_string_lossy().into_owned();
        let Some(row) = text.lines().find(|line| line.starts_with(&format!("| `{dir}`"))) else {
            problems.push(format!("ARCHITECTURE.md: the code map has no row for `{dir}`"));
            continue;
        };
        let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or("").trim();
        let said: BTreeSet<&str> = cell.split(',').map(str::trim).filter(|s| !s.is_empty() && *s != "-").collect();
        let may = MAY_USE.iter().find(|(name, _)| *name == member.name).map_or(&[][..], |(_, may)| may);
        let held: BTreeSet<&str> = may.iter().map(|name| name.trim_start_matches("lazaret-")).collect();
        if said != held {
            let held: Vec<&str> = held.into_iter().collect();
            problems.push(format!("ARCHITECTURE.md: the row of `{dir}` must end with `{}`", held.join(", ")));
        }
    }
    for number in 1..=INVARIANTS {
        if !text.lines().any(|line| line.starts_with(&format!("{number}. "))) {
            problems.push(format!("ARCHITECTURE.md: invariant {number} is missing"));
        }
    }
    Ok(())
}

/// Every file of the escape suite is cited in SECURITY.md, and every test that it cites exists.
fn security(files: &[PathBuf], tests: &BTreeSet<String>, problems: &mut Problems) -> Result<()> {
    let text = run::read(Path::new("SECURITY.md"))?;
    for path in files.iter().filter(|p| p.starts_with("tests/escape") && p.extension().is_some_and(|e| e == "rs")) {
        // A file without a test helps those that have some.
        let is_case = run::read(path)?.contains("#[test]");
        if is_case && !text.contains(&*path.to_string_lossy()) {
            problems.push(format!("SECURITY.md: does not cite `{}`", path.display()));
        }
    }
    for (line, span) in spans(&text) {
        if let Some((file, test)) = span.split_once(".rs::")
            && !tests.contains(&format!("{file}.rs::{test}"))
        {
            problems.push(format!("SECURITY.md:{line}: there is no test `{span}`"));
        }
    }
    Ok(())
}

/// Every test function as `path::name`.
fn test_names(files: &[PathBuf]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let text = run::read(path)?;
        let mut marked = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let Some(name) = marked.then(|| function_name(line)).flatten() {
                found.insert(format!("{}::{name}", path.display()));
                marked = false;
            }
        }
    }
    Ok(found)
}

fn function_name(line: &str) -> Option<&str> {
    let after = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))?;
    after.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_links_are_found_outside_of_fences() {
        let text = "see `crates/a` and [b](docs/b.md#x)\n```\n`crates/c`\n```\n`d`";
        assert_eq!(spans(text), [(1, "crates/a".to_owned()), (5, "d".to_owned())]);
        assert_eq!(links(text), [(1, "docs/b.md".to_owned())]);
    }

    #[test]
    fn only_paths_of_the_tree_are_looked_up() {
        let files = [PathBuf::from("tests/escape/a.rs")];
        assert_eq!(broken("xtask/src/main.rs", &files), None);
        assert_eq!(broken("tests/escape/*.rs", &files), None);
        assert_eq!(broken("crates/<name>/src", &files), None);
        assert_eq!(broken("cargo xtask test", &files), None);
        assert!(broken("crates/no-such-thing/x.rs", &files).is_some());
        assert!(broken("tests/crash/*.rs", &files).is_some());
    }
}
