//! Patterns for paths: `*` and `?` within a part, `**` for any number of parts. Time grows with the product of both
//! lengths, whatever the pattern.

/// Whether `path` fits. A pattern without a slash is held against the last part alone.
pub(super) fn fits(pattern: &str, path: &str) -> bool {
    if !pattern.contains('/') {
        return part_fits(pattern, path.rsplit('/').next().unwrap_or(path));
    }
    let pattern: Vec<&str> = pattern.split('/').filter(|p| !p.is_empty()).collect();
    let path: Vec<&str> = path.split('/').collect();
    // reached[n]: the pattern so far fits the first n parts.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for piece in pattern {
        let mut next = vec![false; path.len() + 1];
        if piece == "**" {
            let mut any = false;
            for (n, was) in reached.iter().enumerate() {
                any |= was;
                next[n] = any;
            }
        } else {
            for (n, part) in path.iter().enumerate() {
                next[n + 1] = reached[n] && part_fits(piece, part);
            }
        }
        reached = next;
    }
    reached[path.len()]
}

fn part_fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how much it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                None => return false,
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, path, expect) in [
            ("*.md", "a/b/c.md", true),
            ("*.MD", "c.md", true),
            ("a/*.md", "a/c.md", true),
            ("a/*.md", "a/b/c.md", false),
            ("a/**/*.md", "a/c.md", true),
            ("a/**/*.md", "a/b/d/c.md", true),
            ("**/b/**", "a/b/c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("/a/b", "a/b", true),
        ] {
            assert_eq!(fits(pattern, path), expect, "{pattern} {path}");
        }
        // A pattern made to be slow is not.
        assert!(!fits(&"*a".repeat(100), &"a".repeat(90)));
    }
}
