//! `lazaret usage`.

use http::Method;
use model::{Code, Failure};
use serde_json::Value;

use super::Context;
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, by: &str, from: Option<&str>, to: Option<&str>) -> Done {
    let mut path = format!("/v1/usage?by={by}");
    for (name, day) in [("from", from), ("to", to)] {
        if let Some(day) = day {
            path.push_str(&format!("&{name}={}", begin_of(day, name)?));
        }
    }
    let answer: Value = context.client()?.json(Method::GET, &path, None).await?;
    let empty = Vec::new();
    let items = answer["items"].as_array().unwrap_or(&empty);
    if !context.json {
        out::line(&format!("{:<44} {:>8} {:>12} {:>12} {:>14}", by, "calls", "in", "out", "cost"));
    }
    for item in items {
        if context.json {
            out::json(item)?;
            continue;
        }
        let n = |pointer: &str| item.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let input = n("/usage/input_tokens") + n("/usage/cache_read_tokens") + n("/usage/cache_write_tokens");
        let cost = model::Money(n("/cost"));
        let key = crate::exit::clean(item["key"].as_str().unwrap_or(""));
        out::line(&format!("{key:<44} {:>8} {input:>12} {:>12} {:>14}", n("/calls"), n("/usage/output_tokens"), cost.to_string()));
    }
    Ok(0)
}

/// When a day begins (UTC), in milliseconds since 1970.
fn begin_of(day: &str, name: &str) -> Result<u64, Failure> {
    let wrong =
        || Failure::new(Code::Usage, format!("--{name}: `{}` is no day like 2026-01-31", day.escape_debug())).field(format!("--{name}"));
    let mut parts = day.split('-').map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten());
    let (Some(Some(year)), Some(Some(month)), Some(Some(of_month)), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(wrong());
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || of_month == 0 || of_month > days(year, month) {
        return Err(wrong());
    }
    let years: u64 = (1970..year).map(|y| if is_leap(y) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(|m| days(year, m)).sum();
    Ok((years + months + of_month - 1) * 86_400_000)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_beginning() {
        assert_eq!(begin_of("1970-01-01", "from"), Ok(0));
        assert_eq!(begin_of("2000-02-29", "from"), Ok(951_782_400_000));
        assert_eq!(begin_of("2026-12-30", "to"), Ok(1_798_588_800_000));
        for bad in
            ["", "today", "2026-02-29", "2026-13-01", "2026-1", "2026-01-01-01", "+026-01-01", "1969-12-31", "99999999999999999999-01-01"]
        {
            assert!(begin_of(bad, "from").is_err(), "{bad}");
        }
    }
}
