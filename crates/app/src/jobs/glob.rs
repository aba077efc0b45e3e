//! Patterns of paths: `*` and `?` within a name, `**` for any directories, everything else for itself.

/// A pattern of paths below the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    parts: Vec<String>,
}

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
        Self { parts: parts.map(str::to_owned).collect() }
    }

    /// Whether it names this path.
    pub(super) fn matches(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').collect();
        walk(&self.parts, &path, false)
    }

    /// Whether it may name something below this directory.
    pub(super) fn may_hold(&self, dir: &str) -> bool {
        let dir: Vec<&str> = dir.split('/').collect();
        walk(&self.parts, &dir, true)
    }
}

/// Whether the parts name the path; with `is_begin`, whether they name something that begins with it. Takes steps in
/// proportion to both lengths, whatever the pattern is.
fn walk(parts: &[String], path: &[&str], is_begin: bool) -> bool {
    // The places in the pattern at which the rest of the path may go on.
    let mut at = vec![false; parts.len() + 1];
    at[0] = true;
    spread(parts, &mut at);
    for name in path {
        let mut next = vec![false; parts.len() + 1];
        for (n, part) in parts.iter().enumerate().filter(|(n, _)| at[*n]) {
            if part == "**" {
                next[n] = true;
            } else if is_named(part, name) {
                next[n + 1] = true;
            }
        }
        spread(parts, &mut next);
        at = next;
    }
    if is_begin { at[..parts.len()].contains(&true) } else { at[parts.len()] }
}

/// `**` also stands for no directory.
fn spread(parts: &[String], at: &mut [bool]) {
    for (n, part) in parts.iter().enumerate() {
        if at[n] && part == "**" {
            at[n + 1] = true;
        }
    }
}

/// Whether a part names a name, with the same promise.
fn is_named(part: &str, name: &str) -> bool {
    let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < part.len() && part[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < part.len() && (part[p] == '?' || part[p] == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star_p, star_n)) = star {
            star = Some((star_p, star_n + 1));
            (p, n) = (star_p + 1, star_n + 1);
        } else {
            return false;
        }
    }
    part[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_paths() {
        let check = |glob: &str, path: &str, expect: bool| assert_eq!(Glob::new(glob).matches(path), expect, "{glob} {path}");
        check("*.md", "a.md", true);
        check("*.md", "x/a.md", false);
        check("**/*.md", "a.md", true);
        check("**/*.md", "x/y/a.md", true);
        check("out/**", "out/a/b", true);
        check("out/**", "output", false);
        check("out/*", "out/a/b", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("./a/./b", "a/b", true);
        check("*a*a*a*a*b", &"a".repeat(200), false);
        check("**/**/**/x", &"a/".repeat(50), false);
    }

    #[test]
    fn directories_are_entered_where_something_may_be() {
        let check = |glob: &str, dir: &str, expect: bool| assert_eq!(Glob::new(glob).may_hold(dir), expect, "{glob} {dir}");
        check("out/*.md", "out", true);
        check("out/*.md", "src", false);
        check("**/*.md", "a/b/c", true);
        check("*.md", "a", false);
        check("*/x", "a", true);
    }
}
