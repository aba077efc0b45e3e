//! Reading what a platform sent: everything in it is hostile, may be missing, and may be of any length.

use serde_json::Value;
use wire::chat::{CHAT_TEXT_BYTES_MAX, Chat, Heard, HeardKind, Who};

/// The longest id of a platform that is taken, in bytes.
const ID_BYTES_MAX: usize = 512;
/// The longest name for showing, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Text of the longest length a message may have; what is longer is cut at a character.
pub(crate) fn text(value: &Value) -> String {
    clip(value.as_str().unwrap_or_default(), CHAT_TEXT_BYTES_MAX)
}

/// A name for showing.
pub(crate) fn name(value: &Value) -> String {
    clip(value.as_str().unwrap_or_default(), NAME_BYTES_MAX)
}

/// An id: a string or a whole number, not empty, without control characters, no longer than [`ID_BYTES_MAX`].
pub(crate) fn id(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text.len() <= ID_BYTES_MAX && !text.chars().any(char::is_control)).then_some(text)
}

/// An id that becomes one part of a path of a request: of letters, digits and `-_.~:=@+` only, and not made of dots.
pub(crate) fn path_id(text: &str) -> Option<&str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.~:=@+".contains(c);
    (!text.is_empty() && text.len() <= ID_BYTES_MAX && text.chars().all(fine) && !text.chars().all(|c| c == '.')).then_some(text)
}

/// The beginning of a text, at most `max` bytes, cut at a character.
pub(crate) fn clip(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

/// The beginning of a text, at most `max` characters; what is cut ends in an ellipsis.
pub(crate) fn clip_chars(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// A report with nothing in it but who, where and when.
pub(crate) fn heard(kind: HeardKind, id: String, chat: Chat, sender: Who, at_ms: i64) -> Heard {
    Heard {
        kind,
        id,
        chat,
        thread: None,
        sender,
        text: String::new(),
        mention: false,
        quoted: None,
        about: None,
        value: None,
        files: Vec::new(),
        at_ms,
    }
}

/// Milliseconds of the Unix epoch of a date as in `2026-03-01T10:00:00.5Z` or with `+01:00` at its end.
pub(crate) fn rfc3339_ms(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to).filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let bytes = text.as_bytes();
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !in_range || marks.iter().any(|(at, mark)| bytes[*at] != *mark) || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or(0, |r| r.bytes().take_while(u8::is_ascii_digit).count());
    let fraction = if digits == 0 { 0 } else { format!("{:0<3}", &rest[1..=digits.min(3)]).parse().ok()? };
    let zone = &rest[if digits == 0 { 0 } else { digits + 1 }..];
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Years begin in March here, so that the leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1_000 + fraction)
}

/// A moment as in `2026-03-01T10:00:00Z`.
pub(crate) fn rfc3339(at_ms: i64) -> String {
    let seconds = at_ms.div_euclid(1_000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_bounded_and_clean() {
        assert_eq!(id(&json!(12)), Some("12".to_owned()));
        assert_eq!(id(&json!("a b")), Some("a b".to_owned()));
        for bad in [json!(""), json!("a\nb"), json!(1.5), json!(null), json!("x".repeat(513))] {
            assert_eq!(id(&bad), None, "{bad}");
        }
        assert_eq!(path_id("wamid.HBg=="), Some("wamid.HBg=="));
        for bad in ["", "..", "a/b", "a?b", "a%2fb", "a b", "é"] {
            assert_eq!(path_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_become_moments() {
        for (date, expect) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-02-22T23:41:11.894719+00:00", Some(1_771_803_671_894)),
            ("2024-02-29T12:00:00.5Z", Some(1_709_208_000_500)),
            ("2024-03-01T00:30:00+01:00", Some(1_709_249_400_000)),
            ("2024-03-01T00:30:00", None),
            ("2024-13-01T00:30:00Z", None),
            ("2024-03-01", None),
            ("é024-03-01T00:30:00Z", None),
            ("", None),
        ] {
            assert_eq!(rfc3339_ms(date), expect, "{date}");
        }
    }

    #[test]
    fn moments_become_dates() {
        for at in [0, 951_782_400_000, 1_709_208_000_000, 1_771_803_671_000, 4_102_444_799_000] {
            assert_eq!(rfc3339_ms(&rfc3339(at)), Some(at));
        }
        assert_eq!(rfc3339(1_709_208_000_000), "2024-02-29T12:00:00Z");
    }

    #[test]
    fn cuts_at_characters() {
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip_chars("abcd", 3), "ab…");
        assert_eq!(clip_chars("äöü", 3), "äöü");
    }
}
