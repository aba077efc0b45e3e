//! One number for an installed tree, whoever unpacked it and in which order.

use sha2::{Digest, Sha256};

/// What kind of thing an entry of a tree is. Directories are not entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file; its content follows.
    File {
        /// Whether its owner may execute it. Other permission bits depend on who unpacked it and do not count.
        executable: bool,
    },
    /// A link; its target follows as content.
    Link,
}

/// An entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path relative to the tree, parts joined by `/`.
    pub path: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// The length of its content, in bytes.
    pub size: u64,
}

/// Hashes a tree: SHA-256 over every entry's path, kind, size and content.
///
/// Call [`TreeHasher::entry`] for each entry in the order of the paths' bytes, and [`TreeHasher::content`] with all of
/// its content, in pieces of any size, after each.
#[derive(Debug, Default)]
pub struct TreeHasher {
    hash: Sha256,
    last: Vec<u8>,
    missing: u64,
    is_wrong: bool,
}

impl TreeHasher {
    /// Begins the next entry.
    pub fn entry(&mut self, entry: Entry<'_>) {
        // A wrong order, a path twice or a content of another length must never give a hash that could match.
        self.is_wrong |= self.missing > 0 || entry.path <= self.last.as_slice();
        self.last = entry.path.to_vec();
        self.missing = entry.size;
        let kind: u8 = match entry.kind {
            EntryKind::File { executable: false } => b'f',
            EntryKind::File { executable: true } => b'x',
            EntryKind::Link => b'l',
        };
        self.hash.update((entry.path.len() as u64).to_le_bytes());
        self.hash.update(entry.path);
        self.hash.update([kind]);
        self.hash.update(entry.size.to_le_bytes());
    }

    /// Adds a piece of the present entry's content.
    pub fn content(&mut self, bytes: &[u8]) {
        match self.missing.checked_sub(bytes.len() as u64) {
            Some(missing) => self.missing = missing,
            None => self.is_wrong = true,
        }
        self.hash.update(bytes);
    }

    /// The hash in hexadecimal; `None` when entries were out of order or a content was not as long as announced, as
    /// when a file changes while it is read.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        if self.is_wrong || self.missing > 0 {
            return None;
        }
        Some(self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(entries: &[(&str, bool, &str)]) -> Option<String> {
        let mut hasher = TreeHasher::default();
        for (path, executable, content) in entries {
            let kind = EntryKind::File { executable: *executable };
            hasher.entry(Entry { path: path.as_bytes(), kind, size: content.len() as u64 });
            for piece in content.as_bytes().chunks(2) {
                hasher.content(piece);
            }
        }
        hasher.finish()
    }

    #[test]
    fn every_difference_counts() {
        let base = hash(&[("a", false, "xyz"), ("b", true, "")]).expect("in order");
        for other in [
            &[("a", false, "xyZ"), ("b", true, "")][..],
            &[("a", true, "xyz"), ("b", true, "")],
            &[("a", false, "xyz"), ("c", true, "")],
            &[("a", false, "xyz")],
            &[("a", false, "xyz"), ("b", true, ""), ("c", false, "")],
        ] {
            assert_ne!(hash(other).as_ref(), Some(&base));
        }
        assert_eq!(hash(&[("b", true, ""), ("a", false, "xyz")]), None);
        assert_eq!(hash(&[("a", true, ""), ("a", true, "")]), None);
    }

    #[test]
    fn a_content_of_another_length_gives_no_hash() {
        for content in [&b"ab"[..], b"abcd"] {
            let mut hasher = TreeHasher::default();
            hasher.entry(Entry { path: b"a", kind: EntryKind::Link, size: 3 });
            hasher.content(content);
            assert_eq!(hasher.finish(), None);
        }
    }
}
