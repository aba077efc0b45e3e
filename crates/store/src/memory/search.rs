//! Finding what bears on a question.
//!
//! Any text is a question. Its words are looked up by how rare they are in this agent's memory; the rare ones choose at most
//! [`POSTINGS_MAX`] entries, however large the memory is, and the best of these are weighed against the whole question.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use crate::db::{Connection, OptionalExtension, params_from_iter};
use serde::Serialize;

use super::entry::{COLUMNS, MemoryKind, MemoryOwner, MemoryRow, MemoryState, TABLES, from_row, owner_number};
use super::index::{counted_tag, kind_term, mark, tag_term, word_term};
use super::words::words;
use crate::error::Doing;
use crate::session::check_limit;
use crate::{Store, StoreError};

/// The longest question, in characters.
pub const MEMORY_QUERY_CHARS_MAX: usize = 500;
/// The most entries that one search gives.
pub const MEMORY_RESULTS_MAX: usize = 100;
/// Different words of a question that count.
const WORDS_MAX: usize = 20;
/// Entries in the lists that one question reads, in all.
const POSTINGS_MAX: u64 = 640;
/// Of words that are all common, how many must come together.
const COMMON_MAX: usize = 3;
/// Of the entries so found, how many are weighed for each one that is asked for, and how many at least.
const WEIGHED_EACH: usize = 2;
const WEIGHED_MIN: usize = 64;
/// The shortest word that also finds longer ones.
const STEM_CHARS_MIN: usize = 4;
/// Longer words that one word finds.
const LONGER_MAX: usize = 3;
/// What a longer word counts against the word itself.
const LONGER_WEIGHT: f64 = 0.7;
/// What a word counts that stands nowhere: nobody can be blamed for not saying it.
const UNKNOWN_WEIGHT: f64 = 0.2;

/// A question to an agent's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryQuery {
    /// Any text of at most [`MEMORY_QUERY_CHARS_MAX`] characters; without a word in it the newest entries are found.
    pub text: String,
    /// Only entries with all of these.
    pub tags: Vec<String>,
    /// Only entries of this kind.
    pub kind: Option<MemoryKind>,
    /// Also what was superseded.
    pub superseded: bool,
    /// From 1 to [`MEMORY_RESULTS_MAX`].
    pub limit: usize,
}

/// An entry and how well it fits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundMemory {
    /// The entry.
    pub memory: MemoryRow,
    /// From 0 to 1; 1 says everything that was asked, 0 without a question.
    pub relevance: f64,
}

impl Store {
    /// What one agent remembers about something, the best first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the question is too long or the limit is none.
    pub async fn search_memories(&self, owner: &MemoryOwner, query: MemoryQuery) -> Result<Vec<FoundMemory>, StoreError> {
        check_limit(query.limit, MEMORY_RESULTS_MAX)?;
        if query.text.chars().count() > MEMORY_QUERY_CHARS_MAX {
            return Err(StoreError::invalid("query", format!("has more than {MEMORY_QUERY_CHARS_MAX} characters")));
        }
        let owner = owner.clone();
        self.read(move |conn| {
            let Some(number) = owner_number(conn, &owner)? else { return Ok(Vec::new()) };
            Search { conn, owner: number, query: &query }.run()
        })
        .await
    }
}

/// A word of the question and the words that it finds.
struct Asked {
    /// The spellings in the memory, each with its weight.
    spellings: HashMap<String, f64>,
    word: String,
    /// Entries that have one of them.
    docs: u64,
    /// What finding it tells.
    weight: f64,
}

struct Search<'a> {
    conn: &'a Connection,
    owner: i64,
    query: &'a MemoryQuery,
}

