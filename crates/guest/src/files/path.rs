//! Paths and names: bytes, as the kernel has them.

use std::ffi::CString;

use super::trouble::Trouble;

/// The longest path, in bytes; the kernel's own limit for one.
const PATH_BYTES_MAX: usize = 4096;
/// The most components of a path.
const COMPONENTS_MAX: usize = 1024;

/// A path relative to the root: its components, none of which leads upwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path {
    parts: Vec<CString>,
}

impl Path {
    /// Reads a path. Empty components and `.` mean nothing; an absolute one and `..` are refused.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Trouble> {
        if bytes.len() > PATH_BYTES_MAX {
            return Err(Trouble::usage("the path is too long"));
        }
        if bytes.first() == Some(&b'/') {
            return Err(Trouble::usage("the path is absolute"));
        }
        let mut parts = Vec::new();
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" | b"." => (),
                b".." => return Err(Trouble::usage("the path leads upwards")),
                part => parts.push(CString::new(part).map_err(|_| Trouble::usage("the path holds a NUL"))?),
            }
        }
        if parts.len() > COMPONENTS_MAX {
            return Err(Trouble::usage("the path has too many parts"));
        }
        Ok(Self { parts })
    }

    pub(super) fn parts(&self) -> &[CString] {
        &self.parts
    }

    /// The parts before the last, and the last; the root has none.
    pub(super) fn split(&self) -> Result<(&[CString], &CString), Trouble> {
        let (last, before) = self.parts.split_last().ok_or_else(|| Trouble::usage("the path names the root itself"))?;
        Ok((before, last))
    }
}

/// Bytes from hexadecimal digits.
pub(super) fn from_hex(text: &[u8]) -> Result<Vec<u8>, Trouble> {
    let wrong = || Trouble::usage("this is not a name in hexadecimal digits");
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or_else(wrong);
    if !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    text.chunks(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (path, parts) in [("", 0), (".", 0), ("a", 1), ("./a//b/.", 2), ("--x", 1), ("...", 1), ("a\nb", 1)] {
            assert_eq!(Path::parse(path.as_bytes()).expect(path).parts.len(), parts, "{path}");
        }
        for bad in ["/", "/a", "..", "a/../b", "a/..", "a\0b", &"x".repeat(5000), &"x/".repeat(2000)] {
            assert_eq!(Path::parse(bad.as_bytes()).expect_err("refused").code, "USAGE");
        }
    }

    #[test]
    fn names_of_any_bytes_have_digits() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(to_hex(&all).as_bytes()).expect("read"), all);
        for bad in ["0", "0g", "é!"] {
            assert!(from_hex(bad.as_bytes()).is_err());
        }
    }
}
