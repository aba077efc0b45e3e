//! What models cost.

use std::collections::HashMap;

use model::Money;
use serde::Deserialize;

use crate::meter::Count;

/// The built-in list.
const BUILT_IN: &str = include_str!("../../../share/prices.toml");
/// Entries of one file.
const ENTRIES_MAX: usize = 10_000;
/// Tokens that are assumed for a model whose entry does not say.
const CONTEXT_DEFAULT: u64 = 2_000_000;
const OUTPUT_DEFAULT: u64 = 128_000;

/// Every known price.
pub struct Prices {
    exact: HashMap<String, Price>,
    /// Prefixes, longest first.
    prefixes: Vec<(String, Price)>,
    factors: Factors,
}

/// What one model costs. Amounts are for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    input: Money,
    output: Money,
    cache_read: Money,
    cache_write: Money,
    cache_write_long: Money,
    above: u64,
    above_input: Money,
    above_output: Money,
    /// The most tokens of one request.
    pub context: u64,
    /// The most tokens of one answer.
    pub output_max: u64,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// Not TOML of the right form.
    #[error("read the price list")]
    Form(#[source] Box<toml::de::Error>),
    /// An amount that is none.
    #[error("read a price of `{model}`")]
    Amount {
        /// The first model of the entry.
        model: String,
        /// What is wrong.
        source: model::MoneyError,
    },
    /// A limit or a name.
    #[error("use the price list: {0}")]
    Entry(&'static str),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Factors {
    priority: u64,
    fast: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawList {
    factors: Option<Factors>,
    #[serde(default)]
    price: Vec<RawPrice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    model: Vec<String>,
    input: String,
    output: String,
    cache_read: Option<String>,
    cache_write: Option<String>,
    cache_write_long: Option<String>,
    above: Option<u64>,
    above_input: Option<String>,
    above_output: Option<String>,
    context: Option<u64>,
    output_max: Option<u64>,
}

/// A service level that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The list price or less.
    Standard,
    /// Faster processing.
    Priority,
    /// The fast mode of a model.
    Fast,
}

impl Prices {
    /// The built-in list, with `own` looked at first.
    ///
    /// # Errors
    /// [`PricesError`] when `own` is not a list of the documented form.
    pub fn load(own: Option<&str>) -> Result<Self, PricesError> {
        let mut prices = Self { exact: HashMap::new(), prefixes: Vec::new(), factors: Factors { priority: 250, fast: 600 } };
        prices.add(BUILT_IN)?;
        if let Some(own) = own {
            prices.add(own)?;
        }
        Ok(prices)
    }

    fn add(&mut self, text: &str) -> Result<(), PricesError> {
        let list: RawList = toml::from_str(text).map_err(|e| PricesError::Form(Box::new(e)))?;
        if list.price.len() > ENTRIES_MAX {
            return Err(PricesError::Entry("more than 10000 entries"));
        }
        self.factors = list.factors.unwrap_or(self.factors);
        for raw in list.price {
            let price = raw.price()?;
            for name in &raw.model {
                let (stem, is_prefix) = name.strip_suffix('*').map_or((name.as_str(), false), |stem| (stem, true));
                if is_prefix {
                    let stem = stem.to_ascii_lowercase().replace('.', "-");
                    self.prefixes.retain(|(known, _)| *known != stem);
                    self.prefixes.push((stem, price));
                } else {
                    let stem = canonical(stem).ok_or(PricesError::Entry("a model name with characters that no model name has"))?;
                    self.exact.insert(stem, price);
                }
            }
        }
        self.prefixes.sort_by_key(|(stem, _)| std::cmp::Reverse(stem.len()));
        Ok(())
    }

    /// The price of a model by any of its spellings.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<Price> {
        let name = canonical(model)?;
        let prefixed = || self.prefixes.iter().find(|(stem, _)| name.starts_with(stem.as_str())).map(|(_, price)| *price);
        self.exact.get(&name).copied().or_else(prefixed)
    }

    /// `price` for a service level.
    #[must_use]
    pub fn at(&self, price: Price, tier: Tier) -> Price {
        let hundredths = match tier {
            Tier::Standard => return price,
            Tier::Priority => self.factors.priority,
            Tier::Fast => self.factors.fast,
        };
        let times = |m: Money| Money(m.0.saturating_mul(hundredths) / 100);
        Price {
            input: times(price.input),
            output: times(price.output),
            cache_read: times(price.cache_read),
            cache_write: times(price.cache_write),
            cache_write_long: times(price.cache_write_long),
            above_input: times(price.above_input),
            above_output: times(price.above_output),
            ..price
        }
    }
}