impl Search<'_> {
    fn run(&self) -> Result<Vec<FoundMemory>, StoreError> {
        let order = words(&self.query.text);
        let mut seen = BTreeSet::new();
        let distinct: Vec<&String> = order.iter().filter(|word| seen.insert(word.as_str())).take(WORDS_MAX).collect();
        if distinct.is_empty() {
            let rows = self.newest()?;
            return Ok(rows.into_iter().map(|(_, memory)| FoundMemory { memory, relevance: 0.0 }).collect());
        }
        let entries = self.entries()?;
        let asked = distinct.iter().map(|word| self.asked(word, entries)).collect::<Result<Vec<_>, _>>()?;
        let mut rows = self.candidates(&asked)?;
        let mut found: Vec<(i64, FoundMemory)> = rows
            .drain(..)
            .map(|(n, memory)| {
                let relevance = weigh(&asked, &order, &memory);
                (n, FoundMemory { memory, relevance })
            })
            .filter(|(_, found)| found.relevance > 0.0)
            .collect();
        found.sort_by(|(n, a), (m, b)| b.relevance.total_cmp(&a.relevance).then(m.cmp(n)));
        found.truncate(self.query.limit);
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }

    fn entries(&self) -> Result<u64, StoreError> {
        let doing = "count an agent's memory";
        let mut statement = self.conn.prepare_cached("SELECT entries FROM memory_owners WHERE id = ?1").doing(doing)?;
        statement.query_row([self.owner], |r| r.get(0)).doing(doing)
    }

    fn docs(&self, word: &str) -> Result<u64, StoreError> {
        let doing = "look up a word";
        let mut statement = self.conn.prepare_cached("SELECT docs FROM memory_words WHERE owner = ?1 AND word = ?2").doing(doing)?;
        Ok(statement.query_row((self.owner, word), |r| r.get(0)).optional().doing(doing)?.unwrap_or(0))
    }

    /// A word with the longer ones that begin with it. One that stands nowhere is tried without its ending.
    fn asked(&self, word: &str, entries: u64) -> Result<Asked, StoreError> {
        let mut docs = self.docs(word)?;
        let mut spellings = HashMap::new();
        if docs > 0 {
            spellings.insert(word.to_owned(), 1.0);
        }
        let chars = word.chars().count();
        let shortest = if docs > 0 { chars } else { chars.saturating_sub(2) };
        let mut stem = word.to_owned();
        let mut left = chars;
        while left >= shortest.max(STEM_CHARS_MIN) {
            for (longer, more) in self.longer(&stem)? {
                if let Entry::Vacant(place) = spellings.entry(longer) {
                    docs += more;
                    place.insert(LONGER_WEIGHT);
                }
            }
            if !spellings.is_empty() || stem.pop().is_none() {
                break;
            }
            left -= 1;
        }
        let docs = docs.min(entries);
        #[expect(clippy::cast_precision_loss, reason = "a weight need not be exact")]
        let weight = (1.0 + (entries.saturating_sub(docs) as f64 + 0.5) / (docs as f64 + 0.5)).ln();
        let weight = if docs == 0 { weight * UNKNOWN_WEIGHT } else { weight };
        Ok(Asked { spellings, word: word.to_owned(), docs, weight })
    }

    fn longer(&self, stem: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let doing = "look up longer words";
        let sql = "SELECT word, docs FROM memory_words WHERE owner = ?1 AND word >= ?2 AND word < ?3 AND docs > 0 LIMIT ?4";
        let mut statement = self.conn.prepare_cached(sql).doing(doing)?;
        let end = format!("{stem}\u{10ffff}");
        let rows = statement.query_map((self.owner, stem, end, LONGER_MAX), |r| Ok((r.get(0)?, r.get(1)?))).doing(doing)?;
        rows.collect::<crate::db::Result<_>>().doing(doing)
    }

    /// The entries that are weighed: those with the rarest words. Where every word is a common one, the newest that have
    /// several of them.
    fn candidates(&self, asked: &[Asked]) -> Result<Vec<(i64, MemoryRow)>, StoreError> {
        let mut known: Vec<&Asked> = asked.iter().filter(|asked| !asked.spellings.is_empty() || self.query.superseded).collect();
        if known.is_empty() {
            return Ok(Vec::new());
        }
        known.sort_by_key(|asked| asked.docs);
        let most = (self.query.limit * WEIGHED_EACH).max(WEIGHED_MIN);
        let narrowed = self.query.tags.iter().map(|tag| self.docs(&counted_tag(tag))).collect::<Result<Vec<_>, _>>()?;
        let cap = narrowed.into_iter().min().unwrap_or(u64::MAX);
        let (mut rare, mut budget) = (0, POSTINGS_MAX);
        while let Some(left) = known.get(rare).and_then(|asked| budget.checked_sub(asked.docs.min(cap))) {
            budget = left;
            rare += 1;
        }
        if rare == 0 {
            let several: Vec<String> = known.iter().take(COMMON_MAX).map(|asked| self.any_of(asked)).collect();
            let mut places: BTreeSet<i64> = self.places(&several.join(" AND "), most)?.into_iter().collect();
            if places.len() < most {
                places.extend(self.places(&self.any_of(known[0]), most - places.len())?);
            }
            return self.rows(&places);
        }
        let mut weights: HashMap<i64, f64> = HashMap::new();
        for asked in &known[..rare] {
            for place in self.places(&self.any_of(asked), usize::try_from(POSTINGS_MAX).unwrap_or(usize::MAX))? {
                *weights.entry(place).or_default() += asked.weight;
            }
        }
        if weights.len() > most
            && let Some(next) = known.get(rare)
        {
            // The first word that is too common still tells which of many to prefer.
            let both = format!("{} AND {}", self.any_of(known[0]), self.any_of(next));
            for place in self.places(&both, most)? {
                *weights.entry(place).or_default() += next.weight;
            }
        }
        let mut places: Vec<(i64, f64)> = weights.into_iter().collect();
        places.sort_by(|(n, a), (m, b)| b.total_cmp(a).then(m.cmp(n)));
        self.rows(&places.into_iter().take(most).map(|(place, _)| place).collect())
    }

    /// An expression for entries with this word.
    fn any_of(&self, asked: &Asked) -> String {
        let mut terms = Vec::new();
        for mark in self.marks() {
            // What was superseded is not counted, so the word itself is always asked for as well.
            let mut spellings: BTreeSet<&str> = asked.spellings.keys().map(String::as_str).collect();
            spellings.insert(&asked.word);
            terms.extend(spellings.into_iter().map(|word| quoted(&word_term(&mark, word))));
        }
        format!("({})", terms.join(" OR "))
    }

    fn marks(&self) -> Vec<String> {
        let mut marks = vec![mark(self.owner, MemoryState::Live)];
        if self.query.superseded {
            marks.push(mark(self.owner, MemoryState::Superseded));
        }
        marks
    }

    /// What tags and kind ask for, as expressions.
    fn narrowing(&self) -> Vec<String> {
        let either = |term: &dyn Fn(&str) -> String| {
            let terms: Vec<String> = self.marks().iter().map(|mark| quoted(&term(mark))).collect();
            format!("({})", terms.join(" OR "))
        };
        let mut all: Vec<String> = self.query.tags.iter().map(|tag| either(&|mark| tag_term(mark, tag))).collect();
        all.extend(self.query.kind.map(|kind| either(&|mark| kind_term(mark, kind))));
        all
    }

    /// The places of entries that an expression, the tags and the kind find, the newest first.
    fn places(&self, expression: &str, most: usize) -> Result<Vec<i64>, StoreError> {
        let doing = "search an agent's memory";
        let mut all = self.narrowing();
        if !expression.is_empty() {
            all.push(expression.to_owned());
        }
        let mut expression = all.join(" AND ");
        let sql = match self.conn.postgres() {
            None => "SELECT rowid FROM memory_index WHERE memory_index MATCH ?1 ORDER BY rowid DESC LIMIT ?2",
            Some(_) => {
                // The same expression in the words of PostgreSQL; terms have neither spaces nor quotes.
                expression = expression.replace(" AND ", " & ").replace(" OR ", " | ").replace('"', "'");
                "SELECT rowid FROM memory_index WHERE words @@ CAST(CAST(?1 AS TEXT) AS TSQUERY) ORDER BY rowid DESC LIMIT ?2"
            }
        };
        let mut statement = self.conn.prepare_cached(sql).doing(doing)?;
        let rows = statement.query_map((expression, most), |r| r.get(0)).doing(doing)?;
        rows.collect::<crate::db::Result<_>>().doing(doing)
    }

    /// The entries without a question.
    fn newest(&self) -> Result<Vec<(i64, MemoryRow)>, StoreError> {
        if !self.narrowing().is_empty() {
            let places = self.places("", self.query.limit)?;
            return self.rows(&places.into_iter().collect());
        }
        let doing = "read an agent's newest memories";
        let states = if self.query.superseded { "('live', 'superseded')" } else { "('live')" };
        let sql = format!("SELECT n FROM memories WHERE owner = ?1 AND state IN {states} ORDER BY n DESC LIMIT ?2");
        let mut statement = self.conn.prepare_cached(&sql).doing(doing)?;
        let rows = statement.query_map((self.owner, self.query.limit), |r| r.get(0)).doing(doing)?;
        self.rows(&rows.collect::<crate::db::Result<_>>().doing(doing)?)
    }

    /// These entries, the newest first. The owner is asked for again: the index alone decides nothing.
    fn rows(&self, places: &BTreeSet<i64>) -> Result<Vec<(i64, MemoryRow)>, StoreError> {
        let doing = "read the memories that were found";
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let marks = vec!["?"; places.len()].join(", ");
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE m.owner = ? AND m.n IN ({marks}) ORDER BY m.n DESC");
        let mut statement = self.conn.prepare(&sql).doing(doing)?;
        let values = params_from_iter(std::iter::once(&self.owner).chain(places));
        let rows = statement.query_map(values, |r| Ok((r.get("n")?, from_row(r)?))).doing(doing)?;
        rows.collect::<crate::db::Result<_>>().doing(doing)
    }
}

