//! What an agent remembers: how long a search takes, alone and beside other agents with as much.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{MemoryId, Timestamp};
use store::{Config, MEMORY_ENTRIES_MAX, MemoryKind, MemoryOwner, MemoryQuery, MemorySource, NewMemory, Store};

use crate::sample::Times;

/// Entries of each agent: as many as one may have.
const ENTRIES: u64 = MEMORY_ENTRIES_MAX;
/// Agents beside the one that is asked.
const OTHERS: u64 = 10;
/// Words that there are; the n-th is used in proportion to 1/n, as in any language.
const VOCABULARY: u64 = 30_000;
/// Questions of each kind.
const QUESTIONS: usize = 400;
/// Entries that are on their way to the store at once.
const AT_ONCE: usize = 512;
/// What is promised, in milliseconds.
const WANTED_MS: f64 = 5.0;

/// A small generator of numbers: the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A word, the common ones more often.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among thirty thousand"
    )]
    fn word(&mut self) -> String {
        let part = self.next() as f64 / f64::from(1u32 << 31);
        word((VOCABULARY as f64).powf(part) as u64)
    }

    fn text(&mut self, words: u64) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

/// The word of a rank: syllables, so that words begin alike as those of a language do.
fn word(mut rank: u64) -> String {
    const SYLLABLES: [&str; 20] =
        ["ka", "lo", "mi", "ne", "ru", "sta", "ver", "to", "pli", "on", "dra", "fe", "gu", "hin", "jo", "qua", "be", "wi", "xa", "zer"];
    let mut text = String::new();
    loop {
        text.push_str(SYLLABLES[usize::try_from(rank % 20).unwrap_or(0)]);
        rank /= 20;
        if rank == 0 {
            return text;
        }
    }
}

fn owner(agent: u64) -> MemoryOwner {
    MemoryOwner { tenant: "default".to_owned(), agent: format!("agent-{agent}") }
}

async fn fill(store: &Store, agent: u64) -> Result<()> {
    let mut numbers = Numbers(agent + 1);
    let entries = (0..ENTRIES).map(|n| {
        let words = 8 + numbers.below(25);
        let new = NewMemory {
            id: MemoryId::from_bits(u128::from(agent) << 64 | u128::from(n)),
            owner: owner(agent),
            kind: if n % 3 == 0 { MemoryKind::Context } else { MemoryKind::Fact },
            behavioural: false,
            content: numbers.text(words),
            tags: vec![format!("project-{}", numbers.below(50)), format!("day-{}", n / 100)],
            supersedes: None,
            source: MemorySource::OWNER,
            now: Timestamp(n),
        };
        store.store_memory(new)
    });
    stream::iter(entries).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await.context("fill the memory")
}

/// What is asked, and what makes such a question.
type Asks = (&'static str, fn(&mut Numbers) -> MemoryQuery);

/// The kinds of questions, each with how one is made.
const KINDS: [Asks; 6] = [
    ("one word", |n| ask(n.word())),
    ("a question of 8 words", |n| ask(n.text(8))),
    ("80 words, the first 20 of which count", |n| ask(n.text(80).chars().take(store::MEMORY_QUERY_CHARS_MAX).collect())),
    ("only the commonest words", |n| ask((0..4).map(|_| word(1 + n.below(4))).collect::<Vec<_>>().join(" "))),
    ("3 words and a tag", |n| MemoryQuery { tags: vec![format!("project-{}", n.below(50))], ..ask(n.text(3)) }),
    ("nothing, the newest of a kind", |_| MemoryQuery { kind: Some(MemoryKind::Context), ..ask(String::new()) }),
];

fn ask(text: String) -> MemoryQuery {
    MemoryQuery { text, tags: Vec::new(), kind: None, superseded: false, limit: 20 }
}

/// The times of each kind of question.
async fn times(store: &Store) -> Result<Vec<Times>> {
    let (mut numbers, mut all) = (Numbers(7), vec![Vec::with_capacity(QUESTIONS); KINDS.len()]);
    for round in 0..QUESTIONS + 20 {
        for (samples, (_, make)) in all.iter_mut().zip(KINDS) {
            let query = make(&mut numbers);
            let began = Instant::now();
            store.search_memories(&owner(0), query).await.context("search")?;
            if round >= 20 {
                samples.push(began.elapsed());
            }
        }
    }
    Ok(all.into_iter().map(Times::of).collect())
}

async fn measure(store: &Store) -> Result<String> {
    let began = Instant::now();
    fill(store, 0).await?;
    let filled = began.elapsed();
    let alone = times(store).await?;
    for other in 1..=OTHERS {
        fill(store, other).await?;
    }
    let beside = times(store).await?;
    let mut text = String::from("| question | alone p50 | p99 | beside 10 others p50 | p99 |\n|---|---|---|---|---|\n");
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let mut worst: f64 = 0.0;
    for ((name, _), (alone, beside)) in KINDS.iter().zip(alone.iter().zip(&beside)) {
        worst = worst.max(ms(alone.p99())).max(ms(beside.p99()));
        let cells = [alone.median(), alone.p99(), beside.median(), beside.p99()].map(|time| format!("{:.2} ms", ms(time)));
        writeln!(text, "| {name} | {} |", cells.join(" | "))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = ENTRIES as f64 / filled.as_secs_f64();
    let verdict = if worst <= WANTED_MS { "kept" } else { "missed" };
    writeln!(
        text,
        "\n{ENTRIES} entries of 8 to 32 words for each agent, stored at {rate:.0}/s. Promised: p99 <= {WANTED_MS} ms; {verdict}."
    )?;
    Ok(text)
}

/// Prints the part of the page.
pub(crate) fn run() -> Result<String> {
    let home = tempfile::Builder::new().prefix("lazaret-bench-").permissions(PermissionsExt::from_mode(0o700)).tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = Store::open(&home.path().join("lazaret.db"), &Config::default())?;
    let text = runtime.block_on(measure(&store))?;
    runtime.block_on(store.close())?;
    Ok(format!("## Memory\n\nA search of what one agent remembers, in the daemon.\n\n{text}"))
}