impl Price {
    /// What a counted reply costs, rounded up.
    #[must_use]
    pub fn cost(&self, count: &Count) -> Money {
        let usage = &count.usage;
        let sent = usage.input_tokens.saturating_add(usage.cache_read_tokens).saturating_add(usage.cache_write_tokens);
        let (input, output) =
            if self.above > 0 && sent > self.above { (self.above_input, self.above_output) } else { (self.input, self.output) };
        // Beyond the threshold the cached tokens rise in the same proportion as the input.
        let scaled = |m: Money| if self.input.0 == 0 { m } else { Money(muldiv(m.0, input.0, self.input.0)) };
        let long = count.cache_write_long_tokens.min(usage.cache_write_tokens);
        per_million(usage.input_tokens, input)
            .plus(per_million(usage.output_tokens, output))
            .plus(per_million(usage.cache_read_tokens, scaled(self.cache_read)))
            .plus(per_million(usage.cache_write_tokens - long, scaled(self.cache_write)))
            .plus(per_million(long, scaled(self.cache_write_long)))
    }

    /// The most that a request of so many tokens can cost.
    #[must_use]
    pub fn worst(&self, input_tokens: u64, output_tokens: u64) -> Money {
        let dearest = |names: &[Money]| names.iter().copied().max().unwrap_or(Money::ZERO);
        let mut input = dearest(&[self.input, self.cache_read, self.cache_write, self.cache_write_long]);
        let mut output = self.output;
        if self.above > 0 && input_tokens > self.above {
            let scale = |m: Money| if self.input.0 == 0 { m } else { Money(muldiv(m.0, self.above_input.0, self.input.0)) };
            input = dearest(&[input, scale(input), self.above_input]);
            output = dearest(&[output, self.above_output]);
        }
        // A cost is the sum of up to five parts, each rounded up.
        const ROUNDING: Money = Money(5);
        per_million(input_tokens, input).plus(per_million(output_tokens, output)).plus(ROUNDING)
    }

    /// How many tokens of output `money` still pays for, once the input is paid.
    #[must_use]
    pub fn affordable_output(&self, input_tokens: u64, money: Money) -> u64 {
        let output = if self.above > 0 && input_tokens > self.above { self.output.max(self.above_output) } else { self.output };
        let left = money.minus(self.worst(input_tokens, 0)).minus(Money(1));
        if output.0 == 0 { u64::MAX } else { muldiv(left.0, 1_000_000, output.0) }
    }
}

