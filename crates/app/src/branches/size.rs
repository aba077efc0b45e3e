//! How much a branch changes.

use super::forms::ChangeSize;
use crate::git::{GitError, Mirror, Oid};

/// The most bytes of a list of changed files.
const LIST_BYTES_MAX: u64 = 32 << 20;

/// Files and lines that differ between two commits that were checked.
pub(super) async fn size_of(mirror: &Mirror, base: &Oid, tip: &Oid) -> Result<ChangeSize, GitError> {
    let args = ["diff-tree", "-r", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", "-z", base.as_str(), tip.as_str(), "--"];
    let out = mirror.call("count what a branch changes").args(args).max(LIST_BYTES_MAX).run().await?;
    Ok(counted(&out))
}

fn counted(out: &[u8]) -> ChangeSize {
    let mut size = ChangeSize::default();
    for entry in out.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
        let mut words = entry.split(|b| *b == b'\t').map(|word| std::str::from_utf8(word).ok().and_then(|w| w.parse::<u64>().ok()));
        size.files += 1;
        size.added = size.added.saturating_add(words.next().flatten().unwrap_or(0));
        size.removed = size.removed.saturating_add(words.next().flatten().unwrap_or(0));
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_up_and_binaries_count_as_files() {
        assert_eq!(counted(b"3\t1\ta\0-\t-\tb\tc\0"), ChangeSize { files: 2, added: 3, removed: 1 });
        assert_eq!(counted(b""), ChangeSize::default());
    }
}