/// Terms are letters and digits; the quotes keep the words of the index's own language from being read as such.
fn quoted(term: &str) -> String {
    format!("\"{term}\"")
}

/// How well an entry answers: how much of the question it has, rare words before common ones, in how few other words, and
/// whether it says all of it and in the same order.
#[expect(clippy::cast_precision_loss, reason = "a weight need not be exact")]
fn weigh(asked: &[Asked], order: &[String], memory: &MemoryRow) -> f64 {
    let mut text = words(&memory.content);
    let content = text.len();
    for tag in &memory.tags {
        text.extend(words(tag));
    }
    let mut counts: HashMap<&str, f64> = HashMap::new();
    for word in &text {
        *counts.entry(word).or_default() += 1.0;
    }
    let length = 1.2 * (0.25 + 0.75 * text.len() as f64 / 30.0).min(4.0);
    let (mut have, mut all, mut is_whole) = (0.0, 0.0, true);
    for asked in asked {
        let count = |(word, weight): (&String, &f64)| counts.get(word.as_str()).map_or(0.0, |n| n * weight);
        let mut times: f64 = asked.spellings.iter().map(count).sum();
        if times == 0.0 {
            times = counts.get(asked.word.as_str()).copied().unwrap_or(0.0);
        }
        is_whole &= times > 0.0;
        have += asked.weight * (1.3 * times / (times + length)).min(1.0);
        all += asked.weight;
    }
    if have == 0.0 || all == 0.0 {
        return 0.0;
    }
    let mut longest = 0;
    for start in (0..content).filter(|start| order.contains(&text[*start])) {
        for from in (0..order.len()).filter(|from| order[*from] == text[start]) {
            let run = text[start..content].iter().zip(&order[from..]).take_while(|(a, b)| a == b).count();
            longest = longest.max(run);
        }
    }
    let phrase = if order.len() > 1 { longest.saturating_sub(1) as f64 / (order.len() - 1) as f64 } else { f64::from(longest > 0) };
    let relevance = 0.7 * have / all + 0.15 * f64::from(is_whole) + 0.15 * phrase;
    (relevance * 1000.0).round() / 1000.0
}