fn per_million(tokens: u64, price: Money) -> Money {
    let nanos = (u128::from(tokens) * u128::from(price.0)).div_ceil(1_000_000);
    Money(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn muldiv(a: u64, b: u64, c: u64) -> u64 {
    u64::try_from(u128::from(a) * u128::from(b) / u128::from(c.max(1))).unwrap_or(u64::MAX)
}

impl RawPrice {
    fn price(&self) -> Result<Price, PricesError> {
        let model = self.model.first().ok_or(PricesError::Entry("an entry without a model"))?;
        let amount = |text: &str| text.parse::<Money>().map_err(|source| PricesError::Amount { model: model.clone(), source });
        let or = |text: &Option<String>, other: Money| text.as_deref().map_or(Ok(other), amount);
        let (input, output) = (amount(&self.input)?, amount(&self.output)?);
        let cache_write = or(&self.cache_write, input)?;
        Ok(Price {
            input,
            output,
            cache_read: or(&self.cache_read, input)?,
            cache_write,
            cache_write_long: or(&self.cache_write_long, cache_write)?,
            above: self.above.unwrap_or(0),
            above_input: or(&self.above_input, input)?,
            above_output: or(&self.above_output, output)?,
            context: self.context.unwrap_or(CONTEXT_DEFAULT),
            output_max: self.output_max.unwrap_or(OUTPUT_DEFAULT),
        })
    }
}

/// The one spelling of a model's name: lower case, without provider prefix, variant and date, dots as hyphens. `None` when it
/// has characters that no model name has.
#[must_use]
pub fn canonical(model: &str) -> Option<String> {
    const NAME_BYTES_MAX: usize = 256;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b':' | b'@' | b'[' | b']' | b'+');
    if model.is_empty() || model.len() > NAME_BYTES_MAX || !model.bytes().all(plain) {
        return None;
    }
    let name = model.to_ascii_lowercase().replace('.', "-");
    let name = name.rsplit('/').next().unwrap_or_default();
    let name = name.split([':', '@', '[']).next().unwrap_or_default();
    let name = name.strip_suffix("-latest").unwrap_or(name);
    let name = without_date(name);
    if name.is_empty() { None } else { Some(name.to_owned()) }
}

/// Takes `-20250929` or `-2025-09-29` off the end.
fn without_date(name: &str) -> &str {
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((stem, last)) = name.rsplit_once('-') {
        if digits(last, 8) && last.starts_with("20") {
            return stem;
        }
        if digits(last, 2)
            && let Some((stem, month)) = stem.rsplit_once('-')
            && let Some((stem, year)) = stem.rsplit_once('-')
            && digits(month, 2)
            && digits(year, 4)
        {
            return stem;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use model::Usage;

    use super::*;

    #[test]
    fn no_spelling_dodges_the_price() {
        let prices = Prices::load(None).unwrap();
        let opus = prices.of("claude-opus-4-1").unwrap();
        for name in [
            "Claude-Opus-4-1", "anthropic/claude-opus-4.1", "claude-opus-4-1-20250805", "x/y/claude-opus-4-1:thinking",
            "claude-opus-4-1@20250805", "CLAUDE-OPUS-4-1-latest", "claude-opus-4-1[1m]", "claude-haiku-4-5/claude-opus-4-1",
        ] {
            assert_eq!(prices.of(name), Some(opus), "{name}");
        }
        assert_eq!(prices.of("gpt-4.1-2025-04-14"), prices.of("gpt-4-1"));
        for unknown in [
            "", "claude-opus-9", "gpt-5-turbo", "claude opus", "claude-opus-4-1\0", "ft:gpt-4o:x", "openrouter/auto", "сlaude-opus-4-1",
            "/",
        ] {
            assert_eq!(prices.of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn costs_are_exact_and_rounded_up() {
        let prices = Prices::load(None).unwrap();
        let sonnet = prices.of("claude-sonnet-4-5").unwrap();
        let count = |i, o, r, w, l| Count {
            usage: Usage { input_tokens: i, output_tokens: o, cache_read_tokens: r, cache_write_tokens: w },
            cache_write_long_tokens: l,
        };
        assert_eq!(sonnet.cost(&count(1_000, 1_000, 0, 0, 0)).to_string(), "$0.018000");
        assert_eq!(sonnet.cost(&count(0, 0, 1_000, 2_000, 1_000)).to_string(), "$0.010050");
        assert_eq!(sonnet.cost(&count(200_001, 0, 0, 0, 0)), Money(1_200_006_000));
        let nano = prices.of("gpt-5-nano").unwrap();
        assert_eq!(nano.cost(&count(0, 0, 1, 0, 0)), Money(5));
        assert!(sonnet.cost(&count(u64::MAX, u64::MAX, u64::MAX, u64::MAX, 0)).0 == u64::MAX);
        assert_eq!(prices.at(sonnet, Tier::Fast).cost(&count(1_000, 0, 0, 0, 0)).to_string(), "$0.018000");
    }

    #[test]
    fn the_worst_is_never_below_the_cost() {
        let prices = Prices::load(None).unwrap();
        for name in prices.exact.keys() {
            let price = prices.of(name).unwrap();
            for input in [0u64, 1, 1_000, 200_000, 200_001, 900_000] {
                for split in [0u64, 1, 3] {
                    let part = input.checked_div(split).unwrap_or(0);
                    let usage = Usage { input_tokens: input - part, output_tokens: 5_000, cache_read_tokens: 0, cache_write_tokens: part };
                    assert!(price.worst(input, 5_000) >= price.cost(&Count { usage, cache_write_long_tokens: part / 2 }), "{name} {input}");
                }
            }
            let left = price.worst(1_000, 777);
            assert!(price.worst(1_000, price.affordable_output(1_000, left)) <= left, "{name}");
        }
    }

    #[test]
    fn an_own_list_comes_first_and_must_be_right() {
        let own = "[[price]]\nmodel = [\"gpt-5\", \"llama-*\"]\ninput = \"0\"\noutput = \"0.5\"\n";
        let prices = Prices::load(Some(own)).unwrap();
        assert_eq!(prices.of("gpt-5").unwrap().worst(1_000_000, 0), Money(5));
        assert!(prices.of("meta/Llama-3.3-70b").is_some());
        assert!(prices.of("claude-haiku-4-5").is_some());
        for bad in [
            "[[price]]\nmodel=[\"x\"]\ninput=\"-1\"\noutput=\"1\"",
            "[[price]]\nmodel=[\"x\"]\ninput=\"1\"",
            "[[price]]\nmodel=[]\ninput=\"1\"\noutput=\"1\"",
            "price = 1",
            "[[price]]\nmodel=[\"x\"]\ninput=\"1\"\noutput=\"1\"\nbonus=\"1\"",
        ] {
            assert!(Prices::load(Some(bad)).is_err(), "{bad}");
        }
    }
}
