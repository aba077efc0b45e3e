//! `cargo xtask bench`: measures beside the peers and rewrites the tables of docs/performance.md.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{metadata, run, setup};

/// The page that holds the tables.
const PAGE: &str = "docs/performance.md";

/// The benches run in a mount namespace of their own without the second version of control groups: on a machine that has
/// both versions mounted, crun takes the second, which has no controller there.
const IN_ITS_NAMESPACE: &str =
    "if grep -q ' /sys/fs/cgroup/unified cgroup2 ' /proc/mounts; then umount /sys/fs/cgroup/unified; fi; exec \"$0\" \"$@\"";

/// Builds for release, runs the named benches (or all) and puts what they print into the page, between the two marks
/// that carry the bench's name.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    setup::peers()?;
    run::run("cargo", &["build", "--release", "--locked", "-p", "lazaret-cli", "-p", "lazaret-benches"])?;
    let driver = metadata::target_directory()?.join("release/lazaret-bench");
    let driver = driver.to_str().context("the target directory is not UTF-8")?.to_owned();
    let known = run::output(&driver, &["--list"])?;
    let known: Vec<&str> = known.lines().collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no bench `{unknown}`; the benches are {}", known.join(", "));
    }
    let chosen: Vec<&str> = known.iter().copied().filter(|name| names.is_empty() || names.contains(name)).collect();
    let page = Path::new(PAGE);
    for name in chosen {
        let table = run::output("unshare", &["-m", "--propagation", "private", "sh", "-c", IN_ITS_NAMESPACE, &driver, name])?;
        println!("{table}");
        // Written after each bench, so that a long run that is interrupted keeps what it has measured.
        let text = replace(&run::read(page)?, name, &table)?;
        std::fs::write(run::root().join(page), text).with_context(|| format!("failed to write {PAGE}"))?;
    }
    Ok(())
}

/// The page with the part of one bench put in anew.
fn replace(page: &str, name: &str, table: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench {name} -->\n"), format!("<!-- end {name} -->"));
    let (before, rest) = page.split_once(&begin).with_context(|| format!("{PAGE} has no mark for the bench `{name}`"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{PAGE} has no end mark for the bench `{name}`"))?;
    Ok(format!("{before}{begin}{}\n{end}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_between_the_marks_changes() {
        let page = "a\n<!-- bench x -->\nold\n<!-- end x -->\nb\n";
        assert_eq!(replace(page, "x", "new\n").expect("marks"), "a\n<!-- bench x -->\nnew\n<!-- end x -->\nb\n");
        assert!(replace(page, "y", "new").is_err());
    }
}
