//! Money and tokens.

use serde::{Deserialize, Serialize};

/// An amount of US dollars in billionths, so that the price of one token is a whole number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Money(pub u64);

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of dollars like 0.50 (at most 9 decimals, at most 1000000)")]
pub struct MoneyError(pub String);

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);
    /// Billionths in a dollar.
    pub const PER_USD: u64 = 1_000_000_000;

    /// The sum, held at the largest amount there is.
    #[must_use]
    pub fn plus(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }

    /// What is left after `other`, never below zero.
    #[must_use]
    pub fn minus(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }

    /// An amount that a JSON number of dollars means; `None` when it is below zero, above a million, or no number.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "bounded above and below")]
    pub fn from_usd(usd: f64) -> Option<Money> {
        (0.0..=1_000_000.0).contains(&usd).then(|| Money((usd * Self::PER_USD as f64).round() as u64))
    }

    /// For JSON fields named `cost_usd`: a float of dollars. Sums are never made from it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53 billionths times 1000")]
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / Self::PER_USD as f64
    }
}

impl std::str::FromStr for Money {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let bad = || MoneyError(text.chars().take(64).collect());
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 7 || part.len() > 9 || !digits(whole) || !digits(part) {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let part: u64 = format!("{part:0<9}").parse().map_err(|_| bad())?;
        if whole > 1_000_000 {
            return Err(bad());
        }
        Ok(Money(whole * Self::PER_USD + part))
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${}.{:06}", self.0 / Self::PER_USD, self.0 % Self::PER_USD / 1000)
    }
}

/// Tokens of one model call, turn or session, as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Usage {
    /// Tokens sent, without those read from or written to a cache.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens received, thinking included.
    #[serde(default)]
    pub output_tokens: u64,
    /// Tokens sent that the provider had in its cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Tokens sent that the provider put into its cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

impl Usage {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(text.parse::<Money>().ok().map(|m| m.0), expect, "{text}");
        check("0", Some(0));
        check("0.01", Some(10_000_000));
        check("1.000000001", Some(1_000_000_001));
        check("1000000", Some(1_000_000 * Money::PER_USD));
        check("1000001", None);
        check("-1", None);
        check("1e3", None);
        check(".5", None);
        check("0.1234567891", None);
    }
}
