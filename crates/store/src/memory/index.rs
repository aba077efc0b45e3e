//! The index: which words an entry stands under.

use std::collections::BTreeSet;

use crate::db::Connection;

use super::entry::{MemoryKind, MemoryState};
use super::words::words;
use crate::StoreError;
use crate::error::Doing;

/// What stands in front of an owner's words: the state, and the owner.
pub(super) fn mark(owner: i64, state: MemoryState) -> String {
    let state = if state == MemoryState::Live { 'l' } else { 's' };
    format!("{state}{owner}")
}

/// The term of a word.
pub(super) fn word_term(mark: &str, word: &str) -> String {
    format!("{mark}w{word}")
}

/// The term of a tag: its spelling in hexadecimal, so that a tag is found whole and never as a word.
pub(super) fn tag_term(mark: &str, tag: &str) -> String {
    let hex: String = folded(tag).bytes().map(|b| format!("{b:02x}")).collect();
    format!("{mark}t{hex}")
}

/// The term of a kind.
pub(super) fn kind_term(mark: &str, kind: MemoryKind) -> String {
    format!("{mark}k{}", kind.as_str())
}

/// A tag as it is kept: tags differ by more than the size of their letters.
pub(super) fn folded(tag: &str) -> String {
    tag.trim().to_lowercase()
}

/// An entry as the index sees it.
pub(super) struct Indexed<'a> {
    pub(super) n: i64,
    pub(super) owner: i64,
    pub(super) kind: MemoryKind,
    pub(super) content: &'a str,
    pub(super) tags: &'a [String],
}

impl Indexed<'_> {
    fn words(&self) -> Vec<String> {
        let mut all = words(self.content);
        for tag in self.tags {
            all.extend(words(tag));
        }
        all
    }

    /// Puts the entry into the index: a live or superseded one can be found, no other.
    pub(super) fn put(&self, conn: &Connection, state: MemoryState) -> Result<(), StoreError> {
        let doing = "index a memory";
        if !matches!(state, MemoryState::Live | MemoryState::Superseded) {
            return Ok(());
        }
        let (mark, all) = (mark(self.owner, state), self.words());
        let mut terms: Vec<String> = all.iter().map(|word| word_term(&mark, word)).collect();
        terms.extend(self.tags.iter().map(|tag| tag_term(&mark, tag)));
        terms.push(kind_term(&mark, self.kind));
        let sql = match conn.postgres() {
            None => "INSERT INTO memory_index (rowid, words) VALUES (?1, ?2)",
            Some(_) => "INSERT INTO memory_index (rowid, words) VALUES (?1, array_to_tsvector(string_to_array(?2, ' ')))",
        };
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        statement.execute((self.n, terms.join(" "))).doing(doing)?;
        self.count(conn, state, all, 1)
    }

    /// Takes it out again.
    pub(super) fn take(&self, conn: &Connection, state: MemoryState) -> Result<(), StoreError> {
        let doing = "take a memory out of the index";
        if !matches!(state, MemoryState::Live | MemoryState::Superseded) {
            return Ok(());
        }
        conn.prepare_cached("DELETE FROM memory_index WHERE rowid = ?1").and_then(|mut s| s.execute([self.n])).doing(doing)?;
        self.count(conn, state, self.words(), -1)
    }

    fn count(&self, conn: &Connection, state: MemoryState, all: Vec<String>, by: i64) -> Result<(), StoreError> {
        let doing = "count the words of a memory";
        if state != MemoryState::Live {
            return Ok(());
        }
        let sql = "INSERT INTO memory_words (owner, word, docs) VALUES (?1, ?2, max(?3, 0))
                   ON CONFLICT (owner, word) DO UPDATE SET docs = max(memory_words.docs + ?3, 0)";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let tags = self.tags.iter().map(|tag| counted_tag(tag));
        for word in all.into_iter().chain(tags).collect::<BTreeSet<_>>() {
            statement.execute((self.owner, word, by)).doing(doing)?;
        }
        Ok(())
    }
}

/// How a tag stands among the counted words: no word has large letters.
pub(super) fn counted_tag(tag: &str) -> String {
    tag_term("", tag).to_uppercase()
}
