//! Patterns of wirings: compiled once, and bounded in size and time.

use std::collections::HashMap;
use std::sync::Mutex;

use model::{Code, Failure, PATTERN_BYTES_MAX};
use regex::{Regex, RegexBuilder};

use crate::live::lock;

/// Bytes of one compiled pattern.
const COMPILED_BYTES_MAX: usize = 256 << 10;
/// Patterns that are kept compiled; beyond it they are compiled anew.
const KEPT_MAX: usize = 256;
/// Bytes of a text in which a pattern is looked for.
const LOOKED_BYTES_MAX: usize = 16 << 10;
/// The pattern that every message has.
const EVERY: &str = ".";

/// Compiled patterns. Held for single map operations.
#[derive(Default)]
pub(crate) struct Patterns(Mutex<HashMap<String, Regex>>);

impl Patterns {
    /// Whether a pattern is found in a text. One that cannot be compiled is found nowhere.
    pub(crate) fn is_in(&self, pattern: &str, text: &str) -> bool {
        if pattern == EVERY {
            return true;
        }
        let end = (0..=text.len().min(LOOKED_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let mut kept = lock(&self.0);
        if let Some(known) = kept.get(pattern) {
            return known.is_match(&text[..end]);
        }
        let Ok(made) = compiled(pattern) else { return false };
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let found = made.is_match(&text[..end]);
        kept.insert(pattern.to_owned(), made);
        found
    }
}

fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
}

/// Refuses a pattern that cannot be looked for, when it is set.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, why).field("pattern");
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        return Err(wrong(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes")));
    }
    compiled(pattern).map(drop).map_err(|e| wrong(format!("the pattern cannot be used: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_pattern_is_refused_when_it_is_set_and_engages_nothing() {
        let patterns = Patterns::default();
        for bad in ["", "(", "[a", "a{1000}{1000}{1000}", "\\p{Nope}", &"a".repeat(501)] {
            assert_eq!(check_pattern(bad).map_err(|f| f.code), Err(Code::Usage), "{bad}");
            assert!(bad.is_empty() || !patterns.is_in(bad, "aaa") || bad.len() > PATTERN_BYTES_MAX, "{bad}");
        }
        for good in [".", "^!todo\\b", "(?i)invoice"] {
            assert!(check_pattern(good).is_ok(), "{good}");
        }
        assert!(patterns.is_in("(?i)invoice", "the INVOICE of May") && !patterns.is_in("^!todo\\b", "my !todo"));
        assert!(patterns.is_in(".", ""));
    }

    #[test]
    fn a_long_text_takes_no_long_time() {
        let began = std::time::Instant::now();
        let patterns = Patterns::default();
        let text = "a".repeat(1 << 20);
        assert!(!patterns.is_in("(a+)+$b", &text));
        assert!(began.elapsed() < std::time::Duration::from_secs(240));
    }
}
