//! Paths in their one canonical form, for comparison with rules.

/// The longest path that a rule is held against.
const PATH_BYTES_MAX: usize = 8 << 10;

/// The path of a request target, decoded once. The query is left out. A slash that was written `%2f` stays so: for some
/// servers it divides parts and for others it does not, and a rule holds only where it does for both.
///
/// # Errors
/// Why servers could read it differently.
pub fn canonical_path(target: &str) -> Result<String, &'static str> {
    let raw = target.split_once('?').map_or(target, |(path, _)| path);
    if !raw.starts_with('/') {
        return Err("it does not begin with `/`");
    }
    if raw.len() > PATH_BYTES_MAX {
        return Err("it is too long");
    }
    let path = String::from_utf8(decode(raw)?).map_err(|_| "it is not UTF-8")?;
    if path.chars().any(char::is_control) || path.contains(['\\', ';', '?', '#']) {
        return Err("it has a character that servers read differently");
    }
    // A server that decodes twice must not find another path than one that decodes once.
    if decode(&path).is_ok_and(|again| again != path.as_bytes()) {
        return Err("it is encoded twice");
    }
    let Some(inner) = path.strip_prefix('/') else { return Err("it does not begin with `/`") };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.split('/').any(|part| matches!(part, "." | "..") || part.is_empty() && path != "/") {
        return Err("it has an empty part, `.` or `..`");
    }
    let literal = decode(&raw.replace("%2f", "%252f").replace("%2F", "%252f"))?;
    String::from_utf8(literal).map_err(|_| "it is not UTF-8")
}

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err("a `%` has no two digits after it") };
        out.push(u8::try_from(high << 4 | low).unwrap_or_default());
        rest = &after[2..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        let check = |text: &str, expect: &str| assert_eq!(canonical_path(text).as_deref(), Ok(expect), "{text}");
        check("/", "/");
        check("/?a=/../b", "/");
        check("/a/b/", "/a/b/");
        check("/%61/%7Eb", "/a/~b");
        check("/@scope%2Fname", "/@scope%2fname");
        check("/a%20b/c..d", "/a b/c..d");
        check("/100%25", "/100%");
        check("/b%C3%BCcher", "/b\u{fc}cher");
    }

    #[test]
    fn what_servers_read_differently_has_none() {
        for text in [
            "", "a", "//", "//a", "/a//b", "/a//", "/./a", "/a/../b", "/a/..", "/..", "/a/%2e%2e/b", "/a/.%2E/b", "/a/..%2fb",
            "/a%2f..%2fb", "/a/..;/b", "/a;x/b", "/a%3bx", "/a\\b", "/a/..%5cb", "/a%00", "/a%0d%0ab", "/%252e%252e/a", "/%c0%ae%c0%ae/a",
            "/%ff", "/%", "/%2", "/%zz", "%2F/a/", "/a%3fb", "/a%23b", "/%2f/a",
        ] {
            assert!(canonical_path(text).is_err(), "{text}");
        }
        assert!(canonical_path(&format!("/{}", "a".repeat(PATH_BYTES_MAX))).is_err());
    }
}
