//! Drives one target for a while.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    mutate::{INPUT_BYTES_MAX, Numbers, mutate},
    targets::Target,
};

/// The most processor time that one input may take; far more than any honest parser needs in a build without optimisation.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest that one input may take by the clock, for what blocks or works in other threads. The machine may stand still meanwhile, or
/// have much else to do.
const INPUT_WAIT_MAX: Duration = Duration::from_secs(300);
/// How many inputs are kept as starts; the oldest mutations give way, the corpus stays.
const POOL_MAX: usize = 4_096;

/// How a target fared.
pub(crate) enum Verdict {
    /// Nothing was wrong.
    Passed {
        /// Inputs that were tried.
        inputs: u64,
        /// Different answers that the target gave.
        shapes: usize,
    },
    /// An input broke it.
    Failed {
        /// What went wrong.
        why: String,
        /// The file that holds the input.
        kept: PathBuf,
    },
}

/// A seed that differs from run to run.
#[expect(clippy::cast_possible_truncation, reason = "any 64 bits are a seed")]
pub(crate) fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64)
}

/// Tries the corpus and then mutations of it until the time is over.
pub(crate) fn drive(target: &Target, seed: u64, time: Duration) -> Verdict {
    let corpus = corpus(target);
    if corpus.is_empty() {
        return Verdict::Failed { why: "its corpus is empty".to_owned(), kept: corpus_dir(target) };
    }
    let watch = Watch::start(target.name);
    let mut numbers = Numbers::new(seed);
    let mut pool = corpus.clone();
    let mut shapes = HashSet::new();
    let began = Instant::now();
    let mut inputs = 0u64;
    let mut next = corpus.iter().cloned();
    while inputs < corpus.len() as u64 || began.elapsed() < time {
        let input = next.next().unwrap_or_else(|| mutation(&pool, target.words, &mut numbers));
        watch.begins(&input);
        let answer = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        watch.ended();
        inputs += 1;
        match answer {
            Ok(shape) if shapes.insert(shape) => {
                if pool.len() >= POOL_MAX {
                    pool.remove(corpus.len());
                }
                pool.push(input);
            }
            Ok(_) => (),
            Err(panic) => return Verdict::Failed { why: message(panic.as_ref()), kept: keep(target.name, &input) },
        }
    }
    Verdict::Passed { inputs, shapes: shapes.len() }
}

fn mutation(pool: &[Vec<u8>], words: &[&[u8]], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = pool[numbers.below(pool.len())].clone();
    let other = &pool[numbers.below(pool.len())];
    mutate(&mut input, other, words, numbers);
    input
}

fn corpus_dir(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.corpus)
}

/// The files of the target's corpus, in the order of their names, and then what was recorded.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut starts = files(&corpus_dir(target), |_| true);
    if let Some(dir) = target.recorded {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir);
        let lines = files(&dir, |path| path.extension().is_some_and(|e| e == "jsonl"));
        // The first byte of an input is not the engine's: it says where to cut.
        starts.extend(lines.into_iter().map(|bytes| [&[8], &bytes[..bytes.len().min(INPUT_BYTES_MAX - 1)]].concat()));
    }
    starts
}

fn files(dir: &Path, is_wanted: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).filter(|path| is_wanted(path)).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// Writes an input that broke a target, so that it can be tried again and added to the corpus.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fuzz-failures");
    let path = dir.join(format!("{name}-{:016x}", crate::targets::hash(&input)));
    if let Err(error) = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, input)) {
        eprintln!("failed to keep the input ({error}); it is: {}", input.escape_ascii());
    }
    path
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a message"))
}

/// The processor time that a thread used so far, as its file `stat` says.
fn processor_time(stat: &Path) -> Duration {
    let stat = std::fs::read_to_string(stat).unwrap_or_default();
    // For its own code and for the kernel's, in ticks: the 14th and the 15th word. The 2nd, a name in parentheses, may hold anything.
    let words = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

/// Ends the process when one input takes too long: a thread that hangs cannot be stopped in any other way.
struct Watch(mpsc::SyncSender<Option<Vec<u8>>>);

impl Watch {
    /// Watches over the thread that calls it.
    fn start(name: &'static str) -> Self {
        let (sender, receiver) = mpsc::sync_channel::<Option<Vec<u8>>>(2);
        let stat = std::fs::canonicalize("/proc/thread-self/stat").unwrap_or_default();
        std::thread::spawn(move || {
            while let Ok(Some(input)) = receiver.recv() {
                let (began, before) = (Instant::now(), processor_time(&stat));
                loop {
                    match receiver.recv_timeout(INPUT_TIME_MAX) {
                        Ok(_) => break,
                        Err(mpsc::RecvTimeoutError::Disconnected) => return,
                        Err(mpsc::RecvTimeoutError::Timeout) => (),
                    }
                    let (used, took) = (processor_time(&stat).saturating_sub(before), began.elapsed());
                    if used >= INPUT_TIME_MAX || took >= INPUT_WAIT_MAX {
                        let kept = keep(name, &input);
                        println!("test {name} ... FAILED: an input took {took:?}, {used:?} of the processor: {}", kept.display());
                        std::process::abort();
                    }
                }
            }
        });
        Self(sender)
    }

    fn begins(&self, input: &[u8]) {
        // A watch that is gone has nothing to say; the run goes on without it.
        let _ = self.0.send(Some(input.to_vec()));
    }

    fn ended(&self) {
        let _ = self.0.send(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks(input: &[u8]) -> u64 {
        assert!(!input.windows(2).any(|w| w == b"\n\n"), "two newlines");
        input.len() as u64
    }

    #[test]
    fn an_input_that_breaks_a_target_is_found_and_kept() {
        let target = Target { name: "breaks", corpus: "wire_door", recorded: None, words: &[b"\n"], run: breaks };
        let Verdict::Failed { why, kept } = drive(&target, 1, Duration::from_secs(30)) else { panic!("not found") };
        assert_eq!(why, "panicked: two newlines");
        let input = std::fs::read(&kept).expect("kept");
        assert!(input.windows(2).any(|w| w == b"\n\n"));
        std::fs::remove_file(kept).expect("removed");
    }

    #[test]
    fn processor_time_is_that_of_the_thread() {
        const BUSY: Duration = Duration::from_millis(200);
        let stat = std::fs::canonicalize("/proc/thread-self/stat").expect("there");
        let (began, before) = (Instant::now(), processor_time(&stat));
        while processor_time(&stat) - before < BUSY {
            assert!(began.elapsed() < INPUT_WAIT_MAX, "it stands still");
        }
        assert!(began.elapsed() > BUSY / 2);
    }

    #[test]
    fn a_target_without_a_corpus_fails() {
        let target = Target { name: "none", corpus: "no-such-corpus", recorded: None, words: &[], run: |_| 0 };
        assert!(matches!(drive(&target, 1, Duration::ZERO), Verdict::Failed { .. }));
    }

    #[test]
    fn every_target_takes_its_corpus() {
        for target in crate::targets::ALL {
            assert!(matches!(drive(target, 1, Duration::ZERO), Verdict::Passed { .. }), "{}", target.name);
        }
    }
}
