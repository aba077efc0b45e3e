//! Names that people give to envs, agents and the like: part of paths, addresses and command lines.

/// The longest name.
pub const NAME_CHARS_MAX: usize = 63;

/// Whether a text is a name: small letters, digits and `-`, beginning and ending with a letter or digit.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edge = |b: Option<u8>| b.is_some_and(plain);
    let bytes = text.as_bytes();
    bytes.len() <= NAME_CHARS_MAX
        && edge(bytes.first().copied())
        && edge(bytes.last().copied())
        && bytes.iter().all(|b| plain(*b) || *b == b'-')
}

/// The name that stands for what somebody called a thing: `My Project!` becomes `my-project`. `None` when nothing of it
/// can stand in a name.
#[must_use]
pub fn name_of(title: &str) -> Option<String> {
    let mut name = String::new();
    for c in title.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(NAME_CHARS_MAX);
    let name = name.trim_end_matches('-');
    is_name(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "my-project", "0", "a1-b2"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "..", "a b", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(name_of("My Project!"), Some("my-project".to_owned()));
        assert_eq!(name_of("  Über  2 "), Some("ber-2".to_owned()));
        assert_eq!(name_of("!!!"), None);
        assert_eq!(name_of(&"x".repeat(80)).map(|n| n.len()), Some(63));
    }
}
